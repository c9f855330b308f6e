"""What can go wrong, and how it is said.

Every refusal is one clear sentence (thing, rule, value, what to do) and derives from one base, which
the command line and any server translate once::

    AdresponseError               the base: one sentence, exit code 2
    ├── ConfigError               a setting or an argument is unknown, contradictory or out of range
    ├── TableError                the table cannot be read, or a column, row or value breaks the contract
    │   └── UnfitTableError       the table was read, but a check says that no fit on it can be right
    ├── RowsError                 rows handed to a model break its contract
    ├── ModelError                a model cannot be built, fitted, stored or loaded
    │   └── TamperedModelError    a stored model is not what was sealed, or may not be loaded
    ├── StoreError                the MLflow store cannot be reached, opened or written
    │   ├── BusyError             others hold the lock of a model longer than one would wait   (in mutex.py)
    │   ├── LeaseLostError        the lock went to somebody else meanwhile                     (in mutex.py)
    │   └── MovedError            champion is another version than was expected                (in promotion.py)
    └── DeploymentError           a deployment cannot be made, reached or asked
        ├── MissingDeploymentError  there is no such deployment (any more)
        └── DifferenceError       a deployment answers otherwise than was evaluated; exit code 1

This file goes with every stored model (see ``stored.py``), so it imports nothing of the package.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

__all__ = [
    "AdresponseError",
    "ConfigError",
    "DeploymentError",
    "DifferenceError",
    "MissingDeploymentError",
    "ModelError",
    "RowsError",
    "StoreError",
    "TableError",
    "TamperedModelError",
    "UnfitTableError",
    "did_you_mean",
]


class AdresponseError(Exception):
    """Base of all refusals; ``str(error)`` is the sentence for the user."""

    exit_code = 2


class ConfigError(AdresponseError):
    """A setting or an argument is unknown, contradictory or out of range."""


class TableError(AdresponseError):
    """The table cannot be read, or a column, row or value breaks the contract."""


class UnfitTableError(TableError):
    """The table was read, but a check found what makes every fit on it wrong."""


class RowsError(AdresponseError):
    """Rows handed to a model break its contract: a column, a row or a value."""


class ModelError(AdresponseError):
    """A model cannot be built, fitted, stored or loaded."""


class TamperedModelError(ModelError):
    """A stored model is not what was sealed, or holds what may not be loaded."""


class StoreError(AdresponseError):
    """The MLflow store cannot be reached, opened or written."""


class DeploymentError(AdresponseError):
    """A deployment cannot be made, reached or asked."""


class MissingDeploymentError(DeploymentError):
    """There is no such deployment (any more)."""


class DifferenceError(DeploymentError):
    """A deployment answers otherwise than was evaluated."""

    exit_code = 1


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'TV'?`` for the nearest known name, or an empty string where none is near."""
    folded = {_composed(k).casefold(): k for k in known}
    near = difflib.get_close_matches(_composed(name).casefold(), folded, n=1, cutoff=0.6)
    if not near:
        return ""
    known_as = folded[near[0]]
    alike = ", which looks the same and is written with other characters (Unicode NFC or NFD); copy it from the table"
    return f" Did you mean {known_as!r}{alike if _composed(name) == _composed(known_as) else ''}?"


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
