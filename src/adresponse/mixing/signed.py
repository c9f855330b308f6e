"""Least squares where some coefficients may not be negative, as scikit-learn's other regressions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

__all__ = ["SignedRegression"]

Vector = NDArray[np.float64]


class SignedRegression(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Least squares with a free intercept, signs, and a pull of coefficients towards given values.

    Minimises ``sum_i (y_i - b_0 - x_i b)^2 + sum_j weight_j (b_j - centre_j)^2`` where coefficients with sign 1 are at least
    0 and those with sign -1 at most 0 (Lawson and Hanson 1974; Stark and Parker 1995). With no weights and no signs it is
    ordinary least squares; of many solutions it takes the shortest.

    Parameters
    ----------
    signs : sequence of {-1, 0, 1}, or one for all
        0 leaves a coefficient free.
    weight : float, or sequence of float
        Strength >= 0 of the pull on each coefficient.
    centre : float, or sequence of float
        Value that each coefficient is pulled to.

    Attributes
    ----------
    coef_ : ndarray of shape (n_columns,)
    intercept_ : float
    """

    def __init__(
        self, signs: int | Sequence[int] = 0, weight: float | Sequence[float] = 0.0, centre: float | Sequence[float] = 0.0
    ) -> None:
        self.signs = signs
        self.weight = weight
        self.centre = centre

    def fit(self, X: Any, y: Any) -> Self:
        """Find intercept and coefficients.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
        y : array-like of shape (n_rows,)
        """
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        columns = X.shape[1]
        signs = np.broadcast_to(np.asarray(self.signs), (columns,))
        weight = np.broadcast_to(np.asarray(self.weight, dtype=float), (columns,))
        centre = np.broadcast_to(np.asarray(self.centre, dtype=float), (columns,))
        means, level = X.mean(axis=0), float(y.mean())
        size = np.linalg.norm(X - means, axis=0)
        size = np.where(size > 0, size, 1.0)
        pulled = np.sqrt(weight) / size
        design = np.vstack([(X - means) / size, np.diag(pulled)])
        wanted = np.concatenate([y - level, np.sqrt(weight) * centre])
        found = np.linalg.lstsq(design, wanted, rcond=None)[0]
        if (found * signs < 0).any():
            low = np.where(signs > 0, 0.0, -np.inf)
            high = np.where(signs < 0, 0.0, np.inf)
            found = lsq_linear(design, wanted, (low, high), method="bvls", tol=1e-14).x
            found = np.where(found * signs < 0, 0.0, found)
        self.coef_ = found / size
        self.intercept_ = level - float(means @ self.coef_)
        return self

    def predict(self, X: Any) -> Vector:
        """``intercept_ + X coef_``, shape (n_rows,), summed column by column."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        total = np.full(len(X), self.intercept_)
        for column, coefficient in enumerate(self.coef_):
            total = total + coefficient * X[:, column]
        return total
