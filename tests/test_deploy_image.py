"""Is the image small, unprivileged and pinned, and does it answer from outside as evaluated?"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import container_parts
import parts
import stored_example
from adresponse import words
from adresponse.errors import ConfigError, DeploymentError
from adresponse.serving import client, launch
from adresponse.stored import Stored, open_stored
from adresponse.targets import image
from adresponse.verification import EvaluationRows

ABOUT = {"version": "3", "name": "sales-response"}
MEGABYTE = 1e6
# most of the libraries is never imported, and to compile all takes a minute; no is how pip wants it to be written
UNCOMPILED = {"no-compile": "no"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return open_stored(stored_example.stored(stored_example.three_channels(), tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def boosted(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return open_stored(stored_example.stored(stored_example.curved(), tmp_path_factory.mktemp("boosted")))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- the build context


def test_the_context_is_whole_and_readable_by_anyone(model: Stored, tmp_path: Path) -> None:
    written = image.write(model, tmp_path / "image", **ABOUT)
    names = files_of(written.folder)
    assert {"Dockerfile", ".dockerignore", "requirements.txt", "app/adresponse/__main__.py"} <= set(names)
    assert not [n for n in names if n.endswith(".pyc")]
    opened = open_stored(written.folder / "model", model.digest)
    assert opened.formula == model.formula
    modes = {p.name: oct(p.stat().st_mode & 0o777) for p in written.folder.rglob("*") if p.is_file()}
    assert modes.pop("serve") == "0o755"
    assert set(modes.values()) == {"0o644"}
    assert [p.name for p in tmp_path.iterdir()] == ["image"]


def test_the_package_in_the_context_answers_without_the_installed_one(model: Stored, tmp_path: Path) -> None:
    written = image.write(model, tmp_path / "image", **ABOUT)
    code = "import adresponse; print(adresponse.__file__, adresponse.__version__)"
    environment = {**os.environ, "PYTHONPATH": str(written.folder / "app")}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    assert said.startswith(str(written.folder))


def test_the_dockerfile_asks_for_no_privilege_and_holds_no_host(model: Stored) -> None:
    text = image.dockerfile(model, **ABOUT)
    lines = {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in text.splitlines()}
    assert lines["FROM"] == f"python:{'.'.join(map(str, sys.version_info[:3]))}-slim"
    assert lines["USER"] == "10001:10001"
    assert lines["EXPOSE"] == "8080"
    assert "/ready" in lines["HEALTHCHECK"]
    assert json.loads(lines["CMD"])[:5] == ["python", "-m", "adresponse", "serve", "/opt/model"]
    assert not re.search(r"index-url|nginx|curl|://(?!127\.0\.0\.1)", text)


def test_the_health_check_asks_no_proxy(model: Stored) -> None:
    with launch.background(model.folder) as server:
        port = int(server.url.rpartition(":")[2])
        text = image.dockerfile(model, **ABOUT, port=port)
        probe = json.loads(re.search(r"^HEALTHCHECK .* CMD (.*)$", text, re.MULTILINE)[1])  # type: ignore[index]
        proxied = {k: v for k, v in os.environ.items() if k.lower() != "no_proxy"} | {"http_proxy": "http://127.0.0.1:9"}
        subprocess.run([sys.executable, *probe[1:]], env=proxied, check=True, timeout=30)


def test_with_a_token_file_nobody_else_is_answered(model: Stored) -> None:
    text = image.dockerfile(model, **ABOUT, token_file="/run/secrets/token")
    command = json.loads(re.search(r"^CMD (.*)$", text, re.MULTILINE)[1])  # type: ignore[index]
    assert command[command.index("--token-file") + 1] == "/run/secrets/token"
    assert "--allow-anyone" not in command


def test_the_lines_to_paste_hand_the_token_to_the_container_and_to_verify(model: Stored, tmp_path: Path) -> None:
    _, run, verify = image.write(model, tmp_path / "image", **ABOUT, token_file="/run/secrets/token").commands
    assert '-v "$PWD"/token:/run/secrets/token:ro ' in run
    assert verify.endswith("--url http://127.0.0.1:8080 --token-file token")


@pytest.mark.parametrize("act", [image.write, image.intent])
def test_a_token_file_without_an_absolute_path_is_refused(model: Stored, tmp_path: Path, act: Any) -> None:
    with pytest.raises(ConfigError, match="token_file='token' is no absolute path in the container"):
        act(model, tmp_path / "image", **ABOUT, token_file="token")
    assert not list(tmp_path.iterdir())


def test_a_name_cannot_add_lines_to_the_dockerfile(model: Stored) -> None:
    text = image.dockerfile(model, version="3", name='sales"\nRUN rm -rf / $HOME')
    assert not [line for line in text.splitlines() if line.startswith("RUN rm")]
    assert "$HOME" not in text.replace(r"\$HOME", "").split("LABEL")[1].splitlines()[0]


def test_requirements_are_pinned_and_leave_the_heavy_libraries_out(model: Stored) -> None:
    names = {line.partition("==")[0] for line in image.requirements(model)}
    assert all(re.fullmatch(r"[a-z0-9-]+==[^\s;]+", line) for line in image.requirements(model))
    assert {"numpy", "uvicorn", "h11"} <= names  # h11: uvicorn needs it
    assert not names & {"mlflow", "pandas", "scikit-learn", "scipy", "pip"}


def test_a_model_without_closed_formula_brings_the_libraries_of_its_pipeline(boosted: Stored) -> None:
    pinned = set(image.requirements(boosted))
    own = {line.strip() for line in (boosted.folder / "requirements.txt").read_text().splitlines()}
    assert {line for line in own if not line.startswith("mlflow")} <= pinned
    assert {"joblib", "threadpoolctl"} <= {line.partition("==")[0] for line in pinned}  # scikit-learn needs them


def test_a_library_that_is_not_installed_is_named(model: Stored, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(image, "SERVER", (*image.SERVER, "not-there"))
    with pytest.raises(DeploymentError, match="needs not-there, which is not installed"):
        image.write(model, tmp_path / "image", **ABOUT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("act", [image.write, image.intent])  # what is told is refused where it would not be done
def test_a_folder_with_something_else_is_never_written_over(model: Stored, tmp_path: Path, act: Any) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(ConfigError, match="holds no build context of adresponse"):
            act(model, tmp_path, **ABOUT, force=force)
    assert files_of(tmp_path) == {"notes.txt": b"mine"}


@pytest.mark.parametrize("act", [image.write, image.intent])
def test_a_context_is_replaced_only_when_asked(model: Stored, tmp_path: Path, act: Any) -> None:
    image.write(model, tmp_path / "image", **ABOUT)
    (tmp_path / "image" / "left over").write_text("from before")
    with pytest.raises(ConfigError, match="add --force"):
        act(model, tmp_path / "image", **ABOUT)
    act(model, tmp_path / "image", **ABOUT, force=True)
    assert ("left over" in files_of(tmp_path / "image")) is (act is image.intent)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_is_none_is_refused(model: Stored, tmp_path: Path, port: int) -> None:
    with pytest.raises(ConfigError, match="no port"):
        image.write(model, tmp_path / "image", **ABOUT, port=port)


def test_what_was_told_is_what_is_written(model: Stored, tmp_path: Path) -> None:
    told = image.intent(model, tmp_path / "image", **ABOUT)
    assert not list(tmp_path.iterdir())
    written = image.write(model, tmp_path / "image", **ABOUT)
    sends = told.steps[0].sends
    assert sends["Dockerfile"] == written.dockerfile.read_text().splitlines()
    assert sends["requirements.txt"] == (written.folder / "requirements.txt").read_text().splitlines()
    assert set(sends["model"]) <= set(files_of(written.folder / "model"))
    assert tuple(s.does for s in told.steps[1:]) == written.commands
    assert json.loads(json.dumps(words.plain(told)))["target"] == "image"


# --- the image


@pytest.fixture(scope="module")
def built(model: Stored, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the image, built once."""
    context = image.write(model, tmp_path_factory.mktemp("context") / "image", **ABOUT).folder
    tag = f"adresponse-test-{os.getpid()}"
    container_parts.build(context, tag)
    yield tag
    container_parts.remove_image(tag)


@pytest.fixture(scope="module")
def running(built: str) -> Iterator[container_parts.Container]:
    with container_parts.start(built, parts.free_port()) as container:
        wait_ready(container)
        yield container


def wait_ready(container: container_parts.Container, path: str = "/ready", seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(container.url + path, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"not ready:\n{container_parts.run(['podman', 'logs', container.name])}")


def ask(url: str, rows: EvaluationRows) -> Any:
    return client.ask(url, {name: column.tolist() for name, column in rows.X.items()}, rows.level)


def test_the_image_says_who_it_runs_as_and_whether_it_is_well(built: str) -> None:
    said = container_parts.inspect(built)
    assert said["Config"]["User"] == "10001:10001"
    assert list(said["Config"]["ExposedPorts"]) == ["8080/tcp"]
    assert "/ready" in said["Healthcheck"]["Test"][-1]
    assert said["Config"]["Labels"]["org.opencontainers.image.version"] == "3"


def test_the_image_adds_little_to_its_base(built: str) -> None:
    sizes = [container_parts.inspect_any(name)["Size"] for name in (f"localhost/{built}", container_parts.BASE)]
    assert sizes[0] - sizes[1] < 130 * MEGABYTE  # numpy alone is 70; MLflow's image adds 1,000


def test_it_answers_from_outside_as_evaluated_and_says_which_version(running: Any, model: Stored) -> None:
    rows = EvaluationRows.read(model.folder)
    answer = ask(running.url, rows)
    np.testing.assert_allclose(answer.prediction, rows.predicted, rtol=1e-12)
    np.testing.assert_allclose(answer.upper, rows.upper, rtol=1e-12)
    assert answer.version == "3"


def test_it_plans_with_what_it_installs(running: Any) -> None:
    with urllib.request.urlopen(f"{running.url}/curves", timeout=10) as answer:
        curves = json.load(answer)
    assert all(None not in channel["low"] for channel in curves["channels"])
    for wish in ({}, {"spend": dict.fromkeys(("TV", "Radio", "Newspaper"), 20)}):
        request = urllib.request.Request(f"{running.url}/plan", json.dumps(wish).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert json.load(answer)["low"] is not None


def test_nothing_in_it_runs_as_root(running: Any) -> None:
    said = container_parts.run(["podman", "exec", running.name, "sh", "-c", "id -u; cat /proc/1/status"])
    assert said.splitlines()[0] == "10001"
    assert re.search(r"^Uid:\s+10001\s+10001", said, re.MULTILINE)


def test_its_health_check_passes(running: Any, model: Stored) -> None:
    probe = container_parts.inspect_any(f"localhost/{running.image}")["Healthcheck"]["Test"][1:]
    container_parts.run(["podman", "exec", running.name, *probe])


def test_it_ends_in_order_when_it_is_asked_to(built: str) -> None:
    with container_parts.start(built, parts.free_port()) as container:
        wait_ready(container)
        started = time.monotonic()
        container_parts.run(["podman", "stop", "-t", "20", container.name])
        assert time.monotonic() - started < 10  # after 20 s it would be killed
        code = container_parts.run(["podman", "inspect", "--format", "{{.State.ExitCode}}", container.name])
    assert code.strip() == "0"


def test_an_image_for_a_token_refuses_who_has_none(model: Stored, tmp_path: Path, built: str) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-sixteen-or-more\n")
    token.chmod(0o644)
    text = image.dockerfile(model, **ABOUT, token_file="/run/token")
    command = json.loads(re.search(r"^CMD (.*)$", text, re.MULTILINE)[1])  # type: ignore[index]
    volumes = ["-v", f"{token}:/run/token:ro"]
    rows = EvaluationRows.read(model.folder)
    with container_parts.start(built, parts.free_port(), options=volumes, command=command) as container:
        wait_ready(container)
        with pytest.raises(DeploymentError, match="token"):
            ask(container.url, rows)
        columns = {name: column.tolist() for name, column in rows.X.items()}
        assert client.ask(container.url, columns, None, "a-token-of-sixteen-or-more").version == "3"


def test_it_answers_as_sagemaker_starts_it(built: str, model: Stored) -> None:
    volumes = ["-v", f"{model.folder}:/opt/ml/model:ro"]
    with container_parts.start(built, parts.free_port(), options=volumes, command=["serve"]) as container:
        wait_ready(container, "/ping")
        rows = EvaluationRows.read(model.folder)
        np.testing.assert_allclose(ask(container.url, rows).prediction, rows.predicted, rtol=1e-12)


def test_a_model_without_closed_formula_answers_from_its_image(boosted: Stored, tmp_path: Path) -> None:
    context = image.write(boosted, tmp_path / "image", version="1", name="boosted").folder
    tag = f"adresponse-test-boosted-{os.getpid()}"
    container_parts.build(context, tag, **UNCOMPILED)
    try:
        with container_parts.start(tag, parts.free_port()) as container:
            wait_ready(container)
            rows = EvaluationRows.read(boosted.folder)
            np.testing.assert_allclose(ask(container.url, rows).prediction, rows.predicted, rtol=1e-12)
    finally:
        container_parts.remove_image(tag)


def test_mlflows_own_image_answers_the_same(model: Stored, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mlflow", "models", "generate-dockerfile", "-m", str(model.folder), "-d", "image"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    tag = f"adresponse-test-mlflow-{os.getpid()}"
    container_parts.build(tmp_path / "image", tag, **UNCOMPILED)
    try:  # one worker, since each imports all of MLflow
        with container_parts.start(tag, parts.free_port(), options=["-e", "MLFLOW_MODELS_WORKERS=1"]) as container:
            wait_ready(container, "/ping", 120)  # what is imported is compiled first
            rows = EvaluationRows.read(model.folder)
            answer = ask(container.url, rows)
            np.testing.assert_allclose(answer.prediction, rows.predicted, rtol=1e-12)
            np.testing.assert_allclose(answer.upper, rows.upper, rtol=1e-12)
    finally:
        container_parts.remove_image(tag)
