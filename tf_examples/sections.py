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
        "batch_sizes", "3.4", "Gradient noise, and what a batch of each size costs and brings", 30
    ),
    Section(
        "backpropagation",
        "3.2, 4.2",
        "The second program; the chain rule by hand, and its cost",
        45,
    ),
    Section(
        "optimizer_comparison", "3.3, 4.3", "Six optimizers race, each at its own best rate", 45
    ),
    Section(
        "gradient_stability", "5", "Gradients that vanish or explode with depth, and the cures", 45
    ),
    Section(
        "regularization", "3.4", "L1, L2, weight decay, dropout, early stopping: the gap closes", 45
    ),
    Section("model_fit", "4.3", "Every optimizer on handwritten digits, beside Keras's own", 45),
)
NAMES = tuple(section.name for section in SECTIONS)
