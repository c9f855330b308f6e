"""What happened to a model, in order: who moved ``champion``, from where to where, when and why?

Each event is a run of MLflow in the model's experiment, tagged ``adresponse.kind = event``. It is made by one call with all
its tags, so it is there whole or not at all. A promotion is written before it is done: the run's status says what came of
it (RUNNING: under way, or left by a killed process; FINISHED: done; FAILED: undone; KILLED: abandoned). What merely
happened is done when it is written.

Events are never changed or deleted by us. One that was deleted in MLflow's UI is still read, until ``mlflow gc``.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from adresponse.mutex import Lease, process_tags, who
from adresponse.store import Store
from adresponse.track import experiment_of

__all__ = ["Event", "Kind", "State", "append", "champion", "close", "line", "read"]

Kind = Literal["promotion", "rollback", "outside", "kept", "refresh", "deletion"]
State = Literal["started", "done", "undone", "abandoned"]

MOVES = ("promotion", "rollback", "outside")  # after which another version is champion
INTENDED = ("promotion", "rollback")  # written before they are done
PREFIX = "adresponse.event."
STATES: dict[str, State] = {"RUNNING": "started", "FINISHED": "done", "FAILED": "undone", "KILLED": "abandoned"}
STATUS = {state: status for status, state in STATES.items()}
TEXT = 4_000  # characters of a tag: less than any backend of MLflow takes
DIGITS = 8  # MLflow sorts tags as text


@dataclass(frozen=True)
class Event:
    """One event.

    Parameters
    ----------
    sequence : int
        1 for the model's first.
    kind : str
        ``promotion``; ``rollback``; ``outside`` (the alias was found moved by somebody else); ``kept`` (a refresh that
        left the champion); ``refresh`` (a file that was taken in); ``deletion`` (of the version ``source``).
    source, target : str
        Champion before and after; empty where there is none.
    why, who, when : str
        Reason, ``user@host``, and UTC time.
    digests : dict of str to str
        SHA-256 of what it rests on: ``manifest`` of the target, ``file`` that was taken in, ...
    state : str
        ``started``, ``done``, ``undone`` or ``abandoned``.
    outcome : str
        Why it was undone or abandoned, or who finished it.
    run_id : str
        The run of MLflow that is this event.
    rows_run : str
        The run that holds the rows that were taken in; empty where there are none.
    """

    sequence: int
    kind: Kind
    source: str
    target: str
    why: str
    who: str
    when: str
    digests: dict[str, str]
    state: State
    outcome: str
    run_id: str
    rows_run: str = ""


def read(store: Store, name: str) -> tuple[Event, ...]:
    """The whole history of a model, in order; empty where nothing was written yet."""
    experiment = store.call("get_experiment_by_name", name)
    if experiment is None:
        return ()
    found: list[Any] = []
    token = None
    while True:
        page = _search(store, experiment.experiment_id, page_token=token)
        found += page
        token = page.token
        if not token:
            return tuple(sorted(map(_event, _once(found)), key=lambda e: (e.sequence, e.when, e.run_id)))


def append(
    lease: Lease,
    kind: Kind,
    *,
    source: str = "",
    target: str = "",
    why: str = "",
    digests: Mapping[str, str] | None = None,
    by: str | None = None,
    rows_run: str = "",
    tags: Mapping[str, str] | None = None,
) -> Event:
    """Write the next event of the model whose lock is held; a promotion or rollback is ``started``, any other done.

    Parameters
    ----------
    lease : Lease
        The lock of the model.
    kind, source, target, why, digests
        See ``Event``. A text that MLflow does not take is cut, and says so.
    by : str, optional
        Who does it; ``user@host`` of this process if left out.
    rows_run : str, optional
        The run that holds the rows that were taken in.
    tags : mapping, optional
        Further tags of the run, such as ``mlflow.parentRunId``.
    """
    lease.check()
    store = lease.store
    experiment_id = experiment_of(store, lease.name)
    newest = _search(store, experiment_id, max_results=1, newest=True)
    sequence = _event(newest[0]).sequence + 1 if newest else 1
    said = {
        "sequence": f"{sequence:0{DIGITS}d}",
        "kind": kind,
        "source": source,
        "target": target,
        "why": why,
        "who": by or who(),
        "rows_run": rows_run,
        "id": uuid.uuid4().hex,
    }
    title = f"event {sequence}: {_title(kind, source, target)}"
    own = {
        "adresponse.kind": "event",
        "adresponse.model": lease.name,
        "mlflow.note.content": f"**{title}**\n\n{why}",
        "mlflow.user": (by or who()).partition("@")[0],
        "mlflow.source.name": "adresponse",
        **process_tags(),
        **{PREFIX + key: value for key, value in said.items()},
        **{f"{PREFIX}digest.{_key(key)}": value for key, value in (digests or {}).items()},
    }
    everything = {key: _fitting(value) for key, value in {**(tags or {}), **own}.items()}
    run = store.call("create_run", experiment_id, tags=everything, run_name=_fitting(title, 250))
    made = _event(run)
    if kind not in INTENDED:
        store.call("set_terminated", made.run_id, STATUS["done"])
    return made


def close(store: Store, event: Event, state: State, outcome: str = "") -> Event:
    """Say what came of an event that was started; the state changes in one call, after the reason is there.

    Who deletes it in MLflow's UI meanwhile, since it looks stuck, must not block the model: MLflow writes on no deleted run.
    """
    if store.call("get_run", event.run_id).info.lifecycle_stage == "deleted":
        store.call("restore_run", event.run_id)
    if outcome:
        store.call("set_tag", event.run_id, f"{PREFIX}outcome", _fitting(outcome))
    store.call("set_terminated", event.run_id, STATUS[state])
    return _event(store.call("get_run", event.run_id))


def champion(events: Iterable[Event]) -> str | None:
    """The version that is champion according to the history; empty if it says none, None if it says nothing."""
    last = [e for e in events if e.kind in MOVES and e.state == "done"]
    return last[-1].target if last else None


def line(events: Iterable[Event]) -> tuple[str, ...]:
    """The champions that one can go back to, the oldest first, the present one (if any is left) at the end.

    A promotion puts its target at the end. A rollback takes away all behind its target, so that two rollbacks go two
    steps back and not to and fro. The same holds where somebody moved the alias by hand to a version of the line; to
    another version, it is put at the end. Where somebody took the alias away, the line stays.
    """
    found: list[str] = []
    for event in events:
        if event.kind not in MOVES or event.state != "done":
            continue
        if event.source and found[-1:] != [event.source] and event.kind != "outside":
            found.append(event.source)
        if not event.target or found[-1:] == [event.target]:
            continue
        if event.kind != "promotion" and event.target in found:
            last = max(i for i, version in enumerate(found) if version == event.target)
            del found[last + 1 :]
        else:
            found.append(event.target)
    return tuple(found)


# --- a run as an event


def _once(runs: Iterable[Any]) -> list[Any]:
    """Each event once: a request that was repeated on its way makes two runs of one event, of which one is never ended."""
    found: dict[str, Any] = {}
    for run in runs:
        key = run.data.tags.get(f"{PREFIX}id", run.info.run_id)
        if key not in found or found[key].info.status == "RUNNING":
            found[key] = run
    return list(found.values())


def _search(store: Store, experiment_id: str, *, max_results: int = 1000, newest: bool = False, page_token: Any = None) -> Any:
    return store.call(
        "search_runs",
        [experiment_id],
        "tags.`adresponse.kind` = 'event'",
        run_view_type=3,  # mlflow.entities.ViewType.ALL: with those that somebody deleted
        max_results=max_results,
        order_by=[f"tags.`{PREFIX}sequence` {'DESC' if newest else 'ASC'}"],
        page_token=page_token,
    )


def _event(run: Any) -> Event:
    said: Mapping[str, str] = run.data.tags
    of = {key: said.get(PREFIX + key, "") for key in ("sequence", "kind", "source", "target", "why", "who", "outcome")}
    kind: Any = of["kind"]
    digests = {k.removeprefix(f"{PREFIX}digest."): v for k, v in said.items() if k.startswith(f"{PREFIX}digest.")}
    return Event(
        sequence=int(of["sequence"]) if of["sequence"].isdigit() else 0,
        kind=kind,
        source=of["source"],
        target=of["target"],
        why=of["why"],
        who=of["who"],
        when=datetime.fromtimestamp(run.info.start_time / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        digests=digests,
        state=STATES.get(run.info.status, "started") if kind in INTENDED else "done",
        outcome=of["outcome"],
        run_id=run.info.run_id,
        rows_run=said.get(f"{PREFIX}rows_run", ""),
    )


def _title(kind: str, source: str, target: str) -> str:
    way = f" {source or 'none'} -> {target or 'none'}" if kind in MOVES else f" {source or target}"
    return (kind + way).rstrip()


def _key(name: str) -> str:
    """A name as MLflow takes it in the key of a tag."""
    return re.sub(r"[^\w.:/ -]", "_", name, flags=re.ASCII)[:200]


def _fitting(text: str, length: int = TEXT) -> str:
    """A text that every database takes: no NUL, no half of a character pair, and not too long."""
    clean = text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= length else f"{clean[: length - 40]}… (cut; {len(clean):,} characters)"
