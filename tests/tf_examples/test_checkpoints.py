"""Checkpoints: what is read is what was written, and belongs to the same settings."""

import numpy as np
import pytest

from tf_examples import _checkpoints
from tf_examples._options import OptionError

SETTINGS = {"width": 8, "text": "abc"}


@pytest.fixture
def path(tmp_path):
    variables = [np.arange(3, dtype="float32"), np.int64(7)]
    _checkpoints.save(tmp_path / "kept.npz", SETTINGS, {"step": 5}, variables)
    return tmp_path / "kept.npz"


def test_progress_and_variables_come_back_in_their_order(path):
    progress, values = _checkpoints.read(path, SETTINGS)
    assert progress == {"step": 5}
    np.testing.assert_array_equal(values[0], np.arange(3, dtype="float32"))
    assert (len(values), values[1]) == (2, 7)


@pytest.mark.parametrize("name", SETTINGS)
def test_other_settings_are_named(path, name):
    with pytest.raises(OptionError, match=f"its {name} is {SETTINGS[name]}, not other"):
        _checkpoints.read(path, SETTINGS | {name: "other"})


@pytest.mark.parametrize("length", [0, 10, 200])
def test_a_file_that_is_none_or_torn_is_refused(path, length):
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(OptionError, match="is no checkpoint of this program"):
        _checkpoints.read(path, SETTINGS)


def test_another_array_file_and_a_missing_one_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", np.ones(3))
    for name in ("other.npz", "missing.npz"):
        with pytest.raises(OptionError, match="is no checkpoint of this program"):
            _checkpoints.read(tmp_path / name, SETTINGS)


def test_a_checkpoint_that_can_not_be_written_leaves_the_old_one(path, monkeypatch):
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full)
    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="no space"):
        _checkpoints.save(path, SETTINGS, {"step": 6}, [])
    assert path.read_bytes() == before
