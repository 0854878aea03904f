"""How results reach a reader: `_report` and `_plots`."""

import base64
import dataclasses
import io
import json

import numpy as np
import PIL.Image
import PIL.ImageSequence
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


@_plots.drawing
def moving_dot():
    """A black dot that goes from left to right across an empty picture in three frames."""
    figure, axes = _plots.picture("A dot moves", "A dot, left, then right", size=(3, 2))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.grid(visible=False)
    (dot,) = axes.plot([0.2], [0.5], "o", color="black", markersize=20)
    return _plots.Animation(figure, [dot], lambda x: dot.set_data([x], [0.5]), (0.2, 0.5, 0.8))


def test_an_animation_is_a_gif_in_which_only_what_moves_is_drawn_anew():
    with PIL.Image.open(io.BytesIO(moving_dot().encoded())) as image:
        assert (image.format, image.n_frames, image.info["loop"]) == ("GIF", 3, 0)
        frames = [np.asarray(frame.convert("L")) for frame in PIL.ImageSequence.Iterator(image)]
    middle = frames[0].shape[0] // 2 + 5
    dark = [np.flatnonzero((frame[middle - 10 : middle + 10, 60:] < 60).all(0)) for frame in frames]
    assert all(columns.size and np.ptp(columns) < 40 for columns in dark)  # one dot, not a trail
    assert dark[0].max() < dark[1].min() < dark[1].max() < dark[2].min()


def test_an_animation_in_a_notebook_is_a_gif_with_its_alternative_text():
    data, metadata = moving_dot()._repr_mimebundle_()
    assert base64.b64decode(data["image/gif"]).startswith(b"GIF89a")
    assert metadata["image/gif"]["alt"] == "A dot, left, then right"
    assert "A dot moves" in data["text/plain"]
