"""Processes that contend for a model, stop while they hold it, and die while they promote; to be ``forked``."""

from __future__ import annotations

import os
import signal
import sqlite3
import traceback
from collections.abc import Callable
from functools import cache, partial
from multiprocessing.connection import Connection
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


def _opened(uri: str) -> store.Store:
    if not uri.startswith("http"):  # a server opens its database itself
        hurry()
    return store.prepare(uri).open()


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


def count(uri: str, name: str, processes: int, times: int) -> None:
    """Processes that add one to a number which only the lock guards."""

    def add() -> None:
        opened = _opened(uri)
        for _ in range(times):
            with mutex.held(opened, name) as lease:
                tags = opened.call("get_registered_model", name).tags
                lease.check()
                opened.call("set_registered_model_tag", name, "count", str(int(tags["count"]) + 1))

    assert _forked([add] * processes) == [0] * processes


def append(uri: str, name: str, processes: int, times: int) -> None:
    """Processes that write into one history."""

    def write() -> None:
        opened = _opened(uri)
        for _ in range(times):
            with mutex.held(opened, name) as lease:
                journal.append(lease, "kept")

    assert _forked([write] * processes) == [0] * processes


def promote(uri: str, name: str, count: int) -> None:
    """A process for each version, which makes it champion."""

    def promote(number: str) -> None:
        opened = _opened(uri)
        with mutex.held(opened, name) as lease:
            promotion.promote(lease, number, verify=lambda _: None, why="at once")

    assert _forked([partial(promote, str(i + 1)) for i in range(count)]) == [0] * count


def hold(uri: str, name: str, lease_seconds: float, line: Connection) -> None:
    """Hold the lock, say so, and at a word from outside say whether it is still held."""
    opened = _opened(uri)
    with mutex.held(opened, name, lease=lease_seconds, command="adresponse refresh") as lease:
        line.send("held")
        while True:
            try:
                line.recv()
            except EOFError:
                return
            try:
                lease.check()
                line.send("still held")
            except mutex.LeaseLostError as error:
                line.send(str(error))


def die(uri: str, steps: tuple[str, ...], line: Connection) -> None:
    """For each step a process that is killed there while it promotes version 2 of the model ``killed-STEP``."""
    statuses = _forked([partial(_promote_until, uri, step) for step in steps])
    line.send(statuses)


def _promote_until(uri: str, step: str) -> None:
    opened = _opened(uri)
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
