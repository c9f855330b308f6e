"""How are bytes turned into requests? uvicorn, set for one application that ends without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import select
from collections.abc import Iterator
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import Server as UvicornServer

__all__ = ["Server", "configuration"]

KEEP_ALIVE_SECONDS = 75  # longer than the 60 seconds after which usual proxies let go of an idle connection
SETTLE_SECONDS = 0.1  # within which every worker has stopped listening, so that clients told to go do not come to the next one
ACCEPT_ROUNDS = 1000
CLOSE = (b"connection", b"close")
NO_REQUEST = {"error_code": "BAD_REQUEST", "message": "These bytes are no HTTP request."}


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 by httptools; bytes that are no request are answered as every other error is, in JSON."""

    def send_400_response(self, msg: str) -> None:
        """Answer 400 and close the connection."""
        body = json.dumps(NO_REQUEST).encode()
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"x-content-type-options: nosniff\r\nconnection: close\r\n\r\n" + body)
        self.transport.close()


def configuration(app: Any, drain: float) -> Config:
    """uvicorn's settings: httptools, no log, no server header, nothing believed of a proxy.

    Parameters
    ----------
    app : ASGI application
        Answers the requests.
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
    """uvicorn's server, which leaves signals to the worker and can be drained."""

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
