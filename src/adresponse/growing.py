"""On which rows does a challenger stand: those of the champion, and what has come since?

A row that was held out stays unseen while the table grows, so that champion and challenger can be scored on the same
rows, none of which either has learnt from. Without dates a row's side follows from a hash of its key; with dates the
last periods are held out, and never one that the champion was fitted on. Where a model has a level for each market, one
that opened so late that all of its rows would be held out waits for a later fit.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adresponse.errors import TableError
from adresponse.schema import Contract
from adresponse.table import AdTable, read

__all__ = [
    "DEFAULT_SHARE",
    "Grown",
    "Kept",
    "as_table",
    "content_digest",
    "earlier_rows",
    "grow",
    "key_columns",
    "row_keys",
    "rows_of",
    "sample_of",
    "scored_rows",
    "to_parquet",
    "together",
]

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]
SIDE = "held_out"
SAMPLE = 32  # keys that stand for a file's rows
DEFAULT_SHARE = 0.2  # of the new rows, where the champion was fitted on all of its own


@dataclass(frozen=True)
class Kept:
    """The rows that a version stands on.

    Parameters
    ----------
    frame : DataFrame
        The contract's columns, in the order in which the model was fitted on them.
    held_out : ndarray of bool of shape (n_rows,)
        Which of them the model has not seen.
    """

    frame: pd.DataFrame
    held_out: Mask

    @classmethod
    def read(cls, content: bytes, contract: Contract) -> Kept:
        """What ``to_parquet`` wrote.

        Raises
        ------
        TableError
            If the file does not hold the contract's columns.
        """
        frame = pd.read_parquet(io.BytesIO(content))
        names = [c.name for c in contract.columns]
        if list(frame.columns[:-1]) != names:
            raise TableError("The rows that the version keeps do not have the columns of its contract; run the study again.")
        return cls(frame[names], frame.iloc[:, -1].to_numpy(dtype=bool))


def to_parquet(frame: pd.DataFrame, test: Rows) -> bytes:
    """A version's rows as a Parquet file: the contract's columns, and last whether a row was held out."""
    held_out = np.zeros(len(frame), dtype=bool)
    held_out[test] = True
    written = io.BytesIO()
    frame.assign(**{_free(SIDE, frame): held_out}).to_parquet(written, index=False)
    return written.getvalue()


@dataclass(frozen=True)
class Grown:
    """A table of old and new rows, and which of them a challenger learns from.

    Parameters
    ----------
    table : AdTable
        The champion's rows, revised where a new row has the same key, and the new ones.
    train, test : ndarray of int
        Positions to fit on, and positions that neither the champion nor the challenger learns from.
    added, repeated, revised : int
        New rows; rows that were there already; rows whose key was there with other values.
    waiting : DataFrame
        Rows of markets of which none would be fitted, for a later fit; the table is without them.
    outside : int
        Rows left out because they lie before the window.
    """

    table: AdTable
    train: Rows
    test: Rows
    added: int
    repeated: int
    revised: int
    waiting: pd.DataFrame
    outside: int = 0


def grow(
    kept: Kept, arrivals: Sequence[AdTable], *, share: float, window: int | None = None, market: str | None = None
) -> Grown:
    """Old rows and new ones as one table, each with its side.

    Parameters
    ----------
    kept : Kept
        The champion's rows.
    arrivals : sequence of AdTable
        New tables of the same contract, the earliest first. A row whose key is known takes the place of the old one:
        its date and market, where these tell all rows of the champion apart, else all of its values.
    share : float
        Share of rows held out; 0 where the champion was fitted on all rows, of which the new ones then give
        ``DEFAULT_SHARE``.
    window : int, optional
        Keep only this many of the last periods, or of the last rows where there are no dates.
    market : str, optional
        The market column, where the challenger has a level for each market, and so needs a row of it to fit.
    """
    contract = arrivals[-1].contract
    names = [c.name for c in contract.columns]
    by = key_columns(kept.frame, contract)
    merged, unseen, counts = kept.frame, kept.held_out, Counter[str]()
    for arrived in arrivals:
        merged, unseen, found = _merged(merged, unseen, arrived.frame[names], by, share or DEFAULT_SHARE)
        counts += found
    merged, unseen, outside = _within(merged, unseen, contract, window)
    table = replace(as_table(merged, contract), source=arrivals[-1].source)
    unseen = unseen[table.frame.index.to_numpy() - 1]
    if contract.date is not None:
        unseen = _last_unseen(table, kept, share or DEFAULT_SHARE)
    table, unseen, waiting = _fitted_markets(table, unseen, market)
    return Grown(
        table,
        np.flatnonzero(~unseen),
        np.flatnonzero(unseen),
        counts["added"],
        counts["repeated"],
        counts["revised"],
        waiting,
        outside,
    )


# --- what arrives


def content_digest(frame: pd.DataFrame) -> str:
    """SHA-256 of every column and every row, whatever file they came in."""
    names = sorted(map(str, frame.columns))
    whole = hashlib.sha256("\0".join(names).encode())
    for key in row_keys(frame, names):
        whole.update(key)
    return whole.hexdigest()


def scored_rows(raw: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """The rows of a file that a model can learn from: every value there, finite, and no spend below zero.

    None where a column is missing or does not hold what the contract says.
    """
    names = [c.name for c in contract.columns]
    if any(name not in raw for name in names):
        return pd.DataFrame(columns=names)
    good = np.ones(len(raw), dtype=bool)
    for name in names:
        values = raw[name]
        good &= values.notna().to_numpy()
        if name in (*contract.features, contract.target):
            if values.dtype.kind not in "iuf":
                return pd.DataFrame(columns=names)
            numbers = values.to_numpy(dtype=float)
            good &= np.isfinite(numbers) & ((numbers >= 0) if name in contract.channels else True)
    return raw.loc[good, names]


def rows_of(content: bytes, contract: Contract) -> pd.DataFrame | None:
    """The rows that ``to_parquet`` wrote, in the contract's columns; None where one of these is not there."""
    frame = pd.read_parquet(io.BytesIO(content))
    names = [c.name for c in contract.columns]
    return frame[names] if all(name in frame for name in names) else None


def together(pending: Sequence[pd.DataFrame], raw: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """All rows that came, file after file, each once.

    By date and market the later row stands, unless only the earlier one has sales. Without them, a row is there as often as
    in the file that has it most often, since the files of a table that grows repeat what was there.

    Parameters
    ----------
    pending : sequence of DataFrame
        The earlier files, with the contract's columns, the earliest first.
    raw : DataFrame
        The last file, as it is; sales and further columns may be missing.
    """
    if not pending:
        return raw
    names = [c.name for c in contract.columns if c.name in raw]
    frames = [*(frame[[c.name for c in contract.columns]] for frame in pending), raw[names]]
    whole = pd.concat(frames, ignore_index=True)
    if contract.target not in raw:
        return whole
    by = [n for n in (contract.date, contract.market) if n is not None and n in raw]
    if by and not any(frame.duplicated(by).any() for frame in frames):
        known = whole[contract.target].notna()
        ranked = pd.concat([whole[~known], whole[known]])
        return whole.loc[ranked.drop_duplicates(by, keep="last").index.sort_values()].reset_index(drop=True)
    most, fresh = Counter[bytes](), []
    for frame in frames:
        seen = Counter[bytes]()
        for key in row_keys(frame.reindex(columns=names), names):
            seen[key] += 1
            fresh.append(seen[key] > most[key])
        most |= seen
    return whole[np.array(fresh, dtype=bool)].reset_index(drop=True)


def sample_of(keys: Sequence[bytes]) -> list[str]:
    """The lowest of these row keys: rows drawn by chance, and the same wherever the same rows are (Broder 1997)."""
    return [key[:8].hex() for key in sorted(keys)[:SAMPLE]]


def _free(name: str, frame: pd.DataFrame) -> str:
    while name in frame:
        name += "_"
    return name


# --- sides


def key_columns(frame: pd.DataFrame, contract: Contract) -> list[str]:
    """Date and market where they tell all rows apart, else every column."""
    by = [name for name in (contract.date, contract.market) if name is not None]
    return by if by and not frame.duplicated(by).any() else list(frame.columns)


def earlier_rows(kept: pd.DataFrame, frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """``frame`` with the kept rows of other periods and markets before it, where a model carries spend from one to the next.

    ``columns`` are those that the model reads.
    """
    names = list(columns)
    by = [n for n in names if kept[n].dtype.kind not in "fiu"]
    known = set(row_keys(frame, by))
    others = np.array([key not in known for key in row_keys(kept, by)], dtype=bool)
    return pd.concat([kept.loc[others, names], frame[names]], ignore_index=True)


def row_keys(frame: pd.DataFrame, by: Sequence[str]) -> list[bytes]:
    """SHA-256 of each row's values in the columns ``by``: the same for the same values, on every machine."""
    parts = [_bytes_of(frame[name]) for name in by]
    return [hashlib.sha256(b"".join(cells)).digest() for cells in zip(*parts, strict=True)]


def _bytes_of(column: pd.Series[Any]) -> list[bytes]:
    if column.dtype.kind == "M":
        column = column.astype("datetime64[us]").astype("int64")
    if column.dtype.kind in "iuf":
        numbers = column.to_numpy() + 0  # -0.0 is 0.0
        values = numbers.astype(numbers.dtype.newbyteorder("<")).tobytes()
        return [values[i : i + 8] for i in range(0, len(values), 8)]
    texts = [str(value).encode() for value in column]
    return [len(text).to_bytes(8, "little") + text for text in texts]


def _merged(
    old: pd.DataFrame, unseen: Mask, new: pd.DataFrame, by: list[str], share: float
) -> tuple[pd.DataFrame, Mask, Counter[str]]:
    """Old rows with the new ones taken in."""
    whole = list(new.columns)
    counts = Counter[str]()
    if len(by) == len(whole):
        left = Counter(row_keys(old, by))
        fresh = np.zeros(len(new), dtype=bool)
        for i, key in enumerate(row_keys(new, by)):
            left[key] -= 1
            fresh[i] = left[key] < 0
        counts["repeated"] = int((~fresh).sum())
    else:
        new = new.drop_duplicates(by, keep="last")
        place = {key: i for i, key in enumerate(row_keys(old, by))}
        at = np.array([place.get(key, -1) for key in row_keys(new, by)], dtype=np.int64)
        fresh = at < 0
        known, where = new[~fresh], at[~fresh]
        same = np.array([a == b for a, b in zip(row_keys(known, whole), row_keys(old.iloc[where], whole), strict=True)], bool)
        counts["repeated"], counts["revised"] = int(same.sum()), int((~same).sum())
        old = old.copy()
        for name in whole:
            values = old[name].to_numpy(copy=True)
            values[where] = known[name].to_numpy()
            old[name] = values
    added = new[fresh]
    counts["added"] = len(added)
    sides = np.array([int.from_bytes(key[:8]) < share * 2**64 for key in row_keys(added, by)], dtype=bool)
    return pd.concat([old, added], ignore_index=True), np.concatenate([unseen, sides]), counts


def _within(frame: pd.DataFrame, unseen: Mask, contract: Contract, window: int | None) -> tuple[pd.DataFrame, Mask, int]:
    if window is None:
        return frame, unseen, 0
    if contract.date is None:
        inside = np.arange(len(frame)) >= len(frame) - window
    else:
        periods = np.unique(frame[contract.date].to_numpy())
        inside = frame[contract.date].to_numpy() >= periods[max(len(periods) - window, 0)]
    return frame[inside], unseen[inside], int((~inside).sum())


def _fitted_markets(table: AdTable, unseen: Mask, market: str | None) -> tuple[AdTable, Mask, pd.DataFrame]:
    """The rows of markets that have a row to fit, and apart from them those that have none."""
    frame = table.frame
    waits = np.zeros(len(frame), dtype=bool) if market is None else ~frame[market].isin(frame[market][~unseen]).to_numpy()
    if not waits.any():
        return table, unseen, frame[waits]
    fitted = replace(as_table(frame[~waits], table.contract), source=table.source)
    return fitted, unseen[~waits][fitted.frame.index.to_numpy() - 1], frame[waits]


def as_table(frame: pd.DataFrame, contract: Contract) -> AdTable:
    """Rows read once more, so that they keep the contract and have the digest of their content.

    Raises
    ------
    TableError
        If a value breaks the contract.
    """
    table = read(
        frame.reset_index(drop=True),
        target=contract.target,
        channels=contract.channels,
        controls=contract.controls,
        date=contract.date,
        market=contract.market,
        max_rows=max(len(frame), 1),
    )
    return replace(table, contract=contract, findings=())


def _last_unseen(table: AdTable, kept: Kept, share: float) -> Mask:
    """The last periods, as many as the share asks for, and none that the champion was fitted on."""
    from adresponse.folding import first_of_last  # loads scikit-learn, which who reads rows does without

    date = str(table.contract.date)
    dates = table.frame[date].to_numpy()
    unseen = dates >= dates[first_of_last(dates, share)]
    if not kept.held_out.all():
        unseen &= dates > kept.frame[date].to_numpy()[~kept.held_out].max()
    return np.asarray(unseen)
