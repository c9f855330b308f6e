"""A regressor that takes its time where it is told to: what a pipeline without a closed formula may do to a server."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin


class Sleeper(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predicts twice the spend; a spend of 1,000 or more is slept on for so many milliseconds, one of 666 fails."""

    def fit(self, X: Any, y: Any) -> Sleeper:
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: Any) -> Any:
        spend = np.asarray(X, dtype=float)[:, 0]
        if (spend == 666).any():
            raise ValueError("a spend of 666 is beyond this model")
        if spend.max() >= 1000:
            time.sleep(spend.max() / 1000)
        return 2 * spend
