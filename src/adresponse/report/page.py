"""What does the study say? One self-contained page for a person: its sections, key figures, and the words between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from adresponse.report.captions import captioned, line_caption
from adresponse.report.figures import PANELS, SHOWN_ROWS
from adresponse.report.formats import joined, percent
from adresponse.report.mix_tables import mix_tables, shapes_note, sizes_note
from adresponse.report.parts import Tile, day, render
from adresponse.report.phrases import amount, score, slope
from adresponse.report.tables import contest_table, study_tables, verification_table

if TYPE_CHECKING:
    from adresponse.contest import Contest
    from adresponse.evaluate import Score
    from adresponse.study import Study
    from adresponse.verification import Verification

__all__ = ["SECTIONS", "Tracked", "page"]

SECTIONS = {
    "objective": "Objective and answers",
    "data": "Data",
    "checks": "Checks",
    "numbers": "Numbers",
    "distributions": "Distributions",
    "correlation": "Correlation",
    "scaling": "Scaling",
    "tuning": "Tuning",
    "fit": "Fitted model",
    "evaluation": "Evaluation",
    "comparison": "Comparison",
    "deployment": "Deployment",
    "verification": "Verification",
    "result": "Result",
    "recommendation": "Recommendation",
    "limits": "Limits",
}
"""Anchor and title of each section, in the order of the page."""
_TILES = {"mae": "MAE", "rmse": "RMSE", "mape": "MAPE", "r2": "R²"}
_PRINTED_PAIRS = 8  # sentences; the table has every pair


@dataclass(frozen=True)
class Tracked:
    """Where the study rests: run, experiment and store in MLflow, and the lines to paste.

    ``created`` is an ISO date-time in UTC; ``commands`` are pairs of what a line does and the line.
    """

    run_id: str
    experiment_id: str
    experiment_name: str
    model_name: str
    store: str
    created: str
    commands: tuple[tuple[str, str], ...]


def page(
    study: Study,
    figures: Mapping[str, bytes],
    tracked: Tracked,
    verification: Verification | None = None,
    contest: Contest | None = None,
) -> str:
    """The report as one HTML file that loads nothing from anywhere.

    Parameters
    ----------
    study : Study
        What was found.
    figures : mapping of str to bytes
        The SVG of each figure, as ``figures(study)`` gives them.
    tracked : Tracked
        Where it rests, and what to do with it.
    verification : Verification, optional
        What the deployed model answered.
    contest : Contest, optional
        How the model did against the champion on the same rows.
    """
    return render(
        "report.html",
        sections=SECTIONS,
        study=study,
        tracked=tracked,
        verification=verification,
        contest=contest,
        figures=captioned(study, figures),
        tables={
            **study_tables(study),
            **mix_tables(study),
            "verification": verification_table(verification) if verification else None,
            "contest": contest_table(contest) if contest else None,
        },
        **_words_of(study, tracked, figures),
    )


def _words_of(study: Study, tracked: Tracked, drawn: Iterable[str]) -> dict[str, Any]:
    """Everything in the page that is neither table nor figure."""
    contract = study.table.contract
    return {
        "title": f"{contract.target} response to {joined(contract.channels)}",
        "target": contract[contract.target].title,
        "channels": joined(contract.channels),
        "source": PurePath(study.table.source).name or study.table.source,
        "rows": f"{len(study.table.frame):,}",
        "day": day(tracked.created),
        "tiles": _tiles(study),
        "basis": study.evaluation.basis_sentence,
        "facts": _facts(study),
        "pairs": _pair_sentences(study),
        "scales": _scales(study),
        "drawn_note": _drawn_note(study),
        "baseline": amount(study, study.evaluation.baseline_rmse),
        "mean": study.evaluation.mean,
        "rse": amount(study, study.linear.rse) if study.linear else "",
        "undrawn": [d.sentence for d in study.evaluation.diagnostics if d.name not in drawn],
        "line_caption": line_caption(study),
        "several": len(contract.features) > 1,
        "explained": percent(max(study.mix.r2, 0.0)) if study.mix else "",
        "sizes_note": sizes_note(study.mix) if study.mix else "",
        "shapes_note": shapes_note(study.mix) if study.mix and study.mix.scores else "",
    }


def _tiles(study: Study) -> list[Tile]:
    scores = {s.name: s for s in study.evaluation.scores}
    tiles = [_score_tile(title, scores[name]) for name, title in _TILES.items() if name in scores]
    return tiles + _slope_tiles(study)


def _score_tile(title: str, s: Score) -> Tile:
    if s.value is None:
        return Tile(title, "not given", "", s.reason)
    figure, bounds = score(s)
    return Tile(title, figure, s.unit, _sure(bounds))


def _sure(bounds: str) -> str:
    return "" if bounds == "–" else "95 % interval " + bounds.replace(" ", "\N{NO-BREAK SPACE}")


def _slope_tiles(study: Study) -> list[Tile]:
    """What one more unit of the first channels goes with: one tile, or none where the model has no single figure."""
    if study.linear is None:
        return []
    contract = study.table.contract
    slopes = [c for c in study.linear.coefficients if c.name in contract.channels]
    best = max(slopes, key=lambda c: c.estimate, default=None)
    if best is None:
        return []
    name = f"{contract.target} per unit of {best.name}"
    if len(slopes) > 1:
        name += f", the most of {len(slopes)} channels"
    figure, unit, bounds = slope(study, best)
    return [Tile(name, figure, unit, _sure(bounds))]


def _facts(study: Study) -> list[tuple[str, str]]:
    table = study.table
    facts = [
        ("Source", table.source),
        ("Origin", table.contract.origin or "not given"),
        ("Rows", f"{len(table.frame):,} of {table.rows_read:,} in the source"),
        ("Fitted on", f"{len(study.train):,} rows"),
        ("Held out", f"{len(study.test):,} rows"),
        ("SHA-256 of the content", table.digest),
    ]
    if table.contract.date is not None:
        dates = table.frame[table.contract.date]
        facts.insert(3, ("Dates", f"{dates.min():%Y-%m-%d} to {dates.max():%Y-%m-%d}"))
    return facts


def _pair_sentences(study: Study) -> list[str]:
    """What the pairs without a scatter of their own say, the closest first."""
    target = study.table.contract.target
    pairs = [c for c in study.profile.correlations if target not in (c.a, c.b)]
    return [c.sentence for c in sorted(pairs, key=lambda c: -abs(c.pearson))[:_PRINTED_PAIRS]]


def _scales(study: Study) -> bool:
    """Does the chosen pipeline scale to 0 and 1?"""
    steps = getattr(study.estimator, "steps", ())
    return any(type(step).__name__ == "MinMaxScaler" for _, step in steps)


def _drawn_note(study: Study) -> str:
    """What is not drawn, where there is much."""
    notes = []
    if len(study.table.frame) > SHOWN_ROWS:
        notes.append(
            f"Of more than {SHOWN_ROWS:,} rows, a random sample of {SHOWN_ROWS:,} is drawn as marks; lines, bands and "
            "bars are from all rows."
        )
    columns = len(study.profile.numbers)
    if columns > PANELS:
        notes.append(f"The first {PANELS} of {columns} columns are drawn.")
    return " ".join(notes)
