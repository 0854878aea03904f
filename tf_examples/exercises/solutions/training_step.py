"""A training step in plain TensorFlow: record, differentiate, assign.

The network has one hidden layer, and its weights are TensorFlow variables:

    predictions = tanh(x @ w1 + b1) @ w2 + b2

The loss is the mean over the examples of each one's squared error,  [loss: mean]
The loss is the sum over the examples of each one's squared error,  [loss: sum]
which is the sum over the outputs of (prediction - y)**2. A step of gradient descent moves every
variable at once, with the gradients taken where they all stood before the step:

    variable <- variable - learning_rate * gradient

A `tf.GradientTape` records what is computed inside its `with` block, and `tape.gradient(loss,
variables)` gives the derivative of `loss` by each variable. A variable changes only by `assign`,
`assign_add` or `assign_sub`: `variable = variable - ...` merely gives the name to something new.

How it is checked: the step is taken on one batch after the other, and each loss and the variables
after each step are compared.

Reference: TensorFlow guide, Introduction to gradients and automatic differentiation.
"""

import tensorflow as tf


def predict(variables, x):
    """Returns the network's outputs, shape (examples, outputs). Complete as it stands."""
    w1, b1, w2, b2 = variables
    return tf.tanh(x @ w1 + b1) @ w2 + b2


def training_step(variables, x, y, learning_rate):
    """Takes one step, and returns the loss at the weights before it.

    Args:
        variables: [w1, b1, w2, b2], `tf.Variable`s of shapes (inputs, hidden), (hidden,), (hidden,
            outputs) and (outputs,). They are changed.
        x: inputs, shape (examples, inputs).
        y: what the outputs should be, shape (examples, outputs).
        learning_rate: a number.
    """
    # solution: compute the loss under a tape, ask it for all gradients, then move all variables
    with tf.GradientTape() as tape:
        errors = tf.reduce_sum((predict(variables, x) - y) ** 2, axis=1)
        loss = tf.reduce_mean(errors)  # [loss: mean]
        loss = tf.reduce_sum(errors)  # [loss: sum]
    # One call for all of them: the tape is used up by it, and no variable has moved yet.
    gradients = tape.gradient(loss, variables)
    for variable, gradient in zip(variables, gradients):
        variable.assign_sub(learning_rate * gradient)
    return loss
    # end of solution
