"""Does the server lose or mix an answer while the champion changes under full load? Prints counts, memory and delays.

    python bench/soak.py [--seconds 300] [--moves 50] [--workers 1] [--connections 16]

Two versions with different coefficients are trained and registered in a fresh SQLite store. `adresponse serve` follows
the alias `champion`, which is moved back and forth meanwhile. Clients in a process of their own ask all the time, each
over its own connection, and hold each body against the version in its header. Exits 1 where a request failed or an
answer was mixed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import platform
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

CALM = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
SPEND = [10.0, 150.0, 290.0]
BODY = json.dumps({"dataframe_split": {"columns": ["TV"], "data": [[s] for s in SPEND]}}).encode()
NAME = "sales-response"


@dataclass
class Counts:
    """What the clients saw: requests, those that failed (and the first few reasons), mixed answers, answers by version."""

    requests: int = 0
    failed: int = 0
    mixed: int = 0
    reasons: list[str] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)

    def fail(self, reason: str) -> None:
        self.failed += 1
        if len(self.reasons) < 5:
            self.reasons.append(reason)


def train(folder: Path) -> dict[str, list[float]]:
    """Two versions, the second trained on doubled sales; gives what each predicts, from the stored pipeline's own file."""
    import mlflow
    import pandas as pd

    import adresponse

    frame = pd.read_csv(str(files("adresponse") / "data" / "tvmarketing.csv"))
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    os.environ["MLFLOW_TRACKING_URI"] = uri
    expected = {}
    for factor in (1.0, 2.0):
        table = folder / f"sales-{factor:g}.csv"
        frame.assign(Sales=frame["Sales"] * factor).to_csv(table, index=False)
        made = adresponse.run(str(table), target="Sales", channels=["TV"], name=NAME, out=folder / "out", verify=False)
        mlflow.set_tracking_uri(uri)
        loaded = mlflow.sklearn.load_model(f"models:/{NAME}/{made.version}")
        expected[made.version] = [float(v) for v in loaded.predict(frame[["TV"]].iloc[:3].assign(TV=SPEND))]
    return expected


class Client:
    """One connection that is asked again as soon as it has answered, without a library in between."""

    def __init__(self, host: str, port: int, counts: Counts, expected: dict[str, list[float]], known: set[Any]) -> None:
        self.address, self.counts, self.expected, self.known = (host, port), counts, expected, known
        head = f"POST /invocations HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}"
        self.request = head.encode() + b"\r\n\r\n" + BODY
        self.open()

    def open(self) -> None:
        self.socket = socket.create_connection(self.address, timeout=30)

    def ask(self) -> None:
        self.received = b""
        self.counts.requests += 1
        try:
            self.socket.sendall(self.request)
        except OSError as error:
            self.again(repr(error))

    def hear(self) -> bool:
        """Take what has come; True once the connection was opened anew or its answer is whole, and it was asked again."""
        try:
            part = self.socket.recv(65536)
        except OSError as error:
            return self.again(repr(error))
        if not part:
            return self.again("closed without an answer")
        self.received += part
        head, ended, body = self.received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if not ended or length is None or len(body) < int(length[1]):
            return False
        self.judge(head, body)
        self.ask()
        return False

    def again(self, reason: str) -> bool:
        self.counts.fail(reason)
        self.socket.close()
        self.open()
        self.ask()
        return True

    def judge(self, head: bytes, body: bytes) -> None:
        """Hold a whole answer against the version in its header; equal bytes are judged once."""
        found = re.search(rb"(?i)x-model-version: (\S+)", head)
        version = found[1].decode() if found else ""
        self.counts.versions[version] = self.counts.versions.get(version, 0) + 1
        if head[9:12] != b"200":
            self.counts.fail(f"{head[:40]!r} {body[:200]!r}")
        elif (version, body) in self.known:
            return
        elif near(json.loads(body)["predictions"], self.expected.get(version, [])):
            self.known.add((version, body))
        else:
            self.counts.mixed += 1


def load(url: str, expected: dict[str, list[float]], connections: int, seconds: float, queue: Any) -> None:
    """Clients that ask for so long; puts their counts into the queue."""
    counts, known = Counts(), set[Any]()
    host, _, port = url.removeprefix("http://").partition(":")
    selector = selectors.DefaultSelector()
    for client in [Client(host, int(port), counts, expected, known) for _ in range(connections)]:
        selector.register(client.socket, selectors.EVENT_READ, client)
        client.ask()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for key, _ in selector.select(1.0):
            if key.data.hear():
                selector.unregister(key.fileobj)
                selector.register(key.data.socket, selectors.EVENT_READ, key.data)
    counts.requests -= connections  # those under way at the end are not waited for
    queue.put(counts)


def near(found: list[float], expected: list[float]) -> bool:
    """Whether the numbers are those of a version; the two versions differ by a factor of 2."""
    return len(found) == len(expected) and all(abs(f - e) < 1e-9 * abs(e) for f, e in zip(found, expected, strict=True))


def answering_version(url: str) -> str:
    """The version that one more request gets."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    try:
        connection.request("POST", "/invocations", BODY, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        return response.getheader("X-Model-Version") or ""
    finally:
        connection.close()


def move(folder: Path, url: str, versions: list[str], moves: int, seconds: float) -> list[float]:
    """Move the alias so many times, spread over the time; gives the seconds until each was first answered with."""
    from adresponse import store

    opened = store.prepare(os.environ["MLFLOW_TRACKING_URI"]).open()
    delays, started = [], time.monotonic()
    for i in range(moves):
        time.sleep(max(0.0, started + seconds * (i + 0.5) / moves - time.monotonic()))
        wanted = versions[i % 2]
        opened.call("set_registered_model_alias", NAME, "champion", wanted)
        moved = time.monotonic()
        while answering_version(url) != wanted:
            if time.monotonic() - moved > 30:
                delays.append(float("inf"))
                break
            time.sleep(0.02)
        else:
            delays.append(time.monotonic() - moved)
    return delays


def memory(pids: list[int]) -> list[float]:
    """Resident memory of processes, in MB."""
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return [int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024 for text in texts]  # type: ignore[index]


def children(pid: int) -> list[int]:
    """Process ids of a process's children."""
    return [int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]


def start(folder: Path, workers: int) -> tuple[subprocess.Popen[bytes], str]:
    """`adresponse serve` on the champion; gives its address once it answers."""
    command = [
        sys.executable,
        "-m",
        "adresponse",
        "serve",
        f"models:/{NAME}@champion",
        "--port",
        "0",
        "--workers",
        str(workers),
    ]
    log = folder / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=folder)
    until = time.monotonic() + 60
    while not (found := re.search(r"serving .* at (http://\S+)", log.read_text("utf-8", "replace"))):
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            sys.exit(f"The server did not come up:\n{log.read_text('utf-8', 'replace')}")
        time.sleep(0.05)
    return process, found[1]


def main() -> int:
    """Run it all and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--moves", type=int, default=50)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--connections", type=int, default=16)
    given = parser.parse_args()
    os.environ |= CALM
    with tempfile.TemporaryDirectory(prefix="adresponse-soak-") as home:
        folder = Path(home)
        expected = train(folder)
        process, url = start(folder, given.workers)
        try:
            return soak(folder, process, url, expected, given)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(60)
            print(f"exit code of the server {process.returncode}")


def soak(folder: Path, process: subprocess.Popen[bytes], url: str, expected: dict[str, list[float]], given: Any) -> int:
    """Load and moves at once, then the figures."""
    processes = children(process.pid)
    queue: Any = multiprocessing.get_context("spawn").Queue()
    clients = multiprocessing.get_context("spawn").Process(
        target=load, args=(url, expected, given.connections, given.seconds, queue)
    )
    clients.start()
    time.sleep(min(5.0, given.seconds / 10))
    before = memory(processes)
    delays = move(folder, url, sorted(expected), given.moves, given.seconds * 0.85)
    counts: Counts = queue.get(timeout=given.seconds + 60)
    clients.join()
    after = memory(processes)
    same = processes == children(process.pid)
    delays.sort()
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, {given.workers} worker(s)")
    print(f"requests {counts.requests:,} in {given.seconds:g} s ({counts.requests / given.seconds:,.0f}/s)")
    print(f"answers by version {counts.versions}")
    print(f"failed requests {counts.failed} {counts.reasons or ''}")
    print(f"mixed answers {counts.mixed}")
    print(f"alias moves {len(delays)}; first new answer after {delays[len(delays) // 2]:.2f} s (median)")
    print(f"the longest wait for one {delays[-1]:.2f} s")
    print(f"memory of each worker at the start {rounded(before)} MB, at the end {rounded(after)} MB")
    print(f"the same worker processes all along: {'yes' if same else 'no'}")
    refused = [line for line in (folder / "serve.log").read_text("utf-8", "replace").splitlines() if "not served" in line]
    print(f"versions refused {len(refused)} {refused[:2] or ''}")
    return int(counts.failed > 0 or counts.mixed > 0 or delays[-1] == float("inf") or not same)


def rounded(values: list[float]) -> str:
    """Numbers with one decimal."""
    return ", ".join(f"{v:.1f}" for v in values)


if __name__ == "__main__":
    sys.exit(main())
