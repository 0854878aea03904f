"""`fused`: which of kernel and rule ran, that both agree, and when a trace is used again."""

import collections
import contextlib
import gc
import warnings
import weakref

import keras
import numpy as np
import pytest
from keras import ops

import custom_optimizers as ours
from custom_optimizers import fused
from tests.custom_optimizers import cases
from tests.custom_optimizers.steps import (
    BACKEND,
    as_arrays,
    as_tensors,
    as_variables,
    descend,
    error,
    problem,
    stepper,
    tensorflow_only,
)

if BACKEND == "tensorflow":
    import tensorflow as tf

KERNELS = {
    "GradientDescent": "ResourceApplyGradientDescent",
    "Momentum": "ResourceApplyKerasMomentum",
    "Adagrad": "ResourceApplyAdagradV2",
    "RMSprop": "ResourceApplyRMSProp",
    "Adam": "ResourceApplyAdam",
}
ROW_KERNELS = {"GradientDescent": "ResourceScatterSub", "Adagrad": "ResourceSparseApplyAdagradV2"}

every_case = pytest.mark.parametrize("case", cases.CASES, ids=str)
every_optimizer = pytest.mark.parametrize("case", cases.ONE_EACH, ids=str)
plain_of_each = pytest.mark.parametrize("name", KERNELS)


def kernel_of(case):
    if case.options.get("centered"):
        return None
    amsgrad = "WithAmsgrad" * case.options.get("amsgrad", False)
    return KERNELS[case.optimizer.__name__] + amsgrad


def kernels_in(graph):
    """How often each training kernel stands in a graph and the functions it calls."""
    graphs = [graph.as_graph_def().node]
    graphs += [function.node_def for function in graph.as_graph_def().library.function]
    names = (node.op for nodes in graphs for node in nodes)
    prefixes = ("ResourceApply", "ResourceSparseApply", "ResourceScatter")
    return dict(collections.Counter(name for name in names if name.startswith(prefixes)))


def graph_of_step(optimizer, variables, gradients, **options):
    optimizer.build(variables)
    step = tf.function(lambda *g: optimizer.apply(list(g), variables), autograph=False, **options)
    return step.get_concrete_function(*gradients).graph


def kernels_of(optimizer, dtype="float32", **options):
    variables = as_variables([np.zeros(3), np.zeros((2, 2))], dtype)
    return kernels_in(graph_of_step(optimizer, variables, variables_like(variables), **options))


def variables_like(variables):
    return [tf.ones(v.shape, v.dtype) for v in variables]


# Which of the two runs.


@pytest.mark.skipif(BACKEND == "tensorflow", reason="the other backends")
@every_optimizer
def test_on_another_backend_the_class_is_returned_as_it_is(case):
    assert fused.accelerate(case.optimizer) is case.optimizer
    assert "_backend_update_step" not in vars(case.optimizer)
    assert not hasattr(case.optimizer.apply, "__wrapped__")


@tensorflow_only
@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_weight_takes_one_call_of_its_kernel(case, dtype):
    kernel = kernel_of(case)
    assert kernels_of(case.new(), dtype) == ({kernel: 2} if kernel else {})


@tensorflow_only
@every_case
def test_rule_runs_under_xla_in_half_precision_and_when_switched_off(case):
    assert kernels_of(case.new(), jit_compile=True) == {}
    assert kernels_of(case.new(), "float16") == {}
    assert kernels_of(case.new(), "bfloat16") == {}
    with fused.off():
        assert kernels_of(case.new()) == {}


@tensorflow_only
def test_rule_runs_in_a_function_that_xla_calls():
    variables = as_variables([np.zeros(3)])
    optimizer = ours.Adam()
    optimizer.build(variables)
    for under_xla, expected in ((True, {}), (False, {"ResourceApplyAdam": 1})):
        inner = tf.function(lambda g: optimizer.apply([g], variables))
        outer = tf.function(lambda g, inner=inner: inner(g), jit_compile=under_xla)
        assert kernels_in(outer.get_concrete_function(tf.ones(3)).graph) == expected


@tensorflow_only
@every_optimizer
def test_rule_runs_in_a_subclass_that_overrides_it_and_kernel_in_one_that_does_not(case):
    class Half(case.optimizer):
        def update_step(self, gradient, variable, learning_rate):
            super().update_step(gradient, variable, learning_rate / 2)

    class Same(case.optimizer):
        pass

    kernel = kernel_of(case)
    assert kernels_of(Half(**case.options)) == {}
    assert kernels_of(Same(**case.options)) == ({kernel: 2} if kernel else {})


@tensorflow_only
def test_rule_runs_in_an_object_whose_rule_was_replaced():
    optimizer = ours.Adam()
    optimizer.update_step = lambda gradient, variable, learning_rate: None
    assert kernels_of(optimizer) == {}


@tensorflow_only
@every_optimizer
def test_rule_runs_where_the_learning_rate_is_an_array(case):
    rates = np.array([0.1, 0.01, 0.001])
    start, gradients = np.ones(3), [np.full(3, 2.0)] * 3
    found = descend(
        case.new(learning_rate=lambda: tf.constant(rates)), [start], [gradients[:1]] * 3
    )
    expected = [
        case.transcript(w, [2.0] * 3, rate)[-1][0] for w, rate in zip(start, rates, strict=True)
    ]
    assert error(found, [np.array(expected)], [start]) < 1e-5


@tensorflow_only
def test_a_class_of_ones_own_follows_its_rule_eagerly_and_traced():
    @fused.accelerate
    class SignDescent(keras.optimizers.Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            lr = ops.cast(learning_rate, variable.dtype)
            self.assign_sub(variable, lr * ops.sign(gradient))

    weights, gradients = problem(3)
    expected = [
        w - 0.5 * np.sum([np.sign(g[i]) for g in gradients], axis=0) for i, w in enumerate(weights)
    ]
    assert error(descend(SignDescent(0.5), weights, gradients), expected, weights) < 1e-6


@tensorflow_only
@plain_of_each
def test_a_weight_costs_one_operation_of_the_graph(name):
    def operations(count):
        variables = as_variables([np.zeros(3)] * count)
        graph = graph_of_step(getattr(ours, name)(), variables, variables_like(variables))
        return sum(op.type != "Placeholder" for op in graph.get_operations())

    assert operations(20) - operations(10) == 10


@tensorflow_only
@plain_of_each
def test_rule_under_xla_has_fewer_operations_a_weight_than_that_of_keras(name):
    def operations(optimizer_class, options, count):
        variables = as_variables([np.zeros(3)] * count)
        optimizer = optimizer_class(**options)
        gradients = variables_like(variables)
        graph = graph_of_step(optimizer, variables, gradients, jit_compile=True)
        return sum(op.type != "Placeholder" for op in graph.get_operations())

    case = next(case for case in cases.CASES if case.optimizer is getattr(ours, name))
    own, kerass = (
        operations(*pair, 20) - operations(*pair, 10)
        for pair in ((case.optimizer, case.options), (case.counterpart, case.counterpart_options))
    )
    assert own < kerass


# Kernel and rule agree.


@tensorflow_only
@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("how", ["eager", "graph"])
def test_kernel_equals_rule_in_weights_and_slots(case, dtype, how):
    weights, gradients = problem(12)
    found = []
    for switch in (contextlib.nullcontext, fused.off):
        variables, optimizer = as_variables(weights, dtype), case.new(learning_rate=0.05)
        step = stepper(optimizer, variables, how)
        with switch():
            for gradient in gradients:
                step(as_tensors(gradient, variables))
        found.append((as_arrays(variables), as_arrays(optimizer.variables[2:])))
    (weights_1, slots_1), (weights_2, slots_2) = found
    # In float16 the rule runs in both; graph and eager calls may round a weight apart.
    tolerance = {"float16": 1e-3, "float32": 3e-6, "float64": 1e-13}[dtype]
    assert error(weights_1, weights_2, weights) < tolerance
    for one, other in zip(slots_1, slots_2, strict=True):
        # In float32, 1 - 0.999 is off by 1.3e-5 of itself in the kernel.
        np.testing.assert_allclose(one, other, rtol=1e-12 if dtype == "float64" else 2e-5)


@tensorflow_only
@pytest.mark.parametrize("make", [lambda: ours.Adam(0.1, 0.999, 0.9999, epsilon=0.01),
                                  lambda: ours.RMSprop(0.1, rho=0.9999, epsilon=0.01)])  # fmt: skip
def test_kernel_makes_up_for_a_one_minus_beta_that_float32_rounds(make):
    # Without it, the first step is off by 1.7e-5 (Adam) and by 8e-5 (RMSprop).
    weights, gradients = problem(1)
    weights = [0 * w for w in weights]
    found = descend(make(), weights, gradients)
    with fused.off():
        expected = descend(make(), weights, gradients, dtypes="float64")
    assert error(found, expected, weights) < 3e-7


@tensorflow_only
@every_case
def test_kernel_runs_on_every_replica_and_equals_the_rule_there(case, two_replicas):
    weights, (gradient,) = problem(1)

    def train():
        with two_replicas.scope():
            variables = as_variables(weights)
            optimizer = case.new(learning_rate=0.05)
            optimizer.build(variables)

        def step():
            first = tf.distribute.get_replica_context().replica_id_in_sync_group
            share = [tf.cast(0.25 + 0.5 * tf.cast(first, "float32"), g.dtype) * g
                     for g in as_tensors(gradient, variables)]  # fmt: skip
            optimizer.apply_gradients(zip(share, variables, strict=True))

        run = tf.function(lambda: two_replicas.run(step), jit_compile=False)
        kernels = kernels_in(run.get_concrete_function().graph)
        for _ in range(3):
            run()
        replicas = [[v.value.values[i].numpy() for v in variables] for i in range(2)]
        for one, other in zip(*replicas, strict=True):
            np.testing.assert_array_equal(one, other)
        return kernels, as_arrays(variables)

    kernels, found = train()
    with fused.off():
        none, expected = train()
    kernel = kernel_of(case)
    assert kernels == ({kernel: 2 * len(weights)} if kernel else {})
    assert none == {}
    assert error(found, expected, weights) < 3e-6
    alone = descend(case.new(learning_rate=0.05), weights, [gradient] * 3)
    assert error(found, alone, weights) < 1e-5


# Rows of an Embedding.


def rows_of(values, rows, height, dtype="float32"):
    return tf.IndexedSlices(
        tf.constant(values, dtype), tf.constant(rows), tf.constant([height, len(values[0])])
    )


@tensorflow_only
@every_optimizer
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_take_the_kernel_for_rows_where_the_rule_leaves_the_others_alone(case, dtype):
    name = case.optimizer.__name__
    variables = as_variables([np.zeros((5, 2))], dtype)
    optimizer = case.new()
    optimizer.build(variables)

    @tf.function
    def step():
        optimizer.apply([rows_of(np.ones((3, 2)), [3, 0, 3], 5, dtype)], variables)

    kernel = ROW_KERNELS.get(name, kernel_of(case))
    assert kernels_in(step.get_concrete_function().graph) == ({kernel: 1} if kernel else {})


@tensorflow_only
@pytest.mark.parametrize("name", ROW_KERNELS)
@pytest.mark.parametrize("rows", [[3, 0, 3, 3], [], [4]], ids=str)
def test_only_the_given_rows_are_touched_and_as_by_the_rule(name, rows):
    start = np.random.default_rng(0).normal(size=(5, 2))
    values = np.random.default_rng(1).normal(size=(len(rows), 2)).reshape(-1, 2)
    gradient = tf.IndexedSlices(
        tf.constant(values, "float32"), tf.constant(rows, "int32"), tf.constant([5, 2])
    )
    ends = []
    for switch in (contextlib.nullcontext, fused.off):
        variables, optimizer = as_variables([start]), getattr(ours, name)(0.1)
        optimizer.build(variables)
        with switch():
            for _ in range(3):
                optimizer.apply([gradient], variables)
        ends.append(as_arrays([*variables, *optimizer.variables[2:]]))
    for found, expected in zip(*ends, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    others = sorted(set(range(5)) - set(rows))
    np.testing.assert_array_equal(ends[0][0][others], np.float32(start)[others])
    assert not np.array_equal(ends[0][0], np.float32(start)) or not rows


@tensorflow_only
@pytest.mark.parametrize("name", ROW_KERNELS)
def test_rows_in_half_precision_move_a_weight_in_float32(name):
    ends = []
    for dtype in ("float16", "float32"):
        variables = as_variables([np.ones((5, 2))])
        optimizer = getattr(ours, name)(0.1)
        optimizer.build(variables)
        optimizer.apply([rows_of(np.ones((3, 2)), [3, 0, 3], 5, dtype)], variables)
        ends.append(as_arrays(variables)[0])
    np.testing.assert_allclose(*ends, rtol=1e-6)
    assert ends[0][3, 0] < ends[0][0, 0] < 1


@tensorflow_only
@every_optimizer
def test_embedding_trains_in_fit_under_xla_as_without_it(case):
    def trained(jit_compile):
        keras.utils.set_random_seed(0)
        layers = [keras.Input((3,)), keras.layers.Embedding(7, 4), keras.layers.Flatten()]
        model = keras.Sequential([*layers, keras.layers.Dense(1)])
        start = model.get_weights()
        model.compile(case.new(learning_rate=0.05), "mse", jit_compile=jit_compile)
        rng = np.random.default_rng(0)
        x, y = rng.integers(0, 5, (16, 3)), rng.normal(size=16)
        model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        return start, model.get_weights()

    start, found = trained(True)
    _, expected = trained(False)
    assert error(found, expected, start) < 1e-4
    assert error(start, found, start) > 1e-3


# Traces.


@pytest.fixture
def traces(monkeypatch):
    """A list that grows with each trace that is made."""
    made, trace = [], fused._trace

    def counted(*arguments):
        made.append(arguments)
        return trace(*arguments)

    monkeypatch.setattr(fused, "_trace", counted)
    return made


def new(name="Adam", count=2, **options):
    variables = as_variables([np.ones(3)] * count)
    optimizer = getattr(ours, name)(**({"learning_rate": 0.1} | options))
    optimizer.build(variables)
    return optimizer, variables


def step(optimizer, variables, times=1, factor=1.0):
    for _ in range(times):
        optimizer.apply([factor * tf.ones(v.shape, v.dtype) for v in variables], variables)


@tensorflow_only
@every_optimizer
def test_an_eager_call_is_traced_at_its_second_time_and_then_runs_no_python_a_weight(
    case, traces, monkeypatch
):
    taken = []
    take = fused._Step.take
    monkeypatch.setattr(fused._Step, "take", lambda *a: taken.append(take(*a)))
    rule = case.optimizer.update_step
    variables = as_variables([np.ones(3)] * 4)
    optimizer = case.new()
    optimizer.build(variables)
    calls = []
    for _ in range(6):
        step(optimizer, variables)
        calls.append(len(taken))
    if kernel_of(case):
        assert calls == [4, 8, 8, 8, 8, 8]  # run, traced, and then neither
    assert len(traces) == 1
    assert optimizer.iterations.numpy() == 6
    assert case.optimizer.update_step is rule


@tensorflow_only
def test_apply_gradients_without_variables_and_by_raw_variables_are_traced(traces):
    optimizer, variables = new()
    for _ in range(3):
        optimizer.apply([tf.ones(3)] * 2)
        optimizer.apply_gradients([(tf.ones(3), v.value) for v in variables])
    assert optimizer.iterations.numpy() == 6
    assert len(traces) == 2
    np.testing.assert_allclose(variables[0], 1 - 0.6, rtol=1e-5)


@tensorflow_only
@every_optimizer
def test_a_changed_hyperparameter_acts_at_the_next_step(case):
    names = [n for n in cases.own_arguments(case.optimizer) if n in cases.INTERVALS]
    names = [n for n in names if n != "initial_accumulator_value"] + ["weight_decay", "clipvalue"]
    for name in names:
        ends = []
        for switch in (contextlib.nullcontext, fused.off):
            variables = as_variables([np.ones(3)])
            optimizer = case.new(learning_rate=0.05)
            optimizer.build(variables)
            with switch():
                step(optimizer, variables, 3)
                setattr(optimizer, name, cases.CHANGED[name])
                step(optimizer, variables, 3)
            ends.append(as_arrays(variables)[0])
        np.testing.assert_allclose(*ends, rtol=1e-5, err_msg=name)


@tensorflow_only
def test_an_assigned_rate_acts_without_another_trace(traces):
    optimizer, variables = new("GradientDescent")
    step(optimizer, variables, 3)
    optimizer.learning_rate = 0.01
    step(optimizer, variables, 2)
    assert len(traces) == 1
    np.testing.assert_allclose(variables[0], 1 - 3 * 0.1 - 2 * 0.01, rtol=1e-5)


@tensorflow_only
def test_a_rate_replaced_by_a_schedule_acts_at_the_next_step():
    optimizer, variables = new("GradientDescent")
    step(optimizer, variables, 3)
    boundary = keras.optimizers.schedules.PiecewiseConstantDecay([5], [0.01, 0.001])
    optimizer.learning_rate = boundary
    step(optimizer, variables, 5)  # at iterations 3, 4, 5 and 6, 7
    np.testing.assert_allclose(variables[0], 1 - 0.3 - 3 * 0.01 - 2 * 0.001, rtol=1e-5)


@tensorflow_only
def test_a_schedule_that_is_changed_acts_at_the_next_step():
    schedule = keras.optimizers.schedules.InverseTimeDecay(0.1, 1, 0.0)
    optimizer, variables = new("GradientDescent", learning_rate=schedule)
    step(optimizer, variables, 3)
    schedule.initial_learning_rate = 0.01
    step(optimizer, variables, 3)
    np.testing.assert_allclose(variables[0], 1 - 0.3 - 0.03, rtol=1e-5)


@tensorflow_only
def test_a_rate_that_is_a_function_is_called_at_each_step_and_nothing_is_traced(traces):
    rates = iter([0.1, 0.2, 0.3, 0.4])
    optimizer, variables = new("GradientDescent", learning_rate=lambda: next(rates))
    step(optimizer, variables, 4)
    assert traces == []
    np.testing.assert_allclose(variables[0], 1 - 1.0, atol=1e-6)


class Warm(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of one's own: a list, an object within, and Python's `if`."""

    def __init__(self):
        self.rates, self.after = [0.1, 0.2], keras.optimizers.schedules.InverseTimeDecay(0.3, 1, 0)

    def __call__(self, step):
        number = int(step)
        return self.rates[number] if number < 2 else self.after(step)


class PerLayer(ours.GradientDescent):
    """An optimizer of one's own with a dictionary."""

    scales = None

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, learning_rate * self.scales["all"] * gradient)


def halved(gradient, variable, learning_rate):
    variable.assign_sub(learning_rate * gradient / 2)


def piecewise():
    return keras.optimizers.schedules.PiecewiseConstantDecay([100], [0.1, 0.01])


# What a user may change between two eager calls: how to make the optimizer, and the change.
CHANGES = {
    "a decay that is NumPy's": (
        lambda: ours.GradientDescent(0.1), lambda o, w: setattr(o, "weight_decay", np.float32(0.5)),
    ),
    "a decay that is a tensor": (
        lambda: ours.GradientDescent(0.1),
        lambda o, w: setattr(o, "weight_decay", tf.constant(0.5)),
    ),
    "a decay that is a variable": (
        lambda: ours.GradientDescent(0.1, weight_decay=0.1),
        lambda o, w: setattr(o, "weight_decay", tf.Variable(0.5)),
    ),
    "a decay from one of NumPy's to another": (
        lambda: ours.GradientDescent(0.1, weight_decay=np.float32(0.1)),
        lambda o, w: setattr(o, "weight_decay", np.float32(0.5)),
    ),
    "a clip that is NumPy's": (
        lambda: ours.Adam(0.1), lambda o, w: setattr(o, "clipvalue", np.float32(1e-8)),
    ),
    "a norm that is a tensor": (
        lambda: ours.GradientDescent(0.1),
        lambda o, w: setattr(o, "global_clipnorm", tf.constant(0.1)),
    ),
    "a scale that is NumPy's": (
        lambda: ours.GradientDescent(0.1, loss_scale_factor=2.0),
        lambda o, w: setattr(o, "loss_scale_factor", np.float32(8)),
    ),
    "a momentum that is NumPy's": (
        lambda: ours.Momentum(0.1), lambda o, w: setattr(o, "momentum", np.float32(0.1)),
    ),
    "a momentum that is a variable": (
        lambda: ours.Momentum(0.1), lambda o, w: setattr(o, "momentum", tf.Variable(0.1)),
    ),
    "nesterov by a number": (
        lambda: ours.Momentum(0.1), lambda o, w: setattr(o, "nesterov", 1),
    ),
    "a schedule's list": (
        lambda: ours.GradientDescent(piecewise()),
        lambda o, w: setattr(o._learning_rate, "values", [1.0, 1.0]),
    ),
    "a schedule's list, in place": (
        lambda: ours.GradientDescent(piecewise()),
        lambda o, w: o._learning_rate.values.__setitem__(0, 1.0),
    ),
    "a schedule within a schedule": (
        lambda: ours.GradientDescent(Warm()),
        lambda o, w: setattr(o._learning_rate.after, "initial_learning_rate", 1.0),
    ),
    "a constraint": (
        lambda: ours.GradientDescent(0.3),
        lambda o, w: setattr(w[0], "constraint", keras.constraints.NonNeg()),
    ),
    "a constraint's bound": (
        lambda: (ours.GradientDescent(0.1), keras.constraints.MaxNorm(9.0)),
        lambda o, w: setattr(w[0].constraint, "max_value", 0.1),
    ),
    "a constraint that is a function": (
        lambda: (ours.GradientDescent(0.1), lambda w: w + 1),
        lambda o, w: setattr(w[0], "constraint", lambda w: w - 1),
    ),
    "a gradient that is the value": (
        lambda: ours.GradientDescent(0.1),
        lambda o, w: setattr(w[0], "overwrite_with_gradient", True),
    ),
    "a weight without decay": (
        lambda: ours.GradientDescent(0.1, weight_decay=0.5),
        lambda o, w: o.exclude_from_weight_decay(var_names=["weight_0"]),
    ),
    "slots made anew": (
        lambda: ours.Momentum(0.1), lambda o, w: (setattr(o, "built", False), o.build(w)),
    ),
    "a dictionary of one's own": (
        lambda: PerLayer(0.1), lambda o, w: o.scales.__setitem__("all", 3.0),
    ),
    "the rule of an object": (
        lambda: ours.GradientDescent(0.1), lambda o, w: setattr(o, "update_step", halved),
    ),
    "a hook of an object": (
        lambda: ours.GradientDescent(0.1),
        lambda o, w: setattr(o, "_clip_gradients", lambda gradients: [3 * g for g in gradients]),
    ),
}  # fmt: skip


@tensorflow_only
@pytest.mark.parametrize("what", CHANGES)
def test_whatever_a_user_changes_acts_at_the_next_step(what):
    make, change = CHANGES[what]

    def end(change):
        made = make()
        optimizer, constraint = made if isinstance(made, tuple) else (made, None)
        variables = as_variables([np.ones(3), np.full(2, 2.0)])
        variables[0].constraint = constraint
        if isinstance(optimizer, PerLayer):
            optimizer.scales = {"all": 1.0}
        optimizer.build(variables)
        step(optimizer, variables, 4)
        change(optimizer, variables)
        step(optimizer, variables, 4)
        return np.concatenate(as_arrays(variables))

    with fused.off():
        expected = end(change)
    np.testing.assert_allclose(end(change), expected, rtol=1e-5, atol=1e-6)
    assert np.abs(end(lambda optimizer, variables: None) - expected).max() > 1e-3


@tensorflow_only
def test_a_rule_patched_on_the_class_acts_at_the_next_step(monkeypatch):
    optimizer, variables = new("GradientDescent")
    step(optimizer, variables, 4)
    monkeypatch.setattr(ours.GradientDescent, "update_step", lambda self, *a: halved(*a))
    step(optimizer, variables, 4)
    np.testing.assert_allclose(variables[0], 1 - 0.4 - 0.2, rtol=1e-5)


@tensorflow_only
def test_a_subclass_that_overrides_apply_or_assign_is_heeded():
    @fused.accelerate
    class Half(ours.GradientDescent):
        def apply(self, grads, trainable_variables=None):
            super().apply([g / 2 for g in grads], trainable_variables)

    class Frozen(ours.Adagrad):
        def assign_sub(self, variable, value):
            pass

    for optimizer, expected in ((Half(0.1), 1 - 6 * 0.05), (Frozen(0.1), 1.0)):
        variables = as_variables([np.ones(3)])
        optimizer.build(variables)
        step(optimizer, variables, 6)
        np.testing.assert_allclose(variables[0], expected, rtol=1e-5)


@tensorflow_only
def test_what_can_not_be_traced_runs_as_it_is(traces):
    """Where a schedule, a constraint or a rule asks for a value, as eager code may."""

    class Clip(keras.constraints.Constraint):
        def __call__(self, w):
            return w if float(ops.max(w)) > 0.75 else ops.zeros_like(w)

    class Reads(ours.GradientDescent):
        def update_step(self, gradient, variable, learning_rate):
            factor = 1.0 if float(ops.sum(gradient)) > 0 else 0.0
            self.assign_sub(variable, factor * learning_rate * gradient)

    clipped, read, scheduled = (as_variables([np.ones(3)]) for _ in range(3))
    clipped[0].constraint = Clip()
    for optimizer, variables, expected in (
        (ours.GradientDescent(0.1), clipped, 0.0 - 3 * 0.1),
        (Reads(0.1), read, 1 - 0.6),
        (ours.GradientDescent(Warm()), scheduled, 1 - 0.1 - 0.2 - 4 * 0.3),
    ):
        optimizer.build(variables)
        step(optimizer, variables, 3)
        if variables is clipped:
            np.testing.assert_allclose(variables[0], 0.0, atol=1e-6)
            variables[0].constraint = None
        step(optimizer, variables, 3)
        np.testing.assert_allclose(variables[0], expected, rtol=1e-5)
        assert optimizer.iterations.numpy() == 6


@tensorflow_only
@pytest.mark.parametrize("make", [
    lambda: ours.Adam(0.01, beta_2=1 - 1e-8), lambda: ours.Adam(0.01, beta_1=1 - 1e-8),
    lambda: ours.Adam(0.01, beta_2=1 - 1e-5), lambda: ours.RMSprop(0.01, rho=1 - 1e-8),
])  # fmt: skip
def test_rule_runs_where_float32_can_not_tell_how_near_to_1_a_mean_is(make):
    assert kernels_of(make()) == {}
    weights, gradients = problem(5)
    assert all(np.isfinite(w).all() for w in descend(make(), weights, gradients))


@tensorflow_only
@pytest.mark.parametrize("name", ["epsilon", "rho"])
def test_rule_runs_where_a_hyperparameter_is_a_variable(name):
    optimizer = ours.RMSprop(0.1)
    setattr(optimizer, name, tf.Variable(0.5))
    assert kernels_of(optimizer) == {}


@tensorflow_only
@pytest.mark.parametrize("name", ROW_KERNELS)
def test_rows_of_no_width_are_no_error(name):
    variables = as_variables([np.zeros((4, 0)), np.ones(2)])
    optimizer = getattr(ours, name)(0.1)
    optimizer.build(variables)
    for _ in range(3):
        optimizer.apply([rows_of(np.zeros((2, 0)), [1, 3], 4), tf.ones(2)], variables)
    assert (np.asarray(variables[1]) < 1).all()


@tensorflow_only
def test_an_optimizer_that_its_own_weight_knows_is_let_go_too():
    class Knows(keras.constraints.Constraint):
        def __call__(self, w):
            return w

    optimizer, variables = new()
    variables[0].constraint = Knows()
    variables[0].constraint.optimizer = optimizer
    schedule = Warm()
    schedule.optimizer = optimizer
    optimizer.learning_rate = schedule
    step(optimizer, variables, 4)
    gone = weakref.ref(optimizer)
    del optimizer, variables, schedule
    keras.backend.clear_session()
    gc.collect()
    assert gone() is None


@tensorflow_only
def test_missing_and_sparse_gradients_and_other_weights_have_their_own_traces(traces):
    variables = as_variables([np.ones((4, 2)), np.ones(3)])
    optimizer = ours.Adagrad(0.1)
    optimizer.build(variables)
    full, rows = tf.ones((4, 2)), rows_of(np.ones((2, 2)), [1, 1], 4)
    calls = [
        lambda: optimizer.apply([full, tf.ones(3)], variables),
        lambda: optimizer.apply([rows, tf.ones(3)], variables),
        lambda: optimizer.apply([full], variables[:1]),
        lambda: optimizer.apply([tf.ones(3), rows], variables[::-1]),
    ]
    for number, call in enumerate(calls, 1):
        for _ in range(4):
            call()
        assert len(traces) == number
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([None, tf.ones(3)], variables)
    assert optimizer.iterations.numpy() == 17
    # 16 gradients of 1, or of 1 + 1 in two of four calls, for each weight.
    steps = np.array([1.0] * 4 + [2.0] * 4 + [1.0] * 4 + [2.0] * 4)
    row = 1 - np.sum(0.1 * steps / np.sqrt(0.1 + 1e-7 + np.cumsum(steps**2)))
    np.testing.assert_allclose(variables[0][1], row, rtol=1e-5)


@tensorflow_only
@pytest.mark.parametrize("options", [
    {}, {"weight_decay": 0.1}, {"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"use_ema": True},
    {"use_ema": True, "ema_overwrite_frequency": 2}, {"gradient_accumulation_steps": 3},
    {"loss_scale_factor": 8.0},
], ids=str)  # fmt: skip
@every_optimizer
def test_every_option_acts_in_a_trace_as_in_the_rule(case, options):
    weights, gradients = problem(9)

    def ends():
        variables = as_variables(weights)
        variables[0].constraint = keras.constraints.NonNeg()
        optimizer = case.new(learning_rate=0.05, **options)
        optimizer.build(variables)
        for gradient in gradients:
            optimizer.apply(as_tensors(gradient, variables), variables)
        averages = optimizer._model_variables_moving_average if "use_ema" in options else []
        return as_arrays([*variables, *averages])

    found = ends()
    with fused.off():
        expected = ends()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)
    assert (found[0] >= 0).all()


@tensorflow_only
def test_loss_scale_optimizer_called_eagerly_traces_the_one_inside(traces):
    inner, variables = new()
    outer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=4.0)
    outer.build(variables)
    for gradient in [4.0, 4.0, 4.0, np.inf, 2.0]:  # the overflow halves the scale
        outer.apply([gradient * tf.ones(3)] * 2, variables)
    assert len(traces) == 1
    np.testing.assert_allclose(variables[0], 1 - 0.4, rtol=1e-4)


@tensorflow_only
def test_a_checkpoint_is_restored_into_what_a_trace_uses(tmp_path):
    optimizer, variables = new()
    checkpoint = tf.train.Checkpoint(
        optimizer=optimizer, w=variables[0].value, u=variables[1].value
    )
    step(optimizer, variables, 3)
    path = checkpoint.save(tmp_path / "kept")
    step(optimizer, variables, 3, factor=-2.0)
    expected = as_arrays([*variables, *optimizer.variables])
    checkpoint.restore(path)
    step(optimizer, variables, 3, factor=-2.0)
    for found, one in zip(as_arrays([*variables, *optimizer.variables]), expected, strict=True):
        np.testing.assert_array_equal(found, one)


@tensorflow_only
def test_a_gradient_of_another_shape_is_refused_after_a_trace_and_nothing_has_changed():
    optimizer, variables = new()
    step(optimizer, variables, 3)
    before = as_arrays([*variables, *optimizer.variables])
    for _ in range(3):
        with pytest.raises(ValueError, match=r"'weight_1'.*\(3,\)"):
            optimizer.apply([tf.ones(3), tf.ones(1)], variables)
        with pytest.raises(ValueError, match="No gradient"):
            optimizer.apply([None, None], variables)
        with pytest.raises(ValueError, match="1 gradients for 2 variables"):
            optimizer.apply([tf.ones(3)], variables)
    for found, one in zip(as_arrays([*variables, *optimizer.variables]), before, strict=True):
        np.testing.assert_array_equal(found, one)


@tensorflow_only
def test_arrays_and_calls_within_a_tape_take_their_steps_too():
    optimizer, variables = new("GradientDescent")
    for _ in range(3):
        optimizer.apply([np.ones(3, "float32")] * 2, variables)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(variables[0].value ** 2)
        step(optimizer, variables, 3)
    assert tape.gradient(loss, variables[0].value) is not None
    np.testing.assert_allclose(variables[0], 1 - 0.6, rtol=1e-5)


@tensorflow_only
def test_nothing_is_traced_where_tensorflow_is_told_to_run_functions_eagerly(traces):
    optimizer, variables = new()
    tf.config.run_functions_eagerly(True)
    try:
        step(optimizer, variables, 3)
    finally:
        tf.config.run_functions_eagerly(False)
    assert traces == []


@tensorflow_only
def test_nothing_is_traced_when_switched_off(traces):
    optimizer, variables = new()
    with fused.off():
        step(optimizer, variables, 3)
    assert traces == []
    assert fused._is_on.get()


@tensorflow_only
def test_ten_thousand_steps_trace_once_warn_never_and_leave_nothing_behind(traces, caplog):
    variables = as_variables([np.ones((4, 2)), np.ones(2)])
    optimizer = ours.Adagrad(0.1)
    optimizer.build(variables)
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 9, 10_000)
    objects = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i, length in enumerate(lengths):
            rows = tf.IndexedSlices(
                tf.ones((length, 2)), tf.zeros(length, "int32"), tf.constant([4, 2])
            )
            optimizer.apply([rows, tf.ones(2)], variables)
            if i in (1_000, 9_999):
                del rows
                gc.collect()
                objects.append(len(gc.get_objects()))
    assert len(traces) == 1
    assert abs(objects[1] - objects[0]) < 500  # fewer than one for each of 9,000 steps
    assert "retracing" not in caplog.text
    assert optimizer.iterations.numpy() == 10_000
    for weight, gradients in ((variables[0][0], lengths), (variables[1], np.ones(10_000))):
        roots = np.sqrt(0.1 + np.cumsum(gradients**2.0))
        np.testing.assert_allclose(weight, 1 - np.sum(0.1 * gradients / roots), rtol=1e-4)
    np.testing.assert_array_equal(variables[0][1:], np.ones((3, 2)))


@tensorflow_only
def test_a_hyperparameter_that_changes_at_each_step_is_not_traced_without_end(traces):
    optimizer, variables = new("Momentum")
    for i in range(40):
        optimizer.momentum = i / 100
        step(optimizer, variables, 2)
    assert len(traces) == fused._TRACES_AT_MOST
    assert len(fused._traces_of(optimizer).by_key) == fused._TRACES_AT_MOST


@tensorflow_only
def test_an_optimizer_out_of_use_is_let_go_with_its_traces():
    optimizer, variables = new()
    step(optimizer, variables, 3)
    assert fused._traces_of(optimizer).by_key
    gone, slot = weakref.ref(optimizer), weakref.ref(optimizer.variables[-1])
    del optimizer, variables
    keras.backend.clear_session()
    gc.collect()
    assert gone() is None
    assert slot() is None


@tensorflow_only
@plain_of_each
def test_a_step_needs_no_temporary_of_the_weights_size(name):
    # The kernel alone touches the large weight: no other operation has an output of its size.
    variables = as_variables([np.zeros((64, 64))])
    graph = graph_of_step(getattr(ours, name)(), variables, variables_like(variables))
    large = [
        op.type
        for op in graph.get_operations()
        for output in op.outputs
        if output.shape.rank == 2 and op.type != "Placeholder"
    ]
    assert large == []
