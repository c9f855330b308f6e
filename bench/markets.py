"""How near to the truth come the curves of a panel whose markets differ in size, and is it seen whether the curves do, too?

    python bench/markets.py [--tables 8] [--seed 0]

Tables of six markets, 91 weeks fitted and 13 predicted, three channels with Hill curves (slope 0.8 to 1.6, half at 0.4 to 2.5
mean spends, 3 to 25 % of a level each) and geometric carry-over (decay 0.2 to 0.7), noise of 8 %. In the first half of
the tables all that grows with the size of a market: spend, curves, level and noise; its level per head is 0.7 to 1.3 that of
others. In the second half markets differ in their level alone. Each table is fitted with markets as equal, which is one curve
of spend as it is for all of them, and with the likelier sizes.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import pandas as pd

from adresponse.curves import saturate
from adresponse.mixing.fit import MixSpec, fit_mix

CHANNELS = ("tv", "search", "print")
SPEND = np.array([40.0, 20.0, 30.0])  # of a head and week, where any is spent
WEEKS, HIDDEN, AHEAD, MARKETS, LEVEL = 117, 13, 13, 6, 100.0


def simulate(seed: int, largest: float, growing: bool) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows of a table, the last ``AHEAD`` weeks of each market included, and what each channel brought in the rows fitted."""
    random = np.random.default_rng(seed)
    decays, slopes = random.uniform(0.2, 0.7, 3), random.uniform(0.8, 1.6, 3)
    halves, shares = SPEND * np.exp(random.uniform(np.log(0.4), np.log(2.5), 3)), random.uniform(0.03, 0.25, 3)
    means = [saturate("hill", 0.84 * SPEND[i], halves[i], slopes[i]) for i in range(3)]  # at the mean spend, zeros included
    truth, parts = np.zeros(3), []
    for market, size in enumerate(np.geomspace(1, largest, MARKETS)):
        spend = random.gamma(1.2, SPEND, (WEEKS, 3)) * (random.random((WEEKS, 3)) < 0.7)
        sales = np.full(WEEKS, LEVEL * random.uniform(0.7, 1.3)) + random.normal(0, 0.08 * LEVEL, WEEKS)
        heads = size if growing else 1.0
        for i, decay in enumerate(decays):
            weights = decay ** np.arange(13)
            carried = np.convolve(spend[:, i], weights / weights.sum())[:WEEKS]
            brought = shares[i] * LEVEL * saturate("hill", carried, halves[i], slopes[i]) / means[i]
            sales += brought
            truth[i] += heads * brought[HIDDEN:-AHEAD].sum()
        sales = sales * heads + LEVEL * (size - heads)
        week = pd.date_range("2022-01-03", periods=WEEKS, freq="7D")
        rows = pd.DataFrame(spend * heads, columns=list(CHANNELS)).assign(week=week, market=f"m{market}", sales=sales)
        parts.append(rows[HIDDEN:])
    return pd.concat(parts, ignore_index=True), truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=8, help="of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the first table; the others follow")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{'':<34} {'median error':>12} {'found/true':>10} {'coverage':>8} {'MAPE ahead':>10}  by sales")
    for growing in (True, False):
        for largest in (1, 3, 10, 50):
            for sizes in ("equal", "auto"):
                errors, within, ahead, by_sales = [], [], [], 0
                for seed in range(asked.seed, asked.seed + asked.tables):
                    frame, truth = simulate(seed, largest, growing)
                    later = frame["week"] > frame["week"].max() - pd.Timedelta(weeks=AHEAD)
                    rows, new = frame[~later], frame[later]
                    spec = MixSpec(CHANNELS, date="week", market="market", shape="hill", sizes=sizes)
                    fit = fit_mix(rows, rows["sales"], spec)
                    by_sales += fit.spec.sizes == "sales"
                    errors += [a.total / t - 1 for a, t in zip(fit.answers, truth, strict=True)]
                    within += [a.low <= t <= a.high for a, t in zip(fit.answers, truth, strict=True)]
                    ahead.append(float(np.mean(np.abs(fit.model.predict(new) / new["sales"] - 1))))
                kind = f"{'all grows' if growing else 'levels alone'}, 1 to {largest}, {sizes}"
                print(
                    f"{kind:<34} {np.median(np.abs(errors)):>12.3f} {1 + np.median(errors):>10.2f} {np.mean(within):>8.2f} "
                    f"{np.mean(ahead):>10.3f}  {by_sales} of {asked.tables}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
