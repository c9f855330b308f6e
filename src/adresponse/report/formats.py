"""How is a number, a p value, an interval or a name written for people?"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from adresponse import words

__all__ = [
    "apart",
    "decimals_beside",
    "decimals_for",
    "interval",
    "joined",
    "number",
    "p_value",
    "percent",
    "plain",
    "short_tick",
    "slugs",
    "unit_per",
]

ABSENT = "–"
PLACES = 9  # at most; what is too small for these is written with an exponent
_HEBREW_AND_ARABIC = r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]+"
_RIGHT_TO_LEFT = re.compile(rf"{_HEBREW_AND_ARABIC}(?:[ _-]+{_HEBREW_AND_ARABIC})*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+")


def plain(text: object) -> str:
    """The text on one line, without the control characters that neither XML nor HTML may hold."""
    return _CONTROL.sub(" ", str(text)).strip()


def apart(text: str) -> str:
    """The text with each name that runs from right to left set apart, so that the figures after it stay after it."""
    return _RIGHT_TO_LEFT.sub("\u2067\\g<0>\u2069", text)


def number(value: float | None, digits: int = 4, decimals: int | None = None) -> str:
    """A number for reading, ``1,234,567`` or ``0.04754``; ``–`` where there is none.

    ``digits`` significant digits, or exactly ``decimals`` places, so that the points of a column stand beneath one
    another.
    """
    if value is None or math.isnan(value):
        return ABSENT
    tiny = decimals is not None and decimals >= PLACES and 0 < abs(value) < 10.0 ** (digits - 1 - PLACES)
    if decimals is None or tiny or math.isinf(value) or abs(value) >= 1e15:
        return words.number(value, digits)
    return words.fixed(value, decimals)


def decimals_for(values: Iterable[float | None], digits: int = 4) -> int:
    """Decimal places at which the largest of the values shows ``digits`` significant digits, or fewer if they do."""
    finite = [abs(v) for v in values if v is not None and math.isfinite(v)]
    largest = max(finite, default=0.0)
    most = min(PLACES, max(0, digits - 1 - math.floor(math.log10(largest)))) if largest else 0
    return next((d for d in range(most) if all(abs(round(v, d) - v) <= 1e-12 * largest for v in finite)), most)


def decimals_beside(value: float | None, low: float | None, high: float | None, digits: int = 4) -> int:
    """Decimal places for a figure and its interval: ``digits`` significant ones, fewer where it is all but nought."""
    width = high - low if low is not None and high is not None else 0.0
    return decimals_for([value, width / 10], digits)


def p_value(p: float | None) -> str:
    """A p value under a head that says p: ``< 0.001`` or three decimals."""
    return ABSENT if p is None or math.isnan(p) else words.p_value(p).removeprefix("p ").removeprefix("= ")


def percent(share: float | None, digits: int = 1) -> str:
    """A share of one as percent; ``–`` where there is none."""
    return ABSENT if share is None or math.isnan(share) else words.percent(share, digits).replace("-", "−")


def interval(low: float | None, high: float | None, digits: int = 4, decimals: int | None = None) -> str:
    """``2.01 to 2.90``, both ends with the same decimals; ``–`` where there is no interval."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ABSENT
    decimals = decimals_for([low, high], digits) if decimals is None else decimals
    return f"{number(low, digits, decimals)} to {number(high, digits, decimals)}"


def short_tick(value: float) -> str:
    """An axis tick: ``1,500``, ``0.25``, ``2.5 M``, ``1 bn``."""
    for size, mark in ((1e9, " bn"), (1e6, " M")):
        if abs(value) >= size:
            return f"{value / size:,.6g}{mark}".replace("-", "−")
    return f"{value:,.6g}".replace("-", "−")


def joined(names: Iterable[str], most: int = 4) -> str:
    """``TV, Radio and Newspaper``; beyond ``most`` names, their number: ``7 channels``."""
    listed = [plain(n) for n in names]
    return f"{len(listed)} channels" if len(listed) > most else words.listing(listed)


def unit_per(target: str, channel: str, target_unit: str, channel_unit: str) -> str:
    """The unit of a slope in words: ``thousand units per thousand dollars``, with names where units are unknown."""
    return f"{plain(target_unit or target)} per {plain(channel_unit or 'unit of ' + channel)}"


def slugs(names: Iterable[str]) -> dict[str, str]:
    """A name fit for a file and an anchor for each column: letters, digits and ``_``, no two the same."""
    taken: dict[str, str] = {}
    for name in names:
        base = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:40] or "column"
        slug, again = base, 2
        while slug.casefold() in (s.casefold() for s in taken.values()):
            slug, again = f"{base}_{again}", again + 1
        taken[name] = slug
    return taken
