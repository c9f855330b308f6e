"""What a check, an exploration or an evaluation has to say, and how serious it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "Severity"]

Severity = Literal["stop", "review", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing found: what it is, how serious, and what to do about it.

    Parameters
    ----------
    code : str
        Stable code, documented under ``docs/reference/findings.md``.
    severity : {"stop", "review", "note"}
        ``stop``: a fit would be wrong. ``review``: read the result with it in mind. ``note``: said for the record.
    message : str
        What was found, with its figures, as a sentence.
    advice : str
        What to do, as a sentence.
    """

    code: str
    severity: Severity
    message: str
    advice: str
