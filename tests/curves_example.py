"""Models of curves with numbers that we chose, as scikit-learn pipelines, as formulas, and stored as a version holds them."""

from __future__ import annotations

import atexit
import math
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

import adresponse
from adresponse import saving
from adresponse.baseline import Baseline
from adresponse.curved import Curves, History
from adresponse.curves import CarryOverKind, Response, Shape
from adresponse.formula import Formula
from adresponse.intervals import spread_of
from adresponse.mixing.regressor import MixRegressor, mix_pipeline
from adresponse.periods import WEEKDAYS
from adresponse.planning.prospect import Prospect
from adresponse.schema import Contract
from adresponse.study import Study

__all__ = [
    "CHANNELS",
    "MARKETS",
    "contract_of",
    "curves_of",
    "fitted",
    "formula_with",
    "hill",
    "panel",
    "sized",
    "sized_panel",
    "stored_curves",
    "table",
]

CHANNELS = ("TV, national", "search")
MARKETS = ("North", "south", "Île-de-France")
SIZES = (0.25, 0.75, 2.0)
PERIODS = {"week": "W-MON", "month": "MS", "day": "D", "working day": "B"}


def table(
    periods: int = 60,
    step: str = "week",
    markets: tuple[str, ...] = (),
    gaps: float = 0.0,
    controls: bool = True,
    seed: int = 1,
) -> pd.DataFrame:
    """Rows of dates, markets, spend of two channels, a price and sales; a share ``gaps`` of them left out, in any order."""
    random = np.random.default_rng(seed)
    dates = pd.date_range("2023-01-02", periods=periods, freq=PERIODS[step])
    rows = pd.MultiIndex.from_product([dates, markets or ("",)], names=["when", "market"]).to_frame(index=False)
    spend = np.where(random.random((len(rows), 2)) < 0.2, 0.0, random.gamma(2.0, [40.0, 12.0], (len(rows), 2)))
    frame = rows.assign(**dict(zip(CHANNELS, spend.T, strict=True)))
    if controls:
        frame["price"] = random.normal(0, 3, len(rows))
    frame["sales"] = 300 + spend @ [0.8, 2.0] + random.normal(0, 20, len(rows))
    frame = frame if markets else frame.drop(columns="market")
    return frame.sample(frac=1 - gaps, random_state=seed).reset_index(drop=True)


def contract_of(frame: pd.DataFrame, dated: bool = True) -> Contract:
    """The roles of the columns of ``table``."""
    controls = ["price"] if "price" in frame else []
    market = "market" if "market" in frame else None
    return Contract.build(target="sales", channels=CHANNELS, controls=controls, date="when" if dated else None, market=market)


def fitted(
    frame: pd.DataFrame,
    contract: Contract,
    shape: Shape = "hill",
    kind: CarryOverKind = "geometric",
    window: int = 5,
    season: int = 2,
    weekdays: bool = False,
) -> Pipeline:
    """The pipeline with nonlinear parameters that we chose; least squares gives the rest."""
    pipeline = mix_pipeline(
        contract.channels, contract.controls, contract.date, contract.market, shape=shape, kind=kind, window=window,
        season=season, weekdays=weekdays, trend=contract.date is not None, signs=0,
    )  # fmt: skip
    chosen: dict[str, Any] = {"carry__decay": (0.6, 0.2), "carry__delay": (1.5, 0.5)}
    chosen |= {"saturate__half": (0.3, 0.5), "saturate__slope": (0.7, 1.0) if shape == "power" else (1.4, 0.8)}
    dict(pipeline["design"].transformer_list)["media"].set_params(**chosen)
    return pipeline.fit(frame[[n for n in frame if n != contract.target]], frame[contract.target])


def curves_of(pipeline: Pipeline, contract: Contract) -> Curves:
    """The same as numbers."""
    design = dict(pipeline["design"].transformer_list)
    carry, scale, bend, base = *(design["media"][n] for n in ("carry", "scale", "saturate")), design["base"]
    names = [*contract.channels, *base.get_feature_names_out()]
    found = dict(zip(names, map(float, pipeline["regress"].coef_), strict=True))
    responses = []
    for i, name in enumerate(contract.channels):
        most = float(scale.scale_[i])
        coefficient = found[name] / most if bend.shape == "linear" else found[name]
        half, slope = (float(np.broadcast_to(v, 2)[i]) for v in (bend.half, bend.slope))
        responses.append(Response(name, bend.shape, half * most, slope, coefficient, carry.weights()[i]))
    season = tuple(v for n, v in found.items() if n.startswith(("sin ", "cos ")))
    markets = {m: found.get(f"market {m}", 0.0) for m in base.markets_}
    baseline = Baseline(
        float(pipeline["regress"].intercept_), found.get("trend", 0.0), season, {n: found[n] for n in contract.controls},
        markets, base.calendar_, base.span_, tuple(found.get(day, 0.0) for day in WEEKDAYS) if base.weekdays else (),
    )  # fmt: skip
    kept = {m: tuple(tuple(map(float, row)) for row in rows) for m, rows in carry.history_.items()}
    history = History(carry.last_, tuple(map(float, carry.means_)), kept) if carry.reach > 1 else None
    return Curves(baseline, tuple(responses), history)


def sized(frame: pd.DataFrame, contract: Contract, **fit: Any) -> MixRegressor:
    """The same pipeline for markets of other sizes, spend and sales over these."""
    columns = contract.channels, contract.controls, contract.date, contract.market
    made = MixRegressor(*columns, sizes=dict(zip(MARKETS, SIZES, strict=True)))
    made.channels_, made.sizes_ = contract.channels, dict(zip(MARKETS, SIZES, strict=True))
    per_size = made.per_size(frame).assign(sales=frame["sales"] / made.size(frame))
    made.pipeline_ = fitted(per_size, contract, **fit)
    return made


def formula_with(model: Pipeline | MixRegressor, frame: pd.DataFrame, contract: Contract) -> Formula:
    """The fitted model as a formula, with the spread of its residuals."""
    ranges = {n: (float(frame[n].min()), float(frame[n].max())) for n in contract.features}
    own = model.per_size(frame) if isinstance(model, MixRegressor) else frame
    per_size = {n: (float(own[n].min()), float(own[n].max())) for n in contract.channels if own is not frame}
    spread = spread_of(model.predict(frame), frame[contract.target].to_numpy())
    about = {"name": "curves", "model_id": "m-" + "1" * 32, "title": "MixRegressor"}
    pipeline, sizes = (model.pipeline_, model.sizes_) if isinstance(model, MixRegressor) else (model, {})
    curves = replace(curves_of(pipeline, contract), sizes=sizes)
    return Formula(contract, math.nan, (), spread, ranges, about, curves=curves, per_size=per_size)


class _Chosen(Study):
    """A study whose plan is not made."""

    def prospect(self, formula: Formula | None = None) -> Prospect | None:
        return None


def _study(frame: pd.DataFrame, dated: bool, shape: Shape, make: Callable[..., Any] = fitted, **fit: Any) -> Study:
    """A study over the table whose estimator is ours, all rows fitted."""
    contract = contract_of(frame, dated)
    columns = [c.name for c in contract.columns]
    made = adresponse.fit(
        frame[columns], target="sales", channels=list(CHANNELS), controls=list(contract.controls), date=contract.date,
        market=contract.market, test_size=0, name="curves", repeats=1,
    )  # fmt: skip
    model = make(made.table.frame, made.table.contract, shape=shape, **fit)
    given = {f: getattr(made, f) for f in Study.__dataclass_fields__}
    formula = formula_with(model, made.table.frame, made.table.contract)
    given |= {"estimator": model, "spread": formula.spread, "linear": None}
    return _Chosen(**given)


_MADE: dict[int, Path] = {}


def stored_curves(study: Study, folder: Path) -> Path:
    """The study's model, stored and sealed, in a new folder ``model`` under ``folder``."""
    if id(study) not in _MADE:
        home = Path(tempfile.mkdtemp(prefix="adresponse-test-"))
        atexit.register(shutil.rmtree, home, ignore_errors=True)
        model = SimpleNamespace(model_id="m-" + "1" * 32, artifact_location=str(home))
        formula = formula_with(study.estimator, study.table.frame, study.table.contract)
        with mock.patch.object(saving, "formula_of", return_value=formula):
            _MADE[id(study)] = saving.save(study, model, home / "model", "0" * 32).folder
    return Path(shutil.copytree(_MADE[id(study)], folder / "model"))


@cache
def panel() -> Study:
    """Weeks of three markets: carry-over, trend, season, a control."""
    return _study(table(60, markets=MARKETS, gaps=0.1), True, "hill")


@cache
def sized_panel() -> Study:
    """The same where markets differ in size."""
    return _study(table(60, markets=MARKETS, gaps=0.1), True, "hill", sized)


@cache
def hill() -> Study:
    """Rows without a date: curves alone."""
    return _study(table(80).drop(columns="when"), False, "hill", kind="none", season=0)
