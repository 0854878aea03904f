"""What every rule needs before its first line: a dense gradient, in a precision it can use."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


def rule_dtype(variable: Any) -> str:
    """The dtype in which `variable` is updated: float64 for float64, float32 for all others.

    In half precision a rule loses what it accumulates: 0.999 rounds to 1 in bfloat16, and the
    square of 1e-4 to 0 in float16.
    """
    return "float64" if keras.backend.standardize_dtype(variable.dtype) == "float64" else "float32"


def dense(gradient: Any, variable: Any) -> Any:
    """Returns `gradient` as one tensor with the shape of `variable`, in its `rule_dtype`.

    The sparse gradient of an Embedding lists one row for each look-up; rows that were looked up
    more than once are summed, as the chain rule has it.

    Raises:
        ValueError: names the variable, for another shape (which would otherwise be broadcast), or
            for None.
    """
    _check(gradient, variable)
    dtype = rule_dtype(variable)
    if hasattr(gradient, "dense_shape"):  # tf.IndexedSlices, and nothing else
        rows = ops.cast(gradient.values, dtype)
        return ops.segment_sum(rows, gradient.indices, variable.shape[0])
    if ops.is_tensor(gradient) and keras.backend.standardize_dtype(gradient.dtype) == dtype:
        return gradient
    return ops.convert_to_tensor(gradient, dtype, sparse=False)


def check_gradients(gradients: Sequence[Any], variables: Sequence[Any]) -> None:
    """Refuses gradients that don't fit their variables, before any variable has moved.

    A gradient may be None as long as another one isn't: Keras then warns and goes on.

    Raises:
        ValueError: names the variable whose gradient has another shape; names all of them where
            there is no gradient at all; gives both numbers where there are more of one than of
            the other.
    """
    if len(gradients) != len(variables):
        raise ValueError(
            "Every variable needs one gradient (or None). "
            f"Received: {len(gradients)} gradients for {len(variables)} variables"
        )
    present = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
    if variables and not present:
        names = ", ".join(repr(_name(variable)) for variable in variables)
        raise ValueError(f"No gradient for any variable: every gradient is None for {names}")
    for gradient, variable in present:
        _check(gradient, variable)


def _check(gradient: Any, variable: Any) -> None:
    if gradient is None:
        raise ValueError(f"No gradient for variable {_name(variable)!r}: received None")
    expected = tuple(variable.shape)
    if hasattr(gradient, "dense_shape"):
        shape = (*expected[:1], *gradient.values.shape[1:])
    elif getattr(getattr(gradient, "shape", ()), "rank", 0) is None:
        return  # inside tf.function, and known only when it runs
    else:
        shape = tuple(gradient.shape if hasattr(gradient, "shape") else np.shape(gradient))
    known = [(have, want) for have, want in zip(shape, expected, strict=False) if type(have) is int]
    if len(shape) != len(expected) or any(have != want for have, want in known):
        raise ValueError(
            f"The gradient of variable {_name(variable)!r} must have its shape {expected}. "
            f"Received: a gradient of shape {shape}"
        )


def _name(variable: Any) -> str:
    return getattr(variable, "path", variable.name)
