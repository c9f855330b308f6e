"""How are answers and refusals written? As MLflow's own server writes them, to the byte."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from adresponse.errors import AdresponseError
from adresponse.rows import Vector

__all__ = ["CODES", "RequestError", "error_body", "predictions_body", "some_predictions_body"]

CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    404: "ENDPOINT_NOT_FOUND",
    405: "BAD_REQUEST",
    408: "DEADLINE_EXCEEDED",
    413: "BAD_REQUEST",
    415: "BAD_REQUEST",
    421: "BAD_REQUEST",
    422: "INVALID_PARAMETER_VALUE",
    431: "BAD_REQUEST",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""MLflow's ``error_code`` for each status; where it has none for a status, that of the nearest."""
PLAIN = {"prediction", "lower", "upper"}  # names without a mark of JSON; those of contributions hold a column's
LOW, HIGH = 1e-4, 1e16  # between these orjson writes a float as Python does, without an exponent


class RequestError(AdresponseError):
    """A request is refused with a status; ``str(error)`` is the sentence.

    Parameters
    ----------
    status : int
        HTTP status.
    code : str
        MLflow's ``error_code``; empty for the one of ``CODES``.
    message : str
        One sentence.
    headers : sequence of (bytes, bytes)
        Further headers of the answer.
    reason : str
        A word for the log and the metrics; empty for the status.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Sequence[tuple[bytes, bytes]] = (), reason: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or CODES[status]
        self.headers = headers
        self.reason = reason or f"status {status}"


def error_body(code: str, message: str) -> bytes:
    """A refusal in MLflow's shape."""
    return json.dumps({"error_code": code, "message": message}).encode()


def some_predictions_body(rows: Sequence[Sequence[float]]) -> bytes:
    """Answers to a few rows: each (prediction,) or (prediction, lower, upper), all finite."""
    if len(rows[0]) == 1:
        texts = [repr(r[0]) for r in rows]
    else:
        texts = [f'{{"prediction": {p!r}, "lower": {low!r}, "upper": {high!r}}}' for p, low, high in rows]
    return f'{{"predictions": [{", ".join(texts)}]}}'.encode()


def predictions_body(answers: Mapping[str, Vector]) -> bytes:
    """The inside of the list of predictions, without its brackets, for many rows (see ``Formula.answer``)."""
    import orjson

    plain = set(answers) <= PLAIN and all(_plain(v) for v in answers.values())
    if plain and len(answers) == 1:
        values = answers["prediction"]
        values = values if values.flags.c_contiguous else values.copy()
        return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].replace(b",", b", ")
    columns = [v.tolist() for v in answers.values()]
    if plain:
        ends = zip(*columns, strict=True)
        rows = [{"prediction": p, "lower": low, "upper": high} for p, low, high in ends]
        return orjson.dumps(rows)[1:-1].replace(b",", b", ").replace(b":", b": ")
    several = [dict(zip(answers, row, strict=True)) for row in zip(*columns, strict=True)]
    return json.dumps(columns[0] if len(answers) == 1 else several)[1:-1].encode()


def _plain(values: Vector) -> bool:
    """Whether msgspec and Python write all of these alike."""
    if values.min() >= LOW and values.max() < HIGH:
        return True
    size = abs(values)
    return bool(((size >= LOW) & (size < HIGH) | (size == 0)).all())
