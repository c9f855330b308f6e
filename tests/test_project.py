"""Does the MLflow project run every command, in this environment and in one that MLflow makes?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import mlflow
import pytest
import yaml
from mlflow.projects._project_spec import load_project

from adresponse.cli import main

ROOT = Path(__file__).parent.parent
VARIANTS = [ROOT, ROOT / "projects" / "conda", ROOT / "projects" / "docker"]


@pytest.mark.parametrize("folder", VARIANTS, ids=["python", "conda", "docker"])
def test_mlflow_reads_every_variant_and_each_has_every_command(folder: Path) -> None:
    project = load_project(str(folder))
    entries = yaml.safe_load((folder / "MLproject").read_text())["entry_points"]
    assert set(entries) == set(main.commands) | {"main"}
    assert entries["main"] == entries["run"]
    for name, command in main.commands.items():
        line = project.get_entry_point(name).command
        if isinstance(command, click.Group):
            command = command.commands[line.split()[2]]
        options = {o for o in line.split() if o.startswith("--")}
        assert options <= {o for p in command.params if isinstance(p, click.Option) for o in p.opts}


def test_the_variants_differ_in_their_environment_alone() -> None:
    first, *others = [yaml.safe_load((f / "MLproject").read_text())["entry_points"] for f in VARIANTS]
    assert all(other == first for other in others)


def test_conda_and_docker_name_files_that_are_there() -> None:
    conda = yaml.safe_load((ROOT / "projects/conda/conda.yaml").read_text())
    pip = next(d["pip"] for d in conda["dependencies"] if isinstance(d, dict))
    for part in " ".join(pip).replace("-c ", "").split():
        assert (ROOT / "projects/conda" / part).exists()
    copied = [
        w
        for line in (ROOT / "projects/docker/Dockerfile").read_text().splitlines()
        if line.startswith("COPY")
        for w in line.split()[1:-1]
    ]
    assert copied
    assert all((ROOT / c).exists() for c in copied)


def run_project(folder: Path, manager: str, *parameters: str, **environment: str) -> subprocess.CompletedProcess[str]:
    scripts = str(Path(sys.executable).parent)
    config = folder.parent / "once.yaml"
    config.write_text("repeats: 1\n")  # how the candidates compare is looked at elsewhere
    env = os.environ | {
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
    }
    return subprocess.run(
        [sys.executable, "-m", "mlflow", "run", str(ROOT), "-e", "run", "--env-manager", manager,
         "-P", f"out={folder / 'the report'}", "-P", f"config={config}", *parameters],
        cwd=folder, env=env | environment, capture_output=True, text=True,
    )  # fmt: skip


def assert_champion(folder: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    version = client.get_model_version_by_alias("sales-response", "champion")
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["r2"] == pytest.approx(0.677, abs=5e-4)
    assert run.data.tags["mlflow.project.entryPoint"] == "run", "the project's run is the run of the study"
    assert (folder / "the report" / "sales-response-report.html").exists()


def test_in_this_environment_with_a_table(workplace: Path) -> None:
    table = workplace / "spend table.csv"
    shutil.copy(ROOT / "src/adresponse/data/tvmarketing.csv", table)
    done = run_project(workplace, "local", "-P", f"table={table}", "-P", "target=Sales")
    assert done.returncode == 0, done.stderr
    assert_champion(workplace)


def test_in_an_environment_that_mlflow_makes(workplace: Path, tmp_path: Path) -> None:
    done = run_project(workplace, "uv", MLFLOW_ENV_ROOT=str(tmp_path / "environments"))
    assert done.returncode == 0, done.stderr
    assert_champion(workplace)
