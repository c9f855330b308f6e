"""How is an amount split over curves, within bounds and groups, so that they bring the most in all?

The curves are separable: what one brings does not depend on the others. On a grid each is a chain of straight pieces, and the
best split of concave chains takes the steepest pieces first (Gross 1956). A group is the same chain, cut at its bounds, so
nested groups cost nothing more (Hochbaum 1994). A curve that is not concave (an S) is replaced by its concave envelope, which
promises too much between two of its points; branch and bound splits its range there until the promise is kept (Falk and
Soland 1969). Then the grid is drawn closer around the split that was found, with the curves' own slopes, until the amounts
are exact to twelve digits.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curve", "Group", "Problem", "Split", "best_split", "nested", "reachable"]

Vector = NDArray[np.float64]
EVEN_POINTS = 257
NEAR_POINTS = 128  # closer and closer towards the lower bound, where curves are steep
NEAREST = 1e-7  # share of the range
CLOSE_POINTS = 33
SHRINK = 8.0  # of 32 cells, four are kept around the split that was found
EXACT = 1e-13  # share of the range at which the grid is close enough
MOST_ROUNDS = 200
KEPT = 1e-9  # share of all that the curves can bring, within which a promise counts as kept
NEAR_TIE = 1e-5  # share within which a split of the first grid is looked at closely before it is given up
MOST_TIES = 6
MOST_NODES = 2_000  # a second or two; curves that differ as channels do need a few dozen
APART = 0.02  # share of the ranges by which two splits differ enough to be two
SLACK = 1e-9  # share of the amounts within which sums of bounds count as equal


@dataclass(frozen=True)
class Curve:
    """What an amount brings and what one more unit brings, as functions of arrays of any shape."""

    value: Callable[[Vector], Vector]
    slope: Callable[[Vector], Vector]


@dataclass(frozen=True)
class Group:
    """The amounts of ``members`` (positions of curves) together lie between ``low`` and ``high``."""

    members: frozenset[int]
    low: float
    high: float


@dataclass(frozen=True)
class Problem:
    """Curves with the bounds of their amounts, each of shape (n_curves,), and groups that are nested or apart."""

    curves: tuple[Curve, ...]
    low: Vector
    high: Vector
    groups: tuple[Group, ...] = ()


@dataclass(frozen=True)
class Split:
    """Amounts of shape (n_curves,), what they bring less their price, and how much more another split could bring at most.

    ``gap`` is 0 where the search was complete, which it is but for many S curves that are all but alike.
    """

    amounts: Vector
    value: float
    gap: float = 0.0


def nested(groups: Sequence[Group]) -> bool:
    """Whether each two groups are apart, or one lies in the other."""
    return all(not (a.members & b.members) or a.members <= b.members or b.members <= a.members for a in groups for b in groups)


def reachable(problem: Problem, members: frozenset[int] | None = None) -> tuple[float, float]:
    """The lowest and the highest sum of the amounts that bounds and groups allow; the first above the second where none is.

    ``members`` asks for the sum of these curves alone, by the bounds inside of them, their own as a group left out.
    """
    inside = frozenset(range(len(problem.curves))) if members is None else members
    groups = tuple(g for g in problem.groups if g.members <= inside and (members is None or g.members != inside))
    low = high = 0.0
    for part in _tree(inside, groups):
        if isinstance(part, int):
            low, high = low + problem.low[part], high + problem.high[part]
        else:
            least, most = reachable(problem, part.members)
            low, high = low + max(least, part.low), high + min(most, part.high)
    return float(low), float(high)


def best_split(problem: Problem, low: float, high: float, price: float = 0.0, fine: bool = True) -> Split | None:
    """The split with a sum between ``low`` and ``high`` that brings the most, each unit of it at ``price``.

    Of the sums allowed, the lowest that brings the most is taken. Equal ``low`` and ``high`` fix the sum. None where no split
    keeps all bounds.

    Parameters
    ----------
    problem : Problem
    low, high : float
        Bounds of the sum of all amounts.
    price : float
        What each unit costs, in the unit of the curves' values.
    fine : bool
        Whether the amounts are made exact; the first grid alone is right to about a thousandth of the range.
    """
    chains = [_table(c, a, b, price) for c, a, b in zip(problem.curves, problem.low, problem.high, strict=True)]
    root = _relax(problem, chains, low, high)
    if root is None:
        return None

    def close(amounts: Vector) -> Vector:
        return _close_in(problem, amounts, low, high, price) if fine else amounts

    found, promise = _search(problem, root, low, high, NEAR_TIE)
    candidates = [close(amounts) for amounts in (found if promise is None else [*found, root.amounts])]
    worth = [_worth(problem, amounts, price) for amounts in candidates]
    best = int(np.argmax(worth))
    return Split(candidates[best], worth[best], 0.0 if promise is None else max(promise - worth[best], 0.0))


def _worth(problem: Problem, amounts: Vector, price: float) -> float:
    return sum(float(c.value(np.asarray(x))) for c, x in zip(problem.curves, amounts, strict=True)) - price * float(
        amounts.sum()
    )


@dataclass(frozen=True, eq=False)
class _Chain:
    """A curve on a grid: amounts, and values less the price, each of shape (n_points,)."""

    at: Vector
    value: Vector

    @cached_property
    def hull(self) -> tuple[Vector, Vector]:
        """Amounts and values of the corners of the concave envelope."""
        if len(self.at) < 3:
            return self.at, self.value
        slopes = np.diff(self.value) / np.diff(self.at)
        if np.all(np.diff(slopes) <= 0):
            return self.at, self.value
        kept = _corners(self.at.tolist(), self.value.tolist())
        return self.at[kept], self.value[kept]

    def cut(self, point: int) -> tuple[_Chain, _Chain]:
        return _Chain(self.at[: point + 1], self.value[: point + 1]), _Chain(self.at[point:], self.value[point:])


def _corners(x: list[float], y: list[float]) -> list[int]:
    """Positions of the corners of the upper hull of points from left to right (Andrew 1979)."""
    kept: list[int] = []
    for i in range(len(x)):
        while len(kept) > 1:
            a, b = kept[-2], kept[-1]
            if (y[b] - y[a]) * (x[i] - x[a]) > (y[i] - y[a]) * (x[b] - x[a]):
                break
            kept.pop()
        kept.append(i)
    return kept


def _table(curve: Curve, low: float, high: float, price: float) -> _Chain:
    """The first grid: even, and closer towards the lower bound."""
    if high <= low:
        at = np.array([low])
    else:
        even = np.linspace(0, 1, EVEN_POINTS)
        near = np.geomspace(NEAREST, 1, NEAR_POINTS)
        at = np.unique(np.minimum(low + (high - low) * np.union1d(even, near), high))
    return _Chain(at, curve.value(at) - price * at)


def _close_table(curve: Curve, low: float, high: float, price: float) -> _Chain:
    """A grid around a split; its values are summed from slopes, since differences of values would be lost in rounding."""
    if high <= low:
        return _Chain(np.array([low]), np.zeros(1))
    at = np.unique(np.linspace(low, high, CLOSE_POINTS))
    slopes = curve.slope((at[1:] + at[:-1]) / 2) - price
    return _Chain(at, np.concatenate([[0.0], np.cumsum(slopes * np.diff(at))]))


def _close_in(problem: Problem, amounts: Vector, low: float, high: float, price: float) -> Vector:
    """Draw the grid closer and closer around a split; where the split runs to the grid's edge, the grid follows and widens."""
    span = np.maximum(problem.high - problem.low, 0.0)
    reach = span * 4 / (EVEN_POINTS - 1)
    for _ in range(MOST_ROUNDS):
        left, right = np.maximum(problem.low, amounts - reach), np.minimum(problem.high, amounts + reach)
        chains = [_close_table(c, a, b, price) for c, a, b in zip(problem.curves, left, right, strict=True)]
        root = _relax(problem, chains, low, high)
        if root is None:
            break
        tight = root.promise - root.worth <= KEPT * _scale(chains)
        amounts = root.amounts if tight else _search(problem, root, low, high, 0.0)[0][0]
        cell = (right - left) / (CLOSE_POINTS - 1)
        runs = ((amounts < left + cell) & (left > problem.low)) | ((amounts > right - cell) & (right < problem.high))
        reach = np.where(runs, np.minimum(SHRINK * reach, span), reach / SHRINK)
        if np.all(reach <= EXACT * span):
            break
    return amounts


def _search(problem: Problem, root: _Node, low: float, high: float, tie: float) -> tuple[list[Vector], float | None]:
    """Branch and bound from a root: the splits within ``tie`` of the best, best first; and where the search was
    given up, what any split can bring at most."""
    scale = _scale(root.chains)
    kept: list[tuple[float, Vector]] = []
    order = itertools.count()
    heap = [(-root.promise, next(order), root)]
    best, nodes = -np.inf, 0
    while heap and -heap[0][0] >= best - tie * scale and nodes < MOST_NODES:
        node = heapq.heappop(heap)[2]
        nodes += 1
        kept.append((node.worth, node.amounts))
        best = max(best, node.worth)
        if node.promise - node.worth <= KEPT * scale:
            if tie == 0.0:
                break
            continue
        for chains in node.branches():
            below = _relax(problem, chains, low, high)
            if below is not None and below.promise >= best - tie * scale:
                heapq.heappush(heap, (-below.promise, next(order), below))
    promise = -heap[0][0] if heap and nodes == MOST_NODES else None
    kept = sorted((k for k in kept if k[0] >= best - tie * scale), key=lambda k: -k[0])
    spans = np.array([max(float(np.ptp(c.at)), np.finfo(float).tiny) for c in root.chains])
    return _apart([amounts for _, amounts in kept], spans), promise


def _scale(chains: Sequence[_Chain]) -> float:
    """All that the curves can bring."""
    return sum(float(np.ptp(c.value)) for c in chains) or 1.0


def _apart(splits: list[Vector], spans: Vector) -> list[Vector]:
    """The first few splits that differ from those before them."""
    taken: list[Vector] = []
    for split in splits:
        if len(taken) < MOST_TIES and all(np.max(np.abs(split - t) / spans) > APART for t in taken):
            taken.append(split)
    return taken


@dataclass(frozen=True)
class _Node:
    """The best split by the envelopes of ``chains``: what these promise, and what the chains themselves bring."""

    chains: Sequence[_Chain]
    amounts: Vector
    promise: float
    worth: float
    widest: int

    def branches(self) -> Iterator[Sequence[_Chain]]:
        """The chain that keeps its promise least, cut at the split."""
        chain = self.chains[self.widest]
        point = int(np.argmin(np.abs(chain.at - self.amounts[self.widest])))
        point = min(max(point, 1), len(chain.at) - 2)
        for part in chain.cut(point):
            yield [part if i == self.widest else c for i, c in enumerate(self.chains)]


def _relax(problem: Problem, chains: Sequence[_Chain], low: float, high: float) -> _Node | None:
    hulls = [c.hull for c in chains]
    pieces = _whole(problem.groups, hulls)
    pieces = None if pieces is None else _bounded(pieces, low, high)
    if pieces is None:
        return None
    amounts = pieces.filled(np.where(pieces.slopes > 0, pieces.lengths, 0.0))
    promised = np.array([np.interp(x, *h) for x, h in zip(amounts, hulls, strict=True)])
    worth = np.array([np.interp(x, c.at, c.value) for x, c in zip(amounts, chains, strict=True)])
    short = promised - worth
    return _Node(chains, amounts, float(promised.sum()), float(worth.sum()), int(np.argmax(short)))


@dataclass(frozen=True)
class _Pieces:
    """What is taken in any case, of shape (n_curves,), and the pieces that may be added, steepest first."""

    base: Vector
    slopes: Vector
    lengths: Vector
    owners: NDArray[np.intp]

    def filled(self, taken: Vector) -> Vector:
        return np.asarray(self.base + np.bincount(self.owners, taken, len(self.base)))


def _whole(groups: Sequence[Group], hulls: Sequence[tuple[Vector, Vector]]) -> _Pieces | None:
    """All curves as one chain of pieces, each group cut at its bounds; None where a group cannot keep them."""
    return _joined(_tree(frozenset(range(len(hulls))), groups), groups, hulls)


def _joined(parts: Sequence[int | Group], groups: Sequence[Group], hulls: Sequence[tuple[Vector, Vector]]) -> _Pieces | None:
    found = []
    for part in parts:
        piece = _single(part, hulls) if isinstance(part, int) else _group(part, groups, hulls)
        if piece is None:
            return None
        found.append(piece)
    slopes = np.concatenate([p.slopes for p in found])
    steepest = np.argsort(-slopes, kind="stable")
    lengths, owners = (np.concatenate([getattr(p, name) for p in found])[steepest] for name in ("lengths", "owners"))
    return _Pieces(sum((p.base for p in found), start=np.zeros(len(hulls))), slopes[steepest], lengths, owners)


def _single(curve: int, hulls: Sequence[tuple[Vector, Vector]]) -> _Pieces:
    at, value = hulls[curve]
    lengths = np.diff(at)
    base = np.zeros(len(hulls))
    base[curve] = at[0]
    return _Pieces(base, np.diff(value) / lengths, lengths, np.full(len(lengths), curve, dtype=np.intp))


def _group(group: Group, groups: Sequence[Group], hulls: Sequence[tuple[Vector, Vector]]) -> _Pieces | None:
    inner = [g for g in groups if g.members < group.members]
    pieces = _joined(_tree(group.members, inner), inner, hulls)
    return None if pieces is None else _bounded(pieces, group.low, group.high)


def _bounded(pieces: _Pieces, low: float, high: float) -> _Pieces | None:
    """The same pieces with a sum between ``low`` and ``high``: the steepest are taken up to ``low``, none beyond ``high``."""
    base, ends = float(pieces.base.sum()), np.cumsum(pieces.lengths)
    most = base + (float(ends[-1]) if len(ends) else 0.0)
    slack = SLACK * max(abs(most), abs(base))
    if high < base - slack or low > most + slack or high < low - slack:
        return None
    starts = ends - pieces.lengths
    taken, allowed = (np.clip(bound - base - starts, 0.0, pieces.lengths) for bound in (low, max(low, high)))
    rest = allowed - taken
    left = rest > 0
    return _Pieces(pieces.filled(taken), pieces.slopes[left], rest[left], pieces.owners[left])


def _tree(members: frozenset[int], groups: Sequence[Any]) -> list[int | Group]:
    """The largest groups inside ``members``, and the curves in none of them. Groups of the same curves count as one."""
    parts: list[int | Group] = []
    free = set(members)
    for group in sorted(groups, key=lambda g: -len(g.members)):
        if group.members <= free:
            same = [g for g in groups if g.members == group.members]
            parts.append(Group(group.members, max(g.low for g in same), min(g.high for g in same)))
            free -= group.members
    return [*sorted(free), *parts]
