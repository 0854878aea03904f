"""The law, and its prediction, written down before the largest model is trained."""

import json
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats

from tf_examples import scaling_law as section
from tf_examples._options import OptionError
from tf_examples._transformer import Shape, Transformer

TINY: dict[str, Any] = {
    "widths": [4, 8, 12, 16], "layers": 1, "heads": 2, "context": 8, "batch_size": 4, "steps": 4,
    "jit_compile": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("the cat sat on the mat, and the rat sat on the cat. " * 40, encoding="utf-8")
    return str(path)


def test_a_law_is_found_again_from_its_own_points():
    sizes = np.geomspace(1e4, 1e6, 6)
    law = section.fit(sizes, 7.5 * sizes**-0.12)
    assert (law.a, law.b) == (pytest.approx(7.5), pytest.approx(0.12))
    assert law.spread < 1e-12
    value, low, high = law.predict(1e8)
    assert value == pytest.approx(7.5 * 1e8**-0.12)
    assert low == pytest.approx(high)


def scattered(seed, n=7):
    rng = np.random.default_rng(seed)
    sizes = np.geomspace(1e4, 3e5, n)
    return sizes, 7.0 * sizes**-0.1 * np.exp(0.02 * rng.normal(size=n))


def test_the_fit_is_scipys_regression_of_the_logarithms():
    sizes, losses = scattered(0)
    law, oracle = section.fit(sizes, losses), scipy.stats.linregress(np.log(sizes), np.log(losses))
    assert -law.b == pytest.approx(oracle.slope)
    assert math.log(law.a) == pytest.approx(oracle.intercept)
    slope_error = law.spread / math.sqrt(np.sum((np.log(sizes) - np.log(sizes).mean()) ** 2))
    assert slope_error == pytest.approx(oracle.stderr)


def test_the_interval_holds_a_new_loss_19_times_out_of_20():
    inside = 0
    for seed in range(1000):
        sizes, losses = scattered(seed, 8)
        _, low, high = section.fit(sizes[:-1], losses[:-1]).predict(sizes[-1])
        inside += low <= losses[-1] <= high
    assert inside / 1000 == pytest.approx(0.95, abs=0.02)


def test_operations_are_counted_from_the_models_own_matrices():
    shape = Shape(layers=2, width=12, heads=3, context=10, vocabulary=7)
    model = Transformer(shape, 0)
    matrices = [w for w in model.weights if len(w.shape) == 2 and "positions" not in w.path]
    forward = sum(2 * math.prod(w.shape) for w in matrices)
    head = shape.width // shape.heads
    attention = 2 * shape.layers * shape.heads * (2 * shape.context * head)
    assert section.flops_per_character(shape) == 3 * (forward + attention)


@pytest.fixture
def trained(monkeypatch):
    """The widths that are trained, by a stand-in that takes no time."""
    widths = []

    def stand_in(width, text, settings, learning_rate):
        widths.append(width)
        parameters = Shape(settings.layers, width, 2, 8, len(text.characters)).parameters
        bits = 7 * parameters**-0.1 * (1 + 0.01 * math.sin(width))
        return section.Trained(width, parameters, learning_rate, [settings.steps], [bits], [1e6])

    monkeypatch.setattr(section, "train", stand_in)
    return widths


def test_the_largest_is_trained_after_its_prediction_was_written(
    trained, text_file, tmp_path, monkeypatch
):
    stand_in, written = section.train, []

    def watched(*arguments):
        written.append((tmp_path / "prediction.json").exists())
        return stand_in(*arguments)

    monkeypatch.setattr(section, "train", watched)
    result = section.run(**TINY, text=text_file, folder=str(tmp_path))
    assert trained == [4, 8, 12, 16]
    assert written == [False, False, False, True]
    kept = json.loads((tmp_path / "prediction.json").read_text(encoding="utf-8"))
    assert kept == result.prediction
    points = [m.parameters for m in result.models], [m.bits[-1] for m in result.models]
    assert result.law == section.fit(*points)
    again = result.law.predict(result.largest.parameters)
    assert again == (kept["bits"], kept["low"], kept["high"])


def test_an_interrupted_run_trains_only_what_is_left(trained, text_file, tmp_path, monkeypatch):
    whole = section.run(**TINY, text=text_file, folder=str(tmp_path / "whole"))
    trained.clear()
    stand_in = section.train

    def interrupted(width, *arguments):
        if width == 12:
            raise KeyboardInterrupt
        return stand_in(width, *arguments)

    monkeypatch.setattr(section, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        section.run(**TINY, text=text_file, folder=str(tmp_path / "parts"))
    monkeypatch.setattr(section, "train", stand_in)
    rest = section.run(**TINY, text=text_file, folder=str(tmp_path / "parts"))
    assert trained == [4, 8, 12, 16]
    assert rest == whole


def test_a_finished_model_of_other_settings_or_spoilt_is_trained_anew(trained, text_file, tmp_path):
    options = TINY | {"text": text_file, "folder": str(tmp_path)}
    first = section.run(**options)
    assert section.run(**options) == first
    assert len(trained) == 4
    section.run(**options | {"steps": 8})
    assert len(trained) == 8
    for path in tmp_path.glob("width_*.json"):
        path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert section.run(**options) == first
    assert len(trained) == 12


def test_the_verdict_says_which_side_and_whether_inside():
    prediction = {"parameters": 1, "bits": 2.0, "low": 1.9, "high": 2.1}
    assert "2.0% above, inside of the interval" in section.verdict(prediction, 2.04)
    assert "10.0% above, outside of the interval" in section.verdict(prediction, 2.2)
    assert "10.0% below, outside of the interval" in section.verdict(prediction, 1.8)


def test_steps_up_that_lower_the_loss_are_counted():
    models = [made(width, [bits], [1.0]) for width, bits in ((4, 3.0), (8, 2.5), (12, 2.6))]
    assert section.steps_up(models) == "1 of 2 steps up in size lower the loss"


def made(width, bits, flops):
    return section.Trained(width, 100 * width, 0.01, [1, 2], bits, flops)


def test_the_best_model_is_the_one_whose_operations_suffice():
    small, large = made(8, [3.0, 2.5], [1e6, 2e6]), made(16, [2.8, 2.0], [2e6, 4e6])
    assert section.best_at([small, large], 1e6) is small
    assert section.best_at([small, large], 2e6) is small
    assert section.best_at([small, large], 4e6) is large


def test_the_pictures_say_what_was_computed(text_file):
    result = section.run(**TINY, text=text_file)
    picture = result.figure()
    assert f"{result.prediction['bits']:.2f} bits a character predicted" in picture.statement
    assert f"{result.largest.bits[-1]:.2f} measured" in picture.statement
    assert section.verdict(result.prediction, result.largest.bits[-1]) in picture.alt
    assert "width" in section.draw_compute([*result.models, result.largest]).statement
    assert len(result.table().rows) == 4


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "three widths": ({"widths": [4, 8, 16]}, "at least four"),
    "one width twice": ({"widths": [4, 8, 8, 16]}, "at least four"),
    "a width of 0": ({"widths": [0, 4, 8, 16]}, "`widths`"),
    "heads that don't divide": ({"widths": [4, 8, 9, 16]}, "must divide"),
    "no steps": ({"steps": 0}, "`steps`"),
    "a file for a folder": ({"folder": __file__}, "can't write"),
    "a text too short": ({"context": 4000}, "characters"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_options_are_one_line(what, text_file):
    options, said = REFUSED[what]
    with pytest.raises(OptionError) as error:
        section.run(**TINY | {"text": text_file} | options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_larger_models_do_better_on_the_real_text():
    """The claim of the article, with the sizes and steps of the quick form."""
    result = section.run(**section.QUICK)
    smallest, largest = result.models[0].bits[-1], result.largest.bits[-1]
    assert largest < smallest
    assert result.law.b > 0


def test_the_largest_rate_sinks_with_the_width_from_20_on():
    assert [section.rate(width) for width in (8, 20, 40, 80)] == [0.02, 0.02, 0.01, 0.005]
