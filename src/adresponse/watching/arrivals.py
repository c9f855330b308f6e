"""Is the new file still the table that the model was fitted on: the same columns, units, and rows not seen before?"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from adresponse import words
from adresponse.checks import LARGEST
from adresponse.errors import did_you_mean
from adresponse.findings import Finding, Severity
from adresponse.rows import Reads
from adresponse.schema import Contract
from adresponse.watching.beside import of_shared_markets

__all__ = ["Arrivals", "arrive", "compare_columns"]

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]
CODES = {
    "missing": "W001",
    "new": "W002",
    "renamed": "W003",
    "retyped": "W004",
    "unit": "W005",
    "repeated": "W006",
    "revised": "W007",
    "gap": "W008",
    "bad": "W009",
    "unknown market": "W021",
}
SAME_ROWS = 8  # rows that two columns need before their distributions can name a rename or a unit
ALIKE = 0.1  # p of a Kolmogorov-Smirnov test above which a renamed column's values look like the old one's
UNLIKE = 1e-4  # p below which values are not those of the old unit
RESCALED = 1e-3  # p above which rescaled values pass for the old ones
LOOSELY = 0.6  # largest gap between the two distributions, if the factor is 100 or more: a quarter of a year may differ so much
NEAR = math.log(2.5)  # a ratio of medians this near to a factor may be that factor: the median of 20 rows is that unsure
POWERS = tuple(float(f"1e{e}") for e in range(-9, 10) if e)
CONVERSIONS = {
    7.0: "weeks against days",
    12.0: "years against months",
    52.0: "years against weeks",
    60.0: "hours against minutes",
}
SCALES = {10.0: "tens", 100.0: "hundreds", 1e3: "thousands", 1e6: "millions", 1e9: "billions"}
CHANCE_REPEATS = 0.05  # share of rows without a key that may repeat old ones by chance
FEW_REPEATS = 3
EQUAL = 1e-9  # relative: the same value after a trip through another file format
BAD_SHARE = 0.05  # share of rows with bad values beyond which the rest cannot stand for the file
LISTED = 12  # markets that are named


@dataclass(frozen=True)
class Arrivals:
    """What arrived: the rows that can be looked at, and what is to be said about the file.

    Parameters
    ----------
    frame : DataFrame
        The usable new rows under the contract's names: features float64, target float64 (NaN where not known), date and
        market where there; the index is the row's number in the file, from 1. Empty where a column cannot be used.
    findings : tuple of Finding
        What differs from the table fitted, the most serious first.
    rows : int
        Rows in the file.
    repeated, revised, bad, unknown_market : int
        Rows left out, since they were there before, came before with other values, cannot be scored, or are of a market that
        the model does not know.
    """

    frame: pd.DataFrame
    findings: tuple[Finding, ...]
    rows: int
    repeated: int = 0
    revised: int = 0
    bad: int = 0
    unknown_market: int = 0


def compare_columns(contract: Contract, raw: pd.DataFrame, reference: pd.DataFrame) -> tuple[Finding, ...]:
    """What differs between a new file, as read, and the rows that the model stood on; the most serious first."""
    return arrive(contract, raw, reference).findings


def arrive(contract: Contract, raw: pd.DataFrame, reference: pd.DataFrame, reads: Reads | None = None) -> Arrivals:
    """Hold a new file against the contract and the rows that the model stood on.

    Parameters
    ----------
    contract : Contract
        The model's columns.
    raw : DataFrame
        The new file as read; columns may be missing, of another name, type or unit. The target may be missing.
    reference : DataFrame
        The rows that the model stood on, with the contract's columns.
    reads : Reads, optional
        What the model reads, and the markets that it knows; without it, the contract's features alone.
    """
    reads = reads or Reads(contract)
    raw = raw.reset_index(drop=True)
    raw.index = pd.RangeIndex(1, len(raw) + 1)
    raw.columns = [str(c) for c in raw.columns]
    found = list(_columns(reads, raw, reference))
    typed, retyped = _typed(contract, raw)
    found += retyped
    unknown, unknown_findings = _unknown_markets(reads, typed)
    found += unknown_findings
    typed = typed.loc[~unknown]  # a market of another size would pass for another unit or a moved column
    found += _units(contract, typed, reference)
    if any(f.severity == "stop" for f in found) or not len(typed):
        return Arrivals(typed.iloc[:0], _ordered(found), len(raw), unknown_market=int(unknown.sum()))
    bad, bad_findings = _bad(reads, typed)
    repeated, revised, key_findings = _keys(contract, typed.loc[~bad], reference)
    found += bad_findings + key_findings
    usable = typed.loc[~bad].loc[~(repeated | revised)]
    found += _gaps(contract, usable, reference)
    left_out = (int(mask.sum()) for mask in (repeated, revised, bad, unknown))
    return Arrivals(usable, _ordered(found), len(raw), *left_out)


def _ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda f: ("stop", "review", "note").index(f.severity)))


# --- names


def _columns(reads: Reads, raw: pd.DataFrame, reference: pd.DataFrame) -> Iterator[Finding]:
    known = [c.name for c in reads.contract.columns]
    missing = [n for n in known if n not in raw.columns]
    new = [c for c in raw.columns if c not in known]
    renamed = _renames(missing, new, raw, reference)
    for old, (name, why) in renamed.items():
        yield Finding(
            CODES["renamed"],
            _if_missing(reads, old),
            f"Column {old!r} is missing, and the new column {name!r} {why}: it looks renamed.",
            f"Call it {old!r} again if it is the same; else give the column that is missing.",
        )
    for name in missing:
        if name not in renamed:
            yield _missing(reads, name)
    for name in new:
        if name not in {n for n, _ in renamed.values()}:
            yield Finding(
                CODES["new"],
                "note",
                f"Column {name!r} is new; the model does not read it.",
                "Name it among the channels or controls and fit again if it should explain sales.",
            )


def _if_missing(reads: Reads, name: str) -> Severity:
    return "stop" if name in reads.names else "note" if name == reads.contract.target else "review"


def _missing(reads: Reads, name: str) -> Finding:
    role = "read" if name in reads.names else reads.contract[name].role
    what, advice = {
        "target": ("so it cannot be told whether the model still predicts right", "Give it once sales are known."),
        "date": ("so repeated, revised and missing periods cannot be told", "Give it, as when the model was fitted."),
        "market": ("so rows of one period cannot be told apart", "Give it, as when the model was fitted."),
    }.get(role, ("and no row can be scored without it", "Give the column; its last known values are no substitute."))
    return Finding(CODES["missing"], _if_missing(reads, name), f"Column {name!r} is missing, {what}.", advice)


def _renames(
    missing: Sequence[str], new: Sequence[str], raw: pd.DataFrame, reference: pd.DataFrame
) -> dict[str, tuple[str, str]]:
    """For a missing column the new one that takes its place, and why; the surest pairs first."""
    scored = sorted(
        ((*_likeness(old, name, raw, reference), old, name) for old in missing for name in new),
        key=lambda s: (-s[0], s[2], s[3]),
    )
    found: dict[str, tuple[str, str]] = {}
    for likeness, why, old, name in scored:
        if likeness > 0 and old not in found and name not in {n for n, _ in found.values()}:
            found[old] = (name, why)
    return found


def _likeness(old: str, name: str, raw: pd.DataFrame, reference: pd.DataFrame) -> tuple[float, str]:
    folded = (_folded(old), _folded(name))
    similar = difflib.SequenceMatcher(a=folded[0], b=folded[1]).ratio()
    alike = _alike(raw[name], reference[old]) if old in reference else 0.0
    if similar >= 0.75 or (folded[0] and (folded[0] in folded[1] or folded[1] in folded[0]) and min(map(len, folded)) > 1):
        return 2 + similar, f"has nearly its name{' and its values' if alike > ALIKE else ''}"
    return (1 + alike, "has values like it had") if alike > ALIKE else (0.0, "")


def _folded(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def _alike(values: pd.Series, before: pd.Series) -> float:
    if not (pd.api.types.is_numeric_dtype(before) and pd.api.types.is_numeric_dtype(values)):
        return 0.0
    a, b = (_finite(v) for v in (values, before))
    if min(len(a), len(b)) < SAME_ROWS or len(np.unique(b)) < SAME_ROWS:
        return 0.0
    return float(stats.ks_2samp(a, b).pvalue)


def _finite(values: pd.Series) -> Vector:
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    return np.asarray(numbers[np.isfinite(numbers)])


# --- types


def _typed(contract: Contract, raw: pd.DataFrame) -> tuple[pd.DataFrame, list[Finding]]:
    """The contract's columns as float64, dates and text; a finding for each that is of another type."""
    columns: dict[str, pd.Series] = {}
    found: list[Finding] = []
    for column in contract.columns:
        if column.name not in raw.columns:
            if column.role == "target":
                columns[column.name] = pd.Series(np.nan, raw.index)
            continue
        values = raw[column.name]
        if isinstance(values, pd.DataFrame):
            found.append(_twice(column.name))
            continue
        if column.role == "market":
            columns[column.name] = values.astype(str).where(values.notna())  # older pandas write a missing one as nan
            continue
        typed, wrong = _dates(values) if column.role == "date" else _numbers(values)
        columns[column.name] = typed
        if wrong.any():
            found.append(_retyped(column.name, values, wrong, "dates" if column.role == "date" else "numbers"))
    return pd.DataFrame(columns, index=raw.index), found


def _numbers(values: pd.Series) -> tuple[pd.Series, Mask]:
    if pd.api.types.is_bool_dtype(values) or pd.api.types.is_datetime64_any_dtype(values):
        return pd.Series(np.nan, values.index), np.ones(len(values), dtype=bool)
    if pd.api.types.is_numeric_dtype(values):
        return pd.Series(values.to_numpy(dtype=float, na_value=np.nan), values.index), np.zeros(len(values), dtype=bool)
    text = values.map(lambda v: isinstance(v, str) and bool(v.strip())).to_numpy(dtype=bool)
    typed = pd.to_numeric(values, errors="coerce").astype(float)
    return typed, text & typed.isna().to_numpy() if text.any() else typed.isna().to_numpy() & values.notna().to_numpy()


def _dates(values: pd.Series) -> tuple[pd.Series, Mask]:
    if pd.api.types.is_numeric_dtype(values):
        return pd.Series(pd.NaT, values.index), values.notna().to_numpy()
    typed = pd.to_datetime(values, errors="coerce", format=None if pd.api.types.is_datetime64_any_dtype(values) else "mixed")
    return typed.astype("datetime64[ns]"), typed.isna().to_numpy() & values.notna().to_numpy()


def _twice(name: str) -> Finding:
    return Finding(
        CODES["retyped"], "stop", f"Column {name!r} is there more than once.", "Keep one column of each name in the file."
    )


def _retyped(name: str, values: pd.Series, wrong: Mask, expected: str) -> Finding:
    row = int(values.index[int(np.argmax(wrong))])
    return Finding(
        CODES["retyped"],
        "stop",
        f"Column {name!r} held {expected} and now does not in {words.count(int(wrong.sum()), 'row')} of {len(values):,}: "
        f"row {row} has {str(values.loc[row])[:40]!r}.",
        f"Give {expected}, as when the model was fitted.",
    )


# --- units


def _units(contract: Contract, typed: pd.DataFrame, reference: pd.DataFrame) -> list[Finding]:
    before, new, market = of_shared_markets(reference, typed, contract.market)
    named = [n for n in (*contract.features, contract.target) if n in new and n in before]
    found = [(n, _factor(*_in_own_size(new, before, n, market))) for n in named]
    return [_unit(contract, n, factor, new[n], before[n]) for n, factor in found if factor]


def _in_own_size(new: pd.DataFrame, before: pd.DataFrame, name: str, market: str | None) -> tuple[Vector, Vector]:
    """The values, where there are markets in units of what each typically had before: a large one is no other unit."""
    if market is None:
        return _finite(new[name]), _finite(before[name])
    typical = before[name].abs().replace(0.0, np.nan).groupby(before[market].to_numpy()).median()
    return _finite(new[name] / new[market].map(typical)), _finite(before[name] / before[market].map(typical))


def _factor(new: Vector, before: Vector) -> float:
    """The factor by which all values seem to be multiplied, 0 where none explains them better than no change."""
    if min(len(new), len(before)) < SAME_ROWS or len(np.unique(before)) < SAME_ROWS:
        return 0.0
    a, b = new[new > 0], before[before > 0]
    if min(len(a), len(b)) < SAME_ROWS or stats.ks_2samp(new, before).pvalue > UNLIKE:
        return 0.0
    ratio = math.log(float(np.median(a) / np.median(b)))
    for known in (POWERS, (*CONVERSIONS, *(1 / c for c in CONVERSIONS))):
        factor = min(known, key=lambda f: abs(math.log(f) - ratio))
        if abs(math.log(factor) - ratio) < NEAR and _passes(stats.ks_2samp(new / factor, before), factor):
            return factor
    return 0.0


def _passes(rescaled: Any, factor: float) -> bool:
    """Whether rescaled values pass for the old ones: a factor of 100 leaves hardly another cause, so season may differ."""
    return bool(rescaled.pvalue > RESCALED or (abs(math.log10(factor)) >= 2 and rescaled.statistic < LOOSELY))


def _unit(contract: Contract, name: str, factor: float, new: pd.Series, before: pd.Series) -> Finding:
    size = factor if factor > 1 else 1 / factor
    unit, row = contract[name].unit, int(new.index[0])
    sure = factor in POWERS
    guess = f"It was in {unit} before; {_guess(unit, factor)}?" if sure and unit else f"{_guess(unit, factor)}?"
    times = f"{words.number(round(size, 9))} times {'larger' if factor > 1 else 'smaller'}"
    return Finding(
        CODES["unit"],
        "stop" if sure else "review",
        f"{name} looks {times} than before, in the same shape (median {words.number(float(new.median()))} against "
        f"{words.number(float(before.median()))}; row {row} has {words.number(float(new.iloc[0]))}). {guess}",
        f"Give {name} in {unit}, as when the model was fitted." if unit else f"Give {name} in the unit of the table fitted.",
    )


def _guess(unit: str, factor: float) -> str:
    size = factor if factor > 1 else 1 / factor
    for whole, name in CONVERSIONS.items():
        if math.isclose(size, whole):
            return f"Is it {name}"
    scale = next((n for s, n in SCALES.items() if math.isclose(s, size)), "")
    word = {"thousands": "thousand", "millions": "million", "hundreds": "hundred"}.get(scale, "")
    if word and factor > 1 and unit.casefold().startswith(f"{word} "):
        return f"is it {unit[len(word) + 1 :]} now"
    if scale and factor < 1:
        return f"{'is' if unit else 'Is'} it {scale} of what it was now"
    return f"{'has' if unit else 'Has'} the unit changed"


# --- rows


def _unknown_markets(reads: Reads, typed: pd.DataFrame) -> tuple[Mask, list[Finding]]:
    """Rows of markets that opened after the model was fitted; it has no level for them."""
    if reads.market is None or reads.market not in typed:
        return np.zeros(len(typed), dtype=bool), []
    named = typed[reads.market]
    unknown = (named.notna() & ~named.isin(reads.markets)).to_numpy()
    if not unknown.any():
        return unknown, []
    counts = named[unknown].value_counts(sort=False)
    listed = [f"{name} ({n:,})" for name, n in counts.items()]
    count, of = int(unknown.sum()), "a market" if len(counts) == 1 else "markets"
    message = (
        f"{words.count(count, 'row')} of {len(typed):,} {'is' if count == 1 else 'are'} of {of} that the model does not know: "
        f"{words.listing(listed, LISTED)}. They were left out."
    )
    near = next(filter(None, (did_you_mean(str(name), reads.markets) for name in counts.index)), "")
    advice = (
        "A retrain, or a refresh that fits anew, takes a market in once it has rows beside those held out; correct the name of "
        "a known one."
    )
    return unknown, [Finding(CODES["unknown market"], "review", f"{message}{near}", advice)]


def _bad(reads: Reads, typed: pd.DataFrame) -> tuple[Mask, list[Finding]]:
    """Rows with a missing, negative or far too large value where a row to be scored may have none."""
    bad, found = np.zeros(len(typed), dtype=bool), []
    for name in reads.names:
        values = typed[name].to_numpy()
        wrong = ~(np.abs(values) <= LARGEST) if reads.kind(name) == "number" else typed[name].isna().to_numpy()
        if name in reads.contract.channels:
            wrong |= values < 0
        bad |= wrong
        if wrong.any():
            found.append(_bad_values(name, typed[name], wrong))
    target = typed[reads.contract.target].to_numpy()
    bad |= np.abs(target) > LARGEST
    return bad, found


def _bad_values(name: str, values: pd.Series, wrong: Mask) -> Finding:
    row = int(values.index[int(np.argmax(wrong))])
    value = math.nan if pd.isna(values.loc[row]) else float(values.loc[row])
    if math.isnan(value):
        what = "no value"
    elif abs(value) > LARGEST:
        what = "a value that is not finite" if math.isinf(value) else f"{words.number(value)}, too large to reckon with"
    else:
        what = f"spend of {value:g}"
    many = wrong.mean() > BAD_SHARE
    return Finding(
        CODES["bad"],
        "stop" if many else "review",
        f"{name} cannot be scored in {words.count(int(wrong.sum()), 'row')} of {len(values):,}: row {row} has {what}."
        + ("" if many else " They were left out."),
        "Correct the values at the source; spend is a finite number, 0 or more.",
    )


def _keys(contract: Contract, new: pd.DataFrame, reference: pd.DataFrame) -> tuple[Mask, Mask, list[Finding]]:
    """Which rows were there before, as they are or with other values, by date and market or by all their values.

    Date and market tell rows apart where they told those of the reference apart, as ``growing.key_columns`` has it.
    """
    keys = [n for n in (contract.date, contract.market) if n and n in new and n in reference]
    none = np.zeros(len(new), dtype=bool)
    if not len(new):
        return none, none, []
    if contract.date and contract.date in keys and not reference.duplicated(keys).any():
        return _periods(contract, new, reference, keys)
    compared = [n for n in (*keys, *contract.features, contract.target) if n in reference]
    known = new[contract.target].notna().to_numpy()
    now = _hashed(new[compared])
    repeated = np.isin(now, _hashed(reference[compared])) & known
    among = pd.Series(now).duplicated().to_numpy() & known
    count = int((repeated | among).sum())
    if count < FEW_REPEATS or count < CHANCE_REPEATS * len(new):
        return none, none, []
    return repeated | among, none, [_repeated(repeated | among, new.index, len(new), "with all their values")]


def _hashed(frame: pd.DataFrame) -> NDArray[np.uint64]:
    """A hash of each row's values, numbers to 30 bits, so that they survive a trip through another file format."""
    same = {}
    for name, values in frame.items():
        if pd.api.types.is_numeric_dtype(values):
            mantissa, exponent = np.frexp(values.to_numpy(dtype=float))
            same[name] = pd.Series(np.ldexp(np.round(mantissa * 2.0**30), exponent), frame.index)
        elif pd.api.types.is_datetime64_any_dtype(values):
            same[name] = values.astype("datetime64[us]").astype("int64")
        else:
            same[name] = values.astype(str)
    return np.asarray(pd.util.hash_pandas_object(pd.DataFrame(same), index=False), dtype=np.uint64)


def _periods(
    contract: Contract, new: pd.DataFrame, reference: pd.DataFrame, keys: Sequence[str]
) -> tuple[Mask, Mask, list[Finding]]:
    compared = [n for n in (*contract.features, contract.target) if n in reference]
    before = reference.drop_duplicates(list(keys), keep="last").set_index(list(keys))[compared]
    where = before.index.get_indexer(pd.MultiIndex.from_frame(new[list(keys)]) if len(keys) > 1 else pd.Index(new[keys[0]]))
    there = where >= 0
    old, now = before.to_numpy()[where], new[compared].to_numpy()
    differs = ~np.isclose(now, old, rtol=EQUAL, atol=0) & ~np.isnan(now)
    revised = there & differs.any(axis=1)
    among = new.duplicated(list(keys), keep="last").to_numpy() & ~there
    repeated = (there & ~revised) | among
    found = []
    if repeated.any():
        found.append(_repeated(repeated, new.index, len(new), "for a period that is there already"))
    if revised.any():
        i = int(np.argmax(revised))
        j = int(np.argmax(differs[i]))
        found.append(_revised(new, keys, int(revised.sum()), i, compared[j], float(old[i, j]), float(now[i, j])))
    return repeated, revised, found


def _repeated(repeated: Mask, index: pd.Index, rows: int, how: str) -> Finding:
    if repeated.all():
        all_rows = "The one row was" if rows == 1 else f"All {rows:,} rows were"
        return Finding(CODES["repeated"], "note", f"{all_rows} there before.", "Send a file with new rows.")
    count, first = int(repeated.sum()), index[int(np.argmax(repeated))]
    return Finding(
        CODES["repeated"],
        "review",
        f"{words.count(count, 'row')} of {rows:,} came {how}; the first is row {first}. They were not counted again.",
        "Send each period once, or leave it as it is.",
    )


def _revised(new: pd.DataFrame, keys: Sequence[str], count: int, i: int, name: str, old: float, now: float) -> Finding:
    row = new.iloc[i]
    when = ", ".join(f"{row[k]:%Y-%m-%d}" if isinstance(row[k], pd.Timestamp) else str(row[k]) for k in keys)
    return Finding(
        CODES["revised"],
        "review",
        f"{words.count(count, 'row')} of {len(new):,} came before with other values: row {new.index[i]} ({when}) has "
        f"{name} {words.number(now)}, before {words.number(old)}. They were left out of the comparison.",
        "See who revised them; the next fit takes the new values.",
    )


def _gaps(contract: Contract, new: pd.DataFrame, reference: pd.DataFrame) -> list[Finding]:
    """Periods that are missing between the rows fitted and the new ones, or among the new ones."""
    date = contract.date
    if not date or date not in new or date not in reference or not len(new):
        return []
    before, now = (pd.DatetimeIndex(f[date].dropna().unique()).sort_values() for f in (reference, new))
    if len(before) < 3:
        return []
    step = pd.Series(before).diff().median()
    later = pd.DatetimeIndex(now[now > before[-1]])
    line = pd.DatetimeIndex([before[-1], *later])
    jumps = pd.Series(line).diff()
    wide = np.flatnonzero((jumps > 1.6 * step).to_numpy())
    if not len(wide):
        return []
    start, end = line[wide[0] - 1], line[wide[0]]
    lost = int(sum(round(jumps[i] / step) - 1 for i in wide))
    where = "between the rows fitted and the new ones" if wide[0] == 1 else "among the new rows"
    return [
        Finding(
            CODES["gap"],
            "review",
            f"About {words.count(lost, 'period')} missing: after {start:%Y-%m-%d} comes {end:%Y-%m-%d}, {where}.",
            "Send the periods in between, so that nothing is learnt across a hole.",
        )
    ]
