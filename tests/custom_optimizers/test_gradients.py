"""`dense` and `check_gradients`: one tensor of the variable's shape, or a refusal that names it."""

import keras
import numpy as np
import pytest
from keras import ops

from custom_optimizers.gradients import check_gradients, dense, rule_dtype
from tests.custom_optimizers.steps import BACKEND, tensorflow_only

if BACKEND == "tensorflow":
    import tensorflow as tf


def weight(shape, dtype="float32", name="kernel"):
    return keras.Variable(np.zeros(shape), dtype=dtype, name=name)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("float64", "float64"),
        ("float32", "float32"),
        ("float16", "float32"),
        ("bfloat16", "float32"),
    ],
)
def test_rule_is_computed_in_float32_but_for_float64_weights(dtype, expected):
    assert rule_dtype(weight(2, dtype)) == expected
    gradient = ops.ones(2, dtype)
    assert keras.backend.standardize_dtype(dense(gradient, weight(2, dtype)).dtype) == expected


@pytest.mark.parametrize("kind", [np.asarray, ops.convert_to_tensor])
def test_dense_gradient_passes_with_its_values(kind):
    values = np.arange(6, dtype="float32").reshape(2, 3)
    np.testing.assert_array_equal(dense(kind(values), weight((2, 3))), values)


@pytest.mark.parametrize("shape", [(2, 1), (1, 3), (3,), (1,), (), (3, 2), (2, 3, 1), (6,)])
def test_other_shapes_are_refused_with_the_name_and_both_shapes(shape):
    with pytest.raises(ValueError, match="'kernel'") as caught:
        dense(np.ones(shape), weight((2, 3)))
    assert "(2, 3)" in str(caught.value)
    assert str(shape) in str(caught.value)


def test_missing_gradient_is_refused_with_the_name():
    with pytest.raises(ValueError, match=r"'kernel'.*None"):
        dense(None, weight(2))


@tensorflow_only
def test_sparse_rows_are_summed_where_they_repeat():
    gradient = tf.IndexedSlices(
        tf.constant([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]]), tf.constant([2, 0, 2]), (4, 2)
    )
    found = dense(gradient, weight((4, 2)))
    np.testing.assert_array_equal(found, [[10, 20], [0, 0], [101, 202], [0, 0]])
    np.testing.assert_array_equal(found, tf.convert_to_tensor(gradient))


@tensorflow_only
def test_sparse_rows_in_half_precision_are_summed_in_float32():
    gradient = tf.IndexedSlices(tf.ones((4096, 1), "bfloat16"), tf.zeros(4096, "int32"), (1, 1))
    assert dense(gradient, weight((1, 1), "bfloat16")).numpy() == 4096  # bfloat16 stops at 256


@tensorflow_only
@pytest.mark.parametrize("shape", [(3, 1), (3, 3), (3,), (3, 2, 1)])
def test_sparse_rows_of_another_shape_are_refused_with_the_name(shape):
    gradient = tf.IndexedSlices(tf.ones(shape), tf.constant([0, 1, 1]), (4, 2))
    with pytest.raises(ValueError, match=r"'kernel'.*\(4, 2\)"):
        dense(gradient, weight((4, 2)))


@tensorflow_only
def test_plain_tensorflow_variable_is_named_too():
    with pytest.raises(ValueError, match="'plain:0'"):
        dense(tf.ones(3), tf.Variable([1.0], name="plain"))


def test_gradients_that_fit_pass_with_none_among_them():
    check_gradients([None, np.ones((2, 3))], [weight(4), weight((2, 3))])


def test_no_gradients_for_no_variables_pass():
    check_gradients([], [])


def test_only_none_is_refused_with_all_names():
    with pytest.raises(ValueError, match=r"No gradient for any variable.*'kernel', 'bias'"):
        check_gradients([None, None], [weight(2), weight(3, name="bias")])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_of_gradients_is_refused_with_both_numbers(count):
    with pytest.raises(ValueError, match=f"{count} gradients for 2 variables"):
        check_gradients([np.ones(2)] * count, [weight(2), weight(2)])


def test_one_wrong_shape_among_others_is_named():
    with pytest.raises(ValueError, match=r"'bias'.*\(3,\).*\(1,\)"):
        check_gradients([np.ones(2), np.ones(1)], [weight(2), weight(3, name="bias")])
