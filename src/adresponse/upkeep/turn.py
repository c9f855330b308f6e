"""Which model is to be changed, by one process at a time, and what earlier ones left undone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from adresponse import deployment
from adresponse.deployment import Progress
from adresponse.errors import ConfigError, StoreError
from adresponse.standing import NEW_ROWS

if TYPE_CHECKING:
    from adresponse.mutex import Lease

__all__ = ["locked", "named", "settle", "uri_of"]


def uri_of(version: str, model: str | None) -> str:
    """``models:/NAME/VERSION`` of what a user gave, which may be an alias, too."""
    if version.startswith("models:/"):
        return version
    name, number = named(version, model)
    return f"models:/{name}/{number}"


def named(version: str | None, model: str | None) -> tuple[str, str]:
    """Name and version number from what a user gave: a number and a name, or a URI."""
    from adresponse import registry

    given = version or ""
    if given.startswith("models:/"):
        located = registry.locate(deployment.open_store(), given)
        return located.name, located.version
    if version is not None and not given.isdecimal():
        raise ConfigError(f"{version!r} is no version; give its number, or models:/NAME/VERSION.")
    number = str(int(given)) if given else ""  # 02 is version 2 to MLflow, and would be no version that an alias names to us
    if model and not model.startswith("models:/"):
        return model, number
    return registry.name_of(deployment.open_store(), model), number


@contextlib.contextmanager
def locked(name: str, patience: float, progress: Progress, command: str) -> Iterator[Lease]:
    from adresponse import mutex, registry

    store = deployment.open_store()
    registry.refuse_unknown(store, name)
    with mutex.held(store, name, waiting=progress, patience=patience, command=command) as lease:
        yield lease
        settle(lease)


def settle(lease: Lease) -> None:
    """Finish what processes that ended left of the model's runs and history; promotions begun are settled before."""
    _end_left(lease)
    _complete(lease)


def _end_left(lease: Lease) -> None:
    """End the runs whose process is gone: what they hold is whole or not there, and what an event says has happened."""
    from adresponse import journal, mutex

    experiment = lease.store.call("get_experiment_by_name", lease.name)
    asked = "attributes.status = 'RUNNING'"
    for run in lease.store.call("search_runs", [experiment.experiment_id], asked, max_results=1000) if experiment else ():
        tags = run.data.tags
        if tags.get(f"{journal.PREFIX}kind") in journal.INTENDED or not mutex.ended(tags.get("adresponse.process", "")):
            continue
        lease.store.call("set_terminated", run.info.run_id, "FINISHED" if tags.get("adresponse.kind") == "event" else "KILLED")


def _complete(lease: Lease) -> None:
    """Write down the files of promotions whose process ended before it could."""
    from adresponse import journal

    events = journal.read(lease.store, lease.name)
    noted = {(e.target, e.digests.get("file")) for e in events if e.kind == "refresh"}
    for event in events:
        digest = event.digests.get("file")
        if event.kind != "promotion" or event.state != "done" or not digest or (event.target, digest) in noted:
            continue
        try:
            run_id = lease.store.call("get_model_version", lease.name, event.target).run_id
        except StoreError:  # deleted since
            continue
        came = any(file.path == NEW_ROWS for file in lease.store.call("list_artifacts", run_id))  # else it had no sales
        journal.append(
            lease,
            "refresh",
            source=event.source,
            target=event.target,
            why=f"{event.why} (Written by the next process, since the one that promoted the version ended.)",
            digests={"file": digest},
            rows_run=run_id if came else "",
            tags={"mlflow.parentRunId": run_id},
        )
