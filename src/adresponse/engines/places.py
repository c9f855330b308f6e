"""Where do a table to be scored and its answers lie, and may the answers be put there?"""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from adresponse.errors import ConfigError, TableError
from adresponse.reading.paths import path_of, refuse_unreachable

__all__ = [
    "FILES",
    "Table",
    "is_alive",
    "is_url",
    "output_of",
    "parquet_files",
    "part_beside",
    "refuse_output",
    "refuse_same",
    "refuse_unwritable",
    "rejects_of",
    "said_by_folders",
    "write_page",
]

NOTHING = "__HIVE_DEFAULT_PARTITION__"  # what Spark calls the folder of rows without a value
FILES = (".csv", ".tsv", ".parquet", ".pq", ".xlsx")


@dataclass(frozen=True)
class Table:
    """A table of a database, to be written."""

    url: str
    name: str


_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def is_url(source: object) -> bool:
    """Whether this names a database."""
    return isinstance(source, str) and bool(_URL.match(source))


def parquet_files(source: str | Path) -> list[Path]:
    """The Parquet files that a path, a folder or a pattern names, in the order of their names; empty for anything else.

    In a folder, files and folders that start with ``_`` or ``.`` are bookkeeping of whoever wrote it.
    """
    if is_url(source):
        return []
    path = path_of(source)
    if path.is_dir():
        if not (found := _files_in(path)):
            raise TableError(f"{path} is a folder without Parquet files (*.parquet); give a table, or a folder with some.")
        return found
    if not path.exists() and glob.has_magic(str(source)):
        named = [Path(p) for p in glob.glob(str(path), recursive=True)]
        folders = [p for p in named if p.is_dir() and not _hidden(Path(p.name))]  # as Spark writes a table
        found = sorted({*filter(Path.is_file, named), *(p for folder in folders for p in _files_in(folder))})
        if not found:
            raise TableError(f"No file matches {str(source)!r}; check the pattern.")
        if not all(map(_is_parquet, found)):
            other = next(p for p in found if not _is_parquet(p))
            raise TableError(f"{other} is no Parquet file; a pattern names Parquet files only.")
        return found
    return [path] if path.is_file() and _is_parquet(path) else []


def said_by_folders(source: str | Path, files: Sequence[Path]) -> dict[str, list[str | None]]:
    """The columns that folders below a source name, as ``region=North`` does: for each its value in each file, as text.

    Empty where not all files lie in folders of the same names, as in Spark; and for a pattern, of whose folders nobody can
    tell which are meant.
    """
    from urllib.parse import unquote

    folder = path_of(source)
    if not folder.is_dir():
        return {}
    each = [dict(part.split("=", 1) for part in f.relative_to(folder).parent.parts if part.find("=") > 0) for f in files]
    if any(said.keys() != each[0].keys() for said in each):
        return {}
    return {unquote(k): [None if said[k] == NOTHING else unquote(said[k]) for said in each] for k in each[0]}


def _files_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*.parquet") if p.is_file() and not _hidden(p.relative_to(folder)))


def _hidden(path: Path) -> bool:
    return any(part.startswith(("_", ".")) for part in path.parts)


def _is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError as error:
        raise TableError(f"{path} cannot be opened ({error.strerror}); check the path.") from error


def output_of(output: str | Path, out_table: str | None) -> Path | Table:
    """What the caller named as output: a file, or a table as ``URL#table`` or by ``out_table``."""
    if not is_url(output):
        if out_table is not None:
            raise ConfigError(f"out_table={out_table!r} is for a database URL; leave it out for a file.")
        path = path_of(output, ConfigError)
        refuse_unreachable(rejects_of(path), ConfigError)  # whose name is the longer one
        return path
    url, _, name = str(output).rpartition("#")
    if not url or "@" in name or "/" in name:  # no table: what follows a # in the password
        url, name = str(output), ""
    if name and out_table and name != out_table:
        raise ConfigError(f"The output names two tables, {name!r} and {out_table!r}; name one.")
    if not (table := out_table or name):
        raise ConfigError("The output is a database without a table; add it to the URL, as in sqlite:///sales.db#predictions.")
    return Table(url, table)


def refuse_output(output: Path | Table, overwrite: bool) -> None:
    """Refuse a file that cannot be written, before any work."""
    if isinstance(output, Path):
        _refuse_path(output, overwrite)


def _refuse_path(path: Path, overwrite: bool) -> None:
    if path.suffix.lower() not in FILES:
        raise ConfigError(f"The output {path} has none of the endings {', '.join(FILES)}; give one, or a database URL#table.")
    if not path.parent.is_dir():
        raise ConfigError(f"The output {path} cannot be written: the folder {path.parent} does not exist; make it first.")
    if path.is_dir():
        raise ConfigError(f"The output {path} is a folder; give the name of a file.")
    if path.exists() and not overwrite:
        raise ConfigError(f"The output {path} exists already; give --force to replace it, or another name.")


@contextmanager
def part_beside(path: Path) -> Iterator[Path]:
    """A hidden file beside the output that takes its place if all went well, and is gone if not.

    What a killed job left there is swept first. An error of the disk becomes one sentence.
    """
    key = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]
    part = path.with_name(f".adresponse-{key}-{os.getpid()}.part")
    try:
        for left in path.parent.glob(f".adresponse-{key}-*.part"):
            if not is_alive(left):
                left.unlink(missing_ok=True)
        part.touch()
        yield part
        part.replace(path)
    except OSError as error:
        stays = "what was there is as it was" if os.path.exists(path) else "nothing was left there"
        raise ConfigError(f"The output {path} cannot be written ({error.strerror or error}); {stays}.") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def refuse_unwritable(folder: Path) -> None:
    """Refuse an output folder that cannot be written, before any work is done."""
    nearest = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not nearest.is_dir():
        raise ConfigError(f"out={str(folder)!r}: {str(nearest)!r} is a file, not a folder; name another with --out.")
    if not os.access(nearest, os.W_OK):
        raise ConfigError(f"out={str(folder)!r} cannot be written; name another folder with --out.")


def write_page(path: Path, text: str) -> Path:
    """Write a page so that nobody ever sees half of it; its folder is made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be written: {error.strerror}; name another folder with --out.") from None
    with part_beside(path) as part:
        part.write_text(text, encoding="utf-8")
    return path.absolute()


def is_alive(part: Path) -> bool:
    """Whether the process that writes this part, whose number its name ends with, is still there."""
    number = part.stem.rpartition("-")[2]
    if not number.isdigit():
        return True
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def rejects_of(output: Path | Table) -> Path:
    """Where the rows go that cannot be answered."""
    if isinstance(output, Path):
        return output.with_name(f"{output.name}.rejected.csv")
    return Path(f"{output.name}.rejected.csv")


def refuse_same(
    source: str | Path, output: Path | Table, rejects: Path | None, query: str | None, sql_table: str | None
) -> None:
    """Refuse to write over what is read, with the answers or with rejected rows, or into a folder that is read."""
    if isinstance(output, Table):
        if str(source) == output.url and query is None and sql_table in (None, output.name):
            raise ConfigError(f"The table {output.name!r} may be the one that is read; name --sql-table, or write another.")
        if is_url(source) and (file := _sqlite_file(str(source))) is not None and file == _sqlite_file(output.url):
            raise ConfigError(f"{file} is read, and SQLite is not written at the same time; write another file.")
    if is_url(source):
        return
    path = path_of(source).resolve()
    read = parquet_files(source) or [path]
    if isinstance(output, Path):
        if path.is_dir() and path in output.resolve().parents:
            raise ConfigError(f"The output {output} lies in the folder that is read; write it elsewhere.")
        if _is_among(output, read):
            raise ConfigError(f"The output {output} is the table that is read; give another name.")
    if rejects is not None and _is_among(rejects, read):
        raise ConfigError(f"{rejects} is read, and has the name of the output's rejected rows; give the output another name.")


def _is_among(target: Path, read: Sequence[Path]) -> bool:
    return any(target.resolve() == p.resolve() or (target.exists() and p.exists() and target.samefile(p)) for p in read)


def _sqlite_file(url: str) -> Path | None:
    scheme, _, path = url.partition(":///")
    return Path(path.partition("?")[0]).resolve() if scheme.startswith("sqlite") else None
