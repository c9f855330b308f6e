"""What does a request ask? A body of any of MLflow's forms -> the model's columns, or a refusal.

A body is read twice at most. The quick reading takes what is plainly right: typed JSON (msgspec), numbers only, each name
once. Whatever it does not take goes to the careful reading, which accepts what is right all the same (dates, markets, further
columns of the contract, an index, gaps in the layout) and otherwise finds the column, the row and the reason.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec

from adresponse.errors import RowsError, did_you_mean
from adresponse.formula import Formula
from adresponse.rows import (
    Reads,
    Vector,
    as_level,
    as_switch,
    check,
    check_few,
    missing_column,
    no_rows,
    refuse_bad_values,
    show,
    unequal,
)
from adresponse.schema import Contract
from adresponse.serving.answers import RequestError

__all__ = ["CSV", "FEW", "FORMS", "JSON", "PARQUET", "Asked", "Reader", "read_json", "what_is"]

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
PARAMS = ("interval", "contributions")
FEW = 32  # rows up to which Python's floats are about as quick as numpy's arrays; numpy is loaded for more
BEGINNING = 40  # bytes within which a body names its form, if it begins with it
LONG = 2048  # bytes from which a table's numbers are read in one piece rather than row by row
HEADERS_KEPT = 64  # different header lines of CSV that are remembered
NOT_A_TIME = -(2**63)  # what numpy's moments hold where there is none
UNPACKED = 32  # how many times larger than the largest body a Parquet file may become
DIGITS = b"0123456789 \t\r\n"  # what a list of row numbers holds beside its commas
NUMERALS = b"0123456789.eE+- \t\r"  # what a line of numbers holds beside its commas
ONE_LINE = bytes.maketrans(b"\n", b",")  # lines of numbers as one list
KEPT_PARSER = 1 << 18  # bytes up to which a parser, and the memory that it took, is used again
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
MISSING = {"", "na", "n/a", "nan", "-nan", "null", "none", "#n/a", "#na", "<na>"}  # what pandas takes for no value, case apart
INFINITE = {"inf", "infinity"}


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
        self._max_body = max_body
        self._quick = _quick_json(self.contract) if self._numbers else None
        # spend below 0 is outside every range, so what lies within the ranges is valid without a further look
        spend = len(self.contract.channels)
        ends = [formula.ranges[name] for name in self.contract.features]
        self._ranges = [(max(low, 0.0) if i < spend else low, high) for i, (low, high) in enumerate(ends)]
        self._headers: dict[bytes, list[int]] = {}
        self._layout: _Layout | None = None

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
            found = self._quick(body) if self._quick else None
            return self._checked(*found) if found else self._careful_json(body)
        if kind == CSV:
            table = self._quick_csv(body) if self._numbers else None
            return self._checked(*table, None) if table else self._careful(_csv_columns(body, self._reads), None)
        return self._parquet(body)

    def _checked(self, few: Sequence[Sequence[float]] | None, columns: Sequence[Vector], level: float | None) -> Asked:
        """The same, valid: a few rows, or the columns of more."""
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
        given = read_json(body, f"JSON with one of {_listed(FORMS)}", "rows of numbers")
        form, value, params = _one_form(given.value)
        level, contributions = _params(params)
        columns = {"dataframe_split": _split, "dataframe_records": _records}.get(form, _instances)(value, self.names, form)
        asked = self._careful(columns, level, contributions)
        if given.constant:
            raise RequestError(400, "BAD_REQUEST", f"The body holds {given.constant}, which is no JSON; give finite numbers.")
        return asked

    # --- CSV

    def _quick_csv(self, body: bytes) -> _Table | None:
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
        """Width of a table and where the features stand in it, by its header line; empty where that needs a careful look."""
        try:
            names = next(csv.reader([head.decode("utf-8-sig")], strict=True), [])
        except (UnicodeDecodeError, csv.Error):
            return []
        known = {c.name for c in self.contract.columns}
        plain = len(set(names)) == len(names) and set(self.names) <= set(names) <= known and head.count(b'"') % 2 == 0
        order = [len(names), *(names.index(n) for n in self.names)] if plain else []
        if len(self._headers) < HEADERS_KEPT:
            self._headers[head] = order
        return order

    # --- Parquet

    def _parquet(self, body: bytes) -> Asked:
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile

        try:
            file = ParquetFile(pa.BufferReader(body), pre_buffer=False)
            meta = file.metadata
            layout = self._laid_out(file.schema_arrow)  # file.schema would be a cycle, which waits for the collector
            unpacked = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
            if unpacked > UNPACKED * self._max_body or meta.num_rows * max(len(layout.names), 1) > self._max_body // 2:
                raise RequestError(
                    413, "BAD_REQUEST", f"The Parquet file holds {meta.num_rows} rows, too many for one request; send fewer."
                )
            _refuse_twice(layout.names)
            table = file.read(columns=layout.wanted, use_threads=False)
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise RequestError(
                400, "BAD_REQUEST", "The body is no Parquet file that can be read; send one that is whole."
            ) from error
        if layout.plain and meta.num_rows:
            read = [table.column(name) for name in self.names]
            if not any(column.null_count for column in read):
                return self._checked(None, list(map(_arrow_numbers, read)), None)
        given: dict[str, Any] = dict.fromkeys(layout.names, ()) | {n: _arrow_values(table.column(n)) for n in layout.wanted}
        return self._careful(given, None)

    def _laid_out(self, schema: Any) -> _Layout:
        """What a Parquet file holds; that of the last one is kept, since a client's files are alike."""
        if self._layout is None or not schema.equals(self._layout.schema, check_metadata=True):
            import pyarrow as pa

            index = _index_columns(schema)
            names = [n for n in schema.names if n not in index]
            numbers = {field.name for field in schema if field.type == pa.float64()} - index
            plain = self._numbers and set(self.names) <= numbers and set(names) <= {c.name for c in self.contract.columns}
            self._layout = _Layout(schema, names, [n for n in names if n in self.names], plain)
        return self._layout


@dataclass(frozen=True, slots=True)
class _Layout:
    """A Parquet file's schema, its columns, those read, and whether these are plain numbers and all known."""

    schema: Any
    names: list[str]
    wanted: list[str]
    plain: bool


# --- quick JSON


_Table = tuple[Sequence[Sequence[float]] | None, Sequence[Vector]]
"""A few rows, or the columns of more; one of the two."""
_flat = msgspec.json.Decoder(list[float]).decode
_nested = msgspec.json.Decoder(list[list[float]]).decode


def _table(numbers: bytes, height: int, width: int, picked: Sequence[int]) -> _Table | None:
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


def _getter(field: str) -> Callable[[Iterable[Any]], list[float]]:
    """A function that takes one field of each record; made for the field, since reading by name costs twice the time."""
    made: Callable[[Iterable[Any]], list[float]] = eval(f"lambda rows: [row.{field} for row in rows]", {})  # noqa: S307
    return made


def _quick_json(contract: Contract) -> Callable[[bytes], tuple[Any, Any, float | None] | None] | None:
    """A reader of plain JSON bodies: rows or columns and a level, or None where a careful look is needed.

    msgspec does not see a name that is given twice, so colons are counted: each stands in or after a name, since no value
    read here is text, and a body with an escape is not read here.
    """
    names = contract.features
    fields = [f"f{i}" for i in range(len(names))]
    unset: Any = msgspec.UNSET
    try:
        strict: dict[str, Any] = {"rename": dict(zip(fields, names, strict=True)), "forbid_unknown_fields": True, "gc": False}
        row: Any = msgspec.defstruct("Row", [(f, float) for f in fields], **strict)
        table: Any = msgspec.defstruct("Table", [(f, list[float] | float) for f in fields], **strict)
        split: Any = msgspec.defstruct(
            "Split",
            [("columns", list[str]), ("data", list[tuple[(float,) * len(names)]]), ("index", msgspec.Raw, unset)],  # type: ignore[misc]
            forbid_unknown_fields=True,
            gc=False,
        )
        params: Any = msgspec.defstruct("Params", [("interval", float | None, unset)], forbid_unknown_fields=True, gc=False)
        shapes: Any = list[row | float] | table
        body_type: Any = msgspec.defstruct(
            "Body",
            [
                ("dataframe_split", split, unset),
                ("dataframe_records", list[row], unset),
                ("instances", shapes, unset),
                ("inputs", shapes, unset),
                ("params", params | None, unset),
            ],
            forbid_unknown_fields=True,
            gc=False,
        )
        decode = msgspec.json.Decoder(body_type).decode
    except (ValueError, TypeError):  # a column's name that msgspec does not take
        return None

    width = len(names)
    colons = width + sum(n.count(":") for n in names)
    getters = [attrgetter(f) for f in fields]
    columns_of = [_getter(f) for f in fields]
    known_features = set(names)
    in_order = list(names)
    all_of = attrgetter(*fields)
    single = width == 1
    everything = range(width)

    def rows_of(value: list[Any]) -> tuple[_Table, int] | None:
        """The table of a list of records, or of the numbers of a single column; and its colons."""
        count = len(value)
        if not count:
            return None
        try:
            if type(value[0]) is float:
                if not single or (count <= FEW and not all(type(v) is float for v in value)):
                    return None
                return (([(v,) for v in value], ()) if count <= FEW else (None, [_vector(value)])), 0
            if count <= FEW:
                few: list[Any] = [(all_of(v),) for v in value] if single else list(map(all_of, value))
                return (few, ()), count * colons
            return (None, [_vector(values(value)) for values in columns_of]), count * colons
        except (AttributeError, TypeError, struct.error):  # numbers and records in one list
            return None

    def split_of(value: Any, long: _Long | None) -> tuple[_Table, int] | None:
        columns = value.columns
        if columns == in_order:
            picked: Sequence[int] = everything
        elif len(columns) == width and set(columns) == known_features:
            picked = [columns.index(n) for n in names]
        else:
            return None
        data = value.data
        height = long.height if long else len(data)
        if not height or (long and data):
            return None
        own = 2
        if value.index is not unset:
            own = 3
            if bytes(value.index).translate(None, DIGITS) != b"[" + b"," * (height - 1) + b"]":
                return None
        own += sum(n.count(":") for n in columns)
        if long:
            found = _table(long.rows, height, width, picked)
            return (found, own) if found else None
        if height <= FEW:
            return ((data if picked is everything else [[row[i] for i in picked] for row in data], ()), own)
        return (None, _picked(_vector(list(chain.from_iterable(data))), width, picked)), own

    def table_of(value: Any) -> tuple[_Table, int] | None:
        given = [get(value) for get in getters]
        if all(type(v) is float for v in given):
            return ([given], ()), colons
        if not all(type(v) is list for v in given) or len(set(map(len, given))) != 1 or not given[0]:
            return None
        few = len(given[0]) <= FEW
        return ((list(zip(*given, strict=True)), ()) if few else (None, [_vector(v) for v in given])), colons

    def quick(body: bytes) -> tuple[Any, Any, float | None] | None:
        if b"\\" in body:
            return None
        if long := _long(body, width) if len(body) >= LONG else None:
            body = long.rest
        try:
            asked = decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        found, forms = None, 0
        if asked.dataframe_split is not unset:
            found, forms = split_of(asked.dataframe_split, long), 1
        elif long:
            return None
        if asked.dataframe_records is not unset:
            found, forms = rows_of(asked.dataframe_records), forms + 1
        for value in (asked.instances, asked.inputs):
            if value is not unset:
                found, forms = (rows_of(value) if type(value) is list else table_of(value)), forms + 1
        if found is None or forms != 1:
            return None
        (few, columns), expected = found
        level = None
        if asked.params is not unset:
            expected += 1
            if asked.params is not None and asked.params.interval is not unset:
                expected += 1
                level = asked.params.interval
        return (few, columns, level) if body.count(b":") == expected + 1 else None

    return quick


# --- careful JSON


@dataclass(slots=True)
class _Parsed:
    value: Any = None
    constant: str = ""


def read_json(body: bytes, send: str, deep: str) -> _Parsed:
    """A body as Python values, every number a float; a name given twice, bad UTF-8 and broken JSON are refused.

    ``send`` says what to send where it is empty, ``deep`` where it is nested too deeply.
    """
    parsed = _Parsed()

    def constant(text: str) -> float:
        parsed.constant = text
        return float(text)

    text = _text(body)
    if not text.strip():
        raise RequestError(400, "BAD_REQUEST", f"The body is empty; send {send}.")
    try:
        parsed.value = json.loads(text, object_pairs_hook=_unique, parse_int=float, parse_float=float, parse_constant=constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise RequestError(400, "BAD_REQUEST", f"The body is not JSON: {error.msg} ({where}); send valid JSON.") from None
    except RecursionError:
        raise RequestError(400, "BAD_REQUEST", f"The body is nested too deeply; send {deep}.") from None
    return parsed


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(400, "BAD_REQUEST", f"The body is not UTF-8 (byte {error.start + 1}); send it in UTF-8.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _refuse_twice([name for name, _ in pairs])
    return found


def _refuse_twice(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise RowsError(f"{show(name)} is given twice; give each name once.")
        seen.add(name)


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"


def _one_form(given: Any) -> tuple[str, Any, Any]:
    """Which of the four forms a body has, its value, and the params."""
    if not isinstance(given, dict):
        raise RequestError(400, "BAD_REQUEST", f"The body is {what_is(given)}; send an object with one of {_listed(FORMS)}.")
    for name in given:
        if name not in FORMS and name != "params":
            near = did_you_mean(name[:80], (*FORMS, "params"))
            raise RequestError(
                400,
                "BAD_REQUEST",
                f"The key {show(name)} is not known.{near} Send one of {_listed(FORMS)}, and params if need be.",
            )
    there = [form for form in FORMS if form in given]
    if len(there) != 1:
        has = f"has {' and '.join(there)}" if there else "has none of them"
        raise RequestError(400, "BAD_REQUEST", f"A body has exactly one of {_listed(FORMS)}, and this one {has}; send one.")
    return there[0], given[there[0]], given.get("params")


def _params(params: Any) -> tuple[float | None, bool]:
    """The level of the interval, and whether it is asked what each channel adds."""
    if params is None:
        return None, False
    if not isinstance(params, dict):
        raise RowsError(f'params is {what_is(params)}; give an object, such as {{"interval": 0.9}}.')
    for name in params:
        if name not in PARAMS:
            near = did_you_mean(name[:80], PARAMS)
            raise RowsError(f"The parameter {show(name)} is not known.{near} There are: {' and '.join(PARAMS)}.")
    level = params.get("interval")
    return None if level is None else as_level(level), as_switch(params.get("contributions"))


def what_is(value: Any) -> str:
    """What kind of value stands there, as JSON calls it."""
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", float: "a number", type(None): "null"}
    return kinds[type(value)]


def _split(value: Any, wanted: Sequence[str], form: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RowsError(f"{form} is {what_is(value)}; give an object with columns and data.")
    for key in value:
        if key not in ("columns", "data", "index"):
            raise RowsError(f"{form} has {show(key)}, which is not known; give columns and data.")
    if not isinstance(data := value.get("data"), list):
        raise RowsError(f"{form} has no list of rows under data; give one.")
    names = value.get("columns")
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise RowsError(f"{form} has no list of names under columns; give one, such as {json.dumps(list(wanted[:3]))}.")
    _refuse_twice(names)
    index = value.get("index")
    if index is not None and (not isinstance(index, list) or len(index) != len(data)):
        raise RowsError(f"{form} has an index that does not fit its {len(data)} rows; leave it out.")
    if not data:
        raise no_rows()
    flat = len(names) == 1 and not any(isinstance(r, list) for r in data)
    rows = [[v] for v in data] if flat else data
    for number, row in enumerate(rows, 1):
        if not isinstance(row, list):
            raise RowsError(f"{form}, row {number}: {what_is(row)} where a list of {len(names)} values is due.")
        if len(row) != len(names):
            raise _width(number, len(row), len(names))
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def _width(row: int, given: int, due: int) -> RowsError:
    values = "1 value" if given == 1 else f"{given} values"
    columns = "1 column" if due == 1 else f"{due} columns"
    return RowsError(f"Row {row} has {values} for {columns}; give each row a value in each column.")


def _records(value: Any, wanted: Sequence[str], form: str) -> dict[str, Any]:
    if not isinstance(value, list):
        raise RowsError(f"{form} is {what_is(value)}; give a list of objects, one a row.")
    if not value:
        raise no_rows()
    names: dict[str, None] = {}
    for number, row in enumerate(value, 1):
        if not isinstance(row, dict):
            raise RowsError(f"{form}, row {number}: {what_is(row)} where an object with a value for each column is due.")
        names |= dict.fromkeys(row)
    for name in wanted:
        if name not in names:
            raise missing_column(name, names)
    return {name: [row.get(name) for row in value] for name in names}


def _instances(value: Any, wanted: Sequence[str], form: str) -> dict[str, Any]:
    """``instances`` and ``inputs``: records, columns, one row, or the values of a single column."""
    if isinstance(value, dict):
        return _columns(value)
    if not isinstance(value, list):
        raise RowsError(f"{form} is {what_is(value)}; give a list of rows, or an object of columns.")
    if not value:
        raise no_rows()
    if any(isinstance(row, dict) for row in value) or len(wanted) > 1:
        return _records(value, wanted, form)
    return {wanted[0]: value}


def _columns(value: dict[str, Any]) -> dict[str, Any]:
    """Columns by name; a single value beside lists holds for each row, and values alone are one row.

    Lists of unequal lengths are refused here, since one of them may be of a column that is not read.
    """
    heights = {name: len(v) for name, v in value.items() if isinstance(v, list)}
    if len(set(heights.values())) > 1:
        raise unequal(heights)
    height = next(iter(heights.values()), 1)
    return {name: v if isinstance(v, list) else [v] * height for name, v in value.items()}


# --- careful CSV and Parquet


def _csv_columns(body: bytes, reads: Reads) -> dict[str, Any]:
    """Columns of a CSV body, numbers as floats, what is no number as it stands; an index without a name is not read."""
    try:
        lines = [line for line in csv.reader(io.StringIO(_text(body), newline=""), strict=True) if line]
    except csv.Error as error:
        raise RequestError(
            400, "BAD_REQUEST", f"The body is not CSV: {error}; send lines of values with commas between them."
        ) from None
    if not lines:
        raise RequestError(400, "BAD_REQUEST", "The body is empty; send a line of column names and a line for each row.")
    names, *rows = lines
    _refuse_twice(names)
    if not rows:
        raise no_rows()
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise _width(number, len(row), len(names))
    first = 1 if not names[0] and len(names) > 1 else 0
    value = {"number": _csv_value, "date": _csv_date, "market": lambda text: text.strip() or None}
    return {name: list(map(value[reads.kind(name)], (row[i] for row in rows))) for i, name in enumerate(names) if i >= first}


def _csv_date(text: str) -> str | None:
    return None if text.strip().casefold() in MISSING else text


def _csv_value(text: str) -> Any:
    stripped = text.strip()
    if NUMBER.fullmatch(stripped):
        return float(stripped)
    folded = stripped.casefold()
    if folded in MISSING:
        return None
    if folded.lstrip("+-") in INFINITE:
        return math.inf
    return folded == "true" if folded in ("true", "false") else text


def _index_columns(schema: Any) -> set[str]:
    """Columns of a Parquet file that hold a frame's index, which is not read."""
    try:
        named = json.loads((schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", ())
        return {n for n in named if isinstance(n, str)}
    except (ValueError, AttributeError, TypeError):
        return set()


def _arrow_array(column: Any) -> Any:
    """The values of a column in one piece."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _arrow_numbers(column: Any) -> Any:
    """Numbers, none of them null, as numpy holds them; Arrow's own ``to_numpy`` would load pandas."""
    import numpy as np

    return np.from_dlpack(_arrow_array(column))


def _arrow_values(column: Any) -> Any:
    """A Parquet column as numbers or moments where it has these, else as Python's values."""
    import numpy as np
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind) and kind.tz is None:
        ticks = _arrow_array(column).view(pa.int64())
        return np.from_dlpack(ticks.fill_null(NOT_A_TIME) if ticks.null_count else ticks).view(f"datetime64[{kind.unit}]")
    if (pa.types.is_floating(kind) or pa.types.is_integer(kind)) and not column.null_count:
        return _arrow_numbers(column)
    return column.to_pylist()
