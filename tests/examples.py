"""Tables that several tests need."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pandas as pd

from adresponse.schema import Contract
from adresponse.table import AdTable


def shipped(name: str) -> pd.DataFrame:
    """A reference table as pandas reads it."""
    return pd.read_csv(str(files("adresponse") / "data" / f"{name}.csv")).astype(float)


def table(frame: pd.DataFrame, target: str = "Sales", **roles: object) -> AdTable:
    """A table around a frame, without the reader."""
    channels = roles.pop("channels", [c for c in frame if c not in (target, *roles.values())])
    contract = Contract.build(target=target, channels=channels, **roles)  # type: ignore[arg-type]
    columns = frame[[c.name for c in contract.columns]].set_axis(range(1, len(frame) + 1))
    return AdTable(columns, contract, "made.csv", "0" * 64, len(frame))


def growing_spread(rows: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:  # type: ignore[type-arg]
    """Sales = 5 + 0.05 spend, with noise of deviation 0.5 + 0.02 spend: truth that we chose."""
    random = np.random.default_rng(seed)
    spend = random.uniform(0, 300, rows)
    sales = 5 + 0.05 * spend + random.normal(0, 0.5 + 0.02 * spend)
    return pd.DataFrame({"TV": spend}), pd.Series(sales, name="Sales")
