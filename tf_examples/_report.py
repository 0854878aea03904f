"""How results reach a reader: tables and pictures in a terminal, a notebook, a page, as JSON."""

import dataclasses
import html
import io
import json
import math
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import rich
import rich.box
import rich.console
import rich.progress
import rich.table
import rich.text

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Table:
    """A table for people: a title, heads with units, rows of text and numbers.

    Args:
        formats: one a column: "" for text, else the format of its numbers, as in ".3f". A None
            in a column of numbers prints as a dash.
    """

    title: str
    columns: tuple[str, ...]
    formats: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]

    def cells(self) -> list[list[str]]:
        """The rows as text, each number in its column's format."""

        def cell(value: Any, form: str) -> str:
            if value is None:
                return "–"
            return format(value, form) if form and not isinstance(value, str) else str(value)

        return [
            [cell(value, form) for value, form in zip(row, self.formats, strict=True)]
            for row in self.rows
        ]

    def __rich_console__(
        self, console: rich.console.Console, options: rich.console.ConsoleOptions
    ) -> rich.console.RenderResult:
        table = rich.table.Table(
            title=rich.text.Text(self.title),
            title_justify="left",
            title_style="bold",
            box=rich.box.SIMPLE_HEAD if console.is_terminal else None,
            pad_edge=False,
        )
        for column, form in zip(self.columns, self.formats, strict=True):
            table.add_column(
                rich.text.Text(column), justify="right" if form else "left", no_wrap=bool(form)
            )
        for row in self.cells():
            table.add_row(*map(rich.text.Text, row))
        yield table

    def html(self) -> str:
        """The table as an HTML fragment."""

        def row(cells: Sequence[str], tag: str) -> str:
            sides = ["right" if form else "left" for form in self.formats]
            filled = zip(sides, map(html.escape, cells), strict=True)
            return "".join(f'<{tag} style="text-align:{s}">{cell}</{tag}>' for s, cell in filled)

        body = "\n".join(f"<tr>{row(cells, 'td')}</tr>" for cells in self.cells())
        return (
            f"<table>\n<caption>{html.escape(self.title)}</caption>\n"
            f"<thead><tr>{row(self.columns, 'th')}</tr></thead>\n"
            f"<tbody>\n{body}\n</tbody>\n</table>"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        plain = io.StringIO()
        rich.console.Console(width=100, file=plain, force_jupyter=False, color_system=None).print(
            self
        )
        return {"text/html": self.html(), "text/plain": plain.getvalue().rstrip()}


def show(*things: Any) -> None:
    """Shows tables, pictures and text where the reader is: in the notebook, or in the terminal.

    In a terminal a picture is its title and its alternative text.
    """
    ipython = sys.modules.get("IPython")
    if ipython and ipython.get_ipython():
        ipython.display.display(*things)
    else:
        rich.console.Console(soft_wrap=False).print(*things, sep="\n")


def track(items: Sequence[Item], description: str) -> Iterator[Item]:
    """Yields `items`; from the third second on a bar on the terminal says how far it is."""
    console = rich.console.Console(stderr=True)
    if not console.is_terminal:
        yield from items
        return
    bar = rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = bar.add_task(description, total=len(items))
    patience = threading.Timer(2, bar.start)
    patience.start()
    try:
        for item in items:
            yield item
            bar.advance(task)
    finally:
        patience.cancel()
        bar.stop()


def to_json(result: Any) -> str:
    """A section's result as JSON: arrays as lists, numbers that are not finite as null."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if hasattr(value, "tolist"):
            return plain(value.tolist())
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return value

    return json.dumps(plain(result), indent=1, ensure_ascii=False, allow_nan=False)


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; background: #fff; }}
h2 {{ margin-top: 3rem; }}
p.meta {{ color: #595959; margin-top: -0.75rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }}
caption {{ text-align: left; white-space: pre-line; font-weight: 600; padding-bottom: 0.3rem; }}
th, td {{ padding: 0.2rem 1rem 0.2rem 0; border-bottom: 1px solid #ddd; }}
img {{ max-width: 100%; height: auto; }}
</style>
<h1>{title}</h1>
{body}
</html>
"""


def page(title: str, parts: Sequence[tuple[str, str, Any]]) -> str:
    """One self-contained HTML page of (heading, line below it, result) parts.

    Each result has `table()` and `figure()`; the pictures stand in the page itself.
    """

    def part(heading: str, line: str, result: Any) -> str:
        return (
            f"<section>\n<h2>{html.escape(heading)}</h2>\n<p class='meta'>{html.escape(line)}</p>\n"
            f"{result.table().html()}\n{result.figure().html()}\n</section>"
        )

    body = "\n".join(part(*each) for each in parts)
    return _PAGE.format(title=html.escape(title), body=body)


def check_writable(path: Path) -> None:
    """Finds out before a long run whether `path` can be written after it.

    Raises:
        OSError: says what is in the way.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} doesn't exist")
    with tempfile.TemporaryFile(dir=path.parent):
        pass


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all: under another name first, renamed when complete."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
