"""The gradient step: cases and known mistakes."""

from collections.abc import Sequence

import numpy as np

from tf_examples.exercises._exercise import Case, Mistake, Spec


def cases(rng: np.random.Generator) -> Sequence[Case]:
    def data(examples: int, weights: int) -> dict[str, np.ndarray]:
        return {
            "w": rng.normal(size=weights),
            "x": rng.normal(size=(examples, weights)),
            "y": rng.normal(size=examples),
        }

    def descent(examples: int, weights: int, steps: int) -> dict:
        return data(examples, weights) | {"learning_rate": rng.uniform(0.02, 0.05), "steps": steps}

    return [
        Case("the gradient of one weight, three examples", "gradient", data(3, 1)),
        Case("the gradient of four weights, six examples", "gradient", data(6, 4)),
        Case("one step", "descend", descent(3, 2, 1)),
        Case("ten steps", "descend", descent(8, 3, 10)),
    ]


STEP = "w = w - learning_rate * gradient(w, x, y)"

SPEC = Spec(
    cases=cases,
    hints=(
        "x has a row for each example and w a number for each column: x @ w has one prediction for "
        "each example. Which shape must the gradient have, and what turns errors into it?",
        "gradient: errors = x @ w - y, then x.T @ errors with the factor of the text. descend: a "
        "loop over the steps, with a list that starts with w.",
        "w = w - learning_rate * gradient(w, x, y) in the loop, each time with the new w; w -= ... "
        "would change the array that was kept before. np.stack makes one array of the list.",
    ),
    mistakes=(
        Mistake(
            "wrong sign",
            "The weights go uphill: a step is against the gradient.",
            [("w - learning_rate", "w + learning_rate")],
        ),
        Mistake(
            "errors the wrong way round",
            "The gradient has the wrong sign: an error is what was predicted minus y.",
            [("errors = x @ w - y", "errors = y - x @ w")],
        ),
        Mistake(
            "sum over the examples",
            "The gradient seems to be a sum over the examples: the text divides by their number.",
            [(" / len(y)", "")],
        ),
        Mistake(
            "factor 2 forgotten",
            "The gradient looks half as large as it should be: differentiate the square as the "
            "text writes the loss.",
            [("2 / len(y)", "1 / len(y)")],
        ),
        Mistake(
            "factor 2 too many",
            "The gradient looks twice as large as it should be: the text's loss has a factor that "
            "takes out the 2 of the square.",
            [("1 / len(y)", "2 / len(y)")],
        ),
        Mistake(
            "mean over the weights",
            "The gradient seems to be divided by the number of weights: n is the number of "
            "examples.",
            [("len(y)", "len(w)")],
        ),
        Mistake(
            "gradient of the start",
            "Every step seems to use the gradient at the first weights: it is taken anew at the "
            "weights of each step.",
            [
                ("    for _ in", "    first = gradient(w, x, y)\n    for _ in"),
                (STEP, "w = w - learning_rate * first"),
            ],
        ),
        Mistake(
            "the kept weights are changed too",
            "All the weights returned are those of the end: w -= ... changes the very array that "
            "was kept before.",
            [
                ("trajectory = [w]", "w = w.copy()\n    trajectory = [w]"),
                (STEP, "w -= learning_rate * gradient(w, x, y)"),
            ],
        ),
        Mistake(
            "start left out",
            "The weights before the first step are missing.",
            [("trajectory = [w]", "trajectory = []")],
        ),
    ),
    conventions={"loss": ("mean", "half")},
)
