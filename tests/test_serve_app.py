"""Is every fault refused with its reason and the right status, in whatever form it comes, and is the rest answered?"""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adresponse.errors import ModelError
from adresponse.formula import Term
from adresponse.rows import Vector
from adresponse.serving import routes
from adresponse.serving.accesslog import AccessLog
from adresponse.serving.app import SLICE, TICK, App, create_app
from adresponse.serving.holder import Holder, Served
from adresponse.serving.metrics import FOLDER, Tally
from adresponse.serving.options import Options
from adresponse.serving.quick import FEW
from adresponse.serving.reload import _replay
from adresponse.serving.requests import CSV, JSON, PARQUET
from adresponse.stored import open_stored
from serving_example import Said, app, ask, formula, served
from stored_example import one_channel, stored

ONE = app(formula("TV", date="Week"), log="errors")
TWO = app(formula("TV", "Radio: FM"), log="errors")


def say(server: Any = ONE, *args: Any, **more: Any) -> Said:
    return asyncio.run(ask(server, *args, **more))


def deep(n: int) -> str:
    return '{"inputs": ' + "[" * n + "]" * n + "}"


TWICE = "is given twice"
NOT_JSON = "The body is not JSON"
BODIES = [
    ("", 400, "The body is empty"),
    ("  ", 400, "The body is empty"),
    ("{", 400, NOT_JSON),
    ('{"inputs": [1,]}', 400, NOT_JSON),  # a comma too many
    ('{"inputs": [01]}', 400, NOT_JSON),
    ('{"inputs": [1]} x', 400, NOT_JSON),  # something after the end
    (b'{"inputs": [\xff]}', 400, "is not UTF-8 (byte 13)"),
    ('{"inputs": [1]}'.encode("utf-16"), 400, "is not UTF-8"),  # MLflow takes it; one encoding is enough
    ("[1]", 400, "The body is a list"),
    ("null", 400, "The body is null"),
    ("5", 400, "The body is a number"),
    ("{}", 400, "this one has none of them"),
    ('{"inputs": [1], "instances": [1]}', 400, "this one has instances and inputs"),
    ('{"input": [1]}', 400, "Did you mean 'inputs'?"),
    ('{"inputs": [1], "x": 1}', 400, "The key 'x' is not known"),
    (deep(900), 400, "is not a number"),  # a list is no number, however deep
    (deep(100_000), 400, "nested too deeply"),
    ('{"inputs": []}', 400, "no rows"),
    ('{"dataframe_records": []}', 400, "no rows"),
    ('{"inputs": {"TV": []}}', 400, "no rows"),
    ('{"dataframe_split": {"columns": ["TV"], "data": []}}', 400, "no rows"),
    ('{"inputs": {}}', 400, "'TV' is missing"),
    ('{"inputs": [{}]}', 400, "'TV' is missing"),
    ('{"inputs": [{"Tv": 1}]}', 400, "Column 'TV' is missing. Did you mean 'Tv'?"),
    ('{"inputs": [{"TV": 1, "Radio": 1}]}', 400, "Column 'Radio' is not known"),
    ('{"inputs": [{"TV": 1}, {}]}', 400, "Column 'TV', row 2: the value is missing"),
    ('{"inputs": [1, null]}', 400, "Column 'TV', row 2: the value is missing"),
    ('{"inputs": [1, NaN]}', 400, "Column 'TV', row 2: the value is missing"),
    ('{"inputs": [1, Infinity]}', 400, "Column 'TV', row 2: the value is not finite"),
    ('{"inputs": [1, 1e400]}', 400, "Column 'TV', row 2: the value is not finite"),
    ('{"inputs": [1, 1' + "0" * 5000 + "]}", 400, "Column 'TV', row 2: the value is not finite"),  # more digits than int takes
    ('{"inputs": [{"TV": 1, "Sales": NaN}]}', 400, "holds NaN, which is no JSON"),  # a column that is not read
    ('{"inputs": [1, -0.5]}', 400, "Column 'TV', row 2: -0.5 is negative"),
    ('{"inputs": [1, true]}', 400, "Column 'TV', row 2: true is not a number"),
    ('{"inputs": [1, "5"]}', 400, "Column 'TV', row 2: '5' is not a number; give a number without quotes"),
    ('{"inputs": [1, {"TV": 2}]}', 400, "row 1: a number where an object"),  # numbers and objects mixed
    ('{"inputs": [[1]]}', 400, "Column 'TV', row 1: list is not a number"),
    ('{"inputs": "1"}', 400, "inputs is text"),
    ('{"inputs": 1}', 400, "inputs is a number"),
    ('{"inputs": null}', 400, "inputs is null"),
    ('{"dataframe_records": {"TV": 1}}', 400, "dataframe_records is an object"),
    ('{"dataframe_split": [[1]]}', 400, "dataframe_split is a list"),
    ('{"dataframe_split": {"data": [[1]]}}', 400, "no list of names under columns"),
    ('{"dataframe_split": {"columns": ["TV"]}}', 400, "no list of rows under data"),
    ('{"dataframe_split": {"columns": ["TV", "TV"], "data": [[1, 2]]}}', 400, TWICE),
    ('{"dataframe_split": {"columns": ["TV"], "data": [[1], [1, 2]]}}', 400, "Row 2 has 2 values for 1 column"),
    ('{"dataframe_split": {"columns": ["TV"], "data": [[1], []]}}', 400, "Row 2 has 0 values"),
    ('{"dataframe_split": {"columns": ["TV"], "data": [[1], 2]}}', 400, "row 2: a number where a list"),
    ('{"dataframe_split": {"columns": ["TV"], "data": [[1]], "index": [1, 2]}}', 400, "an index that does not fit"),
    ('{"dataframe_split": {"columns": ["TV"], "data": [[1]], "dtype": 1}}', 400, "'dtype', which is not known"),
    ('{"inputs": [1], "inputs": [2]}', 400, TWICE),  # at the top
    ('{"inputs": [{"TV": 1, "TV": 1}]}', 400, TWICE),
    ('{"inputs": [{"TV": 1, "T\\u0056": 1}]}', 400, TWICE),  # the same name, once escaped
    ('{"inputs": {"TV": [1], "TV": [1]}}', 400, TWICE),
    ('{"dataframe_split": {"columns": ["TV"], "data": [[1]], "data": [[2]]}}', 400, TWICE),
    ('{"inputs": [1], "params": {"interval": 0.5, "interval": 0.5}}', 400, TWICE),
    ('{"inputs": [1], "params": {"interval": 1}}', 400, "interval=1 is no share"),
    ('{"inputs": [1], "params": {"interval": 0}}', 400, "interval=0 is no share"),
    ('{"inputs": [1], "params": {"interval": "0.9"}}', 400, "interval='0.9' is no share"),
    ('{"inputs": [1], "params": {"interval": true}}', 400, "interval=true is no share"),
    ('{"inputs": [1], "params": {"interval": 0.999}}', 400, "higher than the 99 rows fitted can tell"),
    ('{"inputs": [1], "params": {"intervall": 0.9}}', 400, "Did you mean 'interval'?"),
    ('{"inputs": [1], "params": 0.9}', 400, "params is a number"),
    ('{"inputs": [1.7e308]}', 200, ""),  # large, and the answer is still a number
]


@pytest.mark.parametrize(("body", "status", "says"), BODIES, ids=lambda v: str(v)[:50])
def test_a_json_body_is_refused_with_its_reason(body: str | bytes, status: int, says: str) -> None:
    said = say(ONE, body)
    assert said.status == status, said.body[:300]
    if status != 200:
        assert says in said.message
        assert len(said.body) < 700  # no echo of the body
        assert said.json["error_code"] in ("BAD_REQUEST", "INVALID_PARAMETER_VALUE")
        assert "Traceback" not in said.message


def test_an_answer_too_large_to_be_a_number_is_refused() -> None:
    body = {"inputs": {"TV": [1.0, 1.7e308], "Radio: FM": [1.0, 1.7e308]}}
    steep = formula("TV", "Radio: FM")
    steep = type(steep)(
        steep.contract, 0.0, tuple(type(t)(t.column, 1.0, 0.0, 1e9) for t in steep.terms), steep.spread, steep.ranges
    )
    for rows in (1, 20):
        said = say(app(steep), {"inputs": {k: v * rows for k, v in body["inputs"].items()}})
        assert (said.status, said.message[:5]) == (400, "Row 2")


def table(values: list[Any], kind: str, name: str = "TV") -> bytes:
    """One column in one of the forms."""
    if kind == JSON:
        return json.dumps({"inputs": {name: values}}).encode()
    if kind == CSV:
        texts = ["" if v is None else "inf" if v == math.inf else str(v) for v in values]
        return (f"{name}\n" + "\n".join(f'"{t}"' for t in texts) + "\n").encode()
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.table({name: values}), file)
    return file.getvalue()


@pytest.mark.parametrize("rows_before", [1, FEW + 1])
@pytest.mark.parametrize(
    ("values", "name"),
    [
        ([-3.0], "TV"),  # negative spend
        ([None], "TV"),  # missing
        ([math.inf], "TV"),
        ([1.0], "Tv"),  # a missing column, and one that is near
        ([1.0], "Web"),
    ],
)
def test_one_fault_has_one_sentence_in_every_form(values: list[Any], name: str, rows_before: int) -> None:
    given = [5.0] * rows_before + values
    sentences = {say(ONE, table(given, kind, name), kind).message for kind in (JSON, CSV, PARQUET)}
    assert len(sentences) == 1


@pytest.mark.parametrize("values", [["abc"], [True]])
def test_what_is_no_number_has_one_sentence_in_every_form(values: list[Any]) -> None:
    assert len({say(ONE, table(values, kind), kind).message for kind in (JSON, CSV, PARQUET)}) == 1


@pytest.mark.parametrize(
    ("body", "kind", "status", "says"),
    [
        ("", CSV, 400, "The body is empty"),
        ("TV\n", CSV, 400, "no rows"),
        ("TV,TV\n1,2\n", CSV, 400, TWICE),
        ("TV\n1\n2,3\n", CSV, 400, "Row 2 has 2 values for 1 column"),
        ('TV\n"1\n', CSV, 400, "is not CSV"),  # a quote that does not end
        ('""TV\n1\n', CSV, 400, "is not CSV"),  # text after a quoted name
        ("TV\n1_000\n", CSV, 400, "'1_000' is not a number"),  # which float() would take
        ("TV\n٣\n", CSV, 400, "is not a number"),  # which float() would take too
        (b"TV\n\xff\n", CSV, 400, "is not UTF-8"),
        ("PAR1 and so on", PARQUET, 400, "no Parquet file"),
        ("", PARQUET, 400, "no Parquet file"),
        ('{"inputs": [1]}', None, 415, "The Content-Type is missing"),
        ('{"inputs": [1]}', "text/plain", 415, "send application/json"),
        ('{"inputs": [1]}', "application/json; charset=latin-1", 415, "not utf-8"),
        ('{"inputs": [1]}', "application/json; format=pandas-split", 415, "charset=utf-8 and nothing else"),
        ('{"inputs": [1]}', 'Application/JSON; charset="UTF-8"', 200, ""),
        ("TV\r\n1\r\n\r\n2\r\n", CSV, 200, ""),  # line ends of Windows, and an empty line
        (",TV\n0,1\n1,2\n", CSV, 200, ""),  # DataFrame.to_csv() writes its index
        ("\ufeffTV\n1\n", CSV, 200, ""),  # Excel writes a mark first
        ("Week,TV,Sales\n2024-01-01,+1.,5\n", CSV, 200, ""),  # columns that are not read
    ],
)
def test_bodies_of_other_kinds(body: str | bytes, kind: str | None, status: int, says: str) -> None:
    said = say(ONE, body, kind)
    assert said.status == status, said.body
    assert status == 200 or says in said.message


def test_columns_that_are_not_read_change_nothing() -> None:
    plain = say(ONE, {"dataframe_records": [{"TV": 5}, {"TV": 7}]}).body
    full = say(ONE, {"dataframe_records": [{"Week": "2024: 1", "Sales": None, "TV": 5}, {"TV": 7}]})
    split = {"columns": ["Week", "TV"], "data": [["a", 5], ["b", 7]]}
    assert plain == full.body == say(ONE, {"dataframe_split": split}).body


def test_an_odd_index_of_a_frame_is_not_read() -> None:
    frame = pd.DataFrame({"TV": [5, 7]}, index=pd.Index(["a", "b"], name="where"))
    file = io.BytesIO()
    frame.to_parquet(file)
    assert say(ONE, file.getvalue(), PARQUET).body == say(ONE, {"inputs": [5, 7]}).body


def test_files_of_other_layouts_in_turn_are_each_read_as_they_are() -> None:
    here = app(formula("TV", "Web"))
    rows = pd.DataFrame({"TV": [5.0, 7.0], "Web": [2.0, 3.0]})
    frames = [
        rows,
        rows[["Web", "TV"]],
        rows.astype({"TV": "int64"}),
        rows.set_index("Web"),  # then Web is the frame's index, and missing
        rows.set_index("Web", drop=False),
        rows.assign(Sales=1.0),
        rows.assign(nothing=1.0),
        rows.replace({"TV": {7.0: None}}).astype(float),
    ]
    bodies = []
    for frame in frames:
        file = io.BytesIO()
        frame.to_parquet(file)
        bodies.append(file.getvalue())
    alone = [say(app(formula("TV", "Web")), body, PARQUET) for body in bodies]
    assert [said.status for said in alone].count(200) >= 5
    for order in (bodies, bodies[::-1], [b for body in bodies for b in (bodies[0], body)]):
        for body in order:
            assert say(here, body, PARQUET).body == alone[bodies.index(body)].body


@pytest.mark.parametrize("kind", ["date32[day]", "timestamp[us, tz=Mars/Olympus]"])
def test_a_parquet_value_that_python_cannot_hold_is_refused(kind: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    known = {"date32[day]": pa.date32(), "timestamp[us, tz=Mars/Olympus]": pa.timestamp("us", "Mars/Olympus")}
    file = io.BytesIO()
    pq.write_table(pa.table({"TV": pa.array([2**31 - 1], known[kind])}), file)
    said = say(ONE, file.getvalue(), PARQUET)
    assert (said.status, said.message.partition(";")[0]) == (400, f"Column 'TV' holds a {kind} that cannot be read")


def test_without_pyarrow_parquet_is_refused_and_not_told_to_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    body = table([1.0], PARQUET)
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # type: ignore[arg-type]
    said = say(ONE, body, PARQUET)
    assert (said.status, said.message[:26]) == (415, "Parquet is read by pyarrow")
    assert say(ONE, path="/info", method="GET").json["takes"]["content_types"] == [JSON, CSV]
    document = say(ONE, path="/openapi.json", method="GET").json
    assert set(document["paths"]["/invocations"]["post"]["requestBody"]["content"]) == {JSON, CSV}


def test_a_parquet_file_that_unpacks_to_too_much_is_refused() -> None:
    small = app(formula("TV"), max_body=20_000)
    assert say(small, table([5.0] * 50_000, PARQUET), PARQUET).status == 413


def test_names_with_colons_are_counted_right() -> None:
    for rows in (1, FEW + 1):
        records = [{"TV": 1, "Radio: FM": 2.5}] * rows
        one = say(TWO, {"dataframe_records": records})
        assert one.status == 200
        columns = {"TV": [1] * rows, "Radio: FM": [2.5] * rows}
        assert say(TWO, {"instances": columns}).body == one.body
    assert TWICE in say(TWO, '{"inputs": [{"TV": 1, "Radio: FM": 1, "Radio: FM": 1}]}').message


# --- who asks, how much, how long


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/invocations", 405, "POST"),
        ("PUT", "/invocations", 405, "POST"),
        ("POST", "/ping", 405, "GET, HEAD"),
        ("DELETE", "/info", 405, "GET, HEAD"),
        ("GET", "/nothing", 404, None),
        ("GET", "/invocations/", 404, None),
    ],
)
def test_a_wrong_path_or_method(method: str, path: str, status: int, allow: str | None) -> None:
    said = say(ONE, path=path, method=method)
    assert said.status == status
    assert said.headers.get("allow") == allow
    assert said.message


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:5001", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:5001", 200),
        ("evil.example", 421),  # a name that was pointed here (DNS rebinding)
        ("localhost.evil.example", 421),
        ("", 421),
    ],
)
def test_the_host_header_is_checked(host: str, status: int) -> None:
    assert say(ONE, path="/ping", method="GET", headers={"host": host}).status == status


def test_a_token_is_asked_for_except_by_probes() -> None:
    server = app(formula("TV"), token="s3cret")
    body = {"inputs": [5]}
    for given in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic s3cret"}, {"authorization": "s3cret"}):
        said = say(server, body, headers=given)
        assert (said.status, said.headers["www-authenticate"]) == (401, "Bearer")
        assert "s3cret" not in said.message
        assert say(server, path="/info", method="GET", headers=given).status == 401
        assert say(server, path="/ready", method="GET", headers=given).status == 200
    assert say(server, body, headers={"authorization": "bearer s3cret"}).status == 200


def test_a_body_over_the_limit() -> None:
    server = app(formula("TV"), max_body=100)
    assert say(server, headers={"content-length": "101"}).status == 413  # at once
    assert say(server, parts=[b" " * 60, b" " * 60]).status == 413  # while it comes
    assert say(server, b" " * 101).status == 413
    assert say(server, b'{"inputs": [5]}'.ljust(100)).status == 200


def test_a_body_in_parts_is_answered() -> None:
    assert say(ONE, parts=[b'{"inp', b'uts": [', b"5]}"]).body == say(ONE, {"inputs": [5]}).body


def test_a_compressed_body_is_not_taken() -> None:
    assert say(ONE, b"\x1f\x8b", headers={"content-encoding": "gzip"}).status == 415


def test_a_body_that_does_not_arrive_is_refused_in_time() -> None:
    began = time.perf_counter()
    said = say(app(formula("TV"), timeout=0.2), parts=[b"{"], never=True)
    assert (said.status, said.headers["connection"]) == (408, "close")
    assert time.perf_counter() - began < 2


def test_more_requests_than_allowed_are_told_to_come_again() -> None:
    server = app(formula("TV"), max_waiting=2, timeout=0.3)

    async def all_of() -> list[Said]:
        slow = [asyncio.create_task(ask(server, parts=[b"{"], never=True)) for _ in range(2)]
        await asyncio.sleep(0.01)
        third = await ask(server, {"inputs": [5]})
        probe = await ask(server, path="/ping", method="GET")
        return [third, probe, *(await asyncio.gather(*slow)), await ask(server, {"inputs": [5]})]

    third, probe, *slow, after = asyncio.run(all_of())
    assert (third.status, third.headers["retry-after"]) == (503, "1")
    assert probe.status == after.status == 200
    assert [s.status for s in slow] == [408, 408]


def test_many_rows_are_answered_in_slices_and_others_get_their_turn() -> None:
    values = np.linspace(1, 300, 300_000)
    body = json.dumps({"inputs": values.tolist()}).encode()

    async def both() -> list[str]:
        order: list[str] = []

        async def named(name: str, given: Any) -> Said:
            said = await ask(ONE, given)
            order.append(name)
            return said

        large, small = await asyncio.gather(named("large", body), named("small", {"inputs": [5]}))
        assert len(large.json["predictions"]) == 300_000
        assert small.status == 200
        return order

    assert asyncio.run(both()) == ["small", "large"]


def test_a_row_of_a_later_slice_is_named_by_its_place_among_all() -> None:
    given = formula("TV")
    steep = app(replace(given, terms=(Term("TV", 1.0, 0.0, 2.0),)))
    spends = [1.0] * (SLICE + 10)
    spends[SLICE + 4] = 1.7e308
    said = say(steep, {"inputs": {"TV": spends}})
    assert (said.status, said.message.partition(":")[0]) == (400, f"Row {SLICE + 5}")


def test_work_that_takes_too_long_stops() -> None:
    body = json.dumps({"inputs": [5.5] * 1_000_000}).encode()
    said = say(app(formula("TV"), timeout=0.05), body)
    assert said.status == 504
    assert said.json["error_code"] == "DEADLINE_EXCEEDED"


# --- a model without closed formula


def open_form() -> Any:
    made = formula("TV", "Radio")
    return type(made)(made.contract, math.nan, (), made.spread, made.ranges, made.about)


def pipeline_of(outcome: Any) -> App:
    async def pipeline(columns: list[Vector], seconds: float) -> Vector:
        assert 0 < seconds <= 30
        if isinstance(outcome, Exception):
            raise outcome
        return np.asarray(columns[0] + columns[1])

    return app(open_form(), {"ask": pipeline})


def test_a_pipeline_is_asked_where_there_is_no_formula() -> None:
    server = pipeline_of(None)
    said = say(server, {"inputs": {"TV": [1, 2], "Radio": [3, 4]}})
    assert said.body == b'{"predictions": [4.0, 6.0]}'
    assert say(server, {"inputs": {"TV": [-1], "Radio": [3]}}).status == 400


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (TimeoutError(), 504),
        (ModelError("The pipeline has ended and is started again."), 503),
        (RuntimeError("secret"), 500),  # a fault of ours is in the log alone
    ],
)
def test_a_pipeline_that_fails(outcome: Exception, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    said = say(pipeline_of(outcome), {"inputs": {"TV": [1], "Radio": [3]}})
    assert said.status == status
    assert "secret" not in said.message
    assert ("Traceback" in capsys.readouterr().err) == (status == 500)


# --- what answers carry


def test_headers_of_every_answer() -> None:
    for said in (say(ONE, {"inputs": [5]}), say(ONE, "{"), say(ONE, path="/ping", method="GET"), say(ONE, path="/x")):
        assert said.headers["x-model-version"] == "7"
        assert said.headers["x-content-type-options"] == "nosniff"
        assert said.headers["cache-control"] == "no-store"
        assert said.headers["x-frame-options"] == "DENY"
        assert int(said.headers["content-length"]) == len(said.body)
        assert said.headers["x-request-id"]


@pytest.mark.parametrize(("given", "kept"), [("abc-1.2_3", True), ("a b", False), ("a" * 65, False), ("ä", False), ("", False)])
def test_a_sane_request_id_is_kept(given: str, kept: bool) -> None:
    assert (say(ONE, {"inputs": [5]}, headers={"x-request-id": given}).headers["x-request-id"] == given) == kept


@pytest.mark.parametrize("rows", [1, FEW + 1])
def test_values_beyond_the_range_fitted(rows: int) -> None:
    body = {"inputs": [5.0] * (rows - 1) + [301.0]}
    said = say(ONE, body)
    assert (said.status, said.headers["x-adresponse-warning"]) == (200, "TV beyond the range fitted, 1 to 300")
    assert "x-adresponse-warning" not in say(ONE, {"inputs": [300.0] * rows}).headers
    strict = say(app(formula("TV"), beyond="refuse"), body)
    assert strict.status == 422
    assert "beyond the range fitted, 1 to 300; give values within it" in strict.message


def test_a_warning_is_ascii_and_bounded() -> None:
    names = [f"Ölwerbung\n{i}" for i in range(100)]
    said = say(app(formula(*names)), {"inputs": dict.fromkeys(names, 0.0)})
    assert said.status == 200
    assert said.headers["x-adresponse-warning"].startswith("\\xd6lwerbung 0 beyond")
    assert len(said.headers["x-adresponse-warning"]) == 500


def test_a_swapped_model_answers_the_next_request() -> None:
    server = app(formula("TV"))
    before = say(server, {"inputs": [5]})
    server.holder.current = served(formula("TV", "Radio"), "8")
    after = say(server, {"inputs": {"TV": 5, "Radio": 5}})
    assert (before.headers["x-model-version"], after.headers["x-model-version"]) == ("7", "8")
    assert after.status == 200


def test_ready_follows_the_holder() -> None:
    server = app(formula("TV"))
    server.holder.trouble = "Version 9 was refused."
    assert say(server, path="/ready", method="GET").json == {"ready": True, "version": "7", "trouble": "Version 9 was refused."}
    server.holder.draining = True
    said = say(server, path="/ready", method="GET")
    assert (said.status, said.headers["connection"]) == (503, "close")
    last = say(server, {"inputs": [5]})
    assert (last.status, last.headers["connection"]) == (200, "close")


def test_without_mlflow_its_version_is_that_which_stored_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = open_stored(stored(one_channel(), tmp_path))
    asked = create_app(Holder(Served(model, "1"), ready=True), Options(log="errors"))
    assert asyncio.run(ask(asked, b"", path="/version", method="GET")).body == version("mlflow").encode()

    def none(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(routes, "version", none)
    routes._installed.cache_clear()
    try:
        assert asyncio.run(ask(asked, b"", path="/version", method="GET")).body == version("mlflow").encode()
    finally:
        routes._installed.cache_clear()


def test_info_tells_of_the_model() -> None:
    said = say(ONE, path="/info", method="GET").json
    assert said["columns"] == [
        {
            "name": "TV",
            "meaning": "TV marketing budget",
            "unit": "thousand dollars",
            "role": "channel",
            "lowest": 1.0,
            "highest": 300.0,
        }
    ]
    assert (said["version"], said["formula"]) == ("7", "Sales = 2.9704 + 0.0441472 * TV")
    assert said["scores"] == {"basis": "held-out", "rows": 40, "mae": 2.4, "r2": 0.68}
    assert said["not_read"] == ["Sales", "Week"]


def test_metrics_count_what_was_answered() -> None:
    server = app(formula("TV"))
    say(server, {"inputs": [5, 6]})
    say(server, {"inputs": [-1]})
    say(server, path="/made/up/7", method="GET")
    text = say(server, path="/metrics", method="GET").body.decode()
    assert 'adresponse_requests_total{method="POST",path="/invocations",status="200"} 1.0' in text
    assert 'adresponse_requests_total{method="POST",path="/invocations",status="400"} 1.0' in text
    assert 'adresponse_requests_total{method="GET",path="other",status="404"} 1.0' in text  # paths are not a series each
    assert 'adresponse_request_seconds_count{path="/invocations"} 2.0' in text
    assert 'adresponse_request_seconds_bucket{le="+Inf",path="/invocations"} 2.0' in text
    assert "adresponse_rows_total 2.0" in text
    assert 'adresponse_model_info{name="sales-response",version="7"} 1.0' in text


def test_a_request_leaves_one_line_without_its_body(capfd: pytest.CaptureFixture[str]) -> None:
    server = app(formula("TV"), token="s3cret")
    given = {"authorization": "Bearer s3cret", "x-request-id": "mine"}
    say(server, {"inputs": [12345.5, 6]}, headers=given)
    say(server, {"inputs": [-98765]}, headers=given, path="/invocations")
    say(server, path='/a"b\n', method="GET", headers=given)
    server.tick()
    text = capfd.readouterr().err
    first, second, third = map(json.loads, text.splitlines())
    assert (first["id"], first["status"], first["rows"], first["version"]) == ("mine", 200, 2, "7")
    assert (second["status"], second["reason"]) == (400, "rows")
    assert third["path"] == '/a"b\n'
    assert "s3cret" not in text
    assert "98765" not in text


def test_only_refusals_are_logged_when_told_so(capfd: pytest.CaptureFixture[str]) -> None:
    log = AccessLog(errors_only=True)
    log.add("a", "GET", "/", 200, 1.0, 0, "7", "")
    log.add("b", "GET", "/", 404, 1.0, 0, "7", "path")
    log.flush()
    assert [json.loads(line)["id"] for line in capfd.readouterr().err.splitlines()] == ["b"]


def test_workers_that_share_a_folder_are_counted_together(tmp_path: Path) -> None:
    code = (
        "import asyncio\nfrom serving_example import app, ask, formula\nserver = app(formula('TV'), log='errors')\n"
        "said = asyncio.run(ask(server, {'inputs': [5, 6]}))\n"
        "print(asyncio.run(ask(server, path='/metrics', method='GET')).body.decode())"
    )
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parent)}
    texts = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert "adresponse_rows_total 2.0" in texts[0]
    assert "adresponse_rows_total 4.0" in texts[1]
    assert 'adresponse_request_seconds_count{path="/invocations"} 2.0' in texts[1]


def test_what_a_model_on_trial_answers_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slowly(columns: list[Vector], seconds: float) -> Vector:
        await asyncio.sleep(3 * TICK)
        return np.array([1.0])

    shared: list[Tally] = []
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setattr(Tally, "push", lambda tally: shared.append(tally))
    on_trial = served(open_form(), "8", ask=slowly)
    with pytest.raises(ModelError, match="answers its stored example otherwise than is recorded"):
        asyncio.run(_replay(on_trial, Options()))
    assert not shared
