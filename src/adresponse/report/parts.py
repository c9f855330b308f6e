"""What is a page made of, and how do its parts become one file that loads nothing from anywhere?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from adresponse.report.formats import apart, plain

__all__ = ["Head", "Shown", "Table", "Tile", "day", "render", "table"]


@dataclass(frozen=True)
class Head:
    """Head of a table's column: its text, and whether figures stand under it."""

    text: str
    figures: bool = True


@dataclass(frozen=True)
class Table:
    """Rows of text under heads; the first cell of a row names it, ``marked`` rows stand out."""

    title: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Shown:
    """A figure in the page: its anchor, its drawing, and what it means."""

    key: str
    title: str
    drawing: Markup
    caption: str


@dataclass(frozen=True)
class Tile:
    """A key figure: what it is, the figure, and how sure it is."""

    name: str
    figure: str
    unit: str
    note: str


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], marked: Iterable[int] = ()) -> Table:
    """A table; a head that begins with ``#`` has figures under it."""
    return Table(
        title,
        tuple(Head(h.removeprefix("#"), h.startswith("#")) for h in heads),
        tuple(map(tuple, rows)),
        frozenset(marked),
    )


def day(created: str) -> str:
    """``2025-06-12T08:30:00Z`` as ``12 June 2025, 08:30 UTC``; as it is where it is no ISO date-time."""
    try:
        at = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("adresponse.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=lambda value: apart(plain(value)) if type(value) is str else value,
    )
    environment.filters["pasted"] = lambda value: escape(plain(value))  # what is pasted elsewhere holds no invisible mark
    return environment


def render(template: str, **told: Any) -> str:
    """The template as one HTML file with its style inside."""
    environment = _environment()
    css = environment.loader.get_source(environment, "report.css")[0]  # type: ignore[union-attr]
    return environment.get_template(template).render(css=Markup(css), **told)  # noqa: S704  our own style
