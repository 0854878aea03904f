"""Pictures: one style, one colour and line style an optimizer, alternative texts."""

import base64
import html
import io
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import matplotlib
import matplotlib.figure
import numpy as np
import PIL.Image
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

# Okabe and Ito's colours, told apart with any colour vision.
BLACK, GREY = "#000000", "#707070"
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY = "#E69F00", "#56B4E9"
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (3, 1)), (0, (1, 1)))

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "GradientDescent": {"color": BLUE, "linestyle": "-"},
    "Momentum": {"color": VERMILLION, "linestyle": "--"},
    "Nesterov": {"color": PURPLE, "linestyle": "-."},
    "Adagrad": {"color": GREEN, "linestyle": ":"},
    "RMSprop": {"color": ORANGE, "linestyle": (0, (5, 1, 1, 1))},
    "Adam": {"color": BLACK, "linestyle": (0, (3, 1))},
}
"""The same everywhere: an optimizer is known by its colour and by its line."""

drawing = matplotlib.rc_context(
    {
        "axes.grid": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 12,
        "axes.labelsize": 12,
        "font.size": 12,
        "grid.alpha": 0.3,
        "legend.frameon": False,
        "lines.linewidth": 2,
        "xtick.labelsize": 11,
        "ytick.labelsize": 11,
    }
)
"""Decorates a function that draws: the house style holds inside of it, and nowhere else."""


class Picture(matplotlib.figure.Figure):
    """A matplotlib figure whose title is its statement, with the alternative text beside it."""

    statement: str = ""
    alt: str = ""

    def encoded(self, form: str = "png") -> bytes:
        """The picture as a file's content; `form` is "png", "svg" or "pdf"."""
        buffer = io.BytesIO()
        fixed = {"png": {"Description": self.alt}, "svg": {"Date": None}, "pdf": {}}
        self.savefig(buffer, format=form, dpi=120, metadata=fixed[form])
        return buffer.getvalue()

    def html(self) -> str:
        """The picture as an HTML fragment that needs no other file."""
        data = base64.b64encode(self.encoded()).decode()
        return f'<img src="data:image/png;base64,{data}" alt="{html.escape(self.alt)}">'

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        image = base64.b64encode(self.encoded()).decode()
        return (
            {"image/png": image, "text/plain": f"{self.statement}\n{self.alt}"},
            {"image/png": {"alt": self.alt}},
        )

    def __rich__(self) -> str:
        return f"[bold]{self.statement}[/bold]\n{self.alt}".replace("\n[", "\n\\[")


def picture(
    statement: str,
    alt: str,
    rows: int = 1,
    columns: int = 1,
    size: tuple[float, float] = (7, 4),
    **subplots: Any,
) -> tuple[Picture, Any]:
    """A new picture and its axes: one, or an array of them as `Figure.subplots` gives it.

    Args:
        statement: the title: what the picture says, with the number.
        alt: what is seen, for those who can't.
        size: inches; at 120 dots an inch.
        subplots: passed on to `Figure.subplots`, as in `sharey=True`.
    """
    figure = Picture(figsize=size, layout="constrained")
    figure.statement, figure.alt = statement, alt
    width = int(size[0] * 9.5)
    figure.suptitle(
        textwrap.fill(statement, width), x=0.01, ha="left", fontsize=13, fontweight="bold"
    )
    return figure, figure.subplots(rows, columns, **subplots)


class Animation:
    """A picture that moves, as a GIF that repeats.

    Args:
        picture: what doesn't move, and the statement and alternative text.
        moving: its artists that do, in the order in which they lie above the rest.
        draw: brings them into their state at a frame, given an item of `frames`.
        frames: what `draw` is called with: a tenth of a second each, the last one two seconds.
    """

    def __init__(
        self,
        picture: Picture,
        moving: Sequence[Artist],
        draw: Callable[[Any], None],
        frames: Iterable[Any],
    ) -> None:
        self.picture, self.moving, self.draw, self.frames = picture, moving, draw, frames

    def encoded(self, form: str = "gif") -> bytes:
        """The animation as a file's content; `form` is "gif"."""
        canvas = FigureCanvasAgg(self.picture)
        for artist in self.moving:
            artist.set_animated(True)  # left out where the whole picture is drawn
        images: list[PIL.Image.Image] = []
        for frame in self.frames:
            self.draw(frame)
            if not images:
                canvas.draw()
                still = canvas.copy_from_bbox(self.picture.bbox)
            canvas.restore_region(still)
            for artist in self.moving:
                artist.draw(canvas.get_renderer())
            images.append(PIL.Image.fromarray(np.array(canvas.buffer_rgba())).convert("RGB"))
        # One palette, no dithering: what doesn't move costs nothing. matplotlib's own writer makes
        # a palette a frame, and files 10 times as large.
        palette = images[-1].quantize(128, PIL.Image.Quantize.FASTOCTREE)
        indexed = [
            image.quantize(palette=palette, dither=PIL.Image.Dither.NONE) for image in images
        ]
        durations = [100] * (len(indexed) - 1) + [2000]
        buffer = io.BytesIO()
        indexed[0].save(
            buffer, form, save_all=True, append_images=indexed[1:], duration=durations, loop=0
        )
        return buffer.getvalue()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        image = base64.b64encode(self.encoded()).decode()
        text = f"{self.picture.statement}\n{self.picture.alt}"
        return {"image/gif": image, "text/plain": text}, {"image/gif": {"alt": self.picture.alt}}

    def __rich__(self) -> str:
        return self.picture.__rich__()


def plane(x: np.ndarray) -> np.ndarray:
    """The plane around the points x (examples, 2) as a grid: both coordinates, (2, 200, 200)."""
    low, high = x.min(axis=0), x.max(axis=0)
    rim = 0.15 * (high - low)
    sides = [np.linspace(*ends, 200) for ends in zip(low - rim, high + rim, strict=True)]
    return np.stack(np.meshgrid(*sides)).astype("float32")


def classes(
    axes: Axes, x: np.ndarray, y: np.ndarray, z: np.ndarray | None = None, size: float = 9
) -> None:
    """Draws points x (examples, 2) of label 0 as circles and of label 1 as triangles.

    Args:
        z: the score at each place of `plane(x)`, 40,000 of them: the side above 0 is shaded in
            the colour of label 1, the other in that of label 0.
        size: of a point, in 1/72 inch.
    """
    if z is not None:
        grid, z = plane(x), np.reshape(z, (200, 200))
        axes.contourf(*grid, z, [-np.inf, 0, np.inf], colors=[BLUE, VERMILLION], alpha=0.25)
        if z.min() < 0 < z.max():
            axes.contour(*grid, z, [0], colors=BLACK, linewidths=2)
    for label, marker, color in ((0, "o", BLUE), (1, "^", VERMILLION)):
        (line,) = axes.plot(*x[y == label].T, marker, color=color, markersize=size)
        line.set(markeredgecolor="white", markeredgewidth=size / 10)
    axes.grid(False)
    axes.set_aspect("equal")


def shades(number: int) -> list[tuple[float, ...]]:
    """Colours in an order that is seen, from dark blue to green: for what is ordered itself."""
    return [tuple(matplotlib.colormaps["viridis"](place)) for place in np.linspace(0, 0.8, number)]


def label_ends(axes: Axes) -> None:
    """Writes each line's label at its right end, in its colour, moved apart where they meet.

    Call it last: it measures the axes as they are. Lines without a label stay without.
    """
    axes.margins(x=0.02)
    to_axes = axes.transData + axes.transAxes.inverted()
    ends: list[tuple[float, str, Any]] = []
    for line in axes.get_lines():
        points = np.array(line.get_xydata(), float)
        points = points[np.isfinite(points).all(axis=1)]
        text = str(line.get_label())
        if len(points) and not text.startswith("_"):
            height = float(np.clip(to_axes.transform(points[-1])[1], 0, 1))
            ends.append((height, text, line.get_color()))
    ends.sort(key=lambda end: end[0])
    gap = 20 / axes.get_window_extent().height
    heights = [height for height, _, _ in ends]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + gap)
    for i in range(len(heights) - 1, -1, -1):
        above = heights[i + 1] - gap if i + 1 < len(heights) else 1.02
        heights[i] = min(heights[i], above)
    for height, (_, text, color) in zip(heights, ends, strict=True):
        axes.annotate(
            text,
            (1, height),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=color,
            annotation_clip=False,
        )
