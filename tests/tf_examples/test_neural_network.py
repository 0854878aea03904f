"""Section `neural_network`: one neuron, a hidden layer, depth."""

import math

import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from custom_optimizers import GradientDescent
from tf_examples import _data, _plots
from tf_examples import neural_network as section
from tf_examples._options import OptionError

X, XOR = _data.xor()
FLOAT64 = {
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}


@pytest.fixture(scope="module")
def result():
    return section.run()


@pytest.fixture(scope="module")
def widths():
    return {row[0]: row for row in section.widths_table((0, 2, 3, 4, 8), "tanh").rows}


def forward(weights, x, activation):
    """The z of one network in float64; weights are W, b, W, b, ... as matrices and rows."""
    h = np.asarray(x, "float64")
    for W, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        h = FLOAT64[activation](h @ W + b)
    return (h @ weights[-2] + weights[-1])[:, 0]


def cross_entropy(z, y):
    p = 1 / (1 + np.exp(-z))
    return -np.mean(np.where(y == 1, np.log(p), np.log(1 - p)))


def one_network(sizes, seed=0):
    weights = section.start_weights(sizes, networks=1, seed=seed)
    draw = np.random.default_rng(seed)  # biases other than 0, so that they count
    return [w + draw.normal(scale=0.3, size=w.shape).astype("float32") for w in weights]


def quartiles(hidden, data, **options):
    weights, _ = section.train(hidden, data.x_train, data.y_train, **options)
    scores = section.accuracy(weights, data.x_test, data.y_test, "tanh")
    return np.quantile(scores, (0.25, 0.5, 0.75))


# One neuron


def test_one_neuron_with_weights_10_and_bias_minus_5_is_the_word_or():
    answers = section.neuron(X, np.array([10.0, 10.0]), -5.0)
    np.testing.assert_allclose(answers[0], 1 / (1 + math.exp(5)))
    np.testing.assert_array_equal(answers > 0.5, X.any(axis=1))


def test_the_best_line_gets_or_right_and_three_of_four_of_xor():
    for y, best in ((X.any(axis=1).astype(int), 4), (X.all(axis=1).astype(int), 4), (XOR, 3)):
        right, w, b = section.best_line(X, y)
        assert right == best
        assert ((X @ w + b > 0) == (y == 1)).sum() == best


def test_linear_programming_finds_no_line_for_xor_and_one_for_or():
    for y, feasible in ((XOR, False), (X.any(axis=1), True)):
        sign = np.where(y, 1, -1)[:, None]
        rows = -sign * np.hstack([X, np.ones((4, 1))])  # sign * (w.x + b) >= 1
        found = scipy.optimize.linprog([0, 0, 0], rows, -np.ones(4), bounds=(None, None))
        assert found.success == feasible


def test_a_neuron_trained_on_xor_ends_at_weights_of_0_and_a_loss_of_log_2():
    weights, losses = section.train((), X, XOR, networks=10)
    np.testing.assert_allclose(losses[-1], math.log(2), rtol=1e-6)
    assert max(np.abs(w).max() for w in weights) < 1e-5
    np.testing.assert_allclose(LogisticRegression(C=np.inf).fit(X, XOR).coef_, 0, atol=1e-6)


def test_a_neuron_trained_on_the_moons_is_scikit_learns_logistic_regression():
    data = section.moons()
    weights, _ = section.train((), data.x_train, data.y_train, networks=2)
    oracle = LogisticRegression(C=np.inf, tol=1e-8).fit(data.x_train, data.y_train)
    for number in range(2):  # from any start
        np.testing.assert_allclose(weights[0][number, :, 0], oracle.coef_[0], rtol=1e-3)
        np.testing.assert_allclose(weights[1][number, 0], oracle.intercept_, rtol=1e-3)
    scores = section.accuracy(weights, data.x_test, data.y_test, "tanh")
    np.testing.assert_array_equal(scores, oracle.score(data.x_test, data.y_test))


# The hidden layer


def test_or_and_not_and_is_xor():
    hidden, z = section.by_hand(X)
    np.testing.assert_array_equal(hidden, [[0, 0], [1, 0], [1, 0], [1, 1]])
    np.testing.assert_array_equal(z > 0, XOR == 1)


@pytest.mark.parametrize("activation", list(FLOAT64))
@pytest.mark.parametrize("hidden", [(), (3,), (4, 3)])
def test_the_network_is_its_float64_transcript_and_its_keras_model(hidden, activation):
    weights = one_network((2, *hidden, 1))
    x = np.random.default_rng(1).normal(size=(7, 2)).astype("float32")
    z = section.network(weights, x, activation)
    assert z.shape == (1, 7, 1)
    np.testing.assert_allclose(z[0, :, 0], forward([w[0] for w in weights], x, activation), 1e-5)
    model = section.keras_model(weights, activation)
    np.testing.assert_allclose(z[0], model(x), rtol=1e-5)
    assert section.parameters(weights) == model.count_params()


def test_the_loss_is_the_mean_of_minus_log_the_probability_of_the_right_answer():
    weights = one_network((2, 3, 1))
    loss = section.loss_function(weights, X, XOR, "tanh")
    z = forward([w[0] for w in weights], X, "tanh")
    np.testing.assert_allclose(loss, [cross_entropy(z, XOR)], rtol=1e-6)
    entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    np.testing.assert_allclose(loss[0], entropy(XOR[:, None], z[:, None]), rtol=1e-6)


def test_descend_is_the_chain_rule_by_hand_in_float64():
    start = section.start_weights((2, 4, 1), networks=1, seed=5)
    W, b, v, c = (w[0].astype("float64") for w in start)
    expected = []
    for _ in range(50):
        h = np.tanh(X @ W + b)
        z = h @ v + c
        expected.append(cross_entropy(z[:, 0], XOR))
        error = (1 / (1 + np.exp(-z)) - XOR[:, None]) / 4
        back = error @ v.T * (1 - h**2)
        W, b = W - 0.5 * X.T @ back, b - 0.5 * back.sum(axis=0)
        v, c = v - 0.5 * h.T @ error, c - 0.5 * error.sum(axis=0)
    weights, losses = section.train((4,), X, XOR, steps=50, networks=1, seed=5)
    np.testing.assert_allclose(losses[:, 0], expected, rtol=1e-5)
    for ours, transcript in zip(weights, (W, b, v, c), strict=True):
        np.testing.assert_allclose(ours[0], transcript, atol=1e-5)


def test_networks_trained_at_once_do_not_touch_each_other():
    together, losses = section.train((3,), X, XOR, steps=100, networks=3)
    fewer, losses_of_fewer = section.train((3,), X, XOR, steps=100, networks=2)
    np.testing.assert_allclose(losses[:, :2], losses_of_fewer, rtol=1e-5)
    for three, two in zip(together, fewer, strict=True):
        np.testing.assert_allclose(three[:2], two, atol=1e-6)
    assert np.ptp(together[0], axis=0).min() > 0.01


def test_the_loop_is_compiled_once_for_each_depth():
    section.train((5,), X, XOR, steps=1, networks=2)
    before = section.descend.experimental_get_tracing_count()
    data = section.board()
    section.train((6,), data.x_train, data.y_train, steps=2, networks=3, learning_rate=0.1)
    assert section.descend.experimental_get_tracing_count() == before


def test_the_start_is_drawn_from_glorots_range_with_biases_0():
    W, b, *_ = section.start_weights((2, 8, 1), networks=200, seed=0)
    limit = math.sqrt(6 / 10)
    assert 0.99 * limit < np.abs(W).max() <= limit
    assert W.shape == (200, 2, 8)
    assert b.shape == (200, 1, 8)
    assert not b.any()
    np.testing.assert_array_equal(section.start_weights((2, 8, 1), 3, seed=0)[0], W[:3])
    assert not np.array_equal(section.start_weights((2, 8, 1), 3, seed=1)[0], W[:3])


def test_no_line_two_units_half_of_the_time_and_four_units_always_learn_xor(widths):
    assert {units: row[1] for units, row in widths.items()} == {
        "none": 3,
        2: 9,
        3: 13,
        4: 17,
        8: 33,
    }
    learned = {units: row[2] for units, row in widths.items()}
    assert learned["none"] == 0
    assert 40 <= learned[2] <= 60
    assert 85 <= learned[3] < 100
    assert learned[4] == learned[8] == 100


def test_networks_that_fail_stop_at_half_of_log_2_with_two_cases_at_one_half(widths):
    assert widths["none"][4] == pytest.approx(math.log(2), rel=1e-4)
    assert widths[2][4] == pytest.approx(math.log(2) / 2, rel=0.01)
    weights, losses = section.train((2,), X, XOR, networks=100)
    failed = section.accuracy(weights, X, XOR, "tanh") < 1
    z = section.network(weights, X, "tanh").numpy()[failed, :, 0]
    undecided = (np.abs(z) < 0.1).sum(axis=1)
    near = np.abs(losses[-1, failed] - math.log(2) / 2) < 0.01
    assert near.mean() > 0.9
    assert (undecided[near] == 2).mean() > 0.9


# Two moons and the board


def test_a_line_gets_87_percent_of_the_moons_and_a_hidden_layer_more_than_98(result):
    line, hidden = result.accuracy["two moons"].values()
    assert np.ptp(line) == 0
    assert 0.86 < line[0] < 0.88
    assert np.median(hidden) > 0.98
    assert hidden.min() < line[0] + 0.005  # "the worst learned no more than a line"


def test_the_features_behind_the_hidden_layer_are_told_apart_by_a_line():
    data = section.moons()
    weights, _ = section.train((8,), data.x_train, data.y_train, networks=1, seed=3)
    h, z = (f(weights, data.x_train, "tanh")[0] for f in (section.features, section.network))
    on_features = LogisticRegression(C=np.inf, max_iter=10_000).fit(h, data.y_train)
    assert on_features.score(h, data.y_train) > 0.98
    np.testing.assert_allclose(h @ weights[-2][0] + weights[-1][0], z, atol=1e-5)


def test_the_board_is_xor_on_three_by_three_squares():
    data = section.board(seed=4)
    x, y = np.concatenate([data.x_train, data.x_test]), np.concatenate([data.y_train, data.y_test])
    column, row = (np.digitize(coordinate, [-0.5, 0.5]) for coordinate in x.T)
    np.testing.assert_array_equal(y, (column % 2) ^ (row % 2))
    assert x.min() >= -1.5
    assert x.max() <= 1.5
    assert (len(data.x_train), len(data.x_test)) == (400, 2000)


def test_depth_brings_nothing_on_the_moons_and_two_points_on_the_board():
    sizes = [4 * 32 + 1, 9 * (2 + 1) + 9 * 10 + 10, 7 * 3 + 7 * 8 + 6 * 8 + 7]
    assert max(sizes) / min(sizes) < 1.04  # "about the same number of parameters"
    spread = {
        (task, shape): quartiles(shape, data, networks=networks)
        for task, data, networks in (("moons", section.moons(), 3), ("board", section.board(), 10))
        for shape in section.SHAPES
    }
    one, two, three = (spread["moons", shape] for shape in section.SHAPES)
    assert np.ptp([one[1], two[1], three[1]]) < 0.003
    one, two, three = (spread["board", shape] for shape in section.SHAPES)
    assert two[1] - one[1] > 0.02
    assert one[2] < two[0]  # the bands of one and two layers don't meet
    assert three[0] < two[2]  # those of two and three do
    assert two[0] < three[2]


# Three tellings


def test_tape_custom_optimizer_and_keras_fit_have_the_same_loss_at_each_step():
    data = section.moons()
    examples = data.x_train, data.y_train
    start = section.start_weights((2, 8, 1), networks=1, seed=0)
    taped = section.train((8,), *examples, networks=1, steps=30)[1][:, 0]
    optimizer = GradientDescent(0.5)
    custom = section.descend_with(optimizer, start, *examples, "tanh", steps=30)[:, 0]
    fitted = section.fit(section.keras_model(start, "tanh"), *examples, 0.5, steps=30)
    assert int(optimizer.iterations) == 30
    assert taped[-1] < 0.5 * taped[0]
    np.testing.assert_allclose(custom, taped, rtol=1e-5)
    np.testing.assert_allclose(fitted, taped, rtol=1e-5)


# Try it


def test_try_it_fewer_relu_networks_learn_xor_at_each_width(widths):
    relu = {row[0]: row[2] for row in section.widths_table((2, 3, 4, 8), "relu").rows}
    assert all(relu[units] < widths[units][2] for units in relu)


def test_try_it_noise_shrinks_the_lead_of_the_hidden_layer(result):
    noisy = section.moons(noise=0.4)
    lead = quartiles((8,), noisy)[1] - quartiles((), noisy)[1]
    line, hidden = result.accuracy["two moons"].values()
    assert 0.01 < lead < 0.05
    assert np.median(hidden) - np.median(line) > 0.1


def test_try_it_units_that_start_at_zero_learn_nothing(monkeypatch):
    drawn = section.start_weights
    monkeypatch.setattr(section, "start_weights", lambda *a: [0 * w for w in drawn(*a)])
    for _, _, learned, _, loss in section.widths_table((2, 8), "tanh", networks=2).rows:
        assert learned == 0
        assert loss == pytest.approx(math.log(2), rel=1e-6)


# The command


def test_a_run_that_overflows_names_the_step_and_the_learning_rate():
    with pytest.raises(FloatingPointError, match=r"at step \d+ of 50: a learning_rate of 1e\+38"):
        section.run(learning_rate=1e38, steps=50, seeds=2)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"units": 0}, "`units` must be an integer of at least 1. Received: units=0"),
        ({"layers": -1}, "`layers` must be an integer of at least 1"),
        ({"steps": 0}, "`steps` must be an integer of at least 1"),
        ({"seeds": 0}, "`seeds` must be an integer of at least 1"),
        ({"seed": -1}, "`seed` must be an integer of at least 0"),
        ({"seed": 2**32}, "`seed` must be a number in"),
        ({"activation": "step"}, "`activation` must be one of tanh, relu, sigmoid.*'step'"),
        ({"learning_rate": math.nan}, r"`learning_rate` must be a number in \[0, inf\)"),
        ({"noise": -0.1}, r"`noise` must be a number in \[0, inf\).*-0.1"),
    ],
)
def test_an_option_out_of_range_is_named(option, message):
    with pytest.raises(OptionError, match=message):
        section.run(**option)


def test_table_and_picture_say_the_numbers_of_the_result(result):
    table = result.table()
    rows = {(row[0], row[1]): row for row in table.rows}
    assert list(rows) == [
        (task, model) for task in ("XOR", "two moons", "board") for model in ("a line", "8 units")
    ]
    assert [row[2] for row in table.rows] == 3 * [3, 33]
    median = 100 * np.median(result.accuracy["board"]["8 units"])
    assert rows["board", "8 units"][4] == median
    assert rows["XOR", "a line"][6] == pytest.approx(math.log(2))
    figure = result.figure()
    assert figure.encoded().startswith(b"\x89PNG")
    assert f"{result.accuracy['two moons']['a line'][0]:.1%}" in figure.statement
    assert "8 dashed lines" in figure.alt


def test_a_picture_is_drawn_for_every_shape_also_where_units_are_dead():
    few = section.run(units=2, layers=3, activation="relu", seeds=1, steps=1, learning_rate=0.0)
    assert "3 hidden layers" in few.figure().statement
    assert few.parameters == {"a line": 3, "2 + 2 + 2 units": 21}
    data = section.moons()
    dead = [tf.zeros((1, *shape)) for shape in ((2, 3), (1, 3), (3, 1), (1, 1))]
    line = [tf.zeros((1, 2, 1)), tf.ones((1, 1, 1))]
    assert section.draw_moons(line, dead, data, "relu").encoded().startswith(b"\x89PNG")


def test_the_pictures_of_the_notebook_say_what_is_seen():
    lines = section.draw_lines(X, {"or": X.any(axis=1).astype(int), "XOR": XOR})
    assert lines.statement.endswith("4 of 4 for or, 3 of 4 for XOR")
    assert "The best line for XOR has 3 of 4 points on the right side." in lines.alt
    by_hand = section.draw_by_hand(X, XOR)
    assert "4 of 4 cases on the right side" in by_hand.alt
    data = section.board()
    untrained = {
        shape: [tf.constant(w) for w in section.start_weights((2, *shape, 1), 1, seed=0)]
        for shape in section.SHAPES
    }
    board = section.draw_board(untrained, data, "tanh")
    score = section.accuracy(untrained[9, 9], data.x_test, data.y_test, "tanh")[0]
    assert f"9 + 9 units {score:.1%}" in board.alt
    for picture in (lines, by_hand, board):
        assert isinstance(picture, _plots.Picture)
        assert picture.encoded().startswith(b"\x89PNG")


def test_the_middle_network_is_the_one_with_the_median_score():
    weights = [tf.constant([[[1.0]], [[2.0]], [[3.0]]])]
    assert section.middle(weights, np.array([0.9, 0.1, 0.5]))[0].numpy().item() == 3.0
