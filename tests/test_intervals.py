"""Do prediction intervals hold their level, also where the spread grows with the budget?"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from adresponse.folding import Folding
from adresponse.intervals import calibrate, spread_of
from adresponse.models import linear
from examples import growing_spread


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_level_holds_for_small_and_for_large_budgets(level: float) -> None:
    """60 simulated tables of 200 rows, 2,000 fresh rows each.

    The standard error of a coverage over 60 calibrations on 200 rows is below sqrt(0.25 / 200 / 60) = 0.5 points; three
    of them, and 2.5 points more in the thirds, since a straight line through |errors| is an approximation there.
    """
    inside: list[list[float]] = []
    for seed in range(60):
        X, y = growing_spread(200, seed)
        model = linear().fit(X, y)
        spread = calibrate(linear(), X, y, Folding(seed=seed))
        fresh, sold = growing_spread(2_000, 10_000 + seed)
        low, high = spread.interval(model.predict(fresh), level)
        held = (low <= sold.to_numpy()) & (sold.to_numpy() <= high)
        budget = fresh["TV"].to_numpy()
        inside.append([held.mean(), held[budget < 100].mean(), held[budget > 200].mean()])
    everywhere, small, large = np.mean(inside, axis=0)
    assert everywhere == pytest.approx(level, abs=0.015)
    assert small == pytest.approx(level, abs=0.04)
    assert large == pytest.approx(level, abs=0.04)


def test_interval_widens_with_the_budget_when_the_spread_does() -> None:
    X, y = growing_spread(400, 1)
    model, spread = linear().fit(X, y), calibrate(linear(), X, y, Folding(seed=1))
    low, high = spread.interval(model.predict(pd.DataFrame({"TV": [20.0, 280.0]})), 0.9)
    narrow, wide = high - low
    assert wide > 3 * narrow  # true deviations 0.9 and 6.1


def test_quantile_is_the_one_of_the_finite_sample_rule() -> None:
    # nine errors of 1..9 around a constant prediction: the ceil(10 * 0.8) = 8th of nine scores
    spread = spread_of(np.full(9, 10.0), 10.0 + np.arange(1, 10))
    low, high = spread.interval(np.array([10.0]), 0.8)
    assert high[0] - 10 == pytest.approx(8)
    assert 10 - low[0] == pytest.approx(8)


def test_a_level_that_the_rows_cannot_support_is_unbounded() -> None:
    spread = spread_of(np.full(9, 10.0), 10.0 + np.arange(1, 10))
    assert spread.highest_level == 0.9
    assert math.isinf(spread.quantile(0.95))


def test_exact_predictions_give_an_interval_of_no_width() -> None:
    spread = spread_of(np.arange(20.0), np.arange(20.0))
    low, high = spread.interval(np.array([3.0]), 0.9)
    assert high[0] - low[0] == pytest.approx(0, abs=1e-300)
