"""Fixtures of the sections' tests."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

TENSORFLOW_1 = Path(__file__).parents[1] / "tensorflow_1.py"


@pytest.fixture
def tensorflow_1(tmp_path):
    """Runs a program of the article on TensorFlow 1, in a process of its own."""

    def run(program, *, learning_rate, steps, **arrays):
        np.savez(tmp_path / "in.npz", learning_rate=learning_rate, steps=steps, **arrays)
        command = [sys.executable, TENSORFLOW_1, program, tmp_path / "in.npz", tmp_path / "out.npz"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / "out.npz") as results:
            return [results[name] for name in results.files]

    return run


@pytest.fixture
def new_children():
    """A function that gives the processes below this one that the test has started."""

    def children():
        return set(psutil.Process().children(recursive=True))

    before = children()
    return lambda: children() - before
