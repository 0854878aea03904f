"""Momentum: the heavy ball's closed forms, Nesterov's own equations, and where the rate stands."""

import numpy as np
import pytest

from custom_optimizers import GradientDescent, Momentum
from tests.custom_optimizers.steps import (
    as_arrays,
    as_tensors,
    as_variables,
    descend,
    descend_bowl,
    descend_slope,
    problem,
    stepper,
)


def test_steps_down_a_slope_grow_to_the_rate_over_one_minus_momentum():
    steps = np.diff(descend_slope(Momentum(0.1, momentum=0.9), np.array([2.0]), 200), axis=0)[:, 0]
    t = np.arange(1, 201)
    np.testing.assert_allclose(steps, -0.1 * 2.0 * (1 - 0.9**t) / (1 - 0.9), rtol=1e-4)
    assert steps[-1] == pytest.approx(-0.1 * 2.0 / (1 - 0.9), rel=1e-4)


def test_critically_damped_ball_on_a_quadratic_follows_its_closed_form():
    # With momentum (1 - sqrt(a))**2, a = rate * curvature, the two roots of the recurrence meet.
    a = 0.04
    momentum = (1 - np.sqrt(a)) ** 2
    path = descend_bowl(Momentum(0.01, momentum), 1.0, np.array([a / 0.01]), 60, "float64")
    t = np.arange(61)
    expected = (1 + np.sqrt(a) * t) * (1 - np.sqrt(a)) ** t
    np.testing.assert_allclose(path[:, 0], expected, rtol=1e-5)


def test_first_nesterov_step_is_the_gradient_step_times_one_plus_momentum():
    path = descend_slope(Momentum(0.1, momentum=0.5, nesterov=True), np.array([2.0]), 1)
    assert path[1] == pytest.approx(-0.1 * 2.0 * (1 + 0.5))


def test_nesterov_takes_the_gradient_one_step_of_velocity_ahead():
    # Sutskever et al. 2013, equations 3 and 4; the stored weight is the point ahead.
    rate, momentum, curvature = 0.1, 0.8, 2.0
    theta, v = 1.0, 0.0
    ahead = [theta]
    for _ in range(20):
        v = momentum * v - rate * curvature * (theta + momentum * v)
        theta = theta + v
        ahead.append(theta + momentum * v)
    optimizer = Momentum(rate, momentum, nesterov=True)
    path = descend_bowl(optimizer, 1.0, np.array([curvature]), 20, "float64")
    np.testing.assert_allclose(path[:, 0], ahead, atol=1e-7)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_of_zero_is_gradient_descent(nesterov):
    weights, gradients = problem(10)
    found = descend(Momentum(0.1, momentum=0.0, nesterov=nesterov), weights, gradients)
    expected = descend(GradientDescent(0.1), weights, gradients)
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(f, e)


def test_momentum_of_one_never_slows_down():
    path = descend_slope(Momentum(0.5, momentum=1.0), np.array([1.0]), 8)
    assert path[-1] == -0.5 * 8 * 9 / 2


def test_rate_that_falls_to_zero_leaves_the_velocity_rolling_unlike_in_pytorch():
    variables = as_variables([0.0])
    optimizer = Momentum(0.5, momentum=0.5)
    step = stepper(optimizer, variables)
    step(as_tensors([1.0], variables))
    optimizer.learning_rate = 0.0
    step(as_tensors([1.0], variables))
    # v = -0.5, then 0.5 * v; PyTorch's rate, outside of the velocity, would make the step 0.
    assert as_arrays(variables)[0] == -0.5 - 0.25
