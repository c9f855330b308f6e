"""Keep the tests apart from the user's own MLflow and from each other, and let none be skipped unseen."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import parts

os.environ.pop("MLFLOW_TRACKING_URI", None)
os.environ |= {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    # the tests fill all cores already, and threads that spin while they wait for each other take a hundred times as long
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}

# the libraries alone are half a million objects that stay; to go through them again and again took a tenth of all tests
gc.set_threshold(50_000, 20, 100)

LONGEST = (  # groups that take from five minutes down to one; the others fill up the end
    "test_deploy_image",
    "test_upkeep",
    "tracking server",
    "test_spark",
    "test_run",
    "test_batch",
    "test_registry",
    "test_plugin",
    "test_planner_page",
    "test_promotion",
    "test_project",
    "test_curves_run",
    "test_refresh_kills",
    "test_serve_oracle",
    "test_evaluate",
    "test_deployment",
    "test_serve_wire",
    "test_report",
    "test_serve_process",
    "test_mlflow_ways",
    "test_serve_client",
    "test_store",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of a file run in one process, so that what they share is made once; the longest files begin."""
    ranks = {}
    for item in items:
        marker = item.get_closest_marker("xdist_group")
        group = marker.args[0] if marker else item.path.stem
        if marker is None:
            item.add_marker(pytest.mark.xdist_group(group))
        ranks[item] = LONGEST.index(group) if group in LONGEST else len(LONGEST)
    items.sort(key=ranks.__getitem__)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Where every part must be there (``ADRESPONSE_NO_SKIPS``), a skipped test is a failed one."""
    report = yield
    if os.environ.get("ADRESPONSE_NO_SKIPS") and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _no_store_is_remembered() -> Iterator[None]:
    """A test that tells MLflow of its store must not tell the next test."""
    yield
    if "mlflow" in sys.modules:
        sys.modules["mlflow"].set_tracking_uri(None)


@pytest.fixture(scope="session")
def made_store() -> Path:
    """A fresh SQLite store of MLflow's, made once: copying it is faster than migrating one for each test."""
    import tracked_example  # which loads scikit-learn

    return tracked_example.made_once()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium."""
    with parts.start_chromium() as opened:
        yield opened


@pytest.fixture
def workplace(tmp_path: Path, made_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder is a new one, with blanks in its path and a fresh store."""
    folder = tmp_path / "my tables"
    folder.mkdir()
    shutil.copy(made_store, folder / "mlflow.db")
    monkeypatch.chdir(folder)
    return folder
