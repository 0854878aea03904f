"""Bytes predicted from sizes: against the graph, against tensors, against what processes held."""

import dataclasses
import json
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import custom_optimizers
from tf_examples import _data, _fresh, _keras_costs, cli
from tf_examples import memory_budget as section
from tf_examples._options import OptionError
from tf_examples._transformer import Shape
from tf_examples.memory_budget import PLAIN, Bytes, Setting, Training, Trial, predict

SMALL = Shape(layers=2, width=24, heads=3, context=20, vocabulary=11)
PRECISIONS: tuple[section.Precision, ...] = ("float32", "bfloat16", "float16")


def windows(shape=SMALL, batch_size=8, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, shape.vocabulary, (batch_size, shape.context + 1))


def values(variables):
    return [np.asarray(variable) for variable in variables]


def test_our_optimizers_are_all_there():
    assert set(section.SLOTS) == set(section.RATES) == set(custom_optimizers.__all__)


@pytest.mark.parametrize("optimizer", section.SLOTS)
def test_weights_gradients_and_state_are_predicted_to_the_byte_but_for_scalars(optimizer):
    setting = Setting(optimizer=optimizer)
    training, guess = Training(SMALL, setting, 0), predict(SMALL, 8, setting)
    assert section.tensor_bytes(training.weights) == guess.weights
    assert section.tensor_bytes(training.gradients) == guess.gradients
    scalars = section.tensor_bytes(training.optimizer.variables) - guess.state
    assert 0 < scalars <= 16  # the number of steps, the learning rate


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("recompute", [False, True])
def test_the_graph_keeps_what_the_formula_says_to_the_byte(precision, recompute):
    setting = Setting(recompute=recompute, precision=precision)
    graph, forward = _keras_costs.training_step(section.new_model(SMALL, setting, 0), 8, 20)
    kept = _keras_costs.saved_bytes(graph, forward) / (8 * 20)
    number = 4 if precision == "float32" else 2
    batch, last_norm = 4, (8 + number) * SMALL.width + 12
    blocks = 2 * sum(section.block_bytes(SMALL, precision).values())
    if recompute:
        blocks = 2 * number * SMALL.width
    assert kept == batch + blocks + last_norm


def test_a_block_in_float32_is_the_formula_of_the_notebook():
    for shape in (SMALL, Shape(4, 256, 8, 128, 96)):
        block = sum(section.block_bytes(shape, "float32").values())
        assert block == 56 * shape.width + 4 * shape.heads * shape.context + 24


def test_micro_batches_divide_the_activations_and_nothing_else():
    whole = predict(SMALL, 24, PLAIN)
    for parts in (2, 3, 24):
        part = predict(SMALL, 24, Setting(micro_batches=parts))
        assert part == dataclasses.replace(
            predict(SMALL, 24 // parts, PLAIN), weights=whole.weights
        )
        fixed = 4 * 12 * SMALL.width**2  # a block's gradients
        assert (part.activations - fixed) * parts == whole.activations - fixed


def test_the_peak_is_the_sum_where_the_activations_outweigh_the_update():
    large = predict(SMALL, 64, PLAIN)
    parts = large.weights + large.gradients + large.state + large.activations
    assert large.peak == parts
    wide = Shape(8, 256, 4, 4, 11)
    few = predict(wide, 1, Setting(precision="float16"))
    assert few.activations < section.update_bytes(wide, Setting(precision="float16"))
    assert few.peak > few.weights + few.gradients + few.state + few.activations


def test_gradients_of_micro_batches_add_up_to_those_of_the_batch():
    assert section.farthest(SMALL, 4) < 1e-5


def direct(setting, data):
    """Loss and gradients of the whole batch, by a plain tape."""
    model = section.new_model(SMALL, setting, 0)
    with tf.GradientTape() as tape:
        logits = model(tf.constant(data[:, :-1]))
        loss = tf.reduce_mean(
            keras.losses.sparse_categorical_crossentropy(data[:, 1:], logits, from_logits=True)
        )
    gradients = tape.gradient(loss, model.trainable_variables)
    return float(loss), [np.asarray(tf.convert_to_tensor(gradient)) for gradient in gradients]


@pytest.mark.parametrize(
    ("setting", "tolerance"),
    [
        (PLAIN, 1e-4),
        (Setting(micro_batches=4), 1e-4),
        (Setting(recompute=True), 1e-4),
        (Setting(micro_batches=2, recompute=True), 1e-4),
        (Setting(precision="float16"), 0.05),
        (Setting(precision="bfloat16", recompute=True), 0.1),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_every_setting_takes_the_same_step(setting, tolerance):
    data = windows()
    loss, gradients = direct(PLAIN, data)
    way = dataclasses.replace(setting, optimizer="GradientDescent")
    training = Training(SMALL, way, 0)
    before = values(training.weights)
    for _ in range(2):  # the sums begin anew at each step
        for weight, value in zip(training.weights, before, strict=True):
            weight.assign(value)
        assert training.step(data) == pytest.approx(loss, rel=max(tolerance / 10, 1e-6))
        moved = [a - b for a, b in zip(before, values(training.weights), strict=True)]
        rate = section.RATES["GradientDescent"]
        largest = rate * max(np.abs(gradient).max() for gradient in gradients)
        for step, gradient in zip(moved, gradients, strict=True):
            np.testing.assert_allclose(step, rate * gradient, atol=tolerance * largest)


def test_half_precision_keeps_weights_and_gradients_in_float32():
    training = Training(SMALL, Setting(precision="bfloat16"), 0)
    kinds = {np.asarray(value).dtype.name for value in training.weights + training.gradients}
    assert kinds == {"float32"}
    assert {block.compute_dtype for block in training.model.blocks} == {"bfloat16"}
    assert keras.config.dtype_policy().name == "float32"


def test_a_step_whose_gradients_overflow_is_left_out_and_the_scale_halved():
    training = Training(SMALL, Setting(precision="float16"), 0)
    training.optimizer.dynamic_scale.assign(2.0**100)
    before = values(training.weights)
    training.step(windows())
    assert all(np.array_equal(a, b) for a, b in zip(before, training.weights, strict=True))
    assert float(training.optimizer.dynamic_scale) == 2.0**99


def test_without_loss_scaling_float16_spoils_gradients():
    shape = Shape(2, 64, 4, 64, 96)
    data = windows(shape, 64)
    unscaled, scaled = (section.spoilt(shape, data, "float16", scale) for scale in (1.0, 2.0**15))
    assert unscaled > 2 * scaled > 0
    assert section.spoilt(shape, data, "float32") == 0


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500MB", 5e8), ("1.5GB", 1.5e9), ("1.5 gb", 1.5e9), ("64", 64), ("64B", 64),
        (".5kb", 500), ("2GiB", 2 * 2**30), ("3 MiB", 3 * 2**20), ("1TB", 1e12),
    ],
)  # fmt: skip
def test_a_budget_is_read_as_people_write_it(text, size):
    assert section.parse_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "0", "0MB", "-5MB", "many", "5 apples", "MB", "1e9", "nan", "inf", "5MBB", "5M"]
)
def test_any_other_budget_is_refused_in_one_line(text):
    with pytest.raises(OptionError, match="`budget`") as error:
        section.parse_bytes(text)
    assert "\n" not in str(error.value)


def test_every_setting_is_known_by_its_name():
    settings = section.every_setting(6)
    assert len(settings) == len(set(settings)) == 5 * 2 * 3 * 4
    assert [section.parse_setting(way.name) for way in settings] == settings
    assert settings[0] == PLAIN == section.parse_setting("plain")
    assert all(6 % way.micro_batches == 0 for way in settings)


@pytest.mark.parametrize("size", [1, 999, 1001, 59_650_001, 388_112_384, 1.2345e9])
def test_a_size_is_said_so_that_it_suffices(size):
    again = section.parse_bytes(section.said(size))
    assert size <= again <= size * 1.01 + 10


def trial(setting, peak, seconds=None):
    return Trial(setting, Bytes(0, 0, 0, 0, peak), None, seconds)


def test_the_fastest_that_fits_is_chosen_and_adam_kept_where_it_can_be():
    slow, fast = Setting(recompute=True), Setting(micro_batches=2)
    other = Setting(optimizer="GradientDescent")
    trials = [
        trial(PLAIN, 100, 1.0),
        trial(slow, 50, 3.0),
        trial(fast, 60, 2.0),
        trial(other, 40, 0.1),
    ]
    expected = {1000: PLAIN, 100: PLAIN, 99: fast, 60: fast, 59: slow, 49: other, 40: other}
    for budget, setting in expected.items():
        chosen = section.choose(trials, budget)
        assert chosen is not None
        assert chosen.setting == setting
    assert section.choose(trials, 39) is None
    assert section.choose([trial(PLAIN, 10)], 100) is None  # not tried
    held = dataclasses.replace(trial(PLAIN, 100, 1.0), measured=Bytes(0, 0, 0, 0, 104))
    assert section.choose([held], 103) is None  # more than was predicted
    assert section.choose([held], 104) is held


DEFAULT = Shape(4, 256, 8, 128, 96)


def test_where_nothing_tried_fits_the_mildest_way_that_does_is_tried():
    assert len(section.candidates(section.DEFAULTS, DEFAULT, 24, 500e6)) == len(section.DEFAULTS)
    *_, added = section.candidates(section.DEFAULTS, DEFAULT, 24, 60e6)
    assert added.needs <= 60e6
    assert (added.setting.optimizer, added.setting.recompute) == ("Adam", True)
    milder = dataclasses.replace(added.setting, micro_batches=added.setting.micro_batches // 2)
    assert predict(DEFAULT, 24, milder).peak > 60e6
    *_, other = section.candidates(section.DEFAULTS, DEFAULT, 24, 40e6)
    assert other.needs <= 40e6
    assert other.setting.optimizer == "GradientDescent"


def test_a_budget_that_nothing_meets_is_told_the_least_that_would():
    with pytest.raises(OptionError, match=r"nothing fits in 1.00 MB: the least is") as error:
        section.candidates(section.DEFAULTS, DEFAULT, 24, 1e6)
    assert "\n" not in str(error.value)
    least = section.parse_bytes(str(error.value).split("the least is ")[1].split(",")[0])
    section.candidates(section.DEFAULTS, DEFAULT, 24, least)
    with pytest.raises(OptionError, match="nothing fits"):
        section.candidates(section.DEFAULTS, DEFAULT, 24, least * 0.98)


TINY: dict[str, Any] = {
    "layers": 1, "width": 8, "heads": 2, "context": 8, "batch_size": 4, "steps": 2,
}  # fmt: skip

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no layers": ({"layers": 0}, "`layers`"),
    "a negative width": ({"width": -8}, "`width`"),
    "heads that don't divide": ({"heads": 3}, "must divide"),
    "one step, which can't be timed": ({"steps": 1}, "`steps` must be an integer of at least 2"),
    "a negative seed": ({"seed": -1}, "`seed`"),
    "no budget": ({"budget": "0"}, "`budget`"),
    "a budget that nothing meets": ({"budget": "1KB"}, "the least is"),
    "an unknown setting": ({"settings": ["plian"]}, "Received: 'plian'"),
    "two precisions": ({"settings": ["float16+bfloat16"]}, "Received: 'float16+bfloat16'"),
    "an empty setting": ({"settings": ["recompute+"]}, "Received: 'recompute+'"),
    "micro-batches of nothing": ({"settings": ["accumulate0"]}, "Received: 'accumulate0'"),
    "micro-batches that don't divide": ({"settings": ["accumulate3"]}, "a multiple"),
    "a model larger than the memory": ({"width": 2**20}, "are free here"),
    "a batch larger than the memory": ({"batch_size": 10**12}, "are free here"),
    "an absurd batch and a budget": ({"batch_size": 10**12, "budget": "1KB"}, "the least is"),
    "a text that is not there": ({"text": "nowhere.txt"}, "can't read nowhere.txt"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_options_are_one_line_and_start_no_process(what, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a process was started")

    monkeypatch.setattr(_fresh, "Fresh", refuse)
    options, said = REFUSED[what]
    with pytest.raises(OptionError) as error:
        section.run(**TINY | options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command_says_a_hopeless_budget_in_one_line(capsys):
    assert cli.main(["run", "memory_budget", "--quick", "--budget", "1KB"]) == 2
    err = capsys.readouterr().err
    assert "the least is" in err
    assert err.count("\n") == 1


class StandIn:
    """Answers as a fresh process would, at once."""

    calls: list[tuple] = []  # noqa: RUF012

    def __init__(self, module, environment=None):
        self.bytes = environment == section.GIVES_BACK

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def call(self, function, shape, batch_size, setting, *rest):
        json.dumps([shape, setting, rest])
        self.calls.append((function, setting))
        assert self.bytes == (function == "measure_bytes")
        if function == "measure_bytes":
            return dataclasses.asdict(Bytes(1e6, 1e6, 1e6, None, None))
        return {"seconds": 2.0 - setting["recompute"], "loss": 3.0, "grew": None}


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(_fresh, "Fresh", StandIn)
    monkeypatch.setattr(StandIn, "calls", [])
    return StandIn


def test_a_system_without_proc_is_named_and_predictions_stand_alone(stand_in):
    result = section.run(**TINY)
    assert "no /proc" in result.note
    assert "no /proc" in result.table().title
    assert all(trial.held is None for trial in result.trials)
    assert "–" in result.table().cells()[1]
    assert "predicted to within" not in result.figure().statement


def test_only_what_fits_is_tried_and_the_choice_is_explained(stand_in):
    shape = Shape(3, 8, 2, 8, len(_data.text().characters))
    limit = int(predict(shape, 4, Setting(recompute=True)).peak)
    wanted = ["plain", "recompute", "accumulate2", "recompute"]
    result = section.run(**TINY | {"layers": 3}, settings=wanted, budget=str(limit))
    tried = [setting for function, setting in stand_in.calls if function == "measure_training"]
    assert [trial.setting.name for trial in result.trials] == ["plain", "recompute", "accumulate2"]
    assert all(setting["recompute"] or setting["micro_batches"] > 1 for setting in tried)
    assert result.trials[0].seconds is None
    assert result.chosen == "recompute"
    assert "recompute" in result.why
    assert "the fastest of the 2 that fit and keep Adam" in result.why
    assert result.budget == limit


def test_what_held_more_than_the_budget_is_not_chosen(stand_in, monkeypatch):
    def call(self, function, *arguments):
        if function == "measure_bytes":
            return dataclasses.asdict(Bytes(1, 1, 1, 1, 51e6))
        return {"seconds": 1.0, "loss": 3.0, "grew": 1}

    monkeypatch.setattr(StandIn, "call", call)
    result = section.run(**TINY, budget="50MB")
    assert result.chosen is None
    assert "held 51.0 MB and more" in result.why
    assert section.run(**TINY, budget="51MB").chosen is not None


def test_a_default_way_has_as_many_micro_batches_as_divide_the_batch(stand_in):
    result = section.run(**TINY | {"batch_size": 6})
    assert {trial.setting.micro_batches for trial in result.trials} == {1, 3}
    result = section.run(**TINY | {"batch_size": 7})
    assert {trial.setting.micro_batches for trial in result.trials} == {1}
    assert len({trial.setting for trial in result.trials}) == len(result.trials)


def test_a_loss_that_overflows_and_a_process_that_ends_are_named(stand_in, monkeypatch):
    def call(self, function, *arguments):
        if function == "measure_bytes":
            return dataclasses.asdict(Bytes(1, 1, 1, 1, 1))
        return {"seconds": 1.0, "loss": float("nan"), "grew": 1}

    monkeypatch.setattr(StandIn, "call", call)
    with pytest.raises(FloatingPointError, match="the loss of plain is nan"):
        section.run(**TINY)

    def ended(self, function, *arguments):
        raise _fresh.EndedError("the process was ended by signal 9: too little memory?")

    monkeypatch.setattr(StandIn, "call", ended)
    with pytest.raises(OptionError, match="plain: the process was ended by signal 9"):
        section.run(**TINY)


@pytest.mark.skipif(not _fresh.resident(), reason="needs /proc")
def test_the_quick_form_measures_what_it_predicts_and_leaves_no_process(new_children):
    result = section.run(**section.QUICK)
    assert [trial.setting.name for trial in result.trials] == section.QUICK["settings"]
    for trial in result.trials:
        guess, found = trial.predicted, trial.measured
        assert found is not None
        assert found.weights == guess.weights
        assert found.gradients == guess.gradients
        assert found.state == pytest.approx(guess.state, rel=0.05)
        assert found.activations == pytest.approx(guess.activations, rel=0.2, abs=5e6)
        assert trial.loss == pytest.approx(result.trials[0].loss, rel=1e-4)
        assert trial.seconds > 0
        assert trial.grew > 0
    assert not new_children()


LARGE = [
    (DEFAULT, 56, PLAIN),
    (DEFAULT, 56, Setting(optimizer="GradientDescent")),
    (DEFAULT, 64, Setting(precision="bfloat16")),
    (DEFAULT, 64, Setting(precision="float16", optimizer="RMSprop")),
    (DEFAULT, 104, Setting(micro_batches=2, optimizer="Momentum")),
    (DEFAULT, 144, Setting(recompute=True, optimizer="Adagrad")),
    (Shape(2, 512, 4, 64, 96), 116, PLAIN),
    (Shape(6, 96, 6, 256, 96), 28, PLAIN),
]


@pytest.mark.slow
@pytest.mark.skipif(not _fresh.resident(), reason="needs /proc")
@pytest.mark.parametrize(
    ("shape", "batch_size", "setting"), LARGE, ids=[f"{w.name}-{s.width}" for s, _, w in LARGE]
)
def test_predictions_hold_for_models_with_500_mb_of_activations(shape, batch_size, setting):
    guess = predict(shape, batch_size, setting)
    with _fresh.Fresh(section.MODULE, section.GIVES_BACK) as fresh:
        found = section.measured(fresh, shape, batch_size, setting)
    assert found.activations >= 500e6
    for part in ("weights", "gradients", "state"):
        assert getattr(guess, part) == pytest.approx(getattr(found, part), rel=0.05, abs=100)
    assert guess.activations == pytest.approx(found.activations, rel=0.2)
    assert guess.peak == pytest.approx(found.peak, rel=0.1)


@pytest.mark.slow
@pytest.mark.skipif(not _fresh.resident(), reason="needs /proc")
def test_what_is_chosen_stays_within_the_budget(new_children):
    result = section.run(budget="100MB", settings=["plain", "accumulate4+recompute", "recompute"])
    assert result.chosen == "accumulate4+recompute"
    (chosen,) = [trial for trial in result.trials if trial.setting.name == result.chosen]
    assert chosen.held <= 100e6
    assert [trial.seconds is None for trial in result.trials] == [True, False, True]
    assert not new_children()


def test_the_pictures_say_the_extremes_and_the_error():
    found = Bytes(1e6, 1e6, 2e6, 9e6, 95e6)
    plain = Trial(PLAIN, Bytes(1e6, 1e6, 2e6, 96e6, 100e6), found, 1.0, 3.0)
    small = Trial(
        Setting(recompute=True), Bytes(1e6, 1e6, 2e6, 46e6, 50e6),
        dataclasses.replace(found, peak=50e6), 1.5, 3.0,
    )  # fmt: skip
    picture = section.draw_bytes([plain, small], budget=60e6)
    assert picture.statement == "The same training in 95 MB or in 50 MB, predicted to within 5%"
    assert "plain 100 MB predicted, 95 measured" in picture.alt
    picture = section.draw_time([plain, small])
    assert picture.statement.startswith("With Adam, 50 MB suffice, at 1.5 times the time")
