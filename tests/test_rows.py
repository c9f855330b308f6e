"""Are rows that break the model's contract refused by column, row and value, and all others read as the same float64?"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from adresponse.errors import RowsError
from adresponse.rows import Reads, as_level, as_switch, check, look, show
from adresponse.schema import Contract

CONTRACT = Contract.build(target="Sales", channels=["TV", "Radio"], controls=["Price"], date="week")
GOOD = {"TV": [1.0, 2.0], "Radio": [0.0, 3.0], "Price": [-1.0, 9.5]}


@pytest.mark.parametrize(
    "column",
    [
        [100, 200],
        [100.0, 200.0],
        [100, 200.0],  # one whole, one not
        [Decimal("100"), Fraction(200)],
        (100, 200),
        np.array([100, 200], dtype=np.int16),
        np.array([100, 200], dtype=np.uint64),
        np.array([100, 200], dtype=np.float32),
        np.array([100, 200], dtype=object),
        pd.Series([100, 200]),
        pd.Series([100, 200], dtype="Int64"),  # pandas' integers that can be missing
        pd.Series([100, 200], dtype="Float64"),
        pd.Series([100, 200], dtype="int64[pyarrow]"),
    ],
    ids=lambda c: f"{type(c).__name__}-{getattr(c, 'dtype', '')}",
)
def test_every_kind_of_number_is_the_same_float64(column: object) -> None:
    tv, _, _ = check(CONTRACT, {**GOOD, "TV": column})
    assert tv.dtype == np.float64
    assert tv.tolist() == [100.0, 200.0]


def test_columns_come_in_the_contracts_order_and_other_roles_are_not_read() -> None:
    given = {"week": ["soon", "later"], "Sales": [None, "?"], "Price": [1, 2], "Radio": [3, 4], "TV": [5, 6]}
    assert [c.tolist() for c in check(CONTRACT, given)] == [[5, 6], [3, 4], [1, 2]]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"TV": [1, "12"]}, "Column 'TV', row 2: '12' is not a number; give a number without quotes."),  # text is text
        ({"TV": [1, "x" * 99]}, f"Column 'TV', row 2: '{'x' * 36}... is not a number"),  # cut, not echoed
        ({"TV": [True, 1]}, "Column 'TV', row 1: true is not a number"),
        ({"TV": np.array([True, False])}, "Column 'TV', row 1: true is not a number"),
        ({"TV": [[1], [2]]}, "Column 'TV', row 1: list is not a number"),
        ({"TV": np.ones((2, 2))}, "Column 'TV' has values of 2 dimensions"),
        ({"TV": [1, None]}, "Column 'TV', row 2: the value is missing; give a number."),
        ({"TV": [1, math.nan]}, "Column 'TV', row 2: the value is missing"),
        ({"TV": pd.Series([1, None], dtype="Int64")}, "Column 'TV', row 2: the value is missing"),
        ({"TV": [1, pd.NA]}, "Column 'TV', row 2: the value is missing"),
        ({"TV": [math.inf, 1]}, "Column 'TV', row 1: the value is not finite"),
        ({"TV": [10**400, 1]}, "Column 'TV', row 1: the value is not finite"),  # larger than any double
        ({"Price": [1, -math.inf]}, "Column 'Price', row 2: the value is not finite"),
        ({"Radio": [1, -5]}, "Column 'Radio', row 2: -5 is negative, and spend is 0 or more."),
        ({"Radio": [-0.5, 1]}, "Column 'Radio', row 1: -0.5 is negative"),
        ({"TV": [1, None], "Radio": [-1, 1]}, "Column 'Radio', row 1"),  # the first row, not the first column
        ({"TV": [], "Radio": [], "Price": []}, "There are no rows; give at least one."),
        ({"TV": [1]}, "unequal numbers of values ('TV' 1, 'Radio' 2, 'Price' 2)"),
        ({"Tv": [1, 2]}, "Column 'Tv' is not known to the model. Did you mean 'TV'? It takes: TV, Radio, Price."),
    ],
)
def test_what_breaks_the_contract_is_said(changed: dict[str, object], said: str) -> None:
    with pytest.raises(RowsError) as refusal:
        check(CONTRACT, GOOD | changed)
    assert said in str(refusal.value)


def test_a_missing_column_names_the_nearest() -> None:
    with pytest.raises(RowsError, match=r"Column 'TV' is missing\. Did you mean 'tv'\? The rows have: tv, Radio, Price\."):
        check(CONTRACT, {"tv": [1], "Radio": [1], "Price": [1]})


def test_of_many_names_the_first_are_listed_and_the_others_counted() -> None:
    with pytest.raises(RowsError, match=r"The rows have: c0, c1, .*, c11 and 3 more\.$"):
        check(CONTRACT, {f"c{i}": [1] for i in range(15)})


def test_negative_zero_and_negative_controls_are_fine() -> None:
    assert check(CONTRACT, {"TV": [-0.0], "Radio": [0], "Price": [-3]})[2].tolist() == [-3.0]


@pytest.mark.parametrize("level", [0, 1, -0.1, 1.5, math.nan, "0.9", True, None])
def test_a_level_is_a_share_between_0_and_1(level: object) -> None:
    with pytest.raises(RowsError, match="is no share between 0 and 1"):
        as_level(level)


def test_whole_numbers_are_shown_without_a_point() -> None:
    assert [show(v) for v in (-5.0, -0.5, 3, True, "a", [])] == ["-5", "-0.5", "3", "true", "'a'", "list"]


# --- dates and markets

PLACED = Contract.build(target="Sales", channels=["TV"], date="week", market="place")
READS = Reads(PLACED, True, ("North", "South", "7"))
DAY = 1_735_603_200.0  # 2024-12-31, by `date -u -d 2024-12-31 +%s`
ROWS = {"TV": [1.0, 2.0], "week": ["2024-12-31", "2024-12-30"], "place": ["South", "North"]}


@pytest.mark.parametrize(
    "column",
    [
        ["2024-12-31"],
        ["2024-12-31T00:00:00"],
        [" 2024-12-31 00:00 "],
        ["2024-12-31T00:00:00+05:00"],  # a clock's own time, as in a table that is read
        ["20241231"],
        [date(2024, 12, 31)],
        [datetime(2024, 12, 31, 0, 0, 0, 999_999)],  # within its second
        [datetime(2024, 12, 31, tzinfo=UTC)],
        [np.datetime64("2024-12-31")],
        [20241231],
        np.array([20241231.0]),
        [pd.Timestamp("2024-12-31")],
        np.array(["2024-12-31"], dtype="datetime64[D]"),
        np.array(["2024-12-31"], dtype="datetime64[ns]"),
        pd.Series(pd.to_datetime(["2024-12-31"])),
        pd.Series(pd.to_datetime(["2024-12-31"])).dt.tz_localize("Asia/Tokyo"),
        pd.Series(["2024-12-31"], dtype="string"),
        pd.Series(pd.to_datetime(["2024-12-31"])).astype("timestamp[us][pyarrow]"),
    ],
    ids=lambda c: f"{c[0]!r}-{getattr(c, 'dtype', '')}",
)
def test_every_form_of_a_date_is_the_same_second(column: object) -> None:
    found = check(Reads(PLACED, True), {"TV": [1], "week": column})
    assert found[1].tolist() == [DAY]


def test_dates_before_1970_are_dates() -> None:
    found = check(Reads(PLACED, True), {"TV": [1, 1], "week": ["1969-12-31", "0001-01-01"]})
    assert found[1].tolist() == [-86_400.0, -62_135_596_800.0]


@pytest.mark.parametrize("column", [["South", "7"], np.array(["South", "7"]), pd.Series([" South ", 7.0], dtype=object)])
def test_a_market_is_its_place_among_those_fitted(column: object) -> None:
    found = check(READS, {**ROWS, "place": column})
    assert found[2].tolist() == [1.0, 2.0]
    assert READS.names == ("TV", "week", "place")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"week": ["2024-12-31", "soon"]}, "Column 'week', row 2: 'soon' is not a date; write it as 2024-12-31."),
        ({"week": ["31.12.2024", "2024-12-31"]}, "Column 'week', row 1: '31.12.2024' is not a date"),
        ({"week": ["2024-02-30", "2024-12-31"]}, "Column 'week', row 1: '2024-02-30' is not a date"),
        ({"week": [DAY, DAY]}, "Column 'week', row 1: 1735603200 is not a date"),
        ({"week": [20241331, DAY]}, "Column 'week', row 1: 20241331 is not a date"),
        ({"week": [20241231.5, DAY]}, "Column 'week', row 1: 20241231.5 is not a date"),
        ({"week": ["2024-12-31", None]}, "Column 'week', row 2: the value is missing; give a date."),
        (
            {"week": pd.Series(["2024-12-31", None]).astype("datetime64[ns]")},
            "Column 'week', row 2: the value is missing; give a date.",
        ),
        (
            {"place": ["Nort", "South"]},
            "Column 'place', row 1: 'Nort' is not a market of the model. Did you mean 'North'? It knows:",
        ),
        ({"place": [8, "South"]}, "Column 'place', row 1: 8 is not a market of the model. It knows: North, South, 7."),
        ({"place": [True, "South"]}, "Column 'place', row 1: true is not a market"),
        ({"place": ["North", None]}, "Column 'place', row 2: the value is missing; give a market."),
        ({"Place": [1, 2]}, "Column 'Place' is not known to the model. Did you mean 'place'? It takes: TV, week, place."),
    ],
)
def test_what_is_no_date_and_no_market_is_said(changed: dict[str, object], said: str) -> None:
    with pytest.raises(RowsError) as refusal:
        check(READS, ROWS | changed)
    assert said in str(refusal.value)


def test_good_rows_are_told_from_bad_ones() -> None:
    given = {"TV": [1.0, -1.0, None, 4.0, 5.0], "week": [*["2024-12-31"] * 3, "soon", "2024-12-31"], "place": ["North"] * 5}
    columns, faults = look(READS, given)
    assert faults == {
        1: "Column 'TV': -1 is negative, and spend is 0 or more.",
        2: "Column 'TV': the value is missing; give a number.",
        3: "Column 'week': 'soon' is not a date; write it as 2024-12-31.",
    }
    assert [c[4] for c in columns] == [5.0, DAY, 0.0]


@pytest.mark.parametrize(("given", "found"), [(None, False), (False, False), (True, True), (np.bool_(True), True)])
def test_contributions_are_asked_for_or_not(given: object, found: bool) -> None:
    assert as_switch(given) is found


@pytest.mark.parametrize("given", ["true", 1, 0.0, []])
def test_a_switch_is_true_or_false(given: object) -> None:
    with pytest.raises(RowsError, match="is neither true nor false"):
        as_switch(given)
