"""Hyperparameter checks: a wrong value is named before anything is built."""

import numbers
from collections.abc import Callable
from typing import Any

from keras.optimizers.schedules import LearningRateSchedule

LearningRate = float | LearningRateSchedule | Callable[[], Any]

_BASE_INTERVALS = {
    "weight_decay": "[0, inf)",
    "clipnorm": "(0, inf)",
    "clipvalue": "(0, inf)",
    "global_clipnorm": "(0, inf)",
    "loss_scale_factor": "(0, inf)",
}
_BASE_COUNTS = {"ema_overwrite_frequency": 1, "gradient_accumulation_steps": 2}


def in_interval(name: str, value: object, interval: str) -> float:
    """Returns `value` as a float if it lies in `interval`, written as in "[0, 1)".

    Raises:
        ValueError: names the argument, the interval and what was received, for a number outside
            of it, a NaN, a bool, or anything that is no number.
    """
    low, high = (float(end) for end in interval[1:-1].split(","))
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        number = float(value)
        above = number >= low if interval[0] == "[" else number > low
        below = number <= high if interval[-1] == "]" else number < high
        if above and below:
            return number
    raise ValueError(f"`{name}` must be a number in {interval}. Received: {name}={value!r}")


def flag(name: str, value: object) -> bool:
    """Returns `value` if it is True or False, else raises a ValueError that names the argument."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}")


def learning_rate(value: object) -> Any:
    """Returns a learning rate that Keras takes: a float, a schedule or a callable.

    Whole numbers become floats, which Keras refuses to do.

    Raises:
        ValueError: for a number that is negative, infinite or NaN, and for other types.
    """
    if isinstance(value, LearningRateSchedule) or callable(value):
        return value
    if isinstance(value, numbers.Real):
        return in_interval("learning_rate", value, "[0, inf)")
    raise ValueError(
        "`learning_rate` must be a number in [0, inf), a LearningRateSchedule or a callable. "
        f"Received: learning_rate={value!r}"
    )


def base_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Checks the arguments that every Keras optimizer takes, and returns them.

    Keras itself refuses names it doesn't know and a second kind of clipping.

    Raises:
        ValueError: for a value outside of its range; None means "off" wherever
            it is Keras's default.
    """
    for name, interval in _BASE_INTERVALS.items():
        if arguments.get(name) is not None:
            in_interval(name, arguments[name], interval)
    for name, least in _BASE_COUNTS.items():
        value = arguments.get(name)
        is_count = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if value is not None and not (is_count and value >= least):
            raise ValueError(
                f"`{name}` must be None or an integer of at least {least}. "
                f"Received: {name}={value!r}"
            )
    if "use_ema" in arguments:
        flag("use_ema", arguments["use_ema"])
    if "ema_momentum" in arguments:
        in_interval("ema_momentum", arguments["ema_momentum"], "[0, 1]")
    return arguments
