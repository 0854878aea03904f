"""Checks a student's files: draws the cases, asks the child, compares, words what is wrong."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tf_examples.exercises import _exercise
from tf_examples.exercises._child import Other
from tf_examples.exercises._exercise import Case, Conventions
from tf_examples.exercises._isolation import Answer, Child, Limits, printable
from tf_examples.exercises.catalogue import NAMES


@dataclass(frozen=True)
class Verdict:
    """What became of one exercise."""

    exercise: str
    passed: bool
    points: int
    """Earned: all of the exercise's, or none."""
    message: str = ""
    """What the student reads; empty where the exercise is passed."""
    mistake: str | None = None
    """`Mistake.name`, where a known one was recognized."""
    case: str | None = None
    """The case that failed first."""
    seconds: float = 0.0
    printed: str = ""
    """What the student's code printed."""
    error: str = ""
    """Where it could not be run: the exception, "time", "end", "garbled" or "not UTF-8"."""


def check(
    files: Mapping[str, bytes | None],
    conventions: Mapping[str, Conventions] | None = None,
    seed: int = 0,
    limits: Limits | None = None,
    closed: Sequence[Path] = (),
) -> list[Verdict]:
    """The verdicts on `files`, in their order.

    One child answers for all of them, another one goes on after it crashed or ran out of time;
    exercises that need TensorFlow have a child of their own.

    Args:
        files: what the student's file of each exercise holds, None where there is none.
        conventions: by exercise; the first choices where an exercise is left out.
        seed: draws the cases.
        closed: folders that the student's code may not open.
    """
    questions = [_Question(name, file, conventions, seed) for name, file in files.items()]
    for packages in dict.fromkeys(question.exercise.entry.needs for question in questions):
        group = [q for q in questions if q.exercise.entry.needs == packages and not q.verdict]
        while group:
            asked: list[tuple[_Question, int]] = []
            with Child(packages, limits, closed) as child:
                while group and child.alive:
                    asked.append((group[0], len(child.output)))
                    group.pop(0).ask(child)
            ends = [start for _, start in asked[1:]] + [None]
            for (question, start), end in zip(asked, ends, strict=True):
                question.printed = child.output[start:end]
    return [question.verdict or question.judge() for question in questions]


class _Question:
    """One exercise, asked: its cases, the answers so far, and the verdict."""

    def __init__(
        self,
        name: str,
        file: bytes | None,
        conventions: Mapping[str, Conventions] | None,
        seed: int,
    ) -> None:
        self.exercise = _exercise.load(name)
        self.conventions = self.exercise.conventions() | dict((conventions or {}).get(name, {}))
        number = NAMES.index(name)
        rng = np.random.default_rng([seed, number])
        self.cases = self.exercise.spec.cases(rng)
        self.answers: list[Answer] = []
        self.seconds, self.printed = 0.0, ""
        self.verdict: Verdict | None = None
        self.source = ""
        if file is None:
            self.verdict = self._failed(f"There is no file {name}.py.")
            return
        try:
            self.source = file.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            text = f"{name}.py is not UTF-8: byte {error.start} can't be read. Save it as UTF-8."
            self.verdict = self._failed(text, error="not UTF-8")

    def ask(self, child: Child) -> None:
        """Collects the answers to the cases, as far as they come."""
        start = time.perf_counter()
        for case in self.cases:
            answer = child.ask(
                self.exercise.entry.name, self.source, self.exercise.spec.driver, case
            )
            self.answers.append(answer)
            if not child.alive or answer.error in ("SyntaxError", "NotImplementedError"):
                break
        self.seconds = time.perf_counter() - start

    def judge(self) -> Verdict:
        """The verdict on the answers."""
        spec, tolerance = self.exercise.spec, self.exercise.spec.tolerance
        for case, answer in zip(self.cases, self.answers, strict=False):
            if answer.error:
                no_case = answer.error in ("NotImplementedError", "SyntaxError", "missing")
                text, shown = self._error(answer, case), None if no_case else case
                error = "" if answer.error == "NotImplementedError" else answer.error
                return self._failed(text, case=shown, error=error)
            expected = self.exercise.expected(case, self.conventions)
            problem = compare(expected, answer.value, tolerance)
            if problem:
                mistake = self._mistake(case.function)
                lines = [f"{case.name}:", describe(case), problem]
                if mistake:
                    lines.append(next(m.says for m in spec.mistakes if m.name == mistake))
                return self._failed("\n".join(lines), mistake, case)
            changed = [
                name
                for name, value in case.inputs.items()
                if not _same(value, (answer.inputs or {}).get(name))
            ]
            if changed:
                how = "Make a new array (w = w - ...), don't change the caller's (w -= ...)."
                if all(_nearly(case.inputs[n], (answer.inputs or {}).get(n)) for n in changed):
                    how = (
                        "It comes back changed in its last digits: to add something and take it "
                        "away again rounds. Keep the old value, and put that back."
                    )
                text = (
                    f"{case.name}: the answer is right, but the call changed its input "
                    f"{', '.join(changed)}. {how}"
                )
                return self._failed(text, "changes its inputs", case)
        if len(self.answers) < len(self.cases):
            return self._failed("The process ended before all cases were answered.")
        entry = self.exercise.entry
        return Verdict(entry.name, True, entry.points, seconds=self.seconds, printed=self.printed)

    def _failed(
        self, message: str, mistake: str | None = None, case: Case | None = None, error: str = ""
    ) -> Verdict:
        name, shown = self.exercise.entry.name, case.name if case else None
        return Verdict(name, False, 0, message, mistake, shown, self.seconds, self.printed, error)

    def _error(self, answer: Answer, case: Case) -> str:
        name = f"{self.exercise.entry.name}.py"
        fixed = {
            "time": "It ran out of time: is there a loop that never ends?",
            "end": "The process ended before it answered: did the file exit, or use too much "
            "memory?",
            "garbled": "The answer could not be read.",
            "missing": f"{name} has no function or class `{answer.said}`: keep its name.",
            "MemoryError": "It ran out of memory: is there a loop that never ends?",
        }
        if answer.error in fixed:
            return fixed[answer.error]
        if answer.error == "NotImplementedError":
            before = self.cases[: self.cases.index(case)]
            right = ", ".join(dict.fromkeys(f"`{c.function}`" for c in before))
            if right:
                return f"Right so far: {right}. Still to be written: `{case.function}`."
            return f"Not started: write what the TODO in {name} asks for."
        if answer.error == "SyntaxError":
            return f"{name} is not Python yet:\n{answer.shown.rstrip() or answer.said}"
        raised = f"{name} raised {answer.error}: {answer.said}"
        lines = [f"{case.name}:", describe(case), raised, answer.shown]
        if answer.error == "ModuleNotFoundError":
            lines.append(
                f"It may import the standard library and {', '.join(self.exercise.entry.needs)}."
            )
        return "\n".join(filter(None, lines))

    def _mistake(self, function: str) -> str | None:
        """The known mistake that gives what was received in every case of `function`."""
        spec = self.exercise.spec
        answered = [
            (case, answer.value)
            for case, answer in zip(self.cases, self.answers, strict=False)
            if not answer.error and case.function == function
        ]
        for mistake in spec.mistakes:
            try:
                if all(
                    agree(
                        self.exercise.mistaken(mistake, case, self.conventions),
                        value,
                        10 * spec.tolerance,
                    )
                    for case, value in answered
                ):
                    return mistake.name
            except Exception:  # the wrong program may raise anything; then it isn't this one
                continue
        return None


def compare(expected: Any, received: Any, tolerance: float) -> str:
    """What is wrong with `received`, in a few lines; empty where nothing is."""
    for where, want, have in _leaves(expected, received, ""):
        problem = _problem(want, have, tolerance)
        if problem is not None:
            place = f" at {where}" if where else ""
            lines = [_line(f"expected{place}: ", want), _line(f"received{place}: ", have)]
            return "\n".join([*lines, f"  {problem}"]).rstrip()
    return ""


def agree(expected: Any, received: Any, tolerance: float) -> bool:
    """Whether `compare` finds nothing wrong."""
    leaves = _leaves(expected, received, "")
    return all(_problem(want, have, tolerance) is None for _, want, have in leaves)


def _leaves(expected: Any, received: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    """The arrays and numbers of two answers side by side, with their places."""
    if isinstance(expected, list | tuple) and isinstance(received, list | tuple):
        if len(expected) == len(received):
            for i, (want, have) in enumerate(zip(expected, received, strict=True)):
                yield from _leaves(want, have, f"{where}[{i}]")
            return
    elif (
        isinstance(expected, dict)
        and isinstance(received, dict)
        and {str(key) for key in expected} == set(received)
    ):
        for key, want in expected.items():
            yield from _leaves(want, received[str(key)], f"{where}[{key!r}]")
        return
    yield where, expected, received


def _problem(want: Any, have: Any, tolerance: float) -> str | None:
    """What is wrong with one array, number or text; None where nothing is."""
    if have is None and want is not None:
        return "Nothing came back: is there a `return`?"
    if isinstance(want, np.ndarray):
        if not isinstance(have, np.ndarray):
            return f"It must be a NumPy array, and is {_kind(have)}."
        if want.shape != have.shape:
            return f"The shape must be {want.shape}, and is {have.shape}."
        if want.dtype.kind in "fiu" and have.dtype.kind not in "fiu":
            return f"The array must hold numbers, and has dtype {have.dtype}."
    elif _is_number(want):
        if not _is_number(have) and not (isinstance(have, np.ndarray) and have.shape == ()):
            return f"It must be one number, and is {_kind(have)}."
    else:
        return None if type(want) is type(have) and want == have else _misbuilt(want, have)
    exact, given = np.asarray(want), np.asarray(have)
    if exact.dtype.kind in "iub":
        return None if np.array_equal(exact, given) else "Whole numbers must be equal."
    given = given.astype("float64")
    if np.array_equal(exact, given, equal_nan=True):
        return None
    if not np.isfinite(given).all() and np.isfinite(exact).all():
        return f"Some of it is {'NaN' if np.isnan(given).any() else 'infinite'}."
    scale = float(np.linalg.norm(exact.ravel()))
    distance = float(np.linalg.norm((given - exact).ravel()))
    error = distance / scale if scale else distance
    if error <= tolerance:
        return None
    return f"relative error {error:.1e}, allowed {tolerance:.0e}"


def _misbuilt(want: Any, have: Any) -> str:
    """What is wrong with a list, dict or text as a whole."""
    if isinstance(want, dict):
        if not isinstance(have, dict):
            return f"It must be a dict, and is {_kind(have)}."
        missing = [str(key) for key in want if str(key) not in have]
        lacks = f": {', '.join(missing)} missing" if missing else ""
        return f"It must have the keys {', '.join(map(str, want))}{lacks}."
    if isinstance(want, list | tuple):
        if not isinstance(have, list | tuple):
            return f"It must be a list, and is {_kind(have)}."
        return f"There must be {len(want)} entries, and there are {len(have)}."
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.generic) and not isinstance(value, bool | np.bool_)


def show(value: Any) -> str:
    """A value in a few lines: short arrays whole, long ones by their ends."""
    if isinstance(value, np.ndarray):
        text = np.array2string(value, precision=6, threshold=24, edgeitems=3, max_line_width=78)
        return text if value.size <= 24 else f"{text} (shape {value.shape})"
    if isinstance(value, float):
        return f"{value:.8g}"
    if isinstance(value, Other):
        return f"({_kind(value)})"
    if isinstance(value, dict):
        names = (printable(str(key), 100, keep="") for key in value)
        text = ", ".join(f"{n}: {show(v)}" for n, v in zip(names, value.values(), strict=True))
        return f"{{{text}}}"[:600]
    if isinstance(value, list | tuple):
        ends = "[]" if isinstance(value, list) else "()"
        return f"{ends[0]}{', '.join(map(show, value))}{ends[1]}"[:600]
    return repr(value)[:300]


def describe(case: Case) -> str:
    """The call of a case with its inputs, a line each."""
    lines = [_line(f"  {name} = ", value) for name, value in case.inputs.items()]
    return "\n".join([f"  {case.function}(", *lines, "  )"])


def _line(label: str, value: Any) -> str:
    """A labelled value; further lines of it stand below the first."""
    margin = " " * (len(label) + 2)
    return f"  {label}{show(value)}".replace("\n", f"\n{margin}")


def _kind(value: Any) -> str:
    if isinstance(value, Other):
        return f"of type {printable(value.name, 200, keep='')}"
    return f"of type {type(value).__name__}"


def _nearly(sent: Any, after: Any) -> bool:
    """Whether an array came out of the call but for its last digits as it went in."""
    arrays = isinstance(sent, np.ndarray) and isinstance(after, np.ndarray)
    return arrays and sent.shape == after.shape and np.allclose(sent, after, rtol=1e-12, atol=1e-12)


def _same(sent: Any, after: Any) -> bool:
    """Whether an input came out of the call as it went in, to the last bit."""
    if isinstance(sent, np.ndarray):
        return (
            isinstance(after, np.ndarray)
            and sent.shape == after.shape
            and sent.dtype.kind == after.dtype.kind
            and bool(np.array_equal(sent, after, equal_nan=sent.dtype.kind == "f"))
        )
    if isinstance(sent, list | tuple):
        pairs = isinstance(after, list | tuple) and len(sent) == len(after)
        return pairs and all(map(_same, sent, after))
    if isinstance(sent, dict):
        return isinstance(after, dict) and all(_same(v, after.get(k)) for k, v in sent.items())
    if isinstance(sent, np.generic):
        sent = sent.item()
    return bool(sent == after)
