"""Every exercise: a stub that fails, a solution that passes, mistakes known by their name."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from tf_examples.exercises import _exercise, catalogue
from tf_examples.exercises._check import _Question, check
from tf_examples.exercises._isolation import Answer, Limits
from tf_examples.sections import NAMES as SECTIONS

FOLDER = _exercise.FOLDER
NUMPY = [entry.name for entry in catalogue.ENTRIES if entry.needs == ("numpy",)]
KERAS = [entry.name for entry in catalogue.ENTRIES if entry.needs != ("numpy",)]


def verdicts(texts, conventions=None):
    """The verdicts on files of these texts, by name."""
    files = {name: text.encode() for name, text in texts.items()}
    found = check(files, conventions, seed=11, limits=Limits(seconds=60.0))
    return {verdict.exercise: verdict for verdict in found}


def judged(name, conventions, answers, seed):
    """The verdict where `answers(case)` came back from the child."""
    question = _Question(name, None, {name: conventions}, seed)
    for case in question.cases:
        try:
            question.answers.append(Answer(answers(case), dict(case.inputs)))
        except Exception as error:  # as the child would report it
            question.answers.append(Answer(error=type(error).__name__, said=str(error)))
    return question.judge()


def test_there_are_eighteen_exercises_and_thirteen_first_ones_need_only_numpy():
    assert len(catalogue.NAMES) == 18
    assert [entry.needs for entry in catalogue.ENTRIES[:13]] == [("numpy",)] * 13


def test_every_exercise_has_its_two_files_and_every_file_its_row():
    for folder in ("solutions", "specs"):
        stems = {path.stem for path in (FOLDER / folder).glob("[!_]*.py")}
        assert stems == set(catalogue.NAMES), (
            f"{stems ^ set(catalogue.NAMES)}: an exercise is solutions/NAME.py, specs/NAME.py and "
            "a row in catalogue.py"
        )


@pytest.mark.parametrize("entry", catalogue.ENTRIES, ids=catalogue.NAMES)
def test_an_exercise_is_complete(entry):
    exercise = _exercise.load(entry.name)
    assert entry.points > 0, "say how many points it is worth, in catalogue.py"
    assert entry.minutes > 0, "say how many minutes it takes, in catalogue.py"
    assert entry.section in SECTIONS, "name its notebook in catalogue.py"
    assert len(exercise.spec.hints) >= 2, f"give specs/{entry.name}.py a second hint"
    for conventions in exercise.variants():
        stub = exercise.stub(conventions)
        assert "TODO: " in stub, "mark the solution with `# solution: ...`, `# end of solution`"
        assert "raise NotImplementedError" in stub
        assert len(ast.get_docstring(ast.parse(stub)) or "") > 200, "explain it at the top"
        assert max(map(len, stub.splitlines())) <= 100, "break the lines of the text"
        names = {mistake.name for mistake in possible(exercise, conventions)}
        assert len(names) >= 3, f"{conventions}: give specs/{entry.name}.py three known mistakes"


def possible(exercise, conventions):
    """The mistakes that these conventions allow."""
    return [m for m in exercise.spec.mistakes if exercise.wrong(m, conventions) is not None]


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_every_mistake_can_be_made_somewhere_and_says_one_thing_under_one_name(name):
    exercise = _exercise.load(name)
    says: dict[str, str] = {}
    for mistake in exercise.spec.mistakes:
        assert any(exercise.wrong(mistake, conventions) for conventions in exercise.variants()), (
            f"{mistake.name!r} is never possible: do its edits still match the solution?"
        )
        assert says.setdefault(mistake.name, mistake.says) == mistake.says


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_the_text_of_every_variant_says_its_own_conventions_and_no_others(name):
    exercise = _exercise.load(name)
    texts = [exercise.stub(conventions) for conventions in exercise.variants()]
    assert len(set(texts)) == len(texts), "a convention must be seen in the exercise's text"
    for text in texts:
        for convention in exercise.spec.conventions:
            assert f"[{convention}:" not in text


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_each_known_mistake_fails_and_is_named_with_its_remedy(name):
    exercise = _exercise.load(name)
    for conventions in exercise.variants():
        for mistake in possible(exercise, conventions):
            if "changed too" in mistake.name:
                continue

            def answers(case, mistake=mistake, conventions=conventions):
                return exercise.mistaken(mistake, case, conventions)

            found = judged(name, conventions, answers, seed=7)
            assert not found.passed, (
                f"{mistake.name!r} passes with {conventions}: a case is missing"
            )
            assert found.mistake == mistake.name, (
                f"{mistake.name!r} was taken for {found.mistake!r} with {conventions}:"
                f"\n{found.message}"
            )
            assert mistake.says in found.message


@pytest.mark.parametrize("name", catalogue.NAMES)
def test_the_right_answer_passes_whatever_was_drawn(name):
    exercise = _exercise.load(name)
    for conventions in exercise.variants():
        for seed in range(5):
            found = judged(
                name, conventions, lambda case, c=conventions: exercise.expected(case, c), seed
            )
            assert found.passed, found.message


def test_every_stub_fails_and_every_solution_passes_in_the_child():
    for number in range(2):
        chosen = {name: _exercise.load(name).variants()[-number] for name in NUMPY}
        exercises = {name: _exercise.load(name) for name in NUMPY}
        stubs = {name: exercises[name].stub(chosen[name]) for name in NUMPY}
        for verdict in verdicts(stubs, chosen).values():
            assert not verdict.passed, f"{verdict.exercise}: the stub passes; mark its solution"
            assert "Not started" in verdict.message
        solutions = {name: exercises[name].solution(chosen[name]) for name in NUMPY}
        for verdict in verdicts(solutions, chosen).values():
            assert verdict.passed, f"{verdict.exercise}: the solution fails\n{verdict.message}"


@pytest.mark.slow
def test_every_stub_fails_and_every_solution_passes_where_tensorflow_is_needed():
    for number in range(2):
        chosen = {name: _exercise.load(name).variants()[-number] for name in KERAS}
        exercises = {name: _exercise.load(name) for name in KERAS}
        stubs = {name: exercises[name].stub(chosen[name]) for name in KERAS}
        assert not any(v.passed for v in verdicts(stubs, chosen).values())
        solutions = {name: exercises[name].solution(chosen[name]) for name in KERAS}
        for verdict in verdicts(solutions, chosen).values():
            assert verdict.passed, f"{verdict.exercise}: the solution fails\n{verdict.message}"


@pytest.mark.slow
@pytest.mark.parametrize("name", NUMPY)
def test_each_known_mistake_is_named_in_the_child_too(name):
    exercise = _exercise.load(name)
    for conventions in exercise.variants():
        for mistake in possible(exercise, conventions):
            text = exercise.wrong(mistake, conventions)
            found = verdicts({name: text}, {name: conventions})[name]
            assert (found.passed, found.mistake) == (False, mistake.name), found.message


@pytest.mark.slow
def test_each_known_mistake_is_named_in_a_child_with_tensorflow_too():
    wrong: dict[str, list] = {}
    for name in KERAS:
        exercise = _exercise.load(name)
        wrong[name] = [
            (mistake.name, conventions, exercise.wrong(mistake, conventions))
            for conventions in exercise.variants()
            for mistake in possible(exercise, conventions)
        ]
    for number in range(max(map(len, wrong.values()))):  # one child for one mistake of each
        made = {name: each[number] for name, each in wrong.items() if number < len(each)}
        found = verdicts(
            {name: text for name, (_, _, text) in made.items()},
            {name: conventions for name, (_, conventions, _) in made.items()},
        )
        for name, (mistake, _, _) in made.items():
            assert not found[name].passed, (name, mistake)
            assert found[name].mistake == mistake, (name, mistake, found[name].message)


def test_a_stub_holds_nothing_of_the_solution():
    for name in catalogue.NAMES:
        exercise = _exercise.load(name)
        for conventions in exercise.variants():
            stub = exercise.stub(conventions)
            outside = set(stub.splitlines())
            whole = exercise.solution(conventions).splitlines()
            inside = [line for line in whole if line.strip() and line not in outside]
            assert inside, name
            assert "# solution" not in stub
            assert "end of solution" not in stub


def test_cases_are_fresh_at_each_draw_and_the_same_for_a_seed():
    for name in catalogue.NAMES:
        draw = _exercise.load(name).spec.cases
        first, again, other = (draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert repr(first) == repr(again), name
        assert repr(first) != repr(other), f"{name}: draw its cases from rng"


def test_the_readmes_plan_has_every_exercise_once_and_fits_its_minutes():
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    weeks = re.findall(r"^\| \d \| ([^|]*) \| ([^|]*) \| ([^|]*) \|", readme, re.MULTILINE)
    minutes = {entry.name: entry.minutes for entry in catalogue.ENTRIES}
    planned = []
    for shown, *exercises in weeks:
        assert set(shown.split(", ")) <= set(SECTIONS)
        in_class, at_home = (re.findall(r"\w+", cell) for cell in exercises)
        assert sum(minutes[name] for name in in_class) <= 45, shown
        planned += in_class + at_home
    assert sorted(planned) == sorted(catalogue.NAMES)
