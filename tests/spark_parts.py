"""A Spark cluster of real processes on loopback: a master and two workers, from the pyspark package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyspark
import pytest
from pyspark.sql import SparkSession

from parts import free_port

__all__ = ["cluster", "session"]

WAIT_SECONDS = 90
HOME = Path(pyspark.__file__).parent
BRIEF = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # five JVMs that live for two minutes: to optimise them takes longer


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """A standalone master with two workers of one core each; gives its address, ends each process at the end."""
    if shutil.which("java") is None:
        pytest.skip("missing part: Java (17 or newer), to run Spark")
    port, pages = free_port(), free_port()
    address = f"spark://127.0.0.1:{port}"
    started = [_start(folder, "master", "master.Master", "--port", str(port), "--webui-port", str(pages))]
    try:
        for number in ("1", "2"):
            options = ["--cores", "1", "--memory", "1g", "--work-dir", str(folder / f"work{number}"), "--webui-port", "0"]
            started.append(_start(folder, f"worker{number}", "worker.Worker", *options, address))
        _until_up(f"http://127.0.0.1:{pages}/json/", folder)
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def _start(folder: Path, name: str, kind: str, *options: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"SPARK_HOME": str(HOME), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    environment["SPARK_DAEMON_JAVA_OPTS"] = BRIEF
    command = [str(HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{kind}", "--host", "127.0.0.1", *options]
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _until_up(url: str, folder: Path) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        with suppress(OSError, urllib.error.URLError, ValueError), urllib.request.urlopen(url, timeout=5) as answer:
            if json.load(answer)["aliveworkers"] == 2:
                return
        time.sleep(0.2)
    said = "\n".join(log.read_text(errors="replace")[-1000:] for log in folder.glob("*.log"))
    raise AssertionError(f"the cluster did not come up:\n{said}")


@contextmanager
def session(address: str) -> Iterator[SparkSession]:
    """A session on the cluster, with the Python that runs the tests on its executors."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.appName("tests").master(address).config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    builder = builder.config("spark.executor.memory", "512m").config("spark.log.level", "ERROR")
    builder = builder.config("spark.driver.extraJavaOptions", BRIEF).config("spark.executor.extraJavaOptions", BRIEF)
    started = builder.config("spark.sql.shuffle.partitions", "2").getOrCreate()
    try:
        yield started
    finally:
        started.stop()
