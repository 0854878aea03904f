"""A train_step with gradient accumulation: cases and known mistakes. Computed in float32."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tf_examples.exercises._exercise import Case, Conventions, Mistake, Spec
from tf_examples.exercises.specs import _two_layers

DRIVER = '''
import keras
import numpy as np
import tensorflow as tf


class Noting(keras.layers.Layer):
    """A network that notes how many examples go through it at a time."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.sizes = []

    def call(self, x, training=False):
        if training and tf.executing_eagerly():  # while a graph is traced, nothing goes through
            self.sizes.append(int(x.shape[0]))
        return self.network(x, training=training)


def answer(student, function, inputs):
    x, y = inputs["x"], inputs["y"]
    hidden, outputs = inputs["weights"][2].shape
    network = keras.Sequential(
        [
            keras.Input(x.shape[2:]),
            keras.layers.Dense(hidden, "tanh"),
            keras.layers.Dense(outputs),
        ]
    )
    network.set_weights(inputs["weights"])
    noting = Noting(network)
    model = getattr(student, function)(noting, inputs["micro_batches"])
    model(x[0])
    optimizer = keras.optimizers.SGD(inputs["learning_rate"], momentum=inputs["momentum"])
    in_graph = inputs["trained_by"] == "fit"
    model.compile(optimizer=optimizer, loss="mse", run_eagerly=not in_graph, jit_compile=False)
    if in_graph:
        joined = [np.concatenate(array) for array in (x, y)]
        history = model.fit(*joined, batch_size=len(x[0]), shuffle=False, verbose=0).history
        return {
            "steps": int(optimizer.iterations.numpy()),
            "weights": network.get_weights(),
            "loss": np.array(history["loss"]),
        }
    losses = [model.train_on_batch(*batch, return_dict=True)["loss"] for batch in zip(x, y)]
    return {
        "examples at a time": list(noting.sizes),
        "steps": int(optimizer.iterations.numpy()),
        "weights": network.get_weights(),
        "loss": np.array(losses),
    }
'''


def cases(rng: np.random.Generator) -> Sequence[Case]:
    def case(name: str, trained_by: str, micro_batches: int, size: int, steps: int) -> Case:
        inputs = {
            "weights": [w.astype("float32") for w in _two_layers.draw(rng, 3, 4, 2)],
            "x": rng.normal(size=(steps, micro_batches * size, 3)).astype("float32"),
            "y": rng.normal(size=(steps, micro_batches * size, 2)).astype("float32"),
            "micro_batches": micro_batches,
            "learning_rate": rng.uniform(0.05, 0.1),
            "momentum": rng.uniform(0.5, 0.9),
            "trained_by": trained_by,
        }
        return Case(name, "AccumulatingModel", inputs)

    return [
        case("one batch of two parts", "train_on_batch", 2, 3, 1),
        case("three batches of four parts", "train_on_batch", 4, 2, 3),
        case("fit, two batches of three parts", "fit", 3, 4, 2),
    ]


def answer(
    case: Case,
    conventions: Conventions,
    *,
    factor: float | str = 1.0,
    kept: str = "all",
    step_each: bool = False,
    whole: bool = False,
    summed_loss: bool = False,
    unreported: bool = False,
) -> Any:
    """What the right program returns; each option is a mistake.

    Args:
        factor: of the mean gradient, "k" for its sum; `kept`: "last" drops all parts but one;
            `step_each`: a step after each part; `whole`: the batch is not cut; `summed_loss`: the
            losses' sum is reported; `unreported`: Keras's loss metric is told nothing.
    """
    weights = [w.astype(float) for w in case.inputs["weights"]]
    velocities = [np.zeros_like(w) for w in weights]
    k = case.inputs["micro_batches"]
    sizes: list[int] = []
    losses: list[float] = []
    steps = 0
    for batch_x, batch_y in zip(case.inputs["x"], case.inputs["y"], strict=True):
        x, y = batch_x.astype(float), batch_y.astype(float)
        cut = [(x, y)] if whole else list(zip(np.split(x, k), np.split(y, k), strict=True))
        gradients, parts = [], []
        for part_x, part_y in cut:
            sizes.append(len(part_x))
            # Keras's "mse" is the mean over the outputs, too.
            scale = 1 / part_y.size
            parts.append(scale * _two_layers.errors(weights, part_x, part_y).sum())
            found = [scale * g for g in _two_layers.gradients(weights, part_x, part_y)]
            gradients.append(found)
            if step_each:
                _move(case, weights, velocities, found)
                steps += 1
        if not step_each:
            used = gradients[-1:] if kept == "last" else gradients
            mean = [np.sum(arrays, axis=0) / len(cut) for arrays in zip(*used, strict=True)]
            scale = float(k) if factor == "k" else float(factor)
            _move(case, weights, velocities, [scale * g for g in mean])
            steps += 1
        losses.append(float(np.sum(parts) if summed_loss else np.mean(parts)))
    if case.inputs["trained_by"] == "fit":
        shown = [0.0 if unreported else float(np.mean(losses))]
        return {"steps": steps, "weights": weights, "loss": np.array(shown)}
    return {
        "examples at a time": sizes,
        "steps": steps,
        "weights": weights,
        "loss": np.array(losses),
    }


def _move(case: Case, weights: list, velocities: list, gradients: Sequence[np.ndarray]) -> None:
    """Keras's SGD with momentum."""
    for i, g in enumerate(gradients):
        rate = case.inputs["learning_rate"]
        velocities[i] = case.inputs["momentum"] * velocities[i] - rate * g
        weights[i] = weights[i] + velocities[i]


APPLY = "self.optimizer.apply([t / k for t in total], self.trainable_variables)"

SPEC = Spec(
    cases=cases,
    hints=(
        "Which lines must be done for every part, and which once for the whole batch? Where does "
        "the optimizer's line stand?",
        "tf.split(x, k) cuts x into k equal parts, even in a graph that does not know the batch's "
        "length. For each part: a tape, self(...), "
        "self.compute_loss(...), tape.gradient(...), and the sum of what came before.",
        "Start with total = [tf.zeros_like(v) for v in self.trainable_variables]; after each part "
        "total = [t + g for t, g in zip(total, gradients)]; after the loop, divide by k and apply.",
    ),
    mistakes=(
        Mistake(
            "sum in place of the mean",
            "The step looks as if the gradients' sum were applied: k parts make a step k times too "
            "large.",
            [("[t / k for t in total]", "total")],
            partial(answer, factor="k"),
        ),
        Mistake(
            "a step after each part",
            "The optimizer has taken a step for each part: it should take one for the whole batch.",
            [
                (f"        {APPLY}\n", ""),
                (
                    "            total = [t + g",
                    "            self.optimizer.apply(gradients, self.trainable_variables)\n"
                    "            total = [t + g",
                ),
            ],
            partial(answer, step_each=True),
        ),
        Mistake(
            "the last part alone",
            "Only the last part's gradients seem to reach the step: they should be added to those "
            "before.",
            [
                ("total = [t + g for t, g in zip(total, gradients)]", "total = gradients"),
                ("[t / k for t in total]", "total"),
            ],
            partial(answer, kept="last", factor="k"),
        ),
        Mistake(
            "the last part alone, divided",
            "Only the last part's gradients seem to reach the step, divided by k: they should be "
            "added to those before.",
            [("total = [t + g for t, g in zip(total, gradients)]", "total = gradients")],
            partial(answer, kept="last"),
        ),
        Mistake(
            "the batch not cut",
            "The whole batch goes through the network at once: the step is right, and the memory "
            "that this exercise is to save is used all the same.",
            [
                ("zip(tf.split(x, k), tf.split(y, k))", "[(x, y)]"),
                ("        k = self.micro_batches\n", "        k = 1\n"),
            ],
            partial(answer, whole=True),
        ),
        Mistake(
            "the losses' sum reported",
            "The weights are right, but the loss reported looks like the sum of the parts' losses.",
            [("loss_total / k", "loss_total")],
            partial(answer, summed_loss=True),
        ),
        Mistake(
            "the loss not reported",
            "The weights are right, but fit shows a loss of 0: it shows what Keras's loss metric "
            "was told. Which method of the text tells it?",
            [("self.report(loss_total / k)", '{"loss": loss_total / k}')],
            partial(answer, unreported=True),
        ),
    ),
    tolerance=1e-5,
    driver=DRIVER,
    reference=answer,
)
