"""What is this source, and how does it give its cells block by block?"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adresponse.errors import ConfigError, TableError
from adresponse.reading import cells
from adresponse.reading.paths import path_of, shown
from adresponse.reading.source import Block, Rows, Source, check_names, refuse_missing_file

__all__ = ["only_for", "open_rows", "open_source"]

BLOCK_ROWS = 65_536
_MAGIC = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"PK\x03\x04": "a zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file; save it as .xlsx",
    b"SQLite format 3": "a SQLite database; give it as sqlite:///path",
    b"ARROW1": "a Feather file; save it as Parquet",
    b"FEA1": "a Feather file; save it as Parquet",
}
_JSON = re.compile(rb"\s*[\[{]\s*[\[{\"]")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def open_source(
    source: object, *, query: str | None = None, sql_table: str | None = None, sheet: str | None = None
) -> AbstractContextManager[Source]:
    """Open whatever was given: a path, a database URL, or a pandas, polars or Arrow table."""
    if (rows := open_rows(source, query=query, sql_table=sql_table, sheet=sheet)) is not None:
        return _once(rows)
    if isinstance(source, str | Path):
        return _open_file(path_of(source), sheet)
    only_for("sheet", sheet, "an Excel file")
    return nullcontext(_open_frame(source))


def open_rows(
    source: object, *, query: str | None, sql_table: str | None, sheet: str | None
) -> AbstractContextManager[Rows] | None:
    """Open what gives rows of Python values, a database or an Excel file; None for anything else."""
    if isinstance(source, str) and _URL.match(source):
        from adresponse.reading.database import open_database

        only_for("sheet", sheet, "an Excel file")
        return open_database(source, query, sql_table)
    only_for("query", query, "a database URL")
    only_for("sql_table", sql_table, "a database URL")
    if isinstance(source, str | Path) and _is_workbook(path := path_of(source)):
        from adresponse.reading.excel import open_excel

        return open_excel(path, sheet)
    return None


def only_for(name: str, value: object, kind: str) -> None:
    """Refuse an argument that was given for a source of another kind."""
    if value is not None:
        raise ConfigError(f"{name}={value!r} is for {kind}; leave it out for this source.")


def _is_workbook(path: Path) -> bool:
    return path.suffix.lower() in {".xlsx", ".xlsm"} and path.is_file() and _first_bytes(path).startswith(b"PK\x03\x04")


@contextmanager
def _once(opened: AbstractContextManager[Rows]) -> Iterator[Source]:
    with opened as rows:
        yield rows.source()


def _open_file(path: Path, sheet: str | None) -> AbstractContextManager[Source]:
    start = _first_bytes(path)
    only_for("sheet", sheet, "an Excel file")
    if start.startswith(b"PAR1"):
        return _open_parquet(path)
    _refuse_binary(path, start)
    from adresponse.reading.textfile import open_text

    return nullcontext(open_text(path))


def _first_bytes(path: Path) -> bytes:
    refuse_missing_file(path)
    if path.is_dir():
        raise TableError(f"{path} is a directory; give the path of one table file in it.")
    if not path.is_file():
        raise TableError(f"{path} is a pipe or a device, and a table is read more than once; save it to a file first.")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except PermissionError as error:
        raise TableError(f"{path} cannot be opened: permission denied; make it readable.") from error
    except OSError as error:
        raise TableError(f"{path} cannot be opened ({error.strerror}); check the path.") from error
    if not start:
        raise TableError(f"{path} is empty (0 bytes); give a table with column names and rows.")
    return start


def _refuse_binary(path: Path, start: bytes) -> None:
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            raise TableError(f"{path} is not a table but {kind}.")
    if _JSON.match(start):
        raise TableError(f"{path} is not a table but JSON; save it as CSV or Parquet, or give its data frame in Python.")
    kinds = {".parquet": "Parquet", ".pq": "Parquet", ".xlsx": "Excel", ".xlsm": "Excel"}
    if (kind := kinds.get(path.suffix.lower(), "")) != "":
        raise TableError(f"{path} has the name of a file for {kind} but is none; write it anew, or rename it to what it is.")


@contextmanager
def _open_parquet(path: Path) -> Iterator[Source]:
    try:
        file = pq.ParquetFile(pa.OSFile(os.fsencode(path)))  # a name as text would have to be UTF-8
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{path} is not a readable Parquet file; write it anew.") from error
    with file:
        names = list(file.schema_arrow.names)

        def blocks(wanted: Sequence[int]) -> Iterator[Block]:
            columns = [names[i] for i in wanted]
            try:
                for batch in file.iter_batches(BLOCK_ROWS, columns=columns):
                    yield [cells.plain(batch.column(name)) for name in columns]
            except (pa.ArrowException, OSError) as error:
                said = str(error).splitlines()[0]
                raise TableError(f"{path} cannot be read to its end ({said}); write it anew.") from error

        checked = check_names(names, shown(path))
        head = next(blocks(range(len(names))), [pa.nulls(0) for _ in names])
        yield Source(shown(path), checked, head, blocks)


def _open_frame(frame: Any) -> Source:
    module = type(frame).__module__.split(".")[0]
    if module == "polars":
        frame = frame.collect() if hasattr(frame, "collect") else frame
        return _open_arrow(frame.to_arrow(), "polars data frame")
    if module == "pandas" and hasattr(frame, "columns"):
        return _open_pandas(frame)
    if isinstance(frame, pa.Table):
        return _open_arrow(frame, "Arrow table")
    raise TableError(f"A {type(frame).__name__} is no table; give a path, a database URL, or a pandas or polars data frame.")


def _open_arrow(table: Any, label: str) -> Source:
    def blocks(wanted: Sequence[int]) -> Iterator[Block]:
        for batch in table.to_batches(max_chunksize=BLOCK_ROWS):
            yield [cells.plain(batch.column(i)) for i in wanted]

    names = check_names(table.column_names, label)
    return Source(label, names, next(blocks(range(len(names))), [pa.nulls(0) for _ in names]), blocks)


def _open_pandas(frame: Any) -> Source:
    columns = [frame.iloc[:, i] for i in range(frame.shape[1])]
    names = list(frame.columns)
    dated = frame.index.dtype.kind == "M" or _is_period(frame.index)
    if dated and (name := frame.index.name or "date") not in names:
        columns.append(frame.index.to_series())
        names.append(name)

    def blocks(wanted: Sequence[int]) -> Iterator[Block]:
        for start in range(0, max(len(frame), 1), BLOCK_ROWS):
            yield [_array_of_series(columns[i].iloc[start : start + BLOCK_ROWS]) for i in wanted]

    checked = check_names(names, "pandas data frame")
    return Source("pandas data frame", checked, next(blocks(range(len(names)))), blocks)


def _is_period(values: Any) -> bool:
    return str(values.dtype).startswith("period")


def _array_of_series(series: Any) -> Any:
    if _is_period(series):
        series = series.dt.to_timestamp()
    if getattr(series.dtype, "tz", None) is not None:
        series = series.dt.tz_localize(None)
    if series.dtype == object or series.dtype.kind == "c" or str(series.dtype).startswith("Sparse"):
        return cells.array_of(series.tolist())
    return cells.plain(pa.array(series, from_pandas=True))
