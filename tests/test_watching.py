"""Does a watch keep what holds, ask for a new fit where the relation moved, and stop where the data is not fit?"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from adresponse import words
from adresponse.errors import ConfigError
from adresponse.formula import Spread
from adresponse.intervals import spread_of
from adresponse.rows import Reads
from adresponse.schema import Contract
from adresponse.table import read_builtin
from adresponse.watching.drift import dependence
from adresponse.watching.relation import moved
from adresponse.watching.verdict import WEIGHTS, Champion, WatchRules, watch

TABLE = read_builtin()
SLOPE, LEVEL = np.polyfit(TABLE.X["TV"], TABLE.y, 1)
PER_WATCH = WatchRules(per="watch")


def line(frame: pd.DataFrame) -> np.ndarray:
    return LEVEL + SLOPE * frame["TV"].to_numpy()


REST = TABLE.y.to_numpy() - line(TABLE.X)
CHAMPION = Champion(TABLE.contract, TABLE.frame, line, spread_of(line(TABLE.X), TABLE.y.to_numpy()), name="sales version 1")


def new(rows: int = 100, *, slope: float = 1.0, level: float = 0.0, sd: float = 1.0, shift: float = 0.0, seed: int = 1):
    """Rows with budgets as in the table and errors that grow with the budget as there."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(1, 296, rows) + shift
    return pd.DataFrame(
        {"TV": x, "Sales": LEVEL + level + slope * SLOPE * x + sd * (1 + 0.014 * x) * rng.standard_normal(rows)}
    )


CASES = [
    (new(), "keep", set()),  # nothing changed
    (new(slope=0.7), "retrain", {"W014"}),  # TV brings less
    (new(slope=1.4), "retrain", {"W014"}),  # TV brings more
    (new(level=3), "retrain", {"W016"}),  # all sell more
    (new(sd=2), "retrain", {"W015", "W017", "W018"}),  # sales scatter more
    (new(shift=200), "retrain", {"W011", "W012"}),  # budgets beyond what was fitted
    (
        new().assign(TV=lambda f: f.TV.clip(100, 200)).assign(Sales=lambda f: line(f) + REST[:100]),
        "keep",
        {"W011"},
    ),  # inside it
    (new().drop(columns="Sales"), "keep", {"W001", "W019"}),  # sales not known yet
    (new(shift=200).drop(columns="Sales"), "keep", {"W012", "W019"}),  # beyond, but a new fit would learn nothing of it
    (new(8), "keep", {"W010", "W019"}),  # too few rows to tell
    (TABLE.frame.iloc[:50], "keep", {"W006"}),  # nothing new
    (new().assign(TV=lambda f: f.TV * 1000), "stop", {"W005"}),  # dollars instead of thousands
    (new().rename(columns={"TV": "tv"}), "stop", {"W003"}),
    (new().drop(columns="TV"), "stop", {"W001"}),
    (new().assign(TV="much"), "stop", {"W004"}),
    (new().assign(TV=-1.0), "stop", {"W009"}),
    (new().iloc[:0], "keep", set()),  # an empty file
]


@pytest.mark.parametrize(("rows", "verdict", "codes"), CASES)
def test_verdicts(rows: pd.DataFrame, verdict: str, codes: set[str]) -> None:
    found = watch(CHAMPION, rows)
    assert found.verdict == verdict, found.reasons
    assert codes <= {f.code for f in found.findings}
    assert found.reasons
    assert found.reasons[0] in found.sentence
    assert all(s.endswith((".", "?")) for s in found.reasons)
    json.dumps(words.plain(found), allow_nan=False)


def test_spend_of_rows_whose_sales_are_not_known_works_in_the_others() -> None:
    def carrying(frame: pd.DataFrame) -> np.ndarray:
        before = np.append(0.0, frame["TV"].to_numpy()[:-1])
        return line(frame) + SLOPE * before

    rows = new(60)
    rows["Sales"] = carrying(rows) + np.random.default_rng(2).normal(0, 0.1, 60)
    rows.loc[::3, "Sales"] = np.nan
    found = watch(replace(CHAMPION, predict=carrying), rows)
    assert found.errors is not None
    assert found.errors.rows_now == 40
    assert found.errors.mae_now < 0.15


def test_a_slope_is_named_with_what_it_was_and_is() -> None:
    found = watch(CHAMPION, new(slope=0.7))
    assert found.relation is not None
    tv = found.relation.slopes[0]
    assert tv.before == pytest.approx(SLOPE)
    assert tv.alone_low < -0.3 * SLOPE < tv.alone_high
    assert tv.sentence.startswith(f"TV brings {-100 * tv.share:.0f} % less than before: ")
    assert f"instead of {SLOPE:.4f}" in tv.sentence
    assert tv.sentence in found.reasons


def panel(seed: int = 1, rows: int = 150) -> tuple[Contract, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"TV": rng.gamma(4, 25, rows), "Radio": rng.gamma(3, 10, rows)})
    frame["Sales"] = 5 + 0.05 * frame["TV"] + 0.1 * frame["Radio"] + rng.standard_normal(rows) * (1 + frame["TV"] / 100)
    return Contract.build(target="Sales", channels=["TV", "Radio"]), frame


def relation_of(contract: Contract, before: pd.DataFrame, now: pd.DataFrame):
    """The relation compared, for a champion that is the least-squares line through ``before``."""
    fit = sm.OLS(before["Sales"], sm.add_constant(before[["TV", "Radio"]])).fit()
    predicted = tuple(fit.predict(sm.add_constant(f[["TV", "Radio"]], has_constant="add")).to_numpy() for f in (before, now))
    found = moved(contract, before, now, predicted, level_less=lambda s: 0.03 * s, level_more=lambda s: 0.005 * s)
    assert found is not None
    return found.relation


def test_chow_and_wald_are_those_of_statsmodels() -> None:
    contract, before = panel()
    now = panel(2, 60)[1].assign(Sales=lambda f: f.Sales - 0.02 * f.TV)
    relation = relation_of(contract, before, now)
    both = pd.concat([before, now], ignore_index=True)
    design = sm.add_constant(both[["TV", "Radio"]])
    group = np.repeat([0.0, 1.0], [len(before), len(now)])
    apart = pd.concat([design, design.mul(group, axis=0).add_suffix("_new")], axis=1)
    full, small = sm.OLS(both["Sales"], apart).fit(), sm.OLS(both["Sales"], design).fit()
    f, p, _ = full.compare_f_test(small)
    assert (relation.chow_f, relation.chow_p) == (pytest.approx(f), pytest.approx(p))
    robust = sm.OLS(both["Sales"], apart).fit(cov_type="HC3")
    names = ["const_new", "TV_new", "Radio_new"]
    wald = robust.wald_test(np.eye(6)[3:], use_f=True, scalar=True)
    assert relation.wald_f == pytest.approx(float(wald.statistic))
    terms = (relation.level, *relation.slopes)
    assert [t.change for t in terms] == pytest.approx(list(robust.params[names]))
    reach = stats.t.ppf(0.975, len(now) - 3)
    assert [(t.high - t.low) / 2 / reach for t in terms] == pytest.approx(list(robust.bse[names]))


def test_a_change_alone_is_the_restricted_estimate() -> None:
    """With the covariance of both sides known, only one term moving is generalised least squares on its column alone."""
    contract, before = panel()
    now = panel(3, 80)[1]
    relation = relation_of(contract, before, now)
    assert not any(t.named for t in (relation.level, *relation.slopes))
    fits = [sm.OLS(f["Sales"], sm.add_constant(f[["TV", "Radio"]])).fit() for f in (before, now)]
    delta = (fits[1].params - fits[0].params).to_numpy()
    precision = np.linalg.inv(fits[0].cov_HC3 + fits[1].cov_HC3)
    for i, term in enumerate((relation.level, *relation.slopes)):
        only = np.eye(3)[:, [i]]
        gls = np.linalg.solve(only.T @ precision @ only, only.T @ precision @ delta)[0]
        assert term.alone == pytest.approx(gls)


@pytest.mark.parametrize(
    ("moves", "named"),
    [
        ({"TV": -0.02}, {"TV"}),
        ({"Radio": -0.07}, {"Radio"}),  # which TV could explain, too, if it had to alone
        ({"": -2.0}, {""}),  # all sell less: no channel is to blame
        ({"TV": 0.04, "Radio": -0.1}, {"TV", "Radio"}),  # one brings more, the other nothing any more
        ({}, set()),
    ],
)
def test_the_term_that_moved_is_named_and_no_other(moves: dict[str, float], named: set[str]) -> None:
    right = 0
    for seed in range(40):
        contract, before = panel(2 * seed)
        now = panel(2 * seed + 1, 200)[1]
        for name, by in moves.items():
            now["Sales"] += by * (now[name] if name else 1.0)
        relation = relation_of(contract, before, now)
        right += {t.name for t in (relation.level, *relation.slopes) if t.named} == named
    assert right >= 30  # the best of three terms is at times another than the true one


def test_a_channel_that_is_not_to_blame_is_said_not_to_be() -> None:
    contract, before = panel(10)
    now = panel(11, 300)[1].assign(Sales=lambda f: f.Sales - 0.08 * f.Radio)
    fit = sm.OLS(before["Sales"], sm.add_constant(before[["TV", "Radio"]])).fit()

    def predict(frame: pd.DataFrame) -> Any:
        return fit.predict(sm.add_constant(frame[["TV", "Radio"]], has_constant="add"))

    found = watch(Champion(contract, before, predict), now)
    assert found.reasons[0].startswith("Radio brings")
    tv = next(t for t in found.tests if t.title == "TV brings less")
    assert tv.found
    assert "but Radio explains it better" in tv.sentence
    assert not any(r.startswith("TV") for r in found.reasons)


def test_a_feature_that_did_not_vary_is_left_out_and_the_others_are_told() -> None:
    contract, before = panel()
    now = panel(2, 60)[1].assign(Radio=30.0)
    relation = relation_of(contract, before, now)
    assert relation.left_out == ("Radio",)
    assert [s.name for s in relation.slopes] == ["TV"]


def test_the_change_that_would_have_been_found_is_found_in_four_of_five_cases() -> None:
    promised = watch(CHAMPION, new(seed=5), PER_WATCH).relation
    assert promised is not None
    share = promised.slopes[0].detectable
    hits = 0
    for seed in range(100):
        relation = watch(CHAMPION, new(slope=1 - share, seed=seed), replace(PER_WATCH, resamples=100)).relation
        hits += relation is not None and relation.slopes[0].found
    assert 68 <= hits <= 92  # 80 and three standard errors of 100 cases; the spread is itself estimated


def test_errors_are_scored_by_hand() -> None:
    rows = new()
    found = watch(CHAMPION, rows, PER_WATCH).errors
    assert found is not None
    error = rows["Sales"] - line(rows)
    q, _ = np.linalg.qr(np.column_stack([np.ones(200), TABLE.X["TV"]]))
    aside = REST / (1 - (q**2).sum(axis=1))
    assert found.mae_now == pytest.approx(error.abs().mean())
    assert found.mae_before == pytest.approx(np.abs(aside).mean())
    assert found.bias == pytest.approx(error.mean())
    half = stats.t.ppf(0.975, 99) * error.std() / 10
    assert (found.bias_low, found.bias_high) == (pytest.approx(error.mean() - half), pytest.approx(error.mean() + half))
    assert found.ratio_low < found.ratio < found.ratio_high


def test_leaving_each_row_out_is_what_it_says() -> None:
    x, y = TABLE.X["TV"].to_numpy(), TABLE.y.to_numpy()
    aside = [y[i] - np.polyval(np.polyfit(np.delete(x, i), np.delete(y, i), 1), x[i]) for i in range(200)]
    found = watch(CHAMPION, new(), PER_WATCH).errors
    assert found is not None
    assert found.mae_before == pytest.approx(np.abs(aside).mean())


def test_errors_of_some_rows_only_are_enough() -> None:
    errors = np.where(np.arange(200) < 40, REST, np.nan)
    found = watch(replace(CHAMPION, errors=errors), new(), PER_WATCH).errors
    assert found is not None
    assert (found.rows_before, found.mae_before) == (40, pytest.approx(np.abs(REST[:40]).mean()))
    with pytest.raises(ConfigError, match="give an error for each of the 200 reference rows"):
        watch(replace(CHAMPION, errors=errors[:50]), new())


def test_coverage_is_counted_and_tested_with_the_chance_of_its_calibration() -> None:
    rows = new(sd=1.3)
    low, high = CHAMPION.spread.interval(line(rows), 0.9)  # type: ignore[union-attr]
    inside = int(((rows["Sales"] >= low) & (rows["Sales"] <= high)).sum())
    found = watch(CHAMPION, rows, PER_WATCH)
    assert found.errors is not None
    assert found.errors.coverage is not None
    assert found.errors.coverage.inside == inside
    exact = stats.binomtest(inside, 100).proportion_ci(0.95)
    assert (found.errors.coverage.low, found.errors.coverage.high) == (pytest.approx(exact.low), pytest.approx(exact.high))
    held = next(t for t in found.tests if t.name == "coverage")
    # 181 is the rank of the 90 % quantile among 200 scores: ceil(0.9 * 201)
    assert held.p == pytest.approx(stats.betabinom.cdf(inside, 100, 181, 20))


def test_coverage_of_fresh_conformal_intervals_is_beta_binomial() -> None:
    rng, scores = np.random.default_rng(1), 50
    counts = []
    for _ in range(2_000):
        spread = Spread(1.0, 0.0, 1.0, tuple(np.sort(np.abs(rng.standard_normal(scores)))))
        counts.append(int((np.abs(rng.standard_normal(100)) <= spread.quantile(0.9)).sum()))
    # the rank is ceil(0.9 * 51) = 46; the largest gap of 2,000 draws is below 0.043 in 999 of 1,000 cases (Massart 1990)
    assert (
        stats.ks_1samp(counts, lambda k: stats.betabinom.cdf(k, 100, 46, 5)).statistic
        < 0.043 + stats.betabinom.pmf(np.arange(101), 100, 46, 5).max()
    )
    assert np.mean(counts) == pytest.approx(100 * 46 / 51, abs=0.6)


def test_without_a_spread_coverage_is_not_told() -> None:
    found = watch(replace(CHAMPION, spread=None), new(), PER_WATCH)
    assert found.errors is not None
    assert found.errors.coverage is None
    assert "coverage" not in {t.name for t in found.tests}


def test_one_row_is_spoken_of_as_one() -> None:
    found = watch(CHAMPION, new(1, shift=500))
    said = " ".join([*found.reasons, *(f.message for f in found.findings), *(t.sentence for t in found.tests)])
    for part in ("1 row with known sales is too few to tell", "TV: 1 row is too few to tell", "1 row of 1 has TV outside"):
        assert part in said


def test_a_moved_line_is_not_taken_for_more_scatter() -> None:
    found = watch(CHAMPION, new(slope=0.4, rows=200), PER_WATCH)
    named = {t.name for t in found.tests if t.found}
    assert {"less", "errors", "bias"} <= named
    assert "spread" not in named


def test_the_tests_share_the_level() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1)
    contract, before = panel()
    fit = sm.OLS(before["Sales"], sm.add_constant(before[["TV", "Radio"]])).fit()

    def predict(frame: pd.DataFrame) -> Any:
        return fit.predict(sm.add_constant(frame[["TV", "Radio"]], has_constant="add"))

    champion = Champion(contract, before, predict, spread_of(predict(before).to_numpy(), before["Sales"].to_numpy()))
    tests = watch(champion, panel(2)[1], PER_WATCH).tests
    # each slope is tested for less and for more; the list gives the side to which it lies
    other = sum(WEIGHTS["more" if t.name == "less" else "less"] * 0.05 / 2 for t in tests if t.name in ("less", "more"))
    assert sum(t.level for t in tests) + other == pytest.approx(0.05)


def test_a_stream_spends_its_level_look_by_look() -> None:
    rows, looks, levels = new(), [], []
    for n in (20, 60, 100):
        found = watch(CHAMPION, rows.iloc[:n], looks=looks)
        looks.append(found.sizes.with_sales)
        levels.append(found.level)
        assert found.look == len(looks)
    assert levels[0] < levels[1] < levels[2] < 0.05
    assert "Level 5 % for all looks at these rows together" in found.level_sentence
    assert watch(CHAMPION, rows, PER_WATCH, looks=looks).level == 0.05


def test_a_row_that_was_withdrawn_does_not_break_the_stream() -> None:
    rows = new()
    assert watch(CHAMPION, rows.iloc[:59], looks=[60]).level == watch(CHAMPION, rows.iloc[:60], looks=[60]).level


def test_weeks_whose_errors_are_alike_count_for_less() -> None:
    rng = np.random.default_rng(3)
    error = np.zeros(260)
    for i in range(1, 260):
        error[i] = 0.7 * error[i - 1] + rng.standard_normal()
    tv = rng.gamma(4, 25, 260)
    frame = pd.DataFrame(
        {"week": pd.date_range("2019-01-07", periods=260, freq="7D"), "TV": tv, "Sales": 10 + 0.1 * tv + error}
    )
    contract = Contract.build(target="Sales", channels=["TV"], date="week")
    champion = Champion(contract, frame.iloc[:156], lambda f: 10 + 0.1 * f["TV"].to_numpy())
    alike = watch(champion, frame.iloc[156:], PER_WATCH).relation
    shuffled = watch(replace(champion, contract=Contract.build(target="Sales", channels=["TV"])), frame.iloc[156:], PER_WATCH)
    assert alike is not None
    assert shuffled.relation is not None
    ratio = (alike.level.high - alike.level.low) / (shuffled.relation.level.high - shuffled.relation.level.low)
    # the correlation 0.7 makes the variance of a mean (1 + 0.7) / (1 - 0.7) = 5.7 times as large
    assert ratio == pytest.approx(math.sqrt(5.7), rel=0.25)


SIZES = {"A": 0.2, "B": 0.8, "C": 2.0}
PLACED = Contract.build(target="Sales", channels=["TV", "Radio"], date="week", market="place")


def places(seed: int, weeks: int, *, level: float = 100.0, tv: float = 0.5) -> pd.DataFrame:
    """Weeks of three markets of other sizes, which spend, sell and scatter by these."""
    rng = np.random.default_rng(seed)
    parts = []
    for place, size in SIZES.items():
        spend = rng.gamma(4, [25, 10], (weeks, 2))
        sales = level + spend @ [tv, 1.0] + rng.normal(0, 4, weeks)
        rows = pd.DataFrame(size * spend, columns=["TV", "Radio"]).assign(place=place, Sales=size * sales)
        parts.append(rows.assign(week=pd.date_range(f"20{10 + 3 * seed}-01-07", periods=weeks, freq="7D")))
    return pd.concat(parts, ignore_index=True)


def knows_places(before: pd.DataFrame) -> Champion:
    reads = Reads(PLACED, True, tuple(SIZES))

    def predict(frame: pd.DataFrame) -> Any:
        return 100 * frame["place"].map(SIZES) + 0.5 * frame["TV"] + frame["Radio"]

    spread = spread_of(predict(before).to_numpy(), before["Sales"].to_numpy())
    errors = (before["Sales"] - predict(before)).to_numpy()
    return Champion(PLACED, before, predict, spread, errors, reads=reads, sizes=SIZES)


def test_where_all_markets_lose_alike_the_level_is_named_and_no_channel() -> None:
    champion = knows_places(places(1, 60))
    lost = watch(champion, places(2, 40, level=88.0))
    assert lost.relation is not None
    assert lost.relation.level.named
    assert not any(s.named for s in lost.relation.slopes)
    assert lost.relation.level.alone == pytest.approx(-12, abs=2)  # of a market of size 1; the rows tell it to about 0.7
    # as of equal markets it is taken for a loss of the channel on which large ones spend more
    equal = watch(replace(champion, sizes={}), places(2, 40, level=88.0))
    assert equal.relation is not None
    assert any(s.named for s in equal.relation.slopes)


def test_a_channel_that_brings_less_in_all_markets_is_named() -> None:
    found = watch(knows_places(places(1, 60)), places(2, 40, tv=0.35)).relation
    assert found is not None
    assert [s.name for s in found.slopes if s.named] == ["TV"]
    assert found.slopes[0].before == pytest.approx(0.5, rel=1e-9)  # what the champion says
    assert found.slopes[0].share == pytest.approx(-0.3, abs=0.1)


def test_a_slope_before_is_that_within_markets() -> None:
    """Of a champion with a level for each market, of which the larger ones spend more."""
    levels = {"A": 10.0, "B": 500.0, "C": 3000.0}
    champion = Champion(
        PLACED,
        places(1, 60),
        lambda f: f["place"].map(levels) + 0.5 * f["TV"] + f["Radio"],
        reads=Reads(PLACED, True, tuple(SIZES)),
    )
    found = watch(champion, places(2, 40)).relation
    assert found is not None
    assert [s.before for s in found.slopes] == pytest.approx([0.5, 1.0], rel=1e-9)


def test_a_small_market_leaves_its_range_though_a_large_one_spends_more() -> None:
    champion, new = knows_places(places(1, 60)), places(2, 40)
    small = new["place"] == "A"
    new.loc[small, "TV"] *= 4
    assert new["TV"].max() == new.loc[~small, "TV"].max()

    def beyond(champion: Champion) -> tuple[bool, str]:
        return next((t.found, t.sentence) for t in watch(champion, new).tests if t.title == "TV lies beyond the range fitted")

    found, sentence = beyond(champion)
    assert found
    assert "TV outside the range fitted for the size of the market, " in sentence
    assert not beyond(replace(champion, sizes={}))[0]


def test_that_markets_differ_is_no_likeness_of_neighbouring_weeks() -> None:
    before = places(2, 60)
    assert dependence(PLACED, before, "Sales") == 1.0
    flat = before.assign(Sales=before["place"].map(SIZES))
    assert dependence(PLACED, flat, "Sales") == 1.0  # constant in each market


def test_a_week_that_all_markets_share_is_no_evidence_from_each() -> None:
    rng, alarms = np.random.default_rng(5), 0
    for _ in range(60):
        tv = rng.gamma(4, 25, (130, 8))
        error = rng.normal(0, 5, (130, 1)) + rng.normal(0, 5, (130, 8))  # half of it shared, such as that of a holiday
        frame = pd.DataFrame({"TV": tv.ravel(), "Sales": (0.5 * tv + error).ravel()})
        frame["Radio"] = rng.gamma(3, 10, len(frame))
        frame["week"] = np.repeat(pd.date_range("2020-01-06", periods=130, freq="7D"), 8)
        frame["place"] = [f"{i}" for i in range(8)] * 130
        champion = Champion(PLACED, frame[: 8 * 104], lambda f: 0.5 * f["TV"].to_numpy())
        tests = watch(champion, frame[8 * 104 :], replace(PER_WATCH, resamples=100)).tests
        alarms += next(t.p for t in tests if t.name == "bias") <= 0.05
    assert alarms <= 8  # 5 % of 60 is 3; 9 or more come with a chance below 1 in 200, and as of independent rows with 20


def test_rules_say_what_leads_to_a_new_fit_and_what_to_a_stop() -> None:
    assert watch(CHAMPION, new(sd=2), WatchRules(retrain_on=("relation",))).verdict == "keep"
    kept = watch(CHAMPION, new(sd=2), WatchRules(retrain_on=()))
    assert any("Found, but no reason for a new fit by the rules" in r for r in kept.reasons)
    assert watch(CHAMPION, new(sd=2), WatchRules(mae_ratio=9, retrain_on=("errors",))).verdict == "keep"
    rescaled = watch(CHAMPION, new().assign(TV=lambda f: f.TV * 1000), WatchRules(stop_on=("W001",)))
    assert rescaled.verdict == "keep"  # and nothing was tested on it
    assert not rescaled.columns
    assert rescaled.reasons[0].startswith("Nothing was compared")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"alpha": 0}, "alpha=0 is out of range; give a share such as 0.05."),
        ({"alpha": math.nan}, "alpha=nan"),
        ({"alpha": True}, "alpha=True"),
        ({"per": "day"}, "per='day' is unknown; give 'stream' or 'watch'."),
        ({"min_rows": 2}, "min_rows=2 is out of range; give a whole number, 5 or more."),
        ({"min_rows": 20.5}, "min_rows=20.5"),
        ({"horizon": 0}, "horizon=0"),
        ({"psi_limit": "x"}, "psi_limit='x'"),
        ({"mae_ratio": 0.5}, "mae_ratio=0.5"),
        ({"beyond": 1.5}, "beyond=1.5"),
        ({"least_change": -0.1}, "least_change=-0.1"),
        ({"resamples": 10}, "resamples=10"),
        ({"retrain_on": ["eror"]}, "retrain_on: 'eror' is unknown. Did you mean 'errors'?"),
        ({"stop_on": ["W999"]}, "stop_on: 'W999' is unknown."),
        ({"alfa": 0.05}, "Watch rule 'alfa' is unknown. Did you mean 'alpha'?"),
    ],
)
def test_rules_that_cannot_hold_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        WatchRules.build(given)
    assert said in str(refused.value)


def test_rules_from_a_config() -> None:
    assert WatchRules.build() == WatchRules()
    assert WatchRules.build({"alpha": 0.01, "stop_on": ["W001"]}) == WatchRules(alpha=0.01, stop_on=("W001",))


def test_a_large_file_does_not_ask_for_a_new_fit_over_a_trifle() -> None:
    rows = new(20_000, slope=0.99)
    big = replace(CHAMPION, reference=new(20_000, seed=2), errors=None)
    assert watch(big, rows).verdict == "keep"
    assert watch(big, rows, WatchRules(least_change=0.0)).verdict == "retrain"


def test_the_same_rows_give_the_same_watch() -> None:
    assert watch(CHAMPION, new()) == watch(CHAMPION, new())
