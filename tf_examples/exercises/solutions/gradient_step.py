"""The gradient step: downhill on a loss, again and again.

A linear model predicts `x @ w` for inputs `x`, one row an example. Its loss over n examples is

    loss(w) = 1/n * sum of (x @ w - y)**2  [loss: mean]
    loss(w) = 1/(2n) * sum of (x @ w - y)**2  [loss: half]

with the gradient

    gradient(w) = 2/n * x.T @ (x @ w - y)  [loss: mean]
    gradient(w) = 1/n * x.T @ (x @ w - y)  [loss: half]

which points uphill. A step of gradient descent goes the other way:

    w <- w - learning_rate * gradient(w)

For x = [[1], [2]], y = [2, 4] and w = [0] the gradient is  [loss: mean]
2/2 * (1 * (0 - 2) + 2 * (0 - 4)) = -10: with learning rate 0.1, w becomes [1].  [loss: mean]
For x = [[1], [2]], y = [2, 4] and w = [0] the gradient is  [loss: half]
1/2 * (1 * (0 - 2) + 2 * (0 - 4)) = -5: with learning rate 0.1, w becomes [0.5].  [loss: half]
"""

import numpy as np


def gradient(w, x, y):
    """Returns the gradient of the loss at `w`, shape (weights,).

    Args:
        w: the weights, shape (weights,).
        x: inputs, shape (examples, weights).
        y: what should be predicted, shape (examples,).
    """
    # solution: compute the errors x @ w - y, and from them the gradient
    errors = x @ w - y
    return 2 / len(y) * x.T @ errors  # [loss: mean]
    return 1 / len(y) * x.T @ errors  # [loss: half]
    # end of solution


def descend(w, x, y, learning_rate, steps):
    """Returns the weights before the first step and after each, shape (steps + 1, weights).

    Args:
        w: the weights at the start, shape (weights,). Leave this array as it is.
        x, y: as for `gradient`.
        learning_rate: a number.
        steps: a whole number.
    """
    # solution: take the steps, and keep every w
    trajectory = [w]
    for _ in range(steps):
        # w - ... is a new array: the ones kept before stay as they are.
        w = w - learning_rate * gradient(w, x, y)
        trajectory.append(w)
    return np.stack(trajectory)
    # end of solution
