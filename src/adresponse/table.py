"""Read a table of spend and sales from where it lies, or refuse it by column, row and value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from adresponse.errors import ConfigError, TableError, did_you_mean
from adresponse.findings import Finding
from adresponse.schema import Contract

if TYPE_CHECKING:
    import pandas as pd

    from adresponse.reading.raw import Raw

__all__ = ["AdTable", "builtin_names", "read", "read_all", "read_builtin"]


@dataclass(frozen=True)
class AdTable:
    """A table that keeps its contract: finite float64 numbers, no missing value, no negative spend.

    Parameters
    ----------
    frame : pandas.DataFrame
        The contract's columns in its order, each row under the number that it has among the
        source's data rows (from 1); numbers float64, date datetime64, market str. Where there is
        a date the rows are in its order.
    contract : Contract
        The columns, their roles, meanings and units.
    source : str
        Where the table was read from, for people (a path or URL without secrets).
    digest : str
        SHA-256, in hex, over the names and the values of all rows (dates and markets too), so that the same content
        gives the same digest from every format.
    rows_read : int
        Rows in the source, before any was dropped or sampled.
    findings : tuple of Finding
        What reading had to decide or to say (roles inferred, number format, rows dropped, sample taken).
    """

    frame: pd.DataFrame
    contract: Contract
    source: str
    digest: str
    rows_read: int
    findings: tuple[Finding, ...] = ()

    @property
    def X(self) -> pd.DataFrame:  # noqa: N802
        """Channels and controls, float64, shape (n_rows, n_features)."""
        return self.frame[list(self.contract.features)]

    @property
    def y(self) -> pd.Series[float]:
        """The target, float64, shape (n_rows,)."""
        return self.frame[self.contract.target]


def read(
    source: object,
    *,
    target: str | None = None,
    channels: Iterable[str] | None = None,
    controls: Iterable[str] = (),
    date: str | None = None,
    market: str | None = None,
    dictionary: Mapping[str, Mapping[str, str]] | None = None,
    origin: str = "",
    missing: Literal["refuse", "drop"] = "refuse",
    decimal: Literal[".", ","] | None = None,
    query: str | None = None,
    sql_table: str | None = None,
    sheet: str | None = None,
    max_rows: int = 1_000_000,
    seed: int = 42,
) -> AdTable:
    """Read and check a table, block by block, wherever it lies.

    Parameters
    ----------
    source : path, database URL, or data frame
        CSV, TSV or other separated text, Parquet, Excel; ``sqlite:///sales.db``, ``postgresql://user@host/db``; a
        pandas or polars DataFrame, or an Arrow table.
    target, channels, controls, date, market : column names
        What is given wins. What is not is inferred from names and values, and said in a finding; with channels given,
        other columns are left out, save a clear date and market.
    dictionary : mapping, optional
        ``{name: {"means": ..., "unit": ...}}``.
    origin : str
        Where the table comes from, in words.
    missing : {"refuse", "drop"}
        What to do with rows that miss a value.
    decimal : {".", ","}, optional
        The decimal mark of numbers written as text; found out from the cells where not given.
    query, sql_table : str, optional
        What to read of a database; one of them, or neither where it has a single table.
    sheet : str, optional
        Which sheet of an Excel file; the first where not given.
    max_rows : int
        Of a longer table a random sample of this many rows is kept; all rows are checked, counted and hashed.
    seed : int
        Seed of that sample.

    Raises
    ------
    TableError
        Where the table cannot be read, or a column, row or value breaks the contract.
    ConfigError
        Where the arguments contradict each other or the source.
    """
    _check_settings(missing, decimal, max_rows)
    from adresponse.reading.roles import Roles
    from adresponse.reading.sources import open_source
    from adresponse.reading.stream import Settings, read_source

    asked = Roles(target, _names(channels), _names(controls) or (), date, market)
    settings = Settings(dictionary, origin, missing == "drop", decimal, max_rows, seed)
    with open_source(source, query=query, sql_table=sql_table, sheet=sheet) as opened:
        got = read_source(opened, asked, settings)
        return AdTable(got.frame, got.contract, opened.label, got.digest, got.rows_read, got.findings)


def read_all(
    source: object,
    *,
    date: str | None = None,
    market: str | None = None,
    decimal: Literal[".", ","] | None = None,
    query: str | None = None,
    sql_table: str | None = None,
    sheet: str | None = None,
    max_rows: int = 1_000_000,
) -> Raw:
    """All columns of a table as they are, whether they keep a contract or not.

    Parameters
    ----------
    source, decimal, query, sql_table, sheet
        As :func:`read` takes them.
    date : str, optional
        A column that is read as dates where it is there, whatever its name.
    market : str, optional
        A column that is read as names where it is there, though they be numbers.
    max_rows : int
        Only the first rows are read, at most this many.
    """
    _check_settings("refuse", decimal, max_rows)
    from adresponse.reading.raw import read_raw
    from adresponse.reading.sources import open_source

    with open_source(source, query=query, sql_table=sql_table, sheet=sheet) as opened:
        return read_raw(opened, date=date, market=market, decimal=decimal, max_rows=max_rows)


def _names(names: Iterable[str] | None) -> tuple[str, ...] | None:
    return (names,) if isinstance(names, str) else None if names is None else tuple(names)


def _check_settings(missing: str, decimal: str | None, max_rows: int) -> None:
    if missing not in ("refuse", "drop"):
        raise ConfigError(f"missing={missing!r} is unknown; give 'refuse' or 'drop'.")
    if decimal not in (None, ".", ","):
        raise ConfigError(f"decimal={decimal!r} is no decimal mark; give '.' or ','.")
    if max_rows < 1:
        raise ConfigError(f"max_rows={max_rows} keeps no row; give 1 or more.")


def builtin_names() -> tuple[str, ...]:
    """The tables that come with the package."""
    files = resources.files("adresponse").joinpath("data").iterdir()
    return tuple(sorted(f.name.removesuffix(".csv") for f in files if f.name.endswith(".csv")))


def read_builtin(name: str = "tvmarketing", **overrides: Any) -> AdTable:
    """Read a table that comes with the package, with the roles and meanings that are written beside it.

    ``overrides`` are arguments of :func:`read`.
    """
    if name not in (known := builtin_names()):
        raise TableError(f"There is no built-in table {name!r}.{did_you_mean(name, known)} There are: {', '.join(known)}.")
    import yaml

    folder = resources.files("adresponse").joinpath("data")
    said = yaml.safe_load(folder.joinpath(f"{name}.yaml").read_text("utf-8"))
    said["dictionary"] = said.pop("columns", None)
    with resources.as_file(folder.joinpath(f"{name}.csv")) as path:
        return replace(read(path, **{**said, **overrides}), source=f"built-in table {name}")
