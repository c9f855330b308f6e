"""Is a stored model whole, readable, free of pickles, and refused where it is anything else?"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from adresponse.errors import ModelError, TamperedModelError
from adresponse.formula import Formula
from adresponse.pyfunc import ResponseModel, load_pipeline
from adresponse.stored import open_stored, seal
from adresponse.verification import EvaluationRows
from stored_example import curved, one_channel, stored


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return stored(one_channel(), tmp_path)


def test_what_was_sealed_opens(folder: Path) -> None:
    found = open_stored(folder)
    assert found.formula.contract.channels == ("TV",)
    assert found.formula.ranges == {"TV": (0.7, 296.4)}
    assert found.model_id == "m-" + "0" * 32
    assert found.scores["scores"]["mae"] == pytest.approx(2.444420003751042)  # the study's MAE of 2.44
    assert open_stored(folder, found.digest) == found


def test_the_replay_is_what_the_model_answers(folder: Path) -> None:
    found = open_stored(folder)
    split = found.replay["request"]["dataframe_split"]
    columns = [np.array(c) for c in zip(*split["data"], strict=True)]
    assert found.formula.answer(columns)["prediction"].tolist() == found.replay["predictions"]


def test_the_rows_to_verify_are_those_held_out(folder: Path) -> None:
    rows, study = EvaluationRows.read(folder), one_channel()
    assert rows.basis == "held-out"
    assert sorted(rows.X.index) == list(range(40))
    assert sorted(rows.X["TV"]) == sorted(study.table.X["TV"].iloc[study.test])
    assert sorted(rows.observed) == sorted(study.table.y.iloc[study.test])


def _change(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8") and None


def _resealed_pickle(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(pickle.dumps({"a": 1}))
    seal(folder)


def _edit_coefficient(folder: Path) -> None:
    path = folder / "formula.json"
    path.write_text(path.read_text().replace('"intercept": 7.1', '"intercept": 8.1'))


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (_edit_coefficient, "formula.json was changed after the model was sealed"),
        (_change("MLmodel", "flavors: {}"), "MLmodel was changed"),  # it names the code that MLflow runs
        (lambda f: next(f.glob("code/*/pyfunc.py")).write_text("1"), "pyfunc.py was changed"),
        (lambda f: (f / "model.skops").unlink(), "model.skops is missing"),
        (_change("more.txt", "x"), "more.txt was added"),
        (_change("model.pkl", "x"), "model.pkl in the model 'model' is a pickle, which runs code when it is loaded"),
        (_resealed_pickle, "weights.bin in the model 'model' is a pickle"),  # known by its first bytes, though sealed
        (_change("manifest.json", "{}"), "manifest.json cannot be read"),
    ],
)
def test_a_model_that_was_tampered_with_is_refused(folder: Path, tamper: Callable[[Path], object], said: str) -> None:
    tamper(folder)
    with pytest.raises(TamperedModelError) as refusal:
        open_stored(folder)
    assert said in str(refusal.value)


def test_a_pickle_in_a_copy_is_told_of_the_model_that_was_copied(folder: Path) -> None:
    (folder / "model.pkl").write_text("x")
    with pytest.raises(TamperedModelError, match=r"in the model 'models:/sales-response@champion' is a pickle"):
        open_stored(folder, called="models:/sales-response@champion")


def test_a_model_that_was_sealed_anew_is_not_the_registered_one(folder: Path) -> None:
    registered = open_stored(folder).digest
    _edit_coefficient(folder)
    seal(folder)
    assert open_stored(folder).formula.intercept == pytest.approx(8.152209244186763)  # by itself it is whole
    with pytest.raises(TamperedModelError, match="is not the one that was registered"):
        open_stored(folder, registered)


def test_what_the_registry_adds_to_a_download_is_no_tampering(folder: Path) -> None:
    (folder / "registered_model_meta").write_text("model_name: x\n")
    open_stored(folder)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no model of adresponse: there is no manifest\.json"):
        open_stored(tmp_path)


def test_a_model_without_closed_formula_needs_its_environment(tmp_path: Path) -> None:
    folder = stored(curved(), tmp_path)
    assert not open_stored(folder).formula.closed
    needs = folder / "requirements.txt"
    needs.write_text("\n".join("scikit-learn==0.9.0" if n.startswith("scikit") else n for n in needs.read_text().split()))
    seal(folder)
    with pytest.raises(ModelError, match=r"needs scikit-learn 0\.9\.0, and 1\.\S+ is installed here"):
        open_stored(folder)


def test_a_pipeline_with_types_that_nobody_named_is_not_loaded(tmp_path: Path) -> None:
    folder = stored(curved(), tmp_path)
    skops.io.dump(make_pipeline(FunctionTransformer(os.getcwd)), folder / "model.skops")
    with pytest.raises(TamperedModelError, match=r"not trusted, and is not loaded: posix\.getcwd"):
        load_pipeline(folder, Formula.from_json((folder / "formula.json").read_bytes()))


def test_a_model_without_closed_formula_answers_as_its_pipeline(tmp_path: Path) -> None:
    study = curved()
    found = open_stored(stored(study, tmp_path))
    responder = ResponseModel(found.formula, found.folder)
    answers = responder.predict(study.table.X, params={"interval": 0.9})
    np.testing.assert_array_equal(answers["prediction"], study.estimator.predict(study.table.X))
    low, high = study.spread.interval(answers["prediction"].to_numpy(), 0.9)
    np.testing.assert_array_equal(answers[["lower", "upper"]], np.column_stack([low, high]))


def test_opening_loads_neither_mlflow_nor_pandas(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from adresponse.stored import open_stored\n"
        f"open_stored(Path({str(folder)!r}))\n"
        "print(sorted({'mlflow', 'pandas', 'sklearn', 'scipy', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_manifest_covers_every_file(folder: Path) -> None:
    sealed = set(json.loads((folder / "manifest.json").read_text())["sha256"])
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert sealed == present - {"manifest.json"}
