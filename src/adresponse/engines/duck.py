# ruff: noqa: S608 - names and texts are quoted by _name and _text
"""Score Parquet inside DuckDB: a straight line is an SQL expression.

What DuckDB cannot do exactly as the rest of the package does, or what it finds wrong, is left to the way block by
block: that one knows every format and names the row. So this file knows no refusal.
"""

from __future__ import annotations

import glob
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adresponse.engines.places import part_beside
from adresponse.engines.scored import Beyond, Scored
from adresponse.formula import Formula
from adresponse.reading.paths import shown

if TYPE_CHECKING:
    import duckdb

__all__ = ["expression", "score"]

LARGEST = "1.7976931348623157e308"  # the largest double; NaN and infinity lie beyond it
MEMORY = 100  # MB for each thread; DuckDB then writes out row groups early, and is as fast
THREADS = 4
POLL = 0.1  # seconds
INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
NUMBERS = INTEGERS | {"FLOAT", "DOUBLE"}
OK, SALES, REACH = '"#ok"', '"#sales"', '"#reach"'  # a table with a column that starts with # goes the other way
KEPT = NUMBERS | {"VARCHAR", "BOOLEAN", "DATE", "TIMESTAMP"}  # types that come out as they went in


def score(
    formula: Formula,
    files: Sequence[Path],
    output: Path,
    level: float | None,
    about: dict[str, str],
    progress: Callable[[float], None],
) -> Scored | None:
    """Score Parquet files into one Parquet or CSV file; None, with nothing written, where the other way has to do it."""
    if (
        not formula.straight
        or any(glob.has_magic(str(f)) for f in files)
        or not all(_is_utf8(f) for f in (*files, output))
        or output.suffix.lower() not in (".parquet", ".pq", ".csv")
    ):
        return None
    import duckdb

    connection = duckdb.connect()
    threads = min(os.cpu_count() or 1, THREADS)
    settings = {"threads": threads, "memory_limit": f"{MEMORY * max(threads, 2)}MB", "temp_directory": "", "TimeZone": "UTC"}
    try:
        for name, value in settings.items():
            connection.execute(f"SET {name} = {_text(str(value))}")
        connection.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
        source = f"read_parquet([{', '.join(_text(str(f)) for f in files)}], hive_partitioning = false)"
        types = _types(connection, source, len(files))
        if not _is_plain(formula, types, level):
            return None
        features = {name: _as_double(name, types[name]) for name in formula.contract.features}
        query = _query(formula, source, list(types), features, level)
        with part_beside(output) as part:
            done = _run(connection, f"COPY ({query}) TO {_text(str(part))} ({_form(output, about)})", progress)
            if not done:
                raise _NothingWritten
        return Scored(done, 0, str(output), None, _beyond(connection, formula, source, features), (), "duckdb")
    except (duckdb.Error, _NothingWritten):
        return None
    finally:
        connection.close()


class _NothingWritten(Exception):  # noqa: N818
    """There are no rows."""


def _is_utf8(path: Path) -> bool:
    """Whether a path is text, which DuckDB takes alone."""
    return shown(path) == str(path)


def _types(connection: duckdb.DuckDBPyConnection, source: str, files: int) -> dict[str, str]:
    """DuckDB's types by column; empty where several files do not agree in all of them."""
    if files > 1:
        rows = connection.execute(
            f"SELECT file_name, list((name, duckdb_type, logical_type) ORDER BY column_id) FROM parquet_schema("
            f"{source[len('read_parquet(') : source.index('], hive') + 1]}) WHERE column_id > 0 GROUP BY file_name"
        ).fetchall()
        if len({str(schema) for _, schema in rows}) > 1:
            return {}
    return {str(r[0]): str(r[1]) for r in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}


def _is_plain(formula: Formula, types: dict[str, str], level: float | None) -> bool:
    """Whether DuckDB gives each column on as it is, and each of the model's as the double that it is."""
    folded = {name.casefold() for name in types}
    added = {"prediction"} if level is None else {"prediction", "lower", "upper"}
    return (
        len(folded) == len(types)
        and all(name == name.strip() and name and not name.startswith("#") for name in types)
        and not folded & added
        and all(kind in KEPT or _digits(kind) for kind in types.values())
        and all(types.get(name, "") in NUMBERS or _digits(types.get(name, "")) for name in formula.contract.features)
    )


def _digits(kind: str) -> int:
    """How many digits a decimal type holds; 0 for another type."""
    return int(kind[8:].split(",")[0]) if kind.startswith("DECIMAL(") else 0


def _as_double(name: str, kind: str) -> str:
    """A column as the nearest double; a decimal of more digits than a double holds goes through its text."""
    column = _name(name)
    return f"CAST(CAST({column} AS VARCHAR) AS DOUBLE)" if _digits(kind) > 15 else f"CAST({column} AS DOUBLE)"


def expression(formula: Formula, features: dict[str, str]) -> str:
    """The prediction as SQL: the operations of ``Formula.predict``, in its order, on doubles.

    Parameters
    ----------
    formula : Formula
        A straight line.
    features : dict of str to str
        SQL that gives each feature as a double.
    """
    total = ""
    for term in formula.terms:
        part = f"{_double(term.coefficient)} * ({features[term.column]} * {_double(term.scale)} + {_double(term.shift)})"
        total = f"({total} + {part})" if total else part
    return f"{total} + {_double(formula.intercept)}"


def _query(formula: Formula, source: str, names: Sequence[str], features: dict[str, str], level: float | None) -> str:
    """The rows with their answers; DuckDB's own error, where one of them cannot be answered."""
    spend = set(formula.contract.channels)
    checks = [f"({x} BETWEEN {'0e0' if n in spend else f'-{LARGEST}'} AND {LARGEST})" for n, x in features.items()]
    inner = f"SELECT *, {' AND '.join(checks)} AS {OK}, {expression(formula, features)} AS {SALES} FROM {source}"
    answers = {"prediction": SALES}
    if level is not None:
        inner = f"SELECT *, {_reach(formula, level)} AS {REACH} FROM ({inner})"
        answers |= {"lower": f"{SALES} - {REACH}", "upper": f"{SALES} + {REACH}"}
    finite = " AND ".join(f"({a} BETWEEN -{LARGEST} AND {LARGEST})" for a in answers.values())
    answers["prediction"] = f"CASE WHEN {OK} AND {finite} THEN {SALES} ELSE error('a row is bad') END"
    checked = ", ".join(f"{sql} AS {name}" for name, sql in answers.items())
    return f"SELECT {', '.join(map(_name, names))}, {checked} FROM ({inner})"


def _reach(formula: Formula, level: float) -> str:
    """Half-width of the interval: ``Spread.interval`` in SQL."""
    spread = formula.spread
    scale = f"greatest({_double(spread.intercept)} + {_double(spread.slope)} * {SALES}, {_double(spread.floor)})"
    return f"{_double(spread.finite_quantile(level))} * {scale}"


def _form(output: Path, about: dict[str, str]) -> str:
    if output.suffix.lower() == ".csv":
        return "FORMAT csv, HEADER, USE_TMP_FILE false"
    return (
        f"FORMAT parquet, USE_TMP_FILE false, KV_METADATA {{{', '.join(f'{_text(k)}: {_text(v)}' for k, v in about.items())}}}"
    )


def _run(connection: duckdb.DuckDBPyConnection, statement: str, progress: Callable[[float], None]) -> int:
    """Run the statement in a thread, so that progress can be told and Ctrl-C ends it; gives the number of rows."""
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(connection.execute(statement).fetchall()[0][0])
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(POLL)
            if (share := connection.query_progress()) >= 0:
                progress(min(share / 100, 1.0))
    except BaseException:
        connection.interrupt()
        thread.join()
        raise
    if isinstance(found[0], BaseException):
        raise found[0]
    progress(1.0)
    return int(found[0])


def _beyond(
    connection: duckdb.DuckDBPyConnection, formula: Formula, source: str, features: dict[str, str]
) -> dict[str, Beyond]:
    """The columns with values beyond the range fitted; counted in one more look, unless the files say there are none."""
    if _says_within(connection, formula, source):
        return {}
    asked = []
    for name, (low, high) in formula.ranges.items():
        x = features[name]
        outside = f"count(*) FILTER ({x} < {_double(low)} OR {x} > {_double(high)})"
        asked += [f"min({x})", f"max({x})", outside]
    row = connection.execute(f"SELECT {', '.join(asked)} FROM {source}").fetchall()[0]
    found = {name: Beyond(*row[3 * i : 3 * i + 3]) for i, name in enumerate(formula.ranges)}
    return {name: beyond for name, beyond in found.items() if beyond.rows}


def _says_within(connection: duckdb.DuckDBPyConnection, formula: Formula, source: str) -> bool:
    """Whether the files' own statistics, of every row group, put all columns within the range fitted."""
    files = source[len("read_parquet(") : source.index(", hive")]
    ends = {
        str(name): (low, high, bool(whole))
        for name, low, high, whole in connection.execute(
            "SELECT path_in_schema, min(TRY_CAST(stats_min_value AS DOUBLE)), max(TRY_CAST(stats_max_value AS DOUBLE)), "
            "bool_and(TRY_CAST(stats_min_value AS DOUBLE) IS NOT NULL AND TRY_CAST(stats_max_value AS DOUBLE) IS NOT NULL) "
            f"FROM parquet_metadata({files}) GROUP BY path_in_schema"
        ).fetchall()
    }
    for name, (low, high) in formula.ranges.items():
        least, most, whole = ends.get(name, (None, None, False))
        if not whole or least < low or most > high:
            return False
    return True


def _double(value: float) -> str:
    """A double that DuckDB reads as this very double, not as a decimal."""
    return f"CAST({_text(repr(float(value)))} AS DOUBLE)"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
