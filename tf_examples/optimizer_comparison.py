# %% [markdown]
r"""
# Optimizer comparison

**Momentum, AdaGrad, RMSprop and Adam are said to converge faster than gradient descent. Do they,
once each may use the learning rate that suits it?**

Paragraphs 3.3 and 4.3 of the article · 45 minutes · know before: the notebook `gradient_descent`.
"""

# %%
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

import custom_optimizers
from tf_examples import _options, _plots
from tf_examples._report import Table, show, track

# %% [markdown]
r"""
## Six rules

All six get the same thing, the gradient $g$ at the present place $w$, and differ in the step they
make of it. $\alpha$ is the learning rate; $m$ and $v$ start at 0 and are what a rule remembers;
$g^2$, the root and the fraction are taken for each coordinate by itself.

$$\begin{aligned}
\text{gradient descent} \quad & w \leftarrow w - \alpha g \\
\text{Momentum (heavy ball)} \quad & m \leftarrow \mu m - \alpha g, \quad w \leftarrow w + m \\
\text{Nesterov} \quad & m \leftarrow \mu m - \alpha g, \quad w \leftarrow w + \mu m - \alpha g \\
\text{AdaGrad} \quad & v \leftarrow v + g^2, \quad
    w \leftarrow w - \alpha g / \sqrt{0.1 + v + \varepsilon} \\
\text{RMSprop} \quad & v \leftarrow \rho v + (1 - \rho) g^2, \quad
    w \leftarrow w - \alpha g / \sqrt{v + \varepsilon} \\
\text{Adam} \quad & m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
    v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \\
& w \leftarrow w - \alpha \, \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t} \,
    \frac{m}{\sqrt{v} + \varepsilon}
\end{aligned}$$

Everything but $\alpha$ stays at its usual value: $\mu = \rho = \beta_1 = 0.9$, $\beta_2 = 0.999$,
$\varepsilon = 10^{-7}$.
"""

# %%
EPSILON = 1e-7
Step = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
"""What a rule gives back: the step, and its memory m and v after it."""


def gradient_descent(g: tf.Tensor, lr: tf.Tensor, t: tf.Tensor, m: tf.Tensor, v: tf.Tensor) -> Step:
    return -lr * g, m, v


def momentum(g, lr, t, m, v, mu: float = 0.9) -> Step:
    m = mu * m - lr * g
    return m, m, v


def nesterov(g, lr, t, m, v, mu: float = 0.9) -> Step:
    m = mu * m - lr * g
    return mu * m - lr * g, m, v


def adagrad(g, lr, t, m, v) -> Step:
    v = v + g**2
    return -lr * g / tf.sqrt(0.1 + v + EPSILON), m, v


def rmsprop(g, lr, t, m, v, rho: float = 0.9) -> Step:
    v = rho * v + (1 - rho) * g**2
    return -lr * g / tf.sqrt(v + EPSILON), m, v


def adam(g, lr, t, m, v, beta_1: float = 0.9, beta_2: float = 0.999) -> Step:
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * g**2
    correction = tf.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    return -lr * correction * m / (tf.sqrt(v) + EPSILON), m, v


RULES: dict[str, Callable[..., Step]] = {
    "GradientDescent": gradient_descent,
    "Momentum": momentum,
    "Nesterov": nesterov,
    "Adagrad": adagrad,
    "RMSprop": rmsprop,
    "Adam": adam,
}

# %%
if __name__ == "__main__":
    g, nothing = tf.constant([1.0, 100.0]), tf.zeros(2)
    first = {name: rule(g, 0.01, 1.0, nothing, nothing)[0].numpy() for name, rule in RULES.items()}
    show(
        Table(
            "The first step, at learning rate 0.01, where the gradient is (1, 100)",
            ("rule", "along x", "along y"),
            ("", ".4f", ".4f"),
            [(name, *step) for name, step in first.items()],
        )
    )

# %% [markdown]
r"""
The first three go a hundred times as far along $y$ as along $x$, as the gradient does. The last
three divide that out: they look at the sign of a coordinate's gradient, and hardly at its size.
Adam's first step is $\alpha$ long in each coordinate, RMSprop's $\alpha / \sqrt{1 - \rho}$.

## Four surfaces, one loop

Two parameters, so that a path can be drawn, and a minimum that is known, with the loss 0:

| surface | loss of $w = (x, y)$ |
|---|---|
| bowl | $(x^2 + y^2) / 2$ |
| ravine | $(a^2 + k b^2) / 2$, with $(a, b)$ the point $(x, y)$ turned by an angle |
| Rosenbrock | $(1 - x)^2 + 100 \, (y - x^2)^2$ |
| Beale | $(1.5 - x + xy)^2 + (2.25 - x + xy^2)^2 + (2.625 - x + xy^3)^2$ |

What makes a surface hard is its *condition number* $k$: how many times steeper it curves in its
steepest direction than in its flattest.
"""


# %%
@dataclass(frozen=True)
class Surface:
    """A loss of two parameters, (..., 2) -> (...), and where a race on it starts and ends."""

    name: str
    loss: Callable[[Any], Any]
    start: tuple[float, float]
    minimum: tuple[float, float]
    view: tuple[float, float, float, float]
    """What a picture shows: left, right, bottom, top."""


def ravine(condition_number: float = 25.0, angle: float = 30.0) -> Surface:
    """A quadratic valley that curves `condition_number` times as much across as along.

    It is turned by `angle` degrees, and so is its start, half of whose loss lies in each direction.
    """
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))

    def loss(w):
        x, y = tf.unstack(w, axis=-1)
        return ((c * x + s * y) ** 2 + condition_number * (c * y - s * x) ** 2) / 2

    along, across = -5.0, 5 / math.sqrt(condition_number)
    start = c * along - s * across, s * along + c * across
    return Surface("Ravine", loss, start, (0.0, 0.0), (-6.0, 2.4, -3.6, 2.4))


def bowl_loss(w):
    return tf.reduce_sum(w**2, axis=-1) / 2


def rosenbrock_loss(w):
    x, y = tf.unstack(w, axis=-1)
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def beale_loss(w):
    x, y = tf.unstack(w, axis=-1)
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


SURFACES = {
    "bowl": Surface("Bowl", bowl_loss, (-4.0, 3.0), (0.0, 0.0), (-5.0, 3.0, -2.0, 4.0)),
    "ravine": ravine(),
    "rosenbrock": Surface(
        "Rosenbrock", rosenbrock_loss, (-1.2, 1.0), (1.0, 1.0), (-1.9, 1.7, -0.9, 1.8)
    ),
    "beale": Surface("Beale", beale_loss, (1.0, 1.0), (3.0, 0.5), (0.2, 4.2, -1.3, 1.7)),
}

# %% [markdown]
r"""
The loop is the one of `gradient_descent`, with the rule and its memory in it. What moves is a
tensor whose last axis is $(x, y)$; all other axes are runs that don't touch each other, so that
one loop holds a thousand runs as easily as one. Noise is added to the gradient, as a small batch
of examples would add it. All numbers are float64, so that rounding plays no part.
"""


# %%
def descend(
    rule: Callable[..., Step], surface: Surface, start: np.ndarray, rates: Any, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Moves `start`, (..., 2), by one step of `rule` for each row of `noise`.

    Args:
        rates: the learning rates, of a shape that broadcasts against `start`.
        noise: what is added to the gradient at each step, (steps, ...) broadcasting as well.

    Returns:
        Where it was, (steps + 1, ..., 2), and its loss there, (steps + 1, ...). Runs that diverge
        end in infinities and NaN.
    """
    w_0, lr, added = (tf.constant(a, tf.float64) for a in (start, rates, noise))

    @tf.function
    def loop() -> tuple[tf.Tensor, tf.Tensor]:
        w, m, v = w_0, tf.zeros_like(w_0), tf.zeros_like(w_0)
        path = tf.TensorArray(tf.float64, len(noise) + 1, element_shape=w.shape)
        losses = tf.TensorArray(tf.float64, len(noise) + 1, element_shape=w.shape[:-1])
        for i in tf.range(len(noise)):
            with tf.GradientTape() as tape:
                tape.watch(w)
                loss = surface.loss(w)
            path, losses = path.write(i, w), losses.write(i, loss)
            g = tape.gradient(loss, w) + added[i]
            step, m, v = rule(g, lr, tf.cast(i + 1, tf.float64), m, v)
            w = w + step
        path, losses = path.write(len(noise), w), losses.write(len(noise), surface.loss(w))
        return path.stack(), losses.stack()

    # Each rule on each surface is a graph of its own: traced here, once, on purpose.
    path, losses = loop.get_concrete_function()()
    return path.numpy(), losses.numpy()


def curvatures(surface: Surface) -> np.ndarray:
    """The eigenvalues of the Hessian at the minimum, in rising order: float64, (2,)."""
    w = tf.constant(surface.minimum, tf.float64)
    with tf.GradientTape() as outer:
        outer.watch(w)
        with tf.GradientTape() as inner:
            inner.watch(w)
            loss = surface.loss(w)
        g = inner.gradient(loss, w)
    return np.linalg.eigvalsh(outer.jacobian(g, w).numpy())


# %%
if __name__ == "__main__":
    rows = []
    for surface in SURFACES.values():
        low, high = curvatures(surface)
        loss = float(surface.loss(tf.constant(surface.start, tf.float64)))
        rows.append((surface.name, f"{surface.minimum}", loss, low, high, high / low))
    heads = ("surface", "minimum", "loss at the start", "flattest", "steepest", "condition number")
    show(Table("Curvatures at the minimum", heads, ("", "", ".1f", ".2f", ".1f", ".0f"), rows))

# %% [markdown]
r"""
## One rate for all misleads

Which rule is fastest? Count the steps until the loss is at most 0.01, and stays there: from the
step of arrival to the end, no 50 steps in a row have a higher mean. A lucky pass through the
minimum doesn't count, nor does a run that comes near and is thrown out again.

Forty-one learning rates from 0.0001 to 10, with exact and with noisy gradients, from 22 starts
near the one above: one tensor, and one loop a rule. A rule's best rate is the one at which three
quarters of the first 11 starts arrive soonest; the steps at that rate are counted on the other 11,
so that a rate chosen by luck gains nothing.
"""

# %%
RATES = np.geomspace(1e-4, 10, 41).astype("float32").astype("float64")  # float32 knows them, too
WINDOW = 50
SPREAD = 0.2


def conditions(
    surface: Surface, noise: float, steps: int, seeds: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The starts, (2 seeds, 2), and what is added to the gradients, (steps, 2, 1, 2 seeds, 2).

    The second axis of the noise is: nothing, noise.
    """
    random = np.random.default_rng(seed)
    starts = surface.start + SPREAD * random.normal(size=(2 * seeds, 2))
    added = np.zeros((steps, 2, 1, 2 * seeds, 2))
    added[:, 1, 0] = noise * random.normal(size=(steps, 2 * seeds, 2))
    return starts, added


def arrival(losses: np.ndarray, tolerance: float) -> np.ndarray:
    """The first step with a loss within `tolerance` after which no mean of WINDOW exceeds it.

    `losses` is (steps + 1, ...), the result (...): infinite where there is no such step.
    """
    # One loss of twice the window's share rules the window out, as any larger one would.
    ceiling = 2 * WINDOW * tolerance
    losses = np.minimum(np.nan_to_num(losses, nan=ceiling, posinf=ceiling), ceiling)
    total = np.cumsum(np.concatenate([np.zeros_like(losses[:1]), losses]), axis=0)
    within = total[WINDOW:] - total[:-WINDOW] <= WINDOW * tolerance
    stays = np.minimum.accumulate(within[::-1])[::-1]
    there = stays & (losses[: len(stays)] <= tolerance)
    return np.where(there.any(axis=0), there.argmax(axis=0), np.inf)


@dataclass(frozen=True)
class Sweep:
    """The steps that one rule needs on one surface, with exact or with noisy gradients."""

    quartiles: np.ndarray
    """Steps at each rate: lower quartile, median, upper quartile over the seeds: (3, rates)."""
    best: int
    """Which rate is best, judged by other seeds than those of `quartiles`."""

    @property
    def at_best(self) -> tuple[float, float, float]:
        """The quartiles at the best rate; infinite where a run doesn't arrive."""
        low, median, high = self.quartiles[:, self.best]
        return float(low), float(median), float(high)

    def at(self, rate: float) -> float:
        """The median at the rate next to `rate`."""
        return float(self.quartiles[1, np.argmin(np.abs(np.log(RATES / rate)))])


def quartiles(values: np.ndarray) -> np.ndarray:
    """Lower quartile, median, upper quartile of each half of the last axis: (6, ...).

    They are values that occur: infinities can't be averaged.
    """
    halves = np.split(values, 2, axis=-1)
    return np.concatenate(
        [np.quantile(half, [0.25, 0.5, 0.75], axis=-1, method="inverted_cdf") for half in halves]
    )


def sweep(
    rule: Callable[..., Step],
    surface: Surface,
    starts: np.ndarray,
    added: np.ndarray,
    tolerance: float,
) -> list[Sweep]:
    """Runs `rule` at all RATES from all starts; one Sweep for exact gradients, one for noisy."""
    start = np.broadcast_to(starts, (2, len(RATES), *starts.shape))
    _, losses = descend(rule, surface, start, RATES[:, None, None], added)
    chosen, counted = np.split(quartiles(arrival(losses, tolerance)), 2)
    last, _ = np.split(quartiles(np.nan_to_num(losses[-1], nan=np.inf)), 2)
    # Where no rate arrives, the one with the lowest last loss is the best.
    best = [np.lexsort((last[2, level], chosen[2, level]))[0] for level in range(2)]
    return [Sweep(counted[:, level], int(best[level])) for level in range(2)]


# %%
if __name__ == "__main__":
    sweeps: dict[str, dict[str, list[Sweep]]] = {}
    for key in track(list(SURFACES), "Sweeping four surfaces"):
        starts, added = conditions(SURFACES[key], noise=1.0, steps=2000, seeds=11, seed=0)
        sweeps[key] = {
            name: sweep(rule, SURFACES[key], starts, added, 0.01) for name, rule in RULES.items()
        }
    print(f"{len(SURFACES) * len(RULES)} sweeps, each of {2 * len(RATES) * len(starts):,} runs")

# %% [markdown]
r"""
First the ravine, with exact gradients: all at 0.01, all at 0.1, and each at its own best rate.
"""


# %%
def ranking(sweeps: dict[str, list[Sweep]], shared: tuple[float, ...] = (0.01, 0.1)) -> Table:
    """The median steps with exact gradients at `shared` rates and at each rule's best, ranked."""
    columns = [{name: s[0].at(rate) for name, s in sweeps.items()} for rate in shared]
    columns.append({name: s[0].at_best[1] for name, s in sweeps.items()})

    def cell(steps: dict[str, float], name: str) -> str:
        rank = sorted(steps.values()).index(steps[name]) + 1
        return f"{steps[name]:.0f} ({rank}.)" if np.isfinite(steps[name]) else "not reached"

    def good(s: Sweep) -> str:
        """The rates around the best one at which steps are at most twice as many."""
        bad = ~(s.quartiles[1] <= 2 * s.at_best[1]) | ~np.isfinite(s.quartiles[1])
        if bad[s.best]:
            return "none"
        first = np.flatnonzero(bad[: s.best])[-1:] + 1
        last = np.flatnonzero(bad[s.best :])[:1] + s.best - 1
        low, high = RATES[first[0] if first.size else 0], RATES[last[0] if last.size else -1]
        return f"{low:.2g} to {high:.2g}"

    heads = *(f"at {rate:g}" for rate in shared), "at its best", "best rate", "good rates"
    rows = [
        (
            name, *(cell(column, name) for column in columns),
            f"{RATES[s[0].best]:.2g}", good(s[0]),
        )
        for name, s in sweeps.items()
    ]  # fmt: skip
    return Table(
        "Steps to the tolerance (and rank), all at one rate and each at its best;\n"
        "good rates take at most twice the steps of the best",
        ("rule", *heads), ("", *"sssss"), rows,
    )  # fmt: skip


def steps_in_words(steps: float) -> str:
    """A median number of steps, which may be infinite."""
    return f"{steps:.0f} steps" if np.isfinite(steps) else "not within the steps"


def legend_below(figure: _plots.Picture, axes: Any) -> None:
    """One legend for all panels: the labels of the lines in `axes`."""
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center", ncols=3, fontsize=11, handlelength=3.5,
    )  # fmt: skip


@_plots.drawing
def draw_sweep(
    surface: Surface, sweeps: dict[str, list[Sweep]], tolerance: float, noise: float
) -> _plots.Picture:
    """Steps to the tolerance against the learning rate, with exact and with noisy gradients."""
    best = {name: RATES[s[0].best] for name, s in sweeps.items()}
    least, most = min(best, key=best.__getitem__), max(best, key=best.__getitem__)
    figure, both = _plots.picture(
        f"{surface.name}: the best rate is {best[least]:.2g} for {least}, "
        f"{best[most]:.2g} for {most}",
        f"Steps to a loss of {tolerance:g} against the learning rate on logarithmic axes, one "
        "curve a rule, falling with the rate until it is too large. At its best rate, with exact "
        f"and with noisy gradients (noise {noise:g}): "
        + "; ".join(
            f"{name} {steps_in_words(exact.at_best[1])} at {RATES[exact.best]:.2g}, "
            f"{steps_in_words(noisy.at_best[1])} at {RATES[noisy.best]:.2g}"
            for name, (exact, noisy) in sweeps.items()
        )
        + ".",
        columns=2,
        sharey=True,
        size=(7, 4.6),
    )
    steps = np.maximum(np.stack([[s.quartiles for s in levels] for levels in sweeps.values()]), 1)
    medians = steps[:, :, 1][np.isfinite(steps[:, :, 1])]
    bottom, top = (0.7 * medians.min(), 1.4 * medians.max()) if medians.size else (1, 1000)
    titles = "exact gradients", f"gradients with noise {noise:g}"
    for level, (axes, title) in enumerate(zip(both, titles, strict=True)):
        for (name, s), (low, median, high) in zip(sweeps.items(), steps[:, level], strict=True):
            style, best_rate = _plots.OPTIMIZERS[name], s[level].best
            color = style["color"]
            axes.plot(RATES, np.where(np.isfinite(median), median, np.nan), label=name, **style)
            axes.plot(RATES[best_rate], median[best_rate], "o", color=color, markersize=7)
            # Where not all arrive, the band goes out of the picture.
            ends = np.minimum(low, 2 * top), np.minimum(high, 2 * top)
            axes.fill_between(RATES, *ends, color=color, alpha=0.2, linewidth=0)
        axes.set(
            title=title, xscale="log", yscale="log", xlim=RATES[[0, -1]], ylim=(bottom, top),
            xlabel=r"learning rate $\alpha$",
        )  # fmt: skip
    both[0].set_ylabel(f"steps to a loss of {tolerance:g}")
    both[0].yaxis.set_minor_formatter("")
    legend_below(figure, both[0])
    return figure


# %%
if __name__ == "__main__":
    show(ranking(sweeps["ravine"]), draw_sweep(SURFACES["ravine"], sweeps["ravine"], 0.01, 1.0))

# %% [markdown]
r"""
At 0.01 Nesterov and Momentum lead, Adam takes four times as long as gradient descent, and AdaGrad
never arrives. At 0.1 only Momentum and Adam arrive. Each at its own best rate, gradient descent is
ahead of Momentum, and AdaGrad is close behind. Three comparisons, three orders: a ranking at one
rate for all says which rule that rate suits, and nothing more. The rules mean different things by
$\alpha$: the last three divide the gradient's size out, and the steps of Momentum add up to
$1 / (1 - \mu) = 10$ of gradient descent's.

The last column says something else. Gradient descent is at its best right beside the rate at which
it diverges, and good over less than a factor of two. Momentum is good over a factor of more than
thirty, AdaGrad of more than ten: what they save is the search for a rate.

The paths, each at its own best rate with exact gradients:
"""


# %%
RACE = 250


def race(surface: Surface, sweeps: dict[str, list[Sweep]], steps: int = RACE) -> dict:
    """The path of each rule at its best rate, with exact gradients: (steps + 1, 2)."""
    start, nothing = np.array(surface.start), np.zeros((steps, 2))
    return {
        name: descend(rule, surface, start, RATES[sweeps[name][0].best], nothing)[0]
        for name, rule in RULES.items()
    }


def draw_map(axes: Any, surface: Surface) -> None:
    """Contours of a surface, its start and its minimum, with equal axes."""
    left, right, bottom, top = surface.view
    x, y = np.meshgrid(np.linspace(left, right, 240), np.linspace(bottom, top, 180))
    loss = surface.loss(tf.constant(np.stack([x, y], axis=-1))).numpy()
    levels = np.geomspace(1e-2, loss.max(), 16)
    axes.contour(x, y, loss, levels, colors=_plots.GREY, linewidths=0.6, alpha=0.6)
    axes.plot(*surface.start, "s", color=_plots.GREY, markersize=8)
    axes.plot(
        *surface.minimum, "*", color="white", markeredgecolor="black", markersize=14, zorder=5
    )
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", xlabel="$x$", ylabel="$y$")
    axes.grid(visible=False)


@_plots.drawing
def draw_surfaces(paths: dict[str, dict[str, np.ndarray]]) -> _plots.Picture:
    """The paths of all rules on all surfaces."""
    steps = len(next(iter(paths["bowl"].values()))) - 1

    def near(key: str, path: np.ndarray) -> float:
        return float(np.linalg.norm(path[-1] - SURFACES[key].minimum))

    figure, grid = _plots.picture(
        f"Within 0.1 of the minimum after {steps} steps: "
        + ", ".join(
            f"{sum(near(key, path) <= 0.1 for path in race.values())} of {len(race)} on {key}"
            for key, race in paths.items()
        ),
        "Contour maps of four surfaces with the paths of six rules from the start (square) towards "
        "the minimum (star). "
        + " ".join(
            f"{SURFACES[key].name}: distance to the minimum at the end "
            + ", ".join(f"{near(key, path):.1g} ({name})" for name, path in race.items())
            + "."
            for key, race in paths.items()
        ),
        rows=2,
        columns=2,
        size=(7, 6),
    )
    for axes, (key, race) in zip(grid.flat, paths.items(), strict=True):
        draw_map(axes, SURFACES[key])
        for name, path in race.items():
            axes.plot(*path.T, label=name, **_plots.OPTIMIZERS[name] | {"linewidth": 1.5})
        axes.set_title(SURFACES[key].name)
    legend_below(figure, axes)
    return figure


# %%
if __name__ == "__main__":
    paths = {key: race(SURFACES[key], sweeps[key]) for key in SURFACES}
    show(draw_surfaces(paths))

# %% [markdown]
r"""
Gradient descent zigzags across the ravine. Momentum swings past its minimum and comes back.
RMSprop sets out on a diagonal, since it only looks at signs. On Rosenbrock gradient descent and
RMSprop are in the curved valley at once, and then hardly move along it; AdaGrad is thrown out of
the picture and comes down beside the minimum. That is luck:
"""

# %%
if __name__ == "__main__":
    losses = rosenbrock_loss(tf.constant(paths["rosenbrock"]["Adagrad"])).numpy()
    typical = sweeps["rosenbrock"]["Adagrad"][0].at_best[1]
    print(
        f"AdaGrad on Rosenbrock: {arrival(losses, 0.01):.0f} steps from the start of the picture,"
    )
    print(f"{typical:,.0f} in the median of 11 starts around it")

# %% [markdown]
r"""
One path from one start proves nothing. So look at the next picture, the race on Beale, for *how*
each rule moves; who is how fast stands in the tables.
"""


# %%
def draw_race_with_lines(
    surface: Surface, paths: dict[str, np.ndarray], tolerance: float
) -> tuple[_plots.Picture, list]:
    """The picture of a race, and its lines: on the map, and of the loss."""
    steps = len(next(iter(paths.values()))) - 1
    losses = {name: surface.loss(tf.constant(path)).numpy() for name, path in paths.items()}
    steps_to = {name: arrival(loss, tolerance) for name, loss in losses.items()}
    first = {name: int(taken) for name, taken in steps_to.items() if np.isfinite(taken)}
    ahead = sorted(first, key=first.__getitem__)
    figure, (left, right) = _plots.picture(
        f"{surface.name}, each at its best rate: "
        + (f"{ahead[0]} is there first, at step {first[ahead[0]]}" if ahead else "none arrives")
        + f"; {len(ahead)} of {len(paths)} arrive in {steps} steps",
        f"Left: a contour map with six paths from the start (square) towards the minimum (star). "
        f"Right: the loss at each of {steps} steps on a logarithmic scale. A loss of {tolerance:g} "
        + "; ".join(
            f"{name} keeps from step {first[name]} on"
            if name in first
            else f"{name} doesn't keep, it ends at {losses[name][-1]:.2g}"
            for name in paths
        )
        + ".",
        columns=2,
        width_ratios=(1.4, 1),
        size=(7, 4.2),
    )
    draw_map(left, surface)
    lines = []
    for name, path in paths.items():
        style = _plots.OPTIMIZERS[name] | {"marker": "o", "markevery": [-1], "markersize": 7}
        lines += left.plot(*path.T, label=name, **style)
        lines += right.plot(np.arange(steps + 1), losses[name], label=name, **style)
    right.axhline(tolerance, color=_plots.GREY, linewidth=1)
    top = 2 * max(loss[0] for loss in losses.values())
    right.set(
        yscale="log", ylim=(tolerance / 30, top), xlim=(0, steps), xlabel="step", ylabel="loss"
    )
    legend_below(figure, right)
    return figure, lines


@_plots.drawing
def draw_race(surface: Surface, paths: dict[str, np.ndarray], tolerance: float) -> _plots.Picture:
    """The paths on the map, and the loss at each step."""
    return draw_race_with_lines(surface, paths, tolerance)[0]


@_plots.drawing
def animate_race(
    surface: Surface, paths: dict[str, np.ndarray], tolerance: float
) -> _plots.Animation:
    """The same, growing two steps a frame, until shortly after the last arrival."""
    figure, lines = draw_race_with_lines(surface, paths, tolerance)
    points = [line.get_xydata() for line in lines]
    title = figure.axes[0].set_title("step 0")
    moving = sorted(figure.axes[0].get_lines(), key=lambda line: line.get_zorder())

    def grow(step: int) -> None:
        for line, line_points in zip(lines, points, strict=True):
            line.set_data(*line_points[: step + 1].T)
        title.set_text(f"step {step}")

    losses = [points[i][:, 1] for i in range(1, len(points), 2)]
    last = 1.2 * max(float(arrival(loss, tolerance)) for loss in losses)
    end = int(min(last, len(losses[0]) - 1))
    moving += figure.axes[1].get_lines()
    return _plots.Animation(figure, [*moving, title], grow, range(0, end + 1, 2))


# %% tags=["readme"]
if __name__ == "__main__":
    show(draw_race(SURFACES["beale"], paths["beale"], 0.01))
    show(animate_race(SURFACES["beale"], paths["beale"], 0.01))

# %% [markdown]
r"""
## What theory says

For a quadratic the best values are known, and so is what a step then leaves of the error once many
have been taken. With curvatures from 1 to $k$:

| method | $\alpha$ | $\mu$ | a step leaves |
|---|---|---|---|
| gradient descent | $2 / (k + 1)$ | | $(k - 1) / (k + 1)$ |
| Momentum (heavy ball) | $4 / (\sqrt{k} + 1)^2$ | $r^2$ | $r = (\sqrt{k} - 1) / (\sqrt{k} + 1)$ |
| Nesterov | $1 / k$ | $r$ | $1 - 1 / \sqrt{k}$ |

The difference is the root: where gradient descent needs a number of steps that grows as $k$, the
other two need one that grows as $\sqrt{k}$.
"""


# %%
@dataclass(frozen=True)
class Tuned:
    """A method with the values that theory calls best on a quadratic, and what a step leaves."""

    rule: Callable[..., Step]
    learning_rate: float
    momentum: float
    predicted: float


def tuned(k: float) -> dict[str, Tuned]:
    """The three methods for curvatures from 1 to k (Polyak 1964; Nesterov 1983)."""
    root = math.sqrt(k)
    mu = (root - 1) / (root + 1)
    return {
        "GradientDescent": Tuned(gradient_descent, 2 / (k + 1), 0.0, (k - 1) / (k + 1)),
        "Momentum": Tuned(functools.partial(momentum, mu=mu**2), 4 / (root + 1) ** 2, mu**2, mu),
        "Nesterov": Tuned(functools.partial(nesterov, mu=mu), 1 / k, mu, 1 - 1 / root),
    }


def distances(method: Tuned, surface: Surface, steps: int) -> np.ndarray:
    """The distance to the minimum at each step from the surface's start: (steps + 1,)."""
    start, nothing = np.array(surface.start), np.zeros((steps, 2))
    path, _ = descend(method.rule, surface, start, method.learning_rate, nothing)
    return np.linalg.norm(path - surface.minimum, axis=-1)


def measured_rate(k: float, method: Tuned, angle: float = 30.0) -> float:
    """What a step leaves of the distance, on average over the last half of 40 sqrt(k) steps."""
    half = math.ceil(20 * math.sqrt(k))
    distance = distances(method, ravine(k, angle), 2 * half)
    return float(distance[-1] / distance[half]) ** (1 / half) if distance[half] > 0 else 0.0


@_plots.drawing
def draw_theory(k: float) -> _plots.Picture:
    """The distance to the minimum of the ravine, measured and predicted, for three methods."""
    methods, steps = tuned(k), math.ceil(12 * math.sqrt(k))
    lines = {name: distances(method, ravine(k), steps) for name, method in methods.items()}
    rates = {name: measured_rate(k, method) for name, method in methods.items()}
    figure, axes = _plots.picture(
        f"At condition number {k:g} a step leaves {rates['GradientDescent']:.1%} of the error with "
        f"gradient descent, {rates['Momentum']:.1%} with Momentum",
        f"The distance to the minimum over {steps} steps on a logarithmic scale: "
        + ", ".join(f"{name} ends at {line[-1]:.1e}" for name, line in lines.items())
        + ". Thin grey lines fall as predicted from the same start; the measured ones of Momentum "
        "and Nesterov lie above theirs and become parallel to them.",
    )
    for name, line in lines.items():
        axes.plot(line, label=name, **_plots.OPTIMIZERS[name])
        predicted = line[0] * methods[name].predicted ** np.arange(steps + 1)
        axes.plot(predicted, color=_plots.GREY, linewidth=1)
    axes.set(yscale="log", xlabel="step", ylabel="distance to the minimum", xlim=(0, steps))
    axes.text(0.02, 0.04, "grey: the predicted rate", color=_plots.GREY, transform=axes.transAxes)
    _plots.label_ends(axes)
    return figure


# %%
if __name__ == "__main__":
    measured: list[tuple[Any, ...]] = []
    for k in (25, 100, 400):
        for name, method in tuned(k).items():
            rate = measured_rate(k, method)
            row = (k, name, method.learning_rate, method.momentum, method.predicted, rate)
            measured.append((*row, math.log(10) / -math.log(rate)))
    columns = ("k", "method", "learning rate", "momentum", "predicted", "measured", "steps a digit")
    formats = ("d", "", ".4f", ".3f", ".4f", ".4f", ".1f")
    show(Table("What a step leaves of the error", columns, formats, measured), draw_theory(100))

# %% [markdown]
r"""
The last column counts the steps for one more decimal of the minimum: four times the condition
number costs gradient descent four times the steps, the other two twice. The measured rates of
Momentum and Nesterov are a little high: both have a double root there, and their error falls as
$t \, \varrho^t$. The factor $t$ is the bulge at the start of the curves, and it fades slowly.

So why was Momentum slower than gradient descent on the ravine above? Because 0.9 is the best
$\mu$ of another ravine. Solve the table for $k$:
"""


# %%
def best_condition_number(mu: float) -> float:
    """The condition number for which `mu` is the heavy ball's best momentum."""
    root = math.sqrt(mu)
    return ((1 + root) / (1 - root)) ** 2


# %%
if __name__ == "__main__":
    print(f"0.9 is the best momentum for condition number {best_condition_number(0.9):,.0f}")
    for name, method in tuned(25).items():
        path, losses = descend(
            method.rule,
            SURFACES["ravine"],
            np.array(SURFACES["ravine"].start),
            method.learning_rate,
            np.zeros((2000, 2)),
        )
        at_best = sweeps["ravine"][name][0].at_best[1]
        print(f"{name}: {at_best:.0f} steps above, {arrival(losses, 0.01):.0f} as theory has it")

# %% [markdown]
r"""
With the momentum of its own ravine the heavy ball beats gradient descent by more than two to one.
And Rosenbrock's valley has condition number 2,508, of the size that 0.9 suits: there Momentum
was the first, and gradient descent not there after 2,000 steps.

## Is "faster" true?

The article says that these techniques help to converge faster. Here is the test: all rules, all
surfaces, exact and noisy gradients, each at its own best rate. A `+` stands where the middle half
of a rule's runs is faster than the middle half of gradient descent's, a `-` where it is slower;
without a sign the two overlap, or too few runs arrive.
"""


# %%
def verdict(rule: Sweep, gradient_descent: Sweep) -> str:
    """ "+" for faster than gradient descent, "-" for slower, "" where quartiles overlap."""
    (low, _, high), (low_gd, _, high_gd) = rule.at_best, gradient_descent.at_best
    return "+" if high < low_gd else "-" if low > high_gd else ""


def verdicts(sweeps: dict[str, dict[str, list[Sweep]]], level: int, title: str) -> Table:
    """The quartiles of all rules on all surfaces at their best rates; level 0 is exact, 1 noisy."""

    def cell(s: list[Sweep], other: list[Sweep]) -> str:
        low, median, high = (f"{q:.0f}" if np.isfinite(q) else "∞" for q in s[level].at_best)
        return f"{median} ({low}, {high}) {verdict(s[level], other[level])}".strip()

    rows = [
        (name, *(cell(on[name], on["GradientDescent"]) for on in sweeps.values())) for name in RULES
    ]
    columns = ("rule", *(SURFACES[key].name for key in sweeps))
    return Table(title, columns, ("",) * len(columns), rows)


# %%
if __name__ == "__main__":
    titles = "Exact gradients", "Gradients with noise 1"
    for level, title in enumerate(titles):
        show(verdicts(sweeps, level, f"{title}: median steps (quartiles) at the best rate"))
    signs = [
        verdict(on[name][level], on["GradientDescent"][level])
        for on in sweeps.values()
        for name in list(RULES)[1:]
        for level in range(2)
    ]
    for meaning, sign in (("faster", "+"), ("slower", "-"), ("can't be told", "")):
        print(f"{meaning}: {signs.count(sign)} of {len(signs)}")

# %% [markdown]
r"""
As it stands the sentence is false: slower is as frequent as faster. On the bowl nothing can beat
gradient descent, which is there in one step. On Rosenbrock, whose curvatures differ by a factor of
2,508, Momentum, Nesterov and Adam arrive and gradient descent doesn't. And noise levels the rest:
on bowl, ravine and Beale neither Momentum nor Nesterov can be told from gradient descent. Their
best rates say why. With noise, rates must be so small that the velocity has time to settle, and
Momentum at $\alpha$ is then gradient descent at $\alpha / (1 - \mu) = 10 \alpha$.
"""

# %%
if __name__ == "__main__":
    for key in ("bowl", "ravine", "beale"):
        rates = [RATES[sweeps[key][name][1].best] for name in ("GradientDescent", "Momentum")]
        print(f"{key}: best rates with noise {rates[0]:.2g} and {rates[1]:.2g}: "
              f"a factor of {rates[0] / rates[1]:.0f}")  # fmt: skip

# %% [markdown]
r"""
## The same, with optimizers

`custom_optimizers` has each rule in a file of its own, and Keras has its own. Both work element by
element, and take a function for a learning rate: a variable that holds all runs and a function that
returns a tensor of rates are a whole sweep in one optimizer.
"""

# %%
SGD, OURS = keras.optimizers.SGD, custom_optimizers
OPTIMIZERS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "GradientDescent": (OURS.GradientDescent, SGD),
    "Momentum": (OURS.Momentum, functools.partial(SGD, momentum=0.9)),
    "Nesterov": (
        functools.partial(OURS.Momentum, nesterov=True),
        functools.partial(SGD, momentum=0.9, nesterov=True),
    ),
    "Adagrad": (OURS.Adagrad, keras.optimizers.Adagrad),
    "RMSprop": (OURS.RMSprop, keras.optimizers.RMSprop),
    "Adam": (OURS.Adam, keras.optimizers.Adam),
}
"""Ours and Keras's, for each rule."""


def descend_with(
    make: Callable[..., Any], surface: Surface, start: np.ndarray, rates: Any, noise: np.ndarray
) -> np.ndarray:
    """What `descend` does, with the optimizer that `make(learning_rate)` makes; only the path."""
    w, lr, added = tf.Variable(start), tf.constant(rates, tf.float64), tf.constant(noise)
    optimizer = make(lambda: lr)
    optimizer.build([w])

    @tf.function
    def loop() -> tf.Tensor:
        path = tf.TensorArray(tf.float64, len(noise) + 1, element_shape=w.shape).write(0, w)
        for i in tf.range(len(noise)):
            with tf.GradientTape() as tape:
                loss = surface.loss(w)
            optimizer.apply([tape.gradient(loss, w) + added[i]], [w])
            path = path.write(i + 1, w)
        return path.stack()

    return loop.get_concrete_function()().numpy()


def tell_three_times(
    surface: Surface, sweeps: dict[str, list[Sweep]], starts: np.ndarray, added: np.ndarray
) -> dict[str, tuple[float, float]]:
    """How far the custom optimizers and Keras's ever are from the bare loop, for each rule.

    All starts run at once, with exact and with noisy gradients, at the best rate for each.
    Coordinates beyond 1 are compared in relation to their size.
    """
    apart = {}
    start = np.broadcast_to(starts, (2, 1, *starts.shape))
    for name, makers in track(list(OPTIMIZERS.items()), "Ours and Keras's"):
        rates = RATES[[s.best for s in sweeps[name]]].reshape(2, 1, 1, 1)
        path, _ = descend(RULES[name], surface, start, rates, added)
        there = np.isfinite(path)
        ours, theirs = (
            descend_with(make, surface, start, rates, added)[there] - path[there] for make in makers
        )
        size = np.maximum(1, np.abs(path[there]))
        apart[name] = float(np.abs(ours / size).max()), float(np.abs(theirs / size).max())
    return apart


# %%
if __name__ == "__main__":
    starts, added = conditions(SURFACES["beale"], noise=1.0, steps=RACE, seeds=11, seed=0)
    apart = tell_three_times(SURFACES["beale"], sweeps["beale"], starts, added)
    title = f"Largest distance from the bare loop, {RACE} steps of 44 runs"
    heads_apart = ("rule", "custom optimizer", "Keras's own")
    distance = [(name, *two) for name, two in apart.items()]
    show(Table(title, heads_apart, ("", ".0e", ".0e"), distance))

# %% [markdown]
r"""
Ours never leave the loop by more than rounding; AdaGrad by a little more, since the 0.1 from which
it starts is a float32. Of Keras's, those with momentum and Adam part from it in the seventh decimal
and the fifth: they pass 0.9 and 0.999 through float32, which knows 0.9 as 0.89999998. Rounded
alike, loop and Keras are one:
"""

# %%
if __name__ == "__main__":
    start = np.broadcast_to(starts, (2, 1, *starts.shape))
    own = RATES[[s.best for s in sweeps["beale"]["Momentum"]]].reshape(2, 1, 1, 1)
    rounded = functools.partial(momentum, mu=float(np.float32(0.9)))
    path, _ = descend(rounded, SURFACES["beale"], start, own, added)
    theirs = descend_with(OPTIMIZERS["Momentum"][1], SURFACES["beale"], start, own, added)
    print(f"Momentum with 0.9 as a float32: {np.abs(path - theirs).max():.0e} from Keras's")

# %% [markdown]
r"""
## Try it

1. Turn the ravine upright, `ravine(angle=0)`, and sweep again. Expect AdaGrad to become ten times
   as fast and to beat all others: it has a rate for each coordinate, and now a coordinate is a
   direction of the ravine. Gradient descent, Momentum and Nesterov hardly notice.
2. Raise the condition number: `ravine(400)`. Expect gradient descent to need sixteen to twenty
   times as many steps, since they grow as $k$, and Momentum hardly more than before: 400 is nearer
   to the condition number that its 0.9 is for.
3. Sweep the bowl with noise 0.1 instead of 1. Expect gradient descent's best rate to rise a
   hundredfold, and its steps to fall as much: the variance of the noise is a hundredth, and it was
   the noise that forbade large steps.
"""


# %% tags=["module-only"]
@dataclass(frozen=True)
class OptimizerComparisonResult:
    """What `run` found; `sweeps` has exact gradients first, then noisy ones, for each rule."""

    surface: str
    condition_number: float
    angle: float
    noise: float
    tolerance: float
    rates: np.ndarray
    """The learning rates of the sweeps, (rates,)."""
    sweeps: dict[str, list[Sweep]]
    paths: dict[str, np.ndarray]
    """Each rule at its best rate with exact gradients, (race + 1, 2)."""
    predicted: dict[str, float]
    """What a step leaves of the error on a quadratic, by theory."""
    measured: dict[str, float]
    """The same, measured."""
    apart: dict[str, tuple[float, float]]
    """How far custom optimizers and Keras's ever are from the bare loop."""

    def _surface(self) -> Surface:
        return choose(self.surface, self.condition_number, self.angle)

    def table(self) -> Table:
        """Each rule at its own best rate, with exact and with noisy gradients."""
        theory = "; ".join(
            f"{name} {self.predicted[name]:.3f}, {rate:.3f}" for name, rate in self.measured.items()
        )
        rows = []
        for name, levels in self.sweeps.items():
            row: list[Any] = [name]
            for s, other in zip(levels, self.sweeps["GradientDescent"], strict=True):
                low, median, high = (q if np.isfinite(q) else None for q in s.at_best)
                row += [RATES[s.best], median, low, high, verdict(s, other)]
            rows.append((*row, self.apart[name][0]))
        level = ("rate", "steps", "25%", "75%", "")
        return Table(
            f"{self._surface().name}: steps to a loss of {self.tolerance:g} at each rule's best "
            "rate, with quartiles\n"
            f"Left: exact gradients, right: noise {self.noise:g}; + faster, - slower than the "
            "first row\nOff: the largest distance of the custom optimizer from the bare loop\n"
            f"A step leaves, at condition number {self.condition_number:g}, predicted and "
            "measured:\n"
            f"{theory}",
            ("rule", *level, *level, "off"),
            ("", *(".2g", ".0f", ".0f", ".0f", "") * 2, ".0e"),
            rows,
        )

    def figure(self) -> _plots.Picture:
        """Steps to the tolerance against the learning rate."""
        return draw_sweep(self._surface(), self.sweeps, self.tolerance, self.noise)

    def animation(self) -> _plots.Animation:
        """The race: each rule at its best rate with exact gradients."""
        return animate_race(self._surface(), self.paths, self.tolerance)


def choose(surface: str, condition_number: float, angle: float) -> Surface:
    """The surface of that name."""
    return ravine(condition_number, angle) if surface == "ravine" else SURFACES[surface]


QUICK = {"steps": 600, "seeds": 5}


def run(
    *,
    surface: Literal["bowl", "ravine", "rosenbrock", "beale"] = "ravine",
    condition_number: float = 25.0,
    angle: float = 30.0,
    noise: float = 1.0,
    steps: int = 2000,
    tolerance: float = 0.01,
    seeds: int = 11,
    seed: int = 0,
) -> OptimizerComparisonResult:
    """Sweeps the learning rates of six optimizers on one surface.

    Args:
        surface: Where they race.
        condition_number: How many times as steeply the ravine curves across as along; the rates
            of theory are measured at it on any surface.
        angle: How far the ravine is turned, in degrees.
        noise: Standard deviation of what is added to the noisy gradients.
        steps: How many steps each run has.
        tolerance: The loss to reach; 0 is the minimum.
        seeds: How many runs at each rate; as many again choose the best rate.
        seed: Seeds starts and noise.

    Raises:
        OptionError: for an option out of its range. A run that diverges is a result: it doesn't
            arrive.
    """
    # Up to 1e4, the lowest rates of the sweep converge for every rule.
    _options.in_interval("condition_number", condition_number, "[1, 1e4]")
    _options.in_interval("angle", angle, "[-360, 360]")
    _options.in_interval("noise", noise, "[0, 100]")
    _options.in_interval("tolerance", tolerance, "(0, inf)")
    _options.at_least("steps", steps, WINDOW)
    _options.at_least("seeds", seeds, 1)
    _options.at_least("seed", seed, 0)
    if surface not in SURFACES:
        raise _options.OptionError(
            f"`surface` must be one of {', '.join(SURFACES)}. Received: surface={surface!r}"
        )

    chosen = choose(surface, condition_number, angle)
    starts, added = conditions(chosen, noise, steps, seeds, seed)
    sweeps = {
        name: sweep(rule, chosen, starts, added, tolerance)
        for name, rule in track(list(RULES.items()), "Sweeping learning rates")
    }
    length = min(steps, RACE)
    methods = tuned(condition_number)
    return OptimizerComparisonResult(
        surface=surface,
        condition_number=condition_number,
        angle=angle,
        noise=noise,
        tolerance=tolerance,
        rates=RATES,
        sweeps=sweeps,
        paths=race(chosen, sweeps, length),
        predicted={name: method.predicted for name, method in methods.items()},
        measured={n: measured_rate(condition_number, m, angle) for n, m in methods.items()},
        apart=tell_three_times(chosen, sweeps, starts, added[:length]),
    )
