"""What can go wrong, and how it is said.

Every refusal is one clear sentence (thing, rule, value, what to do) and derives from one base, which
the command line and any server translate once::

    AdresponseError               the base: one sentence, exit code 2
    ├── ConfigError               a setting or an argument is unknown, contradictory or out of range
    ├── TableError                the table cannot be read, or a column, row or value breaks the contract
    │   └── UnfitTableError       the table was read, but a check says that no fit on it can be right
    ├── ModelError                an estimator cannot be built, fitted or stored
    └── StoreError                the MLflow store cannot be reached, opened or written
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AdresponseError",
    "ConfigError",
    "ModelError",
    "StoreError",
    "TableError",
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


class ModelError(AdresponseError):
    """An estimator cannot be built, fitted or stored."""


class StoreError(AdresponseError):
    """The MLflow store cannot be reached, opened or written."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'TV'?`` for the nearest known name, or an empty string where none is near."""
    folded = {k.casefold(): k for k in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f" Did you mean {folded[near[0]]!r}?" if near else ""
