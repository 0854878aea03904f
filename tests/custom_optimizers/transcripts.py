"""The docstrings' formulas once more, in float64 NumPy: the oracle that shares no code with them.

Each function takes the start `w`, a list of gradients shaped like `w`, and a learning rate (one
number, or a list with one a step). After each step it yields the weight and the slots: a dict in
the order in which they are saved, by the names under which they are saved.
"""

import numpy as np


def gradient_descent(w, gradients, learning_rate):
    for lr, g in _steps(learning_rate, gradients):
        w = w - lr * g
        yield w, {}


def momentum(w, gradients, learning_rate, momentum=0.9, nesterov=False):
    v = np.zeros_like(w)
    for lr, g in _steps(learning_rate, gradients):
        v = momentum * v - lr * g
        w = w + momentum * v - lr * g if nesterov else w + v
        yield w, {"velocity": v}


def adagrad(w, gradients, learning_rate, initial_accumulator_value=0.1, epsilon=1e-7):
    squares = np.zeros_like(w)
    for lr, g in _steps(learning_rate, gradients):
        squares = squares + g * g
        a = initial_accumulator_value + epsilon + squares
        w = w - lr * g / np.sqrt(a)
        yield w, {"accumulator": a}


def rmsprop(w, gradients, learning_rate, rho=0.9, momentum=0.0, epsilon=1e-7, centered=False):
    v, m, a = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    for lr, g in _steps(learning_rate, gradients):
        v = rho * v + (1 - rho) * g * g
        a = rho * a + (1 - rho) * g
        variance = np.maximum(v - a * a, 0) if centered else v
        m = momentum * m + lr * g / np.sqrt(variance + epsilon)
        w = w - m
        yield w, {"velocity": v, "momentum": m} | ({"average_gradient": a} if centered else {})


def adam(w, gradients, learning_rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False):
    m, v, largest = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    for t, (lr, g) in enumerate(_steps(learning_rate, gradients), start=1):
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g * g
        largest = np.maximum(largest, v)
        size = lr * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        w = w - size * m / (np.sqrt(largest if amsgrad else v) + epsilon)
        yield w, {"momentum": m, "velocity": v} | ({"largest_velocity": largest} if amsgrad else {})


def _steps(learning_rate, gradients):
    rates = np.broadcast_to(np.float64(learning_rate), len(gradients))
    return zip(rates, np.float64(gradients), strict=True)
