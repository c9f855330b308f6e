"""What does spend bring: response curves, their slopes, and carry-over, as pure functions of arrays.

Spend is in the table's unit, sales in the target's unit. The order of operations is fixed, so that a fitted model can be
written as numbers and evaluated anywhere::

    carried_t = weights_0 * spend_t + weights_1 * spend_(t-1) + ...
    sales_t   = coefficient * saturate(shape, carried_t, half, slope)

Needs numpy alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ModelError

__all__ = ["CARRY_OVERS", "SHAPES", "CarryOverKind", "Response", "Shape"]
__all__ += ["carry_over", "carry_over_weights", "each_row", "saturate", "saturation_slope"]

Vector = NDArray[np.float64]
Shape = Literal["linear", "log", "power", "hill", "logistic"]
CarryOverKind = Literal["none", "geometric", "delayed", "weibull"]
SHAPES: tuple[Shape, ...] = get_args(Shape)
"""From the simplest to the most flexible."""
CARRY_OVERS: tuple[CarryOverKind, ...] = get_args(CarryOverKind)


def saturate(shape: Shape, x: ArrayLike, half: ArrayLike, slope: ArrayLike) -> Vector:
    """Response before its coefficient; 0 at no spend, rising.

    ========  =================================================  ==========================================
    linear    ``x``
    log       ``log(1 + x / half)``
    power     ``(x / half) ** slope``, ``0 < slope <= 1``
    hill      ``x ** slope / (x ** slope + half ** slope)``      1/2 at ``half``; an S where ``slope > 1``
                                                                 (Jin et al. 2017, section 2)
    logistic  ``(1 - exp(-l x)) / (1 + exp(-l x))``,             1/2 at ``half``
              ``l = log(3) / half``                              (PyMC-Marketing's ``logistic_saturation``)
    ========  =================================================  ==========================================

    Parameters
    ----------
    shape : Shape
        Name of the curve.
    x : array-like
        Spend after carry-over, >= 0, in the table's unit.
    half : array-like that broadcasts with ``x``
        Spend > 0 that scales the curve, in the table's unit; not used by ``linear``.
    slope : array-like that broadcasts with ``x``
        Exponent > 0; used by ``power`` and ``hill`` alone.

    Raises
    ------
    ModelError
        If no curve has this name.
    """
    x = np.asarray(x, dtype=float)
    if shape == "linear":
        return x * 1.0
    part = x / np.asarray(half, dtype=float)
    if shape == "log":
        return np.asarray(np.log1p(part))
    if shape == "logistic":
        faded = np.exp(-math.log(3) * part)
        return np.asarray(-np.expm1(-math.log(3) * part) / (1 + faded))
    with np.errstate(over="ignore", invalid="ignore"):
        raised = part ** np.asarray(slope, dtype=float)
        if shape == "power":
            return np.asarray(raised)
        if shape == "hill":
            return np.where(np.isinf(raised), 1.0, raised / (1 + raised))
    raise _unknown("shape", shape, SHAPES)


def saturation_slope(shape: Shape, x: ArrayLike, half: ArrayLike, slope: ArrayLike) -> Vector:
    """Derivative of ``saturate`` by ``x``, per unit of spend; same arguments.

    At ``x = 0`` it is infinite for ``power`` and ``hill`` with ``slope < 1``, as those curves are.
    """
    x, half, slope = (np.asarray(v, dtype=float) for v in (x, half, slope))
    if shape == "linear":
        return np.ones_like(x)
    part = x / half
    if shape == "log":
        return np.asarray(1 / (half + x))
    if shape == "logistic":
        faded = np.exp(-math.log(3) * part)
        return np.asarray(2 * math.log(3) / half * faded / (1 + faded) ** 2)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        raised = part**slope
        at_zero = np.where(slope < 1, np.inf, np.where(slope > 1, 0.0, 1 / half))
        if shape == "power":
            return np.where(x > 0, slope * raised / x, at_zero)
        if shape == "hill":
            rest = 1 / (1 + raised)
            return np.where(x > 0, slope / x * saturate("hill", x, half, slope) * rest, at_zero)
    raise _unknown("shape", shape, SHAPES)


def each_row(curve: Callable[..., Vector], shapes: Sequence[Shape], x: Vector, half: Vector, slope: Vector) -> Vector:
    """``saturate`` or ``saturation_slope`` where each row has a curve of its own.

    Parameters
    ----------
    curve : callable
        One of the two.
    shapes : sequence of Shape of length n_rows
    x : ndarray of shape (n_rows, ...)
    half, slope : ndarray of shape (n_rows, ...) that broadcasts with ``x``
    """
    if len(set(shapes)) == 1:
        return curve(shapes[0], x, half, slope)
    found = np.empty(np.broadcast_shapes(x.shape, half.shape))
    for shape in set(shapes):
        own = np.array([s == shape for s in shapes])
        found[own] = curve(shape, x[own], half[own], slope[own])
    return found


def carry_over_weights(
    kind: CarryOverKind, decay: float, delay: float = 0.0, length: int = 1, normalise: bool = False
) -> tuple[float, ...]:
    """What share of a period's spend works in that period and in the ones after it.

    =========  ===================================  ==================================================================
    none       ``1, 0, 0, ...``
    geometric  ``decay ** l``                       ``decay`` stays from one period to the next (Broadbent 1979)
    delayed    ``decay ** (l - delay) ** 2``        strongest ``delay`` periods later (Jin et al. 2017)
    weibull    ``decay ** (1^k + 2^k + ... + l^k)``  ``k = delay``: Robyn's Weibull CDF carry-over, the running product of
                                                    survival ``exp(-(l / scale) ** k)`` with ``decay`` that of one
                                                    period; ``k = 0`` is geometric, a larger ``k`` ends sooner
    =========  ===================================  ==================================================================

    Parameters
    ----------
    kind : CarryOverKind
        Name of the form.
    decay : float
        Between 0 (no carry-over) and 1 (excluded).
    delay : float
        Periods >= 0 until the peak (``delayed``), or the shape ``k`` (``weibull``).
    length : int
        Periods of the window, the first one counted.
    normalise : bool
        Whether the weights are divided by their sum, so that they move spend in time and add none.

    Returns
    -------
    tuple of float of shape (length,)
        Lag 0 first.

    Raises
    ------
    ModelError
        If the form is unknown, or a number is out of its range.
    """
    if not 0 <= decay < 1:
        raise ModelError(f"decay={decay:g} must be at least 0 and below 1; give the share that stays after one period.")
    if delay < 0 or not math.isfinite(delay):
        raise ModelError(f"delay={delay:g} must be at least 0; give periods (delayed) or the shape (weibull).")
    if length < 1:
        raise ModelError(f"length={length} must be at least 1; give the periods that a spend works.")
    lags = np.arange(length, dtype=float)
    if kind == "none":
        powers = np.where(lags == 0, 0.0, np.inf)
    elif kind == "geometric":
        powers = lags
    elif kind == "delayed":
        powers = (lags - delay) ** 2
    elif kind == "weibull":
        powers = np.concatenate([[0.0], np.cumsum(lags[1:] ** delay)])
    else:
        raise _unknown("carry-over", kind, CARRY_OVERS)
    weights = np.power(decay, powers)
    total = weights.sum()
    if normalise and total > 0:
        weights = weights / total
    return tuple(float(w) for w in weights)


def carry_over(x: ArrayLike, weights: ArrayLike, before: ArrayLike = ()) -> Vector:
    """Spend that works in each period: that of the period and what earlier periods left.

    Parameters
    ----------
    x : array-like of shape (n_periods,)
        Spend, oldest first.
    weights : array-like of shape (n_lags,)
        See ``carry_over_weights``; lag 0 first.
    before : array-like
        Spend of the periods before the first, oldest first; what is missing counts as 0, what is too old does not count.

    Returns
    -------
    ndarray of shape (n_periods,)
        In the unit of ``x``.
    """
    x, weights, before = (np.asarray(v, dtype=float) for v in (x, weights, before))
    lags = len(weights) - 1
    known = before[max(len(before) - lags, 0) :]
    whole = np.concatenate([np.zeros(lags - len(known)), known, x])
    return sum((w * whole[lags - i : len(whole) - i] for i, w in enumerate(weights)), start=np.zeros(len(x)))


@dataclass(frozen=True)
class Response:
    """What one channel brings, as numbers.

    Parameters
    ----------
    channel : str
        Its column.
    shape : Shape
        Curve; see ``saturate``.
    half, slope : float
        Its parameters: ``half`` in the table's unit, ``slope`` free of units.
    coefficient : float
        Sales at a response of 1, in the target's unit (per unit of spend for ``linear``).
    weights : tuple of float
        Carry-over, lag 0 first.

    Raises
    ------
    ModelError
        If a number is out of its range.
    """

    channel: str
    shape: Shape
    half: float
    slope: float
    coefficient: float
    weights: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise _unknown("shape", self.shape, SHAPES)
        numbers = {"half": self.half, "slope": self.slope, "coefficient": self.coefficient}
        for name, value in numbers.items():
            if not math.isfinite(value) or (name != "coefficient" and value <= 0):
                rule = "a finite number" if name == "coefficient" else "a finite number above 0"
                raise ModelError(f"{name}={value:g} of {self.channel} must be {rule}; fit the channel again.")
        if self.shape == "power" and self.slope > 1:
            raise ModelError(f"slope={self.slope:g} of {self.channel} must be at most 1 for a power curve; use hill for an S.")
        if not self.weights or not all(math.isfinite(w) and w >= 0 for w in self.weights):
            raise ModelError(f"The carry-over weights of {self.channel} must be finite numbers of at least 0.")

    @property
    def reach(self) -> float:
        """Sum of the carry-over weights: spend that works in every period where 1 is spent in every period."""
        return math.fsum(self.weights)

    @property
    def concave(self) -> bool:
        """Whether each unit of spend brings at most as much as the one before."""
        return self.coefficient >= 0 and (self.shape != "hill" or self.slope <= 1)

    def of_size(self, size: float) -> Response:
        """The response of a market ``size`` times as large: its curve bends at as many times the spend, and brings as much."""
        if self.shape == "linear" or size == 1:
            return self
        return replace(self, half=self.half * size, coefficient=self.coefficient * size)

    def sales(self, spend: ArrayLike, before: ArrayLike = ()) -> Vector:
        """Sales that the channel adds in each period.

        Parameters
        ----------
        spend : array-like of shape (n_periods,)
            Spend of each period, oldest first.
        before : array-like
            Spend of the periods before, oldest first (see ``carry_over``).
        """
        return self._times(saturate(self.shape, carry_over(spend, self.weights, before), self.half, self.slope))

    def steady(self, spend: ArrayLike) -> Vector:
        """Sales that the channel adds per period when ``spend`` (any shape) is spent in every period for ever."""
        return self._times(saturate(self.shape, np.asarray(spend, dtype=float) * self.reach, self.half, self.slope))

    def marginal(self, spend: ArrayLike) -> Vector:
        """Derivative of ``steady``: sales per period for one more unit of spend per period."""
        carried = np.asarray(spend, dtype=float) * self.reach
        return self._times(saturation_slope(self.shape, carried, self.half, self.slope), self.reach)

    def _times(self, response: Vector, reach: float = 1.0) -> Vector:
        return np.zeros_like(response) if self.coefficient == 0 else self.coefficient * response * reach


def _unknown(what: str, name: Any, known: tuple[str, ...]) -> ModelError:
    return ModelError(f"{name!r} is no {what} known; use one of {', '.join(known)}.")
