"""Do MLflow's own ways take dates, markets and contributions, answer as we do, and what do they refuse by themselves?"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from adresponse.serving.app import create_app
from adresponse.serving.holder import Holder, Served
from adresponse.serving.options import Options
from adresponse.stored import Stored, open_stored
from adresponse.verification import EvaluationRows
from curves_example import panel, stored_curves
from serving_example import ask


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return open_stored(stored_curves(panel(), tmp_path_factory.mktemp("weeks")))


@pytest.fixture(scope="module")
def model(weeks: Stored) -> Any:
    return mlflow.pyfunc.load_model(str(weeks.folder))


@pytest.fixture
def rows(weeks: Stored) -> pd.DataFrame:
    frame = panel().table.frame[list(weeks.formula.inputs)].tail(20).reset_index(drop=True)
    return frame.assign(**{name: frame[name].round(3) for name in weeks.formula.contract.features})


def expected(rows: pd.DataFrame) -> Any:
    return panel().estimator.predict(rows)


def as_text(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(when=rows["when"].dt.strftime("%Y-%m-%d"))


def test_the_signature_states_dates_markets_and_params(model: Any) -> None:
    columns = {c["name"]: c["type"] for c in model.metadata.signature.inputs.to_dict()}
    assert columns == {
        "TV, national": "double", "search": "double", "price": "double", "when": "datetime", "market": "string",
    }  # fmt: skip
    params = {p["name"]: (p["type"], p["default"]) for p in model.metadata.signature.params.to_dict()}
    assert params == {"interval": ("double", None), "contributions": ("boolean", False)}


@pytest.mark.parametrize("kind", ["datetime64[ns]", "datetime64[s]", "date"])
def test_a_pyfunc_takes_moments_and_days(model: Any, rows: pd.DataFrame, kind: str) -> None:
    given = rows.assign(when=rows["when"].dt.date) if kind == "date" else rows.astype({"when": kind})
    np.testing.assert_allclose(model.predict(given), expected(rows), rtol=1e-12)


def test_a_pyfunc_says_what_each_channel_adds(model: Any, rows: pd.DataFrame) -> None:
    found = model.predict(rows, params={"interval": 0.9, "contributions": True})
    assert list(found) == ["prediction", "lower", "upper", "base", "contribution_TV, national", "contribution_search"]
    added = found["base"] + found["contribution_TV, national"] + found["contribution_search"]
    assert added.tolist() == found["prediction"].tolist() == model.predict(rows).tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"when": "2024-03-04"},  # text, though its JSON door takes it
        {"when": pd.Timestamp("2024-03-04", tz="UTC")},
        {"market": 1},
        {"market": pd.Categorical(["North"] * 20)},
    ],
    ids=repr,
)
def test_what_mlflow_refuses_in_process_by_itself(model: Any, rows: pd.DataFrame, change: dict[str, Any]) -> None:
    with pytest.raises(MlflowException, match="Failed to enforce schema"):
        model.predict(rows.assign(**change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"market": "Nrth"}, "Column 'market', row 1: 'Nrth' is not a market of the model. Did you mean 'North'?"),
        ({"when": pd.Timestamp("2024-03-04")}, "has the period of row 1 of market 'North'"),
        ({"search": -1.0}, "Column 'search', row 1: -1 is negative"),
    ],
)
def test_a_pyfunc_refuses_in_our_words(model: Any, rows: pd.DataFrame, change: dict[str, Any], said: str) -> None:
    with pytest.raises(MlflowException) as refusal:
        model.predict(rows.sort_values(["when", "market"]).assign(**change))
    assert said in refusal.value.message
    assert refusal.value.error_code == "INVALID_PARAMETER_VALUE"


def test_mlflows_server_answers_as_ours_to_the_byte(weeks: Stored, model: Any, rows: pd.DataFrame) -> None:
    text = as_text(rows)
    split = {"columns": list(text), "data": text.to_numpy().tolist()}
    bodies = [
        {form: value, **more}
        for form, value in (
            ("dataframe_split", split),
            ("dataframe_records", text.to_dict("records")),
            ("inputs", text.to_dict("list")),
            ("instances", text.to_dict("records")),
        )
        for more in ({}, {"params": {"contributions": True}}, {"params": {"interval": 0.9, "contributions": True}})
    ]
    ours = create_app(Holder(Served(weeks, "1"), ready=True), Options(log="errors"))
    theirs = scoring_server.init(model)

    async def said() -> list[tuple[bytes, bytes]]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=theirs), base_url="http://localhost") as client:
            headers = {"content-type": "application/json"}
            given = [json.dumps(body).encode() for body in bodies]
            return [
                ((await ask(ours, b)).body, (await client.post("/invocations", content=b, headers=headers)).content)
                for b in given
            ]

    for mine, yours in asyncio.run(said()):
        assert mine == yours


def test_mlflows_server_takes_no_csv_with_a_date(model: Any, rows: pd.DataFrame) -> None:
    """Its reading of CSV asks pandas for a column of dates in a way that pandas refuses; ours takes it."""
    with pytest.raises(MlflowException, match="not supported for parsing"):
        scoring_server.invocations(rows.to_csv(index=False), "text/csv", model, model.metadata.get_input_schema())


WITHOUT_US = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "adresponse":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Without())
import json, mlflow, pandas as pd
rows = pd.read_json(sys.stdin, orient="records", convert_dates=["when"], precise_float=True)
print(json.dumps(mlflow.pyfunc.load_model(sys.argv[1]).predict(rows.astype({"price": float, "search": float})).tolist()))
"""


def test_a_version_of_curves_is_loaded_where_adresponse_is_not_installed(weeks: Stored, rows: pd.DataFrame) -> None:
    given = as_text(rows).to_json(orient="records", double_precision=15)
    command = [sys.executable, "-c", WITHOUT_US, str(weeks.folder)]
    done = subprocess.run(command, input=given, capture_output=True, text=True, env=os.environ.copy())
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), expected(rows), rtol=1e-12)


def test_scikit_learn_gets_the_pipeline(weeks: Stored, rows: pd.DataFrame) -> None:
    np.testing.assert_array_equal(mlflow.sklearn.load_model(str(weeks.folder)).predict(rows), expected(rows))


def test_the_rows_to_verify_hold_dates_and_markets_and_go_together(weeks: Stored) -> None:
    found = EvaluationRows.read(weeks.folder)
    assert found.together
    assert list(found.X) == list(weeks.formula.inputs)
    asked = found.columns()
    assert asked["when"][0] == "2023-01-02"
    assert set(asked["market"]) == set(weeks.formula.reads.markets)
    np.testing.assert_array_equal(found.predicted, panel().estimator.predict(found.X))
    answers = mlflow.pyfunc.load_model(str(weeks.folder)).predict(found.X)
    np.testing.assert_allclose(answers, found.predicted, rtol=1e-12)


def test_the_example_is_of_the_last_rows_which_the_history_leads_up_to(weeks: Stored) -> None:
    data = weeks.replay["request"]["dataframe_split"]["data"]
    assert [row[3] for row in data][-1] == str(panel().table.frame["when"].max().date())


def test_a_folder_ships_what_answers_and_nothing_else(weeks: Stored) -> None:
    (package,) = Path(weeks.folder, "code").iterdir()
    names = {"errors", "schema", "rows", "formula", "pyfunc", "curves", "periods", "baseline", "curved", "__init__"}
    assert {p.stem for p in package.glob("*.py")} == names
