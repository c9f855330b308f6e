"""Is a request answered alike, whichever way it takes: at once or by a task, read quickly or with care?"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adresponse.errors import AdresponseError
from adresponse.rows import check, check_few
from adresponse.serving.careful import csv_columns
from adresponse.serving.quick import FEW, LONG, QuickCsv
from adresponse.serving.requests import CSV, JSON, PARQUET, Reader
from served_example import PATIENCE, Served, closed_model, serving
from serving_example import app, ask, formula

MANY = 200  # rows, of which the body has more than LONG bytes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if not Path("/proc/self/task").is_dir():
        pytest.skip("missing part: /proc, which tells of processes")
    place = tmp_path_factory.mktemp("wire")
    with serving(place / "home", folder=closed_model(place / "model", 2.0)) as made:
        yield made


def request(body: bytes, *headers: str, path: str = "/invocations", method: str = "POST") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    if body and not any(h.startswith("Transfer") for h in headers):
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def answers(url: str, *pieces: bytes, count: int = 1) -> list[tuple[str, dict[str, str], bytes]]:
    """Status line, headers and body of each answer to bytes that are sent piece by piece."""
    parts = urlsplit(url)
    found = []
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection, connection.makefile("rb") as reader:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i, piece in enumerate(pieces):
            if i:
                while_read(reader, connection)
            connection.sendall(piece)
        for _ in range(count):
            status = reader.readline().decode().strip()
            lines = iter(lambda: reader.readline().decode().strip(), "")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            found.append((status, headers, reader.read(int(headers["content-length"]))))
    return found


def while_read(reader: Any, connection: socket.socket) -> None:
    """Give the server time to read what was sent, by one whole exchange on another connection."""
    address = connection.getpeername()
    with socket.create_connection(address, timeout=10) as other:
        other.sendall(request(b"", "Connection: close", path="/ping", method="GET"))
        while other.recv(4096):
            pass


ROWS = [[round(1 + 0.37 * i, 2)] for i in range(MANY)]
SPLIT = json.dumps({"dataframe_split": {"columns": ["TV"], "index": list(range(MANY)), "data": ROWS}}).encode()
JSON_TYPE = "Content-Type: application/json"
UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAB")  # as Java's client asks
CASES = {
    "one row": request(b'{"instances": [{"TV": 10.0}]}', JSON_TYPE),
    "many rows": request(SPLIT, JSON_TYPE),
    "an interval": request(b'{"instances": [10, 20], "params": {"interval": 0.5}}', JSON_TYPE),
    "CSV": request(b"TV\n1.5\n2.5\n", "Content-Type: text/csv"),
    "an id": request(b'{"instances": [10.0]}', JSON_TYPE, "X-Request-Id: of-ours"),
    "beyond the range": request(b'{"instances": [1000000.0]}', JSON_TYPE),
    "refused": request(b'{"instances": [{"TV": "much"}]}', JSON_TYPE),
    "no content type": request(b'{"instances": [10.0]}'),
    "no body": request(b"", JSON_TYPE),
    "another host": request(b'{"instances": [10.0]}', JSON_TYPE).replace(b"127.0.0.1", b"elsewhere"),
    "in chunks": request(b'15\r\n{"instances": [10.0]}\r\n0\r\n\r\n', JSON_TYPE, "Transfer-Encoding: chunked"),
    "compressed": request(b'{"instances": [10.0]}', JSON_TYPE, "Content-Encoding: gzip"),
    "an upgrade": request(b'{"instances": [10.0]}', JSON_TYPE, *UPGRADE),
    "an upgrade, in chunks": request(
        b'15\r\n{"instances": [10.0]}\r\n0\r\n\r\n', JSON_TYPE, "Transfer-Encoding: chunked", *UPGRADE
    ),
    "a query": request(b'{"instances": [10.0]}', JSON_TYPE, path="/invocations?a=1"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_request_in_one_piece_is_answered_as_in_two(server: Served, name: str) -> None:
    sent = CASES[name]
    told: list[Any] = []
    for pieces in ((sent,), (sent,), (sent[: len(sent) - 5], sent[-5:])):  # the host and the type are known from the second on
        [(status, headers, body)] = answers(server.url, *pieces)
        if name != "an id":
            del headers["x-request-id"]
        del headers["date"]
        told.append((status, sorted(headers.items()), body))
    assert told[0] == told[1] == told[2]


def test_requests_sent_together_are_answered_in_order(server: Served) -> None:
    mixed = [request(b"", path="/info", method="GET")] + [
        request(b'{"instances": [%d.0]}' % i if i % 3 else b'{"instances": ["text"]}', JSON_TYPE) for i in range(1, 8)
    ]
    told = answers(server.url, b"".join(mixed), count=len(mixed))
    assert json.loads(told[0][2])["name"]
    for i, (status, _, body) in enumerate(told[1:], 1):
        assert (status.split()[1], body) == ("200", b'{"predictions": [%d.0]}' % (2 * i)) if i % 3 else b"row 1" in body


@pytest.mark.parametrize("cut", [5, 60, -25, -5])  # in the first line, in the head, in its last line, in the body
def test_an_upgrade_is_ignored_and_the_connection_goes_on(server: Served, cut: int) -> None:
    asked, plain = (request(b'{"instances": [10.0]}', JSON_TYPE, *more) for more in (UPGRADE, ()))
    sent = plain + asked + asked + plain
    at = len(plain) + len(asked) + cut if cut > 0 else len(plain) + 2 * len(asked) + cut
    told = answers(server.url, sent[:at], sent[at:], asked, plain, count=6)
    assert [(status, body) for status, _, body in told] == [("HTTP/1.1 200 OK", b'{"predictions": [20.0]}')] * 6


def test_requests_answered_at_once_are_counted_and_logged(server: Served) -> None:
    def counted() -> float:
        [(_, _, text)] = answers(server.url, request(b"", path="/metrics", method="GET"))
        found = re.search(rb"^adresponse_rows_total (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    before = counted()
    answers(server.url, request(SPLIT, JSON_TYPE, "X-Request-Id: counted-1"))
    assert counted() == before + MANY


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that gives a request half a second."""
    if not Path("/proc/self/task").is_dir():
        pytest.skip("missing part: /proc, which tells of processes")
    place = tmp_path_factory.mktemp("hasty")
    with serving(place / "home", folder=closed_model(place / "model", 2.0), timeout=0.5) as made:
        yield made


AT_ONCE = request(b'{"instances": [10.0]}', JSON_TYPE)  # answered at once from the second on
BY_A_TASK = request(b"", path="/ping", method="GET")
HALF = b"GET /ping HT"


def to_the_end(connection: socket.socket, drip: bytes = b"") -> bytes:
    """All that comes until the server closes a connection, to which a byte is sent from time to time."""
    read = b""
    end = time.monotonic() + PATIENCE
    connection.settimeout(0.05)
    while time.monotonic() < end:
        try:
            if not (part := connection.recv(65536)):
                return read
            read += part
        except TimeoutError:
            with contextlib.suppress(OSError):
                connection.sendall(drip)
        except ConnectionResetError:  # a byte met a closed door
            return read
    raise AssertionError(f"still open after {read!r}")


@pytest.mark.parametrize(
    ("sent", "drip", "statuses"),
    [
        (b"", b"", []),
        (HALF, b"", [408]),
        (HALF + b"TP/1.1\r\nX-Ever: longer", b"T", [408]),  # it never stands still
        (b"", b"\r\n", []),  # nor is it ever begun
        (AT_ONCE * 2 + HALF, b"", [200, 200, 408]),
        (BY_A_TASK + HALF, b"", [200, 408]),
        (AT_ONCE * 2, b"\r\n", [200, 200]),
        (BY_A_TASK, b"\r\n", [200]),
    ],
)
def test_a_connection_that_owes_a_whole_head_is_closed(hasty: Served, sent: bytes, drip: bytes, statuses: list[int]) -> None:
    parts = urlsplit(hasty.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(sent)
        said = to_the_end(connection, drip)
    assert [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", said)] == statuses
    if 408 in statuses:
        told = json.loads(said.rpartition(b"\r\n\r\n")[2])
        assert told["error_code"] == "DEADLINE_EXCEEDED"
        assert "head of the request did not arrive within 0.5 seconds" in told["message"]


def test_a_head_that_does_not_end_is_refused_before_it_takes_the_memory(server: Served) -> None:
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(BY_A_TASK + b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Ever: ")
        said = to_the_end(connection, b"longer" * 1000)
    assert [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", said)] == [200, 431]
    assert json.loads(said.rpartition(b"\r\n\r\n")[2])["message"].startswith(
        "The head of the request has more than 65536 bytes"
    )


def test_a_long_head_that_ends_and_a_body_in_its_last_piece_are_taken(server: Served) -> None:
    begun = f"X-Long: {'a' * 40_000}"
    long = request(SPLIT + b" " * 100_000, JSON_TYPE, begun)
    assert [status for status, _, _ in answers(server.url, long[:60], long[60:30_000], long[30_000:])] == ["HTTP/1.1 200 OK"]


@pytest.mark.parametrize("sent", [AT_ONCE, BY_A_TASK])
def test_a_connection_that_rests_between_requests_is_kept(hasty: Served, sent: bytes) -> None:
    parts = urlsplit(hasty.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as resting:
        for _ in range(3):
            resting.sendall(sent)
            said = b""
            while not said.endswith((b"]}", b"\r\n\r\n\n")):
                part = resting.recv(65536)
                assert part, "it was closed"
                said += part
            assert said.startswith(b"HTTP/1.1 200")
            with socket.create_connection((parts.hostname, parts.port), timeout=10) as slow:
                slow.sendall(HALF)
                to_the_end(slow)  # opened later, closed meanwhile


def test_only_what_is_plainly_right_is_answered_at_once() -> None:
    async def asked() -> None:
        here = app(formula("TV"), token="a-secret")
        headers = {"host": "localhost", "content-type": "application/json", "authorization": "Bearer a-secret"}
        body = b'{"instances": [10.0, 20.0]}'
        given = [(name.encode(), value.encode()) for name, value in headers.items()]
        assert here.at_once(given, body) is None  # no host was checked yet
        said = await ask(here, body, headers=headers)
        found = here.at_once(given, body)
        assert found is not None
        head, _, text = found.partition(b"\r\n\r\n")
        lines = dict(line.split(": ") for line in head.decode().split("\r\n"))
        assert text == said.body
        assert {**lines, "x-request-id": ""} == {**said.headers, "x-request-id": ""}
        assert lines["x-request-id"] != said.headers["x-request-id"]
        for other, there in (
            (given, b'{"instances": [301.0]}'),  # beyond the range: with a warning
            (given, b'{"instances": [-1.0]}'),
            (given[:-1], body),  # no token
            ([*given, (b"host", b"localhost")], body),
            ([*given, (b"content-encoding", b"gzip")], body),
            ([(n, b"text/html" if n == b"content-type" else v) for n, v in given], body),
        ):
            assert here.at_once(other, there) is None
        here.holder.draining = True
        assert here.at_once(given, body) is None

    asyncio.run(asked())


@pytest.mark.parametrize("height", [1, MANY])
def test_requests_leave_no_cycles(height: int) -> None:
    """What only the garbage collector frees would pile up, since its rounds are seldom in a server."""
    rows = pd.DataFrame({"TV": [5.0] * height, "Radio": [2.0] * height})
    file = io.BytesIO()
    rows.to_parquet(file)
    asked = [(text.encode(), JSON) for text in bodies(rows.to_numpy().tolist()).values()]
    asked += [(rows.to_csv(index=False).encode(), CSV), (file.getvalue(), PARQUET)]
    here = app(formula("TV", "Radio"), log="errors")

    async def all_of_them() -> None:
        for body, kind in asked:
            assert (await ask(here, body, kind)).status == 200  # makes the host and the kind known
            assert here.at_once([(b"host", b"localhost"), (b"content-type", kind.encode())], body) is not None
        gc.collect()
        gc.freeze()  # else each round below looks through whatever other tests have left
        gc.disable()
        try:
            for body, kind in asked:
                for _ in range(200):
                    here.at_once([(b"host", b"localhost"), (b"content-type", kind.encode())], body)
                # a cycle is two objects at least; what other tests' threads leave meanwhile is a few in all
                assert gc.collect() < 200, kind
        finally:
            gc.enable()
            gc.unfreeze()

    asyncio.run(all_of_them())


# --- read quickly, read with care


CONTRACT = formula("TV", "Radio")
READER = Reader(CONTRACT, 8 << 20)


def outcome(read: Any, *given: Any) -> tuple[str, Any]:
    """The features' values and the level, to the bit, or the sentence of the refusal."""
    try:
        asked = read(*given)
    except AdresponseError as error:
        return "refused", str(error)
    return "read", ([np.asarray(v).tolist() for v in asked.vectors()], asked.level)


@contextlib.contextmanager
def numbers_read_by(library: str) -> Iterator[None]:
    """simdjson, or msgspec, as where simdjson is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        if library == "msgspec":
            patch.setitem(sys.modules, "simdjson", None)
        yield


BY_EACH = pytest.mark.parametrize("library", ["simdjson", "msgspec"])


def bodies(rows: list[list[float]]) -> dict[str, str]:
    """The same rows in each form of JSON."""
    records = [dict(zip(("TV", "Radio"), row, strict=True)) for row in rows]
    split = {"columns": ["TV", "Radio"], "index": list(range(len(rows))), "data": rows}
    return {
        "split": json.dumps({"dataframe_split": split}),
        "close": json.dumps({"dataframe_split": {**split, "columns": ["Radio", "TV"]}}, separators=(",", ":")),
        "records": json.dumps({"dataframe_records": records, "params": {"interval": 0.5}}),
        "instances": json.dumps({"instances": records}),
        "inputs": json.dumps({"inputs": {n: [row[i] for row in rows] for i, n in enumerate(("TV", "Radio"))}}),
    }


@BY_EACH
@settings(max_examples=300, deadline=None)
@given(
    form=st.sampled_from(["split", "close", "records", "instances", "inputs"]),
    height=st.sampled_from([1, FEW, FEW + 1, MANY]),
    cuts=st.lists(
        st.tuples(
            st.floats(0, 1), st.integers(0, 2), st.sampled_from([*'[]{},:"0-.e1 \n\\', "],[", "], [", "]]", "[[", "null"])
        ),
        max_size=2,
    ),
    data=st.data(),
)
@example(form="split", height=MANY, cuts=[], data=None)
def test_json_is_read_quickly_as_with_care(
    library: str, form: str, height: int, cuts: list[tuple[float, int, str]], data: Any
) -> None:
    number = st.floats(0, 1e300) if data is not None else st.nothing()
    few = data.draw(st.lists(number, min_size=3, max_size=3)) if data is not None else [1.0, 2.5, 1e-7]
    rows = [[few[i % 3] * i, 0.1 * i] for i in range(height)]
    rows = [[x if x < float("inf") else 1e300 for x in row] for row in rows]
    text = bodies(rows)[form]
    for place, gone, put in cuts:
        at = int(place * len(text))
        text = text[:at] + put + text[at + gone :]
    assert height < MANY or len(text) > LONG
    body = text.encode()
    with numbers_read_by(library):
        assert outcome(READER.read, JSON, body) == outcome(READER._careful_json, body)


@BY_EACH
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("], [2.0", "], 7 [2.0"),  # a number between two rows
        ("], [2.0", " ], 2.0 [ "),  # a number before its row
        ("], [2.0", "  2.0], ["),  # three values, then one
        ("], [2.0", ", 2.0], ["),
        ("[[", "[ ["),
        ("]]", "] ]"),
        ("[[", "[[["),
    ],
)
def test_a_value_out_of_its_row_is_read_with_care(library: str, old: str, new: str) -> None:
    text = bodies([[float(i), 0.5] for i in range(MANY)])["split"]
    body = text.replace(old, new, 1).encode()
    assert body != text.encode()
    with numbers_read_by(library):
        assert outcome(READER.read, JSON, body) == outcome(READER._careful_json, body)


@BY_EACH
@pytest.mark.parametrize("rows", [FEW + 1, 30_000])  # with the parser that is kept, and one for this body alone
@pytest.mark.parametrize(
    "number", ["18446744073709551616", "1e400", "007", "+1", ".5", "1.", "-0.0", "5e-324", "123456789012345678"]
)
def test_a_number_is_read_quickly_as_with_care(library: str, rows: int, number: str) -> None:
    text = bodies([[float(i), 0.5] for i in range(rows)])["split"].replace("[0.0, 0.5]", f"[{number}, 0.5]", 1)
    table = "TV,Radio\n" + f"{number},0.5\n" * rows
    with numbers_read_by(library):
        assert outcome(READER.read, JSON, text.encode()) == outcome(READER._careful_json, text.encode())
        assert outcome(READER.read, CSV, table.encode()) == csv_with_care(table.encode())


VALUES = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-3, 10**400),  # larger than a double holds, too
    st.sampled_from([None, True, "12", [1.0], 0.0, -0.0, 5e-324]),
)


@settings(max_examples=300, deadline=None)
@given(st.data(), st.integers(0, 4), st.integers(0, 4))
def test_a_few_rows_are_checked_in_the_same_words_as_many(data: Any, first: int, second: int) -> None:
    few = st.one_of(VALUES, st.floats(0, 9))
    given = {name: data.draw(st.lists(few, min_size=n, max_size=n)) for name, n in (("TV", first), ("Radio", second))}

    def outcome_of(checked: Any) -> str:
        try:
            return repr([np.asarray(column, dtype=float).tolist() for column in checked(CONTRACT.contract, given)])
        except AdresponseError as error:
            return str(error)

    assert outcome_of(check_few) == outcome_of(check)


@BY_EACH
@settings(max_examples=200, deadline=None)
@given(
    height=st.sampled_from([1, FEW, FEW + 1, MANY]),
    cuts=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 2), st.sampled_from([*',.e-+0 \n[]"', "\r\n", "\n\n", "nan", ""])), max_size=2
    ),
)
def test_csv_is_read_quickly_as_with_care(library: str, height: int, cuts: list[tuple[float, int, str]]) -> None:
    text = "Radio,TV\n" + "\n".join(f"{0.1 * i!r},{1e5 / (i + 1)!r}" for i in range(height))
    for place, gone, put in cuts:
        at = int(place * len(text))
        text = text[:at] + put + text[at + gone :]
    with numbers_read_by(library):
        assert outcome(READER.read, CSV, text.encode()) == csv_with_care(text.encode())


def test_only_plain_header_lines_are_remembered() -> None:
    read = QuickCsv(["TV", "Radio"], {"TV", "Radio", "Sales"})
    for number in range(3):  # JSON that is said to be CSV: its first line is the whole body
        assert read(b'{"inputs": {"TV": [%d], "Radio": [1]}}' % number) is None
    assert read(b"Radio,TV\n1,2\n") == ([[2.0, 1.0]], ())
    assert list(read._headers) == [b"Radio,TV"]


def csv_with_care(body: bytes) -> tuple[str, Any]:
    """What the careful reading makes of a CSV body."""
    return outcome(lambda: READER._careful(csv_columns(body, CONTRACT.reads), None))
