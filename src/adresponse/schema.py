"""Which columns there are, what each is for, what it means and in which unit: the one contract.

This file goes with every stored model (see ``stored.py``), so it imports its siblings relatively.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from .errors import TableError, did_you_mean

__all__ = ["Column", "Contract", "Role"]

Role = Literal["target", "channel", "control", "date", "market"]


@dataclass(frozen=True)
class Column:
    """One column of the table: its name, its role, and what it means in which unit (either may be unknown)."""

    name: str
    role: Role
    means: str = ""
    unit: str = ""

    @property
    def label(self) -> str:
        """The name with its unit, as an axis or a table head shows it: ``TV (thousand dollars)``."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def title(self) -> str:
        """The meaning where it is known, else the name: ``TV marketing budget``."""
        return self.means or self.name


@dataclass(frozen=True)
class Contract:
    """The columns that a model is fitted on, in order: channels, controls, target, date, market.

    Every number is float64, so that 100 and 100.0 get the same answer everywhere. ``origin`` says where the table
    comes from, in words, where that is known.
    """

    columns: tuple[Column, ...]
    origin: str = ""

    def __post_init__(self) -> None:
        names = [c.name for c in self.columns]
        for name in names:
            if names.count(name) > 1:
                raise TableError(f"Column {name!r} has more than one role; give each column one role.")
        if len([c for c in self.columns if c.role == "target"]) != 1:
            raise TableError("A contract has exactly one target column; name it with --target.")
        if not self.channels:
            raise TableError("A contract has at least one channel column; name them with --channels.")

    def _named(self, role: Role) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns if c.role == role)

    @property
    def target(self) -> str:
        """Name of the column to be explained (sales)."""
        return self._named("target")[0]

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the spend columns."""
        return self._named("channel")

    @property
    def controls(self) -> tuple[str, ...]:
        """Names of further numeric columns that explain sales but are no spend (price, holiday)."""
        return self._named("control")

    @property
    def features(self) -> tuple[str, ...]:
        """Channels, then controls: the columns of X, in the model's order."""
        return self.channels + self.controls

    @property
    def date(self) -> str | None:
        """Name of the date column, if there is one."""
        return next(iter(self._named("date")), None)

    @property
    def market(self) -> str | None:
        """Name of the market column, if there is one."""
        return next(iter(self._named("market")), None)

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def label(self, name: str) -> str:
        """The column's name with its unit."""
        return self[name].label

    def to_dict(self) -> dict[str, object]:
        """As plain values for JSON."""
        return {
            "origin": self.origin,
            "columns": [{"name": c.name, "role": c.role, "means": c.means, "unit": c.unit} for c in self.columns],
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """What ``to_dict`` gave.

        Raises
        ------
        TableError
            If the roles do not make a contract.
        KeyError, TypeError
            If ``given`` has another form.
        """
        known = ("name", "role", "means", "unit")
        return cls(tuple(Column(*(str(c[k]) for k in known)) for c in given["columns"]), str(given["origin"]))  # type: ignore[arg-type]

    @classmethod
    def build(
        cls,
        *,
        target: str,
        channels: Iterable[str],
        controls: Iterable[str] = (),
        date: str | None = None,
        market: str | None = None,
        dictionary: Mapping[str, Mapping[str, str]] | None = None,
        origin: str = "",
    ) -> Contract:
        """A contract from names by role and a dictionary ``{name: {means, unit}}``."""
        known = dictionary or {}
        named: list[tuple[str, Role]] = [(c, "channel") for c in channels]
        named += [(c, "control") for c in controls]
        named.append((target, "target"))
        if date is not None:
            named.append((date, "date"))
        if market is not None:
            named.append((market, "market"))
        return cls(
            tuple(
                Column(name, role, known.get(name, {}).get("means", ""), known.get(name, {}).get("unit", ""))
                for name, role in named
            ),
            origin,
        )

    @staticmethod
    def pick(name: str, present: Iterable[str], role: str) -> str:
        """``name`` if it is among the columns present, else a refusal that suggests the nearest."""
        names = list(present)
        if name in names:
            return name
        shown = ", ".join(names[:12]) + (f", ... ({len(names)} columns)" if len(names) > 12 else "")
        raise TableError(f"Column {name!r} ({role}) is not in the table.{did_you_mean(name, names)} It has: {shown}.")
