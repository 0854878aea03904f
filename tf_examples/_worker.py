"""One worker process of section `distributed_training`; `_workers` starts it and listens to it."""

import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, TextIO


class _Speaker:
    """Prints messages as lines of JSON, whole even where two threads speak."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.lock = stream, threading.Lock()

    def say(self, event: str, **content: Any) -> None:
        with self.lock:
            try:
                self.stream.write(json.dumps({"event": event, **content}) + "\n")
                self.stream.flush()
            except OSError:  # nobody listens any more
                os._exit(3)

    def say_alive(self, seconds: float = 1.0) -> None:
        while True:
            time.sleep(seconds)
            self.say("alive")


def _end_with_launcher() -> None:
    """Ends this process when its standard input is closed: the launcher is gone, or is done."""
    sys.stdin.read()
    os._exit(0)


def main() -> int:
    """Trains as one worker of those in TF_CONFIG; the job comes on standard input."""
    speaker = _Speaker(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # what libraries print goes to the log
    job = json.loads(sys.stdin.readline())
    place = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    if hasattr(os, "sched_setaffinity"):  # a worker stands for a machine: it gets one core
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[place % len(cores)]})
    for target in (_end_with_launcher, speaker.say_alive):
        threading.Thread(target=target, daemon=True).start()

    import tensorflow as tf

    from tf_examples._options import OptionError

    speaker.say("hello")
    try:
        speaker.say("done", **_train(job, speaker))
    except (
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.FailedPreconditionError,
        tf.errors.InternalError,
        tf.errors.UnavailableError,
        tf.errors.UnknownError,
    ) as error:
        print(error, file=sys.stderr, flush=True)
        speaker.say("lost", said=str(error).splitlines()[0][:300])
        return 4
    except FloatingPointError as error:
        speaker.say("error", kind="diverged", said=str(error))
        return 1
    except (OptionError, OSError) as error:
        speaker.say("error", kind="option", said=str(error))
        return 1
    except Exception as error:
        traceback.print_exc()
        speaker.say("error", kind="other", said=f"{type(error).__name__}: {error}"[:300])
        return 1
    threading.Event().wait()  # others may still fetch from here: the launcher ends all together
    return 0


def _train(job: dict[str, Any], speaker: _Speaker) -> dict[str, Any]:
    from tf_examples import _data
    from tf_examples._workers import bound
    from tf_examples.distributed_training import Settings, Trainer, connect, load, save

    place = json.loads(os.environ["TF_CONFIG"])
    addresses, index = place["cluster"]["worker"], place["task"]["index"]
    bound(int(addresses[index].rpartition(":")[2])).close()  # TensorFlow's own error says less
    strategy = connect()
    ends = []
    for item in job["trainings"]:
        settings, path = Settings(**item["settings"]), Path(item["checkpoint"])
        trainer = Trainer(settings, _data.digits(), strategy, index, len(addresses))
        if path.exists():
            load(path, trainer)
        speaker.say("start", step=trainer.step)
        while trainer.step < trainer.steps:
            number = min(job["every"] - trainer.step % job["every"], trainer.steps - trainer.step)
            begin, used = time.perf_counter(), time.process_time()
            losses = trainer.train(number)
            seconds, used = time.perf_counter() - begin, time.process_time() - used
            speaker.say(
                "step",
                step=trainer.step,
                steps=trainer.steps,
                loss=float(losses[-1]),
                rate=number / seconds,
                cores=used / seconds,
            )
            if index == 0:
                try:
                    save(path, trainer)
                except OSError as error:
                    said = f"can't write {path}: {error.strerror or error}"
                    raise OSError(said) from error
                speaker.say("saved", step=trainer.step)
        ends.append({"step": trainer.step})
    return {"trainings": ends}


if __name__ == "__main__":
    os._exit(main())  # TensorFlow's own end waits for workers that may be gone
