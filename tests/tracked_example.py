"""A study ready to be tracked, a whole run of tracking it, and an SQLite store that was made once."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from adresponse import mutex, promotion, registry, store, track
from adresponse.gate import GateDecision, GateRule
from adresponse.study import Study
from contenders import hurry
from study_example import one_channel

CALM = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
FIGURES = {"scatter_TV": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}


def study(name: str = "sales-response", **changed: Any) -> Study:
    """The built-in example's study under a name."""
    return replace(one_channel(), name=name, **changed)


def rejected(given: Study) -> Study:
    """The same study, refused by the gate."""
    rules = (GateRule("r2 >= 0.9", "0.677", False),)
    return replace(given, gate=GateDecision("REJECTED", rules, "One rule failed."))


def log(opened: store.Store, given: Study) -> tuple[track.Run, store.LoggedModel, registry.Version]:
    """Track and register a study, as ``lifecycle.run`` does."""
    with track.start(opened, given.name, "test run") as run:
        with run.saving(given) as saved:
            model = run.log(given, saved, FIGURES, "<!doctype html><p>report", "seed: 42\n")
        with mutex.held(opened, given.name) as lease:
            version = registry.register(opened, given, model, run.run_id)
            if given.gate.status == "VALIDATED":
                _promote(lease, version, model, run.run_id)
                version = replace(version, champion=True)
    return run, model, version


def _promote(lease: mutex.Lease, version: registry.Version, model: store.LoggedModel, run_id: str) -> None:
    try:
        promotion.promote(lease, version.version, verify=lambda _: None, why="the test wants it")
    except BaseException:
        registry.take_back(lease.store, version, model, run_id)
        raise


def open_in(folder: Path) -> store.Store:
    """The default store of a folder, made where it is missing."""
    return store.prepare(store.resolve(None, folder)).open()


@cache
def made_once() -> Path:
    """The file of a store that this process made once; from now on it opens stores quickly."""
    hurry()
    folder = Path(tempfile.mkdtemp(prefix="adresponse-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with contextlib.chdir(folder):  # MLflow keeps a store's files in the current folder
        open_in(folder)
    return folder / "mlflow.db"


def copied_store(folder: Path) -> store.Store:
    """A store in the folder, copied from one that this process made once (0.1 s instead of 3); run the test in it."""
    shutil.copy(made_once(), folder / "mlflow.db")
    return open_in(folder)


def child_environment(**more: str) -> dict[str, str]:
    """The environment for a process of ours: the sources and these tests on its path, MLflow calm."""
    paths = [str(Path(store.__file__).parents[1]), str(Path(__file__).parent)]
    return {**os.environ, **CALM, "PYTHONPATH": os.pathsep.join(paths), **more}


def at_once(count: int) -> None:
    """That many processes, each preparing, tracking and registering; exits with how many failed. To be ``forked``."""
    children = []
    for _ in range(count):
        if not (child := os.fork()):
            os._exit(_quiet_failure(lambda: log(open_in(Path.cwd()), study())))
        children.append(child)
    sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))


def _quiet_failure(act: Callable[[], object]) -> int:
    try:
        act()
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def hang(line: Connection) -> None:
    """A run that says that it began, and waits until it is ended. To be ``forked``."""
    opened = open_in(Path.cwd())
    with track.start(opened, "hanging", "to be ended"):
        line.send("started")
        signal.pause()


def outcomes(store: store.Store, experiment: str) -> list[tuple[str, str]]:
    """Status (the gate's, or MLflow's where the run did not finish) and registered version of each study, newest first."""
    found = store.call("get_experiment_by_name", experiment)
    order = ["attributes.start_time DESC"]
    studies = store.call("search_runs", [found.experiment_id], "tags.`adresponse.kind` = 'study'", order_by=order)
    return [
        (
            run.data.tags.get("adresponse.status", "") if run.info.status == "FINISHED" else run.info.status,
            run.data.tags.get("adresponse.model_version", ""),
        )
        for run in studies
    ]
