"""Does the model still hold on these new rows? Each look is a run of MLflow, nested in the version's."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adresponse import deployment, lifecycle
from adresponse.deployment import Progress, silent
from adresponse.engines.places import refuse_unwritable, write_page
from adresponse.settings import Settings
from adresponse.standing import FILE_TAG, Arrival, Standing, arrive, arrived_before, asked_of, standing_of

if TYPE_CHECKING:
    import pandas as pd

    from adresponse.journal import Event
    from adresponse.schema import Contract
    from adresponse.watching.verdict import Watch

__all__ = ["EXIT", "Watched", "look", "watch"]

EXIT = {"keep": 0, "retrain": 10, "stop": 20}
SAMPLE_TAG = "adresponse.sample"  # of a watch: keys of some of its rows with known sales
STREAM_TAG = "adresponse.stream"  # SHA-256 of the files that a watch looked at together


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


def watch(
    source: Any,
    *,
    model: str | None = None,
    config: str | Path | None = None,
    out: str | Path | None = None,
    progress: Progress = silent,
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
        refuse_unwritable(settings.out)
        progress("Reading the new rows")
        return look(standing, arrive(source, standing.contract, settings, reading), settings, progress)


def look(standing: Standing, arrival: Arrival, settings: Settings, progress: Progress) -> Watched:
    """Rows that arrived, with those since the version was made, held against it; tracked if nobody looked at them before."""
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
        {} if standing.formula.curves is None else standing.formula.curves.sizes,
    )
    found, keys = held_against(champion, arrival.raw, rules), list[bytes]()
    if found.verdict != "stop":
        whole = together([t.frame for t in pending], arrival.raw, standing.contract)
        keys = _keys_of(whole, standing.contract)
        looks = _looks(earlier if before is None else earlier[: earlier.index(before)], keys)
        found = held_against(champion, whole, rules, looks)
    page = report.watch_page(found, _told(arrival, standing))
    path = write_page(settings.out / f"{standing.name}-watch.html", page)
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
    from adresponse import record, track
    from adresponse.growing import sample_of

    metrics = _metrics(found)
    files: dict[str, str | bytes] = {"watch.html": page, "watch.json": record.to_json(found), **arrival.files}
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
