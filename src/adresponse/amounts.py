"""Which amounts, with few digits, stand for a split, so that sums and bounds hold exactly?"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from adresponse.optimum import Problem

__all__ = ["settled"]

DIGITS = 9  # significant digits of the largest amount; what they leave changes sales by less than a billionth


def settled(problem: Problem, amounts: NDArray[np.float64], total: float | None, upward: bool = False) -> list[float]:
    """The split in decimal amounts: at its bound where it lies there, and with ``math.fsum`` equal to ``total``.

    Parameters
    ----------
    problem : Problem
        Bounds and groups; a group whose sum is at its bound has exactly this sum.
    amounts : ndarray of shape (n_curves,)
        A split that keeps them up to rounding.
    total : float or None
        The sum, or None where it is free.
    upward : bool
        Whether amounts are rounded up, so that a target which they reach stays reached.
    """
    largest = max(float(np.max(np.abs(amounts))), abs(total or 0.0))
    if largest == 0:
        return [0.0] * len(amounts)
    digits = DIGITS - 1 - math.floor(math.log10(largest))
    grain = 10.0**-digits
    values = [
        _one(float(x), float(a), float(b), digits, grain, upward)
        for x, a, b in zip(amounts, problem.low, problem.high, strict=True)
    ]
    sums = _sums(problem, amounts, grain)
    whole = frozenset(range(len(values)))
    if total is not None:
        sums = [(members, s) for members, s in sums if members != whole] + [(whole, total)]
    for members, target in sums:
        inner = [m for m, _ in sums if m < members]
        _take_up(values, members, frozenset().union(*inner), target, problem)
    return values


def _one(x: float, low: float, high: float, digits: int, grain: float, upward: bool) -> float:
    """One amount: its bound where it is nearly there, else rounded inside the bounds."""
    if high - x <= grain and high - x <= x - low:
        return high
    if x - low <= grain:
        return low
    rounded = round(x, digits)
    if upward and rounded < x:
        rounded = round(x + grain, digits)
    return min(max(rounded, low), high)


def _sums(problem: Problem, amounts: NDArray[np.float64], grain: float) -> list[tuple[frozenset[int], float]]:
    """Groups at one of their bounds, and it; the smallest first."""
    found: dict[frozenset[int], float] = {}
    for group in problem.groups:
        spent = float(amounts[sorted(group.members)].sum())
        near = grain * (len(group.members) + 1)
        for bound in (group.low, group.high):
            if abs(spent - bound) <= near:
                found[group.members] = bound
    return sorted(found.items(), key=lambda item: len(item[0]))


def _take_up(values: list[float], members: frozenset[int], taken: frozenset[int], target: float, problem: Problem) -> None:
    """Let one member whose sum is not fixed elsewhere take what is left of ``target``, where its bounds allow that."""

    def room(i: int) -> float:
        return float(min(values[i] - problem.low[i], problem.high[i] - values[i]))

    def fits(i: int, value: float) -> bool:
        return bool(problem.low[i] <= value <= problem.high[i])

    free = sorted((i for i in members - taken if problem.low[i] < problem.high[i]), key=room, reverse=True)
    for i in free:
        rest = float(Decimal(repr(target)) - sum((Decimal(repr(values[j])) for j in members if j != i), start=Decimal(0)))
        if fits(i, rest):
            values[i] = rest
            break
    for i in sorted((i for i in free if room(i) > 0), key=lambda i: values[i]):  # a small amount has the finest last bits
        if math.fsum(values[j] for j in members) == target:
            return
        rest = float(Fraction(target) - sum((Fraction(values[j]) for j in members if j != i), start=Fraction(0)))
        if fits(i, rest):
            values[i] = rest
