"""How does a study become a run of MLflow, whole or marked as failed?"""

from __future__ import annotations

import contextlib
import json
import signal
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions
from importlib.metadata import version as installed
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adresponse import __version__, record
from adresponse.errors import ModelError, StoreError
from adresponse.schema import Contract
from adresponse.store import LoggedModel, Store, error_code, quietly
from adresponse.study import Study

if TYPE_CHECKING:
    from mlflow.entities import Metric

    from adresponse.tune import LeaderboardRow

__all__ = ["Run", "start"]

EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # else MLflow's UI opens it in its GenAI view
    "mlflow.note.content": "Response of sales to marketing spend: the runs of adresponse, candidates nested in them.",
}
NEEDED = ("mlflow", "scikit-learn", "skops", "numpy", "pandas", "scipy")  # to load the model and predict
TRUSTED = ("sklearn", "numpy", "scipy")
DIGEST_LENGTH = 36  # of MLflow's own column
EXAMPLE_ROWS = 5
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
        figures: Mapping[str, bytes],
        report_html: str,
        config_text: str,
        trusted: Iterable[str] = (),
    ) -> LoggedModel:
        """Everything that the study found: dataset, params, metrics, candidates, files, and the model itself.

        Parameters
        ----------
        study : Study
            The finished study.
        figures : dict of str to bytes
            Name and SVG of each figure.
        report_html, config_text : str
            The report, and the settings as YAML.
        trusted : iterable of str
            Modules, beside scikit-learn's own, whose types the stored model may hold (a configured challenger's).
        """
        with tempfile.TemporaryDirectory(prefix="adresponse-") as folder:
            _write_all(Path(folder, "run"), record.files(study, figures, report_html, config_text))
            model = _create_model(self, study)
            try:
                _save_model(self, study, model, Path(folder, "model"), (*TRUSTED, *_modules(study), *trusted))
                self._log_values(study, model.model_id)
                self.store.call("log_artifacts", self.run_id, str(Path(folder, "run")))
                self.store.call("log_model_artifacts", model.model_id, str(Path(folder, "model")))
                self.store.call("finalize_logged_model", model.model_id, "READY")
            except BaseException:
                with contextlib.suppress(StoreError):
                    self.store.call("finalize_logged_model", model.model_id, "FAILED")
                raise
        _log_candidates(self, study)
        return LoggedModel(model.model_id, f"models:/{model.model_id}")

    def _log_values(self, study: Study, model_id: str) -> None:
        from mlflow.entities import LoggedModelOutput, Param, RunTag

        data = _dataset(study)
        self.store.call("log_inputs", self.run_id, [data])
        self.store.call("log_outputs", self.run_id, [LoggedModelOutput(model_id, 0)])
        metrics = _metrics(record.metrics(study), model_id, data.dataset)
        params = [Param(k, v) for k, v in record.params(study).items() if k not in self.told]
        tags = [RunTag(k, v) for k, v in record.tags(study).items()]
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
    experiment_id = _experiment(store, experiment)
    source = {"mlflow.user": record.user(), "mlflow.source.name": "adresponse", "mlflow.source.type": "LOCAL"}
    made = store.call("create_run", experiment_id, tags=source | _own_tags(), run_name=run_name)
    return Run(store, made.info.run_id, experiment_id)


def _taken(store: Store, run_id: str) -> Run:
    found = store.call("get_run", run_id)
    for key, value in _own_tags().items():
        store.call("set_tag", run_id, key, value)
    return Run(store, run_id, found.info.experiment_id, frozenset(found.data.params))


def _own_tags() -> dict[str, str]:
    return {"adresponse.version": __version__, "adresponse.kind": "study"}


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


def _experiment(store: Store, name: str) -> str:
    """Id of the experiment: found, restored where it was deleted, or made; several processes may ask at once."""
    found = store.call("get_experiment_by_name", name)
    if found is None:
        try:
            return str(store.call("create_experiment", name, tags=EXPERIMENT_TAGS))
        except StoreError as e:
            if error_code(e) != "RESOURCE_ALREADY_EXISTS":
                raise
        found = store.call("get_experiment_by_name", name)
    if found.lifecycle_stage == "deleted":
        store.call("restore_experiment", found.experiment_id)
    for key, value in EXPERIMENT_TAGS.items():
        if key not in found.tags:
            store.call("set_experiment_tag", found.experiment_id, key, value)
    return str(found.experiment_id)


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


def _save_model(run: Run, study: Study, model: Any, folder: Path, trusted: tuple[str, ...]) -> None:
    """Write the model as ``mlflow.sklearn.log_model`` would, but for this store alone and without its trial start.

    ``log_model`` takes MLflow's global store, and serves the example once to see it work, which takes a second. Here
    the example is answered in process.
    """
    contract, estimator = study.table.contract, study.estimator
    example = study.table.X.iloc[:EXAMPLE_ROWS].reset_index(drop=True)
    with quietly(run.store.verbose), _unchecked_pins():
        import mlflow.sklearn
        from mlflow.models import Model

        _refuse_unfit_model(estimator, example)
        about = {"package": __version__, "data_digest": study.table.digest, "contract": contract.to_dict()}
        try:
            mlflow.sklearn.save_model(
                sk_model=estimator,
                path=str(folder),
                mlflow_model=Model(
                    artifact_path=model.artifact_location,
                    model_uuid=model.model_id,
                    run_id=run.run_id,
                    model_id=model.model_id,
                ),
                serialization_format="skops",
                skops_trusted_types=_trusted_types(estimator, trusted),
                signature=_signature(contract),
                input_example=example,
                pip_requirements=_requirements(trusted),
                metadata={"adresponse": about},
            )
        except mlflow.exceptions.MlflowException as e:
            raise ModelError(f"The model {_title(estimator)} cannot be stored without pickle: {_first_line(e)}") from e


@contextlib.contextmanager
def _unchecked_pins() -> Iterator[None]:
    """Spare MLflow the comparison of our pins with what is installed: they are that, and it reads every package."""
    from mlflow.utils import environment

    name = "warn_dependency_requirement_mismatches"
    kept = getattr(environment, name, None)
    if kept is None:
        yield
        return
    setattr(environment, name, lambda _: None)
    try:
        yield
    finally:
        setattr(environment, name, kept)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0]


def _title(estimator: Any) -> str:
    steps = getattr(estimator, "steps", None)
    return type(steps[-1][1] if steps else estimator).__name__


def _refuse_unfit_model(estimator: Any, example: Any) -> None:
    import numpy as np

    answer = np.asarray(estimator.predict(example))
    if answer.dtype != np.float64 or answer.shape != (len(example),):
        raise ModelError(
            f"The model {_title(estimator)} answers {answer.dtype} of shape {answer.shape}; "
            f"a response model answers float64 of shape ({len(example)},)."
        )


def _trusted_types(estimator: Any, trusted: tuple[str, ...]) -> list[str]:
    """The types in the model that skops does not know, all of them from trusted modules, else a refusal."""
    from skops.io import dumps, get_untrusted_types

    found = sorted(get_untrusted_types(data=dumps(estimator)))
    strange = [t for t in found if t.partition(".")[0] not in trusted]
    if strange:
        raise ModelError(
            f"The model {_title(estimator)} holds types that are not trusted: {', '.join(strange[:5])}; "
            "use estimators of scikit-learn, or name the challenger by its import path."
        )
    return found


def _modules(study: Study) -> tuple[str, ...]:
    """Top modules of the challengers that the user named."""
    return tuple(str(path).partition(".")[0] for path in study.settings.get("challengers", ()))


def _signature(contract: Contract) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    inputs = Schema([ColSpec(DataType.double, name, required=True) for name in contract.features])
    return ModelSignature(inputs=inputs, outputs=Schema([ColSpec(DataType.double)]))


def _requirements(trusted: tuple[str, ...]) -> list[str]:
    """What loads the model and predicts, pinned as installed; MLflow would start a process to find it out."""
    packages = list(NEEDED)
    if others := [m for m in trusted if m not in TRUSTED]:
        owners = packages_distributions()
        packages += [name for module in others for name in owners.get(module, ())]
    return [f"{name}=={installed(name)}" for name in dict.fromkeys(packages) if _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        installed(name)
    except PackageNotFoundError:
        return False
    return True


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
