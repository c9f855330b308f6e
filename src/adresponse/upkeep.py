"""A registered model while data comes in: watched, fitted anew, promoted, rolled back."""

from __future__ import annotations

import contextlib
import hashlib
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adresponse import deployment, lifecycle, words
from adresponse import settings as config_file
from adresponse.errors import ConfigError, StoreError, TableError
from adresponse.settings import Settings
from adresponse.standing import (
    CHALLENGED_TAG,
    FILE_TAG,
    NEW_ROWS,
    WAITING,
    WAITING_TAG,
    Arrival,
    Standing,
    arrive,
    arrived_before,
    asked_of,
    standing_of,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from adresponse.contest import Contest
    from adresponse.curves import Response
    from adresponse.growing import Grown
    from adresponse.journal import Event
    from adresponse.lifecycle import Published
    from adresponse.mutex import Lease
    from adresponse.promotion import Promoted
    from adresponse.registry import Located
    from adresponse.schema import Contract
    from adresponse.store import Store
    from adresponse.study import Study
    from adresponse.table import AdTable
    from adresponse.watching.verdict import Watch

__all__ = [
    "Compared",
    "Refreshed",
    "Watched",
    "compare_versions",
    "delete_version",
    "history",
    "promote",
    "refresh",
    "retrain",
    "rollback",
    "watch",
]

Progress = Callable[[str], None]
EXIT = {"keep": 0, "retrain": 10, "stop": 20}
SAMPLE_TAG = "adresponse.sample"  # of a watch: keys of some of its rows with known sales
STREAM_TAG = "adresponse.stream"  # SHA-256 of the files that a watch looked at together


def _silent(step: str) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Watched:
    """What a watch found of which version, where it is kept, and whether it was there before.

    ``exit_code`` is 0 to keep the champion, 10 to fit anew, 20 where the data is not fit to be scored.
    """

    verdict: Literal["keep", "retrain", "stop"]
    sentence: str
    name: str
    version: str
    model_uri: str
    source: str
    digest: str
    run_id: str
    report: str
    repeated: bool
    watch: Watch

    @property
    def exit_code(self) -> int:
        """What ``adresponse watch`` ends with."""
        return EXIT[self.verdict]


@dataclass(frozen=True)
class Refreshed:
    """What a refresh or a retraining did.

    Parameters
    ----------
    action : {"nothing", "kept", "stopped", "retrained"}
        Nothing where the file was taken in before.
    sentence : str
        All of it in words.
    name, champion : str
        The model, and the version that is champion now.
    version : str
        The challenger's version; empty where none was made.
    promoted : bool
        Whether it became champion.
    watched : Watched or None
        What the watch found, where one was made.
    contest : Contest or None
        How the challenger did against the champion.
    rows : dict of str to int
        ``added``, ``repeated``, ``revised``, ``fitted``, ``held_out`` and ``waiting`` rows of the challenger; those wait of
        which the whole market would be held out.
    report : str
        Where the challenger's report lies.
    event : Event or None
        The last entry in the history.
    """

    action: Literal["nothing", "kept", "stopped", "retrained"]
    sentence: str
    name: str
    champion: str
    version: str = ""
    promoted: bool = False
    watched: Watched | None = None
    contest: Contest | None = None
    rows: dict[str, int] | None = None
    report: str = ""
    event: Event | None = None

    @property
    def exit_code(self) -> int:
        """0 where the champion stands well, 10 where a new one was needed and none was promoted, 20 where data is unfit."""
        if self.action == "stopped":
            return EXIT["stop"]
        return EXIT["retrain"] if self.action == "retrained" and not self.promoted else EXIT["keep"]


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


# --- watch


def watch(
    source: Any,
    *,
    model: str | None = None,
    config: str | Path | None = None,
    out: str | Path | None = None,
    progress: Progress = _silent,
    **reading: Any,
) -> Watched:
    """Hold new rows against a version and the rows that it stands on: keep it, fit it again, or stop.

    Each watch is a run of MLflow, nested in the version's. The same file twice is watched once.

    Parameters
    ----------
    source : path, URL or DataFrame
        The new rows; sales may be missing.
    model : str, optional
        ``models:/NAME@champion`` or ``models:/NAME/VERSION``; without it, the champion of the only registered model.
    config : path, optional
        YAML file with settings; its ``watch`` says what is tested how strictly.
    out : path, optional
        Folder of the page.
    progress : callable
        Called with the name of each step as it begins.
    **reading
        How the source is read: ``decimal``, ``sheet``, ``query``, ``sql_table``; wins over the config.
    """
    progress("Opening the model")
    store = deployment.open_store()
    with standing_of(store, model) as standing:
        settings = asked_of(standing.settings, config, {"out": out})
        lifecycle.refuse_unknown_rules(settings)
        lifecycle.writable(settings.out)
        progress("Reading the new rows")
        return _watched(standing, arrive(source, standing.contract, settings, reading), settings, progress)


def _watched(standing: Standing, arrival: Arrival, settings: Settings, progress: Progress) -> Watched:
    from adresponse import report
    from adresponse.growing import together
    from adresponse.watching.verdict import Champion, WatchRules
    from adresponse.watching.verdict import watch as held_against

    rules = WatchRules.build(settings.watch)
    events = standing.pending(arrival.digest)
    pending = arrived_before(standing, events)
    stream = _stream_of(standing, events, arrival)
    earlier = _watches(standing)
    before = next((run for run in earlier if run.data.tags.get(STREAM_TAG) == stream), None)
    progress("Comparing")
    champion = Champion(
        standing.contract,
        standing.kept.frame,
        standing.predict,
        standing.formula.spread,
        standing.errors(),
        f"version {standing.version} of {standing.name}",
        standing.formula.reads,
    )
    found, keys = held_against(champion, arrival.raw, rules), list[bytes]()
    if found.verdict != "stop":
        whole = together([t.frame for t in pending], arrival.raw, standing.contract)
        keys = _keys_of(whole, standing.contract)
        looks = _looks(earlier if before is None else earlier[: earlier.index(before)], keys)
        found = held_against(champion, whole, rules, looks)
    page = report.watch_page(found, _told(arrival, standing))
    path = lifecycle.write(settings.out / f"{standing.name}-watch.html", page)
    if before is None:
        progress("Tracking the watch")
    return Watched(
        verdict=found.verdict,
        sentence=found.sentence,
        name=standing.name,
        version=standing.version,
        model_uri=standing.model.uri,
        source=arrival.source,
        digest=arrival.digest,
        run_id=before.info.run_id
        if before is not None
        else _track(standing, arrival, found, page, stream, keys, len(earlier) + 1),
        report=str(path),
        repeated=before is not None,
        watch=found,
    )


def _told(arrival: Arrival, standing: Standing) -> Any:
    """Where the rows came from and what can be done next, for the page."""
    from datetime import UTC, datetime

    from adresponse.report import Watched as Told

    uri = f"models:/{standing.name}@champion"
    return Told(
        source=arrival.source,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        commands=(
            ("Fit again and promote if it is needed", f"adresponse refresh {shlex.quote(arrival.source)} --model '{uri}'"),
            ("See what happened to the model", f"adresponse history --model '{uri}'"),
            ("See each watch in MLflow", standing.store.shown if standing.store.uri.startswith("http") else "adresponse ui"),
        ),
    )


def _stream_of(standing: Standing, events: list[Event], arrival: Arrival) -> str:
    """What tells a look from another: the version, the files that came since it was made, and this one."""
    files = [standing.version, *(e.digests.get("file", "") for e in events), arrival.digest]
    return hashlib.sha256("\n".join(files).encode()).hexdigest()


def _track(standing: Standing, arrival: Arrival, found: Watch, page: str, stream: str, keys: list[bytes], number: int) -> str:
    """The watch as a run, and its figures as one more point of the version's lines."""
    from adresponse import track
    from adresponse.growing import sample_of

    metrics = _metrics(found)
    files: dict[str, str | bytes] = {"watch.html": page, "watch.json": _json(found), **_new_rows(arrival)}
    tags = {
        "adresponse.kind": "watch",
        "adresponse.model": standing.name,
        "adresponse.watched_version": standing.version,
        "adresponse.verdict": found.verdict,
        "adresponse.rows_with_sales": str(found.sizes.with_sales),
        FILE_TAG: arrival.digest,
        STREAM_TAG: stream,
        SAMPLE_TAG: " ".join(sample_of(keys)),
        "mlflow.note.content": f"**{found.verdict}** {found.sentence}",
    }
    title = f"watch {number} of version {standing.version}: {found.verdict}"
    run_id = track.log_child(standing.store, standing.run_id, title, tags, metrics, files)
    track.log_step(standing.store, standing.run_id, {f"watch_{k}": v for k, v in metrics.items()}, number)
    return run_id


def _new_rows(arrival: Arrival) -> dict[str, bytes]:
    """The rows that arrived, as a file for a run."""
    return {} if arrival.table is None else _file_of(NEW_ROWS, arrival.table.frame)


def _file_of(name: str, rows: pd.DataFrame) -> dict[str, bytes]:
    import numpy as np

    from adresponse.growing import to_parquet

    return {name: to_parquet(rows, np.zeros(0, dtype=int))} if len(rows) else {}


def _keys_of(whole: pd.DataFrame, contract: Contract) -> list[bytes]:
    """What tells the rows with known sales apart."""
    from adresponse.growing import row_keys, scored_rows

    return row_keys(scored_rows(whole, contract), [c.name for c in contract.columns])


def _looks(watches: list[Any], keys: list[bytes]) -> list[int]:
    """Rows with known sales at each of these watches that saw a part of the rows looked at now, though some were revised."""
    now = {key[:8].hex() for key in keys}
    found = set()
    for run in watches:
        sample = run.data.tags.get(SAMPLE_TAG, "").split()
        if sample and 2 * len(now.intersection(sample)) >= len(sample):
            found.add(int(run.data.tags["adresponse.rows_with_sales"]))
    return sorted(found)


def _watches(standing: Standing) -> list[Any]:
    """The watches of this version so far, the earliest first."""
    experiment = standing.store.call("get_run", standing.run_id).info.experiment_id
    asked = f"tags.`adresponse.kind` = 'watch' and tags.`mlflow.parentRunId` = '{standing.run_id}'"
    found: list[Any] = []
    token = None
    while True:
        page = standing.store.call(
            "search_runs", [experiment], asked, max_results=1000, order_by=["attributes.start_time ASC"], page_token=token
        )
        found += page
        if not (token := page.token):
            return [run for run in found if run.info.status == "FINISHED"]


def _metrics(found: Watch) -> dict[str, float]:
    """What of a watch is drawn over time."""
    values: dict[str, float | None] = {"rows": found.sizes.new}
    for column in found.columns:
        values |= {
            f"ks_{column.name}": column.ks,
            f"psi_{column.name}": column.psi,
            f"wasserstein_{column.name}": column.wasserstein,
        }
    if found.errors is not None:
        values |= {"mae": found.errors.mae_now, "mae_ratio": found.errors.ratio, "bias": found.errors.bias}
        values |= {"coverage_90": found.errors.coverage.measured if found.errors.coverage else None}
    if found.relation is not None:
        values |= {f"slope_{s.name}": s.now for s in found.relation.slopes} | {"chow_p": found.relation.chow_p}
    return {name: float(value) for name, value in values.items() if value is not None}


def _json(value: Any) -> str:
    from adresponse import record

    return record.to_json(value)


# --- retrain and refresh


def retrain(
    source: Any,
    *,
    model: str | None = None,
    config: str | Path | None = None,
    out: str | Path | None = None,
    window: int | None = None,
    mode: Literal["off", "dry-run", "enforce"] | None = None,
    patience: float = 600.0,
    progress: Progress = _silent,
    **reading: Any,
) -> Refreshed:
    """Fit a challenger on old and new rows with the champion's recipe, and promote it if it passes the gate.

    Parameters
    ----------
    source : path, URL or DataFrame
        The new rows, with sales; watched as by ``watch``. Rows that the champion stands on already are taken once.
    model : str, optional
        ``models:/NAME@champion``; without it, the champion of the only registered model.
    config, out, progress, reading
        As ``watch`` takes them; the config's ``promotion`` holds the rules of the gate.
    window : int, optional
        Fit on this many of the last periods only, or of the last rows where there are no dates.
    mode : {"off", "dry-run", "enforce"}, optional
        Whether the gate between champion and challenger is not asked, asked and not obeyed, or obeyed.
    patience : float
        Seconds to wait for another process that changes the same model.
    """
    asked = _Asked(source, model, config, out, window, mode, patience, reading)
    return _refreshed(asked, "adresponse retrain", progress, always=True)


def refresh(
    source: Any,
    *,
    model: str | None = None,
    config: str | Path | None = None,
    out: str | Path | None = None,
    window: int | None = None,
    mode: Literal["off", "dry-run", "enforce"] | None = None,
    patience: float = 600.0,
    progress: Progress = _silent,
    **reading: Any,
) -> Refreshed:
    """Watch new rows, and if the verdict says so, fit a challenger and promote it; one call for a scheduler.

    Rows of a file after which the champion is kept are remembered, and taken in by the next challenger. The same file
    twice changes nothing. Parameters are those of ``retrain``; sales may be missing.
    """
    asked = _Asked(source, model, config, out, window, mode, patience, reading)
    return _refreshed(asked, "adresponse refresh", progress, always=False)


@dataclass(frozen=True)
class _Asked:
    """What ``retrain`` and ``refresh`` are given."""

    source: Any
    model: str | None
    config: str | Path | None
    out: str | Path | None
    window: int | None
    mode: str | None
    patience: float
    reading: Mapping[str, Any]


def _refreshed(asked: _Asked, command: str, progress: Progress, *, always: bool) -> Refreshed:
    """Take a file in: watched, and a challenger fitted where the verdict or the caller asks for one."""
    if asked.window is not None and asked.window < 1:
        raise ConfigError(f"window={asked.window} keeps no rows; give 1 or more.")
    with _turn(asked, command, progress) as (lease, standing, settings):
        progress("Reading the new rows")
        arrival = arrive(asked.source, standing.contract, settings, asked.reading)
        if said := standing.taken(arrival.digest):
            return _nothing(standing, said)
        watched = _watched(standing, arrival, settings, progress)
        if watched.verdict == "stop":
            return Refreshed("stopped", watched.sentence, standing.name, standing.version, watched=watched)
        if arrival.refusal:
            raise TableError(arrival.refusal)
        arrived = arrived_before(standing, standing.pending()) + ([arrival.table] if arrival.table is not None else [])
        if always and arrival.table is None:
            raise TableError(
                f"{arrival.source} has no row with {standing.contract.target!r}; a challenger is fitted on rows with sales."
            )
        if always or (watched.verdict == "retrain" and arrived):
            return _retrained(lease, standing, arrival, arrived, settings, asked.window, watched, progress)
        event = _note(lease, "kept", standing, arrival, watched.sentence, watched.run_id if arrival.table is not None else "")
        return Refreshed("kept", watched.sentence, standing.name, standing.version, watched=watched, event=event)


@contextlib.contextmanager
def _turn(asked: _Asked, command: str, progress: Progress) -> Iterator[tuple[Lease, Standing, Settings]]:
    """The champion of a model, with the model's lock held and what earlier processes left settled."""
    from adresponse import mutex, promotion, registry

    progress("Opening the model")
    store = deployment.open_store()
    located = registry.locate(store, asked.model)
    _refuse_other_than_champion(located)
    with mutex.held(store, located.name, waiting=progress, patience=asked.patience, command=command) as lease:
        promotion.settle(lease)
        _end_left(lease)
        _complete(lease)
        with standing_of(store, f"models:/{located.name}@{registry.CHAMPION}") as standing:
            settings = asked_of(standing.settings, asked.config, {"out": asked.out})
            if asked.mode is not None:
                settings = settings.model_copy(update={"promotion": {**settings.promotion, "mode": asked.mode}})
            lifecycle.refuse_unknown_rules(settings)
            lifecycle.writable(settings.out)
            yield lease, standing, settings


def _end_left(lease: Lease) -> None:
    """End the runs whose process is gone: what they hold is whole or not there, and what an event says has happened."""
    from adresponse import journal, mutex

    experiment = lease.store.call("get_experiment_by_name", lease.name)
    asked = "attributes.status = 'RUNNING'"
    for run in lease.store.call("search_runs", [experiment.experiment_id], asked, max_results=1000) if experiment else ():
        tags = run.data.tags
        if tags.get(f"{journal.PREFIX}kind") in journal.INTENDED or not mutex.ended(tags.get("adresponse.process", "")):
            continue
        lease.store.call("set_terminated", run.info.run_id, "FINISHED" if tags.get("adresponse.kind") == "event" else "KILLED")


def _complete(lease: Lease) -> None:
    """Write down the files of promotions whose process ended before it could."""
    from adresponse import journal

    events = journal.read(lease.store, lease.name)
    noted = {(e.target, e.digests.get("file")) for e in events if e.kind == "refresh"}
    for event in events:
        digest = event.digests.get("file")
        if event.kind != "promotion" or event.state != "done" or not digest or (event.target, digest) in noted:
            continue
        try:
            run_id = lease.store.call("get_model_version", lease.name, event.target).run_id
        except StoreError:  # deleted since
            continue
        came = any(file.path == NEW_ROWS for file in lease.store.call("list_artifacts", run_id))  # else it had no sales
        journal.append(
            lease,
            "refresh",
            source=event.source,
            target=event.target,
            why=f"{event.why} (Written by the next process, since the one that promoted the version ended.)",
            digests={"file": digest},
            rows_run=run_id if came else "",
            tags={"mlflow.parentRunId": run_id},
        )


def _refuse_other_than_champion(located: Located) -> None:
    if not located.uri.endswith("@champion"):
        raise ConfigError(f"{located.uri}: a challenger is held against the champion; give models:/NAME@champion.")


def _nothing(standing: Standing, said: str) -> Refreshed:
    sentence = f"Nothing to do: a file of this content was taken in before ({said})."
    return Refreshed("nothing", sentence, standing.name, standing.version)


def _note(
    lease: Lease, kind: Literal["kept", "refresh"], standing: Standing, arrival: Arrival, why: str, rows_run: str,
    target: str = "",
) -> Event:  # fmt: skip
    """The entry in the history that a file was taken in, with the run that holds its rows."""
    from adresponse import journal

    return journal.append(
        lease,
        kind,
        source=standing.version,
        target=target or standing.version,
        why=why,
        digests={"file": arrival.digest},
        rows_run=rows_run,
        tags={"mlflow.parentRunId": standing.run_id},
    )


def _retrained(
    lease: Lease,
    standing: Standing,
    arrival: Arrival,
    arrived: list[AdTable],
    settings: Settings,
    window: int | None,
    watched: Watched,
    progress: Progress,
) -> Refreshed:
    from adresponse.checks import check, refuse_unfit
    from adresponse.growing import grow

    market = None if settings.shape is None else standing.contract.market  # a straight line has no level for each
    grown = grow(standing.kept, arrived, share=settings.test_size, window=window, market=market)
    unseen = grown.table.frame.iloc[grown.test]
    if not standing.knows(unseen).any():
        known = " and whose market it knows" if len(unseen) else ""
        raise TableError(
            f"{arrival.source} leaves no row that version {standing.version} has not learnt from{known}, so no challenger can "
            f"be held against it; wait for newer rows{', or run the study again' if known else ''}."
        )
    progress("Checking old and new rows")
    findings = check(grown.table)
    refuse_unfit(findings)
    study = lifecycle.study_of(grown.table, findings, settings, progress, (grown.train, grown.test))
    progress("Holding it against the champion")
    held = _held_against(standing, study, grown, settings)
    progress("Drawing the figures")
    figures = lifecycle.drawn(study)
    why = f"{watched.sentence} {held.sentence}"
    made = lifecycle.publish(
        study,
        figures,
        settings,
        standing.store,
        contextlib.nullcontext(lease),
        progress,
        contest=held,
        files=_new_rows(arrival) | _file_of(WAITING, grown.waiting),
        tags={
            FILE_TAG: arrival.digest,
            WAITING_TAG: str(len(grown.waiting)),
            CHALLENGED_TAG: standing.version,
            lifecycle.SINCE_TAG: standing.tags.get(lifecycle.SINCE_TAG, "0"),
        },
        terms=lifecycle.Terms(
            why=why,
            digests={"file": arrival.digest},
            expected=standing.version,
            verify=_verifying(standing.store, settings, progress),
        ),
    )
    event = _note(
        lease, "refresh", standing, arrival, why, made.run_id if arrival.table is not None else "", made.version.version
    )
    return Refreshed(
        "retrained",
        _retrained_sentence(made, study, grown, held),
        standing.name,
        made.version.version if made.champion else standing.version,
        made.version.version,
        made.champion,
        watched,
        held,
        {
            "added": grown.added,
            "repeated": grown.repeated,
            "revised": grown.revised,
            "fitted": len(grown.train),
            "held_out": len(grown.test),
            "waiting": len(grown.waiting),
        },
        str(made.report),
        event,
    )


def _verifying(store: Store, settings: Settings, progress: Progress) -> Callable[[str], None]:
    """Before the alias moves, the files are held against the manifest of what was verified a moment ago; then it is asked."""
    whole = deployment.loading(store)
    asked = deployment.verifying(progress) if settings.verify else whole
    return lambda uri: (asked if "@" in uri else whole)(uri)


def _retrained_sentence(made: Published, study: Study, grown: Grown, held: Contest) -> str:
    said = "promoted" if made.champion else "not promoted"
    reason = study.gate.sentence if held.promotes and not made.champion else held.sentence
    waiting = len(grown.waiting)
    wait = (
        f" {words.count(waiting, 'row')} of markets that opened late {'waits' if waiting == 1 else 'wait'} for a later version."
        if waiting
        else ""
    )
    return f"Version {made.version.version} was fitted on {words.count(len(grown.train), 'row')} and {said}. {reason}{wait}"


def _held_against(standing: Standing, study: Any, grown: Grown, settings: Settings) -> Contest:
    frame = grown.table.frame
    inputs = list(study.inputs.columns)
    fitted = frame.iloc[grown.train]
    along = None if study.mix is None else _steady(study.mix.responses, fitted)
    rows = frame.iloc[grown.test]
    return _contest(
        standing, rows, standing.knows(rows), frame, "the challenger", lambda asked: study.estimator.predict(asked[inputs]),
        study.spread, fitted, settings, along,
    )  # fmt: skip


def _steady(responses: Sequence[Response], fitted: pd.DataFrame) -> dict[str, tuple[Any, Any]]:
    """What each channel's curve adds over the range of spend seen, where a row alone does not tell."""
    import numpy as np

    found = {}
    for response in responses:
        spend = np.linspace(float(fitted[response.channel].min()), float(fitted[response.channel].max()), 21)
        found[response.channel] = spend, response.steady(spend)
    return found


def _contest(
    champion: Standing,
    rows: pd.DataFrame,
    shared: NDArray[np.bool_],
    known: pd.DataFrame,
    name: str,
    predict: Callable[[pd.DataFrame], Any],
    spread: Any,
    fitted: pd.DataFrame,
    settings: Settings,
    along: dict[str, tuple[Any, Any]] | None = None,
) -> Contest:
    """A model held against a version on rows that neither has learnt from.

    ``shared`` tells which of the rows are of markets that both know; the others are not scored.
    ``known`` are all rows there are, whose spend the version carries as the other model does.
    ``fitted`` gives the ranges of spend, over which ``along`` says what each channel brings; found by ``predict`` without it.
    """
    import numpy as np

    from adresponse.contest import Contender, ContestRules, contest, responses

    rows = rows[shared]
    return contest(
        champion.contract,
        rows[champion.contract.target].to_numpy(),
        Contender(f"version {champion.version}", champion.predict(rows, known), champion.model.stored.formula.spread),
        Contender(name, np.asarray(predict(rows), dtype=float), spread),
        responses(champion.contract, fitted, predict) if along is None else along,
        ContestRules.build(settings.promotion),
        int((~shared).sum()),
    )


# --- promote, roll back, delete, look back


def promote(
    version: str,
    *,
    model: str | None = None,
    why: str = "",
    force: bool = False,
    patience: float = 600.0,
    progress: Progress = _silent,
) -> Promoted:
    """Make a version champion: verified before and after, and put back where anything fails.

    Parameters
    ----------
    version : str
        Its number, or ``models:/NAME/VERSION``.
    model : str, optional
        The registered model's name; without it, the only one.
    why : str
        The reason, for the history.
    force : bool
        Promote a version that the gate rejected; needs a reason.
    patience : float
        Seconds to wait for another process that changes the same model.
    progress : callable
        Called with the name of each step as it begins.
    """
    from adresponse import promotion

    name, number = _named(version, model)
    with _locked(name, patience, progress, "adresponse promote") as lease:
        return promotion.promote(lease, number, verify=deployment.verifying(progress), why=why or "Asked for.", force=force)


def rollback(*, model: str | None = None, why: str = "", patience: float = 600.0, progress: Progress = _silent) -> Promoted:
    """Make the version champion again that was it before the present one; parameters are those of ``promote``."""
    from adresponse import promotion

    name, _ = _named(None, model)
    with _locked(name, patience, progress, "adresponse rollback") as lease:
        return promotion.rollback(lease, verify=deployment.verifying(progress), why=why or "Asked for.")


def delete_version(
    version: str,
    *,
    model: str | None = None,
    why: str = "",
    force: bool = False,
    patience: float = 600.0,
    progress: Progress = _silent,
) -> Event:
    """Delete a version that no alias and no known deployment uses; parameters are those of ``promote``."""
    from adresponse import promotion

    name, number = _named(version, model)
    with _locked(name, patience, progress, "adresponse delete") as lease:
        return promotion.delete_version(lease, number, in_use=_local_uses(name, number), why=why, force=force)


def history(*, model: str | None = None) -> tuple[Event, ...]:
    """All that happened to a model, in order: promotions, rollbacks, files taken in; see ``journal.Event``."""
    from adresponse import journal, registry

    store = deployment.open_store()
    name, _ = _named(None, model)
    events = journal.read(store, name)
    if not events:
        registry.refuse_unknown(store, name)
    return events


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
    with standing_of(store, _uri(a, model)) as first, standing_of(store, _uri(b, model)) as second:
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
        held = _contest(
            first,
            rows,
            shared,
            second.kept.frame,
            f"version {second.version}",
            lambda asked: second.predict(asked, first.kept.frame),
            second.model.stored.formula.spread,
            second.kept.frame[~second.kept.held_out],
            settings,
            None if second.formula.curves is None else _steady(second.formula.curves.responses, second.kept.frame),
        )
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


def _uri(version: str, model: str | None) -> str:
    if version.startswith("models:/"):
        return version
    name, number = _named(version, model)
    return f"models:/{name}/{number}"


def _named(version: str | None, model: str | None) -> tuple[str, str]:
    """Name and version number from what a user gave: a number and a name, or a URI."""
    from adresponse import registry

    given = version or ""
    if given.startswith("models:/"):
        located = registry.locate(deployment.open_store(), given)
        return located.name, located.version
    if version is not None and not given.isdecimal():
        raise ConfigError(f"{version!r} is no version; give its number, or models:/NAME/VERSION.")
    number = str(int(given)) if given else ""  # 02 is version 2 to MLflow, and would be no version that an alias names to us
    if model and not model.startswith("models:/"):
        return model, number
    return registry.name_of(deployment.open_store(), model), number


@contextlib.contextmanager
def _locked(name: str, patience: float, progress: Progress, command: str) -> Iterator[Lease]:
    from adresponse import mutex, registry

    store = deployment.open_store()
    registry.refuse_unknown(store, name)
    with mutex.held(store, name, waiting=progress, patience=patience, command=command) as lease:
        yield lease
        _end_left(lease)
        _complete(lease)


def _local_uses(name: str, version: str) -> list[str]:
    """Deployments of ``mlflow deployments -t adresponse`` on this machine that name the version, or its alias."""
    from adresponse.targets import local

    wanted = f"models:/{name}/{version}"
    return [f"the local deployment {d.name!r}" for d in local.listing(config_file.state_folder()) if d.wanted.model == wanted]
