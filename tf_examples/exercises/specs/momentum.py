"""Momentum: cases and known mistakes."""

from collections.abc import Sequence

import numpy as np

from tf_examples.exercises._exercise import Case, Mistake, Spec


def cases(rng: np.random.Generator) -> Sequence[Case]:
    def case(name: str, n: int, steps: int) -> Case:
        inputs = {
            "w": rng.normal(size=n),
            "gradients": rng.normal(size=(steps, n)),
            "learning_rates": rng.uniform(0.05, 0.2, size=steps),
            "momentum": rng.uniform(0.6, 0.9),
        }
        return Case(name, "run", inputs)

    return [
        case("one weight, one step", 1, 1),
        case("three weights, two steps", 3, 2),
        case("ten weights, 20 steps", 10, 20),
    ]


SPEC = Spec(
    cases=cases,
    hints=(
        "The velocity is an array like w that lives through the whole loop. What does it start at, "
        "and is w moved by the old or by the new one?",
        "for g, learning_rate in zip(gradients, learning_rates): two lines, in the order of the "
        "text. Then keep w.",
        "trajectory = [w] before the loop, trajectory.append(w) in it, np.stack(trajectory) at the "
        "end. w = w + ... makes a new array, w += ... changes the one that was kept.",
    ),
    mistakes=(
        Mistake(
            "no momentum",
            "The steps look like plain gradient descent: the velocity must live from one step to "
            "the next.",
            [("momentum * v", "0 * v")],
        ),
        Mistake(
            "learning rate inside of the velocity",
            "The learning rate seems to stand inside of the velocity: the text has it outside.",
            [("v = momentum * v + g", "v = momentum * v - learning_rate * g"),
             ("w = w - learning_rate * v", "w = w + v")],
        ),
        Mistake(
            "learning rate outside of the velocity",
            "The learning rate seems to stand outside of the velocity: the text has it inside.",
            [("v = momentum * v - learning_rate * g", "v = momentum * v + g"),
             ("w = w + v", "w = w - learning_rate * v")],
        ),
        Mistake(
            "wrong sign",
            "The weights go uphill: look at the signs before the gradient and the velocity.",
            [("w = w - learning_rate", "w = w + learning_rate")],
        ),
        Mistake(
            "wrong sign",
            "The weights go uphill: look at the signs before the gradient and the velocity.",
            [("w = w + v", "w = w - v")],
        ),
        Mistake(
            "mean of the gradients",
            "The new gradient seems to be multiplied by 1 - momentum: in this velocity it counts "
            "in full.",
            [("+ g", "+ (1 - momentum) * g")],
        ),
        Mistake(
            "mean of the gradients",
            "The new gradient seems to be multiplied by 1 - momentum: in this velocity it counts "
            "in full.",
            [("- learning_rate * g", "- learning_rate * (1 - momentum) * g")],
        ),
        Mistake(
            "old velocity",
            "The weights seem to be moved by the old velocity: the text uses the new one.",
            [("        v = momentum", "        old = v\n        v = momentum"),
             ("learning_rate * v\n", "learning_rate * old\n")],
        ),
        Mistake(
            "the kept weights are changed too",
            "All the weights returned are those of the end: w += ... or w -= ... changes the very "
            "array that was kept before.",
            [("trajectory = [w]", "w = w.copy()\n    trajectory = [w]"), ("w = w - ", "w -= ")],
        ),
    ),
    conventions={"rate": ("outside", "inside")},
)  # fmt: skip
