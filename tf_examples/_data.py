"""The data sets of the sections. All of them are there without a network."""

from typing import NamedTuple

import numpy as np
from sklearn import datasets, model_selection


class Split(NamedTuple):
    """Training and test examples, features as float32, labels as int32."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def xor() -> tuple[np.ndarray, np.ndarray]:
    """The four cases of "one or the other": inputs (4, 2) and labels (4,), both of 0 and 1."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
    return x, (x[:, 0] != x[:, 1]).astype("int32")


def two_moons(examples: int, noise: float = 0.15, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two interleaved half circles: points (examples, 2), labels (examples,) of 0 and 1.

    Args:
        noise: standard deviation of the Gaussian noise on each coordinate; the radius is 1.
    """
    x, y = datasets.make_moons(examples, noise=noise, random_state=seed)
    return x.astype("float32"), y.astype("int32")


def digits(test_examples: int = 360, seed: int = 0) -> Split:
    """The 1,797 handwritten digits of scikit-learn, split at random with equal shares of each.

    Images are 8 x 8 pixels, flattened to 64 features scaled from 0..16 to 0..1; labels are 0..9.
    Source: E. Alpaydin and C. Kaynak, UCI Optical Recognition of Handwritten Digits, 1998
    (CC BY 4.0).
    """
    x, y = datasets.load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = model_selection.train_test_split(
        (x / 16).astype("float32"),
        y.astype("int32"),
        test_size=test_examples,
        stratify=y,
        random_state=seed,
    )
    return Split(x_train, y_train, x_test, y_test)


def diabetes() -> tuple[np.ndarray, np.ndarray]:
    """Ten measurements of 442 diabetes patients and the progress of the disease a year later.

    Features (442, 10), each with mean 0 and standard deviation 1: age, sex, body mass index, blood
    pressure, six blood serum values. Targets (442,) from 25 to 346, in no stated unit. Float64.
    Source: B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, Least angle regression, Annals of
    Statistics 32(2), 2004. scikit-learn, which ships the set, states no licence for it.
    """
    x, y = datasets.load_diabetes(return_X_y=True)
    return (x - x.mean(axis=0)) / x.std(axis=0), y
