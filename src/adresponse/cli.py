"""The command line: parse, call one function of the lifecycle, print what came back."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import click

from adresponse import __version__, console
from adresponse.errors import AdresponseError, ConfigError

__all__ = ["main"]

Command = Callable[..., Any]
Options = Sequence[Callable[[Any], Any]]
NEAREST = {"−": "-", "–": "-", "×": "x", "✓": "+", "✗": "x", "²": "2"}
STOPPED = "Stopped by Ctrl-C before it was done; nothing has to be repaired, run it again."

TABLE: Options = [
    click.argument("table", required=False),
    click.option("--target", metavar="COLUMN", help="The column to be explained (sales)."),
    click.option("--channels", metavar="A,B", help="The columns of spend, separated by commas."),
    click.option("--controls", metavar="A,B", help="Further numeric columns that explain sales (price, holidays)."),
    click.option("--date", metavar="COLUMN", help="The date column; the last rows are then the ones held out."),
    click.option("--market", metavar="COLUMN", help="The column that names the market."),
    click.option("--missing", type=click.Choice(["refuse", "drop"]), help="Rows with a missing value. [default: refuse]"),
    click.option("--decimal", type=click.Choice([".", ","]), help="Decimal mark, where the numbers can be read either way."),
    click.option("--sheet", metavar="NAME", help="Sheet of an Excel file. [default: the first]"),
    click.option("--query", metavar="SQL", help="Query, where TABLE is a database URL."),
    click.option("--sql-table", metavar="NAME", help="Table, where TABLE is a database URL."),
    click.option("--config", metavar="FILE", help="YAML file with settings; see `adresponse init`."),
]
FITTING: Options = [
    click.option("--test-size", type=float, help="Share of rows held out; 0 fits on all rows. [default: 0.2]"),
    click.option("--seed", type=int, help="Seed of every random choice. [default: 42]"),
    click.option(
        "--shape",
        type=click.Choice(["linear", "log", "power", "hill", "logistic", "auto"]),
        help="Response curves of the channels; auto takes the simplest that predicts as well as any. [default: a line]",
    ),
    click.option(
        "--carry-over",
        type=click.Choice(["none", "geometric", "delayed", "weibull"]),
        help="With --shape and a date: what spend leaves for later periods. [default: geometric]",
    ),
    click.option(
        "--lift",
        "lifts",
        multiple=True,
        metavar="CHANNEL=RETURN:ERROR",
        help="With --shape: what an experiment found, sales for one unit of spend and its standard error; tv=1.4:0.3.",
    ),
]
MANNERS: Options = [
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output and nothing else there."),
    click.option("-q", "--quiet", is_flag=True, help="No progress."),
    click.option("-v", "--verbose", is_flag=True, help="MLflow's own messages too, and the whole trace of an error."),
]


class _Blankless(click.Command):
    """A command to which a blank value is one that was not given, as MLflow Projects pass every parameter.

    An option given twice is refused, since click takes the last without a word. With ``--json``, what click itself and
    this refuse is told in JSON too.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        takes_value = {o for p in self.params if isinstance(p, click.Option) and not p.is_flag for o in p.opts}
        given: list[str] = []
        for arg in args:
            option, equals, value = arg.partition("=")
            if arg.strip() and not (equals and option in takes_value and not value.strip()):
                given.append(arg)
            elif not arg.strip() and given and given[-1] in takes_value:
                given.pop()
        try:
            self._refuse_twice(ctx, given)
            return super().parse_args(ctx, given)
        except click.UsageError as error:
            if "--json" in args and any(p.name == "as_json" for p in self.params):
                _print_json({"error": {"type": "ConfigError", "message": error.format_message()}})
            raise

    def _refuse_twice(self, ctx: click.Context, given: list[str]) -> None:
        *_, order = self.make_parser(ctx).parse_args(list(given))
        for option in order:
            if isinstance(option, click.Option) and not option.is_flag and not option.multiple and order.count(option) > 1:
                longest = max(option.opts, key=len)
                how = f", as {longest} {option.metavar}" if option.metavar else ""
                raise click.UsageError(f"{longest} is given twice; give it once{how}.", ctx)


def _with(*groups: Options) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed([o for group in groups for o in group]):
            command = option(command)
        return command

    return add


class _Pair(click.ParamType[tuple[str, str]]):
    """``key=value``, as ``mlflow deployments -C`` takes it."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        key, equals, text = str(value).partition("=")
        if not equals or not key.strip():
            self.fail(f"{value!r} is no setting; write key=value.", param, ctx)
        return key.strip(), text


def _once_each(ctx: click.Context, param: click.Parameter, pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    for i, (key, _) in enumerate(pairs):
        if key in dict(pairs[:i]):
            raise click.BadParameter(f"{key} is given twice; give it once.", ctx, param)
    return dict(pairs)


CONFIG = click.option(
    "-C", "--config", "config", multiple=True, type=_Pair(), callback=_once_each, help="A setting of the target."
)


@dataclass(frozen=True)
class Manners:
    """Where a command's progress goes, and whether other libraries may speak too."""

    progress: Callable[[str], None]
    verbose: bool


@dataclass(frozen=True)
class Told:
    """What a command found: as plain values, as a way to show it, and a refusal that follows from it, if one does."""

    value: Any
    show: Callable[[], None]
    refusal: AdresponseError | None = None
    exit_code: int = 0


def _telling(command: Callable[..., Told]) -> Command:
    """Run a command, then tell what it found, in JSON where asked for; a refusal is one sentence and its exit code."""

    @wraps(command)
    def wrapped(*args: Any, as_json: bool = False, quiet: bool = False, verbose: bool = False, **kwargs: Any) -> None:
        try:
            with _progress(quiet or as_json or not sys.stderr.isatty()) as progress, _chatter(verbose):
                told = command(*args, manners=Manners(progress, verbose), **kwargs)
        except AdresponseError as error:
            if verbose:
                traceback.print_exc()
            if as_json:
                _print_json({"error": {"type": type(error).__name__, "message": _sentence(error)}})
            _refuse(error)
        except KeyboardInterrupt:
            if as_json:
                _print_json({"error": {"type": "KeyboardInterrupt", "message": STOPPED}})
            click.echo(f"adresponse: {STOPPED}", err=True)
            sys.exit(130)
        else:
            with _while_read():
                _print_json(told.value) if as_json else told.show()
            if told.refusal:
                _refuse(told.refusal)
            if told.exit_code:
                sys.exit(told.exit_code)

    return wrapped


@contextmanager
def _while_read() -> Iterator[None]:
    """Print until the other end has enough (``| head -1``), then end as the shell's own commands do."""
    try:
        yield
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # rich ends the process itself, with 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is written when Python ends
        sys.exit(141)


def _print_json(value: Any) -> None:
    from adresponse.words import plain

    as_ascii = codecs.lookup(sys.stdout.encoding or "utf-8").name != "utf-8"  # JSON is UTF-8, or escapes what is beyond ASCII
    click.echo(json.dumps(plain(value), ensure_ascii=as_ascii, allow_nan=False, default=str))


def _nearest(error: UnicodeError) -> tuple[str, int]:
    """What is printed for characters that the encoding of the output has not."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(NEAREST.get(character, "?") for character in missing), error.end


def _sentence(error: AdresponseError) -> str:
    return " ".join(str(error).split())


def _refuse(error: AdresponseError) -> NoReturn:
    click.echo(f"adresponse: {_sentence(error)}", err=True)
    sys.exit(error.exit_code)


@contextmanager
def _progress(silent: bool) -> Iterator[Callable[[str], None]]:
    """A line on standard error that names the step under way, where a person watches."""
    if silent:
        yield lambda step: None
        return
    from rich.console import Console

    with Console(stderr=True).status("Starting") as status:
        yield lambda step: status.update(f"{step} ...")


@contextmanager
def _chatter(verbose: bool) -> Iterator[None]:
    """Keep the warnings and log lines of other libraries from the user, unless asked for."""
    import logging
    import warnings

    if verbose:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("mlflow", "alembic", "azure", "matplotlib", "psycopg", "skops"):
            logging.getLogger(name).setLevel(logging.ERROR)
        yield


def _example(*lines: str) -> str:
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=_example("adresponse run"),
)
@click.version_option(__version__, prog_name="adresponse")
def main() -> None:
    """From a table of marketing budgets and sales to a tracked, registered response model and a budget decision."""
    codecs.register_error("nearest", _nearest)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="nearest")


@main.command(cls=_Blankless, epilog=_example("adresponse run spend.csv --target Sales --channels TV,Radio"))
@_with(TABLE, FITTING)
@click.option("--name", help="The model's name in the registry. [default: <target>-response]")
@click.option("--out", metavar="DIR", help="Folder for the report. [default: adresponse-output]")
@click.option(
    "--verify/--no-verify",
    default=None,
    help="Try the model behind a local endpoint before it is registered. [default: verify]",
)
@_with(MANNERS)
@_telling
def run(table: str | None, manners: Manners, **given: Any) -> Told:
    """Take TABLE through the whole study, up to a registered version and a report.

    TABLE is a CSV, Parquet or Excel file or a database URL; without it, the built-in TV marketing table is taken.
    """
    from adresponse import lifecycle

    made = lifecycle.run(table, progress=manners.progress, verbose=manners.verbose, **given)
    return Told(made.to_dict(), lambda: console.print_run(made))


@main.command(cls=_Blankless, epilog=_example("adresponse check spend.csv --target Sales"))
@_with(TABLE, MANNERS)
@_telling
def check(table: str | None, manners: Manners, **given: Any) -> Told:
    """Check TABLE alone: is it fit to be fitted, and what should be known? Exit code 2 where it is not fit."""
    from adresponse import lifecycle
    from adresponse.checks import unfit

    manners.progress("Checking the table")
    read, findings = lifecycle.check(table, **given)
    about = {"source": read.source, "rows": len(read.frame), "digest": read.digest, **read.contract.to_dict()}
    return Told({**about, "findings": findings}, lambda: console.print_check(read, findings), unfit(findings))


@main.command(cls=_Blankless, epilog=_example("adresponse explore spend.csv --target Sales"))
@_with(TABLE, MANNERS)
@_telling
def explore(table: str | None, manners: Manners, **given: Any) -> Told:
    """Print TABLE's numbers, distributions and correlations, with the business questions answered."""
    from adresponse import lifecycle

    manners.progress("Exploring the table")
    read, profile = lifecycle.explore(table, **given)
    return Told(profile, lambda: console.print_profile(read.contract, profile))


@main.command(
    cls=_Blankless,
    epilog=_example("adresponse compare spend.csv --target Sales --config adresponse.yaml", "adresponse compare 3 4"),
)
@click.argument("what", nargs=-1, metavar="[TABLE | VERSION VERSION]")
@click.option("--model", metavar="NAME", help="The registered model that the versions are of. [default: the only one]")
@_with(TABLE[1:], FITTING, MANNERS)
@_telling
def compare(what: tuple[str, ...], model: str | None, manners: Manners, **given: Any) -> Told:
    """Compare the candidate models over the same folds of TABLE, or two registered versions over the same rows.

    Nothing is tracked. Two versions are scored afresh on the rows that neither has learnt from.
    """
    if len(what) > 2:
        raise ConfigError(f"compare takes a table, or two versions; {len(what)} were given.")
    if len(what) == 2:
        from adresponse import upkeep

        manners.progress("Scoring both versions")
        found = upkeep.compare_versions(what[0], what[1], model=model, config=given["config"])
        return Told(found, lambda: console.print_compared(found))
    from adresponse import lifecycle

    manners.progress("Comparing the candidates")
    _, board = lifecycle.compare(what[0] if what else None, **given)
    return Told(board, lambda: console.print_leaderboard(board))


MODEL_HELP = "models:/NAME@ALIAS, models:/NAME/VERSION or a folder. [default: the champion of the only model]"


@main.command(cls=_Blankless, epilog=_example("adresponse predict spend.csv -o scored.csv --interval 0.9"))
@click.argument("table")
@click.option("-o", "--output", required=True, metavar="FILE", help="CSV, Parquet, Excel, or a database URL with #table.")
@click.option("--model", metavar="MODEL", help=MODEL_HELP)
@click.option("--interval", type=float, metavar="SHARE", help="Add the ends between which this share of new rows lies: 0.9.")
@click.option("--contributions", is_flag=True, help="Add what is sold at no spend, and what each channel adds.")
@click.option(
    "--on-error", type=click.Choice(["fail", "skip"]), default="fail", show_default=True, help="A row that breaks the contract."
)
@click.option("--engine", type=click.Choice(["duckdb", "spark"]), default="duckdb", show_default=True, help="What computes.")
@click.option("--master", metavar="URL", help="Spark's master. [default: Spark on this machine]")
@click.option("--decimal", type=click.Choice([".", ","]), help="Decimal mark, where the numbers can be read either way.")
@click.option("--sheet", metavar="NAME", help="Sheet of an Excel file. [default: the first]")
@click.option("--query", metavar="SQL", help="Query, where TABLE is a database URL.")
@click.option("--sql-table", metavar="NAME", help="Table, where TABLE is a database URL.")
@click.option("--force", "overwrite", is_flag=True, help="Write over an output that is there.")
@_with(MANNERS)
@_telling
def predict(table: str, output: str, manners: Manners, **given: Any) -> Told:
    """Score TABLE, a file or a database, and write it with its predictions to FILE.

    All columns are passed through, in their order. Nothing is written where a row breaks the model's contract, unless
    such rows are left out with --on-error skip; a side file then holds them with the reasons.
    """
    from adresponse import deployment

    done = deployment.predict(table, output, progress=lambda share: manners.progress(console.bar("Scoring", share)), **given)
    return Told(done, lambda: console.print_predicted(done))


@main.command(
    cls=_Blankless,
    epilog=_example("adresponse plan --total 250 --bounds tv=50:200 --lock print", "adresponse plan --score my_plan.csv"),
)
@click.argument("model", required=False)
@click.option("--total", type=float, metavar="MONEY", help="Spend all of it, for the most sales.")
@click.option("--target-sales", type=float, metavar="SALES", help="Reach them with the least spend.")
@click.option("--margin", type=float, help="Profit on one unit of sales before marketing; alone: the highest profit.")
@click.option("--target-roi", type=float, help="The most sales of which each unit of spend brings so much on average.")
@click.option("--target-marginal-roi", type=float, help="Spend until one more unit brings no more than this.")
@click.option("--cap", type=float, metavar="MONEY", help="The most to spend, where the total is free.")
@click.option("--bounds", multiple=True, metavar="CHANNEL=LOW:HIGH", help="Between what a channel's amount lies.")
@click.option("--group", "groups", multiple=True, metavar="A+B=LOW:HIGH", help="Between what several channels lie together.")
@click.option("--lock", multiple=True, metavar="CHANNEL", help="A channel that keeps today's spend.")
@click.option("--horizon", type=click.IntRange(1), help="Periods to plan. [default: 13 where there are dates]")
@click.option("--market", metavar="NAME", help="The market to plan for. [default: an average one]")
@click.option("--beyond", is_flag=True, help="Allow amounts beyond the range seen.")
@click.option("--tail", is_flag=True, help="Count the sales that the spend still brings after the horizon.")
@click.option("--level", type=float, default=0.9, show_default=True, help="Level of the intervals.")
@click.option("--score", metavar="FILE", help="A plan of your own: a column for each channel, one row or one a period.")
@click.option("-o", "--out", metavar="FILE", help="Write the plan as a workbook (.xlsx) too.")
@_with(MANNERS)
@_telling
def plan(model: str | None, bounds: tuple[str, ...], groups: tuple[str, ...], manners: Manners, **given: Any) -> Told:
    """Split a budget over the channels of MODEL, or say what your own split brings.

    Amounts are for the whole horizon. Without a wish, today's total is split anew. Exit code 2 where the wish cannot be met.
    """
    from adresponse import deployment
    from adresponse.planning.wishes import bounds_from, groups_from

    manners.progress("Planning")
    made = deployment.plan(model or None, bounds=bounds_from(bounds), groups=groups_from(groups), **given)
    return Told(made.to_dict(), lambda: console.print_plan(made))


@main.command(cls=_Blankless, epilog=_example("adresponse serve models:/sales-response@champion --port 5001"))
@click.argument("model", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=5001, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one."
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes that answer.")
@click.option(
    "--engine",
    type=click.Choice(["adresponse", "mlflow"]),
    default="adresponse",
    show_default=True,
    help="Our server, or MLflow's.",
)
@click.option("--token-file", metavar="FILE", help="File with the token that callers have to send.")
@click.option("--allow-host", "allow_hosts", multiple=True, metavar="NAME", help="A further name to be reached by; * is any.")
@click.option("--allow-anyone", is_flag=True, help="Listen beyond this machine without a token.")
@click.option(
    "--beyond", type=click.Choice(["warn", "refuse"]), default="warn", show_default=True, help="Values beyond the range fitted."
)
@click.option("--timeout", default=30.0, show_default=True, type=click.FloatRange(0.1, 3600), help="Seconds for one request.")
@click.option("--max-body", default=8 << 20, show_default=True, type=click.IntRange(1024), help="Bytes of one request.")
@click.option("--max-waiting", default=256, show_default=True, type=click.IntRange(1), help="Requests under way at once.")
@click.option("--log", type=click.Choice(["requests", "errors"]), default="requests", show_default=True, help="What is logged.")
@click.option(
    "--poll", default=2.0, show_default=True, type=click.FloatRange(0.1, 3600), help="Seconds between looks at the alias."
)
def serve(model: str | None, **given: Any) -> None:
    """Serve MODEL over HTTP as MLflow does (/invocations), from its formula alone; stop it with Ctrl-C.

    MODEL is models:/NAME@ALIAS, models:/NAME/VERSION or the folder of a stored model; without it, the champion of the
    only registered model. When the alias moves, the new version takes over with no request lost.
    """
    from adresponse import deployment

    try:
        sys.exit(deployment.serve(model or None, **given))
    except AdresponseError as error:
        _refuse(error)


@main.command(cls=_Blankless, epilog=_example("adresponse verify models:/sales-response@champion --url http://127.0.0.1:5001"))
@click.argument("model", required=False)
@click.option("--url", help="A server that speaks MLflow's protocol. [default: a local endpoint, started for it]")
@click.option("--target", metavar="TARGET", help="A target of `mlflow deployments`: sagemaker:/eu-west-1.")
@click.option("--deployment", metavar="NAME", help="The deployment's name there.")
@CONFIG
@click.option("--token-file", metavar="FILE", help="File with the token that the server asks for.")
@_with(MANNERS)
@_telling
def verify(model: str | None, config: dict[str, str], manners: Manners, **given: Any) -> Told:
    """Ask a deployment of MODEL the held-out rows; exit code 1 where an answer, a score or the version differs."""
    from adresponse import deployment
    from adresponse.errors import DifferenceError

    found = deployment.verify(model or None, progress=manners.progress, config=config, **given)
    refusal = None if found.verification.passed else DifferenceError(found.verification.sentence)
    return Told(found, lambda: console.print_verified(found), refusal)


CHAMPION_HELP = "models:/NAME@champion or models:/NAME/VERSION. [default: the champion of the only model]"
ARRIVING: Options = [
    click.argument("table"),
    click.option("--model", metavar="MODEL", help=CHAMPION_HELP),
    click.option("--config", metavar="FILE", help="YAML file with settings; see `adresponse init`."),
    click.option("--out", metavar="DIR", help="Folder for the page or report. [default: adresponse-output]"),
    click.option("--decimal", type=click.Choice([".", ","]), help="Decimal mark, where the numbers can be read either way."),
    click.option("--sheet", metavar="NAME", help="Sheet of an Excel file. [default: the first]"),
    click.option("--query", metavar="SQL", help="Query, where TABLE is a database URL."),
    click.option("--sql-table", metavar="NAME", help="Table, where TABLE is a database URL."),
]
PATIENCE = click.option(
    "--patience",
    default=600.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds to wait for others at the model.",
)
CHALLENGE: Options = [
    click.option("--window", type=click.IntRange(1), help="Fit on this many of the last periods or rows. [default: all]"),
    click.option(
        "--mode", type=click.Choice(["off", "dry-run", "enforce"]), help="The gate against the champion. [default: enforce]"
    ),
    PATIENCE,
]
MOVING: Options = [
    click.option("--model", metavar="NAME", help="The registered model. [default: the only one]"),
    click.option("--why", default="", metavar="TEXT", help="The reason, for the history."),
    PATIENCE,
]


@main.command(cls=_Blankless, epilog=_example("adresponse watch new.csv --model models:/sales-response@champion"))
@_with(ARRIVING, MANNERS)
@_telling
def watch(table: str, manners: Manners, **given: Any) -> Told:
    """Hold the new rows of TABLE against the champion: keep it, fit it again, or stop?

    Exit code 0: keep. 10: retrain. 20: stop, the data is not fit to be scored.
    """
    from adresponse import upkeep

    found = upkeep.watch(table, progress=manners.progress, **given)
    return Told(_shown(found), lambda: console.print_watched(found), exit_code=found.exit_code)


@main.command(cls=_Blankless, epilog=_example("adresponse retrain new.csv --mode dry-run"))
@_with(ARRIVING, CHALLENGE, MANNERS)
@_telling
def retrain(table: str, manners: Manners, **given: Any) -> Told:
    """Fit a challenger on old rows and those of TABLE, and promote it if it passes the gate.

    Exit code 0: promoted, or nothing new. 10: the challenger was not promoted. 20: the data is not fit to be scored.
    """
    from adresponse import upkeep

    done = upkeep.retrain(table, progress=manners.progress, **given)
    return Told(_shown(done), lambda: console.print_refreshed(done), exit_code=done.exit_code)


@main.command(cls=_Blankless, epilog=_example("adresponse refresh new.csv --quiet --json >> refresh.log"))
@_with(ARRIVING, CHALLENGE, MANNERS)
@_telling
def refresh(table: str, manners: Manners, **given: Any) -> Told:
    """Watch the new rows of TABLE, then retrain and promote if the verdict says so: the one line for cron.

    Exit code 0: the champion is kept, or a new one promoted. 10: a new one was needed and none passed the gate. 20: the
    data is not fit to be scored. The same file twice changes nothing.
    """
    from adresponse import upkeep

    done = upkeep.refresh(table, progress=manners.progress, **given)
    return Told(_shown(done), lambda: console.print_refreshed(done), exit_code=done.exit_code)


def _shown(found: Any) -> Any:
    """A result with its exit code, for JSON."""
    return {**vars(found), "exit_code": found.exit_code}


@main.command(cls=_Blankless, epilog=_example("adresponse promote 4 --why 'agreed with the team'"))
@click.argument("version")
@click.option("--force", is_flag=True, help="Promote a version that the gate rejected; needs --why.")
@_with(MOVING, MANNERS)
@_telling
def promote(version: str, manners: Manners, **given: Any) -> Told:
    """Make VERSION champion: verified before and after, put back where anything fails, and kept in the history."""
    from adresponse import upkeep

    done = upkeep.promote(version, progress=manners.progress, **given)
    return Told(done, lambda: console.print_promoted(done))


@main.command(cls=_Blankless, epilog=_example("adresponse rollback --why 'sales fell'"))
@_with(MOVING, MANNERS)
@_telling
def rollback(manners: Manners, **given: Any) -> Told:
    """Make the version champion again that was it before; a second rollback goes one further back."""
    from adresponse import upkeep

    done = upkeep.rollback(progress=manners.progress, **given)
    return Told(done, lambda: console.print_promoted(done))


@main.command(cls=_Blankless, epilog=_example("adresponse history --json"))
@click.option("--model", metavar="NAME", help="The registered model. [default: the only one]")
@_with(MANNERS)
@_telling
def history(model: str | None, manners: Manners) -> Told:
    """Print all that happened to a model: who moved the champion, when, from where to where, and why."""
    from adresponse import upkeep

    manners.progress("Reading the history")
    events = upkeep.history(model=model)
    return Told(events, lambda: console.print_history(events))


@main.command(cls=_Blankless, epilog=_example("adresponse delete 2 --why 'fitted on a wrong file'"))
@click.argument("version")
@click.option("--force", is_flag=True, help="Delete it though `rollback` would go to it.")
@_with(MOVING, MANNERS)
@_telling
def delete(version: str, manners: Manners, **given: Any) -> Told:
    """Delete VERSION, unless an alias or a known deployment uses it."""
    from adresponse import upkeep

    event = upkeep.delete_version(version, progress=manners.progress, **given)
    return Told(event, lambda: console.print_history([event]))


ENDPOINT: Options = [
    click.argument("model", required=False),
    click.option("--name", required=True, help="Name of the endpoint."),
    CONFIG,
    click.option(
        "--action", type=click.Choice(["create", "update", "status", "delete"]), default="create", show_default=True,
        help="What to do with it.",
    ),
    click.option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing."),
]  # fmt: skip


@main.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_example("adresponse deploy image --dry-run"))
def deploy() -> None:
    """Put a stored model to work elsewhere: a container image, SageMaker, Azure ML."""


@deploy.command(cls=_Blankless, epilog=_example("adresponse deploy image models:/sales-response@champion --out image"))
@click.argument("model", required=False)
@click.option("--out", default="adresponse-image", show_default=True, metavar="DIR", help="Folder of the build context.")
@CONFIG
@click.option("--force", is_flag=True, help="Write over a build context that is there.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@_with(MANNERS)
@_telling
def image(model: str | None, config: dict[str, str], manners: Manners, **given: Any) -> Told:
    """Write a build context for a small container image that serves MODEL: Dockerfile, model, pinned requirements.

    Settings: port (8080), and token_file, where in the container a token will lie.
    """
    return _deployed("image", model, config, manners, **given)


@deploy.command(
    cls=_Blankless,
    epilog=_example("adresponse deploy sagemaker --name sales --region eu-west-1 -C image_url=URL -C bucket=NAME --dry-run"),
)
@click.option("--region", required=True, help="AWS region.")
@_with(ENDPOINT, MANNERS)
@_telling
def sagemaker(model: str | None, config: dict[str, str], manners: Manners, **given: Any) -> Told:
    """Deploy MODEL to an endpoint of Amazon SageMaker, through MLflow; needs the extra adresponse[sagemaker]."""
    return _deployed("sagemaker", model, config, manners, **given)


@deploy.command(
    cls=_Blankless,
    epilog=_example("adresponse deploy azureml --name sales -C subscription_id=ID -C resource_group=RG -C workspace_name=WS"),
)
@_with(ENDPOINT, MANNERS)
@_telling
def azureml(model: str | None, config: dict[str, str], manners: Manners, **given: Any) -> Told:
    """Deploy MODEL to a managed online endpoint of Azure Machine Learning; needs the extra adresponse[azureml]."""
    return _deployed("azureml", model, config, manners, **given)


def _deployed(target: Any, model: str | None, config: dict[str, str], manners: Manners, **given: Any) -> Told:
    from adresponse import deployment

    manners.progress("Deploying")
    done = deployment.deploy(target, model or None, config=config, **given)
    return Told(done if done is not None else {"deleted": given["name"]}, lambda: console.print_deployed(done))


@main.command(cls=_Blankless, epilog=_example("adresponse ui --port 5000"))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
def ui(host: str, port: int) -> None:
    """Open the MLflow UI on the same store; stop it with Ctrl-C."""
    from adresponse import lifecycle

    click.echo(
        f"In some seconds the MLflow UI will be at http://{host}:{port} (choose 'Model training' at its top left); "
        "Ctrl-C stops it.",
        err=True,
    )
    try:
        sys.exit(lifecycle.ui(host, port))
    except AdresponseError as error:
        _refuse(error)


@main.command(cls=_Blankless, epilog=_example("adresponse doctor"))
@_with(MANNERS)
@_telling
def doctor(manners: Manners) -> Told:
    """Print versions, the store in use, and which optional parts are there."""
    from adresponse import lifecycle

    manners.progress("Looking around")
    found = lifecycle.doctor()
    return Told(found, lambda: console.print_doctor(found))


@main.command(cls=_Blankless, epilog=_example("adresponse init", "adresponse run spend.csv --config adresponse.yaml"))
@click.argument("path", default="adresponse.yaml", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def init(path: Path, force: bool) -> None:
    """Write a commented config file to PATH (adresponse.yaml)."""
    from adresponse.settings import CONFIG_TEMPLATE

    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(CONFIG_TEMPLATE)
    except FileExistsError:
        click.echo(f"adresponse: {str(path)!r} is there already; name another file, or give --force.", err=True)
        sys.exit(2)
    except OSError as error:
        click.echo(f"adresponse: {str(path)!r} cannot be written: {error.strerror}.", err=True)
        sys.exit(2)
    click.echo(f"Wrote {path}")
