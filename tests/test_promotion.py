"""Does champion move whole or not at all, does the history say so, and does one find the way back?"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import contenders
import forked
from adresponse import journal, mutex, promotion, registry, store
from adresponse.errors import ConfigError, DifferenceError, StoreError
from adresponse.mutex import Lease
from adresponse.promotion import Promoted
from contenders import STEPS
from versions_example import STORES, champion, lose_files, moves, store_of, version, whole


@pytest.fixture(params=STORES)
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> store.Store:
    monkeypatch.chdir(tmp_path)
    return store_of(request.param, tmp_path)


@pytest.fixture
def lease(opened: store.Store, request: pytest.FixtureRequest) -> Iterator[Lease]:
    """The lock of a model of this test alone: the server's store is shared."""
    with mutex.held(opened, f"model of {request.node.name}") as held:
        yield held


def many(lease: Lease, count: int, own: bool = False) -> None:
    """That many versions, each promoted in its turn."""
    for number in range(1, count + 1):
        assert version(lease.store, lease.name, own=own) == str(number)
        promote(lease, str(number))


def promote(lease: Lease, number: str, **given: object) -> Promoted:
    return promotion.promote(lease, number, **{"verify": accept, "why": "for the test", **given})  # type: ignore[arg-type]


def rollback(lease: Lease) -> Promoted:
    return promotion.rollback(lease, verify=accept, why="for the test")


def accept(uri: str) -> None:
    """A model that answers as it was evaluated."""


def refuse(uri: str) -> None:
    raise DifferenceError(f"{uri} answers otherwise.")


# --- promote


def test_a_version_becomes_champion_verified_before_and_after(lease: Lease) -> None:
    opened, name = lease.store, lease.name
    version(opened, name)
    seen = []

    def verify(uri: str) -> None:
        seen.append((uri, champion(opened, name)))
        whole(opened)(uri)

    found = promote(lease, "1", verify=verify, why="the first", expected=None, digests={"file": "f" * 64}, by="anna@office")
    assert seen == [(f"models:/{name}/1", ""), (f"models:/{name}@champion", "1")]
    assert (found.changed, found.source, found.target, found.settled) == (True, "", "1", ())
    assert champion(opened, name) == "1"
    (event,) = journal.read(opened, name)
    assert event == found.event
    assert (event.kind, event.source, event.target, event.state, event.who) == ("promotion", "", "1", "done", "anna@office")
    manifest = opened.call("get_model_version", name, "1").tags[registry.MANIFEST_TAG]
    assert event.digests == {"file": "f" * 64, "manifest": manifest}


def test_the_champion_is_not_promoted_twice(lease: Lease) -> None:
    many(lease, 1)
    found = promote(lease, "1", verify=refuse)
    assert (found.changed, found.source, found.target) == (False, "1", "1")
    assert len(moves(lease.store, lease.name)) == 1


def test_a_champion_whose_files_are_gone_is_not_called_champion_already(lease: Lease) -> None:
    many(lease, 1, own=True)
    lose_files(lease.store, lease.name, "1")
    with pytest.raises(StoreError, match=r"files of version 1 .* put the folder back, or run the study again"):
        promote(lease, "1")


@pytest.mark.parametrize(
    ("expected", "said"),
    [("1", "is version 2, and version 1 was expected"), (None, "is version 2, and no version was expected")],
)
def test_another_champion_than_expected_is_refused_with_both_named(lease: Lease, expected: str | None, said: str) -> None:
    many(lease, 2)
    version(lease.store, lease.name)
    with pytest.raises(promotion.MovedError, match=said):
        promote(lease, "3", expected=expected)
    assert champion(lease.store, lease.name) == "2"
    assert len(moves(lease.store, lease.name)) == 2


def test_a_rejected_version_needs_force_and_a_reason(lease: Lease) -> None:
    many(lease, 1)
    version(lease.store, lease.name, "REJECTED", **{"adresponse.reason": "r2 >= 0.9: 0.677"})
    with pytest.raises(StoreError, match=r"rejected by the gate \(r2 >= 0.9: 0.677\)"):
        promote(lease, "2")
    with pytest.raises(ConfigError, match="gives a reason"):
        promote(lease, "2", force=True, why=" ")
    assert promote(lease, "2", force=True, why="the board wants it").target == "2"
    assert journal.read(lease.store, lease.name)[-1].why == "the board wants it"


def test_a_version_that_is_not_there_or_not_whole_is_refused(lease: Lease, request: pytest.FixtureRequest) -> None:
    opened, name = lease.store, lease.name
    many(lease, 1)
    version(opened, name)
    opened.call("delete_model_version_tag", name, "2", registry.MANIFEST_TAG)
    version(opened, name, own=True)
    lose_files(opened, name, "3")
    for asked, said in (
        ("9", r"no version 9 of .* there is 3, 2 and 1"),
        ("2", "has no tag adresponse.manifest"),
        ("3", r"files of version 3 .* are gone: MLmodel and manifest.json cannot be found \(they were at .*/model\)"),
    ):
        with pytest.raises(StoreError, match=said):
            promote(lease, asked)
    assert champion(opened, name) == "1"
    assert len(moves(opened, name)) == 1


def test_a_champion_that_adresponse_did_not_make_is_said_to_be_so(lease: Lease) -> None:
    opened, name = lease.store, lease.name
    version(opened, name)
    opened.call("delete_model_version_tag", name, "1", registry.MANIFEST_TAG)
    opened.call("set_registered_model_alias", name, "champion", "1")
    with pytest.raises(StoreError, match=r"has no tag adresponse\.manifest.*; take one that `adresponse run` made"):
        promote(lease, "1")


@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
@pytest.mark.parametrize(
    ("step", "history"),
    [
        ("verify before", []),  # nothing was begun
        ("create_run", []),
        ("set_registered_model_alias", ["undone"]),
        ("verify after", ["undone"]),
        ("set_terminated", ["undone"]),  # the history could not be written, so it did not happen
    ],
)
def test_a_failure_at_any_step_puts_the_alias_back(
    lease: Lease, monkeypatch: pytest.MonkeyPatch, step: str, history: list[str], first: bool
) -> None:
    opened, name = lease.store, lease.name
    many(lease, 0 if first else 1)
    new, before = version(opened, name), moves(opened, name)
    if not step.startswith("verify"):
        _break_once(opened, monkeypatch, step)

    def verify(uri: str) -> None:
        if step == ("verify after" if "@" in uri else "verify before"):
            refuse(uri)

    with pytest.raises((StoreError, DifferenceError)):
        promote(lease, new, verify=verify)
    assert champion(opened, name) == ("" if first else "1")
    assert [state for *_, state in moves(opened, name)[len(before) :]] == history
    assert promotion.settle(lease) == ()
    assert promote(lease, new).changed


def _break_once(opened: store.Store, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    original = getattr(opened.client, method)

    def broken(*_: object, **__: object) -> None:
        monkeypatch.setattr(opened.client, method, original)
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(opened.client, method, broken)


def test_an_alias_moved_by_hand_meanwhile_is_not_overwritten(lease: Lease) -> None:
    opened, name = lease.store, lease.name
    many(lease, 1)
    version(opened, name)
    version(opened, name)

    def by_hand(uri: str) -> None:
        if "@" in uri:
            opened.call("set_registered_model_alias", name, "champion", "3")

    with pytest.raises(promotion.MovedError, match="is version 3, and version 2 a moment ago"):
        promote(lease, "2", verify=by_hand)
    assert champion(opened, name) == "3"
    assert moves(opened, name)[-1] == ("promotion", "1", "2", "abandoned")
    promotion.settle(lease)
    assert moves(opened, name)[-1] == ("outside", "1", "3", "done")


def test_who_lost_the_lock_changes_nothing_more(lease: Lease) -> None:
    """It froze while it verified; another process took the lock, and settled what was begun."""
    opened, name = lease.store, lease.name
    version(opened, name)

    def freeze(uri: str) -> None:
        if "@" in uri:
            mutex._delete(opened, lease.number)
            with mutex.held(opened, name) as other:
                (settled,) = promotion.settle(other)
                assert settled.state == "done"

    with pytest.raises(mutex.LeaseLostError):
        promote(lease, "1", verify=freeze)
    assert champion(opened, name) == "1"
    assert moves(opened, name) == [("promotion", "", "1", "done")]


# --- settle


def test_a_process_killed_at_any_step_leaves_what_the_next_one_settles(opened: store.Store) -> None:
    expected = {
        "verify before": ("1", None),  # nothing was begun
        "event": ("1", "abandoned"),
        "alias before": ("1", "abandoned"),
        "alias after": ("2", "done"),
        "verify after": ("2", "done"),
        "close before": ("2", "done"),
        "close after": ("2", "done"),  # there was nothing left to do
    }
    for step in STEPS:
        with mutex.held(opened, f"killed-{step}") as lease:
            many(lease, 1)
            version(opened, lease.name)
    _, line = forked.spoken_to(contenders.die, opened.uri, STEPS)
    assert line.recv() == [signal.SIGKILL] * len(STEPS)
    found = {}
    for step in STEPS:
        with mutex.held(opened, f"killed-{step}", patience=5) as lease:
            settled = promotion.settle(lease)
            states = [e.state for e in journal.read(opened, lease.name)[1:]]
            assert [e.state for e in settled] == (states if step != "close after" else [])
            assert promotion.settle(lease) == ()
            found[step] = (champion(opened, lease.name), states[0] if states else None)
            assert promote(lease, "2").changed is (found[step][0] == "1")
    assert found == expected


def test_a_promotion_of_a_version_that_does_not_load_is_undone_when_settled(lease: Lease) -> None:
    opened, name = lease.store, lease.name
    many(lease, 1)
    version(opened, name, own=True)
    journal.append(lease, "promotion", source="1", target="2")
    opened.call("set_registered_model_alias", name, "champion", "2")
    lose_files(opened, name, "2")
    (settled,) = promotion.settle(lease)
    assert (settled.state, champion(opened, name)) == ("undone", "1")
    assert "does not load" in settled.outcome


def test_an_alias_moved_by_hand_is_noted_and_stops_what_was_decided_before(lease: Lease) -> None:
    opened, name = lease.store, lease.name
    many(lease, 2)
    version(opened, name)
    decided_on = journal.champion(journal.read(opened, name))
    opened.call("set_registered_model_alias", name, "champion", "1")
    with pytest.raises(promotion.MovedError, match="is version 1, and version 2 was expected"):
        promote(lease, "3", expected=decided_on)
    assert moves(opened, name)[-1] == ("outside", "2", "1", "done")
    assert champion(opened, name) == "1"
    assert promotion.settle(lease) == ()


def test_processes_that_promote_at_once_make_one_chain(opened: store.Store, request: pytest.FixtureRequest) -> None:
    name = f"model of {request.node.name}"
    for _ in range(6):
        version(opened, name)
    assert forked.exit_code(contenders.promote, opened.uri, name, 6) == 0
    found = moves(opened, name)
    assert sorted(target for _, _, target, _ in found) == list("123456")
    assert [source for _, source, _, _ in found] == ["", *(target for _, _, target, _ in found[:-1])]
    assert champion(opened, name) == found[-1][2]


# --- back


def test_two_rollbacks_go_two_steps_back_and_then_there_is_none(lease: Lease) -> None:
    opened, name = lease.store, lease.name
    many(lease, 3)
    version(opened, name)  # registered later, never champion
    journal.append(lease, "kept", source="3")
    assert promotion.rollback_target(opened, name) == "2"
    assert [rollback(lease).target, rollback(lease).target] == ["2", "1"]
    assert champion(opened, name) == "1"
    with pytest.raises(StoreError, match="names none before version 1"):
        rollback(lease)
    promote(lease, "4")
    assert rollback(lease).target == "1"
    assert moves(opened, name)[3:] == [
        ("kept", "3", "", "done"),
        ("rollback", "3", "2", "done"),
        ("rollback", "2", "1", "done"),
        ("promotion", "1", "4", "done"),
        ("rollback", "4", "1", "done"),
    ]


def test_versions_that_are_gone_or_not_the_same_are_passed_over(lease: Lease) -> None:
    opened, name = lease.store, lease.name
    many(lease, 5, own=True)
    opened.call("delete_model_version", name, "4")
    lose_files(opened, name, "3")
    opened.call("set_model_version_tag", name, "2", registry.MANIFEST_TAG, "0" * 64)
    found = rollback(lease)
    assert (found.target, champion(opened, name)) == ("1", "1")
    for said, start in zip(found.skipped, ("There is no version 4", "The files of version 3", "Version 2"), strict=True):
        assert said.startswith(start)
    assert found.event is not None
    assert "The files of version 3" in found.event.why


def test_a_champion_taken_away_by_hand_comes_back(lease: Lease) -> None:
    many(lease, 2)
    lease.store.call("delete_registered_model_alias", lease.name, "champion")
    assert rollback(lease).target == "2"


def test_a_rollback_that_fails_leaves_the_champion(lease: Lease) -> None:
    many(lease, 2)
    with pytest.raises(DifferenceError):
        promotion.rollback(lease, verify=refuse, why="for the test")
    assert champion(lease.store, lease.name) == "2"


# --- delete


def test_a_version_in_use_is_not_deleted(lease: Lease) -> None:
    opened, name = lease.store, lease.name
    many(lease, 3)
    version(opened, name)
    opened.call("set_registered_model_alias", name, "candidate", "4")
    registry.deployed(opened, registry.locate(opened, f"models:/{name}/1"), "sagemaker sales")
    refusals = {
        "3": "is its champion",
        "4": "is its candidate",
        "1": "is used by sagemaker sales",
        "2": "`adresponse rollback` would go to version 2",
        "9": "no version 9",
    }
    for number, said in refusals.items():
        with pytest.raises(StoreError, match=said):
            promotion.delete_version(lease, number)
    opened.call("delete_registered_model_alias", name, "candidate")
    with pytest.raises(StoreError, match="used by the deployment 'shop' of this machine"):
        promotion.delete_version(lease, "4", in_use=["the deployment 'shop' of this machine"])
    assert sorted(v.version for v in registry.versions(opened, name)) == list("1234")
    event = promotion.delete_version(lease, "4", why="never used")
    assert (event.kind, event.source, event.why, event.state) == ("deletion", "4", "never used", "done")
    promotion.delete_version(lease, "2", force=True)
    assert sorted(v.version for v in registry.versions(opened, name)) == list("13")
    assert rollback(lease).target == "1"


def test_a_deletion_whose_request_was_repeated_on_its_way_is_in_the_history(
    lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    version(lease.store, lease.name)
    original = lease.store.client.delete_model_version
    with monkeypatch.context() as patched:
        patched.setattr(lease.store.client, "delete_model_version", lambda *given: (original(*given), original(*given)))
        promotion.delete_version(lease, "1")
    assert moves(lease.store, lease.name) == [("deletion", "1", "", "done")]
    with pytest.raises(StoreError, match="no version 1"):
        promotion.delete_version(lease, "1")


def test_a_deployment_uses_one_version_until_it_is_withdrawn(lease: Lease) -> None:
    opened, name = lease.store, lease.name
    for _ in range(2):
        version(opened, name)
    first, second = (registry.locate(opened, f"models:/{name}/{n}") for n in "12")
    registry.deployed(opened, first, "azureml ws:sales")
    registry.deployed(opened, first, "image shop (é)")
    assert registry.uses(opened, name, "1") == ("azureml ws:sales", "image shop ___")
    registry.deployed(opened, second, "azureml ws:sales")
    assert registry.uses(opened, name, "1") == ("image shop ___",)
    assert registry.uses(opened, name, "2") == ("azureml ws:sales",)
    registry.deployed(opened, first, "azureml ws:sales", beside=True)
    assert registry.uses(opened, name, "2") == ("azureml ws:sales",)
    registry.withdrawn(opened, name, "azureml ws:sales")
    assert registry.uses(opened, name, "2") == ()


# --- what is lost


def test_a_registry_in_order_has_nothing_lost(lease: Lease) -> None:
    many(lease, 2)
    assert promotion.lost(lease.store, [lease.name]) == ()


def test_what_is_lost_is_found(opened: store.Store, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"model of {request.node.name}"
    with mutex.held(opened, name) as lease:
        many(lease, 3, own=True)
        lose_files(opened, name, "1")
        opened.call("delete_model_version_tag", name, "2", registry.MANIFEST_TAG)
        opened.call("set_registered_model_alias", name, "champion", "1")
        running = opened.call("get_model_version", name, "2").run_id
        opened.call("set_tag", running, "adresponse.model_version", "2")
        dead = mutex.process_tags()["adresponse.process"].rsplit("/", 1)[0] + "/1"
        opened.call("set_tag", running, "adresponse.process", dead)
        opened.call("update_run", running, status="RUNNING")
    monkeypatch.setattr(mutex, "process_tags", lambda: {"adresponse.process": dead})
    mutex._draw(opened, name, 60.0, "adresponse refresh")
    found = {f.code: f for f in promotion.lost(opened, [name])}
    assert sorted(found) == ["R001", "R003", "R004", "R006"]
    assert found["R001"].message.startswith("Version 2")  # the last of two
    assert "which made version 2" in found["R003"].message
    assert "`adresponse refresh`" in found["R004"].message
    assert "is version 1, where the history says version 3" in found["R006"].message


def test_what_is_under_way_is_not_lost(lease: Lease) -> None:
    many(lease, 1)
    journal.append(lease, "promotion", source="1", target="2")
    assert promotion.lost(lease.store, [lease.name]) == ()
    mutex._delete(lease.store, lease.number)
    (found,) = promotion.lost(lease.store, [lease.name])
    assert found.code == "R005"
    assert "from 1 to 2 was begun by" in found.message


def test_an_alias_of_a_deleted_version_is_found(lease: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's SQL store takes such an alias away; others do not."""
    many(lease, 1)
    models = registry.models(lease.store)
    for model in models:
        model._aliases = {**model.aliases, "best": "9"}
    monkeypatch.setattr(registry, "models", lambda _: models)
    (found,) = promotion.lost(lease.store, [lease.name])
    assert (found.code, found.severity) == ("R002", "stop")
    assert "'best'" in found.message
