"""The models that are fitted, as scikit-learn pipelines, and their coefficients in the table's own units."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Coefficient", "LinearFit"]


@dataclass(frozen=True)
class Coefficient:
    """One coefficient in the table's units, with classical and HC3 uncertainty (95 % intervals)."""

    name: str
    estimate: float
    se: float
    t: float
    p: float
    low: float
    high: float
    se_hc3: float
    t_hc3: float
    p_hc3: float
    low_hc3: float
    high_hc3: float


@dataclass(frozen=True)
class LinearFit:
    """A least-squares fit in figures over the rows it was fitted on: ``coefficients`` has the intercept first.

    ``rse`` is the residual standard error (divided by ``df`` = rows - coefficients), in the target's unit.
    """

    coefficients: tuple[Coefficient, ...]
    rows: int
    df: int
    r2: float
    adjusted_r2: float
    rse: float
    formula: str
    sentence: str
