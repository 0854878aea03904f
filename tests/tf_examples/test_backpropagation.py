"""Section `backpropagation`: the article's second program."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LinearRegression

from custom_optimizers import GradientDescent
from tf_examples import backpropagation as section
from tf_examples._options import OptionError
from tf_examples._report import to_json

SMALL = [3, 5, 4, 2]


@pytest.fixture(scope="module")
def result():
    return section.run()


def transcript(start, y, learning_rate, steps):
    """The program in float64, entry by entry; parameters are (3, 3), b below W."""
    theta, x = np.array(start, "float64"), section.INPUTS.astype("float64")
    for _ in range(steps):
        gradient = np.zeros((3, 3))
        for i in range(3):
            for k in range(3):
                z = x[i, 0] * theta[0, k] + x[i, 1] * theta[1, k] + theta[2, k]
                for row, factor in enumerate((x[i, 0], x[i, 1], 1)):
                    gradient[row, k] += 2 / 9 * (z - y[i, k]) * factor
        theta -= learning_rate * gradient
    return theta


def stacked(seed):
    return np.vstack(section.start_values(seed))


# The graph


def test_the_small_graph_has_the_gradients_of_the_tape():
    x, y = np.array([0.5, -2.0]), np.array([1.0, 3.0])
    values, gradients = section.walk(1.5, -0.25, x, y)
    w, b = tf.constant(1.5, tf.float64), tf.constant(-0.25, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch([w, b])
        z = w * x + b
        s = tf.square(z - y)
        loss = tf.reduce_mean(s)
    by_tape = tape.gradient(loss, [w, b, z, s])
    names = ("w", "b", "z1", "z2", "s1", "s2")
    np.testing.assert_allclose([gradients[name] for name in names], np.hstack(by_tape))
    np.testing.assert_allclose([values[f"z{i}"] for i in (1, 2)], z)
    assert values["J"] == float(loss)
    assert gradients["J"] == 1


def test_the_sum_of_the_chain_rule_runs_over_direct_uses_only():
    x, y = np.array([1.0, -1.0]), np.array([2.0, 2.0])
    values, gradients = section.walk(2.0, 1.0, x, y)
    over_z = gradients["z1"] * x[0] + gradients["z2"] * x[1]
    over_s = sum(gradients[f"s{i}"] * 2 * (values[f"z{i}"] - 2) * x[i - 1] for i in (1, 2))
    assert gradients["w"] == over_z == 4
    assert over_z + over_s == 8  # each path counted twice


def test_the_graph_is_drawn_with_the_numbers_of_the_walk():
    figure = section.draw_graph(2.0, 1.0, np.array([1.0, -1.0]), np.array([2.0, 2.0]))
    assert "gradient of w is 4: its two paths to the loss, 1 and 3" in figure.statement
    drawn = [text.get_text() for text in figure.axes[0].texts]
    for number in ("2", "4", "1", "-2", "3", "-1", "-3", "9", "0.5", "5", "-6"):
        assert number in drawn
    assert "z2 -1, gradient -3" in figure.alt
    assert figure.encoded().startswith(b"\x89PNG")


# The layer by hand


def test_three_ways_find_the_gradients_of_the_layer():
    start = stacked(5)
    moved = start - transcript(start, section.TARGETS, 1.0, 1)  # a step at rate 1 is the gradient
    ways = section.three_gradients(seed=5)
    assert list(ways) == ["by hand", "GradientTape", "differences"]
    for name, tolerance in zip(ways, (1e-13, 1e-13, 1e-8), strict=True):
        np.testing.assert_allclose(np.vstack(ways[name]), moved, rtol=tolerance)


def test_differences_leave_the_parameters_as_they_were():
    parameter = np.array([3.0, -1.0])
    (gradient,) = section.finite_differences(lambda: float((parameter**3).sum()), [parameter])
    np.testing.assert_allclose(gradient, 3 * parameter**2, rtol=1e-8)
    np.testing.assert_array_equal(parameter, [3, -1])


# The program


def test_a_thousand_steps_are_bit_for_bit_those_of_tensorflow_1(tensorflow_1):
    W, b = section.start_values(seed=3)
    fed = {"x": section.INPUTS, "y": section.TARGETS[:1]}  # one row of targets, as in the listing
    old = tensorflow_1("backpropagation", W=W, b=b, **fed, learning_rate=0.01, steps=1000)
    new = section.run_program(3, section.TARGETS, learning_rate=0.01, steps=1000)[-1]
    assert new.tobytes() == np.vstack(old).tobytes()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_program_is_within_1e5_of_the_float64_transcript(jit_compile):
    W, b = map(tf.Variable, section.start_values(seed=4))
    loop = tf.function(section.descend.python_function, jit_compile=jit_compile)
    path = loop(W, b, section.INPUTS, section.TARGETS, tf.constant(0.01), 1000)
    expected = transcript(stacked(4), section.TARGETS, 0.01, 1000)
    np.testing.assert_allclose(path[-1], expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(path[0], stacked(4))
    np.testing.assert_array_equal(path[-1], np.vstack([W, b]))  # moved in place
    halfway = transcript(stacked(4), section.TARGETS, 0.01, 500)
    np.testing.assert_allclose(path[500], halfway, rtol=0, atol=1e-5)


def test_the_start_is_w_and_then_b_from_one_generator():
    W, b = section.start_values(seed=7)
    numbers = np.random.default_rng(7).normal(size=9).astype("float32")
    np.testing.assert_array_equal(np.hstack([W.ravel(), b]), numbers)
    assert (W.shape, b.shape, W.dtype, b.dtype) == ((2, 3), (3,), "float32", "float32")


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("steps", [1000, 150])  # 150: Keras runs 100 at once, then the rest
def test_the_three_tellings_end_at_the_same_bits(seed, steps):
    tape = section.run_program(seed, section.TARGETS, 0.01, steps)[-1]
    custom = section.descend_with(GradientDescent(0.01), seed, section.TARGETS, steps)
    np.testing.assert_array_equal(custom, tape)
    np.testing.assert_array_equal(section.fit(seed, section.TARGETS, 0.01, steps), tape)


def test_the_custom_optimizer_is_the_one_that_moves_the_parameters():
    optimizer = GradientDescent(0.25)
    end = section.descend_with(optimizer, 0, section.TARGETS, 2)
    assert int(optimizer.iterations) == 2
    np.testing.assert_allclose(end, transcript(stacked(0), section.TARGETS, 0.25, 2), rtol=1e-5)


# The modes


def test_the_curvatures_are_two_ninths_and_twice_eight_ninths():
    curvatures, directions = section.modes()
    np.testing.assert_allclose(curvatures, [2 / 9, 8 / 9, 8 / 9])
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(directions[:, 0] / directions[0, 0], [1, 1, -1])


def test_the_curvatures_are_those_of_the_hessian_of_tensorflow():
    theta = tf.Variable(stacked(0))
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            loss = section.loss_function(theta[:2], theta[2], section.INPUTS, section.TARGETS)
        gradient = inner.gradient(loss, theta)
    hessian = tf.reshape(outer.jacobian(gradient, theta), (9, 9))
    eigenvalues = np.linalg.eigvalsh(hessian)
    np.testing.assert_allclose(eigenvalues, np.repeat(section.modes()[0], 3), rtol=1e-5)


def test_the_slowest_mode_keeps_10_8_percent_of_its_distance(result):
    predicted, measured = result.shares
    assert predicted[0] == pytest.approx((1 - 0.01 * 2 / 9) ** 1000)
    assert f"{measured[0]:.1%}" == "10.8%"
    np.testing.assert_allclose(measured[0], predicted[0], rtol=1e-5)
    np.testing.assert_allclose(measured[1:], predicted[1:], rtol=1e-2)


def test_one_percent_of_the_slowest_mode_is_left_after_2071_steps():
    path = section.run_program(0, section.TARGETS, 0.01, 2071)
    shares = section.measured_shares(path, section.TARGETS)[:, 0]
    assert shares[2071] < 0.01 < shares[2068]


def test_every_step_lies_on_the_prediction(result):
    predicted = section.predicted_shares(0.01, 1000)
    measured = section.measured_shares(result.path, section.TARGETS)
    np.testing.assert_allclose(measured, predicted, rtol=0, atol=1e-6)


def test_the_minimum_ignores_the_inputs_and_is_that_of_linear_regression():
    np.testing.assert_allclose(
        section.minimum(section.TARGETS), [[0, 0, 0], [0, 0, 0], [2, 3, 4]], atol=1e-12
    )
    line = LinearRegression().fit(section.INPUTS, section.KNOWN_TARGETS)
    expected = np.vstack([line.coef_.T, line.intercept_])
    np.testing.assert_allclose(section.minimum(section.KNOWN_TARGETS), expected, atol=1e-5)


def test_the_closed_form_ends_where_the_transcript_does(result):
    expected = transcript(stacked(0), section.TARGETS, 0.01, 1000)
    np.testing.assert_allclose(result.formula, expected, rtol=1e-10)
    np.testing.assert_allclose(result.path[-1], expected, rtol=0, atol=2e-6)
    assert result.loss[0] == pytest.approx(result.loss[1], rel=1e-4)


def test_in_each_column_the_weights_are_as_much_too_high_as_the_bias_too_low(result):
    off = result.path[-1] - section.minimum(section.TARGETS)
    assert (off[:2] > 0).all()
    np.testing.assert_allclose(off[1], off[0], atol=1e-3)
    np.testing.assert_allclose(-off[2], off[0], atol=1e-3)


def test_the_loss_falls_and_is_not_zero(result):
    loss = section.losses(result.path, section.TARGETS)
    assert (np.diff(loss) < 0).all()
    assert loss[-1] > 0.01
    assert result.loss[1] == pytest.approx(loss[-1], rel=1e-4)


# The task in which the inputs matter


def test_a_known_layer_is_found_with_the_same_modes_and_more_steps():
    path = section.run_program(0, section.KNOWN_TARGETS, 0.01, 10_000)
    shares = section.measured_shares(path, section.KNOWN_TARGETS)
    np.testing.assert_allclose(shares[1000, 0], section.predicted_shares(0.01, 1000)[-1, 0], 1e-4)
    assert np.abs(path[1000] - section.KNOWN).max() > 0.1
    np.testing.assert_allclose(path[-1], section.KNOWN, atol=1e-4)


def test_it_stops_short_of_the_prediction_because_float32_rounds_the_steps_away():
    path = section.run_program(0, section.KNOWN_TARGETS, 0.01, 10_000)
    shares = section.measured_shares(path, section.KNOWN_TARGETS)
    predicted = section.predicted_shares(0.01, 10_000)[-1, 0]
    assert shares[-1, 0] > 1000 * predicted
    np.testing.assert_array_equal(path[-1000], path[-1])  # it stands still

    W, b = (tf.Variable(array.astype("float64")) for array in section.start_values(0))
    numbers = tf.constant(0.01, tf.float64), tf.constant(10_000)
    x, y = (tf.constant(array, tf.float64) for array in (section.INPUTS, section.KNOWN_TARGETS))
    path = section.descend(W, b, x, y, *numbers)
    shares = section.measured_shares(path.numpy(), section.KNOWN_TARGETS)
    np.testing.assert_allclose(shares[-1, 0], predicted, rtol=1e-3)  # with more digits it goes on


# The deep network


@pytest.mark.parametrize("activation", section.ACTIVATIONS)
@pytest.mark.parametrize("widths", [[4, 3], SMALL, [2, 9, 1, 9, 3]])
def test_a_network_by_hand_has_the_gradients_of_the_tape(widths, activation):
    assert section.network_error(widths, activation, seed=1) < section.TOLERANCE


@pytest.mark.parametrize("activation", section.ACTIVATIONS)
def test_a_network_by_hand_has_the_gradients_of_differences(activation):
    generator = np.random.default_rng(2)
    x, y = generator.normal(size=(6, SMALL[0])), generator.normal(size=(6, SMALL[-1]))
    layers = section.random_layers(SMALL, seed=2)
    output, kept = section.forward(x, layers, activation)
    ours = section.backward(2 * (output - y) / y.size, layers, kept, activation)

    def loss():
        return np.mean((section.forward(x, layers, activation)[0] - y) ** 2)

    tried = section.finite_differences(loss, [array for layer in layers for array in layer])
    assert section.relative_error(ours, tried) < 1e-8
    assert [g.shape for g in ours] == [array.shape for layer in layers for array in layer]


def test_the_output_of_the_network_is_that_of_keras():
    layers = section.random_layers(SMALL, seed=3)
    x = np.random.default_rng(3).normal(size=(6, SMALL[0]))
    for activation in section.ACTIVATIONS:
        output, _ = section.forward(x, layers, activation)
        np.testing.assert_allclose(output, section.keras_network(layers, activation)(x))


def test_a_network_of_one_layer_is_the_layer_by_hand():
    W, b, x, y = (
        array.astype("float64")
        for array in (*section.start_values(0), section.INPUTS, section.TARGETS)
    )
    output, kept = section.forward(x, [(W, b)], "relu")
    pair = section.backward(2 * (output - y) / 9, [(W, b)], kept, "relu")
    for ours, other in zip(pair, section.layer_gradients(W, b, x, y), strict=True):
        np.testing.assert_array_equal(ours, other)


def test_the_relative_error_is_one_of_norms():
    ours, theirs = [np.array([3.0]), np.array([[4.0, 0.0]])], [np.array([3.0]), np.array([[4, 5]])]
    assert section.relative_error(ours, theirs) == pytest.approx(5 / math.sqrt(50))


# The cost


@pytest.mark.parametrize("widths", [section.WIDTHS, [128] * 9, [3, 2]])
def test_tensorflow_counts_as_many_flops_of_products_as_the_formula(widths):
    model = section.keras_network(section.random_layers(widths, 0), "relu")
    formula = section.product_flops(widths, 32)
    assert section.counted_flops(model, 32, section.PRODUCTS) == formula


def test_the_products_are_nearly_all_of_the_work():
    model = section.keras_network(section.random_layers(section.WIDTHS, 0), "relu")
    counted = sum(section.counted_flops(model, 32))
    products = sum(section.product_flops(section.WIDTHS, 32))
    assert products == 2 * 32 * (2 * 784 * 128 + 3 * 128 * 10) == 13_090_816
    assert 1.0005 < counted / products < 1.001


def test_the_way_back_costs_one_forward_pass_for_a_layer_and_nears_two_with_depth():
    ratios = [
        backward / forward
        for forward, backward in (section.product_flops([64] * (n + 1), 8) for n in (1, 2, 8, 100))
    ]
    np.testing.assert_allclose(ratios, [1, 1.5, 1.875, 1.99])
    forward, backward = section.product_flops(section.WIDTHS, 32)
    assert 1 < backward / forward < 1.02


# Try it


def test_try_it_at_1_8_all_modes_shrink_to_0_6_a_step_and_40_are_enough():
    np.testing.assert_allclose(np.abs(section.predicted_shares(1.8, 1)[1]), 0.6)
    path = section.run_program(0, section.TARGETS, 1.8, 40)
    np.testing.assert_allclose(section.measured_shares(path, section.TARGETS)[1], 0.6, rtol=1e-5)
    np.testing.assert_allclose(path[-1], section.minimum(section.TARGETS), atol=1e-5)


def test_try_it_the_limit_of_the_learning_rate_is_2_25(result):
    assert result.limit == pytest.approx(2.25)
    for learning_rate, grows in ((2.2, False), (2.3, True)):
        path = section.run_program(0, section.TARGETS, learning_rate, 100)
        loss = section.losses(path, section.TARGETS)
        assert (loss[-1] > loss[0]) == grows


def test_try_it_shifted_inputs_are_slower_and_diverge_sooner(monkeypatch):
    monkeypatch.setattr(section, "INPUTS", section.INPUTS + 3)
    path = section.run_program(0, section.TARGETS, 0.01, 1000)
    assert f"{section.measured_shares(path, section.TARGETS)[-1, 0]:.0%}" == "88%"
    assert f"{2 / section.modes()[0][-1]:.2f}" == "0.13"


def test_try_it_without_the_slope_of_the_activation_only_linear_is_right(monkeypatch):
    flat = {name: (f, np.ones_like) for name, (f, _) in section.ACTIVATIONS.items()}
    monkeypatch.setattr(section, "ACTIVATIONS", flat)
    for activation in flat:
        error = section.network_error(SMALL, activation, seed=0)
        assert (error < section.TOLERANCE) == (activation == "linear"), activation


# The command


def test_a_run_that_overflows_names_the_step_and_the_limit():
    with pytest.raises(FloatingPointError, match=r"step \d+ of 500: learning_rate 3 .* = 2.25"):
        section.run(learning_rate=3.0, steps=500)


def test_the_named_step_is_the_first_whose_loss_overflows():
    with pytest.raises(FloatingPointError) as error:
        section.run(learning_rate=1e30, steps=3)
    assert "at step 1 of 3" in str(error.value)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"learning_rate": -1.0}, r"`learning_rate` must be a number in \[0, inf\).*-1.0"),
        ({"learning_rate": math.nan}, "learning_rate=nan"),
        ({"steps": 0}, "`steps` must be an integer of at least 1. Received: steps=0"),
        ({"widths": [5]}, r"`widths` must be at least two integers.*widths=\[5\]"),
        ({"widths": [5, 0]}, "`widths` must be an integer of at least 1. Received: widths=0"),
        ({"widths": [10**5, 10**5]}, "at most 10,000,000"),
        ({"activation": "gelu"}, "must be one of relu, tanh, sigmoid, linear. Received: 'gelu'"),
        ({"seed": -1}, "`seed` must be an integer of at least 0"),
    ],
)
def test_an_option_out_of_range_is_named(option, message):
    with pytest.raises(OptionError, match=message):
        section.run(**option)


def test_every_option_reaches_the_result():
    result = section.run(learning_rate=1.8, steps=7, widths=SMALL, activation="tanh", seed=9)
    assert result.path.shape == (8, 3, 3)
    np.testing.assert_allclose(result.path[0], stacked(9))
    expected = transcript(stacked(9), section.TARGETS, 1.8, 7)
    for end in (result.path[-1], result.formula, *result.last.values()):
        np.testing.assert_allclose(end, expected, rtol=0, atol=1e-5)
    for shares in result.shares:  # of sizes: at this rate the fast modes change sign
        np.testing.assert_allclose(shares, 0.6**7, rtol=1e-3)
    assert result.flops["by formula"] == section.product_flops(SMALL, 32)
    error, _ = result.gradient_errors["network by hand, tape"]
    assert error == section.network_error(SMALL, "tanh", 9)
    assert "3-5-4-2, tanh" in result.table().title


def test_table_and_picture_say_the_numbers_of_the_result(result):
    table = result.table()
    cells = {row[0]: row[1:] for row in table.cells()}
    assert cells["b[2]"][1] == f"{result.path[-1, 2, 2]:.6f}"
    assert cells["share left at curvature 0.2222"][:2] == ["0.108100", "0.108100"]
    assert cells["parameters: tape, Keras fit"][2] == "0e+00"
    assert cells["FLOPs: backward / forward"][0] == "1.012594"
    for row in table.rows:
        assert row[3] <= (row[4] or 1e-6), row[0]
    assert max(map(len, table.title.splitlines())) < 80
    figure = result.figure()
    assert figure.encoded().startswith(b"\x89PNG")
    assert "1,000 steps the slowest mode has 10.8%" in figure.statement
    assert "0.108 at curvature 0.222" in figure.alt
    assert json.loads(to_json(result))["limit"] == pytest.approx(2.25)


def test_a_run_at_rate_0_stays_where_it_is():
    result = section.run(learning_rate=0.0, steps=3, widths=SMALL)
    np.testing.assert_array_equal(result.path[-1], result.path[0])
    np.testing.assert_array_equal(result.shares, 1)
    assert result.figure().encoded()
