"""What do all columns of a source hold, whatever a contract says of them?

A table that may have broken its contract has to be looked at before it can be refused well. Nothing is refused here but
a source that is no table.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from adresponse.reading import cells, dates, numerals, roles
from adresponse.reading.marks import Marks
from adresponse.reading.source import Source

__all__ = ["Raw", "read_raw"]

Kind = Literal["number", "text", "date", "flag", "empty"]


@dataclass(frozen=True)
class Raw:
    """All columns of a source as they are.

    Parameters
    ----------
    label : str
        Where it was read from, for people.
    kinds : dict of str to {"number", "text", "date", "flag", "empty"}
        What most cells of a column are, in the source's order.
    frame : pandas.DataFrame
        Numbers as float64 and dates as datetime64, missing where a cell is none; everything else as text. The index is
        the number of each data row, from 1.
    unread : dict of str to int
        Cells of a number or date column that say something else.
    said : dict of str to dict of int to str
        What these cells say, by the number of their row.
    """

    label: str
    kinds: dict[str, Kind]
    frame: pd.DataFrame
    unread: dict[str, int]
    said: dict[str, dict[int, str]]


def read_raw(
    source: Source, *, date: str | None, market: str | None = None, decimal: numerals.Decimal | None, max_rows: int
) -> Raw:
    """The first ``max_rows`` rows of all columns; ``date`` and ``market`` name those read as such, where they are there."""
    wanted = [i for i, name in enumerate(source.names) if name]
    names = [source.names[i] for i in wanted]
    columns = _columns(source, wanted, max_rows)
    marks = Marks(source.separator, decimal)
    marks.learn_numbers(zip(names, columns, strict=True))
    kinds: dict[str, Kind] = {}
    values: dict[str, Any] = {}
    said = {}
    for name, array in zip(names, columns, strict=True):
        look = roles.look(name, array, marks.mark)
        kinds[name] = "date" if look.writes_dates or (name == date and look.kind != "empty") else look.kind
        if name == market:
            kinds[name] = "text"
        values[name], given = _read(array, kinds[name], marks.mark, source.separator)
        lost = np.flatnonzero(given & pd.isna(values[name]))
        if len(lost):
            said[name] = {int(i) + 1: str(array[int(i)].as_py()) for i in lost}
    height = len(columns[0]) if columns else 0
    frame = pd.DataFrame(values, index=pd.RangeIndex(1, height + 1))
    return Raw(source.label, kinds, frame, {name: len(rows) for name, rows in said.items()}, said)


def _columns(source: Source, wanted: list[int], max_rows: int) -> list[Any]:
    blocks: list[Any] = []
    height = 0
    for block in source.blocks(wanted):
        blocks.append(block)
        height += len(block[0]) if len(block) else 0
        if height >= max_rows:
            break
    return [_joined([block[i] for block in blocks]).slice(0, max_rows) for i in range(len(wanted))]


def _joined(parts: list[Any]) -> Any:
    """Blocks of one column as one array; of one type, or all as text."""
    if not parts:
        return pa.nulls(0)
    if len({part.type for part in parts}) > 1:
        parts = [cells.array_of(part.to_pylist()).cast(pa.string()) for part in parts]
    return pa.concat_arrays(parts)


def _read(array: Any, kind: Kind, mark: numerals.Decimal, separator: str) -> tuple[Any, Any]:
    """The column's values, and which cells say something."""
    given = ~np.asarray(array.is_null())
    if cells.is_text(array):
        given = ~np.asarray(numerals.missing_as_null(array).is_null())
    if kind == "number":
        return cells.to_numbers(array, mark)[0], given
    if kind == "date":
        known = numerals.missing_as_null(array).unique().drop_null().to_pylist() if cells.is_text(array) else []
        order = dates.order_of(islice(known, 10_000), separator)
        return cells.to_dates(array, order is not None and order.day_first)[0], given
    return pd.Series(cells.to_markets(array), dtype="str").to_numpy(), given
