"""How is one request answered? The ASGI application: who may ask, what is asked, the answer, and what is noted of it."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import os
import re
import sys
import time
import traceback
import weakref
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from adresponse.errors import AdresponseError, RowsError
from adresponse.formula import Formula
from adresponse.rows import not_finite
from adresponse.serving.accesslog import AccessLog
from adresponse.serving.answers import CODES, RequestError, error_body, predictions_body, some_predictions_body
from adresponse.serving.holder import Holder, Served
from adresponse.serving.metrics import Tally
from adresponse.serving.options import Options
from adresponse.serving.requests import CSV, JSON, PARQUET, Asked, Reader

if TYPE_CHECKING:
    from adresponse.serving.plans import Plans

__all__ = ["App", "create_app"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

POSTED = ("/invocations", "/plan")
PROBES = ("/ping", "/health", "/ready", "/version")
PAGES = (  # the same for every model, so they need no token
    *("/", "/planner/planner.css", "/planner/planner.js", "/planner/chart.js", "/planner/chartjs.js", "/planner/state.js"),
    *("/docs", "/docs/page.css", "/docs/page.js"),
)
TICK = 0.2  # seconds between writing the log, and looks for requests that take too long
HEARD = 32  # times the largest body that too large a one is listened to before the connection is closed
SLICE = 50_000  # rows answered at once; others get their turn between slices
KEPT_KINDS = 256  # different values of a header that are remembered
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
WARNING_LENGTH = 500
TYPE_JSON = (b"content-type", b"application/json")
CLOSE = (b"connection", b"close")
RETRY = (b"retry-after", b"1")
COMMON: list[tuple[bytes, bytes]] = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]


def create_app(holder: Holder, options: Options) -> App:
    """The application that answers with the model that ``holder`` holds, as ``options`` say."""
    return App(holder, options)


@dataclass(slots=True)
class Exchange:
    """One request, and what became of it."""

    method: str
    path: str
    served: Served
    began: float
    request_id: str = ""
    task: asyncio.Task[Any] | None = None
    deadline: float = float("inf")
    late: bool = False
    reading: bool = True
    status: int = 0
    rows: int = 0
    size: int = 0
    beyond: str = ""
    reason: str = ""


@dataclass(slots=True)
class _Said:
    """What a request's headers say; None where they do not."""

    host: bytes | None = None
    kind: bytes | None = None
    length: bytes | None = None
    token: bytes | None = None
    request_id: bytes | None = None
    coding: bytes | None = None
    waits: bool = False  # for a word before it sends the body


def _said(headers: Headers) -> _Said:
    said = _Said()
    for name, value in headers:
        if name == b"host":
            said.host = value if said.host is None else b"?"
        elif name == b"content-type":
            said.kind = value
        elif name == b"content-length":
            said.length = value
        elif name == b"authorization":
            said.token = value
        elif name == b"x-request-id":
            said.request_id = value
        elif name == b"content-encoding":
            said.coding = value
        elif name == b"expect":
            said.waits = True
    return said


@dataclass(slots=True)
class Answer:
    """What is sent back."""

    body: bytes
    status: int = 200
    headers: Headers = (TYPE_JSON,)


class App:
    """The ASGI application.

    Parameters
    ----------
    holder : Holder
        Holds the model that answers; a request reads it once.
    options : Options
        Who may ask, how much, how long.
    """

    def __init__(self, holder: Holder, options: Options) -> None:
        self.holder = holder
        self.options = options
        self.tally = Tally(holder)
        self._log = AccessLog(options.log == "errors")
        weakref.finalize(self, self._log.flush)
        self._reader: tuple[Served, Reader, Headers, bytes] | None = None
        self._plans: Plans | None = None
        self._token = options.token.encode()
        self._hosts: set[bytes] = set()
        self._kinds: dict[bytes, str] = {}
        self._prefix = os.urandom(6).hex()
        self._numbers = itertools.count(1)
        self._under_way: set[int] = set()
        self._exchanges: dict[int, Exchange] = {}
        self._ticking: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever it is."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        x = Exchange(scope["method"], scope["path"], self.holder.current, time.perf_counter())
        started = False
        loop = asyncio.get_running_loop()
        if self._ticking is not loop:
            self._start_ticking(loop)
        x.deadline = x.began + self.options.timeout
        x.task = asyncio.current_task()
        number = next(self._numbers)
        self._exchanges[number] = x
        self.tally.under_way += 1
        try:
            try:
                answer = await self._answer(x, number, scope, receive)
            except RequestError as refusal:
                answer = self._refused(x, refusal)
            except RowsError as error:
                answer = self._refused(x, RequestError(400, "INVALID_PARAMETER_VALUE", str(error), reason="rows"))
            except asyncio.CancelledError:
                if not x.late or x.task is None:
                    raise
                x.task.uncancel()
                answer = self._refused(x, self._too_late(x))
            except AdresponseError as error:  # the pipeline beside this process has ended; it is started again
                answer = self._refused(x, RequestError(503, "", str(error), [RETRY], "unavailable"))
            except _Gone:
                x.status, x.reason = 499, "the client went away"
                return
            x.status = answer.status
            x.deadline = float("inf")
            headers = [*self._headers(x), *answer.headers, (b"content-length", b"%d" % len(answer.body))]
            if self.holder.draining:
                headers.append(CLOSE)
            started = True
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": answer.body})
        except Exception:
            sys.stderr.write(f"request {x.request_id}: {traceback.format_exc()}")
            x.status, x.reason = 500, "error in the server"
            if not started:
                await self._send_500(x, send)
        finally:
            del self._exchanges[number]
            self.tally.under_way -= 1
            self._note(x)

    def at_once(self, headers: Headers, body: bytes) -> bytes | None:
        """The answer to a whole request of ``POST /invocations`` that is plainly right: its headers, an empty line, its body.

        None where anything is unusual; the request then takes the long way, ``__call__``, which refuses, warns, waits or
        counts as need be. Both ways check, read and answer by the same functions.
        """
        began = time.perf_counter()
        said = _said(headers)
        served = self.holder.current
        formula = served.stored.formula
        if (
            said.host not in self._hosts
            or said.kind not in self._kinds
            or said.coding is not None
            or len(body) > self.options.max_body
            or len(self._under_way) >= self.options.max_waiting
            or self.holder.draining
            or not formula.closed
        ):
            return None
        try:
            if self._token:
                self._check_token(said.token)
            asked = self._read(served).read(self._kinds[said.kind], body)
            if asked.outside or asked.rows > SLICE:
                return None
            text = _answered(formula, asked)
        except Exception:
            return None
        if self._ticking is None:
            self._start_ticking(asyncio.get_running_loop())
        x = Exchange("POST", "/invocations", served, began, self._id(said, next(self._numbers)))
        x.status, x.rows, x.size = 200, asked.rows, len(body)
        self._note(x)
        return b"x-request-id: %b\r\n%bcontent-length: %d\r\n\r\n%b" % (x.request_id.encode(), self._block(), len(text), text)

    def _block(self) -> bytes:
        return self._reader[3] if self._reader is not None else b""

    def _note(self, x: Exchange) -> None:
        """Count a request that is over, and give it a line in the log."""
        seconds = time.perf_counter() - x.began
        path = x.path if x.path == "/invocations" or x.path in _paths() else "other"
        method = x.method if x.method in ("GET", "HEAD", "POST") else "other"
        self.tally.add(path, method, x.status, seconds, x.rows, x.size, x.reason, bool(x.beyond))
        self._log.add(x.request_id, x.method, x.path, x.status, seconds * 1000, x.rows, x.served.version, x.reason)

    # --- who asks, and what for

    def _id(self, said: _Said, number: int) -> str:
        if said.request_id is not None and REQUEST_ID.fullmatch(said.request_id):
            return said.request_id.decode()
        return f"{self._prefix}-{number}"

    async def _answer(self, x: Exchange, number: int, scope: Scope, receive: Receive) -> Answer:
        said = _said(scope["headers"])
        host, token, kind, length, coding, waits = said.host, said.token, said.kind, said.length, said.coding, said.waits
        x.request_id = self._id(said, number)
        if host not in self._hosts:
            self._check_host(host)
        if self._token and x.path not in PROBES and x.path not in PAGES:
            self._check_token(token)
        if x.path == "/curves":
            return await self._curves(x, number, scope["query_string"])
        if x.path not in POSTED:
            return await self._page(x)
        if x.method != "POST":
            raise RequestError(405, "", f"{x.path} takes POST.", [(b"allow", b"POST")], "method")
        self._refuse_more()
        self._under_way.add(number)
        try:
            found = self._kinds.get(kind) if kind is not None else None
            wanted = found or self._kind(kind)
            if coding is not None and coding.lower() != b"identity":
                raise RequestError(
                    415, "", "A body with a Content-Encoding is not taken; send it as it is.", reason="content type"
                )
            body = await self._body(x, length, waits, receive)
            x.size = len(body)
            x.reading = False
            return await (self._plan(x, wanted, body) if x.path == "/plan" else self._invocations(x, wanted, body))
        finally:
            self._under_way.discard(number)

    def _refuse_more(self) -> None:
        if len(self._under_way) >= self.options.max_waiting:
            raise RequestError(
                503,
                "",
                f"{self.options.max_waiting} requests are under way already; send it again in a second.",
                [RETRY],
                "busy",
            )

    def _check_host(self, host: bytes | None) -> None:
        if "*" not in self.options.hosts:
            name = (host or b"").decode("latin-1").lower()
            bare = name[1 : name.find("]")] if name.startswith("[") else name.partition(":")[0]
            if bare not in (h.lower() for h in self.options.hosts):
                raise RequestError(
                    421, "", "The Host header names another server; use the name that this one is started for.", reason="host"
                )
        if host is not None and len(self._hosts) < KEPT_KINDS:
            self._hosts.add(host)

    def _check_token(self, given: bytes | None) -> None:
        scheme, _, token = (given or b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self._token):
            raise RequestError(
                401,
                "",
                "This server asks for a token; send it as Authorization: Bearer TOKEN.",
                [(b"www-authenticate", b"Bearer")],
                "token",
            )

    def _kind(self, given: bytes | None) -> str:
        """Which of the three kinds of body a Content-Type names."""
        expected = f"send {JSON}, {CSV} or {PARQUET}."
        if given is None:
            raise RequestError(415, "", f"The Content-Type is missing; {expected}", reason="content type")
        kind, *parameters = (p.strip() for p in given.decode("latin-1").lower().split(";"))
        if kind not in (JSON, CSV, PARQUET):
            raise RequestError(415, "", f"The Content-Type is not known; {expected}", reason="content type")
        for parameter in filter(None, parameters):
            name, _, value = parameter.partition("=")
            if name.strip() != "charset":
                raise RequestError(
                    415, "", f"The Content-Type takes charset=utf-8 and nothing else; {expected}", reason="content type"
                )
            if value.strip().strip('"') not in ("utf-8", "utf8"):
                raise RequestError(415, "", "The charset is not utf-8; send the body in UTF-8.", reason="content type")
        if len(self._kinds) < KEPT_KINDS:
            self._kinds[given] = kind
        return kind

    async def _body(self, x: Exchange, length: bytes | None, waits: bool, receive: Receive) -> bytes:
        """The body; one that is too large is heard out within bounds, so that its sender reads why it is refused."""
        limit = self.options.max_body
        declared = int(length) if length is not None and length.isdigit() else 0
        if declared > limit and waits:
            raise self._too_large([CLOSE])
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            part: bytes = message.get("body", b"")
            more = bool(message.get("more_body"))
            size += len(part)
            if max(size, declared) <= limit:
                parts.append(part)
            elif size > HEARD * limit:
                raise self._too_large([CLOSE])
        if max(size, declared) > limit:
            raise self._too_large([])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _too_large(self, headers: Headers) -> RequestError:
        limit = self.options.max_body
        return RequestError(413, "", f"The body has more than {limit} bytes; send fewer rows at once.", headers, "body size")

    # --- the answer

    async def _invocations(self, x: Exchange, kind: str, body: bytes) -> Answer:
        served = x.served
        formula = served.stored.formula
        asked = self._read(served).read(kind, body)
        warning = self._beyond(x, formula, asked) if asked.outside else ()
        if not formula.closed:
            text = await self._asked_pipeline(x, served, asked)
        elif asked.rows <= SLICE or formula.together:
            text = _answered(formula, asked)
        else:
            try:
                text = await _in_slices(formula, asked)
            except RowsError:  # of a row counted from its slice's first
                text = _answered(formula, asked)
        x.rows = asked.rows
        return Answer(text, headers=(TYPE_JSON, *warning))

    def _read(self, served: Served) -> Reader:
        if self._reader is None or self._reader[0] is not served:
            version = (b"x-model-version", _ascii(served.version))
            headers = [version, *COMMON]
            block = b"".join(b"%b: %b\r\n" % pair for pair in (*headers, TYPE_JSON))
            self._reader = (served, Reader(served.stored.formula, self.options.max_body), headers, block)
        return self._reader[1]

    async def _asked_pipeline(self, x: Exchange, served: Served, asked: Asked) -> bytes:
        if served.ask is None:
            raise RequestError(
                503, "", "The model has no closed formula, and its pipeline is not started.", [RETRY], "unavailable"
            )
        columns = asked.vectors()
        seconds = x.deadline - time.perf_counter()
        x.deadline = float("inf")  # the pipeline keeps the time, and says so once it has stopped
        try:
            predicted = await served.ask(columns, seconds)
        except TimeoutError:
            raise self._too_late(x) from None
        answers = served.stored.formula.answer(columns, asked.level, predicted, asked.contributions)
        return b'{"predictions": [' + predictions_body(answers) + b"]}"

    def _beyond(self, x: Exchange, formula: Formula, asked: Asked) -> Headers:
        """A warning header for values outside of what was fitted, or a refusal."""
        found = formula.beyond(asked.values())
        if not found:
            return ()
        if self.options.beyond == "refuse":
            first = found[0]
            raise RequestError(
                422,
                "INVALID_PARAMETER_VALUE",
                f"Column {first.column!r} has values from {first.given}, beyond {first.bounds}; give values within it.",
                reason="beyond",
            )
        x.beyond = "; ".join(f"{each.column} beyond {each.bounds}" for each in found)
        return ((b"x-adresponse-warning", _ascii(x.beyond)[:WARNING_LENGTH]),)

    def _too_late(self, x: Exchange) -> RequestError:
        seconds = f"{self.options.timeout:g} seconds"
        if x.reading:
            return RequestError(408, "", f"The body did not arrive within {seconds}; send it again.", [CLOSE], "timeout")
        return RequestError(504, "", f"There was no answer within {seconds}; ask for fewer rows at once.", reason="timeout")

    def _refused(self, x: Exchange, refusal: RequestError) -> Answer:
        x.reason = refusal.reason
        x.rows = 0
        return Answer(error_body(refusal.code, str(refusal)), refusal.status, (TYPE_JSON, *refusal.headers))

    def _headers(self, x: Exchange) -> Headers:
        self._read(x.served)
        kept = self._reader[2] if self._reader is not None else COMMON
        return [(b"x-request-id", x.request_id.encode()), *kept]

    async def _send_500(self, x: Exchange, send: Send) -> None:
        body = error_body(CODES[500], f"The server failed; its log says why, under the request id {x.request_id}.")
        headers = [TYPE_JSON, (b"content-length", b"%d" % len(body)), (b"x-request-id", x.request_id.encode()), *COMMON]
        await send({"type": "http.response.start", "status": 500, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    # --- plans

    async def _curves(self, x: Exchange, number: int, query: bytes) -> Answer:
        if x.method not in ("GET", "HEAD"):
            raise RequestError(405, "", "/curves takes GET.", [(b"allow", b"GET, HEAD")], "method")
        self._refuse_more()
        self._under_way.add(number)
        x.reading = False
        try:
            return Answer(await self._planning().curves(x.served, query))
        finally:
            self._under_way.discard(number)

    async def _plan(self, x: Exchange, kind: str, body: bytes) -> Answer:
        if kind != JSON:
            raise RequestError(415, "", f"/plan takes {JSON}; send a wish in JSON.", reason="content type")
        return Answer(await self._planning().plan(x.served, body))

    def _planning(self) -> Plans:
        if self._plans is None:
            from adresponse.serving.plans import Plans

            self._plans = Plans()
        return self._plans

    # --- the other paths

    async def _page(self, x: Exchange) -> Answer:
        from adresponse.serving import routes

        page = routes.ROUTES.get(x.path)
        if page is None:
            raise RequestError(404, "", "There is nothing at this path; /docs lists what there is.", reason="path")
        if x.method not in ("GET", "HEAD"):
            raise RequestError(405, "", f"{x.path} takes GET.", [(b"allow", b"GET, HEAD")], "method")
        status, headers, body = page(routes.Context(x.served, self.holder, self.options, self.tally))
        return Answer(body, status, headers)

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start and end of the server; anything else than HTTP is turned away."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        while scope["type"] == "lifespan":
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                self._log.flush()
                return

    # --- what is done a few times a second

    def _start_ticking(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ticking = loop
        loop.call_later(min(TICK, self.options.timeout / 4), _tick, weakref.ref(self), loop)

    def tick(self) -> bool:
        """End what takes too long, write the log, share the counts; False once there is nothing left to do."""
        now = time.perf_counter()
        for x in list(self._exchanges.values()):
            if x.deadline < now and x.task is not None and not x.late:
                x.late = True
                x.task.cancel()
        self._log.flush()
        self.tally.share()
        return bool(self._exchanges)


class _Gone(Exception):  # noqa: N818
    """The client has gone."""


def _tick(app: weakref.ref[App], loop: asyncio.AbstractEventLoop) -> None:
    here = app()
    if here is None or here._ticking is not loop:
        return
    here._ticking = None
    if here.tick():
        here._start_ticking(loop)


@cache
def _paths() -> frozenset[str]:
    from adresponse.serving.routes import ROUTES

    return frozenset((*ROUTES, "/curves", "/plan"))


def _answered(formula: Formula, asked: Asked) -> bytes:
    """The body that answers rows at once, by the formula."""
    if asked.few and formula.straight and not asked.contributions:
        return _few(formula, asked)
    answers = formula.answer(asked.vectors(), asked.level, contributions=asked.contributions)
    return b'{"predictions": [%b]}' % predictions_body(answers)


def _few(formula: Formula, asked: Asked) -> bytes:
    """Answers to a few rows by a straight line, in Python's floats: the same operations in the same order as for many."""
    predicted = [formula.predict(row) for row in asked.few]
    answers: list[tuple[float, ...]]
    if asked.level is None:
        answers = [(p,) for p in predicted]
    else:
        q, spread = formula.spread.finite_quantile(asked.level), formula.spread
        reach = [q * max(spread.intercept + spread.slope * p, spread.floor) for p in predicted]
        answers = [(p, p - r, p + r) for p, r in zip(predicted, reach, strict=True)]
    for number, answer in enumerate(answers, 1):
        for value in answer:
            if not -_LARGEST <= value <= _LARGEST:
                raise not_finite(number)
    return some_predictions_body(answers)


_LARGEST = sys.float_info.max


async def _in_slices(formula: Formula, asked: Asked) -> bytes:
    parts = []
    for start in range(0, asked.rows, SLICE):
        columns = [c[start : start + SLICE] for c in asked.columns]
        parts.append(predictions_body(formula.answer(columns, asked.level, contributions=asked.contributions)))
        await asyncio.sleep(0)
    return b'{"predictions": [' + b", ".join(parts) + b"]}"


def _ascii(text: str) -> bytes:
    """Text as a header may carry it."""
    return "".join(c if c.isprintable() else " " for c in text).encode("ascii", "backslashreplace")
