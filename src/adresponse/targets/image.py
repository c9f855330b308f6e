"""How does a stored model become a container image? A small build context: a Dockerfile, the model, the files that answer."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from string import Template

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from adresponse import __version__
from adresponse.errors import ConfigError, DeploymentError
from adresponse.stored import BYTECODE, Stored
from adresponse.targets.intent import Intent, Step

__all__ = ["SERVER", "Written", "commands", "dockerfile", "intent", "requirements", "write"]

SERVER = (
    *("chartkick", "click", "httptools", "msgspec", "numpy", "orjson", "prometheus-client"),
    *("pysimdjson; python_version < '3.14'", "uvicorn", "uvloop"),
)
USER = 10001  # beyond the ids that distributions give out; a number, so that "may not run as root" can be checked
TRACKING_ONLY = "mlflow"  # a stored model names it first, and the server does without
MADE = "# Made by adresponse "
META = "registered_model_meta"  # where MLflow writes a version's name and number when it downloads it
SERVE = """\
#!/bin/sh
# Amazon SageMaker starts a container as `IMAGE serve`, with the model's files under /opt/ml/model, and asks port 8080.
exec python -m adresponse serve /opt/ml/model --host 0.0.0.0 --port 8080 --allow-anyone --allow-host '*'
"""


@dataclass(frozen=True)
class Written:
    """A build context that was written, and what to do with it.

    Parameters
    ----------
    folder, dockerfile : Path
        The context, and the Dockerfile in it.
    commands : tuple of str
        Build it, run it, verify it: lines to paste.
    """

    folder: Path
    dockerfile: Path
    commands: tuple[str, ...]


def write(
    stored: Stored, folder: Path, *, version: str, name: str, port: int = 8080, token_file: str = "", force: bool = False
) -> Written:
    """Write a build context for an image that serves the model.

    Parameters
    ----------
    stored : Stored
        The model; its folder is copied.
    folder : Path
        Where the context goes. It is written beside and renamed, so that no half of it is ever there.
    version, name : str
        The registered version and its model, which the image's server says; see ``Served``.
    port : int
        Where the container listens.
    token_file : str
        Path in the container of a file with the token that callers must send; mount it there. Without it the server
        answers anyone who can reach the container.
    force : bool
        Replace a context that an earlier call wrote.

    Raises
    ------
    ConfigError
        If ``port`` is no port, ``token_file`` no absolute path, or the folder holds something else.
    DeploymentError
        If a package that the server needs is not installed here, or the folder cannot be written.
    """
    _refuse_port(port)
    _refuse_relative(token_file)
    _refuse_folder(folder, force)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as beside:
            context = Path(beside, "context")
            _fill(context, stored, version, name, port, token_file)
            _put(context, folder, Path(beside, "before"))
    except OSError as error:
        raise DeploymentError(f"The build context {str(folder)!r} cannot be written: {error.strerror or error}.") from error
    return Written(
        folder, folder / "Dockerfile", commands(folder, version=version, name=name, port=port, token_file=token_file)
    )


def intent(
    stored: Stored, folder: Path, *, version: str, name: str, port: int = 8080, token_file: str = "", force: bool = False
) -> Intent:
    """What ``write`` would put where, and what is left to do by hand; refused where ``write`` would be."""
    _refuse_port(port)
    _refuse_relative(token_file)
    _refuse_folder(folder, force)
    files = sorted(str(p.relative_to(stored.folder)) for p in _files(stored.folder))
    sends = {
        "Dockerfile": dockerfile(stored, version=version, name=name, port=port, token_file=token_file).splitlines(),
        "requirements.txt": list(requirements(stored)),
        "model": files,
        "app": f"adresponse {__version__}",
        "serve": SERVE.splitlines(),
    }
    by_hand = commands(folder, version=version, name=name, port=port, token_file=token_file)
    steps = [Step("write", f"Writes the build context {str(folder)!r}.", sends)]
    steps += [Step("by hand", line) for line in by_hand]
    return Intent(
        "image", f"Would write an image's build context for {name or 'the model'} {version}; builds nothing.", tuple(steps)
    )


def dockerfile(stored: Stored, *, version: str, name: str, port: int = 8080, token_file: str = "") -> str:
    """The text of the Dockerfile; it holds no secret and names no package index."""
    text = Path(__file__).with_name("Dockerfile.template").read_text("utf-8")
    title = " ".join(f"{name} {version}".split()) or stored.model_id
    whom = ["--token-file", token_file] if token_file else ["--allow-anyone"]
    serve = ["python", "-m", "adresponse", "serve", "/opt/model", "--host", "0.0.0.0", "--port", str(port)]  # noqa: S104
    directly = "r.build_opener(r.ProxyHandler({}))"  # Docker hands a proxy on to every container
    probe = f"import urllib.request as r; {directly}.open('http://127.0.0.1:{port}/ready', timeout=2)"
    return Template(text).substitute(
        package=__version__,
        title=title,
        python=platform.python_version(),
        label_name=json.dumps(name or "adresponse").replace("$", r"\$"),
        label_version=json.dumps(version),
        label_digest=json.dumps(stored.digest),
        user=USER,
        port=port,
        probe=json.dumps(["python", "-c", probe]),
        command=json.dumps([*serve, *whom, "--allow-host", "*"]),
    )


def requirements(stored: Stored) -> tuple[str, ...]:
    """``name==version`` of all that the image installs: what the server needs, as installed here.

    A model without closed formula also needs the libraries of its own ``requirements.txt``, in their versions.

    Raises
    ------
    DeploymentError
        If one of them is not installed here.
    """
    pinned: dict[str, str] = {}
    wanted: list[str] = list(_needed(SERVER))
    if not stored.formula.closed:
        pinned = _pinned_by(stored)
        wanted += pinned
    found: dict[str, str] = {}
    while wanted:
        if (name := wanted.pop()) not in found:
            found[name], needs = _installed(name)
            wanted += needs
    return tuple(f"{name}=={version}" for name, version in sorted((found | pinned).items()))


def commands(folder: Path, *, version: str, name: str, port: int = 8080, token_file: str = "") -> tuple[str, ...]:
    """Build, run, verify: lines to paste, beside a file ``token`` where callers must send one."""
    tag = f"{_tag(name) or 'adresponse-model'}:{_tag(version) or 'latest'}"
    model = f"models:/{name}/{version}" if name and version.isdigit() else ""
    mount = f'-v "$PWD"/token:{shlex.quote(token_file)}:ro ' if token_file else ""
    shown = " --token-file token" if token_file else ""
    return (
        f"docker build -t {tag} {shlex.quote(str(folder))}",
        f"docker run --rm -p 127.0.0.1:{port}:{port} {mount}{tag}",
        f"adresponse verify {shlex.quote(model) + ' ' if model else ''}--url http://127.0.0.1:{port}{shown}",
    )


def _fill(context: Path, stored: Stored, version: str, name: str, port: int, token_file: str) -> None:
    pinned = requirements(stored)
    _copy(stored.folder, context / "model")
    if name and version.isdigit() and not (meta := context / "model" / META).exists():
        meta.write_text(f"model_name: {json.dumps(name)}\nmodel_version: '{version}'\n", encoding="utf-8")
    _copy(Path(__file__).parent.parent, context / "app" / "adresponse")
    (context / "requirements.txt").write_text("".join(f"{line}\n" for line in pinned), encoding="utf-8")
    (context / ".dockerignore").write_text("**/__pycache__\n**/*.pyc\nDockerfile\n.dockerignore\n", encoding="utf-8")
    text = dockerfile(stored, version=version, name=name, port=port, token_file=token_file)
    (context / "Dockerfile").write_text(text, encoding="utf-8")
    (context / "serve").write_text(SERVE, encoding="utf-8")
    for path in (context, *context.rglob("*")):  # whoever the container runs as must be able to read all of it
        path.chmod(0o755 if path.is_dir() or path == context / "serve" else 0o644)


def _put(context: Path, folder: Path, before: Path) -> None:
    """Rename the context to the folder; what was there is moved away, and brought back if that fails."""
    if folder.exists():
        folder.rename(before)
    try:
        context.rename(folder)
    except OSError:
        if before.exists():
            before.rename(folder)
        raise


def _copy(source: Path, target: Path) -> None:
    for path in _files(source):
        to = target / path.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and BYTECODE not in path.parts:
            yield path


def _pinned_by(stored: Stored) -> dict[str, str]:
    """What the stored model's own ``requirements.txt`` pins, without MLflow."""
    lines = (stored.folder / "requirements.txt").read_text("utf-8").splitlines()
    pairs = (line.partition("==") for line in lines)
    named = {canonicalize_name(name.strip()): version.strip() for name, _, version in pairs if version}
    return {name: version for name, version in named.items() if name != TRACKING_ONLY}


def _installed(name: str) -> tuple[str, list[str]]:
    """The version of a package installed here, and the names of those that it needs here."""
    try:
        there = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise DeploymentError(
            f"The image's server needs {name}, which is not installed here; install adresponse with all it needs."
        ) from None
    return there.version, list(_needed(there.requires or ()))


def _needed(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        needed = Requirement(line)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            yield canonicalize_name(needed.name)


def _refuse_port(port: int) -> None:
    if not 0 < port < 65536:
        raise ConfigError(f"port={port} is no port for a container; give one between 1 and 65535.")


def _refuse_relative(token_file: str) -> None:
    if token_file and not token_file.startswith("/"):
        raise ConfigError(f"token_file={token_file!r} is no absolute path in the container; write one like /run/secrets/token.")


def _refuse_folder(folder: Path, force: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{str(folder)!r} is a file; name a folder for the build context.")
    if not os.listdir(folder):
        return
    file = folder / "Dockerfile"
    ours = file.is_file() and file.read_text("utf-8", errors="replace").startswith(MADE)
    if not ours:
        raise ConfigError(f"The folder {str(folder)!r} is not empty, and holds no build context of adresponse; name another.")
    if not force:
        raise ConfigError(f"The folder {str(folder)!r} holds a build context already; name another, or add --force.")


def _tag(text: str) -> str:
    """Lower case letters, digits and ``._-``: what the name of an image may hold."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:100]
