"""What does a plan of one's own say: which amounts, for which periods?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adresponse.errors import ConfigError
from adresponse.table import read_all

if TYPE_CHECKING:
    from adresponse.planning.prospect import Prospect
    from adresponse.reading.raw import Raw

__all__ = ["amounts"]


def amounts(given: str | Path | Mapping[str, Any], prospect: Prospect) -> tuple[dict[str, list[float]], int]:
    """A plan of one's own, each channel's amounts by period, and how many periods its dates name, 0 where it has none."""
    if isinstance(given, Mapping):
        return {str(k): list(map(float, v if isinstance(v, Sequence) else (v,))) for k, v in given.items()}, 0
    channels = prospect.contract.channels
    raw = read_all(given, date=prospect.contract.date)
    named = [name for name in channels if name in raw.frame]
    if not named:
        have = ", ".join(raw.kinds)
        raise ConfigError(
            f"{raw.label} has no column of a channel; give a column for each, {', '.join(channels)}, and the amounts below. "
            f"It has {have}."
        )
    if raw.frame.empty:
        raise ConfigError(f"{raw.label} has no rows; give one with the amounts of the whole plan, or one for each period.")
    columns = {name: _column(raw, name) for name in named}
    order = _in_time(raw, prospect)
    amounts = {name: [column[row] for row in order or range(len(column))] for name, column in columns.items()}
    return amounts, len(order)


def _in_time(raw: Raw, prospect: Prospect) -> list[int]:
    """The rows of a plan by period, where it says its dates: those of the next periods, each once. None without dates."""
    name, calendar, rows = prospect.contract.date, prospect.curves.baseline.calendar, len(raw.frame)
    if calendar is None or name not in raw.frame:
        return []
    dates = raw.frame[name]
    if dates.isna().any():
        row = int(dates.index[dates.isna()][0])
        raise ConfigError(f"{raw.label}: column {name!r}, row {row} is no date; give one, or leave the column out.")
    periods, closed = calendar.period(dates.to_numpy()), calendar.closed(dates.to_numpy())
    order = sorted(range(rows), key=periods.__getitem__)
    for row, due, date in zip(order, range(rows), prospect.dates(rows), strict=True):
        if periods[row] != prospect.last + 1 + due or closed[row]:
            raise ConfigError(
                f"{raw.label}: column {name!r}, row {row + 1} is {dates.iloc[row]:%Y-%m-%d}, where {date[:10]} is due; "
                "give the next periods, each once, or leave the column out."
            )
    return order


def _column(raw: Raw, name: str) -> list[float]:
    values = raw.frame[name]
    if raw.kinds[name] != "number" or values.isna().any():
        row = int(values.index[values.isna()][0]) if raw.kinds[name] == "number" else 1
        raise ConfigError(f"{raw.label}: column {name!r}, row {row} is no amount; give a number, 0 for nothing.")
    return [float(v) for v in values]
