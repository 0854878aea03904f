"""Gradient descent, the rule that all others change."""

from typing import Any

import keras
from keras import ops

from custom_optimizers import checks, fused
from custom_optimizers.gradients import check_gradients, dense


@fused.accelerate
@keras.saving.register_keras_serializable(package="custom_optimizers")
class GradientDescent(keras.optimizers.Optimizer):
    """Gradient descent: a step against the gradient, in proportion to it.

    For a weight `w` with gradient `g`, one step is

        w <- w - learning_rate * g

    On the mean over a few examples drawn at random instead of all of them, this is stochastic
    gradient descent (SGD); the rule is the same. Equal to `keras.optimizers.SGD` without momentum.

    Args:
        learning_rate: float of at least 0, schedule, or callable without arguments.
        **kwargs: what every Keras optimizer takes: `weight_decay`, `clipnorm`, `clipvalue`,
            `global_clipnorm`, `use_ema`, `ema_momentum`, `ema_overwrite_frequency`,
            `loss_scale_factor`, `gradient_accumulation_steps`, `name`.

    Raises:
        ValueError: names a hyperparameter that is out of its range, or a variable whose gradient
            has another shape.

    Reference:
        A. Cauchy, Méthode générale pour la résolution des systèmes d'équations simultanées, 1847;
        with random examples: H. Robbins and S. Monro, A stochastic approximation method, 1951.
    """

    def __init__(self, learning_rate: checks.LearningRate = 0.01, **kwargs: Any) -> None:
        super().__init__(
            learning_rate=checks.learning_rate(learning_rate), **checks.base_arguments(kwargs)
        )

    def apply(self, grads, trainable_variables=None):
        check_gradients(grads, trainable_variables or self._trainable_variables)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        g = dense(gradient, variable)
        lr = ops.cast(learning_rate, g.dtype)

        self.assign_sub(variable, lr * g)
