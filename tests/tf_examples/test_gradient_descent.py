"""Section `gradient_descent`: the article's first program."""

import math

import numpy as np
import pytest
import tensorflow as tf

from custom_optimizers import GradientDescent
from tf_examples import gradient_descent as section
from tf_examples._options import OptionError


@pytest.fixture(scope="module")
def result():
    return section.run()


def transcript(start, target, learning_rate, steps):
    """The rule in float64, one line of it a step."""
    theta = np.float64(start)
    path = [theta]
    for _ in range(steps):
        theta = theta - learning_rate * 2 * (theta - target)
        path.append(theta)
    return np.array(path)


def test_the_tape_finds_the_slope_that_the_rule_gives():
    theta = tf.Variable([1.5])
    with tf.GradientTape() as tape:
        loss = section.loss_function(theta, 0.25)
    np.testing.assert_allclose(tape.gradient(loss, theta), [2 * (1.5 - 0.25)])


def test_a_thousand_steps_are_bit_for_bit_those_of_tensorflow_1(tensorflow_1):
    start = section.start_value(seed=3)
    (old,) = tensorflow_1(
        "gradient_descent", theta=start, y=np.float32(0), learning_rate=0.01, steps=1000
    )
    new = section.descend(tf.Variable(start), 0.0, 0.01, 1000)[-1].numpy()
    assert new.tobytes() == old.tobytes()
    assert 0 < abs(new[0]) < 1e-8  # neither stands at its start nor at exactly 0


@pytest.mark.parametrize("jit_compile", [False, True])
def test_each_step_is_within_1e5_of_the_float64_transcript(jit_compile):
    start = section.start_value(seed=4)
    loop = tf.function(section.descend.python_function, jit_compile=jit_compile)
    path = loop(tf.Variable(start), tf.constant(0.5), tf.constant(0.01), 1000).numpy()[:, 0]
    expected = transcript(start[0], 0.5, 0.01, 1000)
    np.testing.assert_allclose(path, expected, rtol=1e-5, atol=0)


def test_the_three_tellings_end_at_the_same_bits(result):
    assert len(result.last) == 3
    assert len(set(result.last.values())) == 1
    assert result.last["GradientTape"] == result.theta[-1]


def test_the_custom_optimizer_is_the_one_that_moves_theta():
    theta = tf.Variable([1.0])
    optimizer = GradientDescent(0.25)
    section.descend_with(optimizer, theta, 0.0, 2)
    assert float(theta[0]) == 0.25  # a half of the distance a step
    assert int(optimizer.iterations) == 2


def test_the_closed_form_foresees_every_step(result):
    np.testing.assert_allclose(result.formula, transcript(result.theta[0], 0, 0.01, 1000))
    np.testing.assert_allclose(result.theta, result.formula, rtol=1e-5)
    assert result.theta[-1] / result.theta[0] == pytest.approx(0.98**1000, rel=1e-5)


def test_the_measured_factors_lie_on_the_line_of_the_formula(result):
    np.testing.assert_allclose(result.factors, np.abs(1 - 2 * result.rates), atol=1e-6)
    assert result.rates.min() < 0.5 < 1 < result.rates.max()


@pytest.mark.parametrize(
    ("learning_rate", "name"), [(rate, n) for n, rate in section.RATES.items()]
)
def test_a_regime_is_what_its_name_says(learning_rate, name):
    assert section.regime(learning_rate) == name
    path = transcript(1.0, 0.0, learning_rate, 8)
    signs = np.sign(path)
    assert {
        "slow": (np.diff(path) < 0).all() and path[-1] > 0.4,
        "best": (path[1:] == 0).all(),
        "oscillating": (signs[1:] == -signs[:-1]).all() and abs(path[-1]) < 1,
        "diverging": (np.abs(path[1:]) > np.abs(path[:-1])).all(),
    }[name]


def test_at_learning_rate_1_theta_goes_nowhere():
    assert section.regime(1.0) == "going nowhere"
    path = section.descend(tf.Variable([1.0]), 0.0, 1.0, 3)
    np.testing.assert_array_equal(path[:, 0], [1, -1, 1, -1])


@pytest.mark.parametrize("learning_rate", [0.01, 0.05, 0.5, 0.9])
def test_the_stopping_rule_stops_at_the_step_that_the_formula_foresees(learning_rate):
    theta = tf.Variable([1.0])
    rate = tf.constant(learning_rate)
    taken = section.descend_until(theta, 0.0, rate, tf.constant(1e-6), tf.constant(800))
    assert int(taken) == section.steps_until(1.0, learning_rate, 1e-6)
    assert abs(2 * float(theta[0])) <= 1e-6


def test_the_stopping_rule_needs_its_limit_where_the_program_diverges():
    theta = tf.Variable([1.0])
    taken = section.descend_until(
        theta, 0.0, tf.constant(1.05), tf.constant(1e-6), tf.constant(100)
    )
    assert int(taken) == 100
    assert section.steps_until(1.0, 1.05, 1e-6) == math.inf
    assert section.run(learning_rate=0.01, steps=10).steps_taken is None


def test_no_step_is_taken_where_the_slope_is_level_already():
    assert section.steps_until(1e-9, 0.01, 1e-6) == 0
    taken = section.descend_until(
        tf.Variable([1e-9]), 0.0, tf.constant(0.01), tf.constant(1e-6), tf.constant(5)
    )
    assert int(taken) == 0


def test_try_it_the_rates_0_01_and_0_99_are_equally_slow():
    low, high = (np.abs(transcript(1.0, 0.0, rate, 100)) for rate in (0.01, 0.99))
    np.testing.assert_allclose(low, high)


def test_try_it_only_the_distance_to_the_target_counts():
    assert section.steps_until(3.5 - 3, 0.01, 1e-6) == section.steps_until(0.5, 0.01, 1e-6)
    shifted = section.descend(tf.Variable([3.5]), 3.0, 0.1, 20)[:, 0] - 3
    np.testing.assert_allclose(
        shifted, section.descend(tf.Variable([0.5]), 0.0, 0.1, 20)[:, 0], atol=1e-6
    )


def test_try_it_ten_times_the_loss_diverges_at_0_5_and_beyond_0_1():
    def share_left(learning_rate):
        theta = tf.Variable([1.0])
        with tf.GradientTape() as tape:
            loss = 10 * section.loss_function(theta, 0.0)
        theta.assign_sub(learning_rate * tape.gradient(loss, theta))
        return abs(float(theta[0]))

    assert share_left(0.5) == 9
    assert share_left(0.09) < 1 < share_left(0.11)


def test_a_run_that_overflows_names_the_step_and_the_reason():
    with pytest.raises(FloatingPointError, match=r"step \d+ of 500: at learning_rate 1.5 .* by 2;"):
        section.run(learning_rate=1.5, steps=500)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"learning_rate": -1.0}, r"`learning_rate` must be a number in \[0, inf\).*-1.0"),
        ({"learning_rate": math.nan}, "learning_rate=nan"),
        ({"target": math.inf}, "`target` must be a number in"),
        ({"tolerance": 0.0}, r"`tolerance` must be a number in \(0, inf\)"),
        ({"steps": 0}, "`steps` must be an integer of at least 1. Received: steps=0"),
        ({"seed": -1}, "`seed` must be an integer of at least 0"),
    ],
)
def test_an_option_out_of_range_is_named(option, message):
    with pytest.raises(OptionError, match=message):
        section.run(**option)


def test_the_seed_decides_the_start(result):
    assert section.start_value(0) == result.theta[0].astype("float32")
    assert section.start_value(0) != section.start_value(1)


def test_table_and_picture_say_the_numbers_of_the_result(result):
    table = result.table()
    assert [row[0] for row in table.rows] == [*result.last, "closed form"]
    assert f"foreseen {result.steps_foreseen:.0f}, taken {result.steps_taken}" in table.title
    figure = result.figure()
    assert figure.encoded().startswith(b"\x89PNG")
    assert "98%" in figure.statement
    assert f"{abs(result.theta[-1]):.2g}" in figure.alt
    valley = section.draw_valley({r: section.closed_form(1.0, 0.0, r, 8) for r in (0.05, 0.9)})
    assert "at 0.9 (oscillating) it goes from 1.00 to 0.17 in 8 steps" in valley.alt
