"""The product, step by step: read, check, explore, compare, fit, evaluate, decide, report, track, register."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adresponse import __version__, words
from adresponse import settings as config_file
from adresponse.deployment import Progress, silent
from adresponse.errors import ConfigError, DifferenceError, did_you_mean
from adresponse.findings import Finding
from adresponse.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from adresponse.contest import Contest
    from adresponse.folding import Folding
    from adresponse.mixing.fit import MixFit
    from adresponse.mutex import Lease
    from adresponse.planning.horizon import Outlook
    from adresponse.profile import Profile
    from adresponse.registry import Version
    from adresponse.store import LoggedModel, Store
    from adresponse.study import Study
    from adresponse.table import AdTable
    from adresponse.tune import Candidate, Leaderboard
    from adresponse.verification import Verification

__all__ = ["Published", "Run", "Terms", "check", "compare", "doctor", "drawn", "explore", "fit", "publish", "read_table", "run"]
__all__ += ["refuse_unknown_rules", "study_of", "ui", "writable", "write"]

UP_TO_TAG = "adresponse.rows_up_to"  # of a version: the last event of the history whose rows it stands on
SINCE_TAG = "adresponse.rows_since"  # of a version: the last event before its study began anew
HISTORY_TAG = "adresponse.history"  # of a version: the experiment whose events these two count
REPEAT_ONCE_ROWS = 50_000  # beyond this, other folds give the same figures, and each repeat costs seconds, as curves do


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
    challengers = _challengers(settings)
    table, _ = _fit_table(source, settings, silent)
    train, _ = _split(table, settings)
    return table, _compare(table, train, challengers, _folding(table, settings, train))[0]


def fit(source: Any = None, *, config: str | Path | None = None, progress: Progress = silent, **given: Any) -> Study:
    """A whole study without a store: everything up to the gate's decision and the recommendation."""
    settings = config_file.load(config, **given)
    return study_of(*_fit_table(source, settings, progress), settings, progress)


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

    settings = config_file.load(config, **given)
    writable(settings.out)
    uri = store.resolve(config_file.tracking_uri(), Path.cwd())
    table, findings = _fit_table(source, settings, progress)
    with store.prepare(uri, verbose) as preparing:  # a fresh store is made on another core meanwhile
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


def study_of(
    table: AdTable,
    found: tuple[Finding, ...],
    settings: Settings,
    progress: Progress,
    sides: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> Study:
    """Every step that needs no store.

    Parameters
    ----------
    table, found, settings
        What is studied, what checking it found, and how.
    progress : callable
        Called with the name of each step as it begins.
    sides : pair of ndarray of int, optional
        Positions to fit on and to hold out; drawn as the settings say where they are not given.
    """
    progress("Exploring")
    from adresponse.gate import decide
    from adresponse.profile import Answer
    from adresponse.profile import explore as profile_of

    if settings.promotion:
        from adresponse.contest import ContestRules

        ContestRules.build(settings.promotion).refuse_unknown(table.contract)
    profile = profile_of(table)

    progress("Tuning and comparing")
    challengers = _challengers(settings)
    train, test = sides if sides is not None else _split(table, settings)
    if settings.shape is not None:
        _refuse_unknown_markets(table, train, test)
    folding = _folding(table, settings, train)
    mix, asked = _mix(table, train, settings, progress)
    leaderboard, chosen = _compare(table, train, challengers, folding, asked)

    progress("Fitting and evaluating")
    from sklearn.base import clone

    from adresponse.evaluate import evaluate
    from adresponse.intervals import calibrate
    from adresponse.levels import one_level_for_all
    from adresponse.mixing.advice import advise, opposed, untold
    from adresponse.models import linear_fit
    from adresponse.planning.split import best_plan
    from adresponse.planning.wishes import Wish
    from adresponse.recommend import recommend
    from adresponse.study import Study
    from adresponse.synergy import together

    X, y = (table.X if mix is None else _inputs(table)), table.y
    estimator = clone(chosen).fit(X.iloc[train], y.iloc[train]) if mix is None else mix.model
    spread = calibrate(chosen, X.iloc[train], y.iloc[train], folding)
    linear = linear_fit(estimator, X.iloc[train], y.iloc[train], table.contract)
    size = None if mix is None else mix.model.size(X)
    evaluation = evaluate(
        estimator,
        spread,
        X,
        y,
        train=train,
        test=test,
        contract=table.contract,
        folding=folding,
        thrifty=mix is not None,
        kind="curves" if mix is not None else "line" if linear is not None else "other",
        markets=_markets(table),
        dates=None if table.contract.date is None else table.frame[table.contract.date].to_numpy(),
        size=size,
    )
    if mix is not None:
        mix.model.remember(X)
    decision = decide(evaluation, settings.gate)
    markets = None if table.contract.market is None else table.frame[table.contract.market].to_numpy(dtype=str)[train]
    pairs = together(table.contract, X.iloc[train], y.iloc[train], markets, None if size is None else size[train])
    told: list[Finding] = [*found, *evaluation.findings, *pairs]
    plan = None
    if mix is None:
        if linear is not None and markets is not None:
            told += one_level_for_all(table.contract, X.iloc[train], y.iloc[train], markets, linear)
        recommendation = recommend(table, linear, evaluation, decision, leaderboard, told)
    else:
        outlook = _outlook(table, mix)
        plan = best_plan(outlook, Wish())
        recommendation = advise(table, mix, plan, outlook, evaluation, decision, leaderboard)
        told += [*untold(table, mix), *opposed(X.iloc[train], y.iloc[train], mix)]
    answer = Answer("What is recommended?", recommendation.headline)
    return Study(
        name=settings.model_name(table.contract.target),
        table=table,
        train=train,
        test=test,
        profile=replace(profile, answers=(*profile.answers, answer)),
        leaderboard=leaderboard,
        estimator=estimator,
        linear=linear,
        spread=spread,
        evaluation=evaluation,
        gate=decision,
        recommendation=recommendation,
        findings=tuple(sorted(told, key=lambda f: ["stop", "review", "note"].index(f.severity))),
        settings=settings.plain(),
        mix=mix,
        plan=plan,
    )


def _outlook(table: AdTable, mix: MixFit) -> Outlook:
    """What is known of the next periods, or of the next row."""
    from adresponse.mixing.fit import curves_of, drawn_curves
    from adresponse.planning.prospect import prospect_of

    return prospect_of(table.contract, table.frame, curves_of(mix.model), draws=drawn_curves(mix)).outlook()


def _mix(
    table: AdTable, train: NDArray[np.int64], settings: Settings, progress: Progress
) -> tuple[MixFit | None, Candidate | None]:
    """The mix of response curves that was asked for, fitted, and as a candidate; nothing where none was asked for."""
    if settings.shape is None:
        given: dict[str, Any] = {"carry_over": settings.carry_over, "season": settings.season, "lifts": settings.lifts or None}
        given |= {"sizes": None if settings.sizes == "auto" else settings.sizes}
        if named := next((name for name, value in given.items() if value is not None), None):
            raise ConfigError(f"{named}={given[named]!r} belongs to response curves; add --shape, such as --shape auto.")
        return None, None
    from adresponse.mixing.fit import MixSpec, fit_mix
    from adresponse.tune import Candidate

    progress("Fitting response curves")
    contract = table.contract
    if unknown := next((name for name in settings.lifts if name not in contract.channels), None):
        raise ConfigError(
            f"The lift of {unknown!r} is of no channel.{did_you_mean(unknown, contract.channels)} "
            f"There are: {', '.join(contract.channels)}."
        )
    spec = MixSpec(
        contract.channels,
        contract.controls,
        contract.date,
        contract.market,
        shape=settings.shape,
        carry_over=settings.carry_over,
        trend=settings.trend,
        season=settings.season,
        weekdays=settings.weekdays,
        known=settings.lifts,
        sizes=settings.sizes,
        folds=settings.folds,
        seed=settings.seed,
    )
    found = fit_mix(_inputs(table).iloc[train], table.y.iloc[train], spec)
    carried = found.model.problem_.kind
    title = f"{found.spec.shape} curves" + ("" if carried == "none" else f" with {carried} carry-over")
    return found, Candidate("curves", title, found.spec.regressor(found.model.shape, starts=1))


def _inputs(table: AdTable) -> pd.DataFrame:
    """All rows with the columns that a mix of curves and its baseline read."""
    contract = table.contract
    return table.frame[[*contract.features, *(n for n in (contract.date, contract.market) if n is not None)]]


def _challengers(settings: Settings) -> tuple[Candidate, ...]:
    if not settings.challengers:
        return ()
    from adresponse.models import load_estimator
    from adresponse.tune import OWN_NAMES, Candidate

    paths = tuple(dict.fromkeys(settings.challengers))
    short = [path.rpartition(".")[2] for path in paths]
    names = [path if short.count(name) > 1 or name in OWN_NAMES else name for path, name in zip(paths, short, strict=True)]
    return tuple(Candidate(name, path, load_estimator(path, settings.seed)) for path, name in zip(paths, names, strict=True))


def _compare(
    table: AdTable,
    train: NDArray[np.int64],
    challengers: tuple[Candidate, ...],
    folding: Folding,
    asked: Candidate | None = None,
) -> tuple[Leaderboard, Any]:
    from adresponse.tune import compare as leaderboard_of

    features = table.contract.features
    return leaderboard_of(
        _inputs(table).iloc[train],
        table.y.iloc[train],
        challengers=challengers,
        folding=folding,
        asked=asked,
        features=features,
        market=table.contract.market,
    )


def _folding(table: AdTable, settings: Settings, train: NDArray[np.int64]) -> Folding:
    from adresponse.folding import Folding

    once = len(train) > REPEAT_ONCE_ROWS or settings.shape is not None
    repeats = 1 if once else settings.repeats
    markets = None if settings.shape is None else _markets(table)
    return Folding(settings.folds, repeats, settings.seed, _periods(table), markets).at(train)


def _markets(table: AdTable) -> NDArray[Any] | None:
    """The market of each row; None where there is none."""
    name = table.contract.market
    return None if name is None else table.frame[name].to_numpy().astype(str)


def _refuse_unknown_markets(table: AdTable, train: NDArray[np.int64], test: NDArray[np.int64]) -> None:
    """Refuse a market of which no row is fitted; it would have no level of its own."""
    import numpy as np

    markets = _markets(table)
    if markets is None:
        return
    unknown = np.setdiff1d(markets[test], markets[train])
    if len(unknown):
        raise ConfigError(
            f"Market {str(unknown[0])!r} has rows among the {len(test)} held out, and none among the {len(train)} fitted, so "
            "nothing is known of its level; hold out less, or leave it out."
        )


def _periods(table: AdTable) -> NDArray[np.int64] | None:
    """The period of each row, counted upwards; None where there is no date."""
    import numpy as np

    if table.contract.date is None:
        return None
    return np.unique(table.frame[table.contract.date].to_numpy(), return_inverse=True)[1]


def _split(table: AdTable, settings: Settings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions to fit on and to hold out: at random, or the last in time, where a period stays in one piece."""
    import numpy as np

    from adresponse.checks import refuse_unfit_rows

    rows = np.arange(len(table.frame))
    if settings.test_size == 0:
        train, test = rows, rows[:0]
    elif table.contract.date is None:
        from sklearn.model_selection import train_test_split

        train, test = train_test_split(rows, test_size=settings.test_size, random_state=settings.seed)
    else:
        from adresponse.folding import first_of_last

        cut = first_of_last(table.frame[table.contract.date].to_numpy(), settings.test_size)
        train, test = rows[:cut], rows[cut:]
    periods = _periods(table)
    kept, what = (len(train), "rows") if periods is None else (len(np.unique(periods[train])), "periods")
    if kept < 2 * settings.folds:
        raise ConfigError(
            f"test_size={settings.test_size:g} and folds={settings.folds} leave {kept} {what} to fit on, fewer than two "
            "for each fold; hold out less, set fewer folds in the config, or add rows."
        )
    refuse_unfit_rows(table, train)
    return train, test


@dataclass(frozen=True)
class Published:
    """A study on record: its run, its version, where its report lies, and what the deployed model answered.

    ``champion`` says whether the version became it.
    """

    study: Study
    run_id: str
    experiment_id: str
    version: Version
    champion: bool
    report: Path
    verification: Verification | None


@dataclass(frozen=True)
class Terms:
    """On which terms a new version becomes champion.

    Parameters
    ----------
    why : str
        The reason, for the history; that of the gate where it is empty.
    digests : dict of str to str
        What else the decision rests on, for the history.
    expected : str
        The version that has to be champion still; empty for any.
    verify : callable, optional
        Tries the version before and after; without it, its files are held against the manifest.
    """

    why: str = ""
    digests: dict[str, str] = field(default_factory=dict)
    expected: str = ""
    verify: Callable[[str], None] | None = None


def drawn(study: Study) -> dict[str, bytes]:
    """The study's figures, by name."""
    from adresponse import report

    return report.figures(study)


def publish(
    study: Study,
    figures: dict[str, bytes],
    settings: Settings,
    opened: Store,
    lock: AbstractContextManager[Lease],
    progress: Progress,
    *,
    run_id: str | None = None,
    contest: Contest | None = None,
    files: Mapping[str, bytes] | None = None,
    tags: Mapping[str, str] | None = None,
    terms: Terms | None = None,
) -> Published:
    """Track, write and register a finished study, in this order, and promote it: a version exists only if all else does.

    Parameters
    ----------
    study, figures, settings
        What is put on record.
    opened : Store
        Where.
    lock : context manager of Lease
        The model's lock, taken once all but the version is made.
    progress : callable
        Called with the name of each step as it begins.
    run_id : str, optional
        A run of MLflow that is under way already, and is taken.
    contest : Contest, optional
        What the study's model was held against; decides, beside the gate, whether it becomes champion.
    files : mapping, optional
        Further files of the run.
    tags : mapping, optional
        Further tags of run and version.
    terms : Terms, optional
        On which terms it becomes champion.
    """
    from adresponse import report, track

    progress("Tracking the run")
    title = f"{'run' if contest is None else 'retrain'} {Path(study.table.source).name}"
    with track.start(opened, study.name, title, run_id) as tracked:
        with tracked.saving(study) as saved:
            progress("Deploying and verifying")
            verification = _verified(study, saved, opened, tracked) if settings.verify else None
            page = report.page(study, figures, _tracked(study, tracked, opened), verification, contest)
            progress("Logging it all")
            for name, content in (files or {}).items():
                track.add_file(opened, tracked.run_id, name, content)
            model = tracked.log(study, saved, figures, page, _yaml(study.settings), verification, contest, tags)
        written = write(settings.out / f"{study.name}-report.html", page)
        progress("Registering the version")
        with lock as lease:
            _refuse_other_lock(lease, study)
            promotes = study.gate.status == "VALIDATED" and (contest is None or contest.promotes)
            version = _registered(lease, study, model, tracked.run_id, verification, tags or {})
            if promotes:
                _promoted(lease, study, version, model, tracked.run_id, terms or Terms())
    return Published(study, tracked.run_id, tracked.experiment_id, version, promotes, written, verification)


def _refuse_other_lock(lease: Lease, study: Study) -> None:
    """Refuse to register under one name and promote under another: version numbers are the same, the models are not."""
    if lease.name != study.name:
        raise ConfigError(
            f"The lock is held on {lease.name!r}, and the study is called {study.name!r}; hold the lock of the model that it "
            "is registered as."
        )


def _registered(
    lease: Lease,
    study: Study,
    model: LoggedModel,
    run_id: str,
    verification: Verification | None,
    tags: Mapping[str, str],
) -> Version:
    """The version, with the last event of the history that it knows of."""
    from adresponse import journal, promotion, registry, track

    promotion.settle(lease)
    events = journal.read(lease.store, study.name)
    last = str(events[-1].sequence if events else 0)
    known = {UP_TO_TAG: last, SINCE_TAG: last, HISTORY_TAG: track.experiment_of(lease.store, study.name)}
    return registry.register(lease.store, study, model, run_id, verification, tags={**known, **tags})


def _promoted(lease: Lease, study: Study, version: Version, model: LoggedModel, run_id: str, terms: Terms) -> None:
    """Make the version champion; where that fails, it is taken back."""
    from adresponse import deployment, promotion, registry

    try:
        promotion.promote(
            lease,
            version.version,
            verify=terms.verify or deployment.loading(lease.store),
            why=terms.why or study.gate.sentence,
            expected=terms.expected or promotion.ANY,
            digests={"data": study.table.digest, **terms.digests},
        )
    except BaseException:
        registry.take_back(lease.store, version, model, run_id)
        raise


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


def _verified(study: Study, saved: Any, opened: Any, tracked: Any) -> Verification:
    """What the model answers behind a local endpoint; one that differs from the evaluation ends the run."""
    from adresponse import deployment
    from adresponse.stored import open_stored

    stored = open_stored(saved.folder, saved.digest)
    found = deployment.try_out(stored, study.name, opened, tracked.experiment_id, tracked.run_id)
    if not found.passed:
        raise DifferenceError(found.sentence)
    return found


def _tracked(study: Study, tracked: Any, opened: Any) -> Any:
    from datetime import UTC, datetime

    from adresponse.report import Tracked

    uri = f"models:/{study.name}@champion"
    return Tracked(
        run_id=tracked.run_id,
        experiment_id=tracked.experiment_id,
        experiment_name=study.name,
        model_name=study.name,
        store=opened.shown,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        commands=(
            ("See every run, figure and version", opened.shown if opened.uri.startswith("http") else "adresponse ui"),
            ("Serve the champion", f"adresponse serve '{uri}'"),
            ("Score a table", f"adresponse predict spend.csv -o scored.csv --model '{uri}'"),
            ("Verify it again", f"adresponse verify '{uri}'"),
            ("Load it in Python", f"mlflow.pyfunc.load_model({uri!r})"),
        ),
    )


def _yaml(settings: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def writable(folder: Path) -> None:
    """Refuse an output folder that cannot be written, before any work is done."""
    nearest = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not nearest.is_dir():
        raise ConfigError(f"out={str(folder)!r}: {str(nearest)!r} is a file, not a folder; name another with --out.")
    if not os.access(nearest, os.W_OK):
        raise ConfigError(f"out={str(folder)!r} cannot be written; name another folder with --out.")


def write(path: Path, text: str) -> Path:
    """Write a page so that nobody ever sees half of it; its folder is made."""
    from adresponse.engines.places import part_beside

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be written: {error.strerror}; name another folder with --out.") from None
    with part_beside(path) as part:
        part.write_text(text, encoding="utf-8")
    return path.absolute()


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
