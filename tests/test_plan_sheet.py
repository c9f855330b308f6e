"""Does the workbook hold the plan: numbers as numbers, every figure, nothing that runs?"""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import openpyxl
import pytest

from adresponse.curves import Response
from adresponse.planning.horizon import Outlook
from adresponse.planning.split import Plan, best_plan, score
from adresponse.planning.wishes import Wish
from adresponse.report.plan_sheet import plan_sheet

TV = Response("TV", "log", half=50, slope=1, coefficient=100)
ODD = Response('=1+1\x07"', "power", half=20, slope=0.5, coefficient=80)
DRAWS = [[replace(r, coefficient=r.coefficient * (1 + i / 100)) for r in (TV, ODD)] for i in range(-10, 11)]
OUTLOOK = Outlook(
    (TV, ODD), [500.0] * 4, dict.fromkeys([TV.channel, ODD.channel], 30.0), dict.fromkeys([TV.channel, ODD.channel], (0, 90)),
    draws=DRAWS,
)  # fmt: skip


def opened(plan: Plan, **more: Any) -> openpyxl.Workbook:
    return openpyxl.load_workbook(io.BytesIO(plan_sheet(plan, **more)))


def column(page: Any, head: str, top: int) -> list[Any]:
    at = next(c.column for c in page[top] if str(c.value).startswith(head))
    return [page.cell(row, at).value for row in range(top + 1, top + 4)]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return best_plan(OUTLOOK, Wish(total=300, margin=0.7))


def test_the_plan_stands_there_as_numbers_that_add_up(plan: Plan) -> None:
    page = opened(plan, money="thousand dollars")["Plan"]
    planned = column(page, "Planned, thousand dollars", 4)
    assert planned[:2] == list(plan.spend.values())
    assert math.fsum(planned[:2]) == planned[2] == 300
    assert column(page, "Today", 4) == [120, 120, 240]
    assert column(page, "Marginal return", 4)[0] == pytest.approx(plan.channels[0].marginal)
    assert column(page, "ROI", 4)[2] == pytest.approx(plan.roi)
    assert page["B5"].number_format == "#,##0.0"  # 300 and 198.5...: four digits of the largest


def test_a_return_that_is_next_to_nothing_by_its_units_is_no_nought(plan: Plan) -> None:
    dong = replace(
        plan, channels=tuple(replace(c, marginal=1e-12, marginal_low=0.0, marginal_high=2e-12) for c in plan.channels)
    )
    page = opened(dong)["Plan"]
    at = next(c.column for c in page[4] if str(c.value).startswith("Marginal return"))
    assert page.cell(5, at).number_format == "0.000E+00"


def test_text_is_text_and_nothing_is_a_formula(plan: Plan) -> None:
    book = opened(plan, scenarios={"=cmd|' /C calc'!A0": plan})
    kinds = {cell.data_type for page in book for row in page for cell in row}
    assert kinds <= {"s", "inlineStr", "n"}
    assert book["Plan"]["A6"].value == '=1+1 "'


def test_what_it_brings_has_the_intervals(plan: Plan) -> None:
    rows = {r[0]: r[1:] for r in opened(plan, sold="units")["What it brings"].iter_rows(values_only=True)}
    assert rows["Sales expected, units"] == pytest.approx((plan.sales, plan.low, plan.high))
    assert rows["Gain over today's split, units"] == pytest.approx((plan.gain, plan.gain_low, plan.gain_high))
    assert rows["Profit"] == pytest.approx((plan.profit, plan.profit_low, plan.profit_high))


def test_scenarios_stand_beside_the_plan(plan: Plan) -> None:
    mine = score(OUTLOOK, {TV.channel: 100.0, ODD.channel: 50.0})
    page = opened(plan, scenarios={"Mine": mine})["Scenarios"]
    rows = {r[0]: r[1:] for r in page.iter_rows(min_row=2, values_only=True)}
    assert list(rows) == ["Today's split", "This plan", "Mine"]
    assert rows["Mine"][0] == 150
    assert rows["Mine"][1] == pytest.approx(mine.sales)
    assert rows["Mine"][7] is None  # no margin was given for it
    assert rows["Mine"][-2:] == (100, 50)
    assert rows["Today's split"][1] == pytest.approx(plan.today_sales)


def test_assumptions_say_what_the_figures_stand_on(plan: Plan) -> None:
    told = [r[0] for r in opened(plan)["Assumptions"].iter_rows(values_only=True)]
    assert told[0] == "Asked for: The most sales for a total."
    assert told[1] == "All amounts and sales are for the whole horizon, 4 periods, spent evenly in it."
    assert set(plan.notes) <= set(told)


def test_a_plan_by_period_is_not_said_to_be_spent_evenly() -> None:
    mine = score(OUTLOOK, {TV.channel: [100.0, 0.0, 0.0, 0.0], ODD.channel: 50.0})
    told = [r[0] for r in opened(mine)["Assumptions"].iter_rows(values_only=True)]
    assert told[1].endswith("4 periods, spent evenly in it, or in each period what was given for it.")


def test_what_is_not_known_is_an_empty_cell() -> None:
    page = opened(best_plan(replace(OUTLOOK, draws=()), Wish(total=300)))["Plan"]
    assert column(page, "ROI, low", 4) == [None, None, None]


def test_each_column_is_wide_enough_for_its_numbers(plan: Plan) -> None:
    big = best_plan(
        replace(OUTLOOK, today={TV.channel: 3e6, ODD.channel: 1e6}, seen=dict.fromkeys(OUTLOOK.channels, (0, 9e6))), Wish()
    )
    for page in opened(big).worksheets:
        for cell in (c for row in page for c in row if c.data_type == "n" and c.value is not None):
            shown = f"{cell.value:,.0f}" + "0" * (len(cell.number_format) - len("#,##0"))
            assert len(shown) < page.column_dimensions[cell.column_letter].width
