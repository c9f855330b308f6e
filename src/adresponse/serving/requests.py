"""What does a request ask? A body of any of MLflow's forms -> the model's columns, or a refusal.

A body is read twice at most: quickly (``quick``) where it is plainly right, and otherwise with care (``careful``), which finds
what is right all the same, or else the column, the row and the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from adresponse.formula import Formula
from adresponse.rows import Vector, as_level, check, check_few, refuse_bad_values
from adresponse.schema import Contract
from adresponse.serving.answers import RequestError
from adresponse.serving.careful import csv_columns, json_columns
from adresponse.serving.parquet import ParquetReader
from adresponse.serving.quick import FEW, QuickCsv, QuickJson, Table

__all__ = ["CSV", "JSON", "PARQUET", "Asked", "Reader", "kinds_taken"]

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"


def kinds_taken() -> list[str]:
    """The kinds of body that are read here: Parquet only where pyarrow is."""
    try:
        there = find_spec("pyarrow") is not None
    except ValueError:  # it was kept from being loaded
        there = False
    return [JSON, CSV, PARQUET] if there else [JSON, CSV]


@dataclass(slots=True)
class Asked:
    """What one request asks.

    Parameters
    ----------
    few : list of sequence of float
        The rows, each with what the model reads in order, where that is numbers of at most ``FEW`` rows; else empty.
    columns : list of ndarray of shape (n_rows,)
        The columns that the model reads, in order, where there are more rows, dates or markets; else empty.
    level : float, optional
        Level of the interval asked for.
    outside : bool
        Whether a value may lie outside the ranges fitted; False says that none does.
    contributions : bool
        Whether it is asked what each channel adds.
    """

    few: Sequence[Sequence[float]]
    columns: list[Vector]
    level: float | None
    outside: bool = True
    contributions: bool = False

    @property
    def rows(self) -> int:
        """How many rows are asked for."""
        return len(self.columns[0]) if self.columns else len(self.few)

    def vectors(self) -> list[Vector]:
        """The columns as arrays of shape (n_rows,), however many rows there are."""
        if self.columns:
            return self.columns
        import numpy as np

        return [np.array(c, dtype=np.float64) for c in zip(*self.few, strict=True)]

    def values(self) -> Sequence[Sequence[float] | Vector]:
        """The columns' values, each of length n_rows."""
        return self.columns or list(zip(*self.few, strict=True))


class Reader:
    """Reads requests for one model.

    Parameters
    ----------
    formula : Formula
        The model: its contract and the ranges fitted.
    max_body : int
        Bytes of the largest body; bounds what a Parquet file may unpack to.
    """

    def __init__(self, formula: Formula, max_body: int) -> None:
        self.contract: Contract = formula.contract
        self.names = formula.inputs
        self._reads = formula.reads
        self._numbers = self.names == self.contract.features
        known = {c.name for c in self.contract.columns}
        self._json = _quick_json(self.names) if self._numbers else None
        self._csv = QuickCsv(self.names, known) if self._numbers else None
        self._parquet = ParquetReader(self.names, known, self._numbers, max_body)
        # spend below 0 is outside every range, so what lies within the ranges is valid without a further look
        spend = len(self.contract.channels)
        ends = [formula.ranges[name] for name in self.contract.features]
        self._ranges = [(max(low, 0.0) if i < spend else low, high) for i, (low, high) in enumerate(ends)]

    def read(self, kind: str, body: bytes) -> Asked:
        """What a body asks.

        Parameters
        ----------
        kind : str
            ``JSON``, ``CSV`` or ``PARQUET``.
        body : bytes
            The whole body.

        Raises
        ------
        RowsError
            Naming the column, the row and the value that break the contract.
        RequestError
            Where the body is not of its kind, or asks for what there is not.
        """
        if kind == JSON:
            if self._json and (found := self._json(body)):
                return self._checked(*found)
            return self._careful_json(body)
        if kind == CSV:
            if self._csv and (table := self._csv(body)):
                return self._checked(table, None)
            return self._careful(csv_columns(body, self._reads), None)
        read = self._parquet(body)
        return self._checked((None, read), None) if isinstance(read, list) else self._careful(read, None)

    def _checked(self, table: Table, level: float | None) -> Asked:
        few, columns = table
        if level is not None:
            level = as_level(level)
        if few is not None:
            for row in few:
                for x, (low, high) in zip(row, self._ranges, strict=True):
                    if not low <= x <= high:
                        refuse_bad_values(self.contract, list(zip(*few, strict=True)))
                        return Asked(few, [], level)
            return Asked(few, [], level, outside=False)
        inside = all(low <= x.min() and x.max() <= high for x, (low, high) in zip(columns, self._ranges, strict=True))
        if not inside:
            refuse_bad_values(self.contract, columns)
        return Asked([], list(columns), level, outside=not inside)

    def _careful(self, given: Mapping[str, Any], level: float | None, contributions: bool = False) -> Asked:
        few = self._numbers and all(isinstance(values, list) and len(values) <= FEW for values in given.values())
        if few:
            rows = list(zip(*check_few(self.contract, given), strict=True))
            return Asked(rows, [], level, contributions=contributions)
        return Asked([], check(self._reads, given), level, contributions=contributions)

    def _careful_json(self, body: bytes) -> Asked:
        read = json_columns(body, self.names)
        asked = self._careful(read.columns, read.level, read.contributions)
        if read.constant:
            raise RequestError(400, "BAD_REQUEST", f"The body holds {read.constant}, which is no JSON; give finite numbers.")
        return asked


def _quick_json(names: Sequence[str]) -> QuickJson | None:
    try:
        return QuickJson(names)
    except (ValueError, TypeError):  # a column's name that msgspec does not take
        return None
