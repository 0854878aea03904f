"""The later exercises against what is known without them.

The program of an exercise that needs TensorFlow can't run in the checker's process. It runs here,
and must agree with the float64 formulas that stand in for it: the right one, and every mistake.
"""

import itertools
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from tf_examples.exercises import _exercise

KERAS = ("training_step", "keras_optimizer", "gradient_accumulation")


def _choices(name: str) -> list[dict[str, str]]:
    """Every choice of an exercise's conventions."""
    conventions = _exercise.load(name).spec.conventions
    return [
        dict(zip(conventions, choice, strict=True))
        for choice in itertools.product(*conventions.values())
    ]


def _function(name: str, function: str, **conventions: str) -> Callable[..., Any]:
    """A function of an exercise's solution."""
    exercise = _exercise.load(name)
    student: dict[str, Any] = {"__name__": "student"}
    exec(exercise.solution(exercise.conventions() | conventions), student)
    return student[function]


def _equal(received: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, Mapping):
        return list(received) == list(expected) and all(
            _equal(received[key], expected[key], tolerance) for key in expected
        )
    if isinstance(expected, list | tuple):
        return len(received) == len(expected) and all(
            _equal(r, e, tolerance) for r, e in zip(received, expected, strict=True)
        )
    if isinstance(expected, str) or isinstance(received, str):
        return received == expected
    difference = np.linalg.norm(np.asarray(received, float) - expected)
    return bool(difference <= tolerance * np.linalg.norm(expected))


@pytest.mark.parametrize("name", KERAS)
def test_program_agrees_with_the_formula_that_stands_in_for_it(
    name: str, tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exercise = _exercise.load(name)
    for conventions in _choices(name):
        program = exercise.solution(conventions)
        for case in exercise.spec.cases(np.random.default_rng(1)):
            received = _exercise._run(program, exercise.spec.driver, case)
            expected = exercise.expected(case, conventions)
            assert _equal(received, expected, exercise.spec.tolerance / 3), (case.name, received)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mistake"),
    [(name, m.name) for name in KERAS for m in _exercise.load(name).spec.mistakes],
)
def test_mistaken_program_agrees_with_the_formula_that_stands_in_for_it(
    name: str, mistake: str, tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exercise = _exercise.load(name)
    (made,) = (m for m in exercise.spec.mistakes if m.name == mistake)
    seen = 0
    for conventions in _choices(name):
        program = exercise.wrong(made, conventions)
        if program is None:
            continue
        recognized = False
        for case in exercise.spec.cases(np.random.default_rng(2)):
            try:
                received = _exercise._run(program, exercise.spec.driver, case)
            except Exception:
                assert recognized, f"{case.name}: crashes before a case could recognize it"
                continue
            expected = exercise.mistaken(made, case, conventions)
            assert _equal(received, expected, exercise.spec.tolerance), (case.name, received)
            right = exercise.expected(case, conventions)
            recognized = recognized or not _equal(received, right, exercise.spec.tolerance)
        assert recognized
        seen += 1
    assert seen


def test_gpt_2_small_has_the_parameters_of_its_published_weights() -> None:
    parameters = _function("transformer_costs", "parameters")
    assert parameters(12, 768, 50257, 1024) == 124_439_808
    exercise = _exercise.load("transformer_costs")
    for output, counted in itertools.product(*exercise.spec.conventions.values()):
        parameters = _function("transformer_costs", "parameters", output=output)
        stub = exercise.stub({"output": output, "counted": counted})
        assert f"{parameters(12, 768, 50257, 1024):,} parameters" in stub


def test_gpt_3_has_the_parameters_and_takes_the_operations_of_its_paper() -> None:
    """Brown et al. 2020, Table D.1: 174,600 million parameters, 3.14e23 operations for training."""
    gpt_3 = {"layers": 96, "width": 12288, "vocabulary": 50257, "context": 2048}
    parameters = _function("transformer_costs", "parameters")(**gpt_3)
    operations = _function("transformer_costs", "training_flops")(**gpt_3, tokens=300e9)
    assert round(parameters / 1e6, -2) == 174_600
    assert round(operations / 1e23, 2) == 3.14


def test_untied_output_adds_a_vocabulary_and_blocks_leave_all_embeddings_out() -> None:
    model = {"layers": 2, "width": 8, "vocabulary": 100, "context": 16}
    tied = _function("transformer_costs", "parameters", output="tied")(**model)
    untied = _function("transformer_costs", "parameters", output="untied")(**model)
    assert untied - tied == 100 * 8
    for output in ("tied", "untied"):
        training = _function("transformer_costs", "training_flops", output=output, counted="blocks")
        assert training(**model, tokens=1) == 6 * (tied - 100 * 8 - 16 * 8)


def test_forward_operations_of_gpt_2_small_are_those_of_its_matrix_products() -> None:
    """2 operations for each entry of the matrices, and 4 s h a layer for the attention."""
    forward = _function("transformer_costs", "forward_flops")
    h, layers, words, s = 768, 12, 50257, 1024
    shapes = [(h, h)] * 4 + [(h, 4 * h), (4 * h, h), (h, s), (s, h)]
    products = layers * sum(2 * n * m for n, m in shapes) + 2 * h * words
    assert forward(layers, h, words, s) == products


def test_mean_square_of_a_wide_network_is_as_predicted() -> None:
    weights = _function("initialization", "weights")
    predict = _function("initialization", "mean_squares")
    rng = np.random.default_rng(3)
    widths = [600, 900, 500]
    for scheme, activation in itertools.product(("lecun", "glorot", "he"), ("linear", "relu")):
        a = rng.normal(size=(400, widths[0]))
        predicted = predict(1.0, widths, scheme, activation)
        for fan_in, fan_out, expected in zip(widths, widths[1:], predicted, strict=False):
            z = a @ weights(rng.normal(size=(fan_in, fan_out)), scheme)
            assert np.mean(z**2) == pytest.approx(expected, rel=0.1)
            a = np.maximum(z, 0) if activation == "relu" else z


def test_variances_are_those_of_keras_initializers() -> None:
    import keras

    variance = _function("initialization", "variance")
    for scheme, initializer in (
        ("lecun", keras.initializers.LecunNormal(1)),
        ("glorot", keras.initializers.GlorotNormal(2)),
        ("he", keras.initializers.HeNormal(3)),
    ):
        drawn = np.asarray(initializer((400, 800)))
        assert variance(400, 800, scheme) == pytest.approx(np.var(drawn), rel=0.02)


def test_layout_transposes_the_weights() -> None:
    draws = np.random.default_rng(4).normal(size=(3, 7))
    for scheme in ("lecun", "glorot", "he"):
        rows = _function("initialization", "weights", layout="in_out")(draws, scheme)
        columns = _function("initialization", "weights", layout="out_in")(draws.T, scheme)
        assert np.array_equal(rows, columns.T)


def test_gradients_of_the_workers_make_the_gradient_of_the_whole_batch() -> None:
    rng = np.random.default_rng(5)
    x, y, w = rng.normal(size=(11, 3)), rng.normal(size=11), rng.normal(size=3)
    each = 2 * (x @ w - y)[:, None] * x  # the squared error's gradient, example by example
    sizes = _function("data_parallel", "shard_sizes")(11, 4)
    assert sizes == [len(part) for part in np.array_split(np.arange(11), 4)]
    shards = np.split(each, np.cumsum(sizes)[:-1])
    for sends, reduce in (("mean", np.mean), ("sum", np.sum)):
        sent = [[reduce(shard, axis=0)] for shard in shards]
        (together,) = _function("data_parallel", "batch_gradient", sends=sends)(sent, sizes)
        np.testing.assert_allclose(together, each.mean(axis=0), rtol=1e-12)


def test_clipping_agrees_with_tensorflow() -> None:
    import tensorflow as tf

    clip = _function("gradient_clipping", "clip_by_global_norm")
    rng = np.random.default_rng(6)
    gradients = [rng.normal(size=shape) for shape in ((4, 3), (3,), (2, 2, 2))]
    for limit in (0.1, 1.0, 100.0):
        expected, _ = tf.clip_by_global_norm(gradients, limit)
        for ours, theirs in zip(clip(gradients, limit), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert np.array_equal(clip([np.zeros(3)], 1.0), [np.zeros(3)])


def test_quasi_hyperbolic_momentum_contains_descent_and_momentum() -> None:
    """nu = 0 is plain gradient descent; nu = 1, with m a sum, is Keras's momentum."""
    import keras

    rng = np.random.default_rng(8)
    w, gradients = rng.normal(size=4), rng.normal(size=(6, 4))
    qhm = _function("keras_optimizer", "QHM", momentum="sum")
    for nu, momentum in ((0.0, 0.0), (1.0, 0.8)):
        ours, theirs = keras.Variable(w, dtype="float64"), keras.Variable(w, dtype="float64")
        optimizer = qhm(0.1, beta=0.8, nu=nu)
        known = keras.optimizers.SGD(0.1, momentum=momentum)
        for g in gradients:
            optimizer.apply([g], [ours])
            known.apply([g], [theirs])
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


def test_weight_decay_agrees_with_keras() -> None:
    """Keras's RMSprop, with the penalty put into its gradients and with its own weight_decay.

    Keras adds epsilon to v and decays before the step; so epsilon is 0 here, and the decay is that
    of the old weights in both.
    """
    import keras

    rng = np.random.default_rng(7)
    w, gradients = rng.normal(size=4), rng.normal(size=(6, 4))
    lr, rho, strength = 0.05, 0.9, 0.3
    for function, penalty, factor in (
        ("decoupled_decay", "whole", 0.0),
        ("l2_penalty", "half", 1.0),
        ("l2_penalty", "whole", 2.0),
    ):
        variable = keras.Variable(w, dtype="float64")
        decay = None if factor else strength
        optimizer = keras.optimizers.RMSprop(lr, rho=rho, epsilon=0.0, weight_decay=decay)
        expected = [w]
        for g in gradients:
            optimizer.apply([g + factor * strength * variable.numpy()], [variable])
            expected.append(variable.numpy())
        received = _function("weight_decay", function, penalty=penalty)(
            w, gradients, lr, rho, 0.0, strength
        )
        np.testing.assert_allclose(received, expected, rtol=1e-6)
