"""Is no row scored by a model that has seen it, its period or its future?"""

from __future__ import annotations

import numpy as np
import pytest

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
