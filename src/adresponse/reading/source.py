"""What does every kind of source hand on, and what must its column names keep?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from adresponse import words
from adresponse.errors import TableError, did_you_mean
from adresponse.findings import Finding
from adresponse.reading import cells, numerals
from adresponse.reading.paths import refuse_unreachable

__all__ = [
    "FIRST_ROWS",
    "Block",
    "Rows",
    "Source",
    "check_names",
    "header_at",
    "refuse_missing_file",
    "refuse_numbers_as_names",
    "titles",
]

Block = Sequence[Any]
"""Arrow arrays of one length, one per column."""

ROWS_AT_ONCE = 10_000  # of a sheet or a database, which come as Python values
FIRST_ROWS = 50  # among which the column names are looked for


@dataclass(frozen=True)
class Source:
    """An opened source: its columns, its first block, and a way to stream the wanted columns from the beginning.

    ``place`` says where a data row (counted from 1) lies in a file, ``separator`` what parts the cells of a text.
    """

    label: str
    names: tuple[str, ...]
    head: Block
    blocks: Callable[[Sequence[int]], Iterator[Block]]
    place: Callable[[int], str] = lambda row: ""
    separator: str = ""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Rows:
    """What an opened sheet or database gives: rows of Python values, once. ``place`` as in ``Source``."""

    label: str
    names: tuple[str, ...]
    rows: Iterator[Sequence[Any]]
    place: Callable[[int], str]
    findings: tuple[Finding, ...] = ()

    def blocks(self) -> Iterator[list[list[Any]]]:
        """All rows, block by block: the values of each column."""
        while taken := list(islice(self.rows, ROWS_AT_ONCE)):
            yield [list(column) for column in zip(*taken, strict=True)]

    def source(self) -> Source:
        """The same as a source, whose blocks can be streamed once."""
        every = ([cells.array_of(column) for column in block] for block in self.blocks())
        head = next(every, [pa.nulls(0)] * len(self.names))

        def blocks(wanted: Sequence[int]) -> Iterator[Block]:
            for block in chain([head], every):
                yield [block[i] for i in wanted]

        return Source(self.label, self.names, head, blocks, self.place, findings=self.findings)


def refuse_missing_file(path: Path) -> None:
    """Refuse a path where nothing lies, and suggest the nearest name in its folder."""
    refuse_unreachable(path)
    if path.name == "-" and not path.exists():
        raise TableError("Standard input is no table, since a table is read more than once; save it to a file, and give that.")
    if path.exists():
        return
    if not path.parent.is_dir():
        raise TableError(f"{path} is not there: the folder {path.parent} does not exist; check the path.")
    near = ""
    with suppress(OSError):  # a folder may be entered and not be listed
        near = did_you_mean(path.name, (p.name for p in path.parent.iterdir()))
    raise TableError(f"{path} is not there: no such file.{near}")


def check_names(names: Sequence[object], label: str) -> tuple[str, ...]:
    """The column names, trimmed, or a refusal where there is none or two columns share one."""
    trimmed = tuple("" if name is None else str(name).strip() for name in names)
    if not trimmed:
        raise TableError(f"{label} has no columns; give a table with column names and rows.")
    for position, name in enumerate(trimmed):
        if name and name in trimmed[:position]:
            raise TableError(
                f"Two columns are named {name!r} (columns {trimmed.index(name) + 1} and {position + 1}); "
                f"give each column its own name."
            )
    return trimmed


def header_at(rows: Sequence[Sequence[str]]) -> int:
    """Which of the first rows holds the column names: a title has one cell, names over groups of columns have gaps."""
    cells_of = [numerals.missing_as_null(pa.array(row, pa.string())).drop_null() for row in rows]
    for i, (given, below) in enumerate(zip_longest(cells_of, cells_of[1:])):
        group = below is not None and len(given) < len(below) and not pc.any(numerals.like_numbers(below)).as_py()
        if len(given) > 1 and not group:
            return i
    return 0


def titles(label: str, rows: Sequence[Sequence[str]]) -> tuple[Finding, ...]:
    """That rows with something in them lie before the column names (D017)."""
    said = [text for row in rows for cell in row if (text := cell.strip())]
    if not said:
        return ()
    found = f"The column names of {label} were found below {words.count(len(rows), 'row')} ({said[0]!r})."
    return (Finding("D017", "note", found, "Take away what stands above the column names, if others are meant."),)


def refuse_numbers_as_names(names: Sequence[str], label: str) -> None:
    """Refuse a header in which every name is a number: it is a row, and the header is missing."""
    given = numerals.missing_as_null(pa.array(names, pa.string())).drop_null()
    if len(given) and pc.all(numerals.like_numbers(given)).as_py():
        raise TableError(f"{label} has numbers where its column names belong; put a line of column names first.")
