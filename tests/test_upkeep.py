"""A registered model while data comes in: what is watched, taken in, fitted anew, promoted and rolled back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from adresponse import deployment, registry, track, upkeep
from adresponse.cli import main
from adresponse.growing import Kept
from adresponse.record import ROWS_FILE
from adresponse.store import Store
from upkeep_example import NOW, arrived, dump, happened, place, spend, table


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
    return found.exit_code, json.loads(found.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


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
