"""A model's versions: made champion, put back, deleted, and what happened to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adresponse import deployment
from adresponse import settings as config_file
from adresponse.deployment import Progress, silent
from adresponse.upkeep.turn import locked, named

if TYPE_CHECKING:
    from adresponse.journal import Event
    from adresponse.promotion import Promoted

__all__ = ["delete_version", "history", "promote", "rollback"]


def promote(
    version: str,
    *,
    model: str | None = None,
    why: str = "",
    force: bool = False,
    patience: float = 600.0,
    progress: Progress = silent,
) -> Promoted:
    """Make a version champion: verified before and after, and put back where anything fails.

    Parameters
    ----------
    version : str
        Its number, or ``models:/NAME/VERSION``.
    model : str, optional
        The registered model's name; without it, the only one.
    why : str
        The reason, for the history.
    force : bool
        Promote a version that the gate rejected; needs a reason.
    patience : float
        Seconds to wait for another process that changes the same model.
    progress : callable
        Called with the name of each step as it begins.
    """
    from adresponse import promotion

    name, number = named(version, model)
    with locked(name, patience, progress, "adresponse promote") as lease:
        return promotion.promote(lease, number, verify=deployment.verifying(progress), why=why or "Asked for.", force=force)


def rollback(*, model: str | None = None, why: str = "", patience: float = 600.0, progress: Progress = silent) -> Promoted:
    """Make the version champion again that was it before the present one; parameters are those of ``promote``."""
    from adresponse import promotion

    name, _ = named(None, model)
    with locked(name, patience, progress, "adresponse rollback") as lease:
        return promotion.rollback(lease, verify=deployment.verifying(progress), why=why or "Asked for.")


def delete_version(
    version: str,
    *,
    model: str | None = None,
    why: str = "",
    force: bool = False,
    patience: float = 600.0,
    progress: Progress = silent,
) -> Event:
    """Delete a version that no alias and no known deployment uses; parameters are those of ``promote``."""
    from adresponse import promotion

    name, number = named(version, model)
    with locked(name, patience, progress, "adresponse delete") as lease:
        return promotion.delete_version(lease, number, in_use=_local_uses(name, number), why=why, force=force)


def history(*, model: str | None = None) -> tuple[Event, ...]:
    """All that happened to a model, in order: promotions, rollbacks, files taken in; see ``journal.Event``."""
    from adresponse import journal, registry

    store = deployment.open_store()
    name, _ = named(None, model)
    events = journal.read(store, name)
    if not events:
        registry.refuse_unknown(store, name)
    return events


def _local_uses(name: str, version: str) -> list[str]:
    """Deployments of ``mlflow deployments -t adresponse`` on this machine that name the version, or its alias."""
    from adresponse.targets import local

    wanted = f"models:/{name}/{version}"
    return [f"the local deployment {d.name!r}" for d in local.listing(config_file.state_folder()) if d.wanted.model == wanted]
