"""Does a model reach SageMaker as told, and answer there as evaluated? Against a server that behaves as AWS does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pandas as pd
import pytest
from mlflow.sagemaker import SageMakerDeploymentClient
from moto.core.exceptions import JsonRESTError
from moto.sagemaker.models import sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemakerruntime.responses import SageMakerRuntimeResponse
from moto.server import ThreadedMotoServer

import stored_example
from adresponse import asking
from adresponse.errors import ConfigError, DeploymentError, MissingDeploymentError
from adresponse.serving import launch
from adresponse.stored import Stored, open_stored
from adresponse.targets import sagemaker
from adresponse.targets.sagemaker import Settings
from adresponse.verification import Answered, EvaluationRows, compare

REGION = "eu-west-1"
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/deployer"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/sales-response:1"
GIVEN = {"execution_role_arn": ROLE, "image_url": IMAGE, "bucket": "models", "instance_count": "2"}
ABOUT = {"model": "sales-response", "version": "3", "digest": "d" * 64}


def update_endpoint(self: SageMakerResponse) -> str:
    """What moto 5.2 leaves out: the endpoint takes on another configuration."""
    params = json.loads(self.body)
    endpoint = self.sagemaker_backend.endpoints[params["EndpointName"]]
    endpoint.endpoint_config_name = params["EndpointConfigName"]
    config = self.sagemaker_backend.endpoint_configs[params["EndpointConfigName"]]
    endpoint.production_variants = endpoint._process_production_variants(config.production_variants)
    return json.dumps({"EndpointArn": endpoint.arn})


class ModelRefusalError(JsonRESTError):
    """How AWS tells that a container refused."""

    code = 424

    def __init__(self, said: str) -> None:
        super().__init__("ModelError", f"Received client error (400) from primary with message {said}")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return open_stored(stored_example.stored(stored_example.three_channels(), tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    """The address of a server on loopback that behaves as AWS does."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def scoring(model: Stored) -> Iterator[str]:
    """The address of a real server of the model."""
    with launch.background(model.folder, version="3", name="sales-response") as endpoint:
        yield endpoint.url


@pytest.fixture
def aws(cloud: str, scoring: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an empty AWS whose endpoints forward what they are asked to the model's server."""
    access = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": REGION}
    for key, value in (access | {"AWS_ENDPOINT_URL": cloud, "NO_PROXY": "127.0.0.1"}).items():
        monkeypatch.setenv(key, value)

    def invoke_endpoint(self: SageMakerRuntimeResponse) -> tuple[int, dict[str, str], bytes]:
        body = self.body if isinstance(self.body, bytes) else self.body.encode()
        headers = {"Content-Type": self.headers["Content-Type"]}
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{scoring}/invocations", body, headers), timeout=30) as answer:
                return 200, {"Content-Type": "application/json"}, answer.read()
        except urllib.error.HTTPError as error:
            raise ModelRefusalError(error.read().decode()) from None

    monkeypatch.setattr(SageMakerResponse, "update_endpoint", update_endpoint, raising=False)
    monkeypatch.setattr(SageMakerRuntimeResponse, "invoke_endpoint", invoke_endpoint)
    where = {"LocationConstraint": REGION}
    boto3.client("s3", region_name=REGION).create_bucket(Bucket="models", CreateBucketConfiguration=where)
    yield boto3.client("sagemaker", region_name=REGION)
    urllib.request.urlopen(urllib.request.Request(f"{cloud}/moto-api/reset", method="POST")).close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow waits 20 seconds before it first looks at an update; here its clock runs on while it sleeps."""

    class Clock:
        now = 0.0

        def time(self) -> float:
            return self.now

        def sleep(self, seconds: float) -> None:
            self.now += seconds

    monkeypatch.setattr("mlflow.sagemaker.time", Clock())


def rows_asked(model: Stored) -> EvaluationRows:
    return EvaluationRows.read(model.folder)


def asked(settings: Settings, rows: EvaluationRows) -> Answered:
    columns = {name: column.tolist() for name, column in rows.X.items()}
    return sagemaker.ask(settings, "sales", columns, rows.level)


def test_our_settings_are_those_that_mlflow_knows() -> None:
    known = SageMakerDeploymentClient(f"sagemaker:/{REGION}")._default_deployment_config()
    assert {f.name for f in fields(Settings)} == set(known)


def test_a_model_is_deployed_asked_and_verified_through_its_endpoint(aws: Any, model: Stored) -> None:
    settings = Settings.read(REGION, GIVEN)
    made = sagemaker.create(settings, "sales", model.folder, **ABOUT)
    assert (made.state, made.version) == ("InService", "3")
    rows = rows_asked(model)
    answered = asked(settings, rows)
    names = {"mae": "mean_absolute_error", "rmse": "root_mean_squared_error", "r2": "r2_score"}
    names["mape"] = "mean_absolute_percentage_error"
    verified = compare("sagemaker", "3", rows, answered, {names[k]: v for k, v in rows.scores.items()})
    assert verified.passed, verified.sentence
    assert answered.version == "3"


def test_rows_without_an_interval_are_answered_with_predictions_alone(aws: Any, model: Stored) -> None:
    settings = Settings.read(REGION, GIVEN)
    sagemaker.create(settings, "sales", model.folder, **ABOUT)
    rows = rows_asked(model)
    answered = sagemaker.ask(settings, "sales", {name: column.tolist() for name, column in rows.X.items()})
    assert answered.lower is None
    np.testing.assert_allclose(answered.prediction, rows.predicted, rtol=1e-12)


def test_a_row_that_the_model_refuses_is_refused_in_its_own_words(aws: Any, model: Stored) -> None:
    settings = Settings.read(REGION, GIVEN)
    sagemaker.create(settings, "sales", model.folder, **ABOUT)
    with pytest.raises(DeploymentError, match=r"did not answer: .*Column 'TV', row 1: -1 is negative"):
        sagemaker.ask(settings, "sales", {"TV": [-1.0], "Radio": [1.0], "Newspaper": [1.0]})


def test_what_was_told_is_what_is_sent(aws: Any, model: Stored) -> None:
    settings = Settings.read(REGION, GIVEN | {"env": '{"KEY": "secret"}', "tags": '{"team": "marketing"}'})
    told = {s.call: s.sends for s in sagemaker.intent(settings, "sales", **ABOUT).steps}
    sagemaker.create(settings, "sales", model.folder, **ABOUT)
    config = aws.describe_endpoint_config(EndpointConfigName=aws.describe_endpoint(EndpointName="sales")["EndpointConfigName"])
    variant = config["ProductionVariants"][0]
    made = aws.describe_model(ModelName=variant["ModelName"])
    container = made["PrimaryContainer"]
    expected = told["CreateModel"]["PrimaryContainer"]
    assert container["Image"] == expected["Image"] == IMAGE
    unique = variant["ModelName"].removeprefix("sales-model-")
    assert container["ModelDataUrl"] == expected["ModelDataUrl"].replace("<unique id>", unique)
    assert set(container["Environment"]) <= set(expected["Environment"])
    assert container["Environment"]["KEY"] == "secret"
    assert made["ExecutionRoleArn"] == told["CreateModel"]["ExecutionRoleArn"]
    tags = aws.list_tags(ResourceArn=made["ModelArn"])["Tags"]
    assert [t for t in tags if t["Key"] != "model_uri"] == told["CreateModel"]["Tags"]
    promised = told["CreateEndpointConfig"]["ProductionVariants"][0]
    assert {k: variant[k] for k in ("InstanceType", "InitialInstanceCount")} == {
        k: promised[k] for k in ("InstanceType", "InitialInstanceCount")
    }


def test_an_update_moves_the_endpoint_to_the_new_version_and_clears_the_old_away(aws: Any, model: Stored, hasty: None) -> None:
    settings = Settings.read(REGION, GIVEN)
    sagemaker.create(settings, "sales", model.folder, **ABOUT)
    updated = sagemaker.update(settings, "sales", model.folder, **ABOUT | {"version": "4"})
    assert updated.version == "4"
    assert len(aws.list_models()["Models"]) == 1
    assert len(aws.list_endpoint_configs()["EndpointConfigs"]) == 1


def test_a_version_that_is_added_gets_no_requests(aws: Any, model: Stored, hasty: None) -> None:
    sagemaker.create(Settings.read(REGION, GIVEN), "sales", model.folder, **ABOUT)
    added = sagemaker.create(Settings.read(REGION, GIVEN | {"mode": "add"}), "sales", model.folder, **ABOUT | {"version": "4"})
    assert added.version == "3"


def test_a_version_that_is_given_the_requests_later_is_the_one_that_answers(aws: Any, model: Stored, hasty: None) -> None:
    settings = Settings.read(REGION, GIVEN)
    sagemaker.create(settings, "sales", model.folder, **ABOUT)
    sagemaker.create(Settings.read(REGION, GIVEN | {"mode": "add"}), "sales", model.folder, **ABOUT | {"version": "4"})
    config = aws.describe_endpoint(EndpointName="sales")["EndpointConfigName"]
    variants = aws.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
    shifted = [{"VariantName": v["VariantName"], "DesiredWeight": 1.0 - v["InitialVariantWeight"]} for v in variants]
    aws.update_endpoint_weights_and_capacities(EndpointName="sales", DesiredWeightsAndCapacities=shifted)
    assert sagemaker.version(settings, "sales") == "4"


def asked_at_a_target(monkeypatch: pytest.MonkeyPatch, settings: Settings, rows: EvaluationRows) -> tuple[Answered, list[int]]:
    """What a target answers that gives each row's spend back, and how many rows each request has."""
    heights: list[int] = []

    def ask(given: Settings, name: str, columns: dict[str, list[float]], level: float | None) -> Answered:
        assert given == settings
        spend = np.array(columns["TV"])
        heights.append(len(spend))
        return Answered(spend, spend - 1, spend + 1, "3")

    monkeypatch.setattr(sagemaker, "ask", ask)
    return asking.at_target(settings.target, "sales", {})(rows), heights


def many_rows(together: bool) -> EvaluationRows:
    spend = np.arange(12_000.0)
    return EvaluationRows(pd.DataFrame({"TV": spend}), spend, spend, spend - 1, spend + 1, 0.9, "held-out", {}, together)


def test_the_role_that_a_target_names_is_taken_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_at_a_target(monkeypatch, Settings.read(REGION, {"assume_role_arn": ROLE}), many_rows(together=False))


@pytest.mark.parametrize(("together", "heights"), [(False, [5_000, 5_000, 2_000]), (True, [12_000])])
def test_many_rows_are_asked_in_parts_unless_they_belong_together(
    monkeypatch: pytest.MonkeyPatch, together: bool, heights: list[int]
) -> None:
    rows = many_rows(together)
    answered, asked = asked_at_a_target(monkeypatch, Settings.read(REGION), rows)
    assert asked == heights
    assert compare("sales", "3", rows, answered, {}).largest_difference == 0
    assert answered.version == "3"


def test_deleting_leaves_nothing_behind(aws: Any, model: Stored) -> None:
    settings = Settings.read(REGION, GIVEN)
    sagemaker.create(settings, "sales", model.folder, **ABOUT)
    sagemaker.delete(settings, "sales")
    assert not aws.list_endpoints()["Endpoints"]
    assert not aws.list_models()["Models"]
    assert "Contents" not in boto3.client("s3", region_name=REGION).list_objects_v2(Bucket="models")


@pytest.mark.parametrize(
    "act",
    [
        lambda s, m: sagemaker.status(s, "none"),
        lambda s, m: sagemaker.delete(s, "none"),
        lambda s, m: sagemaker.update(s, "none", m, **ABOUT),  # MLflow would make it
        lambda s, m: sagemaker.ask(s, "none", {"TV": [1.0]}),
    ],
    ids=["status", "delete", "update", "ask"],
)
def test_an_endpoint_that_is_not_there_is_refused(aws: Any, model: Stored, act: Any) -> None:
    with pytest.raises(MissingDeploymentError, match=r"^There is no endpoint 'none' in eu-west-1; check the name, the region"):
        act(Settings.read(REGION, GIVEN), model.folder)
    assert not aws.list_endpoints()["Endpoints"]


def test_an_endpoint_whose_creation_failed_is_to_be_deleted_first(aws: Any, model: Stored) -> None:
    settings = Settings.read(REGION, GIVEN)
    sagemaker.create(settings, "sales", model.folder, **ABOUT)
    failed = sagemaker_backends[ACCOUNT][REGION].endpoints["sales"]
    failed.endpoint_status, failed.failure_reason = "Failed", "No capacity."
    with pytest.raises(ConfigError, match=r"'sales' is there, and failed \(No capacity\); delete it \(--action delete\)"):
        sagemaker.create(settings, "sales", model.folder, **ABOUT)


def test_an_endpoint_whose_model_was_deleted_by_hand_can_still_be_seen_and_updated(
    aws: Any, model: Stored, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.read(REGION, GIVEN | {"archive": "true"})  # MLflow would clear the missing model away, and fail
    sagemaker.create(settings, "sales", model.folder, **ABOUT)
    aws.delete_model(ModelName=aws.list_models()["Models"][0]["ModelName"])
    assert sagemaker.status(settings, "sales").version == ""
    assert sagemaker.update(settings, "sales", model.folder, **ABOUT | {"version": "4"}).version == "4"


def test_what_aws_refuses_is_said_without_the_layers_that_told_it(aws: Any, model: Stored) -> None:
    settings = Settings.read(REGION, GIVEN | {"bucket": "none"})
    with pytest.raises(DeploymentError) as refused:
        sagemaker.create(settings, "sales", model.folder, **ABOUT)
    said = "The endpoint 'sales' was not made: AWS refuses PutObject (NoSuchBucket): The specified bucket does not exist."
    assert str(refused.value) == said


def test_without_credentials_the_sentence_says_where_they_come_from(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(key)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it keeps those that it found
    with pytest.raises(DeploymentError, match=r"no credentials for AWS were found; run `aws configure`, or set AWS_ACCESS_KEY"):
        sagemaker.status(Settings.read(REGION, GIVEN), "sales")


def test_mlflow_does_not_speak_amid_what_is_told(aws: Any, model: Stored) -> None:
    sagemaker.create(Settings.read(REGION, GIVEN), "sales", model.folder, **ABOUT)
    command = ["deploy", "sagemaker", "--name", "sales", "--region", REGION, "--action", "delete"]
    done = subprocess.run([sys.executable, "-m", "adresponse", *command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Deleted.\n", "")


def test_a_name_that_is_there_is_not_deployed_twice(aws: Any, model: Stored) -> None:
    settings = Settings.read(REGION, GIVEN)
    sagemaker.create(settings, "sales", model.folder, **ABOUT)
    with pytest.raises(ConfigError, match=r"'sales' is there already; update it \(--action update\), or"):
        sagemaker.create(settings, "sales", model.folder, **ABOUT)
    assert len(aws.list_models()["Models"]) == 1


def test_aws_out_of_reach_is_one_sentence(model: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
    }.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(DeploymentError, match=r"'sales' was not found: Could not connect") as refused:
        sagemaker.status(Settings.read(REGION, GIVEN), "sales")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"instance_typ": "ml.m5.large"}, "'instance_typ' is not known.* Did you mean 'instance_type'"),  # MLflow drops it
        ({"instance_type": "m5.large"}, "start with ml"),
        ({"instance_count": "two"}, "no whole number"),
        ({"instance_count": "0"}, "too few"),
        ({"execution_role_arn": "deployer"}, "names no role"),
        ({"mode": "crate"}, "Did you mean 'create'"),
        ({"archive": "yes"}, "neither true nor false"),  # MLflow takes it for False
        ({"vpc_config": "sg-1"}, "no JSON object"),
        ({"synchronous": "false"}, "needs archive=true"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(given: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Settings.read(REGION, given)


@pytest.mark.parametrize("region", ["", "Ireland", "eu-west"])
def test_a_region_that_is_none_is_refused(region: str) -> None:
    with pytest.raises(ConfigError, match="no region"):
        Settings.read(region)


@pytest.mark.parametrize("name", ["", "sales_response", "-sales", "s" * 64])
def test_a_name_that_sagemaker_does_not_take_is_refused_before_anything_is_sent(name: str) -> None:
    with pytest.raises(ConfigError, match="does not name an endpoint"):
        sagemaker.intent(Settings.read(REGION), name, **ABOUT)
    with pytest.raises(ConfigError, match="does not name an endpoint"):
        sagemaker.create(Settings.read(REGION), name, Path(), **ABOUT)


def test_no_secret_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:secret@proxy")
    settings = Settings.read(REGION, {"env": '{"TOKEN": "secret"}'})
    assert "secret" not in repr(sagemaker.intent(settings, "sales", **ABOUT))


def test_the_intent_of_an_update_makes_no_endpoint() -> None:
    told = sagemaker.intent(Settings.read(REGION), "sales", **ABOUT, action="update")
    assert [s.call for s in told.steps][-1] == "UpdateEndpoint"
