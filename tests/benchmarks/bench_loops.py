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
        "TF1 session, a run a step": (old(tensorflow_1.session_loop), "Python"),
        "GradientTape, eager": (eager, "Python"),
        "TF1 while_loop": (old(tensorflow_1.graph_loop), "the graph"),
        "ours, one tf.function": (ours, "the graph"),
    }
    seconds = {name: [] for name in ways}
    for number in track(range(ROUNDS + 1), "Rounds"):
        for name, (run, _) in ways.items():
            if run is eager and number > 3:  # seconds a run, and far from the rest
                continue
            start = time.perf_counter()
            ends = run()
            if number:  # the first round traces and compiles
                seconds[name].append(time.perf_counter() - start)
            np.testing.assert_allclose(ends[1], ours()[1], rtol=1e-5)
    session = np.median(seconds["TF1 session, a run a step"])
    rows = []
    for name, (_, loops_in) in ways.items():
        low, middle, high = 1e3 * np.quantile(seconds[name], [0.25, 0.5, 0.75])
        rows.append((name, loops_in, middle, f"{low:.0f}-{high:.0f}", 1e3 * session / middle))
    title = (
        f"{STEPS} steps of the article's second program, {ROUNDS} interleaved rounds\n"
        f"Python {platform.python_version()}, TensorFlow {tf.__version__}, {os.cpu_count()} cores\n"
        "Like for like are the two that loop in Python, and the two that loop in the graph."
    )
    columns = ("", "loops in", "ms", "quartiles", "times the session's speed")
    show(Table(title, columns, ("", "", ".0f", "", ".2f"), rows))


if __name__ == "__main__":
    main()
