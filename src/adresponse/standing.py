"""What does a registered version stand on, and what has arrived since?"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adresponse import deployment
from adresponse import settings as config_file
from adresponse.errors import ConfigError, StoreError, TableError
from adresponse.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from adresponse.deployment import Model
    from adresponse.formula import Formula
    from adresponse.growing import Kept
    from adresponse.journal import Event
    from adresponse.reading.raw import Raw
    from adresponse.schema import Contract
    from adresponse.store import Store
    from adresponse.table import AdTable

__all__ = ["CHALLENGED_TAG", "FILE_TAG", "HISTORY_TAG", "NEW_ROWS", "SINCE_TAG", "TAKEN_IN", "UP_TO_TAG", "WAITING"]
__all__ += ["WAITING_TAG", "Arrival", "Standing", "arrive", "arrived_before", "as_file", "asked_of", "standing_of"]

NEW_ROWS = "new-rows.parquet"  # of a watch's run: the rows that arrived
WAITING = "waiting-rows.parquet"  # of a version's run: rows of markets too young to be fitted
WAITING_TAG = "adresponse.waiting"  # of a version: how many these are
FILE_TAG = "adresponse.file"  # SHA-256 of the content of the file that a version or a watch took in
UP_TO_TAG = "adresponse.rows_up_to"  # of a version: the last event of the history whose rows it stands on
SINCE_TAG = "adresponse.rows_since"  # of a version: the last event before its study began anew
HISTORY_TAG = "adresponse.history"  # of a version: the experiment whose events these two count
CHALLENGED_TAG = "adresponse.challenged"  # of a version: the champion that it was fitted to replace
TAKEN_IN = ("kept", "refresh")  # events after which a file's rows are known
READING = ("decimal", "query", "sql_table", "sheet")  # how a file is read; says nothing of the next one
OWN = ("name", "target", "channels", "controls", "date", "market")  # what a challenger has from its champion


@dataclass(frozen=True)
class Standing:
    """A version of the registry with what it stands on."""

    store: Store
    model: Model
    run_id: str
    tags: dict[str, str]
    kept: Kept
    settings: Settings
    events: tuple[Event, ...]

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def version(self) -> str:
        return self.model.version

    @property
    def formula(self) -> Formula:
        return self.model.stored.formula

    @property
    def contract(self) -> Contract:
        return self.formula.contract

    @property
    def waiting(self) -> int:
        """How many rows it left for a later fit, as nothing is known of their market yet (see ``growing.grow``)."""
        return self._count(WAITING_TAG)

    def predict(self, frame: pd.DataFrame, known: pd.DataFrame | None = None) -> NDArray[np.float64]:
        """Predicted sales of rows of the contract, shape (n_rows,); spend of earlier rows is carried into them.

        ``known`` are rows that came after those that the version keeps, and need not be predicted.
        """
        import numpy as np

        from adresponse.growing import earlier_rows
        from adresponse.pyfunc import ResponseModel
        from adresponse.rows import check

        stored, formula = self.model.stored, self.formula
        whole = frame
        if formula.together:
            kept = self.kept.frame
            if known is not None:
                kept = earlier_rows(kept, known[self.knows(known)], formula.inputs)
            whole = earlier_rows(kept, frame, formula.inputs)
        columns = check(formula.reads, {name: whole[name] for name in formula.inputs})
        found = ResponseModel(formula, stored.folder).answer(columns)["prediction"]
        return np.asarray(found[len(whole) - len(frame) :])

    def knows(self, frame: pd.DataFrame) -> NDArray[np.bool_]:
        """Which rows are of markets that it knows, shape (n_rows,); all where it has no level for each."""
        import numpy as np

        market = self.formula.reads.market
        return np.ones(len(frame), dtype=bool) if market is None else frame[market].isin(self.formula.reads.markets).to_numpy()

    def errors(self) -> NDArray[np.float64]:
        """Observed less predicted for each kept row that the model had not seen, NaN for the others."""
        import json

        import numpy as np

        from adresponse import track

        frame, unseen = self.kept.frame, self.kept.held_out
        found = np.full(len(frame), np.nan)
        if unseen.any():
            found[unseen] = (frame[self.contract.target].to_numpy() - self.predict(frame))[unseen]
            return found
        rows = json.loads(track.file_of(self.store, self.run_id, "evaluation.json"))["predicted"]
        if len(rows) == len(frame):  # by cross-validation, each row once, in their order
            found[:] = [row["observed"] - row["predicted"] for row in rows]
        return found

    def pending(self, digest: str = "") -> list[Event]:
        """The files that came since the version was made and that it does not stand on, the earliest first.

        With the digest of a file that was taken in, only those before it.
        """
        up_to, own = self._count(UP_TO_TAG), self.tags.get(FILE_TAG)
        found = []
        for event in self.events:
            if event.kind not in TAKEN_IN or event.sequence <= up_to or event.digests.get("file") == own:
                continue
            if event.digests.get("file") == digest:
                break
            if event.rows_run:
                found.append(event)
        return found

    def taken(self, digest: str) -> str:
        """What is known of a file of this content: when it was taken in; empty where it was not.

        What was taken in before a study began anew, by ``run`` on a table of its own, does not count for that study.
        """
        if self.tags.get(FILE_TAG) == digest:
            return f"version {self.version} stands on it"
        since = self._count(SINCE_TAG)
        found = (e for e in self.events if e.kind in TAKEN_IN and e.sequence > since and e.digests.get("file") == digest)
        return next((f"event {e.sequence} took it in at {e.when}" for e in found), "")

    def _count(self, tag: str) -> int:
        said = self.tags.get(tag, "")
        return int(said) if said.isdigit() else 0


@contextlib.contextmanager
def standing_of(store: Store, model: str | None) -> Iterator[Standing]:
    from adresponse import journal, record, registry, track
    from adresponse.growing import Kept

    located = registry.locate(store, model)
    if not located.version:
        raise StoreError(f"{located.uri} is no registered version; give models:/NAME@champion or models:/NAME/VERSION.")
    version = store.call("get_model_version", located.name, located.version)
    tags = _counted(store, located.name, version.tags)
    with tempfile.TemporaryDirectory(prefix="adresponse-") as folder:
        found = deployment.from_registry(store, located, Path(folder))
        if record.ROWS_TAG not in tags:
            raise StoreError(
                f"{located.pinned} was made by an older adresponse, which kept no rows to compare with; run the study again."
            )
        try:
            content = track.file_of(store, version.run_id, record.ROWS_FILE)
        except StoreError as error:
            raise StoreError(f"The rows of {located.pinned} cannot be read ({error}) Run the study again.") from error
        if hashlib.sha256(content).hexdigest() != tags.get(record.ROWS_TAG):
            raise StoreError(f"The rows of {located.pinned} are not those that it was registered with; run the study again.")
        settings = _recipe(track.file_of(store, version.run_id, "settings.yaml"), found)
        kept = Kept.read(content, found.stored.formula.contract)
        yield Standing(store, found, version.run_id, tags, kept, settings, journal.read(store, located.name))


def _counted(store: Store, name: str, tags: Mapping[str, str]) -> dict[str, str]:
    """A version's tags, without what it counts where MLflow copied it from a model with another history."""
    own = tags.get(HISTORY_TAG)
    history = store.call("get_experiment_by_name", name)
    if own is None or (history is not None and own == history.experiment_id):
        return dict(tags)
    return {k: v for k, v in tags.items() if k not in (UP_TO_TAG, SINCE_TAG)}


def _recipe(settings: bytes, model: Model) -> Settings:
    """How the version was fitted, with the roles that were found then; how its file was read does not matter any more."""
    import yaml

    contract = model.stored.formula.contract
    known = set(Settings.model_fields) - {*READING, "out"}
    given = {k: v for k, v in yaml.safe_load(settings).items() if k in known}
    roles: dict[str, Any] = {
        "target": contract.target,
        "channels": contract.channels,
        "controls": contract.controls,
        "date": contract.date,
        "market": contract.market,
        "origin": contract.origin,
        "columns": {c.name: {"means": c.means, "unit": c.unit} for c in contract.columns},
    }
    return Settings(**{**given, **roles}).model_copy(update={"name": model.name})  # MLflow allows more names than run does


def asked_of(settings: Settings, config: str | Path | None, given: Mapping[str, Any]) -> Settings:
    """The version's recipe with what a config file or the caller says otherwise now; name and columns stay its own."""
    asked = config_file.load(config, **given)
    said = {key: getattr(asked, key) for key in asked.model_fields_set}
    for key in OWN:
        value, own = said.pop(key, None), getattr(settings, key)
        if value is not None and _as_set(value) != _as_set(own):
            raise ConfigError(
                f"{config}: {key}={value!r} is not the model's own, {own!r}, which its new rows and challengers keep; leave "
                f"{key} out of the file, or give the model that it belongs to."
            )
    return settings.model_copy(update={"out": asked.out, **said})


def _as_set(value: Any) -> Any:
    """Columns in whichever order."""
    return set(value) if isinstance(value, tuple) else value


# --- what arrives


@dataclass(frozen=True)
class Arrival:
    """A new file: all of its columns as they are, and as a table the rows that keep the contract and have sales.

    ``table`` is None where there are no such rows; ``refusal`` says why, if that is not for want of sales.
    """

    source: str
    raw: pd.DataFrame
    table: AdTable | None
    digest: str
    refusal: str = ""

    @property
    def files(self) -> dict[str, bytes]:
        """The table, as a file for a run."""
        return {} if self.table is None else as_file(NEW_ROWS, self.table.frame)


def as_file(name: str, rows: pd.DataFrame) -> dict[str, bytes]:
    """Rows as a file of this name; none where there are no rows."""
    import numpy as np

    from adresponse.growing import to_parquet

    return {name: to_parquet(rows, np.zeros(0, dtype=int))} if len(rows) else {}


def arrive(source: Any, contract: Contract, settings: Settings, given: Mapping[str, Any]) -> Arrival:
    """The source as the settings say that it is read, and as was given beside them, which wins."""
    from adresponse import table
    from adresponse.growing import content_digest, scored_rows

    asked = {**{key: getattr(settings, key) for key in READING}, **{k: v for k, v in given.items() if v is not None}}
    raw = table.read_all(source, date=contract.date, market=contract.market, **asked)
    frame = _as_it_is(raw)
    digest = content_digest(frame)
    rows = scored_rows(frame, contract)
    if rows.empty:
        return Arrival(raw.label, frame, None, digest)
    try:
        return Arrival(raw.label, frame, _as_table(rows, contract, raw.label), digest)
    except TableError as error:
        return Arrival(raw.label, frame, None, digest, str(error))


def _as_it_is(raw: Raw) -> pd.DataFrame:
    """All columns, where a cell of a number or date column that says something else is text again."""
    frame = raw.frame.copy()
    for name, cells in raw.said.items():
        column = frame[name].astype(object)
        column.loc[list(cells)] = list(cells.values())
        frame[name] = column
    return frame


def _as_table(rows: pd.DataFrame, contract: Contract, label: str) -> AdTable:
    from adresponse.growing import as_table

    return replace(as_table(rows, contract), source=label)


def arrived_before(standing: Standing, events: list[Event]) -> list[AdTable]:
    """The rows that the version left waiting, and those that were taken in by these events, the earliest first.

    Those that lack a column of the version are of no use to it.
    """
    from adresponse import track
    from adresponse.growing import rows_of

    files = [(f"version {standing.version}", standing.run_id, WAITING)] if standing.waiting else []
    files += [(f"event {event.sequence}", event.rows_run, NEW_ROWS) for event in events]
    found = []
    for label, run_id, name in files:
        try:
            content = track.file_of(standing.store, run_id, name)
        except StoreError as error:
            raise StoreError(
                f"The rows that {label} of {standing.name!r} took in are gone (run {run_id}); run the study again on the whole "
                "table."
            ) from error
        rows = rows_of(content, standing.contract)
        if rows is not None:
            found.append(_as_table(rows, standing.contract, label))
    return found
