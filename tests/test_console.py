"""Is every figure whole that a command prints, however narrow the terminal, and is what it says so?"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from adresponse.console import print_check, print_plan, print_predicted, print_profile, print_run, print_verified, print_watched
from adresponse.curves import Response
from adresponse.deployment import Planned, Verified
from adresponse.engines.scored import Scored
from adresponse.evaluate import Score
from adresponse.planning.horizon import Outlook
from adresponse.planning.returns import returns
from adresponse.planning.split import best_plan
from adresponse.planning.wishes import Wish
from adresponse.profile import explore
from adresponse.table import read
from adresponse.verification import Check, Verification
from adresponse.words import number
from plans_example import placed

HUGE = 1e12


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("columns", [20, 80, 300])
def test_no_figure_of_a_plan_is_cut(
    columns: int, terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    curves = (
        Response("television, national", "log", half=50 * HUGE, slope=1, coefficient=100 * HUGE),
        Response("Radio", "power", half=20 * HUGE, slope=0.5, coefficient=80 * HUGE),
    )
    names = [c.channel for c in curves]
    seen = dict.fromkeys(names, (0.0, 150 * HUGE))
    o = Outlook(curves, base=[500.0], today=dict.fromkeys(names, 30 * HUGE), seen=seen)
    plan = best_plan(o, Wish())
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    print_plan(Planned("models:/m/1", "m", "1", "Sales", (), plan, tuple(returns(o, n) for n in names)))
    said = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "…" not in said
    (head,) = [line for line in said.splitlines() if line.startswith("channel ")]
    rows = said[said.index(head) :]
    for c in plan.channels:
        for figure in (*(number(v, 4) for v in (c.today, c.spend, c.change, c.sales)), number(c.roi, 3)):
            assert f" {figure} " in rows


def test_a_plan_for_a_market_says_so_in_its_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    outlook = placed().outlook(4, "Süd & West")
    stops = tuple(returns(outlook, name) for name in outlook.channels)
    print_plan(Planned("models:/m/1", "m", "1", "Sales", (), best_plan(outlook, Wish()), stops, market="Süd & West"))
    assert "m version 1, Süd & West: Spend " in capsys.readouterr().out


def test_a_name_that_is_the_code_of_a_picture_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    table = read(pd.DataFrame({"cost:tv:de": [1.0], "Sales": [2.0]}), target="Sales")
    print_check(table, table.findings)
    assert "1 row, target Sales; channels cost:tv:de" in capsys.readouterr().out
    print_profile(table.contract, explore(table))
    assert capsys.readouterr().out.count("cost:tv:de") == 5


@pytest.mark.parametrize(("r2", "explained"), [(-3.6, True), (0.4, False)])
def test_an_r2_below_0_is_explained(r2: float, explained: bool, capsys: pytest.CaptureFixture[str]) -> None:
    why = "It predicts worse than the mean of these rows would."
    scores = [Score(n, n, v, v - 1, v + 1, "", why) for n, v in (("mae", 2.0), ("rmse", 3.0), ("mape", 0.2), ("r2", r2))]
    table = read(pd.DataFrame({"TV": [1.0], "Sales": [2.0]}), target="Sales")
    said = SimpleNamespace(sentence="", tuning_sentence="", headline="", sentences=())
    evaluation = SimpleNamespace(basis="held-out", rows=9, scores=scores, r2_within=None)
    study = SimpleNamespace(table=table, linear=None, evaluation=evaluation, leaderboard=said, recommendation=said, gate=said)
    version = {"model_name": "m", "version": "1", "status": "VALIDATED", "champion": False, "verification": None}
    made: Any = SimpleNamespace(study=study, findings=(), report="", store="", experiment_id="1", **version)
    print_run(made)
    assert (why in capsys.readouterr().out) is explained


def test_a_watch_says_its_verdict_and_each_reason_once(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = ("tv has drifted.", "Sales are [low].")
    sentence = f"Retrain: the champion no longer fits the new rows. {reasons[0]} And 1 more reason."
    watch: Any = SimpleNamespace(sentence=sentence, reasons=reasons, columns=(), tests=(), findings=())
    found: Any = SimpleNamespace(
        name="m", version="2", verdict="retrain", watch=watch, report="page.html", run_id="r", repeated=False
    )
    print_watched(found)
    said = capsys.readouterr().out
    assert said.startswith(
        "m version 2, retrain: the champion no longer fits the new rows. tv has drifted. And 1 more reason.\n"
    )
    assert [said.count(reason) for reason in reasons] == [1, 1]


@pytest.mark.parametrize(("rejected", "said"), [(None, "in its column error"), (Path("bad rows.csv"), "bad rows.csv")])
def test_where_the_reasons_of_rows_left_out_are(rejected: Path | None, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_predicted(Scored(rows=3, skipped=2, output="out.parquet", rejected=rejected, engine="spark", beyond={}, findings=()))
    assert f"2 rows left out, with the reasons: {said}" in capsys.readouterr().out


def test_what_was_not_compared_has_no_tick(capsys: pytest.CaptureFixture[str]) -> None:
    checks = (Check("version that answered", "1", "not said", True, compared=False), Check("MAE", "2.4", "2.4", True))
    verification = Verification("A target", 40, "40 held-out rows", 0.0, checks, True, "All agree.")
    print_verified(Verified("models:/m/1", "m", "1", "0" * 32, verification))
    table = capsys.readouterr().out.splitlines()
    assert [line[0] for line in table if "version that" in line or "MAE" in line] == ["–", "✓"]
