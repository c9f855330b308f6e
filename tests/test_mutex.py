"""Is a model changed by one process at a time, on every store, whoever dies, stops or is slow?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import contenders
import forked
from adresponse import mutex, registry, store
from adresponse.errors import StoreError
from tracked_example import copied_store
from versions_example import STORES, store_of


@pytest.fixture(params=STORES)
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> store.Store:
    monkeypatch.chdir(tmp_path)
    return store_of(request.param, tmp_path)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A model of this test alone: the server's store is shared."""
    return f"mutex {request.node.name}"


def test_eight_processes_lose_no_update(opened: store.Store, name: str) -> None:
    opened.call("create_registered_model", name, {"count": "0"})
    rounds = 2 if opened.uri.startswith("http") else 5  # each waiter's looks cost a server more than a file
    assert forked.exit_code(contenders.count, opened.uri, name, 8, rounds) == 0
    assert opened.call("get_registered_model", name).tags["count"] == str(8 * rounds)
    assert mutex.queue(opened, name) == ()


def test_models_do_not_wait_for_each_other_and_the_lock_is_no_model(opened: store.Store, name: str) -> None:
    other = 'joe\'s "south"'
    with mutex.held(opened, name), mutex.held(opened, other, patience=0.0):
        assert [t.name for t in mutex.queue(opened) if t.name in (name, other)] == [name, other]
    assert mutex.LOCK not in [m.name for m in registry.models(opened)]
    assert "no model" in opened.call("get_registered_model", mutex.LOCK).description


def test_a_waiter_says_once_who_holds_it_and_gives_up_in_the_end(opened: store.Store, name: str) -> None:
    said: list[str] = []
    with mutex.held(opened, name, command="adresponse refresh"):
        with (
            pytest.raises(mutex.BusyError, match=r"not free within 0.4 s"),
            mutex.held(opened, name, waiting=said.append, patience=0.4),
        ):
            pass
        assert len(mutex.queue(opened, name)) == 1
    assert len(said) == 1
    assert f"process {os.getpid()}, `adresponse refresh`" in said[0]


def test_the_lock_is_let_go_after_a_failure(opened: store.Store, name: str) -> None:
    with pytest.raises(RuntimeError, match="on purpose"), mutex.held(opened, name):
        raise RuntimeError("on purpose")
    assert mutex.queue(opened, name) == ()


def test_a_killed_holder_is_taken_over_at_once_on_the_same_machine(opened: store.Store, name: str) -> None:
    holder, line = forked.spoken_to(contenders.hold, opened.uri, name, 3600.0)
    assert line.recv() == "held"
    holder.kill()
    holder.join()
    with mutex.held(opened, name, patience=5) as lease:  # a lease of an hour did not run out in 5 s
        lease.check()


def test_a_holder_that_stops_loses_the_lock_and_is_told_when_it_wakes(opened: store.Store, name: str) -> None:
    holder, line = forked.spoken_to(contenders.hold, opened.uri, name, 0.6)
    assert holder.pid is not None
    assert line.recv() == "held"
    line.send("?")
    assert line.recv() == "still held"
    os.kill(holder.pid, signal.SIGSTOP)
    try:
        with mutex.held(opened, name, patience=20) as lease:
            os.kill(holder.pid, signal.SIGCONT)
            line.send("?")
            assert "was taken by another process" in line.recv()
            lease.check()
    finally:
        os.kill(holder.pid, signal.SIGCONT)
        line.close()
        holder.join()


def test_a_holder_that_lives_keeps_the_lock_longer_than_its_lease(opened: store.Store, name: str) -> None:
    with mutex.held(opened, name, lease=0.6) as lease:
        with pytest.raises(mutex.BusyError), mutex.held(opened, name, patience=2.5):
            pass
        lease.check()


def test_a_lease_is_not_renewed_while_mlflow_imports(opened: store.Store, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[str] = []
    with mutex.held(opened, name, lease=0.3):
        monkeypatch.setattr(opened.client, "set_model_version_tag", lambda *given: beats.append(given[-1]))
        with mutex.IMPORTING:
            time.sleep(0.1)  # one that had begun
            before = len(beats)
            time.sleep(0.5)
            assert len(beats) == before
        end = time.monotonic() + 10
        while len(beats) == before and time.monotonic() < end:
            time.sleep(0.05)
        assert len(beats) > before


RENEWING = """
import sys, threading
from types import SimpleNamespace
import numpy as np
from adresponse import mutex, scoring, store

opened, ended = store.prepare(sys.argv[1]).open(), threading.Event()

def renew():
    while not ended.wait(0.005):
        with mutex.IMPORTING:
            try:
                import dbruntime.databricks_repl_context  # what MLflow looks for on each request to a server
            except ImportError:
                pass

thread = threading.Thread(target=renew, daemon=True)
thread.start()
trial = scoring.Trial(opened, opened.call("create_run", "0").info.run_id)
print(trial.scores(SimpleNamespace(observed=np.array([1.0, 2.0, 4.0])), np.array([1.0, 2.5, 4.0]))["mean_absolute_error"])
"""


def test_a_version_is_evaluated_while_its_lock_is_renewed(tmp_path: Path) -> None:
    """Without a turn for each this hung for good: MLflow imports its evaluators under one lock, and the thread under two."""
    copied_store(tmp_path)
    command = [sys.executable, "-c", RENEWING, f"sqlite:///{tmp_path / 'mlflow.db'}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert float(done.stdout) == pytest.approx(0.5 / 3), done.stderr


def test_a_waiter_that_slept_queues_again(opened: store.Store, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ticket is taken away while it waits, as those behind it do when it stops."""
    asked = []

    def waiting(_: str) -> None:
        asked.append(mutex.queue(opened, name)[-1].number)
        mutex._delete(opened, asked[-1])
        mutex._delete(opened, holder)

    holder = mutex._draw(opened, name, 3600.0, "a holder")[0]
    with mutex.held(opened, name, waiting=waiting, patience=10) as lease:
        assert lease.number > asked[0] > holder


def test_a_slow_process_never_takes_the_lock_of_a_later_owner(opened: store.Store, name: str) -> None:
    """It saw a ticket of a dead process, slept while two others held the lock, and acts on what it saw."""
    seen = mutex._draw(opened, name, 60.0, "dead")[0]
    mutex._delete(opened, seen)
    with mutex.held(opened, name):
        pass
    with mutex.held(opened, name) as lease:
        mutex._delete(opened, seen)
        lease.check()


def test_a_request_that_was_repeated_on_its_way_holds_once(
    opened: store.Store, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = mutex._create
    monkeypatch.setattr(mutex, "_create", lambda *given: (original(*given), original(*given))[1])
    with mutex.held(opened, name) as lease:
        assert [t.number for t in mutex.queue(opened, name)] == [lease.number]


@pytest.mark.parametrize(
    ("process", "ended"),
    [
        ("", False),  # written by another version
        ("elsewhere/{pid}/1", False),  # another machine, or another container with the same host name
        ("{place}/4194304/1", True),  # above any number that Linux gives
        ("{place}/{pid}/1", True),  # the number was given anew
        ("{place}/{pid}/{start}", False),
        ("{place}/x/1", False),
    ],
)
def test_a_process_has_ended_only_where_that_is_known(process: str, ended: bool) -> None:
    given = process.format(place=mutex._place(), pid=os.getpid(), start=mutex._start(os.getpid()))
    assert mutex.ended(given) is ended


def test_a_store_that_is_away_for_a_moment_does_not_end_the_lease(
    opened: store.Store, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, failures = opened.client.set_model_version_tag, []

    def failing(*given: object) -> None:
        if len(failures) < 2:
            failures.append(given)
            raise OSError("away")
        original(*given)

    monkeypatch.setattr(opened.client, "set_model_version_tag", failing)
    with mutex.held(opened, name, lease=0.9) as lease:
        before = mutex.queue(opened, name)[0].beat
        time.sleep(0.8)
        assert mutex.queue(opened, name)[0].beat != before
        assert len(failures) == 2
        lease.check()


def test_without_rights_the_store_says_so(opened: store.Store, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("403 Permission denied")

    monkeypatch.setattr(opened.client, "create_model_version", refuse)
    with pytest.raises(StoreError), mutex.held(opened, name):
        pass
