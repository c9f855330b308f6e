"""What does a block of cells hold, read as numbers, dates or markets?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal as Exact
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from adresponse.reading import dates, numerals

__all__ = ["array_of", "is_text", "show", "texts", "to_dates", "to_markets", "to_numbers"]


def array_of(values: Sequence[Any]) -> Any:
    """Python values as an Arrow array: of their common type, or as text where they have none."""
    kinds = set(map(type, values))
    try:
        if kinds <= {bool, np.bool_, type(None)} or not kinds & {bool, np.bool_}:
            return plain(pa.array(values, from_pandas=True))
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        pass
    return pa.array([_as_text(v) for v in values], pa.string())


def plain(array: Any) -> Any:
    """The array without what few functions take: dictionaries, views, extensions; decimals, lists, bytes as text."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_decimal(kind) or pa.types.is_nested(kind) or pa.types.is_binary(kind):
        return pa.array([_as_text(v) for v in array.to_pylist()], pa.string())
    return array.cast(pa.large_string()) if pa.types.is_string_view(array.type) else array


def _as_text(value: Any) -> str | None:
    """Any value as text; a fraction without decimal mark (15e-1), so that no number format can misread it."""
    if value is None or value is np.ma.masked or type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, float | np.floating):
        value = Exact(repr(float(value)))
    if isinstance(value, Exact):
        return _unmarked(value)
    return value.isoformat() if isinstance(value, date) else str(value)


def _unmarked(value: Exact) -> str | None:
    if not value.is_finite():
        return None if value.is_nan() else str(value)
    if value == value.to_integral_value() and abs(value) < 10**15:
        return str(int(value))
    sign, digits, exponent = value.as_tuple()
    return f"{'-' if sign else ''}{''.join(map(str, digits))}e{exponent}"


def is_text(array: Any) -> bool:
    """Whether the array holds text."""
    return bool(pa.types.is_string(array.type) or pa.types.is_large_string(array.type))


def is_number(array: Any) -> bool:
    """Whether the array holds integers or floats."""
    return bool(pa.types.is_integer(array.type) or pa.types.is_floating(array.type))


def texts(array: Any) -> Any:
    """A text array as it is; integers and days as the text that a file would hold; None for anything else."""
    if is_text(array):
        return array
    if pa.types.is_integer(array.type) or pa.types.is_null(array.type):
        return array.cast(pa.string())
    return None


def show(array: Any, index: int) -> str:
    """The value as a message shows it: text in quotes, cut when long, a fraction of a decimal (see ``_unmarked``) as usual."""
    value = array[index].as_py()
    if isinstance(value, str) and re.fullmatch(r"-?\d+e-\d+", value):
        value = float(value)
    shown = repr(value) if isinstance(value, str) else str(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def to_numbers(array: Any, decimal: numerals.Decimal) -> tuple[NDArray[np.float64], int | None]:
    """The block as float64, NaN for no value, and the first index that holds no number."""
    if is_text(array):
        return numerals.to_floats(array, decimal)
    if is_number(array):
        values = pc.cast(array, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return np.asarray(values, dtype=np.float64) + 0.0, None
    return np.full(len(array), np.nan), _first_value(array)


def to_dates(array: Any, day_first: bool) -> tuple[NDArray[np.datetime64], int | None]:
    """The block as datetime64[us], NaT for no value, and the first index that holds no date."""
    if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
        return _moments(array), None
    written = texts(array)
    if written is None:
        return np.full(len(array), "NaT", "datetime64[us]"), _first_value(array)
    return _written_dates(written, day_first)


def _moments(array: Any) -> NDArray[np.datetime64]:
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        array = pc.local_timestamp(array)
    array = array.cast(pa.timestamp("us"), safe=False)
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype="datetime64[us]")


def _written_dates(written: Any, day_first: bool) -> tuple[NDArray[np.datetime64], int | None]:
    coded = numerals.missing_as_null(written).dictionary_encode()
    known = [dates.parse(text, day_first) for text in coded.dictionary.to_pylist()]
    days = np.array([*known, None], dtype="datetime64[us]")
    codes = coded.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(np.isnat(days[codes]) & (codes < len(known)))
    return days[codes], int(wrong[0]) if len(wrong) else None


def to_markets(array: Any) -> NDArray[np.object_]:
    """The block as trimmed text, None for no value; 1 and 1.0 are the market '1', and 'NA' is a name."""
    coded = array.dictionary_encode()
    known = [_market(v) for v in coded.dictionary.to_pylist()]
    names = np.array([*known, None], dtype=object)
    return np.asarray(names[coded.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)])


def _market(value: Any) -> str | None:
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, float):
        value = int(value) if value.is_integer() else repr(value)
    if isinstance(value, datetime) and value == datetime(value.year, value.month, value.day):
        value = value.date()
    return (value.isoformat() if isinstance(value, date) else str(value).strip()) or None


def _first_value(array: Any) -> int | None:
    index = pc.index(array.is_valid(), True).as_py()
    return index if index >= 0 else None
