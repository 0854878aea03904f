"""Data parallelism: the gradient of a batch, put together from what each worker saw of it.

A batch of `examples` examples is divided among `workers` workers. Where it doesn't divide evenly,
the first ones take one more each: 10 examples among 4 workers are 3, 3, 2, 2.

Each worker sends, for every weight array, the mean gradient of its own examples.  [sends: mean]
Each worker sends, for every weight array, the sum of the gradients of its examples.  [sends: sum]
What the optimizer needs is the mean gradient over the whole batch, as if one device had seen all:

    gradient = (sum over all examples of the batch of their gradients) / (number of examples)

Two workers with 3 and 1 examples whose mean gradients are 1.0 and 5.0: sums 3.0  [sends: mean]
and 5.0, so the gradient is 8.0 / 4 = 2.0.  [sends: mean]
Two workers with 3 and 1 examples that send 3.0 and 5.0: the gradient is  [sends: sum]
8.0 / 4 = 2.0.  [sends: sum]
A worker without an example sends zeros.
"""

import numpy as np


def shard_sizes(examples, workers):
    """Returns how many examples each worker takes, a list of `workers` whole numbers."""
    # solution: give every worker the whole part, and one more to the first few
    whole, left = divmod(examples, workers)
    return [whole + 1 if worker < left else whole for worker in range(workers)]
    # end of solution


def batch_gradient(sent, counts):
    """Returns the mean gradient over the whole batch, a list of arrays, one for each weight array.

    Args:
        sent: sent[k] is what worker k sent: a list of arrays, one for each weight array.
        counts: the number of examples of each worker, at least one of them above 0.
    """
    # solution: add up what the examples of all workers give, and divide by their number
    total = sum(counts)
    gradients = []
    # zip(*sent) goes through the weight arrays: each time one array of every worker.
    for arrays in zip(*sent):
        # A mean stands for as many examples as it was taken over.  # [sends: mean]
        summed = sum(count * array for count, array in zip(counts, arrays))  # [sends: mean]
        # Sums already count each example once.  # [sends: sum]
        summed = sum(arrays)  # [sends: sum]
        gradients.append(np.asarray(summed) / total)
    return gradients
    # end of solution
