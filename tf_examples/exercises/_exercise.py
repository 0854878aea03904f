"""An exercise as data: its text, its cases, its known mistakes. Runs no student's code.

The text of an exercise is one Python file, `solutions/NAME.py`. In it

- the lines from `# solution: WHAT TO DO` to `# end of solution` are the solution; a student finds
  `# TODO: WHAT TO DO` and `raise NotImplementedError` there;
- a line that ends in `[epsilon: inside]` (in code: `# [epsilon: inside]`) belongs to one choice of
  a convention, and is left out for the others.
"""

import copy
import functools
import importlib
import itertools
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tf_examples.exercises.catalogue import ENTRIES, Entry

Conventions = Mapping[str, str]
"""The choice made for each convention of an exercise, as in {"epsilon": "inside"}."""

FOLDER = Path(__file__).parent
_TAG = re.compile(r"\s+(?:# )?\[(\w+): (\w+)\]$")
_SOLUTION = re.compile(r"^( *)# solution: (.+)\n(?:.*\n)*?\1# end of solution\n", re.MULTILINE)
_MARKERS = re.compile(r"^ *# (?:solution: .+|end of solution)\n", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """One question to the student's file: `function(**inputs)`.

    Inputs are NumPy arrays, numbers, strings, and lists, tuples and dicts of these; so are answers.
    """

    name: str
    """What is special here, as a student reads it: "ten random weights, 20 steps"."""
    function: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that students give, recognized by what it returns."""

    name: str
    """A short handle for the summary of a class: "no bias correction"."""
    says: str
    """The sentence a student reads: what seems to be wrong, and where to look; not the solution."""
    edits: Sequence[tuple[str, str]]
    """Replacements (old, new) that turn the solution's text into this wrong answer."""
    answer: Callable[[Case, Conventions], Any] | None = None
    """What it returns, where the solution can't be run here (it needs TensorFlow)."""


@dataclass(frozen=True)
class Spec:
    """What `specs/NAME.py` defines as SPEC."""

    cases: Callable[[np.random.Generator], Sequence[Case]]
    """Draws fresh cases: the simplest first, since the first that fails is shown."""
    hints: Sequence[str]
    """At least two, each saying a little more than the one before."""
    mistakes: Sequence[Mistake]
    conventions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The choices of each convention; the first is used where none was drawn."""
    tolerance: float = 1e-6
    """The largest relative error of an answer, in the Euclidean norm of each array."""
    driver: str = ""
    """Source of `answer(student, function, inputs)`, run in the child in place of a plain call."""
    reference: Callable[[Case, Conventions], Any] | None = None
    """The right answer, where the solution can't be run here (it needs TensorFlow)."""


@dataclass(frozen=True)
class Exercise:
    """An entry of the catalogue together with its text and its spec."""

    entry: Entry
    spec: Spec
    text: str

    def conventions(self, rng: np.random.Generator | None = None) -> dict[str, str]:
        """One choice for each convention: the first ones, or drawn from `rng`."""
        return {
            name: choices[0] if rng is None else str(rng.choice(choices))
            for name, choices in self.spec.conventions.items()
        }

    def variants(self) -> list[dict[str, str]]:
        """Every choice of every convention."""
        choices = itertools.product(*self.spec.conventions.values())
        return [dict(zip(self.spec.conventions, choice, strict=True)) for choice in choices]

    def solution(self, conventions: Conventions) -> str:
        """The whole file, with comments, for these conventions."""
        return _MARKERS.sub("", _choose(self.text, conventions))

    def stub(self, conventions: Conventions) -> str:
        """The student's file: the solution cut out."""
        return _SOLUTION.sub(
            r"\1# TODO: \2\n\1raise NotImplementedError\n", self.marked(conventions)
        )

    def marked(self, conventions: Conventions) -> str:
        """The whole file, the solution between its markers."""
        return _choose(self.text, conventions)

    def expected(self, case: Case, conventions: Conventions) -> Any:
        """The right answer to `case`."""
        if self.spec.reference:
            return self.spec.reference(case, conventions)
        return _run(self.solution(conventions), self.spec.driver, case)

    def wrong(self, mistake: Mistake, conventions: Conventions) -> str | None:
        """The solution with `mistake` made in it; None where these conventions rule it out."""
        text = self.solution(conventions)
        for old, new in mistake.edits:
            if old not in text:
                return None
            text = text.replace(old, new)
        return text

    def mistaken(self, mistake: Mistake, case: Case, conventions: Conventions) -> Any:
        """What `mistake` answers to `case`.

        Raises:
            LookupError: where these conventions rule it out.
            Exception: whatever the wrong program raises.
        """
        text = self.wrong(mistake, conventions)
        if text is None:
            raise LookupError(f"{mistake.name!r} can't be made with {dict(conventions)}")
        if mistake.answer:
            return mistake.answer(case, conventions)
        return _run(text, self.spec.driver, case)


@functools.cache
def load(name: str) -> Exercise:
    """The exercise `name`, which must be one of `catalogue.NAMES`."""
    entry = next(entry for entry in ENTRIES if entry.name == name)
    spec = importlib.import_module(f"tf_examples.exercises.specs.{name}").SPEC
    text = (FOLDER / "solutions" / f"{name}.py").read_text(encoding="utf-8")
    return Exercise(entry, spec, text)


def _choose(text: str, conventions: Conventions) -> str:
    """Leaves out the lines of choices not taken, and the tags of those taken."""
    lines = []
    for line in text.splitlines():
        tag = _TAG.search(line)
        if tag and tag[1] in conventions:
            if conventions[tag[1]] != tag[2]:
                continue
            line = line[: tag.start()]
        lines.append(line)
    return "\n".join(lines) + "\n"


def _run(source: str, driver: str, case: Case) -> Any:
    """Our own program's answer to `case` (never a student's: those run in a child)."""
    student: dict[str, Any] = {"__name__": "student"}
    exec(_compiled(source, "<solution>"), student)
    inputs = copy.deepcopy(dict(case.inputs))
    with np.errstate(all="ignore"):
        if not driver:
            return student[case.function](**inputs)
        names: dict[str, Any] = {}
        exec(_compiled(driver, "<driver>"), names)
        return names["answer"](_Module(student), case.function, inputs)


@functools.cache
def _compiled(source: str, name: str) -> types.CodeType:
    return compile(source, name, "exec")


class _Module:
    """A module's names as attributes."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.__dict__ = names
