"""Which rows of a block can be answered, what are the answers, and what is wrong with the other rows?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from adresponse import rows
from adresponse.engines.inputs import Block, Input, feature_array
from adresponse.engines.scored import Beyond
from adresponse.errors import RowsError
from adresponse.findings import Finding
from adresponse.formula import Formula
from adresponse.pyfunc import ResponseModel
from adresponse.reading import cells, numerals, roles
from adresponse.rows import Vector

__all__ = ["Answered", "Fault", "Marks", "Ranges", "answer", "refuse"]


@dataclass(frozen=True)
class Fault:
    """Why a row of a block cannot be answered: its index, the column (empty for the answer itself) and the reason."""

    index: int
    column: str
    reason: str


@dataclass(frozen=True)
class Answered:
    """A block with its answers.

    Parameters
    ----------
    features : list of ndarray of shape (n_rows,)
        The model's columns as float64, in its order.
    answers : dict of str to ndarray of shape (n_good,)
        ``prediction`` and, where a level was asked for, ``lower`` and ``upper``, of the rows that could be answered.
    good : ndarray of bool of shape (n_rows,)
        Which rows those are.
    faults : list of Fault
        One for each other row, in row order.
    """

    features: list[Vector]
    answers: dict[str, Vector]
    good: NDArray[np.bool_]
    faults: list[Fault]


class Marks:
    """The decimal mark of a table's numbers written as text, found out as ``reading`` does; open until a cell decides it."""

    def __init__(self, separator: str, decimal: numerals.Decimal | None) -> None:
        self._separator = separator
        self._decimal = decimal
        self._either = ""

    @property
    def mark(self) -> numerals.Decimal:
        """The decimal mark; a point where no cell has shown any."""
        return self._decimal or "."

    def learn(self, named: dict[str, Any]) -> None:
        """Decide the mark from a block's columns that hold numbers, if they show any."""
        if self._decimal is not None:
            return
        texts = (a for name, a in named.items() if cells.is_text(a) and not roles.names_a_date(name))
        found = numerals.evidence(a for a in texts if roles.holds_numbers(a))
        self._decimal = numerals.decide(found, self._separator)
        certain = found.point or found.comma or (self._separator != ";" and "," not in found.either)
        self._either = "" if certain else found.either

    def findings(self) -> Iterator[Finding]:
        """That the numbers could be read in two ways (D014)."""
        if self._either:
            value = float(cells.to_numbers(pa.array([self._either]), self.mark)[0][0])
            written = next(m for m in ",." if m in self._either)
            yield Finding(
                "D014",
                "note",
                f"{self._either!r} can be read in two ways; {written!r} was taken as the "
                f"{'decimal' if written == self.mark else 'thousands'} mark ({value:g}).",
                f"Give --decimal '{'.' if self.mark == ',' else ','}' if the other way is meant.",
            )


class Ranges:
    """Counts the answered rows that lie beyond the range fitted, column by column."""

    def __init__(self, formula: Formula) -> None:
        self._ends = formula.ranges
        self._found: dict[str, Beyond] = {}

    def add(self, features: Sequence[Vector]) -> None:
        """Take in the answered rows of one block."""
        for (name, (low, high)), x in zip(self._ends.items(), features, strict=True):
            outside = int(np.count_nonzero((x < low) | (x > high)))
            if len(x):
                least, most = float(x.min()), float(x.max())
                known = self._found.get(name, Beyond(least, most, 0))
                self._found[name] = Beyond(min(least, known.lowest), max(most, known.highest), known.rows + outside)

    @property
    def beyond(self) -> dict[str, Beyond]:
        """The columns with rows beyond the range."""
        return {name: found for name, found in self._found.items() if found.rows}


def answer(model: ResponseModel, names: Sequence[str], block: Block, mark: numerals.Decimal, level: float | None) -> Answered:
    """Check a block's rows and answer the good ones.

    Parameters
    ----------
    model : ResponseModel
        Gives the answers.
    names : sequence of str
        Names of the block's columns, all of the model's among them.
    mark : {".", ","}
        Decimal mark of numbers written as text.
    level : float, optional
        Share of new rows that the interval should hold.
    """
    features = [(name, feature_array(block[names.index(name)])) for name in model.formula.contract.features]
    values, wrong = zip(*(_numbers(array, mark) for _, array in features), strict=True)
    spend = len(model.formula.contract.channels)
    bad = [w | ~np.isfinite(x) | ((x < 0) if i < spend else False) for i, (x, w) in enumerate(zip(values, wrong, strict=True))]
    good = ~np.logical_or.reduce(bad)
    answers, too_large = _finite_answers(model, [x[good] for x in values], level)
    unanswered = np.flatnonzero(good)[too_large]
    faults = [_fault(int(i), features, values, wrong, bad, mark) for i in np.flatnonzero(~good)]
    faults += [Fault(int(i), "", _reason(rows.not_finite(1), "Row 1: ")) for i in unanswered]
    good[unanswered] = False
    return Answered(list(values), answers, good, sorted(faults, key=lambda f: f.index))


def _numbers(array: Any, mark: numerals.Decimal) -> tuple[Vector, NDArray[np.bool_]]:
    """The column as float64, NaN for no value, and which cells hold something that is no number."""
    values, first_wrong = cells.to_numbers(array, mark)
    if first_wrong is None:
        return values, np.zeros(len(values), dtype=bool)
    given = (numerals.missing_as_null(array) if cells.is_text(array) else array).is_valid()
    return values, np.asarray(given.to_numpy(zero_copy_only=False), dtype=bool) & np.isnan(values)


def _finite_answers(
    model: ResponseModel, features: list[Vector], level: float | None
) -> tuple[dict[str, Vector], NDArray[np.int64]]:
    """The answers to checked rows, and the indices of those whose answer no double can hold (left out of the answers)."""
    height = len(features[0])
    if not height:
        return {name: np.empty(0) for name in ("prediction", *(("lower", "upper") if level is not None else ()))}, _indices([])
    try:
        return model.answer(features, level), _indices([])
    except RowsError:
        if height == 1:
            return _finite_answers(model, [x[:0] for x in features], level)[0], _indices([0])
        half = height // 2
        first, bad_first = _finite_answers(model, [x[:half] for x in features], level)
        second, bad_second = _finite_answers(model, [x[half:] for x in features], level)
        return {n: np.concatenate([first[n], second[n]]) for n in first}, np.concatenate([bad_first, bad_second + half])


def _indices(given: list[int]) -> NDArray[np.int64]:
    return np.array(given, dtype=np.int64)


def _fault(
    index: int,
    features: Sequence[tuple[str, Any]],
    values: Sequence[Vector],
    wrong: Sequence[NDArray[np.bool_]],
    bad: Sequence[NDArray[np.bool_]],
    mark: numerals.Decimal,
) -> Fault:
    i = next(i for i, b in enumerate(bad) if b[index])
    name, array = features[i]
    if wrong[i][index]:
        return Fault(index, name, _no_number(name, array[index].as_py(), mark))
    return Fault(index, name, _reason(rows.refuse_bad_value(name, 1, float(values[i][index])), f"Column {name!r}, row 1: "))


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
