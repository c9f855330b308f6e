"""The fitted model as numbers: read, write, evaluate.

A fitted response model is a closed formula. Each version carries it as ``formula.json``: exact floats that a person can
read, and all that a server, a batch job or a cluster needs to answer. This file needs numpy alone, and that for arrays only;
it goes with every stored model (see ``stored.py``).

The order of operations is part of the formula. A model of curves says it in ``curved.py``; that of a straight line is, for
features ``x_j`` in the contract's order::

    z_j = x_j * scale_j + shift_j
    prediction = ((coefficient_1 * z_1 + coefficient_2 * z_2) + ...) + intercept

Each is an IEEE double operation of its own, so that Python, numpy, DuckDB and the JVM give the same bits. Curves have powers,
logarithms and waves, which are numpy's everywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from .errors import AdresponseError, ConfigError, ModelError, RowsError
from .rows import Reads, Vector, as_level, not_finite
from .schema import Contract

if TYPE_CHECKING:
    from .curved import Curves

__all__ = ["BASE", "SCHEMA_VERSION", "Beyond", "Formula", "Spread", "Term", "contribution_name"]

SCHEMA = "adresponse/formula"
SCHEMA_VERSION = 3
CURVES_VERSION = 2  # what curves need whose markets have no sizes
LINEAR_VERSION = 1  # what a straight line needs; it is written so that an older adresponse reads it
BASE = "base"


def contribution_name(channel: str) -> str:
    """What the column of a channel's contribution is called in an answer."""
    return f"contribution_{channel}"


@dataclass(frozen=True)
class Spread:
    """How far rows lie from their prediction: a scale that is linear in the prediction, and calibrated scores.

    The interval of level ``a`` around a prediction ``f`` is ``f -/+ q s(f)`` with ``s(f) = max(intercept + slope f,
    floor)`` and ``q`` the ``ceil((n + 1) a)``-th smallest of the ``n`` scores ``|y - f| / s(f)`` of rows predicted by a
    model that had not seen them (locally weighted conformal prediction; Lei et al. 2018, section 5.2, with
    cross-validated residuals as in Barber et al. 2021). It holds its level on average whatever the errors' shape, and
    follows their growth.

    Parameters
    ----------
    intercept, slope, floor : float
        The scale, in the target's unit.
    scores : tuple of float
        Sorted, free of units.
    """

    intercept: float
    slope: float
    floor: float
    scores: tuple[float, ...]

    @property
    def highest_level(self) -> float:
        """The highest level for which there are enough rows."""
        return len(self.scores) / (len(self.scores) + 1)

    def scale(self, predicted: Vector) -> Vector:
        """Half-width of the interval before the quantile, shape (n_rows,), in the target's unit."""
        import numpy as np

        return np.asarray(np.maximum(self.intercept + self.slope * predicted, self.floor))

    def quantile(self, level: float) -> float:
        """The score that a share ``level`` of new rows stays below; infinite where the rows are too few to know.

        Raises
        ------
        ConfigError
            If ``level`` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ConfigError(f"level={level:g} is no share between 0 and 1; write 0.9 for nine of ten.")
        rank = math.ceil((len(self.scores) + 1) * level)
        return self.scores[rank - 1] if rank <= len(self.scores) else math.inf

    def finite_quantile(self, level: object) -> float:
        """The same for a level that a caller asked for: refused where no finite interval has it.

        Raises
        ------
        RowsError
            If ``level`` is not a number between 0 and 1, or higher than the rows fitted can tell.
        """
        share = as_level(level)
        found = self.quantile(share)
        if math.isinf(found):
            raise RowsError(
                f"interval={share} is higher than the {len(self.scores)} rows fitted can tell; "
                f"ask for at most {math.floor(self.highest_level * 1000) / 1000:g}."
            )
        return found

    def interval(self, predicted: Vector, level: float) -> tuple[Vector, Vector]:
        """Lower and upper ends at ``level`` (between 0 and 1), each of shape (n_rows,)."""
        reach = self.quantile(level) * self.scale(predicted)
        return predicted - reach, predicted + reach


@dataclass(frozen=True)
class Term:
    """What one feature adds: ``coefficient * (x * scale + shift)``, in the target's unit."""

    column: str
    scale: float
    shift: float
    coefficient: float


@dataclass(frozen=True)
class Beyond:
    """A column with values outside of what was fitted: the values given, and what they are beyond, in words."""

    column: str
    given: str
    bounds: str


@dataclass(frozen=True)
class Formula:
    """A fitted model in closed form, or what is known of one that has none.

    Parameters
    ----------
    contract : Contract
        Columns, roles, meanings and units.
    intercept : float
        In the target's unit; NaN where there is no closed form.
    terms : tuple of Term
        One for each feature, in the contract's order; empty where the model has no closed form and the stored
        pipeline has to be asked.
    spread : Spread
        Gives the prediction intervals.
    ranges : dict of str to (float, float)
        Lowest and highest value of each feature among the rows fitted, in its own unit.
    per_size : dict of str to (float, float)
        The same of each channel's spend over the size of its market, where markets differ in size: the curves speak for this
        range, whichever the market. Empty otherwise.
    about : dict of str to str
        Which model this is: ``name``, ``model_id``, ``package`` (version of adresponse), ``data_digest``, ``title``.
    modules : tuple of str
        Modules, beside scikit-learn's own, whose types the stored pipeline may hold.
    curves : Curves, optional
        The model of curves, in the place of intercept (NaN) and terms (none).
    """

    contract: Contract
    intercept: float
    terms: tuple[Term, ...]
    spread: Spread
    ranges: dict[str, tuple[float, float]]
    about: dict[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    curves: Curves | None = None
    per_size: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def closed(self) -> bool:
        """Whether the formula answers by itself."""
        return self.straight or self.curves is not None

    @property
    def straight(self) -> bool:
        """Whether it is a straight line: sums and products alone, row by row."""
        return bool(self.terms)

    @property
    def together(self) -> bool:
        """Whether rows have to be asked together, since the spend of one works in later ones."""
        return self.curves is not None and self.curves.history is not None

    @cached_property
    def reads(self) -> Reads:
        """Which columns it reads, for ``rows.check``."""
        if self.curves is None:
            return Reads(self.contract)
        history = self.curves.history
        markets = tuple(self.curves.baseline.markets or (history.spend if history is not None else ()))
        return Reads(self.contract, self.curves.dated, markets if self.curves.placed else ())

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the columns it reads, in order: channels, controls, then date and market where it needs them."""
        return self.reads.names

    def predict(self, columns: Sequence[Any]) -> Any:
        """Predicted sales, in the target's unit.

        Parameters
        ----------
        columns : sequence of ndarray of shape (n_rows,), or of float for a straight line
            The columns read, in order, checked (see ``rows.check``).

        Raises
        ------
        RowsError
            If two rows have one period and market where spend is carried.
        """
        if self.curves is not None:
            return self.curves.predict(*self._apart(columns))
        total: Any = None
        for term, x in zip(self.terms, columns, strict=True):
            part = term.coefficient * (x * term.scale + term.shift)
            total = part if total is None else total + part
        return total + self.intercept

    def parts(self, columns: Sequence[Vector]) -> tuple[Vector, list[Vector]]:
        """Sales at no spend, and what each channel adds to them; each of shape (n_rows,), in the target's unit.

        Summed in this order they are the prediction: of curves to the last bit, of a straight line but for rounding, since
        its own sum ends with the intercept.
        """
        import numpy as np

        if self.curves is not None:
            return self.curves.parts(*self._apart(columns))
        channels = len(self.contract.channels)
        base = self.predict([np.zeros_like(x) if i < channels else x for i, x in enumerate(columns)])
        pairs = zip(self.terms[:channels], columns[:channels], strict=True)
        return base, [t.coefficient * (x * t.scale) for t, x in pairs]

    def _apart(self, columns: Sequence[Vector]) -> tuple[Sequence[Vector], Any, Any]:
        """The features, the dates and the markets of checked columns; None for what is not read."""
        import numpy as np

        features = len(self.contract.features)
        rest = list(columns[features:])
        dates = np.asarray(rest.pop(0)).astype(np.int64).astype("datetime64[s]") if self.reads.date else None
        markets = np.array(self.reads.markets)[np.asarray(rest.pop(0)).astype(np.int64)] if self.reads.market else None
        return columns[:features], dates, markets

    def first_of(self, columns: Sequence[Vector]) -> Any:
        """For each row the index of the first row with its period and market, shape (n_rows,); its own without carry-over."""
        import numpy as np

        if self.curves is None or not self.together:
            return np.arange(len(columns[0]))
        return self.curves.first_of(*self._apart(columns)[1:])

    def figures(
        self,
        columns: Sequence[Vector],
        level: object = None,
        predicted: Vector | None = None,
        contributions: bool = False,
    ) -> dict[str, Vector]:
        """The same as ``answer``, where an answer that no double can hold is left as it is, infinite or NaN."""
        import numpy as np

        with np.errstate(over="ignore", invalid="ignore"):
            more: dict[str, Vector] = {}
            if contributions:
                base, added = self._known_parts(columns)
                more = {BASE: base, **dict(zip(map(contribution_name, self.contract.channels), added, strict=True))}
            found = self.predict(columns) if predicted is None else predicted
            answers = {"prediction": found}
            if level is not None:
                reach = self.spread.finite_quantile(level) * self.spread.scale(found)
                answers |= {"lower": found - reach, "upper": found + reach}
        return answers | more

    def _known_parts(self, columns: Sequence[Vector]) -> tuple[Vector, list[Vector]]:
        if not self.closed:
            raise RowsError(
                "The model has no closed formula, so it cannot say what each channel adds; leave contributions out."
            )
        return self.parts(columns)

    def answer(
        self,
        columns: Sequence[Vector],
        level: object = None,
        predicted: Vector | None = None,
        contributions: bool = False,
    ) -> dict[str, Vector]:
        """``prediction`` for each row and what else is asked for, in the target's unit and in this order.

        Parameters
        ----------
        columns : sequence of ndarray of shape (n_rows,)
            The columns read, in order, checked.
        level : float between 0 and 1, optional
            Adds ``lower`` and ``upper``: the interval that should hold this share of new rows.
        predicted : ndarray of shape (n_rows,), optional
            What the stored pipeline predicts, where the model has no closed form.
        contributions : bool
            Adds ``base`` and ``contribution_CHANNEL`` for each channel; see ``parts``.

        Raises
        ------
        RowsError
            If the level or the contributions cannot be given, a prediction is not finite, or two rows have one period and
            market where spend is carried.
        """
        import numpy as np

        answers = self.figures(columns, level, predicted, contributions)
        for values in answers.values():
            if not np.isfinite(values).all():
                raise not_finite(int(np.argmin(np.isfinite(values))) + 1)
        return answers

    def answer_names(self, level: object = None, contributions: bool = False) -> tuple[str, ...]:
        """Names of the columns that ``answer`` gives."""
        added = (BASE, *map(contribution_name, self.contract.channels)) if contributions else ()
        return ("prediction", *(("lower", "upper") if level is not None else ()), *added)

    def beyond(self, columns: Sequence[Vector | Sequence[float]]) -> list[Beyond]:
        """The features with values outside the range fitted; and the date, where one lies before the first row fitted, or
        later after the last one than that is after the first.
        """
        found = []
        for (name, (low, high)), x in zip(self.limits.items(), self.measured(columns), strict=True):
            least, most = (min(x), max(x)) if isinstance(x, Sequence) else (float(x.min()), float(x.max()))
            if least < low or most > high:
                own = (f"{least:g} to {most:g}", f"the range fitted, {low:g} to {high:g}")
                found.append(Beyond(name, *(self._beyond_size(name, x, columns) if name in self.per_size else own)))
        if self.curves is not None and self.reads.date is not None:
            given = self.curves.baseline.beyond(self.dates(columns))
            found += [Beyond(self.reads.date, *given)] if given else []
        return found

    @property
    def sizes(self) -> dict[str, float]:
        """How large each market is, where they differ; see ``Curves``."""
        return {} if self.curves is None else self.curves.sizes

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        """The range that the rows fitted speak for of each feature, as ``measured`` gives it."""
        return self.ranges | self.per_size

    def measured(self, columns: Sequence[Any]) -> list[Any]:
        """The features of checked columns as their ``limits`` count them: where markets differ in size, spend over size."""
        import numpy as np

        features = list(columns[: len(self.ranges)])
        if not self.per_size:
            return features
        size = np.array([self.sizes[m] for m in self._markets(columns)])
        return [np.asarray(x) / size if name in self.per_size else x for name, x in zip(self.ranges, features, strict=True)]

    def _beyond_size(self, name: str, measured: Vector, columns: Sequence[Any]) -> tuple[str, str]:
        """What is given in the market that lies farthest beyond the range of its size, and that range."""
        import numpy as np

        low, high = self.per_size[name]
        markets = self._markets(columns)
        market = str(markets[np.argmax(np.maximum(low - measured, measured - high))])
        size = self.sizes[market]
        own = np.asarray(columns[list(self.ranges).index(name)])[markets == market]
        given = f"{own.min():g} to {own.max():g} in {market}"
        return given, f"the range fitted for the size of {market}, {low * size:g} to {high * size:g}"

    def _markets(self, columns: Sequence[Any]) -> Any:
        """The market of each row of checked columns; None where the model reads none."""
        import numpy as np

        return self._apart([np.asarray(x) for x in columns])[2]

    def dates(self, columns: Sequence[Any]) -> Any:
        """The dates of checked columns, shape (n_rows,); None where the model reads none."""
        import numpy as np

        return self._apart([np.asarray(x) for x in columns])[1]

    def outside(self, dates: Any) -> Any:
        """Which of these dates are not among those that the rows fitted speak for, shape (n_rows,)."""
        import numpy as np

        return np.zeros(np.shape(dates), dtype=bool) if self.curves is None else self.curves.baseline.outside(dates)

    @property
    def _version(self) -> int:
        """The oldest version of the schema that can say it."""
        if self.curves is None:
            return LINEAR_VERSION
        return SCHEMA_VERSION if self.sizes else CURVES_VERSION

    def to_json(self) -> str:
        """The text of ``formula.json``."""
        form = "linear" if self.straight else "curves" if self.curves is not None else "none"
        value: dict[str, Any] = {
            "schema": SCHEMA,
            "schema_version": self._version,
            "about": self.about,
            "contract": self.contract.to_dict(),
            "form": form,
            "reads": "prediction = sum of coefficient * (column * scale + shift) over the terms, in order, + intercept",
            "intercept": self.intercept,
            "terms": [{**asdict(t), "shape": "linear"} for t in self.terms],
            "ranges": {name: list(ends) for name, ends in self.ranges.items()},
            **({"ranges_per_size": {name: list(ends) for name, ends in self.per_size.items()}} if self.per_size else {}),
            "interval": {
                "reads": "prediction -/+ q * max(intercept + slope * prediction, floor), with q the ceil((n + 1) * level)-th "
                "smallest of the n scores",
                **{k: v for k, v in asdict(self.spread).items() if k != "scores"},
                "scores": list(self.spread.scores),
            },
        }
        if self.curves is not None:
            value |= {"reads": _READS_CURVES, "curves": self.curves.to_dict()}
            value["interval"] = value.pop("interval")
        elif not self.closed:
            value |= {"reads": "no closed form: the pipeline beside this file answers", "modules": list(self.modules)}
        if not self.straight:
            del value["intercept"], value["terms"]
        return _lines(value) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The formula of a ``formula.json``.

        Raises
        ------
        ModelError
            If the text is no formula, or one of a newer schema version.
        """
        try:
            given = json.loads(text)
            if not isinstance(given, Mapping) or given.get("schema") != SCHEMA:
                raise ModelError(f"formula.json is no formula: its schema is not {SCHEMA!r}.")
            if given["schema_version"] > SCHEMA_VERSION:
                raise ModelError(
                    f"formula.json has schema version {given['schema_version']}, and this adresponse reads up to "
                    f"{SCHEMA_VERSION}; update adresponse."
                )
            return cls._from_dict(given)
        except ModelError:
            raise
        except (AdresponseError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"formula.json cannot be read ({type(error).__name__}: {error}).") from error

    @classmethod
    def _from_dict(cls, given: Mapping[str, Any]) -> Self:
        contract = Contract.from_dict(given["contract"])
        if given["form"] not in ("linear", "curves", "none"):
            raise ModelError(f"formula.json has the form {given['form']!r}, which this adresponse does not know; update it.")
        terms = tuple(_term(t) for t in given.get("terms", ()))
        if given["form"] == "linear" and tuple(t.column for t in terms) != contract.features:
            raise ModelError("formula.json does not have one term for each feature of its contract, in its order.")
        ends = _ends(given["ranges"])
        curves = _curves(given["curves"], contract) if given["form"] == "curves" else None
        per_size = _ends(given.get("ranges_per_size", {})) if curves is not None and curves.sizes else {}
        return cls(
            contract,
            _finite(given["intercept"]) if terms else math.nan,
            terms,
            _spread(given["interval"]),
            {name: ends[name] for name in contract.features},
            {str(k): str(v) for k, v in given["about"].items()},
            tuple(map(str, given.get("modules", ()))),
            curves,
            {name: per_size[name] for name in contract.channels if per_size},
        )


_READS_CURVES = (
    "prediction = baseline + sum of coefficient * shape(sum of weights * spend of this and earlier periods) over responses, "
    "in order; baseline = intercept + trend * period / span + season * (sin, cos, sin 2, cos 2, ...) of the year + weekday + "
    "controls + market; spend of earlier periods comes from the rows asked, else from history, else it is the mean; where "
    "sizes are given, spend is divided by the size of its market, and the sum times it"
)


def _curves(given: Mapping[str, Any], contract: Contract) -> Curves:
    from .curved import Curves

    _refuse_infinite(given)
    found = Curves.from_dict(given)
    if tuple(r.channel for r in found.responses) != contract.channels or tuple(found.baseline.controls) != contract.controls:
        raise ModelError("formula.json does not have one response or control for each feature of its contract, in its order.")
    if len(found.baseline.weekdays) not in (0, 7):
        raise ModelError("formula.json does not have a level for each of the seven days of the week.")
    if any(size <= 0 for size in found.sizes.values()) or (found.sizes and set(found.sizes) != set(found.baseline.markets)):
        raise ModelError("formula.json does not have a size above 0 for each of its markets.")
    if (found.dated and contract.date is None) or (found.placed and contract.market is None):
        raise ModelError("formula.json needs a date or a market that its contract does not have.")
    return found


def _refuse_infinite(value: Any) -> None:
    """Refuse a number that is not finite, however deep it lies."""
    if isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            _refuse_infinite(inner)
    elif isinstance(value, float):
        _finite(value)


def _term(given: Mapping[str, Any]) -> Term:
    if given["shape"] != "linear":
        raise ModelError(f"formula.json has the shape {given['shape']!r}, which this adresponse does not know; update it.")
    return Term(str(given["column"]), *(_finite(given[k]) for k in ("scale", "shift", "coefficient")))


def _spread(given: Mapping[str, Any]) -> Spread:
    intercept, slope, floor = (_finite(given[k]) for k in ("intercept", "slope", "floor"))
    return Spread(intercept, slope, floor, tuple(map(_finite, given["scores"])))


def _ends(given: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    return {str(name): (float(low), float(high)) for name, (low, high) in given.items()}


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ModelError("formula.json holds a number that is not finite.")
    return number


def _lines(value: Any, indent: str = "") -> str:
    """JSON with a line for each key, and lists of numbers or of flat objects as a person writes them."""
    inner = indent + "  "
    if isinstance(value, dict) and value and any(isinstance(v, dict | list) for v in value.values()):
        body = ",\n".join(f"{inner}{json.dumps(k, ensure_ascii=False)}: {_lines(v, inner)}" for k, v in value.items())
        return f"{{\n{body}\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        return "[\n" + ",\n".join(inner + _lines(v, inner) for v in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
