"""A registered model while data comes in: what is watched, taken in, fitted anew, promoted and rolled back."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from adresponse import deployment, lifecycle, mutex, publishing, registry, standing, track, tune, upkeep
from adresponse.cli import main
from adresponse.errors import ConfigError, DifferenceError, ModelError, StoreError, TableError
from adresponse.growing import Kept
from adresponse.mutex import process_tags
from adresponse.record import ROWS_FILE
from adresponse.settings import Settings
from adresponse.store import Store
from adresponse.upkeep import refreshed
from upkeep_example import NOW, QUICK, TABLES, arrived, dump, happened, panel, place, spend, table, weekly


@pytest.fixture(autouse=True)
def _no_figures_and_one_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures and the grid take most of the time of a challenger and of a watch, and have tests of their own."""
    monkeypatch.setattr(lifecycle, "drawn", lambda study: {})
    for figures in ("_distributions", "_lines"):
        monkeypatch.setattr(import_module("adresponse.report.watch_page"), figures, lambda watch: [])
    monkeypatch.setattr(tune, "GRID", {key: values[:1] for key, values in tune.GRID.items()})


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store in a folder with blanks, in which version 1 of ``sales-response`` is champion."""
    return at("spend", tmp_path, monkeypatch)


def at(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    folder = tmp_path / "my tables"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return place(kind, folder)


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def told(*arguments: str) -> tuple[int, Any]:
    """Exit code and what the command prints as strict JSON."""
    found = command(*arguments, "--json")
    assert found.stdout, (found.stderr, found.exception)
    value = json.loads(found.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert not [text for text in texts(value) if re.fullmatch(r"-?\d+\.\d+(e-?\d+)?|True|False|nan", text)]
    return found.exit_code, value


def texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts(part)


def rows_of(opened: Store, version: str, name: str = "sales-response") -> Kept:
    """The rows that a version stands on, as stored."""
    run_id = opened.call("get_model_version", name, version).run_id
    with deployment.opened(f"models:/{name}/{version}") as found:
        return Kept.read(track.file_of(opened, run_id, ROWS_FILE), found.stored.formula.contract)


def sides(kept: Kept) -> dict[tuple[Any, ...], bool]:
    """Which rows are held out."""
    return dict(zip(map(tuple, kept.frame.to_numpy().tolist()), kept.held_out.tolist(), strict=True))


def as_rows(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, frame.to_numpy().tolist()))


# --- watch


def test_rows_of_which_nothing_changed_keep_the_champion(opened: Store) -> None:
    code, found = told("watch", arrived(spend(60, 1)))
    assert (code, found["verdict"], found["exit_code"], found["repeated"]) == (0, "keep", 0, False)
    assert Path(found["report"]).read_text("utf-8").startswith("<")
    run = opened.call("get_run", found["run_id"])
    version = opened.call("get_model_version", "sales-response", "1")
    assert run.data.tags["mlflow.parentRunId"] == version.run_id
    assert run.data.tags["adresponse.verdict"] == "keep"
    assert run.data.metrics["rows"] == 60
    line = opened.call("get_metric_history", version.run_id, "watch_rows")
    assert [(point.step, point.value) for point in line] == [(1, 60)]


def test_a_moved_relation_asks_for_a_new_fit(opened: Store) -> None:
    code, found = told("watch", arrived(spend(100, 1, NOW)))
    assert (code, found["verdict"]) == (10, "retrain")
    assert happened() == [("promotion", "", "1", "done")]  # a watch alone changes nothing


UNFIT = {
    "a column is missing": lambda f: f.drop(columns="TV"),
    "a column has another name": lambda f: f.rename(columns={"TV": "TV_spend"}),
    "text among the numbers": lambda f: f.astype(object).assign(TV=["n/k", *f["TV"][1:]]),
    "dollars instead of thousands": lambda f: f.assign(TV=f["TV"] * 1000),
    "no spend can be read": lambda f: f.assign(TV=-1.0),
}


@pytest.mark.parametrize("case", UNFIT)
def test_data_that_is_not_fit_stops_everything_and_is_not_taken_in(case: str, opened: Store) -> None:
    name = arrived(UNFIT[case](spend(60, 1)))
    before = happened()
    assert told("watch", name)[0] == 20
    code, done = told("refresh", name)
    assert (code, done["action"], done["watched"]["repeated"]) == (20, "stopped", True)
    assert told("retrain", name)[0] == 20
    assert happened() == before
    assert [v.version for v in registry.versions(opened, "sales-response")] == ["1"]


def test_without_sales_the_spend_is_watched_and_the_file_noted(opened: Store) -> None:
    name = arrived(spend(60, 1)[["TV"]])
    code, done = told("refresh", name)
    assert (code, done["action"], done["event"]["rows_run"]) == (0, "kept", "")
    assert "Sales are not known" in done["sentence"]
    assert told("refresh", name)[1]["action"] == "nothing"
    assert command("retrain", arrived(spend(50, 2)[["TV"]], "other.csv")).exit_code == 2


def test_a_file_without_rows_is_kept_and_said(opened: Store) -> None:
    code, done = told("refresh", arrived(spend(60, 1)[:0]))
    assert (code, done["action"]) == (0, "kept")
    assert "no new row" in done["sentence"]


def test_rows_that_the_champion_has_already_are_no_news(opened: Store) -> None:
    code, done = told("refresh", arrived(table("spend")))
    assert (code, done["action"]) == (0, "kept")
    assert "no new row" in done["sentence"]


# --- the same file twice


@pytest.mark.parametrize("again", ["new.csv", "again.csv", "again.parquet"])
def test_the_same_content_twice_changes_nothing(again: str, opened: Store) -> None:
    frame = spend(60, 1)
    assert told("refresh", arrived(frame))[1]["action"] == "kept"
    before = dump(opened)
    code, done = told("refresh", arrived(frame, again))
    assert (code, done["action"]) == (0, "nothing")
    assert "event 2 took it in" in done["sentence"]
    assert told("retrain", again)[1]["action"] == "nothing"
    assert without_lock(dump(opened)) == without_lock(before)


def without_lock(found: dict[str, Any]) -> dict[str, Any]:
    """The lock's queue is gone through by each command, and empty after it."""
    return {**found, "models": {k: v for k, v in found["models"].items() if k != "adresponse-lock"}}


def test_a_file_that_was_watched_is_tracked_once(opened: Store) -> None:
    name = arrived(spend(60, 1))
    first, second = upkeep.watch(name), upkeep.watch(name)
    assert (first.repeated, second.repeated, second.run_id) == (False, True, first.run_id)
    assert second.watch == first.watch
    done = upkeep.refresh(name)
    assert (done.watched and done.watched.run_id, done.event and done.event.rows_run) == (first.run_id, first.run_id)
    later = upkeep.watch(name)  # it is among what was taken in, and no second look at itself
    assert (later.repeated, later.watch) == (True, first.watch)


def test_a_look_counts_where_it_saw_a_part_of_what_is_looked_at_now(opened: Store) -> None:
    one, two, other = spend(40, 1), spend(40, 2), spend(60, 3)
    files = [one, pd.concat([one, two]), other, pd.concat([two, one, spend(40, 4)])]
    looks = [upkeep.watch(arrived(frame, f"{i}.csv")).watch.look for i, frame in enumerate(files)]
    assert looks == [1, 2, 1, 3]  # the third is of other rows
    upkeep.refresh(arrived(spend(20, 5), "5.csv"))
    found = upkeep.refresh(arrived(spend(20, 6), "6.csv")).watched
    assert found is not None
    assert (found.watch.look, found.watch.sizes.with_sales) == (2, 40)  # with the rows that wait


# --- what is remembered


def test_kept_files_are_taken_in_by_the_next_challenger_each_row_once(opened: Store) -> None:
    one, two, moved = spend(30, 1), spend(30, 2), spend(200, 3, NOW)
    overlapping = pd.concat([one[10:], two])  # repeats what came before
    assert told("refresh", arrived(one, "1.csv"))[1]["action"] == "kept"
    assert told("refresh", arrived(overlapping, "2.csv"))[1]["action"] == "kept"
    done = upkeep.refresh(arrived(moved, "3.csv"))
    assert done.action == "retrained"
    assert (done.rows or {})["added"] == 260
    kept = rows_of(opened, done.version)
    assert as_rows(kept.frame) == as_rows(pd.concat([table("spend"), one, two, moved]))
    assert sides(kept).items() >= sides(rows_of(opened, "1")).items()  # no row changes its side
    tags = opened.call("get_model_version", "sales-response", done.version).tags
    assert (tags["adresponse.rows_up_to"], tags["adresponse.rows_since"]) == ("3", "0")


def test_a_rejected_challenger_leaves_the_champion_and_its_rows_are_remembered(opened: Store) -> None:
    code, done = told("retrain", arrived(spend(100, 1)), "--mode", "dry-run")
    assert (code, done["action"], done["promoted"], done["champion"], done["version"]) == (10, "retrained", False, "1", "2")
    assert happened() == [("promotion", "", "1", "done"), ("refresh", "1", "2", "done")]
    later = upkeep.retrain(arrived(spend(40, 2), "later.csv"), mode="off")
    assert (later.promoted, later.champion) == (True, "3")
    assert (later.rows or {})["added"] == 140
    assert happened()[2:] == [("promotion", "1", "3", "done"), ("refresh", "1", "3", "done")]


def test_a_table_that_grows_by_rewriting_is_taken_in_once_per_row(opened: Store) -> None:
    one, two = spend(40, 1), spend(40, 2)
    upkeep.refresh(arrived(one, "1.csv"))
    upkeep.refresh(arrived(pd.concat([one, two]), "2.csv"))
    done = upkeep.retrain(arrived(pd.concat([table("spend"), one, two, spend(20, 3)]), "all.csv"), mode="dry-run")
    assert (done.rows or {})["added"] == 100
    assert as_rows(rows_of(opened, done.version).frame) == as_rows(pd.concat([table("spend"), one, two, spend(20, 3)]))


def test_rows_without_sales_or_with_spend_below_zero_are_left_out_and_the_rest_is_kept(opened: Store) -> None:
    frame = spend(60, 1)
    frame.loc[3, "Sales"] = np.nan
    frame.loc[5, "TV"] = -1.0
    done = upkeep.refresh(arrived(frame))
    assert (done.action, done.watched and done.watched.watch.sizes.bad) == ("kept", 1)
    (event,) = [e for e in upkeep.history() if e.kind == "kept"]
    rows = Kept.read(track.file_of(opened, event.rows_run, standing.NEW_ROWS), _contract(opened))
    assert as_rows(rows.frame) == as_rows(frame.drop([3, 5]))
    filled = frame.assign(Sales=frame["Sales"].fillna(9.87))
    assert upkeep.refresh(arrived(filled, "filled.csv")).action == "kept"  # now with all sales, it is another file


def _contract(opened: Store) -> Any:
    with deployment.opened("models:/sales-response/1") as found:
        return found.stored.formula.contract


def test_a_verdict_that_follows_from_remembered_rows_is_acted_on_though_the_last_file_has_no_sales(
    opened: Store, tmp_path: Path
) -> None:
    loose, strict = _config(tmp_path, watch={"retrain_on": ["bias"]}), _config(tmp_path, watch={"alpha": 0.2})
    beyond = pd.DataFrame({"TV": np.linspace(300, 340, 30).round(3)})
    known = beyond.assign(Sales=lambda f: (7 + 0.05 * f["TV"]).round(4))
    assert upkeep.refresh(arrived(known, "1.csv"), config=loose).action == "kept"
    done = upkeep.refresh(arrived(beyond + 0.5, "2.csv"), config=strict, mode="off")
    assert (done.action, (done.rows or {})["added"]) == ("retrained", 30)
    assert done.event is not None
    assert done.event.rows_run == ""


def _config(folder: Path, **settings: Any) -> Path:
    path = folder / f"{len(list(folder.glob('*.yaml')))}.yaml"
    path.write_text(json.dumps(settings))
    return path


def test_a_window_fits_on_the_last_rows_only(opened: Store) -> None:
    done = upkeep.retrain(arrived(spend(80, 1)), window=80, mode="dry-run")
    assert as_rows(rows_of(opened, done.version).frame) == as_rows(spend(80, 1))


def test_a_study_that_begins_anew_forgets_what_was_taken_in_before(opened: Store) -> None:
    one, two, three = spend(40, 1), spend(40, 2), spend(40, 3)
    upkeep.refresh(arrived(one, "1.csv"))
    whole = pd.concat([table("spend"), one])
    lifecycle.run(whole, target="Sales", channels=("TV",), **QUICK)
    assert happened()[-1] == ("promotion", "1", "2", "done")
    assert upkeep.refresh(arrived(two, "2.csv")).action == "kept"
    assert upkeep.refresh("1.csv").action == "kept"  # whether the new table holds it, nobody has said
    assert upkeep.refresh("1.csv").action == "nothing"
    done = upkeep.retrain(arrived(three, "3.csv"), mode="off")
    assert as_rows(rows_of(opened, done.version).frame) == as_rows(pd.concat([whole, two, three]))
    tags = opened.call("get_model_version", "sales-response", done.version).tags
    assert tags["adresponse.rows_since"] == "2"


# --- champion and challenger on the same unseen rows


def test_both_are_scored_on_rows_that_neither_has_learnt_from(opened: Store) -> None:
    done = upkeep.retrain(arrived(spend(100, 1, NOW)), mode="dry-run")
    assert done.contest is not None
    before, after = rows_of(opened, "1"), rows_of(opened, done.version)
    unseen = after.frame[after.held_out]
    learnt = {row for kept in (before, after) for row, held_out in sides(kept).items() if not held_out}
    assert not learnt & set(map(tuple, unseen.to_numpy().tolist()))
    assert done.contest.rows == len(unseen) == (done.rows or {})["held_out"]
    for version, said in (("1", done.contest.champion_error), (done.version, done.contest.challenger_error)):
        line = np.polynomial.Polynomial.fit(*fitted_rows(before if version == "1" else after), 1)  # least squares, anew
        by_hand = np.abs(unseen["Sales"] - line(unseen["TV"])).mean()
        assert said == pytest.approx(by_hand, rel=1e-9)  # two ways to solve least squares


def fitted_rows(kept: Kept) -> tuple[Any, Any]:
    fitted = kept.frame[~kept.held_out]
    return fitted["TV"].to_numpy(), fitted["Sales"].to_numpy()


def test_a_champion_fitted_on_all_rows_is_watched_by_its_cross_validation_and_challenged_on_new_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = at("all fitted", tmp_path, monkeypatch)
    frame = spend(120, 1, NOW)
    done = upkeep.refresh(arrived(frame))
    assert (done.action, done.watched and done.watched.watch.errors and done.watched.watch.errors.rows_before) == (
        "retrained",
        150,
    )
    kept = rows_of(opened, done.version)
    assert set(map(tuple, kept.frame[kept.held_out].to_numpy().tolist())) <= set(map(tuple, frame.to_numpy().tolist()))
    run_id = opened.call("get_model_version", "sales-response", "1").run_id
    predicted = json.loads(track.file_of(opened, run_id, "evaluation.json"))["predicted"]
    first = rows_of(opened, "1")
    assert [row["observed"] for row in predicted] == first.frame["Sales"].tolist()  # in the order of the rows kept


def test_a_champion_without_a_formula_is_watched_and_challenged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at("no formula", tmp_path, monkeypatch)
    frame = pd.DataFrame({"TV": np.linspace(2, 299, 60).round(3)})
    frame["Sales"] = 20 + 10 * np.sin(frame["TV"] / 20)
    done = upkeep.retrain(arrived(frame), mode="dry-run")
    assert (done.action, done.watched and done.watched.verdict) == ("retrained", "keep")
    assert "nan" not in str(done.contest).casefold()


# --- dates, markets, several channels, odd names


def test_periods_grow_and_are_revised_under_odd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "units-sold-response"
    opened = at("weekly", tmp_path, monkeypatch)
    more = weekly("2024-07-15", 16, 1)
    revised = table("weekly").iloc[-2:].assign(**{"units sold": [50.0, 51.0]})
    assert upkeep.refresh(arrived(more[:16], "first half.csv")).action == "kept"
    found = upkeep.watch(arrived(pd.concat([revised, more]), "with old weeks.parquet"))
    assert (found.verdict, found.watch.sizes.revised, found.watch.sizes.new) == ("keep", 2, 32)
    done = upkeep.retrain("with old weeks.parquet", mode="off")
    counts = {"added": 32, "repeated": 16, "revised": 2, "fitted": 152, "held_out": 40, "waiting": 0}
    assert done.rows == counts  # a fifth is 38.4 rows, and a week has two
    before, after = rows_of(opened, "1", name), rows_of(opened, "2", name)
    weeks = after.frame["week of"]
    assert len(after.frame) == 192
    assert not after.frame.duplicated(["week of", "région"]).any()
    assert weeks[after.held_out].min() > before.frame["week of"][~before.held_out].max()
    assert weeks[after.held_out].min() > weeks[~after.held_out].max()
    assert after.frame["units sold"][weeks == pd.Timestamp("2024-07-08")].tolist() == [50.0, 51.0]
    assert done.watched is not None
    run = opened.call("get_run", done.watched.run_id)
    assert any("Radio" in key for key in run.data.metrics)


def test_markets_that_are_numbers_are_known_again(workplace: Path) -> None:
    def numbered(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(région=np.resize([7, 8], len(frame)))

    lifecycle.run(numbered(table("weekly")), out=workplace, **{**QUICK, **TABLES["weekly"][1]})
    new = numbered(pd.concat([table("weekly").iloc[-6:], weekly("2024-07-15", 16, 1)]))
    found = upkeep.watch(arrived(new))
    assert (found.verdict, found.watch.sizes.repeated, found.watch.sizes.new) == ("keep", 6, 32)


def test_a_market_that_opened_is_left_out_of_the_watch_and_the_others_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at("panel", tmp_path, monkeypatch)
    new = panel("2024-02-26", 16, 1, "North South East")
    code, found = told("watch", arrived(new))
    sizes = found["watch"]["sizes"]
    assert (code, found["verdict"], sizes["new"], sizes["unknown_market"]) == (0, "keep", 32, 16)
    assert [f["message"] for f in found["watch"]["findings"] if f["code"] == "W021"] == [
        "16 rows of 48 are of a market that the model does not know: East (16). They were left out."
    ]
    assert "16 are of markets that the model does not know" in Path(found["report"]).read_text("utf-8")
    alone = upkeep.watch(arrived(new[new["region"] == "East"], "east.csv"))
    assert (alone.verdict, alone.sentence) == (
        "keep",
        "Keep: the champion stays. There is no new row to look at of a market that the model knows.",
    )
    assert upkeep.watch(arrived(panel("2024-02-26", 16, 1, "North South East", NOW), "moved.csv")).verdict == "retrain"


def test_a_market_that_opened_is_taken_in_by_the_next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at("panel", tmp_path, monkeypatch)
    new = arrived(panel("2024-02-26", 40, 1, "North South West", NOW))
    code, done = told("refresh", new, "--mode", "off")
    assert (code, done["action"], done["promoted"]) == (0, "retrained", True)
    rows = {"added": 120, "repeated": 0, "revised": 0, "fitted": 192, "held_out": 48, "waiting": 0}
    assert done["rows"] == rows  # a fifth of 240
    assert (done["contest"]["rows"], done["contest"]["left_out"]) == (32, 16)
    assert "16 held-out rows of markets that one of them does not know were not scored." in done["sentence"]
    found = upkeep.watch(arrived(panel("2024-12-02", 16, 2, "North South West", NOW), "next.csv"))
    assert (found.verdict, found.watch.sizes.new, found.watch.sizes.unknown_market) == ("keep", 48, 0)
    for pair in (("1", "2"), ("2", "1")):
        both = upkeep.compare_versions(*pair)
        assert (both.rows, both.contest.rows, both.contest.left_out) == (32, 32, 16)


def test_rows_of_a_market_that_opened_late_wait_until_some_can_be_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "revenue-response"
    opened = at("panel", tmp_path, monkeypatch)
    first = panel("2024-02-26", 10, 1, "North South West")
    done = upkeep.retrain(arrived(first, "1.csv"), mode="off")
    rows = {"added": 30, "repeated": 0, "revised": 0, "fitted": 120, "held_out": 20, "waiting": 10}
    assert done.rows == rows  # a fifth of 150 are the last ten weeks
    assert "10 rows of markets that opened late wait for a later version." in done.sentence
    assert (done.contest or fail()).left_out == 0
    assert upkeep.watch("1.csv").watch.sizes.unknown_market == 10
    second = panel("2024-05-06", 30, 2, "North West")  # and South closed
    done = upkeep.retrain(arrived(second, "2.csv"), mode="off")
    rows = {"added": 70, "repeated": 0, "revised": 0, "fitted": 168, "held_out": 42, "waiting": 0}
    assert done.rows == rows
    assert ((done.contest or fail()).rows, (done.contest or fail()).left_out) == (21, 21)
    after = rows_of(opened, "3", name).frame
    given = pd.concat([first, second]).query("region == 'West'")
    assert as_rows(after[after["region"] == "West"][list(given.columns)]) == as_rows(given)
    with standing.standing_of(deployment.open_store(), f"models:/{name}@champion") as now:
        assert (now.version, now.formula.reads.markets) == ("3", ("North", "South", "West"))


def test_a_challenger_needs_unseen_rows_of_a_market_that_the_champion_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at("panel", tmp_path, monkeypatch)
    with pytest.raises(TableError, match=r"no row that version 1 has not learnt from and whose market it knows, so no"):
        upkeep.retrain(arrived(panel("2024-02-26", 40, 1, "West")), mode="off")
    assert happened() == [("promotion", "", "1", "done")]


def test_a_champion_is_scored_with_the_spend_of_all_rows(workplace: Path) -> None:
    rng = np.random.default_rng(5)
    on = np.arange(120) // 6 % 2 == 0  # campaigns of six weeks, so that a mean stands badly for spend that is not known
    tv = np.where(on, rng.uniform(80, 120, 120), 0.0).round(1)
    carried = 0.2 * np.convolve(tv, 0.8 ** np.arange(20))[:120]
    whole = pd.DataFrame({"week": pd.date_range("2022-01-03", periods=120, freq="W-MON"), "tv": tv})
    whole["sales"] = (100 + 0.5 * carried + rng.normal(0, 1, 120)).round(2)
    model = {"target": "sales", "channels": ("tv",), "date": "week", "shape": "linear", "season": 0, "trend": False}
    lifecycle.run(whole.iloc[:50], out=workplace, **{**QUICK, **model})
    done = upkeep.retrain(arrived(whole.iloc[50:]), mode="off")
    held, new = done.contest or fail(), whole.iloc[50:]
    assert (held.rows, done.rows["fitted"]) == (24, 96)  # between those of the champion and those scored lie 46 weeks
    with standing.standing_of(deployment.open_store(), "models:/sales-response/1") as first:
        alone = np.abs(first.predict(new) - new["sales"])[-24:].mean()
    assert held.champion_error == pytest.approx(alone, rel=1e-12)
    assert upkeep.compare_versions("1", "2").contest.champion_error == pytest.approx(alone, rel=1e-12)
    back = upkeep.compare_versions("2", "1").contest
    assert back.challenger_error == pytest.approx(alone, rel=1e-12)


def test_versions_of_which_one_alone_reads_a_date_are_not_compared(workplace: Path) -> None:
    whole = spend(40, 0).assign(week=pd.date_range("2022-01-03", periods=40, freq="W-MON"))
    model = {"target": "Sales", "channels": ("TV",), "out": workplace, **QUICK}
    lifecycle.run(whole, date="week", shape="linear", season=0, **model)
    lifecycle.run(whole.drop(columns="week"), **model)
    for pair in (("1", "2"), ("2", "1")):
        with pytest.raises(ConfigError, match="have different columns"):
            upkeep.compare_versions(*pair)


def test_euros_instead_of_thousands_are_named_by_their_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at("weekly", tmp_path, monkeypatch)
    frame = weekly("2024-07-15", 16, 1)
    frame["TV spend (k€)"] *= 1000
    code, done = told("refresh", arrived(frame))
    assert (code, done["action"]) == (20, "stopped")
    assert "thousand euros" in done["sentence"]


# --- rules and modes


def test_mode_off_promotes_what_the_rules_refuse(opened: Store) -> None:
    frame = spend(120, 1, -0.5).assign(Sales=lambda f: f["Sales"] + 20)  # spend that lowers sales
    refused = upkeep.retrain(arrived(frame, "1.csv"), window=120)
    assert (refused.promoted, refused.exit_code) == (False, 10)
    assert any("does not bring less" in rule.rule and not rule.passed for rule in (refused.contest or fail()).rules)
    done = upkeep.retrain(arrived(spend(60, 2), "2.csv"), mode="off")
    assert (done.promoted, done.exit_code) == (True, 0)


def fail() -> Any:
    pytest.fail("no contest was held")


def test_a_challenger_that_the_gate_rejects_is_not_promoted_and_the_sentence_says_why(opened: Store, tmp_path: Path) -> None:
    done = upkeep.retrain(arrived(spend(100, 1)), config=_config(tmp_path, gate=["r2 >= 0.999"]))
    assert (done.contest or fail()).promotes
    assert (done.promoted, done.champion) == (False, "1")
    assert "r2" in done.sentence
    assert registry.versions(opened, "sales-response")[0].status == "REJECTED"
    kept = ((done.event or fail()).why, Path(done.report).read_text(encoding="utf-8"))
    assert all("Rejected: r2" in told and "takes the place" not in told for told in kept)


REFUSED = {
    "an unknown rule of the watch": (["watch", "new.csv", "--config", "watch.yaml"], "Watch rule 'alhpa' is unknown"),
    "an unknown rule of the contest": (["retrain", "new.csv", "--config", "promotion.yaml"], "Contest rule 'margn' is unknown"),
    "an unknown rule, before a file is opened": (["watch", "none.csv", "--config", "watch.yaml"], "Watch rule 'alhpa'"),
    "an unknown rule of the contest, before a watch is": (["refresh", "none.csv", "--config", "promotion.yaml"], "'margn'"),
    "a run with an unknown rule of the watch": (["run", "new.csv", "--config", "watch.yaml"], "Watch rule 'alhpa' is unknown"),
    "a check with an unknown rule": (["check", "new.csv", "--config", "promotion.yaml"], "Contest rule 'margn' is unknown"),
    "no list of names": (["watch", "new.csv", "--config", "number.yaml"], "stop_on=5 is no list of names; write [A, B]"),
    "no list of channels": (["run", "new.csv", "--config", "falling.yaml"], "falling=True is no list of names; write [A, B]"),
    "a channel that is not there": (["run", "new.csv", "--config", "typo.yaml"], "falling: 'Radoi' is no channel"),
    "a retrain of one": (["retrain", "new.csv", "--config", "typo.yaml"], "falling: 'Radoi' is no channel"),
    "a config of another model": (["retrain", "new.csv", "--config", "name.yaml"], "name='other-model' is not the model's own"),
    "a config of another column": (["retrain", "new.csv", "--config", "channels.yaml"], "channels=('Radio', 'TV') is not the"),
    "a watch with another target": (["watch", "new.csv", "--config", "target.yaml"], "target='Profit' is not the model's own"),
    "a version to be challenged": (["refresh", "new.csv", "--model", "models:/sales-response/1"], "models:/NAME@champion"),
    "a model that is not there": (["watch", "new.csv", "--model", "models:/sale-response@champion"], "Did you mean"),
    "no registered version": (["watch", "new.csv", "--model", "runs:/0123abc/model"], "no registered version"),
    "a file that is not there": (["refresh", "old.csv"], "old.csv"),
    "no version": (["promote", "first"], "'first' is no version"),
    "a number of no version": (["promote", "²"], "'²' is no version"),
    "a version that is not there": (["promote", "7"], "There is no version 7"),
    "nothing to go back to": (["rollback"], "no version of 'sales-response' to go back to"),
    "the champion deleted": (["delete", "1"], "move the alias first"),
    "the champion deleted, as a script with leading zeros names it": (["delete", "01"], "move the alias first"),
    "a history of an unknown name": (["history", "--model", "sale-response"], "Did you mean 'sales-response'? It has: sales-"),
    "a rollback of an unknown name": (["rollback", "--model", "sale-response"], "Did you mean 'sales-response'?"),
    "a history of nothing": (["history", "--model", "models:/other@champion"], "no model 'other'"),
    "a history of no registered model": (["history", "--model", "models:/m-01"], "'models:/m-01' names no registered model"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_refused_in_one_sentence_and_changes_nothing(case: str, opened: Store) -> None:
    arrived(spend(60, 1))
    Path("watch.yaml").write_text("watch: {alhpa: 0.1}")
    Path("promotion.yaml").write_text("promotion: {margn: 0.1}")
    Path("number.yaml").write_text("watch: {stop_on: 5}")
    Path("falling.yaml").write_text("promotion: {falling: yes}")
    Path("typo.yaml").write_text("promotion: {falling: [Radoi]}")
    Path("name.yaml").write_text("name: other-model")
    Path("channels.yaml").write_text("channels: [Radio, TV]")
    Path("target.yaml").write_text("target: Profit")
    arguments, sentence = REFUSED[case]
    before = [v.version for v in registry.versions(opened, "sales-response")], happened()
    found = command(*arguments)
    assert found.exit_code == 2, found.output
    assert found.stderr.startswith("adresponse: ")
    assert found.stderr.count("\n") == 1
    assert sentence in found.stderr
    assert ([v.version for v in registry.versions(opened, "sales-response")], happened()) == before


def test_a_config_that_names_the_champions_own_model_and_columns_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at("weekly", tmp_path, monkeypatch)
    own = {"name": "units-sold-response", "channels": ["Radio, local", "TV spend (k€)"], "date": None, "market": "région"}
    found = upkeep.watch(arrived(weekly("2024-07-15", 16, 1), "new.parquet"), config=_config(tmp_path, **own))
    assert found.verdict == "keep"


def test_a_config_says_how_new_rows_are_read_and_the_command_line_wins(opened: Store, tmp_path: Path) -> None:
    with pd.ExcelWriter("new.xlsx") as book:
        pd.DataFrame({"about": ["nothing to see"]}).to_excel(book, sheet_name="About", index=False)
        spend(60, 1).to_excel(book, sheet_name="Data", index=False)
    path = str(_config(tmp_path, sheet="Data"))
    assert told("watch", "new.xlsx", "--config", path)[1]["verdict"] == "keep"
    assert told("watch", "new.xlsx", "--config", path, "--sheet", "About")[1]["verdict"] == "stop"
    assert told("refresh", "new.xlsx", "--config", path)[1]["action"] == "kept"


def test_a_model_that_mlflow_copied_to_a_name_that_run_refuses_is_watched(opened: Store) -> None:
    version = opened.call("get_model_version", "sales-response", "1")
    opened.call("create_registered_model", "50 %")
    tags = dict(version.tags)
    opened.call("create_model_version", "50 %", version.source, run_id=version.run_id, tags=tags, model_id=version.model_id)
    assert upkeep.watch(arrived(spend(60, 1)), model="models:/50 %/1").verdict == "keep"


def test_files_are_remembered_for_a_version_that_mlflow_copied_from_a_model_with_a_longer_history(opened: Store) -> None:
    for number in (1, 2):
        upkeep.refresh(arrived(spend(60, number), f"{number}.csv"))
    upkeep.retrain(arrived(spend(60, 3), "3.csv"), mode="off")
    with opened.current():
        opened.client.copy_model_version("models:/sales-response/2", "production")
    opened.call("set_registered_model_alias", "production", "champion", "1")
    model = "models:/production@champion"
    assert upkeep.refresh(arrived(spend(60, 4), "4.csv"), model=model).action == "kept"
    assert upkeep.refresh("4.csv", model=model).action == "nothing"
    done = upkeep.retrain(arrived(spend(60, 5), "5.csv"), model=model, mode="off")
    assert (done.rows or {})["added"] == 120


def test_a_model_renamed_with_its_experiment_goes_on(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, "verifying", lambda progress=None: deployment.loading(opened))
    upkeep.retrain(arrived(spend(60, 1), "1.csv"), mode="off")
    upkeep.refresh(arrived(spend(60, 2), "2.csv"))
    opened.call("rename_registered_model", "sales-response", "sales of all")
    opened.call("rename_experiment", opened.call("get_experiment_by_name", "sales-response").experiment_id, "sales of all")
    done = upkeep.retrain(arrived(spend(60, 3), "3.csv"), mode="off")
    assert (done.champion, (done.rows or {})["added"]) == ("3", 120)
    assert [upkeep.rollback().target, upkeep.rollback().target] == ["2", "1"]


def test_a_study_is_not_registered_under_the_lock_of_another_model(opened: Store) -> None:
    study = lifecycle.fit(spend(60, 1), target="Sales", **QUICK)
    with mutex.held(opened, "other") as lease, pytest.raises(ConfigError, match="held on 'other', and the study is called"):
        publishing.publish(study, {}, Settings(**QUICK), opened, contextlib.nullcontext(lease), lambda step: None)
    assert [v.version for v in registry.versions(opened, "sales-response")] == ["1"]


def test_a_version_that_an_older_adresponse_made_is_refused_in_one_sentence(opened: Store) -> None:
    opened.call("delete_model_version_tag", "sales-response", "1", "adresponse.rows")
    with pytest.raises(StoreError, match="older adresponse, which kept no rows to compare with; run the study again"):
        upkeep.watch(arrived(spend(60, 1)))


def test_files_of_a_folder_that_was_moved_are_named_with_where_they_were(opened: Store, tmp_path: Path) -> None:
    where = tmp_path / "gone"
    opened.call("create_registered_model", "moved")
    digest = opened.call("get_model_version", "sales-response", "1").tags[registry.MANIFEST_TAG]
    opened.call("create_model_version", "moved", str(where), tags={registry.MANIFEST_TAG: digest})
    opened.call("set_registered_model_alias", "moved", "champion", "1")
    for arguments in (["watch", arrived(spend(60, 1))], ["predict", "new.csv", "-o", "scored.csv"]):
        found = command(*arguments, "--model", "models:/moved@champion")
        assert found.exit_code == 2
        assert f"files of version 1 of 'moved' are gone: MLmodel and manifest.json cannot be found (they were at {where})" in (
            found.stderr
        )


def test_a_model_that_others_stored_is_named_as_it_was_asked_for(opened: Store, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "MLmodel").write_text("flavors: {}\n")
    opened.call("create_registered_model", "theirs")
    opened.call("create_model_version", "theirs", str(tmp_path / "other"))
    with pytest.raises(ModelError, match=r"'models:/theirs/1' holds no model of adresponse"):
        upkeep.watch(arrived(spend(60, 1)), model="models:/theirs/1")


def test_rows_that_were_altered_are_refused(opened: Store) -> None:
    opened.call("set_model_version_tag", "sales-response", "1", "adresponse.rows", "0" * 64)
    with pytest.raises(StoreError, match="not those that it was registered with"):
        upkeep.watch(arrived(spend(60, 1)))


def test_remembered_rows_that_are_gone_are_named(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    upkeep.refresh(arrived(spend(60, 1)))
    monkeypatch.setattr(standing, "NEW_ROWS", "gone.parquet")
    with pytest.raises(StoreError, match="rows that event 2 of 'sales-response' took in are gone"):
        upkeep.watch(arrived(spend(60, 2), "2.csv"))


# --- what a process that was ended leaves


def test_a_promotion_whose_file_was_not_noted_is_noted_by_the_next_command(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(refreshed._Turn, "note", lambda *_, **__: sys.exit(137))
        with pytest.raises(SystemExit):
            upkeep.retrain(arrived(spend(60, 1)), mode="off")
    assert happened()[1:] == [("promotion", "1", "2", "done")]
    assert upkeep.refresh("new.csv").action == "nothing"
    upkeep.rollback()
    assert happened()[1:] == [("promotion", "1", "2", "done"), ("refresh", "1", "2", "done"), ("rollback", "2", "1", "done")]
    done = upkeep.retrain(arrived(spend(20, 2), "2.csv"), mode="off")  # its rows are remembered for version 1
    assert (done.rows or {})["added"] == 80


def test_a_file_without_sales_that_was_not_noted_does_not_bar_the_way_back(
    opened: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "verifying", lambda progress=None: deployment.loading(opened))
    strict = _config(tmp_path, watch={"alpha": 0.2})
    beyond = pd.DataFrame({"TV": np.linspace(300, 340, 30).round(3)})
    known = beyond.assign(Sales=lambda f: (7 + 0.05 * f["TV"]).round(4))
    upkeep.refresh(arrived(known, "1.csv"), config=_config(tmp_path, watch={"retrain_on": ["bias"]}))
    with monkeypatch.context() as patched:
        patched.setattr(refreshed._Turn, "note", lambda *_, **__: sys.exit(137))
        with pytest.raises(SystemExit):
            upkeep.refresh(arrived(beyond + 0.5, "2.csv"), config=strict, mode="off")
    upkeep.rollback()
    assert happened()[-2:] == [("rollback", "2", "1", "done"), ("refresh", "1", "2", "done")]
    assert upkeep.watch(arrived(spend(60, 1), "3.csv")).version == "1"


def test_runs_of_a_process_that_is_gone_are_marked(opened: Store) -> None:
    experiment = opened.call("get_experiment_by_name", "sales-response").experiment_id
    ended = subprocess.run(
        [sys.executable, "-c", "from adresponse.mutex import process_tags; print(process_tags()['adresponse.process'])"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    tags = {"adresponse.kind": "study"}
    gone = opened.call("create_run", experiment, tags={**tags, "adresponse.process": ended}).info.run_id
    here = opened.call("create_run", experiment, tags={**tags, **process_tags()}).info.run_id
    event = upkeep.refresh(arrived(spend(60, 1), "1.csv")).event
    assert event is not None
    opened.call("set_tag", event.run_id, "adresponse.process", ended)  # killed between the event and its end
    opened.call("update_run", event.run_id, "RUNNING")
    upkeep.refresh(arrived(spend(60, 2), "2.csv"))
    runs = [opened.call("get_run", run_id).info.status for run_id in (gone, here, event.run_id)]
    assert runs == ["KILLED", "RUNNING", "FINISHED"]


def test_a_refresh_that_fails_at_its_verification_leaves_the_champion_and_can_be_run_again(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(uri: str) -> None:
        raise DifferenceError(f"{uri} answers otherwise.")

    with monkeypatch.context() as patched:
        patched.setattr(deployment, "loading", lambda store: refuse)
        with pytest.raises(DifferenceError):
            upkeep.retrain(arrived(spend(60, 1)), mode="off")
    assert registry.aliases(opened, "sales-response") == {"champion": "1"}
    assert [v.version for v in registry.versions(opened, "sales-response")] == ["1"]
    assert upkeep.retrain("new.csv", mode="off").champion != "1"


@pytest.mark.parametrize("gone", ["run", "experiment"])
def test_a_model_whose_study_was_deleted_in_mlflow_is_kept_up(gone: str, opened: Store) -> None:
    experiment = opened.call("get_experiment_by_name", "sales-response").experiment_id
    run_id = opened.call("get_model_version", "sales-response", "1").run_id
    opened.call("delete_run", run_id) if gone == "run" else opened.call("delete_experiment", experiment)
    assert upkeep.watch(arrived(spend(60, 1), "1.csv")).repeated is False
    assert upkeep.refresh("1.csv").action == "kept"
    done = upkeep.retrain(arrived(spend(60, 2), "2.csv"), mode="off")
    assert (done.champion, (done.rows or {})["added"]) == ("2", 120)


# --- promote, roll back, delete, look back


def test_champions_are_promoted_rolled_back_compared_and_deleted(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, "verifying", lambda progress=None: deployment.loading(opened))  # a server for each is slow
    for number in (1, 2):
        upkeep.retrain(arrived(spend(60, number), f"{number}.csv"), mode="off")
    assert told("rollback", "--why", "sales fell")[1]["target"] == "2"
    assert told("rollback")[1]["target"] == "1"
    assert command("rollback").exit_code == 2
    assert told("promote", "3", "--why", "agreed")[1]["source"] == "1"
    assert told("promote", "models:/sales-response/3")[1]["event"] is None
    older = upkeep.watch(arrived(spend(60, 5), "5.csv"), model="models:/sales-response/2")
    assert (older.version, older.verdict) == ("2", "keep")
    code, both = told("compare", "1", "3")
    assert (code, both["a"], both["b"], both["rows"]) == (0, "1", "3", both["contest"]["rows"])
    assert both["coefficients"]["TV"] == pytest.approx([0.05, 0.05], rel=0.1)  # the slope that was simulated
    assert command("delete", "1").exit_code == 2  # a rollback would go to it
    assert told("delete", "2", "--why", "not needed")[1]["kind"] == "deletion"
    code, events = told("history")
    kinds = [e["kind"] for e in events]
    assert kinds == ["promotion", *["promotion", "refresh"] * 2, "rollback", "rollback", "promotion", "deletion"]
    assert [e["sequence"] for e in events] == list(range(1, 10))
    assert events[5]["why"] == "sales fell"
    assert "deletion" in command("history").stdout
    assert "version 3 against version 1" in command("compare", "1", "3").stdout


def test_a_number_with_leading_zeros_is_that_version(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, "verifying", lambda progress=None: deployment.loading(opened))
    upkeep.retrain(arrived(spend(60, 1)), mode="dry-run")
    assert told("promote", "02", "--why", "agreed")[1]["target"] == "2"
    assert happened()[-1] == ("promotion", "1", "2", "done")


@pytest.mark.parametrize("given", [(), ("--model", "models:/sales-response@champion")])
def test_a_model_without_champion_is_looked_at_and_mended(
    given: tuple[str, ...], opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow takes the alias away with the version that somebody deletes beneath it."""
    monkeypatch.setattr(deployment, "verifying", lambda progress=None: deployment.loading(opened))
    upkeep.retrain(arrived(spend(60, 1)), mode="off")
    opened.call("delete_model_version", "sales-response", "2")
    assert len(told("history", *given)[1]) == 3
    assert told("rollback", *given)[1]["target"] == "1"
    opened.call("delete_registered_model_alias", "sales-response", "champion")
    assert told("promote", "1", *given)[1]["target"] == "1"
