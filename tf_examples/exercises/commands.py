"""`tf-examples exercises`: what a student types. What a teacher types: `grading_commands`."""

import difflib
import secrets
import shutil
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tf_examples._options import OptionError, at_least
from tf_examples.exercises.catalogue import ENTRIES, NAMES

Name = Annotated[str, typer.Argument(help="The exercise: see `list`.", show_default=False)]
In = Annotated[
    Path, typer.Option("--folder", help="The folder that `start` wrote, or one inside of it.")
]
HERE = Path()
COMMAND = "tf-examples exercises"


def app() -> typer.Typer:
    """The commands on exercises."""
    commands = typer.Typer(help="Exercises that check themselves; `start DIR` begins.")
    from tf_examples.exercises.grading_commands import grade, release

    for command in (start, list_, check, hint, solution, reset, watch, grade, release):
        commands.command(command.__name__.rstrip("_"))(command)
    return commands


def start(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    variant: Annotated[
        int | None,
        typer.Option(help="Draws conventions (such as the place of epsilon) of your own."),
    ] = None,
) -> None:
    """Write your folder: one file an exercise."""
    from tf_examples.exercises._folder import Folder

    folder = Folder.start(directory, None if variant is None else at_least("variant", variant, 0))
    print(f"{len(NAMES)} exercises written to {folder.path}.")
    _say_what_is_next(folder)
    print(f"Then: cd {folder.path}, and {COMMAND} check {NAMES[0]}")


def list_(folder: In = HERE) -> None:
    """Show how far you are, and what comes next."""
    from tf_examples._report import Table, show
    from tf_examples.exercises._folder import Folder

    opened = Folder.open(folder)
    words = {
        "passed": "passed", "changed": "passed, then edited", "begun": "begun", "new": "",
        "missing": "file missing",
    }  # fmt: skip
    rows = [(e.name, e.section, e.points, e.minutes, words[opened.state(e.name)]) for e in ENTRIES]
    earned = sum(e.points for e in ENTRIES if opened.state(e.name) == "passed")
    title = f"{earned} of {sum(e.points for e in ENTRIES)} points"
    columns = ("exercise", "notebook", "points", "min", "")
    show(Table(title, columns, ("", "", "d", "d", ""), rows))
    _say_what_is_next(opened)


def check(
    name: Annotated[
        str | None, typer.Argument(help="The exercise; all that were begun if not given.")
    ] = None,
    folder: In = HERE,
    seed: Annotated[
        int | None, typer.Option(help="Draws the cases; fresh ones if not given.")
    ] = None,
) -> None:
    """Is it right? If not: where, and perhaps why. Exit status 1 where something is not."""
    from tf_examples.exercises._folder import Folder

    opened = Folder.open(folder)
    if name is not None:
        names: Sequence[str] = [known(name)]
    else:
        names = [name for name in NAMES if opened.state(name) not in ("new", "missing")]
    if not names:
        print("Nothing was begun yet.")
    if not _check(opened, names, None if seed is None else at_least("seed", seed, 0)):
        if not names:
            _say_what_is_next(opened)
        raise typer.Exit(1)
    _say_what_is_next(opened)


def hint(name: Name, folder: In = HERE) -> None:
    """Show the next hint."""
    from tf_examples.exercises import _exercise
    from tf_examples.exercises._folder import Folder

    opened = Folder.open(folder)
    number, text = opened.next_hint(known(name))
    of = len(_exercise.load(name).spec.hints)
    print(textwrap.fill(f"Hint {number} of {of}: {text}", shutil.get_terminal_size().columns))
    if number == of:
        print(f"That was the last one. {COMMAND} solution {name} --show-anyway shows ours.")


def solution(
    name: Name,
    folder: In = HERE,
    show_anyway: Annotated[
        bool, typer.Option("--show-anyway", help="Before yours passes.")
    ] = False,
) -> None:
    """Show our solution, once yours passes."""
    from tf_examples.exercises import _exercise
    from tf_examples.exercises._folder import Folder, conventions

    opened = Folder.open(folder)
    if known(name) not in opened.passed:
        if not show_anyway:
            print(f"{name} has not passed yet: {COMMAND} hint {name}, or --show-anyway.")
            raise typer.Exit(1)
        opened.mark_shown(name)
    print(_exercise.load(name).solution(conventions(name, opened.variant)), end="")


def reset(name: Name, folder: In = HERE) -> None:
    """Start an exercise again; your file is kept beside it."""
    from tf_examples.exercises._folder import Folder

    opened = Folder.open(folder)
    kept = opened.reset(known(name))
    file = opened.file(known(name)).name
    print(f"{file} is as it was at the start." + (f" Yours: {kept}" if kept else ""))


def watch(folder: In = HERE) -> None:
    """Check an exercise whenever its file is saved. Ctrl-C ends it."""
    from tf_examples.exercises._folder import Folder

    opened = Folder.open(folder)
    print(f"Watching {opened.path}: save a file, and it is checked. Ctrl-C ends.", flush=True)
    _say_what_is_next(opened)
    seen = saved_files(opened)
    try:
        while opened.at_hand():
            time.sleep(0.3)
            now = saved_files(opened)
            for name in [name for name in NAMES if now[name] and now[name] != seen[name]]:
                print(f"\n{time.strftime('%H:%M:%S')}")
                try:
                    if _check(opened, [name], None):
                        _say_what_is_next(opened)
                except OptionError as error:  # a notebook that is none yet
                    print(error)
            seen = now
    except KeyboardInterrupt:
        print()


def saved_files(folder) -> dict[str, tuple[int, int] | None]:
    """When each exercise's file was saved, and its size; None where there is none."""

    def stamp(path: Path) -> tuple[int, int] | None:
        try:
            status = path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size

    return {name: stamp(folder.file(name)) for name in NAMES}


def known(name: str) -> str:
    """`name` (or the name of its file), if it is an exercise's.

    Raises:
        OptionError: names the nearest.
    """
    stem = Path(name).name.removesuffix(".py").removesuffix(".ipynb")
    if stem in NAMES:
        return stem
    near = difflib.get_close_matches(stem, NAMES, 1)
    meant = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(NAMES)}"
    raise OptionError(f"there is no exercise {name!r}. {meant}")


def _check(folder, names: Sequence[str], seed: int | None) -> bool:
    """Checks and tells; whether there was something, and all of it passed."""
    from tf_examples.exercises import _check as checker
    from tf_examples.exercises._folder import conventions

    drawn = secrets.randbelow(10**9) if seed is None else seed
    contents = {name: folder.content(name) for name in names}
    verdicts = checker.check(
        contents,
        {name: conventions(name, folder.variant) for name in names},
        drawn,
    )
    failed = [verdict for verdict in verdicts if not verdict.passed]
    for verdict in verdicts:
        name = verdict.exercise
        if verdict.passed:
            folder.mark_passed(name, contents[name] or b"")
            print(f"{name}: passed, {verdict.points} points. Ours: {COMMAND} solution {name}")
        elif verdict is not failed[0]:
            print(f"{name}: not yet.")
    if failed:
        first = failed[0]
        print(f"{first.exercise}: not yet.\n{first.message}")
        if first.printed:
            print(f"It printed:\n{first.printed.rstrip()}")
        if first.case:
            print(f"The same numbers again: {COMMAND} check {first.exercise} --seed {drawn}")
        print(f"A hint: {COMMAND} hint {first.exercise}")
    return bool(verdicts) and not failed


def _say_what_is_next(folder) -> None:
    name = folder.at_hand()
    if name is None:
        print("All exercises are passed.")
        return
    entry = next(entry for entry in ENTRIES if entry.name == name)
    print(f"Next: {entry.title} (about {entry.minutes} minutes), in {folder.file(name)}")
