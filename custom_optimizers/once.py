"""What is the same for all weights, computed once a step."""

import contextlib
import contextvars
from collections.abc import Callable, Hashable, Iterator
from typing import Any

_values: contextvars.ContextVar = contextvars.ContextVar("values", default=None)


@contextlib.contextmanager
def one_step() -> Iterator[None]:
    """Inside, `once` computes a value for a key once."""
    token = _values.set({})
    try:
        yield
    finally:
        _values.reset(token)


def once(key: Hashable, compute: Callable[[], Any]) -> Any:
    """Returns `compute()`, or what it gave for this key earlier in the same step.

    Outside of `one_step`, as where `update_step` is called by hand, it computes at every call.
    """
    values = _values.get()
    if values is None:
        return compute()
    if key not in values:
        values[key] = compute()
    return values[key]
