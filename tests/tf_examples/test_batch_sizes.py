"""Section `batch_sizes`: gradient noise, and what a batch of each size costs and brings."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from custom_optimizers import GradientDescent
from tf_examples import batch_sizes as section
from tf_examples._options import OptionError

X, Y = section.X.numpy().astype("float64"), section.Y.numpy()
START = np.zeros((65, 10), "float32")


@pytest.fixture(scope="module")
def result():
    return section.run(**section.QUICK)


@pytest.fixture(scope="module")
def steps(result):
    return {a.batch_size: np.median(a.steps) for a in result.arrivals}


@pytest.fixture(scope="module")
def distances():
    """Of the linear scaling rule, with the rule and without: medians, (factors, rates)."""
    sweep = section.compile_sweep(section.SMALL_RATES, range(3))
    return [np.median(section.scaling_distances(sweep, scaled), axis=2) for scaled in (True, False)]


def transcript_loss(w, x=X, y=Y):
    """J in float64, as the formula reads."""
    scores = x @ w
    right = scores[np.arange(len(x)), y]
    return (np.log(np.exp(scores).sum(axis=1)) - right).mean() + 0.001 / 2 * (w**2).sum()


def transcript_gradient(w, x, y):
    """Its gradient by hand."""
    p = np.exp(x @ w)
    p /= p.sum(axis=1, keepdims=True)
    return x.T @ (p - np.eye(10)[y]) / len(x) + 0.001 * w


def some_weights():
    return np.random.default_rng(0).normal(size=(65, 10)).astype("float32")


def restrict(monkeypatch, count):
    """Leaves the section `count` examples."""
    monkeypatch.setattr(section, "X", section.X[:count])
    monkeypatch.setattr(section, "Y", section.Y[:count])
    monkeypatch.setattr(section, "EXAMPLES", count)


# The problem


def test_the_loss_is_the_formula_and_log_10_at_zero():
    w = some_weights()
    loss = float(section.loss_function(tf.constant(w), section.X, section.Y))
    assert loss == pytest.approx(transcript_loss(w.astype("float64")), rel=1e-5)
    assert transcript_loss(0 * w) == pytest.approx(math.log(10))
    np.testing.assert_allclose(X[:, :64].mean(axis=0), 0, atol=1e-6)
    assert (X[:, 64] == 1).all()


def test_at_the_minimum_of_scikit_learn_the_gradient_by_the_tape_is_zero():
    w = tf.Variable(section.minimum(), dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = section.loss_function(w, section.X, section.Y)
    assert float(tf.norm(tape.gradient(loss, w))) < 1e-6
    assert float(loss) < 0.26


def test_full_batch_descent_ends_at_the_minimum_of_scikit_learn():
    w = tf.Variable(START)
    section.descend(w, iter(section.pipeline(1024, 0)), tf.constant(10.0), tf.constant(800))
    least = transcript_loss(section.minimum())
    assert least <= transcript_loss(w.numpy().astype("float64")) < least + 1e-5


# Noise


def test_the_gradient_of_an_example_is_what_the_tape_finds():
    w = tf.Variable(some_weights())
    each = section.example_gradients(w.numpy())
    for rows in (slice(7, 8), slice(None)):
        with tf.GradientTape() as tape:
            loss = section.loss_function(w, section.X[rows], section.Y[rows])
        expected = (tape.gradient(loss, w) - section.DECAY * w).numpy().ravel()
        np.testing.assert_allclose(each[rows].mean(axis=0), expected, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_noise_formulas_are_the_mean_over_all_batches_there_are(monkeypatch, size):
    restrict(monkeypatch, 5)
    each = section.example_gradients(START)
    formulas = section.predicted_noise([size], START)[:, 0]
    for formula, batches in zip(
        formulas,
        (itertools.product(range(5), repeat=size), itertools.combinations(range(5), size)),
        strict=True,
    ):
        errors = [each[list(rows)].mean(axis=0) - each.mean(axis=0) for rows in batches]
        assert formula == pytest.approx(np.square(errors).sum(axis=1).mean(), abs=1e-9)


def test_measured_noise_lies_on_the_formulas_and_falls_as_one_over_b(result):
    predicted, measured = result.noise_predicted, result.noise_measured
    some = predicted > 0
    np.testing.assert_allclose(measured[some], predicted[some], rtol=0.08)
    sizes = np.array(section.QUICK["batch_sizes"])
    assert section.slope(sizes, measured[0]) == pytest.approx(-1, abs=0.02)
    assert measured[1, -1] < 1e-9 < measured[0, -1]  # all the data: no noise without replacement


def test_the_slope_is_the_exponent_of_a_power_law():
    assert section.slope(np.array([1.0, 2, 8]), 3 * np.array([1.0, 2, 8]) ** -0.5) == pytest.approx(
        -0.5
    )


# The pipeline


def test_each_epoch_has_every_example_once_in_an_order_known_in_advance():
    batches = section.pipeline(256, seed=3)
    labels = [y.numpy() for _, y in batches.take(12)]  # three epochs
    for epoch in range(3):
        rows = section.order(3, epoch).numpy()
        assert sorted(rows) == list(range(1024))
        np.testing.assert_array_equal(np.concatenate(labels[4 * epoch : 4 * epoch + 4]), Y[rows])
    again = [y.numpy() for _, y in batches.take(12)]
    np.testing.assert_array_equal(labels, again)


def test_order_depends_on_seed_and_epoch():
    orders = [section.order(*each).numpy() for each in ((0, 0), (0, 1), (1, 0))]
    for one, other in itertools.combinations(orders, 2):
        assert (one != other).any()


def test_an_incomplete_batch_is_left_out():
    batches = list(section.pipeline(300, seed=0).take(4))
    assert {len(y) for _, y in batches} == {300}
    np.testing.assert_array_equal(batches[3][1], Y[section.order(0, 1).numpy()[:300]])


def test_a_seed_alone_does_not_fix_the_order_of_shuffle():
    shuffled = tf.data.Dataset.range(8).shuffle(8, seed=1).batch(4)
    assert section.batches_of(shuffled) != section.batches_of(shuffled)


def test_a_small_buffer_hardly_shuffles():
    eight = tf.data.Dataset.range(8)
    assert {int(next(iter(eight.shuffle(2, seed=seed)))) for seed in range(9)} == {0, 1}


# The three tellings


def test_the_three_tellings_agree_with_the_float64_transcript():
    w = np.zeros((65, 10))
    for batch in np.split(section.order(5, 0).numpy(), 32):
        w -= 0.4 * transcript_gradient(w, X[batch], Y[batch])
    tellings = section.three_tellings(32, 0.4, seed=5)
    assert len(tellings) == 3
    for telling in tellings.values():
        np.testing.assert_allclose(telling, w, atol=2e-6)


def test_the_custom_optimizer_is_the_one_that_moves_the_weights():
    w, optimizer = tf.Variable(START), GradientDescent(0.0)
    section.descend_with(optimizer, w, section.pipeline(64, 0), 3)
    assert int(optimizer.iterations) == 3
    assert not w.numpy().any()


# Sweeps


def test_a_run_of_a_sweep_is_the_run_alone():
    sweep = section.compile_sweep(np.array([0.1, 0.5]), [4, 9])
    losses, together = sweep(128, [1, 20], 0.0, 2.0)  # in the third epoch, at twice the rates
    for (i, rate), (j, seed) in itertools.product(enumerate((0.2, 1.0)), enumerate((4, 9))):
        alone = tf.Variable(START)
        batches = iter(section.pipeline(128, seed))
        section.descend(alone, batches, tf.constant(rate), tf.constant(20))
        np.testing.assert_allclose(together[i, j], alone, atol=1e-5)
        assert float(losses[1, i, j]) == pytest.approx(transcript_loss(alone.numpy()), rel=1e-5)


def test_a_sweep_stops_when_all_seeds_of_a_rate_have_been_at_the_target():
    sweep = section.compile_sweep(np.array([0.01, 2.0]), range(3))
    losses = sweep(64, range(1, 100), 1.0, 1.0)[0].numpy()
    there = (losses <= 1).any(axis=0).all(axis=1)
    assert list(there) == [False, True]
    assert not (losses[:-1] <= 1).any(axis=0).all(axis=1).any()


def test_all_runs_as_one_are_the_same_as_one_after_the_other():
    sweep = section.compile_sweep(section.RATES, range(4))
    sweep(64, [1], 0.0, 1.0)
    _, *others = section.time_sweeps(sweep, range(4)).rows
    assert len(others) == 2
    for *_, difference in others:
        assert difference < 1e-5


# The largest useful batch


def test_small_batches_halve_the_steps_when_doubled_and_large_ones_do_not(steps):
    assert 6.8 < steps[1] / steps[8] < 9.2
    assert steps[256] / steps[1024] < 2


def test_the_best_rate_grows_in_proportion_up_to_the_bend_only(result):
    rate = {a.batch_size: a.learning_rate for a in result.arrivals}
    assert 5.6 < rate[8] / rate[1] < 11.4
    assert rate[1024] / rate[64] < 4


def test_the_bend_is_near_the_noise_scale_of_a_run(result):
    assert 60 < result.critical_batch_size < 250
    assert 0.4 < result.noise_scale_mean / result.critical_batch_size < 2.5
    assert result.noise_scale_start < result.noise_scale_mean / 2


def test_the_noise_scale_is_trace_over_squared_gradient():
    w = some_weights().astype("float64")
    each = [transcript_gradient(w, X[[i]], Y[[i]]).ravel() for i in range(1024)]
    trace = np.trace(np.cov(np.transpose(each), bias=True))
    expected = trace / np.square(transcript_gradient(w, X, Y)).sum()
    assert section.noise_scale(w.astype("float32")) == pytest.approx(expected, rel=1e-4)


def arrival(batch_size, *steps):
    return section.Arrival(batch_size, 1.0, np.array([1]), np.ones((1, 1)), np.array(steps))


def test_the_fit_finds_the_law_that_made_the_steps():
    made = [arrival(b, 5 + 600 / b) for b in (1, 4, 32, 500)]
    assert section.fit_bend(made) == pytest.approx((5, 600))
    assert section.nearest(made, 120) is made[2]


def test_where_the_law_bends_outside_of_the_sizes_the_statement_says_so():
    flat, steep = ([arrival(b, steps / b**p) for b in (8, 64)] for p, steps in ((0, 385), (1, 640)))
    assert section.say_bend(flat) == "From 8 examples on a larger batch saves no steps"
    assert section.say_bend(steep) == "Up to 64 examples a larger batch saves steps"


def test_arriving_is_the_first_look_at_or_below_the_target(result):
    for a in result.arrivals:
        for seed, step in enumerate(a.steps):
            look = list(a.looks).index(step)
            assert a.losses[look, seed] <= result.target < a.losses[:look, seed].min(initial=9)


# By the epoch, by the second


def test_by_the_epoch_small_batches_are_as_good_as_any_but_take_far_more_steps(result, steps):
    examples = {size: size * taken for size, taken in steps.items()}
    assert examples[8] == pytest.approx(examples[1], rel=0.15)
    assert examples[1024] > 5 * examples[1]
    assert steps[1] > 30 * steps[64]
    assert all(seconds > 0 for seconds in result.seconds_a_step)


# The linear scaling rule


def test_the_rule_holds_where_the_large_rate_is_small_and_breaks_where_it_is_large(distances):
    products = np.outer(section.FACTORS, section.SMALL_RATES)
    assert distances[0][products <= 1.3].max() < 0.05
    assert distances[0][products >= 40].min() > 0.5


def test_each_line_begins_in_proportion(distances):
    np.testing.assert_allclose(distances[0][:, 1] / distances[0][:, 0], 2, atol=0.1)


def test_without_the_rule_a_kth_of_the_way_is_made(distances):
    np.testing.assert_allclose(distances[1][:, 0], 1 - 1 / np.array(section.FACTORS), atol=0.01)


# Try it


def test_try_it_an_earlier_target_has_a_smaller_critical_batch_size(result):
    sweep = section.compile_sweep(section.RATES, range(3))
    sizes = section.QUICK["batch_sizes"]
    early = [section.arrive(sweep, section.RATES, size, 0.6) for size in sizes]
    least_steps, least_examples = section.fit_bend(early)
    assert least_examples / least_steps < 0.8 * result.critical_batch_size


def test_try_it_at_one_shared_rate_larger_batches_look_like_a_waste():
    shared = section.run(batch_sizes=[16, 64, 1024], learning_rate=0.4, seeds=2)
    assert {a.learning_rate for a in shared.arrivals} == {0.4}
    assert len({float(np.median(a.steps)) for a in shared.arrivals}) == 1
    assert shared.figure().statement == "From 16 examples on a larger batch saves no steps"


def test_try_it_sorted_examples_are_forgotten(monkeypatch):
    def losses():
        tellings = section.three_tellings(32, 4.0, seed=0).values()
        return [transcript_loss(w.astype("float64")) for w in tellings]

    shuffled = losses()
    monkeypatch.setattr(section, "order", lambda seed, epoch: tf.argsort(section.Y))
    assert min(losses()) > 3 * max(shuffled)


# Options and results


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"batch_sizes": [1, 2048]}, "`batch_sizes` must be at most 1024, .*Received: 2048"),
        ({"batch_sizes": [0, 8]}, "`batch_sizes` must be an integer of at least 1.*=0"),
        ({"batch_sizes": [8, 8]}, r"at least two different sizes. Received: \[8, 8\]"),
        ({"batch_sizes": []}, "at least two different sizes"),
        ({"target": 0.25}, r"`target` must be a number in \(0.25\d\d, 2.3026\).*0.25"),
        ({"target": 3.0}, "`target` must be a number in"),
        ({"learning_rate": 0.0}, r"`learning_rate` must be a number in \(0, inf\)"),
        ({"learning_rate": math.nan}, "learning_rate=nan"),
        ({"seeds": 0}, "`seeds` must be an integer of at least 1"),
        ({"seed": -1}, "`seed` must be an integer of at least 0"),
    ],
)
def test_an_option_out_of_range_is_named(option, message):
    with pytest.raises(OptionError, match=message):
        section.run(**option)


def test_a_target_that_is_not_reached_is_named(monkeypatch):
    monkeypatch.setattr(section, "LIMIT", 30)
    with pytest.raises(OptionError, match=r"`target` isn't reached within \d\d steps .* of 256"):
        section.run(batch_sizes=[1024, 256], learning_rate=1e-6, seeds=1)


def test_a_run_that_overflows_names_the_step_and_the_reason():
    with pytest.raises(
        FloatingPointError, match=r"by step \d+ with batches of 512 .* by -2 a step"
    ):
        section.run(batch_sizes=[512, 1024], learning_rate=3000.0, seeds=1)


def test_the_seed_decides_the_runs():
    sweep = section.compile_sweep(np.array([1.0]), [0, 1])
    losses = sweep(8, [50], 0.0, 1.0)[0].numpy()
    assert losses[0, 0, 0] != losses[0, 0, 1]


def test_table_and_pictures_say_the_numbers_of_the_result(result, steps):
    table = result.table()
    assert [row[0] for row in table.rows] == section.QUICK["batch_sizes"]
    assert f"Beyond about {result.critical_batch_size:.0f} examples" in table.title
    assert result.tellings_differ < 1e-5
    figure = result.figure()
    assert figure.encoded().startswith(b"\x89PNG")
    assert f"{result.critical_batch_size:.0f} examples" in figure.statement
    assert f"with batches of 1: {steps[1]:.0f}, 8: {steps[8]:.0f}, " in figure.alt

    noise = section.draw_noise(
        section.QUICK["batch_sizes"], result.noise_predicted, result.noise_measured
    )
    assert "falls as 1/B: the fitted exponent is -" in noise.statement
    costs = section.draw_costs(result.arrivals[:3], result.seconds_a_step[:3])
    assert f"batches of 8 after {8 * steps[8] / 1024:.2f} epochs" in costs.alt
    scaling = section.draw_scaling(result.distances)
    assert "From 40 on: at least" in scaling.statement
    assert f"for k = 4 from {np.median(result.distances[0, 0]):.2%} at 0.04" in scaling.alt
