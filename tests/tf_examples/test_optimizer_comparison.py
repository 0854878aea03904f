"""Section `optimizer_comparison`: six optimizers on surfaces whose minimum is known."""

import dataclasses
import functools
import io
import math

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from tf_examples import optimizer_comparison as section
from tf_examples._options import OptionError

NAMES = list(section.RULES)
KEYS = list(section.SURFACES)


def sweep_all(surface, noise=1.0, names=NAMES):
    starts, added = section.conditions(surface, noise, steps=2000, seeds=11, seed=0)
    return {
        name: section.sweep(section.RULES[name], surface, starts, added, 0.01) for name in names
    }


@pytest.fixture(scope="module")
def sweeps():
    """What the notebook computes: every rule on every surface."""
    return {key: sweep_all(surface) for key, surface in section.SURFACES.items()}


@pytest.fixture(scope="module")
def result():
    return section.run(surface="beale", steps=300, seeds=2)


def steps_at_best(sweep):
    return sweep.at_best[1]


# The rules, and the slopes, once more: float64, one run, nothing of TensorFlow.


def slope(key, w):
    x, y = w
    if key == "bowl":
        return np.array([x, y])
    if key == "ravine":
        c, s = math.cos(math.pi / 6), math.sin(math.pi / 6)
        turn = np.array([[c, s], [-s, c]])
        return turn.T @ np.diag([1.0, 25.0]) @ turn @ w
    if key == "rosenbrock":
        return np.array([-2 * (1 - x) - 400 * x * (y - x**2), 200 * (y - x**2)])
    a, b, c = 1.5 - x + x * y, 2.25 - x + x * y**2, 2.625 - x + x * y**3
    return 2 * np.array(
        [
            a * (y - 1) + b * (y**2 - 1) + c * (y**3 - 1),
            x * (a + 2 * b * y + 3 * c * y**2),
        ]
    )


def transcript(name, key, w, lr, noise):
    path, u, a = [w], np.zeros(2), np.zeros(2)
    for t, n in enumerate(noise, start=1):
        g = slope(key, w) + n
        if name == "GradientDescent":
            w = w - lr * g
        elif name in ("Momentum", "Nesterov"):
            u = 0.9 * u - lr * g
            w = w + u if name == "Momentum" else w + 0.9 * u - lr * g
        elif name == "Adagrad":
            a = a + g**2
            w = w - lr * g / np.sqrt(a + 0.1 + 1e-7)
        elif name == "RMSprop":
            a = 0.9 * a + 0.1 * g**2
            w = w - lr * g / np.sqrt(a + 1e-7)
        else:
            u, a = 0.9 * u + 0.1 * g, 0.999 * a + 0.001 * g**2
            bias = np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            w = w - lr * bias * u / (np.sqrt(a) + 1e-7)
        path.append(w)
    return np.array(path)


RATE = {"GradientDescent": 1e-3, "Momentum": 2e-4, "Nesterov": 2e-4}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("name", NAMES)
def test_every_rule_on_every_surface_follows_the_float64_transcript(name, key):
    surface, rate = section.SURFACES[key], RATE.get(name, 0.05)
    noise = np.random.default_rng(1).normal(size=(60, 2))
    start = np.array(surface.start)
    path, losses = section.descend(section.RULES[name], surface, start, rate, noise)
    expected = transcript(name, key, start, rate, noise)
    assert np.abs(expected[-1] - expected[0]).max() > 0.02
    np.testing.assert_allclose(path, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(losses, surface.loss(tf.constant(expected)), rtol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_the_custom_optimizer_and_keras_follow_the_bare_loop_with_a_rate_for_each_run(name):
    surface, starts = section.SURFACES["beale"], np.array([[1.0, 1.0], [0.8, 1.1], [1.2, 0.7]])
    added = np.random.default_rng(2).normal(size=(50, 3, 2))
    rates = np.array([[1.0], [0.5], [0.1]]) * RATE.get(name, 0.05)
    path, _ = section.descend(section.RULES[name], surface, starts, rates, added)
    ours, theirs = (
        section.descend_with(make, surface, starts, rates, added)
        for make in section.OPTIMIZERS[name]
    )
    assert np.abs(path[-1] - path[0]).max() > 0.02
    np.testing.assert_allclose(ours, path, atol=1e-12 if name != "Adagrad" else 1e-7)
    np.testing.assert_allclose(theirs, path, atol=1e-4)


@pytest.mark.parametrize("name", ["Momentum", "Nesterov"])
def test_keras_takes_0_9_through_float32_and_is_the_loop_with_0_9_so_rounded(name):
    surface, added = section.SURFACES["beale"], np.zeros((50, 2))
    path, rounded = (
        section.descend(rule, surface, np.array(surface.start), 2e-3, added)[0]
        for rule in (
            section.RULES[name],
            functools.partial(section.RULES[name], mu=float(np.float32(0.9))),
        )
    )
    rate = float(np.float32(2e-3))
    rounded_too = section.descend(
        functools.partial(section.RULES[name], mu=float(np.float32(0.9))),
        surface, np.array(surface.start), rate, added,
    )[0]  # fmt: skip
    theirs = section.descend_with(
        section.OPTIMIZERS[name][1], surface, np.array(surface.start), rate, added
    )
    np.testing.assert_allclose(theirs, rounded_too, atol=1e-13)
    assert 1e-9 < np.abs(path - rounded).max() < 1e-5


@pytest.mark.parametrize("key", KEYS)
def test_the_minimum_is_where_it_is_said_to_be_and_the_start_is_in_the_picture(key):
    surface = section.SURFACES[key]
    assert float(surface.loss(tf.constant(surface.minimum, tf.float64))) == 0
    np.testing.assert_allclose(slope(key, np.array(surface.minimum)), 0, atol=1e-12)
    left, right, bottom, top = surface.view
    assert left < surface.start[0] < right
    assert bottom < surface.start[1] < top


def test_condition_numbers_are_those_of_the_hessian_by_hand():
    np.testing.assert_allclose(section.curvatures(section.SURFACES["bowl"]), [1, 1])
    np.testing.assert_allclose(section.curvatures(section.ravine(49, 71)), [1, 49])
    low, high = section.curvatures(section.SURFACES["rosenbrock"])
    # The Hessian at (1, 1) is [[802, -400], [-400, 200]].
    assert low + high == pytest.approx(1002)
    assert low * high == pytest.approx(802 * 200 - 400**2)
    assert high / low == pytest.approx(2508, abs=1)
    low, high = section.curvatures(section.SURFACES["beale"])
    assert high / low == pytest.approx(162, abs=1)


def test_half_of_the_ravines_loss_lies_in_each_direction_at_the_start():
    for surface in (section.ravine(100, 0), section.ravine(100, 50)):
        assert float(surface.loss(tf.constant(surface.start, tf.float64))) == pytest.approx(25)
    assert section.ravine(100, 0).start == (-5, 0.5)


def test_the_first_step_has_the_size_that_the_text_says():
    g = tf.constant([1.0, 100.0], tf.float64)
    nothing = tf.zeros(2, tf.float64)
    step = {
        name: rule(g, 0.01, tf.constant(1.0, tf.float64), nothing, nothing)[0].numpy()
        for name, rule in section.RULES.items()
    }
    for name in ("GradientDescent", "Momentum", "Nesterov"):
        assert step[name][1] == pytest.approx(100 * step[name][0])
    np.testing.assert_allclose(step["Adam"], -0.01, rtol=1e-5)
    np.testing.assert_allclose(step["RMSprop"], -0.01 / math.sqrt(0.1), rtol=1e-5)
    np.testing.assert_allclose(step["Adagrad"], -0.01, rtol=0.05)


def test_a_run_arrives_with_the_first_low_loss_after_which_no_mean_of_50_is_high():
    low, high, steps = 0.001, 0.5, 200
    steady = np.full(steps, low)
    late = np.where(np.arange(steps) < 30, 1.0, low)
    lucky = np.where(np.arange(steps) == 10, low, 1.0)
    thrown_out = np.where(np.arange(steps) == 120, 10.0, low)
    overflows = np.where(np.arange(steps) > 90, np.nan, low)
    blip = np.where(np.arange(steps) == 60, high, low)  # a mean of 0.011
    small_blip = np.where(np.arange(steps) == 60, 0.3, low)  # a mean of 0.007
    falling = np.where(np.arange(steps) < 10, 0.03, low)  # a mean of 0.007 from the start on
    losses = [steady, late, lucky, thrown_out, overflows, blip, small_blip, falling]
    arrived = section.arrival(np.stack(losses, axis=1), 0.01)
    np.testing.assert_array_equal(arrived, [0, 30, np.inf, 121, np.inf, 61, 0, 10])


def test_a_tolerance_that_the_start_meets_takes_no_step():
    assert section.arrival(np.full((60, 2), 3.0), 5.0).tolist() == [0, 0]


def test_the_best_rate_is_chosen_on_other_seeds_than_the_counted_ones():
    surface = section.SURFACES["bowl"]
    starts = np.concatenate([np.tile([[-4.0, 3.0]], (3, 1)), np.tile([[-400.0, 300.0]], (3, 1))])
    added = np.zeros((100, 2, 1, 6, 2))
    far = section.sweep(section.gradient_descent, surface, starts, added, 0.01)[0]
    near = section.sweep(section.gradient_descent, surface, starts[::-1], added, 0.01)[0]
    assert section.RATES[far.best] == section.RATES[near.best] == 1
    below = far.best - 4
    assert far.quartiles[1, below] > near.quartiles[1, below]


def test_one_sweep_holds_runs_that_one_at_a_time_are_the_same():
    surface = section.SURFACES["rosenbrock"]
    starts, added = section.conditions(surface, 1.0, steps=80, seeds=2, seed=3)
    start = np.broadcast_to(starts, (2, 41, 4, 2))
    path, _ = section.descend(section.adam, surface, start, section.RATES[:, None, None], added)
    for level, rate, run in ((0, 5, 0), (1, 20, 3), (1, 30, 1)):
        alone, _ = section.descend(
            section.adam, surface, starts[run], section.RATES[rate], added[:, level, 0, run]
        )
        np.testing.assert_allclose(path[:, level, rate, run], alone, rtol=1e-9)
    assert not added[:, 0].any()
    assert added[:, 1].std() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("k", [1.0, 4.0, 25.0, 100.0])
def test_measured_rates_are_those_of_theory_and_never_better(k):
    root = math.sqrt(k)
    expected = {
        "GradientDescent": (k - 1) / (k + 1),
        "Momentum": (root - 1) / (root + 1),
        "Nesterov": 1 - 1 / root,
    }
    for name, method in section.tuned(k).items():
        measured = section.measured_rate(k, method)
        assert method.predicted == pytest.approx(expected[name])
        assert expected[name] - 1e-9 <= measured <= expected[name] * 1.035 + 1e-9
        if name == "GradientDescent":
            assert measured == pytest.approx(expected[name], abs=1e-9)


def test_the_errors_of_momentum_and_nesterov_go_as_t_times_the_power():
    methods = section.tuned(100)
    for name in ("Momentum", "Nesterov"):
        distance = section.distances(methods[name], section.ravine(100), 800)
        ratio = distance[800] / distance[400]
        assert ratio / methods[name].predicted ** 400 == pytest.approx(2, rel=0.02)


def test_four_times_the_condition_number_costs_four_times_the_steps_or_twice():
    def digit(name, k):
        return math.log(10) / -math.log(section.measured_rate(k, section.tuned(k)[name]))

    assert digit("GradientDescent", 400) / digit("GradientDescent", 100) == pytest.approx(4, 0.01)
    for name in ("Momentum", "Nesterov"):
        assert digit(name, 400) / digit(name, 100) == pytest.approx(2, rel=0.05)


def test_other_learning_rates_and_momenta_than_theorys_are_slower_in_the_end():
    surface = section.ravine(100)
    for name, method in section.tuned(100).items():
        best = section.distances(method, surface, 600)[-1]
        for factor in (0.8, 1.02):
            other = section.Tuned(method.rule, method.learning_rate * factor, 0, 0)
            if name != "Nesterov":
                assert section.distances(other, surface, 600)[-1] > best
    weak = section.Tuned(functools.partial(section.momentum, mu=0.4), 4 / 11**2, 0, 0)
    assert (
        section.distances(weak, surface, 600)[-1]
        > section.distances(section.tuned(100)["Momentum"], surface, 600)[-1]
    )


def test_0_9_is_the_best_momentum_of_condition_number_1442(sweeps):
    k = section.best_condition_number(0.9)
    assert k == pytest.approx(1442, abs=1)
    assert section.tuned(k)["Momentum"].momentum == pytest.approx(0.9)


def test_with_its_own_momentum_the_heavy_ball_beats_gradient_descent_by_two_to_one(sweeps):
    surface = section.SURFACES["ravine"]

    def steps(name):
        method = section.tuned(25)[name]
        start, nothing = np.array(surface.start), np.zeros((500, 2))
        _, losses = section.descend(method.rule, surface, start, method.learning_rate, nothing)
        return float(section.arrival(losses, 0.01))

    assert 2 * steps("Momentum") < steps("GradientDescent")
    assert steps("Momentum") < steps("Nesterov") < steps("GradientDescent")
    ravine = sweeps["ravine"]
    assert steps_at_best(ravine["Momentum"][0]) > steps_at_best(ravine["GradientDescent"][0])


def test_on_the_ravine_three_comparisons_give_three_orders(sweeps):
    exact = {name: s[0] for name, s in sweeps["ravine"].items()}
    low = {name: s.at(0.01) for name, s in exact.items()}
    assert sorted(low, key=low.__getitem__)[:2] == ["Nesterov", "Momentum"]
    assert low["Adam"] == pytest.approx(4 * low["GradientDescent"], rel=0.1)
    assert low["Adagrad"] == np.inf
    high = {name for name, s in exact.items() if np.isfinite(s.at(0.1))}
    assert high == {"Momentum", "Adam"}
    own = {name: steps_at_best(s) for name, s in exact.items()}
    order = sorted(own, key=own.__getitem__)
    assert order[:2] == ["Nesterov", "GradientDescent"]
    assert own["GradientDescent"] < own["Momentum"]
    assert own["Adagrad"] < 1.5 * own["GradientDescent"]
    assert order[-1] == "RMSprop"
    text = " ".join(cell for row in section.ranking(sweeps["ravine"]).cells() for cell in row)
    assert f"{own['GradientDescent']:.0f} (2.)" in text
    assert "not reached" in text


def test_good_rates_span_less_than_two_for_gradient_descent_and_much_more_for_others(sweeps):
    table = section.ranking(sweeps["ravine"])
    span = {}
    for name, *_, good in table.rows:
        low, high = map(float, good.split(" to "))
        span[name] = high / low
    assert span["GradientDescent"] < 2
    assert span["Momentum"] > 30
    assert span["Adagrad"] > 10


def test_at_the_next_rate_above_its_best_gradient_descent_diverges(sweeps):
    s = sweeps["ravine"]["GradientDescent"][0]
    assert section.RATES[s.best] < 2 / 25 < section.RATES[s.best + 1]
    assert s.quartiles[1, s.best + 1] == np.inf


def test_adagrads_path_on_rosenbrock_is_luck(sweeps):
    surface = section.SURFACES["rosenbrock"]
    path = section.race(surface, sweeps["rosenbrock"])["Adagrad"]
    lucky = section.arrival(surface.loss(tf.constant(path)).numpy(), 0.01)
    assert 50 * lucky < steps_at_best(sweeps["rosenbrock"]["Adagrad"][0])


def test_faster_is_false_as_it_stands(sweeps):
    signs = [
        section.verdict(on[name][level], on["GradientDescent"][level])
        for on in sweeps.values()
        for name in NAMES[1:]
        for level in range(2)
    ]
    assert len(signs) == 40
    assert all(9 <= signs.count(sign) <= 18 for sign in ("+", "-", ""))
    assert signs.count("-") >= signs.count("+") - 3


def test_on_the_bowl_nothing_beats_gradient_descent_which_takes_one_step(sweeps):
    bowl = {name: steps_at_best(s[0]) for name, s in sweeps["bowl"].items()}
    assert bowl.pop("GradientDescent") == 1
    assert min(bowl.values()) >= 2


def test_on_rosenbrock_three_rules_arrive_where_gradient_descent_does_not(sweeps):
    on = sweeps["rosenbrock"]
    for level in range(2):
        assert steps_at_best(on["GradientDescent"][level]) == np.inf
        for name in ("Momentum", "Nesterov", "Adam"):
            assert section.verdict(on[name][level], on["GradientDescent"][level]) == "+"
    exact = {name: steps_at_best(s[0]) for name, s in on.items()}
    assert min(exact, key=exact.__getitem__) == "Momentum"


@pytest.mark.parametrize("key", ["bowl", "ravine", "beale"])
def test_with_noise_momentum_is_gradient_descent_at_ten_times_the_rate(sweeps, key):
    gradient_descent = sweeps[key]["GradientDescent"][1]
    for name in ("Momentum", "Nesterov"):
        assert section.verdict(sweeps[key][name][1], gradient_descent) == ""
    ratio = section.RATES[gradient_descent.best] / section.RATES[sweeps[key]["Momentum"][1].best]
    assert ratio == pytest.approx(10, rel=0.35)  # one step of the grid is a factor of 1.33


def test_try_it_an_upright_ravine_makes_adagrad_ten_times_as_fast(sweeps):
    upright = sweep_all(section.ravine(angle=0), names=["Adagrad", "GradientDescent", "Momentum"])
    turned = sweeps["ravine"]
    assert 8 * steps_at_best(upright["Adagrad"][0]) < steps_at_best(turned["Adagrad"][0])
    assert steps_at_best(upright["Adagrad"][0]) < steps_at_best(upright["GradientDescent"][0]) / 5
    for name in ("GradientDescent", "Momentum"):
        assert steps_at_best(upright[name][0]) == pytest.approx(
            steps_at_best(turned[name][0]), rel=0.1
        )


def test_try_it_a_condition_number_of_400_hurts_gradient_descent_and_not_momentum(sweeps):
    names = ["GradientDescent", "Momentum"]
    steep, flat = sweep_all(section.ravine(400), names=names), sweeps["ravine"]
    ratio = {n: steps_at_best(steep[n][0]) / steps_at_best(flat[n][0]) for n in names}
    assert 16 <= ratio["GradientDescent"] <= 20
    assert ratio["Momentum"] < 1.2


def test_try_it_a_tenth_of_the_noise_bears_a_hundred_times_the_rate(sweeps):
    weak = sweep_all(section.SURFACES["bowl"], noise=0.1, names=["GradientDescent"])
    weak, strong = weak["GradientDescent"][1], sweeps["bowl"]["GradientDescent"][1]
    assert section.RATES[weak.best] > 80 * section.RATES[strong.best]
    assert steps_at_best(weak) < steps_at_best(strong) / 80


def test_run_ties_the_three_tellings_together_and_to_theory(result):
    for name, (ours, theirs) in result.apart.items():
        assert ours < 1e-7, name
        assert theirs < 1e-3, name
    assert result.apart["GradientDescent"] == (0, 0)
    for name, rate in result.measured.items():
        assert rate == pytest.approx(result.predicted[name], rel=0.02)


def test_a_rate_at_which_all_diverge_is_a_result_and_not_an_error(result):
    s = result.sweeps["GradientDescent"][0]
    assert s.quartiles[1, -1] == np.inf
    assert np.isfinite(s.at_best[1])


def test_where_nothing_arrives_the_lowest_last_loss_decides_and_dashes_are_shown(result):
    surface = section.SURFACES["rosenbrock"]
    starts, added = section.conditions(surface, 1.0, steps=60, seeds=1, seed=0)
    start = np.broadcast_to(starts[0], (41, 2))
    path, losses = section.descend(
        section.gradient_descent, surface, start, section.RATES[:, None], added[:, 0, 0, :1]
    )
    levels = section.sweep(section.gradient_descent, surface, starts, added, 0.01)
    assert steps_at_best(levels[0]) == np.inf
    assert levels[0].best == np.nanargmin(losses[-1])
    none = dataclasses.replace(result, sweeps=dict.fromkeys(NAMES, levels))
    assert "–" in [cell for row in none.table().cells() for cell in row]
    assert "not within the steps" in none.figure().alt
    assert none.figure().encoded().startswith(b"\x89PNG")
    assert "none arrives" in section.draw_race(surface, {"Adam": path[:, 0]}, 1e-9).statement


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"condition_number": 0.5}, r"`condition_number` must be a number in \[1, 1e4\].*0.5"),
        ({"condition_number": math.nan}, "condition_number=nan"),
        ({"angle": math.inf}, "`angle` must be a number in"),
        ({"noise": -1.0}, r"`noise` must be a number in \[0, 100\]"),
        ({"tolerance": 0.0}, r"`tolerance` must be a number in \(0, inf\)"),
        ({"steps": 49}, "`steps` must be an integer of at least 50. Received: steps=49"),
        ({"seeds": 0}, "`seeds` must be an integer of at least 1"),
        ({"seed": -1}, "`seed` must be an integer of at least 0"),
        ({"surface": "plain"}, "`surface` must be one of bowl, ravine, rosenbrock, beale.*plain"),
    ],
)
def test_an_option_out_of_range_is_named(option, message):
    with pytest.raises(OptionError, match=message):
        section.run(**option)


def test_at_the_largest_condition_number_every_rule_has_a_rate_that_does_not_diverge():
    surface = section.ravine(1e4)
    starts, added = section.conditions(surface, 0.0, steps=200, seeds=1, seed=0)
    for rule in section.RULES.values():
        s = section.sweep(rule, surface, starts, added, 0.01)[0]
        start = np.array(surface.start)
        _, losses = section.descend(rule, surface, start, section.RATES[s.best], added[:, 0, 0, 0])
        assert losses[-1] < losses[0]


def test_table_and_picture_say_the_numbers_of_the_result(result):
    table = result.table()
    assert [row[0] for row in table.rows] == NAMES
    assert table.title.startswith("Beale: steps to a loss of 0.01")
    assert max(map(len, table.title.splitlines())) <= 76
    figure = result.figure()
    assert figure.encoded().startswith(b"\x89PNG")
    for name, (exact, _) in result.sweeps.items():
        assert f"{name} {exact.at_best[1]:.0f} steps" in figure.alt
    race = section.draw_race(result._surface(), result.paths, 0.01)
    first = min(
        float(section.arrival(result._surface().loss(tf.constant(path)).numpy(), 0.01))
        for path in result.paths.values()
    )
    assert f"first, at step {first:.0f}" in race.statement
    assert "6 of 6 arrive" in race.statement
    theory = section.draw_theory(25)
    assert "92.3%" in theory.statement
    assert theory.encoded().startswith(b"\x89PNG")
    surfaces = section.draw_surfaces(dict.fromkeys(KEYS, result.paths))
    assert surfaces.encoded().startswith(b"\x89PNG")
    assert "6 of 6 on beale" in surfaces.statement


def test_the_animation_grows_from_the_start_to_the_last_arrival_and_is_small(result):
    content = result.animation().encoded()
    assert len(content) < 900_000
    with PIL.Image.open(io.BytesIO(content)) as image:
        assert image.format == "GIF"
        assert image.info["loop"] == 0
        assert 20 < image.n_frames < 130
        coloured = []
        for number in (0, image.n_frames // 2, image.n_frames - 1):
            image.seek(number)
            pixels = np.asarray(image.convert("RGB"), int)
            coloured.append((np.ptp(pixels, axis=-1) > 60).sum())
    assert coloured[0] < coloured[1] - 200 < coloured[2] - 400  # the six lines grow
