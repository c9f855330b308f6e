"""What is known of the data, the candidates, the fit and its scores, and how did the model do since, as tables?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from adresponse.checks import within_markets
from adresponse.report.formats import decimals_beside, decimals_for, interval, number, p_value, percent, unit_per
from adresponse.report.parts import Table, table
from adresponse.report.phrases import capital, in_unit, score

if TYPE_CHECKING:
    from adresponse.contest import Contest
    from adresponse.models import Coefficient
    from adresponse.study import Study
    from adresponse.verification import Verification

__all__ = ["contest_table", "study_tables", "verification_table"]

_ROLES = {"channel": "channel (spend)", "target": "target (to be explained)"}
_VERDICTS = {"✓": "agrees", "✗": "differs", "–": "not compared"}


def study_tables(study: Study) -> dict[str, Table | None]:
    """The tables of any study by their place in the page, None where there is nothing to show."""
    return {
        "dictionary": _dictionary(study),
        "numbers": _numbers(study),
        "odd": _odd_rows(study),
        "correlations": _correlations(study),
        "scaling": _scaling(study),
        "grid": _grid(study) if study.leaderboard.grid else None,
        "leaderboard": _leaderboard(study),
        "coefficients": _coefficients(study.linear.coefficients, study) if study.linear else None,
        "scores": _scores(study),
        "coverage": _coverage(study) if study.evaluation.coverage else None,
        "diagnostics": _diagnostics(study) if study.evaluation.diagnostics else None,
    }


# ---- the data


def _dictionary(study: Study) -> Table:
    return table(
        "Columns",
        ("Column", "Role", "Meaning", "Unit"),
        ((c.name, _ROLES.get(c.role, c.role), c.means or "not given", c.unit or "not given")
         for c in study.table.contract.columns),
    )  # fmt: skip


def _numbers(study: Study) -> Table:
    def rows() -> Iterator[Sequence[str]]:
        for n in study.profile.numbers:
            places = decimals_for([n.mean, n.lowest, n.highest])
            figures = (n.lowest, n.q1, n.median, n.mean, n.q3, n.highest, n.std)
            yield (
                study.table.contract.label(n.name), f"{n.count:,}", *(number(v, decimals=places) for v in figures),
                number(n.total, 6),
            )  # fmt: skip

    return table(
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
    return table(
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

    return table(
        f"Correlation of each pair{within_markets(study.table)[1]}",
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

    return table(
        "Figures of the scaling",
        ("Column", "#Lowest, becomes 0", "#Highest, becomes 1", "#Mean", "#Mean, scaled"),
        rows(),
    )


# ---- the candidates


def _grid(study: Study) -> Table:
    grid = sorted(study.leaderboard.grid, key=lambda g: g.rank)
    names = list(dict.fromkeys(k for g in grid for k in g.params))
    places = decimals_for(g.rmse for g in grid)
    heads = (n.rsplit("__", 1)[-1] for n in names)
    return table(
        f"Settings tried, over {study.leaderboard.folds} folds",
        ("#Rank", *heads, in_unit(study, "#RMSE"), in_unit(study, "#Spread over the folds")),
        (
            (str(g.rank), *(g.params.get(n, "–") for n in names), number(g.rmse, decimals=places),
             number(g.std, decimals=places))
            for g in grid
        ),
    )  # fmt: skip


def _leaderboard(study: Study) -> Table:
    rows = study.leaderboard.rows
    places = decimals_for(r.rmse for r in rows)
    return table(
        f"Candidates over {study.leaderboard.folds} folds, {_times(study.leaderboard.repeats)}",
        ("Candidate", in_unit(study, "#RMSE"), in_unit(study, "#MAE"), "#R²", "#RMSE minus the default's",
         "#95 % interval", "Verdict"),
        (
            (
                capital(r.title) + (" (chosen)" if r.chosen else ""),
                number(r.rmse, decimals=places), number(r.mae, decimals=places), number(r.r2, decimals=3),
                number(r.difference, decimals=places), interval(r.low, r.high, decimals=places), capital(r.verdict),
            )
            for r in rows
        ),
        marked=(i for i, r in enumerate(rows) if r.chosen),
    )  # fmt: skip


def _times(repeats: int) -> str:
    return "once" if repeats == 1 else f"repeated {repeats} times"


# ---- the fit and its scores


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
                yield (capital(c.name) if c.name == "intercept" else c.name, kind, *figures, unit(c))

    return table(
        "Coefficients in the table's units",
        ("Coefficient", "Standard error", "#Estimate", "#Standard error", "#t", "#p", "#95 % interval", "Unit"),
        rows(),
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
                *score(s), *(score(again) if again else ("–", "–")),
                s.sentence if s.value is not None else f"Not given: {s.reason}",
            )  # fmt: skip
        if (within := study.evaluation.r2_within) is not None:
            said = "It predicts worse than each market's mean would."
            if within >= 0:
                said = f"Of what sales lie off each market's mean, it explains {percent(within)} of the spread."
            yield "R² within the markets", number(within, 3), "–", "–", "–", said

    return table(
        "Scores",
        ("Score", f"#{basis}", "#95 % interval", f"#{again_by}", "#95 % interval", "In words"),
        rows(),
    )


def _coverage(study: Study) -> Table:
    """A row for each level, the rows that it was measured on beside one another."""
    spoken = {"held-out": "held-out rows", "cross-validation": "cross-validation"}
    measured = {(c.level, c.basis): c for c in study.evaluation.coverage}
    bases = list(dict.fromkeys(c.basis for c in study.evaluation.coverage))
    heads = [(f"#Measured, {spoken[b]}", in_unit(study, "#Mean width")) for b in bases]

    def cells(level: float) -> Iterator[str]:
        for basis in bases:
            c = measured.get((level, basis))
            yield f"{percent(c.measured)} of {c.rows:,}" if c else "–"
            yield number(c.width, 3) if c else "–"

    return table(
        "Do the prediction intervals hold?",
        ("Promised", *(h for pair in heads for h in pair)),
        ((percent(level, 0), *cells(level)) for level in dict.fromkeys(c.level for c in study.evaluation.coverage)),
    )


def _diagnostics(study: Study) -> Table:
    return table(
        "Looks at the residuals",
        ("Diagnostic", "#Statistic", "#p"),
        ((d.title, number(d.statistic, 3), p_value(d.p)) for d in study.evaluation.diagnostics),
    )


# ---- how the model did since


def verification_table(verification: Verification) -> Table:
    """What the deployed model was asked, and what it answered."""
    return table(
        "Asked and compared",
        ("What", "Evaluated", "Answered", "Decision"),
        ((capital(c.name), c.expected, c.found, _VERDICTS[c.mark]) for c in verification.checks),
        marked=(i for i, c in enumerate(verification.checks) if not c.passed),
    )


def contest_table(contest: Contest) -> Table:
    """By which rules the model was held against the champion."""
    return table(
        "Held against the champion on the same rows, which neither has learnt from",
        ("Rule", "Found", "Decision"),
        ((capital(r.rule), r.found, "passed" if r.passed else "failed") for r in contest.rules),
        marked=(i for i, r in enumerate(contest.rules) if not r.passed),
    )
