"""The response model of several channels as one scikit-learn regressor: carry-over, scale, saturation, signed regression."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import MaxAbsScaler
from sklearn.utils.validation import check_is_fitted

from adresponse.curves import CarryOverKind, Shape, carry_over_weights
from adresponse.errors import ModelError
from adresponse.mixing import projection
from adresponse.mixing.carrying import CarryOver
from adresponse.mixing.projection import Problem
from adresponse.mixing.saturating import Saturation
from adresponse.mixing.season import Surroundings
from adresponse.mixing.signed import SignedRegression
from adresponse.periods import Calendar, weekday

__all__ = ["MixRegressor", "mix_pipeline"]

Vector = NDArray[np.float64]
SHORTEST_WINDOW, LONGEST_WINDOW = 3, 28  # periods: a quarter of a year between them, 13 weeks
WEEKS = 8  # of a daily table, from which on each day of the week gets a level of its own
LEAST_TREND = 1e-6  # share of mean sales: less counts as none
TWO_WAVES, ONE_WAVE = 1.9, 0.9  # years of data for a second and a first Fourier pair; 104 weeks are 1.99 years


def mix_pipeline(
    channels: Sequence[str],
    controls: Sequence[str] = (),
    date: str | None = None,
    market: str | None = None,
    *,
    shape: Shape = "hill",
    kind: CarryOverKind = "geometric",
    window: int = 13,
    normalise: bool = True,
    trend: bool = True,
    season: int = 2,
    weekdays: bool = False,
    signs: Sequence[int] | int = 1,
) -> Pipeline:
    """The model with its nonlinear parameters open: to be set, or searched with ``GridSearchCV``.

    Their names are ``design__media__carry__decay`` and ``...__delay``, ``design__media__saturate__half`` (a share of the most
    spend at work in a row) and ``...__slope``. Columns of the design are the channels, then those of ``Surroundings``.
    """
    media = Pipeline(
        [
            ("carry", CarryOver(tuple(channels), date, market, kind, window=window, normalise=normalise)),
            ("scale", MaxAbsScaler()),
            ("saturate", Saturation(shape)),
        ]
    )
    base = Surroundings(tuple(controls), date, market, trend, season, weekdays)
    return Pipeline([("design", FeatureUnion([("media", media), ("base", base)])), ("regress", SignedRegression(signs))])


class MixRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Sales from the spend of several channels; ``fit`` searches carry-over and curves, and solves for the rest.

    Parameters
    ----------
    channels : sequence of str
        Spend columns, >= 0.
    controls : sequence of str
        Further numeric columns.
    date, market : str, optional
        Their columns.
    shape : Shape
        The curve.
    carry_over : CarryOverKind, optional
        By default ``geometric`` where there is a date, else ``none``.
    window : int, optional
        Periods that a spend works; by default those of a quarter of a year, between 3 and 28.
    normalise : bool
        Whether carry-over weights sum to 1.
    trend : bool
        Whether there is a trend, where there is a date.
    season : int, optional
        Fourier pairs of the year; by default 2 for two years of data, 1 for one, else 0.
    weekdays : bool
        Whether days of the week have levels of their own, in a daily table that has each of them eight times.
    free : sequence of str
        Channels whose coefficient may be negative.
    known : mapping of str to (float, float), optional
        Sales per unit of spend that an experiment found for a channel, and their standard error. Its result acts beside the
        data as a measurement of the channel's return over the rows fitted.
    starts : int
        Starts of the search.
    seed : int
        Seed of the starts.
    sizes : {"equal", "sales"} or mapping of str to float
        How large the markets are beside each other: alike, as large as their mean sales, or as given. Spend and sales are
        divided by the size of their market for the fit, so that in a market of twice the size a curve bends at twice the spend
        and brings twice the sales, and level, trend, season, controls and noise are twice as large, too.

    Attributes
    ----------
    channels_ : tuple of str
        Those that were spent on; of the others the rows tell nothing, and they add nothing.
    sizes_ : dict of str to float
        Size of each market, 1 on the average; empty where they count as equal.
    pipeline_ : Pipeline
        See ``mix_pipeline``; what predicts, for a market of size 1.
    problem_, found_
        What was searched, and the best of it (see ``projection``).
    spend_means_, sales_mean_
        What spend and sales were divided by for the search, in the table's units, for a market of size 1.
    unit_ : float
        What sales were divided by for it in all, the geometric mean over the rows.
    """

    def __init__(
        self,
        channels: Sequence[str] = (),
        controls: Sequence[str] = (),
        date: str | None = None,
        market: str | None = None,
        shape: Shape = "hill",
        carry_over: CarryOverKind | None = None,
        window: int | None = None,
        normalise: bool = True,
        trend: bool = True,
        season: int | None = None,
        weekdays: bool = True,
        free: Sequence[str] = (),
        known: Mapping[str, tuple[float, float]] | None = None,
        starts: int = 3,
        seed: int = 42,
        sizes: Literal["equal", "sales"] | Mapping[str, float] = "equal",
    ) -> None:
        self.channels = channels
        self.controls = controls
        self.date = date
        self.market = market
        self.shape = shape
        self.carry_over = carry_over
        self.window = window
        self.normalise = normalise
        self.trend = trend
        self.season = season
        self.weekdays = weekdays
        self.free = free
        self.known = known
        self.starts = starts
        self.seed = seed
        self.sizes = sizes

    def fit(self, X: pd.DataFrame, y: Any) -> Self:
        """Fit the pipeline with the best nonlinear parameters.

        Parameters
        ----------
        X : DataFrame of shape (n_rows, n_columns)
            Has the columns named.
        y : array-like of shape (n_rows,)
            Sales.

        Raises
        ------
        ModelError
            If a column is missing, nothing was ever spent, carry-over is asked for without a date, or a market has no size.
        """
        sales = np.asarray(y, dtype=float)
        self.channels_ = tuple(c for c in self.channels if c not in X.columns or X[c].max() > 0)
        if not self.channels_:
            raise ModelError("Nothing was ever spent on any channel; give rows with spend.")
        self.sizes_ = self._sizes(X, sales)
        size = self.size(X)
        X, sales = self.per_size(X), sales / size
        counts = size / size.mean()
        pipeline = self._open(X)
        design = pipeline["design"]
        media, base = dict(design.transformer_list)["media"], dict(design.transformer_list)["base"]
        carry = media["carry"].fit(X)
        self.spend_means_ = carry.means_
        self.sales_mean_ = float((np.abs(sales) * counts).mean()) or 1.0
        self.unit_ = self.sales_mean_ * float(np.exp(np.log(size).mean()))
        others = base.fit(X).transform(X)
        markets = base.markets_[1:]  # the last columns are theirs
        columns = np.column_stack([np.ones(len(X)), others[:, : others.shape[1] - len(markets)]])
        lags = np.ascontiguousarray((carry.lags(X) / carry.means_).transpose(2, 1, 0))
        signs = tuple(0 if c in self.free else 1 for c in self.channels_)
        self.problem_ = Problem(
            lags,
            sales / self.sales_mean_,
            columns,
            self.shape,
            carry.kind,
            signs,
            carry.previous(X),
            self._shares_known((X[list(self.channels_)].to_numpy(dtype=float) * counts[:, None]).mean(axis=0)),
            counts if self.sizes_ else None,
            np.searchsorted(base.markets_, X[self.market].to_numpy().astype(str)) if markets else None,
        )
        self.found_ = projection.search(self.problem_, self.starts, self.seed)
        self._close(pipeline, X, sales, others.shape[1])
        self.pipeline_ = pipeline
        self.feature_names_in_ = np.array(list(X.columns), dtype=object)
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: pd.DataFrame) -> Vector:
        """Sales, shape (n_rows,), in the target's unit."""
        check_is_fitted(self)
        return np.asarray(self.pipeline_.predict(self.per_size(X)) * self.size(X))

    def size(self, X: pd.DataFrame) -> Vector:
        """Size of the market of each row, shape (n_rows,)."""
        if not self.sizes_:
            return np.ones(len(X))
        # what knows the markets refuses a strange one, so any size will do
        return np.array([self.sizes_.get(m, 1.0) for m in X[self.market].to_numpy().astype(str)])

    def per_size(self, X: pd.DataFrame) -> pd.DataFrame:
        """The rows with spend divided by the size of their market, as the pipeline takes them."""
        if not self.sizes_:
            return X
        size = self.size(X)
        return X.assign(**{c: X[c].to_numpy(dtype=float) / size for c in self.channels_})

    def remember(self, X: pd.DataFrame) -> Self:
        """Take the spend of all rows known, fitted or held out, into what carries over to the periods after them."""
        check_is_fitted(self)
        dict(self.pipeline_["design"].transformer_list)["media"]["carry"].remember(self.per_size(X))
        return self

    def natural(self, theta: Vector) -> dict[str, Vector]:
        """``decay``, ``delay``, ``half`` (in the unit of spend) and ``slope`` of each channel, shape (..., n_channels) each."""
        found = self.problem_.natural(theta)
        found["half"] = found["half"] * self.spend_means_ * self.reaches(found["decay"], found["delay"])
        return found

    def reaches(self, decay: Vector, delay: Vector) -> Vector:
        """Sum of the pipeline's carry-over weights for given parameters, shape as ``decay``; 1 where they are normalised."""
        window = self.problem_.lags.shape[2]
        if self.normalise or window == 1:
            return np.ones_like(decay)
        pairs = zip(decay.ravel(), delay.ravel(), strict=True)
        sums = [sum(carry_over_weights(self.problem_.kind, float(a), float(b), window)) for a, b in pairs]
        return np.array(sums).reshape(decay.shape)

    def _open(self, X: pd.DataFrame) -> Pipeline:
        calendar = None if self.date is None or self.date not in X.columns else Calendar.of(X[self.date])
        kind: CarryOverKind = self.carry_over or ("none" if self.date is None else "geometric")
        if kind != "none" and self.date is None:
            raise ModelError(f"carry_over={kind!r} needs a date column; name it with date.")
        season, window = 0, 1
        if calendar is not None:
            years = (int(calendar.period(X[self.date]).max()) + 1) / calendar.periods_a_year
            season = min(2 if years >= TWO_WAVES else int(years >= ONE_WAVE), calendar.most_waves)
            if self.season is not None and self.season > calendar.most_waves:
                raise ModelError(
                    f"season={self.season} asks for more waves than {round(calendar.periods_a_year)} periods a year can tell "
                    f"apart; give at most {calendar.most_waves}."
                )
            window = int(np.clip(round(calendar.periods_a_year / 4), SHORTEST_WINDOW, LONGEST_WINDOW))
        return mix_pipeline(
            self.channels_,
            self.controls,
            self.date,
            self.market,
            shape=self.shape,
            kind=kind,
            window=window if self.window is None else self.window,
            normalise=self.normalise,
            trend=self.trend and calendar is not None,
            season=season if self.season is None else self.season,
            weekdays=self.weekdays and calendar is not None and calendar.daily and _has_weeks(X[self.date], calendar),
        )

    def _sizes(self, X: pd.DataFrame, sales: Vector) -> dict[str, float]:
        if self.market is None or self.market not in X.columns or self.sizes == "equal":
            return {}
        markets = X[self.market].to_numpy().astype(str)
        names = np.unique(markets)
        if self.sizes == "sales":
            found = {str(m): float(sales[markets == m].mean()) for m in names}
        else:
            given = {str(m): float(size) for m, size in self.sizes.items()}
            if missing := [str(m) for m in names if m not in given]:
                raise ModelError(f"Market {missing[0]!r} has no size; give one for each market, such as its population.")
            found = {str(m): given[m] for m in names}
        if wrong := next((m for m, size in found.items() if not (math.isfinite(size) and size > 0)), None):
            raise ModelError(f"Market {wrong!r} has the size {found[wrong]:g}, which must be above 0; take markets as equal.")
        mean = math.fsum(found.values()) / len(found)
        return {m: size / mean for m, size in found.items()}

    def _shares_known(self, spend: Vector) -> tuple[tuple[float, float] | None, ...]:
        """What experiments found, as shares of mean sales, for the mean spend of each channel."""
        known = self.known or {}
        scale = dict(zip(self.channels_, spend / self.sales_mean_, strict=True))
        found = {c: (float(roi * scale[c]), float(error * scale[c])) for c, (roi, error) in known.items() if c in scale}
        return tuple(found.get(c) for c in self.channels_)

    def _close(self, pipeline: Pipeline, X: pd.DataFrame, sales: Vector, base: int) -> None:
        """Set what was found, and fit the pipeline, whose own least squares comes to the same shares."""
        problem, found = self.problem_, self.found_
        media = dict(pipeline["design"].transformer_list)["media"]
        values = self.natural(found.theta)
        media["carry"].set_params(decay=_floats(values["decay"]), delay=_floats(values["delay"]))
        most = np.abs(media["carry"].transform(X)).max(axis=0)
        media["saturate"].set_params(half=_floats(values["half"] / most), slope=_floats(values["slope"]))
        means = problem.mean(pipeline["design"].fit_transform(X)[:, : problem.channels].T)
        centre, precision = problem.share
        weight = precision * found.variance * means**2
        nothing = (0.0,) * base
        pipeline["regress"].set_params(
            signs=(*problem.signs, *(0,) * base),
            weight=(*_floats(weight), *nothing),
            centre=(*_floats(centre * self.sales_mean_ / means), *nothing),
        )
        pipeline.fit(X, sales)
        if problem.pulled and dict(pipeline["design"].transformer_list)["base"].trend:
            self._damp(pipeline, X, sales)

    def _damp(self, pipeline: Pipeline, X: pd.DataFrame, sales: Vector) -> None:
        """Pull the trend towards none, as a normal prior does whose spread is the trend that least squares found.

        A trend that is large beside its error stays; one that may be chance is not carried on into the future in full
        (Gardner and McKenzie 1985 damp trends for this; the form is adaptive ridge, Grandvalet 1998).
        """
        regress, at = pipeline["regress"], self.problem_.channels
        weight = np.array(regress.weight)
        weight[at] = self.found_.variance / max((regress.coef_[at] / self.sales_mean_) ** 2, LEAST_TREND**2)
        pipeline.set_params(regress__weight=_floats(weight)).fit(X, sales)


def _has_weeks(dates: Any, calendar: Calendar) -> bool:
    """Whether each day of the table's week comes often enough to have a level of its own."""
    return bool(np.bincount(weekday(np.unique(dates)), minlength=7)[list(calendar.week)].min() >= WEEKS)


def _floats(values: Vector) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
