"""Which reference pages follow from the code? Writes docs/reference/commands.md and docs/reference/settings.md.

python docs/generate.py

The first comes from the commands' own help, the second from the fields of ``Settings`` and the config file of
``adresponse init``. ``tests/test_docs.py`` holds both pages against what this makes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from adresponse.cli import main
from adresponse.settings import CONFIG_TEMPLATE, Settings

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Made by docs/generate.py; change the code, then run it again. -->"
WIDTH = 100

COMMANDS = f"""\
{NOTE}

# Commands

What `adresponse COMMAND --help` prints, for every command.

- Exit code 0: the command did what it was asked. A version that the gate rejected is such a result, not an error.
- Exit code 2: a refusal. One sentence on standard error names the thing, the rule and the value; nothing was written, or the
  run in MLflow is marked `FAILED` and has no version. `adresponse check` also leaves with 2 where the table is not fit.
  With `--verbose` the whole trace is shown instead.
- Exit code 1: `adresponse verify` found a difference.
- Exit codes 10 and 20: what `adresponse watch`, `retrain` and `refresh` found, as their help says.
- `adresponse doctor` ends with 0 whatever it found; a script reads the severities in what `adresponse doctor --json` prints.
- Exit code 130: stopped by Ctrl-C. 143: ended by SIGTERM, as `kill` does. 141: nobody read what it printed to the end, as in
  `adresponse history | head -1`. After each of them the command can be run again.
- `--json` prints one JSON object on standard output and nothing else there; a refusal is then
  `{{"error": {{"type": ..., "message": ...}}}}`. What is not finite or not known is `null`.
- A blank value counts as not given: `--target ''` is no target, `--channels 'TV,'` is one channel. MLflow Projects pass every
  parameter in this way.
- Settings without an option of their own are given in a [config file](settings.md) with `--config`.

`run`, `check`, `explore`, `compare`, `predict`, `plan`, `serve`, `verify`, `deploy`, `watch`, `retrain`, `refresh`, `promote`,
`rollback`, `history` and `doctor` are functions of the package too, with the same words; `delete` is `delete_version`, and
`compare` of two versions is `compare_versions`: `adresponse run spend.csv --target Sales --channels TV,Radio` is
`adresponse.run("spend.csv", target="Sales", channels=["TV", "Radio"])`.
"""

SETTINGS = f"""\
{NOTE}

# Settings

Every choice of a study, with its default. A setting is given in one of three places:

- on the command line, where it has an option (`--test-size 0.3`)
- in a YAML file, `--config adresponse.yaml`; `adresponse init` writes one with every line commented out
- in Python, as an argument of `run`, `fit`, `check`, `explore` and `compare` (`test_size=0.3`)

The command line and the arguments win over the file. A key or a value that is not known is refused in one sentence, with the
nearest known name.

"""

ENVIRONMENT = """
## The environment

| variable | meaning |
|---|---|
| `MLFLOW_TRACKING_URI` | The MLflow store: a server, a database or a file. Without it, `mlflow.db` in the current folder. |

Other variables of MLflow (`MLFLOW_TRACKING_TOKEN`, `MLFLOW_HTTP_REQUEST_MAX_RETRIES`, ...) are MLflow's own, and are left as
they are set; where they are not, adresponse talks to MLflow without telemetry and gives up after two retries.

## The config file

What `adresponse init` writes:
"""

UNSAID = {  # settings that neither an option nor the config file explains by itself
    "columns": "What each column means and its unit, `{NAME: {means, unit}}`; the report, the plots and MLflow use it.",
    "origin": "Where the table comes from, in words.",
    "folds": "Folds of the cross-validation.",
    "repeats": "How often they are drawn anew; once with a date, or beyond 50,000 rows.",
    "season": "With a shape and a date: so many waves of the year; without it what the length of the table allows.",
    "sizes": "With a shape and markets: how large each market is; `auto` takes the likelier of `equal` and `sales`.",
    "weekdays": "With a shape and a daily table of eight weeks and more: a level for each day of the week.",
    "watch": "How strictly new rows are looked at: the [rules of a watch](../how-to/watch.md#set-the-rules).",
    "promotion": "When a challenger takes the champion's place: its [rules](../how-to/refresh.md#set-the-rules).",
}


def commands() -> str:
    """The page of all commands: their help, in the order of ``adresponse --help``."""
    parts = [COMMANDS, _section("adresponse", main)]
    for name, command in sorted(main.commands.items()):
        parts.append(_section(f"adresponse {name}", command))
        parts += [_section(f"adresponse {name} {n}", c) for n, c in sorted(getattr(command, "commands", {}).items())]
    return "\n".join(parts)


def _section(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name, terminal_width=WIDTH, **main.context_settings)
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    return f"## {name}\n\n```text\n{text}\n```\n"


def settings() -> str:
    """The page of all settings: name, what it may be, default, option, meaning; then the config file."""
    rows = ["| setting | value | default | option | meaning |", "|---|---|---|---|---|"]
    rows += [f"| {' | '.join(_row(name, field))} |" for name, field in Settings.model_fields.items()]
    return f"{SETTINGS}{chr(10).join(rows)}\n{ENVIRONMENT}\n```yaml\n{CONFIG_TEMPLATE}```\n"


def _row(name: str, field: FieldInfo) -> Iterator[str]:
    option = _options().get(name)
    yield f"`{name}`"
    yield _value(field)
    yield _default(field)
    yield f"`{option.opts[0]}`" if option else ""
    yield UNSAID.get(name) or _meaning(option.help if option else "") or _comment(name)


def _options() -> dict[str, click.Option]:
    return {str(p.name): p for p in main.commands["run"].params if isinstance(p, click.Option)}


def _value(field: FieldInfo) -> str:
    kind = field.annotation
    kinds = [k for k in (get_args(kind) or (kind,)) if k not in (type(None), ...)]
    if literal := next((k for k in (kind, *kinds) if get_origin(k) is Literal), None):
        return " or ".join(f"`{v}`" for v in get_args(literal))
    if "dict" in str(field.annotation):
        return "mapping, or list of `tv=1.4:0.3`" if "float" in str(field.annotation) else "mapping"
    if "tuple" in str(field.annotation):
        return "list of names"
    names = {"str": "text", "int": "whole number", "float": "number", "Path": "folder", "bool": "`true` or `false`"}
    return names[kinds[0].__name__] + _limits(field.metadata)


def _limits(metadata: list[Any]) -> str:
    words = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}
    found = [text.format(f"{getattr(m, k):,}") for m in metadata for k, text in words.items() if hasattr(m, k)]
    return f", {' '.join(found)}" if found else ""


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None or value in ((), {}, ""):
        return ""
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return f"`{text}`"


def _meaning(help_text: str | None) -> str:
    text = re.sub(r"\s*\[default: (.*?)\]", lambda m: _unless_known(m[1]), help_text or "")
    return text.replace("<", "&lt;").replace(">", "&gt;").replace("|", r"\|")


def _unless_known(default: str) -> str:
    """A default that the table's own column cannot show."""
    return f" Without it: {default}." if default.startswith(("<", "the ")) else ""


def _comment(name: str) -> str:
    """What the config file says beside the setting, as a sentence."""
    match = re.search(rf"^# {name}: [^#\n]*# (.+)$", CONFIG_TEMPLATE, re.MULTILINE)
    return "" if match is None else f"{match[1][:1].upper()}{match[1][1:]}."


def pages() -> dict[Path, str]:
    """Each page that is made here, and what it should hold."""
    return {REFERENCE / "commands.md": commands(), REFERENCE / "settings.md": settings()}


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
