"""RMSprop: the size of its steps, the place of epsilon, and a variance that stays above zero."""

import keras
import numpy as np
import pytest

from custom_optimizers import RMSprop
from tests.custom_optimizers.steps import as_variables, descend_slope, stepper


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.99])
def test_first_step_has_size_rate_over_root_of_one_minus_rho_whatever_the_slope(rho):
    slopes = np.array([1e-3, 1.0, -1e3])
    path = descend_slope(RMSprop(0.1, rho=rho, epsilon=0.0), slopes, 1)
    np.testing.assert_allclose(path[1], -0.1 / np.sqrt(1 - rho) * np.sign(slopes), rtol=1e-6)


def test_step_number_t_down_a_slope_has_size_rate_over_root_of_one_minus_rho_to_the_t():
    path = descend_slope(RMSprop(0.1, rho=0.8, epsilon=0.0), np.array([5.0]), 40, "float64")
    t = np.arange(1, 41)
    np.testing.assert_allclose(np.diff(path[:, 0]), -0.1 / np.sqrt(1 - 0.8**t), rtol=1e-6)


def test_epsilon_stands_inside_of_the_root():
    path = descend_slope(RMSprop(0.1, rho=0.75, epsilon=0.75), np.array([1.0]), 1)
    assert path[1] == pytest.approx(-0.1)  # sqrt(0.25 + 0.75) = 1; outside, 0.5 + 0.75


def test_momentum_repeats_a_part_of_the_last_step():
    without = np.diff(descend_slope(RMSprop(0.1), np.array([1.0]), 20)[:, 0])
    found = np.diff(descend_slope(RMSprop(0.1, momentum=0.5), np.array([1.0]), 20)[:, 0])
    np.testing.assert_allclose(found[1:], 0.5 * found[:-1] + without[1:], rtol=1e-4)


def test_first_centered_step_is_divided_by_the_standard_deviation():
    # v = (1 - rho) g**2 and a = (1 - rho) g, so v - a**2 = rho (1 - rho) g**2.
    path = descend_slope(RMSprop(0.1, rho=0.5, epsilon=0.0, centered=True), np.array([7.0]), 1)
    assert path[1] == pytest.approx(-0.1 / np.sqrt(0.5 * 0.5), rel=1e-6)


def test_centered_steps_down_a_steady_slope_stay_finite_where_those_of_keras_become_nan():
    slopes = np.linspace(10, 1000, 20_000)
    steps, rate = 180, 1e-6
    ours = np.diff(descend_slope(RMSprop(rate, centered=True), slopes, steps), axis=0)
    keras_ends_at = descend_slope(keras.optimizers.RMSprop(rate, centered=True), slopes, steps)[-1]
    assert np.isnan(keras_ends_at).any()

    # For a slope g the variance is g**2 rho**t (1 - rho**t), which falls below what float32 can
    # tell apart in v - a**2: some ten roundings, as many as the two means remember.
    t = np.arange(1, steps + 1)[:, None]
    variance = slopes**2 * 0.9**t * (1 - 0.9**t)
    unresolved = 20 * np.finfo(np.float32).eps * slopes**2
    expected, shortest, longest = (
        rate * slopes / np.sqrt(v + 1e-7) for v in (variance, variance + unresolved, 0.0)
    )
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(ours[:50], -expected[:50], rtol=1e-3)
    assert (-ours >= shortest).all()
    assert (-ours <= longest * (1 + 1e-4)).all()


def test_scaling_the_gradient_changes_no_bit_without_epsilon():
    slopes = np.random.default_rng(0).normal(size=7)
    paths = [
        descend_slope(RMSprop(0.1, momentum=0.5, epsilon=0.0), scale * slopes, 5)
        for scale in (1.0, 1024.0)
    ]
    np.testing.assert_array_equal(*paths)


@pytest.mark.parametrize("centered", [False, True])
def test_velocity_and_momentum_are_kept_even_where_momentum_is_zero(centered):
    optimizer = RMSprop(centered=centered)
    stepper(optimizer, as_variables([np.zeros(3)]))
    assert len(optimizer.variables) == 2 + 2 + centered
