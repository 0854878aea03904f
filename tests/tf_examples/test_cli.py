"""The command `tf-examples`."""

import dataclasses
import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Literal

import pytest

from tf_examples import _costs, cli
from tf_examples._options import at_least
from tf_examples._plots import drawing, picture
from tf_examples._presets import PRESETS
from tf_examples._report import Table
from tf_examples.sections import NAMES


@dataclasses.dataclass(frozen=True)
class Result:
    """What the stand-in section computes: its options."""

    options: dict

    def table(self):
        return Table("Options", ("name", "value"), ("", ""), list(self.options.items()))

    @drawing
    def figure(self):
        return picture("Nothing to see", "An empty picture")[0]


def run(
    *,
    rate: float = 0.1,
    steps: int = 5,
    shape: Literal["round", "square"] = "round",
    widths: list[int] = [2, 3],  # noqa: B006
    limit: float | None = None,
    fast: bool = False,
    seed: int = 0,
):
    """Stands for a section.

    Args:
        rate: How fast.
        steps: How many
            of them.

    Raises:
        FloatingPointError: on demand.
    """
    at_least("steps", steps, 1)
    if rate > 1:
        raise FloatingPointError("the loss is not a number at step 3 of 5")
    return Result(dict(locals()))


@pytest.fixture
def section(monkeypatch):
    """Puts the stand-in in the place of every section, so that TensorFlow stays out of this."""
    module = types.SimpleNamespace(run=run, QUICK={"steps": 2, "rate": 0.5})
    monkeypatch.setattr(cli, "_load", lambda section: module)
    return NAMES[0]


def options_of(capsys):
    return json.loads(capsys.readouterr().out)["options"]


def refused(capsys, *arguments, status=2):
    """The one line on stderr with which the command refuses `arguments`."""
    capsys.readouterr()
    assert cli.main(arguments) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tf-examples: ")
    assert err.count("\n") == 1
    return err


def test_a_section_runs_with_the_defaults_of_its_signature(section, capsys):
    assert cli.main(["run", section, "--json"]) == 0
    assert options_of(capsys) == {
        "rate": 0.1, "steps": 5, "shape": "round", "widths": [2, 3],
        "limit": None, "fast": False, "seed": 0,
    }  # fmt: skip


def test_every_kind_of_option_reaches_the_section(section, capsys):
    typed = "--rate 0.3 --steps 7 --shape square --widths 4 --widths 5 --limit 2 --fast --seed 9"
    assert cli.main(["run", section, "--json", *typed.split()]) == 0
    assert options_of(capsys) == {
        "rate": 0.3, "steps": 7, "shape": "square", "widths": [4, 5],
        "limit": 2.0, "fast": True, "seed": 9,
    }  # fmt: skip


def test_quick_settings_replace_defaults_and_a_typed_option_replaces_both(section, capsys):
    assert cli.main(["run", section, "--quick", "--rate", "0.1", "--json"]) == 0
    options = options_of(capsys)
    assert (options["rate"], options["steps"]) == (0.1, 2)


def test_the_help_of_a_section_tells_its_options_with_their_defaults(section, capsys):
    assert cli.main(["run", section, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--rate" in text
    assert "How fast. (0.1 if not given)" in text
    assert "How many of them. (5 if not given)" in text
    assert "<round|square>" in text


def test_the_table_is_printed_without_boxes_or_colour_when_piped(section, capsys):
    assert cli.main(["run", section]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].strip() == "Options"
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_all_runs_every_section_with_one_seed(section, capsys):
    assert cli.main(["run", "all", "--quick", "--seed", "4", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert list(results) == list(NAMES)
    assert {r["options"]["seed"] for r in results.values()} == {4}
    assert {r["options"]["steps"] for r in results.values()} == {2}


def test_picture_and_report_are_written(section, capsys, tmp_path):
    picture, report = tmp_path / "p.png", tmp_path / "r.html"
    assert cli.main(["run", section, "--figure", str(picture), "--report", str(report)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    page = report.read_text(encoding="utf-8")
    assert 'alt="An empty picture"' in page
    assert "<caption>Options</caption>" in page
    assert "http" not in page  # self-contained
    assert capsys.readouterr().err.strip().endswith(str(report))
    assert sorted(tmp_path.iterdir()) == [picture, report]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lst"], "Did you mean 'list'?"),
        (["run", "gradient_decent"], "Did you mean 'gradient_descent'"),
        (["run", "zzz"], "There are: list, estimate, exercises, run all, run neural_network"),
        (["run", "SECTION", "--rat", "1"], "--rate"),
        (["run", "SECTION", "--rate", "much"], "'--rate'"),
        (["run", "SECTION", "--rate"], "requires an argument"),
        (["run", "SECTION", "--shape", "oval"], "'oval' is not one of 'round', 'square'"),
        (["run", "SECTION", "--steps", "0"], "`steps` must be an integer of at least 1"),
        (["run", "SECTION", "extra"], "extra"),
        (["run", "all", "--rate", "1"], "No such option: --rate"),
    ],
)
def test_what_is_mistyped_is_said_in_one_line_with_the_nearest_choice(
    section, capsys, arguments, said
):
    arguments = [section if word == "SECTION" else word for word in arguments]
    assert said in refused(capsys, *arguments)


def test_a_path_that_cannot_be_written_is_refused_before_the_section_runs(
    section, capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr(cli, "_run", lambda *_: pytest.fail("the section ran"))
    missing = tmp_path / "no" / "such.png"
    assert f"can't write {missing}" in refused(capsys, "run", section, "--figure", str(missing))
    assert "is a folder" in refused(capsys, "run", section, "--report", str(tmp_path))
    typo = tmp_path / "picture.pgn"
    assert f"Did you mean {typo.with_suffix('.png')}" in refused(
        capsys, "run", section, "--figure", str(typo)
    )
    assert "can't write" in refused(capsys, "run", "all", "--report", str(missing))
    assert list(tmp_path.iterdir()) == []


def test_a_gif_is_written_where_the_result_moves_and_refused_where_it_does_not(
    section, capsys, tmp_path, monkeypatch
):
    film = tmp_path / "film.gif"
    line = refused(capsys, "run", section, "--figure", str(film))
    assert "no animation" in line
    assert f"must end in .png, .svg or .pdf. Did you mean {film.with_suffix('.png')}?" in line

    class Moving(Result):
        def animation(self):
            return types.SimpleNamespace(encoded=lambda form: f"a {form}".encode())

    def moving_run(*, rate: float = 0.1) -> Moving:
        return Moving({"rate": rate})

    module = types.SimpleNamespace(run=moving_run, QUICK={})
    monkeypatch.setattr(cli, "_load", lambda section: module)
    assert cli.main(["run", section, "--figure", str(film)]) == 0
    assert film.read_bytes() == b"a gif"
    typo = tmp_path / "film.giff"
    assert f"Did you mean {film}?" in refused(capsys, "run", section, "--figure", str(typo))
    picture = tmp_path / "still.png"
    assert cli.main(["run", section, "--figure", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_file_is_written_whole_or_not_at_all(section, capsys, tmp_path, monkeypatch):
    report = tmp_path / "r.html"
    report.write_text("the last one", encoding="utf-8")

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert cli.main(["run", section, "--report", str(report)]) == 2
    assert "No space left" in capsys.readouterr().err
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["the last one"]


def test_a_run_that_diverges_says_where_and_exits_with_1(section, capsys):
    line = refused(capsys, "run", section, "--rate", "2", status=1)
    assert f"{section}: the loss is not a number at step 3 of 5" in line


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["list"], 0),
        (["--help"], 0),
        (["run", "--help"], 0),
        (["run", "gradient_decent"], 2),
        (["estimate"], 0),
        (["estimate", "--help"], 0),
        (["estimate", "gpt-3", "--tokens", "1T"], 0),
        (["estimate", "gtp-3"], 2),
    ],
)
def test_list_help_estimate_and_a_typo_answer_without_importing_tensorflow(arguments, status):
    code = (
        "import sys; from tf_examples.cli import main; status = main(sys.argv[1:]); "
        "print(sorted({'tensorflow', 'keras', 'numpy', 'matplotlib'} & set(sys.modules))); "
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert done.stdout.splitlines()[-1] == "[]"


def test_estimate_prints_a_table_for_people_and_json_for_programs(capsys):
    typed = (
        "estimate gpt3 --tokens 1.5T --devices 64 --device h100 --mfu 0.5 --optimizer momentum "
        "--precision mixed_float32_gradients --zero-stage 2 --sequence-length 512 --batch-size 3 "
        "--recompute selective --deadline-days 7 --price-per-device-hour 2"
    )
    options = typed.split()
    assert cli.main([*options, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    expected = _costs.estimate(
        "gpt-3",
        tokens=1.5e12,
        devices=64,
        device="h100",
        mfu=0.5,
        optimizer="momentum",
        precision="mixed_float32_gradients",
        zero_stage=2,
        sequence_length=512,
        batch_size=3,
        recompute="selective",
        deadline_days=7,
        price_per_device_hour=2,
    )
    assert printed == json.loads(json.dumps(dataclasses.asdict(expected)))
    assert cli.main(options) == 0
    out = capsys.readouterr().out
    assert "174,604,259,328" in out
    assert f"{expected.money:,.0f}" in out
    assert max(map(len, out.splitlines())) <= 80


def test_estimate_without_a_model_lists_them(capsys):
    assert cli.main(["estimate"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[-len(PRESETS) :]] == list(PRESETS)
    assert cli.main(["estimate", "--json"]) == 0
    presets = json.loads(capsys.readouterr().out)["presets"]
    assert [preset["architecture"]["name"] for preset in presets] == list(PRESETS)
    assert all(preset["source"] for preset in presets)


def test_estimate_reads_a_shape_from_a_file_and_draws_its_memory(capsys, tmp_path):
    shape = tmp_path / "shape.json"
    shape.write_text(json.dumps(dataclasses.asdict(PRESETS["bert-base"].architecture)))
    figure = tmp_path / "memory.png"
    assert cli.main(["estimate", str(shape), "--figure", str(figure)]) == 0
    assert "109,482,240" in capsys.readouterr().out
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gtp-3"], "estimate: there is no preset 'gtp-3'. Did you mean 'gpt-3'?"),
        (["gpt-3", "--devices", "-4"], "`devices` must be an integer of at least 1"),
        (["gpt-3", "--devices", "four"], "'--devices'"),
        (["gpt-3", "--tokens", "many"], "`tokens` must be a number as in 300B"),
        (["gpt-3", "--tokens", "-3B"], "`tokens` must be a number as in 300B"),
        (["gpt-3", "--device", "b200"], "Did you mean 'v100'? There are: v100, a100"),
        (["gpt-3", "--mfu", "40"], "`mfu` must be a number in (0.0001, 1]"),
        (["gpt-3", "--optimizer", "lion"], "'lion' is not one of 'sgd', 'momentum'"),
        (["gpt-3", "--mfux", "1"], "--mfu"),
        (["no/such.json"], "can't read"),
        (["typo.json"], "there is no field 'layrs'. Did you mean 'layers'?"),
        (["broken.json"], "is no JSON: Expecting"),
        (["gpt-3", "extra"], "extra"),
        (["gpt-3", "--figure", "memory.gif"], "Did you mean memory.png?"),
        (["gpt-3", "--figure", ""], "Did you mean picture.png?"),
        (["gpt-3", "--figure", "no/such.png"], "can't write"),
        (["zzz", "--figure", "memory.png"], "there is no preset 'zzz'"),
        (["--figure", "memory.png"], "--figure needs a model"),
    ],
)
def test_what_estimate_cannot_answer_is_said_in_one_line(
    capsys, tmp_path, monkeypatch, arguments, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "typo.json").write_text('{"layrs": 3}')
    (tmp_path / "broken.json").write_text('{"layers": 3,')
    before = sorted(tmp_path.iterdir())
    assert said in refused(capsys, "estimate", *arguments)
    assert sorted(tmp_path.iterdir()) == before  # nothing half written


def test_the_readme_shows_what_estimate_prints(capsys):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    typed, *shown = readme.partition("$ tf-examples estimate ")[2].partition("```")[0].splitlines()
    assert cli.main(["estimate", *typed.split()]) == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert len(shown) >= 5
    assert [line for line in printed if line in shown] == shown, "copy the lines anew"
    assert f"for {len(PRESETS)} published models" in readme
    shape = json.loads(
        readme.partition('`{"layers"')[2].partition("}`")[0].join(['{"layers"', "}"])
    )
    assert _costs.estimate(shape).total_parameters == 124_439_808


def test_an_interrupted_run_ends_without_a_traceback(section, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    assert cli.main(["run", section]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_python_m_tf_examples_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "tf_examples", "list"], capture_output=True, text=True, check=True
    )
    assert all(name in done.stdout for name in NAMES)
