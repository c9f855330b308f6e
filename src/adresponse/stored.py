"""What lies in a stored model's folder, is it what was sealed, and may it be loaded here?

Beside what MLflow puts there (``MLmodel``, the skops pipeline, requirements), each version holds

- ``formula.json``: the model in numbers (see ``formula.py``)
- ``replay.json``: a few rows and their recorded answers, replayed before a server takes the model
- ``scores.json`` and ``evaluation_rows.parquet``: the rows that ``verify`` sends, what was seen and predicted there
- ``code/``: the files of this package that answer, so that MLflow needs no adresponse to load the model
- ``manifest.json``: the SHA-256 of every other file; its own SHA-256 is a tag of the registered version
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adresponse.errors import ModelError, TamperedModelError
from adresponse.formula import Formula
from adresponse.pyfunc import FORMULA, PIPELINE

__all__ = ["BYTECODE", "FORMULA", "PIPELINE", "ROWS", "Stored", "open_stored", "seal", "ship_code", "without_bytecode"]

REPLAY = "replay.json"
SCORES = "scores.json"
ROWS = "evaluation_rows.parquet"
MANIFEST = "manifest.json"
CODE = "code"
BYTECODE = "__pycache__"
SHIPPED = ("errors", "schema", "rows", "formula", "pyfunc", "curves", "periods", "baseline", "curved")
REGISTERED = "registered_model_meta"  # what MLflow adds when it downloads a version
PICKLES = {".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill"}
PICKLE_START = re.compile(rb"\x80[\x02-\x05]")  # the opcode PROTO of a binary pickle


@dataclass(frozen=True)
class Stored:
    """A stored model that is what was sealed.

    Parameters
    ----------
    folder : Path
        Where its files are.
    formula : Formula
        The model in numbers.
    replay : dict
        ``request`` (as ``/invocations`` takes it) and ``predictions`` (as it answered).
    scores : dict
        ``basis``, ``rows``, ``interval`` and ``scores`` (name to value) of the evaluation rows.
    digest : str
        SHA-256 of the manifest.
    """

    folder: Path
    formula: Formula
    replay: dict[str, Any]
    scores: dict[str, Any]
    digest: str

    @property
    def model_id(self) -> str:
        """MLflow's id of the logged model."""
        return self.formula.about.get("model_id", "")

    @property
    def version(self) -> str:
        """The registered version that a download says it is, else MLflow's id; a label, which no manifest covers."""
        try:
            said = (self.folder / REGISTERED).read_text("utf-8")
        except OSError:
            return self.model_id
        found = re.search(r"^model_version: '?(\d+)'?$", said, re.MULTILINE)
        return found[1] if found else self.model_id


def ship_code(folder: Path) -> str:
    """Put the files that answer into ``folder/code``; gives the dotted name of the module that MLflow loads.

    The package is named after its content, so that two versions made by different code never meet in one process.
    """
    here = Path(__file__).parent
    texts = {name: (here / f"{name}.py").read_bytes() for name in SHIPPED}
    package = "adresponse_" + hashlib.sha256(b"\0".join(texts.values())).hexdigest()[:12]
    target = folder / CODE / package
    target.mkdir(parents=True)
    (target / "__init__.py").write_text('"""The files of adresponse that answer for this model."""\n', encoding="utf-8")
    for name, text in texts.items():
        (target / f"{name}.py").write_bytes(text)
    return f"{package}.pyfunc"


def seal(folder: Path) -> str:
    """Write the manifest over all files in the folder; gives the manifest's own SHA-256."""
    digests = {name: _digest(folder / name) for name in sorted(_files(folder)) if name != MANIFEST}
    text = json.dumps({"schema": "adresponse/manifest", "schema_version": 1, "sha256": digests}, indent=1) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def open_stored(folder: Path, digest: str | None = None, called: str = "") -> Stored:
    """The stored model in a folder, or a refusal with the reason.

    Parameters
    ----------
    folder : Path
        The folder with ``MLmodel``.
    digest : str, optional
        SHA-256 of the manifest, as the registered version's tag says.
    called : str, optional
        What the user calls it, where the folder is a copy.

    Raises
    ------
    TamperedModelError
        If a file is missing, added or changed, or one is a pickle.
    ModelError
        If the folder holds no model of adresponse, or one that needs another environment.
    """
    _refuse_pickles(folder, called or folder.name)
    found = _refuse_changes(folder, digest, called or str(folder))
    formula = Formula.from_json((folder / FORMULA).read_bytes())
    if not formula.closed:
        _refuse_other_environment(folder)
    return Stored(folder, formula, _json(folder, REPLAY), _json(folder, SCORES), found)


def without_bytecode(folder: Path, target: Path) -> Path:
    """A copy of a stored model without ``__pycache__``, in which Python looks for what it runs in the place of a sealed source.

    A folder that MLflow loads gets one, so the manifest says nothing of it.
    """
    return Path(shutil.copytree(folder, target, ignore=shutil.ignore_patterns(BYTECODE)))


def _json(folder: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((folder / name).read_bytes()))


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and BYTECODE not in path.parts:
            yield path.relative_to(folder).as_posix()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_pickles(folder: Path, called: str) -> None:
    for name in _files(folder):
        path = folder / name
        with path.open("rb") as file:
            start = file.read(2)
        if path.suffix in PICKLES or PICKLE_START.match(start):
            raise TamperedModelError(
                f"{name} in the model {called!r} is a pickle, which runs code when it is loaded; the model is not loaded."
            )


def _refuse_changes(folder: Path, expected: str | None, called: str) -> str:
    try:
        text = (folder / MANIFEST).read_bytes()
    except OSError:
        raise ModelError(
            f"{called!r} holds no model of adresponse: there is no {MANIFEST}; give a version that `adresponse run` made."
        ) from None
    found = hashlib.sha256(text).hexdigest()
    if expected is not None and found != expected:
        raise TamperedModelError(
            f"The model's {MANIFEST} is not the one that was registered (SHA-256 {found[:12]}..., registered "
            f"{expected[:12]}...); it was changed, and is not loaded."
        )
    try:
        sealed: Mapping[str, str] = json.loads(text)["sha256"]
        present = set(_files(folder)) - {MANIFEST} - {REGISTERED}
        changed = [n for n in sealed if n in present and _digest(folder / n) != sealed[n]]
    except (ValueError, KeyError, TypeError):
        raise TamperedModelError(f"The model's {MANIFEST} cannot be read; it was changed, and is not loaded.") from None
    for names, what in ((changed, "was changed"), (set(sealed) - present, "is missing"), (present - set(sealed), "was added")):
        if names:
            raise TamperedModelError(f"{min(names)} {what} after the model was sealed ({MANIFEST}); the model is not loaded.")
    return found


def _refuse_other_environment(folder: Path) -> None:
    """A pipeline is loaded only beside the libraries (major and minor version) that it was stored with."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    for line in (folder / "requirements.txt").read_text("utf-8").splitlines():
        name, _, needed = line.partition("==")
        if not needed or name == "mlflow":
            continue
        try:
            there = installed(name)
        except PackageNotFoundError:
            there = ""
        if there.split(".")[:2] != needed.split(".")[:2]:
            raise ModelError(
                f"The model has no closed formula and needs {name} {needed}, and {there or 'none'} is installed here; "
                f"install {name}=={needed}, or serve it with MLflow in an environment of its own."
            )
