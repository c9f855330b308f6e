"""Are rows that break the model's contract refused by column, row and value, and all others read as the same float64?"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from adresponse.errors import RowsError
from adresponse.rows import as_level, check, show
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


def test_negative_zero_and_negative_controls_are_fine() -> None:
    assert check(CONTRACT, {"TV": [-0.0], "Radio": [0], "Price": [-3]})[2].tolist() == [-3.0]


@pytest.mark.parametrize("level", [0, 1, -0.1, 1.5, math.nan, "0.9", True, None])
def test_a_level_is_a_share_between_0_and_1(level: object) -> None:
    with pytest.raises(RowsError, match="is no share between 0 and 1"):
        as_level(level)


def test_whole_numbers_are_shown_without_a_point() -> None:
    assert [show(v) for v in (-5.0, -0.5, 3, True, "a", [])] == ["-5", "-0.5", "3", "true", "'a'", "list"]
