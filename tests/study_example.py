"""A small complete study from quick numpy numbers, so that the report's tests need no other step."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from adresponse.evaluate import Coverage, Diagnostic, Evaluation, PredictedRow, Score
from adresponse.findings import Finding
from adresponse.formula import Spread
from adresponse.gate import GateDecision, GateRule
from adresponse.intervals import spread_of
from adresponse.models import Coefficient, LinearFit
from adresponse.profile import Answer, Correlation, Histogram, Numbers, OddRow, Profile
from adresponse.recommend import Recommendation
from adresponse.schema import Contract
from adresponse.study import Study
from adresponse.table import AdTable
from adresponse.tune import GridPoint, Leaderboard, LeaderboardRow

ODD_NAMES = {"TV": "Spend, TV <b>", "Radio": 'Radio & $x$ $y$ "id="', "Newspaper": "</title><script>alert(1)</script>"}
"""What a spreadsheet may call its columns: commas, markup, mathtext, quotes."""


def _data(name: str) -> pd.DataFrame:
    return pd.read_csv(str(files("adresponse") / "data" / name)).astype(float)


def _table(frame: pd.DataFrame, contract: Contract, source: str) -> AdTable:
    return AdTable(frame, contract, source, "5c1e" * 16, len(frame))


def tv_table() -> AdTable:
    """The built-in example: 200 markets, TV spend and sales."""
    known = {
        "TV": {"means": "TV marketing budget", "unit": "thousand dollars"},
        "Sales": {"means": "Sales", "unit": "thousand units"},
    }
    origin = "The advertising data of An Introduction to Statistical Learning, 200 markets, with the TV column alone."
    contract = Contract.build(target="Sales", channels=["TV"], dictionary=known, origin=origin)
    return _table(_data("tvmarketing.csv"), contract, "tvmarketing.csv")


def odd_table(rows: int = 200) -> AdTable:
    """Three channels with hostile names and a date; ``rows`` > 200 repeats the table with a little noise."""
    frame = _data("advertising.csv")
    frame = pd.concat([frame] * -(-rows // len(frame)), ignore_index=True).iloc[:rows]
    frame = frame * np.random.default_rng(1).uniform(0.98, 1.0, frame.shape) if rows > 200 else frame
    frame = frame.rename(columns=ODD_NAMES)
    frame["Week"] = pd.date_range("2020-01-06", periods=rows, freq="h" if rows > 5000 else "W-MON")
    known = {name: {"means": f"{plain} marketing budget", "unit": "$ & €"} for plain, name in ODD_NAMES.items()}
    contract = Contract.build(target="Sales", channels=ODD_NAMES.values(), date="Week", dictionary=known)
    return _table(frame, contract, "weeks & <markets>.csv")


def _numbers(name: str, values: np.ndarray[Any, np.dtype[np.float64]]) -> Numbers:
    counts, edges = np.histogram(values, bins=12)
    k = int(np.argmax(counts))
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75])
    return Numbers(
        name, len(values), values.mean(), values.std(ddof=1), values.min(), q1, median, q3, values.max(), values.sum(),
        Histogram(tuple(edges), tuple(int(c) for c in counts)), (edges[k], edges[k + 1]), counts[k] / len(values),
        float(np.mean(edges[k : k + 2])),
        f"{name} lies between {values.min():g} and {values.max():g}, {values.mean():.2f} in the mean.",
    )  # fmt: skip


def _correlation(a: str, b: str, frame: pd.DataFrame) -> Correlation:
    r, rho = frame[a].corr(frame[b]), frame[a].rank().corr(frame[b].rank())
    half = 1.96 / np.sqrt(len(frame) - 3)
    lows, highs = np.tanh(np.arctanh([r, rho]) - half), np.tanh(np.arctanh([r, rho]) + half)
    return Correlation(
        a, b, r, lows[0], highs[0], 1e-9 if abs(r) > 0.2 else 0.2, rho, lows[1], highs[1], 1e-9, f"{a} and {b} move "
        f"{'closely ' if r > 0.7 else ''}together (r = {r:.2f}).",
    )  # fmt: skip


def _profile(table: AdTable) -> Profile:
    numeric = [*table.contract.features, table.contract.target]
    spend = table.contract.channels[0]
    odd = table.frame.nlargest(3, spend)
    return Profile(
        len(table.frame),
        tuple(_numbers(n, table.frame[n].to_numpy()) for n in numeric),
        tuple(_correlation(a, b, table.frame) for a, b in combinations(numeric, 2)),
        tuple(OddRow(int(i) + 1, {n: float(odd.loc[i, n]) for n in numeric}, 21.0) for i in odd.index),
        (
            Answer("How much is spent?", f"{table.frame[spend].mean():.2f} in the mean on {spend}."),
            Answer("What is sold?", f"{table.y.mean():.2f} in the mean."),
            Answer("Do spend and sales move together?", "Yes, and closely."),
            Answer("What would a budget bring?", "Each further unit brings about 0.05 more."),
        ),
    )


def _linear(table: AdTable, train: np.ndarray[Any, np.dtype[np.int64]]) -> LinearFit:
    """The least-squares fit in figures, with Student's t taken as 1.97."""
    X = np.column_stack([np.ones(len(train)), table.X.to_numpy()[train]])
    y = table.y.to_numpy()[train]
    inverse = np.linalg.inv(X.T @ X)
    beta = inverse @ X.T @ y
    residual = y - X @ beta
    df = len(y) - X.shape[1]
    rse = float(np.sqrt(residual @ residual / df))
    leverage = np.einsum("ij,jk,ik->i", X, inverse, X)
    se = rse * np.sqrt(np.diag(inverse))
    hc3 = np.sqrt(np.diag(inverse @ (X * (residual / (1 - leverage))[:, None] ** 2).T @ X @ inverse))
    names = ["intercept", *table.contract.features]
    coefficients = tuple(
        Coefficient(n, b, s, b / s, 1e-12 if abs(b / s) > 4 else 0.27, b - 1.97 * s, b + 1.97 * s,
                    h, b / h, 1e-12 if abs(b / h) > 4 else 0.31, b - 1.97 * h, b + 1.97 * h)
        for n, b, s, h in zip(names, beta, se, hc3, strict=True)
    )  # fmt: skip
    r2 = 1 - residual @ residual / ((y - y.mean()) ** 2).sum()
    terms = " ".join(f"+ {b:.5g} × {n}" for n, b in zip(names[1:], beta[1:], strict=True))
    return LinearFit(
        coefficients, len(y), df, r2, 1 - (1 - r2) * (len(y) - 1) / df, rse,
        f"{table.contract.target} = {beta[0]:.5g} {terms}", f"The line explains {r2:.0%} of the differences in sales.",
    )  # fmt: skip


def _scores(observed: Any, predicted: Any, unit: str) -> tuple[Score, ...]:
    error = observed - predicted
    r2 = 1 - (error @ error) / ((observed - observed.mean()) ** 2).sum()
    mae, rmse, mape = np.abs(error).mean(), np.sqrt((error**2).mean()), np.abs(error / observed).mean()
    return (
        Score("mae", "Mean absolute error", mae, 0.8 * mae, 1.2 * mae, unit, f"A prediction misses by {mae:.2f}."),
        Score("rmse", "Root mean squared error", rmse, 0.8 * rmse, 1.2 * rmse, unit, "Large misses weigh more here."),
        Score("mape", "Mean absolute percentage error", mape, 0.7 * mape, 1.4 * mape, "", f"It misses by {mape:.0%}."),
        Score("r2", "R²", r2, r2 - 0.15, r2 + 0.1, "", f"The model explains {r2:.0%} of the differences."),
        Score("bias", "Mean error", error.mean(), error.mean() - 0.9, error.mean() + 0.9, unit, "It leans to no side."),
    )


def _evaluation(table: AdTable, test: Any, estimator: Any, spread: Spread) -> Evaluation:
    observed = table.y.to_numpy()[test]
    middle = estimator.predict(table.X.iloc[test])
    low, high = spread.interval(middle, 0.9)
    unit = table.contract[table.contract.target].unit
    rows = zip(test, observed, middle, low, high, strict=True)
    scores = _scores(observed, middle, unit)
    return Evaluation(
        "held-out", f"{len(test)} of {len(table.frame)} rows were held out before fitting; the scores are theirs.",
        len(test), scores, scores, 5.6,
        tuple(Coverage(v, float(np.mean((low <= observed) & (observed <= high))), len(test), float(np.mean(high - low)))
              for v in (0.5, 0.8, 0.9, 0.95)),
        (
            Diagnostic("scale_location", "Spread of the residuals", 48.0, 1e-12, "The error grows with sales."),
            Diagnostic("qq", "Normality of the residuals", 0.99, 0.21, "Nothing speaks against normal errors."),
            Diagnostic("influence", "Influence of single rows", 0.06, None, "No row pulls the line by itself."),
        ),
        tuple(PredictedRow(int(i) + 1, float(o), float(m), float(a), float(b)) for i, o, m, a, b in rows),
        (),
    )  # fmt: skip


def _leaderboard() -> Leaderboard:
    def row(name: str, title: str, rmse: float, gap: float, verdict: str, chosen: bool = False) -> LeaderboardRow:
        half = 0.12 if gap else 0.0
        return LeaderboardRow(
            name, title, {"regressor": name}, 2.55, rmse, 0.6, (rmse - 0.2, rmse, rmse + 0.2), gap, gap - half,
            gap + half, verdict, chosen,
        )  # fmt: skip

    rows = (
        row("log", "Line on the logarithm of spend", 3.21, -0.06, "no clear difference"),
        row("linear", "Straight line, least squares", 3.27, 0.0, "the default", chosen=True),
        row("ridge", "Straight line, ridge (shrunken)", 3.27, 0.001, "no difference"),
        row("forest", "Random forest", 3.71, 0.44, "worse"),
    )
    grid = tuple(
        GridPoint({"linearregression__fit_intercept": str(i), "linearregression__positive": str(p)}, 3.27, 0.31, 1)
        for i in (True, False)
        for p in (True, False)
    )
    return Leaderboard(
        rows, grid, 5, 10, "linear", "No candidate beats the straight line by more than chance.",
        "The settings change nothing: least squares has one solution.",
    )  # fmt: skip


def build(table: AdTable) -> Study:
    """A complete study of the table."""
    train, test = train_test_split(np.arange(len(table.frame)), test_size=0.2, random_state=42)
    linear = _linear(table, train)
    estimator = make_pipeline(MinMaxScaler(), LinearRegression()).fit(table.X.iloc[train], table.y.iloc[train])
    spread = spread_of(estimator.predict(table.X.iloc[train]), table.y.to_numpy()[train])
    slope = linear.coefficients[1]
    return Study(
        "sales-response", table, train, test, _profile(table), _leaderboard(), estimator, linear,
        spread, _evaluation(table, test, estimator, spread),
        GateDecision(
            "VALIDATED",
            (
                GateRule("RMSE below the baseline's", "3.19 against 5.65", True),
                GateRule("No finding that stops", "none", True),
            ),
            "Every rule passed.",
        ),
        Recommendation(
            f"One more unit of {slope.name} brings about {slope.estimate:.3f} more sales.",
            ("A straight line has no best budget; it says what one more unit brings.", "Ask the data beyond 296.4."),
            ("Markets were observed, not assigned: other causes may act.", "The line ends where the data ends."),
        ),
        (
            Finding("D004", "review", "The error grows with the prediction.", "Use the HC3 intervals."),
            Finding("D001", "note", "No value is missing.", "Nothing to do."),
        ),
        {"test_size": 0.2, "seed": 42, "folds": 5},
    )  # fmt: skip


def one_channel() -> Study:
    """The study of the built-in example."""
    return build(tv_table())


def three_channels(rows: int = 200) -> Study:
    """The study of three hostilely named channels with a date."""
    return build(odd_table(rows))


def without_line(study: Study) -> Study:
    """The same study with a model that has no coefficients."""
    return replace(study, linear=None)


def without_test(study: Study) -> Study:
    """The same study with all rows fitted and scores by cross-validation."""
    everything = np.arange(len(study.table.frame))
    evaluation = replace(study.evaluation, basis="cross-validation", basis_sentence="No row was held out.")
    return replace(study, train=everything, test=everything[:0], evaluation=evaluation)


def without_mape(study: Study) -> Study:
    """The same study where a percentage error cannot be given."""
    scores = tuple(
        replace(s, value=None, low=None, high=None, reason="Sales of 0 have no percentage error.") if s.name == "mape" else s
        for s in study.evaluation.scores
    )
    return replace(study, evaluation=replace(study.evaluation, scores=scores))
