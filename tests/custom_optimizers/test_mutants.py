"""The contract catches mistakes: each is made in a copy of the package, whose tests must then fail.

    pytest -m slow -s tests/custom_optimizers/test_mutants.py

prints, for each mistake and each optimizer that has it, the first test that failed.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.custom_optimizers.steps import tensorflow_only

pytestmark = tensorflow_only

ROOT = Path(__file__).parents[2]

FILES = {
    "GradientDescent": "gradient_descent.py",
    "Momentum": "momentum.py",
    "Adagrad": "adagrad.py",
    "RMSprop": "rmsprop.py",
    "Adam": "adam.py",
}
ALL = list(FILES)
SQUARED_ROWS = "dense(ops.square(ops.cast(gradient, g.dtype)), variable)"

# Mistake -> optimizer, or what all optimizers share -> source text -> what takes its place.
MUTANTS = {
    "an argument forgotten in get_config": {
        "Momentum": {', "nesterov": self.nesterov': ""},
        "Adagrad": {'"epsilon": self.epsilon,': ""},
        "RMSprop": {'"centered": self.centered,': ""},
        "Adam": {'"beta_2": self.beta_2,': ""},
    },
    "two slots swapped where they are used": {
        "RMSprop": {"v, m = self._velocities[index]": "m, v = self._velocities[index]"},
        "Adam": {"m, v = self._momentums[index]": "v, m = self._momentums[index]"},
    },
    "two slots swapped where they are created": {
        "RMSprop": {
            'self._velocities = add_slots(self, variables, "velocity")': "",
            'self._momentums = add_slots(self, variables, "momentum")': (
                'self._momentums = add_slots(self, variables, "momentum")\n'
                '        self._velocities = add_slots(self, variables, "velocity")'
            ),
        },
        "Adam": {
            'self._momentums = add_slots(self, variables, "momentum")': "",
            'self._velocities = add_slots(self, variables, "velocity")': (
                'self._velocities = add_slots(self, variables, "velocity")\n'
                '        self._momentums = add_slots(self, variables, "momentum")'
            ),
        },
    },
    "no registration": {
        name: {'@keras.saving.register_keras_serializable(package="custom_optimizers")\n': ""}
        for name in ALL
    },
    "**kwargs lost": {
        name: {"**checks.base_arguments(kwargs)": "**checks.base_arguments({})"} for name in ALL
    },
    "a wrong default": {
        "GradientDescent": {"learning_rate: checks.LearningRate = 0.01": "learning_rate=0.001"},
        "Momentum": {"momentum: float = 0.9": "momentum: float = 0.99"},
        "Adagrad": {"initial_accumulator_value: float = 0.1": "initial_accumulator_value=0.0"},
        "RMSprop": {"rho: float = 0.9": "rho: float = 0.99"},
        "Adam": {"epsilon: float = 1e-7": "epsilon: float = 1e-8"},
    },
    "epsilon on the other side of the root": {
        "Adagrad": {
            "self.initial_accumulator_value + self.epsilon)": "self.initial_accumulator_value)",
            "/ ops.sqrt(a)": "/ (ops.sqrt(a) + self.epsilon)",
        },
        "RMSprop": {"ops.sqrt(square + self.epsilon)": "(ops.sqrt(square) + self.epsilon)"},
        "Adam": {"(ops.sqrt(v) + self.epsilon)": "ops.sqrt(v + self.epsilon)"},
    },
    "epsilon added to the corrected root, as in the paper": {
        "Adam": {
            "(ops.sqrt(v) + self.epsilon)": (
                "(ops.sqrt(v) + self.epsilon * ops.sqrt("
                "_one_minus_power(self.beta_2, ops.cast(self.iterations + 1, v.dtype))))"
            )
        },
    },
    "bias correction off by one": {
        "Adam": {"self.iterations + 1": "self.iterations + 2"},
    },
    "repeated rows squared before the sum": {
        "Adagrad": {"ops.square(g)": SQUARED_ROWS},
        "RMSprop": {"ops.square(g)": SQUARED_ROWS},
        "Adam": {"ops.square(g)": SQUARED_ROWS},
    },
    "a wrongly shaped gradient broadcast": {
        "gradients.py": {"if len(shape) != len(expected) or any(": "if False and any("},
    },
    "gradients looked at one by one, when others have been applied": {
        name: {"check_gradients(grads, trainable_variables or self._trainable_variables)": "pass"}
        for name in ALL
    },
    "the learning rate outside of the velocity": {
        "Momentum": {
            "self.assign(v, self.momentum * v - lr * g)": "self.assign(v, self.momentum * v - g)",
            "self.momentum * v - lr * g if self.nesterov else v": (
                "lr * (self.momentum * v - g if self.nesterov else v)"
            ),
        },
        "RMSprop": {
            "step = lr * g /": "step = g /",
            "self.assign_sub(variable, m)": "self.assign_sub(variable, lr * m)",
        },
    },
    "a flag ignored": {
        "Momentum": {"if self.nesterov else v": "if False else v"},
        "RMSprop": {"square = v\n        if self.centered": "square = v\n        if False"},
        "Adam": {"if self.amsgrad:\n            largest =": "if False:\n            largest ="},
    },
    "a detail of the rule": {
        "Adagrad": {"self.assign_add(a,": "self.assign(a,"},
        "RMSprop": {"ops.maximum(v - ops.square(a), 0)": "v - ops.square(a)"},
        "Adam": {"ops.maximum(largest, v)": "v"},
    },
    "a kernel's detail": {
        "fused.py": {
            "updates = lr * tf": "updates = tf",
            "use_nesterov=bool(optimizer.nesterov), **scalars": "use_nesterov=False, **scalars",
            "rows, places = tf.unique(g.indices)": (
                "rows, places = g.indices, tf.range(tf.size(g.indices))"
            ),
            '"rho": tf.constant(optimizer.rho, lr.dtype)': '"rho": tf.constant(0.9, lr.dtype)',
            "    if optimizer.amsgrad:": "    if False:",
        },
    },
    "slots in half precision": {
        "slots.py": {"dtype=rule_dtype(variable)": "dtype=variable.dtype"},
    },
    "the rule in half precision": {
        "gradients.py": {
            '"float64" if keras.backend.standardize_dtype(variable.dtype) == "float64" '
            'else "float32"': "keras.backend.standardize_dtype(variable.dtype)"
        },
    },
}
WITHOUT_SLOTS = ["GradientDescent"]


def copy_project(folder):
    """What the tests of the optimizers need, in `folder`, without what this file makes of it."""
    for name in ("custom_optimizers", "tests/custom_optimizers"):
        shutil.copytree(
            ROOT / name,
            folder / name,
            ignore=shutil.ignore_patterns("__pycache__", "test_mutants*"),
        )
    for name in ("pyproject.toml", "tests/__init__.py", "tests/conftest.py"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "conftest.py").write_text(
        "from pathlib import Path\n\n"
        "import custom_optimizers\n\n"
        "assert Path(custom_optimizers.__file__).is_relative_to(Path(__file__).parent)\n",
        encoding="utf-8",
    )


def mutate(file, replacements):
    source = file.read_text(encoding="utf-8")
    for text, replacement in replacements.items():
        assert source.count(text) == 1, f"{file.name} has {source.count(text)} times: {text}"
        source = source.replace(text, replacement)
    file.write_text(source, encoding="utf-8")


def run_contract(folder, optimizers):
    """Runs the contract in `folder`; returns pytest's exit code, and the first test to fail."""
    result = folder / "first_failures.json"
    plugin = "tests.custom_optimizers.first_failures"
    child = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", plugin, "tests/custom_optimizers/test_contract.py"],
        cwd=folder,
        env=os.environ | {"OPTIMIZERS": ",".join(optimizers), "FIRST_FAILURES": str(result)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.exists(), child.stdout[-3000:] + child.stderr[-3000:]
    return child.returncode, json.loads(result.read_text(encoding="utf-8"))


@pytest.mark.parametrize("mistake", MUTANTS)
def test_mistake_can_still_be_made(mistake, tmp_path):
    """At once, and not only after the minutes that the rest takes: code moves on."""
    copy_project(tmp_path)
    for name, replacements in MUTANTS[mistake].items():
        mutate(tmp_path / "custom_optimizers" / FILES.get(name, name), replacements)


@pytest.mark.slow
def test_copy_without_a_mistake_passes(tmp_path):
    copy_project(tmp_path)
    assert run_contract(tmp_path, ["Momentum"]) == (0, {})


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MUTANTS)
def test_mistake_is_caught_on_each_optimizer_that_has_it(mistake, tmp_path):
    copy_project(tmp_path)
    mutants = MUTANTS[mistake]
    for name, replacements in mutants.items():
        mutate(tmp_path / "custom_optimizers" / FILES.get(name, name), replacements)
    optimizers = [name for name in mutants if name in FILES] or ALL
    if "slots.py" in mutants:
        optimizers = [name for name in ALL if name not in WITHOUT_SLOTS]

    exit_code, first_failures = run_contract(tmp_path, optimizers)
    print(f"\n{mistake}")
    for optimizer in optimizers:
        print(f"    {optimizer:<15} {first_failures.get(optimizer, 'SURVIVES')}")
    assert first_failures.keys() == set(optimizers)
    assert exit_code == 1
