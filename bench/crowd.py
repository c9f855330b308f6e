"""Are all files taken in when many refreshes of one model begin at once?

    python bench/crowd.py [--processes 20] [--store URI] [--promote]

Each process refreshes with a file of its own. Then: is each file in the history exactly once, is the history without a gap,
do champion and the rows that wait hold each row once, and is there one champion, the one that the history names? The store is
a new SQLite file, or the MLflow server or database of ``--store``. With ``--promote`` each file asks for a new fit and each
challenger becomes champion. Exit code 1 where anything was not as it has to be.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

import forks
from forks import NAME, Child, forked, spend

Report = Callable[[str], None]
SLOPES = (0.5, 1.2)


def refresh(number: int) -> Callable[[Report], Any]:
    """A refresh with a file of this number; what came of it."""

    def act(report: Report) -> Any:
        from adresponse import upkeep

        begun = time.monotonic()
        done = upkeep.refresh(f"{number}.csv", mode="off", patience=7200, out=f"out {number}")
        return {"action": done.action, "seconds": time.monotonic() - begun}

    return act


def looked(processes: int) -> Callable[[Report], Any]:
    """The problems that the store has after all."""

    def act(report: Report) -> Any:
        from adresponse import deployment, journal, mutex, registry
        from adresponse.growing import content_digest, row_keys
        from adresponse.standing import TAKEN_IN, arrived_before, standing_of

        store = deployment.open_store()
        frames = {f"{i}.csv": pd.read_csv(f"{i}.csv") for i in range(processes)}
        events = journal.read(store, NAME)
        taken = Counter(e.digests["file"] for e in events if e.kind in TAKEN_IN)
        problems = [
            f"{name} was taken in {taken[content_digest(f)]} times"
            for name, f in frames.items()
            if taken[content_digest(f)] != 1
        ]
        if [e.sequence for e in events] != list(range(1, len(events) + 1)):
            problems.append(f"history: {[e.sequence for e in events]}")
        if [e.when for e in events] != sorted(e.when for e in events):
            problems.append("the history is not in the order of time")
        problems += [f"event {e.sequence} is {e.state}" for e in events if e.state != "done"]
        moves = [e for e in events if e.kind in journal.MOVES]
        problems += [
            f"event {b.sequence} moves from {b.source}, and champion was {a.target}"
            for a, b in pairwise(moves)
            if a.target != b.source
        ]
        aliases = registry.aliases(store, NAME)
        if list(aliases.items()) != [("champion", journal.champion(events))]:
            problems.append(f"aliases are {aliases}, and the history names {journal.champion(events)}")
        problems += [f"a ticket was left: {ticket.sentence}" for ticket in mutex.queue(store)]
        with standing_of(store, f"models:/{NAME}@champion") as standing:
            arrived = arrived_before(standing, standing.pending())
            have = pd.concat([standing.kept.frame, *(t.frame for t in arrived)])
        want = pd.concat([spend(150, 0), *frames.values()])
        if Counter(row_keys(have, list(want))) != Counter(row_keys(want, list(want))):
            problems.append(f"{len(have)} rows where {len(want)} have to be")
        return {"problems": problems, "events": Counter(e.kind for e in events), "rows": len(have)}

    return act


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--processes", type=int, default=20)
    parser.add_argument("--store", default="")
    parser.add_argument("--promote", action="store_true")
    given = parser.parse_args(arguments)
    home = Path(tempfile.mkdtemp(prefix="crowd "))
    try:
        if given.store:
            os.environ["MLFLOW_TRACKING_URI"] = given.store
        forks.base(home / "store")
        for i in range(given.processes):
            slope = SLOPES[i % 2] if given.promote else 1.0
            spend(100 if given.promote else 10, 100 + i, slope).to_csv(home / "store" / f"{i}.csv", index=False)
        begun = time.monotonic()
        children = [Child.start(refresh(i), home / "store") for i in range(given.processes)]
        results, failures = _results(children)
        seconds = time.monotonic() - begun
        found = forked(looked(given.processes), home / "store")
    finally:
        shutil.rmtree(home, ignore_errors=True)
    problems = [*failures, *found["problems"]]
    waited = sorted(r["seconds"] for r in results)
    print(
        f"{given.processes} processes in {seconds:.0f} s, the first after {waited[0]:.1f} s, the last after {waited[-1]:.1f} s"
    )
    print(f"what they did: {dict(Counter(r['action'] for r in results))}")
    print(f"history: {found['events']}; rows: {found['rows']:,}; problems: {len(problems)}")
    for problem in problems:
        print(f"  {problem}")
    return 1 if problems else 0


def _results(children: list[Child]) -> tuple[list[Any], list[str]]:
    results, failures = [], []
    for child in children:
        try:
            results.append(child.result())
        except RuntimeError as error:
            failures.append(str(error).strip().splitlines()[-1])
    return results, failures


if __name__ == "__main__":
    sys.exit(main())
