"""How does a model without a closed formula answer? In a process of its own, which can be stopped.

The child loads scikit-learn; the server does not. They speak over the child's input and output, in frames of float64::

    request   uint32 columns, uint32 rows, then the columns one after another
    answer    "A", uint32 rows, then the predictions
    refusal   "R", uint32 bytes, then a sentence in UTF-8

All integers are little-endian. The child says an empty answer once it is ready, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from adresponse.errors import AdresponseError, ModelError
from adresponse.rows import Vector

__all__ = ["PipelineChild"]

START_SECONDS = 60.0
QUESTION = struct.Struct("<II")
ANSWER = struct.Struct("<cI")
FLOAT = np.dtype("<f8")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # few rows a request: threads cost more than they bring


class PipelineChild:
    """A stored pipeline in a child process; one question at a time.

    Parameters
    ----------
    folder : Path
        The stored model's folder. It has to stay there: after a timeout the pipeline is loaded anew.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._starting: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._retired = False

    @property
    def pid(self) -> int | None:
        """The child's process id, while it runs."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Load the pipeline, unless it is loaded or on its way.

        Raises
        ------
        ModelError
            If it cannot be loaded.
        """
        if self._process is not None and self._process.returncode is not None:
            self._process = None
        if self._process is None or self._starting is not None:
            if self._starting is None:
                self._starting = asyncio.create_task(self._load())
            await asyncio.shield(self._starting)

    async def _load(self) -> None:
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "adresponse.serving.pipeline", str(self.folder)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**ONE_THREAD, **_environment()},
                start_new_session=True,
            )
            async with asyncio.timeout(START_SECONDS):
                await self._hear()
        except BaseException as error:
            self._end()
            if isinstance(error, TimeoutError):
                raise ModelError(f"The pipeline was not loaded within {START_SECONDS:g} seconds.") from None
            raise
        finally:
            self._starting = None

    async def ask(self, columns: list[Vector], seconds: float) -> Vector:
        """Predictions for checked columns, each of shape (n_rows,), in the target's unit.

        Raises
        ------
        TimeoutError
            After ``seconds``, and once the work is stopped.
        ModelError
            If the pipeline cannot be loaded, ends, or refuses.
        """
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds), self._turn:
                await self.start()
                return await self._answer(columns)
        finally:
            self._waiting -= 1
            if self._retired and not self._waiting:
                self.close()

    async def _answer(self, columns: Sequence[Vector]) -> Vector:
        process = self._process
        if process is None or process.stdin is None:
            raise ModelError("The pipeline's process ended; ask again.")
        try:
            process.stdin.write(QUESTION.pack(len(columns), len(columns[0])))
            for column in columns:
                process.stdin.write(np.ascontiguousarray(column, dtype=FLOAT).tobytes())
            await process.stdin.drain()
            return await self._hear()
        except (ConnectionError, RuntimeError):
            self._end()
            raise ModelError("The pipeline's process ended; ask again.") from None
        except asyncio.CancelledError:  # nobody waits for this answer any more, and the next must not get it
            self._end()
            if not self._retired:
                self._starting = asyncio.create_task(self._load())
                self._starting.add_done_callback(_heard)
            raise

    async def _hear(self) -> Vector:
        process = self._process
        if process is None or process.stdout is None:
            raise ModelError("The pipeline's process ended; ask again.")
        try:
            kind, size = ANSWER.unpack(await process.stdout.readexactly(ANSWER.size))
            body = await process.stdout.readexactly(size * FLOAT.itemsize if kind == b"A" else size)
        except asyncio.IncompleteReadError:
            self._end()
            raise ModelError("The pipeline's process ended without an answer.") from None
        if kind != b"A":
            raise ModelError(body.decode("utf-8", "replace"))
        return np.frombuffer(body, dtype=FLOAT)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    def retire(self) -> None:
        """End the process once what it was asked is answered."""
        self._retired = True
        if not self._waiting:
            self.close()

    async def closed(self) -> None:
        """End the process, and wait until it is gone."""
        process = self._process
        self.close()
        if process is not None:
            await process.wait()

    def close(self) -> None:
        """End the process now."""
        if self._starting is not None:
            self._starting.cancel()
        self._end()


def _heard(task: asyncio.Task[None]) -> None:
    """A failed start is told to the one who asks next; nobody waits for this task."""
    if not task.cancelled():
        task.exception()


def _environment() -> dict[str, str]:
    """This process's environment, with the folder of this package on the child's path."""
    package = str(Path(__file__).parents[2])
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([package, inherited] if inherited else [package])}


# --- in the child


def main(arguments: Sequence[str]) -> int:
    """``python -m adresponse.serving.pipeline FOLDER``: answer until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        model = _loaded(Path(arguments[0]))
    except Exception as error:
        _refuse(answers, error)
        return 2
    _say(answers, b"A", 0, b"")
    asked: queue.SimpleQueue[list[Vector]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    while True:
        columns = asked.get()
        try:
            found = np.ascontiguousarray(model(columns), dtype=FLOAT)
            _say(answers, b"A", len(found), found.tobytes())
        except Exception as error:
            _refuse(answers, error)


def _loaded(folder: Path) -> Callable[[list[Vector]], Vector]:
    """A function of checked columns that asks the stored pipeline."""
    import pandas as pd

    from adresponse.formula import Formula
    from adresponse.pyfunc import FORMULA, load_pipeline

    formula = Formula.from_json((folder / FORMULA).read_bytes())
    pipeline = load_pipeline(folder, formula)

    def predict(columns: list[Vector]) -> Vector:
        rows = pd.DataFrame(dict(zip(formula.contract.features, columns, strict=True)))
        return np.asarray(pipeline.predict(rows), dtype=np.float64).reshape(len(rows))

    return predict


def _listen(asked: queue.SimpleQueue[list[Vector]]) -> None:
    """Take questions until the input ends; then end the process, whatever it is at."""
    while columns := _question(sys.stdin.buffer):
        asked.put(columns)
    os._exit(0)


def _question(asked: BinaryIO) -> list[Vector]:
    head = asked.read(QUESTION.size)
    if len(head) < QUESTION.size:
        return []
    columns, rows = QUESTION.unpack(head)
    body = asked.read(columns * rows * FLOAT.itemsize)
    if len(body) < columns * rows * FLOAT.itemsize:
        return []
    return list(np.frombuffer(body, dtype=FLOAT).reshape(columns, rows))


def _refuse(answers: BinaryIO, error: Exception) -> None:
    said = str(error) if isinstance(error, AdresponseError) else f"The pipeline failed ({type(error).__name__}: {error})."
    text = " ".join(said.split()).encode()
    _say(answers, b"R", len(text), text)


def _say(answers: BinaryIO, kind: bytes, size: int, body: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        answers.write(ANSWER.pack(kind, size) + body)
        answers.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
