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
    Section("language_model", "1, 2", "A Transformer learns to write, character by character", 60),
    Section("scaling_law", "5, Q3, Q4", "The largest model's loss, predicted before training", 45),
    Section("memory_budget", "3.3, 5", "The same model in less and less memory, predicted", 45),
    Section("distributed_training", "5", "Several devices and processes, equal to one device", 45),
    Section("training_cost", "6", "The ten questions on what a model costs, answered", 45),
)
NAMES = tuple(section.name for section in SECTIONS)
