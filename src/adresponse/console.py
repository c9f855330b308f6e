"""How does a person see in a terminal what a command found?"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from adresponse.deployment import Planned, Verified
    from adresponse.engines.scored import Scored
    from adresponse.findings import Finding
    from adresponse.journal import Event
    from adresponse.lifecycle import Run
    from adresponse.promotion import Promoted
    from adresponse.table import AdTable
    from adresponse.upkeep import Compared, Refreshed, Watched

__all__ = [
    "bar",
    "print_check",
    "print_compared",
    "print_deployed",
    "print_doctor",
    "print_history",
    "print_leaderboard",
    "print_plan",
    "print_predicted",
    "print_profile",
    "print_promoted",
    "print_refreshed",
    "print_run",
    "print_verified",
    "print_watched",
]

MARKS = {"✓": "[green]✓[/]", "✗": "[bold red]✗[/]", "–": "[dim]–[/]"}
SAID_ALOUD = ("D013", "D014", "D015", "D016", "D017")  # what reading decided for the user

WIDEST = 10_000  # columns of text: more than a table of figures ever takes


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, emoji=False, soft_wrap=not sys.stdout.isatty())  # a name may hold :tv:


def _print_table(console: Console, table: Table, words: Collection[int] = ()) -> None:
    """A table that cuts nothing: columns at ``words`` fold, the others stay whole, be it wider than the terminal."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.text import Text

    for i, column in enumerate(table.columns):
        column.overflow = "fold"
        if i not in words:
            column.no_wrap = True
            column.min_width = max(Text.from_markup(str(text), emoji=False).cell_len for text in (column.header, *column.cells))
    needed = Measurement.get(console, console.options.update(width=WIDEST), table).minimum
    Console(highlight=False, emoji=False, width=max(needed, console.width)).print(table, crop=False)


def _safe(text: object) -> str:
    from rich.markup import escape

    return escape(str(text))


def _roles(contract: Any) -> str:
    parts = [f"target {contract.target}", f"channels {', '.join(contract.channels)}"]
    parts += [f"controls {', '.join(contract.controls)}"] if contract.controls else []
    parts += [f"{role} {name}" for role, name in (("date", contract.date), ("market", contract.market)) if name]
    return _safe("; ".join(parts))


def print_check(read: AdTable, findings: Sequence[Finding]) -> None:
    from adresponse.words import count

    console = _console()
    console.print(f"[bold]{_safe(read.source)}[/]: {count(len(read.frame), 'row')}, {_roles(read.contract)}")
    _print_findings(console, findings)


def print_doctor(found: dict[str, Any]) -> None:
    console = _console()
    console.print(f"Python {found['python']}")
    for package, version in found["packages"].items():
        console.print(f"  {package:<14}{version}")
    console.print(f"Store {_safe(found['store']['uri'])}\n  {_safe(found['store']['state'])}")
    if found["registry"]:
        _print_findings(console, found["registry"])
        console.print()
    console.print("Optional parts")
    for part, there in found["optional"].items():
        console.print(f"  {part:<32}{'there' if there else 'not there'}")


def print_run(made: Run) -> None:
    from adresponse.words import number

    console, study = _console(), made.study
    evaluation = study.evaluation
    console.print(f"\n[bold]{_safe(study.table.source)}[/]: {len(study.table.frame):,} rows, {_roles(study.table.contract)}")
    if study.linear:
        console.print(f"  {_safe(study.linear.formula)}")
    console.print(f"\n[bold]How good[/] ({evaluation.basis}, {evaluation.rows:,} rows; 95 % interval)")
    for name in ("mae", "rmse", "mape", "r2"):
        console.print(_score_line(next(s for s in evaluation.scores if s.name == name)))
    if evaluation.r2_within is not None:
        console.print(f"  within{number(evaluation.r2_within, 3):>8}  (R² off the mean of each market)")
    console.print(f"\n[bold]Comparison[/]\n  {_safe(study.leaderboard.sentence)}\n  {_safe(study.leaderboard.tuning_sentence)}")
    said = [f for f in made.findings if f.severity != "note" or f.code in SAID_ALOUD]
    _print_findings(console, said or made.findings)
    console.print(f"\n[bold]What to do[/]\n  {_safe(study.recommendation.headline)}")
    for sentence in study.recommendation.sentences:
        console.print(f"  {_safe(sentence)}")
    champion = ", champion" if made.champion else ""
    console.print(
        f"\n[bold]{_safe(made.model_name)} version {made.version}[/]: {made.status}{champion}. {_safe(study.gate.sentence)}"
    )
    if made.verification:
        console.print(f"  {_safe(made.verification.sentence)}")
    console.print(f"  Report   {_safe(made.report)}")
    console.print(f"  Store    {_safe(made.store)}")
    page = f"/#/experiments/{made.experiment_id}?workflowType=machine_learning"  # else MLflow opens in its GenAI view
    if made.store.startswith("http"):
        console.print(f"  Look     {_safe(made.store.rstrip('/'))}{page}")
    else:
        console.print(f"  Look     adresponse ui, then http://127.0.0.1:5000{page}")


def _score_line(score: Any) -> str:
    from adresponse.words import number

    label = {"r2": "R²"}.get(score.name, score.name.upper())
    if score.value is None:
        return f"  {label:<5} not given: {_safe(score.reason)}"
    unit = f" {_safe(score.unit)}" if score.unit else ""
    why = f"  {_safe(score.sentence)}" if score.name == "r2" and score.value < 0 else ""
    return f"  {label:<5}{number(score.value, 3):>9}{unit}  ({number(score.low, 3)} to {number(score.high, 3)}){why}"


def _print_findings(console: Console, findings: Sequence[Finding]) -> None:
    marks = {"stop": "[bold red]stop[/]  ", "review": "[yellow]review[/]", "note": "[dim]note[/]  "}
    console.print("\n[bold]Findings[/]" if findings else "\nNo findings.")
    for finding in findings:
        console.print(f"  {marks[finding.severity]} {finding.code}  {_safe(finding.message)} {_safe(finding.advice)}")


def bar(step: str, share: float) -> str:
    """A step with a bar that is as full as the share done."""
    full = round(24 * min(max(share, 0.0), 1.0))
    return f"{step} {'━' * full}{'─' * (24 - full)} {share:.0%}"


def print_predicted(done: Scored) -> None:
    from adresponse.words import count, number

    console = _console()
    console.print(f"{count(done.rows, 'row')} scored: {_safe(done.output)}")
    if done.skipped:
        where = "in its column error" if done.rejected is None else _safe(done.rejected)
        console.print(f"{count(done.skipped, 'row')} left out, with the reasons: {where}")
    for name, beyond in done.beyond.items():
        least, most = (end if isinstance(end, str) else number(end) for end in (beyond.lowest, beyond.highest))
        console.print(
            f"[yellow]review[/] {_safe(name)} lies beyond the range fitted in {count(beyond.rows, 'row')} "
            f"({least} to {most} given): nothing is known there."
        )
    if done.findings:
        _print_findings(console, done.findings)


def print_verified(found: Verified) -> None:
    from rich.table import Table

    console = _console()
    console.print(f"[bold]{_safe(found.name)} version {_safe(found.version)}[/]: {_safe(found.verification.sentence)}")
    rows = Table("", "compared", "evaluated", "answered", box=None, pad_edge=False)
    for check in found.verification.checks:
        rows.add_row(MARKS[check.mark], _safe(check.name), _safe(check.expected), _safe(check.found))
    _print_table(console, rows, words=(1, 2, 3))


def print_deployed(done: Any) -> None:
    """A build context with its commands, an endpoint's state, or the steps that would be taken."""
    import json

    console = _console()
    if done is None:
        console.print("Deleted.")
    elif hasattr(done, "steps"):
        console.print(f"[bold]{_safe(done.sentence)}[/] Nothing was sent or written.")
        for number, step in enumerate(done.steps, 1):
            console.print(f"\n{number}. {_safe(step.does)} [dim]({_safe(step.call)})[/]")
            if step.sends:
                console.print(_safe(json.dumps(step.sends, indent=2, ensure_ascii=False, default=str)), soft_wrap=True)
    elif hasattr(done, "commands"):
        console.print(f"Wrote {_safe(done.folder)}. Then:")
        for line in done.commands:
            console.print(f"  {_safe(line)}", soft_wrap=True)
    else:
        for key, value in vars(done).items():
            console.print(f"{key:<10} {_safe(value)}")


def print_profile(contract: Any, profile: Any) -> None:
    from rich.table import Table

    from adresponse.words import number

    console = _console()
    shown = ("count", "mean", "std", "lowest", "q1", "median", "q3", "highest", "total")
    figures = Table("column", *shown, box=None, pad_edge=False)
    for column in figures.columns[1:]:
        column.justify = "right"
    for numbers in profile.numbers:
        figures.add_row(_safe(contract.label(numbers.name)), *(number(getattr(numbers, n)) for n in shown))
    _print_table(console, figures, words=(0,))
    console.print()
    for sentence in [n.sentence for n in profile.numbers] + [c.sentence for c in profile.correlations]:
        console.print(_safe(sentence))
    if profile.much_spent_little_sold:
        console.print("\n[bold]Much spent, little sold[/]")
        for odd in profile.much_spent_little_sold:
            values = ", ".join(f"{k} {number(v)}" for k, v in odd.values.items())
            console.print(f"  row {odd.row}: {_safe(values)}; the line expects {number(odd.expected)}")
    for answer in profile.answers:
        console.print(f"\n[bold]{_safe(answer.question)}[/]\n  {_safe(answer.sentence)}")


def print_leaderboard(board: Any) -> None:
    from rich.table import Table

    from adresponse.words import number

    console = _console()
    rows = Table("", "candidate", "what it is", "MAE", "RMSE", "R²", "against the default", box=None, pad_edge=False)
    for row in board.rows:
        scores = (number(v, 4) for v in (row.mae, row.rmse, row.r2))
        rows.add_row("*" if row.chosen else "", _safe(row.name), _safe(row.title), *scores, _safe(row.verdict))
    _print_table(console, rows, words=(1, 2, 6))
    console.print(f"\n{_safe(board.sentence)}\n{_safe(board.tuning_sentence)}")


VERDICTS = {"keep": "green", "retrain": "yellow", "stop": "bold red"}


def print_watched(found: Watched) -> None:
    """The verdict with its reasons, the columns, the tests and where the page lies."""
    console = _console()
    _print_watch(console, found)
    console.print(f"\n  Page     {_safe(found.report)}\n  Run      {_safe(found.run_id)}")
    if found.repeated:
        console.print("  The same file was watched before; nothing new was tracked.")


def _print_watch(console: Console, found: Watched) -> None:
    from rich.table import Table

    from adresponse.words import number

    watch = found.watch
    said, _, why = watch.sentence.partition(":")
    verdict = f"[{VERDICTS[found.verdict]}]{said.lower()}[/]"
    console.print(f"[bold]{_safe(found.name)} version {_safe(found.version)}[/], {verdict}:{_safe(why)}")
    for reason in watch.reasons[1:]:  # the sentence has the first
        console.print(f"  {_safe(reason)}")
    if watch.columns:
        rows = Table("column", "rows before", "now", "KS", "p (Holm)", "PSI", "moved by", "", box=None, pad_edge=False)
        for column in rows.columns[1:7]:
            column.justify = "right"
        for c in watch.columns:
            figures = (number(v, 3) for v in (c.ks, c.p_adjusted, c.psi, c.wasserstein))
            rows.add_row(_safe(c.name), f"{c.rows_before:,}", f"{c.rows_now:,}", *figures, _safe(c.status))
        console.print()
        _print_table(console, rows, words=(0, 7))
    if watch.tests:
        console.print("\n[bold]Does the model still hold[/]")
        for test in watch.tests:
            console.print(f"  {'[yellow]![/]' if test.found else '[green]✓[/]'} {_safe(test.sentence)}")
    _print_findings(console, watch.findings)


def print_refreshed(done: Refreshed) -> None:
    """What a refresh did, rule by rule where a challenger was held against the champion."""
    console = _console()
    if done.watched is not None:
        _print_watch(console, done.watched)
        console.print()
    if done.contest is not None:
        console.print("[bold]Challenger against champion[/], on the same unseen rows")
        for rule in done.contest.rules:
            console.print(f"  {'[green]✓[/]' if rule.passed else '[bold red]✗[/]'} {_safe(rule.rule)}: {_safe(rule.found)}")
        console.print()
    console.print(f"[bold]{_safe(done.name)}[/]: {_safe(done.sentence)} Champion is version {_safe(done.champion)}.")
    if done.report:
        console.print(f"  Report   {_safe(done.report)}")


def print_promoted(done: Promoted) -> None:
    """Where champion is now, and what was found on the way."""
    console = _console()
    for event in done.settled:
        console.print(
            f"[yellow]review[/] Event {event.sequence}, {event.kind}: {event.state}. {_safe(event.outcome or event.why)}"
        )
    for sentence in done.skipped:
        console.print(f"[yellow]review[/] {_safe(sentence)}")
    if done.changed:
        before = f"version {done.source}" if done.source else "none"
        console.print(f"[bold]{_safe(done.name)}[/]: champion is version {done.target}; it was {before}.")
    else:
        console.print(f"[bold]{_safe(done.name)}[/]: version {done.target} is champion already; nothing was changed.")


def print_history(events: Sequence[Event]) -> None:
    """One line an event, the earliest first."""
    from rich.table import Table

    console = _console()
    if not events:
        console.print("Nothing has happened yet.")
        return
    rows = Table("", "when (UTC)", "what", "from", "to", "who", "why", box=None, pad_edge=False)
    for e in events:
        what = e.kind if e.state == "done" else f"{e.kind}, {e.state}"
        why = f"{e.why} {e.outcome}".strip()
        when = e.when.replace("T", " ").rstrip("Z")
        rows.add_row(str(e.sequence), when, what, e.source, e.target, _safe(e.who), _safe(why))
    _print_table(console, rows, words=(5, 6))


def print_compared(found: Compared) -> None:
    """Two versions beside each other, and what the rules say of the second."""
    from adresponse.words import count, number

    console = _console()
    console.print(
        f"[bold]{_safe(found.name)}[/]: version {found.b} against version {found.a}, "
        f"on {count(found.rows, 'row')} that neither has learnt from"
    )
    for rule in found.contest.rules:
        console.print(f"  {'[green]✓[/]' if rule.passed else '[bold red]✗[/]'} {_safe(rule.rule)}: {_safe(rule.found)}")
    console.print(f"  {_safe(found.contest.sentence)}")
    for name, (a, b) in found.coefficients.items():
        console.print(f"  {_safe(name)}: one more unit brings {number(a, 4)} (version {found.a}), {number(b, 4)} ({found.b})")
    for key, (before, now) in found.settings.items():
        console.print(f"  {_safe(key)}: {_safe(before)} (version {found.a}), {_safe(now)} ({found.b})")


def print_plan(made: Planned) -> None:
    """The plan in a sentence, channel by channel, what binds, and what to bear in mind."""
    from rich.table import Table

    from adresponse.words import number

    plan, console = made.plan, _console()
    when = f", {made.dates[0][:10]} to {made.dates[-1][:10]}" if made.dates else ""
    where = f", {_safe(made.market)}" if made.market is not None else ""
    console.print(f"[bold]{_safe(made.name)} version {_safe(made.version)}[/]{where}{when}: {_safe(plan.sentence)}\n")
    rows = Table("channel", "today", "plan", "change", "brings", "per unit", "one more unit", box=None, pad_edge=False)
    for column in rows.columns[1:]:
        column.justify = "right"
    for c in plan.channels:
        marginal = number(c.marginal, 3)
        if c.marginal_low is not None and c.marginal_high is not None:
            marginal += f" ({number(c.marginal_low, 3)} to {number(c.marginal_high, 3)})"
        figures = (number(v, 4) for v in (c.today, c.spend, c.change, c.sales))
        rows.add_row(_safe(c.channel), *figures, number(c.roi, 3), marginal)
    _print_table(console, rows, words=(0,))
    for title, found in (("What binds", plan.binding), ("Beyond the range seen", plan.extrapolates)):
        if found:
            console.print(f"\n[bold]{title}[/]")
            for one in found:
                console.print(f"  {_safe(one.sentence)}")
    curved = [r for r, c in zip(made.returns, plan.channels, strict=True) if not c.straight]
    told = [t for r in curved for t in (r.pays_until, r.break_even, r.saturation) if t is not None and t.spend is not None]
    if told:
        console.print("\n[bold]Where it stops paying[/]")
        for threshold in told:
            console.print(f"  {_safe(threshold.sentence)}")
    if plan.notes:
        console.print("\n[bold]To bear in mind[/]")
        for note in plan.notes:
            console.print(f"  {_safe(note)}")
    if made.workbook:
        console.print(f"\n  Workbook {_safe(made.workbook)}")
