"""A table that may have broken its contract is read as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adresponse.reading.raw import Raw
from adresponse.table import read_all


def raw(folder: Path, text: str, **how: Any) -> Raw:
    path = folder / "new rows.csv"
    path.write_text(text, encoding="utf-8")
    return read_all(path, **how)


def test_every_column_is_read_as_what_most_of_its_cells_are(tmp_path: Path) -> None:
    found = raw(tmp_path, "week,TV,Notes,Sales\n2024-01-01,1.5,a,10\n2024-01-08,x,,\n2024-01-15,3,c,12\n")
    assert found.kinds == {"week": "date", "TV": "number", "Notes": "text", "Sales": "number"}
    assert found.frame["week"].tolist() == list(pd.to_datetime(["2024-01-01", "2024-01-08", "2024-01-15"]))
    np.testing.assert_array_equal(found.frame["TV"], [1.5, np.nan, 3])
    np.testing.assert_array_equal(found.frame["Sales"], [10, np.nan, 12])
    assert found.unread == {"TV": 1}
    assert found.said == {"TV": {2: "x"}}
    assert found.frame.index.tolist() == [1, 2, 3]


def test_a_column_that_turned_into_text_is_called_text(tmp_path: Path) -> None:
    found = raw(tmp_path, "TV,Sales\nhigh,1\nlow,2\n12,3\n")
    assert found.kinds["TV"] == "text"
    assert found.frame["TV"].tolist() == ["high", "low", "12"]


def test_decimal_commas_and_thousands_are_read(tmp_path: Path) -> None:
    found = raw(tmp_path, "TV;Sales\n1.234,5;7\n2,25;8\n")
    assert found.frame["TV"].tolist() == [1234.5, 2.25]


def test_the_name_of_a_spend_column_may_speak_of_dates(tmp_path: Path) -> None:
    found = raw(tmp_path, "Monat;Tagesbudget;Wochenumsatz\n12.2024;6,09;7\n01.2025;1,5;8\n")
    assert found.frame["Tagesbudget"].tolist() == [6.09, 1.5]
    assert found.kinds["Monat"] == "date"
    found = raw(tmp_path, "Monat,Tagesbudget,Monatsumsatz\n2024.12,3441.6,7.2345\n2025.01,1500.5,8.1234\n")
    assert found.kinds == {"Monat": "date", "Tagesbudget": "number", "Monatsumsatz": "number"}


def test_the_contracts_date_is_read_as_dates_whatever_it_is_called(tmp_path: Path) -> None:
    text = "when,Sales\n20241231,1\n20250107,2\n"
    assert raw(tmp_path, text).kinds["when"] == "number"
    found = raw(tmp_path, text, date="when")
    assert found.frame["when"].tolist() == list(pd.to_datetime(["2024-12-31", "2025-01-07"]))


@pytest.mark.parametrize("how", ["text", "number"])
def test_the_contracts_market_is_a_name_though_it_be_a_number(how: str, tmp_path: Path) -> None:
    if how == "text":
        found = raw(tmp_path, "store,Sales\n7,1\n8,2\n,3\n", market="store")
    else:
        found = read_all(pd.DataFrame({"store": [7.0, 8.0, np.nan], "Sales": [1.0, 2.0, 3.0]}), market="store")
    assert found.kinds["store"] == "text"
    assert found.frame["store"].tolist()[:2] == ["7", "8"]
    assert pd.isna(found.frame["store"].iloc[2])


def test_no_more_rows_are_taken_than_asked_for(tmp_path: Path) -> None:
    assert len(raw(tmp_path, "a,b\n" + "1,2\n" * 50, max_rows=7).frame) == 7


@pytest.mark.parametrize("empty", [[], [[None, None]]], ids=["no rows", "a row without values"])
def test_a_table_without_values_has_no_kinds(empty: list[Any]) -> None:
    found = read_all(pd.DataFrame(empty, columns=["TV", "Sales"]))
    assert set(found.kinds.values()) == {"empty"}
