"""The checks of hyperparameters: what passes, and what the refusal says."""

import fractions
import math

import keras
import numpy as np
import pytest

from custom_optimizers import checks

INFINITY = math.inf


@pytest.mark.parametrize(
    ("interval", "inside"),
    [
        ("[0, 1]", [0, 1, 0.5, 0.0, 1.0]),
        ("[0, 1)", [0, 0.5, math.nextafter(1, 0)]),
        ("(0, 1]", [1, math.ulp(0)]),
        ("(-2, 2)", [-1, 1.5]),
        ("[0, inf)", [0, 1e300]),
        ("(0, inf)", [math.ulp(0), 1e300]),
    ],
)
def test_number_inside_is_returned_as_a_float(interval, inside):
    for value in inside:
        found = checks.in_interval("rho", value, interval)
        assert isinstance(found, float)
        assert found == value


@pytest.mark.parametrize(
    ("interval", "outside"),
    [
        ("[0, 1]", [-math.ulp(0), math.nextafter(1, 2), INFINITY, -INFINITY]),
        ("[0, 1)", [1, 1.0, -1]),
        ("(0, 1]", [0, -0.0]),
        ("(-2, 2)", [-2, 2]),
        ("[0, inf)", [INFINITY, -1]),
        ("(0, inf)", [0, INFINITY]),
    ],
)
def test_number_outside_is_refused_with_name_interval_and_value(interval, outside):
    for value in outside:
        with pytest.raises(ValueError, match="`rho`") as caught:
            checks.in_interval("rho", value, interval)
        assert interval in str(caught.value)
        assert f"rho={value!r}" in str(caught.value)


@pytest.mark.parametrize(
    "value", [math.nan, np.nan, True, np.True_, "0.5", None, 0.5j, [0.5], np.array([0.5]), object()]
)
def test_nan_and_what_is_no_number_are_refused(value):
    with pytest.raises(ValueError, match=r"`rho` must be a number in \[0, 1\]"):
        checks.in_interval("rho", value, "[0, 1]")


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), fractions.Fraction(1, 2)])
def test_numbers_of_other_types_become_floats(value):
    assert type(checks.in_interval("rho", value, "[0, 1]")) is float


def test_flag_is_returned_and_what_is_none_is_refused():
    assert checks.flag("centered", True) is True
    assert checks.flag("centered", False) is False
    for value in (1, 0, None, "True"):
        with pytest.raises(ValueError, match="`centered` must be True or False") as caught:
            checks.flag("centered", value)
        assert repr(value) in str(caught.value)


def test_learning_rate_may_be_a_number_a_schedule_or_a_callable():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    for value in (schedule, lambda: 0.1):
        assert checks.learning_rate(value) is value
    for value in (1, 0, 0.5, np.float32(0.5)):
        assert type(checks.learning_rate(value)) is float
        assert checks.learning_rate(value) == value


@pytest.mark.parametrize("value", [-1, -0.1, math.nan, INFINITY, True, "0.1", None, 1j, [0.1]])
def test_other_learning_rates_are_refused(value):
    with pytest.raises(ValueError, match=r"`learning_rate`.*\[0, inf\)") as caught:
        checks.learning_rate(value)
    assert repr(value) in str(caught.value)


def test_arguments_of_every_keras_optimizer_pass_unchanged_where_they_are_right():
    arguments = {
        "weight_decay": 0.0,
        "clipnorm": 1,
        "clipvalue": None,
        "use_ema": True,
        "ema_momentum": 1.0,
        "ema_overwrite_frequency": 1,
        "loss_scale_factor": 2.0,
        "gradient_accumulation_steps": 2,
        "name": "mine",
    }
    assert checks.base_arguments(dict(arguments)) == arguments
    assert checks.base_arguments({}) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weight_decay", -0.1),
        ("clipnorm", 0),
        ("clipvalue", -1.0),
        ("global_clipnorm", math.nan),
        ("loss_scale_factor", 0.0),
        ("ema_momentum", 1.5),
        ("ema_momentum", None),
        ("ema_overwrite_frequency", 0),
        ("gradient_accumulation_steps", 1),
        ("gradient_accumulation_steps", 2.0),
        ("use_ema", 1),
    ],
)
def test_arguments_of_every_keras_optimizer_are_refused_where_they_are_wrong(name, value):
    with pytest.raises(ValueError, match=f"`{name}`") as caught:
        checks.base_arguments({name: value})
    assert f"{name}={value!r}" in str(caught.value)
