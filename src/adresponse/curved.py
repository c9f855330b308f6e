"""What does a model of curves predict: what is sold anyway, and what each channel adds, with carry-over from known rows?

Needs numpy alone and goes with every stored model (see ``stored.py``), so it imports its siblings relatively. For a row at
period ``t`` of market ``m``, in this order::

    prediction = baseline(date, controls, m)
                 + coefficient_1 * saturate(carried_1) + coefficient_2 * saturate(carried_2) + ...
    carried_c  = weight_c0 * spend_c[t, m] + weight_c1 * spend_c[t - 1, m] + ...

Where markets differ in size, spend is divided by the size of its market, and each part of the prediction times it.

The spend of an earlier period comes from the rows asked together, else from the history that the model keeps, else it is not
known and the channel's mean over the rows fitted stands for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .baseline import Baseline
from .curves import Response, saturate
from .errors import ModelError, RowsError
from .periods import Calendar

__all__ = ["Curves", "History", "twice_said"]

Vector = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class History:
    """Spend that is known from before the rows asked.

    Parameters
    ----------
    last : int
        The last period known: fitted, or held out.
    means : tuple of float of shape (n_channels,)
        Stand for spend that is not known, in each channel's unit.
    spend : dict of str to tuple of tuple of float
        For each market (``""`` without markets) a row for each of the last periods, ``last`` at the end, and in it the spend
        of each channel.
    """

    last: int
    means: tuple[float, ...]
    spend: dict[str, tuple[tuple[float, ...], ...]]


@dataclass(frozen=True)
class Curves:
    """A fitted model of curves as numbers.

    Parameters
    ----------
    baseline : Baseline
        Sales that no channel adds.
    responses : tuple of Response
        What each channel adds, in the contract's order.
    history : History or None
        None where nothing is carried over.
    sizes : dict of str to float
        How large each market is, where they differ: baseline, responses and history are those of a market of size 1, for spend
        and sales divided by the size of their market. Empty where all have size 1.
    """

    baseline: Baseline
    responses: tuple[Response, ...]
    history: History | None = None
    sizes: dict[str, float] = field(default_factory=dict)

    @property
    def dated(self) -> bool:
        """Whether a row needs its date."""
        return self.baseline.calendar is not None

    @property
    def placed(self) -> bool:
        """Whether a row needs its market."""
        return bool(self.baseline.markets) or (self.history is not None and set(self.history.spend) != {""})

    def predict(self, columns: Sequence[Vector], dates: Any = None, markets: Any = None) -> Vector:
        """Predicted sales, shape (n_rows,), in the target's unit.

        Parameters
        ----------
        columns : sequence of ndarray of shape (n_rows,)
            Channels, then controls, in the contract's order, in their units.
        dates : ndarray of datetime64 of shape (n_rows,), optional
            Needed where ``dated``.
        markets : ndarray of str of shape (n_rows,), optional
            Needed where ``placed``.

        Raises
        ------
        RowsError
            If two rows have one period and market.
        """
        base, added = self.parts(columns, dates, markets)
        total = base
        for part in added:
            total = total + part
        return total

    def parts(self, columns: Sequence[Vector], dates: Any = None, markets: Any = None) -> tuple[Vector, list[Vector]]:
        """What ``predict`` sums up: base sales, and what each channel adds; each of shape (n_rows,)."""
        channels = len(self.responses)
        columns = [np.ascontiguousarray(c, dtype=float) for c in columns]  # numpy rounds powers otherwise with gaps between
        spend = columns[:channels]
        controls = dict(zip(self.baseline.controls, columns[channels:], strict=True))
        base = self.baseline.sales(len(spend[0]), dates, controls, markets)
        carried = self.carried(spend, dates, markets)
        added = [
            r.coefficient * saturate(r.shape, np.maximum(x, 0.0), r.half, r.slope)
            for r, x in zip(self.responses, carried, strict=True)
        ]
        if not self.sizes:
            return base, added
        size = self.size(markets)
        return base * size, [part * size for part in added]

    def size(self, markets: Any) -> Vector:
        """Size of the market of each row, shape (n_rows,)."""
        return np.array([self.sizes.get(str(m), 1.0) for m in np.asarray(markets)])

    def carried(self, spend: Sequence[Vector], dates: Any = None, markets: Any = None) -> list[Vector]:
        """Spend at work in each row, its own and what earlier periods left, over its market's size; in the channel's unit."""
        if self.sizes:
            size = self.size(markets)
            spend = [x / size for x in spend]
        if self.history is None:
            return [r.weights[0] * x for r, x in zip(self.responses, spend, strict=True)]
        calendar, places = self._places(dates, markets)
        _refuse_twice(_first_of(_numbered(places), calendar.slot(dates)), places)
        find = _Known(self.history, calendar.period(dates), places, spend, ~calendar.closed(dates))
        found = [np.zeros(len(places)) for _ in self.responses]
        for lag in range(max(len(r.weights) for r in self.responses)):
            earlier = find(lag)
            for channel, response in enumerate(self.responses):
                if lag < len(response.weights):
                    found[channel] += response.weights[lag] * earlier[channel]
        return found

    def first_of(self, dates: Any = None, markets: Any = None) -> Whole:
        """For each row the index of the first row with its period and market, shape (n_rows,); asked where spend is carried."""
        calendar, places = self._places(dates, markets)
        return _first_of(_numbered(places), calendar.slot(dates))

    def _places(self, dates: Any, markets: Any) -> tuple[Calendar, NDArray[np.str_]]:
        """The calendar, and the market of each row; without markets it is ``""``."""
        if self.baseline.calendar is None or dates is None:
            raise ModelError("The model has a date column; give the date of each row.")
        if not self.placed:
            return self.baseline.calendar, np.full(len(dates), "")
        if markets is None:
            raise ModelError("The model has a market column; give the market of each row.")
        return self.baseline.calendar, np.asarray(markets).astype(str)

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        value = asdict(self)
        value["responses"] = [{**asdict(r), "weights": list(r.weights)} for r in self.responses]
        value["baseline"] |= {"season": list(self.baseline.season), "weekdays": list(self.baseline.weekdays)}
        if self.history is not None:
            kept = {market: [list(row) for row in rows] for market, rows in self.history.spend.items()}
            value["history"] |= {"means": list(self.history.means), "spend": kept}
        return value

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """What ``to_dict`` gave."""
        base = dict(given["baseline"])
        calendar = base.pop("calendar")
        parts = {name: tuple(base.get(name, ())) for name in ("season", "weekdays")}
        baseline = Baseline(**{**base, **parts}, calendar=Calendar(**calendar) if calendar else None)
        responses = tuple(Response(**{**r, "weights": tuple(r["weights"])}) for r in given["responses"])
        kept = given["history"]
        history = kept and History(
            int(kept["last"]),
            tuple(map(float, kept["means"])),
            {str(m): tuple(tuple(map(float, row)) for row in rows) for m, rows in kept["spend"].items()},
        )
        return cls(baseline, responses, history or None, {str(m): float(size) for m, size in given.get("sizes", {}).items()})


class _Known:
    """All spend that is known by market and period: the rows asked that are in one come before the history."""

    def __init__(
        self,
        history: History,
        periods: Whole,
        places: NDArray[np.str_],
        spend: Sequence[Vector],
        counted: NDArray[np.bool_],
    ) -> None:
        names, asked = np.unique(np.concatenate([np.array(list(history.spend), dtype=str), places]), return_inverse=True)
        number = {str(name): i for i, name in enumerate(names)}
        asked = asked[len(history.spend) :]
        kept = [(number[m], np.asarray(rows, dtype=float)) for m, rows in history.spend.items() if rows]
        before = [np.arange(history.last - len(rows) + 1, history.last + 1) for _, rows in kept]
        all_periods = np.concatenate([*before, periods[counted]])
        all_places = np.concatenate([*(np.full(len(p), m) for (m, _), p in zip(kept, before, strict=True)), asked[counted]])
        self._first = min(int(all_periods.min()), int(periods.min()))
        self._length = max(int(all_periods.max()), int(periods.max())) - self._first + 1
        keys = self._key(all_places, all_periods)
        values = np.concatenate([*(rows for _, rows in kept), np.column_stack(list(spend))[counted]])
        order = np.argsort(keys, kind="stable")
        last = np.append(keys[order][1:] != keys[order][:-1], True)
        self._keys, self._values = keys[order][last], values[order][last].T.copy()
        self._asked, self._periods, self._means = asked, periods, np.array(history.means)[:, None]
        self._own = np.array(list(spend))

    def _key(self, places: Any, periods: Whole) -> Whole:
        return np.asarray(places * self._length + (periods - self._first), dtype=np.int64)

    def __call__(self, lag: int) -> Vector:
        """Spend ``lag`` periods before each row asked, shape (n_channels, n_rows)."""
        if lag == 0:
            return self._own
        periods = self._periods - lag
        keys = np.where(periods >= self._first, self._key(self._asked, periods), -1)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[at] == keys, self._values[:, at], self._means)


def _numbered(places: NDArray[np.str_]) -> Whole:
    return np.unique(places, return_inverse=True)[1]


def _first_of(places: Whole, periods: Whole) -> Whole:
    """For each row the index of the first row with its place and period."""
    order = np.lexsort((periods, places))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (periods[order][1:] != periods[order][:-1]) | (places[order][1:] != places[order][:-1])
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[np.flatnonzero(new)[np.cumsum(new) - 1]]
    return first


def _refuse_twice(first: Whole, places: NDArray[np.str_]) -> None:
    twice = np.flatnonzero(first != np.arange(len(first)))
    if len(twice):
        row = int(twice[0])
        raise RowsError(f"Row {row + 1} {twice_said(int(first[row]) + 1, str(places[row]))}")


def twice_said(row: int, market: str) -> str:
    """What is wrong with a row that has the period and the market of ``row``."""
    where = f" of market {market!r}" if market else ""
    return (
        f"has the period of row {row}{where}; the model carries spend from one period to the next, so give each period "
        "once and ask other budgets apart."
    )
