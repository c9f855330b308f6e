"""Is the comparison honest: same where it is the same, better only beyond chance?"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, KFold

from adresponse.errors import ModelError
from adresponse.folding import Folding
from adresponse.tune import Candidate, compare, grid_search, paired_difference, verdict
from examples import shipped

TV = shipped("tvmarketing")
X, Y = TV[["TV"]], TV["Sales"]
BOOSTING = Candidate("boosting", "trees", HistGradientBoostingRegressor(max_iter=30, random_state=0))


def test_tuning_an_ordinary_line_changes_nothing_and_says_so() -> None:
    board, chosen = compare(X, Y)
    assert board.chosen == "scaled"
    assert list(chosen.named_steps) == ["scale", "regress"]
    assert {r.name for r in board.rows} == {"default", "scaled", "tuned", "baseline"}
    by_name = {r.name: r for r in board.rows}
    for name in ("scaled", "tuned"):
        assert by_name[name].verdict == "no difference: the same predictions"
    assert by_name["baseline"].verdict.startswith("worse by")
    assert len(board.grid) == 16
    assert [p.rank for p in board.grid] == sorted(p.rank for p in board.grid)


def test_grid_scores_equal_a_search_written_by_hand() -> None:
    _, points = grid_search(X, Y, Folding().searching(len(X)))
    by_hand = GridSearchCV(
        LinearRegression(), {"fit_intercept": [True, False]}, scoring="neg_root_mean_squared_error",
        cv=KFold(5, shuffle=True, random_state=42),
    ).fit(X, Y)  # fmt: skip
    for intercept, score in zip([True, False], -by_hand.cv_results_["mean_test_score"], strict=True):
        ours = [
            p.rmse for p in points
            if p.params["scale"] == "none" and p.params["positive"] == "False" and p.params["fit_intercept"] == str(intercept)
        ]  # fmt: skip
        assert ours == pytest.approx([score] * 2)


def test_the_search_leaves_the_table_as_it_was() -> None:
    before = X.copy()
    compare(X, Y)
    pd.testing.assert_frame_equal(X, before)


def test_a_challenger_that_bends_with_the_data_is_chosen() -> None:
    random = np.random.default_rng(3)
    spend = random.uniform(0, 10, 400)
    curved = pd.Series(np.sin(spend) * 5 + random.normal(0, 0.3, 400))
    board, chosen = compare(pd.DataFrame({"TV": spend}), curved, challengers=[BOOSTING], folding=Folding(repeats=1))
    assert board.chosen == "boosting"
    assert isinstance(chosen, HistGradientBoostingRegressor)
    assert next(r for r in board.rows if r.name == "boosting").verdict.startswith("better by")


def test_a_challenger_that_is_not_clearly_better_is_not_chosen() -> None:
    board, _ = compare(X, Y, challengers=[BOOSTING], folding=Folding(repeats=1))
    assert board.chosen == "scaled"


def test_paired_difference_by_hand() -> None:
    # differences 1, 2, 3: mean 2, variance 1; four folds would give n_test / n_train = 1 / 3
    mean, low, high = paired_difference(np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0]), 1 / 3)
    reach = stats.t.ppf(0.975, 2) * math.sqrt(1 / 3 + 1 / 3)
    assert (mean, low, high) == pytest.approx((2, 2 - reach, 2 + reach))


@pytest.mark.parametrize(
    ("difference", "low", "high", "said"),
    [
        (0.0, 0.0, 0.0, "no difference: the same predictions"),
        (0.1, -0.2, 0.4, "no difference beyond chance (−0.2 to 0.4)"),
        (-0.3, -0.5, -0.1, "better by 0.3 (−0.5 to −0.1)"),
        (0.3, 0.1, 0.5, "worse by 0.3 (0.1 to 0.5)"),
    ],
)
def test_verdict_in_words(difference: float, low: float, high: float, said: str) -> None:
    assert verdict(difference, low, high, 3.0) == said


class Broken(HistGradientBoostingRegressor):
    """A challenger that cannot be fitted."""

    def fit(self, X, y):  # type: ignore[no-untyped-def]
        raise RuntimeError("no luck")


def test_a_challenger_that_fails_is_named_and_refused() -> None:
    with pytest.raises(ModelError, match=r"'mine.Broken' cannot be fitted or scored \(no luck\)"):
        compare(X, Y, challengers=[Candidate("Broken", "mine.Broken", Broken())])


def test_a_model_worse_than_the_mean_is_not_praised() -> None:
    random = np.random.default_rng(0)
    noise = pd.DataFrame(random.uniform(0, 1, (60, 12)), columns=[f"c{i}" for i in range(12)])
    board, _ = compare(noise, pd.Series(random.normal(9, 1, 60)))
    assert "below" not in board.sentence.replace("not clearly below", "")
