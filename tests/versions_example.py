"""Versions with real files made in a tenth of a second, a real tracking server, and processes that contend, stop and die."""

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
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib import import_module
from pathlib import Path

import pytest

from adresponse import journal, mutex, promotion, registry, store
from adresponse.stored import open_stored
from parts import free_port, start_postgres
from stored_example import one_channel, stored
from tracked_example import child_environment, copied_store

NAME = "sales-response"
SERVER = pytest.param("server", marks=pytest.mark.xdist_group("tracking server"))
STORES = ["sqlite", SERVER]
STEPS = ("verify before", "event", "alias before", "alias after", "verify after", "close before", "close after")


# --- stores


def store_of(kind: str, folder: Path) -> store.Store:
    """A store of that kind, fresh or as the tests before left it; the current folder has to be ``folder``."""
    return copied_store(folder) if kind == "sqlite" else store.prepare(tracking_server()).open()


@cache
def tracking_server() -> str:
    """The URL of an ``mlflow server`` on PostgreSQL and S3 (moto's), started once by this process."""
    started = contextlib.ExitStack()
    atexit.register(started.close)
    return started.enter_context(_tracking_server())


@contextlib.contextmanager
def _tracking_server() -> Iterator[str]:
    import boto3
    from moto.server import ThreadedMotoServer

    cloud = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    cloud.start()
    endpoint = "http://{}:{}".format(*cloud.get_host_and_port())
    access = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    boto3.client("s3", endpoint_url=endpoint, aws_access_key_id="testing", aws_secret_access_key="testing").create_bucket(
        Bucket="models"
    )
    folder, url = Path(tempfile.mkdtemp(prefix="adresponse-test-")), f"http://127.0.0.1:{free_port()}"
    with start_postgres() as database:
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database, "--artifacts-destination",
                   "s3://models", "--host", "127.0.0.1", "--port", url.rpartition(":")[2], "--workers", "2"]  # fmt: skip
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                command, cwd=folder, stdout=log, stderr=log, start_new_session=True,
                env=child_environment(MLFLOW_S3_ENDPOINT_URL=endpoint, **access),
            )  # fmt: skip
        try:
            _wait_until_up(server, url, folder / "log")
            yield url
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)
            cloud.stop()
            shutil.rmtree(folder, ignore_errors=True)


def _wait_until_up(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text(errors="replace")[-2000:]
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2):
            return
        time.sleep(0.1)
    pytest.fail(f"not up in 120 s: {log.read_text(errors='replace')[-2000:]}")


# --- versions


@cache
def _sealed() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="adresponse-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return stored(one_channel(), folder)


def version(opened: store.Store, name: str = NAME, status: str = "VALIDATED", **tags: str) -> str:
    """A new version of a model, with the files of a sealed one in a run of its own; its number."""
    experiment = opened.call("get_experiment_by_name", name)
    experiment_id = experiment.experiment_id if experiment else opened.call("create_experiment", name)
    run = opened.call("create_run", experiment_id, tags={"adresponse.kind": "study"})
    opened.call("log_artifacts", run.info.run_id, str(_sealed()), "model")
    opened.call("set_terminated", run.info.run_id)
    with contextlib.suppress(store.StoreError):
        opened.call("create_registered_model", name, {"adresponse.target": "Sales"})
    said = {"adresponse.status": status, registry.MANIFEST_TAG: open_stored(_sealed()).digest, **tags}
    source = f"{run.info.artifact_uri}/model"
    return str(opened.call("create_model_version", name, source, run_id=run.info.run_id, tags=said).version)


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


# --- processes: python versions_example.py MODE URI ...


def child(*arguments: str) -> subprocess.Popen[str]:
    """This file as a process of its own, to be spoken to."""
    command = [sys.executable, __file__, *arguments]
    return subprocess.Popen(
        command, env=child_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


def _forked(acts: list[Callable[[], object]]) -> list[int]:
    """Each act in a process forked after the imports, all at once; their wait statuses."""
    children = []
    for act in acts:
        if not (pid := os.fork()):
            try:
                act()
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(pid)
    return [os.waitpid(pid, 0)[1] for pid in children]


def _count(uri: str, processes: int, times: int) -> None:
    """Processes that add one to a number which only the lock guards."""

    def add() -> None:
        opened = store.prepare(uri).open()
        for _ in range(times):
            with mutex.held(opened, NAME) as lease:
                tags = opened.call("get_registered_model", "counter").tags
                lease.check()
                opened.call("set_registered_model_tag", "counter", "count", str(int(tags["count"]) + 1))

    assert _forked([add] * processes) == [0] * processes


def _append(uri: str, name: str, processes: int, times: int) -> None:
    """Processes that write into one history."""

    def write() -> None:
        opened = store.prepare(uri).open()
        for _ in range(times):
            with mutex.held(opened, name) as lease:
                journal.append(lease, "kept")

    assert _forked([write] * processes) == [0] * processes


def _promote(uri: str, name: str, count: int) -> None:
    """A process for each version, which makes it champion."""

    def promote(number: str) -> None:
        opened = store.prepare(uri).open()
        with mutex.held(opened, name) as lease:
            promotion.promote(lease, number, verify=lambda _: None, why="at once")

    assert _forked([partial(promote, str(i + 1)) for i in range(count)]) == [0] * count


def _hold(uri: str, lease_seconds: float) -> None:
    """Hold the lock, say so, and at a word from outside say whether it is still held."""
    opened = store.prepare(uri).open()
    with mutex.held(opened, NAME, lease=lease_seconds, command="adresponse refresh") as lease:
        print("held", lease.number, flush=True)
        for _ in sys.stdin:
            try:
                lease.check()
                print("still held", flush=True)
            except mutex.LeaseLostError as error:
                print(error, flush=True)


def _die(uri: str, steps: list[str]) -> None:
    """For each step a process that is killed there while it promotes version 2 of the model ``killed-STEP``."""
    statuses = _forked([partial(_promote_until, uri, step) for step in steps])
    print(*statuses, flush=True)


def _promote_until(uri: str, step: str) -> None:
    opened = store.prepare(uri).open()
    point, _, when = step.rpartition(" ")
    methods = {"alias": "set_registered_model_alias", "close": "set_terminated"}
    if point in methods:
        _die_at(opened, methods[point], when)
    if step == "event":
        _die_at(opened, "create_run", "after")

    def verify(asked: str) -> None:
        if step == ("verify after" if "@" in asked else "verify before"):
            os.kill(os.getpid(), signal.SIGKILL)

    with mutex.held(opened, f"killed-{step}") as lease:
        promotion.promote(lease, "2", verify=verify, why="to die on the way")


def _die_at(opened: store.Store, method: str, when: str) -> None:
    original = getattr(opened.client, method)

    def killed(*args: object, **kwargs: object) -> None:
        if when == "after":
            original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(opened.client, method, killed)


if __name__ == "__main__":
    mode, uri, *more = sys.argv[1:]
    import_module("mlflow.store.tracking.sqlalchemy_store")  # before the forks
    if mode == "count":
        _count(uri, *map(int, more))
    elif mode == "append":
        _append(uri, more[0], *map(int, more[1:]))
    elif mode == "promote":
        _promote(uri, more[0], int(more[1]))
    elif mode == "hold":
        _hold(uri, float(more[0]))
    else:
        _die(uri, more)
