"""What of a study is put on record: its params, metrics, tags, notes and files, as plain values without MLflow."""

from __future__ import annotations

import csv
import getpass
import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from adresponse import __version__, words

if TYPE_CHECKING:
    from adresponse.contest import Contest
    from adresponse.evaluate import Evaluation, Score
    from adresponse.mixing.fit import MixFit
    from adresponse.schema import Contract
    from adresponse.study import Study
    from adresponse.tune import LeaderboardRow
    from adresponse.verification import Verification

__all__ = [
    "ROWS_FILE",
    "ROWS_TAG",
    "candidate_note",
    "dictionary",
    "files",
    "metric_name",
    "metrics",
    "note",
    "params",
    "tags",
    "to_csv",
    "to_json",
    "user",
    "verification_note",
    "verification_tags",
    "version_tags",
]

KEY_SCORES = ("mae", "rmse", "mape", "r2")
ROWS_FILE = "rows.parquet"  # of the run: the rows that the version stands on
ROWS_TAG = "adresponse.rows"  # of the version: SHA-256 of that file
NOTE_LENGTH = 5000  # of a description in MLflow's own tables; its servers before 3.0 refuse a longer tag
VALUE_LENGTH = 500  # what every backend of MLflow takes as a param


# --- figures


def params(study: Study) -> dict[str, str]:
    """Settings, chosen candidate and the estimator's own parameters, each as a short text."""
    given = dict(_flat(study.settings))
    given |= {"chosen": study.leaderboard.chosen, "data_digest": study.table.digest}
    given |= {"rows": len(study.table.frame), "rows_fitted": len(study.train), "rows_held_out": len(study.test)}
    given |= {f"estimator.{name}": value for name, value in _flat(_own_params(study.estimator))}
    return {_key(name): str(value)[:VALUE_LENGTH] for name, value in given.items()}


def _own_params(estimator: Any) -> dict[str, Any]:
    """The parameters that are values; those that are estimators themselves come with theirs."""
    known = estimator.get_params(deep=True)
    return {k: v for k, v in known.items() if v is None or isinstance(v, str | int | float | bool | tuple)}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{name}", value


def metrics(study: Study) -> dict[str, float]:
    """Every figure of the evaluation and every coefficient under MLflow's names; what is not known is left out."""
    evaluation = study.evaluation
    found: dict[str, float | None] = {"baseline_rmse": evaluation.baseline_rmse, "r2_within": evaluation.r2_within}
    found |= dict(_scores(evaluation.scores, "")) | dict(_scores(evaluation.repeated, "cv_"))
    for coverage in evaluation.coverage:
        prefix = "" if coverage.basis == "held-out" else "cv_"
        level = f"{100 * coverage.level:g}"
        found |= {f"{prefix}coverage_{level}": coverage.measured, f"{prefix}interval_width_{level}": coverage.width}
    if study.linear is not None:
        found |= {f"coef_{c.name}": c.estimate for c in study.linear.coefficients}
        found |= {"fit_r2": study.linear.r2, "fit_rse": study.linear.rse}
    if study.mix is not None:
        found |= {"fit_r2": study.mix.r2, "fit_rse": study.mix.noise}
        for a in study.mix.answers:
            found |= {f"share_{a.channel}": a.share, f"roi_{a.channel}": a.roi, f"marginal_roi_{a.channel}": a.marginal_roi}
    return {metric_name(k): float(v) for k, v in found.items() if v is not None and math.isfinite(v)}


def _scores(scores: Iterable[Score], prefix: str) -> Iterator[tuple[str, float | None]]:
    for score in scores:
        yield f"{prefix}{score.name}", score.value
        yield f"{prefix}{score.name}_low", score.low
        yield f"{prefix}{score.name}_high", score.high


def metric_name(name: str) -> str:
    """``name`` with what MLflow refuses in a key as ``_``."""
    return _key(name)


def _key(name: str) -> str:
    return re.sub(r"[^\w. -]|^[. ]+|[. ]+$", "_", name)[:250]


# --- tags and notes


def tags(study: Study, seconds: str = "") -> dict[str, str]:
    """Tags of the run, so that the list of runs can be searched and read."""
    return {
        "mlflow.note.content": note(study),
        "adresponse.status": study.gate.status,
        "adresponse.reason": study.gate.sentence[:NOTE_LENGTH],
        "adresponse.model": study.name,
        "adresponse.data_digest": study.table.digest,
        "adresponse.data_source": study.table.source[:NOTE_LENGTH],
        "adresponse.chosen": study.leaderboard.chosen,
        "adresponse.basis": study.evaluation.basis,
    }


def version_tags(study: Study) -> dict[str, str]:
    """Tags of a registered version: the decision, its reasons, the data, the key scores."""
    failed = [r for r in study.gate.rules if not r.passed]
    reason = "; ".join(f"{r.rule}: {r.found}" for r in failed) or study.gate.sentence
    shown = {name: study_score(study.evaluation, name) for name in KEY_SCORES}
    return {
        "adresponse.status": study.gate.status,
        "adresponse.reason": reason[:NOTE_LENGTH],
        "adresponse.data_digest": study.table.digest,
        "adresponse.basis": study.evaluation.basis,
        "adresponse.package": __version__,
        ROWS_TAG: hashlib.sha256(_rows(study)).hexdigest(),
        **{f"adresponse.{name}": f"{value:.6g}" for name, value in shown.items() if value is not None},
    }


def verification_tags(verification: Verification | None) -> dict[str, str]:
    """Tags that say what the deployed model answered; none where it was not asked."""
    if verification is None:
        return {}
    return {
        "adresponse.verified": str(verification.passed).lower(),
        "adresponse.verification": verification.sentence[:NOTE_LENGTH],
    }


def verification_note(verification: Verification) -> str:
    """A verification in Markdown: the sentence, and a line for each check."""
    lines = [f"- {c.mark} {c.name}: expected {c.expected}, found {c.found}" for c in verification.checks]
    return _cut("\n\n".join([verification.sentence, "\n".join(lines)]), NOTE_LENGTH)


def study_score(evaluation: Evaluation, name: str) -> float | None:
    """The value of a score, or None where the evaluation has none of that name."""
    return next((s.value for s in evaluation.scores if s.name == name), None)


def user() -> str:
    """Who runs this, as MLflow shows it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user without a name
        return "unknown"


def note(study: Study) -> str:
    """The study in Markdown: decision, key figures, formula, advice, columns."""
    parts = [
        f"**{study.gate.status}** {study.gate.sentence}",
        study.evaluation.basis_sentence,
        _score_list(study.evaluation.scores),
        f"`{study.linear.formula}`" if study.linear else study.leaderboard.sentence,
        study.recommendation.headline,
        dictionary(study.table.contract),
    ]
    return _cut("\n\n".join(p for p in parts if p), NOTE_LENGTH)


def _score_list(scores: tuple[Score, ...]) -> str:
    """One line a score; MLflow's pages draw Markdown tables without room between their cells."""
    given = [s for s in scores if s.value is not None]
    return "\n".join(f"- {_cell(s.title)}: {_of(words.number(s.value), s.unit)}, 95 % interval {_span(s)}" for s in given)


def _of(figure: str, unit: str) -> str:
    return f"{figure} {_cell(unit)}" if unit else figure


def _span(score: Score) -> str:
    return "" if score.low is None or score.high is None else words.span(score.low, score.high)


def dictionary(contract: Contract) -> str:
    """The columns in Markdown: name, role, meaning, unit, and where the table comes from."""
    lines = []
    for column in contract.columns:
        said = "; ".join(_cell(part) for part in (column.means, column.unit and f"in {column.unit}") if part)
        lines.append(f"- **{_cell(column.name)}** ({column.role})" + (f": {said}" if said else ""))
    columns = "\n".join(lines)
    return _cut(f"{columns}\n\n{contract.origin}" if contract.origin else columns, NOTE_LENGTH)


def _cell(text: str) -> str:
    """Text on one line that starts no markup."""
    return re.sub(r"([|\\`*_<>\[\]])", r"\\\1", text.replace("\n", " "))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def candidate_note(row: LeaderboardRow) -> str:
    """One candidate of the leaderboard in a sentence."""
    chosen = " **Chosen.**" if row.chosen else ""
    return _cut(f"{row.title}: {row.verdict}{chosen}", NOTE_LENGTH)


# --- files


def files(
    study: Study,
    figures: Mapping[str, bytes],
    report_html: str,
    config_text: str,
    verification: Verification | None = None,
    contest: Contest | None = None,
) -> dict[str, str | bytes]:
    """Every artifact of the run: its path and what it holds."""
    linear = study.linear.coefficients if study.linear else ()
    values: dict[str, Any] = {
        "profile": study.profile,
        "evaluation": study.evaluation,
        "leaderboard": study.leaderboard,
        "findings": study.findings,
        "gate": study.gate,
        "recommendation": study.recommendation,
        "contract": study.table.contract.to_dict(),
    }
    if verification is not None:
        values["verification"] = verification
    if contest is not None:
        values["contest"] = contest
    if study.mix is not None:
        values |= {"contributions": study.contributions, "shape": study.shape, "plan": study.plan}
    tables: dict[str, Iterable[Any]] = {
        "coefficients": linear,
        "leaderboard": study.leaderboard.rows,
        "numbers": study.profile.numbers,
        "predictions": study.evaluation.predicted,
    }
    return {
        "report.html": report_html,
        "settings.yaml": config_text,
        ROWS_FILE: _rows(study),
        **{f"{name}.json": to_json(value) for name, value in values.items()},
        **{f"figures/{_file(name)}.svg": image for name, image in figures.items()},
        **{f"tables/{name}.csv": to_csv(rows) for name, rows in tables.items()},
        **({} if study.mix is None else {"tables/contributions.csv": _contributions(study, study.mix)}),
    }


def _rows(study: Study) -> bytes:
    """The rows that the version stands on; what writes them is loaded by whoever has a study alone."""
    from adresponse.growing import to_parquet

    return to_parquet(study.table.frame, study.test)


def _contributions(study: Study, mix: MixFit) -> str:
    """Each row fitted with what was sold, what is fitted, and what base and channels make of it."""
    table = study.table
    where = [name for name in (table.contract.date, table.contract.market) if name is not None]
    rows = table.frame.iloc[study.train]
    parts = mix.contributions.add_prefix("contribution_").assign(base=mix.base, fitted=mix.fitted)
    shown = rows[[*where, table.contract.target]].join(parts)
    return shown.to_csv(index_label="row", date_format="%Y-%m-%d", lineterminator="\n")


def _file(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)[:100]


def to_json(value: Any) -> str:
    """Strict JSON of the frozen values: what is not finite is null, numpy's numbers are numbers."""
    return json.dumps(words.plain(value), indent=1, ensure_ascii=False, allow_nan=False, default=_item)


def _item(value: Any) -> Any:
    return words.plain(value.tolist()) if hasattr(value, "tolist") else str(value)


def to_csv(rows: Iterable[Any]) -> str:
    """The plain fields of dataclasses as CSV; params as ``name=value``, nested values left out."""
    rows = tuple(rows)
    if not rows:
        return ""
    shown = [f.name for f in fields(rows[0]) if not isinstance(getattr(rows[0], f.name), tuple)]
    plain = [n for n in shown if not hasattr(getattr(rows[0], n), "__dataclass_fields__")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(plain)
    writer.writerows([[_csv_cell(getattr(row, n)) for n in plain] for row in rows])
    return text.getvalue()


def _csv_cell(value: Any) -> Any:
    """A number as it is; text that a spreadsheet would run as a formula is quoted (OWASP, CSV injection)."""
    if isinstance(value, dict):
        value = "; ".join(f"{k}={v}" for k, v in value.items())
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value
