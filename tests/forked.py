"""Processes of their own that need not import for seconds: each is forked from one that has, and which is made once."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess

HEAVY = (
    "adresponse.deployment",
    "adresponse.promotion",
    "adresponse.upkeep.refreshed",
    "mlflow.pyfunc",
    "mlflow.sklearn",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "scipy.stats",
    "sklearn.ensemble",
    "sklearn.model_selection",
    "skops.io",
    "sqlalchemy.dialects.sqlite",
)


def start(act: Callable[..., object], *given: object) -> ForkServerProcess:
    """``act`` (of a module) in a process of its own, in this folder and with this environment.

    It leads a session, so that a signal reaches all that it starts.
    """
    process = _warm().Process(target=_entered, args=(dict(os.environ), act, given))
    process.start()
    return process


def spoken_to(act: Callable[..., object], *given: object) -> tuple[ForkServerProcess, Connection]:
    """The same for an ``act`` whose last argument is its end of a pipe; the other end."""
    here, there = multiprocessing.Pipe()
    process = start(act, *given, there)
    there.close()  # so that its end is seen
    return process, here


def exit_code(act: Callable[..., object], *given: object) -> int | None:
    """What ``act`` exits with, once it has."""
    process = start(act, *given)
    process.join()
    return process.exitcode


@cache
def _warm() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*HEAVY])
    return context


def _entered(environment: dict[str, str], act: Callable[..., object], given: tuple[object, ...]) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    act(*given)
