"""Which number does this text write? Decimal point or comma, thousands marks, currency signs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["MISSING", "Decimal", "Evidence", "decide", "evidence", "like_numbers", "missing_as_null", "to_floats"]

Decimal = Literal[".", ","]

MISSING = ("", "-", "na", "n/a", "#n/a", "nan", "null", "none")
"""Cells that say "no value", in lower case."""

_SPACE = "[ \u00a0\u2009\u202f]"
_SIGN = "[+\u2212-]"
_CURRENCY = "(?:[$€£¥₹]|AUD|BRL|CAD|CHF|CNY|DKK|EUR|GBP|INR|JPY|NOK|NZD|PLN|SEK|SGD|USD|ZAR)"
_APOSTROPHE = "['\u2019]"
_INFINITE = r"(?i)^[+-]?inf(inity)?$"


@cache
def _pattern(decimal: Decimal) -> str:
    """All ways to write a finite number with this decimal mark."""
    mark, other = (r"\.", ",") if decimal == "." else (",", r"\.")
    grouped = (rf"[1-9]\d{{0,2}}(?:{m}\d{{3}})+" for m in (other, _SPACE, _APOSTROPHE))
    whole = "|".join([r"\d+", *grouped])
    body = rf"(?:(?:{whole})(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?"
    before = rf"(?:{_SIGN}?{_SPACE}?{_CURRENCY}?|{_CURRENCY}{_SPACE}?{_SIGN}?)"
    after = rf"{_SPACE}?{_CURRENCY}?"
    in_red = rf"\({_CURRENCY}?{_SPACE}?(?:{body}){after}\)"  # what accountants write below 0
    return rf"^(?:{before}{_SPACE}?{body}{after}|{in_red}{after})$"


@dataclass(frozen=True)
class Evidence:
    """How many cells can only be read with a decimal point, only with a comma, and a cell that could be either."""

    point: int = 0
    comma: int = 0
    either: str = ""

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(self.point + other.point, self.comma + other.comma, self.either or other.either)


def missing_as_null(text: Any) -> Any:
    """The text without outer blanks, null where it says "no value"."""
    text = pc.utf8_trim_whitespace(text)
    empty = pc.is_in(pc.utf8_lower(text), value_set=pa.array(MISSING, text.type))
    return pc.if_else(empty, pa.scalar(None, text.type), text)


def evidence(columns: Iterable[Any]) -> Evidence:
    """What the marked numbers of these text columns say about the decimal mark."""
    return reduce(Evidence.__add__, map(_evidence, columns), Evidence())


def _evidence(text: Any) -> Evidence:
    marked = text.filter(pc.match_substring_regex(text, "[.,]"), null_selection_behavior="drop")
    if not len(marked):
        return Evidence()
    marked = pc.utf8_trim_whitespace(marked)
    point = pc.match_substring_regex(marked, _pattern("."))
    comma = pc.match_substring_regex(marked, _pattern(","))
    either = marked.filter(pc.and_(point, comma))
    return Evidence(
        _count(pc.and_not(point, comma)), _count(pc.and_not(comma, point)), either[0].as_py() if len(either) else ""
    )


def _count(mask: Any) -> int:
    return int(pc.sum(mask, min_count=0).as_py())


def decide(found: Evidence, separator: str) -> Decimal | None:
    """The decimal mark that most cells call for; between equals the one that goes with the cell separator."""
    if found.point or found.comma:
        return "." if found.point >= found.comma else ","
    if found.either:
        return "," if separator == ";" else "."
    return None


def like_numbers(text: Any) -> Any:
    """Which cells write a number under either decimal mark (or an infinite one); null where there is no value."""
    either = (pc.match_substring_regex(text, p) for p in (_pattern("."), _pattern(","), _INFINITE))
    return reduce(pc.or_, either)


def to_floats(text: Any, decimal: Decimal) -> tuple[NDArray[np.float64], int | None]:
    """The numbers that a text array writes, NaN for no value, and the first index that writes no number.

    The quick ways come first: a plain cast, then the cast of trimmed cells, and only then the reading of marks.
    """
    for attempt in (_plain, _trimmed):
        try:
            return _as_numpy(pc.cast(attempt(text, decimal), pa.float64())), None
        except pa.ArrowInvalid:
            continue
    return _marked(missing_as_null(text), decimal)


def _plain(text: Any, decimal: Decimal) -> Any:
    if decimal == ".":
        return text
    if pc.any(pc.match_substring(text, ".")).as_py():
        raise pa.ArrowInvalid("thousands marks")
    return pc.replace_substring(text, ",", ".")


def _trimmed(text: Any, decimal: Decimal) -> Any:
    return _plain(missing_as_null(text), decimal)


def _marked(text: Any, decimal: Decimal) -> tuple[NDArray[np.float64], int | None]:
    infinite = pc.match_substring_regex(text, _INFINITE)
    good = pc.or_(pc.match_substring_regex(text, _pattern(decimal)), infinite)
    bad = pc.index(good, False).as_py()
    plain = pc.if_else(good, text, pa.scalar(None, text.type))
    other = "," if decimal == "." else "."
    noise = f"{_SPACE}|{_CURRENCY}|{_APOSTROPHE}|{re.escape(other)}"
    plain = pc.replace_substring_regex(plain, r"^\((.*)\)", r"-\1")
    plain = pc.replace_substring_regex(plain, noise, "")
    plain = pc.replace_substring(pc.replace_substring(plain, ",", "."), "\u2212", "-")
    return _as_numpy(pc.cast(plain, pa.float64())), bad if bad >= 0 else None


def _as_numpy(values: Any) -> NDArray[np.float64]:
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64) + 0.0
