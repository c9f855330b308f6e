"""One line of JSON for each request, on standard error; written some at a time, so that it costs little."""

from __future__ import annotations

import contextlib
import json
import os
import time

__all__ = ["AccessLog"]


class AccessLog:
    """Collects lines and writes them when asked.

    Parameters
    ----------
    errors_only : bool
        Whether only refused requests get a line.
    descriptor : int
        Where the lines go; 2 is standard error.
    """

    def __init__(self, errors_only: bool = False, descriptor: int = 2) -> None:
        self.errors_only = errors_only
        self._descriptor = descriptor
        self._lines: list[str] = []
        self._second = 0
        self._date = ""

    def add(
        self, request_id: str, method: str, path: str, status: int, ms: float, rows: int, version: str, reason: str
    ) -> None:
        """A line for one request; ``reason`` is empty where it was answered."""
        if self.errors_only and status < 400:
            return
        now = time.time()
        if int(now) != self._second:
            self._second = int(now)
            self._date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        if not (path.isascii() and path.isprintable() and '"' not in path and "\\" not in path):
            path = json.dumps(path)[1:-1]
        why = f', "reason": {json.dumps(reason)}' if reason else ""
        self._lines.append(
            f'{{"time": "{self._date}.{int(now % 1 * 1000):03d}Z", "id": "{request_id}", "method": "{method}", '
            f'"path": "{path}", '
            f'"status": {status}, "ms": {ms:.3f}, "rows": {rows}, "version": {json.dumps(version)}{why}}}\n'
        )

    def flush(self) -> None:
        """Write what was collected; a reader that has gone is no reason to stop serving."""
        if not self._lines:
            return
        text, self._lines = "".join(self._lines).encode(), []
        with contextlib.suppress(OSError):
            while text:
                text = text[os.write(self._descriptor, text) :]
