"""Is the plan the best there is, exact, inside its bounds, and honest about what is not known?"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adresponse import words
from adresponse.curves import Response, carry_over_weights
from adresponse.errors import ConfigError, ModelError
from adresponse.planning.horizon import Outlook, Precision
from adresponse.planning.returns import returns
from adresponse.planning.split import Plan, best_plan, score
from adresponse.planning.wishes import Together, Wish, bounds_from, groups_from, limits_of

TV = Response("TV", "log", half=50, slope=1, coefficient=100)
RADIO = Response("Radio", "power", half=20, slope=0.5, coefficient=80)
PRINT = Response("Print", "hill", half=60, slope=2.5, coefficient=300, weights=(1.0, 0.5, 0.25))
WEB = Response("Web", "logistic", half=30, slope=1, coefficient=120, weights=carry_over_weights("delayed", 0.6, 1, 4))
ALL = (TV, RADIO, PRINT, WEB)
LINES = (
    Response("TV", "linear", 1, 1, 0.05),
    Response("Radio", "linear", 1, 1, 0.19),
    Response("Paper", "linear", 1, 1, -0.001),
)
COVARIANCE = np.diag([0.09, 0.0000020, 0.000074, 0.0000344])


def outlook(responses: tuple[Response, ...] = ALL, periods: int = 13, today: float = 30.0, **more: object) -> Outlook:
    names = [r.channel for r in responses]
    parts: dict[str, object] = {
        "base": [500.0] * periods,
        "today": dict.fromkeys(names, today),
        "seen": dict.fromkeys(names, (0.0, 150.0)),
    }
    return Outlook(responses, **(parts | more))  # type: ignore[arg-type]


def lines(**more: object) -> Outlook:
    parts = {"base": [3.0], "today": {"TV": 147.0, "Radio": 23.0, "Paper": 30.0}}
    parts["seen"] = {"TV": (0.7, 296.4), "Radio": (0.0, 49.6), "Paper": (0.3, 114.0)}
    return Outlook(LINES, precision=Precision(COVARIANCE, 196), **(parts | more))  # type: ignore[arg-type]


def drawn(responses: tuple[Response, ...], n: int = 200) -> list[list[Response]]:
    rng = np.random.default_rng(4)
    return [[replace(r, coefficient=r.coefficient * (1 + 0.1 * rng.standard_normal())) for r in responses] for _ in range(n)]


def sold(o: Outlook, plan: Plan) -> float:
    """Sales by the curves' own code, period by period."""
    return float(np.sum(o.base)) + sum(
        float(np.sum(r.sales([plan.spend[r.channel] / o.periods] * o.periods, o.before.get(r.channel, ()))))
        for r in o.responses
    )


def brought_by(response: Response, series: list[float], before: tuple[float, ...], tail: bool) -> float:
    """What a channel brings in its periods, and after them over what earlier spend alone brings then."""
    later = [0.0] * (len(response.weights) - 1 if tail else 0)
    idle = response.sales([0.0] * len(series) + later, before)[len(series) :]
    return float(response.sales([*series, *later], before).sum() - idle.sum())


# what is best


def test_two_log_curves_get_what_the_formula_says() -> None:
    """One period, ``a log(1 + x / h)``: ``h + x`` is shared out as the coefficients are; (100 + 50 + 20) * 100 / 130 - 50."""
    o = outlook((TV, Response("Web", "log", 20, 1, 30)), periods=1)
    plan = best_plan(o, Wish(total=100))
    assert plan.spend["TV"] == pytest.approx(170 * 100 / 130 - 50, abs=1e-6)  # amounts have nine digits
    assert plan.total == 100
    assert plan.sales == pytest.approx(
        500 + 100 * math.log(1 + plan.spend["TV"] / 50) + 30 * math.log(1 + plan.spend["Web"] / 20)
    )


def test_the_highest_profit_is_where_the_last_unit_earns_what_it_costs() -> None:
    """``0.9 * 100 / (50 + x) = 1`` at ``x = 40``."""
    plan = best_plan(outlook((TV,), periods=1), Wish(margin=0.9))
    assert plan.spend == {"TV": pytest.approx(40, abs=1e-7)}
    assert plan.profit == pytest.approx(0.9 * (500 + 100 * math.log(1.8)) - 40)
    assert plan.channels[0].marginal == pytest.approx(1 / 0.9)


def test_a_cap_stops_the_highest_profit() -> None:
    plan = best_plan(outlook((TV,), periods=1), Wish(margin=0.9, cap=25))
    assert plan.total == 25
    assert [b.rule for b in plan.binding] == ["cap"]


def test_a_cap_alone_asks_for_the_most_sales() -> None:
    o = lines()
    assert best_plan(o, Wish(cap=400)).spend == {"TV": 296.4, "Radio": 49.6, "Paper": 0.3}  # more on Paper would cost sales
    assert best_plan(o, Wish(cap=200)).spend == best_plan(o, Wish(total=200)).spend
    whole = best_plan(o, Wish(total=400))
    assert whole.total == 400
    assert any("The last unit costs sales" in n for n in whole.notes)


def test_a_marginal_return_is_reached_exactly() -> None:
    """``100 / (50 + x) = 1.25`` at 30, and ``40 / (20 sqrt(x / 20)) = 1.25`` at 51.2."""
    plan = best_plan(outlook((TV, RADIO), periods=1), Wish(target_marginal_roi=1.25))
    assert plan.spend == {"TV": pytest.approx(30, abs=1e-6), "Radio": pytest.approx(51.2, abs=1e-6)}


def test_the_least_budget_for_a_target_is_the_inverse_of_the_best_for_a_total() -> None:
    o = outlook()
    most = best_plan(o, Wish(total=1500))
    back = best_plan(o, Wish(target_sales=most.sales))
    assert back.total == pytest.approx(1500, rel=1e-8)
    assert back.spend == pytest.approx(most.spend, rel=1e-6)
    assert back.sales >= most.sales * (1 - 1e-12)


def test_a_target_that_the_base_reaches_costs_nothing() -> None:
    assert best_plan(outlook(), Wish(target_sales=10)).total == 0


def test_the_target_roi_is_had_with_the_highest_total() -> None:
    """One log curve: ``100 log(1 + x / 50) = x`` at x = 125.643 (solved by ``scipy.optimize.brentq`` for this test)."""
    plan = best_plan(outlook((TV,), periods=1), Wish(target_roi=1.0))
    assert plan.roi == pytest.approx(1)
    assert plan.total == pytest.approx(125.64312, abs=1e-4)


def test_the_total_of_a_target_roi_spent_otherwise_brings_no_more() -> None:
    o = outlook()
    plan = best_plan(o, Wish(target_roi=3.5))
    assert plan.roi == pytest.approx(3.5)
    assert best_plan(o, Wish(total=plan.total)).sales == pytest.approx(plan.sales)
    assert best_plan(o, Wish(total=plan.total + 20)).roi < 3.5


@pytest.mark.parametrize("total", [60.0, 240.0, 420.0])
@pytest.mark.parametrize("tail", [False, True])
def test_no_split_tried_period_by_period_brings_more(total: float, tail: bool) -> None:
    """An S curve with carry-over and history beside a concave one, over four periods, by the curves' own code."""
    s_curve = Response("S", "hill", 40, 3, 150, weights=(0.5, 1.0, 0.4))
    o = outlook((s_curve, WEB), periods=4, before={"S": (30.0, 60.0), "Web": (20.0, 5.0, 40.0)})

    def brings(response: Response, amount: float) -> float:
        return brought_by(response, [amount / 4] * 4, o.before[response.channel], tail)

    plan = best_plan(o, Wish(total=total, tail=tail))
    assert plan.sales == pytest.approx(2000 + brings(s_curve, plan.spend["S"]) + brings(WEB, plan.spend["Web"]))
    tried = max(brings(s_curve, x) + brings(WEB, total - x) for x in np.linspace(0, total, 1201))
    assert plan.sales >= 2000 + tried - 1e-7
    assert plan.sales <= 2000 + tried + 0.01  # the grid is 0.35 wide at the most, and an optimum is flat


def test_without_a_wish_todays_total_is_split_anew() -> None:
    plan = best_plan(outlook(), Wish())
    assert plan.total == 13 * 4 * 30
    assert plan.gain > 0


# what holds exactly


TOTALS = st.floats(1, 7000).map(lambda x: float(f"{x:.4g}"))


def within_reach(o: Outlook, wish: Wish) -> bool:
    least = wish.bounds["Web"][0]
    most = 2 * 1950 + (wish.groups[0].high if wish.groups else 2 * 1950)
    return least <= wish.total <= most


@settings(max_examples=150, deadline=None)
@given(TOTALS, st.floats(0, 0.9), st.floats(0, 0.9), st.booleans())
@example(437.2, 0.5390625, 0.0, True)  # one amount is free, and its last bit is too coarse
def test_sums_and_bounds_hold_to_the_last_bit(total: float, low: float, cap: float, grouped: bool) -> None:
    group = (Together(("TV", "Radio"), 0, round(cap * total, 3)),) if grouped else ()
    wish = Wish(total=total, bounds={"Web": (min(round(low * total / 2, 2), 1950), 1950)}, groups=group)
    o = outlook()
    if not within_reach(o, wish):
        with pytest.raises(ConfigError, match="allow"):
            best_plan(o, wish)
        return
    plan = best_plan(o, wish)
    assert plan.total == math.fsum(plan.spend.values())
    full = {c for g in wish.groups if math.fsum(plan.spend[c] for c in g.channels) == g.high for c in g.channels}
    inside = [c for c in plan.channels if c.low < plan.spend[c.channel] < c.high and c.channel not in full]
    assert abs(plan.total - total) <= (math.ulp(total) if len(inside) < 2 else 0)  # one alone may have too coarse a last bit
    assert all(c.low <= plan.spend[c.channel] <= c.high for c in plan.channels)
    for g in wish.groups:
        assert math.fsum(plan.spend[c] for c in g.channels) <= g.high


@pytest.mark.parametrize("kind", [int, np.int64, np.float64])
def test_a_total_may_be_a_sum_of_numpys(kind: type) -> None:
    group = Together(("TV", "Radio"), kind(0), kind(120))
    plan = best_plan(outlook(), Wish(total=kind(900), groups=(group,)))
    assert plan == best_plan(outlook(), Wish(total=900.0, groups=(Together(("TV", "Radio"), 0.0, 120.0),)))


@settings(max_examples=100, deadline=None)
@given(st.integers(3000, 4200), st.integers(3001, 9000))
@example(4007, 5994)
def test_an_amount_at_its_bound_stays_there_to_the_last_bit(cap: int, more: int) -> None:
    curves = (
        Response("tv", "log", half=50, slope=1, coefficient=900),
        Response("search", "log", half=50, slope=1, coefficient=400),
        Response("print", "log", half=500, slope=1, coefficient=0.1),
    )
    names = [c.channel for c in curves]
    o = Outlook(curves, base=[500.0], today=dict.fromkeys(names, 30.0), seen=dict.fromkeys(names, (0.0, 2000.0)))
    total = (cap + more) / 10
    plan = best_plan(o, Wish(total=total, bounds={"tv": (0, cap / 10)}))
    assert (plan.spend["tv"], plan.spend["print"]) == (cap / 10, 0)
    assert abs(math.fsum(plan.spend.values()) - total) <= math.ulp(total)  # search alone moves, in its own last bits
    assert {("tv", "high"), ("print", "low")} <= {(b.name, b.end) for b in plan.binding}


@settings(max_examples=25, deadline=None)
@given(st.floats(10, 3500), st.floats(1, 3000))
def test_more_money_brings_more(total: float, more: float) -> None:
    o = outlook()
    assert best_plan(o, Wish(total=total + more)).sales > best_plan(o, Wish(total=total)).sales


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 150), min_size=4, max_size=4))
def test_no_plan_is_worse_than_todays(today: list[float]) -> None:
    o = outlook(today=0.0)
    o = replace(o, today=dict(zip(o.channels, today, strict=True)))
    plan = best_plan(o, Wish())
    assert plan.gain >= 0
    assert plan.total == pytest.approx(13 * sum(today))


def test_todays_split_stays_where_it_is_the_best() -> None:
    o = outlook((TV, RADIO), periods=4)
    best = best_plan(o, Wish(total=300))
    again = best_plan(replace(o, today={c: x / 4 for c, x in best.spend.items()}), Wish())
    assert again.gain == pytest.approx(0, abs=1e-9)
    assert again.gain >= 0


def test_sales_are_those_of_the_curves_period_by_period() -> None:
    before = {"Print": (100.0, 80.0, 60.0), "Web": (10.0,)}
    o = outlook(before=before)
    plan = best_plan(o, Wish(total=1000))
    assert plan.sales == pytest.approx(sold(o, plan), rel=1e-12)


def test_marginal_returns_are_equal_where_nothing_binds() -> None:
    plan = best_plan(outlook(before={"Print": (100.0, 80.0)}), Wish(total=2000))
    assert not plan.binding
    assert [c.marginal for c in plan.channels] == pytest.approx([plan.channels[0].marginal] * 4, rel=1e-6)


def test_marginal_return_is_what_one_more_unit_brings() -> None:
    o = outlook(before={"Print": (100.0, 80.0)})
    spend = {"TV": 300.0, "Radio": 200.0, "Print": 500.0, "Web": 100.0}
    plan = score(o, spend)
    for c in plan.channels:
        step = 1e-3
        up, down = (score(o, spend | {c.channel: spend[c.channel] + s}).sales for s in (step, -step))
        assert c.marginal == pytest.approx((up - down) / (2 * step), rel=1e-6)


# what binds, and what lies outside the range


def test_a_plan_stays_inside_the_range_seen_and_says_so() -> None:
    o = outlook((TV, RADIO), periods=2)
    plan = best_plan(o, Wish(total=580))
    assert plan.spend == {"TV": pytest.approx(280), "Radio": 300}
    assert [(b.name, b.end, b.at, b.rule) for b in plan.binding] == [("Radio", "high", 300, "range seen")]
    assert plan.extrapolates == ()


def test_beyond_the_range_it_says_how_far() -> None:
    o = outlook((TV, RADIO), periods=2)
    plan = best_plan(o, Wish(total=900, beyond=True))
    [far] = [e for e in plan.extrapolates if e.channel == "Radio"]
    assert far.spend == pytest.approx(plan.spend["Radio"] / 2)
    assert far.share == pytest.approx((far.spend - 150) / 150)
    assert "above the range seen, 0 to 150" in far.sentence


def test_a_bound_wider_than_the_range_is_cut_to_it() -> None:
    plan = best_plan(outlook((TV, RADIO), periods=2), Wish(total=580, bounds={"Radio": (10, 5000)}))
    assert plan.spend["Radio"] == 300


def test_a_lock_keeps_todays_spend() -> None:
    plan = best_plan(outlook(today=33.3), Wish(total=2000, locks=("Print",)))
    assert plan.spend["Print"] == 33.3 * 13
    assert plan.binding[0].rule == "lock"


def test_a_group_binds_as_one() -> None:
    plan = best_plan(outlook(), Wish(total=2000, groups=(Together(("TV", "Radio"), 0, 321.7),)))
    assert math.fsum([plan.spend["TV"], plan.spend["Radio"]]) == 321.7
    assert plan.binding[-1].name == "TV and Radio"
    tv, radio, paper, web = (c.marginal for c in plan.channels)
    assert tv == pytest.approx(radio, rel=1e-6)
    assert paper == pytest.approx(web, rel=1e-6)
    assert tv > paper


@pytest.mark.parametrize(
    ("wish", "tops", "rules"),
    [
        # 900 less what the other keeps at the least: TV its bound, Radio today's
        ({"groups": (Together(("TV", "Radio"), 0, 900),), "bounds": {"TV": (50, math.inf)}}, (900, 850), ("group", "group")),
        ({"groups": (Together(("TV", "Radio"), 0, 900),), "locks": ("Radio",)}, (840, 60), ("group", "lock")),
        ({"groups": (Together(("TV", "Radio"), 0, 900), Together(("TV",), 0, 700))}, (700, 900), ("group", "group")),
        ({"groups": (Together(("TV", "Radio"), 0, 900),), "bounds": {"TV": (0, 5000)}}, (5000, 900), ("bound", "group")),
    ],
)
def test_beyond_the_range_a_group_gives_its_channels_a_highest_amount(
    wish: dict[str, object], tops: tuple[float, ...], rules: tuple[str, ...]
) -> None:
    """What is left of the group when its others get their least; the best split is that of a cap instead, and of a grid."""
    o = outlook((TV, RADIO), periods=2)
    limits = limits_of(o, Wish(beyond=True, margin=3.0, **wish))  # type: ignore[arg-type]
    assert tuple(limits.problem.high) == tops
    assert tuple(limits.rules[c][1] for c in o.channels) == rules
    plan = best_plan(o, Wish(beyond=True, margin=3.0, **wish))  # type: ignore[arg-type]
    capped = best_plan(o, Wish(beyond=True, margin=3.0, cap=900, **wish))  # type: ignore[arg-type]
    assert plan.profit == pytest.approx(capped.profit, rel=1e-9)
    low, high = limits.problem.low, limits.problem.high
    tv, radio = np.meshgrid(*(np.linspace(a, b, 801) for a, b in zip(low, high, strict=True)))
    profit = 3 * (1000 + 200 * np.log1p(tv / 100) + 160 * np.sqrt(radio / 40)) - tv - radio
    inside = (tv + radio <= 900) & (tv <= limits.problem.groups[-1].high)
    assert plan.profit == pytest.approx(profit[inside].max(), rel=1e-4)  # the grid is one wide, and an optimum is flat
    assert plan.profit >= profit[inside].max() - 1e-9


def test_a_target_beyond_the_range_may_be_bounded_by_a_group() -> None:
    o = outlook((TV, RADIO), periods=2)
    plan = best_plan(o, Wish(beyond=True, target_sales=1800, groups=(Together(("TV", "Radio"), 0, 900),)))
    assert plan.sales == pytest.approx(1800)
    assert plan.total == pytest.approx(best_plan(o, Wish(beyond=True, target_sales=1800, cap=900)).total, rel=1e-8)


# straight lines


def test_a_straight_line_has_no_optimum_and_the_plan_says_so() -> None:
    plan = best_plan(lines(), Wish(total=200))
    assert plan.spend == {"TV": 150.1, "Radio": 49.6, "Paper": 0.3}  # Radio brings most, Paper costs sales
    assert "With straight lines every unit goes to the channel that brings most, until its bound binds" in plan.notes[0]
    assert plan.notes[1].startswith("One more unit on TV brings 0.05 (90 % interval 0.04766 to 0.05234)")
    assert "No clear return can be shown for Paper" in " ".join(plan.notes)


def test_the_interval_of_straight_lines_is_that_of_least_squares() -> None:
    """The difference to today is ``d' b``, its variance ``d' V d``; t with 196 degrees has 1.65266 at 95 %."""
    plan = best_plan(lines(), Wish(total=200))
    d = np.array([150.1 - 147, 49.6 - 23, 0.3 - 30])
    gain, error = d @ [0.05, 0.19, -0.001], math.sqrt(d @ COVARIANCE[1:, 1:] @ d)
    assert plan.gain == pytest.approx(gain)
    assert (plan.gain_low, plan.gain_high) == pytest.approx((gain - 1.652665 * error, gain + 1.652665 * error), rel=1e-6)


# intervals


def test_the_interval_of_the_gain_takes_differences_within_each_draw() -> None:
    """What differs between the draws by the base alone leaves the gain as it is."""
    rng = np.random.default_rng(0)
    o = outlook(draws=[list(ALL)] * 100, draw_bases=500 + 50 * rng.standard_normal((100, 13)))
    plan = best_plan(o, Wish(total=2000))
    assert plan.gain_low == pytest.approx(plan.gain) == plan.gain_high
    assert plan.high - plan.low == pytest.approx(2 * 1.645 * 50 * math.sqrt(13), rel=0.2)  # of 100 draws


def test_draws_of_one_coefficient_give_its_quantiles() -> None:
    draws = [[replace(TV, coefficient=float(a))] for a in range(101)]
    o = outlook((replace(TV, coefficient=50.0),), periods=1, today=0.0, draws=draws)
    plan = best_plan(o, Wish(total=50, level=0.8))
    unit = math.log(2)
    assert (plan.gain_low, plan.gain_high) == pytest.approx((10 * unit, 90 * unit))
    assert plan.channels[0].roi_low == pytest.approx(10 * unit / 50)
    assert plan.channels[0].marginal_high == pytest.approx(90 / 100)


def test_an_interval_holds_its_figure_where_all_draws_lie_to_one_side() -> None:
    """A sign holds the fit's coefficient at 0, while draws have 1 to 101: no clear return, so the note says so."""
    draws = [[replace(TV, coefficient=float(a))] for a in range(1, 102)]
    o = outlook((replace(TV, coefficient=0.0),), periods=1, today=0.0, draws=draws)
    plan = best_plan(o, Wish(total=50, level=0.8, margin=1.0))
    [tv], unit = plan.channels, math.log(2)
    assert (plan.gain, plan.gain_low, plan.gain_high) == pytest.approx((0, 0, 91 * unit))
    assert (tv.roi, tv.roi_low, tv.roi_high) == pytest.approx((0, 0, 91 * unit / 50))
    assert (tv.marginal, tv.marginal_low, tv.marginal_high) == pytest.approx((0, 0, 91 / 100))
    assert (plan.profit, plan.profit_low, plan.profit_high) == pytest.approx((450, 450, 450 + 91 * unit))
    assert any("No clear return can be shown for TV" in n for n in plan.notes)


def test_draws_may_have_curves_of_their_own() -> None:
    """One draw in ten is a line, the others logs; each brings what its own curve says."""
    draws = [[replace(TV, coefficient=float(a))] for a in range(1, 10)] + [[Response("TV", "linear", 1, 1, 2.0)]]
    o = outlook((TV,), periods=2, today=0.0, draws=draws, before={"TV": (5.0,)})
    plan = best_plan(o, Wish(total=100, level=0.999999))
    assert plan.gain_high == pytest.approx(2.0 * 100, rel=1e-4)
    assert plan.gain_low == pytest.approx(2 * math.log(2), rel=1e-4)
    assert score(o, {"TV": [50.0, 50.0]}, Wish(level=0.999999)).gain_high == pytest.approx(plan.gain_high)
    assert returns(o, "TV", margin=1.0).saturation.spend == pytest.approx(900)


def test_without_draws_there_is_no_interval() -> None:
    plan = best_plan(outlook(), Wish())
    assert plan.low is plan.gain_high is plan.channels[0].roi_low is None
    assert "interval" not in plan.sentence


def test_intervals_of_curves_with_known_shapes_are_those_of_statsmodels() -> None:
    """Least squares on ``log(1 + x / 50)`` and ``sqrt(x / 20)``: the expectation at a plan has the interval of the mean."""
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 100, (80, 2))
    features = np.column_stack([np.ones(80), np.log1p(x[:, 0] / 50), np.sqrt(x[:, 1] / 20)])
    fit = sm.OLS(features @ [50, 20, 9] + rng.normal(0, 5, 80), features).fit()
    tv, radio = (replace(r, coefficient=float(c)) for r, c in zip((TV, RADIO), fit.params[1:], strict=True))
    o = outlook((tv, radio), periods=1, base=[fit.params[0]], precision=Precision(fit.cov_params(), fit.df_resid))
    plan = best_plan(o, Wish(total=120, level=0.95))
    at = [[1, math.log1p(plan.spend["TV"] / 50), math.sqrt(plan.spend["Radio"] / 20)]]
    assert (plan.low, plan.high) == pytest.approx(tuple(fit.get_prediction(at).conf_int(alpha=0.05)[0]), rel=1e-9)


def test_a_search_that_is_given_up_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adresponse.planning.optimum.MOST_NODES", 5)
    like = [Response(f"c{i}", "hill", half=40, slope=4, coefficient=100) for i in range(12)]
    plan = best_plan(outlook(tuple(like), periods=1), Wish(total=400))
    assert plan.notes[0].startswith("The curves are too many and too much alike for every split to be ruled out")


# what is scored


def test_my_own_plan_is_scored_by_the_same_rules() -> None:
    o = outlook(draws=drawn(ALL))
    best = best_plan(o, Wish(total=1800))
    mine = score(o, best.spend, Wish(total=1800))
    assert (mine.sales, mine.low, mine.gain, mine.gain_high) == (best.sales, best.low, best.gain, best.gain_high)
    assert mine.goal == "score"
    assert mine.binding == ()


def test_a_plan_may_change_from_period_to_period() -> None:
    o = outlook((PRINT, TV), periods=3, before={"Print": (40.0,)})
    series = {"Print": [100.0, 0.0, 20.0], "TV": [10.0, 20.0, 300.0]}
    plan = score(o, series)
    assert plan.spend == {"Print": 120, "TV": 330}
    assert plan.sales == pytest.approx(1500 + PRINT.sales(series["Print"], (40.0,)).sum() + TV.sales(series["TV"]).sum())
    assert [e.spend for e in plan.extrapolates] == [300]


def test_the_marginal_return_of_a_changing_plan_is_that_of_money_added_evenly() -> None:
    o = outlook((PRINT, TV), periods=3, before={"Print": (40.0,)})
    series = {"Print": [100.0, 0.0, 20.0], "TV": [10.0, 20.0, 30.0]}
    up, down = (
        score(o, series | {"Print": [x + step / 3 for x in series["Print"]]}, Wish(tail=True)).sales for step in (1e-3, 0)
    )
    assert score(o, series, Wish(tail=True)).channels[0].marginal == pytest.approx((up - down) / 1e-3, rel=1e-4)


def test_a_single_row_is_the_whole_horizon() -> None:
    o = outlook()
    assert score(o, {c: [130.0] for c in o.channels}).sales == score(o, dict.fromkeys(o.channels, 130.0)).sales


def test_even_spend_is_the_same_given_whole_or_by_period() -> None:
    o = outlook(before={"Print": (40.0,)})
    whole = score(o, dict.fromkeys(o.channels, 130.0), Wish(tail=True))
    each = score(o, dict.fromkeys(o.channels, [10.0] * 13), Wish(tail=True))
    assert each.sales == pytest.approx(whole.sales, rel=1e-12)


def test_sales_after_the_horizon_count_where_asked() -> None:
    """100 once at weights 1, 0.5, 0.25 of a straight line brings 1 within its period and 0.75 after."""
    line = Response("TV", "linear", 1, 1, 1.0, (1.0, 0.5, 0.25))
    o = outlook((line,), periods=1, before={"TV": (8.0,)})
    within, whole = score(o, {"TV": 100}), score(o, {"TV": 100}, Wish(tail=True))
    assert within.sales == 500 + 100 + 4
    assert whole.sales == pytest.approx(500 + 104 + 75)  # the 2 that the 8 of before still bring are not the plan's
    assert within.after == whole.after == pytest.approx(75)
    assert within.channels[0].roi == pytest.approx(1.0)
    assert whole.channels[0].roi == pytest.approx(1.75)
    assert any("After the horizon this spend still brings 75" in n for n in within.notes)


CARRIED = {"Print": (100.0, 80.0), "Web": (20.0, 5.0, 40.0)}


@pytest.mark.parametrize("spend", [0.0, 130.0, [10.0, 90.0]])
def test_what_earlier_spend_brings_after_the_horizon_is_not_the_plans(spend: float | list[float]) -> None:
    """A plan of no spend sells nothing after the horizon, in the fit and in each draw."""
    draws = [[replace(r, half=r.half * k, coefficient=r.coefficient * k) for r in ALL] for k in (0.8, 1.0, 1.3)]
    o = outlook(periods=2, before=CARRIED, draws=draws)  # fewer than Web's carry-over, so that its history passes them
    given = {c: spend if c in CARRIED else 0.0 for c in o.channels}
    within, whole = score(o, given, Wish(level=0.999999)), score(o, given, Wish(tail=True, level=0.999999))
    series = spend if isinstance(spend, list) else [spend / 2] * 2
    sales = [
        1000 + sum(brought_by(r, series, CARRIED[r.channel], True) for r in row if r.channel in CARRIED)
        for row in [ALL, *draws]
    ]
    assert whole.sales == pytest.approx(sales[0], rel=1e-12)
    assert (whole.low, whole.high) == pytest.approx((min(sales), max(sales)), rel=1e-5)
    assert whole.after == within.after == pytest.approx(whole.sales - within.sales, abs=1e-9)
    assert (whole.after == 0) == (spend == 0)


def test_a_target_cannot_be_met_by_what_earlier_spend_brings_after_the_horizon() -> None:
    """1 a unit, and 0.75 after: 8 of before bring 4 within and 2 after, so 510 needs 6 more at 1.75 each."""
    line = Response("TV", "linear", 1, 1, 1.0, (1.0, 0.5, 0.25))
    o = outlook((line,), periods=1, before={"TV": (8.0,)})
    plan = best_plan(o, Wish(target_sales=510, tail=True, margin=2.0))
    assert plan.total == pytest.approx(6 / 1.75)
    assert plan.profit == pytest.approx(2 * 510 - 6 / 1.75)
    assert plan.today_sales == pytest.approx(504 + 30 * 1.75)


# refusals


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"total": 9000}, "total=9000 lies outside what the bounds allow, 0 to 7800 (the range seen is a bound, unless"),
        ({"total": -1}, "total=-1 must be a finite number of at least 0."),
        ({"total": math.nan}, "total=nan must be"),
        ({"margin": 0}, "margin=0 must be a finite number above 0."),
        ({"target_roi": math.inf}, "target_roi=inf must be"),
        ({"level": 90}, "level=90 is no share between 0 and 1"),
        ({"total": 9, "target_sales": 9}, "total and target_sales cannot be asked for at once"),
        ({"total": 9, "cap": 9}, "total and cap cannot be asked for at once"),
        ({"target_sales": 1e6}, "target_sales=1000000 cannot be reached within these bounds: the most is"),
        ({"target_sales": 9000, "cap": 20}, "cannot be reached within a total of 20: the most is"),
        (
            {"bounds": {"Tv": (0, 1)}},
            "bounds names 'Tv', which is no channel of the model. Did you mean 'TV'? Channels: TV, Radio",
        ),
        ({"locks": ("Printt",)}, "Did you mean 'Print'?"),
        ({"groups": (Together(("TV", "Wob"), 0, 1),)}, "Did you mean 'Web'?"),
        ({"groups": (Together(("TV", "TV"), 0, 1),)}, "must name each once"),
        ({"bounds": {"TV": (5, 1)}}, "The bounds of TV, 5 to 1, must begin with the lower one"),
        ({"bounds": {"TV": (-5, 1)}}, "must be numbers of at least 0"),
        ({"bounds": {"TV": (math.nan, 1)}}, "must be numbers of at least 0"),
        ({"bounds": {"TV": (2000, 3000)}}, "The bounds of TV, 2000 to 3000, lie outside the range seen, 0 to 1950"),
        ({"bounds": {"TV": (0, 100)}, "locks": ("TV",)}, "TV is locked at today's 390, outside its bounds, 0 to 100"),
        ({"total": 10, "bounds": {"TV": (20, 30)}}, "total=10 lies outside what the bounds allow, 20 to"),
        ({"margin": 1, "cap": 10, "bounds": {"TV": (20, 30)}}, "cap=10 is below the 20 that the bounds ask for"),
        (
            {"groups": (Together(("TV", "Radio"), 4000, 5000),)},
            "TV and Radio together must get 4000 to 5000, but their own bounds",
        ),
        ({"groups": (Together(("TV", "Radio"), 0, 9), Together(("TV", "Web"), 0, 9))}, "Two groups share a channel"),
        (
            {"margin": 1, "beyond": True},
            "(beyond) leaves TV without a highest amount; give one in bounds or in groups, or give a cap.",
        ),
        (
            {"margin": 1, "beyond": True, "groups": (Together(("TV", "Radio", "Print"), 0, 900),)},
            "(beyond) leaves Web without a highest amount",
        ),
        (
            {"margin": 1, "beyond": True, "groups": (Together(("TV", "Radio", "Print", "Web"), 50),)},
            "(beyond) leaves TV without a highest amount",
        ),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused_with_the_reason(wish: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        best_plan(outlook(), Wish(**wish))  # type: ignore[arg-type]
    assert said in str(refusal.value)


def test_the_limits_that_a_refusal_names_can_be_asked_for() -> None:
    """Rounded away from the inside, they were refused in turn; in millions they were written with an exponent."""
    with pytest.raises(ConfigError) as refusal:
        best_plan(outlook((TV,), periods=13, seen={"TV": (0.0, 1_000_000 / 7)}), Wish(total=2e7))
    assert "total=20000000 lies outside what the bounds allow, 0 to 1857142 (" in str(refusal.value)
    with pytest.raises(ConfigError) as refusal:
        best_plan(outlook(), Wish(target_sales=1e6))
    most = re.search(r"the most is ([\d.]+),", str(refusal.value))
    assert most is not None
    assert best_plan(outlook(), Wish(target_sales=float(most[1]))).sales == pytest.approx(float(most[1]))


def test_the_highest_roi_is_told_where_more_is_asked_for() -> None:
    """100 log(1 + x / 50) rises by 2 at first; an S of slope 2 has its best ratio at ``half``: 100 / 2 / 40 = 1.25."""
    with pytest.raises(ConfigError, match=r"target_roi=2.5 cannot be reached within these bounds: the highest is 2[^.]|1\.99"):
        best_plan(outlook((TV,), periods=1), Wish(target_roi=2.5))
    s_curve = Response("S", "hill", half=40, slope=2, coefficient=100)
    with pytest.raises(ConfigError, match=r"the highest is 1.25, at a spend of 40;"):
        best_plan(outlook((s_curve,), periods=1), Wish(target_roi=1.3))
    assert best_plan(outlook((s_curve,), periods=1), Wish(target_roi=1.2)).roi == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("spend", "said"),
    [
        ({"TV": 1, "Radio": 2, "Print": 3}, "The plan has no amount for Web"),
        ({"TV": 1, "Radio": 2, "Print": 3, "Wep": 1}, "Did you mean 'Web'?"),
        ({"TV": -1, "Radio": 2, "Print": 3, "Web": 1}, "TV=-1 must be a finite number of at least 0."),
        ({"TV": np.array([1, 2]), "Radio": 2, "Print": 3, "Web": 1}, "The plan gives TV in 2 periods, but the horizon has 13"),
    ],
)
def test_a_plan_that_cannot_be_scored_is_refused(spend: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        score(outlook(), spend)  # type: ignore[arg-type]
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    "more",
    [
        {"today": {"TV": 1.0}},
        {"draws": [[TV, RADIO]]},
        {"precision": Precision(np.eye(2), 10)},
        {"responses": (TV, TV)},
    ],
)
def test_an_outlook_whose_parts_do_not_fit_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(ModelError):
        replace(outlook(), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("tv=50:200", ("tv", (50, 200))),
        ("tv = 50 : 200", ("tv", (50, 200))),
        ("tv=50:", ("tv", (50, math.inf))),
        ("tv=:200", ("tv", (0, 200))),
        ("tv=120", ("tv", (120, 120))),
        ("a=b=1e3:2e3", ("a=b", (1000, 2000))),  # the last sign parts
    ],
)
def test_bounds_are_read_as_they_are_typed(text: str, bounds: tuple[str, tuple[float, float]]) -> None:
    assert bounds_from([text]) == dict([bounds])
    assert groups_from([f"radio+{text}"]) == (Together(("radio", bounds[0]), *bounds[1]),)


@pytest.mark.parametrize("texts", [["tv"], ["=5:6"], ["tv=a:b"], ["tv="], ["tv=5;6"], ["tv=1:2", "tv=3:4"]])
def test_bounds_that_cannot_be_read_are_refused(texts: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read; write channel=low:high|given twice"):
        bounds_from(texts)


# what it looks like


def test_as_json_it_has_what_is_promised() -> None:
    plan = best_plan(outlook(draws=drawn(ALL)), Wish(total=1000.5))
    told = json.loads(json.dumps(words.plain(plan), allow_nan=False))
    keys = {"spend", "total", "sales", "low", "high", "gain", "gain_low", "gain_high", "binding", "extrapolates"}
    assert keys <= set(told)
    assert told["total"] == 1000.5
    assert told["low"] < told["sales"] < told["high"]
    assert asdict(plan)["spend"] == told["spend"]


def test_it_is_said_in_a_sentence() -> None:
    plan = best_plan(lines(sold="thousand units", money="thousand dollars"), Wish(total=200))
    assert plan.sentence == (
        "Spend 200 thousand dollars: TV 150.1, Radio 49.6 and Paper 0.3. Expected sales: 19.93 thousand units (90 % interval "
        "19 to 20.86), 5.239 more than today's split of 200 (90 % interval 4.763 to 5.714)."
    )


def test_with_a_margin_the_sentence_ends_in_the_profit() -> None:
    """20 times the sales, less the spend of 200: ``3 + 0.05 * 150.1 + 0.19 * 49.6 - 0.001 * 0.3`` are 19.93, today's 14.69.

    The standard error of sales is ``sqrt(d' V d) = 0.5631`` for ``d`` of 1 and the amounts; t is 1.652665.
    """
    o = lines(sold="thousand units", money="thousand dollars")
    plan = best_plan(o, Wish(total=200, margin=20.0))
    assert plan.sentence.endswith(
        "(90 % interval 4.763 to 5.714). Profit at a margin of 20: 198.6 thousand dollars (90 % interval 180 to 217.2), "
        "today's split 93.8."
    )
    assert "Profit" not in best_plan(o, Wish(total=200)).sentence
