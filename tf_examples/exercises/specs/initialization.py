"""Initialization: cases and known mistakes.

The standard normal draws are data, so that an answer can be compared number by number.
"""

from collections.abc import Sequence

import numpy as np

from tf_examples.exercises._exercise import Case, Mistake, Spec

SCHEMES = ("lecun", "glorot", "he")


def cases(rng: np.random.Generator) -> Sequence[Case]:
    def shape() -> tuple[int, int]:
        """Two fans far from each other: else a layer read the wrong way looks right."""
        fans = [int(rng.integers(3, 6)), int(rng.integers(10, 15))]
        return (fans[0], fans[1]) if rng.random() < 0.5 else (fans[1], fans[0])

    def spread(scheme: str) -> Case:
        fan_in, fan_out = shape()
        inputs = {"fan_in": fan_in, "fan_out": fan_out, "scheme": scheme}
        return Case(f"variance, {scheme}", "variance", inputs)

    def scaled(scheme: str) -> Case:
        inputs = {"draws": rng.normal(size=shape()), "scheme": scheme}
        return Case(f"weights, {scheme}", "weights", inputs)

    def through(layers: int, scheme: str, activation: str) -> Case:
        widths = [int(width) for width in rng.permutation(np.arange(20, 200, 15))[: layers + 1]]
        inputs = {
            "mean_square": rng.uniform(0.5, 2),
            "widths": widths,
            "scheme": scheme,
            "activation": activation,
        }
        name = f"mean_squares, {layers} layers, {scheme}, {activation}"
        return Case(name, "mean_squares", inputs)

    return [
        *[spread(scheme) for scheme in SCHEMES],
        *[scaled(scheme) for scheme in SCHEMES],
        *[through(3, scheme, "linear") for scheme in SCHEMES],
        *[through(6, scheme, "relu") for scheme in SCHEMES],
    ]


FACTOR = "np.sqrt(variance(fan_in, fan_out, scheme))"

SPEC = Spec(
    cases=cases,
    hints=(
        "variance is the table, written in Python. weights: if x has variance 1, which variance "
        "has 3 * x? So by what must the draws be multiplied to have variance v?",
        "weights: fan_in and fan_out are the two numbers of draws.shape; the text says which is "
        "which. mean_squares: zip(widths[:-1], widths[1:]) gives each layer's fans.",
        "mean_squares: in each layer z = fan_in * variance * mean_square goes into the answer, and "
        "mean_square becomes z / 2 with ReLU, z without.",
    ),
    mistakes=(
        Mistake(
            "scaled by the variance",
            "The draws seem to be multiplied by the variance itself: what does a factor c do to "
            "a variance?",
            [(FACTOR, "variance(fan_in, fan_out, scheme)")],
        ),
        Mistake(
            "fans exchanged",
            "fan_in and fan_out seem to be exchanged in weights: read the shape in the text.",
            [("fan_in, fan_out = draws.shape", "fan_out, fan_in = draws.shape")],
        ),
        Mistake(
            "fans exchanged (shape of out, in)",
            "fan_in and fan_out seem to be exchanged in weights: here a row is an output.",
            [("fan_out, fan_in = draws.shape", "fan_in, fan_out = draws.shape")],
        ),
        Mistake(
            "He without its 2",
            "The weights of he look like those of lecun: ReLU drops half of the signal, and he "
            "makes up for it.",
            [("    return 2 / fan_in", "    return 1 / fan_in")],
        ),
        Mistake(
            "Glorot without its 2",
            "The weights of glorot look too small: it divides by the mean of the two fans, not by "
            "their sum.",
            [("2 / (fan_in + fan_out)", "1 / (fan_in + fan_out)")],
        ),
        Mistake(
            "ReLU forgotten",
            "mean_squares seems to be the same with ReLU as without: what is left of a mean square "
            "when the half below 0 is dropped?",
            [('z / 2 if activation == "relu" else z', "z")],
        ),
        Mistake(
            "halved once too often",
            "With ReLU, each mean square looks half as large as it should be: the text asks for z, "
            "before the ReLU, and the network's own input has been through none.",
            [
                ("        sizes.append(z)\n", ""),
                (
                    'mean_square = z / 2 if activation == "relu" else z',
                    'mean_square = z / 2 if activation == "relu" else z\n'
                    "        sizes.append(mean_square)",
                ),
            ],
        ),
        Mistake(
            "sum over the outputs",
            "Each layer's mean square seems to be multiplied by fan_out: how many products are "
            "there in one output?",
            [("z = fan_in * variance", "z = fan_out * variance")],
        ),
    ),
    conventions={"layout": ("in_out", "out_in")},
)
