"""The product, door by door: a table checked, explored, compared, fitted, or taken all the way to a registered version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adresponse import __version__, words
from adresponse import settings as config_file
from adresponse.deployment import Progress, silent
from adresponse.errors import ConfigError
from adresponse.findings import Finding
from adresponse.settings import Settings

if TYPE_CHECKING:
    from adresponse.profile import Profile
    from adresponse.publishing import Published
    from adresponse.store import Store
    from adresponse.study import Study
    from adresponse.table import AdTable
    from adresponse.tune import Leaderboard
    from adresponse.verification import Verification

__all__ = ["Run", "check", "compare", "doctor", "drawn", "explore", "fit", "read_table", "refuse_unknown_rules", "run", "ui"]


@dataclass(frozen=True)
class Run:
    """What a run made and found; ``to_dict`` is what ``adresponse run --json`` prints.

    ``metrics`` holds mae, rmse, mape and r2 of the rows that ``metrics_basis`` names; ``coefficients`` are in the
    table's units, the intercept first, and empty where the chosen model is not linear. ``contributions`` says what each
    channel brought over the rows fitted (90 % intervals), and ``shape`` which curve and carry-over it is; both are empty
    where the model is neither a line nor curves.
    """

    run_id: str
    experiment_id: str
    model_name: str
    model_uri: str
    version: str
    status: str
    metrics: dict[str, float | None]
    metrics_basis: str
    coefficients: tuple[dict[str, Any], ...]
    contributions: dict[str, dict[str, float]]
    shape: dict[str, Any]
    report: str
    findings: tuple[Finding, ...]
    champion: bool
    store: str
    study: Study
    verification: Verification | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON: a figure that is not finite is None."""
        return {k: words.plain(v) for k, v in vars(self).items() if k != "study"}


def read_table(source: Any = None, *, config: str | Path | None = None, **given: Any) -> AdTable:
    """The table that ``run`` would fit; without a source, the built-in TV marketing table."""
    return _read(source, config_file.load(config, **given))


def _read(source: Any, settings: Settings) -> AdTable:
    from adresponse.table import read, read_builtin

    asked: dict[str, Any] = {
        "target": settings.target,
        "channels": settings.channels,
        "controls": settings.controls,
        "date": settings.date,
        "market": settings.market,
        "missing": settings.missing,
        "max_rows": settings.max_rows,
        "seed": settings.seed,
    }
    if settings.columns:
        asked["dictionary"] = settings.dictionary()
    if settings.origin:
        asked["origin"] = settings.origin
    source_only = {n: getattr(settings, n) for n in ("decimal", "query", "sql_table", "sheet")}
    if source is None:
        if given := [n for n, value in source_only.items() if value is not None]:
            raise ConfigError(f"{given[0]}={source_only[given[0]]!r} belongs to a table of yours; name the table too.")
        return read_builtin(**{k: v for k, v in asked.items() if v is not None})
    return read(source, **asked, **source_only)


def check(source: Any = None, *, config: str | Path | None = None, **given: Any) -> tuple[AdTable, tuple[Finding, ...]]:
    """The table and all that is to be said about it; unlike ``run``, does not raise on what makes a fit wrong."""
    from adresponse.checks import check as findings_of

    settings = config_file.load(config, **given)
    refuse_unknown_rules(settings)
    table = _read(source, settings)
    return table, findings_of(table)


def explore(source: Any = None, *, config: str | Path | None = None, **given: Any) -> tuple[AdTable, Profile]:
    """The table and its profile."""
    from adresponse.profile import explore as profile_of

    table = read_table(source, config=config, **given)
    return table, profile_of(table)


def compare(source: Any = None, *, config: str | Path | None = None, **given: Any) -> tuple[AdTable, Leaderboard]:
    """The table and the leaderboard of all candidates over its training rows; nothing is tracked."""
    settings = config_file.load(config, **given)
    from adresponse.studying import challengers_of, leaderboard_of

    challengers = challengers_of(settings)  # an unknown one is refused before a large table is read
    table, _ = _fit_table(source, settings, silent)
    return table, leaderboard_of(table, settings, challengers)


def fit(source: Any = None, *, config: str | Path | None = None, progress: Progress = silent, **given: Any) -> Study:
    """A whole study without a store: everything up to the gate's decision and the recommendation."""
    settings = config_file.load(config, **given)
    table, findings = _fit_table(source, settings, progress)
    from adresponse.studying import study_of

    return study_of(table, findings, settings, progress)


def run(
    source: Any = None,
    *,
    config: str | Path | None = None,
    progress: Progress = silent,
    verbose: bool = False,
    **given: Any,
) -> Run:
    """Take a table through all steps up to a registered version; a validated one becomes ``champion``.

    Parameters
    ----------
    source : path, URL, DataFrame or None
        CSV, Parquet or Excel file, SQLAlchemy URL, pandas or polars frame; None for the built-in TV marketing table.
    config : path, optional
        YAML file with settings; ``given`` wins over it.
    progress : callable, optional
        Called with the name of each step as it begins.
    verbose : bool
        Let MLflow speak for itself.
    **given
        Any field of ``Settings``: target, channels, date, name, out, test_size, ...

    Raises
    ------
    AdresponseError
        A refusal in one sentence; nothing was written then, or the run is marked FAILED and has no version.
    """
    from adresponse import mutex, store
    from adresponse.engines.places import refuse_unwritable

    settings = config_file.load(config, **given)
    refuse_unwritable(settings.out)
    uri = store.resolve(config_file.tracking_uri(), Path.cwd())
    table, findings = _fit_table(source, settings, progress)
    with store.prepare(uri, verbose) as preparing:  # a fresh store is made on another core meanwhile
        from adresponse.publishing import publish
        from adresponse.studying import study_of

        study = study_of(table, findings, settings, progress)
        progress("Drawing the figures")
        figures = drawn(study)
        progress("Opening the store")
        opened = preparing.open()
        lock = mutex.held(opened, study.name, waiting=progress, command="adresponse run")
        made = publish(study, figures, settings, opened, lock, progress, run_id=config_file.project_run())
    return _told(made, opened)


def _fit_table(source: Any, settings: Settings, progress: Progress) -> tuple[AdTable, tuple[Finding, ...]]:
    """The table and its findings, or a refusal where a fit on it would be wrong."""
    from adresponse.checks import check as findings_of
    from adresponse.checks import refuse_unfit

    refuse_unknown_rules(settings)
    progress("Reading the table")
    table = _read(source, settings)
    progress("Checking it")
    findings = findings_of(table)
    refuse_unfit(findings)
    return table, findings


def refuse_unknown_rules(settings: Settings) -> None:
    """Refuse rules that cannot be read before anything else is: a version keeps them, and is held to them later."""
    from adresponse.gate import validate_rules

    validate_rules(settings.gate)
    if settings.watch:
        from adresponse.watching.verdict import WatchRules

        WatchRules.build(settings.watch)
    if settings.promotion:
        from adresponse.contest import ContestRules

        ContestRules.build(settings.promotion)


def drawn(study: Study) -> dict[str, bytes]:
    """The study's figures, by name."""
    from adresponse import report

    return report.figures(study)


def _told(made: Published, opened: Store) -> Run:
    study, version = made.study, made.version
    scores = {name: study.evaluation.score(name) for name in ("mae", "rmse", "mape", "r2")}
    shown = ("name", "estimate", "se", "t", "p", "low", "high")
    return Run(
        run_id=made.run_id,
        experiment_id=made.experiment_id,
        model_name=version.name,
        model_uri=version.uri,
        version=version.version,
        status=version.status,
        metrics=scores,
        metrics_basis=study.evaluation.basis,
        coefficients=tuple({n: getattr(c, n) for n in shown} for c in study.linear.coefficients) if study.linear else (),
        contributions=study.contributions,
        shape=study.shape,
        report=str(made.report),
        findings=study.findings,
        champion=made.champion,
        store=opened.shown,
        study=study,
        verification=made.verification,
    )


def ui(host: str = "127.0.0.1", port: int = 5000) -> int:
    """Run the MLflow UI on the store in use until it is stopped; the exit code is MLflow's."""
    from adresponse import store

    return store.serve_ui(store.resolve(config_file.tracking_uri(), Path.cwd()), host, port)


def doctor() -> dict[str, Any]:
    """Versions, the store in use, and which optional parts are there."""
    import platform
    import shutil
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    from adresponse import store

    def of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "missing"

    uri = store.resolve(config_file.tracking_uri(), Path.cwd())
    packages = (
        "mlflow", "scikit-learn", "skops", "numpy", "pandas", "scipy", "matplotlib", "pyarrow", "duckdb", "msgspec", "uvicorn",
    )  # fmt: skip
    looked = store.look(uri)
    return {
        "python": platform.python_version(),
        "packages": {"adresponse": __version__, **{p: of(p) for p in packages}},
        "store": looked,
        "registry": _lost(uri) if looked["state"] == "there" else (),
        "optional": {
            "polars frames": find_spec("polars") is not None,
            "MLflow Projects with uv": shutil.which("uv") is not None,
            "containers (docker or podman)": any(map(shutil.which, ("docker", "podman"))),
            "Spark (pyspark and Java)": find_spec("pyspark") is not None and shutil.which("java") is not None,
            "SageMaker (boto3)": find_spec("boto3") is not None,
            "Azure ML (azure-ai-ml)": of("azure-ai-ml") != "missing",
        },
    }


def _lost(uri: str) -> tuple[Finding, ...]:
    """What is not as it should be in the registry; that it cannot be opened is one of these."""
    from adresponse import promotion, store
    from adresponse.errors import StoreError

    try:
        return promotion.lost(store.prepare(uri).open())
    except StoreError as error:
        return (Finding("R000", "stop", str(error), "Mend the store first."),)
