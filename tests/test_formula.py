"""Does the formula give what the pipeline gives, read back what it wrote, and refuse what it cannot know?"""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adresponse.errors import ModelError, RowsError
from adresponse.formula import Beyond, Formula, Spread, Term
from adresponse.models import formula_of, linear
from adresponse.schema import Contract

CONTRACT = Contract.build(target="Sales", channels=["TV"], controls=["Price"], dictionary={"TV": {"unit": "thousand dollars"}})
SPREAD = Spread(1.0, 0.5, 0.25, tuple(i / 10 for i in range(1, 20)))
FORMULA = Formula(
    CONTRACT,
    10.0,
    (Term("TV", 0.5, -1.0, 4.0), Term("Price", 2.0, 0.0, -0.25)),
    SPREAD,
    {"TV": (0.0, 100.0), "Price": (1.0, 5.0)},
    {"name": "sales-response", "model_id": "m-1"},
)


def test_a_prediction_by_hand() -> None:
    # TV 6: 4 * (6 * 0.5 - 1) = 8; Price 4: -0.25 * (4 * 2) = -2; 8 - 2 + 10
    assert FORMULA.predict([6.0, 4.0]) == 16.0
    assert FORMULA.predict([np.array([6.0, 2.0]), np.array([4.0, 4.0])]).tolist() == [16.0, 8.0]


def test_an_interval_by_hand() -> None:
    # level 0.9 of 19 scores: the ceil(20 * 0.9) = 18th, 1.8; scale 1 + 0.5 * 16 = 9; reach 16.2
    answers = FORMULA.answer([np.array([6.0]), np.array([4.0])], 0.9)
    assert answers["lower"][0] == pytest.approx(16 - 16.2)
    assert answers["upper"][0] == pytest.approx(16 + 16.2)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("options", [{}, {"fit_intercept": False}, {"positive": True}])
@pytest.mark.parametrize("columns", [1, 3, 40])
def test_formula_and_pipeline_agree(scale: bool, options: dict[str, bool], columns: int) -> None:
    """To 1e-12, relative: the same products, summed in another order, each rounded to 1.1e-16 of terms of one size."""
    random = np.random.default_rng(columns)
    X = pd.DataFrame(random.uniform(0, 1000, (200, columns)), columns=[f"c{i}" for i in range(columns)])
    y = pd.Series(5 + X.to_numpy() @ random.uniform(0, 2, columns) + random.normal(0, 1, 200))
    contract = Contract.build(target="y", channels=list(X))
    pipeline = linear(scale, **options).fit(X, y)
    formula = formula_of(pipeline, X, contract, SPREAD, {})
    ours, theirs = formula.predict([X[c].to_numpy() for c in X]), pipeline.predict(X)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=4))
def test_every_float_is_read_back_as_it_was_written(numbers: list[float]) -> None:
    a, b, c, d = numbers
    spread = Spread(a, b, abs(c), (abs(d),))
    written = Formula(CONTRACT, a, (Term("TV", b, c, d), Term("Price", d, c, b)), spread, {"TV": (a, b), "Price": (c, d)})
    assert Formula.from_json(written.to_json()) == written


def test_a_person_can_read_it() -> None:
    text = FORMULA.to_json()
    assert '{"column": "TV", "scale": 0.5, "shift": -1.0, "coefficient": 4.0, "shape": "linear"}' in text
    assert '"unit": "thousand dollars"' in text
    assert '"TV": [0.0, 100.0]' in text
    assert "prediction = sum of coefficient" in text
    assert max(map(len, text.splitlines())) < 300


def test_without_a_closed_form_the_spread_still_gives_the_interval() -> None:
    open_form = Formula(CONTRACT, math.nan, (), SPREAD, FORMULA.ranges, {}, ("lightgbm",))
    read = Formula.from_json(open_form.to_json())
    assert not read.closed
    assert read.modules == ("lightgbm",)
    answers = read.answer([np.array([6.0]), np.array([4.0])], 0.9, np.array([16.0]))
    assert answers["upper"][0] == pytest.approx(16 + 16.2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "other"}, "is no formula"),
        ({"schema_version": 4}, "schema version 4, and this adresponse reads up to 3; update adresponse"),
        ({"form": "spline"}, "the form 'spline'"),
        ({"terms": []}, "one term for each feature"),
        ({"intercept": "much"}, "cannot be read"),
        ({"contract": {"columns": []}}, "cannot be read"),
        ({"ranges": {}}, "cannot be read"),
    ],
)
def test_a_formula_that_cannot_be_known_is_refused(change: dict[str, object], said: str) -> None:
    text = json.dumps(json.loads(FORMULA.to_json()) | change)
    with pytest.raises(ModelError, match=said):
        Formula.from_json(text)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b'{"schema": "adresponse/formula"}'])
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(ModelError, match=r"formula\.json"):
        Formula.from_json(text)


def test_infinities_are_refused_where_they_enter() -> None:
    with pytest.raises(ModelError, match="not finite"):
        Formula.from_json(FORMULA.to_json().replace('"intercept": 10.0', '"intercept": Infinity'))


def test_a_level_beyond_the_rows_is_refused_with_the_highest() -> None:
    with pytest.raises(RowsError, match=r"higher than the 19 rows fitted can tell; ask for at most 0\.95"):
        FORMULA.answer([np.array([1.0]), np.array([1.0])], 0.96)
    with pytest.raises(RowsError, match=r"^interval=0\.9999999 is higher"):
        FORMULA.answer([np.array([1.0]), np.array([1.0])], 0.9999999)


def test_a_prediction_beyond_every_double_is_refused_by_row() -> None:
    with pytest.raises(RowsError, match="Row 2: the prediction is too large"):
        FORMULA.answer([np.array([1.0, 1.7e308]), np.array([1.0, 1.0])])


def test_values_beyond_the_range_fitted_are_told_by_column() -> None:
    assert FORMULA.beyond([np.array([0.0, 100.0]), np.array([1.0, 5.0])]) == []
    assert FORMULA.beyond([np.array([50.0, 101.0]), np.array([0.5, 5.0])]) == [
        Beyond("TV", "50 to 101", "the range fitted, 0 to 100"),
        Beyond("Price", "0.5 to 5", "the range fitted, 1 to 5"),
    ]
