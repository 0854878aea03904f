"""What a student is told of a wrong answer."""

import re

import numpy as np
import pytest

from tf_examples.exercises._check import check, compare, show
from tf_examples.exercises._exercise import Case, load
from tf_examples.exercises._isolation import Limits

ADAM = load("adam")
RIGHT = ADAM.solution(ADAM.conventions())


def verdict(text, encoding="utf-8", **options):
    (found,) = check({"adam": text.encode(encoding)}, **options)
    return found


def test_the_right_answer_earns_the_points_and_no_message():
    found = verdict(RIGHT)
    assert (found.passed, found.points, found.message) == (True, ADAM.entry.points, "")


def test_a_wrong_answer_shows_the_case_both_values_and_the_error_beside_the_tolerance():
    found = verdict(RIGHT.replace("w - learning_rate", "w + learning_rate"), seed=5)
    case = ADAM.spec.cases(np.random.default_rng([5, 0]))[0]
    assert found.case == case.name
    for part in (
        f"{case.name}:", "adam(", "learning_rate = ", "beta_1 = ", "expected: [[", "received: [[",
        "relative error ", "allowed 1e-06", "against the gradient",
    ):  # fmt: skip
        assert part in found.message, part
    assert found.mistake == "wrong sign"


def test_cases_are_drawn_afresh_by_the_seed_and_alike_by_the_same_one():
    wrong = RIGHT.replace("np.stack(trajectory)", "np.stack(trajectory) + 1")
    first, again, other = (verdict(wrong, seed=seed).message for seed in (1, 1, 2))
    assert first == again != other


def test_a_stub_is_not_started():
    assert "Not started" in verdict(ADAM.stub(ADAM.conventions())).message


def test_a_crash_shows_the_students_own_lines_and_no_others():
    text = "def adam(**inputs):\n    return helper(inputs)\n\ndef helper(x):\n    return x['v']\n"
    message = verdict(text).message
    assert "adam.py raised KeyError: 'v'" in message
    assert "line 2, in adam\n    return helper(inputs)" in message
    assert "line 5, in helper\n    return x['v']" in message
    assert not re.search(r"_child|<string>|_answer|File \"", message)


def test_a_crash_inside_of_numpy_shows_the_students_line():
    message = verdict("import numpy as np\ndef adam(w, **_):\n    return np.dot(w, 'a')\n")
    assert "line 3, in adam\n    return np.dot(w, 'a')" in message.message
    assert "site-packages" not in message.message


def test_what_the_students_code_printed_is_kept_for_the_student():
    found = verdict("def adam(**inputs):\n    print('v is', 3)\n")
    assert found.printed.startswith("v is 3\n")


BROKEN = {
    "a syntax error": ("def adam(:\n    pass\n", "line 1\n    def adam(:\n             ^"),
    "no such function": ("def adma(): pass\n", "has no function or class `adam`"),
    "an empty file": ("", "has no function or class `adam`"),
    "a name that is not a function": ("adam = 3\n", "has no function or class `adam`"),
    "forgotten return": (RIGHT.replace("return np", "np"), "is there a `return`?"),
    "a package that is not there": ("import torch\n", "standard library and numpy"),
    "an endless loop": ("def adam(**_):\n    while True: pass\n", "loop that never ends"),
    "an exit": ("import os\nos._exit(0)\n", "ended before it answered"),
    "too much memory": ("x = bytearray(10**10)\n", "out of memory"),
    "wrong arguments": ("def adam(w): return w\n", "unexpected keyword argument"),
    "a wrong shape": (
        RIGHT.replace("return np.stack(trajectory)", "return w"),
        "The shape must be (2, 1), and is (1,).",
    ),
    "a changed input": (
        RIGHT.replace("return np", "gradients *= 0\n    return np"),
        "changed its input gradients",
    ),
    "a null byte": ("x = 1\0\n", "null"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_does_not_work_is_told_why(what):
    text, said = BROKEN[what]
    found = verdict(text, limits=Limits(seconds=1.0))
    assert (found.passed, found.points) == (False, 0)
    assert said in found.message, found.message


def test_a_file_in_another_encoding_is_named_with_the_remedy():
    found = verdict("# 梯度\n" + RIGHT, encoding="gb18030")
    assert "adam.py is not UTF-8" in found.message
    assert "Save it as UTF-8" in found.message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_comments_in_any_language_are_fine(encoding):
    assert verdict("# 梯度\n" + RIGHT, encoding=encoding).passed


def test_windows_line_ends_are_fine():
    assert verdict(RIGHT.replace("\n", "\r\n")).passed


def test_a_missing_file_is_named():
    (found,) = check({"adam": None})
    assert "There is no file adam.py" in found.message


def test_a_crash_of_one_exercise_leaves_the_next_one_its_points():
    other = load("gradient_clipping")
    right = other.solution(other.conventions()).encode()
    files = {"adam": b"import os\nos._exit(0)\n", "gradient_clipping": right}
    assert [found.passed for found in check(files)] == [False, True]


def test_the_conventions_of_another_year_fail_and_are_named():
    found = verdict(RIGHT, conventions={"adam": {"epsilon": "inside"}})
    assert found.mistake == "epsilon outside the root"


def test_an_answer_within_the_tolerance_passes_and_one_beyond_it_fails():
    exact = np.array([3.0, 4.0])
    assert not compare(exact, exact * (1 + 0.9e-6), 1e-6)
    assert "relative error 1.1e-06, allowed 1e-06" in compare(exact, exact * (1 + 1.1e-6), 1e-6)


COMPARED = [
    (0.5, 0.5, ""), (0.5, np.float64(0.5), ""), (0.5, np.array(0.5), ""), (0.0, 1e-9, ""),
    (3, 3, ""), (3, 3.0, ""), (3, 4, "Whole numbers"), (10**12, 10**12 + 1, "Whole numbers"),
    (0.5, True, "must be one number"), (0.5, "0.5", "must be one number"), (0.5, None, "`return`"),
    (0.5, np.array([0.5]), "must be one number"), (True, True, ""), (True, 1, "expected"),
    ("a", "a", ""), ("a", "b", "expected: 'a'"), (None, None, ""), (None, 0, "expected"),
    ([np.ones(2), 1.0], (np.ones(2), 1.0), ""), ([1.0, 2.0], [1.0], "received: [1]"),
    ({"w": 1.0}, {"w": 1.0}, ""), ({"w": 1.0}, {"v": 1.0}, "received: {v: 1}"),
    ({"w": 1.0}, {"w": 2.0}, "expected at ['w']: 1"), ([[1.0], [2.0]], [[1.0], [3.0]], "at [1][0]"),
    (np.ones(2), [1.0, 1.0], "must be a NumPy array, and is of type list"),
    (np.ones(2), np.array([1, 1]), ""), (np.ones(2), np.array([True, True]), "dtype bool"),
    (np.arange(2), np.arange(2), ""), (np.arange(2), np.arange(2) + 1, "Whole numbers"),
    (np.ones(2), np.array([1, np.nan]), "NaN"), (np.ones(2), np.array([1, np.inf]), "infinite"),
    (np.array([np.nan, 1.0]), np.array([np.nan, 1.0]), ""),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "received", "said"), COMPARED, ids=repr)
def test_answers_are_compared_by_value_with_what_is_wrong_in_words(expected, received, said):
    problem = compare(expected, received, 1e-6)
    assert bool(problem) == bool(said)
    assert said in problem


def test_long_arrays_are_shown_by_their_ends_and_short_ones_whole():
    assert "..." in show(np.arange(1000.0))
    assert "shape (1000,)" in show(np.arange(1000.0))
    assert show(np.arange(3)) == "[0 1 2]"


def test_a_case_is_described_with_every_input_of_the_call():
    from tf_examples.exercises._check import describe

    text = describe(Case("two", "f", {"x": np.zeros((2, 1)), "rate": 0.25}))
    assert text == "  f(\n    x = [[0.]\n         [0.]]\n    rate = 0.25\n  )"


@pytest.mark.parametrize(
    ("want", "have", "said"),
    [
        ({"dw": 1.0, "db": 2.0}, (1.0, 2.0), "It must be a dict, and is of type tuple."),
        ({"dw": 1.0, "db": 2.0}, {"dw": 1.0}, "It must have the keys dw, db: db missing."),
        ([1.0, 2.0], [1.0], "There must be 2 entries, and there are 1."),
        ([1.0, 2.0], np.ones(2), "It must be a list, and is of type ndarray."),
    ],
)
def test_an_answer_of_the_wrong_build_is_told_the_right_one(want, have, said):
    assert said in compare(want, have, 1e-6)


def test_an_input_that_was_nearly_put_back_is_told_apart_from_one_that_was_changed():
    text = (
        "def relative_error(a, b): return 0\n"
        "def numerical_gradient(f, w, h):\n  g = w.copy()\n  for i in range(w.size):\n"
        "    w.flat[i] += h\n    up = f(w)\n    w.flat[i] -= 2 * h\n    down = f(w)\n"
        "    w.flat[i] += h\n    g.flat[i] = (up - down) / (2 * h)\n  return g\n"
    )
    said = [check({"gradient_check": text.encode()}, seed=s)[0].message for s in range(6)]
    assert any("changed in its last digits" in message for message in said)
    assert not any("w = w - ..." in message for message in said)
