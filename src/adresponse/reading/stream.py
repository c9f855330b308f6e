"""Do all rows keep the contract, and what do they hold? One pass: check, count, hash, sample."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from adresponse.errors import TableError
from adresponse.findings import Finding
from adresponse.reading import cells, numerals, roles
from adresponse.reading.marks import Marks
from adresponse.reading.source import Source
from adresponse.schema import Contract

__all__ = ["Reading", "Settings", "read_source"]

Values = dict[str, NDArray[Any]]
CHUNK_ROWS = 65_536


@dataclass(frozen=True)
class Settings:
    """What the caller asked for, beside the roles."""

    dictionary: Mapping[str, Mapping[str, str]] | None
    origin: str
    drop_missing: bool
    decimal: numerals.Decimal | None
    max_rows: int
    seed: int


ROW = "\0row"  # beside the columns, the number of each data row in the source; no column can have this name


@dataclass(frozen=True)
class Reading:
    """What one pass over a source gave."""

    frame: pd.DataFrame
    contract: Contract
    digest: str
    rows_read: int
    findings: tuple[Finding, ...]


def read_source(source: Source, asked: roles.Roles, settings: Settings) -> Reading:
    """Assign the roles, then take in every block; nothing but the sample stays in memory."""
    if not len(source.head[0]):
        raise TableError(f"{source.label} has column names but no rows; give at least one row of numbers.")
    marks = Marks(source.separator, settings.decimal)
    marks.learn_numbers(zip(source.names, source.head, strict=True))
    looks = [roles.look(name, array, marks.mark) for name, array in zip(source.names, source.head, strict=True)]
    taken = roles.assign(asked, looks, source.label)
    contract = _contract(taken, settings, source.names)
    if (date := contract.date) is not None:
        marks.learn_dates(date, source.head[source.names.index(date)])
    intake = _Intake(source, contract, marks)
    digest, sample = _Digest(contract), _Sample(settings.max_rows, settings.seed)
    for values, numbers in intake.blocks(settings.drop_missing):
        digest.add(values)
        sample.add({**values, ROW: numbers})
    if not settings.drop_missing:
        intake.refuse_missing()
    findings = (
        *source.findings,
        *roles.findings(taken, looks),
        *marks.findings(),
        *intake.findings(),
        *sample.findings(source.label),
    )
    if not sample.seen:
        raise TableError(f"{source.label} has no row without missing values; fill in the missing values.")
    return Reading(_frame(sample.values(), contract), contract, digest.hex(), intake.rows, findings)


def _contract(taken: roles.Roles, settings: Settings, names: tuple[str, ...]) -> Contract:
    for name in settings.dictionary or ():
        Contract.pick(name, [n for n in names if n], "data dictionary")
    return Contract.build(
        target=str(taken.target),
        channels=taken.channels or (),
        controls=taken.controls,
        date=taken.date,
        market=taken.market,
        dictionary=settings.dictionary,
        origin=settings.origin,
    )


def _frame(values: Values, contract: Contract) -> pd.DataFrame:
    if contract.date is not None:
        order = np.argsort(values[contract.date], kind="stable")
        values = {name: column[order] for name, column in values.items()}
    market, numbers = contract.market, pd.Index(values[ROW])
    return pd.DataFrame(
        {c.name: pd.Series(values[c.name], dtype="str" if c.name == market else None, index=numbers) for c in contract.columns}
    )


@dataclass(frozen=True, order=True)
class _Problem:
    """The first cell of a column and block that breaks a rule."""

    row: int
    column: str = field(compare=False)
    text: str = field(compare=False)


class _Intake:
    """The rows of a source as checked values, and what was missing in them."""

    def __init__(self, source: Source, contract: Contract, marks: Marks) -> None:
        self.source = source
        self.contract = contract
        self.marks = marks
        self.rows = 0
        self.rows_missing = 0
        self.missing: Counter[str] = Counter()
        self.first_missing: tuple[int, str] | None = None

    def blocks(self, drop_missing: bool) -> Iterator[tuple[Values, NDArray[np.int64]]]:
        """Block after block with its data row numbers, refused at the first bad cell.

        Incomplete rows are left out, or counted to be refused.
        """
        names = [c.name for c in self.contract.columns]
        for block in self.source.blocks([self.source.names.index(name) for name in names]):
            values = self._read(dict(zip(names, block, strict=True)))
            first = self.rows + 1
            incomplete = self._count_missing(values)
            numbers = np.arange(first, first + len(incomplete))
            if drop_missing and incomplete.any():
                values, numbers = {name: column[~incomplete] for name, column in values.items()}, numbers[~incomplete]
            yield values, numbers

    def _read(self, arrays: dict[str, Any]) -> Values:
        self.marks.learn_numbers((n, arrays[n]) for n in (*self.contract.features, self.contract.target))
        if self.contract.date is not None:
            self.marks.learn_dates(self.contract.date, arrays[self.contract.date])
        values: Values = {}
        problems = []
        for name, array in arrays.items():
            values[name], problem = self._column(name, array)
            if problem is not None:
                problems.append(problem)
        if problems:
            raise self._refusal(min(problems))
        return values

    def _column(self, name: str, array: Any) -> tuple[NDArray[Any], _Problem | None]:
        role = self.contract[name].role
        if role == "market":
            return cells.to_markets(array), None
        if role == "date":
            days, wrong = cells.to_dates(array, self.marks.day_first)
            return days, None if wrong is None else _Problem(wrong, name, _no_date(array, wrong))
        numbers, wrong = cells.to_numbers(array, self.marks.mark)
        if wrong is None:
            return numbers, _out_of_range(name, array, numbers, role == "channel")
        return numbers, _Problem(wrong, name, _no_number(array, wrong, self.marks.mark))

    def _count_missing(self, values: Values) -> NDArray[np.bool_]:
        masks = {name: pd.isna(column) for name, column in values.items()}
        incomplete = np.logical_or.reduce(list(masks.values()))
        if incomplete.any():
            self.missing.update({name: int(mask.sum()) for name, mask in masks.items() if mask.any()})
            if self.first_missing is None:
                first = int(np.argmax(incomplete))
                self.first_missing = self.rows + first + 1, next(n for n, mask in masks.items() if mask[first])
        self.rows += len(incomplete)
        self.rows_missing += int(incomplete.sum())
        return np.asarray(incomplete)

    def _refusal(self, problem: _Problem) -> TableError:
        where = self._where(self.rows + problem.row + 1)
        return TableError(f"Column {problem.column!r}, {where}: {problem.text}.")

    def _where(self, row: int) -> str:
        place = self.source.place(row)
        return f"row {row} ({place})" if place else f"row {row}"

    def refuse_missing(self) -> None:
        """Refuse a table with incomplete rows: how many, in which columns, and the first."""
        if self.first_missing is None:
            return
        row, column = self.first_missing
        raise TableError(
            f"{self._missing_said()}; the first is column {column!r}, {self._where(row)}; "
            f"fill them in, or leave these rows out with --missing drop (missing='drop')."
        )

    def _missing_said(self) -> str:
        names = [c.name for c in self.contract.columns if c.name in self.missing]
        counts = ", ".join(f"{name!r} {self.missing[name]:,}" for name in names)
        rows = "1 row misses" if self.rows_missing == 1 else f"{self.rows_missing:,} rows miss"
        return f"{rows} a value (by column: {counts})"

    def findings(self) -> Iterator[Finding]:
        """Rows dropped for missing values (D004)."""
        if self.rows_missing:
            message = f"{self._missing_said()} and {'was' if self.rows_missing == 1 else 'were'} dropped"
            yield Finding(
                "D004",
                "review",
                f"{message}; {self.rows - self.rows_missing:,} of {self.rows:,} rows are left.",
                "See why they are missing; rows that are missing for a reason bend the result.",
            )


def _out_of_range(name: str, array: Any, numbers: NDArray[np.float64], spend: bool) -> _Problem | None:
    wrong = np.isinf(numbers) | (numbers < 0 if spend else False)
    if not wrong.any():
        return None
    index = int(np.argmax(wrong))
    if np.isinf(numbers[index]):
        return _Problem(index, name, f"{cells.show(array, index)} is not finite; correct the cell")
    text = "is negative, and spend is 0 or more; correct the cell, or make the column a control"
    return _Problem(index, name, f"{cells.show(array, index)} {text}")


def _no_date(array: Any, index: int) -> str:
    given = cells.show(array, index)
    total = "" if any(map(str.isdigit, given)) else ", and take away rows of totals and the like"
    return f"{given} is not a date; write dates as 2024-12-31{total}"


def _no_number(array: Any, index: int, mark: numerals.Decimal) -> str:
    advice = "correct the cell, or give the column another role"
    value = array[index].as_py()
    if isinstance(value, str) and value.rstrip().endswith("%"):
        advice = "write shares as plain numbers, without the percent sign"
    elif isinstance(value, str) and numerals.like_numbers(pa.array([value.strip()]))[0].as_py():
        other = "," if mark == "." else "."
        return (
            f"{cells.show(array, index)} is not a number where {mark!r} is the decimal mark, as in the rest of this "
            f"table; correct the cell, or give --decimal {other!r}"
        )
    return f"{cells.show(array, index)} is not a number; {advice}"


class _Digest:
    """SHA-256 over all rows, in chunks of fixed length, so that the source's blocks leave no trace."""

    def __init__(self, contract: Contract) -> None:
        names = [[c.name, c.role] for c in contract.columns]
        self._hash = hashlib.sha256(json.dumps(names, ensure_ascii=False).encode())
        self._pending: list[Values] = []
        self._count = 0
        self._rows = 0

    def add(self, values: Values) -> None:
        """Take in one block."""
        self._pending.append(values)
        self._count += _height(values)
        if self._count >= CHUNK_ROWS:
            self._flush(self._count - self._count % CHUNK_ROWS)

    def _flush(self, rows: int) -> None:
        values = _joined(self._pending)
        for start in range(0, rows, CHUNK_ROWS):
            stop = min(start + CHUNK_ROWS, rows)
            for column in values.values():
                self._hash_column(column[start:stop])
        self._rows += rows
        self._pending = [{name: column[rows:].copy() for name, column in values.items()}]
        self._count -= rows

    def _hash_column(self, column: NDArray[Any]) -> None:
        if column.dtype == object:
            for part in _text_bytes(column):
                self._hash.update(part)
        else:
            self._hash.update(column.astype(column.dtype.newbyteorder("<"), copy=False).tobytes())

    def hex(self) -> str:
        """The digest of all that was taken in."""
        if self._count:
            self._flush(self._count)
        closed = self._hash.copy()
        closed.update(self._rows.to_bytes(8, "little"))
        return closed.hexdigest()


def _text_bytes(column: NDArray[Any]) -> Iterator[bytes]:
    encoded = [str(text).encode() for text in column]
    yield np.fromiter(map(len, encoded), "<i8", len(encoded)).tobytes()
    yield b"".join(encoded)


def _height(values: Values) -> int:
    return len(next(iter(values.values())))


def _joined(parts: list[Values]) -> Values:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


class _Sample:
    """A uniform sample of at most ``max_rows`` rows, in their order: the rows with the smallest random keys."""

    def __init__(self, max_rows: int, seed: int) -> None:
        self._max_rows = max_rows
        self._random = np.random.default_rng(seed)
        self._bound = np.inf
        self._parts: list[Values] = []
        self._keys: list[NDArray[np.float64]] = []
        self._held = 0
        self.seen = 0

    def add(self, values: Values) -> None:
        """Take in one block."""
        keys = self._random.random(_height(values))
        self.seen += len(keys)
        if self._bound < np.inf:
            below = keys < self._bound
            keys, values = keys[below], {name: column[below] for name, column in values.items()}
        self._parts.append(values)
        self._keys.append(keys)
        self._held += len(keys)
        if self._held > 2 * self._max_rows:
            self._trim()

    def _trim(self) -> None:
        keys, values = np.concatenate(self._keys), _joined(self._parts)
        kept = np.sort(np.argpartition(keys, self._max_rows - 1)[: self._max_rows])
        self._keys, self._parts = [keys[kept]], [{name: column[kept] for name, column in values.items()}]
        self._bound, self._held = float(keys[kept].max()), len(kept)

    def values(self) -> Values:
        """The rows of the sample."""
        if self._held > self._max_rows:
            self._trim()
        return _joined(self._parts)

    def findings(self, label: str) -> Iterator[Finding]:
        """That a sample was taken (D012)."""
        if self.seen > self._max_rows:
            yield Finding(
                "D012",
                "review",
                f"{label} has {self.seen:,} rows; all were checked, and {self._max_rows:,} drawn at random were kept.",
                "Raise max_rows to keep more; memory grows with it.",
            )
