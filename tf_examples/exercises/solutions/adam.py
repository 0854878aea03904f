"""Adam: the mean gradient, divided by the root of the mean of its square.

Write the weights of a run of Adam. For a weight `w` and its gradient `g` at step `t` (from 1):

    m <- beta_1 * m + (1 - beta_1) * g
    v <- beta_2 * v + (1 - beta_2) * g**2
    m_hat = m / (1 - beta_1**t)
    v_hat = v / (1 - beta_2**t)
    w <- w - learning_rate * m_hat / (sqrt(v_hat) + epsilon)    [epsilon: outside]
    w <- w - learning_rate * m_hat / sqrt(v_hat + epsilon)      [epsilon: inside]

`m` and `v` start at 0, and so are too small at first: by the factors that the two divisions take
out again.

Reference: D. Kingma and J. Ba, Adam: a method for stochastic optimization, 2015, Algorithm 1.
Papers and libraries differ in where epsilon stands: here outside the root.  [epsilon: outside]
Papers and libraries differ in where epsilon stands: here inside the root.  [epsilon: inside]
"""

import numpy as np


def adam(w, gradients, learning_rate, beta_1, beta_2, epsilon):
    """Returns the weights before the first step and after each, shape (steps + 1, n).

    Args:
        w: the weights at the start, shape (n,). Leave this array as it is.
        gradients: the gradient at each step, shape (steps, n).
        learning_rate, beta_1, beta_2, epsilon: numbers.
    """
    # solution: start m and v at zero, take one step a gradient, and keep every w
    trajectory = [w]
    m = np.zeros_like(w)
    v = np.zeros_like(w)
    for t, g in enumerate(gradients, start=1):
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        # A mean that starts at 0 reaches only the share 1 - beta**t of its value after t steps.
        m_hat = m / (1 - beta_1**t)
        v_hat = v / (1 - beta_2**t)
        w = w - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)  # [epsilon: outside]
        w = w - learning_rate * m_hat / np.sqrt(v_hat + epsilon)  # [epsilon: inside]
        trajectory.append(w)
    return np.stack(trajectory)
    # end of solution
