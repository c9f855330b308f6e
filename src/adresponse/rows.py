"""Do these rows keep the model's contract? One answer, in the same words, wherever rows are scored.

Every number becomes float64, so that 100 and 100.0 are answered alike. Text, true and false, a missing, infinite or
NaN value and negative spend are refused. This file goes with every stored model (see ``stored.py``). It loads numpy where
it makes or reads arrays, so that a server of few rows a request goes without.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from .errors import RowsError, did_you_mean
from .schema import Contract

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "MISSING",
    "NEGATIVE",
    "NOT_FINITE",
    "Vector",
    "as_level",
    "check",
    "check_few",
    "missing_column",
    "no_number",
    "no_rows",
    "not_finite",
    "pick",
    "refuse_bad_value",
    "refuse_bad_values",
    "show",
    "to_floats",
    "unequal",
    "unknown_column",
]

Vector: TypeAlias = "NDArray[np.float64]"
SHOWN = 40  # characters of a refused value or name that are repeated to the sender
MISSING = "the value is missing; give a number."
NOT_FINITE = "the value is not finite; give a finite number."
NEGATIVE = "is negative, and spend is 0 or more."
LISTED = 12  # column names that are repeated


def check(contract: Contract, given: Mapping[str, Any]) -> list[Vector]:
    """The model's columns as float64, in the contract's order of features, or a refusal.

    Parameters
    ----------
    contract : Contract
        The model's contract. Its target, date and market may be among the columns given; they are not read.
    given : mapping of str to array-like of shape (n_rows,)
        Values by column name: numpy arrays, sequences, or anything with ``to_numpy``.

    Raises
    ------
    RowsError
        Naming the column, the row (from 1), the value and the rule; the first row that breaks one.
    """
    columns = [to_floats(name, values) for name, values in pick(contract, given).items()]
    refuse_bad_values(contract, columns)
    return columns


def check_few(contract: Contract, given: Mapping[str, Sequence[Any]]) -> list[list[float]]:
    """The same for Python's values in Python's sequences, as lists and without numpy: quicker for a few rows."""
    columns = [[_number(name, row, v) for row, v in enumerate(values, 1)] for name, values in pick(contract, given).items()]
    refuse_bad_values(contract, columns)
    return columns


def pick(contract: Contract, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the contract's features, in its order; a missing or an unknown column is refused."""
    for name in contract.features:
        if name not in given:
            raise missing_column(name, given)
    known = {c.name for c in contract.columns}
    for name in given:
        if name not in known:
            raise unknown_column(str(name), contract)
    return {name: given[name] for name in contract.features}


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


def refuse_bad_values(contract: Contract, columns: Sequence[Vector | Sequence[float]]) -> None:
    """Refuse no rows, columns of unequal length, and the first row with a missing, infinite or negative value.

    Parameters
    ----------
    contract : Contract
        Gives the names, and which of the columns are spend.
    columns : sequence of ndarray of shape (n_rows,), or of sequences of n_rows floats
        The features in the contract's order.
    """
    heights = {name: len(column) for name, column in zip(contract.features, columns, strict=True)}
    if len(set(heights.values())) > 1:
        raise unequal(heights)
    if not heights[contract.features[0]]:
        raise no_rows()
    spend = len(contract.channels)
    first = [_first_bad(column, 0.0 if i < spend else -math.inf) for i, column in enumerate(columns)]
    worst = min(((row, i) for i, row in enumerate(first) if row is not None), default=None)
    if worst is not None:
        row, i = worst
        raise refuse_bad_value(contract.features[i], row + 1, float(columns[i][row]))


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
    listed = ", ".join(_cut(n) for n in names[:LISTED]) + (", ..." if len(names) > LISTED else "")
    return RowsError(f"Column {name!r} is missing.{did_you_mean(name, names[:100])} The rows have: {listed or 'no column'}.")


def unknown_column(name: str, contract: Contract) -> RowsError:
    """A column is none of the contract's."""
    listed = ", ".join(contract.features)
    return RowsError(
        f"Column {_cut(name)!r} is not known to the model.{did_you_mean(_cut(name), contract.features)} It takes: {listed}."
    )


def no_number(name: str, row: int, value: object) -> RowsError:
    """A value is text, true or false, or a structure."""
    return RowsError(f"Column {name!r}, row {row}: {show(value)} is not a number; give a number without quotes.")


def refuse_bad_value(name: str, row: int, value: float) -> RowsError:
    """A number is missing (NaN), infinite, or negative spend."""
    where = f"Column {name!r}, row {row}"
    if math.isnan(value):
        return RowsError(f"{where}: {MISSING}")
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


def show(value: object) -> str:
    """A value as a refusal repeats it: whole numbers without a point, text in quotes, cut when long."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, bool):
        return str(value).lower()
    return _cut(repr(value) if isinstance(value, str | float | int) else type(value).__name__)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
