"""May this version be trusted? Rules over the evaluation, decided with reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["GateDecision", "GateRule"]


@dataclass(frozen=True)
class GateRule:
    """One rule, what was found, and whether it passed."""

    rule: str
    found: str
    passed: bool


@dataclass(frozen=True)
class GateDecision:
    """VALIDATED when every rule passed, else REJECTED; ``rules`` give the reasons."""

    status: Literal["VALIDATED", "REJECTED"]
    rules: tuple[GateRule, ...]
    sentence: str
