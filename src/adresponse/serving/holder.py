"""Which model answers now? One value, swapped at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from adresponse.rows import Vector
from adresponse.stored import Stored

__all__ = ["AskPipeline", "Holder", "Served"]

AskPipeline = Callable[[list[Vector], float], Awaitable[Vector]]
"""Checked columns, seconds it may take -> predictions; raises TimeoutError once it has stopped the work."""


@dataclass(frozen=True)
class Served:
    """A model that answers.

    Parameters
    ----------
    stored : Stored
        What was opened and found whole.
    version : str
        What ``X-Model-Version`` says: the registered version, or MLflow's id of the model where it has none.
    name : str
        Name of the registered model; empty for a folder.
    ask : AskPipeline, optional
        Asks the stored pipeline, for a model without closed formula.
    """

    stored: Stored
    version: str
    name: str = ""
    ask: AskPipeline | None = None


@dataclass
class Holder:
    """Holds the model that answers. A request reads ``current`` once; a swap assigns it once.

    ``ready`` is set after the warm-up; ``draining`` once the server is to end; ``trouble`` says why the last swap was
    refused, and is empty after one that succeeded; ``swaps`` counts those.
    """

    current: Served
    ready: bool = False
    draining: bool = False
    trouble: str = ""
    swaps: int = 0
