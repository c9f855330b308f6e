"""Which stored model should answer? What a parent writes into a file, and its workers read; light to import."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

__all__ = ["Pointed"]


@dataclass(frozen=True)
class Pointed:
    """A stored model in a local folder, to be served.

    Parameters
    ----------
    folder : str
        The folder with ``MLmodel``.
    version, name : str
        As ``Served`` has them; without a version, MLflow's id of the model stands for it.
    digest : str, optional
        SHA-256 of its manifest, where the registry knows it.
    number : int
        Counts what was pointed at.
    trouble : str
        Why a newer model is not served.
    """

    folder: str
    version: str = ""
    name: str = ""
    digest: str | None = None
    number: int = 0
    trouble: str = ""

    def write(self, path: Path) -> None:
        """Put the pointer into a file in one step."""
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(asdict(self)), encoding="utf-8")
        beside.replace(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """What ``write`` put there."""
        return cls(**json.loads(path.read_bytes()))
