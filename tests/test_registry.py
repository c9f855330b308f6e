"""Is a version registered whole or not at all, does only a validated one become champion, and is it found again?"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pytest

import forked
from adresponse import registry, store, track
from adresponse.errors import StoreError
from adresponse.stored import open_stored
from parts import free_port, start_postgres
from tracked_example import at_once, child_environment, copied_store, log, outcomes, rejected, study


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> store.Store:
    monkeypatch.chdir(tmp_path)
    return copied_store(tmp_path)


def test_a_validated_version_is_champion(opened: store.Store) -> None:
    given = study()
    run, model, version = log(opened, given)
    assert version == registry.Version("sales-response", "1", "VALIDATED", True, "models:/sales-response/1")
    assert registry.champion(opened, "sales-response") == version
    stored = opened.call("get_model_version", "sales-response", "1")
    assert stored.tags["adresponse.status"] == "VALIDATED"
    assert stored.tags["adresponse.data_digest"] == given.table.digest
    assert float(stored.tags["adresponse.rmse"]) == pytest.approx(3.194, abs=5e-4)
    assert (stored.run_id, stored.source) == (run.run_id, model.uri)
    tags = opened.call("get_logged_model", model.model_id).tags
    assert json.loads(tags["mlflow.modelVersions"]) == [{"name": "sales-response", "version": stored.version}]
    assert "TV marketing budget" in stored.description
    assert "TV marketing budget" in opened.call("get_registered_model", "sales-response").description


def test_a_rejected_version_leaves_the_champion_where_it_is(opened: store.Store) -> None:
    log(opened, study())
    _, _, second = log(opened, rejected(study()))
    assert (second.version, second.status, second.champion) == ("2", "REJECTED", False)
    found = registry.champion(opened, "sales-response")
    assert found is not None
    assert found.version == "1"
    assert [(v.version, v.status) for v in registry.versions(opened, "sales-response")] == [
        ("2", "REJECTED"), ("1", "VALIDATED"),
    ]  # fmt: skip
    assert "r2 >= 0.9: 0.677" in opened.call("get_model_version", "sales-response", "2").tags["adresponse.reason"]


def test_a_first_version_that_is_rejected_has_no_alias(opened: store.Store) -> None:
    log(opened, rejected(study()))
    assert registry.champion(opened, "sales-response") is None
    assert len(registry.versions(opened, "sales-response")) == 1


def test_a_model_that_is_not_there_has_no_versions(opened: store.Store) -> None:
    assert registry.versions(opened, "nothing") == []
    assert registry.champion(opened, "nothing") is None


@pytest.mark.parametrize("step", ["create_model_version", "set_tag", "set_logged_model_tags", "set_registered_model_alias"])
def test_a_failure_at_any_step_leaves_no_version_and_a_failed_run(
    opened: store.Store, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    _break(opened, monkeypatch, step)
    with pytest.raises(StoreError, match="broken on purpose"):
        log(opened, study())
    assert registry.models(opened) == []
    assert outcomes(opened, "sales-response") == [("FAILED", "")]


def test_a_request_that_was_repeated_on_its_way_is_one_version(opened: store.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    original = opened.client.create_model_version

    def twice(name: str, *given: object, **more: object) -> object:
        first = original(name, *given, **more)
        return original(name, *given, **more) if name == "sales-response" else first

    monkeypatch.setattr(opened.client, "create_model_version", twice)
    _, model, version = log(opened, study())
    assert version.version == "2"
    assert [(v.version, v.champion) for v in registry.versions(opened, "sales-response")] == [("2", True)]
    tags = opened.call("get_logged_model", model.model_id).tags
    assert [str(v["version"]) for v in json.loads(tags["mlflow.modelVersions"])] == ["2"]


def test_a_failure_takes_back_only_its_own_version(opened: store.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    log(opened, study())
    _break(opened, monkeypatch, "set_registered_model_alias")
    with pytest.raises(StoreError):
        log(opened, study())
    assert [(v.version, v.champion) for v in registry.versions(opened, "sales-response")] == [("1", True)]


def test_a_version_that_an_alias_names_is_not_taken_back(opened: store.Store) -> None:
    run, model, version = log(opened, study())
    registry.take_back(opened, version, model, run.run_id)
    assert [(v.version, v.champion) for v in registry.versions(opened, "sales-response")] == [("1", True)]


def test_a_model_that_somebody_else_made_stays_when_it_is_empty_again(opened: store.Store) -> None:
    opened.call("create_registered_model", "sales-response")
    run, model, version = log(opened, rejected(study()))
    registry.take_back(opened, version, model, run.run_id)
    assert [m.name for m in registry.models(opened)] == ["sales-response"]
    assert registry.versions(opened, "sales-response") == []


def test_more_models_than_a_page_holds_are_all_found(opened: store.Store) -> None:
    names = [f"model {i:03}" for i in range(105)]
    for name in names:
        opened.call("create_registered_model", name)
    assert [m.name for m in registry.models(opened)] == names


def _break(opened: store.Store, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(opened.client, step, broken)


def test_a_name_with_an_apostrophe(opened: store.Store) -> None:
    log(opened, study("joe's sales"))
    assert [v.version for v in registry.versions(opened, "joe's sales")] == ["1"]


@pytest.mark.parametrize("uri", [None, "models:/sales-response@champion", "models:/sales-response/1"])
def test_a_version_is_located_and_fetched_whole(opened: store.Store, tmp_path: Path, uri: str | None) -> None:
    _, model, _ = log(opened, study())
    located = registry.locate(opened, uri)
    assert (located.name, located.version, located.pinned) == ("sales-response", "1", "models:/sales-response/1")
    assert located.digest == model.digest
    found = open_stored(registry.fetch(opened, located, tmp_path / "copied"), located.digest)
    assert found.model_id == model.model_id


def test_bytecode_is_not_fetched(opened: store.Store, tmp_path: Path) -> None:
    log(opened, study())
    located = registry.locate(opened, None)
    (source,) = (tmp_path / "mlruns").glob("**/code/*/pyfunc.py")
    cache = source.parent / "__pycache__"
    cache.mkdir()
    (cache / "pyfunc.cpython-311.pyc").write_bytes(b"of another text")
    copied = registry.fetch(opened, located, tmp_path / "copied")
    assert list(copied.glob("code/*/pyfunc.py"))
    assert not list(copied.rglob("*.pyc"))


def test_a_logged_model_is_fetched_without_a_version(opened: store.Store, tmp_path: Path) -> None:
    _, model, _ = log(opened, study())
    located = registry.locate(opened, model.uri)
    assert (located.version, located.digest) == ("", None)
    assert open_stored(registry.fetch(opened, located, tmp_path / "copied")).digest == model.digest


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("models:/sale-response@champion", "no model 'sale-response'. Did you mean 'sales-response'? It has: sales-response."),
        ("models:/sales-response/7", "no such version or alias. It has: 1 (champion)."),
        ("models:/sales-response@best", "no such version or alias. It has: 1 (champion)."),
        ("sales-response", "names no model; give models:/NAME@champion"),
        ("models:/sales-response", "names no model"),
    ],
)
def test_a_model_that_cannot_be_located_is_refused_with_what_is_there(opened: store.Store, uri: str, said: str) -> None:
    log(opened, study())
    with pytest.raises(StoreError) as refusal:
        registry.locate(opened, uri)
    assert said in str(refusal.value)


def test_without_a_name_there_has_to_be_one_model(opened: store.Store) -> None:
    with pytest.raises(StoreError, match=r"has 0 registered models \(none\)"):
        registry.locate(opened, None)
    log(opened, study())
    log(opened, study("other-response"))
    with pytest.raises(StoreError, match=r"2 registered models \(other-response and sales-response\); name one"):
        registry.locate(opened, None)


def test_tags_are_written_on_the_version(opened: store.Store) -> None:
    log(opened, study())
    registry.tag(opened, registry.locate(opened, None), {"adresponse.verified": "true"})
    assert opened.call("get_model_version", "sales-response", "1").tags["adresponse.verified"] == "true"


def test_of_a_shared_store_s_hundred_models_a_refusal_names_the_first_and_the_nearest(
    opened: store.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    hundred = [SimpleNamespace(name=f"model-{number:02}") for number in range(100)]  # to make them would take a minute
    monkeypatch.setattr(registry, "models", lambda _: hundred)
    with pytest.raises(StoreError, match=r"Did you mean 'model-57'\? It has: model-00, .*, model-19 and 80 more\."):
        registry.locate(opened, "models:/modell-57@champion")
    with pytest.raises(StoreError, match=r"has 100 registered models \(model-00, .* and 80 more\); name one"):
        registry.locate(opened, None)


def test_ten_processes_at_once_on_a_fresh_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert forked.exit_code(at_once, 10) == 0
    opened = store.prepare(store.resolve(None, tmp_path)).open()
    found = registry.versions(opened, "sales-response")
    assert sorted(int(v.version) for v in found) == list(range(1, 11))
    assert [v.champion for v in found].count(True) == 1
    assert [status for status, _ in outcomes(opened, "sales-response")] == ["VALIDATED"] * 10
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mlflow.db", "mlruns"]


# --- other people's servers


@contextmanager
def _served(command: list[str], url: str, folder: Path, **environment: str) -> Iterator[None]:
    """A server of MLflow's, from its first good answer to the end of the block."""
    with (folder / "server.log").open("wb") as log_file:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command],
            cwd=folder,
            env=child_environment(**environment),
            stdout=log_file,
            stderr=log_file,
            start_new_session=True,
        )
        try:
            _wait_until_up(server, url, folder / "server.log")
            yield
        finally:
            server.terminate()
            server.wait(30)


def _wait_until_up(server: subprocess.Popen[bytes], url: str, log_file: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert server.poll() is None, log_file.read_text(errors="replace")[-2000:]
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"not up in 120 s: {log_file.read_text(errors='replace')[-2000:]}")


def _post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_a_server_on_postgresql_with_proxied_artifacts(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with start_postgres() as database:
        command = ["server", "--backend-store-uri", database, "--artifacts-destination", str(tmp_path / "artifacts"),
                   "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]  # fmt: skip
        with _served(command, f"{url}/health", tmp_path):
            opened = store.prepare(store.resolve(url, tmp_path)).open()
            given = study()
            run, _, version = log(opened, given)
            with opened.current():
                answer = mlflow.sklearn.load_model("models:/sales-response@champion").predict(given.table.X)
            np.testing.assert_array_equal(answer, given.estimator.predict(given.table.X))
            assert version.champion
            assert outcomes(opened, "sales-response") == [("VALIDATED", "1")]
            found = _post(f"{url}/api/2.0/mlflow/runs/search", {"experiment_ids": [run.experiment_id]})
            shown = {r["info"]["run_id"]: r["data"] for r in found["runs"]}[run.run_id]
            assert {"key": "seed", "value": "42"} in shown["params"]
            assert (tmp_path / "artifacts").exists()
    with pytest.raises(StoreError, match="cannot be reached"):
        opened.call("search_experiments")


def test_long_words_and_names_fit_into_the_columns_of_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a table of 150 columns, whose dictionary is longer than a description may be, and of a long file name."""
    monkeypatch.chdir(tmp_path)
    given = study()
    table = replace(given.table, contract=replace(given.table.contract, origin="x" * 5_000))
    with start_postgres() as database:
        opened = store.prepare(database).open()
        with track.start(opened, given.name, "run " + "x" * 250) as run:
            assert len(opened.call("get_run", run.run_id).info.run_name) == 250
        _, _, version = log(opened, replace(given, table=table))
        assert version.champion
        assert "TV marketing budget" in opened.call("get_registered_model", given.name).description


def test_mlflow_serves_the_champion(opened: store.Store, tmp_path: Path) -> None:
    given = study()
    log(opened, given)
    port = free_port()
    command = ["models", "serve", "-m", "models:/sales-response@champion", "--env-manager", "local",
               "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    with _served(command, f"http://127.0.0.1:{port}/ping", tmp_path, MLFLOW_TRACKING_URI=opened.uri):
        asked = {"dataframe_split": {"columns": ["TV"], "data": [[100.0], [100]]}}
        exact, whole = _post(f"http://127.0.0.1:{port}/invocations", asked)["predictions"]
    assert exact == whole == given.estimator.predict(given.table.X.iloc[:1].assign(TV=100.0))[0]
