"""Which settings and which model predict best, and is the difference more than chance?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.preprocessing import MinMaxScaler

from adresponse import words
from adresponse.errors import ModelError
from adresponse.folding import Fold, Folding, share_tested
from adresponse.models import MarketMean, linear

__all__ = [
    "Candidate",
    "GridPoint",
    "Leaderboard",
    "LeaderboardRow",
    "compare",
    "grid_search",
    "paired_difference",
]

Vector = NDArray[np.float64]
OWN_NAMES = ("default", "scaled", "tuned", "baseline", "curves")
SAME = 1e-9  # relative difference in RMSE that is rounding, not a difference
SCORING = {"mae": "neg_mean_absolute_error", "rmse": "neg_root_mean_squared_error", "r2": "r2"}
GRID: dict[str, list[Any]] = {
    "scale": [MinMaxScaler(), "passthrough"],
    "regress__fit_intercept": [True, False],
    "regress__positive": [False, True],
    "regress__copy_X": [True, False],
}


@dataclass(frozen=True)
class Candidate:
    """A model in the comparison: its name, what it is in words, and the estimator, not fitted.

    ``columns`` are those that it is fitted on; empty for all.
    """

    name: str
    title: str
    estimator: Any
    columns: tuple[str, ...] = ()

    def rows(self, X: pd.DataFrame) -> pd.DataFrame:
        """What the estimator is given of ``X``: a copy, since one may write into it."""
        return X[list(self.columns)] if self.columns else X.copy()


@dataclass(frozen=True)
class LeaderboardRow:
    """One candidate over the folds: mean scores, and its paired difference in RMSE to the default with an interval.

    ``difference`` is the candidate's RMSE minus the default's (negative: better), with a 95 % interval by the corrected
    resampled t-test (Nadeau and Bengio 2003). ``verdict`` says it in words.
    """

    name: str
    title: str
    params: dict[str, str]
    mae: float
    rmse: float
    r2: float
    fold_rmse: tuple[float, ...]
    difference: float
    low: float
    high: float
    verdict: str
    chosen: bool


@dataclass(frozen=True)
class GridPoint:
    """One setting tried by the grid search: its parameters, mean RMSE over the folds, its spread, and the rank."""

    params: dict[str, str]
    rmse: float
    std: float
    rank: int


@dataclass(frozen=True)
class Leaderboard:
    """All candidates (best first), the grid that was searched, and what follows in words."""

    rows: tuple[LeaderboardRow, ...]
    grid: tuple[GridPoint, ...]
    folds: int
    repeats: int
    chosen: str
    sentence: str
    tuning_sentence: str


def grid_search(X: pd.DataFrame, y: pd.Series[float], folds: list[Fold]) -> tuple[Any, tuple[GridPoint, ...]]:
    """The best setting of the linear pipeline (not fitted), and every setting that was tried, best first.

    The grid holds all that ``LinearRegression`` can be told, scaled and unscaled. Of equal settings the one nearest to
    scikit-learn's defaults wins.
    """
    search = GridSearchCV(linear(), GRID, scoring=SCORING["rmse"], cv=folds, refit=False)
    search.fit(X.copy(), y)  # copy_X=False may write into what it is given
    found = search.cv_results_
    points = tuple(
        GridPoint(_spoken(p), -float(m), float(s), int(r))
        for p, m, s, r in zip(
            found["params"], found["mean_test_score"], found["std_test_score"], found["rank_test_score"], strict=True
        )
    )
    best_rmse = min(p.rmse for p in points)
    best = next(i for i, p in enumerate(points) if p.rmse <= best_rmse * (1 + SAME))
    return clone(linear()).set_params(**found["params"][best]), tuple(sorted(points, key=lambda p: p.rank))


def _spoken(params: Mapping[str, Any]) -> dict[str, str]:
    spoken = {k.removeprefix("regress__"): str(v) for k, v in params.items()}
    if "scale" in spoken:
        spoken["scale"] = "none" if spoken["scale"] == "passthrough" else "MinMaxScaler"
    return spoken


def compare(
    X: pd.DataFrame,
    y: pd.Series[float],
    *,
    challengers: Sequence[Candidate] = (),
    folding: Folding = Folding(),
    asked: Candidate | None = None,
    features: Sequence[str] = (),
    market: str | None = None,
) -> tuple[Leaderboard, Any]:
    """Default, tuned, scaled, baseline and challengers over the same folds; returns also the chosen estimator, not fitted.

    The scaled line is chosen unless another model is better by a paired difference whose 95 % interval leaves out zero.

    Parameters
    ----------
    X, y : DataFrame of shape (n_rows, n_features), Series of shape (n_rows,)
        The rows to fit on; held-out rows must not be among them.
    folding : Folding
        How these rows are split for cross-validation.
    asked : Candidate, optional
        A model that the user asked for: it is compared, and chosen however it does.
    features : sequence of str, optional
        Columns of ``X`` that the others are fitted on; all where not given.
    market : str, optional
        Column of ``X`` that names the market, whose mean is then the baseline: that of all would make any model of markets
        which differ in size look good.
    """
    columns = tuple(features)
    baseline = Candidate("baseline", "the mean of the sales, whatever is spent", DummyRegressor(), columns)
    if market is not None:
        baseline = Candidate("baseline", "the mean sales of each market, whatever is spent", MarketMean(), (market,))
    tuned, grid = grid_search(X[list(columns)] if columns else X, y, folding.searching(len(X)))
    candidates = (
        Candidate("default", "LinearRegression as it comes", linear(scale=False), columns),
        Candidate("scaled", "MinMaxScaler and LinearRegression", linear(), columns),
        Candidate("tuned", "the best setting of the grid", tuned, columns),
        baseline,
        *(replace(c, columns=columns) for c in challengers),
        *([asked] if asked is not None else []),
    )
    split = folding.scoring(len(X))
    scores = {c.name: _over_folds(c, X, y, split) for c in candidates}
    chosen = asked.name if asked is not None else _choose(scores, share_tested(split))
    rows = sorted(
        (_row(c, scores, share_tested(split), chosen) for c in candidates),
        key=lambda r: (round(r.rmse, 9), not r.chosen),
    )
    estimator = next(c.estimator for c in candidates if c.name == chosen)
    board = Leaderboard(
        rows=tuple(rows),
        grid=grid,
        folds=folding.folds,
        repeats=1 if folding.in_time else folding.repeats,
        chosen=chosen,
        sentence=_board_sentence(rows, chosen, share_tested(split), "the mean" if market is None else "each market's mean"),
        tuning_sentence=_tuning_sentence(grid, next(r for r in rows if r.name == "tuned"), folding.folds),
    )
    return board, estimator


def _over_folds(candidate: Candidate, X: pd.DataFrame, y: pd.Series[float], split: list[Fold]) -> dict[str, Vector]:
    try:
        found = cross_validate(clone(candidate.estimator), candidate.rows(X), y, scoring=SCORING, cv=split, error_score="raise")
    except Exception as error:
        if candidate.name in OWN_NAMES:
            raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"Challenger {candidate.title!r} cannot be fitted or scored ({reason[0]}); take it out of challengers."
        ) from error
    sign = {"mae": -1.0, "rmse": -1.0, "r2": 1.0}
    return {name: sign[name] * found[f"test_{name}"] for name in SCORING}


def paired_difference(a: Vector, b: Vector, share_tested: float) -> tuple[float, float, float]:
    """Mean of ``a - b`` over folds with a 95 % interval by the corrected resampled t-test.

    The variance of the mean is ``(1 / J + n_test / n_train) s^2``, since the folds' training rows overlap (Nadeau and
    Bengio 2003, eq. 9).

    Parameters
    ----------
    a, b : ndarray of shape (n_folds,)
        A score of two models over the same folds, at least two.
    share_tested : float
        ``n_test / n_train``.
    """
    difference = a - b
    mean, folds = float(difference.mean()), len(difference)
    se = math.sqrt((1 / folds + share_tested) * float(difference.var(ddof=1)))
    reach = float(stats.t.ppf(0.975, folds - 1)) * se
    return mean, mean - reach, mean + reach


def _choose(scores: Mapping[str, Mapping[str, Vector]], share: float) -> str:
    better = [
        name
        for name, found in scores.items()
        if name not in ("baseline", "default", "scaled") and _is_better(found["rmse"], scores["scaled"]["rmse"], share)
    ]
    return min(better, key=lambda name: float(scores[name]["rmse"].mean()), default="scaled")


def _is_better(a: Vector, b: Vector, share: float) -> bool:
    mean, _, high = paired_difference(a, b, share)
    return high < 0 and -mean > SAME * float(b.mean())


def _row(candidate: Candidate, scores: Mapping[str, Mapping[str, Vector]], share: float, chosen: str) -> LeaderboardRow:
    found, default = scores[candidate.name], scores["default"]["rmse"]
    difference, low, high = paired_difference(found["rmse"], default, share)
    return LeaderboardRow(
        name=candidate.name,
        title=candidate.title,
        params=_params(candidate.estimator),
        mae=float(found["mae"].mean()),
        rmse=float(found["rmse"].mean()),
        r2=float(found["r2"].mean()),
        fold_rmse=tuple(float(v) for v in found["rmse"]),
        difference=difference,
        low=low,
        high=high,
        verdict="the reference" if candidate.name == "default" else verdict(difference, low, high, float(default.mean())),
        chosen=candidate.name == chosen,
    )


def verdict(difference: float, low: float, high: float, reference: float) -> str:
    """A difference in RMSE to the default, in words; ``reference`` is the default's RMSE."""
    if max(abs(difference), abs(low), abs(high)) <= SAME * max(reference, np.finfo(float).tiny):
        return "no difference: the same predictions"
    if low <= 0 <= high:
        return f"no difference beyond chance ({words.span(low, high)})"
    return f"{'better' if high < 0 else 'worse'} by {words.number(abs(difference), 3)} ({words.span(low, high)})"


def _params(estimator: Any) -> dict[str, str]:
    if hasattr(estimator, "named_steps"):
        searched = {k.removeprefix("regress__") for k in GRID if k.startswith("regress__")}
        options = {k: v for k, v in estimator["regress"].get_params().items() if k in searched}
        return _spoken({"scale": estimator["scale"], **options})
    return {k: str(v) for k, v in estimator.get_params(deep=False).items()}


def _board_sentence(rows: Sequence[LeaderboardRow], chosen: str, share: float, mean: str) -> str:
    at = next(r for r in rows if r.name == chosen)
    baseline = next(r for r in rows if r.name == "baseline")
    difference, low, high = paired_difference(np.array(at.fold_rmse), np.array(baseline.fold_rmse), share)
    against = f"its RMSE is not clearly below that of {mean} alone"
    if high < 0:
        against = f"its RMSE is {words.percent(-difference / baseline.rmse)} below that of {mean} alone"
    elif low > 0:
        against = f"it predicts worse than {mean} alone"
    return f"Chosen: {at.title} (RMSE {words.number(at.rmse, 3)} over {len(at.fold_rmse)} folds); {against}."


def _tuning_sentence(grid: Sequence[GridPoint], tuned: LeaderboardRow, folds: int) -> str:
    best, worst = grid[0].rmse, grid[-1].rmse
    as_good = sum(p.rmse <= best * (1 + SAME) for p in grid)
    spread = (
        "all predict the same"
        if as_good == len(grid)
        else f"{as_good} share the best RMSE, {words.number(best, 3)}, the others reach {words.number(worst, 3)}"
    )
    tried = f"{len(grid)} settings of the straight line were tried over {folds} folds"
    return f"{tried}: {spread}. The best against the default: {tuned.verdict}."
