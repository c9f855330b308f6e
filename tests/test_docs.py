"""Do the docs say what the program does: commands, options, settings, output, links?"""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

import adresponse
from adresponse.cli import main
from adresponse.settings import Settings

ROOT = Path(__file__).parent.parent
TUTORIAL = ROOT / "docs" / "tutorial" / "tv-marketing.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
STOPS = {"&&", "&", "|", "||", ";", ">"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path, language: str) -> Iterator[str]:
    yield from re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def lines(page: Path, program: str) -> Iterator[list[str]]:
    """The words after ``program`` of every call of it in the page's shell blocks."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            for words in calls(line):
                if words[:1] == [program]:
                    yield words[1:]


def calls(line: str) -> Iterator[list[str]]:
    """The calls of a line, without variables set before them and without comments."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in (*lexer, ";"):
        if word in STOPS:
            yield words
            words = []
        elif words or not re.fullmatch(r"[A-Z_]+=.*", word):
            words.append(word)


def script(path: str):  # type: ignore[no-untyped-def]
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / "docs" / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["commands.md", "settings.md"])
def test_reference_pages_are_what_the_code_makes(page: str) -> None:
    made = {path.name: text for path, text in script("generate.py").pages().items()}
    found = (ROOT / "docs" / "reference" / page).read_text("utf-8")
    assert found == made[page], f"run `python docs/generate.py`; {page} is not up to date"


def test_every_setting_has_a_meaning() -> None:
    rows = [line for line in script("generate.py").settings().splitlines() if line.startswith("| `")]
    shown = [row.split("|")[1].strip(" `") for row in rows if not row.startswith("| `MLFLOW")]
    assert shown == [*Settings.model_fields]
    assert all(row.rstrip(" |").split("|")[-1].strip() for row in rows)


def test_meanings_of_settings_are_sentences_and_a_list_of_lifts_holds_no_names() -> None:
    rows = {row.split("`")[1]: row for row in script("generate.py").settings().splitlines() if row.startswith("| `")}
    assert not [name for name, row in rows.items() if re.search(r"\| (And|Or) ", row)]
    assert "list of names" not in rows["lifts"]


def test_the_page_of_commands_names_every_function_that_is_one_too() -> None:
    opening = script("generate.py").commands().partition("\n## ")[0]
    of_python_alone = {"fit", "load", "read", "read_builtin"}
    assert [
        f for f in adresponse.__all__ if f.islower() and f[0] != "_" and f not in of_python_alone and f"`{f}`" not in opening
    ] == []


def test_readme_names_every_command_and_no_other() -> None:
    named = re.findall(r"^\| `adresponse (\w+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(main.commands)


def test_readme_gives_the_two_lines_that_set_up() -> None:
    shell = "".join(blocks(ROOT / "README.md", "sh")).splitlines()
    assert "pip install -c constraints.txt . && adresponse run" in shell
    assert 'pip install -c constraints.txt ".[test]" && python -m pytest' in shell


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target.partition("#")[0]).exists(), f"{name(page)}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_line_can_be_parsed(page: Path) -> None:
    for words in lines(page, "adresponse"):
        command = main.commands.get(words[0]) if words else None
        try:
            (command or main).make_context("adresponse", words[1:] if command else words)
        except click.exceptions.Exit:  # --help
            pass
        except click.UsageError as error:
            pytest.fail(f"{name(page)}: adresponse {' '.join(words)}: {error.message}")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_project_line_names_what_is_there(page: Path) -> None:
    for words in lines(page, "mlflow"):
        if words[0] != "run":
            continue
        entries = yaml.safe_load((ROOT / words[1] / "MLproject").read_text())["entry_points"]
        entry = entries[words[words.index("-e") + 1]] if "-e" in words else entries["main"]
        given = {words[i + 1].partition("=")[0] for i, word in enumerate(words) if word == "-P"}
        assert given <= set(entry.get("parameters", {})), f"{name(page)}: mlflow {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_config_is_taken(page: Path) -> None:
    for block in blocks(page, "yaml"):
        Settings(**(yaml.safe_load(block) or {}))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_blocks_are_python_and_use_what_the_package_offers(page: Path) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "adresponse":
                assert node.attr in adresponse.__all__, f"{name(page)}: adresponse.{node.attr}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_page_names_a_place_of_one_machine(page: Path) -> None:
    assert not re.search(r"/work/|/home/\w|/root\b|/tmp/(?!report)|C:\\", page.read_text("utf-8"))


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_the_readmes_plan_is_what_the_commands_print(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    shutil.copytree(ROOT / "docs" / "examples", workplace / "docs" / "examples")
    (commands,) = (block for block in blocks(ROOT / "README.md", "sh") if "adresponse plan" in block)
    (shown,) = (block for block in blocks(ROOT / "README.md", "text") if "What binds" in block)
    for line in commands.splitlines():
        done = CliRunner().invoke(main, shlex.split(line)[1:])
        assert done.exit_code == 0, done.stderr
    assert squeezed(shown.removesuffix("...\n")) in squeezed(done.stdout)


def test_the_example_table_is_the_one_that_its_script_makes() -> None:
    made = script("examples/weekly.py").made().to_csv(index=False, lineterminator="\n")
    assert made == (ROOT / "docs" / "examples" / "weekly.csv").read_text("utf-8")


def test_the_tutorial_prints_what_the_commands_print(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    printed, shown = "", 0
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", TUTORIAL.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        if language == "sh" and block.startswith("adresponse ") and "adresponse ui" not in block:
            done = CliRunner().invoke(main, shlex.split(block)[1:])
            assert done.exit_code == 0, done.stderr
            printed = squeezed(done.stdout)
        elif language == "text":
            for part in block.split("...\n"):
                assert squeezed(part) in printed
                shown += 1
    assert shown > 5
