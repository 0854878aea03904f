"""What one optimizer step costs, here and in Keras: `make bench`, or this module with case names.

    python -m tests.benchmarks.bench_optimizers            # all, about ten minutes
    python -m tests.benchmarks.bench_optimizers small large

The ways of a case take turns in one process, so that what else the machine does meets all alike.
Times are medians in milliseconds, with half of the distance between the quartiles. torch and optax
stand beside them where they are installed: the extra `bench`.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import contextlib
import functools
import gc
import importlib.metadata
import math
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import custom_optimizers as ours
from tf_examples import _fresh
from tf_examples._report import track
from tf_examples.memory_budget import GIVES_BACK

NAMES = ["GradientDescent", "Momentum", "Adagrad", "RMSprop", "Adam"]
OPTIONS = {"Momentum": {"momentum": 0.9}}
KERAS = {"GradientDescent": "SGD", "Momentum": "SGD"}
SLOTS = {"GradientDescent": 0, "Momentum": 1, "Adagrad": 1, "RMSprop": 2, "Adam": 2}
RATE = 0.001
LOOP = 10


def new(name: str, whose: str) -> keras.optimizers.Optimizer:
    module = ours if whose == "ours" else keras.optimizers
    kind = getattr(module, name if whose == "ours" else KERAS.get(name, name))
    return kind(RATE, **OPTIONS.get(name, {}))


def variables_of(shapes):
    return [keras.Variable(np.ones(shape, "float32")) for shape in shapes]


def step_of(name: str, whose: str, shapes, how: str, gradients=None) -> Callable[[], None]:
    """A function that takes one step, or `LOOP` of them.

    Args:
        how: "eager"; "graph" or "xla", called from Python with the gradients; "loop", a loop of
            steps inside of one tf.function.
    """
    variables, optimizer = variables_of(shapes), new(name, whose)
    optimizer.build(variables)
    gradients = gradients or [tf.fill(shape, 1e-3) for shape in shapes]

    def apply(*gradients):
        optimizer.apply(list(gradients), variables)

    if how == "loop":

        @tf.function(autograph=False)
        def steps():
            tf.while_loop(lambda i: i < LOOP, lambda i: (apply(*gradients), i + 1)[1:], [0])

        return steps
    if how != "eager":
        apply = tf.function(apply, autograph=False, jit_compile=how == "xla")
    return lambda: apply(*gradients)


def milliseconds(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return 1e3 * (time.perf_counter() - start)


def take_turns(ways: dict, rounds: int, warm_up: int = 3, steps: int = 1) -> dict:
    """The times of each way, in milliseconds, one by one of `steps`."""
    gc.collect()  # optimizers and what was traced of them lie in cycles
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + warm_up):
        for way, step in ways.items():
            taken = milliseconds(step)
            if number >= warm_up:
                times[way].append(taken / steps)
    return times


class Rows:
    """Rows of the one table: a case, a way, a cell for each optimizer."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, str], dict[str, list[float]]] = {}

    def add(self, case: str, name: str, times: dict[str, list[float]]) -> None:
        for way, values in times.items():
            self.cells.setdefault((case, way), {})[name] = values

    def ratio(self, case: str, way: str) -> str:
        """The geometric mean over the optimizers of this way's time over ours."""
        own, other = self.cells.get((case, "ours")), self.cells[case, way]
        if way == "ours" or not own or other.keys() != own.keys() or case.endswith("MB"):
            return ""
        ratios = [statistics.median(other[n]) / max(statistics.median(own[n]), 1e-9) for n in own]
        return f"{math.exp(statistics.fmean(map(math.log, ratios))):.2f}" if min(ratios) else ""

    def markdown(self) -> str:
        lines = ["| case | way | " + " | ".join(NAMES) + " | time / ours |"]
        lines.append("|---|---|" + "--:|" * (len(NAMES) + 1))
        for (case, way), cells in self.cells.items():
            shown = [cell(cells.get(name, [])) for name in NAMES]
            lines.append(f"| {case} | {way} | {' | '.join(shown)} | {self.ratio(case, way)} |")
        return "\n".join(lines)


def cell(values: list[float]) -> str:
    if not values:
        return ""
    middle = statistics.median(values)
    digits = 0 if middle >= 100 or middle < 0.1 or middle == int(middle) else 1 + (middle < 10)
    if len(values) < 4:
        return f"{middle:.{digits}f}"
    low, _, high = statistics.quantiles(values, n=4)
    return f"{middle:.{digits}f} ± {(high - low) / 2:.{digits}f}"


SMALL = [(64, 64) if i % 2 == 0 else (64,) for i in range(600)]
LARGE = [(25_000_000,)]
TABLE = (500_000, 64)


def small(rows: Rows) -> None:
    for name in track(NAMES, "600 small variables"):
        ways = {
            "Keras": step_of(name, "keras", SMALL, "eager"),
            "Keras, wrapped by hand": step_of(name, "keras", SMALL, "graph"),
            "ours": step_of(name, "ours", SMALL, "eager"),
        }
        rows.add("600 variables, called eagerly, ms", name, take_turns(ways, 12))
    for name in track(NAMES, "600 small variables, in tf.function"):
        ways = {w: step_of(name, w.lower(), SMALL, "loop") for w in ("Keras", "ours")}
        rows.add("600 variables, inside tf.function, ms", name, take_turns(ways, 12, steps=LOOP))
    for name in track(NAMES, "600 small variables, XLA"):
        ways = {w: step_of(name, w.lower(), SMALL, "xla") for w in ("Keras", "ours")}
        if name in ("RMSprop", "Adam"):
            ways |= torch_steps(name, SMALL) | optax_steps(name, SMALL)
        rows.add("600 variables, XLA, ms", name, take_turns(ways, 40))


def first(rows: Rows) -> None:
    for how, title in (("eager", "eager"), ("graph", "graph")):
        for name in track(NAMES, f"First call, {title}"):
            times: dict[str, list[float]] = {"Keras": [], "ours": []}
            for _ in range(3):
                for way in times:
                    step = step_of(name, way.lower(), SMALL, how)
                    times[way].append(milliseconds(step))
            rows.add(f"600 variables, first call, {title}, ms", name, times)


def large(rows: Rows) -> None:
    bandwidth = copy_bandwidth()
    for how, title in (("eager", "eager"), ("graph", "in tf.function"), ("xla", "XLA")):
        for name in track(NAMES, f"25 million floats, {title}"):
            case = f"25 M floats, {title}, ms"
            ways = {w: step_of(name, w.lower(), LARGE, how) for w in ("Keras", "ours")}
            if how == "graph" and name in ("RMSprop", "Adam"):
                ways |= torch_steps(name, LARGE)
            if how == "xla" and name in ("RMSprop", "Adam"):
                ways |= optax_steps(name, LARGE)
            rows.add(case, name, take_turns(ways, 12))
            if how == "graph":
                least = 1e3 * 4 * LARGE[0][0] * (3 + 2 * SLOTS[name]) / bandwidth
                way = f"bytes / {bandwidth / 1e9:.0f} GB/s"
                rows.add(case, name, {way: [least]})


def embedding(rows: Rows) -> None:
    rng = np.random.default_rng(0)
    values = tf.constant(rng.normal(size=(1024, TABLE[1])), "float32")
    indices = tf.constant(rng.integers(0, 900, 1024), "int32")
    gradient = tf.IndexedSlices(values, indices, tf.constant(TABLE))
    for how, title in (("eager", "eager"), ("graph", "in tf.function")):
        for name in track(NAMES, f"Embedding, {title}"):
            ways = {
                w: step_of(name, w.lower(), [TABLE], how, [gradient]) for w in ("Keras", "ours")
            }
            rows.add(f"embedding 500,000 x 64, 1,024 rows, {title}, ms", name, take_turns(ways, 10))


def temporaries(rows: Rows) -> None:
    """Each measured in a process of its own, where nothing was left by another (Linux)."""
    with _fresh.Fresh("tests.benchmarks.bench_optimizers", GIVES_BACK) as fresh:
        for how in ("eager", "graph"):
            for name in track(NAMES, f"Temporaries, {how}"):
                for way in ("Keras", "ours"):
                    value = fresh.call("temporary_bytes", name, way.lower(), how)
                    case = f"temporaries on 400 MB, {how}, MB"
                    rows.add(case, name, {way: [] if value is None else [value / 1e6]})


def temporary_bytes(name: str, whose: str, how: str) -> float | None:
    """What one step on a 400 MB variable holds at the most, above what was there before."""
    shape = (100_000_000,)
    step = step_of(name, whose, [shape], how, [tf.fill(shape, 1e-3)])
    for _ in range(3):
        step()
    _fresh.forget_peak()
    before = _fresh.resident()
    step()
    after = _fresh.peak()
    return None if before is None or after is None else max(0, after - before)


def operations(rows: Rows) -> None:
    def count(name, whose, how, variables):
        variables, optimizer = variables_of([(3,)] * variables), new(name, whose)
        optimizer.build(variables)
        gradients = [tf.ones(3) for _ in variables]
        step = tf.function(
            lambda *g: optimizer.apply(list(g), variables),
            autograph=False,
            jit_compile=how == "XLA",
        )
        graph = step.get_concrete_function(*gradients).graph
        return sum(op.type != "Placeholder" for op in graph.get_operations())

    for how in ("graph", "XLA"):
        for name in NAMES:
            for way in ("Keras", "ours"):
                each = (count(name, way.lower(), how, 20) - count(name, way.lower(), how, 10)) / 10
                rows.add(f"operations a variable, {how}", name, {way: [each]})


def fit(rows: Rows) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(640, 32)).astype("float32"), rng.normal(size=(640, 1))
    for name in track(NAMES, "fit, 40 layers"):
        times: dict[str, list[float]] = {"Keras": [], "ours": []}
        for _ in range(3):
            for way in times:
                keras.utils.set_random_seed(0)
                layers = [keras.layers.Dense(32, "relu") for _ in range(40)]
                model = keras.Sequential([keras.Input((32,)), *layers, keras.layers.Dense(1)])

                optimizer = new(name, way.lower())
                epoch = functools.partial(first_epoch, model, optimizer, x, y)
                times[way].append(milliseconds(epoch))
        rows.add("fit, 40 layers, first epoch, ms", name, times)


def first_epoch(model, optimizer, x, y):
    model.compile(optimizer, "mse")
    model.fit(x, y, batch_size=32, verbose=0)


def torch_steps(name: str, shapes) -> dict[str, Callable[[], None]]:
    """torch's own loops over the same shapes, where torch is installed."""
    with contextlib.suppress(ImportError):
        import torch

        kinds = {"RMSprop": (torch.optim.RMSprop, ["foreach"])}
        kinds["Adam"] = (torch.optim.Adam, ["foreach", "fused"])
        kind, flags = kinds[name]
        steps = {}
        for flag in flags:
            weights = [torch.ones(shape, requires_grad=True) for shape in shapes]
            for weight in weights:
                weight.grad = torch.full_like(weight, 1e-3)
            steps[f"torch, {flag}"] = kind(weights, lr=RATE, **{flag: True}).step
        return steps
    return {}


def optax_steps(name: str, shapes) -> dict[str, Callable[[], None]]:
    """optax under jit, where it is installed."""
    with contextlib.suppress(ImportError):
        import jax
        import optax

        rule = {"RMSprop": optax.rmsprop, "Adam": optax.adam}[name](RATE)
        weights = [jax.numpy.ones(shape) for shape in shapes]
        gradients = [jax.numpy.full(shape, 1e-3) for shape in shapes]
        kept = [weights, rule.init(weights)]

        @functools.partial(jax.jit, donate_argnums=(0, 1))
        def update(weights, state, gradients):
            changes, state = rule.update(gradients, state)
            return optax.apply_updates(weights, changes), state

        def step():
            kept[:] = update(*kept, gradients)
            jax.block_until_ready(kept)

        return {"optax, jit": step}
    return {}


def copy_bandwidth() -> float:
    """Bytes a second that all cores together read and write when they copy a large array."""
    workers = os.cpu_count() or 1
    source, target = (np.ones((workers, 12_500_000), "float32") for _ in range(2))

    def once():
        threads = [
            threading.Thread(target=np.copyto, args=(target[i], source[i])) for i in range(workers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    seconds = min(milliseconds(once) for _ in range(10)) / 1e3
    return 2 * source.nbytes / seconds


CASES = {
    "small": small,
    "first": first,
    "large": large,
    "embedding": embedding,
    "temporaries": temporaries,
    "operations": operations,
    "fit": fit,
}


def processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(": ")[2]
    return platform.processor() or platform.machine()


def main() -> None:
    chosen = sys.argv[1:] or list(CASES)
    if unknown := set(chosen) - CASES.keys():
        raise SystemExit(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    rows = Rows()
    for name in chosen:
        CASES[name](rows)
    packages = ("tensorflow", "keras", "torch", "optax")
    versions = []
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    print(f"{processor()}, {os.cpu_count()} cores, {platform.system()}; {', '.join(versions)}\n")
    print(rows.markdown())


if __name__ == "__main__":
    main()
