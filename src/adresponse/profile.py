"""What the table says before any model: numbers, distributions, correlations, rows that stand out, answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from adresponse import words
from adresponse.checks import out_of_reach, refuse_unfit, within_markets
from adresponse.schema import Column, Contract
from adresponse.table import AdTable

__all__ = ["Answer", "Correlation", "Histogram", "Numbers", "OddRow", "Profile", "explore"]

Vector = NDArray[np.float64]
DENSITY_ROWS = 2_000  # a kernel density costs rows x grid; its peak does not move visibly beyond this sample
ODD_ROWS = 5
PAIRED_FEATURES = 20


@dataclass(frozen=True)
class Histogram:
    """Counts per bin; ``edges`` has one more entry than ``counts`` and falls on round numbers."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Numbers:
    """One numeric column in figures, in its own unit; ``std`` divides by n - 1.

    ``densest`` is the round range (about six to the column) that holds the most rows, ``densest_share`` the share of
    the rows in it, and ``mode`` the peak of a Gaussian kernel density estimate (Scott's bandwidth).
    """

    name: str
    count: int
    mean: float
    std: float
    lowest: float
    q1: float
    median: float
    q3: float
    highest: float
    total: float
    histogram: Histogram
    densest: tuple[float, float]
    densest_share: float
    mode: float
    sentence: str


@dataclass(frozen=True)
class Correlation:
    """How two columns move together: Pearson's r and Spearman's rho, each with a 95 % interval and a p value."""

    a: str
    b: str
    pearson: float
    pearson_low: float
    pearson_high: float
    pearson_p: float
    spearman: float
    spearman_low: float
    spearman_high: float
    spearman_p: float
    sentence: str


@dataclass(frozen=True)
class OddRow:
    """A row where much was spent and little sold: data row number (from 1), its values, sales the line expects."""

    row: int
    values: dict[str, float]
    expected: float


@dataclass(frozen=True)
class Answer:
    """A business question and its answer, made from the figures."""

    question: str
    sentence: str


@dataclass(frozen=True)
class Profile:
    """The table in figures; rests in ``profile.json`` of the run and is the reference for watching."""

    rows: int
    numbers: tuple[Numbers, ...]
    correlations: tuple[Correlation, ...]
    much_spent_little_sold: tuple[OddRow, ...]
    answers: tuple[Answer, ...]


def explore(table: AdTable) -> Profile:
    """The profile of a table: every numeric column, the pairs, the odd rows and the first business answers.

    Raises
    ------
    UnfitTableError
        If a column holds values that cannot be reckoned with (D019).
    """
    refuse_unfit(out_of_reach(table))
    contract = table.contract
    names = (*contract.features, contract.target)
    numbers = tuple(describe(table.frame[n].to_numpy(), contract[n]) for n in names)
    frame, within = within_markets(table)
    pairs = _pairs(contract)
    correlations = tuple(correlate(frame[a].to_numpy(), frame[b].to_numpy(), a, b, within) for a, b in pairs)
    return Profile(
        rows=len(table.frame),
        numbers=numbers,
        correlations=correlations,
        much_spent_little_sold=much_spent_little_sold(table),
        answers=_answers(contract, numbers, correlations),
    )


def _pairs(contract: Contract) -> list[tuple[str, str]]:
    """Each feature with the target; and with each other, while a person could still read so many pairs."""
    among = list(combinations(contract.features, 2)) if len(contract.features) <= PAIRED_FEATURES else []
    return [(f, contract.target) for f in contract.features] + among


def describe(values: Vector, column: Column) -> Numbers:
    """One column in figures and in a sentence.

    Parameters
    ----------
    values : ndarray of shape (n_rows,)
        Finite values in the column's unit, at least one.
    column : Column
        What the column is called, means, and is measured in.
    """
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75])
    coarse = histogram(values, bins=6)
    at = int(np.argmax(coarse.counts))
    densest, share = (coarse.edges[at], coarse.edges[at + 1]), coarse.counts[at] / len(values)
    mode = density_peak(values)
    unit = f" {column.unit}" if column.unit else ""
    return Numbers(
        name=column.name,
        count=len(values),
        mean=float(values.mean()),
        std=float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        lowest=float(values.min()),
        q1=float(q1),
        median=float(median),
        q3=float(q3),
        highest=float(values.max()),
        total=float(values.sum()),
        histogram=histogram(values, bins=12),
        densest=densest,
        densest_share=share,
        mode=mode,
        sentence=(
            f"{column.name} runs from {words.span(values.min(), values.max())}{unit} with a mean of "
            f"{words.number(values.mean())}; it is densest between {words.number(densest[0])} and "
            f"{words.number(densest[1])} ({words.percent(share)} of the rows), around {words.number(mode, 2)}."
        ),
    )


def histogram(values: Vector, bins: int) -> Histogram:
    """Counts over bins whose edges are round numbers (1, 2 or 5 times a power of ten), about ``bins`` of them."""
    low, high = float(values.min()), float(values.max())
    width = _round_width((high - low) / bins if high > low else max(abs(high), 1.0))
    first, last = math.floor(low / width), math.floor(high / width) + 1
    edges = np.arange(first, last + 1) * width
    counts, _ = np.histogram(values, bins=np.append(edges[:-1], np.nextafter(edges[-1], np.inf)))
    return Histogram(tuple(float(e) for e in edges), tuple(int(c) for c in counts))


def _round_width(width: float) -> float:
    power = 10.0 ** math.floor(math.log10(width))
    return float(min((1, 2, 5, 10), key=lambda m: abs(math.log(m * power / width))) * power)


def density_peak(values: Vector) -> float:
    """Where the rows lie densest: the peak of a Gaussian kernel density estimate over 512 points."""
    step = max(len(values) // DENSITY_ROWS, 1)
    sample = np.sort(values)[::step]
    if len(sample) < 3 or not np.var(sample) > np.finfo(float).tiny:
        return float(np.median(values))
    grid = np.linspace(values.min(), values.max(), 512)
    return float(grid[np.argmax(stats.gaussian_kde(sample)(grid))])


def correlate(x: Vector, y: Vector, a: str, b: str, within: str = "") -> Correlation:
    """Pearson (Fisher's z interval) and Spearman (Bonett and Wright 2000, eq. 3) with 95 % intervals.

    A constant column has no correlation: every figure is NaN. ``within`` says in words what was held against what.
    """
    if np.ptp(x) == 0 or np.ptp(y) == 0 or len(x) < 4:
        return _no_correlation(a, b)
    pearson, spearman = stats.pearsonr(x, y), stats.spearmanr(x, y)
    r, rho, n = float(pearson.statistic), float(spearman.statistic), len(x)
    low, high = fisher_interval(r, 1 / math.sqrt(n - 3))
    rho_low, rho_high = fisher_interval(rho, math.sqrt((1 + rho**2 / 2) / (n - 3)))
    return Correlation(
        a, b, r, low, high, float(pearson.pvalue), rho, rho_low, rho_high, float(spearman.pvalue),
        _together(a, b, r, low, high, within),
    )  # fmt: skip


def _no_correlation(a: str, b: str) -> Correlation:
    nan = math.nan
    return Correlation(a, b, nan, nan, nan, nan, nan, nan, nan, nan, f"{a} and {b}: no correlation can be given.")


def fisher_interval(r: float, se: float, level: float = 0.95) -> tuple[float, float]:
    """Interval of a correlation on Fisher's z scale: ``tanh(atanh(r) -/+ q se)``."""
    if abs(r) >= 1:
        return r, r
    reach = float(stats.norm.ppf((1 + level) / 2)) * se
    return math.tanh(math.atanh(r) - reach), math.tanh(math.atanh(r) + reach)


def _together(a: str, b: str, r: float, low: float, high: float, within: str) -> str:
    figures = f"(r = {words.fixed(r, 2)}, 95 % interval {words.fixed(low, 2)} to {words.fixed(high, 2)})"
    if low <= 0 <= high:
        return f"{a} and {b} show no clear linear relation{within} {figures}."
    strength = "strongly" if abs(r) >= 0.7 else "moderately" if abs(r) >= 0.4 else "weakly"
    direction = "together" if r > 0 else "in opposite directions"
    return f"{a} and {b} move {strength} {direction}{within} {figures}."


def much_spent_little_sold(table: AdTable, most: int = ODD_ROWS) -> tuple[OddRow, ...]:
    """Rows with spend in the top quarter and sales in the lower half, furthest below the line first."""
    spend = table.frame[list(table.contract.channels)].to_numpy().sum(axis=1)
    sales = table.y.to_numpy()
    if len(sales) < 4 or np.ptp(spend) == 0:
        return ()
    slope, intercept = np.polyfit(spend, sales, 1)
    expected = intercept + slope * spend
    odd = np.flatnonzero((spend >= np.quantile(spend, 0.75)) & (sales <= np.median(sales)))
    worst = odd[np.argsort((sales - expected)[odd], kind="stable")][:most]
    shown = (*table.contract.channels, table.contract.target)
    return tuple(
        OddRow(int(table.frame.index[i]), {n: float(table.frame[n].to_numpy()[i]) for n in shown}, float(expected[i]))
        for i in worst
    )


def _answers(contract: Contract, numbers: tuple[Numbers, ...], correlations: tuple[Correlation, ...]) -> tuple[Answer, ...]:
    by_name = {n.name: n for n in numbers}
    return (
        Answer("How much is spent?", " ".join(_amount(by_name[c], contract[c]) for c in contract.channels)),
        Answer("What is sold?", _amount(by_name[contract.target], contract[contract.target])),
        Answer(
            "Do they move together?",
            " ".join(c.sentence for c in correlations if c.a in contract.channels and c.b == contract.target),
        ),
    )


def _amount(n: Numbers, column: Column) -> str:
    unit = f" {column.unit}" if column.unit else ""
    return (
        f"{column.title}: {words.number(n.mean)}{unit} a row on average, from {words.span(n.lowest, n.highest)}; "
        f"{words.number(n.total)}{unit} in all over {words.count(n.count, 'row')}, most often between "
        f"{words.number(n.densest[0])} and {words.number(n.densest[1])}."
    )
