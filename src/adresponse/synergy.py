"""Do two channels bring more, or less, together than each by itself?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from adresponse import words
from adresponse.findings import Finding
from adresponse.schema import Contract

__all__ = ["together"]

Vector = NDArray[np.floating[Any]]
LEVEL = 0.01  # of all pairs of a table together (Bonferroni)
LEAST_GAIN = 0.005  # of R²: a smaller one is real at times and matters never
MOST_CHANNELS = 30  # 435 pairs


def together(
    contract: Contract,
    X: pd.DataFrame,
    y: pd.Series[float],
    markets: NDArray[Any] | None = None,
    size: Vector | None = None,
) -> Iterator[Finding]:
    """The pair of channels whose product explains most beside the straight line, if any does (M008).

    Parameters
    ----------
    contract : Contract
        Names the channels.
    X, y : DataFrame of shape (n_rows, n_features), Series of shape (n_rows,)
        The rows fitted.
    markets : ndarray of shape (n_rows,), optional
        Their markets, each of which has a level of its own.
    size : ndarray of shape (n_rows,), optional
        How large the market of each row is: spend and sales are divided by it.
    """
    channels, each = list(contract.channels), 1.0 if size is None else size
    spend = {name: X[name].to_numpy(dtype=float) / each for name in channels}
    levels = np.ones((len(X), 1)) if markets is None else np.equal.outer(markets, np.unique(markets)).astype(float)
    design = np.column_stack([levels, *spend.values(), X[list(contract.controls)].to_numpy(dtype=float)])
    observed = y.to_numpy(dtype=float) / each
    free = len(observed) - design.shape[1] - 1
    if not 2 <= len(channels) <= MOST_CHANNELS or free < 1:
        return
    q, _ = np.linalg.qr(design)
    residual = _left(q, observed)
    total, before = float(((observed - observed.mean()) ** 2).sum()), float(residual @ residual)
    pairs = list(combinations(channels, 2))
    products = [spend[a] * spend[b] for a, b in pairs]
    gains = [_gain(_left(q, (x - x.mean()) / (x.std() or 1.0)), residual) for x in products]
    best = int(np.argmax([gain for gain, _ in gains]))
    gain, sign = gains[best]
    p = float(stats.f.sf(gain / max(before - gain, np.finfo(float).tiny) * free, 1, free)) * len(pairs)
    if total == 0 or p >= LEVEL or gain / total < LEAST_GAIN:
        return
    r2, with_product = 1 - before / total, 1 - (before - gain) / total
    a, b = pairs[best]
    more = "more" if sign > 0 else "less"
    line = "a straight line" if markets is None else "a straight line with a level for each market"
    yield Finding(
        "M008",
        "review",
        f"{a} and {b} bring {more} together than each by itself ({words.p_value(min(p, 1.0))}): with their product "
        f"{line} explains {words.percent(with_product)} of the spread of {contract.target}, without it "
        f"{words.percent(r2)}.",
        f"Read the figures of {a} and {b} as averages over what was spent on the other; an interaction is not in the model.",
    )


def _left(q: Vector, columns: Vector) -> Vector:
    return np.asarray(columns - q @ (q.T @ columns))


def _gain(product: Vector, residual: Vector) -> tuple[float, float]:
    """By how much the product lowers the residual sum of squares, and the sign of its coefficient (Frisch and Waugh 1933)."""
    size = float(product @ product)
    if size < 1e-9 * len(product):
        return 0.0, 0.0
    along = float(product @ residual)
    return along**2 / size, np.sign(along)
