"""The shapes of models, published ones among them, and the devices they are trained on.

Imports neither TensorFlow nor NumPy: `tf-examples estimate` answers at once.
"""

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tf_examples._options import OptionError, at_least

LARGEST = 10**9
"""No number of a shape is larger."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The shape of a Transformer: all that its parameters and its arithmetic depend on.

    Raises:
        OptionError: names the field, what it must be and what was received.
    """

    name: str = "model"
    layers: int
    """Blocks; of an encoder-decoder, those of the decoder."""
    width: int
    """Numbers that stand for a token between two blocks."""
    heads: int
    vocabulary: int
    context: int
    """Tokens of the longest sequence."""
    kind: Literal["decoder", "encoder", "encoder-decoder"] = "decoder"
    encoder_layers: int | None = None
    """Of an encoder-decoder, whose decoder blocks read it by cross-attention; None: as `layers`."""
    head_width: int | None = None
    """None: `width / heads`."""
    key_value_heads: int | None = None
    """Below `heads` in grouped-query attention, 1 in multi-query; None: as `heads`."""
    feed_forward_width: int | None = None
    """None: `4 * width`."""
    gated: bool = False
    """Three matrices in the feed-forward part instead of two (GLU, SwiGLU)."""
    positions: Literal["learned", "relative", "rotary", "sinusoidal", "none"] = "learned"
    """Only learned ones (a vector a position) and relative ones (T5) have parameters."""
    position_buckets: int = 32
    """Of relative positions: a number a bucket and head, in the first block of each stack."""
    tied: bool = True
    """Whether the output reads the embedding's matrix instead of one of its own."""
    biases: bool = True
    norm: Literal["layer", "layer_without_bias", "rms"] = "layer"
    embedding_norm: bool = False
    final_norm: bool = True
    """Behind the last block, where blocks normalize their inputs."""
    parallel: bool = False
    """Attention and feed-forward side by side, behind one norm."""
    token_types: int = 0
    pooler: bool = False
    """A square matrix with biases on the first token (BERT)."""
    dropout: bool = True
    """Whether dropout's masks are kept for the backward pass; no parameters."""

    def __post_init__(self) -> None:
        for field, kind in typing.get_type_hints(Architecture).items():
            _check_field(field, getattr(self, field), kind)
        if self.head_width is None and self.width % self.heads:
            raise OptionError(
                f"`width` must be a multiple of `heads`, or `head_width` be given. "
                f"Received: width={self.width}, heads={self.heads}"
            )
        if self.heads % self.kv_heads:
            raise OptionError(
                f"`heads` must be a multiple of `key_value_heads`. "
                f"Received: heads={self.heads}, key_value_heads={self.key_value_heads}"
            )
        if self.encoder_layers is not None and self.kind != "encoder-decoder":
            raise OptionError(
                f"`encoder_layers` is for kind='encoder-decoder' only. Received: kind={self.kind!r}"
            )

    @property
    def kv_heads(self) -> int:
        return self.heads if self.key_value_heads is None else self.key_value_heads

    @property
    def head_size(self) -> int:
        return self.width // self.heads if self.head_width is None else self.head_width

    @property
    def query_width(self) -> int:
        """Width of all heads together."""
        return self.heads * self.head_size

    @property
    def key_width(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.kv_heads * self.head_size

    @property
    def inner_width(self) -> int:
        return 4 * self.width if self.feed_forward_width is None else self.feed_forward_width

    @property
    def encoder_blocks(self) -> int:
        """Blocks beside `layers`: those of an encoder that a decoder reads."""
        if self.kind != "encoder-decoder":
            return 0
        return self.layers if self.encoder_layers is None else self.encoder_layers


def _check_field(name: str, value: Any, kind: Any) -> None:
    choices = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        if value not in choices:
            said = f"{', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}"
            raise OptionError(f"`{name}` must be {said}. Received: {name}={value!r}")
    elif kind is bool:
        if not isinstance(value, bool):
            raise OptionError(f"`{name}` must be true or false. Received: {name}={value!r}")
    elif kind is str:
        if not (isinstance(value, str) and value.isprintable() and 0 < len(value) <= 60):
            raise OptionError(
                f"`{name}` must be 1 to 60 printable characters. Received: {name}={value!r:.100}"
            )
    elif value is not None or type(None) not in choices:
        at_least(name, value, 0 if name == "token_types" else 1)
        if value > LARGEST:
            raise OptionError(f"`{name}` must be at most {LARGEST:,}. Received: {name}={value!r}")


@dataclass(frozen=True)
class Preset:
    """A published model."""

    architecture: Architecture
    source: str
    """Of the shape: author, year, table."""
    published: float
    """Its parameters, as rounded where they were published."""
    tokens: float | None = None
    """It was trained on; None where they weren't published."""
    tokens_source: str = ""


def _llama(
    name: str, layers: int, width: int, heads: int, kv: int, inner: int, words: int, context: int
) -> Architecture:
    return Architecture(
        name=name,
        layers=layers,
        width=width,
        heads=heads,
        key_value_heads=kv,
        feed_forward_width=inner,
        vocabulary=words,
        context=context,
        gated=True,
        positions="rotary",
        tied=False,
        biases=False,
        norm="rms",
        dropout=False,
    )


def _gpt(name: str, layers: int, width: int, heads: int, context: int) -> Architecture:
    return Architecture(
        name=name, layers=layers, width=width, heads=heads, vocabulary=50257, context=context
    )


def _bert(name: str, layers: int, width: int, heads: int) -> Architecture:
    return Architecture(
        name=name,
        kind="encoder",
        layers=layers,
        width=width,
        heads=heads,
        vocabulary=30522,
        context=512,
        embedding_norm=True,
        final_norm=False,
        token_types=2,
        pooler=True,
    )


def _transformer(name: str, width: int, heads: int) -> Architecture:
    return Architecture(
        name=name,
        kind="encoder-decoder",
        layers=6,
        width=width,
        heads=heads,
        vocabulary=37000,
        context=512,
        positions="sinusoidal",
        final_norm=False,
    )


_VASWANI = "Vaswani et al. 2017, Table 3"
_VASWANI_TOKENS = "Vaswani et al. 2017, 5.1 and 5.2: steps x 25,000 source and target tokens"
_BERT = "Devlin et al. 2019, section 3; released vocabulary"
_BERT_TOKENS = "Devlin et al. 2019, A.2: 1,000,000 steps of 128,000"
_GPT_2 = "Radford et al. 2019, Table 2; its counts as corrected with the release"
_LLAMA_2 = "Touvron et al. 2023, Llama 2, Table 1; released configuration"
_LLAMA_3 = "Llama team 2024, The Llama 3 herd of models, Table 3; released vocabulary"
"""Their context is the one of most of the training; it was stretched to 131,072 at its end."""

PRESETS = {
    preset.architecture.name: preset
    for preset in (
        Preset(_transformer("transformer-base", 512, 8), _VASWANI, 65e6, 5e9, _VASWANI_TOKENS),
        Preset(_transformer("transformer-big", 1024, 16), _VASWANI, 213e6, 15e9, _VASWANI_TOKENS),
        Preset(_bert("bert-base", 12, 768, 12), _BERT, 110e6, 128e9, _BERT_TOKENS),
        Preset(_bert("bert-large", 24, 1024, 16), _BERT, 340e6, 128e9, _BERT_TOKENS),
        Preset(_gpt("gpt-2-small", 12, 768, 12, 1024), _GPT_2, 124e6),
        Preset(_gpt("gpt-2-medium", 24, 1024, 16, 1024), _GPT_2, 355e6),
        Preset(_gpt("gpt-2-large", 36, 1280, 20, 1024), _GPT_2, 774e6),
        Preset(_gpt("gpt-2-xl", 48, 1600, 25, 1024), _GPT_2, 1558e6),
        Preset(
            _gpt("gpt-3", 96, 12288, 96, 2048),
            "Brown et al. 2020, Table 2.1",
            174.6e9,
            300e9,
            "Brown et al. 2020, Table D.1",
        ),
        Preset(
            Architecture(
                name="t5-11b",
                kind="encoder-decoder",
                layers=24,
                width=1024,
                heads=128,
                head_width=128,
                feed_forward_width=65536,
                vocabulary=32128,
                context=512,
                positions="relative",
                biases=False,
                norm="rms",
            ),
            "Raffel et al. 2020, section 3.7",
            11e9,
            1e12,
            "Raffel et al. 2020, section 3.7: about 1 trillion",
        ),
        Preset(
            Architecture(
                name="palm-540b",
                layers=118,
                width=18432,
                heads=48,
                head_width=256,
                key_value_heads=1,
                feed_forward_width=73728,
                gated=True,
                vocabulary=256000,
                context=2048,
                positions="rotary",
                biases=False,
                norm="layer_without_bias",
                parallel=True,
                dropout=False,
            ),
            "Chowdhery et al. 2022, Table 1 and section 2",
            540.35e9,
            780e9,
            "Chowdhery et al. 2022, section 3",
        ),
        Preset(
            _llama("llama-2-7b", 32, 4096, 32, 32, 11008, 32000, 4096), _LLAMA_2, 6.74e9, 2e12,
            "Touvron et al. 2023, Table 1",
        ),
        Preset(
            _llama("llama-2-70b", 80, 8192, 64, 8, 28672, 32000, 4096), _LLAMA_2, 69e9, 2e12,
            "Touvron et al. 2023, Table 1",
        ),
        Preset(
            _llama("llama-3.1-8b", 32, 4096, 32, 8, 14336, 128256, 8192), _LLAMA_3, 8.03e9, 15e12,
            "Llama 3.1 model card: about 15 trillion",
        ),
        Preset(
            _llama("llama-3.1-70b", 80, 8192, 64, 8, 28672, 128256, 8192), _LLAMA_3, 70.6e9, 15e12,
            "Llama 3.1 model card: about 15 trillion",
        ),
        Preset(
            _llama("llama-3.1-405b", 126, 16384, 128, 8, 53248, 128256, 8192), _LLAMA_3, 405e9,
            15.6e12, "Llama team 2024, section 1",
        ),
        Preset(
            _llama("mistral-7b", 32, 4096, 32, 8, 14336, 32000, 8192),
            "Jiang et al. 2023, Table 1",
            7.24e9,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Device:
    """An accelerator: what its data sheet says, matrix products dense (without sparsity)."""

    name: str
    peak: float
    """FLOP/s in 16 bits with sums in 32."""
    peak_float32: float | None
    """FLOP/s in float32 proper (not TF32); None where the sheet names none."""
    memory: float
    """Bytes: the sheet's GB as 1e9."""
    source: str


DEVICES = {
    device.name: device
    for device in (
        Device("v100", 125e12, 15.7e12, 32e9, "NVIDIA V100 data sheet, SXM2 32 GB"),
        Device("a100", 312e12, 19.5e12, 80e9, "NVIDIA A100 data sheet, SXM 80 GB"),
        Device("a100-40gb", 312e12, 19.5e12, 40e9, "NVIDIA A100 data sheet, SXM 40 GB"),
        Device("h100", 989.4e12, 66.9e12, 80e9, "NVIDIA H100 architecture paper, SXM5 80 GB"),
        Device("rtx-4090", 165.2e12, 82.6e12, 24e9, "NVIDIA Ada architecture paper"),
        Device("tpu-v3", 123e12, None, 32e9, "Google Cloud TPU v3, a chip"),
        Device("tpu-v4", 275e12, None, 32e9, "Google Cloud TPU v4, a chip"),
        Device("tpu-v5p", 459e12, None, 95e9, "Google Cloud TPU v5p, a chip"),
    )
}


def device(name: str) -> Device:
    """The named device; upper case, spaces and dashes don't matter.

    Raises:
        OptionError: for another name; says the nearest, or all.
    """
    return DEVICES[_one_of("device", name, DEVICES)]


def preset(name: str) -> Preset:
    """The named preset, or the only one that starts so.

    Raises:
        OptionError: for another name; says the nearest, or all.
    """
    return PRESETS[_one_of("preset", name, PRESETS)]


def read_architecture(path: Path) -> Architecture:
    """The architecture that a JSON file holds as an object of the fields of `Architecture`.

    Raises:
        OptionError: for a file that can't be read, isn't JSON, or has other fields.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"can't read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise OptionError(f"{path} is no text in UTF-8, so no JSON") from None
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{path} is no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise OptionError(f'{path} must hold one JSON object, as in {{"layers": 12, ...}}')
    try:
        return architecture({"name": path.stem} | fields)
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from None


def architecture(fields: Mapping[str, Any]) -> Architecture:
    """The architecture with these fields.

    Raises:
        OptionError: for a field that is unknown (says the nearest), missing, or out of its range.
    """
    known = {field.name: field for field in dataclasses.fields(Architecture)}
    for name in fields:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1, 0.5)
            said = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."
            raise OptionError(f"there is no field {name!r}. {said}")
    missing = [
        name
        for name, field in known.items()
        if field.default is dataclasses.MISSING and name not in fields
    ]
    if missing:
        raise OptionError(f"{', '.join(map(repr, missing))} must be given")
    return Architecture(**fields)


def _one_of(what: str, name: str, names: Iterable[str]) -> str:
    """The one of `names` that `name` means."""
    plain = {re.sub(r"[^a-z0-9]", "", each.lower()): each for each in names}
    asked = re.sub(r"[^a-z0-9]", "", name.lower())
    if asked in plain:
        return plain[asked]
    starting = [each for key, each in plain.items() if asked and key.startswith(asked)]
    if len(starting) == 1:
        return starting[0]
    if starting:
        raise OptionError(f"{name!r} is one of several: {', '.join(starting)}")
    near = difflib.get_close_matches(asked, plain, 1, 0.5)
    said = f"Did you mean {plain[near[0]]!r}? " if near else ""
    if not near or len(plain) < 10:
        said += f"There are: {', '.join(plain.values())}."
    raise OptionError(f"there is no {what} {name!r}. {said}")
