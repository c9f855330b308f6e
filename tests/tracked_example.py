"""A study ready to be tracked, a whole run of tracking it, and an SQLite store that was made once."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from study_example import one_channel

from adresponse import registry, store, track
from adresponse.gate import GateDecision, GateRule
from adresponse.study import Study

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
        model = run.log(given, FIGURES, "<!doctype html><p>report", "seed: 42\n")
        version = registry.register(opened, given, model, run.run_id)
    return run, model, version


def open_in(folder: Path) -> store.Store:
    """The default store of a folder, made where it is missing."""
    return store.prepare(store.resolve(None, folder)).open()


def child_environment(**more: str) -> dict[str, str]:
    """The environment for a process of ours: the sources and these tests on its path, MLflow calm."""
    paths = [str(Path(store.__file__).parents[1]), str(Path(__file__).parent)]
    return {**os.environ, **CALM, "PYTHONPATH": os.pathsep.join(paths), **more}


if __name__ == "__main__":  # one of many processes at once
    _, _, registered = log(open_in(Path.cwd()), study())
    sys.stdout.write(registered.version)
