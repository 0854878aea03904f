"""The exercises in the order of the article. Imports nothing heavy: `list` answers at once."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One exercise: `solutions/NAME.py` and `specs/NAME.py` share its name."""

    name: str
    title: str
    section: str
    """The section, and so the notebook, that it belongs to."""
    points: int
    minutes: int
    needs: tuple[str, ...] = ("numpy",)
    """The packages that the student's file may import."""


KERAS = ("numpy", "tensorflow", "keras")

ENTRIES = (
    Entry("gradient_step", "The gradient step", "gradient_descent", 5, 10),
    Entry("gradient_check", "Is a gradient right?", "backpropagation", 10, 20),
    Entry("dense_layer", "A dense layer backward", "backpropagation", 10, 20),
    Entry("deep_network", "A deep network backward", "backpropagation", 15, 40),
    Entry("mini_batches", "Each example once an epoch", "batch_sizes", 5, 15),
    Entry("momentum", "Momentum", "optimizer_comparison", 5, 10),
    Entry("nesterov", "Nesterov momentum", "optimizer_comparison", 10, 15),
    Entry("adagrad", "AdaGrad", "optimizer_comparison", 5, 10),
    Entry("rmsprop", "RMSprop, plain and centered", "optimizer_comparison", 10, 20),
    Entry("adam", "Adam, corrected for its start at zero", "optimizer_comparison", 10, 20),
    Entry("weight_decay", "L2 penalty against decoupled decay", "regularization", 10, 20),
    Entry("gradient_clipping", "Clipping by the global norm", "gradient_stability", 5, 10),
    Entry("initialization", "Weights that keep the variance", "gradient_stability", 10, 20),
    Entry("training_step", "A training step with GradientTape", "backpropagation", 10, 15, KERAS),
    Entry("keras_optimizer", "An optimizer that Keras does not ship", "model_fit", 15, 35, KERAS),
    Entry("gradient_accumulation", "A train_step in parts", "memory_budget", 15, 30, KERAS),
    Entry("data_parallel", "Averaging over uneven workers", "distributed_training", 10, 20),
    Entry("transformer_costs", "What a Transformer costs", "training_cost", 10, 25),
)
NAMES = tuple(entry.name for entry in ENTRIES)
