"""Read a table of spend and sales from where it lies, or refuse it by column, row and value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adresponse.findings import Finding
from adresponse.schema import Contract

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AdTable"]


@dataclass(frozen=True)
class AdTable:
    """A table that keeps its contract: finite float64 numbers, no missing value, no negative spend.

    Parameters
    ----------
    frame : pandas.DataFrame
        The contract's columns in its order, index 0..n-1; numbers float64, date datetime64, market str. Where there is
        a date the rows are in its order.
    contract : Contract
        The columns, their roles, meanings and units.
    source : str
        Where the table was read from, for people (a path or URL without secrets).
    digest : str
        SHA-256, in hex, over the names and the values of all rows (dates and markets too), so that the same content
        gives the same digest from every format.
    rows_read : int
        Rows in the source, before any was dropped or sampled.
    findings : tuple of Finding
        What reading had to decide or to say (roles inferred, number format, rows dropped, sample taken).
    """

    frame: pd.DataFrame
    contract: Contract
    source: str
    digest: str
    rows_read: int
    findings: tuple[Finding, ...] = ()

    @property
    def X(self) -> pd.DataFrame:  # noqa: N802
        """Channels and controls, float64, shape (n_rows, n_features)."""
        return self.frame[list(self.contract.features)]

    @property
    def y(self) -> pd.Series[float]:
        """The target, float64, shape (n_rows,)."""
        return self.frame[self.contract.target]
