"""How good is the model on rows that it has not seen, and how sure is that?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn.base import clone

from adresponse import words
from adresponse.checks import cooks_distance
from adresponse.findings import Finding
from adresponse.folding import Folding, share_tested
from adresponse.formula import Spread
from adresponse.intervals import calibrate
from adresponse.models import MarketMean
from adresponse.schema import Contract
from adresponse.tune import paired_difference

__all__ = ["LEVELS", "Coverage", "Diagnostic", "Evaluation", "Kind", "PredictedRow", "Score", "Unseen", "evaluate"]

Vector = NDArray[np.floating[Any]]
LEVELS = (0.5, 0.8, 0.9, 0.95)
RESAMPLES = 2_000
RESAMPLED_VALUES = 50_000_000  # resamples x rows beyond which fewer resamples are drawn; the interval is narrow by then
LEAST_RESAMPLES = 200
FEW_ROWS = 10  # or periods of several rows each, held out: fewer give an interval that is too narrow more often than not
TIED = 0.5  # distance of Durbin-Watson from 2: a correlation of neighbours of about a quarter
SHAPIRO_ROWS = 5_000  # scipy warns beyond
SHARED = "Add what the periods share: trend, season or carry-over."
TAKEN = "Look whether sales are booked a period late, or one period takes from the next."

Kind = Literal["line", "curves", "other"]
"""What is evaluated: a straight line, a mix of response curves, or any other estimator."""


@dataclass(frozen=True)
class _Reading:
    """What residuals that are not as they should be mean for one kind of model, and what to do."""

    bent: str
    alike: str
    opposite: str
    mend_bent: str
    mend_uneven: str


READINGS: dict[Kind, _Reading] = {
    "line": _Reading(
        bent="A curve would fit better than the line",
        alike="so errors and intervals of the coefficients are too narrow",
        opposite="so errors and intervals of the coefficients are not what they say",
        mend_bent="Try a saturating curve; a straight line misses how the response bends.",
        mend_uneven="Read the HC3 errors of the coefficients beside the classical ones.",
    ),
    "curves": _Reading(
        bent="The curves leave a bend in the residuals",
        alike="so the intervals of the channels are wider",
        opposite="and the intervals of the channels are none the narrower for it",
        mend_bent="Compare the curves (--shape auto), add controls for what else moves sales, and check any lift given.",
        mend_uneven="Read the intervals of the channels with care: they take one spread for all rows.",
    ),
    "other": _Reading(
        bent="The model leaves a bend in the residuals",
        alike="so the rows tell less than their number says",
        opposite="so what one period misses the next tends to make up for",
        mend_bent="Compare other challengers, and response curves (--shape auto).",
        mend_uneven="Read the prediction intervals beside RMSE, which is one figure for rows that err unevenly.",
    ),
}


@dataclass(frozen=True)
class Score:
    """One score with a 95 % interval; ``value`` is None where it cannot be given, and ``reason`` says why.

    The interval is a bootstrap's over the unseen rows, or, for repeated cross-validation, the corrected resampled t
    interval over the folds.
    """

    name: str
    title: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    sentence: str
    reason: str = ""


@dataclass(frozen=True)
class Coverage:
    """Share of unseen rows inside the prediction interval of a level, and the interval's mean width.

    ``basis`` says which rows: those held out, or those of the test folds of a repeated cross-validation. ``error`` is the
    standard error of the share, rows of one period taken together (Liang and Zeger 1986).
    """

    level: float
    measured: float
    rows: int
    width: float
    basis: Literal["held-out", "cross-validation"] = "held-out"
    error: float = 0.0


@dataclass(frozen=True)
class Diagnostic:
    """One look at the residuals: what was computed, and what it means in a sentence."""

    name: str
    title: str
    statistic: float
    p: float | None
    sentence: str


@dataclass(frozen=True)
class PredictedRow:
    """A row that the model had not seen: data row number (from 1), sales seen, predicted, 90 % interval."""

    row: int
    observed: float
    predicted: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """What the gate reads and the report shows; rests in ``evaluation.json``.

    ``basis`` says whether ``scores`` come from held-out rows or, where none were held out, from cross-validation.
    ``repeated`` holds the same scores by repeated cross-validation. ``predicted`` are the unseen rows. ``baseline_rmse`` is
    that of what ``mean`` says in words: the mean of the rows fitted, or of those of the same market. ``r2_within`` is the share
    of the squared errors of each market's mean that the model saves (the skill score of Murphy 1988): where markets differ in
    size R² is near 1 whatever is known of spend. None without markets.
    """

    basis: Literal["held-out", "cross-validation"]
    basis_sentence: str
    rows: int
    scores: tuple[Score, ...]
    repeated: tuple[Score, ...]
    baseline_rmse: float
    coverage: tuple[Coverage, ...]
    diagnostics: tuple[Diagnostic, ...]
    predicted: tuple[PredictedRow, ...]
    findings: tuple[Finding, ...]
    mean: str = "the mean"
    r2_within: float | None = None

    def score(self, name: str) -> float | None:
        """The value of a score by name (``mae``, ``rmse``, ``mape``, ``wape``, ``r2``, ``adjusted_r2``, ``bias``)."""
        return next(s.value for s in self.scores if s.name == name)


@dataclass(frozen=True)
class Unseen:
    """Predictions for rows that the predicting model had not seen, and what it would have said knowing no spend.

    Parameters
    ----------
    rows : ndarray of int
        Positions in the table.
    observed, predicted, baseline : ndarray of shape (n_rows,)
        Sales seen, predicted, and the mean of the rows that were fitted (of the same market), in the target's unit.
    low, high : ndarray of shape (n_levels, n_rows)
        Ends of the prediction intervals, a row for each of ``LEVELS``.
    periods : ndarray of shape (n_rows,)
        Rows of one period, such as those of several markets, share what moved all sales in it.
    """

    rows: NDArray[np.int64]
    observed: Vector
    predicted: Vector
    baseline: Vector
    low: Vector
    high: Vector
    periods: NDArray[Any]


# --- scores: functions of (observed, predicted) along the last axis, so that a bootstrap is one call -----------------


def mae(observed: Vector, predicted: Vector) -> Vector:
    """Mean absolute error, in the target's unit."""
    return np.asarray(np.abs(observed - predicted).mean(axis=-1))


def rmse(observed: Vector, predicted: Vector) -> Vector:
    """Root of the mean squared error, in the target's unit."""
    return np.asarray(np.sqrt(((observed - predicted) ** 2).mean(axis=-1)))


def mape(observed: Vector, predicted: Vector) -> Vector:
    """Mean absolute error as a share of what was sold; needs sales other than zero."""
    return np.asarray(np.abs((observed - predicted) / observed).mean(axis=-1))


def wape(observed: Vector, predicted: Vector) -> Vector:
    """Sum of absolute errors as a share of all that was sold; stands where single sales are zero, NaN where all are."""
    error, sold = np.abs(observed - predicted).sum(axis=-1), np.abs(observed).sum(axis=-1)
    return np.asarray(np.divide(error, sold, out=np.full(np.shape(sold), np.nan), where=np.asarray(sold > 0)))


def r2(observed: Vector, predicted: Vector) -> Vector:
    """Share of the spread of sales that the predictions explain: ``1 - SSE / SST``; NaN where sales are constant."""
    sse = ((observed - predicted) ** 2).sum(axis=-1)
    sst = ((observed - observed.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    return np.asarray(1 - np.divide(sse, sst, out=np.full(np.shape(sst), np.nan), where=np.asarray(sst > 0)))


def bias(observed: Vector, predicted: Vector) -> Vector:
    """Mean of predicted minus observed: above zero, the model promises too much."""
    return np.asarray((predicted - observed).mean(axis=-1))


Metric = Callable[[Vector, Vector], Vector]
SCORES: dict[str, tuple[str, Metric]] = {
    "mae": ("Mean absolute error", mae),
    "rmse": ("Root mean squared error", rmse),
    "mape": ("Mean absolute percentage error", mape),
    "wape": ("Weighted absolute percentage error", wape),
    "r2": ("R²", r2),
    "adjusted_r2": ("Adjusted R²", r2),
    "bias": ("Bias", bias),
}


def evaluate(
    fitted: Any,
    spread: Spread,
    X: pd.DataFrame,
    y: pd.Series[float],
    *,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    contract: Contract,
    folding: Folding = Folding(),
    thrifty: bool = False,
    kind: Kind = "line",
    markets: NDArray[Any] | None = None,
    dates: NDArray[Any] | None = None,
    size: Vector | None = None,
) -> Evaluation:
    """Scores on held-out rows (or, without any, by cross-validation), repeated cross-validation, coverage, residuals.

    Parameters
    ----------
    fitted : estimator
        Fitted on ``train`` alone.
    spread : Spread
        Calibrated on ``train`` alone.
    X, y : DataFrame of shape (n_rows, n_features), Series of shape (n_rows,)
        All rows.
    train, test : ndarray of int
        Positions of the rows fitted on, and of those held out (may be empty).
    folding : Folding
        How the rows fitted on are split for cross-validation.
    thrifty : bool
        For a model that takes long to fit: where rows are held out, coverage is told of these alone, and not of the folds
        of the cross-validation too, each of which would need a calibration of its own.
    kind : {"line", "curves", "other"}
        What is fitted: curves bend already, and their intervals are widened for errors that last; only a line has coefficients.
    markets : ndarray of shape (n_rows,), optional
        The market of each row: predictions are held against its mean, since that of all would be no match for any model
        where markets differ in size.
    dates : ndarray of shape (n_rows,), optional
        The period of each row: rows of one period are drawn together by the bootstrap, since what moved all markets in it is
        one accident and not many.
    size : ndarray of shape (n_rows,), optional
        How large the market of each row is to curves that grow with it: their residuals are looked at per unit of it.
    """
    places, periods = np.zeros(len(X)) if markets is None else markets, np.arange(len(X)) if dates is None else dates
    rows = _AllRows(X, y, places, periods)
    splits = folding.scoring(len(train))
    calibrated = not (thrifty and len(test))
    each = [rows.refitted(fitted, train[a], train[b], folding.at(a) if calibrated else spread) for a, b in splits]
    once = _joined(each[: folding.folds])
    unseen = rows.predicted(fitted, spread, train, test) if len(test) else once
    share = share_tested(splits)
    features, unit = len(contract.features), contract[contract.target].unit
    heads = np.ones(len(X)) if size is None else size
    numbers = np.column_stack([X[c] / (heads if c in contract.channels else 1.0) for c in contract.features])
    diagnostics = diagnose(
        fitted,
        X.iloc[train],
        y.iloc[train],
        in_time=folding.in_time,
        numbers=numbers[train],
        kind=kind,
        markets=None if markets is None else markets[train],
        size=heads[train],
    )
    coverage = (*_coverage(unseen, "held-out"),) if len(test) else ()
    coverage += _coverage(_joined(each), "cross-validation") if calibrated else ()
    scores = tuple(_score(name, unseen, features, unit, folding.seed) for name in SCORES)
    baseline = float(rmse(unseen.observed, unseen.baseline))
    return Evaluation(
        basis="held-out" if len(test) else "cross-validation",
        basis_sentence=_basis(len(train), len(test), folding),
        rows=len(unseen.rows),
        scores=scores,
        repeated=tuple(_repeated(name, each, share, features, unit) for name in SCORES),
        baseline_rmse=baseline,
        coverage=coverage,
        diagnostics=diagnostics,
        predicted=_rows(unseen, X.index),
        findings=tuple(_findings(diagnostics, coverage, scores, spread, unseen, kind=kind)),
        mean="the mean" if markets is None else "each market's mean",
        r2_within=None
        if markets is None or not baseline
        else 1 - (float(rmse(unseen.observed, unseen.predicted)) / baseline) ** 2,
    )


@dataclass(frozen=True)
class _AllRows:
    """Features, sales, market and period of every row, of which some are fitted and others asked."""

    X: pd.DataFrame
    y: pd.Series[float]
    places: NDArray[Any]
    periods: NDArray[Any]

    def refitted(self, estimator: Any, train: NDArray[np.int64], test: NDArray[np.int64], known: Folding | Spread) -> Unseen:
        """Predictions for ``test`` of the estimator fitted on ``train``; calibrated there too, unless the spread is known."""
        X, y = self.X.iloc[train], self.y.iloc[train]
        spread = known if isinstance(known, Spread) else calibrate(estimator, X, y, known)
        return self.predicted(clone(estimator).fit(X, y), spread, train, test)

    def predicted(self, fitted: Any, spread: Spread, train: NDArray[np.int64], test: NDArray[np.int64]) -> Unseen:
        """Predictions for ``test`` of what was fitted on ``train``."""
        predicted = np.asarray(fitted.predict(self.X.iloc[test]), dtype=float).reshape(len(test))
        ends = [spread.interval(predicted, level) for level in LEVELS]
        sales = self.y.to_numpy()
        return Unseen(
            rows=test,
            observed=sales[test],
            predicted=predicted,
            baseline=MarketMean().fit(self.places[train], sales[train]).predict(self.places[test]),
            low=np.array([low for low, _ in ends]),
            high=np.array([high for _, high in ends]),
            periods=self.periods[test],
        )


def _joined(parts: Sequence[Unseen]) -> Unseen:
    return Unseen(**{f.name: np.concatenate([getattr(p, f.name) for p in parts], axis=-1) for f in fields(Unseen)})


def _basis(train: int, test: int, folding: Folding) -> str:
    if not test:
        return (
            f"No rows were held out: all {train:,} were fitted, and scores come from {folding.folds}-fold cross-validation, "
            "where each row is predicted by a model that had not seen it."
        )
    which = "the last in time" if folding.in_time else "drawn at random"
    return f"{test:,} rows, {which}, were held out; the model was fitted on the other {train:,} and had not seen them."


def _score(name: str, unseen: Unseen, features: int, unit: str, seed: int) -> Score:
    title, metric = SCORES[name]
    reason = _why_not(name, unseen.observed, features)
    if reason:
        return Score(name, title, None, None, None, "", f"{title} cannot be given: {reason}", reason)
    value = float(metric(unseen.observed, unseen.predicted))
    low, high = (float(q) for q in np.nanquantile(_resampled(metric, unseen, seed), [0.025, 0.975]))
    if name == "adjusted_r2":
        value, low, high = (_adjusted(v, len(unseen.rows), features) for v in (value, low, high))
    unit = unit if name in ("mae", "rmse", "bias") else ""
    return Score(name, title, value, low, high, unit, _meaning(name, value, unit, unseen.observed))


def _why_not(name: str, observed: Vector, features: int) -> str:
    if name == "mape" and (observed == 0).any():
        return f"{words.count(int((observed == 0).sum()), 'row')} sold nothing, and a share of zero has no meaning; read WAPE."
    if name == "wape" and not observed.any():
        return "nothing was sold in any row."
    if name in ("r2", "adjusted_r2") and (len(observed) < 2 or np.ptp(observed) == 0):
        return "sales do not vary over these rows."
    if name == "adjusted_r2" and len(observed) <= features + 1:
        return "there are no more rows than coefficients."
    return ""


def _adjusted(value: float, rows: int, features: int) -> float:
    return 1 - (1 - value) * (rows - 1) / (rows - features - 1)


def _resampled(metric: Metric, unseen: Unseen, seed: int) -> Vector:
    """The metric over bootstrap samples of the periods, each with all its rows (percentile bootstrap; Efron and Tibshirani
    1993, chapter 13; of clusters, Davison and Hinkley 1997, section 3.8).
    """
    rows = len(unseen.rows)
    draws = int(np.clip(RESAMPLED_VALUES // rows, LEAST_RESAMPLES, RESAMPLES))
    random = np.random.default_rng(seed)
    counts = np.unique_counts(unseen.periods).counts
    if len(counts) < rows:
        of_period = np.split(np.argsort(unseen.periods, kind="stable"), np.cumsum(counts)[:-1])
        drawn = random.integers(len(counts), size=(draws, len(counts)))
        samples = (np.concatenate([of_period[p] for p in each]) for each in drawn)
        return np.array([metric(unseen.observed[at], unseen.predicted[at]) for at in samples])
    step = max(2_000_000 // rows, 1)
    found = []
    for start in range(0, draws, step):
        at = random.integers(rows, size=(min(step, draws - start), rows))
        found.append(metric(unseen.observed[at], unseen.predicted[at]))
    return np.concatenate(found)


def _meaning(name: str, value: float, unit: str, observed: Vector) -> str:
    figure = f"{words.number(value, 3)}{f' {unit}' if unit else ''}"
    match name:
        case "mae":
            share = words.percent(value / float(np.abs(observed).mean())) if observed.any() else ""
            return f"A prediction is off by {figure} on average" + (f" ({share} of mean sales)." if share else ".")
        case "rmse":
            return f"Counting large errors more, it is off by {figure}."
        case "mape":
            return f"The average error is {words.percent(value, 1)} of what the row sold; rows that sold little weigh most."
        case "wape":
            return f"All errors together are {words.percent(value, 1)} of all that was sold."
        case "r2":
            if value < 0:
                mean = "the mean of these rows would, which nobody knew beforehand"
                return f"It predicts worse than {mean} (R² = {words.number(value, 3)})."
            return f"It explains {words.percent(value)} of the spread of sales over these rows."
        case "adjusted_r2":
            return f"Allowing for the number of columns, R² is {words.number(value, 3)}."
        case _:
            side = "too high" if value > 0 else "too low"
            return f"On average the predictions are {words.number(abs(value), 3)}{f' {unit}' if unit else ''} {side}."


def _repeated(name: str, each: Sequence[Unseen], share: float, features: int, unit: str) -> Score:
    title, metric = SCORES[name]
    reason = next((r for p in each if (r := _why_not(name, p.observed, features))), "")
    if reason:
        return Score(name, title, None, None, None, "", f"{title} cannot be given: {reason}", reason)
    values = np.array([float(metric(p.observed, p.predicted)) for p in each])
    if name == "adjusted_r2":
        values = np.array([_adjusted(v, len(p.rows), features) for v, p in zip(values, each, strict=True)])
    mean, low, high = paired_difference(values, np.zeros(len(values)), share)
    unit = unit if name in ("mae", "rmse", "bias") else ""
    return Score(name, title, mean, low, high, unit, f"Over {len(each)} folds: {words.number(mean, 3)}.")


def _coverage(unseen: Unseen, basis: Literal["held-out", "cross-validation"]) -> tuple[Coverage, ...]:
    rows, period = len(np.unique(unseen.rows)), np.unique(unseen.periods, return_inverse=True)[1]
    found = []
    for level, low, high in zip(LEVELS, unseen.low, unseen.high, strict=True):
        inside = (low <= unseen.observed) & (unseen.observed <= high)
        share = float(inside.mean())
        error = float(np.linalg.norm(np.bincount(period, inside - share))) / len(inside)
        found.append(Coverage(level, share, rows, float((high - low).mean()), basis, error))
    return tuple(found)


def _rows(unseen: Unseen, numbers: pd.Index[int]) -> tuple[PredictedRow, ...]:
    at = LEVELS.index(0.9)
    columns = zip(unseen.rows, unseen.observed, unseen.predicted, unseen.low[at], unseen.high[at], strict=True)
    found = [PredictedRow(int(numbers[row]), *(float(v) for v in rest)) for row, *rest in columns]
    return tuple(sorted(found, key=lambda p: p.row))


def diagnose(
    fitted: Any,
    X: pd.DataFrame,
    y: pd.Series[float],
    *,
    in_time: bool,
    numbers: Vector | None = None,
    kind: Kind = "line",
    markets: NDArray[Any] | None = None,
    size: Vector | None = None,
) -> tuple[Diagnostic, ...]:
    """What the residuals of the rows fitted say: curvature, growing spread, normality, influence, and order in time.

    ``numbers``, shape (n_rows, n_features), are the columns that a straight line would take; ``X`` itself where not given.
    Influence is told of a line alone: Cook's distance is that of a line. Curves give each of the ``markets`` a level of its
    own, and so do the lines here that are drawn through what they leave; sales are divided by the ``size`` of the market,
    since else the noise of a large one would be taken for a pattern. Rows ``in_time`` are in order, at least in each market.
    """
    predicted = np.asarray(fitted.predict(X), dtype=float)
    residual = y.to_numpy() - predicted
    if np.allclose(residual, 0, atol=1e-12 * max(float(np.abs(y).max()), 1.0)):
        return (Diagnostic("residuals", "Residuals", 0.0, None, "The model reproduces every row fitted exactly."),)
    if size is not None:
        predicted, residual = predicted / size, residual / size
    own = markets if kind == "curves" else None
    levels = np.ones((len(X), 1)) if own is None else np.equal.outer(own, np.unique(own)).astype(float)
    design = np.column_stack([levels, X.to_numpy() if numbers is None else numbers])
    found = [
        _curvature(design, residual, predicted, kind),
        _growing(design, residual, kind, own is not None),
        _normal(residual),
    ]
    if kind == "line":
        found.append(_influence(design, y))
    if in_time and math.isfinite(statistic := durbin_watson(residual, markets)):
        found.append(_in_order(statistic, kind, markets is not None))
    return tuple(found)


def _curvature(design: Vector, residual: Vector, predicted: Vector, kind: Kind) -> Diagnostic:
    """Ramsey's RESET (1969) with the squared prediction: does a curve explain what the model leaves?"""
    p = partial_f(design, predicted**2, residual)
    return Diagnostic(
        "residuals",
        "Residuals against predictions",
        *p,
        f"{READINGS[kind].bent if p[1] < 0.05 else 'No curve is left in the residuals'} "
        f"(RESET F = {words.number(p[0], 3)}, {words.p_value(p[1])}).",
    )


def partial_f(design: Vector, extra: Vector, target: Vector) -> tuple[float, float]:
    """F statistic and p value for one column more in a least-squares fit of ``target`` on ``design``."""

    def sse(x: Vector) -> float:
        q, _ = np.linalg.qr(x)
        left = target - q @ (q.T @ target)
        return float(left @ left)

    wide = np.column_stack([design, extra])
    wide = wide / np.maximum(np.abs(wide).max(axis=0), np.finfo(float).tiny)  # or the rank would depend on the units
    df = len(target) - wide.shape[1]
    if df < 1 or np.linalg.matrix_rank(wide) < wide.shape[1]:
        return math.nan, 1.0
    small, large = sse(wide), sse(wide[:, :-1])
    f = (large - small) / (small / df)
    return f, float(stats.f.sf(f, 1, df))


def _growing(design: Vector, residual: Vector, kind: Kind, within: bool) -> Diagnostic:
    statistic, p = breusch_pagan(design, residual)
    which = "intervals" if kind == "line" else "prediction intervals"
    changes = f"The spread changes with the columns, so the {which} follow it instead of having one width"
    if within:
        changes = f"The spread changes with the columns or from market to market, and the {which} follow it with the prediction"
    return Diagnostic(
        "scale_location",
        "Spread of the residuals",
        statistic,
        p,
        f"{changes if p < 0.05 else 'The spread looks the same everywhere'} "
        f"(Breusch-Pagan LM = {words.number(statistic, 3)}, {words.p_value(p)}).",
    )


def breusch_pagan(design: Vector, residual: Vector) -> tuple[float, float]:
    """Koenker's (1981) form of the Breusch-Pagan test: ``n R^2`` of the squared residuals on the columns, and its p value."""
    squared = residual**2
    q, _ = np.linalg.qr(design)
    left = squared - q @ (q.T @ squared)
    total = float(((squared - squared.mean()) ** 2).sum())
    statistic = len(residual) * (1 - float(left @ left) / total) if total > 0 else 0.0
    return statistic, float(stats.chi2.sf(statistic, design.shape[1] - 1))


def _normal(residual: Vector) -> Diagnostic:
    sample = residual if len(residual) <= SHAPIRO_ROWS else residual[:: math.ceil(len(residual) / SHAPIRO_ROWS)]
    w, p = stats.shapiro(sample)
    text = (
        "The residuals are not normal; the prediction intervals do not rely on it" if p < 0.05 else "The residuals look normal"
    )
    return Diagnostic(
        "qq",
        "Normality of the residuals",
        float(w),
        float(p),
        f"{text} (Shapiro-Wilk W = {w:.3f}, {words.p_value(p)}).",
    )


def _influence(design: Vector, y: pd.Series[float]) -> Diagnostic:
    distance = cooks_distance(design, y.to_numpy())
    at, most = int(distance.argmax()), float(distance.max())
    text = f"Row {y.index[at]} alone moves the line noticeably" if most > 0.5 else "No single row decides where the line lies"
    return Diagnostic(
        "influence", "Influence of single rows", most, None, f"{text} (largest Cook's distance {words.number(most, 3)})."
    )


def durbin_watson(residual: Vector, markets: NDArray[Any] | None = None) -> float:
    """Durbin and Watson's (1950) statistic: near 2 where a residual does not depend on the one before; NaN where none has one.

    Of markets, over what is left within each (Bhargava, Franzini and Narendranathan 1982).
    """
    if markets is None:
        step, left = np.diff(residual), residual
    else:
        own = pd.Series(residual).groupby(markets)
        step, left = own.diff().dropna().to_numpy(), residual - own.transform("mean").to_numpy()
    return float((step**2).sum() / (left**2).sum()) if len(step) and left.any() else math.nan


def _in_order(statistic: float, kind: Kind, within: bool) -> Diagnostic:
    if abs(statistic - 2) <= TIED:
        text = "The errors of neighbouring periods are hardly related"
    elif statistic < 2:
        text = f"Neighbouring periods err alike, {READINGS[kind].alike}"
    else:
        text = f"Neighbouring periods err in opposite directions, {READINGS[kind].opposite}"
    return Diagnostic(
        "order",
        "Order in time",
        statistic,
        None,
        f"{text} (Durbin-Watson{' within the markets' if within else ''} {statistic:.2f}).",
    )


def _findings(
    diagnostics: Sequence[Diagnostic],
    coverage: Sequence[Coverage],
    scores: Sequence[Score],
    spread: Spread,
    unseen: Unseen,
    *,
    kind: Kind,
) -> Iterator[Finding]:
    by_name = {d.name: d for d in diagnostics}
    if (d := by_name.get("residuals")) and d.p is not None and d.p < 0.05:
        yield Finding("M001", "review", d.sentence, READINGS[kind].mend_bent)
    if (d := by_name.get("scale_location")) and d.p is not None and d.p < 0.05:
        yield Finding("M002", "note", d.sentence, READINGS[kind].mend_uneven)
    if kind != "curves" and (d := by_name.get("order")) and abs(d.statistic - 2) > TIED:
        yield Finding("M003", "review", d.sentence, SHARED if d.statistic < 2 else TAKEN)
    # by cross-validation, where that was told: it has more rows
    yield from (_missed(c) for c in coverage if c.basis == coverage[-1].basis and c.level == 0.9 and _off(c))
    yield from (
        Finding("M005", "note", s.sentence, "Read WAPE instead.") for s in scores if s.name == "mape" and s.value is None
    )
    rows, periods = len(unseen.rows), len(np.unique(unseen.periods))
    if periods < FEW_ROWS:
        of = "" if periods == rows else f" of {words.count(periods, 'period')}"
        yield Finding(
            "M007",
            "review",
            f"Only {words.count(rows, 'row')}{of} were held out, so their scores and intervals say little.",
            "Read the cross-validation beside them, or hold out more.",
        )
    if spread.highest_level < max(LEVELS):
        yield Finding(
            "M006",
            "review",
            f"{words.count(len(spread.scores), 'row')} are too few for a {words.percent(max(LEVELS))} interval "
            f"(at most {words.percent(spread.highest_level)}).",
            "Ask for a lower level, or add rows.",
        )


def _off(c: Coverage) -> bool:
    """Is the measured share further from the level than three standard errors of a share?"""
    return abs(c.measured - c.level) > 3 * max(c.error, math.sqrt(c.level * (1 - c.level) / c.rows))


def _missed(c: Coverage) -> Finding:
    return Finding(
        "M004",
        "review",
        f"The {words.percent(c.level)} intervals held {words.percent(c.measured)} of {words.count(c.rows, 'unseen row')}.",
        "Do not rely on the intervals' level; look at the residuals for a pattern.",
    )
