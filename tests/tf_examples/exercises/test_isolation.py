"""Submissions that try to be graded rather than to be right: each scores 0 and hurts nothing."""

import os
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tf_examples.exercises import _child, _exercise, _isolation
from tf_examples.exercises._check import check
from tf_examples.exercises._exercise import Case, load
from tf_examples.exercises._isolation import Child, Limits

LIMITS = Limits(seconds=1.0, memory=400_000_000, cpu_seconds=5)
ADAM = load("adam")
RIGHT = ADAM.solution(ADAM.conventions())
CASES = ADAM.spec.cases(np.random.default_rng(0))
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits and processes of Linux")


def calls(body):
    """A file whose `adam` is `body`."""
    return "import os, sys\nimport numpy as np\ndef adam(**inputs):\n" + textwrap.indent(body, "  ")


HOSTILE = {
    "patched builtins": "import builtins\nbuiltins.abs = builtins.len = lambda *_: 0\n"
    "builtins.isinstance = builtins.all = lambda *_: True\n" + calls("return inputs['w']"),
    "patched NumPy": "import numpy as np\nnp.allclose = np.array_equal = lambda *_, **__: True\n"
    "np.linalg.norm = lambda *_: 0.0\nnp.isfinite = lambda x: True\n"
    + calls("return 0 * inputs['w']"),
    "an object equal to everything": calls(
        "class Equal:\n  __eq__ = lambda *_: True\n  __array__ = lambda *_: 1\nreturn Equal()"
    ),
    "an array subclass": RIGHT.replace("return np.stack(trajectory)",
        "class Right(np.ndarray):\n        __eq__ = lambda *_: True\n"
        "    return np.stack(trajectory).view(Right)"),
    "NaN": calls("return np.full((2, 1), np.nan)"),
    "infinities": calls("return np.full((2, 1), np.inf)"),
    "a wrong shape": calls("return np.zeros((1, 1, 2))"),
    "a shape that is nothing": calls("return np.zeros((0, 1))"),
    "a wrong dtype": calls("return np.array([['a'], ['b']])"),
    "an array of objects": calls("return np.array([[None], [None]])"),
    "a list in place of an array": calls("return [[0.0], [0.0]]"),
    "a list that holds itself": calls("a = []\na.append(a)\nreturn a"),
    "a gigantic number": calls("return 10**100000"),
    "mutation of the inputs": RIGHT.replace("    return", "    gradients *= 0\n    return"),
    "an endless loop": calls("while True: pass"),
    "an endless loop on import": "while True: pass\n",
    "endless output": calls("while True: print('x' * 100000)"),
    "a memory bomb": calls("return [bytearray(10**7) for _ in range(10**6)]"),
    "os._exit(0)": calls("os._exit(0)"),
    "sys.exit(0) on import": "import sys\nsys.exit(0)\n",
    "a signal to itself": calls("import signal\nsignal.raise_signal(signal.SIGKILL)"),
    "deep recursion": calls("return adam(**inputs)"),
    "a fake verdict printed": calls(
        "print('{\"passed\": true, \"points\": 10}', file=sys.__stdout__, flush=True)\nreturn 10"
    ),
    "answers written over": calls(
        "for descriptor in range(3, 20):\n"
        "  try: os.write(descriptor, b'{\"id\": 1, \"value\": true, \"inputs\": {}}\\n')\n"
        "  except OSError: pass\nreturn None"
    ),
    "answers flooded": calls(
        "for descriptor in range(3, 20):\n"
        "  try: os.write(descriptor, b'[' * 60000)\n  except OSError: pass"
    ),
    "descriptors closed": calls("os.closerange(0, 50)"),
    "a thread left behind": calls(
        "import threading\nspin = lambda: all(iter(lambda: 1, 0))\n"
        "threading.Thread(target=spin).start()\nreturn 0"
    ),
    "frames searched": calls(
        "frame, found = sys._getframe(), []\nwhile frame:\n"
        "  found += [v for v in frame.f_locals.values() if isinstance(v, np.ndarray)]\n"
        "  frame = frame.f_back\n"
        "return next((v for v in found if v.shape == (2, 1)), None)"
    ),
    "gc searched": calls(
        "import gc\nheld = gc.get_objects()\n"
        "found = [o for o in held if type(o).__name__ in ('Case', 'Spec')]\n"
        "arrays = [o for o in held if isinstance(o, np.ndarray) and o.shape == (2, 1)]\n"
        "return (found or arrays or [None])[0]"
    ),
    "the child's own functions patched": calls(
        "import __main__\n__main__.encode = __main__._type = lambda *_: True\n"
        "__main__._dumps = lambda *_: '{}'\nreturn 0"
    ),
    "a key that is half a character": calls("return {'\\ud800': 1}"),
    "a type that is half a character": calls(
        "class X: pass\nX.__module__ = '\\ud800'\nreturn X()"
    ),
    "a dtype forged": calls(
        "for descriptor in range(3, 20):\n"
        "  try: os.write(descriptor, b'{\"id\": 1, \"value\": {\"kind\": \"array\", \"dtype\": "
        "\"(1f8,f8\", \"shape\": [1], \"data\": \"\"}, \"inputs\": {}}\\n')\n"
        "  except OSError: pass"
    ),
    "a source that is not read": calls(
        "import time\nfor descriptor in range(3, 20):\n"
        "  try: os.write(descriptor, b'{\"id\": 1, \"value\": null, \"inputs\": {}}\\n')\n"
        "  except OSError: pass\ntime.sleep(1000)"
    ) + "#" * 300_000,
    "folders a thousand deep": calls(
        "os.mkdir('y')\ntop = os.open('y', os.O_RDONLY)\nfor _ in range(1500):\n"
        "  os.mkdir('y', dir_fd=top)\n  top, old = os.open('y', os.O_RDONLY, dir_fd=top), top\n"
        "  os.close(old)"
    ),
    "the library's optimizer": calls("import custom_optimizers\nreturn custom_optimizers.Adam()"),
    "the solution imported": calls(
        "from tf_examples.exercises.solutions import adam as ours\nreturn ours.adam(**inputs)"
    ),
}  # fmt: skip


def others(tmp_path, monkeypatch):
    """Another student's file and the class's grades; temporary folders are made beside them."""
    for name in ("others", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "others" / "adam.py").write_text(RIGHT, encoding="utf-8")
    (tmp_path / "others" / "grades.csv").write_text("s01,10\n", encoding="utf-8")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path / "others"


def graded(source, **options):
    """The verdict on `source`, handed in as adam.py."""
    (verdict,) = check({"adam": source.encode()}, limits=LIMITS, **options)
    return verdict


def running():
    """The processes below this one, but for the one that Python keeps beside a process pool."""
    found = psutil.Process().children(recursive=True)
    return [process for process in found if "resource_tracker" not in str(process.cmdline())]


def unharmed(tmp_path, folder):
    """Nothing runs on, nothing was left in the temporary folder, the other grades stand."""
    assert running() == []
    assert list((tmp_path / "tmp").iterdir()) == []
    assert (folder / "grades.csv").read_text(encoding="utf-8") == "s01,10\n"
    (verdict,) = check({"adam": (folder / "adam.py").read_bytes()})
    assert verdict.passed, verdict.message


@linux
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_submission_scores_nothing_and_hurts_nobody(name, tmp_path, monkeypatch):
    folder = others(tmp_path, monkeypatch)
    verdict = graded(HOSTILE[name])
    assert (verdict.passed, verdict.points) == (False, 0)
    assert verdict.message
    unharmed(tmp_path, folder)


EDITS = {
    "open": "open(target, 'w').write('')",
    "os.open": "os.write(os.open(target, os.O_WRONLY | os.O_TRUNC), b'0')",
    "by a path object": "import pathlib\npathlib.Path(target).write_text('')",
    "by a str of its own": "class S(str):\n  __str__ = lambda s: 'x'\n"
    "open(S(target), 'w').write('')",
    "removed": "os.remove(target)",
    "renamed": "os.rename(target, 'mine.py')",
    "replaced": "open('mine', 'w').close()\nos.replace('mine', target)",
    "by a symbolic link": "os.symlink(target, 'link')\nopen('link', 'w').write('')",
    "by a folder's descriptor": "top = os.open(os.path.dirname(target), os.O_RDONLY)\n"
    "os.remove('adam.py', dir_fd=top)",
    "by a shell": "os.system(f'rm {target}')",
    "by a program": "import subprocess\nsubprocess.run(['rm', target])",
    "by ctypes": "import ctypes\nctypes.CDLL(None).unlink(target.encode())",
    "truncated": "os.truncate(target, 0)",
    "read": "open(target).read()",
}  # fmt: skip


@linux
@pytest.mark.parametrize("way", EDITS)
def test_other_students_files_can_neither_be_edited_nor_read(way, tmp_path, monkeypatch):
    folder = others(tmp_path, monkeypatch)
    body = f"target = {str(folder / 'adam.py')!r}\n{EDITS[way]}"
    verdict = graded(calls(body), closed=[folder] if way == "read" else [])
    assert not verdict.passed
    assert "PermissionError" in verdict.message, verdict.message
    unharmed(tmp_path, folder)


# Ways round the audit hook: each of them was once seen to work without the kernel's fence.
ROUND = {
    "the hook's list, from the traceback of a refusal": "try: open(solution)\n"
    "except PermissionError as error:\n  last = error.__traceback__\n"
    "  while last.tb_next: last = last.tb_next\n"
    "  last.tb_frame.f_locals['closed'].clear()\ntake(open(solution).read())",
    "a path resolved by a function of one's own": "import posixpath\n"
    "mine = os.path.join(os.getcwd(), 'x')\n"
    "posixpath._joinrealpath = lambda *_: (mine, True)\n"
    "open(target, 'w').close()\ntake(open(solution).read())",
    "a path below a folder's descriptor": "os.makedirs('s')\nos.makedirs('a/b/c/d/e/f/g/h/i/j')\n"
    "top = os.open('s', os.O_RDONLY)\nos.chdir('a/b/c/d/e/f/g/h/i/j')\n"
    "far = '../' * (os.getcwd().count('/') - 9)\n"
    "found = os.open(far + solution, os.O_RDONLY, dir_fd=top)\n"
    "take(os.read(found, 100000).decode())",
    "a program started without an event": "import multiprocessing.util as util\n"
    "r, w = os.pipe()\nprogram = f'import os; os.write({w}, open({solution!r}, \"rb\").read())'\n"
    "util.spawnv_passfds(os.fsencode(sys.executable), [sys.executable, '-c', program], [w])\n"
    "os.close(w)\ntake(os.read(r, 100000).decode())",
    "the grader's memory": "import re\n"
    "for line in open(f'/proc/{os.getppid()}/maps'):\n"
    "  place, rights = line.split()[:2]\n  low, high = (int(x, 16) for x in place.split('-'))\n"
    "  if 'rw' not in rights or high - low > 30_000_000: continue\n"
    "  memory = open(f'/proc/{os.getppid()}/mem', 'rb', 0)\n  memory.seek(low)\n"
    "  for text in re.findall(rb'import numpy as np\\n\\n\\ndef adam(?:.*\\n)*?"
    "    return np.stack', memory.read(high - low)):\n"
    "    if b'solution:' in text: take(text.decode() + '(trajectory)\\n')\n"
    "raise ValueError('it could be read')",
    "the grader's environment": "raise ValueError(open(f'/proc/{os.getppid()}/environ').read())",
    "the grader's pipes": "for name in os.listdir(f'/proc/{os.getppid()}/fd'):\n"
    "  open(f'/proc/{os.getppid()}/fd/{name}', 'rb', 0).read(1)",
    "a link made elsewhere": "os.mkdir('fake')\nos.symlink(os.path.abspath('fake'), place)",
    "a pipe made elsewhere": "os.mkfifo(place)",
    "memory that is shared": "import _posixshmem\n_posixshmem.shm_open(f'/{os.getppid()}', "
    "os.O_CREAT | os.O_RDWR, 0o600)",
    "another root": "os.chroot(os.path.dirname(os.path.dirname(solution)))\n"
    "take(open('/solutions/adam.py').read())",
    "a signal by descriptor": "import signal\n"
    "signal.pidfd_send_signal(os.pidfd_open(os.getppid()), signal.SIGKILL)",
}  # fmt: skip

whole_landlock = pytest.mark.skipif(
    _child.landlock() < 6, reason="needs all of Landlock: Linux 6.12"
)


@whole_landlock
@pytest.mark.parametrize("way", ROUND)
def test_whoever_gets_round_the_audit_hook_meets_the_kernel(way, tmp_path, monkeypatch):
    folder = others(tmp_path, monkeypatch)
    solution = _exercise.FOLDER / "solutions" / "adam.py"
    source = (
        f"import os, sys\nsolution = {str(solution)!r}\ntarget = {str(folder / 'adam.py')!r}\n"
        f"place = {str(tmp_path / 'place')!r}\n"
        "def take(text):\n  lines = text.splitlines()\n"
        "  kept = [line for line in lines if '[epsilon: inside]' not in line]\n"
        "  exec('\\n'.join(kept), globals())\n"
    )
    verdict = graded(source + ROUND[way], closed=[folder])
    assert not verdict.passed
    assert verdict.message
    assert "raised ValueError" not in verdict.message
    for place in (tmp_path / "place", Path(f"/dev/shm/{os.getpid()}")):
        assert not place.exists()
        assert not place.is_symlink()
    unharmed(tmp_path, folder)


@whole_landlock
def test_tensorflows_own_way_to_files_meets_the_kernel_too(tmp_path):
    source = (
        "import tensorflow as tf\n"
        f"def f(read): return tf.io.read_file({__file__!r}).numpy() if read else "
        f"tf.io.write_file({str(tmp_path / 'place')!r}, 'x')"
    )
    with Child(("numpy", "tensorflow", "keras")) as child:
        for read in (True, False):
            answer = child.ask("training_step", source, "", Case("", "f", {"read": read}))
            assert answer.error in ("PermissionDeniedError", "FailedPreconditionError"), answer
    assert not (tmp_path / "place").exists()


@linux
def test_the_project_can_be_read_nowhere_even_if_it_lies_among_the_packages(tmp_path, monkeypatch):
    packages = tmp_path / "site-packages"
    for name in ("numpy", "tf_examples/exercises", "custom_optimizers"):
        (packages / name).mkdir(parents=True)
    (packages / "typing.py").touch()
    own = [str(packages / "tf_examples"), str(packages / "custom_optimizers")]
    monkeypatch.setattr(_isolation, "_own_folders", lambda: own)
    assert set(_isolation._readable((str(packages), "/no/such/place"))) == {
        str(packages / "numpy"), str(packages / "typing.py"), "/no/such/place",
    }  # fmt: skip


OUTLIVING = {
    "a fork": "os.fork() or time.sleep(60)",
    "a new session": "if not os.fork():\n  os.setsid()\n  time.sleep(60)",
    "a double fork": "if not os.fork():\n  os.setsid()\n  os.fork() and os._exit(0)\n"
    "  time.sleep(60)",
    "a child that forks again when its parent ends": "if not os.fork():\n  os.setsid()\n"
    "  while True:\n    if os.fork(): os._exit(0)\n    time.sleep(0.001)",
    "a program": "import subprocess\nsubprocess.Popen(['sleep', '60'], start_new_session=True)",
}  # fmt: skip


@linux
@pytest.mark.parametrize("way", OUTLIVING)
def test_processes_that_outlive_their_call_are_ended(way, tmp_path, monkeypatch):
    """Without the audit hook, which would not let them start."""
    folder = others(tmp_path, monkeypatch)
    body = f"import time\n{OUTLIVING[way]}\nreturn None"
    with Child(limits=Limits(seconds=1.0, guard=False)) as child:
        child.ask("adam", calls(body), "", CASES[0])
    unharmed(tmp_path, folder)


@linux
def test_the_system_itself_limits_what_the_audit_hook_would_let_pass(tmp_path):
    sources = {
        "file size": "open('big', 'wb').write(bytes(60_000_000))",
        "descriptors": "kept = [os.open('.', os.O_RDONLY) for _ in range(300)]",
        "memory": "np.ones(10**8)",
    }
    for what, body in sources.items():
        with Child(limits=Limits(seconds=5.0, guard=False)) as child:
            answer = child.ask("adam", calls(body), "", CASES[0])
        assert answer.error in ("OSError", "MemoryError", "_ArrayMemoryError", "end"), what


def test_a_student_sees_neither_the_environment_nor_the_arguments_of_the_grader(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "do not tell")
    with Child() as child:
        answer = child.ask("adam", calls("return [dict(os.environ), sys.argv]"), "", CASES[0])
    assert "SECRET_TOKEN" not in str(answer.value)
    assert answer.value[1] == ["-c"]


def test_packages_that_an_exercise_does_not_need_are_not_there():
    with Child() as child:
        for package in ("keras", "psutil", "pytest", "tf_examples"):
            answer = child.ask(f"on_{package}", calls(f"import {package}"), "", CASES[0])
            assert answer.error in ("ModuleNotFoundError", "PermissionError"), package
        assert not child.ask("adam", RIGHT, "", CASES[0]).error


def test_the_project_is_refused_by_name_even_where_a_path_to_it_is_added(tmp_path):
    """As in the site-packages that a child with TensorFlow has on its path."""
    (tmp_path / "custom_optimizers").mkdir()
    body = f"sys.path.append({str(tmp_path)!r})\nimport custom_optimizers"
    with Child() as child:
        answer = child.ask("adam", calls(body), "", CASES[0])
    assert answer.said == "import custom_optimizers: not from an exercise"


def test_a_child_that_cannot_start_is_an_error_of_the_grader_not_of_the_student():
    with pytest.raises(RuntimeError, match="did not start"):
        Child(packages=["numpy", "no_such_package"])
    assert running() == []


def test_a_kernel_without_landlock_or_with_an_early_one_is_told(monkeypatch):
    for version, said in ((0, "no Landlock"), (3, "before Linux 6.12"), (6, "")):
        monkeypatch.setattr(_child, "landlock", lambda version=version: version)
        lines = [line for line in _isolation.missing_limits() if "root" not in line]
        assert len(lines) == (1 if said else 0)
        assert all(said in line for line in lines)


def test_root_and_other_systems_are_told_what_they_lack(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    assert any("root" in line for line in _isolation.missing_limits())
    monkeypatch.setattr(sys, "platform", "darwin")
    assert any("macOS" in line for line in _isolation.missing_limits())
    monkeypatch.setattr(os, "name", "nt")
    assert any("Windows" in line for line in _isolation.missing_limits())


VALUES = (
    None, True, 3, -2.5, "text", [1, [2.0]], (1, "a"), {"a": np.arange(3)}, np.float32(1.5),
    np.zeros((0, 3)), np.arange(6, dtype=">i2").reshape(2, 3)[:, ::2], np.array([[1.0, np.nan]]),
)  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_cross_unchanged(value):
    received = _child.decode(_child.encode(value))
    assert type(received) is type(value)
    np.testing.assert_equal(received, value)


FORGED: tuple[object, ...] = (
    {}, {"kind": "array"}, {"kind": "pickle", "data": ""}, [1], 10**400,
    {"kind": "array", "dtype": "O", "shape": [1], "data": "AAAAAAAAAAA="},
    {"kind": "array", "dtype": "<U2", "shape": [1], "data": "AAAAAAAAAAA="},
    {"kind": "array", "dtype": "<f8", "shape": [2], "data": "AAAAAAAAAAA="},
    {"kind": "array", "dtype": "<f8", "shape": [1], "data": "not base 64"},
    {"kind": "array", "dtype": [["a", "<f8"]], "shape": [1], "data": "AAAAAAAAAAA="},
    {"kind": "array", "dtype": "(1f8,f8", "shape": [1], "data": ""},
    {"kind": "scalar", "dtype": "<f8", "shape": [2], "data": "AAAAAAAAAAAAAAAAAAAAAA=="},
    {"kind": "list", "items": 3}, {"kind": "dict", "items": [1]}, {"kind": []},
)  # fmt: skip


@pytest.mark.parametrize("message", FORGED, ids=lambda message: repr(message)[:40])
def test_a_forged_answer_is_refused(message):
    with pytest.raises((ValueError, TypeError, KeyError)):
        _child.decode(message)


def test_what_a_terminal_would_obey_is_taken_out_of_names_of_types_and_keys():
    wrong = "{'\\x1b[2J\\nadam: passed': 1}", "type('\\x1b[2J\\npassed', (), {})()"
    for value in wrong:
        message = graded(calls(f"return {value}")).message
        assert "\x1b" not in message
        assert not any(line.startswith(("adam: passed", "passed")) for line in message.splitlines())


def test_what_a_terminal_would_obey_is_taken_out_of_what_students_say():
    assert "\x1b" not in _isolation.printable("\x1b[2Jpassed")
    with Child() as child:
        body = "print('\\x1b[2J')\nraise ValueError('\\x1b]0;passed\\x07')"
        answer = child.ask("adam", calls(body), "", CASES[0])
        time.sleep(0.1)
        assert "\x1b" not in answer.said + answer.shown + child.output


def test_a_case_has_its_inputs_sent_fresh_so_that_one_call_cannot_spoil_the_next():
    case = Case("one", "f", {"x": np.ones(2)})
    with Child() as child:
        for _ in range(2):
            answer = child.ask("adam", "def f(x):\n  x += 1\n  return x", "", case)
            np.testing.assert_array_equal(answer.value, [2, 2])
            assert answer.inputs
            np.testing.assert_array_equal(answer.inputs["x"], [2, 2])
    np.testing.assert_array_equal(case.inputs["x"], [1, 1])
