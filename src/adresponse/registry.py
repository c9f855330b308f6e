"""Which versions of a model are there, and which of them is trusted?"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import Any

from adresponse import record
from adresponse.errors import StoreError
from adresponse.store import LoggedModel, Store, error_code
from adresponse.study import Study

__all__ = ["CHAMPION", "Version", "champion", "register", "versions"]

CHAMPION = "champion"
MODEL_VERSIONS = "mlflow.modelVersions"


@dataclass(frozen=True)
class Version:
    """A version of a registered model: VALIDATED or REJECTED by the gate; ``uri`` loads it."""

    name: str
    version: str
    status: str
    champion: bool
    uri: str


def register(store: Store, study: Study, model: LoggedModel, run_id: str) -> Version:
    """A new version of the study's model; a validated one becomes ``champion``, a rejected one leaves it as it is.

    The alias moves last. Where anything fails before, the version is taken away again.

    Parameters
    ----------
    store : Store
        The opened store.
    study : Study
        Gives the name, the gate's decision, the description and the tags.
    model : LoggedModel
        What the run has stored.
    run_id : str
        The run that it comes from.
    """
    made_name = _registered_model(store, study)
    try:
        made = _create(store, study, model, run_id)
    except BaseException:
        _forget_empty(store, study.name, made_name)
        raise
    try:
        _link(store, model, run_id, made)
        trusted = study.gate.status == "VALIDATED"
        if trusted:
            store.call("set_registered_model_alias", study.name, CHAMPION, str(made.version))
    except BaseException:
        _take_back(store, study.name, str(made.version), run_id, model)
        _forget_empty(store, study.name, made_name)
        raise
    return _version(study.name, str(made.version), study.gate.status, trusted)


def _registered_model(store: Store, study: Study) -> bool:
    """Make the registered model where it is missing; True where this call made it."""
    tags = {
        "adresponse.target": study.table.contract.target,
        "adresponse.features": str(len(study.table.contract.features)),
    }
    try:
        store.call("get_registered_model", study.name)
        return False
    except StoreError as e:
        if error_code(e) != "RESOURCE_DOES_NOT_EXIST":
            raise
    try:
        store.call("create_registered_model", study.name, tags, record.dictionary(study.table.contract))
    except StoreError as e:
        if error_code(e) != "RESOURCE_ALREADY_EXISTS":
            raise
        return False
    return True


def _create(store: Store, study: Study, model: LoggedModel, run_id: str) -> Any:
    with store.current():  # an SQL registry looks the model up in MLflow's global store
        return store.call(
            "create_model_version",
            study.name,
            model.uri,
            run_id=run_id,
            tags=record.version_tags(study),
            description=record.note(study),
            model_id=model.model_id,
        )


def _link(store: Store, model: LoggedModel, run_id: str, made: Any) -> None:
    """Let the run and the logged model name their version; MLflow's UI reads the latter from its own tag."""
    store.call("set_tag", run_id, "adresponse.model_version", str(made.version))
    named = json.dumps([{"name": made.name, "version": made.version}])
    store.call("set_logged_model_tags", model.model_id, {MODEL_VERSIONS: named})


def _take_back(store: Store, name: str, version: str, run_id: str, model: LoggedModel) -> None:
    """Delete a version of a run that failed; what cannot be reached any more is left."""
    with contextlib.suppress(StoreError):
        store.call("delete_model_version", name, version)
    with contextlib.suppress(StoreError):
        store.call("delete_tag", run_id, "adresponse.model_version")
    with contextlib.suppress(StoreError):
        store.call("delete_logged_model_tag", model.model_id, MODEL_VERSIONS)


def _forget_empty(store: Store, name: str, made: bool) -> None:
    """Delete the registered model that this call made, unless another process has put a version in it."""
    if not made:
        return
    with contextlib.suppress(StoreError):
        if not store.call("search_model_versions", _named(name), max_results=1):
            store.call("delete_registered_model", name)


def champion(store: Store, name: str) -> Version | None:
    """The version that the alias ``champion`` names, or None."""
    return next((v for v in versions(store, name) if v.champion), None)


def versions(store: Store, name: str) -> list[Version]:
    """All versions of a model, the newest first; none where the model is not registered."""
    try:
        registered = store.call("get_registered_model", name)
    except StoreError as e:
        if error_code(e) == "RESOURCE_DOES_NOT_EXIST":
            return []
        raise
    trusted = str(registered.aliases.get(CHAMPION, ""))
    found = sorted(_all(store, name), key=lambda v: int(v.version), reverse=True)
    return [_version(name, str(v.version), v.tags.get("adresponse.status", ""), str(v.version) == trusted) for v in found]


def _all(store: Store, name: str) -> list[Any]:
    found, token = [], None
    while True:
        page = store.call("search_model_versions", _named(name), page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _named(name: str) -> str:
    quote = '"' if "'" in name else "'"
    return f"name={quote}{name}{quote}"


def _version(name: str, version: str, status: str, is_champion: bool) -> Version:
    return Version(name, version, status, is_champion, f"models:/{name}/{version}")
