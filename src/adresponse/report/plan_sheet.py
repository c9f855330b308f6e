"""How does a plan look as a workbook, to be opened, sorted and reckoned with?"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import openpyxl
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter

from adresponse import words
from adresponse.planning.planned import ChannelPlan, Plan
from adresponse.report.formats import PLACES, decimals_for, plain

__all__ = ["plan_sheet"]

HEAD = PatternFill("solid", fgColor="FFE4EAF1")
RULE = Border(bottom=Side(style="thin", color="FF8896A5"))
SUM = Border(top=Side(style="thin", color="FF8896A5"))
NARROW, WIDE, TEXT = 11, 26, 100  # characters
SMALL = 1e-6  # below it no four digits are left in the most places that are shown
LINE = 15  # points; a row that wraps is given its height, since not every program works it out
BOLD = Font(name="Calibri", size=11, bold=True)
TITLE = Font(name="Calibri", size=14, bold=True)
GOALS = {
    "total": "The most sales for a total",
    "profit": "The highest profit",
    "target_sales": "The least spend that reaches the target",
    "target_roi": "The most sales at the return asked for",
    "target_marginal_roi": "Spend until the last unit brings what is asked for",
    "score": "A plan that was given",
}


def plan_sheet(
    plan: Plan, scenarios: Mapping[str, Plan] | None = None, title: str = "Budget plan", sold: str = "", money: str = ""
) -> bytes:
    """An xlsx workbook: the plan, what it brings, scenarios beside it, and what all of it assumes.

    Parameters
    ----------
    plan : Plan
    scenarios : mapping of str to Plan or None
        Other plans to stand beside it, by name. Today's split and the plan itself always stand there.
    title : str
    sold, money : str
        The units in words, for the heads of columns; empty where they are not known.

    Returns
    -------
    bytes
        The file. Numbers are numbers, with a format that shows four digits; what is not known is an empty cell.
    """
    book = openpyxl.Workbook()
    _plan(book.active, plan, title, sold, money)
    _brings(book.create_sheet("What it brings"), plan, sold, money)
    _scenarios(book.create_sheet("Scenarios"), plan, scenarios or {}, sold, money)
    _assumptions(book.create_sheet("Assumptions"), plan)
    for page in book.worksheets:
        page.sheet_view.showGridLines = False
        page.page_setup.orientation = "landscape"
        page.page_setup.fitToHeight = 0
        page.sheet_properties.pageSetUpPr = openpyxl.worksheet.properties.PageSetupProperties(fitToPage=True)
    book.properties.title = plain(title)
    book.properties.creator = "adresponse"
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def _plan(page: Any, plan: Plan, title: str, sold: str, money: str) -> None:
    page.title = "Plan"
    _text(page, 1, 1, title, TITLE)
    _text(page, 2, 1, plan.sentence)
    heads = [
        "Channel",
        _with("Today", money),
        _with("Planned", money),
        _with("Change", money),
        "Change, %",
        _with("Lowest", money),
        _with("Highest", money),
        _with("Sales it brings", sold),
        "ROI",
        "ROI, low",
        "ROI, high",
        "Marginal return",
        "Marginal, low",
        "Marginal, high",
        "At a bound",
    ]
    bound = {b.name: f"{b.end}est ({b.rule})" if b.rule != "lock" else "locked" for b in plan.binding}
    rows = [_row(c, bound.get(c.channel, "")) for c in plan.channels]
    change = _share(plan.total - plan.today_total, plan.today_total)
    last = ["Total", plan.today_total, plan.total, plan.total - plan.today_total, change, None, None]
    last += [math.fsum(c.sales for c in plan.channels), plan.roi, plan.roi_low, plan.roi_high]
    _table(page, 4, heads, [*rows, last], alike=[(1, 2, 3, 5, 6), (4,), (7,), (8, 9, 10), (11, 12, 13)], percent=(4,))
    for column in range(1, len(heads) + 1):
        cell = page.cell(5 + len(rows), column)
        cell.font, cell.border = BOLD, SUM
    page.freeze_panes = "B5"
    _widths(page, 4, heads, first=max(len(plain(c.channel)) for c in plan.channels))
    page.column_dimensions[get_column_letter(len(heads))].width = WIDE
    _lines(page, 7 + len(rows), [b.sentence for b in plan.binding] + [e.sentence for e in plan.extrapolates])


def _row(c: ChannelPlan, bound: str) -> list[Any]:
    limits = [c.low, c.high if math.isfinite(c.high) else None]
    roi, marginal = [c.roi, c.roi_low, c.roi_high], [c.marginal, c.marginal_low, c.marginal_high]
    return [c.channel, c.today, c.spend, c.change, _share(c.change, c.today), *limits, c.sales, *roi, *marginal, bound]


def _brings(page: Any, plan: Plan, sold: str, money: str) -> None:
    level = f"{words.number(100 * plan.level)} %"
    heads = ["Figure", "Value", f"Low ({level})", f"High ({level})"]
    rows: list[list[Any]] = [
        [_with("Sales expected", sold), plan.sales, plan.low, plan.high],
        [_with("Sales expected of today's split", sold), plan.today_sales, None, None],
        [_with("Gain over today's split", sold), plan.gain, plan.gain_low, plan.gain_high],
        [_with("Spend", money), plan.total, None, None],
        ["ROI: sales brought per unit of spend", plan.roi, plan.roi_low, plan.roi_high],
    ]
    if plan.after:
        rows.append([_with("Sales after the horizon", sold), plan.after, None, None])
    if plan.margin is not None:
        rows += [["Margin", plan.margin, None, None], ["Profit", plan.profit, plan.profit_low, plan.profit_high]]
    _table(page, 1, heads, rows)
    page.freeze_panes = "A2"
    _widths(page, 1, heads, first=max(len(str(r[0])) for r in rows))


def _scenarios(page: Any, plan: Plan, others: Mapping[str, Plan], sold: str, money: str) -> None:
    channels = list(plan.spend)
    heads = ["Scenario", _with("Spend", money), _with("Sales", sold), "Sales, low", "Sales, high"]
    heads += ["Gain", "Gain, low", "Gain, high", "Profit", *(_with(c, money) for c in channels)]
    profit = None if plan.margin is None else plan.margin * plan.today_sales - plan.today_total
    today: list[Any] = ["Today's split", plan.today_total, plan.today_sales, None, None, 0.0, None, None, profit]
    rows = [today + [c.today for c in plan.channels]]
    for name, p in {"This plan": plan, **others}.items():
        figures = [p.total, p.sales, p.low, p.high, p.gain, p.gain_low, p.gain_high, p.profit]
        rows.append([name, *figures, *(p.spend.get(c) for c in channels)])
    spent = (1, *range(9, 9 + len(channels)))
    _table(page, 1, heads, rows, alike=[spent, (2, 3, 4), (5, 6, 7), (8,)])
    page.freeze_panes = "B2"
    _widths(page, 1, heads, first=max(len(plain(r[0])) for r in rows))


def _assumptions(page: Any, plan: Plan) -> None:
    page.column_dimensions["A"].width = TEXT
    _lines(page, 1, _assumed(plan))


def _assumed(plan: Plan) -> Iterator[str]:
    yield f"Asked for: {GOALS[plan.goal]}."
    spent = "spent evenly in it" + (", or in each period what was given for it" if plan.goal == "score" else "")
    yield f"All amounts and sales are for the whole horizon, {words.count(plan.periods, 'period')}, {spent}."
    yield "Sales after the horizon that its spend still brings are " + ("counted." if plan.tail else "not counted.")
    yield (
        f"Intervals ({words.number(100 * plan.level)} %) say how sure the fit is of what is expected; what single periods "
        "scatter around it comes on top."
    )
    yield "The gain is the sales of this plan less those predicted for today's split, at the same dates and by the same rules."
    yield (
        "ROI is the sales that the spend brings, over what no spend would bring, per unit of it; the marginal return is the "
        "sales of one more unit, spent evenly."
    )
    yield from plan.notes


def _table(
    page: Any,
    top: int,
    heads: Sequence[str],
    rows: Sequence[Sequence[Any]],
    alike: Sequence[Sequence[int]] = (),
    percent: Sequence[int] = (),
) -> None:
    """A head and rows; the columns of each set in ``alike`` have one number format, other numbers one of their own."""
    formats = {column: _format([row[c] for row in rows for c in same if c < len(row)]) for same in alike for column in same}
    for column, head in enumerate(heads, 1):
        cell = _text(page, top, column, head, BOLD)
        cell.fill, cell.border = HEAD, RULE
        words_below = any(isinstance(v, str) for row in rows for v in row[column - 1 : column])
        side = "left" if words_below else "right"
        cell.alignment = Alignment(wrap_text=True, vertical="top", horizontal=side, indent=int(words_below and column > 1))
    for down, row in enumerate(rows, top + 1):
        for across, value in enumerate(row):
            if isinstance(value, str):
                _text(page, down, across + 1, value).alignment = Alignment(horizontal="left", indent=int(across > 0))
            elif value is not None and math.isfinite(value):
                cell = page.cell(down, across + 1, float(value))
                cell.number_format = "0.0%" if across in percent else formats.get(across, _format([value]))


def _text(page: Any, row: int, column: int, text: str, font: Font | None = None) -> Any:
    """Text as text, also where it begins with ``=``."""
    cell = page.cell(row, column)
    cell.value = plain(text)
    cell.data_type = "s"
    if font is not None:
        cell.font = font
    return cell


def _lines(page: Any, top: int, lines: Sequence[str] | Iterator[str]) -> None:
    """Lines of text, wrapped on a page of nothing else."""
    for row, line in enumerate(lines, top):
        _text(page, row, 1, line).alignment = Alignment(wrap_text=top == 1, vertical="top")
        if top == 1:
            page.row_dimensions[row].height = LINE * math.ceil(len(line) / (1.15 * TEXT))


def _format(values: Sequence[Any]) -> str:
    numbers = [v for v in values if isinstance(v, float)]
    decimals = decimals_for(numbers)
    if decimals == PLACES and max(map(abs, numbers)) < SMALL:
        return "0.000E+00"
    return "#,##0" + ("." + "0" * decimals if decimals else "")


def _widths(page: Any, top: int, heads: Sequence[str], first: int) -> None:
    page.column_dimensions["A"].width = min(max(first, NARROW) + 2, 2 * WIDE)
    lines = 1
    for column, head in enumerate(heads[1:], 2):
        text = plain(head)
        longest = max(map(len, text.split()), default=0)
        width = min(max(NARROW, longest + 2, len(text) * 0.7), WIDE) + 2
        page.column_dimensions[get_column_letter(column)].width = width
        lines = max(lines, 1 if len(text) < width else math.ceil(1.25 * len(text) / width))
    page.row_dimensions[top].height = LINE * lines


def _with(head: str, unit: str) -> str:
    return f"{head}, {unit}" if unit else head


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
