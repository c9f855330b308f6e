"""Does the house stand as drawn: imports point down, no cycle, each outside library behind its door?"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "adresponse"
FLOORS = [
    {
        *("errors", "findings", "words", "schema", "rows", "table", "reading"),
        *("formula", "curves", "curved", "baseline", "periods", "pyfunc", "stored"),
    },
    {
        *("profile", "checks", "folding", "models", "mixing", "intervals", "tune", "evaluate", "synergy", "gate", "recommend"),
        *("levels", "planning", "study", "verification", "record", "growing", "watching", "contest"),
    },
    {
        *("store", "saving", "track", "registry", "mutex", "journal", "promotion", "scoring"),
        *("report", "serving", "engines", "targets"),
    },
    {
        *("settings", "asking", "deployment", "studying", "publishing", "lifecycle", "standing", "upkeep"),
        *("console", "cli", "plugin"),
    },
]
DOORS = [  # one door may have several rooms; no door opens into another
    {"store", "saving", "track", "registry", "mutex", "journal", "promotion", "scoring"},
    {"report"},
    {"serving"},
    {"engines"},
    {"targets"},
]
GOES_WITH_EACH_MODEL = {"errors", "schema", "rows", "formula", "curves", "curved", "baseline", "periods", "pyfunc"}
BEHIND = {  # which rooms may name a library
    "mlflow": {"store", "saving", "track", "registry", "scoring", "pyfunc", "engines", "targets", "plugin"},
    "skops": {"saving", "pyfunc"},
    "uvicorn": {"serving"},
    "uvloop": {"serving"},
    "httptools": {"serving"},
    "msgspec": {"serving"},
    "orjson": {"serving"},
    "simdjson": {"serving"},
    "prometheus_client": {"serving"},
    "duckdb": {"engines"},
    "pyspark": {"engines"},
    "boto3": {"targets"},
    "azure": {"targets"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "sklearn": {"folding", "models", "mixing", "intervals", "tune", "evaluate", "studying"},
    "pyarrow": {"table", "reading", "engines", "serving"},
    "openpyxl": {"table", "reading", "engines", "report"},
    "sqlalchemy": {"table", "reading", "engines", "store"},
    "click": {"cli"},
    "rich": {"cli", "console"},
    "pydantic": {"settings"},
}
HEAVY = ("numpy", "pandas", "scipy", "sklearn", "mlflow", "matplotlib", "pyarrow", "pydantic", "jinja2", "rich", "yaml")


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(("adresponse", *path.relative_to(PACKAGE).parts)[: -node.level]) if node.level else ""
            module = ".".join(filter(None, [package, node.module]))
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def files() -> list[Path]:
    return [p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or not p.name.startswith("__")]


def inner(path: Path) -> set[str]:
    """Rooms of the house that a file imports, its own left out."""
    names = {n.split(".")[1] for n in imports(path) if n.startswith("adresponse.")}
    return (names & set().union(*FLOORS)) - {room(path)}


def floor_of(name: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if name in rooms)


def test_every_room_has_a_floor() -> None:
    assert {room(p) for p in files()} == set().union(*FLOORS)


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down_and_no_door_opens_into_another(path: Path) -> None:
    here = room(path)
    for there in inner(path):
        assert floor_of(there) <= floor_of(here), f"{here} imports {there}, which is above it"
        doors = [d for d in DOORS if here in d or there in d]
        assert floor_of(there) < 2 or floor_of(here) > 2 or len(doors) == 1, f"{here} imports another door, {there}"


@pytest.mark.parametrize("name", sorted(GOES_WITH_EACH_MODEL))
def test_what_goes_with_each_model_needs_nothing_else_of_the_package(name: str) -> None:
    path = PACKAGE / f"{name}.py"
    assert inner(path) <= GOES_WITH_EACH_MODEL
    absolute = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.ImportFrom) and not n.level]
    assert not [n for n in absolute if (n.module or "").startswith("adresponse")], "its copy would ask for the package"


def modules() -> dict[str, Path]:
    """Every file of the package by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = ("adresponse", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def test_no_cycle_between_files() -> None:
    known = modules()
    # the package's own __init__ names its functions and imports them when they are asked for
    graph = {name: (imports(path) & set(known)) - {name} for name, path in known.items() if name != "adresponse"}
    while graph:
        leaves = {name for name, needs in graph.items() if not needs & set(graph)}
        assert leaves, f"a cycle among {sorted(graph)}"
        graph = {name: needs for name, needs in graph.items() if name not in leaves}


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_each_library_stays_behind_its_door(path: Path) -> None:
    for library in {n.split(".")[0] for n in imports(path)} & set(BEHIND):
        assert room(path) in BEHIND[library], f"{room(path)} imports {library}"


@pytest.mark.parametrize(
    "statement", ["import adresponse", "import adresponse.cli as c; c.main(['--help'], standalone_mode=False)"]
)
def test_no_heavy_library_is_loaded(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint('LOADED', *sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED"
