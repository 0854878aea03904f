"""The same steps at the speed of TensorFlow's own training kernels: `@fused.accelerate`.

One line above an optimizer class; the class stays as it reads. What it changes, on Keras's
TensorFlow backend only:

- **Kernels.** A step of a weight in float32 or float64 is one call of the kernel that TensorFlow
  ships for the rule. It updates weight and slots in place, without a temporary of their size. What
  is the same for all weights, such as Adam's corrected learning rate, is computed once a step. The
  sparse gradient of an Embedding touches its own rows only, where the rule leaves all others alone
  (GradientDescent, Adagrad).
- **Traces.** An optimizer that is called eagerly, in a loop around a GradientTape, runs its whole
  `apply` as one graph from the second call on: no Python for each weight.

The rule itself (`update_step`) runs under XLA, which fuses it as well, for half-precision weights,
in a subclass that overrides it, for RMSprop's `centered=True` (the kernel falls below zero by
cancellation), where a learning rate is an array, for a class without a kernel, and inside of
`off()`:

    with fused.off():
        model.fit(...)

A `tf.function` keeps what it was traced with: one that was called outside of XLA first takes its
kernels along when a function under XLA calls it. XLA compiles them, but not Adagrad's for rows.

Kernel and rule agree to float32's rounding, with two differences. A kernel takes 1 - beta in
float32, which puts Adam's velocity and RMSprop's mean square off by up to 1.3e-5 of themselves (at
0.999); learning rate and epsilon make up for it in the step. And Adagrad with an accumulator of 0
makes no NaN of an Embedding's rows that had no gradient.

A trace holds as long as what it was made from: which weights, which of their gradients are missing
or sparse, the learning rate object, and every attribute of the optimizer and of a schedule that is
a number, a flag or a string. A learning rate that is a plain Python function is called at each
step, so nothing is traced then, nor under `tf.distribute`. Once an optimizer has seen 16
combinations, further ones run untraced.
"""

import contextlib
import contextvars
import functools
import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from custom_optimizers.gradients import dense

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    raw_ops = tf.raw_ops

_TRACES_AT_MOST = 16

_is_on = contextvars.ContextVar("fused", default=True)


@contextlib.contextmanager
def off() -> Iterator[None]:
    """Inside, every step runs the rule as it is written, called eagerly when it is eager.

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
    rule, apply, backend_step = (
        optimizer.update_step,
        optimizer.apply,
        optimizer._backend_update_step,
    )
    kernel = _KERNELS.get(f"{optimizer.__module__}.{optimizer.__qualname__}")

    def new_step(self: Any) -> Callable:
        overridden = getattr(self.update_step, "__func__", None) is not rule
        if kernel and kernel.fits(self) and _is_on.get() and not (overridden or _in_xla()):
            return _Step(self, kernel).take
        return lambda variable, gradient, rate: self.update_step(gradient, variable, rate)

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
    fits: Callable = lambda optimizer: True
    """Whether the kernel follows the rule with this optimizer's options."""


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
        if kernel.sparse and isinstance(gradient, tf.IndexedSlices):
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
        var=w, accum=v, grad=g, use_nesterov=optimizer.nesterov, **scalars
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
    "custom_optimizers.momentum.Momentum": _Kernel(_momentum_scalars, _momentum),
    "custom_optimizers.adagrad.Adagrad": _Kernel(_adagrad_scalars, _adagrad, _adagrad_rows),
    "custom_optimizers.rmsprop.RMSprop": _Kernel(
        _rmsprop_scalars, _rmsprop, fits=lambda optimizer: not optimizer.centered
    ),
    "custom_optimizers.adam.Adam": _Kernel(_adam_scalars, _adam),
}


# Traces.


class _Traces(NamedTuple):
    """The traces of one optimizer, and what they must not outlive."""

    by_key: dict
    kept: list
    """Objects whose ids stand in a key: while they are kept, no other object has the id."""


_all_traces: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _trace_for(optimizer: Any, apply: Callable, grads: list, variables: Any) -> Any:
    """The graph of this call of `apply`, or None where it is to run as it is."""
    if not (tf.executing_eagerly() and _is_on.get() and optimizer.built):
        return None
    if tf.config.functions_run_eagerly() or _is_distributed(optimizer):
        return None
    rate = optimizer._learning_rate
    schedule = isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
    if not (schedule or isinstance(rate, keras.Variable)):
        return None
    variables = list(optimizer._trainable_variables if variables is None else variables)
    kinds = [_kind(gradient) for gradient in grads]
    if _UNTRACEABLE in kinds or len(kinds) != len(variables):
        return None
    attributes = _plain(optimizer), _plain(rate) if schedule else ()
    key = (id(rate), tuple(map(id, variables)), tuple(kinds), attributes)
    traces = _all_traces.setdefault(optimizer, _Traces({}, []))
    if key not in traces.by_key:
        if len(traces.by_key) < _TRACES_AT_MOST:
            traces.by_key[key] = None  # A first call is not worth a trace: it may be the last.
            traces.kept.append((rate, variables))
        return None
    if traces.by_key[key] is None:
        traces.by_key[key] = _trace(optimizer, apply, grads, variables)
    return traces.by_key[key]


def _plain(thing: Any) -> tuple:
    """Its attributes that are numbers, flags or strings, with their names."""
    plain = bool | int | float | str
    return tuple(item for item in vars(thing).items() if isinstance(item[1], plain))


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


def _trace(optimizer: Any, apply: Callable, grads: list, variables: list) -> Any:
    """One graph of `apply`, a function of `_flat(grads)`."""
    kinds = [type(gradient) for gradient in grads]
    specs = []
    for gradient in grads:
        if isinstance(gradient, tf.IndexedSlices):
            values, indices = gradient.values, gradient.indices
            specs.append(tf.TensorSpec([None, *values.shape[1:]], values.dtype))
            specs.append(tf.TensorSpec([None], indices.dtype))
        elif gradient is not None:
            specs.append(tf.TensorSpec(gradient.shape, gradient.dtype))

    def step(*flat):
        rest = iter(flat)
        gradients: list[Any] = []
        for kind, variable in zip(kinds, variables, strict=True):
            if kind is tf.IndexedSlices:
                shape = tf.constant(np.array(variable.shape))
                gradients.append(tf.IndexedSlices(next(rest), next(rest), shape))
            else:
                gradients.append(None if kind is type(None) else next(rest))
        apply(optimizer, gradients, variables)

    return tf.function(step, autograph=False, input_signature=specs).get_concrete_function()
