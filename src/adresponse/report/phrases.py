"""How is a figure of a study said: with its unit, its interval, and a capital where a cell begins?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adresponse.report.formats import decimals_beside, interval, number, unit_per

if TYPE_CHECKING:
    from adresponse.evaluate import Score
    from adresponse.models import Coefficient
    from adresponse.study import Study

__all__ = ["amount", "capital", "in_unit", "score", "slope"]


def capital(text: str) -> str:
    """The text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def in_unit(study: Study, text: str) -> str:
    """The text with the target's unit behind it, where it has one: ``RMSE (thousand units)``."""
    unit = study.table.contract[study.table.contract.target].unit
    return f"{text} ({unit})" if unit else text


def amount(study: Study, value: float) -> str:
    """A figure with the target's unit, where it has one."""
    return f"{number(value, 3)} {study.table.contract[study.table.contract.target].unit}".strip()


def score(s: Score) -> tuple[str, str]:
    """The score and its interval."""
    places = decimals_beside(s.value, s.low, s.high, 3)
    return (
        "not given" if s.value is None else number(s.value, decimals=places),
        interval(s.low, s.high, decimals=places),
    )


def slope(study: Study, c: Coefficient) -> tuple[str, str, str]:
    """What one more unit of a column goes with: the figure, its unit and its robust interval."""
    contract = study.table.contract
    unit = unit_per(contract.target, c.name, contract[contract.target].unit, contract[c.name].unit)
    places = decimals_beside(c.estimate, c.low_hc3, c.high_hc3, 3)
    return number(c.estimate, decimals=places), unit, interval(c.low_hc3, c.high_hc3, decimals=places)
