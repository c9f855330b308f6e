"""Are the curves, their slopes and carry-over the published ones, also at the ends of what a number can hold?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from adresponse.curves import (
    CARRY_OVERS,
    SHAPES,
    CarryOverKind,
    Response,
    Shape,
    carry_over,
    carry_over_weights,
    each_row,
    saturate,
    saturation_slope,
)
from adresponse.errors import ModelError

BY_HAND: list[tuple[Shape, float, float, float, float]] = [
    ("linear", 7.0, 3.0, 2.0, 7.0),  # half and slope change nothing
    ("log", 6.0, 2.0, 1.0, math.log(4)),
    ("power", 8.0, 2.0, 0.5, 2.0),  # sqrt(8 / 2)
    ("hill", 6.0, 3.0, 2.0, 0.8),  # 36 / (36 + 9)
    ("hill", 3.0, 3.0, 5.0, 0.5),  # half of all at half, whatever the slope
    ("logistic", 3.0, 3.0, 1.0, 0.5),  # half of all at half
    ("logistic", 6.0, 3.0, 1.0, 0.8),  # exp(-2 log 3) = 1/9: (8/9) / (10/9)
]


@pytest.mark.parametrize(("shape", "x", "half", "slope", "response"), BY_HAND)
def test_curves_by_hand(shape: Shape, x: float, half: float, slope: float, response: float) -> None:
    assert float(saturate(shape, x, half, slope)) == pytest.approx(response, rel=1e-14)


def test_hill_of_slope_one_is_michaelis_menten_and_logistic_is_tanh() -> None:
    x = np.linspace(0, 50, 101)
    np.testing.assert_allclose(saturate("hill", x, 4.0, 1.0), x / (x + 4.0), rtol=1e-14)
    np.testing.assert_allclose(saturate("logistic", x, 4.0, 1.0), np.tanh(math.log(3) / 4 * x / 2), rtol=1e-13)


def test_hill_is_the_log_logistic_distribution() -> None:
    # scipy's Fisk distribution is the same function under another name
    x = np.geomspace(1e-3, 1e3, 50)
    np.testing.assert_allclose(saturate("hill", x, 7.0, 1.7), stats.fisk(1.7, scale=7.0).cdf(x), rtol=1e-12)
    np.testing.assert_allclose(saturation_slope("hill", x, 7.0, 1.7), stats.fisk(1.7, scale=7.0).pdf(x), rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slope", [0.3, 1.0])
def test_slope_is_the_derivative(shape: Shape, slope: float) -> None:
    # central differences: an error of h^2 relative, and of rounding / h
    x = np.geomspace(1e-2, 1e4, 60)
    h = 1e-5 * x
    rise = (saturate(shape, x + h, 20.0, slope) - saturate(shape, x - h, 20.0, slope)) / (2 * h)
    np.testing.assert_allclose(saturation_slope(shape, x, 20.0, slope), rise, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slope", [0.2, 1.0, 8.0])
@pytest.mark.filterwarnings("error")
def test_the_ends_of_numbers_are_safe(shape: Shape, slope: float) -> None:
    if shape == "power" and slope > 1:
        return
    x = np.array([0.0, 1e-300, 1e-30, 1.0, 1e30, 1e200])
    y = saturate(shape, x, 3.0, slope)
    steep = saturation_slope(shape, x, 3.0, slope)
    assert y[0] == 0
    assert np.isfinite(y).all()
    assert (np.diff(y) >= 0).all()
    assert not np.isnan(steep).any()
    assert (steep >= 0).all()
    if shape in ("hill", "logistic"):
        assert y[-1] == pytest.approx(1.0)


def test_slope_at_zero_is_the_limit() -> None:
    assert saturation_slope("hill", 0.0, 4.0, 1.0) == 0.25
    assert saturation_slope("hill", 0.0, 4.0, 2.0) == 0
    assert saturation_slope("power", 0.0, 4.0, 0.5) == math.inf
    assert saturation_slope("log", 0.0, 4.0, 1.0) == 0.25


def test_parameters_broadcast_over_draws() -> None:
    halves = np.array([[2.0], [4.0]])
    found = saturate("log", np.array([0.0, 2.0, 4.0]), halves, 1.0)
    np.testing.assert_allclose(found, np.log1p(np.array([[0, 1, 2], [0, 0.5, 1]])))


def test_rows_may_have_curves_of_their_own() -> None:
    x, half, slope = np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 3.0]]), np.full((3, 1), 2.0), np.full((3, 1), 0.5)
    shapes: tuple[Shape, ...] = ("log", "hill", "log")
    for curve in (saturate, saturation_slope):
        found = each_row(curve, shapes, x, half, slope)
        np.testing.assert_array_equal(found, [curve(s, row, 2.0, 0.5) for s, row in zip(shapes, x, strict=True)])


WEIGHTS: list[tuple[CarryOverKind, float, float, list[float]]] = [
    ("none", 0.5, 0, [1, 0, 0, 0]),
    ("geometric", 0.5, 0, [1, 0.5, 0.25, 0.125]),
    ("geometric", 0.0, 0, [1, 0, 0, 0]),
    ("delayed", 0.5, 1, [0.5, 1, 0.5, 0.0625]),  # 0.5 to the powers 1, 0, 1, 4
    ("weibull", 0.5, 0, [1, 0.5, 0.25, 0.125]),  # shape 0 is geometric
    ("weibull", 0.5, 1, [1, 0.5, 0.125, 0.015625]),  # 0.5 to the powers 0, 1, 3, 6
]


@pytest.mark.parametrize(("kind", "decay", "delay", "weights"), WEIGHTS)
def test_weights_by_hand(kind: CarryOverKind, decay: float, delay: float, weights: list[float]) -> None:
    assert carry_over_weights(kind, decay, delay, 4) == pytest.approx(weights, rel=1e-15)
    shares = carry_over_weights(kind, decay, delay, 4, normalise=True)
    assert shares == pytest.approx(np.array(weights) / sum(weights), rel=1e-15)


def test_weibull_weights_are_robyns() -> None:
    # Robyn's adstock_weibull(type = "cdf"): thetaVec = c(1, 1 - pweibull(1:(n-1), shape, scale)), cumprod(thetaVec)
    shape, scale, length = 1.4, 6.0, 13
    survival = stats.weibull_min(shape, scale=scale).sf(np.arange(1, length))
    expected = np.cumprod(np.concatenate([[1.0], survival]))
    decay = math.exp(-(scale**-shape))
    assert carry_over_weights("weibull", decay, shape, length) == pytest.approx(expected, rel=1e-12)


def test_carry_over_is_the_recursion_where_the_window_holds_all() -> None:
    x = np.array([3.0, 0, 5, 1, 0, 0, 2])
    kept, stock = [], 0.0
    for spend in x:
        stock = spend + 0.6 * stock
        kept.append(stock)
    np.testing.assert_allclose(carry_over(x, carry_over_weights("geometric", 0.6, 0, 7)), kept, rtol=1e-14)


def test_history_counts_and_what_is_too_old_does_not() -> None:
    weights = (1.0, 0.5, 0.25)
    assert carry_over([1.0, 0.0], weights, [8.0, 4.0]) == pytest.approx([1 + 2 + 2, 0.5 + 1])
    assert carry_over([1.0, 0.0], weights, [99.0, 8.0, 4.0]) == pytest.approx([5, 1.5])
    assert carry_over([1.0, 0.0], weights, [4.0]) == pytest.approx([1 + 2, 0.5 + 1])
    assert carry_over([1.0, 0.0], weights) == pytest.approx([1, 0.5])
    assert carry_over([], weights, [4.0]).shape == (0,)


@pytest.mark.parametrize("shape", SHAPES)
def test_steady_is_what_a_long_series_comes_to_and_marginal_its_slope(shape: Shape) -> None:
    weights = carry_over_weights("geometric", 0.7, 0, 10)
    response = Response("tv", shape, 40.0, 0.8, 12.0, weights)
    assert response.sales(np.full(30, 25.0))[-1] == pytest.approx(float(response.steady(25.0)), rel=1e-13)
    h = 1e-4
    rise = (response.steady(25.0 + h) - response.steady(25.0 - h)) / (2 * h)
    assert float(response.marginal(25.0)) == pytest.approx(float(rise), rel=1e-7)  # rounding / h
    assert response.concave


def test_an_s_or_a_loss_is_not_concave() -> None:
    assert not Response("tv", "hill", 40.0, 2.0, 12.0).concave
    assert not Response("tv", "log", 40.0, 1.0, -1.0).concave
    assert Response("tv", "hill", 40.0, 1.0, 12.0).concave


def test_a_channel_that_brings_nothing_brings_nothing_at_the_margin_either() -> None:
    assert Response("tv", "power", 40.0, 0.5, 0.0).marginal(np.array([0.0, 1.0])).tolist() == [0, 0]


REFUSED = [
    ({"shape": "cube"}, "'cube' is no shape known; use one of linear, log, power, hill, logistic."),
    ({"half": 0.0}, "half=0 of tv must be a finite number above 0; fit the channel again."),
    ({"shape": "power", "slope": 1.5}, "slope=1.5 of tv must be at most 1 for a power curve; use hill for an S."),
    ({"coefficient": math.nan}, "coefficient=nan of tv must be a finite number; fit the channel again."),
    ({"weights": ()}, "The carry-over weights of tv must be finite numbers of at least 0."),
]


@pytest.mark.parametrize(("given", "sentence"), REFUSED)
def test_a_response_refuses_nonsense(given: dict[str, object], sentence: str) -> None:
    numbers = {"channel": "tv", "shape": "hill", "half": 1.0, "slope": 1.0, "coefficient": 1.0}
    with pytest.raises(ModelError) as refused:
        Response(**(numbers | given))  # type: ignore[arg-type]
    assert str(refused.value) == sentence


def test_weights_refuse_nonsense() -> None:
    for kind in CARRY_OVERS:
        with pytest.raises(ModelError, match="decay=1 must be at least 0 and below 1"):
            carry_over_weights(kind, 1.0, 0, 4)
    with pytest.raises(ModelError, match="length=0 must be at least 1"):
        carry_over_weights("geometric", 0.5, 0, 0)
    with pytest.raises(ModelError, match="'square' is no carry-over known"):
        carry_over_weights("square", 0.5, 0, 4)  # type: ignore[arg-type]
