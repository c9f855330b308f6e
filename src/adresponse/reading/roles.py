"""Which column is what, where nobody said so? Read from the names and from the first block of cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from adresponse.errors import TableError
from adresponse.findings import Finding
from adresponse.reading import cells, dates, numerals
from adresponse.schema import Contract
from adresponse.words import listing

__all__ = ["Look", "Roles", "assign", "findings", "holds_numbers", "look", "writes_dates_with_points"]

_SALES = (
    *("sales", "revenue", "turnover", "orders", "units", "conversions", "purchases", "transactions", "sold", "signups"),
    *("umsatz", "absatz", "erlös", "ventas", "ingresos", "ventes", "vendite", "target", "kpi", "conversion", "conv"),
)
_MONEY = {"spend", "spent", "cost", "costs", "budget", "budgets", "adspend", "kosten", "ausgaben"}
_EXPOSURE = {"impressions", "impression", "impr", "clicks", "grp", "grps", "views", "reach"}
_OF_SALES = {"roas", "acos", "ctr"}
_PRICES = {"cpc", "cpm", "cpa", "cpv"}  # of one click, thousand views, ...; alone such a name may be a channel's
_AVERAGE = {"avg", "average"}
_SPEND = {*_MONEY, *_EXPOSURE, "ad", "ads"}
_NO_SPEND = {
    *("price", "prices", "discount", "promo", "promotion", "holiday", "holidays", "preis"),
    *("temperature", "weather", "competitor", "competitors", "unemployment", "inflation", "population"),
}
_MARKETS = ("market", "region", "geo", "state", "store", "dma", "city", "country", "province", "county", "area")
_DATES = (
    *("date", "week", "month", "day", "period", "time", "datum", "woche", "monat", "tag"),
    *("fecha", "semana", "mes", "jour", "semaine", "mois"),
)
_CALENDAR = {*_DATES, "year", "quarter", "weekday", "hour", "jahr", "quartal", "dayofyear", "dayofweek", "weekofyear"}
_SUFFIXES = {"id", "name", "code", "no", "nr", "num", "number", "key", "of", "iso", "index"}
_INDEX = re.compile(r"(unnamed: ?\d+|id|index|row|__index_level_\d+__)?", re.IGNORECASE)
_SHORTENED = r"^[^\w.,]*\d[\d.,' ]*\s?(%|[^\W\d]{1,3})\.?$"  # 12k, 3 %, 1.5 Mio
_MONTHS_OF_A_YEAR = 12
_SHOWN = 1_000  # of the first block's values, where the name does not ask to look at all


@dataclass(frozen=True)
class Look:
    """What the first block of a column shows: ``sample`` is its first value, ``shortened`` that most are like 12k or 3 %."""

    name: str
    kind: Literal["number", "text", "date", "flag", "empty"]
    negative: bool = False
    counts_up: bool = False
    distinct: int = 0
    writes_dates: bool = False
    switch: bool = False
    sample: str = ""
    shortened: bool = False


@dataclass(frozen=True)
class Roles:
    """A column name for each role; as asked for, or with what was inferred filled in."""

    target: str | None = None
    channels: tuple[str, ...] | None = None
    controls: tuple[str, ...] = ()
    date: str | None = None
    market: str | None = None
    inferred: tuple[str, ...] = field(default=(), compare=False)
    left_out: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def named(self) -> tuple[str, ...]:
        """All columns that have a role."""
        single = (self.target, self.date, self.market)
        return (*(self.channels or ()), *self.controls, *(n for n in single if n is not None))


def look(name: str, array: Any, decimal: numerals.Decimal) -> Look:
    """What this column's first block shows."""
    kind = _kind(array)
    written = cells.texts(array) if names_a_date(name) else None
    writes_dates = kind == "date" or (written is not None and _mostly_dates(written))
    sample = next((str(v) for v in array.drop_null().slice(0, 1).to_pylist()), "")
    if kind == "text" and cells.is_text(array):
        text = numerals.missing_as_null(array.unique()).drop_null()
        shortened = pc.mean(pc.match_substring_regex(text, _SHORTENED)).as_py() >= 0.5
        writes_dates = writes_dates or _mostly_dates(text.slice(0, _SHOWN), at_least=1.0)
        return Look(name, kind, distinct=len(text), writes_dates=writes_dates, sample=text[0].as_py(), shortened=shortened)
    if kind != "number":
        return Look(name, kind, writes_dates=writes_dates, sample=sample)
    values, _ = cells.to_numbers(array, decimal)
    known = np.unique(values)
    switch = np.array_equal(known[np.isfinite(known)], (0, 1))
    return Look(name, kind, bool((values < 0).any()), _counts_up(values), len(known), writes_dates, switch, sample)


def _kind(array: Any) -> Literal["number", "text", "date", "flag", "empty"]:
    if cells.is_text(array):
        return _kind_of_text(numerals.missing_as_null(array))
    if array.null_count == len(array):
        return "empty"
    if cells.is_number(array):
        return "number"
    if pa.types.is_boolean(array.type):
        return "flag"
    return "date" if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type) else "text"


def holds_numbers(text: Any) -> bool:
    """Whether at least half of the cells that say anything write a number."""
    return _kind_of_text(numerals.missing_as_null(text)) == "number"


def _kind_of_text(text: Any) -> Literal["number", "text", "empty"]:
    given = len(text) - text.null_count
    if not given:
        return "empty"
    return "number" if 2 * pc.sum(numerals.like_numbers(text)).as_py() >= given else "text"


def _mostly_dates(text: Any, at_least: float = 0.5) -> bool:
    known = numerals.missing_as_null(text).unique().drop_null().to_pylist()
    good = sum(any(dates.parse(t, first) for first in (False, True)) for t in known)
    return bool(known) and good >= at_least * len(known)


def _counts_up(values: Any) -> bool:
    start = values[0] if len(values) > 2 else np.nan
    return bool(start in (0, 1) and np.array_equal(values, np.arange(start, start + len(values))))


def _words(name: str) -> list[str]:
    """The words of a name in lower case: ``NetSales_2024`` holds net, sales and 2024."""
    parted = re.sub(r"(?<=[a-zß-ÿ])(?=[A-ZÀ-Þ])", " ", name)
    return [w for w in re.split(r"[\W_]+", parted.casefold()) if w]


def names_a_date(name: str) -> bool:
    """Whether a name speaks of dates, be it within a word (``orderdate``)."""
    return any(word in name.casefold() for word in _DATES)


def writes_dates_with_points(name: str, array: Any) -> bool:
    """Whether a column holds dates such as 12.2024, which look like numbers; ``Daytime TV`` holds none."""
    if not (cells.is_text(array) and names_a_date(name)):
        return False
    pointed = array.filter(pc.match_substring_regex(array, "[.,]"), null_selection_behavior="drop")
    return _mostly_dates(pointed.slice(0, 1_000))


def _is_market(name: str) -> bool:
    words = _words(name)
    while len(words) > 1 and words[-1] in _SUFFIXES:
        words.pop()
    return bool(words) and (words[-1] in _MARKETS or words[-1].removesuffix("s") in _MARKETS)


def _is_index(name: str) -> bool:
    return _INDEX.fullmatch(name) is not None


def _is_no_spend(name: str) -> bool:
    """Whether a name speaks of what moves sales but is no money spent, ``Price``; ``Promotion spend`` is."""
    words = set(_words(name))
    return _is_price(name) or (bool(words & _NO_SPEND) and not words & _SPEND)


def _is_price(name: str) -> bool:
    """Whether a name is of one thing per another, ``cost_per_click``; ``spend per week`` is no price."""
    _, other = _per(name)
    return bool(other)


def _per(name: str) -> tuple[set[str], set[str]]:
    """The words before and after ``per``, none after it where these are of time and place."""
    of, _, other = " ".join(_words(name)).partition(" per ")
    after = set(other.split())
    return set(of.split()), set() if after & {*_CALENDAR, *_MARKETS} else after


def _is_calendar(name: str) -> bool:
    words = set(_words(name))
    return bool(words & _CALENDAR) and words <= _CALENDAR | _SUFFIXES


def assign(asked: Roles, looks: Sequence[Look], source: str) -> Roles:
    """The asked roles, checked against the columns present, with the open ones filled in.

    Channels and controls are inferred where no channels are asked for; the target, a date and a market always.
    """
    names = [one.name for one in looks]
    _check(asked, names)
    roles = asked
    if roles.date is None:
        dated = [one.name for one in _free(roles, looks) if one.writes_dates]
        roles = replace(roles, date=_first([*filter(names_a_date, dated), *dated]))
    if roles.market is None:
        roles = replace(roles, market=_market_of(_free(roles, looks)))
    if roles.target is None:
        roles = replace(roles, target=_target_of(_numeric(_free(roles, looks), at_least=2), source))
    if roles.channels is None:
        _refuse_periods_as_columns(names, source)
        roles = _with_channels(roles, _free(roles, looks), source)
    return replace(roles, inferred=tuple(n for n in roles.named if n not in asked.named))


def _check(asked: Roles, names: Sequence[str]) -> None:
    for role in ("target", "date", "market"):
        if (name := getattr(asked, role)) is not None:
            _pick(name, names, role)
    for name in asked.channels or ():
        _pick(name, names, "channel")
    for name in asked.controls:
        _pick(name, names, "control")


def _refuse_periods_as_columns(names: Sequence[str], source: str) -> None:
    dated = [name for name in names if dates.parse(name, day_first=True) or dates.parse(name, day_first=False)]
    if 2 * len(dated) > len(names):
        raise TableError(
            f"Most columns of {source} are named by dates (the first is {dated[0]!r}); turn the table, so that each period "
            "is a row, and each channel a column."
        )


def _pick(name: str, names: Sequence[str], role: str) -> None:
    if not name.strip():
        raise TableError(f"The {role} column has a blank name ({name!r}); give it a name in the table's header.")
    Contract.pick(name, [n for n in names if n], role)


def _free(roles: Roles, looks: Sequence[Look]) -> list[Look]:
    return [one for one in looks if one.name not in roles.named]


def _first(names: Iterable[str]) -> str | None:
    return next(iter(names), None)


def _market_of(looks: Sequence[Look]) -> str | None:
    """The column named as a market, the finest one where there are several (city rather than country)."""
    named = [one for one in looks if _is_market(one.name) and one.kind in ("text", "number")]
    return max(named, key=lambda one: one.distinct).name if named else None


def _numeric(looks: Sequence[Look], at_least: int) -> list[Look]:
    """The columns that can be measures: numeric, neither a calendar's number nor a row's.

    Values that count up from 0 or 1 number the rows, unless ``at_least`` so many measures would not be left.
    """
    measures = [one for one in looks if one.kind == "number" and not (_is_index(one.name) or _is_calendar(one.name))]
    beyond = [one for one in measures if not one.counts_up or _sales_rank(one.name) is not None]
    return beyond if len(beyond) >= at_least else measures


def _sales_rank(name: str) -> tuple[int, int] | None:
    """How well a name says "sales": whole before last word before any word, then by the usual order of words."""
    words = _words(name)
    if words == ["y"]:
        return 0, len(_SALES)
    if set(words) & (_SPEND | _NO_SPEND) or _is_price(name):
        return None
    ranks = [(_place(word, words), rank) for rank, word in enumerate(_SALES) if word in words]
    return min(ranks, default=None)


def _place(word: str, words: list[str]) -> int:
    return 0 if words == [word] else 1 if words[-1] == word else 2


def _target_of(measures: Sequence[Look], source: str) -> str:
    ranked = [(rank, one.name) for one in measures if (rank := _sales_rank(one.name)) is not None]
    if ranked:
        return min(ranked, key=lambda pair: pair[0])[1]
    if not measures:
        raise TableError(
            f"No column of {source} holds numbers, so there is nothing to explain; look whether it is the table (and the "
            "sheet, --sheet) that you mean, and whether its first row holds the column names."
        )
    return measures[-1].name


def _with_channels(roles: Roles, looks: Sequence[Look], source: str) -> Roles:
    results = {one.name: why for one in looks if (why := _result(one.name))}
    measures = _numeric([one for one in looks if one.name not in results], at_least=1)
    spend = [one for one in measures if not one.negative and not _is_no_spend(one.name)]
    amounts = [one.name for one in spend if not one.switch] or [one.name for one in spend]
    exposures = _beside_money(amounts)
    channels = tuple(name for name in amounts if name not in exposures)
    controls = tuple(one.name for one in measures if one.name not in amounts)
    if not channels:
        raise TableError(
            f"No channel column is left in {source} beside the target {roles.target!r}: a channel is a numeric column "
            f"without negative values; name the spend columns with --channels."
        )
    left_out = {one.name: _why_left_out(one, exposures, results) for one in looks if one.name not in (*channels, *controls)}
    return replace(roles, channels=channels, controls=(*roles.controls, *controls), left_out=left_out)


def _result(name: str) -> str:
    """Why a column is no cause of the target but made with it, if its name says so: other sales, what a click cost."""
    if _is_ratio(name):
        return "a ratio"
    return "sales, as the target" if _sales_rank(name) is not None else ""


def _is_ratio(name: str) -> bool:
    """Whether a name is of what ads brought for their price, or cost: ``ROAS``, ``Cost / conv.``, ``CPM (cost per 1,000)``."""
    words = set(_words(name))
    return bool(words & _OF_SALES or (words & _AVERAGE and words & _PRICES)) or any(map(_is_price_of_ads, name.split("(")))


def _is_price_of_ads(name: str) -> bool:
    of, other = _per(name.replace("/", " per "))
    return bool(of and other) and of <= _MONEY | _EXPOSURE | _AVERAGE


def _beside_money(names: Sequence[str]) -> list[str]:
    """The columns of impressions, clicks and the like, where others say what was spent: a budget is decided in money."""
    words = {name: set(_words(name)) for name in names}
    if not any(w & _MONEY for w in words.values()):
        return []
    return [name for name, w in words.items() if w & _EXPOSURE and not w & _MONEY]


def _why_left_out(one: Look, exposures: Sequence[str], results: Mapping[str, str]) -> str:
    if one.kind == "number" and one.name in results:
        return results[one.name]
    if one.name in exposures:
        return "no money, where other columns are"
    if one.kind != "number":
        return {"text": "text", "date": "dates", "flag": "true or false", "empty": "no values"}[one.kind]
    return "a calendar number" if _is_calendar(one.name) and not _is_index(one.name) else "a row number"


def findings(roles: Roles, looks: Sequence[Look]) -> list[Finding]:
    """What was inferred (D013), what was left out by it (D015), and which column may hold dates that are not read (D022)."""
    found = []
    if roles.inferred:
        found.append(Finding("D013", "note", f"Roles were inferred: {_taken(roles)}.{_below_zero(roles, looks)}", _NAME_THEM))
    unread = [one for one in looks if one.shortened and one.name in roles.left_out and not _is_ratio(one.name)]
    found += map(_no_plain_numbers, unread)
    others = {name: why for name, why in roles.left_out.items() if name not in {one.name for one in unread}}
    if others:
        listed = ", ".join(f"{name!r} ({why})" for name, why in others.items())
        found.append(Finding("D015", "note", f"Columns left out: {listed}.", _NAME_THEM))
    undated = [one for one in looks if _may_be_dates(one) and one.name not in roles.named]
    if roles.date is None and undated:
        found.append(_no_dates(undated[0]))
    return found


def _below_zero(roles: Roles, looks: Sequence[Look]) -> str:
    """That a column is no channel, since it goes below 0, where its name does not say as much."""
    doubtful = [one.name for one in looks if one.negative and one.name in roles.inferred and one.name in roles.controls]
    names = listing([repr(name) for name in doubtful if not _is_no_spend(name)])
    return f" Below 0 in some rows, as no spend is, and so no channel: {names}." if names else ""


def _no_plain_numbers(one: Look) -> Finding:
    return Finding(
        "D015",
        "review",
        f"Column {one.name!r} was left out, since cells such as {one.sample!r} are no plain numbers.",
        "Write them as 1234.5, all in one unit, if the column was spent or explains sales.",
    )


def _may_be_dates(one: Look) -> bool:
    """Whether a column that is not read as dates may say when its rows were: more different values than months of a year."""
    text = one.kind == "text" and set(_words(one.name)) & _CALENDAR and any(map(str.isdigit, one.sample))
    number = one.kind == "number" and _is_calendar(one.name) and not _is_index(one.name)
    return bool(text or number) and one.distinct > _MONTHS_OF_A_YEAR


def _no_dates(one: Look) -> Finding:
    return Finding(
        "D022",
        "review",
        f"No column was read as dates: what {one.name!r} holds, such as {one.sample!r}, is no way to write one that is known. "
        "So rows count as being in no order: there is no carry-over, trend or season, and any of them may be held out.",
        "Write dates as 2024-12-31, 2024-W52, 2024-12 or 2024-Q4.",
    )


_NAME_THEM = "Name target, channels, controls, date and market where this is not what you mean."


def _taken(roles: Roles) -> str:
    by_role = {
        "target": (roles.target,),
        "channel": roles.channels or (),
        "control": roles.controls,
        "date": (roles.date,),
        "market": (roles.market,),
    }
    inferred = {role: [n for n in names if n in roles.inferred] for role, names in by_role.items()}
    return "; ".join(f"{_plural(role, names)} {', '.join(map(repr, names))}" for role, names in inferred.items() if names)


def _plural(role: str, names: Sequence[str]) -> str:
    return role if len(names) == 1 else f"{role}s"
