"""What is counted, and how does Prometheus read it?

A request only adds to plain numbers; they go to the Prometheus client when it is read, or a few times a second where several
workers share a folder (``PROMETHEUS_MULTIPROC_DIR``).
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adresponse.serving.holder import Holder

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["BUCKETS", "Tally", "reserve"]

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
FILES = ("counter", "histogram", "gauge_livesum", "gauge_livemax")  # that the client maps for the kinds of counts below
ROOM = 1 << 18  # bytes of each: a thousand counts, which paths, methods and statuses do not reach


def reserve() -> bool:
    """Take the room for what this process shares; where there is none, share nothing, and give False.

    The client maps files with holes, and a hole that a full disk cannot fill ends the process (SIGBUS).
    """
    if FOLDER not in os.environ:
        return True
    files = [Path(os.environ[FOLDER], f"{kind}_{os.getpid()}.db") for kind in FILES]
    try:
        for file in files:
            if not file.exists():  # else an earlier process had this number, and its counts go on
                file.write_bytes(bytes(ROOM))
    except OSError:
        for file in files:
            file.unlink(missing_ok=True)
        del os.environ[FOLDER]
        return False
    return True


class Tally:
    """What one worker has answered.

    Parameters
    ----------
    holder : Holder
        Says which version answers, whether it is ready, and how many swaps there were.
    """

    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self.shared = FOLDER in os.environ
        self.under_way = 0
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._refused: Counter[str] = Counter()
        self._rows = 0
        self._bytes = 0
        self._beyond = 0
        self._latency: dict[str, list[float]] = {}
        self._swaps = 0
        self._version = ""
        self._client: dict[str, Any] | None = None
        self._registry: CollectorRegistry | None = None

    def add(self, path: str, method: str, status: int, seconds: float, rows: int, size: int, reason: str, beyond: bool) -> None:
        """Count one request; ``path`` is one that the server knows, or ``other``."""
        self._requests[path, method, status] += 1
        latency = self._latency.get(path)
        if latency is None:
            latency = self._latency[path] = [0.0] * (len(BUCKETS) + 2)
        latency[bisect_left(BUCKETS, seconds)] += 1
        latency[-1] += seconds
        self._rows += rows
        self._bytes += size
        self._beyond += beyond
        if reason:
            self._refused[reason] += 1

    def push(self) -> None:
        """Hand what was counted since the last time to the Prometheus client."""
        if self._client is None:
            self._client = self._made()
        client = self._client
        for (path, method, status), n in self._requests.items():
            client["requests"].labels(path, method, str(status)).inc(n)
        for reason, n in self._refused.items():
            client["refused"].labels(reason).inc(n)
        for path, latency in self._latency.items():
            client["latency"].labels(path).add(latency)
        client["rows"].inc(self._rows)
        client["bytes"].inc(self._bytes)
        client["beyond"].inc(self._beyond)
        client["swaps"].inc(self._holder.swaps - self._swaps)
        client["under_way"].set(self.under_way)
        client["ready"].set(self._holder.ready and not self._holder.draining)
        self._say_version(client["model"])
        self._requests.clear()
        self._refused.clear()
        self._latency.clear()
        self._rows = self._bytes = self._beyond = 0
        self._swaps = self._holder.swaps

    def share(self) -> None:
        """Let the other workers know what was counted, and what answers here, where they share a folder."""
        if self.shared:
            self.push()

    def text(self) -> bytes:
        """All counts in Prometheus' text form, of all workers where they share a folder."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        self.push()
        if self.shared:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        assert self._registry is not None  # noqa: S101
        return generate_latest(self._registry)

    def _say_version(self, gauge: Any) -> None:
        served = self._holder.current
        if self._version and self._version != served.version:
            gauge.labels(served.name, self._version).set(0)
        self._version = served.version
        gauge.labels(served.name, served.version).set(1)

    def _made(self) -> dict[str, Any]:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        class Latency(Histogram):
            """A histogram that takes counts by bucket, and the sum of what was observed, at once."""

            def add(self, found: list[float]) -> None:
                *counts, total = found
                for bucket, n in zip(self._buckets, counts, strict=True):
                    bucket.inc(n)
                self._sum.inc(total)

        self._registry = registry = CollectorRegistry()
        kept: dict[str, Any] = {"registry": None if self.shared else registry, "namespace": "adresponse"}
        return {
            "requests": Counter("requests", "Requests answered.", ["path", "method", "status"], **kept),
            "refused": Counter("refused", "Requests refused.", ["reason"], **kept),
            "latency": Latency("request_seconds", "Seconds from first byte to answer.", ["path"], buckets=BUCKETS, **kept),
            "rows": Counter("rows", "Rows answered.", **kept),
            "bytes": Counter("body_bytes", "Bytes of requests' bodies.", **kept),
            "beyond": Counter("beyond_range", "Requests with values beyond the range fitted.", **kept),
            "swaps": Counter("model_swaps", "Models swapped in.", **kept),
            "under_way": Gauge("requests_under_way", "Requests under way.", multiprocess_mode="livesum", **kept),
            "ready": Gauge("ready_workers", "Workers ready to answer.", multiprocess_mode="livesum", **kept),
            "model": Gauge(
                "model_info", "1 for the version that answers.", ["name", "version"], multiprocess_mode="livemax", **kept
            ),
        }
