"""What does the study look like? Each figure as one deterministic SVG, with text that can be selected."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from numpy.typing import NDArray

from adresponse.profile import Correlation, Numbers
from adresponse.report.drawing import (
    BLUE,
    FAINT,
    FILLED,
    INK,
    MUTED,
    OPEN,
    ORANGE,
    SEEN,
    SMALL,
    STACK,
    STYLE,
    UNSEEN,
    WIDE,
    Dot,
    canvas,
    dotted,
    framed,
    svg,
)
from adresponse.report.formats import number, percent, plain, slugs
from adresponse.report.phrases import capital, in_unit
from adresponse.tune import GridPoint

if TYPE_CHECKING:
    from adresponse.mixing.fit import MixFit
    from adresponse.planning.prospect import Prospect
    from adresponse.study import Study

__all__ = ["PANELS", "SHOWN_ROWS", "figures", "shown_rows"]

Array = NDArray[np.float64]

PANELS = 12
"""At most this many columns, pairs or candidates are drawn in one group of figures."""
SHOWN_ROWS = 1000
"""At most this many rows are drawn as marks in one figure; of more, a fixed random sample."""


def shown_rows(rows: int) -> NDArray[np.int64]:
    """Positions of the rows drawn as marks: all, or of many a random sample that is always the same."""
    if rows <= SHOWN_ROWS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, SHOWN_ROWS, replace=False))


def _label_rows(ax: Axes, points: Iterable[tuple[int, float, float]]) -> None:
    """Write the data row number beside a mark, towards the middle of the axes, by turns above and below it."""
    low, high = ax.get_xlim()
    for nth, (row, x, y) in enumerate(sorted(points, key=lambda p: p[2])):
        right = x > low + 0.85 * (high - low)
        ax.annotate(
            f"row {row}", (x, y), xytext=(-6 if right else 6, 3 if nth % 2 else -11), textcoords="offset points",
            ha="right" if right else "left", fontsize=10, color=MUTED,
        )  # fmt: skip


def _trend(x: Array, y: Array, parts: int = 10) -> tuple[Array, Array]:
    """Means of x and y per tenth of the rows in the order of x, shape (parts,) each: the drift of a cloud of points."""
    order = np.argsort(x, kind="stable")
    groups = [g for g in np.array_split(order, parts) if len(g)]
    return np.array([x[g].mean() for g in groups]), np.array([y[g].mean() for g in groups])


# ---- the table


def _distribution(numbers: Numbers, label: str) -> Figure:
    """How are the rows spread over the values of one column?"""
    ax = canvas(SMALL)
    edges, counts = np.array(numbers.histogram.edges), np.array(numbers.histogram.counts)
    ax.bar(edges[:-1], counts, np.diff(edges), align="edge", color="#9cc4de", edgecolor="white", linewidth=1)
    top = max(int(counts.max(initial=0)), 1)
    ax.set_ylim(0, 1.5 * top)
    _five_numbers(ax, numbers)
    low, high = numbers.densest
    ax.plot([low, low, high, high], np.array([1.04, 1.08, 1.08, 1.04]) * top, color=BLUE, lw=1.2)
    share = f"{percent(numbers.densest_share, 0)} from {number(low)} to {number(high)}"
    _beside(ax, (low + high) / 2, 1.11 * top, share, va="bottom", color=BLUE)
    figure = framed(ax, label, "Rows")
    ax.set_yticks([t for t in ax.get_yticks() if t <= 1.1 * top and float(t).is_integer()])
    ax.spines["left"].set_visible(False)
    return figure


def _five_numbers(ax: Axes, numbers: Numbers) -> None:
    """Lowest, quartiles, median and highest as one line above the bars."""
    low, high = ax.get_xlim()
    place = ax.get_xaxis_transform()
    ax.plot([numbers.lowest, numbers.highest], [0.95, 0.95], color=MUTED, lw=1, transform=place)
    ax.plot([numbers.q1, numbers.q3], [0.95, 0.95], color=MUTED, lw=4.5, solid_capstyle="butt", transform=place)
    ax.plot([numbers.median], [0.95], "o", color="white", mec=INK, mew=1.4, ms=6, transform=place)
    ax.set_xlim(low, high)
    _beside(ax, numbers.median, 0.91, f"median {number(numbers.median)}", va="top", color=INK, transform=place)


def _beside(ax: Axes, x: float, y: float, text: str, **how: Any) -> None:
    """A text centred on x, but flush with the nearer edge where it would run out of the axes."""
    low, high = ax.get_xlim()
    at = (x - low) / (high - low) if high > low else 0.5
    ax.text(x, y, text, ha="left" if at < 0.18 else "right" if at > 0.82 else "center", fontsize=11, **how)


def _scatter(study: Study, name: str) -> Figure:
    """Do spend and sales move together?"""
    ax = canvas(SMALL)
    frame, contract = study.table.frame, study.table.contract
    at = shown_rows(len(frame))
    x, y = frame[name].to_numpy()[at], frame[contract.target].to_numpy()[at]
    ax.plot(x, y, **SEEN, label="rows")
    odd = [o for o in study.profile.much_spent_little_sold if name in o.values and contract.target in o.values][:5]
    if odd and len(contract.channels) == 1:
        points = [(o.row, o.values[name], o.values[contract.target]) for o in odd]
        ax.plot(
            [p[1] for p in points], [p[2] for p in points], "o", mfc="none", mec=ORANGE, ms=10, mew=1.4,
            label="much spent, little sold",
        )  # fmt: skip
    return framed(ax, contract.label(name), contract.label(contract.target), legend=True)


def _correlation(pairs: Sequence[Correlation]) -> Figure:
    """How close is each pair of columns, and how sure is that?"""
    dots: list[Dot] = []
    for c in pairs:
        name = f"{plain(c.a)} and {plain(c.b)}"
        dots.append(Dot(name, c.pearson, c.pearson_low, c.pearson_high, FILLED, "Pearson's r"))
        dots.append(Dot(name, c.spearman, c.spearman_low, c.spearman_high, OPEN, "Spearman's rho"))
    return dotted(dots, "Correlation, with 95 % interval", zero=True, limits=(-1.03, 1.03))


def _short_params(params: dict[str, str]) -> str:
    return ", ".join(f"{k.rsplit('__', 1)[-1]} = {v}" for k, v in params.items()) or "any setting"


def _alike(grid: Sequence[GridPoint]) -> list[tuple[GridPoint, str]]:
    """Settings that gave the same error as one, best first, named by the parameters that they share."""
    groups: dict[tuple[str, str], list[GridPoint]] = {}
    for point in sorted(grid, key=lambda g: g.rank):
        groups.setdefault((f"{point.rmse:.6g}", f"{point.std:.6g}"), []).append(point)
    return [(points[0], _shared(points)) for points in groups.values()]


def _shared(points: Sequence[GridPoint]) -> str:
    shared = {k: v for k, v in points[0].params.items() if all(p.params.get(k) == v for p in points)}
    return _short_params(shared) + (f" ({len(points)} settings)" if len(points) > 1 else "")


def _tuning(study: Study) -> Figure:
    """Which settings predict best?"""
    dots = [Dot(name, g.rmse, g.rmse - g.std, g.rmse + g.std, FILLED) for g, name in _alike(study.leaderboard.grid)[:PANELS]]
    return dotted(dots, in_unit(study, "Mean RMSE over the folds, ± its spread"), zero=False)


def _comparison(study: Study) -> Figure:
    """Is any candidate better than the default by more than chance?"""
    dots = []
    for r in study.leaderboard.rows[:PANELS]:
        name = capital(r.title) + (" (chosen)" if r.chosen else "")
        dots.append(Dot(name, r.difference, r.low, r.high, FILLED if r.chosen else OPEN))
    return dotted(dots, in_unit(study, "RMSE minus the default's"), zero=True)


# ---- the fit


def _finite(values: Any) -> Array:
    """As floats, with what is unbounded left out of the drawing."""
    array = np.asarray(values, dtype=float)
    return np.where(np.isfinite(array), array, np.nan)


def _fitted_line(study: Study, name: str) -> Figure:
    """What does the model expect over the budgets seen, and how far may a new row lie from it?"""
    contract, X, y = study.table.contract, study.table.X, study.table.y.to_numpy(dtype=float)
    ax = canvas(WIDE if len(contract.features) == 1 else SMALL)
    grid = X.mean().to_frame().T.loc[[0] * 60].reset_index(drop=True)
    grid[name] = np.linspace(X[name].min(), X[name].max(), 60)
    line, low, high = (_finite(a) for a in study.predict_interval(grid, 0.9))
    spend = grid[name].to_numpy()
    ax.fill_between(spend, low, high, color=BLUE, alpha=0.13, lw=0, label="90 % of new rows")
    for rows, how, label in ((study.train, SEEN, "fitted on"), (study.test, UNSEEN, "held out")):
        at = rows[shown_rows(len(rows))]
        if len(at):
            ax.plot(X[name].to_numpy()[at], _adjusted(study, name, at, y[at]), **how, label=label)
    ax.plot(spend, line, color=INK, lw=2, label="expected")
    ax.margins(x=0.03)
    return framed(ax, contract.label(name), contract.label(contract.target), legend=True)


def _adjusted(study: Study, name: str, at: NDArray[np.int64], observed: NDArray[Any]) -> NDArray[Any]:
    """Sales as they would stand with every other feature at its mean: the expectation there plus the row's residual."""
    if len(study.table.contract.features) == 1:
        return observed
    X = study.table.X
    rows = X.iloc[at]
    moved = X.mean().to_frame().T.loc[[0] * len(at)].reset_index(drop=True)
    moved[name] = rows[name].to_numpy()
    expected = np.asarray(study.estimator.predict(moved), dtype=float)
    return np.asarray(expected + observed - np.asarray(study.estimator.predict(rows), dtype=float))


# ---- response curves


def _mix_figures(study: Study, mix: MixFit) -> Iterator[tuple[str, str, Figure]]:
    contract, prospect = study.table.contract, study.prospect()
    assert prospect is not None  # noqa: S101  curves have one
    slug = slugs(c.name for c in contract.columns)
    for c, name in enumerate(contract.channels[:PANELS]):
        drawn = _curve(study, mix, c, prospect)
        yield f"curve_{slug[name]}", f"Response curve of {name}", drawn
    yield "returns", "What one unit of spend brings", _returns(study, mix)
    if contract.date is not None and contract.market is None:
        yield "contributions", f"What {contract.target} is made of", _contributions(study, mix, contract.date)


def _curve(study: Study, mix: MixFit, c: int, prospect: Prospect) -> Figure:
    """What does a channel bring in a period, if as much is spent in every period? Of markets, in the average one."""
    contract, response = study.table.contract, mix.responses[c]
    today = prospect.today[response.channel] / prospect.size(None)
    ax = canvas(WIDE if len(contract.channels) == 1 else SMALL)
    spend = np.linspace(0, prospect.seen[response.channel][1], 80)
    low, high = np.quantile(mix.draws.steady(c, spend), [0.05, 0.95], axis=0)
    seen = [(x, y) for x, y in prospect.points[response.channel] if x <= spend[-1]]
    ax.axhline(0, color=FAINT, lw=0.9)
    ax.fill_between(spend, low, high, color=BLUE, alpha=0.16, lw=0, label="90 % interval")
    ax.plot([x for x, _ in seen], [y for _, y in seen], **{**SEEN, "alpha": 0.3}, label="rows")
    ax.plot(spend, response.steady(spend), color=INK, lw=2, label="expected")
    ax.plot([today], [float(response.steady(today))], ls="none", marker="o", ms=7, mfc="white", mec=ORANGE, mew=2, label="now")
    ax.margins(x=0.03)
    return framed(ax, contract.label(response.channel), in_unit(study, f"{plain(contract.target)} brought"), legend=True)


def _returns(study: Study, mix: MixFit) -> Figure:
    """How much does a unit of spend bring on average, and how much would one more?"""
    dots = []
    for a in mix.answers[:PANELS]:
        dots.append(Dot(a.channel, a.roi, a.roi_low, a.roi_high, FILLED, "on average"))
        dots.append(Dot(a.channel, a.marginal_roi, a.marginal_roi_low, a.marginal_roi_high, OPEN, "one more unit"))
    return dotted(dots, in_unit(study, f"{plain(study.table.contract.target)} for one unit of spend"), zero=True)


def _contributions(study: Study, mix: MixFit, date: str) -> Figure:
    """Which part of sales came from which channel, period by period?"""
    ax = canvas(WIDE)
    when: Any = date2num(study.table.frame[date].to_numpy()[study.train])  # type: ignore[no-untyped-call]
    parts = [mix.base, *(mix.contributions[name].to_numpy() for name in mix.contributions)]
    colours = [FAINT, *(STACK[i % len(STACK)] for i in range(len(parts) - 1))]
    ax.stackplot(when, *parts, colors=colours, labels=["base", *map(plain, mix.contributions)], lw=0)
    ax.plot(when, study.table.y.to_numpy()[study.train], color=INK, lw=1.1, label="observed")
    ax.margins(x=0.01)
    figure = framed(ax, date, in_unit(study, plain(study.table.contract.target)), legend=True)
    found: Any = AutoDateLocator(maxticks=6)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(found)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(found, show_offset=False))  # type: ignore[no-untyped-call]
    return figure


def _predicted_observed(study: Study) -> Figure:
    """How near do the predictions for unseen rows come?"""
    ax = canvas(SMALL)
    rows = [study.evaluation.predicted[i] for i in shown_rows(len(study.evaluation.predicted))]
    predicted, observed = np.array([r.predicted for r in rows]), np.array([r.observed for r in rows])
    low, high = _finite([r.low for r in rows]), _finite([r.high for r in rows])
    inside = ~((observed < low) | (observed > high))
    ax.vlines(predicted, low, high, color=BLUE, alpha=0.25, lw=1.2, label="90 % interval")
    ends = (min(predicted.min(), observed.min()), max(predicted.max(), observed.max()))
    ax.plot(ends, ends, color=INK, lw=1, label="as predicted")
    ax.plot(predicted[inside], observed[inside], **{**SEEN, "alpha": 0.9}, label="inside")
    if not inside.all():
        ax.plot(predicted[~inside], observed[~inside], **UNSEEN, label="outside")
    target = plain(study.table.contract.target)
    return framed(ax, in_unit(study, f"{target} predicted"), in_unit(study, f"{target} observed"), legend=True)


@dataclass(frozen=True)
class _Residuals:
    """Rows fitted: predicted, residual, leverage and studentised residual, shape (n_rows,); ``size`` coefficients."""

    predicted: Array
    residual: Array
    leverage: Array | None
    studentised: Array
    size: int


def _residuals_of(study: Study) -> _Residuals:
    """Predicted, residuals, leverages and (internally) studentised residuals of the rows fitted.

    Leverages are the diagonal of the hat matrix, by QR of the features (scaling changes none of them). A model
    that is not linear has none, and its residuals are divided by their standard deviation alone; where curves grow with their
    market, first by its size.
    """
    X = study.inputs.iloc[study.train]
    predicted = np.asarray(study.estimator.predict(X), dtype=float).ravel()
    residual = study.table.y.to_numpy()[study.train] - predicted
    if study.linear is None:
        alike = residual if study.mix is None else residual / study.mix.model.size(X)
        return _Residuals(predicted, residual, None, alike / (alike.std() or 1.0), 0)
    centred = X.to_numpy() - X.to_numpy().mean(axis=0)
    design = np.column_stack([np.ones(len(X)), centred / np.maximum(np.abs(centred).max(axis=0), 1e-300)])
    leverage = np.minimum((np.linalg.qr(design)[0] ** 2).sum(axis=1), 1 - 1e-12)
    rse = np.sqrt((residual**2).sum() / max(len(X) - design.shape[1], 1)) or 1.0
    return _Residuals(predicted, residual, leverage, residual / (rse * np.sqrt(1 - leverage)), design.shape[1])


def _residual_plot(study: Study, r: _Residuals) -> Figure:
    """Is the model wrong in a pattern?"""
    ax = canvas(SMALL)
    ax.axhline(0, color=INK, lw=0.9)
    at = shown_rows(len(r.predicted))
    ax.plot(r.predicted[at], r.residual[at], **SEEN, label="fitted on")
    if len(study.test) and study.evaluation.basis == "held-out":
        rows = [study.evaluation.predicted[i] for i in shown_rows(len(study.evaluation.predicted))]
        ax.plot([p.predicted for p in rows], [p.observed - p.predicted for p in rows], **UNSEEN, label="held out")
    ax.plot(*_trend(r.predicted, r.residual), color=ORANGE, lw=1.8, label="mean")
    y = in_unit(study, "Observed minus predicted")
    return framed(ax, in_unit(study, f"{plain(study.table.contract.target)} predicted"), y, legend=True)


def _scale_location(study: Study, r: _Residuals) -> Figure:
    """Does the error grow with the prediction?"""
    ax = canvas(SMALL)
    size = np.sqrt(np.abs(r.studentised))
    at = shown_rows(len(size))
    ax.plot(r.predicted[at], size[at], **SEEN, label="fitted on")
    ax.plot(*_trend(r.predicted, size), color=ORANGE, lw=1.8, label="mean")
    ax.set_ylim(bottom=0)
    x = in_unit(study, f"{plain(study.table.contract.target)} predicted")
    return framed(ax, x, "Square root of |studentised residual|", legend=True)


def _qq(r: _Residuals) -> Figure:
    """Are the errors spread like a normal distribution?"""
    ax = canvas(SMALL)
    n = len(r.studentised)
    at = shown_rows(n)
    normal = NormalDist()
    x = np.array([normal.inv_cdf((i + 0.5) / n) for i in at])
    ax.plot([x[0], x[-1]], [x[0], x[-1]], color=INK, lw=1, label="normal")
    ax.plot(x, np.sort(r.studentised)[at], **SEEN, label="fitted on")
    return framed(ax, "Quantile of the normal distribution", "Studentised residual", legend=True)


def _influence(study: Study, r: _Residuals, leverage: Array) -> Figure:
    """Which rows pull the line, and how strongly? (Cook 1977.)"""
    ax = canvas(SMALL)
    cook = r.studentised**2 * leverage / (1 - leverage) / r.size
    top = np.argsort(-cook, kind="stable")[:3]
    at = np.union1d(shown_rows(len(cook)), top)
    ax.axhline(0, color=FAINT, lw=0.9)
    ax.plot(leverage[at], r.studentised[at], **SEEN, label="fitted on")
    right, up = 1.08 * leverage.max(), 1.15 * np.abs(r.studentised).max() or 1.0
    h = np.linspace(right / 400, min(right, 0.999), 200)
    for distance, text, style in ((4 / len(cook), "Cook's distance 4/n", "--"), (0.5, "0.5", "-."), (1.0, "1", "-")):
        edge = np.sqrt(distance * r.size * (1 - h) / h)
        if edge.min() < up:
            ax.plot(h, edge, color=ORANGE, lw=1, ls=style, label=text)
            ax.plot(h, -edge, color=ORANGE, lw=1, ls=style)
    ax.set_xlim(0, right)
    ax.set_ylim(-up, up)
    _label_rows(ax, [(int(study.table.frame.index[study.train[i]]), float(leverage[i]), float(r.studentised[i])) for i in top])
    return framed(ax, "Leverage (0 to 1)", "Studentised residual", legend=True)


def _order(study: Study, r: _Residuals, date: str) -> Figure:
    """Do neighbouring periods err alike? Of markets, what all of them err together."""
    ax = canvas(SMALL)
    order = np.argsort(study.train, kind="stable")
    errors, row, what = pd.Series(r.residual[order], index=study.train[order] + 1), "Row", "Observed minus predicted"
    if study.table.contract.market is not None:
        each = errors.groupby(study.table.frame[date].to_numpy()[study.train[order]]).sum()
        errors, row, what = each.set_axis(np.arange(len(each)) + 1), "Period", f"{what}, all markets"
    drawn = errors.iloc[shown_rows(len(errors))]
    ax.axhline(0, color=INK, lw=0.9)
    ax.plot(drawn.index, drawn, color=BLUE, lw=0.8, alpha=0.5)
    ax.plot(drawn.index, drawn, **SEEN)
    return framed(ax, f"{row}, in the order of {date}", in_unit(study, what))


# ---- all of them


def _table_figures(study: Study) -> Iterator[tuple[str, str, Figure]]:
    contract, profile = study.table.contract, study.profile
    slug = slugs(c.name for c in contract.columns)
    for n in profile.numbers[:PANELS]:
        yield f"distribution_{slug[n.name]}", f"Distribution of {n.name}", _distribution(n, contract.label(n.name))
    for name in contract.features[:PANELS]:
        yield f"scatter_{slug[name]}", f"{contract.target} against {name}", _scatter(study, name)
    known = [c for c in profile.correlations if np.isfinite(c.pearson)]
    if known:
        pairs = sorted(known, key=lambda c: contract.target not in (c.a, c.b))[:PANELS]
        yield "correlation", "Correlations with their intervals", _correlation(pairs)


def _model_figures(study: Study) -> Iterator[tuple[str, str, Figure]]:
    contract = study.table.contract
    slug = slugs(c.name for c in contract.columns)
    if study.leaderboard.grid:
        yield "tuning", "Error of the settings tried", _tuning(study)
    if study.mix is not None:
        yield from _mix_figures(study, study.mix)
    for name in contract.features[:PANELS] if study.mix is None else ():
        key = "fitted_line" if len(contract.features) == 1 else f"fitted_line_{slug[name]}"
        yield key, f"Expected {contract.target} over {name}", _fitted_line(study, name)
    if study.leaderboard.rows:
        yield "comparison", "Candidates against the default", _comparison(study)


def _diagnostic_figures(study: Study) -> Iterator[tuple[str, str, Figure]]:
    if study.evaluation.predicted:
        yield "predicted_observed", "Predicted and observed, unseen rows", _predicted_observed(study)
    r = _residuals_of(study)
    yield "residuals", "Residuals against predictions", _residual_plot(study, r)
    yield "scale_location", "Size of the residuals against predictions", _scale_location(study, r)
    yield "qq", "Residuals against a normal distribution", _qq(r)
    if r.leverage is not None:
        yield "influence", "Leverage and residuals", _influence(study, r, r.leverage)
    if study.table.contract.date is not None:
        yield "order", "Residuals in the order of time", _order(study, r, study.table.contract.date)


def figures(study: Study) -> dict[str, bytes]:
    """Every figure of the study: its name and its SVG.

    Returns
    -------
    dict of str to bytes
        ``distribution_<column>``, ``scatter_<channel>``, ``correlation``, ``tuning``, ``fitted_line`` (with several
        features ``fitted_line_<feature>``), ``comparison``, ``predicted_observed``, ``residuals``,
        ``scale_location``, ``qq``, ``influence``, with a date ``order``; what the study has no numbers for is left out.
    """
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a letter that DejaVu lacks is drawn by the browser's font
        steps = (_table_figures, _model_figures, _diagnostic_figures)
        return {name: svg(figure, title) for step in steps for name, title, figure in step(study)}
