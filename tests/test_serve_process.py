"""Do the server's processes keep their word: no request lost, no model taken untried, none outliving its parent?"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from adresponse.errors import StoreError
from adresponse.serving import metrics, supervise
from adresponse.serving.options import Options
from adresponse.serving.requests import PARQUET
from adresponse.serving.supervise import Followed, Found, run
from adresponse.serving.worker import Task
from served_example import (
    FileRegistry,
    Load,
    Served,
    alive,
    children,
    closed_model,
    connect,
    environment,
    send,
    serving,
    slow_model,
    until,
)

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="missing part: /proc, which tells of processes")


@pytest.fixture
def registry(tmp_path: Path) -> FileRegistry:
    """Versions 1 and 2 that differ, 3 that was altered, 4 that answers otherwise than is recorded."""
    made = FileRegistry(tmp_path)
    closed_model(tmp_path / "1", 2.0)
    closed_model(tmp_path / "2", 3.0)
    tampered = closed_model(tmp_path / "3", 5.0) / "formula.json"
    tampered.write_text(tampered.read_text().replace("5.0", "6.0"))
    closed_model(tmp_path / "4", 7.0, recorded=700.1)
    made.move("1")
    return made


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return slow_model(tmp_path_factory.mktemp("models") / "slow")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_drain_under_load_loses_no_request(tmp_path: Path, workers: int) -> None:
    folder = closed_model(tmp_path / "model", 2.0)
    with serving(tmp_path / "home", folder=folder, workers=workers) as server, Load(server.url) as load:
        until(lambda: len(load.answers) > 20, "answers, maybe before each worker is ready")
        assert server.end() == 0
    assert not load.lost
    assert {answer[:1] + answer[2:] for answer in load.answers} == {(200, 20.0)}
    assert load.unreachable
    assert load.untaken <= load.clients  # at most one for each, in the instant in which the last listener closes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_under_way_is_finished(tmp_path: Path, slow: Path, number: int) -> None:
    with serving(tmp_path, folder=slow) as server:
        connection = connect(server.url)
        send(connection, 1200)
        until(lambda: children(server.process.pid), "a pipeline's process")
        os.kill(server.process.pid, number)
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())) == (200, {"predictions": [2400.0]})
        assert server.process.wait(10) == 0


def test_a_second_signal_ends_at_once(tmp_path: Path, slow: Path) -> None:
    with serving(tmp_path, folder=slow, workers=2) as server:
        connection = connect(server.url)
        send(connection, 14000)
        family = [*server.workers(), *(c for w in server.workers() for c in children(w))]
        os.kill(server.process.pid, signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(0.5)
        assert server.end(patience=3) == 1
        until(lambda: not any(map(alive, family)), "nobody is left")


def test_a_killed_worker_is_replaced_and_service_goes_on(tmp_path: Path) -> None:
    folder = closed_model(tmp_path / "model", 2.0)
    with serving(tmp_path / "home", folder=folder, workers=2) as server, Load(server.url) as load:
        until(lambda: len(server.workers()) == 2 and len(load.answers) > 100, "two workers that answer")
        before = set(server.workers())
        os.kill(min(before), signal.SIGKILL)
        answered = len(load.answers)
        until(lambda: len(set(server.workers()) - before) == 1, "another worker")
        until(lambda: len(load.answers) > answered + 200, "answers go on")
        assert server.end() == 0
    assert len(load.lost) <= load.clients, "no more is lost than was on its way in the killed process"
    assert {answer[0] for answer in load.answers} == {200}
    assert "ended (by signal 9)" in server.said


def test_a_moved_alias_swaps_the_model_with_no_request_lost(registry: FileRegistry) -> None:
    with serving(registry.home, workers=2) as server, Load(server.url) as load:
        for version in ("2", "1", "2"):
            until(lambda: len(load.answers) > 50, "answers")
            registry.move(version)
            until(lambda v=version: {a[1] for a in load.answers[-20:]} == {v}, f"version {version} alone", 5)
    assert not load.lost
    assert {answer[1:] for answer in load.answers} == {("1", 20.0), ("2", 30.0)}, "no answer mixes two versions"


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("3", "formula.json was changed after the model was sealed"),  # altered
        ("4", "answers its stored example otherwise than is recorded"),  # another machine, another sum
    ],
)
def test_an_unfit_version_is_refused_once_and_the_old_one_stays(registry: FileRegistry, version: str, why: str) -> None:
    with serving(registry.home, workers=2) as server:
        registry.move(version)
        until(lambda: why in server.said, "the refusal")
        assert server.ask(10.0) == (200, "1", 20.0)
        os.kill(server.workers()[0], signal.SIGKILL)  # one that starts afterwards takes the old one, too
        until(lambda: "another one takes its place" in server.said, "another worker")
        until(lambda: len(server.workers()) == 2, "two workers")
        assert server.ask(10.0) == (200, "1", 20.0)
        registry.move("2")
        until(lambda: server.ask(10.0) == (200, "2", 30.0), "the next version", 5)
        assert server.said.count(f"Version {version} is not served") == 1


def test_a_version_whose_files_were_away_is_taken_once_they_are_back(registry: FileRegistry) -> None:
    manifest = registry.home / "2" / "manifest.json"
    aside = manifest.rename(registry.home / "aside.json")
    with serving(registry.home, workers=2) as server:
        registry.move("2")
        until(lambda: "no manifest.json" in server.said, "the refusal")
        until(lambda: len(list(registry.home.glob("adresponse-serve-*/models/3"))) == 1, "a second try, as vain")
        assert server.ask(10.0) == (200, "1", 20.0)
        aside.rename(manifest)
        until(lambda: server.ask(10.0) == (200, "2", 30.0), "the version, once its files are back")
        until(lambda: "version 2 is fit now" in server.said, "that it answers")
        assert json.loads(server.text("/ready"))["ready"] is True
        assert "trouble" not in server.text("/ready")
    assert server.said.count("is not served") == server.said.count("is to answer from now on") == 1


def test_a_disk_that_is_full_is_no_reason_to_stop_and_the_version_is_taken_once_there_is_room(registry: FileRegistry) -> None:
    with serving(registry.home, workers=2) as server:
        (runtime,) = registry.home.glob("adresponse-serve-*")
        (runtime / "current.new").mkdir()  # so that nothing can be written there, as root or not
        registry.move("5")  # cannot be fetched either
        until(lambda: "version 5 cannot be fetched" in server.said, "the refusal")
        registry.move("2")
        until(lambda: "Version 2 cannot be told to the workers" in server.said, "the other one")
        assert server.ask(10.0) == (200, "1", 20.0)
        (runtime / "current.new").rmdir()
        until(lambda: server.ask(10.0) == (200, "2", 30.0), "the version, once it can be told")
        until(lambda: "version 2 is fit now" in server.said, "that it answers")
        assert server.end() == 0
    assert "Traceback" not in server.said


def test_a_temporary_folder_that_was_cleaned_away_is_no_reason_to_stop(registry: FileRegistry) -> None:
    with serving(registry.home, workers=2) as server:
        (models,) = registry.home.glob("adresponse-serve-*/models")
        until(lambda: gauges(server, "ready_workers") == ["ready_workers 2.0"], "both")
        shutil.rmtree(models)
        time.sleep(3 * supervise.TICK_SECONDS)  # within which the server looks for folders that it needs no more
        registry.move("2")
        until(lambda: server.ask(10.0) == (200, "2", 30.0), "the next version", 5)
        assert server.end() == 0


def test_a_log_that_nobody_reads_is_no_reason_to_stop(registry: FileRegistry) -> None:
    given = {"home": str(registry.home), "folder": None, "workers": 2, "options": {}}
    command = [sys.executable, str(Path(__file__).with_name("served_example.py")), json.dumps(given)]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = process.stderr.readline().split(" at ")[1].split()[0]
        process.stderr.close()
        until(lambda: len(children(process.pid)) == 2, "two workers")
        before = set(children(process.pid))
        os.kill(min(before), signal.SIGKILL)
        until(lambda: len(set(children(process.pid)) - before) == 1, "another worker, though nobody hears of it")
        registry.move("2")

        def version() -> str | None:
            connection = connect(url)
            connection.request("GET", "/ready")
            return connection.getresponse().getheader("x-model-version")

        until(lambda: version() == "2", "the next version")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_version_that_stays_unfit_is_tried_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(supervise, "time", SimpleNamespace(monotonic=lambda: now))
    refused = supervise._Refused("2")
    tries = []
    for _ in range(24 * 3600):  # a day, second by second, each try refused at once
        if now == 0 or refused.is_due():
            tries.append(now)
            refused.note()
        now += 1
    assert tries[:6] == [0, 1, 3, 8, 23, 83]
    assert set(np.diff(tries[6:])) == {300}


def test_a_try_that_is_under_way_is_not_made_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "time", SimpleNamespace(monotonic=lambda: 1e6))
    refused = supervise._Refused("2")
    assert [refused.is_due() for _ in range(3)] == [True, False, False]


def test_a_registry_that_is_down_is_said_once_and_outwaited(registry: FileRegistry) -> None:
    with serving(registry.home) as server:
        registry.fall()
        until(lambda: "cannot be reached" in server.said, "that it is down")
        assert server.ask(10.0) == (200, "1", 20.0)
        registry.move("2")
        until(lambda: server.ask(10.0)[1] == "2", "the new version", 5)
        assert server.end() == 0
    assert server.said.count("cannot be reached") == 1
    assert "answers again" in server.said


def test_files_that_cannot_be_fetched_are_told_and_fetched_later(registry: FileRegistry) -> None:
    def trouble() -> str:
        told = json.loads(server.text("/ready"))
        assert told["ready"] is True
        return str(told.get("trouble", ""))

    with serving(registry.home) as server:  # one worker, since each learns of it in its own time
        registry.move("5")  # no such folder yet
        until(trouble, "the trouble at /ready")
        assert trouble().startswith("The files of version 5 cannot be fetched. ")
        assert "No such file or directory" in trouble()
        assert json.loads(server.text("/info"))["trouble"] == trouble()
        assert server.ask(10.0) == (200, "1", 20.0)
        registry.move("2")
        until(lambda: server.ask(10.0) == (200, "2", 30.0), "another version", 5)
        until(lambda: not trouble(), "no trouble any more")
        registry.move("5")
        until(trouble, "the same trouble")
        closed_model(registry.home / "new", 4.0).rename(registry.home / "5")
        until(lambda: server.ask(10.0) == (200, "5", 40.0), "the version, once its files are there")
        until(lambda: "version 5 is fit now" in server.said, "that it answers")
        until(lambda: not trouble(), "no trouble any more")
    assert server.said.count("cannot be fetched") == 2
    assert "answers again" not in server.said, "the registry was never down"


def test_a_version_that_cannot_be_fetched_is_fetched_again_when_told_to(tmp_path: Path) -> None:
    now = Found("1", "sales-response")

    def fetch(found: Found, target: Path) -> tuple[Path, str | None]:
        target.mkdir(parents=True)
        if found.version == "2":
            raise OSError(f"The copy to {target}\nbroke off")
        return target, None

    source = supervise._Source(Followed(lambda: now, fetch), tmp_path)
    now = Found("2", "sales-response")
    refusal = f"The files of version 2 cannot be fetched. OSError: The copy to {tmp_path}/models/2 broke off."
    for _ in range(2):  # in the same words, though they name a folder
        assert source.look() == supervise._Away("2", refusal)
        assert source.look() is None
        source.forget("2")
    now = Found("3", "sales-response")
    moved = source.look()
    assert isinstance(moved, supervise.Pointed)
    assert moved.version == "3"
    assert len(list((tmp_path / "models").iterdir())) == 2


def test_several_workers_add_up_what_they_count(tmp_path: Path) -> None:
    folder = closed_model(tmp_path / "model", 2.0)

    def counted() -> float:
        lines = server.text("/metrics").splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("adresponse_rows_total"))

    with serving(tmp_path / "home", folder=folder, workers=2) as server:
        until(lambda: len(server.workers()) == 2, "two workers")
        for _ in range(40):
            assert server.ask(10.0)[0] == 200
        until(lambda: counted() == 40, "all rows, whichever worker tells", 5)


def gauges(server: Served, name: str) -> list[str]:
    lines = server.text("/metrics").splitlines()
    return sorted(line.removeprefix("adresponse_") for line in lines if line.startswith(f"adresponse_{name}"))


def test_a_worker_that_is_asked_nothing_is_counted_too(registry: FileRegistry) -> None:
    with serving(registry.home, workers=3) as server:  # of which two answer to nobody
        until(lambda: gauges(server, "ready_workers") == ["ready_workers 3.0"], "all three")
        registry.move("2")
        until(lambda: gauges(server, "model_swaps_total") == ["model_swaps_total 3.0"], "a swap in each")
        label = 'model_info{name="sales-response",version='
        assert gauges(server, "model_info") == [f'{label}"1"}} 0.0', f'{label}"2"}} 1.0']


def test_counts_take_their_room_before_the_disk_is_full(tmp_path: Path) -> None:
    folder = closed_model(tmp_path / "model", 2.0)
    with serving(tmp_path / "home", folder=folder, workers=2) as server:
        until(lambda: gauges(server, "ready_workers") == ["ready_workers 2.0"], "both")
        files = [file.stat() for file in (tmp_path / "home").glob("adresponse-serve-*/counts/*.db")]
        assert len(files) >= 6
        assert all(file.st_blocks * 512 >= file.st_size for file in files), "a hole that cannot be filled ends a worker"


def test_counts_without_room_are_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(metrics.FOLDER, str(tmp_path / "away"))
    assert not metrics.reserve()
    assert metrics.FOLDER not in os.environ
    assert metrics.reserve()


def test_the_end_may_be_told_before_it_answers(tmp_path: Path, slow: Path) -> None:
    given = {"home": "", "folder": str(slow), "workers": 2, "options": {}}
    command = [sys.executable, str(Path(__file__).with_name("served_example.py")), json.dumps(given)]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    until(lambda: len(children(process.pid)) == 2, "two workers")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, "")


def test_folders_of_versions_that_answer_no_more_are_removed(registry: FileRegistry) -> None:
    with serving(registry.home, timeout=0.3) as server:
        (runtime,) = registry.home.glob("adresponse-serve-*")
        for version in ("2", "1", "2"):
            registry.move(version)
            until(lambda v=version: server.ask(10.0)[1] == v, "the move", 5)
        until(lambda: len(list((runtime / "models").iterdir())) == 1, "one folder")
        assert server.end() == 0
    assert not runtime.exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_model_that_cannot_be_served_ends_with_exit_code_2_and_one_sentence(registry: FileRegistry, workers: int) -> None:
    given = {"home": "", "folder": str(registry.home / "3"), "workers": workers, "options": {}}
    command = [sys.executable, str(Path(__file__).with_name("served_example.py")), json.dumps(given)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert done.stderr.count("was changed after the model was sealed") == 1
    assert "Traceback" not in done.stderr


def test_no_worker_outlives_a_killed_parent(tmp_path: Path, slow: Path) -> None:
    with serving(tmp_path, folder=slow, workers=2) as server:
        until(lambda: sum(len(children(w)) for w in server.workers()) == 2, "two pipelines")
        family = [*server.workers(), *(c for w in server.workers() for c in children(w))]
        server.process.kill()
        until(lambda: not any(map(alive, family)), "nobody is left")


def parquet(spends: list[Any]) -> tuple[bytes, str]:
    """A body with one column, and its content type."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.table({"TV": spends}), file)
    return file.getvalue(), PARQUET


def test_a_worker_loads_no_heavy_library(tmp_path: Path) -> None:
    folder = closed_model(tmp_path / "model", 2.0)
    with serving(tmp_path / "home", folder=folder, workers=1) as server:
        assert server.ask(10.0)[0] == 200
        before = Path(f"/proc/{server.process.pid}/maps").read_text()
        spends: list[list[Any]] = [[10.0] * 100, [10] * 100, [10.0, None]]
        for (body, kind), status in zip(map(parquet, spends), (200, 200, 400), strict=True):
            connection = connect(server.url)
            connection.request("POST", "/invocations", body, {"Content-Type": kind})
            assert connection.getresponse().status == status
            connection.close()
        after = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "/msgspec/" in before
    for library in ("numpy", "pyarrow"):
        assert f"/{library}/" not in before
        assert f"/{library}/" in after
    for library in ("pandas", "sklearn", "scipy", "mlflow", "sqlalchemy"):
        assert f"/{library}/" not in after


def test_the_token_is_in_no_command_line_and_no_environment(tmp_path: Path) -> None:
    folder = closed_model(tmp_path / "model", 2.0)
    with serving(tmp_path / "home", folder=folder, workers=2, token="a-secret-of-ours") as server:
        for pid in server.workers():
            for name in ("cmdline", "environ"):
                assert b"a-secret-of-ours" not in Path(f"/proc/{pid}/{name}").read_bytes()


def test_a_model_that_cannot_be_found_leaves_no_worker() -> None:
    def find() -> Found:
        raise StoreError("The registry has no such model.")

    before = children(os.getpid())
    with pytest.raises(StoreError, match="no such model"):
        run(Followed(find, lambda found, folder: (folder, None)), Options(port=0), workers=2)
    assert children(os.getpid()) == before


def test_a_worker_without_a_task_says_why_it_ends() -> None:
    command = [sys.executable, "-m", "adresponse.serving.worker"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment())
    assert done.returncode == 2
    assert done.stderr == "adresponse: A worker is started by `adresponse serve`, which tells it what to serve.\n"


def test_a_task_comes_out_as_it_went_in() -> None:
    task = Task(3, "/a folder/current.json", Options(token="ünïcode", hosts=("a", "b"), timeout=0.5))
    assert Task.from_line(task.to_line()) == task
