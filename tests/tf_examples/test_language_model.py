"""The large model in miniature: what it computes, what it learns, and that it goes on as it was."""

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_optimizers import Adam
from tf_examples import _data, _transformer, cli
from tf_examples import language_model as section
from tf_examples._options import OptionError
from tf_examples._transformer import Shape, Trainer, Transformer, choose, evaluate, generate

SHAPE = Shape(layers=2, width=16, heads=4, context=12, vocabulary=11)
TINY: dict[str, Any] = {
    "layers": 1, "width": 8, "heads": 2, "context": 8, "batch_size": 4, "steps": 10,
    "learning_rate": 0.02, "length": 5, "jit_compile": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return Transformer(SHAPE, seed=3)


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(0).integers(0, SHAPE.vocabulary, (3, SHAPE.context))


def values(model):
    return {v.path.split("/", 1)[-1]: np.asarray(v, "float64") for v in model.weights}


def transcript(model, tokens):
    """The model once more, in float64 NumPy: logits (time, vocabulary) and weights of attention."""

    def norm(x, layer):
        centred = x - x.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
        return scaled * np.float64(layer.gamma) + np.float64(layer.beta)

    def dense(x, layer):
        return x @ np.float64(layer.kernel) + np.float64(layer.bias)

    embedding, positions = (np.asarray(v, "float64") for v in (model.embedding, model.positions))
    x = embedding[tokens] + positions[: len(tokens)]
    seen = []
    for block in model.blocks:
        qkv = dense(norm(x, block.norm_1), block.attention.queries_keys_values)
        heads = np.split(qkv.reshape(len(tokens), 3, block.attention.heads, -1), 4, axis=2)
        both = [section.attention(*np.moveaxis(head[:, :, 0], 1, 0)) for head in heads]
        seen.append([weights for _, weights in both])
        joined = np.concatenate([out for out, _ in both], axis=1)
        x = x + dense(joined, block.attention.output_layer)
        x = x + dense(np.maximum(dense(norm(x, block.norm_2), block.widen), 0), block.narrow)
    return norm(x, model.norm) @ embedding.T, np.array(seen)


def test_the_model_is_the_formula(model, tokens):
    for row in tokens:
        logits, weights = transcript(model, row)
        np.testing.assert_allclose(model(row[None])[0], logits, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(model.attention(row), weights, rtol=1e-4, atol=1e-5)


def test_layers_whose_output_is_added_start_smaller_by_the_root_of_how_many_there_are():
    deep = Transformer(Shape(8, 64, 4, 8, 11), seed=0)
    for block in deep.blocks:
        for layer, inputs in ((block.attention.output_layer, 64), (block.narrow, 256)):
            found = np.std(np.asarray(layer.kernel))
            assert found == pytest.approx((2 * 8 * inputs) ** -0.5, rel=0.1)
        assert np.std(np.asarray(block.widen.kernel)) == pytest.approx(64**-0.5, rel=0.1)


def test_attention_by_hand_is_keras_own():
    q, k, v = np.random.default_rng(0).normal(size=(3, 5, 8)).astype("float32")
    out, weights = section.attention(q, k, v)
    expected = keras.ops.dot_product_attention(
        *(array[None, :, None] for array in (q, k, v)), is_causal=True
    )
    np.testing.assert_allclose(out, expected[0, :, 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)


def test_no_token_sees_a_later_one(model, tokens):
    changed = tokens.copy()
    changed[:, 7] = (changed[:, 7] + 1) % SHAPE.vocabulary
    before, after = model(tokens).numpy(), model(changed).numpy()
    np.testing.assert_array_equal(before[:, :7], after[:, :7])
    assert np.abs(before[:, 7:] - after[:, 7:]).max() > 1e-3


@pytest.mark.parametrize("sizes", [(1, 8, 2, 4, 5), (3, 24, 3, 7, 9)])
def test_the_parameters_are_counted_exactly(sizes):
    shape = Shape(*sizes)
    assert shape.parameters == Transformer(shape, 0).count_params()
    embeddings = (shape.vocabulary + shape.context) * shape.width + 2 * shape.width
    assert shape.parameters - shape.block_parameters == embeddings


def test_first_weights_are_the_seeds_alone():
    first, again, other = (Transformer(SHAPE, seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    matrices = [(a, b) for a, b in zip(first, other, strict=True) if a.std() > 0]
    assert len(matrices) == 4 * SHAPE.layers + 2
    assert not any(np.array_equal(a, b) for a, b in matrices)


def test_recomputed_blocks_give_the_same_gradients(tokens):
    gradients = []
    for recompute in (False, True):
        model = Transformer(SHAPE, 0, recompute=recompute)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(tokens) ** 2)
        gradients.append(tape.gradient(loss, model.trainable_variables))
    for kept, again in zip(*gradients, strict=True):
        np.testing.assert_allclose(kept, again, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("options", [(0.0, None), (1.0, None), (0.7, 3)])
def test_generation_from_a_cache_is_generation_without_it(options, model):
    temperature, top_k = options
    written = [
        list(generate(model, [1, 2], 3 * SHAPE.context, temperature=temperature, top_k=top_k,
                      seed=0, cached=cached))
        for cached in (True, False)
    ]  # fmt: skip
    assert written[0] == written[1]
    assert len(written[0]) == 3 * SHAPE.context


def test_the_logits_from_a_cache_are_those_of_the_whole_text(model, tokens):
    row = tf.constant(tokens[0], tf.int32)
    whole, cache = model.read(row)
    np.testing.assert_allclose(whole, model(tokens[:1])[0], rtol=1e-5, atol=1e-6)
    filled = np.where(np.arange(SHAPE.context) < 4, tokens[0], 0).astype("int32")
    _, cache = model.read(tf.constant(filled))
    for place in range(4, SHAPE.context):
        logits, cache = model.step(row[place], tf.constant(place), cache)
        np.testing.assert_allclose(logits, whole[place], rtol=1e-4, atol=1e-5)


def test_a_token_is_drawn_by_its_chance_among_the_k_likeliest():
    logits = np.log([0.1, 0.2, 0.3, 0.4])
    rng = np.random.default_rng(0)

    def shares(temperature, top_k):
        drawn = [choose(logits, temperature, top_k, rng) for _ in range(4000)]
        return np.bincount(drawn, minlength=4) / len(drawn)

    np.testing.assert_allclose(shares(1.0, None), [0.1, 0.2, 0.3, 0.4], atol=0.03)
    np.testing.assert_allclose(shares(1.0, 2), [0, 0, 3 / 7, 4 / 7], atol=0.03)
    squared = np.array([1, 4, 9, 16]) / 30
    np.testing.assert_allclose(shares(0.5, None), squared, atol=0.03)
    assert choose(logits, 0, None, rng) == 3


TEXT = "the cat sat on the mat, and the rat sat on the cat. " * 40


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


def test_baselines_are_the_entropies_of_the_counts(text_file):
    """Against a loop over the characters, in words close to the formula."""
    text = _data.text(text_file)
    learned, unseen, size = text.train.tolist(), text.validation.tolist(), len(text.characters)
    one = [-math.log2((learned.count(c) + 1) / (len(learned) + size)) for c in unseen[1:]]
    assert section.unigram_bits(text, text.validation) == pytest.approx(np.mean(one))
    pairs = list(itertools.pairwise(learned))
    before = learned[:-1]
    two = [
        -math.log2((pairs.count((b, c)) + 1) / (before.count(b) + size))
        for b, c in itertools.pairwise(unseen)
    ]
    assert section.bigram_bits(text, text.validation) == pytest.approx(np.mean(two))


def test_evaluate_is_the_mean_over_windows_side_by_side(model):
    tokens = np.random.default_rng(1).integers(0, SHAPE.vocabulary, 3 * SHAPE.context + 5)
    losses = []
    for start in range(0, 3 * SHAPE.context, SHAPE.context):
        window = tokens[start : start + SHAPE.context + 1]
        logits, _ = transcript(model, window[:-1])
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        losses += [-math.log(row[token]) for row, token in zip(chances, window[1:], strict=True)]
    assert evaluate(model, tokens, batch_size=2) == pytest.approx(np.mean(losses), rel=1e-5)


def test_a_step_moves_the_weights_as_the_formulas_of_clipping_and_adam_say(tokens):
    """One step of Trainer against a tape, a global norm and an optimizer called by hand."""
    text = np.random.default_rng(2).integers(0, SHAPE.vocabulary, 200)
    models = [Transformer(SHAPE, 0) for _ in range(2)]
    adam = Adam(0.01, global_clipnorm=0.05)
    trainer = Trainer(models[0], adam, text, batch_size=4, seed=9, jit_compile=False)
    (loss,) = trainer.train(1)
    window = SHAPE.context + 1
    starts = tf.random.stateless_uniform([4], [9, 0], 0, len(text) - window + 1, tf.int32).numpy()
    batch = np.stack([text[start : start + window] for start in starts])
    with tf.GradientTape() as tape:
        losses = keras.losses.sparse_categorical_crossentropy(
            batch[:, 1:], models[1](batch[:, :-1]), from_logits=True
        )
        mean = tf.reduce_mean(losses)
    assert loss == pytest.approx(float(mean), rel=1e-5)
    weights = models[1].trainable_variables
    gradients = tape.gradient(mean, weights)
    norm = math.sqrt(sum(float(tf.reduce_sum(tf.square(g))) for g in gradients))
    assert norm > 0.05
    Adam(0.01).apply([0.05 / norm * g for g in gradients], weights)
    for ours, theirs in zip(models[0].weights, models[1].weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_rate_climbs_for_a_tenth_and_sinks_along_a_cosine():
    rate = _transformer.schedule(0.1, 100)
    climbing = [float(rate(step)) for step in (0, 5, 10)]
    np.testing.assert_allclose(climbing, [0, 0.05, 0.1], atol=1e-6)
    assert float(rate(55)) == pytest.approx(0.1 * (0.5 * 0.98 + 0.02), rel=1e-5)
    assert float(rate(100)) == pytest.approx(0.1 * 0.02, rel=1e-5)
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(rate))
    assert float(again(37)) == float(rate(37))


def test_it_learns_more_than_counts_can_tell(text_file):
    options = {"text": text_file, "prompt": "the ", "width": 32, "steps": 120, "batch_size": 16}
    result = section.run(**TINY | options)
    assert result.progress.bits[-1] < result.baselines["bigram"] < result.baselines["unigram"]
    assert result.progress.steps == section.looks(120)
    assert len(result.progress.train_bits) == 120
    assert set(result.written) <= set(TEXT)
    assert result.written.startswith("the ")


def test_any_language_is_a_language(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("大模型的训练需要大量的数据和算力。" * 30, encoding="utf-8")
    result = section.run(**TINY, text=str(path), prompt="模型")
    assert result.written.startswith("模型")
    assert len(result.written) == 7


def arrays(path):
    with np.load(path) as kept:
        return {name: kept[name] for name in kept.files}


def test_a_training_in_two_parts_ends_at_the_same_bits(text_file, tmp_path, monkeypatch):
    options = TINY | {"text": text_file, "prompt": "the "}
    whole = section.run(**options, checkpoint=str(tmp_path / "whole.npz"))
    saved = section.save

    def interrupted(path, trainer, settings, progress):
        saved(path, trainer, settings, progress)
        if progress.steps[-1] == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(section, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        section.run(**options, checkpoint=str(tmp_path / "parts.npz"))
    monkeypatch.setattr(section, "save", saved)
    rest = section.run(**options, checkpoint=str(tmp_path / "parts.npz"), resume=True)
    assert rest.progress == whole.progress
    assert rest.written == whole.written
    ours, theirs = arrays(tmp_path / "whole.npz"), arrays(tmp_path / "parts.npz")
    assert set(ours) == set(theirs)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
def test_200_steps_reach_the_bigram_and_ten_times_the_rate_does_not():
    """What "Try it" says to expect."""
    few, fast = (section.run(steps=200, learning_rate=rate) for rate in (0.004, 0.04))
    assert few.progress.bits[-1] == pytest.approx(few.baselines["bigram"], abs=0.15)
    assert fast.progress.bits[-1] > fast.baselines["bigram"] + 0.2


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_process_killed_in_mid_epoch_goes_on_bit_for_bit(tmp_path):
    command = [sys.executable, "-m", "tf_examples", "run", "language_model", "--json"]
    sizes = "--layers 1 --width 16 --heads 2 --context 16 --batch-size 8 --steps 400 --length 5"
    command += sizes.split()
    whole, parts = tmp_path / "whole.npz", tmp_path / "parts.npz"
    first = subprocess.run([*command, "--checkpoint", whole], capture_output=True, check=True)
    with subprocess.Popen([*command, "--checkpoint", parts], stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 240
        while not parts.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    steps = json.loads(str(arrays(parts)["head"]))["progress"]["steps"]
    assert 0 < steps[-1] < 400
    rest = [*command, "--checkpoint", parts, "--resume"]
    second = subprocess.run(rest, capture_output=True, check=True)
    assert json.loads(first.stdout) == json.loads(second.stdout)
    ours, theirs = arrays(whole), arrays(parts)
    variables = [name for name in ours if name != "head"]
    assert len(variables) == 16 + 2 * 16 + 1  # weights, two slots each, the number of steps
    assert all(np.array_equal(ours[name], theirs[name]) for name in variables)
    assert str(ours["head"]) == str(theirs["head"])


def test_a_checkpoint_of_another_model_is_refused_by_what_differs(text_file, tmp_path):
    options = TINY | {"text": text_file, "prompt": "the ", "steps": 2}
    path = str(tmp_path / "model.npz")
    section.run(**options, checkpoint=path)
    before = (tmp_path / "model.npz").read_bytes()
    with pytest.raises(OptionError, match="its width is 8, not 16"):
        section.run(**options | {"width": 16}, checkpoint=path, resume=True)
    (tmp_path / "other.txt").write_text(TEXT[1:] + TEXT[0], encoding="utf-8")
    other = options | {"text": str(tmp_path / "other.txt")}  # of the same characters
    with pytest.raises(OptionError, match="belongs to another training: its text is"):
        section.run(**other, checkpoint=path, resume=True)
    with pytest.raises(OptionError, match="is there already"):
        section.run(**options, checkpoint=path)
    (tmp_path / "broken.npz").write_bytes(before[:100])
    with pytest.raises(OptionError, match="is no checkpoint"):
        section.run(**options, checkpoint=str(tmp_path / "broken.npz"), resume=True)
    assert (tmp_path / "model.npz").read_bytes() == before


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no layers": ({"layers": 0}, "`layers`"),
    "a negative width": ({"width": -8}, "`width`"),
    "heads that don't divide": ({"heads": 3}, "must divide"),
    "a rate of 0": ({"learning_rate": 0.0}, "`learning_rate`"),
    "no steps": ({"steps": 0}, "`steps`"),
    "a temperature below 0": ({"temperature": -0.1}, "`temperature`"),
    "top-k of nothing": ({"top_k": 0}, "`top_k`"),
    "an empty prompt": ({"prompt": ""}, "`prompt`"),
    "a prompt of other characters": ({"prompt": "Ω"}, "has no 'Ω'"),
    "a resume from nothing": ({"resume": True}, "needs `checkpoint`"),
    "a checkpoint that is not there": ({"resume": True, "checkpoint": "no.npz"}, "no checkpoint"),
    "a folder that is not there": ({"checkpoint": "no/where.npz"}, "can't write"),
    "a text that is not there": ({"text": "nowhere.txt"}, "can't read nowhere.txt"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_options_are_one_line_and_write_nothing(what, text_file, tmp_path, monkeypatch):
    options, said = REFUSED[what]
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OptionError) as error:
        section.run(**TINY | {"text": text_file, "prompt": "the"} | options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_text_that_is_not_utf_8_or_too_short_is_named(tmp_path, capsys):
    (tmp_path / "latin.txt").write_bytes(("é" * 5000).encode("latin-1"))
    (tmp_path / "short.txt").write_text("too short", encoding="utf-8")
    for name, said in (("latin.txt", "is not UTF-8: byte 0"), ("short.txt", "has 9 characters")):
        words = ["run", "language_model", "--text", str(tmp_path / name)]
        assert cli.main(words) == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1


def test_a_rate_far_too_large_stops_the_run_or_learns_nothing(text_file):
    with pytest.raises(FloatingPointError, match="smaller learning_rate"):
        section.run(**TINY | {"text": text_file, "prompt": "the", "learning_rate": 1e38})


def test_the_standard_library_carries_the_text():
    text = _data.text()
    assert len(text.train) + len(text.validation) > 400_000
    assert len(text.validation) == pytest.approx(len(text.train) / 9, abs=1)
    assert text.decode(text.encode("import")) == "import"
    assert max(text.train) < len(text.characters) < 200


def test_the_picture_says_when_the_model_passes_the_bigram():
    progress = section.Progress([10, 20], [4.0, 3.0], ["", ""], [5.0] * 20)
    picture = section.draw_training(progress, {"unigram": 4.7, "bigram": 3.3})
    assert picture.statement.startswith("The model's loss is below the bigram's by step 20")
    above = section.draw_training(replace(progress, bits=[4.0, 3.5]), {"unigram": 4.7, "bigram": 3})
    assert "stays above the bigram's" in above.statement


def test_the_head_shown_is_the_one_that_looks_back_most():
    weights = np.zeros((2, 3, 4, 4))
    weights[1, 2][np.arange(1, 4), np.arange(3)] = 0.75
    assert section.head_that_looks_back(weights) == (1, 2, 0.75)
