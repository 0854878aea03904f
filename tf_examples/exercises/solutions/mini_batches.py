"""Mini-batches: an epoch that meets every example exactly once.

In an epoch the examples are gone through in a random order, `order`, a permutation of their numbers
0 .. n-1. Cut into batches of `batch_size`, in this order, the last batch holds what is left over:
10 examples in batches of 4 make batches of 4, 4 and 2. None is empty, none is left out, none comes
twice.

Each batch gives a loss, the mean over its examples.  [loss: mean]
Each batch gives a loss, the sum over its examples.  [loss: sum]
The loss of the epoch is the mean over all examples, whichever batch they were in. With batches of
3 and 1 examples, whose losses are 2.0 and 6.0, it is (3 * 2.0 + 6.0) / 4 = 3.0.  [loss: mean]
3 and 1 examples, whose losses are 6.0 and 6.0, it is (6.0 + 6.0) / 4 = 3.0.  [loss: sum]
"""

import numpy as np


def batches(order, batch_size):
    """Returns the batches of an epoch: a list of arrays of example numbers.

    Args:
        order: the numbers of all examples in the order of this epoch, shape (n,).
        batch_size: a whole number of at least 1.
    """
    # solution: cut the order into pieces of batch_size
    # A slice that reaches past the end stops there: the last batch needs no case of its own.
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    # end of solution


def epoch_loss(losses, sizes):
    """Returns the loss of the epoch, a number.

    Args:
        losses: the loss of each batch, shape (batches,).
        sizes: how many examples each batch had, shape (batches,).
    """
    # solution: let every example count once
    return np.sum(losses * sizes) / np.sum(sizes)  # [loss: mean]
    return np.sum(losses) / np.sum(sizes)  # [loss: sum]
    # end of solution
