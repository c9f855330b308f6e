"""Versions with real files, made in a tenth of a second, and a real tracking server on PostgreSQL and S3."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from adresponse import journal, registry, store
from adresponse.stored import open_stored
from parts import free_port, start_postgres
from stored_example import one_channel, stored
from tracked_example import child_environment, copied_store

NAME = "sales-response"
SERVER = pytest.param("server", marks=pytest.mark.xdist_group("tracking server"))
STORES = ["sqlite", SERVER]
ACCESS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


# --- stores


def store_of(kind: str, folder: Path) -> store.Store:
    """A store of that kind, fresh or as the tests before left it; the current folder has to be ``folder``."""
    if kind == "server":
        return store.prepare(tracking_server()).open()
    return copied_store(folder)


@cache
def tracking_server() -> str:
    """The URL of an ``mlflow server`` on PostgreSQL and S3 (moto's), started once by this process."""
    started = contextlib.ExitStack()
    atexit.register(started.close)
    return started.enter_context(_tracking_server())


@contextlib.contextmanager
def _tracking_server() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="adresponse-test-"))
    try:
        with _cloud(folder) as endpoint, start_postgres() as database:
            port = free_port()
            url = f"http://127.0.0.1:{port}"
            command = ["mlflow", "server", "--backend-store-uri", database, "--artifacts-destination", "s3://models",
                       "--host", "127.0.0.1", "--port", str(port), "--workers", "2"]  # fmt: skip
            with _process(command, f"{url}/health", folder / "log", MLFLOW_S3_ENDPOINT_URL=endpoint, **ACCESS):
                yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _cloud(folder: Path) -> Iterator[str]:
    """The URL of a moto server with a bucket; a process of its own, as moto has one state for all servers of a process."""
    import boto3

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with _process(["moto.server", "-H", "127.0.0.1", "-p", str(port)], f"{url}/moto-api/", folder / "cloud.log"):
        s3 = boto3.client("s3", "us-east-1", endpoint_url=url, aws_access_key_id="testing", aws_secret_access_key="testing")
        s3.create_bucket(Bucket="models")
        yield url


@contextlib.contextmanager
def _process(module: Sequence[str], url: str, log: Path, **settings: str) -> Iterator[None]:
    """A Python module run as a server until the end, from when it answers at ``url``."""
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", *module], cwd=log.parent, stdout=out, stderr=out, start_new_session=True,
            env=child_environment(**settings),
        )  # fmt: skip
    try:
        _wait_until_up(server, url, log)
        yield
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _wait_until_up(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text(errors="replace")[-2000:]
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.1)
    pytest.fail(f"not up in 120 s: {log.read_text(errors='replace')[-2000:]}")


# --- versions


@cache
def _sealed() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="adresponse-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return stored(one_channel(), folder)


def version(opened: store.Store, name: str = NAME, status: str = "VALIDATED", *, own: bool = False, **tags: str) -> str:
    """A new version of a model, with the files of a sealed one; its number. With ``own`` it has a run of its own."""
    run_id, source = _made_run(opened, name) if own else _shared_run(opened)
    with contextlib.suppress(store.StoreError):
        opened.call("create_registered_model", name, {"adresponse.target": "Sales"})
    said = {"adresponse.status": status, registry.MANIFEST_TAG: open_stored(_sealed()).digest, **tags}
    return str(opened.call("create_model_version", name, source, run_id=run_id, tags=said).version)


_SHARED: dict[str, tuple[str, str]] = {}


def _shared_run(opened: store.Store) -> tuple[str, str]:
    if opened.uri not in _SHARED:
        _SHARED[opened.uri] = _made_run(opened, "files of all")
    return _SHARED[opened.uri]


def _made_run(opened: store.Store, experiment: str) -> tuple[str, str]:
    """A run with a sealed model's files: its id, and where they are."""
    found = opened.call("get_experiment_by_name", experiment)
    experiment_id = found.experiment_id if found else opened.call("create_experiment", experiment)
    run = opened.call("create_run", experiment_id, tags={"adresponse.kind": "study"})
    opened.call("log_artifacts", run.info.run_id, str(_sealed()), "model")
    opened.call("set_terminated", run.info.run_id)
    return run.info.run_id, f"{run.info.artifact_uri}/model"


def lose_files(opened: store.Store, name: str, number: str) -> None:
    """What a cleaned bucket or a removed folder leaves: the version (one with a run of its own) alone."""
    run_id = opened.call("get_model_version", name, number).run_id
    uri = opened.call("get_run", run_id).info.artifact_uri
    if uri.startswith("mlflow-artifacts"):
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with opened.current():
            get_artifact_repository(uri).delete_artifacts("model")
    else:
        shutil.rmtree(Path(uri.removeprefix("file://")) / "model")


def whole(opened: store.Store) -> Callable[[str], None]:
    """A ``verify`` that fetches the model and holds it against its manifest."""

    def verify(uri: str) -> None:
        located = registry.locate(opened, uri)
        with tempfile.TemporaryDirectory() as folder:
            open_stored(registry.fetch(opened, located, Path(folder)), located.digest)

    return verify


def champion(opened: store.Store, name: str = NAME) -> str:
    """The version that the alias names, or nothing."""
    return registry.aliases(opened, name).get("champion", "")


def moves(opened: store.Store, name: str = NAME) -> list[tuple[str, str, str, str]]:
    """The history: kind, from, to, state."""
    return [(e.kind, e.source, e.target, e.state) for e in journal.read(opened, name)]
