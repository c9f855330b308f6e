"""How do several processes, on several hosts, change one model in turn, with nothing but an MLflow store between them?

MLflow has no compare-and-swap. What it has on every store is a number that the database gives once: the version of a
registered model. So the lock is a queue of tickets. A ticket is a version of the model ``adresponse-lock``; its tags say
whose it is. Whoever has the lowest ticket for a name holds the lock; to let go is to delete one's own ticket.

Why this holds, whoever is slow:

- Two processes never get one number: it is the primary key, and MLflow tries the next one where it is taken. A lower
  number never comes to light after a higher one, since the next number is one more than the highest that is written,
  deleted ones counted. So whoever reads the queue after taking a ticket sees every ticket before its own.
- A dead owner's ticket is deleted by those behind it. A number is never given again, so a process that decided this and
  then slept for hours deletes a ticket that is gone already, and never that of a later owner. (A lock that is one name,
  created and deleted or renamed, has no such safety: who is late takes away the lock of somebody else.)
- An owner is dead at once where its process is gone from this very machine, known by the boot, the process namespace, the
  number and the start of the process. Elsewhere it is dead when its beat, a tag that it renews every third of its lease,
  did not change for a whole lease and a half on the clock of the one who waits. No two clocks are compared.
- An owner that slept longer than that finds its ticket gone when it wakes: ``Lease.check`` renews the lease or raises, and
  is called before each step that cannot be taken back. A process that is frozen between this check and its step cannot be
  stopped by anybody; so what is done under the lock is written down first (``journal.py``) and settled by whoever is next.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from adresponse import record
from adresponse.errors import StoreError
from adresponse.store import CALM, Store, error_code

__all__ = [
    "IMPORTING",
    "LOCK",
    "BusyError",
    "Lease",
    "LeaseLostError",
    "Ticket",
    "ended",
    "held",
    "process_tags",
    "queue",
    "who",
]

LOCK = "adresponse-lock"
ABOUT = (
    "The queue of processes that change models through adresponse; no model. Each version is the ticket of one process, and "
    "is deleted when it is done. Leave it: a ticket whose process died is taken away by the next one."
)
SOURCE = "adresponse://lock/ticket"  # MLflow wants to know where a version's files are; a ticket has none
IMPORTING = threading.Lock()
"""Held while MLflow evaluates, for which it imports under a lock of its own. It imports on each request to a server, too, so a
lease renewed meanwhile would wait for that lock with one of Python's in hand, and the import for Python's: both for good."""
LEASE_SECONDS = 60.0
PATIENCE_SECONDS = 600.0
GRACE = 1.5  # leases without a beat until an owner elsewhere counts as dead
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds between two looks at the queue, the former for each who is before us
LATER = 0.1  # of the time that the one before us has taken: nobody waits a tenth longer than it has to
TEXT = 500  # characters of a tag
TOLD = ("model", "owner", "who", "command", "since", "process", "beat")


class BusyError(StoreError):
    """Others hold a model's lock longer than the caller would wait."""


class LeaseLostError(StoreError):
    """The lock went to somebody else, since this process did not renew it in time."""


@dataclass(frozen=True)
class Ticket:
    """A place in the queue.

    Parameters
    ----------
    number : int
        The lower, the earlier.
    name : str
        The model that is to be changed.
    owner : str
        One for each holding: two of one process differ.
    who, command, since : str
        ``user@host``, what it runs, and when it took the ticket.
    process : str
        Where and which: see ``process_tags``.
    beat : str
        Changes as long as the owner lives.
    lease : float
        Seconds for which a beat counts.
    """

    number: int
    name: str
    owner: str
    who: str
    command: str
    since: str
    process: str
    beat: str
    lease: float

    @property
    def sentence(self) -> str:
        """Who it is, as a person reads it."""
        return (
            f"{self.who} (process {self.process.rpartition('/')[0].rpartition('/')[2]}, `{self.command}`, since {self.since})"
        )


@dataclass(frozen=True)
class Lease:
    """The lock, held: ``check()`` before each step that cannot be taken back."""

    store: Store
    name: str
    number: int
    _lost: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    def check(self) -> None:
        """Renew the lease, so that the next step has all of it before it.

        Raises
        ------
        LeaseLostError
            If somebody else has taken the lock, since this process did not renew it in time.
        """
        if not self._lost.is_set():
            try:
                _beat(self.store, self.number)
                return
            except StoreError as error:
                if error_code(error) != "RESOURCE_DOES_NOT_EXIST":
                    raise
                self._lost.set()
        raise LeaseLostError(
            f"The lock of {self.name!r} was taken by another process, since this one did not renew it in time; nothing more "
            "is changed. Run it again."
        )


@contextlib.contextmanager
def held(
    store: Store,
    name: str,
    *,
    waiting: Callable[[str], None] = lambda sentence: None,
    patience: float = PATIENCE_SECONDS,
    lease: float = LEASE_SECONDS,
    command: str = "adresponse",
) -> Iterator[Lease]:
    """Hold the lock of a model inside the block; first come, first served. It cannot be taken twice by one thread.

    Parameters
    ----------
    store : Store
        The opened store.
    name : str
        The registered model; it need not be there yet.
    waiting : callable
        Called once, with who holds it, if this process has to wait.
    patience : float
        Seconds to wait.
    lease : float
        Seconds after which others may take the lock of a process that does not answer any more.
    command : str
        What others are told that this process runs.

    Raises
    ------
    BusyError
        If the lock was not free within ``patience``.
    """
    deadline = time.monotonic() + patience
    with _calm():
        while True:
            number, owner = _draw(store, name, lease, command)
            found = Lease(store, name, number)
            with _renewed(found, lease):
                try:
                    if _wait(found, owner, deadline, patience, waiting):
                        yield found
                        return
                finally:
                    _leave(store, number)


# --- the queue


def queue(store: Store, name: str | None = None) -> tuple[Ticket, ...]:
    """The tickets for a model (or all), the holder's first; none where nobody works."""
    found: list[Any] = []
    token = None
    while True:
        page = store.call("search_model_versions", f"name='{LOCK}'", page_token=token)
        found += page
        if not (token := page.token):
            break
    tickets = sorted((_ticket(v) for v in found), key=lambda t: t.number)
    return tuple(t for t in tickets if name is None or t.name == name)


def ended(process: str) -> bool:
    """Whether a process, as ``process_tags`` tells it, is known to have ended: it ran on this machine, and is not there."""
    place, pid, start = _split(process)
    return bool(place) and place == _place() and bool(start) and _start(int(pid)) != start


def process_tags() -> dict[str, str]:
    """Which process this is, for whoever finds what it left: ``boot:namespace/number/start``."""
    return {"adresponse.process": f"{_place()}/{os.getpid()}/{_start(os.getpid())}"}


def who() -> str:
    """``user@host``."""
    return f"{record.user()}@{socket.gethostname()}"


def _split(process: str) -> tuple[str, str, str]:
    place, pid, start = [*process.rsplit("/", 2), "", ""][:3]
    return (place, pid, start) if pid.isdigit() else ("", "0", "")


def _ticket(version: Any) -> Ticket:
    said: Mapping[str, str] = version.tags
    try:
        lease = float(said.get("adresponse.lease", ""))
    except ValueError:
        lease = LEASE_SECONDS
    model, owner, who, command, since, process, beat = (said.get(f"adresponse.{key}", "") for key in TOLD)
    return Ticket(int(version.version), model, owner, who, command, since, process, beat, lease)


def _draw(store: Store, name: str, lease: float, command: str) -> tuple[int, str]:
    """A new ticket: its number and its owner."""
    owner = uuid.uuid4().hex
    tags = {
        "adresponse.model": name,
        "adresponse.owner": owner,
        "adresponse.who": who()[:TEXT],
        "adresponse.command": command[:TEXT],
        "adresponse.since": _now(),
        "adresponse.beat": _pulse(),
        "adresponse.lease": repr(lease),
        **process_tags(),
    }
    try:
        return _create(store, tags), owner
    except StoreError as error:
        if error_code(error) != "RESOURCE_DOES_NOT_EXIST":
            raise
    with contextlib.suppress(StoreError):  # another process may be faster; if there still is none, the next line says so
        store.call("create_registered_model", LOCK, {"adresponse.kind": "lock"}, ABOUT)
    return _create(store, tags), owner


def _create(store: Store, tags: dict[str, str]) -> int:
    return int(store.call("create_model_version", LOCK, SOURCE, tags=tags, await_creation_for=0).version)


def _wait(lease: Lease, owner: str, deadline: float, patience: float, waiting: Callable[[str], None]) -> bool:
    """Wait until no ticket is before ours; False where ours was taken away, since this process slept."""
    seen: dict[int, tuple[str, float]] = {}
    told, place, moved = False, 0, time.monotonic()
    while (before := _before(lease, owner, seen)) is not None:
        if not before:
            return True
        if not told:
            waiting(f"Waiting for {before[0].sentence}, who changes {lease.name!r}.")
            told = True
        now = time.monotonic()
        if len(before) != place:
            place, moved = len(before), now
        left = deadline - now
        if left <= 0:
            raise BusyError(
                f"The model {lease.name!r} is being changed by {before[0].sentence}; it was not free within {patience:g} s. "
                "Try again later."
            )
        pause = min(max(FIRST_PAUSE * place, LATER * (now - moved)), LONGEST_PAUSE)
        time.sleep(min(random.uniform(0.5, 1.0) * pause, left))  # noqa: S311
    return False


def _before(lease: Lease, owner: str, seen: dict[int, tuple[str, float]]) -> list[Ticket] | None:
    """The living before us, the dead taken away; None where our own ticket is gone."""
    tickets = queue(lease.store, lease.name)
    if lease.number not in (t.number for t in tickets):
        return None
    before = []
    for ticket in tickets:
        repeated = ticket.owner == owner and ticket.number != lease.number  # a request that was sent twice on its way
        earlier = ticket.number < lease.number
        if repeated or (earlier and (ended(ticket.process) or _silent_for(ticket, seen) > GRACE * ticket.lease)):
            _delete(lease.store, ticket.number)
        elif earlier:
            before.append(ticket)
    return before


def _silent_for(ticket: Ticket, seen: dict[int, tuple[str, float]]) -> float:
    """Seconds for which we saw no new beat of the ticket, by our own clock."""
    now = time.monotonic()
    beat, since = seen.get(ticket.number, ("", now))
    if beat != ticket.beat:
        seen[ticket.number] = (ticket.beat, now)
        return 0.0
    return now - since


def _leave(store: Store, number: int) -> None:
    """Delete our ticket; where the store cannot be reached, it runs out by itself."""
    with contextlib.suppress(StoreError):
        _delete(store, number)


def _delete(store: Store, number: int) -> None:
    try:
        store.call("delete_model_version", LOCK, str(number))
    except StoreError as error:
        if error_code(error) != "RESOURCE_DOES_NOT_EXIST":
            raise


# --- the beat


@contextlib.contextmanager
def _renewed(lease: Lease, seconds: float) -> Iterator[None]:
    """A thread renews the lease inside the block, every third of it."""
    done = threading.Event()

    def renew() -> None:
        pause = seconds / 3
        while not done.wait(pause):
            try:
                with IMPORTING:
                    lease.store.client.set_model_version_tag(LOCK, str(lease.number), "adresponse.beat", _pulse())
                pause = seconds / 3
            except Exception as error:
                if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
                    lease._lost.set()
                    return
                pause = seconds / 12  # a store that is away for a moment

    thread = threading.Thread(target=renew, name=f"lease {lease.number}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(seconds / 3)


def _beat(store: Store, number: int) -> None:
    store.call("set_model_version_tag", LOCK, str(number), "adresponse.beat", _pulse())


def _pulse() -> str:
    """Never the same twice, and the time for whoever looks at it in MLflow."""
    return f"{_now()} {uuid.uuid4().hex[:8]}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextlib.contextmanager
def _calm() -> Iterator[None]:
    """MLflow's patience stays the same for both threads inside the block, since it is read from the environment."""
    missing = {k: v for k, v in CALM.items() if k not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for key in missing:
            os.environ.pop(key, None)


# --- which process


@cache
def _place() -> str:
    """This boot of this machine and this namespace of processes; empty where the system does not tell.

    A host's name is not enough: containers may share it, and each has its own process 1.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
        return f"{boot}:{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        node = uuid.getnode()
        made_up = bool(node >> 40 & 1)  # no network card: another number in each process
        return "" if made_up else f"{node:012x}:{socket.gethostname()}"


def _start(pid: int) -> str:
    """When a process started, as the system counts it; empty where none runs under that number."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path("/proc", str(pid), "stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in "ZX" else fields[19]  # field 22 of proc(5): ticks since the machine started
    ps = shutil.which("ps") or "/bin/ps"
    try:
        command = [ps, "-o", "lstart=", "-p", str(pid)]
        found = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
    except OSError:
        return ""
    return " ".join(found.stdout.split())
