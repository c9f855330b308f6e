"""Is a deployment that answers otherwise than was evaluated found, whatever differs?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import (
    mean_absolute_error,
    mean_absolute_percentage_error,
    r2_score,
    root_mean_squared_error,
)

from adresponse.errors import DifferenceError, ModelError
from adresponse.pyfunc import ResponseModel
from adresponse.record import verification_note
from adresponse.report.tables import verification_table
from adresponse.scoring import _numbers
from adresponse.stored import open_stored
from adresponse.verification import Answered, EvaluationRows, Verification, compare, complete, refuse_disagreement, unlike
from stored_example import one_channel, stored


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> EvaluationRows:
    return EvaluationRows.read(stored(one_channel(), tmp_path_factory.mktemp("stored")))


def answered(rows: EvaluationRows) -> Answered:
    return Answered(rows.predicted, rows.lower, rows.upper, "3")


def judged(rows: EvaluationRows, given: Answered) -> Verification:
    """Scores by scikit-learn, which MLflow's evaluator calls."""
    scores = {
        "mean_absolute_error": mean_absolute_error(rows.observed, given.prediction),
        "root_mean_squared_error": root_mean_squared_error(rows.observed, given.prediction),
        "mean_absolute_percentage_error": mean_absolute_percentage_error(rows.observed, given.prediction),
        "r2_score": r2_score(rows.observed, given.prediction),
    }
    return compare("The endpoint", "3", rows, given, scores)


def failed(found: Verification) -> list[str]:
    return [c.name for c in found.checks if not c.passed]


def test_the_same_answers_pass(rows: EvaluationRows) -> None:
    found = judged(rows, answered(rows))
    assert found.passed
    assert found.rows == 40
    assert found.largest_difference == 0
    assert [c.name for c in found.checks][-4:] == ["MAE", "RMSE", "MAPE", "R²"]
    assert "gave back every prediction and every score of the 40 held-out rows" in found.sentence


def test_rounding_of_the_last_digit_passes(rows: EvaluationRows) -> None:
    nudged = np.nextafter(rows.predicted, np.inf)
    assert judged(rows, replace(answered(rows), prediction=nudged)).passed


@pytest.mark.parametrize(
    ("change", "checks"),
    [
        (lambda a: replace(a, version="2"), ["version that answered"]),
        (lambda a: replace(a, prediction=a.prediction * (1 + 1e-8)), ["predictions of 40 rows", "MAE", "RMSE", "MAPE", "R²"]),
        (lambda a: replace(a, prediction=a.prediction[::-1]), ["predictions of 40 rows", "MAE", "RMSE", "MAPE", "R²"]),
        (lambda a: replace(a, upper=a.upper + 1e-6), ["upper ends (90 %) of 40 rows"]),
        (lambda a: replace(a, lower=a.upper), ["lower ends (90 %) of 40 rows"]),
    ],
)
def test_each_difference_is_found(rows: EvaluationRows, change, checks: list[str]) -> None:  # type: ignore[no-untyped-def]
    found = judged(rows, change(answered(rows)))
    assert not found.passed
    # an error of 1e-8 in the predictions may stay below 1e-9 in a score
    assert set(failed(found)) <= set(checks)
    assert failed(found)[0] == checks[0]
    assert "does not answer what was evaluated: " in found.sentence


def test_too_few_answers_and_answers_that_are_no_number_are_differences(rows: EvaluationRows) -> None:
    scores = dict.fromkeys(["mean_absolute_error", "root_mean_squared_error"], float("nan"))
    for wrong in (rows.predicted[:-1], np.where(rows.predicted > 10, np.nan, rows.predicted)):
        assert not complete(rows, Answered(wrong))
        found = compare("The endpoint", "3", rows, Answered(wrong), scores)
        assert failed(found)[0] == "predictions of 40 rows"
        assert {"MAE", "RMSE"} <= set(failed(found))  # a NaN passes nothing


def test_what_is_no_answer_is_a_failed_check_that_says_what_came_back(rows: EvaluationRows) -> None:
    found = unlike("The endpoint", rows, "gave 39 predictions for 40 rows.")
    assert not found.passed
    assert [(c.name, c.found, c.passed) for c in found.checks] == [
        ("answer to 40 rows", "gave 39 predictions for 40 rows", False)
    ]
    assert found.checks[0].mark == "✗"
    assert found.checks[0].expected == "40 predictions, each with both ends (90 %)"
    assert found.sentence.endswith("does not answer what was evaluated: asked 40 rows, it gave 39 predictions for 40 rows.")
    assert unlike("The endpoint", replace(rows, lower=None, upper=None), "gave none.").checks[0].expected == "40 predictions"


def test_one_wrong_row_among_right_ones_is_found(rows: EvaluationRows) -> None:
    off = rows.predicted.copy()
    off[17] += 1e-6
    assert failed(judged(rows, replace(answered(rows), prediction=off)))[0] == "predictions of 40 rows"


def test_a_deployment_that_does_not_say_its_version_or_interval_is_still_compared(rows: EvaluationRows) -> None:
    found = judged(rows, Answered(rows.predicted))
    assert found.passed
    assert found.checks[0].found == "not said by this deployment"
    assert [c.mark for c in found.checks] == ["–", *"✓" * (len(found.checks) - 1)]
    assert found.sentence.endswith("It does not give, so this was not compared: its version and the interval.")
    assert "not compared" not in judged(rows, answered(rows)).sentence
    assert not any("ends" in c.name for c in found.checks)
    assert "- – version that answered: expected" in verification_note(found)
    (unsaid,) = [row for row in verification_table(found).rows if row[0].startswith("Version")]
    assert unsaid[-1] == "not compared"


@pytest.mark.parametrize("answer", [["many", "few"], [[1.0], [1.0, 2.0]], {"error": "none"}])
def test_a_target_that_gives_no_numbers_differs(answer: Any) -> None:
    with pytest.raises(DifferenceError, match="gave predictions that are no numbers"):
        _numbers(answer)


def test_a_model_that_was_stored_otherwise_is_refused(tmp_path: Path) -> None:
    study = one_channel()
    found = open_stored(stored(study, tmp_path))
    refuse_disagreement(ResponseModel(found.formula, found.folder), study.estimator, study.table.X)
    moved = replace(found.formula, intercept=found.formula.intercept + 1e-9)
    with pytest.raises(ModelError, match="differs from the fitted one"):
        refuse_disagreement(ResponseModel(moved, found.folder), study.estimator, study.table.X)


def test_without_held_out_rows_the_fitted_ones_are_asked_and_said_to_be_so(tmp_path: Path) -> None:
    import adresponse

    study = adresponse.fit(test_size=0, repeats=1)
    rows = EvaluationRows.read(stored(study, tmp_path))
    assert rows.basis == "fitted"
    assert len(rows.X) == 200
    assert rows.scores["r2"] == pytest.approx(0.611875050850071)  # ISLR, table 3.2: 0.612, of the rows fitted
    assert "rows fitted (none were held out)" in judged(rows, answered(rows)).sentence
