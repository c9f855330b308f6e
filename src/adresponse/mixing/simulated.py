"""What does a table look like whose truth we know? Weekly spend and sales, drawn by a seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adresponse.curves import Response, Shape, carry_over, carry_over_weights, saturate

__all__ = ["Ranges", "SimulatedTable", "simulate"]

Vector = NDArray[np.float64]
BEFORE = 52  # weeks that come before the table, so that it begins in the middle of business
YEAR = 52.18


@dataclass(frozen=True)
class Ranges:
    """From what the truth is drawn, evenly between the ends (``half``: evenly in its logarithm).

    Parameters
    ----------
    channels, weeks : (int, int)
        How many, both ends included.
    share : (float, float)
        Share of sales that a channel brings.
    even_logs : bool
        Whether shares are drawn evenly in their logarithm, so that small ones are as frequent as large ones.
    decay : (float, float)
        Geometric carry-over.
    half : (float, float)
        Scale of the curve over the channel's mean spend.
    hill, power : (float, float)
        Slopes of these curves.
    shapes : tuple of Shape
        The curve of each channel is one of them.
    noise : (float, float)
        Standard deviation of weekly noise over mean sales.
    memory : float
        Correlation of the noise from one week to the next.
    flighted : float
        Chance that a channel is on and off by turns, 2 to 10 weeks each; the others are always on.
    ahead : int
        Weeks after the table, to be predicted.
    """

    channels: tuple[int, int] = (3, 5)
    weeks: tuple[int, int] = (104, 208)
    share: tuple[float, float] = (0.03, 0.25)
    even_logs: bool = False
    decay: tuple[float, float] = (0.1, 0.8)
    half: tuple[float, float] = (0.3, 3.0)
    hill: tuple[float, float] = (0.7, 2.5)
    power: tuple[float, float] = (0.3, 0.9)
    shapes: tuple[Shape, ...] = ("hill", "logistic", "log", "power")
    noise: tuple[float, float] = (0.05, 0.15)
    memory: float = 0.0
    flighted: float = 0.8
    ahead: int = 26


@dataclass(frozen=True, eq=False)
class SimulatedTable:
    """A table and its truth.

    Parameters
    ----------
    frame : DataFrame of shape (n_weeks + n_ahead, n_channels + 2)
        ``week``, a column for each channel, ``sales``; the weeks ahead come last.
    weeks : int
        Rows of the table itself.
    responses : tuple of Response
        The truth of each channel.
    contributions : ndarray of shape (n_weeks + n_ahead, n_channels)
        Sales that each channel brought.
    base : ndarray of shape (n_weeks + n_ahead,)
        Sales that no channel brought: level, trend and season.
    noise : float
        Standard deviation of the noise, in the unit of sales.
    """

    frame: pd.DataFrame
    weeks: int
    responses: tuple[Response, ...]
    contributions: Vector
    base: Vector
    noise: float

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the spend columns."""
        return tuple(r.channel for r in self.responses)

    @property
    def expected(self) -> Vector:
        """Sales without noise, shape (n_weeks + n_ahead,)."""
        return np.asarray(self.base + self.contributions.sum(axis=1))


def simulate(seed: int, ranges: Ranges | None = None) -> SimulatedTable:
    """Draw a table and its truth.

    Spend has a common part (a budget year with its moods), a part of each channel's own that lasts some weeks, and flights.
    """
    ranges = ranges or Ranges()
    rng = np.random.default_rng(seed)
    weeks = int(rng.integers(ranges.weeks[0], ranges.weeks[1] + 1))
    channels = int(rng.integers(ranges.channels[0], ranges.channels[1] + 1))
    spend = _spend(rng, BEFORE + weeks + ranges.ahead, channels, ranges.flighted)
    mean_sales = math.exp(rng.uniform(math.log(200), math.log(20_000)))
    seen = slice(BEFORE, BEFORE + weeks)
    drawn = [_response(rng, f"channel_{i + 1}", x, seen, mean_sales, ranges) for i, x in enumerate(spend.T)]
    responses = tuple(response for response, _ in drawn)
    contributions = np.column_stack([sales for _, sales in drawn])
    base = _base(rng, spend.shape[0], weeks, mean_sales, contributions[seen].sum(axis=1).mean())
    noise = rng.uniform(*ranges.noise) * mean_sales
    sales = base + contributions.sum(axis=1) + noise * _lasting(rng, len(base), ranges.memory)
    kept = slice(BEFORE, None)
    frame = pd.DataFrame(spend[kept], columns=[r.channel for r in responses])
    frame.insert(0, "week", pd.date_range("2021-01-04", periods=len(frame), freq="7D"))
    frame["sales"] = sales[kept]
    return SimulatedTable(frame, weeks, responses, contributions[kept], base[kept], float(noise))


def _lasting(rng: np.random.Generator, n: int, memory: float) -> Vector:
    """Standard normal values, each correlated with the one before (AR(1))."""
    steps = rng.standard_normal(n)
    for i in range(1, n):
        steps[i] = memory * steps[i - 1] + math.sqrt(1 - memory**2) * steps[i]
    return steps


def _spend(rng: np.random.Generator, n: int, channels: int, flighted: float) -> Vector:
    common = _lasting(rng, n, 0.7)
    phase = rng.uniform(0, 2 * np.pi)
    wave = np.sin(2 * np.pi * np.arange(n) / YEAR + phase)
    columns = []
    for _ in range(channels):
        own = _lasting(rng, n, rng.uniform(0, 0.7))
        together = rng.uniform(0.3, 0.8)
        moved = together * common + math.sqrt(1 - together**2) * own
        log_spend = rng.uniform(0.3, 0.7) * moved + rng.uniform(0, 0.3) * wave
        on = _flights(rng, n) if rng.uniform() < flighted else np.ones(n)
        level = math.exp(rng.uniform(math.log(5), math.log(200)))
        columns.append(np.round(level * on * np.exp(log_spend), 2))
    return np.column_stack(columns)


def _flights(rng: np.random.Generator, n: int) -> Vector:
    """1 while a campaign runs; between campaigns nothing, or 15 %."""
    on, at, runs = np.ones(n), 0, rng.uniform() < 0.6
    while at < n:
        length = int(rng.integers(2, 11))
        on[at : at + length] = 1.0 if runs else rng.choice([0.0, 0.15])
        at, runs = at + length, not runs
    return on


def _response(
    rng: np.random.Generator, channel: str, spend: Vector, seen: slice, mean_sales: float, ranges: Ranges
) -> tuple[Response, Vector]:
    weights = carry_over_weights("geometric", rng.uniform(*ranges.decay), 0, BEFORE, normalise=True)
    carried = carry_over(spend, weights)
    shape: Shape = ranges.shapes[int(rng.integers(len(ranges.shapes)))]
    half = float(spend[seen].mean() * math.exp(rng.uniform(math.log(ranges.half[0]), math.log(ranges.half[1]))))
    slope = float(rng.uniform(*(ranges.hill if shape == "hill" else ranges.power))) if shape in ("hill", "power") else 1.0
    response = saturate(shape, carried, half, slope)
    share = math.exp(rng.uniform(*np.log(ranges.share))) if ranges.even_logs else rng.uniform(*ranges.share)
    coefficient = float(share * mean_sales / response[seen].mean())
    return Response(channel, shape, half, slope, coefficient, weights), coefficient * response


def _base(rng: np.random.Generator, n: int, weeks: int, mean_sales: float, brought: float) -> Vector:
    """Level, trend and season; over the table it makes up the rest of the mean sales."""
    time = np.arange(n) - BEFORE
    level = mean_sales - brought
    trend = level * rng.uniform(-0.1, 0.3) * time / weeks
    year = 2 * np.pi * time / YEAR
    height = mean_sales * rng.uniform(0.03, 0.15)
    season = height * (np.sin(year + rng.uniform(0, 2 * np.pi)) + 0.4 * np.sin(2 * year + rng.uniform(0, 2 * np.pi)))
    base = trend + season
    return np.asarray(base - base[BEFORE : BEFORE + weeks].mean() + level)
