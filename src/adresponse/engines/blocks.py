"""Which rows of a block can be answered, what are the answers, and what is wrong with the other rows?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from adresponse import rows
from adresponse.curved import twice_said
from adresponse.engines.inputs import Block, Input, feature_array
from adresponse.engines.scored import Beyond
from adresponse.errors import RowsError
from adresponse.formula import Formula
from adresponse.pyfunc import ResponseModel
from adresponse.reading import cells, numerals
from adresponse.reading.marks import Marks
from adresponse.rows import Reads, Vector

__all__ = ["Answered", "Checked", "Fault", "Ranges", "answer", "at_once", "look", "refuse"]

AT_ONCE = 2_000_000
"""Rows that are asked together where spend is carried: some hundred bytes each, with what they are looked up in."""
TOO_MANY = (
    f"{AT_ONCE:,} rows, and the model carries spend from one period to the next, so it has to see them at once; "
    "score them market by market."
)


@dataclass(frozen=True)
class Fault:
    """Why a row of a block cannot be answered: its index, the column (empty for the answer itself) and the reason."""

    index: int
    column: str
    reason: str


@dataclass(frozen=True)
class Checked:
    """A block's columns that the model reads, as float64 in its order; which rows keep the contract; and why others do not."""

    features: list[Vector]
    good: NDArray[np.bool_]
    faults: list[Fault]


@dataclass(frozen=True)
class Answered:
    """A block with its answers.

    Parameters
    ----------
    features : list of ndarray of shape (n_rows,)
        The columns that the model reads, as float64, in its order.
    answers : dict of str to ndarray of shape (n_good,)
        What ``Formula.answer`` gives, of the rows that could be answered.
    good : ndarray of bool of shape (n_rows,)
        Which rows those are.
    faults : list of Fault
        One for each other row, in row order.
    """

    features: list[Vector]
    answers: dict[str, Vector]
    good: NDArray[np.bool_]
    faults: list[Fault]


class Ranges:
    """Counts the answered rows that lie beyond the range fitted, column by column."""

    def __init__(self, formula: Formula) -> None:
        self._formula = formula
        self._found: dict[str, Beyond] = {}

    def add(self, features: Sequence[Vector]) -> None:
        """Take in the answered rows of one block."""
        measured = self._formula.measured(features)
        given = features[: len(measured)]
        for (name, (low, high)), x, own in zip(self._formula.limits.items(), given, measured, strict=True):
            if len(x):
                self._note(name, float(x.min()), float(x.max()), (own < low) | (own > high))
        dates, date = self._formula.dates(features), self._formula.reads.date
        if date is not None and len(dates):
            days = dates.astype("datetime64[D]")
            self._note(date, str(days.min()), str(days.max()), self._formula.outside(dates))

    def _note(self, name: str, least: Any, most: Any, outside: NDArray[np.bool_]) -> None:
        known = self._found.get(name, Beyond(least, most, 0))
        rows = known.rows + int(np.count_nonzero(outside))
        self._found[name] = Beyond(min(least, known.lowest), max(most, known.highest), rows)

    @property
    def beyond(self) -> dict[str, Beyond]:
        """The columns with rows beyond the range."""
        return {name: found for name, found in self._found.items() if found.rows}


def look(reads: Reads, names: Sequence[str], block: Block, marks: Marks) -> Checked:
    """Read a block's columns that the model needs, and check its rows.

    Parameters
    ----------
    reads : Reads
        Which columns the model reads.
    names : sequence of str
        Names of the block's columns, all of the model's among them.
    marks : Marks
        How numbers and dates are written as text.
    """
    arrays = [(name, feature_array(block[names.index(name)])) for name in reads.names]
    values, wrong = zip(*(_read(reads, name, array, marks) for name, array in arrays), strict=True)
    spend = len(reads.contract.channels)
    bad = [w | ~np.isfinite(x) | ((x < 0) if i < spend else False) for i, (x, w) in enumerate(zip(values, wrong, strict=True))]
    good = ~np.logical_or.reduce(bad)
    faults = [_fault(int(i), reads, arrays, values, wrong, bad, marks) for i in np.flatnonzero(~good)]
    return Checked(list(values), good, faults)


def answer(model: ResponseModel, checked: Checked, level: float | None = None, contributions: bool = False) -> Answered:
    """Answer the good rows of a block; where spend is carried, the block has to be the whole table.

    Parameters
    ----------
    model : ResponseModel
        Gives the answers.
    checked : Checked
        The block (see ``look``).
    level : float, optional
        Share of new rows that the interval should hold.
    contributions : bool
        Whether to add what each channel adds.
    """
    good, faults = checked.good.copy(), list(checked.faults)
    asked = np.flatnonzero(good)
    for row, said in _repeated(model.formula, [x[asked] for x in checked.features], asked):
        good[row] = False
        faults.append(Fault(row, "", said))
    asked = np.flatnonzero(good)
    if not len(asked):
        names = model.formula.answer_names(level, contributions)
        return Answered(checked.features, {n: np.empty(0) for n in names}, good, _in_order(faults))
    answers = model.figures([x[asked] for x in checked.features], level, contributions)
    finite = np.logical_and.reduce([np.isfinite(v) for v in answers.values()])
    faults += [Fault(int(i), "", _reason(rows.not_finite(1), "Row 1: ")) for i in asked[~finite]]
    good[asked[~finite]] = False
    return Answered(checked.features, {n: v[finite] for n, v in answers.items()}, good, _in_order(faults))


def _in_order(faults: list[Fault]) -> list[Fault]:
    return sorted(faults, key=lambda f: f.index)


def _repeated(formula: Formula, columns: list[Vector], asked: NDArray[np.int64]) -> Iterator[tuple[int, str]]:
    """The rows that have the period and the market of an earlier one, where spend is carried, and what is said of them."""
    if not formula.together or not len(asked):
        return
    first = formula.first_of(columns)
    for i in np.flatnonzero(first != np.arange(len(first))):
        market = formula.reads.markets[int(columns[-1][i])] if formula.reads.market else ""
        yield int(asked[i]), f"the row {twice_said(int(asked[first[i]]) + 1, market)}"


def at_once(table: Input) -> Iterator[Block]:
    """All rows of a table as one block, for a model that carries spend from one row to the next.

    Raises
    ------
    RowsError
        If they are too many to be asked together.
    """
    blocks, seen = [], 0
    for block in table.blocks:
        blocks.append(block)
        seen += len(block[0])
        if seen > AT_ONCE:
            raise RowsError(f"{table.label} has more than {TOO_MANY}")
    if blocks:
        yield [_joined(parts) for parts in zip(*blocks, strict=True)]


def _joined(parts: Sequence[Any]) -> Any:
    """The blocks of one column as one: Arrow arrays of one type, else Python's values."""
    if all(isinstance(p, list) for p in parts):
        return [value for part in parts for value in part]
    if len({str(p.type) for p in parts}) > 1:
        parts = [p.cast(pa.large_string()) for p in parts]
    return pa.chunked_array(list(parts)).combine_chunks()


def _read(reads: Reads, name: str, array: Any, marks: Marks) -> tuple[Vector, NDArray[np.bool_]]:
    """The column as float64, NaN for no value, and which cells hold something that is not of its kind."""
    kind = reads.kind(name)
    if kind == "number":
        return _numbers(array, marks.mark)
    if kind == "date":
        moments, _ = cells.to_dates(array, marks.day_first)
        seconds = moments.astype("datetime64[s]")
        values = np.where(np.isnat(seconds), np.nan, seconds.astype(np.int64))
    else:
        given = cells.to_markets(array)
        place = {market: float(i) for i, market in enumerate(reads.markets)}
        values = np.fromiter((place.get(m, np.nan) for m in given), np.float64, len(given))
        return values, np.isnan(values) & np.array([m is not None for m in given], dtype=bool)
    return values, _given(array) & np.isnan(values)


def _given(array: Any) -> NDArray[np.bool_]:
    """Which cells say something."""
    known = (numerals.missing_as_null(array) if cells.is_text(array) else array).is_valid()
    return np.asarray(known.to_numpy(zero_copy_only=False), dtype=bool)


def _numbers(array: Any, mark: numerals.Decimal) -> tuple[Vector, NDArray[np.bool_]]:
    """The column as float64, NaN for no value, and which cells hold something that is no number."""
    values, first_wrong = cells.to_numbers(array, mark)
    if first_wrong is None:
        return values, np.zeros(len(values), dtype=bool)
    return values, _given(array) & np.isnan(values)


def _fault(
    index: int,
    reads: Reads,
    arrays: Sequence[tuple[str, Any]],
    values: Sequence[Vector],
    wrong: Sequence[NDArray[np.bool_]],
    bad: Sequence[NDArray[np.bool_]],
    marks: Marks,
) -> Fault:
    i = next(i for i, b in enumerate(bad) if b[index])
    name, array = arrays[i]
    kind, before = reads.kind(name), f"Column {name!r}, row 1: "
    if not wrong[i][index]:
        return Fault(index, name, _reason(rows.refuse_bad_value(name, 1, float(values[i][index]), kind), before))
    given = array[index].as_py()
    if kind == "number":
        return Fault(index, name, _no_number(name, given, marks.mark))
    said = rows.no_date(name, 1, given) if kind == "date" else rows.no_market(name, 1, given, reads.markets)
    return Fault(index, name, _reason(said, before))


def _no_number(name: str, value: object, mark: numerals.Decimal) -> str:
    if isinstance(value, str) and numerals.like_numbers(pa.array([value.strip()]))[0].as_py():
        other = "," if mark == "." else "."
        return (
            f"{rows.show(value)} is not a number where {mark!r} is the decimal mark, as in the rest of this table; "
            f"correct the cell, or give --decimal {other!r}."
        )
    return _reason(rows.no_number(name, 1, value), f"Column {name!r}, row 1: ")


def _reason(error: RowsError, before: str) -> str:
    """What ``rows`` says without its column and row, since a file's row has a line too."""
    return str(error).removeprefix(before)


def refuse(table: Input, fault: Fault, before: int) -> RowsError:
    """The refusal of a whole table for its first bad row; ``before`` rows lie before the block."""
    row = before + fault.index + 1
    where = f"row {row} ({table.place(row)})"
    return RowsError(f"Column {fault.column!r}, {where}: {fault.reason}" if fault.column else f"R{where[1:]}: {fault.reason}")
