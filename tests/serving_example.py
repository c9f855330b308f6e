"""An application that answers with a model made by hand, and a way to ask it without a socket."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adresponse.formula import Formula, Spread, Term
from adresponse.schema import Contract
from adresponse.serving.app import App, create_app
from adresponse.serving.holder import Holder, Served
from adresponse.serving.options import Options
from adresponse.stored import Stored

SPREAD = Spread(1.5, -0.02, 0.1, tuple(i / 50 for i in range(1, 100)))


def formula(*names: str, target: str = "Sales", date: str | None = None, controls: tuple[str, ...] = ()) -> Formula:
    """A linear formula whose coefficients we chose; each channel was fitted on 1 to 300."""
    channels = [n for n in names if n not in controls]
    meanings = {names[0]: {"means": "TV marketing budget", "unit": "thousand dollars"}}
    contract = Contract.build(target=target, channels=channels, controls=controls, date=date, dictionary=meanings)
    terms = tuple(Term(n, 1 / (299 + i), -0.003, 13.2 / (i + 1)) for i, n in enumerate(contract.features))
    ranges = dict.fromkeys(contract.features, (1.0, 300.0))
    about = {"name": "sales-response", "model_id": "m-0", "title": "LinearRegression", "package": "0.1.0"}
    return Formula(contract, 3.01, terms, SPREAD, ranges, about)


def served(given: Formula, version: str = "7", **more: Any) -> Served:
    """That formula as a server holds it."""
    row = dict.fromkeys(given.contract.features, 100.0)
    scores = {"basis": "held-out", "rows": 40, "interval": 0.9, "scores": {"mae": 2.4, "r2": 0.68}}
    replay = {"request": {"dataframe_records": [row]}, "predictions": []}
    return Served(Stored(Path(), given, replay, scores, "0" * 64), version, "sales-response", **more)


def app(given: Formula, more: dict[str, Any] | None = None, **options: Any) -> App:
    """The application, ready to answer."""
    return create_app(Holder(served(given, **(more or {})), ready=True), Options(**options))


@dataclass(frozen=True)
class Said:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The sentence of a refusal, in MLflow's shape."""
        assert set(self.json) == {"error_code", "message"}
        return str(self.json["message"])


async def ask(
    app: Any,
    body: bytes | str | dict[str, Any] = b"",
    kind: str | None = "application/json",
    path: str = "/invocations",
    method: str = "POST",
    headers: dict[str, str] | None = None,
    parts: list[bytes] | None = None,
    never: bool = False,
    query: str = "",
) -> Said:
    """Ask; the body comes in ``parts`` where they are given, and never ends with ``never``."""
    if not isinstance(body, bytes):
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
    given = {"host": "localhost", **({"content-type": kind} if kind else {}), **(headers or {})}
    waiting = [*(parts if parts is not None else [body])]
    start: dict[str, Any] = {}
    answered: list[bytes] = []

    async def receive() -> dict[str, Any]:
        if never and not waiting:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting) or never}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            answered.append(message["body"])

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(k.encode(), v.encode()) for k, v in given.items()],
    }
    await app(scope, receive, send)
    found = {k.decode(): v.decode() for k, v in start["headers"]}
    return Said(start["status"], found, b"".join(answered))
