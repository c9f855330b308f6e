"""Do the curves of markets that differ in size grow with them, wherever the model is asked?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from scipy.optimize import approx_fprime

from adresponse.baseline import Baseline
from adresponse.cli import main
from adresponse.curved import Curves, History
from adresponse.curves import SHAPES, Response, Shape, saturate
from adresponse.engines.blocks import Ranges
from adresponse.errors import AdresponseError, ConfigError, ModelError
from adresponse.formula import Formula, Spread
from adresponse.mixing import projection
from adresponse.mixing.fit import MixFit, MixSpec, curves_of, drawn_curves, fit_mix
from adresponse.mixing.projection import Problem
from adresponse.models import formula_of
from adresponse.periods import Calendar
from adresponse.planning.prospect import Prospect, prospect_of
from adresponse.report.mix_tables import sizes_note
from adresponse.rows import check
from adresponse.schema import Contract

Vector = NDArray[np.float64]
HEADS = {"Inn": 1.0, "Main": 4.0, "Rhine": 20.0}
WEEKS, AHEAD, CHANNELS = 90, 8, ("tv", "search")
SPEND, HALF, TOP = np.array([40.0, 20.0]), np.array([50.0, 15.0]), np.array([30.0, 20.0])
SPEC = MixSpec(CHANNELS, date="week", market="region", season=0)
CONTRACT = Contract.build(target="sales", channels=CHANNELS, date="week", market="region")


def panel(*, growing: bool, seed: int = 3) -> tuple[pd.DataFrame, Vector]:
    """Weeks of three markets, and what each channel brought in those fitted; levels differ in any case, the rest if growing."""
    random = np.random.default_rng(seed)
    parts, truth = [], np.zeros(2)
    for region, size in HEADS.items():
        heads = size if growing else 1.0
        spend = random.gamma(1.5, SPEND, (WEEKS + AHEAD, 2))
        brought = TOP * saturate("hill", spend, HALF, 1.0)
        truth += heads * brought[:WEEKS].sum(axis=0)
        sales = heads * (100 + brought.sum(axis=1) + random.normal(0, 4, WEEKS + AHEAD)) + 100 * (size - heads)
        rows = pd.DataFrame(spend * heads, columns=list(CHANNELS)).assign(region=region, sales=sales)
        parts.append(rows.assign(week=pd.date_range("2024-01-01", periods=len(rows), freq="7D")))
    return pd.concat(parts, ignore_index=True), truth


def parts(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows to fit, and those after them."""
    later = frame["week"] >= frame["week"].min() + pd.Timedelta(weeks=WEEKS)
    return frame[~later], frame[later]


@pytest.fixture(scope="module")
def grown() -> tuple[pd.DataFrame, Vector, MixFit]:
    frame, truth = panel(growing=True)
    rows, _ = parts(frame)
    return frame, truth, fit_mix(rows, rows["sales"], SPEC)


def asked(curves: Curves, frame: pd.DataFrame) -> Vector:
    spend = [frame[c].to_numpy() for c in CHANNELS]
    return curves.predict(spend, frame["week"].to_numpy(), frame["region"].to_numpy(dtype=str))


# --- which sizes ------------------------------------------------------------------------------------------------------


def test_where_all_grows_with_a_market_its_size_is_seen_and_totals_come_near(
    grown: tuple[pd.DataFrame, Vector, MixFit],
) -> None:
    frame, truth, fit = grown
    assert fit.spec.sizes == "sales"
    mean = np.mean(list(HEADS.values()))
    # per head all markets sell alike but for chance, so their sales are in the ratios of their heads
    assert fit.model.sizes_ == pytest.approx({m: heads / mean for m, heads in HEADS.items()}, rel=0.03)
    rows, _ = parts(frame)
    alike = fit_mix(rows, rows["sales"], replace(SPEC, sizes="equal"))
    off, off_alike = (np.abs([a.total / t - 1 for a, t in zip(f.answers, truth, strict=True)]).mean() for f in (fit, alike))
    assert off < 0.15 < off_alike  # one curve of spend as it is for markets 20 times as large cannot bend where each does


def test_where_levels_alone_differ_markets_count_as_equal() -> None:
    frame, _ = panel(growing=False)
    rows, _ = parts(frame)
    fit = fit_mix(rows, rows["sales"], SPEC)
    alike = fit_mix(rows, rows["sales"], replace(SPEC, sizes="equal"))
    assert fit.spec.sizes == "equal"
    assert not fit.model.sizes_
    assert fit.answers == alike.answers


def test_a_market_that_sells_nothing_has_no_size_by_its_sales() -> None:
    frame, _ = panel(growing=True)
    rows, _ = parts(frame.assign(sales=np.where(frame["region"] == "Inn", 0.0, frame["sales"])))
    assert fit_mix(rows, rows["sales"], SPEC).spec.sizes == "equal"
    with pytest.raises(ModelError, match="Market 'Inn' has the size 0, which must be above 0"):
        fit_mix(rows, rows["sales"], replace(SPEC, sizes="sales"))


def test_sizes_given_are_taken_and_only_their_ratios_count() -> None:
    frame, _ = panel(growing=True)
    rows, _ = parts(frame)
    fits = [fit_mix(rows, rows["sales"], replace(SPEC, sizes={m: k * h for m, h in HEADS.items()})) for k in (1.0, 8.0)]
    assert fits[0].model.sizes_ == fits[1].model.sizes_  # a power of two keeps every bit of the ratios
    assert fits[0].answers == fits[1].answers


@pytest.mark.parametrize(
    ("given", "tolerance"),
    # without a curve it is the same least squares; a prior is of shares, in whose mean a large market counts for more
    [({"shape": "linear", "carry_over": "none"}, 1e-10), ({}, 0.02)],
)
def test_it_is_the_fit_of_figures_per_head(given: dict[str, Any], tolerance: float) -> None:
    frame, _ = panel(growing=True)
    rows, _ = parts(frame)
    mean = np.mean(list(HEADS.values()))
    size = rows["region"].map(HEADS) / mean
    spec = replace(SPEC, sizes=HEADS, **given)
    per_head = rows.assign(**{c: rows[c] / size for c in (*CHANNELS, "sales")})
    sized, headed = fit_mix(rows, rows["sales"], spec), fit_mix(per_head, per_head["sales"], replace(spec, sizes="equal"))
    assert sized.fitted == pytest.approx(headed.fitted * size, rel=tolerance)
    assert [r.coefficient for r in sized.responses] == pytest.approx([r.coefficient for r in headed.responses], rel=tolerance)


def test_an_experiment_holds_for_what_all_markets_spent_together() -> None:
    frame, _ = panel(growing=True)
    rows, _ = parts(frame)
    fit = fit_mix(rows, rows["sales"], replace(SPEC, sizes=HEADS, known={"tv": (0.3, 1e-6)}))
    assert fit.answers[0].roi == pytest.approx(0.3, abs=1e-4)  # the experiment is a hundred thousand times as sure as the rows


REFUSED: list[tuple[dict[str, Any], type[AdresponseError], str]] = [
    ({"sizes": {"Inn": 1.0, "Main": 4.0}}, ModelError, "Market 'Rhine' has no size; give one for each market"),
    ({"sizes": HEADS | {"Main": -4.0}}, ModelError, "Market 'Main' has the size -4, which must be above 0"),
    ({"sizes": HEADS | {"Main": float("inf")}}, ModelError, "Market 'Main' has the size inf"),
    ({"sizes": "sales", "market": None}, ConfigError, "no column is named as the market"),
]


@pytest.mark.parametrize(("given", "kind", "sentence"), REFUSED)
def test_sizes_that_cannot_be_are_refused(given: dict[str, Any], kind: type[AdresponseError], sentence: str) -> None:
    rows, _ = parts(panel(growing=True)[0])
    with pytest.raises(kind, match=sentence):
        fit_mix(rows, rows["sales"], replace(SPEC, **given))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_holds_where_rows_count_differently(shape: Shape) -> None:
    random = np.random.default_rng(5)
    lags, counts = random.gamma(1.0, 1.0, (2, 40, 4)), random.uniform(0.2, 3.0, 40)
    sales, counts = random.normal(1, 0.1, 40), counts / counts.mean()
    problem = Problem(lags, sales, np.ones((40, 1)), shape, "geometric", (1, 1), counts=counts)
    theta = random.normal(0, 0.5, 2 * len(problem.parameters))
    by_differences = approx_fprime(theta, lambda t: projection.objective(t, problem, 0.01)[0], 1e-7)
    # they are off by their step times the second derivative, some hundreds here
    assert projection.objective(theta, problem, 0.01)[1] == pytest.approx(by_differences, rel=1e-4, abs=1e-3)


# --- the numbers ------------------------------------------------------------------------------------------------------


def test_a_market_of_half_the_size_by_hand() -> None:
    calendar = Calendar.of(np.array(["2024-01-01", "2024-01-08"], dtype="datetime64[D]"))
    base = Baseline(100.0, markets={"A": 0.0, "B": 10.0}, calendar=calendar)
    history = History(1, (8.0,), {"A": ((4.0,),), "B": ((6.0,),)})
    curves = Curves(base, (Response("tv", "hill", 5.0, 1.0, 30.0, (0.75, 0.25)),), history, {"A": 1.5, "B": 0.5})
    found = curves.predict([np.array([3.0, 3.0])], np.array(["2024-01-15"] * 2, dtype="datetime64[D]"), np.array(["A", "B"]))
    # A: 3 / 1.5 = 2 at work for three quarters, 4 for one: 2.5, a third of the way; B: 3 / 0.5 = 6 and 6: 6, 6 of 11
    assert found == pytest.approx([1.5 * (100 + 30 * 2.5 / 7.5), 0.5 * (110 + 30 * 6 / 11)], rel=1e-15)
    assert Curves.from_dict(json.loads(json.dumps(curves.to_dict()))) == curves


@pytest.mark.parametrize("shape", SHAPES)
def test_a_larger_market_brings_as_much_more_at_as_much_more_spend(shape: Shape) -> None:
    response = Response("tv", shape, 5.0, 0.8, 30.0, (0.75, 0.25))
    spend = np.array([0.5, 3.0, 40.0])
    assert response.of_size(3.0).steady(3.0 * spend) == pytest.approx(3.0 * response.steady(spend), rel=1e-14)
    assert response.of_size(3.0).marginal(3.0 * spend) == pytest.approx(response.marginal(spend), rel=1e-14)


def test_contributions_add_up_exactly_and_the_numbers_alone_predict(grown: tuple[pd.DataFrame, Vector, MixFit]) -> None:
    frame, _, fit = grown
    rows, later = parts(frame)
    total = fit.base.copy()
    for column in fit.contributions.to_numpy().T:
        total = total + column
    assert (total == fit.fitted).all()
    assert [a.total for a in fit.answers] == pytest.approx(fit.contributions.sum().tolist(), rel=1e-12)
    curves = curves_of(fit.model)
    for some in (rows, later):
        # two orders of the same sums
        assert asked(curves, some) == pytest.approx(fit.model.predict(some), rel=1e-12)
    assert fit.model.predict(rows) == pytest.approx(fit.fitted, rel=1e-12)


def test_the_report_says_how_large_each_market_is(grown: tuple[pd.DataFrame, Vector, MixFit]) -> None:
    fit = grown[2]
    assert fit.shape_found["sizes"] == fit.model.sizes_
    # heads of 20, 4 and 1 over their mean, 8.33
    assert sizes_note(fit).startswith(
        "Markets differ in size, by their mean sales: Rhine 2.4, Main 0.48 and Inn 0.12; 1 is the"
    )
    rows, _ = parts(panel(growing=False)[0])
    assert sizes_note(fit_mix(rows, rows["sales"], replace(SPEC, sizes="equal", shape="linear"))) == ""


def test_draws_are_models_whose_totals_are_theirs(grown: tuple[pd.DataFrame, Vector, MixFit]) -> None:
    frame, _, fit = grown
    rows, _ = parts(frame)
    spend, places = [rows[c].to_numpy() for c in CHANNELS], rows["region"].to_numpy(dtype=str)
    history = curves_of(fit.model).history
    for drawn, totals in list(zip(drawn_curves(fit), fit.draws.totals, strict=True))[:5]:
        _, added = replace(drawn, history=history).parts(spend, rows["week"].to_numpy(), places)
        assert [part.sum() for part in added] == pytest.approx(totals, rel=1e-9)


# --- the range fitted -------------------------------------------------------------------------------------------------


def test_the_range_fitted_is_that_of_a_markets_size(grown: tuple[pd.DataFrame, Vector, MixFit]) -> None:
    frame, _, fit = grown
    rows, _ = parts(frame)
    spread = Spread(1.0, 0.0, 1.0, (1.0, 2.0))
    formula = Formula.from_json(formula_of(fit.model, rows, CONTRACT, spread, {}).to_json())
    columns = check(formula.reads, {n: rows[n] for n in formula.inputs})
    assert formula.beyond(columns) == []  # the bits of the rows fitted: none is beyond itself

    small = (rows["region"] == "Inn").to_numpy()
    per_size = (rows["tv"] / rows["region"].map(fit.model.sizes_)).max()
    highest = per_size * fit.model.sizes_["Inn"]
    assert highest < rows["tv"].max()  # what the largest spends says nothing of the smallest
    columns[0] = np.where(small, 1.5 * highest, columns[0])
    ranges = Ranges(formula)
    ranges.add(columns)
    assert {name: found.rows for name, found in ranges.beyond.items()} == {"tv": small.sum()}
    (found,) = formula.beyond(columns)
    assert (found.column, found.given) == ("tv", f"{1.5 * highest:g} to {1.5 * highest:g} in Inn")
    assert found.bounds.startswith("the range fitted for the size of Inn, ")
    assert float(found.bounds.rsplit(" to ")[-1]) == pytest.approx(highest, rel=1e-5)  # shown with six digits


# --- plans ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prospect(grown: tuple[pd.DataFrame, Vector, MixFit]) -> Prospect:
    frame, _, fit = grown
    rows, _ = parts(frame)
    made = prospect_of(CONTRACT, rows, curves_of(fit.model), draws=drawn_curves(fit))
    return Prospect.from_json(made.to_json())


@pytest.mark.parametrize("region", HEADS)
def test_a_plan_of_a_market_brings_what_the_model_predicts(
    grown: tuple[pd.DataFrame, Vector, MixFit], prospect: Prospect, region: str
) -> None:
    fit = grown[2]
    outlook = prospect.outlook(6, region)
    spend = {c: 1.2 * outlook.today[c] for c in CHANNELS}
    asked_rows = pd.DataFrame({"week": pd.to_datetime(prospect.dates(6)), "region": region, **spend})
    expected = asked(curves_of(fit.model), asked_rows).sum()
    assert outlook.within.all_sales([6 * spend[c] for c in CHANNELS]).value == pytest.approx(expected, rel=1e-12)
    assert f"at its size, {fit.model.sizes_[region]:.3g} times that of an average one" in outlook.of_markets[0]


def test_the_average_plan_is_that_of_markets_which_spend_by_their_size(
    grown: tuple[pd.DataFrame, Vector, MixFit], prospect: Prospect
) -> None:
    fit = grown[2]
    # what was spent last differs from market to market, by more than size; a year later none of it is at work
    average = prospect.outlook(60)
    base = float(np.mean([np.sum(prospect.outlook(60, m).base) for m in HEADS]))
    assert float(np.sum(average.base)) == pytest.approx(base, rel=1e-12)
    for i, response in enumerate(average.responses):
        each = [prospect.outlook(60, m).responses[i].steady(10.0 * fit.model.sizes_[m]) for m in HEADS]
        assert response.steady(10.0) == pytest.approx(np.mean(each), rel=1e-12)


def test_the_range_seen_and_the_rows_drawn_grow_with_a_market(
    grown: tuple[pd.DataFrame, Vector, MixFit], prospect: Prospect
) -> None:
    frame, _, fit = grown
    rows, _ = parts(frame)
    for channel in CHANNELS:
        per_size = rows[channel] / rows["region"].map(fit.model.sizes_)
        for region in HEADS:
            seen = prospect.outlook(1, region).seen[channel]
            assert seen == pytest.approx(np.array([per_size.min(), per_size.max()]) * fit.model.sizes_[region], rel=1e-12)
        assert max(x for x, _ in prospect.points[channel]) <= per_size.max()


# --- the whole study --------------------------------------------------------------------------------------------------


def said(*words: str) -> dict[str, Any]:
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_markets_of_other_sizes_go_through_the_whole_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    rows, later = parts(panel(growing=True)[0])
    rows.to_csv("spend.csv", index=False)
    later.to_csv("later.csv", index=False)
    roles = ["--target", "sales", "--channels", ",".join(CHANNELS), "--date", "week", "--market", "region"]
    made = said("run", "spend.csv", *roles, "--shape", "hill", "--carry-over", "none")  # its own endpoint answers as it does
    sizes = made["shape"]["sizes"]
    assert sizes["Rhine"] / sizes["Inn"] == pytest.approx(20, rel=0.05)  # that of their mean sales
    assert made["status"] == "VALIDATED"
    assert "M002" not in {f["code"] for f in made["findings"]}  # the noise grows with the market, as all else does

    plan = said("plan", "--market", "Inn", "--horizon", "4", "--total", "600")
    for channel in CHANNELS:
        highest = (rows[channel] / rows["region"].map(sizes)).max() * sizes["Inn"]
        assert 0 < plan["spend"][channel] <= 4 * highest
    beyond = later.assign(tv=np.where(later["region"] == "Inn", rows["tv"].max(), later["tv"]))
    beyond.drop(columns="sales").to_csv("asked.csv", index=False)
    scored = said("predict", "asked.csv", "-o", "out.csv")
    assert scored["beyond"]["tv"]["rows"] >= AHEAD  # each of Inn; none, if the range were one for all
    assert said("watch", "later.csv")["verdict"] == "keep"
