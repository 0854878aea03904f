"""A deep network backward: cases and known mistakes."""

import itertools
from collections.abc import Sequence

import numpy as np

from tf_examples.exercises._exercise import Case, Mistake, Spec


def cases(rng: np.random.Generator) -> Sequence[Case]:
    def network(name: str, examples: int, widths: Sequence[int]) -> Case:
        pairs = list(itertools.pairwise(widths))
        inputs = {
            "weights": [rng.normal(size=pair) / np.sqrt(pair[0]) for pair in pairs],
            "biases": [rng.normal(0.2, 0.5, size=width) for width in widths[1:]],
            "x": rng.normal(size=(examples, widths[0])),
            "labels": rng.integers(widths[-1], size=examples),
        }
        return Case(name, "loss_and_gradients", inputs)

    def logits(name: str, examples: int, shift: float) -> Case:
        drawn = rng.normal(size=(examples, 3)) + shift
        return Case(name, "log_softmax", {"logits": drawn})

    apart = np.outer([1000.0, 0.0, -1000.0, 0.0], [1.0, 1.0, 1.0])
    apart[3] = 0.0, -900.0, -800.0
    return [
        logits("one example", 1, 0.0),
        logits("four examples", 4, 0.0),
        logits("logits near 1000, whose exp is more than a float holds", 3, 1000.0),
        logits("logits near -1000, whose exp is 0 in a float", 3, -1000.0),
        Case(
            "examples whose logits lie far apart, and one whose own do",
            "log_softmax",
            {"logits": rng.normal(size=(4, 3)) + apart},
        ),
        network("one layer, three examples", 3, [4, 3]),
        network("two layers, five examples", 5, [3, 6, 4]),
        network("four layers, ten examples", 10, [5, 8, 7, 6, 4]),
    ]


SPEC = Spec(
    cases=cases,
    hints=(
        "Begin with log_softmax, and check it alone: the first cases ask for nothing else. axis=1 "
        "with keepdims=True keeps one number beside each row.",
        "Forward: a list `activations` that starts with x; each layer takes the last one. The last "
        "layer appends z itself. The loss picks log_probabilities[np.arange(n), labels].",
        "Backward: dz = np.exp(log_probabilities), with 1 taken from the own classes. Then for k "
        "in reversed(range(L)): dw from activations[k] and dz, db from dz, and the dz of the layer "
        "below from weights[k].",
        "activations[k] > 0 says where ReLU let through: dz = (dz @ weights[k].T) * (activations[k]"
        " > 0), for k > 0 only, since below layer 0 stands the input.",
    ),
    mistakes=(
        Mistake(
            "exp overflows",
            "Large logits give NaN or infinity: take each example's largest logit away before exp.",
            [("shifted = logits - np.max(logits, axis=1, keepdims=True)", "shifted = logits")],
        ),
        Mistake(
            "one largest for all examples",
            "One number seems to be taken away from all logits: each example has a largest of its "
            "own.",
            [("np.max(logits, axis=1, keepdims=True)", "np.max(logits)")],
        ),
        Mistake(
            "the logarithm of the probabilities",
            "The logarithm seems to be taken of the probabilities, which are 0 in a float where a "
            "logit lies far below the largest: the text's form has no such 0.",
            [("return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))",
              "return np.log(np.exp(shifted) / np.sum(np.exp(shifted), axis=1, keepdims=True))")],
        ),
        Mistake(
            "softmax over the examples",
            "The softmax seems to be taken over the examples: each example's probabilities add up "
            "to 1 over its classes.",
            [("axis=1", "axis=0")],
        ),
        Mistake(
            "softmax without its logarithm",
            "These are the probabilities themselves: their logarithm is asked for.",
            [("return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))",
              "return np.exp(shifted) / np.sum(np.exp(shifted), axis=1, keepdims=True)")],
        ),
        Mistake(
            "sum over the examples",
            "Loss and gradients seem to be sums over the examples: the text takes the mean.",
            [("loss = -np.mean(own)", "loss = -np.sum(own)"), ("    dz = dz / n\n", "")],
        ),
        Mistake(
            "mean over the examples",
            "Loss and gradients seem to be means over the examples: the text takes the sum.",
            [("loss = -np.sum(own)", "loss = -np.mean(own)"),
             ("labels] -= 1\n", "labels] -= 1\n    dz = dz / n\n")],
        ),
        Mistake(
            "mean in the loss alone",
            "The loss is a mean over the examples, the gradients are sums: they belong together.",
            [("    dz = dz / n\n", "")],
        ),
        Mistake(
            "wrong sign of the loss",
            "The loss has the wrong sign: the logarithm of a probability is below 0.",
            [("loss = -np.", "loss = np.")],
        ),
        Mistake(
            "own class not taken away",
            "dz of the last layer seems to be the softmax alone: 1 is taken away at each "
            "example's own class.",
            [("    dz[np.arange(n), labels] -= 1\n", "")],
        ),
        Mistake(
            "ReLU forgotten on the way back",
            "The gradients pass where ReLU had cut off: on the way back it lets through only where "
            "z was above 0.",
            [(" * (activations[k] > 0)", "")],
        ),
        Mistake(
            "ReLU of the gradient",
            "The gradient itself seems to go through ReLU: what decides is the sign of z in the "
            "forward pass, not that of the gradient.",
            [("dz = (dz @ weights[k].T) * (activations[k] > 0)",
              "dz = np.maximum(dz @ weights[k].T, 0)")],
        ),
        Mistake(
            "ReLU on the last layer",
            "The logits seem to have gone through ReLU: the last layer has none.",
            [("np.maximum(z, 0) if k < last else z", "np.maximum(z, 0)")],
        ),
        Mistake(
            "no ReLU at all",
            "The hidden layers seem to have no ReLU, forward or backward.",
            [("np.maximum(z, 0) if k < last else z", "z"), (" * (activations[k] > 0)", "")],
        ),
        Mistake(
            "gradients of biases as means",
            "The gradients of the biases are divided by the number of examples once too often: "
            "they are sums of dz.",
            [("np.sum(dz, axis=0)", "np.mean(dz, axis=0)")],
        ),
        Mistake(
            "gradients from the last layer to the first",
            "The gradients seem to stand in the order of the way back: the first layer's comes "
            "first.",
            [("dw[k] = ", "dw[-1 - k] = "), ("db[k] = ", "db[-1 - k] = ")],
        ),
    ),
    conventions={"loss": ("mean", "sum")},
)  # fmt: skip
