"""Everything that one study found, before it is tracked: the value that the report shows and MLflow stores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adresponse.evaluate import Evaluation
from adresponse.explore import Profile
from adresponse.findings import Finding
from adresponse.gate import GateDecision
from adresponse.models import LinearFit
from adresponse.table import AdTable
from adresponse.tune import Leaderboard

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["Recommendation", "Study"]


@dataclass(frozen=True)
class Recommendation:
    """What the figures advise, channel by channel and in all, without inventing an optimum on a straight line."""

    headline: str
    sentences: tuple[str, ...]
    limits: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """One table's way from reading to recommendation.

    Parameters
    ----------
    name : str
        Name of the registered model, e.g. ``sales-response``.
    table : AdTable
        The rows and the contract.
    train, test : ndarray of int
        Positions of the rows fitted on and of those held out (empty where all rows were fitted).
    profile, leaderboard, evaluation, gate
        What each step found.
    estimator : object
        The fitted scikit-learn pipeline of the chosen candidate.
    linear : LinearFit or None
        Its coefficients over the rows fitted, where it is linear.
    predict_interval : callable
        ``predict_interval(X, level) -> (predicted, low, high)``, arrays of shape (n_rows,), in the target's unit.
    findings : tuple of Finding
        All findings of all steps, the most serious first.
    settings : dict
        The settings of the run, as plain values.
    """

    name: str
    table: AdTable
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    profile: Profile
    leaderboard: Leaderboard
    estimator: Any
    linear: LinearFit | None
    evaluation: Evaluation
    gate: GateDecision
    recommendation: Recommendation
    predict_interval: Callable[[pd.DataFrame, float], tuple[Any, Any, Any]]
    findings: tuple[Finding, ...]
    settings: dict[str, Any]
