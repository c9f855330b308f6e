"""Is everything that happened to a model there, in order, whole, and whatever its text?"""

from __future__ import annotations

from pathlib import Path

import pytest

import contenders
import forked
from adresponse import journal, mutex, store
from adresponse.journal import Event, Kind, State
from versions_example import STORES, store_of


@pytest.fixture(params=STORES)
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> store.Store:
    monkeypatch.chdir(tmp_path)
    return store_of(request.param, tmp_path)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A model of this test alone: the server's store is shared."""
    return f"journal {request.node.name}"


def test_nothing_happened_to_a_model_that_is_not_there(opened: store.Store, name: str) -> None:
    assert journal.read(opened, name) == ()
    assert opened.call("get_experiment_by_name", name) is None


def test_what_is_written_is_read(opened: store.Store, name: str) -> None:
    why = "Besser: MAE 2,1 statt 2,4 – „Sommer“ 📈\n\"quoted\" and 'so'"
    with mutex.held(opened, name) as lease:
        begun = journal.append(
            lease,
            "promotion",
            source="3",
            target="4",
            why=why,
            digests={"file": "a" * 64, "manifest": "b" * 64},
            by="anna@büro",
        )
        assert begun.state == "started"
        done = journal.close(opened, begun, "done", "as planned")
        kept = journal.append(lease, "kept", source="4", why="too few rows to tell", tags={"adresponse.watch": "r1"})
    assert journal.read(opened, name) == (done, kept)
    assert (done.sequence, done.kind, done.source, done.target, done.why) == (1, "promotion", "3", "4", why)
    assert (done.who, done.state, done.outcome) == ("anna@büro", "done", "as planned")
    assert done.digests == {"file": "a" * 64, "manifest": "b" * 64}
    assert (kept.sequence, kept.state, kept.who) == (2, "done", mutex.who())
    shown = opened.call("get_run", done.run_id)
    assert (shown.info.run_name, shown.info.status) == ("event 1: promotion 3 -> 4", "FINISHED")
    assert opened.call("get_run", kept.run_id).data.tags["adresponse.watch"] == "r1"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("", ""),
        ("x" * 100_000, "x" * 3_960 + "… (cut; 100,000 characters)"),  # beyond any limit of MLflow's
        ("a\0b", "ab"),  # PostgreSQL takes no NUL
        ("caf\udce9", "caf?"),  # an argument of a command line that was not UTF-8
        ("🐘" * 3_000, "🐘" * 3_000),  # four bytes each
    ],
)
def test_any_reason_is_kept(opened: store.Store, request: pytest.FixtureRequest, given: str, read: str) -> None:
    name = f"journal reason {len(given)} {len(read)}"
    with mutex.held(opened, name) as lease:
        assert journal.append(lease, "kept", why=given).why == read
    assert [e.why for e in journal.read(opened, name)] == [read]


def test_many_events_are_read_in_order_over_all_pages(opened: store.Store, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with mutex.held(opened, name) as lease:
        for i in range(1, 13):
            journal.append(lease, "refresh", target=str(i))
    search = journal._search
    monkeypatch.setattr(journal, "_search", lambda *given, **more: search(*given, **{"max_results": 5, **more}))
    assert [(e.sequence, e.target) for e in journal.read(opened, name)] == [(i, str(i)) for i in range(1, 13)]


def test_an_event_that_somebody_deleted_is_still_read_and_its_number_not_given_anew(opened: store.Store, name: str) -> None:
    with mutex.held(opened, name) as lease:
        first = journal.append(lease, "kept")
        opened.call("delete_run", first.run_id)
        second = journal.append(lease, "kept")
    assert [e.sequence for e in journal.read(opened, name)] == [1, 2]
    assert second.sequence == 2


def test_an_event_that_somebody_deleted_before_it_was_ended_is_ended_all_the_same(opened: store.Store, name: str) -> None:
    with mutex.held(opened, name) as lease:
        begun = journal.append(lease, "promotion", source="1", target="2")
        opened.call("delete_run", begun.run_id)
        journal.close(opened, begun, "abandoned", "The process ended before the alias was moved.")
    (event,) = journal.read(opened, name)
    assert (event.state, event.outcome) == ("abandoned", "The process ended before the alias was moved.")


def test_events_of_processes_at_once_have_each_their_number(opened: store.Store, name: str) -> None:
    assert forked.exit_code(contenders.append, opened.uri, name, 4, 3) == 0
    assert [e.sequence for e in journal.read(opened, name)] == list(range(1, 13))


def test_a_request_that_was_repeated_on_its_way_is_one_event(
    opened: store.Store, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = opened.client.create_run
    monkeypatch.setattr(
        opened.client, "create_run", lambda *given, **more: (original(*given, **more), original(*given, **more))[0]
    )
    with mutex.held(opened, name) as lease:
        journal.close(opened, journal.append(lease, "promotion", source="3", target="4"), "done")
        journal.append(lease, "kept")
    assert [(e.sequence, e.kind, e.state) for e in journal.read(opened, name)] == [
        (1, "promotion", "done"),
        (2, "kept", "done"),
    ]


def test_nothing_is_written_without_the_lock(opened: store.Store, name: str) -> None:
    with mutex.held(opened, name) as lease:
        mutex._delete(opened, lease.number)
        with pytest.raises(mutex.LeaseLostError):
            journal.append(lease, "kept")
    assert journal.read(opened, name) == ()


# --- the line of champions


def event(kind: Kind, source: str, target: str, state: State = "done") -> Event:
    return Event(0, kind, source, target, "", "", "", {}, state, "", "")


P, R, O = "promotion", "rollback", "outside"  # noqa: E741


@pytest.mark.parametrize(
    ("happened", "line", "why"),
    [
        ([], "", "nothing happened"),
        ([(P, "", "1")], "1", "the first"),
        ([(P, "3", "4")], "3 4", "there was a champion before there was a history"),
        ([(P, "", "1"), (P, "1", "2"), (P, "2", "3")], "1 2 3", "one after the other"),
        ([(P, "", "1"), (P, "1", "2"), (P, "2", "3"), (R, "3", "2")], "1 2", "a step back"),
        ([(P, "", "1"), (P, "1", "2"), (P, "2", "3"), (R, "3", "2"), (R, "2", "1")], "1", "two steps back, not to and fro"),
        ([(P, "", "1"), (P, "1", "2"), (R, "2", "1"), (P, "1", "3")], "1 3", "what was rolled back is not gone back to"),
        ([(P, "", "1"), (P, "1", "2"), (P, "2", "1")], "1 2 1", "promoted again"),
        ([(P, "", "1"), (P, "1", "2"), (O, "2", "9")], "1 2 9", "moved by hand"),
        ([(P, "", "1"), (P, "1", "2"), (P, "2", "3"), (O, "3", "2")], "1 2", "rolled back by hand"),
        ([(P, "", "1"), (P, "1", "2"), (O, "2", "")], "1 2", "taken away by hand: back is where it was"),
        ([(P, "", "1"), (P, "1", "2"), (O, "2", ""), (P, "", "3")], "1 2 3", "and promoted after that"),
    ],
)
def test_the_line_of_champions(happened: list[tuple[Kind, str, str]], line: str, why: str) -> None:
    events = [event(*h) for h in happened]
    noise = [event("kept", "1", ""), event("refresh", "", "8"), event(P, "1", "7", "undone"), event(R, "7", "1", "abandoned")]
    mixed = [e for given in events for e in (*noise, given)]
    assert journal.line(mixed) == tuple(line.split())
    assert journal.champion(mixed) == (happened[-1][2] if happened else None)
