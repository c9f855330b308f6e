"""Which curve predicts rows best that it has not seen, and which simpler one does as well?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adresponse.curves import Shape
from adresponse.folding import Fold
from adresponse.mixing import projection
from adresponse.mixing.regressor import MixRegressor

__all__ = ["SIMPLEST_FIRST", "ShapeScore", "compare_shapes", "information_behind", "simplest"]

Vector = NDArray[np.float64]
Name = TypeVar("Name", bound=str)
SIMPLEST_FIRST: tuple[Shape, ...] = ("linear", "log", "power", "logistic", "hill")
"""By the number of parameters of a channel, then by age in the field."""
STILL_PLAUSIBLE = 2.0
"""Standard errors from the best up to which a curve counts for intervals, as in a 95 % set of models (Hansen et al. 2011)."""
SUPPORTED, RULED_OUT = 2.0, 10.0
"""Differences of Akaike's criterion up to which all rows support a curve as well, and from which on they do not support it at
all (Burnham and Anderson 2002, 2.6)."""


@dataclass(frozen=True)
class ShapeScore:
    """How one curve predicted the folds.

    Parameters
    ----------
    shape : Shape
    rmse : float
        Root of the mean squared error over all rows predicted, in the target's unit.
    worse : float
        Mean squared error over that of the best of the curves that all rows support, less 1; below 0 where that of a curve
        that they do not support is less.
    error : float
        Standard error of ``worse``, from the rows predicted by both; 0 for that best one.
    chosen : bool
        The simplest within one standard error of that best one, of those that all rows together support.
    plausible : bool
        Within two standard errors of that best one, so that the folds cannot tell the two apart, and not ruled out by all
        rows.
    behind : float
        By how much Akaike's criterion, on all rows, is worse than that of the best.
    """

    shape: Shape
    rmse: float
    worse: float
    error: float
    chosen: bool = False
    plausible: bool = True
    behind: float = 0.0


def information_behind(models: Mapping[Name, MixRegressor]) -> dict[Name, float]:
    """By how much Akaike's criterion, of models fitted on the same rows, is worse than that of the best."""
    dilution = min(models.values(), key=lambda m: m.found_.noise * m.unit_).found_.dilution
    each = {name: projection.information(m.problem_, m.found_, dilution, m.unit_) for name, m in models.items()}
    return {name: value - min(each.values()) for name, value in each.items()}


def compare_shapes(
    make: Callable[[Shape], Any],
    X: pd.DataFrame,
    y: Vector,
    folds: Sequence[Fold],
    behind: Mapping[Shape, float] | None = None,
    shapes: Sequence[Shape] = SIMPLEST_FIRST,
) -> tuple[ShapeScore, ...]:
    """Cross-validate a regressor for each curve, and choose (see ``simplest``).

    Parameters
    ----------
    make : callable
        Gives an unfitted regressor for a curve.
    X : DataFrame of shape (n_rows, n_columns)
    y : ndarray of shape (n_rows,)
        In the target's unit.
    folds : sequence of (rows to fit, rows to predict)
    behind : mapping of Shape to float, optional
        See ``information_behind``.
    shapes : sequence of Shape
        The simplest first.
    """
    errors = {shape: [_squared(make(shape), X, y, fold) for fold in folds] for shape in shapes}
    return simplest(errors, behind)


def simplest(errors: dict[Shape, list[Vector]], behind: Mapping[Shape, float] | None = None) -> tuple[ShapeScore, ...]:
    """Choose the first curve whose mean squared error is within one standard error of the best (Breiman et al. 1984, 3.4.3).

    The standard error is that of the difference between the two, row by row, since both predicted the same rows. Rows of a
    fold share their fit and follow each other in time, so the error counts folds as well: the larger of the error over rows
    and over folds.

    Folds tell little where rows are few, so only curves that all rows together support are chosen from.

    Parameters
    ----------
    errors : dict of Shape to list of ndarray
        Squared errors of the rows of each fold, the simplest curve first.
    behind : mapping of Shape to float, optional
        What all rows say (see ``information_behind``); without it every curve counts as supported.
    """
    joined = {shape: np.concatenate(e) for shape, e in errors.items()}
    behind = behind or dict.fromkeys(joined, 0.0)
    best = min((s for s in joined if behind[s] <= SUPPORTED), key=lambda shape: float(joined[shape].mean()))
    least = max(float(joined[best].mean()), np.finfo(float).tiny)
    scores = []
    for shape, own in joined.items():
        difference = own - joined[best]
        by_fold = np.array([float(a.mean() - b.mean()) for a, b in zip(errors[shape], errors[best], strict=True)])
        spread = max(_error(difference), _error(by_fold))
        worse = float(difference.mean()) / least
        scores.append(ShapeScore(shape, math.sqrt(own.mean()), worse, spread / least, behind=behind[shape]))
    first = next(s.shape for s in scores if s.worse <= s.error and s.behind <= SUPPORTED)
    return tuple(replace(s, chosen=s.shape == first, plausible=_plausible(s)) for s in scores)


def _plausible(score: ShapeScore) -> bool:
    return score.worse <= STILL_PLAUSIBLE * score.error and score.behind <= RULED_OUT


def _squared(model: Any, X: pd.DataFrame, y: Vector, fold: Fold) -> Vector:
    fitted, predicted = fold
    model.fit(X.iloc[fitted], y[fitted])
    return np.asarray((y[predicted] - model.predict(X.iloc[predicted])) ** 2)


def _error(values: Vector) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0
