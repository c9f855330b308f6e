"""How are answered rows written? Beside the output first, and put in its place only when whole."""

from __future__ import annotations

import csv
import io
import json
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from adresponse.engines.places import part_beside
from adresponse.errors import TableError

__all__ = ["Columns", "Form", "Typed", "Writer", "as_text", "open_output", "refuse_long_sheet"]

EXCEL_ROWS = 1_048_576  # of a sheet, its header among them (Microsoft's specification of .xlsx)
EXCEL_TEXT = 32_767  # characters of a cell
EXCEL_DIGITS = 10**15  # whole numbers beyond lose digits in a sheet
FIRST_YEAR = 1900  # of a sheet's dates

Columns = Sequence[Any]
"""Arrow arrays, lists of Python values, or float64 vectors, of one length."""


class Writer(Protocol):
    """Takes block after block."""

    def write(self, columns: Columns) -> None:
        """Append rows, one column for each name that the output was opened with."""


@dataclass(frozen=True)
class Form:
    """What an output should look like.

    Parameters
    ----------
    names : tuple of str
        All columns, the answers last.
    numbers : frozenset of str
        Columns that are written as float64 whatever their source held: the answers, and the model's columns where the
        source has no types of its own.
    separator, decimal : str
        What parts the cells of a text, and the decimal mark of the answers in it.
    about : dict of str to str
        Which model answered; kept where the format can.
    """

    names: tuple[str, ...]
    numbers: frozenset[str]
    separator: str = ","
    decimal: str = "."
    about: dict[str, str] | None = None


def open_output(path: Path, form: Form) -> AbstractContextManager[Writer]:
    """A writer of the kind that the path's ending names."""
    kinds: dict[str, Callable[[Path, Form], AbstractContextManager[Writer]]] = {
        ".csv": _open_text,
        ".tsv": _open_text,
        ".parquet": _open_parquet,
        ".pq": _open_parquet,
        ".xlsx": _open_excel,
    }
    return kinds[path.suffix.lower()](path, form)


# --- text


@contextmanager
def _open_text(path: Path, form: Form) -> Iterator[Writer]:
    with part_beside(path) as part, part.open("wb") as file:
        yield _Text(file, form)


class _Text:
    """Separated text, UTF-8; cells that need quotes get them, numbers are the shortest that reads back the same."""

    def __init__(self, file: Any, form: Form) -> None:
        self._file = file
        self._form = form
        self._by_hand(self._file, [[name] for name in form.names])

    def write(self, columns: Columns) -> None:
        import pyarrow as pa
        import pyarrow.csv as pacsv

        arrays = [self._cells(c) for c in columns]
        if any(isinstance(a, list) or _needs_quotes(a, self._form.separator) for a in arrays):
            self._by_hand(self._file, [a if isinstance(a, list) else a.to_pylist() for a in arrays])
            return
        options = pacsv.WriteOptions(include_header=False, delimiter=self._form.separator, quoting_style="none")
        pacsv.write_csv(pa.table(arrays, names=[str(i) for i in range(len(arrays))]), self._file, write_options=options)

    def _cells(self, column: Any) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        if isinstance(column, list):
            return [as_text(v) for v in column]
        if not isinstance(column, np.ndarray):
            simple = pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or _plain_number(column.type)
            return column if simple else [as_text(v) for v in column.to_pylist()]
        array = pa.array(column)
        return array if self._form.decimal == "." else pc.replace_substring(array.cast(pa.string()), ".", ",")

    def _by_hand(self, file: Any, columns: Sequence[list[Any]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=self._form.separator, lineterminator="\n")
        writer.writerows(zip(*columns, strict=True))
        file.write(text.getvalue().encode("utf-8", "surrogatepass"))


def _plain_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_float32(kind) or pa.types.is_float64(kind))


def _needs_quotes(array: Any, separator: str) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return False
    return bool(pc.any(pc.match_substring_regex(array, f'["\r\n{"|" if separator == "|" else separator}]')).as_py())


def as_text(value: object) -> object:
    """A value as a text file holds it; what has parts, as JSON."""
    if value is None or (isinstance(value, int | str) and not isinstance(value, bool)):
        return value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


# --- Parquet


@contextmanager
def _open_parquet(path: Path, form: Form) -> Iterator[Writer]:
    with part_beside(path) as part:
        writer = _Parquet(part, form)
        try:
            yield writer
        finally:
            writer.close()


class _Parquet:
    """One Parquet file; its types are those of the first block."""

    def __init__(self, part: Path, form: Form) -> None:
        self._part = part
        self._form = form
        self._typed = Typed(form, "a Parquet column")
        self._writer: Any = None

    def write(self, columns: Columns) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        arrays = self._typed.arrays(columns)
        if self._writer is None:
            fields = list(zip(self._form.names, self._typed.kinds, strict=True))
            self._writer = pq.ParquetWriter(self._part, pa.schema(fields, metadata=self._form.about or None))
        schema = self._writer.schema
        self._writer.write_batch(pa.record_batch(arrays, schema=schema), row_group_size=1 << 17)

    def close(self) -> None:
        """Write the file's end."""
        if self._writer is not None:
            self._writer.close()


# --- types


class Typed:
    """Block after block as Arrow arrays; the types are those of the first block.

    Parameters
    ----------
    form : Form
        The output.
    what : str
        What has one type: ``a Parquet column``.
    alike : callable
        Whether values of a type need no cast where the first is that of the column.
    """

    def __init__(self, form: Form, what: str, alike: Callable[[Any, Any], bool] = operator.eq) -> None:
        self.kinds: list[Any] = []
        self._form = form
        self._what = what
        self._alike = alike
        self._rows = 0

    def arrays(self, columns: Columns) -> list[Any]:
        """The columns of a block under the types of the first, or a refusal of values that these cannot hold."""
        arrays = [as_arrow(c, name in self._form.numbers) for name, c in zip(self._form.names, columns, strict=True)]
        self.kinds = self.kinds or [_kept_type(a.type) for a in arrays]
        kept = [self._kept(*each) for each in zip(self._form.names, arrays, self.kinds, strict=True)]
        self._rows += len(arrays[0])
        return kept

    def _kept(self, name: str, array: Any, kind: Any) -> Any:
        import pyarrow as pa

        if self._alike(kind, array.type):
            return array
        try:
            cast = array.cast(kind)
            if pa.types.is_string(kind) or (_is_kin(array.type, kind) and cast.cast(array.type).equals(array)):
                return cast
        except pa.ArrowException:
            pass
        raise TableError(
            f"Column {name!r} holds {array.type} from row {self._rows + 1} on and {kind} before, and {self._what} has one "
            f"type; write .csv or .xlsx."
        )


def _is_kin(kind: Any, other: Any) -> bool:
    """Whether values of one type may be meant by the other; Arrow would make a moment of a number, and true of 7."""
    import pyarrow as pa

    def is_number(t: Any) -> bool:
        return bool(pa.types.is_integer(t) or pa.types.is_floating(t) or pa.types.is_decimal(t))

    def is_day(t: Any) -> bool:
        return bool(pa.types.is_date(t) or pa.types.is_timestamp(t))

    return pa.types.is_null(kind) or (is_number(kind) and is_number(other)) or (is_day(kind) and is_day(other))


def as_arrow(column: Any, number: bool = False) -> Any:
    """A column as an Arrow array; objects and values without a common type become text, a ``number`` float64."""
    import pyarrow as pa

    if isinstance(column, list):
        try:
            made = pa.array(column)
            if _holds_objects(made.type):  # each would be given the keys of all
                raise TypeError
            column = made
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            column = pa.array([None if v is None else str(as_text(v)) for v in column], pa.string())
    elif isinstance(column, np.ndarray):
        column = pa.array(column)
    return column.cast(pa.float64()) if number and not pa.types.is_floating(column.type) else column


def _holds_objects(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_struct(kind) or (pa.types.is_list(kind) and _holds_objects(kind.value_type)))


def _kept_type(kind: Any) -> Any:
    """The type of a whole column whose first block has this one."""
    import pyarrow as pa

    if pa.types.is_null(kind):
        return pa.string()
    return pa.decimal128(38, kind.scale) if pa.types.is_decimal128(kind) else kind


# --- Excel


@contextmanager
def _open_excel(path: Path, form: Form) -> Iterator[Writer]:
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    book.properties.description = ", ".join((form.about or {}).values())
    sheet = book.create_sheet("predictions")
    writer = _Excel(sheet, form)
    try:
        with part_beside(path) as part:
            yield writer
            book.save(part)
    except BaseException:
        with suppress(Exception):
            sheet.close()
        raise


class _Excel:
    """One sheet; text that looks like a formula stays text."""

    def __init__(self, sheet: Any, form: Form) -> None:
        self._sheet = sheet
        self._form = form
        self._rows = 1
        self._sheet.append([self._cell(name, name) for name in form.names])

    def write(self, columns: Columns) -> None:
        refuse_long_sheet(self._rows - 1 + len(columns[0]))
        values = [c if isinstance(c, list) else c.tolist() if isinstance(c, np.ndarray) else c.to_pylist() for c in columns]
        for row in zip(*values, strict=True):
            self._rows += 1
            self._sheet.append([self._cell(n, v) for n, v in zip(self._form.names, row, strict=True)])

    def _cell(self, name: str, value: Any) -> Any:
        from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, float) and np.isfinite(value):
            return self._as_written(repr(value), "n")  # of its own accord openpyxl keeps 16 digits, a double has 17
        if isinstance(value, int | Decimal) and -EXCEL_DIGITS < value < EXCEL_DIGITS:
            return value
        dated = (isinstance(value, datetime) and value.tzinfo is None) or type(value) is date
        if dated and value.year >= FIRST_YEAR:
            return value
        text = ILLEGAL_CHARACTERS_RE.sub("\ufffd", str(as_text(value)))
        if len(text) > EXCEL_TEXT:
            raise TableError(
                f"Column {name!r}, row {self._rows - 1}: the text has {len(text):,} characters, and a cell of Excel holds "
                f"{EXCEL_TEXT:,}; write .csv or .parquet."
            )
        return self._as_written(text, "s")

    def _as_written(self, text: str, kind: str) -> Any:
        from openpyxl.cell import WriteOnlyCell

        cell = WriteOnlyCell(self._sheet)
        cell._value, cell.data_type = text, kind
        return cell


def refuse_long_sheet(rows: int) -> None:
    """Refuse more rows than a sheet of Excel holds."""
    if rows > EXCEL_ROWS - 1:
        raise TableError(
            f"A sheet of Excel holds {EXCEL_ROWS - 1:,} rows below its header, and there are more; write .csv or .parquet."
        )
