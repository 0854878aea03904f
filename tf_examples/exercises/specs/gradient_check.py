"""The gradient check: cases and known mistakes."""

from collections.abc import Sequence

import numpy as np

from tf_examples.exercises._exercise import Case, Mistake, Spec

DRIVER = """
import numpy as np


def answer(student, function, inputs):
    if function == "relative_error":
        return student.relative_error(**inputs)
    cubic, square = inputs["cubic"], inputs["square"]
    f = lambda w: float(np.sum(cubic * w**3) + np.sum(square * w) ** 2)
    return student.numerical_gradient(f, inputs["w"], inputs["h"])
"""


def cases(rng: np.random.Generator) -> Sequence[Case]:
    def gradient(name: str, shape: tuple[int, ...]) -> Case:
        draws = {key: rng.uniform(0.5, 1.5, size=shape) for key in ("w", "cubic", "square")}
        # A large h: central and one-sided differences are then far apart.
        inputs = draws | {"h": rng.uniform(0.1, 0.2)}
        return Case(f"{name}, of sum(cubic * w**3) + sum(square * w)**2",
                    "numerical_gradient", inputs)  # fmt: skip

    def error(name: str, a: np.ndarray, b: np.ndarray) -> Case:
        return Case(name, "relative_error", {"a": a, "b": b})

    a = rng.normal(size=(2, 3))
    return [
        gradient("one weight", (1,)),
        gradient("four weights", (4,)),
        gradient("weights in two rows of three", (2, 3)),
        error("two vectors", rng.normal(size=3), rng.normal(size=3)),
        error("two matrices", a, a + rng.uniform(0.1, 0.5, size=a.shape)),
        error("one of them 0", np.zeros(3), rng.normal(size=3)),
        error("both 0", np.zeros(3), np.zeros(3)),
    ]


SPEC = Spec(
    cases=cases,
    hints=(
        "Every weight is moved alone. Where do you keep the others as they were? w.copy() helps: "
        "above = w changes w itself.",
        "for place in np.ndindex(w.shape): makes above and below, each a copy with h added or "
        "taken at that place, and fills differences[place].",
        "(f(above) - f(below)) / (2 * h). relative_error: np.linalg.norm takes the root of the sum "
        "of squares of an array of any shape; ask first whether the scale is 0.",
    ),
    mistakes=(
        Mistake(
            "one-sided difference",
            "The difference seems to be one-sided, f(w + h) - f(w): the text moves each weight to "
            "both sides.",
            [("(f(above) - f(below)) / (2 * h)", "(f(above) - f(w)) / h")],
        ),
        Mistake(
            "divided by h",
            "The gradient looks twice as large as it should be: how far apart are the two points?",
            [("/ (2 * h)", "/ h")],
        ),
        Mistake(
            "wrong sign",
            "The gradient has the wrong sign: which of the two values is taken from which?",
            [("(f(above) - f(below))", "(f(below) - f(above))")],
        ),
        Mistake(
            "weights stay moved",
            "Weights seem to stay moved while the next one's turn comes: each is moved alone.",
            [("    for place in np.ndindex(w.shape):\n        above, below = w.copy(), w.copy()\n",
              "    above, below = w.copy(), w.copy()\n    for place in np.ndindex(w.shape):\n")],
        ),
        Mistake(
            "all weights moved at once",
            "All weights seem to be moved at once: each has its own difference.",
            [("above[place] += h", "above += h"), ("below[place] -= h", "below -= h")],
        ),
        Mistake(
            "only the first axis",
            "Only the first axis seems to be gone through: w may have any shape.",
            [("np.ndindex(w.shape)", "np.ndindex(w.shape[:1])")],
        ),
        Mistake(
            "squares without their root",
            "The lengths seem to be sums of squares, without the root.",
            [("np.linalg.norm(a - b) / scale", "np.linalg.norm(a - b) ** 2 / scale"),
             ("np.linalg.norm(a)", "np.sum(a**2)"), ("np.linalg.norm(b)", "np.sum(b**2)")],
        ),
        Mistake(
            "difference not divided",
            "The error seems to be absolute: the text divides it by a scale.",
            [("return np.linalg.norm(a - b) / scale", "return np.linalg.norm(a - b)")],
        ),
        Mistake(
            "scale of the larger one",
            "The scale seems to be the larger of the two lengths: the text adds them.",
            [("np.linalg.norm(a) + np.linalg.norm(b)",
              "max(np.linalg.norm(a), np.linalg.norm(b))")],
        ),
        Mistake(
            "scale of the sum",
            "The scale seems to be the sum of the two lengths: the text takes the larger one.",
            [("max(np.linalg.norm(a), np.linalg.norm(b))",
              "np.linalg.norm(a) + np.linalg.norm(b)")],
        ),
        Mistake(
            "0 divided by 0",
            "Two gradients of 0 are equal: their relative error is 0, and not NaN.",
            [("    if scale == 0:\n        return 0.0\n", "")],
        ),
    ),
    conventions={"scale": ("larger", "sum")},
    driver=DRIVER,
)  # fmt: skip
