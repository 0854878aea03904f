"""A worker that trains nothing, and behaves as its job says: for tests of what starts workers."""

import json
import os
import signal
import sys
import time
from pathlib import Path

job = json.loads(sys.stdin.readline())
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
behaviour = job["behave"].get(str(index), "")


def say(event, **content):
    print(json.dumps({"event": event, **content}), flush=True)


if behaviour == "sleep":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1000)
if behaviour == "crash":
    sys.exit("no such library")
say("hello")
try:
    first = int(Path(job["checkpoint"]).read_text(encoding="utf-8"))
except OSError:
    first = 0
say("start", step=first)
for step in range(first + 1, job["steps"] + 1):
    time.sleep(0.02)
    say("step", step=step, steps=job["steps"], loss=1 / step, rate=50.0, cores=1.0)
    if behaviour == "die" and step == 7 and (first == 0 or job["always"]):
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "lose" and step == 7:
        say("lost", said="connection reset")
        sys.exit(4)
    if behaviour == "diverge" and step == 7:
        say("error", kind="diverged", said="the loss is nan at step 7 of 20")
    if behaviour == "fall silent" and step == 7:
        time.sleep(1000)
    if index == 0 and step % 5 == 0 and not job["always"]:
        Path(job["checkpoint"]).write_text(str(step), encoding="utf-8")
        say("saved", step=step)
say("done")
sys.stdin.read()
