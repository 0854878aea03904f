"""The hand-out: files and notebooks without a line of any solution, variants by student."""

import ast
import os
import stat
from pathlib import Path

import nbformat
import pytest

from tf_examples import cli
from tf_examples._options import OptionError
from tf_examples.exercises import _release
from tf_examples.exercises._exercise import load
from tf_examples.exercises._folder import PROGRESS, Folder, conventions
from tf_examples.exercises.catalogue import NAMES


def bodies(name, variant):
    """The lines of a solution that its stub does not have."""
    exercise = load(name)
    chosen = conventions(name, variant)
    stub = set(exercise.stub(chosen).splitlines())
    return [line.strip() for line in exercise.solution(chosen).splitlines() if line not in stub]


@pytest.mark.parametrize("variant", [None, 5])
def test_no_line_of_a_solution_or_a_case_is_in_the_hand_out(variant):
    handed_out = _release.files(variant)
    for name in NAMES:
        texts = [handed_out[f"files/{name}.py"], handed_out[f"notebooks/{name}.ipynb"]]
        said = ast.get_docstring(ast.parse(texts[0])) or ""
        for line in bodies(name, variant):
            if len(line) <= 12 or line in said:  # a formula of the text
                continue
            assert not any(line in text for text in texts), (name, line)
        for text in texts:
            assert "NotImplementedError" in text
            assert "rng" not in text


def test_the_hand_out_is_a_students_folder_where_the_commands_work(tmp_path, capsys):
    _release.release(tmp_path / "hand", None, 0)
    for kind in ("files", "notebooks"):
        folder = Folder.open(tmp_path / "hand" / kind)
        assert {folder.state(name) for name in NAMES} == {"new"}
        assert cli.main(["exercises", "check", "adam", "--folder", str(folder.path)]) == 1
        assert "Not started" in capsys.readouterr().out


def test_a_solved_notebook_passes(tmp_path, capsys):
    _release.release(tmp_path / "hand", None, 0)
    path = tmp_path / "hand" / "notebooks" / "adam.ipynb"
    book = nbformat.read(path, as_version=4)
    book.cells[1].source = load("adam").solution(conventions("adam", None))
    nbformat.write(book, path)
    assert cli.main(["exercises", "check", "adam", "--folder", str(path.parent)]) == 0
    assert "adam: passed" in capsys.readouterr().out


def test_notebooks_are_valid_and_carry_nbgraders_metadata():
    for name in NAMES:
        text = _release.files(None)[f"notebooks/{name}.ipynb"]
        book = nbformat.reads(text, as_version=4)
        nbformat.validate(book)
        assert [cell.cell_type for cell in book.cells] == ["markdown", "code", "markdown"]
        assert (ast.get_docstring(ast.parse(load(name).stub(conventions(name, None)))) or "") in (
            book.cells[0].source
        )
        ast.parse(book.cells[1].source)
        assert book.cells[1].metadata.nbgrader == {
            "schema_version": 3, "grade_id": name, "grade": False, "solution": True,
            "locked": False, "task": False,
        }  # fmt: skip
        assert not any(cell.get("outputs") for cell in book.cells)


def test_each_student_has_a_variant_of_their_own_that_grade_reads_back(tmp_path):
    students = [f"student{i}" for i in range(6)]
    _release.release(tmp_path / "hand", students, 7)
    variants = _release.read_variants(tmp_path / "hand" / "variants.csv")
    assert list(variants) == students
    texts = set()
    for student in students:
        folder = Folder.open(tmp_path / "hand" / student / "files")
        assert folder.variant == variants[student]
        texts.add("".join(folder.file(name).read_text(encoding="utf-8") for name in NAMES))
    assert len(texts) > 1
    assert _release.variant_of("student0", 7) == variants["student0"]
    assert _release.variant_of("student0", 8) != variants["student0"]


@pytest.mark.skipif(os.name == "nt", reason="no such rights on Windows")
def test_the_list_of_variants_is_the_teachers_alone(tmp_path):
    _release.release(tmp_path / "hand", ["ada"], 7)
    assert stat.S_IMODE((tmp_path / "hand" / "variants.csv").stat().st_mode) == 0o600


LISTS = {
    "a list of one's own": ("student,section\nada,1\nbob,2\n", ["ada", "bob"]),
    "Moodle's worksheet": ("Identifier,Grade\nParticipant 12,\nParticipant 7,\n", ["12", "7"]),
    "Canvas's gradebook": (
        "Student,ID,Section\n    Points Possible,,\n\"Doe, Jo\",678,A\n", ["678"]),
}  # fmt: skip


@pytest.mark.parametrize("what", LISTS)
def test_students_come_from_a_list_or_from_what_a_system_exports(what, tmp_path):
    text, expected = LISTS[what]
    (tmp_path / "list.csv").write_text("\ufeff" + text, encoding="utf-8")
    assert _release.read_students(tmp_path / "list.csv") == expected


BAD_LISTS = {
    "no such column": "name\nada\n",
    "nobody": "student\n",
    "twice the same": "student\nada\nada\n",
    "a path": "student\n../ada\n",
    "a hidden name": "student\n.ssh\n",
}


@pytest.mark.parametrize("what", BAD_LISTS)
def test_a_list_that_cannot_be_used_is_refused_before_anything_is_written(what, tmp_path, capsys):
    (tmp_path / "list.csv").write_text(BAD_LISTS[what], encoding="utf-8")
    words = ["--variants", str(tmp_path / "list.csv"), "--variant-seed", "1"]
    assert cli.main(["exercises", "release", str(tmp_path / "hand"), *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "hand").exists()


def test_a_seed_without_a_list_is_refused(tmp_path, capsys):
    assert cli.main(["exercises", "release", str(tmp_path / "hand"), "--variant-seed", "1"]) == 2
    assert "go together" in capsys.readouterr().err


def test_release_writes_over_nothing(tmp_path):
    Path(tmp_path / "x").touch()
    with pytest.raises(OptionError, match="not empty"):
        _release.release(tmp_path, None, 0)


def test_a_spoilt_list_of_variants_is_named(tmp_path):
    (tmp_path / "variants.csv").write_text("student,variant\nada,x\n", encoding="utf-8")
    with pytest.raises(OptionError, match="columns student,variant"):
        _release.read_variants(tmp_path / "variants.csv")


def test_progress_is_part_of_each_hand_out():
    assert {f"{kind}/{PROGRESS}" for kind in ("files", "notebooks")} <= set(_release.files(None))
