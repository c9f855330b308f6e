"""Is Azure sent what was told, and does a version get traffic only once it answered as recorded? With a client of our own."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import stored_example
from adresponse.errors import ConfigError, DeploymentError, MissingDeploymentError
from adresponse.serving import launch
from adresponse.stored import Stored, open_stored
from adresponse.targets import azureml
from adresponse.targets.azureml import Settings
from adresponse.verification import EvaluationRows

WHERE = {"subscription_id": "0000", "resource_group": "marketing", "workspace_name": "models"}
ABOUT = {"model": "sales response", "version": "3"}
IMAGE = "registry.example/sales-response:3"


@dataclass
class Workspace:
    """A workspace as the library shows it: it keeps what it is handed, and asks a real server of the model.

    ``spoil`` is added to each prediction, as an environment that computes otherwise would do.
    """

    server: str
    spoil: float = 0.0
    calls: list[tuple[str, Any]] = field(default_factory=list)
    endpoints: dict[str, Any] = field(default_factory=dict)
    deployments: dict[str, Any] = field(default_factory=dict)

    def client(self) -> Any:
        """What ``connect`` would give."""
        online = SimpleNamespace(
            begin_create_or_update=self._put_endpoint,
            begin_delete=self._drop_endpoint,
            get=self._endpoint,
            list=lambda: list(self.endpoints.values()),
            invoke=self._invoke,
        )
        deployments = SimpleNamespace(
            begin_create_or_update=self._put_deployment,
            begin_delete=self._drop_deployment,
            list=lambda endpoint_name: list(self.deployments.values()),
        )
        models = SimpleNamespace(create_or_update=self._put_model)
        return SimpleNamespace(online_endpoints=online, online_deployments=deployments, models=models)

    def _done(self, call: str, entity: Any) -> Any:
        self.calls.append((call, entity))
        return SimpleNamespace(result=lambda: entity)

    def _put_model(self, model: Any) -> Any:
        self.calls.append(("models.create_or_update", model))
        return SimpleNamespace(id=f"azureml:{model.name}:1")

    def _put_endpoint(self, endpoint: Any) -> Any:
        endpoint._provisioning_state, endpoint._scoring_uri = "Succeeded", f"https://{endpoint.name}.example/score"
        self.endpoints[endpoint.name] = endpoint
        return self._done("online_endpoints.begin_create_or_update", endpoint)

    def _endpoint(self, name: str) -> Any:
        from azure.core.exceptions import ResourceNotFoundError

        if name not in self.endpoints:
            raise ResourceNotFoundError(f"Online endpoint\n{name} does not exist.")
        return self.endpoints[name]

    def _drop_endpoint(self, name: str) -> Any:
        self._endpoint(name)
        self.deployments.clear()
        return self._done("online_endpoints.begin_delete", self.endpoints.pop(name))

    def _put_deployment(self, deployment: Any) -> Any:
        self.deployments[deployment.name] = deployment
        return self._done("online_deployments.begin_create_or_update", deployment)

    def _drop_deployment(self, name: str, endpoint_name: str) -> Any:
        return self._done("online_deployments.begin_delete", self.deployments.pop(name))

    def _invoke(self, endpoint_name: str, request_file: str, deployment_name: str | None = None) -> str:
        """Azure's own server takes ``input_data`` and gives the bare list; our image speaks MLflow's protocol."""
        self._endpoint(endpoint_name)
        body = json.loads(Path(request_file).read_text("utf-8"))
        self.calls.append(("online_endpoints.invoke", {"deployment_name": deployment_name} | body))
        bare = "input_data" in body
        if bare:
            rows = body.pop("input_data")
            body["dataframe_split"] = {k: rows[k] for k in ("columns", "data")}
        answers = self._ask(body)
        answers["predictions"] = [p + self.spoil if isinstance(p, float) else p for p in answers["predictions"]]
        return json.dumps(answers["predictions"] if bare else answers)

    def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        from azure.core.exceptions import HttpResponseError

        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.server}/invocations", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return dict(json.loads(answer.read()))
        except urllib.error.HTTPError as error:
            raise HttpResponseError(error.read().decode()) from None


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return open_stored(stored_example.stored(stored_example.three_channels(), tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def server(model: Stored) -> Iterator[str]:
    with launch.background(model.folder, version="3", name="sales-response") as endpoint:
        yield endpoint.url


@pytest.fixture
def workspace(server: str) -> Workspace:
    pytest.importorskip("azure.ai.ml", reason="missing part: azure-ai-ml, whose entities are sent")
    return Workspace(server)


@pytest.mark.parametrize("more", [{}, {"image": IMAGE}], ids=["Azure's server", "our image"])
def test_a_model_is_deployed_and_answers_as_evaluated(workspace: Workspace, model: Stored, more: dict[str, str]) -> None:
    settings = Settings.read(WHERE | more)
    made = azureml.create(workspace.client(), settings, "sales-east", model, **ABOUT)
    assert (made.state, made.traffic, made.version) == ("Succeeded", {"blue": 100}, "3")
    rows = EvaluationRows.read(model.folder)
    columns = {name: column.tolist() for name, column in rows.X.items()}
    answered = azureml.ask(workspace.client(), settings, "sales-east", columns, rows.level)
    assert answered.version == "3"
    assert answered.lower is not None
    np.testing.assert_allclose(answered.prediction, rows.predicted, rtol=1e-12)
    np.testing.assert_allclose(answered.lower, rows.lower, rtol=1e-12)


@pytest.mark.parametrize("more", [{}, {"image": IMAGE}], ids=["Azure's server", "our image"])
def test_what_was_told_is_what_is_sent(workspace: Workspace, model: Stored, more: dict[str, str]) -> None:
    settings = Settings.read(WHERE | more | {"env": '{"KEY": "secret"}', "tags": '{"team": "marketing"}'})
    told = azureml.intent(settings, "sales-east", model, **ABOUT)
    azureml.create(workspace.client(), settings, "sales-east", model, **ABOUT)
    assert [s.call for s in told.steps] == [
        "online_endpoints.begin_create_or_update",
        *[call for call, _ in workspace.calls if call.startswith(("models", "online_d"))],
        "online_endpoints.invoke",
        "online_endpoints.begin_create_or_update",
    ]
    assert [call for call, _ in workspace.calls] == [s.call for s in told.steps]
    endpoint, registered, deployment, asked, moved = (entity for _, entity in workspace.calls)
    assert (endpoint.name, endpoint.auth_mode, endpoint.tags) == ("sales-east", "key", {"team": "marketing"})
    sent = told.steps[1].sends
    told_path = "<the model's folder>"  # of a version it is a copy, which is gone when it is read
    assert sent == {"name": "sales-response", "path": told_path, "type": "mlflow_model", "tags": registered.tags}
    assert (registered.name, registered.type, str(registered.path)) == (sent["name"], sent["type"], str(model.folder))
    sent = told.steps[2].sends
    for key in ("name", "endpoint_name", "instance_type", "instance_count", "tags"):
        assert getattr(deployment, key) == sent[key]
    assert deployment.model == "azureml:sales-response:1"
    assert deployment.environment_variables == {"KEY": "secret"}
    assert "secret" not in repr(told)
    assert asked == told.steps[3].sends
    assert moved.traffic == told.steps[4].sends["traffic"]
    if more:
        assert deployment.environment.image == IMAGE
        assert deployment.environment.inference_config["readiness_route"] == {"port": 8080, "path": "/ready"}


def test_an_update_answers_beside_the_old_one_before_it_takes_the_traffic(workspace: Workspace, model: Stored) -> None:
    settings = Settings.read(WHERE)
    azureml.create(workspace.client(), settings, "sales-east", model, **ABOUT)
    del workspace.calls[:]
    updated = azureml.update(workspace.client(), settings, "sales-east", model, **ABOUT | {"version": "4"})
    assert (updated.traffic, updated.versions, updated.version) == ({"green": 100}, {"green": "4"}, "4")
    told = azureml.intent(settings, "sales-east", model, **ABOUT | {"version": "4"}, action="update")
    assert [call for call, _ in workspace.calls] == [s.call for s in told.steps]
    azureml.update(workspace.client(), settings, "sales-east", model, **ABOUT | {"version": "5"})
    assert azureml.status(workspace.client(), "sales-east").versions == {"blue": "5"}


def test_an_update_between_two_that_share_the_traffic_says_what_to_do(workspace: Workspace, model: Stored) -> None:
    settings = Settings.read(WHERE)
    azureml.create(workspace.client(), settings, "sales-east", model, **ABOUT)
    workspace.endpoints["sales-east"].traffic = {"blue": 90, "green": 10}  # set in Azure's own pages
    del workspace.calls[:]
    with pytest.raises(DeploymentError, match=r"\(blue 90 % and green 10 %\), so none is free"):
        azureml.update(workspace.client(), settings, "sales-east", model, **ABOUT | {"version": "4"})
    assert not workspace.calls


def test_a_version_that_answers_otherwise_gets_no_traffic(workspace: Workspace, model: Stored) -> None:
    settings = Settings.read(WHERE)
    azureml.create(workspace.client(), settings, "sales-east", model, **ABOUT)
    workspace.spoil = 1e-6
    with pytest.raises(DeploymentError, match="does not answer the stored example as recorded"):
        azureml.update(workspace.client(), settings, "sales-east", model, **ABOUT | {"version": "4"})
    after = azureml.status(workspace.client(), "sales-east")
    assert (after.traffic, after.versions) == ({"blue": 100}, {"blue": "3"})


def test_an_endpoint_whose_first_deployment_answers_otherwise_is_not_left_behind(workspace: Workspace, model: Stored) -> None:
    workspace.spoil = 1.0
    with pytest.raises(DeploymentError, match="as recorded"):
        azureml.create(workspace.client(), Settings.read(WHERE), "sales-east", model, **ABOUT)
    assert not workspace.endpoints
    assert not workspace.deployments


def test_a_name_that_is_there_is_not_made_twice(workspace: Workspace, model: Stored) -> None:
    azureml.create(workspace.client(), Settings.read(WHERE), "sales-east", model, **ABOUT)
    with pytest.raises(ConfigError, match="is there already"):
        azureml.create(workspace.client(), Settings.read(WHERE), "sales-east", model, **ABOUT)


def test_deleting_ends_the_endpoint_and_its_deployments(workspace: Workspace, model: Stored) -> None:
    azureml.create(workspace.client(), Settings.read(WHERE), "sales-east", model, **ABOUT)
    azureml.delete(workspace.client(), "sales-east")
    assert not workspace.endpoints
    with pytest.raises(DeploymentError, match="was not found: Online endpoint sales-east does not exist"):
        azureml.status(workspace.client(), "sales-east")
    with pytest.raises(MissingDeploymentError, match=r"no endpoint 'sales-east' in the workspace\. It has: none\."):
        azureml.delete(workspace.client(), "sales-east")


def test_what_azure_refuses_is_said_once(workspace: Workspace) -> None:
    from azure.core.exceptions import HttpResponseError, ODataV4Format

    client = workspace.client()
    said = ODataV4Format({"code": "ResourceGroupNotFound", "message": "Resource group 'marketing' could not be found."})
    refused = HttpResponseError(str(said))
    refused.error = said

    def get(name: str) -> None:
        raise refused

    client.online_endpoints.get = get
    with pytest.raises(DeploymentError) as found:
        azureml.status(client, "sales-east")
    assert str(found.value) == "The endpoint 'sales-east' was not found: Resource group 'marketing' could not be found."


def test_a_row_that_the_model_refuses_is_refused_in_its_own_words(workspace: Workspace, model: Stored) -> None:
    azureml.create(workspace.client(), Settings.read(WHERE), "sales-east", model, **ABOUT)
    with pytest.raises(DeploymentError, match=r"did not answer: .*Column 'TV', row 1: -1 is negative"):
        azureml.ask(workspace.client(), Settings.read(WHERE), "sales-east", {"TV": [-1.0], "Radio": [1.0], "Newspaper": [1.0]})


def test_without_the_library_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch, model: Stored) -> None:
    monkeypatch.setitem(sys.modules, "azure.ai.ml", None)
    with pytest.raises(DeploymentError, match=r"pip install 'adresponse\[azureml\]'"):
        azureml.connect(Settings.read(WHERE))
    told = azureml.intent(Settings.read(WHERE), "sales-east", model, **ABOUT)
    assert told.sentence == "Would put sales response 3 behind a new online endpoint 'sales-east' in models of marketing."


TRIED = (  # as azure-identity writes it
    "DefaultAzureCredential failed to retrieve a token from the included credentials.\nAttempted credentials:\n\t"
    "EnvironmentCredential: {}\n\tAzureCliCredential: Azure CLI not found on path\n"
    "To mitigate this issue, please refer to the troubleshooting guidelines here at https://aka.ms/azsdk."
)


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (TRIED.format("EnvironmentCredential authentication unavailable."), "logged in to Azure; run `az login`"),
        (
            TRIED.format("Authentication failed: AADSTS7000215: Invalid client secret."),
            "(EnvironmentCredential: Authentication failed: AADSTS7000215: Invalid client secret); run `az login`",
        ),
        (
            "(InvalidAuthenticationToken) The access token is invalid.",
            "((InvalidAuthenticationToken) The access token is invalid);",
        ),
    ],
)
def test_who_is_not_logged_in_is_told_so_in_one_sentence(raised: str, says: str) -> None:
    from azure.core.exceptions import ClientAuthenticationError

    class LockedOut:
        def __getattr__(self, name: str) -> Any:
            raise ClientAuthenticationError(message=raised)

    with pytest.raises(DeploymentError) as caught:
        azureml.status(LockedOut(), "sales-east")
    assert says in str(caught.value)
    assert str(caught.value).endswith("AZURE_CLIENT_ID and AZURE_CLIENT_SECRET.")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"workspace_nam": "m"}, "'workspace_nam' is not known.* Did you mean 'workspace_name'"),
        ({"workspace_name": " "}, "workspace_name is blank"),
        ({"auth_mode": "none"}, "none of key, aml_token, aad_token"),
        ({"instance_count": "0"}, "too few"),
        ({"instance_count": "two"}, "no whole number"),
        ({"env": "KEY"}, "no JSON object"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(given: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Settings.read(WHERE | given)


def test_a_workspace_has_to_be_named() -> None:
    with pytest.raises(ConfigError, match="'subscription_id' is missing"):
        Settings.read({})


@pytest.mark.parametrize("name", ["", "ab", "1sales", "sales_east", "sales-", "s" * 33])
def test_a_name_that_azure_does_not_take_is_refused(name: str, model: Stored) -> None:
    with pytest.raises(ConfigError, match="does not name an endpoint of Azure"):
        azureml.intent(Settings.read(WHERE), name, model, **ABOUT)
