"""One stem everywhere: a section is a module, a test, a notebook and a row of the README."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

import custom_optimizers
from tf_examples import _notebooks
from tf_examples.sections import NAMES, SECTIONS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NOT_SECTIONS = {"cli", "sections"}


def stems(folder, pattern):
    return {path.stem for path in (ROOT / folder).glob(pattern) if not path.stem.startswith("_")}


def test_every_section_is_a_module_and_every_module_a_section():
    modules = stems("tf_examples", "*.py") - NOT_SECTIONS
    assert modules == set(NAMES), (
        f"{modules ^ set(NAMES)}: a section needs tf_examples/NAME.py and a row in "
        "tf_examples/sections.py; what sections share has a name that starts with an underscore"
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_section_has_its_test_its_notebook_and_its_row_in_the_readme(name):
    for path in (f"tests/tf_examples/test_{name}.py", f"notebooks/{name}.ipynb"):
        assert (ROOT / path).is_file(), f"{path} is missing; `make notebooks` makes notebooks"
    assert f"[{name}](notebooks/{name}.ipynb)" in README, f"give {name} a row in README.md"


def test_there_is_no_notebook_without_a_section():
    extra = stems("notebooks", "*.ipynb") - set(NAMES)
    assert not extra, f"{extra}: delete these notebooks, or name their sections in sections.py"


def test_the_readme_lists_the_sections_in_reading_order_with_their_minutes():
    rows = re.findall(r"^\| \[(\w+)\]\(notebooks/\1\.ipynb\) \| ([^|]+) \| (\d+) \|", README, re.M)
    expected = [(s.name, s.article, str(s.minutes)) for s in SECTIONS]
    assert rows == expected, "copy name, article and minutes from tf_examples/sections.py"


def test_every_optimizer_has_a_file_and_a_test_of_its_name():
    stem = {"RMSprop": "rmsprop", "GradientDescent": "gradient_descent"}
    for name in custom_optimizers.__all__:
        file = stem.get(name, name.lower())
        assert (ROOT / f"custom_optimizers/{file}.py").is_file()
        assert (ROOT / f"tests/custom_optimizers/test_{file}.py").is_file()
        assert f"`{name}`" in README, f"name {name} in README.md"


def imports(path):
    """The full names that a module imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_optimizers_import_no_section_and_tensorflow_in_fused_alone():
    for path in (ROOT / "custom_optimizers").glob("*.py"):
        heads = {name.partition(".")[0] for name in imports(path)}
        allowed = {"tensorflow"} if path.name == "fused.py" else set()
        assert not heads & {"tensorflow", "tf_examples"} - allowed, path.name


def test_a_section_imports_no_other_section():
    for name in NAMES:
        for imported in imports(ROOT / f"tf_examples/{name}.py"):
            head, _, rest = imported.partition(".")
            assert head != "tf_examples" or rest.startswith("_"), f"{name} imports {imported}"


@pytest.mark.parametrize("name", NAMES)
def test_every_notebook_is_its_module_executed_with_its_pictures(name):
    notebook = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4)
    fresh = _notebooks.build(name)
    assert [(c.cell_type, c.id, c.source) for c in notebook.cells] == [
        (c.cell_type, c.id, c.source) for c in fresh.cells
    ], f"notebooks/{name}.ipynb is not what its module says: run `make notebooks`"
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert not [out for out in outputs if out.output_type == "error" or out.get("name") == "stderr"]
    pictures = [out for out in outputs if "image/png" in out.get("data", {})]
    assert pictures, f"notebooks/{name}.ipynb shows no picture"
    assert all(out.metadata["image/png"]["alt"] for out in pictures)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "executed from top to bottom, once"


@pytest.mark.parametrize("form", ["png", "gif"])
def test_the_readme_shows_a_notebooks_picture_with_its_alternative_text(form):
    shown = re.findall(rf"!\[([^\]]+)\]\(notebooks/(\w+)\.{form}\)", README)
    written = {path.stem for path in (ROOT / "notebooks").glob(f"*.{form}")}
    assert {name for _, name in shown} == written
    for alt, name in shown:
        notebook = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4)
        image = (ROOT / f"notebooks/{name}.{form}").read_bytes()
        assert [image] == _notebooks.readme_pictures(notebook, form), "run `make notebooks`"
        assert len(image) < 900_000, "too large for a page"
        alts = [
            output.metadata[f"image/{form}"]["alt"]
            for cell in notebook.cells
            if "readme" in cell.metadata.get("tags", ())
            for output in cell.outputs
            if f"image/{form}" in output.get("data", {})
        ]
        assert [alt] == alts, "copy the picture's alternative text from the notebook"


def test_a_notebook_runs_from_top_to_bottom():
    _notebooks.execute(_notebooks.build("gradient_descent"))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(NAMES) - {"gradient_descent"}))
def test_every_other_notebook_runs_from_top_to_bottom(name):
    _notebooks.execute(_notebooks.build(name))


def test_constraints_are_names_and_versions_and_nothing_else():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines == sorted(lines, key=str.lower)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[\w.]+", line) for line in lines)
