"""Nesterov momentum: look where the velocity will take you, and take the gradient there.

The loss here is 1/2 w.T a w - b.T w, with the gradient a @ w - b: other than in the exercise on
momentum you choose where to take it. The velocity `v` starts at 0, and a step is

    v <- momentum * v - learning_rate * gradient(w + momentum * v)    [form: lookahead]
    w <- w + v                                                        [form: lookahead]
    g  = gradient(w)                                                  [form: shifted]
    v <- momentum * v - learning_rate * g                             [form: shifted]
    w <- w + momentum * v - learning_rate * g                         [form: shifted]

The gradient is taken where the old velocity alone would carry the weights, w + momentum * v: if the
step goes too far, it hears of it one step earlier than plain momentum.  [form: lookahead]
This is the form of Keras and PyTorch. Nesterov's own takes the gradient ahead, at  [form: shifted]
w + momentum * v; these weights are that point, shifted along, and the gradient is  [form: shifted]
taken at the weights themselves. In the last line `v` is the new one.  [form: shifted]

References: Y. Nesterov, A method for solving the convex programming problem with convergence rate
O(1/k^2), 1983; I. Sutskever et al., On the importance of initialization and momentum in deep
learning, 2013, section 2.
"""

import numpy as np


def gradient(w, a, b):
    """Returns the gradient of the loss at `w`, shape (n,). Complete as it stands."""
    return a @ w - b


def run(w, a, b, learning_rate, momentum, steps):
    """Returns the weights before the first step and after each, shape (steps + 1, n).

    Args:
        w: the weights at the start, shape (n,). Leave this array as it is.
        a: the matrix of the loss, shape (n, n).
        b: its vector, shape (n,).
        learning_rate, momentum: numbers.
        steps: a whole number.
    """
    # solution: start the velocity at 0, take the steps of the text, and keep every w
    trajectory = [w]
    v = np.zeros_like(w)
    for _ in range(steps):
        v = momentum * v - learning_rate * gradient(w + momentum * v, a, b)  # [form: lookahead]
        w = w + v  # [form: lookahead]
        g = gradient(w, a, b)  # [form: shifted]
        v = momentum * v - learning_rate * g  # [form: shifted]
        # The new velocity once more, shortened, and the gradient once more.  # [form: shifted]
        w = w + momentum * v - learning_rate * g  # [form: shifted]
        trajectory.append(w)
    return np.stack(trajectory)
    # end of solution
