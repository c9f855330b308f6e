"""What is asked of a plan, and which amounts does that allow?"""

from __future__ import annotations

import decimal
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from adresponse import words
from adresponse.errors import ConfigError, did_you_mean
from adresponse.planning.horizon import Outlook
from adresponse.planning.optimum import Curve, Group, Problem, nested, reachable
from adresponse.words import typed, typed_range

__all__ = ["Limits", "Together", "Wish", "bounds_from", "groups_from", "limits_of", "total_of"]

ROUNDING = 1e-9  # share by which a sum may miss a bound through the rounding of its parts


@dataclass(frozen=True)
class Together:
    """Several channels whose amounts together lie between ``low`` and ``high``, over the whole horizon."""

    channels: tuple[str, ...]
    low: float = 0.0
    high: float = math.inf

    @property
    def name(self) -> str:
        return words.listing(self.channels)


@dataclass(frozen=True)
class Wish:
    """What is asked of a plan. All amounts are for the whole horizon.

    At most one of ``total``, ``target_sales``, ``target_roi`` and ``target_marginal_roi`` is given. With none of them,
    ``margin`` asks for the highest profit, ``cap`` alone for the most sales, and without both today's total is split anew.

    Parameters
    ----------
    total : float or None
        To be spent, all of it.
    cap : float or None
        The most that may be spent where the total is free.
    target_sales : float or None
        To be reached with the least spend.
    margin : float or None
        Profit before marketing on one unit of sales; profit is ``margin * sales - spend``.
    target_roi : float or None
        Sales that the plan's spend brings, per unit of spend, at the least; the most sales are sought.
    target_marginal_roi : float or None
        Sales that one more unit of spend brings, where spending is to stop.
    bounds : mapping of str to (float, float)
        Lowest and highest amount of a channel.
    locks : tuple of str
        Channels that keep today's spend.
    groups : tuple of Together
        Bounds of several channels together; nested, or apart.
    beyond : bool
        Whether the plan may leave the range seen.
    level : float
        Of the intervals.
    tail : bool
        Whether sales after the horizon, which its spend still brings, count.

    Raises
    ------
    ConfigError
        If a number is not one, is negative, or contradicts another.
    """

    total: float | None = None
    cap: float | None = None
    target_sales: float | None = None
    margin: float | None = None
    target_roi: float | None = None
    target_marginal_roi: float | None = None
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    locks: tuple[str, ...] = ()
    groups: tuple[Together, ...] = ()
    beyond: bool = False
    level: float = 0.9
    tail: bool = False

    def __post_init__(self) -> None:
        for name in ("total", "cap", "target_sales"):
            _refuse_unless(name, getattr(self, name), least=0.0, rule="a finite number of at least 0")
        for name in ("margin", "target_roi", "target_marginal_roi"):
            _refuse_unless(name, getattr(self, name), least=math.ulp(0.0), rule="a finite number above 0")
        if not 0 < self.level < 1:
            raise ConfigError(f"level={self.level:g} is no share between 0 and 1; write 0.9 for nine of ten.")
        goals = [g for g in ("total", "target_sales", "target_roi", "target_marginal_roi") if getattr(self, g) is not None]
        if len(goals) > 1:
            raise ConfigError(f"{words.listing(goals)} cannot be asked for at once; give one of them.")
        if self.total is not None and self.cap is not None:
            raise ConfigError("total and cap cannot be asked for at once; total is spent whole, cap is the most to spend.")
        for channel, (low, high) in self.bounds.items():
            _refuse_range(f"bounds of {channel}", low, high)
        for group in self.groups:
            _refuse_range(f"bounds of {group.name} together", group.low, group.high)

    @property
    def goal(self) -> str:
        """Which question is asked."""
        for name in ("target_sales", "target_roi", "target_marginal_roi"):
            if getattr(self, name) is not None:
                return name
        return "profit" if self.margin is not None and self.total is None else "total"


@dataclass(frozen=True, eq=False)
class Limits:
    """Which amounts a wish allows.

    Parameters
    ----------
    problem : Problem
        Curves with their bounds and groups, in the order of the channels.
    rules : dict of str to (str, str)
        What sets the lowest and the highest amount of each channel: ``bound``, ``range seen``, ``lock``,
        ``no spend`` (0), ``total`` or ``group`` (all there is).
    least, most : float
        Sums of the amounts that can be had.
    """

    problem: Problem
    rules: dict[str, tuple[str, str]]
    least: float
    most: float


def bounds_from(texts: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Bounds as a command takes them: ``tv=50:200``, ``tv=50:``, ``tv=:200``, and ``tv=120`` for just this amount.

    Raises
    ------
    ConfigError
        If a text cannot be read, or a channel comes twice.
    """
    found: dict[str, tuple[float, float]] = {}
    for text in texts:
        channel, ends = _bound_from(text)
        if channel in found:
            raise ConfigError(f"The bounds of {channel} are given twice; give them once.")
        found[channel] = ends
    return found


def groups_from(texts: Sequence[str]) -> tuple[Together, ...]:
    """Groups as a command takes them: ``tv+radio=50:200``, with ends as in ``bounds_from``.

    Raises
    ------
    ConfigError
        If a text cannot be read.
    """
    return tuple(Together(tuple(n.strip() for n in names.split("+")), *ends) for names, ends in map(_bound_from, texts))


def _bound_from(text: str) -> tuple[str, tuple[float, float]]:
    name, _, ends = text.rpartition("=")
    low, colon, high = (part.strip() for part in ends.partition(":"))
    try:
        least = float(low) if low or not colon else 0.0
        most = float(high) if high else math.inf if colon else least
    except ValueError:
        name = ""
    if not name.strip():
        raise ConfigError(f"The bound {text!r} cannot be read; write channel=low:high, tv=50:200.")
    return name.strip(), (least, most)


def limits_of(outlook: Outlook, wish: Wish) -> Limits:
    """Bounds, locks, groups and the range seen, as one problem; refused where they contradict each other.

    Raises
    ------
    ConfigError
        If a channel is unknown, or no amount keeps all bounds.
    """
    _refuse_unknown(outlook, wish)
    low, high, rules = [], [], {}
    for channel in outlook.channels:
        (a, by_a), (b, by_b) = _range_of(outlook, wish, channel)
        low.append(a)
        high.append(b)
        rules[channel] = (by_a, by_b)
    forecast = outlook.forecast(wish.tail)
    curves = tuple(Curve(forecast.value(i), forecast.slope(i)) for i in range(len(outlook.channels)))
    groups = tuple(_group(outlook, g) for g in wish.groups)
    if not nested(groups):
        raise ConfigError(
            "Two groups share a channel and neither lies in the other; make them apart, or one part of the other."
        )
    problem = Problem(curves, np.array(low), np.array(high), groups)
    for group, together in zip(groups, wish.groups, strict=True):
        _refuse_unreachable(problem, group, together)
    least, most = reachable(problem)
    return Limits(problem, rules, least, most)


def total_of(outlook: Outlook, wish: Wish, limits: Limits) -> tuple[float, float]:
    """The lowest and highest total that a wish allows.

    Raises
    ------
    ConfigError
        If the total asked for lies outside of what the bounds allow.
    """
    total = wish.total
    if wish.goal == "total" and total is None and wish.cap is None:
        total = math.fsum(outlook.today[c] * outlook.periods for c in outlook.channels)
    slack = ROUNDING * max(abs(limits.most), abs(limits.least))
    if total is not None:
        if not limits.least - slack <= total <= limits.most + slack:
            said = "total" if wish.total is not None else "Today's total"
            raise ConfigError(
                f"{said}={typed(total)} lies outside what the bounds allow, {typed_range(limits.least, limits.most)}"
                f"{_by_the_range(wish, limits)}; choose a total between them or move the bounds."
            )
        return total, total
    if wish.cap is not None and wish.cap < limits.least - slack:
        raise ConfigError(
            f"cap={typed(wish.cap)} is below the {typed(limits.least, decimal.ROUND_CEILING)} that the bounds ask "
            f"for{_by_the_range(wish, limits)}; raise it or move the bounds."
        )
    return limits.least, limits.most if wish.cap is None else min(wish.cap, limits.most)


def _by_the_range(wish: Wish, limits: Limits) -> str:
    if wish.beyond or not any("range seen" in rules for rules in limits.rules.values()):
        return ""
    return " (the range seen is a bound, unless it may be left: beyond)"


def _refuse_unless(name: str, value: float | None, least: float, rule: str) -> None:
    if value is not None and not (math.isfinite(value) and value >= least):
        raise ConfigError(f"{name}={typed(value)} must be {rule}.")


def _refuse_range(what: str, low: float, high: float) -> None:
    if not (math.isfinite(low) and low >= 0 and high >= 0):
        raise ConfigError(f"The {what}, {typed(low)} to {typed(high)}, must be numbers of at least 0.")
    if low > high:
        raise ConfigError(f"The {what}, {typed(low)} to {typed(high)}, must begin with the lower one; exchange them.")


def _refuse_unknown(outlook: Outlook, wish: Wish) -> None:
    named = [("bounds", c) for c in wish.bounds] + [("locks", c) for c in wish.locks]
    named += [("groups", c) for g in wish.groups for c in g.channels]
    for where, channel in named:
        if channel not in outlook.channels:
            raise ConfigError(
                f"{where} names {channel!r}, which is no channel of the model.{did_you_mean(channel, outlook.channels)} "
                f"Channels: {', '.join(outlook.channels)}."
            )
    for group in wish.groups:
        if not group.channels or len(set(group.channels)) < len(group.channels):
            raise ConfigError(f"A group of channels ({group.name or 'none'}) must name each once; give two or more.")


def _range_of(outlook: Outlook, wish: Wish, channel: str) -> tuple[tuple[float, str], tuple[float, str]]:
    """Lowest and highest amount of a channel, and which rule sets each."""
    low, high = wish.bounds.get(channel, (0.0, math.inf))
    if channel in wish.locks:
        kept = outlook.today[channel] * outlook.periods
        if not low <= kept <= high:
            raise ConfigError(
                f"{channel} is locked at today's {typed(kept)}, outside its bounds, {typed(low)} to {typed(high)}; "
                "drop one of them."
            )
        return (kept, "lock"), (kept, "lock")
    seen_low, seen_high = (edge * outlook.periods for edge in outlook.seen[channel])
    floor = "bound" if low > 0 else "no spend"
    if wish.beyond:
        return (low, floor), _ceiling(outlook, wish, channel, high)
    if low > seen_high or high < seen_low:
        raise ConfigError(
            f"The bounds of {channel}, {typed(low)} to {typed(high)}, lie outside the range seen, "
            f"{typed_range(seen_low, seen_high)}, over the horizon; give bounds inside it, or let it be left (beyond)."
        )
    lower = (low, floor) if low >= seen_low else (seen_low, "range seen")
    upper = (high, "bound") if high <= seen_high else (seen_high, "range seen")
    return lower, upper


def _ceiling(outlook: Outlook, wish: Wish, channel: str, high: float) -> tuple[float, str]:
    """The highest amount where the range seen may be left: the bound, or all that there is to spend, in all or in a group."""
    spendable = wish.total if wish.total is not None else wish.cap
    if spendable is None and wish.goal == "total":
        spendable = math.fsum(outlook.today[c] * outlook.periods for c in outlook.channels)
    if spendable is not None:
        return (high, "bound") if high <= spendable else (max(spendable, _floor(outlook, wish, channel)), "total")
    if math.isfinite(high):
        return high, "bound"
    left = min((_left(outlook, wish, channel, g) for g in wish.groups if channel in g.channels), default=math.inf)
    if math.isinf(left):
        raise ConfigError(
            f"Leaving the range seen (beyond) leaves {channel} without a highest amount; give one in bounds or in groups, or "
            "give a cap."
        )
    return max(left, _floor(outlook, wish, channel)), "group"


def _left(outlook: Outlook, wish: Wish, channel: str, group: Together) -> float:
    """What a group leaves to a channel when its others get their lowest amounts."""
    return group.high - math.fsum(_floor(outlook, wish, c) for c in group.channels if c != channel)


def _floor(outlook: Outlook, wish: Wish, channel: str) -> float:
    """The lowest amount where the range seen may be left."""
    return outlook.today[channel] * outlook.periods if channel in wish.locks else wish.bounds.get(channel, (0.0,))[0]


def _group(outlook: Outlook, together: Together) -> Group:
    return Group(frozenset(outlook.channels.index(c) for c in together.channels), together.low, together.high)


def _refuse_unreachable(problem: Problem, group: Group, together: Together) -> None:
    least, most = reachable(problem, group.members)
    slack = ROUNDING * max(abs(least), abs(most))
    if group.low > most + slack or group.high < least - slack:
        raise ConfigError(
            f"{together.name} together must get {typed(group.low)} to {typed(group.high)}, but their own bounds allow "
            f"{typed_range(least, most)}; move the group's bounds or the channels'."
        )
