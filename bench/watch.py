"""How often is an unchanged stream called changed, and how soon is a known change found?

    python bench/watch.py [--repetitions 200] [--alpha 0.05] [--seed 1] [--panel]

Two tables are simulated from relations that we chose. ``TV`` has 200 rows like the built-in table: its budgets drawn again,
its fitted line, and normal errors whose spread grows with the budget as there. ``weekly`` has three years of weeks, a season
in spend, and two channels. New rows come in batches of 20, up to 100; each look sees all of them. The streams: nothing
changed, TV brings 20 % less, TV in dollars instead of thousands, variance doubled. Last, the power that theory allows on the
first table. ``weekly, alike`` has errors that follow each other (a correlation of 0.5), which is found out and
allowed for.

``--panel`` asks instead how often columns of a panel are said to have moved: six markets, the largest 50 times the smallest, of
which all report for 26 weeks after 104, or some; with markets held against themselves, and with all rows as one table. Nothing
changed, or TV rose by half a standard deviation within each market.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.signal import lfilter

from adresponse.intervals import spread_of
from adresponse.schema import Contract
from adresponse.table import read_builtin
from adresponse.watching.arrivals import compare_columns
from adresponse.watching.drift import drift
from adresponse.watching.verdict import Champion, Watch, WatchRules, watch

Vector = NDArray[np.float64]
BATCH, LAST = 20, 100
STREAMS = {
    "nothing changed": {},
    "slope -20 %": {"slope": 0.8},
    "unit x1000": {"unit": 1000.0},
    "variance doubled": {"sd": 2**0.5},
}


@dataclass(frozen=True)
class World:
    """A table with a known truth: its contract, and rows drawn from it."""

    name: str
    contract: Contract
    rows: int
    draw: Callable[[np.random.Generator, int, int, float, float], pd.DataFrame]


def tv() -> World:
    """Rows like the built-in table: budgets drawn from it, its line, errors that grow as its errors do."""
    table = read_builtin()
    budgets, sales = table.X["TV"].to_numpy(), table.y.to_numpy()
    slope, intercept = np.polyfit(budgets, sales, 1)
    error = np.abs(sales - intercept - slope * budgets)
    growth, start = np.polyfit(budgets, error, 1)

    def draw(rng: np.random.Generator, first: int, rows: int, share: float, sd: float) -> pd.DataFrame:
        x = np.clip(rng.choice(budgets, rows) + rng.uniform(-1.5, 1.5, rows), 0.7, 296.4)
        scale = np.maximum(start + growth * x, 0.1 * error.mean()) * np.sqrt(np.pi / 2)
        return pd.DataFrame({"TV": x, "Sales": intercept + share * slope * x + sd * scale * rng.standard_normal(rows)})

    return World("TV, 200 rows", table.contract, 200, draw)


def weekly(alike: float = 0.0) -> World:
    """Three years of weeks: spend with a season, two channels, errors of one size with a correlation of neighbours."""
    contract = Contract.build(target="Sales", channels=["TV", "Online"], date="week")

    def draw(rng: np.random.Generator, first: int, rows: int, share: float, sd: float) -> pd.DataFrame:
        week = np.arange(first, first + rows)
        season = 1 + 0.3 * np.sin(2 * np.pi * week / 52)
        spend = season * rng.gamma(4, 25, rows), season * rng.gamma(3, 20, rows)
        fresh = rng.standard_normal(rows) * np.where(week == first, 1.0, np.sqrt(1 - alike**2))
        error = lfilter([1.0], [1.0, -alike], fresh)
        sales = 50 + share * 0.3 * spend[0] + 0.2 * spend[1] + sd * 10 * error
        dates = pd.Timestamp("2020-01-06") + pd.to_timedelta(7 * week, unit="D")
        return pd.DataFrame({"week": dates, "TV": spend[0], "Online": spend[1], "Sales": sales})

    return World("weekly, alike" if alike else "weekly, 156 rows", contract, 156, draw)


def champion(world: World, reference: pd.DataFrame) -> Champion:
    """A straight line through the reference, with intervals from the errors of leaving each row out."""
    features = list(world.contract.features)
    design = np.column_stack([np.ones(len(reference)), reference[features]])
    sales = reference[world.contract.target].to_numpy()
    coefficients = np.linalg.lstsq(design, sales, rcond=None)[0]
    q, _ = np.linalg.qr(design)
    aside = (sales - design @ coefficients) / (1 - (q**2).sum(axis=1))

    def predict(frame: pd.DataFrame) -> Vector:
        return np.asarray(coefficients[0] + frame[features].to_numpy() @ coefficients[1:])

    return Champion(world.contract, reference, predict, spread_of(sales - aside, sales), aside)


def looks(
    world: World, rules: WatchRules, rng: np.random.Generator, *, slope: float = 1.0, unit: float = 1.0, sd: float = 1.0
) -> Iterator[Watch]:
    """The watches of one stream, after each batch."""
    held = champion(world, world.draw(rng, 0, world.rows, 1.0, 1.0))
    rows = world.draw(rng, world.rows, LAST, slope, sd)
    rows["TV"] *= unit
    earlier: list[int] = []
    for n in range(BATCH, LAST + 1, BATCH):
        found = watch(held, rows.iloc[:n], rules, earlier)
        yield found
        earlier.append(found.sizes.with_sales)


def share(hits: int, of: int) -> str:
    """``4.5 % (2.1 to 8.4)``: the share and its exact 95 % interval."""
    ends = stats.binomtest(hits, of).proportion_ci()
    return f"{100 * hits / of:.1f} % ({100 * ends.low:.1f} to {100 * ends.high:.1f})"


NAMED = {"slope -20 %": {"W014"}, "unit x1000": {"W005"}, "variance doubled": {"W015", "W017", "W018"}}


def measure(world: World, rules: WatchRules, streams: list[str], repetitions: int, seed: int) -> Iterator[list[str]]:
    """A row of the table for each stream."""
    for i, name in enumerate(streams):
        change = STREAMS[name]
        rng = np.random.default_rng([seed, i])
        alarms, named, drifted, last, when = 0, 0, 0, 0, []
        for _ in range(repetitions):
            first, codes, drift = 0, set(), False
            for found in looks(world, rules, rng, **change):
                rows = found.sizes.file
                codes |= {f.code for f in found.findings}
                drift |= any(c.status == "drifted" for c in found.columns)
                last += rows == LAST and found.verdict != "keep"
                if found.verdict != "keep" and not first:
                    first = rows
                    if change:
                        break
            alarms += bool(first)
            named += bool(codes & NAMED.get(name, set()))
            drifted += drift
            when.append(first or np.inf)
        median = float(np.median(when))
        yield [
            world.name,
            f"per {rules.per}",
            name,
            share(alarms, repetitions),
            share(named, repetitions) if change else "",
            "" if change else share(last, repetitions),
            "" if change else share(drifted, repetitions),
            f"{median:.0f}" if np.isfinite(median) else "",
        ]


SIZES = (1, 2, 5, 10, 20, 50)
ONE_TABLE = Contract.build(target="Sales", channels=["TV", "Online"])
PANEL = Contract.build(target="Sales", channels=["TV", "Online"], date="week", market="place")


def panel(rng: np.random.Generator, shared: float, shift: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """104 weeks of six markets, and 26 more in which TV lies ``shift`` standard deviations higher in each.

    Spend is log-normal, and its logarithms have the correlation ``shared`` between the markets of a week.
    """
    weeks, size = np.arange(130), np.array(SIZES)[:, None]
    normal = np.sqrt(shared) * rng.standard_normal((2, 1, 130)) + np.sqrt(1 - shared) * rng.standard_normal((2, 6, 130))
    tv, online = np.exp(0.5 * normal)
    tv += shift * np.sqrt(np.exp(0.5) - np.exp(0.25)) * (weeks >= 104)  # the standard deviation of exp(0.5 z)
    sales = 100 + 20 * tv + 10 * online + rng.normal(0, 4, tv.shape)
    frame = pd.DataFrame({k: (size * v).ravel() for k, v in {"TV": tv, "Online": online, "Sales": sales}.items()})
    frame["place"] = np.repeat([f"size {s}" for s in SIZES], 130)
    frame["week"] = np.tile(pd.Timestamp("2020-01-06") + pd.to_timedelta(7 * weeks, unit="D"), 6)
    before = np.tile(weeks < 104, 6)
    return frame[before], frame[~before]


def compared(report: Sequence[int], shared: float, alpha: float, repetitions: int, seed: int) -> Iterator[list[str]]:
    """A row for each way to compare, where the markets of these sizes ``report``."""
    places = [f"size {s}" for s in report]
    for way, contract in (("all rows as one table", ONE_TABLE), ("within markets", PANEL)):
        rng = np.random.default_rng(seed)  # the same rows for both
        drifted, unit, found = 0, 0, 0
        for _ in range(repetitions):
            for shift in (0.0, 0.5):
                before, now = panel(rng, shared, shift)
                now = now[now["place"].isin(places)]
                moved = [c.name for c in drift(contract, before, now, level=alpha)[0] if c.status == "drifted"]
                if shift:
                    found += "TV" in moved
                else:
                    drifted += bool(moved)
                    unit += "W005" in {f.code for f in compare_columns(contract, now, before)}
        sizes = "all" if len(report) == len(SIZES) else " and ".join(map(str, report))
        yield [sizes, f"{shared:g}", way, *(share(n, repetitions) for n in (drifted, unit, found))]


def panels(alpha: float, repetitions: int, seed: int) -> None:
    """Print the table of panels."""
    head = ["sizes that report", "correlation", "compared", "a column drifted", "another unit", "TV + 0.5 sd found"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for report, shared in ((SIZES, 0.0), ((20, 50), 0.0), ((1, 2), 0.0), (SIZES, 0.5), ((20, 50), 0.5)):
        for row in compared(report, shared, alpha, repetitions, seed):
            print("| " + " | ".join(row) + " |", flush=True)


def theory(alpha: float) -> Iterator[str]:
    """Power of one look at 100 new rows, at ``alpha``, to find TV's slope 20 % lower, by the noncentral t and F.

    The truth is the built-in table's: 200 reference rows with its budgets, 100 new rows with the same mix of budgets, errors
    that grow as its errors do. The best linear test knows that only the slope moved; Chow's F does not.
    """
    table = read_builtin()
    x, y = table.X["TV"].to_numpy(), table.y.to_numpy()
    slope, intercept = np.polyfit(x, y, 1)
    error = np.abs(y - intercept - slope * x)
    growth, start = np.polyfit(x, error, 1)
    scale = np.maximum(start + growth * x, 0.1 * error.mean()) * np.sqrt(np.pi / 2)
    design = np.column_stack([np.ones(len(x)), x])
    bread = np.linalg.inv(design.T @ design)
    reference = bread @ (design.T * scale**2) @ design @ bread
    covariance = reference * (1 + len(x) / LAST)
    delta = np.array([0.0, -0.2 * slope])
    precision = np.linalg.inv(covariance)
    z = abs(float(precision[1] @ delta)) / np.sqrt(precision[1, 1])
    ncp = float(delta @ precision @ delta)
    free = LAST - 2
    chow = float(stats.ncf.sf(stats.f.isf(alpha, 2, free), 2, free, ncp))
    two = float(stats.nct.sf(stats.t.isf(alpha / 2, free), free, z))
    one = float(stats.nct.sf(stats.t.isf(alpha, free), free, z))
    left = float(np.sqrt(((y - intercept - slope * x) ** 2).sum() / (len(x) - 2)))
    yield f"  slope {slope:.4f}, residual standard error {left:.2f}, standard deviation of the budgets {x.std(ddof=1):.0f};"
    yield f"  expected z of the slope alone {z:.2f}, noncentrality of Chow's F {ncp:.1f}"
    yield f"  Chow's F: {100 * chow:.0f} %; slope alone, two-sided: {100 * two:.0f} %; one-sided: {100 * one:.0f} %"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--alpha", type=float, default=WatchRules().alpha)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--panel", action="store_true", help="columns of a panel of which some markets report")
    given = parser.parse_args()
    began = time.monotonic()
    if given.panel:
        panels(given.alpha, given.repetitions, given.seed)
        level = f"Level {100 * given.alpha:g} % for all columns together"
        print(f"\n{level}, {given.repetitions} repetitions, exact 95 % intervals; {time.monotonic() - began:.0f} s")
        return
    head = [
        "table",
        "level",
        "stream",
        "alarm within 100 rows",
        "named",
        "alarm at 100",
        "a column drifted",
        "rows until found",
    ]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    every, two = list(STREAMS), list(STREAMS)[:2]
    whole = WatchRules(alpha=given.alpha, per="stream", resamples=100)
    single = WatchRules(alpha=given.alpha, per="watch", resamples=100)
    for world, rules, streams in (
        (tv(), whole, every),
        (weekly(), whole, every),
        (weekly(0.5), whole, two),
        (tv(), single, two),
    ):
        for row in measure(world, rules, streams, given.repetitions, given.seed):
            print("| " + " | ".join(row) + " |", flush=True)
    print(
        f"\nStated level {100 * given.alpha:g} %, {given.repetitions} repetitions a stream; shares with exact 95 % intervals."
    )
    for alpha in (0.01, 0.05, 0.1):
        print(f"What theory allows, TV, one look at 100 new rows, all of the level {100 * alpha:g} % for one test:")
        print("\n".join(theory(alpha)))
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
