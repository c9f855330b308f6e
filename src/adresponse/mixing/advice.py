"""What do the response curves advise, and what can they not tell?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from adresponse import words
from adresponse.checks import constant_within
from adresponse.evaluate import Evaluation
from adresponse.findings import Finding
from adresponse.gate import GateDecision
from adresponse.mixing.fit import ChannelAnswer, MixFit, fit_mix
from adresponse.planning.horizon import Outlook
from adresponse.planning.planned import Plan
from adresponse.planning.returns import returns
from adresponse.recommend import Recommendation, caveats, limits
from adresponse.table import AdTable
from adresponse.tune import Leaderboard

__all__ = ["advise", "opposed", "untold"]

MEMORY = 0.2  # correlation of neighbouring errors from which it is worth a word
OPPOSED = 3.0  # standard errors between an experiment and the table
NINE_OF_TEN = 1.645  # standard errors from the middle of a normal distribution to the ends of its 90 % interval


def advise(
    table: AdTable,
    mix: MixFit,
    plan: Plan,
    outlook: Outlook,
    evaluation: Evaluation,
    decision: GateDecision,
    leaderboard: Leaderboard,
) -> Recommendation:
    """Advice from response curves: the best split of today's budget, and what each channel brought.

    Parameters
    ----------
    table : AdTable
        Columns and units.
    mix : MixFit
        What each channel brought over the rows fitted.
    plan : Plan
        Today's total, split best.
    outlook : Outlook
        What it was planned with: where each channel saturates.
    evaluation, decision, leaderboard
        How far the model may be trusted.
    """
    return Recommendation(
        headline=" ".join((_headline(plan, outlook.markets), *_typical(table), *caveats(evaluation, decision, leaderboard))),
        sentences=(*_by_channel(table, mix), *_saturated(outlook)),
        limits=(*limits(table, evaluation, straight=False), _experiment(mix), *(v.sentence for v in mix.vague)),
    )


def untold(table: AdTable, mix: MixFit) -> Iterator[Finding]:
    """Parameters of the curves that the table does not tell (M009), errors that last (M010), and sales below 0 (M011)."""
    if below := int((table.y < 0).sum()):
        yield Finding(
            "M011",
            "review",
            f"{words.count(below, 'row')} {'has' if below == 1 else 'have'} {table.contract.target} below 0. What is typical "
            "of a channel is a share of sales, so curves, returns and their intervals may be far off.",
            "Fit what was sold rather than a balance or a change, or give what experiments found (--lift).",
        )
    if mix.vague:
        said = words.listing([f"{v.parameter} of {v.channel}" for v in mix.vague])
        yield Finding(
            "M009",
            "note",
            f"The table does not tell some parameters of the curves ({said}); typical values stand in for them.",
            "Vary the spend of these channels more, or hold an experiment; the intervals count this in.",
        )
    if mix.memory > MEMORY:
        yield Finding(
            "M010",
            "note",
            f"Errors of one period go on into the next (correlation {words.number(mix.memory, 2)}), so intervals are wider.",
            "Add what the periods share, such as prices, holidays or a competitor's campaigns, as controls.",
        )


def opposed(X: pd.DataFrame, y: pd.Series[float], mix: MixFit) -> Iterator[Finding]:
    """Experiments that the rows fitted speak against (M012): by the same curves, fitted without what experiments found."""
    if not mix.spec.known:
        return
    free = {a.channel: a for a in fit_mix(X, y, replace(mix.spec, known={})).answers}
    for channel, (lift, error) in mix.spec.known.items():
        a = free[channel]
        spread = (a.roi_high - a.roi_low) / (2 * NINE_OF_TEN)
        if abs(lift - a.roi) > OPPOSED * math.hypot(error, spread):
            yield Finding(
                "M012",
                "review",
                f"The experiment on {channel} found {words.number(lift, 3)} for one unit of spend; the table without it says "
                f"{words.number(a.roi, 3)} (90 % interval {words.span(a.roi_low, a.roi_high)}).",
                "Look whether both have the same units and the same time; the fit takes the experiment's word.",
            )


def _experiment(mix: MixFit) -> str:
    if mix.spec.known:
        said = [
            f"{name} {words.number(lift, 3)} (standard error {words.number(error, 2)})"
            for name, (lift, error) in mix.spec.known.items()
        ]
        return f"The fit counts in what experiments found, in sales for one unit of spend: {words.listing(said)}."
    return (
        "What an experiment on a channel finds, such as 1.4 sold for one unit of spend with a standard error of 0.3, can be "
        "given to the fit: --lift channel=1.4:0.3."
    )


def _headline(plan: Plan, markets: int) -> str:
    over = _over(plan.periods, markets)
    if len(plan.channels) == 1:
        (only,) = plan.channels
        unit = f", one more unit with {words.number(only.marginal, 3)} more{_interval(only.marginal_low, only.marginal_high)}"
        return (
            f"With one channel there is nothing to split: today's spend on {only.channel} would go with "
            f"{words.number(plan.sales, 4)} sold {over}{unit if only.marginal is not None else ''}."
        )
    moves = sorted(plan.channels, key=lambda c: c.change)
    less, more = [c.channel for c in moves if c.change < 0], [c.channel for c in reversed(moves) if c.change > 0]
    if not less or not more:
        return (
            f"Today's split is the best that the curves find within what was seen: {words.number(plan.sales, 4)} sold {over}."
        )
    gain = f"{words.number(plan.gain, 3)} more sold {over}{_interval(plan.gain_low, plan.gain_high)}"
    if plan.gain_low is not None and plan.gain_low <= 0:
        return (
            f"Today's split is about as good as any: the best one the curves find would go with {gain}, which may be nothing."
        )
    return (
        f"Of the same money, less on {words.listing(less)} and more on {words.listing(more)} would go with {gain}; "
        "see adresponse plan."
    )


def _typical(table: AdTable) -> Iterator[str]:
    """A channel that the levels of markets cannot be told from has the typical curve, whatever the rows say (D021)."""
    never = set(constant_within(table))
    if told := [c for c in table.contract.channels if c in never]:
        yield (
            f"But {words.listing(told)} never {'changes' if len(told) == 1 else 'change'} within a market: what is said of "
            f"{'it' if len(told) == 1 else 'them'} is what is typical, not what was seen."
        )


def _over(periods: int, markets: int) -> str:
    return f"over {words.count(periods, 'period')}" + (" in an average market" if markets > 1 else "")


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" (90 % interval {words.span(low, high)})"


def _by_channel(table: AdTable, mix: MixFit) -> Iterator[str]:
    for answer in mix.answers:
        yield _brought(table, answer)


def _saturated(outlook: Outlook) -> Iterator[str]:
    for response in outlook.responses:
        point = returns(outlook, response.channel).saturation
        if point.spend is not None:
            over = "" if outlook.periods == 1 else f" ({_over(outlook.periods, outlook.markets)})"
            yield f"{point.sentence.rstrip('.')}{over}."


def _brought(table: AdTable, a: ChannelAnswer) -> str:
    contract = table.contract
    sold = contract[contract.target].unit or f"units of {contract.target}"
    money = contract[a.channel].unit or "unit of spend"
    part = words.percent(a.share) if 0 <= a.share <= 1 else words.number(a.total, 3)
    return (
        f"{a.channel} goes with {part} of what was sold: {words.number(a.roi, 3)} {sold} for 1 {money} on "
        f"average (90 % interval {words.span(a.roi_low, a.roi_high)}), and {words.number(a.marginal_roi, 3)} for one more "
        f"({words.span(a.marginal_roi_low, a.marginal_roi_high)})."
    )
