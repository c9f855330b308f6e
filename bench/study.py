"""How long does `adresponse run` take beside a script that does the study by hand? Prints seconds, ratio and breakdown.

    python bench/study.py [--runs 5]

Both run as processes of their own in fresh folders, in turn, on a fresh SQLite store each time. The script by hand
(`bench/by_hand.py`) does what a good user would write; `adresponse run` does that and the rest of the study.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
BY_HAND = [sys.executable, str(HERE / "by_hand.py")]
OURS = [sys.executable, "-m", "adresponse", "run", "--quiet"]
STEPS = """
import time
started = time.perf_counter()
last = [started, "start of Python and imports of the command"]
def step(name):
    now = time.perf_counter()
    print(f"  {last[1]:<44}{now - last[0]:6.2f} s")
    last[:] = [now, name]
import adresponse
adresponse.run(progress=step)
step("end")
print(f"  {'in all':<44}{time.perf_counter() - started:6.2f} s")
"""


def timed(command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of a command in a fresh folder."""
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True)
        wall = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    return kept | {"MLFLOW_DISABLE_TELEMETRY": "true"}


def row(name: str, values: list[float]) -> str:
    return f"{name:<34}{min(values):8.2f}{statistics.median(values):8.2f}{max(values):8.2f}"


def help_times(runs: int) -> list[float]:
    """`adresponse --help` over an empty click program, pair by pair."""
    empty = [sys.executable, "-c", "import click; click.Group('empty')(['--help'])"]
    ours = [sys.executable, "-c", "from adresponse.cli import main; main(['--help'])"]
    return [timed(ours)[0] / timed(empty)[0] for _ in range(runs)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each, after one that is not counted")
    runs = parser.parse_args().runs
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores, {runs} runs of each\n")
    for command in (BY_HAND, OURS):
        timed(command)
    pairs = [(timed(BY_HAND), timed(OURS)) for _ in range(runs)]
    print(f"{'seconds':<34}{'min':>8}{'median':>8}{'max':>8}")
    print(row("by hand, wall", [a[0] for a, _ in pairs]))
    print(row("adresponse run, wall", [b[0] for _, b in pairs]))
    print(row("ratio, wall", [b[0] / a[0] for a, b in pairs]))
    print(row("by hand, processor", [a[1] for a, _ in pairs]))
    print(row("adresponse run, processor", [b[1] for _, b in pairs]))
    print(row("ratio, processor", [b[1] / a[1] for a, b in pairs]))
    print(row("--help over an empty click program", help_times(max(runs, 5))))
    print("\nadresponse run, step by step:")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", STEPS], cwd=folder, env=environment(), check=True)


if __name__ == "__main__":
    main()
