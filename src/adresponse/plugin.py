"""How does MLflow deploy to this machine? ``mlflow deployments create -t adresponse``: a server of ours in the background.

MLflow finds this module by the entry point ``adresponse`` of the group ``mlflow.deployments``.
"""

from __future__ import annotations

import contextlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NoReturn

from mlflow.deployments import BaseDeploymentClient, PredictionsResponse
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.utils.proto_json_utils import dump_input_data

from adresponse.errors import AdresponseError, ConfigError, DeploymentError, did_you_mean
from adresponse.serving.options import Options, read_token
from adresponse.targets import local
from adresponse.targets.local import Local, Wanted

__all__ = ["LocalClient", "run_local", "target_help"]

FLAVOR = "python_function"
FORMS = {"dataframe_split", "dataframe_records", "instances", "inputs"}
SHOWN = ("workers", "token_file", "allow_host")  # settings that a deployment is told with
HELP = """\
adresponse: a server of adresponse in the background, on this machine.

    mlflow deployments create -t adresponse --name sales -m models:/sales-response@champion -C port=5001
    mlflow deployments predict -t adresponse --name sales -I spend.json
    mlflow deployments delete -t adresponse --name sales

The target is `adresponse`, or `adresponse:/FOLDER` to keep the records in another folder than
$ADRESPONSE_STATE, $XDG_STATE_HOME/adresponse or ~/.local/state/adresponse.

Settings (-C name=value), for create and update:

    port        where it listens; without it a free one, which `get` tells
    host        127.0.0.1 unless another is named; beyond this machine a token_file is needed
    workers     processes that answer; 1
    token_file  file with the token that callers must send
    allow_host  further names to be reached by, separated by commas
    timeout     seconds until the server must be ready; 60

A moved alias is followed: a server of models:/NAME@champion answers with the new champion within seconds.
"""


class LocalClient(BaseDeploymentClient):  # type: ignore[misc]
    """Deployments of the target ``adresponse``: one server process each."""

    def __init__(self, target_uri: str) -> None:
        super().__init__(target_uri)
        self.state = local.state_folder(target_uri, os.environ)

    def create_deployment(
        self, name: str, model_uri: str, flavor: str | None = None, config: Any = None, endpoint: str | None = None
    ) -> dict[str, Any]:
        """Start a server for the model and wait until it is ready; see ``target_help`` for ``config``."""
        _refuse_endpoint(endpoint)
        _refuse_flavor(flavor)
        with _translated():
            return _told(local.create(self.state, name, _wanted(Wanted(model_uri), config)))

    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: Any = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Put another model or other settings behind the name; what is not given stays."""
        _refuse_endpoint(endpoint)
        _refuse_flavor(flavor)
        with _translated():
            before = local.find(self.state, name).wanted
            wanted = _wanted(replace(before, model=model_uri or before.model), config)
            return _told(local.update(self.state, name, wanted))

    def delete_deployment(self, name: str, config: Any = None, endpoint: str | None = None) -> None:
        """End the server and forget it; one that is not there is deleted already."""
        _refuse_endpoint(endpoint)
        with _translated():
            _refuse_unknown(config or {}, ())
            local.delete(self.state, name)

    def list_deployments(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """All deployments, each with its ``status``: alive or dead."""
        _refuse_endpoint(endpoint)
        with _translated():
            return [_told(found) for found in local.listing(self.state)]

    def get_deployment(self, name: str, endpoint: str | None = None) -> dict[str, Any]:
        """One deployment: its name, status, address, model, process and log."""
        _refuse_endpoint(endpoint)
        with _translated():
            return _told(local.find(self.state, name))

    def predict(
        self,
        deployment_name: str | None = None,
        inputs: Any = None,
        endpoint: str | None = None,
        params: dict[str, Any] | None = None,
    ) -> PredictionsResponse:
        """What the deployment answers to rows: a DataFrame, a dict of columns, or what MLflow's scoring protocol takes.

        Parameters
        ----------
        params : dict, optional
            ``{"interval": 0.9}`` adds lower and upper.
        """
        _refuse_endpoint(endpoint)
        with _translated():
            found = local.find(self.state, str(deployment_name))
            if not local.alive(found):
                raise DeploymentError(
                    f"The deployment {found.name!r} is dead; delete it and create it anew. Its log: {found.log}"
                )
            return PredictionsResponse.from_json(_post(found, _body(inputs, params)))

    def predict_stream(self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None) -> NoReturn:
        """Refused: a response model answers all rows at once."""
        raise _refusal("A response model answers all rows at once and streams nothing; use predict.")

    def create_endpoint(self, name: str, config: Any = None) -> NoReturn:
        """Refused, as are the other calls about endpoints."""
        raise _refusal(f"The target adresponse has no endpoints, only deployments; leave out the endpoint {name!r}.")

    def update_endpoint(self, endpoint: str, config: Any = None) -> NoReturn:
        """Refused."""
        self.create_endpoint(endpoint)

    def delete_endpoint(self, endpoint: str) -> NoReturn:
        """Refused."""
        self.create_endpoint(endpoint)

    def get_endpoint(self, endpoint: str) -> NoReturn:
        """Refused."""
        self.create_endpoint(endpoint)

    def list_endpoints(self) -> NoReturn:
        """Refused."""
        raise _refusal("The target adresponse has no endpoints, only deployments; list those.")


def run_local(target: str, name: str, model_uri: str, flavor: str | None = None, config: Any = None) -> None:
    """The same as creating a deployment, since this target is this machine."""
    LocalClient(target).create_deployment(name, model_uri, flavor, config)


def target_help() -> str:
    """What ``mlflow deployments help -t adresponse`` prints."""
    return HELP


def _wanted(before: Wanted, config: Mapping[str, Any] | None) -> Wanted:
    """What is wanted, from settings as the command line gives them: text."""
    kinds = {"port": int, "workers": int, "timeout": float, "host": str, "token_file": str, "allow_host": str}
    given = dict(config or {})
    _refuse_unknown(given, kinds)
    read: dict[str, Any] = {}
    for key, value in given.items():
        try:
            read[key] = kinds[key](value)
        except (TypeError, ValueError):
            raise ConfigError(f"{key}={value!r} is no number; write {key}=1 or another number.") from None
    wanted = replace(before, **read)
    Options(host=wanted.host)  # refuses a host that the server would refuse later, behind a log
    return wanted


def _refuse_unknown(config: Mapping[str, Any], known: Any) -> None:
    for key in config:
        if key not in known:
            takes = f" It takes: {', '.join(known)}." if known else " It takes none."
            raise ConfigError(f"The setting {key!r} is not known to the target adresponse.{did_you_mean(key, known)}{takes}")


def _told(found: Local) -> dict[str, Any]:
    """A deployment as MLflow shows it."""
    settings = {f.name: getattr(found.wanted, f.name) for f in fields(found.wanted) if f.name in SHOWN}
    about = {"name": found.name, "status": "alive" if local.alive(found) else "dead", "url": found.url}
    more = {"model_uri": found.wanted.model, "flavor": FLAVOR, "pid": found.pid, "created": found.created, "log": found.log}
    return about | more | settings


def _body(inputs: Any, params: dict[str, Any] | None) -> str:
    if isinstance(inputs, str) and params is not None:
        inputs = _object(inputs)  # MLflow's own writer hands a text on as it is, without the params
    if not isinstance(inputs, dict):
        return str(dump_input_data(inputs, inputs_key="instances", params=params))
    asked = inputs if FORMS & set(inputs) else {"inputs": inputs}  # MLflow's own ends in an error at every dict
    return json.dumps(asked if params is None else {**asked, "params": params}, default=_plain)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigError(f"params cannot go with the text {text[:60]!r}, which is no JSON object; give rows, or an object.")
    return found


def _plain(value: Any) -> Any:
    """A date or an array as JSON has it."""
    return value.isoformat() if hasattr(value, "isoformat") else value.tolist()


def _post(found: Local, body: str) -> str:
    headers = {"Content-Type": "application/json"}
    if found.wanted.token_file:
        headers["Authorization"] = f"Bearer {read_token(Path(found.place, found.wanted.token_file))}"
    request = urllib.request.Request(f"{found.url}/invocations", body.encode(), headers)  # noqa: S310
    try:
        with local.DIRECTLY.open(request, timeout=60) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        raise DeploymentError(_message(error.read(), error.code)) from None
    except OSError as error:
        raise DeploymentError(f"The deployment {found.name!r} at {found.url} cannot be asked ({error}).") from None


def _message(body: bytes, code: int) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"The deployment answered {code}."


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Our refusals as MLflow's."""
    try:
        yield
    except AdresponseError as error:
        raise _refusal(str(error)) from error


def _refusal(sentence: str) -> MlflowException:
    return MlflowException(sentence, error_code=INVALID_PARAMETER_VALUE)


def _refuse_endpoint(endpoint: str | None) -> None:
    if endpoint is not None:
        raise _refusal(f"The target adresponse has no endpoints, only deployments; leave out the endpoint {endpoint!r}.")


def _refuse_flavor(flavor: str | None) -> None:
    if flavor not in (None, FLAVOR):
        raise _refusal(f"The flavor {flavor!r} cannot be served; leave it out, or name {FLAVOR}.")
