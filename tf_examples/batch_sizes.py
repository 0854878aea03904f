# %% [markdown]
r"""
# Batch sizes

**Must every step look at all the data? What does a smaller batch cost, and what does it bring?**

Paragraph 3.4 of the article · 30 minutes · know before: the section `gradient_descent`; a variance.
"""

# %%
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from custom_optimizers import GradientDescent
from tf_examples import _data, _options, _plots
from tf_examples._report import Table, show, track

# %% [markdown]
r"""
## A problem whose answer is known

1,024 handwritten digits, each of 64 pixels. From each pixel its mean is taken away, and a 65th
input that is always 1 carries the bias. Softmax regression gives each class $c$ the score
$w_c \cdot x$; the loss is the cross-entropy, and weight decay $\lambda = 0.001$ makes it strictly
convex, so that there is one minimum:

$$J(w) = \frac{1}{N} \sum_{i=1}^{N} \Big( \log \sum_c e^{w_c \cdot x_i} - w_{y_i} \cdot x_i \Big)
+ \frac{\lambda}{2} \lVert w \rVert^2$$

scikit-learn finds that minimum by another method (L-BFGS), and the gradient by the tape is 0 there.
"""

# %%
EXAMPLES, CLASSES, DECAY = 1024, 10, 1e-3  # 1,024, so that every power of two divides it


def digits() -> tuple[tf.Tensor, tf.Tensor]:
    """The training examples: centred pixels and a 1, (1024, 65); labels, (1024,)."""
    x, y, *_ = _data.digits(test_examples=1797 - EXAMPLES)
    ones = np.ones((EXAMPLES, 1), "float32")
    return tf.constant(np.hstack([x - x.mean(axis=0), ones])), tf.constant(y)


X, Y = digits()


def loss_function(w: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """J on the examples x (..., B, 65) and y (..., B) for weights (..., 65, 10): one loss a run."""
    scores = x @ w
    right = tf.reduce_sum(scores * tf.one_hot(y, CLASSES), axis=-1)
    cross_entropy = tf.reduce_mean(tf.reduce_logsumexp(scores, axis=-1) - right, axis=-1)
    return cross_entropy + DECAY / 2 * tf.reduce_sum(tf.square(w), axis=(-2, -1))


def minimum() -> np.ndarray:
    """The weights of least loss by scikit-learn: float64, (65, 10)."""
    model = LogisticRegression(C=1 / (DECAY * EXAMPLES), fit_intercept=False, tol=1e-8)
    with threadpool_limits(1):  # for matrices this small, threads cost more than they bring
        return model.fit(X.numpy().astype("float64"), Y.numpy()).coef_.T


# %%
if __name__ == "__main__":
    for name, w in {"w = 0": np.zeros((65, CLASSES)), "the minimum": minimum()}.items():
        w = tf.Variable(w, dtype=tf.float32)
        with tf.GradientTape() as tape:
            loss = loss_function(w, X, Y)
        print(f"{name:11}  loss {loss:.4f}, gradient {tf.norm(tape.gradient(loss, w)):.1e}")

# %% [markdown]
r"""
## What a batch doesn't see

The gradient is a mean over the examples. A batch of $B$ of them gives an estimate of it: right on
average, and off by noise. With $\Sigma$ the covariance of the single examples' gradients, the mean
square of the error is

$$\mathbb{E}\,\lVert g_B - \nabla J \rVert^2 = \frac{\operatorname{tr} \Sigma}{B}
\quad\text{(drawn with replacement)}, \qquad
\frac{\operatorname{tr} \Sigma}{B} \cdot \frac{N - B}{N - 1} \quad\text{(without)}.$$

Four times the examples halve the error, no more. Without replacement a last factor comes on top: a
batch of all the data has no error left.
"""


# %%
def example_gradients(w: np.ndarray) -> np.ndarray:
    """The gradient of each example's cross-entropy, (1024, 650).

    That is the outer product of its inputs and (softmax of its scores - one-hot label).
    """
    x, y = X.numpy(), Y.numpy()
    error = tf.nn.softmax(x @ w).numpy() - np.eye(CLASSES)[y]
    return (x[:, :, None] * error[:, None, :]).reshape(EXAMPLES, -1)


def predicted_noise(batch_sizes: Sequence[int], w: np.ndarray) -> np.ndarray:
    """E|g_B - grad J|^2 by the formulas: with replacement and without, (2, batch sizes)."""
    b = np.array(batch_sizes)
    noise = example_gradients(w).var(axis=0).sum() / b
    return np.stack([noise, noise * (EXAMPLES - b) / (EXAMPLES - 1)])


def measured_noise(
    batch_sizes: Sequence[int], w: np.ndarray, draws: int = 1000, seed: int = 0
) -> np.ndarray:
    """The same, as the mean over `draws` batches drawn at random."""
    rng = np.random.default_rng(seed)
    each = example_gradients(w).astype("float32")
    each -= each.mean(axis=0)
    place = rng.permuted(np.tile(np.arange(EXAMPLES), (draws, 1)), axis=1)
    measured = []
    for b in batch_sizes:
        with_replacement = rng.multinomial(b, np.full(EXAMPLES, 1 / EXAMPLES), size=draws)
        for times_drawn in (with_replacement, place < b):
            error = times_drawn.astype("float32") @ each / b
            measured.append(np.square(error).sum(axis=1).mean())
    return np.reshape(measured, (-1, 2)).T


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """The exponent p of the best fit y = c x^p."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


@_plots.drawing
def draw_noise(sizes: Sequence[int], predicted: np.ndarray, measured: np.ndarray) -> _plots.Picture:
    """Gradient noise against batch size: the formulas as lines, the drawn batches as dots."""
    b, fitted = np.array(sizes), slope(np.array(sizes), measured[0])
    off = np.abs(measured[predicted > 0] / predicted[predicted > 0] - 1).max()
    figure, axes = _plots.picture(
        f"Gradient noise falls as 1/B: the fitted exponent is {fitted:.3f}",
        "On logarithmic axes the mean square error of the gradient falls in a straight line, from "
        f"{measured[0, 0]:.2g} with batches of {b[0]} to {measured[0, -1]:.2g} with batches of "
        f"{b[-1]} drawn with replacement. Drawn without, it follows that line at first and drops "
        f"below it towards the {EXAMPLES} examples there are. No dot is more than {off:.0%} off "
        "its line.",
    )
    axes.set(yscale="log", xlabel="batch size $B$ (examples)", ylabel="mean square error")
    axes.set_xscale("log", base=4)
    axes.xaxis.set_major_formatter("{x:.0f}")
    kinds = ("with replacement", "-", "o", _plots.BLUE), ("without", "--", "s", _plots.VERMILLION)
    for row, (kind, dash, marker, color) in enumerate(kinds):
        some = predicted[row] > 0  # all the data, each once, have no error to draw
        axes.plot(b[some], predicted[row][some], dash, color=color, label=f"{kind}: formula")
        axes.plot(b[some], measured[row][some], marker, color=color, label=f"{kind}: measured")
    axes.legend()
    return figure


# %%
if __name__ == "__main__":
    sizes = [2**k for k in range(11)]
    w_start = np.zeros((65, CLASSES), "float32")
    predicted, measured = predicted_noise(sizes, w_start), measured_noise(sizes, w_start)
    show(draw_noise(sizes, predicted, measured))

# %% [markdown]
r"""
The dots were measured: a thousand batches of each size, drawn at random at $w = 0$.

## The pipeline

Training takes its batches one after another, each example once an *epoch*. `tf.data` prepares them
in the background. What its four words do is seen on the numbers 0 to 7.
"""


# %%
def batches_of(dataset: tf.data.Dataset) -> str:
    """One pass over a data set of batches, as text."""
    return " ".join(str(batch.numpy()) for batch in dataset)


if __name__ == "__main__":
    eight = tf.data.Dataset.range(8)
    shuffled = eight.shuffle(8, seed=1).batch(4)
    rows = [
        ("batch(4)", batches_of(eight.batch(4))),
        ("shuffle(8, seed=1).batch(4)", batches_of(shuffled)),
        ("the same object, passed over again", batches_of(shuffled)),
        ("shuffle(2, seed=1).batch(4)", batches_of(eight.shuffle(2, seed=1).batch(4))),
        ("batch(4).repeat(2)", batches_of(eight.batch(4).repeat(2))),
        ("batch(4).prefetch(1)", batches_of(eight.batch(4).prefetch(1))),
    ]
    show(Table("What the words of a pipeline do", ("pipeline", "batches"), ("", ""), rows))

# %% [markdown]
r"""
`shuffle(k)` draws each example from a buffer of the next $k$: with a buffer of 2, the first is
always 0 or 1. `repeat` starts over at the end. `prefetch` changes nothing but the time: the next
batch is made while this one is used.

The second and third row show a trap. A seed doesn't fix the order: it also depends on how often the
data set was passed over before, and a run resumed in its fifth epoch would see other batches. In
the pipeline below it is a function of the seed and the epoch's number: `counter` repeats, and says
which epoch it is; `order` shuffles.
"""


# %%
def order(seed: int, epoch: int) -> tf.Tensor:
    """The order of the examples in an epoch, the same whenever it is asked for: (1024,)."""
    return tf.random.experimental.stateless_shuffle(tf.range(EXAMPLES), seed=[seed, epoch])


def pipeline(batch_size: int, seed: int) -> tf.data.Dataset:
    """Endless batches (x, y), epoch after epoch; an incomplete last batch is left out."""

    def epoch_rows(epoch: tf.Tensor) -> tf.data.Dataset:
        rows = tf.data.Dataset.from_tensor_slices(order(seed, tf.cast(epoch, tf.int32)))
        return rows.batch(batch_size, drop_remainder=True)

    def examples(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.gather(X, rows), tf.gather(Y, rows)

    return tf.data.Dataset.counter().flat_map(epoch_rows).map(examples).prefetch(tf.data.AUTOTUNE)


# %% [markdown]
r"""
## Three ways to write the loop

The rule is gradient descent with $g_B$ in the place of the gradient:

$$w \leftarrow w - \alpha \, g_B$$

With $B = N$ this is (full-)batch gradient descent, with $B = 1$ stochastic gradient descent in the
word's first meaning; the batches between are mini-batches.
"""


# %%
@tf.function(reduce_retracing=True)
def descend(w: tf.Variable, batches: tf.data.Iterator, learning_rate: float, steps: int) -> None:
    """Moves `w` by `steps` steps, each on the next batch."""
    for _ in tf.range(steps):
        x, y = next(batches)
        with tf.GradientTape() as tape:
            loss = loss_function(w, x, y)
        w.assign_sub(learning_rate * tape.gradient(loss, w))


def descend_with(
    optimizer: keras.optimizers.Optimizer, w: tf.Variable, batches: tf.data.Dataset, steps: int
) -> None:
    """The same with an optimizer."""
    optimizer.build([w])

    @tf.function
    def loop() -> None:
        for x, y in batches.take(steps):
            with tf.GradientTape() as tape:
                loss = loss_function(w, x, y)
            optimizer.apply([tape.gradient(loss, w)], [w])

    loop()


def fit(batches: tf.data.Dataset, learning_rate: float, steps: int) -> np.ndarray:
    """The weights of the same model in Keras, trained by `fit` from w = 0: (65, 10)."""
    decay = keras.regularizers.L2(DECAY / 2)
    layer = keras.layers.Dense(CLASSES, use_bias=False, kernel_regularizer=decay)
    model = keras.Sequential([keras.Input((65,)), layer])
    layer.set_weights([np.zeros((65, CLASSES))])
    model.compile(
        optimizer=keras.optimizers.SGD(learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)
    return layer.get_weights()[0]


def three_tellings(batch_size: int, learning_rate: float, seed: int) -> dict[str, np.ndarray]:
    """The weights after an epoch from w = 0, by each way to write it."""
    steps, batches = EXAMPLES // batch_size, pipeline(batch_size, seed)
    bare, custom = (tf.Variable(tf.zeros((65, CLASSES))) for _ in range(2))
    descend(bare, iter(batches), tf.constant(learning_rate), tf.constant(steps))
    descend_with(GradientDescent(learning_rate), custom, batches, steps)
    return {
        "GradientTape": bare.numpy(),
        "custom_optimizers.GradientDescent": custom.numpy(),
        "Keras model.fit with SGD": fit(batches, learning_rate, steps),
    }


# %%
if __name__ == "__main__":
    for name, w in three_tellings(batch_size=32, learning_rate=0.4, seed=0).items():
        print(f"{name:34} loss {float(loss_function(tf.constant(w), X, Y)):.6f}")

# %% [markdown]
r"""
## The largest useful batch

How many steps does each batch size need until the loss on all the data is 0.3? At one shared
learning rate the question would be unfair: less noise allows larger steps. So each size is run at
21 learning rates and 8 seeds, and the best rate is the one at which all its seeds are
there first.

That is many small runs, and no loop over them. Optimizers of this kind treat each number by itself,
so one variable of shape (rates, seeds, 65, 10) holds all runs, one learning rate of shape
(rates, 1, 1, 1) belongs to it, and the seeds' batches are gathered by their orders.
"""


# %%
RATES, LIMIT = 0.05 * 2 ** (np.arange(21) / 2), 10_000

Sweep = Callable[..., tuple[tf.Tensor, tf.Tensor]]


def compile_sweep(rates: np.ndarray, seeds: Sequence[int]) -> Sweep:
    """Many runs as one: a compiled function of

        batch_size: as an int32 tensor, so that all sizes share one trace;
        looks: the steps after which to look at the loss on all the data, (looks,);
        target: stops where all seeds of a rate have had a loss of at most this, or none is finite;
        factor: what all the rates are multiplied by.

    It returns the losses, (looks so far, rates, seeds), and weights, (rates, seeds, 65, 10).
    """
    w = tf.Variable(tf.zeros((len(rates), len(seeds), 65, CLASSES)))
    now = tf.Variable(np.reshape(rates, (-1, 1, 1, 1)), dtype=tf.float32)
    optimizer = GradientDescent(learning_rate=lambda: now)
    optimizer.build([w])
    scalar = tf.TensorSpec([], tf.int32)
    number = tf.TensorSpec([], tf.float32)

    @tf.function(input_signature=[scalar, tf.TensorSpec([None], tf.int32), number, number])
    def sweep(
        batch_size: tf.Tensor, looks: tf.Tensor, target: tf.Tensor, factor: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        w.assign(tf.zeros_like(w))
        now.assign(factor * tf.reshape(tf.constant(rates, tf.float32), now.shape))
        losses = tf.TensorArray(tf.float32, 0, dynamic_size=True, element_shape=w.shape[:2])
        there = tf.zeros(w.shape[:2], tf.bool)
        rows = tf.zeros((len(seeds), EXAMPLES), tf.int32)
        step, look, finite = 0, 0, True
        while look < tf.size(looks) and finite and not tf.reduce_any(tf.reduce_all(there, axis=1)):
            while step < looks[look]:
                epoch, batch = step // (EXAMPLES // batch_size), step % (EXAMPLES // batch_size)
                if batch == 0:
                    rows = tf.stack([order(seed, epoch) for seed in seeds])
                chosen = rows[:, batch * batch_size : (batch + 1) * batch_size]
                with tf.GradientTape() as tape:
                    loss = loss_function(w, tf.gather(X, chosen), tf.gather(Y, chosen))
                optimizer.apply([tape.gradient(loss, w)], [w])
                step += 1
            loss = loss_function(w, X, Y)
            there |= loss <= target
            finite = tf.reduce_any(tf.math.is_finite(loss))
            losses = losses.write(look, loss)
            look += 1
        return losses.stack(), w

    return sweep


def one_by_one(
    batches: Sequence[tf.data.Dataset], rates: np.ndarray, steps: int, compiled: bool
) -> np.ndarray:
    """The losses of the same runs, made one after another: (rates, seeds)."""
    losses = []
    for rate in rates:
        for dataset in batches:
            w = tf.Variable(tf.zeros((65, CLASSES)))
            loop = descend if compiled else descend.python_function
            loop(w, iter(dataset), tf.constant(rate, tf.float32), tf.constant(steps))
            losses.append(float(loss_function(w, X, Y)))
    return np.reshape(losses, (len(rates), len(batches)))


def time_sweeps(sweep: Sweep, seeds: Sequence[int]) -> Table:
    """The seconds that 16 steps of all runs take as one, and one after another."""
    begin = time.perf_counter()
    together = sweep(64, [16], 0.0, 1.0)[0][0].numpy()
    rows = [("all as one", together.size, time.perf_counter() - begin, None)]
    few, batches = RATES[::5], [pipeline(64, seed) for seed in seeds[:2]]
    for name, compiled in (("one by one, the compiled loop", True), ("one by one, eager", False)):
        one_by_one(batches[:1], few[:1], 1, compiled)  # compiles
        begin = time.perf_counter()
        losses = one_by_one(batches, few, 16, compiled)
        seconds = (time.perf_counter() - begin) * together.size / losses.size
        rows.append((name, losses.size, seconds, np.abs(losses / together[::5, :2] - 1).max()))
    return Table(
        f"{together.size} runs of 16 steps (where fewer were made: their time, multiplied)",
        ("way", "runs made", "seconds", "losses differ by"),
        ("", "d", ".2f", ".0e"),
        rows,
    )


# %%
if __name__ == "__main__":
    seeds = range(8)
    sweep = compile_sweep(RATES, seeds)
    sweep(64, [1], 0.0, 1.0)  # compiles
    show(time_sweeps(sweep, seeds))

# %% [markdown]
r"""
Now the question itself. McCandlish and others (2018) derive how the steps $S$ and the examples
seen, $E = B S$, should depend on the batch size:

$$S = S_{\min} \left(1 + \frac{B_{\text{crit}}}{B}\right), \qquad
E = E_{\min} \left(1 + \frac{B}{B_{\text{crit}}}\right), \qquad
B_{\text{crit}} = \frac{E_{\min}}{S_{\min}}$$

Far below the *critical batch size* $B_{\text{crit}}$, a batch twice as large needs half the steps,
and the same examples. Far above it the steps stay as many, and further examples are wasted. To be
expected is the bend where noise and gradient are equally large, at the *gradient noise scale*

$$B_{\text{noise}} = \frac{\operatorname{tr} \Sigma}{\lVert \nabla J \rVert^2}.$$
"""


# %%
@dataclass(frozen=True)
class Arrival:
    """How batches of one size bring the loss to the target, at the rate that is there first."""

    batch_size: int
    learning_rate: float
    looks: np.ndarray
    """The steps after which the loss was looked at, (looks,)."""
    losses: np.ndarray
    """The loss on all the data at each look, (looks, seeds)."""
    steps: np.ndarray
    """The first of `looks` with a loss of at most the target, (seeds,)."""


def arrive(sweep: Sweep, rates: np.ndarray, batch_size: int, target: float) -> Arrival:
    """Runs a compiled sweep until all seeds of some rate have been at `target`.

    Raises:
        FloatingPointError: where no rate's loss stays finite; names the step.
        OptionError: where none arrives within `LIMIT` steps.
    """
    looks = np.unique(np.round(1.05 ** np.arange(math.log(LIMIT, 1.05))).astype("int32"))
    losses = sweep(batch_size, looks, target, 1.0)[0].numpy()
    looks = looks[: len(losses)]
    finite = np.isfinite(losses).all(axis=2).any(axis=1)
    if not finite.all():
        raise FloatingPointError(
            f"the loss overflows by step {looks[finite.argmin()]} with batches of {batch_size} at "
            f"learning_rate {rates[0]:g}: weight decay alone multiplies the weights by "
            f"{1 - rates[0] * DECAY:g} a step"
        )
    there = losses <= target
    steps = np.where(there.any(axis=0), looks[there.argmax(axis=0)], np.inf)
    best = steps.max(axis=1).argmin()
    if not np.isfinite(steps[best]).all():
        raise _options.OptionError(
            f"`target` isn't reached within {looks[-1]} steps with batches of {batch_size} at "
            f"learning rates from {rates[0]:g} to {rates[-1]:g}. Received: target={target!r}"
        )
    return Arrival(batch_size, float(rates[best]), looks, losses[:, best], steps[best])


def fit_bend(arrivals: Sequence[Arrival]) -> tuple[float, float]:
    """S_min and E_min of S = S_min + E_min / B, by least squares of the relative errors."""
    b = np.array([arrival.batch_size for arrival in arrivals])
    steps = np.array([np.median(arrival.steps) for arrival in arrivals])
    terms = np.stack([1 / steps, 1 / (b * steps)], axis=1)
    least = np.linalg.lstsq(terms, np.ones(len(b)), rcond=None)[0]
    least_steps, least_examples = np.maximum(least, 1e-9).tolist()
    return least_steps, least_examples


def say_bend(arrivals: Sequence[Arrival]) -> str:
    """Up to which batch size more examples save steps, as a sentence."""
    least_steps, least_examples = fit_bend(arrivals)
    low, high = arrivals[0].batch_size, arrivals[-1].batch_size
    if least_examples < low * least_steps:
        return f"From {low} examples on a larger batch saves no steps"
    if least_examples > high * least_steps:
        return f"Up to {high} examples a larger batch saves steps"
    return (
        f"Beyond about {least_examples / least_steps:.0f} examples a larger batch saves few steps"
    )


def noise_scale(w: np.ndarray) -> float:
    """tr Sigma / |grad J|^2 at the weights w, in examples."""
    each = example_gradients(w)
    gradient = each.mean(axis=0) + DECAY * w.ravel()
    return float(each.var(axis=0).sum() / np.square(gradient).sum())


def noise_scales(arrival: Arrival, seed: int) -> np.ndarray:
    """The noise scale along such a run until it arrives, at about 20 of its steps."""
    w, batches = tf.Variable(tf.zeros((65, CLASSES))), iter(pipeline(arrival.batch_size, seed))
    steps = int(np.median(arrival.steps))
    stride, scales = max(1, steps // 20), []
    for _ in range(0, steps, stride):
        scales.append(noise_scale(w.numpy()))
        descend(w, batches, tf.constant(arrival.learning_rate), tf.constant(stride))
    return np.array(scales)


def nearest(arrivals: Sequence[Arrival], batch_size: float) -> Arrival:
    """The one whose batch size is nearest, as a ratio."""
    return min(arrivals, key=lambda arrival: abs(math.log(arrival.batch_size / batch_size)))


@_plots.drawing
def draw_bend(arrivals: Sequence[Arrival], target: float) -> _plots.Picture:
    """Steps to the target against batch size with the fitted law, and the best learning rates."""
    b = np.array([arrival.batch_size for arrival in arrivals])
    steps = np.stack([arrival.steps for arrival in arrivals])
    rates = np.array([arrival.learning_rate for arrival in arrivals])
    least_steps, least_examples = fit_bend(arrivals)
    critical, median = least_examples / least_steps, np.median(steps, axis=1)
    figure, (left, right) = _plots.picture(
        say_bend(arrivals),
        f"Left: on logarithmic axes the steps to a loss of {target:g} with batches of "
        + ", ".join(f"{size}: {taken:.0f}" for size, taken in zip(b, median, strict=True))
        + f". The fitted law falls in proportion to the batch size, bends at {critical:.3g} and "
        f"levels out at {least_steps:.3g} steps. Right: the best learning rate rises from "
        f"{rates[0]:.3g} with batches of {b[0]} to {rates[-1]:.3g} with batches of {b[-1]}; a "
        "dotted line is what it would be in proportion.",
        columns=2,
    )
    grid = np.geomspace(b[0], b[-1], 100)
    spread = np.abs(np.quantile(steps, [0.25, 0.75], axis=1) - median)
    left.plot(grid, least_examples / grid, ":", color=_plots.GREY, linewidth=1.5)
    left.plot(grid, least_steps + 0 * grid, ":", color=_plots.GREY, linewidth=1.5)
    left.plot(grid, least_steps + least_examples / grid, color=_plots.BLUE)
    left.errorbar(b, median, spread, fmt="o", color=_plots.BLUE, capsize=3)
    left.set(ylabel=f"steps to a loss of {target:g}", ylim=(0.6 * least_steps, None))
    right.plot(grid, rates[0] / b[0] * grid, ":", color=_plots.GREY, linewidth=1.5)
    right.plot(b, rates, "s", color=_plots.VERMILLION)
    right.set(ylabel="best learning rate", ylim=(rates.min() / 1.5, 2 * rates.max()))
    for axes in (left, right):
        if b[0] <= critical <= b[-1]:
            axes.axvline(critical, color=_plots.BLACK, linestyle="--", linewidth=1.5)
        axes.set(yscale="log", xlabel="batch size $B$ (examples)")
        axes.set_xscale("log", base=4)
        axes.xaxis.set_major_formatter("{x:.0f}")
    if b[0] <= critical <= b[-1]:
        left.text(critical, left.get_ylim()[1], r" $B_{\mathrm{crit}}$", va="top")
    return figure


# %%
if __name__ == "__main__":
    arrivals = [arrive(sweep, RATES, size, 0.3) for size in track(sizes, "Batch sizes")]
    show(draw_bend(arrivals, 0.3))
    least_steps, least_examples = fit_bend(arrivals)
    print(f"at least {least_steps:.1f} steps, at least {least_examples:.0f} examples seen")
    scales = np.array([noise_scales(nearest(arrivals, 128), seed) for seed in seeds])
    print(
        f"critical batch size, fitted: {least_examples / least_steps:.0f}; noise scale at the "
        f"start: {scales[0, 0]:.0f}, mean over the runs with batches of 128: {scales.mean():.0f}"
    )

# %% [markdown]
r"""
Dots are medians over the seeds, bars their quartiles, dotted lines the two ends of the law. The
noise scale grows as the gradient shrinks: early in training small batches are enough, later larger
ones pay. Its mean over a run is near the bend. The theory promises no more than the order of
magnitude, but one run is enough to measure it.

The right half shows a second law. As long as the noise dominates, the best learning rate grows in
proportion to the batch: the *linear scaling rule*. Near the bend it stops.

## By the epoch, by the second

By the epoch, small batches are as good as any: each example seen counts in full. By the second,
they lose. A step has costs that don't depend on its batch (starting operations, moving the
weights), so one with 128 examples takes far less than 128 times as long. Steps are counted; the
seconds are a measurement of this machine at one moment.
"""


# %%
def seconds_a_step(batch_size: int, seed: int = 0) -> float:
    """The time of a step of the tape loop on the pipeline, best of three."""
    w, batches = tf.Variable(tf.zeros((65, CLASSES))), iter(pipeline(batch_size, seed))
    steps, times = max(EXAMPLES // batch_size, 16), []
    for _ in range(4):  # the first compiles
        begin = time.perf_counter()
        descend(w, batches, tf.constant(0.1), tf.constant(steps))
        times.append((time.perf_counter() - begin) / steps)
    return min(times[1:])


@_plots.drawing
def draw_costs(arrivals: Sequence[Arrival], seconds: Sequence[float]) -> _plots.Picture:
    """The loss of each batch size by the epoch and by the second; medians over seeds."""
    sizes = [a.batch_size for a in arrivals]
    steps = np.array([np.median(a.steps) for a in arrivals])
    epochs, taken = steps * sizes / EXAMPLES, 1000 * steps * seconds
    first = int(np.argmin(taken))
    figure, (left, right) = _plots.picture(
        f"Batches of {sizes[first]}, not {sizes[0]}: {epochs[first] / epochs[0]:.1f} times the "
        f"epochs, {taken[first] / taken[0]:.0%} of the time",
        "Falling curves of the loss, one a batch size, by the epoch and by the second. They end at "
        "the target: "
        + "; ".join(
            f"batches of {size} after {epoch:.2f} epochs and {ms:.1f} milliseconds"
            for size, epoch, ms in zip(sizes, epochs, taken, strict=True)
        ),
        columns=2,
        sharey=True,
    )
    for number, (a, each) in enumerate(zip(arrivals, seconds, strict=True)):
        style = {"color": _plots.CYCLE[number], "linestyle": _plots.DASHES[number]}
        loss = np.median(a.losses, axis=1)
        left.plot(a.looks * a.batch_size / EXAMPLES, loss, label=f"{a.batch_size}", **style)
        right.plot(a.looks * each * 1000, loss, **style)
    left.set(xscale="log", xlabel="epochs", ylabel="loss on all the data")
    right.set(xscale="log", xlabel="milliseconds")
    left.legend(title="batch size", loc="lower left")
    return figure


# %%
if __name__ == "__main__":
    some = [arrivals[number] for number in (0, 4, 7, 10)]
    times = [seconds_a_step(arrival.batch_size) for arrival in some]
    show(draw_costs(some, times))
    print(f"a step with 128 examples takes {times[2] / times[0]:.1f} times as long as one with 1")

# %% [markdown]
r"""
## The linear scaling rule, and where it breaks

Goyal and others (2017) take $k$ times the learning rate when they take $k$ times the batch. Their
reason: $k$ small steps and one large step are

$$w_{t+k} = w_t - \alpha \sum_{j=1}^{k} g_j(w_{t+j-1}), \qquad
w_{t+1} = w_t - k \alpha \, \frac{1}{k} \sum_{j=1}^{k} g_j(w_t),$$

and these are the same as long as the gradient doesn't change much on the way. So the rule should
hold where $k \alpha$ is small. The test: an epoch with batches of 8 at rate $\alpha$, another with
batches of $8k$ at $k\alpha$ on the same examples in the same order, and how far apart the weights
are at the end, as a share of the way from the start.
"""

# %%
BASE, FACTORS, SMALL_RATES = 8, (4, 16, 64), 0.01 * 2.0 ** np.arange(10)


def scaling_distances(sweep: Sweep, scaled: bool) -> np.ndarray:
    """How far apart the weights are after an epoch, relative to the way: (factors, rates, seeds).

    Args:
        sweep: compiled for the rates of the small batches.
        scaled: whether the large batches have k times the rate, or the same.
    """

    def epoch(factor: int, rate_factor: float) -> np.ndarray:
        size = BASE * factor
        return sweep(size, [EXAMPLES // size], 0.0, rate_factor)[1].numpy()

    def norm(w: np.ndarray) -> np.ndarray:
        return np.sqrt(np.square(w).sum(axis=(2, 3)))

    small = epoch(1, 1.0)
    large = [epoch(k, float(k) if scaled else 1.0) for k in FACTORS]
    return np.stack([norm(w - small) / norm(small) for w in large])


@_plots.drawing
def draw_scaling(distances: np.ndarray) -> _plots.Picture:
    """How far apart the weights are, against the learning rate of the large batches."""
    low, median, high = np.quantile(distances, [0.25, 0.5, 0.75], axis=2)
    products = np.outer(FACTORS, SMALL_RATES)
    holds, breaks = median[products <= 1.3].max(), median[products >= 40].min()
    figure, axes = _plots.picture(
        f"k α up to 1.3: at most {holds:.0%} apart. From 40 on: at least {breaks:.0%}",
        "On logarithmic axes, how far the weights of the large batches are from those of the small "
        "ones rises with the learning rate of the large batches: "
        + "; ".join(
            f"for k = {k} from {row[0]:.2%} at {k * SMALL_RATES[0]:.2g} to {row[-1]:.0%} at "
            f"{k * SMALL_RATES[-1]:.3g}"
            for k, row in zip(FACTORS, median, strict=True)
        ),
    )
    for number, k in enumerate(FACTORS):
        style = {"color": _plots.CYCLE[number], "linestyle": _plots.DASHES[number]}
        axes.plot(products[number], median[number], label=f"k = {k}", **style)
        axes.fill_between(
            products[number], low[number], high[number], color=style["color"], alpha=0.25, lw=0
        )
    axes.set(xscale="log", yscale="log", xlabel=r"learning rate of the large batches, $k\alpha$")
    axes.set_ylabel("distance, as a share of the way")
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    _plots.label_ends(axes)
    return figure


# %%
if __name__ == "__main__":
    small_sweep = compile_sweep(SMALL_RATES, seeds)
    distances = scaling_distances(small_sweep, scaled=True)
    show(draw_scaling(distances))
    unscaled = np.median(scaling_distances(small_sweep, scaled=False), axis=2)
    print(f"k = 16, α = 0.01: {np.median(distances, axis=2)[1, 0]:.1%} apart by the rule")
    print(f"with the same rate instead: {unscaled[1, 0]:.1%} (1 - 1/16 is {1 - 1 / 16:.1%})")

# %% [markdown]
r"""
Lines are medians over the seeds, bands (as narrow as the lines, for the most part) the quartiles.
Each line begins in proportion: twice $k \alpha$, twice as far apart. On the right the gradient
turns on the way, and the two runs end in different places. Without the rule the large batches are
behind from the start: a $k$-th of the steps, each as long as before, is a $k$-th of the way.

## Try it

1. Set the target to 0.6 instead of 0.3. Expect a smaller critical batch size: the run ends earlier,
   where the gradient is still large and the noise scale small.
2. Replace `RATES` by the one rate 0.4. Expect the same number of steps with batches of 16, 64 and
   1,024, and so 64 times the examples: at a rate that suits single examples, larger batches look
   like a waste. A comparison at one shared rate says more of the rate than of the batch.
3. Let `order` return `tf.argsort(Y)`, all zeros first, then all ones, and run the three programs at
   rate 4. Expect a far higher loss than with shuffled examples, in the three alike: a batch knows
   one digit only, and the last batches make the model forget the first digits.
"""


# %% tags=["module-only"]
@dataclass(frozen=True)
class BatchSizesResult:
    """What `run` found; n is the number of batch sizes."""

    target: float
    least_loss: float
    """The minimum, by scikit-learn."""
    noise_predicted: np.ndarray
    """Gradient noise at w = 0 by the formulas, with replacement and without: (2, n)."""
    noise_measured: np.ndarray
    """The same, as a mean over batches drawn at random: (2, n)."""
    arrivals: list[Arrival]
    """How each batch size came to the target."""
    seconds_a_step: list[float]
    """What a step took on this machine, by batch size."""
    least_steps: float
    """S_min of the fitted law."""
    least_examples: float
    """E_min of the fitted law."""
    noise_scale_start: float
    """The noise scale at w = 0, in examples."""
    noise_scale_mean: float
    """Its mean over the runs with the batch size nearest to the critical one."""
    distances: np.ndarray
    """Of the linear scaling rule: (FACTORS, SMALL_RATES, seeds)."""
    tellings_differ: float
    """The largest difference of a weight between the three ways to write the loop."""

    @property
    def critical_batch_size(self) -> float:
        """Where the fitted law bends, in examples."""
        return self.least_examples / self.least_steps

    def table(self) -> Table:
        """One row a batch size."""
        rows = [
            (
                arrival.batch_size,
                *noise,
                arrival.learning_rate,
                np.median(arrival.steps),
                np.median(arrival.steps) * arrival.batch_size,
                1000 * seconds * np.median(arrival.steps),
            )
            for arrival, noise, seconds in zip(
                self.arrivals,
                zip(self.noise_predicted[1], self.noise_measured[1], strict=True),
                self.seconds_a_step,
                strict=True,
            )
        ]
        return Table(
            f"Steps, examples and milliseconds to a loss of {self.target:g} (the least is "
            f"{self.least_loss:.4f})\n{say_bend(self.arrivals)}\n"
            f"Noise scale: {self.noise_scale_start:.0f} examples at the start, "
            f"{self.noise_scale_mean:.0f} on average\n"
            f"The three ways to write the loop differ by at most {self.tellings_differ:.0e}",
            ("batch", "noise", "measured", "best rate", "steps", "examples", "ms"),
            ("d", ".2e", ".2e", ".3g", ".0f", ".0f", ".1f"),
            rows,
        )

    def figure(self) -> _plots.Picture:
        """Steps to the target against batch size, and the best learning rates."""
        return draw_bend(self.arrivals, self.target)


SIZES = [2**k for k in range(11)]
QUICK: dict = {"batch_sizes": [1, 8, 64, 256, 1024], "seeds": 3}


def run(
    *,
    batch_sizes: list[int] = SIZES,
    target: float = 0.3,
    learning_rate: float | None = None,
    seeds: int = 8,
    seed: int = 0,
) -> BatchSizesResult:
    """Measures the gradient noise of each batch size, and how soon it reaches a loss.

    Args:
        batch_sizes: At least two different sizes, from 1 to 1024, the number of examples.
        target: The loss on all the data to be reached.
        learning_rate: One rate for all batch sizes instead of the best for each.
        seeds: How many runs there are of each size and rate.
        seed: The first of the seeds.

    Raises:
        OptionError: for an option out of its range, and a target that isn't reached.
        FloatingPointError: where the loss overflows; names the step.
    """
    for size in batch_sizes:
        _options.at_least("batch_sizes", size, 1)
        if size > EXAMPLES:
            raise _options.OptionError(
                f"`batch_sizes` must be at most {EXAMPLES}, the number of training examples. "
                f"Received: {size}"
            )
    sizes = sorted(set(batch_sizes))
    if len(sizes) < 2:
        raise _options.OptionError(
            f"`batch_sizes` must be at least two different sizes. Received: {batch_sizes}"
        )
    _options.at_least("seeds", seeds, 1)
    _options.at_least("seed", seed, 0)
    if learning_rate is not None:
        learning_rate = _options.in_interval("learning_rate", learning_rate, "(0, inf)")
    least_loss = float(loss_function(tf.constant(minimum(), tf.float32), X, Y))
    target = _options.in_interval("target", target, f"({least_loss:.4f}, {math.log(CLASSES):.4f})")

    rates = RATES if learning_rate is None else np.array([learning_rate])
    runs = range(seed, seed + seeds)
    start = np.zeros((65, CLASSES), "float32")
    sweep = compile_sweep(rates, runs)
    arrivals = [arrive(sweep, rates, size, target) for size in track(sizes, "Batch sizes")]
    least_steps, least_examples = fit_bend(arrivals)
    middle = nearest(arrivals, max(1.0, least_examples / least_steps))
    tellings = list(three_tellings(32, 0.4, seed).values())
    return BatchSizesResult(
        target=target,
        least_loss=least_loss,
        noise_predicted=predicted_noise(sizes, start),
        noise_measured=measured_noise(sizes, start, draws=400, seed=seed),
        arrivals=arrivals,
        seconds_a_step=[seconds_a_step(size) for size in sizes],
        least_steps=least_steps,
        least_examples=least_examples,
        noise_scale_start=noise_scale(start),
        noise_scale_mean=float(np.mean([noise_scales(middle, each).mean() for each in runs])),
        distances=scaling_distances(compile_sweep(SMALL_RATES, runs), scaled=True),
        tellings_differ=float(max(np.abs(w - tellings[0]).max() for w in tellings)),
    )
