"""How does this table write numbers and dates? Its decimal mark and whether the day comes first, as its cells show them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from adresponse.findings import Finding
from adresponse.reading import cells, dates, numerals, roles

__all__ = ["Marks"]


class Marks:
    """How a table writes numbers and dates as text; open until some cell decides it."""

    def __init__(self, separator: str, decimal: numerals.Decimal | None) -> None:
        self._separator = separator
        self._decimal = decimal
        self._either = ""
        self._date = ""
        self._order: dates.Order | None = None

    @property
    def mark(self) -> numerals.Decimal:
        """The decimal mark; a point where no cell has shown any mark."""
        return self._decimal or "."

    @property
    def decided(self) -> bool:
        """Whether the decimal mark was given, or a cell has shown it."""
        return self._decimal is not None

    @property
    def day_first(self) -> bool:
        """Whether 01/02/2024 is the first of February."""
        return self._order is not None and self._order.day_first

    def learn_numbers(self, named: Iterable[tuple[str, Any]]) -> None:
        """Decide the decimal mark from those of the columns that hold numbers, if they show any mark."""
        if self._decimal is not None:
            return
        texts = (a for name, a in named if cells.is_text(a) and not roles.writes_dates_with_points(name, a))
        found = numerals.evidence(a for a in texts if roles.holds_numbers(a))
        self._decimal = numerals.decide(found, self._separator)
        certain = found.point or found.comma or (self._separator != ";" and "," not in found.either)
        self._either = "" if certain else found.either

    def learn_dates(self, name: str, array: Any) -> None:
        """Decide whether the day comes first, if the dates are written so that it matters."""
        if self._order is None and cells.is_text(array):
            known = numerals.missing_as_null(array).unique().drop_null()
            self._date, self._order = name, dates.order_of(known.to_pylist(), self._separator)

    def findings(self) -> Iterator[Finding]:
        """What was read in one of two possible ways (D014, D016)."""
        if self._either:
            value = float(cells.to_numbers(pa.array([self._either]), self.mark)[0][0])
            mark = next(m for m in ",." if m in self._either)
            as_what = "decimal" if mark == self.mark else "thousands"
            yield Finding(
                "D014",
                "note",
                f"{self._either!r} can be read in two ways; {mark!r} was taken as the {as_what} mark ({value:g}).",
                f"Give --decimal '{'.' if self.mark == ',' else ','}' if the other way is meant.",
            )
        if self._order is not None and self._order.open_case:
            first, read = ("day", "day/month") if self.day_first else ("month", "month/day")
            yield Finding(
                "D016",
                "note",
                f"Dates of column {self._date!r} such as {self._order.open_case!r} can be read in two ways; "
                f"they were read as {read}/year, the {first} first.",
                "Write dates as 2024-12-31 if the other way is meant.",
            )
