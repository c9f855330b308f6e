"""Is no row scored by a model that has seen it, its period or its future?"""

from __future__ import annotations

import numpy as np
import pytest

from adresponse.errors import ConfigError
from adresponse.folding import Folding, share_tested

WEEKS = np.arange(104)
PANEL = np.repeat(np.arange(30), 7)  # thirty weeks of seven markets


@pytest.mark.parametrize("periods", [WEEKS, PANEL], ids=["weeks", "panel"])
def test_in_time_every_fold_comes_after_what_it_is_predicted_from(periods: np.ndarray) -> None:
    folds = Folding(periods=periods).scoring(len(periods))
    assert len(folds) == 5
    for train, test in folds:
        assert periods[train].max() < periods[test].min()
        assert len(train) >= len(periods) // 2


@pytest.mark.parametrize("periods", [None, WEEKS, PANEL], ids=["at random", "weeks", "panel"])
def test_a_partition_predicts_every_row_once_and_keeps_a_period_whole(periods: np.ndarray | None) -> None:
    rows = 104 if periods is None else len(periods)
    folds = Folding(periods=periods).partition(rows)
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(rows))
    for train, test in folds:
        assert not set(train) & set(test)
        assert periods is None or not set(periods[train]) & set(periods[test])


def test_a_part_of_the_rows_keeps_its_periods() -> None:
    assert list(Folding(periods=WEEKS).at(np.array([3, 9])).periods) == [3, 9]


def test_rounds_differ_and_a_seed_repeats_them() -> None:
    first, again = Folding().scoring(50), Folding().scoring(50)
    assert len(first) == 20
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0][1], first[5][1])
    assert share_tested(first) == pytest.approx(0.25)  # ten rows predicted from forty


def test_rows_of_a_market_that_is_not_fitted_are_not_predicted() -> None:
    periods = np.repeat(np.arange(20), 2)
    markets = np.where(np.arange(40) % 2, "old", "new")
    markets[:28] = "old"  # the new one opens in the period after 13
    folding = Folding(folds=5, periods=periods, markets=markets)
    for folds in (folding.scoring(40), folding.partition(40), folding.at(np.arange(20, 40)).partition(20)):
        assert folds
        assert all(len(predict) for _, predict in folds)
    for fit, predict in (*folding.scoring(40), *folding.partition(40)):
        assert set(markets[predict]) <= set(markets[fit])
    asked = np.sort(np.concatenate([predict for _, predict in folding.partition(40)]))
    assert asked.tolist() == list(range(40))  # in a partition, the new market is fitted on its other periods
    later = np.concatenate([predict for _, predict in folding.scoring(40)])
    assert set(range(20, 40)) - set(later.tolist()) == {28, 30}  # a fold has periods 14 and 15, and is fitted on 0 to 13


def test_markets_that_none_of_the_folds_know_are_refused() -> None:
    periods = np.arange(20)
    markets = periods.astype(str)
    with pytest.raises(ConfigError, match="can predict 0 of 5 folds, since the markets of the others open later"):
        Folding(folds=5, periods=periods, markets=markets).scoring(20)
