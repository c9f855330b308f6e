"""What does the study say? One self-contained page for a person, made from the values and the figures."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from adresponse.report.figures import PANELS, SHOWN_ROWS
from adresponse.report.formats import (
    decimals_beside,
    decimals_for,
    interval,
    joined,
    number,
    p_value,
    percent,
    plain,
    slugs,
    unit_per,
)

if TYPE_CHECKING:
    from adresponse.contest import Contest
    from adresponse.evaluate import Score
    from adresponse.mixing.fit import MixFit
    from adresponse.mixing.shapes import ShapeScore
    from adresponse.models import Coefficient
    from adresponse.planning.planned import Plan
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
_ROLES = {"channel": "channel (spend)", "target": "target (to be explained)"}
_VERDICTS = {"✓": "agrees", "✗": "differs", "–": "not compared"}
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


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], marked: Iterable[int] = ()) -> Table:
    """A table; a head that begins with ``#`` has figures under it."""
    return Table(
        title,
        tuple(Head(h.removeprefix("#"), h.startswith("#")) for h in heads),
        tuple(map(tuple, rows)),
        frozenset(marked),
    )


def _sentence(text: str) -> str:
    """The text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


# ---- drawings


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _inline(key: str, svg: bytes) -> Markup:
    """An SVG file as an element of the page: no prolog, no namespaces, ids that begin with ``key``, a spoken name."""
    root = ET.fromstring(svg)  # noqa: S314  our own drawing
    title = next((e.text or "" for e in root if _local(e.tag) == "title"), "")
    _drop(root, "metadata", "style", "title")
    _own_names(root, key)
    _hoist_styles(root)
    box = root.attrib["viewBox"]
    width, height = (f"{float(size):g}" for size in box.split()[2:])
    root.attrib = {"viewBox": box, "width": width, "height": height, "role": "img", "aria-label": title}
    spoken = ET.Element("title")
    spoken.text = title
    root.insert(0, spoken)
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704  serialised, so escaped


def _drop(root: ET.Element, *tags: str) -> None:
    for parent in list(root.iter()):
        for child in [c for c in parent if _local(c.tag) in tags]:
            parent.remove(child)


def _own_names(root: ET.Element, key: str) -> None:
    """Tags and attributes without namespaces; of the ids those that are pointed to, with ``key`` before them."""
    used = {_target(value) for element in root.iter() for value in element.attrib.values()} - {""}
    for element in root.iter():
        element.tag = _local(element.tag)
        kept = ((_local(name), value) for name, value in element.attrib.items())
        element.attrib = {n: _renamed(n, v, key) for n, v in kept if n != "id" or v in used}


def _target(value: str) -> str:
    """The id that an attribute's value points to, or an empty string."""
    if value.startswith("#"):
        return value[1:]
    return value[5:-1] if value.startswith("url(#") else ""


def _renamed(name: str, value: str, key: str) -> str:
    if name == "id":
        return f"{key}-{value}"
    target = _target(value)
    return value.replace(f"#{target}", f"#{key}-{target}") if target and name in ("href", "clip-path") else value


def _hoist_styles(root: ET.Element) -> None:
    """Give a style that all marks of a group share to the group: a page of many rows is half as large."""
    for group in root.iter("g"):
        styles = {child.get("style") for child in group}
        if len(group) > 1 and all(child.tag == "use" for child in group) and len(styles) == 1 and None not in styles:
            group.set("style", "; ".join(filter(None, [group.get("style"), *map(str, styles)])))
            for child in group:
                del child.attrib["style"]


def _captions(study: Study) -> dict[str, str]:
    """What each figure means, in a sentence or two, from the values' own sentences where they have one."""
    contract, profile = study.table.contract, study.profile
    slug = slugs(c.name for c in contract.columns)
    said = {d.name: d.sentence for d in study.evaluation.diagnostics}
    together = {c.a if c.b == contract.target else c.b: c.sentence for c in profile.correlations
                if contract.target in (c.a, c.b)}  # fmt: skip
    captions = {f"distribution_{slug[n.name]}": n.sentence for n in profile.numbers}
    captions |= {f"scatter_{slug[f]}": together.get(f, "Each mark is a row.") for f in contract.features}
    captions |= {f"fitted_line_{slug[f]}": _slope_sentence(study, f) for f in contract.features}
    captions |= {f"curve_{slug[c]}": _CURVE for c in contract.channels}
    return captions | {
        "returns": "What one unit of spend brought on average over the rows fitted, and what one more would; lines are 90 % "
        "intervals. Where the second lies below the first, the channel saturates.",
        "contributions": "Sales as the model takes them apart: what is sold anyway, and what each channel adds. The parts "
        "add up to the fitted sales; the line is what was sold.",
        "fitted_line": _line_caption(study),
        "correlation": "1 is a rising line, −1 a falling one, 0 no relation. Pearson's r asks for a straight line, "
        "Spearman's rho for any steady rise. A line that crosses 0 leaves the direction open.",
        "tuning": "The further left, the better; a line spans one standard deviation over the folds to each side. "
        "Settings with the same error share a line.",
        "comparison": "The further left, the better. Lines are 95 % intervals of the difference over the same folds; "
        "one that crosses 0 may be chance.",
        "predicted_observed": "The nearer a mark lies to the diagonal, the better the prediction. " + _inside(study),
        "residuals": said.get("residuals", "A good model leaves no pattern: the mean stays near 0."),
        "scale_location": said.get("scale_location", "A level mean says that errors are of one size."),
        "qq": said.get("qq", "Marks on the line are errors spread like a normal distribution."),
        "influence": said.get("influence", "Rows beyond a dashed curve pull the line most.")
        + " Rows outside the dashed curve are worth a look.",
        "order": said.get("order", "Runs on one side of 0 say that neighbouring rows err alike."),
    }


_CURVE = (
    "Sales in a period if as much is spent in each, carry-over included. Marks are rows, with what everything else is thought "
    "to bring taken away; the ring is today's spend."
)


def _line_caption(study: Study) -> str:
    caption = "The line is what the model expects; nine of ten new rows should lie in the band. "
    if study.spread.slope > 0 and any(f.code == "M002" for f in study.findings):
        caption += "The band widens where more is expected, because the errors do. "
    if len(study.table.contract.features) > 1:
        caption += "The other columns are held at their mean, and each mark is moved to where it would then lie. "
    return caption + "Both end where the data ends."


def _slope_sentence(study: Study, name: str) -> str:
    """What one more unit of a feature goes with, where the model has a figure for it."""
    found = study.linear.coefficients if study.linear else ()
    slope = next((c for c in found if c.name == name), None)
    if slope is None:
        return f"What the model expects over {name}."
    contract = study.table.contract
    unit = unit_per(contract.target, name, contract[contract.target].unit, contract[name].unit)
    places = decimals_beside(slope.estimate, slope.low_hc3, slope.high_hc3, 3)
    bounds = interval(slope.low_hc3, slope.high_hc3, decimals=places)
    return f"{number(slope.estimate, decimals=places)} {unit}, the others held fixed (95 % interval {bounds}, robust)."


def _inside(study: Study) -> str:
    rows = study.evaluation.predicted
    inside = sum(r.low <= r.observed <= r.high for r in rows)
    return f"{inside:,} of {len(rows):,} unseen rows lie inside their 90 % interval."


def _drawn(study: Study, figures: Mapping[str, bytes]) -> Callable[..., list[Shown]]:
    """A function that gives the figures whose names begin with one of its arguments, ready for the page."""
    captions = _captions(study)
    slug = slugs(c.name for c in study.table.contract.columns)
    target = study.table.contract.target
    pairs = [(f"{kind}_{s}", f"{target} and {name}") for name, s in slug.items() for kind in ("scatter", "fitted_line")]
    pairs += [(f"curve_{s}", name) for name, s in slug.items()]
    columns = {f"distribution_{s}": name for name, s in slug.items()}
    titles = columns | {
        "correlation": "Correlations with their 95 % intervals",
        "tuning": "Error of the settings tried",
        "fitted_line": f"{target} expected over {study.table.contract.features[0]}",
        "returns": "What a unit of spend brings",
        "contributions": "What sales are made of",
        "comparison": "Each candidate against the default",
        "predicted_observed": "Predicted and observed, unseen rows",
        "residuals": "Is there a pattern in the errors?",
        "scale_location": "Do the errors grow with the prediction?",
        "qq": "Are the errors spread normally?",
        "influence": "Does a single row pull the line?",
        "order": "Do neighbours in time err alike?",
        **dict(pairs),
    }

    def of(*kinds: str) -> list[Shown]:
        keys = [k for kind in kinds for k in figures if k == kind or k.startswith(f"{kind}_")]
        return [Shown(k, titles[k], _inline(k, figures[k]), captions[k]) for k in keys if k in titles]

    return of


# ---- tables


def _dictionary(study: Study) -> Table:
    return _table(
        "Columns",
        ("Column", "Role", "Meaning", "Unit"),
        ((c.name, _ROLES.get(c.role, c.role), c.means or "not given", c.unit or "not given")
         for c in study.table.contract.columns),
    )  # fmt: skip


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


def _numbers(study: Study) -> Table:
    def rows() -> Iterator[Sequence[str]]:
        for n in study.profile.numbers:
            places = decimals_for([n.mean, n.lowest, n.highest])
            figures = (n.lowest, n.q1, n.median, n.mean, n.q3, n.highest, n.std)
            yield (
                study.table.contract.label(n.name), f"{n.count:,}", *(number(v, decimals=places) for v in figures),
                number(n.total, 6),
            )  # fmt: skip

    return _table(
        "Each column in its own unit",
        (
            "Column",
            "#Rows",
            "#Lowest",
            "#Lower quarter",
            "#Median",
            "#Mean",
            "#Upper quarter",
            "#Highest",
            "#Standard deviation",
            "#Total",
        ),
        rows(),
    )


def _odd_rows(study: Study) -> Table | None:
    """Rows where much was spent and little sold."""
    odd = study.profile.much_spent_little_sold
    if not odd:
        return None
    contract = study.table.contract
    names = [n for n in (*contract.features, contract.target) if n in odd[0].values]
    places = {n: decimals_for(o.values[n] for o in odd) for n in names}
    last = decimals_for(o.expected for o in odd)
    return _table(
        "Much spent, little sold",
        ("Row", *(f"#{contract.label(n)}" for n in names), f"#{contract.target} expected of the total spend"),
        (
            (f"{o.row:,}", *(number(o.values[n], decimals=places[n]) for n in names), number(o.expected, decimals=last))
            for o in odd
        ),
    )


def _correlations(study: Study) -> Table:
    def cells(value: float, low: float, high: float, p: float) -> tuple[str, str, str]:
        return number(value, decimals=2), interval(low, high, decimals=2), p_value(p)

    return _table(
        "Correlation of each pair",
        ("Pair", "#Pearson's r", "#95 % interval", "#p", "#Spearman's rho", "#95 % interval", "#p"),
        (
            (
                f"{c.a} and {c.b}",
                *cells(c.pearson, c.pearson_low, c.pearson_high, c.pearson_p),
                *cells(c.spearman, c.spearman_low, c.spearman_high, c.spearman_p),
            )
            for c in study.profile.correlations
        ),
    )


def _scaling(study: Study) -> Table:
    def rows() -> Iterator[Sequence[str]]:
        for name in study.table.contract.features:
            values = study.table.X[name].to_numpy()[study.train]
            low, high, mean = float(values.min()), float(values.max()), float(values.mean())
            places = decimals_for([low, high, mean])
            scaled = (mean - low) / ((high - low) or 1.0)
            figures = (number(v, decimals=places) for v in (low, high, mean))
            yield study.table.contract.label(name), *figures, number(scaled, decimals=3)

    return _table(
        "Figures of the scaling",
        ("Column", "#Lowest, becomes 0", "#Highest, becomes 1", "#Mean", "#Mean, scaled"),
        rows(),
    )


def _scales(study: Study) -> bool:
    """Does the chosen pipeline scale to 0 and 1?"""
    steps = getattr(study.estimator, "steps", ())
    return any(type(step).__name__ == "MinMaxScaler" for _, step in steps)


def _grid(study: Study) -> Table:
    grid = sorted(study.leaderboard.grid, key=lambda g: g.rank)
    names = list(dict.fromkeys(k for g in grid for k in g.params))
    places = decimals_for(g.rmse for g in grid)
    heads = (n.rsplit("__", 1)[-1] for n in names)
    return _table(
        f"Settings tried, over {study.leaderboard.folds} folds",
        ("#Rank", *heads, _in_unit(study, "#RMSE"), _in_unit(study, "#Spread over the folds")),
        (
            (str(g.rank), *(g.params.get(n, "–") for n in names), number(g.rmse, decimals=places),
             number(g.std, decimals=places))
            for g in grid
        ),
    )  # fmt: skip


def _in_unit(study: Study, text: str) -> str:
    unit = study.table.contract[study.table.contract.target].unit
    return f"{text} ({unit})" if unit else text


def _amount(study: Study, value: float) -> str:
    """A figure with the target's unit, where it has one."""
    return f"{number(value, 3)} {study.table.contract[study.table.contract.target].unit}".strip()


def _coefficients(coefficients: Iterable[Coefficient], study: Study) -> Table:
    contract = study.table.contract
    sold = contract[contract.target].unit

    def unit(c: Coefficient) -> str:
        known = c.name in contract.features
        return unit_per(contract.target, c.name, sold, contract[c.name].unit) if known else sold or contract.target

    def rows() -> Iterator[Sequence[str]]:
        for c in coefficients:
            kinds = (
                ("classical", c.se, c.t, c.p, c.low, c.high),
                ("robust (HC3)", c.se_hc3, c.t_hc3, c.p_hc3, c.low_hc3, c.high_hc3),
            )
            for kind, se, t, p, low, high in kinds:
                places = decimals_beside(c.estimate, low, high)
                figures = (
                    number(c.estimate, decimals=places), number(se, decimals=places), number(t, decimals=2), p_value(p),
                    interval(low, high, decimals=places),
                )  # fmt: skip
                yield (_sentence(c.name) if c.name == "intercept" else c.name, kind, *figures, unit(c))

    return _table(
        "Coefficients in the table's units",
        ("Coefficient", "Standard error", "#Estimate", "#Standard error", "#t", "#p", "#95 % interval", "Unit"),
        rows(),
    )


def _channels(study: Study, mix: MixFit) -> Table:
    """What each channel brought over the rows fitted."""
    contract = study.table.contract

    def rows() -> Iterator[Sequence[str]]:
        for a in mix.answers:
            yield (
                contract.label(a.channel), number(a.spend, 4), number(a.total, 4), interval(a.low, a.high, 4), percent(a.share),
                number(a.roi, 3), interval(a.roi_low, a.roi_high, 3), number(a.marginal_roi, 3),
                interval(a.marginal_roi_low, a.marginal_roi_high, 3),
            )  # fmt: skip

    brought = _in_unit(study, "#Brought")
    heads = (
        "Channel", "#Spent", brought, "#90 % interval", "#Share of sales", "#For one unit", "#90 % interval", "#For one more",
        "#90 % interval",
    )  # fmt: skip
    return _table("What each channel brought over the rows fitted", heads, rows())


def _curves(mix: MixFit) -> Table:
    """The curves in numbers."""
    untold = {(v.channel, v.parameter) for v in mix.vague}

    def told(channel: str, name: Any, value: float) -> str:
        return f"{number(value, 3)} (not told)" if (channel, name) in untold else number(value, 3)

    decays = mix.model.natural(mix.model.found_.theta)["decay"]

    def rows() -> Iterator[Sequence[str]]:
        for r, decay in zip(mix.responses, decays, strict=True):
            yield (
                r.channel,
                told(r.channel, "decay", float(decay)) if len(r.weights) > 1 else "–",
                told(r.channel, "half", r.half) if r.shape not in ("linear", "power") else "–",
                told(r.channel, "slope", r.slope) if r.shape in ("power", "hill") else "–",
                number(r.coefficient, 4),
            )

    return _table("The curves in numbers", ("Channel", "#Carry-over", "#Half", "#Slope", "#Coefficient"), rows())


def _planned(study: Study, plan: Plan) -> Table:
    """Today's budget, split best."""
    contract = study.table.contract

    def rows() -> Iterator[Sequence[str]]:
        for c in plan.channels:
            figures = (number(v) for v in (c.today, c.spend, c.change, c.sales))
            yield contract.label(c.channel), *figures, number(c.marginal, 3)

    heads = ("Channel", "#Today", "#Plan", "#Change", _in_unit(study, "#Brings"), "#One more unit brings")
    periods = "one row" if plan.periods == 1 else f"{plan.periods} periods"
    return _table(f"Today's budget for {periods}, split best", heads, rows())


def _shapes(mix: MixFit) -> Table:
    """How each curve predicted the folds, its squared error as more or less than that of the best supported one."""
    best = _best(mix.scores)

    def against(s: ShapeScore) -> tuple[str, str]:
        return ("–", "–") if s is best else (f"{'+' if s.worse > 0 else ''}{percent(s.worse)}", percent(s.error))

    return _table(
        "Curves compared over the same folds",
        ("Curve", "#RMSE", f"#Squared error against {best.shape}", "#Standard error", "#Behind on all rows (AIC)"),
        ((s.shape, number(s.rmse, 4), *against(s), number(s.behind, 2)) for s in mix.scores),
        marked=(i for i, s in enumerate(mix.scores) if s.chosen),
    )


def _best(scores: Iterable[ShapeScore]) -> ShapeScore:
    """The curve that the others were held against: its difference is none, without an error."""
    return min(scores, key=lambda s: (abs(s.worse), s.error))


def _shapes_note(mix: MixFit) -> str:
    """What the columns of the curves compared mean, and why one was chosen."""
    best = _best(mix.scores).shape
    return (
        f"Squared error (RMSE times RMSE) is held against that of {best}, the best over the folds of those that all rows "
        "together support: at most 2 behind in Akaike's criterion. A minus means less error over the folds than "
        f"{best}. Chosen is the simplest of those supported whose squared error is no more than one standard error above "
        f"that of {best}."
    )


def _scores(study: Study) -> Table:
    repeated = {s.name: s for s in study.evaluation.repeated}
    again_by = "Repeated cross-validation" if study.leaderboard.repeats > 1 else f"Mean over {study.leaderboard.folds} folds"
    basis = "Held-out rows" if study.evaluation.basis == "held-out" else "Cross-validation"

    def rows() -> Iterator[Sequence[str]]:
        for s in study.evaluation.scores:
            again = repeated.get(s.name)
            yield (
                f"{s.title} ({s.unit})" if s.unit else s.title,
                *_score(s), *(_score(again) if again else ("–", "–")),
                s.sentence if s.value is not None else f"Not given: {s.reason}",
            )  # fmt: skip

    return _table(
        "Scores",
        ("Score", f"#{basis}", "#95 % interval", f"#{again_by}", "#95 % interval", "In words"),
        rows(),
    )


def _score(s: Score) -> tuple[str, str]:
    """The score and its interval."""
    places = decimals_beside(s.value, s.low, s.high, 3)
    return (
        "not given" if s.value is None else number(s.value, decimals=places),
        interval(s.low, s.high, decimals=places),
    )


def _coverage(study: Study) -> Table:
    """A row for each level, the rows that it was measured on beside one another."""
    spoken = {"held-out": "held-out rows", "cross-validation": "cross-validation"}
    measured = {(c.level, c.basis): c for c in study.evaluation.coverage}
    bases = list(dict.fromkeys(c.basis for c in study.evaluation.coverage))
    heads = [(f"#Measured, {spoken[b]}", _in_unit(study, "#Mean width")) for b in bases]

    def cells(level: float) -> Iterator[str]:
        for basis in bases:
            c = measured.get((level, basis))
            yield f"{percent(c.measured)} of {c.rows:,}" if c else "–"
            yield number(c.width, 3) if c else "–"

    return _table(
        "Do the prediction intervals hold?",
        ("Promised", *(h for pair in heads for h in pair)),
        ((percent(level, 0), *cells(level)) for level in dict.fromkeys(c.level for c in study.evaluation.coverage)),
    )


def _diagnostics(study: Study) -> Table:
    return _table(
        "Looks at the residuals",
        ("Diagnostic", "#Statistic", "#p"),
        ((d.title, number(d.statistic, 3), p_value(d.p)) for d in study.evaluation.diagnostics),
    )


def _leaderboard(study: Study) -> Table:
    rows = study.leaderboard.rows
    places = decimals_for(r.rmse for r in rows)
    return _table(
        f"Candidates over {study.leaderboard.folds} folds, {_times(study.leaderboard.repeats)}",
        ("Candidate", _in_unit(study, "#RMSE"), _in_unit(study, "#MAE"), "#R²", "#RMSE minus the default's",
         "#95 % interval", "Verdict"),
        (
            (
                _sentence(r.title) + (" (chosen)" if r.chosen else ""),
                number(r.rmse, decimals=places), number(r.mae, decimals=places), number(r.r2, decimals=3),
                number(r.difference, decimals=places), interval(r.low, r.high, decimals=places), _sentence(r.verdict),
            )
            for r in rows
        ),
        marked=(i for i, r in enumerate(rows) if r.chosen),
    )  # fmt: skip


def _verification(verification: Verification) -> Table:
    return _table(
        "Asked and compared",
        ("What", "Evaluated", "Answered", "Decision"),
        ((_sentence(c.name), c.expected, c.found, _VERDICTS[c.mark]) for c in verification.checks),
        marked=(i for i, c in enumerate(verification.checks) if not c.passed),
    )


def _contest(contest: Contest) -> Table:
    return _table(
        "Held against the champion on the same rows, which neither has learnt from",
        ("Rule", "Found", "Decision"),
        ((_sentence(r.rule), r.found, "passed" if r.passed else "failed") for r in contest.rules),
        marked=(i for i, r in enumerate(contest.rules) if not r.passed),
    )


def _times(repeats: int) -> str:
    return "once" if repeats == 1 else f"repeated {repeats} times"


# ---- words


def _tiles(study: Study) -> list[Tile]:
    scores = {s.name: s for s in study.evaluation.scores}
    tiles = [_score_tile(title, scores[name]) for name, title in _TILES.items() if name in scores]
    return tiles + _slope_tiles(study)


def _score_tile(title: str, s: Score) -> Tile:
    if s.value is None:
        return Tile(title, "not given", "", s.reason)
    figure, bounds = _score(s)
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
    unit = unit_per(contract.target, best.name, contract[contract.target].unit, contract[best.name].unit)
    places = decimals_beside(best.estimate, best.low_hc3, best.high_hc3, 3)
    bounds = interval(best.low_hc3, best.high_hc3, decimals=places)
    return [Tile(name, number(best.estimate, decimals=places), unit, _sure(bounds))]


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


def _pair_sentences(study: Study) -> list[str]:
    """What the pairs without a scatter of their own say, the closest first."""
    target = study.table.contract.target
    pairs = [c for c in study.profile.correlations if target not in (c.a, c.b)]
    return [c.sentence for c in sorted(pairs, key=lambda c: -abs(c.pearson))[:_PRINTED_PAIRS]]


def _day(created: str) -> str:
    """``2025-06-12T08:30:00Z`` as ``12 June 2025, 08:30 UTC``; as it is where it is no ISO date-time."""
    try:
        at = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


# ---- the page


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("adresponse.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=lambda value: plain(value) if type(value) is str else value,
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
        "day": _day(tracked.created),
        "tiles": _tiles(study),
        "basis": study.evaluation.basis_sentence,
        "facts": _facts(study),
        "pairs": _pair_sentences(study),
        "scales": _scales(study),
        "drawn_note": _drawn_note(study),
        "baseline": _amount(study, study.evaluation.baseline_rmse),
        "rse": _amount(study, study.linear.rse) if study.linear else "",
        "undrawn": [d.sentence for d in study.evaluation.diagnostics if d.name not in drawn],
        "line_caption": _line_caption(study),
        "several": len(contract.features) > 1,
        "explained": percent(max(study.mix.r2, 0.0)) if study.mix else "",
        "shapes_note": _shapes_note(study.mix) if study.mix and study.mix.scores else "",
    }


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
    environment = _environment()
    return environment.get_template("report.html").render(
        css=Markup(environment.loader.get_source(environment, "report.css")[0]),  # type: ignore[union-attr]  # noqa: S704
        sections=SECTIONS,
        study=study,
        tracked=tracked,
        verification=verification,
        contest=contest,
        figures=_drawn(study, figures),
        tables={
            "dictionary": _dictionary(study),
            "numbers": _numbers(study),
            "odd": _odd_rows(study),
            "correlations": _correlations(study),
            "scaling": _scaling(study),
            "grid": _grid(study) if study.leaderboard.grid else None,
            "coefficients": _coefficients(study.linear.coefficients, study) if study.linear else None,
            "scores": _scores(study),
            "coverage": _coverage(study) if study.evaluation.coverage else None,
            "diagnostics": _diagnostics(study) if study.evaluation.diagnostics else None,
            "leaderboard": _leaderboard(study),
            "verification": _verification(verification) if verification else None,
            "contest": _contest(contest) if contest else None,
            "channels": _channels(study, study.mix) if study.mix else None,
            "curves": _curves(study.mix) if study.mix else None,
            "shapes": _shapes(study.mix) if study.mix and study.mix.scores else None,
            "plan": _planned(study, study.plan) if study.plan else None,
        },
        **_words_of(study, tracked, figures),
    )
