"""Two models held against each other on rows that neither has learnt from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adresponse import deployment
from adresponse.errors import ConfigError, StoreError
from adresponse.settings import Settings
from adresponse.standing import Standing, asked_of, standing_of
from adresponse.upkeep.turn import uri_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from adresponse.contest import Contest
    from adresponse.curves import Response

__all__ = ["Compared", "Other", "compare_versions", "held_against"]


@dataclass(frozen=True)
class Compared:
    """Two versions over the same rows, which neither has learnt from."""

    name: str
    a: str
    b: str
    rows: int
    contest: Contest
    settings: dict[str, tuple[Any, Any]]
    coefficients: dict[str, tuple[float | None, float | None]]


@dataclass(frozen=True)
class Other:
    """What is held against a version.

    Parameters
    ----------
    name : str
        How it is called.
    predict : callable
        Predicted sales of rows, shape (n_rows,); earlier spend is carried into them.
    spread : Spread
        How far new rows lie from what it predicts.
    fitted : DataFrame
        The rows that it was fitted on.
    curves : sequence of Response
        What its channels bring, where it has curves.
    """

    name: str
    predict: Callable[[pd.DataFrame], Any]
    spread: Any
    fitted: pd.DataFrame
    curves: Sequence[Response] = ()


def held_against(
    version: Standing, other: Other, rows: pd.DataFrame, shared: NDArray[np.bool_], known: pd.DataFrame, settings: Settings
) -> Contest:
    """A model held against a version on rows that neither has learnt from.

    ``shared`` tells which of the rows are of markets that both know; the others are counted, not scored. ``known`` are all rows
    there are, whose spend the version carries as the other does.
    """
    import numpy as np

    from adresponse.contest import Contender, ContestRules, contest, responses

    rows, left_out = rows[shared], int((~shared).sum())
    return contest(
        version.contract,
        rows[version.contract.target].to_numpy(),
        Contender(f"version {version.version}", version.predict(rows, known), version.formula.spread),
        Contender(other.name, np.asarray(other.predict(rows), dtype=float), other.spread),
        _steady(other) if other.curves else responses(version.contract, other.fitted, other.predict),
        ContestRules.build(settings.promotion),
        left_out,
    )


def _steady(other: Other) -> dict[str, tuple[Any, Any]]:
    """What each channel's curve adds over the range of spend seen, where a row alone does not tell."""
    import numpy as np

    found = {}
    for response in other.curves:
        spend = other.fitted[response.channel]
        along = np.linspace(float(spend.min()), float(spend.max()), 21)
        found[response.channel] = along, response.steady(along)
    return found


def compare_versions(a: str, b: str, *, model: str | None = None, config: str | Path | None = None) -> Compared:
    """Two versions scored afresh over the rows that neither has learnt from; ``b`` is held against ``a``.

    Parameters
    ----------
    a, b : str
        Version numbers, or ``models:/NAME/VERSION`` and ``models:/NAME@ALIAS``.
    model : str, optional
        The registered model's name, where numbers are given; without it, the only one.
    config : path, optional
        YAML file whose ``promotion`` holds the rules.
    """
    store = deployment.open_store()
    with standing_of(store, uri_of(a, model)) as first, standing_of(store, uri_of(b, model)) as second:
        read = {*first.formula.inputs, *second.formula.inputs}
        both = read <= {*first.kept.frame} & {*second.kept.frame}  # a date that one alone has is a column of its own
        if not both or first.contract.features != second.contract.features or first.contract.target != second.contract.target:
            raise ConfigError(f"{first.model.uri} and {second.model.uri} have different columns; there are no rows for both.")
        rows = _unseen_by_both(first, second)
        shared = first.knows(rows) & second.knows(rows)
        if not shared.any():
            known = " and whose market both know" if len(rows) else ""
            raise StoreError(f"{first.model.uri} and {second.model.uri} share no row that neither has learnt from{known}.")
        settings = asked_of(first.settings, config, {})
        other = Other(
            f"version {second.version}",
            lambda asked: second.predict(asked, first.kept.frame),
            second.formula.spread,
            second.kept.frame[~second.kept.held_out],
            () if second.formula.curves is None else second.formula.curves.responses,
        )
        held = held_against(first, other, rows, shared, second.kept.frame, settings)
        return Compared(
            first.name, first.version, second.version, held.rows, held, _different(first, second), _coefficients(first, second)
        )


def _unseen_by_both(first: Standing, second: Standing) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    from adresponse.growing import key_columns, row_keys

    columns = [c.name for c in first.contract.columns if c.name in second.kept.frame]
    keyed = [key_columns(s.kept.frame, s.contract) for s in (first, second)]
    by = keyed[0] if keyed[0] == keyed[1] else columns
    held = pd.concat([s.kept.frame.loc[s.kept.held_out, columns] for s in (second, first)], ignore_index=True)
    learnt = {k for s in (first, second) for k in row_keys(s.kept.frame.loc[~s.kept.held_out, by], by)}
    keys = row_keys(held, by)
    once = {key: i for i, key in reversed(list(enumerate(keys))) if key not in learnt}
    return held.iloc[np.sort(np.fromiter(once.values(), dtype=int, count=len(once)))]


def _different(first: Standing, second: Standing) -> dict[str, tuple[Any, Any]]:
    a, b = first.settings.plain(), second.settings.plain()
    return {key: (a.get(key), b.get(key)) for key in {**a, **b} if a.get(key) != b.get(key) and key not in ("columns", "out")}


def _coefficients(first: Standing, second: Standing) -> dict[str, tuple[float | None, float | None]]:
    """What one more unit of each feature brings by either version, where it is a line."""
    found: list[dict[str, float]] = []
    for standing in (first, second):
        formula = standing.model.stored.formula
        found.append({term.column: term.coefficient * term.scale for term in formula.terms})
    return {name: (found[0].get(name), found[1].get(name)) for name in {**found[0], **found[1]}}
