"""Momentum: gradient descent that remembers where it was going."""

from typing import Any

import keras
from keras import ops

from custom_optimizers import checks, fused
from custom_optimizers.gradients import check_gradients, dense
from custom_optimizers.slots import add_slots


@fused.accelerate
@keras.saving.register_keras_serializable(package="custom_optimizers")
class Momentum(keras.optimizers.Optimizer):
    """Momentum: steps add up in a velocity, so that a ball rolls rather than creeps.

    For a weight `w` with gradient `g`, one step is

        v <- momentum * v - learning_rate * g
        w <- w + v

    with `v` shaped like `w`, starting at 0 (the heavy ball). With `nesterov=True` the weight moves
    as if the gradient had been taken one step of `v` ahead:

        w <- w + momentum * v - learning_rate * g

    Equal to `keras.optimizers.SGD(momentum=...)`. PyTorch keeps the learning rate outside of the
    velocity (`b <- momentum * b + g`, `w <- w - learning_rate * b`): the same while the learning
    rate is constant, another path under a schedule.

    Args:
        learning_rate: float of at least 0, schedule, or callable without arguments.
        momentum: the part of the velocity kept at each step, in [0, 1]; 0 is gradient descent.
        nesterov: whether to take Nesterov's step.
        **kwargs: what every Keras optimizer takes: `weight_decay`, `clipnorm`, `clipvalue`,
            `global_clipnorm`, `use_ema`, `ema_momentum`, `ema_overwrite_frequency`,
            `loss_scale_factor`, `gradient_accumulation_steps`, `name`.

    Raises:
        ValueError: names a hyperparameter that is out of its range, or a variable whose gradient
            has another shape.

    Reference:
        B. Polyak, Some methods of speeding up the convergence of iteration methods, 1964;
        Nesterov's step in the form of I. Sutskever et al., On the importance of initialization
        and momentum in deep learning, 2013, equations 3 and 4.
    """

    def __init__(
        self,
        learning_rate: checks.LearningRate = 0.01,
        momentum: float = 0.9,
        nesterov: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate=checks.learning_rate(learning_rate), **checks.base_arguments(kwargs)
        )
        self.momentum = checks.in_interval("momentum", momentum, "[0, 1]")
        self.nesterov = checks.flag("nesterov", nesterov)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._velocities = add_slots(self, variables, "velocity")

    def apply(self, grads, trainable_variables=None):
        check_gradients(grads, trainable_variables or self._trainable_variables)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        v = self._velocities[self._get_variable_index(variable)]
        g = dense(gradient, variable)
        lr = ops.cast(learning_rate, g.dtype)

        self.assign(v, self.momentum * v - lr * g)
        self.assign_add(variable, self.momentum * v - lr * g if self.nesterov else v)

    def get_config(self):
        return super().get_config() | {"momentum": self.momentum, "nesterov": self.nesterov}
