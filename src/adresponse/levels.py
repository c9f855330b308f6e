"""Does a straight line that knows no markets say what holds within them?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from adresponse import words
from adresponse.findings import Finding
from adresponse.models import LinearFit, linear, linear_fit
from adresponse.schema import Contract

__all__ = ["one_level_for_all"]

LEVEL = 0.01  # of the test that markets differ in level
NO_SPREAD = 1e-9  # of a column within its markets, beside its spread over all: it tells markets apart and nothing else


def one_level_for_all(
    contract: Contract, X: pd.DataFrame, y: pd.Series[float], markets: NDArray[Any], line: LinearFit
) -> Iterator[Finding]:
    """Whether markets differ in level where ``line`` has one for all, and what the channels go with inside a market (M013).

    Values are held against the mean of their market, which is least squares with a level for each (Frisch and Waugh 1933).

    Parameters
    ----------
    contract : Contract
        Names the channels.
    X, y : DataFrame of shape (n_rows, n_features), Series of shape (n_rows,)
        The rows fitted.
    markets : ndarray of shape (n_rows,)
        Their markets.
    line : LinearFit
        What the line says of them.
    """
    count = len(np.unique(markets))
    free = len(X) - count - X.shape[1]
    if count < 2 or free < 1:
        return
    own_X, own_y = X - X.groupby(markets).transform("mean"), y - y.groupby(markets).transform("mean")
    varies = (own_X.std() > NO_SPREAD * X.std()).all()
    if not varies or np.linalg.matrix_rank(own_X / own_X.std()) < X.shape[1]:
        return
    within = linear_fit(linear(scale=False).fit(own_X, own_y), own_X, own_y, contract)
    if within is None:  # which a line never is
        return
    left, before = within.rse**2 * within.df, line.rse**2 * line.df
    statistic = (before - left) / (count - 1) / max(left / free, np.finfo(float).tiny)
    p = float(stats.f.sf(statistic, count - 1, free))
    if p >= LEVEL:
        return
    said = [
        f"{words.number(inside.estimate)} for {inside.name} (95 % interval {words.span(inside.low_hc3, inside.high_hc3)}; "
        f"the line says {words.number(over_all.estimate)})"
        for inside, over_all in zip(within.coefficients, line.coefficients, strict=True)
        if inside.name in contract.channels
    ]
    yield Finding(
        "M013",
        "review",
        f"The straight line has one level for all {count:,} markets, whose own differ ({words.p_value(p)}). Within a market 1 "
        f"unit of spend more goes with other sales: {words.listing(said)}.",
        "Fit with --shape linear or --shape auto, which give each market a level of its own: the line's figures hold what "
        "differs between markets too.",
    )
