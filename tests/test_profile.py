"""Are the numbers, ranges, correlations and sentences of a table right?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from adresponse.profile import correlate, describe, explore, fisher_interval, histogram
from adresponse.schema import Column
from examples import shipped, table

PROFILE = explore(table(shipped("tvmarketing"), dictionary={"TV": {"means": "TV budget", "unit": "k$"}}))


def test_numbers_equal_pandas() -> None:
    frame = shipped("advertising")
    for numbers in explore(table(frame)).numbers:
        oracle = frame[numbers.name].describe()
        got = [
            numbers.count,
            numbers.mean,
            numbers.std,
            numbers.lowest,
            numbers.q1,
            numbers.median,
            numbers.q3,
            numbers.highest,
        ]
        assert got == pytest.approx(oracle.tolist())
        assert numbers.total == pytest.approx(frame[numbers.name].sum())


def test_pearson_interval_is_scipys_and_spearman_is_close_to_a_bootstrap() -> None:
    frame = shipped("tvmarketing")
    found = PROFILE.correlations[0]
    oracle = stats.pearsonr(frame["TV"], frame["Sales"])
    interval = oracle.confidence_interval(0.95)
    assert (found.pearson, found.pearson_low, found.pearson_high) == pytest.approx((oracle.statistic, *interval))
    drawn = stats.bootstrap(
        (frame["TV"], frame["Sales"]), lambda x, y: stats.spearmanr(x, y).statistic,
        paired=True, vectorized=False, n_resamples=2_000, method="percentile", rng=1,
    ).confidence_interval  # fmt: skip
    # two approximations of one interval of width 0.12: a quarter of it
    assert (found.spearman_low, found.spearman_high) == pytest.approx(tuple(drawn), abs=0.03)


def test_three_channels_are_correlated_with_sales_and_each_other() -> None:
    pairs = {(c.a, c.b): c.pearson for c in explore(table(shipped("advertising"))).correlations}
    # ISLR, table 3.5, printed to four digits
    assert pairs["TV", "Sales"] == pytest.approx(0.7822, abs=5e-5)
    assert pairs["Radio", "Newspaper"] == pytest.approx(0.3541, abs=5e-5)
    assert len(pairs) == 6


def test_columns_are_correlated_within_their_markets() -> None:
    random = np.random.default_rng(1)
    tv = np.concatenate([random.gamma(4, 5, 60) + 100 * i for i in range(3)])
    frame = pd.DataFrame({"TV": tv, "Sales": tv, "region": np.repeat(["A", "B", "C"], 60)})
    frame["Sales"] += random.normal(0, 4, 180) - 250 * np.repeat(range(3), 60)  # markets that spend more sell less
    own = frame.groupby("region")[["TV", "Sales"]].transform(lambda x: (x - x.mean()) / x.std())
    assert frame["TV"].corr(frame["Sales"]) < -0.9
    found = explore(table(frame, market="region"))
    assert found.correlations[0].pearson == pytest.approx(own["TV"].corr(own["Sales"]))
    assert "TV and Sales move strongly together in their market (r = 0.9" in found.answers[2].sentence


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        ([0.7, 296.4], (0, 50, 100, 150, 200, 250, 300)),  # the TV budgets' range
        ([-3.0, 3.0], (-3, -2, -1, 0, 1, 2, 3, 4)),  # below zero; the last edge lies above the highest value
        ([5.0, 5.0], (5, 10)),  # one value
        ([0.0, 1e-9], None),  # tiny
        ([1e12, 9e12], None),  # huge
    ],
)
def test_edges_are_round_and_hold_every_row(values: list[float], edges: tuple[float, ...] | None) -> None:
    found = histogram(np.array(values), bins=6)
    assert sum(found.counts) == len(values)
    assert found.edges[0] <= min(values) <= max(values) <= found.edges[-1]
    if edges:
        assert found.edges == pytest.approx(edges)


def test_sentences_carry_figure_and_unit() -> None:
    assert "0.7 to 296.4 k$" in PROFILE.numbers[0].sentence
    assert "between 200 and 250" in PROFILE.numbers[0].sentence
    assert PROFILE.answers[0].question == "How much is spent?"
    assert "29,408 k$ in all" in PROFILE.answers[0].sentence
    assert "strongly together" in PROFILE.answers[2].sentence


def test_rows_where_much_was_spent_and_little_sold() -> None:
    frame = shipped("tvmarketing")
    for odd in PROFILE.much_spent_little_sold:
        row = frame.iloc[odd.row - 1]
        assert odd.values == {"TV": row["TV"], "Sales": row["Sales"]}
        assert row["TV"] >= frame["TV"].quantile(0.75)
        assert row["Sales"] <= frame["Sales"].median()
        assert row["Sales"] < odd.expected


def test_a_constant_column_has_numbers_and_no_correlation() -> None:
    assert describe(np.full(5, 3.0), Column("TV", "channel")).std == 0
    assert np.isnan(correlate(np.full(5, 3.0), np.arange(5.0), "TV", "Sales").pearson)


def test_perfect_correlation_has_no_width() -> None:
    assert fisher_interval(1.0, 0.1) == (1.0, 1.0)


def test_a_million_rows_are_explored() -> None:
    spend = np.random.default_rng(0).uniform(0, 100, 1_000_000)
    found = explore(table(pd.DataFrame({"TV": spend, "Sales": 2 * spend})))
    assert found.rows == 1_000_000


def test_a_column_that_is_nearly_always_zero_is_described() -> None:
    values = np.zeros(5_000)
    values[17] = 1.0
    assert describe(values, Column("Holiday", "control")).mode == 0


def test_a_wide_table_is_paired_with_the_target_alone() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).uniform(1, 9, (60, 31)), columns=[*(f"c{i}" for i in range(30)), "Sales"])
    assert {c.b for c in explore(table(frame)).correlations} == {"Sales"}
