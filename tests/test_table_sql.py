"""Tables are read from databases, and no password is ever said."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from adresponse.errors import ConfigError, TableError
from adresponse.table import read
from parts import start_postgres

FRAME = pd.DataFrame(
    {
        "week": pd.date_range("2024-01-01", periods=4, freq="7D"),
        "geo": ["Köln", "Ulm", "Köln", "Ulm"],
        "TV": [230.1, 44.5, 17.2, 151.5],
        "sales": [22.1, 10.4, 9.3, 18.5],
    }
)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with start_postgres() as url:
        yield url


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    path = tmp_path / "ads.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    FRAME.to_sql("weeks", engine, index=False)
    engine.dispose()
    return f"sqlite:///{path}"


@pytest.fixture
def two_tables(sqlite: str) -> str:
    with sqlite3.connect(sqlite.removeprefix("sqlite:///")) as connection:
        connection.execute("create table other (a int)")
    return sqlite


@pytest.fixture(scope="session")
def filled_postgres(postgres_url: str) -> str:
    engine = sa.create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        FRAME.to_sql("weeks", connection, index=False)
        connection.execute(sa.text("create schema eu"))
        connection.execute(sa.text("create table eu.spend (tv numeric(10, 2), sales numeric(10, 3), on_air boolean)"))
        connection.execute(sa.text("insert into eu.spend values (0.10, 1.500, true), (2000000.25, 3, false)"))
    engine.dispose()
    return postgres_url


def test_a_database_with_one_table_needs_no_name_and_says_what_it_read(sqlite: str) -> None:
    table = read(sqlite, target="sales", channels=["TV"], date="week", market="geo")
    assert [f.code for f in table.findings] == ["D017"]
    assert "'weeks'" in table.findings[0].message
    assert table.digest == read(FRAME).digest


def test_a_view_is_read_as_a_table_is(sqlite: str, tmp_path: Path) -> None:
    with sqlite3.connect(sqlite.removeprefix("sqlite:///")) as connection:
        connection.execute("create view best as select * from weeks")
    assert "one table, 'weeks'" in read(sqlite).findings[0].message  # which no view of it leaves in doubt
    with sqlite3.connect(tmp_path / "views.db") as connection:
        connection.execute("create view spend as select 1 as TV, 2.5 as sales")
    table = read(f"sqlite:///{tmp_path}/views.db", target="sales", channels=["TV"])
    assert table.frame.to_numpy().tolist() == [[1, 2.5]]
    assert "one view, 'spend'" in table.findings[0].message
    with sqlite3.connect(tmp_path / "views.db") as connection:
        connection.execute("create view more as select 1 as TV")
    with pytest.raises(ConfigError, match=r"has 2 tables and views \(more, spend\); name one"):
        read(f"sqlite:///{tmp_path}/views.db")


@pytest.mark.parametrize(
    "how",
    [
        {"sql_table": "weeks"},  # the whole table
        {"query": 'select week, geo, "TV", sales from weeks'},  # the same, as a query
        {"query": 'select *, 1 as "100% :on", 2 as "a::b" from weeks', "channels": ["TV"]},  # marks that drivers read
    ],
)
def test_sqlite_gives_the_content_of_the_frame(two_tables: str, how: dict[str, object]) -> None:
    assert read(two_tables, **how).digest == read(FRAME).digest


@pytest.mark.parametrize("how", [{"sql_table": "weeks"}, {"query": "select * from weeks"}])
def test_postgres_gives_the_content_of_the_frame(filled_postgres: str, how: dict[str, str]) -> None:
    table = read(filled_postgres, **how)
    assert table.digest == read(FRAME).digest
    pd.testing.assert_frame_equal(table.frame, read(FRAME).frame)


def test_postgres_numerics_of_another_schema_are_exact_floats(filled_postgres: str) -> None:
    table = read(filled_postgres, sql_table="eu.spend", target="sales", channels=["tv"])
    assert table.frame.to_dict("list") == {"tv": [0.1, 2000000.25], "sales": [1.5, 3.0]}


def test_a_boolean_column_of_postgres_is_no_number(filled_postgres: str) -> None:
    with pytest.raises(TableError, match=r"Column 'on_air', row 1 \(table eu.spend\): True is not a number"):
        read(filled_postgres, sql_table="eu.spend", target="sales", channels=["on_air"])


def test_postgres_is_read_in_blocks_and_refused_at_the_right_row(filled_postgres: str) -> None:
    query = "select case when i = 25001 then -1 else i end as tv, i * 0.5 as sales from generate_series(1, 30000) i"
    with pytest.raises(TableError, match=r"Column 'tv', row 25001 \(the query\): -1 is negative"):
        read(filled_postgres, query=query, target="sales", channels=["tv"])


def test_no_password_is_said_by_a_table(filled_postgres: str) -> None:
    assert "secret" in filled_postgres
    table = read(filled_postgres, sql_table="weeks")
    assert "secret" not in table.source + str(table.findings)
    assert table.source.endswith("/mlflow, table weeks")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter%402@127.0.0.1:1/db",  # nobody listens; the password is written with an escape
        "postgresql://me@127.0.0.1:1/db?password=hunter%402",  # the password in the query
        "nosuchdb://me:hunter%402@host/db",  # no driver of this name
        "postgresql://me:hunter@2@127.0.0.1:one/db",  # no URL at all
        "https://me:hunter%402@host/table.csv",  # not a database
    ],
)
def test_no_password_is_said_by_a_refusal(url: str) -> None:
    with pytest.raises(TableError) as refused:
        read(url, sql_table="weeks")
    assert "hunter" not in str(refused.value)


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({}, ConfigError, "has 2 tables (other, weeks); name one with --sql-table"),
        ({"query": "select 1", "sql_table": "weeks"}, ConfigError, "--query or --sql-table, not both"),
        ({"sql_table": "week"}, TableError, "no table 'week'. Did you mean 'weeks'?"),
        ({"query": "select absent from weeks"}, TableError, "no such column: absent"),
        ({"query": "create table more (a int)"}, TableError, "gives no rows"),
        ({"query": "select * from weeks where 1 = 0"}, TableError, "has column names but no rows"),
        ({"sheet": "x"}, ConfigError, "sheet='x' is for an Excel file"),
    ],
)
def test_what_a_database_cannot_answer_is_refused(
    two_tables: str, how: dict[str, str], error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as refused:
        read(two_tables, **how)
    assert words in str(refused.value)


def test_a_sqlite_file_that_is_not_there_is_refused_and_not_made(sqlite: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"Did you mean 'ads\.db'"):
        read(f"sqlite:///{tmp_path}/adds.db")
    assert not (tmp_path / "adds.db").exists()


def test_a_database_argument_is_refused_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="query='select 1' is for a database URL"):
        read(tmp_path / "x.csv", query="select 1")


def test_columns_that_mix_types_in_sqlite_keep_their_values(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mixed.db") as connection:
        connection.execute("create table t (tv, sales)")
        connection.executemany("insert into t values (?, ?)", [(1, 2.5), ("3.25", 4), (1.125, "7")])
    frame = read(f"sqlite:///{tmp_path}/mixed.db").frame
    np.testing.assert_array_equal(frame.to_numpy(), [[1, 2.5], [3.25, 4], [1.125, 7]])
