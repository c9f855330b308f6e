"""Does a run hold everything that the study found, as MLflow's users expect it, and does a broken run say so?"""

from __future__ import annotations

import csv
import io
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.types import DataType
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import forked
from adresponse import record, registry, store, track
from adresponse.errors import ModelError, StoreError
from adresponse.study import Study
from study_example import three_channels, without_line, without_mape, without_test
from tracked_example import FIGURES, copied_store, hang, log, outcomes, study


@dataclass(frozen=True)
class Logged:
    """What one whole run left behind."""

    store: store.Store
    study: Study
    run: Any
    model: store.LoggedModel
    artifacts: Path

    def read(self, name: str) -> Any:
        return json.loads((self.artifacts / name).read_text(encoding="utf-8"), parse_constant=pytest.fail)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    folder = tmp_path_factory.mktemp("logged")
    before = os.getcwd()
    os.chdir(folder)
    try:
        opened, given = copied_store(folder), study()
        run, model, _ = log(opened, given)
        found = opened.call("get_run", run.run_id)
        yield Logged(opened, given, found, model, Path(found.info.artifact_uri))
    finally:
        os.chdir(before)


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> store.Store:
    monkeypatch.chdir(tmp_path)
    return copied_store(tmp_path)


def _log(opened: store.Store, given: Study) -> Any:
    with track.start(opened, given.name, "test run") as run, run.saving(given) as saved:
        run.log(given, saved, FIGURES, "<p>", "")
    return opened.call("get_run", run.run_id)


# --- the run


def test_the_run_is_finished_and_says_what_it_is(logged: Logged) -> None:
    tags = logged.run.data.tags
    assert logged.run.info.status == "FINISHED"
    assert tags["adresponse.status"] == "VALIDATED"
    assert tags["mlflow.source.name"] == "adresponse"
    assert tags["mlflow.user"]
    assert tags["adresponse.data_digest"] == logged.study.table.digest
    assert tags["adresponse.model_version"] == "1"


def test_the_note_has_decision_figures_formula_and_dictionary(logged: Logged) -> None:
    note = logged.run.data.tags["mlflow.note.content"]
    assert logged.study.linear is not None
    for part in ("VALIDATED", "3.194", logged.study.linear.formula, "TV marketing budget", "thousand dollars"):
        assert part in note


def test_the_experiment_opens_in_the_ui_as_model_training(logged: Logged) -> None:
    found = logged.store.call("get_experiment_by_name", logged.study.name)
    assert found.tags["mlflow.experimentKind"] == "custom_model_development"
    assert found.tags["mlflow.note.content"]


def test_the_dataset_carries_our_digest(logged: Logged) -> None:
    (data,) = logged.run.inputs.dataset_inputs
    assert data.dataset.name == "tvmarketing.csv"
    assert logged.study.table.digest.startswith(data.dataset.digest)
    assert {t.key: t.value for t in data.tags}["sha256"] == logged.study.table.digest
    assert json.loads(data.dataset.profile) == {
        "num_rows": 200, "num_elements": 400, "sha256": logged.study.table.digest,
    }  # fmt: skip
    columns = json.loads(data.dataset.schema)["mlflow_colspec"]
    assert [(c["name"], c["type"]) for c in columns] == [("TV", "double"), ("Sales", "double")]


def test_params_are_the_settings_the_choice_and_the_estimators_own(logged: Logged) -> None:
    params = logged.run.data.params
    assert params["seed"] == "42"
    assert params["chosen"] == "linear"
    assert params["estimator.linearregression__fit_intercept"] == "True"
    assert params["data_digest"] == logged.study.table.digest


@pytest.mark.parametrize(
    "name", ["mae", "mae_low", "mae_high", "cv_rmse", "r2", "coverage_90", "interval_width_90", "coef_TV", "fit_r2"]
)
def test_metrics(logged: Logged, name: str) -> None:
    assert logged.run.data.metrics[name] == pytest.approx(record.metrics(logged.study)[name], rel=1e-15)


def test_the_candidates_are_nested_runs(logged: Logged) -> None:
    found = logged.store.call(
        "search_runs", [logged.run.info.experiment_id], f"tags.mlflow.parentRunId = '{logged.run.info.run_id}'"
    )
    by_name = {r.info.run_name: r for r in found}
    assert set(by_name) == {row.name for row in logged.study.leaderboard.rows}
    for row in logged.study.leaderboard.rows:
        child = by_name[row.name]
        folds = logged.store.call("get_metric_history", child.info.run_id, "fold_rmse")
        assert child.info.status == "FINISHED"
        assert child.data.params == row.params
        assert child.data.metrics["rmse"] == row.rmse
        assert [(m.step, m.value) for m in sorted(folds, key=lambda m: m.step)] == list(enumerate(row.fold_rmse))
        assert row.verdict in child.data.tags["mlflow.note.content"]


# --- the files


def test_every_file_is_there_and_none_is_a_pickle(logged: Logged) -> None:
    names = {str(p.relative_to(logged.artifacts)) for p in logged.artifacts.rglob("*") if p.is_file()}
    jsons = ("profile", "evaluation", "leaderboard", "findings", "gate", "recommendation", "contract")
    tables = ("coefficients", "leaderboard", "numbers", "predictions")
    assert names == {
        "report.html", "settings.yaml", "rows.parquet", "figures/scatter_TV.svg",
        *(f"{n}.json" for n in jsons), *(f"tables/{n}.csv" for n in tables),
    }  # fmt: skip
    stored = [p for p in logged.artifacts.parents[1].rglob("*") if p.is_file()]
    assert not [p for p in stored if p.suffix in (".pkl", ".pickle", ".joblib")]
    assert not [p for p in stored if p.read_bytes().startswith(b"\x80")]  # how every pickle begins


def test_the_jsons_give_the_values_back(logged: Logged) -> None:
    assert logged.read("gate.json")["status"] == "VALIDATED"
    assert logged.read("contract.json") == logged.study.table.contract.to_dict()
    assert len(logged.read("evaluation.json")["predicted"]) == len(logged.study.test)
    assert logged.read("profile.json")["rows"] == 200


def test_the_tables_can_be_read(logged: Logged) -> None:
    rows = list(csv.DictReader(io.StringIO((logged.artifacts / "tables/predictions.csv").read_text())))
    assert float(rows[0]["predicted"]) == logged.study.evaluation.predicted[0].predicted
    rows = list(csv.DictReader(io.StringIO((logged.artifacts / "tables/leaderboard.csv").read_text())))
    assert rows[0]["params"] == "regressor=log"


def test_json_is_strict_and_csv_runs_nothing() -> None:
    assert json.loads(record.to_json({"a": float("nan"), "b": np.float64(2), "c": np.arange(2)})) == {
        "a": None, "b": 2.0, "c": [0, 1],
    }  # fmt: skip
    row = replace(study().leaderboard.rows[0], title="=HYPERLINK(1)")
    assert "'=HYPERLINK(1)" in record.to_csv([row])
    assert record.to_csv([]) == ""


# --- the model


def test_the_model_is_linked_to_its_run_its_metrics_and_its_data(logged: Logged) -> None:
    model = logged.store.call("get_logged_model", logged.model.model_id)
    assert model.status == "READY"
    assert model.source_run_id == logged.run.info.run_id
    assert {m.key: m.value for m in model.metrics}["rmse"] == logged.run.data.metrics["rmse"]
    assert {m.dataset_name for m in model.metrics} == {"tvmarketing.csv"}
    assert model.params == logged.run.data.params
    assert [o.model_id for o in logged.run.outputs.model_outputs] == [logged.model.model_id]


def test_the_model_file_says_what_it_needs(logged: Logged) -> None:
    with logged.store.current():
        info = mlflow.models.get_model_info(logged.model.uri)
        needed = Path(mlflow.pyfunc.get_model_dependencies(logged.model.uri)).read_text().split()
    assert [(c.name, c.type, c.required) for c in info.signature.inputs] == [("TV", DataType.double, True)]
    assert [c.type for c in info.signature.outputs] == [DataType.double]
    assert info.flavors["sklearn"]["serialization_format"] == "skops"
    assert info.metadata["adresponse"]["contract"] == logged.study.table.contract.to_dict()
    assert {n.partition("==")[0] for n in needed} == {"mlflow", "scikit-learn", "skops", "numpy", "pandas", "scipy"}
    assert all("==" in n for n in needed)


@pytest.mark.parametrize("load", ["pyfunc", "sklearn"])
@pytest.mark.parametrize("uri", ["models:/sales-response@champion", "models:/sales-response/1"])
def test_every_way_of_loading_answers_as_the_estimator(logged: Logged, load: str, uri: str) -> None:
    rows = logged.study.table.X
    with logged.store.current():
        answer = getattr(mlflow, load).load_model(uri).predict(rows)
    assert answer.dtype == np.float64
    np.testing.assert_array_equal(answer, logged.study.estimator.predict(rows))


def test_nothing_global_is_left_behind(logged: Logged) -> None:
    assert mlflow.active_run() is None
    assert "MLFLOW_TRACKING_URI" not in os.environ


def _doubled(X: Any) -> Any:
    return 2 * X


def test_a_model_with_strange_types_is_refused_and_the_run_has_failed(opened: store.Store) -> None:
    given = study()
    strange = make_pipeline(FunctionTransformer(_doubled), LinearRegression()).fit(given.table.X, given.table.y)
    with pytest.raises(ModelError, match="not trusted: test_track"):
        _log(opened, replace(given, estimator=strange))
    assert outcomes(opened, given.name) == [("FAILED", "")]


def test_a_forest_is_stored_too(opened: store.Store) -> None:
    given = study()
    forest = RandomForestRegressor(n_estimators=2, random_state=0).fit(given.table.X, given.table.y)
    run = _log(opened, replace(given, estimator=forest, linear=None))
    (made,) = run.outputs.model_outputs
    with opened.current():
        answer = mlflow.sklearn.load_model(f"models:/{made.model_id}").predict(given.table.X)
    np.testing.assert_array_equal(answer, forest.predict(given.table.X))


def test_a_model_that_answers_a_column_is_refused(opened: store.Store) -> None:
    given = study()
    wide = LinearRegression().fit(given.table.X, given.table.y.to_frame())
    with pytest.raises(ModelError, match=r"shape \(5, 1\)"):
        _log(opened, replace(given, estimator=wide))


@pytest.mark.parametrize(
    "given",
    [
        three_channels(),  # commas, markup, quotes and slashes in the names
        without_line(without_mape(without_test(study()))),  # nothing that can be left out is there
        replace(study(), settings={f"s{i}": i for i in range(250)}, name="many-settings"),  # beyond one batch
    ],
    ids=["hostile names", "little known", "many params"],
)
def test_studies_that_are_not_as_usual(opened: store.Store, given: Study) -> None:
    run = _log(opened, given)
    assert run.info.status == "FINISHED"
    assert run.data.params == record.params(given)
    assert run.data.metrics == pytest.approx(record.metrics(given))


# --- ends


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_run_that_breaks_is_failed_and_raises_on(opened: store.Store, error: type[BaseException]) -> None:
    with pytest.raises(error), track.start(opened, "broken", "half-way"):
        raise error
    assert outcomes(opened, "broken") == [("FAILED", "")]


def test_a_model_whose_files_could_not_be_written_is_failed(opened: store.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(opened.client, "log_model_artifacts", refuse)
    with pytest.raises(StoreError, match="disk is full"):
        _log(opened, study())
    experiment = opened.call("get_experiment_by_name", "sales-response")
    assert [m.status for m in opened.call("search_logged_models", [experiment.experiment_id])] == ["FAILED"]


@pytest.mark.skipif(not hasattr(signal, "pause"), reason="missing part: POSIX signals")
def test_sigterm_ends_the_run_as_failed(opened: store.Store) -> None:
    child, line = forked.spoken_to(hang)
    assert line.recv() == "started"
    child.terminate()
    child.join(30)
    assert child.exitcode == 128 + signal.SIGTERM
    assert outcomes(opened, "hanging") == [("FAILED", "")]
    assert registry.versions(opened, "hanging") == []


def test_sigterm_is_given_back(opened: store.Store) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with track.start(opened, "polite", "run"):
        pass
    assert signal.getsignal(signal.SIGTERM) is before


# --- experiments and lists


def test_a_deleted_experiment_is_restored(opened: store.Store) -> None:
    experiment_id = opened.call("create_experiment", "old")
    opened.call("delete_experiment", experiment_id)
    with track.start(opened, "old", "again") as run:
        assert run.experiment_id == experiment_id
    found = opened.call("get_experiment", experiment_id)
    assert found.lifecycle_stage == "active"
    assert found.tags["mlflow.experimentKind"] == "custom_model_development"


def test_an_experiment_that_another_process_makes_meanwhile_is_taken(
    opened: store.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment_id = opened.call("create_experiment", "shared")
    real, missing = opened.client.get_experiment_by_name, iter([None])
    monkeypatch.setattr(opened.client, "get_experiment_by_name", lambda name: next(missing, real(name)))
    with track.start(opened, "shared", "second") as run:
        assert run.experiment_id == experiment_id


def test_a_run_that_a_project_has_started_is_taken(opened: store.Store) -> None:
    started = opened.call("create_run", "0", tags={"mlflow.project.entryPoint": "run"})
    with track.start(opened, "sales-response", "ours", started.info.run_id) as run:
        assert (run.run_id, run.experiment_id) == (started.info.run_id, "0")
    found = opened.call("get_run", started.info.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.tags["adresponse.kind"] == "study"


def test_a_run_that_is_not_there_is_refused(opened: store.Store) -> None:
    with pytest.raises(StoreError, match="nosuchrun"), track.start(opened, "sales-response", "ours", "nosuchrun"):
        pass
