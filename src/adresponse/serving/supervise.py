"""How do several processes answer as one, and follow the registry? A parent that starts, tells and restarts workers.

The parent owns the listening socket, so that connections wait while a worker is replaced. It alone may use MLflow: it
looks where the alias points, copies the model into a folder, and writes where that is into ``current.json``, which the
workers watch (``reload.py``). A model that cannot be copied is not pointed at, and one that a worker refuses is not any longer;
while the alias names it, it is fetched again from time to time, since what was wrong may have been the store of its files and
not the model.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import queue
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from adresponse.errors import AdresponseError, ConfigError, DeploymentError, ModelError
from adresponse.serving.listening import announce, listen, say, url_of
from adresponse.serving.options import Options
from adresponse.serving.pointer import Pointed
from adresponse.serving.worker import ONE_THREAD, Task

__all__ = ["POLL_SECONDS", "Fetch", "Find", "Followed", "Found", "Worker", "run"]

COUNTS = "PROMETHEUS_MULTIPROC_DIR"  # where Prometheus's client looks for the folder
TICK_SECONDS = 0.25
POLL_SECONDS = 2.0  # between two looks at the registry, unless another pause is named
AGAIN = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0)  # before a version that was refused is fetched again
PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # before the next start of a worker that ends soon after each
LASTING_SECONDS = 30.0  # a worker that answered for so long has not failed at once
TRIES = 4  # starts of workers of which none was ever ready
GRACE_SECONDS = 5.0  # beyond the drain, for a worker to end by itself


@dataclass(frozen=True)
class Found:
    """The version that is to be served: its number, its model's name, the SHA-256 of its manifest where known."""

    version: str
    name: str
    digest: str | None = None


Find = Callable[[], Found]
"""Looks where the alias points now; raises AdresponseError where the registry cannot say."""

Fetch = Callable[[Found, Path], tuple[Path, str | None]]
"""Copies a version's files into a folder; gives the folder with ``MLmodel`` and the SHA-256 of its manifest."""


@dataclass(frozen=True)
class Followed:
    """A model in a registry, and how to find and fetch it."""

    find: Find
    fetch: Fetch


def run(model: Pointed | Followed, options: Options, workers: int = 1, poll_seconds: float = POLL_SECONDS) -> int:
    """Serve a model with worker processes until SIGTERM or SIGINT; gives the exit code.

    Parameters
    ----------
    model : Pointed or Followed
        A stored model in a folder, or one of a registry whose alias is followed.
    options : Options
        How requests are treated.
    workers : int
        Processes that answer, 1 or more.
    poll_seconds : float
        Between two looks at the registry; 0 looks only once.

    Raises
    ------
    ConfigError
        If there is to be no worker, the look-out is for no number of seconds, or it cannot listen where the options say.
    StoreError
        If the registry cannot say which model it is.
    ModelError
        If the model cannot be served.
    DeploymentError
        If the workers end before they are ready.
    """
    if workers < 1:
        raise ConfigError(f"workers={workers} cannot answer; give 1 or more.")
    if not 0 <= poll_seconds < math.inf:
        raise ConfigError(f"poll={poll_seconds:g} is no number of seconds; give one such as 2.")
    with (
        _ended_by_signal(),
        contextlib.closing(listen(options)) as listening,
        _runtime() as runtime,
        contextlib.ExitStack() as leaving,
    ):
        counts = runtime / "counts" if workers > 1 else None
        if counts is not None:
            counts.mkdir()
        started: list[Worker] = []
        leaving.callback(_end_now, started)  # those that were never told to begin
        for _ in range(workers):
            started.append(Worker(listening, counts=counts))  # they load while the model is fetched
        source = _Source(model, runtime)
        return _Supervisor(source, listening, runtime, options, workers, poll_seconds, counts, started).run()


def _end_now(workers: list[Worker]) -> None:
    for worker in workers:
        worker.tell(signal.SIGKILL)
        worker.end(GRACE_SECONDS)


@contextlib.contextmanager
def _runtime() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="adresponse-serve-", ignore_cleanup_errors=True) as folder:
        held = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_SH)  # systemd removes what lies long in a temporary folder, but not what is locked
            yield Path(folder)
        finally:
            os.close(held)


@contextlib.contextmanager
def _ended_by_signal() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl+C does, so that neither folder nor worker is left; while it answers it drains first."""
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


# --- one worker, seen from its parent


class Worker:
    """A worker process: started with an inherited socket, told what to do, heard by lines, ended with its parent.

    Parameters
    ----------
    listening : socket
        What it accepts connections from, once it has begun.
    log : int, optional
        File descriptor that gets its standard error; this process's own by default.
    counts : Path, optional
        Folder in which several workers add up what /metrics tells.
    """

    def __init__(self, listening: socket.socket, log: int | None = None, counts: Path | None = None) -> None:
        self._socket = listening.fileno()
        self.started = time.monotonic()
        self.ready = ""  # what it serves, once it answers
        self.number = -1  # of the pointer that it serves
        self.refusal = ""
        self._rest = b""
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "adresponse.serving.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**environment(), **({COUNTS: str(counts)} if counts else {})},
            pass_fds=(listening.fileno(),),
            process_group=0,  # Ctrl+C is for the parent, which drains
        )
        self._input, self.output = _pipes(self.process)

    def begin(self, pointer: Path, options: Options) -> None:
        """Let it answer.

        Parameters
        ----------
        pointer : Path
            The pointer's file, which is there.
        options : Options
            How requests are treated.
        """
        self.started = time.monotonic()
        with contextlib.suppress(BrokenPipeError):
            self._input.write(Task(self._socket, str(pointer), options).to_line())
            self._input.flush()

    def hear(self) -> list[tuple[str, int]] | None:
        """What it has reported since: ``ready``, ``serving``, ``refused``, each with a number; None once it has ended."""
        read = os.read(self.output.fileno(), 65536)
        if not read:
            return None
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [self._heard(line.decode("utf-8", "replace")) for line in lines]

    def _heard(self, line: str) -> tuple[str, int]:
        what, _, rest = line.partition(" ")
        number, _, sentence = rest.partition(" ")
        if what == "ready":
            self.ready = rest
            return what, 0
        if what == "refused":
            self.refusal = sentence
        else:
            self.number = int(number)
        return what, int(number)

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def end(self, seconds: float) -> None:
        """Wait so long for it to end, then kill it."""
        try:
            self.process.wait(max(seconds, 0))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in _pipes(self.process):
            with contextlib.suppress(OSError):
                pipe.close()


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    """Input and output of a process that was started with both."""
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    return process.stdin, process.stdout


def environment() -> dict[str, str]:
    """This process's environment for a child of the package: its folder on the path, and no threads for products."""
    package = str(Path(__file__).parents[2])
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([package, inherited] if inherited else [package])
    return {**ONE_THREAD, **os.environ, "PYTHONPATH": path}


# --- where the model comes from


@dataclass(frozen=True)
class _Away:
    """A version that the alias names and whose files cannot be fetched, and the sentence that says so."""

    version: str
    refusal: str


class _Source:
    """What to serve: a folder that stays, or what the registry's alias names now."""

    def __init__(self, model: Pointed | Followed, runtime: Path) -> None:
        self.followed = model if isinstance(model, Followed) else None
        self.folders = runtime / "models"
        self.fetched = 0
        self.seen: Found | None = None
        self.down = ""
        self.first = model if isinstance(model, Pointed) else self._fetch(self._find())

    def _find(self) -> Found:
        assert self.followed is not None  # noqa: S101
        return self.followed.find()

    def _fetch(self, found: Found) -> Pointed:
        assert self.followed is not None  # noqa: S101
        self.fetched += 1
        target = self.folders / f"{self.fetched}"
        try:
            folder, digest = self.followed.fetch(found, target)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            self.fetched -= 1  # the next try takes the same folder, so that a failure that names it reads the same
            raise
        self.seen = found
        return Pointed(str(folder), found.version, found.name, digest)

    def look(self) -> Pointed | _Away | None:
        """What to serve from now on, where that has changed; a registry that is down is said once, and outwaited."""
        try:
            found = self._find()
        except Exception as error:  # whatever the registry's client raises, serving goes on
            self._complain(error)
            return None
        if self.down:
            self.down = ""
            say("The registry answers again.")
        if found == self.seen:
            return None
        try:
            return self._fetch(found)
        except Exception as error:
            self.seen = found
            return _Away(found.version, f"The files of version {found.version} cannot be fetched. {_said(error)}")

    def forget(self, version: str) -> None:
        """Fetch a version again at the next look, if the alias names it still."""
        if self.seen is not None and self.seen.version == version:
            self.seen = None

    def _complain(self, error: Exception) -> None:
        said = _said(error)
        if said != self.down:
            self.down = said
            say(f"{said} The model served so far is kept; looking again.")


def _said(error: Exception) -> str:
    """What went wrong, in one line."""
    return " ".join((str(error) if isinstance(error, AdresponseError) else f"{type(error).__name__}: {error}.").split())


# --- the parent


@dataclass
class _Failures:
    """How often workers ended soon after their start, and when the next may start."""

    count: int = 0
    next_start: float = 0.0

    def note(self, worker: Worker) -> None:
        now = time.monotonic()
        self.count = 0 if worker.ready and now - worker.started > LASTING_SECONDS else self.count + 1
        pause = PAUSES[min(self.count, len(PAUSES)) - 1] if self.count > 1 else 0.0
        self.next_start = now + pause


@dataclass
class _Refused:
    """A version that could not be fetched or that a worker did not take, how often, and when it is to be fetched again."""

    version: str
    count: int = 0
    next_try: float = 0.0

    def note(self) -> None:
        self.next_try = time.monotonic() + AGAIN[min(self.count, len(AGAIN) - 1)]
        self.count += 1

    def is_due(self) -> bool:
        """Whether it is to be fetched now; says so once for each refusal."""
        if time.monotonic() < self.next_try:
            return False
        self.next_try = math.inf
        return True


@dataclass
class _Supervisor:
    source: _Source
    listening: socket.socket
    runtime: Path
    options: Options
    count: int
    poll_seconds: float
    counts: Path | None
    loading: list[Worker]  # processes that have not been told to begin
    workers: list[Worker] = field(default_factory=list)
    failures: _Failures = field(default_factory=_Failures)
    refused: _Refused | None = None  # what the alias names, where it is not what answers
    answered: bool = False  # some worker was ready once
    signals: int = 0
    leftover: dict[Path, float] = field(default_factory=dict)  # folders that nobody needs after that time

    def run(self) -> int:
        self.pointer = self.runtime / "current.json"
        self.url = url_of(self.listening)
        self.good: Pointed | None = None  # the last one that the workers took; nothing is tried before there is one
        self.pointed = replace(self.source.first, number=1)
        self.pointed.write(self.pointer)
        self.moves: queue.SimpleQueue[Pointed | _Away] = queue.SimpleQueue()
        self.ended = threading.Event()
        with selectors.DefaultSelector() as self.selector, self._waking(), self._signalled():
            try:
                self._follow()
                while not self.signals:
                    self._start_missing()
                    self._hear(TICK_SECONDS)
                    self._move()
                    self._try_again()
                    self._sweep()
                return self._drain()
            finally:
                self.ended.set()
                _end_now(self.workers)

    @contextlib.contextmanager
    def _waking(self) -> Iterator[None]:
        """A pipe that ends the wait: a byte says that a signal came or the alias moved."""
        read, self.wake = os.pipe()
        self.selector.register(read, selectors.EVENT_READ, None)
        try:
            yield
        finally:
            self.selector.unregister(read)
            os.close(read)
            os.close(self.wake)

    @contextlib.contextmanager
    def _signalled(self) -> Iterator[None]:
        def note(*_: Any) -> None:
            self.signals += 1
            os.write(self.wake, b".")

        previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _follow(self) -> None:
        """Look at the registry in a thread of its own: it may take long to say that it is down."""
        if self.source.followed is None or self.poll_seconds <= 0:
            return

        def look() -> None:
            while not self.ended.wait(self.poll_seconds):
                if (moved := self.source.look()) is not None:
                    self.moves.put(moved)
                    with contextlib.suppress(OSError):
                        os.write(self.wake, b".")

        threading.Thread(target=look, name="registry", daemon=True).start()

    def _start_missing(self) -> None:
        while len(self.workers) < self.count and time.monotonic() >= self.failures.next_start:
            worker = self.loading.pop() if self.loading else Worker(self.listening, counts=self.counts)
            worker.begin(self.pointer, self.options)
            self.workers.append(worker)
            self.selector.register(worker.output, selectors.EVENT_READ, worker)

    def _hear(self, seconds: float) -> None:
        for key, _ in self.selector.select(seconds):
            if key.data is None:
                os.read(key.fd, 4096)
                continue
            worker: Worker = key.data
            reports = worker.hear()
            if reports is None:
                self._bury(worker)
                continue
            for what, number in reports:
                self._note(worker, what, number)

    def _note(self, worker: Worker, what: str, number: int) -> None:
        if what == "ready" and not self.answered:
            self.answered = True
            announce(worker.ready, self.url)
        elif what == "serving" and (self.good is None or all(w.number == self.pointed.number for w in self.workers)):
            self.good = self.pointed
            if self.refused and self.refused.version == self.good.version and not self.good.trouble:
                say(f"{self.good.name} version {self.good.version} is fit now, and answers.")
                self.refused = None
        elif what == "refused" and number == self.pointed.number and self.good and self.good.folder != self.pointed.folder:
            self._keep(self.good, self.pointed.version, worker.refusal)

    def _keep(self, good: Pointed, version: str, refusal: str) -> None:
        """Let the last good one answer on; what was refused is said once, and tried again later."""
        if self.refused is None or self.refused.version != version:
            say(f"{refusal} Version {good.version} answers on; the other is looked at again.")
            self.refused = _Refused(version)
        self.refused.note()
        self._point(replace(good, trouble=refusal))

    def _point(self, wanted: Pointed) -> str:
        """Tell the workers what to serve; where that cannot be written (a full disk), they answer on, and it gives why."""
        pointed = replace(wanted, number=self.pointed.number + 1)
        try:
            pointed.write(self.pointer)
        except OSError as error:
            return error.strerror or str(error)
        self.pointed = pointed
        return ""

    def _bury(self, worker: Worker) -> None:
        self.selector.unregister(worker.output)
        self.workers.remove(worker)
        worker.end(GRACE_SECONDS)
        for gauge in self.counts.glob(f"gauge_live*_{worker.process.pid}.db") if self.counts else ():
            gauge.unlink(missing_ok=True)  # what a process that is gone has under way
        if self.signals:
            return
        code = worker.process.returncode
        self.failures.note(worker)
        if not self.answered:
            if worker.refusal:
                raise ModelError(worker.refusal)
            if self.failures.count >= TRIES:
                raise DeploymentError(
                    f"The server's workers end before they are ready ({_ending(code)}); what they said stands above."
                )
        say(f"Worker {worker.process.pid} ended ({_ending(code)}); another one takes its place.")

    def _move(self) -> None:
        while self.good is not None and not self.moves.empty():
            moved = self.moves.get()
            if isinstance(moved, _Away):
                self._keep(self.good, moved.version, moved.refusal)
                continue
            if self.pointed.folder == moved.folder:
                continue
            if self.refused is None or self.refused.version != moved.version:
                self.refused = None
                say(f"{moved.name} version {moved.version} is to answer from now on; the workers try it.")
            if why := self._point(moved):
                self._keep(self.good, moved.version, f"Version {moved.version} cannot be told to the workers ({why}).")

    def _try_again(self) -> None:
        if self.refused is not None and self.refused.is_due():
            self.source.forget(self.refused.version)

    def _sweep(self) -> None:
        """Remove folders once each worker has turned to the one pointed at, and no request can need them."""
        if self.source.followed is None or self.good is None or self.good.folder != self.pointed.folder:
            return
        if len(self.workers) < self.count or any(w.number != self.pointed.number for w in self.workers):
            self.leftover.clear()
            return
        now = time.monotonic()
        newest = self.source.folders / f"{self.source.fetched}"  # may be on its way
        for folder in list(self.source.folders.glob("*")):  # none where somebody cleaned temporary folders
            if folder == newest or Path(self.pointed.folder).is_relative_to(folder):
                self.leftover.pop(folder, None)
            elif now > self.leftover.setdefault(folder, now + self.options.timeout):
                shutil.rmtree(folder, ignore_errors=True)
                self.leftover.pop(folder)

    def _drain(self) -> int:
        """End the workers once their requests are answered; a second signal ends them at once."""
        self.listening.close()
        for worker in [w for w in self.workers if not w.ready]:  # it would keep connections that it never takes
            worker.tell(signal.SIGKILL)
            self._bury(worker)
        for worker in self.workers:
            worker.tell(signal.SIGTERM)
        until = time.monotonic() + self.options.drain + GRACE_SECONDS
        while self.workers and self.signals < 2 and time.monotonic() < until:
            self._hear(TICK_SECONDS)
        return 1 if self.workers else 0


def _ending(code: int | None) -> str:
    return f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
