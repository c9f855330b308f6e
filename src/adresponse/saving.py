"""How is a fitted model stored, so that MLflow loads it anywhere and nothing in it is a pickle?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from adresponse import __version__
from adresponse.errors import ModelError
from adresponse.formula import Formula
from adresponse.models import formula_of
from adresponse.planning import prospect as prospects
from adresponse.pyfunc import ResponseModel
from adresponse.rows import Reads
from adresponse.store import quietly
from adresponse.stored import CODE, FORMULA, seal, ship_code
from adresponse.study import Study
from adresponse.verification import evaluation_rows, refuse_disagreement, write_replay

__all__ = ["Saved", "save"]

NEEDED = ("mlflow", "scikit-learn", "skops", "numpy", "pandas", "scipy")  # to load the model and predict
TRUSTED = ("sklearn", "numpy", "scipy", "adresponse")
EXAMPLE_ROWS = 5


@dataclass(frozen=True)
class Saved:
    """A model in a local folder: MLflow's id for it, and the SHA-256 of its manifest."""

    model_id: str
    folder: Path
    digest: str


def save(study: Study, model: Any, folder: Path, run_id: str, verbose: bool = False) -> Saved:
    """Write the study's model with all that it takes to answer, verify and load it anywhere, and seal the folder.

    It is written as ``mlflow.sklearn.log_model`` would, but without its trial start: ``log_model`` takes MLflow's
    global store, and serves the example once to see it work, which takes a second. Here the example is answered in
    process, by the formula and by the pipeline, which have to agree.

    Parameters
    ----------
    study : Study
        The finished study.
    model : mlflow.entities.LoggedModel
        The logged model that was created for it.
    folder : Path
        Where to; must not be there yet.
    run_id : str
        The run that it comes from.
    verbose : bool
        Let MLflow speak for itself.
    """
    modules = tuple(str(path).partition(".")[0] for path in study.settings.get("challengers", ()))
    formula = formula_of(
        study.estimator, study.table.frame.iloc[study.train], study.table.contract, study.spread, _about(study, model), modules
    )
    example = _example(study, formula)
    _save_pipeline(study, model, formula, example, folder, run_id, (*TRUSTED, *modules), verbose)
    (folder / FORMULA).write_text(formula.to_json(), encoding="utf-8")
    if (prospect := study.prospect(formula)) is not None:
        (folder / prospects.FILE).write_text(prospect.to_json(), encoding="utf-8")
    responder = ResponseModel(formula, folder)
    rows = evaluation_rows(study.evaluation, study.estimator, study.table, study.train, formula)
    refuse_disagreement(responder, study.estimator, rows.X)
    rows.write(folder)
    write_replay(folder, responder, example)
    _let_mlflow_ask(folder, ship_code(folder))
    return Saved(model.model_id, folder, seal(folder))


def _example(study: Study, formula: Formula) -> Any:
    """A few rows as a caller would send them: the first, or the last where there is a history that leads up to them."""
    rows = study.table.frame[list(formula.inputs)]
    return (rows.iloc[-EXAMPLE_ROWS:] if formula.together else rows.iloc[:EXAMPLE_ROWS]).reset_index(drop=True)


def _about(study: Study, model: Any) -> dict[str, str]:
    return {
        "name": study.name,
        "model_id": model.model_id,
        "title": _title(study.estimator),
        "package": __version__,
        "data_digest": study.table.digest,
    }


def _let_mlflow_ask(folder: Path, loader: str) -> None:
    """Name our loader in ``MLmodel``, in the place of scikit-learn's, which knows no intervals."""
    from mlflow.models import Model
    from mlflow.pyfunc import add_to_model

    path = folder / "MLmodel"
    model = Model.load(str(path))
    env = model.flavors["python_function"]["env"]
    add_to_model(model, loader, code=CODE, conda_env=env["conda"], python_env=env["virtualenv"])
    model.save(str(path))


def _save_pipeline(
    study: Study,
    model: Any,
    formula: Formula,
    example: Any,
    folder: Path,
    run_id: str,
    trusted: tuple[str, ...],
    verbose: bool,
) -> None:
    contract, estimator = study.table.contract, study.estimator
    with quietly(verbose), _unchecked_pins():
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
                    run_id=run_id,
                    model_id=model.model_id,
                ),
                serialization_format="skops",
                skops_trusted_types=_trusted_types(estimator, trusted),
                signature=_signature(formula.reads),
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


def _signature(reads: Reads) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    kinds = {"number": DataType.double, "date": DataType.datetime, "market": DataType.string}
    inputs = Schema([ColSpec(kinds[reads.kind(name)], name, required=True) for name in reads.names])
    interval = ParamSpec("interval", DataType.double, default=None)
    params = ParamSchema([interval, ParamSpec("contributions", DataType.boolean, default=False)])
    return ModelSignature(inputs=inputs, outputs=Schema([ColSpec(DataType.double)]), params=params)


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
