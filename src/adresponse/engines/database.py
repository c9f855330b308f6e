"""How are answers written into a database? All of them or none, and no password is ever said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import clear_frames
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.sql import quoted_name

from adresponse.engines.outputs import Columns, Form, Typed, Writer, as_text
from adresponse.engines.places import Table
from adresponse.errors import ConfigError, TableError
from adresponse.reading import database

__all__ = ["open_table"]

PATIENCE = 5  # seconds for a table that another reads; sqlite3 waits as long


def _one_transaction(engine: sa.Engine) -> None:
    """Let BEGIN come first: Python's sqlite3 would leave CREATE TABLE outside the transaction."""

    @sa.event.listens_for(engine, "connect")
    def _(connection: object, record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]

    @sa.event.listens_for(engine, "begin")
    def _(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")


@contextmanager
def open_table(table: Table, form: Form, overwrite: bool) -> Iterator[Writer]:
    """A writer into a new table, in one transaction: all rows or none. An SQLite file may be new too."""
    url = sa.make_url(table.url) if table.url.startswith("sqlite") else database.url_of(table.url)
    with _no_empty_file(url), database.connect(url) as (engine, shown):
        if engine.dialect.name == "sqlite":
            _one_transaction(engine)
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{PATIENCE}s'")
            schema, name = _placed(connection, table.name)
            there = sa.inspect(connection).has_table(name, schema=schema)
            if there and not overwrite:
                raise ConfigError(f"{shown} has a table {table.name!r} already; give --force to replace it, or another name.")
            yield _Table(connection, schema, name, form, there)


@contextmanager
def _no_empty_file(url: sa.URL) -> Iterator[None]:
    """Take away the SQLite file that was made for rows that did not come: a transaction takes back all but the file."""
    file = Path(url.database or "") if url.drivername.startswith("sqlite") else Path()
    there = file.exists()
    try:
        yield
    except BaseException as error:
        clear_frames(error.__traceback__)  # after Ctrl-C a cursor in them keeps the transaction open
        raise
    finally:
        if not there and file.is_file() and not file.stat().st_size:
            file.unlink()


def _placed(connection: sa.Connection, name: str) -> tuple[str | None, str]:
    """The schema and the table that a name means, as it would be read: ``media.spend`` lies in the schema ``media``."""
    inspector = sa.inspect(connection)
    schema, _, bare = name.rpartition(".")
    if schema and schema in inspector.get_schema_names() and not inspector.has_table(name):
        return schema, bare
    return None, name


class _Table:
    """The rows of one table; its types are those of the first block."""

    def __init__(self, connection: sa.Connection, schema: str | None, name: str, form: Form, replaces: bool) -> None:
        self._connection = connection
        self._in_sqlite = connection.dialect.name == "sqlite"
        self._schema = None if schema is None else quoted_name(schema, True)
        self._name = quoted_name(name, True)
        self._form = form
        self._replaces = replaces
        self._typed = Typed(form, "a column of a database", self._alike)
        self._insert: sa.Insert | None = None

    def write(self, columns: Columns) -> None:
        arrays = self._typed.arrays(columns)
        if self._insert is None:
            self._insert = self._make()
        values = [self._values(name, a) for name, a in zip(self._form.names, arrays, strict=True)]
        if values[0]:
            keys = [f"c{i}" for i in range(len(values))]
            self._connection.execute(self._insert, [dict(zip(keys, row, strict=True)) for row in zip(*values, strict=True)])

    def _values(self, name: str, array: Any) -> list[Any]:
        values = _values(array)
        if self._type(array.type) is not _NUMERIC:
            return values
        return [None if v is None else _sqlite_number(name, v) for v in values]

    def _type(self, kind: Any) -> sa.types.TypeEngine[Any]:
        made = _sql_type(kind)
        return _NUMERIC if self._in_sqlite and type(made) is sa.Numeric else made

    def _alike(self, kind: Any, other: Any) -> bool:
        """Whether a column for one type holds values of another as they are."""
        into, given = repr(_sql_type(kind)), repr(_sql_type(other))
        return into == given or (self._in_sqlite and (into, given) == ("BigInteger()", "Double()"))  # 1.5 stays 1.5 there

    def _make(self) -> sa.Insert:
        named = zip(self._form.names, self._typed.kinds, strict=True)
        columns = [sa.Column(quoted_name(n, True), self._type(kind), key=f"c{i}") for i, (n, kind) in enumerate(named)]
        made = sa.Table(self._name, sa.MetaData(), *columns, schema=self._schema)
        if self._replaces:
            made.drop(self._connection)
        made.create(self._connection)
        return made.insert()


class _Numeric(sa.types.UserDefinedType[Any]):
    """SQLite's NUMERIC, given the values as they are: SQLAlchemy would make floats of whole ones."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """As CREATE TABLE names it."""
        return "NUMERIC"


_NUMERIC = _Numeric()


def _sqlite_number(name: str, value: Any) -> int | float:
    """A whole number or a decimal as SQLite holds it; a whole one that it would round, such as a key, is refused."""
    if value != int(value):
        return float(value)
    if not -(2**63) <= value < 2**63:
        raise TableError(f"Column {name!r} holds {value}, and SQLite would round it; write .csv or .parquet.")
    return int(value)


def _sql_type(kind: Any) -> sa.types.TypeEngine[Any]:
    tests: list[tuple[Any, sa.types.TypeEngine[Any]]] = [
        (pa.types.is_uint64, sa.Numeric(20, 0)),
        (pa.types.is_integer, sa.BigInteger()),
        (pa.types.is_floating, sa.Double()),
        (pa.types.is_boolean, sa.Boolean()),
        (pa.types.is_date, sa.Date()),
        (pa.types.is_timestamp, sa.DateTime(timezone=getattr(kind, "tz", None) is not None)),
        (pa.types.is_decimal, sa.Numeric()),
        (pa.types.is_binary, sa.LargeBinary()),
    ]
    return next((made for test, made in tests if test(kind)), sa.Text())


def _values(array: Any) -> list[Any]:
    """Python values that a driver takes."""
    if pa.types.is_timestamp(array.type) and array.type.unit == "ns":
        array = array.cast(pa.timestamp("us", array.type.tz), safe=False)
    values: list[Any] = array.to_pylist()
    if type(_sql_type(array.type)) is sa.Text:
        return [None if v is None else str(as_text(v)) for v in values]
    return values
