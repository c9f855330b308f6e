"""How much spend works in a row, its own and what earlier periods left?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from adresponse.curves import CarryOverKind, carry_over_weights
from adresponse.errors import ModelError
from adresponse.periods import Calendar

__all__ = ["CarryOver"]

Vector = NDArray[np.float64]
Whole = NDArray[np.int64]


class CarryOver(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Spend that works in each row: its own and what earlier periods of its market left (adstock).

    The spend of ``l`` periods earlier comes from the rows given together with a row, else from the history that ``fit``
    keeps (the last ``window - 1`` periods of each market) and ``remember`` leads on, else it is not known and the channel's
    mean over the rows fitted stands for it: before a table begins, business went on as usual. The order of rows does not
    matter.

    Parameters
    ----------
    channels : sequence of str
        Spend columns.
    date : str, optional
        Date column; without it nothing is carried.
    market : str, optional
        Market column; each market has a history of its own.
    kind : {"none", "geometric", "delayed", "weibull"}
        See ``curves.carry_over_weights``.
    decay, delay : float, or sequence with one float for each channel
        Parameters of the weights.
    window : int
        Periods that a spend works, the first one counted.
    normalise : bool
        Whether the weights sum to 1.

    Attributes
    ----------
    calendar_ : Calendar or None
    means_ : ndarray of shape (n_channels,)
        Mean spend of a row fitted.
    last_ : int
        Last period known: of the rows fitted, or of those remembered.
    history_ : dict of str to ndarray of shape (n_periods, n_channels)
        Spend of the last ``window - 1`` periods fitted of each market (``""`` without a market column) and of those after,
        the oldest first, ``last_`` at the end.
    """

    def __init__(
        self,
        channels: Sequence[str] = (),
        date: str | None = None,
        market: str | None = None,
        kind: CarryOverKind = "geometric",
        decay: float | Sequence[float] = 0.5,
        delay: float | Sequence[float] = 0.0,
        window: int = 13,
        normalise: bool = True,
    ) -> None:
        self.channels = channels
        self.date = date
        self.market = market
        self.kind = kind
        self.decay = decay
        self.delay = delay
        self.window = window
        self.normalise = normalise

    @property
    def reach(self) -> int:
        """Periods that a spend works: 1 where nothing is carried."""
        return 1 if self.date is None or self.kind == "none" else self.window

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Learn the calendar, the means and the history."""
        spend = self._spend(X)
        self.calendar_ = None if self.date is None else Calendar.of(X[self.date])
        self.means_ = spend.mean(axis=0)
        self.feature_names_in_ = np.array(list(X.columns), dtype=object)
        self.n_features_in_ = X.shape[1]
        self.last_, self.history_ = 0, {}
        if self.reach > 1:
            periods, markets, _ = self._places(X)
            self.last_ = int(periods.max())
            self.history_ = self._known(spend, periods, markets, self.last_ - self.reach + 2, np.unique(markets))
        return self

    def remember(self, X: pd.DataFrame) -> Self:
        """Lead the history on to the last period of ``X``, all rows known, be they fitted or held out.

        What was known before a row held out stays known, so that its prediction stays as it was.
        """
        check_is_fitted(self)
        if self.reach > 1:
            first = self.last_ - self.reach + 2
            periods, markets, counted = self._places(X)
            self.last_ = max(self.last_, int(periods[counted].max()))
            self.history_ = self._known(self._spend(X)[counted], periods[counted], markets[counted], first, list(self.history_))
        return self

    def transform(self, X: pd.DataFrame) -> Vector:
        """Spend at work, shape (n_rows, n_channels), in the unit of each column."""
        lags = self.lags(X)
        carried = np.zeros(lags.shape[1:])
        for row, weights in enumerate(np.array(self.weights())):
            for lag, weight in enumerate(weights):
                carried[:, row] += weight * lags[lag, :, row]
        return carried

    def weights(self) -> tuple[tuple[float, ...], ...]:
        """Carry-over weights of each channel, lag 0 first."""
        n = len(self.channels)
        pairs = zip(_each(self.decay, n), _each(self.delay, n), strict=True)
        kind: CarryOverKind = "none" if self.reach == 1 else self.kind
        return tuple(carry_over_weights(kind, float(a), float(b), self.reach, self.normalise) for a, b in pairs)

    def lags(self, X: pd.DataFrame) -> Vector:
        """Spend of each row's own period and of those before it, shape (window, n_rows, n_channels)."""
        check_is_fitted(self)
        spend = self._spend(X)
        if self.reach == 1:
            return spend[None]
        periods, markets, counted = self._places(X)
        places = {str(m): i for i, m in enumerate(np.unique(np.concatenate([markets, np.array(list(self.history_))])))}
        blocks = list(self.history_.values())
        kept = np.arange(self.last_ - len(blocks[0]) + 1, self.last_ + 1)
        asked_market = np.array([places[m] for m in markets], dtype=np.int64)
        known_market = np.concatenate([*(np.full(len(kept), places[m]) for m in self.history_), asked_market[counted]])
        known_period = np.concatenate([kept] * len(blocks) + [periods[counted]])
        values = np.concatenate([*blocks, spend[counted]])
        first = min(int(known_period.min()), int(periods.min())) - self.reach
        length = max(int(known_period.max()), int(periods.max())) - first + 1
        keys, values = _last_of_each(known_market * length + (known_period - first), values)
        own = asked_market * length + (periods - first)
        found = np.empty((self.reach, *spend.shape))
        found[0] = spend
        for lag in range(1, self.reach):
            keys_of = own - lag
            at = np.minimum(np.searchsorted(keys, keys_of), len(keys) - 1)
            found[lag] = np.where((keys[at] == keys_of)[:, None], values[at], self.means_)
        return found

    def previous(self, X: pd.DataFrame) -> Whole | None:
        """Which row of ``X`` is the period before each row in its market, -1 for none; None without a date."""
        if self.calendar_ is None:
            return None
        periods, markets, _ = self._places(X)
        order = np.lexsort((periods, markets))
        follows = (np.diff(periods[order]) == 1) & (markets[order][1:] == markets[order][:-1])
        found = np.full(len(X), -1)
        found[order[1:][follows]] = order[:-1][follows]
        return found

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """The channels."""
        return np.array(list(self.channels), dtype=object)

    def _spend(self, X: pd.DataFrame) -> Vector:
        if not isinstance(X, pd.DataFrame):
            raise ModelError(f"Carry-over is counted on a table with named columns, got {type(X).__name__}; give a DataFrame.")
        needed = [*self.channels, *(c for c in (self.date, self.market) if c)]
        missing = [c for c in needed if c not in X.columns]
        if missing:
            raise ModelError(f"Column {missing[0]!r} is missing; the model needs {', '.join(needed)}.")
        return X[list(self.channels)].to_numpy(dtype=float)

    def _places(self, X: pd.DataFrame) -> tuple[Whole, NDArray[np.str_], NDArray[np.bool_]]:
        """Period and market of each row, no two rows alike, and whether its day is one that is counted."""
        assert self.calendar_ is not None  # noqa: S101  nothing is carried without a date
        slots = self.calendar_.slot(X[self.date])
        markets = np.full(len(X), "") if self.market is None else X[self.market].to_numpy().astype(str)
        twice = pd.DataFrame({"slot": slots, "market": markets}).duplicated().to_numpy()
        if twice.any():
            at = int(np.argmax(twice))
            where = f" of market {markets[at]!r}" if self.market else ""
            raise ModelError(
                f"The period of {np.asarray(X[self.date])[at].astype('datetime64[D]')}{where} has more than one row; "
                "give one row for each period and market, with a column for each channel."
            )
        return self.calendar_.period(X[self.date]), markets, ~self.calendar_.closed(X[self.date])

    def _known(
        self, spend: Vector, periods: Whole, markets: NDArray[np.str_], first: int, wanted: Iterable[str]
    ) -> dict[str, Vector]:
        """Spend of each wanted market from a period on to the last; the mean where there is none."""
        found = {}
        for market in map(str, wanted):
            known = np.tile(self.means_, (self.last_ - first + 1, 1))
            rows = (markets == market) & (periods >= first)
            known[periods[rows] - first] = spend[rows]
            found[market] = known
        return found


def _last_of_each(keys: Whole, values: Vector) -> tuple[Whole, Vector]:
    """Sorted keys without doubles; the later value wins, so that rows given come before history."""
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    last = np.append(keys[1:] != keys[:-1], True)
    return keys[last], values[last]


def _each(value: float | Sequence[float], n: int) -> Vector:
    return np.broadcast_to(np.asarray(value, dtype=float), (n,))
