"""Two years of weekly budgets and revenue whose truth is known: ``python docs/examples/weekly.py > docs/examples/weekly.csv``.

Revenue is a level, a trend, a season and noise, and what three channels bring: Hill curves of spend that carries over from week
to week (Jin et al. 2017). ``TRUTH`` gives each channel's most, the spend that brings half of it, its slope, and what stays from
one week to the next.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

WEEKS, BEFORE = 104, 12
TRUTH = {"tv": (160.0, 60.0, 1.2, 0.5), "search": (180.0, 30.0, 1.0, 0.2), "print": (50.0, 15.0, 1.0, 0.4)}
SPEND = {"tv": 90.0, "search": 14.0, "print": 12.0}  # of a week, on average


def made(seed: int = 7) -> pd.DataFrame:
    """The table: ``week``, the spend of each channel, ``revenue``; money in thousands."""
    random = np.random.default_rng(seed)
    rows = np.arange(-BEFORE, WEEKS)
    revenue = 300 + 0.4 * rows + 25 * np.sin(2 * np.pi * rows / 52.18) + random.normal(0, 9, len(rows))
    table = pd.DataFrame({"week": pd.date_range("2023-01-02", periods=WEEKS, freq="7D").strftime("%Y-%m-%d")})
    for channel, (most, half, slope, stays) in TRUTH.items():
        spend = np.round(random.gamma(2.0, SPEND[channel] / 2, len(rows)), 1)
        carried = np.empty(len(rows))
        left = 0.0
        for i, spent in enumerate(spend):
            left = stays * left + (1 - stays) * spent
            carried[i] = left
        revenue += most * carried**slope / (carried**slope + half**slope)
        table[channel] = spend[BEFORE:]
    return table.assign(revenue=np.round(revenue[BEFORE:], 1))


if __name__ == "__main__":
    made().to_csv(sys.stdout, index=False, lineterminator="\n")
