"""Everything that one study found, before it is tracked: the value that the report shows and MLflow stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from adresponse.evaluate import Evaluation
from adresponse.findings import Finding
from adresponse.formula import Formula, Spread
from adresponse.gate import GateDecision
from adresponse.mixing.fit import ChannelAnswer, MixFit, curves_of, drawn_curves
from adresponse.models import LinearFit, covariance_of
from adresponse.planning.planned import Plan
from adresponse.planning.prospect import Prospect, prospect_of, straight
from adresponse.profile import Profile
from adresponse.recommend import Recommendation
from adresponse.table import AdTable
from adresponse.tune import Leaderboard

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Study"]

Vector = NDArray[np.floating[Any]]


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
    spread : Spread
        How far new rows lie from their predictions.
    findings : tuple of Finding
        All findings of all steps, the most serious first.
    settings : dict
        The settings of the run, as plain values.
    mix : MixFit or None
        Responses, contributions and their draws over the rows fitted, where response curves were asked for.
    plan : Plan or None
        Today's budget, split best by these curves.
    """

    name: str
    table: AdTable
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    profile: Profile
    leaderboard: Leaderboard
    estimator: Any
    linear: LinearFit | None
    spread: Spread
    evaluation: Evaluation
    gate: GateDecision
    recommendation: Recommendation
    findings: tuple[Finding, ...]
    settings: dict[str, Any]
    mix: MixFit | None = None
    plan: Plan | None = None

    @property
    def inputs(self) -> pd.DataFrame:
        """All rows with the columns that the estimator reads: a mix of curves reads date and market too."""
        contract = self.table.contract
        more = [name for name in (contract.date, contract.market) if name is not None and self.mix is not None]
        return self.table.frame[[*contract.features, *more]]

    @property
    def contributions(self) -> dict[str, dict[str, float]]:
        """What each channel brought over the rows fitted, with intervals of 90 %, as plain values.

        Of a straight line it is the slope times the spend, with the slope's HC3 error; empty where there is neither line nor
        curves. The names are those of ``ChannelAnswer``.
        """
        if self.mix is not None:
            return self.mix.contributions_by_channel
        if self.linear is None:
            return {}
        X, reach = self.table.X.iloc[self.train], float(t.ppf(0.95, self.linear.df))
        fitted = float(np.sum(self.estimator.predict(X)))
        found = {}
        for slope in self.linear.coefficients:
            if slope.name in self.table.contract.channels:
                spend = float(X[slope.name].sum())
                ends = slope.estimate, slope.estimate - reach * slope.se_hc3, slope.estimate + reach * slope.se_hc3
                figures = [v * spend for v in ends] + [slope.estimate * spend / fitted, *ends, *ends]
                answer = ChannelAnswer(slope.name, spend, *figures)
                found[slope.name] = {name: v for name, v in vars(answer).items() if name != "channel"}
        return found

    @property
    def shape(self) -> dict[str, Any]:
        """Which curve and carry-over it is, and each channel's parameters, as plain values; empty without line and curves."""
        if self.mix is not None:
            return self.mix.shape_found
        if self.linear is None:
            return {}
        slopes = {c.name: c.estimate for c in self.linear.coefficients}
        each = {"half": 1.0, "slope": 1.0, "weights": [1.0]}  # which a straight line does without
        channels = {name: {**each, "coefficient": slopes[name]} for name in self.table.contract.channels}
        return {"shape": "linear", "carry_over": "none", "channels": channels, "compared": [], "not_told": []}

    def predict_interval(self, X: pd.DataFrame, level: float) -> tuple[Vector, Vector, Vector]:
        """Predicted, lower and upper sales for new rows, each of shape (n_rows,), in the target's unit."""
        predicted = np.asarray(self.estimator.predict(X), dtype=float)
        return predicted, *self.spread.interval(predicted, level)

    def prospect(self, formula: Formula | None = None) -> Prospect | None:
        """What a plan needs of the model; of a straight line ``formula`` gives it, and without closed form there is none."""
        if self.mix is not None:
            return prospect_of(self.table.contract, self.table.frame, curves_of(self.mix.model), draws=drawn_curves(self.mix))
        if formula is None or not formula.closed:
            return None
        found = covariance_of(self.estimator, self.table.X.iloc[self.train], self.table.y.iloc[self.train])
        covariance, degrees = found or (None, 0)
        return prospect_of(self.table.contract, self.table.frame, straight(formula), covariance=covariance, degrees=degrees)
