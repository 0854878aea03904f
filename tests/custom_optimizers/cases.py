"""The optimizers under test, one row for each way to run them, and the values their arguments take.

A new optimizer needs rows in `CASES`, and its arguments a line in `INTERVALS`, `USUAL` and
`CHANGED`; the contract then holds for it too.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import custom_optimizers as ours
from tests.custom_optimizers import transcripts


@dataclasses.dataclass(frozen=True)
class Case:
    """An optimizer with options, Keras's counterpart with its own, and the formula of both."""

    optimizer: type
    options: dict[str, Any]
    formula: Callable[..., Any]
    counterpart: type
    counterpart_options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self):
        return "-".join([self.optimizer.__name__, *(f"{k}={v}" for k, v in self.options.items())])

    def new(self, **arguments):
        return self.optimizer(**(self.options | arguments))

    def new_counterpart(self, **arguments):
        return self.counterpart(**(self.options | self.counterpart_options | arguments))

    def transcript(self, w, gradients, learning_rate, **options):
        """The list of (weight, slots) after each step, in float64."""
        return list(
            self.formula(np.float64(w), gradients, learning_rate, **(self.options | options))
        )

    @property
    def slots(self):
        """The names of the slots, in the order in which they are saved."""
        ((_, slots),) = self.transcript(0.0, [1.0], 0.1)
        return list(slots)


_DESCENT = (ours.GradientDescent, transcripts.gradient_descent, keras.optimizers.SGD)
_MOMENTUM = (ours.Momentum, transcripts.momentum, keras.optimizers.SGD)
_ADAGRAD = (ours.Adagrad, transcripts.adagrad, keras.optimizers.Adagrad)
_RMSPROP = (ours.RMSprop, transcripts.rmsprop, keras.optimizers.RMSprop)
_ADAM = (ours.Adam, transcripts.adam, keras.optimizers.Adam)


def _case(row, counterpart_options=None, **options):
    optimizer, formula, counterpart = row
    return Case(optimizer, options, formula, counterpart, counterpart_options or {})


# A large epsilon shows on which side of the root it stands.
CASES = [
    _case(_DESCENT),
    _case(_MOMENTUM, {"momentum": 0.9}),
    _case(_MOMENTUM, {"momentum": 0.9}, nesterov=True),
    _case(_ADAGRAD),
    _case(_ADAGRAD, initial_accumulator_value=0.5, epsilon=0.01),
    _case(_RMSPROP),
    _case(_RMSPROP, rho=0.8, epsilon=0.01),
    _case(_RMSPROP, momentum=0.5, centered=True),
    _case(_ADAM),
    _case(_ADAM, beta_1=0.8, beta_2=0.9, epsilon=0.01),
    _case(_ADAM, amsgrad=True),
]
# The last row of each optimizer, the one with most slots, where one row is enough.
ONE_EACH = list({case.optimizer: case for case in CASES}.values())

INTERVALS = {
    "learning_rate": "[0, inf)",
    "momentum": "[0, 1]",
    "initial_accumulator_value": "[0, inf)",
    "epsilon": "[0, inf)",
    "rho": "[0, 1)",
    "beta_1": "[0, 1)",
    "beta_2": "[0, 1)",
    "weight_decay": "[0, inf)",
    "clipnorm": "(0, inf)",
    "clipvalue": "(0, inf)",
    "global_clipnorm": "(0, inf)",
    "ema_momentum": "[0, 1]",
    "loss_scale_factor": "(0, inf)",
}
SMALLEST_COUNTS = {"ema_overwrite_frequency": 1, "gradient_accumulation_steps": 2}

# Ranges in which float32 holds the formula to 1e-5: no cancellation, no division by almost 0.
USUAL = {
    "momentum": (0.0, 1.0),
    "initial_accumulator_value": (0.01, 1.0),
    "epsilon": (1e-3, 1.0),
    "rho": (0.5, 0.99),
    "beta_1": (0.0, 0.99),
    "beta_2": (0.5, 0.9999),
}

# For every argument a value that is nobody's default.
CHANGED = {
    "learning_rate": 0.25,
    "momentum": 0.5,
    "nesterov": True,
    "initial_accumulator_value": 0.2,
    "epsilon": 0.03,
    "rho": 0.8,
    "centered": True,
    "beta_1": 0.7,
    "beta_2": 0.6,
    "amsgrad": True,
    "weight_decay": 0.01,
    "clipnorm": 2.0,
    "clipvalue": 0.5,
    "global_clipnorm": 3.0,
    "use_ema": True,
    "ema_momentum": 0.9,
    "ema_overwrite_frequency": 7,
    "loss_scale_factor": 4.0,
    "gradient_accumulation_steps": 3,
    "name": "another_name",
}


def own_arguments(optimizer):
    """The named arguments of an optimizer's `__init__`, with their defaults."""
    parameters = inspect.signature(optimizer).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}


def arguments(optimizer):
    """All arguments of an optimizer: its own, and those that every optimizer of Keras takes."""
    sgd, adam = own_arguments(keras.optimizers.SGD), own_arguments(keras.optimizers.Adam)
    base = {name: default for name, default in sgd.items() if name in adam}
    return base | own_arguments(optimizer)
