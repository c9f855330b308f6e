"""What a plan needs of a model comes back as it was stored, and is right where it can be computed by hand."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import stored_example
from adresponse.baseline import Baseline
from adresponse.curved import Curves, History
from adresponse.curves import Response
from adresponse.errors import ConfigError, ModelError
from adresponse.models import formula_of
from adresponse.periods import Calendar
from adresponse.planning.own import amounts
from adresponse.planning.prospect import RECENT, Prospect, prospect_of, straight
from adresponse.planning.split import best_plan, score
from adresponse.planning.wishes import Wish
from adresponse.schema import Contract
from plans_example import NAMES, PLACES, placed

WEEKLY = Contract.build(target="sales", channels=["tv", "search"], controls=["price"], date="week", market="region")


def line() -> Prospect:
    study = stored_example.three_channels()
    formula = formula_of(study.estimator, study.table.frame, study.table.contract, study.spread, {})
    found = study.prospect(formula)
    assert found is not None
    return found


def weekly() -> Prospect:
    weeks = pd.date_range("2024-01-01", periods=60, freq="W-MON")
    frame = pd.DataFrame({"week": np.repeat(weeks, 2), "region": ["North", "South"] * 60})
    frame["tv"] = np.arange(120.0)
    frame["search"] = 5.0
    frame["price"] = 2.0
    frame["sales"] = 1.0
    calendar = Calendar.of(weeks)
    base = Baseline(100.0, 12.0, (3.0, 4.0), {"price": -5.0}, {"North": 0.0, "South": 10.0}, calendar, 59)
    responses = (Response("tv", "hill", 50.0, 1.2, 30.0, (0.6, 0.3, 0.1)), Response("search", "log", 4.0, 1.0, 7.0))
    rows = ((1.0, 2.0), (3.0, 4.0))
    curves = Curves(base, responses, History(59, (10.0, 5.0), {"North": rows, "South": rows}))
    return prospect_of(WEEKLY, frame, curves, draws=[curves, curves])


@pytest.mark.parametrize("made", [line, weekly])
def test_it_comes_back_as_it_was_stored(made: object) -> None:
    found = made()  # type: ignore[operator]
    back = Prospect.from_json(found.to_json())
    assert back.to_json() == found.to_json()
    assert (back.contract, back.today, back.before, back.covariance) == (
        found.contract,
        found.today,
        found.before,
        found.covariance,
    )


def test_a_market_that_has_closed_is_in_no_plan() -> None:
    open_ones = weekly().outlook(2)
    weeks = pd.date_range("2024-01-01", periods=60, freq="W-MON")
    rows = [(week, m) for at, week in enumerate(weeks) for m in ("North", "South") if m == "South" or at < 60 - RECENT]
    frame = pd.DataFrame(rows, columns=["week", "region"]).assign(tv=10.0, search=5.0, price=2.0, sales=1.0)
    found = prospect_of(WEEKLY, frame, weekly().curves)
    assert found.closed == Prospect.from_json(found.to_json()).closed == ("North",)
    outlook = found.outlook(2)
    # South sells 10 more than North, so 5 more than the mean of both
    np.testing.assert_allclose(np.asarray(outlook.base), np.asarray(open_ones.base) + 5, rtol=1e-12)
    assert best_plan(outlook, Wish()).notes[0] == "Left out, since there are no rows of late: North."


def test_today_s_spend_of_a_daily_table_has_each_day_of_the_week_twice() -> None:
    days = pd.date_range("2024-01-01", periods=70)  # Mondays to Sundays; on Sundays nothing is spent
    frame = pd.DataFrame({"day": days, "tv": np.where(days.day_of_week == 6, 0.0, 7.0), "sales": 1.0})
    base = Baseline(100.0, calendar=Calendar.of(days), span=69, weekdays=(0.0, *range(1, 7)))
    curves = Curves(base, (Response("tv", "log", 4.0, 1.0, 7.0),), History(69, (6.0,), {"": ()}))
    found = prospect_of(Contract.build(target="sales", channels=["tv"], date="day"), frame, curves)
    assert found.today["tv"] == pytest.approx(6)


def test_the_next_working_days_are_planned() -> None:
    """Rows from Mondays to Fridays, and one Saturday, held out, on which more was spent: it is no day that is planned with."""
    days = pd.bdate_range("2024-01-01", periods=65)  # to Friday, 2024-03-29
    late = days.append(pd.DatetimeIndex(["2024-03-30"]))
    base = Baseline(100.0, calendar=Calendar.of(days), span=64, weekdays=(0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 0.0))
    curves = Curves(base, (Response("tv", "log", 4.0, 1.0, 7.0, (0.5, 0.25)),), History(64, (6.0,), {"": ((7.0,),)}))
    frame = pd.DataFrame({"day": late, "tv": np.where(late.day_of_week == 4, 2.0, 7.0), "sales": 1.0})
    frame.loc[65, "tv"] = 1000.0
    found = prospect_of(Contract.build(target="sales", channels=["tv"], date="day"), frame, curves)
    assert [day[:10] for day in found.dates(3)] == ["2024-04-01", "2024-04-02", "2024-04-03"]
    assert found.today["tv"] == pytest.approx(6)  # of ten days, each of the week twice
    assert found.before["tv"] == (2.0,)  # that Friday
    own = pd.DataFrame({"day": ["2024-03-30"], "tv": [5.0]})
    with pytest.raises(ConfigError, match="row 1 is 2024-03-30, where 2024-04-01 is due"):
        amounts(own, found)
    assert amounts(own.assign(day="2024-04-01"), found) == ({"tv": [5.0]}, 1)


def test_today_of_a_straight_line_is_that_of_the_last_periods_where_the_table_has_dates() -> None:
    weeks = pd.date_range("2024-01-01", periods=60, freq="W-MON")
    frame = pd.DataFrame({"tv": np.arange(60.0), "price": np.arange(60.0)}).assign(sales=1.0)
    curves = Curves(Baseline(100.0, controls={"price": -5.0}), (Response("tv", "linear", 1.0, 1.0, 2.0),))
    roles = {"target": "sales", "channels": ["tv"], "controls": ["price"]}
    dated = prospect_of(Contract.build(**roles, date="week"), frame.assign(week=weeks[::-1]), curves)
    assert (dated.today, dated.controls) == ({"tv": 6.0}, {"price": 6.0})  # rows 0 to 12 are the last weeks
    assert dated.outlook().periods == 1
    assert prospect_of(Contract.build(**roles), frame, curves).today == {"tv": 29.5}


@pytest.mark.parametrize(
    ("step", "rows"),
    [
        ("W-MON", 13),
        ("MS", 13),
        ("QS", 5),  # 13 would be three years
        ("YS", 2),  # 13 would be as many years
    ],
)
def test_what_is_spent_today_is_not_what_was_spent_years_ago(step: str, rows: int) -> None:
    dates = pd.date_range("1984-01-01", periods=40, freq=step)
    frame = pd.DataFrame({"date": dates, "tv": np.arange(40.0), "sales": 1.0})
    curves = Curves(Baseline(100.0, calendar=Calendar.of(dates), span=39), (Response("tv", "log", 4.0, 1.0, 7.0),))
    found = prospect_of(Contract.build(target="sales", channels=["tv"], date="date"), frame, curves)
    assert found.today["tv"] == np.arange(40.0)[-rows:].mean()


def test_a_plan_says_where_it_goes_farther_than_the_rows_speak_for() -> None:
    # 60 weeks from 2024-01-01, and as many after them: the last is 118 weeks after the first
    assert weekly().outlook(59).late is None
    said = "Planned are 2025-02-24 to 2026-04-13, beyond the dates that the rows fitted speak for, 2024-01-01 to 2026-04-06"
    assert any(note.startswith(said) for note in best_plan(weekly().outlook(60), Wish()).notes)


@pytest.mark.parametrize(("level", "said"), [(0.99, False), (0.991, True)])
def test_an_interval_that_the_draws_cannot_tell_is_said_to_be_too_narrow(level: float, said: bool) -> None:
    made = weekly()
    outlook = dataclasses.replace(made, draws=made.draws * 100).outlook(4)  # two of 200 draws lie outside 99 %
    notes = best_plan(outlook, Wish(level=level)).notes
    assert any(note == "Intervals of 99.1 % are the outermost of 200 draws, and too narrow." for note in notes) is said


def test_a_plan_for_several_markets_says_that_it_is_for_one() -> None:
    assert "average one of the 2 markets" in best_plan(weekly().outlook(4), Wish()).notes[0]
    assert not any("market" in note for note in best_plan(line().outlook(), Wish()).notes)


@pytest.mark.parametrize(
    ("market", "today", "before", "level"), [("North", 106, (116, 118), 0), ("South", 107, (117, 119), 10)]
)
def test_a_plan_for_one_market_has_its_spend_and_its_level(
    market: str, today: float, before: tuple[float, ...], level: float
) -> None:
    found = Prospect.from_json(weekly().to_json())
    one, average = found.outlook(2, market), found.outlook(2)
    assert (one.today["tv"], one.before["tv"]) == (today, before)  # North has the even numbers up to 118, South the odd ones
    np.testing.assert_allclose(np.asarray(one.base), np.asarray(average.base) + level - 5, rtol=1e-12)
    assert np.shape(one.draw_bases) == (2, 2)
    np.testing.assert_allclose(np.asarray(one.draw_bases)[0], np.asarray(one.base), rtol=1e-12)
    assert one.responses == average.responses
    assert f"for the market {market}," in best_plan(one, Wish()).notes[0]


def test_an_average_market_lies_between_the_markets() -> None:
    found = placed()
    each = [found.outlook(4, name) for name in PLACES]
    average = dataclasses.replace(found, places={}).outlook(4)
    for name in NAMES:
        assert average.today[name] == pytest.approx(np.mean([o.today[name] for o in each]))
        assert average.before[name] == pytest.approx(np.mean([o.before[name] for o in each], axis=0))
    np.testing.assert_allclose(np.asarray(average.base), np.mean([o.base for o in each], axis=0), rtol=1e-12)


def test_each_market_counts_once_in_the_average_one_however_many_rows_it_has_of_late() -> None:
    weeks = pd.date_range("2024-01-01", periods=60, freq="W-MON")
    rows = [(week, m) for at, week in enumerate(weeks) for m in ("North", "South") if m == "North" or at < 50]
    frame = pd.DataFrame(rows, columns=["week", "region"]).assign(search=5.0, price=2.0, sales=1.0)
    frame["tv"] = np.where(frame["region"] == "North", 100.0, 20.0)  # North has 13 weeks of late, South has 3
    responses = (Response("tv", "linear", 1.0, 1.0, 0.5, (0.6, 0.3, 0.1)), Response("search", "linear", 1.0, 1.0, 2.0))
    curves = dataclasses.replace(weekly().curves, responses=responses)
    found = prospect_of(WEEKLY, frame, curves)
    assert found.today["tv"] == 60
    # straight lines bring on average what average spend brings
    plans = [score(found.outlook(4, market), {"tv": 240.0, "search": 20.0}) for market in (None, "North", "South")]
    assert plans[0].sales == pytest.approx(np.mean([p.sales for p in plans[1:]]), rel=1e-12)
    assert plans[0].today_sales == pytest.approx(np.mean([p.today_sales for p in plans[1:]]), rel=1e-12)


def test_the_gain_of_a_market_is_over_its_own_split() -> None:
    plans = {name: best_plan(placed().outlook(4, name), Wish()) for name in PLACES}
    north, south = plans.values()
    assert 1.5 * north.today_total < south.today_total < 2.5 * north.today_total
    today = {name: 4 * placed().places["North"].today[name] for name in NAMES}
    assert score(placed().outlook(4, "North"), today, Wish()).gain == pytest.approx(0, abs=1e-9 * north.sales)
    assert score(placed().outlook(4, "Süd & West"), today, Wish()).gain < -1


@pytest.mark.parametrize(
    ("made", "market", "said"),
    [
        (line, "North", "the model knows no markets"),
        (weekly, "Nord", "Did you mean 'North'? It has North and South."),
        (placed, "Gone", "has no rows of late"),
        (lambda: dataclasses.replace(weekly(), places={}), "North", "was not kept by itself by the older adresponse"),
    ],
)
def test_a_market_that_cannot_be_planned_for_is_refused(made: Callable[[], Prospect], market: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"market='{market}' ") + ".*" + re.escape(said)):
        made().outlook(market=market)


def test_what_an_older_version_kept_still_plans_for_an_average_market() -> None:
    given = json.loads(weekly().to_json())
    del given["places"]
    assert Prospect.from_json(json.dumps(given)).outlook(2).today == weekly().outlook(2).today


def test_a_line_is_the_formula_and_its_robust_covariance() -> None:
    study, found = stored_example.three_channels(), line()
    outlook = found.outlook()
    assert study.linear is not None
    slopes = [c.estimate for c in study.linear.coefficients[1:]]
    assert [r.coefficient for r in outlook.responses] == pytest.approx(slopes, rel=1e-12)
    covariance = np.array(found.covariance)
    errors = [c.se_hc3 for c in study.linear.coefficients]
    assert np.sqrt(np.diag(covariance)) == pytest.approx(errors, rel=1e-9)
    plan = best_plan(outlook, Wish())
    spent = study.table.X[list(outlook.channels)].mean()
    assert plan.today_total == pytest.approx(spent.sum(), rel=1e-12)
    by_hand = study.linear.coefficients[0].estimate + float(spent.to_numpy() @ slopes)
    assert plan.today_sales == pytest.approx(by_hand, rel=1e-12)


def test_the_next_periods_by_hand() -> None:
    found = weekly()
    assert found.dates(2) == ["2025-02-24T00:00:00", "2025-03-03T00:00:00"]
    angle = 2 * np.pi * np.array(found.dates(2), dtype="datetime64[s]").astype(int) / (365.2425 * 86400)
    by_hand = 100 + 12 * np.array([60, 61]) / 59 + 3 * np.sin(angle) + 4 * np.cos(angle) - 5 * 2 + (0 + 10) / 2
    np.testing.assert_allclose(np.asarray(found.outlook(2).base), by_hand, rtol=1e-12)
    assert found.before["tv"] == (116.5, 118.5)  # mean over the two markets in the last two weeks
    assert found.today["tv"] == pytest.approx(np.arange(94, 120).mean())  # the last 13 weeks


def test_a_period_without_rows_had_the_spend_that_predictions_take_for_it() -> None:
    curves = weekly().curves
    weeks = pd.date_range("2024-01-01", periods=60, freq="W-MON").delete(58)
    frame = pd.DataFrame({"week": weeks, "region": "North", "tv": 7.0, "search": 5.0, "price": 2.0, "sales": 1.0})
    found = prospect_of(WEEKLY, frame, curves)
    assert curves.history is not None
    assert found.before["tv"] == (curves.history.means[0], 7.0)


@pytest.mark.parametrize(("made", "horizon"), [(line, 2), (weekly, 0), (weekly, 521)])
def test_a_horizon_that_cannot_be_planned_is_refused(made: object, horizon: int) -> None:
    with pytest.raises(ConfigError, match=f"horizon={horizon} cannot be planned"):
        made().outlook(horizon)  # type: ignore[operator]


def test_what_is_no_prospect_is_refused() -> None:
    for text in ("{}", "[]", "x", '{"schema": "adresponse/prospect", "schema_version": 99}'):
        with pytest.raises(ModelError):
            Prospect.from_json(text)


def test_a_model_without_closed_form_has_none() -> None:
    study = stored_example.curved()
    formula = formula_of(study.estimator, study.table.frame, study.table.contract, study.spread, {})
    assert study.prospect(formula) is None
    with pytest.raises(ModelError, match="cannot be planned"):
        straight(formula)


def plan_file(folder: Path, text: str) -> Path:
    path = folder / "my plan.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_plan_by_period_is_taken_in_the_order_of_its_dates(tmp_path: Path) -> None:
    # the 60 weeks of the table end with that of 2025-02-17
    newest_first = plan_file(tmp_path, "week,tv,search\n2025-03-10,3,6\n2025-03-03,2,5\n2025-02-24,1,4\n")
    assert amounts(newest_first, weekly()) == ({"tv": [1, 2, 3], "search": [4, 5, 6]}, 3)
    undated = plan_file(tmp_path, "tv,search\n3,6\n2,5\n")
    assert amounts(undated, weekly()) == ({"tv": [3, 2], "search": [6, 5]}, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("week,tv\n1999-01-04,1\n", "row 1 is 1999-01-04, where 2025-02-24 is due"),
        ("week,tv\n,1\n", "column 'week', row 1 is no date"),
        ("week,tv\n2024-02-26,1\n2024-03-04,2\n", "row 1 is 2024-02-26, where 2025-02-24 is due"),
        ("week,tv\n2025-02-24,1\n2025-03-10,2\n", "row 2 is 2025-03-10, where 2025-03-03 is due"),
        ("week,tv\n2025-02-24,1\n2025-02-24,2\n", "row 2 is 2025-02-24, where 2025-03-03 is due"),
        ("week,tv\n2025-02-24,1\n,2\n", "column 'week', row 2 is no date"),
        ("week,tv\n", "has no rows"),
        ("week,tv\n2025-02-24,1\n2025-03-03,many\n", "column 'tv', row 2 is no amount"),
        (
            "channel,budget\ntv,1\nsearch,2\n",
            "give a column for each, tv, search, and the amounts below. It has channel",
        ),
    ],
)
def test_a_plan_that_cannot_be_read_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        amounts(plan_file(tmp_path, text), weekly())
