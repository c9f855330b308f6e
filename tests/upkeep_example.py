"""Models that are champion already, made once for all tests, and files that arrive after them."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adresponse import lifecycle, upkeep
from adresponse.store import Store
from tracked_example import made_once, open_in

QUICK = {"verify": False, "folds": 2, "repeats": 1}  # what costs seconds and is tested elsewhere
NOW = 0.6  # of the slope is left where the relation moved


def spend(rows: int, seed: int, slope: float = 1.0) -> pd.DataFrame:
    """Rows like the built-in table's: Sales 7 + 0.05 TV, with an error that grows with them."""
    rng = np.random.default_rng(seed)
    tv = rng.uniform(0.7, 296, rows).round(2)  # finer than the built-in table, so that no two rows are equal by chance
    mean = 7 + 0.05 * slope * tv
    return pd.DataFrame({"TV": tv, "Sales": (mean * rng.normal(1, 0.1, rows)).clip(0.5).round(4)})


def weekly(start: str, weeks: int, seed: int, slope: float = 1.0) -> pd.DataFrame:
    """Two markets a week, two channels; the names hold blanks, a quote and letters beyond ASCII."""
    rng = np.random.default_rng(seed)
    dates = np.repeat(pd.date_range(start, periods=weeks, freq="W-MON"), 2)
    tv, radio = rng.uniform(5, 100, (2, len(dates))).round(1)
    sales = 20 + 0.5 * slope * tv + 0.2 * radio + rng.normal(0, 2, len(dates))
    return pd.DataFrame(
        {
            "week of": dates,
            "région": ["North", "South 'a/b'"] * weeks,
            "TV spend (k€)": tv,
            "Radio, local": radio,
            "units sold": sales.clip(1).round(2),
        }
    )


def panel(start: str, weeks: int, seed: int, markets: str = "North South", slope: float = 1.0) -> pd.DataFrame:
    """Rows of each market a week, with curves of two channels and a level of its own for each market."""
    rng = np.random.default_rng(seed)
    dates = pd.date_range(start, periods=weeks, freq="W-MON")
    rows = pd.MultiIndex.from_product([dates, markets.split()], names=["week", "region"]).to_frame(index=False)
    tv, search = rng.gamma(2, 20, (2, len(rows))).round(1)
    level = rows["region"].map({"North": 400, "South": 460, "West": 430, "East": 900})
    brought = slope * 150 * tv / (tv + 40) + 80 * search / (search + 30)
    return rows.assign(tv=tv, search=search, revenue=(level + brought + rng.normal(0, 8, len(rows))).round(2))


TABLES: dict[str, tuple[Callable[[], pd.DataFrame], dict[str, Any]]] = {
    "spend": (lambda: spend(150, 0), {"target": "Sales", "channels": ("TV",)}),
    "all fitted": (lambda: spend(150, 0), {"target": "Sales", "channels": ("TV",), "test_size": 0.0}),
    "no formula": (
        lambda: pd.DataFrame({"TV": np.linspace(1, 300, 240).round(1)}).assign(Sales=lambda f: 20 + 10 * np.sin(f["TV"] / 20)),
        {
            "target": "Sales",
            "channels": ("TV",),
            "challengers": ("sklearn.tree.DecisionTreeRegressor",),
            "gate": ("all finite",),
        },
    ),
    "weekly": (
        lambda: weekly("2023-01-02", 80, 0),
        {
            "target": "units sold",
            "channels": ("TV spend (k€)", "Radio, local"),
            "date": "week of",
            "market": "région",
            "columns": {"TV spend (k€)": {"means": "TV", "unit": "thousand euros"}},
        },
    ),
    "panel": (
        lambda: panel("2023-01-02", 60, 0),
        {
            "target": "revenue",
            "channels": ("tv", "search"),
            "date": "week",
            "market": "region",
            "shape": "hill",
            "carry_over": "geometric",
            "season": 0,
            "trend": False,
        },
    ),
}


def table(kind: str) -> pd.DataFrame:
    """The table that version 1 was fitted on."""
    return TABLES[kind][0]()


@cache
def _made(kind: str) -> Path:
    """A folder with a store in which version 1 is champion. MLflow keeps the files of its copies here, too."""
    folder = Path(tempfile.mkdtemp(prefix="adresponse test "))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copy(made_once(), folder / "mlflow.db")
    with contextlib.chdir(folder):
        lifecycle.run(table(kind), out=folder, **{**QUICK, **TABLES[kind][1]})
    return folder


def place(kind: str, folder: Path) -> Store:
    """Copy the store of such a model into a folder, which has to be the current one."""
    shutil.copy(_made(kind) / "mlflow.db", folder / "mlflow.db")
    return open_in(folder)


def arrived(frame: pd.DataFrame, name: str = "new.csv") -> str:
    """The rows as a file in the current folder."""
    frame.to_parquet(name, index=False) if name.endswith(".parquet") else frame.to_csv(name, index=False)
    return name


def dump(opened: Store) -> dict[str, Any]:
    """All that a store holds: runs of any kind with their tags, figures and files; versions, tags and aliases."""
    runs = {}
    for experiment in opened.call("search_experiments"):
        for run in opened.call("search_runs", [experiment.experiment_id], run_view_type=3, max_results=1000):
            files = sorted(f.path for f in opened.call("list_artifacts", run.info.run_id))
            runs[run.info.run_id] = (run.info.status, run.data.tags, run.data.metrics, run.data.params, files)
    versions = {(v.name, v.version): (v.tags, v.current_stage) for v in opened.call("search_model_versions")}
    models = {m.name: (m.aliases, m.tags) for m in opened.call("search_registered_models")}
    return {"runs": runs, "versions": versions, "models": models}


def happened(**given: Any) -> list[tuple[str, str, str, str]]:
    """The history: kind, from, to, state."""
    return [(e.kind, e.source, e.target, e.state) for e in upkeep.history(**given)]


def quiet() -> None:
    """MLflow without telemetry and without minutes of patience."""
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
