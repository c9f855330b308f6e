"""Stored models as a version's download holds them, made once a process and copied for each test.

Candidates are cross-validated once: nobody looks at their comparison here, and ten times take four seconds each.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

import adresponse
from adresponse import saving
from adresponse.study import Study
from adresponse.table import read_builtin

__all__ = ["curved", "one_channel", "stored", "three_channels"]

CURVED = "sklearn.ensemble.HistGradientBoostingRegressor"


@cache
def one_channel() -> Study:
    """The built-in table's study."""
    return adresponse.fit(repeats=1)


@cache
def three_channels() -> Study:
    """The advertising data's study: three channels with units."""
    table = read_builtin("advertising")
    return adresponse.fit(table.frame, target="Sales", channels=list(table.contract.channels), repeats=1)


@cache
def curved() -> Study:
    """A study whose champion has no closed formula: sales swing with spend, which no line follows."""
    random = np.random.default_rng(1)
    spend, online = random.uniform(0, 300, 400), random.uniform(0, 50, 400)
    sales = 5 + 10 * np.sin(spend / 40) ** 2 + 0.1 * online + random.normal(0, 0.5, 400)
    frame = pd.DataFrame({"TV Spend (k$)": spend, "Online": online, "Sales": sales})
    return adresponse.fit(frame, target="Sales", challengers=[CURVED], name="boosted", repeats=1)


_MADE: dict[int, Path] = {}


def _made(study: Study) -> Path:
    if id(study) in _MADE:
        return _MADE[id(study)]
    folder = Path(tempfile.mkdtemp(prefix="adresponse-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    model = SimpleNamespace(model_id="m-" + "0" * 32, artifact_location=str(folder))
    _MADE[id(study)] = saving.save(study, model, folder / "model", "0" * 32).folder
    return _MADE[id(study)]


def stored(study: Study, folder: Path) -> Path:
    """The study's model, stored and sealed, in a new folder ``model`` under ``folder``."""
    return Path(shutil.copytree(_made(study), folder / "model"))
