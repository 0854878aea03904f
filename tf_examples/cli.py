"""The command `tf-examples`: a section, and with it TensorFlow, is imported when asked for."""

import contextlib
import difflib
import importlib
import inspect
import os
import re
import sys
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tf_examples._options import OptionError, RunError
from tf_examples.sections import NAMES, SECTIONS, Section

Figure = Annotated[
    Path | None,
    typer.Option(
        help="Save the picture: .png, .svg or .pdf; .gif where it moves.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and only that.")]
Quick = Annotated[bool, typer.Option("--quick", help="Smaller settings: seconds, not minutes.")]
Report = Annotated[
    Path | None,
    typer.Option(help="Write tables and pictures to one HTML page.", show_default=False),
]


class _RefusalError(Exception):
    """A line for stderr: what was mistyped (exit status 2)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status.

    0: done. 1: a run that diverged or can't go on. 2: something mistyped, said in one line on
    stderr. 130: interrupted.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = words[1] if words[:1] == ["run"] and len(words) > 1 else None
    command = typer.main.get_command(_app(chosen, exercises=words[:1] == ["exercises"]))
    try:
        return command(words or ["--help"], prog_name="tf-examples", standalone_mode=False) or 0
    except typer.exceptions.TyperException as error:
        message = error.format_message().replace("Value error, ", "")
        if message.startswith("No such command") and "Did you mean" not in message:
            message += f" There are: {', '.join(_commands(words))}."
        return _fail(message, 2)
    except (_RefusalError, OptionError) as error:
        return _fail(str(error), 2)
    except (FloatingPointError, RunError) as error:
        return _fail(str(error), 1)


def _commands(words: Sequence[str]) -> list[str]:
    """What could have been typed in the place of `words`."""
    if words[:1] == ["exercises"]:
        from tf_examples.exercises import commands

        return [command.name or "" for command in commands.app().registered_commands]
    return ["list", "estimate", "exercises", "run all", *(f"run {name}" for name in NAMES)]


def _fail(message: str, status: int) -> int:
    print(f"tf-examples: {' '.join(message.split())}", file=sys.stderr)
    return status


def _app(chosen: str | None, exercises: bool) -> typer.Typer:
    """The commands; of the sections, only the chosen one is imported, for its options.

    Args:
        exercises: whether to import the commands on exercises.
    """
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        help="How large models are trained: each section of the article as a program.",
    )
    run = typer.Typer(help="Run a section, or all of them.")
    app.command("list")(_list)
    app.command("estimate")(_estimate_command())
    app.add_typer(run, name="run")
    for section in SECTIONS:
        command = _section_command(section) if section.name == chosen else _placeholder
        run.command(section.name, help=section.shows)(command)
    run.command("all")(_run_all)
    if exercises:
        from tf_examples.exercises import commands

        app.add_typer(commands.app(), name="exercises")
    else:
        shows = "Exercises that check themselves, and their grader."
        app.command("exercises", help=shows)(_placeholder)
    return app


def _list() -> None:
    """Show the sections in reading order."""
    from tf_examples._report import Table, show

    rows = [(s.name, s.article, s.minutes, s.shows) for s in SECTIONS]
    columns = ("section", "article", "min", "shows")
    show(Table("Sections, in reading order", columns, ("", "", "d", ""), rows))


def _estimate_command() -> Callable[..., None]:
    """The command `estimate`: the options of `_estimate.answer`, `--figure` and `--json`."""
    from tf_examples import _estimate

    def command(*, figure: Figure, as_json: Json, **options: Any) -> None:
        form = _check_figure(figure, moves=False)
        if figure and not options["config"]:
            raise _RefusalError("--figure needs a model: tf-examples estimate CONFIG --figure FILE")
        try:
            result = _estimate.answer(**options)
        except OptionError as error:
            raise _RefusalError(f"estimate: {error}") from error
        _print(result, as_json)
        if figure:
            _write(figure, result.figure().encoded(form))

    own = inspect.signature(_estimate.answer).parameters.values()
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, default, kind in (("figure", None, Figure), ("as_json", False, Json))
    ]
    command.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
    command.__doc__ = _estimate.answer.__doc__
    return command


def _placeholder() -> None:
    """Stands for a command that was not asked for."""


def _section_command(section: Section) -> Callable[..., None]:
    """A command whose options are those of the section's `run`, and the four of every section."""
    module = _load(section)
    helps = _argument_helps(module.run)
    signature = inspect.signature(module.run, eval_str=True)
    moves = hasattr(signature.return_annotation, "animation")
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,  # so that an option that was typed can be told from a default
            annotation=Annotated[
                parameter.annotation | None,
                typer.Option(help=f"{helps.get(name, '')} ({parameter.default} if not given)"),
            ],
        )
        for name, parameter in signature.parameters.items()
    ]

    def command(
        *, figure: Figure, as_json: Json, quick: Quick, report: Report, **options: Any
    ) -> None:
        form = _check_figure(figure, moves)
        _check_path(report)
        typed = {name: value for name, value in options.items() if value not in (None, [])}
        settings = (module.QUICK if quick else {}) | typed
        seconds, result = _run(section, module, settings)
        _print(result, as_json)
        if figure:
            drawn = result.animation() if form == "gif" else result.figure()
            _write(figure, drawn.encoded(form))
        if report:
            _write_report(report, [(section, seconds, result)])

    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, default, kind in (
            ("figure", None, Figure),
            ("as_json", False, Json),
            ("quick", False, Quick),
            ("report", None, Report),
        )
    ]
    command.__signature__ = inspect.Signature(parameters + common)  # type: ignore[attr-defined]
    return command


def _run_all(
    quick: Quick = False,
    seed: Annotated[int, typer.Option(help="Seeds every section.")] = 0,
    as_json: Json = False,
    report: Report = None,
) -> None:
    """Run every section in reading order."""
    _check_path(report)
    done = []
    for section in SECTIONS:
        print(f"tf-examples: {section.name}: {section.shows}", file=sys.stderr, flush=True)
        module = _load(section)
        seconds, result = _run(section, module, (module.QUICK if quick else {}) | {"seed": seed})
        done.append((section, seconds, result))
        if not as_json:
            _print(result, as_json)
    if as_json:
        from tf_examples._report import to_json

        print(to_json({section.name: result for section, _, result in done}))
    if report:
        _write_report(report, done)


def _load(section: Section) -> types.ModuleType:
    """Imports a section, without what TensorFlow says of the machine as it starts."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 2)
    try:
        module = importlib.import_module(f"tf_examples.{section.name}")
        tensorflow = importlib.import_module("tensorflow")
        cpu = tensorflow.config.list_physical_devices("CPU")[0]
        with contextlib.suppress(RuntimeError):  # it has started, and is split
            # For the section with replicas: once TensorFlow has started, it is too late.
            parts = [tensorflow.config.LogicalDeviceConfiguration()] * 2
            tensorflow.config.set_logical_device_configuration(cpu, parts)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    # It takes a graph for each of several optimizers for one that is traced again and again.
    tensorflow.get_logger().setLevel("ERROR")
    return module


def _run(section: Section, module: types.ModuleType, settings: dict) -> tuple[float, Any]:
    start = time.perf_counter()
    try:
        result = module.run(**settings)
    except OptionError as error:
        raise _RefusalError(f"{section.name}: {error}") from error
    except FloatingPointError as error:
        raise FloatingPointError(f"{section.name}: {error}") from error
    except RunError as error:
        raise RunError(f"{section.name}: {error}") from error
    return time.perf_counter() - start, result


def _print(result: Any, as_json: bool) -> None:
    from tf_examples._report import show, to_json

    print(to_json(result)) if as_json else show(result.table())


def _write_report(path: Path, done: Sequence[tuple[Section, float, Any]]) -> None:
    from tf_examples._report import page

    parts = [
        (s.name, f"{s.shows}. Article {s.article}; computed in {seconds:.1f} s.", result)
        for s, seconds, result in done
    ]
    _write(path, page("How large models are trained, in small", parts).encode())


def _check_figure(path: Path | None, moves: bool) -> str:
    """The form that the name asks for, if it can be written there; .gif only of what moves."""
    forms = ("png", "svg", "pdf", "gif") if moves else ("png", "svg", "pdf")
    form = path.suffix[1:].lower() if path else "png"
    if path and form not in forms:
        nearest = (difflib.get_close_matches(form, forms, 1) or ["png"])[0]
        meant = path.with_suffix(f".{nearest}") if path.name else f"picture.{nearest}"
        why = "There is no animation of this: " if form == "gif" else ""
        said = f".{', .'.join(forms[:-1])} or .{forms[-1]}"
        raise _RefusalError(f"{why}{path} must end in {said}. Did you mean {meant}?")
    _check_path(path)
    return form


def _check_path(path: Path | None) -> None:
    from tf_examples._report import check_writable

    try:
        if path:
            check_writable(path)
    except OSError as error:
        raise _RefusalError(f"can't write {path}: {error.strerror or error}") from error


def _write(path: Path, content: bytes) -> None:
    from tf_examples._report import write_whole

    try:
        write_whole(path, content)
    except OSError as error:
        raise _RefusalError(f"can't write {path}: {error.strerror or error}") from error
    print(f"tf-examples: written to {path.absolute()}", file=sys.stderr)


def _argument_helps(function: Callable[..., Any]) -> dict[str, str]:
    """The lines below "Args:" in a docstring, by argument."""
    _, _, arguments = (inspect.getdoc(function) or "").partition("Args:\n")
    arguments = arguments.partition("\n\n")[0]
    entries = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", arguments, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}
