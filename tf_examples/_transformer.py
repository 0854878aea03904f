"""A decoder-only Transformer of GPT-2's kind, in Keras layers, and the loop that trains it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

ops = keras.ops

Cache = list[tuple[tf.Tensor, tf.Tensor]]
"""For each block the keys and the values: (1, heads, context, head width), one row a place."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a model; the feed-forward layers are 4 times as wide as the rest."""

    layers: int
    width: int
    heads: int
    context: int
    """How many tokens it sees at most."""
    vocabulary: int

    @property
    def parameters(self) -> int:
        """How many numbers are trained, the embeddings among them."""
        return self.block_parameters + (self.vocabulary + self.context + 2) * self.width

    @property
    def block_parameters(self) -> int:
        """Those of the blocks alone: four matrices of attention, two of the feed-forward layer."""
        matrices, biases, norms = 12 * self.width**2, 9 * self.width, 4 * self.width
        return self.layers * (matrices + biases + norms)


class CausalSelfAttention(keras.layers.Layer):
    """Attention of every token to itself and to those before it.

    Scores are q k / sqrt(head width); each row of them becomes weights by softmax (A. Vaswani et
    al., Attention is all you need, 2017, equation 1), tokens that come later left out.
    """

    def __init__(self, heads: int, deviation: float, seed: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.heads, self.deviation, self.seed = heads, deviation, seed

    def build(self, shape: tuple) -> None:
        width = shape[-1]
        self.queries_keys_values = keras.layers.Dense(
            3 * width, kernel_initializer=_normal(width**-0.5, self.seed, 0)
        )
        self.output_layer = keras.layers.Dense(
            width, kernel_initializer=_normal(self.deviation * width**-0.5, self.seed, 1)
        )
        self.queries_keys_values.build(shape)
        self.output_layer.build(shape)

    def weights_of(self, q: tf.Tensor, k: tf.Tensor, first: tf.Tensor | int = 0) -> tf.Tensor:
        """How much each query attends to each key: (batch, heads, queries, keys), rows sum to 1.

        Args:
            q: (batch, heads, queries, head width).
            k: (batch, heads, keys, head width).
            first: the place of the first query among the keys.
        """
        scores = ops.matmul(q, ops.swapaxes(k, 2, 3)) / math.sqrt(q.shape[-1])
        places = first + ops.arange(q.shape[2])
        later = ops.arange(k.shape[2]) > places[:, None]
        return ops.softmax(ops.where(later, float("-inf"), ops.cast(scores, "float32")))

    def split(self, x: tf.Tensor) -> list[tf.Tensor]:
        """Queries, keys, values of (batch, time, width): each (batch, heads, time, head width)."""
        time, width = x.shape[1:]
        shape = (-1, time, 3, self.heads, width // self.heads)
        joined = ops.transpose(ops.reshape(self.queries_keys_values(x), shape), (2, 0, 3, 1, 4))
        return [joined[0], joined[1], joined[2]]

    def merge(self, attended: tf.Tensor) -> tf.Tensor:
        """The heads side by side, and mixed: (batch, heads, time, head width) to (..., width)."""
        _, heads, time, size = attended.shape
        attended = ops.cast(attended, self.compute_dtype)
        joined = ops.reshape(ops.transpose(attended, (0, 2, 1, 3)), (-1, time, heads * size))
        return self.output_layer(joined)


class Block(keras.layers.Layer):
    """x + attention(norm(x)), then x + feed_forward(norm(x)): "pre-norm"."""

    def __init__(self, heads: int, deviation: float, seed: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.deviation, self.seed = deviation, seed
        self.norm_1 = keras.layers.LayerNormalization(epsilon=1e-5)
        self.attention = CausalSelfAttention(heads, deviation, seed)
        self.norm_2 = keras.layers.LayerNormalization(epsilon=1e-5)

    def build(self, shape: tuple) -> None:
        width = shape[-1]
        self.widen = keras.layers.Dense(
            4 * width, "relu", kernel_initializer=_normal(width**-0.5, self.seed, 2)
        )
        self.narrow = keras.layers.Dense(
            width, kernel_initializer=_normal(self.deviation * (4 * width) ** -0.5, self.seed, 3)
        )
        for layer in (self.norm_1, self.attention, self.norm_2, self.widen):
            layer.build(shape)
        self.narrow.build((*shape[:-1], 4 * width))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Maps (batch, time, width) to the same shape."""
        q, k, v = self.attention.split(self.norm_1(x))
        return self.finish(x, ops.matmul(self.attention.weights_of(q, k), v))

    def finish(self, x: tf.Tensor, attended: tf.Tensor) -> tf.Tensor:
        """What follows once each head has its values: (batch, heads, time, head width)."""
        x = x + self.attention.merge(attended)
        return x + self.narrow(self.widen(self.norm_2(x)))


class Transformer(keras.Model):
    """Tokens (batch, time), whole numbers, to logits (batch, time, vocabulary) of the next token.

    Args:
        seed: draws the first weights.
        recompute: whether a block's activations are computed again in the backward pass, and not
            kept: less memory, a third more work.
    """

    def __init__(self, shape: Shape, seed: int, recompute: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        self.shape, self.recompute = shape, recompute
        # The 2 * layers sums of the shortcuts keep their size: GPT-2's scaling.
        deviation = (2 * shape.layers) ** -0.5
        self.blocks = [Block(shape.heads, deviation, seed + 10 * i) for i in range(shape.layers)]
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5)
        self.embedding = self.add_weight(
            (shape.vocabulary, shape.width), _normal(0.02, seed, 4), name="embedding"
        )
        self.positions = self.add_weight(
            (shape.context, shape.width), _normal(0.02, seed, 5), name="positions"
        )
        for layer in (*self.blocks, self.norm):
            layer.build((None, shape.context, shape.width))
        self.built = True

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """Logits, in float32, of the token after each."""
        x = self.embed(tokens, 0)
        for block in self.blocks:
            x = tf.recompute_grad(block)(x) if self.recompute else block(x)
        return self.logits(x)

    def embed(self, tokens: tf.Tensor, first: tf.Tensor | int) -> tf.Tensor:
        """Tokens and their places as vectors: (batch, time, width).

        Args:
            first: the place of the first token in the context.
        """
        time = tokens.shape[1]
        places = tf.slice(self.positions, [first, 0], [time, self.shape.width])
        vectors = tf.gather(self.embedding, tokens) + places
        return ops.cast(vectors, self.compute_dtype)

    def logits(self, x: tf.Tensor) -> tf.Tensor:
        """The output layer: the embedding, read the other way ("tied")."""
        x = ops.cast(self.norm(x), self.embedding.dtype)
        return ops.cast(tf.matmul(x, self.embedding, transpose_b=True), "float32")

    def attention(self, tokens: np.ndarray) -> np.ndarray:
        """The weights of attention to (time,) tokens: (layers, heads, time, time)."""
        x, weights = self.embed(np.asarray(tokens)[None], 0), []
        for block in self.blocks:
            q, k, _ = block.attention.split(block.norm_1(x))
            weights.append(block.attention.weights_of(q, k)[0])
            x = block(x)
        return np.stack([np.asarray(layer) for layer in weights])

    @tf.function(reduce_retracing=True)
    def read(self, tokens: tf.Tensor) -> tuple[tf.Tensor, Cache]:
        """Logits (context, vocabulary), and the keys and values that made them.

        Args:
            tokens: (context,), filled up at the end: what comes later changes nothing before it.
        """
        x, cache = self.embed(tokens[None], 0), []
        for block in self.blocks:
            q, k, v = block.attention.split(block.norm_1(x))
            cache.append((k, v))
            x = block.finish(x, ops.matmul(block.attention.weights_of(q, k), v))
        return self.logits(x)[0], cache

    @tf.function(reduce_retracing=True)
    def step(self, token: tf.Tensor, place: tf.Tensor, cache: Cache) -> tuple[tf.Tensor, Cache]:
        """The logits (vocabulary,) after one more token, and the cache with it.

        Args:
            token: a scalar.
            place: its place in the context, a scalar.
        """
        x, kept = self.embed(token[None, None], place), []
        for block, (keys, values) in zip(self.blocks, cache, strict=True):
            q, k, v = block.attention.split(block.norm_1(x))
            start = (0, 0, place, 0)
            keys, values = ops.slice_update(keys, start, k), ops.slice_update(values, start, v)
            kept.append((keys, values))
            weights = block.attention.weights_of(q, keys, place)
            x = block.finish(x, ops.matmul(weights, values))
        return self.logits(x)[0, 0], kept


def _normal(deviation: float, seed: int, number: int) -> keras.initializers.Initializer:
    """Normal numbers that `seed` and `number` alone decide."""
    return keras.initializers.RandomNormal(0.0, deviation, seed=100 * seed + number)


class Trainer:
    """Trains a model to predict each next token of a text.

    The batch of a step depends on the seed and the number of the step alone, and no layer draws at
    random: so a training that is interrupted goes on as if it never was.

    Args:
        tokens: the text to learn from, (length,) whole numbers.
    """

    def __init__(
        self,
        model: Transformer,
        optimizer: keras.optimizers.Optimizer,
        tokens: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        jit_compile: bool = True,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self._tokens = tf.constant(tokens, tf.int32)
        self._batch_size, self._seed = batch_size, seed
        optimizer.build(model.trainable_variables)
        self._step = tf.function(self._one_step, jit_compile=jit_compile)
        self._loop = tf.function(self._some_steps)

    def train(self, steps: int) -> np.ndarray:
        """Takes steps in one compiled loop; returns their losses, in nats, (steps,)."""
        first = tf.cast(self.optimizer.iterations, tf.int32)
        return self._loop(first, tf.constant(steps)).numpy()

    def _some_steps(self, first: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
        losses = tf.TensorArray(tf.float32, steps)
        for i in tf.range(steps):
            losses = losses.write(i, self._step(first + i))
        return losses.stack()

    def _one_step(self, step: tf.Tensor) -> tf.Tensor:
        window = self.model.shape.context + 1
        starts = tf.random.stateless_uniform(
            [self._batch_size], [self._seed, step], 0, len(self._tokens) - window + 1, tf.int32
        )
        batch = tf.gather(self._tokens, starts[:, None] + tf.range(window))
        with tf.GradientTape() as tape:
            logits = self.model(batch[:, :-1])
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(batch[:, 1:], logits)
            )
        weights = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return loss


def evaluate(model: Transformer, tokens: np.ndarray, batch_size: int = 64) -> float:
    """The mean loss, in nats, of every token of a text but its first, seen in windows.

    The windows lie side by side, so a token early in one has little before it to go by; what does
    not fill a last window is left out.
    """
    context = model.shape.context
    windows = (len(tokens) - 1) // context
    inputs = np.reshape(tokens[: windows * context], (windows, context))
    targets = np.reshape(tokens[1 : windows * context + 1], (windows, context))
    total = 0.0
    for start in range(0, windows, batch_size):
        part = slice(start, start + batch_size)
        total += float(_sum_of_losses(model, tf.constant(inputs[part]), tf.constant(targets[part])))
    return total / (windows * context)


@tf.function(reduce_retracing=True)
def _sum_of_losses(model: Transformer, inputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, model(inputs))
    return tf.reduce_sum(losses)


def schedule(learning_rate: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Up from 0 over the first tenth of the steps, then down along a cosine to a fiftieth."""
    warmup = max(1, steps // 10)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), 0.02, warmup_target=learning_rate, warmup_steps=warmup
    )


def generate(
    model: Transformer,
    prompt: Sequence[int] | np.ndarray,
    length: int,
    *,
    temperature: float,
    top_k: int | None,
    seed: int,
    cached: bool = True,
) -> Iterator[int]:
    """Yields `length` tokens after `prompt`, one after the other.

    Where the context is full, it goes on with its later half: the model sees no more than that.

    Args:
        prompt: at least one token.
        temperature: divides the logits: below 1 the likely tokens become likelier; at 0 the
            likeliest is taken.
        top_k: only these many likeliest tokens can be drawn; None for all.
        seed: draws the tokens.
        cached: whether keys and values are kept from token to token. The tokens are the same.
    """
    rng = np.random.default_rng(seed)
    seen = list(prompt)[-model.shape.context :]
    logits, cache = _read(model, seen)
    for _ in range(length):
        token = choose(logits, temperature, top_k, rng)
        yield token
        seen.append(token)
        if len(seen) > model.shape.context:
            seen = seen[-(model.shape.context // 2) - 1 :]
            logits, cache = _read(model, seen)
        elif cached:
            last, place = tf.constant(token), tf.constant(len(seen) - 1)
            logits, cache = model.step(last, place, cache)
        else:
            logits, cache = _read(model, seen)


def _read(model: Transformer, tokens: Sequence[int]) -> tuple[tf.Tensor, Cache]:
    """The logits after `tokens`, and the cache that holds them."""
    filled = np.zeros(model.shape.context, "int32")
    filled[: len(tokens)] = tokens
    logits, cache = model.read(tf.constant(filled))
    return logits[len(tokens) - 1], cache


def choose(
    logits: np.ndarray, temperature: float, top_k: int | None, rng: np.random.Generator
) -> int:
    """Draws a token from logits (vocabulary,)."""
    logits = np.asarray(logits, "float64")
    if temperature == 0:
        return int(np.argmax(logits))
    logits = logits / temperature
    if top_k is not None and top_k < len(logits):
        logits = np.where(logits >= np.sort(logits)[-top_k], logits, -np.inf)
    chances = np.exp(logits - logits.max())
    return int(np.searchsorted(np.cumsum(chances) / chances.sum(), rng.random(), side="right"))
