"""Does a table get the answers that the model gives, whatever it is written in, and nothing by halves?"""

from __future__ import annotations

import datetime
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from adresponse.cli import _chatter
from adresponse.engines import database as engines_database
from adresponse.engines import duck
from adresponse.engines.batch import predict
from adresponse.engines.places import Table, output_of
from adresponse.errors import AdresponseError, ConfigError, RowsError, TableError
from adresponse.rows import check
from adresponse.stored import Stored, open_stored
from adresponse.table import read
from batch_models import CHANNELS, closed, frame, without_formula
from curves_example import panel, stored_curves
from parts import start_postgres

MODEL = closed()
LEVEL = 0.9


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "my tables, März"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with start_postgres() as url:
        yield url


def expected(rows: pd.DataFrame, model: Stored = MODEL) -> dict[str, np.ndarray[Any, Any]]:
    return model.formula.answer([rows[name].to_numpy(float) for name in model.formula.contract.features], LEVEL)


def write(rows: pd.DataFrame, path: Path) -> Path:
    kinds: dict[str, Callable[..., object]] = {".csv": rows.to_csv, ".parquet": rows.to_parquet, ".xlsx": rows.to_excel}
    kinds[path.suffix](path, index=False)
    if path.suffix == ".xlsx":  # to_excel keeps 16 digits, and makes formulas of text
        write_excel(rows, path)
    return path


def write_excel(rows: pd.DataFrame, path: Path) -> None:
    from adresponse.engines.outputs import Form, open_output

    with open_output(path, Form(tuple(rows), frozenset())) as writer:
        writer.write([rows[name].tolist() for name in rows])


def write_sql(rows: pd.DataFrame, url: str, name: str) -> str:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    rows.to_sql(name, engine, index=False)
    engine.dispose()
    return url


def read_back(output: str | Path) -> pd.DataFrame:
    if isinstance(output, str):
        url, _, name = output.partition("#")
        return pd.read_sql_table(name, url.replace("postgresql:", "postgresql+psycopg:"))
    readers = {".parquet": pd.read_parquet, ".xlsx": pd.read_excel, ".csv": pd.read_csv}
    return readers[output.suffix](output)


def same_bits(found: pd.DataFrame, rows: pd.DataFrame, model: Stored = MODEL) -> bool:
    return all(
        (found[name].to_numpy(float).view("i8") == values.view("i8")).all() for name, values in expected(rows, model).items()
    )


# --- the same answers everywhere


@pytest.mark.parametrize("given", ["a.csv", "a.parquet", "a.xlsx", "sqlite", "postgres"])
@pytest.mark.parametrize("wanted", ["o.csv", "o.parquet", "o.xlsx", "sqlite", "postgres"])
def test_a_table_gets_the_same_bits_from_and_to_every_format(
    folder: Path, given: str, wanted: str, request: pytest.FixtureRequest
) -> None:
    rows = frame()
    urls = {"sqlite": f"sqlite:///{folder / 'in.db'}"}
    if "postgres" in (given, wanted):
        urls["postgres"] = request.getfixturevalue("postgres")
    name = f"{given}-{wanted}"
    source = write_sql(rows, urls[given], f"in {name}") if given in urls else write(rows, folder / given)
    output = f"{urls[wanted].replace('in.db', 'out.db')}#out {name}" if wanted in urls else folder / wanted
    done = predict(MODEL, source, output, level=LEVEL, sql_table=f"in {name}" if given in urls else None)
    found = read_back(output)
    assert list(found) == [*rows, "prediction", "lower", "upper"]
    assert done.rows == len(found) == len(rows)
    assert same_bits(found, rows)
    assert [str(n or "") for n in found["note"].fillna("")] == list(rows["note"])
    assert found["week"].astype(int).tolist() == rows["week"].tolist()
    assert done.engine == ("duckdb" if given == "a.parquet" and wanted in ("o.csv", "o.parquet") else "blocks")


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".xlsx"])
def test_a_file_name_may_be_in_an_old_encoding(folder: Path, ending: str) -> None:
    """As an archive made on Windows leaves it: Latin-1, where names are UTF-8."""
    source, output = (folder / os.fsdecode(name + ending.encode()) for name in (b"M\xe4rz", b"\xf6"))
    write(frame(), folder / f"a{ending}").rename(source)
    assert predict(MODEL, source, output.with_suffix(".csv")).rows == 7
    table = read(source, target="Radio", channels=["TV"])
    assert table.source == str(folder / rf"M\xe4rz{ending}")


def test_what_folders_say_is_a_column_as_text(folder: Path) -> None:
    given = frame(8).assign(shop=["007", "10", "Süd & West", None] * 2)
    given.to_parquet(folder / "spend", partition_cols=["shop"])
    done = predict(MODEL, folder / "spend", folder / "out.parquet")
    found = read_back(folder / "out.parquet").sort_values("TV")
    told = given.sort_values("TV")
    assert (done.rows, done.engine) == (8, "blocks")
    assert found["shop"].fillna("-").tolist() == told["shop"].fillna("-").tolist()
    assert found["prediction"].tolist() == expected(told)["prediction"].tolist()
    given.drop(columns="shop").to_parquet(folder / "spend" / "more.parquet")  # in no such folder: what is its shop?
    predict(MODEL, folder / "spend", folder / "out.parquet", overwrite=True)
    assert "shop" not in read_back(folder / "out.parquet")


def test_the_answers_do_not_depend_on_the_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(frame(5000), folder / "a.parquet")
    fast = predict(MODEL, source, folder / "fast.parquet", level=LEVEL)
    monkeypatch.setattr(duck, "score", lambda *given: None)
    slow = predict(MODEL, source, folder / "slow.parquet", level=LEVEL)
    assert (fast.engine, slow.engine) == ("duckdb", "blocks")
    assert pd.read_parquet(folder / "fast.parquet").equals(pd.read_parquet(folder / "slow.parquet"))
    assert fast.beyond == slow.beyond


def test_a_file_with_decimal_commas_keeps_its_look(folder: Path) -> None:
    rows = frame().drop(columns="note")
    rows.to_csv(folder / "a.csv", sep=";", decimal=",", index=False)
    predict(MODEL, folder / "a.csv", folder / "o.csv", level=LEVEL)
    assert same_bits(pd.read_csv(folder / "o.csv", sep=";", decimal=","), rows)


def test_spend_whose_name_speaks_of_dates_is_read_as_it_was_fitted(folder: Path) -> None:
    (folder / "a.csv").write_text("Monat;Daytime TV;Tagesbudget\n12.2024;6,096;1,234\n01.2025;3,158;2,345\n", "utf-8")
    model = closed(["Daytime TV", "Tagesbudget"])
    predict(model, folder / "a.csv", folder / "o.csv")
    spend = pd.DataFrame({"Daytime TV": [6.096, 3.158], "Tagesbudget": [1.234, 2.345]})
    answers = pd.read_csv(folder / "o.csv", sep=";", decimal=",")["prediction"]
    np.testing.assert_array_equal(answers, expected(spend, model)["prediction"])


@pytest.mark.parametrize("separator", [";", "\t"])
def test_answers_have_the_decimal_comma_that_shows_itself_late(folder: Path, separator: str) -> None:
    rows = ["TV;Radio;note", *["1;2;a note of some length"] * 60_000, "18,5;2;late"]  # beyond the first block
    (folder / "a.csv").write_text("\n".join(rows).replace(";", separator), encoding="utf-8")
    predict(MODEL, folder / "a.csv", folder / "o.csv")
    shown = {".", ","} & set(pd.read_csv(folder / "o.csv", sep=None, engine="python", dtype=str)["prediction"].str.cat())
    assert shown == {","}


def test_a_model_without_formula_is_asked_block_by_block(folder: Path) -> None:
    model = without_formula(folder)
    rows = frame(40)
    predict(model, write(rows, folder / "a.parquet"), folder / "o.parquet")
    predict(model, write(rows, folder / "a.csv"), folder / "o.csv")
    answers = [read_back(folder / n)["prediction"].tolist() for n in ("o.parquet", "o.csv")]
    assert answers[0] == answers[1]
    assert len(set(answers[0])) > 10


@pytest.mark.parametrize(
    "kind",
    [
        pa.int8(),
        pa.uint64(),
        pa.float32(),
        pa.decimal128(5, 2),  # DuckDB divides exactly
        pa.decimal128(38, 10),  # it would not, so its text is read
        pa.dictionary(pa.int32(), pa.string()),  # categories of text that writes numbers
        pa.string(),
    ],
    ids=str,
)
def test_numbers_of_every_type_are_the_double_nearest_to_them(folder: Path, kind: pa.DataType) -> None:
    values = ["1", "2", "3", "127"]
    if pa.types.is_uint64(kind):
        values[3] = str(2**64 - 1)
    if pa.types.is_decimal(kind):
        values = [f"{v}.10" for v in values]
    if kind == pa.decimal128(38, 10):
        values[3] = "9007199254740993.1234567891"
    exact = pa.array([Decimal(v) for v in values])
    text = pa.types.is_string(kind) or pa.types.is_dictionary(kind)
    column = pa.array(values, pa.string()).cast(kind) if text else exact.cast(kind)
    pq.write_table(pa.table({"TV": column, "Radio": column}), folder / "a.parquet")
    predict(MODEL, folder / "a.parquet", folder / "o.parquet")
    doubles = np.array([float(v) for v in values])
    assert read_back(folder / "o.parquet")["prediction"].tolist() == MODEL.formula.predict([doubles, doubles]).tolist()
    assert pq.read_table(folder / "o.parquet")["TV"].to_pylist() == column.to_pylist()


@pytest.mark.parametrize("name", ['say "TV"', "TV, online", "Fernseh-Ausgaben (€)", "it's", "#sales", "a%b", "two  blanks"])
@pytest.mark.parametrize("ending", [".csv", ".parquet", ".xlsx", "sqlite"])
def test_odd_column_names(folder: Path, name: str, ending: str) -> None:
    model = closed([name], controls=["ok"])
    rows = pd.DataFrame({name: [1.5, 2.5], "ok": [-1.0, 0.25], "p": [1, 2]})
    source = write(rows, folder / f"a{'.csv' if ending == 'sqlite' else ending}")
    output = f"sqlite:///{folder}/o.db#out" if ending == "sqlite" else folder / f"o{ending}"
    predict(model, source, output, level=LEVEL)
    assert same_bits(read_back(output), rows, model)


def test_a_column_without_a_name_gets_one_that_no_other_has(folder: Path) -> None:
    (folder / "a.csv").write_text("TV,,Radio,Column 2,\n1,a,2,b,c\n", encoding="utf-8")
    predict(MODEL, folder / "a.csv", folder / "o.parquet")
    assert pq.read_schema(folder / "o.parquet").names[:5] == ["TV", "column 2 (unnamed)", "Radio", "Column 2", "column 5"]


def test_what_is_carried_along_keeps_its_type(folder: Path) -> None:
    given = pa.table(
        {
            "TV": [1.0, 2.0],
            "Radio": [1.0, 2.0],
            "at": pa.array([datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), None]),
            "list": [[1], None],
            "money": pa.array([Decimal("1.10"), None]),
            "flag": [True, None],
            "nothing": pa.nulls(2),
            "day": pa.array([datetime.date(1850, 1, 1), None]),
        }
    )
    pq.write_table(given, folder / "a.parquet")
    for ending in (".parquet", ".csv", ".xlsx"):
        predict(MODEL, folder / "a.parquet", folder / f"o{ending}")
    found = pq.read_table(folder / "o.parquet")
    assert found.drop_columns(["prediction"]).to_pylist() == given.to_pylist()
    assert found.schema.field("list").type == given.schema.field("list").type
    predict(MODEL, folder / "a.parquet", f"sqlite:///{folder}/o.db#out")


LATER: list[tuple[Any, Any, str]] = [  # a cell of the first block; one of the second; what both are called
    (1, 2.5, "double from row 3 on and int64 before"),
    (1, "x", "string from row 3 on and int64 before"),
    (1, "007", "string from row 3 on and int64 before"),  # which 7 is not
    (True, 7, "int64 from row 3 on and bool before"),
    (1, datetime.datetime(2024, 1, 1), "timestamp[us] from row 3 on and int64 before"),
    (datetime.datetime(2024, 1, 1), 7, "int64 from row 3 on and timestamp[us] before"),
]


def write_later(path: Path, monkeypatch: pytest.MonkeyPatch, first: Any, later: Any) -> None:
    """A sheet whose second block of rows holds something else."""
    monkeypatch.setattr("adresponse.reading.source.ROWS_AT_ONCE", 2)
    write_excel(pd.DataFrame({"TV": [1.0] * 3, "Radio": [2.0] * 3, "more": [first, first, later]}, dtype=object), path)


@pytest.mark.parametrize("wanted", ["o.parquet", "postgres"])
@pytest.mark.parametrize(("first", "later", "said"), LATER)
def test_values_that_the_first_blocks_type_cannot_hold_are_refused(
    folder: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    wanted: str,
    first: Any,
    later: Any,
    said: str,
) -> None:
    write_later(folder / "a.xlsx", monkeypatch, first, later)
    output = f"{request.getfixturevalue(wanted)}#refused" if wanted == "postgres" else folder / wanted
    with pytest.raises(TableError, match=re.escape(f"Column 'more' holds {said}, and a")):
        predict(MODEL, folder / "a.xlsx", output)


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (None, "x"),
        (None, 0.1),
        (1.5, 2),
        ("x", 0.1),
        (datetime.datetime(2024, 1, 1, 12), datetime.date(2024, 1, 2)),
    ],
)
@pytest.mark.parametrize("wanted", ["o.parquet", "postgres"])
def test_values_that_the_first_blocks_type_can_hold_are_kept(
    folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, wanted: str, first: Any, later: Any
) -> None:
    write_later(folder / "a.xlsx", monkeypatch, first, later)
    output = f"{request.getfixturevalue(wanted)}#kept" if wanted == "postgres" else folder / wanted
    predict(MODEL, folder / "a.xlsx", output, overwrite=True)
    last = read_back(output)["more"].iloc[-1]
    assert last == (pd.Timestamp(later) if isinstance(later, datetime.date) else later if first == 1.5 else str(later))


def test_a_fraction_among_whole_numbers_stays_one_in_sqlite_and_a_numeric_of_postgres(folder: Path, postgres: str) -> None:
    rows = [(1.0, 2.0, i if i < 10_000 else i + 0.75) for i in range(10_001)]
    with sqlite3.connect(folder / "a.db") as made:
        made.execute("CREATE TABLE a (TV, Radio, more)")
        made.executemany("INSERT INTO a VALUES (?, ?, ?)", rows)
    predict(MODEL, f"sqlite:///{folder}/a.db", f"sqlite:///{folder}/o.db#o")
    with sqlite3.connect(folder / "o.db") as found:
        assert found.execute("SELECT more FROM o WHERE more > 9998").fetchall() == [(9999,), (10_000.75,)]
    query = 'SELECT 1.0 AS "TV", 2.0 AS "Radio", i / (1 + i / 10000)::numeric AS more FROM generate_series(0, 10001) i'
    predict(MODEL, postgres, f"{postgres}#numerics", query=query)
    assert read_back(f"{postgres}#numerics")["more"].iloc[-1] == 5000.5


def test_a_folder_and_a_pattern_are_read_in_the_order_of_their_names(folder: Path) -> None:
    rows = frame(10)
    (folder / "parts").mkdir()
    for i, part in enumerate((rows[:4], rows[4:4], rows[4:])):
        part.to_parquet(folder / "parts" / f"part-{i}.parquet", index=False)
    (folder / "parts" / "_SUCCESS").touch()
    (folder / "parts" / ".part-9.parquet").touch()
    for source in (folder / "parts", f"{folder}/parts/part-*.parquet"):
        done = predict(MODEL, source, folder / "o.parquet", level=LEVEL, overwrite=True)
        assert done.engine == "duckdb"
        found = read_back(folder / "o.parquet")
        assert found["week"].tolist() == rows["week"].tolist()
        assert same_bits(found, rows)
    rows.rename(columns={"note": "notes"}).to_parquet(folder / "parts" / "part-7.parquet", index=False)
    with pytest.raises(TableError, match=r"part-7\.parquet has other columns or types than .*part-0"):
        predict(MODEL, folder / "parts", folder / "o.csv")


def test_a_pattern_takes_folders_too_as_spark_writes_a_table(folder: Path) -> None:
    for name, rows in (("1.parquet/part-0.parquet", 4), ("2.parquet", 2), ("_old.parquet/part-0.parquet", 1)):
        (folder / "days" / name).parent.mkdir(parents=True, exist_ok=True)
        frame(rows).to_parquet(folder / "days" / name, index=False)
    predict(MODEL, f"{folder}/days/*.parquet", folder / "o.parquet", level=LEVEL)
    assert same_bits(read_back(folder / "o.parquet"), pd.concat([frame(4), frame(2)], ignore_index=True))


def test_an_answer_says_which_model_gave_it(folder: Path) -> None:
    source = write(frame(), folder / "a.parquet")
    write(frame(), folder / "a.csv")
    for given in (source, folder / "a.csv"):
        predict(MODEL, given, folder / "o.parquet", version="7", overwrite=True)
        metadata = pq.read_schema(folder / "o.parquet").metadata
        assert (metadata[b"adresponse.model_id"], metadata[b"adresponse.model_version"]) == (b"m-1", b"7")


def test_rows_beyond_the_range_fitted_are_answered_and_counted(folder: Path) -> None:
    rows = pd.DataFrame({"TV": [1.0, 300.0, 300.5, 4000.0], "Radio": [1.0, 2, 3, 4]})
    for name in ("a.parquet", "a.csv"):
        done = predict(MODEL, write(rows, folder / name), folder / "o.csv", overwrite=True)
        assert {n: (b.lowest, b.highest, b.rows) for n, b in done.beyond.items()} == {"TV": (1.0, 4000.0, 2)}


def test_text_that_looks_like_a_formula_stays_text(folder: Path) -> None:
    rows = pd.DataFrame({"note": ["=HYPERLINK(1)", "a\x0bb"], "TV": [1, 2], "Radio": [1, 2]})
    predict(MODEL, write(rows, folder / "a.csv"), folder / "o.xlsx")
    cells = [row[0] for row in openpyxl.load_workbook(folder / "o.xlsx").active.iter_rows(min_row=2)]  # type: ignore[union-attr]
    assert [(c.value, c.data_type) for c in cells] == [("=HYPERLINK(1)", "s"), ("a\ufffdb", "s")]


# --- refusals, which leave nothing behind


BAD = [  # the third row's TV, as a CSV has it; the reason; the same in Parquet
    ("x", "'x' is not a number; give a number without quotes.", "x"),
    ("", "the value is missing; give a number.", None),
    ("n/a", "the value is missing; give a number.", float("nan")),
    ("inf", "the value is not finite; give a finite number.", float("inf")),
    ("-3", "-3 is negative, and spend is 0 or more.", -3.0),
    ("1e400", "the value is not finite; give a finite number.", float("-inf")),
    ("1_000", "'1_000' is not a number; give a number without quotes.", "1_000"),
    ("12%", "'12%' is not a number; give a number without quotes.", True),
]


@pytest.mark.parametrize(("cell", "reason", "value"), BAD)
@pytest.mark.parametrize("ending", [".csv", ".parquet", ".xlsx"])
def test_the_first_bad_row_is_named_with_its_place(folder: Path, cell: str, reason: str, value: object, ending: str) -> None:
    if ending == ".csv":
        (folder / "a.csv").write_text(f'note,TV,Radio\n"two\nlines",1,2\n\nb,1.5,2\nc,{cell},2\nd,-9,x\n', encoding="utf-8")
        place, shown = "line 6 of a.csv", reason
    elif ending == ".parquet":
        column = (
            pa.array([1.5, 1.5, value, -9.0]) if isinstance(value, float | None) else pa.array(["1.5", "1", str(value), "-9"])
        )
        column = pa.array([True] * 4) if value is True else column
        pq.write_table(pa.table({"TV": column, "Radio": [2.0] * 4}), folder / "a.parquet")
        place = "a.parquet"
        shown = "true is not a number; give a number without quotes." if value is True else reason
    else:
        book = openpyxl.Workbook()
        for row in (["TV", "Radio"], [1.5, 2], [1, 2], [cell or None, 2], ["-9", 2]):
            book.active.append(row)  # type: ignore[union-attr]
        book.save(folder / "a.xlsx")
        place, shown = "row 4 of sheet 'Sheet' in a.xlsx", reason
    row = 1 if value is True and ending == ".parquet" else 3
    with pytest.raises(RowsError) as caught:
        predict(MODEL, folder / f"a{ending}", folder / "o.csv")
    assert str(caught.value) == f"Column 'TV', row {row} ({place}): {shown}"
    assert [p.name for p in folder.iterdir()] == [f"a{ending}"]


REFUSED: list[tuple[str, dict[str, Any], str]] = [  # the file's text; arguments; what is said
    ("Tv,Radio\n1,2\n", {}, "Column 'TV' is missing. Did you mean 'Tv'? The rows have: Tv, Radio."),
    ("TV,Radio\n", {}, "has column names but no rows; give at least one."),
    ("", {}, "is empty (0 bytes)"),
    ("TV,Radio,prediction\n1,2,3\n", {}, "Column 'prediction' of"),
    ("TV,Radio,Upper\n1,2,3\n", {"level": 0.9}, "has the name of an answer (prediction, lower and upper); rename it"),
    ("TV,Radio\n1,2\n1\n", {}, "Row 2 (line 3 of a.csv) has 1 cell, the header 2"),
    ("TV,Radio\n1,2\n", {"level": 0.999}, "interval=0.999 is higher than the 100 rows fitted can tell"),
    ("TV,Radio\n1,2\n", {"level": 2}, "interval=2 is no share between 0 and 1"),
    ("TV,Radio\n1,2\n", {"on_error": "ignore"}, "on_error='ignore' is unknown"),
    ("TV,Radio\n1,2\n", {"output": "o.txt"}, "has none of the endings .csv"),
    ("TV,Radio\n1,2\n", {"output": "nowhere/o.csv"}, "nowhere does not exist; make it first."),
    ("TV,Radio\n1,2\n", {"output": "a.csv", "overwrite": True}, "is the table that is read"),
    ("TV,Radio\n1,2\n", {"output": "there.csv"}, "exists already; give --force to replace it"),
    ("TV,Radio\n1,2\n", {"output": "sqlite:///o.db"}, "is a database without a table"),
    ("TV,Radio\n1,2\n", {"sheet": "one"}, "sheet='one' is for an Excel file"),
    ("TV,Radio\n1,2\n", {"sql_table": "one"}, "sql_table='one' is for a database URL"),
    ("TV,Radio\n1,2\n", {"out_table": "one"}, "out_table='one' is for a database URL"),
    ("TV,Radio\n1e300,2e308\n", {}, "Column 'Radio', row 1 (line 2 of a.csv): the value is not finite"),
    ('TV,Radio\n1.5,2\n2,5\n3.5,"2,5"\n', {}, "'2,5' is not a number where '.' is the decimal mark"),
]


@pytest.mark.parametrize(("text", "given", "said"), REFUSED)
def test_what_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, given: dict[str, Any], said: str) -> None:
    monkeypatch.chdir(folder)
    Path("a.csv").write_text(text, encoding="utf-8")
    Path("there.csv").write_text("mine", encoding="utf-8")
    arguments = {"output": "o.csv", **given}
    with pytest.raises(AdresponseError) as caught:
        predict(MODEL, "a.csv", **arguments)
    assert said in str(caught.value)
    assert sorted(p.name for p in folder.iterdir()) == ["a.csv", "there.csv"]
    assert Path("there.csv").read_text("utf-8") == "mine"
    assert Path("a.csv").read_text("utf-8") == text


def test_an_answer_too_large_is_a_bad_row(folder: Path) -> None:
    rows = pd.DataFrame({"TV": [1.0, 1e308, 3.0], "Radio": [1.0, 1e308, 3.0]})
    model = closed()
    term = model.formula.terms[0].__class__("TV", 1.0, 0.0, 1e10)
    formula = type(model.formula)(
        model.formula.contract, 1.0, (term, model.formula.terms[1]), model.formula.spread, model.formula.ranges
    )
    model = Stored(folder, formula, {}, {}, "")
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(RowsError, match=r"^Row 2 \(.*a\.\w+\): the prediction is too large to be a number"):
            predict(model, write(rows, folder / name), folder / "o.parquet", overwrite=True)
        done = predict(model, folder / name, folder / "o.parquet", on_error="skip", overwrite=True)
        assert (done.rows, done.skipped) == (2, 1)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".xlsx"])
def test_bad_rows_can_be_put_aside(folder: Path, ending: str) -> None:
    rows = frame(12).astype({"TV": object})
    rows.loc[[2, 5, 11], "TV"] = ["x", "", "-1"]
    rows["TV"] = rows["TV"].astype(str)
    source = write(rows, folder / "a.csv")
    done = predict(MODEL, source, folder / f"o{ending}", level=LEVEL, on_error="skip")
    assert (done.rows, done.skipped, done.rejected) == (9, 3, folder / f"o{ending}.rejected.csv")
    good = rows.drop([2, 5, 11])
    assert same_bits(read_back(folder / f"o{ending}"), good)
    aside = pd.read_csv(done.rejected, keep_default_na=False)  # type: ignore[arg-type]
    assert aside["rejected_row"].tolist() == [3, 6, 12]
    assert aside["rejected_place"].tolist() == ["line 4 of a.csv", "line 8 of a.csv", "line 15 of a.csv"]
    assert aside["rejected_column"].tolist() == ["TV"] * 3
    assert aside["rejected_reason"][2] == "-1 is negative, and spend is 0 or more."
    assert aside["week"].astype(int).tolist() == [3, 6, 12]
    rows = frame()
    predict(MODEL, write(rows, source), folder / f"o{ending}", on_error="skip", overwrite=True)
    assert not done.rejected.exists(), "the rejected rows of another table would mislead"  # type: ignore[union-attr]


def test_rejected_rows_that_were_mended_are_not_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    Path("a.csv").write_text("TV,Radio\n1,1\nx,2\n", encoding="utf-8")
    Path("t.rejected.csv").write_text("TV,Radio\n1,1\n", encoding="utf-8")
    mended = predict(MODEL, "a.csv", "o.csv", on_error="skip").rejected
    assert mended is not None
    mended.write_text("TV,Radio\n3,2\n", encoding="utf-8")
    for source, output, skip in ((mended, "o.csv", "fail"), ("t.rejected.csv", "sqlite:///o.db#t", "skip")):
        with pytest.raises(ConfigError, match=r"rejected.csv is read, and has the name of the output's rejected rows"):
            predict(MODEL, source, output, on_error=skip, overwrite=True)  # type: ignore[arg-type]
    assert mended.read_text("utf-8") == "TV,Radio\n3,2\n"
    assert predict(MODEL, "t.rejected.csv", "sqlite:///o.db#t").rows == 1
    assert Path("t.rejected.csv").exists(), "a database has no rejected rows in this folder unless asked to skip"


def test_rows_may_all_be_bad(folder: Path) -> None:
    (folder / "a.csv").write_text("TV,Radio\nx,1\ny,2\n", encoding="utf-8")
    done = predict(MODEL, folder / "a.csv", folder / "o.csv", on_error="skip")
    assert (done.rows, done.skipped) == (0, 2)
    assert (folder / "o.csv").read_text("utf-8") == "TV,Radio,prediction\n"


def test_a_sheet_is_not_filled_beyond_what_excel_opens(folder: Path) -> None:
    duckdb.execute(f"COPY (SELECT 1 AS TV, 2 AS Radio FROM range(1048576)) TO '{folder}/a.parquet' (FORMAT parquet)")
    started = time.monotonic()
    with pytest.raises(TableError, match="holds 1,048,575 rows below its header, and there are more"):
        predict(MODEL, folder / "a.parquet", folder / "o.xlsx")
    assert time.monotonic() - started < 2, "it is known before the work"


# --- all or nothing


def test_a_database_gets_all_rows_or_none(folder: Path) -> None:
    rows = pd.DataFrame({"TV": [1.0] * 300_000 + [-1.0], "Radio": 1.0})  # 2 MB, which are read in more than one block
    output = f"sqlite:///{folder}/o.db#answers"
    source = write(rows, folder / "a.csv")
    with pytest.raises(RowsError, match=r"row 300001 "):
        predict(MODEL, source, output)
    assert [p.name for p in folder.iterdir()] == ["a.csv"]
    (folder / "o.db").touch()
    with pytest.raises(RowsError, match=r"row 300001 "):
        predict(MODEL, source, output)
    assert (folder / "o.db").read_bytes() == b"", "it was there before"
    predict(MODEL, write(frame(), folder / "a.csv"), output)
    with pytest.raises(ConfigError, match="has a table 'answers' already"):
        predict(MODEL, folder / "a.csv", output)
    predict(MODEL, write(frame(3), folder / "a.csv"), output, overwrite=True)
    assert len(read_back(output)) == 3


def test_one_database_may_be_read_and_written(postgres: str) -> None:
    rows = frame(25_000)
    write_sql(rows, postgres, "spend")
    predict(MODEL, postgres, f"{postgres}#answers", level=LEVEL, query="SELECT * FROM spend ORDER BY week")
    assert same_bits(read_back(f"{postgres}#answers"), rows)
    with pytest.raises(ConfigError, match="may be the one that is read"):
        predict(MODEL, postgres, f"{postgres}#spend", sql_table="spend", overwrite=True)
    with pytest.raises(TableError, match=r"did not answer: .*lock"):
        predict(MODEL, postgres, f"{postgres}#spend", query="SELECT * FROM spend", overwrite=True)
    assert len(read_back(f"{postgres}#spend")) == len(rows)


def test_a_database_that_goes_away_on_the_way_is_one_sentence_and_leaves_no_table(
    postgres: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_sql(frame(12_000), postgres, "broken_off")
    engine = sa.create_engine(postgres.replace("postgresql:", "postgresql+psycopg:"))
    blocks = iter(range(2))

    def ended(name: str, array: Any) -> list[Any]:
        if name == "prediction" and next(blocks) == 1:
            with engine.begin() as other:
                other.exec_driver_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        return array.to_pylist()

    monkeypatch.setattr(engines_database._Table, "_values", lambda self, name, array: ended(name, array))
    with (
        _chatter(verbose=False),
        pytest.raises(TableError, match=r"^The connection to postgresql.*:\*\*\*@.* was lost \(.*\); run it again\.$"),
    ):
        predict(MODEL, postgres, f"{postgres}#half", sql_table="broken_off")
    assert not [record for record in caplog.records if record.name.startswith("psycopg")]
    assert "half" not in sa.inspect(engine).get_table_names()
    engine.dispose()


@pytest.mark.parametrize("wanted", ["o.csv", "o.parquet", "o.xlsx", "postgres"])
def test_objects_of_a_database_are_written_as_json(folder: Path, request: pytest.FixtureRequest, wanted: str) -> None:
    postgres = request.getfixturevalue("postgres")
    query = """SELECT 1.0 AS "TV", 2.0 AS "Radio", j FROM (VALUES ('{"a": 1}'::jsonb), ('{"b": ["é", null]}'), (NULL)) v(j)"""
    output = f"{postgres}#objects" if wanted == "postgres" else folder / wanted
    predict(MODEL, postgres, output, query=query)
    assert read_back(output)["j"].tolist()[:2] == ['{"a": 1}', '{"b": ["é", null]}']


@pytest.mark.parametrize("name", ["a" * 300, "a" * 245], ids=["too long", "too long with .rejected.csv"])
def test_an_output_whose_name_is_too_long_is_refused_before_any_work(folder: Path, name: str) -> None:
    source = write(frame(), folder / "a.parquet")
    with pytest.raises(ConfigError, match="cannot be reached \\(File name too long\\)"):
        predict(MODEL, source, folder / f"{name}.csv")
    assert [p.name for p in folder.iterdir()] == ["a.parquet"]


def test_keys_are_kept_in_sqlite_or_refused_where_it_would_round_them(folder: Path) -> None:
    url = f"sqlite:///{folder / 'o.db'}#t"
    kinds = {"id": pa.uint64(), "key": pa.decimal128(38, 0), "price": pa.decimal128(10, 2)}
    ids = {"id": [2**63 - 1, 2**53 + 1, None], "key": [Decimal(2**53 + 1), None, Decimal(5)], "price": [Decimal("1.10")] * 3}
    spend = {name: [1.0, 2.0, 3.0] for name in CHANNELS}
    pq.write_table(pa.table(spend | {n: pa.array(v, kinds[n]) for n, v in ids.items()}), folder / "a.parquet")
    predict(MODEL, folder / "a.parquet", url)
    with sqlite3.connect(folder / "o.db") as there:
        rows = there.execute("SELECT id, key, price FROM t").fetchall()
    assert rows == [(2**63 - 1, 2**53 + 1, 1.1), (2**53 + 1, None, 1.1), (None, 5, 1.1)]
    pq.write_table(pa.table(spend | {"id": pa.array([1, 2, 2**64 - 1], pa.uint64())}), folder / "a.parquet")
    with pytest.raises(TableError, match="'id' holds 18446744073709551615, and SQLite would round it"):
        predict(MODEL, folder / "a.parquet", url, overwrite=True)


def test_a_url_with_a_question_mark_is_no_pattern_and_its_password_is_not_said(folder: Path) -> None:
    with pytest.raises(TableError, match="did not answer") as caught:
        predict(MODEL, "postgresql://u:SECRET@127.0.0.1:1/db?sslmode=require", folder / "o.csv")
    assert "SECRET" not in str(caught.value)
    url = write_sql(frame(), f"sqlite:///{folder}/a.db", "spend")
    assert predict(MODEL, f"{url}?timeout=5", folder / "o.csv").rows == len(frame())


def test_a_table_is_written_into_the_schema_that_it_is_read_from(postgres: str) -> None:
    rows = frame(20)
    url = write_sql(rows, postgres, "plain")
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.exec_driver_sql('CREATE SCHEMA "Media"')
    predict(MODEL, url, f"{url}#Media.out", level=LEVEL, sql_table="plain")
    with pytest.raises(ConfigError, match=r"has a table 'Media\.out' already"):
        predict(MODEL, url, f"{url}#Media.out", sql_table="plain")
    predict(MODEL, url, f"{url}#Media.out", level=LEVEL, sql_table="plain", overwrite=True)
    predict(MODEL, url, f"{url}#none.out", sql_table="plain")  # there is no such schema
    with engine.connect() as connection:
        found = sa.inspect(connection)
        assert found.get_table_names(schema="Media") == ["out"]
        assert "none.out" in found.get_table_names()
        assert same_bits(pd.read_sql_table("out", connection, schema="Media"), rows)
    engine.dispose()


@pytest.mark.parametrize(
    ("output", "out_table", "url", "name"),
    [
        ("postgresql://u:p@h/db#t", None, "postgresql://u:p@h/db", "t"),
        ("postgresql://u:p#w@h/db#t", None, "postgresql://u:p#w@h/db", "t"),
        ("postgresql://u:p#w@h/db", "t", "postgresql://u:p#w@h/db", "t"),
        ("postgresql://u:p@h/db#t", "t", "postgresql://u:p@h/db", "t"),
    ],
)
def test_a_password_may_hold_a_hash(output: str, out_table: str | None, url: str, name: str) -> None:
    assert output_of(output, out_table) == Table(url, name)


def test_a_password_with_a_hash_is_no_table() -> None:
    with pytest.raises(ConfigError, match="is a database without a table") as caught:
        output_of("postgresql://u:p#SECRET@h/db", None)
    assert "SECRET" not in str(caught.value)


def test_an_sqlite_file_is_not_read_and_written_at_once(folder: Path) -> None:
    url = write_sql(frame(), f"sqlite:///{folder}/a.db", "spend")
    with pytest.raises(ConfigError, match="SQLite is not written at the same time"):
        predict(MODEL, url, f"{url}#answers", sql_table="spend")
    with pytest.raises(ConfigError, match="SQLite is not written at the same time"):
        predict(MODEL, f"{url}?timeout=5", f"{url}#answers", sql_table="spend")


CHILD = """
import sys
from pathlib import Path
from adresponse.engines.batch import predict
from batch_models import closed
predict(closed(), sys.argv[1], sys.argv[2], overwrite=True)
"""
MEASURED = CHILD + "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(Path(duck.__file__).parents[2]), str(Path(__file__).parent)])
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True)


def many(path: Path, rows: int) -> Path:
    form = "parquet" if path.suffix == ".parquet" else "csv"
    duckdb.execute(
        f"COPY (SELECT i % 3000 / 10 AS TV, i % 700 / 11 AS Radio, 'market ' || i % 50 AS market FROM range({rows}) t(i)) "
        f"TO '{path}' (FORMAT {form})"
    )
    return path


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=lambda s: s.name)
def test_a_job_that_is_ended_leaves_no_half_output(folder: Path, ending: str, how: signal.Signals) -> None:
    source, output = many(folder / f"a{ending}", 3_000_000), folder / f"o{ending}"
    output.write_text("before", encoding="utf-8")
    with child(CHILD, source, output) as job:
        limit = time.monotonic() + 30
        while not any(p.stat().st_size for p in folder.glob(".adresponse-*")) and time.monotonic() < limit:
            time.sleep(0.01)
        job.send_signal(how)
        assert job.wait(20) != 0
    assert output.read_text("utf-8") == "before"
    left = list(folder.glob(".adresponse-*"))
    assert len(left) == (1 if how is signal.SIGKILL else 0)
    predict(MODEL, write(frame(), folder / "small.csv"), output, overwrite=True)
    assert not list(folder.glob(".adresponse-*")), "the next run sweeps what was left"
    assert len(read_back(output)) == len(frame())


def test_ctrl_c_leaves_no_sqlite_file_that_was_not_there(folder: Path) -> None:
    with child(CHILD, many(folder / "a.csv", 1_000_000), f"sqlite:///{folder}/o.db#answers") as job:
        limit = time.monotonic() + 30
        while not any(p.stat().st_size > 100_000 for p in folder.glob("o.db")) and time.monotonic() < limit:
            time.sleep(0.01)
        job.send_signal(signal.SIGINT)
        assert job.wait(20) != 0
    assert [p.name for p in folder.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_memory_does_not_grow_with_the_table(folder: Path, ending: str) -> None:
    used = []
    for rows in (1_000_000, 4_000_000):
        with child(MEASURED, many(folder / f"a{ending}", rows), folder / f"o{ending}") as job:
            assert job.stdout is not None
            used.append(int(job.stdout.read()) // 1024)
    assert used[1] < 300, "MB"
    assert used[1] - used[0] < 60, "MB; three million rows more are 70 MB in memory, and as many as text"


def test_progress_rises_to_one(folder: Path) -> None:
    for name in ("a.parquet", "a.csv"):
        told: list[float] = []
        predict(MODEL, many(folder / name, 300_000), folder / "o.csv", overwrite=True, progress=told.append)
        assert told == sorted(told)
        assert told[-1] == 1.0


def test_an_unwritable_folder_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(frame(), folder / "a.csv")

    def refuse(self: Path, *given: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)  # root may write everywhere
    with pytest.raises(ConfigError, match=r"o\.csv cannot be written \(Permission denied\); nothing was left there"):
        predict(MODEL, source, folder / "o.csv")


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".tsv"])
def test_a_full_disk_is_one_sentence(folder: Path, ending: str) -> None:
    code = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
    code += CHILD.replace("predict(closed()", "try:\n    predict(closed()") + "except Exception as error: print(error)\n"
    with child(code, many(folder / "a.parquet", 1_000_000), folder / f"o{ending}") as job:
        assert job.stdout is not None
        said = job.stdout.read()
    assert "cannot be written" in said, "a limit on the size of files stands for the disk"
    assert "File too large" in said
    assert [p.name for p in folder.iterdir()] == ["a.parquet"]


def test_the_models_columns_are_these() -> None:
    assert MODEL.formula.contract.features == CHANNELS


# --- curves


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Carry-over over weeks of three markets."""
    return open_stored(stored_curves(panel(), tmp_path_factory.mktemp("weeks")))


def by_formula(model: Stored, rows: pd.DataFrame, *asked: Any) -> pd.DataFrame:
    columns = check(model.formula.reads, {n: rows[n] for n in model.formula.inputs})
    return pd.DataFrame(model.formula.answer(columns, *asked))


def test_dates_that_the_rows_fitted_do_not_speak_for_are_counted(weeks: Stored, tmp_path: Path) -> None:
    """60 weeks from 2023-01-02 on: a trend is carried on by its own length, so week 118 is the last."""
    dates = pd.to_datetime(["2022-12-26", "2023-01-02", "2025-04-07", "2025-04-14"])  # weeks -1, 0, 118 and 119
    rows = panel().table.frame.iloc[:4].assign(when=dates)
    done = predict(weeks, write(rows, tmp_path / "a.csv"), tmp_path / "o.csv")
    assert {n: (b.lowest, b.highest, b.rows) for n, b in done.beyond.items()} == {"when": ("2022-12-26", "2025-04-14", 2)}


def test_a_table_with_carry_over_is_seen_at_once(weeks: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block by block, each block's first rows would take what came before from the history."""
    monkeypatch.setattr("adresponse.engines.inputs.BLOCK_ROWS", 7)
    rows = panel().table.frame.sample(frac=1, random_state=1)
    rows.to_parquet(tmp_path / "rows.parquet", index=False, row_group_size=5)
    done = predict(weeks, tmp_path / "rows.parquet", tmp_path / "out.parquet", level=0.9, contributions=True)
    assert (done.rows, done.skipped, done.beyond, done.engine) == (len(rows), 0, {}, "blocks")
    found = pd.read_parquet(tmp_path / "out.parquet")
    told = by_formula(weeks, rows, 0.9, None, True)
    assert list(found) == [*rows, *told]
    pd.testing.assert_frame_equal(found[list(told)], told, check_exact=True)


def test_dates_are_read_as_the_table_that_was_fitted(weeks: Stored, tmp_path: Path) -> None:
    """Days first, decimal commas, markets with blanks: what ``reading`` takes, a table to be scored may hold too."""
    rows = panel().table.frame.head(40)
    written = rows.assign(when=rows["when"].dt.strftime("%d.%m.%Y"), market=" " + rows["market"] + " ")
    written.to_csv(tmp_path / "rows.csv", sep=";", decimal=",", index=False)
    done = predict(weeks, tmp_path / "rows.csv", tmp_path / "out.csv")
    assert done.rows == 40
    found = pd.read_csv(tmp_path / "out.csv", sep=";", decimal=",")
    assert found["when"].tolist() == written["when"].tolist()  # as it stood
    assert found["prediction"].tolist() == by_formula(weeks, rows)["prediction"].tolist()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("when", "soon", "'soon' is not a date; write it as 2024-12-31."),
        ("when", None, "the value is missing; give a date."),
        ("market", "Soth", "'Soth' is not a market of the model. Did you mean 'south'? It knows: North, south, Île-de-France."),
        ("market", None, "the value is missing; give a market."),
        ("search", -2, "-2 is negative, and spend is 0 or more."),
    ],
)
def test_a_bad_row_of_a_panel_is_said_and_left_out(weeks: Stored, tmp_path: Path, column: str, value: Any, said: str) -> None:
    rows = panel().table.frame.head(9).astype({"when": str}).astype(object).reset_index(drop=True)
    rows.loc[4, column] = value
    rows.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(RowsError) as refusal:
        predict(weeks, tmp_path / "rows.csv", tmp_path / "out.csv")
    assert f"Column '{column}', row 5 (line 6 of rows.csv): {said}" in str(refusal.value)
    done = predict(weeks, tmp_path / "rows.csv", tmp_path / "out.csv", on_error="skip")
    assert (done.rows, done.skipped) == (8, 1)
    others = rows.drop(index=4).astype(dict.fromkeys(weeks.formula.contract.features, float))
    assert pd.read_csv(tmp_path / "out.csv")["prediction"].tolist() == by_formula(weeks, others)["prediction"].tolist()


def test_a_week_that_stands_twice_is_said_and_left_out(weeks: Stored, tmp_path: Path) -> None:
    rows = panel().table.frame.head(9)
    pd.concat([rows, rows.iloc[2:3]]).to_csv(tmp_path / "rows.csv", index=False)
    market = rows["market"].iloc[2]
    with pytest.raises(
        RowsError, match=rf"Row 10 \(line 11 of rows.csv\): the row has the period of row 3 of market '{market}';"
    ):
        predict(weeks, tmp_path / "rows.csv", tmp_path / "out.csv")
    done = predict(weeks, tmp_path / "rows.csv", tmp_path / "out.csv", on_error="skip")
    assert (done.rows, done.skipped) == (9, 1)
    assert pd.read_csv(tmp_path / "out.csv")["prediction"].tolist() == by_formula(weeks, rows)["prediction"].tolist()


def test_more_rows_than_can_be_seen_at_once_are_refused(weeks: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adresponse.engines.blocks.AT_ONCE", 20)
    panel().table.frame.head(21).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(RowsError, match="the model carries spend from one period to the next, so it has to see them at once"):
        predict(weeks, tmp_path / "rows.csv", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_contributions_of_a_line_and_none_without_a_formula(tmp_path: Path) -> None:
    model = closed()
    frame().to_parquet(tmp_path / "rows.parquet")
    done = predict(model, tmp_path / "rows.parquet", tmp_path / "out.parquet", contributions=True)
    assert done.engine == "blocks"
    found = pd.read_parquet(tmp_path / "out.parquet")
    told = by_formula(model, found[list(CHANNELS)], None, None, True)
    pd.testing.assert_frame_equal(found[list(told)], told, check_exact=True)
    with pytest.raises(RowsError, match="it cannot say what each channel adds"):
        predict(without_formula(tmp_path), tmp_path / "rows.parquet", tmp_path / "more.parquet", contributions=True)


def test_an_answers_name_is_not_taken_by_a_column(weeks: Stored, tmp_path: Path) -> None:
    panel().table.frame.head(3).assign(Contribution_Search=1).to_csv(tmp_path / "rows.csv", index=False)
    assert predict(weeks, tmp_path / "rows.csv", tmp_path / "out.csv").rows == 3
    with pytest.raises(RowsError, match=r"Column 'Contribution_Search' of .* has the name of an answer"):
        predict(weeks, tmp_path / "rows.csv", tmp_path / "more.csv", contributions=True)
