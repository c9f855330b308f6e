"""Do MLflow's own ways of using a version stay open, and give the same answers and the same refusals?"""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

import adresponse
from adresponse import store
from adresponse.serving import launch
from adresponse.stored import open_stored
from adresponse.verification import EvaluationRows
from stored_example import curved, one_channel, stored

URI = "models:/sales-response@champion"
ROWS = pd.DataFrame({"TV": [100.0, 230.1]})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, made_store: Path) -> Path:
    """A folder in which the built-in table was run, with blanks in its path."""
    folder = tmp_path_factory.mktemp("made") / "my tables"
    folder.mkdir()
    shutil.copy(made_store, folder / "mlflow.db")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    adresponse.run(verify=False, repeats=1)
    patch.undo()
    return folder


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    mlflow.set_tracking_uri(store.resolve(None, made))
    return made


def expected(level: float | None = None) -> Any:
    if level is None:
        return one_channel().estimator.predict(ROWS)
    return pd.DataFrame(dict(zip(["prediction", "lower", "upper"], one_channel().predict_interval(ROWS, level), strict=True)))


def mlflow_says(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "MLFLOW_TRACKING_URI": store.resolve(None, folder)}
    return subprocess.run(
        [sys.executable, "-m", "mlflow", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


# --- in process


def test_a_pyfunc_answers_and_gives_intervals(here: Path) -> None:
    model = mlflow.pyfunc.load_model(URI)
    np.testing.assert_array_equal(model.predict(ROWS), expected())
    pd.testing.assert_frame_equal(model.predict(ROWS, params={"interval": 0.9}), expected(0.9))


@pytest.mark.parametrize(
    ("rows", "params", "said"),
    [
        ({"TV": [100.0, -3.0]}, None, "Column 'TV', row 2: -3 is negative, and spend is 0 or more."),
        ({"TV": [100.0, None]}, None, "Column 'TV', row 2: the value is missing; give a number."),
        ({"TV": [np.inf]}, None, "Column 'TV', row 1: the value is not finite"),
        ({"TV": [1.0]}, {"interval": 1.5}, "interval=1.5 is no share between 0 and 1"),
        ({"TV": [1.0]}, {"interval": 0.9999}, "higher than the 160 rows fitted can tell; ask for at most 0.993."),
    ],
)
def test_a_pyfunc_refuses_in_our_words(here: Path, rows: dict[str, Any], params: Any, said: str) -> None:
    with pytest.raises(MlflowException) as refusal:
        mlflow.pyfunc.load_model(URI).predict(pd.DataFrame(rows), params=params)
    assert said in refusal.value.message
    assert refusal.value.error_code == "INVALID_PARAMETER_VALUE"


def test_whole_numbers_are_refused_by_mlflow_itself_and_taken_by_us(here: Path) -> None:
    """Its check of a ``double`` column comes before the model, and lets no int64 pass; see docs/explanation/house.md."""
    whole = ROWS.round().astype("int64")
    with pytest.raises(MlflowException, match="Can not safely convert int64 to float64"):
        mlflow.pyfunc.load_model(URI).predict(whole)
    np.testing.assert_array_equal(adresponse.load(URI).predict(whole), adresponse.load(URI).predict(whole.astype(float)))


def test_the_pipeline_is_there_for_scikit_learn(here: Path) -> None:
    np.testing.assert_array_equal(mlflow.sklearn.load_model(URI).predict(ROWS), expected())


def test_the_formula_is_an_artifact_that_a_person_can_open(here: Path) -> None:
    client = mlflow.MlflowClient()
    version = client.get_model_version_by_alias("sales-response", "champion")
    files = [
        f.path
        for f in client.list_logged_model_artifacts(
            client.get_logged_model(version.model_id or version.source.rpartition("/")[2]).model_id
        )
    ]
    assert {"MLmodel", "formula.json", "manifest.json", "evaluation_rows.parquet", "code"} <= set(files)
    assert not [f for f in files if f.endswith(".pkl")]


def test_the_signature_states_columns_and_params(here: Path) -> None:
    signature = mlflow.models.get_model_info(URI).signature
    assert signature.inputs.to_dict() == [{"type": "double", "name": "TV", "required": True}]
    assert signature.params.to_dict() == [
        {"name": "interval", "default": None, "shape": None, "type": "double"},
        {"name": "contributions", "default": False, "shape": None, "type": "boolean"},
    ]


WITHOUT_US = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "adresponse":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Without())
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = pd.DataFrame(eval(sys.argv[2]))
print(repr(model.predict(rows).tolist()), repr(model.predict(rows, params={"interval": 0.9}).to_numpy().tolist()))
print(sorted(m for m in sys.modules if m.startswith("adresponse") and "." not in m))
"""


@pytest.mark.parametrize("study", [one_channel, curved], ids=["formula", "pipeline"])
def test_a_version_is_loaded_where_adresponse_is_not_installed(tmp_path: Path, study: Any) -> None:
    made = study()
    rows = made.table.X.iloc[:3]
    given = [sys.executable, "-c", WITHOUT_US, str(stored(made, tmp_path)), repr(rows.to_dict("list"))]
    done = subprocess.run(given, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers, modules = done.stdout.splitlines()
    predicted, low, high = made.predict_interval(rows, 0.9)
    assert answers == f"{predicted.tolist()!r} {np.column_stack([predicted, low, high]).tolist()!r}"
    assert modules.startswith("['adresponse_")


# --- as commands


def test_mlflow_models_predict(here: Path, tmp_path: Path) -> None:
    ROWS.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "rows.json").write_text(json.dumps({"inputs": {"TV": [100.0, 230.1]}, "params": {"interval": 0.9}}))
    for kind, level in (("csv", None), ("json", 0.9)):
        out = tmp_path / f"{kind}.out"
        given = ["-m", URI, "-i", str(tmp_path / f"rows.{kind}"), "-t", kind, "-o", str(out), "--env-manager", "local"]
        done = mlflow_says(here, "models", "predict", *given)
        assert done.returncode == 0, done.stderr
        answers = json.loads(out.read_text())["predictions"]
        if level is None:
            assert answers == expected().tolist()
        else:
            assert answers == expected(level).to_dict("records")


def _compiled_elsewhere(source: Path, text: str) -> None:
    """Lay bytecode of another text beside a source, which Python takes without a look at the source."""
    other = source.with_name("other.py")
    other.write_text(text, encoding="utf-8")
    cached = importlib.util.cache_from_source(str(source))
    py_compile.compile(str(other), cached, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    other.unlink()


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What foreign bytecode writes when it is run."""
    return tmp_path_factory.mktemp("trace") / "ran"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, trace: Path) -> Iterator[str]:
    """``mlflow models serve`` as a process of its own, on a model beside whose code somebody laid bytecode."""
    folder = stored(one_channel(), tmp_path_factory.mktemp("served"))
    (source,) = folder.glob("code/*/pyfunc.py")
    text = source.read_text(encoding="utf-8")
    _compiled_elsewhere(source, f"{text}\nimport pathlib\npathlib.Path({str(trace)!r}).touch()\n")
    open_stored(folder)  # no manifest covers bytecode: MLflow itself leaves some
    with launch.background(folder, engine="mlflow") as endpoint:
        yield endpoint.url


def ask(url: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/invocations", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_mlflow_models_serve(served: str) -> None:
    split = {"dataframe_split": {"columns": ["TV"], "data": [[100], [230.1]]}}
    assert ask(served, split) == (200, {"predictions": expected().tolist()})
    status, answer = ask(served, {**split, "params": {"interval": 0.9}})
    assert (status, answer["predictions"]) == (200, expected(0.9).to_dict("records"))


def test_foreign_bytecode_is_not_run(served: str, trace: Path) -> None:
    assert served
    assert not trace.exists()


def test_mlflow_models_serve_refuses_in_our_words(served: str) -> None:
    status, answer = ask(served, {"dataframe_split": {"columns": ["TV"], "data": [[-3]]}})
    assert status == 400
    assert "Column 'TV', row 1: -3 is negative, and spend is 0 or more." in answer["message"]


def test_mlflows_server_is_verified_too(here: Path, served: str) -> None:
    found = adresponse.verify(URI, url=served).verification
    assert found.passed
    assert found.checks[0].found == "not said by this deployment"


def test_mlflow_models_generate_dockerfile(here: Path, tmp_path: Path) -> None:
    given = ["-m", URI, "--output-directory", str(tmp_path / "docker"), "--env-manager", "local"]
    done = mlflow_says(here, "models", "generate-dockerfile", *given)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "docker" / "Dockerfile").exists()
    assert EvaluationRows.read(next((tmp_path / "docker").rglob("scores.json")).parent).scores["mae"] > 0
