"""AdaGrad: a learning rate of its own for each weight."""

from typing import Any

import keras
from keras import ops

from custom_optimizers import checks, fused
from custom_optimizers.gradients import check_gradients, dense
from custom_optimizers.slots import add_slots


@fused.accelerate
@keras.saving.register_keras_serializable(package="custom_optimizers")
class Adagrad(keras.optimizers.Optimizer):
    """AdaGrad: each weight's step shrinks with all the gradient it has seen.

    For a weight `w` with gradient `g`, one step is

        a <- a + g**2
        w <- w - learning_rate * g / sqrt(a)

    with `a` shaped like `w`, starting at `initial_accumulator_value + epsilon`. Weights that are
    seldom used, such as the embedding of a rare word, keep a large step.

    Equal to `keras.optimizers.Adagrad`, which adds `epsilon` under the root at each step instead
    of once; but the rows of an Embedding that a batch uses twice are summed before they are
    squared, which Keras does the other way round. PyTorch starts `a` at 0 and adds its epsilon
    (1e-10) outside of the root.

    Args:
        learning_rate: float of at least 0, schedule, or callable without arguments. Keras's
            default of 0.001 is cautious: the paper's problems take 0.01 to 1.
        initial_accumulator_value: at least 0; the larger, the smaller the first steps.
        epsilon: at least 0. Where both are 0, a weight without gradient becomes 0 / 0 = NaN.
        **kwargs: what every Keras optimizer takes: `weight_decay`, `clipnorm`, `clipvalue`,
            `global_clipnorm`, `use_ema`, `ema_momentum`, `ema_overwrite_frequency`,
            `loss_scale_factor`, `gradient_accumulation_steps`, `name`.

    Raises:
        ValueError: names a hyperparameter that is out of its range, or a variable whose gradient
            has another shape.

    Reference:
        J. Duchi, E. Hazan and Y. Singer, Adaptive subgradient methods for online learning and
        stochastic optimization, Journal of Machine Learning Research 12, 2011.
    """

    def __init__(
        self,
        learning_rate: checks.LearningRate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate=checks.learning_rate(learning_rate), **checks.base_arguments(kwargs)
        )
        self.initial_accumulator_value = checks.in_interval(
            "initial_accumulator_value", initial_accumulator_value, "[0, inf)"
        )
        self.epsilon = checks.in_interval("epsilon", epsilon, "[0, inf)")

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        start = keras.initializers.Constant(self.initial_accumulator_value + self.epsilon)
        self._accumulators = add_slots(self, variables, "accumulator", start)

    def apply(self, grads, trainable_variables=None):
        check_gradients(grads, trainable_variables or self._trainable_variables)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        a = self._accumulators[self._get_variable_index(variable)]
        g = dense(gradient, variable)
        lr = ops.cast(learning_rate, g.dtype)

        self.assign_add(a, ops.square(g))
        self.assign_sub(variable, lr * g / ops.sqrt(a))

    def get_config(self):
        return super().get_config() | {
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
        }
