"""May this version be trusted? Rules over the evaluation, decided with reasons."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from adresponse import words
from adresponse.errors import ConfigError, did_you_mean
from adresponse.evaluate import Evaluation

__all__ = ["DEFAULT_GATE", "GateDecision", "GateRule", "decide", "validate_rules"]

DEFAULT_GATE = ("all finite", "beats baseline")
SCORES = ("mae", "rmse", "mape", "wape", "r2", "adjusted_r2", "bias", "coverage_90")
COMPARISON = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
RULE = re.compile(r"\s*(\w+)\s*(>=|<=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


@dataclass(frozen=True)
class GateRule:
    """One rule, what was found, and whether it passed."""

    rule: str
    found: str
    passed: bool


@dataclass(frozen=True)
class GateDecision:
    """VALIDATED when every rule passed, else REJECTED; ``rules`` give the reasons."""

    status: Literal["VALIDATED", "REJECTED"]
    rules: tuple[GateRule, ...]
    sentence: str


def decide(evaluation: Evaluation, rules: Sequence[str] = DEFAULT_GATE) -> GateDecision:
    """Hold every rule against the evaluation, "all finite" always; a score that is missing passes no rule about it."""
    rules = rules if "all finite" in rules else ("all finite", *rules)
    held = tuple(_hold(rule, evaluation) for rule in rules)
    failed = [f"{r.rule} ({r.found})" for r in held if not r.passed]
    if failed:
        return GateDecision("REJECTED", held, f"Rejected: {'; '.join(failed)}.")
    return GateDecision("VALIDATED", held, f"Validated: {words.count(len(held), 'rule')} passed.")


def validate_rules(rules: Sequence[str]) -> None:
    """Refuse a rule that cannot be read, before anything is fitted."""
    for rule in rules:
        if rule not in DEFAULT_GATE:
            _parse(rule)


def _parse(rule: str) -> tuple[str, str, float]:
    match = RULE.fullmatch(rule)
    if match is None:
        raise ConfigError(
            f"Gate rule {rule!r} cannot be read; write 'all finite', 'beats baseline' or a score and a bound, 'r2 >= 0.5'."
        )
    name, sign, bound = match.groups()
    if name not in SCORES:
        raise ConfigError(f"Gate rule {rule!r} names no score.{did_you_mean(name, SCORES)} Scores: {', '.join(SCORES)}.")
    return name, sign, float(bound)


def _hold(rule: str, evaluation: Evaluation) -> GateRule:
    if rule == "all finite":
        broken = [s.name for s in evaluation.scores if s.value is not None and not math.isfinite(s.value)]
        return GateRule(rule, f"not finite: {', '.join(broken)}" if broken else "every score is finite", not broken)
    if rule == "beats baseline":
        rmse, baseline = evaluation.score("rmse"), evaluation.baseline_rmse
        passed = rmse is not None and math.isfinite(rmse) and rmse < baseline
        return GateRule(rule, f"RMSE {words.number(rmse)} against {words.number(baseline)} of {evaluation.mean}", passed)
    name, sign, bound = _parse(rule)
    value = _value(name, evaluation)
    if value is None or not math.isfinite(value):
        return GateRule(rule, f"{name} is not known", False)
    return GateRule(rule, f"{name} = {words.number(value)}", COMPARISON[sign](value, bound))


def _value(name: str, evaluation: Evaluation) -> float | None:
    if name == "coverage_90":
        return next((c.measured for c in evaluation.coverage if (c.level, c.basis) == (0.9, evaluation.basis)), None)
    return evaluation.score(name)
