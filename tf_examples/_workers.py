"""Starts worker processes on this machine, shows how far each is, and ends them whatever happens.

A worker is a Python process that finds its place in TF_CONFIG, its job as one line of JSON on its
standard input, and that prints what it does as lines of JSON, each with an `event`:

    hello   it runs
    start   all have met; `step`, where it goes on from
    step    `step` of `steps`, `loss`, `rate` (steps a second), `cores` (processor seconds a second)
    saved   the checkpoint of `step` is written
    alive   each second
    done    the end
    lost    it can't reach the others
    error   `kind` (one of _ERRORS), `said`

It ends when its standard input is closed, so none outlives the process that started it.
"""

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rich.console
import rich.progress

from tf_examples._options import OptionError, RunError

Message = dict[str, Any]
PROGRAM = (sys.executable, "-m", "tf_examples._worker")
_ERRORS: dict[str, type[Exception]] = {
    "option": OptionError,
    "diverged": FloatingPointError,
    "other": RunError,
}


def launch(
    job: Mapping[str, Any],
    workers: int,
    *,
    port: int | None = None,
    restarts: int = 3,
    timeout: float = 120.0,
    watch: Callable[[int, int, Message], None] | None = None,
    tell: Callable[[str], None] | None = None,
    program: Sequence[str] = PROGRAM,
) -> list[Message]:
    """Runs `job` on worker processes to its end, and returns the last message of each.

    TensorFlow listens at the ports on every interface, whatever address TF_CONFIG names, and lets
    in whoever comes: not for an open network.

    Where a worker dies the rest is ended, and all start again, from the checkpoint that the job
    names.

    Args:
        job: what every worker is told, as JSON.
        port: of the first worker on the loopback interface, the others follow; free ones if None.
        restarts: how often all may start again.
        timeout: seconds that a worker may take to start, be silent, or make no step.
        watch: called with a worker's index, its process id and each of its messages.
        tell: called with a line on each new start; it goes to stderr if None.
        program: the command of a worker.

    Raises:
        OptionError: for a port that is taken, or where a worker says so.
        FloatingPointError: where a worker's loss overflows.
        RunError: for a worker that does not start, that fails, or that dies once too often.
    """
    tell = tell or _print
    for attempt in range(restarts + 1):
        addresses = [f"127.0.0.1:{port}" for port in _ports(workers, port)]
        with _group(job, addresses, program) as group:
            try:
                return group.run(timeout, watch, tell if attempt else None)
            except _DeathError as death:
                if attempt == restarts:
                    times = f"all have started {attempt + 1} times, which is enough"
                    raise RunError(f"{death}; {times}") from None
                tell(f"{death}; all start again from the last checkpoint")
    raise AssertionError


def _print(line: str) -> None:
    print(f"tf-examples: {line}", file=sys.stderr, flush=True)


class _DeathError(Exception):
    """A worker that died, in words: the others can start again with it."""


@dataclass
class _Worker:
    index: int
    process: subprocess.Popen
    log: Path
    said_hello: bool = False
    step: int = 0
    heard: float = field(default_factory=time.monotonic)
    done: Message | None = None
    lost: bool = False
    reader: threading.Thread | None = None

    def __str__(self) -> str:
        return f"worker {self.index}"

    def fate(self) -> str:
        """How its process ended, in words."""
        code = self.process.returncode
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return f"was ended by {signal.Signals(-code).name} after step {self.step}"
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = f": {lines[-1].strip()[:200]}" if lines else ""
        return f"ended with exit status {code} after step {self.step}{last}"


class _Group:
    """Workers that run one job together."""

    def __init__(self) -> None:
        self.workers: list[_Worker] = []
        self.messages: queue.Queue[tuple[_Worker, Message | None]] = queue.Queue()

    def add(self, process: subprocess.Popen, log: Path, job: Mapping[str, Any]) -> None:
        """Tells a process its job, and listens to it from now on."""
        worker = _Worker(len(self.workers), process, log)
        self.workers.append(worker)
        worker.reader = threading.Thread(target=self._read, args=(worker,), daemon=True)
        worker.reader.start()
        assert process.stdin
        with contextlib.suppress(OSError):  # it ended already: its log says why
            process.stdin.write(json.dumps(dict(job)) + "\n")
            process.stdin.flush()

    def _read(self, worker: _Worker) -> None:
        assert worker.process.stdout
        with contextlib.suppress(OSError, ValueError):
            for line in worker.process.stdout:
                with contextlib.suppress(ValueError):
                    message = json.loads(line)
                    if isinstance(message, dict):
                        self.messages.put((worker, message))
        self.messages.put((worker, None))

    def run(
        self,
        timeout: float,
        watch: Callable[[int, int, Message], None] | None,
        tell_start: Callable[[str], None] | None,
    ) -> list[Message]:
        """Listens until all are done; returns the last message of each."""
        moved = time.monotonic()
        with _bars(len(self.workers)) as show:
            while not all(worker.done for worker in self.workers):
                self._check_silence(timeout, moved)
                try:
                    worker, message = self.messages.get(timeout=0.1)
                except queue.Empty:
                    continue
                worker.heard = time.monotonic()
                if message is None:
                    if not worker.done:
                        self._explain(worker)
                    continue
                event = message.get("event")
                if event != "alive":
                    moved = worker.heard
                if event == "hello":
                    worker.said_hello = True
                elif event == "step":
                    worker.step = message["step"]
                elif event == "start":
                    worker.step = message["step"]
                    if tell_start:
                        tell_start(f"all go on from step {worker.step}")
                        tell_start = None
                elif event == "done":
                    worker.done = message
                elif event == "error":
                    raise _ERRORS[message["kind"]](f"{worker}: {message['said']}")
                elif event == "lost":
                    worker.lost = True
                    self._explain(worker)
                show(worker.index, message)
                if watch:
                    watch(worker.index, worker.process.pid, message)
        return [worker.done for worker in self.workers if worker.done]

    def _check_silence(self, timeout: float, moved: float) -> None:
        now = time.monotonic()
        silent = [worker for worker in self.workers if now - worker.heard > timeout]
        for worker in silent:
            if not worker.said_hello:
                raise RunError(f"{worker} did not start within {timeout:g} s")
            raise _DeathError(f"{worker} fell silent after step {worker.step}")
        if now - moved > timeout:
            last = min(self.workers, key=lambda worker: worker.step)
            raise RunError(
                f"no worker made a step for {timeout:g} s; {last} was the last, at step {last.step}"
            )

    def _explain(self, first: _Worker, patience: float = 3.0) -> None:
        """Finds out who is to blame where `first` has ended or can't reach the others.

        Raises:
            _DeathError: names the worker that died.
            Exception: what a worker said of itself before it ended.
        """
        until = time.monotonic() + patience
        while time.monotonic() < until:
            for worker in self.workers:
                if worker.process.poll() is not None and not worker.lost and not worker.done:
                    self._last_words(worker)
                    raise _DeathError(f"{worker} {worker.fate()}")
            time.sleep(0.05)
            self._note_losses()
        raise _DeathError(f"{first} lost the others after step {first.step}")

    def _last_words(self, dead: _Worker) -> None:
        if dead.reader:
            dead.reader.join(2)
        self._note_losses()
        if dead.lost:
            raise _DeathError(f"{dead} lost the others after step {dead.step}")

    def _note_losses(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                worker, message = self.messages.get_nowait()
                event = (message or {}).get("event")
                if message and event == "error":
                    raise _ERRORS[message["kind"]](f"{worker}: {message['said']}")
                if message and event == "step":
                    worker.step = message["step"]
                worker.lost |= event == "lost"


@contextlib.contextmanager
def _group(
    job: Mapping[str, Any], addresses: Sequence[str], program: Sequence[str]
) -> Iterator[_Group]:
    """Starts a worker for each address; at the end none of them is left."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="workers-")))
        group = _Group()
        stack.callback(_end, group.workers)
        for index in range(len(addresses)):
            log = folder / f"worker_{index}.log"
            with log.open("wb") as stderr:
                process = subprocess.Popen(
                    program,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env=_environment(addresses, index),
                    encoding="utf-8",
                    start_new_session=True,  # Ctrl-C reaches the launcher alone, which ends all
                )
            group.add(process, log, job)
        yield group


def tf_config(addresses: Sequence[str], index: int) -> str:
    """What TF_CONFIG holds for worker `index` of those at `addresses` ("host:port")."""
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": task})


def _environment(addresses: Sequence[str], index: int) -> dict[str, str]:
    return dict(os.environ) | {
        "TF_CONFIG": tf_config(addresses, index),
        "TF_NUM_INTRAOP_THREADS": "1",  # a worker stands for a machine: it gets one core
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "no_proxy": "127.0.0.1",
        "PYTHONUTF8": "1",
    }


def _end(workers: Sequence[_Worker], patience: float = 3.0) -> None:
    """Ends every worker with its process group, and waits until it is gone."""
    try:
        for worker in workers:
            with contextlib.suppress(OSError, ValueError):
                worker.process.stdin.close()  # type: ignore[union-attr]
            _signal(worker.process, "SIGTERM")
        until = time.monotonic() + patience
        for worker in workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0.0, until - time.monotonic()))
    finally:
        for worker in workers:
            _signal(worker.process, "SIGKILL")
        for worker in workers:
            worker.process.wait()
            if worker.reader:
                worker.reader.join(1)
            with contextlib.suppress(OSError, ValueError):
                worker.process.stdout.close()  # type: ignore[union-attr]


def _signal(process: subprocess.Popen, name: str) -> None:
    """Sends a signal to the group that `process` leads; on Windows ends the process."""
    if os.name != "posix":
        if process.poll() is None:
            process.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, getattr(signal, name))


def _ports(number: int, first: int | None) -> list[int]:
    """Ports of the loopback interface that nobody listens at.

    Raises:
        OptionError: names the one that is taken.
    """
    with contextlib.ExitStack() as stack:
        ports = []
        for place in range(number):
            try:
                probe = stack.enter_context(bound(first + place if first else 0))
            except OSError as error:
                raise OptionError(str(error)) from error
            ports.append(probe.getsockname()[1])
    return ports


def bound(port: int) -> socket.socket:
    """A socket at a port of the loopback interface; 0 takes a free one.

    Raises:
        OSError: where somebody listens there; names the port.
    """
    probe = socket.socket()
    try:
        if os.name == "posix":  # else a port is taken for a minute by connections that have ended
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
    except OSError as error:
        probe.close()
        raise OSError(f"port {port} can't be used: {error.strerror or error}") from error
    return probe


@contextlib.contextmanager
def _bars(workers: int) -> Iterator[Callable[[int, Message], None]]:
    """Gives a function that shows a worker's message as a bar on the terminal."""
    console = rich.console.Console(stderr=True)
    if not console.is_terminal:
        yield lambda index, message: None
        return
    with rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("{task.fields[said]}"),
        console=console,
        transient=True,
    ) as bars:
        tasks = [bars.add_task(f"worker {i}", total=None, said="starting") for i in range(workers)]

        def show(index: int, message: Message) -> None:
            if message["event"] == "step":
                said = f"loss {message['loss']:.4f}, {message['rate']:.0f} steps/s"
                bars.update(
                    tasks[index], completed=message["step"], total=message["steps"], said=said
                )
            elif message["event"] in ("hello", "start", "done"):
                bars.update(tasks[index], said=message["event"])

        yield show
