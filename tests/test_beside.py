"""Is each market compared with itself, so that which of them report moves no column, and is another mix of them said?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from adresponse.rows import Reads
from adresponse.schema import Contract
from adresponse.watching.arrivals import arrive
from adresponse.watching.beside import another_mix, beside
from adresponse.watching.drift import drift, largest_gap, psi

PANEL = Contract.build(target="Sales", channels=["TV", "Radio"], market="city")
POOLED = Contract.build(target="Sales", channels=["TV", "Radio"])
SIZES = {"Ghent": 1.0, "Lyon": 2.0, "Nice": 5.0, "Oslo": 10.0, "Paris": 20.0, "Rome": 50.0}


def cities(rng: np.random.Generator, rows: int | dict[str, int], shift: float = 0.0) -> pd.DataFrame:
    """Rows of cities that spend and sell by their sizes; TV lies ``shift`` of its standard deviations higher in each."""
    parts = []
    for name, n in (rows if isinstance(rows, dict) else dict.fromkeys(SIZES, rows)).items():
        spend = rng.gamma(2, [20, 10], (n, 2)) + shift * np.sqrt(2) * np.array([20, 0])
        sales = 100 + spend @ [0.5, 0.3] + rng.normal(0, 4, n)
        parts.append(pd.DataFrame(SIZES[name] * spend, columns=["TV", "Radio"]).assign(Sales=SIZES[name] * sales, city=name))
    return pd.concat(parts, ignore_index=True)


def test_one_market_is_compared_as_a_table_without_markets_is() -> None:
    rng = np.random.default_rng(1)
    before, now = (cities(rng, {"Lyon": n}) for n in (100, 40))
    sides = beside(before, now, "TV", "city")
    assert sides.within
    assert sides.worth == pytest.approx(100)
    assert sides.sd == pytest.approx(before["TV"].std())
    expected = stats.ks_2samp(before["TV"], now["TV"]).statistic
    assert largest_gap(sides.place_before, sides.place_now, sides.weight) == pytest.approx(expected)
    assert psi(sides.place_before, sides.place_now, sides.weight)[0] == pytest.approx(psi(sides.before, sides.now)[0], abs=0.05)


def test_rows_before_weigh_as_their_market_does_now() -> None:
    before = pd.DataFrame({"city": ["Lyon"] * 8 + ["Nice"] * 2 + ["Rome"] * 5, "TV": np.arange(15.0)})
    now = pd.DataFrame({"city": ["Lyon"] * 2 + ["Nice"] * 6, "TV": np.arange(8.0)})
    sides = beside(before, now, "TV", "city")
    assert list(sides.weight) == pytest.approx([2.5 / 8] * 8 + [7.5 / 2] * 2)  # 10 rows of two cities, as 2 to 6; none of Rome
    assert sides.worth == pytest.approx(100 / (8 * (2.5 / 8) ** 2 + 2 * (7.5 / 2) ** 2))
    repeated = np.repeat(np.arange(10), [1] * 8 + [12] * 2)  # the same weights as rows: 1 to 12
    gap = largest_gap(sides.place_before, sides.place_now, sides.weight)
    assert gap == pytest.approx(stats.ks_2samp(sides.place_before[repeated], sides.place_now).statistic)


@pytest.mark.parametrize("report", [("Paris", "Rome"), ("Ghent", "Lyon")])
def test_which_markets_report_moves_no_column(report: tuple[str, ...]) -> None:
    rng = np.random.default_rng(2)
    before, now = cities(rng, 60), cities(rng, dict.fromkeys(report, 30))
    columns, findings = drift(PANEL, before, now, level=0.05)
    assert {(c.status, c.basis, c.rows_before) for c in columns} == {("not found", "same markets", 120)}
    assert columns[0].mean_before == pytest.approx(before.loc[before["city"].isin(report), "TV"].mean())
    assert [(f.code, f.severity) for f in findings] == [("W022", "note")]
    assert all(f"{name} 50 % (before 17 %)" in findings[0].message for name in report)
    assert findings[0].message.count(" 0 % (before 17 %)") == 4
    # taken together, every column would have moved
    assert {c.status for c in drift(POOLED, before, now, level=0.05)[0]} == {"drifted"}


def test_what_moved_within_markets_is_found_though_markets_differ_in_size() -> None:
    rng = np.random.default_rng(3)
    before, now = cities(rng, 60), cities(rng, dict.fromkeys(("Ghent", "Rome"), 40), shift=1)
    columns, findings = drift(PANEL, before, now, level=0.05)
    assert [c.status for c in columns] == ["drifted", "not found", "drifted"]  # sales follow TV
    assert columns[0].wasserstein_sd == pytest.approx(1, abs=0.3)  # in standard deviations of a market, as simulated
    moved = next(f.message for f in findings if f.code == "W011")
    assert moved.startswith("TV lies elsewhere than the same markets of the rows fitted: mean")
    assert "standard deviations of a market on average" in moved


def test_the_level_holds_where_few_rows_of_a_market_stand_beside_few() -> None:
    rng, alarms = np.random.default_rng(4), 0
    for _ in range(200):
        before, now = cities(rng, 3), cities(rng, {"Nice": 9, "Oslo": 2, "Paris": 1, "Rome": 12})
        alarms += any(c.status == "drifted" for c in drift(PANEL, before, now, level=0.1)[0])
    # at a level of 10 %, 200 repetitions give 33 or more with a chance below 1 in 500
    assert alarms <= 32


def test_markets_with_one_row_before_have_a_spread() -> None:
    rng = np.random.default_rng(5)
    columns, _ = drift(PANEL, cities(rng, 1), cities(rng, 10, shift=1), level=0.05)
    assert 0.3 < columns[0].wasserstein_sd < 3


def test_towns_that_are_seen_once_each_are_compared_as_they_are() -> None:
    rng = np.random.default_rng(6)
    before, now = (cities(rng, {"Lyon": n}).assign(city=[f"{n} {i}" for i in range(n)]) for n in (80, 40))
    columns, findings = drift(PANEL, before, now, level=0.05)
    assert {c.basis for c in columns} == {"all rows"}
    assert columns[0].p == stats.ks_2samp(before["TV"], now["TV"]).pvalue
    assert not findings


def test_a_market_without_a_row_before_is_left_out_and_said() -> None:
    rng = np.random.default_rng(17)
    columns, findings = drift(PANEL, cities(rng, {"Ghent": 60, "Lyon": 60}), cities(rng, {"Lyon": 30, "Rome": 15}), level=0.05)
    assert [(c.rows_before, c.rows_now, c.status) for c in columns] == [(60, 30, "not found")] * 3
    assert "Rome 33 % (before 0 %)" in findings[0].message


def test_the_mix_is_held_by_fishers_exact_test() -> None:
    rng = np.random.default_rng(8)
    before, now = cities(rng, 50), cities(rng, {**dict.fromkeys(SIZES, 10), "Rome": 25})
    p = stats.fisher_exact([[25, 50], [50, 250]]).pvalue
    assert p < 0.05 / 6
    assert [f.message for f in another_mix(before, now, "city", 0.05)] == [
        "The new rows have another mix of markets than the rows fitted: Rome 33 % (before 17 %)."
    ]
    assert not list(another_mix(before, now, "city", 6 * p / 2))
    assert not list(another_mix(before, cities(rng, 10), "city", 0.05))


def test_large_markets_are_no_other_unit() -> None:
    rng = np.random.default_rng(9)
    before, large = cities(rng, 60), cities(rng, {"Paris": 30, "Rome": 30})
    assert "W005" in {f.code for f in arrive(POOLED, large.drop(columns="city"), before).findings}
    assert arrive(PANEL, large, before).findings == ()


def test_a_file_of_markets_that_opened_alone_has_no_row_to_compare() -> None:
    rng = np.random.default_rng(11)
    before = cities(rng, {"Ghent": 60, "Lyon": 60})
    arrived = arrive(PANEL, cities(rng, {"Rome": 30}), before, Reads(PANEL, markets=("Ghent", "Lyon")))
    assert (len(arrived.frame), [f.code for f in arrived.findings]) == (0, ["W021"])


def test_another_unit_is_named_where_only_small_markets_report() -> None:
    rng = np.random.default_rng(10)
    before, small = cities(rng, 60), cities(rng, {"Ghent": 30, "Lyon": 30})
    found = arrive(PANEL, small.assign(TV=1000 * small["TV"]), before).findings
    typical = before.loc[before["city"].isin(["Ghent", "Lyon"]), "TV"].median()
    assert [f.code for f in found] == ["W005"]
    assert "TV looks 1,000 times larger than before" in found[0].message
    assert f"against {typical:.4g}" in found[0].message
