"""A weekly table of several channels goes through the whole study with response curves, and its plan is kept and found."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import openpyxl
import pandas as pd
import pytest
from click.testing import CliRunner
from matplotlib.axes import Axes

import adresponse
from adresponse import report
from adresponse.cli import main
from adresponse.errors import ConfigError, ModelError
from adresponse.mixing.advice import advise
from adresponse.mixing.shapes import ShapeScore
from adresponse.planning.split import best_plan
from adresponse.planning.wishes import Wish
from adresponse.report import Tracked
from adresponse.study import Study
from adresponse.words import number

CHANNELS = ("tv ads, north", "search (paid)", "print")
TRUTH = {"tv ads, north": 60.0, "search (paid)": 40.0, "print": 20.0}


def weekly(weeks: int = 120) -> pd.DataFrame:
    """Log curves without carry-over, so that what each channel brings is known by hand."""
    rng = np.random.default_rng(11)
    spend = pd.DataFrame({name: np.round(rng.gamma(2.0, 20.0, weeks), 1) for name in CHANNELS})
    brought = sum(TRUTH[name] * np.log1p(spend[name] / 30.0) for name in CHANNELS)
    week = pd.date_range("2022-01-03", periods=weeks, freq="W-MON")
    sales = 400 + 20 * np.sin(2 * np.pi * np.arange(weeks) / 52.18) + brought + rng.normal(0, 8, weeks)
    return pd.DataFrame({"week of": week.strftime("%Y-%m-%d"), **spend, "revenue €": np.round(sales, 2)})


@cache
def logarithmic() -> Study:
    """Its study with the curves that it was made with; several look at it."""
    return adresponse.fit(weekly(), target="revenue €", channels=CHANNELS, date="week of", shape="log", carry_over="none")


@cache
def undated() -> Study:
    """A study of curves over rows without a date."""
    frame = adresponse.read_builtin("advertising").frame
    return adresponse.fit(frame, target="Sales", channels=["TV", "Radio", "Newspaper"], shape="log")


@dataclass(frozen=True)
class Made:
    folder: Path
    printed: dict[str, Any]
    store: mlflow.MlflowClient


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, made_store: Path) -> Any:
    folder = tmp_path_factory.mktemp("a weekly table")
    shutil.copy(made_store, folder / "mlflow.db")
    weekly().to_csv(folder / "spend by week.csv", index=False)
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("MLFLOW_TRACKING_URI", uri)
        # a name with a comma is given in a config file
        config = {"target": "revenue €", "channels": list(CHANNELS), "date": "week of", "shape": "log", "carry_over": "none"}
        (folder / "adresponse.yaml").write_text(json.dumps(config), encoding="utf-8")
        done = CliRunner().invoke(main, ["run", "spend by week.csv", "--config", "adresponse.yaml", "--json"])
        assert done.exit_code == 0, done.output
        yield Made(folder, json.loads(done.stdout), mlflow.MlflowClient(uri))


def command(*words: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(main, [*words, "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_run_says_what_each_channel_brought(made: Made) -> None:
    found = made.printed["contributions"]
    assert set(found) == set(CHANNELS)
    fitted = weekly().iloc[:96]  # a fifth, the last 24 weeks, is held out
    for name in CHANNELS:
        true = float((TRUTH[name] * np.log1p(fitted[name] / 30.0)).sum())
        assert found[name]["low"] <= true <= found[name]["high"]  # seeded; each holds in nine of ten tables
        assert found[name]["roi"] == pytest.approx(found[name]["total"] / fitted[name].sum(), rel=1e-9)
    assert made.printed["shape"]["shape"] == "log"
    assert made.printed["shape"]["carry_over"] == "none"
    assert made.printed["verification"]["passed"]
    assert made.printed["coefficients"] == []


def test_contributions_and_base_add_up_to_what_is_fitted(made: Made) -> None:
    path = made.store.download_artifacts(made.printed["run_id"], "tables/contributions.csv", str(made.folder))
    table = pd.read_csv(path)
    assert len(table) == 96
    parts = table[["base", *(f"contribution_{name}" for name in CHANNELS)]].sum(axis=1)
    np.testing.assert_allclose(parts, table["fitted"], rtol=1e-12)


def test_the_files_and_metrics_say_the_same(made: Made) -> None:
    run = made.store.get_run(made.printed["run_id"])
    assert run.data.metrics["roi_print"] == pytest.approx(made.printed["contributions"]["print"]["roi"])
    there = {f.path for f in made.store.list_artifacts(made.printed["run_id"])}
    assert {"contributions.json", "shape.json", "plan.json"} <= there


def test_a_plan_is_found_scored_and_written(made: Made) -> None:
    code, plan = command("plan", "--total", "900", "--horizon", "8", "--bounds", "print=100:200", "--out", "the plan.xlsx")
    assert code == 0
    for key in ("spend", "total", "sales", "low", "high", "gain", "gain_low", "gain_high", "binding", "extrapolates"):
        assert key in plan
    assert sum(plan["spend"].values()) == pytest.approx(900, rel=1e-12)
    assert 100 <= plan["spend"]["print"] <= 200
    assert len(plan["dates"]) == 8
    book = openpyxl.load_workbook(made.folder / "the plan.xlsx")
    assert book.sheetnames[0] == "Plan"
    mine = pd.DataFrame({name: [amount] for name, amount in plan["spend"].items()})
    mine.to_csv("my plan.csv", index=False)
    code, scored = command("plan", "--score", "my plan.csv", "--horizon", "8")
    assert code == 0
    assert scored["sales"] == pytest.approx(plan["sales"], rel=1e-9)


def test_a_workbook_that_cannot_be_written_leaves_the_old_one(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Path("before.xlsx")
    there.write_bytes(b"as it was")

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    code, told = command("plan", "--total", "900", "--out", "before.xlsx")
    assert code == 2
    said = "before.xlsx cannot be written (No space left on device); what was there is as it was."
    assert told["error"]["message"].endswith(said)
    assert there.read_bytes() == b"as it was"
    assert [p.name for p in Path.cwd().glob(".*")] == []


def test_one_dated_row_is_the_plan_of_the_next_period_alone(made: Made) -> None:
    """The 120 weeks end with that of 2024-04-15; the same amounts without their date are for the whole horizon."""
    row = pd.DataFrame({"week of": ["2024-04-22"], **{name: [40.0] for name in CHANNELS}})
    row.to_csv("next week.csv", index=False)
    row.drop(columns="week of").to_csv("undated.csv", index=False)
    code, told = command("plan", "--score", "next week.csv")
    assert (code, told["periods"], told["total"]) == (0, 1, 120)
    assert [day[:10] for day in told["dates"]] == ["2024-04-22"]
    assert told["sales"] == command("plan", "--score", "undated.csv", "--horizon", "1")[1]["sales"]
    assert command("plan", "--score", "next week.csv", "--horizon", "1")[1]["sales"] == told["sales"]
    assert command("plan", "--score", "undated.csv")[1]["periods"] == 13
    code, told = command("plan", "--score", "next week.csv", "--horizon", "13")
    assert code == 2
    assert "horizon=13 does not go with a plan of one row whose date is that of the next period" in told["error"]["message"]
    row.assign(**{"week of": "1999-01-04"}).to_csv("long ago.csv", index=False)
    code, told = command("plan", "--score", "long ago.csv")
    assert code == 2
    assert "row 1 is 1999-01-04, where 2024-04-22 is due" in told["error"]["message"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--target-sales", "1e9"), "cannot be reached"),
        (("--bounds", "radio=1:2"), "radio"),
        (("--score", "nothing.csv"), "not there"),
        (("--score", "new plan.csv", "--total", "0"), "A plan is scored as it is, so total cannot be asked for with it"),
        (("--score", "new plan.csv", "--margin", "2", "--lock", "print"), "so locks cannot be asked for with it"),
        (("--out", "plan.csv"), "ends in .xlsx"),
        (("--horizon", "900"), "cannot be planned"),
        (("--market", "North"), "the model knows no markets"),
    ],
)
def test_a_wish_that_cannot_be_met_is_one_sentence(made: Made, words: tuple[str, ...], said: str) -> None:
    code, told = command("plan", *words)
    assert code == 2
    assert said in told["error"]["message"]
    assert "\n" not in told["error"]["message"]


def test_the_report_shows_curves_returns_and_the_plan(made: Made) -> None:
    html = (made.folder / "adresponse-output" / f"{made.printed['model_name']}-report.html").read_text("utf-8")
    for text in ("What each channel brought", "The curves in numbers", "split best", "associations"):
        assert text in html
    assert 'aria-label="What revenue € is made of"' in html


def test_the_model_is_asked_with_dates_everywhere(made: Made) -> None:
    frame = weekly(130).iloc[120:].drop(columns="revenue €")
    frame.to_csv("new weeks.csv", index=False)
    code, _ = command("predict", "new weeks.csv", "-o", "scored.csv", "--interval", "0.9")
    assert code == 0
    scored = pd.read_csv("scored.csv")
    asked = adresponse.load().predict(frame, {"interval": 0.9, "contributions": True})
    np.testing.assert_array_equal(scored["prediction"], asked["prediction"])
    parts = asked[["base", *(f"contribution_{name}" for name in CHANNELS)]].sum(axis=1)
    np.testing.assert_allclose(parts, asked["prediction"], rtol=1e-12)


def test_new_weeks_are_watched_with_their_dates(made: Made) -> None:
    weekly(150).iloc[120:].to_csv("newer.csv", index=False)
    done = CliRunner().invoke(main, ["watch", "newer.csv", "--json"])
    assert done.exit_code in (0, 10), done.output  # the same relation; a false alarm is allowed to be one
    told = json.loads(done.stdout)
    assert told["watch"]["sizes"]["with_sales"] == 30


def test_curves_need_no_dates() -> None:
    study = undated()
    assert study.mix is not None
    assert study.mix.r2 > 0.89  # the straight line of ISLR has 0.897
    assert any(f.code == "M008" and "TV and Radio" in f.message for f in study.findings)
    page = report.page(study, report.figures(study), Tracked("r", "1", "e", "m", "s", "2026-01-01T00:00:00Z", ()))
    assert "Response curve of TV" in page


def test_the_ring_on_a_curve_is_the_plans_today(monkeypatch: pytest.MonkeyPatch) -> None:
    study = undated()
    assert study.plan is not None
    rings = []

    def watched(self: Axes, *given: Any, **how: Any) -> Any:
        if how.get("label") == "now":
            rings.append(given[0][0])
        return plot(self, *given, **how)

    plot = Axes.plot
    monkeypatch.setattr(Axes, "plot", watched)
    report.figures(study)
    assert rings == pytest.approx([c.today for c in study.plan.channels])


def test_the_report_shows_why_a_curve_was_chosen() -> None:
    study = adresponse.fit(weekly(), target="revenue €", channels=CHANNELS, date="week of", shape="auto", carry_over="none")
    assert study.mix is not None
    compared = study.mix.shape_found["compared"]
    (chosen,) = (c for c in compared if c["chosen"])
    assert chosen["behind"] <= 2
    assert min(c["behind"] for c in compared) == 0
    page = report.page(study, report.figures(study), Tracked("r", "1", "e", "m", "s", "2026-01-01T00:00:00Z", ()))
    head = page[page.index("Curves compared over the same folds") :]
    assert "Behind on all rows (AIC)" in head
    best = min((c for c in compared if c["behind"] <= 2), key=lambda c: c["rmse"])
    assert f"Squared error against {best['shape']}" in head
    assert f"that of {best['shape']}, the best over the folds of those that all rows together support" in head
    other = next(c for c in compared if c["shape"] == "linear")
    more = 100 * ((other["rmse"] / best["rmse"]) ** 2 - 1)
    assert other is not best
    assert f">{more:+.1f} %<".replace("-", "\N{MINUS SIGN}") in head
    assert "divided by the most of it in the rows fitted" in page
    assert "The line is one of the candidates." in page


def test_the_carry_over_in_the_report_is_that_of_the_curves_beside_it() -> None:
    study = adresponse.fit(weekly(), target="revenue €", channels=CHANNELS, date="week of", shape="hill")
    assert study.mix is not None
    page = report.page(study, {}, Tracked("r", "1", "e", "m", "s", "2026-01-01T00:00:00Z", ()))
    text = re.sub(r"(<[^>]+>|\s)+", " ", page[page.index("The curves in numbers") :])
    for r in study.mix.responses:
        decay = number(r.weights[1] / r.weights[0], 3)  # geometric
        assert re.search(rf"{re.escape(r.channel)} {re.escape(decay)}( \(not told\))? {re.escape(number(r.half, 3))}", text)


def test_a_curve_that_all_rows_do_not_support_is_shown_with_less_error_than_the_best() -> None:
    scores = (
        ShapeScore("linear", 96.0, (96 / 80) ** 2 - 1, 0.3, behind=53.0),
        ShapeScore("log", 72.0, (72 / 80) ** 2 - 1, 0.16, behind=8.2),
        ShapeScore("hill", 80.0, 0.0, 0.0, chosen=True),
    )
    study = logarithmic()
    assert study.mix is not None
    shown = replace(study, mix=replace(study.mix, scores=scores))
    page = report.page(shown, {}, Tracked("r", "1", "e", "m", "s", "2026-01-01T00:00:00Z", ()))
    text = re.sub(r"(<[^>]+>|\s)+", " ", page[page.index("Curves compared over the same folds") :])
    assert "Squared error against hill" in text
    assert "linear 96 +44.0 % 30.0 % 53" in text  # 1.2 squared
    assert "log 72 −19.0 % 16.0 % 8.2" in text  # 0.9 squared
    assert "hill 80 – – 0" in text
    assert "Repeated cross-validation" not in page  # folds are tried once where there are curves


def lasting() -> pd.DataFrame:
    """The weekly table with noise of which 0.8 goes on into the next week."""
    frame, rng = weekly(), np.random.default_rng(2)
    errors = np.zeros(len(frame))
    for i in range(1, len(errors)):
        errors[i] = 0.8 * errors[i - 1] + rng.normal(0, 20)
    frame["revenue €"] += errors
    return frame


def test_one_channel_is_not_told_of_a_split() -> None:
    study = adresponse.fit(weekly(), target="revenue €", channels=CHANNELS[:1], date="week of", shape="log", carry_over="none")
    assert study.plan is not None
    (only,) = study.plan.channels
    said = study.recommendation.headline
    assert said.startswith(f"With one channel there is nothing to split: today's spend on {CHANNELS[0]} would go with ")
    assert f"one more unit with {only.marginal:.3g} more (90 % interval {only.marginal_low:.4g} to " in said
    assert "may be nothing" not in said


def test_a_best_split_that_is_todays_is_not_called_a_gain() -> None:
    study = logarithmic()
    prospect = study.prospect()
    assert study.mix is not None
    assert prospect is not None
    outlook = prospect.outlook()
    kept = best_plan(outlook, Wish(locks=CHANNELS))
    told = advise(study.table, study.mix, kept, outlook, study.evaluation, study.gate, study.leaderboard)
    assert told.headline.startswith("Today's split is the best that the curves find within what was seen: ")


def test_a_saturation_point_of_an_average_market_is_said_to_be_one() -> None:
    asked = {"target": "revenue €", "channels": CHANNELS, "date": "week of", "shape": "logistic", "carry_over": "none"}
    study = adresponse.fit(weekly(), **asked)
    prospect = study.prospect()
    assert study.mix is not None
    assert study.plan is not None
    assert prospect is not None

    def points(markets: int) -> list[str]:
        outlook = replace(prospect.outlook(), markets=markets)
        told = advise(study.table, study.mix, study.plan, outlook, study.evaluation, study.gate, study.leaderboard)
        return [s for s in told.sentences if "less than a tenth" in s]

    assert points(0)
    assert all(s.endswith(" (over 13 periods).") for s in points(0))
    assert all(s.endswith(" (over 13 periods in an average market).") for s in points(3))


def test_intervals_of_curves_are_not_called_too_narrow_and_wider_at_once() -> None:
    study = adresponse.fit(lasting(), target="revenue €", channels=CHANNELS, date="week of", shape="log", carry_over="none")
    codes = {f.code for f in study.findings}
    assert "M010" in codes
    assert "M003" not in codes
    assert "narrow" not in study.recommendation.headline
    page = report.page(study, {}, Tracked("r", "1", "e", "m", "s", "2026-01-01T00:00:00Z", ()))
    assert "so the intervals of the channels are wider" in page
    assert "too narrow" not in page
    assert "where the line lies" not in page


def test_a_bend_that_curves_leave_is_not_called_one_of_a_line() -> None:
    asked = {"target": "revenue €", "channels": CHANNELS, "date": "week of", "shape": "log", "carry_over": "none"}
    study = adresponse.fit(weekly(), **asked, lifts={"tv ads, north": (8.0, 0.01)})  # the table says about 1.2
    (found,) = (f for f in study.findings if f.code == "M001")
    assert "The curves leave a bend" in found.message
    assert "line" not in f"{found.message} {found.advice}"


@pytest.mark.parametrize(
    ("lifts", "said"),
    [
        (["print"], "write channel=return:error"),
        (["print=a:b"], "valid number"),
        (["prnt=1:0.1"], "The lift of 'prnt' is of no channel. Did you mean 'print'?"),
        (["print=1:0"], "The lift of print is 1 with a standard error of 0; give finite numbers, the error above 0"),
        (["print=1:0.1", "print=2:0.1"], "'print' is given twice"),
    ],
)
def test_an_experiment_that_cannot_be_read_is_refused(lifts: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        adresponse.fit(weekly(), target="revenue €", channels=CHANNELS, date="week of", shape="log", lifts=lifts)


def test_a_known_lift_draws_the_channel_to_it(made: Made) -> None:
    before = made.printed["contributions"]["print"]
    wanted = before["roi"] / 2
    asked = {"target": "revenue €", "channels": CHANNELS, "date": "week of", "shape": "log", "carry_over": "none"}
    study = adresponse.fit(weekly(), **asked, lifts={"print": (wanted, wanted / 100)})
    assert study.mix is not None
    found = study.mix.contributions_by_channel["print"]
    assert found["roi"] == pytest.approx(wanted, rel=0.05)  # an error of 1 % outweighs the table
    assert found["roi_high"] - found["roi_low"] < before["roi_high"] - before["roi_low"]
    assert any("experiments found" in sentence for sentence in study.recommendation.limits)
    assert {"M012"}.isdisjoint(f.code for f in study.findings)
    assert "periods with larger budgets" in study.recommendation.limits[0]  # one market, week by week


@pytest.mark.parametrize(("setting", "value"), [("carry_over", "geometric"), ("season", 2)])
def test_what_belongs_to_curves_is_refused_without_them(setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{setting}=.* belongs to response curves"):
        adresponse.fit(**{setting: value})


def test_the_weeks_after_the_table_follow_on_all_of_it_in_predictions_as_in_plans() -> None:
    study = adresponse.fit(weekly(), target="revenue €", channels=CHANNELS, date="week of", shape="log")
    assert study.plan is not None
    weeks = study.plan.periods
    after = pd.date_range(pd.to_datetime(weekly()["week of"]).max(), periods=weeks + 1, freq="W-MON")[1:]
    rows = pd.DataFrame({"week of": after, **{name: study.plan.spend[name] / weeks for name in CHANNELS}})
    assert study.estimator.predict(rows).sum() == pytest.approx(study.plan.sales, rel=1e-9)


def test_an_experiment_that_the_table_speaks_against_is_named() -> None:
    asked = {"target": "revenue €", "channels": CHANNELS, "date": "week of", "shape": "log", "carry_over": "none"}
    study = adresponse.fit(weekly(), **asked, lifts={"print": (500.0, 5.0)})  # cents, where the table has euros
    assert "The experiment on print found 500" in next(f for f in study.findings if f.code == "M012").message


def test_sales_below_zero_are_said_to_mislead() -> None:
    table = weekly(60).assign(**{"revenue €": lambda f: f["revenue €"] - 600})
    study = adresponse.fit(table, target="revenue €", channels=CHANNELS, date="week of", shape="log", carry_over="none")
    assert "revenue € below 0" in next(f for f in study.findings if f.code == "M011").message
    assert not any("-" in s.split(" of what was sold")[0] for s in study.recommendation.sentences)


def test_carry_over_needs_a_date() -> None:
    with pytest.raises(ModelError, match="needs a date"):
        adresponse.fit(shape="log", carry_over="geometric")
