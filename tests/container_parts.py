"""Images built and run where there is no container engine as a service: buildah, podman, and a base made on the spot.

Debian packages: buildah podman runc debootstrap containernetworking-plugins iptables. As root; nothing is pulled. The
base is Debian with the Python that runs the tests, under the name that a Dockerfile asks for, ``python:X.Y.Z-slim``.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

__all__ = ["BASE", "Container", "build", "environment", "inspect", "inspect_any", "remove_image", "run", "start"]

TOOLS = ("buildah", "podman", "runc", "debootstrap", "iptables")
BASE = f"docker.io/library/python:{platform.python_version()}-slim"
LIBRARIES = (  # what a CPython of any build may be linked with
    "ca-certificates",
    "libssl3",
    "libsqlite3-0",
    "libffi8",
    "libbz2-1.0",
    "liblzma5",
    "libreadline8",
    "libncursesw6",
    "libuuid1",
    "libtirpc3",
    "libexpat1",
)
CONFIG = """\
[containers]
default_ulimits = ["nofile=1024:{files}", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


@dataclass(frozen=True)
class Container:
    """A container under way: its name, the image it is of, and the address where it answers outside of it."""

    name: str
    image: str
    url: str


def build(context: Path, tag: str, **pip: str) -> None:
    """Build a context into ``localhost/TAG``, in Docker's own format, with this machine's pip settings and ``pip``."""
    _base()
    options = ["--pull-never", "--network", "host", "--format", "docker", "-t", f"localhost/{tag}"]
    with tempfile.TemporaryDirectory() as folder:
        run(["buildah", "bud", *options, *_pip_volumes(Path(folder), pip), str(context)], timeout=600)


def inspect(tag: str) -> dict[str, Any]:
    """What the built image says of itself, as Docker's tools show it."""
    return inspect_any(f"localhost/{tag}")


def inspect_any(name: str) -> dict[str, Any]:
    """The same of any image here, by its whole name."""
    return dict(json.loads(run(["podman", "image", "inspect", name]))[0])


def remove_image(tag: str) -> None:
    """Remove the image, and leave the base for the next test."""
    run(["buildah", "rmi", "-f", f"localhost/{tag}"])


@contextmanager
def start(
    tag: str, port: int, inside: int = 8080, options: Sequence[str] = (), command: Sequence[str] = ()
) -> Iterator[Container]:
    """Run the image with its port published on loopback; whatever is left of the container is removed at the end."""
    name = f"adresponse-test-{os.getpid()}-{port}"
    run(["podman", "run", "-d", "--name", name, "-p", f"127.0.0.1:{port}:{inside}", *options, f"localhost/{tag}", *command])
    try:
        yield Container(name, tag, f"http://127.0.0.1:{port}")
    finally:
        run(["podman", "rm", "-f", "-t", "0", name])


def run(command: Sequence[str], timeout: float = 120) -> str:
    """What the command prints; its last words where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=timeout, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise AssertionError(f"{' '.join(command[:3])} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


@cache
def environment() -> dict[str, str]:
    """The environment in which buildah and podman work without a service, or a skipped test."""
    for tool in TOOLS:
        if shutil.which(tool) is None:
            pytest.skip(f"missing part: {tool}, to build and run an image")
    if os.geteuid() != 0:
        pytest.skip("missing part: root, to build and run an image without a container engine")
    hard = subprocess.run(["sh", "-c", "ulimit -Hn"], capture_output=True, text=True, check=True).stdout.strip()
    config = Path(tempfile.mkdtemp(prefix="adresponse-containers-"), "containers.conf")
    config.write_text(CONFIG.format(files=hard if hard.isdigit() else "1048576"), "utf-8")
    return os.environ | {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot", "CONTAINERS_CONF": str(config)}


# --- the base


def _base() -> None:
    """Make the base image, once for this machine."""
    if BASE in run(["buildah", "images", "--format", "{{.Name}}:{{.Tag}}"]).split():
        return
    with tempfile.TemporaryDirectory(prefix="adresponse-base-") as folder:
        root = Path(folder, "root")
        release, mirror = _debian()
        include = f"--include={','.join(LIBRARIES)}"
        run(["debootstrap", "--variant=minbase", include, release, str(root), mirror], timeout=600)
        shutil.rmtree(root / "var/lib/apt/lists")
        _copy_python(root)
        packed = Path(folder, "root.tar")
        with tarfile.open(packed, "w") as tar:
            tar.add(root, ".")
        _commit(packed)


def _commit(packed: Path) -> None:
    container = run(["buildah", "from", "scratch"]).strip()
    run(["buildah", "add", container, str(packed), "/"])
    path = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
    run(["buildah", "config", "--cmd", "python3", "--env", f"PATH={path}", container])
    setup = "ldconfig; python -m ensurepip >/dev/null; ln -sf pip3 /usr/local/bin/pip"
    run(["buildah", "run", container, "--", "sh", "-ec", setup])
    run(["buildah", "commit", "-q", container, BASE])
    run(["buildah", "rm", container])


def _copy_python(root: Path) -> None:
    """The Python that runs these tests, without its packages, under /usr/local."""
    prefix, short = Path(sys.base_prefix), f"python{sys.version_info[0]}.{sys.version_info[1]}"
    left_out = shutil.ignore_patterns("site-packages", "dist-packages", "test", "__pycache__", "*.a")
    target = root / "usr/local"
    shutil.copytree(prefix / "lib" / short, target / "lib" / short, ignore=left_out, symlinks=True)
    for library in (prefix / "lib").glob("libpython*"):
        shutil.copy2(library, target / "lib", follow_symlinks=False)
    shutil.copytree(prefix / "include" / short, target / "include" / short, dirs_exist_ok=True)
    shutil.copy2((prefix / "bin" / short).resolve(), target / "bin" / short)
    for name in ("python3", "python"):
        (target / "bin" / name).symlink_to(short)
    (target / "lib" / short / "site-packages").mkdir()


def _debian() -> tuple[str, str]:
    """The release that runs here and the mirror that this machine's own apt reads, or a skipped test."""
    names = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    text = "\n".join(p.read_text("utf-8") for p in names if p.is_file())
    found = re.search(r"^(?:URIs:|deb(?: \[[^\]]*\])?)\s+(\S+)", text, re.MULTILINE)
    release = re.search(r"^VERSION_CODENAME=(\S+)", Path("/etc/os-release").read_text("utf-8"), re.MULTILINE)
    if found is None or release is None:
        pytest.skip("missing part: a Debian whose apt names a mirror, to make a base image")
    return release[1], found[1]


# --- pip inside a build


def _pip_volumes(folder: Path, more: dict[str, str]) -> list[str]:
    """Options that give a build this machine's pip settings, and the files that they name; nothing of it stays in the image."""
    shown = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True).stdout
    settings = dict(re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", shown, re.MULTILINE))
    settings.pop("constraint", None)  # the context pins by itself
    written = "".join(f"{k} = {v}\n" for k, v in (settings | more).items())
    (folder / "pip.conf").write_text(f"[global]\n{written}", "utf-8")
    words = " ".join(settings.values()).split()
    named = {Path(w) for w in words if w.startswith("/")}
    named |= {Path(w.removeprefix("file://")).parent for w in words if w.startswith("file:///")}  # an index names its siblings
    volumes = {folder / "pip.conf": "/etc/pip.conf"}
    volumes |= {p: str(p) for p in named if p.exists()}
    return [part for there, here in volumes.items() for part in ("-v", f"{there}:{here}:ro")]
