"""What does a plain body say? Numbers only, each name once, nothing else: typed JSON, or lines of JSON's numbers.

None stands for a body that needs a careful look, be it right or wrong.
"""

from __future__ import annotations

import csv
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec

from adresponse.rows import Vector

__all__ = ["FEW", "LONG", "QuickCsv", "QuickJson", "Table"]

FEW = 32  # rows up to which Python's floats are about as quick as numpy's arrays; numpy is loaded for more
LONG = 2048  # bytes from which a table's numbers are read in one piece rather than row by row
BEGINNING = 40  # bytes within which a body names its form, if it begins with it
HEADERS_KEPT = 64  # different header lines of CSV that are plain, and remembered
DIGITS = b"0123456789 \t\r\n"  # what a list of row numbers holds beside its commas
NUMERALS = b"0123456789.eE+- \t\r"  # what a line of numbers holds beside its commas
ONE_LINE = bytes.maketrans(b"\n", b",")  # lines of numbers as one list
KEPT_PARSER = 1 << 18  # bytes up to which a parser, and the memory that it took, is used again
UNSET: Any = msgspec.UNSET

Table = tuple[Sequence[Sequence[float]] | None, Sequence[Vector]]
"""A few rows, or the columns of more; one of the two."""
_Counted = tuple[Table, int]
"""A table, and how many colons its text has."""


class QuickJson:
    """A reader of plain JSON bodies, made for one model.

    msgspec does not see a name that is given twice, so colons are counted: each stands in or after a name, since no value
    read here is text, and a body with an escape is not read here.

    Parameters
    ----------
    names : sequence of str
        The columns that the model reads, all of them numbers.

    Raises
    ------
    ValueError, TypeError
        Where msgspec does not take a column's name.
    """

    def __init__(self, names: Sequence[str]) -> None:
        fields = [f"f{i}" for i in range(len(names))]
        self._decode = msgspec.json.Decoder(_body_type(dict(zip(fields, names, strict=True)))).decode
        self._names = list(names)
        self._known = set(names)
        self._colons = len(names) + sum(n.count(":") for n in names)
        self._row = attrgetter(*fields)
        self._each = [attrgetter(f) for f in fields]
        self._columns = [_getter(f) for f in fields]

    def __call__(self, body: bytes) -> tuple[Table, float | None] | None:
        """The table and the level of the interval asked for."""
        if b"\\" in body:
            return None
        if long := _long(body, len(self._names)) if len(body) >= LONG else None:
            body = long.rest
        try:
            asked = self._decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        found, forms = None, 0
        if asked.dataframe_split is not UNSET:
            found, forms = self._split(asked.dataframe_split, long), 1
        elif long:
            return None
        if asked.dataframe_records is not UNSET:
            found, forms = self._records(asked.dataframe_records), forms + 1
        for value in (asked.instances, asked.inputs):
            if value is not UNSET:
                found, forms = (self._records(value) if type(value) is list else self._table(value)), forms + 1
        if found is None or forms != 1:
            return None
        table, colons = found
        level = None
        if asked.params is not UNSET:
            colons += 1
            if asked.params is not None and asked.params.interval is not UNSET:
                colons += 1
                level = asked.params.interval
        return (table, level) if body.count(b":") == colons + 1 else None

    def _records(self, value: list[Any]) -> _Counted | None:
        """Of a list of records, or of the numbers of a single column."""
        count = len(value)
        single = len(self._names) == 1
        if not count:
            return None
        try:
            if type(value[0]) is float:
                if not single or (count <= FEW and not all(type(v) is float for v in value)):
                    return None
                return (([(v,) for v in value], ()) if count <= FEW else (None, [_vector(value)])), 0
            if count <= FEW:
                few: list[Any] = [(self._row(v),) for v in value] if single else list(map(self._row, value))
                return (few, ()), count * self._colons
            return (None, [_vector(values(value)) for values in self._columns]), count * self._colons
        except (AttributeError, TypeError, struct.error):  # numbers and records in one list
            return None

    def _split(self, value: Any, long: _Long | None) -> _Counted | None:
        columns, data = value.columns, value.data
        width = len(self._names)
        in_order = columns == self._names
        if not in_order and (len(columns) != width or set(columns) != self._known):
            return None
        picked = range(width) if in_order else [columns.index(n) for n in self._names]
        height = long.height if long else len(data)
        if not height or (long and data):
            return None
        own = 2 + sum(n.count(":") for n in columns)
        if value.index is not UNSET:
            own += 1
            if bytes(value.index).translate(None, DIGITS) != b"[" + b"," * (height - 1) + b"]":
                return None
        if long:
            found = _table(long.rows, height, width, picked)
            return (found, own) if found else None
        if height <= FEW:
            return (data if in_order else [[row[i] for i in picked] for row in data], ()), own
        return (None, _picked(_vector(list(chain.from_iterable(data))), width, picked)), own

    def _table(self, value: Any) -> _Counted | None:
        """Of columns by name: a number each, or lists of one length."""
        given = [get(value) for get in self._each]
        if all(type(v) is float for v in given):
            return ([given], ()), self._colons
        if not all(type(v) is list for v in given) or len(set(map(len, given))) != 1 or not given[0]:
            return None
        few = len(given[0]) <= FEW
        return ((list(zip(*given, strict=True)), ()) if few else (None, [_vector(v) for v in given])), self._colons


class QuickCsv:
    """A reader of plain CSV bodies, made for one model; it remembers the header lines that it saw.

    Parameters
    ----------
    names : sequence of str
        The columns that the model reads, all of them numbers.
    known : set of str
        All columns of the model's contract.
    """

    def __init__(self, names: Sequence[str], known: set[str]) -> None:
        self._names = names
        self._known = known
        self._headers: dict[bytes, list[int]] = {}

    def __call__(self, body: bytes) -> Table | None:
        """The table, where each line after the first is as many JSON numbers as that has names."""
        head, _, rest = body.partition(b"\n")
        order = self._headers.get(head)
        if order is None:
            order = self._order(head)
        if not order:
            return None
        width, *picked = order
        rest = rest.rstrip()
        marks = rest.translate(None, NUMERALS)
        height = marks.count(b"\n") + 1
        if marks != ((b"," * (width - 1) + b"\n") * height)[:-1]:
            return None
        return _table(b"[%b]" % rest.translate(ONE_LINE), height, width, picked)

    def _order(self, head: bytes) -> list[int]:
        """Width of a table and where the columns stand in it, by its header line; empty where that needs a careful look."""
        try:
            names = next(csv.reader([head.decode("utf-8-sig")], strict=True), [])
        except (UnicodeDecodeError, csv.Error):
            return []
        plain = len(set(names)) == len(names) and set(self._names) <= set(names) <= self._known and head.count(b'"') % 2 == 0
        order = [len(names), *(names.index(n) for n in self._names)] if plain else []
        if plain and len(self._headers) < HEADERS_KEPT:  # any other may be as long as a body
            self._headers[head] = order
        return order


def _body_type(names: dict[str, str]) -> Any:
    """The type of a body in any form, as msgspec reads it; ``names`` are the columns' by the fields they are read into."""
    strict: dict[str, Any] = {"forbid_unknown_fields": True, "gc": False}
    row: Any = msgspec.defstruct("Row", [(f, float) for f in names], rename=names, **strict)
    table: Any = msgspec.defstruct("Table", [(f, list[float] | float) for f in names], rename=names, **strict)
    cells: Any = tuple[(float,) * len(names)]  # type: ignore[misc]
    split = msgspec.defstruct("Split", [("columns", list[str]), ("data", list[cells]), ("index", msgspec.Raw, UNSET)], **strict)
    params = msgspec.defstruct("Params", [("interval", float | None, UNSET)], **strict)
    shapes: Any = list[row | float] | table
    return msgspec.defstruct(
        "Body",
        [
            ("dataframe_split", split, UNSET),
            ("dataframe_records", list[row], UNSET),
            ("instances", shapes, UNSET),
            ("inputs", shapes, UNSET),
            ("params", params | None, UNSET),
        ],
        **strict,
    )


def _getter(field: str) -> Callable[[Iterable[Any]], list[float]]:
    """A function that takes one field of each record; made for the field, since reading by name costs twice the time."""
    made: Callable[[Iterable[Any]], list[float]] = eval(f"lambda rows: [row.{field} for row in rows]", {})  # noqa: S307
    return made


@dataclass(slots=True)
class _Long:
    """A body of many rows in the split form: the list of its rows, how many there are, and the body without them."""

    rows: bytes
    height: int
    rest: bytes


def _long(body: bytes, width: int) -> _Long | None:
    """The same for rows that are each a list of ``width`` numerals, if they are JSON at all; else None."""
    if b'{"dataframe_split"' not in body[:BEGINNING]:
        return None
    start, stop = body.find(b"[["), body.rfind(b"]]") + 2
    if not (0 <= start < stop and body.endswith((b'"data": ', b'"data":'), 0, start)):
        return None
    rows = body[start:stop]
    marks = rows.translate(None, NUMERALS)
    one = b"[" + b"," * (width - 1) + b"],"
    height = (len(marks) - 1) // len(one)
    if height <= FEW or marks != b"[%b]" % (one * height)[:-1]:
        return None
    return _Long(rows, height, body[:start] + b"[]" + body[stop:])


_flat = msgspec.json.Decoder(list[float]).decode
_nested = msgspec.json.Decoder(list[list[float]]).decode


def _table(numbers: bytes, height: int, width: int, picked: Sequence[int]) -> Table | None:
    """The columns picked of a table of JSON numbers in one list, or (many rows) in one a row; None where it is none."""
    try:
        if height <= FEW:
            few = _flat(numbers)
            rows = [[few[start + i] for i in picked] for start in range(0, len(few), width)]
            return (rows, ()) if len(few) == height * width else None
        many = _floats(numbers)
    except (msgspec.MsgspecError, ValueError, TypeError, RuntimeError):
        return None
    return (None, _picked(many, width, picked)) if len(many) == height * width else None


def _picked(flat: Vector, width: int, picked: Sequence[int]) -> list[Vector]:
    """The columns picked of a table that is given row by row."""
    import numpy as np

    table = flat.reshape(-1, width)
    return [np.ascontiguousarray(table[:, i]) for i in picked]


def _floats(numbers: bytes) -> Vector:
    """The numbers of JSON lists, which may stand in a list, as one array.

    simdjson writes them into the array's memory; where it is not installed, msgspec makes a list of Python's floats first.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        Where there is anything else than numbers in lists.
    """
    import numpy as np

    try:
        from simdjson import Parser
    except ImportError:
        return _vector(list(chain.from_iterable(_nested(numbers))) if numbers.startswith(b"[[") else _flat(numbers))
    parser: Any = _made_once(Parser) if len(numbers) <= KEPT_PARSER else Parser()
    return np.frombuffer(parser.parse(numbers).as_buffer(of_type="d"), np.float64)


@cache
def _made_once(parser: type[Any]) -> Any:
    return parser()


def _vector(values: Sequence[float]) -> Vector:
    """Python's floats as an array; ``struct`` copies them quicker than numpy does."""
    import numpy as np

    return np.frombuffer(struct.pack(f"{len(values)}d", *values), np.float64)
