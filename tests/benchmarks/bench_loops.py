"""A thousand steps of the article's second program, in the ways a loop can run: `make bench`."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import platform
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tf_examples import backpropagation as section
from tf_examples._report import Table, show, track

sys.path.insert(0, str(Path(__file__).parents[1]))
import tensorflow_1

STEPS, RATE, ROUNDS = 1000, 0.01, 15
START = section.start_values(seed=0)


def old(loop):
    """A loop of TensorFlow 1, in a graph of its own."""
    with tf.Graph().as_default():
        program = tensorflow_1.backpropagation(*START, section.INPUTS, section.TARGETS)
        return loop(*program, RATE, STEPS)


def eager():
    """What a port line by line gives: a tape and an optimizer call, in Python at each step."""
    W, b = map(tf.Variable, START)
    optimizer = keras.optimizers.SGD(RATE)
    for _ in range(STEPS):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(section.INPUTS @ W + b - section.TARGETS))
        optimizer.apply(tape.gradient(loss, [W, b]), [W, b])
    return W.numpy(), b.numpy()


def ours():
    """The section's loop."""
    W, b = map(tf.Variable, START)
    numbers = tf.constant(RATE), tf.constant(STEPS)
    section.descend(W, b, section.INPUTS, section.TARGETS, *numbers)
    return W.numpy(), b.numpy()


def main():
    ways = {
        "TF1 session, one run a step": (old(tensorflow_1.session_loop), "the article's listing"),
        "GradientTape, eager": (eager, "the session (a naive port)"),
        "TF1 while_loop in the graph": (old(tensorflow_1.graph_loop), "ours (loop in the graph)"),
        "ours, one tf.function": (ours, "the while_loop"),
    }
    seconds = {name: [] for name in ways}
    for number in track(range(ROUNDS + 1), "Rounds"):
        for name, (run, _) in ways.items():
            if run is eager and number > 3:
                continue
            start = time.perf_counter()
            ends = run()
            if number:  # the first round traces and compiles
                seconds[name].append(time.perf_counter() - start)
            np.testing.assert_allclose(ends[1], ours()[1], rtol=1e-5)
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    session = median["TF1 session, one run a step"]
    rows = [
        (name, median[name] * 1e3, *(np.quantile(seconds[name], q) * 1e3 for q in (0.25, 0.75)),
         session / median[name], like)
        for name, (_, like) in ways.items()
    ]  # fmt: skip
    title = (
        f"{STEPS} steps of the article's second program, interleaved, {ROUNDS} rounds\n"
        f"Python {platform.python_version()}, TensorFlow {tf.__version__}, {os.cpu_count()} cores"
    )
    columns = ("loop", "ms", "from", "to", "x session", "like for like with")
    show(Table(title, columns, ("", ".0f", ".0f", ".0f", ".2f", ""), rows))


if __name__ == "__main__":
    main()
