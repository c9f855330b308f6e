"""Is everything that makes a fit wrong, or a result doubtful, found and said?"""

from __future__ import annotations

import re
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from adresponse.checks import check, modified_z, refuse_unfit
from adresponse.errors import UnfitTableError
from adresponse.profile import explore
from examples import shipped, table

RANDOM = np.random.default_rng(11)


def plain(rows: int = 100, **columns: object) -> pd.DataFrame:
    """A table without anything to say about it, with columns put in its place."""
    spend = np.random.default_rng(1).uniform(10, 90, rows)
    frame = pd.DataFrame({"TV": spend, "Sales": 5 + 0.1 * spend + np.random.default_rng(2).normal(0, 0.5, rows)})
    return frame.assign(**columns)


def codes(frame: pd.DataFrame, **roles: object) -> dict[str, str]:
    return {f.code: f.severity for f in check(table(frame, **roles))}


def with_value(column: str, row: int, value: float) -> pd.DataFrame:
    frame = plain()
    frame.loc[row, column] = value
    return frame


def twice(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame.iloc[:3]], ignore_index=True)


TV = plain()["TV"].to_numpy()
CASES = [
    ("D001", "stop", plain(5)),  # fewer rows than five folds need
    (
        "D001",
        "stop",
        pd.DataFrame(RANDOM.uniform(1, 9, (200, 199)), columns=[*map(str, range(198)), "Sales"]),
    ),  # 199 coefficients
    ("D002", "stop", plain(TV=7.0)),  # constant spend
    ("D002", "stop", plain(Sales=7.0)),  # constant sales
    ("D006", "review", plain(15)),  # fewer than ten rows for each coefficient
    ("D007", "stop", plain(Radio=2 * TV)),  # a multiple of another channel
    ("D019", "stop", with_value("TV", 7, 1.797e308)),  # the largest double, which stands for no value in some exports
    ("D019", "stop", with_value("Sales", 7, -1e200)),  # its square is no double
    ("D019", "stop", plain(Radio=TV * 1e76)),  # the square of its product with itself is none
    ("D019", "stop", plain(TV=TV * 1e-311)),  # its square is 0
    ("D003", "review", plain(Radio=TV + RANDOM.normal(0, 20, 100))),  # r about 0.75
    ("D005", "review", twice(plain())),  # copied rows
    ("D009", "review", plain(TV=np.where(np.arange(100) < 90, TV, TV * 1000))),  # a tenth of the rows in single dollars
    ("D011", "review", with_value("TV", 7, 900.0)),  # far from the rest
    ("D018", "review", with_value("Sales", int(np.argmax(TV)), 60.0)),  # an end point pulled up
]


@pytest.mark.parametrize(("code", "severity", "frame"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_found(code: str, severity: str, frame: pd.DataFrame) -> None:
    assert codes(frame).get(code) == severity


@pytest.mark.parametrize("value", [1.797e308, 1e200, 1e100, 1e-100, 1e-200, 1e-310, 5e-324])
@pytest.mark.parametrize("name", ["TV", "Sales"])
def test_no_finite_number_ends_a_check_or_an_exploration_but_in_words(name: str, value: float) -> None:
    share = plain()[name] / plain()[name].max()
    for frame in (with_value(name, 7, value), plain(**{name: share * value}), plain(Sales=share * value - value / 2)):
        made = table(frame)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what NumPy says of an overflow tells an analyst nothing
            stops = {f.code for f in check(made) if f.severity == "stop"}
            with pytest.raises(UnfitTableError) if stops else nullcontext():
                explore(made)
        assert stops <= {"D019"}


def test_a_value_out_of_reach_is_named_by_column_row_and_value() -> None:
    found = {f.message for f in check(table(with_value("TV", 7, 1e300)))}
    assert found == {"Column 'TV' has 1 value too large to reckon with (first: row 8, 1.000e+300)."}


@pytest.mark.parametrize("resting", [49, 60])  # the median is a small spend, where most that is spent is far off; or it is 0
def test_a_channel_that_rests_at_times_is_held_against_what_it_spends_when_it_runs(resting: int) -> None:
    frame = plain(TV=[0.0] * resting + np.linspace(2, 90, 100 - resting).tolist())
    assert "D011" not in codes(frame)
    frame.loc[99, "TV"] = 4000.0
    (found,) = (f.message for f in check(table(frame)) if f.code == "D011")
    assert found == "Values lie far from the rest of their column: 1 in 'TV' (row 100: 4,000)."


def test_large_and_small_weeks_of_a_channel_are_usual_and_a_slipped_digit_is_not() -> None:
    spend = 40 * stats.gamma.ppf((np.arange(156) + 0.5) / 156, 1.2)
    assert (np.abs(modified_z(spend)) > 3.5).sum() >= 4  # by the score of the amounts alone
    frame = plain(156, TV=spend)
    assert "D011" not in codes(frame)
    frame.loc[40, "TV"] = 10 * spend.max()
    (found,) = (f.message for f in check(table(frame)) if f.code == "D011")
    assert found.startswith("Values lie far from the rest of their column: 1 in 'TV' (row 41: ")


def test_a_value_is_held_against_its_own_market_where_markets_have_rows_enough() -> None:
    small, large = plain(50), plain(50) * 40
    frame = pd.concat([small.assign(region="A"), large.assign(region="B")], ignore_index=True)
    assert "D011" not in codes(frame, market="region")
    frame.loc[7, "TV"] = 3000.0  # usual for B, and row 8 is of A
    (found,) = (f.message for f in check(table(frame, market="region")) if f.code == "D011")
    assert found == "Values lie far from the rest of their column in their market: 1 in 'TV' (row 8: 3,000)."
    few = frame.assign(region=[f"place {i // 5}" for i in range(len(frame))])
    few.loc[7, "TV"] = 3e6  # far from all
    assert "in their market" not in next(f.message for f in check(table(few, market="region")) if f.code == "D011")


def test_a_plain_table_gives_no_finding() -> None:
    assert codes(plain()) == {}


def test_the_published_pair_of_channels_is_found_and_no_other() -> None:
    # ISLR, table 3.5: Radio and Newspaper 0.35, TV with either below 0.06
    found = [f for f in check(table(shipped("advertising"))) if f.code == "D003"]
    assert [f.message for f in found] == ["Radio and Newspaper move together (r = 0.35)."]


def test_channels_that_move_in_opposite_directions_are_not_said_to_move_together() -> None:
    made = table(plain(Radio=150 - TV + np.random.default_rng(3).normal(0, 20, 100)))
    (found,) = (f for f in check(made) if f.code == "D003")
    assert found.message.startswith("TV and Radio move in opposite directions (r = −0.")


def regions(between: float, sizes: tuple[float, ...], *, alike: bool = False) -> pd.DataFrame:
    """Fifty rows of each market, the next of which spends so much more on TV and so much less on Radio; all by its size."""
    random = np.random.default_rng(8)
    made = []
    for i, size in enumerate(sizes):
        tv, radio = random.gamma(4, 5, (2, 50))
        radio = tv + random.normal(0, 2, 50) if alike else radio
        rows = pd.DataFrame({"TV": 60 + between * i + tv, "Radio": 100 - between * i + radio})
        made.append(
            (rows.assign(Sales=50 + rows["TV"] + rows["Radio"] + random.normal(0, 3, 50)) * size).assign(region=f"R{i}")
        )
    return pd.concat(made, ignore_index=True)


def test_channels_of_markets_that_differ_in_size_do_not_move_together_for_that() -> None:
    frame = regions(0, (1.0, 5.0, 40.0))
    assert codes(frame.drop(columns="region"))["D003"]  # over all rows the size of a market is in both
    assert {"D003", "D018"}.isdisjoint(codes(frame, market="region"))


def test_channels_that_are_alike_within_markets_are_found_whatever_lies_between_these() -> None:
    frame = regions(30, (1.0, 1.0, 1.0, 1.0), alike=True)
    (opposite,) = (f.message for f in check(table(frame.drop(columns="region"))) if f.code == "D003")
    assert "in opposite directions" in opposite
    (found,) = (f.message for f in check(table(frame, market="region")) if f.code == "D003")
    own = frame.groupby("region")[["TV", "Radio"]].transform(lambda x: (x - x.mean()) / x.std())
    assert found == f"TV and Radio move together in their market (r = {own.corr().iloc[0, 1]:.2f})."


def test_a_row_out_of_line_with_its_market_is_found_among_larger_ones() -> None:
    frame = regions(0, (1.0, 40.0))
    frame.loc[3, "TV"] = 300.0  # usual for neither, yet nothing beside the larger one
    assert "D018" not in codes(frame.drop(columns="region"))
    (found,) = (f.message for f in check(table(frame, market="region")) if f.code == "D018")
    assert "held against those of their market noticeably (most: row 4," in found


def test_a_channel_that_never_changes_within_a_market_is_said_and_in_line_with_any_other() -> None:
    frame = regions(0, (1.0, 5.0)).assign(Radio=lambda f: f["region"].map({"R0": 0.1, "R1": 0.7}))
    (found,) = (f for f in check(table(frame, market="region")) if f.code in ("D003", "D018", "D021"))
    assert found.message.startswith("Column 'Radio' never changes within a market.")
    frame.loc[7, "Radio"] = 0.2  # in one row of one market
    assert "D021" not in codes(frame, market="region")


def weekly(rows: int = 60) -> pd.DataFrame:
    return plain(rows).assign(week=pd.date_range("2024-01-01", periods=rows, freq="W-MON"))


def test_gap_in_time() -> None:
    assert codes(weekly().drop(index=[20, 21]).reset_index(drop=True), date="week") == {"D010": "review"}
    assert codes(weekly(), date="week") == {}


def panel(*, sunday: bool = False) -> pd.DataFrame:
    """Three markets of weekly rows, the last one of which opens late; one may count its weeks from the day before."""
    each = [weekly().assign(market=name).iloc[20 * (name == "West") :] for name in ("North", "South", "West")]
    each[1]["week"] -= pd.Timedelta(days=int(sunday))
    return pd.concat(each, ignore_index=True)


def test_a_gap_is_that_of_a_market_though_others_fill_it() -> None:
    frame = panel()
    assert codes(frame, date="week", market="market", channels=["TV"]) == {}
    south = np.flatnonzero(frame["market"] == "South")
    gap = frame.drop(index=south[[30, 31, 40]]).reset_index(drop=True)
    (found,) = check(table(gap, date="week", market="market", channels=["TV"]))
    week = frame["week"][south[29]].date()
    assert found.message == f"The dates have 2 gaps (the usual step is 7 days; the first gap follows {week} in market 'South')."


def test_markets_that_count_their_weeks_from_different_days_are_named() -> None:
    (found,) = check(table(panel(sunday=True), date="week", market="market", channels=["TV"]))
    assert found.code == "D010"
    assert found.message.startswith("The markets are dated by different days: the usual step is 7 days within a market, and ")


def test_days_of_the_week_that_never_come_are_named() -> None:
    frame = plain(60).assign(day=pd.bdate_range("2024-01-01", periods=60))
    found = [f for f in check(table(frame, date="day")) if f.code in ("D010", "D020")]
    assert [(f.code, f.severity) for f in found] == [("D020", "note")]
    assert "No date is a Saturday or Sunday; carry-over and plans count the other days only" in found[0].message
    assert set(codes(frame.drop(index=[30, 31]), date="day")) == {"D010", "D020"}  # two holidays
    assert codes(plain(60).assign(day=pd.date_range("2024-01-01", periods=60)), date="day") == {}


def test_months_of_different_length_are_no_gap() -> None:
    frame = plain(36).assign(month=pd.date_range("2021-01-01", periods=36, freq="MS"))
    assert "D010" not in codes(frame, date="month")


def test_a_period_given_twice_is_found_unless_markets_tell_the_rows_apart() -> None:
    frame = weekly(30).assign(week=lambda f: f["week"].iloc[:15].repeat(2).to_numpy())
    assert "D008" in codes(frame, date="week")
    assert "D008" not in codes(frame.assign(region=["north", "south"] * 15), date="week", market="region")


def test_one_row_that_repeats_is_said_in_the_singular() -> None:
    frame = weekly(30).assign(week=lambda f: f["week"].where(f.index != 7, f["week"].iloc[6]))
    assert any(f.message.startswith("1 row repeats a week seen before") for f in check(table(frame, date="week")))


def long(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each channel of a week, with what was sold in that week beside each; ``Print`` and ``Web`` rest at times."""
    each = frame.assign(Print=RANDOM.integers(0, 2, len(frame)) * 9.0, Web=RANDOM.integers(0, 2, len(frame)) * 9.0)
    return each.melt(["week", "Sales"], ["TV", "Print", "Web"], "channel", "Spend")[["week", "Spend", "Sales"]]


def test_a_table_of_a_row_for_each_channel_is_no_table_of_periods() -> None:
    roles = {"date": "week", "channels": ["Spend"]}
    frame = long(weekly(30))
    assert codes(frame, **roles)["D024"] == "stop"
    assert codes(frame[(frame["Spend"] > 0) | (frame["week"].dt.month == 1)], **roles)["D024"] == "stop"
    stores = frame.assign(Sales=frame["Sales"] + np.arange(len(frame)))  # rows that sold something of their own
    assert codes(stores, **roles).get("D008") == "review"
    assert "D024" not in codes(stores, **roles)
    assert "D024" not in codes(pd.concat([weekly(30)] * 2, ignore_index=True), date="week")  # copies


@pytest.mark.parametrize("digits", [0, 6])
def test_a_row_of_totals_is_no_row(digits: int) -> None:
    frame = plain(40)
    frame.loc[40] = frame.sum().round(digits)
    stop = next(f for f in check(table(frame)) if f.severity == "stop")
    assert (stop.code, stop.message) == (
        "D023",
        "Row 41 is the sum of all others in every channel and in 'Sales': a row of totals.",
    )
    frame.loc[40, "Sales"] /= 40  # what no sum is, such as a mean
    assert "D023" not in codes(frame)


def test_stops_come_first_and_are_refused_with_their_advice() -> None:
    findings = check(table(plain(TV=7.0)))
    assert findings[0].severity == "stop"
    with pytest.raises(UnfitTableError, match=r"'TV' is constant .* Leave the column out \(name the others with --channels"):
        refuse_unfit(findings)
    with pytest.raises(UnfitTableError, match=r"'Sales' is constant .* name another target"):  # which cannot be left out
        refuse_unfit(check(table(plain(Sales=7.0))))


def test_every_code_is_in_the_reference() -> None:
    root = Path(__file__).parent.parent
    used = {c for p in (root / "src" / "adresponse").rglob("*.py") for c in re.findall(r'"([DM]\d{3})"', p.read_text())}
    told = set(re.findall(r"`([DM]\d{3})`", (root / "docs" / "reference" / "findings.md").read_text()))
    assert used == told
