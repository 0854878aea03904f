# %% [markdown]
r"""
# Making it fit

**A training needs 300 MB, and there are 100. What can be done?**

Paragraphs 3.3 and 5 of the article · 45 minutes · know before: section `language_model`, the five
optimizers.

The article says that training large models is held back by limited resources, memory among them.
Here the same small Transformer is trained within less and less memory. For each way of saving, the
bytes are predicted by hand, measured in a fresh process, and set beside what they cost in time.
"""

# %%
import dataclasses
import itertools
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import psutil
import tensorflow as tf

import custom_optimizers
from tf_examples import _data, _fresh, _options, _plots
from tf_examples._report import Table, show, track
from tf_examples._transformer import Shape, Transformer

# %% [markdown]
r"""
## Where the bytes go

Training holds four things at once:

- the **weights**, 4 bytes each in float32;
- a **gradient** for each weight, 4 bytes;
- the **state** of the optimizer: Adam keeps two means for each weight, 8 bytes;
- the **activations**: all that the forward pass computes and the backward pass reads again.

The first three grow with the number of parameters $N$, the activations with the number of tokens in
a batch. For each token a block of the Transformer, $w$ wide, with $H$ heads and $t$ tokens of
context, keeps in float32

$$56\, w + 4 H t + 24 \text{ bytes:}$$

what goes into each layer and what comes out, for each head a weight for each token of the context,
and what the two norms keep. (In half precision, below, some of these numbers have 2 bytes.) On top
of the blocks come the output layer, and what the kernels need for a moment.
"""

# %%
Precision = Literal["float32", "bfloat16", "float16"]

SLOTS = {"Adam": 2, "RMSprop": 2, "Momentum": 1, "Adagrad": 1, "GradientDescent": 0}
"""Numbers that each of our optimizers keeps a weight."""

RATES = {
    "Adam": 0.002, "RMSprop": 0.001, "Momentum": 0.05, "Adagrad": 0.02, "GradientDescent": 0.03,
}  # fmt: skip
"""A learning rate for each: fair ones for this model, not the best."""


@dataclass(frozen=True)
class Setting:
    """One way to train the same model on the same batches."""

    micro_batches: int = 1
    """Parts of a batch that are computed one after the other."""
    recompute: bool = False
    """Whether blocks are computed again in the backward pass, instead of kept."""
    precision: Precision = "float32"
    optimizer: str = "Adam"

    @property
    def name(self) -> str:
        """Its differences from the plain way, as the option `settings` takes them."""
        parts = [f"accumulate{self.micro_batches}"] if self.micro_batches > 1 else []
        parts += ["recompute"] if self.recompute else []
        parts += [self.precision] if self.precision != "float32" else []
        parts += [self.optimizer] if self.optimizer != "Adam" else []
        return "+".join(parts) or "plain"


PLAIN = Setting()


@dataclass(frozen=True)
class Bytes:
    """What training holds, in bytes. None is what could not be measured."""

    weights: float
    gradients: float
    state: float
    activations: float | None
    peak: float | None
    """Of all together, at the worst moment."""


def block_bytes(shape: Shape, precision: Precision) -> dict[str, int]:
    """What a block keeps for its backward pass, in bytes a token.

    In half precision Keras computes norms and softmax in float32 all the same, and so does the
    product of the attention's weights and the values.
    """
    w, number = shape.width, 4 if precision == "float32" else 2
    return {
        "norms": 2 * (4 + 4 + number) * w + 24,
        "queries and keys": 2 * number * w,
        "values": 4 * w,
        "attention's weights": 4 * shape.heads * shape.context,
        "heads side by side": number * w,
        "feed-forward": number * 4 * w,
    }


def activation_bytes(shape: Shape, batch_size: int, setting: Setting) -> int:
    """The activations at their most: what is kept, and what the kernels need for a moment.

    That moment is the backward pass of the last block: nothing is released yet, and there are a
    gradient as large as the largest activation and the gradients of the block's matrices. Half
    precision adds a copy of each matrix, and in a CPU's kernels copies in float32.
    """
    w, half = shape.width, setting.precision != "float32"
    number = 2 if half else 4
    block = sum(block_bytes(shape, setting.precision).values())
    blocks = shape.layers * block
    if setting.recompute:
        blocks = shape.layers * number * w + block
    head = (4 + 4 + number) * w + 4 * shape.vocabulary
    largest = max(4 * shape.heads * shape.context, 16 * w, 4 * shape.vocabulary)
    moment = (3 if half else 1) * largest
    tokens = batch_size // setting.micro_batches * shape.context
    copies = 2 * shape.parameters if half else 0
    return tokens * (blocks + head + moment) + copies + 4 * 12 * w**2


def predict(shape: Shape, batch_size: int, setting: Setting) -> Bytes:
    """What training will hold, from the sizes alone."""
    n = shape.parameters
    weights, gradients, state = 4 * n, 4 * n, 4 * SLOTS[setting.optimizer] * n
    activations = activation_bytes(shape, batch_size, setting)
    return Bytes(
        weights, gradients, state, activations,
        weights + gradients + state + max(activations, update_bytes(shape, setting)),
    )  # fmt: skip


def update_bytes(shape: Shape, setting: Setting) -> int:
    """What the optimizer's step needs for a moment, when the activations are gone.

    TensorFlow's kernels change weights and state in place. With loss scaling there are all
    gradients once more, scaled back.
    """
    return 4 * shape.parameters if setting.precision == "float16" else 0


# %%
if __name__ == "__main__":
    text = _data.text()
    shape, batch_size = Shape(4, 256, 8, 128, len(text.characters)), 24
    kept = block_bytes(shape, "float32")
    rows = [*kept.items(), ("a block", sum(kept.values()))]
    show(Table("What a token leaves behind", ("part", "bytes"), ("", ",d"), rows))
    print(f"{shape.parameters:,} parameters, {batch_size * shape.context:,} tokens a step")

# %% [markdown]
r"""
To see whether that is right, the model takes two steps in a process of its own, and Linux is asked
how much memory the process holds: before the second step, and at most during it. TensorFlow's usual
allocator on Intel and AMD processors (oneDNN's) keeps what was released, for later; it is switched
off there, so that the process holds what the tensors need and no more. Python, TensorFlow and the
compiled graph, several hundred MB, are there before and are not counted.

One step, in the form that all settings share: gradients are added up over the micro-batches, and
then the optimizer moves the weights.
"""


# %%
class Training:
    """A model, its optimizer and one compiled pass forward and backward."""

    def __init__(self, shape: Shape, setting: Setting, seed: int) -> None:
        self.setting = setting
        self.model = new_model(shape, setting, seed)
        self.weights = self.model.trainable_variables
        self.optimizer = getattr(custom_optimizers, setting.optimizer)(RATES[setting.optimizer])
        if setting.precision == "float16":
            self.optimizer = keras.optimizers.LossScaleOptimizer(self.optimizer)
        self.optimizer.build(self.weights)
        self.gradients = [tf.Variable(tf.zeros(weight.shape)) for weight in self.weights]
        self.add = tf.function(self.add_gradients).get_concrete_function(
            tf.TensorSpec([None, shape.context + 1], tf.int32)
        )

    def add_gradients(self, windows: tf.Tensor) -> tf.Tensor:
        """Adds the gradients of a micro-batch to those before it; returns its part of the loss.

        Args:
            windows: (micro-batch, context + 1) tokens.
        """
        with tf.GradientTape() as tape:
            logits = self.model(windows[:, :-1])
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(windows[:, 1:], logits)
            loss = tf.reduce_mean(losses) / self.setting.micro_batches
            scaled = self.optimizer.scale_loss(loss)
        for total, gradient in zip(
            self.gradients, tape.gradient(scaled, self.weights), strict=True
        ):
            total.assign_add(tf.convert_to_tensor(gradient))
        return loss

    def step(self, windows: np.ndarray) -> float:
        """One step of the optimizer on windows (batch, context + 1); returns the loss."""
        parts = np.split(windows, self.setting.micro_batches)
        loss = sum(float(self.add(tf.constant(part, tf.int32))) for part in parts)
        self.optimizer.apply([total.value() for total in self.gradients], self.weights)
        for total in self.gradients:
            total.assign(tf.zeros_like(total))
        return loss


def new_model(shape: Shape, setting: Setting, seed: int) -> Transformer:
    """The model, in the setting's precision: weights in float32, products in 16 bits or 32."""
    before = keras.config.dtype_policy()
    half = setting.precision != "float32"
    keras.config.set_dtype_policy(f"mixed_{setting.precision}" if half else "float32")
    try:
        return Transformer(shape, seed, recompute=setting.recompute)
    finally:
        keras.config.set_dtype_policy(before)


def measure_bytes(shape: dict, batch_size: int, setting: dict, seed: int) -> dict[str, Any]:
    """The fields of `Bytes`, measured in this process: call it in a fresh one.

    The first, small step loads what TensorFlow loads once.
    """
    sizes, way = Shape(**shape), Setting(**setting)
    training = Training(sizes, way, seed)
    windows = np.random.default_rng(seed).integers(
        0, sizes.vocabulary, (batch_size, sizes.context + 1)
    )
    training.step(windows[: way.micro_batches])
    before = _fresh.resident()
    _fresh.forget_peak()
    for part in np.split(windows, way.micro_batches):
        training.add(tf.constant(part, tf.int32))
    activations = _fresh.peak()
    training.optimizer.apply([total.value() for total in training.gradients], training.weights)
    peak = _fresh.peak()
    held: dict[str, Any] = {
        "weights": tensor_bytes(training.weights),
        "gradients": tensor_bytes(training.gradients),
        "state": tensor_bytes(training.optimizer.variables),
    }
    if before is None or activations is None or peak is None:
        return held | {"activations": None, "peak": None}
    states = sum(held.values())
    return held | {"activations": activations - before, "peak": peak - before + states}


def tensor_bytes(variables: Sequence[Any]) -> int:
    """The bytes of the numbers in some variables."""
    return sum(np.asarray(variable).nbytes for variable in variables)


# What makes released memory leave the process, so that the process holds what the tensors need.
GIVES_BACK = {
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
}

MODULE = "tf_examples.memory_budget"


def measured(
    fresh: _fresh.Fresh, shape: Shape, batch_size: int, setting: Setting, seed: int = 0
) -> Bytes:
    """What a fresh process held while it trained.

    Args:
        fresh: a `Fresh` of this module in the environment `GIVES_BACK`.
    """
    sizes, way = dataclasses.asdict(shape), dataclasses.asdict(setting)
    return Bytes(**fresh.call("measure_bytes", sizes, batch_size, way, seed))


# %%
def mega(value: float | None) -> float | None:
    """Bytes in MB, millions of bytes."""
    return None if value is None else value / 1e6


def beside(setting: Setting, predicted: Bytes, found: Bytes) -> Table:
    """Prediction and measurement, part by part, in MB."""
    rows: list[tuple] = []
    for field in dataclasses.fields(Bytes):
        guess, true = (mega(getattr(each, field.name)) for each in (predicted, found))
        rows.append((field.name, guess, true, guess / true - 1 if guess and true else None))
    columns = ("part", "predicted MB", "measured MB", "off")
    return Table(f"What training holds: {setting.name}", columns, ("", ".1f", ".1f", "+z.1%"), rows)


# %%
if __name__ == "__main__":
    fresh = _fresh.Fresh(MODULE, GIVES_BACK)
    found = {PLAIN: measured(fresh, shape, batch_size, PLAIN)}
    show(beside(PLAIN, predict(shape, batch_size, PLAIN), found[PLAIN]))

# %% [markdown]
r"""
## Micro-batches: fewer tokens at a time

The activations are those of one pass. So the batch is cut into $k$ micro-batches, computed one
after the other, and their gradients are added up: with each loss divided by $k$, the sum is the
gradient of the whole batch. Its price is the time of more, smaller products; nothing changes in
what is learned.
"""


# %%
def farthest(shape: Shape, micro_batches: int, batch_size: int = 8, seed: int = 0) -> float:
    """How far the summed gradients are from those of the whole batch, as a share of the largest."""
    windows = np.random.default_rng(seed).integers(
        0, shape.vocabulary, (batch_size, shape.context + 1)
    )
    sums = []
    for parts in (1, micro_batches):
        training = Training(shape, Setting(micro_batches=parts), seed)
        for part in np.split(windows, parts):
            training.add(tf.constant(part, tf.int32))
        sums.append([np.asarray(total) for total in training.gradients])
    largest = max(np.abs(whole).max() for whole in sums[0])
    return float(max(np.abs(a - b).max() for a, b in zip(*sums, strict=True)) / largest)


# %%
if __name__ == "__main__":
    small = Shape(2, 64, 4, 32, len(text.characters))
    print(f"gradients of 4 micro-batches and of the batch differ by {farthest(small, 4):.1e}")
    parts = Setting(micro_batches=4)
    found[parts] = measured(fresh, shape, batch_size, parts)
    show(beside(parts, predict(shape, batch_size, parts), found[parts]))

# %% [markdown]
r"""
## Recomputation: forget, and compute again

With `tf.recompute_grad` a block keeps nothing but its input. When the backward pass comes to the
block, its forward pass runs once more. So instead of all blocks' activations there are all blocks'
inputs and one block's activations, for a third more work: three passes (one forward, two for the
gradients) become four.
"""

# %%
if __name__ == "__main__":
    again = Setting(recompute=True)
    found[again] = measured(fresh, shape, batch_size, again)
    show(beside(again, predict(shape, batch_size, again), found[again]))

# %% [markdown]
r"""
## Half precision: 2 bytes instead of 4

With Keras's policies `mixed_bfloat16` and `mixed_float16`, layers compute in 16 bits, and weights,
gradients and state stay in float32. That saves much less than half: norms, softmax and what comes
of it stay in float32, too, each matrix gets a copy in 16 bits, and a CPU's kernels copies in
float32.

**float16** has 10 bits after the point, but little range: below $6 \cdot 10^{-5}$ it loses one bit
after the other, below $6 \cdot 10^{-8}$ there is only 0. The mean over a batch makes each token's
part of the gradient small, the smaller the more tokens there are. **Loss scaling** multiplies the
loss, and so every gradient, by $2^{15}$, and divides the sums again, in float32; where a gradient
overflows, the step is left out and the scale halved. **bfloat16** has float32's range, so it needs
no scaling, and 7 bits.
"""


# %%
def spoilt(
    shape: Shape, windows: np.ndarray, precision: Precision, scale: float = 1.0, seed: int = 0
) -> float:
    """The share of gradients that half precision puts off by more than a tenth of themselves.

    Args:
        windows: (batch, context + 1) tokens.
        scale: what the loss is multiplied by, in float16.
    """
    sums = []
    for way in (PLAIN, Setting(precision=precision)):
        training = Training(shape, way, seed)
        if way.precision == "float16":
            training.optimizer.dynamic_scale.assign(scale)
        training.add(tf.constant(windows, tf.int32))
        sums.append(np.concatenate([np.ravel(total) for total in training.gradients]))
    exact, half = sums[0], sums[1] / scale
    return float(np.mean(np.abs(half - exact) > 0.1 * np.abs(exact)))


def draw_windows(text: _data.Text, shape: Shape, batch_size: int, seed: int) -> np.ndarray:
    """Windows (batch, context + 1) from random places of the text."""
    starts = np.random.default_rng(seed).integers(0, len(text.train) - shape.context, batch_size)
    return text.train[starts[:, None] + np.arange(shape.context + 1)]


# %%
if __name__ == "__main__":
    half = Shape(4, 128, 8, 128, len(text.characters))
    windows = draw_windows(text, half, 32, seed=0)
    ways: list[tuple[Precision, float]] = [("float16", 1), ("float16", 2**15), ("bfloat16", 1)]
    for precision, scale in ways:
        share = spoilt(half, windows, precision, scale)
        print(f"{precision:8}, loss times {scale:6}: {share:.0%} of the gradients are off by "
              "more than a tenth")  # fmt: skip

# %% [markdown]
r"""
Scaled, float16 has few gradients that far off. What bfloat16 has are its 7 bits', and no scale
helps there.
"""

# %%
if __name__ == "__main__":
    for precision in ("bfloat16", "float16"):
        way = Setting(precision=precision)
        found[way] = measured(fresh, shape, batch_size, way)
        show(beside(way, predict(shape, batch_size, way), found[way]))

# %% [markdown]
r"""
## Less state

Adam's two means are half of the bytes that each weight costs it. Momentum keeps one number, plain
gradient descent none. (RMSprop needs one; ours always keeps a second, for momentum.) But another
optimizer is another training, not the same one in less memory: how well each learns is shown in
section `model_fit`.
"""

# %%
if __name__ == "__main__":
    costs = []
    for optimizer, slots in SLOTS.items():
        state = predict(shape, batch_size, Setting(optimizer=optimizer)).state
        costs.append((optimizer, slots, mega(state), 8 + state / shape.parameters))
    columns = ("optimizer", "numbers a weight", "state MB", "bytes a weight, all three")
    show(Table("Weights, gradients and state", columns, ("", "d", ".1f", ".0f"), costs))

# %% [markdown]
r"""
## Within a budget

Bytes are half of the answer; the other half is time. Each setting trains in a fresh process, now
with everything as TensorFlow has it by default, on the same batches of Python's documentation.
"""


# %%
def measure_training(
    shape: dict, batch_size: int, setting: dict, steps: int, path: str | None, seed: int
) -> dict[str, Any]:
    """Seconds a step (their median, without the first), the last loss in nats, and `grew`.

    `grew` is by how many bytes the process grew, the compiled graph and what TensorFlow's allocator
    keeps included; None without /proc. Call it in a fresh process.
    """
    sizes, before = Shape(**shape), _fresh.resident()
    _fresh.forget_peak()
    training = Training(sizes, Setting(**setting), seed)
    text, seconds, losses = _data.text(path), [], []
    for number in range(steps):
        windows = draw_windows(text, sizes, batch_size, seed=seed * steps + number)
        start = time.perf_counter()
        losses.append(training.step(windows))
        seconds.append(time.perf_counter() - start)
    most = _fresh.peak()
    grew = None if before is None or most is None else most - before
    return {"seconds": float(np.median(seconds[1:])), "loss": losses[-1], "grew": grew}


@dataclass(frozen=True)
class Trial:
    """A setting: what was predicted of it, and what was found where it was tried."""

    setting: Setting
    predicted: Bytes
    measured: Bytes | None = None
    """None where it was not tried: it doesn't fit."""
    seconds: float | None = None
    """A step."""
    loss: float | None = None
    """Of the last step, in nats."""
    grew: float | None = None
    """Bytes by which an ordinary process grew."""

    @property
    def needs(self) -> float:
        """The predicted peak, in bytes."""
        return self.predicted.peak or 0.0

    @property
    def held(self) -> float | None:
        """The measured peak, in bytes."""
        return self.measured.peak if self.measured else None


def try_out(
    trial: Trial, found: Bytes, plain: _fresh.Fresh, shape: Shape, batch_size: int, steps: int,
    path: str | None = None, seed: int = 0,
) -> Trial:  # fmt: skip
    """Trains in the trial's setting, in a fresh process of `plain`.

    Raises:
        FloatingPointError: where the loss overflows; names the setting.
    """
    sizes, way = dataclasses.asdict(shape), dataclasses.asdict(trial.setting)
    told = plain.call("measure_training", sizes, batch_size, way, steps, path, seed)
    if not math.isfinite(told["loss"]):
        raise FloatingPointError(f"the loss of {trial.setting.name} is {told['loss']}")
    return dataclasses.replace(trial, measured=found, **told)


def spaced(setting: Setting) -> str:
    """Its name, with room to break a line."""
    return setting.name.replace("+", " + ")


DEFAULTS = (
    PLAIN,
    Setting(micro_batches=4),
    Setting(recompute=True),
    Setting(precision="bfloat16"),
    Setting(precision="float16"),
    Setting(micro_batches=4, recompute=True),
    Setting(optimizer="Momentum"),
    Setting(optimizer="GradientDescent"),
    Setting(micro_batches=4, recompute=True, optimizer="GradientDescent"),
)


@_plots.drawing
def draw_bytes(trials: Sequence[Trial], budget: float | None = None) -> _plots.Picture:
    """A bar a setting: the parts predicted, and the peak measured as a mark."""
    adam = [trial for trial in trials if trial.setting.optimizer == "Adam"] or trials
    peaks = [trial.held or trial.needs for trial in adam]
    tried = [(place, trial, trial.held) for place, trial in enumerate(trials) if trial.held]
    off = [abs(trial.needs / held - 1) for _, trial, held in tried]
    least, most = (adam[int(place)] for place in (np.argmin(peaks), np.argmax(peaks)))
    accuracy = f", predicted to within {max(off):.0%}" if off else ""
    listed = "; ".join(
        f"{t.setting.name} {t.needs / 1e6:.0f} MB predicted"
        + (f", {t.held / 1e6:.0f} measured" if t.held else "")
        for t in trials
    )
    figure, axes = _plots.picture(
        f"The same training in {max(peaks) / 1e6:.0f} MB or in {min(peaks) / 1e6:.0f} MB{accuracy}",
        f"A bar for each of {len(trials)} settings, of weights, gradients, state and activations, "
        f"a mark where the measured peak is. With one optimizer, from {most.setting.name} to "
        f"{least.setting.name}: {listed}.",
        size=(7, 1.4 + 0.42 * len(trials)),
    )
    names = [trial.setting.name.replace("+G", "\n+G") for trial in trials]
    left = np.zeros(len(trials))
    parts = ("weights", "gradients", "state", "activations")
    for part, color in zip(
        parts, (_plots.BLUE, _plots.SKY, _plots.ORANGE, _plots.GREY), strict=True
    ):
        width = np.array([getattr(trial.predicted, part) for trial in trials]) / 1e6
        axes.barh(names, width, left=left, color=color, label=part)
        left += width
    for place, trial, held in tried:
        label = "measured" if trial is tried[0][1] else None
        axes.plot(held / 1e6, place, "|", color=_plots.BLACK, markersize=18, markeredgewidth=2,
                  label=label)  # fmt: skip
    if budget:
        axes.axvline(budget / 1e6, color=_plots.VERMILLION, linestyle="--", label="budget")
    axes.invert_yaxis()
    axes.set(xlabel="MB")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=6,
                  fontsize=10, columnspacing=1, handlelength=1.2)  # fmt: skip
    return figure


@_plots.drawing
def draw_time(trials: Sequence[Trial]) -> _plots.Picture:
    """Seconds a step against the peak, a numbered point a setting."""
    tried = [t for t in trials if t.seconds is not None]
    where = [(t.held or t.needs) / 1e6 for t in tried]
    adam = [i for i, t in enumerate(tried) if t.setting.optimizer == "Adam"]
    least = min(adam or range(len(tried)), key=lambda i: where[i])
    most = max(adam or range(len(tried)), key=lambda i: where[i])
    ratio = (tried[least].seconds or 0) / (tried[most].seconds or 1)
    figure, axes = _plots.picture(
        f"With Adam, {where[least]:.0f} MB suffice, at {ratio:.1f} times the time of "
        f"{tried[most].setting.name}",
        "Seconds a step against peak memory, a point a setting: "
        + "; ".join(
            f"{t.setting.name} {x:.0f} MB, {t.seconds:.2f} s"
            for x, t in zip(where, tried, strict=True)
        )
        + ".",
        size=(7, 4.6),
    )
    for number, (x, trial) in enumerate(zip(where, tried, strict=True)):
        same = trial.setting.optimizer == "Adam"
        axes.plot(x, trial.seconds, "o" if same else "^", markersize=9,
                  color=_plots.BLUE if same else _plots.ORANGE)  # fmt: skip
        crowded = any(
            abs(x - there) < 0.05 * max(where)
            and abs((trial.seconds or 0) - (t.seconds or 0)) < 0.05
            for there, t in zip(where[:number], tried[:number], strict=True)
        )
        axes.annotate(str(number + 1), (x, trial.seconds), xytext=(-16 if crowded else 6, 5),
                      textcoords="offset points")  # fmt: skip
    names = [f"{i + 1} {trial.setting.name}" for i, trial in enumerate(tried)]
    names = [name.replace("+G", "\n   +G") for name in names]
    axes.annotate("\n".join(names), (1.04, 0.5), xycoords="axes fraction", va="center", fontsize=11)
    for marker, color, label in (
        ("o", _plots.BLUE, "Adam"), ("^", _plots.ORANGE, "another optimizer"),
    ):  # fmt: skip
        axes.plot([], [], marker, color=color, markersize=9, label=label)
    axes.legend(loc="lower left")
    axes.set(xlabel="peak, MB", ylabel="seconds a step", ylim=(0, None), xlim=(0, 1.1 * max(where)))
    return figure


# %%
if __name__ == "__main__":
    plain = _fresh.Fresh(MODULE)
    trials = []
    for setting in track(DEFAULTS, "Training"):
        trial = Trial(setting, predict(shape, batch_size, setting))
        if setting not in found:
            found[setting] = measured(fresh, shape, batch_size, setting)
        trials.append(try_out(trial, found[setting], plain, shape, batch_size, steps=8))
    lines = [
        (spaced(t.setting), mega(t.needs), mega(t.held), mega(t.grew), t.seconds, t.loss)
        for t in trials
    ]
    heads = ("setting", "predicted MB", "measured MB", "process MB", "s a step", "last loss")
    show(Table("Peaks, time and loss", heads, ("", ".0f", ".0f", ".0f", ".2f", ".3f"), lines))

# %%
if __name__ == "__main__":
    show(draw_bytes(trials))

# %%
if __name__ == "__main__":
    show(draw_time(trials))
    seconds = {trial.setting: trial.seconds or math.nan for trial in trials}
    print(f"recomputing takes {seconds[again] / seconds[PLAIN]:.2f} times the time of plain")

# %% [markdown]
r"""
Four passes instead of three were to be expected, 1.33 times the time. What half precision brings
depends on the processor: one that multiplies such numbers in hardware is faster with them, another
slower.

The column "process" is what an ordinary process grew by: more than its tensors, since TensorFlow's
allocator keeps what was released and the compiled graph takes room. Plan with a margin.

Now a budget can be met. Of the settings whose predicted peak fits, the fastest is taken; those that
keep Adam come first. Where none of them does, `tf-examples run memory_budget --budget 60MB` goes
through more micro-batches and all combinations, and takes the one that changes the least.
"""


# %%
def choose(trials: Sequence[Trial], budget: float) -> Trial | None:
    """The fastest of those that fit, with Adam if any of them does; None if none fits.

    To fit is to stay within the budget as predicted and, where it was measured, as measured.
    """
    fitting = [t for t in trials if t.seconds is not None and max(t.needs, t.held or 0) <= budget]
    return min(fitting, key=lambda t: (t.setting.optimizer != "Adam", t.seconds or 0), default=None)


# %%
if __name__ == "__main__":
    for budget in (400e6, 200e6, 100e6, 70e6, 40e6):
        chosen = choose(trials, budget)
        if chosen:
            print(f"{budget / 1e6:.0f} MB: {chosen.setting.name}, {chosen.seconds:.2f} s a step")
        else:
            print(f"{budget / 1e6:.0f} MB: none of these")
    fresh.close()
    plain.close()

# %% [markdown]
r"""
## Try it

1. Double the batch. Expect twice the activations, and weights, gradients and state as before.
2. Double the width. Expect four times the weights, gradients and state, and less than twice the
   activations: the attention's weights depend on the heads, not on the width.
3. `tf-examples run memory_budget --budget 60MB`. Expect Adam, recomputation and many micro-batches;
   with 40MB another optimizer.
"""


# %% tags=["module-only"]
UNITS = {
    "": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 2**10, "MIB": 2**20,
    "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip


def parse_bytes(text: str) -> float:
    """Bytes of "500MB", "1.5 GB" (thousands), "1GiB" (of 1024) or a plain number.

    Raises:
        OptionError: for anything else, and for nothing or less.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]*)\s*", str(text))
    if not match or match[2].upper() not in UNITS or float(match[1]) <= 0:
        raise _options.OptionError(
            "`budget` must be a size above 0, as in 500MB, 1.5GB or a number of bytes. "
            f"Received: budget={text!r}"
        )
    return float(match[1]) * UNITS[match[2].upper()]


def parse_setting(name: str) -> Setting:
    """The setting that has this name.

    Raises:
        OptionError: says which parts there are.
    """
    form = re.compile(
        r"accumulate(?P<micro_batches>[1-9][0-9]{0,8})|(?P<recompute>recompute)"
        rf"|(?P<precision>bfloat16|float16)|(?P<optimizer>{'|'.join(SLOTS)})"
    )
    changes: dict[str, Any] = {}
    for part in name.split("+") if name != "plain" else ():
        match = form.fullmatch(part)
        if not match or match.lastgroup in changes:
            raise _options.OptionError(
                f"`settings` are plain, or of these, joined by +: accumulate4 (or another number), "
                f"recompute, bfloat16 or float16, and one of {', '.join(SLOTS)}. "
                f"Received: {name!r}"
            )
        changes |= {field: value for field, value in match.groupdict().items() if value}
    if "micro_batches" in changes:
        changes["micro_batches"] = int(changes["micro_batches"])
    if "recompute" in changes:
        changes["recompute"] = True
    return Setting(**changes)


def every_setting(batch_size: int) -> list[Setting]:
    """All ways, those first that change the least: with Adam, in float32, without recomputing."""
    few = [k for k in range(1, math.isqrt(batch_size) + 1) if batch_size % k == 0]
    parts = sorted({*few, *(batch_size // k for k in few)})
    precisions: tuple[Precision, ...] = ("float32", "bfloat16", "float16")
    return [
        Setting(micro, recompute, precision, optimizer)
        for optimizer, recompute, precision, micro in itertools.product(
            SLOTS, (False, True), precisions, parts
        )
    ]


def candidates(
    tried: Sequence[Setting], shape: Shape, batch_size: int, budget: float
) -> list[Trial]:
    """Trials of `tried`; where none of them fits with Adam, one more: the mildest that does fit.

    Raises:
        OptionError: where nothing fits; says the least that would.
    """
    trials = [Trial(setting, predict(shape, batch_size, setting)) for setting in tried]
    if any(t.needs <= budget and t.setting.optimizer == "Adam" for t in trials):
        return trials
    ways = [Trial(way, predict(shape, batch_size, way)) for way in every_setting(batch_size)]
    fitting = [way for way in ways if way.needs <= budget]
    if not fitting:
        least = min(ways, key=lambda way: way.needs)
        raise _options.OptionError(
            f"nothing fits in {said(budget)}: the least is {said(least.needs)}, with "
            f"{least.setting.name}. A smaller model (layers, width) needs less"
        )
    known = {trial.setting for trial in trials}
    return trials + [fitting[0]] * (fitting[0].setting not in known)


def said(size: float) -> str:
    """Bytes as people say them, rounded up, so that what is named suffices."""
    unit, name = (1e9, "GB") if size >= 1e9 else (1e6, "MB") if size >= 1e6 else (1e3, "KB")
    digits = 2 if size / unit < 10 else 1 if size / unit < 100 else 0
    return f"{math.ceil(size / unit * 10**digits) / 10**digits:.{digits}f} {name}"


@dataclass(frozen=True)
class MemoryBudgetResult:
    """What `run` found."""

    parameters: int
    tokens: int
    """A step."""
    steps: int
    trials: list[Trial]
    budget: float | None
    """In bytes."""
    chosen: str | None
    """The setting's name."""
    why: str
    note: str
    """What this system could not measure; empty if nothing."""

    def table(self) -> Table:
        """Predicted bytes of each setting, and below them the measured ones."""
        rows: list[tuple] = []
        fields = [field.name for field in dataclasses.fields(Bytes)]
        for trial in self.trials:
            predicted = [mega(getattr(trial.predicted, field)) for field in fields]
            rows.append((spaced(trial.setting), *predicted, trial.seconds, trial.loss))
            if trial.measured:
                found = [mega(getattr(trial.measured, field)) for field in fields]
                rows.append(("  measured", *found, None, None))
            else:
                rows.append(("  too large", *[None] * (len(fields) + 2)))
        title = (
            f"{self.parameters:,} parameters, {self.tokens:,} tokens a step, {self.steps} steps; "
            "MB, predicted and measured"
        )
        title = "\n".join(filter(None, (title, self.why, self.note)))
        columns = ("setting", "weights", "gradients", "state", "activations", "peak", "s", "loss")
        return Table(title, columns, ("", *[".1f"] * 5, ".2f", ".3f"), rows)

    def figure(self) -> _plots.Picture:
        """The bytes of each setting, and the budget."""
        return draw_bytes(self.trials, self.budget)


QUICK: dict = {
    "layers": 2, "width": 64, "context": 64, "steps": 3,
    "settings": ["plain", "accumulate4", "recompute"],
}  # fmt: skip


def run(
    *,
    budget: str | None = None,
    settings: list[str] | None = None,
    layers: int = 4,
    width: int = 256,
    heads: int = 8,
    context: int = 128,
    batch_size: int = 24,
    steps: int = 8,
    text: str | None = None,
    seed: int = 0,
) -> MemoryBudgetResult:
    """Trains one model in several settings: bytes predicted and measured, time, loss.

    Args:
        budget: As in 500MB or 1.5GB, for weights, gradients, state and activations; picks the
            fastest setting that fits. Python and TensorFlow, several hundred MB, are not counted.
        settings: Which to try, as in recompute or accumulate4+bfloat16; in the command, the option
            once for each.
        layers: Blocks of attention and feed-forward layers.
        width: Numbers in the vector of a character; the heads divide it.
        heads: Of attention, in each block.
        context: Characters that the model sees at most.
        batch_size: Windows of the text a step.
        steps: Of every training; at least 2, since the first is not timed.
        text: A file in UTF-8 to learn from; Python's own documentation if not given.
        seed: Draws the first weights and the windows.

    Raises:
        OptionError: for an option out of its range, a budget that nothing meets, or a setting that
            this computer has not the memory for.
        FloatingPointError: where a loss overflows; names the setting.
    """
    for option, value, least in (
        ("layers", layers, 1), ("width", width, 1), ("heads", heads, 1), ("context", context, 2),
        ("batch_size", batch_size, 1), ("steps", steps, 2), ("seed", seed, 0),
    ):  # fmt: skip
        _options.at_least(option, value, least)
    if width % heads:
        raise _options.OptionError(
            f"`heads` must divide `width`. Received: heads={heads}, width={width}"
        )
    limit = math.inf if budget is None else parse_bytes(budget)
    ways = list(dict.fromkeys(map(parse_setting, settings))) if settings else _divided(batch_size)
    for way in ways:
        if batch_size % way.micro_batches:
            raise _options.OptionError(
                f"`batch_size` must be a multiple of the micro-batches. Received: "
                f"batch_size={batch_size}, {way.name}"
            )
    data = _data.text(text, least=10 * (context + 2))
    shape = Shape(layers, width, heads, context, len(data.characters))
    trials = candidates(ways, shape, batch_size, limit)
    fitting = [trial for trial in trials if trial.needs <= limit]
    most = max(fitting, key=lambda trial: trial.needs)
    free = psutil.virtual_memory().available
    if most.needs > free:
        raise _options.OptionError(
            f"{most.setting.name} needs {said(most.needs)}, and {said(free)} are "
            "free here: give a `budget`, other `settings`, or a smaller model"
        )
    done: dict[Setting, Trial] = {}
    with _fresh.Fresh(MODULE, GIVES_BACK) as fresh, _fresh.Fresh(MODULE) as plain:
        for trial in track(fitting, "Training"):
            try:
                found = measured(fresh, shape, batch_size, trial.setting, seed)
                done[trial.setting] = try_out(
                    trial, found, plain, shape, batch_size, steps, text, seed
                )
            except _fresh.EndedError as error:
                raise _options.OptionError(f"{trial.setting.name}: {error}") from error
    trials = [done.get(trial.setting, trial) for trial in trials]
    chosen = choose(trials, limit) if budget is not None else None
    measurable = all(t.measured is None or t.measured.peak is not None for t in trials)
    return MemoryBudgetResult(
        parameters=shape.parameters,
        tokens=batch_size * context,
        steps=steps,
        trials=trials,
        budget=limit if budget is not None else None,
        chosen=chosen.setting.name if chosen else None,
        why=_why(chosen, trials, limit) if budget is not None else "",
        note="" if measurable else "This system has no /proc: activations and peak are predicted.",
    )


def _divided(batch_size: int) -> list[Setting]:
    """The default settings, with as many micro-batches as divide the batch."""
    parts = max(k for k in range(1, 5) if batch_size % k == 0)
    ways = [
        dataclasses.replace(way, micro_batches=min(way.micro_batches, parts)) for way in DEFAULTS
    ]
    return list(dict.fromkeys(ways))


def _why(chosen: Trial | None, trials: Sequence[Trial], limit: float) -> str:
    if chosen is None:
        least = min(t.held for t in trials if t.held)
        return (
            f"Within {said(limit)}: nothing. What fits by its prediction held {said(least)} and "
            "more when it was measured"
        )
    fitting = [t for t in trials if t.seconds is not None and max(t.needs, t.held or 0) <= limit]
    same = [t for t in fitting if t.setting.optimizer == "Adam"]
    if not same:
        how = f"no way tried fits with Adam; the fastest of {len(fitting)} with another optimizer"
    elif len(same) == 1:
        how = "the only one tried that fits and keeps Adam"
    else:
        how = f"the fastest of the {len(same)} that fit and keep Adam"
    costs = f"{said(chosen.held or chosen.needs)}, {chosen.seconds:.2f} s a step"
    return f"Within {said(limit)}: {chosen.setting.name} ({costs}), {how}"
