"""Between which sales will a new row lie, where the spread grows with what is predicted?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from adresponse.folding import Folding
from adresponse.formula import Spread

__all__ = ["calibrate", "spread_of"]

Vector = NDArray[np.floating[Any]]
LEAST_SPREAD = 0.1  # share of the mean spread below which no row's spread is believed to fall
KEPT_SCORES = 2_000  # enough for any level that is asked for; more would only make the stored model larger


def calibrate(estimator: Any, X: pd.DataFrame, y: pd.Series[float], folding: Folding) -> Spread:
    """The spread of an estimator's errors on rows that it has not seen, by cross-validation over the rows given."""
    folds = folding.partition(len(X))
    fitted = [clone(estimator).fit(X.iloc[fit], y.iloc[fit]) for fit, _ in folds]
    predicted = [np.ravel(model.predict(X.iloc[rows])) for model, (_, rows) in zip(fitted, folds, strict=True)]
    return spread_of(np.concatenate(predicted).astype(float), y.to_numpy()[np.concatenate([rows for _, rows in folds])])


def spread_of(predicted: Vector, observed: Vector) -> Spread:
    """Scale and scores from predictions and what was seen; the scale is a least-squares line through |errors|.

    The line of absolute errors on predictions is Glejser's (1969); it may rise or fall, and never goes below the floor.
    """
    size = np.abs(observed - predicted)
    mean = float(size.mean())
    slope, intercept = (0.0, mean) if np.ptp(predicted) == 0 else np.polyfit(predicted, size, 1)
    floor = max(LEAST_SPREAD * mean, np.finfo(float).tiny)
    scale = np.maximum(intercept + slope * predicted, floor)
    scores = np.sort(size / scale)
    if len(scores) > KEPT_SCORES:
        scores = np.quantile(scores, (np.arange(KEPT_SCORES) + 1) / (KEPT_SCORES + 1), method="higher")
    return Spread(float(intercept), float(slope), float(floor), tuple(float(s) for s in scores))
