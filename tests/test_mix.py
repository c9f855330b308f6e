"""Does a fitted mix come back to the truth that was put in, add up exactly, and say what it cannot know?"""

from __future__ import annotations

import runpy
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_validate
from sklearn.utils.estimator_checks import estimator_checks_generator

import adresponse
from adresponse.baseline import Baseline
from adresponse.curves import CARRY_OVERS, SHAPES, CarryOverKind, Shape, carry_over, carry_over_weights, saturate
from adresponse.errors import ConfigError, ModelError
from adresponse.mixing import projection
from adresponse.mixing.carrying import CarryOver
from adresponse.mixing.fit import MixFit, MixSpec, curves_of, fit_mix
from adresponse.mixing.regressor import MixRegressor, mix_pipeline
from adresponse.mixing.saturating import Saturation
from adresponse.mixing.season import Surroundings
from adresponse.mixing.shapes import information_behind, simplest
from adresponse.mixing.signed import SignedRegression
from adresponse.mixing.simulated import Ranges, SimulatedTable, simulate
from adresponse.periods import Calendar, weekday
from examples import shipped

Vector = NDArray[np.float64]


ROW_WISE = [Saturation(), Saturation("power", slope=0.5), SignedRegression(), SignedRegression(1)]
CHECKS = [pair for made in ROW_WISE for pair in estimator_checks_generator(made) if "array_api" not in str(pair[1])]


@pytest.mark.parametrize(("estimator", "check"), CHECKS, ids=lambda v: str(getattr(getattr(v, "func", v), "__name__", v)))
def test_row_wise_steps_are_scikit_learn(estimator: object, check: object) -> None:
    # the checks of parametrize_with_checks but the one of arrays that are not numpy's, which skips itself here
    check(estimator)  # type: ignore[operator]


# --- regression -------------------------------------------------------------------------------------------------------


@pytest.fixture
def numbers() -> tuple[Vector, Vector]:
    rng = np.random.default_rng(7)
    X = rng.normal(size=(60, 4)) * [1, 10, 100, 1000] + [5, 0, -50, 1e4]
    return X, X @ [2, -0.3, 0.01, 0.002] + rng.normal(size=60)


def test_without_signs_and_pull_it_is_least_squares(numbers: tuple[Vector, Vector]) -> None:
    X, y = numbers
    oracle = sm.OLS(y, sm.add_constant(X)).fit()
    found = SignedRegression().fit(X, y)
    # the same arithmetic in another order, on columns whose sizes differ by 1e4
    np.testing.assert_allclose([found.intercept_, *found.coef_], oracle.params, rtol=1e-8)


def test_all_signs_are_scikit_learns_positive_and_a_pull_is_ridge(numbers: tuple[Vector, Vector]) -> None:
    X, y = numbers
    np.testing.assert_allclose(SignedRegression(1).fit(X, y).coef_, LinearRegression(positive=True).fit(X, y).coef_, atol=1e-8)
    np.testing.assert_allclose(SignedRegression(weight=30.0).fit(X, y).coef_, Ridge(alpha=30.0).fit(X, y).coef_, rtol=1e-8)


def test_only_the_signed_coefficient_is_held(numbers: tuple[Vector, Vector]) -> None:
    X, y = numbers
    found = SignedRegression((1, 1, 0, 0)).fit(X, y)
    assert found.coef_[1] == 0
    rest = sm.OLS(y, sm.add_constant(np.delete(X, 1, axis=1))).fit()
    np.testing.assert_allclose(found.coef_[[0, 2, 3]], rest.params[1:], rtol=1e-6)


# --- dates ------------------------------------------------------------------------------------------------------------

CALENDARS = [
    (["2024-01-01", "2024-01-08", "2024-01-22"], [0, 1, 3], "second"),  # weeks, one left out
    (["2023-12-31", "2024-01-31", "2024-02-29"], [0, 1, 2], "month"),  # month ends
    (["2024-02-29", "2024-03-31", "2024-04-30"], [0, 1, 2], "month"),  # month ends, the first in a short month
    (["2024-01-15", "2024-02-15", "2024-04-15"], [0, 1, 3], "month"),  # the middle of months
    (["2024-02-29", "2024-03-29", "2024-04-29"], [0, 1, 2], "month"),  # a day that was the last once
    (["2024-01-01", "2024-04-01", "2025-01-01"], [0, 1, 4], "month"),  # quarters
    (["2024-02-28", "2024-02-29", "2024-03-01"], [0, 1, 2], "second"),  # days
    (["2024-01-01", "2024-01-29", "2024-02-26"], [0, 1, 2], "second"),  # four weeks are no month
]
MASKS = ["1111100", "1111110", "0111101", "1000001", "0011000", "1010100"]


@pytest.mark.parametrize(("dates", "periods", "unit"), CALENDARS)
def test_dates_become_periods_and_come_back(dates: list[str], periods: list[int], unit: str) -> None:
    calendar = Calendar.of(np.array(dates, dtype="datetime64[ns]"))
    assert calendar.unit == unit
    assert calendar.period(np.array(dates, dtype="datetime64[us]")).tolist() == periods
    assert [calendar.date(p)[:10] for p in periods] == dates


@pytest.mark.parametrize(
    ("frequency", "step"),
    [
        ("BMS", 1),  # the first business day, up to the 4th after a holiday
        ("BME", 1),  # the last one
        ("BQE", 3),  # the last one of a quarter
    ],
)
def test_a_month_may_be_dated_by_a_business_day(frequency: str, step: int) -> None:
    dates = pd.date_range("2019-01-01", periods=60, freq=frequency).to_numpy()
    calendar = Calendar.of(dates)
    assert (calendar.unit, calendar.step) == ("month", step)
    assert calendar.period(dates).tolist() == list(range(60))
    assert calendar.period(np.datetime64(calendar.date(60), "s")) == 60


@pytest.mark.parametrize("mask", MASKS)
def test_days_of_the_week_that_never_come_are_not_counted(mask: str) -> None:
    """As numpy counts business days; a day that is not counted has the period of the next one that is."""
    days = np.arange("2024-01-03", "2024-06-01", dtype="datetime64[D]")
    there = days[np.is_busday(days, weekmask=mask)]
    calendar = Calendar.of(there.astype("datetime64[ns]") + np.timedelta64(9, "h"))
    assert (calendar.unit, calendar.weekmask) == ("day", mask)
    later = days[days >= there[0]]
    assert calendar.period(later).tolist() == np.busday_count(there[0], later, weekmask=mask).tolist()
    assert set(calendar.period(days[days < there[0]]).tolist()) <= {0}
    assert calendar.closed(days).tolist() == (~np.isin(days, there)).tolist()
    assert calendar.date(0) == f"{there[0]}T09:00:00"
    assert [calendar.date(i)[:10] for i in range(-9, 500, 7)] == [
        str(np.busday_offset(there[0], i, weekmask=mask)) for i in range(-9, 500, 7)
    ]
    assert len(np.unique(calendar.slot(days))) == len(days)
    assert calendar.daily
    assert calendar.periods_a_year == pytest.approx(365.2425 * mask.count("1") / 7)


@pytest.mark.parametrize(
    "days",
    [
        pd.bdate_range("2024-01-01", periods=19),  # too few to tell
        pd.date_range("2024-01-01", periods=40)[::2],  # every other day, whichever it is
        pd.date_range("2024-01-01", periods=40, freq="7D") + pd.to_timedelta([0, 0, 0, 1] * 10, unit="D"),  # weeks
    ],
)
def test_days_of_the_week_that_do_not_all_come_are_no_calendar_of_their_own(days: pd.DatetimeIndex) -> None:
    assert Calendar.of(days).unit == "second"


def test_four_weeks_are_no_month_wherever_they_begin() -> None:
    for day in pd.date_range("2023-01-01", "2023-12-31"):
        dates = pd.date_range(day, periods=10, freq="28D").to_numpy()
        assert Calendar.of(dates).period(dates).tolist() == list(range(10))
        assert Calendar.of(dates).unit == "second"


# --- carry-over -------------------------------------------------------------------------------------------------------


def weekly(spend: list[float], start: str = "2024-01-01", **columns: object) -> pd.DataFrame:
    return pd.DataFrame({"tv": spend, "week": pd.date_range(start, periods=len(spend), freq="7D"), **columns})


def halves(**more: object) -> CarryOver:
    return CarryOver(("tv",), "week", decay=0.5, window=3, normalise=False, **more)  # type: ignore[arg-type]


def test_a_training_frame_gives_itself_and_means_before_it() -> None:
    frame = weekly([4.0, 0.0, 2.0])  # mean 2
    found = halves().fit_transform(frame)[:, 0]
    assert found == pytest.approx([4 + 0.5 * 2 + 0.25 * 2, 0 + 0.5 * 4 + 0.25 * 2, 2 + 0 + 0.25 * 4])


def test_history_is_carried_into_later_rows_whatever_their_order() -> None:
    fitted = halves().fit(weekly([4.0, 0.0, 2.0]))
    later = weekly([1.0, 3.0], "2024-01-22")
    expected = [1 + 0.5 * 2 + 0.25 * 0, 3 + 0.5 * 1 + 0.25 * 2]
    assert fitted.transform(later)[:, 0] == pytest.approx(expected)
    assert fitted.transform(later.iloc[::-1])[::-1, 0] == pytest.approx(expected)


def test_a_gap_is_filled_with_the_mean_and_rows_given_come_before_history() -> None:
    fitted = halves().fit(weekly([4.0, 0.0, 2.0]))
    assert fitted.transform(weekly([1.0], "2024-01-29"))[0, 0] == pytest.approx(1 + 0.5 * 2 + 0.25 * 2)  # a week unknown
    again = weekly([6.0, 1.0], "2024-01-15")  # the last week fitted, with another spend; the first is no longer kept
    assert fitted.transform(again)[:, 0] == pytest.approx([6 + 0.5 * 0 + 0.25 * 2, 1 + 0.5 * 6 + 0.25 * 0])


def test_rows_held_out_are_remembered_and_predicted_as_before() -> None:
    fitted = halves().fit(weekly([4.0, 0.0, 2.0]))
    held_out = weekly([8.0, 6.0], "2024-01-22")
    before = fitted.transform(held_out)
    fitted.remember(weekly([4.0, 0.0, 2.0, 8.0, 6.0]))
    np.testing.assert_array_equal(fitted.transform(held_out), before)
    assert fitted.means_.tolist() == [2.0]  # of the rows fitted
    assert fitted.transform(weekly([1.0, 0.0], "2024-02-05"))[:, 0] == pytest.approx([1 + 3 + 2, 0 + 0.5 + 1.5])
    assert fitted.transform(weekly([6.0], "2024-01-29"))[0, 0] == pytest.approx(6 + 4 + 0.25 * 2)  # a row held out by itself


def test_each_market_has_its_own_history() -> None:
    two = pd.concat([weekly([4.0, 0.0, 2.0], city="Bonn"), weekly([8.0, 8.0, 2.0], city="Ulm")])
    fitted = halves(market="city").fit(two.sample(frac=1, random_state=1))
    later = pd.concat([weekly([1.0], "2024-01-22", city="Ulm"), weekly([1.0], "2024-01-22", city="Bonn")])
    assert fitted.transform(later)[:, 0] == pytest.approx([1 + 1 + 2, 1 + 1 + 0])


def test_it_equals_the_convolution() -> None:
    spend = np.random.default_rng(1).gamma(1.0, size=40)
    fitted = CarryOver(("tv",), "week", kind="delayed", decay=0.6, delay=2.0, window=8).fit(weekly(list(spend)))
    weights = carry_over_weights("delayed", 0.6, 2.0, 8, normalise=True)
    expected = carry_over(spend, weights, np.full(7, spend.mean()))
    np.testing.assert_allclose(fitted.transform(weekly(list(spend)))[:, 0], expected, rtol=1e-12)


REFUSED_ROWS = [
    (pd.concat([weekly([1.0]), weekly([2.0])]), "The period of 2024-01-01 has more than one row"),
    (weekly([1.0]).drop(columns="tv"), "Column 'tv' is missing; the model needs tv, week."),
    (weekly([1.0]).drop(columns="week"), "Column 'week' is missing"),
]


@pytest.mark.parametrize(("rows", "sentence"), REFUSED_ROWS)
def test_rows_that_cannot_be_carried_are_refused(rows: pd.DataFrame, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        halves().fit(weekly([1.0, 2.0])).transform(rows)
    with pytest.raises(ModelError, match="named columns, got ndarray"):
        halves().fit(np.ones((3, 2)))


def test_the_period_before_is_that_of_the_same_market() -> None:
    two = pd.concat([weekly([1.0, 2.0, 3.0], city="Bonn"), weekly([1.0, 2.0, 3.0], city="Ulm").drop(1)]).iloc[[4, 2, 0, 1, 3]]
    fitted = halves(market="city").fit(two)
    # rows: Ulm 3, Bonn 3, Bonn 1, Bonn 2, Ulm 1; the second week of Ulm is missing
    assert fitted.previous(two).tolist() == [-1, 3, -1, 2, -1]


# --- beside the channels ----------------------------------------------------------------------------------------------


def test_surroundings_are_trend_waves_controls_and_markets() -> None:
    frame = pd.concat([weekly([0.0, 0.0, 0.0], city="Bonn"), weekly([0.0, 0.0, 0.0], city="Ulm")]).assign(price=7.0)
    step = Surroundings(("price",), "week", "city", season=1).fit(frame)
    assert list(step.get_feature_names_out()) == ["trend", "sin 1", "cos 1", "price", "market Ulm"]
    found = step.transform(frame)
    assert found[:, 0].tolist() == [0, 0.5, 1, 0, 0.5, 1]
    assert found[:, 3].tolist() == [7.0] * 6
    assert found[:, 4].tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(found[:, 1] ** 2 + found[:, 2] ** 2, 1)
    with pytest.raises(ModelError, match=r"Market 'Ulmm' was not among the rows fitted. Did you mean 'Ulm'\?"):
        step.transform(frame.assign(city="Ulmm"))


def test_a_wave_comes_back_after_a_year() -> None:
    step = Surroundings((), "week", trend=False).fit(weekly([0.0] * 3))
    # 365 days are 0.2425 days short of a year: 0.0042 radians, twice that for the half-year wave
    np.testing.assert_allclose(
        step.transform(weekly([0.0], "2023-03-06")), step.transform(weekly([0.0], "2024-03-05")), atol=0.009
    )


def daily(days: int) -> tuple[pd.DataFrame, Vector]:
    """Days from a Wednesday on, and sales without noise: each weekday its own level, and 2 for each unit of spend."""
    dates = pd.date_range("2024-01-03", periods=days, freq="D")
    spend = np.random.default_rng(3).gamma(2.0, 10, days)
    levels = np.array([0.0, 5.0, -3.0, 8.0, 20.0, 40.0, -15.0])[[d.weekday() for d in dates]]
    return pd.DataFrame({"week": dates, "tv": spend}), 100 + levels + 2 * spend


def test_days_of_the_week_have_levels_of_their_own_in_a_daily_table() -> None:
    frame, sales = daily(70)
    spec = MixSpec(("tv",), date="week", shape="linear", carry_over="none", trend=False)
    fit = fit_mix(frame, sales, spec)
    assert fit.base_names == ("Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    # least squares finds what has no noise; what is typical of a channel pulls it by less than 1e-6
    np.testing.assert_allclose(fit.baseline.weekdays, [0, 5, -3, 8, 20, 40, -15], atol=1e-4)
    later, expected = daily(100)
    np.testing.assert_allclose(fit.model.predict(later), expected, rtol=1e-5)
    np.testing.assert_allclose(fit.baseline.sales(100, later["week"]) + 2 * later["tv"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("days", "more"),
    [(50, {}), (70, {"weekdays": False})],  # seven weeks and a day are too few to tell each day apart
)
def test_days_of_the_week_are_not_told_apart(days: int, more: dict[str, bool]) -> None:
    frame, sales = daily(days)
    assert fit_mix(frame, sales, MixSpec(("tv",), date="week", shape="linear", **more)).baseline.weekdays == ()  # type: ignore[arg-type]


def test_days_of_the_week_that_never_come_have_no_level() -> None:
    frame, sales = daily(140)
    spec = MixSpec(("tv",), date="week", shape="linear", carry_over="none", trend=False)
    working = frame["week"].dt.day_of_week.isin([1, 2, 3, 5])  # Tuesday to Thursday, and Saturday
    fit = fit_mix(frame[working], sales[working], spec)
    assert fit.base_names == ("Wednesday", "Thursday", "Saturday")
    # over Tuesday, which sells 5 more than Monday; the tolerance is that of all days
    np.testing.assert_allclose(fit.baseline.weekdays, [0, 0, -8, 3, 0, 35, 0], atol=1e-4)
    np.testing.assert_allclose(fit.fitted, sales[working], rtol=1e-5)


def test_spend_of_friday_works_on_monday_where_weekends_never_come() -> None:
    """Sales without noise, of which 60 % of what one working day brought is left on the next: found as it is."""
    days = pd.bdate_range("2024-01-01", periods=200)
    spend = np.random.default_rng(4).gamma(1.0, 10, 200)
    weights = 0.6 ** np.arange(28)
    carried = np.convolve(spend, weights / weights.sum())[:200]
    frame, sales = pd.DataFrame({"week": days, "tv": spend})[28:], (100 + 2 * carried)[28:]
    spec = MixSpec(("tv",), date="week", shape="linear", trend=False, season=0, weekdays=False)
    fit = fit_mix(frame, sales, spec)
    own, day_before = fit.responses[0].weights[:2]
    # what was spent before the table is not known, which disturbs its first days; with two days of mean spend between Friday
    # and Monday 0.67 is found
    assert day_before / own == pytest.approx(0.6, abs=0.02)


def test_weekdays_that_are_controls_too_do_no_harm() -> None:
    frame, sales = daily(70)
    frame["weekend"] = (frame["week"].dt.day_of_week >= 5).astype(float)
    spec = MixSpec(("tv",), ("weekend",), date="week", shape="linear", carry_over="none", trend=False)
    np.testing.assert_allclose(fit_mix(frame, sales, spec).fitted, sales, rtol=1e-5)


@given(st.dates(date(1600, 1, 1), date(2500, 1, 1)))
def test_a_weekday_is_that_of_the_calendar(day: date) -> None:
    assert weekday([np.datetime64(day)]).tolist() == [day.weekday()]


def test_a_baseline_needs_what_it_was_fitted_with() -> None:
    calendar = Calendar.of(np.array(["2024-01-01", "2024-01-08"], dtype="datetime64[s]"))
    base = Baseline(1.0, 2.0, (), {"price": 3.0}, {"Bonn": 0.0, "Ulm": 4.0}, calendar, 1)
    dates = np.array(["2024-01-08", "2024-01-08"], dtype="datetime64[s]")
    assert base.sales(2, dates, {"price": [1.0, 2.0]}, ["Ulm", "Bonn"]).tolist() == [1 + 2 + 3 + 4, 1 + 2 + 6]
    for some in ({}, {"dates": dates}, {"dates": dates, "controls": {"price": [1.0, 2.0]}}):
        with pytest.raises(ModelError):
            base.sales(2, **some)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="Market 'Köln' was not among the rows fitted"):
        base.sales(1, dates[:1], {"price": [1.0]}, ["Köln"])


# --- variable projection ----------------------------------------------------------------------------------------------


def problem(shape: Shape, kind: CarryOverKind, signs: tuple[int, ...] = (1, 1, 1)) -> projection.Problem:
    rng = np.random.default_rng(3)
    lags = rng.gamma(1.0, size=(3, 50, 6 if kind != "none" else 1))
    lags[0, :7] = 0  # nothing was spent, where curves start upright
    base = np.column_stack([np.ones(50), np.linspace(0, 1, 50)])
    return projection.Problem(lags, 1 + 0.3 * rng.normal(size=50), base, shape, kind, signs)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", CARRY_OVERS)
def test_gradient_equals_finite_differences(shape: Shape, kind: CarryOverKind) -> None:
    made = problem(shape, kind, (1, 0, -1))
    size = 3 * len(made.parameters)
    theta, h = 0.7 * np.random.default_rng(5).normal(size=size), 1e-5
    _, gradient = projection.objective(theta, made, 0.05)
    ends = [[projection.objective(theta + s * h * e, made, 0.05)[0] for s in (1, -1)] for e in np.eye(size)]
    # central differences err by h^2 and by rounding / h, about 1e-9 here
    np.testing.assert_allclose(gradient, [(a - b) / (2 * h) for a, b in ends], rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", ["power", "hill"])
def test_what_a_pause_leaves_of_spend_has_a_gradient(shape: Shape) -> None:
    # weights from 1 down to 0 through numbers so small that one over them is none, met one by one in a long pause
    spend = np.where(np.arange(50) % 25 < 3, 1.0, 0.0)
    lags = np.array([[spend[i - lag] if i >= lag else 1.0 for lag in range(13)] for i in range(50)])
    made = replace(problem(shape, "weibull", (1,)), lags=lags[None])
    size = len(made.parameters)
    for decay in np.linspace(-5, 0, 101):
        loss, gradient = projection.objective(np.array([decay, 2.0, *[-1.0] * (size - 2)]), made, 0.05)
        assert np.isfinite([loss, *gradient]).all(), decay


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", CARRY_OVERS)
def test_the_search_speaks_of_the_same_curves(shape: Shape, kind: CarryOverKind) -> None:
    made = problem(shape, kind)
    theta = 0.5 * np.random.default_rng(6).normal(size=3 * len(made.parameters))
    z, _ = projection.responses(made, theta)
    values = made.natural(theta)
    for c in range(3):
        weights = carry_over_weights(kind, values["decay"][c], values["delay"][c], made.lags.shape[2], normalise=True)
        expected = saturate(shape, made.lags[c] @ np.array(weights), values["half"][c], values["slope"][c])
        np.testing.assert_allclose(z[:, c], expected / expected.mean(), rtol=1e-10)


def test_with_a_straight_line_draws_are_the_normal_theory() -> None:
    made = replace(problem("linear", "none"), signs=(0, 0, 0))
    found = projection.search(made)
    drawn = projection.draw(made, found, draws=2000)
    z = projection.responses(made, found.theta)[0]
    oracle = sm.OLS(made.sales, np.hstack([z, made.base])).fit()
    np.testing.assert_allclose([*found.shares, *projection.base_of(made, z, found.shares)], oracle.params, rtol=1e-9)
    assert found.variance == pytest.approx(oracle.scale, rel=1e-9)
    # the standard deviation of 2000 draws errs by 1.6 %; Student's t with 45 degrees of freedom spreads 2.3 % wider
    joined = np.hstack([drawn.shares, drawn.base])
    np.testing.assert_allclose(joined.std(axis=0), oracle.bse * np.sqrt(45 / 43), rtol=0.07)
    np.testing.assert_allclose(joined.mean(axis=0), oracle.params, atol=float(4 * oracle.bse.max() / np.sqrt(2000)))


def test_memory_of_noise_is_found_and_widens_what_lasts_as_well() -> None:
    # least squares on one lasting column with lasting noise, against statsmodels' covariance of Newey and West
    rng = np.random.default_rng(8)
    n = 4000
    column, noise = np.empty(n), np.empty(n)
    column[0], noise[0] = 0, 0
    for i in range(1, n):
        column[i] = 0.7 * column[i - 1] + rng.normal()
        noise[i] = 0.5 * noise[i - 1] + rng.normal()
    lags = np.exp(0.3 * column)[None, :, None]
    sales = 1 + 0.2 * lags[0, :, 0] + 0.1 * noise
    made = projection.Problem(lags, sales, np.ones((n, 1)), "linear", "none", (0,), np.arange(n) - 1)
    found = projection.search(made)
    assert found.memory == pytest.approx(0.5, abs=0.03)  # two standard errors, sqrt((1 - 0.25) / 4000)
    assert found.noise == pytest.approx(0.1 / np.sqrt(1 - 0.5**2), rel=0.05)
    z = projection.responses(made, found.theta)[0]
    oracle = sm.OLS(sales, sm.add_constant(z)).fit(cov_type="HAC", cov_kwds={"maxlags": 40})
    spread = projection.draw(made, found, 2000).shares.std()
    assert spread == pytest.approx(oracle.bse[1], rel=0.15)  # an estimate of an estimate: HAC errs by some 10 % here


def test_what_a_fit_takes_out_of_the_residuals_is_given_back() -> None:
    # 30 waves and a column in 80 rows of noise without memory: residuals alone would show a correlation of about -0.3
    rng, t = np.random.default_rng(9), np.arange(80)
    waves = [f(2 * np.pi * k * t / 80) for k in range(1, 16) for f in (np.sin, np.cos)]
    base = np.column_stack([np.ones(80), *waves])
    memories, raw = [], []
    for _ in range(60):
        lags = rng.gamma(1.0, size=(1, 80, 1))
        made = projection.Problem(lags, 1 + 0.1 * rng.normal(size=80), base, "linear", "none", (0,), t - 1)
        found = projection.search(made)
        left = made.left - made.span.rest(projection.responses(made, found.theta)[0]) @ found.shares
        raw.append(left[1:] @ left[:-1] / (left @ left))
        memories.append(found.memory)
    assert np.mean(raw) < -0.2
    # cut at zero, the mean of a normal value around zero with spread 0.14 (1 / sqrt(50)) is 0.4 of that
    assert np.mean(memories) == pytest.approx(0.056, abs=0.04)


# --- the fit ----------------------------------------------------------------------------------------------------------

CALM = Ranges(channels=(3, 3), weeks=(156, 156), shapes=("hill",), flighted=1.0, noise=(0.05, 0.05), decay=(0.1, 0.6))


def fitted(made: SimulatedTable, **more: object) -> tuple[MixFit, pd.DataFrame]:
    rows = made.frame.iloc[: made.weeks]
    spec = MixSpec(made.channels, date="week", **more)  # type: ignore[arg-type]
    return fit_mix(rows, rows["sales"], spec), rows


@pytest.fixture(scope="module")
def calm() -> tuple[SimulatedTable, MixFit]:
    made = simulate(11, CALM)
    return made, fitted(made)[0]


def by_numbers(fit: MixFit, rows: pd.DataFrame, before: dict[str, Vector]) -> Vector:
    """The formula in its order, from numbers alone."""
    total = fit.baseline.sales(len(rows), rows["week"])
    for response in fit.responses:
        total = total + response.sales(rows[response.channel], before[response.channel])
    return total


def test_contributions_add_up_exactly_and_the_pipeline_gives_the_same(calm: tuple[SimulatedTable, MixFit]) -> None:
    made, fit = calm
    total = fit.base
    for channel in fit.contributions:
        total = total + fit.contributions[channel].to_numpy()
    assert (total == fit.fitted).all()
    np.testing.assert_allclose(fit.pipeline.predict(made.frame.iloc[: made.weeks]), fit.fitted, rtol=1e-12)
    assert [a.total for a in fit.answers] == pytest.approx(fit.contributions.sum().tolist())


def carry_of(fit: MixFit) -> CarryOver:
    carry: CarryOver = dict(fit.pipeline["design"].transformer_list)["media"]["carry"]
    return carry


def test_numbers_alone_predict_the_rows_fitted_and_those_after(calm: tuple[SimulatedTable, MixFit]) -> None:
    made, fit = calm
    rows, later = made.frame.iloc[: made.weeks], made.frame.iloc[made.weeks :]
    usual = {r.channel: np.full(len(r.weights) - 1, m) for r, m in zip(fit.responses, fit.means, strict=True)}
    np.testing.assert_allclose(by_numbers(fit, rows, usual), fit.fitted, rtol=1e-12)
    history = {r.channel: carry_of(fit).history_[""][:, i] for i, r in enumerate(fit.responses)}
    np.testing.assert_allclose(by_numbers(fit, later, history), fit.pipeline.predict(later), rtol=1e-12)


def test_weights_that_are_not_normalised_are_the_same_model(calm: tuple[SimulatedTable, MixFit]) -> None:
    made, fit = calm
    raw, _ = fitted(made, normalise=False)
    np.testing.assert_allclose(raw.fitted, fit.fitted, rtol=1e-9)
    assert raw.responses[0].weights[0] == 1
    assert float(raw.responses[0].steady(50.0)) == pytest.approx(float(fit.responses[0].steady(50.0)), rel=1e-9)
    np.testing.assert_allclose(raw.draws.steady(0, [50.0]), fit.draws.steady(0, [50.0]), rtol=1e-6)
    rows = made.frame.iloc[: made.weeks]
    np.testing.assert_allclose(raw.model.predict(rows), raw.fitted, rtol=1e-12)  # after the draws, as before them
    assert curves_of(raw.model).responses == raw.responses


def test_draws_are_models_of_their_own(calm: tuple[SimulatedTable, MixFit]) -> None:
    made, fit = calm
    spend = np.array([0.0, 10.0, 50.0])
    one = fit.draws.response(4, 1, "channel_2")
    np.testing.assert_allclose(fit.draws.steady(1, spend)[4], one.steady(spend), rtol=1e-12)
    np.testing.assert_allclose(fit.draws.marginal(1, spend[1:])[4], one.marginal(spend[1:]), rtol=1e-12)
    before = np.full(len(one.weights) - 1, fit.means[1])
    sales = one.sales(made.frame["channel_2"].iloc[: made.weeks], before)
    assert fit.draws.totals[4, 1] == pytest.approx(sales.sum(), rel=1e-9)
    h = 1e-6
    more = one.sales(made.frame["channel_2"].iloc[: made.weeks] * (1 + h), before * (1 + h)).sum()
    assert fit.draws.lifts[4, 1] == pytest.approx((more - sales.sum()) / h, rel=1e-4)  # a one-sided difference


def test_the_truth_comes_back_where_there_is_next_to_no_noise() -> None:
    made = simulate(12, replace(CALM, noise=(1e-4, 1e-4), decay=(0.1, 0.4)))
    fit, _ = fitted(made)
    true = made.contributions[: made.weeks].sum(axis=0)
    # spend of the year before the table is unknown to the fit, which costs about a percent
    np.testing.assert_allclose([a.total for a in fit.answers], true, rtol=0.05)
    for found, truth in zip(fit.responses, made.responses, strict=True):
        assert found.weights[1] / found.weights[0] == pytest.approx(truth.weights[1] / truth.weights[0], abs=0.03)
        spend = np.quantile(made.frame[found.channel], [0.3, 0.6, 0.9]) + 1
        np.testing.assert_allclose(found.steady(spend), truth.steady(spend), rtol=0.1)


def test_intervals_hold_the_truth_and_totals_come_near() -> None:
    error, held = [], []
    for seed in range(6):
        made = simulate(900 + seed)
        fit, _ = fitted(made)
        true = made.contributions[: made.weeks].sum(axis=0)
        error += [abs(a.total / t - 1) for a, t in zip(fit.answers, true, strict=True)]
        held += [a.low <= t <= a.high for a, t in zip(fit.answers, true, strict=True)]
    # bench/mix.py measures these over 100 tables: 0.14 and 0.92; these bounds are three standard errors of 24 channels away
    assert np.median(error) < 0.25
    assert np.mean(held) > 0.75


def test_the_truth_of_another_packages_example_is_found() -> None:
    bench = runpy.run_path(str(Path(__file__).parents[1] / "bench" / "sampler.py"))
    known = bench["example"](bench["EXAMPLE"])
    published = {
        0: (3984.662237343649, 0.3185800179359486, 0.0),
        7: (6079.099042190235, 0.3339201745242034, 0.8797818351192218),
    }
    published[178] = (4675.973438674285, 0.4388571605640426, 0.0)  # rows of pymc-marketing's data/mmm_example.csv
    for row, values in published.items():
        assert known.frame.loc[row, ["sales", "x1", "x2"]].tolist() == pytest.approx(values, rel=1e-12)
    rows = known.frame.iloc[: known.weeks]
    fit = fit_mix(rows, rows["sales"], MixSpec(known.channels, controls=known.controls, date="week", shape="auto", trend=False))
    assert fit.model.shape == "logistic"
    for found, decay, most, truth, answer in zip(
        fit.responses, (0.4, 0.2), (3000.0, 2000.0), known.truth, fit.answers, strict=True
    ):
        assert found.weights[1] / found.weights[0] == pytest.approx(decay, abs=0.06)  # two standard errors over six seeds
        assert found.coefficient == pytest.approx(most, rel=0.1)  # of six seeds the first scatters by 2 %, the second by 14
        assert answer.low <= truth <= answer.high


def test_the_same_seed_gives_the_same_numbers(calm: tuple[SimulatedTable, MixFit]) -> None:
    made, fit = calm
    again, _ = fitted(made)
    assert again.responses == fit.responses
    assert again.answers == fit.answers
    assert fitted(made, seed=1)[0].answers != fit.answers


def test_row_order_does_not_matter(calm: tuple[SimulatedTable, MixFit]) -> None:
    made, fit = calm
    rows = made.frame.iloc[: made.weeks].sample(frac=1, random_state=3)
    mixed = fit_mix(rows, rows["sales"], fit.spec)
    # sums in another order; the search stops where its gradient is about 1e-5
    assert [a.total for a in mixed.answers] == pytest.approx([a.total for a in fit.answers], rel=1e-3)


def test_what_the_table_does_not_tell_is_said() -> None:
    made = simulate(13, CALM)
    made.frame["channel_1"] = 100 + np.random.default_rng(0).normal(size=len(made.frame))  # as good as constant
    fit, _ = fitted(made)
    flat = {v.parameter for v in fit.vague if v.channel == "channel_1"}
    assert flat == {"decay", "half", "slope"}
    assert "The table does not tell the carry-over of channel_1" in fit.vague[0].sentence
    # that it is so: fixed at the far ends of what is typical, the fit loses next to nothing
    model, losses = fit.model, []
    for end in (-1.5, 0.0, 1.5):
        theta = model.found_.theta.copy()
        theta[0] = end
        losses.append(projection.objective(theta, model.problem_, model.found_.variance)[0] - end**2 / 2)
    assert np.ptp(losses) < 1.35  # half the 90 % point of chi-squared with one degree of freedom


def test_an_experiment_tells_what_the_table_does_not() -> None:
    rng = np.random.default_rng(6)
    spend = rng.gamma(1.0, 100, size=100)
    frame = weekly(list(spend), radio=spend)  # nobody can tell from the table which of the two it was
    sales = 100 + 0.08 * spend + 2 * rng.normal(size=100)
    tv, radio = fit_mix(frame, sales, MixSpec(("tv", "radio"), date="week", known={"tv": (0.06, 0.002)})).answers
    assert tv.roi == pytest.approx(0.06, abs=0.006)  # three standard errors
    assert tv.roi_high - tv.roi_low < 0.02
    assert 0.01 < radio.roi < 0.04


def test_an_experiment_is_one_more_row_of_least_squares() -> None:
    # with straight lines a known return r -/+ e is the row e^-1 b = e^-1 r beside rows divided by the noise
    frame = shipped("advertising")
    X, y = frame[["TV", "Radio"]], frame["Sales"]
    fit = fit_mix(X, y, MixSpec(("TV", "Radio"), shape="linear", known={"Radio": (0.3, 0.01)}))
    rows = np.vstack([np.column_stack([np.ones(200), X]) / fit.noise, [0, 0, 1 / 0.01]])
    oracle = np.linalg.lstsq(rows, np.append(y / fit.noise, 0.3 / 0.01), rcond=None)[0]
    # the noise that weighs the row is that of the last round but one, at most 1 % off
    assert [r.coefficient for r in fit.responses] == pytest.approx(list(oracle[1:]), rel=2e-3)


def test_two_channels_that_are_one_get_the_same_interval() -> None:
    rng = np.random.default_rng(5)
    spend = rng.gamma(1.0, 100, size=100)
    frame = weekly(list(spend), radio=spend)
    sales = 100 + 0.1 * spend + 5 * rng.normal(size=100)
    tv, radio = fit_mix(frame, sales, MixSpec(("tv", "radio"), date="week", draws=400)).answers
    true = 0.1 * spend.sum()
    # each may have brought nothing, or all; the upper ends lie where only a few draws do, so they agree to a third or so
    assert tv.low < 0.15 * true
    assert radio.low < 0.15 * true
    assert 0.6 < tv.high / radio.high < 1.7
    assert min(tv.high, radio.high) > 0.8 * true
    straight = fit_mix(frame[["tv", "radio"]], sales, MixSpec(("tv", "radio"), shape="linear"))
    assert straight.answers[0].total + straight.answers[1].total == pytest.approx(true, rel=0.1)


def test_a_straight_line_without_date_is_least_squares() -> None:
    frame = shipped("advertising")
    X, y = frame[["TV", "Radio", "Newspaper"]], frame["Sales"]
    fit = fit_mix(X, y, MixSpec(("TV", "Radio", "Newspaper"), shape="linear", free=("Newspaper",)))
    oracle = sm.OLS(y, sm.add_constant(X)).fit()
    assert [fit.baseline.intercept, *(r.coefficient for r in fit.responses)] == pytest.approx(list(oracle.params), rel=1e-9)
    assert fit.r2 == pytest.approx(0.897, abs=5e-4)  # ISLR, table 3.6
    assert fit.noise == pytest.approx(np.sqrt(oracle.scale), rel=1e-9)
    assert fit.vague == ()


def test_a_sign_holds_and_its_interval_reaches_zero() -> None:
    frame = shipped("advertising")
    fit = fit_mix(frame, frame["Sales"], MixSpec(("TV", "Radio", "Newspaper"), shape="linear"))
    newspaper = fit.answers[2]
    assert (newspaper.total, newspaper.low) == (0, 0)
    assert newspaper.high > 0


def test_one_channel_and_auto_shape() -> None:
    rng = np.random.default_rng(2)
    tv = rng.uniform(0, 300, size=200)
    y = 5 + 4 * np.log1p(tv / 20) + rng.normal(size=200) * 0.3
    fit = fit_mix(pd.DataFrame({"tv": tv}), y, MixSpec(("tv",), shape="auto"))
    assert fit.spec.shape == "log"
    assert [s.shape for s in fit.scores if s.chosen] == ["log"]
    assert fit.answers[0].low < 4 * np.log1p(tv / 20).sum() < fit.answers[0].high


def test_across_draws_from_every_curve_that_the_folds_cannot_tell_apart() -> None:
    rng = np.random.default_rng(3)
    tv = rng.uniform(0, 300, size=60)
    y = 5 + 4 * np.log1p(tv / 100) + rng.normal(size=60)
    spec = MixSpec(("tv",), shape="auto", across=True, draws=101)
    fit = fit_mix(pd.DataFrame({"tv": tv}), y, spec)
    plausible = {s.shape for s in fit.scores if s.plausible}
    assert len(plausible) > 1
    assert set(fit.draws.shapes) == plausible
    assert len(fit.draws.shapes) == 101
    counts = [fit.draws.shapes.count(s) for s in plausible]
    assert max(counts) - min(counts) < len(plausible)
    spend = np.array([0.0, 50.0, 200.0])
    for draw in (0, 50, 100):
        one = fit.draws.response(draw, 0, "tv")
        np.testing.assert_allclose(fit.draws.steady(0, spend)[draw], one.steady(spend), rtol=1e-12)
        np.testing.assert_allclose(fit.draws.marginal(0, spend[1:])[draw], one.marginal(spend[1:]), rtol=1e-12)


def test_markets_have_levels_of_their_own() -> None:
    rng = np.random.default_rng(4)
    frames = []
    for i, city in enumerate(("Bonn", "Köln", "Ulm")):
        spend = rng.gamma(0.6, 100, size=80)
        made = weekly(list(spend), city=city)
        carried = carry_over(spend, (0.5, 0.3, 0.2))
        made["sales"] = 100 * (i + 1) + 50 * np.log1p(carried / 40) + 3 * rng.normal(size=80)
        frames.append(made)
    frame = pd.concat(frames, ignore_index=True)
    fit = fit_mix(frame, frame["sales"], MixSpec(("tv",), date="week", market="city", shape="log"))
    # noise of 3 over 80 weeks, and history unknown in the first weeks
    assert list(fit.baseline.markets) == ["Bonn", "Köln", "Ulm"]
    assert list(fit.baseline.markets.values()) == pytest.approx([0, 100, 200], abs=5)
    found = fit.baseline.sales(3, frame["week"][:3], markets=["Ulm"] * 3)
    assert found == pytest.approx(np.full(3, 300), abs=15)
    assert set(carry_of(fit).history_) == {"Bonn", "Köln", "Ulm"}
    later = frame[(frame["city"] != "Ulm") | (frame["week"] > "2025-01-01")]  # a market that opened after the first folds
    assert len(fit_mix(later, later["sales"], MixSpec(("tv",), date="week", market="city", shape="auto", draws=50)).scores) == 5


def test_clone_cross_validation_and_grid_search_work(calm: tuple[SimulatedTable, MixFit]) -> None:
    made, fit = calm
    rows = made.frame.iloc[: made.weeks]
    folds = TimeSeriesSplit(3)
    model = MixRegressor(made.channels, date="week", starts=1)
    assert clone(model).get_params() == model.get_params()
    scores = cross_validate(model, rows, rows["sales"], cv=folds)["test_score"]
    assert np.isfinite(scores).all()
    open_pipeline = mix_pipeline(made.channels, date="week", window=6)
    grid = {"design__media__carry__decay": [0.2, 0.6], "design__media__saturate__half": [0.2, 1.0]}
    search = GridSearchCV(open_pipeline, grid, cv=folds).fit(rows, rows["sales"])
    assert search.best_score_ == search.cv_results_["mean_test_score"].max()
    assert search.predict(rows).shape == (made.weeks,)
    again = clone(fit.pipeline).fit(rows, rows["sales"])
    np.testing.assert_allclose(again.predict(rows), fit.fitted, rtol=1e-10)


def test_a_channel_that_begins_late_can_be_cross_validated(calm: tuple[SimulatedTable, MixFit]) -> None:
    made, _ = calm
    rows = made.frame.iloc[: made.weeks].copy()
    rows.loc[rows.index[:110], "channel_2"] = 0.0  # the first folds never saw it
    fit = fit_mix(rows, rows["sales"], MixSpec(made.channels, date="week", shape="auto", draws=50))
    assert len(fit.scores) == 5
    early = MixRegressor(made.channels, date="week", starts=1).fit(rows[:100], rows["sales"][:100])
    assert early.channels_ == ("channel_1", "channel_3")
    assert np.isfinite(early.predict(rows)).all()
    with pytest.raises(ModelError, match="Nothing was ever spent on any channel"):
        early.fit(rows.assign(channel_1=0.0, channel_2=0.0, channel_3=0.0), rows["sales"])


# --- which curve ------------------------------------------------------------------------------------------------------


def test_the_simplest_within_one_standard_error_is_chosen() -> None:
    noise = np.array([0.1, -0.1, 0.05, -0.05])
    errors: dict[Shape, list[Vector]] = {
        "linear": [np.full(4, 9.0), np.full(4, 8.0)],  # worse in every row
        "log": [4 + noise, 4.05 - noise],  # worse by 0.02, which its error covers
        "hill": [np.full(4, 4.0), np.full(4, 4.0)],
    }
    scores = {s.shape: s for s in simplest(errors)}
    assert [s for s in scores if scores[s].chosen] == ["log"]
    assert scores["hill"].worse == 0
    assert scores["linear"].worse == pytest.approx(8.5 / 4 - 1)
    assert scores["log"].rmse == pytest.approx(np.sqrt(4.025))


def test_a_curve_that_all_rows_speak_against_is_not_chosen_though_the_folds_allow_it() -> None:
    errors: dict[Shape, list[Vector]] = {"linear": [np.full(4, 4.0)], "log": [np.full(4, 4.2)], "hill": [np.full(4, 4.1)]}
    for behind, plausible in ((3.0, True), (11.0, False)):
        scores = {s.shape: s for s in simplest(errors, {"linear": behind, "log": 0.0, "hill": 2.0})}
        assert [s for s in scores if scores[s].chosen] == ["hill"]
        assert scores["linear"].worse < 0
        assert scores["linear"].plausible is plausible
    assert [s.shape for s in simplest(errors) if s.chosen] == ["linear"]


def test_all_rows_speak_against_what_cannot_be_so_and_not_where_they_cannot_tell() -> None:
    rng = np.random.default_rng(10)
    tv = rng.uniform(0, 300, size=200)
    frame, bent = pd.DataFrame({"tv": tv}), 5 + 4 * np.log1p(tv / 20)
    shapes: tuple[Shape, ...] = ("linear", "log")
    for noise, low, high in ((0.3, 10, np.inf), (20.0, 0, 2)):
        sales = bent + noise * rng.normal(size=200)
        found = information_behind({s: MixRegressor(("tv",), shape=s).fit(frame, sales) for s in shapes})
        assert low <= found["linear"] <= high
        assert min(found.values()) == 0


def test_information_is_akaikes() -> None:
    made = replace(problem("linear", "none"), signs=(0, 0, 0))
    fewer = replace(made, lags=made.lags[:2], signs=(0, 0))
    ours = [projection.information(p, projection.search(p), 1.0) for p in (made, fewer)]
    design = np.hstack([projection.responses(made, np.zeros(0))[0], made.base])
    oracle = [sm.OLS(made.sales, design).fit().aic, sm.OLS(made.sales, np.delete(design, 2, axis=1)).fit().aic]
    assert ours[0] - ours[1] == pytest.approx(oracle[0] - oracle[1], rel=1e-6)  # statsmodels adds a constant of its own


def test_a_trend_that_may_be_chance_is_pulled_in_and_a_clear_one_is_not() -> None:
    rng = np.random.default_rng(11)
    spend, noise = rng.gamma(1.0, 100, size=104), rng.normal(size=104)
    time = np.arange(104) / 103
    error = 5 / np.sqrt(104 * time.var())  # of the trend, if nothing else moved with time
    for rise in (error, 40 * error):
        frame, sales = weekly(list(spend)), 200 + rise * time + 0.1 * spend + 5 * noise
        model = MixRegressor(("tv",), date="week", season=0).fit(frame, sales)
        left = sales - model.pipeline_["regress"].coef_[0] * model.pipeline_["design"].transform(frame)[:, 0]
        found, free = model.pipeline_["regress"].coef_[1], np.polyfit(time, left, 1)[0]
        # a normal prior with the spread of the estimate keeps b^2 / (b^2 + error^2) of it; the noise variance is known to 14 %
        assert found / free == pytest.approx(free**2 / (free**2 + error**2), rel=0.2)
    straight = MixRegressor(("tv",), date="week", season=0, shape="linear", carry_over="none").fit(frame, sales)
    oracle = sm.OLS(sales, np.column_stack([np.ones(104), spend, time])).fit().params
    assert straight.pipeline_["regress"].coef_[1] == pytest.approx(oracle[2], rel=1e-9)


REFUSED = [
    ({"carry_over": "geometric"}, ModelError, "carry_over='geometric' needs a date column"),
    ({"channels": ()}, ConfigError, "A mix has at least one channel"),
    ({"free": ("radio",)}, ConfigError, "free='radio' is no channel; use one of tv."),
    ({"known": {"radio": (1.0, 0.1)}}, ConfigError, "known='radio' is no channel; use one of tv."),
    ({"known": {"tv": (1.0, 0.0)}}, ConfigError, "The lift of tv is 1 with a standard error of 0; give finite numbers"),
    ({"draws": 1}, ConfigError, "draws=1 must be at least 2"),
    ({"channels": ("tv", "idle")}, ModelError, "Nothing was ever spent on 'idle'"),
    ({"channels": ("tv", "radio")}, ModelError, "Column 'radio' is missing"),
]


@pytest.mark.parametrize(("given", "kind", "sentence"), REFUSED)
def test_what_cannot_be_fitted_is_refused(given: dict[str, object], kind: type[Exception], sentence: str) -> None:
    frame = pd.DataFrame({"tv": [1.0, 2, 3, 4, 5, 6, 7, 8], "idle": 0.0})
    with pytest.raises(kind, match=sentence):
        fit_mix(frame, frame["tv"], MixSpec(**({"channels": ("tv",)} | given)))  # type: ignore[arg-type]


def panel_with(opens: int) -> pd.DataFrame:
    """A hundred weeks of two markets, and of a third from a week on."""
    rng = np.random.default_rng(4)
    weeks = pd.date_range("2022-01-03", periods=100, freq="W-MON")
    frames = []
    for market, level, first in (("Bonn", 50, 0), ("Köln", 80, 0), ("Ulm", 200, opens)):
        spend = rng.gamma(2.0, 20.0, 100)
        sales = level + 30 * np.log1p(spend / 30) + rng.normal(0, 1, 100)
        frames.append(pd.DataFrame({"week": weeks, "city": market, "tv": spend, "sales": sales}).iloc[first:])
    return pd.concat(frames).sort_values(["week", "city"], ignore_index=True)


@pytest.mark.parametrize("opens", [60, 78])
def test_a_market_that_opens_late_is_fitted(opens: int) -> None:
    study = adresponse.fit(
        panel_with(opens), target="sales", channels=["tv"], date="week", market="city", shape="log", carry_over="none"
    )
    assert study.mix is not None
    # the levels differ by 150 from Bonn's; the noise of two rows and more is 1
    assert study.mix.baseline.markets["Ulm"] == pytest.approx(150, abs=4)


def test_a_market_that_opens_after_what_is_fitted_is_refused() -> None:
    with pytest.raises(ConfigError, match="Market 'Ulm' has rows among the 42 held out, and none among the 168 fitted"):
        adresponse.fit(panel_with(90), target="sales", channels=["tv"], date="week", market="city", shape="log")


@pytest.mark.parametrize(("step", "waves"), [("YS", 0), ("6MS", 0), ("QS", 1), ("MS", 2)])
def test_a_season_has_no_more_waves_than_the_periods_tell_apart(step: str, waves: int) -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"tv": rng.gamma(2.0, 20.0, 40), "week": pd.date_range("1985-01-01", periods=40, freq=step)})
    sales = 100 + 3 * np.sqrt(frame["tv"]) + rng.normal(0, 2, 40)
    asked = {"date": "week", "shape": "log", "carry_over": "none"}
    design = dict(MixRegressor(("tv",), **asked).fit(frame, sales).pipeline_["design"].transformer_list)
    names = [str(n) for n in design["base"].get_feature_names_out()]
    assert sum(n.startswith(("sin", "cos")) for n in names) == 2 * waves
    if waves < 2:
        with pytest.raises(ModelError, match=f"give at most {waves}"):
            MixRegressor(("tv",), season=2, **asked).fit(frame, sales)
