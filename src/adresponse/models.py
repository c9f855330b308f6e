"""The models that are fitted, as scikit-learn pipelines, and their coefficients in the table's own units."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn.base import BaseEstimator, RegressorMixin, clone, is_regressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler

from adresponse import words
from adresponse.errors import ModelError
from adresponse.formula import Formula, Spread, Term
from adresponse.mixing.fit import curves_of
from adresponse.mixing.regressor import MixRegressor
from adresponse.schema import Contract

__all__ = ["Coefficient", "LinearFit", "MarketMean", "covariance_of", "formula_of", "linear", "linear_fit", "load_estimator"]

Vector = NDArray[np.float64]
FITTED_BY_ITSELF = 1 - 1e-8  # leverage at which a row alone decides a coefficient: HC3 divides by what is left


@dataclass(frozen=True)
class Coefficient:
    """One coefficient in the table's units, with classical and HC3 uncertainty (95 % intervals).

    Errors are NaN where a coefficient is held at zero by a sign constraint, and HC3 where one row alone decides one.
    """

    name: str
    estimate: float
    se: float
    t: float
    p: float
    low: float
    high: float
    se_hc3: float
    t_hc3: float
    p_hc3: float
    low_hc3: float
    high_hc3: float


@dataclass(frozen=True)
class LinearFit:
    """A least-squares fit in figures over the rows it was fitted on: ``coefficients`` has the intercept first.

    ``rse`` is the residual standard error (divided by ``df`` = rows - coefficients), in the target's unit.
    """

    coefficients: tuple[Coefficient, ...]
    rows: int
    df: int
    r2: float
    adjusted_r2: float
    rse: float
    formula: str
    sentence: str


def linear(scale: bool = True, **options: Any) -> Pipeline:
    """The plain response model: ``MinMaxScaler`` (or nothing), then ``LinearRegression`` with ``options``."""
    return Pipeline([("scale", MinMaxScaler() if scale else "passthrough"), ("regress", LinearRegression(**options))])


class MarketMean(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """What a market sells on average, whatever is spent: what a model of several markets is held against.

    ``X`` has one column, the market of each row; one that was not fitted gets the mean of all.
    """

    def fit(self, X: Any, y: Any) -> MarketMean:
        sold = pd.Series(np.asarray(y, dtype=float))
        self.mean_ = float(sold.mean())
        self.means_ = sold.groupby(np.ravel(X)).mean()
        return self

    def predict(self, X: Any) -> Vector:
        return pd.Series(np.ravel(X)).map(self.means_).fillna(self.mean_).to_numpy(dtype=float)


def load_estimator(path: str, seed: int = 42) -> Any:
    """A new estimator from its import path, e.g. ``sklearn.ensemble.HistGradientBoostingRegressor``, seeded.

    Raises
    ------
    ModelError
        If the path names no class, or the class is no scikit-learn compatible regressor that needs no arguments.
    """
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except AttributeError:
        raise ModelError(f"Challenger {path!r}: module {module!r} has no {name!r}; check the spelling.") from None
    except Exception as error:  # a module may raise anything while it is imported
        raise ModelError(f"Challenger {path!r} cannot be imported ({error}); give package.module.Class.") from error
    try:
        made = kind()
    except Exception as error:
        raise ModelError(f"Challenger {path!r} cannot be made without arguments ({error}).") from error
    try:
        clone(made)
    except TypeError:
        raise ModelError(f"Challenger {path!r} is no scikit-learn estimator; it lacks get_params.") from None
    if not is_regressor(made):
        raise ModelError(f"Challenger {path!r} is no regressor; name one that predicts a number.")
    unseeded = [k for k, v in made.get_params().items() if v is None and k.rpartition("__")[2] == "random_state"]
    return made.set_params(**dict.fromkeys(unseeded, seed))


def linear_fit(pipeline: Pipeline, X: pd.DataFrame, y: pd.Series[float], contract: Contract) -> LinearFit | None:
    """Coefficients of a fitted ``linear`` pipeline in the table's own units; None for any other estimator.

    The pipeline estimates ``beta`` on scaled columns ``z = x * s + m``. In the table's units the slopes are ``beta s``
    and the intercept is ``beta_0 + beta m``: one linear map ``A``, so the covariance is ``A V A'``. ``V`` is
    ``rse^2 (Z'Z)^-1`` classically, and ``(Z'Z)^-1 Z' diag(e^2 / (1 - h)^2) Z (Z'Z)^-1`` robustly (HC3; MacKinnon and
    White 1985); it is not known where a row decides a coefficient alone. Both use Student's t with ``df`` degrees of freedom.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted on ``X`` and ``y``.
    X : DataFrame of shape (n_rows, n_features)
        The rows fitted, in the table's units.
    y : Series of shape (n_rows,)
        The target of these rows.
    """
    if not _is_linear(pipeline):
        return None
    found = _uncertainty(pipeline, X, y)
    theta, residual, df, to_units = found.theta, found.residual, found.df, found.to_units
    se = np.sqrt(np.diag(to_units @ found.classical @ to_units.T))
    se_hc3 = np.sqrt(np.diag(to_units @ found.robust @ to_units.T))
    held = np.setdiff1d(np.arange(X.shape[1]), found.free) + 1
    se[held] = se_hc3[held] = math.nan
    observed = y.to_numpy()

    names = ("intercept", *contract.features)
    total = float(((observed - observed.mean()) ** 2).sum())
    r2 = 1 - float(residual @ residual) / total
    coefficients = tuple(_coefficient(*row, df) for row in zip(names, theta, se, se_hc3, strict=True))
    return LinearFit(
        coefficients=coefficients,
        rows=len(observed),
        df=df,
        r2=r2,
        adjusted_r2=1 - (1 - r2) * (len(observed) - 1) / df,
        rse=math.sqrt(float(residual @ residual) / df),
        formula=_formula(contract, coefficients),
        sentence=_in_words(contract, coefficients, r2, len(observed)),
    )


def covariance_of(pipeline: Pipeline, X: pd.DataFrame, y: pd.Series[float]) -> tuple[Vector, int] | None:
    """HC3 covariance of (intercept, slopes) in the table's units, and its degrees of freedom; None for any other estimator.

    Zero for what a sign constraint holds; see ``linear_fit``, whose robust errors are its diagonal.
    """
    if not _is_linear(pipeline):
        return None
    found = _uncertainty(pipeline, X, y)
    return found.to_units @ found.robust @ found.to_units.T, found.df


def formula_of(
    estimator: Any, rows: pd.DataFrame, contract: Contract, spread: Spread, about: dict[str, str], modules: tuple[str, ...] = ()
) -> Formula:
    """A fitted estimator as a formula: closed for a line and for a mix of curves, else one that leaves it to the estimator.

    Parameters
    ----------
    estimator : object
        Fitted on ``rows``.
    rows : DataFrame of shape (n_rows, n_columns)
        The rows fitted, with the contract's columns in their units: they give the ranges seen.
    contract, spread, about, modules
        See ``Formula``.
    """
    ranges = _ends(rows, contract.features)
    if isinstance(estimator, MixRegressor):
        per_size = _ends(estimator.per_size(rows), contract.channels) if estimator.sizes_ else {}
        return Formula(contract, math.nan, (), spread, ranges, about, modules, curves_of(estimator), per_size)
    if not _is_linear(estimator):
        return Formula(contract, math.nan, (), spread, ranges, about, modules)
    regress, (stretch, shift) = estimator["regress"], _scaling(estimator)
    numbers = zip(contract.features, stretch, shift, regress.coef_, strict=True)
    terms = tuple(Term(name, *(float(v) for v in values)) for name, *values in numbers)
    return Formula(contract, float(regress.intercept_), terms, spread, ranges, about)


def _ends(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, tuple[float, float]]:
    return {name: (float(rows[name].min()), float(rows[name].max())) for name in names}


@dataclass(frozen=True)
class _Uncertainty:
    """Coefficients ``theta`` in the table's units, residuals, and both covariances on scaled columns, the map to units."""

    theta: Vector
    residual: Vector
    df: int
    free: NDArray[np.intp]
    classical: Vector
    robust: Vector
    to_units: Vector


def _uncertainty(pipeline: Pipeline, X: pd.DataFrame, y: pd.Series[float]) -> _Uncertainty:
    regress = pipeline["regress"]
    stretch, shift = _scaling(pipeline)
    theta = np.concatenate([[regress.intercept_ + regress.coef_ @ shift], regress.coef_ * stretch])
    free = np.flatnonzero(regress.coef_ != 0) if regress.positive else np.arange(X.shape[1])
    z = X.to_numpy() * stretch + shift
    design = np.column_stack([np.ones(len(X)), z[:, free]]) if regress.fit_intercept else z[:, free]
    residual = y.to_numpy() - (theta[0] + X.to_numpy() @ theta[1:])
    df = len(X) - design.shape[1]
    classical, robust = _covariances(design, residual, df)
    return _Uncertainty(theta, residual, df, free, classical, robust, _to_units(stretch, shift, free, regress.fit_intercept))


def _scaling(pipeline: Pipeline) -> tuple[Vector, Vector]:
    """By what each column is multiplied, and what is added then."""
    scale, columns = pipeline["scale"], len(pipeline["regress"].coef_)
    return (np.ones(columns), np.zeros(columns)) if scale == "passthrough" else (scale.scale_, scale.min_)


def _is_linear(estimator: object) -> bool:
    return (
        isinstance(estimator, Pipeline)
        and list(estimator.named_steps) == ["scale", "regress"]
        and isinstance(estimator["regress"], LinearRegression)
    )


def _to_units(stretch: Vector, shift: Vector, free: NDArray[np.intp], fit_intercept: bool) -> Vector:
    """The map ``A`` from coefficients on scaled columns to (intercept, slopes) in the table's units."""
    slopes = np.zeros((len(stretch), len(free)))
    slopes[free, np.arange(len(free))] = stretch[free]
    moved = np.vstack([shift[free], slopes])
    first = np.zeros((len(stretch) + 1, 1))
    first[0, 0] = 1.0
    return np.hstack([first, moved]) if fit_intercept else moved


def _covariances(design: Vector, residual: Vector, df: int) -> tuple[Vector, Vector]:
    q, r = np.linalg.qr(design)
    inverse = np.linalg.inv(r)
    leverage = (q**2).sum(axis=1)
    classical = float(residual @ residual) / df * inverse @ inverse.T
    if leverage.max() > FITTED_BY_ITSELF:
        return classical, np.full_like(classical, math.nan)
    half = inverse @ (q * (residual / (1 - leverage))[:, None]).T
    return classical, half @ half.T


def _coefficient(name: str, estimate: float, se: float, se_hc3: float, df: int) -> Coefficient:
    return Coefficient(name, float(estimate), *_test(estimate, se, df), *_test(estimate, se_hc3, df))


def _test(estimate: float, se: float, df: int) -> tuple[float, float, float, float, float]:
    """Standard error, t, two-sided p, and the 95 % interval."""
    reach = float(stats.t.ppf(0.975, df)) * se
    with np.errstate(divide="ignore", invalid="ignore"):
        t = float(np.divide(estimate, se))
    return float(se), t, float(2 * stats.t.sf(abs(t), df)), float(estimate - reach), float(estimate + reach)


def _formula(contract: Contract, coefficients: tuple[Coefficient, ...]) -> str:
    terms = [f"{'−' if c.estimate < 0 else '+'} {words.number(abs(c.estimate))} × {c.name}" for c in coefficients[1:]]
    return f"{contract.target} = {words.number(coefficients[0].estimate)} {' '.join(terms)}"


def _in_words(contract: Contract, coefficients: tuple[Coefficient, ...], r2: float, rows: int) -> str:
    unit = contract[contract.target].unit or contract.target
    said = [
        f"1 {contract[c.name].unit or 'unit'} more of {c.name} goes with {words.number(c.estimate)} {unit}"
        + ("" if math.isnan(c.se) else f" (classical 95 % interval {words.span(c.low, c.high)})")
        for c in coefficients[1:]
    ]
    others = ", the others held fixed" if len(said) > 1 else ""
    return (
        f"Over the {words.count(rows, 'row')} fitted{others}, {'; '.join(said)}. "
        f"The line explains {words.percent(max(r2, 0))} of the spread of {contract.target}."
    )
