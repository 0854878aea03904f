"""`tf-examples exercises` as a student types it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tf_examples import cli
from tf_examples.exercises import commands
from tf_examples.exercises._exercise import load
from tf_examples.exercises._folder import PROGRESS, Folder, conventions
from tf_examples.exercises.catalogue import ENTRIES, NAMES

NAME = "gradient_clipping"
OTHER = "adam"


def typed(capsys, folder, *words):
    """(exit status, what was printed, what was said on stderr)."""
    capsys.readouterr()
    status = cli.main(["exercises", *words, "--folder", str(folder)])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture
def folder(tmp_path, capsys):
    assert cli.main(["exercises", "start", str(tmp_path / "mine")]) == 0
    return tmp_path / "mine"


def solve(folder, name, variant=None):
    text = load(name).solution(conventions(name, variant))
    (folder / f"{name}.py").write_text(text, encoding="utf-8")


def test_start_writes_every_exercise_and_says_what_to_do_next(tmp_path, capsys):
    assert cli.main(["exercises", "start", str(tmp_path / "mine")]) == 0
    out = capsys.readouterr().out
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {
        *(f"{name}.py" for name in NAMES), "README.md", PROGRESS,
    }  # fmt: skip
    assert f"exercises check {NAMES[0]}" in out
    readme = (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")
    assert all(f"| {entry.name} | {entry.title} |" in readme for entry in ENTRIES)


def test_start_writes_over_nothing(folder, capsys):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert cli.main(["exercises", "start", str(folder)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_variants_differ_and_a_variant_is_the_same_each_time(tmp_path):
    texts = {
        variant: [Folder.start(tmp_path / f"{variant}.{i}", variant) for i in range(2)]
        for variant in range(6)
    }
    stubs = {v: [folder.content(OTHER) for folder in pair] for v, pair in texts.items()}
    assert all(first == second for first, second in stubs.values())
    assert len({first for first, _ in stubs.values()}) == 2  # epsilon inside, epsilon outside


def test_a_solution_passes_in_its_own_variant_and_not_in_the_other(tmp_path, capsys):
    by_convention = {conventions(OTHER, v)["epsilon"]: v for v in range(10)}
    inside, outside = by_convention["inside"], by_convention["outside"]
    folder = Folder.start(tmp_path / "mine", inside).path
    solve(folder, OTHER, inside)
    assert typed(capsys, folder, "check", OTHER)[0] == 0
    solve(folder, OTHER, outside)
    status, out, _ = typed(capsys, folder, "check", OTHER)
    assert status == 1
    assert "Epsilon seems to stand outside the root. The text has it inside." in out


def test_a_failed_check_can_be_repeated_with_the_same_numbers(folder, capsys):
    solve(folder, OTHER)
    path = folder / f"{OTHER}.py"
    path.write_text(path.read_text(encoding="utf-8").replace("w - ", "w + "), encoding="utf-8")
    status, out, _ = typed(capsys, folder, "check", OTHER)
    assert status == 1
    seed = out.split("--seed ")[1].split()[0]
    again = [typed(capsys, folder, "check", OTHER, "--seed", seed)[1] for _ in range(2)]
    assert again == [out, out]


def test_progress_is_kept_and_a_later_edit_is_seen(folder, capsys):
    solve(folder, NAME)
    status, out, _ = typed(capsys, folder, "check", NAME)
    assert status == 0
    assert "passed" in out
    points = next(entry.points for entry in ENTRIES if entry.name == NAME)
    assert (
        f"{points} of {sum(e.points for e in ENTRIES)} points" in typed(capsys, folder, "list")[1]
    )
    with (folder / f"{NAME}.py").open("a", encoding="utf-8") as file:
        file.write("# and more\n")
    out = typed(capsys, folder, "list")[1]
    assert "0 of " in out
    assert "passed, then edited" in out


def test_check_without_a_name_checks_what_was_begun(folder, capsys):
    status, out, _ = typed(capsys, folder, "check")
    assert status == 1
    assert "Nothing was begun" in out
    solve(folder, NAME)
    assert typed(capsys, folder, "check")[0] == 0
    (folder / f"{OTHER}.py").write_text("def adam(**_): return 1\n", encoding="utf-8")
    status, out, _ = typed(capsys, folder, "check")
    assert status == 1
    assert f"{NAME}: passed" in out
    assert f"{OTHER}: not yet" in out


def test_the_file_name_of_an_exercise_is_its_name_too(folder, capsys):
    solve(folder, NAME)
    assert typed(capsys, folder, "check", f"{NAME}.py")[0] == 0


def test_each_call_shows_the_next_hint_and_the_last_one_stays(folder, capsys):
    hints = load(NAME).spec.hints
    for number in [*range(1, len(hints) + 1), len(hints)]:
        out = " ".join(typed(capsys, folder, "hint", NAME)[1].split())
        assert f"Hint {number} of {len(hints)}: {' '.join(hints[number - 1].split())}" in out
    assert "--show-anyway" in out


def test_the_solution_is_shown_once_yours_passes_or_anyway(folder, capsys):
    status, out, _ = typed(capsys, folder, "solution", NAME)
    assert status == 1
    assert "has not passed yet" in out
    assert load(NAME).solution({}) not in out
    assert typed(capsys, folder, "solution", NAME, "--show-anyway")[1] == load(NAME).solution({})
    assert json.loads((folder / PROGRESS).read_text(encoding="utf-8"))["shown"] == [NAME]
    solve(folder, NAME)
    typed(capsys, folder, "check", NAME)
    assert typed(capsys, folder, "solution", NAME)[1] == load(NAME).solution({})


def test_reset_keeps_every_version_it_replaces(folder, capsys):
    path = folder / f"{NAME}.py"
    stub = path.read_text(encoding="utf-8")
    for number in (1, 2):
        path.write_text(f"# version {number}\n", encoding="utf-8")
        status, out, _ = typed(capsys, folder, "reset", NAME)
        assert status == 0
        kept = folder / f"{NAME}.before-reset-{number}.py"
        assert str(kept) in out
        assert kept.read_text(encoding="utf-8") == f"# version {number}\n"
        assert path.read_text(encoding="utf-8") == stub


def test_reset_of_a_deleted_file_writes_it_again(folder, capsys):
    (folder / f"{NAME}.py").unlink()
    assert "file missing" in typed(capsys, folder, "list")[1]
    assert typed(capsys, folder, "reset", NAME)[0] == 0
    assert (folder / f"{NAME}.py").is_file()


def test_commands_work_from_inside_of_the_folder(folder, capsys, monkeypatch):
    (folder / "notes").mkdir()
    monkeypatch.chdir(folder / "notes")
    assert cli.main(["exercises", "list"]) == 0


REFUSED = {
    "a misspelt exercise": (("check", "adma"), "Did you mean adam?"),
    "no exercise at all": (("check", "zzz"), "There are: "),
    "a misspelt hint": (("hint", "adma"), "Did you mean adam?"),
    "a seed below zero": (("check", NAME, "--seed", "-1"), "`seed` must be an integer"),
    "an unknown command": (("chekc",), "heck"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_was_mistyped_is_one_line_and_status_2(what, folder, capsys):
    words, said = REFUSED[what]
    capsys.readouterr()
    place = () if words == ("chekc",) else ("--folder", str(folder))
    assert cli.main(["exercises", *words, *place]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err


def test_a_folder_without_exercises_and_a_spoilt_progress_file_are_named(folder, tmp_path, capsys):
    status, _, err = typed(capsys, tmp_path, "list")
    assert status == 2
    assert "holds no exercises" in err
    for spoilt in ("{", "[]", '{"variant": "a"}', '{"passed": 3}'):
        (folder / PROGRESS).write_text(spoilt, encoding="utf-8")
        status, _, err = typed(capsys, folder, "list")
        assert status == 2, spoilt
        assert "can't be read" in err


def test_a_variant_below_zero_writes_nothing(tmp_path, capsys):
    assert cli.main(["exercises", "start", str(tmp_path / "mine"), "--variant", "-1"]) == 2
    assert not (tmp_path / "mine").exists()


def test_watch_checks_what_is_saved_and_ends_with_ctrl_c(folder):
    command = [sys.executable, "-u", "-m", "tf_examples", "exercises", "watch", "--folder", folder]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout
        assert process.stderr
        try:
            lines = iter(process.stdout.readline, "")
            assert next(lines).startswith("Watching")
            assert next(lines).startswith("Next")
            time.sleep(0.5)
            solve(folder, NAME)
            assert any(f"{NAME}: passed" in line for line in lines)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()


def test_a_numpy_exercise_is_checked_without_importing_tensorflow(folder):
    solve(folder, NAME)
    program = (
        "import sys; from tf_examples import cli\n"
        f"status = cli.main(['exercises', 'check', {NAME!r}, '--folder', {str(folder)!r}])\n"
        "print(status, sorted({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []"


def test_the_help_lists_the_commands_without_loading_an_exercise(capsys):
    assert cli.main(["exercises", "--help"]) == 0
    out = capsys.readouterr().out
    for command in ("start", "list", "check", "hint", "solution", "reset", "watch"):
        assert f" {command} " in out
    assert cli.main(["--help"]) == 0
    assert "exercises" in capsys.readouterr().out


def test_a_saved_file_is_told_from_an_untouched_and_a_deleted_one(folder):
    before = commands.saved_files(Folder.open(folder))
    assert commands.saved_files(Folder.open(folder)) == before
    (folder / f"{NAME}.py").write_text("# longer than before? no: shorter\n", encoding="utf-8")
    (folder / f"{OTHER}.py").unlink()
    after = commands.saved_files(Folder.open(folder))
    assert after[OTHER] is None
    assert {name for name in NAMES if after[name] != before[name]} == {NAME, OTHER}


def test_every_command_that_is_printed_can_be_typed(folder, capsys):
    """What a student is told to type is told whole; numbers to repeat, where numbers were shown."""
    _, out, _ = typed(capsys, folder, "check", NAME)
    assert f"tf-examples exercises hint {NAME}" in out
    assert "--seed" not in out  # not begun: no numbers were shown
    wrong = load(NAME).wrong(load(NAME).spec.mistakes[0], conventions(NAME, None))
    (folder / f"{NAME}.py").write_text(wrong, encoding="utf-8")
    _, out, _ = typed(capsys, folder, "check", NAME)
    (again,) = [line for line in out.splitlines() if "--seed" in line]
    words = again.partition("tf-examples exercises ")[2].split()
    assert typed(capsys, folder, *words)[1] == out


@pytest.fixture
def books(tmp_path):
    """The folder of notebooks that `release` writes."""
    assert cli.main(["exercises", "release", str(tmp_path / "handout")]) == 0
    return tmp_path / "handout" / "notebooks"


def fill_in(books, name, code):
    """The notebook of `name` with `code` in the cell to be filled in."""
    file = books / f"{name}.ipynb"
    content = json.loads(file.read_text(encoding="utf-8"))
    cells = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    cells[0]["source"] = code
    file.write_text(json.dumps(content), encoding="utf-8")


def test_a_folder_of_notebooks_is_checked_watched_and_reset_as_one_of_files(books, capsys):
    solution = load(NAME).solution(conventions(NAME, None))
    fill_in(books, NAME, solution + "\n%timeit 1\nnp.sum?\n")
    before = commands.saved_files(Folder.open(books))
    assert before[NAME] is not None
    status, out, _ = typed(capsys, books, "check", f"{NAME}.ipynb")
    assert (status, f"{NAME}: passed" in out) == (0, True)
    assert "gradient_step.ipynb" in out  # what is next

    status, out, _ = typed(capsys, books, "reset", NAME)
    assert f"{NAME}.ipynb is as it was" in out
    assert (books / f"{NAME}.before-reset-1.ipynb").is_file()
    assert not (books / f"{NAME}.py").exists()
    assert Folder.open(books).state(NAME) == "new"

    (books / f"{NAME}.ipynb").write_text("{}", encoding="utf-8")
    status, _, err = typed(capsys, books, "check", NAME)
    assert (status, f"{NAME}.ipynb is no notebook" in err) == (2, True)


def test_what_is_right_so_far_is_said(folder, capsys):
    text = (folder / "gradient_step.py").read_text(encoding="utf-8")
    solved = load("gradient_step").solution(conventions("gradient_step", None))
    body = solved.partition("def gradient(")[2].partition("\n\n\n")[0]
    first, _, rest = text.partition("def gradient(")
    (folder / "gradient_step.py").write_text(
        first + "def gradient(" + body + "\n\n\n" + rest.partition("\n\n\n")[2], encoding="utf-8"
    )
    _, out, _ = typed(capsys, folder, "check", "gradient_step")
    assert "Right so far: `gradient`. Still to be written: `descend`." in out
