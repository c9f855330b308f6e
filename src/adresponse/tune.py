"""Which settings and which model predict best, and is the difference more than chance?"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Candidate", "Leaderboard", "LeaderboardRow"]


@dataclass(frozen=True)
class LeaderboardRow:
    """One candidate over the folds: mean scores, and its paired difference in RMSE to the default with an interval.

    ``difference`` is the candidate's RMSE minus the default's (negative: better), with a 95 % interval by the corrected
    resampled t-test (Nadeau and Bengio 2003). ``verdict`` says it in words.
    """

    name: str
    title: str
    params: dict[str, str]
    mae: float
    rmse: float
    r2: float
    fold_rmse: tuple[float, ...]
    difference: float
    low: float
    high: float
    verdict: str
    chosen: bool


@dataclass(frozen=True)
class GridPoint:
    """One setting tried by the grid search: its parameters, mean RMSE over the folds, its spread, and the rank."""

    params: dict[str, str]
    rmse: float
    std: float
    rank: int


@dataclass(frozen=True)
class Leaderboard:
    """All candidates (best first), the grid that was searched, and what follows in words."""

    rows: tuple[LeaderboardRow, ...]
    grid: tuple[GridPoint, ...]
    folds: int
    repeats: int
    chosen: str
    sentence: str
    tuning_sentence: str
