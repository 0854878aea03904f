# %% [markdown]
r"""
# Do larger models perform better?

**Can one say how well a model will do before training it, from smaller ones?**

Paragraph 5 of the article, and questions 3 and 4 of paragraph 6 · 45 minutes · know before: section
`language_model`.

The article says that larger models perform better. Here the claim is put to a test that it could
fail: models of several sizes are trained on one text, a law is fitted to all but the largest, and
what it predicts for the largest is written down before that one is trained.
"""

# %%
import itertools
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import scipy.stats

from custom_optimizers import Adam
from tf_examples import _data, _options, _plots, _report
from tf_examples._costs import scientific
from tf_examples._report import Table, show, track
from tf_examples._transformer import Shape, Trainer, Transformer, evaluate, schedule

# %% [markdown]
r"""
## One model

All models have the same layers, see the same text in the same order, and take the same number of
steps. Only their width differs: how many numbers stand for a character. The learning rate follows
the width, $0.4 / \text{width}$, and is at most 0.02: wider models want smaller steps.

Training takes three times the operations of a forward pass, once for it and twice for the
gradients. A forward pass multiplies and adds once for each entry of a matrix, and for each pair of
a query and a key, and of a weight and a value, in the attention.
"""


# %%
@dataclass(frozen=True)
class Settings:
    """What all the models have in common."""

    layers: int
    heads: int
    context: int
    batch_size: int
    steps: int
    seed: int
    jit_compile: bool


@dataclass(frozen=True)
class Trained:
    """One model, looked at a few times; the lists belong together."""

    width: int
    parameters: int
    learning_rate: float
    steps: list[int]
    bits: list[float]
    """Bits a character on the text put aside."""
    flops: list[float]
    """Operations spent on training so far."""


def flops_per_character(shape: Shape) -> int:
    """Operations of training on one character: multiplications and additions."""
    matrices = 12 * shape.layers * shape.width**2 + shape.vocabulary * shape.width
    attention = 2 * shape.layers * shape.context * shape.width
    return 3 * 2 * (matrices + attention)


def rate(width: int) -> float:
    """The largest learning rate of a model of this width."""
    return min(0.02, 0.4 / width)


def train(
    width: int, text: _data.Text, settings: Settings, learning_rate: float | None = None
) -> Trained:
    """Trains a model of this width from its first weights.

    Raises:
        FloatingPointError: where the loss overflows; names the width.
    """
    s = settings
    learning_rate = rate(width) if learning_rate is None else learning_rate
    shape = Shape(s.layers, width, s.heads, s.context, len(text.characters))
    model = Transformer(shape, s.seed)
    optimizer = Adam(schedule(learning_rate, s.steps), beta_2=0.99, global_clipnorm=1.0)
    trainer = Trainer(
        model,
        optimizer,
        text.train,
        batch_size=s.batch_size,
        seed=s.seed,
        jit_compile=s.jit_compile,
    )
    steps = sorted({max(1, s.steps * part // 4) for part in range(1, 5)})
    bits: list[float] = []
    for before, stop in itertools.pairwise([0, *steps]):
        losses = trainer.train(stop - before)
        if not np.isfinite(losses).all():
            raise FloatingPointError(f"the loss of the model of width {width} is not finite")
        bits.append(evaluate(model, text.validation) / math.log(2))
    spent = s.batch_size * s.context * flops_per_character(shape)
    flops = [float(step * spent) for step in steps]
    return Trained(width, shape.parameters, learning_rate, steps, bits, flops)


# %% [markdown]
r"""
A finished model is written to a folder, so that an interrupted run has only the rest to do.
"""


# %%
def finished(
    width: int, text: _data.Text, settings: Settings, folder: Path, learning_rate: float
) -> Trained:
    """The model of this width: read from `folder`, or trained and written there."""
    belongs = asdict(settings) | {"text": text.digest, "learning_rate": learning_rate}
    path = folder / f"width_{width}_rate_{learning_rate:.4g}.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["belongs"] == belongs:
            return Trained(**kept["trained"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    trained = train(width, text, settings, learning_rate)
    content = json.dumps({"belongs": belongs, "trained": asdict(trained)}, indent=1)
    _report.write_whole(path, content.encode())
    return trained


# %%
WIDTHS = [16, 20, 24, 32, 40, 48, 64, 88]

if __name__ == "__main__":
    text = _data.text()
    settings = Settings(3, 4, 64, 32, 600, 0, True)
    kept = tempfile.TemporaryDirectory()
    folder = Path(kept.name)
    *smaller, largest = WIDTHS
    models = [finished(w, text, settings, folder, rate(w)) for w in track(smaller, "Training")]
    rows = [
        (m.width, m.parameters, m.learning_rate, scientific(m.flops[-1]), m.bits[-1])
        for m in models
    ]
    columns = ("width", "parameters", "learning rate", "operations", "bits a character")
    show(Table("All but the largest", columns, ("d", ",d", ".4f", "s", ".3f"), rows))
    seen = settings.steps * settings.batch_size * settings.context
    print(f"each saw {seen:,} characters: the text {seen / len(text.train):.1f} times")

# %% [markdown]
r"""
## The law

A **power law** says that a loss falls by the same factor whenever the number of parameters $N$
grows by the same factor:

$$L(N) = a N^{-b}, \qquad \log L = \log a - b \log N$$

So on logarithmic axes it is a straight line, and least squares find it: $b$ and $\log a$ are those
of the line with the smallest sum of squared distances. Kaplan et al. (2020) found $b$ near 0.076
for large models, whose embeddings they did not count.
"""


# %%
@dataclass(frozen=True)
class Law:
    """loss = a * parameters ** -b, fitted to some models."""

    a: float
    b: float
    spread: float
    """Standard deviation of log(loss) around the line."""
    logs: list[float]
    """log(parameters) of the models fitted."""

    def predict(self, parameters: float, confidence: float = 0.95) -> tuple[float, float, float]:
        """The loss of another model, and the interval for it: (loss, low, high).

        The interval is the one of simple regression: it holds if the law does, and what scatters
        around the line is normal (N. Draper and H. Smith, Applied regression analysis, 1998,
        section 3.1).
        """
        x, logs = math.log(parameters), np.array(self.logs)
        middle, n = logs.mean(), len(logs)
        far = (x - middle) ** 2 / np.sum((logs - middle) ** 2)
        quantile = scipy.stats.t.ppf((1 + confidence) / 2, n - 2)
        width = float(quantile * self.spread * math.sqrt(1 + 1 / n + far))
        value = math.log(self.a) - self.b * x
        return math.exp(value), math.exp(value - width), math.exp(value + width)


def fit(parameters: Sequence[float] | np.ndarray, losses: Sequence[float] | np.ndarray) -> Law:
    """The power law through at least three points, by least squares of the logarithms."""
    x, y = np.log(parameters), np.log(losses)
    slope = np.sum((x - x.mean()) * (y - y.mean())) / np.sum((x - x.mean()) ** 2)
    intercept = y.mean() - slope * x.mean()
    distances = y - (intercept + slope * x)
    spread = math.sqrt(np.sum(distances**2) / (len(x) - 2))
    return Law(math.exp(intercept), float(-slope), spread, x.tolist())


# %%
if __name__ == "__main__":
    law = fit([m.parameters for m in models], [m.bits[-1] for m in models])
    print(f"L(N) = {law.a:.2f} * N ** -{law.b:.3f}: ten times the parameters, "
          f"{1 - 10**-law.b:.0%} less loss")  # fmt: skip

# %% [markdown]
r"""
## The prediction

The largest model is not trained yet. What the law says of it goes into a file first, with an
interval: if the law holds for it as for the others, it falls inside 19 times out of 20.
"""


# %%
def write_prediction(law: Law, shape: Shape, folder: Path) -> dict[str, float]:
    """Writes down what `law` predicts for a model of this shape, before it is trained."""
    loss, low, high = law.predict(shape.parameters)
    prediction = {"parameters": shape.parameters, "bits": loss, "low": low, "high": high}
    _report.write_whole(folder / "prediction.json", json.dumps(prediction, indent=1).encode())
    return prediction


# %%
if __name__ == "__main__":
    shape = Shape(settings.layers, largest, settings.heads, settings.context, len(text.characters))
    write_prediction(law, shape, folder)
    print((folder / "prediction.json").read_text(encoding="utf-8"))

# %% [markdown]
r"""
Now it is trained.
"""


# %%
def verdict(prediction: dict[str, float], bits: float) -> str:
    """How far the prediction is off, and whether the interval holds the loss."""
    miss = bits / prediction["bits"] - 1
    inside = prediction["low"] <= bits <= prediction["high"]
    return (
        f"predicted {prediction['bits']:.3f} ({prediction['low']:.3f} to "
        f"{prediction['high']:.3f}), measured {bits:.3f}: {abs(miss):.1%} "
        f"{'above' if miss > 0 else 'below'}, {'inside' if inside else 'outside'} of the interval"
    )


def steps_up(models: Sequence[Trained]) -> str:
    """How often the next larger model has the lower loss."""
    better = np.diff([m.bits[-1] for m in models]) < 0
    return f"{better.sum()} of {len(better)} steps up in size lower the loss"


@_plots.drawing
def draw_law(
    models: Sequence[Trained], law: Law, prediction: dict[str, float], largest: Trained
) -> _plots.Picture:
    """Loss against parameters on logarithmic axes, the law, and the model that it had not seen."""
    sizes = np.array([m.parameters for m in (*models, largest)], float)
    bits = np.array([m.bits[-1] for m in (*models, largest)])
    said, guess = verdict(prediction, bits[-1]), prediction["bits"]
    figure, axes = _plots.picture(
        f"The largest: {guess:.2f} bits a character predicted, {bits[-1]:.2f} measured",
        f"Loss against parameters on logarithmic axes: {len(models)} points near a falling line, "
        f"from {bits[0]:.2f} bits at {sizes[0]:,.0f} parameters to {bits[-2]:.2f} at "
        f"{sizes[-2]:,.0f}. The line goes on to {sizes[-1]:,.0f} parameters, where a bar shows the "
        f"interval of the prediction and a star the loss measured: {said}.",
    )
    line = np.geomspace(sizes[0], sizes[-1], 50)
    axes.plot(line, law.a * line**-law.b, "--", color=_plots.GREY)
    axes.plot(sizes[:-1], bits[:-1], "o", color=_plots.BLUE, label="fitted")
    low, high = prediction["low"], prediction["high"]
    middle = [[prediction["bits"] - low], [high - prediction["bits"]]]
    axes.errorbar(
        sizes[-1:], [prediction["bits"]], middle, fmt="_", color=_plots.VERMILLION, capsize=6,
        label="predicted before training",
    )  # fmt: skip
    axes.plot(sizes[-1:], bits[-1:], "*", markersize=13, color=_plots.BLACK, label="measured")
    axes.set(xscale="log", yscale="log", xlabel="parameters", ylabel="bits a character")
    ticks = [
        tick
        for tick in np.arange(1, 8, 0.2)
        if 0.97 * min(low, *bits) < tick < 1.03 * max(high, *bits)
    ]
    axes.set_yticks(ticks, [f"{tick:.1f}" for tick in ticks])
    marks = [mark for mark in (1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6) if 0.9 < mark / sizes[0] < 300]
    axes.set_xticks(marks, [f"{mark:,.0f}" for mark in marks])
    axes.set_xlim(sizes[0] * 0.85, sizes[-1] * 1.2)
    axes.minorticks_off()
    axes.legend()
    return figure


# %%
if __name__ == "__main__":
    last = finished(largest, text, settings, folder, rate(largest))
    prediction = json.loads((folder / "prediction.json").read_text(encoding="utf-8"))
    print(verdict(prediction, last.bits[-1]))
    print(steps_up([*models, last]))
    show(draw_law(models, law, prediction, last))

# %% [markdown]
r"""
## Against what it costs

A larger model costs more for each character. The picture sets the loss of every model against the
operations spent on it so far: with few operations a small model does best, because it gets to see
more of the text for them. A part of its lead is the schedule's: at the end of its line a model's
learning rate has sunk, while wider ones are in the middle of theirs. To be fair, each would have to
be trained anew for each number of operations.
"""


# %%
def best_at(models: Sequence[Trained], flops: float) -> Trained:
    """The model with the lowest loss among those that `flops` operations suffice for."""

    def bits(model: Trained) -> float:
        reached = [b for b, f in zip(model.bits, model.flops, strict=True) if f <= flops]
        return reached[-1] if reached else math.inf

    return min(models, key=bits)


@_plots.drawing
def draw_compute(models: Sequence[Trained]) -> _plots.Picture:
    """Loss against operations spent on training, a line a model."""
    first = models[0].flops[-1]
    early, late = best_at(models, first), best_at(models, math.inf)
    figure, axes = _plots.picture(
        f"With {scientific(first)} operations width {early.width} does best, at the end width "
        f"{late.width}",
        f"Loss against operations on a logarithmic axis, a line for each of {len(models)} models; "
        "each falls, and those of wider models begin further right. The lowest line changes from "
        f"width {early.width} at {scientific(first)} operations to width {late.width} at the end.",
    )
    for model, color in zip(models, _plots.shades(len(models)), strict=True):
        axes.plot(model.flops, model.bits, "o-", color=color, label=f"{model.width}")
    axes.set(xscale="log", xlabel="operations", ylabel="bits a character")
    axes.legend(title="width", ncols=2)
    return figure


# %%
if __name__ == "__main__":
    show(draw_compute([*models, last]))

# %% [markdown]
r"""
## What the law leaves out

**Data.** Every model reads the same text several times. A law in parameters alone holds while the
text is large against the model: later the loss flattens, since what is left to learn is not in the
text, and some of it cannot be known at all. Large runs grow the data with the model.

**The learning rate.** It is not tuned for each size, but follows a rule. Below, two of the models
are trained with half the rule's rate, and with twice as much.

**Luck.** Each size is trained once, from one seed. The interval takes the scatter around the line
for luck, and cannot know of a bend that the smaller models don't show.
"""

# %%
if __name__ == "__main__":
    tried = []
    for width in (16, 32):
        rates = [factor * rate(width) for factor in (0.5, 1.0, 2.0)]
        bits = [finished(width, text, settings, folder, each).bits[-1] for each in rates]
        tried.append((width, *bits))
    heads = ("width", "half the rate", "the rule", "twice the rate")
    show(Table("Bits a character", heads, ("d", ".3f", ".3f", ".3f"), tried))
    best = sum(rule < min(half, twice) for _, half, rule, twice in tried)
    dearest = max(max(half, twice) / rule - 1 for _, half, rule, twice in tried)
    print(f"the rule's rate is the best of the three for {best} of {len(tried)} widths; another "
          f"one costs up to {dearest:.0%}")  # fmt: skip

# %% [markdown]
r"""
## Try it

1. Leave out the two largest of the fitted models. Expect a wider interval: the largest model is
   further from the rest, and fewer points say how they scatter.
2. Train for a quarter of the steps. Expect less difference between the sizes: the larger ones have
   not had the time to use what they have.
3. Train on a tenth of the text (`--text FILE`). Expect the larger models to gain less on the text
   put aside: they soon have by heart the little that there is to learn from.
"""


# %% tags=["module-only"]
@dataclass(frozen=True)
class ScalingLawResult:
    """What `run` found."""

    models: list[Trained]
    """All but the largest, in the order of their sizes."""
    law: Law
    prediction: dict[str, float]
    largest: Trained

    def table(self) -> Table:
        """The models, and what became of the prediction."""
        rows = [
            (
                m.width,
                m.parameters,
                scientific(m.flops[-1]),
                m.bits[-1],
                self.law.predict(m.parameters)[0],
            )
            for m in (*self.models, self.largest)
        ]
        title = (
            f"L(N) = {self.law.a:.2f} * N ** -{self.law.b:.3f}, fitted to all but the largest\n"
            f"The largest: {verdict(self.prediction, self.largest.bits[-1])}\n"
            f"{steps_up([*self.models, self.largest])}"
        )
        columns = ("width", "parameters", "operations", "bits a character", "by the law")
        return Table(title, columns, ("d", ",d", "s", ".3f", ".3f"), rows)

    def figure(self) -> _plots.Picture:
        """Loss against parameters, the law and the prediction."""
        return draw_law(self.models, self.law, self.prediction, self.largest)


QUICK: dict = {
    "widths": [8, 12, 16, 32], "layers": 1, "context": 32, "batch_size": 16, "steps": 100,
    "jit_compile": False,
}  # fmt: skip


def run(
    *,
    widths: list[int] | None = None,
    layers: int = 3,
    heads: int = 4,
    context: int = 64,
    batch_size: int = 32,
    steps: int = 600,
    text: str | None = None,
    folder: str | None = None,
    jit_compile: bool = True,
    seed: int = 0,
) -> ScalingLawResult:
    """Fits a power law to models of several widths, and tests it on the largest.

    Args:
        widths: Of the models; in the command, the option once for each. The largest is predicted.
        layers: Of every model.
        heads: Of attention; they divide the widths.
        context: Characters that a model sees at most.
        batch_size: Windows of the text a step.
        steps: Of every training.
        text: A file in UTF-8 to learn from; Python's own documentation if not given.
        folder: Keeps finished models, so that an interrupted run goes on.
        jit_compile: Compile the training step with XLA: a slower start, faster steps.
        seed: Draws the first weights and the windows.

    Raises:
        OptionError: for an option out of its range, or a text that can't be used.
        FloatingPointError: where a loss overflows; names the width.
    """
    chosen = sorted(set(WIDTHS if widths is None else widths))
    for option, value, least in (
        ("layers", layers, 1), ("heads", heads, 1), ("context", context, 2), ("steps", steps, 1),
        ("batch_size", batch_size, 1), ("seed", seed, 0), *(("widths", w, 1) for w in chosen),
    ):  # fmt: skip
        _options.at_least(option, value, least)
    if len(chosen) < 4:
        raise _options.OptionError(
            f"`widths` must be at least four different ones: three to fit, one to predict. "
            f"Received: widths={chosen}"
        )
    odd = [width for width in chosen if width % heads]
    if odd:
        raise _options.OptionError(f"`heads` must divide `widths`. Received: {heads}, {odd[0]}")
    data = _data.text(text, least=10 * (context + 2))
    settings = Settings(layers, heads, context, batch_size, steps, seed, jit_compile)
    with tempfile.TemporaryDirectory() as temporary:
        place = _folder(folder) if folder else Path(temporary)
        *smaller, largest = chosen
        models = [finished(w, data, settings, place, rate(w)) for w in track(smaller, "Training")]
        law = fit([m.parameters for m in models], [m.bits[-1] for m in models])
        shape = Shape(layers, largest, heads, context, len(data.characters))
        prediction = write_prediction(law, shape, place)
        return ScalingLawResult(
            models, law, prediction, finished(largest, data, settings, place, rate(largest))
        )


def _folder(path: str) -> Path:
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        _report.check_writable(Path(path) / "prediction.json")
    except OSError as error:
        raise _options.OptionError(f"can't write to {path}: {error.strerror or error}") from error
    return Path(path)
