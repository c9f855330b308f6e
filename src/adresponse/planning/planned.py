"""What does a plan say: what it brings, how sure that is, which bounds bind, and where it leaves the range seen?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from adresponse import words
from adresponse.planning.horizon import Estimate, Forecast, Outlook
from adresponse.planning.wishes import Limits, Wish

__all__ = ["Amounts", "Binding", "ChannelPlan", "Extrapolation", "Plan", "described", "today_of"]

Amounts = Sequence[float | Sequence[float]]
OUTSIDE = 1e-11  # share by which a spend may miss the range through rounding, and count as inside


@dataclass(frozen=True)
class Binding:
    """A bound that holds the plan back: without it, another split would be better, or nothing else is possible.

    Parameters
    ----------
    name : str
        A channel, channels of a group, or ``total``.
    end : str
        ``low`` or ``high``.
    at : float
        The bound, for the whole horizon.
    rule : str
        What set it: ``bound``, ``range seen``, ``lock``, ``group``, ``no spend``, ``total`` or ``cap``.
    sentence : str
    """

    name: str
    end: str
    at: float
    rule: str
    sentence: str


@dataclass(frozen=True)
class Extrapolation:
    """A channel whose planned spend per period lies outside the range seen, and by what share of that range's width."""

    channel: str
    spend: float
    seen_low: float
    seen_high: float
    share: float | None
    sentence: str


@dataclass(frozen=True)
class ChannelPlan:
    """One channel of a plan. Amounts are for the whole horizon; sales in the target's unit.

    Parameters
    ----------
    channel : str
    today, spend, change : float
        Today's spend over as many periods, the plan's, and the difference.
    low, high : float
        Between what the amount had to lie.
    seen_low, seen_high : float
        The range seen, times the periods.
    sales, sales_today : float
        What the plan's spend and today's bring on this channel, over what no spend within the horizon would bring.
    roi, roi_low, roi_high : float or None
        ``sales / spend``; None where nothing is spent, and intervals where the fit tells none.
    marginal, marginal_low, marginal_high : float or None
        Sales of one more unit of spend, added evenly; None where the curve rises without limit at no spend.
    straight : bool
        Whether the curve is a straight line.
    """

    channel: str
    today: float
    spend: float
    change: float
    low: float
    high: float
    seen_low: float
    seen_high: float
    sales: float
    sales_today: float
    roi: float | None
    roi_low: float | None
    roi_high: float | None
    marginal: float | None
    marginal_low: float | None
    marginal_high: float | None
    straight: bool


@dataclass(frozen=True)
class Plan:
    """A budget, channel by channel, what it brings, and how sure that is.

    All amounts are for the whole horizon, spent evenly in it unless a table gave each period.

    Parameters
    ----------
    goal : str
        ``total``, ``profit``, ``target_sales``, ``target_roi``, ``target_marginal_roi`` or ``score``.
    periods : int
        The horizon.
    spend : dict of str to float
    total : float
        ``math.fsum`` of the amounts.
    sales, low, high : float
        Sales expected over the horizon, base included, with their interval: how sure the fit is of the expectation. What
        single periods scatter around it is not in it.
    gain, gain_low, gain_high : float
        ``sales`` less the sales predicted for today's spend at the same dates by the same rules. The interval takes the
        difference within each draw, so that what both have in common cancels.
    level : float
        Of all intervals.
    today_total, today_sales : float
        Today's spend over as many periods, and the sales predicted for it.
    roi, roi_low, roi_high : float or None
        Sales brought by the plan's spend, per unit of it.
    margin, profit, profit_low, profit_high : float or None
        ``margin * sales - total``.
    after : float
        Sales that the plan's spend still brings after the horizon; part of ``sales`` where ``tail``.
    tail : bool
    channels : tuple of ChannelPlan
    binding : tuple of Binding
    extrapolates : tuple of Extrapolation
    sentence : str
    notes : tuple of str
    """

    goal: str
    periods: int
    spend: dict[str, float]
    total: float
    sales: float
    low: float | None
    high: float | None
    gain: float
    gain_low: float | None
    gain_high: float | None
    level: float
    today_total: float
    today_sales: float
    roi: float | None
    roi_low: float | None
    roi_high: float | None
    margin: float | None
    profit: float | None
    profit_low: float | None
    profit_high: float | None
    after: float
    tail: bool
    channels: tuple[ChannelPlan, ...]
    binding: tuple[Binding, ...]
    extrapolates: tuple[Extrapolation, ...]
    sentence: str
    notes: tuple[str, ...] = ()


def described(outlook: Outlook, wish: Wish, amounts: Amounts, limits: Limits | None) -> Plan:
    """Everything a plan says, from its amounts: one for each channel, or one for each of its periods.

    ``limits`` are those that it was made within; None for a plan that was given.
    """
    forecast = outlook.forecast(wish.tail)
    sums = [math.fsum(x) if isinstance(x, Sequence) else float(x) for x in amounts]
    today = today_of(outlook)
    sales, sales_today = forecast.all_sales(amounts), forecast.all_sales(today)
    idle = forecast.all_sales([0.0] * len(sums))
    total = math.fsum(sums)
    gain = sales - sales_today
    roi = None if total == 0 else (sales - idle).times(1 / total)
    profit = None if wish.margin is None else sales.times(wish.margin).plus(-total)
    low, high = _ends(forecast, sales, wish.level)
    gain_low, gain_high = _ends(forecast, gain, wish.level)
    roi_low, roi_high = _ends(forecast, roi, wish.level)
    profit_low, profit_high = _ends(forecast, profit, wish.level)
    plan = Plan(
        goal="score" if limits is None else wish.goal,
        periods=outlook.periods,
        spend=dict(zip(outlook.channels, sums, strict=True)),
        total=total,
        sales=sales.value,
        low=low,
        high=high,
        gain=gain.value,
        gain_low=gain_low,
        gain_high=gain_high,
        level=wish.level,
        today_total=math.fsum(today),
        today_sales=sales_today.value,
        roi=_value(roi),
        roi_low=roi_low,
        roi_high=roi_high,
        margin=wish.margin,
        profit=_value(profit),
        profit_low=profit_low,
        profit_high=profit_high,
        after=_after(outlook, amounts),
        tail=wish.tail,
        channels=tuple(_channel(forecast, wish, limits, i, amounts[i], sums[i], today[i]) for i in range(len(sums))),
        binding=() if limits is None else tuple(_bindings(outlook, wish, limits, sums, total)),
        extrapolates=tuple(_extrapolations(outlook, amounts)),
        sentence="",
    )
    return replace(plan, sentence=_sentence(outlook, plan), notes=tuple(_notes(outlook, wish, plan, limits)))


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None or not math.isfinite(estimate.value) else estimate.value


def _ends(forecast: Forecast, estimate: Estimate | None, level: float) -> tuple[float | None, float | None]:
    known = estimate is not None and math.isfinite(estimate.value)
    return forecast.interval(estimate, level) if estimate is not None and known else (None, None)


def _channel(
    forecast: Forecast, wish: Wish, limits: Limits | None, i: int, amount: float | Sequence[float], spent: float, today: float
) -> ChannelPlan:
    outlook = forecast.outlook
    channel, periods = outlook.channels[i], outlook.periods
    idle = forecast.sales(i, 0.0)
    brought, marginal = forecast.sales(i, amount) - idle, forecast.marginal(i, amount)
    roi = None if spent == 0 else brought.times(1 / spent)
    roi_low, roi_high = _ends(forecast, roi, wish.level)
    marginal_low, marginal_high = _ends(forecast, marginal, wish.level)
    seen_low, seen_high = (float(edge) * periods for edge in outlook.seen[channel])
    return ChannelPlan(
        channel=channel,
        today=today,
        spend=spent,
        change=spent - today,
        low=0.0 if limits is None else float(limits.problem.low[i]),
        high=math.inf if limits is None else float(limits.problem.high[i]),
        seen_low=seen_low,
        seen_high=seen_high,
        sales=brought.value,
        sales_today=(forecast.sales(i, today) - idle).value,
        roi=_value(roi),
        roi_low=roi_low,
        roi_high=roi_high,
        marginal=_value(marginal),
        marginal_low=marginal_low,
        marginal_high=marginal_high,
        straight=outlook.responses[i].shape == "linear",
    )


def _after(outlook: Outlook, amounts: Amounts) -> float:
    """What the plan's spend brings after the horizon, over what earlier spend alone brings there."""
    nothing = [0.0] * len(amounts)
    with_tail, within = outlook.beyond, outlook.within
    brought = with_tail.all_sales(amounts).value - with_tail.all_sales(nothing).value
    return brought - (within.all_sales(amounts).value - within.all_sales(nothing).value)


def _bindings(outlook: Outlook, wish: Wish, limits: Limits, amounts: list[float], total: float) -> Iterator[Binding]:
    for i, channel in enumerate(outlook.channels):
        low, high = float(limits.problem.low[i]), float(limits.problem.high[i])
        by_low, by_high = limits.rules[channel]
        if by_low == "lock":
            yield Binding(channel, "high", high, "lock", f"{channel} is locked at today's {words.number(high)}.")
        elif amounts[i] == high:
            yield Binding(channel, "high", high, by_high, f"{channel} is at its highest, {words.number(high)} ({by_high}).")
        elif amounts[i] == low:
            yield Binding(channel, "low", low, by_low, f"{channel} is at its lowest, {words.number(low)} ({by_low}).")
    for group, together in zip(limits.problem.groups, wish.groups, strict=True):
        spent = math.fsum(amounts[i] for i in group.members)
        for end, bound in (("high", group.high), ("low", group.low)):
            if spent == bound and bound > 0:
                said = f"{together.name} together are at their {end}est, {words.number(bound)} (group)."
                yield Binding(together.name, end, bound, "group", said)
                break
    if wish.cap is not None and total == wish.cap:
        yield Binding("total", "high", wish.cap, "cap", f"The total is at its cap, {words.number(wish.cap)}.")


def _extrapolations(outlook: Outlook, amounts: Amounts) -> Iterator[Extrapolation]:
    for channel, amount in zip(outlook.channels, amounts, strict=True):
        low, high = map(float, outlook.seen[channel])
        each = list(amount) if isinstance(amount, Sequence) else [amount / outlook.periods]
        furthest = max(each, key=lambda x: max(x - high, low - x))
        out = max(furthest - high, low - furthest)
        if out > OUTSIDE * max(abs(high), abs(furthest)):
            share = out / (high - low) if high > low else None
            by = "" if share is None else f", by {words.percent(share)} of its width"
            yield Extrapolation(
                channel,
                furthest,
                low,
                high,
                share,
                f"{channel}: {words.number(furthest)} a period lies {'above' if furthest > high else 'below'} the range seen, "
                f"{words.span(low, high)}{by}; the curve is not known there.",
            )


def today_of(outlook: Outlook) -> list[float]:
    """Today's spend over the horizon, in the order of the channels."""
    return [float(outlook.today[c]) * outlook.periods for c in outlook.channels]


def _sentence(outlook: Outlook, plan: Plan) -> str:
    parts = words.listing([f"{c} {words.number(x)}" for c, x in plan.spend.items()])
    over = "" if plan.periods == 1 else f" over {words.count(plan.periods, 'period')}"
    gain = f"{words.number(abs(plan.gain))} {'more' if plan.gain > 0 else 'less'} than" if plan.gain else "as many as with"
    return (
        f"Spend {_with(plan.total, outlook.money)}{over}: {parts}. Expected sales: {_with(plan.sales, outlook.sold)}"
        f"{_interval(plan.low, plan.high, plan.level)}, {gain} today's split of "
        f"{words.number(plan.today_total)}{_interval(plan.gain_low, plan.gain_high, plan.level)}.{_profit(outlook, plan)}"
    )


def _profit(outlook: Outlook, plan: Plan) -> str:
    if plan.margin is None or plan.profit is None:
        return ""
    return (
        f" Profit at a margin of {words.number(plan.margin)}: {_with(plan.profit, outlook.money)}"
        f"{_interval(plan.profit_low, plan.profit_high, plan.level)}, today's split "
        f"{words.number(plan.margin * plan.today_sales - plan.today_total)}."
    )


def _with(value: float, unit: str) -> str:
    return f"{words.number(value)} {unit}".strip()


def _interval(low: float | None, high: float | None, level: float) -> str:
    return "" if low is None or high is None else f" ({words.number(100 * level)} % interval {words.span(low, high)})"


def _notes(outlook: Outlook, wish: Wish, plan: Plan, limits: Limits | None) -> Iterator[str]:
    yield from outlook.notes(plan.level)
    yield from _straight(plan, limits)
    if plan.gain_low is not None and plan.gain_high is not None and plan.gain_low <= 0 <= plan.gain_high and plan.gain != 0:
        yield "The interval of the gain holds 0: the data does not tell this plan from today's split."
    if unclear := [c.channel for c in plan.channels if _unclear(c)]:
        yield f"No clear return can be shown for {words.listing(unclear)}: the interval of one more unit's sales holds 0."
    if plan.goal == "target_marginal_roi" and not any(_free(c) for c in plan.channels):
        yield f"No channel brings {words.number(wish.target_marginal_roi)} per unit inside its bounds: each is at a bound."
    if plan.goal == "total" and wish.total is not None and _last_unit(plan) < 0:
        yield "The last unit costs sales, and is spent because the total is: a smaller total, or a cap, brings more."
    if plan.goal == "total" and wish.margin is not None and _last_unit(plan) < 1 / wish.margin:
        yield (
            f"At a margin of {words.number(wish.margin)} the last unit brings {words.number(wish.margin * _last_unit(plan))}, "
            "less than it costs: ask for the highest profit, without a total."
        )
    if plan.after > 0 and not plan.tail:
        yield (
            f"After the horizon this spend still brings {_with(plan.after, outlook.sold)}, which is counted only where sales "
            "after the horizon are asked for."
        )
    yield "Curves are fitted to what went together; that spend causes sales, only an experiment shows."


def _straight(plan: Plan, limits: Limits | None) -> Iterator[str]:
    lines = [c for c in plan.channels if c.straight]
    if not lines:
        return
    if limits is not None and len(lines) == len(plan.channels):
        yield (
            "With straight lines every unit goes to the channel that brings most, until its bound binds: there is no best "
            "split inside the bounds."
        )
    elif limits is not None:
        yield f"{words.listing([c.channel for c in lines])} is a straight line, which has no best amount of its own."
    for c in lines:
        yield (
            f"One more unit on {c.channel} brings {words.number(c.marginal)}"
            f"{_interval(c.marginal_low, c.marginal_high, plan.level)}, however much is spent."
        )


def _unclear(c: ChannelPlan) -> bool:
    return c.marginal_low is not None and c.marginal_high is not None and c.marginal_low <= 0 <= c.marginal_high


def _free(c: ChannelPlan) -> bool:
    return c.low < c.spend < c.high


def _last_unit(plan: Plan) -> float:
    """Sales of the last unit spent: the lowest marginal return of a channel that could get less."""
    return min((c.marginal for c in plan.channels if c.spend > c.low and c.marginal is not None), default=math.inf)
