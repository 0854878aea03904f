"""L2 against decoupled decay: cases and known mistakes."""

from collections.abc import Sequence

import numpy as np

from tf_examples.exercises._exercise import Case, Mistake, Spec


def cases(rng: np.random.Generator) -> Sequence[Case]:
    def case(name: str, function: str, n: int, steps: int) -> Case:
        inputs = {
            "w": rng.uniform(1, 2, size=n) * rng.choice([-1, 1], size=n),
            "gradients": rng.normal(size=(steps, n)),
            "learning_rate": rng.uniform(0.05, 0.1),
            "rho": rng.uniform(0.8, 0.95),
            "epsilon": rng.uniform(0.01, 0.1),
            "strength": rng.uniform(0.2, 0.5),
        }
        return Case(f"{function}, {name}", function, inputs)

    return [
        case(name, function, n, steps)
        for function in ("l2_penalty", "decoupled_decay")
        for name, n, steps in (("one weight, two steps", 1, 2), ("ten weights, 20 steps", 10, 20))
    ]


SPEC = Spec(
    cases=cases,
    hints=(
        "Differentiate the penalty on paper for one weight: what stands before w? Then ask where "
        "the result enters: before v is updated, or after.",
        "l2_penalty: the first line of the loop changes g, the next two are RMSprop as it stands. "
        "decoupled_decay: g and v never see the strength.",
        "decoupled_decay: w = w - learning_rate * (step + strength * w), with step = g / (sqrt(v) "
        "+ epsilon). In one line, both terms hold the old w.",
    ),
    mistakes=(
        Mistake(
            "penalty without its factor 2",
            "The penalty's gradient looks half as large as it should be: differentiate the penalty "
            "as the text writes it.",
            [("g + 2 * strength * w", "g + strength * w")],
        ),
        Mistake(
            "penalty with a factor 2",
            "The penalty's gradient looks twice as large as it should be: differentiate the "
            "penalty as the text writes it, with its factor.",
            [("g + strength * w", "g + 2 * strength * w")],
        ),
        Mistake(
            "penalty left out of v",
            "l2_penalty seems to square the gradient without the penalty: in which order does the "
            "text change g and v?",
            [
                ("g = g + ", "penalty = "),
                ("learning_rate * g / (np.sqrt", "learning_rate * (g + penalty) / (np.sqrt"),
            ],
        ),
        Mistake(
            "L2 in place of decoupled decay",
            "decoupled_decay seems to add the decay to the gradient, where it is divided by the "
            "root of v: that is the L2 penalty over again.",
            [
                (
                    "    for g in gradients:\n        v",
                    "    for g in gradients:\n        g = g + strength * w\n        v",
                ),
                ("(step + strength * w)", "step"),
            ],
        ),
        Mistake(
            "decay without the learning rate",
            "The decoupled decay seems not to be multiplied by the learning rate.",
            [
                (
                    "w - learning_rate * (step + strength * w)",
                    "w - learning_rate * step - strength * w",
                )
            ],
        ),
        Mistake(
            "decay of the new weights",
            "The decay seems to be taken of the weights after the step: which w stands in the "
            "second term of the text?",
            [
                (
                    "w = w - learning_rate * (step + strength * w)",
                    "w = (w - learning_rate * step) * (1 - learning_rate * strength)",
                )
            ],
        ),
        Mistake(
            "decay away from zero",
            "The decoupled decay seems to make the weights grow: look at its sign.",
            [("(step + strength * w)", "(step - strength * w)")],
        ),
        Mistake(
            "penalty with the wrong sign",
            "The L2 penalty seems to push the weights away from zero: look at its sign in g.",
            [("g = g + ", "g = g - ")],
        ),
    ),
    conventions={"penalty": ("whole", "half")},
)
