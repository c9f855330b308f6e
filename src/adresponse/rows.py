"""Do these rows keep the model's contract? One answer, in the same words, wherever rows are scored.

Every number becomes float64, so that 100 and 100.0 are answered alike. Text, true and false, a missing, infinite or
NaN value and negative spend are refused. A date becomes seconds since 1970, as its own clock shows it, and a market its place
among the markets fitted, so that all that is asked is vectors of float64. This file goes with every stored model (see
``stored.py``). It loads numpy where it makes or reads arrays, so that a server of few rows a request goes without.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .errors import RowsError, did_you_mean
from .schema import Contract

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "MISSING",
    "NEGATIVE",
    "NOT_FINITE",
    "Kind",
    "Reads",
    "Vector",
    "as_level",
    "as_switch",
    "check",
    "check_few",
    "look",
    "missing_column",
    "no_date",
    "no_market",
    "no_number",
    "no_rows",
    "not_finite",
    "pick",
    "refuse_bad_value",
    "refuse_bad_values",
    "show",
    "to_floats",
    "to_places",
    "to_seconds",
    "unequal",
    "unknown_column",
]

Vector: TypeAlias = "NDArray[np.float64]"
SHOWN = 40  # characters of a refused value or name that are repeated to the sender
Kind = Literal["number", "date", "market"]
MISSING = "the value is missing; give a number."
NOT_FINITE = "the value is not finite; give a finite number."
NEGATIVE = "is negative, and spend is 0 or more."
LISTED = 12  # column names that are repeated
EPOCH, SECOND = datetime(1970, 1, 1), timedelta(seconds=1)


@dataclass(frozen=True)
class Reads:
    """Which columns a model reads, in its order: channels, controls, then the date and the market where it needs them.

    Parameters
    ----------
    contract : Contract
        All columns; those not read may be among the columns given.
    dated : bool
        Whether the model needs each row's date.
    markets : tuple of str
        The markets fitted, where the model needs each row's market; else empty.
    """

    contract: Contract
    dated: bool = False
    markets: tuple[str, ...] = ()

    @property
    def date(self) -> str | None:
        """The date column, where it is read."""
        return self.contract.date if self.dated else None

    @property
    def market(self) -> str | None:
        """The market column, where it is read."""
        return self.contract.market if self.markets else None

    @property
    def names(self) -> tuple[str, ...]:
        """All columns read."""
        return (*self.contract.features, *(n for n in (self.date, self.market) if n is not None))

    def kind(self, name: str) -> Kind:
        """What a column read holds."""
        return "date" if name == self.date else "market" if name == self.market else "number"

    def vector(self, name: str, values: Any) -> Vector:
        """One column as float64, NaN where a value is missing; what is not of its kind is refused by row."""
        kind = self.kind(name)
        if kind == "number":
            return to_floats(name, values)
        return to_seconds(name, values) if kind == "date" else to_places(name, values, self.markets)


def check(reads: Reads | Contract, given: Mapping[str, Any]) -> list[Vector]:
    """The model's columns as float64, in its order, or a refusal.

    Parameters
    ----------
    reads : Reads, or Contract of a model that reads its features alone
        What the model reads. Other columns of its contract may be among those given; they are not read.
    given : mapping of str to array-like of shape (n_rows,)
        Values by column name: numpy arrays, sequences, or anything with ``to_numpy``. Dates are ``datetime``, ``date``,
        ``datetime64`` or text as ISO 8601 writes it; a market is its name, or the whole number that is its name.

    Raises
    ------
    RowsError
        Naming the column, the row (from 1), the value and the rule; the first row that breaks one.
    """
    reads = _reads(reads)
    columns = [reads.vector(name, values) for name, values in pick(reads, given).items()]
    refuse_bad_values(reads, columns)
    return columns


def check_few(contract: Contract, given: Mapping[str, Sequence[Any]]) -> list[list[float]]:
    """The same for Python's values in Python's sequences, as lists and without numpy: quicker for a few rows of numbers."""
    picked = pick(contract, given).items()
    columns = [[_number(name, row, v) for row, v in enumerate(values, 1)] for name, values in picked]
    refuse_bad_values(contract, columns)
    return columns


def look(reads: Reads, given: Mapping[str, Any]) -> tuple[list[Vector], dict[int, str]]:
    """The same, where a bad row is not to stop the others: all rows, and for each bad one (from 0) what is wrong.

    A reason names the column, not the row. The values of a bad row may be NaN.
    """
    import numpy as np

    columns: list[Vector] = []
    faults: dict[int, str] = {}
    spend = set(reads.contract.channels)
    for name, values in pick(reads, given).items():
        try:
            vector = reads.vector(name, values)
        except RowsError:
            vector = _one_by_one(reads, name, values, faults)
        bad = ~np.isfinite(vector) | (vector < 0 if name in spend else False)
        for row in np.flatnonzero(bad).tolist():
            faults.setdefault(row, _placeless(refuse_bad_value(name, 1, float(vector[row]), reads.kind(name))))
        columns.append(vector)
    return columns, faults


def _one_by_one(reads: Reads, name: str, values: Any, faults: dict[int, str]) -> Vector:
    import numpy as np

    found = np.full(len(values), math.nan)
    for row, value in enumerate(values):
        try:
            found[row] = reads.vector(name, [value])[0]
        except RowsError as error:
            faults.setdefault(row, _placeless(error))
    return found


def _placeless(error: RowsError) -> str:
    return str(error).replace(", row 1:", ":", 1)


def _reads(given: Reads | Contract) -> Reads:
    return given if isinstance(given, Reads) else Reads(given)


def pick(reads: Reads | Contract, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the columns read, in the model's order; a missing or an unknown column is refused."""
    reads = _reads(reads)
    for name in reads.names:
        if name not in given:
            raise missing_column(name, given)
    known = {c.name for c in reads.contract.columns}
    for name in given:
        if name not in known:
            raise unknown_column(str(name), reads)
    return {name: given[name] for name in reads.names}


def to_floats(name: str, values: Any) -> Vector:
    """Values of one column as float64, NaN where one is missing; what is no number is refused by row."""
    import numpy as np

    if hasattr(values, "to_numpy"):
        values = _numpy_of(values)
    array = values if isinstance(values, np.ndarray) else _array(values)
    if array.ndim != 1:
        raise RowsError(f"Column {name!r} has values of {array.ndim} dimensions; give one number a row.")
    if array.dtype.kind in "fiu":
        return np.asarray(array, dtype=np.float64)
    return np.fromiter((_number(name, row, v) for row, v in enumerate(array.tolist(), 1)), np.float64, len(array))


def _numpy_of(values: Any) -> NDArray[Any]:
    """A column of a data frame; one that can hold missing values beside numbers gives NaN for them."""
    import numpy as np

    if str(values.dtype).startswith(("Int", "UInt", "Float")):
        return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
    return np.asarray(values.to_numpy())


def _array(values: Any) -> NDArray[Any]:
    """A sequence as an array that keeps what each value is: text stays text, true stays true."""
    import numpy as np

    found = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        found[i] = value
    return found


def _number(name: str, row: int, value: Any) -> float:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return math.nan
    if isinstance(value, numbers.Real | Decimal) and not isinstance(value, bool):
        try:
            return float(value)
        except (OverflowError, ValueError):
            return math.inf
    raise no_number(name, row, value)


def to_seconds(name: str, values: Any) -> Vector:
    """Dates of one column as seconds since 1970 on their own clock, NaN where one is missing; no date is refused by row."""
    import numpy as np

    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        moments = values.astype("datetime64[s]")
        return np.where(np.isnat(moments), np.nan, moments.astype(np.int64))
    return np.fromiter((_second(name, row, v) for row, v in enumerate(values, 1)), np.float64, len(values))


def _second(name: str, row: int, value: Any) -> float:
    if _is_missing(value):
        return math.nan
    if type(value).__name__ == "datetime64":
        value = value.astype("datetime64[s]").item()
    text = str(int(value)) if _is_day_number(value) else value
    if isinstance(text, str):
        try:
            value = datetime.fromisoformat(text.strip())
        except ValueError:
            raise no_date(name, row, value) from None
    if isinstance(value, datetime):
        return float((value.replace(tzinfo=None) - EPOCH) // SECOND)
    if isinstance(value, date):
        return float((value - EPOCH.date()) // SECOND)
    raise no_date(name, row, value)


def _is_day_number(value: Any) -> bool:
    """Whether a number may be a day as tables write them, 20241231."""
    whole = isinstance(value, numbers.Real) and not isinstance(value, bool) and float(value).is_integer()
    return whole and 1000_00_00 < value < 10000_00_00


def to_places(name: str, values: Any, markets: Sequence[str]) -> Vector:
    """Markets of one column as places among those fitted, NaN where one is missing; an unknown one is refused by row."""
    import numpy as np

    place = {market: float(i) for i, market in enumerate(markets)}
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    return np.fromiter((_place(name, row, v, place) for row, v in enumerate(listed, 1)), np.float64, len(listed))


def _place(name: str, row: int, value: Any, place: Mapping[str, float]) -> float:
    if _is_missing(value):
        return math.nan
    whole = isinstance(value, numbers.Real) and not isinstance(value, bool) and float(value).is_integer()
    text = str(int(value)) if whole else value
    if not isinstance(text, str) or (found := place.get(text.strip())) is None:
        raise no_market(name, row, value, place)
    return found


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and math.isnan(value))


def refuse_bad_values(reads: Reads | Contract, columns: Sequence[Vector | Sequence[float]]) -> None:
    """Refuse no rows, columns of unequal length, and the first row with a missing, infinite or negative value.

    Parameters
    ----------
    reads : Reads, or Contract of a model that reads its features alone
        Gives the names, and which of the columns are spend.
    columns : sequence of ndarray of shape (n_rows,), or of sequences of n_rows floats
        The columns read, in the model's order.
    """
    reads = _reads(reads)
    names = reads.names
    heights = {name: len(column) for name, column in zip(names, columns, strict=True)}
    if len(set(heights.values())) > 1:
        raise unequal(heights)
    if not heights[names[0]]:
        raise no_rows()
    spend = len(reads.contract.channels)
    first = [_first_bad(column, 0.0 if i < spend else -math.inf) for i, column in enumerate(columns)]
    worst = min(((row, i) for i, row in enumerate(first) if row is not None), default=None)
    if worst is not None:
        row, i = worst
        raise refuse_bad_value(names[i], row + 1, float(columns[i][row]), reads.kind(names[i]))


def _first_bad(values: Vector | Sequence[float], least: float) -> int | None:
    """Where the first value stands that is not finite or below ``least``."""
    if isinstance(values, Sequence):
        return next((row for row, x in enumerate(values) if not (least <= x < math.inf and x > -math.inf)), None)
    import numpy as np

    bad = ~np.isfinite(values)
    if least == 0:
        bad |= np.less(values, least)
    return int(np.argmax(bad)) if bad.any() else None


# --- the sentences


def missing_column(name: str, present: Iterable[object]) -> RowsError:
    """A column of the model is not there."""
    names = [str(n) for n in present]
    found = _listed(names) or "no column"
    return RowsError(f"Column {name!r} is missing.{did_you_mean(name, names[:100])} The rows have: {found}.")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(map(_cut, names[:LISTED])) + (f" and {more:,} more" if more > 0 else "")


def unknown_column(name: str, reads: Reads | Contract) -> RowsError:
    """A column is none of the contract's."""
    names = _reads(reads).names
    return RowsError(
        f"Column {_cut(name)!r} is not known to the model.{did_you_mean(_cut(name), names)} It takes: {', '.join(names)}."
    )


def no_number(name: str, row: int, value: object) -> RowsError:
    """A value is text, true or false, or a structure."""
    return RowsError(f"Column {name!r}, row {row}: {show(value)} is not a number; give a number without quotes.")


def no_date(name: str, row: int, value: object) -> RowsError:
    """A value is no date."""
    return RowsError(f"Column {name!r}, row {row}: {show(value)} is not a date; write it as 2024-12-31.")


def no_market(name: str, row: int, value: object, markets: Iterable[str]) -> RowsError:
    """A value is none of the markets fitted."""
    known = list(markets)
    near = did_you_mean(value[:80], known) if isinstance(value, str) else ""
    return RowsError(
        f"Column {name!r}, row {row}: {show(value)} is not a market of the model.{near} It knows: {_listed(known)}."
    )


def refuse_bad_value(name: str, row: int, value: float, kind: Kind = "number") -> RowsError:
    """A value is missing (NaN), infinite, or negative spend."""
    where = f"Column {name!r}, row {row}"
    if math.isnan(value):
        return RowsError(f"{where}: {MISSING if kind == 'number' else MISSING.replace('number', kind)}")
    if math.isinf(value):
        return RowsError(f"{where}: {NOT_FINITE}")
    return RowsError(f"{where}: {show(value)} {NEGATIVE}")


def no_rows() -> RowsError:
    """There is nothing to answer."""
    return RowsError("There are no rows; give at least one.")


def not_finite(row: int) -> RowsError:
    """An answer would be beyond what a double can hold."""
    return RowsError(f"Row {row}: the prediction is too large to be a number; give values nearer to those of the table.")


def unequal(heights: Mapping[str, int]) -> RowsError:
    """Columns have different numbers of values."""
    listed = ", ".join(f"{name!r} {height}" for name, height in list(heights.items())[:LISTED])
    return RowsError(f"The columns have unequal numbers of values ({listed}); give each row a value in each column.")


def as_level(value: object) -> float:
    """The level of an interval, a number between 0 and 1, or a refusal."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < 1:
        raise RowsError(f"interval={show(value)} is no share between 0 and 1; write 0.9 for nine of ten.")
    return float(value)


def as_switch(value: object) -> bool:
    """Whether contributions are asked for, true or false, or a refusal."""
    if value is None or isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    raise RowsError(f"contributions={show(value)} is neither true nor false; write true to see what each channel adds.")


def show(value: object) -> str:
    """A value as a refusal repeats it: whole numbers without a point, text in quotes, cut when long."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, bool):
        return str(value).lower()
    return _cut(repr(value) if isinstance(value, str | float | int) else type(value).__name__)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
