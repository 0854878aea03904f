"""AdaGrad: cases and known mistakes."""

from collections.abc import Sequence

import numpy as np

from tf_examples.exercises._exercise import Case, Mistake, Spec


def cases(rng: np.random.Generator) -> Sequence[Case]:
    def case(name: str, n: int, steps: int) -> Case:
        inputs = {
            "w": rng.normal(size=n),
            "gradients": rng.uniform(0.5, 2, size=(steps, n)) * rng.choice([-1, 1], (steps, n)),
            "learning_rate": rng.uniform(0.05, 0.2),
            "start": rng.uniform(0.1, 0.3),
            "epsilon": rng.uniform(0.05, 0.2),  # large, so that its place is seen
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
        "The accumulator is an array like w, for each weight its own sum. What does it start at?",
        "for g in gradients: first the accumulator, then the weights, with the new accumulator. "
        "np.full_like(w, start) makes an array like w, filled.",
        "np.sqrt works entry by entry. Keep every w in a list, the first one included, and "
        "np.stack it; w = w - ... makes a new array.",
    ),
    mistakes=(
        Mistake(
            "accumulator starts at 0",
            "The accumulator seems to start at 0: the text gives it a start value.",
            [("np.full_like(w, start)", "np.zeros_like(w)")],
        ),
        Mistake(
            "gradient not squared",
            "The accumulator seems to add up the gradients' sizes: it adds up their squares.",
            [("a + g**2", "a + np.abs(g)")],
        ),
        Mistake(
            "no root",
            "The step seems to be divided by the accumulator itself: the text takes its root.",
            [("(np.sqrt(a) + epsilon)", "(a + epsilon)")],
        ),
        Mistake(
            "no root",
            "The step seems to be divided by the accumulator itself: the text takes its root.",
            [("np.sqrt(a + epsilon)", "(a + epsilon)")],
        ),
        Mistake(
            "epsilon inside the root",
            "Epsilon seems to stand inside the root. The text has it outside.",
            [("(np.sqrt(a) + epsilon)", "np.sqrt(a + epsilon)")],
        ),
        Mistake(
            "epsilon outside the root",
            "Epsilon seems to stand outside the root. The text has it inside.",
            [("np.sqrt(a + epsilon)", "(np.sqrt(a) + epsilon)")],
        ),
        Mistake(
            "old accumulator",
            "The step seems to use the accumulator before this gradient: the text adds it first.",
            [("        a = a + g**2\n", ""),
             ("trajectory.append(w)", "a = a + g**2\n        trajectory.append(w)")],
        ),
        Mistake(
            "only the last gradient counts",
            "The accumulator seems to forget: it adds up all the squares so far.",
            [("a = a + g**2", "a = start + g**2")],
        ),
        Mistake(
            "one accumulator for all",
            "One accumulator seems to serve all weights: each has its own.",
            [("a + g**2", "a + np.sum(g**2)")],
        ),
        Mistake(
            "wrong sign",
            "The weights go uphill: a step is against the gradient.",
            [("w - learning_rate", "w + learning_rate")],
        ),
        Mistake(
            "the kept weights are changed too",
            "All the weights returned are those of the end: w -= ... changes the very array that "
            "was kept before.",
            [("trajectory = [w]", "w = w.copy()\n    trajectory = [w]"), ("w = w - ", "w -= ")],
        ),
    ),
    conventions={"epsilon": ("outside", "inside")},
)  # fmt: skip
