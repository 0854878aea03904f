"""How long a class of 200 takes to grade: the thirteen NumPy exercises, two processes.

    python -m tests.benchmarks.bench_grading [SUBMISSIONS]

A third of the answers are right, a third known mistakes, the rest stubs, a crash here and there,
and four endless loops. Prints the seconds and the peak of memory; nothing passes or fails.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tf_examples.exercises import _exercise, _folder, _grade, _lms
from tf_examples.exercises._isolation import Limits
from tf_examples.exercises.catalogue import NAMES

EXERCISES = NAMES[:13]
LOOP = b"while True:\n    pass\n"


def answer(name: str, rng: np.random.Generator) -> bytes:
    """A student's file: right, wrong in a known way, a stub, or one that crashes."""
    exercise, conventions = _exercise.load(name), _folder.conventions(name, None)
    kind = rng.choice(["right", "wrong", "stub", "crash"], p=[0.35, 0.35, 0.25, 0.05])
    if kind == "right":
        return exercise.solution(conventions).encode()
    if kind == "stub":
        return exercise.stub(conventions).encode()
    if kind == "crash":
        return b"raise ValueError('not finished')\n"
    wrong = [text for m in exercise.spec.mistakes if (text := exercise.wrong(m, conventions))]
    return str(rng.choice(np.array(wrong, dtype=object))).encode()


def main(count: int = 200) -> None:
    rng = np.random.default_rng(0)
    submissions = [
        _lms.Submission(f"{i:04}", f"{i:04}", {name: answer(name, rng) for name in EXERCISES})
        for i in range(count)
    ]
    for submission in submissions[:: max(count // 4, 1)]:
        submission.files[EXERCISES[0]] = LOOP
    with tempfile.TemporaryDirectory() as out:
        grades = _grade.Class(Path(out), EXERCISES, 0, limits=Limits(seconds=10.0))
        start = time.perf_counter()
        results = grades.grade(submissions, 2, lambda done, total: None)
        first = time.perf_counter() - start
        grades.grade(submissions, 2, lambda done, total: None)
        again = time.perf_counter() - start - first
    passed = sum(verdict.passed for result in results for verdict in result.verdicts)
    print(
        f"{count} submissions of {len(EXERCISES)} exercises, 2 processes: {first:.1f} s "
        f"({first / count:.2f} s each; {passed} of {count * len(EXERCISES)} exercises passed); "
        f"again, nothing left to grade: {again:.1f} s"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
