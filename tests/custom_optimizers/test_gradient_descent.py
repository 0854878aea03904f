"""Gradient descent on quadratics, where its whole path has a closed form."""

import numpy as np
import pytest

from custom_optimizers import GradientDescent
from tests.custom_optimizers.steps import descend_bowl, descend_slope


def test_each_step_on_a_quadratic_multiplies_the_error_by_one_minus_rate_times_curvature():
    curvatures = np.array([0.1, 1.0, 2.5])
    path = descend_bowl(GradientDescent(learning_rate=0.5), 3.0, curvatures, 50, "float64")
    t = np.arange(51)[:, None]
    np.testing.assert_allclose(path, 3.0 * (1 - 0.5 * curvatures) ** t, rtol=1e-12, atol=1e-300)


def test_best_rate_contracts_both_ends_of_the_spectrum_alike():
    smallest, largest = 1.0, 9.0
    rate = 2 / (smallest + largest)
    path = descend_bowl(GradientDescent(rate), 1.0, np.array([smallest, largest]), 10, "float64")
    condition = largest / smallest
    expected = ((condition - 1) / (condition + 1)) ** 10
    np.testing.assert_allclose(abs(path[-1]), expected, rtol=1e-6)


@pytest.mark.parametrize(("rate", "converges"), [(0.99, True), (1.01, False)])
def test_square_converges_below_a_rate_of_one_and_diverges_above(rate, converges):
    path = descend_bowl(GradientDescent(rate), 1.0, np.array([2.0]), 100)
    assert (abs(path[-1]) < abs(path[0])) == converges


def test_nothing_is_remembered_from_step_to_step():
    path = descend_slope(GradientDescent(0.25), np.array([2.0, -4.0]), 10)
    np.testing.assert_array_equal(path[-1], [-5.0, 10.0])
