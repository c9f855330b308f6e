"""Are return, break-even and saturation what the curves' formulas say?"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from adresponse.curves import Response
from adresponse.errors import ConfigError
from adresponse.planning.horizon import Outlook, Precision
from adresponse.planning.returns import curve, returns
from adresponse.planning.split import best_plan
from adresponse.planning.wishes import Wish

LOG = Response("TV", "log", half=50, slope=1, coefficient=100)
HILL = Response("TV", "hill", half=40, slope=1, coefficient=200)
S_CURVE = Response("TV", "hill", half=40, slope=3, coefficient=200)
POWER = Response("TV", "power", half=20, slope=0.5, coefficient=80)
LOGISTIC = Response("TV", "logistic", half=30, slope=1, coefficient=120)
LINE = Response("TV", "linear", half=1, slope=1, coefficient=0.5)


def outlook(response: Response, today: float = 30.0, periods: int = 1, **more: object) -> Outlook:
    return Outlook((response,), [500.0] * periods, {"TV": today}, {"TV": (0.0, 400.0)}, **more)  # type: ignore[arg-type]


def test_return_and_marginal_return_at_todays_spend() -> None:
    found = returns(outlook(LOG), "TV")
    assert found.sales == pytest.approx(100 * math.log(1.6))
    assert found.roi == pytest.approx(100 * math.log(1.6) / 30)
    assert found.marginal == pytest.approx(100 / 80)
    assert found.roi_low is found.pays_until is found.break_even is None


def test_an_s_that_pays_nothing_next_to_no_spend_is_said_to_pay_from_where_it_does() -> None:
    found = returns(outlook(S_CURVE), "TV", 0.5)
    assert found.pays_until is not None
    assert found.break_even is not None
    # 0.5 * 600 * 40^3 x^2 / (40^3 + x^3)^2 = 1 and 100 x^3 / (40^3 + x^3) = x, their lower roots by numpy
    assert found.pays_until.sentence.startswith("One more unit earns what it costs (margin 0.5) on TV from 15.45 on, up to ")
    assert found.break_even.sentence.startswith("The whole spend earns itself back (margin 0.5) on TV from 30.3 on, up to ")
    short = returns(replace(outlook(S_CURVE), seen={"TV": (0.0, 40.0)}), "TV", 0.5).break_even
    assert short is not None
    assert short.spend is None
    assert short.sentence.endswith(" on TV from 30.3 on, up to the highest seen, 40.")


@pytest.mark.parametrize(
    ("response", "margin", "until", "even"),
    [
        (LOG, 1.0, 50.0, 125.64312),  # 100 / (50 + x) = 1; 100 log(1 + x / 50) = x, solved by brentq
        (HILL, 0.8, math.sqrt(6400) - 40, 120.0),  # 0.8 * 200 * 40 = (40 + x)^2; 160 x / (40 + x) = x
        (POWER, 0.5, 20.0, 80.0),  # 0.5 * 80 / (2 sqrt(20 x)) = 1; 40 sqrt(x / 20) = x
        (S_CURVE, 0.5, None, None),  # no formula: what defines the two points holds
    ],
)
def test_break_even_for_a_margin(response: Response, margin: float, until: float | None, even: float | None) -> None:
    found = returns(outlook(response), "TV", margin)
    assert found.pays_until is not None
    assert found.break_even is not None
    x, total = found.pays_until.spend, found.break_even.spend
    assert x is not None
    assert total is not None
    assert margin * response.marginal(x) == pytest.approx(1)
    assert margin * response.steady(total) == pytest.approx(total)
    assert margin * response.marginal(total) < 1
    if until is not None:
        assert x == pytest.approx(until)
        assert total == pytest.approx(even)


@pytest.mark.parametrize(
    ("response", "until", "even"),
    [
        (replace(HILL, half=0.01, coefficient=0.09), 0.02, 0.08),  # a h = (h + x)^2; a x / (h + x) = x
        (replace(HILL, half=0.01, coefficient=0.0225), 0.005, 0.0125),  # both are less than a ten thousandth of the range
        (replace(POWER, coefficient=2 * math.sqrt(20e-6)), 1e-6, 4e-6),  # without limit at none, so it pays for a little
        (replace(LOG, coefficient=50.0), 0.0, 0.0),  # the first unit earns just what it costs, and no other does
        (replace(HILL, half=0.01, coefficient=0.009), 0.0, 0.0),
    ],
)
def test_a_channel_may_stop_paying_next_to_no_spend(response: Response, until: float, even: float) -> None:
    """At a margin of 1, where the range seen ends at 400; draws that are all alike tell the same."""
    o = outlook(response, draws=[[response]] * 20)
    found = returns(o, "TV", margin=1.0)
    for threshold, at in ((found.pays_until, until), (found.break_even, even)):
        assert threshold is not None
        assert threshold.spend == pytest.approx(at, rel=1e-9, abs=1e-20)
        assert (threshold.low, threshold.high) == pytest.approx((at, at), rel=0.1)  # of points a quarter of a decade apart
        assert ("at no spend on TV" in threshold.sentence) == (at == 0)
    assert best_plan(o, Wish(margin=1.0)).spend["TV"] == pytest.approx(until, abs=1e-9)


@pytest.mark.parametrize(
    ("response", "spend"),
    [
        (LOG, 450.0),  # 1 / (half + x) is a tenth of 1 / half at 9 half
        (HILL, 40 * (math.sqrt(10) - 1)),  # (half / (half + x))^2 = 1 / 10
        (replace(HILL, half=0.1), 0.1 * (math.sqrt(10) - 1)),
        (LOGISTIC, 30 * 2 * math.acosh(math.sqrt(10)) / math.log(3)),  # 1 / cosh(l x / 2)^2 = 1 / 10
    ],
)
def test_saturated_where_one_more_unit_brings_a_tenth_of_the_best(response: Response, spend: float) -> None:
    found = returns(outlook(response), "TV").saturation
    assert found.spend == pytest.approx(spend)
    assert ("beyond the range seen" in found.sentence) == (spend > 400)


def test_the_saturation_of_an_s_is_measured_from_its_steepest_point() -> None:
    found = returns(outlook(S_CURVE), "TV").saturation.spend
    assert found is not None
    steepest = S_CURVE.marginal(np.linspace(1, 100, 100_000)).max()
    assert S_CURVE.marginal(found) == pytest.approx(0.1 * steepest, rel=1e-3)  # of points three percent apart


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (LINE, "TV is a straight line, which has no saturation."),
        (POWER, "brings without limit per unit"),
        (replace(LOG, coefficient=0.0), "TV brings nothing"),
        (replace(LOG, half=1e6), "TV is far from saturated, even at 40,000."),
    ],
)
def test_where_there_is_no_saturation_it_says_why(response: Response, said: str) -> None:
    found = returns(outlook(response), "TV").saturation
    assert found.spend is None
    assert said in found.sentence


def test_what_was_spent_before_lends_a_steep_curve_no_best_unit() -> None:
    """A Hill curve with a slope below 1 rises without limit at none; that something is carried in does not change this."""
    steep = Response("TV", "hill", 40, 0.7, 200, (0.6, 0.4))
    before = {"TV": (30.0,)}
    assert "without limit per unit" in returns(outlook(steep, before=before), "TV").saturation.sentence
    gentle = replace(steep, slope=1.2)
    for steep_draws, told in ((1, True), (5, False)):
        draws = [[steep]] * steep_draws + [[replace(gentle, coefficient=200.0 + i)] for i in range(20 - steep_draws)]
        found = returns(outlook(gentle, before=before, draws=draws), "TV").saturation
        assert (found.spend is not None, found.low is not None) == (told, told)
        assert ("do not tell where TV saturates" in found.sentence) != told


@pytest.mark.parametrize(
    ("coefficient", "spend", "said"),
    [
        (0.5, 0.0, "One more unit earns what it costs (margin 1) at no spend on TV within the range seen."),
        (1.5, None, "One more unit earns what it costs (margin 1) over the whole range seen of TV, up to 400."),
    ],
)
def test_a_line_pays_everywhere_or_nowhere(coefficient: float, spend: float | None, said: str) -> None:
    found = returns(outlook(replace(LINE, coefficient=coefficient)), "TV", margin=1.0).pays_until
    assert found is not None
    assert (found.spend, found.sentence) == (spend, said)


def test_intervals_are_those_of_the_draws() -> None:
    """``a / (50 + x) = 1`` at ``a - 50``: the draws' quantiles move with the coefficient's."""
    draws = [[replace(LOG, coefficient=float(a))] for a in range(60, 161)]
    found = returns(outlook(LOG, draws=draws), "TV", margin=1.0, level=0.8)
    assert found.pays_until is not None
    assert (found.pays_until.low, found.pays_until.high) == pytest.approx((20, 100), rel=0.06)  # one draw is one unit
    assert (found.marginal_low, found.marginal_high) == pytest.approx((70 / 80, 150 / 80))
    band = curve(outlook(LOG, draws=draws), "TV", level=0.8)
    assert band.low[-1] == pytest.approx(70 * math.log(9), rel=0.02)
    assert band.high[-1] == pytest.approx(150 * math.log(9), rel=0.02)


@pytest.mark.parametrize("coefficient", [0.0, 300.0])
def test_a_band_holds_the_curve_where_all_draws_lie_to_one_side(coefficient: float) -> None:
    """Draws of 60 to 160 around a coefficient that a sign holds at 0, and around one above them all."""
    fit = replace(LOG, coefficient=coefficient)
    o = outlook(fit, draws=[[replace(LOG, coefficient=float(a))] for a in range(60, 161)])
    band, told = curve(o, "TV", level=0.8, points=3), returns(o, "TV", margin=1.0, level=0.8)
    ends = sorted([coefficient, 70.0 if coefficient > 0 else 150.0])
    assert (band.low[-1], band.high[-1]) == pytest.approx([a * math.log(9) for a in ends], rel=0.02)  # one draw is one unit
    assert (band.marginal_low[-1], band.marginal_high[-1]) == pytest.approx([a / 450 for a in ends], rel=0.02)
    assert told.pays_until is not None
    assert (told.pays_until.low, told.pays_until.high) == pytest.approx([max(a - 50, 0) for a in ends], rel=0.06)
    assert (told.marginal_low, told.marginal_high) == pytest.approx([a / 80 for a in ends])


def test_an_interval_of_like_draws_holds_the_exact_threshold() -> None:
    """The draws' ends lie between points of a grid; that of the fit is exact, and no end may pass it."""
    found = returns(outlook(LOG, draws=[[LOG]] * 20), "TV", margin=1.0)
    for threshold in (found.pays_until, found.break_even, found.saturation):
        assert threshold is not None
        assert threshold.low <= threshold.spend <= threshold.high  # type: ignore[operator]


def test_the_band_of_a_least_squares_line_is_that_of_its_slope() -> None:
    o = outlook(LINE, precision=Precision(np.diag([1.0, 0.01]), 30))
    band = curve(o, "TV", 0, 100, points=3, level=0.95)
    reach = 2.042272 * 0.1  # t of 30 degrees
    assert band.low == pytest.approx((0, 50 * (0.5 - reach), 100 * (0.5 - reach)), rel=1e-6)
    assert band.marginal_high == pytest.approx((0.5 + reach,) * 3, rel=1e-6)


def test_a_curve_is_what_the_channel_brings_over_none() -> None:
    """History is carried over whatever is spent; only what comes on top of it belongs to the spend."""
    slow = replace(LOG, weights=(1.0, 0.5, 0.25))
    o = outlook(slow, periods=4, before={"TV": (80.0, 60.0)})
    found = curve(o, "TV", 0, 400, points=5)
    for x, y in zip(found.spend, found.sales, strict=True):
        assert y == pytest.approx(slow.sales([x / 4] * 4, (80, 60)).sum() - slow.sales([0.0] * 4, (80, 60)).sum(), abs=1e-9)
    assert (found.seen_high, found.today) == (1600, 120)
    assert found.low == (None,) * 5


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda o: curve(o, "tV"), "'tV' is no channel of the model. Did you mean 'TV'?"),
        (lambda o: curve(o, "TV", 5, 5), "The curve of TV from 5 to 5 has no points"),
        (lambda o: returns(o, "TV", margin=0.0), "margin=0 must be a finite number above 0."),
    ],
)
def test_what_makes_no_sense_is_refused(ask, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError) as refusal:
        ask(outlook(LOG))
    assert said in str(refusal.value)
