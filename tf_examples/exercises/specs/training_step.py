"""A GradientTape training step: cases and known mistakes."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tf_examples.exercises._exercise import Case, Conventions, Mistake, Spec
from tf_examples.exercises.specs import _two_layers

NAMES = ("w1", "b1", "w2", "b2")

DRIVER = """
import numpy as np
import tensorflow as tf


def answer(student, function, inputs):
    variables = [tf.Variable(array) for array in inputs["variables"]]
    losses, kept = [], [[v.numpy() for v in variables]]
    for x, y in zip(inputs["x"], inputs["y"]):
        given = list(variables)
        loss = getattr(student, function)(
            given, tf.constant(x), tf.constant(y), inputs["learning_rate"]
        )
        if loss is None:
            raise ValueError("training_step returned None: the text asks for the loss")
        losses.append(np.asarray(loss))
        kept.append([v.numpy() for v in variables])
    trajectories = [np.stack(arrays) for arrays in zip(*kept)]
    return {"loss": np.stack(losses)} | dict(zip(("w1", "b1", "w2", "b2"), trajectories))
"""


def cases(rng: np.random.Generator) -> Sequence[Case]:
    def case(name: str, examples: int, steps: int, outputs: int) -> Case:
        inputs = {
            "variables": _two_layers.draw(rng, 3, 4, outputs),
            "x": rng.normal(size=(steps, examples, 3)),
            "y": rng.normal(size=(steps, examples, outputs)),
            "learning_rate": rng.uniform(0.02, 0.05),
        }
        return Case(name, "training_step", inputs)

    return [
        case("four examples, one step", 4, 1, outputs=2),
        case("six examples, five steps", 6, 5, outputs=3),
    ]


def trajectory(
    case: Case,
    conventions: Conventions,
    *,
    gradient_factor: float = 1.0,
    over: str | None = None,
    entries: bool = False,
    half: bool = False,
    moved: Sequence[int] = (0, 1, 2, 3),
    one_by_one: bool = False,
    loss_after: bool = False,
) -> Any:
    """What the right program returns; each option is a mistake.

    Args:
        gradient_factor: multiplies the gradients; `over`: "mean" or "sum" in place of the
            convention; `entries`: the mean over an example's outputs; `half`: of the loss;
            `moved`: the weights that change; `one_by_one`: each gradient is taken after the
            variables before it have moved; `loss_after`: the loss is that after the step.
    """
    weights = [array.copy() for array in case.inputs["variables"]]
    losses, kept = [], [[w.copy() for w in weights]]
    for x, y in zip(case.inputs["x"], case.inputs["y"], strict=True):
        scale = 1 / len(x) if (over or conventions["loss"]) == "mean" else 1.0
        if entries:
            scale /= y.shape[1]
        if half:
            scale /= 2
        before = scale * _two_layers.errors(weights, x, y).sum()
        gradients = _two_layers.gradients(weights, x, y)
        for i in moved:
            if one_by_one:
                gradients = _two_layers.gradients(weights, x, y)
            rate = case.inputs["learning_rate"] * gradient_factor * scale
            weights[i] = weights[i] - rate * gradients[i]
        after = scale * _two_layers.errors(weights, x, y).sum()
        losses.append(after if loss_after else before)
        kept.append([w.copy() for w in weights])
    arrays = [np.stack(each) for each in zip(*kept, strict=True)]
    return {"loss": np.array(losses), **dict(zip(NAMES, arrays, strict=True))}


MOVE = """    for variable, gradient in zip(variables, gradients):
        variable.assign_sub(learning_rate * gradient)
"""

SPEC = Spec(
    cases=cases,
    hints=(
        "What must stand inside the with block for the tape to see how the loss depends on the "
        "variables? And what must stand after it?",
        "Inside: predict, the squared errors, the loss. After: gradients = tape.gradient(loss, "
        "variables), one call for all four.",
        "for variable, gradient in zip(variables, gradients): variable.assign_sub(learning_rate * "
        "gradient). Return the loss of the with block.",
    ),
    mistakes=(
        Mistake(
            "variables not assigned",
            "The variables have not changed: variable = ... gives the name to a new tensor. Which "
            "of a variable's methods changes its value?",
            [
                (
                    "        variable.assign_sub(learning_rate * gradient)",
                    "        variable = variable - learning_rate * gradient",
                )
            ],
            partial(trajectory, moved=()),
        ),
        Mistake(
            "wrong sign",
            "The variables go uphill: a step is against the gradient.",
            [("variable.assign_sub", "variable.assign_add")],
            partial(trajectory, gradient_factor=-1.0),
        ),
        Mistake(
            "sum over the examples",
            "The loss seems to be the sum over the examples: the text takes the mean.",
            [("loss = tf.reduce_mean(errors)", "loss = tf.reduce_sum(errors)")],
            partial(trajectory, over="sum"),
        ),
        Mistake(
            "mean over the examples",
            "The loss seems to be the mean over the examples: the text takes the sum.",
            [("loss = tf.reduce_sum(errors)", "loss = tf.reduce_mean(errors)")],
            partial(trajectory, over="mean"),
        ),
        Mistake(
            "mean over the outputs",
            "An example's squared error seems to be the mean over its outputs: what does the text "
            "do with (prediction - y)**2 of one example?",
            [("errors = tf.reduce_sum(", "errors = tf.reduce_mean(")],
            partial(trajectory, entries=True),
        ),
        Mistake(
            "half of the loss",
            "The loss seems to be half of the text's: there is no 1/2 before the squares.",
            [("errors = tf.reduce_sum(", "errors = 0.5 * tf.reduce_sum(")],
            partial(trajectory, half=True),
        ),
        Mistake(
            "loss after the step",
            "The loss returned seems to be that after the step: the text asks for the one before.",
            [
                (
                    "    return loss\n",
                    "    errors = tf.reduce_sum((predict(variables, x) - y) ** 2, axis=1)\n"
                    "    return loss / tf.reduce_sum(before) * tf.reduce_sum(errors)\n",
                ),
                ("    gradients = tape", "    before = errors\n    gradients = tape"),
            ],
            partial(trajectory, loss_after=True),
        ),
        Mistake(
            "biases left where they are",
            "Only the two matrices have moved: the gradients of all four variables are needed.",
            [
                (
                    MOVE,
                    MOVE.replace(
                        "in zip(variables, gradients)", "in zip(variables[::2], gradients[::2])"
                    ),
                )
            ],
            partial(trajectory, moved=(0, 2)),
        ),
        Mistake(
            "one variable after the other",
            "Each gradient seems to be taken after the variables before it have moved: all are "
            "taken at the weights before the step.",
            [
                (
                    MOVE,
                    """    for i, variable in enumerate(variables):
        with tf.GradientTape() as tape:
            now = tf.reduce_sum((predict(variables, x) - y) ** 2)
            now = now * tf.stop_gradient(loss / tf.reduce_sum(errors))
        variable.assign_sub(learning_rate * tape.gradient(now, variable))
""",
                )
            ],
            partial(trajectory, one_by_one=True),
        ),
    ),
    conventions={"loss": ("mean", "sum")},
    driver=DRIVER,
    reference=trajectory,
)
