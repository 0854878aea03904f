"""RMSprop: AdaGrad that forgets."""

from typing import Any

import keras
from keras import ops

from custom_optimizers import checks, fused
from custom_optimizers.gradients import check_gradients, dense
from custom_optimizers.slots import add_slots


@fused.accelerate
@keras.saving.register_keras_serializable(package="custom_optimizers")
class RMSprop(keras.optimizers.Optimizer):
    """RMSprop: each weight's step is divided by the recent size of its gradient.

    For a weight `w` with gradient `g`, one step is

        v <- v + (1 - rho) * (g**2 - v)
        m <- momentum * m + learning_rate * g / sqrt(v + epsilon)
        w <- w - m

    with `v` and `m` shaped like `w`, starting at 0. The first step has size
    `learning_rate / sqrt(1 - rho)` for any gradient far above `sqrt(epsilon)`. With
    `centered=True` the root is taken of the gradient's variance rather than of its mean square:
    with its mean `a`, starting at 0,

        a <- a + (1 - rho) * (g - a)
        m <- momentum * m + learning_rate * g / sqrt(max(v - a**2, 0) + epsilon)

    Equal to `keras.optimizers.RMSprop`, but for three things: the variance is held at 0 or above
    (Keras's falls below by cancellation, and its weights become NaN on a steady gradient); rows
    of an Embedding that a batch uses twice are summed before they are squared; and `m` is kept
    with `momentum=0` too, so that the saved state always has one form. PyTorch adds epsilon
    outside of the root, keeps the learning rate outside of `m`, and has rho (there `alpha`) 0.99.

    Args:
        learning_rate: float of at least 0, schedule, or callable without arguments.
        rho: the part of the mean square kept at each step, in [0, 1).
        momentum: the part of the last step that is taken again, in [0, 1].
        epsilon: at least 0. Where it is 0, a weight that never had a gradient becomes NaN.
        centered: whether to divide by the standard deviation.
        **kwargs: what every Keras optimizer takes: `weight_decay`, `clipnorm`, `clipvalue`,
            `global_clipnorm`, `use_ema`, `ema_momentum`, `ema_overwrite_frequency`,
            `loss_scale_factor`, `gradient_accumulation_steps`, `name`.

    Raises:
        ValueError: names a hyperparameter that is out of its range, or a variable whose gradient
            has another shape.

    Reference:
        G. Hinton, Neural networks for machine learning, lecture 6e, 2012; centered: A. Graves,
        Generating sequences with recurrent neural networks, 2013, equations 38 to 40.
    """

    def __init__(
        self,
        learning_rate: checks.LearningRate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate=checks.learning_rate(learning_rate), **checks.base_arguments(kwargs)
        )
        self.rho = checks.in_interval("rho", rho, "[0, 1)")
        self.momentum = checks.in_interval("momentum", momentum, "[0, 1]")
        self.epsilon = checks.in_interval("epsilon", epsilon, "[0, inf)")
        self.centered = checks.flag("centered", centered)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._velocities = add_slots(self, variables, "velocity")
        self._momentums = add_slots(self, variables, "momentum")
        if self.centered:
            self._averages = add_slots(self, variables, "average_gradient")

    def apply(self, grads, trainable_variables=None):
        check_gradients(grads, trainable_variables or self._trainable_variables)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        v, m = self._velocities[index], self._momentums[index]
        g = dense(gradient, variable)
        lr = ops.cast(learning_rate, g.dtype)

        self.assign_add(v, (1 - self.rho) * (ops.square(g) - v))
        square = v
        if self.centered:
            a = self._averages[index]
            self.assign_add(a, (1 - self.rho) * (g - a))
            square = ops.maximum(v - ops.square(a), 0)
        step = lr * g / ops.sqrt(square + self.epsilon)
        self.assign(m, self.momentum * m + step if self.momentum else step)
        self.assign_sub(variable, m)

    def get_config(self):
        return super().get_config() | {
            "rho": self.rho,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "centered": self.centered,
        }
