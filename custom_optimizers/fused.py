"""The same steps at the speed of TensorFlow's own training kernels: `@fused.accelerate`.

One line above an optimizer class; the class stays as it reads. What it changes, on Keras's
TensorFlow backend only:

- **Kernels.** A step of a weight in float32 or float64 is one call of the kernel that TensorFlow
  ships for the rule. It updates weight and slots in place, without a temporary of their size. What
  is the same for all weights, such as Adam's corrected learning rate, is computed once a step. The
  sparse gradient of an Embedding touches its own rows only, where the rule leaves all others alone
  (GradientDescent, Adagrad).
- **Traces.** An optimizer that is called eagerly, in a loop around a GradientTape, runs its whole
  `apply` as one graph once a call is like one before: a microsecond or two of Python a weight.

The rule itself (`update_step`) runs under XLA, which fuses it as well, for half-precision weights,
in a subclass that overrides it or one of `assign`, `assign_add` and `assign_sub`, for RMSprop's
`centered=True` (the kernel falls below zero by cancellation), where a learning rate is an array or
a hyperparameter no plain number, for a beta or rho so near to 1 that float32 can't tell how near,
for a class without a kernel, and inside of `off()`:

    with fused.off():
        model.fit(...)

A `tf.function` keeps what it was traced with: one that was called outside of XLA first takes its
kernels along when a function under XLA calls it. XLA compiles them, but not Adagrad's for rows.

Kernel and rule agree to float32's rounding, with three differences. A kernel takes 1 - beta in
float32, which puts Adam's velocity and RMSprop's mean square off by 1.3e-5 of themselves at 0.999,
1.7e-4 at 0.9999; learning rate and epsilon make up for it in the first steps, until the means have
settled. Adagrad with an accumulator of 0 makes no NaN of an Embedding's rows that had no gradient.
And where the square of a gradient overflows, amsgrad's weight stands still instead of becoming NaN.

A trace holds as long as what it was made from: which weights, with which constraints; which of
their gradients are missing or sparse; the methods; and every attribute of the optimizer. The
learning rate goes in as a value: a schedule is asked before each step. An optimizer is not traced
where one of its attributes or constraints is an object that can't be looked through, where its
rule can't be (it reads a tensor's value), under `tf.distribute`, or where the learning rate is a
plain Python function, which is called as Keras calls it. After 16 combinations, further ones run
untraced. As in any `tf.function`, a global or an attribute of the class that a rule of your own
reads is read once, and Python's own random numbers are drawn once.
"""

import contextlib
import contextvars
import functools
import math
import numbers
import types
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from custom_optimizers.gradients import dense

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    raw_ops = tf.raw_ops

_TRACES_AT_MOST = 16
_REPLACEABLE = ("update_step", "assign", "assign_add", "assign_sub")
"""Methods that a subclass, or whoever patches one, may replace: no kernel calls them."""

_is_on = contextvars.ContextVar("fused", default=True)
_given_rate: contextvars.ContextVar = contextvars.ContextVar("given_rate", default=(None, None))
"""(optimizer, the learning rate that its trace gets as an input), while it is traced."""


@contextlib.contextmanager
def off() -> Iterator[None]:
    """Inside (in this thread), every step runs the rule as written, eagerly when it is called so.

    What a `tf.function` or `fit` has traced before, inside or outside, stays as it was traced.
    """
    token = _is_on.set(False)
    try:
        yield
    finally:
        _is_on.reset(token)


def accelerate(optimizer: Any) -> Any:
    """Returns the optimizer class, its steps taken by TensorFlow's kernels where they exist.

    On other backends it returns the class as it is. A class of your own has no kernel: its eager
    `apply` is traced, and each weight follows `update_step`.
    """
    if keras.backend.backend() != "tensorflow":
        return optimizer
    apply, backend_step = optimizer.apply, optimizer._backend_update_step
    current_rate = optimizer._get_current_learning_rate
    methods = {name: getattr(optimizer, name) for name in _REPLACEABLE}
    kernel = _KERNELS.get(f"{optimizer.__module__}.{optimizer.__qualname__}")

    def new_step(self: Any) -> Callable:
        replaced = any(
            getattr(getattr(self, name), "__func__", None) is not method
            for name, method in methods.items()
        )
        if kernel and kernel.fits(self) and _is_on.get() and not (replaced or _in_xla()):
            return _Step(self, kernel).take
        return lambda variable, gradient, rate: self.update_step(gradient, variable, rate)

    def _get_current_learning_rate(self):
        whose, rate = _given_rate.get()
        return rate if whose is self else current_rate(self)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        if _is_distributed(self):
            return backend_step(self, grads, trainable_variables, learning_rate)
        step, learning_rate = new_step(self), keras.ops.convert_to_tensor(learning_rate)
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            native = variable.value if isinstance(variable, keras.Variable) else variable
            step(native, gradient, learning_rate)
        return None

    def _distributed_tf_update_step(self, distribution, grads_and_vars, learning_rate):
        step = new_step(self)
        for gradient, variable in grads_and_vars:
            arguments = (gradient, learning_rate)
            distribution.extended.update(variable, step, args=arguments, group=False)

    @functools.wraps(apply)
    def traced_apply(self, grads, trainable_variables=None):
        grads = list(grads)
        trace = _trace_for(self, apply, grads, trainable_variables)
        if trace:
            trace(*_flat(grads))
        else:
            apply(self, grads, trainable_variables)

    optimizer._backend_update_step = _backend_update_step
    optimizer._distributed_tf_update_step = _distributed_tf_update_step
    optimizer._get_current_learning_rate = _get_current_learning_rate
    optimizer.apply = traced_apply
    return optimizer


def _is_distributed(optimizer: Any) -> bool:
    strategy = tf.distribute.get_strategy()
    return tf.distribute.has_strategy() or optimizer._distribution_strategy is not strategy


def _in_xla() -> bool:
    return GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


# Kernels.


class _Kernel(NamedTuple):
    scalars: Callable
    """(optimizer, learning rate as a tensor) to what one step needs for all weights of a dtype."""
    dense: Callable
    """(optimizer, index, weight's handle, gradient, scalars): one step of one weight."""
    sparse: Callable | None = None
    """The same for a tf.IndexedSlices, if the rule leaves the other rows alone."""
    numbers: tuple[str, ...] = ()
    """The hyperparameters that become constants of the graph."""
    means: tuple[str, ...] = ()
    """Those of which the kernel takes 1 - beta."""
    lacks: str = ""
    """A flag that the kernel doesn't follow the rule with."""

    def fits(self, optimizer: Any) -> bool:
        """Whether the kernel follows the rule with this optimizer's options."""
        values = [getattr(optimizer, name) for name in (*self.numbers, *self.means)]
        return (
            all(isinstance(value, numbers.Real) for value in values)
            and not (self.lacks and getattr(optimizer, self.lacks))
            and all(abs(_surplus(getattr(optimizer, m), tf.float32) - 1) < 1e-3 for m in self.means)
        )


class _Step:
    """One step of an optimizer by its kernel."""

    def __init__(self, optimizer: Any, kernel: _Kernel) -> None:
        self.optimizer, self.kernel = optimizer, kernel
        self._scalars: dict[Any, Any] = {}

    def take(self, variable: Any, gradient: Any, learning_rate: Any) -> None:
        """Updates one weight (and its slots) with its gradient."""
        optimizer, kernel = self.optimizer, self.kernel
        one_rate = tf.TensorShape(getattr(learning_rate, "shape", ())).rank == 0
        if variable.dtype not in (tf.float32, tf.float64) or not one_rate:
            optimizer.update_step(gradient, variable, learning_rate)
            return
        key = variable.device, variable.dtype
        if key not in self._scalars:
            rate = tf.cast(keras.ops.convert_to_tensor(learning_rate), variable.dtype)
            self._scalars[key] = kernel.scalars(optimizer, rate)
        index = optimizer._get_variable_index(variable)
        if kernel.sparse and isinstance(gradient, tf.IndexedSlices) and 0 not in variable.shape:
            update = kernel.sparse
        else:
            update, gradient = kernel.dense, dense(gradient, variable)
        update(optimizer, index, variable.handle, gradient, self._scalars[key])


def _handle(slots: Sequence[Any], index: int) -> Any:
    return slots[index].value.handle


def _surplus(beta: float, dtype: Any) -> float:
    """What 1 - beta is in `dtype`, over what it is: 1.000013 for 0.999 in float32."""
    one = dtype.as_numpy_dtype(1)
    return float(one - dtype.as_numpy_dtype(beta)) / (1 - beta)


def _gradient_descent(optimizer, index, w, g, lr):
    raw_ops.ResourceApplyGradientDescent(var=w, alpha=lr, delta=g)


def _gradient_descent_rows(optimizer, index, w, g, lr):
    updates = lr * tf.cast(g.values, lr.dtype)
    raw_ops.ResourceScatterSub(resource=w, indices=g.indices, updates=updates)


def _momentum_scalars(optimizer, lr):
    return {"lr": lr, "momentum": tf.constant(optimizer.momentum, lr.dtype)}


def _momentum(optimizer, index, w, g, scalars):
    v = _handle(optimizer._velocities, index)
    raw_ops.ResourceApplyKerasMomentum(
        var=w, accum=v, grad=g, use_nesterov=bool(optimizer.nesterov), **scalars
    )


def _adagrad_scalars(optimizer, lr):
    return {"lr": lr, "epsilon": tf.constant(0, lr.dtype)}


def _adagrad(optimizer, index, w, g, scalars):
    a = _handle(optimizer._accumulators, index)
    raw_ops.ResourceApplyAdagradV2(var=w, accum=a, grad=g, **scalars)


def _adagrad_rows(optimizer, index, w, g, scalars):
    a = _handle(optimizer._accumulators, index)
    rows, places = tf.unique(g.indices)
    values = tf.cast(g.values, scalars["lr"].dtype)
    summed = tf.math.unsorted_segment_sum(values, places, tf.size(rows))
    raw_ops.ResourceSparseApplyAdagradV2(var=w, accum=a, grad=summed, indices=rows, **scalars)


def _rmsprop_scalars(optimizer, lr):
    surplus = _surplus(optimizer.rho, lr.dtype)
    return {
        "lr": lr * math.sqrt(surplus),
        "rho": tf.constant(optimizer.rho, lr.dtype),
        "momentum": tf.constant(optimizer.momentum, lr.dtype),
        "epsilon": tf.constant(optimizer.epsilon * surplus, lr.dtype),
    }


def _rmsprop(optimizer, index, w, g, scalars):
    v, m = (_handle(slots, index) for slots in (optimizer._velocities, optimizer._momentums))
    raw_ops.ResourceApplyRMSProp(var=w, ms=v, mom=m, grad=g, **scalars)


def _adam_scalars(optimizer, lr):
    lr = optimizer._corrected(lr)
    root = math.sqrt(_surplus(optimizer.beta_2, lr.dtype))
    return {
        # Powers of 0: the rate is corrected already, and without cancellation.
        "beta1_power": tf.constant(0, lr.dtype),
        "beta2_power": tf.constant(0, lr.dtype),
        "lr": lr * (root / _surplus(optimizer.beta_1, lr.dtype)),
        "beta1": tf.constant(optimizer.beta_1, lr.dtype),
        "beta2": tf.constant(optimizer.beta_2, lr.dtype),
        "epsilon": tf.constant(optimizer.epsilon * root, lr.dtype),
    }


def _adam(optimizer, index, w, g, scalars):
    m, v = (_handle(slots, index) for slots in (optimizer._momentums, optimizer._velocities))
    if optimizer.amsgrad:
        largest = _handle(optimizer._largest_velocities, index)
        raw_ops.ResourceApplyAdamWithAmsgrad(var=w, m=m, v=v, vhat=largest, grad=g, **scalars)
    else:
        raw_ops.ResourceApplyAdam(var=w, m=m, v=v, grad=g, **scalars)


_KERNELS = {
    "custom_optimizers.gradient_descent.GradientDescent": _Kernel(
        lambda optimizer, lr: lr, _gradient_descent, _gradient_descent_rows
    ),
    "custom_optimizers.momentum.Momentum": _Kernel(
        _momentum_scalars, _momentum, numbers=("momentum",)
    ),
    "custom_optimizers.adagrad.Adagrad": _Kernel(_adagrad_scalars, _adagrad, _adagrad_rows),
    "custom_optimizers.rmsprop.RMSprop": _Kernel(
        _rmsprop_scalars,
        _rmsprop,
        numbers=("momentum", "epsilon"),
        means=("rho",),
        lacks="centered",
    ),
    "custom_optimizers.adam.Adam": _Kernel(
        _adam_scalars, _adam, numbers=("epsilon",), means=("beta_1", "beta_2")
    ),
}


# Traces.


class _Traces:
    """The traces of one optimizer, and what they must not outlive."""

    def __init__(self) -> None:
        self.by_key: dict[Hashable, Any] = {}
        self.kept: list[Any] = []
        """Objects whose ids stand in a key: while they are kept, no other object has the id."""


def _traces_of(optimizer: Any) -> _Traces:
    # Past Keras's __setattr__, which would look into it for variables to save.
    return vars(optimizer).setdefault("_fused_traces", _Traces())


def _trace_for(optimizer: Any, apply: Callable, grads: list, variables: Any) -> Any:
    """The graph of this call of `apply`, a function of `_flat(grads)`; else it runs as it is."""
    if not (tf.executing_eagerly() and _is_on.get() and optimizer.built):
        return None
    if tf.config.functions_run_eagerly() or _is_distributed(optimizer):
        return None
    rate = optimizer._learning_rate
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule | keras.Variable):
        return None
    variables = list(optimizer._trainable_variables if variables is None else variables)
    kinds = tuple(map(_kind, grads))
    if _UNTRACEABLE in kinds or len(kinds) != len(variables):
        return None
    kept: list[Any] = [optimizer, variables]
    try:
        state = _state(optimizer, kept), _bounds(variables, kept)
    except _OpaqueError:
        return None
    methods = tuple(getattr(type(optimizer), name) for name in _REPLACEABLE)
    rate = keras.ops.convert_to_tensor(optimizer.learning_rate)
    inputs = rate.dtype, rate.shape, kinds
    key = (id(optimizer), apply, methods, tuple(map(id, variables)), inputs, state)
    traces = _traces_of(optimizer)
    if key not in traces.by_key:
        if len(traces.by_key) < _TRACES_AT_MOST:
            traces.by_key[key] = None  # A first call is not worth a trace: it may be the last.
            traces.kept += kept
        return None
    if traces.by_key[key] is None:
        traces.by_key[key] = _trace(optimizer, apply, rate, grads, variables)
    return traces.by_key[key] and functools.partial(traces.by_key[key], rate)


class _OpaqueError(Exception):
    """Something that a trace depends on can't be looked through."""


_NOT_STATE = {
    "_distribution_strategy", "_fused_traces", "_learning_rate", "_tracker",
    "_trainable_variables_indices",
}  # fmt: skip
"""Attributes that are looked at elsewhere, or are Keras's books."""


def _state(optimizer: Any, kept: list[Any]) -> Hashable:
    """The attributes of an optimizer: what is plain by its value, variables and methods by id."""
    state: list[tuple[str, Hashable]] = []
    for name, value in vars(optimizer).items():
        if name in _NOT_STATE or name.startswith("_self_"):
            continue
        if isinstance(value, types.FunctionType | types.MethodType):
            kept.append(value)
            state.append((name, id(value)))
        else:
            state.append((name, _seen_through(value, kept)))
    return tuple(state)


def _bounds(variables: list[Any], kept: list[Any]) -> Hashable:
    """Where a variable has a constraint, or takes its gradient for its value."""
    bounds = []
    for place, variable in enumerate(variables):
        constraint = getattr(variable, "constraint", None)
        replaced = getattr(variable, "overwrite_with_gradient", False)
        if constraint is not None or replaced:
            bounds.append((place, _seen_through(constraint, kept), replaced))
    return tuple(bounds)


def _seen_through(value: Any, kept: list[Any]) -> Hashable:
    """Something hashable that changes whenever `value`, as a trace would see it, does.

    Raises:
        _OpaqueError: for an object of which that can't be known.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return type(value), value
    if isinstance(value, np.generic):
        return type(value), value.item()
    if isinstance(value, keras.Variable | tf.Variable | tf.__internal__.EagerTensor):
        kept.append(value)  # a trace reads a variable anew; a tensor never changes
        return id(value)
    if isinstance(value, list | tuple) and value and isinstance(value[0], keras.Variable):
        kept.append(value)
        return id(value), len(value)
    if isinstance(value, list | tuple):
        return type(value), tuple(_seen_through(item, kept) for item in value)
    if isinstance(value, set | frozenset):
        return type(value), frozenset(_seen_through(item, kept) for item in value)
    if isinstance(value, dict):
        items = ((_seen_through(k, kept), _seen_through(v, kept)) for k, v in value.items())
        return type(value), tuple(items)
    if isinstance(value, keras.constraints.Constraint) and type(value).__module__.startswith(
        "keras."
    ):
        return type(value), _seen_through(vars(value), kept)
    raise _OpaqueError(type(value))


_UNTRACEABLE = "neither None nor an eager tensor nor rows of one"


def _kind(gradient: Any) -> Any:
    """What a trace depends on in a gradient: all but its values, and the number of its rows."""
    if isinstance(gradient, tf.__internal__.EagerTensor):
        return gradient.dtype, gradient.shape
    if isinstance(gradient, tf.IndexedSlices):
        values, indices = _kind(gradient.values), _kind(gradient.indices)
        if _UNTRACEABLE not in (values, indices):
            return values[0], values[1][1:], indices[0]
    return None if gradient is None else _UNTRACEABLE


def _flat(grads: list) -> list:
    """The tensors of which gradients consist."""
    flat = []
    for gradient in grads:
        if isinstance(gradient, tf.IndexedSlices):
            flat += [gradient.values, gradient.indices]
        elif gradient is not None:
            flat.append(gradient)
    return flat


def _trace(optimizer: Any, apply: Callable, rate: Any, grads: list, variables: list) -> Any:
    """One graph of `apply`, a function of the learning rate and `_flat(grads)`.

    False where it can't be traced: some rule or constraint asks for a tensor's value. Then no
    weight has moved, and what is wrong, if anything is, the call as it is will say.
    """
    kinds = [type(gradient) for gradient in grads]
    specs = [tf.TensorSpec(rate.shape, rate.dtype)]
    for gradient in grads:
        if isinstance(gradient, tf.IndexedSlices):
            values, indices = gradient.values, gradient.indices
            specs.append(tf.TensorSpec([None, *values.shape[1:]], values.dtype))
            specs.append(tf.TensorSpec([None], indices.dtype))
        elif gradient is not None:
            specs.append(tf.TensorSpec(gradient.shape, gradient.dtype))

    def step(rate, *flat):
        rest = iter(flat)
        gradients: list[Any] = []
        for kind, variable in zip(kinds, variables, strict=True):
            if kind is tf.IndexedSlices:
                shape = tf.constant(np.array(variable.shape))
                gradients.append(tf.IndexedSlices(next(rest), next(rest), shape))
            else:
                gradients.append(None if kind is type(None) else next(rest))
        token = _given_rate.set((optimizer, rate))
        try:
            apply(optimizer, gradients, variables)
        finally:
            _given_rate.reset(token)

    try:
        return tf.function(step, autograph=False, input_signature=specs).get_concrete_function()
    except Exception:
        return False
