"""How are bytes turned into requests? uvicorn, set for one application that ends without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import Server as UvicornServer

from adresponse.serving.answers import CODES, error_body

__all__ = ["Server", "configuration"]

KEEP_ALIVE_SECONDS = 75  # longer than the 60 seconds after which usual proxies let go of an idle connection
SETTLE_SECONDS = 0.1  # within which every worker has stopped listening, so that clients told to go do not come to the next one
ACCEPT_ROUNDS = 1000
HEAD_BYTES = 1 << 16  # of a head that comes in pieces, four times what usual proxies take; the parser copies it with each piece
CLOSE = (b"connection", b"close")
OK = b"HTTP/1.1 200 OK\r\n"
ANSWERED_AT_ONCE = b"/invocations"
TICKS_A_SECOND = 10  # of uvicorn's loop
NO_REQUEST = "These bytes are no HTTP request."


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 by httptools; bytes that are no request are answered as every other error is, in JSON.

    A request that arrives in one piece is first offered to the application's ``at_once``, which spares it a task, and its
    answer the way through ASGI; what that does not answer, and every other request, goes uvicorn's way.
    """

    held: list[bytes] | None = None  # the body so far of a request that may be answered at once
    awaited: tuple[Any, float] | None = None  # the request whose head was missed, and since when
    pieces = 0  # bytes of a head since its first piece

    def data_received(self, data: bytes) -> None:
        """Parse what came; a request that is not whole by then goes uvicorn's way."""
        self._unset_keepalive_if_required()
        owed = self.scope if self._owes_head() else None
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse(400, NO_REQUEST)
        if self.held is not None:
            self._release()
        if owed is None or self.scope is not owed or not self._owes_head():
            self.pieces = 0
            return
        self.pieces += len(data)
        if self.pieces > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431, f"The head of the request has more than {HEAD_BYTES} bytes; send fewer or shorter headers.")

    def _owes_head(self) -> bool:
        """Whether a request has begun, and its head is not whole."""
        return self.scope is not None and "method" not in self.scope

    def _parse(self, data: bytes) -> None:
        """Parse what came; the parser drops the body after ``Upgrade``, which a server may ignore (RFC 9110, 7.8)."""
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as stopped:
                rest = data[stopped.args[0] :]
                data = self._head_without_upgrade() + rest if self._would_upgrade() else b""

    def _would_upgrade(self) -> bool:
        """Whether the request asks for another protocol, and may be answered in this one."""
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _head_without_upgrade(self) -> bytes:
        first = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        kept = [b"%b: %b\r\n" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"".join([first, *kept, b"\r\n"])

    def on_headers_complete(self) -> None:
        """Hold the request back if it may be answered at once; one that would upgrade comes again without that wish."""
        if self._would_upgrade():
            return
        if (
            self.url == ANSWERED_AT_ONCE
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and not self.expect_100_continue
            and not self.flow.write_paused
            and (self.cycle is None or self.cycle.response_complete)
        ):
            self.held = []
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        if self.held is not None:
            self.held.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Answer the request that was held back, or hand it on."""
        if self.held is not None:
            parts = self.held
            answer = self.app.at_once(self.headers, parts[0] if len(parts) == 1 else b"".join(parts))
            if answer is not None:
                self.held = None
                self.scope = None  # type: ignore[assignment]  # no head is under way
                self.transport.write(self._start() + answer)
                self.on_response_complete()
                return
            self._release()
        if not self._would_upgrade():
            super().on_message_complete()

    def _release(self) -> None:
        parts, self.held = self.held or [], None
        super().on_headers_complete()
        for part in parts:
            super().on_body(part)

    def _start(self) -> bytes:
        """Status line and the server's own headers."""
        return b"".join([OK, *(b"%b: %b\r\n" % pair for pair in self.server_state.default_headers)])

    def hurry(self, now: float, patience: float) -> None:
        """Close the connection if it owes a whole head for so long; what is looked at costs a request nothing.

        Parameters
        ----------
        now : float
            Time of the loop, in seconds.
        patience : float
            Seconds from the first look that missed the head.
        """
        begun = self._owes_head()
        answering = self.cycle is not None and not self.cycle.response_complete
        idle = self.timeout_keep_alive_task is not None and not begun  # uvicorn closes it in time
        if answering or idle or self.transport.is_closing():
            self.awaited = None
        elif self.awaited is None or self.awaited[0] is not self.scope:
            self.awaited = self.scope, now
        elif now - self.awaited[1] < patience:
            pass
        elif begun:
            self._refuse(408, f"The head of the request did not arrive within {patience:g} seconds; send it again.")
        else:
            self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        """Answer so and close the connection."""
        body = error_body(CODES[status], message)
        phrase = HTTPStatus(status).phrase
        head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.held = None
        self.transport.write(head.encode() + b"x-content-type-options: nosniff\r\nconnection: close\r\n\r\n" + body)
        self.transport.close()


def configuration(app: Any, drain: float) -> Config:
    """uvicorn's settings: httptools, no log, no server header, nothing believed of a proxy.

    Parameters
    ----------
    app : App
        Answers the requests (see ``app.py``).
    drain : float
        Seconds that requests under way are given at the end.
    """
    config = Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level=logging.CRITICAL,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    config.timeout_graceful_shutdown = drain  # type: ignore[assignment]  # parts of a second are taken too
    return config


class Server(UvicornServer):
    """uvicorn's server, which leaves signals to the worker, waits for no head for ever, and can be drained.

    Parameters
    ----------
    config : Config
        See ``configuration``.
    timeout : float
        Seconds that a connection is given for the head of a request, from its opening or from the first byte.
    """

    def __init__(self, config: Config, timeout: float) -> None:
        super().__init__(config)
        self._timeout = timeout
        self._ticks = min(max(1, int(timeout / 4 * TICKS_A_SECOND)), TICKS_A_SECOND)  # between two looks at the connections

    async def on_tick(self, counter: int) -> bool:
        """What uvicorn does from time to time, and a look at the connections."""
        if counter % self._ticks == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Protocol):
                    connection.hurry(now, self._timeout)
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signal."""
        yield

    async def drain(self, linger: float) -> None:
        """Take no new connection, let each open one know with its next answer, then end with the requests under way.

        Parameters
        ----------
        linger : float
            Seconds that idle connections are given to send one more request; one that was on its way is then answered.
        """
        await self._accept_all()
        for server in self.servers:
            server.close()
        await asyncio.sleep(SETTLE_SECONDS)
        self.config.encoded_headers = [*self.config.encoded_headers, CLOSE]
        self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]
        loop = asyncio.get_running_loop()
        until = loop.time() + linger
        while self.server_state.connections and loop.time() < until:
            await asyncio.sleep(0.02)
        self.should_exit = True

    async def _accept_all(self) -> None:
        """Take the connections that the kernel has made already; they would be cut off."""
        for _ in range(ACCEPT_ROUNDS):
            listening = [s.fileno() for server in self.servers for s in server.sockets]
            if not listening or not select.select(listening, [], [], 0)[0]:
                return
            await asyncio.sleep(0)
