"""A dense layer backward: cases and known mistakes."""

from collections.abc import Sequence

import numpy as np

from tf_examples.exercises._exercise import Case, Mistake, Spec


def cases(rng: np.random.Generator) -> Sequence[Case]:
    def case(name: str, examples: int, inputs: int, outputs: int) -> Case:
        arrays = {
            "x": rng.normal(size=(examples, inputs)),
            "w": rng.normal(size=(inputs, outputs)),
            "dz": rng.normal(size=(examples, outputs)),
        }
        return Case(name, "backward", arrays)

    return [
        case("two examples, three inputs, one output", 2, 3, 1),
        case("four examples, three inputs, three outputs", 4, 3, 3),
        case("eight examples, five inputs, two outputs", 8, 5, 2),
    ]


SPEC = Spec(
    cases=cases,
    hints=(
        "Write the shapes down: dw must be (in, out), made of x (n, in) and dz (n, out). Which of "
        "the two must be turned over for the n axes to meet?",
        "dw comes from x.T @ dz, dx from dz @ w.T: in each product the inner axis is the one that "
        "is added over.",
        "db is dz with the examples' axis gone: axis=0. What the text says of mean or sum holds "
        "for dw and db alone, never for dx.",
    ),
    mistakes=(
        Mistake(
            "sum over the examples",
            "The gradients of w and b seem to be sums over the examples: the text takes the mean.",
            [("x.T @ dz / len(x)", "x.T @ dz"), ("np.mean(dz, axis=0)", "np.sum(dz, axis=0)")],
        ),
        Mistake(
            "mean over the examples",
            "The gradients of w and b seem to be means over the examples: the text takes the sum.",
            [("x.T @ dz", "x.T @ dz / len(x)"), ("np.sum(dz, axis=0)", "np.mean(dz, axis=0)")],
        ),
        Mistake(
            "sum in dw alone",
            "db is the mean over the examples and dw their sum: the text has one rule for both.",
            [("x.T @ dz / len(x)", "x.T @ dz")],
        ),
        Mistake(
            "mean in db alone",
            "dw is the sum over the examples and db their mean: the text has one rule for both.",
            [("np.sum(dz, axis=0)", "np.mean(dz, axis=0)")],
        ),
        Mistake(
            "db over the wrong axis",
            "db seems to be taken over the outputs: it has one number for each of them.",
            [("(dz, axis=0)", "(dz, axis=1)")],
        ),
        Mistake(
            "db without an axis",
            "db seems to be one number: it has one for each output.",
            [("(dz, axis=0)", "(dz)")],
        ),
        Mistake(
            "mean in dx",
            "dx seems to be divided by the number of examples: each example has its own inputs.",
            [("dx = dz @ w.T", "dx = dz @ w.T / len(x)")],
        ),
        Mistake(
            "mean over the outputs",
            "dw seems to be divided by the number of outputs: the mean is over the examples.",
            [("x.T @ dz / len(x)", "x.T @ dz / dz.shape[1]")],
        ),
        Mistake(
            "dw turned over",
            "dw seems to be turned over: it is shaped like w, (in, out).",
            [("dw = x.T @ dz", "dw = dz.T @ x")],
        ),
    ),
    conventions={"batch": ("mean", "sum")},
)
