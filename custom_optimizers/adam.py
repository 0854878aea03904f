"""Adam: momentum and RMSprop in one, each corrected for its start at zero."""

import math
from typing import Any

import keras
from keras import ops

from custom_optimizers import checks, fused
from custom_optimizers.gradients import check_gradients, dense
from custom_optimizers.once import once, one_step
from custom_optimizers.slots import add_slots


@fused.accelerate
@keras.saving.register_keras_serializable(package="custom_optimizers")
class Adam(keras.optimizers.Optimizer):
    """Adam: a mean of the gradient, divided by the root of the mean of its square.

    For a weight `w` with gradient `g`, step number `t` (from 1) is

        m <- m + (1 - beta_1) * (g - m)
        v <- v + (1 - beta_2) * (g**2 - v)
        w <- w - learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)

    with `m` and `v` shaped like `w`, starting at 0; the two powers make up for that start. With
    `amsgrad=True`, `v` in the last line is the largest `v` so far. AdamW is
    `Adam(weight_decay=...)`: Keras takes decay off the weight before the step.

    This is the paper's "epsilon hat" form, as in Keras; its Algorithm 1, and PyTorch, add epsilon
    (1e-8) to the corrected root: at t = 1 the same epsilon weighs 32 times as much here. Equal to
    `keras.optimizers.Adam` but for three things: a weight in bfloat16 moves (0.999 rounds to 1
    there, and Keras's stands still); rows of an Embedding that a batch uses twice are summed before
    they are squared; and `1 - beta**t` is computed without the cancellation that puts Keras's
    float32 steps off by up to 1e-5 of themselves.

    Args:
        learning_rate: float of at least 0, schedule, or callable without arguments.
        beta_1: the part of the mean gradient kept at each step, in [0, 1).
        beta_2: the part of the mean square kept at each step, in [0, 1).
        epsilon: at least 0. Where it is 0, a weight that never had a gradient becomes NaN.
        amsgrad: whether the divisor may only grow.
        **kwargs: what every Keras optimizer takes: `weight_decay`, `clipnorm`, `clipvalue`,
            `global_clipnorm`, `use_ema`, `ema_momentum`, `ema_overwrite_frequency`,
            `loss_scale_factor`, `gradient_accumulation_steps`, `name`.

    Raises:
        ValueError: names a hyperparameter that is out of its range, or a variable whose gradient
            has another shape.

    Reference:
        D. Kingma and J. Ba, Adam: a method for stochastic optimization, 2015, section 2; AMSGrad:
        S. Reddi, S. Kale and S. Kumar, On the convergence of Adam and beyond, 2018; AdamW:
        I. Loshchilov and F. Hutter, Decoupled weight decay regularization, 2019.
    """

    def __init__(
        self,
        learning_rate: checks.LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate=checks.learning_rate(learning_rate), **checks.base_arguments(kwargs)
        )
        self.beta_1 = checks.in_interval("beta_1", beta_1, "[0, 1)")
        self.beta_2 = checks.in_interval("beta_2", beta_2, "[0, 1)")
        self.epsilon = checks.in_interval("epsilon", epsilon, "[0, inf)")
        self.amsgrad = checks.flag("amsgrad", amsgrad)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._momentums = add_slots(self, variables, "momentum")
        self._velocities = add_slots(self, variables, "velocity")
        if self.amsgrad:
            self._largest_velocities = add_slots(self, variables, "largest_velocity")

    def apply(self, grads, trainable_variables=None):
        check_gradients(grads, trainable_variables or self._trainable_variables)
        with one_step():
            super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        g = dense(gradient, variable)
        lr = once((id(self), g.dtype), lambda: self._corrected(ops.cast(learning_rate, g.dtype)))

        self.assign_add(m, (1 - self.beta_1) * (g - m))
        self.assign_add(v, (1 - self.beta_2) * (ops.square(g) - v))
        if self.amsgrad:
            largest = self._largest_velocities[index]
            self.assign(largest, ops.maximum(largest, v))
            v = largest
        self.assign_sub(variable, lr * m / (ops.sqrt(v) + self.epsilon))

    def _corrected(self, lr):
        """The learning rate times sqrt(1 - beta_2**t) / (1 - beta_1**t), in its own dtype."""
        t = ops.cast(self.iterations + 1, lr.dtype)
        return lr * ops.sqrt(_one_minus_power(self.beta_2, t)) / _one_minus_power(self.beta_1, t)

    def get_config(self):
        return super().get_config() | {
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "amsgrad": self.amsgrad,
        }


def _one_minus_power(beta: float, t: Any) -> Any:
    """1 - beta**t, without the cancellation: in float32, 1 - 0.999 is off by 1.3e-5 of itself."""
    return -ops.expm1(t * (math.log(beta) if beta else -math.inf))
