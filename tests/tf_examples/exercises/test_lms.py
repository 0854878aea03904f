"""Submissions as Moodle, Canvas and a folder hold them, and the CSVs that go back."""

import csv
import io
import json
import os
import stat
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from tf_examples._options import OptionError
from tf_examples.exercises import _lms
from tf_examples.exercises._lms import Grade, Submission, gradebook, read

ADAM = b"def adam(): pass\n"


def zipped(path, files):
    """A zip at `path` of these files: name to content."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def folder(path, files):
    """A folder at `path` of these files."""
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


HOLDERS = [zipped, folder]


@pytest.mark.parametrize("hold", HOLDERS)
def test_a_folder_a_student(hold, tmp_path):
    files = {
        "ada/adam.py": ADAM,
        "ada/notes.txt": b"",
        "bob/deep/er/momentum.py": b"x",
        ".DS_Store": b"",
        "__MACOSX/ada/adam.py": b"",
    }
    found = {s.key: s.files for s in read(hold(tmp_path / "in.zip", files), "folders")}
    assert found == {"ada": {"adam": ADAM}, "bob": {"momentum": b"x"}}


@pytest.mark.parametrize("hold", HOLDERS)
def test_a_zip_a_student(hold, tmp_path):
    inner = zipped(tmp_path / "ada.zip", {"work/adam.py": ADAM}).read_bytes()
    (found,) = read(hold(tmp_path / "in", {"ada.zip": inner}), "folders")
    assert (found.key, found.files) == ("ada", {"adam": ADAM})


@pytest.mark.parametrize("hold", HOLDERS)
def test_moodles_folders_and_its_plain_files(hold, tmp_path):
    inner = zipped(tmp_path / "x.zip", {"momentum.py": b"m"}).read_bytes()
    files = {
        "Ada Löve_101_assignsubmission_file_/adam.py": ADAM,
        "Bo_B_102_assignsubmission_file_work.zip": inner,
        "Cy_103_assignsubmission_file_/work.zip": inner,
        "Di_104_assignsubmission_file_adam.py": ADAM,
        "Di_104_assignsubmission_file_momentum.py": b"m",
        "grades.csv": b"",
    }
    found = read(hold(tmp_path / "in.zip", files), "moodle")
    assert [(s.key, s.name, sorted(s.files)) for s in found] == [
        ("101", "Ada Löve", ["adam"]),
        ("102", "Bo_B", ["momentum"]),
        ("103", "Cy", ["momentum"]),
        ("104", "Di", ["adam", "momentum"]),
    ]


@pytest.mark.parametrize("hold", HOLDERS)
def test_canvas_files_late_ones_and_the_newest_of_several(hold, tmp_path):
    files = {
        "doejane_678_9001_adam.py": b"old",
        "doejane_678_9002_adam-1.py": b"new",
        "roebob_LATE_679_9003_momentum.py": b"m",
        "anon_680_9004_work.zip": zipped(tmp_path / "w.zip", {"adam.py": b"a"}).read_bytes(),
    }
    found = {s.key: s for s in read(hold(tmp_path / "in.zip", files), "canvas")}
    assert found["678"].files == {"adam": b"new"}
    assert any("several files of adam" in problem for problem in found["678"].problems)
    assert (found["679"].name, found["679"].files) == ("roebob", {"momentum": b"m"})
    assert found["680"].files == {"adam": b"a"}


def test_two_submissions_of_one_name_are_reported_and_neither_is_graded(tmp_path):
    inner = zipped(tmp_path / "x.zip", {"adam.py": b"other"}).read_bytes()
    files = {"ada/adam.py": ADAM, "ada.zip": inner, "bob/adam.py": ADAM}
    ada, bob = read(folder(tmp_path / "in", files), "folders")
    assert ada.files == {}
    assert "two submissions of this name" in ada.problems[0]
    assert bob.files == {"adam": ADAM}


def test_the_topmost_of_two_files_counts_and_a_script_before_a_notebook(tmp_path):
    files = {"ada/old/adam.py": b"old", "ada/adam.py": ADAM, "ada/a/b/adam.ipynb": b'{"cells": []}'}
    (ada,) = read(folder(tmp_path / "in", files), "folders")
    assert ada.files == {"adam": ADAM}
    assert any("several files" in problem for problem in ada.problems)


def test_a_notebooks_code_is_its_program_and_a_broken_one_is_reported(tmp_path):
    book = (
        b'{"cells": [{"cell_type": "markdown", "source": ["# no"]}, {"cell_type": "code", "source":'
        b' ["%matplotlib inline\\n", "def adam():\\n", "    return 1\\n", "!ls"]}]}'
    )
    files = {"ada/adam.ipynb": book, "bob/adam.ipynb": b"{]"}
    ada, bob = read(folder(tmp_path / "in", files), "folders")
    assert ada.files == {"adam": b"def adam():\n    return 1\n"}
    assert "adam.ipynb is no notebook" in bob.problems


def bomb():
    """A zip of 30 kB that holds 30 MB."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("momentum.py", bytes(30_000_000))
    return content.getvalue()


def link():
    """A zip whose adam.py is a link to another file."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        info = zipfile.ZipInfo("adam.py")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return content.getvalue()


LEAVING = ("../../out.py", "/out.py", "C:\\out.py", "..\\..\\out.py", "a/../../adam.py")


def leaving(name):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(name, "x")
    return content.getvalue()


def damaged(method, seed):
    """A zip with some bytes of its content changed."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        archive.writestr("momentum.py", np.random.default_rng(0).bytes(300) * 3)
    spoilt, rng = bytearray(content.getvalue()), np.random.default_rng(seed)
    for place in rng.integers(40, len(spoilt), 4):
        spoilt[place] = rng.integers(256)
    return bytes(spoilt)


METHODS = (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def test_a_damaged_zip_raises_nothing():
    """Whatever zipfile makes of it: zlib.error, LZMAError, UnicodeDecodeError, IndexError, ..."""
    for method in METHODS:
        for seed in range(300):
            zip_file = (PurePosixPath("work.zip"), damaged(method, seed), "")
            files, problems = _lms._unpacked(iter([zip_file]))
            assert len(files) + len(problems) <= 1


BAD_ZIPS = {
    **{f"a path {name}": (leaving(name), "leaves its folder") for name in LEAVING},
    "a bomb": (bomb(), "too large"),
    "a link": (link(), "a link, which was not followed"),
    "no zip": (b"PK\x03\x04 broken", "can't be read"),
}


@pytest.mark.parametrize("what", BAD_ZIPS)
def test_a_bad_zip_is_reported_leaves_no_file_and_the_rest_goes_on(what, tmp_path):
    content, said = BAD_ZIPS[what]
    place = folder(
        tmp_path / "in", {"ada/work.zip": content, "ada/adam.py": ADAM, "bob/adam.py": b"b"}
    )
    before = sorted(tmp_path.rglob("*"))
    ada, bob = read(place, "folders")
    assert any(said in problem for problem in ada.problems), ada.problems
    assert ada.files == {"adam": ADAM}
    assert bob.files == {"adam": b"b"}
    assert sorted(tmp_path.rglob("*")) == before


def test_a_bulk_zip_with_a_path_that_leaves_its_folder_is_the_students_problem(tmp_path):
    files = {
        "Eve_1_assignsubmission_file_/../../../evil.py": b"x",
        "Ada_2_assignsubmission_file_/adam.py": ADAM,
    }
    eve, ada = read(zipped(tmp_path / "in.zip", files), "moodle")
    assert "leaves its folder" in eve.problems[0]
    assert ada.files == {"adam": ADAM}


def test_a_files_name_can_not_claim_the_number_of_another_student(tmp_path):
    files = {
        "Aaa Eve_1_assignsubmission_file_x_2_assignsubmission_file_adam.py": b"evil",
        "Ada_2_assignsubmission_file_adam.py": ADAM,
    }
    eve, ada = read(folder(tmp_path / "in", files), "moodle")
    assert (eve.key, eve.files) == ("1", {})
    assert (ada.key, ada.name, ada.files) == ("2", "Ada", {"adam": ADAM})


@pytest.mark.parametrize(
    ("system", "form"),
    [("moodle", "{}_7_assignsubmission_file_{}.py"), ("canvas", "{}_7_1_{}.py")],
)
def test_two_names_with_one_number_are_reported_and_neither_is_graded(system, form, tmp_path):
    pairs = [("ada", "adam"), ("eve", "adam"), ("ada", "momentum"), ("zoe", "adam")]
    files = {form.format(*pair): b"x" for pair in pairs}
    (found,) = read(folder(tmp_path / "in", files), system)
    assert found.files == {}
    assert "neither was graded" in found.problems[0]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_on_disk_are_not_followed(tmp_path):
    secret = folder(tmp_path / "secret", {"adam.py": b"secret", "sub/momentum.py": b"secret"})
    place = folder(tmp_path / "in", {"ada/x.txt": b""})
    (place / "ada" / "adam.py").symlink_to(secret / "adam.py")
    (place / "ada" / "more").symlink_to(secret / "sub")
    (place / "eve").symlink_to(secret)
    (ada,) = read(place, "folders")
    assert ada.files == {}
    assert any("link" in problem for problem in ada.problems)


def test_too_many_and_too_large_files_are_refused_without_being_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(_lms, "_MOST_FILES", 3)
    monkeypatch.setattr(_lms, "_LARGEST_FILE", 100)
    many = {f"ada/{i}.txt": b"" for i in range(9)}
    ada, bob = read(folder(tmp_path / "in", many | {"bob/adam.py": bytes(200)}), "folders")
    assert "too large" in ada.problems
    assert "a file too large" in bob.problems


@pytest.mark.parametrize(("system", "said"), [("moodle", "12345"), ("canvas", "678_9012")])
def test_a_download_of_another_system_is_named_with_what_was_expected(system, said, tmp_path):
    with pytest.raises(OptionError, match=said):
        read(folder(tmp_path / "in", {"ada/adam.py": ADAM}), system)


def test_a_missing_place_an_empty_one_and_a_file_that_is_no_zip_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.txt").write_text("x", encoding="utf-8")
    for name, said in (("none", "not there"), ("empty", "no submissions"), ("x.txt", "neither")):
        with pytest.raises(OptionError, match=said):
            read(tmp_path / name, "folders")


GRADES = [
    Grade(Submission("101", "Ada Löve"), 20, "passed: adam"),
    Grade(Submission("102", "=cmd()"), 7.5, "not yet: adam"),
]


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_moodles_worksheet_has_the_three_columns_that_its_import_asks_for():
    got = rows(gradebook("moodle", GRADES, 30))
    assert [row["Identifier"] for row in got] == ["Participant 101", "Participant 102"]
    assert [row["Grade"] for row in got] == ["20", "7.5"]
    assert "Last modified (grade)" in got[0]
    assert got[0]["Feedback comments"] == "passed: adam"


def test_a_worksheet_that_was_brought_along_keeps_its_rows_and_columns(tmp_path):
    given = tmp_path / "worksheet.csv"
    head = "Identifier,Full name,Email address,Grade,Maximum Grade,Last modified (grade)\n"
    lines = 'Participant 101,"Löve, Ada",a@b,,30,-\nParticipant 999,Absent,c@d,5,30,"Monday, 1"\n'
    given.write_text("\ufeff" + head + lines, encoding="utf-8")
    got = rows(gradebook("moodle", GRADES, 30, given=given))
    assert [(row["Full name"], row["Grade"]) for row in got] == [
        ("Löve, Ada", "20"),
        ("Absent", "5"),
    ]
    assert got[1]["Last modified (grade)"] == "Monday, 1"


def test_canvas_gradebook_has_its_head_and_the_points_possible():
    got = rows(gradebook("canvas", GRADES, 30, "Exercises (7)"))
    head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Exercises (7)"]
    assert list(got[0]) == head
    assert got[0]["Student"].strip() == "Points Possible"
    assert got[0]["Exercises (7)"] == "30"
    assert [(row["ID"], row["Exercises (7)"]) for row in got[1:]] == [("101", "20"), ("102", "7.5")]


def test_a_canvas_gradebook_that_was_brought_along_is_filled_in_one_column(tmp_path):
    given = tmp_path / "gradebook.csv"
    head = "Student,ID,SIS User ID,SIS Login ID,Section,Other (1),Exercises (7)\n"
    lines = (
        '    Points Possible,,,,,10,30\n"Löve, Ada",101,s1,ada,A,9,\n"Absent, Bo",999,s2,bo,A,8,\n'
    )
    given.write_text(head + lines, encoding="utf-8")
    got = rows(gradebook("canvas", GRADES, 30, "Exercises (7)", given))
    assert [row["Exercises (7)"] for row in got] == ["30", "20", ""]
    assert [row["Other (1)"] for row in got] == ["10", "9", "8"]
    with pytest.raises(OptionError, match=r"Exercises \(7\)"):
        gradebook("canvas", GRADES, 30, "Exercises", given)


def test_a_plain_csv_holds_no_formulas():
    got = rows(gradebook("folders", GRADES, 30))
    assert [row["student"] for row in got] == ["Ada Löve", "'=cmd()"]


BOOKS = {"no columns": "a,b\n1,2\n", "nothing": "", "not UTF-8": None}


@pytest.mark.parametrize("what", BOOKS)
@pytest.mark.parametrize("system", ["moodle", "canvas"])
def test_a_gradebook_that_is_none_is_refused(what, system, tmp_path):
    content = BOOKS[what]
    path = Path(tmp_path / "book.csv")
    path.write_bytes("é".encode("latin-1") if content is None else content.encode())
    with pytest.raises(OptionError):
        gradebook(system, GRADES, 30, given=path)


@pytest.mark.parametrize("hold", HOLDERS)
def test_a_class_in_a_folder_of_its_own_is_taken_out_of_it(hold, tmp_path):
    files = {"wrap/ada/adam.py": ADAM, "wrap/bob/adam.py": b"b", "wrap/bob/momentum.py": b"m"}
    found = {s.key: s.files for s in read(hold(tmp_path / "in", files), "folders")}
    assert found == {"ada": {"adam": ADAM}, "bob": {"adam": b"b", "momentum": b"m"}}
    one = {"ada/week1/adam.py": ADAM, "ada/week2/momentum.py": b"m"}
    (found,) = read(hold(tmp_path / "one", one), "folders")
    assert (found.key, set(found.files)) == ("ada", {"adam", "momentum"})


def test_nearly_right_names_are_taken_and_others_counted(tmp_path):
    files = {
        "ada/Adam.py": ADAM, "ada/momentum (1).py": b"m", "ada/plot.py": b"",
        "ada/adagrad.before-reset-1.py": b"", "bob/adam.py": b"raise NotImplementedError\n",
        "bob/adam.ipynb": json.dumps(
            {"cells": [{"cell_type": "code", "source": "def adam(): pass"}]}
        ).encode(),
    }  # fmt: skip
    ada, bob = read(folder(tmp_path / "in", files), "folders")
    assert ada.files == {"adam": ADAM, "momentum": b"m"}
    assert ada.problems == ["a Python file is not named like an exercise"]
    assert bob.files == {"adam": ADAM}  # what is done goes before what is not begun


def test_points_are_scaled_to_the_maximum_that_a_gradebook_names(tmp_path):
    worksheet = tmp_path / "w.csv"
    head = "Identifier,Full name,Grade,Maximum grade,Last modified (grade)\n"
    worksheet.write_text(f"{head}Participant 7,Ada,,100.00,-\nParticipant 8,Bob,,100.00,-\n")
    grades = [Grade(Submission(key, "x", {}), 85, "") for key in ("7", "9")]
    text = gradebook("moodle", grades, 170, given=worksheet)
    assert text.splitlines()[1] == "Participant 7,Ada,50,100.00,-"
    assert _lms.without_row("moodle", grades, worksheet) == ["9"]
    book = tmp_path / "b.csv"
    head = "Student,ID,SIS User ID,SIS Login ID,Section,Exercises\n"
    book.write_text(f"{head}    Points Possible,,,,,15\nAda,7,,,,\n")
    text = gradebook("canvas", grades, 170, given=book)
    assert text.splitlines()[2] == "Ada,7,,,,7.5"
    assert _lms.without_row("canvas", grades, book) == ["9"]
