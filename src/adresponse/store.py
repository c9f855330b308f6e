"""Where does a study rest: which MLflow store, is it there, and may it be written?

A fresh SQLite store takes MLflow some seconds to make, and breaks for good when several processes make it at once.
So it is made by a child process (``python -m adresponse.store``) while the caller fits and plots, in a file beside the
target that is put in its place in one step, under a lock that dies with its process.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import glob
import hashlib
import importlib.metadata
import itertools
import logging
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from adresponse.errors import StoreError, did_you_mean

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["LoggedModel", "Preparing", "Store", "error_code", "is_fresh", "look", "prepare", "quietly", "resolve", "serve_ui"]

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "file", "databricks", "databricks-uc", "uc")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
PROBE_SECONDS = 5
PATIENCE_SECONDS = 10.0  # how long a locked SQLite file is tried again
MAKING_SECONDS = 120.0  # how long one process waits while another makes the store
CALM = {  # MLflow's own defaults wait for minutes, draw bars and phone home
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it would stand amid the JSON that a command prints
}
BRISK = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}  # until a store is known to answer


@dataclass(frozen=True)
class LoggedModel:
    """A model that a run has stored: its id, the URI that loads it (``models:/m-...``), the SHA-256 of its manifest."""

    model_id: str
    uri: str
    digest: str = ""


@dataclass(frozen=True)
class Store:
    """An open MLflow store: its URI and MLflow's own client for it."""

    uri: str
    client: MlflowClient
    verbose: bool = False

    @property
    def shown(self) -> str:
        """The URI without user and password."""
        return without_secrets(self.uri)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """One call of MLflow's client: quiet, tried again while SQLite is locked, and refused in one sentence."""
        with _speaking(self.uri), quietly(self.verbose):
            return _patiently(lambda: getattr(self.client, method)(*args, **kwargs))

    @contextlib.contextmanager
    def speaking(self) -> Iterator[None]:
        """What fails inside the block is refused in one sentence, as by ``call``."""
        with _speaking(self.uri), quietly(self.verbose):
            yield

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """MLflow's global tracking URI is this store inside the block, and what it was before after it."""
        import mlflow
        from mlflow.tracking._tracking_service import utils

        chosen, inherited = utils._tracking_uri, os.environ.get("MLFLOW_TRACKING_URI")
        mlflow.set_tracking_uri(self.uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(chosen)
            _set_environment("MLFLOW_TRACKING_URI", inherited)


def error_code(error: BaseException) -> str:
    """MLflow's code (``RESOURCE_ALREADY_EXISTS``) behind a refusal, or an empty string."""
    return str(getattr(error.__cause__, "error_code", ""))


# --- which store


def resolve(tracking_uri: str | None, folder: Path) -> str:
    """The absolute URI of the store: the given one, else MLflow's own default, ``mlflow.db`` in ``folder``.

    Parameters
    ----------
    tracking_uri : str or None
        What ``MLFLOW_TRACKING_URI`` or an option says. A relative ``sqlite:///x.db`` is taken from ``folder``.
    folder : Path
        Working folder of the study.
    """
    if not (tracking_uri and tracking_uri.strip()):
        return _sqlite_uri(folder / "mlflow.db")
    uri = tracking_uri.strip()
    _refuse_unknown_scheme(uri)
    try:
        _ = urlsplit(uri).port
    except ValueError:
        raise StoreError(
            "The tracking URI cannot be read: its host or port is malformed; write / and @ in a password as %2F and %40."
        ) from None
    if not _is_sqlite(uri):
        return uri
    path = sqlite_path(uri)
    if path is None:
        raise StoreError(f"{uri!r} is a store in memory, which keeps nothing; name a file: sqlite:///mlflow.db.")
    _, question, query = uri.partition("?")
    return _sqlite_uri(folder / path) + question + query


def _sqlite_uri(path: Path) -> str:
    """Blanks and letters of any script stay as they are: MLflow would make a stray folder ``a%20b`` beside ``a b``."""
    return "sqlite:///" + path.absolute().as_posix().translate({ord(c): f"%{ord(c):02X}" for c in "%?#"})


def sqlite_path(uri: str) -> Path | None:
    """The file of an SQLite URI, or None where it lives in memory."""
    name = unquote(uri.partition("?")[0].partition("://")[2][1:])
    return None if name in ("", ":memory:") else Path(name)


def _scheme(uri: str) -> str:
    return uri.partition(":")[0].partition("+")[0].casefold() if ":" in uri else ""


def _is_sqlite(uri: str) -> bool:
    return _scheme(uri) == "sqlite"


def _refuse_unknown_scheme(uri: str) -> None:
    scheme = _scheme(uri)
    if scheme in (*SCHEMES, "") or uri in SCHEMES or Path(uri).is_absolute():
        return
    plugins = {e.name for e in importlib.metadata.entry_points(group="mlflow.tracking_store")}
    if scheme in plugins:
        return
    host = re.fullmatch(r"[\w.-]+:\d+(/.*)?", uri)
    hint = f" Did you mean 'http://{uri}'?" if host else did_you_mean(scheme, (*SCHEMES, *plugins))
    raise StoreError(f"{without_secrets(uri)!r} is no URI of an MLflow store: nothing knows {scheme!r}.{hint}")


def without_secrets(uri: str) -> str:
    """The URI as it may be shown: user and password replaced by ``***``."""
    named = re.sub(r"(?<=://)[^?#]*@", "***@", uri)
    return re.sub(r"(?i)([?&](?:user|password|pwd|token|sslpassword)=)[^&]*", r"\1***", named)


# --- prepare and open


@dataclass(frozen=True)
class Preparing:
    """A store on its way; ``open()`` waits for it, ``abandon()`` leaves nothing behind."""

    uri: str
    child: subprocess.Popen[str] | None = None
    verbose: bool = False

    def open(self) -> Store:
        """The opened store, or a refusal in one sentence."""
        try:
            with _speaking(self.uri):
                _import_mlflow(self.uri)  # while the child still works
                self._put_in_place()
                return _open(self.uri, self.verbose)
        finally:
            self.abandon()

    def _put_in_place(self) -> None:
        if self.child is None:
            return
        said, complaint = self.child.communicate("go\n")
        if self.child.returncode == 0:
            return
        lines = (said.strip() or complaint.strip()).splitlines()
        reason = lines[-1] if lines else f"its process ended with {self.child.returncode}"
        raise StoreError(reason if said.strip() else f"The store {self.uri} could not be made: {reason}.")

    def abandon(self) -> None:
        """Let go of a store that is not needed after all; a finished one stays."""
        if self.child is not None and self.child.poll() is None:
            self.child.communicate("")

    def __enter__(self) -> Preparing:
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()


def prepare(uri: str, verbose: bool = False) -> Preparing:
    """Begin to make the store if it is a fresh SQLite file, or knock at the server; returns at once.

    Parameters
    ----------
    uri : str
        What ``resolve`` gave.
    verbose : bool
        Let MLflow speak for itself.
    """
    if _scheme(uri) in ("http", "https"):
        _knock(uri)
    elif _is_sqlite(uri):
        path = sqlite_path(uri)
        if path is not None and _is_fresh(path):
            _refuse_unwritable(path)
            return Preparing(uri, _start_making(path), verbose)
    elif _scheme(uri) in DATABASES:
        _knock_at_port(uri)
    return Preparing(uri, None, verbose)


def is_fresh(uri: str) -> bool:
    """Whether the store is an SQLite file that nobody has made yet."""
    path = sqlite_path(uri) if _is_sqlite(uri) else None
    return path is not None and _is_fresh(path)


def _is_fresh(path: Path) -> bool:
    return not path.exists() or (path.is_file() and path.stat().st_size == 0)


def _refuse_unwritable(path: Path) -> None:
    near = next(p for p in (path.parent, *path.parent.parents) if p.exists())
    if not near.is_dir():
        raise StoreError(f"The store {path} cannot be made: {near} is no folder.")
    if not os.access(near, os.W_OK | os.X_OK):
        raise StoreError(f"The store {path} cannot be made: the folder {near} is read-only.")


def _start_making(path: Path) -> subprocess.Popen[str]:
    package = str(Path(__file__).resolve().parents[1])
    inherited = os.environ.get("PYTHONPATH")
    python_path = os.pathsep.join([package, inherited] if inherited else [package])
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", "-W", "ignore", "-m", "adresponse.store", str(path)],
        env={**os.environ, **CALM, "PYTHONPATH": python_path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _knock(uri: str) -> None:
    parts = urlsplit(uri)  # a user in the address is for MLflow's requests; the probe does without
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    request = urllib.request.Request(bare.rstrip("/") + "/health")  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):  # noqa: S310
            return
    except urllib.error.HTTPError as e:
        if e.code < 500:  # a hosted MLflow without /health, or one that asks for a login
            return
        reason = f"it answers {e.code} {e.reason}"
    except (OSError, ValueError) as e:
        reason = str(getattr(e, "reason", e))
    raise StoreError(f"The MLflow server {without_secrets(uri)} cannot be reached ({reason}); is it running?")


def _knock_at_port(uri: str) -> None:
    parts = urlsplit(uri)
    port = parts.port or {"postgresql": 5432, "mysql": 3306, "mssql": 1433}[_scheme(uri)]
    if not parts.hostname:
        return
    try:
        socket.create_connection((parts.hostname, port), timeout=PROBE_SECONDS).close()
    except OSError as e:
        raise StoreError(f"The database {without_secrets(uri)} cannot be reached ({e}); is it running?") from e


def _import_mlflow(uri: str) -> None:
    with quietly(), _uncollected():
        import mlflow

        if _scheme(uri) in DATABASES:
            import mlflow.store.tracking.sqlalchemy_store
        assert mlflow  # noqa: S101


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection inside the block: it takes a quarter of the time of a long import, for nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _open(uri: str, verbose: bool) -> Store:
    from mlflow import MlflowClient

    with _environment(BRISK), quietly(verbose):
        if _scheme(uri) in DATABASES:
            _refuse_unfit_database(uri)
        client = _patiently(lambda: MlflowClient(tracking_uri=uri))
        _patiently(lambda: client.search_experiments(max_results=1))
    return Store(uri, client, verbose)


def _refuse_unfit_database(uri: str) -> None:
    """Raise where the database cannot be written or has another schema; MLflow would wait, or migrate it unasked."""
    import sqlalchemy
    from mlflow.store.db.utils import _get_latest_schema_revision

    timeout = "timeout" if _is_sqlite(uri) else "connect_timeout"
    known = _scheme(uri) in ("sqlite", "postgresql", "mysql")
    engine = sqlalchemy.create_engine(uri, connect_args={timeout: PROBE_SECONDS} if known else {})
    try:
        with engine.connect() as connection:
            if _is_sqlite(uri):
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            tables = sqlalchemy.inspect(connection).get_table_names()
            found = _revision(connection) if "alembic_version" in tables else None
            connection.rollback()
    finally:
        engine.dispose()
    if _is_sqlite(uri):
        _refuse_unwritable(sqlite_path(uri) or Path())
    if tables and found != _get_latest_schema_revision():
        raise StoreError(
            f"The database {without_secrets(uri)} is no MLflow store of this MLflow version; if it is one of another "
            f"version, take a backup and run: mlflow db upgrade '{without_secrets(uri)}'"
        )


def _revision(connection: Any) -> str | None:
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def look(uri: str) -> dict[str, Any]:
    """Where the store is and whether it answers, for ``adresponse doctor``; makes nothing and loads no MLflow."""
    try:
        prepared = None if _is_sqlite(uri) else prepare(uri)
    except StoreError as e:
        return {"uri": without_secrets(uri), "state": str(e)}
    fresh = prepared is None and is_fresh(uri)
    return {"uri": without_secrets(uri), "state": "not made yet; the first run makes it" if fresh else "there"}


def serve_ui(uri: str, host: str, port: int) -> int:
    """Run MLflow's own UI on the store until it is stopped; the exit code is MLflow's."""
    if _scheme(uri) in ("http", "https"):
        raise StoreError(f"The store is a server with its own UI: open {without_secrets(uri)} in a browser.")
    prepare(uri).open()
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", host, "--port", str(port)]
    calm = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_WORKERS": "1",  # MLflow starts four, which for one person is twice the wait and twice the memory
    }
    server = subprocess.Popen(command, env={**calm, **os.environ})  # noqa: S603
    previous = signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    try:
        return server.wait()
    except KeyboardInterrupt:
        return server.wait()
    finally:
        signal.signal(signal.SIGTERM, previous)


# --- speak: quiet, patient, in one sentence


@contextlib.contextmanager
def quietly(verbose: bool = False) -> Iterator[None]:
    """MLflow without its chatter and its minutes of waiting inside the block; everything is put back after it."""
    if verbose:
        yield
        return
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), _environment(CALM):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def _environment(defaults: dict[str, str]) -> Iterator[None]:
    missing = {k: v for k, v in defaults.items() if k not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)


def _set_environment(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


_SHARED = "(dataset|input|model_version|registered_model_alias|experiment_tag)"  # tables that MLflow fills unguarded
_TRANSIENT = re.compile(
    "database is locked|Giving up after|"
    f"UNIQUE constraint failed: {_SHARED}|unique constraint \"{_SHARED}|Duplicate entry .* for key '{_SHARED}"
)


def _patiently(act: Callable[[], Any]) -> Any:
    """What ``act`` gives, tried again with growing pauses while other processes are in its way.

    That is a locked SQLite file, or a row that another process wrote between MLflow's look and its write. The
    transaction was rolled back as a whole, so that trying it again writes it once.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    for attempt in itertools.count():
        try:
            return act()
        except Exception as e:
            if not _TRANSIENT.search(_whole_text(e)) or time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))  # noqa: S311
    raise AssertionError  # pragma: no cover


@contextlib.contextmanager
def _speaking(uri: str) -> Iterator[None]:
    """What MLflow, SQLAlchemy, requests or the disk refuse inside the block becomes one sentence."""
    try:
        yield
    except StoreError:
        raise
    except Exception as e:
        raise StoreError(sentence(e, uri)) from e


def sentence(error: BaseException, uri: str) -> str:
    """One sentence for what went wrong with a store, and what to do about it."""
    text, shown = _whole_text(error), without_secrets(uri)
    number = next((e.errno for e in _chain(error) if isinstance(e, OSError)), None)
    for pattern, codes, said in _SENTENCES:
        if number in codes or re.search(pattern, text, re.IGNORECASE):
            return said.format(uri=shown)
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return f"The store {shown} refused: {first.rstrip('.')}."


_SENTENCES: tuple[tuple[str, tuple[int, ...], str], ...] = (
    (
        r"disk is full|No space left|quota exceeded",
        (errno.ENOSPC, errno.EDQUOT),
        "The disk is full, so the store {uri} cannot be written; free some space and run again.",
    ),
    (
        r"database is locked|database table is locked",
        (),
        "The store {uri} is locked by another process; close it there, or wait until it is done.",
    ),
    (
        r"readonly database|attempt to write a readonly|unable to open database file|Read-only file|Permission denied",
        (errno.EROFS, errno.EACCES, errno.EPERM),
        "The store {uri} cannot be written: the folder or the file is read-only.",
    ),
    (
        r"file is not a database|disk image is malformed|file is encrypted",
        (),
        "The file of {uri} is no SQLite database; move it away, or name another file.",
    ),
    (
        r"out-of-date database schema|Can't locate revision",
        (),
        "The store {uri} has the schema of another MLflow version; take a backup and run: mlflow db upgrade '{uri}'",
    ),
    (
        r"password authentication failed|Access denied for user|\b401\b|\b403\b|UNAUTHENTICATED|PERMISSION_DENIED",
        (),
        "The store {uri} refuses access; check the user, the password or the token.",
    ),
    (
        r"Max retries exceeded|Connection refused|Connection reset|timed out|Failed to establish|Name or service|"
        r"connection is bad|could not translate host|server closed the connection",
        (errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH),
        "The store {uri} cannot be reached; is it running?",
    ),
)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _whole_text(error: BaseException) -> str:
    return "\n".join(str(e) for e in _chain(error))


# --- make a fresh SQLite store (in the child)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """One process at a time for this user and file; the lock is an open SQLite transaction, so it dies with us.

    Sixteen locks are shared by all files, so that no more are left in the folder for temporary files.
    """
    key = hashlib.sha256(os.fsencode(path)).hexdigest()[0]
    user = os.getuid() if hasattr(os, "getuid") else "user"
    file = Path(tempfile.gettempdir()) / f"adresponse-{user}-{key}.lock"
    connection = sqlite3.connect(file, timeout=MAKING_SECONDS, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        connection.close()


def _ready(path: Path) -> Path:
    return path.with_name(f".{path.name}.ready")


def _make(path: Path) -> bool:
    """Make a whole store beside ``path``, unless it or one for it is there already; True where this call made it."""
    if not _is_fresh(path) or _ready(path).exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    making = path.with_name(f".{path.name}.making-{os.getpid()}")
    try:
        _migrate(making)
        making.replace(_ready(path))
    finally:
        _sweep(path)
    return True


def _sweep(path: Path) -> None:
    """Remove what a killed process left half-made (the lock says that nobody is at it)."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.making-*"):
        left.unlink(missing_ok=True)


def _migrate(path: Path) -> None:
    """The store as MLflow itself makes it in this folder, without a flush to the disk for each of its statements."""
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "connect")
    def _hurry(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    with quietly():
        store = SqlAlchemyStore(_sqlite_uri(path), DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)
    store.engine.dispose()
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _place(path: Path) -> None:
    """Put the finished store in its place in one step, unless somebody's is there."""
    ready = _ready(path)
    if not _is_fresh(path):
        ready.unlink(missing_ok=True)
    elif path.exists():
        ready.replace(path)
    else:
        _link(ready, path)


def _link(ready: Path, path: Path) -> None:
    try:
        os.link(ready, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links; the lock keeps our own processes apart
        ready.replace(path)
    ready.unlink(missing_ok=True)


def _child(path: Path) -> None:
    """Make the store, wait for the word, put it in place; without the word (the caller is gone) take it away."""
    with _lock(path):
        made = _make(path)
    wanted = sys.stdin.readline() == "go\n"
    if not (wanted or made):
        return
    with _lock(path):
        if wanted:
            _make(path)
            _place(path)
        else:
            _ready(path).unlink(missing_ok=True)


def main(arguments: list[str]) -> int:
    """``python -m adresponse.store PATH``: exit code 0, or 2 and one sentence on standard output."""
    gc.disable()
    path = Path(arguments[0])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller decides; its end closes our input
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _child(path)
    except Exception as e:
        sys.stdout.write(sentence(e, _sqlite_uri(path)) + "\n")
        return 2
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # MLflow's modules take a tenth of a second to be torn down
