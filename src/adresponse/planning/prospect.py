"""What does a fitted model know of the periods to come: base sales, curves, today's spend, and how sure all that is?

It rests in ``prospect.json`` beside the formula, so that a server or a command can plan without the table and without
scikit-learn. Where a table has markets, a plan is for an average one, or for the one that is named.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from adresponse import words
from adresponse.baseline import Baseline
from adresponse.curved import Curves
from adresponse.curves import Response
from adresponse.errors import ConfigError, ModelError, did_you_mean
from adresponse.formula import Formula
from adresponse.periods import Calendar
from adresponse.planning.horizon import Outlook, Precision
from adresponse.schema import Contract

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FILE", "Prospect", "prospect_of", "straight"]

Vector = NDArray[np.float64]
FILE = "prospect.json"
SCHEMA, SCHEMA_VERSION = "adresponse/prospect", 2
EQUAL_VERSION = 1  # what a model needs whose markets have no sizes
RECENT = 13  # periods whose mean spend is today's; fewer where they are more than a year and one period
SHOWN = 20  # markets that a refusal names
RECENT_WEEKS = 2  # the same where days of the week differ, so that each counts alike
POINTS = 200  # of a channel that are kept to be drawn
HORIZON = 13  # periods planned where nobody says how many
LONGEST = 520  # periods that can be planned: ten years of weeks


@dataclass(frozen=True)
class Place:
    """What a plan needs to know of one market; ``today``, ``before`` and ``controls`` as in ``Prospect``."""

    today: dict[str, float]
    before: dict[str, tuple[float, ...]]
    controls: dict[str, float]


@dataclass(frozen=True)
class Prospect:
    """All that a plan needs.

    Parameters
    ----------
    contract : Contract
        Channels and units.
    curves : Curves
        Base sales and responses; a straight line is a response of shape ``linear``.
    today : dict of str to float
        Spend of each channel per period now: the mean of the last periods, or of all rows where the table has no dates.
    seen : dict of str to (float, float)
        Lowest and highest spend per period among all rows known, held out or not; over the size of its market.
    before : dict of str to tuple of float
        Spend of the last periods, the oldest first.
    controls : dict of str to float
        What each control is taken to be: its mean over the rows that give ``today``.
    last : int
        The last period known; plans begin with the next one. 0 without dates.
    covariance : tuple of tuple of float, or None
        Of the base per period and the coefficients of the channels, robust (HC3), where the model is a straight line.
    degrees : int
        Degrees of freedom of that.
    draws : tuple of Curves
        Alternatives that the fit allows, where it is a model of curves.
    points : dict of str to tuple of (float, float)
        For each channel some rows fitted: spend at work in a period, and sales less what everything else is thought to
        bring, both over the size of their market; what a response curve is drawn through.
    closed : tuple of str
        Markets without a row in the periods that give ``today``: plans leave them out.
    places : dict of str to Place
        The open markets, each by itself; ``today``, ``before`` and ``controls`` above are their means. Empty where the model
        knows no markets, or was stored before plans were made for one.
    """

    contract: Contract
    curves: Curves
    today: dict[str, float]
    seen: dict[str, tuple[float, float]]
    before: dict[str, tuple[float, ...]]
    controls: dict[str, float]
    last: int = 0
    covariance: tuple[tuple[float, ...], ...] | None = None
    degrees: int = 0
    draws: tuple[Curves, ...] = ()
    points: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    closed: tuple[str, ...] = ()
    places: dict[str, Place] = field(default_factory=dict)

    @property
    def dated(self) -> bool:
        """Whether there are periods, so that a horizon can be asked for."""
        return self.curves.dated

    def usual(self, spend: Mapping[str, float | Sequence[float]] | None = None) -> int:
        """The horizon where nobody says one: 13 periods (1 without dates), or as many as a plan names period by period."""
        named = max((len(each) for each in (spend or {}).values() if isinstance(each, Sequence)), default=1)
        return named if named > 1 else HORIZON if self.dated else 1

    def outlook(self, horizon: int | None = None, market: str | None = None) -> Outlook:
        """What is known of the next ``horizon`` periods, the usual ones without it; of one market, or of the average one.

        Raises
        ------
        ConfigError
            If the horizon is out of range, or the market cannot be planned for.
        """
        horizon = self.usual() if horizon is None else horizon
        place, size = self._place(market), self.size(market)
        if not 1 <= horizon <= (LONGEST if self.dated else 1):
            rule = f"give 1 to {LONGEST} periods" if self.dated else "the model has no dates, so a plan is for one row"
            raise ConfigError(f"horizon={horizon} cannot be planned; {rule}.")
        target, channel, dates = self.contract.target, self.contract.channels[0], self.dates(horizon)
        precision = None if self.covariance is None else Precision(np.array(self.covariance), self.degrees)
        return Outlook(
            responses=tuple(r.of_size(size) for r in self.curves.responses),
            base=self._base(self.curves.baseline, horizon, place, market),
            today=place.today,
            seen={name: (low * size, high * size) for name, (low, high) in self.seen.items()},
            before=place.before,
            draws=[[r.of_size(size) for r in draw.responses] for draw in self.draws],
            draw_bases=np.array([self._base(draw.baseline, horizon, place, market) for draw in self.draws])
            if self.draws
            else (),
            precision=precision,
            sold=self.contract[target].unit,
            money=self.contract[channel].unit,
            market=market,
            markets=len(self.open),
            closed=self.closed,
            size=size if self.curves.sizes else None,
            late=self.curves.baseline.beyond(np.array(dates, dtype="datetime64[s]")) if dates else None,
        )

    def size(self, market: str | None) -> float:
        """How large a market is; without one, the mean of those that are open. 1 where markets count as equal."""
        sizes = self.curves.sizes
        if not sizes:
            return 1.0
        return sizes[market] if market is not None else math.fsum(sizes[name] for name in self.open) / len(self.open)

    def dates(self, horizon: int) -> list[str]:
        """The dates of the next periods, as ISO 8601."""
        calendar = self.curves.baseline.calendar
        return [] if calendar is None else [calendar.date(self.last + 1 + i) for i in range(horizon)]

    @property
    def open(self) -> tuple[str, ...]:
        """The markets that have rows of late."""
        return tuple(name for name in self.curves.baseline.markets if name not in self.closed)

    def _place(self, market: str | None) -> Place:
        if market is None:
            return Place(self.today, self.before, self.controls)
        if market in self.places:
            return self.places[market]
        known = self.curves.baseline.markets
        if market in self.closed:
            problem = "has no rows of late, so what it spends today is not known; name another, or none for an average one"
        elif market in known:
            problem = "was not kept by itself by the older adresponse that fitted the model; fit it again, or name no market"
        elif known:
            problem = f"is no market of the model.{did_you_mean(market, known)} It has {words.listing(list(known), SHOWN)}"
        else:
            problem = "cannot be planned for, since the model knows no markets; leave it out"
        raise ConfigError(f"market={market!r} {problem}.")

    def _base(self, baseline: Baseline, horizon: int, place: Place, market: str | None) -> Vector:
        """Base sales of the next periods in a market; without one, the mean over those that are open, where there are some."""
        controls = {name: np.full(horizon, place.controls[name]) for name in baseline.controls}
        dates = np.array(self.dates(horizon), dtype="datetime64[s]") if baseline.calendar is not None else None
        named = self.open if market is None else (market,)
        places: list[Any] = [np.full(horizon, name) for name in named]
        each = [baseline.sales(horizon, dates, controls, markets) for markets in places or [None]]
        if self.curves.sizes:
            each = [sales * self.curves.sizes[name] for sales, name in zip(each, named, strict=True)]
        return np.asarray(np.mean(each, axis=0))

    def to_json(self) -> str:
        """The text of ``prospect.json``."""
        value = {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION if self.curves.sizes else EQUAL_VERSION,
            "reads": "what a plan needs: base sales and curves, today's spend, the ranges seen, and how sure the fit is",
            "contract": self.contract.to_dict(),
            "curves": self.curves.to_dict(),
            "today": self.today,
            "seen": self.seen,
            "before": self.before,
            "controls": self.controls,
            "last": self.last,
            "covariance": self.covariance,
            "degrees": self.degrees,
            "draws": [{**draw.to_dict(), "history": None} for draw in self.draws],
            "points": self.points,
            "closed": self.closed,
            "places": {name: asdict(place) for name, place in self.places.items()},
        }
        return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def of(cls, folder: Path) -> Self:
        """The prospect of a stored model.

        Raises
        ------
        ModelError
            If it has none: it was made by an older adresponse, or has no closed formula.
        """
        try:
            return cls.from_json((folder / FILE).read_bytes())
        except FileNotFoundError:
            raise ModelError(
                "The model keeps nothing to plan with: it has no closed formula, or was made by an older adresponse; run the "
                "study again, with --shape where a line is not enough."
            ) from None

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """What ``to_json`` gave.

        Raises
        ------
        ModelError
            If the text is no prospect, or one of a newer schema version.
        """
        try:
            given = json.loads(text)
            if given["schema"] != SCHEMA or given["schema_version"] > SCHEMA_VERSION:
                raise ModelError(f"{FILE} is of schema {given['schema']} {given['schema_version']}; update adresponse.")
            return cls._from_dict(given)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{FILE} cannot be read ({type(error).__name__}: {error}).") from error

    @classmethod
    def _from_dict(cls, given: Mapping[str, Any]) -> Self:
        covariance = given["covariance"]
        return cls(
            Contract.from_dict(given["contract"]),
            Curves.from_dict(given["curves"]),
            _numbers(given["today"]),
            {str(k): (float(low), float(high)) for k, (low, high) in given["seen"].items()},
            _rows(given["before"]),
            _numbers(given["controls"]),
            int(given["last"]),
            None if covariance is None else tuple(tuple(map(float, row)) for row in covariance),
            int(given["degrees"]),
            tuple(map(Curves.from_dict, given["draws"])),
            {str(k): tuple((float(x), float(y)) for x, y in v) for k, v in given["points"].items()},
            tuple(map(str, given.get("closed", ()))),
            {
                str(k): Place(_numbers(v["today"]), _rows(v["before"]), _numbers(v["controls"]))
                for k, v in given.get("places", {}).items()
            },
        )


def _numbers(given: Mapping[str, Any]) -> dict[str, float]:
    return {str(k): float(v) for k, v in given.items()}


def _rows(given: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    return {str(k): tuple(map(float, v)) for k, v in given.items()}


def prospect_of(
    contract: Contract,
    frame: pd.DataFrame,
    curves: Curves,
    *,
    covariance: Vector | None = None,
    degrees: int = 0,
    draws: Sequence[Curves] = (),
) -> Prospect:
    """The prospect of a model fitted on the rows of ``frame``.

    Parameters
    ----------
    contract : Contract
        Columns and units.
    frame : DataFrame
        All rows known, fitted or held out, so that ``today`` and ``before`` are the newest; the contract's columns.
    curves : Curves
        The fitted model.
    covariance, degrees, draws
        See ``Prospect``; the covariance is of (intercept, channels, controls) here, and NaN where it is not known.
    """
    channels, dated = list(contract.channels), curves.dated
    periods, counted, of_late = _times(contract, frame, curves.baseline)
    last = int(periods[counted].max()) if dated else 0
    markets = frame[str(contract.market)].to_numpy(dtype=str) if curves.placed else np.full(len(frame), "")
    size, late_ones = curves.size(markets), set(markets[of_late])

    def place(rows: NDArray[np.bool_], size: float = 1.0) -> Place:
        newest = frame[rows & of_late]
        return Place(
            today={name: float(newest[name].mean()) for name in channels},
            before=_before(frame.loc[rows & counted, channels], periods[rows & counted], last, curves, size) if dated else {},
            controls={name: float(newest[name].mean()) for name in contract.controls},
        )

    still = [name for name in curves.baseline.markets if name in late_ones]
    places = {name: place(markets == name, curves.sizes.get(name, 1.0)) for name in still}
    average = _average(list(places.values())) if places else place(np.full(len(frame), True))
    return Prospect(
        contract=contract,
        curves=curves,
        today=average.today,
        seen={name: (float((frame[name] / size).min()), float((frame[name] / size).max())) for name in channels},
        before=average.before,
        controls=average.controls,
        last=last,
        covariance=None if covariance is None else _of_base(covariance, len(channels), list(average.controls.values())),
        degrees=degrees,
        draws=tuple(draws),
        points=_points(contract, frame, curves),
        closed=tuple(name for name in curves.baseline.markets if name not in late_ones),
        places=places,
    )


def _times(
    contract: Contract, frame: pd.DataFrame, baseline: Baseline
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """The period of each row, whether its day is counted, and whether it is among the last ones, where the model itself reads
    no dates, too; without dates all rows are in one period.
    """
    if contract.date is None:
        return np.zeros(len(frame), dtype=np.int64), np.full(len(frame), True), np.full(len(frame), True)
    dates = frame[contract.date].to_numpy()
    calendar = baseline.calendar or Calendar.of(dates)
    periods, counted = calendar.period(dates), ~calendar.closed(dates)
    lately = min(RECENT, math.ceil(calendar.periods_a_year) + 1)
    recent = RECENT_WEEKS * len(calendar.week) if baseline.weekdays else lately
    return periods, counted, np.asarray(counted & (periods > periods[counted].max() - recent))


def _average(places: Sequence[Place]) -> Place:
    """The mean of markets, each of which counts once, however many rows it has of late: so does its base."""
    first = places[0]
    return Place(
        today={name: float(np.mean([p.today[name] for p in places])) for name in first.today},
        before={
            name: tuple(map(float, np.mean([p.before[name] for p in places], axis=0))) if before else ()
            for name, before in first.before.items()
        },
        controls={name: float(np.mean([p.controls[name] for p in places])) for name in first.controls},
    )


def _points(contract: Contract, frame: pd.DataFrame, curves: Curves) -> dict[str, tuple[tuple[float, float], ...]]:
    """Partial residuals: what is left of sales for each channel when all else is taken away, of evenly spaced rows."""
    columns = [frame[name].to_numpy(dtype=float) for name in contract.features]
    dates = frame[str(contract.date)].to_numpy() if curves.dated else None
    markets = frame[str(contract.market)].to_numpy(dtype=str) if curves.placed else None
    base, added = curves.parts(columns, dates, markets)
    carried = curves.carried(columns[: len(added)], dates, markets)
    left = frame[contract.target].to_numpy(dtype=float) - base - np.sum(added, axis=0)
    rows = np.unique(np.linspace(0, len(frame) - 1, min(len(frame), POINTS)).astype(int))
    size = np.ones(len(frame)) if markets is None else curves.size(markets)
    return {
        r.channel: tuple((float(x[i] / r.reach), float((part[i] + left[i]) / size[i])) for i in rows)
        for r, x, part in zip(curves.responses, carried, added, strict=True)
    }


def _before(
    spend: pd.DataFrame, periods: NDArray[np.int64], last: int, curves: Curves, size: float
) -> dict[str, tuple[float, ...]]:
    """Mean spend of a row in each of the last periods; where none is known, what predictions take for it."""
    if curves.history is None:
        return {str(name): () for name in spend}
    reach = max(len(r.weights) for r in curves.responses) - 1
    whole = spend.groupby(periods).mean().reindex(range(last - reach + 1, last + 1))
    whole = whole.fillna({name: mean * size for name, mean in zip(spend.columns, curves.history.means, strict=True)})
    return {str(name): tuple(map(float, column)) for name, column in whole.items()}


def _of_base(covariance: Vector, channels: int, controls: list[float]) -> tuple[tuple[float, ...], ...] | None:
    """The covariance of (base at given controls, channels) from that of (intercept, channels, controls)."""
    if not np.isfinite(covariance).all():
        return None
    onto = np.zeros((1 + channels, len(covariance)))
    onto[:, : 1 + channels] = np.eye(1 + channels)
    onto[0, 1 + channels :] = controls
    return tuple(tuple(map(float, row)) for row in onto @ covariance @ onto.T)


def straight(formula: Formula) -> Curves:
    """A straight line as a model of curves: each channel a response of shape ``linear``, each control in the base.

    Raises
    ------
    ModelError
        If the formula is no straight line.
    """
    if not formula.terms:
        raise ModelError(
            "The model has no closed formula, so what a channel brings cannot be told apart; it cannot be planned."
        )
    slopes = {term.column: term.coefficient * term.scale for term in formula.terms}
    level = math.fsum([formula.intercept, *(term.coefficient * term.shift for term in formula.terms)])
    controls = {name: slopes[name] for name in formula.contract.controls}
    responses = tuple(Response(name, "linear", 1.0, 1.0, slopes[name]) for name in formula.contract.channels)
    return Curves(Baseline(level, controls=controls), responses)
