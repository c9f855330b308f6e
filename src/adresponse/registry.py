"""Which versions of a model are there, which of them is trusted, are its files there, and who uses it?"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adresponse import record, words
from adresponse.errors import StoreError, did_you_mean
from adresponse.mutex import LOCK
from adresponse.store import LoggedModel, Store, error_code, without_secrets
from adresponse.stored import BYTECODE

if TYPE_CHECKING:
    from adresponse.study import Study
    from adresponse.verification import Verification

__all__ = [
    "CHAMPION",
    "MANIFEST_TAG",
    "Located",
    "Version",
    "aliases",
    "champion",
    "deployed",
    "entities",
    "fetch",
    "locate",
    "missing_files",
    "models",
    "name_of",
    "refuse_gone",
    "refuse_unknown",
    "register",
    "tag",
    "take_back",
    "uses",
    "versions",
    "withdrawn",
]

CHAMPION = "champion"
MODEL_VERSIONS = "mlflow.modelVersions"
MANIFEST_TAG = "adresponse.manifest"  # SHA-256 of the stored model's manifest
DEPLOYED_TAG = "adresponse.deployed."  # followed by where; its value is since when
NEEDED_FILES = ("MLmodel", "manifest.json")
REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
SHOWN = 20  # models that a refusal names
TOLD = 600  # characters of what MLflow says of files that it could not fetch


@dataclass(frozen=True)
class Version:
    """A version of a registered model: VALIDATED or REJECTED by the gate; ``uri`` loads it."""

    name: str
    version: str
    status: str
    champion: bool
    uri: str


@dataclass(frozen=True)
class Located:
    """A stored model in MLflow.

    ``uri`` is what was asked for; ``version`` is empty where it is no registered version; ``pinned`` always means this
    very model; ``digest`` is the SHA-256 of its manifest as the version's tag says (None where there is none).
    """

    uri: str
    name: str
    version: str
    pinned: str
    digest: str | None


def register(
    store: Store,
    study: Study,
    model: LoggedModel,
    run_id: str,
    verification: Verification | None = None,
    *,
    tags: Mapping[str, str] | None = None,
) -> Version:
    """A new version of the study's model; where anything fails, it is taken away again.

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
    verification : Verification, optional
        What the deployed model answered; becomes tags of the version.
    tags : mapping, optional
        Further tags of the version.
    """
    _registered_model(store, study)
    try:
        made = _create(store, study, model, run_id, {**record.verification_tags(verification), **(tags or {})})
    except BaseException:
        _forget_empty(store, study.name)
        raise
    version = _version(study.name, str(made.version), study.gate.status, False)
    try:
        _delete_repeated(store, made)
        _link(store, model, run_id, made)
    except BaseException:
        take_back(store, version, model, run_id)
        raise
    return version


def take_back(store: Store, version: Version, model: LoggedModel, run_id: str) -> None:
    """Delete a version of a run that failed, and a model that has no other; what cannot be reached any more is left.

    A version that an alias names stays, since whoever loads it by that name would find nothing.
    """
    try:
        if version.version in aliases(store, version.name).values():
            return
        store.call("delete_model_version", version.name, version.version)
    except StoreError:
        return
    with contextlib.suppress(StoreError):
        store.call("delete_tag", run_id, "adresponse.model_version")
    with contextlib.suppress(StoreError):
        store.call("delete_logged_model_tag", model.model_id, MODEL_VERSIONS)
    _forget_empty(store, version.name)


def _registered_model(store: Store, study: Study) -> None:
    """Make the registered model where it is missing."""
    tags = {
        "adresponse.target": study.table.contract.target,
        "adresponse.features": str(len(study.table.contract.features)),
    }
    try:
        store.call("get_registered_model", study.name)
        return
    except StoreError as e:
        if error_code(e) != "RESOURCE_DOES_NOT_EXIST":
            raise
    try:
        store.call("create_registered_model", study.name, tags, record.dictionary(study.table.contract))
    except StoreError as e:
        if error_code(e) != "RESOURCE_ALREADY_EXISTS":
            raise


def _create(store: Store, study: Study, model: LoggedModel, run_id: str, more: Mapping[str, str]) -> Any:
    with store.current():  # an SQL registry looks the model up in MLflow's global store
        return store.call(
            "create_model_version",
            study.name,
            model.uri,
            run_id=run_id,
            tags={**record.version_tags(study), MANIFEST_TAG: model.digest, **more},
            description=record.note(study),
            model_id=model.model_id,
        )


def _delete_repeated(store: Store, made: Any) -> None:
    """A request that was repeated on its way has made the version twice, of which the answer names the last."""
    for twin in _paged(store, "search_model_versions", f"run_id='{made.run_id}'"):
        if (twin.name, twin.source) == (made.name, made.source) and int(twin.version) < int(made.version):
            store.call("delete_model_version", twin.name, str(twin.version))


def _link(store: Store, model: LoggedModel, run_id: str, made: Any) -> None:
    """Let the run and the logged model name their version; MLflow's UI reads the latter from its own tag."""
    store.call("set_tag", run_id, "adresponse.model_version", str(made.version))
    named = json.dumps([{"name": made.name, "version": made.version}])
    store.call("set_logged_model_tags", model.model_id, {MODEL_VERSIONS: named})


def _forget_empty(store: Store, name: str) -> None:
    """Delete a registered model of ours that has no version, unless another process has put one in it."""
    with contextlib.suppress(StoreError):
        registered = store.call("get_registered_model", name)
        ours = "adresponse.target" in registered.tags
        if ours and not store.call("search_model_versions", _named(name), max_results=1):
            store.call("delete_registered_model", name)


def locate(store: Store, uri: str | None) -> Located:
    """The model that a URI names: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, ``models:/m-ID`` or ``runs:/RUN/model``.

    Without a URI, the champion of the only registered model.

    Raises
    ------
    StoreError
        If there is no such model; the sentence lists what is there.
    """
    uri = uri or f"models:/{_only_model(store)}@{CHAMPION}"
    match = REGISTERED.fullmatch(uri)
    if match is None:
        if re.fullmatch(r"models:/m-\w+|runs:/\w+/.+", uri):
            return Located(uri, "", "", uri, None)
        raise StoreError(
            f"{uri!r} names no model; give models:/NAME@{CHAMPION}, models:/NAME/VERSION, or the folder of a stored model."
        )
    name, alias, version = match["name"], match["alias"], match["version"]
    try:
        found = (
            store.call("get_model_version_by_alias", name, alias) if alias else store.call("get_model_version", name, version)
        )
    except StoreError as error:
        raise _not_there(store, uri, name, error) from error
    return Located(uri, name, str(found.version), f"models:/{name}/{found.version}", found.tags.get(MANIFEST_TAG))


def name_of(store: Store, uri: str | None) -> str:
    """The registered model that a URI names, though its alias or version may be gone; without one, the only model."""
    if uri is None:
        return _only_model(store)
    match = REGISTERED.fullmatch(uri)
    if match is None:
        raise StoreError(f"{uri!r} names no registered model; give its name, or models:/NAME@{CHAMPION}.")
    return match["name"]


def _only_model(store: Store) -> str:
    names = _names(store)
    if len(names) != 1:
        listed = words.listing(names, SHOWN) or "none"
        raise StoreError(
            f"The store {store.shown} has {len(names)} registered models ({listed}); name one: models:/NAME@champion."
        )
    return names[0]


def _names(store: Store) -> list[str]:
    return [m.name for m in models(store)]


def models(store: Store) -> list[Any]:
    """All registered models as MLflow gives them, by name; the queue of the lock is none."""
    return [m for m in _paged(store, "search_registered_models") if m.name != LOCK]


def _paged(store: Store, method: str, *args: Any) -> list[Any]:
    found, token = [], None
    while True:
        page = store.call(method, *args, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def refuse_unknown(store: Store, name: str) -> None:
    """Refuse the name of a model that is not registered."""
    if said := _unknown(store, name):
        raise StoreError(f"The {said}")


def _unknown(store: Store, name: str) -> str:
    """That a store has no such model, and which it has; empty where it has it."""
    names = _names(store)
    if name in names:
        return ""
    listed = words.listing(names, SHOWN) or "none"
    return f"store {store.shown} has no model {name!r}.{did_you_mean(name, names)} It has: {listed}."


def _not_there(store: Store, uri: str, name: str, error: StoreError) -> StoreError:
    if error_code(error) not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
        return error
    if said := _unknown(store, name):
        return StoreError(f"{uri}: the {said}")
    listed = ", ".join(f"{v.version} ({'champion' if v.champion else v.status})" for v in versions(store, name)[:8])
    return StoreError(f"{uri}: the model {name!r} has no such version or alias. It has: {listed or 'no version'}.")


def fetch(store: Store, located: Located, folder: Path) -> Path:
    """Copy a stored model's files into ``folder`` (made where it is missing); gives the folder that holds ``MLmodel``.

    Bytecode is left behind: no manifest covers it, and Python would run it in the place of the source.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with store.speaking(), store.current():
            import mlflow.artifacts

            found = Path(mlflow.artifacts.download_artifacts(artifact_uri=located.pinned, dst_path=str(folder)))
    except StoreError as error:
        raise StoreError(_files_and_reasons(error)) from error.__cause__
    for compiled in list(found.rglob(BYTECODE)):
        shutil.rmtree(compiled)
    return found


def _files_and_reasons(error: StoreError) -> str:
    """MLflow names each file and its reason on lines after the first, which is all that a store's sentence repeats."""
    first, *more = str(error.__cause__ or "").splitlines() or [""]
    if not more:
        return str(error)
    told = re.sub(r"#{5} (.*?) #{5}", r"\1:", " ".join([first, *more]))
    return f"{without_secrets(told)[:TOLD].rstrip('.')}."


def tag(store: Store, located: Located, tags: Mapping[str, str]) -> None:
    """Write tags on a registered version."""
    for key, value in tags.items():
        store.call("set_model_version_tag", located.name, located.version, key, value)


def aliases(store: Store, name: str) -> dict[str, str]:
    """Which version each alias of a model names; none where the model is not registered."""
    try:
        registered = store.call("get_registered_model", name)
    except StoreError as e:
        if error_code(e) == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise
    return {alias: str(version) for alias, version in registered.aliases.items()}


def missing_files(store: Store, name: str, version: str) -> tuple[str, ...]:
    """Which of the files that every stored model has cannot be found for a version; all of them where its folder is gone."""
    with store.speaking(), store.current():
        import mlflow.artifacts

        try:
            found = mlflow.artifacts.list_artifacts(artifact_uri=f"models:/{name}/{version}") or []
        except (OSError, ValueError):
            found = []
    there = {str(item.path).rpartition("/")[2] for item in found}
    return tuple(needed for needed in NEEDED_FILES if needed not in there)


def refuse_gone(store: Store, name: str, version: str) -> None:
    """Refuse a version whose files are not where they were put, as where a project's folder was moved."""
    if missing := missing_files(store, name, version):
        where = store.call("get_model_version_download_uri", name, version)
        raise StoreError(
            f"The files of version {version} of {name!r} are gone: {words.listing(missing)} cannot be found (they were at "
            f"{where}); put the folder back, or run the study again."
        )


# --- who uses a version


def deployed(store: Store, located: Located, where: str, *, beside: bool = False) -> None:
    """Note that a deployment (``sagemaker sales``, ``azureml sales``) answers with this version, and no other.

    ``beside`` leaves the notes of the versions that stay behind it.
    """
    if not beside:
        withdrawn(store, located.name, where, but=located.version)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    store.call("set_model_version_tag", located.name, located.version, _deployed_tag(where), now)


def withdrawn(store: Store, name: str, where: str, but: str = "") -> None:
    """Note that a deployment is gone, or answers with another version now."""
    for version in entities(store, name):
        if _deployed_tag(where) in version.tags and str(version.version) != but:
            store.call("delete_model_version_tag", name, str(version.version), _deployed_tag(where))


def uses(store: Store, name: str, version: str) -> tuple[str, ...]:
    """The deployments that were noted to answer with a version."""
    found = store.call("get_model_version", name, version)
    return tuple(sorted(key.removeprefix(DEPLOYED_TAG) for key in found.tags if key.startswith(DEPLOYED_TAG)))


def _deployed_tag(where: str) -> str:
    return DEPLOYED_TAG + re.sub(r"[^\w.:/ -]", "_", where, flags=re.ASCII)[:200]


# --- which versions


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
    found = sorted(entities(store, name), key=lambda v: int(v.version), reverse=True)
    return [_version(name, str(v.version), v.tags.get("adresponse.status", ""), str(v.version) == trusted) for v in found]


def entities(store: Store, name: str) -> list[Any]:
    """All versions of a model as MLflow gives them."""
    return _paged(store, "search_model_versions", _named(name))


def _named(name: str) -> str:
    quote = '"' if "'" in name else "'"
    return f"name={quote}{name}{quote}"


def _version(name: str, version: str, status: str, is_champion: bool) -> Version:
    return Version(name, version, status, is_champion, f"models:/{name}/{version}")
