"""Momentum: a step that remembers the steps before it.

Write the weights of a run of gradient descent with momentum (the "heavy ball"). With a velocity `v`
that starts at 0, a step with gradient `g` is

    v <- momentum * v + g                                   [rate: outside]
    w <- w - learning_rate * v                              [rate: outside]
    v <- momentum * v - learning_rate * g                   [rate: inside]
    w <- w + v                                              [rate: inside]

with the new `v` in the second line. The learning rate may change from step to step; here it stands
outside of the velocity (as in PyTorch), so a change acts on all of it at once.  [rate: outside]
inside of the velocity (as in Keras), so a change acts on the new gradient alone.  [rate: inside]

Reference: B. Polyak, Some methods of speeding up the convergence of iteration methods, 1964.
"""

import numpy as np


def run(w, gradients, learning_rates, momentum):
    """Returns the weights before the first step and after each, shape (steps + 1, n).

    Args:
        w: the weights at the start, shape (n,). Leave this array as it is.
        gradients: the gradient at each step, shape (steps, n).
        learning_rates: the learning rate at each step, shape (steps,).
        momentum: a number from 0 to 1.
    """
    # solution: start the velocity at 0, take one step a gradient, and keep every w
    trajectory = [w]
    v = np.zeros_like(w)
    for g, learning_rate in zip(gradients, learning_rates):
        v = momentum * v + g  # [rate: outside]
        w = w - learning_rate * v  # [rate: outside]
        v = momentum * v - learning_rate * g  # [rate: inside]
        # The velocity points downhill already: it is added.  # [rate: inside]
        w = w + v  # [rate: inside]
        trajectory.append(w)
    return np.stack(trajectory)
    # end of solution
