"""Does a model of curves answer as its pipeline does, carry spend from known rows, and add up?"""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from adresponse.baseline import Baseline
from adresponse.curved import Curves, History
from adresponse.curves import CarryOverKind, Response, Shape
from adresponse.errors import ModelError, RowsError
from adresponse.formula import Formula, Spread, Term
from adresponse.periods import Calendar
from adresponse.rows import check
from adresponse.schema import Contract
from curves_example import MARKETS, contract_of, fitted, formula_with, table

WEEKS = Calendar("second", 604_800, "2024-01-01")
SPREAD = Spread(1.0, 0.0, 0.5, tuple(i / 10 for i in range(1, 20)))


def by_hand(weights: tuple[float, ...] = (0.5, 0.25), markets: dict[str, float] | None = None) -> Formula:
    """Base 10; TV adds 2 for each unit at work; known are weeks 3 and 4 with 8 and 4 spent, else the mean of 6."""
    places = markets or {}
    history = History(4, (6.0,), dict.fromkeys(places or ("",), ((8.0,), (4.0,))))
    curves = Curves(
        Baseline(10.0, markets=places, calendar=WEEKS), (Response("TV", "linear", 1.0, 1.0, 2.0, weights),), history
    )
    contract = Contract.build(target="Sales", channels=["TV"], date="week", market="place" if places else None)
    return Formula(contract, math.nan, (), SPREAD, {"TV": (0.0, 9.0)}, {}, curves=curves)


def asked(formula: Formula, frame: pd.DataFrame) -> list[np.ndarray]:
    return check(formula.reads, {n: frame[n] for n in formula.inputs})


def predicted(formula: Formula, frame: pd.DataFrame) -> np.ndarray:
    return np.asarray(formula.predict(asked(formula, frame)))


@pytest.mark.parametrize("step", ["working day", "day", "week", "month"])
@pytest.mark.parametrize("markets", [(), MARKETS], ids=["one market", "panel"])
@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ("hill", "geometric"),
        ("logistic", "delayed"),
        ("power", "weibull"),
        ("log", "geometric"),
        ("linear", "geometric"),
        ("hill", "none"),  # nothing is carried, but trend and season need the date
    ],
)
def test_numbers_and_pipeline_agree(step: str, markets: tuple[str, ...], shape: Shape, kind: CarryOverKind) -> None:
    """To 1e-12 of the largest: the same products, summed in another order, each rounded to 1.1e-16 of its size.

    A wave of a year, fitted on 50 days, is large and cancels with the trend. Asked are the rows fitted, in another order and
    with gaps; rows long after the last; and some from before the first.
    """
    frame = table(50, step, markets, gaps=0.15)
    contract = contract_of(frame)
    pipeline = fitted(frame, contract, shape, kind, weekdays=step.endswith("day"))
    formula = Formula.from_json(formula_with(pipeline, frame, contract).to_json())
    later = table(80, step, markets, gaps=0.3, seed=2)
    earlier = later.assign(when=later["when"] - pd.DateOffset(years=1))  # and of working days some are Sundays
    for rows in (frame, later, later.sample(frac=0.5, random_state=3), earlier.iloc[:7], later.iloc[:1]):
        expected = pipeline.predict(rows)
        np.testing.assert_allclose(predicted(formula, rows), expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_rows_without_a_date_are_curves_too() -> None:
    frame = table(40).drop(columns="when")
    contract = contract_of(frame, dated=False)
    pipeline = fitted(frame, contract, kind="none", season=0)
    formula = formula_with(pipeline, frame, contract)
    assert formula.inputs == contract.features
    assert not formula.together
    np.testing.assert_allclose(predicted(formula, frame), pipeline.predict(frame), rtol=1e-12)


@pytest.mark.parametrize(
    ("weeks", "spend", "expected"),
    [
        ([5], [2.0], [10 + 2 * (0.5 * 2 + 0.25 * 4)]),  # week 4 comes from the history
        ([4], [2.0], [10 + 2 * (0.5 * 2 + 0.25 * 8)]),  # a week that the model knows is asked with another budget
        ([4, 5], [2.0, 2.0], [10 + 2 * (0.5 * 2 + 0.25 * 8), 10 + 2 * (0.5 * 2 + 0.25 * 2)]),  # rows asked come first
        ([5, 4], [2.0, 2.0], [10 + 2 * (0.5 * 2 + 0.25 * 2), 10 + 2 * (0.5 * 2 + 0.25 * 8)]),  # in any order
        ([7], [2.0], [10 + 2 * (0.5 * 2 + 0.25 * 6)]),  # week 6 is not known: the mean stands for it
        ([3], [2.0], [10 + 2 * (0.5 * 2 + 0.25 * 6)]),  # nor is week 2
        ([-60], [0.0], [10 + 2 * 0.25 * 6]),  # long before the table
    ],
)
def test_carry_over_by_hand(weeks: list[int], spend: list[float], expected: list[float]) -> None:
    dates = [np.datetime64("2024-01-01") + 7 * w for w in weeks]
    assert predicted(by_hand(), pd.DataFrame({"TV": spend, "week": dates})).tolist() == expected


def test_a_day_that_is_not_counted_is_answered_by_itself() -> None:
    """Rows from Mondays to Fridays: before Saturday and before Monday comes Friday, and nobody carries what Saturday spent."""
    counted = Calendar.of(pd.bdate_range("2024-01-01", "2024-03-01"))  # periods 0 to 44, the last one a Friday
    history = History(44, (6.0,), {"": ((8.0,), (4.0,))})
    curves = Curves(Baseline(10.0, calendar=counted), (Response("TV", "linear", 1.0, 1.0, 2.0, (0.5, 0.25)),), history)
    contract = Contract.build(target="Sales", channels=["TV"], date="day")
    formula = Formula(contract, math.nan, (), SPREAD, {"TV": (0.0, 99.0)}, {}, curves=curves)
    days = ["2024-03-02", "2024-03-04", "2024-03-05", "2024-03-09"]  # Saturday, Monday, Tuesday, Saturday
    frame = pd.DataFrame({"TV": [50.0, 2.0, 0.0, 0.0], "day": days})
    expected = [10 + 2 * (0.5 * 50 + 0.25 * 4), 10 + 2 * (0.5 * 2 + 0.25 * 4), 10 + 2 * 0.25 * 2, 10 + 2 * 0.25 * 6]
    assert predicted(formula, frame).tolist() == expected
    for row in range(4):
        alone = predicted(formula, frame.iloc[[row]])[0]
        assert alone == (expected[row] if row != 2 else 10 + 2 * 0.25 * 6)  # whose Monday is not known then: the mean
    (said,) = formula.beyond(asked(formula, frame))
    assert (said.column, said.given) == ("day", "2024-03-02, a Saturday")
    assert said.bounds == "the days of the week that the rows fitted have, Monday, Tuesday, Wednesday, Thursday, Friday"
    with pytest.raises(RowsError, match="Row 2 has the period of row 1"):
        predicted(formula, pd.DataFrame({"TV": [1.0, 2.0], "day": [days[0], days[0]]}))


def test_each_market_has_a_history_of_its_own() -> None:
    formula = by_hand(markets={"North": 0.0, "South": 100.0})
    frame = pd.DataFrame({"TV": [2.0, 0.0, 2.0], "week": ["2024-02-05", "2024-02-12", "2024-02-05"]})
    frame["place"] = ["North", "South", "South"]
    south = [110 + 2 * 0.25 * 2, 110 + 2 * (0.5 * 2 + 0.25 * 4)]  # its week 5 is asked too
    assert predicted(formula, frame).tolist() == [10 + 2 * (0.5 * 2 + 0.25 * 4), *south]


def test_a_period_that_is_asked_twice_is_refused_by_row() -> None:
    frame = pd.DataFrame({"TV": [1.0, 2.0, 3.0], "week": ["2024-02-05", "2024-02-12", "2024-02-06"]})
    said = "Row 3 has the period of row 1; the model carries spend from one period to the next, so give each period once"
    with pytest.raises(RowsError, match=said):
        predicted(by_hand(), frame)
    formula = by_hand(markets={"North": 0.0, "South": 1.0})
    columns = asked(formula, frame.assign(place=["South", "North", "South"]))
    assert formula.first_of(columns).tolist() == [0, 1, 0]
    with pytest.raises(RowsError, match="Row 3 has the period of row 1 of market 'South'"):
        formula.answer(columns)


@pytest.mark.parametrize("markets", [(), MARKETS], ids=["one market", "panel"])
def test_base_and_contributions_are_the_prediction_to_the_last_bit(markets: tuple[str, ...]) -> None:
    frame = table(60, "week", markets)
    contract = contract_of(frame)
    formula = formula_with(fitted(frame, contract), frame, contract)
    answers = formula.answer(asked(formula, frame), 0.9, contributions=True)
    assert tuple(answers) == formula.answer_names(0.9, True)
    assert list(answers)[3:] == ["base", "contribution_TV, national", "contribution_search"]
    total = answers["base"]
    for name in list(answers)[4:]:
        total = total + answers[name]
    assert total.tolist() == answers["prediction"].tolist()


def test_a_row_gets_the_same_bits_alone_and_among_many() -> None:
    """So that blocks, requests and clusters agree; powers and waves are numpy's, whatever the length and the strides."""
    frame = table(400, "day").drop(columns="when")
    contract = contract_of(frame, dated=False)
    for shape in ("log", "power", "hill", "logistic"):
        formula = formula_with(fitted(frame, contract, shape, "none", season=0), frame, contract)
        whole = predicted(formula, frame)
        wide = frame[list(formula.inputs)].to_numpy()  # one block: its columns have gaps between their values
        assert formula.predict([wide[:, i] for i in range(3)]).tolist() == whole.tolist()
        assert [predicted(formula, frame.iloc[i : i + 1])[0] for i in range(50)] == whole[:50].tolist()


def test_what_is_written_is_read_back_and_can_be_read() -> None:
    frame = table(30, markets=MARKETS)
    contract = contract_of(frame)
    formula = formula_with(fitted(frame, contract), frame, contract)
    text = formula.to_json()
    assert Formula.from_json(text) == formula
    said = json.loads(text)
    assert (said["schema_version"], said["form"]) == (2, "curves")
    assert "prediction = baseline + sum of coefficient * shape" in said["reads"]
    assert '"shape": "hill"' in text
    assert formula.inputs == (*contract.features, "when", "market")
    assert formula.reads.markets == MARKETS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v["curves"]["baseline"].update(intercept=math.nan), "a number that is not finite"),
        (lambda v: v["curves"]["history"]["spend"][""][0].__setitem__(0, math.inf), "a number that is not finite"),
        (lambda v: v["curves"]["baseline"].update(weekdays=[0.0, 1.0]), "a level for each of the seven days of the week"),
        (lambda v: v["curves"]["responses"][0].update(shape="spline"), "'spline' is no shape known"),
        (lambda v: v["curves"]["responses"].clear(), "one response or control for each feature"),
        (lambda v: v["curves"].pop("history"), "cannot be read"),
        (lambda v: v["contract"]["columns"].pop(), "needs a date or a market that its contract does not have"),
        (lambda v: v.update(schema_version=4), "schema version 4, and this adresponse reads up to 3; update adresponse"),
    ],
)
def test_curves_that_cannot_be_known_are_refused(change: object, said: str) -> None:
    value = json.loads(by_hand().to_json())
    change(value)  # type: ignore[operator]
    with pytest.raises(ModelError, match=said):
        Formula.from_json(json.dumps(value))


def test_a_straight_line_keeps_the_version_that_older_ones_read() -> None:
    contract = Contract.build(target="Sales", channels=["TV"], date="week")
    line = Formula(contract, 1.0, (Term("TV", 2.0, -1.0, 3.0),), SPREAD, {"TV": (0.0, 1.0)})
    assert json.loads(line.to_json())["schema_version"] == 1
    assert line.inputs == ("TV",)  # the date may be there, and is not read


def test_contributions_of_a_straight_line_by_hand() -> None:
    contract = Contract.build(target="Sales", channels=["TV", "Radio"], controls=["Price"])
    terms = (Term("TV", 0.5, -1.0, 4.0), Term("Radio", 1.0, 2.0, 3.0), Term("Price", 2.0, 0.0, -0.25))
    line = Formula(contract, 10.0, terms, SPREAD, dict.fromkeys(contract.features, (0.0, 1.0)))
    columns = [np.array([6.0, 0.0]), np.array([1.0, 0.0]), np.array([4.0, 4.0])]
    answers = line.answer(columns, contributions=True)
    assert answers["base"].tolist() == [10 - 4 + 6 - 2] * 2  # what the line says at no spend, at a price of 4
    assert answers["contribution_TV"].tolist() == [12.0, 0.0]  # 4 * 0.5 for each unit
    assert answers["contribution_Radio"].tolist() == [3.0, 0.0]
    assert answers["prediction"].tolist() == [25.0, 10.0]


def test_without_a_closed_form_there_are_no_contributions() -> None:
    contract = Contract.build(target="Sales", channels=["TV"])
    pipeline = Formula(contract, math.nan, (), SPREAD, {"TV": (0.0, 1.0)})
    with pytest.raises(RowsError, match="no closed formula, so it cannot say what each channel adds; leave contributions out"):
        pipeline.answer([np.array([1.0])], None, np.array([1.0]), contributions=True)


def test_a_prediction_beyond_every_double_is_refused_by_row() -> None:
    curves = by_hand().curves
    assert curves is not None
    huge = replace(curves, responses=(replace(curves.responses[0], coefficient=1e300),))
    formula = replace(by_hand(), curves=huge)
    frame = pd.DataFrame({"TV": [0.0, 1e300], "week": ["2024-03-04", "2024-02-05"]})
    with pytest.raises(RowsError, match="Row 2: the prediction is too large"):
        formula.answer(asked(formula, frame))
