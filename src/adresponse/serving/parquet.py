"""What does a Parquet body say? Columns as numpy's numbers or moments where the file has these, else as Python's values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adresponse.errors import RowsError
from adresponse.rows import Vector
from adresponse.serving.answers import RequestError
from adresponse.serving.careful import refuse_twice

__all__ = ["ParquetReader"]

UNPACKED = 32  # how many times larger than the largest body a Parquet file may become
NOT_A_TIME = -(2**63)  # what numpy's moments hold where there is none


class ParquetReader:
    """A reader of Parquet bodies, made for one model; it remembers the last one's layout, since a client's files are alike.

    Parameters
    ----------
    names : sequence of str
        The columns that the model reads.
    known : set of str
        All columns of the model's contract.
    numbers : bool
        Whether all that the model reads are numbers.
    max_body : int
        Bytes of the largest body; bounds what a file may unpack to.
    """

    def __init__(self, names: Sequence[str], known: set[str], numbers: bool, max_body: int) -> None:
        self._names = names
        self._known = known
        self._numbers = numbers
        self._max_body = max_body
        self._layout: _Layout | None = None

    def __call__(self, body: bytes) -> list[Vector] | dict[str, Any]:
        """The columns that the model reads, in order, where the file is plain; else all of its columns by name.

        Raises
        ------
        RowsError, RequestError
            Where it is no Parquet file, or one that is too large or has a name twice.
        """
        try:
            import pyarrow as pa
            from pyarrow.parquet import ParquetFile
        except ImportError:  # as in an image, which is small without it
            raise RequestError(
                415, "", "Parquet is read by pyarrow, which this server does not have; send JSON or CSV.", reason="content type"
            ) from None
        try:
            file = ParquetFile(pa.BufferReader(body), pre_buffer=False)
            meta = file.metadata
            layout = self._laid_out(file.schema_arrow)  # file.schema would be a cycle, which waits for the collector
            unpacked = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
            if unpacked > UNPACKED * self._max_body or meta.num_rows * max(len(layout.names), 1) > self._max_body // 2:
                raise RequestError(
                    413, "BAD_REQUEST", f"The Parquet file holds {meta.num_rows} rows, too many for one request; send fewer."
                )
            refuse_twice(layout.names)
            table = file.read(columns=layout.wanted, use_threads=False)
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise RequestError(
                400, "BAD_REQUEST", "The body is no Parquet file that can be read; send one that is whole."
            ) from error
        if layout.plain and meta.num_rows:
            read = [table.column(name) for name in self._names]
            if not any(column.null_count for column in read):
                return list(map(_numbers, read))
        return dict.fromkeys(layout.names, ()) | {n: _values(n, table.column(n)) for n in layout.wanted}

    def _laid_out(self, schema: Any) -> _Layout:
        if self._layout is None or not schema.equals(self._layout.schema, check_metadata=True):
            import pyarrow as pa

            index = _index_columns(schema)
            names = [n for n in schema.names if n not in index]
            numbers = {field.name for field in schema if field.type == pa.float64()} - index
            plain = self._numbers and set(self._names) <= numbers and set(names) <= self._known
            self._layout = _Layout(schema, names, [n for n in names if n in self._names], plain)
        return self._layout


@dataclass(frozen=True, slots=True)
class _Layout:
    """A Parquet file's schema, its columns, those read, and whether these are plain numbers and all known."""

    schema: Any
    names: list[str]
    wanted: list[str]
    plain: bool


def _index_columns(schema: Any) -> set[str]:
    """Columns of a Parquet file that hold a frame's index, which is not read."""
    try:
        named = json.loads((schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", ())
        return {n for n in named if isinstance(n, str)}
    except (ValueError, AttributeError, TypeError):
        return set()


def _array(column: Any) -> Any:
    """The values of a column in one piece."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _numbers(column: Any) -> Any:
    """Numbers, none of them null, as numpy holds them; Arrow's own ``to_numpy`` would load pandas."""
    import numpy as np

    return np.from_dlpack(_array(column))


def _values(name: str, column: Any) -> Any:
    """A Parquet column as numbers or moments where it has these, else as Python's values."""
    import numpy as np
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind) and kind.tz is None:
        ticks = _array(column).view(pa.int64())
        return np.from_dlpack(ticks.fill_null(NOT_A_TIME) if ticks.null_count else ticks).view(f"datetime64[{kind.unit}]")
    if (pa.types.is_floating(kind) or pa.types.is_integer(kind)) and not column.null_count:
        return _numbers(column)
    try:
        return column.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError):  # a date of no calendar, a zone that nobody knows
        raise RowsError(
            f"Column {name!r} holds a {kind} that cannot be read; write numbers as doubles, dates as text."
        ) from None
