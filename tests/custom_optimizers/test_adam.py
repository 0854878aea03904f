"""Adam: steps of one size, the place of epsilon, and the half precisions in which Keras's fails."""

import keras
import numpy as np
import pytest

from custom_optimizers import Adam
from tests.custom_optimizers.steps import (
    as_arrays,
    as_tensors,
    as_variables,
    descend,
    descend_slope,
    stepper,
)


@pytest.mark.parametrize(("beta_1", "beta_2"), [(0.9, 0.999), (0.0, 0.0), (0.99, 0.5)])
def test_every_step_down_a_slope_has_the_size_of_the_rate_whatever_the_slope(beta_1, beta_2):
    slopes = np.array([1e-3, 1.0, -1e3])
    path = descend_slope(Adam(0.1, beta_1, beta_2, epsilon=0.0), slopes, 50, "float64")
    t = np.arange(51)[:, None]
    np.testing.assert_allclose(path, -0.1 * t * np.sign(slopes), rtol=1e-6)


def test_first_step_in_float32_has_the_size_of_the_rate_to_a_millionth():
    # 1 - 0.999, in float32, is off by 1.3e-5 of itself.
    path = descend_slope(Adam(0.1, epsilon=0.0), np.array([1.0]), 1)
    assert path[1] == pytest.approx(-0.1, rel=1e-6)


def test_epsilon_is_added_to_the_root_before_the_correction_as_in_keras_and_not_in_the_paper():
    # At t = 1 the root of v is sqrt(0.001) |g|: an epsilon of that size halves the step.
    epsilon = np.sqrt(1 - 0.999)
    path = descend_slope(Adam(0.1, epsilon=epsilon), np.array([1.0]), 1)
    assert path[1] == pytest.approx(-0.1 / 2, rel=1e-5)
    papers = -0.1 / (1 + epsilon)
    same_in_the_paper = -0.1 / (1 + epsilon / np.sqrt(1 - 0.999))
    assert abs(path[1] - papers) > 0.04
    assert path[1] == pytest.approx(same_in_the_paper, rel=1e-5)
    assert 1 / np.sqrt(1 - 0.999) == pytest.approx(32, abs=0.5)


def test_both_betas_of_zero_leave_the_sign_of_each_gradient():
    gradients = [[np.array([g, 1.0])] for g in (5.0, -0.1, -7.0, 3.0)]
    (found,) = descend(Adam(0.1, beta_1=0.0, beta_2=0.0, epsilon=0.0), [np.zeros(2)], gradients)
    np.testing.assert_allclose(found, [0.0, -0.4], atol=1e-5)


def test_amsgrad_never_lets_the_divisor_shrink():
    variables = as_variables([np.zeros(1)])
    optimizer = Adam(0.1, beta_2=0.5, amsgrad=True)
    step = stepper(optimizer, variables)
    velocities, largest = [], []
    for gradient in (1.0, 10.0, 0.1, 0.1, 0.1, 20.0):
        step(as_tensors([[gradient]], variables))
        _, velocity, most = as_arrays(optimizer.variables)[2:]
        velocities.append(velocity[0])
        largest.append(most[0])
    np.testing.assert_array_equal(largest, np.maximum.accumulate(velocities))
    assert velocities[4] < 0.2 * largest[4]


def test_amsgrad_shortens_the_steps_that_follow_a_large_gradient():
    gradients = [[np.array([100.0])]] + [[np.array([1.0])]] * 50
    (plain,), (amsgrad,) = (
        descend(Adam(0.1, beta_2=0.9, amsgrad=on), [np.zeros(1)], gradients) for on in (False, True)
    )
    assert abs(amsgrad) < abs(plain) / 2


def test_weight_decay_is_decoupled_from_the_gradient_as_in_adamw():
    # With steps of size lr, w <- (1 - lr decay) w - lr, so w + 1 / decay shrinks geometrically.
    optimizer = Adam(0.01, epsilon=0.0, weight_decay=2.0)
    path = descend_slope(optimizer, np.array([1e3]), 100, "float64")[:, 0]
    t = np.arange(101)
    np.testing.assert_allclose(path, (1 - 0.01 * 2) ** t / 2 - 1 / 2, atol=1e-6)


def test_scaling_the_gradient_changes_no_bit_without_epsilon():
    slopes = np.random.default_rng(0).normal(size=7)
    paths = [descend_slope(Adam(0.1, epsilon=0.0), s * slopes, 5) for s in (1.0, 1024.0)]
    np.testing.assert_array_equal(*paths)


def test_bfloat16_weight_moves_where_that_of_keras_stands_still():
    slope = np.array([1.0])
    ours = descend_slope(Adam(0.01), slope, 100, "bfloat16")[:, 0]
    keras_path = descend_slope(keras.optimizers.Adam(0.01), slope, 100, "bfloat16")
    np.testing.assert_array_equal(keras_path, 0.0)
    # Each of 100 steps is rounded, by up to 2**-9 near 1.
    assert ours[-1] == pytest.approx(-1.0, abs=0.1)
    assert (np.diff(ours) < 0).all()


def test_small_float16_gradient_takes_steps_of_the_rate_where_keras_is_thrown_far_away():
    slope = np.array([1e-3])
    ours = descend_slope(Adam(0.01), slope, 5, "float16")[-1]
    kerass = descend_slope(keras.optimizers.Adam(0.01), slope, 5, "float16")[-1]
    np.testing.assert_allclose(ours, -0.05, rtol=1e-2)
    assert abs(kerass) > 10
