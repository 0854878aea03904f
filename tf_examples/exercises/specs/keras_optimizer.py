"""A Keras optimizer: cases and known mistakes. The program computes in float32."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tf_examples.exercises._exercise import Case, Conventions, Mistake, Spec

DRIVER = """
import os
import tempfile

import keras
import numpy as np


def answer(student, function, inputs):
    names = ("learning_rate", "beta", "nu")
    optimizer = getattr(student, function)(**{name: inputs[name] for name in names})
    if inputs["task"] == "fit, save, load, fit":
        return fit(optimizer, inputs)
    return steps(optimizer, inputs)


def steps(optimizer, inputs):
    weights = [keras.Variable(array) for array in inputs["weights"]]
    optimizer.build(weights)
    kept = [[w.numpy() for w in weights]]
    for gradients in zip(*inputs["gradients"]):
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], weights)
        kept.append([w.numpy() for w in weights])
    if inputs["task"] == "slots":
        # The first two of an optimizer's variables are its count of steps and its rate.
        return [slot.numpy() for slot in optimizer.variables[2:]]
    return [np.stack(arrays) for arrays in zip(*kept)]


def fit(optimizer, inputs):
    x, y = inputs["x"], inputs["y"]
    model = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Dense(1)])
    model.set_weights(inputs["weights"])
    model.compile(optimizer=optimizer, loss="mse", jit_compile=False)
    how = {"batch_size": inputs["batch_size"], "shuffle": False, "verbose": 0}
    model.fit(x, y, epochs=2, **how)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        model.save(os.path.join(folder, "model.keras"))
        loaded = keras.saving.load_model(os.path.join(folder, "model.keras"))
    config = loaded.optimizer.get_config()
    loaded.fit(x, y, epochs=1, **how)
    kind = type(optimizer)
    again = kind.from_config(kind(learning_rate=0.5, clipnorm=2.0).get_config())
    kept = [float(np.asarray(again.learning_rate)), again.clipnorm or 0.0]
    return {
        "learning_rate=0.5 and clipnorm=2.0 by the config": kept,
        "weights after fit": model.get_weights(),
        "beta and nu once loaded": [config.get(name, "missing") for name in ("beta", "nu")],
        "weights after another epoch": loaded.get_weights(),
    }
"""


def cases(rng: np.random.Generator) -> Sequence[Case]:
    def hyperparameters(largest_rate: float) -> dict[str, float]:
        return {
            "learning_rate": rng.uniform(0.7, 1) * largest_rate,
            "beta": rng.uniform(0.5, 0.7),  # far from the default, which loading falls back to
            "nu": rng.uniform(0.3, 0.4),
        }

    def drawn(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype("float32")

    def steps(name: str, task: str, steps: int, variables: int) -> Case:
        inputs: dict[str, Any] = {
            "task": task,
            "weights": [drawn(3) for _ in range(variables)],
            "gradients": [drawn(steps, 3) for _ in range(variables)],
        }
        return Case(name, "QHM", inputs | hyperparameters(0.3))

    inputs = {
        "task": "fit, save, load, fit",
        "weights": [drawn(3, 1), drawn(1)],
        "x": drawn(12, 3),
        "y": drawn(12, 1),
        "batch_size": 4,
    }
    return [
        steps("one variable, one step", "steps", 1, 1),
        steps("two variables, ten steps", "steps", 10, 2),
        steps("the slots after three steps, one for each of two variables", "slots", 3, 2),
        Case(
            "two epochs of fit, save, load, one epoch more", "QHM", inputs | hyperparameters(0.05)
        ),
    ]


class _Run:
    """The rule in float64; each argument of `mistakes` is a mistake."""

    def __init__(self, case: Case, conventions: Conventions, mistakes: dict[str, Any]) -> None:
        self.inputs, self.mistakes = case.inputs, mistakes
        self.w = [np.asarray(array, dtype=float) for array in case.inputs["weights"]]
        self.m = [np.zeros_like(w) for w in self.w]
        self.lr = mistakes.get("rate", case.inputs["learning_rate"])
        self.beta, self.nu = case.inputs["beta"], case.inputs["nu"]
        self.mean = (mistakes.get("momentum") or conventions["momentum"]) == "mean"
        # In a graph, an array in an attribute is the constant that it was while tracing.
        self.in_graph = case.inputs["task"] == "fit, save, load, fit"

    def step(self, gradients: Sequence[np.ndarray]) -> None:
        sign = self.mistakes.get("sign", 1)
        for i, g in enumerate(gradients):
            slot = 0 if self.mistakes.get("shared") else i
            old = 0.0 if self.mistakes.get("hidden") and self.in_graph else self.m[slot]
            self.m[slot] = self.beta * old + ((1 - self.beta) if self.mean else 1) * g
            m = old if self.mistakes.get("old") else self.m[slot]
            nu = 1 - self.nu if self.mistakes.get("exchanged") else self.nu
            self.w[i] = self.w[i] - sign * self.lr * ((1 - nu) * g + nu * m)

    def epoch(self) -> None:
        size = self.inputs["batch_size"]
        x, y = (np.asarray(self.inputs[name], dtype=float) for name in "xy")
        for first in range(0, len(x), size):
            xs, ys = x[first : first + size], y[first : first + size]
            error = 2 * (xs @ self.w[0] + self.w[1] - ys) / len(xs)
            self.step([xs.T @ error, error.sum(axis=0)])


def answer(case: Case, conventions: Conventions, **mistakes: Any) -> Any:
    """What the right program returns, or one with `mistakes`: see `_Run` and the list below."""
    run = _Run(case, conventions, mistakes)
    if case.inputs["task"] == "fit, save, load, fit":
        run.epoch()
        run.epoch()
        fitted = list(run.w)
        config: list[Any] = [run.beta, run.nu]
        lost = mistakes.get("lost", ())
        config = [
            "missing" if name in lost else value
            for name, value in zip(("beta", "nu"), config, strict=True)
        ]
        run.beta = 0.9 if "beta" in lost else run.beta
        run.nu = 0.7 if "nu" in lost else run.nu
        run.epoch()
        by_config = [0.01, 0.0] if mistakes.get("bare") else [0.5, 2.0]
        return {
            "learning_rate=0.5 and clipnorm=2.0 by the config": by_config,
            "weights after fit": fitted,
            "beta and nu once loaded": config,
            "weights after another epoch": run.w,
        }
    kept = [run.w.copy()]
    for gradients in zip(*case.inputs["gradients"], strict=True):
        run.step(gradients)
        kept.append(run.w.copy())
    if case.inputs["task"] == "slots":
        return [] if mistakes.get("hidden") else run.m
    return [np.stack(arrays) for arrays in zip(*kept, strict=True)]


MEAN = "self.assign(m, self.beta * m + (1 - self.beta) * g)"
SUM = "self.assign(m, self.beta * m + g)"

SPEC = Spec(
    cases=cases,
    hints=(
        "build: a list with one slot for each of `variables`. update_step: first find the slot of "
        "this variable in your list, then do what the two lines of the text say.",
        'self._momentums = [self.add_variable_from_reference(v, name="momentum") for v in '
        "variables] in build, and self._momentums[self._get_variable_index(variable)] in "
        "update_step.",
        "update_step: m = the slot, self.assign(m, its new value), then self.assign_sub(variable, "
        "learning_rate * (...)). get_config: super().get_config() | {...} with beta and nu.",
    ),
    mistakes=(
        Mistake(
            "momentum as a sum",
            "m seems to be a sum of gradients: the text weights the new gradient.",
            [(MEAN, SUM)],
            partial(answer, momentum="sum"),
        ),
        Mistake(
            "momentum as a mean",
            "m seems to be a mean of gradients: look at the factor of g in the text.",
            [(SUM, MEAN)],
            partial(answer, momentum="mean"),
        ),
        Mistake(
            "nu and 1 - nu exchanged",
            "nu seems to weight the gradient, and 1 - nu the momentum: the text has it the other "
            "way round.",
            [("((1 - self.nu) * g + self.nu * m)", "(self.nu * g + (1 - self.nu) * m)")],
            partial(answer, exchanged=True),
        ),
        Mistake(
            "step with the old momentum",
            "The step seems to use m as it was before its update.",
            [
                ("        g = keras", "        old = m + 0\n        g = keras"),
                ("+ self.nu * m)", "+ self.nu * old)"),
            ],
            partial(answer, old=True),
        ),
        Mistake(
            "wrong sign",
            "The weights go uphill: a step is against the gradient.",
            [("self.assign_sub(", "self.assign_add(")],
            partial(answer, sign=-1),
        ),
        Mistake(
            "one slot for all variables",
            "All variables seem to share one slot: each has its own, and "
            "self._get_variable_index(variable) finds it.",
            [("self._momentums[self._get_variable_index(variable)]", "self._momentums[0]")],
            partial(answer, shared=True),
        ),
        Mistake(
            "slots that Keras does not know",
            "The optimizer's variables hold no slots. Arrays in an attribute are not saved, and in "
            "fit they are back at 0 in every step: build must ask Keras for its slots.",
            [
                (
                    'self.add_variable_from_reference(variable, name="momentum")',
                    "keras.ops.zeros_like(variable)",
                ),
                (
                    "        m = self._momentums[self._get_variable_index(variable)]\n",
                    "        index = self._get_variable_index(variable)\n"
                    "        m = self._momentums[index]\n",
                ),
                ("self.assign(m, ", "m = self._momentums[index] = ("),
            ],
            partial(answer, hidden=True),
        ),
        Mistake(
            "beta not in the config",
            "After loading, beta is back at its default: get_config seems to leave it out.",
            [('"beta": self.beta, ', "")],
            partial(answer, lost=("beta",)),
        ),
        Mistake(
            "nu not in the config",
            "After loading, nu is back at its default: get_config seems to leave it out.",
            [(', "nu": self.nu', "")],
            partial(answer, lost=("nu",)),
        ),
        Mistake(
            "only its own in the config",
            "get_config seems to return beta and nu alone: what Keras's own class keeps, such as "
            "the learning rate, is lost.",
            [("super().get_config() | {", "{")],
            partial(answer, bare=True),
        ),
        Mistake(
            "nothing of its own in the config",
            "After loading, beta and nu are back at their defaults: get_config seems to return "
            "only what Keras's own class keeps.",
            [(' | {"beta": self.beta, "nu": self.nu}', "")],
            partial(answer, lost=("beta", "nu")),
        ),
    ),
    conventions={"momentum": ("mean", "sum")},
    tolerance=1e-5,
    driver=DRIVER,
    reference=answer,
)
