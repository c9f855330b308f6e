"""What does a body say when it is read with care? Columns by name as Python's values, or the column, the row and the reason.

Everything that is right is taken: dates, markets, further columns of the contract, an index, gaps in the layout.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from adresponse.errors import RowsError, did_you_mean
from adresponse.rows import Reads, as_level, as_switch, missing_column, no_rows, show, unequal
from adresponse.serving.answers import RequestError

__all__ = ["FORMS", "csv_columns", "json_columns", "read_json", "refuse_twice", "what_is"]

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
PARAMS = ("interval", "contributions")
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
MISSING = {"", "na", "n/a", "nan", "-nan", "null", "none", "#n/a", "#na", "<na>"}  # what pandas takes for no value, case apart
INFINITE = {"inf", "infinity"}


# --- JSON


@dataclass(slots=True)
class JsonColumns:
    """A JSON body's columns by name, what its params ask for, and a constant in it that is no JSON."""

    columns: dict[str, Any]
    level: float | None
    contributions: bool
    constant: str


def json_columns(body: bytes, names: Sequence[str]) -> JsonColumns:
    """What a JSON body asks of a model that reads columns of these names.

    A constant that is no JSON (NaN, Infinity) is read all the same, so that its column and row can be named first.

    Raises
    ------
    RowsError, RequestError
        Where the body is no JSON, or is none of the forms.
    """
    given = read_json(body, f"JSON with one of {_listed(FORMS)}", "rows of numbers")
    form, value, params = _one_form(given.value)
    level, contributions = _params(params)
    columns = {"dataframe_split": _split, "dataframe_records": _records}.get(form, _instances)(value, names, form)
    return JsonColumns(columns, level, contributions, given.constant)


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
        refuse_twice([name for name, _ in pairs])
    return found


def refuse_twice(names: Sequence[str]) -> None:
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
    refuse_twice(names)
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


# --- CSV


def csv_columns(body: bytes, reads: Reads) -> dict[str, Any]:
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
    refuse_twice(names)
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
