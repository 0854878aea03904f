"""What training a model costs: parameters, arithmetic, memory, storage, data, time and money.

Each formula is a small function with its convention and its source; `estimate` puts them together.
Imports neither TensorFlow nor NumPy: `tf-examples estimate` answers at once. Bytes are counted in
GB = 1e9, a product of two matrices (m, k) and (k, n) as 2 m k n FLOPs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tf_examples import _presets
from tf_examples._options import OptionError, at_least
from tf_examples._presets import Architecture, Device

if TYPE_CHECKING:
    from tf_examples._plots import Picture
    from tf_examples._report import Table

Precision = Literal["mixed", "mixed_float32_gradients", "float32"]
Recompute = Literal["none", "selective", "full"]

SLOTS = {"sgd": 0, "momentum": 1, "adagrad": 1, "rmsprop": 1, "adam": 2}
"""Numbers that each optimizer keeps a parameter."""

BYTES = {"mixed": (2, 2, 4), "mixed_float32_gradients": (2, 4, 4), "float32": (4, 4, 0)}
"""Bytes a parameter of the weights, the gradients and the float32 master copy of the weights."""

TOKENS_A_PARAMETER = 20
"""About this many are compute-optimal (Hoffmann et al. 2022, Table 3): a rule of thumb."""


def parameters(a: Architecture) -> dict[str, int]:
    """The parameters of each part.

    A GPT block of width h has 12 h^2 + 13 h: attention 4 h^2 + 4 h, feed-forward 8 h^2 + 5 h, two
    norms 4 h.
    """
    blocks, encoders = a.layers, a.encoder_blocks
    query, key = a.width * a.query_width, a.width * a.key_width
    attention = 2 * query + 2 * key
    inner = (3 if a.gated else 2) * a.width * a.inner_width
    if a.biases:
        attention += a.query_width + 2 * a.key_width + a.width
        inner += (2 if a.gated else 1) * a.inner_width + a.width
    norm = a.width * (2 if a.norm == "layer" else 1)
    norms = (1 if a.parallel else 2) * (blocks + encoders) + (blocks if encoders else 0)
    norms += (1 + bool(encoders)) * (a.final_norm + a.embedding_norm)
    positions = {
        "learned": a.context * a.width,
        "relative": a.position_buckets * a.heads,
    }.get(a.positions, 0)
    parts = {
        "embedding": (a.vocabulary + a.token_types) * a.width,
        "positions": positions * (2 if encoders else 1),
        "attention": attention * (blocks + encoders),
        "cross-attention": attention * (blocks if encoders else 0),
        "feed-forward": inner * (blocks + encoders),
        "norms": norm * norms,
        "pooler": a.width * (a.width + 1) if a.pooler else 0,
        "output": 0 if a.tied else a.vocabulary * a.width,
    }
    return {name: count for name, count in parts.items() if count}


def parameters_met(a: Architecture) -> float:
    """The parameters that one token meets.

    All, but half of them in an encoder-decoder, where a token passes through one of the two stacks
    (Brown et al. 2020, Table D.1).
    """
    return sum(parameters(a).values()) / (2 if a.encoder_blocks else 1)


def training_flops(parameters: float, tokens: float) -> float:
    """C = 6 N D: 2 FLOPs a parameter and token forward, 4 backward (Kaplan et al. 2020, 2.1).

    N counts embeddings here, as the published totals do. It leaves out the products of queries,
    keys and values, which grow with the sequence: `forward_flops` has them.
    """
    return 6 * parameters * tokens


def forward_flops(a: Architecture, sequence_length: int) -> dict[str, float]:
    """FLOPs of the matrix products of each part, forward, a token.

    Attention counts each token with all of its sequence, masked or not, as frameworks compute it
    and papers count it: scores and mixing, 4 s h a block. The logits are counted at each token.
    Backward is twice this: an embedding is looked up, so no product lacks its input's gradient.
    Of an encoder-decoder, the mean over as many source as target tokens.
    """
    query, key = a.width * a.query_width, a.width * a.key_width
    projections = 2 * (2 * query + 2 * key)
    scores = 4 * sequence_length * a.query_width
    inner = 2 * (3 if a.gated else 2) * a.width * a.inner_width
    logits = 2 * a.width * a.vocabulary
    blocks = float(a.layers)
    if a.encoder_blocks:
        crossing = blocks / 2
        blocks = (blocks + a.encoder_blocks) / 2
        return {
            "projections": projections * (blocks + crossing),
            "scores": scores * (blocks + crossing),
            "feed-forward": inner * blocks,
            "logits": logits / 2,
        }
    return {
        "projections": projections * blocks,
        "scores": scores * blocks,
        "feed-forward": inner * blocks,
        "logits": float(logits),
    }


def hardware_flops(a: Architecture, model_flops: float, tokens: float, s: int, how: str) -> float:
    """What a device computes, recomputation included: 8 N D where it is full.

    Selective recomputation repeats the scores and their mixing (Korthikanti et al. 2022, section
    5).
    """
    if how == "full":
        return model_flops * 8 / 6
    if how == "selective":
        return model_flops + forward_flops(a, s)["scores"] * tokens
    return model_flops


def training_seconds(flops: float, devices: float, peak: float, utilization: float) -> float:
    """Time = C / (devices x peak FLOP/s x utilization).

    The utilization is MFU where `flops` are the model's own, and HFU where they are the hardware's,
    recomputation included (8 N D); never one with the other. MFU is Chowdhery et al.'s (2022,
    appendix B), who add the attention's products: with 6 N D alone it is the one without attention,
    45.7% for PaLM instead of 46.2%.
    """
    return flops / (devices * peak * utilization)


def state_bytes(
    parameters: float, optimizer: str, precision: str, zero_stage: int = 0, devices: int = 1
) -> dict[str, float]:
    """Bytes a device of weights, gradients and optimizer state (master weights included).

    ZeRO divides among the devices the optimizer's state (stage 1), the gradients too (2), the
    weights too (3). Mixed-precision Adam: 2 + 2 + 12 bytes a parameter; float32 Adam 4 + 4 + 8
    (Rajbhandari et al. 2020, section 3 and Figure 1).
    """
    weight, gradient, master = BYTES[precision]
    sizes = {"weights": weight, "gradients": gradient, "optimizer": master + 4 * SLOTS[optimizer]}
    return sharded({name: size * parameters for name, size in sizes.items()}, zero_stage, devices)


def sharded(states: Mapping[str, float], zero_stage: int, devices: int) -> dict[str, float]:
    """What ZeRO leaves of `states` on each of the devices, in bytes."""
    first = {"weights": 3, "gradients": 2, "optimizer": 1}
    return {
        name: size / devices if zero_stage >= first[name] else size for name, size in states.items()
    }


def layer_activation_bytes(
    sequence_length: int,
    batch_size: int,
    width: int,
    heads: int,
    *,
    tensor_parallel: int = 1,
    sequence_parallel: bool = False,
    recompute: str = "none",
) -> float:
    """Bytes that a block of GPT's shape keeps for its backward pass, in 16 bits.

    s b h (34 + 5 a s / h), dropout masks included; over t tensor-parallel devices
    s b h (10 + 24 / t + 5 a s / (h t)), with sequence parallelism too s b h / t (34 + 5 a s / h);
    without 5 a s / h where it is recomputed selectively; 2 s b h where all is (Korthikanti et al.
    2022, Table 2).
    """
    s, b, h, t = sequence_length, batch_size, width, tensor_parallel
    if recompute == "full":
        return 2.0 * s * b * h
    attention = 0 if recompute == "selective" else 5 * heads * s / h
    whole = 10 / t if sequence_parallel else 10
    return s * b * h * (whole + 24 / t + attention / t)


def activation_bytes(
    a: Architecture,
    sequence_length: int,
    batch_size: int,
    recompute: str = "none",
    precision: str = "mixed",
) -> float:
    """Bytes that all blocks keep for the backward pass, on a device of its own.

    Counted as Korthikanti et al. 2022 (section 4) count, for any shape; for GPT's it is their
    `layer_activation_bytes`. Without the logits (`logit_bytes`), which dominate a miniature, and
    without temporary buffers. Kernels that never store the scores (FlashAttention) come near
    `recompute="selective"`.
    """
    number = 4 if precision == "float32" else 2
    tokens = sequence_length * batch_size
    if recompute == "full":
        return float(number * a.width * tokens * (a.layers + a.encoder_blocks))
    mask = a.width if a.dropout else 0
    rows = 0 if recompute == "selective" else a.heads * sequence_length
    scores = rows * (2 * number + 1 if a.dropout else number)
    heads = number * (2 * a.query_width + 2 * a.key_width)  # queries, their mix; keys, values
    inner = number * (4 if a.gated else 2) * a.inner_width
    inputs = number * a.width * (1 if a.parallel else 2)  # of attention and of feed-forward
    norms = inputs
    block = inputs + norms + heads + scores + inner + 2 * mask
    crossing = 2 * number * a.width + heads + scores + mask if a.encoder_blocks else 0
    return float(tokens * (block * (a.layers + a.encoder_blocks) + crossing * a.layers))


def logit_bytes(
    a: Architecture, sequence_length: int, batch_size: int, precision: str = "mixed"
) -> float:
    """Bytes of the logits: s b V numbers."""
    number = 4 if precision == "float32" else 2
    return float(number * sequence_length * batch_size * a.vocabulary)


def checkpoint_bytes(parameters: float, optimizer: str, precision: str) -> tuple[float, float]:
    """Bytes of the weights alone, and of all that training needs to go on.

    2 a parameter in 16 bits, and 14 with Adam's state and the master weights.
    """
    weight, _, master = BYTES[precision]
    return weight * parameters, (weight + master + 4 * SLOTS[optimizer]) * parameters


def data_bytes(tokens: float, vocabulary: int) -> float:
    """Bytes of the tokens on a disk: 2 each where a number below 65,536 names a word, else 4."""
    return tokens * (2 if vocabulary <= 65536 else 4)


class LossLaw(NamedTuple):
    """L = E + A / N^alpha + B / D^beta, the loss after D tokens of a model of N parameters."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def loss(self, n: Any, d: Any) -> Any:
        """In nats a token, of numbers or arrays of parameters `n` and tokens `d`."""
        return self.E + self.A / n**self.alpha + self.B / d**self.beta

    def optimal(self, flops: float) -> tuple[float, float]:
        """N and D of the least loss among those with 6 N D = `flops`: Hoffmann et al. 2022, eq. 4.

        Setting the derivative of L along 6 N D = C to 0 gives alpha A / N^alpha = beta B / D^beta.
        """
        ratio = self.alpha * self.A / (self.beta * self.B)
        n = (ratio * (flops / 6) ** self.beta) ** (1 / (self.alpha + self.beta))
        return n, flops / 6 / n


HOFFMANN = LossLaw(1.69, 406.4, 410.7, 0.34, 0.28)
"""Hoffmann et al. 2022, eq. 10, rounded as printed there."""
BESIROGLU = LossLaw(1.8172, 482.01, 2085.43, 0.3478, 0.3658)
"""The same data fitted anew: Besiroglu et al. 2024, section 3."""


def compute_optimal(flops: float) -> tuple[float, float]:
    """Parameters and tokens with 6 N D = `flops` at 20 tokens a parameter, the rule of thumb."""
    n = math.sqrt(flops / (6 * TOKENS_A_PARAMETER))
    return n, TOKENS_A_PARAMETER * n


@dataclass(frozen=True)
class Estimate:
    """What training a model costs. Plain numbers: bytes, seconds, FLOPs, tokens."""

    name: str
    parameters: dict[str, int]
    """By part."""
    total_parameters: int
    tokens: float
    tokens_from: str
    training_flops: float
    flops_from: str
    matrix_flops: float
    """The same by the matrix products, attention's included."""
    hardware_flops: float
    """Recomputation included."""
    sequence_length: int
    batch_size: int
    """Sequences that a device computes at once."""
    devices: int
    device: Device
    peak: float
    """FLOP/s of a device at this precision."""
    mfu: float
    hfu: float
    """The hardware's utilization that the MFU implies."""
    seconds: float
    deadline_days: float
    devices_for_deadline: int
    optimizer: str
    precision: str
    zero_stage: int
    recompute: str
    memory: dict[str, float]
    """Bytes a device: weights, gradients, optimizer, activations."""
    by_zero_stage: list[dict[str, float]]
    """The same for ZeRO's stages 0 to 3."""
    logit_bytes: float
    """Not in `memory`, as in the formula's source."""
    checkpoint_bytes: float
    training_checkpoint_bytes: float
    """With the optimizer's state and master weights: what a run resumes from."""
    data_bytes: float
    compute_optimal_tokens: float
    price_per_device_hour: float | None
    money: float | None
    """In the currency of the price."""

    @property
    def memory_a_device(self) -> float:
        return sum(self.memory.values())

    @property
    def device_hours(self) -> float:
        return self.seconds / 3600 * self.devices

    def table(self) -> "Table":
        """Everything, with the formula beside each number."""
        from tf_examples._report import Table

        fits = self.memory_a_device <= self.device.memory
        room = f"of {quantity(self.device.memory, 'B')}: {'fits' if fits else 'does not fit'}"
        utilization = f"{100 * self.mfu:.3g}% MFU"
        if self.recompute != "none":
            utilization += f" ({100 * self.hfu:.3g}% HFU)"
        rows = [
            (
                "parameters",
                f"{n:,}" if (n := self.total_parameters) < 1e15 else scientific(n),
                "all parts",
            ),
            *((f"  {part}", quantity(n), "") for part, n in self.parameters.items()),
            ("tokens", quantity(self.tokens), self.tokens_from),
            ("training FLOPs", scientific(self.training_flops), self.flops_from),
            ("  by matrix products", scientific(self.matrix_flops), "attention included"),
            ("time", duration(self.seconds), f"at {utilization}"),
            ("  device hours", quantity(self.device_hours), "devices x time"),
            (f"  devices for {self.deadline_days:g} days", f"{self.devices_for_deadline:,}", ""),
            ("memory a device", quantity(self.memory_a_device, "B"), room),
            *((f"  {part}", quantity(size, "B"), "") for part, size in self.memory.items()),
            (
                "  logits, not counted",
                quantity(self.logit_bytes, "B"),
                "sequences x tokens x words",
            ),
            ("checkpoint", quantity(self.checkpoint_bytes, "B"), "weights alone"),
            (
                "  to resume from",
                quantity(self.training_checkpoint_bytes, "B"),
                "and the optimizer",
            ),
            (
                "tokens on disk",
                quantity(self.data_bytes, "B"),
                f"{self.data_bytes / self.tokens:g} bytes each",
            ),
            (
                "compute-optimal tokens",
                quantity(self.compute_optimal_tokens),
                f"{TOKENS_A_PARAMETER} a parameter, a rule of thumb",
            ),
        ]
        if self.money is not None:
            price = f"at {self.price_per_device_hour:g} a device and hour"
            rows.append(("money", f"{self.money:,.0f}", price))
        return Table(self.title(), ("", "value", "how"), ("", "s", ""), rows)

    def title(self) -> str:
        """The setting, in two lines."""
        count = f"{self.devices:,} {self.device.name}"
        batch = f"{self.batch_size} examples a device at once"
        if self.sequence_length > 1:
            batch = (
                f"Sequences of {self.sequence_length:,} tokens, {self.batch_size} a device at once"
            )
        return (
            f"{self.name} on {count}: {self.optimizer}, {self.precision}, ZeRO stage "
            f"{self.zero_stage}, recompute {self.recompute}\n{batch}"
        )

    def figure(self) -> "Picture":
        """Where the memory of a device goes."""
        from tf_examples import _plots

        return _plots.drawing(_draw_memory)(self)


def _draw_memory(e: Estimate) -> "Picture":
    from tf_examples import _plots

    total, room = e.memory_a_device, e.device.memory
    largest = max(e.memory, key=e.memory.__getitem__)
    name_as_it_is = e.name.replace("$", r"\$")  # no mathematics
    figure, axes = _plots.picture(
        f"{name_as_it_is}: {quantity(total, 'B')} a device, {e.memory[largest] / total:.0%} of it "
        f"{largest}; the {e.device.name} has {quantity(room, 'B')}",
        f"Bars of the memory that each part takes of one of {e.devices:,} {e.device.name}: "
        + ", ".join(f"{part} {quantity(size, 'B')}" for part, size in e.memory.items())
        + f". The device has {quantity(room, 'B')}, marked by a line where it is near.",
        size=(7, 3),
    )
    unit, name = (1e9, "GB") if total > 1e9 else (1e6, "MB")
    for place, ((part, size), color) in enumerate(
        zip(e.memory.items(), _plots.CYCLE, strict=False)
    ):
        axes.barh(part, size / unit, color=color, height=0.7)
        axes.annotate(
            quantity(size, "B"),
            (size / unit, place),
            (5, 0),
            textcoords="offset points",
            va="center",
        )
    if room < 10 * total:
        axes.axvline(room / unit, color=_plots.BLACK, linestyle="--")
        name += f"; dashed: what the {e.device.name} has"
    axes.margins(x=0.18)
    axes.set(xlabel=name)
    axes.set_xlim(left=0)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    return figure


def estimate(
    config: Any,
    *,
    tokens: float | None = None,
    devices: int = 1,
    device: str = "a100",
    mfu: float = 0.4,
    optimizer: str = "adam",
    precision: str = "mixed",
    zero_stage: int = 0,
    sequence_length: int | None = None,
    batch_size: int = 1,
    recompute: bool | str = False,
    deadline_days: float = 30,
    price_per_device_hour: float | None = None,
) -> Estimate:
    """Estimates what training a model costs.

    Args:
        config: a preset's name, an `Architecture`, a mapping of its fields, a JSON file of them, or
            a built Keras model; of that, what its variables and its optimizer's take is exact and
            replaces `optimizer` and `precision`, and its arithmetic and activations are counted in
            its TensorFlow graph.
        tokens: To train on; None: as published, else 20 a parameter. A Keras model that doesn't
            read token numbers has one "token" an example.
        devices: How many.
        device: A name in `_presets.DEVICES`.
        mfu: Model FLOPs utilization: the part of the peak that goes into the model's own FLOPs,
            in (0, 1]. Large runs reach 0.2 to 0.5 (Chowdhery et al. 2022, Table 3).
        optimizer: A key of `SLOTS`.
        precision: "mixed" (16 bits, float32 master weights), "mixed_float32_gradients" or
            "float32".
        zero_stage: 0 to 3: what is divided among the devices.
        sequence_length: Tokens; None: the model's context.
        batch_size: Sequences that a device computes at once.
        recompute: "none" or False, "selective", "full" or True. MFU, and so time, don't change by
            definition; the hardware's utilization that they imply does.
        deadline_days: For the number of devices it takes.
        price_per_device_hour: In any currency.

    Raises:
        OptionError: names what was wrong and what would be right.
    """
    how = {True: "full", False: "none"}[recompute] if isinstance(recompute, bool) else recompute
    for name, value, choices in (
        ("optimizer", optimizer, SLOTS),
        ("precision", precision, BYTES),
        ("zero_stage", zero_stage, range(4)),
        ("recompute", how, ("none", "selective", "full")),
    ):
        if not any(value == choice and type(value) is type(choice) for choice in choices):
            said = ", ".join(map(str, choices))
            raise OptionError(f"`{name}` must be one of {said}. Received: {name}={value!r}")
    _within("mfu", mfu, 1e-4, 1)
    _within("deadline_days", deadline_days, 1e-3, 1e6)
    for name, count in (("devices", devices), ("batch_size", batch_size)):
        if at_least(name, count, 1) > _presets.LARGEST:
            raise OptionError(f"`{name}` must be at most 1e9. Received: {name}={count!r}")
    if tokens is not None and _within("tokens", tokens, 0, 1e18) < 1:
        raise OptionError(f"`tokens` must be at least 1. Received: tokens={tokens!r}")
    if price_per_device_hour is not None:
        _within("price_per_device_hour", price_per_device_hour, 0, 1e6)
    if sequence_length is not None and at_least("sequence_length", sequence_length, 1) > 10**8:
        raise OptionError(
            f"`sequence_length` must be at most 1e8. Received: sequence_length={sequence_length!r}"
        )
    chip = _presets.device(str(device))
    model = _Model.of(config, sequence_length, batch_size, optimizer, precision, how)
    total = sum(model.parameters.values())
    came_from = "as given"
    if tokens is None:
        tokens, came_from = model.published_tokens, model.tokens_source
    if tokens is None:
        tokens = TOKENS_A_PARAMETER * total
        came_from = f"{TOKENS_A_PARAMETER} a parameter (none published)"
    peak = chip.peak if model.half else chip.peak_float32
    if peak is None:
        raise OptionError(f"`device`: {chip.name} has no float32 peak; choose a gpu, or mixed")
    flops = model.flops_a_token * tokens
    hardware = flops + model.recomputed_a_token * tokens
    hfu = mfu * hardware / flops if flops else mfu
    if hfu > 1:
        most = math.floor(1000 * flops / hardware + 1e-9) / 1000
        raise OptionError(
            f"`mfu` must be at most {most:g} with recompute={how!r}, which would "
            f"take {hfu:.0%} of the peak. Received: mfu={mfu!r}"
        )
    seconds = training_seconds(flops, devices, peak, mfu)
    by_stage = [
        sharded(model.states, stage, devices) | {"activations": model.activations}
        for stage in range(4)
    ]
    return Estimate(
        name=model.name,
        parameters=model.parameters,
        total_parameters=total,
        tokens=float(tokens),
        tokens_from=came_from,
        training_flops=flops,
        flops_from=model.flops_from,
        matrix_flops=model.matrix_flops_a_token * tokens,
        hardware_flops=hardware,
        sequence_length=model.sequence_length,
        batch_size=batch_size,
        devices=devices,
        device=chip,
        peak=peak,
        mfu=mfu,
        hfu=hfu,
        seconds=seconds,
        deadline_days=deadline_days,
        devices_for_deadline=math.ceil(
            training_seconds(flops, 1, peak, mfu) / (deadline_days * 86400)
        ),
        optimizer=model.optimizer,
        precision=model.precision,
        zero_stage=zero_stage,
        recompute=how,
        memory=by_stage[zero_stage],
        by_zero_stage=by_stage,
        logit_bytes=model.logits,
        checkpoint_bytes=model.checkpoints[0],
        training_checkpoint_bytes=model.checkpoints[1],
        data_bytes=model.bytes_a_token * tokens,
        compute_optimal_tokens=float(TOKENS_A_PARAMETER * total),
        price_per_device_hour=price_per_device_hour,
        money=None
        if price_per_device_hour is None
        else price_per_device_hour * seconds / 3600 * devices,
    )


@dataclass(frozen=True, kw_only=True)
class _Model:
    """What `estimate` needs to know of a model, wherever it comes from."""

    name: str
    parameters: dict[str, int]
    met: float
    flops_a_token: float
    flops_from: str
    matrix_flops_a_token: float
    recomputed_a_token: float
    states: dict[str, float]
    activations: float
    logits: float
    checkpoints: tuple[float, float]
    optimizer: str
    precision: str
    half: bool
    sequence_length: int
    bytes_a_token: float
    published_tokens: float | None = None
    tokens_source: str = ""

    @staticmethod
    def of(
        config: Any, length: int | None, batch_size: int, optimizer: str, precision: str, how: str
    ) -> "_Model":
        if hasattr(config, "trainable_variables") and hasattr(config, "built"):
            from tf_examples import _keras_costs

            if how != "none":
                raise OptionError("`recompute` of a Keras model is part of its graph: leave it out")
            return _Model(**_keras_costs.count(config, length, batch_size, optimizer))
        tokens, source = None, ""
        if isinstance(config, Mapping):
            config = _presets.architecture(config)
        elif isinstance(config, str) and config.lower().endswith((".keras", ".h5")):
            raise OptionError(
                f"{config}: load it in Python, and call `tf_examples._costs.estimate(model)`"
            )
        elif isinstance(config, Path) or (isinstance(config, str) and _is_file(config)):
            config = _presets.read_architecture(Path(config))
        elif isinstance(config, str):
            found = _presets.preset(config)
            config, tokens, source = found.architecture, found.tokens, found.tokens_source
        if not isinstance(config, Architecture):
            raise OptionError(
                "`config` must be a preset's name, an Architecture, its fields, a JSON file of "
                f"them or a built Keras model. Received: {config!r}"
            )
        s = config.context if length is None else length
        if config.positions == "learned" and s > config.context:
            raise OptionError(
                f"`sequence_length` must be at most {config.context}, {config.name}'s learned "
                f"positions. Received: sequence_length={s}"
            )
        parts, met = parameters(config), parameters_met(config)
        total = sum(parts.values())
        flops = training_flops(met, 1)
        return _Model(
            name=config.name,
            parameters=parts,
            met=met,
            flops_a_token=flops,
            flops_from="6 N D" if met == total else "6 N D / 2: a token meets half",
            matrix_flops_a_token=3 * sum(forward_flops(config, s).values()),
            recomputed_a_token=hardware_flops(config, flops, 1, s, how) - flops,
            states=state_bytes(total, optimizer, precision),
            activations=activation_bytes(config, s, batch_size, how, precision),
            logits=logit_bytes(config, s, batch_size, precision),
            checkpoints=checkpoint_bytes(total, optimizer, precision),
            optimizer=optimizer,
            precision=precision,
            half=precision != "float32",
            sequence_length=s,
            bytes_a_token=data_bytes(1, config.vocabulary),
            published_tokens=tokens,
            tokens_source=source,
        )


def _is_file(config: str) -> bool:
    return config.lower().endswith(".json") or "/" in config or "\\" in config


def _within(name: str, value: float, low: float, high: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and low < value <= high:
        return value
    raise OptionError(
        f"`{name}` must be a number in ({low:g}, {high:g}]. Received: {name}={value!r}"
    )


def quantity(value: float, unit: str = "") -> str:
    """A count or bytes with three digits and a suffix, as in "175 B" or "2.79 TB"."""
    if value >= 1e20:
        return f"{scientific(value)} {unit}".rstrip()
    suffixes = ("", "k", "M", "G", "T", "P", "E") if unit else ("", "k", "M", "B", "T")
    step = 0
    while step < len(suffixes) - 1 and float(f"{value:.3g}") >= 1000:
        value, step = value / 1000, step + 1
    digits = f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
    return f"{digits} {suffixes[step]}{unit}".rstrip()


def scientific(value: float) -> str:
    """Three digits and a power of ten, as in "3.14e23"."""
    digits, power = f"{value:.2e}".split("e")
    return f"{digits}e{int(power)}"


def duration(seconds: float) -> str:
    """A time as people say it: seconds, minutes, hours, days or years."""
    units = (("years", 365.25 * 86400), ("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0))
    for name, size in units:
        if seconds >= 2 * size:
            return f"{quantity(seconds / size)} {name}"
    return f"{seconds:.3g} s"
