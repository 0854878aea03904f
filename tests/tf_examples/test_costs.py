"""The formulas of `_costs` and the shapes of `_presets`, against what was published."""

import dataclasses
import json
import math

import numpy as np
import pytest

from tf_examples import _costs, _estimate, _presets
from tf_examples._options import OptionError
from tf_examples._presets import PRESETS, Architecture

GPT = Architecture(layers=3, width=64, heads=4, vocabulary=100, context=32)


def total(a):
    return sum(_costs.parameters(a).values())


@pytest.mark.parametrize(
    ("name", "count"),
    [  # as the released models have them
        ("bert-base", 109_482_240),
        ("bert-large", 335_141_888),
        ("gpt-2-small", 124_439_808),
        ("gpt-2-medium", 354_823_168),
        ("gpt-2-large", 774_030_080),
        ("gpt-2-xl", 1_557_611_200),
        ("gpt-3", 174_604_259_328),
        ("t5-11b", 11_307_321_344),
        ("llama-2-7b", 6_738_415_616),
        ("llama-2-70b", 68_976_648_192),
        ("llama-3.1-8b", 8_030_261_248),
        ("llama-3.1-70b", 70_553_706_496),
        ("llama-3.1-405b", 405_853_388_800),
        ("mistral-7b", 7_241_732_096),
    ],
)
def test_a_released_model_has_exactly_the_parameters_of_the_formula(name, count):
    assert total(PRESETS[name].architecture) == count


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_near_its_published_count(name):
    preset = PRESETS[name]
    tolerance = {"transformer-base": 0.03, "t5-11b": 0.03, "bert-large": 0.015}.get(name, 0.01)
    assert total(preset.architecture) == pytest.approx(preset.published, rel=tolerance)
    assert preset.architecture.name == name
    assert any(year in preset.source for year in ("2017", "2019", "2020", "2022", "2023", "2024"))
    assert bool(preset.tokens) == bool(preset.tokens_source)


def test_palm_has_the_540_35_billion_of_its_table_1():
    assert total(PRESETS["palm-540b"].architecture) == pytest.approx(540.35e9, rel=2e-5)


@pytest.mark.parametrize(("name", "wrong"), [("t5-11b", 6.8e9), ("palm-540b", 567.6e9)])
def test_without_a_head_width_of_their_own_two_models_miss(name, wrong):
    """`width / heads` isn't what they have (for PaLM 18432 / 48 instead of 256)."""
    a = dataclasses.replace(PRESETS[name].architecture, head_width=None)
    assert total(a) == pytest.approx(wrong, rel=0.01)


@pytest.mark.parametrize("width", [64, 768])
def test_a_gpt_has_12_h2_and_13_h_a_block(width):
    a = dataclasses.replace(GPT, width=width)
    L, h, V, s = a.layers, width, a.vocabulary, a.context
    assert total(a) == 12 * L * h**2 + 13 * L * h + V * h + s * h + 2 * h


@pytest.mark.parametrize(
    ("change", "more"),
    [
        ({"biases": False}, -3 * (4 * 64 + 5 * 64)),
        ({"gated": True}, 3 * (64 * 256 + 256)),
        ({"feed_forward_width": 100}, 3 * (100 - 256) * (2 * 64 + 1)),
        ({"key_value_heads": 1}, -3 * 2 * (64 - 16) * (64 + 1)),
        ({"head_width": 32}, 3 * 64 * (4 * 64 + 3)),
        ({"tied": False}, 100 * 64),
        ({"norm": "rms"}, -7 * 64),
        ({"norm": "layer_without_bias"}, -7 * 64),
        ({"parallel": True}, -3 * 2 * 64),
        ({"final_norm": False}, -2 * 64),
        ({"embedding_norm": True}, 2 * 64),
        ({"token_types": 2}, 2 * 64),
        ({"pooler": True}, 64 * 64 + 64),
        ({"positions": "rotary"}, -32 * 64),
        ({"positions": "sinusoidal"}, -32 * 64),
        ({"positions": "none"}, -32 * 64),
        ({"positions": "relative", "position_buckets": 8}, 8 * 4 - 32 * 64),
        ({"kind": "encoder"}, 0),
        ({"dropout": False}, 0),
        (  # two more blocks, and attention with a norm in each of the three; positions, a norm
            {"kind": "encoder-decoder", "encoder_layers": 2},
            2 * (12 * 64**2 + 13 * 64) + 3 * (4 * 64**2 + 6 * 64) + 32 * 64 + 2 * 64,
        ),
    ],
)
def test_each_field_adds_what_it_stands_for(change, more):
    assert total(dataclasses.replace(GPT, **change)) - total(GPT) == more


def products(a, s):
    """The matrix products of a forward pass on one sequence (or pair of them): m, k, n each."""

    def reading(queries, keys):  # attention of `queries` tokens to `keys`
        yield queries, a.width, a.query_width
        yield from [(keys, a.width, a.key_width)] * 2
        for _ in range(a.heads):
            yield queries, a.head_size, keys
            yield queries, keys, a.head_size
        yield queries, a.query_width, a.width

    for _ in range(a.layers + a.encoder_blocks):
        yield from reading(s, s)
        yield from [(s, a.width, a.inner_width)] * (3 if a.gated else 2)
    if a.encoder_blocks:
        for _ in range(a.layers):
            yield from reading(s, s)
    yield s, a.width, a.vocabulary


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"key_value_heads": 2, "gated": True},
        {"head_width": 32, "feed_forward_width": 100},
        {"kind": "encoder-decoder", "encoder_layers": 2},
    ],
)
def test_forward_flops_are_those_of_every_matrix_product(change):
    a = dataclasses.replace(GPT, **change)
    tokens = 24 * (2 if a.encoder_blocks else 1)
    by_hand = sum(2 * m * k * n for m, k, n in products(a, 24))
    assert sum(_costs.forward_flops(a, 24).values()) * tokens == by_hand


def test_gpt_2_smalls_forward_pass_is_1_14_times_2_n_and_1_68_times_without_embeddings():
    a = PRESETS["gpt-2-small"].architecture
    exact = sum(_costs.forward_flops(a, 1024).values())
    assert exact / (2 * total(a)) == pytest.approx(1.14, abs=0.005)
    assert exact / (2 * 12 * 12 * 768**2) == pytest.approx(1.68, abs=0.005)


@pytest.mark.parametrize(
    ("name", "tokens", "published", "tolerance"),
    [
        ("gpt-3", 300e9, 3.14e23, 0.002),  # Brown et al. 2020, Table D.1
        ("t5-11b", 1e12, 3.30e22, 0.03),  # the same; 11.0 B parameters, half of them met
        ("bert-base", 250e9, 1.64e20, 0.01),  # the same
        ("llama-3.1-405b", 15.6e12, 3.8e25, 0.005),  # Llama team 2024, section 3.2
    ],
)
def test_training_flops_are_those_published(name, tokens, published, tolerance):
    e = _costs.estimate(name, tokens=tokens)
    assert e.training_flops == pytest.approx(published, rel=tolerance)
    assert e.tokens == tokens


def test_gpt_3_took_3640_petaflop_days():
    """Brown et al. 2020, Table D.1."""
    assert _costs.estimate("gpt-3").training_flops / (1e15 * 86400) == pytest.approx(3640, rel=2e-3)


def test_chinchillas_budget_is_six_n_d():
    """Hoffmann et al. 2022: 70 B parameters and 1.4 T tokens for Gopher's 5.76e23."""
    assert _costs.training_flops(70e9, 1.4e12) == pytest.approx(5.76e23, rel=0.025)


@pytest.mark.parametrize(("hours", "name", "mfu"), [
    (184_320, "llama-2-7b", 0.39), (1_720_320, "llama-2-70b", 0.43),
])  # fmt: skip
def test_llama_2s_hours_come_out_at_its_mfu(hours, name, mfu):
    """Touvron et al. 2023, Table 2, 312 TFLOP/s."""
    e = _costs.estimate(name, devices=1000, mfu=mfu)
    assert e.device_hours == pytest.approx(hours, rel=0.015)


def test_full_recomputation_takes_8_n_d_and_leaves_the_time():
    plain, full = (_costs.estimate("gpt-3", recompute=how) for how in ("none", "full"))
    assert full.seconds == plain.seconds
    assert full.hardware_flops == pytest.approx(8 * full.total_parameters * full.tokens)
    assert plain.hardware_flops == plain.training_flops
    assert full.hfu == pytest.approx(0.4 * 8 / 6)
    assert full.seconds == pytest.approx(full.hardware_flops / (312e12 * full.hfu))
    assert _costs.estimate("gpt-3", recompute=True) == full
    assert _costs.estimate("gpt-3", recompute=False) == plain
    some = _costs.estimate("gpt-3", recompute="selective")
    scores = 4 * 2048 * 12288 * 96 * some.tokens
    assert some.hardware_flops - some.training_flops == pytest.approx(scores)


def test_gpt_3_was_foreseen_to_take_34_days():
    """Narayanan et al. 2021, eq. 4: 8 N D on 1,024 A100 at 140 TFLOP/s."""
    seconds = _costs.training_seconds(8 * 300e9 * 175e9, 1024, 312e12, 140 / 312)
    assert seconds / 86400 == pytest.approx(34, abs=0.2)


@pytest.mark.parametrize(("stage", "gigabytes"), [(0, 120), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_zero_takes_what_its_figure_1_says(stage, gigabytes):
    """Rajbhandari et al. 2020: 7.5 B parameters, 64 devices."""
    states = _costs.state_bytes(7.5e9, "adam", "mixed", stage, 64)
    assert sum(states.values()) / 1e9 == pytest.approx(gigabytes, abs=0.05)


@pytest.mark.parametrize(
    ("optimizer", "precision", "expected"),
    [
        ("sgd", "float32", (4, 4, 0)),
        ("momentum", "float32", (4, 4, 4)),
        ("adagrad", "float32", (4, 4, 4)),
        ("rmsprop", "float32", (4, 4, 4)),
        ("adam", "float32", (4, 4, 8)),
        ("adam", "mixed", (2, 2, 12)),
        ("sgd", "mixed", (2, 2, 4)),
        ("adam", "mixed_float32_gradients", (2, 4, 12)),
    ],
)
def test_states_take_these_bytes_a_parameter(optimizer, precision, expected):
    states = _costs.state_bytes(1, optimizer, precision)
    assert tuple(states[part] for part in ("weights", "gradients", "optimizer")) == expected


@pytest.mark.parametrize(
    ("width", "heads", "ratio", "saved"), [(12288, 96, 80, 0.70), (20480, 128, 64, 0.65)]
)
def test_selective_recomputation_saves_what_its_paper_says(width, heads, ratio, saved):
    """Korthikanti et al. 2022, section 5: GPT-3 and MT-NLG, sequences of 2,048."""
    sbh = 2048 * width
    whole = _costs.layer_activation_bytes(2048, 1, width, heads)
    rest = _costs.layer_activation_bytes(2048, 1, width, heads, recompute="selective")
    assert whole / sbh == 34 + ratio
    assert rest / sbh == 34
    assert 1 - rest / whole == pytest.approx(saved, abs=0.005)


def test_activations_of_a_layer_follow_table_2():
    """Korthikanti et al. 2022, Table 2, by t = 8 tensor-parallel devices; a s / h = 16."""
    sbh = 2048 * 3 * 12288

    def share(**options):
        return _costs.layer_activation_bytes(2048, 3, 12288, 96, **options) / sbh

    assert share(tensor_parallel=8) == pytest.approx(10 + 24 / 8 + 80 / 8)
    assert share(tensor_parallel=8, sequence_parallel=True) == pytest.approx((34 + 80) / 8)
    assert share(tensor_parallel=8, sequence_parallel=True, recompute="selective") == 34 / 8
    assert share(recompute="full") == 2


@pytest.mark.parametrize("how", ["none", "selective", "full"])
def test_activations_of_a_gpt_are_those_of_its_layers(how):
    layer = _costs.layer_activation_bytes(2048, 2, 12288, 96, recompute=how)
    whole = _costs.activation_bytes(PRESETS["gpt-3"].architecture, 2048, 2, how)
    assert whole == 96 * layer


@pytest.mark.parametrize(
    ("change", "precision", "numbers", "masks"),
    [  # numbers kept a token and block: inputs, norms, attention, scores, inside; masks of a byte
        ({}, "float32", 2 * 64 + 2 * 64 + 4 * 64 + 2 * 4 * 8 + 2 * 256, 2 * 64 + 4 * 8),
        ({"dropout": False}, "mixed", 2 * 64 + 2 * 64 + 4 * 64 + 4 * 8 + 2 * 256, 0),
        (
            {"dropout": False, "gated": True, "key_value_heads": 1},
            "mixed",
            2 * 64 + 2 * 64 + 2 * 64 + 2 * 16 + 4 * 8 + 4 * 256,
            0,
        ),
        (
            {"dropout": False, "parallel": True},
            "mixed",
            64 + 64 + 4 * 64 + 4 * 8 + 2 * 256,
            0,
        ),
    ],
)
def test_activations_of_other_shapes_count_what_a_backward_pass_reads(
    change, precision, numbers, masks
):
    size = 4 if precision == "float32" else 2
    whole = _costs.activation_bytes(dataclasses.replace(GPT, **change), 8, 5, "none", precision)
    assert whole == 3 * 8 * 5 * (size * numbers + masks)


def test_cross_attention_keeps_activations_of_its_own():
    a = dataclasses.replace(GPT, kind="encoder-decoder", dropout=False)
    block = 2 * (2 * 64 + 2 * 64 + 4 * 64 + 4 * 8 + 2 * 256)
    crossing = 2 * (2 * 64 + 4 * 64 + 4 * 8)
    assert _costs.activation_bytes(a, 8, 1) == 8 * (6 * block + 3 * crossing)


@pytest.mark.parametrize(("law", "low", "high"), [
    (_costs.HOFFMANN, 92, 94), (_costs.BESIROGLU, 16, 22),
])  # fmt: skip
def test_a_law_is_least_where_its_formula_says(law, low, high):
    assert law.loss(1, 1) == law.E + law.A + law.B
    assert law.loss(10.0, 1e99) == pytest.approx(law.E + law.A / 10**law.alpha)
    n, d = law.optimal(5.76e23)
    assert 6 * n * d == pytest.approx(5.76e23)
    around = n * np.linspace(0.9, 1.1, 201)
    losses = law.loss(around, 5.76e23 / 6 / around)
    assert around[np.argmin(losses)] == pytest.approx(n, rel=2e-3)
    assert low < d / n < high


def test_twenty_tokens_a_parameter_give_chinchilla():
    n, d = _costs.compute_optimal(5.76e23)
    assert d / n == 20
    assert 6 * n * d == pytest.approx(5.76e23)
    assert n == pytest.approx(70e9, rel=0.02)


def test_storage_takes_2_and_14_bytes_a_parameter_and_2_or_4_a_token():
    assert _costs.checkpoint_bytes(10, "adam", "mixed") == (20, 140)
    assert _costs.checkpoint_bytes(10, "sgd", "float32") == (40, 40)
    assert [_costs.data_bytes(10, words) for words in (50257, 65536, 65537)] == [20, 20, 40]
    e = _costs.estimate("llama-3.1-8b", tokens=1e9)
    assert (e.data_bytes, e.checkpoint_bytes) == (4e9, 2 * e.total_parameters)
    assert e.training_checkpoint_bytes == 14 * e.total_parameters


def test_an_estimate_holds_together():
    e = _costs.estimate(
        "gpt-3", devices=1024, zero_stage=3, batch_size=2, price_per_device_hour=2.5, mfu=0.35
    )
    assert e.total_parameters == total(PRESETS["gpt-3"].architecture)
    assert (e.tokens, e.tokens_from) == (300e9, "Brown et al. 2020, Table D.1")
    assert e.seconds == pytest.approx(6 * e.total_parameters * 300e9 / (1024 * 312e12 * 0.35))
    assert e.money == pytest.approx(2.5 * 1024 * e.seconds / 3600)
    assert e.memory == e.by_zero_stage[3]
    assert e.memory["activations"] == 2 * 96 * 2048 * 12288 * 114
    states = e.memory_a_device - e.memory["activations"]
    assert states == pytest.approx(16 * e.total_parameters / 1024)
    assert sum(e.by_zero_stage[0].values()) == pytest.approx(
        16 * e.total_parameters + e.memory["activations"]
    )
    assert e.logit_bytes == 2 * 2 * 2048 * 50257
    assert e.compute_optimal_tokens == 20 * e.total_parameters
    assert e.matrix_flops == pytest.approx(
        3 * sum(_costs.forward_flops(PRESETS["gpt-3"].architecture, 2048).values()) * 300e9
    )


def test_the_devices_for_a_deadline_are_enough_and_one_fewer_is_not():
    needed = _costs.estimate("gpt-3", deadline_days=10).devices_for_deadline
    days = [_costs.estimate("gpt-3", devices=n).seconds / 86400 for n in (needed, needed - 1)]
    assert days[0] <= 10 < days[1]


def test_the_precision_decides_the_peak():
    seconds = [_costs.estimate("bert-base", precision=p).seconds for p in ("mixed", "float32")]
    assert seconds[1] / seconds[0] == pytest.approx(312 / 19.5)


def test_tokens_are_20_a_parameter_where_none_were_published():
    e = _costs.estimate("gpt-2-small")
    assert e.tokens == 20 * e.total_parameters
    assert "20 a parameter" in e.tokens_from


def test_a_name_an_architecture_its_fields_and_a_file_of_them_are_one(tmp_path):
    a = PRESETS["llama-3.1-8b"].architecture
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(dataclasses.asdict(a)), encoding="utf-8")
    configs = (a, dataclasses.asdict(a), str(file), file, "Llama 3.1 8B", "llama-3.1-8")
    estimates = [_costs.estimate(config, tokens=1e9) for config in configs]
    assert all(e == estimates[0] for e in estimates)


def test_the_utilization_that_a_message_proposes_is_taken():
    assert _costs.estimate("gpt-3", mfu=0.99, recompute="selective").hfu <= 1


@pytest.mark.parametrize("name", ["", "two\nlines", "\x1b[2J", "\ud800", "x" * 61, 7])
def test_a_name_that_no_line_holds_is_refused(name):
    with pytest.raises(OptionError, match="`name` must be 1 to 60 printable characters"):
        dataclasses.replace(PRESETS["gpt-3"].architecture, name=name)


def test_a_name_is_no_mathematics():
    a = dataclasses.replace(PRESETS["gpt-3"].architecture, name="a$b^$ and $x_1$")
    assert _costs.estimate(a).figure().encoded("svg")


def test_a_file_without_a_name_is_called_as_the_file(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text('{"layers": 2, "width": 8, "heads": 2, "vocabulary": 9, "context": 4}')
    assert _costs.estimate(file).name == "mine"


SHAPE = '"layers": 2, "width": 8, "heads": 2, "vocabulary": 9'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f'{{{SHAPE}, "contxt": 4}}', "there is no field 'contxt'. Did you mean 'context'?"),
        (f'{{{SHAPE}, "qqq": 4}}', "there is no field 'qqq'. There are: name, layers"),
        (f"{{{SHAPE}}}", "'context' must be given"),
        (f'{{{SHAPE}, "context": -4}}', "`context` must be an integer of at least 1"),
        (f'{{{SHAPE}, "context": 4.5}}', "`context` must be an integer of at least 1"),
        (f'{{{SHAPE}, "context": 1e99}}', "`context` must be an integer of at least 1"),
        (f'{{{SHAPE}, "context": 9999999999}}', "`context` must be at most 1,000,000,000"),
        (f'{{{SHAPE}, "context": 4, "gated": 1}}', "`gated` must be true or false"),
        (f'{{{SHAPE}, "context": 4, "norm": "batch"}}', "`norm` must be 'layer',"),
        (f'{{{SHAPE}, "context": 4, "heads": 3}}', "`width` must be a multiple of `heads`"),
        (f'{{{SHAPE}, "context": 4, "key_value_heads": 3}}', "`heads` must be a multiple of"),
        (f'{{{SHAPE}, "context": 4, "encoder_layers": 3}}', "`encoder_layers` is for kind="),
        (f"{{{SHAPE}", "is no JSON: Expecting"),
        ("[" * 100_000, "is no JSON"),
        ("[1, 2]", "must hold one JSON object"),
        ("\udcff", "is no text in UTF-8"),
        (None, "can't read"),
    ],
)
def test_a_file_that_holds_no_shape_is_refused(tmp_path, content, said):
    file = tmp_path / "mine.json"
    if content is not None:
        file.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(OptionError, match=r"mine\.json") as error:
        _costs.estimate(str(file))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"config": "gtp-3"}, "there is no preset 'gtp-3'. Did you mean 'gpt-3'?"),
        ({"config": "gpt-2"}, "one of several: gpt-2-small, gpt-2-medium"),
        ({"config": ""}, "there is no preset ''. There are: transformer-base"),
        ({"config": "a/model.keras"}, "a/model.keras: load it in Python, and call `tf_examples._c"),
        ({"config": 3}, "`config` must be a preset's name"),
        ({"tokens": -1}, "`tokens` must be a number in (0, 1e+18]. Received: tokens=-1"),
        ({"tokens": 0.5}, "`tokens` must be at least 1"),
        ({"tokens": math.nan}, "tokens=nan"),
        ({"tokens": math.inf}, "tokens=inf"),
        ({"devices": 0}, "`devices` must be an integer of at least 1"),
        ({"devices": 10**10}, "`devices` must be at most 1e9"),
        ({"device": "h1oo"}, "no device 'h1oo'. Did you mean 'h100'? There are: v100, a100,"),
        ({"device": "tpu"}, "'tpu' is one of several: tpu-v3, tpu-v4, tpu-v5p"),
        ({"device": "tpu-v4", "precision": "float32"}, "tpu-v4 has no float32 peak"),
        ({"mfu": 0}, "`mfu` must be a number in (0.0001, 1]"),
        ({"mfu": 40}, "`mfu` must be a number in (0.0001, 1]. Received: mfu=40"),
        ({"mfu": 0.8, "recompute": "full"}, "`mfu` must be at most 0.75 with recompute='full'"),
        ({"mfu": 1, "recompute": "selective"}, "`mfu` must be at most 0.99 with"),
        ({"mfu": 1e-300}, "`mfu` must be a number in (0.0001, 1]"),
        ({"deadline_days": 1e-310}, "`deadline_days` must be a number in (0.001,"),
        ({"zero_stage": 1.0}, "`zero_stage` must be one of 0, 1, 2, 3"),
        ({"optimizer": []}, "`optimizer` must be one of"),
        ({"recompute": 2}, "`recompute` must be one of"),
        ({"device": 3}, "there is no device '3'"),
        ({"optimizer": "lion"}, "`optimizer` must be one of sgd, momentum, adagrad, rmsprop, adam"),
        ({"precision": "int8"}, "`precision` must be one of mixed"),
        ({"zero_stage": 4}, "`zero_stage` must be one of 0, 1, 2, 3. Received: zero_stage=4"),
        ({"recompute": "some"}, "`recompute` must be one of none, selective, full"),
        ({"batch_size": -2}, "`batch_size` must be an integer of at least 1"),
        ({"sequence_length": 4096}, "at most 2048, gpt-3's learned positions"),
        ({"sequence_length": 0}, "`sequence_length` must be an integer of at least 1"),
        ({"config": "llama-2-7b", "sequence_length": 10**9}, "`sequence_length` must be at most"),
        ({"deadline_days": 0}, "`deadline_days` must be a number in"),
        ({"price_per_device_hour": -2}, "`price_per_device_hour` must be a number in"),
    ],
)
def test_what_cannot_be_estimated_is_named(options, said):
    with pytest.raises(OptionError) as error:
        _costs.estimate(**({"config": "gpt-3"} | options))
    assert said in str(error.value)


def test_the_table_says_the_numbers_with_their_formulas():
    e = _costs.estimate("gpt-3", devices=1024, zero_stage=3, recompute="full",
                        price_per_device_hour=2)  # fmt: skip
    table = e.table()
    rows = {row[0].strip(): row[1:] for row in table.rows}
    assert rows["parameters"][0] == "174,604,259,328"
    assert rows["training FLOPs"] == ("3.14e23", "6 N D")
    assert rows["time"] == ("28.5 days", "at 40% MFU (53.3% HFU)")
    assert rows["memory a device"] == ("7.56 GB", "of 80 GB: fits")
    assert rows["tokens on disk"] == ("600 GB", "2 bytes each")
    assert rows["money"][0] == f"{e.money:,.0f}"
    assert "does not fit" in str(_costs.estimate("gpt-3").table().rows)
    assert "money" not in str(_costs.estimate("gpt-3").table().rows)


def test_the_picture_says_where_the_memory_goes():
    e = _costs.estimate("gpt-3", devices=1024, zero_stage=1)
    figure = e.figure()
    assert figure.encoded().startswith(b"\x89PNG")
    assert "gpt-3: 976 GB a device, 36% of it weights" in figure.statement
    assert "optimizer 2.05 GB, activations 275 GB" in figure.alt


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (999, "", "999"), (174.6e9, "", "175 B"), (999_600, "", "1 M"), (2e12, "B", "2 TB"),
        (0, "B", "0 B"), (1.5e18, "", "1,500,000 T"),
    ],
)  # fmt: skip
def test_quantities_have_three_digits_and_a_suffix(value, unit, said):
    assert _costs.quantity(value, unit) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (1.5, "1.5 s"),
        (300, "5 minutes"),
        (7200, "2 hours"),
        (864000, "10 days"),
        (1e9, "31.7 years"),
    ],
)
def test_durations_are_said_in_their_own_unit(seconds, said):
    assert _costs.duration(seconds) == said


@pytest.mark.parametrize(
    ("text", "number"),
    [("300B", 3e11), ("1.5T", 1.5e12), ("3e11", 3e11), ("300,000", 3e5), ("2 k", 2e3), ("7M", 7e6)],
)
def test_tokens_can_be_typed_as_people_write_them(text, number):
    assert _estimate.count(text) == number


@pytest.mark.parametrize("text", ["", "B", "-3B", "3X", "1e", "3B B", "0x10", "nan"])
def test_a_number_of_tokens_that_is_none_is_refused(text):
    with pytest.raises(OptionError, match="must be a number as in 300B"):
        _estimate.count(text)


def test_devices_have_the_peaks_of_their_data_sheets():
    peaks = {name: device.peak / 1e12 for name, device in _presets.DEVICES.items()}
    assert (peaks["v100"], peaks["a100"], peaks["h100"], peaks["tpu-v4"]) == (125, 312, 989.4, 275)
    assert all(device.source for device in _presets.DEVICES.values())
