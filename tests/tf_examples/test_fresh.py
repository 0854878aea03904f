"""Calls in processes of their own: what they answer, and that none is left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tf_examples import _fresh
from tf_examples._fresh import EndedError, Fresh

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and fork")


def below(process):
    return psutil.Process(process).children(recursive=True)


def gone(processes, seconds=10):
    return not psutil.wait_procs(processes, timeout=seconds)[1]


def test_each_call_has_a_process_of_its_own_and_the_module_is_imported_once(new_children):
    with Fresh("os") as fresh:
        first, second = fresh.call("getpid"), fresh.call("getpid")
        parents = {fresh.call("getppid") for _ in range(2)}
        assert first != second
        assert os.getpid() not in (first, second)
        if _fresh.COPIES:
            assert len(parents) == 1
    assert not new_children()


def test_what_a_call_sets_the_next_one_does_not_see():
    with Fresh("os") as fresh:
        fresh.call("chdir", Path.cwd().anchor)
        assert fresh.call("getcwd") == str(Path.cwd())


def test_the_environment_is_ours_and_what_is_given_beside_it():
    with Fresh("os", {"A_NAME": "value"}) as fresh:
        assert fresh.call("getenv", "A_NAME") == "value"
        assert fresh.call("getenv", "PATH") == os.environ["PATH"]
    assert "A_NAME" not in os.environ


def test_an_error_is_one_line_and_the_next_call_works():
    with Fresh("math") as fresh:
        with pytest.raises(EndedError, match=r"^ValueError: .*") as error:
            fresh.call("sqrt", -1.0)
        assert "\n" not in str(error.value)
        assert fresh.call("sqrt", 16.0) == 4.0


@linux
@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("abort", [], "ended by signal 6: too little memory?"),
        ("_exit", [0], "ended without an answer"),
        ("getcwdb", [], "ended without an answer"),  # bytes are no JSON
    ],
)
def test_a_process_that_ends_without_an_answer_is_said_to(function, arguments, message):
    with Fresh("os") as fresh:
        with pytest.raises(EndedError, match=message.replace("?", r"\?")):
            fresh.call(function, *arguments)
        assert fresh.call("getenv", "A_NAME_THAT_IS_NOT_SET") is None


def test_a_module_that_can_not_be_imported_is_an_ended_process(new_children):
    with Fresh("no_such_module") as fresh, pytest.raises(EndedError, match="without an answer"):
        fresh.call("anything")
    assert not new_children()


def test_what_a_call_prints_is_not_taken_for_its_answer():
    with Fresh("builtins") as fresh:
        assert fresh.call("print", '{"value": 1}') is None
        assert fresh.call("abs", -2) == 2


@pytest.fixture
def interrupted():
    """Ctrl-C in half a second."""
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.5)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupted_call_leaves_no_process(interrupted, new_children):
    with Fresh("time") as fresh:
        fresh.call("time")
        interrupted()
        with pytest.raises(KeyboardInterrupt):
            fresh.call("sleep", 60)
        assert not new_children()
        assert fresh.call("time") > 0  # begins anew, with no answer of the call before
    assert not new_children()


def test_where_no_process_can_be_copied_each_call_has_a_new_one(monkeypatch, new_children):
    monkeypatch.setattr(_fresh, "COPIES", False)
    with Fresh("os") as fresh:
        assert fresh.call("getppid") != fresh.call("getppid")
        assert not new_children()
    program = "from tf_examples import _fresh; _fresh.COPIES = False; _fresh.main('math')"
    calls = '["sqrt", [4.0]]\n["sqrt", [-1.0]]\n'
    done = subprocess.run(
        [sys.executable, "-c", program], input=calls, capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers[0] == {"value": 2.0}
    assert answers[1]["error"].startswith("ValueError: ")


@linux
def test_processes_end_with_the_one_that_started_them_even_if_that_is_killed():
    program = (
        "from tf_examples._fresh import Fresh\n"
        "with Fresh('time') as fresh:\n"
        "    fresh.call('time')\n"
        "    print('ready', flush=True)\n"
        "    fresh.call('sleep', 60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        deadline = time.monotonic() + 20
        while len(below(process.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        others = below(process.pid)
        assert len(others) == 2
        process.kill()
    assert gone(others)


@linux
def test_memory_is_seen_to_grow_and_its_peak_to_be_forgotten():
    before = _fresh.resident()
    block = bytearray(b"1" * 50_000_000)
    assert _fresh.resident() - before == pytest.approx(len(block), abs=3_000_000)
    del block
    assert _fresh.peak() - before > 45_000_000
    _fresh.forget_peak()
    assert _fresh.peak() == pytest.approx(_fresh.resident(), abs=1_000_000)
    assert _fresh.peak() - before < 10_000_000


def test_a_system_without_proc_gives_none(monkeypatch, tmp_path):
    monkeypatch.setattr(_fresh, "_STATUS", tmp_path / "status")
    assert _fresh.resident() is None
    assert _fresh.peak() is None
