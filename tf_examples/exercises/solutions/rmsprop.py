"""RMSprop: AdaGrad that forgets, so that its steps don't die out.

Write the weights of a run of RMSprop. In place of AdaGrad's growing sum, each weight has a running
mean `v` of the squares of its gradients, of which every step keeps the share `rho`:

    v <- rho * v + (1 - rho) * g**2
    w <- w - learning_rate * g / (sqrt(v) + epsilon)  [epsilon: outside]
    w <- w - learning_rate * g / sqrt(v + epsilon)  [epsilon: inside]

with the new `v` in the second line. `v` starts at 0. With rho = 0.9 a gradient's square has sunk to
a tenth of its weight after 22 steps.

The centered form divides by the standard deviation in place of the root mean square. It keeps a
mean `m` of the gradients too, which starts at 0, and takes its square away:

    m <- rho * m + (1 - rho) * g
    w <- w - learning_rate * g / (sqrt(v - m**2) + epsilon)  [epsilon: outside]
    w <- w - learning_rate * g / sqrt(v - m**2 + epsilon)  [epsilon: inside]

References: G. Hinton, Neural networks for machine learning, lecture 6e, 2012; A. Graves, Generating
sequences with recurrent neural networks, 2013, equations 38 to 41 (centered).
Libraries differ in where epsilon stands: here outside the root, as in PyTorch.  [epsilon: outside]
Libraries differ in where epsilon stands: here inside the root, as in Keras.  [epsilon: inside]
"""

import numpy as np


def run(w, gradients, learning_rate, rho, epsilon, centered):
    """Returns the weights before the first step and after each, shape (steps + 1, n).

    Args:
        w: the weights at the start, shape (n,). Leave this array as it is.
        gradients: the gradient at each step, shape (steps, n).
        learning_rate, rho, epsilon: numbers.
        centered: True or False.
    """
    # solution: start the means at 0, take one step a gradient, and keep every w
    trajectory = [w]
    v = np.zeros_like(w)
    m = np.zeros_like(w)
    for g in gradients:
        v = rho * v + (1 - rho) * g**2
        m = rho * m + (1 - rho) * g
        # A mean of squares less the square of the mean: the variance.
        spread = v - m**2 if centered else v
        w = w - learning_rate * g / (np.sqrt(spread) + epsilon)  # [epsilon: outside]
        w = w - learning_rate * g / np.sqrt(spread + epsilon)  # [epsilon: inside]
        trajectory.append(w)
    return np.stack(trajectory)
    # end of solution
