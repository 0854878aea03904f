"""Submissions as learning management systems hand them out, and grades as they take them back.

Moodle: "Download all submissions" gives folders `Full Name_12345_assignsubmission_file_`, or files
whose names begin so; 12345 numbers the participant. Its grading worksheet is taken back with the
columns Identifier ("Participant 12345"), Grade and Last modified (grade)
(mod/assign/feedback/offline/importgradeslib.php). Canvas: "Download submissions" gives files
`lastfirst_LATE_678_9012_adam-1.py`, the user's and the submission's number in their names; its
gradebook is taken back with the columns Student, ID, SIS User ID, SIS Login ID, Section and one a
assignment.
"""

import contextlib
import csv
import io
import itertools
import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from tf_examples._options import OptionError
from tf_examples.exercises._folder import program
from tf_examples.exercises.catalogue import NAMES

System = Literal["folders", "moodle", "canvas"]

_LARGEST_FILE = 1_000_000
_LARGEST_SUBMISSION = 20_000_000
_MOST_FILES = 1_000
"""Bytes and files of one submission: far more than eighteen exercises need."""

# A student chooses the end of a file's name: what counts is the number that comes first.
_MOODLE = re.compile(r"(?P<name>.*?)_(?P<id>\d+)_assignsubmission_[a-z]+_?(?P<file>.*)")
_CANVAS = re.compile(r"(?P<name>[^_]+)_(?:LATE_)?(?P<id>\d+)_(?P<number>\d+)_(?P<file>.+)")
_AGAIN = re.compile(r"-\d+$| ?\(\d+\)$")
"""What Canvas, and a browser, append to the name of a file that was there before."""


@dataclass
class Submission:
    """What one student handed in."""

    key: str
    """Names the student in the system: a folder's name, Moodle's or Canvas's number."""
    name: str
    """The student's name, as the system shows it. Private."""
    files: dict[str, bytes] = field(default_factory=dict)
    """The program for each exercise that was handed in."""
    problems: list[str] = field(default_factory=list)
    """What a teacher should know of it."""
    _depths: dict[str, tuple] = field(default_factory=dict)

    def add(self, path: PurePosixPath, content: bytes, number: int = 0) -> None:
        """Takes a file in, if it is an exercise's; of several the newest, then the topmost."""
        stem = path.stem if path.stem in NAMES else _AGAIN.sub("", path.stem.casefold())
        if path.suffix not in (".py", ".ipynb"):
            return
        if stem not in NAMES:
            if "before-reset" not in stem:
                self.problems.append("a Python file is not named like an exercise")
            return
        try:
            text = program(path.name, content)
        except ValueError as error:
            self.problems.append(str(error))
            return
        unfinished = b"raise NotImplementedError" in text
        rank = (unfinished, -number, path.stem != stem, len(path.parts), path.suffix != ".py")
        if stem in self.files:
            if text != self.files[stem]:
                self.problems.append(f"several files of {stem}: the newest or topmost counts")
            if rank >= self._depths[stem]:
                return
        self.files[stem], self._depths[stem] = text, rank


def read(path: Path, system: System) -> list[Submission]:
    """The submissions in a folder or zip of `system`, ordered by their keys.

    Raises:
        OptionError: where there is nothing that could be one.
    """
    if not path.exists():
        raise OptionError(f"{path} is not there: name the folder or zip of submissions")
    if path.is_file() and not zipfile.is_zipfile(path):
        raise OptionError(f"{path} is neither a folder nor a zip")
    readers = {"folders": _read_folders, "moodle": _read_moodle, "canvas": _read_canvas}
    found = readers[system](path)
    if not found:
        wanted = {
            "folders": "a folder or zip a student",
            "moodle": "names like Full Name_12345_assignsubmission_file_",
            "canvas": "names like lastfirst_678_9012_adam.py",
        }[system]
        others = sorted(set(readers) - {system})
        raise OptionError(
            f"{path} holds no submissions: --from {system} expects {wanted}; "
            f"there is --from {' and --from '.join(others)}"
        )
    return sorted(found, key=lambda submission: submission.key)


def _read_folders(path: Path) -> list[Submission]:
    """One submission a folder or zip in `path`; two of one name count as none."""
    found: dict[str, Submission] = {}
    tops = list(_tops(path))
    for top, files, problems in _unwrapped(*tops[0]) if len(tops) == 1 else tops:
        name = PurePosixPath(top).stem if top.endswith(".zip") else top
        key = unicodedata.normalize("NFC", name)
        if key in found:
            found[key] = Submission(key, key, problems=[
                "two submissions of this name: neither was graded; keep one"])  # fmt: skip
            continue
        found[key] = Submission(key, key, problems=problems)
        for inner, content in files:
            found[key].add(inner, content)
    return list(found.values())


Files = list[tuple[PurePosixPath, bytes]]


def _unwrapped(name: str, files: Files, problems: list[str]) -> list[tuple[str, Files, list[str]]]:
    """Of one folder that holds a class's, those; known by one exercise in several of them."""
    inner: dict[str, Files] = {}
    for path, content in files:
        if len(path.parts) > 1:
            inner.setdefault(path.parts[0], []).append((PurePosixPath(*path.parts[1:]), content))
    stems = [{path.stem for path, _ in own} & set(NAMES) for own in inner.values()]
    is_class = any(one & other for one, other in itertools.combinations(stems, 2))
    if not is_class or any(len(path.parts) == 1 and path.stem in NAMES for path, _ in files):
        return [(name, files, problems)]
    return [(student, own, list(problems)) for student, own in inner.items()]


def _read_moodle(path: Path) -> list[Submission]:
    return _read_named(path, _MOODLE)


def _read_canvas(path: Path) -> list[Submission]:
    return _read_named(path, _CANVAS)


def _read_named(path: Path, pattern: re.Pattern[str]) -> list[Submission]:
    """Submissions whose folders or files carry the student in their names."""
    found: dict[str, Submission] = {}
    doubtful: set[str] = set()
    for top, files, problems in _tops(path):
        match = pattern.fullmatch(top)
        if not match:
            continue
        key = match["id"]
        submission = found.setdefault(key, Submission(key, match["name"]))
        if submission.name != match["name"] or key in doubtful:
            doubtful.add(key)
            said = "two names with this number: neither was graded; look at their files"
            found[key] = Submission(key, submission.name, problems=[said])
            continue
        submission.problems += problems
        number = int(match.groupdict().get("number") or 0)
        for inner, content in files:
            # A file at the top has the student's part before its own name.
            own = PurePosixPath(match["file"]) if str(inner) == top else inner
            submission.add(own, content, number)
    return list(found.values())


def _tops(path: Path) -> Iterator[tuple[str, list[tuple[PurePosixPath, bytes]], list[str]]]:
    """(name, files, problems) of each folder, zip or file at the top of `path`."""
    if path.is_dir():
        for entry in sorted(path.iterdir()):
            if _hidden(entry.name) or entry.is_symlink():
                continue
            files, problems = _unpacked(_from_disk(entry))
            yield entry.name, files, problems
        return
    tops: dict[str, list[tuple[PurePosixPath, bytes | None, str]]] = {}
    with zipfile.ZipFile(path) as archive:
        for inner, content, problem in _from_zip(archive, most=None):
            name = inner.parts[0] if inner.parts else ""
            rest = PurePosixPath(*inner.parts[1:]) if len(inner.parts) > 1 else inner
            tops.setdefault(name, []).append((rest, content, problem))
    for name, entries in sorted(tops.items()):
        files, problems = _unpacked(iter(entries))
        yield name, files, problems


Entry = tuple[PurePosixPath, bytes | None, str]
"""A file's path, its content (None where it was refused), and why it was refused."""


def _unpacked(entries: Iterator[Entry]) -> tuple[list[tuple[PurePosixPath, bytes]], list[str]]:
    """The files of one submission, zips in it opened once; and what was refused."""
    files: list[tuple[PurePosixPath, bytes]] = []
    problems: list[str] = []
    size = 0

    def take(path: PurePosixPath, content: bytes | None, problem: str, nested: bool) -> None:
        nonlocal size
        if content is None:
            problems.append(problem)
            return
        size += len(content)
        if size > _LARGEST_SUBMISSION or len(files) >= _MOST_FILES:
            if "too large" not in problems[-1:]:
                problems.append("too large")
            return
        if path.suffix == ".zip" and not nested:
            try:
                with zipfile.ZipFile(io.BytesIO(content)) as archive:
                    for inner in _from_zip(archive, _MOST_FILES):
                        take(*inner, nested=True)
                        if size > _LARGEST_SUBMISSION:
                            return
            except Exception:  # what zipfile raises of a damaged one has no end
                problems.append("a zip that can't be read")
            return
        files.append((path, content))

    for entry in entries:
        take(*entry, nested=False)
    return files, problems


def _from_disk(path: Path) -> Iterator[Entry]:
    """The files below `path`, or `path` itself; links are not followed."""
    if path.is_file():
        yield PurePosixPath(path.name), *_limited(path)
        return
    for entry in sorted(path.rglob("*")):
        inner = PurePosixPath(entry.relative_to(path).as_posix())
        if any(map(_hidden, inner.parts)):
            continue
        if entry.is_symlink():
            yield inner, None, "a link, which was not followed"
        elif entry.is_file() and not any(parent.is_symlink() for parent in _between(path, entry)):
            yield inner, *_limited(entry)


def _between(top: Path, entry: Path) -> Iterator[Path]:
    for parent in entry.parents:
        if parent == top:
            return
        yield parent


def _limited(path: Path) -> tuple[bytes | None, str]:
    largest = _LARGEST_SUBMISSION if path.suffix == ".zip" else _LARGEST_FILE
    try:
        if path.stat().st_size > largest:
            return None, "a file too large"
        return path.read_bytes(), ""
    except OSError:
        return None, "a file that can't be read"


def _from_zip(archive: zipfile.ZipFile, most: int | None) -> Iterator[Entry]:
    """The files of a zip, none of which can lead out of it: nothing is ever unpacked to disk."""
    for count, info in enumerate(archive.infolist()):
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if most is not None and count >= most:
            yield path, None, "too many files"
            return
        if info.is_dir() or any(map(_hidden, (part for part in path.parts if part != ".."))):
            continue
        if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", info.filename):
            yield _inside(path), None, "a zip with a path that leaves its folder"
        elif stat.S_ISLNK(info.external_attr >> 16):
            yield path, None, "a link, which was not followed"
        elif info.flag_bits & 1:
            yield path, None, "a zip with a password"
        else:
            yield path, *_extracted(archive, info)


def _inside(path: PurePosixPath) -> PurePosixPath:
    """A path without what leads out: only to know whose submission it stood in."""
    return PurePosixPath(*(part for part in path.parts if part not in ("/", "..")))


def _extracted(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[bytes | None, str]:
    largest = _LARGEST_SUBMISSION if info.filename.endswith(".zip") else _LARGEST_FILE
    try:
        with archive.open(info) as file:
            content = file.read(largest + 1)  # whatever the zip says of its size
    except Exception:  # what zipfile raises of a damaged one has no end
        return None, "a zip that can't be read"
    return (None, "a file too large") if len(content) > largest else (content, "")


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


@dataclass(frozen=True)
class Grade:
    """What goes back to the system for one student."""

    submission: Submission
    points: float
    comment: str
    """One line, in our words alone."""


def gradebook(
    system: System,
    grades: Sequence[Grade],
    most: float,
    assignment: str = "Exercises",
    given: Path | None = None,
) -> str:
    """The CSV that `system` takes back.

    Args:
        most: the points that can be had.
        assignment: the head of Canvas's column, as in "Exercises (1234)".
        given: the CSV that the system exported, to be filled in; rows without a submission stay,
            and points are scaled to the maximum that it names.

    Raises:
        OptionError: where `given` is not such a CSV, or has no column to fill in.
    """
    head, rows = _rows(given) if given else ([], [])
    by_key = {grade.submission.key: grade for grade in grades}
    if system == "moodle":
        return _moodle(head, rows, by_key, most)
    if system == "canvas":
        return _canvas(head, rows, by_key, most, assignment)
    if given:
        raise OptionError("--gradebook goes with --from moodle or --from canvas")
    table = [("student", "points", "of", "comment")]
    table += [
        (_cell(g.submission.name), _number(g.points), _number(most), g.comment) for g in grades
    ]
    return _written(table)


def without_row(system: System, grades: Sequence[Grade], given: Path) -> list[str]:
    """The numbers of those who are graded and have no row in the gradebook."""
    head, rows = _rows(given)
    place = head.index("Identifier" if system == "moodle" else "ID")
    there = {number(row[place]) for row in rows}
    return [g.submission.key for g in grades if g.submission.key not in there]


def _scaled(points: float, most: float, maximum: str) -> str:
    """Points out of `most` as points out of `maximum`, where that says a number above 0."""
    with contextlib.suppress(ValueError):
        if float(maximum) > 0:
            return _number(points * float(maximum) / most)
    return _number(points)


def _moodle(
    head: list[str], rows: list[list[str]], grades: Mapping[str, Grade], most: float
) -> str:
    if not head:
        head = ["Identifier", "Full name", "Grade", "Last modified (grade)", "Feedback comments"]
        rows = [
            [f"Participant {key}", _cell(grade.submission.name), "", "-", ""]
            for key, grade in grades.items()
        ]
    for column in ("Identifier", "Grade", "Last modified (grade)"):
        if column not in head:
            raise OptionError(
                f"the grading worksheet has no column {column!r}: download it from Moodle in "
                "English, as CSV"
            )
    for row in rows:
        grade = grades.get(number(row[head.index("Identifier")]))
        if grade:
            maximum = row[head.index("Maximum grade")] if "Maximum grade" in head else ""
            row[head.index("Grade")] = _scaled(grade.points, most, maximum)
            if "Feedback comments" in head:
                row[head.index("Feedback comments")] = grade.comment
    return _written([head, *rows])


def _canvas(
    head: list[str],
    rows: list[list[str]],
    grades: Mapping[str, Grade],
    most: float,
    assignment: str,
) -> str:
    fixed = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
    if not head:
        head = [*fixed, assignment]
        rows = [["    Points Possible", "", "", "", "", _number(most)]]
        rows += [[_cell(g.submission.name), key, "", "", "", ""] for key, g in grades.items()]
    if "ID" not in head or "Student" not in head:
        raise OptionError("the gradebook has no columns 'Student' and 'ID': export it from Canvas")
    if assignment not in head:
        columns = [column for column in head if column not in fixed]
        raise OptionError(
            f"the gradebook has no column {assignment!r}: name one of {', '.join(columns)} "
            "with --assignment"
        )
    student, column = head.index("Student"), head.index(assignment)
    possible = [row[column] for row in rows if row[student].strip() == "Points Possible"]
    for row in rows:
        grade = grades.get(row[head.index("ID")])
        if grade:
            row[column] = _scaled(grade.points, most, possible[0] if possible else "")
    return _written([head, *rows])


def number(text: str) -> str:
    """The number of "Participant 12345"; the text itself where it has no such form."""
    match = re.search(r"\d+$", text)
    return match[0] if match else text


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} can't be read as a CSV in UTF-8: {error}") from error
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    if not rows:
        raise OptionError(f"{path} is empty")
    width = len(rows[0])
    return rows[0], [(row + [""] * width)[:width] for row in rows[1:]]


def _written(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _number(value: float) -> str:
    return f"{value:g}" if value == round(value, 2) else f"{value:.2f}"


def _cell(name: str) -> str:
    """A name that a spreadsheet does not take for a formula."""
    return f"'{name}" if name[:1] in ("=", "+", "-", "@", "\t", "\r") else name
