"""How results reach a reader: `_report` and `_plots`."""

import dataclasses
import json

import numpy as np
import pytest

from tf_examples import _plots, _report

TABLE = _report.Table(
    "A <title>", ("name", "loss"), ("", ".2f"), [("a & b", 1.234), ("[bold]", None), ("c", "inf")]
)


def test_cells_have_the_format_of_their_column():
    assert TABLE.cells() == [["a & b", "1.23"], ["[bold]", "–"], ["c", "inf"]]


def test_html_escapes_text_and_aligns_numbers_right():
    page = TABLE.html()
    assert "A &lt;title&gt;" in page
    assert "a &amp; b" in page
    assert '<td style="text-align:right">1.23</td>' in page


def test_a_table_in_a_terminal_leaves_square_brackets_alone(capsys):
    _report.show(TABLE)
    assert "[bold]" in capsys.readouterr().out


def test_a_table_in_a_notebook_has_html_and_plain_text_without_escapes():
    bundle = TABLE._repr_mimebundle_()
    assert bundle["text/html"] == TABLE.html()
    assert "\x1b" not in bundle["text/plain"]
    assert "1.23" in bundle["text/plain"]


def test_json_has_lists_for_arrays_and_null_for_what_is_not_finite():
    @dataclasses.dataclass
    class Result:
        path: np.ndarray
        last: np.float32
        names: tuple
        by_name: dict

    result = Result(np.array([1.0, np.inf]), np.float32(0.5), ("a",), {"nan": float("nan")})
    assert json.loads(_report.to_json(result)) == {
        "path": [1.0, None], "last": 0.5, "names": ["a"], "by_name": {"nan": None}
    }  # fmt: skip


def test_track_yields_everything_and_prints_nothing_where_nobody_looks(capsys):
    assert list(_report.track([1, 2, 3], "Counting")) == [1, 2, 3]
    assert capsys.readouterr() == ("", "")


@_plots.drawing
def lines(*heights):
    figure, axes = _plots.picture("Statement", 'alt "quoted"')
    for number, height in enumerate(heights):
        axes.plot([0, 1], [0, height], label=f"line {number}")
    _plots.label_ends(axes)
    return figure, axes


@pytest.mark.parametrize(
    ("form", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_a_picture_is_encoded_as_its_name_says(form, magic):
    assert lines(1)[0].encoded(form).startswith(magic)


def test_a_picture_carries_its_alternative_text_everywhere():
    figure, _ = lines(1)
    assert 'alt="alt &quot;quoted&quot;"' in figure.html()
    data, metadata = figure._repr_mimebundle_()
    assert metadata["image/png"]["alt"] == figure.alt
    assert figure.alt in data["text/plain"]
    assert b'alt "quoted"' in figure.encoded()


def test_labels_at_the_ends_of_lines_keep_their_order_and_their_distance():
    _, axes = lines(1, 1.001, 0.5, 1.002)
    heights = {text.get_text(): text.xy[1] for text in axes.texts}
    ordered = sorted(heights, key=heights.get)
    assert ordered == ["line 2", "line 0", "line 1", "line 3"]
    gaps = np.diff([heights[name] for name in ordered])
    assert (gaps > 0.03).all()


def test_every_optimizer_has_a_colour_and_a_line_of_its_own():
    styles = _plots.OPTIMIZERS.values()
    assert len({style["color"] for style in styles}) == len(styles)
    assert len({str(style["linestyle"]) for style in styles}) == len(styles)


def test_the_style_holds_inside_of_a_drawing_function_and_nowhere_else():
    import matplotlib

    before = dict(matplotlib.rcParams)
    lines(1)
    assert dict(matplotlib.rcParams) == before
