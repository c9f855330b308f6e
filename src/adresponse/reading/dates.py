"""Which day does this text write? ISO dates, weeks and months; dates with dots, slashes or dashes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = ["Order", "order_of", "parse"]

_CLOCK = r"(?:[T ]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?"
_CLOCK += r"\s*(?:Z|[+-]\d{2}:?\d{2})?)?"
_YEAR_FIRST = re.compile(rf"(?P<year>\d{{4}})(?P<mark>[-/.])(?P<month>\d{{1,2}})(?:(?P=mark)(?P<day>\d{{1,2}}){_CLOCK})?")
_COMPACT = re.compile(r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})")
_MONTH = re.compile(r"(?P<month>\d{1,2})[./-](?P<year>\d{4})")
_AMOUNT = re.compile(r"(?!19|20)\d{4}\.\d{1,2}|\d{1,2}\.(?!19|20)\d{4}")  # 3441.6 is no June of a year to come
_WEEK = re.compile(r"(?P<year>\d{4})-?W(?P<week>\d{1,2})(?:-?(?P<weekday>[1-7]))?", re.IGNORECASE)
_YEAR_LAST = re.compile(rf"(?P<first>\d{{1,2}})(?P<mark>[./-])(?P<second_>\d{{1,2}})(?P=mark)(?P<year>\d{{4}}){_CLOCK}")


@dataclass(frozen=True)
class Order:
    """Whether the day comes first in dates such as 31/12/2024, and a date that leaves it open, if all do."""

    day_first: bool
    open_case: str = ""


def order_of(texts: Iterable[str], separator: str) -> Order | None:
    """What dates such as 31/12/2024 or 12/31/2024 say about their order; None where there is no such date.

    Where all leave it open, it is month-first, or day-first in a file whose cells are separated by semicolons.
    """
    found = [m for m in map(_YEAR_LAST.fullmatch, texts) if m and m["mark"] != "."]
    if not found:
        return None
    day_first = sum(int(m["first"]) > 12 for m in found)
    month_first = sum(int(m["second_"]) > 12 for m in found)
    if day_first or month_first:
        return Order(day_first > month_first)
    return Order(separator == ";", found[0][0])


def parse(text: str, day_first: bool) -> datetime | None:
    """The moment that the text writes, as its own clock shows it (an offset is not applied); None if it is no date."""
    try:
        return _parse(text.strip(), day_first)
    except (ValueError, OverflowError):
        return None


def _parse(text: str, day_first: bool) -> datetime | None:
    if _AMOUNT.fullmatch(text):
        return None
    if m := _YEAR_FIRST.fullmatch(text):
        return datetime(int(m["year"]), int(m["month"]), int(m["day"] or 1)) + _time(m)
    if m := _YEAR_LAST.fullmatch(text):
        first, second = int(m["first"]), int(m["second_"])
        day, month = (first, second) if day_first or m["mark"] == "." else (second, first)
        return datetime(int(m["year"]), month, day) + _time(m)
    if m := _WEEK.fullmatch(text):
        return datetime.fromisocalendar(int(m["year"]), int(m["week"]), int(m["weekday"] or 1))
    if m := _MONTH.fullmatch(text):
        return datetime(int(m["year"]), int(m["month"]), 1)
    if m := _COMPACT.fullmatch(text):
        return datetime(int(m["year"]), int(m["month"]), int(m["day"]))
    return None


def _time(m: re.Match[str]) -> timedelta:
    if m["hour"] is None:
        return timedelta()
    hour, minute, second = int(m["hour"]), int(m["minute"]), int(m["second"] or 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError
    return timedelta(hours=hour, minutes=minute, seconds=second, microseconds=int((m["part"] or "0")[:6].ljust(6, "0")))
