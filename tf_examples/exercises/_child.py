"""The program in which a student's code runs: it answers questions, and judges nothing.

Started by `_isolation` as `python -I -S -c SOURCE`; NumPy's folder is on its path until NumPy is
imported. It stands alone. A line of JSON on standard input is a request, a line on (what was)
standard output its answer; what the student prints goes to standard error. The parent uses `encode`
and `decode` too. Values are None, booleans, numbers, strings, arrays of numbers, and lists, tuples
and dicts of these; anything else is sent as the name of its type. Nothing is ever unpickled.
"""

import base64
import builtins
import json
import linecache
import os
import re
import signal
import struct
import sys
import traceback
import types
from typing import Any

import numpy as np

_GIGANTIC = 2**200  # more than any exercise needs, and still a float64
_ARRAY, _NUMBER = np.ndarray, np.generic
_dumps, _loads = json.dumps, json.loads
_b64encode, _b64decode = base64.b64encode, base64.b64decode
_frombuffer, _dtype, _ascontiguous = np.frombuffer, np.dtype, np.ascontiguousarray
_realpath, _is_folder, _type, _list, _str = os.path.realpath, os.path.isdir, type, list, str
_DTYPE = re.compile(r"[<>|][biuf][0-9]{1,2}")


def encode(value, depth=0):
    """`value` as JSON: containers and arrays as {"kind": ..., ...}."""
    kind = _type(value)
    if depth > 20:
        return {"kind": "other", "type": "a value nested too deeply"}
    if value is None or kind in (bool, float, _str):
        return value
    if kind is int:
        return value if abs(value) < _GIGANTIC else {"kind": "other", "type": "a gigantic int"}
    if kind in (_list, tuple):
        return {"kind": kind.__name__, "items": [encode(item, depth + 1) for item in value]}
    if kind is dict:
        items = [[_str(key), encode(item, depth + 1)] for key, item in value.items()]
        return {"kind": "dict", "items": items}
    if kind is _ARRAY or isinstance(value, _NUMBER):
        array = _ascontiguous(value)
        if array.dtype.kind in "biuf":
            return {
                "kind": "array" if kind is _ARRAY else "scalar",
                "dtype": array.dtype.newbyteorder("<").str,
                "shape": _list(value.shape),
                "data": _b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode(),
            }
        return {"kind": "other", "type": f"an array of dtype {array.dtype}"}
    return {"kind": "other", "type": f"{kind.__module__}.{kind.__qualname__}"[:200]}


class Other:
    """Stands for an answer of a type that can't be one."""

    def __init__(self, name):
        self.name = name


def decode(value):
    """What `encode` encoded; raises ValueError, TypeError or KeyError for anything else."""
    if not isinstance(value, dict):
        if not (value is None or isinstance(value, bool | int | float | str)):
            raise ValueError("not a value")
        if isinstance(value, int) and abs(value) >= _GIGANTIC:
            raise ValueError("a gigantic int")
        return value
    kind = value["kind"]
    if kind in ("list", "tuple"):
        items = [decode(item) for item in value["items"]]
        return items if kind == "list" else tuple(items)
    if kind == "dict":
        return {str(key): decode(item) for key, item in value["items"]}
    if kind == "other":
        return Other(str(value["type"])[:200])
    if kind not in ("array", "scalar") or not _DTYPE.fullmatch(value["dtype"]):
        raise ValueError("not a value")
    dtype = _dtype(value["dtype"])
    data = _b64decode(value["data"], validate=True)
    array = _frombuffer(data, dtype).reshape([int(side) for side in value["shape"]]).copy()
    return array if kind == "array" else array.reshape(())[()]


def _guard(folder, closed, project):
    """An audit hook, which can't be taken out again: refuses what no exercise needs."""
    separator = os.sep
    folder, closed = _realpath(folder) + separator, [_realpath(p) + separator for p in closed]
    refused = (
        "subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn",
        "os.spawn", "os.kill", "os.killpg", "os.putenv", "pty.spawn", "socket.__new__",
        "socket.connect", "socket.bind", "ctypes.dlopen", "ctypes.dlsym", "ctypes.addressof",
        "ctypes.string_at", "os.setxattr", "os.chown", "os.startfile", "signal.pthread_kill",
        "resource.setrlimit", "resource.prlimit", "sqlite3.connect",
    )  # fmt: skip
    changes = (
        "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate",
        "os.chmod", "os.utime", "shutil.rmtree", "shutil.move", "shutil.copyfile",
    )  # fmt: skip
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    refusal, texts, null = PermissionError, (str, bytes), os.devnull
    is_a, realpath, fsdecode, is_folder = isinstance, _realpath, os.fsdecode, _is_folder
    partition, plain = str.partition, str.__str__  # not those of a subclass

    def hook(event, arguments):
        if event == "import" and partition(arguments[0], ".")[0] in project:
            raise refusal(f"import {arguments[0]}: not from an exercise")
        if event in refused:
            raise refusal(f"{event}: not from an exercise")
        if event != "open" and event not in changes:
            return
        for path in arguments[: 2 if event in ("os.rename", "os.link") else 1]:
            if not is_a(path, texts):
                continue  # an open descriptor
            real = realpath(plain(path) if is_a(path, str) else fsdecode(path))
            if real.startswith(folder) or real == null:
                continue
            if event != "open" or arguments[2] & writing or is_folder(real):
                raise refusal(f"{event} of {path!r}: only inside of the working folder")
            if any((real + separator).startswith(place) for place in closed):
                raise refusal(f"{event} of {path!r}: not from an exercise")

    sys.addaudithook(hook)


def _limit(limits):
    """Limits of this process that the system knows; those it doesn't know stay out."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, most in limits.items():
        try:
            resource.setrlimit(getattr(resource, name), (most, most))
        except (AttributeError, ValueError, OSError):
            continue


def landlock():
    """The version of Linux's Landlock in this kernel; 0 where there is none.

    Reference: Linux's "Landlock: unprivileged access control", userspace-api/landlock.
    """
    return max(0, _system_call(444, None, 0, 1)) if sys.platform == "linux" else 0


def _system_call(number, *arguments):
    """A call of the kernel that the C library has no function for; -1 where it fails."""
    import ctypes

    call = ctypes.CDLL(None, use_errno=True).syscall
    return call(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))


def _confine(folder, readable, listed):
    """Lets the kernel refuse this process, and all that it starts, what no exercise needs.

    Files but those below `folder` (and reading those below `readable`), listing folders but those
    below `listed`, other programs, other processes' memory; from version 4 on TCP, from 6 on
    signals to processes outside. It can't be undone. Nothing happens where there is no Landlock.
    """
    version = landlock()
    if not version:
        return
    # Rights have bits, and versions add some: bit 0 execute, 1 write, 2 read, 3 list, ...
    every = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    of_files = every & (1 << 1 | 1 << 2 | 1 << 14)
    attributes = [every, *([3] if version >= 4 else []), *([3] if version >= 6 else [])]
    packed = struct.pack(f"={len(attributes)}Q", *attributes)
    rules = _system_call(444, packed, len(packed), 0)
    rights = [(path, 1 << 2 | 1 << 3) for path in (*readable, "/proc/self")]
    rights += [(path, 1 << 3) for path in listed]
    rights += [(folder, every & ~1), (os.devnull, of_files)]
    for path, right in rights:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # not on this system
        right &= every if _is_folder(path) else of_files
        if right and _system_call(445, rules, 1, struct.pack("=Qi", right, place), 0):
            raise OSError(f"Landlock refuses a rule for {path}")
        os.close(place)
    # Without PR_SET_NO_NEW_PRIVS, a program with more rights than ours would escape.
    if _prctl(38, 1) or _system_call(446, rules, 0):
        raise OSError("Landlock can't be switched on")
    os.close(rules)


def _prctl(option, value):
    import ctypes

    return ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _problem(error, name):
    """An exception as text: its kind, what it says, and the student's own lines of it."""
    file = f"{name}.py"
    kind, said = type(error).__name__, str(error)[:500]
    if isinstance(error, SyntaxError) and error.filename == file:
        shown = "".join(traceback.format_exception_only(error))[-1000:]
        return {"error": "SyntaxError", "said": said, "shown": shown}
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    lines = [f"  line {f.lineno}, in {f.name}\n    {f.line}" for f in frames[-8:]]
    return {"error": kind, "said": said, "shown": "\n".join(lines)[:3000]}


def _load(name, source):
    linecache.cache[f"{name}.py"] = (len(source), None, source.splitlines(True), f"{name}.py")
    module = types.ModuleType(name)
    module.__file__ = f"{name}.py"
    sys.modules[name] = module
    exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return module


def _answer(module, request, inputs):
    if not request["driver"]:
        return getattr(module, request["function"])(**inputs)
    names: dict[str, Any] = {"__builtins__": builtins}
    exec(compile(request["driver"], "<driver>", "exec"), names)
    return names["answer"](module, request["function"], inputs)


def main():
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)

    setting = _loads(requests.readline())
    if sys.platform == "linux":
        _prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with its parent
    # Before the imports: a thread that they start would not be confined.
    _confine(setting["folder"], setting["readable"], setting["listed"])
    for package in setting["packages"]:
        __import__(package)
    if "tensorflow" not in setting["packages"]:  # which imports others as it goes
        sys.path[:] = [path for path in sys.path if path not in setting["folders"]]
    _limit(setting["limits"])
    os.chdir(setting["folder"])
    write, flush, dumps, loads = answers.write, answers.flush, _dumps, _loads
    send, receive, problem, load, answer = encode, decode, _problem, _load, _answer
    write(dumps({"ready": True}) + "\n")
    flush()
    modules = {}
    if setting["guard"]:
        _guard(setting["folder"], setting["closed"], frozenset(setting["project"]))
    for line in requests:
        request = loads(line)
        name = request["exercise"]
        try:
            if name not in modules:
                modules[name] = load(name, request["source"])
            inputs = {key: receive(value) for key, value in request["inputs"].items()}
            if callable(getattr(modules[name], request["function"], None)):
                value = answer(modules[name], request, inputs)
                after = {key: send(value) for key, value in inputs.items()}
                message = {"value": send(value), "inputs": after}
            else:
                message = {"error": "missing", "said": request["function"], "shown": ""}
        except BaseException as error:
            message = problem(error, name)
        write(dumps({"id": request["id"], **message}) + "\n")
        flush()


if __name__ == "__main__":
    main()
