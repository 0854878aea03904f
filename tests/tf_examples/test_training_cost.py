"""Section `training_cost`: the formulas against Keras models that are built and counted here."""

import dataclasses
import math
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_optimizers import Adam, GradientDescent, RMSprop
from tf_examples import _costs, _keras_costs
from tf_examples import training_cost as section
from tf_examples._options import OptionError


@pytest.fixture(scope="module")
def result():
    return section.run()


def dense_net():
    inputs = keras.Input((784,))
    x = keras.layers.Dense(128, activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Dense(10)(x), name="net")


def test_graph_and_formula_count_the_same_flops_and_the_profiler_within_1_percent(result):
    assert [c.net for c in result.counts] == ["dense", "convolutional", "transformer"]
    for count in result.counts:
        assert count.counted == count.formula, count.net
        assert count.profiled == pytest.approx(count.formula, rel=0.01), count.net
        assert count.profiled > count.formula, count.net
    dense = result.counts[0]
    assert (dense.formula, dense.profiled) == (13_090_816, pytest.approx(13_101_750, rel=1e-3))


def test_the_rule_is_half_too_large_far_too_small_and_a_little_too_large(result):
    dense, convolutional, transformer = (c.rule / c.formula for c in result.counts)
    assert dense == pytest.approx(1.5, abs=0.02)
    assert convolutional < 0.01
    assert 1.05 < transformer < 1.15


def test_a_block_built_in_keras_has_the_parameters_of_the_formula(result):
    a = dataclasses.replace(section.BLOCK, layers=2, width=32, heads=2, context=8, vocabulary=50)
    model = section.transformer(a)
    assert model.count_params() == sum(_costs.parameters(a).values())
    assert result.counts[2].parameters == sum(_costs.parameters(section.BLOCK).values())
    assert model(np.zeros((3, 8), "int32")).shape == (3, 8, 50)


def test_attention_is_its_formula_in_float64():
    inputs = keras.Input((5, 6))
    model = keras.Model(inputs, section.attention(inputs, heads=2))
    made = [layer for layer in model.layers if layer.weights]
    made.sort(key=lambda layer: int(layer.name.partition("_")[2] or 0))  # in the order of making
    rng = np.random.default_rng(0)
    weights = [[rng.normal(size=w.shape) for w in layer.weights] for layer in made]
    for layer, values in zip(made, weights, strict=True):
        layer.set_weights(values)
    x = rng.normal(size=(5, 6))
    (Wq, bq), (Wk, bk), (Wv, bv), (Wo, bo) = weights
    heads = []
    for columns in (slice(0, 3), slice(3, 6)):
        q, k, v = ((x @ W + b)[:, columns] for W, b in ((Wq, bq), (Wk, bk), (Wv, bv)))
        power = np.tril(np.exp(q @ k.T / np.sqrt(3)))
        heads.append(power / power.sum(axis=1, keepdims=True) @ v)
    expected = np.hstack(heads) @ Wo + bo
    np.testing.assert_allclose(model(x[None])[0], expected, rtol=1e-4, atol=1e-5)


def test_the_transformer_never_looks_ahead():
    a = dataclasses.replace(section.BLOCK, width=32, heads=2, context=6, vocabulary=50)
    model = section.transformer(a)
    tokens = np.arange(6)[None]
    changed = tokens.copy()
    changed[0, 3] = 40
    difference = np.abs(model(tokens) - model(changed)).max(axis=-1)[0]
    assert (difference[:3] == 0).all()
    assert (difference[3:] > 0).all()


def test_the_profiler_leaves_out_einsum_and_misreads_a_transposed_batch_product():
    """Why the profiler is no oracle for Keras's own attention."""

    def flops(function, *shapes):
        specs = [tf.TensorSpec(shape) for shape in shapes]
        graph = tf.function(function).get_concrete_function(*specs).graph
        return section.profiled_flops(graph), _keras_costs.graph_flops(graph)

    spelled = flops(lambda a, b: tf.einsum("bik,bjk->bij", a, b), (2, 5, 3), (2, 7, 3))
    assert spelled == (0, 2 * 2 * 5 * 3 * 7)
    dots = flops(lambda a, b: tf.einsum("...k,kj->...j", a, b), (2, 5, 3), (3, 7))
    assert dots[1] == 2 * 2 * 5 * 3 * 7
    assert flops(lambda a: tf.einsum("bik->bki", a), (2, 5, 3))[1] == 0
    turned = flops(lambda a, b: tf.matmul(a, b, transpose_a=True), (2, 3, 5), (2, 3, 7))
    assert turned == (2 * 2 * 5 * 5 * 7, 2 * 2 * 5 * 3 * 7)


def test_what_a_function_in_the_graph_computes_is_counted():
    inner = tf.function(lambda a, b: a @ b, autograph=False)
    outer = tf.function(lambda a, b: inner(a, b) + 1)
    graph = outer.get_concrete_function(tf.TensorSpec((5, 3)), tf.TensorSpec((3, 7))).graph
    assert _keras_costs.graph_flops(graph) == 2 * 5 * 3 * 7


def test_a_constant_in_the_graph_is_no_input_and_small_integers_are_no_tokens():
    class Positions(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.table = tf.constant(np.ones((16, 32), "float32"))

        def call(self, x):
            return x + self.table

    tokens = keras.Input((16,), dtype="int32")
    x = Positions()(keras.layers.Embedding(100, 32)(tokens))
    e = _costs.estimate(keras.Model(tokens, keras.layers.Dense(100)(x)), tokens=1)
    assert (e.sequence_length, e.training_flops, e.data_bytes) == (16, 3 * 2 * 32 * 100, 4)
    pixels = keras.Input((8,), dtype="uint8")
    x = keras.layers.Dense(4)(keras.ops.cast(pixels, "float32"))
    e = _costs.estimate(keras.Model(pixels, x), tokens=1)
    assert (e.sequence_length, e.training_flops) == (1, 2 * 2 * 8 * 4)
    assert "1 examples a device at once" in e.title()


def test_a_grouped_convolution_that_comes_first_has_no_gradient_of_its_input():
    image = keras.Input((8, 8, 4))
    model = keras.Model(image, keras.layers.Conv2D(6, 3, groups=2, padding="same")(image))
    assert _costs.estimate(model, tokens=1).training_flops == 2 * 2 * 64 * 9 * 2 * 6


def test_slots_of_a_model_that_was_not_compiled_have_the_size_of_its_weights():
    for policy, size in (("float32", 4), ("float64", 8), ("bfloat16", 2)):
        image = keras.Input((5,), dtype="float32")
        model = keras.Model(image, keras.layers.Dense(3, dtype=policy)(image))
        assert _costs.estimate(model).memory["optimizer"] == 2 * size * 18


def test_a_model_with_named_inputs_is_counted_and_one_with_a_branch_refused():
    named = {"b": keras.Input((3,), name="b"), "a": keras.Input((5,), name="a")}
    out = keras.layers.Dense(2)(named["a"]) + keras.layers.Dense(2)(named["b"])
    assert _costs.estimate(keras.Model(named, out), tokens=1).training_flops == 2 * 2 * 2 * 8

    class Branch(keras.layers.Layer):
        def build(self, shape):
            self.inner = keras.layers.Dense(2)
            self.inner.build(shape)

        def call(self, x):
            return tf.cond(tf.reduce_sum(x) > 0, lambda: self.inner(x), lambda: -self.inner(x))

    image = keras.Input((5,))
    with pytest.raises(OptionError, match="has a branch"):
        _costs.estimate(keras.Model(image, Branch()(image)))


def test_keras_own_attention_has_the_flops_of_the_formula():
    a = dataclasses.replace(section.BLOCK, width=32, heads=4, context=16, vocabulary=64)
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(64, 32)(tokens)
    inner = keras.layers.LayerNormalization()(x)
    attention = keras.layers.MultiHeadAttention(4, 8)
    x = x + attention(inner, inner, use_causal_mask=True)
    inner = keras.layers.Dense(128, activation="gelu")(keras.layers.LayerNormalization()(x))
    model = keras.Model(tokens, keras.layers.Dense(64)(x + keras.layers.Dense(32)(inner)))
    e = _costs.estimate(model, sequence_length=16, batch_size=2, tokens=1000)
    assert e.training_flops == 1000 * 3 * sum(_costs.forward_flops(a, 16).values())
    assert (e.sequence_length, e.data_bytes) == (16, 4000)
    assert e.logit_bytes == 2 * 16 * 64 * 4


@pytest.mark.parametrize(
    ("layer", "shape", "forward", "backward"),
    [  # products forward; backward, twice as many, or once where the input has no gradient
        (lambda: keras.layers.Conv1D(5, 3), (9, 2), 7 * 3 * 2 * 5, 1),
        (lambda: keras.layers.Conv2D(5, 3, strides=2), (9, 9, 2), 16 * 9 * 2 * 5, 1),
        (lambda: keras.layers.Conv3D(5, 2), (4, 4, 4, 2), 27 * 8 * 2 * 5, 1),
        (lambda: keras.layers.DepthwiseConv2D(3, depth_multiplier=2), (9, 9, 4), 49 * 9 * 8, 1),
        (lambda: keras.layers.EinsumDense("abc,cd->abd", (6, 5)), (6, 4), 6 * 4 * 5, 1),
        (lambda: keras.layers.Dense(5), (6, 4), 6 * 4 * 5, 1),
    ],
)
def test_each_kind_of_layer_is_counted(layer, shape, forward, backward):
    model = keras.Sequential([keras.Input(shape), layer()])
    e = _costs.estimate(model, batch_size=2, tokens=1)
    assert e.training_flops == 2 * forward * (1 + backward)


@pytest.mark.parametrize(
    ("optimizer", "numbers"),
    [(GradientDescent(), 0), (Adam(), 2), (RMSprop(), 2), (keras.optimizers.RMSprop(), 1)],
)
def test_a_keras_model_takes_the_bytes_of_its_own_variables(optimizer, numbers):
    model = dense_net()
    model.compile(optimizer=optimizer)
    optimizer.build(model.trainable_variables)
    e = _costs.estimate(model, batch_size=32, tokens=64)
    weights = 785 * 128 + 129 * 10
    assert list(e.parameters.values()) == [785 * 128, 129 * 10]
    assert e.total_parameters == weights
    scalars = 8 + 4  # the number of the step (int64) and the learning rate
    assert e.memory["weights"] == e.memory["gradients"] == 4 * weights
    assert e.memory["optimizer"] == 4 * numbers * weights + scalars
    assert e.training_checkpoint_bytes == 4 * weights + e.memory["optimizer"]
    assert e.memory["activations"] == 4 * 32 * (784 + 128)  # the batch, and the hidden layer
    assert e.training_flops == 2 * 13_090_816
    assert e.data_bytes == 64 * 784 * 4
    assert e.peak == 19.5e12
    assert e.name == "net"


def test_without_an_optimizer_of_its_own_a_model_takes_the_named_one():
    states = [
        _costs.estimate(dense_net(), optimizer=name, tokens=1).memory["optimizer"]
        for name in ("sgd", "momentum", "adam")
    ]
    assert states == [0, 4 * 101_770, 8 * 101_770]


def test_the_picture_of_a_small_model_is_in_mb_and_without_the_far_line():
    figure = _costs.estimate(dense_net(), tokens=1, batch_size=32).figure()
    (axes,) = figure.axes
    assert axes.get_xlabel() == "MB"
    assert axes.lines[:] == []
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(
        [0.40708, 0.40708, 0.81416, 0.116736]
    )
    assert "net: 1.75 MB a device, 47% of it optimizer; the a100 has 80 GB" in figure.statement


def test_zero_divides_what_a_keras_model_takes():
    e = _costs.estimate(dense_net(), tokens=1, devices=4, zero_stage=2)
    whole = e.by_zero_stage[0]
    assert e.memory["weights"] == whole["weights"]
    assert e.memory["gradients"] == whole["gradients"] / 4
    assert e.memory["optimizer"] == whole["optimizer"] / 4


def test_mixed_float16_keeps_float32_variables_and_computes_at_the_16_bit_peak():
    inputs = keras.Input((64,))
    layer = keras.layers.Dense(32, dtype="mixed_float16")
    model = keras.Model(inputs, layer(inputs))
    e = _costs.estimate(model, tokens=1)
    assert e.memory["weights"] == 4 * (65 * 32)
    assert e.peak == 312e12
    assert e.precision == "mixed_float16"


def test_weights_that_are_not_trained_have_no_gradient_and_no_state():
    model = keras.Sequential([keras.Input((8,)), keras.layers.BatchNormalization()])
    e = _costs.estimate(model, tokens=1, optimizer="adam")
    assert (e.memory["weights"], e.memory["gradients"], e.memory["optimizer"]) == (128, 64, 128)


class Unbuilt(keras.Model):
    """A subclassed model: it declares no inputs."""

    def __init__(self):
        super().__init__(name="unbuilt")
        self.embedding = keras.layers.Embedding(20, 4)
        self.head = keras.layers.Dense(20)

    def call(self, tokens):
        return self.head(self.embedding(tokens))


def test_a_subclassed_model_is_counted_once_it_is_built():
    model = Unbuilt()
    with pytest.raises(OptionError, match="'unbuilt' isn't built: call it on a batch first"):
        _costs.estimate(model)
    model(np.zeros((1, 6), "int32"))
    with pytest.raises(OptionError, match="doesn't declare its inputs: give `sequence_length`"):
        _costs.estimate(model)
    e = _costs.estimate(model, sequence_length=6, batch_size=3, tokens=10)
    assert e.total_parameters == 20 * 4 + 5 * 20
    assert e.training_flops == 10 * 3 * 2 * 4 * 20


def test_each_weight_counts_once_wherever_it_hangs():
    shared = keras.layers.Dense(4, name="shared")
    nested = keras.Sequential([keras.Input((4,)), shared, keras.layers.Dense(4)], name="nested")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, nested(shared(inputs)))
    assert _costs.estimate(model, tokens=1).parameters == {"shared": 20, "nested": 20}

    class Scaled(keras.Model):
        def build(self, shape):
            self.dense = keras.layers.Dense(4, name="dense")
            self.scale = self.add_weight(shape=(4,))
            self.dense.build(shape)

        def call(self, tokens):
            return self.dense(tf.one_hot(tokens, 4)) * self.scale

    own = Scaled(name="own")
    own.build((None, 4))
    parts = _costs.estimate(own, sequence_length=3, tokens=1).parameters
    assert parts == {"dense": 20, "own": 4}


class Positive(keras.layers.Layer):
    """Keeps the examples whose first number is positive."""

    def call(self, x):
        return tf.boolean_mask(x, x[:, 0] > 0)

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


def test_a_keras_model_that_cannot_be_counted_is_refused():
    model = dense_net()
    model.compile(optimizer="adam")
    with pytest.raises(OptionError, match=r"isn't built: call model\.optimizer\.build"):
        _costs.estimate(model)
    with pytest.raises(OptionError, match="`recompute` of a Keras model is part of its graph"):
        _costs.estimate(dense_net(), recompute=True)
    tokens = keras.Input((None,), dtype="int32")
    open_length = keras.Model(tokens, keras.layers.Embedding(9, 4)(tokens))
    with pytest.raises(OptionError, match="leaves a length open: give `sequence_length`"):
        _costs.estimate(open_length)
    loop = keras.Sequential([keras.Input((5, 2)), keras.layers.LSTM(3)])
    with pytest.raises(OptionError, match="has a loop"):
        _costs.estimate(loop)
    chosen = keras.Sequential([keras.Input((4,)), Positive(), keras.layers.Dense(2)])
    with pytest.raises(OptionError, match=r"the shape of .* depends on the data"):
        _costs.estimate(chosen)


def test_published_runs_come_out_as_published():
    """Touvron et al. 2023; Chowdhery et al. 2022, section 4.1; Narayanan et al. 2021."""
    said = {row[0]: row[2] for row in section.run_table().rows}
    assert said == {
        "llama-2-7b": "MFU 39.1%", "llama-2-70b": "MFU 42.8%",
        "palm-540b": "MFU 46.2%", "gpt-3": "MFU 33.7%, 34 days",
    }  # fmt: skip


def test_counted_states_are_those_of_the_rule():
    model = section.transformer(dataclasses.replace(section.BLOCK, width=32, heads=2, context=8))
    rows = section.state_table(model).rows
    assert [row[0] for row in rows] == ["GradientDescent", "Momentum", "Adagrad", "RMSprop", "Adam"]
    assert [row[2] for row in rows] == pytest.approx([8, 12, 12, 16, 16], rel=1e-3)
    assert [row[3] for row in rows] == [8, 12, 12, None, 16]


def test_a_third_of_the_smallest_model_is_vocabulary_and_of_gpt_3_hardly_anything():
    table = section.parameter_table(["gpt-2-small", "gpt-3", "llama-2-7b"])
    rows = {row[0]: row for row in table.rows}
    assert rows["gpt-2-small"][1:] == ("124,439,808", "124 M", "31.0%")
    assert rows["gpt-3"][3] == "0.4%"
    assert rows["llama-2-7b"][3] == f"{2 * 32000 * 4096 / 6_738_415_616:.1%}"  # in and out


def test_attention_adds_s_over_6_h():
    lengths = np.array([1024, 131_072])
    for name in ("gpt-3", "llama-3.1-405b"):
        width = section.PRESETS[name].architecture.width
        short, long = section.attention_ratios(name, lengths)
        assert (long - short) / np.diff(lengths)[0] == pytest.approx(1 / (6 * width), rel=0.2)
    assert section.attention_ratios("gpt-2-small", lengths)[0] == pytest.approx(1.144, abs=1e-3)
    figure = section.draw_ratios(["gpt-2-small", "gpt-3"])
    assert "gpt-2-small costs 2.21 times 6 N D" in figure.statement
    assert "gpt-3 (from 1.00 at 256 tokens to 2.8 at 131,072)" in figure.alt


def test_of_six_ways_only_full_recomputation_fits(result):
    fits = [label for label, sizes in result.choices.items() if sum(sizes) <= 80e9]
    assert fits == ["3 + full recompute"]
    states = [sizes[0] / result.estimate.total_parameters for sizes in result.choices.values()]
    g = 1024
    assert states[:4] == pytest.approx([16, 4 + 12 / g, 2 + 14 / g, 16 / g])
    assert "only “3 + full recompute” fits into 80 GB" in result.figure().statement
    assert "ZeRO stage 0 2.79 TB and 275 GB" in result.figure().alt
    small = section.draw_memory("x", 1, "a100", section.memory_choices("bert-base", 1, "a100"))
    assert "6 of 6 ways fit" in small.statement


def test_logits_are_most_of_a_miniature_and_hardly_count_in_gpt_3():
    estimates = section.activation_estimates()
    graph, formula, large = estimates.values()
    kept = graph.memory["activations"]
    assert kept == pytest.approx(formula.memory["activations"], rel=0.05)
    assert graph.logit_bytes == formula.logit_bytes == 4 * 4 * 64 * 5000
    assert graph.logit_bytes > 1.9 * kept
    assert large.logit_bytes < 0.001 * large.memory["activations"]
    cells = [_costs.quantity(size, "B") for size in (kept, graph.logit_bytes)]
    assert section.activation_table(estimates).cells()[0][1:] == cells


def test_the_budget_is_best_spent_as_the_title_says():
    figure = section.draw_budget(section.CHINCHILLA)
    assert "best at 18 tokens a parameter" in figure.statement
    assert "as printed say 93" in figure.statement
    for curve, dot in (figure.axes[0].lines[:2], figure.axes[0].lines[2:4]):
        tokens, loss = curve.get_data()
        assert tokens[np.argmin(loss)] == pytest.approx(dot.get_xdata()[0], rel=0.03)
        assert loss.min() == pytest.approx(dot.get_ydata()[0], rel=1e-5)
    assert figure.encoded().startswith(b"\x89PNG")


def test_the_valley_is_flat():
    law = _costs.BESIROGLU
    for times in (0.25, 4):
        rise = section.price_of_leaving(law, section.CHINCHILLA, times)
        n, d = law.optimal(section.CHINCHILLA)
        other = n / math.sqrt(times)
        tokens = section.CHINCHILLA / 6 / other
        assert tokens / other == pytest.approx(times * d / n)
        assert rise == pytest.approx(law.loss(other, tokens) / law.loss(n, d) - 1)
        assert 0 < rise < 0.005


def test_models_in_use_are_trained_far_beyond_the_rule():
    rows = {row[0]: row for row in section.data_table(["gpt-3", "llama-3.1-8b"]).rows}
    assert rows["gpt-3"][2] < 20 < rows["llama-3.1-8b"][2] / 50
    assert rows["gpt-3"][4:] == ("600 GB", "349 GB", "2.44 TB")


def test_the_notebook_says_nothing_of_the_machine_it_was_made_on():
    notebook = Path(__file__).parents[2] / "notebooks/training_cost.ipynb"
    text = notebook.read_text(encoding="utf-8")
    assert "WARNING" not in text
    assert "site-packages" not in text


def test_the_ten_questions_have_ten_answers_and_three_are_one(result):
    rows = result.table().rows
    assert [row[0].split()[0] for row in rows] == [str(n) for n in range(1, 11)]
    assert rows[0][1] == rows[4][1] == rows[9][1] == "28.5 days"
    assert rows[1][1] == "972 a100 for 30 days"
    assert rows[2][2] == "about 20 N by the rule: 3.49 T"
    assert rows[3][1] == "N = 175 B"
    assert rows[5][1:] == ("949 GB", "weights 2 N, tokens 2 D")
    assert rows[6][1:] == ("C = 3.14e23 FLOPs", "6 N D")
    assert rows[7][1] == "7.56 GB a device"
    assert rows[8][1:] == ("2.44 TB a checkpoint", "14 N with the optimizer")
    assert "3 as counted in the graph" in result.table().title
    furthest = max(c.profiled / c.formula - 1 for c in result.counts)
    assert f"profiler within {furthest:.1%}" in result.table().title


def test_try_it_twice_the_sequence_leaves_the_rule_and_more_than_doubles_activations():
    short, long = (_costs.estimate("llama-2-7b", sequence_length=s) for s in (None, 8192))
    assert long.sequence_length == 2 * short.sequence_length
    assert short.training_flops == long.training_flops
    assert long.matrix_flops / short.matrix_flops == pytest.approx(1 + 1 / 7, abs=0.01)
    assert long.memory["activations"] > 2.2 * short.memory["activations"]


def test_try_it_twice_the_devices_halve_time_and_states_but_not_activations(result):
    one = result.estimate
    two = _costs.estimate("gpt-3", devices=2048, zero_stage=3, recompute="full")
    assert two.seconds == pytest.approx(one.seconds / 2)
    assert two.memory["optimizer"] == pytest.approx(one.memory["optimizer"] / 2)
    assert two.memory["activations"] == one.memory["activations"]


def test_try_it_gradient_descent_takes_8_bytes_instead_of_16():
    states = {name: sum(_costs.state_bytes(1, name, "mixed").values()) for name in ("sgd", "adam")}
    assert states == {"sgd": 8, "adam": 16}


def test_every_option_of_run_reaches_the_estimate(monkeypatch):
    monkeypatch.setattr(section, "count_flops", list)
    options = {
        "model": "llama-2-7b",
        "tokens": 1e12,
        "devices": 64,
        "device": "h100",
        "mfu": 0.5,
        "optimizer": "momentum",
        "zero_stage": 1,
        "recompute": "selective",
        "deadline_days": 7.0,
    }
    result = section.run(**options)
    assert result.estimate == _costs.estimate(options.pop("model"), **options)
    states, activations = result.choices["stage 1"]
    n = result.estimate.total_parameters
    assert states == pytest.approx(n * (4 + (4 + 4) / 64))
    assert result.choices["3 + selective recompute"][1] == result.estimate.memory["activations"]
    assert activations > result.estimate.memory["activations"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"model": "gtp-3"}, "Did you mean 'gpt-3'"),
        ({"devices": 0}, "`devices` must be an integer of at least 1"),
        ({"mfu": math.nan}, "mfu=nan"),
        ({"mfu": 0.9}, "`mfu` must be at most 0.75 with recompute='full'"),
        ({"seed": -1}, "`seed` must be an integer of at least 0"),
    ],
)
def test_an_option_out_of_range_is_named(option, message):
    with pytest.raises(OptionError, match=message):
        section.run(**option)
