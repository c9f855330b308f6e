"""How is a server started for a while, by a test or a verification, and ended for certain? And MLflow's own?"""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from adresponse.errors import ConfigError, DeploymentError, ModelError
from adresponse.serving.listening import listen, say, url_of
from adresponse.serving.options import Options
from adresponse.serving.pointer import Pointed
from adresponse.serving.supervise import POLL_SECONDS, Worker, environment
from adresponse.stored import without_bytecode

__all__ = ["Endpoint", "background", "serve_mlflow"]


READY_SECONDS = {"adresponse": 60.0, "mlflow": 120.0}
LOOK_SECONDS = 0.01
END_SECONDS = 5.0
OURS_ALONE = ("beyond", "max_body", "max_waiting", "log", "drain")  # options that MLflow's server does not have
CALM = {"MLFLOW_DISABLE_TELEMETRY": "true"}


@dataclass(frozen=True)
class Endpoint:
    """A server that answers: its address, the process, and the file with what it has said."""

    url: str
    pid: int
    log: Path

    def tail(self, lines: int = 5) -> str:
        """The last lines that it has said."""
        return _tail(self.log, lines)


def _tail(log: Path, lines: int) -> str:
    said = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return "\n".join(said[-lines:])


@contextlib.contextmanager
def background(
    folder: str | Path,
    *,
    version: str = "",
    name: str = "",
    options: Options | None = None,
    engine: Literal["adresponse", "mlflow"] = "adresponse",
) -> Iterator[Endpoint]:
    """A server for a stored model on a free port of loopback, there inside the block, and gone after it.

    Parameters
    ----------
    folder : path
        The stored model's folder.
    version, name : str, optional
        As answers say them.
    options : Options, optional
        How requests are treated; host and port are chosen here.
    engine : {"adresponse", "mlflow"}
        Our server, or ``mlflow models serve``.

    Raises
    ------
    ModelError
        If the model cannot be served.
    DeploymentError
        If the server does not come up in time; the sentence ends with the last line that it said.
    """
    chosen = replace(options or Options(), host="127.0.0.1", port=0)
    start = {"adresponse": _ours, "mlflow": _mlflows}
    with tempfile.TemporaryDirectory(prefix="adresponse-", ignore_cleanup_errors=True) as home:
        log = Path(home, "log")
        log.touch()
        with start[engine](Pointed(str(folder), version, name, number=1), chosen, log) as endpoint:
            yield endpoint


@contextlib.contextmanager
def _ours(pointed: Pointed, options: Options, log: Path) -> Iterator[Endpoint]:
    pointer = log.with_name("current.json")
    pointed.write(pointer)
    with contextlib.closing(listen(options)) as listening, log.open("ab") as file:
        url = url_of(listening)
        worker = Worker(listening, file.fileno())
        worker.begin(pointer, options)
    try:
        _until_ready(worker, log)
        yield Endpoint(url, worker.process.pid, log)
        worker.tell(signal.SIGTERM)
    except BaseException:
        worker.tell(signal.SIGKILL)
        raise
    finally:
        worker.end(END_SECONDS)


def _until_ready(worker: Worker, log: Path) -> None:
    until = time.monotonic() + READY_SECONDS["adresponse"]
    while not worker.ready:
        heard, _, _ = select.select([worker.output], [], [], max(until - time.monotonic(), 0))
        if not heard or worker.hear() is None:
            raise ModelError(worker.refusal) if worker.refusal else _not_up("The server", log)


def _not_up(what: str, log: Path) -> DeploymentError:
    said = _tail(log, 1)
    return DeploymentError(f"{what} did not come up" + (f"; the last it said: {said}" if said else "."))


@contextlib.contextmanager
def _mlflows(pointed: Pointed, options: Options, log: Path) -> Iterator[Endpoint]:
    with contextlib.closing(listen(options)) as probe:
        port = int(probe.getsockname()[1])
    with log.open("ab") as file, _mlflow(Path(pointed.folder), replace(options, port=port), 1, file.fileno()) as server:
        _until(lambda: _pings(port), server, READY_SECONDS["mlflow"], log)
        yield Endpoint(f"http://127.0.0.1:{port}", server.pid, log)


@contextlib.contextmanager
def _mlflow(folder: Path, options: Options, workers: int, log: int | None) -> Iterator[subprocess.Popen[bytes]]:
    """``mlflow models serve`` on a copy of the model, in a session of its own, since it starts further processes."""
    with tempfile.TemporaryDirectory(prefix="adresponse-mlflow-") as place:
        server = _start_mlflow(without_bytecode(folder, Path(place) / "model"), options, workers, log)
        try:
            yield server
        finally:
            _end_session(server)


def _start_mlflow(folder: Path, options: Options, workers: int, log: int | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder.resolve()), "--env-manager", "local"]
    command += ["--host", options.host, "--port", str(options.port), "--workers", str(workers)]
    command += ["--timeout", str(max(1, round(options.timeout)))]
    surroundings = {**CALM, **environment()}
    path = os.pathsep.join([str(Path(sys.executable).parent), surroundings.get("PATH", "")])  # it starts uvicorn by name
    return subprocess.Popen(  # noqa: S603
        command,
        env={**surroundings, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def _until(up: Callable[[], bool], server: subprocess.Popen[Any], seconds: float, log: Path) -> None:
    until = time.monotonic() + seconds
    while not up():
        if server.poll() is not None or time.monotonic() > until:
            raise _not_up("MLflow's server", log)
        time.sleep(LOOK_SECONDS)


def _pings(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def _end_session(server: subprocess.Popen[bytes], seconds: float = END_SECONDS) -> int:
    """End a process that leads its own session, with all that it started."""
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, END_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(patience)
    return server.returncode


def _refuse_unknown_to_mlflow(options: Options, poll_seconds: float) -> None:
    """Refuse what MLflow's server would drop in silence."""
    instead = "leave {} out, or use --engine adresponse."
    if options.token:
        raise ConfigError(f"MLflow's own server asks nobody for a token; {instead.format('--token-file')}")
    usual = Options()
    changed = [f"--{name.replace('_', '-')}" for name in OURS_ALONE if getattr(options, name) != getattr(usual, name)]
    if poll_seconds != POLL_SECONDS:
        changed.append("--poll")
    if set(options.hosts) - {*usual.hosts, options.host}:
        changed.append("--allow-host")
    if changed:
        given = " and ".join(filter(None, [", ".join(changed[:-1]), changed[-1]]))
        raise ConfigError(f"MLflow's own server does not know {given}; {instead.format('it' if len(changed) == 1 else 'them')}")
    if options.timeout % 1:
        raise ConfigError(f"MLflow's own server counts whole seconds, not --timeout {options.timeout:g}; give a whole number.")


def serve_mlflow(folder: str | Path, options: Options, workers: int = 1, poll_seconds: float = POLL_SECONDS) -> int:
    """Serve a stored model with MLflow's own server until SIGTERM or SIGINT; gives the exit code.

    Of the options it takes ``host``, ``port`` and ``timeout`` (whole seconds). It asks for no token, so it is for loopback
    and for comparison, and follows no alias.

    Raises
    ------
    ConfigError
        If another option is not at its default, or it cannot listen where the options say.
    """
    _refuse_unknown_to_mlflow(options, poll_seconds)
    with contextlib.closing(listen(options)) as probe:  # a port in use is refused in one sentence
        port = int(probe.getsockname()[1])
        url = url_of(probe)
    told: list[int] = []
    with _mlflow(Path(folder), replace(options, port=port), workers, None) as server:

        def forward(number: int, _: object) -> None:
            told.append(number)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL if len(told) > 1 else signal.SIGTERM)

        previous = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            say(f"MLflow's own server is to answer at {url}")
            code = server.wait()
            return 0 if told else code
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
