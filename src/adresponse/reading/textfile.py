"""How is this text file laid out? Encoding, cell separator and header are recognised, then Arrow streams its rows."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from adresponse.errors import TableError
from adresponse.reading import numerals
from adresponse.reading.paths import shown
from adresponse.reading.source import FIRST_ROWS, Block, Source, check_names, header_at, refuse_numbers_as_names, titles

__all__ = ["data_records", "open_text", "recognise", "refuse_numbers_as_names"]

_BLOCK_BYTES = 1 << 20
_SAMPLE_CHARACTERS = 1 << 20
_SEPARATORS = ",;\t|"
_BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_EXCEL_HINT = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """How a text file is written, what stands before its column names, and where its data begin (byte, lines before)."""

    path: Path
    encoding: str
    quoted: bool
    separator: str
    names: tuple[str, ...]
    data_byte: int
    header_line: int
    above: tuple[list[str], ...]


def open_text(path: Path) -> Source:
    """A text file as a source; every cell is text."""
    layout = recognise(path)
    if not (width := len(layout.names)):
        raise TableError(f"{path} is empty; give a table with column names and rows.")

    def blocks(wanted: Sequence[int]) -> Iterator[Block]:
        return _blocks(layout, wanted)

    return Source(
        shown(path),
        check_names(layout.names, shown(path)),
        next(blocks(range(width)), [pa.nulls(0)] * width),
        blocks,
        place=lambda row: f"line {_line_of(layout, row)} of {path.name}",
        separator=layout.separator,
        findings=titles(shown(path), layout.above),
    )


def recognise(path: Path) -> Layout:
    """How the file is laid out, or a refusal of what is no text."""
    with path.open("rb") as file:
        start = file.read(4)
    bom = next((b for b in _BOMS if start.startswith(b)), b"")
    encoding = _BOMS.get(bom) or ("utf-8" if _decodes(path, "utf-8") else "cp1252")
    if (bom or encoding == "cp1252") and not _decodes(path, encoding, len(bom)):
        raise TableError(f"{path} is not a table: it holds bytes that are no text; give a CSV, Parquet or Excel file.")
    with _text(path, encoding, len(bom)) as text:
        sample = text.read(_SAMPLE_CHARACTERS)
        whole = not text.read(1)
    hint = _EXCEL_HINT.match(sample)
    before = hint.end() if hint else 0
    separator = hint[1] if hint else _separator(_complete_lines(sample, whole))
    if not (separator == "\t" or (separator.isascii() and separator.isprintable())):
        raise TableError(
            f"The first line of {path} names {separator!r} as what parts its cells, and that cannot; "
            "save it with commas, semicolons or tabs."
        )
    header_byte = len(bom) + len(sample[:before].encode(encoding))
    above, names, after, lines = _header(sample[before:], separator)
    data_byte = header_byte + len(sample[before : before + after].encode(encoding))
    layout = Layout(path, encoding, _quotes(path), separator, tuple(names), data_byte, lines + bool(hint), tuple(above))
    if layout.quoted and (encoding.startswith("utf-16") or _may_span_lines(path, header_byte, separator)):
        _refuse_open_quotes(layout, header_byte, bool(hint))
    refuse_numbers_as_names(names, str(path))
    return layout


def _chunks(path: Path, start: int = 0, size: int = 8 << 20) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while chunk := file.read(size):
            yield chunk


def _decodes(path: Path, encoding: str, start: int = 0) -> bool:
    """Whether the whole file is text in this encoding (a zero byte is none)."""
    decoder = codecs.getincrementaldecoder(encoding)()
    wide = encoding.startswith("utf-16")
    try:
        for chunk in _chunks(path, start):
            if not wide and b"\0" in chunk:
                return False
            if wide or not chunk.isascii() or decoder.getstate()[0]:
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _quotes(path: Path) -> bool:
    return any(b'"' in chunk for chunk in _chunks(path))


def _may_span_lines(path: Path, start: int, separator: str) -> bool:
    """Whether a line may end within a quoted cell; for sure not where every quote pairs off in plain sight.

    As long as every other quote stands where a cell begins, or right after a quote, a parser is within quotes where an odd
    number of them lies behind it.
    """
    may_open_after = np.zeros(256, bool)
    may_open_after[list(b'"\r\n' + separator.encode())] = True
    odd, last = 0, b"\n"
    for chunk in _chunks(path, start, 1 << 18):  # fits into a processor's cache
        if odd or b'"' in chunk:
            data = np.frombuffer(last + chunk, np.uint8)
            quotes = np.flatnonzero(data[1:] == ord('"')) + 1
            if not may_open_after[data[quotes[odd::2] - 1]].all():
                return True
            for end in b"\r\n":
                ends = np.flatnonzero(data[1:] == end) + 1
                if ((np.searchsorted(quotes, ends) + odd) % 2).any():
                    return True
            odd = (odd + len(quotes)) % 2
        last = chunk[-1:]
    return False


def _refuse_open_quotes(layout: Layout, start: int, before: int) -> None:
    """Refuse a row of several lines that breaks the rules of quoting: a quote left open swallows the rows after it.

    A row of one line swallows nothing, so a stray quote in it is a character like any other.
    """
    with _text(layout.path, layout.encoding, start) as text, suppress(csv.Error):
        deque(csv.reader(text, delimiter=layout.separator, strict=True), maxlen=0)
        return
    lines: list[str] = []
    with _text(layout.path, layout.encoding, start) as text:
        reader = csv.reader(_kept(text, lines), delimiter=layout.separator)
        while True:
            before += len(lines)
            lines.clear()
            try:
                next(reader)
                if len(lines) > 1:
                    next(csv.reader(lines, delimiter=layout.separator, strict=True))
            except StopIteration:
                return
            except csv.Error as error:
                if len(lines) == 1 and lines[0].count('"') % 2 == 0:
                    continue  # a long cell, which ends in its line
                raise TableError(
                    f"The row that begins in line {before + 1} of {layout.path.name} has a quote that is not closed where its "
                    f"cell ends ({error}); close it, or double a quote that belongs to the cell."
                ) from error


def _kept(lines: Iterable[str], used: list[str]) -> Iterator[str]:
    """The lines, each put aside as it is used."""
    for line in lines:
        used.append(line)
        yield line


def _text(path: Path, encoding: str, start: int) -> io.TextIOWrapper:
    file = path.open("rb")
    file.seek(start)
    return io.TextIOWrapper(file, encoding, newline="")


def _complete_lines(sample: str, whole: bool) -> str:
    return sample if whole else sample[: max(sample.rfind("\n"), sample.rfind("\r")) + 1] or sample


def _separator(sample: str) -> str:
    """The separator under which most lines are as wide as the header, most cells are numbers, most columns result."""
    scored = [(score, sep) for sep in _SEPARATORS if (score := _score(sample, sep)) is not None]
    return max(scored, key=lambda pair: pair[0])[1] if scored else ","


def _score(sample: str, separator: str) -> tuple[float, float, int] | None:
    records = [record for _, record in islice(_records(io.StringIO(sample, newline=""), separator), 200)]
    records = records[header_at(records[:FIRST_ROWS]) :]
    width = len(records[0]) if records else 0
    if width < 2:
        return None
    body = records[1:]
    cells = numerals.missing_as_null(pa.array([cell for record in body for cell in record], pa.string()))
    numeric = pc.mean(numerals.like_numbers(cells)).as_py() or 0.0
    consistent = sum(len(record) == width for record in body) / max(len(body), 1)
    return consistent, numeric, width


def _records(lines: Iterable[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """The records that are not empty, each with the number of its first line."""
    reader = csv.reader(lines, delimiter=separator)
    first = 1
    try:
        for record in reader:
            if record:
                yield first, record
            first = reader.line_num + 1
    except csv.Error:
        return


def _header(sample: str, separator: str) -> tuple[list[list[str]], list[str], int, int]:
    """The records above the column names, these, and how many characters and lines all of them take."""
    used: list[str] = []
    first, ends = [], []
    for _, record in islice(_records(_kept(io.StringIO(sample, newline=""), used), separator), FIRST_ROWS):
        first.append(record)
        ends.append(len(used))
    if not first:
        return [], [], 0, 0
    at = header_at(first)
    return first[:at], first[at], sum(map(len, used[: ends[at]])), ends[at]


def _blocks(layout: Layout, wanted: Sequence[int]) -> Iterator[Block]:
    keys = [str(i) for i in range(len(layout.names))]
    try:
        with pa.OSFile(os.fsencode(layout.path)) as file:  # a name as text would have to be UTF-8
            file.seek(layout.data_byte)
            for batch in _reader(file, layout, keys, [keys[i] for i in wanted]):
                yield batch.columns
    except pa.ArrowInvalid as error:
        if "Empty CSV file" not in str(error):
            raise _refusal(layout, error) from error


def _reader(file: Any, layout: Layout, keys: list[str], wanted: list[str]) -> Any:
    return pacsv.open_csv(
        file,
        pacsv.ReadOptions(column_names=keys, encoding=layout.encoding, block_size=_BLOCK_BYTES),
        pacsv.ParseOptions(delimiter=layout.separator, newlines_in_values=layout.quoted),
        pacsv.ConvertOptions(column_types=dict.fromkeys(keys, pa.string()), include_columns=wanted),
    )


def data_records(layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """The records after the header, each with the number of its first line."""
    with _text(layout.path, layout.encoding, layout.data_byte) as lines:
        for line, record in _records(lines, layout.separator):
            yield line + layout.header_line, record


def _line_of(layout: Layout, row: int) -> int:
    return next(islice(data_records(layout), row - 1, None), (0, []))[0]


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _refusal(layout: Layout, error: Exception) -> TableError:
    width = len(layout.names)
    for row, (line, record) in enumerate(data_records(layout), 1):
        if len(record) != width:
            return TableError(
                f"Row {row} (line {line} of {layout.path.name}) has {_cells(len(record))}, the header {width}; "
                f"give every row one cell per column, and quote cells that hold {layout.separator!r}."
            )
    return TableError(f"{layout.path} cannot be read as a table: {str(error).splitlines()[0].rstrip('.')}.")
