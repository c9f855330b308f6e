"""How does a model answer on this machine, in the background? A server process of its own, recorded so that it can be ended.

Each deployment is a folder of the state folder, readable by its owner alone: ``deployment.json`` and the server's ``log``.
A process is known by its number and the moment it started, so that a number given anew is never taken for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from adresponse.errors import ConfigError, DeploymentError, did_you_mean

__all__ = ["DIRECTLY", "Local", "Wanted", "alive", "create", "delete", "find", "listing", "state_folder", "update"]

RECORD = "deployment.json"
LOG = "log"
TRIAL = ".trial-"  # begins the name of a folder for a server that is tried
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
GRACE = 30.0  # seconds that a server is given to end: its own drain takes up to 20
POLL = 0.05  # seconds between two looks at a server that starts or ends
LAST_WORDS = 600  # characters of a log that a refusal repeats
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy's own machine is not this one


@dataclass(frozen=True)
class Wanted:
    """What is to answer, and where.

    Parameters
    ----------
    model : str
        ``models:/NAME@champion``, ``models:/NAME/3``, ``models:/m-ID``, or a folder.
    host, port : str, int
        Where it listens; port 0 takes a free one.
    workers : int
        Processes that answer.
    token_file : str
        File with the token that callers must send; needed beyond loopback.
    allow_host : str
        Further names to be reached by, separated by commas; needed beyond loopback too.
    timeout : float
        Seconds that the server is given until it is ready.
    """

    model: str
    host: str = "127.0.0.1"
    port: int = 0
    workers: int = 1
    token_file: str = ""
    allow_host: str = ""
    timeout: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise ConfigError(f"port={self.port} is no port; give one between 1 and 65535, or 0 for a free one.")
        if self.workers < 1:
            raise ConfigError(f"workers={self.workers} cannot answer; give 1 or more.")
        if not 0 < self.timeout <= 3600:
            raise ConfigError(f"timeout={self.timeout:g} is no time to wait; give seconds between 0 and 3600.")


@dataclass(frozen=True)
class Local:
    """A deployment as recorded: what answers, where, and which process it is (number, and mark of its start)."""

    name: str
    wanted: Wanted
    url: str
    pid: int
    started: str
    created: str
    log: str
    place: str


def create(state: Path, name: str, wanted: Wanted) -> Local:
    """Start a server for the model, wait until it is ready, and record it.

    Raises
    ------
    ConfigError
        If the name is taken, or none that names a folder.
    DeploymentError
        If the port is taken, or the server did not become ready; its last words are repeated.
    """
    folder = _claim(state, name)
    try:
        return _launch(folder, name, wanted, str(Path.cwd()))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def update(state: Path, name: str, wanted: Wanted) -> Local:
    """Replace the server by one for another model or with other settings, at the same port unless another is named.

    The new one is first started on a free port, so that a model that cannot answer never ends the one that does. Between
    the end of the old server and the start of the new one at its port, connections are refused for about a second.
    """
    before = find(state, name)
    folder = state / name
    _end_trials(folder)
    with tempfile.TemporaryDirectory(prefix=TRIAL, dir=folder) as trial:
        _end(_launch(Path(trial), name, replace(wanted, port=0), before.place))
    _end(before)
    port = wanted.port or int(before.url.rpartition(":")[2])
    try:
        return _launch(folder, name, replace(wanted, port=port), before.place)
    except DeploymentError:
        _launch(folder, name, replace(before.wanted, port=int(before.url.rpartition(":")[2])), before.place)
        raise


def delete(state: Path, name: str) -> None:
    """End the server's process, and nothing but that, and forget it; a deployment that is not there is deleted already."""
    _refuse_name(name)
    folder = state / name
    _end_trials(folder)
    if (folder / RECORD).is_file():
        _end(find(state, name))
    shutil.rmtree(folder, ignore_errors=True)


def find(state: Path, name: str) -> Local:
    """The deployment of that name, or a refusal that suggests the nearest."""
    _refuse_name(name)
    try:
        return _read(state / name / RECORD)
    except FileNotFoundError:
        names = [d.name for d in listing(state)]
        known = f" There are: {', '.join(names)}." if names else " There is none yet."
        raise DeploymentError(f"No deployment is named {name!r}.{did_you_mean(name, names)}{known}") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DeploymentError(
            f"The record of {name!r} cannot be read ({error}); end its server, if one runs, and remove {str(state / name)!r}."
        ) from error


def listing(state: Path) -> list[Local]:
    """All deployments of the state folder, by name."""
    return [find(state, path.parent.name) for path in sorted(state.glob(f"*/{RECORD}"))]


def alive(deployment: Local) -> bool:
    """Whether the process that was started still runs."""
    return _mark(deployment.pid) == deployment.started


def state_folder(target_uri: str, environment: Mapping[str, str]) -> Path:
    """Where the records of deployments are: named by the target, by the environment, or the user's own state folder."""
    named = target_uri.partition(":")[2]
    if named.strip("/"):
        return Path(named)
    if given := environment.get("ADRESPONSE_STATE"):
        return Path(given)
    home = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "adresponse" / "deployments"


# --- processes


def _launch(folder: Path, name: str, wanted: Wanted, place: str) -> Local:
    """Start the server and wait until it is ready; ended again where it does not become so, or cannot be recorded.

    It is recorded before it is ready, so that it can be ended even if this process is killed while it waits.
    """
    port = _free_port(wanted.host, wanted.port)
    log = folder / LOG
    with _private(log) as sink:
        process = subprocess.Popen(  # noqa: S603
            _command(wanted, port),
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(wanted.host, wanted.host)  # noqa: S104
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    try:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        made = Local(name, wanted, url, process.pid, _mark(process.pid), now, str(log), place)
        _record(folder, made)
        _wait_ready(process, url, wanted, log)
    except BaseException:
        _stop(process.pid, _mark(process.pid))
        raise
    return made


def _command(wanted: Wanted, port: int) -> list[str]:
    model = str(Path(wanted.model).resolve()) if Path(wanted.model).is_dir() else wanted.model
    command = [sys.executable, "-m", "adresponse", "serve", model, "--host", wanted.host, "--port", str(port)]
    if wanted.workers > 1:
        command += ["--workers", str(wanted.workers)]
    if wanted.token_file:
        command += ["--token-file", wanted.token_file]
    for name in filter(None, wanted.allow_host.split(",")):
        command += ["--allow-host", name.strip()]
    return command


def _wait_ready(process: subprocess.Popen[bytes], url: str, wanted: Wanted, log: Path) -> None:
    deadline = time.monotonic() + wanted.timeout
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DeploymentError(f"{wanted.model} does not answer: its server ended at once. {_last_words(log)}")
        if _is_ready(url):
            return
        time.sleep(POLL)
    raise DeploymentError(f"{wanted.model} was not ready within {wanted.timeout:g} s. {_last_words(log)}")


def _is_ready(url: str) -> bool:
    try:
        with DIRECTLY.open(f"{url}/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _end(deployment: Local) -> None:
    if alive(deployment):
        _stop(deployment.pid, deployment.started)


def _end_trials(folder: Path) -> None:
    """End what an update that was killed was trying."""
    for record in folder.glob(f"{TRIAL}*/{RECORD}"):
        _end(_read(record))
        shutil.rmtree(record.parent)


def _stop(pid: int, started: str) -> None:
    """Ask the process to end, and after a while its session, which holds nothing but what it started."""
    for end, signed, seconds in ((os.kill, signal.SIGTERM, GRACE), (os.killpg, signal.SIGKILL, 5.0)):
        if not started or _mark(pid) != started:
            return
        with contextlib.suppress(ProcessLookupError):
            end(pid, signed)
        deadline = time.monotonic() + seconds
        while _mark(pid) == started and time.monotonic() < deadline:
            time.sleep(POLL)
    if _mark(pid) == started:
        raise DeploymentError(f"The server's process {pid} does not end; look at it with `ps -p {pid}`.")


def _mark(pid: int) -> str:
    """When a process started, as the system counts it; empty where none runs under that number."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # one that ended, and that this process started, is not to be taken for running
    stat = Path("/proc", str(pid), "stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text("utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in "ZX" else fields[19]  # field 22 of proc(5): ticks since the machine started
    command = [shutil.which("ps") or "/bin/ps", "-o", "lstart=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()  # noqa: S603


def _free_port(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise DeploymentError(
                f"Port {port} of {host} cannot be used ({error.strerror or error}); name another port."
            ) from None
        return int(probe.getsockname()[1])


# --- files


def _claim(state: Path, name: str) -> Path:
    """The deployment's own new folder, so that two of one name never start at once."""
    _refuse_name(name)
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = state / name
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise ConfigError(f"The name {name!r} is taken; update or delete that deployment, or choose another name.") from None
    return folder


def _refuse_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ConfigError(f"{name!r} does not name a deployment; use letters, digits and ._- (at most 100).")


@contextlib.contextmanager
def _private(path: Path) -> Iterator[int]:
    """A file that its owner alone may read, opened anew for writing."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        yield handle
    finally:
        os.close(handle)


def _read(record: Path) -> Local:
    given = json.loads(record.read_bytes())
    return Local(**{**given, "wanted": Wanted(**given["wanted"])})


def _record(folder: Path, made: Local) -> None:
    beside = folder / f".{RECORD}.{os.getpid()}"
    with _private(beside) as handle:
        os.write(handle, json.dumps(asdict(made), indent=1).encode())
    beside.rename(folder / RECORD)


def _last_words(log: Path) -> str:
    text = log.read_text("utf-8", errors="replace").strip()[-LAST_WORDS:]
    return f"It said: {text}" if text else "It said nothing."
