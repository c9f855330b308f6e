"""Which period is a date, how far apart are two, and where in the year and the week does it lie? Needs numpy alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ModelError

__all__ = ["WEEKDAYS", "Calendar", "weekday", "year_angle"]

Periods = NDArray[np.int64]
Vector = NDArray[np.float64]
DAY = 86_400
YEAR = 365.2425 * DAY  # the mean Gregorian year, in seconds
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONDAY = np.datetime64("1969-12-29")
WEEKS = 4  # of rows after which a day of the week that never came is none that was left out by chance
FULL = 0.75  # of the days that come which have to be there; of weeks dated now by Monday, now by Tuesday half of them are
NEAR = 4  # days by which the first or last business day of a month moves: a weekend and a holiday beside it


@dataclass(frozen=True)
class Calendar:
    """Dates as whole numbers of periods since a first date.

    Parameters
    ----------
    unit : {"second", "day", "month"}
        What a period is counted in: months where each has one date at most, always about as far from its first or its last
        day, as the first and the last business day are; days where rows come on some days of the week only.
    step : int
        Units in a period: 604800 seconds for weeks, 3 months for quarters, 1 day.
    origin : str
        Date of period 0, as ISO 8601.
    ends : bool
        Whether a month is told by its last day.
    weekmask : str
        Where days are counted, which days of the week are, Monday first, as numpy's ``weekmask``: ``"1111100"``.
    """

    unit: Literal["second", "day", "month"]
    step: int
    origin: str
    ends: bool = False
    weekmask: str = ""

    @classmethod
    def of(cls, dates: ArrayLike) -> Self:
        """The calendar that a table's dates keep: their usual distance is the period, and gaps are allowed.

        Raises
        ------
        ModelError
            If there is no date.
        """
        found = np.unique(_seconds(dates))
        if not len(found):
            raise ModelError("There is no date; give at least one row.")
        origin = str(found[0])
        gaps = np.diff(found).astype(np.int64)
        if not len(gaps):
            return cls("second", DAY, origin)
        months, left = np.diff(_months(found)), _days_left(found)
        if months.min() >= 1 and min(np.ptp(_days_of_month(found)), np.ptp(left)) <= NEAR:
            return cls("month", int(np.gcd.reduce(months)), origin, bool((left == 0).all()))
        if mask := _weekmask(found):
            return cls("day", 1, origin, weekmask=mask)
        return cls("second", int(np.quantile(gaps, 0.5, method="lower")), origin)

    def period(self, dates: ArrayLike) -> Periods:
        """Periods since the origin, rounded to the nearest, or up to the next day that is counted; shape as ``dates``."""
        found, origin = _seconds(dates), np.datetime64(self.origin, "s")
        if self.unit == "day":
            return self._days(found) - self._days(origin)
        passed = _months(found) - _months(origin) if self.unit == "month" else (found - origin).astype(np.int64)
        return np.rint(passed / self.step).astype(np.int64)

    def date(self, period: int) -> str:
        """The date of a period, as ISO 8601; in months the day of the first one, or the last day of a shorter month."""
        origin = np.datetime64(self.origin, "s")
        if self.unit == "month":
            month = origin.astype("datetime64[M]") + period * self.step
            last = (month + 1).astype("datetime64[D]") - 1
            return str(last if self.ends else min(month.astype("datetime64[D]") + int(_days_of_month(origin)), last))
        if self.unit == "day":
            week, place = divmod(int(self._days(origin)) + period, len(self.week))
            time = origin - origin.astype("datetime64[D]")
            return str((MONDAY + 7 * week + self.week[place]).astype("datetime64[s]") + time)
        return str((origin + np.timedelta64(period * self.step, "s")).astype("datetime64[s]"))

    def slot(self, dates: ArrayLike) -> Periods:
        """What no two rows of a market may share: the period; where days are counted the day, since any can be asked about."""
        return _seconds(dates).astype("datetime64[D]").astype(np.int64) if self.unit == "day" else self.period(dates)

    def closed(self, dates: ArrayLike) -> NDArray[np.bool_]:
        """Which dates are on a day of the week that never comes; shape as ``dates``."""
        return ~np.isin(weekday(dates), self.week)

    @property
    def week(self) -> tuple[int, ...]:
        """The days of the week that are counted, 0 for Monday; all of them where days are not told apart."""
        return tuple(day for day, counted in enumerate(self.weekmask or "1111111") if counted == "1")

    @property
    def daily(self) -> bool:
        """Whether a period is a day."""
        return self.unit == "day" or (self.unit == "second" and self.step == DAY)

    @property
    def periods_a_year(self) -> float:
        """How many periods a year has: 52.18 weeks, 12 months."""
        if self.unit == "month":
            return 12 / self.step
        return YEAR / DAY * len(self.week) / 7 if self.unit == "day" else YEAR / self.step

    @property
    def most_waves(self) -> int:
        """How many waves a year the periods can tell apart (Nyquist): 26 in weeks, 5 in months, 1 in quarters."""
        return max(math.ceil(self.periods_a_year / 2 - 1e-9) - 1, 0)

    def _days(self, dates: NDArray[np.datetime64] | np.datetime64) -> Periods:
        """Days that are counted, from a Monday on up to each date, which is not counted itself."""
        weeks, day = np.divmod((dates.astype("datetime64[D]") - MONDAY).astype(np.int64), 7)
        return np.asarray(weeks * len(self.week) + np.searchsorted(self.week, day))


def year_angle(dates: ArrayLike) -> Vector:
    """Where in the year: ``2 pi`` times the years since 1970, so that sine and cosine come back each year."""
    return np.asarray(2 * np.pi * (_seconds(dates).astype(np.int64) / YEAR))


def weekday(dates: ArrayLike) -> Periods:
    """The day of the week, 0 for Monday to 6 for Sunday; shape as ``dates``."""
    return (np.asarray(dates).astype("datetime64[D]") - MONDAY).astype(np.int64) % 7


def _seconds(dates: ArrayLike) -> NDArray[np.datetime64]:
    return np.asarray(dates).astype("datetime64[s]")


def _weekmask(found: NDArray[np.datetime64]) -> str:
    """The days of the week on which sorted dates come, where these are some of the seven and nearly each of them is there."""
    days = np.unique(found.astype("datetime64[D]"))
    comes = np.bincount(weekday(days), minlength=7) > 0
    mask = "".join("01"[come] for come in comes.astype(int))
    if not 1 < comes.sum() < 7 or len(days) < len(found) or days[-1] - days[0] < np.timedelta64(WEEKS, "W"):
        return ""
    return mask if len(days) >= FULL * np.busday_count(days[0], days[-1] + 1, weekmask=mask) else ""


def _months(dates: NDArray[np.datetime64] | np.datetime64) -> Periods:
    return np.asarray(dates).astype("datetime64[M]").astype(np.int64)


def _days_of_month(dates: NDArray[np.datetime64] | np.datetime64) -> Periods:
    """Days since the first of the month."""
    day = np.asarray(dates).astype("datetime64[D]")
    return np.asarray((day - day.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64))


def _days_left(dates: NDArray[np.datetime64]) -> Periods:
    """Days until the last of the month."""
    day = dates.astype("datetime64[D]")
    return np.asarray(((day.astype("datetime64[M]") + 1).astype("datetime64[D]") - day).astype(np.int64) - 1)
