"""Processes that contend for a model, stop while they hold it, and die while they promote; see ``child``."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

from adresponse import journal, mutex, promotion, store

STEPS = ("verify before", "event", "alias before", "alias after", "verify after", "close before", "close after")


@cache
def hurry() -> None:
    """SQLite does not flush to the disk (here processes die, and no machine), and MLflow reads its migrations once."""
    from mlflow.store.db import utils
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def unflushed(connection: Any, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", unflushed)
    # a constant of MLflow's version, for which each opening of a store executes fifty modules, and more than once
    utils._get_latest_schema_revision = cache(utils._get_latest_schema_revision)


def child(*arguments: str) -> subprocess.Popen[str]:
    """This file as a process of its own, to be spoken to."""
    package = str(Path(store.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([package, str(Path(__file__).parent)])}
    command = [sys.executable, __file__, *arguments]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)


def _forked(acts: list[Callable[[], object]]) -> list[int]:
    """Each act in a process forked after the imports, all at once; their wait statuses."""
    children = []
    for act in acts:
        if not (pid := os.fork()):
            try:
                act()
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(pid)
    return [os.waitpid(pid, 0)[1] for pid in children]


def _count(uri: str, name: str, processes: int, times: int) -> None:
    """Processes that add one to a number which only the lock guards."""

    def add() -> None:
        opened = store.prepare(uri).open()
        for _ in range(times):
            with mutex.held(opened, name) as lease:
                tags = opened.call("get_registered_model", name).tags
                lease.check()
                opened.call("set_registered_model_tag", name, "count", str(int(tags["count"]) + 1))

    assert _forked([add] * processes) == [0] * processes


def _append(uri: str, name: str, processes: int, times: int) -> None:
    """Processes that write into one history."""

    def write() -> None:
        opened = store.prepare(uri).open()
        for _ in range(times):
            with mutex.held(opened, name) as lease:
                journal.append(lease, "kept")

    assert _forked([write] * processes) == [0] * processes


def _promote(uri: str, name: str, count: int) -> None:
    """A process for each version, which makes it champion."""

    def promote(number: str) -> None:
        opened = store.prepare(uri).open()
        with mutex.held(opened, name) as lease:
            promotion.promote(lease, number, verify=lambda _: None, why="at once")

    assert _forked([partial(promote, str(i + 1)) for i in range(count)]) == [0] * count


def _hold(uri: str, name: str, lease_seconds: float) -> None:
    """Hold the lock, say so, and at a word from outside say whether it is still held."""
    opened = store.prepare(uri).open()
    with mutex.held(opened, name, lease=lease_seconds, command="adresponse refresh") as lease:
        print("held", lease.number, flush=True)
        for _ in sys.stdin:
            try:
                lease.check()
                print("still held", flush=True)
            except mutex.LeaseLostError as error:
                print(error, flush=True)


def _die(uri: str, steps: list[str]) -> None:
    """For each step a process that is killed there while it promotes version 2 of the model ``killed-STEP``."""
    statuses = _forked([partial(_promote_until, uri, step) for step in steps])
    print("killed", *statuses, flush=True)


def _promote_until(uri: str, step: str) -> None:
    opened = store.prepare(uri).open()
    point, _, when = step.rpartition(" ")
    methods = {"alias": "set_registered_model_alias", "close": "set_terminated"}
    if point in methods:
        _die_at(opened, methods[point], when)
    if step == "event":
        _die_at(opened, "create_run", "after")

    def verify(asked: str) -> None:
        if step == ("verify after" if "@" in asked else "verify before"):
            os.kill(os.getpid(), signal.SIGKILL)

    with mutex.held(opened, f"killed-{step}") as lease:
        promotion.promote(lease, "2", verify=verify, why="to die on the way")


def _die_at(opened: store.Store, method: str, when: str) -> None:
    original = getattr(opened.client, method)

    def killed(*args: object, **kwargs: object) -> None:
        if when == "after":
            original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(opened.client, method, killed)


if __name__ == "__main__":
    mode, uri, *more = sys.argv[1:]
    import_module("mlflow")  # before the forks
    if not uri.startswith("http"):  # a server opens its database itself
        for store_kind in ("tracking", "model_registry"):
            import_module(f"mlflow.store.{store_kind}.sqlalchemy_store")
        hurry()
    if mode == "count":
        _count(uri, more[0], *map(int, more[1:]))
    elif mode == "append":
        _append(uri, more[0], *map(int, more[1:]))
    elif mode == "promote":
        _promote(uri, more[0], int(more[1]))
    elif mode == "hold":
        _hold(uri, more[0], float(more[1]))
    else:
        _die(uri, more)
