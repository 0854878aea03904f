"""Grading a class: resumed, parallel, private."""

import dataclasses
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time

import psutil
import pytest

from tf_examples import cli
from tf_examples._options import OptionError
from tf_examples.exercises import _grade
from tf_examples.exercises._exercise import load
from tf_examples.exercises._folder import conventions
from tf_examples.exercises._grade import Class, Result, grade_of, results_json, summary
from tf_examples.exercises._isolation import Limits
from tf_examples.exercises._lms import Submission

EXERCISES = ("momentum", "adam")
POINTS = {name: load(name).entry.points for name in EXERCISES}


def solved(name, variant=None):
    return load(name).solution(conventions(name, variant)).encode()


def mistaken(name):
    exercise = load(name)
    usual = exercise.conventions()
    mistake = next(m for m in exercise.spec.mistakes if exercise.wrong(m, usual))
    text = exercise.wrong(mistake, usual)
    assert text
    return mistake.name, text.encode()


SUBMISSIONS = [
    Submission("Ada Löve", "Ada Löve", {name: solved(name) for name in EXERCISES}),
    Submission("Bob", "Bob", {"adam": mistaken("adam")[1]}),
    Submission("Cy", "Cy", {}),
    Submission("Di", "Di", {"adam": b"import os\nos._exit(0)\n", "momentum": solved("momentum")}),
]


def quiet(done, total):
    pass


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """(the class, its results) after one run."""
    folder = Class(tmp_path_factory.mktemp("grades") / "out", EXERCISES, seed=1)
    return folder, folder.grade(SUBMISSIONS, 2, quiet)


def test_points_are_those_of_the_exercises_passed(graded):
    _, results = graded
    expected = [sum(POINTS.values()), 0, 0, POINTS["momentum"]]
    assert [result.points for result in results] == expected
    assert results[1].verdicts[1].mistake == mistaken("adam")[0]
    assert "There is no file momentum.py." in results[1].verdicts[0].message
    assert any("nothing to grade" in problem for problem in results[2].problems)


def test_gradescope_reads_one_results_json_a_student(graded):
    folder, results = graded
    for submission, result in zip(SUBMISSIONS, results, strict=True):
        path = folder.directory / "students" / folder.id(submission) / "results.json"
        kept = json.loads(path.read_text(encoding="utf-8"))
        assert kept == results_json(result)
        assert kept["score"] == result.points == sum(test["score"] for test in kept["tests"])
        for test in kept["tests"]:
            assert test["status"] == ("passed" if test["score"] == test["max_score"] else "failed")
            assert test["visibility"] == "visible"
            assert set(test) == {"name", "score", "max_score", "status", "output", "visibility"}


def test_nothing_is_graded_twice(graded):
    folder, results = graded
    again = Class(folder.directory, EXERCISES).grade(SUBMISSIONS, 2, quiet)
    assert all(result.reused for result in again)
    assert [dataclasses.replace(result, reused=False) for result in again] == results


def test_what_a_result_depends_on_is_graded_anew_when_it_changes(graded):
    folder, _ = graded
    submission = SUBMISSIONS[0]
    edited = dataclasses.replace(submission, files={"adam": b"# edited\n"})
    other = next(v for v in range(10) if conventions("adam", v) != conventions("adam", None))

    def earlier(submission, exercises=EXERCISES, variants=None, limits=None):
        again = Class(folder.directory, exercises, variants=variants, limits=limits)
        return again._earlier(submission)

    assert earlier(submission)
    assert not earlier(edited)
    assert not earlier(submission, exercises=EXERCISES[:1])
    assert not earlier(submission, limits=Limits(seconds=3.0))
    assert not earlier(submission, variants={submission.key: other})


def test_a_result_that_was_spoilt_is_graded_anew(graded, tmp_path):
    folder, _ = graded
    shutil.copytree(folder.directory, tmp_path / "out")
    copied = Class(tmp_path / "out", EXERCISES)
    assert copied._earlier(SUBMISSIONS[0])
    for path in (tmp_path / "out").rglob("verdicts.json"):
        path.write_text(path.read_text(encoding="utf-8")[:-50], encoding="utf-8")
    assert not copied._earlier(SUBMISSIONS[0])


def test_a_pseudonym_is_kept_by_its_folder_and_says_nothing_elsewhere(graded, tmp_path):
    folder, _ = graded
    ids = [folder.id(submission) for submission in SUBMISSIONS]
    assert len(set(ids)) == len(ids)
    assert [Class(folder.directory, EXERCISES).id(s) for s in SUBMISSIONS] == ids
    assert Class(tmp_path / "other", EXERCISES).id(SUBMISSIONS[0]) not in ids


@pytest.mark.skipif(os.name == "nt", reason="no such rights on Windows")
def test_grades_are_readable_by_their_owner_only(graded):
    folder, _ = graded
    for path in (folder.directory, *folder.directory.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_names_stand_in_no_page_and_no_students_file(graded):
    folder, results = graded
    texts = [path.read_text(encoding="utf-8") for path in folder.directory.rglob("*.json")]
    texts += ["\n".join(map(str, table.rows)) for table in summary(results)]
    for submission in SUBMISSIONS:
        pattern = re.compile(rf"\b{submission.name}\b")
        assert not any(map(pattern.search, texts))


def test_the_summary_counts_exercises_mistakes_and_cases(graded):
    _, results = graded
    exercises, mistakes, cases, errors = summary(results)
    assert errors.rows == [("adam", "end", 1)]
    assert exercises.rows == [("momentum", 2, 2, 50.0), ("adam", 3, 1, 25.0)]
    assert ("adam", mistaken("adam")[0], 1) in mistakes.rows
    assert ("adam", "one weight, one step", 2) in cases.rows


def test_a_comment_is_in_our_words_alone(graded):
    _, results = graded
    comment = grade_of(SUBMISSIONS[3], results[3]).comment
    assert comment == "passed: momentum; not yet: adam"


def test_a_variant_is_graded_by_its_own_conventions_and_last_years_answer_fails(tmp_path):
    by_epsilon = {conventions("adam", v)["epsilon"]: v for v in range(10)}
    variants = {"ada": by_epsilon["inside"], "bob": by_epsilon["inside"]}
    submissions = [
        Submission("ada", "ada", {"adam": solved("adam", by_epsilon["inside"])}),
        Submission("bob", "bob", {"adam": solved("adam", by_epsilon["outside"])}),
        Submission("cy", "cy", {"adam": solved("adam")}),
    ]
    folder = Class(tmp_path / "out", ("adam",), 1, variants)
    ada, bob, cy = folder.grade(submissions, 1, quiet)
    assert (ada.points, bob.points) == (POINTS["adam"], 0)
    assert bob.verdicts[0].mistake == "epsilon outside the root"
    assert any("not in the list of variants" in problem for problem in cy.problems)


def _die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_grader_process_that_is_killed_costs_nobody_else_a_grade(tmp_path, monkeypatch):
    folder = Class(tmp_path / "out", ("adam",), 1)
    task = Class._task

    def tasks(self, submission):
        return task(self, submission) if submission.key != "Bob" else (None,) * 5

    monkeypatch.setattr(Class, "_task", tasks)
    monkeypatch.setattr(_grade, "_grade_one", _grade_or_die)
    results = folder.grade(SUBMISSIONS[:2], 2, quiet)
    assert results[0].points == POINTS["adam"]
    assert "was ended while it graded" in results[1].verdicts[0].message
    assert "was ended while it graded" in results[1].problems[-1]
    left = psutil.Process().children(recursive=True)
    assert all("resource_tracker" in str(process.cmdline()) for process in left)


def test_a_submission_that_the_grader_fails_on_costs_nobody_else_a_grade(tmp_path, monkeypatch):
    folder = Class(tmp_path / "out", ("adam",), 1)
    task = Class._task

    def tasks(self, submission):
        return task(self, submission) if submission.key != "Bob" else (3,) * 5

    monkeypatch.setattr(Class, "_task", tasks)
    ada, bob = folder.grade(SUBMISSIONS[:2], 2, quiet)
    assert (ada.points, bob.points) == (POINTS["adam"], 0)
    assert bob.problems == ["the grader failed on this (AttributeError): graded 0, look at it"]
    monkeypatch.undo()
    ada, bob = folder.grade(SUBMISSIONS[:2], 2, quiet)
    assert (ada.reused, bob.reused, bob.problems) == (True, False, [])  # tried again, and graded


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text")
def test_a_folder_whose_name_is_no_text_is_graded_with_the_rest(tmp_path, capsys):
    place = handed_in(tmp_path / "in")
    shutil.copytree(place / "student0", place / os.fsdecode(b"\xff"))
    words = ["--out", str(tmp_path / "out"), "--exercise", "adam", "--workers", "1"]
    assert cli.main(["exercises", "grade", str(place), *words]) == 0
    assert "2 submissions" in capsys.readouterr().out
    csv = (tmp_path / "out" / "grades.csv").read_text(encoding="utf-8")
    assert csv.count("passed: adam") == 2


def _grade_or_die(files, *rest):
    if files is None:
        _die()
    return _grade._check.check(files, *rest)


def test_another_seed_and_a_folder_of_something_else_are_refused(graded, tmp_path):
    folder, _ = graded
    with pytest.raises(OptionError, match="was begun with seed 1"):
        Class(folder.directory, EXERCISES, seed=2)
    (tmp_path / "thesis.tex").write_text("x", encoding="utf-8")
    with pytest.raises(OptionError, match="holds something else"):
        Class(tmp_path, EXERCISES)


def handed_in(path, count=1):
    for i in range(count):
        (path / f"student{i}").mkdir(parents=True)
        (path / f"student{i}" / "adam.py").write_bytes(solved("adam"))
    return path


def test_the_command_writes_the_csv_and_the_summary(tmp_path, capsys):
    words = ["--out", str(tmp_path / "out"), "--exercise", "adam", "--workers", "1"]
    assert cli.main(["exercises", "grade", str(handed_in(tmp_path / "in")), *words]) == 0
    out, err = capsys.readouterr()
    assert "1 submissions, 1 of them graded now" in out
    assert "1 of 1 graded" in err
    csv = (tmp_path / "out" / "grades.csv").read_text(encoding="utf-8")
    assert csv == "student,points,of,comment\nstudent0,10,10,passed: adam; not yet: none\n"
    assert "| adam | 1 | 1 | 100 |" in (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    assert "student0" not in out + err


REFUSED = {
    "nothing there": ((), "not there"),
    "an unknown exercise": (("--exercise", "adma"), "Did you mean adam?"),
    "no workers": (("--workers", "0"), "`workers`"),
    "no time": (("--seconds", "0"), "`seconds`"),
    "a seed below zero": (("--seed", "-1"), "`seed`"),
    "an unknown system": (("--from", "blackboard"), "blackboard"),
    "no variants": (("--variants", "none.csv"), "none.csv"),
    "a gradebook of no system": (("--gradebook", __file__), "--gradebook"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_was_mistyped_is_one_line_and_writes_nothing(what, tmp_path, capsys):
    words, said = REFUSED[what]
    place = tmp_path / "none" if what == "nothing there" else handed_in(tmp_path / "in")
    assert cli.main(["exercises", "grade", str(place), "--out", str(tmp_path / "o"), *words]) == 2
    out, err = capsys.readouterr()
    assert said in err.splitlines()[-1]
    assert out == ""
    assert not list((tmp_path / "o").glob("*.csv"))


def test_grades_do_not_go_among_the_submissions(tmp_path, capsys):
    place = handed_in(tmp_path / "in")
    assert cli.main(["exercises", "grade", str(place), "--out", str(place / "x")]) == 2
    assert "elsewhere" in capsys.readouterr().err
    assert not (place / "x").exists()


def _heed_sigint():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    place, out = handed_in(tmp_path / "in", 12), tmp_path / "out"
    command = [sys.executable, "-m", "tf_examples", "exercises", "grade", str(place), "--out"]
    command += [str(out), "--exercise", "adam", "--workers", "1"]
    (tmp_path / "tmp").mkdir()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    pipes["env"] = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    # A shell's background job, as these tests may be, ignores SIGINT, and so would its children.
    with subprocess.Popen(command, preexec_fn=_heed_sigint, **pipes) as process:
        try:
            deadline = time.monotonic() + 60
            while not list(out.glob("students/*/verdicts.json")) and time.monotonic() < deadline:
                time.sleep(0.02)
            started = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert b"Interrupted" in err
    assert b"Traceback" not in err
    psutil.wait_procs(started, timeout=10)
    assert not any(child.is_running() for child in started)
    assert list((tmp_path / "tmp").iterdir()) == []
    done = len(list(out.glob("students/*/verdicts.json")))
    assert 0 < done < 12
    again = subprocess.run(command, capture_output=True, timeout=120, check=True)
    assert f"12 submissions, {12 - done} of them graded now".encode() in again.stdout


def test_a_result_without_verdicts_has_no_points():
    assert Result("s", [], []).points == 0
