"""What does a channel bring by how much is spent on it, until where does that pay, and where is it saturated?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adresponse import words
from adresponse.errors import ConfigError, did_you_mean
from adresponse.planning.horizon import Forecast, Outlook
from adresponse.planning.roots import crossing

__all__ = ["ResponseCurve", "Returns", "Threshold", "curve", "returns"]

Vector = NDArray[np.float64]
SATURATED = 0.1  # share of its highest to which the marginal return has fallen at the saturation point
UNTOLD = 0.1  # share of draws without a best unit from which on a saturation point is not told
FURTHEST = 100.0  # ranges seen within which a saturation point is looked for
POINTS = 301
NEAREST = 1e-4  # share of the longest spend looked at, from which points lie closer and closer
NEAR_NONE, NEAR_POINTS = 1e-10, 25  # on from there to this share, for what pays next to no spend alone


@dataclass(frozen=True)
class ResponseCurve:
    """What a channel brings, by the amount spent evenly over the horizon.

    Parameters
    ----------
    channel : str
    periods : int
        The horizon; all amounts and sales are for the whole of it.
    spend, sales, low, high : tuple of float
        Sales over what no spend within the horizon would bring, with their interval.
    marginal, marginal_low, marginal_high : tuple of float or None
        Sales of one more unit; None where they rise without limit.
    level : float
    seen_low, seen_high, today : float
        The range seen and today's spend, times the periods.
    """

    channel: str
    periods: int
    spend: tuple[float, ...]
    sales: tuple[float, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    marginal: tuple[float | None, ...]
    marginal_low: tuple[float | None, ...]
    marginal_high: tuple[float | None, ...]
    level: float
    seen_low: float
    seen_high: float
    today: float


@dataclass(frozen=True)
class Threshold:
    """A spend over the horizon at which something changes; None where it does not, and ``sentence`` says why."""

    spend: float | None
    low: float | None
    high: float | None
    sentence: str


@dataclass(frozen=True)
class Returns:
    """What a channel brings at today's spend, and where it stops paying.

    Parameters
    ----------
    channel : str
    today, sales : float
        Today's spend over the horizon, and what it brings.
    roi, roi_low, roi_high : float or None
        ``sales / today``; None where nothing is spent.
    marginal, marginal_low, marginal_high : float or None
        Sales of one more unit (the marginal ROI).
    pays_until : Threshold or None
        Spend at which one more unit earns just what it costs; None without a margin. The highest profit lies there.
    break_even : Threshold or None
        Highest spend that earns back all of it; None without a margin.
    saturation : Threshold
        Spend beyond which one more unit brings less than a tenth of what the best unit brings.
    level : float
    """

    channel: str
    today: float
    sales: float
    roi: float | None
    roi_low: float | None
    roi_high: float | None
    marginal: float | None
    marginal_low: float | None
    marginal_high: float | None
    pays_until: Threshold | None
    break_even: Threshold | None
    saturation: Threshold
    level: float


def curve(
    outlook: Outlook,
    channel: str,
    low: float = 0.0,
    high: float | None = None,
    points: int = 101,
    level: float = 0.9,
    tail: bool = False,
) -> ResponseCurve:
    """A channel's response curve between two amounts, by default from none to the highest seen.

    Raises
    ------
    ConfigError
        If the channel is unknown, or the ends are not in order.
    """
    i = _position(outlook, channel)
    forecast = outlook.forecast(tail)
    seen_low, seen_high = (edge * outlook.periods for edge in outlook.seen[channel])
    top = seen_high if high is None else high
    if not (math.isfinite(top) and 0 <= low < top and points > 1):
        raise ConfigError(f"The curve of {channel} from {low:g} to {top:g} has no points; give two amounts, the lower first.")
    spend = np.linspace(low, top, points)
    sales, slopes = _above_none(forecast, i, spend, level)
    band, slope_band = _band(outlook, sales, level), _band(outlook, slopes, level)
    return ResponseCurve(
        channel=channel,
        periods=outlook.periods,
        spend=tuple(spend.tolist()),
        sales=tuple(sales[0].tolist()),
        low=band[0],
        high=band[1],
        marginal=_known(slopes[0]),
        marginal_low=slope_band[0],
        marginal_high=slope_band[1],
        level=level,
        seen_low=seen_low,
        seen_high=seen_high,
        today=outlook.today[channel] * outlook.periods,
    )


def returns(outlook: Outlook, channel: str, margin: float | None = None, level: float = 0.9, tail: bool = False) -> Returns:
    """Return and marginal return of a channel at today's spend, break-even for a margin, and saturation.

    Raises
    ------
    ConfigError
        If the channel is unknown, or the margin is not above 0.
    """
    i = _position(outlook, channel)
    if margin is not None and not (math.isfinite(margin) and margin > 0):
        raise ConfigError(f"margin={margin:g} must be a finite number above 0.")
    forecast = outlook.forecast(tail)
    today = outlook.today[channel] * outlook.periods
    brought = forecast.sales(i, today) - forecast.sales(i, 0.0)
    marginal = forecast.marginal(i, today)
    roi = None if today == 0 else brought.times(1 / today)
    roi_low, roi_high = (None, None) if roi is None else forecast.interval(roi, level)
    known = math.isfinite(marginal.value)
    marginal_low, marginal_high = forecast.interval(marginal, level) if known else (None, None)
    return Returns(
        channel=channel,
        today=today,
        sales=brought.value,
        roi=None if roi is None else roi.value,
        roi_low=roi_low,
        roi_high=roi_high,
        marginal=marginal.value if known else None,
        marginal_low=marginal_low,
        marginal_high=marginal_high,
        pays_until=None if margin is None else _pays_until(forecast, i, margin, level),
        break_even=None if margin is None else _break_even(forecast, i, margin, level),
        saturation=_saturation(forecast, i, level),
        level=level,
    )


def _position(outlook: Outlook, channel: str) -> int:
    if channel not in outlook.channels:
        raise ConfigError(
            f"{channel!r} is no channel of the model.{did_you_mean(channel, outlook.channels)} "
            f"Channels: {', '.join(outlook.channels)}."
        )
    return outlook.channels.index(channel)


def _above_none(forecast: Forecast, i: int, spend: Vector, level: float) -> tuple[Vector, Vector]:
    """Sales over no spend, and marginal sales: the rows of ``Forecast.along``."""
    sales, slopes = forecast.along(i, np.concatenate([[0.0], spend]), level)
    return sales[:, 1:] - sales[:, :1], slopes[:, 1:]


def _band(outlook: Outlook, rows: Vector, level: float) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    """Interval at each point, from the rows after the first; the first lies inside, as in ``Forecast.interval``."""
    if len(rows) == 1:
        return (None,) * rows.shape[1], (None,) * rows.shape[1]
    if outlook.draws:
        # an order statistic, since a draw may be infinite
        low, high = np.quantile(rows[1:], [(1 - level) / 2, (1 + level) / 2], axis=0, method="inverted_cdf")
    else:
        low, high = rows[1:].min(axis=0), rows[1:].max(axis=0)
    return _known(np.minimum(low, rows[0])), _known(np.maximum(high, rows[0]))


def _known(values: Vector) -> tuple[float | None, ...]:
    return tuple(float(v) if math.isfinite(v) else None for v in values)


def _amounts(outlook: Outlook, i: int, ranges: float) -> Vector:
    """Amounts from none up to so many times the highest seen, closer and closer towards none."""
    near = np.geomspace(NEAR_NONE, NEAREST, NEAR_POINTS)[:-1]
    shares = np.concatenate([[0.0], near, np.geomspace(NEAREST, 1, POINTS)])
    return np.asarray(shares * ranges * outlook.seen[outlook.channels[i]][1] * outlook.periods)


def _crossings(rows: Vector, spend: Vector) -> Vector:
    """The last spend of each row up to where it is at least 0: 0 where it never is, infinite where it still is at the end.

    NaN for a row that is not known.
    """
    holds = rows >= 0
    last = rows.shape[1] - 1 - np.argmax(holds[:, ::-1], axis=1)
    following = np.minimum(last + 1, rows.shape[1] - 1)
    each = np.arange(len(rows))
    above, below = rows[each, last], rows[each, following]
    with np.errstate(invalid="ignore", divide="ignore"):
        between = spend[last] + (spend[following] - spend[last]) * np.where(np.isinf(above), 1.0, above / (above - below))
    found = np.where(~holds.any(axis=1), 0.0, np.where(last == rows.shape[1] - 1, math.inf, between))
    return np.where(np.isnan(rows).all(axis=1), math.nan, found)


def _threshold(outlook: Outlook, rows: Vector, spend: Vector, exact: Callable[[float], float], level: float) -> Threshold:
    """Where the rows fall below 0; that of the fit is made exact between the two points."""
    found = _crossings(rows, spend)
    at = float(found[0])
    if 0 < at < math.inf:
        after = int(np.searchsorted(spend, at))
        left, right = float(spend[max(after - 1, 0)]), float(spend[after])
        if exact(left) >= 0 > exact(right):
            at = crossing(exact, left, right)
    found[0] = at
    low, high = _band(outlook, found[:, None], level)
    return Threshold(at if math.isfinite(at) else None, low[0], high[0], "")


def _begins(row: Vector, spend: Vector, exact: Callable[[float], float]) -> float:
    """Where a curve that pays nothing next to no spend, as an S does, comes to pay; 0 where it pays at once or never."""
    first = int(np.argmax(row >= 0))
    if first == 0:
        return 0.0
    left, right = float(spend[first - 1]), float(spend[first])
    return crossing(exact, left, right) if exact(left) < 0 <= exact(right) else right


def _pays_until(forecast: Forecast, i: int, margin: float, level: float) -> Threshold:
    outlook, spend = forecast.outlook, _amounts(forecast.outlook, i, 1.0)
    rows = margin * _above_none(forecast, i, spend, level)[1] - 1

    def left_over(x: float) -> float:
        return margin * forecast.marginal(i, x).value - 1

    found, begins = _threshold(outlook, rows, spend, left_over, level), _begins(rows[0], spend, left_over)
    return _told(outlook, i, found, begins, f"One more unit earns what it costs (margin {words.number(margin)})", level)


def _break_even(forecast: Forecast, i: int, margin: float, level: float) -> Threshold:
    outlook, spend = forecast.outlook, _amounts(forecast.outlook, i, 1.0)
    sales, slopes = _above_none(forecast, i, spend, level)
    per_unit = np.divide(sales, spend, out=slopes, where=spend > 0)  # towards no spend it becomes the slope
    none = forecast.sales(i, 0.0).value

    def left_over(x: float) -> float:
        each = (forecast.sales(i, x).value - none) / x if x > 0 else forecast.marginal(i, x).value
        return margin * each - 1

    rows = margin * per_unit - 1
    found, begins = _threshold(outlook, rows, spend, left_over, level), _begins(rows[0], spend, left_over)
    return _told(outlook, i, found, begins, f"The whole spend earns itself back (margin {words.number(margin)})", level)


def _told(outlook: Outlook, i: int, found: Threshold, begins: float, what: str, level: float) -> Threshold:
    channel, top = outlook.channels[i], outlook.seen[outlook.channels[i]][1] * outlook.periods
    since = f"from {words.number(begins)} on, " if begins > 0 else ""
    if found.spend is None and since:
        said = f"{what} on {channel} {since}up to the highest seen, {words.number(top)}."
    elif found.spend is None:
        said = f"{what} over the whole range seen of {channel}, up to {words.number(top)}."
    elif found.spend == 0:
        said = f"{what} at no spend on {channel} within the range seen."
    else:
        said = f"{what} on {channel} {since}up to {words.number(found.spend)}{_span(found, level)}."
    return replace(found, sentence=said)


def _saturation(forecast: Forecast, i: int, level: float) -> Threshold:
    outlook, spend = forecast.outlook, _amounts(forecast.outlook, i, FURTHEST)
    channel, shape = outlook.channels[i], outlook.responses[i].shape
    _, slopes = _above_none(forecast, i, spend, level)
    highest = slopes.max(axis=1, keepdims=True)
    limitless = forecast.curves[i].limitless
    if shape == "linear":
        return Threshold(None, None, None, f"{channel} is a straight line, which has no saturation.")
    if limitless[0]:
        said = f"{channel} brings without limit per unit where next to nothing is spent, so no share of its best unit is told."
        return Threshold(None, None, None, said)
    if limitless.mean() > UNTOLD:
        said = (
            f"The data do not tell where {channel} saturates: some curves that they allow bring without limit per unit where "
            "next to nothing is spent."
        )
        return Threshold(None, None, None, said)
    if highest[0, 0] <= 0:
        return Threshold(None, None, None, f"{channel} brings nothing, so it has no saturation.")
    target = SATURATED * float(highest[0, 0])
    limited = ~np.broadcast_to(limitless, len(slopes))
    rows = slopes[limited] - SATURATED * highest[limited]
    found = _threshold(outlook, rows, spend, lambda x: forecast.marginal(i, x).value - target, level)
    if found.spend is None:
        return replace(found, sentence=f"{channel} is far from saturated, even at {words.number(float(spend[-1]))}.")
    seen = outlook.seen[channel][1] * outlook.periods
    outside = "" if found.spend <= seen else f", which is beyond the range seen, up to {words.number(seen)}"
    return replace(
        found,
        sentence=f"From {words.number(found.spend)}{_span(found, level)} on, one more unit on {channel} brings less than a "
        f"tenth of what its best unit brings{outside}.",
    )


def _span(found: Threshold, level: float) -> str:
    if found.low is None or found.high is None:
        return ""
    return f" ({words.number(100 * level)} % interval {words.span(found.low, found.high)})"
