"""The hand-out: a student's folder as files and as notebooks, without any solution."""

import ast
import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import nbformat

from tf_examples._options import OptionError
from tf_examples._report import write_whole
from tf_examples.exercises import _folder
from tf_examples.exercises._lms import number
from tf_examples.exercises.catalogue import ENTRIES, Entry

KEYS = ("student", "Identifier", "ID")
"""The column that names a student: in a list of one's own, in Moodle's worksheet, in Canvas's."""


def files(variant: int | None) -> dict[str, str]:
    """The hand-out of one variant: relative path to text."""
    scripts = {f"files/{name}": text for name, text in _folder.student_files(variant).items()}
    folder = {
        f"notebooks/{name}": text
        for name, text in _folder.student_files(variant).items()
        if not name.endswith(".py")
    }
    books = {
        f"notebooks/{entry.name}.ipynb": notebook(entry, _folder.stub(entry.name, variant))
        for entry in ENTRIES
    }
    return scripts | folder | books


def notebook(entry: Entry, stub: str) -> str:
    """The exercise as a notebook: its text, the cell to be filled in, and how to check it.

    The cell carries nbgrader's metadata (schema 3), so that the notebook can be collected by it.
    """
    docstring = ast.get_docstring(ast.parse(stub)) or ""
    end = ast.parse(stub).body[0].end_lineno or 0
    code = "\n".join(stub.splitlines()[end:]).strip()
    solution = {"schema_version": 3, "grade_id": entry.name, "grade": False, "solution": True,
                "locked": False, "task": False}  # fmt: skip
    head = f"# {entry.title}\n\n{entry.points} points, about {entry.minutes} minutes; "
    head += f"notebook `{entry.section}`.\n\n```text\n{docstring}\n```"
    tell = (
        f"Save the notebook, then in its folder: `tf-examples exercises check {entry.name}`\n\n"
        f"The check runs every code cell in order, with {', '.join(entry.needs)} and the standard "
        "library: delete trials and plots first."
    )
    new = nbformat.v4
    cells = [
        new.new_markdown_cell(head),
        new.new_code_cell(code, metadata={"nbgrader": solution}),
        new.new_markdown_cell(tell),
    ]
    for number_of_cell, cell in enumerate(cells):
        cell["id"] = f"cell-{number_of_cell}"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.writes(new.new_notebook(cells=cells, metadata=kernel)) + "\n"


def release(directory: Path, students: Sequence[str] | None, seed: int) -> None:
    """Writes the hand-out: one for all, or a folder a student with its own variant.

    Args:
        directory: new, or empty.
        students: who gets a folder; None for one hand-out with the usual conventions.
        seed: with a student's name, draws the variant; `variants.csv` keeps it.

    Raises:
        OptionError: where `directory` is not empty, or can't be written.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise OptionError(f"{directory} is there and not empty: name a new folder")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if students is None:
            _write(directory, files(None))
            return
        rows = [("student", "variant")]
        for student in students:
            variant = variant_of(student, seed)
            _write(directory / student, files(variant))
            rows.append((student, str(variant)))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_whole(directory / "variants.csv", text.getvalue().encode())
        (directory / "variants.csv").chmod(0o600)
    except OSError as error:
        raise OptionError(f"can't write {directory}: {error.strerror or error}") from error


def variant_of(student: str, seed: int) -> int:
    """The student's variant: a number that the name and the seed give, and nobody guesses."""
    digest = hashlib.sha256(f"{seed}\n{student}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def read_students(path: Path) -> list[str]:
    """The students of a CSV, from its column `student`, `Identifier` (Moodle) or `ID` (Canvas).

    Raises:
        OptionError: where there is no such column, or a name that can't be a folder's.
    """
    rows, key = _read(path)
    students = [number(row[key]) if key == "Identifier" else row[key] for row in rows]
    students = [student for student in students if student]
    for student in students:
        if student.startswith(".") or set(student) & set('/\\:*?"<>|\0'):
            raise OptionError(f"{path}: {student!r} can't be the name of a folder")
    twice = {student for student in students if students.count(student) > 1}
    if twice or not students:
        raise OptionError(f"{path} names {'twice ' + min(twice) if twice else 'no students'}")
    return students


def read_variants(path: Path) -> dict[str, int]:
    """The variants that `release` wrote, by student.

    Raises:
        OptionError: where the file is not of that form.
    """
    rows, key = _read(path)
    try:
        return {row[key]: int(row["variant"]) for row in rows}
    except (KeyError, ValueError, TypeError) as error:
        raise OptionError(
            f"{path} must have columns student,variant, as `release` writes"
        ) from error


def _read(path: Path) -> tuple[list[dict[str, str]], str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            separator = ";" if head.count(";") > head.count(",") else ","  # as spreadsheets save
            reader = csv.DictReader(file, delimiter=separator)
            heads = list(reader.fieldnames or [])
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OptionError(f"{path} can't be read as a CSV in UTF-8: {error}") from error
    for key in KEYS:
        if key in heads:
            return [row for row in rows if row[key]], key
    raise OptionError(f"{path} has none of the columns {', '.join(KEYS)}")


def _write(directory: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
