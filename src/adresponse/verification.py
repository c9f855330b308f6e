"""Does a deployment answer what was evaluated? The evaluation rows, what they should give, and what they gave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adresponse import words
from adresponse.errors import ModelError
from adresponse.evaluate import Evaluation, mae, mape, r2, rmse
from adresponse.formula import Formula
from adresponse.pyfunc import ResponseModel
from adresponse.rows import check
from adresponse.stored import REPLAY, ROWS, SCORES
from adresponse.table import AdTable

__all__ = [
    "Answered",
    "Check",
    "EvaluationRows",
    "Vector",
    "Verification",
    "compare",
    "complete",
    "evaluation_rows",
    "refuse_disagreement",
    "unlike",
    "write_replay",
]

Vector = NDArray[np.floating[Any]]
LEVEL = 0.9
TOLERANCE = 1e-9  # relative: JSON keeps every digit, so only the order of a sum may differ, by some units of 2e-16
AGREEMENT = 1e-12  # relative, of formula and pipeline: the same products and sums, ordered differently
OF_LARGEST = 1e-12  # share of the largest prediction below which a difference is rounding of terms that cancel
METRICS = {"mae": mae, "rmse": rmse, "mape": mape, "r2": r2}
MLFLOW_NAMES = {
    "mae": "mean_absolute_error",
    "rmse": "root_mean_squared_error",
    "mape": "mean_absolute_percentage_error",
    "r2": "r2_score",
}


@dataclass(frozen=True)
class EvaluationRows:
    """The rows that a deployment is asked, with what was seen and what the evaluated pipeline predicted.

    Parameters
    ----------
    X : DataFrame of shape (n_rows, n_inputs)
        The columns that the model reads, in the table's units; with date and market where it reads them.
    observed, predicted : ndarray of shape (n_rows,)
        Sales seen and predicted, in the target's unit.
    lower, upper : ndarray of shape (n_rows,), or None
        Ends of the interval of ``level``; None where the rows fitted are too few for it.
    level : float
        Level of the interval.
    basis : str
        ``held-out``, or ``fitted`` where no rows were held out; scores of fitted rows say nothing about new ones.
    scores : dict of str to float
        The scores of the evaluation over these rows; what cannot be given is left out.
    together : bool
        Whether they have to be asked in one request, since the spend of one row works in later ones.
    """

    X: pd.DataFrame
    observed: Vector
    predicted: Vector
    lower: Vector | None
    upper: Vector | None
    level: float
    basis: str
    scores: dict[str, float]
    together: bool = False

    def columns(self) -> dict[str, list[Any]]:
        """The rows as a request holds them, by column: numbers, markets as text, dates as ISO 8601."""
        return {str(name): as_asked(column) for name, column in self.X.items()}

    def write(self, folder: Path) -> None:
        """Put the rows and their scores into a stored model's folder."""
        columns = {"observed": self.observed, "predicted": self.predicted, "lower": self.lower, "upper": self.upper}
        named = {f"x_{i}": self.X.iloc[:, i].to_numpy() for i in range(self.X.shape[1])}
        named |= {k: v for k, v in columns.items() if v is not None}
        pd.DataFrame(named).to_parquet(folder / ROWS, index=False)
        about = {
            "basis": self.basis,
            "rows": len(self.X),
            "interval": None if self.lower is None else self.level,
            "columns": list(self.X.columns),
            **({"together": True} if self.together else {}),
            "scores": self.scores,
        }
        (folder / SCORES).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What ``write`` put there."""
        about = json.loads((folder / SCORES).read_text("utf-8"))
        frame = pd.read_parquet(folder / ROWS)
        X = frame[[f"x_{i}" for i in range(len(about["columns"]))]].set_axis(about["columns"], axis=1)
        lower, upper = (frame[n].to_numpy() if n in frame else None for n in ("lower", "upper"))
        observed, predicted = frame["observed"].to_numpy(), frame["predicted"].to_numpy()
        level, together = about["interval"] or LEVEL, bool(about.get("together"))
        return cls(X, observed, predicted, lower, upper, level, about["basis"], about["scores"], together)


def as_asked(column: pd.Series[Any]) -> list[Any]:
    """A column's values as JSON holds them."""
    if column.dtype.kind != "M":
        return list(column.tolist())
    seconds = column.to_numpy().astype("datetime64[s]")
    days = seconds.astype("datetime64[D]")
    return [str(v) for v in (days if (days == seconds).all() else seconds)]


@dataclass(frozen=True)
class Answered:
    """What a deployment answered: predictions, ends of the interval where it can be asked, the version where it says it."""

    prediction: Vector
    lower: Vector | None = None
    upper: Vector | None = None
    version: str = ""


@dataclass(frozen=True)
class Check:
    """One thing that was compared: what, what was expected, what was found, and whether they agree.

    ``compared`` is False where the deployment does not say it; ``passed`` then says only that nothing differs.
    """

    name: str
    expected: str
    found: str
    passed: bool
    compared: bool = True

    @property
    def mark(self) -> str:
        """✓ where they agree, ✗ where they differ, – where nothing was compared."""
        if not self.compared:
            return "–"
        return "✓" if self.passed else "✗"


@dataclass(frozen=True)
class Verification:
    """A deployment held against the evaluation: passed only where every check did."""

    deployment: str
    rows: int
    basis: str
    largest_difference: float
    checks: tuple[Check, ...]
    passed: bool
    sentence: str


def evaluation_rows(
    evaluation: Evaluation, estimator: Any, table: AdTable, train: NDArray[np.int64], formula: Formula
) -> EvaluationRows:
    """The held-out rows of an evaluation; where none were held out, the rows fitted."""
    spread, inputs = formula.spread, list(formula.inputs)
    if evaluation.basis == "held-out":
        X = table.frame.loc[[p.row for p in evaluation.predicted], inputs]
        predicted = np.array([p.predicted for p in evaluation.predicted])
        known = {name: evaluation.score(name) for name in METRICS}
        scores = {name: float(value) for name, value in known.items() if value is not None}
    else:
        X = table.frame[inputs].iloc[train]
        predicted = np.asarray(estimator.predict(X), dtype=float).reshape(len(X))
        scores = _scores(table.y.loc[X.index].to_numpy(), predicted)
    lower, upper = spread.interval(predicted, LEVEL) if spread.highest_level >= LEVEL else (None, None)
    basis = "held-out" if evaluation.basis == "held-out" else "fitted"
    observed = table.y.loc[X.index].to_numpy()
    return EvaluationRows(X, observed, predicted, lower, upper, LEVEL, basis, scores, formula.together)


def _scores(observed: Vector, predicted: Vector) -> dict[str, float]:
    given = {name: metric for name, metric in METRICS.items() if name != "mape" or observed.all()}
    found = {name: float(metric(observed, predicted)) for name, metric in given.items()}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def refuse_disagreement(responder: ResponseModel, estimator: Any, X: pd.DataFrame) -> None:
    """Refuse to store a model that does not answer as the evaluated estimator does.

    Parameters
    ----------
    responder : ResponseModel
        The model as stored: its formula, or its pipeline read back.
    estimator : object
        The fitted scikit-learn estimator.
    X : DataFrame of shape (n_rows, n_inputs)
        Rows to try, with the columns that the formula reads.

    Raises
    ------
    ModelError
        If a row differs by more than 1e-12, relative to it or to the largest prediction.
    """
    answers = responder.answer(check(responder.formula.reads, {str(n): c for n, c in X.items()}))["prediction"]
    expected = np.asarray(estimator.predict(X), dtype=float).reshape(len(X))
    if (largest := _difference(answers, expected)) > AGREEMENT:
        raise ModelError(f"The stored model differs from the fitted one by {largest:.1e} (relative), more than {AGREEMENT:g}.")


def write_replay(folder: Path, responder: ResponseModel, example: pd.DataFrame) -> None:
    """Record the answers to a few rows: what a server replays before it takes the model."""
    answers = responder.answer(check(responder.formula.reads, {str(n): c for n, c in example.items()}))["prediction"]
    data = [list(row) for row in zip(*(as_asked(column) for _, column in example.items()), strict=True)]
    request = {"dataframe_split": {"columns": list(example.columns), "data": data}}
    text = json.dumps({"request": request, "predictions": answers.tolist()}, indent=1, ensure_ascii=False)
    (folder / REPLAY).write_text(text + "\n", encoding="utf-8")


def _difference(found: Vector, expected: Vector) -> float:
    """The largest difference, relative to the row or, near zero, to what rounding leaves of the largest row."""
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    floor = OF_LARGEST / TOLERANCE * max(float(np.abs(expected).max()), np.finfo(float).tiny)
    return float((np.abs(found - expected) / np.maximum(np.abs(expected), floor)).max())


def compare(
    deployment: str, version: str, rows: EvaluationRows, answered: Answered, scores: Mapping[str, float]
) -> Verification:
    """Hold a deployment's answers against the evaluation: each row, each end of the interval, each score, the version.

    Parameters
    ----------
    deployment : str
        Where the answers come from, for people.
    version : str
        The version that should have answered.
    rows : EvaluationRows
        What was asked, and what it should have given.
    answered : Answered
        What came back.
    scores : mapping of str to float
        The scores of the answers as MLflow's evaluator computes them, under MLflow's names.
    """
    differences = {"predictions": _difference(answered.prediction, rows.predicted)}
    for name in ("lower", "upper"):
        expected, found = getattr(rows, name), getattr(answered, name)
        if expected is not None and found is not None:
            differences[f"{name} ends ({words.percent(rows.level)})"] = _difference(found, expected)
    checks = [_version(version, answered.version)]
    checks += [
        Check(
            f"{name} of {words.count(len(rows.X), 'row')}",
            f"within {TOLERANCE:g}",
            _size(d),
            d <= TOLERANCE,
        )
        for name, d in differences.items()
    ]
    size = float(np.abs(rows.observed).mean())
    checks += [_score(n, value, scores.get(MLFLOW_NAMES[n], float("nan")), size) for n, value in rows.scores.items()]
    passed = all(c.passed for c in checks)
    largest = max(differences.values())
    return Verification(
        deployment, len(rows.X), rows.basis, largest, tuple(checks), passed, _sentence(deployment, checks, rows, answered)
    )


def _size(difference: float) -> str:
    if not np.isfinite(difference):
        return "not a finite number for each row"
    return f"{difference:.1e}" if difference else "no difference"


def unlike(deployment: str, rows: EvaluationRows, found: str) -> Verification:
    """A deployment that gave no answer to hold against the evaluation: a number is missing, or none, or the rows were refused.

    Parameters
    ----------
    deployment : str
        Where the answers should have come from, for people.
    rows : EvaluationRows
        What was asked.
    found : str
        What came back instead, as a sentence without its subject.
    """
    said = found.rstrip(".")
    ends = "" if rows.lower is None else f", each with both ends ({words.percent(rows.level)})"
    asked = words.count(len(rows.X), "row")
    check = Check(f"answer to {asked}", f"{words.count(len(rows.X), 'prediction')}{ends}", said, False)
    sentence = f"{deployment} does not answer what was evaluated: asked {asked}, it {said}{'' if said.endswith('?') else '.'}"
    return Verification(deployment, len(rows.X), rows.basis, float("inf"), (check,), False, sentence)


def complete(rows: EvaluationRows, answered: Answered) -> bool:
    """Whether there is a finite prediction for each row, so that scores can be computed."""
    return answered.prediction.shape == rows.predicted.shape and bool(np.isfinite(answered.prediction).all())


def _version(expected: str, found: str) -> Check:
    said = found or "not said by this deployment"
    return Check("version that answered", expected, said, found in ("", expected), bool(found))


def _score(name: str, expected: float, found: float, size: float) -> Check:
    """R² and MAPE are shares; the others are in the target's unit, so rounding is as large as the sales allow."""
    floor = 1.0 if name in ("r2", "mape") else size * OF_LARGEST / TOLERANCE
    passed = abs(found - expected) <= TOLERANCE * max(abs(expected), floor)
    title = {"r2": "R²"}.get(name, name.upper())
    return Check(title, repr(expected), repr(found), bool(passed))


def _sentence(deployment: str, checks: list[Check], rows: EvaluationRows, answered: Answered) -> str:
    failed = [f"{c.name} (expected {c.expected}, found {c.found})" for c in checks if not c.passed]
    if failed:
        return f"{deployment} does not answer what was evaluated: {'; '.join(failed)}."
    which = "held-out rows" if rows.basis == "held-out" else "rows fitted (none were held out)"
    return (
        f"{deployment} gave back every prediction and every score of the {len(rows.X):,} {which}, "
        f"within {TOLERANCE:g} of the evaluation.{_unsaid(rows, answered)}"
    )


def _unsaid(rows: EvaluationRows, answered: Answered) -> str:
    """What was not compared, since the deployment does not say it; a sentence after a blank, or nothing."""
    unsaid = ["its version"] if not answered.version else []
    unsaid += ["the interval"] if rows.lower is not None and answered.lower is None else []
    return f" It does not give, so this was not compared: {' and '.join(unsaid)}." if unsaid else ""
