"""Initialization: how large random weights must be for a signal to keep its size.

A dense layer with `fan_in` inputs and `fan_out` outputs gets weights of mean 0 and variance

    lecun:   1 / fan_in
    glorot:  2 / (fan_in + fan_out)
    he:      2 / fan_in

Weights are kept in arrays of shape (fan_in, fan_out).  [layout: in_out]
Weights are kept in arrays of shape (fan_out, fan_in).  [layout: out_in]

Each of a layer's outputs is a sum of fan_in products, so its mean square before the activation is

    E[z**2] = fan_in * variance * E[a**2]

for inputs `a` to the layer. ReLU turns what is below 0 into 0, on average half of all: the mean
square after it is half of that before, E[a**2] = E[z**2] / 2. Without an activation a = z. The
network's own input has been through no ReLU. With widths 100, 50, 10, "he", ReLU and a mean square
of 1 at the input, z has mean square 100 * 2/100 * 1 = 2, then 50 * 2/50 * (2 / 2) = 2 again.

References: X. Glorot and Y. Bengio, Understanding the difficulty of training deep feedforward
neural networks, 2010, equation 12; K. He et al., Delving deep into rectifiers, 2015, equation 10.
"""

import numpy as np


def variance(fan_in, fan_out, scheme):
    """Returns the variance of a layer's weights, a number: the other two functions need it."""
    # solution: translate the table of the text
    if scheme == "lecun":
        return 1 / fan_in
    if scheme == "glorot":
        return 2 / (fan_in + fan_out)
    return 2 / fan_in
    # end of solution


def weights(draws, scheme):
    """Returns an array of weights like `draws`, scaled to the variance of `scheme`.

    Args:
        draws: standard normal numbers (variance 1), shape (fan_in, fan_out).  [layout: in_out]
        draws: standard normal numbers (variance 1), shape (fan_out, fan_in).  [layout: out_in]
        scheme: "lecun", "glorot" or "he".
    """
    # solution: find the fans and the variance, and scale the draws to it
    fan_in, fan_out = draws.shape  # [layout: in_out]
    fan_out, fan_in = draws.shape  # [layout: out_in]
    # A factor c multiplies the variance by c**2, so the factor is the root.
    return draws * np.sqrt(variance(fan_in, fan_out, scheme))
    # end of solution


def mean_squares(mean_square, widths, scheme, activation):
    """Returns E[z**2] of each layer, before its activation, shape (layers,).

    Args:
        mean_square: E[a**2] of the network's input.
        widths: the input's width, then each layer's: a list of layers + 1 whole numbers.
        scheme: "lecun", "glorot" or "he".
        activation: "linear" or "relu", after every layer.
    """
    # solution: go through the layers, each one's E[a**2] made from the E[z**2] before it
    sizes = []
    for fan_in, fan_out in zip(widths[:-1], widths[1:]):
        z = fan_in * variance(fan_in, fan_out, scheme) * mean_square
        sizes.append(z)
        # What the next layer receives: ReLU drops the half below 0.
        mean_square = z / 2 if activation == "relu" else z
    return np.array(sizes)
    # end of solution
