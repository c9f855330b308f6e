"""What would be sold without any spend: level, trend, season, weekdays, controls and markets, as numbers. Needs numpy alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ModelError, did_you_mean
from .periods import WEEKDAYS, Calendar, weekday, year_angle

__all__ = ["Baseline"]

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Baseline:
    """Sales that no channel adds. For a row at date ``d`` of market ``m``, in this order::

        intercept + trend * period(d) / span
                  + season_1 * sin(angle(d)) + season_2 * cos(angle(d)) + season_3 * sin(2 angle(d)) + ...
                  + weekdays[day(d)] + controls_1 * c_1 + ... + markets[m]

    Parameters
    ----------
    intercept : float
        In the target's unit, like all that follows.
    trend : float
        Rise over the rows fitted, first period to last; 0 without a date.
    season : tuple of float
        Sine and cosine of one year, of half a year, and so on (Fourier pairs); empty without a season.
    controls : dict of str to float
        Sales for one more unit of each control.
    markets : dict of str to float
        What a market sells more than the first one; empty without markets.
    calendar : Calendar or None
        Turns dates into periods; None without a date.
    span : int
        Periods from the first row fitted to the last.
    weekdays : tuple of float
        What Monday, ..., Sunday sell more than the first day of the table's week does, 0 for days that never come; empty where
        days of the week are not told apart.
    """

    intercept: float
    trend: float = 0.0
    season: tuple[float, ...] = ()
    controls: dict[str, float] = field(default_factory=dict)
    markets: dict[str, float] = field(default_factory=dict)
    calendar: Calendar | None = None
    span: int = 1
    weekdays: tuple[float, ...] = ()

    def sales(
        self,
        rows: int,
        dates: ArrayLike | None = None,
        controls: Mapping[str, ArrayLike] | None = None,
        markets: ArrayLike | None = None,
    ) -> Vector:
        """Sales of each row without spend, shape (rows,), in the target's unit.

        Parameters
        ----------
        rows : int
            How many rows.
        dates : array-like of datetime64 of shape (rows,), optional
            Needed where there is a calendar.
        controls : mapping of str to array-like of shape (rows,), optional
            Needed for each control.
        markets : array-like of str of shape (rows,), optional
            Needed where there are markets.

        Raises
        ------
        ModelError
            If a date, a control or a market is missing, or a market was not among the rows fitted.
        """
        total = np.full(rows, self.intercept)
        if self.calendar is not None:
            if dates is None:
                raise ModelError("The model has a date column; give the date of each row.")
            total = total + self.trend * (self.calendar.period(dates) / self.span)
            angle = year_angle(dates)
            for i, coefficient in enumerate(self.season):
                turn = (i // 2 + 1) * angle
                total = total + coefficient * (np.cos(turn) if i % 2 else np.sin(turn))
            if self.weekdays:
                total = total + np.array(self.weekdays)[weekday(dates)]
        for name, coefficient in self.controls.items():
            if controls is None or name not in controls:
                raise ModelError(f"Column {name!r} is missing; the model has it as a control.")
            total = total + coefficient * np.asarray(controls[name], dtype=float)
        if self.markets:
            if markets is None:
                raise ModelError("The model has a market column; give the market of each row.")
            total = total + np.array([self._market(str(m)) for m in np.asarray(markets)])
        return total

    def beyond(self, dates: ArrayLike) -> tuple[str, str] | None:
        """The dates given, first to last, and those that the rows fitted speak for; None where all are among these.

        They begin with the first row fitted, and end as long after the last one: a trend is carried on by its own length.
        """
        outside = self.outside(dates)
        if self.calendar is None or not outside.any():
            return None
        days = np.asarray(dates).astype("datetime64[D]")
        closed = self.calendar.closed(days)
        if closed.any():
            day = days[closed].min()
            known = ", ".join(WEEKDAYS[i] for i in self.calendar.week)
            return f"{day}, a {WEEKDAYS[int(weekday(day))]}", f"the days of the week that the rows fitted have, {known}"
        first, last = self.calendar.date(0)[:10], self.calendar.date(2 * self.span)[:10]
        return f"{days.min()} to {days.max()}", f"the dates that the rows fitted speak for, {first} to {last}"

    def outside(self, dates: ArrayLike) -> NDArray[np.bool_]:
        """Which dates are not among those that the rows fitted speak for (see ``beyond``); shape as ``dates``."""
        if self.calendar is None:
            return np.zeros(np.shape(dates), dtype=bool)
        periods = self.calendar.period(dates)
        return (periods < 0) | (periods > 2 * self.span) | self.calendar.closed(dates)

    def _market(self, name: str) -> float:
        if name not in self.markets:
            raise ModelError(f"Market {name!r} was not among the rows fitted.{did_you_mean(name, self.markets)}")
        return self.markets[name]
