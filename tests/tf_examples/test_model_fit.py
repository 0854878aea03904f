"""Section `model_fit`: the optimizers on handwritten digits, beside Keras's own."""

import json
import math

import keras
import numpy as np
import pytest
import rich.console
import tensorflow as tf

import custom_optimizers
from custom_optimizers import Adam, GradientDescent, Momentum
from tf_examples import _data, _report
from tf_examples import model_fit as section
from tf_examples._options import OptionError


@pytest.fixture(scope="module")
def digits():
    return _data.digits()


@pytest.fixture(scope="module")
def result():
    return section.run(epochs=3, seeds=2)


@pytest.fixture(scope="module")
def adam(digits):
    """Adam as in the notebook."""
    return section.train(Adam(section.RATES["Adam"]), digits, epochs=30, seeds=range(5))


def same_bits(these, those):
    return all(
        np.asarray(w).tobytes() == np.asarray(v).tobytes()
        for w, v in zip(these, those, strict=True)
    )


def gradients(weights, x, y):
    """The chain rule of the net by hand, float64."""
    W1, b1, W2, b2 = weights
    a = x @ W1 + b1
    h = np.maximum(a, 0)
    z = h @ W2 + b2
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    d = (p - np.eye(10)[y]) / len(x)
    e = d @ W2.T * (a > 0)
    return x.T @ e, e.sum(axis=0), h.T @ d, d.sum(axis=0)


def transcript(weights, digits, batches, learning_rate, momentum=0.0):
    """Gradient descent with momentum in float64, one batch a step."""
    weights = [w.astype("float64") for w in weights]
    velocities = [np.zeros_like(w) for w in weights]
    for batch in batches:
        slopes = gradients(weights, digits.x_train[batch].astype("float64"), digits.y_train[batch])
        velocities = [
            momentum * v - learning_rate * g for v, g in zip(velocities, slopes, strict=True)
        ]
        weights = [w + v for w, v in zip(weights, velocities, strict=True)]
    return weights


def test_the_digits_are_those_of_the_text(digits):
    assert len(digits.x_train) + len(digits.x_test) == 1797
    assert len(digits.x_test) / 1797 == pytest.approx(1 / 5, abs=0.001)
    assert 100 / len(digits.x_test) == pytest.approx(0.3, abs=0.03)  # points, one test digit
    assert len(digits.x_train) // 64 == 22


def test_the_net_has_the_parameters_that_are_counted_by_hand():
    counted = 64 * 32 + 32 + 32 * 10 + 10
    assert sum(w.size for w in section.start_weights(32, seed=0)) == counted
    assert section.build_model(32).count_params() == counted


def test_a_net_that_guesses_has_the_logarithm_of_ten_for_its_loss(digits):
    nothing = [np.zeros_like(w) for w in section.start_weights(32, seed=0)]
    loss, _, accuracy = section.measure(nothing, digits).numpy()
    assert loss == pytest.approx(math.log(10))
    assert accuracy == pytest.approx(0.1, abs=0.01)
    start, _, accuracy = section.measure(section.start_weights(32, seed=0), digits).numpy()
    assert start == pytest.approx(math.log(10), abs=0.3)
    assert accuracy < 0.25


def test_the_bare_net_and_its_keras_model_say_the_same(digits):
    weights = section.start_weights(32, seed=1)
    model = section.build_model(32)
    model.set_weights(weights)
    z = section.outputs(weights, digits.x_test)
    np.testing.assert_allclose(z, model(digits.x_test), atol=1e-5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert float(section.loss_function(weights, digits.x_test, digits.y_test)) == pytest.approx(
        float(loss(digits.y_test, model(digits.x_test))), rel=1e-5
    )


def test_the_order_of_the_batches_depends_on_seed_and_epoch_alone():
    def order(seed, *epochs):
        return section.order(1437, 64, seed, range(*epochs))

    np.testing.assert_array_equal(order(5, 4)[2 * 22 :], order(5, 2, 4))
    assert order(5, 1).shape == (22, 64)
    assert len(np.unique(order(5, 1))) == 22 * 64  # no digit twice
    for other in (order(6, 1), order(5, 1, 2)):
        assert (order(5, 1) != other).mean() > 0.9
    assert set(range(1437)) == set(order(5, 9).ravel())  # none is left out for good


def test_the_three_tellings_of_an_epoch_end_at_the_float64_transcript(digits):
    start = section.start_weights(32, seed=0)
    batches = section.order(1437, 64, seed=0, epochs=range(1))
    expected = transcript(start, digits, batches, 0.3)

    bare = [tf.Variable(w) for w in start]
    section.descend(bare, digits, tf.constant(batches), 0.3)
    custom = [tf.Variable(w) for w in start]
    optimizer = GradientDescent(0.3)
    section.descend_with(optimizer, custom, digits, batches)
    fitted = section.train(GradientDescent(0.3), digits, epochs=1, seeds=[0]).weights[0]

    assert int(optimizer.iterations) == len(batches) == 22
    assert same_bits(bare, custom)
    for weights in (bare, fitted):
        for w, v in zip(weights, expected, strict=True):
            np.testing.assert_allclose(w, v, atol=1e-6)
    assert section.largest_gap(start, fitted) > 0.1
    assert section.measure(fitted, digits)[0] < 0.7 * section.measure(start, digits)[0]


def test_fit_with_momentum_ends_at_the_float64_transcript(digits):
    batches = section.order(1437, 64, seed=3, epochs=range(2))
    expected = transcript(section.start_weights(32, seed=3), digits, batches, 0.1, momentum=0.9)
    fitted = section.train(Momentum(0.1, momentum=0.9), digits, epochs=2, seeds=[3]).weights[0]
    for w, v in zip(fitted, expected, strict=True):
        np.testing.assert_allclose(w, v, atol=1e-5)


def test_every_rule_of_the_package_is_held_against_its_twin_in_keras():
    assert list(section.PAIRS) == list(section.RATES)
    ours = {name: pair.ours(0.1) for name, pair in section.PAIRS.items()}
    assert {type(each).__name__ for each in ours.values()} == set(custom_optimizers.__all__)
    for name, pair in section.PAIRS.items():
        assert type(ours[name]).__module__.startswith("custom_optimizers.")
        twin = pair.keras(0.1)
        assert type(twin).__module__.startswith("keras.")
        shared = ours[name].get_config().keys() & twin.get_config().keys() - {"name"}
        assert shared >= {"learning_rate"}
        for key in shared:
            assert ours[name].get_config()[key] == twin.get_config()[key], (name, key)
    assert ours["Nesterov"].nesterov
    assert not ours["Momentum"].nesterov


def test_every_optimizer_learns_and_keeps_to_the_curve_of_its_twin(result):
    assert list(result.twins) == list(section.PAIRS)
    for name, twin in result.twins.items():
        assert twin.ours.train_loss.shape == twin.keras.test_accuracy.shape == (2, 4)
        assert (twin.ours.train_loss[:, -1] < 0.4 * twin.ours.train_loss[:, 0]).all(), name
        assert (twin.ours.test_accuracy[:, -1] > 0.8).all(), name
        assert twin.losses_apart() < 1e-4, name
        assert twin.weights_apart < 1e-4, name
        if name not in ("Adagrad", "RMSprop", "Adam"):
            assert twin.weights_apart == 0, name


def test_the_gap_of_two_trainings_is_seen(digits):
    one, two = (
        section.train(GradientDescent(r), digits, epochs=1, seeds=[0]) for r in (0.3, 0.301)
    )
    assert section.largest_gap(one.weights[0], two.weights[0]) > 1e-4
    twins = section.Twins(0.3, one.curves, two.curves, 0.0)
    expected = np.abs(one.curves.train_loss / two.curves.train_loss - 1).max()
    assert twins.losses_apart() == pytest.approx(expected, rel=1e-3)
    assert expected > 1e-4


def test_each_seed_starts_afresh_weights_and_optimizer(digits):
    """What is compiled serves every seed; nothing of one may reach the next."""
    both = section.train(Adam(0.01), digits, epochs=2, seeds=[0, 1])
    alone = section.train(Adam(0.01), digits, epochs=2, seeds=[1])
    assert same_bits(both.weights[1], alone.weights[0])
    assert not same_bits(both.weights[0], both.weights[1])


def test_a_nudge_grows_and_in_some_nets_a_thousand_times(digits):
    grown = [section.growth(1e-5, digits, seed) for seed in range(5)]
    assert min(grown) > 2
    assert max(grown) > 1000


def test_no_net_is_clear_of_logistic_regression(digits, adam):
    known, unseen = section.linear_baseline(digits)
    assert 0.95 < unseen < known < 1
    right = adam.curves.test_accuracy[:, -1]
    assert np.median(right) == pytest.approx(unseen, abs=0.01)
    assert np.median(adam.curves.train_accuracy[:, -1]) > known


def test_cosine_decay_is_the_formula():
    steps = np.arange(101)
    schedule = section.rate("Adam", 2.0, "cosine", steps=100)
    expected = 0.02 / 2 * (1 + np.cos(np.pi * steps / 100))
    np.testing.assert_allclose([float(schedule(t)) for t in steps], expected, atol=1e-8)
    assert expected.mean() == pytest.approx(0.01)  # half of where it starts
    assert section.rate("Adam", 2.0) == 0.02


@pytest.mark.parametrize("name", ["Adam", pytest.param("GradientDescent", marks=pytest.mark.slow)])
def test_a_schedule_steadies_the_end_and_does_not_lower_the_loss(digits, adam, name):
    def curves(rate):
        return section.train(section.PAIRS[name].ours(rate), digits, 30, range(5)).curves

    constant = adam.curves if name == "Adam" else curves(section.RATES[name])
    cosine = curves(section.rate(name, 1, "cosine", steps=30 * 22))
    loss, decayed = (np.median(curves.train_loss[:, -1]) for curves in (constant, cosine))
    assert decayed > 1.5 * loss
    assert section.last_epochs_move(constant) > 0.5 > 0.2 > section.last_epochs_move(cosine)
    right, steadied = (np.median(curves.test_accuracy[:, -1]) for curves in (constant, cosine))
    assert abs(right - steadied) < 5 / len(digits.x_test)
    picture = section.draw_schedules(constant, cosine, name)
    assert f"{section.last_epochs_move(constant):.1f} points" in picture.statement
    assert picture.encoded().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Adam(section.rate("Adam", 1, "cosine", steps=4 * 22)),
        lambda: section.PAIRS["Nesterov"].ours(0.1),
    ],
)
def test_a_training_in_two_parts_ends_at_the_bits_of_an_undisturbed_one(digits, make):
    whole = section.train(make(), digits, epochs=4, seeds=[2]).weights[0]
    resumed = section.train_in_two_parts(make(), digits, epochs=4, seed=2)
    assert type(resumed.optimizer) is type(make())
    assert resumed.optimizer.get_config() | {"name": ""} == make().get_config() | {"name": ""}
    assert int(resumed.optimizer.iterations) == 4 * 22
    assert same_bits(whole, resumed.get_weights())
    forgetful = section.train_in_two_parts(make(), digits, epochs=4, seed=2, fresh=make)
    assert section.largest_gap(whole, forgetful.get_weights()) > 0.01


def test_misread_digits_are_counted_over_the_nets(digits):
    def net_that_reads(digit):
        weights = [np.zeros_like(w) for w in section.start_weights(4, seed=0)]
        weights[3][digit] = 1
        return weights

    counts, taken_for = section.misread_by([net_that_reads(d) for d in (3, 3, 7)], digits)
    np.testing.assert_array_equal(counts, 3 - 2 * (digits.y_test == 3) - (digits.y_test == 7))
    np.testing.assert_array_equal(taken_for, np.where(digits.y_test == 3, 7, 3))


def test_nets_from_different_starts_misread_the_same_digits(digits, adam):
    counts, taken_for = section.misread_by(adam.weights, digits)
    share = counts.sum() / (5 * len(counts))
    # If each of five nets missed this share at random, ten of these would bound what most miss.
    by_chance = len(counts) * 10 * share**3
    most = np.sum(counts > 2.5)
    assert most >= 4 > 10 * by_chance
    picture = section.draw_misread(counts, taken_for, 5, digits)
    hardest = np.argmax(counts)
    assert picture.statement.startswith(f"{most} of 360 unseen digits")
    assert f"{digits.y_test[hardest]} read as {taken_for[hardest]}, {counts[hardest]}x" in (
        picture.alt
    )
    assert picture.encoded().startswith(b"\x89PNG")


def test_the_picture_of_the_digits_can_be_drawn(digits):
    assert section.draw_digits(digits).encoded().startswith(b"\x89PNG")


def test_try_it_all_digits_in_one_batch_learn_far_less_in_as_many_epochs(digits):
    def loss(batch_size):
        trained = section.train(GradientDescent(0.3), digits, 10, [0], batch_size=batch_size)
        return trained.curves.train_loss[0, -1]

    assert loss(1437) > 5 * loss(64)


def test_try_it_weights_that_start_at_zero_stay_there_but_for_the_last_biases(digits):
    weights = [tf.Variable(tf.zeros_like(w)) for w in section.start_weights(32, seed=0)]
    batches = section.order(1437, 64, seed=0, epochs=range(2))
    section.descend_with(Adam(0.01), weights, digits, batches)
    assert [bool(np.any(w)) for w in weights] == [False, False, False, True]
    assert len(set(section.read(weights, digits.x_test))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", section.PAIRS)
def test_the_notebooks_claims_hold_at_its_size(digits, name):
    twin, _ = section.train_twins(name, digits, epochs=30, seeds=range(5))
    assert twin.losses_apart() < 0.05
    right = np.percentile(twin.ours.test_accuracy[:, -1], (25, 50, 75))
    assert abs(right[1] - section.linear_baseline(digits)[1]) < 0.01
    assert right[2] - right[0] < 0.02
    assert np.median(twin.ours.train_accuracy[:, -1]) > 0.98
    if name != "Adam":
        assert twin.weights_apart < 1e-5
    # Try it: three times the rate.
    faster = section.train(section.PAIRS[name].ours(section.rate(name, 3)), digits, 30, range(5))
    loss, lower = (np.median(c.train_loss[:, -1]) for c in (twin.ours, faster.curves))
    assert lower < loss / 2
    assert abs(np.median(faster.curves.test_accuracy[:, -1]) - right[1]) < 0.015


@pytest.mark.parametrize("name", ["GradientDescent", "Adam"])
def test_a_run_that_diverges_names_optimizer_seed_and_epoch(name):
    message = rf"^{name} diverges with seed 4: the loss is (nan|inf) after epoch \d of 2; a smaller"
    with pytest.raises(FloatingPointError, match=message):
        section.run(optimizers=[name], learning_rate_factor=1e36, epochs=2, seeds=1, seed=4)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"epochs": 0}, "`epochs` must be an integer of at least 1. Received: epochs=0"),
        ({"seeds": 0}, "`seeds` must be an integer of at least 1"),
        ({"units": 0}, "`units` must be an integer of at least 1"),
        ({"seed": -1}, "`seed` must be an integer of at least 0"),
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1"),
        ({"batch_size": 1438}, "`batch_size` must be at most 1437, .* batch_size=1438"),
        ({"learning_rate_factor": -1.0}, r"`learning_rate_factor` must be a number in \[0, inf\)"),
        ({"learning_rate_factor": math.nan}, "learning_rate_factor=nan"),
        ({"optimizers": ["Adam", "adagard"]}, "'adagard'. Did you mean Adagrad"),
        ({"optimizers": ["LAMB?"]}, "`optimizers` must be out of GradientDescent, .*'LAMB\\?'$"),
        ({"schedule": "linear"}, "`schedule` must be .*Received: schedule='linear'"),
    ],
)
def test_an_option_out_of_range_is_named(option, message):
    with pytest.raises(OptionError, match=message):
        section.run(**option)


def test_options_reach_the_training(digits):
    run = section.run(
        optimizers=["Adam", "Adam"],
        epochs=2,
        seeds=1,
        seed=1,
        batch_size=100,
        units=8,
        learning_rate_factor=2.0,
        schedule="cosine",
    )
    schedule = keras.optimizers.schedules.CosineDecay(0.02, 2 * 14)
    expected = section.train(Adam(schedule), digits, 2, [1], batch_size=100, units=8).curves
    assert list(run.twins) == ["Adam"]
    np.testing.assert_array_equal(run.twins["Adam"].ours.train_loss, expected.train_loss)
    assert run.twins["Adam"].losses_apart() < 1e-4
    assert run.twins["Adam"].learning_rate == 0.02
    assert run.parameters == 64 * 8 + 8 + 8 * 10 + 10
    assert run.resumed_apart == 0
    assert "cosine decay" in run.table().title
    assert "1 seed;" in run.table().title


def test_after_a_single_epoch_there_is_nothing_to_resume():
    run = section.run(optimizers=["Momentum"], epochs=1, seeds=1)
    assert run.resumed_apart is None
    assert "resumed" not in run.table().title


def test_the_table_says_the_numbers_of_the_result_in_eighty_columns(result):
    table = result.table()
    assert [row[0] for row in table.rows] == list(result.twins)
    adam = table.rows[-1]
    accuracy = 100 * result.twins["Adam"].ours.test_accuracy[:, -1]
    assert adam[4] == pytest.approx(np.median(accuracy))
    assert adam[5] == pytest.approx(np.ptp(accuracy) / 2)  # the quartiles of two numbers
    assert result.resumed_apart == 0
    assert "Adam saved half-way, loaded and resumed: the same bits" in table.title
    assert f"test {100 * result.baseline[1]:.1f} % of 360" in table.title
    for terminal in (True, False):
        console = rich.console.Console(width=80, force_terminal=terminal, color_system=None)
        with console.capture() as capture:
            console.print(table)
        assert "…" not in capture.get()
        assert "GradientDescent" in capture.get()
        assert "after 3 epochs, medians of 2 seeds; 2410 parameters" in capture.get()


def test_each_column_of_the_table_has_its_own_numbers():
    def curves(*last):
        train, test = (np.array([[0.0, share] for share in shares]) for shares in last)
        return section.Curves(np.ones_like(train), train, test)

    ours = curves([0.91, 0.92, 0.93, 0.94, 0.99], [0.81, 0.82, 0.85, 0.86, 0.87])
    keras_own = curves([0.5] * 5, [0.71, 0.72, 0.73, 0.76, 0.77])
    table = section.comparison({"Adam": section.Twins(0.02, ours, keras_own, 3e-5)}, "title")
    assert table.cells() == [["Adam", "0.02", "93.0", "2.0", "85.0", "4.0", "73.0", "4.0", "3e-05"]]


def test_the_picture_says_the_numbers_of_the_result(result):
    figure = result.figure()
    assert figure.encoded().startswith(b"\x89PNG")
    apart = max(twin.losses_apart() for twin in result.twins.values())
    assert f"within {100 * apart:.1g}%" in figure.statement
    for name, twin in result.twins.items():
        assert f"{name} falls from {np.median(twin.ours.train_loss[:, 0]):.2g} to" in figure.alt
    json.loads(_report.to_json(result))
