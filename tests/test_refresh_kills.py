"""A few of the kills and of the crowds that bench/kills.py and bench/crowd.py count by the hundred."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tracked_example import child_environment

BENCH = Path(__file__).parents[1] / "bench"


def bench(name: str, *arguments: str) -> str:
    """What a script of the bench prints; its exit code is 1 where anything was not as it has to be."""
    command = [sys.executable, str(BENCH / name), *arguments]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_after_a_kill_while_it_registers_everything_is_whole_and_the_next_refresh_goes_on() -> None:
    said = bench("kills.py", "--kills", "3", "--aimed", "--seed", "3")
    assert re.search(r"^Registering the version .* [1-3]$", said, re.MULTILINE), said
    assert "Problems: 0." in said


def test_refreshes_at_once_are_all_taken_in_and_each_promotes_in_its_turn() -> None:
    said = bench("crowd.py", "--processes", "4", "--promote")
    assert "'promotion': 5" in said
    assert "'refresh': 4" in said
