"""What does spend bring over the periods of a plan, and how sure is that?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from adresponse import words
from adresponse.curves import Response, Shape, saturate, saturation_slope
from adresponse.errors import ModelError
from adresponse.planning.student import reach

__all__ = ["Estimate", "Forecast", "Outlook", "Precision"]

Vector = NDArray[np.float64]
KEPT = 256  # estimates for the next time: a plan asks for each several times, and from one plan to the next few amounts change


@dataclass(frozen=True, eq=False)
class Precision:
    """How sure the figures of a least-squares fit are, where the curves' shapes are taken as known.

    Parameters
    ----------
    covariance : array-like of shape (1 + n_channels, 1 + n_channels)
        Of the base sales per period and of the coefficients, in the order of the responses.
    degrees : int
        Degrees of freedom of the residuals.
    """

    covariance: ArrayLike
    degrees: int


@dataclass(frozen=True, eq=False)
class Outlook:
    """What a fitted model knows about the periods to be planned.

    Parameters
    ----------
    responses : tuple of Response
        One for each channel.
    base : array-like of shape (n_periods,)
        Sales of each period planned that no spend brings, in the target's unit. Its length is the horizon; 1 where there
        are no dates.
    today : mapping of str to float
        What each channel gets per period now, in the table's unit.
    seen : mapping of str to (float, float)
        Lowest and highest spend per period among the rows known.
    before : mapping of str to sequence of float
        Spend of the periods before the first one planned, oldest first; it is carried over. Empty: none was spent.
    draws : sequence of sequence of Response
        Alternatives that the fit allows, such as a bootstrap's: of shape (n_draws, n_channels), channels as in ``responses``.
    draw_bases : array-like of shape (n_draws, n_periods) or (n_draws,)
        The base that goes with each draw, per period or in all; empty: as ``base`` in each.
    precision : Precision or None
        Used where there are no draws.
    sold, money : str
        The two units in words, ``thousand units`` and ``thousand dollars``; empty where they are not known.
    market : str or None
        The market that all this is of.
    markets : int
        Without it, of how many markets all this is the average one; 0 where there are none.
    closed : tuple of str
        Markets that are left out, since they have no rows of late.
    size : float or None
        How large the market is beside the average one of all; None where markets count as equal.
    late : (str, str) or None
        The dates planned, and those that the rows fitted speak for, where the first go beyond the second.

    Raises
    ------
    ModelError
        If the parts do not fit each other.
    """

    responses: tuple[Response, ...]
    base: ArrayLike
    today: Mapping[str, float]
    seen: Mapping[str, tuple[float, float]]
    before: Mapping[str, Sequence[float]] = field(default_factory=dict)
    draws: Sequence[Sequence[Response]] = ()
    draw_bases: ArrayLike = ()
    precision: Precision | None = None
    sold: str = ""
    money: str = ""
    market: str | None = None
    markets: int = 0
    closed: tuple[str, ...] = ()
    size: float | None = None
    late: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        names = list(self.channels)
        if not names or len(set(names)) < len(names):
            raise ModelError("A plan needs a response for each channel, and each channel once; fit the model again.")
        for what, given in {"today's spend": self.today, "the range seen": self.seen}.items():
            if missing := [c for c in names if c not in given]:
                raise ModelError(f"{what.capitalize()} of {missing[0]} is not known; give it with the responses.")
        if any([r.channel for r in draw] != names for draw in self.draws):
            raise ModelError("A draw has other channels than the fit; draw them from the same model.")
        if self.precision is not None and np.shape(self.precision.covariance) != (1 + len(names),) * 2:
            raise ModelError(f"The covariance needs {1 + len(names)} rows and columns: the base, then each channel.")

    def notes(self, level: float) -> tuple[str, ...]:
        """What bears on all amounts and intervals, in sentences: markets, dates that are far away, draws that are few."""
        said = list(self.of_markets)
        if self.late is not None:
            planned, known = self.late
            said.append(
                f"Planned are {planned}, beyond {known}; base sales there are carried on farther than the rows can tell."
            )
        if self.draws and len(self.draws) * (1 - level) < 2:  # none of them lies outside an interval
            said.append(
                f"Intervals of {words.number(100 * level)} % are the outermost of {len(self.draws)} draws, and too narrow."
            )
        return tuple(said)

    @property
    def of_markets(self) -> tuple[str, ...]:
        """Of which markets all amounts are, in sentences; none where there is one market or none."""
        if self.market is not None:
            sized = "" if self.size is None else f" at its size, {self.size:.3g} times that of an average one"
            return (f"All amounts are for the market {self.market}, today's too; the curves are those of all markets{sized}.",)
        average = f"All amounts are for an average one of the {self.markets} markets, today's too."
        shut = f"Left out, since there are no rows of late: {words.listing(self.closed)}."
        return (average,) * (self.markets > 1) + (shut,) * bool(self.closed)

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(r.channel for r in self.responses)

    @property
    def periods(self) -> int:
        """The horizon."""
        return len(np.atleast_1d(np.asarray(self.base, dtype=float)))

    @cached_property
    def within(self) -> Forecast:
        """Sales within the horizon."""
        return Forecast.of(self, tail=False)

    @cached_property
    def beyond(self) -> Forecast:
        """Sales within the horizon, and those after it that its spend adds, as if nothing were spent then."""
        return Forecast.of(self, tail=True)

    def forecast(self, tail: bool) -> Forecast:
        return self.beyond if tail else self.within


@dataclass(frozen=True, eq=False)
class Estimate:
    """A figure that is linear in base and coefficients: its value, its value in each draw, and its gradient.

    Parameters
    ----------
    value : float
    drawn : ndarray of shape (n_draws,)
    gradient : ndarray of shape (1 + n_channels,)
        By the base per period and by each coefficient.
    """

    value: float
    drawn: Vector
    gradient: Vector

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(self.value + other.value, self.drawn + other.drawn, self.gradient + other.gradient)

    def __sub__(self, other: Estimate) -> Estimate:
        return self + other.times(-1.0)

    def times(self, factor: float) -> Estimate:
        return Estimate(self.value * factor, self.drawn * factor, self.gradient * factor)

    def plus(self, constant: float) -> Estimate:
        return Estimate(self.value + constant, self.drawn + constant, self.gradient)


@dataclass(frozen=True, eq=False)
class _Channel:
    """A channel's curve over the horizon, for the fit (first row) and each draw.

    Spend is even, so that of an amount ``x`` in period ``k`` there works ``rate_k x + carried_k``. After the horizon only what
    this brings over ``carried_k`` alone counts: earlier spend brings the rest whatever is planned.

    Parameters
    ----------
    shapes : tuple of Shape, of length 1 + n_draws
    half, slope, coefficient : ndarray of shape (1 + n_draws,)
    weights : ndarray of shape (1 + n_draws, n_lags)
    rate, carried : ndarray of shape (1 + n_draws, n_terms)
    times : ndarray of shape (n_terms,)
        How many periods are alike.
    within : int
        Terms of the horizon; those after it follow.
    """

    shapes: tuple[Shape, ...]
    half: Vector
    slope: Vector
    coefficient: Vector
    weights: Vector
    rate: Vector
    carried: Vector
    times: Vector
    within: int

    @classmethod
    def of(cls, drawn: Sequence[Response], before: Sequence[float], periods: int, tail: bool) -> _Channel:
        lags = max(len(r.weights) for r in drawn)
        weights = np.zeros((len(drawn), lags))
        for row, response in zip(weights, drawn, strict=True):
            row[: len(response.weights)] = response.weights
        alike = min(periods, lags)  # from there on, every period has the whole window inside the horizon
        at = np.concatenate([np.arange(alike), np.arange(periods, periods + lags - 1 if tail else periods)])
        times = np.where(at == alike - 1, periods - alike + 1.0, 1.0)
        sums = np.concatenate([np.zeros((len(drawn), 1)), np.cumsum(weights, axis=1)], axis=1)
        rate = (sums[:, np.minimum(at + 1, lags)] - sums[:, np.maximum(at + 1 - periods, 0)]) / periods
        carried = worked(np.zeros(int(at[-1]) + 1), before, weights)[:, at]
        numbers = np.array([(r.half, r.slope, r.coefficient) for r in drawn]).T
        shapes = tuple(r.shape for r in drawn)
        return cls(shapes, numbers[0], numbers[1], numbers[2], weights, rate, carried, times, alike)

    def response(self, amounts: ArrayLike, rows: slice = slice(None)) -> Vector:
        """Response summed over the horizon, before the coefficient; shape (n_rows, n_amounts)."""
        return np.asarray(self._by_shape(saturate, self._working(amounts, rows), rows) @ self.times) - self.earlier[rows, None]

    def response_slope(self, amounts: ArrayLike, rows: slice = slice(None)) -> Vector:
        """Its derivative by the amount; shape (n_rows, n_amounts)."""
        slopes = self._by_shape(saturation_slope, self._working(amounts, rows), rows)
        rate = self.rate[rows, None, :]
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(rate > 0, slopes * rate, 0.0) @ self.times)

    def along_series(self, series: ArrayLike, before: Sequence[float], tail: bool) -> tuple[Vector, Vector]:
        """Response to a spend of each period, and its derivative by money added evenly; each of shape (1 + n_draws,)."""
        spend, after = np.asarray(series, dtype=float), np.zeros(self.weights.shape[1] - 1 if tail else 0)
        works = worked(np.concatenate([spend, after]), before, self.weights)
        added = worked(np.concatenate([np.full(len(spend), 1 / len(spend)), after]), (), self.weights)
        with np.errstate(invalid="ignore"):
            slopes = np.where(added > 0, self._by_shape(saturation_slope, works) * added, 0.0)
        return np.asarray(self._by_shape(saturate, works).sum(axis=1)) - self.earlier, np.asarray(slopes.sum(axis=1))

    @cached_property
    def earlier(self) -> Vector:
        """Response after the horizon to what was spent before it, which is not the plan's; shape (1 + n_draws,)."""
        return np.asarray(self._by_shape(saturate, self.carried[:, self.within :]).sum(axis=1))

    @property
    def limitless(self) -> NDArray[np.bool_]:
        """Whether a first unit brings without limit where nothing is at work yet; shape (1 + n_draws,)."""
        none = np.zeros((len(self.shapes), 1))
        return np.asarray(np.isinf(self._by_shape(saturation_slope, none))[:, 0] & (self.coefficient != 0))

    def _working(self, amounts: ArrayLike, rows: slice) -> Vector:
        spent = np.atleast_1d(np.asarray(amounts, dtype=float))
        return np.asarray(spent[None, :, None] * self.rate[rows, None, :] + self.carried[rows, None, :])

    def _by_shape(self, curve: Callable[..., Vector], works: Vector, rows: slice = slice(None)) -> Vector:
        """A curve of each row's own shape, for spend at work of shape (n_rows, ...)."""
        shapes, ones = self.shapes[rows], (1,) * (works.ndim - 1)
        half, slope = (v[rows].reshape(-1, *ones) for v in (self.half, self.slope))
        found = np.empty_like(works)
        for shape in dict.fromkeys(shapes):
            at = slice(None) if shapes.count(shape) == len(shapes) else np.array([s == shape for s in shapes])
            found[at] = curve(shape, works[at], half[at], slope[at])
        return found


def worked(series: Vector, before: Sequence[float], weights: Vector) -> Vector:
    """Spend after carry-over, for several carry-overs at once (see ``curves.carry_over``).

    Parameters
    ----------
    series : ndarray of shape (n_periods,)
    before : sequence of float
        Spend of the periods before, oldest first.
    weights : ndarray of shape (n_rows, n_lags)

    Returns
    -------
    ndarray of shape (n_rows, n_periods)
    """
    lags = weights.shape[1]
    known = np.asarray(before, dtype=float)[max(len(before) - lags + 1, 0) :]
    whole = np.concatenate([np.zeros(lags - 1 - len(known)), known, series])
    return np.asarray(weights[:, ::-1] @ sliding_window_view(whole, lags).T)


@dataclass(frozen=True, eq=False)
class Forecast:
    """An outlook made ready to be asked many times.

    Parameters
    ----------
    outlook : Outlook
    tail : bool
        Whether sales after the horizon count.
    curves : tuple of _Channel
        In the order of the responses.
    """

    outlook: Outlook
    tail: bool
    curves: tuple[_Channel, ...]
    base: Estimate
    _told: dict[tuple[int, float], Estimate] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, outlook: Outlook, tail: bool) -> Forecast:
        curves = tuple(
            _Channel.of([r, *(draw[i] for draw in outlook.draws)], outlook.before.get(r.channel, ()), outlook.periods, tail)
            for i, r in enumerate(outlook.responses)
        )
        return cls(outlook, tail, curves, _base(outlook))

    def value(self, channel: int) -> Callable[[Vector], Vector]:
        """Sales of the fit by amount, for amounts of shape (n,)."""
        curve, fit = self.curves[channel], slice(0, 1)
        return lambda x: np.asarray(curve.coefficient[0] * curve.response(x, fit)[0].reshape(np.shape(x)))

    def slope(self, channel: int) -> Callable[[Vector], Vector]:
        """Marginal sales of the fit by amount, for amounts of shape (n,)."""
        curve, fit = self.curves[channel], slice(0, 1)
        return lambda x: np.asarray(_times(curve.coefficient[:1], curve.response_slope(x, fit))[0].reshape(np.shape(x)))

    def sales(self, channel: int, amount: float | Sequence[float]) -> Estimate:
        """Sales that a channel brings: for an amount spent evenly, or for the spend of each period."""
        curve = self.curves[channel]
        if isinstance(amount, Sequence):
            return self._estimate(channel, curve.along_series(amount, self._before(channel), self.tail)[0])
        found = self._told.get((channel, amount))
        if found is None:
            if len(self._told) >= KEPT:
                self._told.clear()
            found = self._told[channel, amount] = self._estimate(channel, curve.response(amount)[:, 0])
        return found

    def marginal(self, channel: int, amount: float | Sequence[float]) -> Estimate:
        """What one more unit of money, added evenly, brings on a channel."""
        curve = self.curves[channel]
        if isinstance(amount, Sequence):
            return self._estimate(channel, curve.along_series(amount, self._before(channel), self.tail)[1])
        return self._estimate(channel, curve.response_slope(amount)[:, 0])

    def _before(self, channel: int) -> Sequence[float]:
        return self.outlook.before.get(self.outlook.channels[channel], ())

    def along(self, channel: int, amounts: ArrayLike, level: float) -> tuple[Vector, Vector]:
        """Sales and marginal sales over amounts, each of shape (n_rows, n_amounts).

        The first row is the fit's. The others are the draws', or, without draws, those of both ends of the coefficient's
        interval at ``level``; there are none where the fit does not tell how sure it is.
        """
        curve = self.curves[channel]
        response, slope, coefficient = curve.response(amounts), curve.response_slope(amounts), curve.coefficient
        if len(coefficient) == 1 and self.outlook.precision is not None:
            gradient = np.zeros(1 + len(self.curves))
            gradient[1 + channel] = 1.0
            ends = self.interval(Estimate(float(coefficient[0]), np.empty(0), gradient), level)
            coefficient = np.array([coefficient[0], *(math.nan if e is None else e for e in ends)])
            response, slope = (np.repeat(v, 3, axis=0) for v in (response, slope))
        return _times(coefficient, response), _times(coefficient, slope)

    def all_sales(self, amounts: Sequence[float | Sequence[float]]) -> Estimate:
        """Base and every channel together."""
        return sum((self.sales(i, x) for i, x in enumerate(amounts)), start=self.base)

    def interval(self, estimate: Estimate, level: float) -> tuple[float | None, float | None]:
        """Between what the figure lies at ``level``, the figure itself inside; None where the fit does not tell."""
        if len(estimate.drawn):
            with np.errstate(invalid="ignore"):
                low, high = np.quantile(estimate.drawn, [(1 - level) / 2, (1 + level) / 2])
        elif self.outlook.precision is not None and np.all(np.isfinite(estimate.gradient)):
            covariance = np.asarray(self.outlook.precision.covariance, dtype=float)
            variance = float(estimate.gradient @ covariance @ estimate.gradient)
            half = reach(level, self.outlook.precision.degrees) * math.sqrt(max(variance, 0.0))
            low, high = estimate.value - half, estimate.value + half
        else:
            return None, None
        # where a sign holds a coefficient of the fit at 0, all draws can lie to one side of the figure
        return _finite(min(low, estimate.value)), _finite(max(high, estimate.value))

    def _estimate(self, channel: int, response: Vector) -> Estimate:
        gradient = np.zeros(1 + len(self.curves))
        gradient[1 + channel] = response[0]
        sales = _times(self.curves[channel].coefficient, response)
        return Estimate(float(sales[0]), sales[1:], gradient)


def _base(outlook: Outlook) -> Estimate:
    draws, total = len(outlook.draws), float(np.sum(np.asarray(outlook.base, dtype=float)))
    given = np.asarray(outlook.draw_bases, dtype=float)
    drawn = given.reshape(draws, -1).sum(axis=1) if given.size else np.full(draws, total)
    gradient = np.zeros(1 + len(outlook.responses))
    gradient[0] = outlook.periods
    return Estimate(total, drawn, gradient)


def _times(coefficient: Vector, response: Vector) -> Vector:
    """Product by row, where nothing times an infinite slope is nothing."""
    coefficient = coefficient.reshape(-1, *[1] * (response.ndim - 1))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(coefficient == 0, 0.0, coefficient * response))


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
