"""Which day does this text write? ISO dates, weeks, months and quarters; dates with dots, slashes, dashes or a month's name."""

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
_W = r"(?:W|KW|CW|WK|Week)"
_WEEK = re.compile(rf"(?P<year>\d{{4}})[-/ ]?{_W}[- ]?(?P<week>\d{{1,2}})(?:-?(?P<weekday>[1-7]))?", re.IGNORECASE)
_WEEK_FIRST = re.compile(rf"{_W}[-. ]?(?P<week>\d{{1,2}})(?:[-/]|,? )(?P<year>\d{{4}})", re.IGNORECASE)
_QUARTER = re.compile(r"(?P<year>\d{4})[-/ ]?Q(?P<quarter>[1-4])|Q(?P<quarter_>[1-4])[-/ ](?P<year_>\d{4})", re.IGNORECASE)
_YEAR_LAST = re.compile(  # 24-01-05 begins with the year as a rule, so dashes ask for all four digits
    rf"(?P<first>\d{{1,2}})(?P<mark>[./-])(?P<second_>\d{{1,2}})(?P=mark)(?P<year>\d{{4}}|(?<!-)\d{{2}}){_CLOCK}"
)
_NAMED = re.compile(  # 2-Jan-24, 2. Januar 2024; Jan 2, 2024; Jan-24, Jan 2024, but not "Jan 24", which may be a day
    r"(?:(?P<day>\d{1,2})(?:\.? |[-./])(?P<month>[^\W\d_]+)(?:\.? |[-./])(?P<year>\d{4}|\d{2})"
    r"|(?P<month_>[^\W\d_]+)\.? (?P<day_>\d{1,2}),? (?P<year_>\d{4})"
    r"|(?P<month__>[^\W\d_]+)(?:(?:\.? |[-./])(?P<year__>\d{4})|(?:-| ?')(?P<short>\d{2})))"
)
_MONTHS = (  # English, German, French, Spanish; mrz is how German spreadsheets shorten it
    *("january januar janvier enero", "february februar février febrero", "march märz mrz mars marzo", "april avril abril"),
    *("may mai mayo", "june juni juin junio", "july juli juillet julio", "august août agosto"),
    *("september septembre septiembre", "october oktober octobre octubre", "november novembre noviembre"),
    "december dezember décembre diciembre",
)


@dataclass(frozen=True)
class Order:
    """Whether the day comes first in dates such as 31/12/2024, and a date that leaves it open, if all do."""

    day_first: bool
    open_case: str = ""


def order_of(texts: Iterable[str], separator: str) -> Order | None:
    """What dates such as 31/12/2024 or 12/31/2024 say about their order; None where there is no such date.

    Where all leave it open, it is month-first, or day-first in a file whose cells are separated by semicolons. A year of two
    digits leaves open which part it is.
    """
    found = [m for m in map(_YEAR_LAST.fullmatch, texts) if m and m["mark"] != "."]
    if not found:
        return None
    day_first = sum(int(m["first"]) > 12 for m in found)
    month_first = sum(int(m["second_"]) > 12 for m in found)
    if day_first or month_first:
        return Order(day_first > month_first, next((m[0] for m in found if len(m["year"]) == 2), ""))
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
        return datetime(_year(m["year"]), month, day) + _time(m)
    if m := _WEEK.fullmatch(text):
        return datetime.fromisocalendar(int(m["year"]), int(m["week"]), int(m["weekday"] or 1))
    if m := _WEEK_FIRST.fullmatch(text):
        return datetime.fromisocalendar(int(m["year"]), int(m["week"]), 1)
    if m := _QUARTER.fullmatch(text):
        return datetime(int(m["year"] or m["year_"]), 3 * int(m["quarter"] or m["quarter_"]) - 2, 1)
    if m := _MONTH.fullmatch(text):
        return datetime(int(m["year"]), int(m["month"]), 1)
    if m := _COMPACT.fullmatch(text):
        return datetime(int(m["year"]), int(m["month"]), int(m["day"]))
    if m := _NAMED.fullmatch(text):
        year = m["year"] or m["year_"] or m["year__"] or m["short"]
        return datetime(_year(year), _month(m["month"] or m["month_"] or m["month__"]), int(m["day"] or m["day_"] or 1))
    return None


def _year(text: str) -> int:
    return int(text) if len(text) == 4 else 2000 + int(text)


def _month(name: str) -> int:
    """The only month whose name begins so, with three letters or more."""
    begins = [i for i, names in enumerate(_MONTHS, 1) if any(n.startswith(name.casefold()) for n in names.split())]
    if len(name) < 3 or len(begins) != 1:
        raise ValueError
    return begins[0]


def _time(m: re.Match[str]) -> timedelta:
    if m["hour"] is None:
        return timedelta()
    hour, minute, second = int(m["hour"]), int(m["minute"]), int(m["second"] or 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError
    return timedelta(hours=hour, minutes=minute, seconds=second, microseconds=int((m["part"] or "0")[:6].ljust(6, "0")))
