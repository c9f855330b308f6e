"""How does an Excel sheet give its rows? Streamed, first sheet unless another is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import openpyxl

from adresponse.errors import TableError, did_you_mean
from adresponse.findings import Finding
from adresponse.reading.paths import shown
from adresponse.reading.source import FIRST_ROWS, Rows, check_names, header_at, refuse_numbers_as_names, titles

__all__ = ["open_excel"]


@contextmanager
def open_excel(path: Path, sheet: str | None) -> Iterator[Rows]:
    """Open one sheet of a workbook; its first row with values that is no title holds the column names."""
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # openpyxl lets errors of zip, XML and its own descriptors through
        raise TableError(f"{path} is not a readable Excel file; save it anew as .xlsx.") from error
    with closing(book):
        yield _open_sheet(book, path, sheet)


def _open_sheet(book: Any, path: Path, sheet: str | None) -> Rows:
    names = [s.title for s in book.worksheets]
    title = _sheet_name(names, path, sheet)
    rows = _rows_of(book, title, path)
    label = shown(path) if sheet is None else f"{shown(path)}, sheet {title!r}"
    first = list(islice(rows, FIRST_ROWS))
    skipped, header = _header_of(first, f"{path}, sheet {title!r},")
    return Rows(
        label,
        check_names(header, label),
        _full_rows(chain(first[skipped + 1 :], rows), len(header), title, skipped + 1),
        place=lambda row: f"row {row + skipped + 1} of sheet {title!r} in {path.name}",
        findings=(
            *(() if sheet is not None or len(names) == 1 else (_first_sheet(path, names),)),
            *titles(label, [_texts(row) for row in first[:skipped]]),
        ),
    )


def _sheet_name(names: Sequence[str], path: Path, sheet: str | None) -> str:
    """The sheet that was asked for, the first where none was, or a refusal that lists them."""
    if not names:
        raise TableError(f"{path} has no sheet of cells; give a workbook with a table.")
    if sheet is None:
        return names[0]
    if sheet not in names:
        shown = ", ".join(map(repr, names))
        raise TableError(f"{path} has no sheet {sheet!r}.{did_you_mean(sheet, names)} It has: {shown}.")
    return sheet


def _rows_of(book: Any, title: str, path: Path) -> Iterator[Sequence[Any]]:
    """The rows of a sheet, which is read only now, or a refusal of one that is broken within."""
    try:
        page = book[title]
        page.reset_dimensions()
        yield from page.iter_rows(values_only=True)
    except Exception as error:  # of zip and XML, as above
        raise TableError(f"Sheet {title!r} of {path} cannot be read to its end; save it anew as .xlsx.") from error


def _first_sheet(path: Path, names: Sequence[str]) -> Finding:
    """What is to be said where the first of several sheets was read (D017)."""
    return Finding(
        "D017",
        "note",
        f"{path.name} has {len(names)} sheets; the first, {names[0]!r}, was read.",
        "Name another with --sheet.",
    )


def _header_of(first: Sequence[Sequence[Any]], label: str) -> tuple[int, list[Any]]:
    """How many rows lie before the column names, and these."""
    given = [i for i, row in enumerate(first) if _trimmed(row)]
    if not given:
        raise TableError(f"{label} is empty; give a table with column names and rows.")
    skipped = given[header_at([_texts(first[i]) for i in given])]
    header = _trimmed(first[skipped])
    refuse_numbers_as_names(_texts(header), label)
    return skipped, header


def _texts(row: Sequence[Any]) -> list[str]:
    return ["" if value is None else str(value) for value in row]


def _trimmed(row: Sequence[Any]) -> list[Any]:
    values = list(row)
    while values and values[-1] is None:
        values.pop()
    return values


def _full_rows(rows: Iterator[Sequence[Any]], width: int, title: str, before: int) -> Iterator[Sequence[Any]]:
    """Rows of the header's width; empty rows count only where others follow."""
    empty = 0
    for number, row in enumerate(rows, before + 1):
        values = _trimmed(row)
        if len(values) > width:
            raise TableError(
                f"Row {number} of sheet {title!r} has {len(values)} cells where the header has {width}; "
                f"give every row one cell per column."
            )
        if not values:
            empty += 1
            continue
        yield from ([None] * width for _ in range(empty))
        empty = 0
        yield values + [None] * (width - len(values))
