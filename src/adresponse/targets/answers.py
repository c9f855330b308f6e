"""What does an endpoint of a cloud answer? Predictions as MLflow's scoring protocol gives them, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adresponse.errors import DifferenceError

if TYPE_CHECKING:
    from adresponse.verification import Answered

__all__ = ["read_answers"]


def read_answers(found: Any, version: str = "") -> Answered:
    """The answers of a body: ``{"predictions": [...]}`` or the list alone.

    Parameters
    ----------
    found : object
        Each row is a number, or an object with ``prediction``, ``lower`` and ``upper``.
    version : str
        The version that answered; empty where the endpoint does not say it.

    Raises
    ------
    DifferenceError
        If it has another form.
    """
    import numpy as np

    from adresponse.verification import Answered

    rows = found["predictions"] if isinstance(found, Mapping) and "predictions" in found else found
    try:
        if not isinstance(rows, list):
            raise TypeError(f"it is no list but {type(rows).__name__}")
        if rows and isinstance(rows[0], Mapping):
            prediction, lower, upper = (
                np.array([row[k] for row in rows], dtype=float) for k in ("prediction", "lower", "upper")
            )
            return Answered(prediction, lower, upper, version)
        return Answered(np.array(rows, dtype=float).reshape(len(rows)), version=version)
    except (TypeError, ValueError, KeyError) as error:
        raise DifferenceError(
            f"The endpoint's answer is none of a response model ({type(error).__name__}: {error})."
        ) from error
