"""How is a table scored on a Spark cluster? As column expressions that the executors run in the JVM.

A straight line is sums and products, so nothing but doubles travels: no Python starts on an executor, and Java's double
operations, in the formula's order, give the bits that every other engine gives. Curves have powers and waves, which Java
rounds otherwise; they go through Python with the code that lies in the stored model, as Arrow blocks. Where spend is carried
from one row to the next, one task has to see all rows. A model without closed formula goes through
``mlflow.pyfunc.spark_udf``, which takes the stored model to the executors.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import re
import shutil
import sys
import tempfile
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from adresponse.engines.places import is_alive
from adresponse.engines.scored import Beyond, Scored
from adresponse.errors import AdresponseError, ConfigError, DeploymentError, RowsError, TableError
from adresponse.formula import BASE, Formula, contribution_name
from adresponse.reading.paths import path_of
from adresponse.rows import MISSING, NEGATIVE, NOT_FINITE, as_level, missing_column
from adresponse.stored import BYTECODE, CODE, Stored, without_bytecode

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

__all__ = ["error_column", "predict", "prediction_columns", "with_predictions"]

ERROR = "error"
NUMERIC = ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal")
KINDS = {  # Spark's types for what a model reads
    "number": (NUMERIC, "numbers; cast it to double"),
    "date": (("date", "timestamp", "string"), "dates; cast it to date"),
    "market": (("string", "tinyint", "smallint", "int", "bigint"), "names; cast it to string"),
}
ANY_LEVEL = 0.9  # of an interval: the names of its ends are the same for all
AT_ONCE = 2_000_000  # rows that one task looks at together, where spend is carried
TOO_MANY = (
    f"The table has more than {AT_ONCE:,} rows, and the model carries spend from one period to the next, so one task has to "
    "see them all; score them market by market."
)
SEPARATORS = {".csv": ",", ".tsv": "\t"}  # every other ending is Parquet's
TEXT = {"header": "true", "escape": '"', "ignoreLeadingWhiteSpace": "false", "ignoreTrailingWhiteSpace": "false"}  # RFC 4180
RAGGED = (
    "A row has more or fewer cells than the header, or a cell holds a line break, which Spark's CSV does not take; mend it, "
    "give Parquet, or leave out --engine spark, which names the line."
)
WHOLE_JOB = "_SUCCESS"  # which Spark leaves in each folder that it wrote
NOT_OURS = "The output {} is a folder that Spark did not write, so --force does not replace it; give another name."
HELP = "install adresponse[spark] and a Java runtime (17 or newer)"
TOO_LARGE = "The prediction is too large to be a number; give values nearer to those of the table."
WHOLE = 1e15  # below this, a whole number is shown without a point


# --- columns


def prediction_columns(formula: Formula, level: float | None = None, contributions: bool = False) -> dict[str, Column]:
    """The answers of a straight line as expressions of its columns, under the names of ``Formula.answer``.

    The bits are those of ``Formula.answer``. Where a row breaks the contract, each is null.

    Parameters
    ----------
    formula : Formula
        A straight line.
    level : float between 0 and 1, optional
        Share of new rows that the interval should hold.
    contributions : bool
        Whether to add what each channel adds.
    """
    from pyspark.sql import functions as fn

    values = {t.column: _double(t.column) for t in formula.terms}
    found = _ends(formula, _line(formula, values), level)
    if not contributions:
        return found
    spend = formula.contract.channels
    added = {BASE: _line(formula, values | dict.fromkeys(spend, fn.lit(0.0)))}
    added |= {
        contribution_name(t.column): fn.lit(t.coefficient) * (values[t.column] * fn.lit(t.scale))
        for t in formula.terms[: len(spend)]
    }
    return found | _where_fine(formula, added)


def _line(formula: Formula, values: dict[str, Column]) -> Column:
    """``Formula.predict`` of these values."""
    from pyspark.sql import functions as fn

    parts = [fn.lit(t.coefficient) * (values[t.column] * fn.lit(t.scale) + fn.lit(t.shift)) for t in formula.terms]
    return reduce(lambda total, part: total + part, parts) + fn.lit(formula.intercept)


def _where_fine(formula: Formula, found: dict[str, Column]) -> dict[str, Column]:
    from pyspark.sql import functions as fn

    fine = error_column(formula).isNull()
    return {name: fn.when(fine, column) for name, column in found.items()}


def _ends(formula: Formula, predicted: Column, level: float | None) -> dict[str, Column]:
    from pyspark.sql import functions as fn

    found = {"prediction": predicted}
    if level is not None:
        spread = formula.spread
        scale = fn.greatest(fn.lit(spread.intercept) + fn.lit(spread.slope) * predicted, fn.lit(spread.floor))
        reach = fn.lit(spread.finite_quantile(level)) * scale
        found |= {"lower": predicted - reach, "upper": predicted + reach}
    return _where_fine(formula, found)


def error_column(formula: Formula) -> Column:
    """Why the numbers of a row break the model's contract, as a sentence; null where they do not."""
    from pyspark.sql import functions as fn

    spend = set(formula.contract.channels)
    faults = [fault for name in formula.contract.features for fault in _faults(name, name in spend)]
    return fn.coalesce(*(fn.when(broken, said) for broken, said in faults))


def _faults(name: str, spend: bool) -> Iterator[tuple[Column, Column]]:
    from pyspark.sql import functions as fn

    value = _double(name)
    where = f"Column {name!r}: "
    yield value.isNull() | fn.isnan(value), fn.lit(where + MISSING)
    yield fn.abs(value) == fn.lit(float("inf")), fn.lit(where + NOT_FINITE)
    if spend:
        whole = (value % 1 == 0) & (fn.abs(value) < WHOLE)
        shown = fn.when(whole, value.cast("bigint").cast("string")).otherwise(value.cast("string"))
        yield value < 0, fn.concat(fn.lit(where), shown, fn.lit(f" {NEGATIVE}"))


def _double(name: str) -> Column:
    return _named(name).cast("double")


def _named(name: str) -> Column:
    """A column by its exact name, whatever characters it has."""
    from pyspark.sql import functions as fn

    quoted = name.replace("`", "``")
    return fn.col(f"`{quoted}`")


def with_predictions(frame: DataFrame, stored: Stored, level: float | None = None, contributions: bool = False) -> DataFrame:
    """The frame with the answers and, for rows that break the model's contract, the reason in ``error``.

    Parameters
    ----------
    frame : pyspark DataFrame
        Its columns are kept; those of the model may be of any numeric type, a date also of text as ISO 8601 writes it.
    stored : Stored
        The model.
    level : float between 0 and 1, optional
        Adds ``lower`` and ``upper``.
    contributions : bool
        Adds ``base``, the sales at no spend, and ``contribution_CHANNEL`` for each channel.

    Raises
    ------
    RowsError
        If a column of the model is missing or is of another type, or the level or contributions cannot be given.
    ConfigError
        If the frame has columns of the answers' names already.
    """
    formula = stored.formula
    if level is not None:
        formula.spread.finite_quantile(as_level(level))
    _refuse_columns(frame, formula, contributions)
    if formula.curves is not None:
        return _curved(frame, stored, level, contributions)
    if contributions and not formula.closed:
        raise RowsError("The model has no closed formula, so it cannot say what each channel adds; leave contributions out.")
    found = prediction_columns(formula, level, contributions) if formula.straight else _piped(frame, stored, level)
    return frame.withColumns(_finite(found, error_column(formula)))


def _finite(answers: dict[str, Column], error: Column) -> dict[str, Column]:
    """The answers and the error; a row with an answer beyond what a double can hold has an error alone."""
    from pyspark.sql import functions as fn

    infinite = reduce(lambda some, one: some | one, (_no_number(c) for c in answers.values()))
    kept = {name: fn.when(~infinite, column) for name, column in answers.items()}
    return {**kept, ERROR: fn.coalesce(error, fn.when(infinite, fn.lit(TOO_LARGE)))}


def _no_number(value: Column) -> Column:
    from pyspark.sql import functions as fn

    return fn.isnan(value) | (fn.abs(value) == fn.lit(float("inf")))


def _refuse_columns(frame: DataFrame, formula: Formula, contributions: bool) -> None:
    kinds = dict(frame.dtypes)
    for name in formula.inputs:
        if name not in kinds:
            raise missing_column(name, kinds)
        wanted, what = KINDS[formula.reads.kind(name)]
        if not kinds[name].startswith(wanted):
            raise RowsError(f"Column {name!r} holds {kinds[name]}, not {what}.")
    taken = {name.casefold() for name in (*formula.answer_names(ANY_LEVEL, contributions), ERROR)}
    if there := [n for n in kinds if n.casefold() in taken]:  # Spark would replace a column named Error
        raise ConfigError(f"The table has a column {there[0]!r} already; rename it, since the answers take that name.")


def _curved(frame: DataFrame, stored: Stored, level: float | None, contributions: bool) -> DataFrame:
    """The same through the executors' Python, with the code that lies in the stored model."""
    from pyspark.sql.types import DoubleType, StringType, StructField, StructType

    formula = stored.formula
    package = _sent(frame.sparkSession, stored.folder)
    names = formula.answer_names(level, contributions)
    fields = [*frame.schema.fields, *(StructField(n, DoubleType()) for n in names), StructField(ERROR, StringType())]
    asked = {f"#{ERROR} {i}": _as_read(frame, formula, name) for i, name in enumerate(formula.inputs)}
    work = _work(package, formula.to_json(), len(frame.columns), level, contributions)
    rows = frame.withColumns(asked)
    return (rows.coalesce(1) if formula.together else rows).mapInArrow(work, StructType(fields))


def _as_read(frame: DataFrame, formula: Formula, name: str) -> Column:
    """A column as a double, or as text: a date by the session's own clock."""
    from pyspark.sql import functions as fn

    kind = formula.reads.kind(name)
    if kind == "number":
        return _double(name)
    if kind == "date" and dict(frame.dtypes)[name] != "string":
        return fn.date_format(_named(name).cast("timestamp_ntz"), "yyyy-MM-dd'T'HH:mm:ss")
    return _named(name).cast("string")


def _sent(session: SparkSession, folder: Path) -> str:
    """Send the stored model's code to the executors; gives the name of its package, which is made from its content."""
    (package,) = (path for path in (folder / CODE).iterdir() if path.name != BYTECODE)
    session.sparkContext.addPyFile(_zipped(package))
    return package.name


_ZIPPED: dict[str, str] = {}  # Spark takes a file of one name from one place only


def _zipped(package: Path) -> str:
    """The package as a file that Spark takes; it is there until this process ends."""
    if package.name in _ZIPPED:
        return _ZIPPED[package.name]
    home = tempfile.mkdtemp(prefix="adresponse-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    path = Path(home, f"{package.name}.zip")
    with zipfile.ZipFile(path, "w") as file:
        for source in sorted(package.glob("*.py")):
            file.write(source, f"{package.name}/{source.name}")
    return _ZIPPED.setdefault(package.name, str(path))


def _work(package: str, text: str, own: int, level: float | None, contributions: bool) -> Callable[[Any], Any]:
    """What an executor does with Arrow blocks whose columns after the first ``own`` are those that the model reads.

    The function is sent as it stands, so it names nothing of this module.
    """
    too_large, too_many, at_once = TOO_LARGE, TOO_MANY, AT_ONCE

    def work(blocks: Any) -> Any:
        import importlib

        import numpy as np
        import pyarrow as pa

        formula = importlib.import_module(f"{package}.formula").Formula.from_json(text)
        look = importlib.import_module(f"{package}.rows").look
        twice_said = importlib.import_module(f"{package}.curved").twice_said
        names = formula.answer_names(level, contributions)

        def answered(block: Any) -> Any:
            given = {name: block.column(own + i) for i, name in enumerate(formula.inputs)}
            given = {
                n: np.asarray(v.to_numpy(zero_copy_only=False)) if formula.reads.kind(n) == "number" else v.to_pylist()
                for n, v in given.items()
            }
            columns, faults = look(formula.reads, given)
            good = np.ones(block.num_rows, dtype=bool)
            good[list(faults)] = False
            asked = np.flatnonzero(good)
            if formula.together and len(asked):
                first = formula.first_of([c[asked] for c in columns])
                for i in np.flatnonzero(first != np.arange(len(first))):
                    market = formula.reads.markets[int(columns[-1][asked[i]])] if formula.reads.market else ""
                    faults[int(asked[i])] = f"The row {twice_said(int(asked[first[i]]) + 1, market)}"
                    good[asked[i]] = False
                asked = np.flatnonzero(good)
            found = np.full((len(names), block.num_rows), np.nan)
            if len(asked):
                found[:, asked] = list(formula.figures([c[asked] for c in columns], level, None, contributions).values())
            large = good & ~np.isfinite(found).all(axis=0)
            faults |= dict.fromkeys(np.flatnonzero(large).tolist(), too_large)
            said = [faults.get(i) for i in range(block.num_rows)]
            return written(block, found, good & ~large, said)

        def written(block: Any, found: Any, good: Any, said: Any) -> Any:
            columns = [pa.array(values, pa.float64(), mask=~good) for values in found]
            arrays = [*block.columns[:own], *columns, pa.array(said, pa.string())]
            return pa.RecordBatch.from_arrays(arrays, [*block.schema.names[:own], *names, "error"])

        if not formula.together:
            yield from map(answered, (b for b in blocks if b.num_rows))
            return
        kept = [b for b in blocks if b.num_rows]
        if sum(b.num_rows for b in kept) > at_once:
            for b in kept:
                nothing = np.zeros(b.num_rows, dtype=bool)
                yield written(b, np.zeros((len(names), b.num_rows)), nothing, [too_many] * b.num_rows)
        elif kept:
            yield answered(pa.Table.from_batches(kept).combine_chunks().to_batches()[0])

    return work


def _piped(frame: DataFrame, stored: Stored, level: float | None) -> dict[str, Column]:
    """The same through the stored pipeline; a row that breaks the contract is asked as one that does not, and not kept."""
    import mlflow.pyfunc
    from pyspark.sql import functions as fn

    formula = stored.formula
    with tempfile.TemporaryDirectory() as place:
        folder = without_bytecode(stored.folder, Path(place) / "model")
        ask = mlflow.pyfunc.spark_udf(frame.sparkSession, str(folder), result_type="double", env_manager="local")
    fine = error_column(formula).isNull()
    safe = [
        fn.when(fine, _double(name)).otherwise(fn.lit(formula.ranges[name][0])).alias(name)
        for name in formula.contract.features
    ]
    return _ends(formula, ask(fn.struct(*safe)), level)


# --- tables


def predict(
    stored: Stored,
    source: str | Path,
    output: str | Path,
    *,
    level: float | None = None,
    contributions: bool = False,
    on_error: Literal["fail", "skip"] = "fail",
    version: str = "",
    master: str | None = None,
    overwrite: bool = False,
    progress: Callable[[float], None] = lambda share: None,
) -> Scored:
    """Answer every row of a table on a cluster; all its columns are kept.

    Parameters
    ----------
    stored : Stored
        The model.
    source : path, address or name
        Parquet (a file, a folder, a pattern), CSV with a header, or a table of Spark's catalog; the executors have to
        reach it.
    output : path or address
        A folder of Parquet files, or of CSV files where it ends in ``.csv``. On a file system of this machine it
        appears when it is whole.
    level : float between 0 and 1, optional
        Adds ``lower`` and ``upper``.
    contributions : bool
        Adds ``base``, the sales at no spend, and ``contribution_CHANNEL`` for each channel.
    on_error : {"fail", "skip"}
        Refuse the whole table for a bad row, or leave its answers empty and say why in its column ``error``.
    version : str
        Which version of the model this is, for the job's description.
    master : str, optional
        Spark's master, ``spark://host:7077``; without it, a session that is there, else one on this machine.
    overwrite : bool
        Replace an output that exists.
    progress : callable
        Called with 0 at the beginning and 1 at the end.

    Raises
    ------
    RowsError
        If a column or, where it should fail, a row breaks the contract.
    TableError, ConfigError, DeploymentError
        If the source cannot be read, the output cannot be written, or Spark cannot be had.
    """
    progress(0.0)
    for place in map(str, (source, output)):
        if re.match("(sqlite|postgres)[^/]*://|.*[.]xlsx$", place, re.IGNORECASE | re.DOTALL):
            raise ConfigError("The engine spark knows Parquet and CSV, no Excel or database URL; leave it out, or give these.")
    _refuse_same(str(source), str(output))
    with _session(master) as session, _speaking():
        session.sparkContext.setJobDescription(f"adresponse: predictions of version {version or stored.model_id}")
        frame = _read(session, str(source), stored.formula.contract.features)
        answered = with_predictions(frame, stored, level, contributions)
        with _beside(session, str(output), overwrite) as target:
            found = _write(answered, stored.formula, target, SEPARATORS.get(Path(str(output)).suffix.lower()), on_error)
            if not found["rows"]:
                raise RowsError(f"{source} has column names but no rows; give at least one.")
            if found["errors"] and on_error == "fail":
                raise _refusal(int(found["errors"]), str(found["first"]))
    progress(1.0)
    rows, errors = int(found["rows"]), int(found["errors"])
    return Scored(rows - errors, errors, str(output), None, _beyond(stored.formula, found), engine="spark")


def _write(answered: DataFrame, formula: Formula, target: str, separator: str | None, on_error: str) -> dict[str, Any]:
    """Write the answers and count, in one pass, what is in them."""
    from pyspark.sql import Observation
    from pyspark.sql import functions as fn

    seen = Observation()
    counts = [fn.count(fn.lit(1)).alias("rows"), fn.count(ERROR).alias("errors"), fn.min(ERROR).alias("first")]
    fine = fn.col(ERROR).isNull()
    for i, (name, (low, high)) in enumerate(formula.limits.items()):
        value = fn.when(fine, _double(name))
        measured = value / _size(formula) if name in formula.per_size else value
        outside = fn.when((measured < low) | (measured > high), 1)
        counts += [fn.min(value).alias(f"low{i}"), fn.max(value).alias(f"high{i}"), fn.count(outside).alias(f"outside{i}")]
    watched = answered.observe(seen, *counts)
    kept = watched if on_error == "skip" else watched.drop(ERROR)
    writer = kept.write.mode("overwrite")
    if separator is None:
        writer.parquet(target)
    else:
        writer.options(**TEXT, sep=separator).csv(target)
    return dict(seen.get)


def _size(formula: Formula) -> Column:
    """The size of each row's market, of a model whose markets differ in size."""
    from pyspark.sql import functions as fn

    market = _named(formula.inputs[-1]).cast("string")
    return fn.coalesce(*(fn.when(market == name, fn.lit(size)) for name, size in formula.sizes.items()))


def _beyond(formula: Formula, found: dict[str, Any]) -> dict[str, Beyond]:
    return {
        name: Beyond(float(found[f"low{i}"]), float(found[f"high{i}"]), int(found[f"outside{i}"]))
        for i, name in enumerate(formula.limits)
        if found[f"outside{i}"]
    }


def _refusal(count: int, first: str) -> RowsError:
    which = "1 row breaks" if count == 1 else f"{count:,} rows break"
    return RowsError(
        f"{which} the model's contract; one of them: {first} Correct them, or leave them out with --on-error skip."
    )


def _read(session: SparkSession, source: str, features: Sequence[str]) -> DataFrame:
    from pyspark.sql.types import StringType

    suffix = Path(source).suffix.lower()
    if suffix in SEPARATORS:
        source = _literal(source)
        text = session.read.options(**TEXT, sep=SEPARATORS[suffix], mode="FAILFAST")  # else cells of a short row move left
        found = text.option("inferSchema", "true").csv(source).schema
        if len(found) == 1 and re.search("[;|\t]", found[0].name):
            raise TableError(
                f"{source} has no commas between its values, as Spark's CSV needs; give Parquet, or leave out --engine spark."
            )
        for column in found:
            if column.name not in features:  # 007 is no 7
                column.dataType = StringType()
        return text.schema(found).csv(source)
    if "/" not in source and not suffix and not Path(source).exists() and session.catalog.tableExists(source):
        return session.table(source)
    return _parquet(session, _literal(source), features)


def _parquet(session: SparkSession, source: str, features: Sequence[str]) -> DataFrame:
    """All files below, with a column for each folder that is named as ``region=North``.

    Spark reads what lies in the folder itself and in folders so named, and leaves out all else without a word.
    """
    from pyspark.errors import AnalysisException
    from pyspark.sql.types import StringType

    every = session.read.option("recursiveFileLookup", "true").parquet(source)
    try:
        found = session.read.parquet(source)
    except AnalysisException:  # all files lie in folders of the folder
        return every
    if len(found.inputFiles()) < len(every.inputFiles()):
        return every
    schema = found.schema
    for column in schema:
        if column.name not in (*every.columns, *features):  # 007 is no 7
            column.dataType = StringType()
    return session.read.schema(schema).parquet(source)


def _literal(source: str) -> str:
    """The same, with a file's name taken as it is, where Hadoop would read a pattern in it."""
    return re.sub(r"([\\\[\]{}*?])", r"\\\1", source) if Path(source).exists() else source


def _refuse_same(source: str, output: str) -> None:
    """Refuse to write over what is read, into it, or where replacing what is there takes the table along."""
    read = PurePosixPath(source) if "://" in source else path_of(source).resolve()
    written = PurePosixPath(output) if "://" in output else path_of(output, ConfigError).resolve()
    if read == written:
        raise ConfigError(f"The output {output} is the table that is read; give another name.")
    if read in written.parents:
        raise ConfigError(f"The output {output} lies in the folder that is read; write it elsewhere.")
    if written in read.parents:
        raise ConfigError(f"The output {output} is a folder that the table {source} lies in; give another name.")


@contextlib.contextmanager
def _beside(session: SparkSession, output: str, overwrite: bool) -> Iterator[str]:
    """A hidden folder beside the output that takes its place if all went well, and is gone if not."""
    if "://" in output:
        with _beside_at(session, output, overwrite) as target:
            yield target
        return
    path = path_of(output, ConfigError).absolute()
    if path.exists() and not overwrite:
        raise ConfigError(f"The output {output} exists already; give --force to replace it, or another name.")
    if path.is_dir() and any(path.iterdir()) and not (path / WHOLE_JOB).exists():
        raise ConfigError(NOT_OURS.format(output))
    if not path.parent.is_dir():
        raise ConfigError(f"The output {output} cannot be written: the folder {path.parent} does not exist; make it first.")
    key = hashlib.sha256(path.name.encode()).hexdigest()[:12]
    for left in path.parent.glob(f".adresponse-{key}-*.spark"):
        if not is_alive(left):
            shutil.rmtree(left, ignore_errors=True)
    part = path.with_name(f".adresponse-{key}-{os.getpid()}.spark")
    try:
        yield unquote(part.as_uri())  # Hadoop takes a path as it is written
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
        part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def _beside_at(session: SparkSession, output: str, overwrite: bool) -> Iterator[str]:
    """The same on a file system that Spark reaches, through Hadoop's own client of it."""
    jvm: Any = session.sparkContext._jvm
    configured = session.sparkContext._jsc.hadoopConfiguration()
    path = jvm.org.apache.hadoop.fs.Path(output)
    system = path.getFileSystem(configured)
    if system.exists(path) and not overwrite:
        raise ConfigError(f"The output {output} exists already; give --force to replace it, or another name.")
    marked = system.exists(jvm.org.apache.hadoop.fs.Path(path, WHOLE_JOB))
    if system.isDirectory(path) and system.listStatus(path) and not marked:
        raise ConfigError(NOT_OURS.format(output))
    part = jvm.org.apache.hadoop.fs.Path(path.getParent(), f".adresponse-{uuid.uuid4().hex}.spark")
    try:
        yield str(part.toString())
        system.delete(path, True)
        if not system.rename(part, path):
            raise DeploymentError(f"The output {output} could not be put in its place; see whether it may be written.")
    finally:
        system.delete(part, True)


@contextlib.contextmanager
def _session(master: str | None) -> Iterator[SparkSession]:
    """The session in use, or one of our own that ends with the block."""
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise ConfigError(f"The engine spark needs pyspark, which is not installed; {HELP}.") from None
    if (active := SparkSession.getActiveSession()) is not None:
        if master not in (None, active.sparkContext.master):
            raise ConfigError(
                f"master={master!r} is not that of the Spark session that is active, {active.sparkContext.master}; "
                "leave it out, or stop the session."
            )
        yield active
        return
    if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
        raise ConfigError(f"The engine spark needs Java, which is not there; {HELP}.")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("adresponse").config("spark.ui.enabled", "false")
    builder = builder.config("spark.ui.showConsoleProgress", "false").config("spark.log.level", "ERROR")
    if master is None:
        builder = builder.master("local[*]").config("spark.driver.host", "127.0.0.1")
        builder = builder.config("spark.driver.bindAddress", "127.0.0.1")
    else:
        builder = builder.master(master)
    with _speaking():
        session = builder.getOrCreate()
    try:
        yield session
    finally:
        session.stop()


@contextlib.contextmanager
def _speaking() -> Iterator[None]:
    """What Spark refuses becomes one sentence."""
    from py4j.protocol import Py4JError  # type: ignore[import-untyped]
    from pyspark.errors import AnalysisException, PySparkException

    try:
        yield
    except AdresponseError:
        raise
    except AnalysisException as error:
        raise TableError(f"Spark cannot read the table: {_first(error)}.") from error
    except (PySparkException, Py4JError) as error:
        if "MALFORMED_RECORD_IN_PARSING" in str(error):
            raise TableError(RAGGED) from error
        raise DeploymentError(f"Spark ended with an error: {_first(error)}.") from error


def _first(error: BaseException) -> str:
    """The line that gives the reason: of an error of Java the second, as the first names a call of py4j."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return (lines[1] if lines[1:] and lines[1].startswith(": ") else lines[0]).removeprefix(": ").rstrip(".")
