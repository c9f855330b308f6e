"""Models to score tables with, made without MLflow, and tables to be scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from adresponse.formula import Formula, Spread, Term
from adresponse.schema import Contract
from adresponse.stored import Stored

CHANNELS = ("TV", "Radio")
SPREAD = Spread(1.5, -0.02, 0.12, tuple(np.linspace(0.01, 3.7, 100).tolist()))


def closed(channels: Sequence[str] = CHANNELS, controls: Sequence[str] = (), folder: Path = Path()) -> Stored:
    """A closed formula with coefficients that use all digits of a double."""
    contract = Contract.build(target="Sales", channels=channels, controls=controls)
    random = np.random.default_rng(7)
    terms = tuple(Term(name, *map(float, random.normal(size=3))) for name in contract.features)
    ranges = dict.fromkeys(contract.features, (0.0, 300.0))
    return Stored(folder, Formula(contract, 3.011206334653144, terms, SPREAD, ranges, {"model_id": "m-1"}), {}, {}, "")


def without_formula(folder: Path) -> Stored:
    """A model that only its pipeline can answer for."""
    import skops.io
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = frame(50)
    pipeline = make_pipeline(StandardScaler(), KNeighborsRegressor(3)).fit(rows[[*CHANNELS]], rows["TV"] * 0.1)
    skops.io.dump(pipeline, folder / "model.skops")
    contract = Contract.build(target="Sales", channels=CHANNELS)
    return Stored(folder, Formula(contract, np.nan, (), SPREAD, dict.fromkeys(CHANNELS, (0.0, 300.0)), {}), {}, {}, "")


def frame(rows: int = 7) -> pd.DataFrame:
    """Spend with all digits, beside columns that a table to be scored carries along."""
    random = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "note": [("=1+1", 'say "Ä, ö"', "plain", "two\nlines", "-", "", "x;y")[i % 7] for i in range(rows)],
            "TV": random.uniform(0, 300, rows),
            "week": range(1, rows + 1),
            "Radio": random.uniform(0, 50, rows),
        }
    )
