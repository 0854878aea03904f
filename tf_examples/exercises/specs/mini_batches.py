"""Mini-batches: cases and known mistakes."""

from collections.abc import Sequence

import numpy as np

from tf_examples.exercises._exercise import Case, Mistake, Spec


def cases(rng: np.random.Generator) -> Sequence[Case]:
    def cut(name: str, n: int, batch_size: int) -> Case:
        return Case(name, "batches", {"order": rng.permutation(n), "batch_size": batch_size})

    def epoch(name: str, sizes: Sequence[int]) -> Case:
        inputs = {"losses": rng.uniform(1, 3, size=len(sizes)), "sizes": np.array(sizes)}
        return Case(name, "epoch_loss", inputs)

    size = int(rng.integers(3, 8))
    return [
        cut("batches of equal size", 6, 3),
        cut("a last batch that is smaller", 3 * size + 2, size),
        cut("a batch size above the number of examples", 4, 10),
        cut("one example a batch", 5, 1),
        epoch("two batches of equal size", [4, 4]),
        epoch("a last batch that is smaller", [size, size, size, 1]),
    ]


CUT = "[order[start : start + batch_size] for start in range(0, len(order), batch_size)]"

SPEC = Spec(
    cases=cases,
    hints=(
        "Where does each batch start? range has a third argument, the distance from one number to "
        "the next.",
        "order[start : start + batch_size] is a batch; a slice that reaches past the end just "
        "stops there.",
        "epoch_loss: how many examples does a batch stand for? Bring every batch to the sum over "
        "its examples, add up, and divide by the number of all examples.",
    ),
    mistakes=(
        Mistake(
            "last batch dropped",
            "The examples left over seem to be dropped: the last batch may be smaller.",
            [("range(0, len(order), batch_size)",
              "range(0, len(order) - batch_size + 1, batch_size)")],
        ),
        Mistake(
            "last batch filled up",
            "The last batch seems to be filled up with examples from the start: they would come "
            "twice.",
            [(CUT, "[np.resize(order, -(-len(order) // batch_size) * batch_size)"
                   "[start : start + batch_size] for start in range(0, len(order), batch_size)]")],
        ),
        Mistake(
            "an empty batch at the end",
            "There is an empty batch at the end: where does the last one start?",
            [("range(0, len(order), batch_size)", "range(0, len(order) + 1, batch_size)")],
        ),
        Mistake(
            "order left aside",
            "The batches hold 0, 1, 2, ... in turn: they are cut from `order`.",
            [("order[start", "np.arange(len(order))[start")],
        ),
        Mistake(
            "batches sorted",
            "The examples in a batch seem to be sorted: they keep the order of `order`.",
            [("order[start : start + batch_size]", "np.sort(order[start : start + batch_size])")],
        ),
        Mistake(
            "batches of equal sizes",
            "The sizes seem to be evened out, as by np.array_split: every batch but the last has "
            "batch_size examples.",
            [(CUT, "np.array_split(order, -(-len(order) // batch_size))")],
        ),
        Mistake(
            "batch_size batches",
            "batch_size seems to be taken for the number of batches: it is the number of examples "
            "in each.",
            [(CUT, "np.array_split(order, batch_size)")],
        ),
        Mistake(
            "mean of means",
            "epoch_loss seems to be the plain mean of the batches' losses: a smaller batch stands "
            "for fewer examples.",
            [("np.sum(losses * sizes) / np.sum(sizes)", "np.mean(losses)")],
        ),
        Mistake(
            "sums taken for means",
            "epoch_loss seems to multiply each loss by its size: the text's losses are sums "
            "already.",
            [("np.sum(losses) / np.sum(sizes)", "np.sum(losses * sizes) / np.sum(sizes)")],
        ),
        Mistake(
            "means taken for sums",
            "epoch_loss seems to add up means as if they were sums: each stands for as many "
            "examples as its batch has.",
            [("np.sum(losses * sizes) / np.sum(sizes)", "np.sum(losses) / np.sum(sizes)")],
        ),
        Mistake(
            "divided by the number of batches",
            "epoch_loss seems to be divided by the number of batches: divide by that of examples.",
            [("/ np.sum(sizes)", "/ len(sizes)")],
        ),
    ),
    conventions={"loss": ("mean", "sum")},
)  # fmt: skip
