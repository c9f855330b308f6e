"""How does MLflow ask a stored model? By its formula, or by the pipeline beside it where there is none.

MLflow calls ``_load_pyfunc`` from every way that it has: in process, ``mlflow models serve`` and ``predict``, Spark,
images. So ``params={"interval": 0.9, "contributions": True}`` gives both in all of them, and rows are refused in the same
words.
This file goes with every stored model (see ``stored.py``): it runs where adresponse is not installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import AdresponseError, ModelError, RowsError, TamperedModelError
from .formula import Formula
from .rows import Vector, as_switch, check

__all__ = ["FORMULA", "PIPELINE", "TRUSTED", "ResponseModel", "load_pipeline"]

FORMULA = "formula.json"
PIPELINE = "model.skops"
TRUSTED = ("sklearn", "numpy", "scipy")  # modules whose types a stored pipeline may hold


class ResponseModel:
    """A stored model that is asked in process.

    Parameters
    ----------
    formula : Formula
        The model in numbers.
    folder : Path
        Where it is stored; read for the pipeline of a model without closed form, when it is first asked.
    pipeline : object, optional
        That pipeline, where it was loaded already.
    """

    def __init__(self, formula: Formula, folder: Path, pipeline: Any = None) -> None:
        self.formula = formula
        self.folder = folder
        self._pipeline = pipeline

    def answer(self, columns: list[Vector], level: object = None, contributions: bool = False) -> dict[str, Vector]:
        """``prediction`` for each row and what else is asked for; see ``Formula.answer``."""
        return self.formula.answer(columns, level, self._predicted(columns), contributions)

    def figures(self, columns: list[Vector], level: object = None, contributions: bool = False) -> dict[str, Vector]:
        """The same, where an answer that no double can hold is left as it is; see ``Formula.figures``."""
        return self.formula.figures(columns, level, self._predicted(columns), contributions)

    def _predicted(self, columns: list[Vector]) -> Vector | None:
        """What the stored pipeline predicts, where the formula does not."""
        if self.formula.closed:
            return None
        import numpy as np
        import pandas as pd

        if self._pipeline is None:
            self._pipeline = load_pipeline(self.folder, self.formula)
        rows = pd.DataFrame(dict(zip(self.formula.contract.features, columns, strict=True)))
        return np.asarray(self._pipeline.predict(rows), dtype=np.float64).reshape(len(rows))

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Predicted sales, an array; where params ask for more, a frame with a column ``prediction`` and the others.

        Parameters
        ----------
        model_input : DataFrame, mapping of str to array-like, or list of mappings
            The columns that the model reads; further columns are not read. Where spend is carried from one period to the next,
            rows asked together are looked up first, then what the model keeps.
        params : dict, optional
            ``interval``: share of new rows that the interval should hold, between 0 and 1; adds ``lower`` and ``upper``.
            ``contributions``: whether to add ``base``, the sales at no spend, and ``contribution_CHANNEL`` for each channel.

        Raises
        ------
        MlflowException
            With code ``INVALID_PARAMETER_VALUE`` and a sentence, where rows or params break the contract.
        """
        import pandas as pd
        from mlflow.exceptions import MlflowException

        asked = params or {}
        try:
            frame = model_input if isinstance(model_input, pd.DataFrame) else pd.DataFrame(model_input)
            given = {name: frame[name] for name in self.formula.inputs if name in frame}
            columns = check(self.formula.reads, given)
            answers = self.answer(columns, asked.get("interval"), as_switch(asked.get("contributions")))
        except RowsError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        except AdresponseError as error:
            raise MlflowException(str(error)) from error
        return answers["prediction"] if len(answers) == 1 else pd.DataFrame(answers)


def load_pipeline(folder: Path, formula: Formula) -> Any:
    """The scikit-learn pipeline of a stored model, by skops; no type beyond the trusted modules is loaded.

    Raises
    ------
    TamperedModelError
        If the file holds other types.
    ModelError
        If it cannot be loaded here.
    """
    import skops.io

    path = folder / PIPELINE
    try:
        types = skops.io.get_untrusted_types(file=path)
        strange = [t for t in types if t.partition(".")[0] not in (*TRUSTED, *formula.modules)]
        if strange:
            listed = ", ".join(strange[:5])
            raise TamperedModelError(f"{PIPELINE} holds types that are not trusted, and is not loaded: {listed}.")
        return skops.io.load(path, trusted=types)
    except AdresponseError:
        raise
    except Exception as error:
        raise ModelError(
            f"{PIPELINE} cannot be loaded here ({type(error).__name__}: {error}); install what its requirements.txt names."
        ) from error


def _load_pyfunc(path: str) -> ResponseModel:
    folder = Path(path)
    return ResponseModel(Formula.from_json((folder / FORMULA).read_bytes()), folder)
