"""`tf-examples exercises grade` and `release`: what a teacher types."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import rich.console
import rich.progress
import typer

from tf_examples._options import OptionError, at_least
from tf_examples._report import Table
from tf_examples.exercises.catalogue import ENTRIES, NAMES


def grade(
    submissions: Annotated[
        Path, typer.Argument(metavar="SUBMISSIONS", help="A folder or zip.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the grades go.")],
    system: Annotated[
        Literal["folders", "moodle", "canvas"],
        typer.Option("--from", help="A folder or zip a student, or a system's bulk download."),
    ] = "folders",
    exercise: Annotated[
        list[str] | None, typer.Option(help="Grade this one; may be given again. (all)")
    ] = None,
    gradebook: Annotated[
        Path | None,
        typer.Option(help="The CSV that the system exported, to be filled in.", show_default=False),
    ] = None,
    assignment: Annotated[str, typer.Option(help="The gradebook's column (Canvas).")] = "Exercises",
    variants: Annotated[
        Path | None,
        typer.Option(help="variants.csv, as `release` wrote it.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Draws the cases; kept in DIR. (drawn once)")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Submissions at a time. (one a core)")] = None,
    seconds: Annotated[float, typer.Option(help="Allowed for each answer.")] = 10.0,
) -> None:
    """Grade a class. Interrupted, the same command goes on where it stopped."""
    from tf_examples._report import show
    from tf_examples.exercises import _grade, _isolation, _lms, _release
    from tf_examples.exercises.commands import known

    names = [name for name in NAMES if name in map(known, exercise)] if exercise else list(NAMES)
    if not seconds > 0:
        raise OptionError(f"`seconds` must be above 0. Received: seconds={seconds}")
    workers = at_least("workers", (os.cpu_count() or 1) if workers is None else workers, 1)
    chosen = _release.read_variants(variants) if variants else None
    if submissions.is_dir() and out.absolute().is_relative_to(submissions.absolute()):
        raise OptionError(f"{out} lies in {submissions}: name a folder for the grades elsewhere")
    handed_in = _lms.read(submissions, system)
    for line in _isolation.missing_limits():
        print(f"Limit missing: {line}.", file=sys.stderr)
    closed = [submissions.absolute()]
    limits = _isolation.Limits(seconds=seconds)
    seed = None if seed is None else at_least("seed", seed, 0)
    folder = _grade.Class(out, names, seed, chosen, limits, closed)
    most = sum(entry.points for entry in ENTRIES if entry.name in names)
    # Before the work, so that a gradebook that can't be filled in is known at once.
    _lms.gradebook(system, [], most, assignment, gradebook)
    start = time.monotonic()
    with _progress(len(handed_in)) as tell:
        try:
            results = folder.grade(handed_in, workers, tell)
        except KeyboardInterrupt:
            print("\nInterrupted. The same command goes on from here.", file=sys.stderr)
            raise typer.Exit(130) from None
    grades = [_grade.grade_of(*pair) for pair in zip(handed_in, results, strict=True)]
    text = _lms.gradebook(system, grades, most, assignment, gradebook)
    folder.write("grades.csv", text)
    tables = _grade.summary(results)
    folder.write("summary.md", "\n\n".join(map(_markdown, tables)) + "\n")
    for table in tables:
        show(table)
        print()
    for result in results:
        for problem in result.problems:
            print(f"{result.id}: {problem}")
    missing = _lms.without_row(system, grades, gradebook) if gradebook else []
    if missing:
        print(f"Graded, and without a row in the gradebook: {', '.join(missing)}")
    new = sum(not result.reused for result in results)
    print(
        f"{len(results)} submissions, {new} of them graded now in "
        f"{time.monotonic() - start:.0f} s. Points: grades.csv, a results.json a student, "
        f"summary.md, in {out}"
    )


def release(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    variants: Annotated[
        Path | None,
        typer.Option(
            metavar="STUDENTS.csv",
            help="A folder and a variant for each: columns student, Identifier or ID.",
        ),
    ] = None,
    variant_seed: Annotated[
        int | None, typer.Option(help="Draws the variants: another one each year.")
    ] = None,
) -> None:
    """Write the hand-out: files and notebooks, without solutions."""
    from tf_examples.exercises import _release

    if (variants is None) != (variant_seed is None):
        raise OptionError("--variants and --variant-seed go together")
    students = _release.read_students(variants) if variants else None
    _release.release(directory, students, at_least("variant_seed", variant_seed or 0, 0))
    if students:
        print(f"{len(students)} hand-outs written to {directory}; keep variants.csv for `grade`.")
    else:
        print(f"The hand-out is in {directory}: files, or notebooks, whichever a class uses.")


def _markdown(table: Table) -> str:
    def row(cells: Iterable[str]) -> str:
        return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"

    lines = [row(table.columns), row("---" for _ in table.columns), *map(row, table.cells())]
    return "\n".join([f"## {table.title}", "", *lines])


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int, int], None]]:
    """Tells how many are done: by a bar in a terminal, by a line now and then elsewhere."""
    console = rich.console.Console(stderr=True)
    with rich.progress.Progress(
        console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("graded", total=total)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done)
            if not console.is_terminal and done in {total * tenth // 10 for tenth in range(11)}:
                print(f"{done} of {total} graded", file=sys.stderr, flush=True)

        yield tell
