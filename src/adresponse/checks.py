"""Is this table fit to be fitted, and what should be known before a result is read?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from adresponse import words
from adresponse.errors import UnfitTableError
from adresponse.findings import Finding
from adresponse.periods import WEEKDAYS, Calendar
from adresponse.table import AdTable

__all__ = [
    "LARGEST",
    "check",
    "constant_within",
    "out_of_reach",
    "refuse_unfit",
    "refuse_unfit_rows",
    "unfit",
    "within_markets",
]

Vector = NDArray[np.floating[Any]]

MIN_ROWS = 13  # below this, a fifth held out leaves fewer than two rows for each of five folds
ROWS_PER_COEFFICIENT = 2  # fewer leave no residual to speak of in a four-fifths training split
COMFORTABLE_ROWS = 10  # rows per coefficient that textbooks ask for (Harrell 2015, section 4.4)
OUTLIER_SCORE = 3.5  # modified z score of Iglewicz and Hoaglin (1993)
NO_SPREAD = 1e-12  # beside the largest value of a column: below it a spread is rounding
OWN_ROWS = 10  # of each market, from which on its values are held against its own
COOK_LIMIT = 0.5  # a row that moves the fit by half a joint confidence ellipse (Cook 1977)
TOGETHER = 0.3  # |r| of two channels from which their shares are read with care
FITTED_BY_ITSELF = 1 - 1e-8  # leverage at which a row alone decides a coefficient
UNIT_GAP = 100.0  # a hole of two powers of ten inside one column
LONG = 1 / 3  # of the rows repeat a period, from which on they may be those of its channels: two rows for every other one
AS_A_SUM = 1e-3  # totals are rounded; no row is half of every column by chance
LARGEST, SMALLEST = 1e75, 1e-75  # fits square the product of two columns, and a double ends at 1e308 and 1e-308


def check(table: AdTable) -> tuple[Finding, ...]:
    """All findings about the table, what reading said included; the most serious first."""
    found = [*table.findings, *_rows(table), *_totals(table), *_long(table), *_constant(table), *out_of_reach(table)]
    if not any(f.severity == "stop" for f in found):
        found += [*_collinear(table), *_together(table), *_constant_within(table)]
        found += [*_duplicates(table), *_dates(table), *_units(table), *_outliers(table), *_influential(table)]
    order = {"stop": 0, "review": 1, "note": 2}
    return tuple(sorted(found, key=lambda f: order[f.severity]))


def unfit(findings: Iterable[Finding]) -> UnfitTableError | None:
    """The refusal for the first finding that makes every fit wrong, with its advice; None where there is none."""
    stop = next((f for f in findings if f.severity == "stop"), None)
    return UnfitTableError(f"{stop.message} {stop.advice}") if stop else None


def refuse_unfit(findings: Iterable[Finding]) -> None:
    """Raise on the first finding that makes every fit wrong."""
    if (refusal := unfit(findings)) is not None:
        raise refusal


def refuse_unfit_rows(table: AdTable, rows: NDArray[np.int64]) -> None:
    """Raise where the table is fit to be fitted, but the rows that are not held out are not."""
    fitted = replace(table, frame=table.frame.iloc[rows])
    found = [*_constant(fitted), *out_of_reach(fitted)] or [*_collinear(fitted)]
    if found:
        raise UnfitTableError(
            f"Among the {len(rows):,} rows that are fitted: {found[0].message} Hold out less, or leave the column out."
        )
    if len(rows) < len(table.contract.features) + 3:
        raise UnfitTableError(
            f"{len(rows)} rows to fit on are too few for {len(table.contract.features) + 1} coefficients; hold out less."
        )


def _rows(table: AdTable) -> Iterator[Finding]:
    rows, coefficients = len(table.frame), len(table.contract.features) + 1
    needed = max(MIN_ROWS, ROWS_PER_COEFFICIENT * coefficients)
    if rows < needed:
        yield Finding(
            "D001",
            "stop",
            f"The table has {words.count(rows, 'row')} for {words.count(coefficients, 'coefficient')}; "
            f"at least {needed} are needed.",
            "Add rows, or name fewer columns with --channels.",
        )
    elif rows < COMFORTABLE_ROWS * coefficients:
        yield Finding(
            "D006",
            "review",
            f"{words.count(rows, 'row')} for {words.count(coefficients, 'coefficient')} are few "
            f"(fewer than {COMFORTABLE_ROWS} for each).",
            "Expect wide intervals; name fewer channels or add rows.",
        )


def _totals(table: AdTable) -> Iterator[Finding]:
    values = table.frame[[*table.contract.channels, table.contract.target]].to_numpy()
    with np.errstate(over="ignore"):  # which D019 finds
        half = np.isclose(2 * values, values.sum(axis=0), rtol=AS_A_SUM, atol=0).all(axis=1) & (values != 0).any(axis=1)
    if len(values) > 2 and half.any():
        yield Finding(
            "D023",
            "stop",
            f"Row {table.frame.index[int(np.argmax(half))]} is the sum of all others in every channel and in "
            f"{table.contract.target!r}: a row of totals.",
            "Take it out of the table.",
        )


def _long(table: AdTable) -> Iterator[Finding]:
    if table.contract.date is None:
        return
    keys, target = _keys(table), table.contract.target
    again, copies = table.frame.duplicated(keys), table.frame.duplicated()
    if again.mean() < LONG or copies.sum() == again.sum():
        return
    if table.frame.groupby(keys)[target].nunique().max() == 1:
        yield Finding(
            "D024",
            "stop",
            f"Each {' and '.join(keys)} has several rows with the same {target}, as where each channel has a row of its own: "
            "what was sold once would count for each of them.",
            "Turn the table, so that each period (of each market) is one row, with a column of spend for each channel.",
        )


def _keys(table: AdTable) -> list[str]:
    """The columns that tell periods apart, and markets where there are any."""
    return [c for c in (table.contract.date, table.contract.market) if c]


def _constant(table: AdTable) -> Iterator[Finding]:
    for name in (*table.contract.features, table.contract.target):
        values = table.frame[name].to_numpy()
        if len(values) > 1 and values.min() == values.max():
            yield Finding(
                "D002",
                "stop",
                f"Column {name!r} is constant ({words.number(values[0])} in every row), so it can teach nothing.",
                "Check the source, or name another target."
                if name == table.contract.target
                else "Leave the column out (name the others with --channels and --controls), or check the source.",
            )


def constant_within(table: AdTable) -> list[str]:
    """Columns that tell markets apart and nothing else; one row of each market changes in none."""
    places = _by_market(table)
    if len(places) < 2 or min(map(len, places.values())) < OWN_ROWS:
        return []
    columns = {name: table.frame[name].to_numpy() for name in table.contract.features}
    return [name for name, x in columns.items() if all(np.ptp(x[rows]) == 0 for rows in places.values())]


def _constant_within(table: AdTable) -> Iterator[Finding]:
    for name in constant_within(table):
        yield Finding(
            "D021",
            "review",
            f"Column {name!r} never changes within a market. With --shape, each market has a level of its own, and nothing "
            "in the table tells this column from the level: its figures are then what is typical, not what was seen.",
            "Leave it out, or act on no figure of it before it was changed within some markets.",
        )


def out_of_reach(table: AdTable) -> Iterator[Finding]:
    """Columns that hold values too large to reckon with, or none that is large enough (D019)."""
    for name in (*table.contract.features, table.contract.target):
        values = table.frame[name].to_numpy()
        sizes = np.abs(values)
        most = int(np.argmax(sizes))
        if len(far := np.flatnonzero(sizes > LARGEST)):
            yield Finding(
                "D019",
                "stop",
                f"Column {name!r} has {words.count(len(far), 'value')} too large to reckon with "
                f"(first: row {table.frame.index[far[0]]}, {words.number(values[far[0]])}).",
                "Correct such cells at the source, or leave them empty where they stand for no value.",
            )
        elif 0 < sizes[most] < SMALLEST:
            yield Finding(
                "D019",
                "stop",
                f"Column {name!r} has no value far enough from 0 to reckon with "
                f"(furthest: row {table.frame.index[most]}, {words.number(values[most])}).",
                "Give the column in a smaller unit, or leave it out.",
            )


def _collinear(table: AdTable) -> Iterator[Finding]:
    x = table.X.to_numpy()
    _, sizes, directions = np.linalg.svd((x - x.mean(axis=0)) / x.std(axis=0), full_matrices=False)
    if x.shape[1] < 2 or sizes[-1] > sizes[0] * max(x.shape) * np.finfo(float).eps:
        return
    repeating = [n for n, weight in zip(table.contract.features, directions[-1], strict=True) if abs(weight) > 1e-6]
    yield Finding(
        "D007",
        "stop",
        f"The columns {words.listing(repeating)} repeat each other: one is an exact sum or multiple of the others.",
        "Leave out the columns that are made from others.",
    )


def _together(table: AdTable) -> Iterator[Finding]:
    frame, within = within_markets(table)
    for a, b in combinations([c for c in table.contract.channels if np.ptp(frame[c]) > 0], 2):
        result = stats.pearsonr(frame[a], frame[b])
        if abs(result.statistic) >= TOGETHER and result.pvalue < 0.01:
            how = "together" if result.statistic > 0 else "in opposite directions"
            yield Finding(
                "D003",
                "review",
                f"{a} and {b} move {how}{within} (r = {words.fixed(result.statistic, 2)}).",
                "Read their shares with care: the data can hardly tell one from the other.",
            )


def _duplicates(table: AdTable) -> Iterator[Finding]:
    keys = _keys(table)
    if table.contract.date and (twice := table.frame.duplicated(keys).to_numpy()).any():
        row = int(np.flatnonzero(twice)[0])
        yield Finding(
            "D008",
            "review",
            f"{words.count(int(twice.sum()), 'row')} {_verb('repeat', twice)} a {' and '.join(keys)} seen before "
            f"(first: {' and '.join(_shown(table.frame[k].iat[row]) for k in keys)}).",
            "Give one row per period and market, with a column for each channel, or name the market column with --market.",
        )
        return
    repeated = table.frame.duplicated().to_numpy()
    if repeated.any():
        yield Finding(
            "D005",
            "review",
            f"{words.count(int(repeated.sum()), 'row')} {_verb('repeat', repeated)} an earlier row exactly "
            f"(first: row {table.frame.index[int(np.flatnonzero(repeated)[0])]}).",
            "Take out what is a copy; copies make intervals too narrow.",
        )


def _verb(verb: str, rows: NDArray[np.bool_]) -> str:
    return f"{verb}s" if rows.sum() == 1 else verb


def _shown(value: object) -> str:
    return f"{value:%Y-%m-%d}" if isinstance(value, pd.Timestamp) else str(value)


def _dates(table: AdTable) -> Iterator[Finding]:
    if table.contract.date is None:
        return
    each = _days(table)
    days = np.unique(np.concatenate(list(each.values())))
    apart = np.concatenate([np.diff(own) for own in each.values()]).astype(np.int64)
    if len(days) < 3 or not len(apart):
        return
    over_all = np.diff(days).astype(np.int64)
    if apart.min() > np.quantile(over_all, 0.5, method="lower"):
        yield Finding(
            "D010",
            "review",
            f"The markets are dated by different days: the usual step is {words.number(float(np.median(apart)))} days within a "
            f"market, and {words.number(float(np.median(over_all)))} over all of them.",
            "Date each period alike in all markets, such as by the first day of the week; carry-over and plans count periods "
            "by all dates together.",
        )
        return
    week = Calendar.of(days)
    if week.unit == "day":
        never = " or ".join(name for i, name in enumerate(WEEKDAYS) if i not in week.week)
        yield Finding(
            "D020",
            "note",
            f"No date is a {never}; carry-over and plans count the other days only.",
            "Add these days with what was spent and sold on them, if anything was.",
        )
    steps = {m: np.diff(week.period(own) if week.unit == "day" else own.astype(np.int64)) for m, own in each.items()}
    usual = float(np.median(np.concatenate(list(steps.values()))))
    # months differ by three days in thirty; a gap by a whole period
    gaps = [(day, market) for market, own in each.items() for day in own[:-1][steps[market] > 1.5 * usual]]
    if gaps:
        day, market = min(gaps)
        where = f" in market {market!r}" if market else ""
        usually = f"{words.number(usual)} {'day' if usual == 1 else 'days'}"
        yield Finding(
            "D010",
            "review",
            f"The dates have {words.count(len(gaps), 'gap')} (the usual step is {usually}; the first gap follows "
            f"{day}{where}).",
            "Fill in the missing periods; carry-over and season need an unbroken row of dates.",
        )


def _days(table: AdTable) -> dict[str, NDArray[np.datetime64]]:
    """The days of each market, in order; of all rows, called ``""``, where there are no markets."""
    days = table.frame[table.contract.date].to_numpy().astype("datetime64[D]")
    return {market: np.unique(days[rows]) for market, rows in _by_market(table).items()}


def _by_market(table: AdTable) -> dict[str, NDArray[np.intp]]:
    """Which rows each market has; all of them are of one called ``""`` where there are no markets."""
    rows = np.arange(len(table.frame))
    if table.contract.market is None:
        return {"": rows}
    markets = table.frame[table.contract.market].to_numpy().astype(str)
    return {str(market): np.asarray(at) for market, at in pd.Series(rows).groupby(markets).indices.items()}


def within_markets(table: AdTable) -> tuple[pd.DataFrame, str]:
    """The columns in standard deviations from the mean of their own market, and the words for that.

    Where there are no markets, or one has few rows, they come as they are, and the words are empty. A large market spends more
    on every channel and sells more, so over all rows together any two columns of markets that differ in size look alike.
    """
    frame = table.frame[[*table.contract.features, table.contract.target]]
    places = _by_market(table)
    if table.contract.market is None or min(map(len, places.values())) < OWN_ROWS:
        return frame, ""
    by = frame.groupby(table.frame[table.contract.market].to_numpy())
    spread = by.transform("std")
    away = frame - by.transform("mean")
    return away.where(spread > NO_SPREAD * frame.abs().max(), 0.0) / spread.where(spread > 0, 1.0), " in their market"


def _units(table: AdTable) -> Iterator[Finding]:
    for name in (*table.contract.channels, table.contract.target):
        values = np.sort(np.abs(table.frame[name].to_numpy()))
        values = values[values > 0]
        if len(values) < 10:
            continue
        with np.errstate(over="ignore"):  # beyond all doubles is a hole too
            ratio = values[1:] / values[:-1]
        at = int(np.argmax(ratio))
        share = min(at + 1, len(values) - at - 1) / len(values)
        if ratio[at] >= UNIT_GAP and share >= 0.02:
            yield Finding(
                "D009",
                "review",
                f"Column {name!r} looks as if it mixed units: nothing lies between {words.number(values[at])} "
                f"and {words.number(values[at + 1])}.",
                "Check whether some rows are in thousands and others in single units.",
            )


def _outliers(table: AdTable) -> Iterator[Finding]:
    places = _by_market(table)
    apart = min(map(len, places.values())) >= OWN_ROWS
    said, groups = [], list(places.values()) if apart else [np.arange(len(table.frame))]
    for name in (*table.contract.features, table.contract.target):
        values = table.frame[name].to_numpy()
        score = np.zeros(len(values))
        spend = name in table.contract.channels
        for group in groups:
            # a channel that rests for half of the time is not far off wherever it runs
            rows = group[values[group] > 0] if spend else group
            if len(rows):
                score[rows] = np.abs(modified_z(values[rows]))
                if spend:  # large and small weeks are usual, and nearly normal as cube roots (Wilson and Hilferty 1931)
                    score[rows] = np.minimum(score[rows], np.abs(modified_z(np.cbrt(values[rows]))))
        far = np.flatnonzero(score > OUTLIER_SCORE)
        if len(far):
            furthest = far[np.argmax(score[far])]
            said.append(f"{len(far):,} in {name!r} (row {table.frame.index[furthest]}: {words.number(values[furthest])})")
    within = " in their market" if apart and table.contract.market is not None else ""
    if said:
        yield Finding(
            "D011",
            "review",
            f"Values lie far from the rest of their column{within}: {words.listing(said)}.",
            "Check them at the source, first the rows named; keep them if they are right.",
        )


def modified_z(values: Vector) -> Vector:
    """``0.6745 (x - median) / MAD`` (Iglewicz and Hoaglin 1993); zeros where the MAD is 0."""
    away = values - np.median(values)
    mad = float(np.median(np.abs(away)))
    return np.zeros_like(values) if mad == 0 else 0.6745 * away / mad


def _influential(table: AdTable) -> Iterator[Finding]:
    frame, within = within_markets(table)
    features = [c for c in table.contract.features if np.ptp(frame[c]) > 0]
    x = np.column_stack([np.ones(len(frame)), frame[features]])
    distance = cooks_distance(x, frame[table.contract.target].to_numpy())
    through = "the table, with values held against those of their market" if within else "the table"
    strong = np.flatnonzero(distance > COOK_LIMIT)
    if len(strong):
        most = strong[np.argmax(distance[strong])]
        yield Finding(
            "D018",
            "review",
            f"{words.count(len(strong), 'row')} alone would move a straight line through {through} noticeably "
            f"(most: row {table.frame.index[int(most)]}, Cook's distance {words.number(distance[most], 3)}).",
            f"Fit once without {'it' if len(strong) == 1 else 'them'} and compare.",
        )


def cooks_distance(x: Vector, y: Vector) -> Vector:
    """Cook's distance of each row in a least-squares fit (Cook 1977); infinite where a row decides a coefficient alone.

    Parameters
    ----------
    x : ndarray of shape (n_rows, n_coefficients)
        Design matrix, with its column of ones.
    y : ndarray of shape (n_rows,)
        Target.
    """
    q, _ = np.linalg.qr(x)
    leverage = (q**2).sum(axis=1)
    residual = y - q @ (q.T @ y)
    variance = residual @ residual / max(len(y) - x.shape[1], 1)
    if variance == 0:
        return np.zeros(len(y))
    alone = leverage > FITTED_BY_ITSELF
    left = np.where(alone, 1.0, 1 - leverage)
    return np.where(alone, np.inf, residual**2 / (x.shape[1] * variance) * leverage / left**2)
