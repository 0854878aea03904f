"""The gradient check: is a gradient right? Ask the function itself.

A derivative is the limit of a difference, so a small difference comes close. For each weight alone,
moved by `h` to both sides while the others stay, take the central difference:

    (f(w with h added to this weight) - f(w with h taken from it)) / (2 h)

Its error falls with h**2, that of a one-sided difference only with h.

Two gradients `a` and `b` are compared by their relative error,

    |a - b| / max(|a|, |b|)    [scale: larger]
    |a - b| / (|a| + |b|)      [scale: sum]

where |a| is the root of the sum of a**2 over all entries; it is 0 where both are 0. For a = [3, 4]
and b = [3, 5], with |a - b| = 1, this is 1 / 5.830952 = 0.171499.  [scale: larger]
and b = [3, 5], with |a - b| = 1, this is 1 / 10.830952 = 0.092328.  [scale: sum]
"""

import numpy as np


def numerical_gradient(f, w, h):
    """Returns the central differences of `f` at `w`, an array shaped like `w`.

    Args:
        f: a function of an array shaped like `w`; returns a number.
        w: an array of any shape. It must be the same after the call.
        h: how far each weight is moved, a number.
    """
    # solution: move one weight at a time to both sides, and divide the difference by 2 h
    differences = np.zeros_like(w)
    # ndindex goes through all places of an array, whatever its shape.
    for place in np.ndindex(w.shape):
        above, below = w.copy(), w.copy()
        above[place] += h
        below[place] -= h
        differences[place] = (f(above) - f(below)) / (2 * h)
    return differences
    # end of solution


def relative_error(a, b):
    """Returns the relative error of two arrays of one shape, a number."""
    # solution: divide the length of the difference by the scale of the text, minding 0 / 0
    scale = max(np.linalg.norm(a), np.linalg.norm(b))  # [scale: larger]
    scale = np.linalg.norm(a) + np.linalg.norm(b)  # [scale: sum]
    if scale == 0:
        return 0.0
    return np.linalg.norm(a - b) / scale
    # end of solution
