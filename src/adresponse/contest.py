"""May the challenger take the champion's place? Both scored afresh on the same held-out rows, rule by rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from adresponse import words
from adresponse.errors import ConfigError, did_you_mean
from adresponse.evaluate import mae, rmse
from adresponse.formula import Spread
from adresponse.schema import Contract
from adresponse.watching.verdict import names_of

__all__ = ["Contender", "Contest", "ContestRule", "ContestRules", "contest", "responses"]

Vector = NDArray[np.float64]
METRICS = {"mae": mae, "rmse": rmse}
TITLES = {"mae": "MAE", "rmse": "RMSE"}
COVERED = 0.9
FEW_ROWS = 10  # held out: fewer give an interval that is too narrow more often than not
GRID = 21  # points of each channel's range at which the response is asked
AT_ONCE = 2_000_000  # rows drawn at once: some 50 MB
MOST_DRAWN = 500_000_000  # rows drawn in all, beyond which fewer resamples are drawn; the interval is narrow by then
LEAST_RESAMPLES = 200
ROUNDING = 1e-9  # share of the whole response below which a step down is rounding


@dataclass(frozen=True)
class ContestRules:
    """What a challenger must show, and what follows from it.

    Parameters
    ----------
    mode : {"off", "dry-run", "enforce"}
        ``off``: every challenger whose figures are finite promotes. ``dry-run``: the rules are held and said, none promotes.
        ``enforce``: only one that passes every rule promotes.
    require : {"not worse", "better"}
        Whether it must be better by more than chance and ``margin``, or only not worse by more than ``margin``.
    metric : {"mae", "rmse"}
        The error that is compared.
    margin : float
        Share of the champion's error: so much worse may it be (``not worse``), or so much better must it be (``better``).
    level : float
        Level of the intervals: of the paired bootstrap, and of what chance allows coverage and bias.
    falling : tuple of str
        Channels that may bring less when more is spent; every other must not.
    bias : float
        Largest mean error, as a share of the champion's error, that is let pass though it is more than chance.
    resamples, seed : int
        Of the bootstrap.

    Raises
    ------
    ConfigError
        If a value is out of range or a name is not known.
    """

    mode: Literal["off", "dry-run", "enforce"] = "enforce"
    require: Literal["not worse", "better"] = "not worse"
    metric: Literal["mae", "rmse"] = "mae"
    margin: float = 0.05
    level: float = 0.95
    falling: tuple[str, ...] = ()
    bias: float = 0.1
    resamples: int = 5_000
    seed: int = 42

    def __post_init__(self) -> None:
        object.__setattr__(self, "falling", names_of("falling", self.falling))
        _one_of("mode", self.mode, ("off", "dry-run", "enforce"))
        _one_of("require", self.require, ("not worse", "better"))
        _one_of("metric", self.metric, tuple(METRICS))
        _share("margin", self.margin, 0.0, 1.0)
        _share("level", self.level, 0.5, 0.9999)
        _share("bias", self.bias, 0.0, 1.0)
        _whole("resamples", self.resamples, 200)
        _whole("seed", self.seed, 0)

    def refuse_unknown(self, contract: Contract) -> None:
        """Refuse a channel that the table does not have."""
        if name := next((name for name in self.falling if name not in contract.channels), None):
            raise ConfigError(f"falling: {name!r} is no channel.{did_you_mean(name, contract.channels)}")

    @classmethod
    def build(cls, given: Mapping[str, Any] | None = None) -> ContestRules:
        """Rules from a config's mapping; what is not given keeps its default, an unknown key is refused."""
        names = [f.name for f in fields(cls)]
        for key in given or {}:
            if key not in names:
                raise ConfigError(
                    f"Contest rule {key!r} is unknown.{did_you_mean(str(key), names)} There are: {', '.join(names)}."
                )
        return cls(**(given or {}))


def _one_of(name: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(f"{name}={value!r} is unknown.{did_you_mean(str(value), known)} Give one of: {', '.join(known)}.")


def _share(name: str, value: object, low: float, high: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= float(value) <= high:  # type: ignore[arg-type]
        raise ConfigError(f"{name}={value!r} is out of range; give a share from {low:g} to {high:g}.")


def _whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name}={value!r} is out of range; give a whole number, {least} or more.")


@dataclass(frozen=True)
class Contender:
    """A model in the contest.

    Parameters
    ----------
    name : str
        What it is called, for people: ``sales-response version 3``.
    predicted : ndarray of shape (n_rows,)
        Its predictions for the held-out rows, which it has not seen, in the target's unit.
    spread : Spread, optional
        Gives its intervals.
    """

    name: str
    predicted: Vector
    spread: Spread | None = None


@dataclass(frozen=True)
class ContestRule:
    """One rule, what was found, whether it passed, and both as a sentence."""

    rule: str
    found: str
    passed: bool
    sentence: str


@dataclass(frozen=True)
class Contest:
    """What was held against what, on which rows, and what follows; ``words.plain`` of it is its JSON.

    ``promotes`` is what to act on; ``passed`` whether every rule passed, whatever the mode. ``difference`` is the challenger's
    error less the champion's as a share of the champion's, with its paired bootstrap interval; None where it cannot be told.
    ``left_out`` counts held-out rows that were not scored, since one of the two does not know their market.
    """

    promotes: bool
    passed: bool
    sentence: str
    rules: tuple[ContestRule, ...]
    champion: str
    challenger: str
    rows: int
    metric: str
    champion_error: float | None
    challenger_error: float | None
    difference: float | None
    low: float | None
    high: float | None
    settings: ContestRules = field(default_factory=ContestRules)
    left_out: int = 0


def contest(
    contract: Contract,
    observed: Vector,
    champion: Contender,
    challenger: Contender,
    response: Mapping[str, tuple[Vector, Vector]],
    rules: ContestRules | None = None,
    left_out: int = 0,
) -> Contest:
    """Hold a challenger against the champion.

    Parameters
    ----------
    contract : Contract
        Channels and units.
    observed : ndarray of shape (n_rows,)
        Sales of the held-out rows, in the target's unit.
    champion, challenger : Contender
        Both with predictions for these rows, in this order.
    response : mapping of str to pair of ndarray of shape (n_points,)
        For each channel, spend over the range seen and what the challenger predicts there (see ``responses``).
    rules : ContestRules, optional
        What must hold.
    left_out : int
        Held-out rows of markets that only one of the two knows; they are not among those given, and counted in words.

    Raises
    ------
    ConfigError
        If the predictions are not of the held-out rows, or ``falling`` names no channel.
    """
    rules = rules or ContestRules()
    observed = np.asarray(observed, dtype=float)
    for c in (champion, challenger):
        if np.shape(c.predicted) != observed.shape:
            raise ConfigError(
                f"{c.name} has predictions of shape {np.shape(c.predicted)} for {len(observed)} held-out rows; "
                "score both on the same rows."
            )
    rules.refuse_unknown(contract)
    finite = _finite(observed, champion, challenger, response)
    told: dict[str, float] = {}
    held = [finite]
    if finite.passed:
        told = _compared(observed, champion, challenger, rules)
        held.append(_error_rule(told, champion, challenger, len(observed), contract, rules))
        held += _monotone_rules(contract, response, rules)
        held += _coverage_rules(observed, challenger, rules)
        held.append(_bias_rule(observed, champion, challenger, told["champion"], contract, rules))
    passed = all(r.passed for r in held)
    promotes = {"off": finite.passed, "dry-run": False, "enforce": passed}[rules.mode]
    return Contest(
        promotes=promotes,
        passed=passed,
        sentence=_sentence(held, challenger, champion, promotes, rules) + _left_out(left_out),
        rules=tuple(held),
        champion=champion.name,
        challenger=challenger.name,
        rows=len(observed),
        metric=rules.metric,
        champion_error=told.get("champion"),
        challenger_error=told.get("challenger"),
        difference=told.get("difference"),
        low=told.get("low"),
        high=told.get("high"),
        settings=rules,
        left_out=left_out,
    )


def responses(
    contract: Contract, reference: pd.DataFrame, predict: Callable[[pd.DataFrame], Any], points: int = GRID
) -> dict[str, tuple[Vector, Vector]]:
    """What a model predicts for spend over the range seen, channel by channel, every other column at its median."""
    features = list(contract.features)
    middle = reference[features].median()
    found = {}
    for name in contract.channels:
        spend = np.linspace(float(reference[name].min()), float(reference[name].max()), points)
        grid = pd.DataFrame({f: np.full(points, float(middle[f])) for f in features})
        grid[name] = spend
        found[name] = spend, np.asarray(predict(grid), dtype=float).reshape(points)
    return found


# --- rules


def _finite(
    observed: Vector, champion: Contender, challenger: Contender, response: Mapping[str, tuple[Vector, Vector]]
) -> ContestRule:
    """Every figure is a number: NaN and infinity compare as false or as nonsense, so nothing else is looked at before."""
    sides = {
        "sales held out": observed,
        f"predictions of {champion.name}": champion.predicted,
        f"predictions of {challenger.name}": challenger.predicted,
    } | {f"predictions over the range of {name}": y for name, (_, y) in response.items()}
    broken = [
        f"{n}: {words.count(int((~np.isfinite(v)).sum()), 'value')}" for n, v in sides.items() if not np.isfinite(v).all()
    ]
    if not len(observed):
        return ContestRule("all finite", "no row was held out", False, "Nothing can be compared: no row was held out.")
    if broken:
        found = f"not finite: {'; '.join(broken)}"
        return ContestRule("all finite", found, False, f"Nothing can be compared ({found}).")
    found = f"all of {words.count(len(observed), 'row')}"
    return ContestRule("all finite", found, True, f"Every sale and every prediction is a finite number ({found}).")


def _compared(observed: Vector, champion: Contender, challenger: Contender, rules: ContestRules) -> dict[str, float]:
    """Both errors and their relative difference, with the percentile interval of a bootstrap over the rows, in pairs."""
    error = METRICS[rules.metric]
    rng = np.random.default_rng(rules.seed)
    a, b = (np.asarray(c.predicted, dtype=float) for c in (champion, challenger))
    before, after = float(error(observed, a)), float(error(observed, b))
    resamples = int(np.clip(MOST_DRAWN / len(observed), LEAST_RESAMPLES, rules.resamples))
    blocks = []
    for start in range(0, resamples, step := max(AT_ONCE // len(observed), 1)):
        rows = rng.integers(0, len(observed), (min(step, resamples - start), len(observed)))
        blocks.append([error(observed[rows], p[rows]) for p in (a, b)])
    drawn = [np.concatenate(side) for side in zip(*blocks, strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(drawn[0] == drawn[1], 0.0, drawn[1] / drawn[0] - 1)
    tail = (1 - rules.level) / 2
    low, high = (float(v) for v in np.quantile(ratio, [tail, 1 - tail], method="closest_observation"))
    difference = 0.0 if before == after else after / before - 1 if before else math.inf
    return {"champion": before, "challenger": after, "difference": difference, "low": low, "high": high}


def _error_rule(
    told: Mapping[str, float], champion: Contender, challenger: Contender, rows: int, contract: Contract, rules: ContestRules
) -> ContestRule:
    """Non-inferiority (the whole interval below the margin) or superiority (the whole interval beyond it)."""
    title, unit = TITLES[rules.metric], contract[contract.target].unit
    said = f" {unit}" if unit else ""
    low, high = told["low"], told["high"]
    better = rules.require == "better"
    bound = -rules.margin if better else rules.margin
    passed = high < bound if better else high <= bound
    rule = f"{title} better by more than {words.percent(rules.margin)}" if better else (
        f"{title} not worse by more than {words.percent(rules.margin)}"
    )  # fmt: skip
    found = (
        f"{title} {words.number(told['challenger'])} against {words.number(told['champion'])}{said}, "
        f"{_signed(told['difference'])} ({words.percent(rules.level)} interval {_signed(low)} to {_signed(high)})"
    )
    if passed:
        end = "is better by more than the margin" if better else "is not worse by more than the margin"
    elif (low > bound) if not better else (low >= bound):
        end = "is worse by more than the margin" if not better else "is not better by the margin"
    else:
        end = f"may be either: {words.count(rows, 'row')} are too few to tell"
    few = (
        f" With fewer than {FEW_ROWS} rows the interval itself is too narrow, so nothing is let pass."
        if rows < FEW_ROWS
        else ""
    )
    return ContestRule(
        rule,
        found,
        passed and rows >= FEW_ROWS,
        f"On {words.count(rows, 'held-out row')} that neither has seen, {challenger.name} has {found}; it {end}.{few}",
    )


def _signed(share: float) -> str:
    if not math.isfinite(share):
        return words.number(share)
    return f"{'+' if share > 0 else '−' if share < 0 else ''}{words.percent(abs(share), 1)}"


def _monotone_rules(
    contract: Contract, response: Mapping[str, tuple[Vector, Vector]], rules: ContestRules
) -> Iterator[ContestRule]:
    """A channel's response must not fall over the range seen: spend that lowers sales is a sign turned by the data."""
    for name in contract.channels:
        rule = f"{name} does not bring less when more is spent"
        if name in rules.falling:
            yield ContestRule(rule, "not asked for", True, f"{name} may bring less when more is spent, as the rules say.")
            continue
        if name not in response:
            yield ContestRule(rule, "not known", False, f"Nothing was predicted over the range of {name}; ask the model there.")
            continue
        spend, sales = response[name]
        steps = np.diff(sales)
        worst = int(np.argmin(steps))
        falls = steps[worst] < -ROUNDING * max(float(np.ptp(sales)), float(np.abs(sales).max()) * 1e-3, np.finfo(float).tiny)
        unit, per = (f" {contract[n].unit}" if contract[n].unit else "" for n in (contract.target, name))
        whole = words.number(abs(float(sales[-1] - sales[0])), 3)
        if falls:
            found = f"falls from {words.span(float(sales[worst]), float(sales[worst + 1]))}{unit}"
            said = f"{name} brings less between {words.span(float(spend[worst]), float(spend[worst + 1]))}{per}: it {found}."
        else:
            found = f"rises by {whole}{unit}" if sales[-1] > sales[0] else "stays level"
            said = f"{name} {found} over {words.span(float(spend[0]), float(spend[-1]))}{per}, and falls nowhere."
        yield ContestRule(rule, found, not falls, said)


def _coverage_rules(observed: Vector, challenger: Contender, rules: ContestRules) -> Iterator[ContestRule]:
    """The intervals hold their level: the number inside is not smaller than chance allows (exact binomial, one-sided)."""
    rule = f"90 % intervals hold {words.percent(COVERED)}"
    if challenger.spread is None or challenger.spread.highest_level < COVERED:
        yield ContestRule(
            rule, "no interval of this level", True, "There are too few rows for 90 % intervals, so none is promised."
        )
        return
    low, high = challenger.spread.interval(np.asarray(challenger.predicted, dtype=float), COVERED)
    inside = int(((observed >= low) & (observed <= high)).sum())
    p = float(stats.binom.cdf(inside, len(observed), COVERED))
    found = f"{inside} of {len(observed):,}, {words.percent(inside / len(observed))} ({words.p_value(p)})"
    passed = p > 1 - rules.level
    end = "no fewer than chance allows" if passed else "fewer than chance allows"
    yield ContestRule(rule, found, passed, f"The 90 % intervals hold {found} of the held-out rows, {end}.")


def _bias_rule(
    observed: Vector, champion: Contender, challenger: Contender, error: float, contract: Contract, rules: ContestRules
) -> ContestRule:
    """The mean error is within chance of nought (t interval), small against the champion's error, or less than its mean error.

    The last lets a challenger take the place of a champion that is off by more: to keep that one would be worse.
    """
    before = abs(float((observed - np.asarray(champion.predicted, dtype=float)).mean()))
    errors = observed - np.asarray(challenger.predicted, dtype=float)
    mean, n = float(errors.mean()), len(errors)
    reach = float(stats.t.ppf((1 + rules.level) / 2, n - 1)) * float(errors.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    unit = f" {contract[contract.target].unit}" if contract[contract.target].unit else ""
    passed = mean - reach <= 0 <= mean + reach or abs(mean) <= rules.bias * error or abs(mean) < before
    found = (
        f"mean error {words.number(mean, 3)}{unit} ({words.percent(rules.level)} interval {words.number(mean - reach, 3)} to "
        f"{words.number(mean + reach, 3)}); champion's {words.number(before, 3)}"
    )
    end = "is within what is let pass" if passed else "is more than chance"
    return ContestRule(
        "no bias",
        found,
        passed,
        f"Sales less predictions: {found}; that {end} ({words.number(rules.bias * error, 3)}{unit} is).",
    )


def _sentence(
    held: Sequence[ContestRule], challenger: Contender, champion: Contender, promotes: bool, rules: ContestRules
) -> str:
    failed = [r for r in held if not r.passed]
    who = f"{challenger.name} {'takes' if promotes else 'does not take'} the place of {champion.name}"
    who = who[:1].upper() + who[1:]
    why = f"{words.count(len(held), 'rule')} passed" if not failed else "; ".join(f"{r.rule} ({r.found})" for r in failed)
    if rules.mode == "enforce":
        return f"{who}: {why}."
    if rules.mode == "dry-run":
        would = "would" if not failed else "would not"
        return f"{who}, since the gate runs dry; it {would} have: {why}."
    if promotes:
        return f"{who}, since the gate is off" + (f", though it fails: {why}." if failed else f"; {why}.")
    return f"{who}, though the gate is off: {why}."


def _left_out(rows: int) -> str:
    were = "was" if rows == 1 else "were"
    return f" {words.count(rows, 'held-out row')} of markets that one of them does not know {were} not scored." if rows else ""
