"""How does a stored model go to Azure Machine Learning? As an MLflow model, by the library ``azure-ai-ml``.

``azureml-mlflow`` is not used: it pins an older MLflow. A new version gets a deployment of its own beside the one that
answers (blue, green), is asked the stored example there, and takes the traffic only if it answers as recorded.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from adresponse.errors import ConfigError, DeploymentError, MissingDeploymentError, did_you_mean
from adresponse.stored import Stored
from adresponse.targets.answers import read_answers
from adresponse.targets.given import read_given
from adresponse.targets.intent import Intent, Step, hide

if TYPE_CHECKING:
    from adresponse.verification import Answered

__all__ = ["Settings", "Status", "ask", "connect", "create", "delete", "intent", "status", "update"]

COLOURS = ("blue", "green")
ENDPOINT_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{1,30}[a-zA-Z0-9]")  # 3 to 32 characters, unique in its region
AGREEMENT = 1e-9  # relative, as in verification: JSON keeps every digit, so only the order of a sum may differ
VERSION_TAG = "adresponse.version"
DIGEST_TAG = "adresponse.manifest"
ROUTES = {  # our image's; see serve
    "liveness_route": {"port": 8080, "path": "/ping"},
    "readiness_route": {"port": 8080, "path": "/ready"},
    "scoring_route": {"port": 8080, "path": "/invocations"},
}


@dataclass(frozen=True)
class Settings:
    """Where and how a model is deployed on Azure Machine Learning.

    Parameters
    ----------
    subscription_id, resource_group, workspace_name : str
        The workspace.
    instance_type, instance_count : str, int
        Machines that answer.
    auth_mode : {"key", "aml_token", "aad_token"}
        What callers have to show.
    image : str
        An image of ``adresponse deploy image`` in a registry that the workspace reads. Without it Azure builds one from
        the model's ``conda.yaml`` and answers with its own server.
    env, tags : dict
        Environment of the container, tags of the endpoint and the deployment.
    """

    subscription_id: str
    resource_group: str
    workspace_name: str
    instance_type: str = "Standard_DS2_v2"
    instance_count: int = 1
    auth_mode: Literal["key", "aml_token", "aad_token"] = "key"
    image: str = ""
    env: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in ("subscription_id", "resource_group", "workspace_name", "instance_type"):
            if not getattr(self, key).strip():
                raise ConfigError(f"{key} is blank; Azure Machine Learning needs it.")
        if self.auth_mode not in ("key", "aml_token", "aad_token"):
            raise ConfigError(f"auth_mode={self.auth_mode!r} is none of key, aml_token, aad_token.")
        if self.instance_count < 1:
            raise ConfigError(f"instance_count={self.instance_count} is too few; give 1 or more.")

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """Settings from names and values, which may be text as a command line gives it.

        Raises
        ------
        ConfigError
            If a name is not known or missing, or a value does not fit; the sentence names it.
        """
        read = read_given(cls, given, "Azure")
        for key in ("subscription_id", "resource_group", "workspace_name"):
            if key not in read:
                raise ConfigError(f"The setting {key!r} is missing; Azure Machine Learning needs it.")
        return cls(**read)


@dataclass(frozen=True)
class Status:
    """What Azure says of an endpoint: its state, its address, the share of traffic of each deployment, their versions."""

    name: str
    state: str
    url: str
    traffic: dict[str, int]
    versions: dict[str, str]

    @property
    def version(self) -> str:
        """The versions that get traffic, separated by commas."""
        return ", ".join(dict.fromkeys(v for colour, v in self.versions.items() if self.traffic.get(colour) and v))


def connect(settings: Settings) -> Any:
    """A client of the workspace, as whom the machine is logged in to Azure.

    Raises
    ------
    DeploymentError
        If ``azure-ai-ml`` is not installed, or Azure lets nobody in.
    """
    try:
        from azure.ai.ml import MLClient
        from azure.identity import DefaultAzureCredential
    except ImportError:
        raise _missing() from None
    with _speaking("The workspace cannot be reached"):
        return MLClient(DefaultAzureCredential(), settings.subscription_id, settings.resource_group, settings.workspace_name)


def intent(
    settings: Settings,
    name: str,
    stored: Stored,
    *,
    model: str,
    version: str,
    action: Literal["create", "update"] = "create",
) -> Intent:
    """What ``create`` or ``update`` would send to Azure, in order; needs neither Azure nor its library.

    Parameters
    ----------
    name : str
        Of the endpoint.
    model, version : str
        The registered model and its version.
    """
    _refuse_name(name)
    new = action == "create"
    colour = COLOURS[0] if new else "<blue or green: the one that gets no traffic>"
    shown = _deployment_values(settings, name, model, version, colour) | {"environment_variables": hide(settings.env)}
    endpoint = {"name": name, "auth_mode": settings.auth_mode, "tags": settings.tags}
    made = Step("online_endpoints.begin_create_or_update", "Makes the endpoint.", _plain(endpoint))
    uploaded = _model_values(settings, stored, model, version) | {"path": "<the model's folder>"}  # a copy, gone by then
    steps = [
        *([made] if new else []),
        Step("models.create_or_update", "Registers the model's folder.", uploaded),
        Step("online_deployments.begin_create_or_update", "Starts the machines, without traffic yet.", _plain(shown)),
        Step(
            "online_endpoints.invoke",
            "Asks the stored example, and goes on only if it is answered as recorded.",
            {"deployment_name": colour} | _body(settings, stored.replay["request"]["dataframe_split"]),
        ),
        Step("online_endpoints.begin_create_or_update", "Moves the traffic.", {"name": name, "traffic": {colour: 100}}),
    ]
    if not new:
        steps.append(
            Step("online_deployments.begin_delete", "Ends the deployment that answered before.", {"endpoint_name": name})
        )
    where = f"{settings.workspace_name} of {settings.resource_group}"
    kind = "a new online endpoint" if new else "the online endpoint"
    sentence = f"Would put {model or 'the model'} {version} behind {kind} {name!r} in {where}."
    return Intent("azureml", sentence, tuple(steps))


def create(client: Any, settings: Settings, name: str, stored: Stored, *, model: str, version: str) -> Status:
    """Make a new online endpoint and deploy the model there, as blue.

    Parameters
    ----------
    client : MLClient
        As ``connect`` gives it.

    Raises
    ------
    ConfigError
        If there is an endpoint of that name.
    DeploymentError
        If Azure refuses or fails, or the deployment does not answer as recorded; nothing of it is left then.
    """
    _refuse_name(name)
    if name in _named(client):
        raise ConfigError(f"The endpoint {name!r} is there already; update it, or choose another name.")
    entities = _entities()
    with _speaking(f"The endpoint {name!r} was not made"):
        endpoint = entities.ManagedOnlineEndpoint(name=name, auth_mode=settings.auth_mode, tags=settings.tags)
        client.online_endpoints.begin_create_or_update(endpoint).result()
    try:
        return _deploy(client, settings, name, stored, model, version, COLOURS[0])
    except BaseException:
        with contextlib.suppress(Exception):
            client.online_endpoints.begin_delete(name=name).result()
        raise


def update(client: Any, settings: Settings, name: str, stored: Stored, *, model: str, version: str) -> Status:
    """Deploy the model beside the one that answers, move all traffic there once it answered as recorded, end the old one."""
    before = status(client, name)
    answering = [colour for colour, share in before.traffic.items() if share]
    colour = next((c for c in COLOURS if c not in answering), None)
    if colour is None:
        shares = " and ".join(f"{c} {before.traffic[c]} %" for c in COLOURS)
        raise DeploymentError(
            f"Both deployments of {name!r} get traffic ({shares}), so none is free for the new version; "
            "give one of them all of it first."
        )
    after = _deploy(client, settings, name, stored, model, version, colour)
    for old in before.versions:
        if old != colour:
            with _speaking(f"The old deployment {old!r} was not ended"):
                client.online_deployments.begin_delete(name=old, endpoint_name=name).result()
    return status(client, name) if before.versions else after


def status(client: Any, name: str) -> Status:
    """What Azure says of the endpoint, or a refusal where there is none."""
    with _speaking(f"The endpoint {name!r} was not found"):
        found = client.online_endpoints.get(name=name)
        deployments = client.online_deployments.list(endpoint_name=name)
        versions = {d.name: (d.tags or {}).get(VERSION_TAG, "") for d in deployments}
    return Status(name, str(found.provisioning_state), str(found.scoring_uri), dict(found.traffic or {}), versions)


def delete(client: Any, name: str) -> None:
    """Delete the endpoint with all its deployments; the registered model in the workspace stays.

    Raises
    ------
    MissingDeploymentError
        If the workspace has no such endpoint (any more).
    """
    if name not in (there := _named(client)):
        listed = ", ".join(sorted(there)[:12]) or "none"
        raise MissingDeploymentError(
            f"There is no endpoint {name!r} in the workspace.{did_you_mean(name, there)} It has: {listed}."
        )
    with _speaking(f"The endpoint {name!r} was not deleted"):
        client.online_endpoints.begin_delete(name=name).result()


def ask(
    client: Any, settings: Settings, name: str, columns: Mapping[str, Sequence[float]], level: float | None = None
) -> Answered:
    """What the endpoint answers to rows.

    Parameters
    ----------
    columns : dict of str to sequence of float
        The model's columns, in the table's units.
    level : float, optional
        Asks for the interval that this share of new rows lies in.
    """
    split = {"columns": list(columns), "data": [list(row) for row in zip(*columns.values(), strict=True)]}
    answers = _invoke(client, settings, name, split, level)
    return read_answers(answers, status(client, name).version)


# --- steps


def _deploy(client: Any, settings: Settings, name: str, stored: Stored, model: str, version: str, colour: str) -> Status:
    entities = _entities()
    with _speaking(f"The deployment {colour!r} of {name!r} was not made"):
        registered = client.models.create_or_update(entities.Model(**_model_values(settings, stored, model, version)))
        values = _deployment_values(settings, name, model, version, colour) | {"model": registered.id}
        if settings.image:
            values["environment"] = entities.Environment(**values["environment"])
        client.online_deployments.begin_create_or_update(entities.ManagedOnlineDeployment(**values)).result()
    _refuse_other_answers(client, settings, name, stored, colour)
    with _speaking(f"The traffic of {name!r} was not moved"):
        endpoint = client.online_endpoints.get(name=name)
        endpoint.traffic = {colour: 100}
        client.online_endpoints.begin_create_or_update(endpoint).result()
    return status(client, name)


def _refuse_other_answers(client: Any, settings: Settings, name: str, stored: Stored, colour: str) -> None:
    """End a deployment that does not answer the stored example as recorded, before it gets traffic."""
    import numpy as np

    try:
        answers = _invoke(client, settings, name, stored.replay["request"]["dataframe_split"], None, colour)
        found, expected = read_answers(answers).prediction, np.array(stored.replay["predictions"], dtype=float)
        if found.shape != expected.shape or not np.allclose(found, expected, rtol=AGREEMENT, atol=0):
            raise DeploymentError(
                f"The deployment {colour!r} of {name!r} does not answer the stored example as recorded (expected "
                f"{expected.tolist()}, found {found.tolist()}); it was ended, and the traffic stays where it was."
            )
    except BaseException:
        with contextlib.suppress(Exception):
            client.online_deployments.begin_delete(name=colour, endpoint_name=name).result()
        raise


def _invoke(
    client: Any, settings: Settings, name: str, split: Mapping[str, Any], level: float | None, colour: str | None = None
) -> Any:
    body = _body(settings, split)
    if level is not None:
        body["params"] = {"interval": level}
    with tempfile.TemporaryDirectory(prefix="adresponse-") as folder:
        request = Path(folder, "request.json")  # the library takes a file alone
        request.write_text(json.dumps(body), encoding="utf-8")
        with _speaking(f"The endpoint {name!r} did not answer"):
            said = client.online_endpoints.invoke(endpoint_name=name, request_file=str(request), deployment_name=colour)
    try:
        found = json.loads(said)
        return json.loads(found) if isinstance(found, str) else found
    except ValueError:
        raise DeploymentError(f"The endpoint {name!r} answered no JSON: {str(said)[:200]}") from None


def _body(settings: Settings, split: Mapping[str, Any]) -> dict[str, Any]:
    """Our image speaks MLflow's protocol; Azure's own server for MLflow models takes the same rows as ``input_data``."""
    if settings.image:
        return {"dataframe_split": dict(split)}
    return {"input_data": {"index": list(range(len(split["data"]))), **split}}


# --- what is sent


def _model_values(settings: Settings, stored: Stored, model: str, version: str) -> dict[str, Any]:
    tags = settings.tags | {VERSION_TAG: version, DIGEST_TAG: stored.digest}
    return {"name": _azure_name(model), "path": str(stored.folder), "type": "mlflow_model", "tags": tags}


def _deployment_values(settings: Settings, name: str, model: str, version: str, colour: str) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": colour,
        "endpoint_name": name,
        "model": f"{_azure_name(model)}:<the version that Azure gives it>",
        "instance_type": settings.instance_type,
        "instance_count": settings.instance_count,
        "environment_variables": settings.env,
        "tags": settings.tags | {VERSION_TAG: version},
    }
    if settings.image:
        values["environment"] = {"image": settings.image, "inference_config": ROUTES}
    return values


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in ("", {})}


def _azure_name(model: str) -> str:
    """The model's name as Azure takes it: letters, digits and ``._-``."""
    return re.sub(r"[^a-zA-Z0-9._-]+", "-", model).strip("-.")[:255] or "response-model"


def _refuse_name(name: str) -> None:
    if not ENDPOINT_NAME.fullmatch(name):
        raise ConfigError(f"{name!r} does not name an endpoint of Azure; use 3 to 32 letters, digits and -, a letter first.")


# --- who is asked


def _named(client: Any) -> set[str]:
    with _speaking("The endpoints of the workspace cannot be listed"):
        return {endpoint.name for endpoint in client.online_endpoints.list()}


def _entities() -> Any:
    try:
        from azure.ai.ml import entities
    except ImportError:
        raise _missing() from None
    return entities


def _missing() -> DeploymentError:
    return DeploymentError("azure-ai-ml is not installed, which speaks to Azure; run: pip install 'adresponse[azureml]'")


@contextlib.contextmanager
def _speaking(what: str) -> Iterator[None]:
    """What Azure refuses, as one sentence."""
    try:
        from azure.ai.ml.exceptions import MlException
        from azure.core.exceptions import AzureError, ClientAuthenticationError
    except ImportError:
        yield
        return
    try:
        yield
    except ClientAuthenticationError as error:
        raise DeploymentError(f"{what}: {_locked_out(str(error))}.") from error
    except (AzureError, MlException, OSError) as error:
        told = getattr(getattr(error, "error", None), "message", "") or str(error)  # the text says it twice, with its code
        raise DeploymentError(f"{what}: {' '.join(told.split()).rstrip('.')}.") from error


def _locked_out(reason: str) -> str:
    """Why Azure lets nobody in, and what to do; of the many ways to log in that were tried, those alone that went wrong."""
    _, tried, ways = reason.partition("Attempted credentials:")
    wrong = [" ".join(way.split()) for way in ways.split("\n\t") if "Authentication failed" in way] if tried else [reason]
    why = "".join(f" ({' '.join(w.partition('To mitigate')[0].split()).rstrip('.')})" for w in wrong)
    return (
        f"nobody on this machine is logged in to Azure{why}; run `az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and "
        "AZURE_CLIENT_SECRET"
    )
