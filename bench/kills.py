"""Is everything whole after a refresh was killed, at whatever moment?

    python bench/kills.py [--kills 200] [--seed 1] [--aimed]

A refresh that fits and promotes a challenger runs in a process of its own and is ended by SIGKILL: every other time at a
moment drawn from its whole duration (measured once, step by step), else while it registers and promotes (always, with
``--aimed``). One in ten verifies behind a local endpoint; no figures are drawn. After each kill: does champion load and
answer its evaluation rows to the last bit, is each version whole, is the history without a gap? Then the same file is
refreshed again, and must be taken in once: no row lost or doubled, nothing left half done. Every ten kills begin with a new
store. Exit code 1 where anything was not as it has to be.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

import forks
from forks import NAME, Child, forked, spend

EACH = 10  # kills on one store
SLOPES = (0.5, 1.2)  # by turns, so that every file asks for a new fit
REGISTERING = "Registering the version"
GRACE = 30.0  # seconds for a server to notice that its parent is gone
Report = Callable[[str], None]


@dataclass
class Tally:
    """What was seen over all kills."""

    kills: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    again: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def refresh(file: str, verify: bool) -> Callable[[Report], Any]:
    """A refresh that reports its steps."""

    def act(report: Report) -> Any:
        from adresponse import upkeep

        done = upkeep.refresh(file, mode="off", config="verify.yaml" if verify else None, progress=report)
        return {"action": done.action, "champion": done.champion, "sentence": done.sentence}

    return act


def measured(folder: Path, verify: bool) -> list[tuple[str, float]]:
    """The steps of a whole refresh, and when each began, in seconds; the end is the last."""
    begun = time.monotonic()
    child = Child.start(refresh("0.csv", verify), folder)
    lines, _ = child.lines()
    os.waitpid(child.pid, 0)
    assert '"retrained"' in lines[-1][1], lines[-1][1]
    return [(line if i < len(lines) - 1 else "end", at - begun) for i, (at, line) in enumerate(lines)]


def moment(steps: list[tuple[str, float]], aimed: bool, rng: random.Random) -> tuple[str, float]:
    """After which step, and how many seconds after, the process is to be killed."""
    first = next(at for step, at in steps if step == REGISTERING) if aimed else 0.0
    at = rng.uniform(first, steps[-1][1] * (1 if not aimed else 1.02))
    step, began = max(((s, b) for s, b in steps if b <= at), key=lambda s: s[1], default=("", 0.0))
    return step, at - began


# --- what has to hold


def examined(files: list[str], known: list[str]) -> Callable[[Report], Any]:
    """What a store is like after a kill, and after the last file was refreshed again; ``known`` versions were looked at."""

    def act(report: Report) -> Any:
        from adresponse import deployment

        store = deployment.open_store()
        before = _looked(store, files, known, settled=False)
        done = refresh(files[-1], False)(report)
        after = _looked(store, files, [*known, *before["versions"]], settled=True)
        return {"before": before, "done": done, "after": after}

    return act


def _looked(store: Any, files: list[str], known: list[str], *, settled: bool) -> dict[str, Any]:
    """The problems that a store has; ``settled`` once a command has run after the kill."""
    from adresponse import journal, promotion, registry

    problems = list(_champion(f"models:/{NAME}@champion"))
    versions = store.call("search_model_versions", f"name='{NAME}'", max_results=1000)
    for version in versions:
        if str(version.version) not in known:
            problems += _version(store, version)
    events = journal.read(store, NAME)
    if [e.sequence for e in events] != list(range(1, len(events) + 1)):
        problems.append(f"history: {[e.sequence for e in events]}")
    begun = [e for e in events if e.state == "started"]
    if len(begun) > 1 or (begun and (settled or begun[0] is not events[-1])):
        problems.append(f"left begun: {begun}")
    if settled:
        if journal.champion(events) != registry.aliases(store, NAME)["champion"]:
            problems.append("history and alias name different champions")
        problems += _taken(store, events, files)
        running = store.call("search_runs", [store.call("get_experiment_by_name", NAME).experiment_id], "status = 'RUNNING'")
        problems += [f"left running: {run.info.run_name}" for run in running]
    doctor = {} if settled else Counter(f.code for f in promotion.lost(store))
    named = [str(v.version) for v in versions]
    orphans = len({*named} - {*known} - {e.target for e in events})
    return {"problems": problems, "doctor": doctor, "orphans": orphans, "begun": len(begun), "versions": named}


def _champion(uri: str) -> list[str]:
    """Champion loads, and answers its evaluation rows to the last bit."""
    from adresponse import deployment
    from adresponse.pyfunc import ResponseModel
    from adresponse.verification import EvaluationRows

    with deployment.opened(uri) as found:
        rows = EvaluationRows.read(found.stored.folder)
        model = ResponseModel(found.stored.formula, found.stored.folder)
        answered = model.answer([rows.X[name].to_numpy(dtype=float) for name in rows.X])["prediction"]
        return [] if (abs(answered - rows.predicted) <= 1e-12 * abs(rows.predicted)).all() else ["champion answers otherwise"]


def _version(store: Any, version: Any) -> list[str]:
    """Each version is whole: its tags, its files, the rows that it stands on, its model."""
    import hashlib

    from adresponse import record, registry, track

    name = f"version {version.version}"
    if missing := [t for t in (registry.MANIFEST_TAG, record.ROWS_TAG, "adresponse.status") if t not in version.tags]:
        return [f"{name} lacks {missing}"]
    rows = track.file_of(store, version.run_id, record.ROWS_FILE)
    model = store.call("get_logged_model", version.source.rpartition("/")[2])
    return [
        *([f"{name} is {version.status}"] if version.status != "READY" else []),
        *([f"the model of {name} is {model.status}"] if "READY" not in str(model.status) else []),
        *(f"{name} lacks {file}" for file in registry.missing_files(store, NAME, version.version)),
        *([f"{name} stands on other rows"] if hashlib.sha256(rows).hexdigest() != version.tags[record.ROWS_TAG] else []),
    ]


def _taken(store: Any, events: Any, files: list[str]) -> list[str]:
    """Each file was taken in by one event, and champion with what waits for the next one has each row once."""
    from adresponse.growing import content_digest, row_keys
    from adresponse.standing import TAKEN_IN, arrived_before, standing_of

    taken = Counter(e.digests["file"] for e in events if e.kind in TAKEN_IN)
    frames = {name: pd.read_csv(name) for name in files}
    problems = [
        f"{n} was taken in {taken[content_digest(f)]} times" for n, f in frames.items() if taken[content_digest(f)] != 1
    ]
    with standing_of(store, f"models:/{NAME}@champion") as standing:
        arrived = arrived_before(standing, standing.pending())
        have = pd.concat([standing.kept.frame, *(t.frame for t in arrived)])
    want = pd.concat([spend(150, 0), *frames.values()])
    if Counter(row_keys(have, list(want))) != Counter(row_keys(want, list(want))):
        problems.append(f"{len(have)} rows where {len(want)} have to be")
    return problems


def _left_by(session: int) -> int:
    """Processes of an ended session that are there after a while."""
    until = time.monotonic() + GRACE
    while (there := sum(_session_of(p) == session for p in Path("/proc").glob("[0-9]*"))) and time.monotonic() < until:
        time.sleep(0.05)
    return there


def _session_of(process: Path) -> int:
    try:
        state, _, _, session = (process / "stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return 0
    return 0 if state == "Z" else int(session)


# --- one kill after another


def killed(folder: Path, files: list[str], known: list[str], at: tuple[str, float], verify: bool, tally: Tally) -> list[str]:
    """One refresh of the last file, killed, looked at, and run again; gives the versions that were looked at."""
    step, seconds = at
    child = Child.start(refresh(files[-1], verify), folder)
    if not step or child.heard(step):
        time.sleep(seconds)
    tally.kills[step if child.kill() else "had ended"] += 1
    where = f"{step} + {seconds:.2f} s, {'verified' if verify else 'not verified'}, {folder.name}"
    if left := _left_by(child.pid):
        tally.problems.append(f"{where}: {left} processes were left")
    found = forked(examined(files, known), folder)
    before, done, after = found["before"], found["done"]["action"], found["after"]
    tally.again[done] += 1
    tally.found["a promotion that was begun"] += before["begun"]
    tally.found["a version that nobody had promoted or noted"] += before["orphans"]
    for code, times in before["doctor"].items():
        tally.found[f"doctor says {code}"] += times
    tally.problems += [f"{where}: {p}" for p in before["problems"]]
    tally.problems += [f"{where}, after {done}: {p}" for p in after["problems"]]
    return list(after["versions"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--aimed", action="store_true")
    given = parser.parse_args(arguments)
    rng = random.Random(given.seed)
    home = Path(tempfile.mkdtemp(prefix="kills "))
    tally, begun, told = Tally(), time.monotonic(), 0
    os.environ["TMPDIR"] = tempfile.tempdir = str(home / "tmp")
    (home / "tmp").mkdir()
    try:
        forks.base(home / "base")
        ways = (False, True) if given.kills >= EACH else (False,)
        profiles = {verify: measured(_store(home, f"measured {verify}"), verify) for verify in ways}
        for i in itertools.count():  # a process that ended before its moment came is not counted
            if tally.kills.total() - tally.kills["had ended"] >= given.kills:
                break
            if i % EACH == 0:
                folder, files, known = _store(home, f"store {i // EACH}"), [], []
            file = f"{i}.csv"
            spend(100, 1000 + i, SLOPES[i % 2]).to_csv(folder / file, index=False)
            verify = i % EACH == EACH - 1
            files = [*files, file]
            known = killed(folder, files, known, moment(profiles[verify], given.aimed or i % 2 == 1, rng), verify, tally)
            print(f"refresh {i + 1}", *tally.problems[told:], sep="\n  ", file=sys.stderr, flush=True)
            told = len(tally.problems)
        temporary = [p.name for p in (home / "tmp").iterdir() if p.name.startswith("adresponse-")]
    finally:
        shutil.rmtree(home, ignore_errors=True)
    _print(tally, profiles[False], len(temporary), time.monotonic() - begun)
    return 1 if tally.problems else 0


def _store(home: Path, name: str) -> Path:
    """A folder with a copy of the store; MLflow keeps the files of all copies beside the first."""
    folder = home / name
    folder.mkdir()
    shutil.copy(home / "base" / "mlflow.db", folder / "mlflow.db")
    (folder / "verify.yaml").write_text(json.dumps({"verify": True}))
    spend(100, 999, SLOPES[0]).to_csv(folder / "0.csv", index=False)
    return folder


def _print(tally: Tally, steps: list[tuple[str, float]], temporary: int, seconds: float) -> None:
    began = dict(steps)
    print(f"\na whole refresh takes {steps[-1][1]:.1f} s\n\n{'killed in the step':<36}{'begins at':>10}{'kills':>8}")
    for step, times in sorted(tally.kills.items(), key=lambda k: began.get(k[0], 1e9)):
        print(f"{step or 'before the first step':<36}{began.get(step, float('nan')):>9.2f}s{times:>8}")
    print(f"\n{tally.kills.total() - tally.kills['had ended']} kills in {seconds:.0f} s. Found before the next command:")
    for what, times in sorted(tally.found.items()):
        print(f"  {what}: {times}")
    print(f"The same file again: {', '.join(f'{a} {n}' for a, n in tally.again.items())}.")
    print(f"Temporary folders left: {temporary}. Problems: {len(tally.problems)}.")
    for problem in tally.problems:
        print(f"  {problem}")


if __name__ == "__main__":
    sys.exit(main())
