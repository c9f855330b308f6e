"""What every picture has alike: its canvas, its frame, the shapes of its marks, and values with intervals as dots and lines."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from adresponse.report.formats import plain, short_tick

__all__ = [
    "BLUE",
    "FAINT",
    "FILLED",
    "INK",
    "MUTED",
    "OPEN",
    "ORANGE",
    "SEEN",
    "SMALL",
    "STACK",
    "STYLE",
    "UNSEEN",
    "WIDE",
    "Dot",
    "canvas",
    "dotted",
    "figure_of",
    "framed",
    "one_line",
    "svg",
]

_CHARACTER = 8
"""Pixels of a digit beside an axis, at most."""
# Okabe and Ito's palette, told apart under every common colour blindness; shape says the same a second time.
STACK = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
BLUE, ORANGE, INK, MUTED, FAINT = "#0072b2", "#d55e00", "#1b2733", "#5b6875", "#d9dee3"
_LEGEND_COLUMNS = 4
_LEGEND_NAME = 26  # characters; two of such a length stand side by side
SMALL, WIDE = (440, 300), (500, 350)  # in CSS pixels at their natural size
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be selected, searched and read aloud
    "svg.hashsalt": "adresponse",  # the same study gives the same bytes
    "text.parse_math": False,  # a name such as "Spend ($)" is no formula
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 12,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "legend.handletextpad": 0.3,
    "legend.columnspacing": 1.2,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0,
}
SEEN: dict[str, Any] = {"ls": "none", "marker": "o", "ms": 4.6, "mfc": BLUE, "mec": "none", "alpha": 0.55}
UNSEEN: dict[str, Any] = {"ls": "none", "marker": "D", "ms": 4.4, "mfc": "white", "mec": ORANGE, "mew": 1.3}
FILLED: dict[str, Any] = {"ls": "none", "marker": "o", "ms": 7, "mfc": BLUE, "mec": BLUE}
OPEN: dict[str, Any] = {"ls": "none", "marker": "D", "ms": 6, "mfc": "white", "mec": ORANGE, "mew": 1.5}


def canvas(size: tuple[int, int]) -> Axes:
    figure = Figure(figsize=(size[0] / 72, size[1] / 72))
    FigureCanvasSVG(figure)
    return figure.add_axes((0, 0, 1, 1))


def figure_of(ax: Axes) -> Figure:
    return cast(Figure, ax.figure)


def _name(text: str, width: int) -> str:
    """The text on at most two lines of ``width`` characters."""
    lines = textwrap.wrap(plain(text), width, break_long_words=True) or [""]
    return "\n".join([lines[0], *([lines[1] if len(lines) == 2 else lines[1][: width - 1] + "…"] if lines[1:] else [])])


def one_line(text: str, width: int) -> str:
    """The text on one line of ``width`` characters; of a longer one its beginning and its end, where names often differ."""
    text = plain(text)
    head = 2 * width // 3
    return text if len(text) <= width else f"{text[:head]}…{text[head + 1 - width :]}"


def framed(ax: Axes, x: str, y: str, *, legend: bool = False) -> Figure:
    """Ticks, labels and margins: y is named upright above its axis, x below, the marks on a line of their own."""
    figure = figure_of(ax)
    width, height = figure.get_size_inches() * 72
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: short_tick(value)))
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    low, high = ax.get_ylim()
    longest = max(len(short_tick(t)) for t in ax.get_yticks() if low <= t <= high)
    characters = int(width // 7.2)
    y, x = _name(y, characters), _name(x, characters)
    widest = max(len(short_tick(t)) for t in ax.get_xticks())
    left, right = 7 * longest + 16, max(14, 3.5 * widest)
    bottom = 42 + 15 * x.count("\n")
    handles, labels = ax.get_legend_handles_labels() if legend else ([], [])
    labels = [one_line(label, _LEGEND_NAME) for label in labels]
    columns = _legend_columns(labels, width)
    lines = -(-len(labels) // columns)
    top = 28 + 15 * y.count("\n") + 4 * legend + 19 * lines
    ax.set_position((left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height))
    ax.tick_params(length=3, width=0.8)
    figure.text(0, 1 - 6 / height, y, va="top", ha="left")
    figure.text(1 - right / width, 6 / height, x, va="bottom", ha="right")
    if legend:
        start = -left / (width - left - right)  # from the figure's edge, so that four entries have room
        ax.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(start, 1.02, 1, 0.1),
            ncols=columns,
            handlelength=1.2,
            columnspacing=1.0,
            handletextpad=0.5,
        )
    return figure


def _legend_columns(labels: Sequence[str], width: float) -> int:
    """Columns of a legend, filled one after the other, that find room beside one another."""

    def needed(columns: int) -> float:
        filled = (max(map(len, part)) for part in np.array_split(np.asarray(labels), columns) if len(part))
        return sum(30 + 6.5 * longest for longest in filled)  # mark and distance; a character of 11 pixels' height

    return next((n for n in range(_LEGEND_COLUMNS, 1, -1) if needed(n) <= width), 1)


def svg(figure: Figure, title: str) -> bytes:
    out = io.BytesIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(out, format="svg", metadata={**nothing, "Title": plain(title)})
    return out.getvalue().replace(b"'DejaVu Sans', sans-serif", _FONT.encode())


@dataclass(frozen=True)
class Dot:
    """One mark with its interval, on the line of ``name``."""

    name: str
    value: float
    low: float
    high: float
    how: dict[str, Any]
    kind: str = ""


def _draw_dots(ax: Axes, place: int, name: str, dots: Sequence[Dot]) -> None:
    """One name with its marks and intervals beneath; the first line names the kinds of mark for the legend."""
    for nth, dot in enumerate(dots):
        y = place + 0.16 + 0.24 * (nth - (len(dots) - 1) / 2)
        ax.plot([dot.low, dot.high], [y, y], color=dot.how["mec"], lw=1.6, solid_capstyle="butt")
        ax.plot([dot.value], [y], **dot.how, label=None if place else dot.kind or None)
    ax.annotate(
        one_line(name, 58), (0, place - 0.27), xycoords=("axes fraction", "data"), va="center", ha="left",
        bbox={"fc": "white", "ec": "none", "pad": 1.5},
    )  # fmt: skip


def dotted(dots: Sequence[Dot], x: str, *, zero: bool, limits: tuple[float, float] | None = None) -> Figure:
    """Values with intervals, one beneath the other, each named above its line so that long names find room."""
    names = list(dict.fromkeys(d.name for d in dots))
    step, legend = 44, any(d.kind for d in dots)
    width, x = SMALL[0], _name(x, 58)
    bottom, top = 46 + 15 * x.count("\n"), 8 + 24 * legend
    height = bottom + top + 10 + step * len(names)
    ax = canvas((width, height))
    figure = figure_of(ax)
    if zero:
        ax.axvline(0, color=MUTED, lw=0.9)
    for place, name in enumerate(names):
        _draw_dots(ax, place, name, [d for d in dots if d.name == name])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlim(*(limits or ax.get_xlim()))
    ax.set_xticks(_with_room(*ax.get_xlim(), width - 18, 2, 16))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_tick(value)))
    ax.yaxis.set_visible(False)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x", color=FAINT, lw=0.6)
    ax.set_position((2 / width, bottom / height, (width - 18) / width, (height - bottom - top) / height))
    figure.text(1 - 16 / width, 6 / height, x, va="bottom", ha="right")
    if legend:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0, 1, 0.1), ncols=3)
    return figure


def _with_room(low: float, high: float, width: float, left: float, right: float) -> list[float]:
    """Ticks of an axis so many pixels wide whose labels end within it and the margins beside it."""
    pixel, found = (high - low) / width, []
    for tick in MaxNLocator(6).tick_values(low, high):
        half = _CHARACTER * len(short_tick(tick)) / 2
        if low + max(half - left, 0) * pixel <= tick <= high - max(half - right, 0) * pixel:
            found.append(float(tick))
    return found
