"""Clipping by the global norm: cases and known mistakes."""

from collections.abc import Sequence

import numpy as np

from tf_examples.exercises._exercise import Case, Mistake, Spec

SHAPES = ((4, 3), (3,), (3, 2), (2,))


def cases(rng: np.random.Generator) -> Sequence[Case]:
    def case(name: str, shapes: Sequence[tuple[int, ...]], share: float) -> Case:
        """`share`: the limit as a part of the global norm."""
        drawn = [rng.normal(size=shape) for shape in shapes]
        # At least 3, so that a 1e-6 added to the norm, as PyTorch does, is within the tolerance.
        norm = rng.uniform(3, 6)
        length = np.linalg.norm(np.concatenate([g.ravel() for g in drawn]))
        gradients = [g * (norm / length) for g in drawn]
        inputs = {"gradients": gradients, "limit": share * norm}
        return Case(name, "clip_by_global_norm", inputs)

    zeros = [np.zeros(shape) for shape in SHAPES]
    return [
        case("one array, above the limit", [(3,)], rng.uniform(0.3, 0.5)),
        # Below a fifth of the norm every larger array is above the limit by itself, too.
        case("two layers, above the limit", SHAPES, rng.uniform(0.1, 0.2)),
        case("two layers, a little above the limit", SHAPES, rng.uniform(0.95, 0.98)),
        case("two layers, below the limit", SHAPES, rng.uniform(1.5, 2.5)),
        Case(
            "all gradients 0",
            "clip_by_global_norm",
            {"gradients": zeros, "limit": rng.uniform(0.5, 2)},
        ),
    ]


SPEC = Spec(
    cases=cases,
    hints=(
        "How many norms are there: one an array, or one in all? Work the example of the text, "
        "[3, 0] and [4], on paper.",
        "Sum the squares of each array, add these sums, and take one root. Then ask whether the "
        "norm is above the limit before you scale.",
        "np.sqrt(sum(np.sum(g**2) for g in gradients)) is the norm; above the limit, return "
        "[g * (limit / norm) for g in gradients].",
    ),
    mistakes=(
        Mistake(
            "a norm for each array",
            "Each array seems to be clipped by a norm of its own, which turns the direction of the "
            "whole: the text has one norm for all arrays.",
            [
                (
                    "return [g * (limit / norm) for g in gradients]",
                    "return [g * min(1, limit / np.linalg.norm(g)) for g in gradients]",
                )
            ],
        ),
        Mistake(
            "clipped by value",
            "Each entry seems to be cut off at the limit: that is clipping by value. Clipping by "
            "norm multiplies all entries by one number.",
            [
                (
                    "return [g * (limit / norm) for g in gradients]",
                    "return [np.clip(g, -limit, limit) for g in gradients]",
                ),
                (
                    "return list(gradients)",
                    "return [np.clip(g, -limit, limit) for g in gradients]",
                ),
            ],
        ),
        Mistake(
            "scaled below the limit too",
            "Gradients below the limit seem to be made longer: when does the text scale them?",
            [("if norm <= limit:", "if False:")],
        ),
        Mistake(
            "scaled below the limit too",
            "Gradients below the limit seem to be made longer: when does the text scale them?",
            [("if norm <= limit:", "if norm == 0:")],
        ),
        Mistake(
            "no root",
            "The norm seems to be the sum of squares without its root.",
            [
                (
                    "np.sqrt(sum(np.sum(g**2) for g in gradients))",
                    "sum(np.sum(g**2) for g in gradients)",
                )
            ],
        ),
        Mistake(
            "sum of the arrays' norms",
            "The norms of the arrays seem to be added up: the length of [3, 0] and [4] together is "
            "5, not 7.",
            [
                (
                    "np.sqrt(sum(np.sum(g**2) for g in gradients))",
                    "sum(np.sqrt(np.sum(g**2)) for g in gradients)",
                )
            ],
        ),
        Mistake(
            "the limit forgotten in the scale",
            "The clipped gradients seem to have norm 1 rather than the limit.",
            [("(limit / norm)", "(1 / norm)")],
        ),
        Mistake(
            "0 divided by 0",
            "Gradients that are all 0 come back as NaN: 0 / 0 is taken somewhere. What should "
            "happen to a norm of 0?",
            [
                (
                    "    if norm <= limit:\n        return list(gradients)\n"
                    "    return [g * (limit / norm) for g in gradients]",
                    "    return [g * (np.minimum(norm, limit) / norm) for g in gradients]",
                )
            ],
        ),
    ),
)
