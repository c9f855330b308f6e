"""From a table of marketing budgets and sales to a tracked, registered response model and a budget decision.

``adresponse.run("spend.csv", target="Sales", channels=["TV"])`` does in Python what ``adresponse run spend.csv --target
Sales --channels TV`` does in a shell; the same holds for ``check``, ``explore``, ``compare``, ``plan``, ``predict``, ``serve``,
``verify``, ``deploy``, ``watch``, ``retrain``, ``refresh``, ``promote``, ``rollback``, ``history`` and ``doctor``. ``load``
gives a stored model in process. Importing the package loads no other library; each function imports what it needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from adresponse.errors import (
    AdresponseError,
    ConfigError,
    DeploymentError,
    DifferenceError,
    ModelError,
    RowsError,
    StoreError,
    TableError,
    TamperedModelError,
    UnfitTableError,
)
from adresponse.findings import Finding

if TYPE_CHECKING:
    from adresponse.deployment import deploy, load, plan, predict, serve, verify
    from adresponse.lifecycle import check, compare, doctor, explore, fit, run
    from adresponse.table import AdTable, read, read_builtin
    from adresponse.upkeep import compare_versions, delete_version, history, promote, refresh, retrain, rollback, watch

__version__ = "0.1.0"

__all__ = [
    "AdTable",
    "AdresponseError",
    "ConfigError",
    "DeploymentError",
    "DifferenceError",
    "Finding",
    "ModelError",
    "RowsError",
    "StoreError",
    "TableError",
    "TamperedModelError",
    "UnfitTableError",
    "__version__",
    "check",
    "compare",
    "compare_versions",
    "delete_version",
    "deploy",
    "doctor",
    "explore",
    "fit",
    "history",
    "load",
    "plan",
    "predict",
    "promote",
    "read",
    "read_builtin",
    "refresh",
    "retrain",
    "rollback",
    "run",
    "serve",
    "verify",
    "watch",
]

_HOME = dict.fromkeys(["check", "compare", "doctor", "explore", "fit", "run"], "adresponse.lifecycle")
_HOME |= dict.fromkeys(["deploy", "load", "plan", "predict", "serve", "verify"], "adresponse.deployment")
_UPKEEP = ["compare_versions", "delete_version", "history", "promote", "refresh", "retrain", "rollback", "watch"]
_HOME |= dict.fromkeys(_UPKEEP, "adresponse.upkeep")
_HOME |= dict.fromkeys(["AdTable", "read", "read_builtin"], "adresponse.table")


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'adresponse' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
