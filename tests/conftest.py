"""Keep the tests apart from the user's own MLflow, and quiet."""

from __future__ import annotations

import os

os.environ.pop("MLFLOW_TRACKING_URI", None)
os.environ |= {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
