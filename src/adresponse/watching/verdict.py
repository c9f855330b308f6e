"""Does the champion still hold on the new rows: keep it, fit it again, or stop because the data is not fit to be scored?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from adresponse import words
from adresponse.errors import ConfigError, did_you_mean
from adresponse.findings import Finding
from adresponse.formula import Spread
from adresponse.rows import Reads
from adresponse.schema import Contract
from adresponse.watching.arrivals import Arrivals, arrive
from adresponse.watching.drift import ColumnDrift, dependence, drift
from adresponse.watching.looks import look_level
from adresponse.watching.relation import Line, Moved, Relation, SlopeChange, moved

__all__ = [
    "CONTRACT_BREAKS",
    "RETRAIN_ON",
    "Champion",
    "Errors",
    "Held",
    "Line",
    "Relation",
    "Sizes",
    "SlopeChange",
    "Watch",
    "WatchRules",
    "names_of",
    "watch",
]

Vector = NDArray[np.float64]
Predict = Callable[[pd.DataFrame], Any]
CONTRACT_BREAKS = ("W001", "W003", "W004", "W005", "W009")
RETRAIN_ON = ("relation", "errors", "bias", "coverage", "spread", "range")
WEIGHTS = {
    "less": 0.60,  # a channel that brings less than planned costs money every day: most of the level looks for it
    "more": 0.10,
    "relation": 0.05,
    "errors": 0.05,
    "bias": 0.05,
    "coverage": 0.05,
    "spread": 0.05,
    "range": 0.05,
}
"""Share of the level that each test gets; they sum to one, so that all of them together keep it (Bonferroni)."""
GROUP = {"less": "relation", "more": "relation"}
COVERED = 0.9
MANY_ROWS = 10_000  # more are not resampled one by one
INTERVAL = 0.95


@dataclass(frozen=True)
class WatchRules:
    """What a watch tests how strictly, and what follows from it.

    Parameters
    ----------
    alpha : float
        Highest chance that rows of which nothing changed are said to need a new fit.
    per : {"stream", "watch"}
        Whether ``alpha`` holds for all looks at a growing file together, or for each look by itself.
    horizon : int
        For a stream: new rows by which nine tenths of ``alpha`` are spent. A change is found best about there.
    min_rows : int
        New rows below which nothing is told of a column, of errors or of the relation.
    psi_limit : float
        PSI, beyond what chance gives, from which a drifted column is worth a review.
    mae_ratio : float
        How many times the error at evaluation the new error must be at least, to be called worse.
    least_change : float
        From which share on a change counts, however sure: of what a channel brought, of how much sales scattered, or, for the
        mean error and for the whole line, of the error at evaluation. So a large file does not ask for a new fit over a trifle.
    beyond : float
        Share of new rows outside the range fitted that may be, before the model is asked to be fitted again.
    retrain_on : tuple of str
        Which of ``relation``, ``errors``, ``bias``, ``coverage``, ``spread``, ``range`` lead to the verdict retrain.
    stop_on : tuple of str
        Which contract breaks lead to the verdict stop, by code: W001 column missing, W003 renamed, W004 of another type, W005
        of another unit, W009 values that cannot be scored.
    resamples : int
        Bootstrap resamples of the interval of the errors' ratio.
    seed : int
        Seed of the bootstrap.

    Raises
    ------
    ConfigError
        If a value is out of range or a name is not known.
    """

    alpha: float = 0.05
    per: Literal["stream", "watch"] = "stream"
    horizon: int = 100
    min_rows: int = 20
    psi_limit: float = 0.25
    mae_ratio: float = 1.1
    least_change: float = 0.05
    beyond: float = 0.05
    retrain_on: tuple[str, ...] = RETRAIN_ON
    stop_on: tuple[str, ...] = CONTRACT_BREAKS
    resamples: int = 2_000
    seed: int = 42

    def __post_init__(self) -> None:
        object.__setattr__(self, "retrain_on", names_of("retrain_on", self.retrain_on))
        object.__setattr__(self, "stop_on", names_of("stop_on", self.stop_on))
        _within("alpha", self.alpha, 0, 0.5, "a share such as 0.05")
        if self.per not in ("stream", "watch"):
            raise ConfigError(f"per={self.per!r} is unknown; give 'stream' or 'watch'.")
        _whole("horizon", self.horizon, 10)
        _whole("min_rows", self.min_rows, 5)
        _within("psi_limit", self.psi_limit, 0, 10, "an index such as 0.25")
        _within("mae_ratio", self.mae_ratio, 0.99, 10, "a ratio of 1 or more, such as 1.1", closed=True)
        _within("least_change", self.least_change, -1e-12, 1, "a share such as 0.05")
        _within("beyond", self.beyond, -1e-12, 1, "a share such as 0.05")
        _whole("resamples", self.resamples, 100)
        _whole("seed", self.seed, 0)
        _known("retrain_on", self.retrain_on, RETRAIN_ON)
        _known("stop_on", self.stop_on, CONTRACT_BREAKS)

    @classmethod
    def build(cls, given: dict[str, Any] | None = None) -> WatchRules:
        """Rules from a config's mapping; what is not given keeps its default, an unknown key is refused."""
        names = [f.name for f in fields(cls)]
        for key in given or {}:
            if key not in names:
                raise ConfigError(
                    f"Watch rule {key!r} is unknown.{did_you_mean(str(key), names)} There are: {', '.join(names)}."
                )
        return cls(**(given or {}))


def names_of(name: str, value: object) -> tuple[str, ...]:
    """One name or a list of them."""
    if not isinstance(value, str | Sequence):
        raise ConfigError(f"{name}={value!r} is no list of names; write [A, B].")
    return (value,) if isinstance(value, str) else tuple(str(part) for part in value)


def _within(name: str, value: object, low: float, high: float, want: str, *, closed: bool = False) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not (low < float(value) < high or (closed and value == high)):  # type: ignore[arg-type]
        raise ConfigError(f"{name}={value!r} is out of range; give {want}.")


def _whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name}={value!r} is out of range; give a whole number, {least} or more.")


def _known(name: str, given: Sequence[str], known: Sequence[str]) -> None:
    for value in given:
        if value not in known:
            raise ConfigError(f"{name}: {value!r} is unknown.{did_you_mean(str(value), known)} There are: {', '.join(known)}.")


@dataclass(frozen=True)
class Champion:
    """The model that is watched, and the rows that it stood on.

    Parameters
    ----------
    contract : Contract
        Its columns.
    reference : DataFrame
        The rows that it stood on, fitted and held out: the contract's columns, numbers float64, date datetime64.
    predict : callable
        Predicted sales, shape (n_rows,), for a frame of the columns read.
    spread : Spread, optional
        Gives the prediction intervals; without it their coverage is not told.
    errors : ndarray of shape (n_reference,), optional
        Observed less predicted for each row of ``reference`` by a model that had not seen it, NaN where there is none. Without
        it, the errors are those of leaving each row out of a straight line (exact for least squares).
    name : str
        What it is called, for people.
    reads : Reads, optional
        Columns that it reads, and the markets that it knows, where it has a level for each; rows of others are left out.
        Without it, it reads the contract's features alone.
    sizes : mapping of str to float
        How large each market is; empty where it takes markets as equal.
    """

    contract: Contract
    reference: pd.DataFrame
    predict: Predict
    spread: Spread | None = None
    errors: Vector | None = None
    name: str = ""
    reads: Reads | None = None
    sizes: Mapping[str, float] = field(default_factory=dict)

    def size(self, frame: pd.DataFrame) -> Vector:
        """Size of the market of each row, shape (n_rows,)."""
        return np.asarray(frame[self.contract.market].astype(str).map(self.sizes), dtype=float)

    def measured(self, frame: pd.DataFrame, name: str) -> Vector:
        """A feature as its range counts it: spend over the size of its market, where markets differ in size."""
        values = frame[name].to_numpy(dtype=float)
        return values / self.size(frame) if self.sizes and name in self.contract.channels else values


@dataclass(frozen=True)
class Held:
    """One test of the watch: what was asked, its p, the level that it has at this look, and whether it found something."""

    name: str
    title: str
    p: float
    level: float
    found: bool
    sentence: str


@dataclass(frozen=True)
class Coverage:
    """Share of new rows inside the prediction interval of a level, with its exact 95 % interval, and the interval's width."""

    level: float
    measured: float
    rows: int
    width: float
    inside: int
    low: float
    high: float


@dataclass(frozen=True)
class Errors:
    """Errors of the new rows beside those at evaluation, in the target's unit; intervals of 95 %.

    ``expected_ratio`` is what the ratio of the errors would be if only the predicted sales had moved (their spread grows with
    them). ``spread_ratio`` compares the standard deviations of what each side's own line leaves, in units of the spread.
    """

    rows_before: int
    rows_now: int
    mae_before: float
    mae_now: float
    ratio: float
    ratio_low: float
    ratio_high: float
    expected_ratio: float
    bias: float
    bias_low: float
    bias_high: float
    bias_before: float
    coverage: Coverage | None
    spread_ratio: float


@dataclass(frozen=True)
class Sizes:
    """How many rows: of the reference, in the file, left out and why, looked at, and of these with known sales."""

    reference: int
    file: int
    repeated: int
    revised: int
    bad: int
    unknown_market: int
    new: int
    with_sales: int


@dataclass(frozen=True)
class Watch:
    """What a watch found; ``words.plain`` of it is its JSON.

    ``level`` is the chance of a false alarm at this look, of the ``rules.alpha`` of the stream (or of the watch); ``look``
    counts the looks of the stream, from 1. ``tests`` share the level.
    """

    verdict: Literal["keep", "retrain", "stop"]
    sentence: str
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]
    columns: tuple[ColumnDrift, ...]
    errors: Errors | None
    relation: Relation | None
    tests: tuple[Held, ...]
    sizes: Sizes
    level: float
    level_sentence: str
    look: int
    model: str
    target: str
    units: dict[str, str]
    rules: WatchRules = field(default_factory=WatchRules)


def watch(champion: Champion, raw: pd.DataFrame, rules: WatchRules | None = None, looks: Sequence[int] = ()) -> Watch:
    """Hold new rows against the champion and the rows that it stood on.

    Parameters
    ----------
    champion : Champion
        The model, and its rows.
    raw : DataFrame
        The new file as read: for a stream, all rows since the champion was fitted. Sales may be missing, in some rows or all.
    rules : WatchRules, optional
        What is tested how strictly, and what follows.
    looks : sequence of int
        For a stream: rows with known sales (``sizes.with_sales``) at each earlier look since the champion was fitted.

    Raises
    ------
    ConfigError
        If the champion's errors are not one for each of its rows.
    """
    rules = rules or WatchRules()
    contract = champion.contract
    arrived = arrive(contract, raw, champion.reference, champion.reads)
    new = arrived.frame
    known = new[contract.target].notna().to_numpy() if len(new) else np.zeros(0, dtype=bool)
    earlier = tuple(n for n in looks if n > 0) if rules.per == "stream" else ()
    left_out = arrived.repeated, arrived.revised, arrived.bad, arrived.unknown_market
    sizes = Sizes(len(champion.reference), arrived.rows, *left_out, len(new), int(known.sum()))
    level = _Level(rules, sizes, earlier)
    columns, drift_findings = drift(
        contract, champion.reference, new, level=level.of(1.0), psi_limit=rules.psi_limit, min_rows=rules.min_rows
    )
    tests: list[Held] = list(_range(champion, new, known, level, rules))
    errors, relation, told = None, None, []
    if sizes.with_sales >= rules.min_rows:
        errors, relation, held = _held(champion, new, known, level, rules)
        tests += held
    elif not any(f.severity == "stop" for f in arrived.findings) and len(new):
        told.append(_unknown_sales(contract, sizes, rules))
    said = _told(tests, relation)
    findings = [*arrived.findings, *_found(said), *drift_findings, *told]
    outside = _known_outside(champion, new.loc[known])
    verdict, reasons = _verdict(arrived, said, errors is not None, outside, sizes, rules)
    return Watch(
        verdict=verdict,
        sentence=_sentence(verdict, reasons),
        reasons=reasons,
        findings=tuple(sorted(findings, key=lambda f: ("stop", "review", "note").index(f.severity))),
        columns=columns,
        errors=errors,
        relation=relation,
        tests=tuple(tests),
        sizes=sizes,
        level=level.of(1.0),
        level_sentence=level.sentence,
        look=len(set(earlier) - {sizes.with_sales}) + 1,
        model=champion.name,
        target=contract.target,
        units={c.name: c.unit for c in contract.columns},
        rules=rules,
    )


# --- levels


@cache
def _look_level(rows: int, earlier: tuple[int, ...], reference: int, horizon: int, alpha: float) -> float:
    return look_level(rows, earlier, reference=reference, horizon=horizon, alpha=alpha)


@dataclass(frozen=True)
class _Level:
    """The level that a test has at this look, by its share of the whole."""

    rules: WatchRules
    sizes: Sizes
    earlier: tuple[int, ...]

    def of(self, share: float, *, one_sided: bool = False) -> float:
        """Level of a test that has ``share`` of alpha."""
        alpha = self.rules.alpha * share
        rows = max(self.sizes.with_sales or self.sizes.new, *self.earlier, 0)  # a withdrawn row does not end the stream
        if self.rules.per == "watch" or rows == 0:
            return alpha
        sides = 2 if one_sided else 1
        return _look_level(rows, self.earlier, self.sizes.reference, self.rules.horizon, alpha * sides) / sides

    @property
    def sentence(self) -> str:
        alpha = words.percent(self.rules.alpha, 1 if self.rules.alpha < 0.1 and 100 * self.rules.alpha % 1 else 0)
        if self.rules.per == "watch":
            return f"Level {alpha} for each watch: so often is a new fit asked for at most where nothing changed."
        return (
            f"Level {alpha} for all looks at these rows together, of which this look may use {words.percent(self.of(1.0), 2)}: "
            "so often is a new fit asked for at most where nothing changed, however often one looks."
        )


# --- known sales


def _held(
    champion: Champion, new: pd.DataFrame, known: NDArray[np.bool_], level: _Level, rules: WatchRules
) -> tuple[Errors, Relation | None, list[Held]]:
    """Errors, relation and their tests, on the new rows whose sales are known; the others' spend may work in them."""
    contract, reference = champion.contract, champion.reference
    predicted = _predict(champion, reference), _predict(champion, new)[known]
    new = new.loc[known]
    sold = [f[contract.target].to_numpy(dtype=float) for f in (reference, new)]
    fitted, now = sold[0] - predicted[0], sold[1] - predicted[1]
    tie = _tie(contract, reference, fitted)
    found = moved(
        contract,
        reference,
        new,
        predicted,
        tie=tie,
        level_less=lambda share: level.of(WEIGHTS["less"] * share, one_sided=True),
        level_more=lambda share: level.of(WEIGHTS["more"] * share, one_sided=True),
        least=rules.least_change,
        size=(champion.size(reference), champion.size(new)) if champion.sizes else None,
    )
    before = _out_of_sample(champion, fitted)
    scales = [np.ones(len(p)) if champion.spread is None else champion.spread.scale(p) for p in predicted]
    told = np.isfinite(before)
    sides = _Sides(before[told], now, scales[0][told], scales[1], _left(found, before, now, scales), tie)
    errors, held = _errors(champion, sides, predicted[1], level, rules)
    relation = None if found is None else found.relation
    return errors, relation, [*_relation_tests(relation, level, rules.least_change * errors.mae_before), *held]


@dataclass(frozen=True)
class _Sides:
    """Errors at evaluation and on new rows, what the spread expects of each, and what each side's own line leaves of it."""

    before: Vector
    now: Vector
    scale_before: Vector
    scale_now: Vector
    left: tuple[Vector, Vector]
    tie: float


def _left(found: Moved | None, before: Vector, now: Vector, scales: Sequence[Vector]) -> tuple[Vector, Vector]:
    """Residuals of each side's own line in units of the spread, so that a moved line is not taken for more scatter."""
    sides = (before, now) if found is None else (found.left_before, found.left_now)
    a, b = (s / scale for s, scale in zip(sides, scales, strict=True))
    return a[np.isfinite(a)], b


def _relation_tests(relation: Relation | None, level: _Level, least: float) -> Iterator[Held]:
    """Each slope by itself, and level and slopes together; both lines must lie ``least`` apart, in the target's unit."""
    if relation is None:
        return
    for s in relation.slopes:
        share = 1 / len(relation.slopes)
        name = "less" if s.p_less < s.p_more else "more"
        at, p = level.of(WEIGHTS[name] * share, one_sided=True), min(s.p_less, s.p_more)
        yield Held(name, f"{s.name} brings {name}", p, at, s.found, _slope_sentence(s, relation, p))
    at = level.of(WEIGHTS["relation"])
    found = relation.wald_p <= at and relation.shift >= least
    sentence = (
        f"Level and slopes together are {'other than before' if found else 'about what they were'} "
        f"(Wald F = {words.number(relation.wald_f, 3)} with HC3, {words.p_value(relation.wald_p)}; "
        f"Chow F = {words.number(relation.chow_f, 3)}, {words.p_value(relation.chow_p)})."
    )
    yield Held("relation", "Level and slopes moved", relation.wald_p, at, found, sentence)


def _slope_sentence(s: SlopeChange, relation: Relation, p: float) -> str:
    """What a slope's test found; where another term explains it better, that one."""
    others = [t.name or "the level" for t in (relation.level, *relation.slopes) if t.named]
    if s.found and not s.named and others:
        explain = "explains" if len(others) == 1 else "explain"
        return f"{s.name} alone would explain what moved ({words.p_value(p)}), but {words.listing(others)} {explain} it better."
    return s.sentence


def _predict(champion: Champion, frame: pd.DataFrame) -> Vector:
    """Predicted sales, in the target's unit."""
    names = champion.contract.features if champion.reads is None else champion.reads.names
    return np.asarray(champion.predict(frame[list(names)]), dtype=float).reshape(len(frame))


def _tie(contract: Contract, frame: pd.DataFrame, errors: Vector) -> float:
    """How many rows in a row of time are worth one, by the correlation of neighbouring errors."""
    return dependence(contract, frame.assign(**{contract.target: errors}), contract.target)


def _out_of_sample(champion: Champion, fitted: Vector) -> Vector:
    """The errors handed in, or those of leaving each row out of a straight line: ``e / (1 - h)``."""
    if champion.errors is not None:
        given = np.asarray(champion.errors, dtype=float)
        if given.shape != (len(champion.reference),):
            raise ConfigError(
                f"errors has shape {given.shape}; give an error for each of the {len(champion.reference)} reference rows."
            )
        if np.isfinite(given).sum() >= 2:
            return given
    q, _ = np.linalg.qr(_design(champion.reference, list(champion.contract.features)))
    return np.asarray(fitted / np.maximum(1 - (q**2).sum(axis=1), 1e-9))


def _design(frame: pd.DataFrame, names: Sequence[str]) -> Vector:
    return np.column_stack([np.ones(len(frame)), frame[list(names)].to_numpy(dtype=float)])


def _welch(before: Vector, now: Vector, tie: float) -> tuple[float, float]:
    """Welch's t of ``now`` against ``before`` and its degrees of freedom, variances times ``tie``."""
    a, b = before.var(ddof=1) / len(before), now.var(ddof=1) / len(now)
    if a + b == 0:
        return 0.0 if now.mean() == before.mean() else math.copysign(math.inf, now.mean() - before.mean()), 1.0
    degrees = (a + b) ** 2 / (a**2 / (len(before) - 1) + b**2 / (len(now) - 1))
    return float((now.mean() - before.mean()) / math.sqrt((a + b) * tie)), float(degrees)


def _errors(
    champion: Champion, sides: _Sides, predicted: Vector, level: _Level, rules: WatchRules
) -> tuple[Errors, list[Held]]:
    """Size, bias, coverage and spread of the errors, and their tests."""
    unit = champion.contract[champion.contract.target].unit
    before, now, tie = sides.before, sides.now, sides.tie
    size = [float(np.abs(e).mean()) for e in (before, now)]
    ratio = size[1] / size[0] if size[0] else math.inf if size[1] else 1.0
    low, high = _ratio_interval(np.abs(before), np.abs(now), rules)
    reach = float(stats.t.ppf((1 + INTERVAL) / 2, len(now) - 1)) * float(now.std(ddof=1)) * math.sqrt(tie / len(now))
    bias = float(now.mean())
    covered = _coverage(champion.spread, predicted, now)
    deviation = [float(v.std(ddof=1)) for v in sides.left]
    errors = Errors(
        rows_before=len(before),
        rows_now=len(now),
        mae_before=size[0],
        mae_now=size[1],
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        expected_ratio=float(sides.scale_now.mean() / sides.scale_before.mean()),
        bias=bias,
        bias_low=bias - reach,
        bias_high=bias + reach,
        bias_before=float(before.mean()),
        coverage=covered,
        spread_ratio=deviation[1] / deviation[0] if deviation[0] else math.inf,
    )
    held = [_size_test(errors, sides, unit, level, rules), _bias_test(errors, sides, unit, level, rules)]
    if covered is not None and champion.spread is not None:
        held.append(_coverage_test(covered, champion.spread, tie, level))
    return errors, [*held, _spread_test(errors, sides, level, rules)]


def _size_test(errors: Errors, sides: _Sides, unit: str, level: _Level, rules: WatchRules) -> Held:
    """Welch's test of the roots of absolute errors, which are nearly symmetric, each in units of the spread of its row."""
    roots = [np.sqrt(np.abs(e) / s) for e, s in ((sides.before, sides.scale_before), (sides.now, sides.scale_now))]
    t, degrees = _welch(roots[0], roots[1], _of_squares(sides.tie))
    p, at = float(stats.t.sf(t, degrees)), level.of(WEIGHTS["errors"], one_sided=True)
    sentence = (
        f"The mean absolute error is {words.number(errors.mae_now, 3)}{_of(unit)} on {words.count(errors.rows_now, 'new row')} "
        f"against {words.number(errors.mae_before, 3)} at evaluation, {words.number(errors.ratio, 3)} times as large "
        f"(95 % interval {_ends(errors.ratio_low, errors.ratio_high)}; {words.p_value(p)})."
    )
    return Held("errors", "Errors are larger", p, at, bool(p <= at and errors.ratio >= rules.mae_ratio), sentence)


def _bias_test(errors: Errors, sides: _Sides, unit: str, level: _Level, rules: WatchRules) -> Held:
    t, degrees = _welch(sides.before, sides.now, sides.tie)
    p, at = 2 * float(stats.t.sf(abs(t), degrees)), level.of(WEIGHTS["bias"])
    found = p <= at and abs(errors.bias) >= rules.least_change * errors.mae_before
    sentence = (
        f"On average {words.number(abs(errors.bias), 3)}{_of(unit)} {'more' if errors.bias > 0 else 'less'} is sold than "
        f"predicted (95 % interval of the mean error {_ends(errors.bias_low, errors.bias_high)}; {words.p_value(p)})."
    )
    return Held("bias", "Predictions are off on average", p, at, found, sentence)


def _spread_test(errors: Errors, sides: _Sides, level: _Level, rules: WatchRules) -> Held:
    """Brown and Forsythe's (1974) test of spread around the median, one-sided, of what each side's own line leaves."""
    a, b = sides.left
    sizes = [np.abs(v - np.median(v)) for v in (a, b)]
    t = float(stats.ttest_ind(sizes[1], sizes[0]).statistic) / math.sqrt(_of_squares(sides.tie))
    p, at = float(stats.t.sf(t, len(a) + len(b) - 2)), level.of(WEIGHTS["spread"], one_sided=True)
    sentence = (
        f"Sales scatter {words.number(errors.spread_ratio, 3)} times as much around the relation as before (standard "
        f"deviation; Brown-Forsythe {words.p_value(p)})."
    )
    return Held("spread", "Sales scatter more", p, at, p <= at and errors.spread_ratio >= 1 + rules.least_change, sentence)


def _of(unit: str) -> str:
    return f" {unit}" if unit else ""


def _ends(low: float, high: float) -> str:
    return f"{words.number(low, 3)} to {words.number(high, 3)}"


def _of_squares(tie: float) -> float:
    """The factor for absolute or squared errors: their correlation is about the square of the errors' own."""
    r = (tie - 1) / (tie + 1)
    return (1 + r**2) / (1 - r**2)


def _ratio_interval(before: Vector, now: Vector, rules: WatchRules) -> tuple[float, float]:
    """Percentile bootstrap of the ratio of two means, each side resampled by itself."""
    rng = np.random.default_rng(rules.seed)
    means = [_resampled(v, rng, rules.resamples) for v in (before, now)]
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.quantile(means[1] / means[0], [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    return float(low), float(high)


def _resampled(values: Vector, rng: np.random.Generator, resamples: int) -> Vector:
    """Means of resamples; of many rows their normal distribution, which they then have to many digits."""
    if len(values) > MANY_ROWS:
        return rng.normal(values.mean(), values.std() / math.sqrt(len(values)), resamples)
    return np.asarray(values[rng.integers(0, len(values), (resamples, len(values)))].mean(axis=1))


def _coverage(spread: Spread | None, predicted: Vector, errors: Vector) -> Coverage | None:
    """Share of new rows inside their 90 % interval, with its exact interval."""
    if spread is None or spread.highest_level < COVERED:
        return None
    low, high = spread.interval(predicted, COVERED)
    inside = int((np.abs(errors) <= (high - low) / 2).sum())
    low_share, high_share = _exact(inside, len(errors))
    return Coverage(COVERED, inside / len(errors), len(errors), float((high - low).mean()), inside, low_share, high_share)


def _exact(inside: int, rows: int) -> tuple[float, float]:
    """The exact 95 % interval of a share (Clopper and Pearson 1934), by the quantiles of the beta distribution."""
    tail = (1 - INTERVAL) / 2
    low = float(stats.beta.ppf(tail, inside, rows - inside + 1)) if inside else 0.0
    high = float(stats.beta.isf(tail, inside + 1, rows - inside)) if inside < rows else 1.0
    return low, high


def _coverage_test(covered: Coverage, spread: Spread, tie: float, level: _Level) -> Held:
    """The exact test of the number inside: of m new rows it is beta-binomial with ``(r, n + 1 - r)`` for the r-th of n scores.

    A binomial would leave out that the interval was itself calibrated on rows drawn by chance (Vovk 2012, section 3).
    """
    n = len(spread.scores)
    rank = math.ceil((n + 1) * COVERED)
    worth = max(round(covered.rows / tie), 1)
    p = float(stats.betabinom.cdf(round(covered.inside * worth / covered.rows), worth, rank, n + 1 - rank))
    at = level.of(WEIGHTS["coverage"], one_sided=True)
    sentence = (
        f"The 90 % intervals held {covered.inside} of {words.count(covered.rows, 'new row')}, "
        f"{words.percent(covered.measured)} (95 % interval {words.percent(covered.low)} to {words.percent(covered.high)}; "
        f"{words.p_value(p)})."
    )
    return Held("coverage", "Intervals hold too few rows", p, at, p <= at, sentence)


# --- the range fitted


def _range(champion: Champion, new: pd.DataFrame, known: NDArray[np.bool_], level: _Level, rules: WatchRules) -> Iterator[Held]:
    """Rows outside the range fitted, feature by feature.

    Of m new rows like n old ones the number outside the old range is beta-binomial with ``(2, n - 1)``: the share outside the
    lowest and the highest of n is Beta(2, n - 1) (Wilks 1941).
    """
    features = champion.contract.features
    at = level.of(WEIGHTS["range"] / len(features), one_sided=True)
    for name in features if len(new) else ():
        before, values = (champion.measured(frame, name) for frame in (champion.reference, new))
        low, high = float(before.min()), float(before.max())
        outside = (values < low) | (values > high)
        count, tie = int(outside.sum()), dependence(champion.contract, champion.reference, name)
        n, m, beyond = (round(v / tie) for v in (len(champion.reference), len(new), count))
        p = float(stats.betabinom.sf(beyond - 1, max(m, 1), 2, max(n - 1, 1)))
        found = p <= at and count / len(new) > rules.beyond
        unit = champion.contract[name].unit
        fit = "" if known[outside].any() else " Their sales are not known, so a new fit would not learn from them."
        sized = " for the size of the market" if champion.sizes and name in champion.contract.channels else ""
        ends = f"{words.span(low, high)}{_of(unit)}: {words.span(float(values.min()), float(values.max()))}"
        sentence = (
            f"{words.count(count, 'row')} of {len(new):,} {'has' if count == 1 else 'have'} {name} outside the range fitted"
            f"{sized}, {ends}.{fit if count else ''}"
        )
        yield Held("range", f"{name} lies beyond the range fitted", p, at, bool(found), sentence)


# --- verdict

CODE = {
    "relation": "W014", "errors": "W015", "bias": "W016", "coverage": "W017",
    "spread": "W018", "range": "W012",
}  # fmt: skip
ADVICE = {
    "W012": "Beyond the range nothing was seen; let the model see these rows before its answers there are used.",
    "W014": "Fit again on old and new rows; ask what changed in the market or the campaign.",
    "W015": "Fit again on old and new rows, and see which rows err most.",
    "W016": "Fit again; ask what moved all sales: season, price, a competitor.",
    "W017": "Do not rely on the intervals until they are calibrated again.",
    "W018": "Calibrate the intervals again; ask what disturbs sales.",
}


def _told(tests: Sequence[Held], relation: Relation | None) -> list[tuple[str, str]]:
    """What was found, as pairs of the group and the sentence: for the relation the fewest terms that explain it."""
    found = [(GROUP.get(t.name, t.name), t.sentence) for t in tests if t.found]
    terms = () if relation is None else (relation.level, *relation.slopes)
    named = [("relation", t.sentence) for t in sorted(terms, key=lambda t: min(t.p_less, t.p_more)) if t.named]
    if not named or "relation" not in {group for group, _ in found}:
        return found
    return [*named, *(f for f in found if f[0] != "relation")]


def _found(told: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    yield from (Finding(CODE[group], "review", sentence, ADVICE[CODE[group]]) for group, sentence in told)


def _unknown_sales(contract: Contract, sizes: Sizes, rules: WatchRules) -> Finding:
    how = (
        f"{contract.target} is not known for any new row"
        if not sizes.with_sales
        else f"{contract.target} is known for {words.count(sizes.with_sales, 'new row')} only; {rules.min_rows} are needed"
    )
    return Finding(
        "W019",
        "note",
        f"{how}, so it cannot be told whether the model still predicts right.",
        "Watch again when sales are known: of what was spent alone nothing can be learnt about what it brought.",
    )


def _verdict(
    arrived: Arrivals, told: Sequence[tuple[str, str]], tested: bool, known_outside: bool, sizes: Sizes, rules: WatchRules
) -> tuple[Literal["keep", "retrain", "stop"], tuple[str, ...]]:
    broken = [f.message for f in arrived.findings if f.severity == "stop" and f.code in rules.stop_on]
    if broken:
        return "stop", tuple(broken)
    leading = [sentence for group, sentence in told if group in rules.retrain_on and (group != "range" or known_outside)]
    if leading:
        return "retrain", tuple(leading)
    return "keep", tuple(_keep([sentence for _, sentence in told], tested, sizes))


def _known_outside(champion: Champion, new: pd.DataFrame) -> bool:
    """Whether rows outside the range fitted have known sales, so that a new fit would learn from them."""
    before = champion.reference
    return any(
        bool(((new[n] < before[n].min()) | (new[n] > before[n].max())).any()) for n in champion.contract.features if n in new
    )


def _keep(aside: Sequence[str], tested: bool, sizes: Sizes) -> Iterator[str]:
    if sizes.file > sizes.new + sizes.repeated + sizes.revised + sizes.bad + sizes.unknown_market:
        yield "Nothing was compared: the file is not the table that the model stood on, though by the rules that is no stop."
    elif sizes.new == 0:
        yield f"There is no new row to look at{' of a market that the model knows' if sizes.unknown_market else ''}."
    elif sizes.with_sales == 0:
        yield f"Sales are not known for the {words.count(sizes.new, 'new row')}; nothing keeps them from being scored."
    elif not tested:
        are = "is" if sizes.with_sales == 1 else "are"
        yield f"{words.count(sizes.with_sales, 'row')} with known sales {are} too few to tell whether anything moved."
    elif not aside:
        yield f"Nothing moved by more than chance in {words.count(sizes.with_sales, 'new row')} with known sales."
    yield from (f"Found, but no reason for a new fit by the rules: {sentence}" for sentence in aside)


def _sentence(verdict: str, reasons: Sequence[str]) -> str:
    said = {
        "stop": "Stop: the data is not fit to be scored.",
        "retrain": "Retrain: the champion no longer fits the new rows.",
        "keep": "Keep: the champion stays.",
    }[verdict]
    more = f" And {words.count(len(reasons) - 1, 'more reason')}." if len(reasons) > 1 else ""
    return f"{said} {reasons[0]}{more}"
