"""The network of two exercises in NumPy, float64: tanh, one hidden layer, squared error."""

from collections.abc import Sequence

import numpy as np

Arrays = Sequence[np.ndarray]


def draw(rng: np.random.Generator, inputs: int, hidden: int, outputs: int) -> list[np.ndarray]:
    """Weights [w1, b1, w2, b2] that leave tanh far from flat."""
    shapes = ((inputs, hidden), (hidden,), (hidden, outputs), (outputs,))
    return [rng.normal(scale=0.5, size=shape) for shape in shapes]


def errors(weights: Arrays, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Each example's squared error, summed over the outputs, shape (examples,)."""
    w1, b1, w2, b2 = weights
    return np.sum((np.tanh(x @ w1 + b1) @ w2 + b2 - y) ** 2, axis=1)


def gradients(weights: Arrays, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """The gradients of the sum of `errors`, in the order of the weights."""
    w1, b1, w2, b2 = weights
    h = np.tanh(x @ w1 + b1)
    d_out = 2 * (h @ w2 + b2 - y)
    d_hidden = (d_out @ w2.T) * (1 - h**2)
    return [x.T @ d_hidden, d_hidden.sum(axis=0), h.T @ d_out, d_out.sum(axis=0)]
