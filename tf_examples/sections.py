"""The sections in reading order. Imports nothing heavy: `tf-examples list` answers at once."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """One section: module, notebook, test and README row share its name."""

    name: str
    article: str
    """The article's paragraphs that it makes runnable."""
    shows: str
    minutes: int
    """Time in class, the "Try it" part included."""


SECTIONS = (
    Section(
        "neural_network", "2", "What a line cannot separate, and what a hidden layer learns", 30
    ),
    Section(
        "gradient_descent", "3.1, 4.1", "The first program; slow, best, oscillating, diverging", 30
    ),
    Section(
        "backpropagation",
        "3.2, 4.2",
        "The second program; the chain rule by hand, and its cost",
        45,
    ),
    Section("model_fit", "4.3", "Five optimizers on handwritten digits, beside Keras's own", 45),
)
NAMES = tuple(section.name for section in SECTIONS)
