"""Models to plan with, made by hand: curves that we chose, draws around them, and the folder that a version would be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from adresponse.baseline import Baseline
from adresponse.curved import Curves, History
from adresponse.curves import Response, Shape, carry_over_weights
from adresponse.formula import Formula, Spread, Term
from adresponse.periods import Calendar
from adresponse.planning.prospect import Prospect, prospect_of
from adresponse.schema import Contract
from adresponse.serving.app import App, create_app
from adresponse.serving.holder import Holder, Served
from adresponse.serving.options import Options
from adresponse.stored import open_stored, seal

__all__ = ["NAMES", "PLACES", "hills", "kept", "placed", "planning_app", "served_from"]

NAMES = ("TV", "Search", "Print")
SPREAD = Spread(1.0, 0.0, 0.1, tuple(i / 50 for i in range(1, 100)))
WEEKS = 104
PLACES = {"North": -40.0, "Süd & West": 40.0}  # how far the market's sales lie from the mean of both


def hills(
    names: tuple[str, ...] = NAMES,
    *,
    dated: bool = True,
    draws: int = 40,
    shape: Shape = "hill",
    seed: int = 1,
    unit: float = 1.0,
) -> Prospect:
    """A prospect whose channels saturate one after another, fitted on two years of weeks that we made.

    ``unit`` is how much of what the table counts in stands for one dollar, and for one unit sold.
    """
    random = np.random.default_rng(seed)
    truth = _curves(names, dated, shape, np.zeros(3 * len(names)), unit)
    spend = {n: unit * random.gamma(3.0, 20.0 * (i + 1) / 3, WEEKS) for i, n in enumerate(names)}
    weeks = pd.date_range("2024-01-01", periods=WEEKS, freq="W-MON")
    frame = pd.DataFrame({"week": weeks, **spend})
    sales = truth.predict(list(spend.values()), weeks.to_numpy() if dated else None)
    frame["Sales"] = sales + unit * random.normal(0, 8, WEEKS)
    units = {n: {"unit": "thousand dollars", "means": f"{n} budget"} for n in names}
    units["Sales"] = {"unit": "thousand units", "means": "units sold"}
    contract = Contract.build(target="Sales", channels=names, date="week" if dated else None, dictionary=units)
    others = [_curves(names, dated, shape, random.normal(0, 0.08, 3 * len(names)), unit) for _ in range(draws)]
    return prospect_of(contract, frame if dated else frame.drop(columns="week"), truth, draws=others)


def placed() -> Prospect:
    """Two markets with those curves; the second spends twice as much as the first, and a third has closed."""
    model = hills(dated=True)
    contract = Contract.build(target="Sales", channels=NAMES, date="week", market="region")
    weeks = pd.date_range("2024-01-01", periods=WEEKS, freq="W-MON")
    random = np.random.default_rng(2)
    parts = []
    for times, name in enumerate((*PLACES, "Gone"), 1):
        rows = WEEKS // 2 if name == "Gone" else WEEKS
        spend = {n: times * random.gamma(3.0, 10.0 * (i + 1), rows) for i, n in enumerate(NAMES)}
        parts.append(pd.DataFrame({"week": weeks[:rows], "region": name, **spend, "Sales": 1.0}))

    def here(curves: Curves) -> Curves:
        levels = {name: PLACES.get(name, 0.0) for name in ("Gone", *PLACES)}
        history = History(WEEKS - 1, (40.0,) * len(NAMES), dict.fromkeys(levels, ()))
        return replace(curves, baseline=replace(curves.baseline, markets=levels), history=history)

    return prospect_of(contract, pd.concat(parts), here(model.curves), draws=[here(d) for d in model.draws])


def _curves(names: tuple[str, ...], dated: bool, shape: Shape, moved: np.ndarray, unit: float = 1.0) -> Curves:
    """The truth, with each logarithm of a number moved."""
    times = np.exp(moved).reshape(-1, 3)
    weights = carry_over_weights("geometric", 0.4, length=5, normalise=True) if dated else (1.0,)
    responses = tuple(
        Response(n, shape, unit * 30.0 * (i + 1) * a, (1.0 + 0.4 * i) * b, unit * 60.0 * (i + 1) * c, weights)
        for i, (n, (a, b, c)) in enumerate(zip(names, times.tolist(), strict=True))
    )
    calendar = Calendar("second", 7 * 86400, "2024-01-01T00:00:00") if dated else None
    season = (unit * 10.0, unit * 5.0) if dated else ()
    base = Baseline(unit * 200.0, unit * 20.0 if dated else 0.0, season, calendar=calendar, span=WEEKS - 1)
    return Curves(base, responses, History(WEEKS - 1, (unit * 40.0,) * len(names), {"": ()}) if dated else None)


def kept(prospect: Prospect | None, folder: Path, closed: bool = True) -> Path:
    """A sealed folder with the prospect; its formula is a line of the same channels."""
    contract = hills().contract if prospect is None else prospect.contract
    terms = tuple(Term(n, 1.0, 0.0, 0.5) for n in contract.features) if closed else ()
    about = {"name": "sales-response", "model_id": "m-0", "title": "LinearRegression"}
    ranges = dict.fromkeys(contract.features, (1.0, 300.0))
    formula = Formula(contract, 200.0 if closed else float("nan"), terms, SPREAD, ranges, about)
    folder.mkdir(parents=True)
    (folder / "formula.json").write_text(formula.to_json(), encoding="utf-8")
    if prospect is not None:
        (folder / "prospect.json").write_text(prospect.to_json(), encoding="utf-8")
    if not closed:
        (folder / "requirements.txt").write_text("", encoding="utf-8")
    request = {"dataframe_split": {"columns": list(contract.features), "data": [[100.0] * len(contract.features)]}}
    answer = [formula.predict([100.0] * len(contract.features))] if closed else [0.0]
    (folder / "replay.json").write_text(json.dumps({"request": request, "predictions": answer}), encoding="utf-8")
    scores = {"basis": "held-out", "rows": 20, "interval": 0.9, "columns": list(contract.features), "scores": {"r2": 0.9}}
    (folder / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    seal(folder)
    return folder


def served_from(folder: Path, version: str = "3") -> Served:
    """That folder as a server holds it."""
    return Served(open_stored(folder), version, "sales-response")


def planning_app(folder: Path, **options: object) -> App:
    """The application that answers from it."""
    return create_app(Holder(served_from(folder), ready=True), Options(**{"log": "errors", **options}))  # type: ignore[arg-type]
