"""The data sets of the sections. All of them are there without a network."""

import hashlib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn import datasets, model_selection

from tf_examples._options import OptionError


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


@dataclass(frozen=True)
class Text:
    """A text as numbers: each different character is one."""

    characters: str
    """The vocabulary, ordered: character i is number i."""
    train: np.ndarray
    """(length,) int32: what is learned from."""
    validation: np.ndarray
    """(length,) int32: the last tenth, which is not."""

    @property
    def digest(self) -> str:
        """Sixteen digits that another text would not have."""
        parts = (self.characters.encode(), self.train.tobytes(), self.validation.tobytes())
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]

    def encode(self, text: str) -> np.ndarray:
        """The numbers of a text's characters, (length,) int32.

        Raises:
            OptionError: names the characters that the vocabulary lacks.
        """
        missing = sorted(set(text) - set(self.characters))
        if missing:
            raise OptionError(f"the text learned from has no {' '.join(map(repr, missing[:5]))}")
        places = {character: place for place, character in enumerate(self.characters)}
        return np.array([places[character] for character in text], "int32")

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of some numbers."""
        return "".join(self.characters[number] for number in numbers)


def text(path: str | None = None, least: int = 1000) -> Text:
    """A text to learn a language from, character by character.

    Args:
        path: a file in UTF-8; None for the documentation of Python's language that the standard
            library carries (`pydoc_data.topics`, about 465,000 characters, by Python's version;
            the Python Software Foundation's licence).
        least: how many characters there must be.

    Raises:
        OptionError: where the file can't be read, is not UTF-8, or is too short.
    """
    if path is None:
        topics = importlib.import_module("pydoc_data.topics").topics
        content = "\n".join(topics[name] for name in sorted(topics))
    else:
        try:
            content = Path(path).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise OptionError(
                f"{path} is not UTF-8: byte {error.start} can't be read. Save it as UTF-8"
            ) from error
        except OSError as error:
            raise OptionError(f"can't read {path}: {error.strerror or error}") from error
    if len(content) < least:
        raise OptionError(
            f"{path} has {len(content)} characters: at least {least} are needed, since a tenth is "
            "put aside and must be longer than the context"
        )
    characters = "".join(sorted(set(content)))
    whole = Text(characters, np.zeros(0, "int32"), np.zeros(0, "int32"))
    numbers = whole.encode(content)
    cut = len(numbers) * 9 // 10
    return Text(characters, numbers[:cut], numbers[cut:])
