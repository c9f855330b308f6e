"""How are rows split, so that none is scored by a model that has seen it, or that has seen its future?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, RepeatedKFold, TimeSeriesSplit

from adresponse.errors import ConfigError

__all__ = ["Fold", "Folding", "first_of_last", "share_tested"]

Rows = NDArray[np.int64]
LEAST_SCORED = 2  # folds, so that scores have a spread
Fold = tuple[Rows, Rows]
"""Positions to fit on, and positions to predict."""


@dataclass(frozen=True)
class Folding:
    """A way to split rows: at random, or in time where there are periods.

    Parameters
    ----------
    folds : int
        Folds of one round.
    repeats : int
        Rounds, each with other folds; in time there is one way to split, so one round.
    seed : int
        Seed of the random splits.
    periods : ndarray of int of shape (n_rows,), optional
        The period of each row, counted upwards in time. Rows of one period (its markets) stay together.
    markets : ndarray of shape (n_rows,), optional
        The market of each row, where a model knows only those that it was fitted on. Rows of one that is not among the rows
        to fit are not predicted, since it opened later and has no level yet; a fold without any other rows is left out.
    """

    folds: int = 5
    repeats: int = 4
    seed: int = 42
    periods: Rows | None = None
    markets: NDArray[Any] | None = None

    @property
    def in_time(self) -> bool:
        """Whether rows have periods."""
        return self.periods is not None

    def at(self, rows: Rows) -> Folding:
        """The same for a part of the rows."""
        kept = {name: values[rows] for name in ("periods", "markets") if (values := getattr(self, name)) is not None}
        return replace(self, **kept)

    def scoring(self, rows: int) -> list[Fold]:
        """All rounds; in time each fold comes after those that it is predicted from.

        In time the first half is only learnt from, so that no fold is predicted from a handful of periods.
        """
        if self.periods is not None:
            times = np.unique(self.periods)
            split = TimeSeriesSplit(n_splits=self.folds, test_size=max(len(times) // (2 * self.folds), 1))
            return self._known([_rows_of(self.periods, times[a], times[b]) for a, b in split.split(times)], LEAST_SCORED)
        split = RepeatedKFold(n_splits=self.folds, n_repeats=self.repeats, random_state=self.seed)
        return self._known(list(split.split(np.arange(rows))), LEAST_SCORED)

    def partition(self, rows: int) -> list[Fold]:
        """One round in which every row is predicted once (see ``markets``); in time a fold is an unbroken stretch of it."""
        if self.periods is not None:
            times = np.unique(self.periods)
            stretches = KFold(min(self.folds, len(times))).split(times)
            return self._known([_rows_of(self.periods, times[a], times[b]) for a, b in stretches])
        return self._known(list(KFold(min(self.folds, rows), shuffle=True, random_state=self.seed).split(np.arange(rows))))

    def searching(self, rows: int) -> list[Fold]:
        """The folds of a grid search: one round of ``scoring`` in time, else ``partition``."""
        return self.scoring(rows) if self.in_time else self.partition(rows)

    def _known(self, folds: list[Fold], least: int = 1) -> list[Fold]:
        """The folds without rows of markets that are not fitted; at least so many of them."""
        markets = self.markets
        if markets is None:
            return folds
        kept = [(fit, predict[np.isin(markets[predict], markets[fit])]) for fit, predict in folds]
        kept = [(fit, predict) for fit, predict in kept if len(predict)]
        if len(kept) < least:
            raise ConfigError(
                f"Cross-validation can predict {len(kept)} of {len(folds)} folds, since the markets of the others open later; "
                "leave out markets that open late, or give more rows of them."
            )
        return kept


def _rows_of(periods: Rows, fit: Rows, predict: Rows) -> Fold:
    return np.flatnonzero(np.isin(periods, fit)), np.flatnonzero(np.isin(periods, predict))


def share_tested(folds: list[Fold]) -> float:
    """Mean of ``n_test / n_train`` over the folds."""
    return float(np.mean([len(test) / len(train) for train, test in folds]))


def first_of_last(dates: NDArray[Any], share: float) -> int:
    """Where the last rows begin, as many as the share asks for, where a period stays in one piece.

    ``dates`` are those of the rows, in order.
    """
    return int(np.searchsorted(dates, dates[len(dates) - max(math.ceil(len(dates) * share), 1)]))
