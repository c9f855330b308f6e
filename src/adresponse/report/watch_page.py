"""What did the watch find? One self-contained page for a person: the verdict, its reasons, and what moved."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from adresponse.report.drawing import BLUE, ORANGE, SMALL, STYLE, canvas, framed, svg
from adresponse.report.formats import interval, number, p_value, percent, slugs
from adresponse.report.inline import inline
from adresponse.report.parts import Shown, Table, Tile, day, render, table

if TYPE_CHECKING:
    from adresponse.watching.drift import ColumnDrift
    from adresponse.watching.relation import Line, SlopeChange
    from adresponse.watching.verdict import Watch

__all__ = ["Watched", "watch_page"]

PALE = "#9cc4de"
PANELS = 12  # columns and features that are drawn; the tables have every one
MARKS = {"keep": ("pass", "✓"), "retrain": ("review", "▲"), "stop": ("fail", "■")}


@dataclass(frozen=True)
class Watched:
    """Where the rows came from and where the watch rests.

    ``source`` is the file, ``created`` an ISO date-time in UTC, ``run_id`` the run in MLflow; ``commands`` are pairs of what a
    line does and the line.
    """

    source: str = ""
    created: str = ""
    run_id: str = ""
    commands: tuple[tuple[str, str], ...] = ()


UNTOLD = Watched()


def watch_page(watch: Watch, watched: Watched = UNTOLD) -> str:
    """The page as one HTML file that loads nothing from anywhere."""
    return render(
        "watch.html",
        title=f"Watch of {watch.model}" if watch.model else "Watch of the champion",
        watch=watch,
        watched=watched,
        day=day(watched.created),
        mark=MARKS[watch.verdict],
        tiles=_tiles(watch),
        sizes=_sizes(watch),
        columns=_columns(watch) if watch.columns else None,
        within=any("markets" in c.basis for c in watch.columns),
        errors=_errors(watch) if watch.errors else None,
        slopes=_slopes(watch) if watch.relation else None,
        tests=_tests(watch) if watch.tests else None,
        relation=_relation_sentence(watch),
        sized=watch.relation is not None and watch.relation.sized,
        distributions=_distributions(watch),
        lines=_lines(watch),
    )


# ---- drawings


def _distributions(watch: Watch) -> list[Shown]:
    slug = slugs(c.name for c in watch.columns)
    return [
        Shown(f"distribution_{slug[c.name]}", _label(watch, c.name), _drawn(_bars(watch, c), slug[c.name], c.name), c.sentence)
        for c in watch.columns[:PANELS]
    ]


def _lines(watch: Watch) -> list[Shown]:
    if watch.relation is None:
        return []
    said = {s.name: s.sentence for s in watch.relation.slopes}
    slug = slugs(said)
    return [
        Shown(
            f"line_{slug[line.name]}",
            f"{watch.target} by {line.name}",
            _drawn(_two_lines(watch, line), f"line_{slug[line.name]}", f"{watch.target} by {line.name}, before and now"),
            said[line.name],
        )
        for line in watch.relation.lines[:PANELS]
    ]


def _drawn(figure: Figure, key: str, title: str) -> Markup:
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a letter that DejaVu lacks is drawn by the browser's font
        return inline(key, svg(figure, title))


def _bars(watch: Watch, c: ColumnDrift) -> Figure:
    """Shares of the rows per bin: bars before, a stepped line now."""
    with rc_context(STYLE):
        ax = canvas(SMALL)
        edges, before, now = (np.array(v) for v in (c.bins.edges, c.bins.before, c.bins.now))
        ax.bar(
            edges[:-1], 100 * before, np.diff(edges), align="edge", color=PALE, edgecolor="white", linewidth=1, label="before"
        )
        ax.stairs(100 * now, edges, color=ORANGE, linewidth=2, label="now")
        ax.set_ylim(0, 1.1 * 100 * max(float(before.max()), float(now.max())))
        return framed(ax, _label(watch, c.name), "Share of the rows (%)", legend=True)


def _two_lines(watch: Watch, line: Line) -> Figure:
    """Rows and lines of one feature, before and now."""
    with rc_context(STYLE):
        ax = canvas(SMALL)
        for points, how in (
            (line.before, {"marker": "o", "ms": 3.6, "mfc": PALE, "mec": "none"}),
            (line.now, {"marker": "D", "ms": 3.6, "mfc": "white", "mec": ORANGE, "mew": 1.1}),
        ):
            x, y = np.array(points).T
            ax.plot(x, y, ls="none", **how)  # type: ignore[arg-type]
        for ends, colour, style, name in (
            (line.line_before, BLUE, "-", "line before"),
            (line.line_now, ORANGE, "--", "line now"),
        ):
            ax.plot([e[0] for e in ends], [e[1] for e in ends], style, color=colour, lw=2.2, label=name)
        return framed(ax, _label(watch, line.name), _label(watch, watch.target), legend=True)


def _label(watch: Watch, name: str) -> str:
    unit = watch.units.get(name, "")
    return f"{name} ({unit})" if unit else name


# ---- tables and tiles


def _tiles(watch: Watch) -> list[Tile]:
    if not watch.sizes.new:
        return [Tile("Rows in the file", f"{watch.sizes.file:,}", "", "none was looked at")]
    tiles = [Tile("New rows", f"{watch.sizes.new:,}", "", f"{watch.sizes.with_sales:,} with known {watch.target}")]
    if watch.errors:
        e = watch.errors
        tiles.append(
            Tile(
                "Error against evaluation",
                f"{number(e.ratio, 3)} times",
                "",
                f"95 % interval {_few(e.ratio_low, e.ratio_high)}",
            )
        )
        if e.coverage:
            c = e.coverage
            tiles.append(Tile("In the 90 % intervals", percent(c.measured, 0), "", f"{c.inside:,} of {c.rows:,} rows"))
    if watch.relation:
        most = max(watch.relation.slopes, key=lambda s: (s.named, -min(s.p_less, s.p_more)), default=None)
        if most and math.isfinite(most.share):
            tiles.append(Tile(f"{most.name} brings", _signed(most.share), "", _ends_of_share(most)))
    return tiles


def _few(low: float, high: float) -> str:
    return interval(low, high, 3)


def _signed(share: float) -> str:
    return f"{'+' if share > 0 else ''}{percent(share, 0)}"


def _ends_of_share(s: SlopeChange) -> str:
    low, high = (_signed(v / abs(s.before)) for v in (s.alone_low, s.alone_high))
    return f"95 % interval {low} to {high}"


def _sizes(watch: Watch) -> list[tuple[str, str]]:
    s = watch.sizes
    left = [
        (s.repeated, "were there before"),
        (s.revised, "came before with other values"),
        (s.bad, "cannot be scored"),
        (s.unknown_market, "are of markets that the model does not know"),
    ]
    named = [f"{n:,} {what}" for n, what in left if n]
    if not s.new:
        named = named or ["all, since the file is not fit" if s.file else "there is none"]
    facts = [
        ("Rows in the file", f"{s.file:,}"),
        ("Left out", "; ".join(named) or "none"),
        ("Looked at", f"{s.new:,}, of which {s.with_sales:,} with known {watch.target}"),
        ("Rows the champion stood on", f"{s.reference:,}"),
    ]
    if watch.tests:
        facts.append(("Look", f"number {watch.look} of this stream" if watch.rules.per == "stream" else "by itself"))
        facts.append(("Level", watch.level_sentence))
    return facts


STATUS = {"drifted": "drifted", "not found": "no drift found", "too few": "too few rows to tell"}


def _columns(watch: Watch) -> Table:
    heads = ("Column", "Result", "#Mean before", "#now", "#Moved by", "#in standard deviations", "#KS", "#p (Holm)", "#PSI")
    rows = (
        (
            _label(watch, c.name),
            STATUS[c.status],
            number(c.mean_before),
            number(c.mean_now),
            number(c.wasserstein, 3),
            number(c.wasserstein_sd, 2),
            number(c.ks, 2),
            p_value(c.p_adjusted),
            number(c.psi, decimals=2),
            number(c.psi_chance, decimals=2),
            percent(c.beyond, 0),
            f"{c.rows_now:,}",
            c.basis,
        )
        for c in watch.columns
    )
    return table(
        "Each column, before and now",
        (*heads, "#of chance", "#Beyond the range", "#Rows", "Compared with"),
        rows,
        marked=(i for i, c in enumerate(watch.columns) if c.status == "drifted"),
    )


def _errors(watch: Watch) -> Table | None:
    e = watch.errors
    if e is None:
        return None
    unit = watch.units.get(watch.target, "")
    rows = [
        ("Mean absolute error", unit, number(e.mae_before, 3), number(e.mae_now, 3), ""),
        ("Times as large", "", "1", number(e.ratio, 3), _few(e.ratio_low, e.ratio_high)),
        ("Mean error (sold less predicted)", unit, number(e.bias_before, 3), number(e.bias, 3), _few(e.bias_low, e.bias_high)),
    ]
    if e.coverage:
        c = e.coverage
        ends = f"{percent(c.low, 0)} to {percent(c.high, 0)}"
        rows.append(("In the 90 % interval", "of the rows", percent(c.level, 0), percent(c.measured, 0), ends))
    rows.append(("Scatter around the own line", "times before", "1", number(e.spread_ratio, 3), ""))
    return table("Errors at evaluation and on the new rows", ("What", "Unit", "#Before", "#Now", "#95 % interval"), rows)


def _slopes(watch: Watch) -> Table | None:
    if watch.relation is None:
        return None
    terms = [watch.relation.level, *watch.relation.slopes]
    heads = ("Term", "#Before", "#Now", "#95 % interval of the change", "#Now, if no more moved than is named")
    rows = (
        (
            t.name or "without spend",
            number(t.before, 3),
            number(t.now, 3),
            interval(t.low, t.high, 2),
            number(t.before + t.alone, 3),
            interval(t.alone_low, t.alone_high, 2),
            percent(t.detectable, 0) if t.name and math.isfinite(t.detectable) else "–",
            p_value(t.p_less),
            p_value(t.p_more),
        )
        for t in terms
    )
    return table(
        "What one more unit brings, before and now",
        (*heads, "#95 % interval of that change", "#Loss that would be found", "#p less", "#p more"),
        rows,
        marked=(i for i, t in enumerate(terms) if t.named),
    )


def _relation_sentence(watch: Watch) -> str:
    held = next((t for t in watch.tests if t.name == "relation"), None)
    left = watch.relation.left_out if watch.relation else ()
    more = f" Nothing can be told of {', '.join(left)}: one value only." if left else ""
    return f"{held.sentence}{more}" if held else ""


def _tests(watch: Watch) -> Table:
    return table(
        "What was tested, and at which level",
        ("Test", "#p", "#Level", "Result", "What was found"),
        ((t.title, p_value(t.p), _level(t.level), "found" if t.found else "not found", t.sentence) for t in watch.tests),
        marked=(i for i, t in enumerate(watch.tests) if t.found),
    )


def _level(level: float) -> str:
    return f"{level:.2g}" if level >= 1e-4 else f"{level:.0e}"
