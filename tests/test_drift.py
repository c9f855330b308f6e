"""Is a moved column found, an unchanged one left alone, and too small a sample called so?"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from adresponse.schema import Contract
from adresponse.watching.drift import dependence, drift, holm, psi, rows_needed, same_season

CONTRACT = Contract.build(
    target="Sales", channels=["TV", "Radio"], dictionary={"TV": {"means": "", "unit": "thousand dollars"}}
)
WEEKLY = Contract.build(target="Sales", channels=["TV"], date="week")


def rows(rng: np.random.Generator, n: int, shift: float = 0.0) -> pd.DataFrame:
    tv = rng.normal(100 + shift, 20, n)
    return pd.DataFrame({"TV": tv, "Radio": rng.normal(50, 10, n), "Sales": tv / 10 + rng.normal(0, 1, n)})


def weeks(rng: np.random.Generator, n: int, start: str, r: float = 0.0, season: float = 0.0) -> pd.DataFrame:
    noise = rng.standard_normal(n + 50)
    for i in range(1, len(noise)):
        noise[i] += r * noise[i - 1]
    dates = pd.date_range(start, periods=n, freq="7D")
    tv = 100 + 20 * noise[50:] + season * np.sin(2 * np.pi * dates.day_of_year / 365.25)
    return pd.DataFrame({"week": dates, "TV": tv, "Sales": rng.normal(10, 1, n)})


def test_the_statistics_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    before, now = rows(rng, 200), rows(rng, 100, shift=10)
    tv = drift(CONTRACT, before, now, level=0.05)[0][0]
    expected = stats.ks_2samp(before["TV"], now["TV"])
    assert (tv.ks, tv.p) == (expected.statistic, expected.pvalue)
    moved = stats.wasserstein_distance(before["TV"], now["TV"])
    assert tv.wasserstein == moved
    assert tv.wasserstein_sd == pytest.approx(moved / before["TV"].std())
    assert (tv.rows_before, tv.rows_now) == (200, 100)


@pytest.mark.parametrize("p", [[0.01, 0.04, 0.03], [0.5, 0.5], [0.001], [0.02, 0.02, 0.9, 0.0]])
def test_holm_is_that_of_statsmodels(p: list[float]) -> None:
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_psi_by_hand() -> None:
    # ten bins of ten rows before; now every row lies in the last bin, and an empty bin counts as half a row
    before, now = np.arange(100.0), np.full(95, 99.0)
    empty, full = 0.5 / (95 + 9 * 0.5), 95 / (95 + 9 * 0.5)
    expected = 9 * (empty - 0.1) * math.log(empty / 0.1) + (full - 0.1) * math.log(full / 0.1)
    assert psi(before, now) == (pytest.approx(expected), 10)
    assert psi(before, before)[0] == 0


def test_a_moved_column_is_named_with_its_figures_and_the_others_are_not() -> None:
    rng = np.random.default_rng(2)
    columns, findings = drift(CONTRACT, rows(rng, 200), rows(rng, 100, shift=20), level=0.05)
    assert [c.status for c in columns] == ["drifted", "not found", "drifted"]  # sales follow TV
    assert "TV lies elsewhere than before: mean" in columns[0].sentence
    assert "thousand dollars" in columns[0].sentence
    assert [(f.code, f.severity) for f in findings] == [("W011", "review"), ("W011", "review")]
    assert [f.advice.partition(" ")[0] for f in findings] == ["Moved", "Sales"]  # of an input, and of what follows it


def test_a_drift_that_is_sure_but_small_is_a_note() -> None:
    rng = np.random.default_rng(3)
    _, findings = drift(CONTRACT, rows(rng, 20_000), rows(rng, 20_000, shift=1.5), level=0.05)
    assert {(f.code, f.severity) for f in findings} == {("W011", "note")}


@pytest.mark.parametrize("n", [3, 12, 17])
def test_a_small_sample_is_too_few_and_says_how_many_are_needed(n: int) -> None:
    rng = np.random.default_rng(4)
    columns, findings = drift(CONTRACT, rows(rng, 200), rows(rng, n), level=0.05, min_rows=5)
    assert {c.status for c in columns} == {"too few"}
    needed = math.ceil(rows_needed(200, 0.05 / 3))
    assert f"{n} rows are too few to tell; {needed} would be needed" in columns[0].sentence
    assert [f.code for f in findings] == ["W010"]


def test_the_rules_may_ask_for_more_rows_than_the_test() -> None:
    rng = np.random.default_rng(4)
    columns, _ = drift(CONTRACT, rows(rng, 200), rows(rng, 30), level=0.05, min_rows=40)
    assert "30 rows are too few to tell; the rules ask for 40." in columns[0].sentence


def test_no_drift_found_says_what_would_have_been_found() -> None:
    rng = np.random.default_rng(5)
    columns, findings = drift(CONTRACT, rows(rng, 200), rows(rng, 100), level=0.05)
    assert {c.status for c in columns} == {"not found"}
    assert not findings
    assert "standard deviations would have been found in four of five cases" in columns[0].sentence


def test_the_rows_needed_find_the_shift_in_four_of_five_cases() -> None:
    rng, n = np.random.default_rng(6), math.ceil(rows_needed(200, 0.05))
    found = [
        stats.ks_2samp(rng.standard_normal(200), rng.standard_normal(n) + 1, method="asymp").pvalue <= 0.05 for _ in range(400)
    ]
    # 80 to 87 of 100 (see rows_needed), and two standard errors of 400 cases to each side
    assert 0.76 <= np.mean(found) <= 0.91


def test_reference_rows_may_be_too_few_for_any_number_of_new_ones() -> None:
    rng = np.random.default_rng(7)
    columns, _ = drift(CONTRACT, rows(rng, 15), rows(rng, 100), level=0.05)
    assert math.isinf(rows_needed(15, 0.05 / 3))
    assert "the rows fitted are too few, too, to see a shift" in columns[1].sentence


def test_independent_rows_are_called_drifted_no_more_often_than_stated() -> None:
    rng = np.random.default_rng(8)
    alarms = sum(
        any(c.status == "drifted" for c in drift(CONTRACT, rows(rng, 100), rows(rng, 50), level=0.1)[0]) for _ in range(200)
    )
    # at a level of 10 %, 200 repetitions give 33 or more with a chance below 1 in 500
    assert alarms <= 32


def test_neighbours_that_are_alike_count_for_less() -> None:
    rng = np.random.default_rng(9)
    # the correlation 0.6 is worth (1 + 0.6) / (1 - 0.6) = 4; 3,000 weeks leave an error of about 0.2
    assert dependence(WEEKLY, weeks(rng, 3000, "1960-01-04", r=0.6), "TV") == pytest.approx(4, abs=0.5)
    assert dependence(WEEKLY, weeks(rng, 300, "2015-01-05"), "TV") == 1
    assert dependence(CONTRACT, rows(rng, 100), "TV") == 1  # no date, no order


def test_alike_weeks_do_not_raise_false_alarms() -> None:
    rng, alarms, naive = np.random.default_rng(10), 0, 0
    for _ in range(150):
        both = weeks(rng, 260, "2015-01-05", r=0.7)
        before, now = both.iloc[:156], both.iloc[156:]
        tv = drift(WEEKLY, before, now, level=0.05)[0][0]
        alarms += tv.status == "drifted"
        naive += bool(stats.ks_2samp(before["TV"], now["TV"]).pvalue <= 0.025)
    assert naive >= 15  # taking each week for an independent row is wrong in a tenth of all cases or more
    assert alarms <= 14  # 5 % of 150 is 7.5; 15 or more come with a chance below 1 in 100


PANEL = Contract.build(target="Sales", channels=["TV"], date="week", market="city")


def cities(rng: np.random.Generator, n: int, start: str, markets: int, together: float, shift: float = 0.0) -> pd.DataFrame:
    """Weeks of markets of other sizes whose spend moves together with the correlation ``together``."""
    dates = pd.date_range(start, periods=n, freq="7D")
    own = rng.standard_normal((n, markets)) * np.sqrt(1 - together) + rng.standard_normal((n, 1)) * np.sqrt(together)
    spend = np.arange(1, markets + 1) * (100 + 20 * (own + shift))
    frame = pd.DataFrame({"week": np.repeat(dates, markets), "TV": spend.ravel(), "city": [f"{i}" for i in range(markets)] * n})
    return frame.assign(Sales=rng.normal(10, 1, len(frame)))


def test_markets_that_move_together_count_for_less() -> None:
    rng = np.random.default_rng(15)
    rows = cities(rng, 2000, "1960-01-04", 5, 0.5)
    # 1 + 4 * 0.5; of lying above the median, normal values have the correlation 2 / pi * asin(0.5) = 1 / 3
    assert dependence(PANEL, rows, "TV") == pytest.approx(3, abs=0.2)
    assert dependence(PANEL, rows, "TV", shares=True) == pytest.approx(1 + 4 / 3, abs=0.2)
    assert dependence(PANEL, rows, "Sales") == 1
    assert dependence(PANEL, rows.iloc[::5], "TV") == 1  # one market


def test_markets_that_move_together_raise_no_false_alarms_and_a_shift_is_found() -> None:
    rng, alarms, found = np.random.default_rng(16), 0, 0
    for _ in range(100):
        before = cities(rng, 156, "2015-01-05", 12, 0.4)
        for shift in (0.0, 1.0):
            now = cities(rng, 26, "2018-01-01", 12, 0.4, shift)
            drifted = drift(PANEL, before, now, level=0.05)[0][0].status == "drifted"
            alarms, found = (alarms, found + drifted) if shift else (alarms + drifted, found)
    assert alarms <= 7  # of 2.5 % each, 8 of 100 come with a chance below 1 in 100; as independent rows they were 25
    assert found >= 80  # of one standard deviation


def test_with_a_full_year_the_same_season_is_compared() -> None:
    rng = np.random.default_rng(11)
    before, now = weeks(rng, 156, "2021-01-04", season=60), weeks(rng, 13, "2024-01-01", season=60)
    used, season, findings = same_season(WEEKLY, before, now)
    assert season
    assert not findings
    assert set(pd.DatetimeIndex(used["week"]).month) == {1, 2, 3}
    tv = drift(WEEKLY, before, now, level=0.05)[0][0]
    assert (tv.basis, tv.rows_before, tv.status) == ("same season", len(used), "too few")
    assert stats.ks_2samp(before["TV"], now["TV"]).pvalue < 0.05  # the whole year would have been an alarm


def test_less_than_a_year_cannot_tell_season_from_drift() -> None:
    rng = np.random.default_rng(12)
    _, season, findings = same_season(WEEKLY, weeks(rng, 40, "2024-01-01"), weeks(rng, 10, "2024-10-07"))
    assert not season
    assert [f.code for f in findings] == ["W013"]
    assert "cover 273 days, less than a year" in findings[0].message


def test_values_outside_the_range_are_counted() -> None:
    rng = np.random.default_rng(13)
    before, now = rows(rng, 200), rows(rng, 50)
    now.loc[:9, "TV"] = 500.0
    assert drift(CONTRACT, before, now, level=0.05)[0][0].beyond >= 10 / 50
