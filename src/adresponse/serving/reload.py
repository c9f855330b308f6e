"""Is the model that should answer fit to? Its trial, and the swap with no request lost."""

from __future__ import annotations

import asyncio
import gc
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adresponse.errors import AdresponseError, ModelError
from adresponse.serving.holder import Holder, Served
from adresponse.serving.options import Options
from adresponse.serving.pointer import Pointed
from adresponse.stored import open_stored

if TYPE_CHECKING:
    from adresponse.serving.pipeline import PipelineChild

__all__ = ["Pointed", "admit", "child_of", "follow", "sentence_of", "settle"]

LOOK_SECONDS = 0.25  # between two looks at the pointer: one stat of a file
REPLAY_SECONDS = 60.0
SELDOM = (20_000, 20, 20)  # allocations before a round, so that a request of a thousand rows meets none
TOLERANCE = 1e-9  # relative, for a pipeline: its libraries may sum in another order; a closed formula is exact
ANYONE = {"token": "", "hosts": ("*",), "beyond": "warn", "log": "errors", "max_waiting": 2}


async def admit(pointed: Pointed, options: Options) -> Served:
    """The model that is pointed at, opened, tried on its stored example, and warm.

    Raises
    ------
    ModelError
        If it was altered, cannot be loaded here, or answers otherwise than is recorded.
    """
    stored = await asyncio.to_thread(open_stored, Path(pointed.folder), pointed.digest)
    version = pointed.version or stored.version
    if stored.formula.closed:
        served = Served(stored, version, pointed.name)
        await _replay(served, options)
        return served
    from adresponse.serving.pipeline import PipelineChild

    child = PipelineChild(stored.folder)
    try:
        await child.start()
        served = Served(stored, version, pointed.name, child.ask)
        await _replay(served, options)
    except BaseException:
        child.close()
        raise
    return served


async def _replay(served: Served, options: Options) -> None:
    """Ask the stored example as a request is asked, and compare each answer with the recorded one."""
    from adresponse.serving.app import create_app

    allowed = replace(options, timeout=max(options.timeout, REPLAY_SECONDS), **ANYONE)  # type: ignore[arg-type]
    request = json.dumps(served.stored.replay["request"]).encode()
    app = create_app(Holder(served, ready=True), allowed)
    app.tally.shared = False  # what is tried answers to nobody, and may be refused
    status, body = await _post(app, request)
    if status != 200:
        raise ModelError(
            f"The model {_shown(served)} refuses its own example ({status}: {body[:200].decode('utf-8', 'replace')})."
        )
    _refuse_difference(served, json.loads(body)["predictions"])


def _refuse_difference(served: Served, found: list[float]) -> None:
    expected: list[float] = served.stored.replay["predictions"]
    tolerance = 0.0 if served.stored.formula.closed else TOLERANCE
    same = len(found) == len(expected)
    if same and all(abs(f - e) <= tolerance * abs(e) for f, e in zip(found, expected, strict=True)):
        return
    raise ModelError(f"The model {_shown(served)} answers its stored example otherwise than is recorded; it is not served.")


def _shown(served: Served) -> str:
    return f"{served.name} version {served.version}" if served.name else served.version


async def _post(app: Any, body: bytes) -> tuple[int, bytes]:
    """One request to ``/invocations`` of an ASGI application, without a socket."""
    headers = [
        (b"host", b"localhost"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/invocations",
        "raw_path": b"/invocations",
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
        "state": {},
    }
    given = [{"type": "http.request", "body": body, "more_body": False}]
    status, parts = 0, []

    async def receive() -> dict[str, Any]:
        if given:
            return given.pop()
        await asyncio.Event().wait()
        raise AssertionError  # pragma: no cover

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)
        parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return status, b"".join(parts)


async def follow(path: Path, holder: Holder, options: Options, current: Pointed, report: Callable[[str], None]) -> None:
    """Serve what the pointer names, from now on; what is not fit is refused once, and the old model stays.

    Parameters
    ----------
    path : Path
        The pointer's file.
    holder : Holder
        Gets the new model.
    options : Options
        How requests are treated.
    current : Pointed
        What the holder has now.
    report : callable
        Told ``serving N`` or ``refused N SENTENCE`` for the pointer's number.
    """
    seen = None
    while True:
        if (there := _stamp(path)) not in (seen, None):
            seen = there
            current = await _turn_to(Pointed.read(path), holder, options, current, report)
        await asyncio.sleep(LOOK_SECONDS)


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes when a file is replaced; None where it is gone, which changes nothing."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


async def _turn_to(
    wanted: Pointed, holder: Holder, options: Options, current: Pointed, report: Callable[[str], None]
) -> Pointed:
    if wanted.folder == current.folder:
        holder.trouble = wanted.trouble
        report(f"serving {wanted.number}")
        return wanted
    old = holder.current
    try:
        admitted = await admit(wanted, options)
    except Exception as error:  # whatever is wrong with a new model, the old one answers on
        holder.trouble = sentence_of(wanted, error)
        report(f"refused {wanted.number} {holder.trouble}")
        return current
    holder.current = admitted
    holder.trouble = wanted.trouble
    holder.swaps += 1
    if (child := child_of(old)) is not None:
        child.retire()
    settle()
    report(f"serving {wanted.number}")
    return wanted


def sentence_of(wanted: Pointed, error: Exception) -> str:
    """Why a model is not served, in one line."""
    said = str(error) if isinstance(error, AdresponseError) else f"{type(error).__name__}: {error}"
    what = f"Version {wanted.version}" if wanted.version else "The model"
    return " ".join(f"{what} is not served: {said}".split())


def child_of(served: Served) -> PipelineChild | None:
    """The process that answers for a model without closed formula."""
    return getattr(served.ask, "__self__", None)


def settle() -> None:
    """Take what lives now out of the garbage collector's rounds, which are seldom from then on: requests leave no cycles."""
    gc.set_threshold(*SELDOM)
    gc.unfreeze()
    gc.collect()
    gc.freeze()
