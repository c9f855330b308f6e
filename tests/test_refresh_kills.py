"""A few of the kills and of the crowds that bench/kills.py and bench/crowd.py count by the hundred."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tracked_example import child_environment

BENCH = Path(__file__).parents[1] / "bench"
BOTH = """
import crowd, kills
print("crowd ended with", crowd.main(["--processes", "4", "--promote"]), flush=True)
print("kills ended with", kills.main(["--kills", "3", "--aimed", "--seed", "3"]), flush=True)
"""


@pytest.fixture(scope="module")
def said() -> str:
    """What both print, in one process: to import all that they fork from takes it as long as the rest."""
    done = subprocess.run([sys.executable, "-c", BOTH], cwd=BENCH, env=child_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_refreshes_at_once_are_all_taken_in_and_each_promotes_in_its_turn(said: str) -> None:
    assert "crowd ended with 0" in said
    assert "'promotion': 5" in said
    assert "'refresh': 4" in said


def test_after_a_kill_while_it_registers_everything_is_whole_and_the_next_refresh_goes_on(said: str) -> None:
    assert "kills ended with 0" in said
    assert re.search(r"^Registering the version .* [1-3]$", said, re.MULTILINE), said
    assert "Problems: 0." in said
