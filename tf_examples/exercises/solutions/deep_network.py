"""A deep network backward: from the loss through ReLU to every weight.

For `n` examples, one a row, a network with layers 1 .. L computes

    a_0 = x
    z_k = a_(k-1) @ w_k + b_k                     k = 1 .. L
    a_k = relu(z_k) = maximum(z_k, 0)             k = 1 .. L-1
    logits = z_L                                  no ReLU on the last layer

Softmax turns an example's logits into probabilities, exp(logit) / (sum of exp over its classes).
The loss is the cross-entropy: the mean over the examples of  [loss: mean]
The loss is the cross-entropy: the sum over the examples of  [loss: sum]
-log(probability of the example's own class). exp of a large logit overflows; but softmax stays the
same when a constant is taken from all logits of an example, so take away their largest first:

    log_softmax(z) = z - m - log(sum of exp(z - m)),    m = the largest of the example's logits

Backward, from the last layer to the first, with onehot = 1 at an example's own class and else 0:

    dz_L = (softmax(logits) - onehot) / n        the mean's 1/n  [loss: mean]
    dz_L = softmax(logits) - onehot  [loss: sum]
    dw_k = a_(k-1).T @ dz_k
    db_k = sum of dz_k over the examples
    da_(k-1) = dz_k @ w_k.T
    dz_(k-1) = da_(k-1) where z_(k-1) > 0, else 0

Reference: D. Rumelhart, G. Hinton and R. Williams, Learning representations by back-propagating
errors, 1986.
"""

import numpy as np


def log_softmax(logits):
    """Returns the logarithms of the probabilities, shape (examples, classes) like `logits`."""
    # solution: take away each example's largest logit, then the logarithm of the sum of exp
    # keepdims leaves an axis of length 1, so that each example's number is taken from its row.
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    # end of solution


def loss_and_gradients(weights, biases, x, labels):
    """Returns {"loss": ..., "weights": ..., "biases": ...}: the loss, and a list of gradients each.

    Args:
        weights: [w_1, ..., w_L], w_k of shape (inputs of layer k, its outputs).
        biases: [b_1, ..., b_L], b_k of shape (outputs of layer k,).
        x: inputs, shape (examples, inputs).
        labels: each example's own class, whole numbers of shape (examples,).
    """
    # solution: go forward and keep every a, then backward, and collect the gradients
    n, last = len(x), len(weights) - 1
    activations = [x]
    for k, (w, b) in enumerate(zip(weights, biases)):
        z = activations[-1] @ w + b
        activations.append(np.maximum(z, 0) if k < last else z)
    log_probabilities = log_softmax(activations[-1])
    # Row i, column labels[i]: the entry of each example's own class.
    own = log_probabilities[np.arange(n), labels]
    loss = -np.mean(own)  # [loss: mean]
    loss = -np.sum(own)  # [loss: sum]

    dz = np.exp(log_probabilities)
    dz[np.arange(n), labels] -= 1
    dz = dz / n  # [loss: mean]
    dw, db = list(weights), list(biases)
    for k in reversed(range(len(weights))):
        dw[k] = activations[k].T @ dz
        db[k] = np.sum(dz, axis=0)
        if k > 0:
            # a is above 0 just where z is: ReLU passes the gradient there, and nowhere else.
            dz = (dz @ weights[k].T) * (activations[k] > 0)
    return {"loss": loss, "weights": dw, "biases": db}
    # end of solution
