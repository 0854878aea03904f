"""Section `gradient_stability`: gradients that vanish or explode with depth, and the cures."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from custom_optimizers import GradientDescent
from tf_examples import gradient_stability as section
from tf_examples._options import OptionError

SHAPES = ((64, 64), (128, 32), (32, 128))


@pytest.fixture(scope="module")
def sigmoid():
    return section.run(seeds=3)


@pytest.fixture(scope="module")
def relu():
    return section.run(activation="relu", initializer="large", seeds=3)


def last(curve):
    """The loss in the last 20 steps of each seed."""
    return curve[-20:].mean(axis=0)


# The law of products


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("initializer", section.INITIALIZERS)
def test_a_layer_multiplies_the_mean_square_by_n_out_times_the_variance(initializer, shape):
    scale = section.weight_scale(initializer, *shape)
    measured = section.layer_factor(*shape, scale, draws=400, seed=1)
    assert measured == pytest.approx(shape[1] * scale**2, rel=0.05)


@pytest.mark.parametrize(("n_in", "n_out"), SHAPES)
def test_the_scales_are_made_for_what_the_table_says(n_in, n_out):
    glorot, he, small, large = (
        section.weight_scale(name, n_in, n_out) for name in section.INITIALIZERS
    )
    assert (n_in + n_out) * glorot**2 / 2 == pytest.approx(1)
    assert n_in * he**2 / 2 == pytest.approx(1)
    assert (small, large) == pytest.approx((glorot / 2, 1.5 * he))


@pytest.mark.parametrize(
    ("name", "keras_initializer"),
    [("glorot", keras.initializers.GlorotNormal), ("he", keras.initializers.HeNormal)],
)
def test_glorot_and_he_have_the_scale_of_keras(name, keras_initializer):
    drawn = keras.ops.convert_to_numpy(keras_initializer(seed=0)((500, 300)))
    # Keras cuts the normal distribution at two deviations; what is left has 0.8796 of them, and it
    # divides by that.
    assert drawn.std() == pytest.approx(section.weight_scale(name, 500, 300), rel=0.01)


def test_a_chain_of_linear_layers_follows_the_power_of_the_factor():
    depth, width, nets = 100, 64, 100
    names = ("small", "glorot", "large")
    logs = np.log(section.linear_chain(names, depth, width, nets, seed=1))
    assert logs.shape == (depth + 1, 3, nets)
    np.testing.assert_allclose(logs[0], 0, atol=1e-12)
    # Each layer multiplies by a chi-squared of `width` over `width`: its logarithm has the mean
    # -1 / width and the variance 2 / width, nearly.
    error = 4 * math.sqrt(2 * depth / width / nets)
    for k, factor in enumerate((0.25, 1, 4.5)):
        foreseen = depth * (math.log(factor) - 1 / width)
        assert logs[-1, k].mean() == pytest.approx(foreseen, abs=error)
    assert abs(depth / width) > 2 * error  # so the typical network does lie below the law


def test_newmans_exponents_are_those_of_scipys_digamma_and_of_a_qr_walk():
    special = pytest.importorskip("scipy.special")
    n = 16
    i = np.arange(1, n + 1)
    formula = (math.log(2 / n) + special.digamma((n - i + 1) / 2)) / 2
    np.testing.assert_allclose(section.growth_rates(n), formula, atol=1e-12)
    rng = np.random.default_rng(0)
    frame, logs = np.eye(n), np.zeros(n)
    for _ in range(4000):
        frame, upper = np.linalg.qr(rng.normal(0, n**-0.5, (n, n)) @ frame)
        logs += np.log(np.abs(np.diag(upper)))
    np.testing.assert_allclose(logs / 4000, formula, atol=0.07)


def test_a_product_keeps_the_mean_square_and_loses_most_directions():
    values = section.product_singular_values(10, width=64, nets=20, orthogonal=False, seed=1)
    assert np.mean(values**2) == pytest.approx(1, abs=0.3)
    middle = np.exp(np.mean(np.log(values[:, 32])))
    assert middle == pytest.approx(np.exp(10 * section.growth_rates(64)[32]), rel=0.3)
    assert middle < 0.05
    assert values[:, 0].min() > 3


def test_orthogonal_layers_keep_every_direction():
    values = section.product_singular_values(100, width=16, nets=2, orthogonal=True, seed=0)
    np.testing.assert_allclose(values, 1, atol=1e-12)


# Three tellings of the gradient


@pytest.mark.parametrize("activation", section.ACTIVATIONS)
def test_the_slope_is_the_derivative(activation):
    z = np.array([-2.0, -0.3, 0.4, 3.0])
    above, below = (section.value_and_slope(z + h, activation)[0] for h in (1e-6, -1e-6))
    np.testing.assert_allclose(
        section.value_and_slope(z, activation)[1], (above - below) / 2e-6, atol=1e-8
    )
    np.testing.assert_allclose(
        section.value_and_slope(z, activation)[0], section.FUNCTIONS[activation](z), atol=1e-12
    )


def test_the_sigmoids_slope_is_at_most_a_quarter():
    z = np.linspace(-5, 5, 101)
    assert section.value_and_slope(z, "sigmoid")[1].max() == 0.25


@pytest.mark.parametrize("activation", section.ACTIVATIONS)
def test_by_hand_and_by_tape_the_gradients_are_the_same(activation):
    x, labels = section.first_batch()
    weights = section.draw_weights(["glorot", "large"], depth=5, width=8, seeds=2, seed=0)
    first, hidden, end = weights
    by_hand, _, _ = section.gradients_by_hand(x, labels, [first, *hidden, end], activation)
    first, hidden, end = section.gradients_by_tape(x, labels, weights, activation)
    for ours, tape in zip(by_hand, [first, *hidden, end], strict=True):
        assert ours.shape == tape.shape
        # TensorFlow's gelu takes the root of 2 in float32, in float64 as well.
        within = 1e-7 if activation == "gelu" else 1e-12
        assert np.linalg.norm(ours - tape) < within * np.linalg.norm(tape)


@pytest.mark.parametrize("cure", section.CURES)
def test_in_keras_each_cure_has_the_same_gradients(cure):
    x, labels = section.first_batch()
    weights = section.draw_weights(["he"], depth=5, width=8, seeds=2, seed=0)
    first, hidden, end = section.gradients_by_tape(x, labels, weights, "gelu", cure)
    for net in range(2):
        model = section.keras_network(weights, net, "gelu", cure)
        theirs = section.gradients_by_keras(model, x, labels)
        for ours, g in zip([first, *hidden, end], theirs, strict=True):
            np.testing.assert_allclose(ours[net], g, rtol=1e-8, atol=1e-11)


def test_all_networks_in_one_call_have_the_gradients_of_one_after_the_other():
    _, (_, _, by_hand), (_, _, by_keras) = section.three_ways(20, 32, 4, 0)
    assert max(by_hand, by_keras) < 1e-12


def test_the_networks_of_a_call_do_not_mix():
    x, labels = section.first_batch()
    weights = section.draw_weights(["he", "large"], depth=4, width=8, seeds=2, seed=0)
    alone = section.draw_weights(["large"], depth=4, width=8, seeds=2, seed=0)
    together = section.gradients_by_tape(x, labels, weights, "tanh", "layer normalization")
    apart = section.gradients_by_tape(x, labels, alone, "tanh", "layer normalization")
    for both, large in zip(together, apart, strict=True):
        np.testing.assert_allclose(both[..., 2:, :, :], large, rtol=1e-12, atol=1e-15)


# Activations multiply, too


@pytest.mark.parametrize("initializer", ["glorot", "he"])
@pytest.mark.parametrize("activation", section.ACTIVATIONS)
def test_the_slopes_foretell_the_factor_of_a_layer_within_a_tenth(activation, initializer):
    foreseen, measured = section.activation_factor(activation, initializer, 20, 64, 8, seed=0)
    assert measured == pytest.approx(foreseen, rel=0.1)
    expected = {
        ("sigmoid", "glorot"): (0.04, 0.0625),  # a twentieth, and at most a sixteenth
        ("relu", "glorot"): (0.45, 0.55),  # halved
        ("relu", "he"): (0.9, 1.1),  # kept
    }.get((activation, initializer), (0, 2))
    assert expected[0] < measured < expected[1]


@pytest.fixture(scope="module")
def hundred():
    """log10 norms of 100 layers: (100, initializers) for each activation, the median of 2 seeds."""
    return {
        activation: np.median(
            section.log10(
                section.gradient_norms(activation, section.INITIALIZERS, "none", 100, 64, 2, 0)
            ),
            axis=2,
        )
        for activation in section.ACTIVATIONS
    }


def test_sigmoid_fades_towards_the_input_whatever_the_weights(hundred):
    assert (hundred["sigmoid"][0] < -30).all()
    assert (hundred["sigmoid"][98] > -2).all()


def test_float32_holds_none_of_the_first_gradient_of_a_deep_sigmoid_network(hundred):
    assert hundred["sigmoid"][0, 0] < np.log10(np.finfo("float32").smallest_subnormal)
    x, labels = section.first_batch()
    weights = section.draw_weights(["glorot"], 100, 64, 1, seed=0)
    tensors = [tf.constant(W, tf.float32) for W in weights]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        loss = tf.function(section.losses)(
            tf.cast(x, tf.float32), labels, tensors, "sigmoid", "none"
        )
    first, _, end = tape.gradient(loss, tensors)
    assert (first.numpy() == 0).all()
    assert (end.numpy() != 0).all()


def test_relu_has_one_colour_in_all_layers_and_the_depth_decides(hundred):
    for k, level in ((0, -15), (1, 0), (3, 17)):
        norms = hundred["relu"][1:99, k]
        assert np.ptp(norms) < 2
        assert np.median(norms) == pytest.approx(level, abs=1.5)
    shallow = section.gradient_norms("relu", ["glorot"], "none", 20, 64, 2, 0)
    assert np.log10(shallow[0]).mean() > -5


def test_the_scale_that_suits_relu_is_too_large_for_tanh_and_too_small_for_gelu(hundred):
    assert abs(hundred["relu"][0, 1]) < 2
    assert hundred["tanh"][0, 1] - hundred["tanh"][98, 1] > 1
    assert hundred["gelu"][0, 1] < -8


# Cures


def cured(activation, initializer, cure):
    norms = section.gradient_norms(activation, [initializer], cure, 100, 64, 2, seed=0)
    return np.median(section.log10(norms[:, 0]), axis=1)


def test_layer_normalization_cures_large_weights_and_not_the_sigmoid():
    assert abs(cured("relu", "large", "layer normalization")[0]) < 2
    assert cured("sigmoid", "glorot", "layer normalization")[0] < -30
    # tanh is a sigmoid with its mean taken off: nothing vanishes there.
    assert cured("tanh", "glorot", "layer normalization")[0] > -1


def test_batch_normalization_never_lets_it_vanish_and_with_relu_makes_it_grow():
    assert cured("sigmoid", "glorot", "batch normalization")[0] > -1
    growth = [
        np.polyfit(np.arange(98), cured("relu", name, "batch normalization")[1:99], 1)[0]
        for name in ("small", "glorot", "large")
    ]
    assert max(growth) < -0.07  # log10 a layer, towards the output
    assert np.ptp(growth) < 0.01  # whatever the weights


def test_residual_connections_keep_the_gradient_in_every_layer():
    assert np.abs(cured("sigmoid", "glorot", "residual connections")[:99]).max() < 1.5
    assert 2 < cured("relu", "large", "residual connections")[0] < 5


def test_try_it_residual_connections_without_their_share_explode(monkeypatch):
    monkeypatch.setattr(tf.math, "rsqrt", tf.ones_like)
    gradients = section.compiled_gradients.__wrapped__("relu", "residual connections")
    monkeypatch.setattr(section, "compiled_gradients", lambda *_: gradients)
    norms = section.gradient_norms("relu", ["large"], "residual connections", 100, 32, 1, seed=0)
    assert np.log10(norms[0]).min() > 25


# Training


def test_the_sigmoid_network_fails_and_its_cures_train_it(sigmoid):
    curves = sigmoid.curves
    for name in ("as it is", "layer normalization", "clipping at 5"):
        assert last(curves[name]) == pytest.approx(math.log(10), abs=0.02)
    for name in ("batch normalization", "residual connections"):
        assert last(curves[name]).max() < 0.8
    assert last(curves["ReLU, He"]).max() < 0.3


def test_the_large_network_diverges_and_each_cure_trains_it(relu):
    curves = dict(relu.curves)
    assert not np.isfinite(curves.pop("as it is")[-1]).any()
    assert len(curves) == 5
    for name, curve in curves.items():
        assert np.median(last(curve)) < 0.5, name
    assert (curves["clipping at 5"][0] > 10).all()  # it starts where the other one overflows


def test_seeds_trained_together_are_the_seeds_trained_alone():
    arm = section.Arm("", "tanh", "glorot", clip=1.0)
    together, _ = section.train(arm, 4, 8, 0.1, steps=20, seeds=2, seed=0)
    weights = section.draw_weights(["glorot"], 4, 8, 2, seed=0)
    x, labels = section.standardized_digits()
    batches = section.draw_batches(20, seed=0)
    for net in range(2):
        alone = [W[..., net : net + 1, :, :] for W in weights]
        for step, batch in enumerate(batches):  # the float64 transcript
            xs, ys = x[batch].astype("float64"), labels[batch]
            matrices = [alone[0], *alone[1], alone[2]]
            gradients = section.gradients_by_hand(xs, ys, matrices, "tanh")[0]
            loss = section.losses(tf.constant(xs), ys, tuple(alone), "tanh", "none")
            assert together[step, net] == pytest.approx(float(loss[0]), rel=1e-4)
            norm = math.sqrt(sum(np.sum(g**2) for g in gradients))
            size = 0.1 * min(1, 1.0 / norm)
            first, *hidden, end = (W - size * g for W, g in zip(matrices, gradients, strict=True))
            alone = [first, np.array(hidden), end]


def test_clipping_is_the_same_in_three_tellings():
    arm = section.Arm("", "relu", "large", clip=5.0)
    settings = {"depth": 10, "width": 32, "steps": 5, "seed": 0}
    x, labels = map(tf.constant, section.standardized_digits())
    _, weights = section.train(arm, learning_rate=0.1, seeds=1, **settings)
    bare = float(section.losses(x, labels, weights, "relu", "none")[0])
    custom = section.descend_with(GradientDescent(0.1, global_clipnorm=5.0), arm, **settings)
    assert custom == pytest.approx(bare, rel=1e-4)
    assert section.fit(arm, learning_rate=0.1, **settings) == pytest.approx(bare, rel=1e-4)
    unclipped = section.descend_with(GradientDescent(0.1), arm, **settings)
    assert not math.isclose(unclipped, bare, rel_tol=0.1)


def test_a_clipped_step_has_the_length_that_the_norm_allows():
    arm = section.Arm("", "relu", "large", clip=0.5)
    before = section.draw_weights(["large"], 10, 16, 2, seed=0)
    _, after = section.train(arm, 10, 16, 0.1, steps=1, seeds=2, seed=0)
    for net in range(2):
        moved = [
            np.sum((new - old)[..., net, :, :] ** 2) for new, old in zip(after, before, strict=True)
        ]
        assert math.sqrt(sum(moved)) == pytest.approx(0.1 * 0.5, rel=1e-3)


def test_try_it_tanh_trains_without_any_cure():
    curve, _ = section.train(section.Arm("", "tanh", "glorot"), 10, 32, 0.1, 300, 3, seed=0)
    assert last(curve).max() < 0.2


def test_try_it_clipping_does_not_repair_twenty_large_layers():
    arm = section.Arm("", "relu", "large", clip=5.0)
    curve, _ = section.train(arm, 20, 32, 0.1, steps=300, seeds=3, seed=0)
    assert np.isfinite(curve).all()
    assert last(curve).min() > 1


# Sixteen bits


@pytest.mark.parametrize("logits", [[1, 2, 3], [12, 11, 0], [-20, -21, -22]])
def test_the_shifted_log_sum_exp_is_right_where_float16_overflows(logits):
    exact = math.log(sum(math.exp(z) for z in logits))
    half, double = np.array(logits, "float16"), np.array(logits, "float64")
    assert section.log_sum_exp(half, shifted=True) == pytest.approx(exact, rel=1e-3)
    for shifted in (True, False):
        assert section.log_sum_exp(double, shifted) == pytest.approx(exact, rel=1e-12)


def test_written_plainly_log_sum_exp_overflows_and_underflows():
    assert section.log_sum_exp(np.array([12, 11, 0], "float16"), shifted=False) == math.inf
    assert section.log_sum_exp(np.array([-20, -21], "float16"), shifted=False) == -math.inf
    for z, finite in ((11.08, True), (11.1, False)):
        with np.errstate(over="ignore"):
            assert np.isfinite(np.exp(np.float16(z))) == finite


def test_a_loss_scale_gives_back_what_float16_loses_and_too_large_a_one_overflows():
    found = section.sweep_scales(depth=10, width=32, seeds=3, seed=0)
    at = dict(zip(section.SCALES, zip(*found.values(), strict=True), strict=True))
    lost, error, overflown = at[1.0]
    assert lost > 0.95
    assert error == pytest.approx(1, abs=0.05)
    assert overflown == 0
    lost, error, overflown = at[2.0**16]
    assert lost < 0.005
    assert error < 0.003
    assert overflown == 0
    assert at[2.0**24][2] == 1
    assert (np.diff(found["lost"]) <= 0).all()
    assert (np.diff(found["overflown"]) >= 0).all()


def test_the_unscaled_gradient_is_as_small_as_it_was():
    x, labels = section.first_batch()
    weights = section.draw_weights(["glorot"], 10, 32, 1, seed=0)
    exact = section.gradients_by_tape(x, labels, weights, "sigmoid")[0]
    scaled = section.half_gradients(
        x, labels, tf.constant(2.0**14), tuple(map(tf.constant, weights))
    )
    assert np.linalg.norm(scaled[0]) == pytest.approx(np.linalg.norm(exact), rel=0.01)
    assert np.linalg.norm(exact) < 1e-4


def test_keras_finds_a_scale_in_the_window_and_skips_the_steps_that_overflow():
    scale, taken = section.find_scale(2.0**24, depth=10, width=32, steps=20, seed=0)
    assert 2**14 <= scale <= 2**20
    assert taken == 20 - (24 - math.log2(scale))


# Options and results


def test_a_network_of_two_layers_has_none_between():
    result = section.run(depth=2, trained_depth=2, width=4, steps=20, seeds=1)
    assert [*result.sweep] == [2]
    assert result.figure().encoded().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"depth": 0}, "`depth` must be an integer of at least 2. Received: depth=0"),
        ({"width": 1}, "`width` must be an integer of at least 2"),
        ({"trained_depth": 1}, "`trained_depth` must be an integer of at least 2"),
        ({"activation": "swish"}, "`activation` must be one of sigmoid, tanh, .*='swish'"),
        ({"initializer": "zero"}, "`initializer` must be one of glorot, he, .*='zero'"),
        ({"clip": 0.0}, r"`clip` must be a number in \(0, inf\)"),
        ({"learning_rate": -0.1}, r"`learning_rate` must be a number in \[0, inf\)"),
        ({"steps": 10}, "`steps` must be an integer of at least 20"),
        ({"seeds": 0}, "`seeds` must be an integer of at least 1"),
        ({"seed": -1}, "`seed` must be an integer of at least 0"),
    ],
)
def test_an_option_out_of_range_is_named(option, message):
    with pytest.raises(OptionError, match=message):
        section.run(**option)


def test_gradients_beyond_float64_name_the_network():
    with pytest.raises(FloatingPointError, match="2000 layers with relu and initializer large"):
        section.gradient_norms("relu", ["large"], "none", 2000, 32, 1, seed=0)


def test_where_every_network_diverges_the_last_step_is_named():
    options = {"activation": "relu", "initializer": "large", "learning_rate": 1e30, "clip": 1e30}
    with pytest.raises(FloatingPointError, match=r"step \d+ of 20: learning_rate 1e\+30"):
        section.run(**options, depth=3, width=4, seeds=1, steps=20)


def test_table_and_picture_say_the_numbers_of_the_result(sigmoid, relu):
    table = sigmoid.table()
    assert [row[0] for row in table.rows] == [*sigmoid.curves]
    assert table.rows[0][1] == sigmoid.norms["as it is"][0] == sigmoid.sweep[100][0]
    assert f"{sigmoid.factor_measured:.3f}" in table.title
    assert relu.table().rows[0][4] == math.inf
    figure = sigmoid.figure()
    assert figure.encoded().startswith(b"\x89PNG")
    assert f"10^{sigmoid.sweep[100][0]:.0f}" in figure.statement
    assert f"ReLU, He from {np.median(sigmoid.curves['ReLU, He'][0]):.2f}" in figure.alt
    assert "as it is from" in relu.figure().alt
    assert "3 of 3 diverge" in relu.figure().alt


def test_the_same_seed_gives_the_same_networks_and_another_seed_others():
    one, same, other = (section.draw_weights(["he"], 3, 4, 1, seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
