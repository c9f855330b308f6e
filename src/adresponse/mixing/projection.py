"""Which carry-over and curves fit best, and how well are they known? Variable projection, in functions of arrays.

For fixed carry-over and curves (the *nonlinear* parameters ``theta``) the model is linear::

    y = B gamma + sum_c share_c z_c(theta_c) + noise

with ``y`` sales divided by their mean, ``B`` the columns beside the channels, and ``z_c`` the response of channel ``c`` divided
by its mean, so that ``share_c`` is its share of sales. ``B`` is projected out once, and the shares are solved for at each
``theta``, so that a search sees the nonlinear parameters alone (variable projection; Golub and Pereyra 1973). At the solution
the derivative by the shares is zero, so the gradient by ``theta`` is the partial one.

A few years of weekly sales tell little about some of these parameters. Each has therefore a typical value and spread
(``TYPICAL``), that is, a normal prior: on the logit of a decay, on the logarithm of ``half`` over the channel's mean spend, on
the logarithm of ``slope``; and a share has one around ``MEDIA / n_channels``. ``theta`` counts spreads from the typical
values. The search finds the mode of the posterior of ``theta`` with the linear coefficients integrated out; ``draw`` takes
draws around it (Laplace's approximation with Student's t tails), and corrects them by importance weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats
from scipy.optimize import minimize, nnls

from adresponse.curves import CarryOverKind, Shape
from adresponse.mixing.span import Span

__all__ = [
    "MEDIA",
    "TYPICAL",
    "Draws",
    "Found",
    "Mode",
    "Problem",
    "base_of",
    "diluted",
    "draw",
    "information",
    "nonlinear",
    "objective",
    "responses",
    "search",
]

Vector = NDArray[np.float64]
Parameter = Literal["decay", "delay", "half", "slope"]
MEDIA = 0.4
"""Share of sales that all channels together are thought to bring before the data are seen; as uncertain as it is large."""
TYPICAL: dict[tuple[str, str], tuple[float, float]] = {
    ("decay", ""): (0.0, 1.0),  # logit: 0.5, nine of ten between 0.16 and 0.84
    ("delay", "delayed"): (math.log(1.5), 0.6),  # log periods: 1.5, between 0.6 and 4
    ("delay", "weibull"): (math.log(0.7), 0.5),  # log of Weibull's shape: 0.7, between 0.3 and 1.6
    ("half", ""): (0.0, 1.0),  # log of half / mean spend: 1, between 0.2 and 5
    ("slope", "hill"): (0.0, 0.4),  # log: 1, between 0.5 and 1.9
    ("slope", "power"): (0.4, 0.8),  # logit: 0.6, between 0.29 and 0.85
}
FARTHEST = 5.0
"""How many spreads a parameter may lie from its typical value."""
LEAST_VARIANCE = 1e-9
"""Of the noise, as a share of squared mean sales: below it a fit counts as exact, and numbers stay finite."""
TAILS = 7.0
"""Degrees of freedom of the draws' Student's t: heavier than the normal, so that no weight explodes (Geweke 1989)."""
RARELY = 0.05
"""Share of the draws that every mode gets, so that weights stay even where Laplace's approximation is off."""
LEAST_LOG = -690.0
"""Of spend at work that still counts by unit: what a long pause leaves is less at times, and one over it no number."""
LEAST_PRECISION = 1e-9
"""Of shares without a prior: nothing beside any data, but two columns that are one get half each."""
SETTLED = 0.01
"""Relative change of the noise variance at which the search stops."""
LONGEST_MEMORY = 0.95
"""Correlation from period to period that is believed at most."""
SAME = 0.3
"""Spreads within which two optima are one that the search stopped at twice."""
MOVE_TOGETHER = 0.7
"""Correlation of spend from which on two channels may be taken for each other; "strongly" in the words of the report."""
MOST_SWAPS = 4
"""Pairs that are tried, so that a table of many alike columns is not searched for ever."""
RULED_OUT = 5.0
"""Difference of log posteriors from which on another optimum does not count: e^-5 is 0.7 %."""
LEAST_CURVATURE = 0.3
"""Of the log posterior along any direction; the prior alone has 1."""


@dataclass(frozen=True)
class Problem:
    """What the search works on.

    Parameters
    ----------
    lags : ndarray of shape (n_channels, n_rows, n_lags)
        Spend divided by the channel's mean.
    sales : ndarray of shape (n_rows,)
        Divided by their mean.
    base : ndarray of shape (n_rows, n_columns)
        Columns beside the channels, the intercept first; they may depend on each other.
    shape, kind
        Curve and carry-over.
    signs : tuple of {-1, 0, 1}
        Sign of each channel's share, 0 for free.
    previous : ndarray of int of shape (n_rows,), optional
        Which row is the period before, in the same market; -1 for none. Without it, rows have no order.
    known : tuple of (share, standard error) or None, optional
        Shares of sales that experiments found, for each channel.
    counts : ndarray of shape (n_rows,), optional
        By how much a row counts in a mean, 1 on the average: where spend and sales are those of a market of size 1, a row of a
        larger one stands for more. Without it, rows count alike. The noise of all rows is alike in either case.
    market : ndarray of int of shape (n_rows,), optional
        Number of each row's market, from 0; each but the first adds a column to the base, its own level.
    """

    lags: Vector
    sales: Vector
    base: Vector
    shape: Shape
    kind: CarryOverKind
    signs: tuple[int, ...]
    previous: NDArray[np.int64] | None = None
    known: tuple[tuple[float, float] | None, ...] = ()
    counts: Vector | None = None
    market: NDArray[np.int64] | None = None

    @property
    def channels(self) -> int:
        """How many channels."""
        return len(self.lags)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Kinds of nonlinear parameters; ``theta`` has each channel's first one, then each channel's second, and so on."""
        return nonlinear(self.shape, self.kind if self.lags.shape[2] > 1 else "none")

    @cached_property
    def typical(self) -> tuple[Vector, Vector]:
        """Centre and spread of each entry of ``theta``, on the scale of its logarithm or logit."""
        which = [TYPICAL.get((p, ""), TYPICAL.get((p, self.kind), TYPICAL.get((p, self.shape)))) for p in self.parameters]
        pairs = np.array(which, dtype=float).reshape(-1, 2).repeat(self.channels, axis=0)
        return pairs[:, 0], pairs[:, 1]

    @property
    def pulled(self) -> bool:
        """Whether shares have a prior: where the model is a straight line in spend, the data need none."""
        return bool(self.parameters)

    @cached_property
    def share(self) -> tuple[Vector, Vector]:
        """Centre of each share's prior, and its precision: what an experiment found, else what is typical."""
        typical = (MEDIA / self.channels, (self.channels / MEDIA) ** 2) if self.pulled else (0.0, LEAST_PRECISION)
        pairs = [typical if known is None else (known[0], known[1] ** -2) for known in self.known or (None,) * self.channels]
        return np.array([c for c, _ in pairs]), np.array([p for _, p in pairs])

    @cached_property
    def span(self) -> Span:
        """What the base explains."""
        return Span.of(self.base, self.market)

    @property
    def spare(self) -> int:
        """Rows less what the base takes."""
        return len(self.sales) - self.span.rank

    @cached_property
    def left(self) -> Vector:
        """Sales that the base does not explain."""
        return self.span.rest(self.sales)

    def mean(self, rows: Vector) -> Any:
        """Mean over the last axis, the rows."""
        return rows.mean(axis=-1) if self.counts is None else (rows * self.counts).mean(axis=-1)

    def natural(self, theta: Vector) -> dict[str, Vector]:
        """Parameters by name as curves and carry-over take them, each of shape (..., n_channels); ``half`` in mean spends."""
        centre, spread = self.typical
        raw = np.split(centre + spread * theta, len(self.parameters), axis=-1) if self.parameters else []
        found = {p: _natural(p, self.shape, values) for p, values in zip(self.parameters, raw, strict=True)}
        ones = np.ones((*theta.shape[:-1], self.channels))
        return {"decay": 0.0 * ones, "delay": 0.0 * ones, "half": ones, "slope": ones} | found


@dataclass(frozen=True)
class Mode:
    """A local optimum: where, minus the log posterior there, and its second derivatives."""

    theta: Vector
    loss: float
    curvature: Vector


@dataclass(frozen=True)
class Found:
    """The best parameters, and how well they are known.

    Parameters
    ----------
    theta : ndarray of shape (n_nonlinear,)
    shares : ndarray of shape (n_channels,)
    variance : float
        By which the likelihood is scaled: that of the noise, times ``dilution``.
    modes : tuple of Mode
        The best optimum, and others that the data do not rule out: which of two channels that move together did it?
    memory : float
        Correlation of residuals with those of the period before, at least 0.
    dilution : float
        By how much less the rows tell for it (see ``diluted``).
    degrees : float
        Rows less the parameters that the data, not the priors, decide.
    """

    theta: Vector
    shares: Vector
    variance: float
    modes: tuple[Mode, ...]
    memory: float = 0.0
    dilution: float = 1.0
    degrees: float = 1.0

    @property
    def noise(self) -> float:
        """Standard deviation of the noise, as a share of mean sales."""
        return math.sqrt(self.variance / self.dilution)


@dataclass(frozen=True)
class Draws:
    """Draws from the approximate posterior, weighted and drawn again.

    ``theta`` (n_draws, n_nonlinear), ``shares`` (n_draws, n_channels), ``base`` (n_draws, n_base), ``variance`` (n_draws,);
    ``effective`` of the ``pool`` draws carried the weight.
    """

    theta: Vector
    shares: Vector
    base: Vector
    variance: Vector
    effective: float
    pool: int


def nonlinear(shape: Shape, kind: CarryOverKind) -> tuple[Parameter, ...]:
    """Which nonlinear parameters a channel has."""
    carried: dict[str, tuple[Parameter, ...]] = {
        "none": (),
        "geometric": ("decay",),
        "delayed": ("decay", "delay"),
        "weibull": ("decay", "delay"),
    }
    curved: dict[str, tuple[Parameter, ...]] = {
        "linear": (),
        "log": ("half",),
        "power": ("slope",),
        "hill": ("half", "slope"),
        "logistic": ("half",),
    }
    return (*carried[kind], *curved[shape])


def responses(problem: Problem, theta: Vector) -> tuple[Vector, list[Vector]]:
    """``z`` of shape (n_rows, n_channels), and its derivative by each kind of parameter, in spreads; same shape each."""
    values = problem.natural(theta)
    spread = problem.typical[1].reshape(len(problem.parameters), problem.channels)
    z = np.empty((len(problem.sales), problem.channels))
    slopes = [np.empty_like(z) for _ in problem.parameters]
    for c in range(problem.channels):
        decay, delay, half, slope = (float(values[k][c]) for k in ("decay", "delay", "half", "slope"))
        carried, moved = _carried(problem.kind, problem.lags[c], decay, delay)
        response, by_carried, by = _response(problem.shape, carried, half, slope)
        by |= {name: by_carried * m for name, m in moved.items()}
        mean = problem.mean(response)
        z[:, c] = response / mean
        for i, name in enumerate(problem.parameters):
            slopes[i][:, c] = spread[i, c] * (by[name] - z[:, c] * problem.mean(by[name])) / mean
    return z, slopes


def objective(theta: Vector, problem: Problem, variance: float) -> tuple[float, Vector]:
    """Minus the log posterior of ``theta`` with shares and base integrated out, and its gradient.

    For given ``theta`` the shares are normal around ``N^-1 w``, cut to their signs. The integral is that of the whole normal
    distribution times the chance that each sign holds, as if the shares were independent.
    """
    z, slopes = responses(problem, theta)
    z = problem.span.rest(z)
    centre, precision = problem.share
    normal = z.T @ z / variance + np.diag(precision)
    wanted = z.T @ problem.left / variance + precision * centre
    inverse = np.linalg.inv(normal)
    shares = inverse @ wanted
    left = problem.left - z @ shares
    spread = np.sqrt(np.diag(inverse))
    signs = np.array(problem.signs)
    chance = np.where(signs == 0, 0.0, special.log_ndtr(signs * shares / spread))
    loss = left @ left / variance + precision @ (shares - centre) ** 2 + theta @ theta
    loss += np.linalg.slogdet(normal)[1] - 2 * chance.sum()
    # the slope of log Phi at its argument, and from it those by the shares and by their spread
    hazard = signs * np.exp(-0.5 * (shares / spread) ** 2 - 0.5 * math.log(2 * math.pi) - chance)
    by_share = hazard / spread
    by_spread = -hazard * shares / (2 * spread**3)
    pulled = inverse @ by_share
    spreading = z @ inverse / variance
    gradient = []
    for slope in slopes:
        along = z.T @ slope  # column j: how the products of all columns with column j change
        moved = pulled * (left @ slope) - shares * (pulled @ along)
        widened = -2 * (by_spread[:, None] * inverse * (inverse @ along)).sum(axis=0)
        gradient.append((spreading * slope).sum(axis=0) - ((left @ slope) * shares + moved + widened) / variance)
    return 0.5 * float(loss), np.concatenate([np.zeros(0), *gradient]) + theta


def search(problem: Problem, starts: int = 3, seed: int = 42, rounds: int = 5) -> Found:
    """The mode of the posterior, from several starts, with the noise variance found on the way.

    The variance is the residual sum of squares over the rows less the parameters that the data, not the priors, decide.
    """
    size = problem.channels * len(problem.parameters)
    rng = np.random.default_rng(seed)
    candidates = [np.zeros(size), *rng.standard_normal((starts - 1, size))]
    variance = _first_variance(problem)
    if size == 0:
        return _straight(problem, variance)
    optima: list[tuple[Vector, float]] = []
    for _ in range(rounds):
        found = [_descend(problem, start, variance) for start in candidates]
        optima = optima or found
        theta = min(found, key=lambda f: f[1])[0]
        candidates = [theta]
        curvature = _curvature(problem, theta, variance)
        z = problem.span.rest(responses(problem, theta)[0])
        normal, shares = _shares(problem, z, variance)
        decided = size - float(np.trace(np.linalg.inv(curvature)))
        memory, dilution = diluted(problem, theta, shares, variance)
        degrees = _degrees(problem, normal, max(decided, 0.0))
        new = dilution * _variance(problem, z, shares, degrees)
        settled = abs(new / variance - 1) < SETTLED
        variance = new
        if settled:
            break
    modes = _modes(problem, [theta, *(o[0] for o in optima), *_swapped(problem, theta)], variance)
    z = problem.span.rest(responses(problem, modes[0].theta)[0])
    return Found(modes[0].theta, _shares(problem, z, variance)[1], variance, modes, memory, dilution, degrees)


def information(problem: Problem, found: Found, dilution: float, unit: float = 1.0) -> float:
    """Akaike's information criterion: -2 log likelihood, and 2 for each parameter that the data decide.

    ``dilution`` says by how much less the rows tell for the memory of their noise. It is one for all models compared: what a
    wrong curve leaves lasts as well, and would pass for noise. ``unit`` is what the sales of the table were divided by, its
    geometric mean where rows differ in that; models whose units differ cannot be compared without it.
    """
    rows, noise = len(problem.sales), found.noise * unit
    return rows / dilution * math.log(noise**2 * found.degrees / rows) + 2 * (rows - found.degrees)


def _swapped(problem: Problem, theta: Vector) -> list[Vector]:
    """Parameters with those of two channels exchanged, for each pair whose spend moves together."""
    if problem.channels == 1:
        return []
    with np.errstate(invalid="ignore"):  # spend that never changes moves with nothing
        together = np.corrcoef(problem.lags[:, :, 0])
    found = []
    for a, b in np.argwhere(np.triu(together, 1) > MOVE_TOGETHER):
        table = theta.reshape(-1, problem.channels).copy()
        table[:, [a, b]] = table[:, [b, a]]
        found.append(table.ravel())
    return found[:MOST_SWAPS]


def _modes(problem: Problem, near: list[Vector], variance: float) -> tuple[Mode, ...]:
    """The different optima near some places, the best first, without those that are far less likely."""
    found: list[tuple[Vector, float]] = []
    for theta, loss in sorted((_descend(problem, place, variance) for place in near), key=lambda f: f[1]):
        if all(np.abs(theta - other).max() > SAME for other, _ in found) and (not found or loss < found[0][1] + RULED_OUT):
            found.append((theta, loss))
    return tuple(Mode(theta, loss, _curvature(problem, theta, variance)) for theta, loss in found)


def draw(problem: Problem, found: Found, draws: int = 200, seed: int = 42) -> Draws:
    """Draws of all parameters, by importance resampling from Laplace's approximation (Geweke 1989; Ionides 2008).

    ``theta`` comes from a t distribution around the mode with the inverse curvature, the noise variance from the scaled
    inverse chi-squared distribution of its degrees of freedom. Each pair is weighted by its posterior over its density, with
    the linear coefficients integrated out, and the weights are cut at ``sqrt(pool)`` times their mean. Shares and base are
    then drawn given the pair, shares under their signs by Gibbs steps (Geweke 1991).
    """
    rng = np.random.default_rng(seed)
    rows, channels = problem.sales.shape[0], problem.channels
    pool = int(np.clip(2e7 / (rows * channels), 500, 4000))
    degrees = max(problem.spare - channels, 2)
    theta, density = _around(found.modes, pool, rng)
    variance = found.variance * degrees / rng.chisquare(degrees, pool)
    gram, cross = _moments(problem, theta)
    normal, shares, weight = _weigh(problem, gram, cross, theta, variance)
    weight -= density
    weight += (degrees / 2 + 1) * np.log(variance) + degrees * found.variance / (2 * variance)
    share = np.exp(weight - weight.max())
    effective = float(share.sum() ** 2 / (share**2).sum())
    share = np.minimum(share, share.mean() * math.sqrt(pool))
    at = np.searchsorted(np.cumsum(share / share.sum()), (np.arange(draws) + rng.uniform()) / draws)
    at = rng.permutation(np.minimum(at, pool - 1))
    theta, variance = theta[at], variance[at]
    shares = _signed_normal(shares[at], normal[at], np.array(problem.signs), rng)
    base = _base_given(problem, theta, shares, variance, rng)
    return Draws(theta, shares, base, variance, effective, pool)


def _around(modes: tuple[Mode, ...], pool: int, rng: np.random.Generator) -> tuple[Vector, Vector]:
    """Draws of ``theta`` from a mixture of t distributions, one around each mode, and the logarithm of its density.

    Each mode gets the share of the posterior that Laplace's approximation gives it, but at least ``RARELY``.
    """
    size = len(modes[0].theta)
    if not size:
        return np.zeros((pool, 0)), np.zeros(pool)
    volume = np.array([0.5 * np.linalg.slogdet(m.curvature)[1] for m in modes])
    mass = np.exp(modes[0].loss - np.array([m.loss for m in modes]) + volume[0] - volume)
    mass = np.maximum(mass / mass.sum(), RARELY)
    mass = mass / mass.sum()
    which = rng.choice(len(modes), pool, p=mass)
    roots = np.array([np.linalg.cholesky(np.linalg.inv(m.curvature)) for m in modes])
    centres = np.array([m.theta for m in modes])
    standard = rng.standard_normal((pool, size)) / np.sqrt(rng.chisquare(TAILS, pool) / TAILS)[:, None]
    theta = np.clip(centres[which] + (roots[which] @ standard[:, :, None])[:, :, 0], -FARTHEST, FARTHEST)
    parts = []
    for mode, share, half in zip(modes, mass, volume, strict=True):
        away = theta - mode.theta
        distance = ((away @ mode.curvature) * away).sum(axis=1)
        parts.append(math.log(share) + half - 0.5 * (TAILS + size) * np.log1p(distance / TAILS))
    return theta, np.asarray(special.logsumexp(parts, axis=0))


def base_of(problem: Problem, z: Vector, shares: Vector) -> Vector:
    """Coefficients of the base for given responses and shares, shape (n_base,)."""
    return np.asarray(problem.span.back @ problem.span.along(problem.sales - z @ shares))


def _natural(parameter: Parameter, shape: Shape, raw: Vector) -> Vector:
    if parameter == "decay" or (parameter == "slope" and shape == "power"):
        return np.asarray(1 / (1 + np.exp(-raw)))
    return np.exp(raw)


def _carried(kind: CarryOverKind, lags: Vector, decay: float, delay: float) -> tuple[Vector, dict[str, Vector]]:
    """Spend at work for weights that sum to 1, and its derivatives by logit ``decay`` and log ``delay``; (..., n_rows)."""
    if lags.shape[1] == 1 or kind == "none":
        return lags[:, 0], {}
    log_weights, by = _log_weights(kind, np.array([decay]), np.array([delay]), lags.shape[1])
    weights = np.exp(log_weights - log_weights.max())[0]
    weights = weights / weights.sum()
    moved = {}
    for name, slope in by.items():
        moved[name] = lags @ (weights * (slope[0] - weights @ slope[0]))
    return lags @ weights, moved


def _log_weights(kind: CarryOverKind, decay: Vector, delay: Vector, length: int) -> tuple[Vector, dict[str, Vector]]:
    """Logarithms of ``curves.carry_over_weights``, shape (n, length), and derivatives by logit ``decay`` and log ``delay``."""
    lag = np.arange(length, dtype=float)
    log_decay, delay = np.log(np.maximum(decay, np.finfo(float).tiny))[:, None], delay[:, None]
    if kind == "geometric":
        powers, bent = np.broadcast_to(lag, (len(decay), length)), None
    elif kind == "delayed":
        powers, bent = (lag - delay) ** 2, -2 * (lag - delay) * delay
    else:
        later = np.log(lag[1:])
        terms = np.exp(delay * later)
        none = np.zeros((len(decay), 1))
        powers = np.hstack([none, np.cumsum(terms, axis=1)])
        bent = np.hstack([none, np.cumsum(terms * later, axis=1)]) * delay
    by = {"decay": powers * (1 - decay[:, None])}
    if bent is not None:
        by["delay"] = log_decay * bent
    return log_decay * powers, by


def _response(shape: Shape, x: Vector, half: Any, slope: Any) -> tuple[Vector, Vector, dict[str, Vector]]:
    """``curves.saturate``, its derivative by ``x``, and those by log ``half`` and by log (``power``: logit) ``slope``."""
    if shape == "linear":
        return x, np.ones_like(x), {}
    if shape == "log":
        part = x / half
        return np.log1p(part), 1 / (half + x), {"half": -part / (1 + part)}
    if shape == "logistic":
        rate = math.log(3) / half
        faded = np.exp(-rate * x)
        steep = 2 * rate * faded / (1 + faded) ** 2
        return (1 - faded) / (1 + faded), steep, {"half": -steep * x}
    spent = x > 0
    log = np.log(np.where(spent, x, 1.0))
    per_unit = np.exp(-np.maximum(log, LEAST_LOG))
    if shape == "power":
        raised = np.where(spent, np.exp(slope * log), 0.0)
        return raised, slope * raised * per_unit, {"slope": raised * log * slope * (1 - slope)}
    distance = slope * (log - np.log(half))
    response = np.where(spent, 1 / (1 + np.exp(-np.clip(distance, -500, 500))), 0.0)
    bend = response * (1 - response)
    return response, bend * slope * per_unit, {"half": -bend * slope, "slope": bend * distance}


def _shares(problem: Problem, z: Vector, variance: float) -> tuple[Vector, Vector]:
    """Matrix of the normal equations, and the best shares under their signs, for responses that the base left."""
    centre, precision = problem.share
    normal = z.T @ z / variance + np.diag(precision)
    wanted = z.T @ problem.left / variance + precision * centre
    shares = np.linalg.solve(normal, wanted)
    if (shares * problem.signs < 0).any():
        shares = _signed(normal, wanted, np.array(problem.signs))
    return normal, np.asarray(shares)


def _signed(normal: Vector, wanted: Vector, signs: NDArray[np.int_]) -> Vector:
    """Minimum of ``b'Nb/2 - w'b`` under signs, as non-negative least squares on Cholesky's factor; free ones are split."""
    turned = np.where(signs < 0, -1.0, 1.0)
    free = np.flatnonzero(signs == 0)
    factor = np.linalg.cholesky(normal)
    rows = factor.T * turned
    found = nnls(np.hstack([rows, -rows[:, free]]), np.linalg.solve(factor, wanted))[0]
    shares = found[: len(signs)]
    shares[free] -= found[len(signs) :]
    return np.asarray(shares * turned)


def diluted(problem: Problem, theta: Vector, shares: Vector, variance: float) -> tuple[float, float]:
    """Memory of the noise, and by how much it widens errors.

    Where noise and a column both last from one period to the next, with correlations ``m`` and ``r``, the variance of the
    column's coefficient is ``(1 + m r) / (1 - m r)`` times that of noise without memory (Bartlett 1935). The mean of this
    over the channels scales the noise variance of the likelihood.

    A fit takes part of the memory out of its residuals: with noise that has none, their expected product from one period to
    the next is minus the sum of the hat matrix's entries for such pairs. That is added back.
    """
    if problem.previous is None:
        return 0.0, 1.0
    after = np.flatnonzero(problem.previous >= 0)
    before = problem.previous[after]
    if len(after) < 2:
        return 0.0, 1.0
    z, slopes = responses(problem, theta)
    tangent = problem.span.rest(np.hstack([z, *(s * shares for s in slopes)]))
    residual = problem.left - tangent[:, : problem.channels] @ shares
    prior = np.concatenate([problem.share[1], np.ones(len(theta))])
    inner = np.linalg.pinv(tangent.T @ tangent / variance + np.diag(prior), hermitian=True) / variance
    taken = problem.span.paired(after, before) + float(((tangent[after] @ inner) * tangent[before]).sum())
    spare = problem.spare - float(np.sum(inner * (tangent.T @ tangent)))
    memory = float(np.clip(_correlation(residual[before], residual[after]) + taken / max(spare, 1.0), 0.0, LONGEST_MEMORY))
    columns = tangent[:, : problem.channels].T
    lasting = np.array([max(_correlation(column[before], column[after]), 0.0) for column in columns])
    return memory, float(np.mean((1 + memory * lasting) / (1 - memory * lasting)))


def _correlation(a: Vector, b: Vector) -> float:
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if size > 0 else 0.0


def _first_variance(problem: Problem) -> float:
    """The variance that typical parameters leave."""
    z = problem.span.rest(responses(problem, np.zeros(problem.channels * len(problem.parameters)))[0])
    shares = np.linalg.lstsq(z, problem.left, rcond=None)[0]
    degrees = max(problem.spare - problem.channels, 1)
    return float(max(((problem.left - z @ shares) ** 2).sum() / degrees, LEAST_VARIANCE))


def _degrees(problem: Problem, normal: Vector, decided: float) -> float:
    linear = problem.channels - float(problem.share[1] @ np.diag(np.linalg.inv(normal)))
    return float(max(problem.spare - linear - decided, 1.0))


def _variance(problem: Problem, z: Vector, shares: Vector, degrees: float) -> float:
    residual = problem.left - z @ shares
    return max(float(residual @ residual) / degrees, LEAST_VARIANCE)


def _straight(problem: Problem, variance: float) -> Found:
    z = problem.span.rest(responses(problem, np.zeros(0))[0])
    normal, shares = _shares(problem, z, variance)
    memory, dilution = diluted(problem, np.zeros(0), shares, variance)
    degrees = _degrees(problem, normal, 0.0)
    variance = dilution * _variance(problem, z, shares, degrees)
    return Found(np.zeros(0), shares, variance, (Mode(np.zeros(0), 0.0, np.zeros((0, 0))),), memory, dilution, degrees)


def _descend(problem: Problem, start: Vector, variance: float) -> tuple[Vector, float]:
    done = minimize(objective, start, (problem, variance), "L-BFGS-B", jac=True, bounds=[(-FARTHEST, FARTHEST)] * len(start))
    return done.x, float(done.fun)


def _curvature(problem: Problem, theta: Vector, variance: float) -> Vector:
    """Second derivatives of ``objective`` by differences of its gradient, made positive definite."""
    step = 1e-5
    here = objective(theta, problem, variance)[1]
    rows = [objective(theta + move, problem, variance)[1] - here for move in np.eye(len(theta)) * step]
    found = np.array(rows) / step
    values, vectors = np.linalg.eigh((found + found.T) / 2)
    return np.asarray((vectors * np.maximum(values, LEAST_CURVATURE)) @ vectors.T)


def _many_responses(problem: Problem, theta: Vector) -> Vector:
    """``responses`` for many ``theta`` at once, shape (n_draws, n_rows, n_channels)."""
    values = problem.natural(theta)
    found = np.empty((len(theta), len(problem.sales), problem.channels))
    for c in range(problem.channels):
        if "decay" in problem.parameters:
            log_weights, _ = _log_weights(problem.kind, values["decay"][:, c], values["delay"][:, c], problem.lags.shape[2])
            weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
            carried = (weights / weights.sum(axis=1, keepdims=True)) @ problem.lags[c].T
        else:
            carried = np.broadcast_to(problem.lags[c][:, 0], (len(theta), len(problem.sales)))
        response = _response(problem.shape, carried, values["half"][:, c : c + 1], values["slope"][:, c : c + 1])[0]
        found[:, :, c] = response / problem.mean(response)[:, None]
    return found


def _blocks(problem: Problem, n: int) -> list[slice]:
    """Draws in blocks that keep memory at some 50 MB."""
    size = max(int(2e6 / (len(problem.sales) * problem.channels)), 1)
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]


def _moments(problem: Problem, theta: Vector) -> tuple[Vector, Vector]:
    """``z'z`` and ``z'y`` of what the base leaves, for many ``theta``."""
    gram = np.empty((len(theta), problem.channels, problem.channels))
    cross = np.empty((len(theta), problem.channels))
    for block in _blocks(problem, len(theta)):
        z = _many_responses(problem, theta[block])
        along = problem.span.along(z)
        turned = z.transpose(0, 2, 1)
        gram[block] = turned @ z - along.transpose(0, 2, 1) @ along
        cross[block] = turned @ problem.left
    return gram, cross


def _weigh(problem: Problem, gram: Vector, cross: Vector, theta: Vector, variance: Vector) -> tuple[Vector, Vector, Vector]:
    """Normal matrices, means of the shares, and log posterior of each (theta, variance) up to a constant."""
    centre, precision = problem.share
    normal = gram / variance[:, None, None] + np.diag(precision)
    wanted = cross / variance[:, None] + precision * centre
    shares = np.linalg.solve(normal, wanted[:, :, None])[:, :, 0]
    spread = np.sqrt(np.diagonal(np.linalg.inv(normal), axis1=1, axis2=2))
    signs = np.array(problem.signs)
    # the chance that all signs hold, as if shares were independent: near where it matters, and 1 elsewhere
    held = np.where(signs == 0, 0.0, stats.norm.logcdf(signs * shares / spread)).sum(axis=1)
    left = float(problem.left @ problem.left)
    degrees = problem.spare
    log = 0.5 * (shares * wanted).sum(axis=1) - 0.5 * np.linalg.slogdet(normal)[1] + held - 0.5 * (theta**2).sum(axis=1)
    log -= (degrees / 2 + 1) * np.log(variance) + left / (2 * variance)
    return normal, np.asarray(shares), np.asarray(log)


def _signed_normal(mean: Vector, precision: Vector, signs: NDArray[np.int_], rng: np.random.Generator) -> Vector:
    """One draw from each normal distribution, shape (n_draws, n_channels), cut to the signs by Gibbs steps."""
    if not signs.any():
        root = np.linalg.cholesky(precision)
        noise = rng.standard_normal(mean.shape)
        return np.asarray(mean + np.linalg.solve(root.transpose(0, 2, 1), noise[:, :, None])[:, :, 0])
    found = np.where(mean * signs < 0, 0.0, mean)
    for _ in range(20):
        for c, sign in enumerate(signs):
            spread = 1 / np.sqrt(precision[:, c, c])
            others = (precision[:, c] * (found - mean)).sum(axis=1) - precision[:, c, c] * (found[:, c] - mean[:, c])
            middle = mean[:, c] - spread**2 * others
            below = np.zeros(len(mean)) if sign == 0 else stats.norm.cdf(-sign * middle / spread)
            level = below + (1 - below) * rng.uniform(size=len(mean))
            drawn = middle + (sign or 1) * spread * stats.norm.ppf(np.clip(level, 1e-12, 1 - 1e-12))
            found[:, c] = np.where(drawn * sign < 0, 0.0, drawn)
    return found


def _base_given(problem: Problem, theta: Vector, shares: Vector, variance: Vector, rng: np.random.Generator) -> Vector:
    span = problem.span
    found = np.empty((len(theta), span.rank))
    for block in _blocks(problem, len(theta)):
        z = _many_responses(problem, theta[block])
        unexplained = problem.sales - (z @ shares[block][:, :, None])[:, :, 0]
        found[block] = span.along(unexplained.T).T
    found += rng.standard_normal(found.shape) * np.sqrt(variance)[:, None]
    return np.asarray(found @ span.back.T)
