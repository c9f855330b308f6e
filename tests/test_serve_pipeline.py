"""Does a pipeline in a process of its own answer, refuse in sentences, and really stop?"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop

from adresponse.errors import ModelError
from adresponse.serving.pipeline import PipelineChild
from served_example import alive, environment, slow_model, until

Act = Callable[[PipelineChild], Awaitable[Any]]


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return slow_model(tmp_path_factory.mktemp("models") / "slow")


@pytest.fixture(autouse=True)
def _its_types_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])


def with_child(folder: Path, act: Act) -> Any:
    """What ``act`` gives for a child that is ended afterwards."""

    async def run() -> Any:
        child = PipelineChild(folder)
        try:
            return await act(child)
        finally:
            await child.closed()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the server has it
        return runner.run(run())


def spend(*values: float) -> list[Any]:
    return [np.array(values)]


def test_it_answers_many_at_once_each_its_own(slow: Path) -> None:
    async def act(child: PipelineChild) -> list[list[float]]:
        found = await asyncio.gather(*(child.ask(spend(i, i + 0.5), 20) for i in range(20)))
        return [f.tolist() for f in found]

    assert with_child(slow, act) == [[2 * i, 2 * i + 1] for i in range(20)]


def test_what_it_refuses_comes_back_as_a_sentence_and_the_next_is_answered(slow: Path) -> None:
    async def act(child: PipelineChild) -> Any:
        with pytest.raises(ModelError, match=r"The pipeline failed \(ValueError: a spend of 666 is beyond this model\)\."):
            await child.ask(spend(666), 20)
        return await child.ask(spend(1), 20)

    assert with_child(slow, act).tolist() == [2.0]


def test_a_timeout_stops_the_work_and_the_next_is_answered(slow: Path) -> None:
    async def act(child: PipelineChild) -> Any:
        await child.start()
        pid = child.pid
        assert pid is not None
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await child.ask(spend(60_000), 0.2)
        assert time.monotonic() - started < 5
        while alive(pid):
            await asyncio.sleep(0.01)
        return await child.ask(spend(1), 20)

    assert with_child(slow, act).tolist() == [2.0]


def test_one_who_waits_for_another_gives_up_without_stopping_it(slow: Path) -> None:
    async def act(child: PipelineChild) -> Any:
        await child.start()
        first = asyncio.create_task(child.ask(spend(1000), 20))
        await asyncio.sleep(0.05)
        with pytest.raises(TimeoutError):
            await child.ask(spend(1), 0.1)
        return await first

    assert with_child(slow, act).tolist() == [2000.0]


def test_a_retired_one_answers_what_it_was_asked_and_ends(slow: Path) -> None:
    async def act(child: PipelineChild) -> Any:
        await child.start()
        pid = child.pid
        asked = asyncio.create_task(child.ask(spend(1000), 20))
        await asyncio.sleep(0.05)
        child.retire()
        found = await asked
        assert pid is not None
        while alive(pid):
            await asyncio.sleep(0.01)
        return found

    assert with_child(slow, act).tolist() == [2000.0]


def test_a_killed_one_is_started_again(slow: Path) -> None:
    async def act(child: PipelineChild) -> Any:
        await child.start()
        assert child._process is not None
        child._process.kill()
        with pytest.raises(ModelError, match="ended"):
            await child.ask(spend(1), 20)
        return await child.ask(spend(1), 20)

    assert with_child(slow, act).tolist() == [2.0]


def test_a_pipeline_that_cannot_be_loaded_is_refused_with_the_reason(tmp_path: Path) -> None:
    folder = slow_model(tmp_path / "broken")
    (folder / "model.skops").write_bytes(b"no archive")
    with pytest.raises(ModelError, match=r"model\.skops cannot be loaded here"):
        with_child(folder, PipelineChild.start)


def test_it_ends_with_its_input_whatever_it_is_at(slow: Path) -> None:
    command = [sys.executable, "-m", "adresponse.serving.pipeline", str(slow)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.read(5) == b"A\0\0\0\0"
        child.stdin.write(b"\1\0\0\0\1\0\0\0" + np.array([60_000.0]).tobytes())
        child.stdin.flush()
        time.sleep(0.1)
        child.stdin.close()
        until(lambda: child.poll() is not None, "its end", 5)
