"""Does one frame get one answer, to the last bit, in JSON, CSV, Parquet, Excel, batch, MLflow and in process?

Spark's answers are held against the same formula in ``test_spark.py``, MLflow's server against ours in ``test_mlflow_ways.py``.
"""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import adresponse
from adresponse.engines import batch
from adresponse.rows import check
from adresponse.serving.app import create_app
from adresponse.serving.holder import Holder, Served
from adresponse.serving.options import Options
from adresponse.serving.requests import CSV, JSON, PARQUET
from adresponse.stored import Stored, open_stored
from adresponse.study import Study
from curves_example import hill, panel, sized_panel, stored_curves
from serving_example import ask
from stored_example import stored, three_channels

CHANNELS = ["TV", "Radio", "Newspaper"]
spend = st.one_of(
    st.floats(0, 400),
    st.floats(0, 1e12),
    st.sampled_from([0.0, 0.1, 1 / 3, 5e-324, 2.2250738585072014e-308, 1e15 + 1, 123456789.123456789, 1e22]),
)
whole = st.integers(0, 2**53)
column = st.one_of(st.lists(spend, min_size=8, max_size=8), st.lists(whole, min_size=8, max_size=8))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return open_stored(stored(three_channels(), tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def pyfunc(model: Stored) -> Any:
    return mlflow.pyfunc.load_model(str(model.folder))


def served(model: Stored, body: bytes, kind: str) -> list[float]:
    app = create_app(Holder(Served(model, "1"), ready=True), Options(log="errors"))
    return list(asyncio.run(ask(app, body, kind)).json["predictions"])


def as_parquet(frame: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.to_parquet(file)
    return file.getvalue()


def scored(model: Stored, frame: pd.DataFrame, folder: Path, kind: str) -> list[float]:
    source, output = folder / f"in.{kind}", folder / f"out.{kind}"
    write: dict[str, Any] = {"csv": frame.to_csv, "parquet": frame.to_parquet, "xlsx": frame.to_excel}
    read: dict[str, Any] = {"csv": pd.read_csv, "parquet": pd.read_parquet, "xlsx": pd.read_excel}
    write[kind](source, index=False)
    batch.predict(model, source, output, overwrite=True)
    return [float(v) for v in read[kind](output)["prediction"]]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(columns=st.tuples(column, column, column))
def test_one_frame_gets_one_answer(
    model: Stored, pyfunc: Any, tmp_path_factory: pytest.TempPathFactory, columns: tuple[list[float], ...]
) -> None:
    frame = pd.DataFrame(dict(zip(CHANNELS, columns, strict=True)))
    folder = tmp_path_factory.mktemp("scored")
    expected = model.formula.answer([np.array(c, dtype=float) for c in columns])["prediction"].tolist()
    split = json.dumps({"dataframe_split": {"columns": CHANNELS, "data": [list(r) for r in zip(*columns, strict=True)]}})
    found = {
        "JSON": served(model, split.encode(), JSON),
        "records": served(model, json.dumps({"dataframe_records": frame.to_dict("records")}).encode(), JSON),
        "CSV": served(model, frame.to_csv(index=False).encode(), CSV),
        "Parquet": served(model, as_parquet(frame), PARQUET),
        "batch, CSV": scored(model, frame, folder, "csv"),
        "batch, Parquet": scored(model, frame, folder, "parquet"),
        "in process": adresponse.load(str(model.folder)).predict(frame).tolist(),
        "MLflow": pyfunc.predict(frame.astype(float)).tolist(),  # it takes no int64 for a double column
    }
    assert found == dict.fromkeys(found, expected)


@pytest.mark.parametrize(
    "study",
    [panel, sized_panel, hill],
    ids=["panel with carry-over", "markets of other sizes", "curves without a date"],
)
def test_curves_give_one_answer(study: Any, tmp_path: Path) -> None:
    """Rows in any order, half of them those fitted, some left out, some after the last."""
    made: Study = study()
    model = open_stored(stored_curves(made, tmp_path))
    names = list(model.formula.inputs)
    frame = made.table.frame[names].sample(frac=0.8, random_state=1).reset_index(drop=True)
    text, stamped = frame, frame
    if "when" in frame:
        later = frame.assign(when=frame["when"] + pd.Timedelta(weeks=9))
        later = later[later["when"] > frame["when"].max()]
        stamped = pd.concat([frame, later]).sample(frac=1, random_state=2).reset_index(drop=True)
        text = stamped.assign(when=stamped["when"].dt.strftime("%Y-%m-%d"))
    found: dict[str, list[float]] = {}
    rounded = stamped.round(dict.fromkeys(model.formula.contract.features, 6))  # a sheet keeps 15 digits
    for frame, more in ((stamped, False), (rounded, True)):
        columns = check(model.formula.reads, {n: frame[n] for n in names})
        expected = model.formula.answer(columns)["prediction"].tolist()
        written = text.assign(**{n: frame[n] for n in model.formula.contract.features})
        records, split = written.to_dict("records"), {"columns": names, "data": written.to_numpy().tolist()}
        found = {
            "JSON": served(model, json.dumps({"dataframe_split": split}).encode(), JSON),
            "records": served(model, json.dumps({"dataframe_records": records}).encode(), JSON),
            "CSV": served(model, frame.to_csv(index=False).encode(), CSV),
            "Parquet": served(model, as_parquet(frame), PARQUET),
            "batch, CSV": scored(model, frame, tmp_path, "csv"),
            "batch, Parquet": scored(model, frame, tmp_path, "parquet"),
            "in process": adresponse.load(str(model.folder)).predict(frame).tolist(),
            "in process, dates as text": adresponse.load(str(model.folder)).predict(written).tolist(),
            "MLflow": mlflow.pyfunc.load_model(str(model.folder)).predict(frame).tolist(),
        }
        if more:
            found["batch, Excel"] = scored(model, frame, tmp_path, "xlsx")
        assert found == dict.fromkeys(found, expected)
