"""AdaGrad: every weight its own learning rate, smaller the more its gradients add up.

Write the weights of a run of AdaGrad. For each weight an accumulator `a` adds up the squares of its
gradients, from a start value on:

    a <- a + g**2
    w <- w - learning_rate * g / (sqrt(a) + epsilon)  [epsilon: outside]
    w <- w - learning_rate * g / sqrt(a + epsilon)  [epsilon: inside]

with the new `a` in the second line. `a` starts at `start` for every weight. A weight with gradients
4, 4, 4, ... and one with 0.1, 0.1, 0.1, ... move alike: only the history of each one counts.

Reference: J. Duchi, E. Hazan and Y. Singer, Adaptive subgradient methods, 2011, section 1.
Libraries differ in where epsilon stands: here outside the root, as in PyTorch.  [epsilon: outside]
Libraries differ in where epsilon stands: here inside the root, as in Keras.  [epsilon: inside]
"""

import numpy as np


def run(w, gradients, learning_rate, start, epsilon):
    """Returns the weights before the first step and after each, shape (steps + 1, n).

    Args:
        w: the weights at the start, shape (n,). Leave this array as it is.
        gradients: the gradient at each step, shape (steps, n).
        learning_rate, start, epsilon: numbers.
    """
    # solution: start the accumulators, take one step a gradient, and keep every w
    trajectory = [w]
    a = np.full_like(w, start)
    for g in gradients:
        # Each entry adds up its own squares: g**2 is taken entry by entry.
        a = a + g**2
        w = w - learning_rate * g / (np.sqrt(a) + epsilon)  # [epsilon: outside]
        w = w - learning_rate * g / np.sqrt(a + epsilon)  # [epsilon: inside]
        trajectory.append(w)
    return np.stack(trajectory)
    # end of solution
