"""What every optimizer promises, held against every row of `cases.CASES`."""

import contextlib
import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

import custom_optimizers
from custom_optimizers import fused
from tests.custom_optimizers import cases
from tests.custom_optimizers.steps import (
    BACKEND,
    COMPILED,
    as_arrays,
    as_tensors,
    as_variables,
    by_weight,
    descend,
    error,
    problem,
    stepper,
    tensorflow_only,
)

if BACKEND == "tensorflow":
    import tensorflow as tf


WAYS = ["kernel", "rule"] if BACKEND == "tensorflow" else ["rule"]


@pytest.fixture(scope="module", autouse=True, params=WAYS)
def way(request):
    """On TensorFlow all is held twice: of the kernels in `fused`, and of the rules as written."""
    with fused.off() if request.param == "rule" else contextlib.nullcontext():
        yield


every_case = pytest.mark.parametrize("case", cases.CASES, ids=str)
every_optimizer = pytest.mark.parametrize("case", cases.ONE_EACH, ids=str)


def every_argument(table):
    """One test for each argument in `table` of each optimizer."""
    rows = [(c, name) for c in cases.ONE_EACH for name in cases.arguments(c.optimizer)]
    return pytest.mark.parametrize(
        ("case", "name"),
        [pytest.param(c, name, id=f"{c}-{name}") for c, name in rows if name in table],
    )


def transcribed(case, weights, gradients, learning_rate, **options):
    """The final weights by the float64 formula."""
    return [
        case.transcript(w, column, learning_rate, **options)[-1][0]
        for w, column in zip(weights, by_weight(gradients), strict=True)
    ]


# Arguments: the tables are complete, values are kept, wrong values are refused.


def test_every_public_optimizer_has_a_row():
    tested = {case.optimizer for case in cases.CASES}
    assert tested == {getattr(custom_optimizers, name) for name in custom_optimizers.__all__}


@every_optimizer
def test_every_flag_has_a_row_in_which_it_is_on(case):
    rows = [row for row in cases.CASES if row.optimizer is case.optimizer]
    for name, default in cases.own_arguments(case.optimizer).items():
        if default is False:
            assert any(row.options.get(name) for row in rows), f"no row of CASES has {name}=True"


@every_optimizer
def test_every_argument_has_values_in_the_tables(case):
    for name, default in cases.arguments(case.optimizer).items():
        assert cases.CHANGED[name] != default
        assert name in cases.INTERVALS or not isinstance(default, float)


@every_argument(cases.CHANGED)
def test_argument_is_kept_by_the_config_and_by_both_revivals(case, name):
    value = cases.CHANGED[name]
    optimizer = case.optimizer(**{name: value})
    revived = case.optimizer.from_config(optimizer.get_config())
    deserialized = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    for found in (optimizer, revived, deserialized):
        assert type(found) is case.optimizer
        assert found.get_config()[name] == value
        assert getattr(found, name) == value


@every_optimizer
def test_schedule_is_kept_by_the_config_and_its_revival(case):
    schedule = keras.optimizers.schedules.InverseTimeDecay(0.25, 3, 0.5)
    optimizer = case.new(learning_rate=schedule)
    revived = case.optimizer.from_config(optimizer.get_config())
    assert revived.get_config() == optimizer.get_config()
    assert float(revived.learning_rate) == 0.25


@every_optimizer
def test_arguments_stand_in_the_order_of_keras(case):
    own = list(cases.own_arguments(case.optimizer))
    assert own == [name for name in cases.own_arguments(case.counterpart) if name in own]


@every_case
def test_defaults_are_those_of_keras(case):
    found, expected = case.new().get_config(), case.new_counterpart().get_config()
    assert found == {name: expected[name] for name in found} | {"name": found["name"]}


@every_optimizer
def test_unknown_argument_is_refused(case):
    with pytest.raises(ValueError, match="learning_rat"):
        case.new(learning_rat=0.1)


@every_optimizer
def test_two_kinds_of_clipping_are_refused(case):
    with pytest.raises(ValueError, match="Only one of"):
        case.new(clipnorm=1.0, clipvalue=1.0)


@every_argument(cases.INTERVALS)
def test_value_out_of_range_is_refused_with_name_range_and_value(case, name):
    interval = cases.INTERVALS[name]
    low, high = (float(end) for end in interval[1:-1].split(","))
    values = [math.nextafter(low, -math.inf), low - 1, -math.inf, math.nan, math.inf]
    values += [low] if interval[0] == "(" else []
    values += [high] if interval[-1] == ")" else [math.nextafter(high, math.inf), high + 1]
    values += ["0.5", True, 1j, [0.5], np.array([0.5]), {}]
    values += [] if cases.arguments(case.optimizer)[name] is None else [None]
    for value in values:
        with pytest.raises(ValueError, match=f"`{name}`") as caught:
            case.optimizer(**{name: value})
        assert interval in str(caught.value)
        assert repr(value) in str(caught.value)


@every_argument(cases.INTERVALS)
def test_value_at_a_closed_end_of_its_range_is_accepted(case, name):
    interval = cases.INTERVALS[name]
    low, high = (float(end) for end in interval[1:-1].split(","))
    for value in [low] * (interval[0] == "[") + [high] * (interval[-1] == "]"):
        assert case.optimizer(**{name: value}).get_config()[name] == value


@every_argument(cases.INTERVALS)
def test_whole_number_is_accepted_as_a_number(case, name):
    if cases.INTERVALS[name] == "[0, 1)":
        assert case.optimizer(**{name: 0}).get_config()[name] == 0.0
    else:
        assert case.optimizer(**{name: 1}).get_config()[name] == 1.0
    if name in cases.own_arguments(case.optimizer):
        assert isinstance(case.optimizer(**{name: 0}).get_config()[name], float)


@every_argument(cases.SMALLEST_COUNTS)
def test_count_out_of_range_is_refused_with_name_range_and_value(case, name):
    smallest = cases.SMALLEST_COUNTS[name]
    assert case.new(**{name: smallest}).get_config()[name] == smallest
    for value in (smallest - 1, 0, -1, 2.5, math.nan, "3", True):
        with pytest.raises(ValueError, match=f"`{name}`.*at least {smallest}") as caught:
            case.new(**{name: value})
        assert repr(value) in str(caught.value)


@every_argument([name for name, value in cases.CHANGED.items() if value is True])
def test_flag_is_refused_when_it_is_not_true_or_false(case, name):
    for value in (None, 1, 0, "yes", 0.5):
        with pytest.raises(ValueError, match=f"`{name}`.*True or False") as caught:
            case.optimizer(**{name: value})
        assert repr(value) in str(caught.value)


# Slots: what is saved, and where.


@every_case
def test_slots_are_saved_by_kind_and_then_by_weight_shaped_like_the_weight(case):
    weights, _ = problem(0)
    variables = as_variables(weights)
    optimizer = case.new()
    optimizer.build(variables)
    _iteration, _rate, *slots = optimizer.variables
    expected = [(f"{v.name}_{name}", v.shape) for name in case.slots for v in variables]
    assert [(slot.name, slot.shape) for slot in slots] == expected
    assert [v.name for v in (_iteration, _rate)] == ["iteration", "learning_rate"]


@every_case
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_slots_are_float64_for_a_float64_weight_and_float32_for_all_others(case, dtype):
    optimizer = case.new()
    optimizer.build([keras.Variable(np.ones(3), dtype=dtype)])
    slots = optimizer.variables[2:]
    expected = "float64" if dtype == "float64" else "float32"
    assert [slot.dtype for slot in slots] == [expected] * len(case.slots)


@every_case
def test_slots_hold_what_the_formula_says_in_the_saved_order(case):
    weights, gradients = problem(5)
    variables = as_variables(weights)
    optimizer = case.new(learning_rate=0.1)
    step = stepper(optimizer, variables)
    for gradient in gradients:
        step(as_tensors(gradient, variables))
    saved = {}
    optimizer.save_own_variables(saved)

    transcripts = [
        case.transcript(w, column, 0.1)[-1][1]
        for w, column in zip(weights, by_weight(gradients), strict=True)
    ]
    expected = [slots[name] for name in case.slots for slots in transcripts]
    found = [saved[str(position)] for position in range(2, len(saved))]
    assert saved["0"] == 5
    assert len(found) == len(expected)
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(f, e, rtol=1e-4)


@every_optimizer
def test_building_twice_adds_nothing(case):
    variables = as_variables(problem(0)[0])
    optimizer = case.new()
    optimizer.build(variables)
    names = [v.path for v in optimizer.variables]
    optimizer.build(variables)
    assert [v.path for v in optimizer.variables] == names


@every_optimizer
def test_optimizer_is_registered_under_the_package_and_its_own_name(case):
    expected = f"custom_optimizers>{case.optimizer.__name__}"
    assert keras.saving.get_registered_name(case.optimizer) == expected


# Gradients: missing, of another shape than their variable, or sparse.


@every_optimizer
def test_weight_without_gradient_stays_and_keras_warns(case):
    weights, ((_, second),) = problem(1, shapes=[(3,), (2, 2)], scales=[1.0, 1.0])
    variables = as_variables(weights)
    with pytest.warns(UserWarning, match="Gradients do not exist for variables .*weight_0"):
        case.new(learning_rate=0.1).apply([None, *as_tensors([second], variables[1:])], variables)
    found = as_arrays(variables)
    np.testing.assert_array_equal(found[0], np.float32(weights[0]))
    expected = case.transcript(weights[1], [second], 0.1)[-1][0]
    assert error(found[1:], [expected], weights[1:]) < 1e-5


@every_optimizer
def test_no_gradient_at_all_is_refused_with_the_names_of_the_variables(case):
    variables = as_variables(problem(0)[0])
    with pytest.raises(ValueError, match="No gradient") as caught:
        case.new().apply([None] * 3, variables)
    assert all(variable.path in str(caught.value) for variable in variables)


@every_optimizer
@pytest.mark.parametrize("built", [False, True])
def test_another_number_of_gradients_is_refused_with_both_numbers(case, built):
    variables = as_variables(problem(0)[0])
    optimizer = case.new()
    if built:
        optimizer.build(variables)
    with pytest.raises(ValueError, match="2 gradients for 3 variables"):
        optimizer.apply([ops.ones(()) for _ in range(2)], None if built else variables)


WRONG_SHAPES = [(3, 1), (1, 4), (4,), (1,), (), (4, 3), (3, 4, 1), (12,), (2, 3, 4), (3, 0)]


@every_optimizer
@pytest.mark.parametrize("shape", WRONG_SHAPES, ids=str)
def test_gradient_of_another_shape_is_refused_before_anything_has_changed(case, shape):
    weights, ((fitting, _),) = problem(1, shapes=[(5,), (3, 4)], scales=[1.0, 1.0])
    variables = as_variables(weights)
    gradients = [ops.convert_to_tensor(fitting, "float32"), ops.ones(shape)]
    optimizer = case.new()
    optimizer.build(variables)
    state = [*variables, *optimizer.variables]
    before = as_arrays(state)
    for refused in (
        lambda: optimizer.apply(gradients, variables),
        lambda: optimizer.apply(gradients),
        lambda: optimizer.apply_gradients(zip(gradients, variables, strict=True)),
        lambda: optimizer.update_step(gradients[1], variables[1], ops.convert_to_tensor(0.1)),
    ):
        with pytest.raises(ValueError, match="'weight_1'") as caught:
            refused()
        assert "(3, 4)" in str(caught.value)
        assert str(shape) in str(caught.value)
        for found, start in zip(as_arrays(state), before, strict=True):
            np.testing.assert_array_equal(found, start)


@tensorflow_only
@every_optimizer
@pytest.mark.parametrize("shape", [(None, 4), (None, None), None], ids=str)
def test_gradient_whose_shape_is_known_only_when_the_graph_runs_is_applied(case, shape):
    weights, gradients = problem(1, shapes=[(3, 4)], scales=[1.0])
    variables = as_variables(weights)
    optimizer = case.new(learning_rate=0.1)
    optimizer.build(variables)

    @tf.function(input_signature=[tf.TensorSpec(shape, "float32")])
    def step(gradient):
        optimizer.apply([gradient], variables)

    step(*as_tensors(gradients[0], variables))
    expected = transcribed(case, weights, gradients, 0.1)
    assert error(as_arrays(variables), expected, weights) < 1e-5


def sparse(values, rows, height):
    return tf.IndexedSlices(
        tf.constant(values, "float32"), tf.constant(rows), tf.constant([height, len(values[0])])
    )


def embedding_problem(rows):
    """Weights (5, 2) and four gradients of `rows`: the values, and the dense sum of each."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, len(rows), 2))
    dense = np.zeros((4, 5, 2))
    for step in range(4):
        np.add.at(dense[step], rows, values[step])
    return rng.normal(size=(5, 2)), values, dense


def descend_rows(optimizer, weights, values, rows, how="eager"):
    """The final weights after one step for each of `values`, gradients of `rows`."""
    (variable,) = as_variables([weights])
    step = stepper(optimizer, [variable], how)
    for value in values:
        step([sparse(value, rows, len(weights))])
    return as_arrays([variable])[0]


@tensorflow_only
@every_optimizer
def test_sparse_gradient_of_another_width_is_refused_before_anything_has_changed(case):
    variables = as_variables(problem(0, shapes=[(5, 2)], scales=[1.0])[0])
    optimizer = case.new()
    optimizer.build(variables)
    before = as_arrays([*variables, *optimizer.variables])
    for width in (1, 3):
        with pytest.raises(ValueError, match=r"'weight_0'.*\(5, 2\)"):
            optimizer.apply([sparse(np.ones((2, width)), [0, 1], 5)], variables)
    for found, start in zip(as_arrays([*variables, *optimizer.variables]), before, strict=True):
        np.testing.assert_array_equal(found, start)


@tensorflow_only
@every_case
@pytest.mark.parametrize("how", ["eager", "graph"])
def test_embedding_rows_looked_up_once_are_updated_as_in_keras(case, how):
    rows = [3, 0, 4]
    weights, values, dense = embedding_problem(rows)
    found, kerass = (
        descend_rows(make(learning_rate=0.05), weights, values, rows, how)
        for make in (case.new, case.new_counterpart)
    )
    expected = case.transcript(weights, dense, 0.05)[-1][0]
    assert error([found], [expected], [weights]) < 1e-5
    assert error([found], [kerass], [weights]) < 1e-5


@tensorflow_only
@every_case
def test_embedding_rows_looked_up_twice_are_summed_before_the_rule_and_not_after_as_in_keras(case):
    rows = [3, 0, 3, 3]
    weights, values, dense = embedding_problem(rows)
    found, kerass = (
        descend_rows(make(learning_rate=0.05), weights, values, rows)
        for make in (case.new, case.new_counterpart)
    )
    expected = case.transcript(weights, dense, 0.05)[-1][0]
    assert error([found], [expected], [weights]) < 1e-5
    squares_gradients = case.optimizer.__name__ in ("Adagrad", "RMSprop", "Adam")
    assert (error([kerass], [expected], [weights]) > 1e-3) == squares_gradients


@tensorflow_only
@every_optimizer
def test_embedding_layer_under_a_tape_is_updated_by_the_dense_formula(case):
    layer = keras.layers.Embedding(4, 2)
    layer.build()
    (start,) = as_arrays(layer.variables)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant([1, 2, 1])) ** 2)
    gradients = tape.gradient(loss, layer.trainable_variables)
    assert isinstance(gradients[0], tf.IndexedSlices)
    case.new(learning_rate=0.1).apply_gradients(
        zip(gradients, layer.trainable_variables, strict=True)
    )
    gradient = 2 * start * [[0], [2], [1], [0]]
    expected = case.transcript(start, [gradient], 0.1)[-1][0]
    assert error(as_arrays(layer.variables), [expected], [start]) < 1e-5


@tensorflow_only
@every_optimizer
def test_sparse_gradient_of_any_number_of_rows_is_applied_by_one_graph(case):
    weights, values, dense = embedding_problem([3, 0, 3])
    variables = as_variables([weights])
    optimizer = case.new(learning_rate=0.1)
    optimizer.build(variables)

    @tf.function(
        input_signature=[tf.TensorSpec((None, 2), "float32"), tf.TensorSpec((None,), "int32")]
    )
    def step(value, rows):
        optimizer.apply([tf.IndexedSlices(value, rows, tf.constant([5, 2]))], variables)

    step(values[0], [3, 0, 3])
    step(values[1][:1], [4])
    second = np.zeros((5, 2))
    second[4] = values[1][0]
    expected = case.transcript(weights, [dense[0], second], 0.1)[-1][0]
    assert error(as_arrays(variables), [expected], [weights]) < 1e-5


# Numbers: the formula, Keras, and every way to run them.


BITS = {"float16": 11, "bfloat16": 8}  # of a weight's significand
SMALLEST_EXPONENT = {"float16": -13, "bfloat16": -125}


def unit_in_the_last_place(x, dtype):
    exponent = np.maximum(np.frexp(x)[1], SMALLEST_EXPONENT[dtype])
    return np.ldexp(1.0, exponent - BITS[dtype])


@every_case
@pytest.mark.parametrize("dtype", BITS)
def test_each_step_in_half_precision_is_within_the_rounding_of_the_weight(case, dtype):
    weights, gradients = problem(15, shapes=[(9,)], scales=[np.repeat([1e-3, 1.0, 1e3], 3)])
    (variable,) = variables = as_variables(weights, dtype)
    gradients = [as_tensors(gradient, variables) for gradient in gradients]
    (column,) = by_weight([as_arrays(gradient) for gradient in gradients])
    path = [np.zeros(9), *(w for w, _ in case.transcript(np.zeros(9), column, 0.01))]

    step = stepper(case.new(learning_rate=0.01), variables)
    for gradient, taken in zip(gradients, np.diff(path, axis=0), strict=True):
        (start,) = as_arrays([variable])
        step(gradient)
        (found,) = as_arrays([variable])
        expected = start + taken
        allowed = (
            unit_in_the_last_place(np.maximum(abs(expected), abs(found)), dtype) / 2
            + unit_in_the_last_place(taken, dtype) / 2
            + 1e-5 * abs(taken)  # of the rule, in float32
        )
        np.testing.assert_array_less(abs(found - expected), allowed)


@every_case
def test_gradient_of_zero_changes_no_weight(case):
    weights, gradients = problem(3, scales=[0.0] * 3)
    for found, start in zip(descend(case.new(), weights, gradients), weights, strict=True):
        np.testing.assert_array_equal(found, np.float32(start))


@every_case
def test_gradient_that_becomes_steady_moves_every_weight_downhill_at_every_step(case):
    # Long enough, and enough slopes, for a variance to fall below what float32 can tell apart; and
    # steeper at first, so that a mean of squares ends above the slope's, as its square of means.
    slopes = np.concatenate([np.linspace(10, 1000, 1000), -np.linspace(10, 1000, 1000)])
    (variable,) = variables = as_variables([np.zeros(2000)])
    step = stepper(case.new(learning_rate=1e-3), variables, COMPILED[0])
    for number in range(180):
        (before,) = as_arrays([variable])
        step(as_tensors([2 * slopes if number < 20 else slopes], variables))
        (after,) = as_arrays([variable])
        assert ((after - before) * slopes < 0).all()


@every_case
def test_variable_without_elements_stays_empty(case):
    weights, gradients = problem(2, shapes=[(0, 2), (2,)], scales=[1.0, 1.0])
    found = descend(case.new(learning_rate=0.01), weights, gradients)
    assert found[0].shape == (0, 2)
    expected = transcribed(case, weights, gradients, 0.01)
    assert error(found[1:], expected[1:], weights[1:]) < 1e-5


@every_case
def test_permuting_or_reshaping_a_variable_permutes_or_reshapes_its_update(case):
    weights, gradients = problem(5, shapes=[(4, 6)], scales=[1.0])
    order = np.random.default_rng(1).permutation(24)

    def rearranged(x):
        return np.reshape(np.ravel(x)[order], (2, 3, 4))

    (found,) = descend(case.new(learning_rate=0.1), weights, gradients)
    (rearranged_found,) = descend(
        case.new(learning_rate=0.1),
        [rearranged(w) for w in weights],
        [[rearranged(g) for g in step] for step in gradients],
    )
    np.testing.assert_allclose(rearranged_found, rearranged(found), rtol=1e-6)


@every_optimizer
@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_any_usual_hyperparameters_follow_the_float64_formula(case, data):
    drawn = {
        name: data.draw(st.booleans() if default is False else st.floats(*cases.USUAL[name]))
        for name, default in cases.own_arguments(case.optimizer).items()
        if name != "learning_rate"
    }
    weights, gradients = problem(6, shapes=[(2, 3)], scales=[1.0])
    found = descend(case.new(learning_rate=0.01, **drawn), weights, gradients)
    expected = transcribed(case, weights, gradients, 0.01, **drawn)
    assert error(found, expected, weights) < 1e-5


@every_case
def test_a_hundred_steps_under_a_schedule_follow_the_float64_formula(case):
    weights, gradients = problem(100, shapes=[(3, 4), ()], scales=[1.0, 10.0])
    schedule = keras.optimizers.schedules.InverseTimeDecay(0.05, 1, 0.1)
    found = descend(case.new(learning_rate=schedule), weights, gradients, COMPILED[0])
    rates = [0.05 / (1 + 0.1 * t) for t in range(100)]
    assert error(found, transcribed(case, weights, gradients, rates), weights) < 1e-5


@every_case
@pytest.mark.parametrize("how", ["eager", *COMPILED])
def test_random_steps_in_float32_and_float64_follow_the_float64_formula_and_keras(case, how):
    steps = 20 if how == "eager" else 100
    dtypes, scales = ["float32", "float32", "float64"], [1.0, 1e-2, 10.0]
    weights, gradients = problem(steps, shapes=[(3, 4), (), (1, 2, 1)], scales=scales)
    found, kerass = (
        descend(optimizer, weights, gradients, how, dtypes)
        for optimizer in (case.new(learning_rate=0.01), case.new_counterpart(learning_rate=0.01))
    )
    # Keras keeps the learning rate in float32.
    expected = transcribed(case, weights, gradients, np.float32(0.01))
    assert error(found[:2], expected[:2], weights[:2]) < 1e-5
    assert error(found[2:], expected[2:], weights[2:]) < 1e-9
    assert error(found[:2], kerass[:2], weights[:2]) < 1e-5
    # On TensorFlow, Keras rounds beta_2 and its like to float32 even for a float64 weight.
    assert error(found[2:], kerass[2:], weights[2:]) < 1e-5


BASE_OPTIONS = {
    "weight_decay": {"weight_decay": 0.1},
    "clipnorm": {"clipnorm": 0.5},
    "clipvalue": {"clipvalue": 0.3},
    "global_clipnorm": {"global_clipnorm": 0.5},
    "ema": {"use_ema": True, "ema_momentum": 0.8},
    "ema_overwrite": {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 2},
    "accumulation": {"gradient_accumulation_steps": 3, "clipnorm": 0.5, "weight_decay": 0.1},
    "loss_scale_factor": {"loss_scale_factor": 8.0},
    "callable": {"learning_rate": lambda: 0.05},
    "schedule": {
        "learning_rate": keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.1, 0.02])
    },
}


@every_optimizer
@pytest.mark.parametrize("options", BASE_OPTIONS.values(), ids=BASE_OPTIONS.keys())
def test_options_of_every_keras_optimizer_act_as_in_keras(case, options):
    weights, gradients = problem(4, shapes=[(3, 4), ()], scales=[1.0, 10.0])
    optimizers = [
        make(**({"learning_rate": 0.05} | options)) for make in (case.new, case.new_counterpart)
    ]
    # JAX traces a condition at every eager step.
    how = COMPILED[0] if "gradient_accumulation_steps" in options else "eager"
    found, expected = (descend(o, weights, gradients, how) for o in optimizers)
    assert error(found, expected, weights) < 1e-5
    if options.keys() & {"weight_decay", "clipnorm", "clipvalue", "global_clipnorm"}:
        without = descend(case.new(learning_rate=0.05), weights, gradients)
        assert error(found, without, weights) > 1e-3
    if "use_ema" in options:
        averages = [as_arrays(o._model_variables_moving_average) for o in optimizers]
        assert error(*averages, weights) < 1e-5


@tensorflow_only
@every_optimizer
@pytest.mark.parametrize("name", [name for name in BASE_OPTIONS if name != "loss_scale_factor"])
def test_options_of_every_keras_optimizer_act_on_embedding_rows_as_in_keras(case, name):
    # Keras divides by a loss_scale_factor with an operator that sparse gradients don't have.
    rows = [3, 0, 4]
    weights, values, _ = embedding_problem(rows)
    found, expected = (
        descend_rows(make(**({"learning_rate": 0.05} | BASE_OPTIONS[name])), weights, values, rows)
        for make in (case.new, case.new_counterpart)
    )
    assert error([found], [expected], [weights]) < 1e-5


@every_optimizer
def test_loss_scale_optimizer_around_it_acts_as_in_keras(case):
    weights, gradients = problem(3, shapes=[(3, 4), ()], scales=[1.0, 10.0])
    scaled = [[2.0**15 * g for g in step] for step in gradients]
    scaled.insert(2, [np.full_like(g, np.inf) for g in gradients[0]])
    scaled[3:] = [[g / 2 for g in step] for step in scaled[3:]]
    found, expected = (
        descend(keras.optimizers.LossScaleOptimizer(inner), weights, scaled, COMPILED[0])
        for inner in (case.new(learning_rate=0.05), case.new_counterpart(learning_rate=0.05))
    )
    assert error(found, expected, weights) < 1e-5
    # The step that overflowed was left out, and the scale halved.
    assert error(found, transcribed(case, weights, gradients, 0.05), weights) < 1e-5


@every_optimizer
def test_accumulated_micro_batches_equal_one_batch_of_their_mean(case):
    weights, gradients = problem(6, shapes=[(3, 4), ()], scales=[1.0, 10.0])
    means = [
        [np.mean(micro, axis=0) for micro in by_weight(gradients[start : start + 3])]
        for start in (0, 3)
    ]
    accumulated = case.new(learning_rate=0.01, gradient_accumulation_steps=3)
    found = descend(accumulated, weights, gradients, COMPILED[0])
    assert error(found, transcribed(case, weights, means, 0.01), weights) < 1e-5


# Whole trainings: saved and resumed, in mixed precision, on several devices.


def small_model(optimizer, **compile_options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="tanh")])
    model.compile(optimizer, loss="mse", **compile_options)
    return model


def fit(model, epochs):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 3)), rng.normal(size=(16, 2))
    model.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return model


@every_optimizer
def test_fit_in_mixed_float16_equals_that_of_keras(case):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        models = [
            fit(
                small_model(make(learning_rate=0.01), run_eagerly=BACKEND == "tensorflow"), epochs=2
            )
            for make in (case.new, case.new_counterpart)
        ]
        start = small_model("sgd").get_weights()
    finally:
        keras.config.set_dtype_policy(before)
    assert all(type(m.optimizer) is keras.optimizers.LossScaleOptimizer for m in models)
    assert type(models[0].optimizer.inner_optimizer) is case.optimizer
    found, expected = (m.get_weights() for m in models)
    assert error(found, expected, start) < 1e-5
    assert error(start, found, start) > 1e-3


@every_optimizer
def test_training_saved_loaded_and_resumed_is_bit_for_bit_training_never_stopped(case, tmp_path):
    schedule = keras.optimizers.schedules.InverseTimeDecay(0.1, 1, 0.2)
    whole = fit(small_model(case.new(learning_rate=schedule)), epochs=2)
    whole.save(tmp_path / "half.keras")
    resumed = keras.saving.load_model(tmp_path / "half.keras")
    assert type(resumed.optimizer) is case.optimizer

    found, expected = (
        as_arrays([*model.weights, *model.optimizer.variables])
        for model in (fit(resumed, epochs=2), fit(whole, epochs=2))
    )
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(f, e)


@tensorflow_only
@every_optimizer
def test_two_replicas_with_half_the_batch_each_equal_one_device(case, two_replicas):
    rng = np.random.default_rng(0)
    x, y = np.float32(rng.normal(size=(8, 3))), np.float32(rng.normal(size=8))

    def train(strategy):
        with strategy.scope():
            variables = as_variables([np.zeros(3), 0.0])
            optimizer = case.new(learning_rate=0.05)
            optimizer.build(variables)
        w, b = variables

        def replica_step():
            first = tf.distribute.get_replica_context().replica_id_in_sync_group
            each = strategy.num_replicas_in_sync
            with tf.GradientTape() as tape:
                predicted = tf.linalg.matvec(tf.constant(x)[first::each], w.value) + b.value
                loss = tf.reduce_sum((predicted - tf.constant(y)[first::each]) ** 2) / len(y)
            gradients = tape.gradient(loss, [w.value, b.value])
            optimizer.apply_gradients(zip(gradients, variables, strict=True))

        step = tf.function(lambda: strategy.run(replica_step), jit_compile=False)
        for _ in range(5):
            step()
        return as_arrays(variables)

    start = [np.zeros(3), np.zeros(())]
    found = train(two_replicas)
    assert error(found, train(tf.distribute.get_strategy()), start) < 1e-5
    assert np.linalg.norm(found[0]) > 1e-2
