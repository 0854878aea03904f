"""Checks of a section's options, so that a wrong one is named before anything is computed."""


class OptionError(ValueError):
    """An option of `run` outside of its range: the command prints it as one line."""


def in_interval(name: str, value: float, interval: str) -> float:
    """Returns `value` as a float if it lies in `interval`, written as in "[0, 1)".

    Raises:
        OptionError: names the option, the interval and what was received.
    """
    from custom_optimizers import checks  # Keras takes seconds to import: not for OptionError alone

    try:
        return checks.in_interval(name, value, interval)
    except ValueError as error:
        raise OptionError(str(error)) from None


def at_least(name: str, value: int, least: int) -> int:
    """Returns `value` if it is an integer of at least `least`.

    Raises:
        OptionError: names the option, its least value and what was received.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise OptionError(
        f"`{name}` must be an integer of at least {least}. Received: {name}={value!r}"
    )


class RunError(RuntimeError):
    """A run that can't go on: the command prints it as one line, and exits with status 1."""
