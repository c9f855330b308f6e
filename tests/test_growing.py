"""Old and new rows become one table, and what was held out stays unseen."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adresponse.errors import TableError
from adresponse.growing import Grown, Kept, content_digest, grow, row_keys, rows_of, scored_rows, to_parquet, together
from adresponse.table import AdTable, read


def spend(rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    tv = rng.uniform(0, 300, rows).round(1)
    return pd.DataFrame({"TV": tv, "Sales": (7 + 0.05 * tv + rng.normal(0, 1, rows)).round(2)})


def weekly(weeks: int, start: str = "2024-01-01", seed: int = 0, markets: tuple[str, ...] = ()) -> pd.DataFrame:
    frame = spend(weeks * max(len(markets), 1), seed)
    dates = pd.date_range(start, periods=weeks, freq="W-MON")
    frame["week"] = np.repeat(dates, max(len(markets), 1))
    if markets:
        frame["region"] = list(markets) * weeks
    return frame


def table(frame: pd.DataFrame) -> AdTable:
    roles: dict[str, Any] = {"target": "Sales", "channels": ["TV"]}
    roles |= {"date": "week"} if "week" in frame else {}
    return read(frame, **roles, market="region" if "region" in frame else None)


def kept(frame: pd.DataFrame, held_out: Any) -> Kept:
    read_in = table(frame)
    return Kept(read_in.frame, np.asarray(held_out, dtype=bool))


def last(rows: int, of: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.arange(of) >= of - rows


def held_out_rows(grown: Grown) -> set[tuple[Any, ...]]:
    return set(map(tuple, grown.table.frame.iloc[grown.test].to_numpy().tolist()))


def test_rows_and_their_sides_survive_the_file() -> None:
    frame = weekly(6, markets=("North", "Süd"))
    given = table(frame)
    back = Kept.read(to_parquet(given.frame, np.array([10, 11])), given.contract)
    pd.testing.assert_frame_equal(back.frame, given.frame.reset_index(drop=True), check_dtype=False)
    assert back.held_out.tolist() == [False] * 10 + [True] * 2


def test_a_column_named_held_out_is_no_trouble() -> None:
    frame = spend(5).rename(columns={"TV": "held_out"})
    given = read(frame, target="Sales", channels=["held_out"])
    back = Kept.read(to_parquet(given.frame, np.array([4])), given.contract)
    assert list(back.frame) == ["held_out", "Sales"]
    assert back.held_out.tolist() == [False] * 4 + [True]


def test_rows_of_another_contract_are_refused() -> None:
    given = table(spend(5))
    other = read(spend(5).rename(columns={"TV": "Radio"}), target="Sales", channels=["Radio"])
    with pytest.raises(TableError, match="do not have the columns"):
        Kept.read(to_parquet(given.frame, np.array([4])), other.contract)


@pytest.mark.parametrize("together", [True, False], ids=["the grown table", "the new rows alone"])
def test_known_rows_are_taken_once(together: bool) -> None:
    old, new = spend(50), spend(20, seed=1)
    arrived = pd.concat([old, new]) if together else new
    grown = grow(kept(old, last(10, 50)), [table(arrived)], share=0.2)
    assert (grown.added, grown.repeated, grown.revised) == (20, 50 if together else 0, 0)
    assert len(grown.table.frame) == 70
    assert grown.table.digest == table(pd.concat([old, new])).digest


def test_equal_rows_are_counted_not_merged() -> None:
    twice = pd.concat([spend(3), spend(3)])
    grown = grow(kept(spend(3), [0, 0, 1]), [table(twice)], share=0.2)
    assert (grown.added, grown.repeated) == (3, 3)  # each is there once, and arrives twice


def test_without_dates_a_row_keeps_its_side_however_the_table_grows() -> None:
    old, first, second = spend(100), spend(80, seed=1), spend(60, seed=2)
    base = kept(old, np.arange(100) % 5 == 0)
    one = grow(base, [table(first)], share=0.2)
    two = grow(base, [table(first), table(second)], share=0.2)
    shuffled = grow(base, [table(pd.concat([second, first]).sample(frac=1, random_state=3))], share=0.2)
    assert held_out_rows(grow(base, [table(old)], share=0.2)) <= held_out_rows(one) <= held_out_rows(two)
    assert held_out_rows(two) == held_out_rows(shuffled)
    new_held_out = len(two.test) - 20
    assert 12 <= new_held_out <= 46  # 140 draws of 0.2: four standard deviations of 4.7 around 28


def test_without_dates_no_row_that_the_champion_learnt_from_is_held_out() -> None:
    old = spend(100)
    grown = grow(kept(old, last(20, 100)), [table(pd.concat([old, spend(100, seed=1)]))], share=0.2)
    learnt = set(map(tuple, old.iloc[:80].to_numpy().tolist()))
    assert not held_out_rows(grown) & learnt


def test_with_dates_the_last_periods_are_held_out() -> None:
    old, new = weekly(100), weekly(25, start="2025-12-01", seed=1)
    grown = grow(kept(old, last(20, 100)), [table(new)], share=0.2)
    assert len(grown.test) == 25  # a fifth of 125
    assert grown.table.frame["week"].iloc[grown.test].min() == pd.Timestamp("2025-12-01")
    assert grown.table.frame["week"].is_monotonic_increasing


def test_with_dates_none_that_the_champion_learnt_from_is_held_out() -> None:
    old = weekly(100, start="2024-01-01")
    backfill = weekly(60, start="2022-01-03", seed=1)  # periods before the champion's first
    grown = grow(kept(old, last(20, 100)), [table(backfill)], share=0.2)
    assert len(grown.test) == 20  # a fifth of 160 would reach into the rows fitted
    assert grown.table.frame["week"].iloc[grown.train].max() < old["week"].iloc[80]


@pytest.mark.parametrize(
    ("weeks", "fitted", "waiting"),
    [
        (12, ["North", "South"], 9),  # a fifth of 129 rows are the last nine weeks, in which the market opened
        (20, ["North", "South", "West"], 0),
    ],
)
def test_a_market_that_would_be_held_out_whole_waits(weeks: int, fitted: list[str], waiting: int) -> None:
    old, new = weekly(48, markets=("North", "South")), weekly(weeks, start="2024-12-02", seed=1, markets=("North", "South"))
    west = weekly(weeks - 3, start="2024-12-23", seed=2, markets=("West",))
    arrivals = [table(pd.concat([new, west]))]
    grown = grow(kept(old, last(20, 96)), arrivals, share=0.2, market="region")
    regions = grown.table.frame["region"]
    assert sorted(set(regions.iloc[grown.train])) == sorted(set(regions.iloc[grown.test])) == fitted
    assert (len(grown.waiting), set(grown.waiting["region"])) == (waiting, {"West"} if waiting else set())
    assert len(regions) + waiting == 96 + 3 * weeks - 3
    whole = grow(kept(old, last(20, 96)), arrivals, share=0.2)  # a straight line needs no row of each
    assert (len(whole.table.frame), len(whole.waiting)) == (96 + 3 * weeks - 3, 0)
    assert whole.table.frame["week"].iloc[whole.test].min() == grown.table.frame["week"].iloc[grown.test].min()


def test_a_champion_fitted_on_all_rows_leaves_the_new_ones_to_score() -> None:
    dated = grow(kept(weekly(50), last(0, 50)), [table(weekly(10, start="2024-12-16", seed=1))], share=0)
    assert len(dated.test) == 10
    plain = grow(kept(spend(50), last(0, 50)), [table(spend(100, seed=1))], share=0)
    assert set(plain.test) <= set(range(50, 150))
    assert 5 <= len(plain.test) <= 36  # 100 draws of 0.2: four standard deviations of 4 around 20


def test_a_revised_period_takes_the_place_of_the_old() -> None:
    old = weekly(30, markets=("North", "South"))
    revised = old.iloc[[4, 5, 59]].copy()
    revised.loc[revised.index[0], "Sales"] += 1
    grown = grow(kept(old, last(12, 60)), [table(revised)], share=0.2)
    assert (grown.added, grown.repeated, grown.revised) == (0, 2, 1)
    assert len(grown.table.frame) == 60
    here = grown.table.frame.query("week == @old.week.iloc[4] and region == 'North'")
    assert here["Sales"].item() == pytest.approx(old["Sales"].iloc[4] + 1)


def test_a_window_keeps_the_last_periods_or_rows() -> None:
    dated = grow(kept(weekly(40), last(8, 40)), [table(weekly(10, start="2024-10-07", seed=1))], share=0.2, window=30)
    assert (len(dated.table.frame), dated.outside) == (30, 20)
    plain = grow(kept(spend(40), last(8, 40)), [table(spend(10, seed=1))], share=0.2, window=30)
    assert (len(plain.table.frame), plain.outside) == (30, 20)


def test_a_key_is_the_same_on_every_machine() -> None:
    frame = pd.DataFrame({"a": [1.0, -0.0], "m": ["x", "é"]})
    keys = [k.hex()[:16] for k in row_keys(frame, ["a", "m"])]
    by_hand = [
        hashlib.sha256(struct.pack("<d", value) + struct.pack("<q", len(text.encode())) + text.encode()).hexdigest()[:16]
        for value, text in ((1.0, "x"), (0.0, "é"))
    ]
    assert keys == by_hand


def test_files_together_hold_each_row_as_often_as_the_one_that_has_it_most_often() -> None:
    contract = table(spend(3)).contract
    a, b, c = (spend(1, seed) for seed in (1, 2, 3))
    whole = together([pd.concat([a, a]), pd.concat([a, b])], pd.concat([a, b, b, c]), contract)
    assert sorted(whole["TV"]) == sorted([*a["TV"], *a["TV"], *b["TV"], *b["TV"], *c["TV"]])
    without_sales = together([a], pd.concat([a, b])[["TV"]], contract)
    assert (len(without_sales), int(without_sales["Sales"].notna().sum())) == (3, 1)


def test_files_together_hold_each_period_as_it_was_sent_last_with_its_sales() -> None:
    first, again = weekly(4), weekly(6, seed=1)
    again.loc[[1, 5], "Sales"] = np.nan
    whole = together([table(first).frame], again, table(first).contract)
    assert whole["week"].is_unique
    sales = whole.set_index("week")["Sales"].sort_index()
    assert sales.iloc[[0, 2, 3, 4]].tolist() == again["Sales"].iloc[[0, 2, 3, 4]].tolist()
    assert sales.iloc[1] == first["Sales"].iloc[1]  # known once; a plan that comes later does not take it away
    assert np.isnan(sales.iloc[5])


def test_the_digest_is_that_of_all_columns_and_rows_in_whatever_order_of_columns() -> None:
    frame = weekly(5, markets=("North", "South")).assign(note="x")
    digest = content_digest(frame)
    assert content_digest(frame[frame.columns[::-1]]) == digest
    assert content_digest(frame.assign(week=frame["week"].astype("datetime64[s]"))) == digest  # as Parquet may have it
    for changed in (frame[:-1], frame.assign(note="y"), frame.rename(columns={"TV": "Tv"}), frame.iloc[::-1]):
        assert content_digest(changed) != digest
    frame.loc[9, "Sales"] = np.nan
    assert content_digest(frame) not in (digest, content_digest(frame.fillna({"Sales": 0.0})))


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda f: f, 6),
        (lambda f: f.assign(Sales=[np.nan, *f["Sales"][1:]]), 5),  # a fit cannot learn from it
        (lambda f: f.assign(TV=[-1.0, np.inf, *f["TV"][2:]]), 4),  # spend is finite, and not below zero
        (lambda f: f.drop(columns="Sales"), 0),
        (lambda f: f.assign(TV=f["TV"].astype(str)), 0),  # another type than the contract's
    ],
)
def test_only_whole_rows_are_learnt_from(change: Any, left: int) -> None:
    assert len(scored_rows(change(spend(6)), table(spend(3)).contract)) == left


def test_remembered_rows_serve_a_version_that_reads_no_other_column() -> None:
    given = weekly(6, markets=("North", "South"))
    content = to_parquet(table(given).frame, np.zeros(0, dtype=int))
    narrow = table(spend(5)).contract
    found = rows_of(content, narrow)
    assert found is not None
    assert list(found) == ["TV", "Sales"]
    assert rows_of(to_parquet(table(spend(5)).frame, np.zeros(0, dtype=int)), table(given).contract) is None
