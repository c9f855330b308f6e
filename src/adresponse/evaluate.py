"""How good is the model on rows that it has not seen, and how sure is that?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adresponse.findings import Finding

__all__ = ["Coverage", "Diagnostic", "Evaluation", "PredictedRow", "Score"]


@dataclass(frozen=True)
class Score:
    """One score with a 95 % bootstrap interval; ``value`` is None where it cannot be given, and ``reason`` says why."""

    name: str
    title: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    sentence: str
    reason: str = ""


@dataclass(frozen=True)
class Coverage:
    """Share of unseen rows inside the prediction interval of a level, and the interval's mean width."""

    level: float
    measured: float
    rows: int
    width: float


@dataclass(frozen=True)
class Diagnostic:
    """One look at the residuals: what was computed, and what it means in a sentence."""

    name: str
    title: str
    statistic: float
    p: float | None
    sentence: str


@dataclass(frozen=True)
class PredictedRow:
    """A row that the model had not seen: data row number (from 1), sales seen, predicted, 90 % interval."""

    row: int
    observed: float
    predicted: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """What the gate reads and the report shows; rests in ``evaluation.json``.

    ``basis`` says whether ``scores`` come from held-out rows or, where none were held out, from cross-validation.
    ``repeated`` holds the same scores by repeated cross-validation. ``predicted`` are the unseen rows.
    """

    basis: Literal["held-out", "cross-validation"]
    basis_sentence: str
    rows: int
    scores: tuple[Score, ...]
    repeated: tuple[Score, ...]
    baseline_rmse: float
    coverage: tuple[Coverage, ...]
    diagnostics: tuple[Diagnostic, ...]
    predicted: tuple[PredictedRow, ...]
    findings: tuple[Finding, ...]

    def score(self, name: str) -> float | None:
        """The value of a score by name (``mae``, ``rmse``, ``mape``, ``wape``, ``r2``, ``adjusted_r2``, ``bias``)."""
        return next(s.value for s in self.scores if s.name == name)
