"""Are missing, new, renamed, re-typed and rescaled columns, and repeated, revised and missing periods told apart and named?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from adresponse.rows import Reads
from adresponse.schema import Contract
from adresponse.table import read_builtin
from adresponse.watching.arrivals import arrive, compare_columns

TABLE = read_builtin()
CONTRACT = TABLE.contract
REFERENCE = TABLE.frame
PANEL = Contract.build(target="Sales", channels=["TV", "Radio"], date="week", market="city")
RNG = np.random.default_rng(1)
NEW = pd.DataFrame({"TV": RNG.uniform(1, 296, 60), "Sales": RNG.uniform(3, 25, 60)})


def panel(start: str, weeks: int, cities: tuple[str, ...] = ("Ghent", "Lyon"), seed: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    dates = pd.date_range(start, periods=weeks, freq="7D")
    frame = pd.MultiIndex.from_product([dates, cities], names=["week", "city"]).to_frame(index=False)
    return frame.assign(
        TV=rng.gamma(4, 25, len(frame)), Radio=rng.gamma(3, 10, len(frame)), Sales=rng.normal(50, 5, len(frame))
    )


BEFORE, AFTER = panel("2023-01-02", 60), panel("2024-02-26", 12, seed=3)


@pytest.mark.parametrize(
    ("change", "code", "severity", "said"),
    [
        (lambda f: f.drop(columns="TV"), "W001", "stop", "Column 'TV' is missing, and no row can be scored without it."),
        (lambda f: f.drop(columns="Sales"), "W001", "note", "it cannot be told whether the model still predicts right"),
        (lambda f: f.assign(Press=1.0), "W002", "note", "Column 'Press' is new; the model does not read it."),
        (lambda f: f.rename(columns={"TV": "tv"}), "W003", "stop", "the new column 'tv' has nearly its name and its values"),
        (lambda f: f.rename(columns={"TV": "TV spend"}), "W003", "stop", "'TV spend' has nearly its name"),
        (lambda f: f.rename(columns={"TV": "Fernsehen"}), "W003", "stop", "'Fernsehen' has values like it had"),
        (lambda f: f.assign(TV=f.TV.map("{:.1f} k".format)), "W004", "stop", "does not in 60 rows of 60: row 1 has"),
        (lambda f: f.assign(TV=f.TV > 100), "W004", "stop", "'TV' held numbers"),  # yes and no
        (lambda f: f.assign(TV=f.TV * 1000), "W005", "stop", "TV looks 1,000 times larger than before, in the same shape"),
        (lambda f: f.assign(TV=f.TV * 1000), "W005", "stop", "It was in thousand dollars before; is it dollars now?"),
        (lambda f: f.assign(TV=f.TV / 1000), "W005", "stop", "TV looks 1,000 times smaller"),
        (lambda f: f.assign(Sales=f.Sales * 1000), "W005", "stop", "Sales looks 1,000 times larger"),
        (lambda f: f.assign(TV=f.TV * 100), "W005", "stop", "TV looks 100 times larger"),
        (lambda f: f.assign(TV=f.TV * 7), "W005", "review", "Is it weeks against days?"),  # budgets may have grown, too
        (lambda f: f.assign(TV=f.TV.where(f.index != 3)), "W009", "review", "1 row of 60: row 4 has no value. They were left"),
        (lambda f: f.assign(TV=f.TV.where(f.index != 3, -5)), "W009", "review", "row 4 has spend of -5"),
        (lambda f: f.assign(TV=f.TV.where(f.index != 3, 1.797e308)), "W009", "review", "row 4 has 1.797e+308, too large to"),
        (lambda f: f.assign(TV=np.inf), "W009", "stop", "60 rows of 60: row 1 has a value that is not finite"),
    ],
)
def test_what_changed_is_named(change: Callable[..., pd.DataFrame], code: str, severity: str, said: str) -> None:
    found = compare_columns(CONTRACT, change(NEW), REFERENCE)
    told = [(f.code, f.severity) for f in found if said in f.message]
    assert told == [(code, severity)], found
    assert all(f.advice for f in found)
    assert {f.code for f in found} == {code}, "nothing else is said of it"


def test_a_column_with_neither_the_name_nor_the_values_is_no_rename() -> None:
    found = compare_columns(CONTRACT, NEW.rename(columns={"TV": "x"}).assign(x=1e7), REFERENCE)
    assert [f.code for f in found] == ["W001", "W002"]


def test_rows_of_markets_that_opened_are_left_out_and_named() -> None:
    opened = panel("2024-02-26", 12, ("Ghent", "Lyon", "Namur", "ghent"), seed=3)
    opened.loc[opened["city"] == "Namur", ["TV", "Sales"]] *= 1000  # a large one changes no unit
    arrived = arrive(PANEL, opened, BEFORE, Reads(PANEL, dated=True, markets=("Ghent", "Lyon")))
    assert set(arrived.frame["city"]) == {"Ghent", "Lyon"}
    assert (len(arrived.frame), arrived.unknown_market) == (24, 24)
    assert [(f.code, f.severity, f.message) for f in arrived.findings] == [
        (
            "W021",
            "review",
            "24 rows of 48 are of markets that the model does not know: Namur (12) and ghent (12). They were left out. Did "
            "you mean 'Ghent'?",
        )
    ]


@pytest.mark.parametrize("name", ["week", "city"])
def test_a_date_or_market_that_the_model_reads_is_missed(name: str) -> None:
    reads = Reads(PANEL, dated=True, markets=("Ghent", "Lyon"))
    found = arrive(PANEL, AFTER.drop(columns=name), BEFORE, reads).findings
    assert [(f.code, f.severity) for f in found] == [("W001", "stop")]
    assert f"Column {name!r} is missing, and no row can be scored without it." in found[0].message
    arrived = arrive(PANEL, AFTER.assign(**{name: AFTER[name].where(AFTER.index != 4)}), BEFORE, reads)
    assert [(f.code, f.severity) for f in arrived.findings] == [("W009", "review")]
    assert f"{name} cannot be scored in 1 row of 24: row 5 has no value. They were left out." in arrived.findings[0].message
    assert (len(arrived.frame), arrived.bad, arrived.unknown_market) == (23, 1, 0)


def test_a_model_without_levels_of_markets_takes_those_that_opened() -> None:
    arrived = arrive(PANEL, panel("2024-02-26", 12, ("Ghent", "Namur"), seed=3), BEFORE)
    assert (len(arrived.frame), arrived.findings) == (24, ())


def test_an_unchanged_file_raises_nothing() -> None:
    assert compare_columns(CONTRACT, NEW, REFERENCE) == ()
    assert compare_columns(PANEL, AFTER, BEFORE) == ()


def test_whole_numbers_and_numbers_as_text_are_numbers() -> None:
    arrived = arrive(CONTRACT, NEW.round().astype(int).astype(str), REFERENCE)
    assert arrived.findings == ()
    assert arrived.frame.dtypes.astype(str).to_dict() == {"TV": "float64", "Sales": "float64"}


@pytest.mark.parametrize("factor", [3.0, 5.0])
def test_budgets_that_grew_are_no_change_of_unit(factor: float) -> None:
    grown = NEW.assign(TV=NEW.TV + factor * 100)  # another shape
    assert compare_columns(CONTRACT, grown, REFERENCE) == ()


def test_twenty_rows_are_enough_to_name_a_unit() -> None:
    rng, named = np.random.default_rng(4), 0
    for _ in range(100):
        rows = pd.DataFrame({"TV": 1000 * rng.choice(REFERENCE["TV"], 20), "Sales": rng.choice(REFERENCE["Sales"], 20)})
        named += [f.code for f in compare_columns(CONTRACT, rows, REFERENCE)] == ["W005"]
    assert named >= 98  # the median of 20 rows may lie far off by chance


def test_a_quarter_of_a_year_in_another_unit_is_named_though_the_season_differs() -> None:
    before = panel("2022-01-03", 104).assign(TV=lambda f: f.TV * np.where(f.week.dt.month <= 3, 0.4, 1.0))
    winter = panel("2024-01-01", 12, seed=3).assign(TV=lambda f: 0.4 * f.TV)
    assert compare_columns(PANEL, winter, before) == ()
    found = compare_columns(PANEL, winter.assign(TV=1000 * winter["TV"]), before)
    assert [f.code for f in found] == ["W005"]


def test_rows_that_were_there_before_are_not_counted_again() -> None:
    both = pd.concat([REFERENCE.iloc[:30], NEW])
    arrived = arrive(CONTRACT, both, REFERENCE)
    assert (arrived.repeated, len(arrived.frame)) == (30, 60)
    assert [(f.code, f.severity) for f in arrived.findings] == [("W006", "review")]
    assert "30 rows of 90 came with all their values" in arrived.findings[0].message
    again = arrive(CONTRACT, REFERENCE, REFERENCE)
    assert len(again.frame) == 0
    assert (again.findings[0].message, again.findings[0].advice) == (
        "All 200 rows were there before.",
        "Send a file with new rows.",
    )


def test_a_single_row_may_repeat_an_old_one_by_chance() -> None:
    assert arrive(CONTRACT, pd.concat([NEW, REFERENCE.iloc[[5]]]), REFERENCE).repeated == 0


def test_repeated_and_revised_periods_are_told_apart() -> None:
    revised = BEFORE.iloc[100:110].assign(TV=BEFORE["TV"].iloc[100:110] + 1)
    arrived = arrive(PANEL, pd.concat([BEFORE.iloc[110:], revised, AFTER]), BEFORE)
    assert (arrived.repeated, arrived.revised, len(arrived.frame)) == (10, 10, len(AFTER))
    by_code = {f.code: f.message for f in arrived.findings}
    assert set(by_code) == {"W006", "W007"}
    assert "10 rows of 44 came for a period that is there already; the first is row 1" in by_code["W006"]
    old, when = BEFORE.iloc[100], f"{BEFORE['week'].iloc[100]:%Y-%m-%d}"
    assert f"row 11 ({when}, {old['city']}) has TV {old['TV'] + 1:.2f}, before {old['TV']:.2f}" in by_code["W007"]


def test_a_period_twice_in_the_new_file_counts_once() -> None:
    arrived = arrive(PANEL, pd.concat([AFTER, AFTER.iloc[:2]]), BEFORE)
    assert (arrived.repeated, len(arrived.frame)) == (2, len(AFTER))


def test_rows_that_share_a_date_are_all_counted_where_the_rows_fitted_did() -> None:
    contract = Contract.build(target="Sales", channels=["TV"], date="week")
    before, after = (f.drop(columns="city") for f in (BEFORE, AFTER))
    arrived = arrive(contract, pd.concat([before.iloc[-10:], after]), before)
    assert (arrived.repeated, arrived.revised, len(arrived.frame)) == (10, 0, len(after))
    later = after.assign(week=after["week"] + pd.Timedelta("12h"))
    assert arrive(contract, later, before).repeated == 0


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (panel("2024-03-25", 10), "About 4 periods missing: after 2024-02-19 comes 2024-03-25, between the rows fitted and"),
        (
            pd.concat([panel("2024-02-26", 3), panel("2024-04-01", 3)]),
            "About 2 periods missing: after 2024-03-11 comes 2024-04-01",
        ),
    ],
)
def test_missing_periods_are_counted_and_placed(rows: pd.DataFrame, said: str) -> None:
    found = compare_columns(PANEL, rows, BEFORE)
    assert [(f.code, f.severity) for f in found] == [("W008", "review")]
    assert said in found[0].message


def test_dates_as_text_are_dates_and_other_text_is_not() -> None:
    text = AFTER.assign(week=AFTER["week"].dt.strftime("%Y-%m-%d"))
    assert compare_columns(PANEL, text, BEFORE) == ()
    wrong = compare_columns(PANEL, AFTER.assign(week="first week"), BEFORE)
    assert [(f.code, f.severity) for f in wrong] == [("W004", "stop")]
    assert "held dates and now does not in 24 rows of 24" in wrong[0].message


def test_a_missing_date_is_a_review_since_rows_can_still_be_scored() -> None:
    found = compare_columns(PANEL, AFTER.drop(columns="week"), BEFORE)
    assert [(f.code, f.severity) for f in found] == [("W001", "review")]


def test_what_was_given_is_left_as_it_was() -> None:
    before = NEW.copy()
    arrive(CONTRACT, NEW, REFERENCE)
    pd.testing.assert_frame_equal(NEW, before)
