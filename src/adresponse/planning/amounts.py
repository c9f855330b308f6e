"""Which amounts, with few digits, stand for a split, so that sums and bounds hold exactly?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from adresponse.planning.optimum import Problem

__all__ = ["settled"]

DIGITS = 9  # significant digits of the largest amount; what they leave changes sales by less than a billionth
LAST_BITS = 8


def settled(
    problem: Problem, amounts: NDArray[np.float64], total: float | None, upward: bool = False, capped: bool = False
) -> list[float]:
    """The split in decimal amounts: at its bound where it lies there, and with ``math.fsum`` equal to ``total``.

    Where a single amount lies inside its bounds, its last bit may not be fine enough for that; then the amounts at their bounds
    stay there, and the decimals as they are printed add up to the total, as floats all but for one last bit.

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
    capped : bool
        Whether the sum may miss the total from below alone.
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
        sums = [s for s in sums if s.members != whole] + [_Sum(whole, float(total), -1 if capped else 0)]
    for s in sums:
        inner = [t.members for t in sums if t.members < s.members]
        _take_up(values, s, frozenset().union(*inner), problem)
    return values


@dataclass(frozen=True)
class _Sum:
    """What amounts have to add up to; ``side`` is -1 where it is their highest, 1 where it is their lowest."""

    members: frozenset[int]
    target: float
    side: int


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


def _sums(problem: Problem, amounts: NDArray[np.float64], grain: float) -> list[_Sum]:
    """Groups at one of their bounds; the smallest first."""
    found: dict[frozenset[int], _Sum] = {}
    for group in problem.groups:
        spent = float(amounts[sorted(group.members)].sum())
        near = grain * (len(group.members) + 1)
        for bound, side in ((group.low, 1), (group.high, -1)):
            if abs(spent - bound) <= near:
                found[group.members] = _Sum(group.members, float(bound), side)
    return sorted(found.values(), key=lambda s: len(s.members))


def _take_up(values: list[float], s: _Sum, taken: frozenset[int], problem: Problem) -> None:
    """Let one member whose sum is not fixed elsewhere take what is left, where its bounds allow that."""

    def room(i: int) -> float:
        return float(min(values[i] - problem.low[i], problem.high[i] - values[i]))

    def fits(i: int, value: float) -> bool:
        return bool(problem.low[i] <= value <= problem.high[i])

    def others(i: int) -> list[float]:
        return [values[j] for j in s.members if j != i]

    free = sorted((i for i in s.members - taken if problem.low[i] < problem.high[i]), key=room, reverse=True)
    over = _over(values, s)
    if not any(room(i) > 0 for i in free) and abs(over) <= math.ulp(s.target) and s.side * over >= 0:
        return
    for i in free:
        rest = float(Decimal(repr(s.target)) - sum(map(Decimal, map(repr, others(i))), start=Decimal(0)))
        if fits(i, rest):
            values[i] = rest
            break
    inside = sorted((i for i in free if room(i) > 0), key=lambda i: values[i])  # a small amount has the finest last bits
    for i in inside:
        if _over(values, s) == 0:
            return
        tried = [*values]
        tried[i] = float(Fraction(s.target) - sum(map(Fraction, others(i)), start=Fraction(0)))
        if fits(i, tried[i]) and abs(_over(tried, s)) < abs(_over(values, s)):
            values[:] = tried
    if _over(values, s) != 0 and _shifted(values, s, inside, problem):
        return
    for i in inside:  # where the last bit cannot be met, it lies inside the bound
        for _ in range(LAST_BITS):
            if s.side * _over(values, s) >= 0:
                return
            values[i] = math.nextafter(values[i], s.side * math.inf)


def _shifted(values: list[float], s: _Sum, inside: list[int], problem: Problem) -> bool:
    """Move one amount by its last bit, so that a finer one can take up the rest; both stay inside their bounds.

    An amount at its bound stays there: moved by a last bit, it would be dust, and its bound would no longer be said to bind.
    """
    for i in inside:
        for end in (-math.inf, math.inf):
            moved = math.nextafter(values[i], end)
            for j in inside:
                if j == i or not problem.low[i] <= moved <= problem.high[i]:
                    continue
                tried = [*values]
                tried[i] = moved
                rest = Fraction(s.target) - sum((Fraction(tried[k]) for k in s.members if k != j), start=Fraction(0))
                tried[j] = float(rest)
                if problem.low[j] <= tried[j] <= problem.high[j] and _over(tried, s) == 0:
                    values[:] = tried
                    return True
    return False


def _over(values: list[float], s: _Sum) -> float:
    """By how much the sum is too high."""
    return math.fsum(values[i] for i in s.members) - s.target
