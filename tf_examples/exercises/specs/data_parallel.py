"""Averaging gradients over workers: cases and known mistakes."""

from collections.abc import Sequence

import numpy as np

from tf_examples.exercises._exercise import Case, Mistake, Spec

SHAPES = ((4, 3), (3,))


def cases(rng: np.random.Generator) -> Sequence[Case]:
    def shards(name: str, examples: int, workers: int) -> Case:
        return Case(name, "shard_sizes", {"examples": examples, "workers": workers})

    def gradient(name: str, counts: Sequence[int]) -> Case:
        sent = [
            [(1.0 if count else 0.0) * rng.normal(loc=1, size=shape) for shape in SHAPES]
            for count in counts
        ]
        inputs = {"sent": sent, "counts": [int(count) for count in counts]}
        return Case(name, "batch_gradient", inputs)

    workers, share = int(rng.integers(4, 7)), int(rng.integers(5, 9))
    uneven = [int(count) for count in rng.permutation([2, 3, 7, 12])]
    return [
        shards("a batch that divides evenly", share * workers, workers),
        shards("two examples left over", share * workers + 2, workers),
        shards("fewer examples than workers", workers - 2, workers),
        gradient("two workers, uneven shards", [share, 2]),
        gradient("four workers, uneven shards", uneven),
        gradient("three workers, one without an example", [share, 2, 0]),
    ]


WEIGHTED = "sum(count * array for count, array in zip(counts, arrays))"

SPEC = Spec(
    cases=cases,
    hints=(
        "Work the example of the text on paper. Which number must each worker's array be "
        "multiplied by to become the sum over its examples, if it isn't one already?",
        "divmod(examples, workers) gives the share of every worker and what is left. For the "
        "gradient, the sum over all examples is divided by the number of all examples: once.",
        "for arrays in zip(*sent): goes through the weight arrays, each time with one array of "
        "every worker. Divide their (weighted?) sum by sum(counts).",
    ),
    mistakes=(
        Mistake(
            "mean of the means",
            "The workers' means seem to be averaged as if all shards were of one size: a mean over "
            "3 examples stands for 3 of them.",
            [(WEIGHTED, "sum(arrays)"), ("/ total", "/ len(sent)")],
        ),
        Mistake(
            "sums divided by the workers",
            "The sums seem to be divided by the number of workers: a mean over the batch is "
            "divided by something else.",
            [("summed = sum(arrays)", "summed = sum(arrays) / len(sent) * total")],
        ),
        Mistake(
            "means taken for sums",
            "The means seem to be added up and divided by the number of examples: that would be "
            "right for sums.",
            [(WEIGHTED, "sum(arrays)")],
        ),
        Mistake(
            "sums weighted by the counts",
            "The sums seem to be multiplied by the number of examples once more: a sum already "
            "counts each of them.",
            [
                (
                    "summed = sum(arrays)",
                    "summed = sum(count * array for count, array in zip(counts, arrays))",
                )
            ],
        ),
        Mistake(
            "never divided",
            "The gradient looks like the sum over the batch: it is never divided by the number of "
            "examples.",
            [("/ total", "/ 1")],
        ),
        Mistake(
            "examples left over dropped",
            "The shards seem to leave out what doesn't divide evenly: their sum must be the number "
            "of examples.",
            [("whole + 1 if worker < left else whole", "whole")],
        ),
        Mistake(
            "all that is left to the last",
            "The last worker seems to take all that is left over, and the others wait for it: the "
            "text spreads the rest.",
            [
                (
                    "whole + 1 if worker < left else whole",
                    "whole + left if worker == workers - 1 else whole",
                )
            ],
        ),
        Mistake(
            "the last ones take one more",
            "The examples left over seem to go to the last workers: the text gives them to the "
            "first.",
            [("worker < left", "worker >= workers - left")],
        ),
    ),
    conventions={"sends": ("mean", "sum")},
)
