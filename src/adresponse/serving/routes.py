"""What is there beside /invocations? Probes, what the model is, counts, its OpenAPI document, and a page to try it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adresponse.formula import Formula
from adresponse.serving.careful import FORMS
from adresponse.serving.holder import Holder, Served
from adresponse.serving.metrics import Tally
from adresponse.serving.options import Options
from adresponse.serving.requests import JSON, kinds_taken

if TYPE_CHECKING:
    from adresponse.curved import Curves

__all__ = ["ROUTES", "Context"]

Reply = tuple[int, Sequence[tuple[bytes, bytes]], bytes]
PAGE_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
JSON_TYPE = (b"content-type", JSON.encode())
CHARTJS = "django/static/chartkick/Chart.bundle.js"  # the package is there to carry it, for whichever framework
HTML, CSS, SCRIPT = b"text/html; charset=utf-8", b"text/css; charset=utf-8", b"text/javascript; charset=utf-8"


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
    return 200, [JSON_TYPE], (_installed("mlflow") or _stored_by(context.served.stored.folder)).encode()


@cache
def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


@cache
def _stored_by(folder: Path) -> str:
    """The version of MLflow that stored the model, for a server that does without."""
    found = re.search(r"^mlflow_version: (\S+)$", (folder / "MLmodel").read_text(encoding="utf-8"), re.MULTILINE)
    return "unknown" if found is None else found[1]


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
            "date": _date(context),
            "market": _market(context),
            "not_read": [c.name for c in contract.columns if c.name not in formula.inputs],
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
            "takes": {"forms": list(FORMS), "content_types": kinds_taken()},
            "package": {"made_by": formula.about.get("package", ""), "served_by": _installed("adresponse")},
            "trouble": context.holder.trouble,
        }
    )


def _date(context: Context) -> dict[str, Any] | None:
    """The date column, where the model reads it, and the date of the first period after those fitted."""
    from adresponse.serving.openapi import next_date

    formula = context.served.stored.formula
    name = formula.reads.date
    return None if name is None else {"name": name, "meaning": formula.contract[name].means, "next": next_date(formula)}


def _market(context: Context) -> dict[str, Any] | None:
    """The market column, where the model reads it, and the markets fitted."""
    formula = context.served.stored.formula
    name = formula.reads.market
    if name is None:
        return None
    return {"name": name, "meaning": formula.contract[name].means, "markets": list(formula.reads.markets)}


def _curved(formula: Formula, curves: Curves) -> str:
    """What a model of curves adds up, in words; ``formula.json`` has all its numbers."""
    base = curves.baseline
    has = {"trend": base.trend, "season": base.season, "weekday": base.weekdays, "market": any(base.markets.values())}
    has |= dict.fromkeys(base.controls, 1)
    parts = [f"base ({', '.join(['level', *(name for name, there in has.items() if there)])})"]
    for r in curves.responses:
        carried = f", carried over {len(r.weights)} periods" if len(r.weights) > 1 else ""
        half = "" if r.shape == "linear" else f" / {r.half:.6g}"
        slope = f", slope {r.slope:.6g}" if r.shape in ("hill", "power") else ""
        parts.append(f"{r.coefficient:.6g} * {r.shape}({r.channel}{half}{carried}{slope})")
    sized = ", in a market of size 1; of others all spend and the sum grow with the size" if curves.sizes else ""
    return f"{formula.contract.target} = {' + '.join(parts)}{sized}"


def _readable(context: Context) -> str:
    """The formula as a person writes it, in the columns' own units, rounded to six digits."""
    formula = context.served.stored.formula
    if formula.curves is not None:
        return _curved(formula, formula.curves)
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


def _file(name: str, kind: bytes, package: str = "adresponse.serving") -> Callable[[Context], Reply]:
    @cache
    def body() -> bytes:
        return (files(package) / name).read_bytes()

    headers = [(b"content-type", kind), (b"content-security-policy", PAGE_POLICY)]
    return lambda context: (200, headers, body())


ROUTES: dict[str, Callable[[Context], Reply]] = {
    "/ping": _ping,
    "/health": _ping,
    "/version": _version,
    "/ready": _ready,
    "/info": _info,
    "/metrics": _metrics,
    "/openapi.json": _openapi,
    "/": _file("planner.html", HTML),
    "/planner/planner.css": _file("planner.css", CSS),
    "/planner/planner.js": _file("planner.js", SCRIPT),
    "/planner/chart.js": _file("planner_chart.js", SCRIPT),
    "/planner/chartjs.js": _file(CHARTJS, SCRIPT, "chartkick"),
    "/planner/state.js": _file("planner_state.js", SCRIPT),
    "/docs": _file("page.html", HTML),
    "/docs/page.css": _file("page.css", CSS),
    "/docs/page.js": _file("page.js", SCRIPT),
}
