# %% [markdown]
r"""
# Training on several devices and several machines

**How do several devices train one model, and is it still the same model?**

Paragraph 5 of the article · 45 minutes · know before: mini-batches, `fit`, gradient clipping.

The article names distributed computing as the answer to models that one machine can't train in
time. Here two devices, and then two processes that know each other only by an address, take the
steps that one device would have taken: the same weights come out. What is hoped for is time; the
last part measures when it is gained.
"""

# %%
import json
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import psutil
import tensorflow as tf

from custom_optimizers import Adagrad, Adam, GradientDescent, Momentum, RMSprop
from tf_examples import _checkpoints, _data, _options, _plots, _report, _workers
from tf_examples._report import Table, show

OPTIMIZERS: dict[str, tuple[Callable[..., keras.optimizers.Optimizer], float]] = {
    "GradientDescent": (GradientDescent, 0.3),
    "Momentum": (Momentum, 0.03),
    "Adagrad": (Adagrad, 0.1),
    "RMSprop": (RMSprop, 0.003),
    "Adam": (Adam, 0.003),
}
"""Each with a learning rate at which it learns steadily, not tuned."""


def split_cpu(devices: int) -> list[str]:
    """The names of this many logical devices of the CPU.

    Raises:
        OptionError: where TensorFlow has started with fewer, which can't be changed then.
    """
    cpu = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * devices
    try:
        if len(tf.config.get_logical_device_configuration(cpu) or [None]) < devices:
            tf.config.set_logical_device_configuration(cpu, parts)
    except RuntimeError:
        there = len(tf.config.list_logical_devices("CPU"))
        raise _options.OptionError(
            f"TensorFlow has started with the CPU as {there}, which can't be changed any more: "
            f"devices={devices} needs a process of its own"
        ) from None
    return [f"CPU:{number}" for number in range(devices)]


if __name__ == "__main__":
    tf.get_logger().setLevel("ERROR")  # it tells of every graph
    names = split_cpu(2)

# %% [markdown]
r"""
## A batch can be torn apart

The last cell split the CPU into two logical devices, before TensorFlow started: later it can't be
done. The task is the one of section `model_fit`: to read handwritten digits, with one hidden layer.

The loss is a mean over the examples of a batch. So is its gradient, and a mean can be computed in
parts: with the batch $B$ torn into $B_1, \dots, B_n$,

$$\frac{1}{|B|} \sum_{i \in B} g_i = \sum_{r=1}^{n} \frac{1}{|B|} \sum_{i \in B_r} g_i$$

Each device divides the *sum* of its own gradients by the size of the *whole* batch, and the results
are added. That is **data parallelism**: every device has all the weights and a part of the batch.
"""


# %%
@dataclass(frozen=True)
class Settings:
    """What decides a training: a checkpoint belongs to one of these."""

    optimizer: str = "Adam"
    learning_rate: float = 0.003
    channels: int = 0
    """Of the first of two convolutions, half of those of the second; 0 for a dense net."""
    units: int = 512
    """Of the hidden layer of a dense net."""
    batch_size: int = 360
    """Of all replicas together."""
    epochs: int = 3
    accumulate: int = 1
    """Parts in which a replica goes through its share of a batch."""
    clip_norm: float = 0.0
    """The largest norm of all gradients together; 0 for any."""
    seed: int = 0

    def steps(self, examples: int) -> int:
        """Of the whole training; the last batch of an epoch holds what is left."""
        return self.epochs * -(-examples // self.batch_size)


def start_weights(shapes: Sequence[tuple[int, ...]], seed: int) -> list[np.ndarray]:
    """Glorot's uniform for matrices and convolutions, 0 for biases."""
    generator = np.random.default_rng(seed)
    weights = []
    for shape in shapes:
        limit = 0.0
        if len(shape) > 1:
            limit = math.sqrt(6 / (math.prod(shape[:-2]) * (shape[-2] + shape[-1])))
        weights.append(generator.uniform(-limit, limit, shape).astype("float32"))
    return weights


def build_model(settings: Settings) -> keras.Sequential:
    """The net, with the weights of its seed."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((64,))])
    if settings.channels:
        model.add(layers.Reshape((8, 8, 1)))
        for channels in (settings.channels, 2 * settings.channels):
            model.add(layers.Conv2D(channels, 3, padding="same", activation="relu"))
        model.add(layers.Flatten())
    else:
        model.add(layers.Dense(settings.units, activation="relu"))
    model.add(layers.Dense(10))
    model.set_weights(start_weights([w.shape for w in model.weights], settings.seed))
    return model


def build_optimizer(settings: Settings, **arguments: Any) -> keras.optimizers.Optimizer:
    """The optimizer of the settings, its state at the start."""
    return OPTIMIZERS[settings.optimizer][0](settings.learning_rate, **arguments)


def cross_entropies(model: keras.Model, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The loss of each example: (examples,)."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(x))


def gradient(model: keras.Model, x: tf.Tensor, y: tf.Tensor, size: int) -> list[np.ndarray]:
    """The gradient of the summed losses of these examples, over `size`."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(cross_entropies(model, x, y)) / size
    return [g.numpy() for g in tape.gradient(loss, model.trainable_variables)]


def parts(size: int, replicas: int) -> str:
    """How a batch of this size is split, in words."""
    return " + ".join(str(len(range(r, size, replicas))) for r in range(replicas))


def largest_gap(these: Sequence[np.ndarray], those: Sequence[np.ndarray]) -> float:
    """The largest difference between any two weights of two nets."""
    return max(float(np.abs(w - v).max()) for w, v in zip(these, those, strict=True))


# %%
if __name__ == "__main__":
    digits = _data.digits()
    model = build_model(Settings())
    x, y = digits.x_train[:7], digits.y_train[:7]
    whole = gradient(model, x, y, 7)
    shares = [gradient(model, x[r::2], y[r::2], 7) for r in range(2)]
    means = [gradient(model, x[r::2], y[r::2], len(x[r::2])) for r in range(2)]
    print("7 examples as", parts(7, 2))
    added = [a + b for a, b in zip(*shares, strict=True)]
    print(f"sums over 7, added: {largest_gap(added, whole):.0e} from the gradient of the batch")
    averaged = [(a + b) / 2 for a, b in zip(*means, strict=True)]
    print(f"the mean of both means: {largest_gap(averaged, whole):.0e} from it")

# %% [markdown]
r"""
The mean of means is wrong where the parts are uneven: an example in the smaller part weighs more.

One step, from the batch to the new weights. Between the two replicas only gradients are moved:
"""


# %%
@_plots.drawing
def draw_step(size: int, replicas: int, moved: int) -> _plots.Picture:
    """One data-parallel step of a batch of `size` examples; `moved` is in bytes."""
    shares = [len(range(r, size, replicas)) for r in range(replicas)]
    figure, axes = _plots.picture(
        f"Each replica sees a part of the batch; {moved / 1e3:,.0f} kB of gradients meet",
        f"From left to right: a batch of {size} examples goes to {replicas} replicas as "
        f"{parts(size, replicas)}; each has all the weights and computes a gradient; one box, the "
        "all-reduce, adds the gradients, and each replica makes the same step with the sum.",
    )
    heights = np.linspace(0.8, 0.2, replicas)
    boxed = {"boxstyle": "round,pad=0.5", "facecolor": "white", "linewidth": 2}

    def box(x: float, y: float, text: str, color: str) -> None:
        axes.text(x, y, text, ha="center", va="center", bbox=boxed | {"edgecolor": color})

    def arrow(start: tuple[float, float], end: tuple[float, float]) -> None:
        axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "linewidth": 1.5})

    for number, (y, share) in enumerate(zip(heights, shares, strict=True)):
        arrow((0.11, 0.5), (0.27, y))
        arrow((0.45, y), (0.6, 0.5 + 0.1 * np.sign(y - 0.5)))
        arrow((0.74, 0.5 + 0.1 * np.sign(y - 0.5)), (0.85, y))
        box(0.36, y, f"replica {number}\n{share} examples\nall weights", _plots.BLUE)
        box(0.92, y, "the same\nstep", _plots.BLUE)
    box(0.06, 0.5, f"batch\n{size}", _plots.GREY)
    box(0.67, 0.5, "all-reduce\nsum of\ngradients", _plots.VERMILLION)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_axis_off()
    return figure


# %%
if __name__ == "__main__":
    show(draw_step(7, 2, sum(g.nbytes for g in whole)))

# %% [markdown]
r"""
## All-reduce

After that each device holds a share of the gradient, and needs the sum of all shares. This is an
**all-reduce**. The simplest is a *star*: all send theirs to one, which adds and sends the sum back.
In a *ring* each cuts its share into $n$ pieces and sends, at every turn, one piece to its
neighbour. In the first $n - 1$ turns the neighbour adds it to its own; in $n - 1$ further turns
finished pieces go round.

For shares of $S$ bytes, the busiest one sends

$$\text{star: } (n - 1)\, S \qquad \text{ring: } 2\, \frac{n - 1}{n}\, S < 2\, S$$

The hub's load grows with $n$; in the ring it stays below $2 S$, however many there are. Both are
played through below, with arrays for devices.
"""


# %%
def star(shares: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[int]]:
    """All-reduce over a hub: what each ends with, and the bytes that each sent."""
    total = np.sum(shares, axis=0)
    sent = [share.nbytes for share in shares]
    sent[0] = (len(shares) - 1) * total.nbytes
    return [total.copy() for _ in shares], sent


def ring(shares: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[int]]:
    """All-reduce around a ring: what each ends with, and the bytes that each sent.

    P. Patarasuk and X. Yuan, Bandwidth optimal all-reduce algorithms for clusters of workstations,
    2009, section 3.
    """
    n = len(shares)
    pieces = [np.array_split(share.copy(), n) for share in shares]
    sent = [0] * n
    for turn in range(2 * (n - 1)):
        moved = [(r, (r - turn) % n) for r in range(n)]
        parcels = [pieces[r][piece].copy() for r, piece in moved]
        for (r, piece), parcel in zip(moved, parcels, strict=True):
            sent[r] += parcel.nbytes
            neighbour = pieces[(r + 1) % n]
            neighbour[piece] = neighbour[piece] + parcel if turn < n - 1 else parcel
    return [np.concatenate(mine) for mine in pieces], sent


# %%
if __name__ == "__main__":
    size = model.count_params()
    rows = []
    for n in (2, 4, 8, 16):
        held = np.random.default_rng(0).normal(size=(n, size)).astype("float32")
        sums, sent = ring(list(held))
        off = max(float(np.abs(mine - held.sum(axis=0)).max()) for mine in sums)
        rows.append((n, max(star(list(held))[1]) / 1e6, max(sent) / 1e6, off))
    columns = ("devices", "star, MB", "ring, MB", "from the sum")
    title = f"The busiest sends, for {size:,} gradients of 4 bytes"
    show(Table(title, columns, ("d", ".2f", ".2f", ".0e"), rows))

# %% [markdown]
r"""
## Two devices

`tf.distribute.MirroredStrategy` keeps a copy of every variable on each device, and runs a function
on all of them at once: a **replica** each.

The data come from `tf.data`. Which examples a replica gets depends on the seed, the step and its
number, and on nothing else: so a training that is interrupted can go on at any step.
"""


# %%
def shard(
    settings: Settings, digits: _data.Split, start: int, replica: int, replicas: int
) -> tf.data.Dataset:
    """A replica's part of each batch from step `start` on: x, y, and the size of the whole batch.

    Example i of a batch belongs to replica i modulo `replicas`. The part may be empty.
    """
    x, y, size = digits.x_train, digits.y_train, settings.batch_size
    per_epoch = -(-len(x) // size)
    seeds = [[settings.seed, epoch] for epoch in range(settings.epochs)]
    orders = tf.constant([np.random.default_rng(s).permutation(len(x)) for s in seeds], tf.int32)

    def part(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        first = step % per_epoch * size
        batch = orders[step // per_epoch][first : first + size]
        mine = batch[replica::replicas]
        return tf.gather(x, mine), tf.gather(y, mine), tf.size(batch)

    options = tf.data.Options()
    options.autotune.enabled = False  # its threads keep a process from ending
    return tf.data.Dataset.range(start, settings.steps(len(x))).map(part).with_options(options)


# %% [markdown]
r"""
The step is in the function `replica_step`, which every replica runs. It goes through its part in
`accumulate` pieces and adds up their gradients: so a batch may be larger than what fits into a
device. Then come the all-reduce and the clipping, in this order. Clipped before, each replica would
be held to a norm of its own, and the sum would be another one.

Keras's optimizer all-reduces by itself once more. For the sum to come out right, each replica hands
in an $n$-th of it.
"""


# %%
class Trainer:
    """A net in training on all replicas of a strategy.

    Args:
        strategy: None for one device.
        worker: the number of this process among `workers`.
    """

    def __init__(
        self,
        settings: Settings,
        digits: _data.Split,
        strategy: tf.distribute.Strategy | None = None,
        worker: int = 0,
        workers: int = 1,
    ) -> None:
        self.settings, self.digits = settings, digits
        self.strategy = strategy or tf.distribute.get_strategy()
        self.replicas = self.strategy.num_replicas_in_sync
        local = self.replicas // workers
        self.numbers = range(worker * local, (worker + 1) * local)
        self.steps = settings.steps(len(digits.x_train))
        self.step = 0
        self._loop: Callable | None = None
        with self.strategy.scope():
            self.model = build_model(settings)
            self.optimizer = build_optimizer(settings)
            self.optimizer.build(self.model.trainable_variables)

    def train(self, number: int) -> np.ndarray:
        """Makes this many steps; the loss of each batch before its step, (number,).

        Raises:
            FloatingPointError: where a loss overflows; names the step.
        """
        self._loop = self._loop or self._compile()
        losses = self._loop(tf.constant(number)).numpy()
        bad = np.flatnonzero(~np.isfinite(losses))
        if bad.size:
            raise FloatingPointError(
                f"the loss is {losses[bad[0]]} at step {self.step + bad[0] + 1} of {self.steps}: a "
                "smaller learning_rate makes smaller steps"
            )
        self.step += number
        return losses

    def _compile(self) -> Callable:
        settings, weights = self.settings, self.model.trainable_variables
        batches = {
            r: iter(shard(settings, self.digits, self.step, r, self.replicas)) for r in self.numbers
        }

        def replica_step() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            number = int(tf.get_static_value(context.replica_id_in_sync_group))
            x, y, size = next(batches[number])
            loss, gradients = tf.constant(0.0), [tf.zeros(w.shape) for w in weights]
            for piece in range(settings.accumulate):
                mine = slice(piece, None, settings.accumulate)
                with tf.GradientTape() as tape:
                    losses = cross_entropies(self.model, x[mine], y[mine])
                    mean = tf.reduce_sum(losses) / tf.cast(size, tf.float32)
                more = tape.gradient(mean, weights)
                gradients = [g + h for g, h in zip(gradients, more, strict=True)]
                loss += mean
            loss, *gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, [loss, *gradients])
            if settings.clip_norm:
                gradients, _ = tf.clip_by_global_norm(gradients, settings.clip_norm)
            self.optimizer.apply([g / self.replicas for g in gradients], weights)
            return loss

        @tf.function
        def loop(number: tf.Tensor) -> tf.Tensor:
            losses = tf.TensorArray(tf.float32, number)
            for i in tf.range(number):
                loss = self.strategy.run(replica_step)
                losses = losses.write(i, self.strategy.experimental_local_results(loss)[0])
            return losses.stack()

        return loop


# %% [markdown]
r"""
And Keras: the same net, compiled under the strategy's scope, and `fit`. Keras can't compile its
step with XLA under a strategy, so `jit_compile` is off.
"""


# %%
def fit(
    settings: Settings, digits: _data.Split, strategy: tf.distribute.Strategy
) -> list[np.ndarray]:
    """The weights after Keras's own `fit`, on the same batches, with its clipping and accumulation.

    Raises:
        tf.errors.OpError: for a first batch that can't be split evenly.
        RuntimeError: for accumulation under a strategy.
    """
    with strategy.scope():
        model = build_model(settings)
        arguments = {
            "global_clipnorm": settings.clip_norm or None,
            "gradient_accumulation_steps": settings.accumulate if settings.accumulate > 1 else None,
        }
        optimizer = build_optimizer(settings, **arguments)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=optimizer, loss=loss, jit_compile=False)
    batches = shard(settings, digits, 0, 0, 1).map(lambda x, y, size: (x, y))
    model.fit(batches, shuffle=False, verbose=0)
    return model.get_weights()


def mirrored(devices: int) -> tf.distribute.Strategy:
    """A replica on each of this many logical devices of the CPU; they all-reduce as a star.

    Left to itself the strategy takes collective operations, which it numbers from the start again:
    a second strategy in one process is then refused, since its numbers are taken.
    """
    return tf.distribute.MirroredStrategy(
        split_cpu(devices), cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


# %%
def compare(
    settings: Settings, digits: _data.Split, strategy: tf.distribute.Strategy
) -> tuple[float, float | None]:
    """How far the weights of the loop and of `fit` end from those of one device.

    None where `fit` refuses.
    """
    one, all_of_them = Trainer(settings, digits), Trainer(settings, digits, strategy)
    for trainer in (one, all_of_them):
        trainer.train(trainer.steps)
    weights = one.model.get_weights()
    try:
        theirs = largest_gap(fit(settings, digits, strategy), weights)
    except (tf.errors.OpError, RuntimeError):
        theirs = None
    return largest_gap(all_of_them.model.get_weights(), weights), theirs


# %%
if __name__ == "__main__":
    strategy = mirrored(2)
    lines = []
    for what, settings in (
        ("plain", Settings()),
        ("clipped to norm 0.5", Settings(clip_norm=0.5)),
        ("accumulated over 4 pieces", Settings(accumulate=4)),
        ("an odd batch", Settings(batch_size=361)),
    ):
        gaps = compare(settings, digits, strategy)
        lines.append((what, parts(settings.batch_size, 2), *gaps))
    columns = ("training", "batch", "the loop", "Keras's fit")
    title = "Weights of two devices, apart from those of one (a dash where fit refuses)"
    show(Table(title, columns, ("", "", ".0e", ".0e"), lines))

# %% [markdown]
r"""
The loop ends where one device ends. `fit` does not: it takes the mean of the replicas' means, and
an epoch of 1,437 digits has an odd batch; it clips in each replica, before the sum; it refuses to
accumulate; and a first batch that can't be split evenly it can't read.

## Two processes

On several machines each process must find the others. TensorFlow reads that from the environment
variable `TF_CONFIG`: the addresses of all, in the same order everywhere, and which of them this
process is. On a cluster it is written on each machine before TensorFlow starts:
"""


# %%
def resolved(
    resolver: Callable[[], tf.distribute.cluster_resolver.ClusterResolver],
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """What a resolver of TensorFlow makes of environment variables: the cluster, and its place."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        found = resolver()
        cluster = found.cluster_spec().as_dict()
        return {"cluster": cluster, "task": {"type": found.task_type, "index": found.task_id}}
    finally:
        os.environ.clear()
        os.environ.update(before)


# %%
if __name__ == "__main__":
    machines = ["node1:2222", "node2:2222"]
    config = {"cluster": {"worker": machines}, "task": {"type": "worker", "index": 1}}
    print("by hand, on node2: export TF_CONFIG='" + json.dumps(config) + "'")

    resolvers = tf.distribute.cluster_resolver
    read = resolved(resolvers.TFConfigClusterResolver, {"TF_CONFIG": json.dumps(config)})
    print("TensorFlow reads it:", read == config)

    slurm = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
             "SLURM_STEP_NODELIST": "node[1-2]"}  # fmt: skip
    by_slurm = resolved(
        lambda: resolvers.SlurmClusterResolver(port_base=2222, auto_set_gpu=False, gpus_per_node=1),
        slurm,
    )
    print("from what Slurm sets:", by_slurm == config)

# %% [markdown]
r"""
With `MultiWorkerMirroredStrategy` the same loop runs in every process. (Keras's `fit` refuses it.)
`_workers.py` starts processes on this machine, gives each its TF_CONFIG with a free port, and ends
all of them whatever happens. Each gets one core: it stands for a machine. The first one, the
*chief*, writes a checkpoint now and then; all of them read it when they start.

The processes meet on the loopback interface, but while they run TensorFlow listens at their ports
on every interface, and asks nobody for a password: this is nothing for an open network.
"""


# %%
def connect() -> tf.distribute.Strategy:
    """The strategy of all processes in TF_CONFIG; returns when all are there."""
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=tf.distribute.experimental.CommunicationImplementation.RING
    )
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


def save(path: Path, trainer: Trainer) -> None:
    """Writes weights, optimizer state and step to a file, whole or not at all."""
    variables = [*trainer.model.trainable_variables, *trainer.optimizer.variables]
    _checkpoints.save(path, asdict(trainer.settings), {"step": trainer.step}, variables)


def load(path: Path, trainer: Trainer) -> None:
    """Brings a trainer that has made no step yet to where a checkpoint was written."""
    progress, values = _checkpoints.read(path, asdict(trainer.settings))
    trainer.step = progress["step"]
    variables = [*trainer.model.trainable_variables, *trainer.optimizer.variables]
    _checkpoints.assign(variables, values)


# %%
@dataclass(frozen=True)
class Ended:
    """A training on worker processes that came to its end."""

    weights: list[np.ndarray]
    loss: float | None
    """Of the last batch; None where nothing was left to train."""
    rate: float | None
    """Steps a second, once the first ones have compiled the loop; None for too few steps."""
    cores: float | None
    """Processor seconds that the first worker got a second: 1 where nobody else wants its core."""


def train_on_workers(
    settings: Settings, workers: int, folder: Path, every: int = 10, **options: Any
) -> Ended:
    """Trains on processes of this machine; goes on from the checkpoint in `folder`.

    Args:
        every: steps from one checkpoint to the next.
        options: of `_workers.launch`.

    Raises:
        OptionError: where that checkpoint belongs to other settings; and what `launch` raises.
    """
    path = folder / f"workers_{workers}.npz"
    if path.exists():
        _checkpoints.read(path, asdict(settings))  # before anything is started
    seen: list[_workers.Message] = []
    watch = options.pop("watch", None)

    def look(index: int, process: int, message: _workers.Message) -> None:
        if index == 0 and message["event"] == "start":
            seen.clear()
        if index == 0 and message["event"] == "step":
            seen.append(message)
        if watch:
            watch(index, process, message)

    job = {
        "trainings": [{"settings": asdict(settings), "checkpoint": str(path.absolute())}],
        "every": every,
    }
    _workers.launch(job, workers, watch=look, **options)
    rate, cores = (
        float(np.median([message[name] for message in seen[1:]])) if seen[1:] else None
        for name in ("rate", "cores")
    )
    _, values = _checkpoints.read(path, asdict(settings))
    weights = values[: len(build_model(settings).weights)]
    return Ended(weights, seen[-1]["loss"] if seen else None, rate, cores)


# %%
if __name__ == "__main__":
    settings = Settings(clip_norm=0.5, accumulate=2, epochs=10)
    one = Trainer(settings, digits)
    one.train(one.steps)
    kept = tempfile.TemporaryDirectory()
    folder = Path(kept.name)
    undisturbed = train_on_workers(settings, 2, folder)
    gap = largest_gap(undisturbed.weights, one.model.get_weights())
    print(f"two processes, {one.steps} steps: {gap:.0e} from the weights of one device")

# %% [markdown]
r"""
## A worker dies

The longer a training and the more machines, the surer it is that one of them fails. The others then
wait for its share, and can do nothing. Here worker 1 is killed in the middle of an epoch, by the
signal that no program can catch.
"""

# %%
if __name__ == "__main__":
    killed: list[int] = []

    def kill_once(index: int, process: int, message: _workers.Message) -> None:
        if index == 1 and message["event"] == "step" and message["step"] >= 18 and not killed:
            killed.append(process)
            os.kill(process, getattr(signal, "SIGKILL", signal.SIGTERM))

    (folder / "again").mkdir()
    again = train_on_workers(settings, 2, folder / "again", every=6, watch=kill_once, tell=print)
    gap = largest_gap(again.weights, undisturbed.weights)
    print(f"at the end: {gap:.0e} from the weights of the undisturbed run")

# %% [markdown]
r"""
The steps since the last checkpoint are made again. How often to write one is a balance: of what it
takes to write, and of what is lost when somebody dies.

## How much faster?

Each process has one core, and the batch is the same for all: $n$ of them have an $n$-th of the work
each, and the all-reduce on top of it. Two nets are compared. The dense one computes little for each
byte of its gradient; the convolutional one uses each weight of its convolutions at 64 places of an
image, and so computes far more.

The column "cores each" says what share of its core a process used: less than 1 where it had to
wait, for the others' gradients or for whatever else the machine was doing.
"""


# %%
@dataclass(frozen=True)
class Way:
    """A training in one of several ways."""

    name: str
    replicas: int
    line: str
    """Those of one line differ in the number of their replicas alone."""
    rate: float | None
    """Steps a second; None where too few were left to measure."""
    cores: float | None
    """Processor seconds that the first replica's process got a second."""
    loss: float | None
    """Of the last batch."""
    gap: float | None
    """The largest difference of a weight from one device's; None where `fit` refuses."""


def busy_cores() -> float:
    """How many cores other programs keep busy, over a second."""
    begin, used = time.perf_counter(), time.process_time()
    share = psutil.cpu_percent(1.0) / 100
    ours = (time.process_time() - used) / (time.perf_counter() - begin)
    return max(0.0, share * (os.cpu_count() or 1) - ours)


def by_line(ways: Sequence[Way]) -> dict[str, list[Way]]:
    """The ways that were measured, by their lines, each from its smallest number of replicas on."""
    lines: dict[str, list[Way]] = {}
    for way in sorted(ways, key=lambda way: way.replicas):
        if way.rate:
            lines.setdefault(way.line, []).append(way)
    return {line: seen for line, seen in lines.items() if len(seen) > 1}


def times_of_one(seen: Sequence[Way]) -> list[float]:
    """The steps a second of each of a line, over those of its first."""
    return [(way.rate or math.nan) / (seen[0].rate or math.nan) for way in seen]


def say_speed(ways: Sequence[Way], cores: int, busy: float) -> str:
    """What more replicas bring, as far as there are cores for them, in one sentence.

    Args:
        busy: cores that other programs kept busy before the start.
    """
    said = []
    for line, seen in by_line(ways).items():
        most = max([i for i, way in enumerate(seen) if way.replicas <= cores and i] or [1])
        times = times_of_one(seen)[most]
        said.append(f"{seen[most].replicas} {line} {times:.1f}")
    if not said:
        return "too few steps to measure"
    disturbed = f" ({busy:.1f} of them busy otherwise)" if busy > 0.05 else ""
    where = f"on {cores} core{'s' * (cores > 1)}{disturbed}"
    return f"{', '.join(said)} times the steps of one, {where}"


def table_of(ways: Sequence[Way], title: str) -> Table:
    """Every way with its speed, its last loss and its distance from one device."""
    rows = [(way.name, way.rate, way.cores, way.loss, way.gap) for way in ways]
    columns = ("training", "steps/s", "cores each", "last loss", "weights apart")
    return Table(title, columns, ("", ".0f", ".2f", ".4f", ".0e"), rows)


@_plots.drawing
def draw_speed(ways: Sequence[Way], cores: int, busy: float) -> _plots.Picture:
    """How many times the steps of one replica several make, a line a kind of training."""
    told = "; ".join(f"{way.name} {way.rate:.0f}" for way in ways if way.rate)
    figure, axes = _plots.picture(
        say_speed(ways, cores, busy),
        f"Times the steps of one replica against the number of replicas. Steps a second: {told}. A "
        "dashed line shows n times the steps.",
    )
    styles = ((_plots.BLUE, "o-"), (_plots.VERMILLION, "s-"))
    for (line, seen), (color, form) in zip(by_line(ways).items(), styles, strict=False):
        axes.plot([w.replicas for w in seen], times_of_one(seen), form, color=color, label=line)
    most = max(way.replicas for way in ways)
    axes.plot([1, most], [1, most], "--", color=_plots.GREY, label="n times one")
    if cores < most:
        axes.axvline(cores, color=_plots.GREY, linewidth=1)
        axes.annotate(f"{cores} cores", (cores, 0), (4, 6), textcoords="offset points")
    axes.set(xlabel="replicas", ylabel="times the steps of one", ylim=(0, None))
    axes.set_xticks(sorted({way.replicas for way in ways}))
    axes.legend()
    return figure


# %%
if __name__ == "__main__":
    cores, busy = os.cpu_count() or 1, busy_cores()
    ways = []
    for net, channels in (("dense", 0), ("convolutional", 32)):
        settings = Settings("Momentum", 0.03, channels=channels, epochs=10, clip_norm=1.0)
        one = Trainer(settings, digits)
        one.train(one.steps)
        moved = sum(weight.nbytes for weight in one.model.get_weights())
        print(f"{net}: {moved / 1e3:.0f} kB of gradients")
        (folder / net).mkdir()
        for n in (1, 2, 4):
            ended = train_on_workers(settings, n, folder / net, every=8)
            gap = largest_gap(ended.weights, one.model.get_weights())
            line = f"processes ({net} net)"
            ways.append(Way(f"{n}, {net}", n, line, ended.rate, ended.cores, ended.loss, gap))
    title = "Processes, and the net that they train"
    show(table_of(ways, title), draw_speed(ways, cores, busy))

# %% [markdown]
r"""
Where a step computes for long, a second core is worth having; where it computes for a moment, the
all-reduce takes longer than what it saves. More processes than cores only take turns. The weights
are the same in every row, to rounding, which is larger in the convolutional net: its sums are long.
"""

# %% [markdown]
r"""
## Try it

1. `tf-examples run distributed_training --channels 8`. Expect two processes to gain less than with
   32 channels: there is less to compute, and an all-reduce takes its time however small the
   gradient.
2. `--workers 4 --batch-size 3 --epochs 1`. Expect one worker to have no example at all, and the
   same weights but for rounding: its share of the gradient is 0.
3. `--clip-norm 0` and `--clip-norm 0.1`. Expect `fit` to end closer to one device without clipping.
"""


# %% tags=["module-only"]
@dataclass(frozen=True)
class DistributedTrainingResult:
    """What `run` found."""

    ways: list[Way]
    split: str
    """How the replicas share a batch, and the last of an epoch."""
    cores: int
    busy: float
    """Cores that other programs kept busy before the start: they are missing from the speed."""
    restarts: list[str]
    """What the launcher said of workers that died."""

    def table(self) -> Table:
        """Every way, beside one device."""
        lines = [self.split, say_speed(self.ways, self.cores, self.busy), *self.restarts]
        return table_of(self.ways, "\n".join(lines))

    def figure(self) -> _plots.Picture:
        """How many times the steps of one replica several make."""
        return draw_speed(self.ways, self.cores, self.busy)


QUICK: dict = {"workers": 0, "channels": 0, "units": 32, "batch_size": 100, "epochs": 5}


def run(
    *,
    workers: int = 2,
    devices: int = 2,
    optimizer: Literal["GradientDescent", "Momentum", "Adagrad", "RMSprop", "Adam"] = "Momentum",
    learning_rate: float | None = None,
    channels: int = 32,
    units: int = 512,
    batch_size: int = 360,
    epochs: int = 10,
    accumulate: int = 1,
    clip_norm: float = 1.0,
    folder: str | None = None,
    checkpoint_every: int = 10,
    restarts: int = 3,
    port: int | None = None,
    timeout: float = 120.0,
    seed: int = 0,
) -> DistributedTrainingResult:
    """Trains one net on one device, on several, and on worker processes; compares the weights.

    Args:
        workers: The largest number of processes; 0 for none.
        devices: Logical devices of the CPU in this process.
        optimizer: One of `custom_optimizers`.
        learning_rate: The optimizer's usual one if not given.
        channels: Of the first of two convolutions, half of those of the second; 0 for a dense net.
        units: Of the hidden layer of a dense net.
        batch_size: Examples of a step, on all replicas together.
        epochs: Passes over the 1,437 training digits.
        accumulate: Pieces in which a replica goes through its part of a batch.
        clip_norm: The largest norm of all gradients together; 0 for any.
        folder: Keeps the checkpoints of the processes, so that an interrupted run goes on.
        checkpoint_every: Steps from one checkpoint to the next.
        restarts: How often all workers may start again after one died.
        port: Of the first worker on 127.0.0.1, the others follow; free ones if not given.
        timeout: Seconds that a worker may take to start, or be silent.
        seed: Draws the first weights and the order of the digits.

    Raises:
        OptionError: for an option out of its range, a port or a folder that can't be used.
        FloatingPointError: where the loss overflows; names the step.
        RunError: for a worker that does not start, or dies once too often.
    """
    for option, value, least in (
        ("workers", workers, 0), ("devices", devices, 1), ("channels", channels, 0),
        ("units", units, 1),
        ("batch_size", batch_size, 1), ("epochs", epochs, 1), ("accumulate", accumulate, 1),
        ("checkpoint_every", checkpoint_every, 1), ("restarts", restarts, 0), ("seed", seed, 0),
    ):  # fmt: skip
        _options.at_least(option, value, least)
    _options.in_interval("workers", workers, "[0, 64]")
    _options.in_interval("devices", devices, "[1, 64]")
    _options.in_interval("clip_norm", clip_norm, "[0, inf)")
    _options.in_interval("timeout", timeout, "(0, inf)")
    if optimizer not in OPTIMIZERS:
        raise _options.OptionError(
            f"`optimizer` must be one of {', '.join(OPTIMIZERS)}. Received: optimizer={optimizer!r}"
        )
    if learning_rate is not None:
        _options.in_interval("learning_rate", learning_rate, "(0, inf)")
    if port is not None:
        _options.in_interval("port", port, f"[1, {65536 - max(workers, 1)}]")
    digits = _data.digits()
    examples = len(digits.x_train)
    if batch_size > examples:
        raise _options.OptionError(
            f"`batch_size` must be at most {examples}, the digits to learn from. Received: "
            f"batch_size={batch_size}"
        )
    rate = OPTIMIZERS[optimizer][1] if learning_rate is None else learning_rate
    settings = Settings(
        optimizer, rate, channels, units, batch_size, epochs, accumulate, clip_norm, seed
    )  # fmt: skip
    most, cores = max(workers, devices), os.cpu_count() or 1
    split = say_split(settings, examples, most)
    if batch_size % most:
        _say(split)
    if workers > cores:
        _say(f"{workers} workers on {cores} cores take turns: expect no more speed than {cores}'s")
    said: list[str] = []
    busy = busy_cores()

    def tell(line: str) -> None:
        said.append(line)
        _say(line)

    with tempfile.TemporaryDirectory() as temporary:
        place = _folder(folder, workers) if folder else Path(temporary)
        ways, weights = _in_this_process(settings, digits, devices, checkpoint_every)
        for n in sorted({n for n in (1, 2, workers) if 0 < n <= workers}):
            ended = train_on_workers(
                settings, n, place, checkpoint_every,
                port=port, restarts=restarts, timeout=timeout, tell=tell,
            )  # fmt: skip
            name = f"{n} process{'es' if n > 1 else ''}"
            gap = largest_gap(ended.weights, weights)
            ways.append(Way(name, n, "processes", ended.rate, ended.cores, ended.loss, gap))
    return DistributedTrainingResult(ways, split, cores, busy, said)


def _in_this_process(
    settings: Settings, digits: _data.Split, devices: int, every: int
) -> tuple[list[Way], list[np.ndarray]]:
    """One device, several, and Keras's `fit` on these; and the weights of the one."""
    strategy = mirrored(devices) if devices > 1 else None
    ways: list[Way] = []
    weights: list[np.ndarray] = []
    for n in sorted({1, devices}):
        trainer = Trainer(settings, digits, strategy if n > 1 else None)
        measured, losses = [], np.zeros(0)
        while trainer.step < trainer.steps:
            number = min(every, trainer.steps - trainer.step)
            begin, used = time.perf_counter(), time.process_time()
            losses = trainer.train(number)
            seconds, used = time.perf_counter() - begin, time.process_time() - used
            measured.append((number / seconds, used / seconds))
        ended = trainer.model.get_weights()
        weights = weights or ended
        rate, cores = map(float, np.median(measured[1:], axis=0)) if measured[1:] else (None, None)
        name = "one device" if n == 1 else f"{n} devices"
        gap = largest_gap(ended, weights)
        ways.append(Way(name, n, "devices of one process", rate, cores, float(losses[-1]), gap))
    if strategy:
        try:
            theirs = largest_gap(fit(settings, digits, strategy), weights)
        except (tf.errors.OpError, RuntimeError):
            theirs = None
        ways.append(Way(f"{devices} devices, Keras's fit", devices, "", None, None, None, theirs))
    return ways, weights


def say_split(settings: Settings, examples: int, replicas: int) -> str:
    """How replicas share a batch and the last of an epoch, in one sentence."""
    size, last = settings.batch_size, examples % settings.batch_size
    said = f"{replicas} replicas share a batch of {size} as {parts(size, replicas)}"
    return f"{said}, the last of an epoch as {parts(last, replicas)}" if last else said


def _say(line: str) -> None:
    print(f"tf-examples: {line}", file=sys.stderr, flush=True)


def _folder(path: str, workers: int) -> Path:
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        _report.check_writable(Path(path) / f"workers_{workers}.npz")
    except OSError as error:
        raise _options.OptionError(f"can't write to {path}: {error.strerror or error}") from error
    return Path(path)
