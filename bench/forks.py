"""Processes forked from one that has imported everything: what takes seconds to start then starts in milliseconds."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adresponse import lifecycle

__all__ = ["NAME", "QUICK", "Child", "base", "forked", "spend"]

NAME = "sales-response"
QUICK: dict[str, Any] = {"folds": 2, "repeats": 1, "verify": False}  # a champion whose refresh takes two seconds
CALM = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "OPENBLAS_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
}


def spend(rows: int, seed: int, slope: float = 1.0) -> pd.DataFrame:
    """Rows like the built-in table's, no two of them equal: Sales 7 + 0.05 TV, with an error that grows with them."""
    rng = np.random.default_rng(seed)
    tv = rng.uniform(0.7, 296, rows).round(3)
    mean = 7 + 0.05 * slope * tv
    return pd.DataFrame({"TV": tv, "Sales": (mean * rng.normal(1, 0.1, rows)).clip(0.5).round(6)})


@dataclass(frozen=True)
class Child:
    """A forked process, leader of its own session; what it reports comes through a pipe, line by line."""

    pid: int
    pipe: int

    @classmethod
    def start(cls, act: Callable[[Callable[[str], None]], Any], folder: Path) -> Child:
        """Run ``act`` in ``folder``; it is given a function that reports a step, and what it gives is the last line."""
        reading, writing = os.pipe()
        sys.stdout.flush()
        if pid := os.fork():
            os.close(writing)
            return cls(pid, reading)
        os.close(reading)
        code = 1
        try:
            os.setsid()
            os.chdir(folder)

            def report(step: str) -> None:
                os.write(writing, f"{step}\n".encode())

            report("result " + json.dumps(act(report), default=str))
            code = 0
        except BaseException:
            report("failed " + json.dumps(traceback.format_exc()))
        finally:
            os._exit(code)

    def lines(self, until: float | None = None) -> tuple[list[tuple[float, str]], bool]:
        """What it reports up to a moment (or its end), each line with when it was heard; and whether it has ended."""
        import select

        heard, rest = [], b""
        while True:
            left = None if until is None else max(until - time.monotonic(), 0)
            if not select.select([self.pipe], [], [], left)[0]:
                return heard, False
            read = os.read(self.pipe, 1 << 16)
            if not read:
                return heard, True
            *whole, rest = (rest + read).split(b"\n")
            heard += [(time.monotonic(), line.decode()) for line in whole]

    def heard(self, step: str) -> bool:
        """Wait until it reports a step; False where it ends before."""
        rest = b""
        while read := os.read(self.pipe, 1):
            rest += read
            if read == b"\n":
                if rest.decode().strip() == step:
                    return True
                rest = b""
        return False

    def kill(self) -> bool:
        """SIGKILL for it and its group; whether it was still running."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        status = os.waitpid(self.pid, 0)[1]
        os.close(self.pipe)
        return os.WIFSIGNALED(status)

    def result(self) -> Any:
        """What ``act`` gave, once it has ended."""
        lines, _ = self.lines()
        os.waitpid(self.pid, 0)
        os.close(self.pipe)
        kind, _, value = lines[-1][1].partition(" ") if lines else ("failed", "", '"it ended without a word"')
        if kind != "result":
            raise RuntimeError(json.loads(value) if kind == "failed" else lines[-1][1])
        return json.loads(value)


def forked(act: Callable[[Callable[[str], None]], Any], folder: Path) -> Any:
    """What ``act`` gives, run in a process of its own."""
    return Child.start(act, folder).result()


def base(folder: Path, rows: int = 150, **settings: Any) -> None:
    """A store in the folder, in which version 1 is champion, without figures.

    What that imported is imported here too, without a thread and without an open file, for all that are forked from now on.
    """
    os.environ |= CALM
    lifecycle.drawn = lambda study: {}
    folder.mkdir(parents=True, exist_ok=True)

    def run(report: Callable[[str], None]) -> list[str]:
        lifecycle.run(spend(rows, 0), target="Sales", channels=("TV",), **{**QUICK, **settings})
        importlib.import_module("adresponse.upkeep.refreshed")
        return sorted(set(sys.modules) - {"__main__"})

    for name in forked(run, folder):
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    assert threading.active_count() == 1, threading.enumerate()
