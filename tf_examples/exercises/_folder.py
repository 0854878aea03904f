"""A student's folder: one file an exercise, and how far the student has come."""

import ast
import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np

from tf_examples._options import OptionError
from tf_examples._report import write_whole
from tf_examples.exercises import _exercise
from tf_examples.exercises.catalogue import ENTRIES, NAMES

PROGRESS = ".exercises.json"
"""The file that makes a folder a student's: its variant, and what was passed, hinted and shown."""

_README = """\
# Exercises

One file an exercise. Each says at its top what to write, and has a TODO where to write it. In this
folder:

    tf-examples exercises list                 how far you are, and what comes next
    tf-examples exercises check NAME           is it right? If not: where, and perhaps why
    tf-examples exercises hint NAME            the next hint
    tf-examples exercises watch                checks whenever you save
    tf-examples exercises solution NAME        once yours passes
    tf-examples exercises reset NAME           starts it again; yours is kept beside it

{table}
"""


def conventions(name: str, variant: int | None) -> dict[str, str]:
    """The conventions of exercise `name`: the usual ones, or those drawn for `variant`."""
    rng = None if variant is None else np.random.default_rng([variant, NAMES.index(name)])
    return _exercise.load(name).conventions(rng)


def stub(name: str, variant: int | None) -> str:
    """The text that exercise `name` starts from."""
    return _exercise.load(name).stub(conventions(name, variant))


def student_files(variant: int | None) -> dict[str, str]:
    """The files of a student's folder, by name; nothing of the solutions is in them."""
    files = {f"{name}.py": stub(name, variant) for name in NAMES}
    rows = [f"| {e.name} | {e.title} | {e.section} | {e.points} | {e.minutes} |" for e in ENTRIES]
    head = ["| file | what | notebook | points | minutes |", "|---|---|---|---|---|"]
    files["README.md"] = _README.format(table="\n".join(head + rows))
    files[PROGRESS] = json.dumps({"variant": variant}) + "\n"
    return files


@dataclasses.dataclass
class Folder:
    """A student's folder, opened."""

    path: Path
    variant: int | None = None
    passed: dict[str, str] = dataclasses.field(default_factory=dict)
    """The digest of each file as it was when it passed."""
    hints: dict[str, int] = dataclasses.field(default_factory=dict)
    """How many hints were read."""
    shown: list[str] = dataclasses.field(default_factory=list)
    """Exercises whose solution was shown before they were passed."""

    @classmethod
    def start(cls, path: Path, variant: int | None) -> "Folder":
        """Writes a new folder, all of it or nothing.

        Raises:
            OptionError: where `path` holds something already, or can't be written.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise OptionError(
                f"{path} is there and not empty: name a new folder, or `reset NAME` in that one"
            )
        files = student_files(variant)
        try:
            path.mkdir(parents=True, exist_ok=True)
            progress = files.pop(PROGRESS)
            for name, text in files.items():
                write_whole(path / name, text.encode())
            write_whole(path / PROGRESS, progress.encode())  # last: now it is a student's folder
        except OSError as error:
            raise OptionError(f"can't write {path}: {error.strerror or error}") from error
        return cls(path, variant)

    @classmethod
    def open(cls, path: Path) -> "Folder":
        """The folder `path`, or the nearest one above it that is a student's.

        Raises:
            OptionError: where there is none, or its progress can't be read.
        """
        for folder in (path.absolute(), *path.absolute().parents):
            if not (folder / PROGRESS).is_file():
                continue
            try:
                kept = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
                if not isinstance(kept, dict):
                    raise ValueError("it is not a JSON object")
                known = {field.name for field in dataclasses.fields(cls)} - {"path"}
                opened = cls(folder, **{key: kept[key] for key in known & set(kept)})
                opened._check()
            except (OSError, ValueError, TypeError, AttributeError) as error:
                raise OptionError(
                    f"{folder / PROGRESS} can't be read ({error}). Delete it and run "
                    "`tf-examples exercises start` into a new folder; your files stay as they are"
                ) from error
            return opened
        raise OptionError(
            f"{path.absolute()} holds no exercises: `tf-examples exercises start DIR` writes "
            "them; --folder names them from elsewhere"
        )

    def _check(self) -> None:
        if not (self.variant is None or isinstance(self.variant, int)):
            raise ValueError(f"variant must be a whole number, and is {self.variant!r}")
        kinds = (self.passed, dict), (self.hints, dict), (self.shown, list)
        if not all(isinstance(value, kind) for value, kind in kinds):
            raise ValueError("its entries have the wrong form")

    def save(self) -> None:
        """Writes the progress, whole."""
        kept = dataclasses.asdict(self)
        del kept["path"]
        write_whole(self.path / PROGRESS, (json.dumps(kept, indent=1) + "\n").encode())

    def file(self, name: str) -> Path:
        """The file of exercise `name`: NAME.py, or NAME.ipynb where only that is there."""
        script, notebook = (self.path / f"{name}{form}" for form in (".py", ".ipynb"))
        return notebook if notebook.is_file() and not script.is_file() else script

    def content(self, name: str) -> bytes | None:
        """The student's program for exercise `name`; None where there is no file.

        Raises:
            OptionError: for a notebook that is none.
        """
        path = self.file(name)
        try:
            return program(path.name, path.read_bytes())
        except OSError:
            return None
        except ValueError as error:
            raise OptionError(f"{error}: save it again, or reset {name}") from error

    def stub(self, name: str) -> str:
        """The text that exercise `name` starts from in this folder."""
        return stub(name, self.variant)

    def state(self, name: str) -> str:
        """One of "passed", "changed" (passed once, edited since), "begun", "new", "missing"."""
        try:
            content = self.content(name)
        except OptionError:
            return "begun"
        if content is None:
            return "missing"
        if name in self.passed:
            return "passed" if self.passed[name] == _digest(content) else "changed"
        return "new" if _code(content) == _code(self.stub(name).encode()) else "begun"

    def at_hand(self) -> str | None:
        """The first exercise that is not passed; None at the end."""
        return next((name for name in NAMES if self.state(name) != "passed"), None)

    def mark_passed(self, name: str, content: bytes) -> None:
        """Remembers that exercise `name` passed with this content."""
        self.passed[name] = _digest(content)
        self.save()

    def mark_shown(self, name: str) -> None:
        """Remembers that the solution was shown before exercise `name` passed."""
        self.shown = sorted({*self.shown, name})
        self.save()

    def next_hint(self, name: str) -> tuple[int, str]:
        """The number (from 1) and text of the next hint; the last one again at the end."""
        hints = _exercise.load(name).spec.hints
        number = min(self.hints.get(name, 0) + 1, len(hints))
        self.hints[name] = number
        self.save()
        return number, hints[number - 1]

    def reset(self, name: str) -> Path | None:
        """Writes the stub again; returns where the student's file is kept, if there was one."""
        from tf_examples.exercises._release import notebook

        kept, file, text = None, self.file(name), self.stub(name)
        if file.is_file() and self.state(name) != "new":
            numbers = range(1, 1_000_000)
            names = (file.with_name(f"{name}.before-reset-{n}{file.suffix}") for n in numbers)
            kept = next(path for path in names if not path.exists())
            write_whole(kept, file.read_bytes())
        if file.suffix == ".ipynb":
            text = notebook(_exercise.load(name).entry, text)
        write_whole(file, text.encode())
        self.passed.pop(name, None)
        self.save()
        return kept


def program(file_name: str, content: bytes) -> bytes:
    """The Python program in a student's file: of a notebook, the code of its cells.

    Raises:
        ValueError: for a notebook that is none.
    """
    if not file_name.endswith(".ipynb"):
        return content
    try:
        cells = json.loads(content.decode("utf-8-sig"))["cells"]
        codes = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        codes = [code for code in codes if not code.lstrip().startswith("%%")]
    except (UnicodeDecodeError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{file_name} is no notebook") from error
    lines = "\n\n".join(codes).splitlines()
    kept = [
        line
        for line in lines
        if not (line.lstrip().startswith(("%", "!")) or line.rstrip().endswith("?"))
    ]
    return ("\n".join(kept) + "\n").encode()


def _code(content: bytes) -> str | None:
    """What a program says to Python, without its text; None where it can't be read."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return None
    if ast.get_docstring(tree) is not None:
        del tree.body[0]
    return ast.dump(tree)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()
