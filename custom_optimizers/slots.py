"""The variables in which an optimizer remembers."""

from collections.abc import Sequence
from typing import Any

import keras

from custom_optimizers.gradients import rule_dtype


def add_slots(
    optimizer: keras.optimizers.Optimizer,
    variables: Sequence[Any],
    name: str,
    initializer: Any = "zeros",
) -> list[Any]:
    """Adds to `optimizer` one slot called `name` for each of `variables`, of the same shape.

    `Optimizer.add_optimizer_variables` gives a slot the dtype of its weight; here the slot of a
    half-precision weight is float32, as the rule is (see `gradients.rule_dtype`). A weight that
    is overwritten by its gradient (float8 scales) has None for a slot, as in Keras.
    """

    def slot(variable: Any) -> Any:
        if getattr(variable, "overwrite_with_gradient", False):
            return None
        if keras.backend.standardize_dtype(variable.dtype) == rule_dtype(variable):
            return optimizer.add_variable_from_reference(variable, name, initializer)
        return optimizer.add_variable(
            shape=variable.shape,
            initializer=initializer,
            dtype=rule_dtype(variable),
            layout=getattr(variable, "_layout", None),
            name=f"{getattr(variable, 'path', variable.name).replace('/', '_')}_{name}",
        )

    return [slot(variable) for variable in variables]
