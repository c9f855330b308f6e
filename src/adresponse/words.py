"""How figures are written where a person, or a JSON reader, reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any

__all__ = ["count", "fixed", "listing", "number", "p_value", "percent", "plain", "span", "typed", "typed_range"]


def number(value: float | None, digits: int = 4) -> str:
    """``value`` with ``digits`` significant digits, thousands separated, no exponent where one can do without."""
    if value is None or math.isnan(value):
        return "not known"
    if math.isinf(value):
        return "unbounded"
    if value == 0:
        return "0"
    sign = "−" if value < 0 else ""
    value = abs(value)
    magnitude = math.floor(math.log10(value))
    if not -5 <= magnitude < 15:
        return f"{sign}{value:.{digits - 1}e}"
    decimals = max(digits - 1 - magnitude, 0)
    text = f"{value:,.{decimals}f}"
    return sign + (text.rstrip("0").rstrip(".") if "." in text else text)


def typed(value: float, rounding: str = ROUND_HALF_EVEN) -> str:
    """``value`` as it can be typed in again, with six digits or more: ``15000000``, without thousands marks and exponent."""
    if not 1e-4 <= abs(value) < 1e15:
        return f"{value:g}"
    exact = Decimal(repr(float(value)))
    text = f"{exact.quantize(Decimal(1).scaleb(-max(5 - exact.adjusted(), 0)), rounding):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def typed_range(low: float, high: float) -> str:
    """``low to high``, each rounded to the inside, so that it is allowed as the range is; in full where that is too narrow."""
    least, most = typed(low, ROUND_CEILING), typed(high, ROUND_FLOOR)
    return f"{least} to {most}" if float(least) <= float(most) else f"{float(low)} to {float(high)}"


def fixed(value: float, decimals: int) -> str:
    """``value`` with exactly so many decimals: ``−0.04``; a rounded nought has no sign."""
    written = f"{value:,.{decimals}f}"
    return written.replace("-", "−") if written.strip("-0.,") else written.lstrip("-")


def percent(share: float, digits: int = 0) -> str:
    """A share of one as percent: ``0.187`` is ``19 %``."""
    return f"{100 * share:.{digits}f} %"


def p_value(p: float) -> str:
    """A p value as papers print it: ``p < 0.001`` or ``p = 0.042``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def span(low: float, high: float) -> str:
    """``low to high``."""
    return f"{number(low)} to {number(high)}"


def listing(items: Sequence[str], most: int | None = None) -> str:
    """``TV, Radio and Newspaper``; of more than ``most`` items the first, as ``TV, Radio and 7 more``."""
    if most is not None and len(items) > most:
        items = [*items[:most], f"{len(items) - most:,} more"]
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def count(n: int, noun: str) -> str:
    """``1 row``, ``1,200 rows``."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def plain(value: Any) -> Any:
    """A value as strict JSON takes it: dataclasses as objects, tuples as lists, what is not finite as None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
