"""RMSprop: cases and known mistakes."""

from collections.abc import Sequence

import numpy as np

from tf_examples.exercises._exercise import Case, Mistake, Spec


def cases(rng: np.random.Generator) -> Sequence[Case]:
    def case(name: str, n: int, steps: int, centered: bool) -> Case:
        inputs = {
            "w": rng.normal(size=n),
            "gradients": rng.uniform(0.5, 2, size=(steps, n)) * rng.choice([-1, 1], (steps, n)),
            "learning_rate": rng.uniform(0.01, 0.1),
            "rho": rng.uniform(0.7, 0.95),
            "epsilon": rng.uniform(0.05, 0.2),  # large, so that its place is seen
            "centered": centered,
        }
        return Case(name, "run", inputs)

    return [
        case("one weight, one step", 1, 1, False),
        case("three weights, two steps", 3, 2, False),
        case("ten weights, 20 steps", 10, 20, False),
        case("centered, one weight, two steps", 1, 2, True),
        case("centered, ten weights, 20 steps", 10, 20, True),
    ]


SPEC = Spec(
    cases=cases,
    hints=(
        "v is an array like w that lives through the whole loop. Which share of it does a step "
        "keep, and which share is new?",
        "for g in gradients: v first, then w with the new v. Write the plain form, and check it: "
        "the centered cases come last.",
        "Centered: m is updated like v, with g in place of g**2. Only what stands under the root "
        "changes: spread = v - m**2 if centered else v.",
    ),
    mistakes=(
        Mistake(
            "the sum of AdaGrad",
            "v seems to be a growing sum, as in AdaGrad: here it is a mean that forgets.",
            [("rho * v + (1 - rho) * g**2", "v + g**2")],
        ),
        Mistake(
            "shares swapped",
            "The two shares seem to be swapped: rho is what is kept.",
            [("rho * v + (1 - rho) * g**2", "(1 - rho) * v + rho * g**2"),
             ("rho * m + (1 - rho) * g\n", "(1 - rho) * m + rho * g\n")],
        ),
        Mistake(
            "new square in full",
            "The square of the gradient seems to be added in full: only the share 1 - rho of it "
            "is new.",
            [("(1 - rho) * g**2", "g**2")],
        ),
        Mistake(
            "bias correction",
            "v seems to be divided by 1 - rho**t: that is Adam; RMSprop leaves v as it is.",
            [("for g in gradients:", "for t, g in enumerate(gradients, start=1):"),
             ("(np.sqrt(spread)", "(np.sqrt(spread / (1 - rho**t))")],
        ),
        Mistake(
            "bias correction",
            "v seems to be divided by 1 - rho**t: that is Adam; RMSprop leaves v as it is.",
            [("for g in gradients:", "for t, g in enumerate(gradients, start=1):"),
             ("np.sqrt(spread + ", "np.sqrt(spread / (1 - rho**t) + ")],
        ),
        Mistake(
            "no root",
            "The step seems to be divided by the mean square itself: the text takes its root.",
            [("(np.sqrt(spread) + epsilon)", "(spread + epsilon)")],
        ),
        Mistake(
            "no root",
            "The step seems to be divided by the mean square itself: the text takes its root.",
            [("np.sqrt(spread + epsilon)", "(spread + epsilon)")],
        ),
        Mistake(
            "epsilon inside the root",
            "Epsilon seems to stand inside the root. The text has it outside.",
            [("(np.sqrt(spread) + epsilon)", "np.sqrt(spread + epsilon)")],
        ),
        Mistake(
            "epsilon outside the root",
            "Epsilon seems to stand outside the root. The text has it inside.",
            [("np.sqrt(spread + epsilon)", "(np.sqrt(spread) + epsilon)")],
        ),
        Mistake(
            "old mean square",
            "The step seems to use v before this gradient: the text changes v first.",
            [("        v = rho", "        old = v\n        v = rho"),
             ("if centered else v", "if centered else old")],
        ),
        Mistake(
            "never centered",
            "The centered form seems to be the plain one: m**2 is taken away under the root.",
            [("v - m**2 if centered else v", "v")],
        ),
        Mistake(
            "mean not squared",
            "The centered form seems to take away m itself: it takes away its square.",
            [("v - m**2", "v - np.abs(m)")],
        ),
        Mistake(
            "wrong sign",
            "The weights go uphill: a step is against the gradient.",
            [("w - learning_rate", "w + learning_rate")],
        ),
    ),
    conventions={"epsilon": ("outside", "inside")},
)  # fmt: skip
