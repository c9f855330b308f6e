"""How strict must this look be, after those before it, so that a whole stream of looks keeps its level?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from adresponse.errors import ConfigError

__all__ = ["look_level", "spent"]

Vector = NDArray[np.float64]
BY_HORIZON = 0.9  # share of the level that is spent when the horizon is reached; the rest lasts for ever
REACH = 8.0  # standard deviations that the grid covers to each side; beyond lies 1e-15
POINTS = 301  # of the grid: a level is then right to four digits (see the test)


def spent(rows: float, horizon: int, alpha: float) -> float:
    """Level that may have been spent once ``rows`` new rows were looked at: ``0.9 alpha (rows / horizon)^2``, then up to alpha.

    Up to the horizon it is the power family of Kim and DeMets (1987), with power 2: little is spent while a few rows could
    tell little. Beyond, the last tenth of the level is spent as ``1 - horizon / rows``, so that looking never has to end.
    """
    if rows <= horizon:
        return alpha * BY_HORIZON * (rows / horizon) ** 2
    return alpha * (BY_HORIZON + (1 - BY_HORIZON) * (1 - horizon / rows))


def look_level(rows: int, earlier: Sequence[int], *, reference: int, horizon: int, alpha: float) -> float:
    """Level of a two-sided test at this look, so that all looks of a stream together raise a false alarm at most ``alpha``.

    The boundaries are Lan and DeMets' (1983): each look may spend what ``spent`` adds to the look before. A statistic over all
    rows so far has independent increments in its information, ``rows * reference / (rows + reference)`` for a comparison
    with a fixed reference, so the chance to cross first at this look is an integral over the looks before (Armitage,
    McPherson and Rowe 1969).

    Parameters
    ----------
    rows : int
        New rows so far.
    earlier : sequence of int
        New rows at each earlier look of the stream.
    reference : int
        Rows that they are compared with.
    horizon : int
        New rows by which nine tenths of the level are spent.
    alpha : float
        Level of the whole stream.

    Raises
    ------
    ConfigError
        If there are no rows, or fewer than at an earlier look.
    """
    looks = [*sorted(set(earlier) - {rows, 0}), rows]
    if rows < 1 or looks[-1] != max(looks):
        raise ConfigError(f"A look at {rows} rows after one at {max(looks)} is none of the same stream; give all rows so far.")
    counts = np.array(looks, dtype=float)
    informations = counts * reference / (counts + reference)
    left = np.linspace(-REACH, REACH, POINTS)
    density, level, before = stats.norm.pdf(left), alpha, 0.0
    for k, (n, information) in enumerate(zip(looks, informations, strict=True)):
        if k:
            left, density = _carried(left, density, float(informations[k - 1]), float(information))
        may = spent(n, horizon, alpha) - before
        bound = _bound(left, density, may)
        level, before = 2 * float(stats.norm.sf(bound)), before + may
        left, density = _kept(left, density, bound)
    return min(level, alpha)


def _carried(z: Vector, density: Vector, before: float, now: float) -> tuple[Vector, Vector]:
    """The density of the statistic at the next look, of the streams that did not cross before."""
    grid = np.linspace(-REACH, REACH, POINTS)
    scale = np.sqrt(now / (now - before))
    moved = stats.norm.pdf(scale * (grid[:, None] - np.sqrt(before / now) * z[None, :])) * scale
    return grid, moved @ (density * _simpson(z))


def _bound(z: Vector, density: Vector, may: float) -> float:
    """The value that a share ``may`` of all streams lies beyond, to either side."""
    half = z >= 0
    tail = np.append(np.cumsum(((density[1:] + density[:-1]) / 2 * np.diff(z))[::-1])[::-1], 0.0)[half]
    return float(np.interp(-np.log(may / 2), -np.log(np.maximum(tail, 1e-300)), z[half]))


def _kept(z: Vector, density: Vector, bound: float) -> tuple[Vector, Vector]:
    """The density within the bounds, on a grid that ends there."""
    inside = np.linspace(-bound, bound, POINTS)
    return inside, np.exp(np.interp(inside, z, np.log(np.maximum(density, 1e-300))))


def _simpson(z: Vector) -> Vector:
    weights = np.full(len(z), 2.0)
    weights[1::2] = 4.0
    weights[[0, -1]] = 1.0
    return np.asarray(weights * (z[1] - z[0]) / 3)
