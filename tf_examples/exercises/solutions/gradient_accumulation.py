"""Gradient accumulation: a large batch on a device that holds only a small one.

A batch of `n` examples is cut into k = `micro_batches` parts of n / k examples, in their order. The
gradients of the parts' losses are added up, one part after the other, so that only one part's
activations are in memory at a time; then the weights are updated once, with their mean:

    gradient = (g_1 + g_2 + ... + g_k) / k
    loss     = (loss_1 + loss_2 + ... + loss_k) / k

Each part's loss is a mean over its examples, and the parts are of one size: so this is the gradient
of the whole batch, and the step the same as without accumulation. Keras calls `train_step` for
every batch of `fit`. What it needs is in the model:

    self(x, training=True)                    the predictions
    self.compute_loss(x=x, y=y, y_pred=...)   the loss that `compile` was given
    self.trainable_variables                  the weights
    self.optimizer.apply(gradients, weights)  one step
    self.report(loss)                         what train_step returns

How it is checked: a small network is trained, first by `train_on_batch`, then by `fit`. What counts
is how many examples go through it at a time, how many steps the optimizer takes, and the weights
and losses.

Reference: Y. Huang et al., GPipe: efficient training of giant neural networks using pipeline
parallelism, 2019, section 2.2.
"""

import keras
import tensorflow as tf


class AccumulatingModel(keras.Model):
    """A network that is trained with gradient accumulation."""

    def __init__(self, network, micro_batches, **kwargs):
        """Keeps the network and the number of parts. Complete as it stands."""
        super().__init__(**kwargs)
        self.network = network
        self.micro_batches = micro_batches

    def call(self, x, training=False):
        """Returns the network's predictions. Complete as it stands."""
        return self.network(x, training=training)

    def report(self, loss):
        """Returns {"loss": the mean of the epoch so far}. Complete as it stands.

        `fit` shows what Keras's own loss metric was told, and not what `train_step` returns.
        """
        (metric,) = (metric for metric in self.metrics if metric.name == "loss")
        metric.update_state(loss)
        return {"loss": metric.result()}

    def train_step(self, data):
        """Takes one step on a batch, and reports the mean of the parts' losses.

        Args:
            data: x and y, tensors whose first axis is the batch (k divides its length), and perhaps
                sample weights, which are left out here.
        """
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        # solution: add up the gradients of the parts, and apply their mean once
        k = self.micro_batches
        total = [tf.zeros_like(variable) for variable in self.trainable_variables]
        loss_total = 0.0
        # tf.split cuts along the first axis into k equal parts.
        for part_x, part_y in zip(tf.split(x, k), tf.split(y, k)):
            with tf.GradientTape() as tape:
                predictions = self(part_x, training=True)
                loss = self.compute_loss(x=part_x, y=part_y, y_pred=predictions)
            gradients = tape.gradient(loss, self.trainable_variables)
            total = [t + g for t, g in zip(total, gradients)]
            loss_total = loss_total + loss
        # The optimizer is called once, after the loop: it counts one step, and its momentum too.
        self.optimizer.apply([t / k for t in total], self.trainable_variables)
        return self.report(loss_total / k)
        # end of solution
