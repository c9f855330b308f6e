"""How does a database give its rows? Streamed over SQLAlchemy; passwords stay out of all that is said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from adresponse.errors import ConfigError, TableError, did_you_mean
from adresponse.findings import Finding
from adresponse.reading.source import ROWS_AT_ONCE, Rows, check_names, refuse_missing_file

__all__ = ["connect", "open_database", "url_of"]


@contextmanager
def open_database(source: str, query: str | None, sql_table: str | None) -> Iterator[Rows]:
    """Open the answer of a query, or a table; a database with a single table needs neither."""
    if query is not None and sql_table is not None:
        raise ConfigError("Give --query or --sql-table, not both.")
    with connect(url_of(source)) as (engine, shown), engine.connect() as connection:
        streamed = connection.execution_options(stream_results=True, yield_per=ROWS_AT_ONCE)
        yield _open_result(streamed, query, sql_table, shown)


@contextmanager
def connect(url: URL) -> Iterator[tuple[sa.Engine, str]]:
    """An engine and the database's name for people; what SQLAlchemy raises inside becomes one sentence."""
    shown = url.set(password=None, query={}).render_as_string()
    try:
        engine = sa.create_engine(url)
    except (NoSuchModuleError, ImportError, SQLAlchemyError) as error:
        raise TableError(f"{shown} names a database that cannot be opened here: {_said_by(error, url)}.") from error
    try:
        yield engine, shown
    except SQLAlchemyError as error:
        if getattr(error, "connection_invalidated", False):
            raise TableError(f"The connection to {shown} was lost ({_said_by(error, url)}); run it again.") from error
        raise TableError(f"{shown} did not answer: {_said_by(error, url)}; check the URL, query and table.") from error
    finally:
        engine.dispose()


def url_of(source: str) -> URL:
    """The address as SQLAlchemy takes it, with the driver that comes with this package; a file that is missing is refused."""
    try:
        url = make_url(source)
    except (ArgumentError, ValueError):
        raise TableError("The database URL cannot be read; write it as postgresql://user:password@host/name.") from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername.startswith("sqlite") and url.database and not url.database.startswith((":", "file:")):
        refuse_missing_file(Path(url.database))
    return url


def _said_by(error: BaseException, url: URL) -> str:
    """The first line of what the driver said, without the password."""
    cause = getattr(error, "orig", None) or error
    text = (str(cause).strip().splitlines() or [type(cause).__name__])[0].rstrip(".;")
    secrets = [
        url.password,
        *(v for value in url.query.values() for v in ([value] if isinstance(value, str) else value)),
    ]
    for secret in filter(None, secrets):
        text = re.sub(rf"(?<!\w){re.escape(str(secret))}(?!\w)", "***", text)
    return text


def _open_result(connection: sa.Connection, query: str | None, sql_table: str | None, shown: str) -> Rows:
    findings: tuple[Finding, ...] = ()
    if query is None and sql_table is None:
        sql_table, found = _only_table(connection, shown)
        findings = (found,)
    label = f"{shown}, {'query' if query is not None else f'table {sql_table}'}"
    what = "the query" if query is not None else f"table {sql_table}"
    result = connection.execute(_as_written(query) if query is not None else _all_of(connection, str(sql_table), shown))
    if not result.returns_rows:
        raise TableError(f"{label}: the statement gives no rows; write a SELECT.")
    names = check_names(list(result.keys()), label)
    return Rows(label, names, map(tuple, result), place=lambda row: what, findings=findings)


def _as_written(query: str) -> sa.TextClause:
    """The query without bound parameters: a colon is a colon."""
    return sa.text(query.replace(":", r"\:"))


def _only_table(connection: sa.Connection, shown: str) -> tuple[str, Finding]:
    """The only table, or view where there is no table, and what is to be said of it (D017); or a refusal that lists all."""
    inspector = sa.inspect(connection)
    tables, views = inspector.get_table_names(), inspector.get_view_names()
    if len(only := tables or views) != 1:
        listed = ", ".join([*tables, *views][:12]) or "none"
        kinds = "tables and views" if views else "tables"
        raise ConfigError(
            f"{shown} has {len(tables) + len(views)} {kinds} ({listed}); name one with --sql-table, or give a --query."
        )
    message = f"{shown} has one {'table' if tables else 'view'}, {only[0]!r}; it was read."
    return only[0], Finding("D017", "note", message, "Give --sql-table or --query to read something else.")


def _all_of(connection: sa.Connection, name: str, shown: str) -> sa.Select[Any]:
    """Everything in a table or view, which may be named with its schema."""
    inspector = sa.inspect(connection)
    present = [*inspector.get_table_names(), *inspector.get_view_names()]
    if name in present:
        return sa.select(sa.text("*")).select_from(sa.table(name))
    schema, _, bare = name.rpartition(".")
    if schema and inspector.has_table(bare, schema=schema):
        return sa.select(sa.text("*")).select_from(sa.table(bare, schema=schema))
    listed = ", ".join(present[:12]) or "none"
    raise TableError(f"{shown} has no table {name!r}.{did_you_mean(name, present)} It has: {listed}.")
