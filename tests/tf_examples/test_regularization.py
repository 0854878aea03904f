"""Section `regularization`: what narrows the gap between training and test digits."""

import inspect
import json
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_optimizers import Adam, GradientDescent
from tf_examples import _data, _report
from tf_examples import regularization as section
from tf_examples._options import OptionError
from tf_examples.regularization import Setting

CHOSEN = {
    "L2": Setting(l2=0.001),
    "L1": Setting(l1=0.0003),
    "weight decay": Setting(weight_decay=1.0),
    "dropout": Setting(dropout=0.8),
}
"""The strengths that validation chooses in the notebook; the slow test holds the choice."""


@pytest.fixture(scope="module")
def draws():
    """The notebook's 20 seeds of 100 digits."""
    return section.draw_digits(train_examples=100, seeds=20)


@pytest.fixture(scope="module")
def plain(draws):
    """Steps, and measures without a remedy: (measurements, 1, 20)."""
    return section.train([Setting()], draws, every=5)


@pytest.fixture(scope="module")
def remedies(draws):
    """The end of each chosen remedy, and of the strongest of each: (4, 20) of both."""
    strongest = [Setting(**{name: values[-1]}) for name, values in section.GRID.items()]
    _, measures = section.train([*CHOSEN.values(), *strongest], draws, every=200)
    return measures.at(-1, slice(0, 4)), measures.at(-1, slice(4, 8))


@pytest.fixture(scope="module")
def patients():
    return section.patients()


@pytest.fixture(scope="module")
def paths(patients):
    return section.fit_paths(*patients)


@pytest.fixture(scope="module")
def small():
    """A run of seconds, with one strength of each remedy."""
    return section.run(
        train_examples=40,
        seeds=3,
        steps=60,
        units=16,
        patience=1,
        l2=0.001,
        l1=0.0003,
        weight_decay=1.0,
        dropout=0.5,
    )


# The nets.


def transcript(setting, start, x, y, noises, learning_rate=0.01):
    """The training loss of one net at the start and after each step of Adam, in float64."""
    W1, b1, W2, b2 = weights = [w.astype("float64") for w in start]
    m, v = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    x, right, losses = x.astype("float64"), np.eye(10)[y], []
    for t, noise in enumerate([*noises, None], 1):
        for mask in (1.0, 0.0 if noise is None else (noise >= setting.dropout)):
            scale = 1.0 if np.isscalar(mask) else 1 / (1 - setting.dropout)
            a = x @ W1 + b1
            h = np.maximum(a, 0) * mask * scale
            z = h @ W2 + b2
            p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
            if np.isscalar(mask) and mask:
                losses.append(-np.log(p[np.arange(len(y)), y]).mean())
        if noise is None:
            return losses
        dz = (p - right) / len(x)
        da = dz @ W2.T * mask * scale * (a > 0)
        gradients = [x.T @ da, da.sum(0), h.T @ dz, dz.sum(0)]
        for i, (w, g) in enumerate(zip(weights, gradients, strict=True)):
            if i in (0, 2):
                g = g + 2 * setting.l2 * w + setting.l1 * np.sign(w)
                w -= learning_rate * setting.weight_decay * w
            m[i] += 0.1 * (g - m[i])
            v[i] += 0.001 * (g**2 - v[i])
            m_hat, v_root = m[i] / (1 - 0.9**t), np.sqrt(v[i])
            w -= learning_rate * m_hat / (v_root + 1e-7) * np.sqrt(1 - 0.999**t)
    return losses


def test_every_net_of_a_batch_follows_its_float64_transcript():
    draws = section.draw_digits(train_examples=30, seeds=2)
    settings = [
        Setting(),
        Setting(l2=0.01),
        Setting(l1=0.003),
        Setting(weight_decay=3.0),
        Setting(dropout=0.5),
        Setting(l2=0.003, l1=0.001, weight_decay=1.0, dropout=0.25),
    ]
    steps, measures = section.train(settings, draws, units=8, steps=6, every=1, seed=4)
    assert list(steps) == list(range(7))
    noise = [tf.random.stateless_uniform((2, 30, 8), [4, step]).numpy() for step in range(6)]
    for i, setting in enumerate(settings):
        for each in range(2):
            start = section.start_weights(8, (4, each))
            own = [n[each] for n in noise]
            expected = transcript(setting, start, draws.x[each], draws.y[each], own)
            np.testing.assert_allclose(measures.train_loss[:, i, each], expected, rtol=1e-5)


def test_each_seed_has_its_own_digits_and_no_digit_is_used_twice(draws):
    pool = {image.tobytes() for image in _data.digits().x_train}
    assert draws.x.shape == (20, 100, 64)
    assert draws.x_validation.shape == (20, 200, 64)
    for x, x_validation in zip(draws.x[:3], draws.x_validation[:3], strict=True):
        used = {image.tobytes() for image in (*x, *x_validation)}
        assert len(used) == 300
        assert used <= pool
    assert not np.array_equal(draws.x[0], draws.x[1])
    np.testing.assert_array_equal(draws.x_test, _data.digits().x_test)


def test_the_seed_decides_the_draw_and_the_first_weights(draws):
    again, other = (section.draw_digits(100, 2, seed) for seed in (0, 1))
    np.testing.assert_array_equal(again.x, draws.x[:2])
    assert not np.array_equal(again.x, other.x)
    first, same, different = (section.start_weights(8, s)[0] for s in ((0, 0), (0, 0), (0, 1)))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, different)


def test_the_nets_know_their_digits_by_heart_and_misread_a_tenth_of_others(plain):
    end = plain[1].at(-1, 0)
    assert np.median(end.train_right) == 1
    assert np.median(end.train_loss) < 0.002
    assert 0.86 < np.median(end.test_right) < 0.91
    assert 0.35 < np.median(end.gap) < 0.6
    np.testing.assert_allclose(end.gap, end.test_loss - end.train_loss)


# Early stopping.


@pytest.mark.parametrize(
    ("losses", "patience", "expected"),
    [
        ([3, 2, 1, 2, 3, 0], 2, (2, 4)),  # gives up before the 0 is seen
        ([3, 2, 1, 2, 3, 0], 3, (5, 5)),
        ([3, 2, 1], 1, (2, 2)),
        ([1, 1, 1], 2, (0, 2)),  # no better is no progress
        ([1, 2], 5, (0, 1)),
    ],
)
def test_early_stopping_keeps_the_lowest_and_ends_when_patience_does(losses, patience, expected):
    assert section.early_stop(np.array(losses, float), patience) == expected


def test_keras_stops_where_the_rule_by_hand_stops(draws, plain):
    steps, measures = plain
    kept, ended = section.early_stop(measures.validation_loss[:, 0, 0], patience=4)
    model = section.build_model()
    model.set_weights(section.start_weights(128, (0, 0)))
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=4, restore_best_weights=True)
    section.fit(
        model,
        Adam(0.01),
        draws.x[0],
        draws.y[0],
        epochs=40,
        steps_per_epoch=5,
        callbacks=[stopping],
        validation_data=(draws.x_validation[0], draws.y_validation[0]),
        validation_batch_size=200,
    )
    assert 5 * (stopping.best_epoch + 1) == steps[kept] < steps[-1]
    assert 5 * (stopping.stopped_epoch + 1) == steps[ended]
    right = float(section.share_right(model(draws.x_test), draws.y_test))
    assert right == pytest.approx(measures.test_right[kept, 0, 0], abs=0.005)


def test_stopping_lowers_the_loss_but_not_the_mistakes(plain):
    steps, measures = plain
    kept = np.array([section.early_stop(v, 4)[0] for v in measures.validation_loss[:, 0].T])
    stopped, end = measures.at(kept, 0, np.arange(20)), measures.at(-1, 0)
    assert 20 <= np.median(steps[kept]) <= 45
    assert np.percentile(stopped.test_loss - end.test_loss, 75) < -0.01
    low, high = np.percentile(stopped.test_right - end.test_right, (25, 75))
    assert low <= 0 <= high


# The penalties, where the answer is known.


def test_the_diabetes_set_is_as_its_docstring_says():
    x, y = _data.diabetes()
    assert x.shape == (442, 10)
    assert x.dtype == y.dtype == np.float64
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(x.std(axis=0), 1)
    assert (y.min(), y.max()) == (25, 346)


def test_gradient_descent_reaches_ridge_and_lasso_at_every_strength(paths):
    """The norm is the largest difference, as a part of the largest weight of scikit-learn's."""
    for ours, oracle in ((paths.ridge, paths.ridge_oracle), (paths.lasso, paths.lasso_oracle)):
        assert ours.shape == (25, 10)
        apart, size = np.abs(ours - oracle).max(axis=1), np.abs(oracle).max(axis=1)
        assert (apart <= 1e-4 * size).all()
    assert max(paths.off()) < 1e-4


def test_ridge_is_the_closed_form(patients, paths):
    x, y = patients
    for l2, ours in zip(paths.l2, paths.ridge, strict=True):
        closed = np.linalg.solve(x.T @ x / len(x) + l2 * np.eye(10), x.T @ y / len(x))
        np.testing.assert_allclose(ours, closed[:, 0], atol=1e-4 * np.abs(closed).max())


def test_at_the_lasso_no_direction_leads_down(patients, paths):
    x, y = patients
    for l1, w in zip(paths.l1, paths.lasso, strict=True):
        slope = 2 * x.T @ (x @ w - y[:, 0]) / len(x)
        alive = w != 0
        np.testing.assert_allclose(slope[alive], -l1 * np.sign(w[alive]), atol=1e-3)
        assert (np.abs(slope[~alive]) <= l1 + 1e-3).all()


def test_l1_sets_weights_to_exactly_zero_and_l2_none(paths):
    np.testing.assert_array_equal(paths.lasso == 0, paths.lasso_oracle == 0)
    zeros = paths.zeros()
    assert zeros[0] == 0
    assert zeros[np.argmin(np.abs(paths.l1 - 10))] == 5
    assert zeros[-1] == 10
    assert (np.diff(zeros) < 0).any()  # one comes back as it changes its sign
    assert np.count_nonzero(paths.ridge) == paths.ridge.size


def test_off_demands_zeros_where_the_oracle_has_nothing_else(paths):
    wrong = section.Paths(**(vars(paths) | {"lasso": paths.lasso + 0.5}))
    assert wrong.off()[1] >= 0.5


def test_try_it_at_90_one_weight_is_left_and_at_100_none(patients):
    x, y = patients
    limit = 2 * np.abs(x.T @ y).max() / len(x)
    assert 90 < limit < 100
    for l1, left in ((90.0, 1), (100.0, 0)):
        w = tf.Variable(tf.zeros((10, 1), tf.float64))
        loss = partial(section.squared_error, x=x, y=y)
        section.descend_proximal(w, loss, l1, 1 / section.steepest(x), 2000)
        assert np.count_nonzero(w) == np.count_nonzero(section.lasso(x, y, l1)) == left


def test_the_soft_threshold_moves_to_zero_and_stops_there():
    moved = section.soft_threshold(tf.constant([3.0, 0.5, -0.5, -1.0, -3.0]), 1.0)
    np.testing.assert_array_equal(moved, [2, 0, 0, 0, -2])


def test_the_penalty_in_the_loss_never_lands_on_zero(patients):
    x, y = patients
    w = tf.Variable(tf.zeros((10, 1), tf.float64))
    section.descend(
        [w],
        lambda w: section.squared_error(w[0], x, y) + 10 * tf.reduce_sum(tf.abs(w[0])),
        1 / section.steepest(x),
        6000,
    )
    oracle = section.lasso(x, y, 10.0)
    assert np.count_nonzero(oracle) == 5
    assert np.count_nonzero(w) == 10
    assert np.abs(w[:, 0] - oracle).max() > 0.01 * np.abs(oracle).max()


def test_weight_decay_must_be_twice_the_strength_to_reach_ridge(patients):
    x, y = patients
    l2, rate = 0.1, 1 / (section.steepest(x) + 0.2)
    reached = {}
    for decay in (2 * l2, l2):
        w = tf.Variable(tf.zeros((10, 1), tf.float64))
        optimizer = GradientDescent(rate, weight_decay=decay)
        section.descend_with(optimizer, [w], lambda w: section.squared_error(w[0], x, y), 1500)
        reached[decay] = w.numpy()[:, 0]
    oracle = section.ridge(x, y, l2)
    size = np.abs(oracle).max()
    assert np.abs(reached[2 * l2] - oracle).max() < 1e-6 * size
    assert np.abs(reached[l2] - section.ridge(x, y, l2 / 2)).max() < 1e-6 * size
    assert np.abs(reached[l2] - oracle).max() > 0.05 * size


def test_total_and_ldl_cholesterol_pay_for_each_other_until_a_penalty_ends_it(patients, paths):
    x, _ = patients
    assert np.corrcoef(x[:, 4], x[:, 5])[0, 1] > 0.85
    total, ldl = paths.ridge[0, 4:6]
    assert total < -30
    assert ldl > 15
    assert np.abs(paths.ridge[8, 4:6]).max() < 10


# L2 against decay.


def test_l2_is_decay_of_twice_the_strength_for_gradient_descent(draws):
    nets = section.l2_and_decay("GradientDescent", draws)
    reference = nets["L2 in the loss"]
    assert section.off(nets["weight decay"], reference) < 1e-5
    assert section.off(nets["kernel_regularizer, fit"], reference) < 1e-5
    start = section.start_weights(128, (0, 0))
    assert section.off(start, reference) > 0.1  # they have come a long way


def test_l2_is_not_decay_for_adam(draws):
    nets = section.l2_and_decay("Adam", draws)
    reference = nets["L2 in the loss"]
    assert section.off(nets["weight decay"], reference) > 0.5
    assert section.off(nets["kernel_regularizer, fit"], reference) < 0.01
    sizes = {name: sum(np.square(w).sum() for w in net[0::2]) for name, net in nets.items()}
    assert sizes["weight decay"] > 2 * sizes["L2 in the loss"]


def test_off_is_relative_to_the_largest_weight():
    a, b = [np.array([1.0, 4.0])], [np.array([2.0, 4.0])]
    assert section.off(a, b) == 0.25


def fading_transcript(start, l2, steps):
    """Adam on the gradient of the penalty alone, in float64."""
    w, m, v = start.astype("float64"), 0.0, 0.0
    sizes = [np.abs(w).mean()]
    for t in range(1, steps + 1):
        g = 2 * l2 * w
        m, v = m + 0.1 * (g - m), v + 0.001 * (g**2 - v)
        w = w - 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-7)
        sizes.append(np.abs(w).mean())
    return np.array(sizes) / sizes[0]


def test_a_blank_pixel_fades_at_one_pace_under_l2_and_by_its_strength_under_decay(draws):
    blank = (draws.x[0] == 0).all(axis=0)
    assert blank.sum() == 10
    start = section.start_weights(128, (0, 0))[0][blank]
    for l2 in (0.001, 0.1):
        share = section.fade(start, l2, decoupled=False)
        np.testing.assert_allclose(share, fading_transcript(start, l2, 40), atol=1e-3)
        decay = section.fade(start, l2, decoupled=True)
        np.testing.assert_allclose(decay, (1 - 2 * 0.01 * l2) ** np.arange(41), rtol=1e-5)
    weak, strong = (section.fade(start, l2, decoupled=False) for l2 in (0.001, 0.1))
    np.testing.assert_allclose(weak, strong, atol=0.01)
    assert weak[10] < 0.35


@pytest.mark.parametrize("l2", [0.001, 0.1])
def test_adams_first_step_on_a_penalty_is_the_learning_rate_whatever_the_strength(l2):
    share = section.fade(np.ones(3, "float32"), l2, decoupled=False, steps=1)
    assert 1 - share[1] == pytest.approx(0.01, rel=0.01)


def test_try_it_with_a_large_epsilon_the_strength_counts_again(draws, monkeypatch):
    monkeypatch.setattr(section, "Adam", partial(Adam, epsilon=1.0))
    start = section.start_weights(128, (0, 0))[0][:10]
    weak, strong = (1 - section.fade(start, l2, False)[-1] for l2 in (0.001, 0.1))
    assert 90 < strong / weak < 110


# Dropout.


def test_the_mask_is_zero_below_the_rate_and_makes_up_for_it_above():
    mask = section.dropout_mask(tf.constant([0.0, 0.24, 0.25, 0.9]), 0.25)
    np.testing.assert_allclose(mask, [0, 0, 4 / 3, 4 / 3])
    np.testing.assert_array_equal(section.dropout_mask(tf.constant([0.0, 0.9]), 0.0), [1, 1])


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
def test_dropout_keeps_the_mean_and_adds_the_variance_of_the_formula(rate):
    h = np.random.default_rng(0).exponential(size=(50, 40)).astype("float32")
    by_hand, by_keras = section.dropout_statistics(h, rate)
    # 2,000 outputs under 200 masks: bounds of at least four standard errors
    for zeroed, mean, variance in (by_hand, by_keras):
        assert zeroed == pytest.approx(rate, abs=0.004)
        assert mean == pytest.approx(1, abs=0.02)
        assert variance == pytest.approx(1, abs=0.06)
    assert not np.array_equal(by_hand, by_keras)  # two programs, two generators


# What each remedy is worth.


def test_every_remedy_narrows_the_gap_for_three_seeds_in_four(plain, remedies):
    none, chosen = plain[1].at(-1, 0), remedies[0]
    for i, name in enumerate(CHOSEN):
        assert np.percentile(chosen.gap[i] - none.gap, 75) < 0, name
    assert np.median(chosen.gap[0]) < 0.85 * np.median(none.gap)


def test_dropout_narrows_the_gap_half_as_much_with_300_steps(draws, plain, remedies):
    _, longer = section.train([Setting(), CHOSEN["dropout"]], draws, steps=300, every=300)
    end = longer.at(-1)
    change = remedies[0].gap[3] - plain[1].at(-1, 0).gap
    change_of_longer = end.gap[1] - end.gap[0]
    assert 0.2 < np.median(change_of_longer) / np.median(change) < 0.75
    assert np.percentile(change, 75) < -0.01 < np.percentile(change_of_longer, 75)


def test_l2_alone_reads_more_digits_beyond_the_spread(plain, remedies):
    none, chosen = plain[1].at(-1, 0), remedies[0]
    points = 100 * (chosen.test_right - none.test_right)
    gained = dict(zip(CHOSEN, np.percentile(points, (25, 50, 75), axis=1).T, strict=True))
    low, middle, _ = gained.pop("L2")
    assert low >= 0
    assert 0.5 < middle < 2
    for name, (low, _, high) in gained.items():
        assert low <= 0 <= high, name


def test_far_too_much_of_a_remedy_leaves_no_gap_and_no_reader(remedies):
    strongest = remedies[1]
    assert (np.median(strongest.gap, axis=1) < 0.25).all()
    assert (np.median(strongest.train_loss, axis=1) > 1.6).all()
    assert (np.median(strongest.test_right, axis=1) < 0.5).all()


def test_try_it_four_times_the_digits_halve_the_gap_and_l2_gains_less(plain, remedies):
    more = section.draw_digits(train_examples=400, seeds=4)
    _, measures = section.train([Setting(), CHOSEN["L2"]], more, every=200)
    end, few = measures.at(-1), plain[1].at(-1, 0)
    ratio = np.median(end.gap[0]) / np.median(few.gap)
    assert 0.3 < ratio < 0.65
    gain, gain_of_few = (
        np.median(a - b)
        for a, b in (
            (end.test_right[1], end.test_right[0]),
            (remedies[0].test_right[0], few.test_right),
        )
    )
    assert gain < gain_of_few


def test_validation_chooses_the_strength_with_the_lowest_median_loss():
    losses = np.array([[3.0, 3.0, 0.0], [2.0, 2.0, 9.0], [4.0, 4.0, 4.0]])
    other = np.zeros((3, 3))
    assert section.choose({"l2": section.Measures(other, losses, other, other, other)}) == {"l2": 1}


def test_a_sweep_returns_to_each_remedy_its_own_nets():
    draws = section.draw_digits(train_examples=20, seeds=2)
    grid = {"l2": (0.0, 0.01), "weight_decay": (0.0, 5.0, 9.0)}
    ends = section.sweep(grid, draws, units=4, steps=5)
    assert {name: each.gap.shape for name, each in ends.items()} == {
        "l2": (2, 2),
        "weight_decay": (3, 2),
    }
    for name, i in (("l2", 1), ("weight_decay", 1)):
        _, alone = section.train([Setting(**{name: grid[name][i]})], draws, units=4, steps=5)
        np.testing.assert_allclose(ends[name].test_loss[i], alone.test_loss[-1, 0], rtol=1e-5)


@pytest.mark.slow
def test_the_full_run_chooses_the_strengths_and_says_what_the_notebook_says():
    result = section.run()
    assert result.strengths == {
        "L2": 0.001,
        "L1": 0.0003,
        "weight decay": 1.0,
        "dropout": 0.8,
    }
    none = result.found["none"]
    for name, each in result.found.items():
        if name != "none":
            assert np.percentile(each.gap - none.gap, 75) < 0, name
    more = {
        name: 100 * np.median(each.test_right - none.test_right)
        for name, each in result.found.items()
    }
    assert max(more, key=more.get) == "L2"
    assert more["L2"] == pytest.approx(1, abs=0.6)
    assert f"(L2); at most {more['L2']:+.1f} points" in result.figure().statement


# The section as a command.


def test_a_run_returns_every_remedy_and_the_oracles(small):
    assert list(small.found) == [
        "none",
        "early stopping",
        "L2",
        "L1",
        "weight decay",
        "dropout",
    ]
    assert all(each.gap.shape == (3,) for each in small.found.values())
    assert small.strengths == {"L2": 0.001, "L1": 0.0003, "weight decay": 1.0, "dropout": 0.5}
    assert small.kept.shape == (3,)
    assert max(small.paths.off()) < 1e-4
    assert small.decay_off["GradientDescent"] < 1e-5 < 0.1 < small.decay_off["Adam"]
    found = json.loads(_report.to_json(small))["found"]
    assert len(found["dropout"]["test_right"]) == 3


def test_a_net_without_strength_is_the_net_without_a_remedy():
    draws = section.draw_digits(train_examples=20, seeds=2)
    ends = section.sweep({"l2": (0.0,), "dropout": (0.0,)}, draws, units=4, steps=5)
    np.testing.assert_allclose(ends["l2"].gap, ends["dropout"].gap, rtol=1e-6)


def test_patience_decides_which_steps_a_run_keeps(small):
    draws = section.draw_digits(train_examples=40, seeds=3)
    steps, measures = section.train([Setting()], draws, units=16, steps=60, every=5)
    for each, losses in enumerate(measures.validation_loss[:, 0].T):
        assert small.kept[each] == steps[section.early_stop(losses, 1)[0]]
    patient = [steps[section.early_stop(v, 8)[0]] for v in measures.validation_loss[:, 0].T]
    assert (patient >= small.kept).all()
    assert (patient != small.kept).any()


def test_table_and_pictures_say_the_numbers_of_the_result(small, draws, plain):
    table = small.table()
    assert "40 training digits, 60 steps, 3 seeds" in table.title
    gaps = {row[0]: row[2] for row in table.rows}
    assert gaps["L1"] == pytest.approx(np.median(small.found["L1"].gap))
    assert max(len(line) for line in table.title.splitlines()) <= 80
    figure = small.figure()
    assert figure.encoded().startswith(b"\x89PNG")
    assert f"none {gaps['none']:.2f}" in figure.alt
    assert f"from {gaps['none']:.2f} to" in figure.statement

    kept = np.array([section.early_stop(v, 4)[0] for v in plain[1].validation_loss[:, 0].T])
    stopping = section.draw_stopping(*plain, kept)
    assert f"from step {plain[0][kept.min()]} to {plain[0][kept.max()]}" in stopping.alt

    lines = section.draw_paths(small.paths)
    assert "L1 sets 5 of 10 to 0 (at strength 10)" in lines.statement
    assert "10 at 1e+02, 5 at 10, 0 at 0.1" in lines.alt

    share = np.linspace(1, 0, 41)
    fading = section.draw_fading({(l2, d): share for l2 in (0.001, 0.1) for d in (False, True)})
    assert "L2 at strength 0.1: 75% after 10 steps" in fading.alt
    assert "0.001 or 0.1" in fading.statement

    strengths = section.draw_strengths(small.grid, small.ends)
    assert "dropout: the test loss is lowest, " in strengths.alt
    for picture in (stopping, lines, fading, strengths):
        assert picture.encoded().startswith(b"\x89PNG")


def test_a_run_that_overflows_names_the_setting_and_the_step():
    with pytest.raises(FloatingPointError, match=r"by step \d+ of 100 with {'weight_decay': 1000"):
        section.run(train_examples=10, seeds=1, steps=100, units=4, weight_decay=1000.0)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"train_examples": 0}, "`train_examples` must be an integer of at least 1"),
        ({"train_examples": 1238}, "at most 1237: 200 digits are for validation.*=1238"),
        ({"seeds": 0}, "`seeds` must be an integer of at least 1"),
        ({"steps": 0}, "`steps` must be an integer of at least 1"),
        ({"units": -1}, "`units` must be an integer of at least 1"),
        ({"patience": 0}, "`patience` must be an integer of at least 1"),
        ({"l2": -0.1}, r"`l2` must be a number in \[0, inf\).*-0.1"),
        ({"l1": float("nan")}, "l1=nan"),
        ({"weight_decay": float("inf")}, "weight_decay=inf"),
        ({"dropout": 1.0}, r"`dropout` must be a number in \[0, 1\)"),
        ({"seed": -1}, "`seed` must be an integer of at least 0"),
    ],
)
def test_an_option_out_of_range_is_named(option, message):
    with pytest.raises(OptionError, match=message):
        section.run(**option)


def test_the_quick_form_sets_options_that_exist():
    options = inspect.signature(section.run).parameters
    assert section.QUICK.keys() <= options.keys()
    assert all(section.QUICK[name] < options[name].default for name in section.QUICK)
