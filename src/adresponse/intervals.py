"""Between which sales will a new row lie, where the spread grows with what is predicted?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import cross_val_predict

from adresponse.errors import ConfigError
from adresponse.folding import Folding

__all__ = ["Spread", "calibrate", "spread_of"]

Vector = NDArray[np.floating[Any]]
LEAST_SPREAD = 0.1  # share of the mean spread below which no row's spread is believed to fall
KEPT_SCORES = 2_000  # enough for any level that is asked for; more would only make the stored model larger


@dataclass(frozen=True)
class Spread:
    """How far rows lie from their prediction: a scale that is linear in the prediction, and calibrated scores.

    The interval of level ``a`` around a prediction ``f`` is ``f -/+ q s(f)`` with ``s(f) = max(intercept + slope f,
    floor)`` and ``q`` the ``ceil((n + 1) a)``-th smallest of the ``n`` scores ``|y - f| / s(f)`` of rows predicted by a
    model that had not seen them (locally weighted conformal prediction; Lei et al. 2018, section 5.2, with
    cross-validated residuals as in Barber et al. 2021). It holds its level on average whatever the errors' shape, and
    follows their growth.

    Parameters
    ----------
    intercept, slope, floor : float
        The scale, in the target's unit.
    scores : tuple of float
        Sorted, free of units.
    """

    intercept: float
    slope: float
    floor: float
    scores: tuple[float, ...]

    @property
    def highest_level(self) -> float:
        """The highest level for which there are enough rows."""
        return len(self.scores) / (len(self.scores) + 1)

    def scale(self, predicted: Vector) -> Vector:
        """Half-width of the interval before the quantile, shape (n_rows,), in the target's unit."""
        return np.asarray(np.maximum(self.intercept + self.slope * predicted, self.floor))

    def quantile(self, level: float) -> float:
        """The score that a share ``level`` of new rows stays below; infinite where the rows are too few to know.

        Raises
        ------
        ConfigError
            If ``level`` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ConfigError(f"level={level:g} is no share between 0 and 1; write 0.9 for nine of ten.")
        rank = math.ceil((len(self.scores) + 1) * level)
        return self.scores[rank - 1] if rank <= len(self.scores) else math.inf

    def interval(self, predicted: Vector, level: float) -> tuple[Vector, Vector]:
        """Lower and upper ends at ``level`` (between 0 and 1), each of shape (n_rows,)."""
        reach = self.quantile(level) * self.scale(predicted)
        return predicted - reach, predicted + reach


def calibrate(estimator: Any, X: pd.DataFrame, y: pd.Series[float], folding: Folding) -> Spread:
    """The spread of an estimator's errors on rows that it has not seen, by cross-validation over the rows given."""
    predicted = cross_val_predict(clone(estimator), X, y, cv=folding.partition(len(X)))
    return spread_of(np.asarray(predicted, dtype=float).reshape(len(X)), y.to_numpy())


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
