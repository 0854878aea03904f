# %% [markdown]
r"""
# Gradient descent

**How does a program find the lowest point of a valley when all it knows is the slope under its
feet?**

Paragraphs 3.1 and 4.1 of the article · 30 minutes · know before: a derivative is a slope.
"""

# %%
import math
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from custom_optimizers import GradientDescent
from tf_examples import _options, _plots
from tf_examples._report import Table, show

# %% [markdown]
r"""
## One step

A model has a parameter $\theta$, and a loss $J(\theta)$ says how wrong it is. The gradient
$\nabla J$ is the slope of the loss at the parameter's present value. One step goes against the
slope, as far as the learning rate $\alpha$ says:

$$\theta_{t+1} = \theta_t - \alpha \, \nabla J(\theta_t)$$

The article's program has the plainest loss there is: the squared distance between $\theta$ and a
target $y$. Its slope is $2(\theta - y)$, and `tf.GradientTape` finds the same number without being
told the rule.
"""


# %%
def loss_function(theta: tf.Tensor, target: float) -> tf.Tensor:
    """The mean squared distance between `theta` and `target`, a scalar."""
    return tf.reduce_mean(tf.square(theta - target))


# %%
if __name__ == "__main__":
    theta = tf.Variable([1.5])
    with tf.GradientTape() as tape:
        loss = loss_function(theta, 0.0)
    gradient = tape.gradient(loss, theta)
    print(f"loss {loss:.3f}, slope by the tape {gradient[0]:.3f}, by hand {2 * (1.5 - 0):.3f}")

# %% [markdown]
r"""
## The article's program

A parameter drawn from a normal distribution, the target 0, a learning rate of 0.01, a thousand
steps. The whole loop stands inside one `tf.function`: TensorFlow then runs it as a compiled graph,
and Python is called once instead of a thousand times.
"""


# %%
@tf.function
def descend(theta: tf.Variable, target: float, learning_rate: float, steps: int) -> tf.Tensor:
    """Moves `theta` by `steps` steps; returns where it was: (steps + 1, 1)."""
    path = tf.TensorArray(tf.float32, steps + 1).write(0, theta)
    for step in tf.range(steps):
        with tf.GradientTape() as tape:
            loss = loss_function(theta, target)
        theta.assign_sub(learning_rate * tape.gradient(loss, theta))
        path = path.write(step + 1, theta)
    return path.stack()


def start_value(seed: int) -> np.ndarray:
    """The article's starting point, drawn from N(0, 1): float32, (1,)."""
    return np.random.default_rng(seed).normal(size=1).astype("float32")


# %%
if __name__ == "__main__":
    theta = tf.Variable(start_value(seed=0))
    path = descend(theta, tf.constant(0.0), tf.constant(0.01), tf.constant(1000))
    print(f"start {path[0, 0]:.4f}, after 1,000 steps {path[-1, 0]:.3e}")

# %% [markdown]
r"""
What became of each part of the listing:

| TensorFlow 1, in the article | now |
|---|---|
| `tf.random_normal([1])` | a generator with a seed: two runs start alike |
| `tf.train.GradientDescentOptimizer(0.01)` | the line it stands for, then `GradientDescent(0.01)` |
| `tf.gradients(loss, [theta])` | `tf.GradientTape`, which records the loss as it is computed |
| `optimizer.apply_gradients(...)` | `theta.assign_sub(...)`, then `optimizer.apply(...)` |
| `tf.global_variables_initializer()` | nothing: a variable has its value once it is made |
| `tf.Session()`, and `sess.run(...)` a thousand times | one `tf.function` that holds the loop |
| `feed_dict={x: 1, y: 0}` | arguments of the function |
| `print(sess.run(theta))` | a number that Python can print |

Two things were wrong in the listing. It feeds `x` and `y` without ever defining them, and no model
uses the `x`. What can be meant is the distance from $\theta$ to the fed $y = 0$; so it is read
here, and `x` is gone.

## A formula that knows the end

Put the slope into the step: the distance to the target is multiplied by the same number each time,

$$\theta_{t+1} - y = (1 - 2\alpha)(\theta_t - y)
\qquad\Longrightarrow\qquad
\theta_t - y = (1 - 2\alpha)^t \, (\theta_0 - y).$$

Nothing is left to chance: before the program starts, the formula says where it will be.
"""


# %%
def closed_form(start: float, target: float, learning_rate: float, steps: int) -> np.ndarray:
    """Where `descend` is at each step, by the formula: float64, (steps + 1,)."""
    return target + (1 - 2 * learning_rate) ** np.arange(steps + 1) * (start - target)


# %%
if __name__ == "__main__":
    formula = closed_form(float(path[0, 0]), 0.0, 0.01, 1000)
    rows = [(t, float(path[t, 0]), formula[t]) for t in (0, 1, 10, 100, 1000)]
    show(
        Table(
            "The program and the formula", ("step", "program", "formula"), ("d", ".4e", ".4e"), rows
        )
    )

# %% [markdown]
r"""
## The learning rate decides

Each step multiplies the distance by $1 - 2\alpha$. Where its size is below 1, the distance
shrinks; where it is above 1, the distance grows. At $\alpha = 1/2$ it is 0: one step is enough.
"""


# %%
RATES = {"slow": 0.05, "best": 0.5, "oscillating": 0.9, "diverging": 1.05}


def regime(learning_rate: float) -> str:
    """What the factor 1 - 2 alpha makes of the distance."""
    factor = 1 - 2 * learning_rate
    if abs(factor) > 1:
        return "diverging"
    if abs(factor) == 1:
        return "going nowhere"
    if factor == 0:
        return "best"
    return "slow" if factor > 0 else "oscillating"


@_plots.drawing
def draw_valley(paths: dict[float, np.ndarray]) -> _plots.Picture:
    """The steps of each learning rate on the loss curve with target 0; paths are (steps + 1,)."""
    figure, axes = _plots.picture(
        "One valley, one start, four learning rates: only the rate differs",
        "Four copies of a parabola with the points that gradient descent visits: "
        + "; ".join(
            f"at {rate:g} ({regime(rate)}) it goes from {path[0]:.2f} to {path[-1]:.2f} "
            f"in {len(path) - 1} steps"
            for rate, path in paths.items()
        ),
        columns=len(paths),
        sharey=True,
        size=(7, 3),
    )
    reach = 1.1 * max(np.abs(path).max() for path in paths.values())
    curve = np.linspace(-reach, reach, 200)
    for axis, (rate, path) in zip(axes, paths.items(), strict=True):
        axis.plot(curve, curve**2, color=_plots.GREY, linewidth=1)
        axis.plot(path, path**2, "o-", color=_plots.BLUE, linewidth=1, markersize=4)
        axis.plot(path[0], path[0] ** 2, "s", color=_plots.VERMILLION, markersize=7)
        axis.set(title=f"{regime(rate)}, {rate:g}", xlabel=r"$\theta$")
    axes[0].set_ylabel(r"loss $J(\theta)$")
    return figure


# %%
if __name__ == "__main__":
    show(draw_valley({rate: closed_form(1.0, 0.0, rate, 8) for rate in RATES.values()}))

# %% [markdown]
r"""
The red square is the start. *Slow* creeps down one side. *Best* is there in one step. *Oscillating*
jumps over the bottom each time, and still comes closer. *Diverging* jumps so far that it lands
higher than it was each time.

The next picture holds every learning rate against the formula: the grey line is $|1 - 2\alpha|$,
the dots are measured by running the program for one step. The diamond is the article's rate, 0.01:
a step leaves 98% of the distance.
"""


# %%
def measured_factors(rates: np.ndarray) -> np.ndarray:
    """What one step from 1 towards 0 leaves of the distance, at each rate: float64, (rates,)."""
    numbers = tf.constant(0.0), tf.constant(rates, tf.float32), tf.constant(1)
    ends = [descend(tf.Variable([1.0]), numbers[0], rate, numbers[2])[-1, 0] for rate in numbers[1]]
    return np.abs(np.array(ends, "float64"))


@_plots.drawing
def draw_program(
    path: np.ndarray, target: float, learning_rate: float, rates: np.ndarray, factors: np.ndarray
) -> _plots.Picture:
    """What a step leaves of the distance at each rate, and the distance along `path`."""
    steps = np.arange(len(path))
    formula = closed_form(path[0], target, learning_rate, len(path) - 1)
    here = abs(1 - 2 * learning_rate)
    figure, (left, right) = _plots.picture(
        f"Learning rate {learning_rate:g}: each step leaves {here:.0%} of the distance "
        f"({regime(learning_rate)})",
        "Left: the share of the distance that a step leaves falls in a straight line from 1 at "
        "learning rate 0 to 0 at 0.5, and rises to 1 at 1, beyond which the area is shaded as "
        f"diverging; the measured dots lie on the line. Right: the distance over {steps[-1]} "
        f"steps, from {abs(path[0] - target):.2g} to {abs(path[-1] - target):.2g} on a "
        "logarithmic scale; program and formula are one line.",
        columns=2,
    )
    top = max(1.2, learning_rate * 1.1)
    grid = np.linspace(0, top, 200)
    left.axvspan(1, top, color=_plots.ORANGE, alpha=0.25, linewidth=0)
    left.plot(grid, np.abs(1 - 2 * grid), color=_plots.GREY, linewidth=1)
    left.plot(rates, factors, "o", color=_plots.BLUE, markersize=5)
    left.plot(learning_rate, here, "D", color=_plots.VERMILLION, markersize=9)
    left.text((1 + top) / 2, 0.04, "diverging", ha="center", rotation=90)
    left.set(xlabel=r"learning rate $\alpha$", ylabel="share left by a step")

    for values, label, style in (
        (path, "program", {"color": _plots.BLUE, "linewidth": 5, "alpha": 0.5}),
        (formula, "formula", {"color": _plots.VERMILLION, "linestyle": "--"}),
    ):
        distance = np.abs(values - target)
        right.plot(steps, np.where(distance > 0, distance, np.nan), label=label, **style)
    right.set(yscale="log", xlabel="step", ylabel=r"distance $|\theta_t - y|$")
    right.legend()
    return figure


# %%
if __name__ == "__main__":
    rates = np.linspace(0.05, 1.15, 23)
    show(draw_program(path[:, 0].numpy(), 0.0, 0.01, rates, measured_factors(rates)))

# %% [markdown]
r"""
## When to stop

"Until it converges", says the recipe; the program counts to a thousand and stops wherever it is. A
rule that means what the recipe says: stop when the slope is as good as level, $|\nabla J| \le
\varepsilon$. Where a step leaves less than all of the distance, the formula tells in advance when
that will be (at the best rate, where it leaves nothing, after one step):

$$t = \left\lceil \frac{\log(\varepsilon / |\nabla J(\theta_0)|)}{\log|1 - 2\alpha|} \right\rceil$$
"""


# %%
@tf.function
def descend_until(
    theta: tf.Variable, target: float, learning_rate: float, tolerance: float, limit: int
) -> tf.Tensor:
    """Moves `theta` until its gradient is at most `tolerance`; returns the steps it took."""
    taken = tf.constant(0)
    while taken < limit:
        with tf.GradientTape() as tape:
            loss = loss_function(theta, target)
        gradient = tape.gradient(loss, theta)
        if tf.norm(gradient) <= tolerance:
            break
        theta.assign_sub(learning_rate * gradient)
        taken += 1
    return taken


def steps_until(distance: float, learning_rate: float, tolerance: float) -> float:
    """The steps that the formula foresees, from `distance` on; infinite where it never stops."""
    slope, factor = 2 * abs(distance), abs(1 - 2 * learning_rate)
    if slope <= tolerance:
        return 0
    if factor >= 1:
        return math.inf
    return 1 if factor == 0 else math.ceil(math.log(tolerance / slope) / math.log(factor))


# %%
if __name__ == "__main__":
    stops = []
    for rate in (0.01, 0.05, 0.5, 0.9, 1.05):
        theta = tf.Variable([1.0])
        # A tensor is an argument; each new Python number would be traced and compiled anew.
        taken = int(descend_until(theta, 0.0, tf.constant(rate), 1e-6, 800))
        slope = abs(2 * float(theta[0]))
        stops.append((f"{rate:g}", regime(rate), steps_until(1.0, rate, 1e-6), taken, slope))
    columns = ("learning rate", "regime", "steps foreseen", "steps taken", "slope at the end")
    formats = ("", "", ".0f", "d", ".0e")
    show(Table("Stopping at a slope of 0.000001, or after 800 steps", columns, formats, stops))

# %% [markdown]
r"""
The last row never stops: without a limit on the steps, a program that diverges would run for ever,
even when its numbers have overflowed. A stopping rule needs both, the tolerance and the limit.

## The same, with an optimizer

An optimizer is the line that moves the parameter, with a name. `custom_optimizers` has gradient
descent in a file of its own, and TensorFlow keeps the loop.
"""


# %%
def descend_with(
    optimizer: keras.optimizers.Optimizer, theta: tf.Variable, target: float, steps: int
) -> None:
    """Moves `theta` by `steps` steps of `optimizer`, in one compiled loop."""
    optimizer.build([theta])

    @tf.function
    def loop() -> None:
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                loss = loss_function(theta, target)
            optimizer.apply([tape.gradient(loss, theta)], [theta])

    loop()


# %% [markdown]
r"""
Keras hides the loop, too. A layer with one weight and the constant input 1 has $\theta$ for its
output, and the loss "mse" is the article's.
"""


# %%
def fit(start: np.ndarray, target: float, learning_rate: float, steps: int) -> float:
    """The last theta of the program as a Keras model, trained by `fit` with Keras's own SGD."""
    layer = keras.layers.Dense(1, use_bias=False)
    model = keras.Sequential([keras.Input((1,)), layer])
    layer.set_weights([start.reshape(1, 1)])
    model.compile(
        optimizer=keras.optimizers.SGD(learning_rate),
        loss="mse",
        jit_compile=False,
        steps_per_execution=min(steps, 100),
    )
    x, y = np.ones((steps, 1), "float32"), np.full((steps, 1), target, "float32")
    model.fit(x, y, batch_size=1, epochs=1, shuffle=False, verbose=0)
    return float(layer.get_weights()[0][0, 0])


# %%
if __name__ == "__main__":
    start = start_value(seed=0)
    theta = tf.Variable(start)
    descend_with(GradientDescent(0.01), theta, 0.0, 1000)
    print(f"GradientTape                       {path[-1, 0]:.9e}")
    print(f"custom_optimizers.GradientDescent  {theta[0]:.9e}")
    print(f"Keras model.fit with SGD           {fit(start, 0.0, 0.01, 1000):.9e}")

# %% [markdown]
r"""
Three ways to write it, one number: to the last bit.

## Try it

1. Set the learning rate to 0.99 and run the thousand steps. Expect almost no progress for a while,
   with $\theta$ changing its sign at each step: $|1 - 2 \cdot 0.99| = 0.98$, the same as at 0.01.
   Two very different rates are equally slow.
2. Change the target to 3. Expect the same number of steps to any tolerance as long as
   $|\theta_0 - 3|$ is the same: only the distance counts, not the place.
3. Make the loss `tf.reduce_mean(tf.square(theta - target)) * 10`. Expect the rate 0.5 to diverge:
   the slope is ten times as steep, so the limit falls from 1 to 0.1. The limit is always 2 divided
   by the curvature, the loss's second derivative.
"""


# %% tags=["module-only"]
@dataclass(frozen=True)
class GradientDescentResult:
    """What `run` found; arrays are float64."""

    learning_rate: float
    target: float
    tolerance: float
    theta: np.ndarray
    """The bare tape loop at each step, (steps + 1,)."""
    formula: np.ndarray
    """The closed form at each step, (steps + 1,)."""
    last: dict[str, float]
    """The last theta of each way to write the program."""
    steps_foreseen: float
    """Steps until the gradient is at most `tolerance`, by the formula."""
    steps_taken: int | None
    """The same, counted; None where `steps` were not enough."""
    rates: np.ndarray
    """The learning rates of a sweep, (rates,)."""
    factors: np.ndarray
    """What one step leaves of the distance at each of them, measured: (rates,)."""

    def table(self) -> Table:
        """The last theta of each way to write the program, beside the formula."""
        taken = "not within them" if self.steps_taken is None else f"{self.steps_taken}"
        end = float(self.formula[-1])
        return Table(
            f"{len(self.theta) - 1} steps at learning rate {self.learning_rate:g} from theta = "
            f"{self.theta[0]:.4f} towards {self.target:g}\n"
            f"Steps to a gradient of {self.tolerance:g}: foreseen {self.steps_foreseen:.0f}, "
            f"taken {taken}",
            ("program", "last theta", "off the formula"),
            ("", ".6e", ".1e"),
            [(name, value, abs(value - end)) for name, value in self.last.items()]
            + [("closed form", end, None)],
        )

    def figure(self) -> _plots.Picture:
        """What a step leaves of the distance at each rate, and the distance at each step."""
        return draw_program(self.theta, self.target, self.learning_rate, self.rates, self.factors)


QUICK: dict = {}


def run(
    *,
    learning_rate: float = 0.01,
    steps: int = 1000,
    target: float = 0.0,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> GradientDescentResult:
    """Runs the article's first program in three ways, beside the closed form.

    Args:
        learning_rate: The share of the slope taken as a step; above 1 the program diverges.
        steps: How many steps to take.
        target: Where the loss is least.
        tolerance: The size of the gradient at which the stopping rule stops.
        seed: Seeds the starting point.

    Raises:
        OptionError: for an option out of its range.
        FloatingPointError: where theta or its loss overflow; names the step.
    """
    learning_rate = _options.in_interval("learning_rate", learning_rate, "[0, inf)")
    target = _options.in_interval("target", target, "(-inf, inf)")
    tolerance = _options.in_interval("tolerance", tolerance, "(0, inf)")
    _options.at_least("steps", steps, 1)
    _options.at_least("seed", seed, 0)

    start = start_value(seed)
    # As tensors, numbers are arguments; as Python numbers, each would be traced anew.
    y, rate, count = tf.constant(target), tf.constant(learning_rate), tf.constant(steps)
    path = descend(tf.Variable(start), y, rate, count).numpy()[:, 0].astype("float64")
    overflown = np.flatnonzero(~np.isfinite(path))
    if overflown.size:
        raise FloatingPointError(
            f"theta overflows at step {overflown[0]} of {steps}: at learning_rate "
            f"{learning_rate:g} each step multiplies the distance to the target by "
            f"{abs(1 - 2 * learning_rate):g}; below 1 it shrinks"
        )
    custom = tf.Variable(start)
    descend_with(GradientDescent(learning_rate), custom, target, steps)
    taken = int(descend_until(tf.Variable(start), y, rate, tf.constant(tolerance), count))
    rates = np.linspace(0.05, 1.15, 23)
    return GradientDescentResult(
        learning_rate=learning_rate,
        target=target,
        tolerance=tolerance,
        theta=path,
        formula=closed_form(float(start[0]), target, learning_rate, steps),
        last={
            "GradientTape": float(path[-1]),
            "custom_optimizers.GradientDescent": float(custom[0]),
            "Keras model.fit with SGD": fit(start, target, learning_rate, steps),
        },
        steps_foreseen=steps_until(float(start[0]) - target, learning_rate, tolerance),
        steps_taken=taken if taken < steps else None,
        rates=rates,
        factors=measured_factors(rates),
    )
