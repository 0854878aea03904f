"""Runs a student's file in a child process that can only return values.

The child never holds the right answer, so there is nothing in it to find; the verdict is made in
the parent, so there is nothing in the child to patch, print over or exit from. Numbers come back as
text and raw bytes, never as objects with methods of their own.

Around that stand three fences. The system's limits: time, memory, file size, output, processes; the
folder it runs in is deleted, and whatever it started is found and ended, detached or not. Linux's
Landlock, where the kernel has it (5.13, all of it from 6.12 on): the child reads the standard
library and its packages, writes into its own folder, and has no other file, program or process.
Python's audit hook: the same with an explanation, and all there is elsewhere. The hook alone holds
off the curious; whoever knows Python well gets round it.

What none of them stops: a hole in the kernel, or data sent over UDP. For an examination grade in a
container without a network, or as a user of its own: the README has the line.
"""

import contextlib
import functools
import importlib.util
import io
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tf_examples.exercises import _child
from tf_examples.exercises._exercise import Case

_SOURCE = Path(_child.__file__).read_text(encoding="utf-8")
_PROJECT = ("tf_examples", "custom_optimizers")
_OPTIONS = ("-I", "-S", "-u", "-X", "utf8", "-c")
"""Isolated, without site-packages, printing at once, in UTF-8."""
_LONGEST_ANSWER = 4_000_000
"""Characters of one answer: far more than any exercise needs."""
_LIBRARIES = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/etc/localtime",
    "/usr/share/zoneinfo", "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system",
)  # fmt: skip
"""What programs read of the system."""


@dataclass(frozen=True)
class Limits:
    """What a child may use."""

    seconds: float = 10.0
    """Wall time of one answer."""
    start_seconds: float = 60.0
    """Wall time until the child is ready: TensorFlow takes its time."""
    cpu_seconds: int = 120
    """Processor time of one child."""
    memory: int = 512_000_000
    """Bytes of address space; TensorFlow gets `tensorflow_memory`."""
    tensorflow_memory: int = 16_000_000_000
    file_size: int = 20_000_000
    """Bytes of one file."""
    open_files: int = 48
    """Open files, those in memory among them; TensorFlow gets 256."""
    output: int = 20_000
    """Characters kept of what the student's code prints."""
    processes: int = 64
    """Processes and threads of the user; TensorFlow gets none of this limit."""
    guard: bool = True
    """Whether the audit hook is set; tests of the other lines of defence leave it out."""


@dataclass(frozen=True)
class Answer:
    """What came back for one case."""

    value: Any = None
    """The answer, decoded; arrays are plain arrays of numbers."""
    inputs: Mapping[str, Any] | None = None
    """The inputs as the call left them."""
    error: str = ""
    """The name of the exception, or "time", "end" (the process ended) or "garbled"."""
    said: str = ""
    shown: str = ""
    """The student's own lines of the traceback."""


def printable(text: str, most: int = 3000, keep: str = "\n") -> str:
    """The first `most` characters, without those that a terminal would obey, but for `keep`."""
    text = text[:most].replace("\t", "    ")
    return "".join(c if c.isprintable() or c in keep else "\N{REPLACEMENT CHARACTER}" for c in text)


def missing_limits() -> list[str]:
    """What this system or user can't limit, a line each."""
    lines: list[str] = []
    version = _child.landlock()
    if not version:
        lines.append(
            "no Landlock (Linux 5.13) here: only Python keeps a student's code from files and "
            "programs, and whoever knows it well gets round that"
        )
    elif version < 6:
        lines.append("this kernel (before Linux 6.12) lets a student's code signal the grader")
    if sys.platform != "linux":
        lines.append("detached processes are ended only where they can be found (Linux finds all)")
    if os.name == "nt":
        return [*lines, "Windows has no limit on memory, processor time and file size here"]
    if sys.platform == "darwin":
        lines.append("macOS doesn't hold the limit on memory")
    if os.geteuid() == 0:
        lines.append("root has no limit on processes: grade as another user")
    return lines


class Child:
    """A child process for the files of one student; use it in a `with` statement.

    Args:
        packages: what it may import besides the standard library.
        closed: folders that it may not open, such as the other students'.
    """

    def __init__(
        self,
        packages: Sequence[str] = ("numpy",),
        limits: Limits | None = None,
        closed: Sequence[Path] = (),
    ) -> None:
        self.limits = limits or Limits()
        self.packages = list(packages)
        self._ids = 0
        self._stack = contextlib.ExitStack()
        self.folder = tempfile.mkdtemp(prefix="exercise-")
        self._stack.callback(remove, Path(self.folder))
        self._stack.enter_context(_descendants_end())
        self._printed = ""
        self._requests: queue.Queue[bytes | None] = queue.Queue()
        self._answers: queue.Queue[str | None] = queue.Queue()
        folders = _package_folders(self.packages)
        listed = [*folders, *_python_folders()]
        setting = {
            "packages": self.packages,
            "folders": folders,
            "listed": listed,
            "readable": _readable((*listed, *_LIBRARIES)),
            "limits": self._resource_limits(),
            "folder": self.folder,
            "guard": self.limits.guard,
            "closed": [*_own_folders(), *map(str, closed)],
            "project": _PROJECT,
        }
        program = f"import sys; sys.path += {folders!r}\n{_SOURCE}"
        self._process = subprocess.Popen(
            [sys.executable, *_OPTIONS, program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env=_environment(self.folder),
            start_new_session=True,
        )
        self._threads = [
            threading.Thread(target=target, daemon=True)
            for target in (self._write_requests, self._read_answers, self._read_output)
        ]
        for thread in self._threads:
            thread.start()
        self._send(setting)
        try:
            self.alive = isinstance(self._receive(self.limits.start_seconds), dict)
        except BaseException:  # interrupted, before there is a `with` that would end it
            self.end()
            raise
        if not self.alive:
            self.end()
            raise RuntimeError(f"the child process did not start:\n{self.output}")

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Ends the process, all that it started, and its folder."""
        self.alive = False
        with contextlib.suppress(OSError):
            self._process.kill()
        self._stack.close()
        self._process.wait()
        self._requests.put(None)
        for thread in self._threads:
            thread.join(1)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream:
                with contextlib.suppress(OSError, ValueError):
                    stream.close()

    @property
    def output(self) -> str:
        """What the student's code printed so far, cut at the limit."""
        return printable(self._printed, self.limits.output)

    def ask(self, exercise: str, source: str, driver: str, case: Case) -> Answer:
        """The answer of `source` to `case`; after "time" or "end" the child is no longer alive."""
        self._ids += 1
        inputs = {name: _child.encode(value) for name, value in case.inputs.items()}
        self._send(
            {
                "id": self._ids,
                "exercise": exercise,
                "source": source,
                "driver": driver,
                "function": case.function,
                "inputs": inputs,
            }
        )
        received = self._receive(self.limits.seconds)
        if received is None:
            self.alive = False
            return Answer(error="end")
        if received == "time":
            self.alive = False
            return Answer(error="time")
        try:
            if not isinstance(received, dict) or received["id"] != self._ids:
                raise ValueError("an answer to another question")
            if "error" in received:
                texts = (printable(str(received[key])) for key in ("error", "said", "shown"))
                return Answer(None, None, *texts)
            after = {str(k): _child.decode(v) for k, v in received["inputs"].items()}
            return Answer(_child.decode(received["value"]), after)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
            self.alive = False  # whoever writes into the answers may do so again
            return Answer(error="garbled")

    def _resource_limits(self) -> dict[str, int]:
        limits = self.limits
        tensorflow = "tensorflow" in self.packages
        common = {
            "RLIMIT_AS": limits.tensorflow_memory if tensorflow else limits.memory,
            "RLIMIT_CPU": limits.cpu_seconds,
            "RLIMIT_FSIZE": limits.file_size,
            "RLIMIT_NOFILE": 256 if tensorflow else limits.open_files,
            "RLIMIT_CORE": 0,
        }
        return common if tensorflow else common | {"RLIMIT_NPROC": limits.processes}

    def _send(self, message: dict[str, Any]) -> None:
        self._requests.put(json.dumps(message).encode() + b"\n")

    def _write_requests(self) -> None:
        """In a thread of its own: a child that reads nothing holds up nobody else."""
        stdin = self._process.stdin
        assert stdin
        with contextlib.suppress(OSError, ValueError):
            while request := self._requests.get():
                stdin.write(request)
                stdin.flush()

    def _receive(self, seconds: float) -> Any:
        """The next answer, None where the process ended, "time" where it took too long."""
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            return "time"
        if line is None:
            return None
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            return "garbled"

    def _read_answers(self) -> None:
        stdout = self._process.stdout
        assert stdout
        with contextlib.suppress(OSError, ValueError):
            while line := stdout.readline(_LONGEST_ANSWER):
                self._answers.put(line.decode("utf-8", "replace"))
                if not line.endswith(b"\n") or self._answers.qsize() > 1:
                    break  # what follows can't be an answer to one question
        self._answers.put(None)

    def _read_output(self) -> None:
        stderr = self._process.stderr
        assert isinstance(stderr, io.BufferedReader)
        with contextlib.suppress(OSError, ValueError):
            while chunk := stderr.read1(65536):
                if len(self._printed) < self.limits.output:
                    self._printed += chunk.decode("utf-8", "replace")


def _own_folders() -> list[str]:
    """Where this project's packages lie: what they hold is not for a student's file."""
    specs = [importlib.util.find_spec(package) for package in _PROJECT]
    return [str(Path(s.origin).parent) for s in specs if s and s.origin]


def _package_folders(packages: Iterable[str]) -> list[str]:
    """The folders in which `packages` are installed."""
    specs = [importlib.util.find_spec(package) for package in packages]
    return sorted({str(Path(s.origin).parents[1]) for s in specs if s and s.origin})


def _python_folders() -> list[str]:
    """Where Python's standard library lies, and the libraries that it is made of."""
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    return [*paths, str(Path(sys.base_prefix) / "lib")]


@functools.cache
def _readable(places: tuple[str, ...]) -> list[str]:
    """What lies at `places`, but for this project, which may be installed among it."""
    hidden = [os.path.realpath(folder) for folder in _own_folders()]

    def around(place: str) -> Iterator[str]:
        if not any(folder.startswith(place + os.sep) for folder in hidden):
            if place not in hidden:
                yield place
            return
        for entry in os.scandir(place):
            yield from around(entry.path)

    return [path for place in places for path in around(os.path.realpath(place))]


def remove(folder: Path) -> None:
    """Deletes a folder, however deep: what lies in a subfolder is moved up until there is none."""
    with contextlib.suppress(OSError):
        while entries := list(folder.iterdir()):
            for entry in entries:
                if entry.is_symlink() or not entry.is_dir():
                    entry.unlink()
                    continue
                entry.chmod(0o700)
                for inner in list(entry.iterdir()):
                    inner.rename(folder / secrets.token_hex(8))
                entry.rmdir()
        folder.rmdir()


def _environment(folder: str) -> dict[str, str]:
    """Few variables, and none of the parent's secrets; one thread where libraries let us choose."""
    kept = {name: os.environ[name] for name in ("SYSTEMROOT", "PATH") if name in os.environ}
    return kept | {
        "HOME": folder,
        "TMPDIR": folder,
        "TEMP": folder,
        "LANG": "C.UTF-8",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        "KERAS_BACKEND": "tensorflow",
    }


def _kill_group(pid: int) -> None:
    if os.name == "posix" and os.getpgid(pid) != os.getpgrp():
        os.killpg(os.getpgid(pid), signal.SIGKILL)


@contextlib.contextmanager
def _descendants_end():
    """Ends, at the end, every process that was started below this one meanwhile.

    On Linux a process whose parent has ended becomes a child of this one (it is made their
    "subreaper"), so that detaching twice hides nothing. One child at a time in each process that
    grades: what another thread starts meanwhile would be ended, too.
    """
    was = _adopts_orphans(True)
    me = psutil.Process()
    before = {process.pid for process in me.children(recursive=True)}
    try:
        yield
        _end_all_but(me, before)
    finally:
        _adopts_orphans(was)


def _adopts_orphans(yes: bool) -> bool:
    """Makes this process the subreaper of those below it, or no longer; what it was before."""
    if sys.platform != "linux":
        return False
    import ctypes

    prctl, was = ctypes.CDLL(None).prctl, ctypes.c_int()
    prctl(37, ctypes.byref(was), 0, 0, 0)  # PR_GET_CHILD_SUBREAPER
    prctl(36, int(yes), 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    return bool(was.value)


def _end_all_but(me: psutil.Process, before: set[int]) -> None:
    """Ends every process below `me` that is not among `before`."""
    patience = time.monotonic() + 10
    while time.monotonic() < patience:
        new = [process for process in me.children(recursive=True) if process.pid not in before]
        if not new:
            return
        for process in new:  # with its group, since one that forks is gone before it is found
            with contextlib.suppress(psutil.Error, OSError):
                _kill_group(process.pid)
                process.kill()
        psutil.wait_procs(new, timeout=1)
        for process in new:
            with contextlib.suppress(OSError):
                os.waitpid(process.pid, getattr(os, "WNOHANG", 0))
