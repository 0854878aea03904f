# %% [markdown]
r"""
# Backpropagation

**A network has many parameters and one loss: how does a program find, in a single walk backwards,
what each of them has to do with it?**

Paragraphs 3.2 and 4.2 of the article · 45 minutes · know before: gradient descent, the product of
two matrices; for one part, which can be skipped, the eigenvectors of a symmetric matrix.
"""

# %%
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from custom_optimizers import GradientDescent
from tf_examples import _options, _plots
from tf_examples._report import Table, show

# %% [markdown]
r"""
## A walk back through a graph

A computation is a graph: each value is made from a few others by one plain operation. Here are a
weight $w$ and a bias $b$, used for two inputs $x_1$ and $x_2$, and the loss that comes of it:

$$z_i = w x_i + b, \qquad s_i = (z_i - y_i)^2, \qquad J = \tfrac12 (s_1 + s_2).$$

*Forward*, the values are computed from left to right and kept. *Backward*, starting with
$\partial J / \partial J = 1$, each value's gradient comes from those to its right: times the
derivative of the one operation between them, added up where several arrows leave. That is the
chain rule, and backpropagation is the order in which to apply it: each arrow is walked once, for
all parameters together.
"""


# %%
def walk(w: float, b: float, x: np.ndarray, y: np.ndarray) -> tuple[dict, dict]:
    """The values of the graph and the gradient of J at each of them, by name; x and y are (2,)."""
    z = w * x + b
    s = (z - y) ** 2
    J = (s[0] + s[1]) / 2

    ds = np.array([1 / 2, 1 / 2])
    dz = ds * 2 * (z - y)
    dw = dz[0] * x[0] + dz[1] * x[1]
    db = dz[0] + dz[1]

    names = ("w", "b", "z1", "z2", "s1", "s2", "J")
    return (
        dict(zip(names, (w, b, *z, *s, J), strict=True)),
        dict(zip(names, (dw, db, *dz, *ds, 1.0), strict=True)),
    )


@_plots.drawing
def draw_graph(w: float, b: float, x: np.ndarray, y: np.ndarray) -> _plots.Picture:
    """The graph of `walk`: values, gradients, and the derivative that belongs to each arrow."""
    values, gradients = walk(w, b, x, y)
    paths = [gradients[f"z{i + 1}"] * x[i] for i in (0, 1)]
    figure, axes = _plots.picture(
        f"The gradient of w is {gradients['w']:g}: its two paths to the loss, "
        f"{paths[0]:g} and {paths[1]:g}, add up",
        "A graph from left to right: w and b each lead to z1 and z2, these to s1 and s2, which "
        "meet in the loss J. Each node shows its value and the gradient of J there: "
        + "; ".join(f"{name} {values[name]:g}, gradient {gradients[name]:g}" for name in values),
        size=(7, 3.6),
    )
    places = {"w": (0, 1), "b": (0, 0), "J": (3, 0.5)}
    places |= {f"{name}{i}": (at, 2 - i) for at, name in ((1, "z"), (2, "s")) for i in (1, 2)}
    slopes = {("w", "z1"): x[0], ("w", "z2"): x[1], ("b", "z1"): 1.0, ("b", "z2"): 1.0}
    slopes |= {(f"z{i}", f"s{i}"): 2 * (values[f"z{i}"] - y[i - 1]) for i in (1, 2)}
    slopes |= {("s1", "J"): 0.5, ("s2", "J"): 0.5}
    for (start, end), slope in slopes.items():
        (x0, y0), (x1, y1) = places[start], places[end]
        along = 0.36 if y0 != y1 and start in "wb" else 0.5
        axes.annotate(
            "",
            (x1, y1),
            (x0, y0),
            arrowprops={"arrowstyle": "->", "color": _plots.GREY, "shrinkA": 34, "shrinkB": 34},
        )
        axes.text(
            x0 + along * (x1 - x0),
            y0 + along * (y1 - y0),
            f"{slope:g}",
            ha="center",
            va="center",
            color=_plots.GREY,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )
    for name, (left, up) in places.items():
        axes.plot(left, up, "o", markersize=58, color="white", markeredgecolor=_plots.BLACK)
        label = name if len(name) == 1 else f"{name[0]}_{name[1]}"
        axes.text(left, up + 0.14, f"${label}$", ha="center", va="center", fontweight="bold")
        axes.text(left, up, f"{values[name]:g}", ha="center", va="center", color=_plots.BLUE)
        gradient = f"{gradients[name]:g}"
        axes.text(left, up - 0.14, gradient, ha="center", va="center", color=_plots.VERMILLION)
    legend = (
        (-0.22, "value, forward", _plots.BLUE),
        (0.78, "gradient of J, backward", _plots.VERMILLION),
        (2.2, "derivative of the arrow", _plots.GREY),
    )
    for start_of_text, text, color in legend:
        axes.text(start_of_text, -0.42, text, color=color)
    axes.set(xlim=(-0.3, 3.3), ylim=(-0.5, 1.3))
    axes.set_axis_off()
    return figure


# %%
if __name__ == "__main__":
    show(draw_graph(2.0, 1.0, np.array([1.0, -1.0]), np.array([2.0, 2.0])))

# %% [markdown]
r"""
In each circle, from the top: the name, the value (blue, computed from left to right), the gradient
of $J$ there (red, computed from right to left). Grey is the derivative of one operation. Follow
the arrows back from $J$ and multiply.

The article's formula needs a word on what is summed:

$$\frac{\partial J}{\partial \theta} =
\sum_i \frac{\partial J}{\partial z_i} \frac{\partial z_i}{\partial \theta}$$

The $z_i$ are the values made from $\theta$ *directly*, here $z_1$ and $z_2$, and
$\partial z_i / \partial \theta$ is the derivative of that one operation. Summed over all nodes, as
the text has it, each path would be counted once for every node on it: with $s$ beside $z$, twice.
And the recipe's third step, updating the parameters, is no part of backpropagation: that computes
gradients, and what an optimizer does with them is another matter.
"""

# %%
if __name__ == "__main__":
    w, b = tf.constant(2.0), tf.constant(1.0)
    with tf.GradientTape() as tape:
        tape.watch([w, b])
        z = w * tf.constant([1.0, -1.0]) + b
        s = tf.square(z - 2)
        J = tf.reduce_mean(s)
    dw, db, dz, ds = tape.gradient(J, [w, b, z, s])
    print(f"GradientTape: w {dw:.1f}, b {db:.1f}, z {dz}, s {ds}")
    print(f"summed over z, w has {dz[0] * 1 + dz[1] * -1:.1f}")
    by_s = ds * 2 * (z - 2) * tf.constant([1.0, -1.0])
    print(f"summed over z and s, it would have {dz[0] * 1 + dz[1] * -1 + sum(by_s):.1f}: wrong")

# %% [markdown]
r"""
## A layer by hand

The article's model is one layer with two inputs and three outputs, its loss the mean over all nine
numbers of three examples:

$$z = xW + b, \qquad J = \tfrac19 \sum_{i,k} (z_{ik} - y_{ik})^2.$$

The walk back is the same, with matrices. Each weight is used in all examples, so its paths add up:
the sum of the chain rule has become a matrix product. With $dz$ for $\partial J / \partial z$, and
so on:

$$dz = \tfrac29 (z - y), \qquad dW = x^\top dz, \qquad db = \sum_i dz_i$$
"""

# %%
INPUTS = np.array([[1, 1], [-1, 1], [1, -1]], "float32")
TARGETS = np.array([[2, 3, 4]] * 3, "float32")


def layer_gradients(
    W: np.ndarray, b: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The gradients of the mean square error, by the chain rule: shaped like W and b."""
    z = x @ W + b
    dz = 2 * (z - y) / z.size
    return x.T @ dz, dz.sum(axis=0)


def finite_differences(
    loss: Callable[[], float], parameters: Sequence[np.ndarray], width: float = 1e-5
) -> list[np.ndarray]:
    """The gradients of `loss()` by trying: each number is moved up and down by `width`."""
    gradients = []
    for parameter in parameters:
        gradient = np.empty_like(parameter)
        for at in np.ndindex(parameter.shape):
            here = parameter[at]
            parameter[at] = here + width
            above = loss()
            parameter[at] = here - width
            gradient[at] = (above - loss()) / (2 * width)
            parameter[at] = here
        gradients.append(gradient)
    return gradients


def loss_function(W: tf.Tensor, b: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The mean square error of the layer, a scalar; x is (examples, 2), y (examples, 3)."""
    return tf.reduce_mean(tf.square(x @ W + b - y))


def start_values(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The article's starting point, W and then b drawn from N(0, 1): float32, (2, 3) and (3,)."""
    generator = np.random.default_rng(seed)
    W, b = generator.normal(size=(2, 3)), generator.normal(size=3)
    return W.astype("float32"), b.astype("float32")


def three_gradients(seed: int) -> dict[str, list[np.ndarray]]:
    """The layer's gradients at its start in float64, by hand, by the tape and by trying."""
    W, b, x, y = (array.astype("float64") for array in (*start_values(seed), INPUTS, TARGETS))
    W_variable, b_variable = tf.Variable(W), tf.Variable(b)
    with tf.GradientTape() as tape:
        loss = loss_function(W_variable, b_variable, x, y)
    by_tape = tape.gradient(loss, [W_variable, b_variable])
    return {
        "by hand": list(layer_gradients(W, b, x, y)),
        "GradientTape": [gradient.numpy() for gradient in by_tape],
        "differences": finite_differences(lambda: np.mean((x @ W + b - y) ** 2), [W, b]),
    }


PARAMETERS = [f"W[{i}, {j}]" for i in range(2) for j in range(3)] + ["b[0]", "b[1]", "b[2]"]


# %%
if __name__ == "__main__":
    hand, by_tape, tried = (np.vstack(pair).ravel() for pair in three_gradients(seed=0).values())
    off = abs(by_tape / hand - 1), abs(tried / hand - 1)
    rows = list(zip(PARAMETERS, hand, by_tape, off[0], tried, off[1], strict=True))
    show(
        Table(
            "Nine gradients, three ways, and their relative errors",
            ("gradient", "by hand", "GradientTape", "off by", "differences", "off by"),
            ("", ".6f", ".6f", ".0e", ".6f", ".0e"),
            rows,
        )
    )

# %% [markdown]
r"""
The hand and the tape differ by rounding alone. Differences come close, and cost two losses for
each parameter: they check a gradient, they don't train a network.

## The article's program

Three inputs, the target $(2, 3, 4)$ for each of them, a learning rate of 0.01, a thousand steps,
in one compiled loop.
"""


# %%
@tf.function
def descend(
    W: tf.Variable, b: tf.Variable, x: tf.Tensor, y: tf.Tensor, learning_rate: float, steps: int
) -> tf.Tensor:
    """Moves `W` and `b`; returns where they were, b below W: (steps + 1, 3, 3)."""
    path = tf.TensorArray(W.dtype, steps + 1).write(0, tf.concat([W, [b]], 0))
    for step in tf.range(steps):
        with tf.GradientTape() as tape:
            loss = loss_function(W, b, x, y)
        W_gradient, b_gradient = tape.gradient(loss, [W, b])
        W.assign_sub(learning_rate * W_gradient)
        b.assign_sub(learning_rate * b_gradient)
        path = path.write(step + 1, tf.concat([W, [b]], 0))
    return path.stack()


def run_program(seed: int, y: np.ndarray, learning_rate: float, steps: int) -> np.ndarray:
    """The path of `descend` from the start of `seed` towards targets `y`: (steps + 1, 3, 3)."""
    W, b = map(tf.Variable, start_values(seed))
    # As tensors, numbers are arguments; as Python numbers, each would be traced anew.
    rate, count = tf.constant(learning_rate), tf.constant(steps)
    return descend(W, b, tf.constant(INPUTS), tf.constant(y), rate, count).numpy()


def losses(path: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The loss at each step of a path, in its precision: (steps + 1,)."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.mean((INPUTS @ path[:, :2] + path[:, 2:] - y) ** 2, axis=(1, 2))


# %%
if __name__ == "__main__":
    path = run_program(0, TARGETS, learning_rate=0.01, steps=1000)
    loss = losses(path, TARGETS)
    print(f"loss {loss[0]:.4f} at the start, {loss[-1]:.4f} after 1,000 steps")
    print(f"W\n{path[-1, :2]}\nb\n{path[-1, 2]}")

# %% [markdown]
r"""
What became of each part of the listing:

| TensorFlow 1, in the article | now |
|---|---|
| `tf.random_normal([2, 3])` | a generator with a seed: two runs start alike |
| `tf.placeholder(tf.float32, shape=[None, 2])` | an argument of a function |
| `tf.matmul(x, W) + b` | `x @ W + b` |
| `tf.gradients(loss, [W, b])` | `tf.GradientTape`, which records the loss as it is computed |
| `optimizer.apply_gradients(...)` | `assign_sub` for each variable, then `optimizer.apply(...)` |
| `tf.global_variables_initializer()` | nothing: a variable has its value once it is made |
| `tf.Session()`, and `sess.run(...)` a thousand times | one `tf.function` that holds the loop |
| `print(sess.run([W, b]))` | arrays that Python can print |

Two things were wrong in the listing. A bracket is missing after the targets, so it is no Python.
And it feeds one row of targets to three rows of inputs: TensorFlow lets the row stand for each of
the three, and so it is read here. The targets then don't depend on the inputs, and the best layer
ignores them: $W = 0$, $b = (2, 3, 4)$. After a thousand steps the program is not there.

## Why it stops short

Each output $k$ has three parameters, $\theta_k = (W_{1k}, W_{2k}, b_k)$. With $A$ for the inputs
and a column of ones beside them, the loss is a quadratic, and one matrix of curvatures serves all
three outputs:

$$J = \tfrac19 \sum_k \lVert A\theta_k - y_k \rVert^2, \qquad H = \tfrac29 A^\top A.$$

Along an eigenvector of $H$ with the curvature $\lambda$, a *mode*, the layer is the article's first
program again: every step multiplies the distance to the minimum by $1 - \alpha\lambda$. So the
formula knows the end here too, mode by mode.
"""


# %%
def modes() -> tuple[np.ndarray, np.ndarray]:
    """The curvatures of the loss, smallest first, (3,), and their directions, columns of (3, 3)."""
    A = np.column_stack([INPUTS, np.ones(len(INPUTS))])
    return np.linalg.eigh(2 / TARGETS.size * A.T @ A)


def minimum(y: np.ndarray) -> np.ndarray:
    """The parameters at which the loss is least, b below W: (3, 3)."""
    A = np.column_stack([INPUTS, np.ones(len(INPUTS))])
    return np.linalg.solve(A, y)


def predicted_shares(learning_rate: float, steps: int) -> np.ndarray:
    """What each mode has left of its distance at each step, by the formula: (steps + 1, 3)."""
    return (1 - learning_rate * modes()[0]) ** np.arange(steps + 1)[:, None]


def measured_shares(path: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The same, measured along each direction, the outputs taken together: (steps + 1, 3)."""
    distances = np.linalg.norm(modes()[1].T @ (path - minimum(y)), axis=2)
    return distances / distances[0]


def closed_form(start: np.ndarray, y: np.ndarray, learning_rate: float, steps: int) -> np.ndarray:
    """Where `descend` ends, by the formula, from (W, b) stacked: float64, (3, 3)."""
    directions = modes()[1]
    share = (1 - learning_rate * modes()[0]) ** steps
    return minimum(y) + directions @ (share[:, None] * (directions.T @ (start - minimum(y))))


# %%
if __name__ == "__main__":
    curvatures, directions = modes()
    ends = abs(predicted_shares(0.01, 1000)[-1]), measured_shares(path, TARGETS)[-1]
    enough = np.ceil(np.log(0.01) / np.log(1 - 0.01 * curvatures))
    show(
        Table(
            "Left after 1,000 steps, in each of three modes",
            ("curvature", "share predicted", "share measured", "steps until 1% is left"),
            (".4f", ".6f", ".6f", ".0f"),
            list(zip(curvatures, *ends, enough, strict=True)),
        )
    )
    print("direction of the slowest (w1, w2, b):", directions[:, 0] / directions[0, 0])


# %%
@_plots.drawing
def draw_modes(path: np.ndarray, learning_rate: float) -> _plots.Picture:
    """What is left of each mode along a path, beside the formula; and the parameters."""
    steps = np.arange(len(path))
    predicted = np.abs(predicted_shares(learning_rate, steps[-1]))
    measured = measured_shares(path, TARGETS)
    short = np.abs(path[-1] - minimum(TARGETS))
    slowest = int(np.argmax(predicted[-1]))
    left_over = ", ".join(
        f"{share:.3g} at curvature {curvature:.3f}"
        for share, curvature in zip(measured[-1], modes()[0], strict=True)
    )
    figure, (left, right) = _plots.picture(
        f"After {steps[-1]:,} steps the slowest mode has {measured[-1, slowest]:.1%} "
        "of its way to go",
        "Left: the share of the distance left in each of three modes at each step, on a "
        "logarithmic scale: straight lines that fall to "
        f"{left_over}; measured and predicted lie on each other, the last two modes too. Right: "
        "the nine parameters at each step: the six weights go towards 0 and come within "
        f"{short[:2].max():.2g}, the biases towards 2, 3 and 4 and come within "
        f"{short[2].max():.2g}.",
        columns=2,
    )
    for mode, color in ((0, _plots.BLUE), (2, _plots.GREEN)):
        name = f"$\\lambda$ = {modes()[0][mode]:.2f}" + (", twice" if mode else "")
        shares = np.where(measured[:, mode] > 0, measured[:, mode], np.nan)
        left.plot(steps, shares, color=color, linewidth=5, alpha=0.5, label=name)
        shares = np.where(predicted[:, mode] > 0, predicted[:, mode], np.nan)
        label = "predicted" if mode else None
        left.plot(steps, shares, color=_plots.BLACK, linestyle="--", linewidth=1.2, label=label)
    left.set(yscale="log", xlabel="step", ylabel="share of the distance left")
    left.legend()
    weights = right.plot(steps, path[:, :2].reshape(-1, 6), color=_plots.BLUE, linewidth=1.5)
    weights[0].set_label("W")
    for output in range(3):
        label = f"$b_{output + 1}$"
        right.plot(steps, path[:, 2, output], "--", color=_plots.VERMILLION, label=label)
    for value in (0, 2, 3, 4):
        right.axhline(value, color=_plots.GREY, linewidth=1, linestyle=":")
    right.set(xlabel="step", ylabel="parameter")
    _plots.label_ends(right)
    return figure


# %%
if __name__ == "__main__":
    show(draw_modes(path, 0.01))

# %% [markdown]
r"""
Left, the dashed prediction lies on what was measured. The slow mode is a direction in which both
weights go up and the bias goes down: the outputs change least there, so the loss is flattest.
What it has left can be read off the parameters printed above: in each column both weights are
nearly the same amount too high, and the bias is that amount too low.

## A task in which the inputs matter

Targets made by a known layer have something for $W$ to learn. The inputs are the same, and with
them the modes: the program is as slow as before, and ten times the steps finish the work.
"""

# %%
KNOWN = np.array([[1, -2, 0.5], [3, 0, -1], [2, 3, 4]], "float32")
"""The layer to be found, b below W."""
KNOWN_TARGETS = INPUTS @ KNOWN[:2] + KNOWN[2]

# %%
if __name__ == "__main__":
    found = run_program(0, KNOWN_TARGETS, learning_rate=0.01, steps=10000)
    show(
        Table(
            "A known layer is found again",
            ("parameter", "known", "start", "after 1,000 steps", "after 10,000 steps"),
            ("", ".4f", ".4f", ".4f", ".4f"),
            list(zip(PARAMETERS, KNOWN.flat, *found[[0, 1000, -1]].reshape(3, 9), strict=True)),
        )
    )
    left = measured_shares(found, KNOWN_TARGETS)[[1000, -1], 0]
    print(f"left in the slowest mode: {left[0]:.1%} after 1,000 steps, {left[1]:.0e} after 10,000")
    print(f"predicted for 10,000: {predicted_shares(0.01, 10000)[-1, 0]:.0e}")

# %% [markdown]
r"""
At last the program stands still above the prediction: the steps have become smaller than half of
the last digit that `float32` keeps of a parameter, and are rounded away.

## The same, with an optimizer

The optimizer takes the gradients that backpropagation found; which rule it follows is no concern of
the tape's.
"""


# %%
def descend_with(
    optimizer: keras.optimizers.Optimizer, seed: int, y: np.ndarray, steps: int
) -> np.ndarray:
    """The last parameters of the program with an optimizer, b below W: (3, 3)."""
    W, b = map(tf.Variable, start_values(seed))
    optimizer.build([W, b])

    @tf.function
    def loop() -> None:
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                loss = loss_function(W, b, INPUTS, y)
            optimizer.apply(tape.gradient(loss, [W, b]), [W, b])

    loop()
    return np.vstack([W, b])


# %% [markdown]
r"""
In Keras the layer is a `Dense(3)`, the loss "mse", and a step is a batch of the three examples.
"""


# %%
def fit(seed: int, y: np.ndarray, learning_rate: float, steps: int) -> np.ndarray:
    """The last parameters of the program as a Keras model, b below W: (3, 3)."""
    layer = keras.layers.Dense(3)
    model = keras.Sequential([keras.Input((2,)), layer])
    layer.set_weights(start_values(seed))
    model.compile(
        optimizer=keras.optimizers.SGD(learning_rate),
        loss="mse",
        jit_compile=False,
        steps_per_execution=min(steps, 100),
    )
    x, y = np.tile(INPUTS, (steps, 1)), np.tile(y, (steps, 1))
    model.fit(x, y, batch_size=len(INPUTS), epochs=1, shuffle=False, verbose=0)
    return np.vstack(layer.get_weights())


# %%
if __name__ == "__main__":
    for name, end in (
        ("GradientTape", path[-1]),
        (
            "custom_optimizers.GradientDescent",
            descend_with(GradientDescent(0.01), 0, TARGETS, 1000),
        ),
        ("Keras model.fit with SGD", fit(0, TARGETS, 0.01, 1000)),
    ):
        print(f"{name:34} b {end[2]}, farthest from the first: {abs(end - path[-1]).max()}")

# %% [markdown]
r"""
Three ways to write it, nine numbers: to the last bit.

## A deep network by hand

More layers add one thing: an activation $f$ between them. Forward, each layer keeps its input $a$
and its $z = aW + b$. Backward, a layer hands on to the one before it what its input has to do with
the loss:

$$dW = a^\top dz, \qquad db = \sum_i dz_i, \qquad
dz_{\text{before}} = (dz \, W^\top) \odot f'(z_{\text{before}})$$

This is why training needs more memory than prediction: all that the way back needs must be kept.
"""


# %%
def sigmoid(z: np.ndarray) -> np.ndarray:
    """A step from 0 to 1, smoothed."""
    return 1 / (1 + np.exp(-z))


Activation = Literal["relu", "tanh", "sigmoid", "linear"]
ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
    "linear": (lambda z: z, np.ones_like),
}
"""Each activation and its derivative."""

Layers = list[tuple[np.ndarray, np.ndarray]]


def forward(x: np.ndarray, layers: Layers, activation: str) -> tuple[np.ndarray, list]:
    """The output of a network without activation at its end, and each layer's (a, z)."""
    kept = []
    a = x
    for W, b in layers:
        z = a @ W + b
        kept.append((a, z))
        a = ACTIVATIONS[activation][0](z)
    return z, kept


def backward(dz: np.ndarray, layers: Layers, kept: list, activation: str) -> list[np.ndarray]:
    """The gradients of all W and b in order, from that of the output."""
    gradients: list[np.ndarray] = []
    for number in reversed(range(len(layers))):
        a, _ = kept[number]
        gradients = [a.T @ dz, dz.sum(axis=0), *gradients]
        if number > 0:
            z_before = kept[number - 1][1]
            dz = (dz @ layers[number][0].T) * ACTIVATIONS[activation][1](z_before)
    return gradients


# %% [markdown]
r"""
Keras gets the same weights, and its gradients come from the tape.
"""


# %%
def random_layers(widths: Sequence[int], seed: int) -> Layers:
    """Weights that keep the size of what passes through, and small biases: float64."""
    generator = np.random.default_rng(seed)
    return [
        (generator.normal(size=(m, n)) / math.sqrt(m), generator.normal(size=n) / 10)
        for m, n in itertools.pairwise(widths)
    ]


def keras_network(layers: Layers, activation: str) -> keras.Model:
    """The network of `forward` in Keras, in float64."""
    *hidden, last = [W.shape[1] for W, _ in layers]
    model = keras.Sequential([keras.Input((len(layers[0][0]),), dtype="float64")])
    for width in hidden:
        model.add(keras.layers.Dense(width, activation, dtype="float64"))
    model.add(keras.layers.Dense(last, dtype="float64"))
    model.set_weights([array for layer in layers for array in layer])
    return model


def tape_gradients(model: keras.Model, x: tf.Tensor, y: tf.Tensor) -> list[tf.Tensor]:
    """The gradients of the mean square error at the model's weights, in their order."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x) - y))
    return tape.gradient(loss, model.trainable_variables)


def relative_error(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    """How far `ours` are from `theirs`, all numbers taken together as one vector."""
    a, b = (np.concatenate([np.ravel(array) for array in each]) for each in (ours, theirs))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


WIDTHS = [784, 128, 10]
TOLERANCE = 1e-12
"""Of gradients in float64: sums of thousands of products, each rounded at 1e-16."""


def network_error(widths: Sequence[int], activation: str, seed: int, examples: int = 32) -> float:
    """How far the gradients of a deep network by hand are from the tape's, relatively."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(examples, widths[0]))
    y = generator.normal(size=(examples, widths[-1]))
    layers = random_layers(widths, seed)
    output, kept = forward(x, layers, activation)
    ours = backward(2 * (output - y) / y.size, layers, kept, activation)
    return relative_error(ours, tape_gradients(keras_network(layers, activation), x, y))


# %%
if __name__ == "__main__":
    errors = [
        (name, network_error(WIDTHS, name, 0), network_error([8, 32, 32, 32, 4], name, 0))
        for name in ACTIVATIONS
    ]
    show(
        Table(
            f"Relative error of all gradients by hand, against the tape; {TOLERANCE:g} is allowed",
            ("activation", "784-128-10", "8-32-32-32-4"),
            ("", ".0e", ".0e"),
            errors,
        )
    )

# %% [markdown]
r"""
## What the way back costs

Almost all the work is in products of matrices. Forward, a layer from $m$ to $n$ numbers takes one,
$aW$: for each example $m n$ multiplications with an addition each, two floating-point operations
(FLOPs). Backward it takes two of the same size, $a^\top dz$ and $dz\,W^\top$. Only the first layer
takes one: nobody asks for the gradient of the data.
"""


# %%
def product_flops(widths: Sequence[int], examples: int) -> tuple[int, int]:
    """Forward and backward FLOPs of the matrix products; a multiply-add is two."""
    each = [2 * examples * m * n for m, n in itertools.pairwise(widths)]
    return sum(each), 2 * sum(each) - each[0]


def counted_flops(model: keras.Model, examples: int, only: str = ".*") -> tuple[int, int]:
    """Forward and backward FLOPs that TensorFlow counts in its own graphs of a model.

    Args:
        only: counts the operations whose names match this pattern.
    """
    x = tf.TensorSpec((examples, *model.input_shape[1:]), tf.float64)
    y = tf.TensorSpec((examples, *model.output_shape[1:]), tf.float64)
    forward_graph = tf.function(lambda x: model(x)).get_concrete_function(x).graph
    both = tf.function(lambda x, y: tape_gradients(model, x, y)).get_concrete_function(x, y).graph
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_node_names(show_name_regexes=[only])
    logger, level = tf.get_logger(), tf.get_logger().level
    logger.setLevel("ERROR")  # the profiler calls a deprecated function of its own
    try:
        counts = [
            tf.compat.v1.profiler.profile(graph, options=options.with_empty_output().build())
            for graph in (forward_graph, both)
        ]
    finally:
        logger.setLevel(level)
    forward_count, both_count = (count.total_float_ops for count in counts)
    return forward_count, both_count - forward_count


PRODUCTS = ".*[Mm]at[Mm]ul.*"


# %%
if __name__ == "__main__":
    costs = []
    for widths in (WIDTHS, [128] * 9):
        model = keras_network(random_layers(widths, 0), "relu")
        formula, products = product_flops(widths, 32), counted_flops(model, 32, PRODUCTS)
        everything = counted_flops(model, 32)
        name = "-".join(map(str, widths)) if len(widths) < 5 else "8 layers of 128"
        for way, *counts in zip(("forward", "back"), formula, products, everything, strict=True):
            costs.append((f"{name}, {way}", *counts))
        ratio, more = formula[1] / formula[0], sum(everything) / sum(formula) - 1
        print(f"{name}: back / forward {ratio:.3f}; all operations {more:.2%} above the products")
    show(
        Table(
            "FLOPs of one step, forward and back",
            ("32 examples", "by formula", "products counted", "all counted"),
            ("", ",", ",", ","),
            costs,
        )
    )

# %% [markdown]
r"""
TensorFlow's count of the products is the formula's, to the last one; all else is a trifle. With
nearly all its weights in the first layer, the small network goes back for as much as it went
forward. The deeper the network, the closer the ratio comes to 2: a step of training is then three
times the work of a prediction, whatever the number of parameters. To try each parameter, as
differences do, takes two predictions for every one of them.

## Try it

1. Set the learning rate to 1.8 and take 40 steps. Expect the program to arrive: at
   $2 / (\lambda_{\min} + \lambda_{\max})$ the slowest and the fastest mode shrink alike, each step
   leaves 0.6 of them. At 2.3 expect the fast modes to grow: the limit is
   $2 / \lambda_{\max} = 2.25$.
2. Add 3 to all `INPUTS`. Expect the slowest mode to keep 88% after a thousand steps, and the limit
   of the learning rate to fall to 0.13: the inputs now point almost the same way as the column of
   ones. This is why inputs are centred before training.
3. In `backward`, leave out the factor `ACTIVATIONS[activation][1](z_before)`. Expect the error of
   "linear" to stay as it is, and all others to rise above what is allowed: only the derivative of
   "linear" is 1 everywhere.
"""


# %% tags=["module-only"]
@dataclass(frozen=True)
class BackpropagationResult:
    """What `run` found; parameters are (3, 3), W's two rows above b, in float64."""

    learning_rate: float
    limit: float
    """The learning rate above which the program diverges."""
    path: np.ndarray
    """The bare tape loop at each step, (steps + 1, 3, 3)."""
    formula: np.ndarray
    """Where it ends, by the modes."""
    loss: tuple[float, float]
    """At the end, by the formula and measured."""
    curvatures: np.ndarray
    """The curvature of the loss in each mode, smallest first: (3,)."""
    shares: tuple[np.ndarray, np.ndarray]
    """What each mode has left of its distance, predicted and measured: (3,) each."""
    last: dict[str, np.ndarray]
    """The last parameters with an optimizer, and as a Keras model."""
    widths: list[int]
    activation: str
    gradient_errors: dict[str, tuple[float, float]]
    """Gradients by hand beside another way: the relative error, and what is allowed."""
    flops: dict[str, tuple[int, int]]
    """Forward and backward, of the matrix products in the network of `widths`."""

    def table(self) -> Table:
        """The program's end beside the formula, and the checks of the gradients."""
        steps, end = len(self.path) - 1, self.path[-1]
        predicted = [self.loss[0], *self.shares[0], *self.formula.ravel()]
        measured = [self.loss[1], *self.shares[1], *end.ravel()]
        names = ["loss", *(f"share left at curvature {c:.4f}" for c in self.curvatures)]
        rows = [
            (name, *numbers, abs(numbers[0] - numbers[1]), None)
            for name, *numbers in zip([*names, *PARAMETERS], predicted, measured, strict=True)
        ]
        rows += [
            (f"parameters: {name}", None, None, float(np.abs(other - end).max()), None)
            for name, other in self.last.items()
        ]
        rows += [
            (f"gradients: {name}", None, None, error, allowed)
            for name, (error, allowed) in self.gradient_errors.items()
        ]
        cost, counted = (back / ahead for ahead, back in self.flops.values())
        rows.append(("FLOPs: backward / forward", cost, counted, abs(cost - counted), None))
        network = "-".join(map(str, self.widths))
        return Table(
            f"{steps:,} steps at learning rate {self.learning_rate:g} (limit {self.limit:g})\n"
            f"By hand and counted: the network {network}, {self.activation}",
            ("", "formula", "program", "off by", "allowed"),
            ("", *([".6f" if max(map(abs, measured)) < 1e4 else ".3e"] * 2), ".0e", ".0e"),
            rows,
        )

    def figure(self) -> _plots.Picture:
        """What is left of each mode at each step, and the parameters on their way."""
        return draw_modes(self.path, self.learning_rate)


QUICK: dict = {}


def run(
    *,
    learning_rate: float = 0.01,
    steps: int = 1000,
    widths: list[int] = WIDTHS,
    activation: Activation = "relu",
    seed: int = 0,
) -> BackpropagationResult:
    """Runs the article's second program in three ways, and checks gradients by hand.

    Args:
        learning_rate: The share of the gradient taken as a step; above 2.25 the program diverges.
        steps: How many steps to take.
        widths: The widths of the deep network by hand, input first; repeat it for each.
        activation: The function between its layers.
        seed: Seeds the starting points.

    Raises:
        OptionError: for an option out of its range.
        FloatingPointError: where parameters or loss overflow; names the step and the limit.
    """
    learning_rate = _options.in_interval("learning_rate", learning_rate, "[0, inf)")
    _options.at_least("steps", steps, 1)
    _options.at_least("seed", seed, 0)
    for width in widths:
        _options.at_least("widths", width, 1)
    if len(widths) < 2 or math.prod(max(itertools.pairwise(widths), key=math.prod)) > 10**7:
        raise _options.OptionError(
            "`widths` must be at least two integers, the product of neighbours at most 10,000,000. "
            f"Received: widths={widths}"
        )
    if activation not in ACTIVATIONS:
        raise _options.OptionError(
            f"`activation` must be one of {', '.join(ACTIVATIONS)}. Received: {activation!r}"
        )

    path = run_program(seed, TARGETS, learning_rate, steps)
    loss, limit = losses(path, TARGETS), 2 / float(modes()[0][-1])
    overflown = np.flatnonzero(~np.isfinite(loss))
    if overflown.size:
        raise FloatingPointError(
            f"the loss overflows at step {overflown[0]} of {steps}: learning_rate "
            f"{learning_rate:g} is above the limit of 2 / curvature = {limit:g}"
        )
    path = path.astype("float64")
    formula = closed_form(path[0], TARGETS, learning_rate, steps)
    gradients = three_gradients(seed)
    layers = random_layers(widths, seed)
    return BackpropagationResult(
        learning_rate=learning_rate,
        limit=limit,
        path=path,
        formula=formula,
        loss=(float(losses(formula[None], TARGETS)[0]), float(loss[-1])),
        curvatures=modes()[0],
        shares=(
            np.abs(predicted_shares(learning_rate, steps)[-1]),
            measured_shares(path, TARGETS)[-1],
        ),
        last={
            "tape, GradientDescent": descend_with(
                GradientDescent(learning_rate), seed, TARGETS, steps
            ),
            "tape, Keras fit": fit(seed, TARGETS, learning_rate, steps),
        },
        widths=list(widths),
        activation=activation,
        gradient_errors={
            "layer by hand, tape": (
                relative_error(gradients["by hand"], gradients["GradientTape"]),
                TOLERANCE,
            ),
            "layer by hand, differences": (
                relative_error(gradients["by hand"], gradients["differences"]),
                1e-8,
            ),
            "network by hand, tape": (network_error(widths, activation, seed), TOLERANCE),
        },
        flops={
            "by formula": product_flops(widths, 32),
            "counted": counted_flops(keras_network(layers, activation), 32, PRODUCTS),
        },
    )
