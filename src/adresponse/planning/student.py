"""How many standard errors hold a share of Student's t?

scipy has this, and takes 30 MB to load, which a server's worker and an image that plan can do without.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = ["reach"]

Vector = NDArray[np.float64]
POINTS = 64  # of the Gauss-Legendre rule; enough for twelve digits at any degrees of freedom


def reach(level: float, degrees: int) -> float:
    """Half-width of the central interval that holds a share ``level`` of Student's t, in standard errors.

    By Newton's steps from the normal distribution's, which lies below it; the share inside is concave in the half-width,
    so that no step goes beyond what is sought.

    Parameters
    ----------
    level : float
        Between 0 and 1; the half-width is infinite where it is so near to 1 that rounding would decide.
    degrees : int
        Degrees of freedom, 1 or more.
    """
    if 1 - level < 1e-12:
        return math.inf
    root = math.sqrt(degrees)
    peak = 2 * _gammas(degrees / 2) / (math.sqrt(math.pi) * root)
    found = NormalDist().inv_cdf((1 + level) / 2)
    while True:
        inside = peak * root * _cosines(math.atan(found / root), degrees - 1)
        step = (level - inside) / (peak * math.exp(-(degrees + 1) / 2 * math.log1p(found**2 / degrees)))
        found += step
        if step <= 1e-14 * found:
            return found


def _gammas(x: float) -> float:
    """``gamma(x + 1/2) / gamma(x)``; where both are large, by the series of their ratio (DLMF 5.11.13), since digits cancel."""
    if x < 40:
        return math.exp(math.lgamma(x + 0.5) - math.lgamma(x))
    return math.sqrt(x) * math.exp(-1 / (8 * x) + 1 / (192 * x**3) - 1 / (640 * x**5))


def _cosines(angle: float, power: float) -> float:
    """Integral of ``cos(x) ** power`` from 0 to ``angle``; ``t = sqrt(degrees) * tan(x)`` makes the density one of these."""
    nodes, weights = _rule()
    logs = np.log1p(-(np.sin(angle * nodes) ** 2)) / 2  # of cos, whose high powers would lose digits
    return float(weights @ np.exp(power * logs)) * angle


@cache
def _rule() -> tuple[Vector, Vector]:
    """Nodes and weights between 0 and 1."""
    nodes, weights = np.polynomial.legendre.leggauss(POINTS)
    return (nodes + 1) / 2, weights / 2
