"""Parameters and FLOPs of a Transformer: cases and known mistakes.

The answers are whole numbers, so a relative error of 1e-9 leaves out not even a bias.
"""

from collections.abc import Sequence

import numpy as np

from tf_examples.exercises._exercise import Case, Mistake, Spec


def cases(rng: np.random.Generator) -> Sequence[Case]:
    def model(scale: int) -> dict[str, int]:
        return {
            "layers": int(rng.integers(2, 7)) * scale,
            "width": int(rng.integers(3, 9)) * 8 * scale,
            "vocabulary": int(rng.integers(500, 900)) * scale,
            "context": int(rng.integers(5, 12)) * 16 * scale,
        }

    cases = []
    for function in ("parameters", "forward_flops", "training_flops"):
        for name, scale in (("a small model", 1), ("a larger one", 8)):
            inputs = model(scale)
            if function == "training_flops":
                inputs["tokens"] = int(rng.integers(1_000, 9_000)) * 100
            cases.append(Case(f"{function}, {name}", function, inputs))
    return cases


SPEC = Spec(
    cases=cases,
    hints=(
        "Take layers = 1 and h = 1 and count the entries of each array of the table on paper: a "
        "block has 12 in its matrices, and 13 that are biases, scales and shifts.",
        "A block has 12 h**2 + 13 h parameters. For the FLOPs, each entry of a matrix counts 2, "
        "biases and normalizations count nothing, and the attention adds 2 s h twice.",
        "forward_flops: layers * (24 h**2 + 4 s h) + 2 h V. training_flops needs parameters() and "
        "one product; which parameters N counts is in the text's last lines.",
    ),
    mistakes=(
        Mistake(
            "no biases",
            "The biases of the matrices seem to be missing from parameters.",
            [
                ("4 * (h * h + h)", "4 * h * h"),
                ("(h * 4 * h + 4 * h) + (4 * h * h + h)", "8 * h * h"),
            ],
        ),
        Mistake(
            "no positions",
            "The learned positions seem to be missing from parameters.",
            [("vocabulary * h + context * h", "vocabulary * h")],
        ),
        Mistake(
            "no layer normalizations in the blocks",
            "4 h a block seem to be missing from parameters: the biases of the attention's four "
            "matrices, or the scales and shifts of the two layer normalizations.",
            [("norms = 2 * 2 * h", "norms = 0")],
        ),
        Mistake(
            "no last layer normalization",
            "The layer normalization after the last block seems to be missing from parameters.",
            [("last_norm = 2 * h", "last_norm = 0")],
        ),
        Mistake(
            "attention without its output matrix",
            "The attention seems to have three matrices: after query, key and value comes one "
            "more.",
            [("4 * (h * h + h)", "3 * (h * h + h)")],
        ),
        Mistake(
            "an output layer of its own",
            "parameters seems to count the output layer as a matrix of its own: what does the "
            "text say it is?",
            [("output = 0", "output = vocabulary * h")],
        ),
        Mistake(
            "output layer taken for the embedding",
            "parameters seems not to count the output layer: what does the text say it is?",
            [("output = vocabulary * h", "output = 0")],
        ),
        Mistake(
            "additions not counted",
            "forward_flops is half of what it should be: a matrix product multiplies and adds.",
            [
                (
                    "return layers * (matrices + attention) + logits",
                    "return (layers * (matrices + attention) + logits) // 2",
                )
            ],
        ),
        Mistake(
            "no attention over the context",
            "forward_flops seems to leave out the scores and the weighted mean of the values, "
            "which no parameter stands for.",
            [("layers * (matrices + attention)", "layers * matrices")],
        ),
        Mistake(
            "no logits",
            "forward_flops seems to leave out the output layer.",
            [("(matrices + attention) + logits", "(matrices + attention)")],
        ),
        Mistake(
            "training without backward",
            "training_flops seems to be the forward pass alone: 2 of the 6.",
            [("6 * n * tokens", "2 * n * tokens")],
        ),
        Mistake(
            "N without the embeddings",
            "training_flops seems to leave the embeddings out of N: which parameters does the text "
            "count?",
            [
                (
                    "n = parameters(layers, width, vocabulary, context)",
                    "n = parameters(layers, width, 0, 0)",
                )
            ],
        ),
        Mistake(
            "N with the embeddings",
            "training_flops seems to count the embeddings in N: which parameters does the text "
            "count?",
            [
                (
                    "n = parameters(layers, width, 0, 0)",
                    "n = parameters(layers, width, vocabulary, context)",
                )
            ],
        ),
    ),
    conventions={"output": ("tied", "untied"), "counted": ("all", "blocks")},
    tolerance=1e-9,
)
