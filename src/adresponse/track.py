"""How does a study become a run of MLflow, whole or marked as failed?"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adresponse import __version__, record
from adresponse.errors import StoreError
from adresponse.mutex import process_tags
from adresponse.store import LoggedModel, Store, error_code

if TYPE_CHECKING:
    from mlflow.entities import Metric

    from adresponse.contest import Contest
    from adresponse.saving import Saved
    from adresponse.study import Study
    from adresponse.tune import LeaderboardRow
    from adresponse.verification import Verification

__all__ = ["Run", "add_file", "experiment_of", "file_of", "log_child", "log_step", "start"]

EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # else MLflow's UI opens it in its GenAI view
    "mlflow.note.content": "Response of sales to marketing spend: the runs of adresponse, candidates nested in them.",
}
DIGEST_LENGTH = 36  # of MLflow's own column
NAME_LENGTH = 250  # of a run, likewise
BATCH = 100  # params or tags that MLflow takes at once


@dataclass(frozen=True)
class Run:
    """A run under way; ``told`` names the params that it had before, which MLflow lets nobody change."""

    store: Store
    run_id: str
    experiment_id: str
    told: frozenset[str] = frozenset()

    def log(
        self,
        study: Study,
        saved: Saved,
        figures: Mapping[str, bytes],
        report_html: str,
        config_text: str,
        verification: Verification | None = None,
        contest: Contest | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> LoggedModel:
        """Everything that the study found: dataset, params, metrics, candidates, files, and the model itself.

        Parameters
        ----------
        study : Study
            The finished study.
        saved : Saved
            Its model, as ``saving`` gave it.
        figures : dict of str to bytes
            Name and SVG of each figure.
        report_html, config_text : str
            The report, and the settings as YAML.
        verification : Verification, optional
            What the deployed model answered.
        contest : Contest, optional
            How it did against the champion.
        tags : mapping, optional
            Further tags of the run.
        """
        with tempfile.TemporaryDirectory(prefix="adresponse-") as folder:
            _write_all(Path(folder), record.files(study, figures, report_html, config_text, verification, contest))
            self._log_values(study, saved.model_id, record.verification_tags(verification) | dict(tags or {}))
            self.store.call("log_artifacts", self.run_id, folder)
        self.store.call("log_model_artifacts", saved.model_id, str(saved.folder))
        self.store.call("finalize_logged_model", saved.model_id, "READY")
        _log_candidates(self, study)
        return LoggedModel(saved.model_id, f"models:/{saved.model_id}", saved.digest)

    @contextlib.contextmanager
    def saving(self, study: Study) -> Iterator[Saved]:
        """The study's model in a folder of its own, sealed and ready to be tried and logged; FAILED in MLflow otherwise."""
        from adresponse.saving import save  # loads scikit-learn, which who only reads runs does without

        model = _create_model(self, study)
        try:
            with tempfile.TemporaryDirectory(prefix="adresponse-") as folder:
                yield save(study, model, Path(folder, "model"), self.run_id, self.store.verbose)
        except BaseException:
            with contextlib.suppress(StoreError):
                self.store.call("finalize_logged_model", model.model_id, "FAILED")
            raise

    def _log_values(self, study: Study, model_id: str, more: Mapping[str, str]) -> None:
        from mlflow.entities import LoggedModelOutput, Param, RunTag

        data = _dataset(study)
        self.store.call("log_inputs", self.run_id, [data])
        self.store.call("log_outputs", self.run_id, [LoggedModelOutput(model_id, 0)])
        metrics = _metrics(record.metrics(study), model_id, data.dataset)
        params = [Param(k, v) for k, v in record.params(study).items() if k not in self.told]
        tags = [RunTag(k, v) for k, v in (record.tags(study) | dict(more)).items()]
        self.store.call("log_batch", self.run_id, metrics, params[:BATCH], tags)
        for rest in _batches(params[BATCH:]):
            self.store.call("log_batch", self.run_id, params=rest)


def _batches(values: list[Any]) -> Iterator[list[Any]]:
    left = iter(values)
    while batch := list(islice(left, BATCH)):
        yield batch


def _now() -> int:
    return time.time_ns() // 1_000_000


def _metrics(values: Mapping[str, float], model_id: str, data: Any) -> list[Metric]:
    from mlflow.entities import Metric

    now = _now()
    return [Metric(k, v, now, 0, model_id, data.name, data.digest) for k, v in values.items()]


def _write_all(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


# --- start and end


@contextlib.contextmanager
def start(store: Store, experiment: str, run_name: str, run_id: str | None = None) -> Iterator[Run]:
    """A run in an experiment, made where it is missing; FINISHED at the end, FAILED after any exception or SIGTERM.

    Parameters
    ----------
    store : Store
        The opened store.
    experiment, run_name : str
        As MLflow shows them.
    run_id : str, optional
        A run that is under way already, as MLflow Projects start one: it is taken, in its own experiment.
    """
    with _terminable():
        run = _taken(store, run_id) if run_id else _made(store, experiment, run_name)
        try:
            yield run
            store.call("set_terminated", run.run_id, "FINISHED")
        except BaseException:
            with contextlib.suppress(StoreError):
                store.call("set_terminated", run.run_id, "FAILED")
            raise


def _made(store: Store, experiment: str, run_name: str) -> Run:
    experiment_id = experiment_of(store, experiment)
    source = {"mlflow.user": record.user(), "mlflow.source.name": "adresponse", "mlflow.source.type": "LOCAL"}
    made = store.call("create_run", experiment_id, tags=source | _own_tags(), run_name=run_name[:NAME_LENGTH])
    return Run(store, made.info.run_id, experiment_id)


def _taken(store: Store, run_id: str) -> Run:
    found = store.call("get_run", run_id)
    for key, value in _own_tags().items():
        store.call("set_tag", run_id, key, value)
    return Run(store, run_id, found.info.experiment_id, frozenset(found.data.params))


def _own_tags() -> dict[str, str]:
    return {"adresponse.version": __version__, "adresponse.kind": "study", **process_tags()}


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the block as an exception, unless the caller already handles it."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _leave(*_: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def experiment_of(store: Store, name: str) -> str:
    """Id of the experiment: found, restored where it was deleted, or made; several processes may ask at once."""
    found = store.call("get_experiment_by_name", name)
    if found is None:
        try:
            return str(store.call("create_experiment", name, tags=EXPERIMENT_TAGS))
        except StoreError as e:
            if error_code(e) != "RESOURCE_ALREADY_EXISTS":
                raise
        found = store.call("get_experiment_by_name", name)
    _restore(store, found)
    for key, value in EXPERIMENT_TAGS.items():
        if key not in found.tags:
            store.call("set_experiment_tag", found.experiment_id, key, value)
    return str(found.experiment_id)


def _restore(store: Store, experiment: Any) -> None:
    """An experiment that somebody deleted takes no run."""
    if experiment.lifecycle_stage == "deleted":
        store.call("restore_experiment", experiment.experiment_id)


# --- files, and runs that belong to another


def file_of(store: Store, run_id: str, name: str) -> bytes:
    """A file among a run's artifacts.

    Raises
    ------
    StoreError
        If the run has no such file.
    """
    with tempfile.TemporaryDirectory(prefix="adresponse-") as folder:
        return Path(store.call("download_artifacts", run_id, name, folder)).read_bytes()


def add_file(store: Store, run_id: str, name: str, content: bytes) -> None:
    """Put one more file among a run's artifacts."""
    with tempfile.TemporaryDirectory(prefix="adresponse-") as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        store.call("log_artifact", run_id, str(path))


def log_child(
    store: Store,
    parent: str,
    name: str,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    files: Mapping[str, str | bytes],
) -> str:
    """A finished run nested in another, with its metrics and files; the id. FAILED where not all of it could be written.

    Parameters
    ----------
    store : Store
        The opened store.
    parent : str
        Id of the run that it belongs to; it stands in the same experiment.
    name : str
        As MLflow shows it.
    tags, metrics, files : mapping
        What it holds; a metric that is not finite is left out.
    """
    from mlflow.entities import Metric

    experiment_id = store.call("get_run", parent).info.experiment_id
    _restore(store, store.call("get_experiment", experiment_id))
    own = {
        "mlflow.parentRunId": parent,
        "mlflow.user": record.user(),
        "mlflow.source.name": "adresponse",
        "adresponse.version": __version__,
        **process_tags(),
        **tags,
    }
    run_id = str(store.call("create_run", experiment_id, tags=own, run_name=name).info.run_id)
    try:
        now = _now()
        for batch in _batches([Metric(record.metric_name(k), v, now, 0) for k, v in metrics.items() if math.isfinite(v)]):
            store.call("log_batch", run_id, metrics=batch)
        with tempfile.TemporaryDirectory(prefix="adresponse-") as folder:
            _write_all(Path(folder), files)
            store.call("log_artifacts", run_id, folder)
        store.call("set_terminated", run_id, "FINISHED")
    except BaseException:
        with contextlib.suppress(StoreError):
            store.call("set_terminated", run_id, "FAILED")
        raise
    return run_id


def log_step(store: Store, run_id: str, metrics: Mapping[str, float], step: int) -> None:
    """Further values of metrics on a run that has ended, so that MLflow's UI draws them as a line over the steps.

    A run that somebody deleted takes none, and is not drawn.
    """
    from mlflow.entities import Metric

    if store.call("get_run", run_id).info.lifecycle_stage == "deleted":
        return
    now = _now()
    for batch in _batches([Metric(record.metric_name(k), v, now, step) for k, v in metrics.items() if math.isfinite(v)]):
        store.call("log_batch", run_id, metrics=batch)


# --- the dataset


def _dataset(study: Study) -> Any:
    """The table as MLflow's dataset: our digest of all rows (MLflow's own reads the first 10,000), columns, counts."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    table = study.table
    kinds = {"date": "datetime", "market": "string"}
    columns = [{"type": kinds.get(c.role, "double"), "name": c.name, "required": True} for c in table.contract.columns]
    profile = {"num_rows": len(table.frame), "num_elements": int(table.frame.size), "sha256": table.digest}
    dataset = Dataset(
        name=_name(table.source),
        digest=table.digest[:DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": table.source}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps(profile),
    )
    context = "training" if study.evaluation.basis == "cross-validation" else "training and evaluation"
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context), InputTag("sha256", table.digest)])


def _name(source: str) -> str:
    return (Path(source.partition("?")[0]).name or source)[:500]


# --- the model


def _create_model(run: Run, study: Study) -> Any:
    tags = {k: v for k, v in record.tags(study).items() if k != "mlflow.note.content"}
    return run.store.call(
        "create_logged_model",
        run.experiment_id,
        name="model",
        source_run_id=run.run_id,
        tags={**tags, "mlflow.note.content": record.note(study)},
        params=record.params(study),
        model_type="response",
    )


# --- the candidates


def _log_candidates(run: Run, study: Study) -> None:
    for row in study.leaderboard.rows:
        _log_candidate(run, row)


def _log_candidate(run: Run, row: LeaderboardRow) -> None:
    from mlflow.entities import Metric, Param

    tags = {
        "mlflow.parentRunId": run.run_id,
        "mlflow.note.content": record.candidate_note(row),
        "mlflow.user": record.user(),
        "mlflow.source.name": "adresponse",
        "adresponse.version": __version__,
        "adresponse.kind": "candidate",
        **process_tags(),
        "adresponse.chosen": str(row.chosen).lower(),
    }
    now = _now()
    made = run.store.call("create_run", run.experiment_id, tags=tags, run_name=row.name)
    means = {"mae": row.mae, "rmse": row.rmse, "r2": row.r2, "rmse_difference": row.difference}
    metrics = [Metric(k, v, now, 0) for k, v in means.items() if v == v]
    metrics += [Metric("fold_rmse", v, now, fold) for fold, v in enumerate(row.fold_rmse) if v == v]
    params = [Param(record.metric_name(k), str(v)[: record.VALUE_LENGTH]) for k, v in row.params.items()]
    run.store.call("log_batch", made.info.run_id, metrics[:900], params[:BATCH])
    run.store.call("set_terminated", made.info.run_id, "FINISHED")
