"""Weight decay: the same word for two things, once the step is not plain descent.

Two ways to pull weights towards 0, with a step that divides by the size of past gradients
(RMSprop). `g` is the gradient of the loss without any penalty, and `v` starts at 0.

L2 penalty: strength * sum(w**2) is added to the loss, and its gradient to `g`:  [penalty: whole]
L2 penalty: strength / 2 * sum(w**2) is added to the loss, and its gradient to `g`: [penalty: half]

    g <- g + gradient of the penalty
    v <- rho * v + (1 - rho) * g**2
    w <- w - learning_rate * g / (sqrt(v) + epsilon)

Decoupled decay: the weights shrink beside the step, and the gradient knows nothing of it:

    v <- rho * v + (1 - rho) * g**2
    w <- w - learning_rate * g / (sqrt(v) + epsilon) - learning_rate * strength * w

with the same old `w` in both terms. With plain gradient descent the two could be made equal. Here
the L2 penalty is divided by sqrt(v) like the rest of the gradient, so a weight with large gradients
is hardly held back; decoupled decay holds back all weights alike.

Reference: I. Loshchilov and F. Hutter, Decoupled weight decay regularization, 2019, Algorithm 2.
"""

import numpy as np


def l2_penalty(w, gradients, learning_rate, rho, epsilon, strength):
    """Returns the weights before the first step and after each, shape (steps + 1, n).

    Args:
        w: the weights at the start, shape (n,). Leave this array as it is.
        gradients: the loss's gradient at each step, without the penalty, shape (steps, n).
        learning_rate, rho, epsilon, strength: numbers.
    """
    # solution: add the penalty's gradient to g, then take the step, and keep every w
    trajectory = [w]
    v = np.zeros_like(w)
    for g in gradients:
        # The derivative of strength * w**2 is 2 * strength * w.  # [penalty: whole]
        g = g + 2 * strength * w  # [penalty: whole]
        # The derivative of strength / 2 * w**2 is strength * w.  # [penalty: half]
        g = g + strength * w  # [penalty: half]
        # From here on the penalty is a part of g: it enters v, and is divided by its root.
        v = rho * v + (1 - rho) * g**2
        w = w - learning_rate * g / (np.sqrt(v) + epsilon)
        trajectory.append(w)
    return np.stack(trajectory)
    # end of solution


def decoupled_decay(w, gradients, learning_rate, rho, epsilon, strength):
    """Returns the weights before the first step and after each, shape (steps + 1, n).

    Args: as for `l2_penalty`.
    """
    # solution: take the step of the loss alone, and shrink the old w beside it
    trajectory = [w]
    v = np.zeros_like(w)
    for g in gradients:
        v = rho * v + (1 - rho) * g**2
        step = g / (np.sqrt(v) + epsilon)
        # Both terms hold the old w, so they are taken off together.
        w = w - learning_rate * (step + strength * w)
        trajectory.append(w)
    return np.stack(trajectory)
    # end of solution
