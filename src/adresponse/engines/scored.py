"""What came of scoring a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from adresponse.findings import Finding

__all__ = ["Beyond", "Scored"]


@dataclass(frozen=True)
class Beyond:
    """What a column holds beyond the range fitted: its lowest and highest value, and in how many rows.

    Parameters
    ----------
    lowest, highest : float or str
        Of all answered rows, in the column's unit; of dates the first and the last, as ISO 8601.
    rows : int
        Answered rows with a value below or above the range.
    """

    lowest: float | str
    highest: float | str
    rows: int


@dataclass(frozen=True)
class Scored:
    """A table that was scored.

    Parameters
    ----------
    rows : int
        Rows answered and written.
    skipped : int
        Rows that could not be answered.
    output : str
        Where the answers are, for people; without secrets.
    rejected : Path, optional
        The file with the rows skipped, where there are any.
    beyond : dict of str to Beyond
        The model's columns with values beyond the range fitted; those rows are answered.
    findings : tuple of Finding
        What reading the table had to decide.
    engine : str
        ``duckdb`` where DuckDB answered, ``blocks`` where the table went through block by block.
    """

    rows: int
    skipped: int
    output: str
    rejected: Path | None = None
    beyond: dict[str, Beyond] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    engine: str = "blocks"
