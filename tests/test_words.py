"""Are figures written as a person expects them?"""

from __future__ import annotations

import json
import math

import pytest

from adresponse.findings import Finding
from adresponse.words import count, fixed, listing, number, p_value, percent, plain, typed, typed_range


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0465297, "0.04653"),
        (29408.5, "29,408"),
        (14.0225, "14.02"),
        (200.0, "200"),
        (0.0, "0"),
        (-1234567.0, "−1,234,567"),
        (1e-9, "1.000e-09"),
        (math.inf, "unbounded"),
        (math.nan, "not known"),
        (None, "not known"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text


def test_fixed_decimals_have_a_minus_and_no_signed_nought() -> None:
    assert [fixed(v, 2) for v in (-0.044, -0.004, 0.0, 1234.5)] == ["−0.04", "0.00", "0.00", "1,234.50"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (36832.16, "36832.2"),  # six digits
        (15_000_000.4, "15000000"),  # all before the point, and no exponent
        (0.000123456789, "0.000123457"),
        (0.0, "0"),
        (-1.0, "-1"),
        (math.inf, "inf"),
        (1e75, "1e+75"),  # nobody types 75 digits
    ],
)
def test_numbers_to_be_typed_in_again(value: float, text: str) -> None:
    assert typed(value) == text


def test_a_range_to_be_typed_in_again_lies_within_the_range() -> None:
    assert typed_range(2056.341, 36832.16) == "2056.35 to 36832.1"
    assert typed_range(1.23456789, 1.23456789) == "1.23456789 to 1.23456789"


def test_small_words() -> None:
    assert percent(0.1867, 1) == "18.7 %"
    assert p_value(1e-9) == "p < 0.001"
    assert p_value(0.0421) == "p = 0.042"
    assert listing(["TV", "Radio", "Print"]) == "TV, Radio and Print"
    assert listing(["TV", "Radio"], 2) == "TV and Radio"
    assert listing(["TV", "Radio", "Print"], 2) == "TV, Radio and 1 more"
    assert (count(1, "row"), count(1200, "row")) == ("1 row", "1,200 rows")


def test_plain_values_are_strict_json() -> None:
    value = {"a": (Finding("D001", "stop", "m", "a"), math.nan, 1.5)}
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == {
        "a": [{"code": "D001", "severity": "stop", "message": "m", "advice": "a"}, None, 1.5]
    }
