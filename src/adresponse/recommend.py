"""What should be done with the budget, as far as the figures go and no further?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from adresponse import words
from adresponse.evaluate import Evaluation
from adresponse.findings import Finding
from adresponse.gate import GateDecision
from adresponse.models import Coefficient, LinearFit
from adresponse.table import AdTable
from adresponse.tune import Leaderboard

__all__ = ["Recommendation", "caveats", "limits", "recommend"]


@dataclass(frozen=True)
class Recommendation:
    """What the figures advise, channel by channel and in all, without inventing an optimum on a straight line."""

    headline: str
    sentences: tuple[str, ...]
    limits: tuple[str, ...]


def recommend(
    table: AdTable,
    linear: LinearFit | None,
    evaluation: Evaluation,
    decision: GateDecision,
    leaderboard: Leaderboard,
    findings: Iterable[Finding] = (),
) -> Recommendation:
    """Advice from a fit: what one more unit of each channel goes with, how sure that is, and where the data ends.

    Of the ``findings`` the headline repeats that a line passes over markets (M013): its figures may hold in none of them.
    """
    passed_over = [_but(f) for f in findings if f.code == "M013"]
    return Recommendation(
        headline=" ".join((_headline(table, linear), *passed_over, *caveats(evaluation, decision, leaderboard))),
        sentences=tuple(_by_channel(table, linear)),
        limits=limits(table, evaluation, straight=linear is not None),
    )


def _headline(table: AdTable, linear: LinearFit | None) -> str:
    if linear is None:
        return "The chosen model has no single figure per channel: compare budgets by its predictions inside the range seen."
    clear = [c for c in _channels(table, linear) if _sign(c) > 0]
    unclear = [c for c in _channels(table, linear) if _sign(c) == 0]
    against = [c for c in _channels(table, linear) if _sign(c) < 0]
    parts = []
    if clear:
        most = max(clear, key=lambda c: c.estimate)
        also = "" if len(clear) == 1 else f", unit for unit most of all on {most.name}"
        parts.append(f"More spent on {words.listing([c.name for c in clear])} goes with more sold{also}.")
    if unclear:
        parts.append(f"No clear return can be shown for {words.listing([c.name for c in unclear])}.")
    if against:
        parts.append(
            f"More spent on {words.listing([c.name for c in against])} goes with less sold: look into it before spending."
        )
    return " ".join(parts)


def caveats(evaluation: Evaluation, decision: GateDecision, leaderboard: Leaderboard) -> Iterator[str]:
    """What must not be missed by a reader of the first line alone."""
    if decision.status == "REJECTED":
        yield "But the gate rejected this model: it is no ground for a decision."
    rmse = {row.name: row.rmse for row in leaderboard.rows}
    chosen, mean = rmse[leaderboard.chosen], rmse["baseline"]
    if chosen >= mean and leaderboard.chosen != "baseline":
        yield (
            f"But in cross-validation it predicts no better than {evaluation.mean} alone "
            f"(RMSE {words.number(chosen, 3)} against {words.number(mean, 3)})."
        )
    yield from (_but(f) for f in evaluation.findings if f.code == "M003")


def _but(finding: Finding) -> str:
    return f"But {finding.message[:1].lower()}{finding.message[1:]}"


def _channels(table: AdTable, linear: LinearFit) -> list[Coefficient]:
    return [c for c in linear.coefficients if c.name in table.contract.channels]


def _sign(c: Coefficient) -> int:
    """1 or -1 where the robust interval leaves out zero, else 0."""
    if math.isnan(c.low_hc3) or c.low_hc3 <= 0 <= c.high_hc3:
        return 0
    return 1 if c.estimate > 0 else -1


def _by_channel(table: AdTable, linear: LinearFit | None) -> Iterator[str]:
    if linear is None:
        return
    channels = _channels(table, linear)
    yield from (_return_of(table, c) for c in channels)
    if paying := [c for c in channels if _sign(c) > 0]:
        yield f"It pays from a margin of {'; '.join(_break_even(table, c) for c in paying)}."
    yield "A straight line has no best budget: each unit brings as much as the one before, so no optimum is named."


def _return_of(table: AdTable, c: Coefficient) -> str:
    """What one more unit of a channel goes with, and how sure that is (HC3 interval)."""
    spent, sold = _units(table, c)
    if c.estimate == 0:
        return f"{c.name}: held at zero; the data asks for no positive return."
    if math.isnan(c.low_hc3):
        return f"{c.name}: a single row decides its figure, so nothing is known of its return; spend on it in more rows first."
    if _sign(c) == 0:
        return (
            f"{c.name}: {spent} more goes with something from {words.span(c.low_hc3, c.high_hc3)} {sold}, so the data "
            "does not tell whether it pays; test it before spending more."
        )
    seen = words.span(table.frame[c.name].min(), table.frame[c.name].max())
    return (
        f"{c.name}: {spent} more goes with {words.number(c.estimate)} {sold} "
        f"(95 % interval {words.span(c.low_hc3, c.high_hc3)}, robust), inside the range seen, {seen}."
    )


def _break_even(table: AdTable, c: Coefficient) -> str:
    money = table.contract[c.name].unit or "units of spend"
    sold = table.contract[table.contract.target].unit
    return f"{words.number(1 / c.estimate, 3)} {money} for 1 {sold or f'unit of {table.contract.target}'} on {c.name}"


def _units(table: AdTable, c: Coefficient) -> tuple[str, str]:
    """``1 thousand dollars`` and ``thousand units``, or plain words where the dictionary is silent."""
    contract = table.contract
    return f"1 {contract[c.name].unit or 'unit of spend'}", contract[contract.target].unit or f"units of {contract.target}"


def limits(table: AdTable, evaluation: Evaluation, straight: bool) -> tuple[str, ...]:
    """What the figures cannot show, and how far a single row lies from its prediction.

    ``straight`` says whether the model is a line, whose figures hold the other columns fixed.
    """
    return tuple(_limits(table, evaluation, straight))


def _limits(table: AdTable, evaluation: Evaluation, straight: bool) -> Iterator[str]:
    units = "periods" if table.contract.date and not table.contract.market else "markets"
    yield (
        f"The table shows what went together, not what caused what: {units} with larger budgets may differ in other ways. "
        f"An experiment (some {units}, chosen by lot, get more) would tell."
    )
    ranges = "; ".join(f"{c}: {words.span(table.frame[c].min(), table.frame[c].max())}" for c in table.contract.channels)
    yield f"Nothing is known outside the budgets seen ({ranges}); saturation beyond them cannot be excluded."
    at_90 = [c for c in evaluation.coverage if c.level == 0.9][-1]  # by cross-validation, where that was told
    if math.isfinite(at_90.width):
        yield (
            f"A single row's 90 % interval reaches about {words.number(at_90.width / 2, 3)} to each side of its prediction "
            f"(it held {words.percent(at_90.measured)} of unseen rows); plan for the range, not for the figure."
        )
    if straight and len(table.contract.channels) > 1:
        yield "Each channel's figure holds the others fixed; effects that channels have on each other are not in it."
