"""Stored models made by hand, a registry that is a file, a server of its own process, and clients that ask all the time."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import adresponse
from adresponse.errors import AdresponseError, StoreError
from adresponse.formula import Formula, Spread, Term
from adresponse.schema import Contract
from adresponse.serving.options import Options
from adresponse.stored import seal

HERE = Path(__file__).parent
CONTRACT = Contract.build(target="Sales", channels=["TV"])
SPREAD = Spread(0.0, 0.0, 1.0, tuple(i / 10 for i in range(20)))
RANGE = {"TV": (0.0, 300.0)}
PATIENCE = 60.0  # seconds within which a process of ours does anything, on a machine that is busy with much else


def closed_model(folder: Path, coefficient: float, recorded: float | None = None) -> Path:
    """A sealed model that sells ``coefficient`` times the spend; ``recorded`` is what it is said to have answered to 100."""
    formula = Formula(CONTRACT, 0.0, (Term("TV", 1.0, 0.0, coefficient),), SPREAD, RANGE, _about(folder))
    return _sealed(folder, formula, coefficient * 100 if recorded is None else recorded)


def slow_model(folder: Path) -> Path:
    """A sealed model without closed formula: ``slow_pipeline.Sleeper``, stored by skops."""
    import numpy as np
    import skops.io

    from slow_pipeline import Sleeper

    formula = Formula(CONTRACT, float("nan"), (), SPREAD, RANGE, _about(folder), ("slow_pipeline",))
    folder.mkdir(parents=True)
    skops.io.dump(Sleeper().fit(np.ones((2, 1)), None), folder / "model.skops")
    (folder / "requirements.txt").write_text("", encoding="utf-8")
    return _sealed(folder, formula, 200.0)


def _about(folder: Path) -> dict[str, str]:
    return {"name": "sales-response", "model_id": f"m-{folder.name}"}


def _sealed(folder: Path, formula: Formula, prediction: float) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    request = {"dataframe_split": {"columns": ["TV"], "data": [[100.0]]}}
    (folder / "formula.json").write_text(formula.to_json(), encoding="utf-8")
    (folder / "replay.json").write_text(json.dumps({"request": request, "predictions": [prediction]}), encoding="utf-8")
    scores = {"basis": "held-out", "rows": 1, "interval": 0.9, "columns": ["TV"], "scores": {"r2": 0.9}}
    (folder / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    seal(folder)
    return folder


@dataclass
class FileRegistry:
    """An alias that is a file: it holds a version, which is the name of a folder; without the file, the registry is down."""

    home: Path

    @property
    def _alias(self) -> Path:
        return self.home / "champion"

    def move(self, version: str) -> None:
        """Let the alias point at a version."""
        beside = self.home / "champion.new"
        beside.write_text(version, encoding="utf-8")
        beside.replace(self._alias)

    def fall(self) -> None:
        """Be down until the alias moves."""
        self._alias.unlink()

    def find(self) -> Any:
        from adresponse.serving.supervise import Found

        try:
            return Found(self._alias.read_text("utf-8"), "sales-response")
        except OSError:
            raise StoreError("The registry cannot be reached; is it running?") from None

    def fetch(self, found: Any, target: Path) -> tuple[Path, str | None]:
        shutil.copytree(self.home / found.version, target)
        return target, None


def environment() -> dict[str, str]:
    """For a process of ours: the sources and these tests on its path."""
    paths = [str(Path(adresponse.__file__).parents[1]), str(HERE), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@dataclass
class Served:
    """A server in a process of its own."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def ask(self, spend: float) -> tuple[int, str, float | None]:
        """Status, version and prediction for one row, over a connection of its own."""
        with contextlib.closing(connect(self.url)) as connection:
            return ask(connection, spend)

    def text(self, path: str) -> str:
        """What it says at a path."""
        with contextlib.closing(connect(self.url)) as connection:
            connection.request("GET", path)
            return connection.getresponse().read().decode()

    def workers(self) -> list[int]:
        """Process ids of its children that run Python."""
        return children(self.process.pid)

    def end(self, number: int = signal.SIGTERM, patience: float = PATIENCE) -> int:
        """Send it a signal and wait; gives the exit code."""
        self.process.send_signal(number)
        return self.process.wait(patience)


def children(pid: int) -> list[int]:
    """Process ids of a process's children."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def alive(pid: int) -> bool:
    """Whether a process runs (and is not only waiting to be buried)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(holds: Callable[[], Any], what: str, seconds: float = PATIENCE) -> None:
    """Wait until it holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds:g} seconds: {what}"
        time.sleep(0.02)


@contextlib.contextmanager
def serving(home: Path, *, workers: int = 1, folder: Path | None = None, **options: Any) -> Iterator[Served]:
    """A server of ``folder``, or of what the file registry in ``home`` points at; killed at the end if it still runs."""
    given = {"home": str(home), "folder": str(folder) if folder else None, "workers": workers, "options": options}
    home.mkdir(exist_ok=True)
    log = Path(tempfile.mkstemp(suffix=".log", dir=home)[1])
    with log.open("wb") as file:
        command = [sys.executable, str(HERE / "served_example.py"), json.dumps(given)]
        process = subprocess.Popen(command, env={**environment(), "TMPDIR": str(home)}, stdin=subprocess.DEVNULL, stderr=file)
    try:
        until(lambda: _url(log) or process.poll() is not None, "the server says where it is")
        assert process.poll() is None, log.read_text()
        yield Served(_url(log), process, log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _url(log: Path) -> str:
    found = re.search(r"serving .* at (http://\S+)", log.read_text("utf-8", "replace"))
    return found[1] if found else ""


def connect(url: str) -> http.client.HTTPConnection:
    """A connection to a server of ours, not opened yet."""
    return http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)


def send(connection: http.client.HTTPConnection, spend: float) -> None:
    """Send one row, and wait for nothing."""
    body = json.dumps({"dataframe_split": {"columns": ["TV"], "data": [[spend]]}})
    connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})


def ask(connection: http.client.HTTPConnection, spend: float) -> tuple[int, str, float | None]:
    """Status, version and prediction for one row."""
    send(connection, spend)
    response = connection.getresponse()
    answer = json.loads(response.read())
    prediction = answer["predictions"][0] if response.status == 200 else None
    return response.status, response.getheader("X-Model-Version") or "", prediction


@dataclass
class Load:
    """Clients that ask all the time, each over one connection as long as the server keeps it open."""

    url: str
    clients: int = 4
    answers: list[tuple[int, str, float | None]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # requests that were sent and not answered
    unreachable: int = 0  # connections that were refused: nothing was sent, nothing is lost
    untaken: int = 0  # connections that the kernel made and no worker took, as the last of them closed the door
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._client) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _client(self) -> None:
        connection = connect(self.url)
        fresh = True
        while not self._stop.is_set():
            if connection.sock is None:
                fresh = True
                try:
                    connection.connect()
                except OSError:
                    self.unreachable += 1
                    time.sleep(0.02)
                    continue
            try:
                self.answers.append(ask(connection, 10.0))
                fresh = False
            except (OSError, http.client.HTTPException) as error:
                if fresh and isinstance(error, ConnectionResetError):
                    self.untaken += 1
                else:
                    self.lost.append(f"{type(error).__name__}: {error}")
                connection.close()
        connection.close()


def main(given: dict[str, Any]) -> int:
    """Serve in this process, as the command line does."""
    from adresponse.serving import supervise, worker
    from adresponse.serving.pointer import Pointed

    options = Options(port=0, **{"log": "errors", **given["options"]})
    registry = FileRegistry(Path(given["home"]))
    try:
        if given["folder"] and given["workers"] == 1:
            return worker.serve(given["folder"], options=options)
        model = Pointed(given["folder"]) if given["folder"] else supervise.Followed(registry.find, registry.fetch)
        return supervise.run(model, options, given["workers"], poll_seconds=0.1)
    except AdresponseError as error:
        sys.stderr.write(f"Error: {error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
