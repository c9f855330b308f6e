"""What does a unit of spend still bring, when much is spent already? The curves as a scikit-learn step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from adresponse.curves import Shape, saturate

__all__ = ["Saturation"]

Vector = NDArray[np.float64]


class Saturation(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Each column through a response curve (see ``curves.saturate``); negative values count as 0.

    Parameters
    ----------
    shape : {"linear", "log", "power", "hill", "logistic"}
        The curve.
    half : float, or sequence with one float for each column
        Value > 0 that scales the curve, in the unit of the column.
    slope : float, or sequence with one float for each column
        Exponent > 0 of ``power`` and ``hill``.
    """

    def __init__(
        self, shape: Shape = "hill", half: float | Sequence[float] = 1.0, slope: float | Sequence[float] = 1.0
    ) -> None:
        self.shape = shape
        self.half = half
        self.slope = slope

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the columns; nothing is learnt."""
        validate_data(self, X, dtype=np.float64)
        return self

    def transform(self, X: Any) -> Vector:
        """Responses, shape (n_rows, n_columns), free of units (``linear``: in the unit of the column)."""
        check_is_fitted(self, "n_features_in_")
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return saturate(self.shape, np.maximum(X, 0.0), self.half, self.slope)
