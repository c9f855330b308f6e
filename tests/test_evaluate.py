"""Are scores, intervals of scores and diagnostics those that others compute, on rows the model has not seen?"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn import metrics
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import train_test_split
from statsmodels.stats.diagnostic import het_breuschpagan, linear_reset
from statsmodels.stats.outliers_influence import OLSInfluence

from adresponse import lifecycle
from adresponse.checks import cooks_distance
from adresponse.evaluate import Kind, breusch_pagan, diagnose, durbin_watson, evaluate
from adresponse.folding import Folding
from adresponse.intervals import calibrate
from adresponse.models import linear
from adresponse.recommend import caveats
from adresponse.study import Study
from examples import shipped, table

TV = table(shipped("tvmarketing"))


def study_of(made, test_size: float = 0.2):
    rows = np.arange(len(made.frame))
    train, test = train_test_split(rows, test_size=test_size, random_state=42) if test_size else (rows, rows[:0])
    model = linear().fit(made.X.iloc[train], made.y.iloc[train])
    spread = calibrate(linear(), made.X.iloc[train], made.y.iloc[train], Folding())
    found = evaluate(model, spread, made.X, made.y, train=train, test=test, contract=made.contract)
    return found, model, train, test


@cache
def built_in(test_size: float = 0.2):
    """That of the built-in table, which many look at."""
    return study_of(TV, test_size)


@pytest.fixture(scope="module")
def reference() -> Study:
    """The whole study of the built-in table, with all of its repeats."""
    return lifecycle.fit()


def test_scores_equal_scikit_learn_on_the_held_out_rows() -> None:
    found, model, _, test = built_in()
    observed, predicted = TV.y.iloc[test], model.predict(TV.X.iloc[test])
    assert found.basis == "held-out"
    assert found.rows == 40
    assert found.score("mae") == pytest.approx(metrics.mean_absolute_error(observed, predicted))
    assert found.score("rmse") == pytest.approx(metrics.root_mean_squared_error(observed, predicted))
    assert found.score("mape") == pytest.approx(metrics.mean_absolute_percentage_error(observed, predicted))
    assert found.score("r2") == pytest.approx(metrics.r2_score(observed, predicted))
    assert found.score("bias") == pytest.approx((predicted - observed).mean())
    assert found.score("wape") == pytest.approx(np.abs(observed - predicted).sum() / observed.sum())
    assert found.score("adjusted_r2") == pytest.approx(1 - (1 - metrics.r2_score(observed, predicted)) * 39 / 38)


def test_bootstrap_intervals_are_those_of_scipy() -> None:
    found, model, _, test = built_in()
    observed, predicted = TV.y.to_numpy()[test], model.predict(TV.X.iloc[test])
    for name, metric in (("mae", metrics.mean_absolute_error), ("r2", metrics.r2_score)):
        oracle = stats.bootstrap(
            (observed, predicted), metric, paired=True, vectorized=False, n_resamples=2_000, method="percentile", rng=1
        ).confidence_interval
        ours = next(s for s in found.scores if s.name == name)
        width = oracle.high - oracle.low
        # two sets of 2,000 random resamples: a 2.5 % quantile has a standard error of about 3 % of the width
        assert ours.low == pytest.approx(oracle.low, abs=0.1 * width)
        assert ours.high == pytest.approx(oracle.high, abs=0.1 * width)


def test_markets_that_move_as_one_tell_no_more_than_one_of_them() -> None:
    """Four copies of a series: rows of one week are drawn together, so the intervals are those of one."""
    model, weeks = linear().fit(TV.X, TV.y), np.arange(len(TV.frame))
    train, test = weeks[:160], weeks[160:]
    spread = calibrate(linear(), TV.X, TV.y, Folding())
    more = {"contract": TV.contract, "thrifty": True}
    one = evaluate(model, spread, TV.X, TV.y, train=train, test=test, dates=weeks, **more)

    copied = np.repeat(weeks, 4)
    X, y = TV.X.iloc[copied].reset_index(drop=True), TV.y.iloc[copied].reset_index(drop=True)
    among = np.arange(len(copied))
    together = {"train": among[copied < 160], "test": among[copied >= 160], **more}
    four = evaluate(model, spread, X, y, dates=copied, **together)
    free = evaluate(model, spread, X, y, **together)
    for name in ("mae", "rmse", "r2", "bias"):
        alone, copies, rows = (next(s for s in found.scores if s.name == name) for found in (one, four, free))
        assert (copies.value, copies.low, copies.high) == pytest.approx((alone.value, alone.low, alone.high), rel=1e-9)
        # as if the copies were rows of their own: half as wide
        assert (rows.high - rows.low) / (copies.high - copies.low) == pytest.approx(0.5, abs=0.1)
    alone, copies, rows = (found.coverage[0] for found in (one, four, free))
    assert alone.error == pytest.approx(math.sqrt(alone.measured * (1 - alone.measured) / 40))  # that of a share
    assert (copies.measured, copies.error, copies.rows) == pytest.approx((alone.measured, alone.error, 160))
    assert rows.error == pytest.approx(alone.error / 2)


def test_no_row_is_scored_by_a_model_that_saw_it() -> None:
    seen: list[tuple[set[float], set[float]]] = []

    class Remembers(RegressorMixin, BaseEstimator):
        """Predicts the mean, and notes what it was fitted on and asked for."""

        def fit(self, X: pd.DataFrame, y: object) -> Remembers:
            self.rows_ = set(X["TV"])
            return self

        def predict(self, X: pd.DataFrame) -> np.ndarray:
            seen.append((self.rows_, set(X["TV"])))
            return np.full(len(X), 10.0)

    made = table(pd.DataFrame({"TV": np.arange(60.0), "Sales": np.sin(np.arange(60.0)) + 10}))
    rows = np.arange(60)
    train, test = rows[:48], rows[48:]
    spread = calibrate(Remembers(), made.X.iloc[train], made.y.iloc[train], Folding(seed=1))
    model = Remembers().fit(made.X.iloc[train], made.y.iloc[train])
    evaluate(model, spread, made.X, made.y, train=train, test=test, contract=made.contract)
    scored = [(fitted, asked) for fitted, asked in seen if asked != set(made.X["TV"].iloc[train])]
    assert len(scored) > 20  # every other call is a prediction for a score or a calibration
    assert not any(fitted & asked for fitted, asked in scored)


def test_mape_is_refused_where_nothing_was_sold_and_wape_stands() -> None:
    frame = shipped("tvmarketing")
    frame.loc[frame.index[:100], "Sales"] = 0.0
    found, *_ = study_of(table(frame))
    mape = next(s for s in found.scores if s.name == "mape")
    assert mape.value is None
    assert "sold nothing" in mape.reason
    assert found.score("wape") is not None
    assert "M005" in {f.code for f in found.findings}


def test_nothing_held_out_means_cross_validation_and_it_is_said() -> None:
    found, *_ = built_in(test_size=0)
    assert found.basis == "cross-validation"
    assert found.rows == 200
    assert "No rows were held out" in found.basis_sentence
    # ISLR's residual standard error for this line is 3.26; errors on unseen rows are a little larger
    assert 3.2 < found.score("rmse") < 3.4


def test_coverage_is_counted_on_unseen_rows_and_near_its_level() -> None:
    found, *_ = built_in()
    counted = {c.level: c for c in found.coverage if c.basis == "cross-validation"}
    for level, c in counted.items():
        # 160 rows: three standard errors of a share
        assert c.measured == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / 160))
    assert [c.width for c in counted.values()] == sorted(c.width for c in counted.values())


def test_intervals_that_held_too_few_rows_are_named_where_the_held_out_ones_alone_were_counted() -> None:
    rows = np.arange(len(TV.frame))
    train, test = train_test_split(rows, test_size=0.2, random_state=42)
    model, spread = linear().fit(TV.X.iloc[train], TV.y.iloc[train]), calibrate(linear(), TV.X, TV.y, Folding())
    narrow = replace(spread, scores=tuple(s / 3 for s in spread.scores))
    about = {"train": train, "test": test, "contract": TV.contract, "thrifty": True, "kind": "curves"}
    found = evaluate(model, narrow, TV.X, TV.y, **about)
    held = next(c for c in found.coverage if c.level == 0.9)
    said = [f.message for f in found.findings if f.code == "M004"]
    assert said == [f"The 90 % intervals held {100 * held.measured:.0f} % of 40 unseen rows."]
    assert not [f for f in evaluate(model, spread, TV.X, TV.y, **about).findings if f.code == "M004"]


def test_diagnostics_equal_statsmodels() -> None:
    found, _, train, _ = built_in()
    X, y = TV.X.iloc[train], TV.y.iloc[train]
    oracle = sm.OLS(y.to_numpy(), sm.add_constant(X.to_numpy())).fit()
    by_name = {d.name: d for d in found.diagnostics}
    reset = linear_reset(oracle, power=2, test_type="fitted", use_f=True)
    assert by_name["residuals"].statistic == pytest.approx(float(reset.fvalue), rel=1e-6)
    assert by_name["residuals"].p == pytest.approx(float(reset.pvalue), rel=1e-6)
    lm, p, *_ = het_breuschpagan(oracle.resid, oracle.model.exog)
    assert breusch_pagan(oracle.model.exog, oracle.resid) == pytest.approx((lm, p), rel=1e-8)
    assert by_name["scale_location"].statistic == pytest.approx(lm, rel=1e-8)
    cooks = OLSInfluence(oracle).cooks_distance[0]
    np.testing.assert_allclose(cooks_distance(oracle.model.exog, y.to_numpy()), cooks, rtol=1e-8)
    assert by_name["influence"].statistic == pytest.approx(cooks.max())


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e6, 1e12])
def test_a_bend_is_found_whatever_the_unit_of_spend(unit: float) -> None:
    # budgets in dong or rupiah have twelve digits
    _, model, train, _ = built_in()
    X, y = TV.X.iloc[train] * unit, TV.y.iloc[train]
    bent = next(d for d in diagnose(linear().fit(X, y), X, y, in_time=False) if d.name == "residuals")
    same = next(d for d in diagnose(model, TV.X.iloc[train], y, in_time=False) if d.name == "residuals")
    assert (bent.statistic, bent.p) == pytest.approx((same.statistic, same.p), rel=1e-6)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_wape_has_an_end_above_where_a_sample_of_the_rows_may_have_sold_nothing() -> None:
    frame = shipped("tvmarketing")
    frame.loc[frame.index[1:], "Sales"] = np.where(np.arange(1, 200) % 10 == 0, 5.0, 0.0)
    found, *_ = study_of(table(frame), test_size=0.05)  # 10 rows
    assert next(s for s in found.scores if s.name == "wape").high < 100


def test_errors_that_follow_each_other_in_time_are_found() -> None:
    random = np.random.default_rng(5)
    drift = np.cumsum(random.normal(0, 1, 120))
    X = pd.DataFrame({"TV": random.uniform(0, 10, 120)})
    y = 3 * X["TV"] + drift
    found = {d.name: d for d in diagnose(linear().fit(X, y), X, y, in_time=True)}
    assert found["order"].statistic == pytest.approx(
        sm.stats.stattools.durbin_watson(y - linear().fit(X, y).predict(X)), rel=1e-9
    )
    assert "Neighbouring periods err alike" in found["order"].sentence


def test_residuals_of_curves_over_markets_are_looked_at_within_them_and_for_their_size() -> None:
    """By statsmodels on what each market spends and sells for its size, with a level for each."""
    random = np.random.default_rng(9)
    markets, heads = np.repeat(["a", "b", "c"], 80), np.repeat([1.0, 4.0, 20.0], 80)
    spend = random.uniform(0, 10, 240)
    sold = np.repeat([50.0, 100.0, 70.0], 80) + 3 * spend + random.normal(0, 2, 240)
    oracle = sm.OLS(sold, np.column_stack([np.ones(240), markets == "b", markets == "c", spend])).fit()

    class Known(RegressorMixin, BaseEstimator):
        def predict(self, X: pd.DataFrame) -> np.ndarray:
            return oracle.fittedvalues * heads

    X, y = pd.DataFrame({"TV": spend * heads}), pd.Series(sold * heads)
    about = {"in_time": True, "numbers": spend[:, None], "kind": "curves", "markets": markets}
    found = {d.name: d for d in diagnose(Known(), X, y, size=heads, **about)}
    reset = linear_reset(oracle, power=2, test_type="fitted", use_f=True)
    assert (found["residuals"].statistic, found["residuals"].p) == pytest.approx((reset.fvalue, reset.pvalue), rel=1e-6)
    lm, p, *_ = het_breuschpagan(oracle.resid, oracle.model.exog)
    assert (found["scale_location"].statistic, found["scale_location"].p) == pytest.approx((lm, p), rel=1e-8)
    assert (found["qq"].statistic, found["qq"].p) == pytest.approx(stats.shapiro(oracle.resid))
    assert min(p, found["qq"].p) > 0.05
    # as they are, the noise of the large market alone would make them uneven and not normal
    pooled = {d.name: d for d in diagnose(Known(), X, y, **about)}
    assert max(pooled["scale_location"].p, pooled["qq"].p) < 1e-6


def test_neighbours_in_time_are_those_of_one_market() -> None:
    random = np.random.default_rng(5)
    each = np.cumsum(random.normal(0, 1, (3, 60)), axis=1) + np.array([[0], [50], [-90]])
    by_week, markets = each.T.ravel(), np.tile(["a", "b", "c"], 60)  # as a table in order of time has them
    parts = [(e - e.mean(), sm.stats.stattools.durbin_watson(e - e.mean())) for e in each]
    mean = np.average([d for _, d in parts], weights=[(e**2).sum() for e, _ in parts])
    assert durbin_watson(by_week, markets) == pytest.approx(mean)
    assert math.isnan(durbin_watson(by_week[:3], markets[:3]))
    assert math.isnan(durbin_watson(np.ones(6), np.tile(["a", "b"], 3)))


@pytest.mark.parametrize(
    ("memory", "said", "advice"),
    [(0.9, "err alike, so errors and intervals of the coefficients are too narrow", "trend"), (-0.9, "opposite", "late")],
)
def test_a_study_says_how_periods_err_and_warns_where_it_recommends(memory: float, said: str, advice: str) -> None:
    random = np.random.default_rng(5)
    spend, errors = random.uniform(0, 10, 200), np.zeros(200)
    for i in range(1, len(errors)):
        errors[i] = memory * errors[i - 1] + random.normal()
    weeks = pd.date_range("2022-01-03", periods=200, freq="W-MON")
    made = pd.DataFrame({"Week": weeks, "TV": spend, "Sales": 100 + 3 * spend + errors})
    study = lifecycle.fit(made, target="Sales", date="Week", channels=["TV"], repeats=1)
    (found,) = (f for f in study.findings if f.code == "M003")
    assert said in found.message
    assert advice in found.advice
    assert f"But {found.message[0].lower()}{found.message[1:]}" in study.recommendation.headline


@pytest.mark.parametrize(("memory", "said"), [(0.9, "so the intervals of the channels are wider"), (-0.9, "opposite")])
def test_errors_of_curves_that_follow_each_other_make_no_interval_too_narrow(memory: float, said: str) -> None:
    random = np.random.default_rng(5)
    errors = np.zeros(200)
    for i in range(1, len(errors)):
        errors[i] = memory * errors[i - 1] + random.normal()
    X = pd.DataFrame({"TV": random.uniform(0, 10, len(errors))})
    y = 3 * X["TV"] + errors
    found = {d.name: d for d in diagnose(linear().fit(X, y), X, y, in_time=True, kind="curves")}
    assert said in found["order"].sentence
    assert "narrow " not in found["order"].sentence


def test_of_no_other_model_is_said_what_holds_of_a_line_alone() -> None:
    random = np.random.default_rng(5)
    spend = random.uniform(0, 10, 200)
    made = table(pd.DataFrame({"TV": spend, "Sales": 100 + spend**2 + random.normal(0, 1, 200) * (1 + spend)}))
    model, rows = linear().fit(made.X, made.y), np.arange(200)
    spread = calibrate(linear(), made.X, made.y, Folding())
    kinds: tuple[Kind, ...] = ("line", "curves", "other")
    found = [
        evaluate(model, spread, made.X, made.y, train=rows, test=rows[:0], contract=made.contract, kind=kind) for kind in kinds
    ]
    assert ["influence" in {d.name for d in e.diagnostics} for e in found] == [True, False, False]
    line, curves, other = ({f.code: f"{f.message} {f.advice}" for f in e.findings} for e in found)
    assert "straight line" in line["M001"]
    assert "HC3" in line["M002"]
    assert "The curves leave a bend" in curves["M001"]
    assert "intervals of the channels" in curves["M002"]
    assert "The model leaves a bend" in other["M001"]
    said = (*curves.values(), *other.values())
    assert not any(word in text for text in said for word in (" line", "HC3", "coefficients"))
    assert not any("channels" in text or "The curves" in text for text in other.values())


def test_a_perfect_line_is_evaluated_without_a_division_by_zero() -> None:
    frame = pd.DataFrame({"TV": np.arange(50.0), "Sales": 2 + 3 * np.arange(50.0)})
    found, *_ = study_of(table(frame))
    assert found.score("r2") == pytest.approx(1)
    assert found.score("rmse") == pytest.approx(0, abs=1e-9)


def test_the_reference_study_is_reproduced(reference: Study) -> None:
    """The published study of this file, each figure to the digits it prints (design, section 5)."""
    study = reference
    assert round(study.evaluation.score("mae"), 2) == 2.44
    assert round(study.evaluation.score("rmse"), 2) == 3.19
    assert round(study.evaluation.score("mape"), 3) == 0.187
    assert round(study.evaluation.score("r2"), 3) == 0.677
    tv, sales = study.profile.numbers
    assert (round(tv.mean, 2), tv.lowest, tv.highest) == (147.04, 0.7, 296.4)
    assert (round(sales.mean, 2), sales.lowest, sales.highest) == (14.02, 1.6, 27.0)
    assert tv.densest == (200, 250)
    assert sales.densest == (10, 15)
    assert "same predictions" in study.leaderboard.tuning_sentence
    assert study.gate.status == "VALIDATED"


@pytest.mark.parametrize(("factor", "warned"), [(0.9, True), (1.1, False)])
def test_a_study_warns_where_the_mean_alone_predicts_as_well(reference: Study, factor: float, warned: bool) -> None:
    """Over the same folds, by the rows learnt from: R² asks for each test fold's own mean, which nobody knows ahead."""
    study = reference
    chosen = next(row for row in study.leaderboard.rows if row.chosen)
    rows = [replace(row, rmse=factor * chosen.rmse) if row.name == "baseline" else row for row in study.leaderboard.rows]
    worse = [replace(score, value=-1.0) if score.name == "r2" else score for score in study.evaluation.repeated]
    said = " ".join(
        caveats(replace(study.evaluation, repeated=tuple(worse)), study.gate, replace(study.leaderboard, rows=tuple(rows)))
    )
    assert ("no better than the mean alone" in said) == warned
