"""`once`: computed once in a step, anew in the next, and at every call outside of one."""

import pytest

from custom_optimizers.once import once, one_step


@pytest.fixture
def computed():
    return []


def ask(computed, key):
    def compute():
        computed.append(key)
        return len(computed)

    return once(key, compute)


def test_a_key_is_computed_once_a_step(computed):
    for _ in range(2):
        with one_step():
            assert [ask(computed, key) for key in "aba"] == [
                len(computed) - 1,
                len(computed),
                len(computed) - 1,
            ]
    assert computed == ["a", "b", "a", "b"]


def test_outside_of_a_step_every_call_computes(computed):
    assert [ask(computed, "a"), ask(computed, "a")] == [1, 2]


def test_a_step_within_a_step_and_one_that_fails_leave_the_outer_one_as_it_was(computed):
    with one_step():
        first = ask(computed, "a")
        with pytest.raises(ZeroDivisionError), one_step():
            once("a", lambda: computed.append("a") or 1 / 0)
        assert ask(computed, "a") == first
    assert computed == ["a", "a"]
    ask(computed, "a")
    assert len(computed) == 3
