"""Adam: cases and known mistakes."""

from collections.abc import Sequence

import numpy as np

from tf_examples.exercises._exercise import Case, Mistake, Spec


def cases(rng: np.random.Generator) -> Sequence[Case]:
    def case(name: str, n: int, steps: int) -> Case:
        inputs = {
            "w": rng.normal(size=n),
            "gradients": rng.normal(size=(steps, n)),
            "learning_rate": rng.uniform(0.01, 0.1),
            "beta_1": rng.uniform(0.8, 0.95),
            "beta_2": rng.uniform(0.95, 0.999),
            "epsilon": rng.uniform(0.01, 0.1),  # large, so that its place is seen
        }
        return Case(name, "adam", inputs)

    return [
        case("one weight, one step", 1, 1),
        case("three weights, two steps", 3, 2),
        case("ten weights, 20 steps", 10, 20),
    ]


SPEC = Spec(
    cases=cases,
    hints=(
        "m and v are arrays like w that live through the whole loop. Which value do they start at, "
        "and where must t start for the division by 1 - beta**t to be possible?",
        "for t, g in enumerate(gradients, start=1): update m, update v, correct both into new "
        "names (m_hat, v_hat: m and v themselves go on uncorrected), then move w.",
        "w = w - ... makes a new array, w -= ... changes the caller's. np.stack turns the list of "
        "all w, the first one included, into the answer.",
    ),
    mistakes=(
        Mistake(
            "no bias correction",
            "The steps look like Adam without its bias correction: m and v start at 0, and the "
            "text divides each by what that start takes away.",
            [("m / (1 - beta_1**t)", "m"), ("v / (1 - beta_2**t)", "v")],
        ),
        Mistake(
            "bias correction counts from 0",
            "The bias correction seems to be one step late: at the first gradient t is 1.",
            [
                ("(1 - beta_1**t)", "(1 - beta_1**max(t - 1, 1))"),
                ("(1 - beta_2**t)", "(1 - beta_2**max(t - 1, 1))"),
            ],
        ),
        Mistake(
            "t from 0",
            "1 - beta**t is 0 at the first step, and the division gives NaN: t counts from 1.",
            [("enumerate(gradients, start=1)", "enumerate(gradients)")],
        ),
        Mistake(
            "corrected means carried on",
            "The corrected means seem to be carried into the next step: only the step uses them, m "
            "and v go on uncorrected.",
            [
                ("m_hat = m / (1 - beta_1**t)", "m = m_hat = m / (1 - beta_1**t)"),
                ("v_hat = v / (1 - beta_2**t)", "v = v_hat = v / (1 - beta_2**t)"),
            ],
        ),
        Mistake(
            "epsilon inside the root",
            "Epsilon seems to stand inside the root. The text has it outside.",
            [("(np.sqrt(v_hat) + epsilon)", "np.sqrt(v_hat + epsilon)")],
        ),
        Mistake(
            "epsilon outside the root",
            "Epsilon seems to stand outside the root. The text has it inside.",
            [("np.sqrt(v_hat + epsilon)", "(np.sqrt(v_hat) + epsilon)")],
        ),
        Mistake(
            "the kept weights are changed too",
            "All the weights returned are those of the end: w -= ... changes the very array that "
            "was kept before.",
            [("trajectory = [w]", "w = w.copy()\n    trajectory = [w]"), ("w = w - ", "w -= ")],
        ),
        Mistake(
            "wrong sign",
            "The weights go uphill: a step is against the gradient.",
            [("w = w - learning_rate", "w = w + learning_rate")],
        ),
        Mistake(
            "beta_1 and beta_2 swapped",
            "beta_1 and beta_2 seem to be swapped: beta_1 belongs to m, beta_2 to v.",
            [
                ("m = beta_1 * m + (1 - beta_1)", "m = beta_2 * m + (1 - beta_2)"),
                ("v = beta_2 * v + (1 - beta_2)", "v = beta_1 * v + (1 - beta_1)"),
            ],
        ),
    ),
    conventions={"epsilon": ("outside", "inside")},
)
