"""Checkpoints: a training's variables, and what they belong to, in one file."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tf_examples._options import OptionError
from tf_examples._report import write_whole


def save(
    path: Path, settings: Mapping[str, Any], progress: Mapping[str, Any], variables: Sequence[Any]
) -> None:
    """Writes a checkpoint, whole or not at all.

    Args:
        settings: what decides the training: it can be loaded by one of the same settings alone.
        progress: how far it has come. Both must be plain JSON.
    """
    head = json.dumps({"settings": dict(settings), "progress": dict(progress)})
    content = io.BytesIO()
    np.savez(content, *map(np.asarray, variables), head=np.array(head))
    write_whole(path, content.getvalue())


def read(path: Path, settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The progress and the variables of a checkpoint.

    Raises:
        OptionError: where the file is none of `save`'s, or of other settings: names one.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
            head = json.loads(str(kept["head"]))
            values = [kept[f"arr_{i}"] for i in range(len(kept.files) - 1)]
        theirs, progress = dict(head["settings"]), dict(head["progress"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise OptionError(f"{path} is no checkpoint of this program: {error}") from error
    for name, ours in settings.items():
        if theirs.get(name) != ours:
            raise OptionError(
                f"{path} belongs to another training: its {name} is {theirs.get(name)}, not {ours}"
            )
    return progress, values


def assign(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Gives variables the values that `read` returned, in the order in which they were saved."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
