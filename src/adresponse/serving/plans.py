"""What does the model that answers know for a plan, and what does a plan bring? The answers of ``/curves`` and ``/plan``.

numpy and the planning are loaded when one of them is first asked, so that a worker that only predicts stays small.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl

from adresponse import words
from adresponse.errors import AdresponseError, ConfigError, did_you_mean
from adresponse.rows import show
from adresponse.serving.answers import RequestError
from adresponse.serving.careful import read_json, what_is
from adresponse.serving.holder import Served

if TYPE_CHECKING:
    from adresponse.planning.horizon import Outlook
    from adresponse.planning.planned import Plan
    from adresponse.planning.prospect import Prospect
    from adresponse.planning.wishes import Wish

__all__ = ["GOALS", "MOST", "MOST_POINTS", "QUERY", "SCORED", "WISHES", "Planner", "Plans", "planner_of"]

FILE = "prospect.json"
MANIFEST = "manifest.json"
GOALS = ("total", "cap", "target_sales", "margin", "target_roi", "target_marginal_roi")
SCORED = ("horizon", "market", "level", "margin", "tail")  # what a plan of one's own may be asked with
WISHES = (*GOALS, "bounds", "locks", "groups", "beyond", *(k for k in SCORED if k not in GOALS), "spend")
QUERY = ("horizon", "market", "points", "level", "margin", "tail", "returns")
MOST = 1e15  # beyond it no amount is money, and sums lose their cents
MOST_GROUPS = 50  # each is compared with each
LONGEST_NAME = 256
POINTS, MOST_POINTS = 60, 500
WIDER = 1.25  # a curve is drawn so much further than the range seen, to show that it is not known there
KEPT = 16  # outlooks and texts that are kept for the next time, the oldest dropped first
AT_ONCE = 2  # of each kind; numpy lets others run meanwhile
GIVEN = b'"spend"'  # in the body of a plan that is to be scored
NONE = "RESOURCE_DOES_NOT_EXIST"
T = TypeVar("T")
K = TypeVar("K")


class Plans:
    """Answers ``/curves`` and ``/plan`` in threads, so that predictions are answered meanwhile.

    A given plan is scored in milliseconds and a slider waits for it, so it has threads of its own: curves and best plans take
    far longer, and it would wait behind them.
    """

    def __init__(self) -> None:
        self._kept: tuple[Served, Planner] | None = None
        self._working_out = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="plan")
        self._scoring = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="score")

    async def curves(self, served: Served, query: bytes) -> bytes:
        """The body that answers ``GET /curves``.

        Raises
        ------
        RequestError
            If the query is not understood, or the model cannot be planned.
        """
        asked = asked_of(query)
        return await _in(self._working_out, lambda: self._planner(served).curves(asked))

    async def plan(self, served: Served, body: bytes) -> bytes:
        """The body that answers ``POST /plan``.

        Raises
        ------
        RequestError
            If the wish is not understood or cannot be met, or the model cannot be planned.
        """
        threads = self._scoring if GIVEN in body else self._working_out
        return await _in(threads, lambda: self._planner(served).plan(_read(body)))

    def _planner(self, served: Served) -> Planner:
        kept = self._kept
        if kept is None or kept[0] is not served:
            kept = self._kept = (served, planner_of(served))
        return kept[1]


@dataclass(eq=False)
class Planner:
    """Plans with one model.

    Parameters
    ----------
    served : Served
    prospect : Prospect
        What lies beside its formula.
    """

    served: Served
    prospect: Prospect
    _outlooks: dict[tuple[int, str | None], Outlook] = field(default_factory=dict)
    _texts: dict[str, bytes] = field(default_factory=dict)

    def curves(self, asked: Mapping[str, Any]) -> bytes:
        """The response curves, as JSON; ``asked`` holds some of ``QUERY``, checked."""
        key = json.dumps(asked, sort_keys=True)
        text = self._texts.get(key)
        if text is None:
            text = _body(_refusing(lambda: self._curves(**asked)))
            _keep(self._texts, key, text)
        return text

    def plan(self, given: Any) -> bytes:
        """The plan that grants a wish best, or what a given one brings, as JSON.

        Raises
        ------
        RequestError
            If the wish is not understood or cannot be met.
        """
        from adresponse.planning.split import best_plan, score

        asked = wish_of(given)
        spend, wish = asked.spend, asked.wish

        def made() -> Plan:
            outlook = self._outlook(self.prospect.usual(spend) if asked.horizon is None else asked.horizon, asked.market)
            return best_plan(outlook, wish) if spend is None else score(outlook, spend, wish)

        return _body(_refusing(made))

    def _outlook(self, horizon: int, market: str | None) -> Outlook:
        key = horizon, market
        found = self._outlooks.get(key)
        if found is None:
            found = self.prospect.outlook(horizon, market)
            _keep(self._outlooks, key, found)
        return found

    def _curves(
        self,
        horizon: int | None = None,
        market: str | None = None,
        points: int = POINTS,
        level: float = 0.9,
        margin: float | None = None,
        tail: bool = False,
        returns: bool = True,
    ) -> dict[str, Any]:
        horizon = self.prospect.usual() if horizon is None else horizon
        contract, outlook = self.prospect.contract, self._outlook(horizon, market)
        target, formula = contract[contract.target], self.served.stored.formula
        return {
            "model": self.served.name or formula.about.get("name", ""),
            "version": self.served.version,
            "target": target.name,
            "target_means": target.means,
            "unit": outlook.sold,
            "money": outlook.money,
            "market": market,
            "markets": list(self.prospect.places),
            "dated": self.prospect.dated,
            "periods": outlook.periods,
            "dates": self.prospect.dates(horizon),
            "level": level,
            "margin": margin,
            "tail": tail,
            "today_total": math.fsum(outlook.today[c] * outlook.periods for c in outlook.channels),
            "base": _listed(outlook.base),
            "channels": [self._channel(outlook, i, points, level, margin, tail, returns) for i in range(len(outlook.channels))],
            "notes": list(_notes(self.prospect, outlook, tail, level)),
        }

    def _channel(
        self, outlook: Outlook, i: int, points: int, level: float, margin: float | None, tail: bool, returns: bool
    ) -> dict[str, Any]:
        from adresponse.planning import returns as figures

        name, response, periods = outlook.channels[i], outlook.responses[i], outlook.periods
        unit = periods * (outlook.size or 1.0)
        column = self.prospect.contract[name]
        top = WIDER * max(outlook.seen[name][1], outlook.today[name]) * periods or 1.0
        drawn = asdict(figures.curve(outlook, name, 0.0, top, points, level, tail))
        told = figures.returns(outlook, name, margin, level, tail) if returns else None
        return {
            "name": name,
            "means": column.means,
            "unit": column.unit,
            "today": drawn["today"],
            "seen": [drawn["seen_low"], drawn["seen_high"]],
            "shape": response.shape,
            "straight": response.shape == "linear",
            **{key: drawn[key] for key in ("spend", "sales", "low", "high", "marginal", "marginal_low", "marginal_high")},
            "points": [[x * unit, y * unit] for x, y in self.prospect.points.get(name, ())],
            **({key: words.plain(getattr(told, key)) for key in ("pays_until", "break_even", "saturation")} if told else {}),
        }


def planner_of(served: Served) -> Planner:
    """What plans with a served model: its prospect, as it was sealed.

    Raises
    ------
    RequestError
        If the model has none, or it was changed.
    """
    from adresponse.planning.prospect import Prospect

    stored = served.stored
    if not stored.formula.closed:
        raise RequestError(404, NONE, "The model has no closed formula, so it cannot be planned with.", reason="no plan")
    try:
        text, manifest = (stored.folder / FILE).read_bytes(), (stored.folder / MANIFEST).read_bytes()
    except OSError:
        raise RequestError(
            404,
            NONE,
            f"The model was stored without {FILE}, which a plan needs; fit and register it again with this adresponse.",
            reason="no plan",
        ) from None
    sealed = json.loads(manifest)["sha256"].get(FILE) if _digest(manifest) == stored.digest else None
    if sealed != _digest(text):
        raise RequestError(
            404, NONE, f"{FILE} was changed after the model was sealed; it is not planned with.", reason="no plan"
        )
    return Planner(served, _refusing(lambda: Prospect.from_json(text), 404, NONE))


def asked_of(query: bytes) -> dict[str, Any]:
    """What a query string of ``/curves`` asks: some of ``QUERY``.

    Raises
    ------
    RequestError
        If a name is unknown or given twice, or a value is out of range.
    """
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=len(QUERY))
    except ValueError:
        raise _bad(f"The query is not understood; give {_or(QUERY)}, each once.") from None
    asked: dict[str, Any] = {}
    for name, text in pairs:
        if name not in QUERY:
            raise _bad(
                f"The query asks for {show(name)}, which is not known.{did_you_mean(name[:80], QUERY)} Give {_or(QUERY)}."
            )
        if name in asked:
            raise _bad(f"The query gives {name} twice; give it once.")
        asked[name] = _READ[name](name, _from_text(name, text))
    return asked


@dataclass(frozen=True)
class Asked:
    """What a body asks: a wish, or a plan to be scored, for so many periods (None: the usual ones) and a market."""

    wish: Wish
    spend: dict[str, float | Sequence[float]] | None = None
    horizon: int | None = None
    market: str | None = None


def wish_of(given: Any) -> Asked:
    """What a body asks.

    Raises
    ------
    RequestError
        If it is not understood.
    """
    from adresponse.planning.wishes import Wish

    if not isinstance(given, dict):
        raise _bad(f"The body is {what_is(given)}; give an object with some of {_or(WISHES)}.")
    for name in given:
        if name not in WISHES:
            raise _bad(f"The key {show(name)} is not known.{did_you_mean(name[:80], WISHES)} Give some of {_or(WISHES)}.")
    asked = {name: value for name, value in given.items() if value is not None}
    if "spend" in asked and (more := [name for name in asked if name not in (*SCORED, "spend")]):
        raise _bad(f"spend is a plan to be scored as it is, so {more[0]} cannot be asked for with it; leave one of them out.")
    read = {name: _READ[name](name, value) for name, value in asked.items()}
    about = {name: read.pop(name) for name in ("spend", "horizon", "market") if name in read}
    return Asked(_refusing(lambda: Wish(**read)), **about)


async def _in(threads: ThreadPoolExecutor, work: Callable[[], bytes]) -> bytes:
    return await asyncio.get_running_loop().run_in_executor(threads, work)


def _read(body: bytes) -> Any:
    return read_json(body, "a wish in JSON, such as {}", "amounts by channel").value


# --- one value of a wish


def _number(name: str, value: Any) -> float:
    if not isinstance(value, float):
        raise _bad(f"{name} is {what_is(value)}; give a number.")
    if not abs(value) <= MOST:
        raise _bad(f"{name}={value:g} must be a finite number of at most {MOST:g}.")
    return value


def _share(name: str, value: Any) -> float:
    if not 0 < _number(name, value) < 1:
        raise _bad(f"{name}={value:g} is no share between 0 and 1; give 0.9 for nine of ten.")
    return float(value)


def _above_none(name: str, value: Any) -> float:
    if not _number(name, value) > 0:
        raise _bad(f"{name}={value:g} must be a finite number above 0.")
    return float(value)


def _whole(name: str, value: Any) -> int:
    if not _number(name, value).is_integer() or value < 1:
        raise _bad(f"{name}={value:g} must be a whole number of at least 1.")
    return int(value)


def _market(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _bad(f"{name} is {what_is(value)}; give a market's name, or null for an average one.")
    if len(value) > LONGEST_NAME:
        raise _bad(f"{show(value)} is no market of the model; give a market's name.")
    return value


def _points(name: str, value: Any) -> int:
    if not 2 <= _whole(name, value) <= MOST_POINTS:
        raise _bad(f"{name}={value:g} cannot be drawn; give 2 to {MOST_POINTS}.")
    return int(value)


def _yes(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _bad(f"{name} is {what_is(value)}; give true or false.")
    return value


def _object(name: str, value: Any, holds: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _bad(f"{name} is {what_is(value)}; give an object of {holds}.")
    return value


def _names(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(n, str) for n in value):
        raise _bad(f"{name} must be a list of channels' names.")
    return tuple(map(_channel, value))


def _channel(name: str) -> str:
    if len(name) > LONGEST_NAME:
        raise _bad(f"{show(name)} is no channel of the model; give a channel's name.")
    return name


def _ends(name: str, low: Any, high: Any) -> tuple[float, float]:
    """Two amounts; null, or a high one left out, is no bound."""
    return 0.0 if low is None else _number(name, low), math.inf if high is None else _number(name, high)


def _bounds(name: str, value: Any) -> dict[str, tuple[float, float]]:
    found = {}
    for channel, ends in _object(name, value, 'channels, such as {"tv": [50, 200]}').items():
        if not isinstance(ends, list) or len(ends) != 2:
            raise _bad(f"The bounds of {show(channel)} must be a list of two amounts, such as [50, 200]; null is no bound.")
        found[_channel(channel)] = _ends(f"The bounds of {show(channel)}", *ends)
    return found


def _groups(name: str, value: Any) -> tuple[Any, ...]:
    from adresponse.planning.wishes import Together

    if not isinstance(value, list):
        raise _bad(f"{name} is {what_is(value)}; give a list of objects with channels, low and high.")
    if len(value) > MOST_GROUPS:
        raise _bad(f"{name} has {len(value)} groups; give at most {MOST_GROUPS}.")
    found = []
    for number, group in enumerate(value, 1):
        what = f"Group {number}"
        for key in _object(what, group, "channels, low and high"):
            if key not in ("channels", "low", "high"):
                raise _bad(f"{what} has {show(key)}, which is not known; give channels, low and high.")
        low, high = _ends(what, group.get("low"), group.get("high"))
        found.append(Together(_names(f"channels of group {number}", group.get("channels")), low, high))
    return tuple(found)


def _spend(name: str, value: Any) -> dict[str, float | Sequence[float]]:
    found: dict[str, float | Sequence[float]] = {}
    for channel, amount in _object(name, value, 'channels, such as {"tv": 100}').items():
        what = f"spend of {show(channel)}"
        found[_channel(channel)] = [_number(what, x) for x in amount] if isinstance(amount, list) else _number(what, amount)
    return found


_READ: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(GOALS, _number),
    "bounds": _bounds,
    "locks": _names,
    "groups": _groups,
    "spend": _spend,
    "beyond": _yes,
    "tail": _yes,
    "returns": _yes,
    "horizon": _whole,
    "market": _market,
    "points": _points,
    "level": _share,
    "margin": _above_none,
}


def _from_text(name: str, text: str) -> Any:
    """A value of a query as JSON has it."""
    if name == "market":
        return text
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        raise _bad(f"The query gives {name} as {show(text)}; give a number, or true or false where it is a choice.") from None


# --- words and bytes


def _notes(prospect: Prospect, outlook: Outlook, tail: bool, level: float) -> list[str]:
    straight = [r.channel for r in outlook.responses if r.shape == "linear"]
    units = {prospect.contract[c].unit for c in outlook.channels}
    notes = []
    if straight:
        notes.append(
            f"{words.listing(straight)}: a straight line, on which each unit brings as much as the one before, so there is no "
            "best amount of its own."
        )
    if len(units) > 1:
        notes.append("The channels have different units, so their sum is no amount of money.")
    notes += outlook.notes(level)
    if any(len(r.weights) > 1 for r in outlook.responses):
        counted = "is counted" if tail else "is not counted"
        notes.append(
            f"Spend works on in later periods; what it still brings after the horizon {counted}. The points show what is "
            "brought where the same is spent in every period."
        )
    notes.append("Curves are fitted to what went together; that spend causes sales, only an experiment shows.")
    return notes


def _refusing(work: Callable[[], T], status: int = 400, code: str = "INVALID_PARAMETER_VALUE") -> T:
    """What ``work`` gives; a refusal of the planning is one of the request."""
    try:
        return work()
    except RequestError:
        raise
    except ConfigError as error:
        raise RequestError(400, "INVALID_PARAMETER_VALUE", str(error), reason="plan") from None
    except AdresponseError as error:
        raise RequestError(status, code, str(error), reason="plan") from None


def _bad(message: str) -> RequestError:
    return RequestError(400, "INVALID_PARAMETER_VALUE", message, reason="plan")


def _or(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _listed(values: Any) -> list[float]:
    import numpy as np

    return [float(v) for v in np.atleast_1d(np.asarray(values, dtype=float))]


def _body(value: Any) -> bytes:
    return json.dumps(words.plain(value), ensure_ascii=False, allow_nan=False).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _keep(kept: dict[K, T], key: K, value: T) -> None:
    for oldest in list(kept)[: len(kept) - KEPT + 1]:
        kept.pop(oldest, None)
    kept[key] = value
