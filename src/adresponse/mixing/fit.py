"""What did each channel bring, and how sure is that? From a table to responses, contributions and their draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline

from adresponse.baseline import Baseline
from adresponse.curved import Curves, History
from adresponse.curves import CarryOverKind, Response, Shape, carry_over_weights, each_row, saturate, saturation_slope
from adresponse.errors import ConfigError, ModelError
from adresponse.folding import Fold, Folding
from adresponse.mixing import projection
from adresponse.mixing.projection import Parameter
from adresponse.mixing.regressor import MixRegressor
from adresponse.mixing.shapes import SIMPLEST_FIRST, ShapeScore, compare_shapes, information_behind
from adresponse.periods import Calendar

__all__ = ["ChannelAnswer", "MixDraws", "MixFit", "MixSpec", "Vague", "curves_of", "drawn_curves", "fit_mix"]

Vector = NDArray[np.float64]
Sizes = Literal["auto", "equal", "sales"] | Mapping[str, float]
TELLS_NOTHING = 0.8
"""Spread of a parameter's draws over its typical spread, from which on the data say next to nothing about it."""


@dataclass(frozen=True)
class MixSpec:
    """What is to be fitted.

    Parameters
    ----------
    channels, controls : tuple of str
        Columns.
    date, market : str, optional
        Columns.
    shape : Shape or "auto"
        The curve of all channels; ``auto`` compares them (see ``shapes``).
    carry_over : CarryOverKind, optional
        By default ``geometric`` where there is a date, else ``none``.
    window : int, optional
        Periods that a spend works; by default those of a quarter of a year.
    normalise : bool
        Whether carry-over weights sum to 1.
    trend : bool
        Whether there is a trend, where there is a date.
    season : int, optional
        Fourier pairs of the year; by default what the length of the table allows.
    weekdays : bool
        Whether days of the week have levels of their own, in a daily table of at least eight weeks.
    free : tuple of str
        Channels whose coefficient may be negative.
    known : dict of str to (float, float)
        Sales per unit of spend that an experiment found for a channel, and their standard error (a known lift).
    draws : int
        Draws for intervals.
    across : bool
        Whether after ``auto`` they come in equal parts from every plausible curve (see ``ShapeScore``), and not from the one
        chosen alone.
    starts, folds, seed : int
        Starts of the search, folds of ``auto``, and the seed of both and of the draws.
    sizes : {"auto", "equal", "sales"} or mapping of str to float
        How large the markets are beside each other (see ``MixRegressor``); ``auto`` takes the likelier of equal ones and of
        ones as large as their mean sales.
    """

    channels: tuple[str, ...]
    controls: tuple[str, ...] = ()
    date: str | None = None
    market: str | None = None
    shape: Shape | Literal["auto"] = "hill"
    carry_over: CarryOverKind | None = None
    window: int | None = None
    normalise: bool = True
    trend: bool = True
    season: int | None = None
    weekdays: bool = True
    free: tuple[str, ...] = ()
    known: dict[str, tuple[float, float]] = field(default_factory=dict)
    draws: int = 200
    across: bool = True
    starts: int = 3
    folds: int = 5
    seed: int = 42
    sizes: Sizes = "auto"

    def __post_init__(self) -> None:
        if not self.channels:
            raise ConfigError("A mix has at least one channel; name them with channels.")
        if self.draws < 2:
            raise ConfigError(f"draws={self.draws} must be at least 2; 200 give intervals.")
        stray = [c for c in self.free if c not in self.channels]
        if stray:
            raise ConfigError(f"free={stray[0]!r} is no channel; use one of {', '.join(self.channels)}.")

        if self.market is None and self.sizes not in ("auto", "equal"):
            raise ConfigError(
                "sizes is of markets, and no column is named as the market; name it with market, or leave sizes out."
            )
        for name, (roi, error) in self.known.items():
            if name not in self.channels:
                raise ConfigError(f"known={name!r} is no channel; use one of {', '.join(self.channels)}.")
            if not (math.isfinite(roi) and math.isfinite(error) and error > 0):
                raise ConfigError(
                    f"The lift of {name} is {roi:g} with a standard error of {error:g}; give finite numbers, the error above 0."
                )

    def regressor(self, shape: Shape, starts: int | None = None) -> MixRegressor:
        """The unfitted model with a curve."""
        return MixRegressor(
            self.channels,
            self.controls,
            self.date,
            self.market,
            shape=shape,
            carry_over=self.carry_over,
            window=self.window,
            normalise=self.normalise,
            trend=self.trend,
            season=self.season,
            weekdays=self.weekdays,
            free=self.free,
            known=self.known,
            starts=starts or self.starts,
            seed=self.seed,
            sizes="equal" if self.sizes == "auto" else self.sizes,
        )


@dataclass(frozen=True)
class Vague:
    """A parameter that the data say next to nothing about: its draws spread as widely as typical values do.

    ``spread`` is that of its draws over the typical one: near 1, the likelihood is flat along it.
    """

    channel: str
    parameter: Parameter
    spread: float

    @property
    def sentence(self) -> str:
        """For a finding."""
        means = {"decay": "carry-over", "delay": "delay", "half": "half-saturation point", "slope": "slope"}
        return f"The table does not tell the {means[self.parameter]} of {self.channel}; typical values stand in for it."


@dataclass(frozen=True)
class ChannelAnswer:
    """What one channel brought over the rows fitted, with an interval for each figure.

    ``total`` is in the target's unit, ``share`` in shares of the sales fitted, ``roi`` in sales per unit of spend, and
    ``marginal_roi`` the same for a little more of every spend: the derivative of the total by a common factor of all spend,
    over the spend.
    """

    channel: str
    spend: float
    total: float
    low: float
    high: float
    share: float
    roi: float
    roi_low: float
    roi_high: float
    marginal_roi: float
    marginal_roi_low: float
    marginal_roi_high: float


@dataclass(frozen=True, eq=False)
class MixDraws:
    """Draws of all parameters; each row is one model that the data allow. In the units of the table.

    Parameters
    ----------
    shapes : tuple of Shape
        The curve of each draw: one for all, but after ``auto`` several (see ``MixSpec.across``).
    decay, delay, half, slope, coefficient : ndarray of shape (n_draws, n_channels)
        As ``Response`` and ``carry_over_weights`` take them.
    weights : ndarray of shape (n_draws, n_channels, window)
        Carry-over, lag 0 first.
    base : ndarray of shape (n_draws, n_base)
        Coefficients of the intercept and of ``MixFit.base_names``.
    totals : ndarray of shape (n_draws, n_channels)
        Contribution of each channel over the rows fitted.
    lifts : ndarray of shape (n_draws, n_channels)
        Derivative of the total by a common factor of all of the channel's spend.
    noise : ndarray of shape (n_draws,)
        Standard deviation of a row around its expectation.
    """

    shapes: tuple[Shape, ...]
    decay: Vector
    delay: Vector
    half: Vector
    slope: Vector
    coefficient: Vector
    weights: Vector
    base: Vector
    totals: Vector
    lifts: Vector
    noise: Vector

    def response(self, draw: int, channel: int, name: str) -> Response:
        """One draw of one channel's response."""
        half, slope, coefficient = (float(v[draw, channel]) for v in (self.half, self.slope, self.coefficient))
        weights = tuple(float(w) for w in self.weights[draw, channel])
        return Response(name, self.shapes[draw], half, slope, coefficient, weights)

    def steady(self, channel: int, spend: ArrayLike) -> Vector:
        """``Response.steady`` of a channel for each draw, shape (n_draws, n_spends)."""
        return self._along(channel, spend, saturate)

    def marginal(self, channel: int, spend: ArrayLike) -> Vector:
        """``Response.marginal`` of a channel for each draw, shape (n_draws, n_spends)."""
        reach = self.weights[:, channel].sum(axis=1)[:, None]
        return np.asarray(reach * self._along(channel, spend, saturation_slope))

    def _along(self, channel: int, spend: ArrayLike, curve: Callable[..., Vector]) -> Vector:
        reach = self.weights[:, channel].sum(axis=1)[:, None]
        carried = np.asarray(reach * np.asarray(spend, dtype=float)[None])
        half, slope, coefficient = (v[:, channel : channel + 1] for v in (self.half, self.slope, self.coefficient))
        found = each_row(curve, self.shapes, carried, half, slope)
        return np.where(coefficient == 0, 0.0, coefficient * found)


@dataclass(frozen=True, eq=False)
class MixFit:
    """A fitted mix: the pipeline that predicts, the same as numbers, and what follows for the rows fitted.

    Sales of a row are ``baseline.sales(...)`` plus ``responses[c].sales(...)`` of each channel, in this order. Where markets
    differ in size (``model.sizes_``), baseline, responses, means, draws and noise are those of a market of size 1.

    Parameters
    ----------
    spec : MixSpec
        With the shape found.
    model : MixRegressor
        Fitted; ``model.pipeline_`` is the scikit-learn pipeline.
    responses : tuple of Response
        One for each channel.
    baseline : Baseline
    base_names : tuple of str
        Columns of the design beside the channels, the intercept left out.
    calendar : Calendar or None
    means : ndarray of shape (n_channels,)
        Mean spend of a row, which stands for spend that is not known.
    base : ndarray of shape (n_rows,)
        Sales that no channel brought, in the target's unit.
    contributions : DataFrame of shape (n_rows, n_channels)
        What each channel brought, with the index of the rows.
    fitted : ndarray of shape (n_rows,)
        ``base`` plus the contributions, summed in their order.
    answers : tuple of ChannelAnswer
        At 90 %.
    draws : MixDraws
    vague : tuple of Vague
        What the data do not tell.
    scores : tuple of ShapeScore
        The comparison of shapes; empty where none was asked for.
    r2 : float
        Of the rows fitted.
    noise : float
        Residual standard deviation, over the rows less the parameters that the data decide; in the target's unit.
    memory : float
        Correlation of residuals with those of the period before, at least 0; intervals are wider for it.
    """

    spec: MixSpec
    model: MixRegressor
    responses: tuple[Response, ...]
    baseline: Baseline
    base_names: tuple[str, ...]
    calendar: Calendar | None
    means: Vector
    base: Vector
    contributions: pd.DataFrame
    fitted: Vector
    answers: tuple[ChannelAnswer, ...]
    draws: MixDraws
    vague: tuple[Vague, ...]
    scores: tuple[ShapeScore, ...]
    r2: float
    noise: float
    memory: float

    @property
    def pipeline(self) -> Pipeline:
        """The fitted scikit-learn pipeline."""
        return self.model.pipeline_

    @property
    def contributions_by_channel(self) -> dict[str, dict[str, float]]:
        """What each channel brought over the rows fitted, with intervals of 90 %, as plain values."""
        return {a.channel: {name: v for name, v in vars(a).items() if name != "channel"} for a in self.answers}

    @property
    def shape_found(self) -> dict[str, Any]:
        """Which curve and carry-over, each channel's parameters, and how the curves compared, as plain values."""
        return {
            "shape": self.model.shape,
            "carry_over": self.model.problem_.kind,
            "sizes": dict(self.model.sizes_),
            "channels": {
                r.channel: {"half": r.half, "slope": r.slope, "coefficient": r.coefficient, "weights": list(r.weights)}
                for r in self.responses
            },
            "compared": [{"shape": s.shape, "rmse": s.rmse, "behind": s.behind, "chosen": s.chosen} for s in self.scores],
            "not_told": [{"channel": v.channel, "parameter": v.parameter} for v in self.vague],
        }


def fit_mix(X: pd.DataFrame, y: ArrayLike, spec: MixSpec) -> MixFit:
    """Fit what each channel brings, with draws for intervals.

    Parameters
    ----------
    X : DataFrame of shape (n_rows, n_columns)
        Channels >= 0, controls, date and market.
    y : array-like of shape (n_rows,)
        Sales.
    spec : MixSpec
        What is to be fitted.

    Raises
    ------
    ModelError
        If a channel was never spent on, or the columns do not allow it (see ``MixRegressor.fit``).
    """
    sales = np.asarray(y, dtype=float)
    if idle := [c for c in spec.channels if c in X.columns and X[c].max() <= 0]:
        raise ModelError(f"Nothing was ever spent on {idle[0]!r}; leave it out of the channels.")
    scores: tuple[ShapeScore, ...] = ()
    wanted = SIMPLEST_FIRST if spec.shape == "auto" else (spec.shape,)
    first = _of_likelier_sizes(X, sales, spec, wanted[-1])
    spec = replace(spec, sizes=first.sizes)
    each = {shape: first if shape == first.shape else spec.regressor(shape).fit(X, sales) for shape in wanted}
    if spec.shape == "auto":
        scores = compare_shapes(lambda s: spec.regressor(s, starts=1), X, sales, _folds(X, spec), information_behind(each))
        spec = replace(spec, shape=next(s.shape for s in scores if s.chosen))
    assert spec.shape != "auto"  # noqa: S101  a shape was chosen
    model = each[spec.shape]
    models = [model, *(each[s.shape] for s in scores if spec.across and s.plausible and not s.chosen)]
    design = dict(model.pipeline_["design"].transformer_list)
    carry, regress = design["media"]["carry"], model.pipeline_["regress"]
    n = len(spec.channels)
    size, inputs = model.size(X), model.per_size(X)
    carried = design["media"]["carry"].transform(inputs)
    parts = design["media"].transform(inputs) * regress.coef_[:n] * size[:, None]
    base = (regress.intercept_ + design["base"].transform(X) @ regress.coef_[n:]) * size
    fitted = base.copy()
    for column in parts.T:
        fitted = fitted + column
    responses = _responses(model, spec.shape)
    shares = _parts(spec.draws, len(models))
    drawn = [projection.draw(m.problem_, m.found_, k, spec.seed) for m, k in zip(models, shares, strict=True)]
    draws = _joined([_draws(m, d, size) for m, d in zip(models, drawn, strict=True)])
    spend = X[list(spec.channels)].to_numpy(dtype=float).sum(axis=0)
    return MixFit(
        spec=spec,
        model=model,
        responses=responses,
        baseline=_baseline(model),
        base_names=tuple(str(name) for name in design["base"].get_feature_names_out()),
        calendar=carry.calendar_,
        means=carry.means_,
        base=base,
        contributions=pd.DataFrame(parts, columns=list(spec.channels), index=X.index),
        fitted=fitted,
        answers=_answers(responses, carried, size, parts.sum(axis=0), spend, draws, float(fitted.sum())),
        draws=draws,
        vague=_vague(model, drawn[0].theta),
        scores=scores,
        r2=_r2(sales, fitted),
        noise=model.found_.noise * model.sales_mean_,
        memory=model.found_.memory,
    )


def _of_likelier_sizes(X: pd.DataFrame, sales: Vector, spec: MixSpec, shape: Shape) -> MixRegressor:
    """The model fitted with the sizes asked for, or, where they are left open, with those that all rows support better.

    Both have equally many parameters, so that Akaike's criterion compares their likelihoods.
    """
    equal = spec.regressor(shape).fit(X, sales)
    if spec.sizes != "auto" or spec.market is None:
        return equal
    means = pd.Series(sales).groupby(X[spec.market].to_numpy().astype(str)).mean()
    if len(means) == 1 or means.min() <= 0:
        return equal
    both = {"equal": equal, "sales": replace(spec, sizes="sales").regressor(shape).fit(X, sales)}
    behind = information_behind(both)
    return both[min(behind, key=behind.__getitem__)]


def _folds(X: pd.DataFrame, spec: MixSpec) -> list[Fold]:
    periods = None if spec.date is None else Calendar.of(X[spec.date]).period(X[spec.date])
    markets = None if spec.market is None else X[spec.market].to_numpy().astype(str)
    return Folding(spec.folds, repeats=1, seed=spec.seed, periods=periods, markets=markets).searching(len(X))


def _responses(model: MixRegressor, shape: Shape) -> tuple[Response, ...]:
    """The pipeline's numbers in the table's units: the scale goes into ``half``, or into a straight line's coefficient."""
    media = dict(model.pipeline_["design"].transformer_list)["media"]
    scale, weights = media["scale"].scale_, media["carry"].weights()
    found = []
    for i, channel in enumerate(model.channels_):
        half, slope = media["saturate"].half[i] * scale[i], media["saturate"].slope[i]
        coefficient = model.pipeline_["regress"].coef_[i] / (scale[i] if shape == "linear" else 1.0)
        found.append(Response(channel, shape, float(half), float(slope), float(coefficient), weights[i]))
    return tuple(found)


def _baseline(model: MixRegressor, coefficients: Vector | None = None) -> Baseline:
    """The base as numbers: the model's own, or those of a draw (the intercept, then the columns beside the channels)."""
    base, regress = dict(model.pipeline_["design"].transformer_list)["base"], model.pipeline_["regress"]
    own = np.concatenate([[regress.intercept_], regress.coef_[len(model.channels_) :]])
    numbers = iter(float(v) for v in (own if coefficients is None else coefficients))
    dated = base.calendar_ is not None
    return Baseline(
        intercept=next(numbers),
        trend=next(numbers) if dated and base.trend else 0.0,
        season=tuple(next(numbers) for _ in range(2 * base.season if dated else 0)),
        weekdays=_levels(base.days_, numbers) if base.weekdays else (),
        controls={name: next(numbers) for name in base.controls},
        markets={name: next(numbers) if i else 0.0 for i, name in enumerate(base.markets_)},
        calendar=base.calendar_,
        span=base.span_,
    )


def _levels(week: tuple[int, ...], numbers: Iterator[float]) -> tuple[float, ...]:
    """Of each day of the week, Monday first; that of the first one that comes is 0, as are those of days that never do."""
    found = [0.0] * 7
    for day in week[1:]:
        found[day] = next(numbers)
    return tuple(found)


def curves_of(model: MixRegressor) -> Curves:
    """A fitted model as numbers, in the table's units."""
    media = dict(model.pipeline_["design"].transformer_list)["media"]
    carry = media["carry"]
    history = None
    if carry.reach > 1:
        spend = {m: tuple(tuple(float(v) for v in row) for row in rows) for m, rows in carry.history_.items()}
        history = History(carry.last_, tuple(float(m) for m in carry.means_), spend)
    return Curves(_baseline(model), _responses(model, model.shape), history, dict(model.sizes_))


def drawn_curves(fit: MixFit) -> tuple[Curves, ...]:
    """Each draw of a fit as a model of its own; without history, which is that of the fit."""
    names = fit.spec.channels
    return tuple(
        Curves(
            _baseline(fit.model, coefficients),
            tuple(fit.draws.response(draw, c, name) for c, name in enumerate(names)),
            sizes=dict(fit.model.sizes_),
        )
        for draw, coefficients in enumerate(fit.draws.base)
    )


def _parts(whole: int, parts: int) -> list[int]:
    """Equal parts of a whole, the first one taking what is left."""
    return [whole // parts + (whole % parts if i == 0 else 0) for i in range(parts)]


def _joined(parts: Sequence[MixDraws]) -> MixDraws:
    arrays = {f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(MixDraws) if f.name != "shapes"}
    return MixDraws(shapes=tuple(s for p in parts for s in p.shapes), **arrays)


def _draws(model: MixRegressor, drawn: projection.Draws, size: Vector) -> MixDraws:
    problem, shape = model.problem_, model.problem_.shape
    values = model.natural(drawn.theta)
    decay, delay, half, slope = (values[k] for k in ("decay", "delay", "half", "slope"))
    window = problem.lags.shape[2]
    kind: CarryOverKind = problem.kind if window > 1 else "none"
    weights = np.array(
        [
            [carry_over_weights(kind, a, d, window, model.normalise) for a, d in zip(*pair, strict=True)]
            for pair in zip(decay, delay, strict=True)
        ]
    )
    totals = drawn.shares * model.sales_mean_ * size.sum()
    coefficient, lifts = np.empty_like(totals), np.empty_like(totals)
    for c in range(problem.channels):
        carried = weights[:, c] @ (problem.lags[c] * model.spend_means_[c]).T
        bent = half[:, c : c + 1], slope[:, c : c + 1]
        coefficient[:, c] = totals[:, c] / (saturate(shape, carried, *bent) @ size)
        lifts[:, c] = coefficient[:, c] * (_lift(shape, carried, *bent) @ size)
    return MixDraws(
        shapes=(shape,) * len(decay),
        decay=decay,
        delay=delay,
        half=half,
        slope=slope,
        coefficient=coefficient,
        weights=weights,
        base=drawn.base * model.sales_mean_,
        totals=totals,
        lifts=lifts,
        noise=np.sqrt(drawn.variance / model.found_.dilution) * model.sales_mean_,
    )


def _lift(shape: Shape, carried: Vector, half: ArrayLike, slope: ArrayLike) -> Vector:
    """Derivative of the response by a factor of the spend: 0 where there is none, though a curve may start upright."""
    spent = np.where(carried > 0, carried, 1.0)
    return np.where(carried > 0, spent * saturation_slope(shape, spent, half, slope), 0.0)


def _answers(
    responses: Sequence[Response],
    carried: Vector,
    size: Vector,
    totals: Vector,
    spend: Vector,
    draws: MixDraws,
    sales: float,
) -> tuple[ChannelAnswer, ...]:
    ends = [5, 95]
    found = []
    for c, response in enumerate(responses):
        lift = response.coefficient * float(_lift(response.shape, carried[:, c], response.half, response.slope) @ size)
        low, high = _around(totals[c], np.percentile(draws.totals[:, c], ends))
        least, most = _around(lift, np.percentile(draws.lifts[:, c], ends))
        figures = [totals[c], low, high, totals[c] / sales]
        figures += [v / spend[c] for v in (totals[c], low, high, lift, least, most)]
        found.append(ChannelAnswer(response.channel, float(spend[c]), *(float(v) for v in figures)))
    return tuple(found)


def _r2(sales: Vector, fitted: Vector) -> float:
    spread = float(((sales - sales.mean()) ** 2).sum())
    return 1 - float(((sales - fitted) ** 2).sum()) / spread if spread > 0 else 0.0


def _around(value: float, ends: Vector) -> tuple[float, float]:
    """Interval with the value in it: where a sign holds a coefficient at 0, all draws lie to one side."""
    return min(float(ends[0]), value), max(float(ends[1]), value)


def _vague(model: MixRegressor, theta: Vector) -> tuple[Vague, ...]:
    if not theta.shape[1]:
        return ()
    spread = theta.std(axis=0).reshape(len(model.problem_.parameters), -1)
    return tuple(
        Vague(channel, parameter, float(spread[i, c]))
        for c, channel in enumerate(model.channels_)
        for i, parameter in enumerate(model.problem_.parameters)
        if spread[i, c] >= TELLS_NOTHING
    )
