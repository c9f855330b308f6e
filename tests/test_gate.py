"""Does the gate let through what it should, and nothing that is not finite?"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from adresponse.errors import ConfigError
from adresponse.evaluate import Evaluation
from adresponse.gate import decide, validate_rules
from stored_example import one_channel


@pytest.fixture
def evaluation() -> Evaluation:
    """That of the built-in table."""
    return one_channel().evaluation


def with_score(given: Evaluation, name: str, value: float | None) -> Evaluation:
    return replace(given, scores=tuple(replace(s, value=value) if s.name == name else s for s in given.scores))


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ("r2 >= 0.5", "VALIDATED"),  # it is 0.677
        ("r2>=0.7", "REJECTED"),
        ("mape <= 0.19", "VALIDATED"),  # it is 0.187
        ("rmse < 3", "REJECTED"),  # it is 3.19
        ("bias > -1e0", "VALIDATED"),  # it is -0.31
        ("coverage_90 >= 0.8", "VALIDATED"),
        ("all finite", "VALIDATED"),
        ("beats baseline", "VALIDATED"),
    ],
)
def test_rules(evaluation: Evaluation, rule: str, status: str) -> None:
    decision = decide(evaluation, [rule])
    assert decision.status == status
    assert rule in decision.sentence or status == "VALIDATED"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("rule", ["all finite", "r2 >= 0.5", "r2 <= 0.5"])
def test_a_score_that_is_not_finite_passes_nothing(evaluation: Evaluation, rule: str, value: float) -> None:
    assert decide(with_score(evaluation, "r2", value), [rule]).status == "REJECTED"


def test_a_score_that_cannot_be_given_passes_no_rule_about_it(evaluation: Evaluation) -> None:
    assert decide(with_score(evaluation, "mape", None), ["mape <= 1"]).status == "REJECTED"
    assert decide(with_score(evaluation, "mape", None), ["all finite"]).status == "VALIDATED"


def test_no_better_than_the_mean_is_rejected_with_the_figures(evaluation: Evaluation) -> None:
    decision = decide(replace(evaluation, baseline_rmse=3.0), ["beats baseline"])
    assert decision.sentence == "Rejected: beats baseline (RMSE 3.194 against 3 of the mean)."


@pytest.mark.parametrize(
    ("rule", "said"),
    [("rsme <= 3", "Did you mean 'rmse'"), ("r2 = 0.5", "cannot be read"), ("better", "cannot be read")],
)
def test_a_rule_that_cannot_be_read_is_refused(rule: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        validate_rules([rule])


def test_finite_is_always_asked_for(evaluation: Evaluation) -> None:
    assert decide(with_score(evaluation, "r2", math.nan), []).status == "REJECTED"


def test_a_bound_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        validate_rules(["r2 >= 0..5"])
