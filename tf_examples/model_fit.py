# %% [markdown]
r"""
# Optimizers in model.fit

**Do the optimizers do their job on real data: do they learn to read handwriting, and do they go
the way of Keras's own?**

Paragraph 4.3 of the article · 45 minutes · know before: a net of two layers, gradient descent.

The article names SGD, Momentum, AdaGrad and RMSprop at this place, and leaves their code to the
documentation of TensorFlow. Here they run, and Nesterov and Adam with them.
"""

# %%
import difflib
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from custom_optimizers import Adagrad, Adam, GradientDescent, Momentum, RMSprop
from tf_examples import _data, _options, _plots
from tf_examples._report import Table, show, track

# Learning rates: round numbers at which each rule learns steadily, not tuned.
RATES = {
    "GradientDescent": 0.3,
    "Momentum": 0.1,
    "Nesterov": 0.1,
    "Adagrad": 0.1,
    "RMSprop": 0.003,
    "Adam": 0.01,
}

# %% [markdown]
r"""
## The digits and the net

1,797 digits, each written by hand and scanned as 8 x 8 shades of grey. A fifth of them is put
aside: the net never learns from these, and is tested on them.
"""


# %%
@_plots.drawing
def draw_digits(digits: _data.Split) -> _plots.Picture:
    """The first three training images of each digit."""
    figure, axes = _plots.picture(
        "The task: an image of 64 pixels in, one of ten digits out",
        "Coarse grey images, 8 pixels wide and high: the digits from 0 to 9 from left to right, "
        "each written by three hands. Some are plain, others could be taken for another digit.",
        rows=3,
        columns=10,
        size=(7, 3),
    )
    for digit, column in enumerate(axes.T):
        column[0].set_title(str(digit), loc="center")
        for axis, image in zip(column, digits.x_train[digits.y_train == digit], strict=False):
            axis.imshow(image.reshape(8, 8), cmap="gray_r")
            axis.set_axis_off()
    return figure


# %%
if __name__ == "__main__":
    digits = _data.digits()
    print(f"{len(digits.x_train)} digits to learn from, {len(digits.x_test)} to be tested on")
    show(draw_digits(digits))

# %% [markdown]
r"""
The net has 64 inputs, a hidden layer of 32 neurons and ten outputs $z$, one for each digit; the
largest output is its reading. The loss is the cross-entropy of the right digit $y$, averaged over
the examples:

$$z = \max(x W_1 + b_1,\, 0) \, W_2 + b_2, \qquad
J = -\log \frac{e^{z_y}}{\sum_k e^{z_k}}$$

A net that guesses has $J = \log 10 = 2.30$ and reads one digit in ten.
"""


# %%
def start_weights(units: int, seed: int) -> list[np.ndarray]:
    """W1 (64, units), b1 (units,), W2 (units, 10), b2 (10,): Glorot's uniform, biases 0."""
    generator = np.random.default_rng(seed)
    weights = []
    for shape in ((64, units), (units, 10)):
        limit = math.sqrt(6 / sum(shape))
        weights.append(generator.uniform(-limit, limit, shape).astype("float32"))
        weights.append(np.zeros(shape[1], "float32"))
    return weights


def outputs(weights: Sequence, x: np.ndarray) -> tf.Tensor:
    """The net: (examples, 10), the largest one is its reading."""
    W1, b1, W2, b2 = weights
    return tf.nn.relu(x @ W1 + b1) @ W2 + b2


def loss_function(weights: Sequence, x: np.ndarray, y: np.ndarray) -> tf.Tensor:
    """The mean cross-entropy over the examples, a scalar."""
    z = outputs(weights, x)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, z))


def read(weights: Sequence, x: np.ndarray) -> np.ndarray:
    """The digits that the net reads: (examples,)."""
    return np.argmax(outputs(weights, x), axis=1)


@tf.function
def measure(weights: Sequence, digits: _data.Split) -> tf.Tensor:
    """Training loss, share of training digits read right, share of test digits read right: (3,)."""

    def share(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        readings = tf.argmax(outputs(weights, x), axis=1, output_type=tf.int32)
        return tf.reduce_mean(tf.cast(readings == y, tf.float32))

    x_train, y_train, x_test, y_test = digits
    loss = loss_function(weights, x_train, y_train)
    return tf.stack([loss, share(x_train, y_train), share(x_test, y_test)])


def largest_gap(these: Sequence[np.ndarray], those: Sequence[np.ndarray]) -> float:
    """The largest difference between any two weights of two nets."""
    return max(float(np.abs(w - v).max()) for w, v in zip(these, those, strict=True))


def linear_baseline(digits: _data.Split) -> tuple[float, float]:
    """The shares of training and test digits that scikit-learn's logistic regression reads right.

    Its loss is that of a net without a hidden layer, with a weak pull of the weights to 0.
    """
    model = LogisticRegression(solver="newton-cg").fit(digits.x_train, digits.y_train)
    return (
        float(model.score(digits.x_train, digits.y_train)),
        float(model.score(digits.x_test, digits.y_test)),
    )


# %%
if __name__ == "__main__":
    start = start_weights(units=32, seed=0)
    loss, _, accuracy = measure(start, digits)
    print(f"parameters: 64 * 32 + 32 + 32 * 10 + 10 = {sum(w.size for w in start)}")
    print(f"before training: loss {loss:.2f}, {accuracy:.1%} of the test digits read right")
    known, unseen = linear_baseline(digits)
    print(
        f"logistic regression: {known:.1%} of the training digits, {unseen:.1%} of the test digits"
    )

# %% [markdown]
r"""
The last line is scikit-learn's answer to the same task, and the mark to reach: a net without its
hidden layer, trained to the end, with a light penalty on large weights.

## One epoch, three times over

An epoch visits the training digits once in a random order, 64 at a time; the few that don't fill a
last batch, others each time, are left out. Each mini-batch gives one gradient and one step. The
order depends on the seed and the number of the epoch, and on nothing else: every program below sees
the same batches, and so will a training that is interrupted.

First the formula, $w \leftarrow w - \alpha g$ for each of the four arrays, in a bare loop.
"""


# %%
def order(examples: int, batch_size: int, seed: int, epochs: range) -> np.ndarray:
    """Which examples make up each batch: (epochs * steps, batch_size).

    An epoch's incomplete last batch is left out; other examples fall into it each time.
    """
    steps = examples // batch_size
    rows = [
        np.random.default_rng([seed, epoch]).permutation(examples)[: steps * batch_size]
        for epoch in epochs
    ]
    return np.concatenate(rows).reshape(-1, batch_size)


@tf.function
def descend(
    weights: list[tf.Variable], digits: _data.Split, batches: tf.Tensor, learning_rate: float
) -> None:
    """Moves `weights` by one step of gradient descent for each row of `batches`."""
    for batch in batches:
        x, y = tf.gather(digits.x_train, batch), tf.gather(digits.y_train, batch)
        with tf.GradientTape() as tape:
            loss = loss_function(weights, x, y)
        for w, g in zip(weights, tape.gradient(loss, weights), strict=True):
            w.assign_sub(learning_rate * g)


# %%
if __name__ == "__main__":
    batches = order(len(digits.x_train), 64, seed=0, epochs=range(1))
    bare = [tf.Variable(w) for w in start]
    descend(bare, digits, tf.constant(batches), 0.3)
    loss, _, accuracy = measure(bare, digits)
    print(f"after {len(batches)} steps: loss {loss:.2f}, {accuracy:.1%} of the test digits right")

# %% [markdown]
r"""
Then the optimizer in the same loop: it takes the place of the last two lines, and any other rule
could.
"""


# %%
def descend_with(
    optimizer: keras.optimizers.Optimizer,
    weights: list[tf.Variable],
    digits: _data.Split,
    batches: np.ndarray,
) -> None:
    """Moves `weights` by one step of `optimizer` for each row of `batches`."""
    optimizer.build(weights)

    @tf.function
    def loop(batches: tf.Tensor) -> None:
        for batch in batches:
            x, y = tf.gather(digits.x_train, batch), tf.gather(digits.y_train, batch)
            with tf.GradientTape() as tape:
                loss = loss_function(weights, x, y)
            optimizer.apply(tape.gradient(loss, weights), weights)

    loop(tf.constant(batches))


# %% [markdown]
r"""
At last Keras: the net as layers, and `compile` and `fit` for the rest. `steps_per_execution` runs
a whole epoch inside one compiled loop.
"""


# %%
def build_model(units: int) -> keras.Sequential:
    """The net as a Keras model."""
    layers = [keras.layers.Dense(units, activation="relu"), keras.layers.Dense(10)]
    return keras.Sequential([keras.Input((64,)), *layers])


def compile_model(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, steps_per_epoch: int
) -> None:
    """Gives `model` the loss and an optimizer whose state is at its start."""
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,  # XLA would take seconds to compile what trains in one
        steps_per_execution=steps_per_epoch,
    )


def fit(
    model: keras.Model,
    digits: _data.Split,
    batch_size: int,
    seed: int,
    epochs: range,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Trains `model` for `epochs`, on the batches that belong to them."""
    rows = order(len(digits.x_train), batch_size, seed, epochs)
    model.fit(
        tf.data.Dataset.from_tensor_slices((digits.x_train[rows], digits.y_train[rows])),
        initial_epoch=epochs.start,
        epochs=epochs.stop,
        steps_per_epoch=len(rows) // len(epochs),
        shuffle=False,
        callbacks=list(callbacks),
        verbose=0,
    )


# %%
if __name__ == "__main__":
    custom = [tf.Variable(w) for w in start]
    descend_with(GradientDescent(0.3), custom, digits, batches)

    model = build_model(units=32)
    model.set_weights(start)
    compile_model(model, GradientDescent(0.3), len(batches))
    fit(model, digits, 64, seed=0, epochs=range(1))

    rows = []
    for name, weights in (
        ("bare loop", bare),
        ("the optimizer in the loop", custom),
        ("compile and fit", model.weights),
    ):
        values = [w.numpy() for w in weights]
        apart = largest_gap(values, [w.numpy() for w in bare])
        loss, _, accuracy = measure(values, digits)
        rows.append((name, loss, 100 * accuracy, apart))
    columns = ("program", "training loss", "test digits right, %", "weights apart")
    show(Table("One epoch, three times over", columns, ("", ".4f", ".1f", ".0e"), rows))

# %% [markdown]
r"""
Three programs, one result; "weights apart" is the largest difference that any weight has from the
bare loop's.

## Six optimizers, beside Keras's own

Now every rule gets several epochs and several seeds; a seed stands for other first weights and
another order of the digits. Each runs twice from the same start and on the same batches: once with
the optimizer of `custom_optimizers`, once with the one Keras brings.

The learning rates, in the first cell, are not tuned: this section holds each rule against its twin,
and does not rank the rules.
"""


# %%
class Pair(NamedTuple):
    """The same rule twice; each is called with a learning rate."""

    ours: Callable[..., keras.optimizers.Optimizer]
    keras: Callable[..., keras.optimizers.Optimizer]


SGD = keras.optimizers.SGD
PAIRS = {
    "GradientDescent": Pair(GradientDescent, SGD),
    "Momentum": Pair(partial(Momentum, momentum=0.9), partial(SGD, momentum=0.9)),
    "Nesterov": Pair(
        partial(Momentum, momentum=0.9, nesterov=True), partial(SGD, momentum=0.9, nesterov=True)
    ),
    "Adagrad": Pair(Adagrad, keras.optimizers.Adagrad),
    "RMSprop": Pair(RMSprop, keras.optimizers.RMSprop),
    "Adam": Pair(Adam, keras.optimizers.Adam),
}


def rate(
    name: str, factor: float = 1.0, schedule: str = "constant", steps: int = 1
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate of an optimizer, constant or in a cosine decay over `steps`."""
    start = factor * RATES[name]
    if schedule == "constant":
        return start
    return keras.optimizers.schedules.CosineDecay(start, steps)


# %% [markdown]
r"""
A training starts at the weights of its seed and keeps what `fit` has reached after each epoch.
"""


# %%
@dataclass(frozen=True)
class Curves:
    """What was measured at the start and after each epoch; arrays are (seeds, epochs + 1)."""

    train_loss: np.ndarray
    train_accuracy: np.ndarray
    test_accuracy: np.ndarray


class Trained(NamedTuple):
    """The curves of a training, and the last weights of each seed."""

    curves: Curves
    weights: list[list[np.ndarray]]


def train(
    optimizer: keras.optimizers.Optimizer,
    digits: _data.Split,
    epochs: int,
    seeds: Sequence[int],
    batch_size: int = 64,
    units: int = 32,
    name: str = "the optimizer",
) -> Trained:
    """Trains a net with `compile` and `fit`, from the start for each seed.

    Raises:
        FloatingPointError: where the loss overflows; names the optimizer, the seed, the epoch.
    """
    model = build_model(units)
    compile_model(model, optimizer, len(digits.x_train) // batch_size)
    optimizer.build(model.trainable_variables)
    state = [variable.numpy() for variable in optimizer.variables]
    curves, ends = [], []
    for seed in seeds:
        # Back to the start instead of a new model: what is compiled once serves every seed.
        model.set_weights(start_weights(units, seed))
        for variable, value in zip(optimizer.variables, state, strict=True):
            variable.assign(value)
        path = [model.get_weights()]
        watch = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs, path=path: path.append(model.get_weights())
        )
        fit(model, digits, batch_size, seed, range(epochs), [watch])
        curve = np.array([measure(weights, digits) for weights in path])
        bad = np.flatnonzero(~np.isfinite(curve[:, 0]))
        if bad.size:
            raise FloatingPointError(
                f"{name} diverges with seed {seed}: the loss is {curve[bad[0], 0]} after epoch "
                f"{bad[0]} of {epochs}; a smaller learning_rate_factor makes smaller steps"
            )
        curves.append(curve)
        ends.append(path[-1])
    return Trained(Curves(*np.moveaxis(np.array(curves), 2, 0)), ends)


# %% [markdown]
r"""
Twins are two such trainings by the same rule, ours and Keras's.
"""


# %%
@dataclass(frozen=True)
class Twins:
    """What one rule did twice, from the same starts and on the same batches."""

    learning_rate: float
    ours: Curves
    keras: Curves
    weights_apart: float
    """The largest difference between any last weight of ours and of Keras's, over all seeds."""

    def losses_apart(self) -> float:
        """The largest difference between two training losses, as a share of Keras's."""
        least = np.finfo("float32").tiny  # a loss may reach 0
        gap = np.abs(self.ours.train_loss - self.keras.train_loss)
        return float((gap / np.maximum(self.keras.train_loss, least)).max())


def train_twins(
    name: str,
    digits: _data.Split,
    epochs: int,
    seeds: Sequence[int],
    batch_size: int = 64,
    units: int = 32,
    factor: float = 1.0,
    schedule: str = "constant",
) -> tuple[Twins, list[list[np.ndarray]]]:
    """Trains with our optimizer and with Keras's; returns our last nets as well, one a seed."""
    learning_rate = rate(name, factor, schedule, epochs * (len(digits.x_train) // batch_size))
    settings = digits, epochs, seeds, batch_size, units
    ours = train(PAIRS[name].ours(learning_rate), *settings, name=name)
    keras = train(PAIRS[name].keras(learning_rate), *settings, name=f"Keras's {name}")
    apart = max(map(largest_gap, ours.weights, keras.weights))
    return Twins(factor * RATES[name], ours.curves, keras.curves, apart), ours.weights


# %%
def comparison(twins: dict[str, Twins], title: str) -> Table:
    """One row an optimizer: medians over the seeds, and how far apart the quartiles are."""

    def last(accuracy: np.ndarray) -> tuple[float, float]:
        low, middle, high = np.percentile(100 * accuracy[:, -1], (25, 50, 75))
        return middle, high - low

    rows = [
        (
            name,
            f"{twin.learning_rate:g}",
            *last(twin.ours.train_accuracy),
            *last(twin.ours.test_accuracy),
            *last(twin.keras.test_accuracy),
            twin.weights_apart,
        )
        for name, twin in twins.items()
    ]
    columns = ("optimizer", "rate", "train %", "IQR", "test %", "IQR", "Keras %", "IQR", "apart")
    return Table(title, columns, ("", "g", ".1f", ".1f", ".1f", ".1f", ".1f", ".1f", ".0e"), rows)


@_plots.drawing
def draw_curves(twins: dict[str, Twins]) -> _plots.Picture:
    """The training loss by epoch, ours as lines with a band, Keras's as dots: medians."""
    apart = max(twin.losses_apart() for twin in twins.values())
    losses = {
        name: np.percentile(twin.ours.train_loss, (25, 50, 75), axis=0)
        for name, twin in twins.items()
    }
    right = {name: np.median(twin.ours.test_accuracy[:, -1]) for name, twin in twins.items()}
    seeds, points = next(iter(twins.values())).ours.train_loss.shape
    epochs, every = np.arange(points), max(1, (points - 1) // 6)
    rows = 1 if len(twins) <= 3 else 2
    figure, axes = _plots.picture(
        "Learning to read digits: each optimizer (line) keeps to the curve of Keras's own (dots), "
        f"losses within {100 * apart:.1g}%",
        f"The training loss over {points - 1} epochs on a logarithmic scale, one small plot an "
        f"optimizer, the others in grey behind it; medians of {seeds} seeds. In each, Keras's dots "
        "lie on our line. "
        + "; ".join(
            f"{name} falls from {loss[1, 0]:.2g} to {loss[1, -1]:.2g} and reads {right[name]:.1%} "
            "of the test digits right"
            for name, loss in losses.items()
        ),
        rows=rows,
        columns=math.ceil(len(twins) / rows),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for axis in axes.flat[len(twins) :]:
        axis.set_axis_off()
    for axis, (name, (low, middle, high)) in zip(axes.flat, losses.items(), strict=False):
        style = _plots.OPTIMIZERS[name]
        for _, other, _ in losses.values():
            axis.plot(epochs, other, color="#cccccc", linewidth=1)
        axis.fill_between(epochs, low, high, color=style["color"], alpha=0.25, linewidth=0)
        axis.plot(epochs, middle, **style)
        twin = np.median(twins[name].keras.train_loss, axis=0)
        axis.plot(
            epochs[::every], twin[::every], "o", color=style["color"], markerfacecolor="white"
        )
        axis.set_title(f"{name}, {twins[name].learning_rate:g}", color=style["color"])
        axis.text(
            1, 0.97, f"test {right[name]:.1%}", transform=axis.transAxes, ha="right", va="top"
        )
        axis.set_yscale("log")
        axis.locator_params(axis="x", integer=True)
        axis.yaxis.set_major_formatter("{x:g}")
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    for axis in axes[:, 0]:
        axis.set_ylabel("training loss")
    return figure


# %%
if __name__ == "__main__":
    twins: dict[str, Twins] = {}
    nets: list[list[np.ndarray]] = []
    for name in track(list(PAIRS), "Training"):
        twins[name], last = train_twins(name, digits, epochs=30, seeds=range(5))
        nets += last
    show(comparison(twins, "Digits read right after 30 epochs, medians of five seeds"))

# %% tags=["readme"]
if __name__ == "__main__":
    show(draw_curves(twins))

# %% [markdown]
r"""
IQR is the interquartile range: how far the upper quartile of the seeds is from the lower, in
points. "Keras %" is the test accuracy with Keras's optimizer, "apart" the largest difference
between any weight of ours and its twin. In the picture each small plot has the learning rate in
its head, a band between the quartiles, and the test accuracy in its corner.

No optimizer reads test digits better than another by much more than the seeds differ, and none is
clear of logistic regression: one test digit more or less is 0.3 points. This task hardly needs the
hidden layer, and does not tell good optimizers from better ones.

Where the twins compute alike, they agree to the last bit. Adagrad (in the place of epsilon),
RMSprop (in how it takes its mean) and Adam (in $1 - \beta^t$, which ours computes without a
cancellation) differ from theirs in rounding, and in a net such a difference can grow: a neuron that
a digit switches on in one net and not in the other gives them different gradients. A nudge to the
first biases grows, too, in some nets a thousand times and more:
"""


# %%
def growth(nudge: float, digits: _data.Split, seed: int) -> float:
    """How many times as far apart two nets end whose first biases start `nudge` apart."""
    ends = []
    for moved in (0.0, nudge):
        model = build_model(units=32)
        W1, b1, W2, b2 = start_weights(units=32, seed=seed)
        model.set_weights([W1, b1 + np.float32(moved), W2, b2])
        compile_model(model, Adam(RATES["Adam"]), steps_per_epoch=22)
        fit(model, digits, 64, seed=seed, epochs=range(30))
        ends.append(model.get_weights())
    return largest_gap(*ends) / nudge


# %%
if __name__ == "__main__":
    for seed in range(5):
        grown = growth(1e-5, digits, seed)
        print(
            f"Adam with itself, biases moved by 1e-05 at the start: {grown:6.0f} times as far apart"
        )

# %% [markdown]
r"""
## A schedule

Far from the goal large steps are right, close to it small ones. A schedule makes the learning rate
a function of the step; the cosine decay takes it from $\alpha_0$ to 0 within $T$ steps:

$$\alpha_t = \frac{\alpha_0}{2} \left(1 + \cos \frac{\pi t}{T}\right)$$

Any of the optimizers takes a schedule where it takes a number. Since the decay halves the rate on
average, it is also tried from twice the rate ("doubled").
"""


# %%
def last_epochs_move(curves: Curves, epochs: int = 5) -> float:
    """How far apart the test accuracies of the last epochs are: points, median over the seeds."""
    return float(np.median(np.ptp(100 * curves.test_accuracy[:, -epochs:], axis=1)))


@_plots.drawing
def draw_schedules(constant: Curves, cosine: Curves, name: str) -> _plots.Picture:
    """The test accuracy of each seed by epoch, under both schedules."""
    moves = last_epochs_move(constant), last_epochs_move(cosine)
    figure, axes = _plots.picture(
        f"The last five epochs move {name}'s test accuracy by {moves[0]:.1f} points at a constant "
        f"rate, by {moves[1]:.1f} under cosine decay",
        "Two plots of the share of test digits read right, one line a seed. At a constant rate "
        "the lines go up and down to the end; under cosine decay they run level: the last five "
        f"epochs move them by {moves[0]:.1f} and {moves[1]:.1f} points.",
        columns=2,
        sharey=True,
    )
    for axis, curves, title in zip(axes, (constant, cosine), ("constant", "cosine"), strict=True):
        for line, dashes in zip(100 * curves.test_accuracy, _plots.DASHES, strict=False):
            color = _plots.OPTIMIZERS[name]["color"]
            axis.plot(line, color=color, linestyle=dashes, linewidth=1.5, alpha=0.8)
        axis.set(title=title, xlabel="epoch", ylim=(92, 99))
    axes[0].set_ylabel("test digits right, %")
    return figure


# %%
if __name__ == "__main__":
    results, scheduled = [], {}
    for name in track(("GradientDescent", "Adam"), "Schedules"):
        for label, factor, schedule in (
            ("constant", 1, "constant"),
            ("cosine", 1, "cosine"),
            ("cosine, doubled", 2, "cosine"),
        ):
            optimizer = PAIRS[name].ours(rate(name, factor, schedule, steps=30 * 22))
            curves = train(optimizer, digits, epochs=30, seeds=range(5), name=name).curves
            scheduled[name, label] = curves
            low, middle, high = np.percentile(100 * curves.test_accuracy[:, -1], (25, 50, 75))
            loss = np.median(curves.train_loss[:, -1])
            move = last_epochs_move(curves)
            results.append((name, label, loss, middle, high - low, move))
    heads = ("optimizer", "rate", "training loss", "test %", "IQR", "last 5 move")
    show(Table("30 epochs, five seeds", heads, ("", "", ".4f", ".1f", ".1f", ".1f"), results))
    show(draw_schedules(scheduled["Adam", "constant"], scheduled["Adam", "cosine"], "Adam"))

# %% [markdown]
r"""
"last 5 move" is how many points lie between the highest and the lowest test accuracy of the last
five epochs. Does the schedule help? Not the training loss: from the same rate it ends higher, since
the steps are half as large on average. Nor does it move the test accuracy by more than a few
digits. What it changes is the end: at a constant rate the result still depends on the epoch at
which one happens to stop; under the decay, for most seeds, it does not.

## Save, load, resume

A `.keras` file holds the layers, the weights, and the optimizer with all that it remembers: its
settings, its step number, its running means. A training that stops half-way, is saved, loaded in
another program and resumed must end where it would have ended undisturbed. To the last bit, that
takes three things: the state, the order of the batches (a function of seed and epoch here), and a
net without random layers such as dropout, whose generators the file does not hold.
"""


# %%
def train_in_two_parts(
    optimizer: keras.optimizers.Optimizer,
    digits: _data.Split,
    epochs: int,
    seed: int = 0,
    batch_size: int = 64,
    units: int = 32,
    fresh: Callable[[], keras.optimizers.Optimizer] | None = None,
) -> keras.Model:
    """Trains for half of the epochs, saves, loads, and trains the loaded model for the others.

    Args:
        fresh: where given, makes an optimizer that takes the place of the saved one.
    """
    steps = len(digits.x_train) // batch_size
    model = build_model(units)
    model.set_weights(start_weights(units, seed))
    compile_model(model, optimizer, steps)
    fit(model, digits, batch_size, seed, range(epochs // 2))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "digits.keras")
        model.save(path)
        model = keras.models.load_model(path)
    if fresh:
        compile_model(model, fresh(), steps)
    fit(model, digits, batch_size, seed, range(epochs // 2, epochs))
    return model


# %%
if __name__ == "__main__":
    undisturbed = train(Adam(0.01), digits, epochs=30, seeds=[0]).weights[0]
    resumed = train_in_two_parts(Adam(0.01), digits, epochs=30)
    forgetful = train_in_two_parts(Adam(0.01), digits, epochs=30, fresh=lambda: Adam(0.01))
    kind = type(resumed.optimizer)
    print(f"the loaded optimizer is {kind.__module__}.{kind.__name__}")
    for label, model in (("resumed", resumed), ("resumed with a new Adam", forgetful)):
        weights = model.get_weights()
        same = all(w.tobytes() == v.tobytes() for w, v in zip(undisturbed, weights, strict=True))
        gap = largest_gap(undisturbed, weights)
        print(f"{label}: {'the same bits' if same else 'other bits'}, apart {gap:.1g}")

# %% [markdown]
r"""
The last line is why the optimizer is saved with the model. A new Adam has forgotten both of its
running means, and takes the training elsewhere.

## What it gets wrong

Thirty nets have been trained with our optimizers, six rules from five starts each. Do they err on
the same digits?
"""


# %%
def misread_by(nets: Sequence[Sequence], digits: _data.Split) -> tuple[np.ndarray, np.ndarray]:
    """How many of the nets misread each test digit, and what most of these take it for."""
    wrong = np.zeros((len(digits.x_test), 10), int)
    for weights in nets:
        wrong[np.arange(len(wrong)), read(weights, digits.x_test)] += 1
    wrong[np.arange(len(wrong)), digits.y_test] = 0
    return wrong.sum(axis=1), wrong.argmax(axis=1)


@_plots.drawing
def draw_misread(
    counts: np.ndarray, taken_for: np.ndarray, nets: int, digits: _data.Split
) -> _plots.Picture:
    """The twelve test digits that most nets misread, the hardest first."""
    hardest = np.argsort(-counts, kind="stable")[:12]
    captions = [
        f"{digits.y_test[i]} read as {taken_for[i]}, {counts[i]}x" for i in hardest if counts[i]
    ]
    figure, axes = _plots.picture(
        f"{np.sum(counts > nets / 2)} of {len(counts)} unseen digits are misread by most of the "
        f"{nets} nets",
        "The digits that most nets get wrong, as coarse grey images: " + "; ".join(captions),
        rows=2,
        columns=6,
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, i, caption in zip(axes.flat, hardest, captions, strict=False):
        axis.imshow(digits.x_test[i].reshape(8, 8), cmap="gray_r")
        axis.set_title(caption.replace(", ", "\n"), loc="center")
    return figure


# %%
if __name__ == "__main__":
    counts, taken_for = misread_by(nets, digits)
    print(f"{counts.sum()} errors of {len(nets)} nets fall on {np.sum(counts > 0)} digits")
    share = counts[counts > len(nets) / 2].sum() / counts.sum()
    print(f"{share:.0%} of them on the digits that most nets misread")
    show(draw_misread(counts, taken_for, len(nets), digits))

# %% [markdown]
r"""
Each image has its label, what it is most often misread as, and how many nets misread it. If every
net erred on digits of its own, hardly any digit would be misread by most of them. Most errors
belong to the digits: neither other first weights nor another optimizer mends them. The others
depend on where a net began.

## Try it

1. Train with three times each rate. Expect the training loss of every optimizer to end at less
   than half, and the test accuracy to stay where it was. That is why the curves above rank nothing.
2. Put all training digits into one batch (`batch_size=1437`). Expect a far higher loss after the
   same thirty epochs: an epoch is one step then, instead of 22.
3. Let all weights start at 0. Expect a net that answers every image alike: the hidden neurons are
   0, so neither layer's weights get a gradient, and only the last biases learn.
"""


# %% tags=["module-only"]
@dataclass(frozen=True)
class ModelFitResult:
    """What `run` found."""

    schedule: str
    twins: dict[str, Twins]
    """By the optimizer's name."""
    resumed: str
    """The optimizer that was tried in a training saved half-way, loaded and resumed."""
    resumed_apart: float | None
    """The largest difference that this made to any last weight; None after a single epoch."""
    baseline: tuple[float, float]
    """The shares that logistic regression reads right of the training and of the test digits."""
    parameters: int
    test_digits: int

    def table(self) -> Table:
        """Accuracies of ours and of Keras's, and how far apart they end."""
        seeds, points = next(iter(self.twins.values())).ours.train_loss.shape
        lines = [
            f"Digits read right after {points - 1} epochs, medians of {seeds} "
            f"seed{'s' * (seeds > 1)}; {self.parameters} parameters",
            "Keras %: test % of Keras's own; apart: largest gap between weights",
            f"Logistic regression by scikit-learn: train {100 * self.baseline[0]:.1f} %, test "
            f"{100 * self.baseline[1]:.1f} % of {self.test_digits}",
        ]
        if self.schedule != "constant":
            lines.append(f"Learning rates under {self.schedule} decay")
        if self.resumed_apart is not None:
            how = f"apart by {self.resumed_apart:.0e}" if self.resumed_apart else "the same bits"
            lines.append(f"{self.resumed} saved half-way, loaded and resumed: {how}")
        return comparison(self.twins, "\n".join(lines))

    def figure(self) -> _plots.Picture:
        """The learning curves, ours beside Keras's."""
        return draw_curves(self.twins)


QUICK: dict = {"epochs": 8, "seeds": 2}


def run(
    *,
    epochs: int = 30,
    seeds: int = 5,
    optimizers: list[str] | None = None,
    learning_rate_factor: float = 1.0,
    schedule: Literal["constant", "cosine"] = "constant",
    batch_size: int = 64,
    units: int = 32,
    seed: int = 0,
) -> ModelFitResult:
    """Trains a net on handwritten digits with each optimizer, beside Keras's own.

    Args:
        epochs: How often to go through the training digits.
        seeds: How many trainings of each optimizer, each from other weights in another order.
        optimizers: Which to train; in the command, the option once for each name. None: all six.
        learning_rate_factor: Multiplies the learning rate of every optimizer.
        schedule: Whether the learning rate stays, or falls to 0 along a cosine.
        batch_size: Training digits a step.
        units: Neurons in the hidden layer.
        seed: The first of the seeds.

    Raises:
        OptionError: for an option out of its range.
        FloatingPointError: where a loss overflows; names the optimizer, the seed, the epoch.
    """
    digits = _data.digits()
    names = _known(optimizers or list(PAIRS))
    factor = _options.in_interval("learning_rate_factor", learning_rate_factor, "[0, inf)")
    for option, value, least in (
        ("epochs", epochs, 1),
        ("seeds", seeds, 1),
        ("batch_size", batch_size, 1),
        ("units", units, 1),
        ("seed", seed, 0),
    ):
        _options.at_least(option, value, least)
    if schedule not in ("constant", "cosine"):
        raise _options.OptionError(
            f"`schedule` must be 'constant' or 'cosine'. Received: schedule={schedule!r}"
        )
    if batch_size > len(digits.x_train):
        raise _options.OptionError(
            f"`batch_size` must be at most {len(digits.x_train)}, the number of training digits. "
            f"Received: batch_size={batch_size}"
        )

    settings = batch_size, units, factor, schedule
    twins = {}
    for name in track(names, "Training"):
        twins[name], nets = train_twins(name, digits, epochs, range(seed, seed + seeds), *settings)
    resumed_apart = None
    if epochs > 1:
        learning_rate = rate(name, factor, schedule, epochs * (len(digits.x_train) // batch_size))
        optimizer = PAIRS[name].ours(learning_rate)
        resumed = train_in_two_parts(optimizer, digits, epochs, seed, batch_size, units)
        resumed_apart = largest_gap(nets[0], resumed.get_weights())
    return ModelFitResult(
        schedule=schedule,
        twins=twins,
        resumed=name,
        resumed_apart=resumed_apart,
        baseline=linear_baseline(digits),
        parameters=sum(w.size for w in nets[0]),
        test_digits=len(digits.x_test),
    )


def _known(names: Sequence[str]) -> list[str]:
    """The names, each once; refuses one that is no optimizer here."""
    by_small_letters = {name.lower(): name for name in PAIRS}
    for name in names:
        if name not in PAIRS:
            nearest = difflib.get_close_matches(name.lower(), by_small_letters, 1)
            meant = f". Did you mean {by_small_letters[nearest[0]]}?" if nearest else ""
            raise _options.OptionError(
                f"`optimizers` must be out of {', '.join(PAIRS)}. "
                f"Received: optimizers={name!r}{meant}"
            )
    return list(dict.fromkeys(names))
