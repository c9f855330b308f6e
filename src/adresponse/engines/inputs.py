"""How does a table to be scored give its rows? Block by block, each column as its source holds it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from adresponse.engines.places import parquet_files, said_by_folders
from adresponse.errors import TableError
from adresponse.findings import Finding
from adresponse.reading import cells, textfile
from adresponse.reading.paths import path_of
from adresponse.reading.source import Rows, check_names
from adresponse.reading.sources import BLOCK_ROWS, only_for, open_rows, open_source

__all__ = ["Block", "Input", "feature_array", "open_input", "text_size"]

Block = Sequence[Any]
"""One column each: an Arrow array where the source has types or is text, else a list of the source's own values."""


@dataclass(frozen=True)
class Input:
    """An opened table to be scored.

    Parameters
    ----------
    label : str
        What it is, for people; without secrets.
    names : tuple of str
        Its columns; one without a name is called ``column 3`` after its place.
    blocks : iterator of Block
        All rows, once.
    place : callable
        Where a data row (from 1) lies: ``line 4 of spend.csv``.
    total : int, optional
        Number of rows, where the source says it.
    count : callable
        Counts the rows in a pass of its own, where that is possible; else None.
    ahead : callable
        Gives some columns, block by block, in a pass of its own; nothing for a source without such a pass.
    size : int
        Bytes of a text file; 0 for any other source.
    separator : str
        What parts the cells of a text file; empty for any other source.
    typed : bool
        Whether the source's columns have types that can be kept (Parquet).
    findings : tuple of Finding
        What opening it had to decide.
    """

    label: str
    names: tuple[str, ...]
    blocks: Iterator[Block]
    place: Callable[[int], str]
    total: int | None = None
    count: Callable[[], int | None] = lambda: None
    ahead: Callable[[Sequence[int]], Iterator[Block]] = lambda wanted: iter(())
    size: int = 0
    separator: str = ""
    typed: bool = False
    findings: tuple[Finding, ...] = ()

    def share(self, rows: int, size: int) -> float | None:
        """Share of the table that these rows, which take about ``size`` bytes as text, make up; None if not known."""
        if self.total:
            return min(rows / self.total, 1.0)
        return min(size / self.size, 1.0) if self.size else None


def open_input(
    source: str | Path, *, sheet: str | None = None, query: str | None = None, sql_table: str | None = None
) -> AbstractContextManager[Input]:
    """Open a text file, Parquet (a file, a folder or a pattern), an Excel sheet or a database table."""
    if (rows := open_rows(source, query=query, sql_table=sql_table, sheet=sheet)) is not None:
        return _open_rows(rows)
    if files := parquet_files(source):
        only_for("sheet", sheet, "an Excel file")
        return _open_parquet(files, said_by_folders(source, files), str(source))
    return _open_text(path_of(source), sheet)


# --- rows of Python values: a sheet, a database


@contextmanager
def _open_rows(opened: AbstractContextManager[Rows]) -> Iterator[Input]:
    with opened as rows:
        yield Input(rows.label, _named(rows.names), rows.blocks(), rows.place, findings=rows.findings)


# --- Parquet


@contextmanager
def _open_parquet(files: Sequence[Path], said: Mapping[str, Sequence[str | None]], label: str) -> Iterator[Input]:
    with ExitStack() as stack:
        opened = [stack.enter_context(_parquet(path)) for path in files]
        schema = opened[0].schema_arrow
        for path, file in zip(files, opened, strict=True):
            if not file.schema_arrow.equals(schema):
                raise TableError(f"{path} has other columns or types than {files[0]}; score them one by one.")
        more = {name: values for name, values in said.items() if name not in schema.names}
        heights = [file.metadata.num_rows for file in opened]
        yield Input(
            label,
            _named(check_names([*schema.names, *more], label)),
            _parquet_blocks(opened, list(more.values())),
            _place_among(files, heights),
            total=sum(heights),
            typed=True,
        )


def _parquet(path: Path) -> Any:
    try:
        return pq.ParquetFile(pa.OSFile(os.fsencode(path)))
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{path} is not a readable Parquet file; write it anew.") from error


def _parquet_blocks(opened: Sequence[Any], more: Sequence[Sequence[str | None]]) -> Iterator[Block]:
    for i, file in enumerate(opened):
        said = [pa.scalar(values[i], pa.string()) for values in more]
        try:
            for batch in file.iter_batches(BLOCK_ROWS):
                yield [*batch.columns, *(pa.repeat(value, batch.num_rows) for value in said)]
        except (pa.ArrowException, OSError) as error:
            raise TableError(
                f"A Parquet file cannot be read to its end ({str(error).splitlines()[0]}); write it anew."
            ) from error


def _place_among(files: Sequence[Path], heights: Sequence[int]) -> Callable[[int], str]:
    if len(files) == 1:
        return lambda row: files[0].name

    def place(row: int) -> str:
        index = next(i for i, end in enumerate(accumulate(heights)) if row <= end)
        return f"row {row - sum(heights[:index])} of {files[index].name}"

    return place


# --- text


@contextmanager
def _open_text(path: Path, sheet: str | None) -> Iterator[Input]:
    with open_source(path, sheet=sheet) as opened:
        yield Input(
            opened.label,
            _named(opened.names),
            opened.blocks(range(len(opened.names))),
            _Lines(path).place,
            count=lambda: sum(len(first) for (first,) in opened.blocks([0])),
            ahead=opened.blocks,
            size=path.stat().st_size,
            separator=opened.separator,
            findings=opened.findings,
        )


class _Lines:
    """Finds the lines of data rows, in ascending order, in one pass over the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: Iterator[int] | None = None
        self._row = 0

    def place(self, row: int) -> str:
        """``line 4 of spend.csv``."""
        if self._lines is None or row <= self._row:
            self._lines = (line for line, _ in textfile.data_records(textfile.recognise(self._path)))
            self._row = 0
        line = next(islice(self._lines, row - self._row - 1, None), 0)
        self._row = row
        return f"line {line} of {self._path.name}"


def _named(names: Sequence[str]) -> tuple[str, ...]:
    """The names, with one for each column that has none, which no other column has."""
    taken = {name.casefold() for name in names}
    named = []
    for place, name in enumerate(names, 1):
        made = f"column {place}"
        while made in taken:
            made += " (unnamed)"
        named.append(name or made)
    return tuple(named)


# --- what a column holds


def feature_array(column: Any) -> Any:
    """A column as the Arrow array that ``reading`` takes numbers from."""
    return cells.array_of(column) if isinstance(column, list) else cells.plain(column)


def text_size(columns: Block) -> int:
    """About how many bytes these text columns take in their file."""
    return sum((pc.sum(pc.binary_length(c), min_count=0).as_py() or 0) + len(c) for c in columns if cells.is_text(c))
