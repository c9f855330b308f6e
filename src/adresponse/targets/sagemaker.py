"""How does a stored model go to Amazon SageMaker? By MLflow's own client, with settings that are checked first.

MLflow passes over a setting whose name it does not know, and over a truth value not written ``True``; here both are
refused. The model is deployed from the folder that was opened and found whole, and AWS keeps its version as a tag.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from adresponse.errors import ConfigError, DeploymentError, MissingDeploymentError, did_you_mean
from adresponse.targets.answers import read_answers
from adresponse.targets.given import read_given
from adresponse.targets.intent import Intent, Step, hide

if TYPE_CHECKING:
    from adresponse.verification import Answered

__all__ = ["Settings", "Status", "ask", "create", "delete", "intent", "status", "update", "version"]

Mode = Literal["create", "replace", "add"]
MODES = ("create", "replace", "add")
NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")  # of an endpoint, in the API of SageMaker
LONGEST_NAME = 63
REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/\S+")
PROXIES = ("http_proxy", "https_proxy", "no_proxy")  # MLflow gives these of its own environment to the container
VERSION_TAG = "adresponse.version"
MODEL_TAG = "adresponse.model"
DIGEST_TAG = "adresponse.manifest"
UNIQUE = "<unique id>"


@dataclass(frozen=True)
class Settings:
    """Where and how a model is deployed on SageMaker; named as MLflow names them.

    Parameters
    ----------
    region_name : str
        Region of AWS.
    execution_role_arn : str
        Role that SageMaker takes on. Without it MLflow uses the role of the caller.
    image_url : str
        Image in ECR that answers. Without it MLflow looks for its own, ``mlflow-pyfunc``, in the account.
    bucket : str
        Where the model's files go in S3. Without it MLflow makes ``mlflow-sagemaker-REGION-ACCOUNT``.
    mode : {"create", "replace", "add"}
        A new endpoint; or another model behind one that is there, instead of or beside the one that answers.
    instance_type, instance_count : str, int
        Machines that answer, unless ``serverless_config`` is given.
    assume_role_arn : str
        Role to be taken on for all calls.
    vpc_config, data_capture_config, async_inference_config, serverless_config : dict
        As the API of SageMaker takes them.
    env, tags : dict
        Environment of the container, tags of the endpoint.
    variant_name : str
        Name of the production variant.
    synchronous, archive : bool
        Wait for the end; keep the resources that are no longer used.
    timeout_seconds : int
        How long to wait.
    """

    region_name: str
    execution_role_arn: str = ""
    image_url: str = ""
    bucket: str = ""
    mode: Mode = "create"
    instance_type: str = "ml.m5.large"
    instance_count: int = 1
    assume_role_arn: str = ""
    vpc_config: dict[str, Any] = field(default_factory=dict)
    data_capture_config: dict[str, Any] = field(default_factory=dict)
    async_inference_config: dict[str, Any] = field(default_factory=dict)
    serverless_config: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    variant_name: str = ""
    synchronous: bool = True
    archive: bool = False
    timeout_seconds: int = 1200

    def __post_init__(self) -> None:
        if not REGION.fullmatch(self.region_name):
            raise ConfigError(f"region_name={self.region_name!r} is no region of AWS; write one like eu-west-1.")
        for key in ("execution_role_arn", "assume_role_arn"):
            if (value := getattr(self, key)) and not ROLE.fullmatch(value):
                raise ConfigError(f"{key}={value!r} names no role; write arn:aws:iam::123456789012:role/NAME.")
        if self.mode not in MODES:
            raise ConfigError(f"mode={self.mode!r} is none of {', '.join(MODES)}.{did_you_mean(self.mode, MODES)}")
        if not self.instance_type.startswith("ml."):
            raise ConfigError(
                f"instance_type={self.instance_type!r} is no type of SageMaker; those start with ml., as ml.m5.large."
            )
        for key in ("instance_count", "timeout_seconds"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{key}={getattr(self, key)} is too few; give 1 or more.")
        if not self.synchronous and not self.archive:
            raise ConfigError("synchronous=false needs archive=true, since nobody waits to clear away what is no longer used.")

    @classmethod
    def read(cls, region: str, given: Mapping[str, Any] | None = None) -> Self:
        """Settings from names and values, which may be text as a command line gives it.

        Raises
        ------
        ConfigError
            If a name is not known, or a value does not fit; the sentence names it.
        """
        return cls(**{"region_name": region, **read_given(cls, given or {}, "SageMaker")})

    @property
    def target(self) -> str:
        """The target as MLflow names it: ``sagemaker:/eu-west-1``."""
        role = f"/{self.assume_role_arn}" if self.assume_role_arn else ""
        return f"sagemaker:/{self.region_name}{role}"

    def config(self) -> dict[str, Any]:
        """What MLflow's client is given; what was left empty is left to MLflow."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return {key: value for key, value in given.items() if value not in ("", {})}


@dataclass(frozen=True)
class Status:
    """What SageMaker says of an endpoint: its state, why it failed, and which version answers there (empty if unknown)."""

    name: str
    state: str
    reason: str
    version: str


def intent(
    settings: Settings, name: str, *, model: str, version: str, digest: str, action: Literal["create", "update"] = "create"
) -> Intent:
    """What ``create`` or ``update`` would send to AWS, in order; needs neither AWS nor MLflow.

    Parameters
    ----------
    name : str
        Of the endpoint.
    model, version, digest : str
        The registered model, its version, and the SHA-256 of its manifest.
    """
    _refuse_name(name)
    settings = _updating(settings) if action == "update" else settings
    bucket = settings.bucket or f"mlflow-sagemaker-{settings.region_name}-<account>"
    unique = f"{name}-model-{UNIQUE}"
    data = f"s3://{bucket}/{unique}/model.tar.gz"
    made = {
        "ModelName": unique,
        "PrimaryContainer": {
            "Image": settings.image_url or "<the account's image mlflow-pyfunc of MLflow's version>",
            "ModelDataUrl": data,
            "Environment": {"MLFLOW_DEPLOYMENT_FLAVOR_NAME": "python_function", "SERVING_ENVIRONMENT": "SageMaker"}
            | hide(settings.env)
            | dict.fromkeys(PROXIES, "(where it is set here; not shown)"),
        },
        "ExecutionRoleArn": settings.execution_role_arn or "<the role of the caller>",
        "Tags": _tags(settings, model, version, digest),
    }
    if settings.vpc_config:
        made["VpcConfig"] = settings.vpc_config
    steps = [
        Step("PutObject", "Uploads the model's folder, packed.", {"Bucket": bucket, "Key": f"{unique}/model.tar.gz"}),
        Step("CreateModel", "Names the image and the files that answer together.", made),
        Step("CreateEndpointConfig", "Says how many machines answer.", _endpoint_config(settings, name, unique)),
        _endpoint_step(settings, name),
    ]
    kind = {
        "create": "behind a new endpoint",
        "replace": "in the place of what answers behind the endpoint",
        "add": "beside what answers behind the endpoint",
    }
    sentence = f"Would put {model or 'the model'} {version} {kind[settings.mode]} {name!r} in {settings.region_name}."
    return Intent(settings.target, sentence, tuple(steps))


def create(settings: Settings, name: str, folder: Path, *, model: str, version: str, digest: str) -> Status:
    """Deploy the model of a folder as a new endpoint, or, by the settings' mode, behind one that is there.

    Raises
    ------
    ConfigError
        If there is an endpoint of that name.
    DeploymentError
        If a library is missing, or AWS refuses or fails; with its reason.
    """
    _refuse_name(name)
    if settings.mode != "create":
        return update(settings, name, folder, model=model, version=version, digest=digest)
    with contextlib.suppress(DeploymentError):  # AWS knows none, or does not let us look: making it tells
        _refuse_another(_described(settings, name), name)
    with _speaking(settings, name, "was not made"):
        config = settings.config() | {"tags": _tags_of(settings, model, version, digest)}
        _client(settings).create_deployment(name, str(folder), config=config)
    return status(settings, name)


def update(settings: Settings, name: str, folder: Path, *, model: str, version: str, digest: str) -> Status:
    """Put the model of a folder behind an endpoint that is there, instead of the one that answers, or beside it."""
    _refuse_name(name)
    wanted = _updating(settings)
    _described(settings, name)  # MLflow would make an endpoint where there is none
    with _speaking(settings, name, "was not updated"):
        config = wanted.config() | {"tags": _tags_of(settings, model, version, digest)}
        _client(settings).update_deployment(name, str(folder), config=config)
    return status(settings, name)


def status(settings: Settings, name: str) -> Status:
    """What SageMaker says of the endpoint, or a refusal where there is none."""
    found = _described(settings, name)
    answering = ""
    with contextlib.suppress(DeploymentError):  # its model was deleted by hand, or the caller may not read tags
        answering = version(settings, name)
    return Status(name, found["EndpointStatus"], found.get("FailureReason", ""), answering)


def delete(settings: Settings, name: str) -> None:
    """Delete the endpoint and, unless they are to be archived, its configuration, models and their files in S3.

    Raises
    ------
    MissingDeploymentError
        If there is no such endpoint (any more).
    """
    config = {key: settings.config()[key] for key in ("region_name", "archive", "synchronous", "timeout_seconds")}
    _described(settings, name)
    with _speaking(settings, name, "was not deleted"):
        _client(settings).delete_deployment(name, config=config)


def ask(settings: Settings, name: str, columns: Mapping[str, Sequence[float]], level: float | None = None) -> Answered:
    """What the endpoint answers to rows.

    Parameters
    ----------
    columns : dict of str to sequence of float
        The model's columns, in the table's units.
    level : float, optional
        Asks for the interval that this share of new rows lies in.
    """
    import pandas as pd

    answering = version(settings, name)
    params = None if level is None else {"interval": level}
    with _speaking(settings, name, "did not answer"):
        found = _client(settings).predict(name, pd.DataFrame(dict(columns)), params=params)["predictions"]
    return read_answers(found, answering)


def version(settings: Settings, name: str) -> str:
    """The version that answers at an endpoint, by the tags of the models that get its requests; empty if they have none."""
    with _speaking(settings, name, "does not tell its version"):
        aws = _aws(settings)
        endpoint = aws.describe_endpoint(EndpointName=name)
        variants = aws.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])["ProductionVariants"]
        weights = {v["VariantName"]: v.get("InitialVariantWeight", 1) for v in variants}
        weights |= {
            v["VariantName"]: v["CurrentWeight"] for v in endpoint.get("ProductionVariants", ()) if "CurrentWeight" in v
        }
        answering = [v["ModelName"] for v in variants if weights[v["VariantName"]] > 0]
        arns = [aws.describe_model(ModelName=model)["ModelArn"] for model in answering]
        tags = [tag for arn in arns for tag in aws.list_tags(ResourceArn=arn)["Tags"]]
    return ", ".join(dict.fromkeys(tag["Value"] for tag in tags if tag["Key"] == VERSION_TAG))


# --- what is sent


def _updating(settings: Settings) -> Settings:
    """The settings of an update: one that would make a new endpoint replaces the model behind the one that is there."""
    return replace(settings, mode="replace") if settings.mode == "create" else settings


def _endpoint_config(settings: Settings, name: str, unique: str) -> dict[str, Any]:
    variant: dict[str, Any] = {
        "VariantName": settings.variant_name or unique,
        "ModelName": unique,
        "InitialVariantWeight": 0 if settings.mode == "add" else 1,
    }
    if settings.serverless_config:
        variant["ServerlessConfig"] = settings.serverless_config
    else:
        variant |= {"InstanceType": settings.instance_type, "InitialInstanceCount": settings.instance_count}
    sent: dict[str, Any] = {"EndpointConfigName": f"{name}-config-{UNIQUE}", "ProductionVariants": [variant]}
    if settings.mode == "add":
        sent["ProductionVariants"].insert(0, "<the variants that are there>")
    if settings.async_inference_config:
        sent["AsyncInferenceConfig"] = settings.async_inference_config
    if settings.data_capture_config:
        sent["DataCaptureConfig"] = settings.data_capture_config
    return sent


def _endpoint_step(settings: Settings, name: str) -> Step:
    sent = {"EndpointName": name, "EndpointConfigName": f"{name}-config-{UNIQUE}"}
    if settings.mode == "create":
        return Step("CreateEndpoint", "Starts the machines and waits until they answer.", sent)
    return Step("UpdateEndpoint", "Moves the endpoint over without a pause, and clears away what no longer answers.", sent)


def _tags_of(settings: Settings, model: str, version: str, digest: str) -> dict[str, str]:
    return settings.tags | {MODEL_TAG: model, VERSION_TAG: version, DIGEST_TAG: digest}


def _tags(settings: Settings, model: str, version: str, digest: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in _tags_of(settings, model, version, digest).items()]


def _refuse_name(name: str) -> None:
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise ConfigError(
            f"{name!r} does not name an endpoint of SageMaker; use letters, digits and - (at most {LONGEST_NAME})."
        )


def _refuse_another(found: Mapping[str, Any], name: str) -> None:
    """Refuse to make an endpoint where one is; AWS does not update one whose creation failed."""
    if found["EndpointStatus"] == "Failed":
        reason = " ".join(str(found.get("FailureReason", "AWS does not say why")).split()).rstrip(".")
        raise ConfigError(f"The endpoint {name!r} is there, and failed ({reason}); delete it (--action delete), then make it.")
    raise ConfigError(f"The endpoint {name!r} is there already; update it (--action update), or choose another name.")


# --- who is asked


def _described(settings: Settings, name: str) -> dict[str, Any]:
    """The endpoint as AWS describes it, or a refusal where there is none."""
    with _speaking(settings, name, "was not found"):
        return dict(_aws(settings).describe_endpoint(EndpointName=name))


def _client(settings: Settings) -> Any:
    from mlflow.deployments import get_deploy_client

    _aws(settings)  # says what is missing before MLflow imports it
    return get_deploy_client(settings.target)


def _aws(settings: Settings) -> Any:
    try:
        import boto3
    except ImportError:
        raise DeploymentError("boto3 is not installed, which speaks to AWS; run: pip install 'adresponse[sagemaker]'") from None
    from mlflow.sagemaker import _assume_role_and_get_credentials

    credentials = _assume_role_and_get_credentials(settings.assume_role_arn or None)
    return boto3.client("sagemaker", region_name=settings.region_name, **credentials)


@contextlib.contextmanager
def _speaking(settings: Settings, name: str, what: str) -> Iterator[None]:
    """What AWS, or MLflow on the way to it, refuses of an endpoint, as one sentence."""
    refusals = _mlflow_refusals()
    try:
        import botocore.exceptions as aws
    except ImportError:
        yield
        return
    try:
        yield
    except (*refusals, aws.BotoCoreError, aws.ClientError, OSError) as error:
        found = error.__context__ if isinstance(error, refusals) else error  # MLflow tells of AWS's refusal by its own
        code = found.response["Error"]["Code"] if isinstance(found, aws.ClientError) else ""
        if code == "ValidationException" and "Could not find endpoint" in str(found):
            raise MissingDeploymentError(
                f"There is no endpoint {name!r} in {settings.region_name}; check the name, the region and the account."
            ) from error
        if isinstance(found, aws.NoCredentialsError):
            said = "no credentials for AWS were found; run `aws configure`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        elif isinstance(found, aws.ClientError):
            said = f"AWS refuses {found.operation_name} ({code}): {found.response['Error'].get('Message', '')}"
        else:
            said = str(error)
        raise DeploymentError(f"The endpoint {name!r} {what}: {' '.join(said.split()).rstrip('.')}.") from error


def _mlflow_refusals() -> tuple[type[Exception], ...]:
    """What MLflow raises. Its import sets the level of its log anew, which is for the caller to say."""
    log = logging.getLogger("mlflow")
    level = log.level
    import mlflow.exceptions

    log.setLevel(level)
    return (mlflow.exceptions.MlflowException,)
