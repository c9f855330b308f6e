"""Do the columns of the new rows lie where those of the rows fitted lay?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from adresponse import words
from adresponse.findings import Finding
from adresponse.schema import Column, Contract
from adresponse.watching.beside import Beside, another_mix, beside, of_shared_markets

__all__ = ["Bins", "ColumnDrift", "dependence", "drift", "holm", "psi", "rows_needed", "same_season"]

Vector = NDArray[np.float64]
BANDS = (0.1, 0.25)  # of PSI: below, little moved; above, much (Siddiqi 2006, p. 136)
DECILES = 10
YEAR_DAYS = 360
SEASON_ROWS = 8
LEAST_COUNTED = 4
MOST_DEPENDENCE = 50.0
MOVED_INPUTS = "Moved inputs alone do not make the relation wrong; look at errors and at the range fitted."
MOVED_SALES = "Sales move with what is spent; whether the relation moved is told by the errors."


@dataclass(frozen=True)
class Bins:
    """Shares of the rows per bin, before and now; ``edges`` has one more entry than either."""

    edges: tuple[float, ...]
    before: tuple[float, ...]
    now: tuple[float, ...]


@dataclass(frozen=True)
class ColumnDrift:
    """One column before and now, in its own unit.

    Parameters
    ----------
    basis : {"all rows", "same season", "same markets", "same markets and season"}
        Which rows of the reference were compared. Where of the same markets, they are weighted to the markets' mix of the new
        rows, and ``ks`` and ``psi`` are of where values lie within their market.
    rows_before, rows_now : int
        Rows compared.
    counted_before, counted_now : float
        Rows that they are worth, since rows near in time are alike, and those before may differ in weight.
    ks, p, p_adjusted : float
        Largest gap between the two shares below a value (Kolmogorov-Smirnov), its p, and p after Holm's correction.
    wasserstein, wasserstein_sd : float
        How far values moved on average, in the column's unit and in standard deviations of the reference (within a market).
    psi, psi_chance : float
        Population stability index over the reference's deciles, and what chance alone gives on average for so few rows.
    beyond : float
        Share of new rows outside the range of the rows fitted.
    status : {"drifted", "not found", "too few"}
        ``not found`` is no proof that nothing drifted: ``detectable`` is the shift, in standard deviations, that would have
        been found in four of five cases.
    """

    name: str
    unit: str
    basis: str
    rows_before: int
    rows_now: int
    counted_before: float
    counted_now: float
    mean_before: float
    mean_now: float
    median_before: float
    median_now: float
    lowest: float
    highest: float
    ks: float
    p: float
    p_adjusted: float
    level: float
    wasserstein: float
    wasserstein_sd: float
    psi: float
    psi_chance: float
    beyond: float
    detectable: float
    status: Literal["drifted", "not found", "too few"]
    bins: Bins
    sentence: str


def drift(
    contract: Contract,
    reference: pd.DataFrame,
    new: pd.DataFrame,
    *,
    level: float,
    psi_limit: float = BANDS[1],
    min_rows: int = 20,
) -> tuple[tuple[ColumnDrift, ...], tuple[Finding, ...]]:
    """Every feature, and the target where it is known, before and now; and what is to be said about them.

    Parameters
    ----------
    reference, new : DataFrame
        The contract's columns; numbers float64, the target of ``new`` NaN where it is not known.
    level : float
        Chance to call any of the columns drifted where none did, over all of them (Holm 1979).
    psi_limit : float
        PSI from which a drift is serious enough to be looked at.
    min_rows : int
        New rows below which nothing is told of a column.
    """
    if not len(new):
        return (), ()
    before, season, findings = same_season(contract, reference, new)
    names = [n for n in contract.features if n in reference]
    if new[contract.target].notna().any():
        names.append(contract.target)
    of_same_markets = of_shared_markets(reference, new, contract.market)[0]  # two of many are less alike than all together
    ties = {n: dependence(contract, of_same_markets, n, shares=True) for n in names}
    ranges = {n: (float(reference[n].min()), float(reference[n].max())) for n in names}
    sides = {n: beside(before, new, n, contract.market) for n in names}
    found = [_measured(sides[n], ties[n]) for n in names]
    adjusted = holm([p for _, p in found])
    tests = [_Test(*one, adjusted[i], level, len(names), ties[n]) for i, (n, one) in enumerate(zip(names, found, strict=True))]
    columns = tuple(
        _column(contract[n], sides[n], ranges[n], test, season, min_rows) for n, test in zip(names, tests, strict=True)
    )
    mix = another_mix(before, new, contract.market, level)
    return columns, (*findings, *mix, *_findings(columns, contract.target, psi_limit, max(ties.values())))


@dataclass(frozen=True)
class _Test:
    """A column's Kolmogorov-Smirnov test, one of ``tests`` that share the level; ``tie`` rows are worth one independent row."""

    ks: float
    p: float
    p_adjusted: float
    level: float
    tests: int
    tie: float


def _measured(sides: Beside, tie: float) -> tuple[float, float]:
    """The Kolmogorov-Smirnov statistic and its p: exact for independent rows, else with the rows that they are worth."""
    if tie == 1.0 and not sides.within:
        exact = stats.ks_2samp(sides.before, sides.now)
        return float(exact.statistic), float(exact.pvalue)
    gap = largest_gap(sides.place_before, sides.place_now, sides.weight)
    return gap, _ks_p(gap, sides.worth / tie, len(sides.now) / tie)


def largest_gap(before: Vector, now: Vector, weight: Vector) -> float:
    """Largest gap between the shares of both sides up to a value; rows before have a ``weight``."""
    order = np.argsort(before)
    values, up_to = before[order], np.append(0.0, np.cumsum(weight[order])) / weight.sum()
    at = np.concatenate([before, now])
    share_before = up_to[np.searchsorted(values, at, side="right")]
    share_now = np.searchsorted(np.sort(now), at, side="right") / len(now)
    return float(np.abs(share_before - share_now).max())


def _ks_p(ks: float, before: float, now: float) -> float:
    """Stephens' (1970) approximation of the tail: ``Q((sqrt(n) + 0.12 + 0.11 / sqrt(n)) D)``, ``n = n1 n2 / (n1 + n2)``."""
    root = math.sqrt(before * now / (before + now))
    return float(stats.kstwobign.sf((root + 0.12 + 0.11 / root) * ks))


def holm(p: Sequence[float]) -> list[float]:
    """P values adjusted for their number (Holm 1979): the k-th smallest of m times ``m - k + 1``, never falling."""
    order = np.argsort(p, kind="stable")
    adjusted, highest = [0.0] * len(p), 0.0
    for k, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - k) * p[i]))
        adjusted[i] = highest
    return adjusted


def psi(before: Vector, now: Vector, weight: Vector | None = None) -> tuple[float, int]:
    """Population stability index ``sum (q - p) log(q / p)`` over the deciles of ``before``, and the number of bins.

    Rows before may have a ``weight``, 1 on average. A bin that is empty on one side counts as half a row there, so that the
    index stays finite.
    """
    inner = np.unique(np.quantile(before, np.linspace(0, 1, DECILES + 1)[1:-1]))
    p, q = _shares(before, inner, weight), _shares(now, inner)
    return float(((q - p) * np.log(q / p)).sum()), len(inner) + 1


def _shares(values: Vector, inner: Vector, weight: Vector | None = None) -> Vector:
    counts = np.bincount(np.searchsorted(inner, values, side="right"), weight, minlength=len(inner) + 1)
    counts = np.maximum(counts, 0.5)
    return np.asarray(counts / counts.sum())


def dependence(contract: Contract, frame: pd.DataFrame, name: str, *, shares: bool = False) -> float:
    """How many rows are worth one, since those near in time are alike; at least 1.

    The variance of a mean grows by ``(1 + r) / (1 - r)`` under first-order autocorrelation r, and by ``1 + (k - 1) c`` where k
    markets of a period have the correlation c, as they share a campaign or a holiday (Kish 1965). Without dates rows are taken
    as independent. For ``shares`` of rows up to a value, c is of lying above the median: such shares are less alike than means.
    """
    if contract.date is None or contract.date not in frame:
        return 1.0
    market = contract.market if contract.market in frame else None
    known = frame[np.isfinite(frame[name])]
    ordered = known.sort_values([contract.date] if market is None else [market, contract.date], kind="stable")
    values = ordered[name].to_numpy(dtype=float)
    if market is None:
        return tied(values)
    markets, periods = (ordered[column].to_numpy() for column in (market, contract.date))
    alike = ordered[name].gt(ordered.groupby(market)[name].transform("median")) if shares else ordered[name]
    return tied(values, markets) * together(np.asarray(alike, dtype=float), markets, periods)


def tied(values: Vector, groups: NDArray[np.object_] | None = None) -> float:
    """``(1 + r) / (1 - r)`` of values in the order of time, one group (market) after another; 1 where r is within chance.

    Each group has a mean of its own: that markets differ is no likeness of neighbouring periods.
    """
    if len(values) < LEAST_COUNTED or np.ptp(values) == 0:
        return 1.0
    pairs = np.ones(len(values) - 1, dtype=bool) if groups is None else groups[1:] == groups[:-1]
    if pairs.sum() < LEAST_COUNTED:
        return 1.0
    centred = values - (values.mean() if groups is None else pd.Series(values).groupby(groups).transform("mean").to_numpy())
    if np.abs(centred).max() <= 1e-12 * np.abs(values).max():  # a constant in each, but for the rounding of its mean
        return 1.0
    r = float((centred[1:] * centred[:-1])[pairs].mean() / (centred**2).mean())
    if r < 2 / math.sqrt(pairs.sum()):
        return 1.0
    return min((1 + r) / max(1 - r, 1e-9), MOST_DEPENDENCE)


def together(values: Vector, markets: NDArray[np.object_], periods: NDArray[np.datetime64]) -> float:
    """``1 + (k - 1) c`` of values in standard deviations from the mean of their market; 1 where c is within chance."""
    own = pd.Series(values).groupby(markets)
    spread = own.transform("std")
    away = ((values - own.transform("mean")) / spread).where(spread > 1e-12 * np.abs(values).max(), 0.0).to_numpy()
    _, period = np.unique(periods, return_inverse=True)
    rows, sums, squares = (np.bincount(period, weights) for weights in (np.ones(len(away)), away, away**2))
    pairs = (rows * (rows - 1)).sum() / 2
    if pairs < LEAST_COUNTED:
        return 1.0
    c = float((sums**2 - squares).sum() / 2 / pairs)
    k = float((rows**2).sum() / rows.sum())  # of the period that a row is in, on average
    return 1.0 if c < 2 / math.sqrt(pairs) else 1 + (k - 1) * c


def same_season(
    contract: Contract, reference: pd.DataFrame, new: pd.DataFrame
) -> tuple[pd.DataFrame, bool, tuple[Finding, ...]]:
    """The reference rows of the months that the new rows fall in, where there is a year of them; else all, and why."""
    date = contract.date
    if date is None or date not in reference or date not in new or not len(new):
        return reference, False, ()
    dates = pd.DatetimeIndex(reference[date])
    if (dates.max() - dates.min()).days < YEAR_DAYS:
        return reference, False, (_no_season(int((dates.max() - dates.min()).days)),)
    months = pd.DatetimeIndex(new[date]).month.unique()
    inside = dates.month.isin(months)
    if inside.all() or inside.sum() < SEASON_ROWS:
        return reference, False, ()
    return reference[inside], True, ()


def _no_season(days: int) -> Finding:
    return Finding(
        "W013",
        "note",
        f"The rows fitted cover {days} days, less than a year, so a change of season cannot be told from drift.",
        "Read a drift of columns with the season in mind, until a full year was fitted.",
    )


def rows_needed(before: float, level: float, shift_sd: float = 1.0) -> float:
    """Rows for a shift of the mean by ``shift_sd`` standard deviations to be found in four of five cases; may be infinite.

    For normal values the gap is ``D = 2 Phi(shift / 2) - 1``; the test rejects beyond ``K / sqrt(n)``, where K is the quantile
    of Kolmogorov's distribution and ``n = n1 n2 / (n1 + n2)``. At ``n = (K / D)^2`` the gap lies at the bound; as the largest
    gap of a sample lies above that of the truth, the test then finds it in 80 to 87 of 100 cases (the test simulates it).
    """
    gap = 2 * float(stats.norm.cdf(shift_sd / 2)) - 1
    joint = (float(stats.kstwobign.isf(level)) / gap) ** 2
    return joint * before / (before - joint) if before > joint else math.inf


def _detectable(before: float, now: float, level: float) -> float:
    gap = float(stats.kstwobign.isf(level)) / math.sqrt(before * now / (before + now))
    return 2 * float(stats.norm.ppf((min(gap, 0.9999) + 1) / 2))


def _column(
    column: Column, sides: Beside, fitted: tuple[float, float], test: _Test, season: bool, min_rows: int
) -> ColumnDrift:
    """One column in figures and in a sentence; ``fitted`` is the range of the rows fitted."""
    a, b, weight = sides.before, sides.now, sides.weight
    moved = float(stats.wasserstein_distance(a, b, weight))
    index, bins = psi(sides.place_before, sides.place_now, weight)
    counted = sides.worth / test.tie, len(b) / test.tie
    needed = rows_needed(counted[0], test.level / test.tests) * test.tie
    drifted = test.p_adjusted <= test.level and len(b) >= LEAST_COUNTED
    same = " and ".join(["markets"] * sides.within + ["season"] * season)
    found = ColumnDrift(
        name=column.name,
        unit=column.unit,
        basis=f"same {same}" if same else "all rows",
        rows_before=len(a),
        rows_now=len(b),
        counted_before=counted[0],
        counted_now=counted[1],
        mean_before=float(np.average(a, weights=weight)),
        mean_now=float(b.mean()),
        median_before=_median(a, weight),
        median_now=_median(b, np.ones(len(b))),
        lowest=float(b.min()),
        highest=float(b.max()),
        ks=test.ks,
        p=test.p,
        p_adjusted=test.p_adjusted,
        level=test.level,
        wasserstein=moved,
        wasserstein_sd=moved / sides.sd if sides.sd else math.inf if moved else 0.0,
        psi=index,
        psi_chance=(bins - 1) * (1 / sides.worth + 1 / len(b)),
        beyond=float(((b < fitted[0]) | (b > fitted[1])).mean()),
        detectable=_detectable(*counted, test.level / test.tests),
        status="drifted" if drifted else "too few" if len(b) < max(min_rows, needed) else "not found",
        bins=_bins(sides),
        sentence="",
    )
    return replace(found, sentence=_sentence(found, needed, min_rows))


def _median(values: Vector, weight: Vector) -> float:
    """The weighted median: half of the weight lies to either side."""
    order = np.argsort(values)
    up_to = np.cumsum(weight[order])
    halves = np.searchsorted(up_to, up_to[-1] / 2, side="left"), np.searchsorted(up_to, up_to[-1] / 2, side="right")
    return float(values[order][list(halves)].mean())


def _bins(sides: Beside) -> Bins:
    edges = np.histogram_bin_edges(np.concatenate([sides.before, sides.now]), bins=12)
    before = np.histogram(sides.before, edges, weights=sides.weight)[0] / sides.weight.sum()
    now = np.histogram(sides.now, edges)[0] / len(sides.now)
    return Bins(*(tuple(float(x) for x in v) for v in (edges, before, now)))


def _sentence(c: ColumnDrift, needed: float, least: int) -> str:
    said = f" {c.unit}" if c.unit else ""
    rows, alike = c.rows_now, c.counted_now < c.rows_now
    worth = f", worth {words.number(c.counted_now, 2)} as rows near in time are alike," if alike else ""
    if c.status == "too few":
        if not math.isfinite(needed):
            want = "the rows fitted are too few, too, to see a shift of one standard deviation"
        elif needed < least:
            want = f"the rules ask for {least}"
        else:
            want = f"{math.ceil(needed):,} would be needed to see a shift of one standard deviation in four of five cases"
        return f"{c.name}: {words.count(rows, 'row')}{worth} {'is' if rows == 1 else 'are'} too few to tell; {want}."
    if c.status == "not found":
        return (
            f"{c.name}: no drift found in {words.count(rows, 'row')}{worth.rstrip(',')} ({words.p_value(c.p_adjusted)}); a "
            f"shift of {words.number(c.detectable, 2)} standard deviations would have been found in four of five cases."
        )
    than = "before" if c.basis == "all rows" else f"the {c.basis} of the rows fitted"
    within = " of a market" if "markets" in c.basis else ""
    return (
        f"{c.name} lies elsewhere than {than}: mean {words.number(c.mean_now)}{said} against {words.number(c.mean_before)}, "
        f"values moved by {words.number(c.wasserstein, 3)}{said} or {words.number(c.wasserstein_sd, 2)} standard "
        f"deviations{within} on average ({words.p_value(c.p_adjusted)} over {words.count(rows, 'new row')}{worth.rstrip(',')})."
    )


def _findings(columns: Sequence[ColumnDrift], target: str, psi_limit: float, tie: float) -> list[Finding]:
    found = []
    for c in columns:
        if c.status == "drifted":
            much = c.psi - c.psi_chance > psi_limit or c.wasserstein_sd >= 0.5
            size = "much" if much else "little"
            found.append(
                Finding(
                    "W011",
                    "review" if much else "note",
                    f"{c.sentence} It moved {size} (PSI {c.psi:.2f}, of which chance gives {c.psi_chance:.2f}).",
                    MOVED_SALES if c.name == target else MOVED_INPUTS,
                )
            )
    few = [c for c in columns if c.status == "too few"]
    if few:
        found.append(Finding("W010", "note", " ".join(c.sentence for c in few), "Watch again when more rows are there."))
    if tie > 1:
        found.append(
            Finding(
                "W020",
                "note",
                f"Rows near in time are alike (up to {words.number(tie, 2)} of them are worth one independent row), so rows "
                "count for less than their number.",
                "Expect a change to be found later than in independent rows.",
            )
        )
    return found
