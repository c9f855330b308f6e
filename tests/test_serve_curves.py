"""Are dates, markets, carry-over and contributions served in every form, as the formula has them, and refused in its words?"""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from jsonschema import Draft202012Validator

from adresponse.rows import check
from adresponse.serving.answers import predictions_body
from adresponse.serving.app import App, create_app
from adresponse.serving.client import _bodies
from adresponse.serving.holder import Holder, Served
from adresponse.serving.options import Options
from adresponse.serving.requests import CSV, PARQUET
from adresponse.stored import Stored, open_stored
from curves_example import CHANNELS, MARKETS, hill, panel, stored_curves
from serving_example import Said, app, ask, formula

ROW = {"TV, national": 100, "search": 20.5, "price": 1, "when": "2024-03-04", "market": "North"}


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return open_stored(stored_curves(panel(), tmp_path_factory.mktemp("weeks")))


@pytest.fixture(scope="module")
def server(weeks: Stored) -> App:
    return create_app(Holder(Served(weeks, "7", "sales"), ready=True), Options(log="errors"))


def said(server: App, body: Any, kind: str | None = "application/json", **more: Any) -> Said:
    return asyncio.run(ask(server, body, kind, **more))


def expected(model: Stored, frame: pd.DataFrame, level: float | None = None, contributions: bool = False) -> pd.DataFrame:
    columns = check(model.formula.reads, {n: frame[n] for n in model.formula.inputs})
    return pd.DataFrame(model.formula.answer(columns, level, contributions=contributions))


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    records = frame.assign(when=frame["when"].dt.strftime("%Y-%m-%d")).to_dict("records")
    return [{str(k): v for k, v in record.items()} for record in records]


def test_every_form_is_answered_alike(server: App, weeks: Stored) -> None:
    frame = panel().table.frame[list(weeks.formula.inputs)].sample(50, random_state=1)
    told = expected(weeks, frame)["prediction"].tolist()
    records = rows_of(frame)
    columns = {n: [r[n] for r in records] for n in ("when", *reversed(weeks.formula.inputs[:3]), "market")}
    split = {"columns": list(columns), "data": [list(r) for r in zip(*columns.values(), strict=True)]}
    for form in ({"dataframe_records": records}, {"dataframe_split": split}, {"inputs": columns}, {"instances": records}):
        assert said(server, form).json == {"predictions": told}
    assert said(server, frame.to_csv(index=False).encode(), CSV).json == {"predictions": told}
    for stamps in ("us", "ms"):
        file = io.BytesIO()
        frame.astype({"market": "category", "when": f"datetime64[{stamps}]"}).to_parquet(file)
        assert said(server, file.getvalue(), PARQUET).json == {"predictions": told}


def test_a_single_market_and_date_hold_for_all_rows(server: App, weeks: Stored) -> None:
    asked = {**ROW, "when": ["2024-03-04", "2024-03-11"], "TV, national": [0, 5]}
    frame = pd.DataFrame({**ROW, "when": asked["when"], "TV, national": [0.0, 5.0]})
    assert said(server, {"inputs": asked}).json["predictions"] == expected(weeks, frame)["prediction"].tolist()


def test_interval_and_contributions_are_flat_objects(server: App, weeks: Stored) -> None:
    body = {"dataframe_records": [ROW], "params": {"interval": 0.9, "contributions": True}}
    (found,) = said(server, body).json["predictions"]
    assert list(found) == ["prediction", "lower", "upper", "base", "contribution_TV, national", "contribution_search"]
    assert [found] == expected(weeks, pd.DataFrame([ROW]), 0.9, True).to_dict("records")
    assert found["base"] + found["contribution_TV, national"] + found["contribution_search"] == found["prediction"]


@pytest.mark.parametrize("rows", [1, 100])
def test_contributions_of_a_straight_line(rows: int) -> None:
    line = formula("TV", "Radio")
    body = {"inputs": {"TV": [float(i) for i in range(rows)], "Radio": [2.0] * rows}, "params": {"contributions": True}}
    found = said(app(line), body).json["predictions"]
    told = line.answer([np.arange(float(rows)), np.full(rows, 2.0)], contributions=True)
    assert found == pd.DataFrame(told).to_dict("records")
    plain = said(app(line), {**body, "params": {"contributions": False, "interval": None}}).json
    assert plain == {"predictions": told["prediction"].tolist()}


def test_a_day_may_be_a_number_as_in_tables(server: App, weeks: Stored) -> None:
    """20240304, which ``predict`` and ``run`` read as well, in JSON and in Parquet."""
    frame = pd.DataFrame([ROW | {"when": day} for day in (20240304, 20240311)])
    told = said(server, {"dataframe_records": [ROW | {"when": day} for day in ("2024-03-04", "2024-03-11")]}).json
    assert said(server, {"dataframe_records": frame.to_dict("records")}).json == told
    assert said(server, frame.to_parquet(index=False), "application/vnd.apache.parquet").json == told


def test_rows_without_a_date_go_the_quick_way(tmp_path: Path) -> None:
    model = open_stored(stored_curves(hill(), tmp_path))
    server = create_app(Holder(Served(model, "7"), ready=True), Options(log="errors"))
    frame = hill().table.frame[list(model.formula.inputs)]
    told = expected(model, frame)["prediction"].tolist()
    for given in (frame, frame.iloc[:5]):
        assert said(server, {"dataframe_records": given.to_dict("records")}).json == {"predictions": told[: len(given)]}
        assert said(server, given.to_csv(index=False).encode(), CSV).json == {"predictions": told[: len(given)]}
    ends = said(server, {"dataframe_records": frame.iloc[:2].to_dict("records"), "params": {"interval": 0.8}}).json
    assert ends["predictions"] == expected(model, frame.iloc[:2], 0.8).to_dict("records")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"when": "soon"}, "Column 'when', row 1: 'soon' is not a date; write it as 2024-12-31."),
        ({"when": 2024030}, "Column 'when', row 1: 2024030 is not a date"),
        ({"when": None}, "Column 'when', row 1: the value is missing; give a date."),
        ({"market": "Nrth"}, "Column 'market', row 1: 'Nrth' is not a market of the model. Did you mean 'North'?"),
        ({"search": "20"}, "Column 'search', row 1: '20' is not a number; give a number without quotes."),
        ({"week": 1}, "Column 'week' is not known to the model. "),
    ],
)
def test_what_breaks_the_contract_is_said(server: App, changed: dict[str, Any], message: str) -> None:
    found = said(server, {"dataframe_records": [ROW | changed]})
    assert found.status == 400
    assert found.message.startswith(message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3,soon,North", "Column 'when', row 1: 'soon' is not a date"),
        ("1,2,3,,North", "Column 'when', row 1: the value is missing; give a date."),
        ("1,2,3,2024-03-04,7", "Column 'market', row 1: '7' is not a market of the model."),
        ("1,2,3,2024-03-04,", "Column 'market', row 1: the value is missing; give a market."),
        ("1,-2,3,2024-03-04,North", "Column 'search', row 1: -2 is negative"),
    ],
)
def test_csv_is_refused_in_the_same_words(server: App, line: str, message: str) -> None:
    found = said(server, f'"TV, national",search,price,when,market\n{line}\n'.encode(), CSV)
    assert found.status == 400
    assert found.message.startswith(message)


def test_a_missing_date_column_a_period_twice_and_unknown_params_are_said(server: App) -> None:
    without = {k: v for k, v in ROW.items() if k != "when"}
    assert said(server, {"dataframe_records": [without]}).message.startswith("Column 'when' is missing. The rows have:")
    twice = said(server, {"dataframe_records": [ROW, ROW | {"when": "2024-03-05"}]})
    assert "Row 2 has the period of row 1 of market 'North'" in twice.message
    asked = said(server, {"dataframe_records": [ROW], "params": {"contribution": True}})
    assert asked.message == (
        "The parameter 'contribution' is not known. Did you mean 'contributions'? There are: interval and contributions."
    )
    wrong = said(server, {"dataframe_records": [ROW], "params": {"contributions": 1}})
    assert wrong.message == "contributions=1 is neither true nor false; write true to see what each channel adds."


def test_info_and_openapi_say_dates_and_markets(server: App, weeks: Stored) -> None:
    info = said(server, b"", None, path="/info", method="GET").json
    assert [c["name"] for c in info["columns"]] == [*CHANNELS, "price"]
    assert info["date"] == {"name": "when", "meaning": "", "next": "2024-02-26"}  # the last of 60 weeks began on 19 February
    assert info["market"] == {"name": "market", "meaning": "", "markets": list(MARKETS)}
    assert info["formula"].startswith("sales = base (level, trend, season, market, price) + ")
    document = said(server, b"", None, path="/openapi.json", method="GET").json
    schemas = document["components"]["schemas"]
    valid = Draft202012Validator({"$ref": "#/components/schemas/Request", "components": document["components"]})
    replayed = weeks.replay["request"]
    assert valid.is_valid(replayed)
    assert valid.is_valid({"dataframe_records": [ROW], "params": {"contributions": True}})
    assert not valid.is_valid({"dataframe_records": [ROW | {"market": "Nrth"}]})
    assert schemas["Row"]["required"] == list(weeks.formula.inputs)
    assert said(server, replayed).json["predictions"] == weeks.replay["predictions"]


def test_names_with_marks_of_json_are_written_right() -> None:
    answers = {"prediction": np.array([1.5]), "base": np.array([0.5]), 'contribution_a, "b": c': np.array([1.0])}
    assert json.loads(b"[%b]" % predictions_body(answers)) == [{"prediction": 1.5, "base": 0.5, 'contribution_a, "b": c': 1.0}]


@pytest.mark.parametrize(("together", "requests"), [(True, 1), (False, 3)])
def test_rows_that_belong_together_go_into_one_request(together: bool, requests: int) -> None:
    columns: dict[str, list[Any]] = {"TV": [1.0] * 2_500, "when": ["2024-03-04"] * 2_500}
    assert len(list(_bodies(columns, None, together))) == requests


@pytest.mark.parametrize(
    ("date", "warned"),
    [
        ("0001-01-01", True),
        ("2022-12-26", True),
        ("2023-01-02", False),
        ("2025-04-07", False),
        ("2025-04-14", True),
        ("9999-12-31", True),
    ],
)
def test_a_date_that_no_row_fitted_speaks_for_is_told(server: App, weeks: Stored, date: str, warned: bool) -> None:
    # 60 weeks from 2023-01-02 on were fitted, so period 59 is the last, and 118 is as far after it as it is after the first
    baseline = weeks.formula.curves.baseline  # type: ignore[union-attr]
    assert (baseline.span, baseline.calendar.origin[:10]) == (59, "2023-01-02")  # type: ignore[union-attr]
    told = said(server, {"inputs": ROW | {"when": date}})
    assert told.status == 200
    spoken = "when beyond the dates that the rows fitted speak for, 2023-01-02 to 2025-04-07"
    assert (spoken in told.headers.get("x-adresponse-warning", "")) == warned
    strict = create_app(Holder(Served(weeks, "7", "sales"), ready=True), Options(log="errors", beyond="refuse"))
    assert (said(strict, {"inputs": ROW | {"when": date}}).status == 422) == warned
