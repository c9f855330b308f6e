"""What do the columns beside the channels explain, where each of many markets may have a level of its own?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

__all__ = ["Span"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Span:
    """Orthonormal columns for what trend, season, controls and the levels of markets span together.

    A panel of two hundred markets has as many columns that are 0 almost everywhere. They are orthogonal to each other already,
    so taking them out is to take out each market's mean, and the others are made orthogonal to them first (Frisch and Waugh
    1933): a projection then costs what the few others do.

    Parameters
    ----------
    dense : ndarray of shape (n_rows, n_dense)
        Orthonormal, and with the mean 0 in each market where there are markets.
    levels : sparse array of shape (n_markets, n_rows), optional
        A row for each market: ``1 / sqrt(n)`` in its ``n`` rows.
    back : ndarray of shape (n_base, rank)
        Turns coordinates, levels first, into coefficients of the columns given, then of a column for each market but the first.
    """

    dense: Vector
    levels: csr_array | None
    back: Vector

    @classmethod
    def of(cls, columns: Vector, market: NDArray[np.int64] | None = None) -> Self:
        """The span of columns, (n_rows, n_columns), which may depend on each other, and of a level for each market.

        Parameters
        ----------
        columns : ndarray of shape (n_rows, n_columns)
            The first is the intercept.
        market : ndarray of int of shape (n_rows,), optional
            Number of each row's market, from 0 without a gap.
        """
        size = np.linalg.norm(columns, axis=0)
        size = np.where(size > 0, size, 1.0)
        scaled = columns / size
        if market is None:
            q, turned = _orthonormal(scaled)
            return cls(q, None, turned / size[:, None])
        rows = np.arange(len(columns))
        counts = np.bincount(market)
        levels = csr_array((1 / np.sqrt(counts[market]), (market, rows)), shape=(len(counts), len(columns)))
        along = levels @ scaled
        q, turned = _orthonormal(scaled - levels.T @ along)
        heights = np.hstack([np.eye(len(counts)), -along @ turned]) / np.sqrt(counts)[:, None]  # of each market, by coordinate
        own = np.hstack([np.zeros((columns.shape[1], len(counts))), turned / size[:, None]])
        own[0] += heights[0]
        return cls(q, levels, np.vstack([own, heights[1:] - heights[0]]))

    @property
    def rank(self) -> int:
        """How many columns it takes."""
        return int(self.back.shape[1])

    def along(self, columns: Vector) -> Vector:
        """Coordinates, (..., rank, n), of columns of shape (..., n_rows, n); (rank,) of one alone."""
        found = self.dense.T @ columns
        if self.levels is None:
            return np.asarray(found)
        if columns.ndim < 3:
            return np.concatenate([self.levels @ columns, found])
        return np.concatenate([np.stack([self.levels @ each for each in columns]), found], axis=1)

    def rest(self, columns: Vector) -> Vector:
        """What it leaves of columns of shape (n_rows, ...)."""
        left = columns - self.dense @ (self.dense.T @ columns)
        return np.asarray(left if self.levels is None else left - self.levels.T @ (self.levels @ columns))

    def paired(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
        """Sum of the entries of the projection's matrix at rows ``a`` and columns ``b``; both of a pair are of one market."""
        found = float((self.dense[a] * self.dense[b]).sum())
        return found if self.levels is None else found + float(self.levels.power(2).sum(axis=0)[a].sum())


def _orthonormal(columns: Vector) -> tuple[Vector, Vector]:
    """Orthonormal columns ``q`` of the same span, and what gives them: ``columns @ turned = q``."""
    q, values, turn = np.linalg.svd(columns, full_matrices=False)
    kept = values > max(values[0], 1.0) * len(q) * np.finfo(float).eps
    return q[:, kept], turn[kept].T / values[kept]
