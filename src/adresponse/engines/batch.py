"""Score a table from where it lies to where the answers should be, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adresponse import words
from adresponse.engines import duck
from adresponse.engines.places import Table, output_of, parquet_files, refuse_output, refuse_same, rejects_of, said_by_folders
from adresponse.engines.scored import Beyond, Scored
from adresponse.errors import ConfigError, RowsError
from adresponse.formula import Formula
from adresponse.pyfunc import ResponseModel
from adresponse.rows import missing_column
from adresponse.stored import Stored

if TYPE_CHECKING:
    from adresponse.engines.blocks import Answered, Fault
    from adresponse.engines.inputs import Block, Input
    from adresponse.engines.outputs import Form, Writer
    from adresponse.reading.marks import Marks

__all__ = ["Beyond", "Scored", "predict"]

REJECTED = ("rejected_row", "rejected_place", "rejected_column", "rejected_reason")


def _unheard(share: float) -> None:
    """Progress that nobody asked for."""


def predict(
    stored: Stored,
    source: str | Path,
    output: str | Path,
    *,
    level: float | None = None,
    contributions: bool = False,
    on_error: Literal["fail", "skip"] = "fail",
    version: str = "",
    sheet: str | None = None,
    query: str | None = None,
    sql_table: str | None = None,
    out_table: str | None = None,
    overwrite: bool = False,
    decimal: Literal[".", ","] | None = None,
    progress: Callable[[float], None] = _unheard,
) -> Scored:
    """Answer every row of a table; all its columns are kept, and ``prediction`` is added.

    Parameters
    ----------
    stored : Stored
        The model.
    source : path or database URL
        CSV or other separated text, Parquet (a file, a folder or a pattern), Excel, a database.
    output : path or database URL
        ``.csv``, ``.tsv``, ``.parquet``, ``.xlsx``, or ``URL#table``. It appears when it is whole; a job that fails or
        is killed leaves none.
    level : float between 0 and 1, optional
        Adds ``lower`` and ``upper``: the interval that should hold this share of new rows.
    contributions : bool
        Adds ``base``, the sales at no spend, and ``contribution_CHANNEL`` for each channel.
    on_error : {"fail", "skip"}
        Refuse the whole table for its first bad row, or answer the others and put the bad ones into
        ``OUTPUT.rejected.csv``.
    version : str
        Which version of the model this is; written into Parquet and Excel.
    sheet, query, sql_table : str, optional
        What to read of an Excel file or a database.
    out_table : str, optional
        The table to write, where the output is a database URL without one.
    overwrite : bool
        Replace an output that exists.
    decimal : {".", ","}, optional
        Decimal mark of numbers written as text; found out from the cells where not given.
    progress : callable, optional
        Told the share done, from 0 to 1, where it is known.

    Raises
    ------
    RowsError
        If a column of the model is missing, or a row breaks its contract: column, row, place, value, rule.
    TableError
        If the table cannot be read.
    ConfigError
        If the arguments contradict each other, or the output cannot be written.
    """
    if on_error not in ("fail", "skip"):
        raise ConfigError(f"on_error={on_error!r} is unknown; give 'fail' or 'skip'.")
    if level is not None:
        stored.formula.spread.finite_quantile(level)
    target = output_of(output, out_table)
    rejects = rejects_of(target) if isinstance(target, Path) or on_error == "skip" else None
    refuse_same(source, target, rejects, query, sql_table)
    refuse_output(target, overwrite)
    about = {"adresponse.model_id": stored.model_id, "adresponse.model_version": version}
    if isinstance(target, Path) and query is sql_table is sheet is None and (files := parquet_files(source)):
        plain = not contributions and not said_by_folders(source, files)
        if plain and (done := duck.score(stored.formula, files, target, level, about, progress)) is not None:
            rejects_of(target).unlink(missing_ok=True)
            return done
    from adresponse.engines.inputs import open_input

    with open_input(source, sheet=sheet, query=query, sql_table=sql_table) as table:
        job = _Job(ResponseModel(stored.formula, stored.folder), table, level, contributions, on_error == "skip")
        return job.run(target, overwrite, about, decimal, progress)


class _Job:
    """One table on its way through the model, block by block."""

    def __init__(self, model: ResponseModel, table: Input, level: float | None, contributions: bool, skip: bool) -> None:
        self._model = model
        self._table = table
        self._level = level
        self._contributions = contributions
        self._skip = skip
        self._added = model.formula.answer_names(level, contributions)
        _refuse_columns(model.formula, table, self._added)

    def run(
        self,
        target: Path | Table,
        overwrite: bool,
        about: dict[str, str],
        decimal: Literal[".", ","] | None,
        progress: Callable[[float], None],
    ) -> Scored:
        """Write the answers, and the rejected rows beside them."""
        from adresponse.engines.blocks import Ranges, answer, at_once, look, refuse
        from adresponse.engines.inputs import feature_array, text_size
        from adresponse.engines.outputs import refuse_long_sheet
        from adresponse.reading.marks import Marks

        if isinstance(target, Path) and target.suffix.lower() == ".xlsx" and not self._skip:
            refuse_long_sheet(self._table.total or self._table.count() or 0)
        table, formula = self._table, self._model.formula
        reads = formula.reads
        marks, ranges = Marks(table.separator, decimal), Ranges(formula)
        seen = rows = size = 0
        writer: Writer | None = None
        with ExitStack() as beside, ExitStack() as stack:  # the answers are put in their place first
            rejects = _Rejects(rejects_of(target), table, beside)
            for block in at_once(table) if formula.together else table.blocks:
                named = {n: feature_array(c) for n, c in zip(table.names, block, strict=True) if not seen or n in reads.names}
                marks.learn_numbers(named.items())
                if reads.date is not None:
                    marks.learn_dates(reads.date, named[reads.date])
                if not seen and _is_text(target):
                    self._look_ahead(marks)
                answered = answer(self._model, look(reads, table.names, block, marks), self._level, self._contributions)
                if answered.faults and not self._skip:
                    raise refuse(table, answered.faults[0], seen)
                rejects.write(block, answered.faults, seen)
                form = self._form(target, about, marks.mark)
                columns = self._columns(block, answered, form)
                if answered.good.any():
                    writer = writer or stack.enter_context(_open(target, form, overwrite))
                    writer.write(columns)
                ranges.add([x[answered.good] for x in answered.features])
                seen, rows = seen + len(answered.good), rows + int(answered.good.sum())
                size += text_size(block) if table.size else 0
                if (share := table.share(seen, size)) is not None:
                    progress(share)
            if not seen:
                raise RowsError(f"{table.label} has column names but no rows; give at least one.")
            if writer is None:
                stack.enter_context(_open(target, form, overwrite)).write(columns)
        progress(1.0)
        if not rejects.rows and (self._skip or isinstance(target, Path)):  # a table has no folder of its own
            rejects.path.unlink(missing_ok=True)
        findings = (*table.findings, *marks.findings())
        shown = str(target) if isinstance(target, Path) else f"table {target.name}"
        return Scored(rows, rejects.rows, shown, rejects.path if rejects.rows else None, ranges.beyond, findings)

    def _look_ahead(self, marks: Marks) -> None:
        """Find out the decimal mark of the answers, whose first is written before a later row may show it.

        A table parted by commas seldom has decimal commas, and is not read twice for them.
        """
        table, names = self._table, self._model.formula.reads.names
        blocks = table.ahead([table.names.index(name) for name in names]) if table.separator not in ("", ",") else iter(())
        while not marks.decided and (block := next(blocks, None)) is not None:
            marks.learn_numbers(zip(names, block, strict=True))

    def _form(self, target: Path | Table, about: dict[str, str], mark: str) -> Form:
        """Text keeps the look of the text it came from, so that its numbers read as before."""
        from adresponse.engines.outputs import Form

        keep = self._table.typed or (_is_text(target) and bool(self._table.separator))
        numbers = {*self._added, *(() if keep else self._model.formula.contract.features)}
        given = self._table.separator if self._table.separator not in ("", "\t") else ","
        separator = "\t" if isinstance(target, Path) and target.suffix.lower() == ".tsv" else given
        decimal = mark if self._table.separator else "."
        return Form((*self._table.names, *self._added), frozenset(numbers), separator, decimal, about)

    def _columns(self, block: Block, answered: Answered, form: Form) -> list[Any]:
        features = dict(zip(self._model.formula.inputs, answered.features, strict=True))
        kept: list[Any] = []
        for name, column in zip(self._table.names, block, strict=True):
            kept.append(_where(features[name] if name in form.numbers else column, answered.good))
        return [*kept, *(answered.answers[name] for name in self._added)]


def _is_text(target: Path | Table) -> bool:
    return isinstance(target, Path) and target.suffix.lower() in (".csv", ".tsv")


def _refuse_columns(formula: Formula, table: Input, added: Sequence[str]) -> None:
    """Refuse a table without a column of the model, or with one that has the name of an answer."""
    for name in formula.inputs:
        if name not in table.names:
            raise missing_column(name, table.names)
    taken = {name.casefold() for name in added}
    for name in table.names:
        if name.casefold() in taken:
            raise RowsError(
                f"Column {name!r} of {table.label} has the name of an answer ({words.listing(added)}); "
                f"rename it, or leave it out."
            )


def _open(target: Path | Table, form: Form, overwrite: bool) -> Any:
    if isinstance(target, Table):
        from adresponse.engines.database import open_table

        return open_table(target, form, overwrite)
    from adresponse.engines.outputs import open_output

    return open_output(target, form)


def _where(column: Any, good: Any) -> Any:
    """The rows of a column that are answered."""
    if good.all():
        return column
    if isinstance(column, list):
        return [value for value, keep in zip(column, good, strict=True) if keep]
    import numpy as np

    return column[good] if isinstance(column, np.ndarray) else column.take(np.flatnonzero(good))


class _Rejects:
    """The rows that cannot be answered, with the reason, in a file of their own; made for the first of them."""

    def __init__(self, path: Path, table: Input, stack: ExitStack) -> None:
        self.path = path
        self.rows = 0
        self._table = table
        self._stack = stack
        self._writer: Writer | None = None

    def write(self, block: Block, faults: Sequence[Fault], before: int) -> None:
        """Append the bad rows of a block that ``before`` rows lie before."""
        if not faults:
            return
        from adresponse.engines.outputs import Form, open_output

        if self._writer is None:
            form = Form((*REJECTED, *self._table.names), frozenset())
            self._writer = self._stack.enter_context(open_output(self.path, form))
        numbers = [before + f.index + 1 for f in faults]
        said = [numbers, [self._table.place(n) for n in numbers], [f.column for f in faults], [f.reason for f in faults]]
        own = [_picked(column, [f.index for f in faults]) for column in block]
        self._writer.write([*said, *own])
        self.rows += len(faults)


def _picked(column: Any, indices: Sequence[int]) -> Any:
    return [column[i] for i in indices] if isinstance(column, list) else column.take(list(indices))
