"""Which scores does MLflow's own evaluator give to a deployment's answers? Kept as a run of its own."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adresponse import record
from adresponse.errors import DeploymentError, DifferenceError, StoreError
from adresponse.mutex import IMPORTING, process_tags
from adresponse.store import Store, quietly
from adresponse.verification import Answered, EvaluationRows, Vector, Verification

__all__ = ["Trial", "asker", "start"]

BATCH_ROWS = 1_000  # in one request: below the 6 MB that SageMaker takes


@dataclass(frozen=True)
class Trial:
    """A run of MLflow that holds one verification."""

    store: Store
    run_id: str

    def scores(self, rows: EvaluationRows, answered: Vector) -> dict[str, float]:
        """What ``mlflow.models.evaluate`` says of the answers, under MLflow's names; logged as the run's metrics.

        Parameters
        ----------
        rows : EvaluationRows
            Give what was observed.
        answered : ndarray of shape (n_rows,)
            The predictions that came back, in the target's unit.
        """
        import mlflow
        import pandas as pd

        data = pd.DataFrame({"observed": rows.observed, "answered": answered})
        with IMPORTING, self.store.speaking(), self.store.current(), mlflow.start_run(run_id=self.run_id, nested=True):
            found = mlflow.models.evaluate(
                data=data,
                targets="observed",
                predictions="answered",
                model_type="regressor",
                evaluators="default",
                evaluator_config={"log_explainer": False, "log_model_explainability": False},
            )
        return {name: float(value) for name, value in found.metrics.items()}

    def log(self, verification: Verification) -> None:
        """Put the result on the run: tags, a note, and ``verification.json``."""
        for key, value in record.verification_tags(verification).items():
            self.store.call("set_tag", self.run_id, key, value)
        self.store.call("set_tag", self.run_id, "mlflow.note.content", record.verification_note(verification))
        with tempfile.TemporaryDirectory(prefix="adresponse-") as folder:
            path = Path(folder, "verification.json")
            path.write_text(record.to_json(verification), encoding="utf-8")
            self.store.call("log_artifact", self.run_id, str(path))


@contextlib.contextmanager
def start(store: Store, experiment_id: str, name: str, tags: dict[str, str], parent: str = "") -> Iterator[Trial]:
    """A run for one verification: FINISHED at the end, FAILED after an exception.

    Parameters
    ----------
    store : Store
        The opened store.
    experiment_id : str
        Where it stands in MLflow.
    name : str
        As MLflow shows it.
    tags : dict of str to str
        What is verified.
    parent : str, optional
        The run that it is nested in.
    """
    own = {"mlflow.user": record.user(), "mlflow.source.name": "adresponse", "adresponse.kind": "verification"}
    own |= {**process_tags(), **tags}
    if parent:
        own["mlflow.parentRunId"] = parent
    made = store.call("create_run", experiment_id, tags=own, run_name=name)
    try:
        yield Trial(store, made.info.run_id)
        store.call("set_terminated", made.info.run_id, "FINISHED")
    except BaseException:
        with contextlib.suppress(StoreError):
            store.call("set_terminated", made.info.run_id, "FAILED")
        raise


def asker(target: str, deployment: str) -> Callable[[EvaluationRows], Answered]:
    """A way to ask a deployment of any target of ``mlflow deployments``; these take no params, so no interval is asked.

    Parameters
    ----------
    target, deployment : str
        As ``mlflow deployments predict -t TARGET --name DEPLOYMENT`` takes them.
    """

    def ask(rows: EvaluationRows) -> Answered:
        from mlflow.deployments import get_deploy_client

        try:
            with quietly():
                client = get_deploy_client(target)
                step = max(len(rows.X), 1) if rows.together else BATCH_ROWS
                parts = [
                    client.predict(deployment_name=deployment, inputs=rows.X.iloc[i : i + step])
                    for i in range(0, len(rows.X), step)
                ]
        except Exception as error:  # each plugin raises what its own library raises
            first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise DeploymentError(f"{target} {deployment} cannot be asked: {first}.") from error
        return Answered(np.concatenate([_numbers(part) for part in parts]))

    return ask


def _numbers(answer: Any) -> Vector:
    """Predictions as MLflow's plugins give them: a response, a frame, or a list."""
    found = answer.get_predictions() if hasattr(answer, "get_predictions") else answer
    values = found.to_numpy() if hasattr(found, "to_numpy") else found
    try:
        return np.asarray(values, dtype=float).reshape(-1)
    except (TypeError, ValueError) as error:
        raise DifferenceError("The deployment gave predictions that are no numbers.") from error
