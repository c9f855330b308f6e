"""How does another version become champion, whole or not at all, and how does one get back?

MLflow moves an alias silently, and deletes a version beneath it. Here each move is a transaction: under the model's lock
(``mutex.py``), the version tried before and after, written down first (``journal.py``), and put back where anything fails.
A process that is killed on the way leaves an event that is ``started``; whoever has the lock next settles it.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adresponse import journal, mutex, registry, words
from adresponse.errors import AdresponseError, ConfigError, StoreError
from adresponse.findings import Finding
from adresponse.journal import Event
from adresponse.mutex import Lease
from adresponse.registry import CHAMPION, MANIFEST_TAG
from adresponse.store import Store, error_code
from adresponse.stored import open_stored

__all__ = ["ANY", "MovedError", "Promoted", "delete_version", "lost", "promote", "rollback", "rollback_target", "settle"]

ANY = "any"  # champion may be whichever it is
DAY = 86_400_000  # milliseconds
Try = Callable[[str], None]


class MovedError(StoreError):
    """Champion is not the version that was expected: somebody moved it meanwhile."""


@dataclass(frozen=True)
class Promoted:
    """Where champion is now, and where it was.

    Parameters
    ----------
    name : str
        The registered model.
    source, target : str
        Champion before and after; ``source`` is empty where there was none.
    uri : str
        ``models:/NAME/TARGET``.
    event : Event or None
        What was written; None where the version was champion already.
    settled : tuple of Event
        What earlier processes had left, as it is now.
    skipped : tuple of str
        Why a rollback passed over versions that come before ``target``, a sentence each.
    """

    name: str
    source: str
    target: str
    uri: str
    event: Event | None
    settled: tuple[Event, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the alias was moved."""
        return self.event is not None


# --- move the alias


def promote(
    lease: Lease,
    version: str,
    *,
    verify: Try,
    why: str,
    expected: str | None = ANY,
    force: bool = False,
    digests: Mapping[str, str] | None = None,
    by: str | None = None,
) -> Promoted:
    """Make a version champion; where anything fails, the alias is where it was.

    Parameters
    ----------
    lease : Lease
        The lock of the model.
    version : str
        Which version.
    verify : callable
        Called with ``models:/NAME/VERSION`` before, and with ``models:/NAME@champion`` after the alias was moved; raises
        where the model does not answer as it was evaluated.
    why : str
        The reason, for the history.
    expected : str or None
        The version that has to be champion now; None for none, ``ANY`` for whichever it is.
    force : bool
        Promote a version that the gate rejected.
    digests : mapping, optional
        SHA-256 of what the decision rests on; the manifest's is added.
    by : str, optional
        Who decided; ``user@host`` of this process if left out.

    Raises
    ------
    MovedError
        If another version is champion than was expected; it names both.
    StoreError
        If the version is not there, is not whole, or was rejected.
    LeaseLostError
        If the lock went to another process meanwhile.
    """
    settled = settle(lease)
    source = _now(lease)
    if expected != ANY and source != (expected or ""):
        raise MovedError(
            f"{_called(lease.name, source)}, and {_version_or_none(expected)} was expected: somebody moved it meanwhile. Look "
            "at `adresponse history` and decide anew."
        )
    uri = f"models:/{lease.name}/{version}"
    if source == version:
        _refuse_not_whole(lease.store, lease.name, _found(lease.store, lease.name, version))
        return Promoted(lease.name, source, version, uri, None, settled)
    digest = _refuse_unfit(lease.store, lease.name, version, force, why)
    event = _move(lease, "promotion", source, version, verify, why, {**(digests or {}), "manifest": digest}, by)
    return Promoted(lease.name, source, version, uri, event, settled)


def rollback(
    lease: Lease, *, verify: Try, why: str, digests: Mapping[str, str] | None = None, by: str | None = None
) -> Promoted:
    """Make the version champion again that was it before the present one, whatever happened since.

    See ``journal.line`` for which one that is. Versions that were deleted, or are not whole any more, are passed over.
    Parameters and errors are those of ``promote``.
    """
    settled = settle(lease)
    source = _now(lease)
    target, digest, skipped = _before(lease.store, lease.name, source)
    if target is None:
        passed = " ".join(skipped)
        raise StoreError(
            f"There is no version of {lease.name!r} to go back to: the history names none before "
            f"{_version_or_none(source)}. {passed}".rstrip()
        )
    said = f"{why} {' '.join(skipped)}".strip()
    event = _move(lease, "rollback", source, target, verify, said, {**(digests or {}), "manifest": digest}, by)
    return Promoted(lease.name, source, target, f"models:/{lease.name}/{target}", event, settled, skipped)


def rollback_target(store: Store, name: str) -> str | None:
    """The version that ``rollback`` would go to, or None."""
    return _before(store, name, registry.aliases(store, name).get(CHAMPION, ""))[0]


def _before(store: Store, name: str, source: str) -> tuple[str | None, str, tuple[str, ...]]:
    """The version before ``source``, its manifest's digest, and what was passed over."""
    events = journal.read(store, name)
    manifests = {e.target: e.digests["manifest"] for e in events if "manifest" in e.digests and e.state == "done"}
    earlier = list(journal.line(events))
    if earlier[-1:] == [source]:
        del earlier[-1]
    skipped: list[str] = []
    for version in reversed(earlier):
        if version == source:
            continue
        try:
            digest = _refuse_not_whole(store, name, _found(store, name, version))
        except StoreError as error:
            skipped.append(str(error))
            continue
        if digest != manifests.get(version, digest):
            skipped.append(f"Version {version} of {name!r} is another model than the one that was champion.")
            continue
        return version, digest, tuple(dict.fromkeys(skipped))
    return None, "", tuple(dict.fromkeys(skipped))


def _move(
    lease: Lease,
    kind: journal.Kind,
    source: str,
    target: str,
    verify: Try,
    why: str,
    digests: Mapping[str, str],
    by: str | None,
) -> Event:
    store, name = lease.store, lease.name
    verify(f"models:/{name}/{target}")
    event = journal.append(lease, kind, source=source, target=target, why=why, digests=digests, by=by)
    try:
        _refuse_moved(lease, source)
        lease.check()
        store.call("set_registered_model_alias", name, CHAMPION, target)
        verify(f"models:/{name}@{CHAMPION}")
        lease.check()
        _refuse_moved(lease, target)
        return journal.close(store, event, "done")
    except BaseException as error:
        _put_back(lease, event, error)
        raise


def _put_back(lease: Lease, event: Event, error: BaseException) -> None:
    """The alias where it was, if it is where we put it; what cannot be reached now is settled by whoever comes next."""
    reason = str(error) or type(error).__name__
    with contextlib.suppress(StoreError):
        lease.check()
        now = _now(lease)
        if now == event.target:
            _set(lease, event.source)
        journal.close(lease.store, event, "undone" if now in (event.source, event.target) else "abandoned", reason)


def _set(lease: Lease, version: str) -> None:
    """The alias on a version; gone where there was none, or where it was deleted meanwhile."""
    if version:
        try:
            lease.store.call("set_registered_model_alias", lease.name, CHAMPION, version)
            return
        except StoreError as error:
            if error_code(error) != "RESOURCE_DOES_NOT_EXIST":
                raise
    lease.store.call("delete_registered_model_alias", lease.name, CHAMPION)


def _now(lease: Lease) -> str:
    return registry.aliases(lease.store, lease.name).get(CHAMPION, "")


def _refuse_moved(lease: Lease, wanted: str) -> None:
    now = _now(lease)
    if now != wanted:
        raise MovedError(f"{_called(lease.name, now)}, and {_version_or_none(wanted)} a moment ago: somebody moves it by hand.")


def _called(name: str, version: str) -> str:
    return f"Champion of {name!r} is {_version_or_none(version)}"


def _version_or_none(version: str | None) -> str:
    return f"version {version}" if version else "no version"


# --- may it be champion?


def _refuse_unfit(store: Store, name: str, version: str, force: bool, why: str) -> str:
    """The digest of the manifest of a version that may become champion, or a refusal."""
    if force and not why.strip():
        raise ConfigError("Whoever promotes a version by force gives a reason: add --why 'REASON'.")
    found = _found(store, name, version)
    if found.tags.get("adresponse.status") == "REJECTED" and not force:
        reason = found.tags.get("adresponse.reason", "").rstrip(".")
        raise StoreError(
            f"Version {version} of {name!r} was rejected by the gate ({reason}); it does not become champion, unless --force "
            "and a reason are given."
        )
    return _refuse_not_whole(store, name, found)


def _refuse_not_whole(store: Store, name: str, found: Any) -> str:
    """The digest of the manifest of a version as MLflow gives it, or a refusal where its files are not there."""
    digest = found.tags.get(MANIFEST_TAG, "")
    if not digest:
        raise StoreError(
            f"Version {found.version} of {name!r} has no tag {MANIFEST_TAG}, so nobody can tell whether its files are what was "
            "registered; take one that `adresponse run` made."
        )
    registry.refuse_gone(store, name, str(found.version))
    return str(digest)


def _found(store: Store, name: str, version: str) -> Any:
    try:
        return store.call("get_model_version", name, version)
    except StoreError as error:
        if error_code(error) not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        there = words.listing([v.version for v in registry.versions(store, name)][:8]) or "none"
        raise StoreError(f"There is no version {version} of {name!r} (any more); there is {there}.") from error


# --- what earlier processes left


def settle(lease: Lease, loads: Try | None = None) -> tuple[Event, ...]:
    """End what a killed process left half-done, and note what somebody moved by hand; gives the events, as they are now.

    A promotion that was begun is finished where the alias was moved and the version loads, undone where it does not load,
    and abandoned where the alias was not moved. If champion then is another than the history says, an event ``outside``
    says so; the alias stays where it was put.

    Parameters
    ----------
    lease : Lease
        The lock of the model.
    loads : callable, optional
        Raises where the model of a URI cannot be loaded; by default its files are fetched and held against the manifest.
    """
    lease.check()
    test = loads or (lambda uri: _refuse_unloadable(lease.store, uri))
    events = journal.read(lease.store, lease.name)
    settled = [_settled(lease, event, test) for event in events if event.state == "started"]
    if settled:
        events = journal.read(lease.store, lease.name)
    believed, now = journal.champion(events), _now(lease)
    if believed is not None and believed != now:
        why = "Found moved by somebody else, without adresponse."
        settled.append(journal.append(lease, "outside", source=believed, target=now, why=why, by="somebody"))
    return tuple(settled)


def _settled(lease: Lease, event: Event, loads: Try) -> Event:
    now = _now(lease)
    if now != event.target:
        reason = "The process ended before the alias was moved." if now == event.source else "Somebody else moved the alias."
        return journal.close(lease.store, event, "abandoned", reason)
    try:
        loads(f"models:/{lease.name}/{event.target}")
    except AdresponseError as error:
        lease.check()
        _set(lease, event.source)
        return journal.close(lease.store, event, "undone", f"The process ended, and the version does not load: {error}")
    return journal.close(lease.store, event, "done", f"Finished by {mutex.who()}, since the process that began it ended.")


def _refuse_unloadable(store: Store, uri: str) -> None:
    located = registry.locate(store, uri)
    with tempfile.TemporaryDirectory(prefix="adresponse-") as folder:
        open_stored(registry.fetch(store, located, Path(folder)), located.digest, uri)


# --- delete


def delete_version(
    lease: Lease, version: str, *, in_use: Iterable[str] = (), why: str = "", force: bool = False, by: str | None = None
) -> Event:
    """Delete a version that nothing needs.

    Parameters
    ----------
    lease : Lease
        The lock of the model.
    version : str
        Which version.
    in_use : iterable of str
        Deployments that are known to answer with it, beside those noted on the version (``registry.uses``).
    why, by
        For the history.
    force : bool
        Delete the version that ``rollback`` would go to.

    Raises
    ------
    StoreError
        If an alias or a deployment uses it, or ``rollback`` would go to it.
    """
    settle(lease)
    store, name = lease.store, lease.name
    found = _found(store, name, version)
    named = [alias for alias, of in registry.aliases(store, name).items() if of == version]
    if named:
        raise StoreError(f"Version {version} of {name!r} is its {words.listing(named)}; move the alias first.")
    if used := sorted({*in_use, *registry.uses(store, name, version)}):
        raise StoreError(f"Version {version} of {name!r} is used by {words.listing(used)}; update or delete that first.")
    if not force and version == rollback_target(store, name):
        raise StoreError(f"`adresponse rollback` would go to version {version} of {name!r}; delete it with --force.")
    lease.check()
    try:
        store.call("delete_model_version", name, version)
    except StoreError as error:  # it was there a moment ago, so our request was repeated on its way
        if error_code(error) != "RESOURCE_DOES_NOT_EXIST":
            raise
    digest = found.tags.get(MANIFEST_TAG, "")
    return journal.append(lease, "deletion", source=version, why=why, digests={"manifest": digest} if digest else {}, by=by)


# --- what is lost


def lost(store: Store, names: Iterable[str] | None = None) -> tuple[Finding, ...]:
    """What is not as it should be in the registry, for ``adresponse doctor``; changes nothing.

    Parameters
    ----------
    store : Store
        The opened store.
    names : iterable of str, optional
        Which models; all that adresponse made if left out.
    """
    wanted = None if names is None else set(names)
    tickets = [t for t in mutex.queue(store) if wanted is None or t.name in wanted]
    found = list(_dead_tickets(tickets))
    for model in registry.models(store):
        if "adresponse.target" in model.tags and (wanted is None or model.name in wanted):
            found += _lost_of(store, model, busy=any(t.name == model.name and not mutex.ended(t.process) for t in tickets))
    return tuple(found)


def _dead_tickets(tickets: Iterable[mutex.Ticket]) -> Iterator[Finding]:
    for ticket in tickets:
        if mutex.ended(ticket.process):
            yield Finding(
                "R004",
                "note",
                f"The lock of {ticket.name!r} was left by {ticket.sentence}, whose process is gone.",
                "Nothing: the next command takes it over.",
            )


def _lost_of(store: Store, model: Any, busy: bool) -> Iterator[Finding]:
    name = model.name
    there = {str(v.version): v for v in registry.entities(store, name)}
    for alias, version in sorted(model.aliases.items()):
        if str(version) not in there:
            yield Finding(
                "R002",
                "stop",
                f"The alias {alias!r} of {name!r} names version {version}, which was deleted.",
                "Run `adresponse rollback`, or promote another version.",
            )
    for version in sorted(there, key=int):
        try:
            _refuse_not_whole(store, name, there[version])
        except StoreError as error:
            yield Finding("R001", "stop", str(error), "Promote another version if it is champion; then delete it.")
    if not busy:
        yield from _half_done(store, name, str(model.aliases.get(CHAMPION, "")))
        yield from _left_running(store, name)


def _half_done(store: Store, name: str, now: str) -> Iterator[Finding]:
    events = journal.read(store, name)
    begun = [e for e in events if e.state == "started"]
    for event in begun:
        yield Finding(
            "R005",
            "review",
            f"A {event.kind} of {name!r} from {event.source or 'none'} to {event.target} was begun by {event.who} at "
            f"{event.when} and not ended.",
            "Nothing: the next promotion, rollback or refresh settles it.",
        )
    believed = journal.champion(events)
    if not begun and believed is not None and believed != now:
        yield Finding(
            "R006",
            "review",
            f"{_called(name, now)}, where the history says {_version_or_none(believed)}: somebody moved it without adresponse.",
            "See whether this is meant; `adresponse promote` or `rollback` moves it with a history.",
        )


def _left_running(store: Store, name: str) -> Iterator[Finding]:
    experiment = store.call("get_experiment_by_name", name)
    if experiment is None:
        return
    running = store.call("search_runs", [experiment.experiment_id], "attributes.status = 'RUNNING'", max_results=100)
    for run in running:
        if run.data.tags.get("adresponse.kind") == "event":
            continue
        process = run.data.tags.get("adresponse.process", "")
        if mutex.ended(process) or run.info.start_time < time.time() * 1000 - DAY:
            version = run.data.tags.get("adresponse.model_version")
            made = f", which made version {version} of {name!r}," if version else ""
            yield Finding(
                "R003",
                "review",
                f"The run {run.info.run_name!r} ({run.info.run_id}){made} was never ended: its process is gone.",
                "Run it again; what it made is whole or not there.",
            )
