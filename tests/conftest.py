"""Keep the tests apart from the user's own MLflow, and quiet."""

from __future__ import annotations

import os

os.environ.pop("MLFLOW_TRACKING_URI", None)
os.environ |= {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}

import pytest  # noqa: E402  (after the environment is set)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Where every part must be there (``ADRESPONSE_NO_SKIPS``), a skipped test is a failed one."""
    report = yield
    if os.environ.get("ADRESPONSE_NO_SKIPS") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be: {report.longrepr}"
    return report
