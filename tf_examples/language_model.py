# %% [markdown]
r"""
# A large model in miniature

**What does a large language model do, and how does it learn to?**

Paragraphs 1 and 2 of the article · 60 minutes · know before: gradient descent, Adam, a net of
several layers.

The article's large models differ from this one in size. The parts are the same: a text as numbers,
a Transformer that gives each next token a probability, a training that makes the right one
likelier, and generation, token by token.
"""

# %%
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from custom_optimizers import Adam
from tf_examples import _checkpoints, _data, _options, _plots, _report
from tf_examples._report import Table, show, track
from tf_examples._transformer import Shape, Trainer, Transformer, evaluate, generate, schedule

# %% [markdown]
r"""
## A text as numbers

The text is Python's own documentation, which every Python carries. Each different character gets a
number, in the order of their codes. The last tenth is put aside: the model never learns from it.
"""


# %%
if __name__ == "__main__":
    text = _data.text()
    print(f"{len(text.train):,} characters to learn from, {len(text.validation):,} to be tested on")
    print(f"{len(text.characters)} different ones: {text.characters[:40]!r}...")
    print("'import' is", text.encode("import"))

# %% [markdown]
r"""
## How well can one guess without a net?

A model gives each next character a probability $p$. Its loss is $-\log_2 p$ of the character that
comes, averaged over the text: the **bits** that it would take to write the text down.
$2^\text{bits}$ is the **perplexity**: among so many equally likely characters, one would guess as
well.

Two models need nothing but counting. The *unigram* gives each character the share that it has of
the text learned from. The *bigram* does the same for each pair, so it knows one character before:

$$p(c) = \frac{\text{count}(c) + 1}{\text{length} + V}, \qquad
p(c \mid b) = \frac{\text{count}(bc) + 1}{\text{count}(b) + V}$$

The 1 is for what was never seen, $V$ is the number of different characters.
"""


# %%
def unigram_bits(text: _data.Text, guessed: np.ndarray) -> float:
    """Bits a character of `guessed`, by the counts of characters in the text learned from."""
    size = len(text.characters)
    chances = (np.bincount(text.train, minlength=size) + 1) / (len(text.train) + size)
    return float(-np.log2(chances[guessed[1:]]).mean())


def bigram_bits(text: _data.Text, guessed: np.ndarray) -> float:
    """Bits a character of `guessed`, by the counts of pairs in the text learned from."""
    size = len(text.characters)
    pairs = np.zeros((size, size))
    np.add.at(pairs, (text.train[:-1], text.train[1:]), 1)
    chances = (pairs + 1) / (pairs.sum(axis=1, keepdims=True) + size)
    return float(-np.log2(chances[guessed[:-1], guessed[1:]]).mean())


# %%
if __name__ == "__main__":
    size = len(text.characters)
    baselines = {"every character alike": math.log2(size)}
    baselines |= {
        "unigram": unigram_bits(text, text.validation),
        "bigram": bigram_bits(text, text.validation),
    }
    rows = [(name, bits, 2**bits) for name, bits in baselines.items()]
    columns = ("model", "bits a character", "perplexity")
    show(Table("On the text put aside", columns, ("", ".2f", ".1f"), rows))

# %% [markdown]
r"""
## Attention, by hand

To know more than one character before, each character must look back at the others. In
**attention** each sends out a query $q$, a key $k$ and a value $v$ (three vectors, made from its
own vector by three matrices). The more a query resembles a key, the more of that key's value it
takes in:

$$\text{weights} = \text{softmax}\!\left(\frac{q k^\top}{\sqrt{d}}\right), \qquad
\text{out} = \text{weights} \cdot v$$

with $d$ numbers in a query. A character must not look at those that come later, or it would only
have to copy what it should guess: their scores become $-\infty$, and their weights 0.
"""


# %%
def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Causal attention of one head: the output (time, d) and the weights (time, time)."""
    scores = q @ k.T / np.sqrt(q.shape[1])
    scores[np.triu_indices(len(q), 1)] = -np.inf
    exp = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights = exp / exp.sum(axis=1, keepdims=True)
    return weights @ v, weights


# %%
if __name__ == "__main__":
    q, k, v = np.random.default_rng(0).normal(size=(3, 4, 8))
    _, weights = attention(q, k, v)
    print("weights of four characters (rows) on each other (columns):")
    print(weights.round(2))

# %% [markdown]
r"""
Each row sums to 1, and the first character can only look at itself.

## The model

Characters and their places become vectors; some *blocks* follow, each of which lets every vector
look back (attention, several heads side by side) and then think for itself (two dense layers, the
*feed-forward* part), and adds what comes out to what went in. Before each of the two a *norm*
brings the numbers of a vector to mean 0 and variance 1. At the end the table of vectors is used
once more, the other way round: the closer a vector ends to a character's, the larger is that
character's number, its *logit* $z$. The **softmax** makes probabilities of them:

$$p_i = \frac{e^{z_i}}{\sum_j e^{z_j}}$$

`_transformer.py` has it all in some hundred lines of Keras layers.
"""


# %%
if __name__ == "__main__":
    shape = Shape(layers=3, width=96, heads=4, context=64, vocabulary=size)
    model = Transformer(shape, seed=0)
    print(f"{shape.parameters:,} parameters, {shape.block_parameters:,} of them in the blocks")
    guess = evaluate(model, text.validation) / math.log(2)
    print(f"before training: {guess:.2f} bits a character, as if every character were alike")

# %% [markdown]
r"""
## Training

A step takes 32 windows of 64 characters from random places, and guesses every character of each
from those before it: 2,048 guesses at once. Adam makes the step. Its learning rate climbs over the
first tenth of the steps, while Adam's means are still rough, and then sinks along half a cosine;
and where the norm of all gradients together is above 1, they are scaled down to 1. Both are customs
of large models, and `custom_optimizers.Adam` takes both as arguments.
"""


# %%
@dataclass(frozen=True)
class Settings:
    """What decides a training, beside its text: a checkpoint belongs to one of these."""

    layers: int
    width: int
    heads: int
    context: int
    batch_size: int
    steps: int
    learning_rate: float
    seed: int
    jit_compile: bool
    text: str
    """Its digest: `_data.Text.digest`."""


def new_training(settings: Settings, text: _data.Text) -> Trainer:
    """A model with its first weights, and what trains it."""
    s = settings
    shape = Shape(s.layers, s.width, s.heads, s.context, len(text.characters))
    model = Transformer(shape, s.seed)
    optimizer = Adam(schedule(s.learning_rate, s.steps), beta_2=0.99, global_clipnorm=1.0)
    return Trainer(
        model,
        optimizer,
        text.train,
        batch_size=s.batch_size,
        seed=s.seed,
        jit_compile=s.jit_compile,
    )


@dataclass(frozen=True)
class Progress:
    """What was seen of a training so far; `steps`, `bits` and `samples` belong together."""

    steps: list[int]
    bits: list[float]
    """Of each character of the validation text."""
    samples: list[str]
    train_bits: list[float]
    """Of each step."""


def looks(steps: int, most: int = 5) -> list[int]:
    """The steps after which to look at the model: evenly spread, the last one at the end."""
    return sorted({round(steps * i / most) for i in range(1, most + 1)} - {0})


def train(
    trainer: Trainer,
    text: _data.Text,
    settings: Settings,
    progress: Progress,
    checkpoint: Path | None = None,
) -> Progress:
    """Trains on to the end; looks at the model now and then, and saves it there.

    Raises:
        FloatingPointError: where the loss overflows; names the step.
    """
    prompt = text.train[:1]
    done = progress.steps[-1] if progress.steps else 0
    for stop in track([step for step in looks(settings.steps) if step > done], "Training"):
        losses = trainer.train(stop - done) / math.log(2)
        bad = np.flatnonzero(~np.isfinite(losses))
        if bad.size:
            raise FloatingPointError(
                f"the loss is {losses[bad[0]]} at step {done + bad[0] + 1} of {settings.steps}: a "
                "smaller learning_rate makes smaller steps"
            )
        sample = list(generate(trainer.model, prompt, 120, temperature=0.8, top_k=None, seed=0))
        progress = Progress(
            [*progress.steps, stop],
            [*progress.bits, evaluate(trainer.model, text.validation) / math.log(2)],
            [*progress.samples, text.decode(sample)],
            [*progress.train_bits, *map(float, losses)],
        )
        done = stop
        if checkpoint:
            save(checkpoint, trainer, settings, progress)
    return progress


# %%
if __name__ == "__main__":
    settings = Settings(3, 96, 4, 64, 32, 800, 0.004, 0, True, text.digest)
    trainer = new_training(settings, text)
    progress = train(trainer, text, settings, Progress([], [], [], []))
    print(f"after {settings.steps} steps: {progress.bits[-1]:.2f} bits a character, "
          f"perplexity {2 ** progress.bits[-1]:.1f}")  # fmt: skip


# %%
@_plots.drawing
def draw_training(progress: Progress, baselines: dict[str, float]) -> _plots.Picture:
    """Bits a character while the model learns, the baselines as level lines."""
    below = next(
        (step for step, bits in zip(progress.steps, progress.bits, strict=True)
         if bits < baselines["bigram"]), None,
    )  # fmt: skip
    last = progress.bits[-1]
    when = f"is below the bigram's by step {below}" if below else "stays above the bigram's"
    figure, axes = _plots.picture(
        f"The model's loss {when}, and ends at {last:.2f} bits a character",
        f"Bits a character over {progress.steps[-1]} steps. The loss on the text put aside falls "
        f"from {progress.bits[0]:.2f} at step {progress.steps[0]} to {last:.2f}; level lines mark "
        + " and ".join(f"the {name} at {baselines[name]:.2f}" for name in ("unigram", "bigram"))
        + ". The loss of single steps scatters around it.",
    )
    axes.plot(
        np.arange(1, len(progress.train_bits) + 1), progress.train_bits,
        color=_plots.GREY, linewidth=0.6, alpha=0.6,
    )  # fmt: skip
    axes.plot(progress.steps, progress.bits, "o-", color=_plots.BLUE, label="text put aside")
    for name, color in (("unigram", _plots.ORANGE), ("bigram", _plots.VERMILLION)):
        level = [baselines[name]] * 2
        axes.plot([0, progress.steps[-1]], level, "--", color=color, label=name)
    axes.set(xlabel="step", ylabel="bits a character", ylim=(0, None))
    _plots.label_ends(axes)
    return figure


# %%
if __name__ == "__main__":
    show(draw_training(progress, baselines))
    smooth = np.convolve(progress.train_bits, np.ones(20) / 20, "valid")
    for name, bits_of in (("unigram", unigram_bits), ("bigram", bigram_bits)):
        level = bits_of(text, text.train)
        first = np.argmax(smooth < level) + 20
        print(f"on the text learned from the {name} needs {level:.2f} bits a character; "
              f"the mean of 20 steps is below that by step {first}")  # fmt: skip
    print("steps and a sample of what the model writes then:")
    for step, sample in zip(progress.steps, progress.samples, strict=True):
        print(f"{step:5}  {sample[:70]!r}")

# %% [markdown]
r"""
The model first knows as much as the unigram, how often each character comes; then as much as the
bigram, what goes with what; then more, as what it writes shows. The grey line is the loss of single
steps, on the text learned from. At first it lies above the blue one, because the text put aside is
the easier of the two: the bigram, too, needs fewer bits for it.

## Generation

To write, a model draws a character by the probabilities that it gives, takes it as the next one of
the text, and goes on. The *temperature* $T$ divides the logits before the softmax: near 0 the
likeliest character wins always, at 1 the probabilities are the model's own. *Top-k* lets only the
$k$ likeliest take part.
"""


# %%
def complete(
    model: Transformer,
    text: _data.Text,
    prompt: str,
    length: int,
    temperature: float,
    top_k: int | None,
    seed: int,
) -> str:
    """`prompt` and what the model writes after it."""
    numbers = generate(
        model, text.encode(prompt), length, temperature=temperature, top_k=top_k, seed=seed
    )
    return prompt + text.decode(numbers)


# %%
if __name__ == "__main__":
    for temperature, top_k in ((0.0, None), (0.7, 10), (1.0, None), (1.5, None)):
        written = complete(trainer.model, text, "The import ", 150, temperature, top_k, seed=0)
        print(f"temperature {temperature}, top-k {top_k}:\n{written}\n")

# %% [markdown]
r"""
A new character needs the keys and values of all those before it, and these don't change: no later
character touches them. So they are kept, in a **cache**, and each step computes those of one
character alone. (Once the context is full, the model goes on with its later half, which it reads
anew.) What is written is the same with and without it.
"""

# %%
if __name__ == "__main__":
    start = text.encode("The import ")
    both = [
        list(
            generate(trainer.model, start, 150, temperature=1.0, top_k=None, seed=0, cached=cached)
        )
        for cached in (True, False)
    ]
    print("the same 150 characters with and without a cache:", both[0] == both[1])
    context = settings.context
    print(f"vectors computed for a full context of {context}: {context} with a cache, "
          f"{context * (context + 1) // 2} without")  # fmt: skip

# %% [markdown]
r"""
## What attention looks at

In the picture a row is a character, and the darker a cell, the more the row's character looks at
the column's. Shown is the head of all that looks most at the character just before.
"""


# %%
def head_that_looks_back(weights: np.ndarray) -> tuple[int, int, float]:
    """(layer, head, mean weight) of the head that looks most at the character before.

    Args:
        weights: (layers, heads, time, time).
    """
    back = np.diagonal(weights, -1, axis1=2, axis2=3).mean(axis=2)
    layer, head = np.unravel_index(np.argmax(back), back.shape)
    return int(layer), int(head), float(back[layer, head])


@_plots.drawing
def draw_attention(weights: np.ndarray, read: str) -> _plots.Picture:
    """The weights (layers, heads, time, time) of one head, a row a character of `read`."""
    layer, head, back = head_that_looks_back(weights)
    figure, axes = _plots.picture(
        f"Head {head + 1} of layer {layer + 1} looks at the character before: {back:.0%} of its "
        "weight",
        f"A square of grey cells, a row and a column for each character of {read!r}; all cells "
        f"right of the diagonal are empty. In head {head + 1} of layer {layer + 1} the cells just "
        f"left of the diagonal hold {back:.0%} of the weight on average.",
        size=(7, 6.5),
    )
    axes.imshow(weights[layer, head], cmap="gray_r", vmin=0, vmax=1)
    shown = [
        character if character.isprintable() and character != " " else "␣" for character in read
    ]
    axes.set_xticks(range(len(read)), shown, fontfamily="monospace")
    axes.set_yticks(range(len(read)), shown, fontfamily="monospace")
    axes.set(xlabel="looks at", ylabel="character")
    axes.grid(False)
    return figure


# %%
if __name__ == "__main__":
    read = "the import statement"
    show(draw_attention(trainer.model.attention(text.encode(read)), read))

# %% [markdown]
r"""
Nobody told it to. A row's own character is all that a bigram knows; this head adds the one before
it, so that the guess can rest on two.

## What this is not

A model of this size learns spelling, many words and the look of the pages, not what they say. The
skills for which large models are known appear with more parameters and far more text: GPT-3 has 175
billion parameters and was trained on 300 billion tokens. Section `training_cost` counts what that
costs.

## Try it

1. Train with `steps=200`. Expect a loss near the bigram's: the model has learned pairs, and few
   words. What comes after needs more steps.
2. Take the same 200 steps with `learning_rate=0.04`, ten times as high. Expect a loss well above
   the bigram's: steps that large throw the attention about before it has learned anything.
3. Train on a text of your own: `tf-examples run language_model --text FILE`. Expect more bits a
   character for Chinese than for English: each character says more, and there are more to choose
   from.
"""


# %% tags=["module-only"]
def save(path: Path, trainer: Trainer, settings: Settings, progress: Progress) -> None:
    """Writes weights, optimizer state and progress to one file, whole."""
    variables = [*trainer.model.trainable_variables, *trainer.optimizer.variables]
    _checkpoints.save(path, asdict(settings), asdict(progress), variables)


def load(path: Path, trainer: Trainer, settings: Settings) -> Progress:
    """Brings a training to where `save` was called.

    Raises:
        OptionError: where the file is none of `save`'s, or of another training; says what differs.
    """
    progress, values = _checkpoints.read(path, asdict(settings))
    variables = [*trainer.model.trainable_variables, *trainer.optimizer.variables]
    _checkpoints.assign(variables, values)
    return Progress(**progress)


@dataclass(frozen=True)
class LanguageModelResult:
    """What `run` found."""

    parameters: int
    baselines: dict[str, float]
    """Bits a character of the unigram and the bigram, on the text put aside."""
    progress: Progress
    written: str
    """The prompt and what the model wrote after it."""
    read: str
    attention: np.ndarray
    """To the characters of `read`: (layers, heads, time, time)."""

    def table(self) -> Table:
        """The model beside the baselines, and what it writes."""
        rows = [*self.baselines.items(), ("this model", self.progress.bits[-1])]
        title = (
            f"{self.parameters:,} parameters after {self.progress.steps[-1]} steps, on the text "
            f"put aside\nIt writes: {self.written!r}"
        )
        columns = ("model", "bits a character", "perplexity")
        lines = [(name, bits, 2**bits) for name, bits in rows]
        return Table(title, columns, ("", ".3f", ".2f"), lines)

    def figure(self) -> _plots.Picture:
        """The loss while the model learned, beside the baselines."""
        return draw_training(self.progress, self.baselines)


QUICK: dict = {
    "layers": 2,
    "width": 32,
    "context": 32,
    "steps": 80,
    "learning_rate": 0.012,
    "jit_compile": False,
}


def run(
    *,
    layers: int = 3,
    width: int = 96,
    heads: int = 4,
    context: int = 64,
    batch_size: int = 32,
    steps: int = 800,
    learning_rate: float = 0.004,
    text: str | None = None,
    checkpoint: str | None = None,
    resume: bool = False,
    prompt: str = "The ",
    length: int = 100,
    temperature: float = 0.8,
    top_k: int | None = None,
    jit_compile: bool = True,
    seed: int = 0,
) -> LanguageModelResult:
    """Trains a small Transformer on a text, character by character, and lets it write.

    Args:
        layers: Blocks of attention and feed-forward layers.
        width: Numbers in the vector of a character; the heads divide it.
        heads: Of attention, in each block.
        context: Characters that the model sees at most.
        batch_size: Windows of the text a step.
        steps: Of the optimizer.
        learning_rate: The largest, after the warm-up; about 0.4 / width serves.
        text: A file in UTF-8 to learn from; Python's own documentation if not given.
        checkpoint: A file that is written as the training goes on.
        resume: Go on from that file, bit for bit.
        prompt: What the model is to continue, in characters of the text.
        length: Characters to write.
        temperature: Of the writing: 0 takes the likeliest character, 1 draws by its chances.
        top_k: Draw from this many likeliest characters only.
        jit_compile: Compile the training step with XLA: a slower start, faster steps.
        seed: Draws the first weights, the windows and what is written.

    Raises:
        OptionError: for an option out of its range, a text or a checkpoint that can't be used.
        FloatingPointError: where the loss overflows; names the step.
    """
    for option, value, least in (
        ("layers", layers, 1), ("width", width, 1), ("heads", heads, 1), ("context", context, 2),
        ("batch_size", batch_size, 1), ("steps", steps, 1), ("length", length, 1),
        ("seed", seed, 0),
    ):  # fmt: skip
        _options.at_least(option, value, least)
    _options.in_interval("learning_rate", learning_rate, "(0, inf)")
    _options.in_interval("temperature", temperature, "[0, inf)")
    if top_k is not None:
        _options.at_least("top_k", top_k, 1)
    if width % heads:
        raise _options.OptionError(
            f"`heads` must divide `width`. Received: heads={heads}, width={width}"
        )
    if not prompt:
        raise _options.OptionError("`prompt` must have a character to begin with")
    if resume and not checkpoint:
        raise _options.OptionError("`resume` needs `checkpoint`, the file to go on from")
    data = _data.text(text, least=10 * (context + 2))
    data.encode(prompt)
    path = _checkpoint_path(checkpoint, resume)
    settings = Settings(
        layers,
        width,
        heads,
        context,
        batch_size,
        steps,
        learning_rate,
        seed,
        jit_compile,
        data.digest,
    )
    trainer = new_training(settings, data)
    progress = load(path, trainer, settings) if path and resume else Progress([], [], [], [])
    progress = train(trainer, data, settings, progress, path)
    read = data.decode(data.validation[: min(20, context)])
    return LanguageModelResult(
        parameters=trainer.model.shape.parameters,
        baselines={
            "unigram": unigram_bits(data, data.validation),
            "bigram": bigram_bits(data, data.validation),
        },
        progress=progress,
        written=complete(trainer.model, data, prompt, length, temperature, top_k, seed),
        read=read,
        attention=trainer.model.attention(data.encode(read)),
    )


def _checkpoint_path(checkpoint: str | None, resume: bool) -> Path | None:
    if not checkpoint:
        return None
    path = Path(checkpoint)
    if resume and not path.exists():
        raise _options.OptionError(f"there is no checkpoint {path} to go on from")
    if not resume and path.exists():
        raise _options.OptionError(
            f"{path} is there already: --resume goes on from it; or name another file"
        )
    try:
        _report.check_writable(path)
    except OSError as error:
        raise _options.OptionError(f"can't write {path}: {error.strerror or error}") from error
    return path
