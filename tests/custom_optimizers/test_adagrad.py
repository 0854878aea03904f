"""AdaGrad: steps that shrink with the root of time, weight by weight."""

import numpy as np
import pytest

from custom_optimizers import Adagrad
from tests.custom_optimizers.steps import (
    as_arrays,
    as_variables,
    descend,
    descend_slope,
)


def test_step_number_t_down_a_slope_has_size_rate_over_root_of_t_whatever_the_slope():
    optimizer = Adagrad(0.1, initial_accumulator_value=0.0, epsilon=0.0)
    path = descend_slope(optimizer, np.array([1e-3, 1.0, -1e3]), 50, "float64")
    t = np.arange(1, 51)[:, None]
    np.testing.assert_allclose(np.diff(path, axis=0), -0.1 / np.sqrt(t) * [1, 1, -1], rtol=1e-6)


def test_first_step_is_divided_by_the_root_of_square_and_start():
    optimizer = Adagrad(0.1, initial_accumulator_value=3.0, epsilon=4.0)
    path = descend_slope(optimizer, np.array([3.0]), 1)
    assert path[1] == pytest.approx(-0.1 * 3.0 / 4.0)  # 9 + 3 + 4 = 4**2


def test_accumulator_starts_at_the_initial_value_plus_epsilon():
    optimizer = Adagrad(initial_accumulator_value=0.5, epsilon=0.25)
    optimizer.build(as_variables([np.zeros(3)]))
    (_, _, accumulator) = as_arrays(optimizer.variables)
    np.testing.assert_array_equal(accumulator, [0.75, 0.75, 0.75])


def test_weight_that_is_seldom_used_keeps_a_large_step():
    often_and_seldom = [[np.array([1.0, float(t == 99)])] for t in range(100)]
    optimizer = Adagrad(0.1, initial_accumulator_value=0.0, epsilon=1e-7)
    before, after = (
        descend(optimizer.from_config(optimizer.get_config()), [np.zeros(2)], steps)[0]
        for steps in (often_and_seldom[:99], often_and_seldom)
    )
    np.testing.assert_allclose(after - before, [-0.1 / np.sqrt(100), -0.1], rtol=1e-4)


def test_weight_without_gradient_becomes_nan_only_where_both_starts_are_zero():
    for epsilon, is_nan in ((0.0, True), (1e-7, False)):
        optimizer = Adagrad(0.1, initial_accumulator_value=0.0, epsilon=epsilon)
        assert np.isnan(descend_slope(optimizer, np.array([0.0]), 1)[-1, 0]) == is_nan


def test_scaling_the_gradient_changes_no_bit_where_the_accumulator_starts_at_zero():
    slopes = np.random.default_rng(0).normal(size=7)
    paths = [
        descend_slope(Adagrad(0.1, initial_accumulator_value=0.0, epsilon=0.0), scale * slopes, 5)
        for scale in (1.0, 1024.0)
    ]
    np.testing.assert_array_equal(*paths)
