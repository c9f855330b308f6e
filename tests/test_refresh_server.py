"""The whole upkeep of a model on a real MLflow server, on PostgreSQL and S3, by several processes at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pandas as pd
import pytest

import forked
from adresponse import deployment, journal, lifecycle, mutex, promotion, registry, upkeep
from adresponse.cli import main
from adresponse.errors import StoreError
from adresponse.standing import TAKEN_IN, standing_of
from upkeep_example import NOW, QUICK, arrived, happened, spend, table
from versions_example import tracking_server

pytestmark = pytest.mark.xdist_group("tracking server")
PATIENCE = 120.0


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A model of this test alone on the server, version 1 of which is champion."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_server())
    found = f"response {request.node.name}"
    lifecycle.run(table("spend"), target="Sales", channels=("TV",), name=found, **QUICK)
    return found


Refreshing = tuple[ForkServerProcess, Path]


def refresh(name: str, file: str, *more: str) -> Refreshing:
    """``adresponse refresh`` as a scheduler starts it, and where it says what came of it."""
    said = Path(f"{file}.json")
    return forked.start(refreshing, [file, "--model", f"models:/{name}@champion", "--json", *more], said), said


def refreshing(words: list[str], said: Path) -> None:
    with said.open("w", encoding="utf-8") as out, contextlib.redirect_stdout(out):
        main(["refresh", *words])


def ended(begun: Refreshing) -> dict[str, object]:
    process, said = begun
    process.join(300)
    return dict(json.loads(said.read_text("utf-8")))


def test_two_refreshes_at_once_are_both_taken_in(name: str) -> None:
    one, two = spend(40, 1), spend(40, 2)
    both = [refresh(name, arrived(frame, f"{i}.csv")) for i, frame in enumerate((one, two))]
    assert [ended(begun)["action"] for begun in both] == ["kept", "kept"]
    assert happened(model=name) == [("promotion", "", "1", "done"), ("kept", "1", "1", "done"), ("kept", "1", "1", "done")]
    done = upkeep.retrain(arrived(spend(120, 3, NOW), "3.csv"), model=f"models:/{name}@champion", mode="off")
    assert (done.promoted, (done.rows or {})["added"]) == (True, 200)
    store = deployment.open_store()
    with standing_of(store, f"models:/{name}@champion") as standing:
        have = standing.kept.frame
    want = pd.concat([table("spend"), one, two, spend(120, 3, NOW)])
    assert sorted(map(tuple, have.to_numpy().tolist())) == sorted(map(tuple, want.to_numpy().tolist()))


def test_a_killed_refresh_is_gone_on_with_and_versions_are_rolled_back_and_deleted(name: str) -> None:
    store = deployment.open_store()
    file = arrived(spend(120, 1, NOW))
    process, _ = refresh(name, file, "--mode", "off")
    assert process.pid is not None
    until = time.monotonic() + PATIENCE
    while len(registry.versions(store, name)) < 2:  # it has registered its version, and is about to promote it
        assert process.is_alive()
        assert time.monotonic() < until
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    assert deployment.load(f"models:/{name}@champion").predict(pd.DataFrame({"TV": [100.0]})) is not None
    codes = {finding.code for finding in promotion.lost(store) if name in finding.message}
    assert codes <= {"R003", "R004", "R005"}  # a run, a ticket and a promotion that were left; nothing that is lost
    done = ended(refresh(name, file, "--mode", "off"))
    assert done["action"] in ("retrained", "nothing")
    events = journal.read(store, name)
    assert [e.sequence for e in events] == list(range(1, len(events) + 1))
    assert {e.state for e in events} <= {"done", "abandoned"}
    assert [e.kind for e in events if e.kind in TAKEN_IN] == ["refresh"]
    champion = str(done["champion"])
    assert journal.champion(events) == champion == registry.aliases(store, name)["champion"]
    assert upkeep.rollback(model=name, why="for the test").target == "1"
    with pytest.raises(StoreError, match="is its champion"):
        upkeep.delete_version("1", model=name)
    assert upkeep.delete_version(champion, model=name).kind == "deletion"
    assert not [finding for finding in promotion.lost(store) if name in finding.message]
    assert mutex.queue(store, name) == ()
