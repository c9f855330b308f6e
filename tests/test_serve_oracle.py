"""Do we answer what MLflow's own server answers, to the byte, whatever the form of a valid request?"""

from __future__ import annotations

import asyncio
import io
import json
from functools import cache
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adresponse import stored
from adresponse.formula import Formula
from adresponse.serving.quick import FEW
from adresponse.serving.requests import CSV, JSON, PARQUET
from serving_example import app, ask, formula

NAMES = (("TV",), ("TV", "Radio", "Newspaper"), ("TV Spend (k$)", "Ö: online", 'say "yes"'))
EXAMPLES = 700  # for each of the three models: 2,100 requests


@pytest.fixture(scope="module", params=NAMES, ids=lambda names: f"{len(names)} columns, {names[-1]}")
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Formula]:
    """Our application and MLflow's, on the same formula."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import scoring_server
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    made = formula(*request.param)
    folder = tmp_path_factory.mktemp("model")
    data = folder / "formula"
    data.mkdir()
    (data / "formula.json").write_text(made.to_json(), encoding="utf-8")
    code = folder / "files"
    module = stored.ship_code(code)
    signature = ModelSignature(
        Schema([ColSpec(DataType.double, n) for n in made.contract.features]),
        Schema([ColSpec(DataType.double)]),
        ParamSchema([ParamSpec("interval", DataType.double, None)]),
    )
    target = folder / "saved"
    mlflow.pyfunc.save_model(
        str(target),
        loader_module=module,
        data_path=str(data),
        code_paths=[str(code / "code" / module.partition(".")[0])],
        signature=signature,
        pip_requirements=["mlflow"],
    )
    theirs = scoring_server.init(mlflow.pyfunc.load_model(str(target)))
    return app(made, log="errors"), theirs, made


@cache
def runner() -> asyncio.Runner:
    """One loop for all: with each new one a thread starts, in which MLflow works."""
    return asyncio.Runner()


def theirs_said(server: Any, bodies: list[tuple[bytes, str]]) -> list[httpx.Response]:
    async def all_of() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=server)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return [await client.post("/invocations", content=b, headers={"content-type": k}) for b, k in bodies]

    return runner().run(all_of())


def ours_said(server: Any, bodies: list[tuple[bytes, str]]) -> list[Any]:
    async def all_of() -> list[Any]:
        return [await ask(server, b, k) for b, k in bodies]

    return runner().run(all_of())


spend = st.one_of(
    st.floats(0, 300),
    st.integers(0, 300),
    st.floats(0, 1e9),
    st.sampled_from([0, 0.0, 1e-9, 5e-324, 1e15, 1e22, 123456789012345678, 12345678901234567890123]),
)
SHAPES = ("split", "split index", "split turned", "records", "records padded", "instances", "instances columns", "inputs")
SHAPES += ("inputs records", "inputs row", "inputs list", "instances list", "escaped")


def body_of(shape: str, names: tuple[str, ...], rows: list[list[float]], level: float | None) -> bytes:
    """One valid request; a shape that does not fit the model gives a near one."""
    records = [dict(zip(names, r, strict=True)) for r in rows]
    columns = {n: [r[i] for r in rows] for i, n in enumerate(names)}
    made: dict[str, Any] = {
        "split": {"dataframe_split": {"columns": list(names), "data": rows}},
        "split index": {"dataframe_split": {"index": list(range(len(rows))), "columns": list(names), "data": rows}},
        "split turned": {"dataframe_split": {"data": [r[::-1] for r in rows], "columns": list(names[::-1])}},
        "instances": {"instances": records},
        "instances columns": {"instances": columns},
        "inputs": {"inputs": columns},
        "inputs records": {"inputs": records},
        "inputs row": {"inputs": records[0]},
        "inputs list": {"inputs": [r[0] for r in rows] if len(names) == 1 else records},
        "instances list": {"instances": [r[0] for r in rows] if len(names) == 1 else columns},
    }.get(shape, {"dataframe_records": records})
    if level is not None:
        made["params"] = {"interval": level}
    if shape == "records padded":
        made["dataframe_records"] = [{**r, "Sales": 1.5} for r in records]  # the target is not read
    return json.dumps(made, ensure_ascii=shape == "escaped", indent=2 if shape == "inputs" else None).encode()


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_json_answers_are_equal_to_the_byte(both: tuple[Any, Any, Formula], data: st.DataObject) -> None:
    ours, theirs, made = both
    names = made.contract.features
    size = data.draw(st.sampled_from([1, 1, 2, 3, FEW, FEW + 1, 60]))
    few = data.draw(st.lists(st.lists(spend, min_size=len(names), max_size=len(names)), min_size=1, max_size=min(size, 6)))
    rows = (few * size)[:size]
    level = data.draw(st.sampled_from([None, None, 0.5, 0.9, 0.123]))
    body = body_of(data.draw(st.sampled_from(SHAPES)), names, rows, level)
    (expected,), (found,) = theirs_said(theirs, [(body, JSON)]), ours_said(ours, [(body, JSON)])
    assert expected.status_code == 200, expected.text[:500]
    assert (found.status, found.body) == (200, expected.content)


@pytest.mark.parametrize("form", ["inputs", "instances"])
@pytest.mark.parametrize("rows", [2, FEW + 1])
@pytest.mark.parametrize(
    ("target", "status"), [([1.0], 400), ([], 400), ([1.0] * 40, 400), ("as many", 200), (1.0, 200), (None, 200)]
)
def test_a_column_that_is_not_read_has_as_many_values_as_the_others(
    both: tuple[Any, Any, Formula], form: str, rows: int, target: Any, status: int
) -> None:
    ours, theirs, made = both
    columns = {name: [10.0] * rows for name in made.contract.features}
    body = json.dumps({form: {**columns, "Sales": [1.0] * rows if target == "as many" else target}}).encode()
    (expected,), (found,) = theirs_said(theirs, [(body, JSON)]), ours_said(ours, [(body, JSON)])
    assert (found.status, expected.status_code) == (status, status), (found.body, expected.text)
    if status == 200:
        assert found.body == expected.content
    else:
        assert f"unequal numbers of values ({made.contract.features[0]!r} {rows}" in found.message
        assert f"'Sales' {len(target)})" in found.message


@pytest.mark.parametrize("rows", [1, FEW, 100])
@pytest.mark.parametrize("kind", [CSV, PARQUET])
def test_tables_are_answered_alike(both: tuple[Any, Any, Formula], kind: str, rows: int) -> None:
    ours, theirs, made = both
    random = np.random.default_rng(rows)
    frame = pd.DataFrame({n: random.uniform(0, 400, rows) for n in made.contract.features})
    file = io.BytesIO()
    if kind == CSV:
        frame.to_csv(file, index=False)
    else:
        frame.to_parquet(file)
    (expected,) = theirs_said(theirs, [(file.getvalue(), kind)])
    (found,) = ours_said(ours, [(file.getvalue(), kind)])
    assert (expected.status_code, found.status) == (200, 200)
    if kind == PARQUET:
        assert found.body == expected.content
    else:  # pandas reads decimal text to within some units in the last place
        np.testing.assert_allclose(found.json["predictions"], expected.json()["predictions"], rtol=1e-12)


def test_probes_say_what_mlflow_s_say(both: tuple[Any, Any, Formula]) -> None:
    ours, theirs, _ = both

    async def compare() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=theirs), base_url="http://localhost") as client:
            for path in ("/ping", "/health", "/version"):
                expected = await client.get(path)
                found = await ask(ours, path=path, method="GET", kind=None)
                assert (found.status, found.body) == (200, expected.content)
                assert found.headers["content-type"] == expected.headers["content-type"]

    runner().run(compare())
