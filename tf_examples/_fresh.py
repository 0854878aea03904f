"""Calls in fresh processes, and the memory that one holds: for peaks that nothing before blurs.

`python -m tf_examples._fresh MODULE` imports a module once and then reads calls, one line of JSON
each. Where a process can be copied before TensorFlow has started (Linux), each call gets a copy and
pays no import; elsewhere it gets a new process.
"""

import contextlib
import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

COPIES = sys.platform == "linux"
"""macOS has `fork` too, but its libraries don't survive it; Windows has none."""

_STATUS = Path("/proc/self/status")
_ANSWERED = 86
"""The exit status of a copy that has answered: no function of the module's takes it by chance."""


class EndedError(RuntimeError):
    """A fresh process ended before it had answered."""


class Fresh:
    """Calls a module's functions, each call in a process of its own; ends them all when left.

    Args:
        module: its full name, as in "tf_examples.memory_budget".
        environment: variables that these processes start with, beside ours.
    """

    def __init__(self, module: str, environment: Mapping[str, str] | None = None) -> None:
        self.module, self.environment = module, dict(environment or {})
        self._server: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Fresh":
        self._started()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, function: str, *arguments: Any) -> Any:
        """What `function` of the module returns; arguments and result must be plain JSON.

        Raises:
            EndedError: where the call failed; says how, in one line.
        """
        server = self._started()
        assert server.stdin
        assert server.stdout
        try:
            server.stdin.write(json.dumps([function, arguments]) + "\n")
            server.stdin.flush()
            line = server.stdout.readline()
        except OSError:
            line = ""
        except BaseException:  # an interrupted call leaves an answer that belongs to no one
            self.close()
            raise
        if not line or not COPIES:
            self.close()
        answer = json.loads(line) if line else {"error": "the process ended without an answer"}
        if "error" in answer:
            raise EndedError(answer["error"])
        return answer["value"]

    def close(self) -> None:
        """Ends the process, with what it has started."""
        server, self._server = self._server, None
        if server is None:
            return
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
        else:
            server.kill()
        server.wait()
        for pipe in (server.stdin, server.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _started(self) -> "subprocess.Popen[str]":
        if self._server is None:
            root = str(Path(__file__).parents[1])
            paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
            quiet = {"PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3"}
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tf_examples._fresh", self.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
                env=os.environ | quiet | self.environment,
                start_new_session=True,
            )
        return self._server


def resident() -> int | None:
    """Bytes of memory that this process holds; None on a system without /proc."""
    return _status("VmRSS")


def peak() -> int | None:
    """The most that it held since `forget_peak`, in bytes; None on a system without /proc."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Lets `peak` begin anew, where the system allows it; else it is that of the process."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status(field: str) -> int | None:
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return None


def _answer(module: Any, line: str) -> dict[str, Any]:
    function, arguments = json.loads(line)
    try:
        return {"value": getattr(module, function)(*arguments)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def _answer_in_a_copy(module: Any, line: str, out: Any) -> None:
    server = os.getpid()
    process = os.fork()
    if process == 0:
        status = 1
        try:
            _end_with(server)
            print(json.dumps(_answer(module, line)), file=out, flush=True)
            status = _ANSWERED
        finally:
            os._exit(status)
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        how = f"the process was ended by signal {os.WTERMSIG(status)}: too little memory?"
    elif os.WEXITSTATUS(status) != _ANSWERED:
        how = "the process ended without an answer"
    else:
        return
    print(json.dumps({"error": how}), file=out, flush=True)


def _end_with(parent: int) -> None:
    """Whoever is killed takes those along that it has started: Linux's PR_SET_PDEATHSIG."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was killed before the line above
        os._exit(1)


def main(name: str) -> None:
    """Answers the calls that come in until there are no more."""
    if COPIES:
        _end_with(os.getppid())
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)  # what libraries print is no answer
        module = importlib.import_module(name)
        for line in sys.stdin:
            if COPIES:
                _answer_in_a_copy(module, line, out)
            else:
                print(json.dumps(_answer(module, line)), file=out, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
