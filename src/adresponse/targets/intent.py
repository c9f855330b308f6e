"""What would a deployment do? The steps, told before any is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["HIDDEN", "Intent", "Step", "hide"]

HIDDEN = "(set, not shown)"


@dataclass(frozen=True)
class Step:
    """One thing that would be done.

    Parameters
    ----------
    call : str
        What is called, by the name that its owner gives it: ``CreateEndpoint``, ``models.create_or_update``.
    does : str
        What it does, for people.
    sends : dict
        What is sent with it, as plain values; what may be a secret is hidden.
    """

    call: str
    does: str
    sends: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Intent:
    """What would be done at a target, in order; nothing was sent."""

    target: str
    sentence: str
    steps: tuple[Step, ...]


def hide(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same names without their values, which may be secrets."""
    return dict.fromkeys(sorted(values), HIDDEN)
