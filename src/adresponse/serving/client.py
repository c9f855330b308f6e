"""What does a deployment answer over HTTP? Rows out, numbers back, in MLflow's scoring protocol."""

from __future__ import annotations

import http.client
import json
import math
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from adresponse.errors import ConfigError, DeploymentError, DifferenceError

__all__ = ["Answer", "ask"]

BATCH_ROWS = 1_000  # in one request: below the limits of the usual gateways
SHOWN = 300  # characters of a refusal that are repeated
NOT_NOW = frozenset({401, 403, 407, 408, 429})  # who asks, or when, is refused, and not what is asked


@dataclass(frozen=True)
class Answer:
    """What came back for the rows, in the target's unit.

    ``lower`` and ``upper`` are None where no interval was asked for; ``version`` is empty where the deployment does not
    say which one answered.
    """

    prediction: list[float]
    lower: list[float] | None
    upper: list[float] | None
    version: str


def ask(
    url: str,
    columns: Mapping[str, Sequence[Any]],
    level: float | None = None,
    token: str = "",
    timeout: float = 30.0,
    together: bool = False,
) -> Answer:
    """Ask a deployment, 1,000 rows a request over one connection.

    Parameters
    ----------
    url : str
        Of the server, ``http`` or ``https``; ``/invocations`` is added.
    columns : mapping of str to sequence of float or str
        Values by column name, all of one length, in the table's units; a date as ISO 8601 writes it.
    level : float between 0 and 1, optional
        Share of new rows that the interval should hold.
    token : str, optional
        What the server asks for.
    timeout : float
        Seconds that each request may take.
    together : bool
        Whether all rows go into one request, since the spend of one works in later ones.

    Raises
    ------
    ConfigError
        If ``url`` is no address, or holds more than an address.
    DeploymentError
        If it cannot be asked: it is not reached, lets nobody in, or is out of order (5xx).
    DifferenceError
        If what comes back is no answer to the rows: they are refused, a number is missing or none, several versions answer.
    """
    connection, path = _connection(url, timeout)
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    found: list[Any] = []
    versions: set[str] = set()
    with closing(connection):
        for body in _bodies(columns, level, together):
            values, version = _exchange(connection, path, body, headers, url)
            found += values
            versions.add(version)
    height = len(next(iter(columns.values()), ()))
    if len(found) != height:
        raise DifferenceError(f"{url} gave {len(found):,} predictions for {height:,} rows.")
    if len(versions) > 1:
        raise DifferenceError(f"{url} answered with several versions ({', '.join(sorted(versions))}) meanwhile; ask again.")
    return _answer(url, found, level, "".join(versions))


def _connection(url: str, timeout: float) -> tuple[http.client.HTTPConnection, str]:
    _refuse_more_than_an_address(url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https"):
        raise ConfigError(f"url={url!r} is no address of a server; write http://127.0.0.1:5001.")
    path = f"{parts.path.rstrip('/').removesuffix('/invocations')}/invocations"
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context()), path
    return http.client.HTTPConnection(host, port, timeout=timeout), path


def _refuse_more_than_an_address(url: str) -> None:
    """Refuse what is not sent; where the URL is kept or shown, it would tell a secret, so the sentence does not repeat it."""
    for mark, what in (("@", "a user"), ("?", "a query"), ("#", "a fragment")):
        if mark in url:
            raise ConfigError(
                f"The url holds {what} ({mark!r}), which is not sent; write only the address, such as http://127.0.0.1:5001, "
                "and give a token in a file (--token-file)."
            )


def _bodies(columns: Mapping[str, Sequence[Any]], level: float | None, together: bool) -> Iterator[bytes]:
    height = len(next(iter(columns.values()), ()))
    step = max(height, 1) if together else BATCH_ROWS
    for start in range(0, height, step):
        rows = list(zip(*(values[start : start + step] for values in columns.values()), strict=True))
        request: dict[str, Any] = {"dataframe_split": {"columns": list(columns), "data": rows}}
        if level is not None:
            request["params"] = {"interval": level}
        yield json.dumps(request).encode()


def _exchange(
    connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str], url: str
) -> tuple[list[Any], str]:
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise DeploymentError(f"{url} cannot be asked ({_reason(error)}); is it running?") from None
    if response.status != 200:
        kind = DeploymentError if response.status in NOT_NOW or response.status >= 500 else DifferenceError
        raise kind(f"{url} refused ({response.status}): {_message(answer) or response.reason}")
    try:
        return list(json.loads(answer)["predictions"]), response.getheader("X-Model-Version") or ""
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DifferenceError(f"{url} gave no predictions; is it a server of MLflow's scoring protocol?") from None


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _message(answer: bytes) -> str:
    """The server's own sentence, from MLflow's shape of an error."""
    try:
        given = json.loads(answer)
        said = str(given.get("message") or given.get("error_code") or "")
    except (ValueError, AttributeError):
        said = answer.decode("utf-8", "replace")
    return " ".join(said.split())[:SHOWN]


def _answer(url: str, found: list[Any], level: float | None, version: str) -> Answer:
    if level is not None and not all(isinstance(v, dict) for v in found):
        raise DifferenceError(f"{url} gave no interval; it takes no params, or serves another model.")
    try:
        columns = (
            {"prediction": [_number(v) for v in found]}
            if level is None
            else {name: [_number(v[name]) for v in found] for name in ("prediction", "lower", "upper")}
        )
    except (KeyError, TypeError, OverflowError):
        raise DifferenceError(f"{url} gave predictions that are no numbers.") from None
    for name, values in columns.items():
        for row, value in enumerate(values, 1):
            if not math.isfinite(value):
                raise DifferenceError(f"{url} gave no finite number for {name}, row {row}.")
    return Answer(columns["prediction"], columns.get("lower"), columns.get("upper"), version)


def _number(value: Any) -> float:
    """A number of JSON; a text that reads like one is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{type(value).__name__} is no number")
    return float(value)
