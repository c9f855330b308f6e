"""How is a budget best spread over the channels?"""

from __future__ import annotations

import decimal
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from adresponse import words
from adresponse.errors import ConfigError, did_you_mean
from adresponse.planning.amounts import settled
from adresponse.planning.horizon import Outlook
from adresponse.planning.optimum import Split, best_split
from adresponse.planning.planned import Plan, described, today_of
from adresponse.planning.roots import crossing
from adresponse.planning.wishes import Limits, Wish, limits_of, total_of
from adresponse.words import typed

__all__ = ["Plan", "best_plan", "score"]

ON_TARGET = 1e-11  # share by which a target may be missed before the amounts are rounded up
TOTALS_TRIED = 64  # between which the highest total of a target ROI is looked for, where curves are not concave
MOST_STEPS = 50
LITTLE = 1e-6  # share of the most that can be spent, at which the highest ROI of a concave curve is told


def best_plan(outlook: Outlook, wish: Wish) -> Plan:
    """The plan that grants a wish best: a global optimum within the bounds.

    Raises
    ------
    ConfigError
        If the wish names an unknown channel, contradicts itself, or cannot be met.
    """
    limits = limits_of(outlook, wish)
    low, high = total_of(outlook, wish, limits)
    split = _GOALS[wish.goal](outlook, wish, limits, low, high)
    fixed = low if low == high else None
    if wish.cap is not None and split.amounts.sum() >= wish.cap * (1 - ON_TARGET):
        fixed = wish.cap
    upward = wish.goal == "target_sales"
    amounts = settled(limits.problem, split.amounts, fixed, upward, capped=wish.cap is not None)
    amounts = _today_if_better(outlook, wish, limits, amounts, fixed)
    plan = described(outlook, wish, amounts, limits)
    return plan if split.gap == 0 else replace(plan, notes=(_unfinished(split), *plan.notes))


def score(outlook: Outlook, spend: Mapping[str, float | Sequence[float]], wish: Wish | None = None) -> Plan:
    """What a given plan brings, by the same rules as ``best_plan``.

    Parameters
    ----------
    outlook : Outlook
    spend : mapping of str to float or sequence of float
        For each channel the amount for the whole horizon, spent evenly, or the spend of each period. A single one in a
        sequence counts as the amount for the whole horizon.
    wish : Wish or None
        Its margin, level and tail count.

    Raises
    ------
    ConfigError
        If a channel is unknown or missing, an amount is no number of at least 0, or the periods are not the horizon's.
    """
    for channel in spend:
        if channel not in outlook.channels:
            raise ConfigError(
                f"The plan names {channel!r}, which is no channel of the model.{did_you_mean(channel, outlook.channels)} "
                f"Channels: {', '.join(outlook.channels)}."
            )
    if missing := [c for c in outlook.channels if c not in spend]:
        raise ConfigError(f"The plan has no amount for {words.listing(missing)}; give each channel one, 0 for none.")
    return described(outlook, wish or Wish(), [_given(outlook, c, spend[c]) for c in outlook.channels], None)


def _given(outlook: Outlook, channel: str, amount: float | Sequence[float]) -> float | list[float]:
    """An amount, or one for each period, as plain numbers."""
    each = [float(x) for x in np.atleast_1d(np.asarray(amount, dtype=float))]
    if odd := [x for x in each if not (math.isfinite(x) and x >= 0)]:
        raise ConfigError(f"{channel}={typed(odd[0])} must be a finite number of at least 0.")
    if len(each) not in {1, outlook.periods}:
        raise ConfigError(
            f"The plan gives {channel} in {words.count(len(each), 'period')}, but the horizon has {outlook.periods}; give one "
            "row a period, or one for the whole horizon."
        )
    return each if len(each) > 1 else each[0]


def _most_sales(outlook: Outlook, wish: Wish, limits: Limits, low: float, high: float) -> Split:
    return _split(limits, low, high)


def _most_profit(outlook: Outlook, wish: Wish, limits: Limits, low: float, high: float) -> Split:
    return _split(limits, low, high, price=1 / (wish.margin or 1.0))


def _to_marginal(outlook: Outlook, wish: Wish, limits: Limits, low: float, high: float) -> Split:
    return _split(limits, low, high, price=wish.target_marginal_roi or 0.0)


def _to_sales(outlook: Outlook, wish: Wish, limits: Limits, low: float, high: float) -> Split:
    """The least total whose best split reaches the target: sales rise with the total allowed, so it is a root."""
    target = wish.target_sales or 0.0
    base = outlook.forecast(wish.tail).base.value
    most = _split(limits, low, high)
    if most.value + base < target * (1 - ON_TARGET):
        within = f"a total of {typed(high)}" if wish.cap is not None else "these bounds"
        raise ConfigError(
            f"target_sales={typed(target)} cannot be reached within {within}: the most is "
            f"{typed(most.value + base, decimal.ROUND_FLOOR)}, at a spend of {typed(float(most.amounts.sum()))}; "
            "lower the target or widen the bounds."
        )
    if _split(limits, low, low).value + base >= target:
        return _split(limits, low, low)

    def short(total: float) -> float:
        return _split(limits, low, total).value + base - target

    top = float(most.amounts.sum())
    root = top if short(top) <= 0 else crossing(short, low, top)
    for _ in range(MOST_STEPS):
        if root >= top or short(root) >= 0:
            break
        root = min(top, root + 1e-12 * top)
    return _split(limits, low, root)


def _to_roi(outlook: Outlook, wish: Wish, limits: Limits, low: float, high: float) -> Split:
    """The highest total whose best split still has the ROI asked for."""
    target = wish.target_roi or 0.0
    idle = _idle(outlook, wish)

    def spare(total: float, fine: bool = True) -> float:
        return _split(limits, total, total, fine=fine).value - idle - target * total

    if high > 0 and spare(high) >= 0:
        return _split(limits, high, high)
    dearest = _split(limits, low, high, price=target)
    if dearest.value <= idle:
        _refuse_roi(outlook, wish, limits, low, high, target)
    start = float(dearest.amounts.sum())
    totals = [start, high] if _concave(outlook) else [float(t) for t in np.linspace(start, high, TOTALS_TRIED)]
    enough = max(i for i, total in enumerate(totals) if i == 0 or spare(total, fine=False) >= 0)
    if spare(totals[enough]) <= 0:
        return dearest
    root = crossing(spare, totals[enough], totals[enough + 1])
    return _split(limits, root, root)


def _refuse_roi(outlook: Outlook, wish: Wish, limits: Limits, low: float, high: float, target: float) -> None:
    """Say the highest ROI that can be had, found by Dinkelbach's iteration (1967)."""
    idle, ratio, at = _idle(outlook, wish), 0.0, 0.0
    for _ in range(MOST_STEPS):
        found = _split(limits, max(low, LITTLE * high), high, price=ratio)
        spent = float(found.amounts.sum())
        again = (found.value + ratio * spent - idle) / spent
        if again <= ratio * (1 + ON_TARGET):
            break
        ratio, at = again, spent
    raise ConfigError(
        f"target_roi={target:g} cannot be reached within these bounds: the highest is {words.number(ratio)}, at a spend of "
        f"{words.number(at)}; lower the target or move the bounds."
    )


_GOALS = {
    "total": _most_sales,
    "profit": _most_profit,
    "target_sales": _to_sales,
    "target_roi": _to_roi,
    "target_marginal_roi": _to_marginal,
}


def _split(limits: Limits, low: float, high: float, price: float = 0.0, fine: bool = True) -> Split:
    found = best_split(limits.problem, low, high, price, fine)
    if found is None:
        raise ConfigError(f"No split between {typed(low)} and {typed(high)} keeps all bounds; move them or the groups.")
    return found


def _idle(outlook: Outlook, wish: Wish) -> float:
    """Sales over the base that earlier spend alone brings."""
    forecast = outlook.forecast(wish.tail)
    return math.fsum(forecast.sales(i, 0.0).value for i in range(len(outlook.channels)))


def _concave(outlook: Outlook) -> bool:
    return all(r.concave for r in outlook.responses)


def _today_if_better(outlook: Outlook, wish: Wish, limits: Limits, amounts: list[float], fixed: float | None) -> list[float]:
    """Today's split where rounding alone makes the plan differ from it."""
    today = today_of(outlook)
    if wish.goal != "total" or math.fsum(today) != fixed or not _allowed(limits, today):
        return amounts
    forecast = outlook.forecast(wish.tail)
    return today if forecast.all_sales(today).value >= forecast.all_sales(amounts).value else amounts


def _allowed(limits: Limits, amounts: list[float]) -> bool:
    problem = limits.problem
    inside = all(a <= x <= b for x, a, b in zip(amounts, problem.low, problem.high, strict=True))
    return inside and all(g.low <= math.fsum(amounts[i] for i in g.members) <= g.high for g in problem.groups)


def _unfinished(split: Split) -> str:
    return (
        "The curves are too many and too much alike for every split to be ruled out: another could bring at most "
        f"{words.number(split.gap)} more."
    )
