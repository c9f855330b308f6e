"""Which figures stand in a section, and what does each mean, in a sentence or two?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from adresponse.report.formats import slugs
from adresponse.report.inline import inline
from adresponse.report.parts import Shown
from adresponse.report.phrases import slope

if TYPE_CHECKING:
    from adresponse.study import Study

__all__ = ["captioned", "line_caption"]

_CURVE = (
    "Sales in a period if as much is spent in each, carry-over included. Marks are rows, with what everything else is thought "
    "to bring taken away; the ring is today's spend."
)


def captioned(study: Study, figures: Mapping[str, bytes]) -> Callable[..., list[Shown]]:
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
        return [Shown(k, titles[k], inline(k, figures[k]), captions[k]) for k in keys if k in titles]

    return of


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
        "fitted_line": line_caption(study),
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


def line_caption(study: Study) -> str:
    """What line and band of the fit mean, which is true of each channel's drawing."""
    caption = "The line is what the model expects; nine of ten new rows should lie in the band. "
    if study.spread.slope > 0 and any(f.code == "M002" for f in study.findings):
        caption += "The band widens where more is expected, because the errors do. "
    if len(study.table.contract.features) > 1:
        caption += "The other columns are held at their mean, and each mark is moved to where it would then lie. "
    return caption + "Both end where the data ends."


def _slope_sentence(study: Study, name: str) -> str:
    """What one more unit of a feature goes with, where the model has a figure for it."""
    found = study.linear.coefficients if study.linear else ()
    coefficient = next((c for c in found if c.name == name), None)
    if coefficient is None:
        return f"What the model expects over {name}."
    figure, unit, bounds = slope(study, coefficient)
    return f"{figure} {unit}, the others held fixed (95 % interval {bounds}, robust)."


def _inside(study: Study) -> str:
    rows = study.evaluation.predicted
    inside = sum(r.low <= r.observed <= r.high for r in rows)
    return f"{inside:,} of {len(rows):,} unseen rows lie inside their 90 % interval."
