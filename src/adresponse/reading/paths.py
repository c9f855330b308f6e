"""Where does a path that was given lead, and can anything be asked of it?"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from adresponse.errors import AdresponseError, TableError

__all__ = ["path_of", "refuse_unreachable", "shown"]


def path_of(given: str | Path, refusal: type[AdresponseError] = TableError) -> Path:
    """The path with its ``~`` resolved, or a refusal where the system will not even say whether something lies there."""
    path = Path(given)
    with suppress(RuntimeError):  # a ~name that is no user's is a name like any other, as in a shell
        path = path.expanduser()
    refuse_unreachable(path, refusal)
    return path


def refuse_unreachable(path: Path, refusal: type[AdresponseError] = TableError) -> None:
    """Refuse a path with a name that is too long, or through a folder that may not be entered."""
    try:
        path.exists()
    except OSError as error:
        raise refusal(f"{path} cannot be reached ({error.strerror}); check the path.") from error


def shown(path: Path) -> str:
    r"""The path as text that can be stored and printed: a byte that is not UTF-8, as old archives leave them, as ``\xe4``."""
    return os.fsencode(path).decode(errors="backslashreplace")
