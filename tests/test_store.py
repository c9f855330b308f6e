"""Is the store found, made whole by whoever comes first, and every failure of it said in one sentence?"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import mlflow
import pytest

from adresponse import store, track
from adresponse.errors import StoreError
from tracked_example import FIGURES, child_environment, copied_store, made_once, open_in, study


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, "sqlite:////w/mlflow.db"),  # MLflow's own default
        ("  ", "sqlite:////w/mlflow.db"),  # a variable that is set to nothing
        ("sqlite:///x.db", "sqlite:////w/x.db"),  # relative: from the study's folder
        ("sqlite:////else/where.db", "sqlite:////else/where.db"),
        ("sqlite:////a b/ü.db?timeout=3", "sqlite:////a b/ü.db?timeout=3"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("postgresql+psycopg://u:p@h/db", "postgresql+psycopg://u:p@h/db"),
        ("databricks", "databricks"),
    ],
)
def test_resolve(given: str | None, found: str) -> None:
    assert store.resolve(given, Path("/w")) == found


def test_resolve_keeps_blanks_letters_and_percent_signs() -> None:
    uri = store.resolve(None, Path("/w/a b ü/50%?"))
    assert uri == "sqlite:////w/a b ü/50%25%3F/mlflow.db"
    assert store.sqlite_path(uri) == Path("/w/a b ü/50%?/mlflow.db")


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("sqllite:///x.db", "Did you mean 'sqlite'?"),
        ("postgres://h/db", "Did you mean 'postgresql'?"),
        ("localhost:5000", "Did you mean 'http://localhost:5000'?"),
        ("htp://u:secret@h", "Did you mean 'http'?"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
    ],
)
def test_a_wrong_uri_is_refused_with_a_hint(given: str, hint: str) -> None:
    with pytest.raises(StoreError) as refused:
        store.resolve(given, Path("/w"))
    assert hint in str(refused.value)
    assert "secret" not in str(refused.value)


# --- servers


def test_a_dead_server_is_refused_at_once(free: int) -> None:
    with pytest.raises(StoreError, match=r"cannot be reached .*is it running\?"):
        store.prepare(f"http://127.0.0.1:{free}")


def test_a_dead_database_is_refused_at_once(free: int) -> None:
    with pytest.raises(StoreError, match="cannot be reached") as refused:
        store.prepare(f"postgresql://mlflow:secret@127.0.0.1:{free}/mlflow")
    assert "secret" not in str(refused.value)


def test_a_server_that_never_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PROBE_SECONDS", 0.3)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        with pytest.raises(StoreError, match="timed out"):
            store.prepare(f"http://127.0.0.1:{deaf.getsockname()[1]}")


@pytest.mark.parametrize(("answer", "said"), [(401, "refuses access"), (404, "refused")])
def test_a_server_that_is_no_store_of_ours(answer: int, said: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.send_error(200 if self.path == "/health" else answer)

        do_GET = do_POST = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(StoreError, match=said) as refused:
            store.prepare(f"http://127.0.0.1:{server.server_port}").open()
        assert "\n" not in str(refused.value)
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- a fresh SQLite file


def test_a_fresh_store_is_what_mlflow_itself_would_have_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a b ü 50%"
    folder.mkdir()
    monkeypatch.chdir(folder)
    opened = open_in(folder)
    assert opened.call("get_experiment", "0").artifact_location == str(folder / "mlruns" / "0")
    assert [p.name for p in folder.iterdir()] == ["mlflow.db"]


def test_an_empty_file_is_filled(folder: Path) -> None:
    (folder / "mlflow.db").touch()
    assert open_in(folder).call("get_experiment", "0").name == "Default"


def test_a_store_not_needed_after_all_leaves_nothing(folder: Path) -> None:
    with store.prepare(store.resolve(None, folder)):
        assert list(folder.glob("mlflow.db")) == []
    assert list(folder.iterdir()) == []


def test_killed_while_making_the_next_one_works(folder: Path) -> None:
    child = store.prepare(store.resolve(None, folder)).child
    assert child is not None
    _wait_for(lambda: any(folder.glob(".mlflow.db.making-*")))
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert not (folder / "mlflow.db").exists()
    open_in(folder)
    assert [p.name for p in folder.iterdir()] == ["mlflow.db"]


def test_a_killed_child_is_a_store_error(folder: Path) -> None:
    preparing = store.prepare(store.resolve(None, folder))
    assert preparing.child is not None
    preparing.child.kill()
    with pytest.raises(StoreError, match="could not be made"):
        preparing.open()


def _wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


# --- an SQLite file that is no good


def test_a_locked_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied_store(folder)
    monkeypatch.setattr(store, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(store, "PATIENCE_SECONDS", 0.2)
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked by another process"):
            open_in(folder)


@pytest.mark.parametrize(
    "said",
    [
        "(sqlite3.OperationalError) database is locked",
        "(sqlite3.IntegrityError) UNIQUE constraint failed: datasets.experiment_id, datasets.name, datasets.digest",
        'duplicate key value violates unique constraint "registered_model_alias_pk"',
    ],
)
def test_another_process_in_the_way_is_waited_for(said: str) -> None:
    tries = iter([RuntimeError(said), RuntimeError(said)])

    def act() -> str:
        for error in tries:
            raise error
        return "done"

    assert store._patiently(act) == "done"


def test_what_is_there_already_is_not_tried_again() -> None:
    tries = []

    def act() -> None:
        tries.append(1)
        raise RuntimeError("(sqlite3.IntegrityError) UNIQUE constraint failed: experiments.name")

    with pytest.raises(RuntimeError):
        store._patiently(act)
    assert tries == [1]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"no database at all, but long enough for SQLite to look at it" * 20, "no SQLite database")],
)
def test_a_file_that_is_no_database(folder: Path, content: bytes, said: str) -> None:
    (folder / "mlflow.db").write_bytes(content)
    with pytest.raises(StoreError, match=said):
        open_in(folder)
    assert (folder / "mlflow.db").read_bytes() == content


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE alembic_version SET version_num = '0123456789ab'",  # a later or an earlier MLflow
        "DROP TABLE alembic_version",  # somebody's own database
    ],
)
def test_another_schema_is_not_touched(folder: Path, statement: str) -> None:
    copied_store(folder)
    _execute(folder / "mlflow.db", statement)
    before = (folder / "mlflow.db").read_bytes()
    with pytest.raises(StoreError, match="mlflow db upgrade"):
        open_in(folder)
    assert (folder / "mlflow.db").read_bytes() == before


def _execute(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def test_a_folder_that_is_a_file(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(StoreError, match="no folder"):
        store.prepare(f"sqlite:///{folder}/file/mlflow.db")


# --- disks


@pytest.fixture
def mounted(folder: Path) -> Iterator[Callable[[str], Path]]:
    """A small disk of our own: call it with mount options."""
    disk = folder / "disk"
    disk.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        if os.name != "posix" or shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("missing part: a disk to mount (needs root on Linux)")
        return disk

    yield mount
    os.chdir("/")
    subprocess.run(["umount", "-l", str(disk)], capture_output=True)


def test_a_full_disk_takes_no_fresh_store_and_keeps_nothing(mounted: Callable[[str], Path]) -> None:
    disk = mounted("size=256k")
    with pytest.raises(StoreError, match="disk is full"):
        open_in(disk)
    assert list(disk.iterdir()) == []


def test_a_disk_that_fills_up_while_a_run_is_logged(mounted: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    disk = mounted("size=4m")
    monkeypatch.chdir(disk)
    opened = copied_store(disk)
    with (
        pytest.raises(StoreError, match="disk is full"),
        track.start(opened, "full", "too much") as run,
        run.saving(study()) as saved,
    ):
        run.log(study(), saved, FIGURES, "<p>" + "x" * 8_000_000, "")
    assert opened.call("search_registered_models") == []


@pytest.mark.parametrize("there", [True, False])  # a store to be written, a store to be made
def test_a_read_only_folder(mounted: Callable[[str], Path], there: bool) -> None:
    disk = mounted("size=4m")
    if there:
        shutil.copy(made_once(), disk / "mlflow.db")
    mounted("remount,ro")
    before = [p.name for p in disk.iterdir()]
    with pytest.raises(StoreError, match="read-only"):
        open_in(disk)
    assert [p.name for p in disk.iterdir()] == before


# --- manners


def test_nothing_global_is_left_changed(folder: Path) -> None:
    before = _globals()
    opened = copied_store(folder)
    with opened.current():
        assert mlflow.get_tracking_uri() == opened.uri
    with pytest.raises(StoreError):
        opened.call("get_run", "0" * 32)
    assert _globals() == before


def _globals() -> list[object]:
    loggers = [logging.getLogger(n).level for n in ("mlflow", "alembic")]
    return [dict(os.environ), mlflow.get_tracking_uri(), *loggers, list(warnings.filters)]


def test_look_makes_nothing(folder: Path, free: int) -> None:
    assert "not made yet" in store.look(store.resolve(None, folder))["state"]
    assert "cannot be reached" in store.look(f"http://127.0.0.1:{free}")["state"]
    assert list(folder.iterdir()) == []


def test_a_verbose_store_lets_mlflow_speak() -> None:
    with store.quietly(verbose=True):
        assert logging.getLogger("mlflow").level != logging.CRITICAL


def test_sigterm_ends_the_child_without_leftovers(folder: Path) -> None:
    child = subprocess.Popen(
        [store.sys.executable, "-m", "adresponse.store", str(folder / "mlflow.db")],
        env=child_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    _wait_for(lambda: any(folder.glob(".mlflow.db.making-*")))
    child.terminate()
    child.communicate()
    assert list(folder.iterdir()) == []
