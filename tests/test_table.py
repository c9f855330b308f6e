"""A table is read the same from every format, or refused by column, row and value."""

from __future__ import annotations

import csv
import datetime
import decimal
import math
import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adresponse.errors import ConfigError, TableError
from adresponse.reading import dates, numerals, textfile
from adresponse.table import AdTable, builtin_names, read, read_builtin

ROLES: dict[str, Any] = {"target": "Sales", "channels": ["TV"]}


def write(folder: Path, text: str | bytes, name: str = "ads.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def codes(table: AdTable) -> list[str]:
    return [f.code for f in table.findings]


def said(table: AdTable, code: str) -> str:
    return next(f.message for f in table.findings if f.code == code)


def refusal(source: Any, **how: Any) -> str:
    with pytest.raises(TableError) as refused:
        read(source, **how)
    message = str(refused.value)
    assert "\n" not in message
    assert message.endswith(("?", "."))
    return message


# --- what comes back


def test_the_builtin_table_is_the_published_one() -> None:
    table = read_builtin()
    assert (table.rows_read, len(table.frame), table.findings) == (200, 200, ())
    assert table.source == "built-in table tvmarketing"
    assert table.contract.label("TV") == "TV (thousand dollars)"
    assert table.X["TV"].agg(["min", "max"]).tolist() == [0.7, 296.4]
    assert table.X["TV"].mean() == pytest.approx(147.04, abs=0.005)  # the study gives two decimals
    assert table.y.mean() == pytest.approx(14.02, abs=0.005)


def test_builtin_tables_are_found_by_name_and_take_other_roles() -> None:
    assert set(builtin_names()) >= {"advertising", "tvmarketing"}
    assert read_builtin("advertising", channels=["Radio"]).contract.features == ("Radio",)
    with pytest.raises(TableError, match=r"no built-in table 'tvmarket'\. Did you mean 'tvmarketing'"):
        read_builtin("tvmarket")


def test_columns_come_in_the_order_of_the_contract_with_its_types(tmp_path: Path) -> None:
    path = write(tmp_path, "geo,Sales,day,price,TV\nUlm,2,2024-01-02,-1,3\nBonn,1,2024-01-01,0,4\n")
    table = read(path, **ROLES, controls=["price"], date="day", market="geo", origin="made up")
    assert list(table.frame.columns) == ["TV", "price", "Sales", "day", "geo"]
    assert table.frame.dtypes.astype(str).to_list()[:4] == ["float64", "float64", "float64", "datetime64[us]"]
    assert table.frame["geo"].to_list() == ["Bonn", "Ulm"]
    assert table.frame.index.to_list() == [2, 1], "each row keeps its number in the source"
    assert (table.contract.origin, table.source, table.findings) == ("made up", str(path), ())


def test_rows_are_in_the_order_of_dates_and_ties_keep_theirs() -> None:
    frame = pd.DataFrame({"day": ["2024-01-02", "2024-01-01"] * 3, "TV": range(6), "Sales": range(6)})
    assert read(frame, **ROLES, date="day").X["TV"].to_list() == [1, 3, 5, 0, 2, 4]


def test_meanings_come_from_the_dictionary_and_its_names_are_checked(tmp_path: Path) -> None:
    path = write(tmp_path, "TV,Sales\n1,2\n")
    table = read(path, **ROLES, dictionary={"TV": {"means": "TV budget", "unit": "euros"}})
    assert table.contract["TV"].title == "TV budget"
    assert "'Tv' (data dictionary) is not in the table. Did you mean 'TV'?" in refusal(path, **ROLES, dictionary={"Tv": {}})


# --- one content, one digest


def formats(frame: pd.DataFrame, folder: Path) -> dict[str, Any]:
    frame.to_csv(folder / "a.csv", index=False)
    frame.to_csv(folder / "b.txt", index=False, sep=";", decimal=",", encoding="utf-16", lineterminator="\r\n")
    frame.to_csv(folder / "c.tsv", index=False, sep="\t", encoding="utf-8-sig", date_format="%d.%m.%Y")
    frame.to_parquet(folder / "d.parquet", row_group_size=7)
    frame.to_excel(folder / "e.xlsx", index=False)
    files = {path.name: path for path in sorted(folder.iterdir())}
    return {
        **files,
        "path as text": str(folder / "a.csv"),
        "pandas": frame,
        "pandas, Arrow types": frame.convert_dtypes(dtype_backend="pyarrow"),
        "pandas, nullable types": frame.convert_dtypes(),
        "pandas, objects": frame.astype(object),
        "pandas, categories": frame.astype({"geo": "category"}),
        "pandas, dates as index": frame.set_index("week"),
        "pandas, periods as index": frame.set_index(pd.PeriodIndex(frame["week"], freq="W")).drop(columns="week"),
        "polars": pl.from_pandas(frame),
        "polars, lazy": pl.from_pandas(frame).lazy(),
        "polars, categories": pl.from_pandas(frame).with_columns(pl.col("geo").cast(pl.Categorical)),
        "Arrow": pa.Table.from_pandas(frame),
    }


def test_every_format_gives_the_same_rows_and_the_same_digest(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "week": pd.date_range("2023-12-25", periods=40, freq="7D"),
            "geo": rng.choice(["Köln", "Ulm", "NA"], 40),  # NA is North America here, not a missing name
            "TV": rng.uniform(0, 300, 40).round(9),  # the Excel writer keeps 16 digits
            "holiday": rng.integers(-1, 2, 40),
            "Sales": rng.uniform(0, 30, 40).round(1),
        }
    )
    roles: dict[str, Any] = {**ROLES, "controls": ["holiday"], "date": "week", "market": "geo"}
    tables = {name: read(source, **roles) for name, source in formats(frame, tmp_path).items()}
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table.frame, tables["pandas"].frame, obj=name)
    assert len({table.digest for table in tables.values()}) == 1
    assert not any(table.findings for table in tables.values())


def test_the_digest_does_not_depend_on_the_blocks_of_the_source(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"TV": rng.integers(0, 9, 150_001), "Sales": rng.integers(0, 9, 150_001)})
    frame["geo"] = rng.choice(["a", "bb", "ccc"], len(frame))
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "b.parquet", row_group_size=9_999)
    sources = [frame, tmp_path / "a.csv", tmp_path / "b.parquet"]
    tables = [read(source, **ROLES, market="geo", max_rows=1000) for source in sources]
    assert len({table.digest for table in tables}) == 1
    pd.testing.assert_frame_equal(tables[0].frame, tables[1].frame)
    pd.testing.assert_frame_equal(tables[0].frame, tables[2].frame)


BASE = pd.DataFrame({"TV": [1.0, 2.0, 3.5], "Sales": [4.0, 0.0, 6.0], "geo": ["a", "b", "c"]})


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (BASE.iloc[:, ::-1], True),  # the order of columns in the source is not content
        (BASE.assign(extra=1), True),  # nor is a column without a role
        (BASE.assign(Sales=[4.0, -0.0, 6.0]), True),  # minus zero is zero
        (BASE.iloc[::-1], False),  # the order of rows is
        (BASE.assign(TV=[1.0, 2.0, 3.5000000000000004]), False),  # one unit in the last place
        (BASE.assign(geo=["a", "bc", ""]).assign(geo=["ab", "b", "c"]), False),  # a market's name
        (
            BASE.assign(geo=["ab", "", "c"]).assign(geo=["a", "bc", "c"]),
            False,
        ),  # where one name ends and the next starts
        (BASE.iloc[:2], False),  # a row less
    ],
)
def test_the_digest_tells_contents_apart(other: pd.DataFrame, same: bool) -> None:
    first, second = read(BASE, **ROLES, market="geo"), read(other, **ROLES, market="geo")
    assert (first.digest == second.digest) is same


def test_the_digest_tells_roles_and_names_apart() -> None:
    named = read(BASE.rename(columns={"TV": "Radio"}), target="Sales", channels=["Radio"])
    control = read(BASE.assign(x=1.0), target="Sales", channels=["x"], controls=["TV"])
    channel = read(BASE.assign(x=1.0), target="Sales", channels=["x", "TV"])
    assert len({t.digest for t in (named, control, channel, read(BASE, **ROLES))}) == 4


# --- numbers written as text

DIALECTS = [(s, d, t) for s in ",;\t|" for d in ".," for t in ("", ",", ".", " ", "\u202f", "\u00a0", "'") if t != d]


def written(value: float, decimal_mark: str, thousands: str) -> str:
    whole, _, part = f"{value:.6f}".partition(".")
    sign, whole = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    groups = f"{int(whole):,}".replace(",", thousands)
    return f"{sign}{groups}{decimal_mark}{part}"


def in_dialect(frame: pd.DataFrame, separator: str, decimal_mark: str, thousands: str) -> str:
    lines = [list(frame.columns), *([written(v, decimal_mark, thousands) for v in row] for row in frame.to_numpy())]
    return "\n".join(separator.join(f'"{c}"' if separator in c else c for c in line) for line in lines)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.integers(0, 10**13), st.integers(-(10**13), 10**13)), min_size=1, max_size=20),
    dialect=st.sampled_from(DIALECTS),
)
def test_numbers_survive_every_dialect(tmp_path: Path, rows: list[tuple[int, int]], dialect: tuple[str, str, str]) -> None:
    frame = pd.DataFrame(rows, columns=["TV", "Sales"]) / 1e6
    table = read(write(tmp_path, in_dialect(frame, *dialect)), **ROLES)
    pd.testing.assert_frame_equal(table.frame.reset_index(drop=True), frame, check_exact=True)
    assert table.digest == read(frame, **ROLES).digest
    assert table.findings == ()


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.floats(0, 1e300), st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=20))
def test_shortest_floats_survive_exactly(tmp_path: Path, rows: list[tuple[float, float]]) -> None:
    frame = pd.DataFrame(rows, columns=["TV", "Sales"], dtype=float)
    frame.to_csv(tmp_path / "ads.csv", index=False)
    table = read(tmp_path / "ads.csv", **ROLES)
    np.testing.assert_array_equal(table.frame, frame)
    assert table.digest == read(frame, **ROLES).digest


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1234.5", 1234.5),  # plain
        ("1,234.5", 1234.5),  # thousands comma
        ("1.234,5", 1234.5),  # thousands point
        ("1 234,5", 1234.5),  # thousands blank
        ("1\u202f234,5", 1234.5),  # narrow no-break space, as French tools write
        ("1'234.5", 1234.5),  # Swiss
        ("1,234,567", 1234567),  # two marks can only be thousands
        ("1.234.567", 1234567),  # the same with points
        ("0,123", 0.123),  # no group of thousands starts with 0
        ("$1,234.50", 1234.5),  # currency before
        ("1.234,50 €", 1234.5),  # and after
        ("£ 12.5", 12.5),  # with a blank
        ("-$5.25", -5.25),  # the sign before the currency
        ("€-5.25", -5.25),  # and after it
        ("−5.25", -5.25),  # a typographic minus
        ("+5.25", 5.25),  # a plus
        (" 5.25 ", 5.25),  # blanks around
        ("1e3", 1000),  # an exponent
        (".5", 0.5),  # no leading zero
        ("USD 1,234.50", 1234.5),  # the code of a currency
        ("1.234,50 EUR", 1234.5),
        ("(1,234.50)", -1234.5),  # below 0, as accountants write it
        ("($ 500)", -500),
        ("(5,25 €)", -5.25),
    ],
)
def test_a_number_is_read_as_it_is_meant(tmp_path: Path, cell: str, value: float) -> None:
    table = read(write(tmp_path, f"TV\tSales\n1\t{cell}\n"), **ROLES)
    assert table.y.to_list() == [value]
    assert table.findings == ()


@pytest.mark.parametrize(
    ("cell", "separator", "value", "aloud"),
    [
        ("1,234", "\t", 1234, "thousands mark (1234)"),  # thousands, where semicolons do not part the cells
        ("1,234", ";", 1.234, "decimal mark (1.234)"),  # decimal comma, where they do
        ("1.234", ";", 1234, "thousands mark (1234)"),  # and its thousands point
        ("1.234", ",", 1.234, None),  # three decimals are ordinary there
    ],
)
def test_an_ambiguous_number_is_said_aloud(tmp_path: Path, cell: str, separator: str, value: float, aloud: str | None) -> None:
    table = read(write(tmp_path, f"TV{separator}Sales\n1{separator}{cell}\n"), **ROLES)
    assert table.y.to_list() == [value]
    assert codes(table) == (["D014"] if aloud else [])
    assert aloud is None or aloud in said(table, "D014")


@pytest.mark.parametrize(("mark", "value"), [(".", 1234), (",", 1.234)])
def test_a_given_decimal_mark_settles_it(tmp_path: Path, mark: Any, value: float) -> None:
    table = read(write(tmp_path, "TV;Sales\n1;1,234\n"), **ROLES, decimal=mark)
    assert (table.y.to_list(), table.findings) == ([value], ())


def test_the_whole_table_bears_witness_to_its_decimal_mark(tmp_path: Path) -> None:
    table = read(write(tmp_path, 'TV,Sales,note\n"1,234","1,5",x\n'), **ROLES)
    assert table.frame.to_numpy().tolist() == [[1.234, 1.5]]


def test_the_decimal_mark_may_show_itself_late(tmp_path: Path) -> None:
    rows = "7;8\n" * 400_000 + "1,5;2\n"  # the first block, 1 MB, holds integers alone
    table = read(write(tmp_path, "TV;Sales\n" + rows), **ROLES)
    assert table.X["TV"].iloc[-1] == 1.5


def test_months_with_points_do_not_speak_for_a_decimal_point(tmp_path: Path) -> None:
    table = read(write(tmp_path, "Monat;TV;Sales\n12.2024;1,5;2\n01.2025;3;4\n"), **ROLES)
    assert (table.contract.date, table.X["TV"].to_list()) == ("Monat", [1.5, 3.0])


# --- files


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("TV,Sales\n1,2\n3,4\n", "utf-8"),
        ("TV,Sales\r\n1,2\r\n3,4", "utf-8-sig"),  # a byte order mark, CRLF, no last line end
        ("TV;Sales\r1;2\r3;4\r", "utf-8"),  # old Mac line ends
        ("TV\tSales\n1\t2\n3\t4\n", "utf-16"),
        ("TV|Sales\n\n1|2\n\n\n3|4\n\n", "utf-8"),  # empty lines
        ('"TV","Sales"\n"1","2"\n"3","4"\n', "utf-8"),  # everything quoted
        ("sep=;\nTV;Sales\n1;2\n3;4\n", "utf-8"),  # Excel's hint
        (" TV , Sales \n 1 , 2 \n 3 , 4 \n", "utf-8"),  # blanks around
        ("\nTV,Sales\n1,2\n3,4\n", "utf-8"),  # an empty line first
        ('TV,note,Sales\n1,"a, b",2\n3,"c\nd",4\n', "utf-8"),  # separators and line ends within quotes
        ("TV,,Sales,\n1,x,2,\n3,y,4,\n", "utf-8"),  # columns without a name, not needed
        ("TV;Sales;Straße\n1;2;Köln\n3;4;Ulm €\n", "cp1252"),  # what Windows tools write
    ],
)
def test_a_text_file_is_read_however_it_is_laid_out(tmp_path: Path, text: str, encoding: str) -> None:
    assert read(write(tmp_path, text, encoding=encoding), **ROLES).frame.to_numpy().tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("cells", "read_as"),
    [
        (['5" screen', "b"], ['5" screen', "b"]),  # a quote within an unquoted cell
        (['5" screen', '"6"" screen"'], ['5" screen', '6" screen']),
        (['"abc" x', '"a\nb"'], ["abc x", "a\nb"]),  # a quoted cell that goes on, in a row of one line
        (['"a ""b""\r\n"', '"c\rd"'], ['a "b"\r\n', "c\rd"]),
        (['"' + "a" * 140_000 + '"', '"a\nb"', '"c" d'], ["a" * 140_000, "a\nb", "c d"]),  # beyond csv.field_size_limit()
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_quotes_may_stand_in_cells_and_hold_line_ends(
    tmp_path: Path, cells: list[str], read_as: list[str], encoding: str, end: str
) -> None:
    text = "\n".join(["TV,Sales,note", *(f"1,2,{cell}" for cell in cells)]) + end
    assert textfile.open_text(write(tmp_path, text, encoding=encoding)).head[2].to_pylist() == read_as


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (['1,2,"Big sale', "3,4,b", "5,6,c"], 2),  # nothing closes it
        (['1,2,"Big sale', "3,4,b", '5,6,"c"'], 2),  # the next quoted cell does
        (["1,2,a", '3,4,"b\nc"', '5,6,"Big sale', "7,8,d"], 5),  # after a cell that does hold a line end
        (["1,2,a", '3,4,"b" x', '5,6,"Big sale', "7,8,d"], 4),  # after a stray quote that swallows nothing
        (['1,5" screen,"Big sale', "3,4,b"], 2),  # two stray quotes make an even number
        (['1,2,"Big sale', *["3,4,b"] * 30_000], 2),  # beyond csv.field_size_limit()
        ([*["3,4,b"] * 50_000, '1,2,"Big sale', *["3,4,b"] * 50_000, '1,2,"c"'], 50_002),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_a_quote_left_open_swallows_no_rows(tmp_path: Path, rows: list[str], line: int, encoding: str) -> None:
    path = write(tmp_path, "\n".join(["TV,Sales,Straße", *rows]) + "\n", encoding=encoding)
    assert f"The row that begins in line {line} of ads.csv has a quote that is not closed" in refusal(path, **ROLES)


@pytest.mark.parametrize("text", ['TV,"Sales\n1,2\n3,4\n', 'sep=,\nTV,Sales\n1,2\n3,"4\n5,6\n'])
def test_a_quote_is_left_open_in_the_header_or_after_a_hint(tmp_path: Path, text: str) -> None:
    line = 1 if text.startswith("TV") else 4
    assert f"The row that begins in line {line} of ads.csv" in refusal(write(tmp_path, text), **ROLES)


@given(st.text('"",\n\r;ab', max_size=12))
def test_no_line_end_within_quotes_is_overlooked(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = write(tmp_path_factory.getbasetemp(), text, "quotes.csv")
    lines = text.splitlines(keepends=True)
    each_line_is_a_row = list(csv.reader(lines)) == [row for line in lines for row in csv.reader([line])]
    assert each_line_is_a_row or textfile._may_span_lines(path, 0, ",")


def test_names_and_markets_are_read_in_their_encoding(tmp_path: Path) -> None:
    table = read(write(tmp_path, "Erlös;TV;city\n1;2;Köln\n3;4;Ulm\n", encoding="cp1252"))
    assert table.contract.target == "Erlös"
    assert table.frame["city"].to_list() == ["Köln", "Ulm"]


def test_excel_reads_the_first_sheet_or_the_named_one(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Plan"
    book.active.append([])
    book.active.append(["TV", "Sales"])
    book.active.append([1, 2.5])
    book.active.append([None, None])  # empty rows at the end are no rows
    book.create_sheet("Actual").append(["TV", "Sales"])
    book["Actual"].append([3, "4,5"])
    book.save(tmp_path / "ads.xlsx")
    first, second = (read(tmp_path / "ads.xlsx", **ROLES, sheet=s) for s in (None, "Actual"))
    assert (first.frame.to_numpy().tolist(), codes(first)) == ([[1, 2.5]], ["D017"])
    assert (second.frame.to_numpy().tolist(), codes(second)) == ([[3, 4.5]], [])
    book.create_sheet("Cover", 0)
    book.save(tmp_path / "ads.xlsx")
    assert "ads.xlsx, sheet 'Cover', is empty" in refusal(tmp_path / "ads.xlsx", **ROLES)
    assert "no sheet 'Actuals'. Did you mean 'Actual'?" in refusal(tmp_path / "ads.xlsx", sheet="Actuals")


TABLE = [["week", "TV", "Sales"], ["2024-01-01", 1, 2], ["2024-01-08", 3, 4]]


@pytest.mark.parametrize(
    ("above", "aloud"),
    [
        ([], None),
        ([["Campaign report"], ["January 1, 2024 - January 14, 2024"]], "were found below 2 rows ('Campaign report')"),
        ([["Media plan", "", ""]], "below 1 row ('Media plan')"),  # as Excel writes a title to CSV
        ([["", "Spend", "Result"]], "below 1 row ('Spend')"),  # names over groups of columns
        ([["ACME"], [], ["", "Spend", ""]], "rows ('ACME')"),
    ],
)
@pytest.mark.parametrize("kind", [",", ";", "\t", "xlsx"])
def test_a_title_above_the_column_names_is_passed_over(
    tmp_path: Path, kind: str, above: list[list[str]], aloud: str | None
) -> None:
    path = tmp_path / ("ads.xlsx" if kind == "xlsx" else "ads.csv")
    if kind == "xlsx":
        book = openpyxl.Workbook()
        for row in [*above, *TABLE]:
            book.active.append([cell or None for cell in row])
        book.save(path)
    else:
        with path.open("w", newline="") as file:
            csv.writer(file, delimiter=kind).writerows([*above, *TABLE])
    table = read(path, **ROLES)
    assert (table.contract.date, table.frame[["TV", "Sales"]].to_numpy().tolist()) == ("week", [[1, 2], [3, 4]])
    assert ("D017" in codes(table)) is bool(aloud)
    assert aloud is None or aloud in said(table, "D017")
    line = len(above) + 2
    assert f"(row {line} of" in (message := refusal(path, **ROLES, controls=["week"])) or f"(line {line} of" in message


def test_a_row_with_more_cells_than_column_names_is_a_row(tmp_path: Path) -> None:
    table = read(write(tmp_path, ",TV,Sales\na,1,2\nb,3,4\n"), **ROLES)  # the names of an index have none
    assert (table.frame.to_numpy().tolist(), codes(table)) == ([[1, 2], [3, 4]], [])


def test_a_row_of_totals_is_said_to_be_no_date(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "week,TV,Sales\n2024-01-01,1,2\n2024-01-08,3,4\nTotal,4,6\n"), **ROLES)
    assert "(line 4 of ads.csv): 'Total' is not a date; write dates as 2024-12-31, and take away rows of totals" in message


def test_an_excel_refusal_names_the_row_of_the_sheet(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in ([None], ["TV", "Sales"], [1, 2], [True, 3]):
        book.active.append(row)
    book.save(tmp_path / "ads.xlsx")
    said = "Column 'TV', row 2 (row 4 of sheet 'Sheet' in ads.xlsx): 'True' is not a number"
    assert said in refusal(tmp_path / "ads.xlsx", **ROLES)


def not_a_table(folder: Path) -> dict[str, tuple[Path, str]]:
    return {
        "not there": (
            write(folder, "x", "advertising.csv").with_name("advertisin.csv"),
            "Did you mean 'advertising.csv'",
        ),
        "no folder": (folder / "none" / "a.csv", "does not exist"),
        "no user": (Path("~nobody-of-this-name/a.csv"), "the folder ~nobody-of-this-name does not exist"),
        "long name": (folder / ("a" * 300 + ".csv"), "cannot be reached (File name too long)"),
        "directory": (folder, "is a directory"),
        "empty": (write(folder, "", "0.csv"), "is empty (0 bytes)"),
        "only line ends": (write(folder, "\n\n", "1.csv"), "is empty"),
        "only a byte order mark": (write(folder, b"\xef\xbb\xbf", "2.csv"), "is empty"),
        "header only": (write(folder, "TV,Sales\n", "3.csv"), "has column names but no rows"),
        "header and empty lines": (write(folder, "TV,Sales\n\n\n", "4.csv"), "has column names but no rows"),
        "picture": (write(folder, b"\x89PNG\r\n\x1a\n\0\0", "5.csv"), "a PNG picture"),
        "document": (write(folder, b"%PDF-1.7 ...", "6.csv"), "a PDF document"),
        "archive": (write(folder, b"PK\x03\x04 ...", "7.csv"), "a zip archive"),
        "zero bytes": (write(folder, b"TV,Sales\n1,\x002\n", "8.csv"), "bytes that are no text"),
        "no encoding": (write(folder, b"TV,Sales\n1,\x81\n", "9.csv"), "bytes that are no text"),
        "no Parquet": (write(folder, "TV,Sales\n1,2\n", "10.parquet"), "the name of a file for Parquet but is none"),
        "cut Parquet": (write(folder, b"PAR1....", "11.parquet"), "not a readable Parquet file"),
        "no Excel": (write(folder, "TV,Sales\n1,2\n", "12.xlsx"), "the name of a file for Excel but is none"),
        "cut Excel": (write(folder, b"PK\x03\x04....", "13.xlsx"), "not a readable Excel file"),
        "old Excel": (write(folder, b"\xd0\xcf\x11\xe0....", "14.xls"), "save it as .xlsx"),
        "JSON": (write(folder, '[{"TV": 1, "Sales": 2}]', "20.json"), "not a table but JSON; save it as CSV or Parquet"),
        "lines of JSON": (write(folder, '{"TV": 1}\n{"TV": 2}\n', "21.jsonl"), "not a table but JSON"),
        "Feather": (write(folder, b"ARROW1\0\0rest", "22.feather"), "not a table but a Feather file"),
        "standard input": (Path("-"), "Standard input is no table"),
        "turned": (
            write(folder, "what,2024-W01,2024-W02,2024-W03\nTV,1,2,3\nsales,4,5,6\n", "24.csv"),
            "named by dates (the first is '2024-W01'); turn the table",
        ),
        "no header": (write(folder, "1,2\n3,4\n", "15.csv"), "numbers where its column names belong"),
        "one column": (write(folder, "Sales\n1\n2\n", "16.csv"), "No channel column is left"),
        "only text": (write(folder, "a,b\nx,y\n", "17.csv"), "holds numbers, so there is nothing to explain"),
        "foreign separator": (write(folder, "sep=§\nTV§Sales\n1§2\n", "18.csv"), "names '§' as what parts its cells"),
        "no separator": (write(folder, "sep=\r\nTV,Sales\r\n1,2\r\n", "19.csv"), "names '\\r' as what parts its cells"),
    }


@pytest.mark.parametrize("case", range(30))
def test_what_is_no_table_is_refused(tmp_path: Path, case: int) -> None:
    name, (path, words) = list(not_a_table(tmp_path).items())[case]
    assert words in refusal(path), name


def test_a_file_that_is_broken_within_is_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"TV": range(50), "Sales": range(50)})
    frame.to_parquet(tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    assert "a.parquet cannot be read to its end" in refusal(write(tmp_path, whole[:4] + bytes(300) + whole[304:], "a.parquet"))
    frame.to_excel(tmp_path / "whole.xlsx", index=False)
    with zipfile.ZipFile(tmp_path / "whole.xlsx") as whole_book, zipfile.ZipFile(tmp_path / "a.xlsx", "w") as book:
        for name in whole_book.namelist():
            part = whole_book.read(name)
            book.writestr(name, part[: len(part) // 2] if name.endswith("sheet1.xml") else part)
    assert "Sheet 'Sheet1' of" in (message := refusal(tmp_path / "a.xlsx"))
    assert "cannot be read to its end" in message


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path, "TV,Sales\n1,2\n")
    monkeypatch.setattr(Path, "open", denied)  # root may read any file, so the system's answer is put in its mouth
    assert "permission denied" in refusal(path)


@pytest.mark.parametrize(
    ("mode", "words"), [(0o600, "cannot be reached (Permission denied)"), (0o300, "is not there: no such")]
)
def test_a_folder_that_may_not_be_entered_or_listed_is_no_fault_of_ours(tmp_path: Path, mode: int, words: str) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    folder.chmod(mode)
    code = f"from adresponse.table import read; read({str(folder / 'a.csv')!r})"
    bound = [] if os.geteuid() else ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]  # root enters any folder
    ended = subprocess.run([*bound, sys.executable, "-c", code], capture_output=True, text=True)
    folder.chmod(0o700)
    assert words in ended.stderr.splitlines()[-1]


def test_a_pipe_is_refused_and_a_file_as_standard_input_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "TV,Sales\n" + "1,2\n" * 20)
    end, start = os.pipe()
    os.write(start, path.read_bytes())
    os.close(start)
    assert "is a pipe or a device, and a table is read more than once; save it to a file" in refusal(f"/dev/fd/{end}")
    os.close(end)
    code = "from adresponse.table import read; print(read('/dev/stdin').rows_read)"
    with path.open() as given:
        assert subprocess.run([sys.executable, "-c", code], stdin=given, capture_output=True, check=True).stdout == b"20\n"


@pytest.mark.parametrize("source", [[1, 2], {"TV": [1]}, None, pd.Series([1.0])])
def test_other_objects_are_no_table(source: object) -> None:
    assert "is no table; give a path" in refusal(source)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("TV,Sales\n1,2\n3\n", "Row 2 (line 3 of ads.csv) has 1 cell, the header 2"),
        ("TV,Sales\n\n1,2\n3,4,5\n", "Row 2 (line 4 of ads.csv) has 3 cells, the header 2"),
        ('TV,Sales\n"1\n",2\n3,4,5\n', "Row 2 (line 4 of ads.csv) has 3 cells"),  # a line end within quotes
        ("TV,Sales,TV\n1,2,3\n", "Two columns are named 'TV' (columns 1 and 3)"),
        ("TV,Sales, TV\n1,2,3\n", "Two columns are named 'TV' (columns 1 and 3)"),
    ],
)
def test_a_table_out_of_shape_is_refused(tmp_path: Path, text: str, words: str) -> None:
    assert words in refusal(write(tmp_path, text), **ROLES)


def test_two_columns_of_one_name_are_refused_in_a_frame() -> None:
    assert "Two columns are named 'TV'" in refusal(pd.DataFrame([[1, 2, 3]], columns=["TV", "Sales", "TV"]), **ROLES)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"target": "sale"}, "Column 'sale' (target) is not in the table. Did you mean 'Sales'? It has: TV, Sales."),
        ({"channels": ["TV", "Tele"]}, "Column 'Tele' (channel) is not in the table."),
        ({"controls": ["price"]}, "Column 'price' (control) is not in the table."),
        ({"date": "week"}, "Column 'week' (date) is not in the table."),
        ({"market": "geo"}, "Column 'geo' (market) is not in the table."),
        ({"target": "TV", "channels": ["TV"]}, "Column 'TV' has more than one role"),
        ({"target": ""}, "The target column has a blank name"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest(tmp_path: Path, how: dict[str, Any], words: str) -> None:
    assert words in refusal(write(tmp_path, "TV,,Sales\n1,2,3\n"), **how)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"missing": "fill"}, "missing='fill' is unknown"),
        ({"decimal": ";"}, "decimal=';' is no decimal mark"),
        ({"max_rows": 0}, "max_rows=0 keeps no row"),
        ({"sheet": "A"}, "sheet='A' is for an Excel file"),
        ({"sql_table": "t"}, "sql_table='t' is for a database URL"),
    ],
)
def test_a_wrong_argument_is_refused(tmp_path: Path, how: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(write(tmp_path, "TV,Sales\n1,2\n"), **how)


# --- values


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("abc", "'abc' is not a number; correct the cell"),
        ("12%", "'12%' is not a number; write shares as plain numbers"),
        ("1,5", "'1,5' is not a number where '.' is the decimal mark, as in the rest of this table"),
        ("1 2", "'1 2' is not a number"),  # a blank between digits is no thousands mark
        ("1_000", "'1_000' is not a number"),
        ("0x1F", "'0x1F' is not a number"),
        ("true", "'true' is not a number"),
        ("2024-01-01", "'2024-01-01' is not a number"),
        ("(5)", "'(5)' is negative, and spend is 0 or more"),
        ("1+2j", "'1+2j' is not a number"),
        ("inf", "'inf' is not finite"),
        ("-Infinity", "'-Infinity' is not finite"),
        ("1e999", "'1e999' is not finite"),
        ("-0.5", "'-0.5' is negative, and spend is 0 or more"),
        ("x" * 200, "xxx... is not a number"),  # a long value is cut
    ],
)
def test_a_bad_cell_is_refused_by_column_row_line_and_value(tmp_path: Path, cell: str, words: str) -> None:
    path = write(tmp_path, f"TV\tSales\n1.5\t2\n\n3\t4\n{cell}\t6\n7\tworse\n")
    message = refusal(path, **ROLES)
    assert message.startswith("Column 'TV', row 3 (line 5 of ads.csv): ")
    assert words in message


def test_a_bad_cell_is_found_where_roles_are_inferred(tmp_path: Path) -> None:
    path = write(tmp_path, "TV,Sales\n1,2\n3,4\nabc,6\n")
    assert "Column 'TV', row 3 (line 4 of ads.csv): 'abc' is not a number" in refusal(path)


@pytest.mark.parametrize("kind", ["csv", "parquet", "pandas"])
def test_rows_are_counted_over_blocks(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame({"TV": np.arange(900_000) % 7, "Sales": 1.0})
    frame.loc[800_000, "TV"] = -3
    frame.to_csv(tmp_path / "ads.csv", index=False)
    frame.to_parquet(tmp_path / "ads.parquet")
    message = refusal(frame if kind == "pandas" else tmp_path / f"ads.{kind}", **ROLES)
    place = " (line 800002 of ads.csv)" if kind == "csv" else ""
    value = "'-3'" if kind == "csv" else "-3"
    assert message.startswith(f"Column 'TV', row 800001{place}: {value} is negative")


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ([True, False], "row 1: True is not a number"),  # a boolean is no amount
        (pd.array([None, True], dtype="boolean"), "row 2: True is not a number"),
        (pd.array([1.5, True], dtype=object), "row 2: 'True' is not a number"),  # nor among numbers
        ([1 + 2j, 3], "is not a number"),
        (pd.to_datetime(["2024-01-01", "2024-01-02"]), "row 1: 2024-01-01 00:00:00 is not a number"),
        (pd.to_timedelta([1, 2], "D"), "row 1: 1 day, 0:00:00 is not a number"),
        ([1.0, np.inf], "row 2: inf is not finite"),
        ([1, -2], "row 2: -2 is negative"),
        ([decimal.Decimal("1.00"), decimal.Decimal("-12.50")], "row 2: -12.5 is negative"),  # as PostgreSQL gives numeric
        ([[1], [2]], "row 1: '[1]' is not a number"),
        ([b"1", b"\xff"], r"row 2: '\\xff' is not a number"),
        (["1", "x"], "row 2: 'x' is not a number"),
    ],
)
def test_a_frame_column_that_is_no_spend_is_refused(column: Any, words: str) -> None:
    assert words in refusal(pd.DataFrame({"TV": column, "Sales": [1, 2]}), **ROLES)


def test_dates_as_an_index_without_a_name_are_left_where_a_column_has_them() -> None:
    days = pd.date_range("2024-01-01", periods=2)
    frame = pd.DataFrame({"date": days, "TV": [1, 2], "Sales": [3, 4]}, index=days)
    assert read(frame, **ROLES).contract.date == "date"


@pytest.mark.parametrize(
    "column",
    [
        np.array([1, 2], dtype="uint8"),
        np.array([1, 2], dtype="float32"),
        np.array([1, 2], dtype="float16"),
        pd.array([1, 2], dtype="Int64"),
        pd.array([1, 2], dtype="Float64"),
        pd.array([1, 2], dtype="int64[pyarrow]"),
        pd.array([1, 2], dtype=pd.ArrowDtype(pa.decimal128(10, 2))),
        [decimal.Decimal("1.00"), decimal.Decimal(2)],
        pd.array([1, decimal.Decimal("2.0")], dtype=object),
        pd.array(["1", 2.0], dtype=object),
        pd.Categorical([1, 2]),
        pd.arrays.SparseArray([1.0, 2.0]),
        ["1", "2"],
    ],
)
def test_every_kind_of_number_becomes_float64_and_the_frame_stays(column: Any) -> None:
    frame = pd.DataFrame({"TV": column, "Sales": [3, 4]}, index=[7, 5])
    before = frame.copy(deep=True)
    table = read(frame, **ROLES)
    assert table.frame.dtypes.unique().tolist() == [np.dtype("float64")]
    assert table.frame.to_numpy().tolist() == [[1, 3], [2, 4]]
    pd.testing.assert_frame_equal(frame, before)


def test_decimals_are_the_nearest_floats_whatever_the_decimal_mark() -> None:
    column = [decimal.Decimal("0.1"), decimal.Decimal("1234.567"), 1.234, "1,5"]  # the text has a decimal comma
    table = read(pd.DataFrame({"TV": pd.Series(column, dtype=object), "Sales": range(4)}), **ROLES)
    assert table.X["TV"].to_list() == [0.1, 1234.567, 1.234, 1.5]


# --- missing values

GAPS = ["", "NA", "N/A", "NaN", "nan", "null", "None", "-", "#N/A", "  "]


@pytest.mark.parametrize("gap", GAPS)
def test_a_cell_without_a_value_is_missing(tmp_path: Path, gap: str) -> None:
    path = write(tmp_path, f"TV,Sales\n1,2\n3,{gap}\n{gap},{gap}\n5,6\n")
    message = refusal(path, **ROLES)
    assert message.startswith("2 rows miss a value (by column: 'TV' 1, 'Sales' 2)")
    assert "the first is column 'Sales', row 2 (line 3 of ads.csv)" in message
    assert "--missing drop" in message
    table = read(path, **ROLES, missing="drop")
    assert (table.frame.to_numpy().tolist(), table.rows_read, codes(table)) == ([[1, 2], [5, 6]], 4, ["D004"])
    assert "2 rows miss a value" in said(table, "D004")
    assert table.findings[0].severity == "review"


@pytest.mark.parametrize(
    "column", [[1.0, np.nan], [1, None], pd.array([1, pd.NA], dtype="Int64"), pd.array([1, "NA"], dtype=object)]
)
def test_a_frame_cell_without_a_value_is_missing(column: Any) -> None:
    frame = pd.DataFrame({"TV": column, "Sales": [1, 2]})
    assert "1 row misses a value (by column: 'TV' 1); the first is column 'TV', row 2;" in refusal(frame, **ROLES)
    dropped = read(frame, **ROLES, missing="drop")
    assert dropped.digest == read(frame.iloc[:1], **ROLES).digest


@pytest.mark.parametrize(("role", "gap"), [("date", "NaT"), ("date", ""), ("market", "")])
def test_dates_and_markets_may_be_missing_too(tmp_path: Path, role: str, gap: str) -> None:
    if gap == "NaT":
        source: Any = pd.DataFrame({"k": pd.to_datetime(["2024-01-01", None]), "TV": 1, "Sales": 2})
    else:
        source = write(tmp_path, f"k,TV,Sales\n2024-01-01,1,2\n{gap},1,2\n")
    assert "the first is column 'k', row 2" in refusal(source, **ROLES, **{role: "k"})


def test_rows_beyond_all_dropping_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "TV,Sales\n1,\n,2\n")
    assert "no row without missing values" in refusal(path, **ROLES, missing="drop")
    path = write(tmp_path, "TV,Sales\n1,\nx,2\n3,4\n")
    assert "'x' is not a number" in refusal(path, **ROLES, missing="drop")


# --- dates


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2024-12-31", "2024-01-02"], ["2024-12-31", "2024-01-02"]),
        (["2024-12-31T10:30:00", "2024-12-31 10:30"], ["2024-12-31T10:30", "2024-12-31T10:30"]),
        (["2024-12-31T23:30:00+02:00", "2024-12-31T23:30:00Z"], ["2024-12-31T23:30", "2024-12-31T23:30"]),  # own clock
        (["31.12.2024", "1.2.2024"], ["2024-12-31", "2024-02-01"]),  # with points the day is first
        (["31/12/2024", "01/02/2024"], ["2024-12-31", "2024-02-01"]),  # the first row says that the day is first
        (["12/31/2024", "01/02/2024"], ["2024-12-31", "2024-01-02"]),  # that the month is
        (["31-12-2024 08:00", "01-02-2024 09:00"], ["2024-12-31T08:00", "2024-02-01T09:00"]),
        (["2024/12/31", "2024/1/2"], ["2024-12-31", "2024-01-02"]),
        (["2024-W05", "2024-W06"], ["2024-01-29", "2024-02-05"]),  # the Monday of the ISO week
        (["2024-W05-3", "2020W53"], ["2024-01-31", "2020-12-28"]),
        (["2024-01", "2024-02"], ["2024-01-01", "2024-02-01"]),
        (["20241231", "20240102"], ["2024-12-31", "2024-01-02"]),
        (["2024-Q1", "2024 Q2"], ["2024-01-01", "2024-04-01"]),
        (["Q3 2024", "q4/2024"], ["2024-07-01", "2024-10-01"]),
        (["week 5 2024", "Week 06, 2024"], ["2024-01-29", "2024-02-05"]),
        (["KW 5/2024", "2024 KW06"], ["2024-01-29", "2024-02-05"]),  # as German sheets write it
        (["Jan-24", "Sept-24"], ["2024-01-01", "2024-09-01"]),  # as Excel shows a month
        (["January 2024", "Feb. 2024"], ["2024-01-01", "2024-02-01"]),
        (["31 Dec 2024", "2-Jan-24"], ["2024-12-31", "2024-01-02"]),
        (["Dec 31, 2024", "March 2 2024"], ["2024-12-31", "2024-03-02"]),  # as Google Ads writes a day
        (["31. Dezember 2024", "Mrz 2024"], ["2024-12-31", "2024-03-01"]),
        (["31.12.24", "1.2.24"], ["2024-12-31", "2024-02-01"]),
    ],
)
def test_dates_are_read_as_they_are_meant(tmp_path: Path, texts: list[str], expected: list[str]) -> None:
    path = write(tmp_path, "week,TV,Sales\n" + "".join(f'"{t}",{i},{i}\n' for i, t in enumerate(texts)))
    table = read(path, **ROLES, date="week")
    by_row = table.frame.sort_values("TV")["week"].to_list()
    assert by_row == [pd.Timestamp(e) for e in expected]
    assert table.findings == ()


@pytest.mark.parametrize(
    ("separator", "expected"),
    [(",", "2024-01-02"), (";", "2024-02-01")],  # where commas part the cells the month is first, else the day
)
def test_ambiguous_dates_are_said_aloud(tmp_path: Path, separator: str, expected: str) -> None:
    text = "week,TV,Sales\n01/02/2024,1,2\n".replace(",", separator)
    table = read(write(tmp_path, text), **ROLES, date="week")
    assert table.frame["week"].to_list() == [pd.Timestamp(expected)]
    assert codes(table) == ["D016"]
    assert "'01/02/2024'" in said(table, "D016")


def test_a_year_of_two_digits_between_slashes_is_said_aloud(tmp_path: Path) -> None:
    table = read(write(tmp_path, "week,TV,Sales\n1/22/24,1,2\n1/29/24,2,3\n"), **ROLES, date="week")
    assert table.frame["week"].to_list() == [pd.Timestamp("2024-01-22"), pd.Timestamp("2024-01-29")]
    assert "'1/22/24'" in said(table, "D016")  # 24/01/22 would be read as well, and mean another day


@pytest.mark.parametrize(
    "text",
    [
        *("soon", "2024-13-01", "30.02.2024", "2024-W54", "2024-01-01 25:00", "13/13/2024", "7"),
        *("24-01-22", "Jan 24", "Ja-24", "Jui-24", "31 Foo 2024", "2024-Q5", "week 54 2024", "May"),
    ],
)
def test_what_is_no_date_is_refused(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, f"week,TV,Sales\n2024-01-01,1,2\n{text},3,4\n")
    message = refusal(path, **ROLES, date="week")
    assert message.startswith(f"Column 'week', row 2 (line 3 of ads.csv): {text!r} is not a date;")


@pytest.mark.parametrize(
    "column",
    [
        [datetime.date(2024, 1, 1), datetime.date(2024, 1, 8)],
        pd.to_datetime(["2024-01-01", "2024-01-08"]).astype("datetime64[ns]"),
        pd.to_datetime(["2024-01-01", "2024-01-08"]).tz_localize("Europe/Berlin"),  # the day that its clock shows
        pd.period_range("2024-01-01", periods=2, freq="W-SUN"),
        [20240101, 20240108],
        ["2024-01-01", "2024-01-08"],
    ],
)
def test_frame_dates_of_every_kind_are_the_same(column: Any) -> None:
    table = read(pd.DataFrame({"date": column, "TV": [1, 2], "Sales": [3, 4]}))
    assert table.frame["date"].to_list() == [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-08")]
    assert table.frame["date"].dtype == "datetime64[us]"


@pytest.mark.parametrize("column", [[1.5, 2.5], [True, False], [1, 2]])
def test_a_frame_column_that_holds_no_dates_is_refused(column: list[Any]) -> None:
    assert "row 1: " in refusal(pd.DataFrame({"date": column, "TV": 1, "Sales": 2}), **ROLES, date="date")


@settings(deadline=None)
@given(moment=st.datetimes(min_value=datetime.datetime(1, 1, 1)), day_first=st.booleans())
def test_iso_dates_survive(moment: datetime.datetime, day_first: bool) -> None:
    assert dates.parse(moment.isoformat(), day_first) == moment


@settings(deadline=None)
@given(text=st.text(alphabet="0123456789-/.W T:Z+", max_size=25))
def test_no_text_breaks_the_date_reader(text: str) -> None:
    assert dates.parse(text, False) is None or isinstance(dates.parse(text, True), datetime.datetime | None)


# --- roles


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        # the reference case
        ("TV,Sales\n1.5,2\n3,4\n", {"target": "Sales", "channels": ("TV",)}),
        # sales are known by name wherever they stand, also as part of a name
        ("net_sales,TV,Radio\n2,1,5\n4,3,5\n", {"target": "net_sales", "channels": ("TV", "Radio")}),
        ("UmsatzGesamt,TV\n2,1\n4,3\n", {"target": "UmsatzGesamt", "channels": ("TV",)}),
        # a budget for sales calls is no sales
        ("sales_calls_cost,revenue\n2,1\n4,3\n", {"target": "revenue", "channels": ("sales_calls_cost",)}),
        # else the last numeric column
        ("TV,Radio,y,note\n1,2,3,a\n4,5,6,b\n", {"target": "y", "channels": ("TV", "Radio")}),
        # dates and markets by name and value
        (
            "Week Start,region,TV,orders\n2024-01-01,N,1,2\n2024-01-08,S,3,4\n",
            {"target": "orders", "channels": ("TV",), "date": "Week Start", "market": "region"},
        ),
        # the finest market
        (
            "country,city,TV,units\nDE,Ulm,1,2\nDE,Bonn,3,4\n",
            {"target": "units", "channels": ("TV",), "market": "city"},
        ),
        # numbers can name markets, but sales of a store are sales
        (
            "store_id,TV,store_sales\n7,1,2\n9,3,4\n",
            {"target": "store_sales", "channels": ("TV",), "market": "store_id"},
        ),
        # numbers of rows and of months are no spend
        (
            ",Unnamed: 0,id,n,month,TV,sales\n5,5,5,1,1,9,2\n6,6,6,2,1,8,4\n7,7,7,3,2,7,4\n",
            {"target": "sales", "channels": ("TV",)},
        ),
        # counting up is no reason where no other channel is left
        ("TV,sales\n1,2\n2,4\n3,5\n", {"target": "sales", "channels": ("TV",)}),
        # what goes below 0 is no spend
        (
            "TV,temperature,sales\n1,-2,3\n4,5,6\n",
            {"target": "sales", "channels": ("TV",), "controls": ("temperature",)},
        ),
        # nor is what is 0 or 1, or a price, whatever it is called; unless there is nothing else
        (
            "TV,launch,revenue_per_order,cost_per_click,population,kpi\n1,0,9,2,7,3\n4,1,8,3,7,6\n",
            {
                "target": "kpi",
                "channels": ("TV",),
                "controls": ("launch", "revenue_per_order", "population"),
            },
        ),
        # what Google Ads and Meta export: other sales and what a click cost are made with the target, and cause it as little
        (
            "Day,Cost,Impr.,Clicks,Avg. CPC,Conversions,Cost / conv.,Conv. value\n"
            "2024-01-01,5,90,3,2,3,2,9\n2024-01-02,6,70,2,3,4,1,8\n",
            {"target": "Conversions", "channels": ("Cost",), "date": "Day"},
        ),
        (
            "Reporting starts,Reporting ends,Amount spent (EUR),Views,CPM (cost per 1000 views),CTR,Purchase ROAS,Purchases\n"
            "2024-01-01,2024-01-01,5,90,9,2 %,3,2\n2024-01-02,2024-01-02,6,80,7,3 %,2,3\n",
            {"target": "Purchases", "channels": ("Amount spent (EUR)",), "date": "Reporting starts"},
        ),
        ("TV,Sales shoes,Sales bags\n1,2,3\n4,3,5\n", {"target": "Sales shoes", "channels": ("TV",)}),
        # in other names the same words are those of a channel
        (
            "google / cpc,TV/Radio spend,sales\n5,9,2\n4,8,4\n",
            {"target": "sales", "channels": ("google / cpc", "TV/Radio spend")},
        ),
        ("TV,sales\n0,2\n1,4\n0,3\n", {"target": "sales", "channels": ("TV",)}),
        ("spend per week,Events,sales\n5,9,2\n4,8,4\n", {"target": "sales", "channels": ("spend per week", "Events")}),
        # where some columns are money, those of what it bought are left out
        (
            "tv_spend,tv_impressions,search_cost,clicks,leaflets,sales\n5,900,2,70,3,9\n6,800,3,60,5,8\n",
            {"target": "sales", "channels": ("tv_spend", "search_cost", "leaflets")},
        ),
        ("tv_grps,clicks,sales\n5,900,2\n6,800,3\n", {"target": "sales", "channels": ("tv_grps", "clicks")}),
        # y alone is what is explained, and what the date says is no spend
        (
            "date_week,y,x1,event_1,dayofyear\n2024-01-01,7,5,0,1\n2024-01-08,9,6,1,8\n",
            {"target": "y", "channels": ("x1",), "controls": ("event_1",), "date": "date_week"},
        ),
        # a flag and text are left out
        ("TV,holiday,note,sales\n1,true,a,3\n4,false,b,6\n", {"target": "sales", "channels": ("TV",)}),
        # a weekday is no date, and its column is left out
        ("day,TV,sales\nMonday,1,3\nTuesday,4,6\n", {"target": "sales", "channels": ("TV",)}),
    ],
)
def test_roles_are_inferred_and_said(tmp_path: Path, text: str, roles: dict[str, Any]) -> None:
    table = read(write(tmp_path, text))
    contract = table.contract
    found = {role: getattr(contract, role) for role in ("target", "channels", "controls", "date", "market")}
    assert {role: value for role, value in found.items() if value} == roles
    assert codes(table)[0] == "D013"
    for column in contract.columns:
        assert repr(column.name) in said(table, "D013")
    header = {name.strip() for name in text.split("\n")[0].split(",")}
    left_out = header - {c.name for c in contract.columns}
    assert (codes(table)[1:] == ["D015"]) is bool(left_out)
    for name in left_out:
        assert repr(name) in said(table, "D015")


WIDE = "day,region,TV,Radio,price,sales\n2024-01-01,N,1,5,-1,2\n2024-01-02,S,3,5,1,4\n"


@pytest.mark.parametrize(
    ("how", "inferred"),
    [
        ({"target": "sales", "channels": ["TV"], "date": "day", "market": "region"}, None),  # all said, nothing to say
        ({"target": "sales", "channels": ["TV"]}, ["day", "region"]),  # date and market are still clear
        ({"channels": ["TV"], "date": "day", "market": "region"}, ["sales"]),
        ({"target": "Radio", "date": "day", "market": "region"}, ["TV", "price"]),
        ({"target": "sales", "controls": ["Radio"], "date": "day", "market": "region"}, ["TV", "price"]),
    ],
)
def test_what_is_given_wins_and_is_not_said(tmp_path: Path, how: dict[str, Any], inferred: list[str] | None) -> None:
    table = read(write(tmp_path, WIDE), **how)
    left_out = "sales" not in {c.name for c in table.contract.columns}  # beside a target that is named, it is one more
    assert codes(table) == ["D013"] * bool(inferred) + ["D015"] * left_out
    if inferred:
        names = [c.name for c in table.contract.columns if repr(c.name) in said(table, "D013")]
        assert sorted(names) == sorted(inferred)


def test_a_column_below_0_is_said_to_be_no_channel_for_that(tmp_path: Path) -> None:
    table = read(write(tmp_path, "TV,Radio,temperature,sales\n1,-2,-3,3\n4,5,6,7\n"))
    assert table.contract.controls == ("Radio", "temperature")  # of a temperature nobody would take it for spend
    assert "Below 0 in some rows, as no spend is, and so no channel: 'Radio'." in said(table, "D013")


@pytest.mark.parametrize("cells", [("0.3k", "1.2k"), ("12 %", "9 %"), ("€ 1,5 Mio", "€ 2 Mio"), ("500 kr.", "20 kr.")])
def test_a_column_of_shortened_numbers_is_not_left_out_in_silence(tmp_path: Path, cells: tuple[str, str]) -> None:
    table = read(write(tmp_path, f'TV,search,sales\n1,"{cells[0]}",3\n4,"{cells[1]}",7\n'))
    assert table.contract.channels == ("TV",)
    review = next(f for f in table.findings if f.severity == "review")
    assert (review.code, f"'search' was left out, since cells such as {cells[0]!r}" in review.message) == ("D015", True)


def test_words_and_numbers_of_places_are_left_out_without_ado(tmp_path: Path) -> None:
    table = read(write(tmp_path, "TV,note,campaign,sales\n1,second,2nd floor,3\n4,first,Q4 push,7\n"))
    assert [f.severity for f in table.findings] == ["note", "note"]


WEEKS = [f"{i}. Woche" for i in range(1, 15)]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Woche", WEEKS),
        ("date", [1_704_067_200 + 604_800 * i for i in range(14)]),  # seconds since 1970
        ("date", [45_292 + 7 * i for i in range(14)]),  # days since 1900, as sheets count them
    ],
)
@pytest.mark.parametrize("how", [{}, ROLES])
def test_dates_that_are_not_read_are_said_aloud(name: str, values: list[Any], how: dict[str, Any]) -> None:
    table = read(pd.DataFrame({name: values, "TV": range(3, 17), "Sales": range(5, 19)}), **how)
    assert table.contract.date is None
    assert f"what {name!r} holds, such as '{values[0]}', is no way to write one" in said(table, "D022")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("month", [*range(1, 13), 1, 2]),  # of which year?
        ("Daytime TV", range(3, 17)),  # a channel
        ("day", ["Monday"] * 14),
    ],
)
def test_what_cannot_be_the_date_of_a_row_is_no_matter(name: str, values: Any) -> None:
    table = read(pd.DataFrame({name: values, "TV": range(3, 17), "Sales": range(5, 19)}))
    assert "D022" not in codes(table)


def test_a_date_by_name_goes_before_one_by_its_cells(tmp_path: Path) -> None:
    table = read(write(tmp_path, "booked,week,TV,Sales\n2024-02-01,2024-01-01,1,2\n2024-02-09,2024-01-08,2,3\n"))
    assert table.contract.date == "week"


def test_a_name_of_the_same_letters_in_another_form_is_told_apart(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "Fru\u0308hstu\u0308ck,sales\n1,2\n3,4\n"), channels=["Frühstück"])
    assert "Did you mean 'Fru\u0308hstu\u0308ck', which looks the same and is written with other characters" in message


def test_one_channel_may_be_given_as_a_word(tmp_path: Path) -> None:
    assert read(write(tmp_path, WIDE), channels="TV", controls="price").contract.features == ("TV", "price")


# --- long tables


def test_a_long_table_is_sampled_in_order_and_all_of_it_is_counted() -> None:
    frame = pd.DataFrame({"TV": np.arange(300_000.0), "Sales": 1.0})
    table = read(frame, **ROLES, max_rows=10_000)
    assert (len(table.frame), table.rows_read, codes(table)) == (10_000, 300_000, ["D012"])
    assert (table.findings[0].severity, "300,000 rows" in said(table, "D012")) == ("review", True)
    assert table.X["TV"].is_monotonic_increasing
    assert table.X["TV"].is_unique
    assert table.digest == read(frame, **ROLES).digest


def test_a_sample_is_uniform_and_hangs_on_its_seed_alone() -> None:
    frame = pd.DataFrame({"TV": np.arange(200_000.0), "Sales": 1.0})
    first, again, other = (read(frame, **ROLES, max_rows=20_000, seed=s).X["TV"] for s in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)
    counts, _ = np.histogram(first, bins=10, range=(0, 200_000))
    # each tenth holds 2,000 rows give or take 40 (hypergeometric); six times that happens in 1 of 10**8 samples
    assert np.abs(counts - 2_000).max() < 6 * math.sqrt(20_000 * 0.1 * 0.9 * 0.9)


def test_as_many_rows_as_may_be_kept_are_no_sample() -> None:
    table = read(pd.DataFrame({"TV": [3.0, 1.0], "Sales": 1.0}), **ROLES, max_rows=2)
    assert (codes(table), table.X["TV"].to_list()) == ([], [3.0, 1.0])


def test_a_bad_cell_outside_the_sample_is_refused() -> None:
    frame = pd.DataFrame({"TV": [1.0] * 200_000 + [-1.0], "Sales": 1.0})
    assert "row 200001: -1.0 is negative" in refusal(frame, **ROLES, max_rows=1)


def test_a_big_file_is_streamed(tmp_path: Path) -> None:
    """60 MB of 9 million rows grow memory by 160 MB as columns of text (the leanest whole reading), by 280 in pandas.

    Streamed by two threads it is blocks of 1 MB on their way, 20,000 rows and what the allocator keeps: 90 to 100 MB
    measured, whatever the file's length; 130 is allowed.
    """
    if not Path("/proc/self/status").exists():
        pytest.skip("missing part: /proc, which tells a process's own peak memory")
    block = "".join(f"{i % 300}.5,{i % 30}\n" for i in range(100_000))
    path = tmp_path / "big.csv"
    with path.open("w") as file:
        file.write("TV,Sales\n")
        for _ in range(math.ceil(60e6 / len(block))):
            file.write(block)
    program = textwrap.dedent("""
        import re, sys
        from adresponse.table import read, read_builtin
        peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024
        read_builtin()
        before = peak()
        table = read(sys.argv[1], target="Sales", channels=["TV"], max_rows=10_000)
        print(len(table.frame), table.rows_read, peak() - before)
    """)
    two = {**os.environ, "OMP_NUM_THREADS": "2"}  # which Arrow obeys
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True, env=two)
    kept, rows, grown = map(int, done.stdout.split())
    assert (kept, rows) == (10_000, 100_000 * math.ceil(60e6 / len(block)))
    assert grown < 130


# --- the house


def test_the_door_is_light() -> None:
    program = "import sys, adresponse.table; print({'numpy', 'pandas', 'pyarrow', 'sqlalchemy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@settings(deadline=None)
@given(text=st.text(alphabet="0123456789.,' -+e€$x()\u202f", max_size=12))
def test_one_cell_is_read_the_same_by_every_way(text: str) -> None:
    """The quick cast and the reading of marks agree, so that a value does not hang on its neighbours."""
    alone, bad = numerals.to_floats(pa.array([text]), ".")
    beside, bad_beside = numerals.to_floats(pa.array([text, "€ 1,000.5"]), ".")
    assert (bad is None) == (bad_beside != 0)
    np.testing.assert_array_equal(alone, beside[:1])
