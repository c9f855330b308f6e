"""Outside parts that tests start and stop for themselves; where one is missing, the test is skipped and says so."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

__all__ = ["free_port", "start_chromium", "start_postgres"]

CHROMIUM = Path("/usr/bin/chromium")
OFFLINE = (
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def start_chromium() -> Iterator[Any]:
    """The system's Chromium, driven by playwright."""
    sync = pytest.importorskip("playwright.sync_api", reason="missing part: playwright")
    if not CHROMIUM.exists():
        pytest.skip("missing part: Chromium")
    with sync.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", *OFFLINE])
        yield opened
        opened.close()


@contextmanager
def start_postgres(folder: str | Path | None = None) -> Iterator[str]:
    """A PostgreSQL server of our own with an empty database ``mlflow``; gives its URL, stops it at the end.

    As root the server runs as the user ``postgres``, to whom ``folder`` (a new temporary one by default) is given.
    """
    tools = _postgres_tools()
    home = Path(tempfile.mkdtemp(prefix="pg", dir=folder))
    as_user = _as_postgres(home)
    port = free_port()
    data = str(home / "data")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home} -c fsync=off"
    try:
        _run([*as_user, tools["initdb"], "-D", data, "-A", "trust", "-U", "mlflow", "--no-sync"], home)
        _run([*as_user, tools["pg_ctl"], "-D", data, "-l", str(home / "log"), "-w", "-o", options, "start"], home)
        _run([*as_user, tools["createdb"], "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "mlflow"], home)
        yield f"postgresql://mlflow:secret@127.0.0.1:{port}/mlflow"
    finally:
        with suppress(subprocess.CalledProcessError):
            _run([*as_user, tools["pg_ctl"], "-D", data, "-m", "immediate", "stop"], home)
        shutil.rmtree(home, ignore_errors=True)


def _postgres_tools() -> dict[str, str]:
    found = {name: _tool(name) for name in ("initdb", "pg_ctl", "createdb")}
    for name, path in found.items():
        if path is None:
            pytest.skip(f"missing part: PostgreSQL ({name} is neither on PATH nor under /usr/lib/postgresql)")
    return {name: str(path) for name, path in found.items()}


def _tool(name: str) -> str | None:
    packaged = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    return packaged[-1] if packaged else shutil.which(name)


def _as_postgres(home: Path) -> list[str]:
    if os.geteuid() != 0:
        return []
    try:
        shutil.chown(home, "postgres")
    except LookupError:
        pytest.skip("missing part: the user postgres, since PostgreSQL does not run as root")
    return ["runuser", "-u", "postgres", "--"]


def _run(command: Sequence[str], home: Path) -> None:
    with (home / "commands").open("ab") as log:
        done = subprocess.run(command, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    if done.returncode:
        tail = (home / "commands").read_text(errors="replace")[-2000:]
        raise subprocess.CalledProcessError(done.returncode, command, tail)
