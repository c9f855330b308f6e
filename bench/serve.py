"""How fast do we answer, beside ``mlflow models serve``: the same model, payload and load, one worker each.

    python bench/serve.py [FOLDER] [--seconds 3] [--cases one,split] [--uri models:/NAME@ALIAS]

MLflow's server is measured twice: on the same version, which answers by its formula there too, and on the same fitted
pipeline as ``mlflow.sklearn.save_model`` stores it, which is what a version was before it carried a formula.

FOLDER is a stored model as a version's download looks; without one, a model of the built-in three-channel table is trained.
Both servers run with their logs on and with ``gc.freeze()``, without which MLflow's slowest answers are mostly garbage
collection. The load comes from this process over raw sockets that stay open, for a fixed time a case. Ends with a table.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import uvloop

CONNECTIONS = 16
MANY = 1000
WARM_UP = 0.5  # seconds before a case is timed
START_SECONDS = 120
CALM = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
THEIRS = """
import gc, sys, uvicorn
from mlflow.pyfunc.scoring_server.app import app
gc.collect()
gc.freeze()
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]))
"""
ORDINARY = """
import sys, mlflow.sklearn
from mlflow.models import Model, ModelSignature
source, target = sys.argv[1:]
inputs = Model.load(source).signature
mlflow.sklearn.save_model(
    mlflow.sklearn.load_model(source), target, serialization_format="skops", pip_requirements=["mlflow"],
    signature=ModelSignature(inputs.inputs, inputs.outputs),
)
"""
JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"


@dataclass(frozen=True)
class Measured:
    """What one case gave: requests a second, processor time of the server in microseconds a request, and the 50th and
    99th percentile of the time to the answer in milliseconds."""

    rate: float
    work: float
    p50: float
    p99: float
    answer: bytes


class Connection(asyncio.Protocol):
    """Sends the same request again as soon as its answer is there."""

    def __init__(self, request: bytes, times: list[float]) -> None:
        self.request, self.times, self.open = request, times, True
        self.got = b""
        self.need = 0
        self.answer = self.tail = b""
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send()

    def send(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if not self.got and self.tail and data.startswith(b"HTTP/1.1 200") and data.endswith(self.tail):
            self.done()  # the same answer as before, in one piece: as a quick client sees it
            return
        self.got += data
        if not self.need:
            end = self.got.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.got[:end].lower()
            if not head.startswith(b"http/1.1 200"):
                raise SystemExit(f"not answered: {self.got[:500]!r}")
            start = head.index(b"content-length:") + 15
            self.need = end + 4 + int(head[start:].split(b"\r\n", 1)[0])
            self.body = end + 4
        if len(self.got) < self.need:
            return
        self.answer, self.tail = self.got[self.body : self.need], self.got[self.body - 4 : self.need]
        self.got, self.need = b"", 0
        self.done()

    def done(self) -> None:
        self.times.append(time.perf_counter() - self.began)
        if self.open:
            self.send()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)


def worked(pid: int) -> float:
    """Processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(pid: int, port: int, body: bytes, kind: str, seconds: float, connections: int) -> Measured:
    """The load of one case."""
    head = f"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    loop = asyncio.get_running_loop()
    times: list[float] = []
    made = [
        (await loop.create_connection(lambda: Connection(head.encode() + body, times), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(WARM_UP)
    times.clear()
    began, before = time.perf_counter(), worked(pid)
    await asyncio.sleep(seconds)
    count, elapsed, work = len(times), time.perf_counter() - began, worked(pid) - before
    taken = np.array(times[:count])
    for connection in made:
        connection.open = False
    await asyncio.wait([c.lost for c in made], timeout=30)
    return Measured(count / elapsed, 1e6 * work / count, *(1000 * np.percentile(taken, (50, 99))), made[0].answer)


def cases(features: list[str], ranges: dict[str, list[float]]) -> dict[str, tuple[bytes, str]]:
    """Each case's body and content type."""
    random = np.random.default_rng(1)
    table = pd.DataFrame({n: np.round(random.uniform(*ranges[n], MANY), 1) for n in features})
    one = table.head(1)
    file = io.BytesIO()
    table.to_parquet(file)
    return {
        "one": (json.dumps({"dataframe_records": one.to_dict("records")}).encode(), JSON),
        "split": (json.dumps({"dataframe_split": table.to_dict("split")}).encode(), JSON),
        "records": (json.dumps({"dataframe_records": table.to_dict("records")}).encode(), JSON),
        "instances": (json.dumps({"instances": table.to_dict("records")}).encode(), JSON),
        "inputs": (json.dumps({"inputs": table.to_dict("list")}).encode(), JSON),
        "csv": (table.to_csv(index=False).encode(), CSV),
        "parquet": (file.getvalue(), PARQUET),
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pings(port: int) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


@contextlib.contextmanager
def started(command: list[str], port: int, log: Path, **environment: str) -> Iterator[tuple[int, float]]:
    """A server; gives its process id and the seconds until its first 200."""
    with log.open("wb") as written:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=written, stderr=written, env={**os.environ, **CALM, **environment}
        )
        try:
            while True:
                if pings(port):
                    break
                if process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                    raise SystemExit(f"{command[1:4]} did not start: {log.read_text()[-2000:]}")
                time.sleep(0.005)
            yield process.pid, time.perf_counter() - began
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def ours_command(model: str, port: int) -> list[str]:
    return [sys.executable, "-m", "adresponse", "serve", model, "--port", str(port), "--workers", "1"]


def theirs_command(model: str, port: int) -> list[str]:
    return [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, "--env-manager", "local", "--port", str(port)]


def resident(pid: int) -> float:
    """Memory of a process, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def measure(
    pid: int, port: int, chosen: dict[str, tuple[bytes, str]], seconds: float
) -> tuple[dict[str, Measured], tuple[float, float]]:
    """Each case, and the memory of the worker before and after them (Parquet loads pyarrow)."""
    found = {}
    urllib.request.urlopen(f"http://127.0.0.1:{port}/ping").close()
    before = resident(pid)
    for name, (body, kind) in chosen.items():
        connections = CONNECTIONS if name == "one" else 4
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found[name] = runner.run(load(pid, port, body, kind, seconds, connections))
    return found, (before, resident(pid))


def trained(folder: Path) -> Path:
    """A stored model of the built-in table with three channels."""
    from importlib.resources import files

    from mlflow.artifacts import download_artifacts

    import adresponse

    table = files("adresponse") / "data" / "advertising.csv"
    with contextlib.chdir(folder):
        result = adresponse.run(str(table), name="bench")
        return Path(download_artifacts(f"models:/bench/{result.version}", dst_path=str(folder / "model")))


def same(ours: bytes, theirs: bytes, name: str) -> bool:
    """Equal to the byte, or in CSV, and against scikit-learn's sums, to 1e-12."""
    if ours == theirs:
        return True
    return np.allclose(json.loads(ours)["predictions"], json.loads(theirs)["predictions"], rtol=1e-12, atol=0)


def compare(
    ours: dict[str, Measured],
    our_start: float,
    our_memory: tuple[float, float],
    folder: Path,
    chosen: dict[str, tuple[bytes, str]],
    seconds: float,
    work: Path,
) -> None:
    """Measure MLflow's server on a folder, and print it beside ours."""
    port = free_port()
    command = [sys.executable, "-c", THEIRS, str(port)]
    with started(command, port, work / "theirs.log", __pyfunc_model_path__=str(folder)) as (pid, _):
        theirs, their_memory = measure(pid, port, chosen, seconds)
    port = free_port()
    with started(theirs_command(str(folder), port), port, work / "start.log") as (_, their_start):
        pass
    heads = ("case", "ours/s", "mlflow/s", "ratio", "cpu us", "", "ratio", "p50 ms", "", "p99 ms", "", "ratio")
    print(f"{heads[0]:10}", *(f"{h:>8}" for h in heads[1:]), "equal")
    for name in chosen:
        a, b = ours[name], theirs[name]
        rates = f"{a.rate:8.0f} {b.rate:8.0f} {a.rate / b.rate:8.1f} {a.work:8.0f} {b.work:8.0f} {b.work / a.work:8.1f}"
        times = f"{a.p50:8.2f} {b.p50:8.1f} {a.p99:8.2f} {b.p99:8.1f} {b.p99 / a.p99:8.1f}"
        print(f"{name:10} {rates} {times} {same(a.answer, b.answer, name)}")
    print(f"cold start to the first 200: {our_start:.2f} s, {their_start:.2f} s, ratio {their_start / our_start:.1f}")
    for when, a_mb, b_mb in zip(("idle", "after all"), our_memory, their_memory, strict=True):
        print(f"memory of the worker, {when}: {a_mb:.0f} MB, {b_mb:.0f} MB, ratio {b_mb / a_mb:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--cases", default="")
    parser.add_argument("--uri", default="", help="also the cold start of this registered version, by both")
    given = parser.parse_args()
    os.environ |= CALM
    with tempfile.TemporaryDirectory(prefix="adresponse-bench-") as place:
        work = Path(place)
        folder = (given.folder or trained(work)).resolve()
        formula = json.loads((folder / "formula.json").read_text())
        features = [t["column"] for t in formula["terms"]]
        chosen = cases(features, formula["ranges"])
        chosen = {k: v for k, v in chosen.items() if not given.cases or k in given.cases.split(",")}
        port = free_port()
        with started(ours_command(str(folder), port), port, work / "ours.log") as (pid, our_start):
            ours, our_memory = measure(pid, port, chosen, given.seconds)
        ordinary = work / "ordinary"
        subprocess.run([sys.executable, "-W", "ignore", "-c", ORDINARY, str(folder), str(ordinary)], check=True)
        print("Beside MLflow's server on the same version")
        compare(ours, our_start, our_memory, folder, chosen, given.seconds, work)
        print("\nBeside MLflow's server on the same pipeline, stored by mlflow.sklearn")
        compare(ours, our_start, our_memory, ordinary, chosen, given.seconds, work)
        if given.uri:
            registry(given.uri, work)


def registry(uri: str, work: Path) -> None:
    """Cold start of a registered version, by both."""
    seconds = []
    for name, command in (("ours", ours_command), ("theirs", theirs_command)):
        port = free_port()
        with started(command(uri, port), port, work / f"{name}.registry.log") as (_, taken):
            seconds.append(taken)
    ours, theirs = seconds
    print(f"cold start through the registry: {ours:.2f} s, {theirs:.2f} s, ratio {theirs / ours:.1f}")


if __name__ == "__main__":
    main()
