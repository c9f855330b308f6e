"""How is a deployment asked the evaluation rows: at a URL, or at a cloud's or any other target?"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adresponse.errors import ConfigError, DeploymentError, DifferenceError
from adresponse.serving.options import read_token
from adresponse.verification import Answered, EvaluationRows

__all__ = ["Ask", "at_target", "at_url"]

Ask = Callable[[EvaluationRows], Answered]
CLOUD_ROWS = 5_000  # in one request: a dozen columns stay below the 1.5 MB of Azure, and the 6 MB of SageMaker


def at_url(url: str, token: str = "") -> Ask:
    """A way to ask a server of MLflow's scoring protocol."""
    from adresponse.serving import client

    def ask(rows: EvaluationRows) -> Answered:
        try:
            answer = client.ask(url, rows.columns(), _level(rows), token, together=rows.together)
        except DifferenceError as error:
            raise DifferenceError(str(error).removeprefix(f"{url} ")) from None
        lower, upper = (None if v is None else np.asarray(v) for v in (answer.lower, answer.upper))
        return Answered(np.asarray(answer.prediction), lower, upper, answer.version)

    return ask


def at_target(target: str, deployment: str, config: Mapping[str, Any]) -> Ask:
    """A way to ask a deployment of a cloud, or of any other target of ``mlflow deployments``."""
    kind, _, place = target.partition(":/")
    if kind == "sagemaker":
        from adresponse.targets import sagemaker

        region, _, role = place.partition("/")
        aws = sagemaker.Settings.read(region, {**({"assume_role_arn": role} if role else {}), **config})
        return _in_parts(lambda columns, level: sagemaker.ask(aws, deployment, columns, level))
    if kind == "azureml":
        from adresponse.targets import azureml

        azure = azureml.Settings.read(config)
        client = azureml.connect(azure)
        return _in_parts(lambda columns, level: azureml.ask(client, azure, deployment, columns, level))
    if config:
        raise ConfigError(f"{target=} takes no settings here; leave out -C.")
    if target.partition(":")[0] == "adresponse":
        return _at_local_target(target, deployment)
    from adresponse import scoring

    return scoring.asker(target, deployment)


def _in_parts(ask: Callable[[dict[str, list[Any]], float | None], Answered]) -> Ask:
    """A way to ask a cloud, which takes no request that is too large; rows that belong together stay in one."""

    def asked(rows: EvaluationRows) -> Answered:
        columns, height = rows.columns(), len(rows.X)
        step = max(height, 1) if rows.together else CLOUD_ROWS
        parts = [
            ask({name: values[i : i + step] for name, values in columns.items()}, _level(rows)) for i in range(0, height, step)
        ]
        ends = [[getattr(part, end) for part in parts] for end in ("lower", "upper")]
        lower, upper = (None if any(v is None for v in found) else np.concatenate(found) for found in ends)
        versions = ", ".join(dict.fromkeys(part.version for part in parts))
        return Answered(np.concatenate([part.prediction for part in parts]), lower, upper, versions)

    return asked


def _at_local_target(target: str, deployment: str) -> Ask:
    """A way to ask a server of ours in the background, at its recorded address: it says its version and gives the interval."""
    from adresponse.targets import local

    found = local.find(local.state_folder(target, os.environ), deployment)
    if not local.alive(found):
        raise DeploymentError(f"The deployment {deployment!r} is dead; delete it and create it anew. Its log: {found.log}")
    secret = found.wanted.token_file
    return at_url(found.url, read_token(Path(found.place, secret) if secret else None))


def _level(rows: EvaluationRows) -> float | None:
    return None if rows.lower is None else rows.level
