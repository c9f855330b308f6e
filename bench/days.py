"""How near to the truth come the curves of a table of working days, and would it help to add the weekends?

    python bench/days.py [--tables 30] [--seed 0]

Tables of 420 working days, Monday to Friday, three channels with an S curve each (Hill, slope 1.3, half at the mean spend) and
carry-over from one working day to the next (decay 0.3 to 0.8), levels of the days, a trend and noise. The first 28 days are
hidden, 352 are fitted and 40 predicted. Each table is fitted as it is, and with its Saturdays and Sundays added, on which
nothing was spent and nothing sold.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import pandas as pd

from adresponse.mixing.fit import MixSpec, fit_mix

CHANNELS = ("tv", "search", "print")
DAYS, HIDDEN, FITTED = 420, 28, 380
LEVELS = np.array([0.0, 4.0, 6.0, 2.0, -5.0])  # Monday to Friday


def simulate(seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows of a table, and what each channel brought on each, shape (n_days, n_channels)."""
    random = np.random.default_rng(seed)
    days = pd.bdate_range("2022-01-03", periods=DAYS)
    spend = random.gamma(1.0, [40, 20, 30], (DAYS, 3)) * (random.random((DAYS, 3)) < 0.7)
    brought = np.zeros((DAYS, 3))
    for i, decay in enumerate(random.uniform(0.3, 0.8, 3)):
        weights = decay ** np.arange(28)
        carried = np.convolve(spend[:, i], weights / weights.sum())[:DAYS]
        brought[:, i] = carried**1.3 / (carried**1.3 + spend[:, i].mean() ** 1.3) * random.uniform(15, 40)
    base = 150 + LEVELS[days.day_of_week] + 0.01 * np.arange(DAYS)
    sales = base + brought.sum(axis=1) + random.normal(0, 12, DAYS)
    return pd.DataFrame(dict(zip(CHANNELS, spend.T, strict=True))).assign(day=days, sales=sales), brought


def with_weekends(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with a row for each Saturday and Sunday."""
    whole = pd.date_range(frame["day"].iloc[0], frame["day"].iloc[-1], name="day")
    return frame.set_index("day").reindex(whole, fill_value=0.0).reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the first table; the others follow")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    ways = {"as it is": lambda frame: frame, "with weekends added": with_weekends}
    errors, within, ahead = ({way: [] for way in ways} for _ in range(3))
    for seed in range(asked.seed, asked.seed + asked.tables):
        frame, brought = simulate(seed)
        truth, later = brought[HIDDEN:FITTED].sum(axis=0), frame[FITTED:]
        for way, made in ways.items():
            rows = made(frame[HIDDEN:FITTED])
            fit = fit_mix(rows, rows["sales"], MixSpec(CHANNELS, date="day", shape="hill"))
            errors[way] += [abs(a.total / t - 1) for a, t in zip(fit.answers, truth, strict=True)]
            within[way] += [a.low <= t <= a.high for a, t in zip(fit.answers, truth, strict=True)]
            asked_of = made(later)
            predicted = fit.model.predict(asked_of)[asked_of["day"].isin(later["day"])]
            ahead[way].append(np.mean(np.abs(predicted / later["sales"].to_numpy() - 1)))
    print(f"{asked.tables} tables, {len(errors['as it is'])} channels")
    for way in ways:
        print(
            f"{way:<20} median error of a total {np.median(errors[way]):.3f}   coverage of its 90 % interval "
            f"{np.mean(within[way]):.3f}   MAPE ahead {np.mean(ahead[way]):.4f}"
        )


if __name__ == "__main__":
    main()
