"""Problems to step through, ways to take the steps on either backend, and distances."""

import keras
import numpy as np
import pytest
from keras import ops

BACKEND = keras.backend.backend()
tensorflow_only = pytest.mark.skipif(BACKEND != "tensorflow", reason="a feature of TensorFlow")

if BACKEND == "tensorflow":
    import tensorflow as tf

    COMPILED = ["graph", "xla"]
else:
    import jax

    COMPILED = ["jit"]

SHAPES = [(3, 4), (), (1, 2, 1)]
SCALES = [1.0, 1e-2, 10.0]  # of the gradients, so that a swap of variables shows


def problem(steps, seed=0, shapes=SHAPES, scales=SCALES):
    """Random weights and, for each step, a random gradient for each weight."""
    rng = np.random.default_rng(seed)
    weights = [np.asarray(rng.normal(size=shape)) for shape in shapes]
    gradients = [
        [
            scale * np.asarray(rng.normal(size=shape))
            for shape, scale in zip(shapes, scales, strict=True)
        ]
        for _ in range(steps)
    ]
    return weights, gradients


def as_variables(weights, dtypes="float32"):
    dtypes = [dtypes] * len(weights) if isinstance(dtypes, str) else dtypes
    return [
        keras.Variable(w, dtype=dtype, name=f"weight_{i}")
        for i, (w, dtype) in enumerate(zip(weights, dtypes, strict=True))
    ]


def by_weight(gradients):
    """Gradients listed by step and weight, listed by weight and step."""
    return list(zip(*gradients, strict=True))


def as_tensors(gradients, variables):
    return [
        ops.convert_to_tensor(g, variable.dtype)
        for g, variable in zip(gradients, variables, strict=True)
    ]


def as_arrays(variables):
    """Copies of the variables' values, in NumPy's own dtypes."""
    return [np.float64(ops.convert_to_numpy(ops.cast(v, "float64"))) for v in variables]


def stepper(optimizer, variables, how="eager"):
    """A function that takes one step, given a tensor for each variable.

    `how` is "eager" or one of `COMPILED`.
    """
    optimizer.build(variables)

    def apply(gradients):
        optimizer.apply(gradients, variables)

    if how == "eager":
        return apply
    if how in ("graph", "xla"):
        return tf.function(apply, jit_compile=how == "xla")

    pure = jax.jit(optimizer.stateless_apply)

    def apply_pure(gradients):
        new_weights, new_state = pure(
            [v.value for v in optimizer.variables], gradients, [v.value for v in variables]
        )
        for old, new in ((variables, new_weights), (optimizer.variables, new_state)):
            for variable, value in zip(old, new, strict=True):
                variable.assign(value)

    return apply_pure


def descend(optimizer, weights, gradients, how="eager", dtypes="float32"):
    """Takes all steps on new variables; returns the final weights in float64."""
    variables = as_variables(weights, dtypes)
    step = stepper(optimizer, variables, how)
    for gradient in gradients:
        step(as_tensors(gradient, variables))
    return as_arrays(variables)


def descend_bowl(optimizer, start, curvatures, steps, dtype="float32"):
    """Minimizes the sum of `curvatures / 2 * w**2`; returns the path of w, with its start."""
    (variable,) = variables = as_variables([np.broadcast_to(start, np.shape(curvatures))], dtype)
    step = stepper(optimizer, variables)
    path = as_arrays(variables)
    for _ in range(steps):
        step([ops.cast(curvatures, dtype) * variable])
        path += as_arrays(variables)
    return np.array(path)


def descend_slope(optimizer, slopes, steps, dtype="float32"):
    """Descends from 0 along the constant gradient `slopes`; returns the path, with its start."""
    variables = as_variables([np.zeros_like(slopes)], dtype)
    step = stepper(optimizer, variables)
    path = as_arrays(variables)
    for _ in range(steps):
        step(as_tensors([slopes], variables))
        path += as_arrays(variables)
    return np.array(path)


def error(found, expected, start):
    """The largest distance of a found weight from the expected one, for a list of weights.

    The norm of the difference, in units of the larger of two norms: of the weight, and of the
    whole way from its start.
    """
    distances = []
    for f, e, s in zip(found, expected, start, strict=True):
        distance = np.linalg.norm(np.ravel(f - e))
        scale = max(np.linalg.norm(np.ravel(e)), np.linalg.norm(np.ravel(e - s)))
        distances.append(distance / scale if distance else 0.0)
    return max(distances)
