"""The same optimizers, and the same tests of them, on Keras's JAX backend."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.custom_optimizers.steps import tensorflow_only

HERE = Path(__file__).parent

# TensorFlow can't be imported there: neither the optimizers nor their tests may need it.
PROGRAM = """
import sys
sys.modules["tensorflow"] = None
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""

SETTINGS = {
    "KERAS_BACKEND": "jax",
    "JAX_ENABLE_X64": "1",
    "JAX_PLATFORMS": "cpu",
    # Hundreds of functions are compiled and run a few times each.
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
}


@tensorflow_only
def test_the_tests_of_this_folder_pass_on_jax_without_tensorflow():
    arguments = [str(HERE), "-q", "-p", "no:cacheprovider", f"--rootdir={HERE.parents[1]}"]
    child = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=HERE.parents[1],
        env=os.environ | SETTINGS,
        capture_output=True,
        text=True,
        timeout=600,
    )
    last_line = child.stdout.strip().splitlines()[-1]
    counts = {name: int(number) for number, name in re.findall(r"(\d+) (\w+)", last_line)}
    assert child.returncode == 0, child.stdout[-5000:] + child.stderr[-2000:]
    assert counts["passed"] > 500, last_line
    assert not counts.keys() & {"failed", "errors", "error"}, last_line
