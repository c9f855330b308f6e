"""What of the rows fitted stands beside new rows: the same markets, in the same mix, whatever their sizes?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from adresponse import words
from adresponse.findings import Finding

__all__ = ["Beside", "another_mix", "beside", "of_shared_markets"]

Vector = NDArray[np.float64]
MOST = 0.5  # share of the new rows of markets fitted, below which no market is compared with itself
LISTED = 12  # markets that are named


@dataclass(frozen=True)
class Beside:
    """The known values of a column before and now; ``within`` says whether each market is compared with itself.

    Parameters
    ----------
    before, now : ndarray
        Values, in the column's unit.
    weight : ndarray, shape of ``before``
        What each row before counts, 1 on average: each market weighs as much before as it does now.
    place_before, place_now : ndarray
        Where each value lies in its market: its rank among the market's rows of both sides, as a share of them. Where markets
        are not compared with themselves, the values.
    sd : float
        Standard deviation before, of a market on average.
    """

    before: Vector
    now: Vector
    weight: Vector
    place_before: Vector
    place_now: Vector
    sd: float
    within: bool

    @property
    def worth(self) -> float:
        """Rows of equal weight that the rows before are worth (Kish 1965)."""
        return float(self.weight.sum() ** 2 / (self.weight**2).sum())


def of_shared_markets(
    before: pd.DataFrame, now: pd.DataFrame, market: str | None
) -> tuple[pd.DataFrame, pd.DataFrame, str | None]:
    """Rows of the markets that both sides have, and the column of markets; all rows and None where there is no comparing them.

    That is where most new rows are of markets without a row before, such as towns that are seen once each.
    """
    if market is None or market not in before or market not in now or now.empty:
        return before, now, None
    shared = now[market].isin(before[market])
    if shared.mean() < MOST:
        return before, now, None
    now = now[shared]
    return before[before[market].isin(now[market])], now, market


def beside(before: pd.DataFrame, now: pd.DataFrame, name: str, market: str | None) -> Beside:
    """A column before and now, within markets where there are some; rows without a value are left out.

    A large market spends and sells more. So where other markets report, or another number of rows of each, columns lie
    elsewhere though no market changed. Where none did, old and new rows of a market are exchangeable, whatever its size and
    the shape of its values: so values are compared by their ranks in it (van Elteren 1960), and the rows before are weighted
    to the markets' mix of now.
    """
    before, now = (frame[np.isfinite(frame[name])] for frame in (before, now))
    before, now, market = of_shared_markets(before, now, market)
    a, b = (frame[name].to_numpy(dtype=float) for frame in (before, now))
    if market is None:
        return Beside(a, b, np.ones(len(a)), a, b, float(a.std(ddof=1)) if len(a) > 1 else 0.0, within=False)
    markets_before, markets_now = (frame[market].to_numpy() for frame in (before, now))
    own = pd.Series(a).groupby(markets_before)
    both = pd.Series(np.append(a, b)).groupby(np.append(markets_before, markets_now))
    places = both.rank(pct=True).to_numpy()
    share = now[market].value_counts(normalize=True)
    weight = np.asarray(len(a) * before[market].map(share / own.size()), dtype=float)
    sd = own.std().fillna(both.std())  # of a market with one row before, such as the same month of the one year fitted
    return Beside(a, b, weight, places[: len(a)], places[len(a) :], float((share * sd).sum()), within=True)


def another_mix(before: pd.DataFrame, now: pd.DataFrame, market: str | None, level: float) -> Iterator[Finding]:
    """Markets that are another share of the new rows than of those before (W022), by Fisher's exact test of each.

    ``level`` is shared out among them (Bonferroni).
    """
    if market is None or of_shared_markets(before, now, market)[2] is None:
        return
    old, new = before[market].value_counts().align(now[market].value_counts(), fill_value=0)
    of_all = stats.hypergeom(int(old.sum() + new.sum()), old + new, int(new.sum()))
    p = 2 * np.minimum(of_all.cdf(new), of_all.sf(new - 1))
    moved = old.index[p <= level / len(old)]
    if len(moved):
        said = [f"{name} {_percent(new, name)} (before {_percent(old, name)})" for name in moved]
        yield Finding(
            "W022",
            "note",
            f"The new rows have another mix of markets than the rows fitted: {words.listing(said, LISTED)}.",
            "Send what is missing, if anything is. Columns are compared within markets; sums over all markets are not.",
        )


def _percent(rows: pd.Series, market: str) -> str:
    return f"{words.number(100 * rows[market] / rows.sum(), 2)} %"
