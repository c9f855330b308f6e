"""Did the relation itself move: what is sold without spend, and what one more unit of each channel brings?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from adresponse import words
from adresponse.schema import Contract

__all__ = ["Line", "Moved", "Relation", "SlopeChange", "moved"]

Vector = NDArray[np.float64]
INTERVAL = 0.95
ROWS_PER_TERM = 3  # fewer new rows leave HC3 nothing to estimate a spread from
DRAWN = 300  # rows of each side that a page draws


@dataclass(frozen=True)
class SlopeChange:
    """What one more unit of a feature brought before and brings now, in the target's unit; intervals of 95 %.

    ``change`` leaves every other term free to move too; ``alone`` is the change if no term moved but this and the ones that are
    ``named``, which is told with fewer rows. ``share`` is ``alone`` as a share of ``before``. ``named`` terms are the fewest
    that explain what moved. ``p_less`` and ``p_more`` test, one-sided, whether it moved as the only one, and ``found`` says
    whether they did; so one that is found need not be named: a loss of one channel lowers sales, which another could explain
    nearly as well. ``detectable`` is the loss, as a share, that the test finds in four of five cases. ``name`` is empty for
    the level, what is sold without spend.
    """

    name: str
    before: float
    now: float
    change: float
    low: float
    high: float
    alone: float
    alone_low: float
    alone_high: float
    share: float
    detectable: float
    p_less: float
    p_more: float
    found: bool
    named: bool
    sentence: str


@dataclass(frozen=True)
class Line:
    """What a page draws of one feature: rows before and now, and both lines, other features at their mean."""

    name: str
    before: tuple[tuple[float, float], ...]
    now: tuple[tuple[float, float], ...]
    line_before: tuple[tuple[float, float], tuple[float, float]]
    line_now: tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Relation:
    """Whether level and slopes moved: Chow's (1960) F, its form for unequal spread (Wald with HC3), and each slope.

    ``shift`` is how far apart both lines lie over the new rows (root of the mean square), in the target's unit. ``left_out``
    are features with one value only among the rows, of which nothing can be told. Where ``sized``, all is of a market of
    average size.
    """

    rows_before: int
    rows_now: int
    chow_f: float
    chow_p: float
    degrees: tuple[int, int]
    wald_f: float
    wald_p: float
    wald_degrees: tuple[int, int]
    shift: float
    level: SlopeChange
    slopes: tuple[SlopeChange, ...]
    left_out: tuple[str, ...]
    lines: tuple[Line, ...]
    sized: bool = False


@dataclass(frozen=True)
class Moved:
    """A relation compared, and what is left of the sales once each side has its own line (leverage taken out)."""

    relation: Relation
    left_before: Vector
    left_now: Vector


@dataclass(frozen=True)
class _Fit:
    coefficients: Vector
    covariance: Vector
    residual: Vector
    even: Vector


def _fit(design: Vector, y: Vector) -> _Fit:
    """Least squares with the HC3 covariance of MacKinnon and White (1985); ``even`` residuals have one variance."""
    q, r = np.linalg.qr(design)
    inverse = np.linalg.inv(r)
    coefficients = inverse @ (q.T @ y)
    residual = y - design @ coefficients
    room = np.maximum(1 - (q**2).sum(axis=1), 1e-6)
    weighted = (inverse @ q.T) * (residual / room)
    return _Fit(coefficients, weighted @ weighted.T, residual, residual / np.sqrt(room))


def moved(
    contract: Contract,
    reference: pd.DataFrame,
    new: pd.DataFrame,
    predicted: tuple[Vector, Vector],
    *,
    tie: float = 1.0,
    level_less: Callable[[float], float],
    level_more: Callable[[float], float],
    least: float = 0.0,
    size: tuple[Vector, Vector] | None = None,
) -> Moved | None:
    """Compare the relation in two sets of rows; None where the rows are too few or do not vary enough.

    The errors of the champion are regressed on level and features on either side, and the coefficients compared. For a
    champion that is a straight line this is the comparison of the two lines themselves (Chow 1960); for any other, of how a
    line would correct it.

    Parameters
    ----------
    reference, new : DataFrame
        Rows with the contract's features and a known target.
    predicted : pair of ndarray of shape (n_rows,)
        The champion's predictions for both, in the target's unit.
    tie : float
        Rows that are worth one, by the correlation of neighbouring periods; variances grow by it.
    level_less, level_more : callable
        The level at which a slope is tested to have become smaller, or larger, given the share of it that the slope has.
    least : float
        Share of a slope from which its change counts, however sure it is.
    size : pair of ndarray of shape (n_rows,), optional
        How large the market of each row is: spend, sales and predictions are divided by it, so that what all markets lose alike
        is a loss of the level, and not of the channel on which large ones spend more.
    """
    if size is not None:
        reference, new = (_per_size(f, contract, s) for f, s in zip((reference, new), size, strict=True))
        predicted = predicted[0] / size[0], predicted[1] / size[1]
    names = [n for n in contract.features if np.ptp(new[n]) > 0 and np.ptp(reference[n]) > 0]
    unit = np.append(1.0, [reference[n].std(ddof=1) for n in names])
    designs = [_design(f, names) / unit for f in (reference, new)]
    k = len(unit)
    if min(map(len, designs)) < ROWS_PER_TERM * k or any(np.linalg.matrix_rank(d) < k for d in designs):
        return None
    errors = [f[contract.target].to_numpy(dtype=float) - p for f, p in zip((reference, new), predicted, strict=True)]
    fits = [_fit(d, e) for d, e in zip(designs, errors, strict=True)]
    change = fits[1].coefficients - fits[0].coefficients
    covariance = (fits[0].covariance + fits[1].covariance) * tie
    if np.linalg.matrix_rank(covariance) < k:
        return None
    precision = np.asarray(np.linalg.inv(covariance), dtype=float)
    base = _line_through(designs[0], predicted[0], reference.get(contract.market))
    free = len(new) - k
    degrees = (k, len(reference) + len(new) - 2 * k)
    chow_f = _chow(designs, errors, fits, degrees) / tie
    wald_f = float(change @ precision @ change) / k
    levels = (level_less(1 / max(len(names), 1)), level_more(1 / max(len(names), 1)))
    named = _explained(change, precision, free, levels)
    terms = tuple(
        _term(
            contract,
            name,
            (base[i] / u, change[i] / u, math.sqrt(covariance[i, i]) / u),
            _if_only(change, precision, [i], i, u),
            _if_only(change, precision, named if i in named else [*named, i], i, u),
            i in named,
            free,
            levels,
            least,
        )
        for i, (name, u) in enumerate(zip(["", *names], unit, strict=True))
    )
    means = reference[names].mean().to_numpy()
    lines = tuple(
        _line(contract.target, reference, new, names, i, means, base / unit, (base + change) / unit) for i in range(len(names))
    )
    relation = Relation(
        len(reference), len(new), chow_f, float(stats.f.sf(chow_f, *degrees)), degrees,
        wald_f, float(stats.f.sf(wald_f, k, free)), (k, free), float(np.sqrt(np.mean((designs[1] @ change) ** 2))),
        terms[0], terms[1:],
        tuple(n for n in contract.features if n not in names), lines, size is not None,
    )  # fmt: skip
    left = fits[0].even, fits[1].even
    return Moved(relation, *(left if size is None else (left[0] * size[0], left[1] * size[1])))


def _per_size(frame: pd.DataFrame, contract: Contract, size: Vector) -> pd.DataFrame:
    return frame.assign(**{name: frame[name] / size for name in (*contract.channels, contract.target)})


def _line_through(design: Vector, predicted: Vector, markets: pd.Series | None) -> Vector:
    """Level and slopes of a line through predictions; each market may have a level of its own, and the mean one is given."""
    if markets is None:
        return np.asarray(np.linalg.lstsq(design, predicted, rcond=None)[0])
    within = pd.DataFrame(np.column_stack([design[:, 1:], predicted]))
    within = within - within.groupby(markets.to_numpy()).transform("mean")
    slopes = np.linalg.lstsq(within.to_numpy()[:, :-1], within.to_numpy()[:, -1], rcond=None)[0]
    return np.append(predicted.mean() - design[:, 1:].mean(axis=0) @ slopes, slopes)


def _design(frame: pd.DataFrame, names: Sequence[str]) -> Vector:
    return np.column_stack([np.ones(len(frame)), frame[list(names)].to_numpy(dtype=float)])


def _chow(designs: Sequence[Vector], errors: Sequence[Vector], fits: Sequence[_Fit], degrees: tuple[int, int]) -> float:
    """Chow's (1960) F: what one line leaves more than two, per term, over what two leave, per row."""
    both = _fit(np.concatenate(designs), np.concatenate(errors)).residual
    apart = sum(float(f.residual @ f.residual) for f in fits)
    together = float(both @ both)
    return (together - apart) / degrees[0] / (apart / degrees[1]) if apart else math.inf if together else 0.0


def _if_only(change: Vector, precision: Vector, terms: Sequence[int], i: int, unit: float = 1.0) -> tuple[float, float]:
    """Change of term ``i`` and its error where only ``terms`` moved: generalised least squares of the changes on them."""
    at = list(terms)
    covariance = np.linalg.inv(precision[np.ix_(at, at)])
    j = at.index(i)
    estimate = float((covariance @ (precision[at] @ change))[j])
    return estimate / unit, math.sqrt(covariance[j, j]) / unit


def _explained(change: Vector, precision: Vector, degrees: int, levels: tuple[float, float]) -> list[int]:
    """The fewest terms that explain what moved, the clearest first; each next one must leave chance behind as a slope must."""
    named: list[int] = []
    while left := [j for j in range(len(change)) if j not in named]:
        moves = {j: _if_only(change, precision, [*named, j], j) for j in left}
        best = max(left, key=lambda j: abs(moves[j][0]) / moves[j][1])
        estimate, error = moves[best]
        if float(stats.t.sf(abs(estimate) / error, degrees)) > levels[0 if estimate < 0 else 1]:
            break
        named.append(best)
    return named


def _term(
    contract: Contract,
    name: str,
    free: tuple[float, float, float],
    only: tuple[float, float],
    told: tuple[float, float],
    named: bool,
    degrees: int,
    levels: tuple[float, float],
    least: float,
) -> SlopeChange:
    """One term from ``(before, change, error)``, and ``(change, error)`` as the only one and beside those named."""
    before, change, error = map(float, free)
    by_itself, its_error = told
    reach = float(stats.t.ppf((1 + INTERVAL) / 2, degrees))
    less, more = (float(f(only[0] / only[1], degrees)) for f in (stats.t.cdf, stats.t.sf))
    enough = before == 0 or bool(abs(only[0] / before) >= least)
    found = bool(name) and enough and (less <= levels[0] or more <= levels[1])
    needs = float(stats.t.isf(levels[0], degrees)) + float(stats.norm.ppf(0.8))
    share = by_itself / abs(before) if before else math.copysign(math.inf, by_itself) if by_itself else 0.0
    low, high = by_itself - reach * its_error, by_itself + reach * its_error
    return SlopeChange(
        name, before, before + change, change, change - reach * error, change + reach * error, by_itself, low, high, share,
        needs * only[1] / abs(before) if before else math.inf, less, more, found, named,
        _sentence(contract, name, before, by_itself, (low, high), share, named or found),
    )  # fmt: skip


def _sentence(
    contract: Contract, name: str, before: float, change: float, ends: tuple[float, float], share: float, moved: bool
) -> str:
    unit = contract[contract.target].unit
    said = f" {unit}" if unit else ""
    now = f"{words.number(before + change, 3)} instead of {words.number(before, 3)}"
    low, high = (words.number(before + e, 3) for e in ends)
    figures = f"{now} (95 % interval {low} to {high})"
    if not moved and ends[0] <= 0 <= ends[1]:
        what = f"{name} brings what it brought" if name else "Without spend as much is sold as before"
        return f"{what}, within chance: {figures}."
    if not name:
        return f"Without spend {words.number(abs(change), 3)}{said} {'less' if change < 0 else 'more'} is sold: {figures}."
    if contract[name].role == "control" or before <= 0 or not math.isfinite(share):
        return f"One more unit of {name} goes with {figures} of {contract.target}."
    brings = f"{words.percent(abs(share))} {'less' if share < 0 else 'more'} than before"
    return f"{name} brings {brings}: {figures}."


def _line(
    target: str,
    reference: pd.DataFrame,
    new: pd.DataFrame,
    names: Sequence[str],
    i: int,
    means: Vector,
    before: Vector,
    now: Vector,
) -> Line:
    """Rows and lines of one feature; each row is moved to where it would lie with the other features at their mean."""
    both = pd.concat([reference[names[i]], new[names[i]]])
    ends = (float(both.min()), float(both.max()))
    sets, drawn = [], []
    for frame, coefficients in ((reference, before), (new, now)):
        others = coefficients[1:] * means
        others[i] = 0.0
        level = float(coefficients[0] + others.sum())
        drawn.append(tuple((x, level + float(coefficients[i + 1]) * x) for x in ends))
        step = math.ceil(len(frame) / DRAWN)
        x = frame[list(names)].to_numpy(dtype=float)[::step]
        aside = (x - means) * coefficients[1:]
        aside[:, i] = 0.0
        y = frame[target].to_numpy(dtype=float)[::step] - aside.sum(axis=1)
        sets.append(tuple((float(a), float(b)) for a, b in zip(x[:, i], y, strict=True)))
    return Line(names[i], sets[0], sets[1], (drawn[0][0], drawn[0][1]), (drawn[1][0], drawn[1][1]))
