"""Does a plan bring what it says, and how much of what could be had?

    python bench/plan.py [--tables 100] [--seed 1000] [--shape hill]

Simulates weekly tables with known truth (``adresponse.mixing.simulated``), fits each without knowing it, splits today's total
anew for 13 weeks inside the range seen, and asks the true curves what that split brings over today's. Prints how often the 90 %
interval of the gain holds the true gain, how often the true gain is above 0, which share of the gain of a plan that knows the
truth is had, and how long a plan takes.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from adresponse.curves import Response
from adresponse.mixing.fit import MixSpec, drawn_curves, fit_mix
from adresponse.mixing.simulated import simulate
from adresponse.planning.horizon import Outlook
from adresponse.planning.split import best_plan, score
from adresponse.planning.wishes import Wish

HORIZON = 13
BEFORE = 60  # weeks of history given; no carry-over drawn here is longer


@dataclass(frozen=True)
class Outcome:
    """What one table showed; gains in units of sales."""

    said: float
    low: float
    high: float
    true: float
    possible: float
    sales: float
    milliseconds: float


def outlook_of(
    frame: pd.DataFrame, channels: Sequence[str], responses: Sequence[Response], draws: Sequence[Sequence[Response]]
) -> Outlook:
    spend = frame[list(channels)]
    return Outlook(
        tuple(responses),
        np.full(HORIZON, float(frame["sales"].mean())),
        spend.tail(HORIZON).mean().to_dict(),
        {c: (float(spend[c].min()), float(spend[c].max())) for c in channels},
        {c: tuple(spend[c].tail(BEFORE)) for c in channels},
        draws,
    )


def one(seed: int, shape: str) -> Outcome:
    made = simulate(seed)
    rows = made.frame.iloc[: made.weeks]
    fit = fit_mix(rows, rows["sales"], MixSpec(made.channels, date="week", shape=shape))  # type: ignore[arg-type]
    known = outlook_of(rows, made.channels, fit.responses, [d.responses for d in drawn_curves(fit)])
    truth = outlook_of(rows, made.channels, made.responses, ())
    began = time.process_time()
    plan = best_plan(known, Wish())
    took = 1e3 * (time.process_time() - began)
    true, possible = score(truth, plan.spend).gain, best_plan(truth, Wish()).gain
    low, high = plan.gain_low, plan.gain_high
    assert low is not None
    assert high is not None
    return Outcome(plan.gain, low, high, true, possible, plan.today_sales, took)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--tables", type=int, default=100)
    ask.add_argument("--seed", type=int, default=1000)
    ask.add_argument("--shape", default="hill")
    asked = ask.parse_args()
    seen = [one(asked.seed + i, asked.shape) for i in range(asked.tables)]
    print(f"{platform.platform()}, Python {platform.python_version()}; seeds {asked.seed} to {asked.seed + asked.tables - 1}")
    print(f"{asked.tables} tables of 3 to 5 channels, 104 to 208 weeks, noise of 5 to 15 %, fitted with {asked.shape}")
    print(f"90 % interval of the gain holds the true gain: {np.mean([o.low <= o.true <= o.high for o in seen]):.0%}")
    print(f"true gain above 0: {np.mean([o.true > 0 for o in seen]):.0%}")
    print(f"where the interval is above 0: {np.mean([o.true > 0 for o in seen if o.low > 0]):.0%}")
    print(f"median share of the gain that knowing the truth would bring: {np.median([o.true / o.possible for o in seen]):.0%}")
    print(f"mean of said less true gain, in sales: {np.mean([(o.said - o.true) / o.sales for o in seen]):+.2%}")
    print(f"milliseconds a plan, first use included: median {np.median([o.milliseconds for o in seen]):.0f}")


if __name__ == "__main__":
    main()
