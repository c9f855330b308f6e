"""What is there beside /invocations? Probes, what the model is, counts, its OpenAPI document, and a page to try it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

from adresponse.serving.holder import Holder, Served
from adresponse.serving.metrics import Tally
from adresponse.serving.options import Options
from adresponse.serving.requests import CSV, FORMS, JSON, PARQUET

__all__ = ["ROUTES", "Context"]

Reply = tuple[int, Sequence[tuple[bytes, bytes]], bytes]
PAGE_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
JSON_TYPE = (b"content-type", JSON.encode())


@dataclass(frozen=True, slots=True)
class Context:
    """What a page may tell of."""

    served: Served
    holder: Holder
    options: Options
    tally: Tally


def _json(value: Any, status: int = 200) -> Reply:
    return status, [JSON_TYPE], json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _ping(context: Context) -> Reply:
    return 200, [JSON_TYPE], b"\n"


def _version(context: Context) -> Reply:
    return 200, [JSON_TYPE], _installed("mlflow").encode()


@cache
def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _ready(context: Context) -> Reply:
    holder = context.holder
    ready = holder.ready and not holder.draining
    said: dict[str, Any] = {"ready": ready, "version": context.served.version}
    said |= {"draining": True} if holder.draining else {}
    said |= {"trouble": holder.trouble} if holder.trouble else {}
    status, headers, body = _json(said, 200 if ready else 503)
    return status, [*headers, *([] if ready else [(b"retry-after", b"1")])], body


def _info(context: Context) -> Reply:
    served, options = context.served, context.options
    formula, scores = served.stored.formula, served.stored.scores
    contract = formula.contract
    columns = [
        {
            "name": name,
            "meaning": contract[name].means,
            "unit": contract[name].unit,
            "role": contract[name].role,
            "lowest": formula.ranges[name][0],
            "highest": formula.ranges[name][1],
        }
        for name in contract.features
    ]
    target = contract[contract.target]
    return _json(
        {
            "name": served.name or formula.about.get("name", ""),
            "version": served.version,
            "model_id": served.stored.model_id,
            "title": formula.about.get("title", ""),
            "columns": columns,
            "not_read": [c.name for c in contract.columns if c.name not in contract.features],
            "target": {"name": target.name, "meaning": target.means, "unit": target.unit},
            "formula": _readable(context),
            "scores": {"basis": scores.get("basis"), "rows": scores.get("rows"), **scores.get("scores", {})},
            "interval": {"highest_level": formula.spread.highest_level},
            "beyond": options.beyond,
            "limits": {
                "body_bytes": options.max_body,
                "seconds": options.timeout,
                "requests_under_way": options.max_waiting,
            },
            "takes": {"forms": list(FORMS), "content_types": [JSON, CSV, PARQUET]},
            "package": {"made_by": formula.about.get("package", ""), "served_by": _installed("adresponse")},
            "trouble": context.holder.trouble,
        }
    )


def _readable(context: Context) -> str:
    """The formula as a person writes it, in the columns' own units, rounded to six digits."""
    formula = context.served.stored.formula
    if not formula.closed:
        return "no closed formula: the stored pipeline answers"
    constant = formula.intercept + sum(t.coefficient * t.shift for t in formula.terms)
    terms = "".join(
        f" {'-' if (slope := t.coefficient * t.scale) < 0 else '+'} {abs(slope):.6g} * {t.column}" for t in formula.terms
    )
    return f"{formula.contract.target} = {constant:.6g}{terms}"


def _metrics(context: Context) -> Reply:
    return 200, [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")], context.tally.text()


def _openapi(context: Context) -> Reply:
    from adresponse.serving.openapi import document

    return _json(document(context.served, context.options, _installed("adresponse")))


def _file(name: str, kind: bytes) -> Callable[[Context], Reply]:
    @cache
    def body() -> bytes:
        return (files("adresponse.serving") / name).read_bytes()

    headers = [(b"content-type", kind), (b"content-security-policy", PAGE_POLICY)]
    return lambda context: (200, headers, body())


def _to_docs(context: Context) -> Reply:
    return 307, [JSON_TYPE, (b"location", b"/docs")], b"{}"


ROUTES: dict[str, Callable[[Context], Reply]] = {
    "/ping": _ping,
    "/health": _ping,
    "/version": _version,
    "/ready": _ready,
    "/info": _info,
    "/metrics": _metrics,
    "/openapi.json": _openapi,
    "/": _to_docs,
    "/docs": _file("page.html", b"text/html; charset=utf-8"),
    "/docs/page.css": _file("page.css", b"text/css; charset=utf-8"),
    "/docs/page.js": _file("page.js", b"text/javascript; charset=utf-8"),
}
