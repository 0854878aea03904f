"""Clipping by the global norm: one length for all gradients, and the direction kept.

The gradients of a model are a list of arrays, one for each weight array. Their global norm is the
length of the one long vector that they form together:

    norm = sqrt(sum of g**2 over every entry of every array)

Where `norm` is larger than `limit`, every array is multiplied by the same number,

    g <- g * limit / norm

so that the global norm becomes `limit`; else they all stay as they are. For the arrays [3, 0] and
[4], the norm is 5: with limit 1 they become [0.6, 0] and [0.8], with limit 10 nothing changes.
Gradients that are all 0 stay 0.

Reference: R. Pascanu, T. Mikolov and Y. Bengio, On the difficulty of training recurrent neural
networks, 2013, Algorithm 1.
"""

import numpy as np


def clip_by_global_norm(gradients, limit):
    """Returns the clipped gradients, a list of arrays of the same shapes.

    Args:
        gradients: a list of arrays of any shapes. Leave these arrays as they are.
        limit: the largest global norm allowed, a number above 0.
    """
    # solution: compute one norm over all arrays, and scale all of them by one factor
    norm = np.sqrt(sum(np.sum(g**2) for g in gradients))
    # A norm of 0 is below every limit: asking first keeps 0 / 0 from happening.
    if norm <= limit:
        return list(gradients)
    return [g * (limit / norm) for g in gradients]
    # end of solution
