"""Which columns explain sales without spend: trend, season, weekdays, controls and markets?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from adresponse.errors import ModelError, did_you_mean
from adresponse.periods import WEEKDAYS, Calendar, weekday, year_angle

__all__ = ["Surroundings"]

Vector = NDArray[np.float64]


class Surroundings(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Columns of the design beside the channels: trend, Fourier pairs of the year, weekdays, controls, one for each market.

    Parameters
    ----------
    controls : sequence of str
        Numeric columns taken as they are.
    date : str, optional
        Date column; without it there is neither trend nor season.
    market : str, optional
        Market column; each market but the first (by name) gets a column of its own.
    trend : bool
        Whether sales may rise or fall in a straight line over time.
    season : int
        Fourier pairs: 1 for a yearly wave, 2 for one of half a year as well (Harvey and Shephard 1993).
    weekdays : bool
        Whether each day of the table's week but the first gets a column of its own.

    Attributes
    ----------
    calendar_ : Calendar or None
    days_ : tuple of int
        Days of the week that the table has, 0 for Monday.
    span_ : int
        Periods from the first row fitted to the last, at least 1.
    markets_ : tuple of str
    """

    def __init__(
        self,
        controls: Sequence[str] = (),
        date: str | None = None,
        market: str | None = None,
        trend: bool = True,
        season: int = 2,
        weekdays: bool = False,
    ) -> None:
        self.controls = controls
        self.date = date
        self.market = market
        self.trend = trend
        self.season = season
        self.weekdays = weekdays

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Learn the calendar and the markets."""
        self.calendar_ = None if self.date is None else Calendar.of(X[self.date])
        self.days_ = () if self.calendar_ is None else self.calendar_.week
        self.span_ = 1 if self.calendar_ is None else max(int(self.calendar_.period(X[self.date]).max()), 1)
        self.markets_ = () if self.market is None else tuple(str(m) for m in np.unique(X[self.market].to_numpy().astype(str)))
        self.feature_names_in_ = np.array(list(X.columns), dtype=object)
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: pd.DataFrame) -> Vector:
        """Columns of shape (n_rows, n_columns), in the order of ``get_feature_names_out``.

        Raises
        ------
        ModelError
            If a market was not among the rows fitted.
        """
        check_is_fitted(self)
        columns: list[Any] = []
        if self.calendar_ is not None:
            if self.trend:
                columns.append(self.calendar_.period(X[self.date]) / self.span_)
            angle = year_angle(X[self.date])
            for turn in range(1, self.season + 1):
                columns += [np.sin(turn * angle), np.cos(turn * angle)]
            if self.weekdays:
                day = weekday(X[self.date])
                columns += [(day == number).astype(float) for number in self.days_[1:]]
        columns += [X[name].to_numpy(dtype=float) for name in self.controls]
        if self.market is not None:
            markets = X[self.market].to_numpy().astype(str)
            unknown = [str(m) for m in np.unique(markets) if m not in self.markets_]
            if unknown:
                near = did_you_mean(unknown[0], self.markets_)
                raise ModelError(f"Market {unknown[0]!r} was not among the rows fitted.{near}")
            columns += [(markets == name).astype(float) for name in self.markets_[1:]]
        return np.column_stack(columns) if columns else np.empty((len(X), 0))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """``trend``, ``sin 1``, ``cos 1``, ..., ``Tuesday``, ..., the controls, ``market NAME``."""
        names: list[str] = []
        if self.date is not None:
            names += ["trend"] * self.trend
            names += [f"{wave} {turn}" for turn in range(1, self.season + 1) for wave in ("sin", "cos")]
            names += [WEEKDAYS[day] for day in self.days_[1:]] if self.weekdays else []
        names += [*self.controls, *(f"market {name}" for name in self.markets_[1:])]
        return np.array(names, dtype=object)
