# %% [markdown]
r"""
# Neural networks

**What can a network of neurons do that a single neuron can't, and what do the neurons in between
learn?**

Paragraph 2 of the article · 30 minutes · know before: the equation of a line, and products of
matrices.
"""

# %%
import itertools
from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from custom_optimizers import GradientDescent
from tf_examples import _data, _options, _plots
from tf_examples._report import Table, show, track

# %% [markdown]
r"""
## One neuron draws a line

A neuron multiplies each of its inputs by a **weight**, adds a **bias**, and squashes the sum:

$$z = w_1 x_1 + w_2 x_2 + b, \qquad p = \sigma(z) = \frac{1}{1 + e^{-z}}$$

A weight says how much its input counts, and in which direction. The bias moves the threshold: the
weighted sum must be above $-b$ for $z$ to be above 0. The function that squashes is the
**activation**; this one, the sigmoid, makes a probability of any number. Where $z$ is above 0, the
probability is above one half, and the answer is a yes.

With both weights 10 and the bias -5, a neuron is the word "or": yes as soon as one input is 1.
"""


# %%
def neuron(x: np.ndarray, w: np.ndarray, b: float) -> np.ndarray:
    """The probability of a yes for inputs (examples, 2) and weights (2,): (examples,)."""
    z = x @ w + b
    return 1 / (1 + np.exp(-z))


# %%
if __name__ == "__main__":
    x, xor = _data.xor()
    either = (x.sum(axis=1) > 0).astype("int32")
    for inputs, answer in zip(x, neuron(x, np.array([10.0, 10.0]), -5.0), strict=True):
        print(f"{inputs[0]:.0f} or {inputs[1]:.0f}: {answer:.3f}")

# %% [markdown]
r"""
Where $z = 0$, the answer changes, and $w_1 x_1 + w_2 x_2 + b = 0$ is the equation of a line. Other
weights turn the line, another bias moves it. It never bends.

## What no line can do

"One or the other, but not both" is called XOR. Suppose that a line could do it. The two cases with
one 1 are a yes, so $w_1 + b > 0$ and $w_2 + b > 0$, and together $w_1 + w_2 + 2b > 0$. The other
two are a no, so $b \le 0$ and $w_1 + w_2 + b \le 0$, and together $w_1 + w_2 + 2b \le 0$. Both
can't be true: there is no such line.

How near does a line come? Try them all: every angle, every distance from the middle.
"""


# %%
def best_line(x: np.ndarray, y: np.ndarray) -> tuple[int, np.ndarray, float]:
    """Of 72,360 lines the one with most points on the right side: that number, w (2,) and b."""
    angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    directions = np.stack([np.cos(angles), np.sin(angles)])  # (2, 360)
    offsets = np.linspace(-1.5, 1.5, 201)
    z = (x @ directions)[:, :, None] + offsets  # (examples, 360, 201)
    right = ((z > 0) == (y == 1)[:, None, None]).sum(axis=0)
    margin = np.abs(z).min(axis=0)  # decides between lines that are right equally often
    angle, offset = np.unravel_index(np.argmax(right + 0.01 * margin), right.shape)
    return int(right.max()), directions[:, angle], float(offsets[offset])


@_plots.drawing
def draw_lines(x: np.ndarray, tasks: dict[str, np.ndarray]) -> _plots.Picture:
    """The best line for each task's labels (examples,) on the same inputs (examples, 2)."""
    best = {name: best_line(x, y) for name, y in tasks.items()}
    scores = [f"{right} of {len(x)} for {name}" for name, (right, *_) in best.items()]
    figure, axes = _plots.picture(
        f"The best that any line can do: {', '.join(scores)}",
        "The four cases as the corners of a square, once for each task. "
        + " ".join(
            f"The best line for {name} has {right} of {len(x)} points on the right side."
            for name, (right, *_) in best.items()
        ),
        columns=len(tasks),
        size=(7, 4.3),
    )
    for axis, (name, y) in zip(axes, tasks.items(), strict=True):
        right, w, b = best[name]
        _plots.classes(axis, x, y, np.tensordot(w, _plots.plane(x), 1) + b)
        axis.set(title=f"{name}: {right} of {len(x)} right", xlabel="$x_1$", ylabel="$x_2$")
        axis.set(xticks=[0, 1], yticks=[0, 1])
    return figure


# %%
if __name__ == "__main__":
    show(draw_lines(x, {"or": either, "XOR": xor}))

# %% [markdown]
r"""
Triangles are a yes, circles a no; the shading is the neuron's answer.

## A hidden layer moves the points

Neurons side by side, all fed with the same inputs, are a **layer**, and its **units**. A layer
between the inputs and the answer is **hidden**: nobody tells it what to say. Two hidden units are
enough for XOR. One says "or", the other "and", and the last neuron says "or, but not and". The
activation is the plainest of all, a step: 1 above zero, else 0.
"""


# %%
def step(z: np.ndarray) -> np.ndarray:
    """1 where z is above zero, else 0."""
    return (z > 0).astype("float64")


def by_hand(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """XOR with weights set by hand: the hidden layer's answers (examples, 2), and z (examples,)."""
    W, b = np.array([[1.0, 1.0], [1.0, 1.0]]), np.array([-0.5, -1.5])
    hidden = step(x @ W + b)
    return hidden, hidden @ np.array([1.0, -1.0]) - 0.5


@_plots.drawing
def draw_by_hand(x: np.ndarray, y: np.ndarray) -> _plots.Picture:
    """The four cases of XOR before and behind the hidden layer that was set by hand."""
    hidden, z = by_hand(x)
    right = int(((z > 0) == (y == 1)).sum())
    figure, (left, behind) = _plots.picture(
        f"The hidden layer moves the points, and then a line does it: {right} of {len(x)}",
        'Left: the four inputs as the corners of a square; the line of the unit "or" cuts off '
        '(0, 0), that of the unit "and" cuts off (1, 1). Right: what the two units say: (0, 1) and '
        f"(1, 0) now lie on one point, and a line has {right} of {len(x)} cases on the right side.",
        columns=2,
        size=(7, 4.3),
    )
    _plots.classes(left, x, y)
    for offset, name, dashes in ((0.5, "or", "--"), (1.5, "and", "-.")):
        left.axline((offset, 0), slope=-1, color=_plots.BLACK, linestyle=dashes)
        left.text(offset / 2 + 0.03, offset / 2 + 0.03, f'"{name}"')
    left.set(title="the inputs", xlabel="$x_1$", ylabel="$x_2$", xlim=(-0.15, 1.15))
    _plots.classes(behind, hidden, y, np.tensordot([1, -1], _plots.plane(hidden), 1) - 0.5)
    behind.set(title="what the hidden layer says", xlabel='"or"', ylabel='"and"')
    for point in np.unique(hidden, axis=0):
        cases = [f"({a:.0f}, {b:.0f})" for a, b in x[(hidden == point).all(axis=1)]]
        at_left = point[0] == 0
        behind.annotate(
            "\n".join(cases),
            point,
            (9 if at_left else -9, 0),
            textcoords="offset points",
            ha="left" if at_left else "right",
            va="center",
        )
    for axis in (left, behind):
        axis.set(xticks=[0, 1], yticks=[0, 1], ylim=(-0.15, 1.15))
    return figure


# %%
if __name__ == "__main__":
    show(draw_by_hand(x, xor))

# %% [markdown]
r"""
The activation is what makes it work. Without it, two layers are one, and a line again:

$$(x W_1 + b_1) W_2 + b_2 = x (W_1 W_2) + (b_1 W_2 + b_2)$$
"""

# %%
if __name__ == "__main__":
    draw = np.random.default_rng(0)
    W1, b1, W2, b2 = (draw.normal(size=size) for size in ((2, 8), 8, (8, 1), 1))
    two = (x @ W1 + b1) @ W2 + b2
    one = x @ (W1 @ W2) + (b1 @ W2 + b2)
    print(f"two layers without activation against one: at most {np.abs(two - one).max():.0e} apart")

# %% [markdown]
r"""
## A hidden layer that is learned

The network as a function: each hidden layer multiplies by its weights, adds its biases and applies
its activation; the last neuron multiplies and adds.

$$h = \tanh(x W_1 + b_1), \qquad z = h W_2 + b_2$$

The step is replaced by a smooth function, because learning needs slopes: $\tanh$ goes from -1 to 1.
ReLU, $\max(0, z)$, is another choice. What the last hidden layer says are the **features**, the
inputs of the last neuron, which still draws nothing but a line. The number of hidden layers is the
**depth**; deep learning has its name from it.

In the code all matrices have one more axis in front, so that many networks, each with its own
start, are computed at once.
"""

# %%
Weights = list[tf.Tensor]
"""W and b of each layer in turn: (networks, inputs, units) and (networks, 1, units)."""
ACTIVATIONS = {"tanh": tf.tanh, "relu": tf.nn.relu, "sigmoid": tf.sigmoid}


def features(weights: Weights, x: tf.Tensor, activation: str) -> tf.Tensor:
    """What the last hidden layer says of x (examples, 2): (networks, examples, units)."""
    h = x
    for W, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        h = ACTIVATIONS[activation](h @ W + b)
    return h


def network(weights: Weights, x: tf.Tensor, activation: str) -> tf.Tensor:
    """The z of the last neuron: (networks, examples, 1)."""
    return features(weights, x, activation) @ weights[-2] + weights[-1]


def start_weights(sizes: tuple[int, ...], networks: int, seed: int) -> list[np.ndarray]:
    """Where learning starts: weights drawn at random (Glorot's range, Keras's default), biases 0.

    Args:
        sizes: inputs, units of each hidden layer, outputs; (2, 8, 1) has one hidden layer.
    """
    starts: list[list[np.ndarray]] = []
    for number in range(networks):
        draw = np.random.default_rng((seed, number))
        start: list[np.ndarray] = []
        for inputs, units in itertools.pairwise(sizes):
            limit = np.sqrt(6 / (inputs + units))
            start += [draw.uniform(-limit, limit, (inputs, units)), np.zeros((1, units))]
        starts.append(start)
    return [np.stack(same).astype("float32") for same in zip(*starts, strict=True)]


# %% [markdown]
r"""
Learning needs a number that says how wrong the network is, the **loss**. Here it is $-\log$ of the
probability that the network gives to the right answer, averaged over the examples: 0 for a network
that is right and certain, $\log 2 = 0.693$ for one that says "one half" to everything.

`descend` then changes every weight a little, in the direction in which the loss falls, thousands
of times. The gradient $\partial J / \partial w$ says how the loss $J$ answers to a change of $w$,
and the learning rate $\alpha$ how far to go:

$$w \leftarrow w - \alpha \, \frac{\partial J}{\partial w}$$

Take this as a closed box for now: the next sections open it.
"""


# %%
def loss_function(weights: Weights, x: tf.Tensor, y: tf.Tensor, activation: str) -> tf.Tensor:
    """The mean of -log(probability of the right answer), labels y (examples,): (networks,)."""
    z = network(weights, x, activation)[..., 0]
    toward_wrong = (1 - 2 * tf.cast(y, z.dtype)) * z  # z where the answer is no, -z where yes
    return tf.reduce_mean(tf.nn.softplus(toward_wrong), axis=-1)  # log(1 + e^z) = -log(1 - p)


@tf.function
def descend(
    weights: Weights,
    x: tf.Tensor,
    y: tf.Tensor,
    activation: str,
    learning_rate: tf.Tensor,
    steps: tf.Tensor,
) -> tuple[Weights, tf.Tensor]:
    """The weights after `steps` steps, and the loss before each of them: (steps, networks)."""
    losses = tf.TensorArray(tf.float32, steps)
    for number in tf.range(steps):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = loss_function(weights, x, y, activation)
        losses = losses.write(number, loss)
        gradients = tape.gradient(loss, weights)
        weights = [w - learning_rate * g for w, g in zip(weights, gradients, strict=True)]
    return weights, losses.stack()


def train(
    hidden: tuple[int, ...],
    x: np.ndarray,
    y: np.ndarray,
    *,
    activation: str = "tanh",
    learning_rate: float = 0.5,
    steps: int = 3000,
    networks: int = 20,
    seed: int = 0,
) -> tuple[Weights, np.ndarray]:
    """Networks with `hidden` units a layer, each from its own start; returns what `descend` does.

    Raises:
        FloatingPointError: where a loss overflows; names the step.
    """
    start = [tf.constant(w) for w in start_weights((2, *hidden, 1), networks, seed)]
    # Compiled once for each depth and activation, for any number of units, networks and examples.
    any_weights = [tf.TensorSpec((None, None, None)) for _ in start]
    any_data = tf.TensorSpec((None, 2)), tf.TensorSpec((None,), tf.int32)
    any_numbers = tf.TensorSpec(()), tf.TensorSpec((), tf.int32)
    descend.get_concrete_function(any_weights, *any_data, activation, *any_numbers)

    numbers = tf.constant(learning_rate), tf.constant(steps)
    weights, losses = descend(start, tf.constant(x), tf.constant(y), activation, *numbers)
    overflown = np.flatnonzero(~np.isfinite(losses).all(axis=1))
    if overflown.size:
        raise FloatingPointError(
            f"the loss overflows at step {overflown[0]} of {steps}: a learning_rate of "
            f"{learning_rate:g} is too large"
        )
    return weights, losses.numpy()


def accuracy(weights: Weights, x: np.ndarray, y: np.ndarray, activation: str) -> np.ndarray:
    """The share of right answers of each network: (networks,)."""
    z = network(weights, x, activation)[..., 0].numpy()
    return ((z > 0) == (y == 1)).mean(axis=-1)


def parameters(weights: Weights) -> int:
    """How many weights and biases one of the networks has."""
    return sum(int(np.prod(w.shape[1:])) for w in weights)


# %% [markdown]
r"""
A hundred networks of each width learn XOR. The first row has no hidden layer: one neuron.
"""


# %%
def widths_table(widths: tuple[int, ...], activation: str, networks: int = 100) -> Table:
    """How many of the networks learn XOR, by the number of their hidden units."""
    x, y = _data.xor()
    rows = []
    for units in widths:
        hidden = (units,) if units else ()
        weights, losses = train(hidden, x, y, activation=activation, networks=networks)
        learned = accuracy(weights, x, y, activation) == 1
        stuck = losses[-1, ~learned]
        rows.append(
            (
                units or "none",
                parameters(weights),
                100 * learned.mean(),
                np.median(losses[-1, learned]) if learned.any() else None,
                np.median(stuck) if stuck.size else None,
            )
        )
    return Table(
        f"XOR: {networks} networks of each width, {activation}",
        ("hidden units", "parameters", "4 of 4, %", "their loss", "loss of the others"),
        ("d", "d", ".0f", ".3f", ".3f"),
        rows,
    )


# %%
if __name__ == "__main__":
    show(widths_table((0, 2, 3, 4, 8), "tanh"))

# %% [markdown]
r"""
The single neuron ends at 0.693: all its weights have gone to 0, it says "one half" to everything,
and rounding errors decide what becomes a yes. That is the lowest loss a line can have here. The
four errors are then $+1/2$ and $-1/2$ twice each, and cancel for every weight; and the loss of a
single neuron is a bowl with one bottom.

With a hidden layer the loss has more than one low place. Two hidden units can do it, but half of
the networks end elsewhere, most of them near 0.347, half of 0.693: two cases right, and "one half"
for the other two. With more units than needed, that becomes rare, and then doesn't happen.

## Two moons

Points on two half circles, interleaved, with noise: 200 to learn from, 2,000 others to test. A
single neuron trained on them has a name of its own, logistic regression, and scikit-learn finds
its weights in another way.
"""


# %%
def moons(noise: float = 0.15, seed: int = 0) -> _data.Split:
    """200 points of the two moons to learn from, and 2,000 others to test."""
    x, y = _data.two_moons(2200, noise, seed)
    return _data.Split(x[:200], y[:200], x[200:], y[200:])


# %%
if __name__ == "__main__":
    data = moons()
    line, _ = train((), data.x_train, data.y_train)
    logistic = LogisticRegression(C=np.inf, tol=1e-8).fit(data.x_train, data.y_train)
    test = (data.x_test, data.y_test)
    both = [
        ("one neuron", *line[0][0, :, 0], line[1][0, 0, 0], 100 * accuracy(line, *test, "tanh")[0]),
        ("scikit-learn", *logistic.coef_[0], logistic.intercept_[0], 100 * logistic.score(*test)),
    ]
    names = ("", "w1", "w2", "b", "test accuracy, %")
    show(Table("The best line for two moons", names, ("", ".3f", ".3f", ".3f", ".1f"), both))


# %%
def middle(weights: Weights, scores: np.ndarray) -> Weights:
    """Of several networks the one with the median score, alone."""
    number = np.argsort(scores)[len(scores) // 2]
    return [w[number : number + 1] for w in weights]


@_plots.drawing
def draw_moons(
    line: Weights, hidden: Weights, data: _data.Split, activation: str
) -> _plots.Picture:
    """What one network of each kind says of the plane, and the strongest features of the second."""
    scores = [accuracy(w, data.x_test, data.y_test, activation)[0] for w in (line, hidden)]
    moved = np.abs(hidden[-2][0, :, 0]) * np.std(features(hidden, data.x_train, activation)[0], 0)
    strongest = np.argsort(-moved)[:4]
    layers = "a hidden layer" if len(hidden) == 4 else f"{len(hidden) // 2 - 1} hidden layers"
    figure, axes = _plots.picture(
        f"A line gets {scores[0]:.1%} of the moons right, {layers} {scores[1]:.1%}",
        f"Above left: a straight line cuts through both moons, {scores[0]:.1%} of the test points "
        f"are right. Above right: the border of the network with {layers} winds between the "
        f"moons, {scores[1]:.1%} right; {hidden[0].shape[-1]} dashed lines show where the units "
        f"of its first layer are at zero. Below: the {len(strongest)} features that move the "
        "answer most, each shaded over the plane from low (orange) to high (purple).",
        rows=2,
        columns=4,
        size=(7, 4.4),
        height_ratios=[5, 2.2],
    )
    cells = axes[0, 0].get_gridspec()
    for axis in (*axes[0], *axes[1, len(strongest) :]):
        axis.remove()
    left, right = figure.add_subplot(cells[0, :2]), figure.add_subplot(cells[0, 2:])
    grid = _plots.plane(data.x_train)
    places = grid.reshape(2, -1).T
    for axis, weights, title in ((left, line, "a line"), (right, hidden, layers)):
        z = network(weights, places, activation)[0]
        _plots.classes(axis, data.x_train, data.y_train, z, size=5)
        axis.set(title=title, xlabel="$x_1$", ylabel="$x_2$")
    W, b = hidden[0][0].numpy(), hidden[1][0].numpy()
    for z in (places @ W + b).T:
        if z.min() < 0 < z.max():
            right.contour(
                *grid, z.reshape(200, 200), [0], colors=_plots.GREY, linestyles="--", linewidths=1
            )
    h = features(hidden, places, activation)[0].numpy()
    for axis, unit in zip(axes[1], strongest, strict=False):
        low, high = h[:, unit].min(), h[:, unit].max()
        shades = {"vmin": 1.5 * low - 0.5 * high, "vmax": 1.5 * high - 0.5 * low}
        axis.pcolormesh(*grid, h[:, unit].reshape(200, 200), cmap="PuOr", **shades)
        _plots.classes(axis, data.x_train, data.y_train, size=2)
        axis.set(title=f"unit {unit + 1}", xticks=[], yticks=[])
    return figure


# %%
if __name__ == "__main__":
    hidden, _ = train((8,), data.x_train, data.y_train)
    scores = accuracy(hidden, *test, "tanh")
    low, median, high = 100 * np.quantile(scores, (0, 0.5, 1))
    print(f"20 networks, 8 hidden units: {low:.1f}% to {high:.1f}% right, median {median:.1f}%")
    show(draw_moons(line, middle(hidden, scores), data, "tanh"))

# %% [markdown]
r"""
Each hidden unit still draws a line (dashed). Below, what the four strongest say about the plane:
each is high (purple) on one side of its line and low (orange) on the other. The last neuron adds
them up, and the border of the sum winds between the moons. The worst of the twenty networks learned
no more than a line.

## Depth

Is it better to have more units in one layer, or more layers? For a fair answer the networks get
about the same number of parameters. The moons are one task. The other is XOR grown up: a board of
three by three squares, coloured in turn, without noise.
"""


# %%
SHAPES: tuple[tuple[int, ...], ...] = ((32,), (9, 9), (7, 7, 6))


def board(seed: int = 0) -> _data.Split:
    """400 points on a chequered board of 3 x 3 squares to learn from, and 2,000 others to test."""
    x = np.random.default_rng(seed).uniform(0, 3, (2400, 2))
    y = np.floor(x).sum(axis=1) % 2
    x, y = (x - 1.5).astype("float32"), y.astype("int32")
    return _data.Split(x[:400], y[:400], x[400:], y[400:])


def name_of(hidden: tuple[int, ...]) -> str:
    """The hidden layers in words."""
    if not hidden:
        return "a line"
    return " + ".join(map(str, hidden)) + " units"


@_plots.drawing
def draw_board(
    trained: dict[tuple[int, ...], Weights], data: _data.Split, activation: str
) -> _plots.Picture:
    """What one network of each shape makes of the board."""
    scores = [accuracy(w, data.x_test, data.y_test, activation)[0] for w in trained.values()]
    names = [" + ".join(map(str, shape)) for shape in trained]
    said = ", ".join(f"{name} units {s:.1%}" for name, s in zip(names, scores, strict=True))
    figure, axes = _plots.picture(
        f"On the board, a second layer turns {scores[0]:.1%} into {scores[1]:.1%}",
        f"The board of 3 x 3 squares as a network of each shape colours it; test accuracy: {said}. "
        "The borders of the first network bend and lean where the squares have straight sides; "
        "those of the second follow the sides more closely.",
        columns=3,
        size=(7, 3.4),
    )
    places = _plots.plane(data.x_train).reshape(2, -1).T
    panels = zip(axes, names, scores, trained.values(), strict=True)
    for axis, name, score, weights in panels:
        z = network(weights, places, activation)[0]
        _plots.classes(axis, data.x_train, data.y_train, z, size=3)
        axis.set(title=f"{name}: {score:.1%}", xlabel="$x_1$", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    axes[0].set_ylabel("$x_2$")
    return figure


# %%
if __name__ == "__main__":
    rows, on_board = [], {}
    for task, data in (("two moons", moons()), ("board", board())):
        for shape in SHAPES:
            weights, _ = train(shape, data.x_train, data.y_train, networks=10)
            scores = accuracy(weights, data.x_test, data.y_test, "tanh")
            quartiles = 100 * np.quantile(scores, (0.25, 0.5, 0.75))
            rows.append((task, name_of(shape), parameters(weights), *quartiles))
            on_board[shape] = middle(weights, scores)
    columns = ("task", "hidden layers", "parameters", "1st quartile", "median", "3rd quartile")
    formats = ("", "", "d", ".1f", ".1f", ".1f")
    show(Table("Test accuracy of 10 networks of each shape, in %", columns, formats, rows))
    show(draw_board(on_board, board(), "tanh"))

# %% [markdown]
r"""
On the moons, depth brings nothing: one layer is enough. On the board a second layer is worth more
than two points, at about the same number of parameters: its borders follow the sides of the squares
more closely. A third layer adds nothing that stands out of the spread. That is what these two tasks
say at this size; how much depth pays is a question to each task.

## The same, with an optimizer

The line that changes the weights in `descend` is an optimizer with a name, `GradientDescent`.
"""


# %%
def descend_with(
    optimizer: keras.optimizers.Optimizer,
    start: list[np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    activation: str,
    steps: int,
) -> np.ndarray:
    """The loss before each of `steps` steps of `optimizer`: (steps, networks)."""
    weights = [tf.Variable(w) for w in start]
    optimizer.build(weights)

    @tf.function
    def loop() -> tf.Tensor:
        losses = tf.TensorArray(tf.float32, steps)
        for number in tf.range(steps):
            with tf.GradientTape() as tape:
                loss = loss_function(weights, x, y, activation)
            losses = losses.write(number, loss)
            optimizer.apply(tape.gradient(loss, weights), weights)
        return losses.stack()

    return loop().numpy()


# %% [markdown]
r"""
Keras has a class for the layer, too. `Dense` holds `W` and `b`, `Sequential` is the function
`network`, and `fit` is the loop. An epoch is one pass over all examples: here, one step.
"""


# %%
def keras_model(weights: list[np.ndarray], activation: str) -> keras.Sequential:
    """The first of the networks as a Keras model with the same weights."""
    units = [w.shape[-1] for w in weights[::2]]
    hidden = [keras.layers.Dense(n, activation=activation) for n in units[:-1]]
    model = keras.Sequential([keras.Input((2,)), *hidden, keras.layers.Dense(1)])
    model.set_weights(
        [w[0] if number % 2 == 0 else w[0, 0] for number, w in enumerate(map(np.asarray, weights))]
    )
    return model


def fit(
    model: keras.Sequential, x: np.ndarray, y: np.ndarray, learning_rate: float, steps: int
) -> np.ndarray:
    """The loss before each step of Keras's own loop: (steps,)."""
    model.compile(
        optimizer=keras.optimizers.SGD(learning_rate),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=False,
    )
    history = model.fit(x, y, batch_size=len(x), epochs=steps, shuffle=False, verbose=0)
    return np.array(history.history["loss"])


# %%
if __name__ == "__main__":
    data = moons()
    examples = data.x_train, data.y_train
    begin = start_weights((2, 8, 1), networks=1, seed=0)
    taped = train((8,), *examples, networks=1, steps=50)[1]
    tellings = {
        "GradientTape": taped[:, 0],
        "custom_optimizers.GradientDescent": descend_with(
            GradientDescent(0.5), begin, *examples, "tanh", steps=50
        )[:, 0],
        "Keras model.fit with SGD": fit(keras_model(begin, "tanh"), *examples, 0.5, steps=50),
    }
    curves = [(name, *curve[[0, 9, 49]]) for name, curve in tellings.items()]
    title = "Two moons, 8 hidden units, one start: the loss before"
    heads = ("program", "step 1", "step 10", "step 50")
    show(Table(title, heads, ("", ".6f", ".6f", ".6f"), curves))

# %% [markdown]
r"""
## Try it

1. Call `widths_table((2, 3, 4, 8), "relu")`. Expect fewer networks to learn XOR at each width. A
   ReLU unit says 0 on a whole side of its line; if all four cases lie there, nothing changes when
   its weights change a little, and it never learns again.
2. Put `moons(noise=0.4)` into the picture of the moons. Expect the hidden layer's lead over the
   line to shrink from more than ten points to less than five: the moons now overlap, and no border,
   however bent, separates points that lie on top of each other.
3. Write `np.zeros((inputs, units))` for the random draw in `start_weights`, and learn XOR again.
   Expect no network of any width to learn it, and every loss to stay at 0.693: units that start
   alike change alike. The random start is what makes them different.
"""


# %% tags=["module-only"]
@dataclass(frozen=True)
class NeuralNetworkResult:
    """What `run` found."""

    activation: str
    steps: int
    parameters: dict[str, int]
    """Weights and biases of each model."""
    accuracy: dict[str, dict[str, np.ndarray]]
    """By task and model, the share of right answers of each network, (seeds,)."""
    loss: dict[str, dict[str, np.ndarray]]
    """By task and model, the loss that each network ends at, (seeds,)."""
    weights: dict[str, list[np.ndarray]]
    """By model, the network with the median accuracy on the moons."""
    moons: _data.Split
    """The points of the two moons."""

    def table(self) -> Table:
        """Each model on each task: the spread of its accuracy over the networks."""
        rows = [
            (
                task,
                model,
                self.parameters[model],
                *100 * np.quantile(scores, (0, 0.5, 1)),
                np.median(self.loss[task][model]),
            )
            for task, models in self.accuracy.items()
            for model, scores in models.items()
        ]
        count = len(self.accuracy["XOR"]["a line"])
        return Table(
            f"Accuracy in %: {count} networks a row, {self.activation}, {self.steps} steps\n"
            "Moons and board: 2,000 new points; XOR: its four cases",
            ("task", "model", "parameters", "lowest", "median", "highest", "median loss"),
            ("", "", "d", ".1f", ".1f", ".1f", ".3f"),
            rows,
        )

    def figure(self) -> _plots.Picture:
        """The line and the network on the moons, and what the hidden units say."""
        line, hidden = ([tf.constant(w) for w in weights] for weights in self.weights.values())
        return draw_moons(line, hidden, self.moons, self.activation)


QUICK: dict = {"seeds": 5}


def run(
    *,
    units: int = 8,
    layers: int = 1,
    activation: Literal["tanh", "relu", "sigmoid"] = "tanh",
    learning_rate: float = 0.5,
    steps: int = 3000,
    noise: float = 0.15,
    seeds: int = 20,
    seed: int = 0,
) -> NeuralNetworkResult:
    """Trains a line and a network with hidden layers on XOR, two moons and a chequered board.

    Args:
        units: Units of each hidden layer.
        layers: How many hidden layers the network has.
        activation: What each hidden unit does with its sum.
        learning_rate: The share of the slope taken as a step.
        steps: How many steps to train.
        noise: Standard deviation of the moons' noise; their radius is 1.
        seeds: How many networks of each kind to train, each from its own start.
        seed: Seeds the points and the starts.

    Raises:
        OptionError: for an option out of its range.
        FloatingPointError: where a loss overflows; names the step.
    """
    for name, value in (("units", units), ("layers", layers), ("steps", steps), ("seeds", seeds)):
        _options.at_least(name, value, 1)
    _options.at_least("seed", seed, 0)
    _options.in_interval("seed", seed, "[0, 4294967296)")  # what scikit-learn takes
    if activation not in ACTIVATIONS:
        raise _options.OptionError(
            f"`activation` must be one of {', '.join(ACTIVATIONS)}. Received: {activation!r}"
        )
    learning_rate = _options.in_interval("learning_rate", learning_rate, "[0, inf)")
    noise = _options.in_interval("noise", noise, "[0, inf)")

    x, y = _data.xor()
    two_moons = moons(noise, seed)
    tasks = {"XOR": _data.Split(x, y, x, y), "two moons": two_moons, "board": board(seed)}
    models: dict[str, tuple[int, ...]] = {
        name_of(hidden): hidden for hidden in ((), (units,) * layers)
    }
    result = NeuralNetworkResult(
        activation=activation,
        steps=steps,
        parameters={},
        accuracy={task: {} for task in tasks},
        loss={task: {} for task in tasks},
        weights={},
        moons=two_moons,
    )
    runs = [(task, model) for task in tasks for model in models]
    for task, model in track(runs, "Training"):
        data = tasks[task]
        weights, losses = train(
            models[model],
            data.x_train,
            data.y_train,
            activation=activation,
            learning_rate=learning_rate,
            steps=steps,
            networks=seeds,
            seed=seed,
        )
        scores = accuracy(weights, data.x_test, data.y_test, activation)
        result.parameters[model] = parameters(weights)
        result.accuracy[task][model] = scores
        result.loss[task][model] = losses[-1].astype("float64")
        if data is two_moons:
            result.weights[model] = [w.numpy() for w in middle(weights, scores)]
    return result
