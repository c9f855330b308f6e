"""Does the contest let through a challenger that is no worse, and nothing that is worse, not finite, or turned in sign?"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from adresponse import words
from adresponse.contest import Contender, ContestRules, contest, responses
from adresponse.errors import ConfigError
from adresponse.intervals import spread_of
from adresponse.schema import Contract

CONTRACT = Contract.build(
    target="Sales", channels=["TV", "Radio"], controls=["Price"], dictionary={"Sales": {"means": "", "unit": "thousand units"}}
)
RNG = np.random.default_rng(1)
ROWS = pd.DataFrame({"TV": RNG.uniform(0, 300, 80), "Radio": RNG.uniform(0, 50, 80), "Price": RNG.uniform(9, 11, 80)})
TRUTH = (7 + 0.05 * ROWS["TV"] + 0.1 * ROWS["Radio"]).to_numpy()
NOISE = RNG.standard_normal(80)
NOISE = NOISE - NOISE.mean()
OBSERVED = TRUTH + NOISE
SPREAD = spread_of(TRUTH, OBSERVED)
CHAMPION = Contender("sales version 1", TRUTH + 0.1 * RNG.standard_normal(80), SPREAD)


def line(frame: pd.DataFrame, tv: float = 0.05) -> np.ndarray:
    return (7 + tv * frame["TV"] + 0.1 * frame["Radio"]).to_numpy()


RESPONSE = responses(CONTRACT, ROWS, line)


def challenger(predicted: np.ndarray) -> Contender:
    return Contender("sales version 2", predicted, SPREAD)


def held(found: Any) -> dict[str, bool]:
    return {r.rule: r.passed for r in found.rules}


SAME = challenger(CHAMPION.predicted)
BETTER = challenger(OBSERVED - 0.5 * NOISE)
WORSE = challenger(TRUTH + 1.5 * RNG.standard_normal(80))
SLIGHTLY = challenger(TRUTH - 0.02 * NOISE)  # every error 2 % larger
BIASED = challenger(TRUTH + 0.5)


@pytest.mark.parametrize(
    ("given", "rules", "promotes"),
    [
        (SAME, {}, True),  # not worse
        (BETTER, {}, True),
        (WORSE, {}, False),
        (SLIGHTLY, {"margin": 0.2}, True),
        (SAME, {"require": "better", "margin": 0.0}, False),  # a tie is not better
        (BETTER, {"require": "better"}, True),
        (BETTER, {"require": "better", "margin": 0.9}, False),  # not by so much
        (BIASED, {"margin": 1.0}, False),  # on average half a unit too high
        (BIASED, {"margin": 1.0, "bias": 1.0}, True),  # which may be let pass
        (WORSE, {"mode": "off"}, True),
        (BETTER, {"mode": "dry-run"}, False),
        (BETTER, {"metric": "rmse"}, True),
    ],
)
def test_who_promotes(given: Contender, rules: dict[str, Any], promotes: bool) -> None:
    found = contest(CONTRACT, OBSERVED, CHAMPION, given, RESPONSE, ContestRules.build(rules))
    assert found.promotes is promotes, found.sentence
    assert given.name in found.sentence.casefold()
    assert all(r.sentence.endswith(".") for r in found.rules)
    json.dumps(words.plain(found), allow_nan=False)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["off", "dry-run", "enforce"])
@pytest.mark.parametrize("where", ["challenger", "champion", "observed", "response"])
def test_what_is_not_finite_never_promotes(value: float, mode: Any, where: str) -> None:
    sides = {"observed": OBSERVED, "champion": CHAMPION.predicted, "challenger": BETTER.predicted}
    response = dict(RESPONSE)
    if where == "response":
        response["TV"] = (RESPONSE["TV"][0], np.where(np.arange(21) == 20, value, RESPONSE["TV"][1]))
    else:
        sides[where] = np.where(np.arange(80) == 3, value, sides[where])
    rules = ContestRules(mode=mode)
    given = replace(CHAMPION, predicted=sides["champion"]), challenger(sides["challenger"])
    found = contest(CONTRACT, sides["observed"], *given, response, rules)
    assert not found.promotes
    assert not found.passed
    assert held(found) == {"all finite": False}
    assert found.difference is None


def test_no_held_out_row_promotes_nothing() -> None:
    none = np.empty(0)
    found = contest(CONTRACT, none, Contender("a", none), Contender("b", none), RESPONSE)
    assert not found.promotes
    assert "no row was held out" in found.sentence


def test_rows_of_markets_that_one_does_not_know_are_counted_in_words() -> None:
    found = contest(CONTRACT, OBSERVED, CHAMPION, BETTER, RESPONSE, left_out=12)
    assert (found.rows, found.left_out) == (80, 12)
    assert found.sentence.endswith(" 12 held-out rows of markets that one of them does not know were not scored.")
    assert "not scored" not in contest(CONTRACT, OBSERVED, CHAMPION, BETTER, RESPONSE).sentence


def test_few_rows_are_told_to_be_too_few() -> None:
    found = contest(
        CONTRACT, OBSERVED[:6], replace(CHAMPION, predicted=CHAMPION.predicted[:6]), challenger(BETTER.predicted[:6]), RESPONSE
    )
    assert not found.promotes
    assert "fewer than 10 rows" in found.rules[1].sentence
    unsure = challenger(TRUTH + 0.3 * np.random.default_rng(4).standard_normal(80))
    found = contest(
        CONTRACT,
        OBSERVED[:12],
        replace(CHAMPION, predicted=CHAMPION.predicted[:12]),
        challenger(unsure.predicted[:12]),
        RESPONSE,
    )
    assert "12 rows are too few to tell" in found.rules[1].sentence


def test_errors_and_their_difference_by_hand() -> None:
    found = contest(CONTRACT, OBSERVED, CHAMPION, BETTER, RESPONSE)
    before, after = np.abs(OBSERVED - CHAMPION.predicted).mean(), np.abs(OBSERVED - BETTER.predicted).mean()
    assert (found.champion_error, found.challenger_error) == (pytest.approx(before), pytest.approx(after))
    assert found.difference == pytest.approx(after / before - 1)
    assert found.low < found.difference < found.high  # type: ignore[operator]


def test_the_interval_is_that_of_scipys_paired_bootstrap() -> None:
    a, b = np.abs(OBSERVED - CHAMPION.predicted), np.abs(OBSERVED - WORSE.predicted)
    expected = stats.bootstrap(
        (a, b), lambda x, y, axis: y.mean(axis=axis) / x.mean(axis=axis) - 1, paired=True, method="percentile", rng=1
    ).confidence_interval
    found = contest(CONTRACT, OBSERVED, CHAMPION, WORSE, RESPONSE)
    # two bootstraps of 5,000 and 9,999 resamples differ by some hundredths of the interval's width
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.05 * width)
    assert found.high == pytest.approx(expected.high, abs=0.05 * width)


def test_a_challenger_that_is_worse_by_the_margin_rarely_passes() -> None:
    """At the edge, where the truth is worse by just the margin, one of forty passes at a level of 95 %."""
    rng, passed, rules = np.random.default_rng(2), 0, ContestRules(margin=0.2, resamples=300)
    for _ in range(300):
        noise = rng.standard_normal(80)
        a, b = noise + 0.3 * rng.standard_normal(80), noise + 0.81 * rng.standard_normal(80)
        # errors N(0, 1.09) and N(0, 1.656): the ratio of mean absolute errors is sqrt(1.656 / 1.09) = 1.233
        found = contest(CONTRACT, TRUTH, Contender("a", TRUTH + a), Contender("b", TRUTH + b), RESPONSE, rules)
        passed += held(found)["MAE not worse by more than 20 %"]
    assert passed <= 16  # 2.5 % of 300 is 7.5; 17 come with a chance of 1 in 500


def test_more_spend_must_not_bring_less() -> None:
    turned = responses(CONTRACT, ROWS, lambda f: line(f, tv=-0.01))
    found = contest(CONTRACT, OBSERVED, CHAMPION, BETTER, turned)
    assert not found.promotes
    assert held(found)["TV does not bring less when more is spent"] is False
    assert held(found)["Radio does not bring less when more is spent"] is True
    assert contest(CONTRACT, OBSERVED, CHAMPION, BETTER, turned, ContestRules(falling=("TV",))).promotes


def test_a_hump_is_found_where_it_falls() -> None:
    humped = responses(CONTRACT, ROWS, lambda f: 10 - ((f["TV"] - 150) / 50) ** 2)
    rule = next(r for r in contest(CONTRACT, OBSERVED, CHAMPION, BETTER, humped).rules if r.rule.startswith("TV"))
    assert not rule.passed
    assert "TV brings less between" in rule.sentence


def test_a_level_response_and_rounding_pass() -> None:
    flat = responses(CONTRACT, ROWS, lambda f: 10 + 1e-15 * np.sin(f["TV"]))
    assert held(contest(CONTRACT, OBSERVED, CHAMPION, BETTER, flat))["TV does not bring less when more is spent"]


def test_a_channel_that_was_not_asked_does_not_pass() -> None:
    found = contest(CONTRACT, OBSERVED, CHAMPION, BETTER, {"TV": RESPONSE["TV"]})
    assert held(found)["Radio does not bring less when more is spent"] is False


def test_responses_span_the_range_seen_with_the_rest_at_the_median() -> None:
    spend, sales = RESPONSE["TV"]
    assert (spend[0], spend[-1]) == (ROWS["TV"].min(), ROWS["TV"].max())
    assert sales == pytest.approx(7 + 0.05 * spend + 0.1 * ROWS["Radio"].median())
    assert set(RESPONSE) == {"TV", "Radio"}  # price is no spend, and may turn either way


def test_intervals_that_hold_too_few_rows_do_not_pass() -> None:
    narrow = replace(BETTER, predicted=TRUTH, spread=replace(SPREAD, scores=tuple(0.4 * s for s in SPREAD.scores)))
    found = contest(CONTRACT, OBSERVED, CHAMPION, narrow, RESPONSE, ContestRules(margin=1.0))
    rule = next(r for r in found.rules if r.rule == "90 % intervals hold 90 %")
    low, high = narrow.spread.interval(TRUTH, 0.9)  # type: ignore[union-attr]
    inside = int(np.sum((low <= OBSERVED) & (high >= OBSERVED)))
    assert stats.binomtest(inside, 80, 0.9, alternative="less").pvalue < 0.001
    assert not rule.passed
    assert rule.found.startswith(f"{inside} of 80")


def test_without_intervals_none_is_promised() -> None:
    found = contest(CONTRACT, OBSERVED, CHAMPION, replace(BETTER, spread=None), RESPONSE)
    assert found.promotes


def test_a_dry_run_says_what_it_would_have_done() -> None:
    rules = ContestRules(mode="dry-run")
    assert "it would have: 6 rules passed." in contest(CONTRACT, OBSERVED, CHAMPION, BETTER, RESPONSE, rules).sentence
    assert "it would not have: MAE not worse" in contest(CONTRACT, OBSERVED, CHAMPION, WORSE, RESPONSE, rules).sentence


def test_the_same_rows_give_the_same_record() -> None:
    once = contest(CONTRACT, OBSERVED, CHAMPION, BETTER, RESPONSE)
    assert once == contest(CONTRACT, OBSERVED, CHAMPION, BETTER, RESPONSE)


def test_other_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"sales version 2 has predictions of shape \(79,\) for 80 held-out rows"):
        contest(CONTRACT, OBSERVED, CHAMPION, challenger(TRUTH[1:]), RESPONSE)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mode": "enforced"}, "mode='enforced' is unknown. Did you mean 'enforce'?"),
        ({"require": "good"}, "require='good' is unknown."),
        ({"metric": "r2"}, "metric='r2' is unknown."),
        ({"margin": -0.1}, "margin=-0.1 is out of range; give a share from 0 to 1."),
        ({"margin": math.nan}, "margin=nan"),
        ({"level": 1}, "level=1 is out of range"),
        ({"resamples": 10}, "resamples=10"),
        ({"seed": True}, "seed=True"),
        ({"margn": 0.1}, "Contest rule 'margn' is unknown. Did you mean 'margin'?"),
    ],
)
def test_rules_that_cannot_hold_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        ContestRules.build(given)
    assert said in str(refused.value)


def test_a_channel_in_the_rules_must_be_one() -> None:
    with pytest.raises(ConfigError, match=r"falling: 'Radoi' is no channel\. Did you mean 'Radio'\?"):
        contest(CONTRACT, OBSERVED, CHAMPION, BETTER, RESPONSE, ContestRules(falling=("Radoi",)))


def test_a_challenger_that_is_off_by_less_than_the_champion_is_let_pass() -> None:
    off = Contender("sales version 1", TRUTH - 1.0, SPREAD)
    nearer = challenger(TRUTH - 0.6)  # more than chance and more than a tenth, and nearer than the champion
    assert held(contest(CONTRACT, OBSERVED, off, nearer, RESPONSE))["no bias"]
    assert not held(contest(CONTRACT, OBSERVED, CHAMPION, nearer, RESPONSE))["no bias"]


def test_many_rows_are_drawn_in_blocks() -> None:
    rows = 300_000
    observed = np.tile(OBSERVED, rows // 80)
    sides = [Contender(c.name, np.tile(c.predicted, rows // 80), SPREAD) for c in (CHAMPION, BETTER)]
    few = contest(CONTRACT, OBSERVED, CHAMPION, BETTER, RESPONSE)
    many = contest(CONTRACT, observed, *sides, RESPONSE, ContestRules(resamples=200))
    assert many.difference == pytest.approx(few.difference, rel=1e-9)
    assert many.low is not None
    assert few.low is not None
    assert few.low < many.low < many.difference  # the same, and surer
