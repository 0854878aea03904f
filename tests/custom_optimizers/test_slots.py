"""`add_slots`: one variable for each weight, saved, in a precision that can accumulate."""

import keras
import numpy as np
import pytest
from keras import ops

from custom_optimizers import Adam
from custom_optimizers.slots import add_slots
from tests.custom_optimizers.steps import BACKEND, as_arrays, as_variables, tensorflow_only

if BACKEND == "tensorflow":
    import tensorflow as tf


def bare_optimizer():
    """An optimizer that has no slots yet."""
    return keras.optimizers.Optimizer(learning_rate=0.1)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_slot_has_the_shape_of_its_weight_and_the_dtype_of_the_rule(dtype):
    weights = as_variables([np.ones((2, 3)), np.ones(())], dtype)
    slots = add_slots(bare_optimizer(), weights, "velocity")
    assert [slot.shape for slot in slots] == [(2, 3), ()]
    assert {slot.dtype for slot in slots} == {"float64" if dtype == "float64" else "float32"}
    assert not any(slot.trainable for slot in slots)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_slots_are_saved_in_the_order_of_the_weights_and_named_after_them(dtype):
    optimizer = bare_optimizer()
    layer = keras.layers.Dense(2, name="first", dtype=dtype)
    layer.build((3,))
    slots = add_slots(optimizer, layer.variables, "velocity")
    assert [slot.name for slot in slots] == ["first_kernel_velocity", "first_bias_velocity"]
    assert [id(v) for v in optimizer.variables[2:]] == [id(slot) for slot in slots]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_slots_start_at_zero_or_as_told(dtype):
    weights = as_variables([np.ones(2)], dtype)
    (zero,) = add_slots(bare_optimizer(), weights, "velocity")
    (told,) = add_slots(bare_optimizer(), weights, "sum", keras.initializers.Constant(0.25))
    np.testing.assert_array_equal(as_arrays([zero, told]), [[0, 0], [0.25, 0.25]])


def test_weight_that_its_gradient_overwrites_has_no_slot_and_is_overwritten():
    weights = as_variables([np.zeros(2), np.zeros(2)])
    weights[0].overwrite_with_gradient = True
    optimizer = Adam(0.1)
    assert add_slots(bare_optimizer(), weights, "velocity")[0] is None
    optimizer.apply([ops.ones(2), ops.ones(2)], weights)
    np.testing.assert_allclose(as_arrays(weights), [[1, 1], [-0.1, -0.1]], rtol=1e-5)


@tensorflow_only
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_plain_tensorflow_variable_has_slots_too(dtype):
    plain = tf.Variable(tf.zeros(2, dtype), name="plain")
    (slot,) = add_slots(bare_optimizer(), [plain], "velocity")
    assert slot.name.startswith("plain")
    optimizer = Adam(0.5)
    optimizer.apply_gradients([(tf.ones(2, dtype), plain)])
    np.testing.assert_allclose(tf.cast(plain, "float32"), [-0.5, -0.5], rtol=1e-5)
