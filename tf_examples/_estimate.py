"""The command `tf-examples estimate`: its options as they are typed, and the list of presets."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tf_examples import _costs, _presets
from tf_examples._options import OptionError

if TYPE_CHECKING:
    from tf_examples._report import Table

_SUFFIXES = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_DEVICES = "; ".join(
    f"{each.name}: {each.peak / 1e12:g} TFLOP/s, {each.memory / 1e9:g} GB"
    for each in _presets.DEVICES.values()
)


@dataclass(frozen=True)
class Presets:
    """The models that `estimate` knows by name."""

    presets: list[_presets.Preset]

    def table(self) -> "Table":
        """Their shapes, with the sources."""
        from tf_examples._report import Table

        rows = [
            (
                preset.architecture.name,
                _costs.quantity(sum(_costs.parameters(preset.architecture).values())),
                preset.architecture.layers,
                preset.architecture.width,
                preset.tokens and _costs.quantity(preset.tokens),
                preset.source.partition(",")[0],
            )
            for preset in self.presets
        ]
        columns = ("preset", "parameters", "layers", "width", "tokens", "shape from")
        title = "Models to estimate: tf-examples estimate PRESET (or a JSON file of a shape)"
        return Table(title, columns, ("", "s", "d", "d", "s", ""), rows)


def answer(
    config: Annotated[
        str | None,
        typer.Argument(
            help="A preset (its beginning is enough), or a JSON file of a shape's fields. Without "
            "one the presets are listed, with --json their fields too.",
            show_default=False,
        ),
    ] = None,
    *,
    tokens: Annotated[
        str | None,
        typer.Option(
            help="Tokens to train on, as in 300B, 1.5T or 3e11. (as published if not given, else "
            "20 a parameter)",
            show_default=False,
        ),
    ] = None,
    devices: Annotated[int, typer.Option(help="How many devices train together.")] = 1,
    device: Annotated[str, typer.Option(help=f"One of {_DEVICES}.")] = "a100",
    mfu: Annotated[
        float, typer.Option(help="The part of the peak FLOP/s that the model gets.")
    ] = 0.4,
    optimizer: Annotated[
        Literal["sgd", "momentum", "adagrad", "rmsprop", "adam"],
        typer.Option(help="Decides the numbers kept a parameter: 0, 1, 1, 1, 2."),
    ] = "adam",
    precision: Annotated[
        Literal["mixed", "mixed_float32_gradients", "float32"],
        typer.Option(help="mixed: 16 bits, with float32 master weights."),
    ] = "mixed",
    zero_stage: Annotated[
        int,
        typer.Option(
            help="0 to 3: ZeRO divides among the devices nothing, the optimizer's state, the "
            "gradients too, the weights too."
        ),
    ] = 0,
    sequence_length: Annotated[
        int | None,
        typer.Option(help="Tokens. (the model's context if not given)", show_default=False),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(help="Sequences that one device computes at once.")
    ] = 1,
    recompute: Annotated[
        Literal["none", "selective", "full"],
        typer.Option(help="Activations to compute again instead of keeping them."),
    ] = "none",
    deadline_days: Annotated[
        float, typer.Option(help="Days in which it should be done: how many devices?")
    ] = 30,
    price_per_device_hour: Annotated[
        float | None,
        typer.Option(help="In any currency. (no money if not given)", show_default=False),
    ] = None,
) -> Any:
    """Estimate what training a model costs: parameters, FLOPs, time, memory, storage, money."""
    if config is None:
        return Presets(list(_presets.PRESETS.values()))
    return _costs.estimate(
        config,
        tokens=None if tokens is None else count(tokens),
        devices=devices,
        device=device,
        mfu=mfu,
        optimizer=optimizer,
        precision=precision,
        zero_stage=zero_stage,
        sequence_length=sequence_length,
        batch_size=batch_size,
        recompute=recompute,
        deadline_days=deadline_days,
        price_per_device_hour=price_per_device_hour,
    )


def count(text: str) -> float:
    """The number that `text` writes, as in "300B", "1.5T", "3e11" or "300,000".

    Raises:
        OptionError: for anything else.
    """
    match = re.fullmatch(r"(\d[\d,_]*\.?\d*(?:e[+-]?\d+)?) ?([KMBT]?)", text.strip(), re.IGNORECASE)
    if not match:
        raise OptionError(
            f"`tokens` must be a number as in 300B, 1.5T or 3e11. Received: tokens={text!r}"
        )
    return float(re.sub("[,_]", "", match[1])) * _SUFFIXES[match[2].upper()]
