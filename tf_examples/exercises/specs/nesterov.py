"""Nesterov momentum: cases and known mistakes."""

from collections.abc import Sequence

import numpy as np

from tf_examples.exercises._exercise import Case, Mistake, Spec


def cases(rng: np.random.Generator) -> Sequence[Case]:
    def case(name: str, n: int, steps: int) -> Case:
        turned, _ = np.linalg.qr(rng.normal(size=(n, n)))
        inputs = {
            "w": rng.normal(size=n),
            "a": turned @ np.diag(rng.uniform(0.5, 4.0, size=n)) @ turned.T,
            "b": rng.normal(size=n),
            "learning_rate": rng.uniform(0.05, 0.15),
            "momentum": rng.uniform(0.6, 0.9),
            "steps": steps,
        }
        return Case(name, "run", inputs)

    return [
        case("one weight, one step", 1, 1),
        case("two weights, three steps", 2, 3),
        case("five weights, 20 steps", 5, 20),
    ]


AHEAD = "v = momentum * v - learning_rate * gradient(w + momentum * v, a, b)"
SHIFTED = "w = w + momentum * v - learning_rate * g"

SPEC = Spec(
    cases=cases,
    hints=(
        "It is momentum with one change. Which one is it here: the place of the gradient, or the "
        "line that moves w?",
        "Keep v from step to step, starting at np.zeros_like(w). In each line ask whether v is the "
        "old velocity or the new one.",
        "Write the lines of the text one by one with gradient(..., a, b); then trajectory."
        "append(w). w = w + ... makes a new array, w += ... changes the one that was kept.",
    ),
    mistakes=(
        Mistake(
            "plain momentum",
            "The steps look like plain momentum: what does the text do differently?",
            [("gradient(w + momentum * v, a, b)", "gradient(w, a, b)")],
        ),
        Mistake(
            "plain momentum",
            "The steps look like plain momentum: what does the text do differently?",
            [(SHIFTED, "w = w + v")],
        ),
        Mistake(
            "the other form: gradient at the weights",
            "The gradient seems to be taken at the weights, in the form of Keras, or the points "
            "ahead to be returned: the text takes the gradient ahead, and returns w.",
            [(AHEAD, "g = gradient(w, a, b)\n        v = momentum * v - learning_rate * g"),
             ("w = w + v", SHIFTED)],
        ),
        Mistake(
            "the other form: gradient ahead",
            "The gradient seems to be taken ahead of the weights, as Nesterov wrote it: the text "
            "takes it at the weights.",
            [("        g = gradient(w, a, b)\n", ""),
             ("v = momentum * v - learning_rate * g", AHEAD), (SHIFTED, "w = w + v")],
        ),
        Mistake(
            "a whole velocity ahead",
            "The gradient seems to be taken at w + v: the velocity is shortened by the momentum "
            "first.",
            [("gradient(w + momentum * v, a, b)", "gradient(w + v, a, b)")],
        ),
        Mistake(
            "the wrong side",
            "The gradient seems to be taken behind the weights, at w - momentum * v.",
            [("gradient(w + momentum * v, a, b)", "gradient(w - momentum * v, a, b)")],
        ),
        Mistake(
            "old velocity",
            "The last line seems to use the old velocity: the text has the new one there.",
            [("        v = momentum", "        old = v\n        v = momentum"),
             ("w = w + v", "w = w + old")],
        ),
        Mistake(
            "velocity not shortened",
            "In the last line the velocity seems to be added whole: the text multiplies it by the "
            "momentum.",
            [(SHIFTED, "w = w + v - learning_rate * g")],
        ),
        Mistake(
            "gradient left out of the last line",
            "The last line seems to end with the velocity: the gradient is taken off once more.",
            [(SHIFTED, "w = w + momentum * v")],
        ),
        Mistake(
            "wrong sign",
            "The weights go uphill: look at the sign before the gradient.",
            [("- learning_rate * gradient", "+ learning_rate * gradient")],
        ),
        Mistake(
            "wrong sign",
            "The weights go uphill: look at the sign before the gradient.",
            [("- learning_rate * g\n", "+ learning_rate * g\n")],
        ),
    ),
    conventions={"form": ("lookahead", "shifted")},
)  # fmt: skip
