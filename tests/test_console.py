"""Is every figure whole that a command prints, however narrow the terminal?"""

from __future__ import annotations

import re
import sys

import pytest

from adresponse.console import print_plan
from adresponse.curves import Response
from adresponse.deployment import Planned
from adresponse.planning.horizon import Outlook
from adresponse.planning.returns import returns
from adresponse.planning.split import best_plan
from adresponse.planning.wishes import Wish
from adresponse.words import number

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
