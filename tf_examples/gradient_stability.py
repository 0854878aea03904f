# %% [markdown]
r"""
# Gradient stability

**Why does a network of a hundred layers not learn, when one of two layers does? And what has to be
changed so that it does?**

Paragraph 5 of the article · 45 minutes · know before: the chain rule through a layer (section
*backpropagation*), variance, the product of matrices.
"""

# %%
import functools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import keras
import numpy as np
import tensorflow as tf

from custom_optimizers import GradientDescent
from tf_examples import _data, _options, _plots
from tf_examples._report import Table, show, track

# %% [markdown]
r"""
## A product of layers

The article says that gradients vanish and explode, and stops there. Take the plainest deep
network, layers without activation: $z_l = z_{l-1} W_l$. The loss answers to $z_l$ with a gradient
$\delta_l = \partial J / \partial z_l$, the error signal, and the chain rule hands it back from
layer to layer:

$$\delta_{l-1} = \delta_l \, W_l^\top$$

Each of its elements is a sum of $n_{\text{out}}$ products with random weights of mean 0, so that on
average

$$\frac{\mathbb{E}\,\lVert \delta_{l-1} \rVert^2}{n_{\text{in}}}
 = n_{\text{out}} \, \mathrm{var}(w) \;
 \frac{\mathbb{E}\,\lVert \delta_l \rVert^2}{n_{\text{out}}}:$$

the mean square of an element is multiplied by $n_{\text{out}} \mathrm{var}(w)$. On the way forward
the same holds with $n_{\text{in}}$. Four ways to choose the variance:

| name | standard deviation of a weight | made so that |
|---|---|---|
| Glorot | $\sqrt{2 / (n_{\text{in}} + n_{\text{out}})}$ | forward and backward factor are near 1 |
| He | $\sqrt{2 / n_{\text{in}}}$ | the forward factor is 2: ReLU halves it |
| small | half of Glorot's | |
| large | one and a half times He's | |
"""

# %%
Initializer = Literal["glorot", "he", "small", "large"]
INITIALIZERS: tuple[str, ...] = get_args(Initializer)


def weight_scale(initializer: str, n_in: int, n_out: int) -> float:
    """The standard deviation of a layer's weights (Glorot & Bengio 2010; He et al. 2015)."""
    glorot, he = math.sqrt(2 / (n_in + n_out)), math.sqrt(2 / n_in)
    return {"glorot": glorot, "he": he, "small": glorot / 2, "large": 1.5 * he}[initializer]


def layer_factor(n_in: int, n_out: int, scale: float, draws: int, seed: int) -> float:
    """What a random layer makes of the mean square of an error signal, the mean of `draws`."""
    rng = np.random.default_rng(seed)
    W = rng.normal(0, scale, (draws, n_in, n_out))
    delta = rng.normal(size=(draws, n_out, 1))
    return float(np.mean((W @ delta) ** 2) / np.mean(delta**2))


# %%
if __name__ == "__main__":
    rows: list[tuple] = []
    for initializer in INITIALIZERS:
        for n_in, n_out in ((64, 64), (128, 32), (32, 128)):
            scale = weight_scale(initializer, n_in, n_out)
            measured = layer_factor(n_in, n_out, scale, draws=400, seed=0)
            rows.append((initializer, f"{n_in} -> {n_out}", n_out * scale**2, measured))
    show(
        Table(
            "One layer back: the factor on the mean square of the error signal",
            ("initializer", "layer", "n_out var(w)", "measured"),
            ("", "", ".3f", ".3f"),
            rows,
        )
    )

# %% [markdown]
r"""
One factor is harmless; a hundred of them are a power. Width 64, a hundred layers, and a hundred
networks for each of three initializers: their weights stand in one tensor with an axis for the
networks, and a layer of all of them is one product.
"""


# %%
def linear_chain(
    initializers: Sequence[str], depth: int, width: int, nets: int, seed: int
) -> np.ndarray:
    """Squared norms of error signals that start at 1 and go back through `depth` linear layers.

    Returns:
        (depth + 1, initializers, nets).
    """
    rng = np.random.default_rng(seed)
    scales = np.array([weight_scale(name, width, width) for name in initializers])[:, None, None]
    delta = rng.normal(size=(1, nets, width)) * np.ones_like(scales)
    delta /= np.linalg.norm(delta, axis=2, keepdims=True)
    squares = [np.sum(delta**2, axis=2)]
    for _ in range(depth):
        W = rng.normal(size=(nets, width, width))
        delta = scales * np.einsum("knj,nij->kni", delta, W)
        squares.append(np.sum(delta**2, axis=2))
    return np.array(squares)


@_plots.drawing
def draw_chain(squares: np.ndarray, initializers: Sequence[str], width: int) -> _plots.Picture:
    """Median and quartiles of the squared norms over the networks, with the law."""
    depth = len(squares) - 1
    factors = [width * weight_scale(name, width, width) ** 2 for name in initializers]
    quartiles = np.quantile(squares, (0.25, 0.5, 0.75), axis=2)
    low, high = (
        f"factor {factors[k]:g} makes 10^{np.log10(quartiles[1, -1, k]):.0f}" for k in (0, -1)
    )
    figure, axes = _plots.picture(
        f"In {depth} layers {low}, {high}",
        f"Squared norm of the error signal against the layers passed, 0 to {depth}, on a "
        "logarithmic scale; for each initializer a straight line with a narrow band of quartiles, "
        "close to its dashed law: "
        + "; ".join(
            f"{name}, factor {factor:g}, ends at a median of {middle:.1e}"
            for name, factor, middle in zip(initializers, factors, quartiles[1, -1], strict=True)
        )
        + ".",
    )
    layers = np.arange(depth + 1)
    for k, color in enumerate(_plots.CYCLE[: len(factors)]):
        low, middle, high = quartiles[:, :, k]
        axes.fill_between(layers, low, high, color=color, alpha=0.3, linewidth=0)
        label = f"{initializers[k]}: {factors[k]:g}"
        axes.plot(layers, middle, color=color, linestyle=_plots.DASHES[0], label=label)
        axes.plot(layers, factors[k] ** layers.astype(float), "--", color=_plots.BLACK, linewidth=1)
    axes.set(
        yscale="log",
        xlabel="layers passed on the way back",
        ylabel=r"squared norm $\|\delta\|^2$",
    )
    _plots.label_ends(axes)
    return figure


# %%
if __name__ == "__main__":
    names = ("small", "glorot", "large")
    squares = linear_chain(names, depth=100, width=64, nets=100, seed=0)
    show(draw_chain(squares, names, width=64))
    middle = np.log(squares[-1, 1]).mean()
    print(f"Glorot: mean of log squared norm {middle:.2f}, -depth/width {-100 / 64:.2f}")

# %% [markdown]
r"""
Dashed is the law, the band holds the middle half of the networks. For *glorot* the law says 1 at
every depth. It speaks of the mean, and the mean is kept up by a few networks: the typical one lies
lower, because the logarithm of a sum of $n$ squares is $1/n$ below the logarithm of its mean. Over
a hundred layers that makes about $-100/64$, as printed. A wide network keeps closer to the law.

The norm is not all. A hundred layers are one matrix, the product of the Jacobians, and its singular
values say what becomes of each direction. For random layers with factor 1, the logarithm of the
$i$-th singular value changes with each layer by

$$\mu_i = \tfrac12 \left[\log \tfrac{2}{n} + \psi\!\left(\tfrac{n - i + 1}{2}\right)\right]$$

(Newman 1986; $\psi$ is the digamma function). Orthogonal layers keep every direction.
"""


# %%
def growth_rates(width: int) -> np.ndarray:
    """Newman's exponents of Gaussian layers with n var(w) = 1, largest first: (width,)."""
    psi = np.empty(width)  # digamma of 1/2, 1, 3/2, ..., by psi(x + 1) = psi(x) + 1 / x
    psi[:2] = -np.euler_gamma - 2 * math.log(2), -np.euler_gamma
    for k in range(2, width):
        psi[k] = psi[k - 2] + 2 / (k - 1)
    return (math.log(2 / width) + psi[::-1]) / 2


def product_singular_values(
    depth: int, width: int, nets: int, orthogonal: bool, seed: int
) -> np.ndarray:
    """Singular values of products of `depth` random layers, largest first: (nets, width)."""
    rng = np.random.default_rng(seed)
    product = np.broadcast_to(np.eye(width), (nets, width, width))
    for _ in range(depth):
        W = rng.normal(0, width**-0.5, (nets, width, width))
        product = product @ (np.linalg.qr(W)[0] if orthogonal else W)
    return np.linalg.svd(product, compute_uv=False)


# %%
if __name__ == "__main__":
    rows = []
    for depth in (1, 2, 5, 10):
        values = product_singular_values(depth, width=64, nets=20, orthogonal=False, seed=0)
        typical = np.exp(np.mean(np.log(values), axis=0))
        law = np.exp(depth * growth_rates(64))
        rows.append((depth, typical[0], typical[32], law[32], typical[-1], law[-1]))
    columns: tuple[str, ...]
    columns = ("layers", "largest", "middle", "foreseen", "smallest", "foreseen")
    formats = ("d", ".2f", *[".1e"] * 4)
    show(Table("Singular values of a product of layers, width 64", columns, formats, rows))
    values = product_singular_values(100, width=64, nets=1, orthogonal=True, seed=0)
    print(f"a hundred orthogonal layers: from {values.min():.6f} to {values.max():.6f}")

# %% [markdown]
r"""
The squared singular values have mean 1, as the law demands, and yet after ten layers the middle one
is all but gone: a deep random product lets a few directions through and forgets the rest.

## Activations multiply, too

With an activation $f$ between the layers, $a_l = f(z_l)$, the chain rule has one factor more, and
so has the law:

$$\delta_{l-1} = (\delta_l \, W_l^\top) \odot f'(z_{l-1}),
\qquad \text{factor } \; n_{\text{out}}\,\mathrm{var}(w)\;\mathbb{E}\,f'(z)^2,
\qquad \frac{\partial J}{\partial W_l} = a_{l-1}^\top \delta_l$$

The slope of a sigmoid is at most 1/4, its square at most 1/16. By hand, in NumPy, for many networks
at once (the first axis of each matrix), on a batch of the handwritten digits:
"""

# %%
Activation = Literal["sigmoid", "tanh", "relu", "gelu"]
ACTIVATIONS: tuple[str, ...] = get_args(Activation)


def value_and_slope(z: np.ndarray, activation: str) -> tuple[np.ndarray, np.ndarray]:
    """An activation and its derivative at `z`."""
    if activation == "sigmoid":
        a = 1 / (1 + np.exp(-z))
        return a, a * (1 - a)
    if activation == "tanh":
        return np.tanh(z), 1 - np.tanh(z) ** 2
    if activation == "relu":
        return np.maximum(z, 0), (z > 0) * 1.0
    below = 0.5 * (1 + np.vectorize(math.erf)(z / math.sqrt(2)))  # gelu: z times P(normal < z)
    return z * below, below + z * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def gradients_by_hand(
    x: np.ndarray, labels: np.ndarray, matrices: Sequence[np.ndarray], activation: str
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """The chain rule, layer by layer, for networks whose matrices are (nets, n_in, n_out).

    Returns:
        The gradient of each matrix; the squared norms of the error signals, (layers, nets,
        examples); and each activation's mean squared slope, (layers - 1, nets, examples).
    """
    inputs, slopes = [x], []
    for W in matrices[:-1]:
        a, slope = value_and_slope(inputs[-1] @ W, activation)
        inputs.append(a)
        slopes.append(slope)
    logits = inputs[-1] @ matrices[-1]
    share = np.exp(logits - logits.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    delta = (share - np.eye(10)[labels]) / len(labels)  # of the mean cross-entropy
    gradients, squares = [], []
    for layer in reversed(range(len(matrices))):
        gradients.append(np.swapaxes(inputs[layer], -1, -2) @ delta)
        squares.append(np.sum(delta**2, axis=-1))
        if layer:
            delta = (delta @ np.swapaxes(matrices[layer], -1, -2)) * slopes[layer - 1]
    mean_slopes = np.array([np.mean(slope**2, axis=-1) for slope in slopes])
    return gradients[::-1], np.array(squares[::-1]), mean_slopes


# %% [markdown]
r"""
The networks of this section: the first layer takes the 64 pixels, the last gives 10 logits, all
layers between are square. No biases.
"""

# %%
Weights = Sequence[Any]
"""First (nets, 64, width), hidden (depth - 2, nets, width, width), last (nets, width, 10)."""


def draw_weights(
    initializers: Sequence[str], depth: int, width: int, seeds: int, seed: int
) -> Weights:
    """Networks of `depth` layers, `seeds` for each initializer, in float64.

    All initializers share their random numbers and differ in scale.
    """
    rng = np.random.default_rng(seed)

    def draw(before: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
        scales = np.array([weight_scale(name, n_in, n_out) for name in initializers])
        normal = rng.normal(size=(*before, 1, seeds, n_in, n_out))
        nets = len(initializers) * seeds
        return (scales[:, None, None, None] * normal).reshape(*before, nets, n_in, n_out)

    return draw((), 64, width), draw((depth - 2,), width, width), draw((), width, 10)


def standardized_digits() -> tuple[np.ndarray, np.ndarray]:
    """The training digits, each pixel with mean 0, all with standard deviation 1; labels."""
    x, labels, _, _ = _data.digits()
    return (x - x.mean(axis=0)) / x.std(), labels


def first_batch() -> tuple[np.ndarray, np.ndarray]:
    """64 of them, in float64."""
    x, labels = standardized_digits()
    return x[:64].astype("float64"), labels[:64]


# %%
def activation_factor(
    activation: str, initializer: str, depth: int, width: int, seeds: int, seed: int
) -> tuple[float, float]:
    """A hidden layer's factor on the squared error signal: foreseen from the slopes, measured.

    The geometric mean of the layers and networks.
    """
    x, labels = first_batch()
    first, hidden, last = draw_weights([initializer], depth, width, seeds, seed)
    _, squares, slopes = gradients_by_hand(x, labels, [first, *hidden, last], activation)
    start, end = squares[-2], squares[0]
    law = np.prod(width * weight_scale(initializer, width, width) ** 2 * slopes[:-1], axis=0)
    growth = [np.sum(start * law, axis=1), np.sum(end, axis=1)] / np.sum(start, axis=1)
    foreseen, measured = np.exp(np.mean(np.log(growth), axis=1) / (depth - 2))
    return foreseen, measured


# %%
if __name__ == "__main__":
    rows = [
        (f"{activation}, {name}", *activation_factor(activation, name, 20, 64, seeds=8, seed=0))
        for activation in ACTIVATIONS
        for name in ("glorot", "he")
    ]
    show(
        Table(
            "A hidden layer's factor on the squared error signal, 20 layers",
            ("network", "foreseen from the slopes", "measured"),
            ("", ".3f", ".3f"),
            rows,
        )
    )

# %% [markdown]
r"""
The slopes that the way forward met foretell what the way back does. *Sigmoid* leaves a twentieth of
the squared signal at each layer. *ReLU* halves it with Glorot's weights and keeps it with He's,
which are twice as large in variance for that very reason.

## A hundred layers, many networks, one call

Now with the tape. The networks keep their axis, and the layers are the steps of a loop inside one
`tf.function`: the graph has one layer in it, whatever the depth. Three more ways to build a hidden
layer come along, for later:

| cure | hidden layer |
|---|---|
| none | $f(z)$ |
| batch normalization | $f(\hat z)$: each unit of $z$ gets mean 0 and variance 1 over the batch |
| layer normalization | $f(\hat z)$: each example's $z$ gets mean 0 and variance 1 over the units |
| residual connections | $a + f(z) / \sqrt{L}$, with $L$ hidden layers |
"""

# %%
CURES = ("none", "batch normalization", "layer normalization", "residual connections")
EPSILON = 1e-5
FUNCTIONS = {"sigmoid": tf.sigmoid, "tanh": tf.tanh, "relu": tf.nn.relu, "gelu": tf.nn.gelu}


def network(x: tf.Tensor, weights: Weights, activation: str, cure: str) -> tf.Tensor:
    """The logits of all networks: (nets, examples, 10)."""
    first, hidden, last = weights
    f = FUNCTIONS[activation]
    layers = tf.shape(hidden)[0]
    # Read one by one, a layer's gradient is a layer; sliced, it would be the whole stack each time.
    stack = tf.TensorArray(hidden.dtype, layers).unstack(hidden)
    a = f(x @ first)
    for layer in tf.range(layers):
        z = a @ stack.read(layer)
        if cure in ("batch normalization", "layer normalization"):
            axis = 1 if cure == "batch normalization" else 2
            mean, variance = tf.nn.moments(z, axis, keepdims=True)
            z = (z - mean) * tf.math.rsqrt(variance + EPSILON)
        if cure == "residual connections":
            a += f(z) * tf.math.rsqrt(tf.cast(layers, z.dtype))
        else:
            a = f(z)
    return a @ last


def losses(
    x: tf.Tensor, labels: tf.Tensor, weights: Weights, activation: str, cure: str
) -> tf.Tensor:
    """The mean cross-entropy of each network: (nets,)."""
    logits = network(x, weights, activation, cure)
    if logits.dtype == tf.float16:  # mixed precision keeps the loss itself in float32
        logits = tf.cast(logits, tf.float32)
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.broadcast_to(labels, tf.shape(logits)[:2]), logits
    )
    return tf.reduce_mean(each, axis=1)


def specification(dtype: tf.DType) -> tuple:
    """Types and shapes of (x, labels, weights), all sizes open: one graph serves every network."""
    shapes = (None, 64, None), (None, None, None, None), (None, None, 10)
    weights = tuple(tf.TensorSpec(shape, dtype) for shape in shapes)
    return tf.TensorSpec((None, 64), dtype), tf.TensorSpec((None,), tf.int32), weights


@functools.cache
def compiled_gradients(activation: str, cure: str) -> Any:
    """A function of (x, labels, weights) in float64: the gradients of all networks at once."""

    @tf.function
    def gradients(x: tf.Tensor, labels: tf.Tensor, weights: Weights) -> Weights:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = losses(x, labels, weights, activation, cure)
        return tape.gradient(loss, weights)

    return gradients.get_concrete_function(*specification(tf.float64))


def gradients_by_tape(
    x: np.ndarray, labels: np.ndarray, weights: Weights, activation: str, cure: str = "none"
) -> Weights:
    """The gradient of each weight, in the shapes of `weights`."""
    tensors = tuple(map(tf.constant, weights))
    call = compiled_gradients(activation, cure)
    return tuple(g.numpy() for g in call(tf.constant(x), tf.constant(labels), tensors))


# %% [markdown]
r"""
In Keras a layer is a `Dense`, and the cures are layers of their own. One network at a time:
"""


# %%
def keras_network(weights: Weights, net: int, activation: str, cure: str) -> keras.Model:
    """One of the networks, of Keras's layers."""
    first, hidden, last = (np.asarray(W)[..., net, :, :] for W in weights)
    dtype = first.dtype.name
    normalization = {
        "batch normalization": keras.layers.BatchNormalization,
        "layer normalization": keras.layers.LayerNormalization,
    }.get(cure)

    def dense(a: Any, units: int) -> Any:
        return keras.layers.Dense(units, use_bias=False, dtype=dtype)(a)

    def f(z: Any) -> Any:
        return keras.layers.Activation(activation, dtype=dtype)(z)

    inputs = keras.Input(first.shape[:1], dtype=dtype)
    a = f(dense(inputs, first.shape[1]))
    for W in hidden:
        z = dense(a, W.shape[1])
        if normalization:
            z = normalization(center=False, scale=False, epsilon=EPSILON, dtype=dtype)(z)
        if cure == "residual connections":
            a += f(z) * len(hidden) ** -0.5
        else:
            a = f(z)
    model = keras.Model(inputs, dense(a, 10))
    for variable, W in zip(model.trainable_variables, [first, *hidden, last], strict=True):
        variable.assign(W)
    return model


def gradients_by_keras(model: keras.Model, x: np.ndarray, labels: np.ndarray) -> list[tf.Tensor]:
    """The gradient of each matrix of one network."""
    loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype=x.dtype.name)
    with tf.GradientTape() as tape:
        loss = loss_function(labels, model(x, training=True))
    return tape.gradient(loss, [variable.value for variable in model.trainable_variables])


# %%
def three_ways(depth: int, width: int, nets: int, seed: int) -> list[tuple[str, float, float]]:
    """The same gradients three ways, tanh with Glorot's weights.

    Returns:
        Rows of: the way, its seconds, and how far it is from the tape, relative.
    """
    x, labels = first_batch()
    weights = draw_weights(["glorot"], depth, width, nets, seed)

    def by_hand() -> list[np.ndarray]:
        return gradients_by_hand(x, labels, [weights[0], *weights[1], weights[2]], "tanh")[0]

    def by_tape() -> list[np.ndarray]:
        first, hidden, last = gradients_by_tape(x, labels, weights, "tanh")
        return [first, *hidden, last]

    def by_keras() -> list[np.ndarray]:
        models = (keras_network(weights, net, "tanh", "none") for net in range(nets))
        gradients = [gradients_by_keras(model, x, labels) for model in models]
        return [np.stack(layer) for layer in zip(*gradients, strict=True)]

    rows = []
    tape = by_tape()  # traced here, so that only its work is timed
    for name, way in (
        ("tape, all networks in one compiled call", by_tape),
        ("by hand, all networks in each product", by_hand),
        ("Keras, one network after the other", by_keras),
    ):
        start = time.perf_counter()
        gradients = way()
        taken = time.perf_counter() - start
        pairs = zip(gradients, tape, strict=True)
        off = max(np.linalg.norm(g - t) / np.linalg.norm(t) for g, t in pairs)
        rows.append((name, taken, float(off)))
    return rows


# %%
if __name__ == "__main__":
    rows = three_ways(depth=50, width=64, nets=8, seed=0)
    columns = ("way", "seconds", "off the tape")
    show(Table("Gradients of 8 networks of 50 layers", columns, ("", ".2f", ".0e"), rows))

# %% [markdown]
r"""
The three agree to the last digits of `float64`. In the last row it is not the arithmetic that takes
the time: Python builds and runs one layer after the other, of one network after the other.

So the sweep is cheap: depths up to a hundred, and for each layer the norm of the gradient of its
weights.
"""


# %%
def log10(values: np.ndarray) -> np.ndarray:
    """The common logarithm; of 0 it is -inf, without a warning."""
    with np.errstate(divide="ignore"):
        return np.log10(values)


def gradient_norms(
    activation: str,
    initializers: Sequence[str],
    cure: str,
    depth: int,
    width: int,
    seeds: int,
    seed: int,
) -> np.ndarray:
    """Norms of each layer's weight gradient before training: (depth, initializers, seeds).

    Raises:
        FloatingPointError: where a gradient overflows float64; names the network.
    """
    x, labels = first_batch()
    weights = draw_weights(initializers, depth, width, seeds, seed)
    first, hidden, last = gradients_by_tape(x, labels, weights, activation, cure)

    def norms(g: np.ndarray) -> np.ndarray:
        largest = np.abs(g).max((-1, -2), keepdims=True, initial=1e-300)  # squares would underflow
        return largest[..., 0, 0] * np.linalg.norm(g / largest, axis=(-1, -2))

    all_layers = np.concatenate([norms(first)[None], norms(hidden), norms(last)[None]])
    if not np.isfinite(all_layers).all():
        raise FloatingPointError(
            f"gradients of {depth} layers with {activation} and initializer "
            f"{'/'.join(initializers)} overflow float64: take fewer layers or smaller weights"
        )
    return all_layers.reshape(depth, len(initializers), seeds)


def sweep_depths(
    activation: str, initializer: str, depth: int, width: int, seeds: int, seed: int
) -> dict[int, np.ndarray]:
    """For each of up to 12 depths from 2 to `depth`: log10 norm by layer, the median of `seeds`."""
    depths = np.unique(np.linspace(2, depth, 12).round().astype(int)).tolist()
    found = {}
    for layers in track(depths, f"{activation}, {initializer}"):
        norms = gradient_norms(activation, [initializer], "none", layers, width, seeds, seed)
        found[layers] = np.median(log10(norms[:, 0]), axis=1)
    return found


def draw_heat_map(axes: Any, sweep: dict[int, np.ndarray], limit: float = 20) -> Any:
    """Colours of log10 norm against depth of the network and layer, on `axes`."""
    depths = np.array(list(sweep))
    edges = np.concatenate([[depths[0] - 0.5], (depths[1:] + depths[:-1]) / 2, [depths[-1] + 0.5]])
    grid = np.full((depths[-1], len(depths)), np.nan)
    for column, values in enumerate(sweep.values()):
        grid[: len(values), column] = np.clip(values, -1e3, 1e3)
    rows = np.arange(depths[-1] + 1) + 0.5
    axes.grid(False)
    axes.set_facecolor("0.88")
    return axes.pcolormesh(edges, rows, grid, cmap="RdBu_r", vmin=-limit, vmax=limit)


@_plots.drawing
def draw_heat_maps(sweeps: dict[str, dict[int, np.ndarray]]) -> _plots.Picture:
    """A heat map for each network."""
    ends = [list(sweep.values())[-1] for sweep in sweeps.values()]
    depth = len(ends[0])
    figure, axes = _plots.picture(
        f"Layer 1 of {depth}: gradients of " + ", ".join(f"10^{values[0]:.0f}" for values in ends),
        "Heat maps of log10 gradient norm, with the depth of the network across and the layer "
        f"upwards, each a triangle on grey: at {depth} layers, "
        + "; ".join(
            f"{name}: 10^{values[0]:.0f} in the first layer, 10^{values[-2]:.0f} in the last "
            "hidden one"
            for name, values in zip(sweeps, ends, strict=True)
        )
        + ".",
        rows=2,
        columns=2,
        size=(7, 6),
        sharex=True,
        sharey=True,
    )
    for axis, (name, sweep) in zip(axes.flat, sweeps.items(), strict=True):
        image = draw_heat_map(axis, sweep)
        axis.set_title(name)
        last = list(sweep.values())[-1]
        axis.text(
            0.04, 0.86, f"layer 1 of {depth}: $10^{{{last[0]:.0f}}}$", transform=axis.transAxes
        )
    figure.colorbar(image, ax=axes, extend="both", label="log10 gradient norm")
    figure.supxlabel("layers in the network", fontsize=12)
    figure.supylabel("layer, 1 is next to the input", fontsize=12)
    return figure


# %%
if __name__ == "__main__":
    chosen = (("sigmoid", "glorot"), ("relu", "glorot"), ("relu", "he"), ("relu", "large"))
    sweeps = {
        f"{activation}, {name}": sweep_depths(activation, name, 100, 64, seeds=3, seed=0)
        for activation, name in chosen
    }
    show(draw_heat_maps(sweeps))

# %%
if __name__ == "__main__":
    rows = []
    for activation in ACTIVATIONS:
        norms = gradient_norms(activation, INITIALIZERS, "none", 100, 64, seeds=3, seed=0)
        rows.append((activation, *np.median(log10(norms[0]), axis=1)))
    show(
        Table(
            "log10 gradient norm in the first of 100 layers",
            ("activation", *INITIALIZERS),
            ("", *[".1f"] * 4),
            rows,
        )
    )
    print(f"float32 holds nothing below 10^{np.log10(np.finfo('float32').smallest_subnormal):.1f}")

# %% [markdown]
r"""
Three things to see. *Sigmoid* fades towards the input, whatever the weights. *ReLU* is the same
colour from bottom to top: when the signal shrinks on the way forward as it does on the way back,
$\lVert a_{l-1} \rVert \cdot \lVert \delta_l \rVert$ is the same in every layer, and it is the depth
of the network that decides. And the right scale belongs to one activation: what keeps *ReLU* level
is too large for *tanh* and too small for *GELU*.

In `float32`, which networks are trained in, the first layers of the deep sigmoid network have a
gradient of exactly 0.

## Cures inside the network

The same hundred layers of sigmoid and of ReLU, with each of the three cures from the table above.
"""


# %%
@_plots.drawing
def draw_cures(norms: dict[str, dict[str, np.ndarray]]) -> _plots.Picture:
    """log10 norms by layer for each network and cure: each (layers,)."""
    name, cures = next(iter(norms.items()))
    depth, best = len(cures["none"]), "residual connections"
    figure, axes = _plots.picture(
        f"{name}, layer 1: 10^{cures['none'][0]:.0f}; with {best} 10^{cures[best][0]:.1f}",
        f"log10 gradient norm against the layer, 1 to {depth}, with and without cures. "
        + ". ".join(
            f"{name}: "
            + ", ".join(
                f"{cure} from {v[0]:.1f} in layer 1 to {v[-2]:.1f} in the last hidden layer"
                for cure, v in cures.items()
            )
            for name, cures in norms.items()
        )
        + ".",
        columns=len(norms),
        size=(7, 4.5),
    )
    for axis, (name, cures) in zip(axes, norms.items(), strict=True):
        for cure, color, dash in zip(cures, _plots.CYCLE, _plots.DASHES, strict=False):
            layers = np.arange(1, depth + 1)
            axis.plot(layers, cures[cure], color=color, linestyle=dash, label=cure)
        axis.set(title=name, xlabel="layer, 1 is next to the input")
    axes[0].set_ylabel("log10 gradient norm")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


# %%
if __name__ == "__main__":
    by_cure = {
        f"{activation}, {name}": {
            cure: np.median(
                log10(gradient_norms(activation, [name], cure, 100, 64, 3, seed=0)[:, 0]), axis=1
            )
            for cure in CURES
        }
        for activation, name in (("sigmoid", "glorot"), ("relu", "large"))
    }
    show(draw_cures(by_cure))
    rows = [
        (cure, *[v for nets in by_cure.values() for v in (nets[cure][0], nets[cure][-2])])
        for cure in CURES
    ]
    columns = ("cure", "sigmoid: layer 1", "layer 99", "relu, large: layer 1", "layer 99")
    show(Table("log10 gradient norm", columns, ("", *[".1f"] * 4), rows))

# %% [markdown]
r"""
No cure fits all:

- Layer normalization undoes every wrong scale, and so cures the large weights. It does little for
  the sigmoid: sigmoids are all positive, their common mean fills the next layer's $z$, and what
  differs between examples is lost in it.
- Batch normalization subtracts just that common mean. It never lets the gradient vanish; with ReLU
  it makes it grow towards the input, by the same factor at each layer whatever the weights.
- Residual connections give the gradient a way around every layer: the Jacobian is
  $1 + \text{something small}$. The share $1/\sqrt{L}$ is what keeps it small; with large weights
  the gradients still grow, to about $10^3$ in place of $10^{17}$.

## Does it train?

Gradients are a means. Here are two networks of 10 layers that fail for the two reasons, and each
cure on its own; 300 steps of gradient descent, the same rate, the same mini-batches of 64, five
seeds. All seeds of a network are one tensor, and the 300 steps are one compiled call. *Clipping* is
explained below.
"""


# %%
class Arm(NamedTuple):
    """A network to be trained."""

    name: str
    activation: str
    initializer: str
    cure: str = "none"
    clip: float = math.inf


def arms(activation: str, initializer: str, clip: float) -> list[Arm]:
    """A network as it is, and with each cure."""
    cured = [Arm(cure, activation, initializer, cure) for cure in CURES[1:]]
    return [
        Arm("as it is", activation, initializer),
        Arm("ReLU, He", "relu", "he"),
        *cured,
        Arm(f"clipping at {clip:g}", activation, initializer, clip=clip),
    ]


@functools.cache
def compiled_training(activation: str, cure: str) -> Any:
    """A function that trains all nets at once; returns their loss at each step, and the weights."""

    @tf.function
    def descend(
        x: tf.Tensor,
        labels: tf.Tensor,
        weights: Weights,
        batches: tf.Tensor,
        learning_rate: tf.Tensor,
        clip: tf.Tensor,
    ) -> tuple[tf.Tensor, Weights]:
        curve = tf.TensorArray(x.dtype, tf.shape(batches)[0])
        for step in tf.range(tf.shape(batches)[0]):
            xs, ys = tf.gather(x, batches[step]), tf.gather(labels, batches[step])
            with tf.GradientTape() as tape:
                tape.watch(weights)
                loss = losses(xs, ys, weights, activation, cure)
            g = tape.gradient(loss, weights)
            # Of the whole gradient of each network: (nets, 1, 1).
            squares = [tf.reduce_sum(dw**2, (-2, -1), keepdims=True) for dw in g]
            norm = tf.sqrt(squares[0] + tf.reduce_sum(squares[1], 0) + squares[2])
            share = tf.minimum(1.0, clip / norm)
            weights = tuple(
                w - learning_rate * share * dw for w, dw in zip(weights, g, strict=True)
            )
            curve = curve.write(step, loss)
        return curve.stack(), weights

    numbers = tf.TensorSpec((None, 64), tf.int64), tf.TensorSpec(()), tf.TensorSpec(())
    return descend.get_concrete_function(*specification(tf.float32), *numbers)


def draw_batches(steps: int, seed: int) -> np.ndarray:
    """Which training digits are in each step's batch: (steps, 64)."""
    examples = len(_data.digits().x_train)
    return np.random.default_rng(seed).integers(0, examples, (steps, 64))


def train(
    arm: Arm, depth: int, width: int, learning_rate: float, steps: int, seeds: int, seed: int
) -> tuple[np.ndarray, Weights]:
    """Trains an arm with all its seeds; the loss of each batch, (steps, seeds), and the weights."""
    x, labels = standardized_digits()
    weights = draw_weights([arm.initializer], depth, width, seeds, seed)
    curve, trained = compiled_training(arm.activation, arm.cure)(
        *(tf.constant(x), tf.constant(labels)),
        tuple(tf.constant(W, tf.float32) for W in weights),
        *(
            tf.constant(draw_batches(steps, seed)),
            tf.constant(learning_rate),
            tf.constant(arm.clip),
        ),
    )
    return curve.numpy().astype("float64"), tuple(W.numpy() for W in trained)


def outcome(curve: np.ndarray) -> tuple[float, float, float, float, str]:
    """First loss, and the last 20 steps' mean: median, least, most; and how many diverged."""
    ends = np.where(np.isfinite(curve).all(axis=0), curve[-20:].mean(axis=0), np.inf)
    diverged = int(np.isinf(ends).sum())
    words = f"{diverged} of {len(ends)} diverge" if diverged else ""
    return float(np.median(curve[0])), float(np.median(ends)), ends.min(), ends.max(), words


def outcome_table(title: str, curves: dict[str, np.ndarray]) -> Table:
    """What became of each arm."""
    columns = ("network", "first loss", "last 20: median", "least", "most", "")
    rows = [(name, *outcome(curve)) for name, curve in curves.items()]
    return Table(title, columns, ("", ".2f", ".3f", ".3f", ".3f", ""), rows)


def draw_curves(axes: Any, curves: dict[str, np.ndarray]) -> None:
    """The median loss of each arm with its quartiles, on `axes`; a cross where most diverge."""
    styles = zip(_plots.CYCLE, _plots.DASHES, strict=True)
    for (name, curve), (color, dash) in zip(curves.items(), styles, strict=False):
        blocks = curve[: len(curve) // 10 * 10].reshape(-1, 10, curve.shape[1]).mean(axis=1)
        steps = np.arange(len(blocks)) * 10 + 10
        sound = np.isfinite(blocks).mean(axis=1) > 0.5
        with np.errstate(invalid="ignore"):
            low, middle, high = np.quantile(np.nan_to_num(blocks, nan=np.inf), (0.25, 0.5, 0.75), 1)
        if sound.any():
            axes.fill_between(steps[sound], low[sound], high[sound], color=color, alpha=0.2, lw=0)
        axes.plot(steps[sound], middle[sound], color=color, linestyle=dash, label=name)
        if not sound.all():
            axes.plot(0, np.median(curve[0]), "X", color=color, markersize=9, clip_on=False)
    axes.set(yscale="log", xlabel="step", ylim=(0.005, 200))


def describe(curves: dict[str, np.ndarray]) -> str:
    """The curves in words."""
    parts = []
    for name, curve in curves.items():
        before, after, _, _, diverge = outcome(curve)
        parts.append(f"{name} from {before:.2f} " + (diverge or f"to {after:.3f}"))
    return ", ".join(parts)


@_plots.drawing
def draw_training(found: dict[str, dict[str, np.ndarray]]) -> _plots.Picture:
    """Loss curves of each network and its cures."""
    name, curves = next(iter(found.items()))
    ends = [outcome(curve)[1] for curve in curves.values()]
    figure, axes = _plots.picture(
        f"{name}: loss {ends[0]:.2f} as it is, {min(ends):.2f} with the best cure",
        "Loss against step on a logarithmic scale. "
        + ". ".join(f"{name}: {describe(curves)}" for name, curves in found.items())
        + ".",
        columns=len(found),
        size=(7, 5),
        sharey=True,
    )
    for axis, (name, curves) in zip(axes, found.items(), strict=True):
        draw_curves(axis, curves)
        axis.set_title(name)
    axes[0].set_ylabel("loss of a batch")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


# %%
if __name__ == "__main__":
    trained = {}
    for name, activation, initializer in (
        ("sigmoid, glorot", "sigmoid", "glorot"),
        ("relu, large", "relu", "large"),
    ):
        trained[name] = {
            arm.name: train(arm, 10, 32, 0.1, steps=300, seeds=5, seed=0)[0]
            for arm in track(arms(activation, initializer, clip=5.0), name)
        }
        show(outcome_table(f"{name}: 10 layers", trained[name]))
    show(draw_training(trained))
    print(f"a guess among ten digits costs ln 10 = {math.log(10):.3f}")

# %% [markdown]
r"""
A cross at the left marks a network that diverges: its loss overflows. Left, three lines lie on each
other: as it is, with layer normalization and with clipping the sigmoid network stays at the loss of
a guess. Clipping shortens, and what is too short is not made longer by it.

## Clipping

A gradient that explodes still points downhill, only its length is useless. Clipping by the global
norm (Pascanu, Mikolov & Bengio 2013) keeps the direction and bounds the length of all gradients
taken together:

$$g \leftarrow g \cdot \min\!\Big(1, \frac{c}{\lVert g \rVert}\Big),
\qquad \lVert g \rVert^2 = \sum_l \lVert g_l \rVert^2$$

In the loop above that is the line with `tf.minimum`. Every optimizer has it as `global_clipnorm`.
Ten steps of one *relu, large* network, and its loss on all training digits after them:
"""


# %%
def descend_with(
    optimizer: keras.optimizers.Optimizer, arm: Arm, depth: int, width: int, steps: int, seed: int
) -> float:
    """Trains one network of `arm` with an optimizer; the loss on all training digits after it."""
    x, labels = map(tf.constant, standardized_digits())
    batches = tf.constant(draw_batches(steps, seed))
    weights = draw_weights([arm.initializer], depth, width, 1, seed)
    variables = [tf.Variable(W.astype("float32")) for W in weights]
    optimizer.build(variables)

    @tf.function
    def loop() -> tf.Tensor:
        for batch in batches:
            xs, ys = tf.gather(x, batch), tf.gather(labels, batch)
            with tf.GradientTape() as tape:
                loss = losses(xs, ys, variables, arm.activation, arm.cure)
            optimizer.apply(tape.gradient(loss, variables), variables)
        return losses(x, labels, variables, arm.activation, arm.cure)[0]

    return float(loop())


def fit(arm: Arm, depth: int, width: int, learning_rate: float, steps: int, seed: int) -> float:
    """The same network of Keras's layers, trained by `fit` with Keras's SGD: the loss after it."""
    x, labels = standardized_digits()
    weights = [W.astype("float32") for W in draw_weights([arm.initializer], depth, width, 1, seed)]
    model = keras_network(weights, 0, arm.activation, arm.cure)
    model.compile(
        optimizer=keras.optimizers.SGD(learning_rate, global_clipnorm=arm.clip),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    order = draw_batches(steps, seed).ravel()
    model.fit(x[order], labels[order], batch_size=64, shuffle=False, verbose=0)
    return model.evaluate(x, labels, batch_size=len(x), verbose=0)


# %%
if __name__ == "__main__":
    arm = Arm("", "relu", "large", clip=5.0)
    settings = {"depth": 10, "width": 32, "steps": 10, "seed": 0}
    x, labels = map(tf.constant, standardized_digits())
    _, weights = train(arm, learning_rate=0.1, seeds=1, **settings)
    after = float(losses(x, labels, weights, "relu", "none")[0])
    clipped = GradientDescent(0.1, global_clipnorm=5.0)
    print(f"GradientTape and the formula       {after:.4f}")
    print(f"custom_optimizers.GradientDescent  {descend_with(clipped, arm, **settings):.4f}")
    print(f"Keras model.fit with SGD           {fit(arm, learning_rate=0.1, **settings):.4f}")

# %% [markdown]
r"""
## Sixteen bits

Large models are trained in numbers of 16 bits, and these end much sooner than `float32`.
"""

# %%
if __name__ == "__main__":
    rows = []
    for name in ("float16", "float32"):
        info = np.finfo(name)
        limits = info.max, info.smallest_normal, info.smallest_subnormal, info.eps
        rows.append((name, *map(float, limits)))
    columns = ("type", "largest", "smallest in full precision", "smallest", "spacing at 1")
    show(Table("What a type can hold", columns, ("", *[".1e"] * 4), rows))

# %% [markdown]
r"""
**Overflow.** The cross-entropy needs $\log \sum_i e^{z_i}$, and in `float16` the exponential
overflows beyond $z = 11.1$. The same sum with the largest logit $m$ taken out has exponents of at
most 0, and nothing can overflow; and one term is $e^0 = 1$, so the logarithm never sees 0:

$$\log \sum_i e^{z_i} = m + \log \sum_i e^{z_i - m}$$
"""


# %%
def log_sum_exp(z: np.ndarray, shifted: bool) -> float:
    """The logarithm of the sum of exponentials in the type of `z`, as written or shifted."""
    largest = z.max() if shifted else z.dtype.type(0)
    with np.errstate(over="ignore", divide="ignore"):
        return float(largest + np.log(np.sum(np.exp(z - largest))))


# %%
if __name__ == "__main__":
    rows = []
    for logits in ([1, 2, 3], [12, 11, 0], [-20, -21, -22]):
        half, double = np.array(logits, "float16"), np.array(logits, "float64")
        naive, shifted = log_sum_exp(half, False), log_sum_exp(half, True)
        rows.append((str(logits), naive, shifted, log_sum_exp(double, True)))
    columns = ("logits", "as written, float16", "shifted, float16", "float64")
    show(Table("log-sum-exp", columns, ("", ".3f", ".3f", ".5f"), rows))

# %% [markdown]
r"""
**Underflow.** Gradients are small where losses are not: what lies below the smallest number becomes
0. Loss scaling (Micikevicius et al. 2018) multiplies the loss by a power of two before the way
back, and with it every gradient; the weights, kept in `float32`, get the gradient divided by it.
Here is the sigmoid network of 10 layers, forward and back in `float16`, against `float64`.
"""

# %%
SCALES = tuple(2.0**k for k in range(0, 25, 2))


@tf.function
def half_gradients(
    x: tf.Tensor, labels: tf.Tensor, scale: tf.Tensor, weights: Weights
) -> list[tf.Tensor]:
    """Gradients of sigmoid networks computed in float16 from the scaled loss: float32."""
    half = [tf.cast(W, tf.float16) for W in weights]
    with tf.GradientTape() as tape:
        tape.watch(half)
        loss = scale * losses(tf.cast(x, tf.float16), labels, half, "sigmoid", "none")
    return [tf.cast(g, tf.float32) / scale for g in tape.gradient(loss, half)]


def sweep_scales(depth: int, width: int, seeds: int, seed: int) -> dict[str, np.ndarray]:
    """What float16 makes of the gradient at each of `SCALES`, over all seeds: arrays (scales,).

    Returns:
        "lost": share of the first layer's elements that become 0; "error": of its gradient,
        relative; "overflown": share of the elements of all layers that are not finite.
    """
    x, labels = first_batch()
    weights = draw_weights(["glorot"], depth, width, seeds, seed)
    exact = gradients_by_tape(x, labels, weights, "sigmoid")[0]
    tensors = tf.constant(x), tf.constant(labels), tuple(map(tf.constant, weights))
    rows = []
    for scale in SCALES:
        gradients = half_gradients(*tensors[:2], tf.constant(scale, tf.float32), tensors[2])
        first = gradients[0].numpy().astype("float64")
        every = np.concatenate([g.numpy().ravel() for g in gradients])
        with np.errstate(invalid="ignore"):
            error = np.linalg.norm(first - exact) / np.linalg.norm(exact)
        rows.append((np.mean(first[exact != 0] == 0), error, np.mean(~np.isfinite(every))))
    return dict(zip(("lost", "error", "overflown"), np.array(rows).T, strict=True))


@_plots.drawing
def draw_scales(found: dict[str, np.ndarray]) -> _plots.Picture:
    """Shares lost and overflown against the loss scale."""
    lost, overflown = found["lost"], found["overflown"]
    sound = [k for k in range(len(SCALES)) if lost[k] < 0.01 and overflown[k] == 0]
    span = f"2^{2 * sound[0]} to 2^{2 * sound[-1]}"
    figure, axes = _plots.picture(
        f"Loss scales {span} keep what float16 otherwise loses",
        "Against loss scales from 1 to 2^24: the share of the first layer's gradient that "
        f"becomes 0 falls from {lost[0]:.0%} at scale 1 to {lost[sound[0]]:.1%} at "
        f"2^{2 * sound[0]}; of all layers nothing overflows up to "
        f"2^{2 * sound[-1]}, the end of the shaded window, and {overflown[-1]:.0%} at 2^24.",
    )
    axes.axvspan(SCALES[sound[0]], SCALES[sound[-1]], color=_plots.GREEN, alpha=0.15, linewidth=0)
    axes.plot(SCALES, lost, "o-", color=_plots.BLUE, label="lost, layer 1")
    axes.plot(SCALES, overflown, "s--", color=_plots.VERMILLION, label="overflown")
    axes.set_xscale("log", base=2)
    axes.set(xlabel="loss scale", ylabel="share of gradient elements")
    axes.yaxis.set_major_formatter("{x:.0%}")
    _plots.label_ends(axes)
    return figure


# %%
if __name__ == "__main__":
    scaling = sweep_scales(depth=10, width=32, seeds=5, seed=0)
    columns = ("loss scale", "lost in layer 1", "error of layer 1", "overflown")
    rows = [
        (f"2^{2 * k}", *[float(scaling[name][k]) for name in scaling]) for k in range(len(SCALES))
    ]
    show(Table("float16 gradients", columns, ("", ".1%", ".1e", ".1%"), rows), draw_scales(scaling))

# %% [markdown]
r"""
Keras's `LossScaleOptimizer` wraps any optimizer and finds the scale: it halves it when a gradient
overflows, skips that step, and doubles it when all has gone well for long.
"""


# %%
def find_scale(start: float, depth: int, width: int, steps: int, seed: int) -> tuple[float, int]:
    """The loss scale at which `LossScaleOptimizer` arrives, and how many steps it took."""
    x, labels = first_batch()
    x = tf.cast(x, tf.float16)
    weights = draw_weights(["glorot"], depth, width, 1, seed)
    variables = [tf.Variable(W.astype("float32")) for W in weights]
    inner = GradientDescent(0.1)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=start)
    optimizer.build(variables)

    @tf.function
    def loop() -> None:
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                half = [tf.cast(w, tf.float16) for w in variables]
                scaled = optimizer.scale_loss(losses(x, labels, half, "sigmoid", "none"))
            optimizer.apply(tape.gradient(scaled, variables), variables)

    loop()
    return float(optimizer.dynamic_scale), int(inner.iterations)


# %%
if __name__ == "__main__":
    scale, taken = find_scale(2.0**24, depth=10, width=32, steps=20, seed=0)
    print(f"from 2^24 down to 2^{math.log2(scale):.0f}; of 20 steps {taken} were taken")
    print(f"bfloat16 reaches {float(tf.bfloat16.max):.1e} and needs no scaling")

# %% [markdown]
r"""
Loss scaling gives back what rounding to 0 took, and nothing more: divided by the scale, the
vanishing gradient of the sigmoid network is as small as it was. `bfloat16` has the range of
`float32` and only three digits; most large models use it today.

## Try it

1. Train the sigmoid network with `Arm("", "tanh", "glorot")`. Expect a loss below 0.2 without any
   cure: the slope of tanh is 1 at 0, that of the sigmoid 1/4.
2. Take the factor `tf.math.rsqrt(...)` out of the residual connections and look at *relu, large*
   with 100 layers. Expect gradients beyond $10^{25}$: each layer now multiplies the square by about
   $1 + 4.5 / 2$, and $3.25^{50} = 10^{25.6}$.
3. Train *relu, large* with 20 layers and clipping at 5. Expect it to stay finite and to learn next
   to nothing: clipping bounds the step, it does not repair the weights that made it explode.

Sources: X. Glorot, Y. Bengio, Understanding the difficulty of training deep feedforward neural
networks, 2010. K. He et al., Delving deep into rectifiers, 2015 (arXiv:1502.01852). R. Pascanu, T.
Mikolov, Y. Bengio, On the difficulty of training recurrent neural networks, 2013 (arXiv:1211.5063).
P. Micikevicius et al., Mixed precision training, 2018 (arXiv:1710.03740). C. Newman, The
distribution of Lyapunov exponents: exact results for random matrices, 1986.
"""


# %% tags=["module-only"]
@dataclass(frozen=True)
class GradientStabilityResult:
    """What `run` found; arrays are float64."""

    activation: str
    initializer: str
    factor_foreseen: float
    """A hidden layer's factor on the squared error signal, from the slopes of 20 layers."""
    factor_measured: float
    """The same, measured on the way back."""
    sweep: dict[int, np.ndarray]
    """For each depth, log10 gradient norm by layer: (depth,)."""
    norms: dict[str, np.ndarray]
    """For the network as it is and with each cure, at the greatest depth, the same."""
    trained_depth: int
    curves: dict[str, np.ndarray]
    """For each of these with `trained_depth` layers, the loss at each step: (steps, seeds)."""
    loss_scales: np.ndarray
    """Loss scales of float16, (scales,)."""
    lost: np.ndarray
    """The share of a sigmoid network's first gradient that is 0 at each of them, (scales,)."""

    def table(self) -> Table:
        """Gradients before training and losses after it, with each cure."""
        depth = max(self.sweep)
        rows = []
        for name, curve in self.curves.items():
            norms = self.norms[name]
            rows.append((name, norms[0], norms[-2], *outcome(curve)[:4]))
        sixteen = int(np.argmin(np.abs(self.loss_scales - 2.0**16)))
        return Table(
            f"{self.activation}, {self.initializer}: log10 gradient norms of {depth} layers; "
            f"loss of {self.trained_depth} (inf: diverges)\n"
            f"Factor of a hidden layer on the squared error signal: {self.factor_foreseen:.3f} "
            f"foreseen, {self.factor_measured:.3f}\n"
            f"float16 zeroes {self.lost[0]:.1%} of a sigmoid net's first gradient; "
            f"scaled by 2^16, {self.lost[sixteen]:.1%}",
            ("network", "layer 1", f"layer {depth - 1}", "first loss", "last", "least", "most"),
            ("", ".1f", ".1f", ".2f", ".3f", ".3f", ".3f"),
            rows,
        )

    @_plots.drawing
    def figure(self) -> _plots.Picture:
        """The heat map of the network as it is, and the losses with each cure."""
        depth = max(self.sweep)
        last = self.sweep[depth]
        figure, (left, right) = _plots.picture(
            f"{self.activation}, {self.initializer}: layer 1 of {depth} has a gradient of "
            f"10^{last[0]:.0f}",
            f"Left: heat map of log10 gradient norm, a triangle of depth and layer; at {depth} "
            f"layers it is {last[0]:.1f} in layer 1 and {last[-2]:.1f} in layer {depth - 1}. "
            f"Right: loss of {self.trained_depth} layers against step: {describe(self.curves)}.",
            columns=2,
            size=(7, 5),
        )
        image = draw_heat_map(left, self.sweep)
        left.set(xlabel="layers in the network", ylabel="layer, 1 is next to the input")
        figure.colorbar(image, ax=left, extend="both", label="log10 gradient norm", location="top")
        draw_curves(right, self.curves)
        right.set(ylabel="loss of a batch", title=f"{self.trained_depth} layers, trained")
        handles, labels = right.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        return figure


QUICK: dict = {"depth": 50, "seeds": 3, "steps": 150}


def run(
    *,
    activation: Activation = "sigmoid",
    initializer: Initializer = "glorot",
    depth: int = 100,
    width: int = 32,
    trained_depth: int = 10,
    learning_rate: float = 0.1,
    clip: float = 5.0,
    steps: int = 300,
    seeds: int = 5,
    seed: int = 0,
) -> GradientStabilityResult:
    """Measures the gradients of a deep network before training, and trains it with each cure.

    Args:
        activation: What stands between the layers: sigmoid, tanh, relu or gelu.
        initializer: The scale of the weights: glorot, he, small (half of glorot) or large (1.5 he).
        depth: The most layers of the networks whose gradients are measured.
        width: Units of a hidden layer.
        trained_depth: Layers of the networks that are trained.
        learning_rate: Of plain gradient descent.
        clip: The global norm at which gradients are clipped.
        steps: Training steps on mini-batches of 64.
        seeds: Networks of each kind; they differ in their random weights.
        seed: Seeds the weights and the batches.

    Raises:
        OptionError: for an option out of its range.
        FloatingPointError: where gradients overflow float64, or every network diverges.
    """
    for name, word, kinds in (
        ("activation", activation, ACTIVATIONS),
        ("initializer", initializer, INITIALIZERS),
    ):
        if word not in kinds:
            raise _options.OptionError(
                f"`{name}` must be one of {', '.join(kinds)}. Received: {name}={word!r}"
            )
    for name, value in (("depth", depth), ("width", width), ("trained_depth", trained_depth)):
        _options.at_least(name, value, 2)
    learning_rate = _options.in_interval("learning_rate", learning_rate, "[0, inf)")
    clip = _options.in_interval("clip", clip, "(0, inf)")
    _options.at_least("steps", steps, 20)
    _options.at_least("seeds", seeds, 1)
    _options.at_least("seed", seed, 0)

    chosen = arms(activation, initializer, clip)
    norms = {}
    for arm in chosen:
        g = gradient_norms(arm.activation, [arm.initializer], arm.cure, depth, width, seeds, seed)[
            :, 0
        ]
        g = g * np.minimum(1, arm.clip / np.linalg.norm(g, axis=0))
        norms[arm.name] = np.median(log10(g), axis=1)
    curves = {}
    for arm in track(chosen, "Training"):
        curves[arm.name], _ = train(arm, trained_depth, width, learning_rate, steps, seeds, seed)
    sound = [np.isfinite(curve).any(axis=1).sum() for curve in curves.values()]
    if max(sound) < steps:
        raise FloatingPointError(
            f"every network diverges, the last at step {max(sound)} of {steps}: learning_rate "
            f"{learning_rate:g} is too large"
        )
    foreseen, measured = activation_factor(activation, initializer, 20, width, seeds, seed)
    return GradientStabilityResult(
        activation=activation,
        initializer=initializer,
        factor_foreseen=float(foreseen),
        factor_measured=float(measured),
        sweep=sweep_depths(activation, initializer, depth, width, seeds, seed),
        norms=norms,
        trained_depth=trained_depth,
        curves=curves,
        loss_scales=np.array(SCALES),
        lost=sweep_scales(10, 32, seeds, seed)["lost"],
    )
