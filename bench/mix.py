"""How near to the truth does a fitted mix come, how honest are its intervals, and how long does it take?

    python bench/mix.py [--tables 100] [--seed 1] [--shape hill] [--hard] [--memory 0.0] [--one-curve] [--carry-over geometric]

Simulates weekly tables with known truth (``adresponse.mixing.simulated``), fits each without knowing it, and prints the error
of each channel's total contribution, the coverage of its 90 % interval, and the error of 26 weeks ahead beside that of the true
model. For comparison: ordinary least squares that is told every channel's true carry-over and curve, so that only the
coefficients are left to be found. No method that has to find the curves as well can be expected to do better.

``--hard`` draws small shares (evenly in their logarithm), and half of the channels always on. Ends with seconds and memory of
one fit with intervals on 5 channels and 208 weeks, in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import numpy as np

from adresponse.mixing.fit import MixFit, MixSpec, fit_mix
from adresponse.mixing.simulated import Ranges, SimulatedTable, simulate

TIMED = """
import time, sys
from adresponse.mixing.simulated import Ranges, simulate
from adresponse.mixing.fit import MixSpec, fit_mix
made = simulate(int(sys.argv[1]), Ranges(channels=(5, 5), weeks=(208, 208)))
rows = made.frame.iloc[:made.weeks]
began, before = time.perf_counter(), time.process_time()
fit_mix(rows, rows["sales"], MixSpec(made.channels, date="week", shape=sys.argv[2]))
took = time.perf_counter() - began
worked = time.process_time()
memory = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(took, worked - before, int(memory) / 1024)
"""


@dataclass(frozen=True)
class Outcome:
    """What one table showed, channel by channel, and its errors ahead."""

    truth: np.ndarray
    found: np.ndarray
    low: np.ndarray
    high: np.ndarray
    told: np.ndarray
    shapes: tuple[str, ...]
    ahead: float
    ahead_refitted: float
    ahead_known: float
    seconds: float
    processor: float
    chosen: str


def mape(predicted: np.ndarray, sales: np.ndarray) -> float:
    return float(np.mean(np.abs(predicted - sales) / np.abs(sales)))


def told(made: SimulatedTable) -> tuple[np.ndarray, np.ndarray]:
    """Totals and predictions of least squares that knows carry-over, curves and the waves of the base."""
    time_ = np.arange(len(made.frame))
    waves = [f(2 * np.pi * k * time_ / 52.18) for k in (1, 2) for f in (np.sin, np.cos)]
    design = np.column_stack([made.contributions, np.ones(len(time_)), time_ / made.weeks, *waves])
    seen = slice(0, made.weeks)
    found = np.linalg.lstsq(design[seen], made.frame["sales"].to_numpy()[seen], rcond=None)[0]
    n = len(made.channels)
    return np.maximum(found[:n], 0) * made.contributions[seen].sum(axis=0), design @ found


def outcome(seed: int, ranges: Ranges, spec: MixSpec) -> Outcome:
    made = simulate(seed, ranges)
    rows, later = made.frame.iloc[: made.weeks], made.frame.iloc[made.weeks :]
    began, worked = time.perf_counter(), time.process_time()
    fit: MixFit = fit_mix(rows, rows["sales"], replace(spec, channels=made.channels))
    seconds, processor = time.perf_counter() - began, time.process_time() - worked
    sales = later["sales"].to_numpy()
    totals, predicted = told(made)
    return Outcome(
        truth=made.contributions[: made.weeks].sum(axis=0),
        found=np.array([a.total for a in fit.answers]),
        low=np.array([a.low for a in fit.answers]),
        high=np.array([a.high for a in fit.answers]),
        told=totals,
        shapes=tuple(r.shape for r in made.responses),
        ahead=mape(fit.pipeline.predict(later), sales),
        ahead_refitted=mape(predicted[made.weeks :], sales),
        ahead_known=mape(made.expected[made.weeks :], sales),
        seconds=seconds,
        processor=processor,
        chosen=str(fit.spec.shape),
    )


def show(outcomes: list[Outcome]) -> None:
    truth, found, low, high, known = (
        np.concatenate([getattr(o, k) for o in outcomes]) for k in ("truth", "found", "low", "high", "told")
    )
    shapes = np.concatenate([o.shapes for o in outcomes])
    error, within = np.abs(found / truth - 1), (low <= truth) & (truth <= high)
    print(f"channels                                 {len(truth)}")
    print(f"median relative error of a total         {np.median(error):.3f}   (target <= 0.15)")
    print(f"  middle half                            {np.quantile(error, 0.25):.3f} to {np.quantile(error, 0.75):.3f}")
    print(f"  median of found / true                 {np.median(found / truth):.3f}")
    print(f"  least squares told all curves          {np.median(np.abs(known / truth - 1)):.3f}")
    print(f"coverage of the 90 % interval            {within.mean():.3f}   (target 0.85 to 0.95)")
    print(f"  truth below, above it                  {(truth < low).mean():.3f}, {(truth > high).mean():.3f}")
    print(f"  median width over the truth            {np.median((high - low) / truth):.2f}")
    for shape in sorted(set(shapes)):
        at = shapes == shape
        figures = f"error {np.median(error[at]):.3f}  coverage {within[at].mean():.3f}"
        print(f"  true shape {shape:<9} {at.sum():4d} channels  {figures}")
    ahead = np.array([[o.ahead, o.ahead_refitted, o.ahead_known] for o in outcomes])
    ours, refitted, true = ahead.mean(axis=0)
    print(f"MAPE of the weeks ahead, mean            {ours:.4f}")
    print(f"  over the true curves refitted          {ours / refitted:.3f}   ({refitted:.4f}; target <= 1.10)")
    print(f"  over the truth itself                  {ours / true:.3f}   ({true:.4f})")
    wall, cpu = [o.seconds for o in outcomes], [o.processor for o in outcomes]
    print(f"seconds of a fit, median and most        {np.median(wall):.2f}, {max(wall):.2f}")
    print(f"  of the processor                       {np.median(cpu):.2f}, {max(cpu):.2f}")
    chosen = [o.chosen for o in outcomes]
    print("shapes fitted                            " + ", ".join(f"{s} {chosen.count(s)}" for s in sorted(set(chosen))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="of the first table; the others follow")
    parser.add_argument("--shape", default="hill")
    parser.add_argument("--carry-over", default=None)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--one-curve", action="store_true", help="after auto, draws from the chosen curve alone")
    parser.add_argument("--hard", action="store_true")
    parser.add_argument("--memory", type=float, default=0.0, help="correlation of the noise from week to week")
    given = parser.parse_args()
    ranges = Ranges(memory=given.memory)
    if given.hard:
        ranges = replace(ranges, even_logs=True, flighted=0.5)
    spec = MixSpec(
        ("",), date="week", shape=given.shape, carry_over=given.carry_over, draws=given.draws, across=not given.one_curve
    )
    versions = f"Python {platform.python_version()}, numpy {np.__version__}"
    print(f"{platform.machine()}, {os.cpu_count()} cores, {versions}")
    print(f"tables {given.tables}, seeds {given.seed} to {given.seed + given.tables - 1}, shape {given.shape}\n{ranges}\n")
    show([outcome(seed, ranges, spec) for seed in range(given.seed, given.seed + given.tables)])
    done = subprocess.run(
        [sys.executable, "-c", TIMED, str(given.seed), given.shape], capture_output=True, text=True, check=True
    )
    took, worked, memory = (float(v) for v in done.stdout.split())
    print(f"\n5 channels, 208 weeks, with intervals    {took:.2f} s (target <= 5), {worked:.2f} s of the processor,")
    print(f"                                         {memory:.0f} MB in the process (target < 1000)")


if __name__ == "__main__":
    main()
