"""What the table says before any model: numbers, distributions, correlations, rows that stand out, answers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Answer", "Correlation", "Histogram", "Numbers", "OddRow", "Profile"]


@dataclass(frozen=True)
class Histogram:
    """Counts per bin; ``edges`` has one more entry than ``counts`` and falls on round numbers."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Numbers:
    """One numeric column in figures, in its own unit; ``std`` divides by n - 1.

    ``densest`` is the histogram bin that holds the most rows, ``densest_share`` the share of the rows in it, and
    ``mode`` the peak of a Gaussian kernel density estimate.
    """

    name: str
    count: int
    mean: float
    std: float
    lowest: float
    q1: float
    median: float
    q3: float
    highest: float
    total: float
    histogram: Histogram
    densest: tuple[float, float]
    densest_share: float
    mode: float
    sentence: str


@dataclass(frozen=True)
class Correlation:
    """How two columns move together: Pearson's r and Spearman's rho, each with a 95 % interval and a p value."""

    a: str
    b: str
    pearson: float
    pearson_low: float
    pearson_high: float
    pearson_p: float
    spearman: float
    spearman_low: float
    spearman_high: float
    spearman_p: float
    sentence: str


@dataclass(frozen=True)
class OddRow:
    """A row where much was spent and little sold: data row number (from 1), its values, sales the line expects."""

    row: int
    values: dict[str, float]
    expected: float


@dataclass(frozen=True)
class Answer:
    """A business question and its answer, made from the figures."""

    question: str
    sentence: str


@dataclass(frozen=True)
class Profile:
    """The table in figures; rests in ``profile.json`` of the run and is the reference for watching."""

    rows: int
    numbers: tuple[Numbers, ...]
    correlations: tuple[Correlation, ...]
    much_spent_little_sold: tuple[OddRow, ...]
    answers: tuple[Answer, ...]
