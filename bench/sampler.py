"""What does our fit of a mix give beside a sampler's: seconds, memory, error, honesty of its intervals, megabytes installed?

    python -m venv peer && peer/bin/pip install pymc-marketing
    python bench/sampler.py --peer-python peer/bin/python [--saturations hill,logistic] [--tables 6] [--seed 1]
                            [--sampler pymc] [--chains 4] [--parts time,ours,example] [--ours-python PATH] [--base-python PATH]

The peer is ``MMM`` of pymc-marketing (``pymc_marketing.mmm.multidimensional``, which takes the place of the older class of
that name) with its own priors and its own sampler: NUTS, 1000 draws after 1000 to tune. It is told to use every core up to 4,
since by itself it takes half of them; it then draws a chain for each, at least 2 (``--chains 4`` asks for 4 in any case).
``--sampler numpyro`` takes another one, if it is installed there. Both get the same columns: week, channels, a trend from 0 to
1, sales; both two yearly waves, geometric carry-over over 13 weeks, and the same family of curves. They run in turn, each in a
fresh process, on tables whose truth is known (``adresponse.mixing.simulated``).

A table of 5 channels and 208 weeks is fitted twice for the time: the peer compiles its model, and finds that done the second
time. The tables for accuracy are drawn from the usual ranges; with the logistic curve also by the recipe of the peer's own
example notebook (mmm_example: two channels, two events; 153 weeks fitted and 26 ahead), the first of them that very table.
Seconds of a fit are without imports; those to the answer run from the start of the process to contributions and predictions.
Memory is that of a process and its children, shared pages counted once, or the peak of the process itself (VmHWM) where that
is more.

What to keep in mind: our simulation is ours, and our typical values were chosen for such tables, while the peer's priors suit
any table and are meant to be set by whoever knows better. Its carry-over begins with the table, where these tables begin in
the middle of business; those of its own recipe begin with the table too, as it takes them to, and as we do not. At the end
stands what is installed: the whole of site-packages of each interpreter named.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

WINDOW = 13  # weeks, our own default for weekly tables
WAVES = 2
EXAMPLE = sum(map(ord, "mmm"))  # seed of the table in the peer's notebook
EVERY = 0.5  # seconds between two looks at the memory
NEXT_TO_NOTHING = 1e-9
"""Of a channel's most, in the place of no spend, for the peer's Hill curve: at 0 its slope by the spend is infinite where its
exponent is below 1, the gradient is no number, and the sampler stops (pymc-marketing 0.19.2; its issue 2639 is alike)."""
INSTALL = "Give --peer-python PATH, of an environment made by: python -m venv peer && peer/bin/pip install pymc-marketing"
SIZE = "import sysconfig; print(sysconfig.get_path('purelib'))"


def ours(asked: dict[str, Any], rows: pd.DataFrame, later: pd.DataFrame) -> dict[str, Any]:
    """Fit by us. Imports stand here and below because they are part of what is timed."""
    from adresponse.mixing.fit import MixSpec, fit_mix

    spec = MixSpec(
        tuple(asked["channels"]),
        controls=tuple(asked["controls"]),
        date="week",
        shape=asked["saturation"],
        window=WINDOW,
        trend=False,
        season=WAVES,
    )
    began = time.perf_counter()
    fit = fit_mix(rows, rows["sales"], spec)
    return {
        "seconds": time.perf_counter() - began,
        "found": [a.total for a in fit.answers],
        "low": [a.low for a in fit.answers],
        "high": [a.high for a in fit.answers],
        "ahead": fit.pipeline.predict(later).tolist(),
    }


def peer(asked: dict[str, Any], rows: pd.DataFrame, later: pd.DataFrame) -> dict[str, Any]:
    """Fit by pymc-marketing, in whose environment this runs."""
    import arviz
    import pymc_marketing
    from pymc_marketing.mmm import GeometricAdstock, HillSaturation, LogisticSaturation
    from pymc_marketing.mmm.multidimensional import MMM

    if asked["saturation"] == "hill":
        rows, later = (
            t.assign(**{c: t[c].clip(lower=NEXT_TO_NOTHING * rows[c].max()) for c in asked["channels"]}) for t in (rows, later)
        )
    began = time.perf_counter()
    model = MMM(
        date_column="week",
        channel_columns=asked["channels"],
        target_column="sales",
        control_columns=asked["controls"],
        yearly_seasonality=WAVES,
        adstock=GeometricAdstock(l_max=WINDOW),
        saturation={"hill": HillSaturation, "logistic": LogisticSaturation}[asked["saturation"]](),
    )
    found = model.fit(
        rows.drop(columns="sales"), rows["sales"], progressbar=False, random_seed=asked["seed"], **asked["settings"]
    )
    scale = float(model.scalers["_target"])
    totals = scale * found.posterior["channel_contribution"].sum("date").stack(draws=("chain", "draw")).transpose("draws", ...)
    seconds = time.perf_counter() - began
    drawn = model.sample_posterior_predictive(
        later.drop(columns="sales"), include_last_observations=True, progressbar=False, random_seed=asked["seed"]
    )
    hats = arviz.rhat(found, var_names=[v.name for v in model.model.free_RVs])
    return {
        "seconds": seconds,
        "found": totals.mean("draws").sel(channel=asked["channels"]).values.tolist(),
        "low": totals.quantile(0.05, "draws").sel(channel=asked["channels"]).values.tolist(),
        "high": totals.quantile(0.95, "draws").sel(channel=asked["channels"]).values.tolist(),
        "ahead": (scale * drawn["y"].mean("sample")).values.tolist(),
        "rhat": max(float(hats[name].max()) for name in hats.data_vars),
        "divergences": int(found.sample_stats["diverging"].sum()),
        "draws": [int(found.posterior.sizes[k]) for k in ("chain", "draw")],
        "version": pymc_marketing.__version__,
    }


WAYS = {"ours": ours, "peer": peer}


def answer(way: str, folder: Path) -> None:
    """What a child process does: read the table, fit, and write down what came of it."""
    asked = json.loads((folder / "asked.json").read_text())
    table = pd.read_csv(folder / "table.csv", parse_dates=["week"])
    rows = table.iloc[: asked["weeks"]]
    found = WAYS[way](asked, rows, table.iloc[asked["weeks"] :].reset_index(drop=True))
    (folder / "found.json").write_text(json.dumps({**found, "peak": kilobytes(os.getpid(), "status", "VmHWM")}))


def kilobytes(pid: int, file: str, name: str) -> int:
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def family(pid: int) -> list[int]:
    """A process and all below it."""
    children = [int(c) for t in Path(f"/proc/{pid}/task").iterdir() for c in (t / "children").read_text().split()]
    return [pid, *(p for child in children for p in family(child))]


def held(pid: int) -> int:
    """Memory of a process and all below it in kB, pages that they share counted once; 0 if one just ended."""
    with contextlib.suppress(OSError, StopIteration):
        return sum(kilobytes(p, "smaps_rollup", "Pss") for p in family(pid))
    return 0


def worked_below() -> float:
    """Processor time of the children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True)
class Run:
    """What one fit gave: totals of the channels with their intervals, predictions, seconds and megabytes."""

    found: np.ndarray
    low: np.ndarray
    high: np.ndarray
    ahead: np.ndarray
    seconds: float
    whole: float
    processor: float
    memory: float
    notes: dict[str, Any]


def run(way: str, python: str, asked: dict[str, Any], table: pd.DataFrame, work: Path) -> Run:
    """Fit in a process of its own, and watch it."""
    with tempfile.TemporaryDirectory(dir=work) as place, (Path(place) / "log").open("wb") as log:
        folder = Path(place)
        (folder / "asked.json").write_text(json.dumps(asked))
        table.to_csv(folder / "table.csv", index=False)
        flags = ",".join(filter(None, (os.environ.get("PYTENSOR_FLAGS"), f"base_compiledir={work}")))
        began, worked, peak = time.perf_counter(), worked_below(), 0
        process = subprocess.Popen(
            [python, "-W", "ignore", str(Path(__file__).resolve()), way, place],
            env={**os.environ, "PYTENSOR_FLAGS": flags},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(EVERY)
                break
            peak = max(peak, held(process.pid))
        whole, worked = time.perf_counter() - began, worked_below() - worked
        if process.returncode:
            raise SystemExit(f"{way} did not fit: {(folder / 'log').read_text()[-2000:]}")
        got = json.loads((folder / "found.json").read_text())
    arrays = [np.array(got.pop(k)) for k in ("found", "low", "high", "ahead")]
    return Run(*arrays, got.pop("seconds"), whole, worked, max(peak, got.pop("peak")) / 1024, got)


@dataclass(frozen=True)
class Pair:
    """Both fits of one table, its truth, and what was sold in the weeks ahead."""

    ours: Run
    peer: Run
    truth: np.ndarray
    sales: np.ndarray


@dataclass(frozen=True)
class Known:
    """A weekly table whose truth is known: ``weeks`` rows to fit, then those ahead, and what channels brought in the former."""

    frame: pd.DataFrame
    weeks: int
    channels: tuple[str, ...]
    controls: tuple[str, ...]
    truth: np.ndarray


def simulated(seed: int, **ranges: tuple[int, int]) -> Known:
    """A table of ours."""
    from adresponse.mixing.simulated import Ranges, simulate

    made = simulate(seed, Ranges(**ranges))
    table = made.frame.assign(trend=np.arange(len(made.frame)) / (made.weeks - 1))
    return Known(table, made.weeks, made.channels, ("trend",), made.contributions[: made.weeks].sum(axis=0))


def example(seed: int) -> Known:
    """A table as the peer's example notebook makes its own, which is that of ``EXAMPLE`` (pymc-marketing, mmm_example)."""
    random = np.random.default_rng(seed)
    week = pd.date_range("2018-04-02", periods=179, freq="7D")
    first, second = random.uniform(size=len(week)), random.uniform(size=len(week))
    spend = np.column_stack([np.where(first > 0.9, first, first / 2), np.where(second > 0.8, second, 0.0)])
    brought = np.empty_like(spend)
    for i, (decay, speed, most) in enumerate(((0.4, 4.0, 3.0), (0.2, 3.0, 2.0))):
        weights = decay ** np.arange(8)
        carried = np.convolve(spend[:, i], weights / weights.sum())[: len(week)]
        brought[:, i] = most * np.tanh(speed * carried / 2)  # (1 - exp(-v)) / (1 + exp(-v)) is tanh(v / 2)
    angle = 2 * np.pi * week.day_of_year.to_numpy() / 365.5
    events = np.column_stack([week == "2019-05-13", week == "2020-09-14"]).astype(float)
    base = 1 + np.linspace(10, 60, len(week)) ** 0.25 + (np.cos(angle) - np.sin(2 * angle)) / 2 + events @ [1.5, 2.5]
    sales = 1000 * (base + brought.sum(axis=1) + random.normal(0, 0.25, len(week)))
    fitted = len(week) - 26
    columns = {"week": week, "x1": spend[:, 0], "x2": spend[:, 1], "event_1": events[:, 0], "event_2": events[:, 1]}
    table = pd.DataFrame(columns | {"trend": np.arange(len(week)) / (fitted - 1), "sales": sales})
    truth = 1000 * brought[:fitted].sum(axis=0)
    return Known(table, fitted, ("x1", "x2"), ("trend", "event_1", "event_2"), truth)


def both(known: Known, saturation: str, given: argparse.Namespace, work: Path, seed: int) -> Pair:
    """Fit a table by both, one after the other."""
    table = known.frame.copy()
    sales = table["sales"].to_numpy()[known.weeks :].copy()
    table.loc[known.weeks :, "sales"] = 0.0
    asked = {
        "channels": list(known.channels),
        "controls": list(known.controls),
        "weeks": known.weeks,
        "saturation": saturation,
        "settings": {"nuts_sampler": given.sampler, "cores": min(4, os.cpu_count() or 1), "chains": given.chains},
        "seed": seed,
    }
    first, second = (
        run(way, python, asked, table, work) for way, python in (("ours", sys.executable), ("peer", given.peer_python))
    )
    return Pair(first, second, known.truth, sales)


def accuracy(pairs: list[Pair], who: str) -> tuple[float, float, float, float]:
    """Median relative error of a total, coverage and median width of its interval, mean error ahead."""
    runs = [getattr(p, who) for p in pairs]
    truth = np.concatenate([p.truth for p in pairs])
    found, low, high = (np.concatenate([getattr(r, k) for r in runs]) for k in ("found", "low", "high"))
    ahead = [np.mean(np.abs(r.ahead - p.sales) / p.sales) for r, p in zip(runs, pairs, strict=True)]
    within = (low <= truth) & (truth <= high)
    return (
        float(np.median(np.abs(found / truth - 1))),
        float(within.mean()),
        float(np.median((high - low) / truth)),
        float(np.mean(ahead)),
    )


def line(what: str, mine: float, theirs: float, form: str = ".2f") -> None:
    print(f"{what:44}{mine:>10{form}}{theirs:>10{form}}{theirs / mine if mine else float('nan'):>9.2f}", flush=True)


def doubts(runs: list[Run]) -> str:
    """What the sampler says about itself."""
    rhat, diverged = max(r.notes["rhat"] for r in runs), [r.notes["divergences"] for r in runs]
    chains, draws = runs[0].notes["draws"]
    told = f"pymc-marketing {runs[0].notes['version']}, {chains} chains of {draws} draws"
    return f"{told}; r-hat up to {rhat:.3f}; divergences {', '.join(map(str, diverged))}"


def compare(saturation: str, given: argparse.Namespace, work: Path) -> None:
    """One family of curves: a table twice for the time, then the tables for accuracy."""
    if "time" in given.parts:
        race(saturation, given, work)
    if "ours" in given.parts:
        judge(f"{saturation}, our simulation", simulated, given.seed, saturation, given, work)
    if "example" in given.parts and saturation == "logistic":  # its curves are logistic
        judge(f"{saturation}, the peer's own example", example, EXAMPLE, saturation, given, work)


def race(saturation: str, given: argparse.Namespace, work: Path) -> None:
    """Seconds and memory, on a table fitted twice."""
    large = simulated(given.seed, channels=(5, 5), weeks=(208, 208))
    first, again = (both(large, saturation, given, work, given.seed) for _ in range(2))
    print(f"\n{saturation + ', 5 channels, 208 weeks, seed ' + str(given.seed):44}{'ours':>10}{'peer':>10}{'ratio':>9}")
    line("seconds of the fit, the first time", first.ours.seconds, first.peer.seconds)
    line("seconds of the fit, again", again.ours.seconds, again.peer.seconds)
    line("seconds to the answer, the first time", first.ours.whole, first.peer.whole)
    line("seconds to the answer, again", again.ours.whole, again.peer.whole)
    line("  of the processor, all processes", again.ours.processor, again.peer.processor)
    line("memory, MB", again.ours.memory, again.peer.memory, ".0f")
    print(f"  peer: {doubts([first.peer, again.peer])}", flush=True)


def judge(title: str, make: Callable[[int], Known], first: int, saturation: str, given: argparse.Namespace, work: Path) -> None:
    """How near both come to the truth of some tables."""
    pairs, seeds = [], range(first, first + given.tables)
    for seed in seeds:
        pair = both(make(seed), saturation, given, work, seed)
        print(f"  seed {seed}: {pair.ours.seconds:.1f} and {pair.peer.seconds:.0f} s", file=sys.stderr, flush=True)
        pairs.append(pair)
    channels = sum(len(p.truth) for p in pairs)
    print(f"{title}, seeds {seeds[0]} to {seeds[-1]}, {channels} channels")
    names = ("median relative error of a total", "coverage of its 90 % interval", "median width over the truth")
    for name, mine, theirs in zip(
        (*names, "MAPE of 26 weeks ahead"), accuracy(pairs, "ours"), accuracy(pairs, "peer"), strict=True
    ):
        line(name, mine, theirs, ".3f")
    line("seconds of a fit, median", *(float(np.median([getattr(p, w).seconds for p in pairs])) for w in WAYS))
    line("seconds of a fit, most", *(max(getattr(p, w).seconds for p in pairs) for w in WAYS))
    print(f"  peer: {doubts([p.peer for p in pairs])}", flush=True)


def installed(python: str) -> float:
    """MB in an interpreter's site-packages, links not followed."""
    place = Path(subprocess.run([python, "-c", SIZE], capture_output=True, text=True, check=True).stdout.strip())
    return sum(p.lstat().st_size for p in place.rglob("*") if p.is_file() and not p.is_symlink()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="interpreter of an environment with pymc-marketing")
    parser.add_argument("--ours-python", default=sys.executable, help="one with adresponse alone, for its size")
    parser.add_argument("--base-python", help="one with mlflow, scikit-learn and skops alone, for its size")
    parser.add_argument("--saturations", default="hill,logistic")
    parser.add_argument("--sampler", default="pymc")
    parser.add_argument("--chains", type=int, help="of the sampler (default: its own)")
    parser.add_argument("--parts", default="time,ours,example", help="what is run; the others are left out")
    parser.add_argument("--tables", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1, help="of the first table; the others follow")
    given = parser.parse_args()
    if not given.peer_python:
        parser.exit(2, INSTALL + "\n")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}")
    print(f"tables {given.tables}, sampler {given.sampler}, load average before {os.getloadavg()[0]:.2f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="adresponse-bench-") as place:
        for saturation in given.saturations.split(","):
            compare(saturation, given, Path(place))
    print(f"\nload average after {os.getloadavg()[0]:.2f}")
    for name, python in (("ours", given.ours_python), ("peer", given.peer_python), ("base", given.base_python)):
        if python:
            print(f"installed, {name:33}{installed(python):>10.0f} MB")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in WAYS:
        answer(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
