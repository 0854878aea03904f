# %% [markdown]
r"""
# What training costs

**How long does it take to train a large model: on how many devices, with how much memory, storage
and data?**

Paragraph 6 of the article, questions 1 to 10 · 45 minutes · know before: what a block of a
Transformer consists of, what an optimizer keeps.

The article asks ten questions and answers each with "much" or "long". Three of the ten ask for the
time, and each of them has a formula. Here they are, held against what was published of real models
and against small ones built on the spot; at the end the ten are answered with numbers.
"""

# %%
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from custom_optimizers import Adagrad, Adam, GradientDescent, Momentum, RMSprop
from tf_examples import _costs, _keras_costs, _options, _plots
from tf_examples._costs import quantity, scientific
from tf_examples._presets import DEVICES, PRESETS, Architecture
from tf_examples._report import Table, show

# %% [markdown]
r"""
## Parameters (question 4)

A model of the GPT family has $L$ blocks of width $h$. A block has four square matrices for
attention, $4h^2$, and two for its feed-forward part, which is four times as wide inside: $8h^2$.
Biases and two norms add $13h$. Before the blocks stands a table of $V$ words and $s$ positions,
behind them one more norm:

$$N = L\,(12h^2 + 13h) + (V + s)\,h + 2h$$

Other models change the terms (fewer key heads, a third matrix, no biases), not the method. With
the published shapes the formula must give the published numbers.
"""


# %%
def parameter_table(names: Sequence[str]) -> Table:
    """The parameters of presets by the formula, beside the published number."""
    rows = []
    for name in names:
        parts = _costs.parameters(PRESETS[name].architecture)
        total = sum(parts.values())
        words = (parts["embedding"] + parts.get("output", 0)) / total
        rows.append((name, f"{total:,}", quantity(PRESETS[name].published), f"{words:.1%}"))
    columns = ("model", "by the formula", "published", "for words")
    return Table("Parameters", columns, ("", "s", "s", "s"), rows)


# %%
if __name__ == "__main__":
    models = "gpt-2-small gpt-2-xl gpt-3 bert-large t5-11b palm-540b llama-2-7b llama-3.1-405b"
    show(parameter_table(models.split()))

# %% [markdown]
r"""
The last column is the share of the tables for words. Almost a third of the smallest model is
vocabulary; in GPT-3 it hardly counts, and $12Lh^2$ is enough. (BERT's paper says 340 million; the
model that it published has as many as the formula.)

To be sure, a block of GPT-2 small is built in Keras, with a vocabulary of 1,000 words and
sequences of 64.
"""

# %%
BLOCK = Architecture(
    name="a block", layers=1, width=768, heads=12, vocabulary=1000, context=64, tied=False
)


def attention(x: keras.KerasTensor, heads: int) -> keras.KerasTensor:
    """Each token looks at those before it; x is (batch, tokens, width), and so is the result."""
    s, h = x.shape[1:]

    def split(y: keras.KerasTensor) -> keras.KerasTensor:
        y = keras.ops.reshape(y, (-1, s, heads, h // heads))
        return keras.ops.transpose(y, (0, 2, 1, 3))

    query, key, value = (split(keras.layers.Dense(h)(x)) for _ in range(3))
    scores = keras.ops.matmul(query, keras.ops.transpose(key, (0, 1, 3, 2)))
    hidden = np.triu(np.full((s, s), -1e9, "float32"), k=1)
    weights = keras.ops.softmax(scores / math.sqrt(h // heads) + hidden)
    mixed = keras.ops.transpose(keras.ops.matmul(weights, value), (0, 2, 1, 3))
    return keras.layers.Dense(h)(keras.ops.reshape(mixed, (-1, s, h)))


def transformer(a: Architecture) -> keras.Model:
    """A GPT of this shape: token numbers (batch, context) to logits (batch, context, words)."""
    tokens = keras.Input((a.context,), dtype="int32")
    places = keras.ops.cumsum(keras.ops.ones_like(tokens), axis=1) - 1
    x = keras.layers.Embedding(a.vocabulary, a.width)(tokens)
    x = x + keras.layers.Embedding(a.context, a.width)(places)
    for _ in range(a.layers):
        x = x + attention(keras.layers.LayerNormalization()(x), a.heads)
        inner = keras.layers.LayerNormalization()(x)
        inner = keras.layers.Dense(a.inner_width, activation="relu")(inner)
        x = x + keras.layers.Dense(a.width)(inner)
    x = keras.layers.LayerNormalization()(x)
    logits = keras.layers.Dense(a.vocabulary, use_bias=False)(x)
    return keras.Model(tokens, logits, name="transformer")


# %%
if __name__ == "__main__":
    small = transformer(BLOCK)
    print(f"by the formula {sum(_costs.parameters(BLOCK).values()):,}")
    print(f"counted        {small.count_params():,}")

# %% [markdown]
r"""
## Computing (question 7)

A weight multiplies a number and adds the product to a sum: 2 FLOPs (floating-point operations) for
each token. The backward pass computes two gradients, of the weight and of the number: 4 more. So
$N$ parameters and $D$ tokens cost

$$C = 6\,N\,D.$$

This is a rule of thumb. It counts a table of words as if it were multiplied, and forgets that in
attention each of the $s$ tokens of a sequence meets every other: $4\,s\,h$ FLOPs a block and token,
$12\,s\,h$ with the backward pass, that no parameter stands for. The exact number is in the graph of
a training step: its matrix products. TensorFlow's profiler reads the same graph, and counts every
addition with them.
"""


# %%
@dataclass(frozen=True)
class Count:
    """The FLOPs of one training step of a net, in four ways."""

    net: str
    parameters: int
    rule: float
    """6 N D."""
    formula: float
    """Its matrix products by hand."""
    counted: float
    """Its matrix products in the graph."""
    profiled: float
    """By TensorFlow's profiler, additions and the like included."""


def profiled_flops(graph: tf.Graph) -> int:
    """The FLOPs in a graph by TensorFlow's profiler."""
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")  # it warns of a function of its own
    try:
        return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops
    finally:
        logger.setLevel(level)


# %%
def small_nets() -> list[tuple[keras.Model, int, float]]:
    """A dense net, a convolutional one and a Transformer: each with D and its matrix FLOPs.

    One batch is 32 images, or 4 sequences of 64 tokens. Each product costs three times its forward
    pass, the first layer's two: nobody asks for the gradient of an image.
    """
    dense = keras.Sequential([keras.Input((784,)), keras.layers.Dense(128, activation="relu")])
    dense.add(keras.layers.Dense(10))
    convolutional = keras.Sequential([keras.Input((28, 28, 1))], name="convolutional")
    for channels in (32, 64):
        convolutional.add(keras.layers.Conv2D(channels, 3, activation="relu", padding="same"))
    convolutional.add(keras.layers.GlobalAveragePooling2D())
    convolutional.add(keras.layers.Dense(10))
    dense.name = "dense"
    places = 28 * 28
    forward = _costs.forward_flops(BLOCK, BLOCK.context)
    return [
        (dense, 32, 32 * 2 * (2 * 784 * 128 + 3 * 128 * 10)),
        (
            convolutional,
            32,
            32 * 2 * (2 * places * 9 * 1 * 32 + 3 * places * 9 * 32 * 64 + 3 * 64 * 10),
        ),
        (transformer(BLOCK), 4 * BLOCK.context, 4 * BLOCK.context * 3 * sum(forward.values())),
    ]


# %%
def count_flops() -> list[Count]:
    """Counts one training step of each of `small_nets`."""
    counts = []
    for model, tokens, formula in small_nets():
        batch = tokens // BLOCK.context if model.name == "transformer" else tokens
        graph, _ = _keras_costs.training_step(model, batch)
        number = model.count_params()
        counts.append(
            Count(
                net=model.name,
                parameters=number,
                rule=_costs.training_flops(number, tokens),
                formula=float(formula),
                counted=float(_keras_costs.graph_flops(graph)),
                profiled=float(profiled_flops(graph)),
            )
        )
    return counts


def count_table(counts: Sequence[Count]) -> Table:
    """The four counts of each net, and the profiler's distance from the formula."""
    rows = [
        (
            c.net,
            quantity(c.parameters),
            *map(scientific, (c.rule, c.formula, c.counted, c.profiled)),
            f"{c.profiled / c.formula - 1:+.2%}",
        )
        for c in counts
    ]
    columns = ("net", "parameters", "6 N D", "formula", "graph", "profiler", "it adds")
    return Table("FLOPs of one training step", columns, ("", *["s"] * 6), rows)


# %%
if __name__ == "__main__":
    counts = count_flops()
    show(count_table(counts))

# %% [markdown]
r"""
Formula and graph are one number; the profiler adds less than 1%: additions, and for the
convolutional net a gradient of the images, which TensorFlow drops before it computes. (For the
Transformer it can be believed only because heads are as wide as sequences are long, 64: it mistakes
the shape of transposed products, and leaves out the `Einsum` of Keras's own attention.)

The rule 6 N D is another matter. It is half again too large for the dense net, whose first layer
needs no gradient of its input. It is far too small for the convolutional one, which uses each
weight at 784 places of an image. For the Transformer it is a little too large, because the tables
of words and places at the input are read, not multiplied.

What it forgets is the part of attention that grows with the sequence: about $s / 6h$ of the rest.
The picture divides the matrix products by 6 N D.
"""

# %%
LENGTHS = 2 ** np.arange(8, 18)


def attention_ratios(name: str, lengths: np.ndarray) -> np.ndarray:
    """FLOPs of the matrix products over 6 N D, at each sequence length: (lengths,)."""
    a = PRESETS[name].architecture
    exact = [3 * sum(_costs.forward_flops(a, int(s)).values()) for s in lengths]
    return np.array(exact) / _costs.training_flops(_costs.parameters_met(a), 1)


@_plots.drawing
def draw_ratios(names: Sequence[str]) -> _plots.Picture:
    """How far 6 N D is off for presets, by the length of their sequences."""
    ratios = {name: attention_ratios(name, LENGTHS) for name in names}
    first, last = names[0], names[-1]
    at = {name: attention_ratios(name, np.array([8192]))[0] for name in names}
    figure, axes = _plots.picture(
        f"8,192 tokens: {first} costs {at[first]:.2f} times 6 N D, {last} {at[last]:.2f} times",
        "A curve for each of "
        + ", ".join(
            f"{name} (from {r[0]:.2f} at {LENGTHS[0]} tokens to {r[-1]:.1f} at {LENGTHS[-1]:,})"
            for name, r in ratios.items()
        )
        + ": each stays near 1 while sequences are short and bends upwards, the narrower the model "
        "the sooner.",
    )
    for name, style in zip(names, zip(_plots.CYCLE, _plots.DASHES, strict=False), strict=False):
        axes.plot(LENGTHS, ratios[name], color=style[0], linestyle=style[1], label=name)
    axes.axhline(1, color=_plots.GREY, linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel="tokens of a sequence")
    axes.set_xticks(LENGTHS[::3], [f"{s:,}" for s in LENGTHS[::3]])
    axes.set_yticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    axes.minorticks_off()
    axes.set_ylabel("matrix products / 6 N D")
    _plots.label_ends(axes)
    return figure


# %%
if __name__ == "__main__":
    show(draw_ratios(["gpt-2-small", "llama-3.1-8b", "gpt-3", "llama-3.1-405b"]))

# %% [markdown]
r"""
## Time and devices (questions 1, 2, 5 and 10)

A device has a peak: the FLOP/s that its data sheet promises. A training run gets a part of it, the
model FLOPs utilization (MFU), and

$$\text{time} = \frac{6\,N\,D}{\text{devices} \times \text{peak} \times \text{MFU}}.$$

A run that computes activations again, to save memory, does 8 N D instead of 6 N D. By definition
MFU doesn't count the repetition; the utilization that does is called HFU. So time is 6 N D over MFU
or 8 N D over HFU. To mix the two is the usual mistake, and a third off.

Published runs say what share is usual.
"""


# %%
def run_table() -> Table:
    """What published runs reached, computed from their hours or their speed."""
    peak = {name: DEVICES[name].peak for name in ("a100", "tpu-v4")}
    rows = []
    for name, hours in (("llama-2-7b", 184_320), ("llama-2-70b", 1_720_320)):
        a = PRESETS[name].architecture
        flops = _costs.training_flops(sum(_costs.parameters(a).values()), 2e12)
        mfu = flops / (hours * 3600 * peak["a100"])
        rows.append((name, f"{hours:,} A100 hours", f"MFU {mfu:.1%}"))
    palm = PRESETS["palm-540b"].architecture
    scores = 3 * _costs.forward_flops(palm, 2048)["scores"]
    a_token = _costs.training_flops(sum(_costs.parameters(palm).values()), 1) + scores
    mfu = 238_300 * a_token / (6144 * peak["tpu-v4"])
    rows.append(("palm-540b", "238,300 tokens/s on 6,144 TPU v4", f"MFU {mfu:.1%}"))
    again = 8 / 6 * _costs.training_flops(175e9, 300e9)
    days = _costs.training_seconds(again, 1024, 140e12, 1) / 86400
    mfu = 140e12 / peak["a100"] * 6 / 8
    rows.append(("gpt-3", "1,024 A100, 140 TFLOP/s of 8 N D", f"MFU {mfu:.1%}, {days:.0f} days"))
    return Table("Published runs", ("model", "published", "gives"), ("", "", "s"), rows)


# %%
if __name__ == "__main__":
    show(run_table())

# %% [markdown]
r"""
Touvron et al. (2023) give the hours of Llama 2; Chowdhery et al. (2022) the speed of PaLM, and an
MFU of 46.2%, attention included; Narayanan et al. (2021) foresaw 34 days for GPT-3, whose devices
compute activations again. Measured runs lie between 39% and 47%; in what follows 40% is taken. The
formula knows nothing of failures and restarts.

## Memory (question 8)

During training a device holds the weights, their gradients and what the optimizer keeps. An
optimizer of this project keeps 0, 1 or 2 numbers of 4 bytes a parameter: counted here in the
variables of the Transformer above, with weights and gradients.
"""


# %%
def state_table(model: keras.Model) -> Table:
    """Bytes a parameter of weights, gradients and state, with each optimizer: counted."""
    optimizers: dict[keras.optimizers.Optimizer, str | None] = {
        GradientDescent(): "sgd",
        Momentum(): "momentum",
        Adagrad(): "adagrad",
        RMSprop(): None,
        Adam(): "adam",
    }
    rows = []
    for optimizer, rule in optimizers.items():
        optimizer.build(model.trainable_variables)
        kept = _keras_costs.variable_bytes(optimizer.variables)
        number = model.count_params()
        expected = sum(_costs.state_bytes(1, rule, "float32").values()) if rule else None
        rows.append((type(optimizer).__name__, kept / number, 8 + kept / number, expected))
    return Table(
        "Bytes a parameter in float32",
        ("optimizer", "state", "in all", "by the rule"),
        ("", ".2f", ".2f", ".0f"),
        rows,
    )


# %%
if __name__ == "__main__":
    show(state_table(small))

# %% [markdown]
r"""
RMSprop has no rule in the last column: the algorithm needs one number a parameter, and the one
here keeps a second, for momentum.

Large models train in mixed precision: weights and gradients in 16 bits, and beside Adam's two
numbers a copy of the weights in 32: $2 + 2 + (4 + 4 + 4) = 16$ bytes again. For GPT-3 these are 2.8
TB, and no device has that. (In `memory_budget` Keras's policy keeps weights and gradients in 32
bits: the two say "mixed" of different things.) ZeRO (Rajbhandari et al. 2020) divides them among
$G$ devices: in stage 1 the optimizer's 12 bytes, $4 + 12/G$ remain; in stage 2 the gradients too,
$2 + 14/G$; in stage 3 the weights too, $16/G$.

Then there are the activations: whatever the backward pass will read. A block of GPT keeps

$$s\,b\,h\,\Big(34 + 5\,\frac{a\,s}{h}\Big) \text{ bytes}$$

for $b$ sequences of $s$ tokens and $a$ heads, in 16 bits and with dropout's masks, but without the
logits (Korthikanti et al. 2022). ZeRO doesn't divide them. Recomputing does away with them: only
the attention scores (selective), or all but a block's input (full), $2\,s\,b\,h$. While a block is
computed again, its own activations come back for a moment; the formula leaves them out.
"""


# %%
def memory_choices(
    name: str, devices: int, device: str, optimizer: str = "adam"
) -> dict[str, tuple[float, float]]:
    """Bytes a device of the states and of the activations, for ZeRO's stages and recomputing."""
    choices = {}
    for stage, how, label in (
        (0, "none", "ZeRO stage 0"),
        (1, "none", "stage 1"),
        (2, "none", "stage 2"),
        (3, "none", "stage 3"),
        (3, "selective", "3 + selective recompute"),
        (3, "full", "3 + full recompute"),
    ):
        e = _costs.estimate(
            name,
            devices=devices,
            device=device,
            optimizer=optimizer,
            zero_stage=stage,
            recompute=how,
        )
        activations = e.memory["activations"]
        choices[label] = (e.memory_a_device - activations, activations)
    return choices


# %%
@_plots.drawing
def draw_memory(
    name: str, devices: int, device: str, choices: dict[str, tuple[float, float]]
) -> _plots.Picture:
    """What a device must hold for each of `choices` (label: bytes of states, of activations)."""
    room = DEVICES[device].memory
    fits = [label for label, sizes in choices.items() if sum(sizes) <= room]
    said = f"only “{fits[0]}” fits" if len(fits) == 1 else f"{len(fits)} of {len(choices)} ways fit"
    figure, axes = _plots.picture(
        f"{name} on {devices:,} {device}: {said} into {quantity(room, 'B')}",
        "A row for each way, with a circle for weights, gradients and optimizer and a triangle for "
        "activations on a logarithmic axis: "
        + "; ".join(
            f"{label} {quantity(states, 'B')} and {quantity(activations, 'B')}"
            for label, (states, activations) in choices.items()
        )
        + f". A line marks the device's {quantity(room, 'B')}.",
    )
    rows = np.arange(len(choices))[::-1]
    for column, label, marker, color in (
        (0, "weights, gradients, optimizer", "o", _plots.BLUE),
        (1, "activations", "^", _plots.VERMILLION),
    ):
        sizes = [each[column] / 1e9 for each in choices.values()]
        axes.plot(sizes, rows, marker, color=color, markersize=10, label=label)
    axes.vlines(room / 1e9, -0.6, len(choices) - 0.6, color=_plots.BLACK, linestyle="--")
    for row, both in zip(rows, choices.values(), strict=True):
        fit = sum(both) <= room
        axes.annotate(
            quantity(sum(both), "B"),
            (1.01, row),
            xycoords=("axes fraction", "data"),
            va="center",
            color=_plots.GREEN if fit else _plots.BLACK,
            fontweight="bold" if fit else "normal",
        )
    axes.set(xscale="log", xlabel=f"GB of a device; dashed: the {device}'s memory; right: the sum")
    axes.xaxis.set_major_formatter("{x:,.4g}")
    axes.set_yticks(rows, list(choices))
    axes.set_ylim(-0.6, len(choices) + 0.4)
    axes.legend(ncols=2, loc="upper center", columnspacing=1, handletextpad=0.2)
    return figure


# %%
if __name__ == "__main__":
    show(draw_memory("gpt-3", 1024, "a100", memory_choices("gpt-3", 1024, "a100")))
    a = PRESETS["gpt-3"].architecture
    block = _costs.layer_activation_bytes(a.context, 1, a.width, a.heads)
    print(f"a block that is computed again holds {quantity(block, 'B')} for that moment")

# %% [markdown]
r"""
ZeRO brings the circle from the terabytes to the left edge; then the triangle is what doesn't fit.
Real runs of this size divide the single matrices and the stack of blocks among devices as well
(tensor and pipeline parallelism), which this section leaves out.

The formula leaves out the logits, a number a word of the vocabulary for each token. In GPT-3 they
hardly count. In a miniature they are most of it, as the tensors show that the graph of a Keras
model keeps for its backward pass.
"""

# %%
MINIATURE = Architecture(
    name="a miniature",
    layers=2,
    width=64,
    heads=4,
    vocabulary=5000,
    context=64,
    tied=False,
    dropout=False,
)


def activation_estimates() -> dict[str, _costs.Estimate]:
    """The miniature built in Keras and by the formula, and GPT-3."""
    return {
        "miniature, its graph": _costs.estimate(transformer(MINIATURE), batch_size=4),
        "miniature, the formula": _costs.estimate(MINIATURE, batch_size=4, precision="float32"),
        "gpt-3, the formula": _costs.estimate("gpt-3"),
    }


def activation_table(estimates: dict[str, _costs.Estimate]) -> Table:
    """What the blocks keep, and the logits."""
    rows = [
        (name, quantity(e.memory["activations"], "B"), quantity(e.logit_bytes, "B"))
        for name, e in estimates.items()
    ]
    return Table("Memory of a device", ("", "activations", "logits"), ("", "s", "s"), rows)


# %%
if __name__ == "__main__":
    show(activation_table(activation_estimates()))

# %% [markdown]
r"""
## Data and storage (questions 3, 6 and 9)

For a fixed number of FLOPs, a smaller model can read more. Hoffmann et al. (2022) fitted the loss

$$L(N, D) = E + \frac{A}{N^\alpha} + \frac{B}{D^\beta}$$

to some 400 models. Along $6ND = C$ it is least where
$\alpha A / N^\alpha = \beta B / D^\beta$. Their result is a rule of thumb: about 20 tokens a
parameter. The picture draws the loss for the budget that they gave their own model, Chinchilla:
with the constants as printed in the paper, and as Besiroglu et al. (2024) fitted them anew.
"""

# %%
CHINCHILLA = 5.76e23


@_plots.drawing
def draw_budget(flops: float) -> _plots.Picture:
    """The loss for a budget by tokens a parameter, with both sets of constants."""
    laws = {"as printed, 2022": _costs.HOFFMANN, "fitted anew, 2024": _costs.BESIROGLU}
    best = {name: law.optimal(flops) for name, law in laws.items()}
    shares = {name: d / n for name, (n, d) in best.items()}
    figure, axes = _plots.picture(
        f"{scientific(flops)} FLOPs: best at {shares['fitted anew, 2024']:.0f} tokens a "
        f"parameter; the constants as printed say {shares['as printed, 2022']:.0f}",
        "Two curves of the loss over tokens a parameter on a logarithmic axis, both with one flat "
        "valley: "
        + "; ".join(f"{name}, lowest at {share:.0f}" for name, share in shares.items())
        + f". A line marks the rule of {_costs.TOKENS_A_PARAMETER}.",
    )
    ratio = np.logspace(0, 3.3, 200)
    n = np.sqrt(flops / (6 * ratio))
    for (name, law), color, style in zip(laws.items(), _plots.CYCLE, _plots.DASHES, strict=False):
        axes.plot(ratio, law.loss(n, n * ratio), color=color, linestyle=style, label=name)
        axes.plot(shares[name], law.loss(*best[name]), "o", color=color, markersize=9)
    rule = _costs.TOKENS_A_PARAMETER
    axes.axvline(rule, color=_plots.GREY, linestyle=":", label="_")
    axes.annotate(
        f"the rule: {rule}", (rule, 0.97), xycoords=("data", "axes fraction"),
        xytext=(5, 0), textcoords="offset points", va="top", color=_plots.GREY,
    )  # fmt: skip
    axes.set(xscale="log", xlabel="tokens a parameter", ylabel="loss, nats a token")
    axes.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
    _plots.label_ends(axes)
    return figure


# %%
if __name__ == "__main__":
    show(draw_budget(CHINCHILLA))

# %% [markdown]
r"""
The printed constants contradict the paper's own rule. Besiroglu et al. read the data off a figure
of the paper and fitted them anew: these agree with it. The valley is flat:
"""


# %%
def price_of_leaving(law: _costs.LossLaw, flops: float, times: float) -> float:
    """What the loss rises by, relative, with `times` the tokens a parameter that are best."""
    n, d = law.optimal(flops)
    root = math.sqrt(times)
    return law.loss(n / root, d * root) / law.loss(n, d) - 1


# %%
if __name__ == "__main__":
    for times in (0.25, 4):
        rise = price_of_leaving(_costs.BESIROGLU, CHINCHILLA, times)
        print(f"{times:g} times the best tokens a parameter: the loss rises by {rise:.2%}")

# %% [markdown]
r"""
So models that many people will use are trained far beyond it: a small model is cheap to run.
"""


# %%
def data_table(names: Sequence[str]) -> Table:
    """Tokens that presets were trained on, tokens by the rule, and what a disk must hold."""
    rows = []
    for name in names:
        e = _costs.estimate(name)
        rows.append(
            (
                name,
                quantity(e.tokens),
                e.tokens / e.total_parameters,
                quantity(e.compute_optimal_tokens),
                quantity(e.data_bytes, "B"),
                quantity(e.checkpoint_bytes, "B"),
                quantity(e.training_checkpoint_bytes, "B"),
            )
        )
    columns = ("model", "tokens", "a parameter", "20 N", "data", "weights", "checkpoint")
    return Table("Data and storage", columns, ("", "s", ",.1f", *["s"] * 4), rows)


# %%
if __name__ == "__main__":
    show(data_table(["gpt-3", "palm-540b", "llama-2-7b", "llama-3.1-8b", "llama-3.1-405b"]))

# %% [markdown]
r"""
Tokens are numbers: 2 bytes each where a vocabulary is below 65,536 words, else 4. The weights
alone take 2 bytes a parameter; a checkpoint from which training goes on takes 14, Adam's state and
the float32 weights included. Runs keep many of those.

## The ten questions

All of it at once, for one model, is `tf-examples estimate gpt-3` in a terminal, and one call here.
"""


# %%
def ten_questions(e: _costs.Estimate) -> Table:
    """The article's questions with the answers of an estimate, and their formulas."""
    devices = f"{e.devices_for_deadline:,} {e.device.name} for {e.deadline_days:g} days"
    time, memory = _costs.duration(e.seconds), quantity(e.memory_a_device, "B")
    weight, whole = (
        f"{size / e.total_parameters:g} N"
        for size in (e.checkpoint_bytes, e.training_checkpoint_bytes)
    )
    space = quantity(e.checkpoint_bytes + e.data_bytes, "B")
    checkpoint = quantity(e.training_checkpoint_bytes, "B")
    rows = [
        ("1 how much time?", time, "C / (devices x peak x MFU)"),
        ("2 which resources?", devices, "C / (time x peak x MFU)"),
        ("3 how much data?", f"{quantity(e.tokens)} tokens", "about 20 N by the rule: "
         + quantity(e.compute_optimal_tokens)),
        ("4 how many parameters?", f"N = {quantity(e.total_parameters)}", "part by part"),
        ("5 how much time? As 1", time, ""),
        ("6 how much space?", space, f"weights {weight}, tokens "
         f"{e.data_bytes / e.tokens:g} D"),
        ("7 how much computing?", f"C = {scientific(e.training_flops)} FLOPs", e.flops_from),
        ("8 how much memory?", f"{memory} a device", "states and activations"),
        ("9 how much storage?", f"{checkpoint} a checkpoint", f"{whole} with the optimizer"),
        ("10 how much time? As 1", time, ""),
    ]  # fmt: skip
    return Table(e.title(), ("the article's question", "answer", "by"), ("", "s", ""), rows)


# %%
if __name__ == "__main__":
    e = _costs.estimate("gpt-3", devices=1024, zero_stage=3, recompute="full")
    show(ten_questions(e))

# %% [markdown]
r"""
Where the answers end:

| questions | the answer is | and ends with |
|---|---|---|
| 1, 2, 5, 10: time, devices | as good as the MFU is known | failures, slow networks |
| 3: data | a rule of thumb for the least loss at these FLOPs | models made to be cheap in use |
| 4: parameters | exact, for shapes that the formula knows | mixtures of experts |
| 6, 9: storage | exact | formats that compress |
| 7: FLOPs, 6 N D | a rule of thumb for Transformers | long sequences, convolutions |
| 8: memory, states | exact | buffers and gaps, which come on top |
| 8: memory, activations | what Megatron stores | other kernels, which store less |

In an encoder-decoder such as T5 a token meets only half of the parameters, so 6 N D is halved.
Attention in windows (Mistral) computes less than is counted here. And nothing in these formulas
knows how good the data are.

## Try it

1. Estimate `"llama-2-7b"`, then with `sequence_length=8192`, twice its own. Expect 6 N D to stay,
   the matrix products to grow by a seventh, and the activations to more than triple: the scores
   have a term with $s^2$.
2. Double `devices` to 2,048. Expect half of the time and half of the states in stage 3; the
   activations stay, since each device still computes a sequence of its own.
3. Set `optimizer="sgd"`. Expect 8 bytes a parameter instead of 16: the master weights remain, and
   what Adam keeps is gone.
"""


# %% tags=["module-only"]
@dataclass(frozen=True)
class TrainingCostResult:
    """What `run` found: the answers, and the live check of the formulas."""

    estimate: _costs.Estimate
    counts: list[Count]
    """One training step of small nets: the formulas against graph and profiler."""
    choices: dict[str, tuple[float, float]]
    """Bytes a device of states and activations, for each way to train."""

    def table(self) -> Table:
        """The ten questions, with the live check in the title."""
        answers = ten_questions(self.estimate)
        furthest = max(abs(c.profiled / c.formula - 1) for c in self.counts)
        exact = sum(c.formula == c.counted for c in self.counts)
        check = (
            f"FLOPs of {len(self.counts)} small nets: {exact} as counted in the graph; "
            f"TensorFlow's profiler within {furthest:.1%}"
        )
        return Table(f"{answers.title}\n{check}", answers.columns, answers.formats, answers.rows)

    def figure(self) -> _plots.Picture:
        """The memory of a device for each way to train the model."""
        e = self.estimate
        return draw_memory(e.name, e.devices, e.device.name, self.choices)


QUICK: dict = {}


def run(
    *,
    model: str = "gpt-3",
    tokens: float | None = None,
    devices: int = 1024,
    device: str = "a100",
    mfu: float = 0.4,
    optimizer: Literal["sgd", "momentum", "adagrad", "rmsprop", "adam"] = "adam",
    zero_stage: int = 3,
    recompute: Literal["none", "selective", "full"] = "full",
    deadline_days: float = 30,
    seed: int = 0,
) -> TrainingCostResult:
    """Answers the article's ten questions for a model, and checks the formulas on small nets.

    Args:
        model: A preset of `tf-examples estimate`, or a JSON file of a shape.
        tokens: To train on; as published, or else 20 a parameter.
        devices: How many train together.
        device: Such as a100, h100, v100 or tpu-v4.
        mfu: The part of the peak FLOP/s that the model gets.
        optimizer: Decides the numbers kept a parameter.
        zero_stage: What ZeRO divides among the devices, 0 to 3.
        recompute: Activations to compute again instead of keeping them.
        deadline_days: Days in which it should be done.
        seed: As every section has it; nothing here is random.

    Raises:
        OptionError: for an option out of its range, or an unknown model or device.
    """
    _options.at_least("seed", seed, 0)
    estimate = _costs.estimate(
        model,
        tokens=tokens,
        devices=devices,
        device=device,
        mfu=mfu,
        optimizer=optimizer,
        zero_stage=zero_stage,
        recompute=recompute,
        deadline_days=deadline_days,
    )
    return TrainingCostResult(
        estimate=estimate,
        counts=count_flops(),
        choices=memory_choices(model, devices, estimate.device.name, optimizer),
    )
