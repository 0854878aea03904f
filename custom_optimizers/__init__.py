"""Five optimizers for Keras 3, written to be read: one rule a file, in order of complexity."""

# ruff: noqa: I001, RUF022 (the order is the order in which to read them)
from custom_optimizers.gradient_descent import GradientDescent
from custom_optimizers.momentum import Momentum
from custom_optimizers.adagrad import Adagrad
from custom_optimizers.rmsprop import RMSprop
from custom_optimizers.adam import Adam

__all__ = ["GradientDescent", "Momentum", "Adagrad", "RMSprop", "Adam"]
