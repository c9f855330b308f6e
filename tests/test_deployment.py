"""Is a model found, loaded, scored with, served and verified by the same words in the shell and in Python?"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import adresponse
from adresponse import deployment, registry, store
from adresponse.cli import main
from adresponse.errors import (
    ConfigError,
    DeploymentError,
    DifferenceError,
    MissingDeploymentError,
    StoreError,
    TamperedModelError,
)
from adresponse.serving.options import read_token
from adresponse.targets import local, sagemaker
from adresponse.verification import Answered
from stored_example import one_channel, stored, three_channels

SAID = "The local endpoint gave back every prediction and every score of the 40 held-out rows, within 1e-09 of the evaluation."


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments])


def once(folder: Path) -> tuple[str, str]:
    """Options for a run that cross-validates its candidates once: how they compare is looked at elsewhere."""
    config = folder.parent / "once.yaml"
    config.write_text("repeats: 1\n")
    return "--config", str(config)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, made_store: Path) -> Path:
    """A folder in which the built-in table was run."""
    folder = tmp_path_factory.mktemp("made") / "my tables"
    folder.mkdir()
    shutil.copy(made_store, folder / "mlflow.db")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    done = command("run", "-q", *once(folder))
    patch.undo()
    assert done.exit_code == 0, done.stderr
    assert SAID in " ".join(done.stdout.split())
    return folder


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def client(folder: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(store.resolve(None, folder))


# --- run


def test_run_deploys_verifies_and_says_so_everywhere(here: Path) -> None:
    version = client(here).get_model_version_by_alias("sales-response", "champion")
    run = client(here).get_run(version.run_id)
    for tags in (version.tags, run.data.tags):
        assert tags["adresponse.verified"] == "true"
        assert tags["adresponse.verification"] == SAID
    report = (here / "adresponse-output" / "sales-response-report.html").read_text("utf-8")
    assert '<section id="verification"' in report
    assert SAID in report


def test_the_verification_is_a_run_of_its_own_with_mlflows_scores(here: Path) -> None:
    version = client(here).get_model_version_by_alias("sales-response", "champion")
    (run,) = client(here).search_runs(
        ["1"], f"tags.`mlflow.parentRunId` = '{version.run_id}' AND tags.`adresponse.kind` = 'verification'"
    )
    assert run.info.status == "FINISHED"
    study = client(here).get_run(version.run_id).data.metrics
    for ours, theirs in {"mae": "mean_absolute_error", "rmse": "root_mean_squared_error", "r2": "r2_score"}.items():
        assert run.data.metrics[theirs] == pytest.approx(study[ours], rel=1e-12)  # the same sums in another order


def test_without_verification_a_run_says_so(workplace: Path) -> None:
    done = command("run", "--no-verify", "--json", "-q", *once(workplace))
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["verification"] is None
    report = (workplace / "adresponse-output" / "sales-response-report.html").read_text("utf-8")
    assert "was not put behind an endpoint in this run" in report


def test_a_model_that_answers_otherwise_ends_the_run_without_a_version(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adresponse import lifecycle, verification

    honest = verification.EvaluationRows.read

    def off(folder: Path) -> verification.EvaluationRows:
        rows = honest(folder)
        return replace(rows, predicted=rows.predicted * np.where(np.arange(40) == 3, 1 + 1e-6, 1))

    monkeypatch.setattr(verification.EvaluationRows, "read", off)
    with pytest.raises(DifferenceError, match=r"predictions of 40 rows \(expected within 1e-09, found 1\.0e-06\)"):
        lifecycle.run(repeats=1)
    assert client(workplace).search_registered_models() == []
    (run,) = client(workplace).search_runs(["1"], "tags.`adresponse.kind` = 'study'")
    assert run.info.status == "FAILED"


# --- find and load


def test_a_model_is_loaded_from_the_registry_and_from_a_folder(here: Path, tmp_path: Path) -> None:
    rows = pd.DataFrame({"TV": [100, 200]})  # whole numbers, which MLflow's own check refuses
    for model in (None, "models:/sales-response@champion", "models:/sales-response/1", str(stored(one_channel(), tmp_path))):
        found = adresponse.load(model)
        np.testing.assert_array_equal(found.predict(rows), one_channel().estimator.predict(rows.astype(float)))
        assert list(found.predict(rows, params={"interval": 0.9})) == ["prediction", "lower", "upper"]


def test_without_a_store_the_first_step_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=r"is not there yet; run `adresponse run` first"):
        adresponse.load()
    assert list(tmp_path.iterdir()) == []


def test_a_version_whose_files_were_changed_is_refused_by_every_command(here: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(here, tmp_path / "copied")
    (made_model,) = copied.rglob("formula.json")
    uri = made_model.parent
    uri.joinpath("formula.json").write_text(made_model.read_text().replace('"intercept": 7', '"intercept": 9'))
    with pytest.raises(TamperedModelError, match=r"formula\.json was changed"):
        adresponse.load(str(uri))
    for words in (["verify", str(uri)], ["serve", str(uri)], ["predict", "x.csv", "-o", "y.csv", "--model", str(uri)]):
        done = command(*words)
        assert done.exit_code == 2, words
        assert "formula.json was changed after the model was sealed" in done.stderr


# --- predict


def test_files_that_cannot_be_fetched_are_named_with_the_reason(here: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    os.mkfifo(source / "MLmodel")
    version = client(here).create_model_version("sales-response", str(source)).version
    registered = deployment._Registered(f"models:/sales-response/{version}")
    try:
        with pytest.raises(StoreError, match=r"downloading .* File MLmodel: .*/MLmodel` is a named pipe\.$"):
            registered.fetch(registered.find(), tmp_path / "to")
    finally:
        client(here).delete_model_version("sales-response", version)


def test_a_table_is_scored_in_the_shell_and_in_python(here: Path, tmp_path: Path) -> None:
    table, out = tmp_path / "my spend.csv", tmp_path / "scored.csv"
    table.write_text("week,TV\n2026-01-05,100\n2026-01-12,200.5\n")
    done = command("predict", str(table), "-o", str(out), "--interval", "0.9", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 2
    scored = pd.read_csv(out)
    assert list(scored) == ["week", "TV", "prediction", "lower", "upper"]
    expected = one_channel().predict_interval(scored[["TV"]], 0.9)
    np.testing.assert_array_equal(scored[["prediction", "lower", "upper"]], np.column_stack(expected))
    again = adresponse.predict(table, tmp_path / "again.csv", interval=0.9)
    assert again.rows == 2
    assert (tmp_path / "again.csv").read_bytes() == out.read_bytes()


def test_a_bad_row_is_named_and_nothing_is_written(here: Path, tmp_path: Path) -> None:
    table, out = tmp_path / "spend.csv", tmp_path / "scored.csv"
    table.write_text("TV\n100\n-3\n")
    done = command("predict", str(table), "-o", str(out))
    assert done.exit_code == 2
    assert "Column 'TV', row 2 (line 3 of spend.csv): -3 is negative, and spend is 0 or more." in " ".join(done.stderr.split())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["spend.csv"]


def test_a_row_with_too_few_cells_ends_the_job_though_bad_rows_are_skipped(here: Path) -> None:
    Path("ragged.csv").write_text("TV,Radio\n100,1\n8\n9,4\n")
    done = command("predict", "ragged.csv", "-o", "ragged-out.csv", "--on-error", "skip")
    assert done.exit_code == 2
    assert "Row 2 (line 3 of ragged.csv) has 1 cell, the header 2" in done.stderr
    assert not Path("ragged-out.csv").exists()


def test_settings_of_another_engine_are_refused(here: Path) -> None:
    with pytest.raises(ConfigError, match="belongs to the engine spark"):
        adresponse.predict("x.csv", "y.csv", master="spark://127.0.0.1:7077")
    with pytest.raises(ConfigError, match="sheet belongs to the engine duckdb"):
        adresponse.predict("x.csv", "y.csv", engine="spark", sheet="one")


# --- verify


def test_the_champion_is_verified_and_the_result_kept(here: Path) -> None:
    done = command("verify", "--json", "-q")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["name"], found["version"], found["verification"]["passed"]) == ("sales-response", "1", True)
    tags = client(here).get_model_version("sales-response", "1").tags
    assert tags["adresponse.verified"] == "true"
    assert tags["adresponse.verified_deployment"] == "A local endpoint"
    run = client(here).get_run(found["run_id"])
    assert run.data.tags["adresponse.verified_version"] == "1"
    assert "verification.json" in [f.path for f in client(here).list_artifacts(found["run_id"])]


@contextmanager
def impostor(answer: Any, version: str = "1", status: int = 200) -> Iterator[str]:
    """A server that answers ``answer(rows)`` to every request: predictions, or a body as it is sent."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = answer(asked["dataframe_split"]["data"])
            body = found if isinstance(found, bytes) else json.dumps({"predictions": found}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Model-Version", version)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def as_model(rows: list[list[float]], moved: float = 0.0) -> list[dict[str, float]]:
    frame = pd.DataFrame(rows, columns=["TV"])
    return [
        {"prediction": p + moved, "lower": low + moved, "upper": high + moved}
        for p, low, high in zip(*one_channel().predict_interval(frame, 0.9), strict=True)
    ]


def test_another_server_that_answers_the_same_passes(here: Path) -> None:
    with impostor(as_model) as url:
        assert deployment.verify(url=url).verification.passed


@pytest.mark.parametrize(
    ("answer", "version", "said"),
    [
        (lambda rows: as_model(rows, 1e-6), "1", "predictions of 40 rows"),
        (as_model, "2", "version that answered (expected 1, found 2)"),
    ],
)
def test_a_deployment_that_differs_ends_with_1_and_names_it(here: Path, answer: Any, version: str, said: str) -> None:
    with impostor(answer, version) as url:
        done = command("verify", "--url", url)
    assert done.exit_code == 1
    assert said in " ".join(done.stderr.split())
    tags = client(here).get_model_version("sales-response", "1").tags
    assert tags["adresponse.verified"] == "false"
    assert tags["adresponse.verified_deployment"] == url


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (lambda rows: as_model(rows)[:-1], 200, "it gave 39 predictions for 40 rows."),
        (lambda rows: [{**v, "prediction": None} for v in as_model(rows)], 200, "it gave predictions that are no numbers."),
        (lambda rows: b"<html>", 200, "it gave no predictions; is it a server of MLflow's scoring protocol?"),
        (lambda rows: [v["prediction"] for v in as_model(rows)], 200, "it gave no interval;"),
        (lambda rows: b'{"message": "Column \'Radio\' is missing."}', 400, "it refused (400): Column 'Radio' is missing."),
    ],
)
def test_an_answer_of_another_form_is_a_difference_too(here: Path, answer: Any, status: int, said: str) -> None:
    uri = "models:/sales-response/1"
    assert adresponse.verify(uri).verification.passed  # tags as a good deployment leaves them
    with impostor(answer, status=status) as url:
        done = command("verify", uri, "--url", url)
    assert done.exit_code == 1, done.stderr
    assert f"{url} does not answer what was evaluated: asked 40 rows, {said}" in " ".join(done.stderr.split())
    tags = client(here).get_model_version("sales-response", "1").tags
    assert (tags["adresponse.verified"], tags["adresponse.verified_deployment"]) == ("false", url)


@pytest.mark.parametrize("status", [401, 403, 408, 503])
def test_a_deployment_that_lets_nobody_in_says_nothing_of_the_version(here: Path, status: int) -> None:
    adresponse.verify("models:/sales-response/1")
    with impostor(lambda rows: b"", status=status) as url:
        done = command("verify", "--url", url)
    assert done.exit_code == 2
    assert f"refused ({status})" in done.stderr
    assert client(here).get_model_version("sales-response", "1").tags["adresponse.verified"] == "true"


def test_too_few_answers_of_another_target_are_a_difference(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adresponse import scoring

    monkeypatch.setattr(scoring, "asker", lambda target, name: lambda rows: Answered(rows.predicted[:-1]))
    found = deployment.verify(target="other", deployment="sales").verification
    assert not found.passed
    assert "predictions of 40 rows (expected within 1e-09, found not a finite number for each row)" in found.sentence


def test_a_password_in_a_target_is_not_kept(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adresponse import scoring

    monkeypatch.setattr(scoring, "asker", lambda target, name: lambda rows: Answered(rows.predicted[:-1]))
    found = deployment.verify(target="https://user:secretpw@models.example.com", deployment="sales")
    tags = client(here).get_model_version_by_alias("sales-response", "champion").tags
    run = client(here).get_run(found.run_id).data.tags
    assert tags["adresponse.verified_deployment"] == "https://***@models.example.com sales"
    assert "secretpw" not in json.dumps([tags, run])


def test_a_server_of_ours_in_the_background_is_asked_for_its_version_and_interval(here: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-sixteen-or-more\n")
    records = tmp_path / "records"
    wanted = local.Wanted("models:/sales-response/1", token_file=str(token))
    local.create(records, "sales", wanted)
    target = f"adresponse:{records}"
    try:
        found = deployment.verify(target=target, deployment="sales").verification
        local.update(records, "sales", replace(wanted, model=str(stored(one_channel(), tmp_path))))
        other = deployment.verify(target=target, deployment="sales").verification
    finally:
        local.delete(records, "sales")
    assert found.passed
    assert [(c.found, c.mark) for c in found.checks[:1]] == [("1", "✓")]
    assert {"lower ends (90 %) of 40 rows", "upper ends (90 %) of 40 rows"} <= {c.name for c in found.checks}
    assert [c.name for c in other.checks if not c.passed] == ["version that answered"]
    with pytest.raises(DeploymentError, match="No deployment is named 'sales'"):
        deployment.verify(target=target, deployment="sales")


def test_a_server_of_ours_that_died_cannot_be_verified(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = local.Local("sales", local.Wanted("models:/sales-response/1"), "http://127.0.0.1:9", 1, "", "", "the log", "/")
    monkeypatch.setattr(local, "find", lambda state, name: gone)
    monkeypatch.setattr(local, "alive", lambda found: False)
    with pytest.raises(DeploymentError, match=r"'sales' is dead; .*Its log: the log"):
        deployment.verify(target=f"adresponse:{tmp_path}", deployment="sales")


def test_a_deployment_that_is_not_there_cannot_be_verified(here: Path) -> None:
    done = command("verify", "--url", "http://127.0.0.1:9")
    assert done.exit_code == 2
    assert "http://127.0.0.1:9" in done.stderr


def test_a_target_needs_the_name_of_its_deployment(here: Path) -> None:
    with pytest.raises(ConfigError, match="add --deployment NAME"):
        deployment.verify(target="adresponse")
    with pytest.raises(ConfigError, match="not both"):
        deployment.verify(target="adresponse", url="http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--deployment", "sales", "-C", "a=b"], "deployment='sales' names a deployment at a target; add --target"),
        (["-C", "a=b"], "config (-C) holds settings of a target; add --target"),
        (["--url", "http://127.0.0.1:9", "--deployment", "sales"], "deployment='sales' names a deployment at a target"),
        (["--token-file", "token"], "token_file='token' is sent to a server at a URL; add --url"),
        (["--target", "adresponse", "--deployment", "sales", "--token-file", "token"], "token_file='token' is sent to"),
        (["--target", "other", "--deployment", "sales", "-C", "a=b"], "target='other' takes no settings here"),
    ],
)
def test_what_would_not_be_read_is_refused_before_anything_is_asked(here: Path, words: list[str], said: str) -> None:
    before = client(here).get_model_version("sales-response", "1").tags
    done = command("verify", "models:/sales-response/1", *words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert client(here).get_model_version("sales-response", "1").tags == before


# --- deploy and serve


@pytest.mark.parametrize(
    "token",
    [
        "short",
        "blanks in sixteen characters",
        "sixteen-characters\nand-two-lines",
        "sixteen-euros-or-more-€",  # no header of ours can hold it
        "sixteen-umlauts-or-more-ü",  # one can, which the server reads otherwise
        "\ufeffsixteen-or-more-characters",  # a mark that some editors write first
        "",
    ],
)
def test_a_token_that_cannot_be_sent_or_guessed_too_soon_is_refused_and_not_shown(tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(token, encoding="utf-8")
    with pytest.raises(ConfigError, match="16 or more characters, ASCII letters, digits and punctuation") as refused:
        read_token(tmp_path / "token")
    assert not token or token not in str(refused.value)


def test_a_token_may_hold_whatever_a_header_takes(tmp_path: Path) -> None:
    token = "".join(map(chr, range(0x21, 0x7F)))
    (tmp_path / "token").write_text(f"{token}\n")
    assert read_token(tmp_path / "token") == token


@pytest.mark.parametrize("target", ["sagemaker", "azureml"])
@pytest.mark.parametrize("action", ["delete", "status"])
def test_a_dry_run_of_deleting_deletes_nothing(target: Any, action: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"adresponse.targets.{target}")
    for name in ("delete", "status", "connect"):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("something was sent"), raising=False)
    config = {"subscription_id": "ID", "resource_group": "g", "workspace_name": "w"} if target == "azureml" else {}
    with pytest.raises(ConfigError, match=f"The action '{action}' has no dry run"):
        adresponse.deploy(target, action=action, name="sales", region="eu-west-1", config=config, dry_run=True)


def test_a_version_whose_endpoint_is_gone_can_be_deleted(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(settings: Any, name: str) -> None:
        raise MissingDeploymentError(f"There is no endpoint {name!r}.")

    opened = deployment.open_store()
    located = registry.locate(opened, "models:/sales-response/1")
    registry.deployed(opened, located, "sagemaker:/eu-west-1 sales")
    monkeypatch.setattr(sagemaker, "delete", gone)
    with pytest.raises(MissingDeploymentError):
        deployment.deploy("sagemaker", name="sales", region="eu-west-1", action="delete")
    assert registry.uses(opened, "sales-response", "1") == ()


def test_a_version_that_is_put_beside_another_leaves_its_note(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[bool] = []
    monkeypatch.setattr(sagemaker, "create", lambda *given, **about: None)
    monkeypatch.setattr(registry, "deployed", lambda *given, beside: noted.append(beside))
    for mode in ("add", "replace"):
        deployment.deploy("sagemaker", "models:/sales-response/1", name="sales", region="eu-west-1", config={"mode": mode})
    assert noted == [True, False]


def test_an_image_is_written_and_a_dry_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = str(stored(three_channels(), tmp_path))
    told = command("deploy", "image", model, "--out", "image", "--dry-run", "--json")
    assert told.exit_code == 0, told.stderr
    assert json.loads(told.stdout)["target"] == "image"
    assert not Path("image").exists()
    assert command("deploy", "image", model, "--out", "image").exit_code == 0
    assert Path("image/Dockerfile").exists()
    for dry in ([], ["--dry-run"]):
        again = command("deploy", "image", model, "--out", "image", *dry)
        assert again.exit_code == 2
        assert "holds a build context already" in again.stderr
        assert command("deploy", "image", model, "--out", "image", "--force", *dry).exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve", "MODEL", "--host", "0.0.0.0"], "token"),  # an open door needs a word
        (["serve", "MODEL", "--token-file", "nowhere"], "token file 'nowhere' cannot be read"),
        (["serve", "models:/nothing@champion"], "is not there yet"),
        (["deploy", "image", "MODEL", "-C", "prt=80"], "'prt' is not known to an image"),
        (["deploy", "image", "MODEL", "-C", "token_file="], "token_file is blank; name the file"),  # else it answers anyone
        (["deploy", "sagemaker", "MODEL", "--name", "x", "--region", "eu-west-1", "-C", "imge_url=x"], "imge_url"),
        (["deploy", "azureml", "MODEL", "--name", "x"], "subscription_id"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    model = str(stored(one_channel(), tmp_path))
    done = command(*[model if w == "MODEL" else w for w in words])
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
