"""One process that answers: it loads the model, listens, swaps when told to, and ends without losing a request.

A folder that one process serves is served by the caller itself (``serve``). Otherwise a parent starts workers
(``python -m adresponse.serving.worker``), which inherit its listening socket. A worker reads one line of JSON from its
input (``Task``) and reports by lines on its output: ``ready``, ``serving N``, ``refused N SENTENCE``. It ends when its
input does, so that none outlives its parent. None loads MLflow, pandas or scikit-learn.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from adresponse.errors import AdresponseError, DeploymentError
from adresponse.serving.listening import announce, listen, say, url_of
from adresponse.serving.options import Options
from adresponse.serving.pointer import Pointed

if TYPE_CHECKING:
    from adresponse.serving.holder import Served

__all__ = ["Task", "serve"]

LINGER_SECONDS = 1.0  # how long an idle connection may still send a request, to be told that it was the last one
ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}  # no thread of theirs ever helps here


@dataclass(frozen=True)
class Task:
    """What a worker is told by its parent: the inherited socket, the pointer's file, and how requests are treated."""

    socket: int
    pointer: str
    options: Options

    def to_line(self) -> bytes:
        """As the worker's input takes it; the token is in no command line and no environment."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """What ``to_line`` gave."""
        given = json.loads(line)
        options = given["options"]
        return cls(given["socket"], given["pointer"], Options(**{**options, "hosts": tuple(options["hosts"])}))


def serve(folder: str | Path, version: str = "", name: str = "", options: Options | None = None) -> int:
    """Serve a stored model in this process until SIGTERM or SIGINT; gives the exit code.

    Parameters
    ----------
    folder : path
        The stored model's folder.
    version, name : str, optional
        As answers say them; without a version, MLflow's id of the model.
    options : Options, optional
        How requests are treated.

    Raises
    ------
    ConfigError
        If it cannot listen where the options say.
    ModelError
        If the model was altered, cannot be loaded here, or answers otherwise than is recorded.
    """
    options = options or Options()
    _one_thread()
    with contextlib.closing(listen(options)) as listening:

        def ready(what: str) -> None:
            announce(what, url_of(listening))

        return _run(_answer(listening, Pointed(str(folder), version, name), options, ready))


def _one_thread() -> None:
    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)


def _run(answering: Any) -> int:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return int(runner.run(answering))


async def _answer(
    listening: socket.socket,
    pointed: Pointed,
    options: Options,
    ready: Callable[[str], None],
    pointer: Path | None = None,
    report: Callable[[str], None] = lambda line: None,
    parent: int | None = None,
) -> int:
    """Load, listen, answer, drain; gives the exit code."""
    from adresponse.serving import reload
    from adresponse.serving.app import create_app
    from adresponse.serving.holder import Holder

    holder = Holder(await reload.admit(pointed, options), ready=True, trouble=pointed.trouble)
    app = create_app(holder, options)
    server = _server(app, options)

    def told(line: str) -> None:
        """Report, and let /metrics know: a worker that is asked nothing writes its counts at no other time."""
        app.tally.share()
        report(line)

    reload.settle()
    with _told_to_end(server, holder, options, parent):
        serving = asyncio.create_task(server.serve([listening]))
        while not (server.started or serving.done()):
            await asyncio.sleep(0.001)
        if not server.started:
            await serving
            raise DeploymentError("The server ended before it listened.")
        ready(_title(holder.current))
        following = asyncio.create_task(reload.follow(pointer, holder, options, pointed, told)) if pointer else None
        await serving
        if following is not None:
            following.cancel()
    if (child := reload.child_of(holder.current)) is not None:
        await child.closed()
    return 0


def _title(served: Served) -> str:
    """Which model it is, for the operator; a folder's model says its own name."""
    return f"{served.name or served.stored.formula.about.get('name', 'model')} version {served.version}"


def _server(app: Any, options: Options) -> Any:
    from adresponse.serving.wire import Server, configuration

    return Server(configuration(app, options.drain), options.timeout)


@contextlib.contextmanager
def _told_to_end(server: Any, holder: Any, options: Options, parent: int | None) -> Iterator[None]:
    """The first SIGTERM, SIGINT or end of the parent drains; a second signal ends at once."""
    loop = asyncio.get_running_loop()
    draining: list[asyncio.Task[None]] = []

    def end() -> None:
        if draining:
            os._exit(1)
        holder.draining = True
        draining.append(loop.create_task(server.drain(min(LINGER_SECONDS, options.drain))))

    def read_parent() -> None:
        with contextlib.suppress(BlockingIOError):
            if parent is not None and not os.read(parent, 4096):
                loop.remove_reader(parent)
                if not draining:
                    end()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    if parent is not None:
        os.set_blocking(parent, False)
        loop.add_reader(parent, read_parent)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        if parent is not None:
            loop.remove_reader(parent)


# --- with a parent


def main() -> int:
    """``python -m adresponse.serving.worker``: answer on an inherited socket until told to end."""
    _one_thread()
    reports = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no report
    report = partial(_report, reports)
    _load()
    from adresponse.serving.metrics import reserve

    shared = reserve()
    try:
        task = Task.from_line(_line(0))
    except DeploymentError as error:  # the parent is gone, or there was none
        say(str(error))
        return error.exit_code
    if not shared:  # not before: a parent that ended took the place along
        say("There is no room to share what is counted, so /metrics of this worker tells of itself alone.")
    from adresponse.serving.reload import sentence_of

    listening = socket.socket(fileno=task.socket)
    pointer = Path(task.pointer)
    while True:
        pointed = Pointed.read(pointer)
        try:
            ready = partial(_report_ready, report, pointed.number)
            return _run(_answer(listening, pointed, task.options, ready, pointer, report, parent=0))
        except Exception as error:
            if Pointed.read(pointer).folder != pointed.folder:
                continue  # the model was replaced while it was loaded
            report(f"refused {pointed.number} {sentence_of(pointed, error)}")
            return AdresponseError.exit_code


def _load() -> None:
    """Load what answers, before there is a model: its parent may still be looking for one."""
    import uvloop  # noqa: F401

    from adresponse.serving import app, reload, wire  # noqa: F401


def _report_ready(report: Callable[[str], None], number: int, what: str) -> None:
    report(f"ready {what}")
    report(f"serving {number}")


def _report(descriptor: int, line: str) -> None:
    with contextlib.suppress(OSError):  # the parent is gone; the end of the input says so too
        os.write(descriptor, line.encode("utf-8", "replace") + b"\n")


def _line(descriptor: int) -> bytes:
    """The first line of an input, and not a byte more."""
    read = b""
    while not read.endswith(b"\n"):
        if not (part := os.read(descriptor, 65536)):
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):  # the parent ended before it had something to serve
                sys.exit(0)
            raise DeploymentError("A worker is started by `adresponse serve`, which tells it what to serve.")
        read += part
    return read


if __name__ == "__main__":
    sys.exit(main())
