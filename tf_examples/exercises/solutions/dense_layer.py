"""A dense layer backward: from the gradient of its outputs to those of its weights and inputs.

Forward, a dense layer computes for `n` examples, one a row,

    z = x @ w + b        shapes (n, out) = (n, in) @ (in, out) + (out,)

Backward, it is given for each example the gradient of that example's own loss by its outputs, `dz`
(shape (n, out)). By the chain rule the gradients of that example's loss are

    by w[i, j]:  x[i] * dz[j]        by b[j]:  dz[j]        by x[i]:  sum over j of dz[j] * w[i, j]

The weights and biases serve all examples, and their gradients are the mean over the  [batch: mean]
examples. Inputs belong to one example each: dx has a row for each, and no mean.  [batch: mean]
The weights and biases serve all examples, and their gradients are the sum over the  [batch: sum]
examples. Inputs belong to one example each: dx has a row for each, and no sum.  [batch: sum]

For x = [[1, 2], [3, 4]], w = [[1], [10]] and dz = [[1], [2]], the sum of x * dz over the examples
is [[7], [10]]: so dw = [[3.5], [5]], db = [1.5], dx = [[1, 10], [2, 20]].  [batch: mean]
is [[7], [10]]: so dw = [[7], [10]], db = [3], dx = [[1, 10], [2, 20]].  [batch: sum]
"""

import numpy as np


def backward(x, w, dz):
    """Returns {"dw": ..., "db": ..., "dx": ...}, shaped like w, like b and like x.

    Args:
        x: the layer's inputs, shape (examples, in).
        w: its weights, shape (in, out).
        dz: the gradients of each example's loss by the outputs, shape (examples, out).
    """
    # solution: write the three gradients as products of x, w and dz
    # x.T @ dz adds up x[i] * dz[j] over the examples: its inner axis is theirs.
    dw = x.T @ dz / len(x)  # [batch: mean]
    db = np.mean(dz, axis=0)  # [batch: mean]
    dw = x.T @ dz  # [batch: sum]
    db = np.sum(dz, axis=0)  # [batch: sum]
    dx = dz @ w.T
    return {"dw": dw, "db": db, "dx": dx}
    # end of solution
