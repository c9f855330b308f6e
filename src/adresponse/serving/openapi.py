"""What may be asked of this server, as an OpenAPI document made from the model's own columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adresponse.formula import Formula
from adresponse.serving.answers import CODES
from adresponse.serving.holder import Served
from adresponse.serving.options import Options
from adresponse.serving.plans import MOST, MOST_POINTS
from adresponse.serving.requests import CSV, JSON, PARQUET, kinds_taken

__all__ = ["document", "next_date"]

WHY = {
    400: "A column, a row or a value breaks the contract; the message names it.",
    401: "The token is missing or wrong.",
    404: "There is nothing at this path.",
    405: "The path takes another method.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The content type is missing or not taken.",
    421: "The Host header names another server.",
    422: "A value lies beyond the range fitted, and the server is told to refuse it.",
    431: "The head of the request is too long.",
    500: "The server failed.",
    503: "Too much is under way, or the server is not ready.",
    504: "There was no answer in time.",
}


def document(served: Served, options: Options, package: str) -> dict[str, Any]:
    """The document, as plain values for JSON (OpenAPI 3.1)."""
    formula = served.stored.formula
    name = served.name or formula.about.get("name", "model")
    security: dict[str, Any] = {"security": [{"token": []}]} if options.token else {}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{name} version {served.version}",
            "version": package,
            "description": "Predicted sales by MLflow's scoring protocol. Every error is JSON with error_code and message.",
        },
        **security,
        "paths": {
            "/invocations": {"post": _invocations(served, options)},
            "/curves": {"get": _curves(_markets(served.stored.formula))},
            "/plan": {"post": _plan(served)},
            "/ping": {"get": _get("Whether the process answers.", {"type": "string"}, probe=True)},
            "/health": {"get": _get("The same as /ping.", {"type": "string"}, probe=True)},
            "/version": {"get": _get("MLflow's version, as text.", {}, probe=True)},
            "/ready": {"get": _get("Whether requests should be sent here.", {"$ref": "#/components/schemas/Ready"}, True, 503)},
            "/info": {"get": _get("The model: columns, ranges fitted, scores, limits.", {"type": "object"})},
            "/metrics": {"get": _get("Counts for Prometheus.", {"type": "string"}, kind="text/plain")},
            "/openapi.json": {"get": _get("This document.", {"type": "object"})},
            "/": {"get": _get("A page to plan a budget.", {"type": "string"}, True, kind="text/html")},
            "/docs": {"get": _get("A page to try the model.", {"type": "string"}, True, kind="text/html")},
        },
        "components": {"schemas": _schemas(served), **_token(options), "headers": _headers()},
    }


def next_date(formula: Formula) -> str:
    """The date of the period after the last one fitted, as ISO 8601; empty where no date is read."""
    curves = formula.curves
    if curves is None or curves.baseline.calendar is None:
        return ""
    last = curves.baseline.span if curves.history is None else curves.history.last
    return curves.baseline.calendar.date(last + 1).removesuffix("T00:00:00")


def _token(options: Options) -> dict[str, Any]:
    return {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}} if options.token else {}


def _headers() -> dict[str, Any]:
    texts = {
        "X-Model-Version": "The version that answered.",
        "X-Request-Id": "The id of this request in the log; one that was sent is kept.",
        "X-Adresponse-Warning": "Which columns have values beyond the range fitted.",
    }
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in texts.items()}


def _said(*more: str) -> dict[str, Any]:
    return {n: {"$ref": f"#/components/headers/{n}"} for n in ("X-Model-Version", "X-Request-Id", *more)}


def _error(status: int) -> dict[str, Any]:
    return {
        "description": WHY[status],
        "headers": _said(),
        "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


def _get(text: str, schema: dict[str, Any], probe: bool = False, also: int | None = None, kind: str = JSON) -> dict[str, Any]:
    content = {kind: {"schema": schema}} if schema.get("type") == "object" or "$ref" in schema or kind != JSON else {JSON: {}}
    answers: dict[str, Any] = {"200": {"description": text, "headers": _said(), "content": content}}
    if also is not None:
        answers[str(also)] = {"description": WHY[also], "content": content}
    answers |= {str(s): _error(s) for s in (405, 421) + (() if probe else (401,))}
    return {"summary": text, "responses": answers, **({"security": []} if probe else {})}


def _invocations(served: Served, options: Options) -> dict[str, Any]:
    statuses = [s for s in CODES if s not in (404,)]
    known: dict[str, Any] = {
        JSON: {"schema": {"$ref": "#/components/schemas/Request"}, "example": served.stored.replay.get("request", {})},
        CSV: {"schema": {"type": "string", "description": "A line of column names, and a line for each row."}},
        PARQUET: {"schema": {"type": "string", "format": "binary"}},
    }
    return {
        "summary": "Predictions, one for each row.",
        "requestBody": {
            "required": True,
            "content": {kind: known[kind] for kind in kinds_taken()},
        },
        "responses": {
            "200": {
                "description": "The predictions; with params.interval, each with its lower and upper end; with "
                "params.contributions, with the sales at no spend and what each channel adds.",
                "headers": _said("X-Adresponse-Warning"),
                "content": {JSON: {"schema": {"$ref": "#/components/schemas/Answer"}}},
            },
            **{str(s): _error(s) for s in statuses},
        },
    }


NO_PLAN = "The model has nothing to plan with; the message says why."
SHARE = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
PRICE = {"type": "number", "exclusiveMinimum": 0, "maximum": MOST}
PERIODS = {"type": "integer", "minimum": 1, "maximum": 520}


def _planned(text: str, required: list[str], *statuses: int) -> dict[str, Any]:
    answer = {"type": "object", "required": required}
    refusals = {str(s): _error(s) for s in (400, 401, *statuses, 421, 503, 504)}
    refusals["404"] = {**_error(404), "description": NO_PLAN}
    return {"200": {"description": text, "headers": _said(), "content": {JSON: {"schema": answer}}}, **refusals}


def _markets(formula: Formula) -> list[str]:
    """The markets that can be planned for by themselves."""
    return [] if formula.curves is None else list(formula.curves.baseline.markets)


def _curves(markets: Sequence[str]) -> dict[str, Any]:
    choices: dict[str, tuple[dict[str, Any], str]] = {
        "horizon": (PERIODS, "Periods planned. Without it 13, or 1 where there are no dates."),
        **({"market": ({"enum": markets}, "The market; without it an average one.")} if markets else {}),
        "points": ({"type": "integer", "minimum": 2, "maximum": MOST_POINTS}, "Of each curve."),
        "level": (SHARE, "Of the bands."),
        "margin": (PRICE, "Profit before marketing on one unit of sales; break-even is told with it alone."),
        "tail": ({"type": "boolean"}, "Whether sales after the horizon count."),
        "returns": ({"type": "boolean"}, "Whether break-even and saturation are told; it takes longer."),
    }
    return {
        "summary": "What each channel brings by what is spent on it: curve, band, data points, break-even, saturation.",
        "parameters": [
            {"name": name, "in": "query", "schema": schema, "description": text} for name, (schema, text) in choices.items()
        ],
        "responses": _planned("Curves of all channels.", ["model", "version", "periods", "base", "channels", "notes"], 405),
    }


def _plan(served: Served) -> dict[str, Any]:
    channels = list(served.stored.formula.contract.channels)
    amount = {"type": "number", "minimum": 0, "maximum": MOST}
    free = {"anyOf": [amount, {"type": "null"}]}
    ends = {"type": "array", "items": free, "minItems": 2, "maxItems": 2}
    names = {"type": "array", "items": {"enum": channels}}
    group = {"channels": {**names, "minItems": 1, "uniqueItems": True}, "low": free, "high": free}
    each = {"anyOf": [amount, {"type": "array", "items": amount}]}
    price: dict[str, Any] = {"anyOf": [PRICE, {"type": "null"}]}
    told = {"horizon": PERIODS, "level": SHARE, "margin": price, "tail": {"type": "boolean"}}
    if markets := _markets(served.stored.formula):
        told["market"] = {"enum": [*markets, None]}
    wish = {
        **dict.fromkeys(("total", "cap", "target_sales"), free),
        **dict.fromkeys(("target_roi", "target_marginal_roi"), price),
        "bounds": {"type": "object", "properties": dict.fromkeys(channels, ends), "additionalProperties": False},
        "locks": names,
        "groups": {
            "type": "array",
            "items": {"type": "object", "properties": group, "required": ["channels"], "additionalProperties": False},
        },
        "beyond": {"type": "boolean"},
        **told,
    }
    spend = {
        "type": "object",
        "description": "The amount of each channel, or a list with one for each period.",
        "properties": dict.fromkeys(channels, each),
        "required": channels,
        "additionalProperties": False,
    }
    scored = {"properties": {"spend": spend, **told}, "required": ["spend"]}
    forms = [{"title": "The best plan", "properties": wish}, {"title": "A plan of one's own", **scored}]
    schema = {"oneOf": [{"type": "object", "additionalProperties": False, **form} for form in forms]}
    return {
        "summary": "The best plan for a wish, or what a plan of one's own brings.",
        "requestBody": {"required": True, "content": {JSON: {"schema": schema, "example": {}}}},
        "responses": _planned(
            "The plan: amounts, sales, gain over today and their intervals, and what holds it back.",
            ["goal", "periods", "spend", "total", "sales", "gain", "channels", "binding", "extrapolates", "sentence", "notes"],
            *(405, 408, 413, 415),
        ),
    }


def _schemas(served: Served) -> dict[str, Any]:
    formula = served.stored.formula
    contract = formula.contract
    values = {name: _column(served, name) for name in formula.inputs}
    unread: dict[str, Any] = {c.name: {"description": "Not read."} for c in contract.columns if c.name not in formula.inputs}
    names = list(formula.inputs)
    record = {"type": "object", "properties": {**values, **unread}, "required": names, "additionalProperties": False}
    lists: dict[str, Any] = {n: {"type": "array", "items": s, "minItems": 1} for n, s in values.items()}
    columns = {"type": "object", "properties": lists, "required": names, "additionalProperties": False}
    records = {"type": "array", "items": {"$ref": "#/components/schemas/Row"}, "minItems": 1}
    shapes: list[dict[str, Any]] = [records, {"$ref": "#/components/schemas/Row"}, {"$ref": "#/components/schemas/Columns"}]
    if len(names) == 1:
        shapes.append({"type": "array", "items": values[names[0]], "minItems": 1})
    width = {"minItems": len(names), "maxItems": len(names)}
    split = {
        "type": "object",
        "properties": {
            "columns": {"type": "array", "prefixItems": [{"const": n} for n in names], **width},
            "data": {
                "type": "array",
                "minItems": 1,
                "items": {"type": "array", "prefixItems": list(values.values()), **width},
            },
            "index": {"type": "array", "description": "As long as data; not read."},
        },
        "required": ["columns", "data"],
        "additionalProperties": False,
    }
    params = {
        "type": ["object", "null"],
        "properties": {
            "interval": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": formula.spread.highest_level},
            "contributions": {"type": ["boolean", "null"], "description": "Whether to say what each channel adds."},
        },
        "additionalProperties": False,
    }
    forms = {
        "dataframe_split": {"$ref": "#/components/schemas/Split"},
        "dataframe_records": records,
        "instances": {"anyOf": shapes},
        "inputs": {"anyOf": shapes},
    }
    request = {
        "oneOf": [
            {
                "type": "object",
                "properties": {name: schema, "params": {"$ref": "#/components/schemas/Params"}},
                "required": [name],
                "additionalProperties": False,
            }
            for name, schema in forms.items()
        ]
    }
    number = {"type": "number"}
    ends = {"type": "object", "properties": dict.fromkeys(formula.answer_names(0.9, formula.closed), number)}
    answer = {
        "type": "object",
        "properties": {"predictions": {"type": "array", "items": {"anyOf": [number, ends]}}},
        "required": ["predictions"],
    }
    text = {"type": "string"}
    error = {"type": "object", "properties": {"error_code": text, "message": text}, "required": ["error_code", "message"]}
    ready = {
        "type": "object",
        "properties": {"ready": {"type": "boolean"}, "version": text, "trouble": text},
        "required": ["ready", "version"],
    }
    return {
        "Row": record,
        "Columns": columns,
        "Split": split,
        "Params": params,
        "Request": request,
        "Answer": answer,
        "Error": error,
        "Ready": ready,
    }


def _column(served: Served, name: str) -> dict[str, Any]:
    formula = served.stored.formula
    column = formula.contract[name]
    kind = formula.reads.kind(name)
    if kind == "date":
        return {"type": "string", "description": f"{column.title}: a date such as {next_date(formula)}."}
    if kind == "market":
        return {"type": "string", "enum": list(formula.reads.markets), "description": f"{column.title}."}
    low, high = formula.ranges[name]
    unit = f" in {column.unit}" if column.unit else ""
    least = {"minimum": 0} if column.role == "channel" else {}
    return {"type": "number", **least, "description": f"{column.title}{unit}; {low:g} to {high:g} among the rows fitted."}
