"""Builds the notebooks from their modules: `python -m tf_examples._notebooks [SECTION ...]`.

A section is written as cells (`# %%`). Cells tagged `module-only` stay in the module; what a cell
has under `if __name__ == "__main__":` stands plain in the notebook, and is executed there. The
picture of a cell tagged `readme` is written beside the notebook, too, and so is its animation. The
last cell names the exercises that belong to the section.
"""

import ast
import base64
import sys
import textwrap
from pathlib import Path

import jupytext
import nbclient
import nbformat

from tf_examples._report import track, write_whole
from tf_examples.exercises.catalogue import ENTRIES
from tf_examples.sections import NAMES

MODULES = Path(__file__).parent
NOTEBOOKS = MODULES.parent / "notebooks"


def build(name: str) -> nbformat.NotebookNode:
    """The notebook of a section, not executed."""
    source = (MODULES / f"{name}.py").read_text(encoding="utf-8")
    notebook = jupytext.reads(source, fmt="py:percent")
    cells = [cell for cell in notebook.cells if "module-only" not in cell.metadata.get("tags", ())]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
        if cell.cell_type == "code":
            cell.source = _unguarded(cell.source)
    if exercises := _exercises(name):
        cells.append(nbformat.v4.new_markdown_cell(exercises, id=f"cell-{len(cells)}"))
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def _exercises(name: str) -> str:
    """Says which exercises belong to a section; nothing if none does."""
    own = [entry for entry in ENTRIES if entry.section == name]
    if not own:
        return ""
    lines = [f"- `{e.name}`, {e.minutes} minutes: {e.title}" for e in own]
    start = "`tf-examples exercises start my_exercises` writes them all, and checks what you write:"
    return "\n".join(["## Exercises", "", start, "", *lines])


def execute(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Runs a notebook from top to bottom and keeps its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: for the first cell that fails.
    """
    client = nbclient.NotebookClient(
        notebook, kernel_name="python3", record_timing=False, timeout=600
    )
    client.execute()
    notebook.metadata.language_info = {"name": "python"}  # the kernel adds its version
    for cell in notebook.cells:  # what libraries print as they load is not the reader's concern
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    return notebook


def readme_pictures(notebook: nbformat.NotebookNode, form: str = "png") -> list[bytes]:
    """The pictures in the outputs of cells tagged `readme`; `form` is "png" or "gif"."""
    return [
        base64.b64decode(output.data[f"image/{form}"])
        for cell in notebook.cells
        if "readme" in cell.metadata.get("tags", ())
        for output in cell.outputs
        if f"image/{form}" in output.get("data", {})
    ]


def _unguarded(source: str) -> str:
    """Takes the body out of a cell's `if __name__ == "__main__":`, comments and all."""
    lines = source.splitlines()
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'":
            end = node.end_lineno or node.lineno
            body = textwrap.dedent("\n".join(lines[node.lineno : end]))
            lines[node.lineno - 1 : end] = body.splitlines()
    return "\n".join(lines)


def main(names: list[str]) -> None:
    """Builds and executes the named notebooks, or all."""
    for name in track(names or list(NAMES), "Executing notebooks"):
        notebook = execute(build(name))
        write_whole(NOTEBOOKS / f"{name}.ipynb", (nbformat.writes(notebook) + "\n").encode())
        for form in ("png", "gif"):
            for image in readme_pictures(notebook, form):
                write_whole(NOTEBOOKS / f"{name}.{form}", image)


if __name__ == "__main__":
    main(sys.argv[1:])
