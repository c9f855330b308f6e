"""Does ``mlflow deployments`` manage servers of this machine: each recorded, asked, replaced, and ended for certain?"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow.deployments import get_deploy_client
from mlflow.deployments.cli import commands
from mlflow.exceptions import MlflowException

import forked
import parts
import stored_example
import tracked_example
from adresponse import plugin
from adresponse.errors import DeploymentError
from adresponse.plugin import LocalClient
from adresponse.serving import client as serve_client
from adresponse.targets import local
from adresponse.verification import EvaluationRows


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored_example.stored(stored_example.one_channel(), tmp_path_factory.mktemp("one channel"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored_example.stored(stored_example.three_channels(), tmp_path_factory.mktemp("three channels"))


@pytest.fixture
def client(tmp_path: Path) -> Iterator[LocalClient]:
    """A client with records of its own; every server that it still has is ended."""
    made = LocalClient(f"adresponse:{tmp_path / 'records'}")
    yield made
    for found in made.list_deployments():
        made.delete_deployment(found["name"])


def gone(pid: int) -> bool:
    """Whether the process ended, looked at as the system shows it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_a_deployment_answers_as_evaluated_until_it_is_deleted(client: LocalClient, model: Path) -> None:
    made = client.create_deployment("sales", str(model))
    assert (made["name"], made["status"], made["flavor"]) == ("sales", "alive", "python_function")
    rows = EvaluationRows.read(model)
    answers = client.predict("sales", rows.X, params={"interval": rows.level}).get_predictions()
    np.testing.assert_allclose(answers["prediction"], rows.predicted, rtol=1e-12)
    np.testing.assert_allclose(answers["upper"], rows.upper, rtol=1e-12)
    client.delete_deployment("sales")
    assert gone(made["pid"])
    assert client.list_deployments() == []
    assert not list(client.state.iterdir())


def test_a_proxy_that_is_set_here_is_not_asked_for_this_machine(
    client: LocalClient, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    client.create_deployment("sales", str(model), config={"timeout": "20"})
    assert len(client.predict("sales", EvaluationRows.read(model).X).get_predictions()) == 40


def test_deleting_what_is_not_there_is_no_error(client: LocalClient) -> None:
    client.delete_deployment("sales")  # MLflow asks of a target that deleting twice does no harm


def test_a_deployment_outlives_the_process_that_made_it(client: LocalClient, model: Path) -> None:
    assert forked.exit_code(plugin.run_local, client.target_uri, "sales", str(model)) == 0
    found = client.get_deployment("sales")
    assert found["status"] == "alive"
    assert os.getsid(found["pid"]) == found["pid"]  # a closed terminal does not take it along
    assert len(client.predict("sales", pd.DataFrame({"TV": [100, 200]}))["predictions"]) == 2


@pytest.mark.parametrize(
    "rows",
    [
        {"TV": [100.0, 200]},
        {"TV": np.array([100, 200])},  # what MLflow's clients of other targets are given
        {"inputs": {"TV": [100, 200]}},
        {"dataframe_split": {"columns": ["TV"], "data": [[100], [200]]}},
        {"dataframe_records": [{"TV": 100}, {"TV": 200}]},
    ],
)
def test_a_dict_is_asked_as_the_same_rows_of_a_frame(client: LocalClient, model: Path, rows: dict[str, Any]) -> None:
    client.create_deployment("sales", str(model))
    frame = pd.DataFrame({"TV": [100.0, 200.0]})
    assert client.predict("sales", rows)["predictions"] == client.predict("sales", frame)["predictions"]
    assert client.predict("sales", rows, params={"interval": 0.9})["predictions"][0].keys() == {"prediction", "lower", "upper"}


def test_records_and_logs_are_their_owners_alone(client: LocalClient, model: Path) -> None:
    client.create_deployment("sales", str(model))
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (client.state / "sales", *(client.state / "sales").iterdir())}
    assert modes == {"sales": 0o700, "deployment.json": 0o600, "log": 0o600}


def test_a_taken_name_is_refused_and_its_server_goes_on(client: LocalClient, model: Path) -> None:
    made = client.create_deployment("sales", str(model))
    with pytest.raises(MlflowException, match="The name 'sales' is taken"):
        client.create_deployment("sales", str(model))
    assert client.get_deployment("sales")["pid"] == made["pid"]


def test_a_model_that_cannot_answer_leaves_nothing_behind(client: LocalClient, model: Path, tmp_path: Path) -> None:
    broken = stored_example.stored(stored_example.one_channel(), tmp_path)
    (broken / "formula.json").write_text("{}")
    with pytest.raises(MlflowException, match=r"does not answer: its server ended.*formula\.json was changed"):
        client.create_deployment("sales", str(broken))
    assert client.list_deployments() == []
    client.create_deployment("sales", str(model))  # the name is free


def test_a_taken_port_is_refused(client: LocalClient, model: Path) -> None:
    with socket.socket() as other_server:
        other_server.bind(("127.0.0.1", 0))
        other_server.listen()
        port = other_server.getsockname()[1]
        with pytest.raises(MlflowException, match=f"Port {port} of 127.0.0.1 cannot be used"):
            client.create_deployment("sales", str(model), config={"port": str(port)})
    assert client.list_deployments() == []


def test_params_go_with_a_text_too(client: LocalClient, model: Path) -> None:
    client.create_deployment("sales", str(model))
    text = json.dumps({"inputs": {"TV": [100.0]}})
    assert list(client.predict("sales", text, params={"interval": 0.9})["predictions"][0]) == ["prediction", "lower", "upper"]
    for other in ("TV\n100", "[[100]]"):
        with pytest.raises(MlflowException, match="no JSON object; give rows, or an object"):
            client.predict("sales", other, params={"interval": 0.9})


def test_a_host_that_is_none_is_refused_before_anything_starts(client: LocalClient, model: Path) -> None:
    with pytest.raises(MlflowException, match=r"has the brackets of a URL; give the address alone, ::1\."):
        client.create_deployment("sales", str(model), config={"host": "[::1]"})
    assert client.list_deployments() == []


def test_a_server_that_died_is_told_and_not_asked(client: LocalClient, model: Path) -> None:
    made = client.create_deployment("sales", str(model))
    os.kill(made["pid"], signal.SIGKILL)
    while not gone(made["pid"]):
        time.sleep(0.01)
    assert [d["status"] for d in client.list_deployments()] == ["dead"]
    with pytest.raises(MlflowException, match="'sales' is dead"):
        client.predict("sales", pd.DataFrame({"TV": [1.0]}))


def test_a_record_that_cannot_be_read_is_said_with_what_helps(client: LocalClient) -> None:
    (client.state / "sales").mkdir(parents=True)
    (client.state / "sales" / "deployment.json").write_text("{}")
    says = f"'sales' cannot be read .* end its server, if one runs, and remove '{client.state}"
    for act in (client.get_deployment, client.delete_deployment):
        with pytest.raises(MlflowException, match=says):
            act("sales")
    shutil.rmtree(client.state / "sales")
    assert client.list_deployments() == []


def test_a_number_that_was_given_anew_is_never_ended(client: LocalClient, model: Path) -> None:
    client.create_deployment("sales", str(model))
    found = local.find(client.state, "sales")
    local.delete(client.state, "sales")
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        stale = replace(found, pid=bystander.pid)
        (client.state / "sales").mkdir()
        (client.state / "sales" / "deployment.json").write_text(json.dumps(asdict(stale)))
        assert client.get_deployment("sales")["status"] == "dead"
        client.delete_deployment("sales")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_an_update_answers_with_the_new_model_at_the_same_address(client: LocalClient, model: Path, other: Path) -> None:
    before = client.create_deployment("sales", str(model))
    after = client.update_deployment("sales", str(other))
    assert (after["url"], after["model_uri"]) == (before["url"], str(other))
    assert gone(before["pid"])
    answered = client.predict("sales", pd.DataFrame({"TV": [100], "Radio": [10], "Newspaper": [1]}))
    assert len(answered["predictions"]) == 1


def test_an_update_to_a_model_that_cannot_answer_leaves_the_old_one_at_work(
    client: LocalClient, model: Path, tmp_path: Path
) -> None:
    before = client.create_deployment("sales", str(model))
    with pytest.raises(MlflowException, match="does not answer"):
        client.update_deployment("sales", str(tmp_path / "none"))
    assert client.get_deployment("sales") == before
    assert {p.name for p in (client.state / "sales").iterdir()} == {"deployment.json", "log"}


def killed_on_the_way(target: str, act: str, model: str, waits: int, line: Connection) -> None:
    """Deploy, and be killed at that many-th wait for a server, of which the number is told."""
    wait, left = local._wait_ready, itertools.count(waits - 1, -1)

    def killed(process: subprocess.Popen[bytes], *rest: Any) -> None:
        if not next(left):
            line.send(process.pid)
            os.kill(os.getpid(), signal.SIGKILL)
        wait(process, *rest)

    local._wait_ready = killed
    getattr(LocalClient(target), f"{act}_deployment")("sales", model)


@pytest.mark.parametrize(
    ("act", "waits", "then"),
    [
        ("create", 1, "delete"),
        ("create", 1, "update"),
        ("update", 1, "delete"),  # killed while the new model is tried beside the old server
        ("update", 1, "update"),
        ("update", 2, "delete"),  # killed once the old server is gone
        ("update", 2, "update"),
    ],
)
def test_what_a_killed_command_started_is_ended_by_the_next(
    client: LocalClient, model: Path, act: str, waits: int, then: str
) -> None:
    if act == "update":
        client.create_deployment("sales", str(model))
    process, line = forked.spoken_to(killed_on_the_way, client.target_uri, act, str(model), waits)
    started = int(line.recv())
    process.join()
    assert process.exitcode == -signal.SIGKILL
    try:
        assert not gone(started)
        assert client.get_deployment("sales")["status"] == "alive"
        if then == "update":
            client.update_deployment("sales", str(model))
            assert len(client.predict("sales", pd.DataFrame({"TV": [1.0]}))["predictions"]) == 1
            assert {p.name for p in (client.state / "sales").iterdir()} == {"deployment.json", "log"}
        else:
            client.delete_deployment("sales")
        assert gone(started)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(started, signal.SIGKILL)


def test_a_server_with_a_token_is_asked_with_it(client: LocalClient, model: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-sixteen-or-more\n")
    made = client.create_deployment("sales", str(model), config={"token_file": str(token)})
    assert len(client.predict("sales", pd.DataFrame({"TV": [1.0]}))["predictions"]) == 1
    with pytest.raises(DeploymentError, match="token"):
        serve_client.ask(made["url"], {"TV": [1.0]})


def test_a_token_file_is_found_from_elsewhere_and_missed_in_a_sentence(
    client: LocalClient, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-sixteen-or-more\n")
    monkeypatch.chdir(tmp_path)
    client.create_deployment("sales", str(model), config={"token_file": "token"})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(client.predict("sales", pd.DataFrame({"TV": [1.0]}))["predictions"]) == 1
    token.unlink()
    with pytest.raises(MlflowException, match=r"The token file .* cannot be read"):
        client.predict("sales", pd.DataFrame({"TV": [1.0]}))


def test_a_server_beyond_this_machine_needs_a_token(client: LocalClient, model: Path) -> None:
    with pytest.raises(MlflowException, match=r"its server ended.*token"):
        client.create_deployment("sales", str(model), config={"host": "0.0.0.0"})


def test_a_refused_row_is_refused_in_the_servers_words(client: LocalClient, model: Path) -> None:
    client.create_deployment("sales", str(model))
    with pytest.raises(MlflowException, match=r"^Column 'TV', row 2: -1 is negative, and spend is 0 or more\.$"):
        client.predict("sales", pd.DataFrame({"TV": [1.0, -1.0]}))


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda c: c.create_deployment("sales", "m", config={"prot": "1"}), "'prot' is not known.* Did you mean 'port'"),
        (lambda c: c.create_deployment("sales", "m", config={"port": "http"}), "port='http' is no number"),
        (lambda c: c.create_deployment("sales", "m", config={"port": "70000"}), "is no port"),
        (lambda c: c.create_deployment("sales", "m", config={"workers": "0"}), "give 1 or more"),
        (lambda c: c.create_deployment("../sales", "m"), "does not name a deployment"),  # would leave the folder
        (lambda c: c.create_deployment("sales", "m", flavor="sklearn"), "flavor 'sklearn'"),
        (lambda c: c.create_deployment("sales", "m", endpoint="e"), "has no endpoints"),
        (lambda c: c.delete_deployment("sales", config={"force": "1"}), "'force' is not known"),
        (lambda c: c.delete_deployment("../sales"), "does not name a deployment"),
        (lambda c: c.get_deployment("sales"), "No deployment is named 'sales'. There is none yet"),
        (lambda c: c.predict("sales", {}), "No deployment is named"),
        (lambda c: c.predict_stream("sales", {}), "streams nothing"),
        (lambda c: c.create_endpoint("e"), "has no endpoints"),
        (lambda c: c.get_endpoint("e"), "has no endpoints"),
        (lambda c: c.list_endpoints(), "has no endpoints"),
        (lambda c: c.explain("sales"), "not yet supported"),  # MLflow's own sentence
    ],
)
def test_what_this_target_cannot_do_is_refused(client: LocalClient, act: Any, says: str) -> None:
    with pytest.raises(MlflowException, match=says):
        act(client)
    assert not client.state.exists() or not list(client.state.iterdir())


def test_a_name_that_is_nearly_right_is_suggested(client: LocalClient, model: Path) -> None:
    client.create_deployment("sales", str(model))
    with pytest.raises(MlflowException, match="Did you mean 'sales'"):
        client.get_deployment("sale")


@pytest.mark.parametrize(
    ("target", "environment", "folder"),
    [
        ("adresponse:/srv/state", {"ADRESPONSE_STATE": "/else"}, "/srv/state"),  # what is asked for wins
        ("adresponse", {"ADRESPONSE_STATE": "/srv/state", "XDG_STATE_HOME": "/x"}, "/srv/state"),
        ("adresponse", {"XDG_STATE_HOME": "/x"}, "/x/adresponse/deployments"),
        ("adresponse:/", {"XDG_STATE_HOME": "/x"}, "/x/adresponse/deployments"),
    ],
)
def test_where_the_records_are(target: str, environment: dict[str, str], folder: str) -> None:
    assert local.state_folder(target, environment) == Path(folder)


def test_mlflow_finds_the_target() -> None:
    found = [e for e in metadata.entry_points(group="mlflow.deployments") if e.name == "adresponse"]
    assert [e.load() for e in found] == [plugin]
    assert type(get_deploy_client("adresponse")) is LocalClient


def test_mlflows_own_command_line_manages_a_registered_version(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = tracked_example.open_in(workplace)
    _, _, version = tracked_example.log(opened, tracked_example.study())
    port, uri = parts.free_port(), f"models:/{version.name}@champion"
    monkeypatch.setenv("ADRESPONSE_STATE", str(workplace / "state"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workplace}/mlflow.db")

    def mlflow(*words: str) -> str:
        done = CliRunner().invoke(commands, [*words, "-t", "adresponse"])
        assert not done.exit_code, (done.output, done.exception)
        return str(done.output)

    (workplace / "spend.json").write_text('{"TV": {"0": 100, "1": 200.5}}')
    create = ["create", "-t", "adresponse", "--name", "sales", "-m", uri, "-C", f"port={port}"]
    environment = tracked_example.child_environment()
    try:  # a process of its own, as a user starts it; the others in this one, since each start takes seconds
        made = subprocess.run(
            [sys.executable, "-m", "mlflow", "deployments", *create],
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert "python_function deployment sales is created" in made.stdout, made.stderr
        assert "'name': 'sales', 'status': 'alive'" in mlflow("list")
        answers = json.loads(mlflow("predict", "--name", "sales", "-I", "spend.json"))
        assert len(answers["predictions"]) == 2
        assert "Deployment sales is updated (with flavor python_function)" in mlflow("update", "--name", "sales", "-m", uri)
        assert f"url: http://127.0.0.1:{port}" in mlflow("get", "--name", "sales")
    finally:
        assert "Deployment sales is deleted" in mlflow("delete", "--name", "sales")
    assert "Settings (-C name=value)" in mlflow("help")
