"""Is it said where a straight line takes what differs between markets for what a channel brings?"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

import adresponse
from adresponse import words
from adresponse.console import print_run
from adresponse.models import MarketMean
from adresponse.report.tables import study_tables
from adresponse.study import Study

WEEKS = 40


def panel(*, levels: float, slope: float, seed: int = 4) -> pd.DataFrame:
    """Weeks of four markets: each spends more than the one before, and sells by ``levels`` less at the same spend."""
    random = np.random.default_rng(seed)
    made = []
    for i, region in enumerate("ABCD"):
        tv, radio = random.gamma(4, 10 * (i + 1) / 4, WEEKS), random.gamma(2, 5, WEEKS)
        sales = 500 - levels * i + slope * tv + radio + random.normal(0, 5, WEEKS)
        weeks = pd.date_range("2024-01-01", periods=WEEKS, freq="7D")
        made.append(pd.DataFrame({"week": weeks, "region": region, "tv": tv, "radio": radio, "sales": sales}))
    return pd.concat(made, ignore_index=True)


def fitted(frame: pd.DataFrame, **more: object) -> Study:
    roles = {"target": "sales", "channels": ["tv", "radio"], "date": "week", "market": "region"}
    return adresponse.fit(frame, **(roles | more))


@pytest.mark.parametrize("slope", [0.5, 0.0])  # spend that helps looks harmful, and spend that does nothing looks so too
def test_a_line_over_markets_says_what_least_squares_with_their_levels_says(slope: float) -> None:
    frame = panel(levels=60, slope=slope)
    study = fitted(frame, test_size=0)
    (found,) = (f for f in study.findings if f.code == "M013")
    oracle = smf.ols("sales ~ tv + radio + C(region)", frame).fit(cov_type="HC3", use_t=True)
    assert study.linear is not None
    for name, line in zip(("tv", "radio"), study.linear.coefficients[1:], strict=True):
        assert f"{words.number(oracle.params[name])} for {name} " in found.message
        assert f"the line says {words.number(line.estimate)})" in found.message
    # the line's sign is of the markets, so no reader of the first line alone may go by it
    assert study.linear.coefficients[1].estimate < 0 <= oracle.params["tv"] + oracle.bse["tv"]
    assert "But the straight line has one level for all 4 markets" in study.recommendation.headline


def test_the_interval_within_markets_is_robust() -> None:
    frame = panel(levels=60, slope=0.5)
    (found,) = (f for f in fitted(frame, test_size=0).findings if f.code == "M013")
    oracle = smf.ols("sales ~ tv + radio + C(region)", frame).fit(cov_type="HC3", use_t=True)
    low, high = (float(v) for v in found.message.split("interval ")[1].split(";")[0].split(" to "))
    # the levels are not counted among the coefficients: 3 of 160 rows move an error by one part in a hundred
    assert high - low == pytest.approx(np.diff(oracle.conf_int().loc["tv"])[0], rel=0.03)


SILENT: list[tuple[dict[str, float], dict[str, object]]] = [
    ({"levels": 0.0, "slope": 0.5}, {}),  # markets that sell alike at the same spend are one line
    ({"levels": 60.0, "slope": 0.5}, {"market": None}),  # the table has no column of markets
    ({"levels": 60.0, "slope": 0.5}, {"shape": "linear", "carry_over": "none"}),  # each has its level
]


@pytest.mark.parametrize(("made", "roles"), SILENT)
def test_nothing_is_said_where_levels_do_not_differ_or_are_fitted(made: dict[str, float], roles: dict[str, object]) -> None:
    frame = panel(**made).drop(columns=["region"] if "market" in roles else [])
    study = fitted(frame, **roles)
    assert "M013" not in {f.code for f in study.findings}
    assert "one level for all" not in study.recommendation.headline


def test_the_headline_of_curves_says_which_channel_the_levels_of_markets_hide() -> None:
    frame = panel(levels=60, slope=0.5)
    level = {region: 4.0 + i for i, region in enumerate(sorted(frame["region"].unique()))}
    hidden = fitted(frame.assign(radio=frame["region"].map(level)), shape="linear", carry_over="none")
    said = "But radio never changes within a market: what is said of it is what is typical, not what was seen."
    assert said in hidden.recommendation.headline
    assert "never change" not in fitted(frame, shape="linear", carry_over="none").recommendation.headline


@pytest.mark.parametrize(
    "tv",
    [
        [10.0, 20.0, 30.0, 40.0],  # a channel that never changes within a market
        None,  # as many markets as rows
    ],
)
def test_nothing_is_said_where_nothing_can_be_told_within_markets(tv: list[float] | None) -> None:
    frame = panel(levels=60, slope=0.5)
    frame = frame.assign(tv=np.repeat(tv, WEEKS)) if tv else frame.assign(region=[f"M{i}" for i in range(len(frame))])
    assert "M013" not in {f.code for f in fitted(frame, date=None).findings}


# a model that knows no markets, and one that does
@pytest.mark.parametrize("roles", [{}, {"shape": "linear", "carry_over": "none", "trend": False, "season": 0}])
def test_a_model_is_held_against_the_mean_of_each_market(roles: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    frame = panel(levels=600, slope=0.0).assign(radio=lambda f: f["radio"].sample(frac=1, random_state=1).to_numpy())
    study = fitted(frame, **roles)
    frame = study.table.frame
    late = frame.index.isin(frame.index[study.test])
    own = frame["region"].map(frame[~late].groupby("region")["sales"].mean())
    by_hand = float(np.sqrt(((frame["sales"] - own)[late] ** 2).mean()))
    assert study.evaluation.baseline_rmse == pytest.approx(by_hand, rel=1e-12)
    assert study.evaluation.r2_within == pytest.approx(1 - (study.evaluation.score("rmse") / by_hand) ** 2, rel=1e-9)
    if roles:  # it knows the levels, and nothing else is there to know
        assert study.evaluation.score("r2") > 0.9 > 0.1 > study.evaluation.r2_within
    version = {"model_name": "m", "version": "1", "status": "VALIDATED", "champion": False, "verification": None}
    where = {"report": "page.html", "store": "s", "experiment_id": "1"}
    made: Any = SimpleNamespace(study=study, findings=(), **version, **where)
    print_run(made)
    assert (
        f"  within{words.number(study.evaluation.r2_within, 3):>8}  (R² off the mean of each market)" in capsys.readouterr().out
    )
    scores = study_tables(study)["scores"]
    assert scores is not None
    assert "R² within the markets" in str(scores)
    baseline = next(r for r in study.leaderboard.rows if r.name == "baseline")
    assert "mean sales of each market" in baseline.title
    # nothing that is spent tells sales here, and the mean knows the levels, 600 apart, as well as a model does
    chosen = next(r for r in study.leaderboard.rows if r.chosen)
    assert chosen.rmse > 0.95 * baseline.rmse
    assert "each market's mean alone" in study.leaderboard.sentence
    assert "of each market's mean" in study.gate.rules[1].found


def test_a_market_that_was_not_fitted_is_held_against_the_mean_of_all() -> None:
    model = MarketMean().fit(np.array(["A", "A", "B"]), [1.0, 3.0, 10.0])
    assert model.predict(np.array([["B"], ["A"], ["C"]])) == pytest.approx([10.0, 2.0, 14 / 3])
