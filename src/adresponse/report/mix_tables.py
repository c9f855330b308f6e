"""What does each channel bring, how do the curves run, and how is today's budget split best, as tables?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from adresponse import words
from adresponse.report.formats import interval, number, percent
from adresponse.report.parts import Table, table
from adresponse.report.phrases import in_unit

if TYPE_CHECKING:
    from adresponse.mixing.fit import MixFit
    from adresponse.mixing.shapes import ShapeScore
    from adresponse.planning.planned import Plan
    from adresponse.study import Study

__all__ = ["mix_tables", "shapes_note", "sizes_note"]

SHOWN_MARKETS = 20


def mix_tables(study: Study) -> dict[str, Table | None]:
    """The tables of a study of curves by their place in the page; all None where there are no curves."""
    mix = study.mix
    return {
        "channels": _channels(study, mix) if mix else None,
        "curves": _curves(mix) if mix else None,
        "shapes": _shapes(mix) if mix and mix.scores else None,
        "plan": _planned(study, study.plan) if study.plan else None,
    }


def _channels(study: Study, mix: MixFit) -> Table:
    """What each channel brought over the rows fitted."""
    contract = study.table.contract

    def rows() -> Iterator[Sequence[str]]:
        for a in mix.answers:
            yield (
                contract.label(a.channel), number(a.spend, 4), number(a.total, 4), interval(a.low, a.high, 4), percent(a.share),
                number(a.roi, 3), interval(a.roi_low, a.roi_high, 3), number(a.marginal_roi, 3),
                interval(a.marginal_roi_low, a.marginal_roi_high, 3),
            )  # fmt: skip

    brought = in_unit(study, "#Brought")
    heads = (
        "Channel", "#Spent", brought, "#90 % interval", "#Share of sales", "#For one unit", "#90 % interval", "#For one more",
        "#90 % interval",
    )  # fmt: skip
    return table("What each channel brought over the rows fitted", heads, rows())


def _curves(mix: MixFit) -> Table:
    """The curves in numbers."""
    untold = {(v.channel, v.parameter) for v in mix.vague}

    def told(channel: str, name: Any, value: float) -> str:
        return f"{number(value, 3)} (not told)" if (channel, name) in untold else number(value, 3)

    decays = mix.model.natural(mix.model.found_.theta)["decay"]

    def rows() -> Iterator[Sequence[str]]:
        for r, decay in zip(mix.responses, decays, strict=True):
            yield (
                r.channel,
                told(r.channel, "decay", float(decay)) if len(r.weights) > 1 else "–",
                told(r.channel, "half", r.half) if r.shape not in ("linear", "power") else "–",
                told(r.channel, "slope", r.slope) if r.shape in ("power", "hill") else "–",
                number(r.coefficient, 4),
            )

    return table("The curves in numbers", ("Channel", "#Carry-over", "#Half", "#Slope", "#Coefficient"), rows())


def sizes_note(mix: MixFit) -> str:
    """How large the markets are, and of which size the curves are; empty where markets count as equal, or there are none."""
    sizes = mix.model.sizes_
    if not sizes:
        return ""
    largest_first = sorted(sizes, key=lambda market: -sizes[market])
    by = "by their mean sales" if mix.spec.sizes == "sales" else "as given"
    return (
        f"Markets differ in size, {by}: {words.listing([f'{m} {number(sizes[m], 2)}' for m in largest_first], SHOWN_MARKETS)}; "
        "1 is the average. The curves are drawn, and told in numbers, for a market of that size: in one of twice the size they "
        "bend at twice the spend and bring twice as much."
    )


def _shapes(mix: MixFit) -> Table:
    """How each curve predicted the folds, its squared error as more or less than that of the best supported one."""
    best = _best(mix.scores)

    def against(s: ShapeScore) -> tuple[str, str]:
        return ("–", "–") if s is best else (f"{'+' if s.worse > 0 else ''}{percent(s.worse)}", percent(s.error))

    return table(
        "Curves compared over the same folds",
        ("Curve", "#RMSE", f"#Squared error against {best.shape}", "#Standard error", "#Behind on all rows (AIC)"),
        ((s.shape, number(s.rmse, 4), *against(s), number(s.behind, 2)) for s in mix.scores),
        marked=(i for i, s in enumerate(mix.scores) if s.chosen),
    )


def shapes_note(mix: MixFit) -> str:
    """What the columns of the curves compared mean, and why one was chosen."""
    best = _best(mix.scores).shape
    return (
        f"Squared error (RMSE times RMSE) is held against that of {best}, the best over the folds of those that all rows "
        "together support: at most 2 behind in Akaike's criterion. A minus means less error over the folds than "
        f"{best}. Chosen is the simplest of those supported whose squared error is no more than one standard error above "
        f"that of {best}."
    )


def _best(scores: Iterable[ShapeScore]) -> ShapeScore:
    """The curve that the others were held against: its difference is none, without an error."""
    return min(scores, key=lambda s: (abs(s.worse), s.error))


def _planned(study: Study, plan: Plan) -> Table:
    """Today's budget, split best."""
    contract = study.table.contract

    def rows() -> Iterator[Sequence[str]]:
        for c in plan.channels:
            figures = (number(v) for v in (c.today, c.spend, c.change, c.sales))
            yield contract.label(c.channel), *figures, number(c.marginal, 3)

    heads = ("Channel", "#Today", "#Plan", "#Change", in_unit(study, "#Brings"), "#One more unit brings")
    periods = "one row" if plan.periods == 1 else f"{plan.periods} periods"
    return table(f"Today's budget for {periods}, split best", heads, rows())
