"""How are rows split, so that none is scored by a model that has seen it, or that has seen its future?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, RepeatedKFold, TimeSeriesSplit

__all__ = ["Fold", "Folding", "first_of_last", "share_tested"]

Rows = NDArray[np.int64]
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
    """

    folds: int = 5
    repeats: int = 4
    seed: int = 42
    periods: Rows | None = None

    @property
    def in_time(self) -> bool:
        """Whether rows have periods."""
        return self.periods is not None

    def at(self, rows: Rows) -> Folding:
        """The same for a part of the rows."""
        return self if self.periods is None else replace(self, periods=self.periods[rows])

    def scoring(self, rows: int) -> list[Fold]:
        """All rounds; in time each fold comes after those that it is predicted from.

        In time the first half is only learnt from, so that no fold is predicted from a handful of periods.
        """
        if self.periods is not None:
            times = np.unique(self.periods)
            split = TimeSeriesSplit(n_splits=self.folds, test_size=max(len(times) // (2 * self.folds), 1))
            return [_rows_of(self.periods, times[a], times[b]) for a, b in split.split(times)]
        split = RepeatedKFold(n_splits=self.folds, n_repeats=self.repeats, random_state=self.seed)
        return list(split.split(np.arange(rows)))

    def partition(self, rows: int) -> list[Fold]:
        """One round in which every row is predicted once; in time a fold is an unbroken stretch of it."""
        if self.periods is not None:
            times = np.unique(self.periods)
            return [_rows_of(self.periods, times[a], times[b]) for a, b in KFold(min(self.folds, len(times))).split(times)]
        return list(KFold(min(self.folds, rows), shuffle=True, random_state=self.seed).split(np.arange(rows)))

    def searching(self, rows: int) -> list[Fold]:
        """The folds of a grid search: one round of ``scoring`` in time, else ``partition``."""
        return self.scoring(rows) if self.in_time else self.partition(rows)


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
