"""Which period is a date, how far apart are two, and where in the year and the week does it lie? Needs numpy alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ModelError

__all__ = ["Calendar", "weekday", "year_angle"]

Periods = NDArray[np.int64]
Vector = NDArray[np.float64]
DAY = 86_400
YEAR = 365.2425 * DAY  # the mean Gregorian year, in seconds
NEAR = 4  # days by which the first or last business day of a month moves: a weekend and a holiday beside it


@dataclass(frozen=True)
class Calendar:
    """Dates as whole numbers of periods since a first date.

    Parameters
    ----------
    unit : {"second", "month"}
        What a period is counted in: months where each has one date at most, always about as far from its first or its last
        day, as the first and the last business day are.
    step : int
        Units in a period: 604800 seconds for weeks, 3 months for quarters.
    origin : str
        Date of period 0, as ISO 8601.
    ends : bool
        Whether a month is told by its last day.
    """

    unit: Literal["second", "month"]
    step: int
    origin: str
    ends: bool = False

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
        return cls("second", int(np.quantile(gaps, 0.5, method="lower")), origin)

    def period(self, dates: ArrayLike) -> Periods:
        """Periods since the origin, rounded to the nearest; shape as ``dates``."""
        found, origin = _seconds(dates), np.datetime64(self.origin, "s")
        passed = _months(found) - _months(origin) if self.unit == "month" else (found - origin).astype(np.int64)
        return np.rint(passed / self.step).astype(np.int64)

    def date(self, period: int) -> str:
        """The date of a period, as ISO 8601; in months the day of the first one, or the last day of a shorter month."""
        origin = np.datetime64(self.origin, "s")
        if self.unit == "month":
            month = origin.astype("datetime64[M]") + period * self.step
            last = (month + 1).astype("datetime64[D]") - 1
            return str(last if self.ends else min(month.astype("datetime64[D]") + int(_days_of_month(origin)), last))
        return str((origin + np.timedelta64(period * self.step, "s")).astype("datetime64[s]"))

    @property
    def daily(self) -> bool:
        """Whether a period is a day."""
        return self.unit == "second" and self.step == DAY

    @property
    def periods_a_year(self) -> float:
        """How many periods a year has: 52.18 weeks, 12 months."""
        return 12 / self.step if self.unit == "month" else YEAR / self.step

    @property
    def most_waves(self) -> int:
        """How many waves a year the periods can tell apart (Nyquist): 26 in weeks, 5 in months, 1 in quarters."""
        return max(math.ceil(self.periods_a_year / 2 - 1e-9) - 1, 0)


def year_angle(dates: ArrayLike) -> Vector:
    """Where in the year: ``2 pi`` times the years since 1970, so that sine and cosine come back each year."""
    return np.asarray(2 * np.pi * (_seconds(dates).astype(np.int64) / YEAR))


def weekday(dates: ArrayLike) -> Periods:
    """The day of the week, 0 for Monday to 6 for Sunday; shape as ``dates``."""
    return (np.asarray(dates).astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970 began on a Thursday


def _seconds(dates: ArrayLike) -> NDArray[np.datetime64]:
    return np.asarray(dates).astype("datetime64[s]")


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
