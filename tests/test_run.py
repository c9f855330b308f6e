"""Does one command take a table through the whole study, and leave nothing behind where it refuses?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import adresponse
from adresponse.cli import main
from examples import shipped
from parts import free_port


def command(*args: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command, run in this process."""
    done = CliRunner().invoke(main, args)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_figures_are_printed_whatever_the_encoding_of_the_output(tmp_path: Path, encoding: str) -> None:
    """As a pipe on Windows has it: cp1252 knows no minus sign."""
    rows = "".join(f"{i % 7},{-2.5 - i % 5},{3 * (i % 7) + i % 3}\n" for i in range(40))
    path = tmp_path / "a.csv"
    path.write_text("TV,Wärme °C,Sales\n" + rows, encoding="utf-8")

    def out(*more: str) -> bytes:
        done = CliRunner(charset=encoding).invoke(main, ["explore", str(path), *more])
        assert done.exit_code == 0
        return done.stdout_bytes

    said = out().decode(encoding)
    assert ("−6.5" if encoding == "utf-8" else "-6.5") in said
    assert ("W?rme ?C" if encoding == "ascii" else "Wärme °C") in said
    assert json.loads(out("--json"))["numbers"][1]["name"] == "Wärme °C"


def client(folder: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def test_the_built_in_study_from_nothing(tmp_path: Path) -> None:
    """As a new user runs it: a process of its own, an empty folder with blanks in its path, no store."""
    folder = tmp_path / "a new user"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "adresponse", "run", "--json"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    made = json.loads(done.stdout)
    assert (made["model_name"], made["version"], made["status"]) == ("sales-response", "1", "VALIDATED")
    assert {k: round(v, 3) for k, v in made["metrics"].items()} == {
        "mae": 2.444,
        "rmse": 3.194,
        "mape": 0.187,
        "r2": 0.677,
    }
    assert [c["name"] for c in made["coefficients"]] == ["intercept", "TV"]
    assert Path(made["report"]).read_text().startswith("<!DOCTYPE html>")
    store = client(folder)
    assert store.get_model_version_by_alias("sales-response", "champion").run_id == made["run_id"]
    assert store.get_run(made["run_id"]).info.status == "FINISHED"
    assert {p.name for p in folder.iterdir()} == {"mlflow.db", "mlruns", "adresponse-output"}


def test_the_registered_version_predicts_what_was_evaluated(workplace: Path) -> None:
    made = adresponse.run(repeats=1)
    study = made.study
    mlflow.set_tracking_uri(made.store)
    held_out = study.table.X.iloc[study.test]
    expected = study.estimator.predict(held_out)
    for model in (
        mlflow.pyfunc.load_model(made.model_uri),
        mlflow.sklearn.load_model("models:/sales-response@champion"),
    ):
        np.testing.assert_array_equal(model.predict(held_out), expected)


def test_several_channels_odd_names_and_weeks(workplace: Path) -> None:
    random = np.random.default_rng(4)
    weeks = 104
    frame = pd.DataFrame({
        "Woche vom": pd.date_range("2023-01-02", periods=weeks, freq="W-MON").strftime("%d.%m.%Y"),
        "Spend: TV (€)": random.uniform(0, 5000, weeks),
        "print & radio": random.uniform(0, 900, weeks),
        "Price": random.uniform(9, 11, weeks),
    })  # fmt: skip
    frame["Net revenue"] = 900 + 0.4 * frame["Spend: TV (€)"] + 2 * frame["print & radio"] + random.normal(0, 90, weeks)
    frame.to_csv("weekly data.csv", sep=";", decimal=",", index=False)
    Path("once.yaml").write_text("repeats: 1\n")
    code, out, err = command(
        "run", "weekly data.csv", "--config", "once.yaml", "--target", "Net revenue",
        "--channels", "Spend: TV (€),print & radio", "--controls", "Price", "--date", "Woche vom", "--json",
        "--name", "weekly model", "--out", "the report",
    )  # fmt: skip
    assert (code, err) == (0, "")
    made = json.loads(out)
    assert made["model_name"] == "weekly model"
    by_name = {c["name"]: c for c in made["coefficients"]}
    for name, truth in (("Spend: TV (€)", 0.4), ("print & radio", 2.0)):
        assert abs(by_name[name]["estimate"] - truth) < 4 * by_name[name]["se"]
    report = Path(made["report"])
    assert report.parent == workplace / "the report"
    assert "print &amp; radio" in report.read_text()


def test_in_time_the_last_rows_are_held_out_and_a_period_stays_in_one_piece(workplace: Path) -> None:
    dates = pd.date_range("2024-01-01", periods=30, freq="D").repeat(2)
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"day": dates, "region": ["n", "s"] * 30, "tv": random.uniform(1, 9, 60)})
    frame["sales"] = 3 * frame["tv"] + random.normal(0, 1, 60)
    study = adresponse.fit(frame.sample(frac=1, random_state=1), target="sales", channels=["tv"], date="day", market="region")
    held = study.table.frame["day"]
    assert held.iloc[study.train].max() < held.iloc[study.test].min()
    assert len(study.test) == 12


def test_nothing_held_out_says_that_metrics_come_from_cross_validation(workplace: Path) -> None:
    Path("once.yaml").write_text("repeats: 1\n")
    code, out, _ = command("run", "--config", "once.yaml", "--test-size", "0", "--json")
    made = json.loads(out)
    assert code == 0
    assert made["metrics_basis"] == "cross-validation"
    # ISLR, table 3.1, on all 200 rows; the book cuts 7.03259 to 7.0325
    assert made["coefficients"][0]["estimate"] == pytest.approx(7.0325, abs=1e-4)
    assert made["coefficients"][1]["se"] == pytest.approx(0.0027, abs=5e-5)
    assert "cross-validation" in Path(made["report"]).read_text()


def test_a_challenger_by_import_path_can_win_and_is_stored_without_pickle(workplace: Path) -> None:
    random = np.random.default_rng(3)
    spend = random.uniform(0, 10, 400)
    pd.DataFrame({"tv": spend, "sales": 9 + np.sin(spend) * 5 + random.normal(0, 0.3, 400)}).to_csv("t.csv", index=False)
    Path("c.yaml").write_text("challengers: [sklearn.ensemble.HistGradientBoostingRegressor]\nrepeats: 1\n")
    code, out, err = command("run", "t.csv", "--target", "sales", "--config", "c.yaml", "--json")
    assert (code, err) == (0, "")
    made = json.loads(out)
    assert made["coefficients"] == []
    assert made["metrics"]["r2"] > 0.9
    assert not [p for p in workplace.rglob("*") if p.suffix in (".pkl", ".pickle", ".joblib")]
    mlflow.set_tracking_uri(f"sqlite:///{workplace / 'mlflow.db'}")
    assert mlflow.pyfunc.load_model(made["model_uri"]).predict(pd.DataFrame({"tv": [5.0]})).shape == (1,)


def test_a_rejected_version_does_not_become_champion(workplace: Path) -> None:
    Path("c.yaml").write_text("gate: [all finite, r2 >= 0.9]\nrepeats: 1\n")
    code, out, _ = command("run", "--config", "c.yaml", "--json")
    made = json.loads(out)
    assert (code, made["status"], made["champion"]) == (0, "REJECTED", False)
    assert client(workplace).get_registered_model("sales-response").aliases == {}


def test_the_summary_names_figures_advice_and_paths(workplace: Path) -> None:
    code, out, _ = command("run")
    assert code == 0
    for said in ("Sales = 7.12 + 0.04653 × TV", "2.44 thousand units", "no difference", "A straight line has no best budget",
                 "sales-response version 1: VALIDATED, champion", "sales-response-report.html", "adresponse ui"):  # fmt: skip
        assert said in out


def csv(name: str, text: str) -> str:
    Path(name).write_text(text)
    return name


ROWS = "\n".join(f"{i + 1},{2 * i + 3 + i % 3}" for i in range(40))
WIDE = pd.DataFrame(np.random.default_rng(0).uniform(1, 9, (200, 200)), columns=[f"c{i}" for i in range(199)] + ["Sales"])
BAD = {
    "empty file": (lambda: csv("t.csv", ""), [], "is empty"),
    "header only": (lambda: csv("t.csv", "TV,Sales\n"), [], "no rows"),
    "one row": (lambda: csv("t.csv", "TV,Sales\n1,2\n"), [], "1 row"),
    "text in a number column": (
        lambda: csv("t.csv", f"TV,Sales\n{ROWS}\nmuch,3\n"),
        ["--channels", "TV"],
        "row 41 (line 42 of t.csv): 'much'",
    ),
    "missing value": (lambda: csv("t.csv", f"TV,Sales\n{ROWS}\n,3\n"), [], "--missing drop"),
    "constant spend": (
        lambda: csv("t.csv", "TV,Sales\n" + "\n".join(f"7,{i}" for i in range(20))),
        [],
        "'TV' is constant",
    ),
    "infinite": (lambda: csv("t.csv", f"TV,Sales\n{ROWS}\ninf,3\n"), [], "row 41"),
    "negative spend": (lambda: csv("t.csv", f"TV,Sales\n{ROWS}\n-4,3\n"), ["--channels", "TV"], "negative"),
    "wrong column name": (lambda: csv("t.csv", f"TV,Sales\n{ROWS}"), ["--target", "Sale"], "Did you mean 'Sales'"),
    "two columns of one name": (lambda: csv("t.csv", f"TV,TV,Sales\n{ROWS}"), [], "'TV'"),
    "200 columns": (lambda: WIDE.to_csv("t.csv", index=False) or "t.csv", [], "200 coefficients"),
    "no table": (lambda: Path("t.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0") and "t.csv", [], "not a table but a PNG"),
    "no file": (lambda: "nothing.csv", [], "nothing.csv"),
    "folder": (lambda: ".", [], "is a directory"),
    "sheet without a table": (lambda: "", ["--sheet", "Data"], "name the table too"),
    "malformed store": (lambda: csv("t.csv", f"TV,Sales\n{ROWS}"), [], "cannot be read"),
    "unknown setting": (lambda: csv("t.csv", f"TV,Sales\n{ROWS}"), ["--config", "none.yaml"], "cannot be read"),
    "all held out": (lambda: csv("t.csv", f"TV,Sales\n{ROWS}"), ["--test-size", "0.95"], "hold out less"),
    "out is a file": (lambda: csv("t.csv", f"TV,Sales\n{ROWS}"), ["--out", "t.csv"], "is a file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_sentence_and_leaves_nothing(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make, options, said = BAD[case]
    if case == "malformed store":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:my/secret@host/db")
    table = make()
    before = {p.name for p in tmp_path.iterdir()}
    code, out, err = command("run", table, *options)
    assert code == 2
    assert out == ""
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err
    assert "secret" not in err
    assert {p.name for p in tmp_path.iterdir()} == before


def test_a_refusal_in_json_is_one_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = command("run", "nothing.csv", "--json")
    assert code == 2
    assert json.loads(out)["error"]["type"] == "TableError"


def test_no_permission(tmp_path: Path) -> None:
    """As a user who may not read the file; a root process may read all, so it becomes nobody first."""
    table = tmp_path / "secret.csv"
    shipped("tvmarketing").to_csv(table, index=False)
    table.chmod(0)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == Path.home().owner() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    code = f"import sys; sys.argv = ['adresponse', 'check', {str(table)!r}]; from adresponse.cli import main; main()"
    prepared = "import os, adresponse, adresponse.cli\nadresponse.check()\n"  # nobody may not read the libraries either
    become = "os.setgid(65534); os.setuid(65534)\n" if os.getuid() == 0 else ""
    done = subprocess.run([sys.executable, "-c", prepared + become + code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "secret.csv" in done.stderr
    assert "permission" in done.stderr.lower()
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_large_file_is_streamed(workplace: Path) -> None:
    """All of three million rows are checked, and some kept; ``test_table`` holds that memory stays flat."""
    random = np.random.default_rng(0)
    block = "\n".join(f"{a:.6f},{b:.6f}" for a, b in random.uniform(1, 300, (100_000, 2)))
    with open("large.csv", "w") as file:
        file.write("TV,Sales\n")
        for _ in range(30):
            file.write(block + "\n")
    Path("c.yaml").write_text("max_rows: 5000\nrepeats: 1\n")
    done = subprocess.run(
        [sys.executable, "-m", "adresponse", "check", "large.csv", "--config", "c.yaml", "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["rows"] == 5000
    assert "3,000,000 rows" in next(f for f in found["findings"] if f["code"] == "D012")["message"]


@pytest.mark.parametrize("name", ["run", "check", "explore", "compare", "ui", "doctor", "init"])
def test_help_ends_with_a_line_to_paste(name: str) -> None:
    code, out, _ = command(name, "--help")
    assert code == 0
    assert out.strip().splitlines()[-1].strip().startswith("adresponse ")


def test_check_explore_and_compare_write_nothing(workplace: Path) -> None:
    before = {p.name: p.stat().st_mtime_ns for p in workplace.iterdir()}
    for name in ("check", "explore", "compare"):
        code, out, err = command(name)
        assert (code, err) == (0, "")
        assert "TV" in out or "LinearRegression" in out
        assert json.loads(command(name, "--json")[1])
    assert {p.name: p.stat().st_mtime_ns for p in workplace.iterdir()} == before


def test_check_of_a_table_that_is_not_fit_shows_all_and_exits_2(workplace: Path) -> None:
    table = csv("t.csv", "TV,Sales\n" + "\n".join(f"7,{i}" for i in range(20)))
    code, out, err = command("check", table)
    assert code == 2
    assert "D002" in out
    assert "constant" in err
    code, out, err = command("check", table, "--json")
    assert code == 2
    assert json.loads(out)["findings"][0]["code"] == "D002"


def test_a_value_out_of_reach_ends_check_explore_and_compare_in_one_sentence(workplace: Path) -> None:
    shipped("tvmarketing").assign(TV=lambda f: f["TV"].mask(f.index == 3, 1.797e308)).to_csv("t.csv", index=False)
    for name in ("check", "explore", "compare"):
        code, _, err = command(name, "t.csv")
        assert (code, err.count("row 4, 1.797e+308"), "Traceback" in err) == (2, 1, False)


def test_a_row_is_named_by_its_number_in_the_file(workplace: Path) -> None:
    frame = shipped("tvmarketing").assign(week=pd.date_range("2020-01-06", periods=200, freq="W-MON").astype(str))
    frame.loc[5, "TV"] = None
    frame.loc[20, "TV"] = 5000.0
    frame.iloc[::-1].to_csv("newest first.csv", index=False)
    _, findings = adresponse.check("newest first.csv", target="Sales", channels=["TV"], date="week", missing="drop")
    assert f"row {200 - 20}: 5,000" in next(f.message for f in findings if f.code == "D011")


def test_spend_in_held_out_rows_alone_is_refused(workplace: Path) -> None:
    frame = shipped("tvmarketing").assign(Late=0.0, week=pd.date_range("2020-01-06", periods=200, freq="W-MON"))
    frame.loc[190:, "Late"] = 5.0
    with pytest.raises(adresponse.UnfitTableError, match=r"160 rows that are fitted: Column 'Late' is constant"):
        adresponse.fit(frame, target="Sales", channels=["TV", "Late"], date="week")


def test_two_challengers_of_one_name_stay_apart(workplace: Path) -> None:
    study = adresponse.fit(challengers=["sklearn.linear_model.Ridge", "sklearn.linear_model._ridge.Ridge"], repeats=1)
    assert len({row.name for row in study.leaderboard.rows}) == 6


def test_the_headline_of_a_rejected_model_says_so(workplace: Path) -> None:
    assert "the gate rejected this model" in adresponse.fit(gate=["r2 >= 0.9"], repeats=1).recommendation.headline


def test_doctor_and_init(workplace: Path) -> None:
    found = json.loads(command("doctor", "--json")[1])
    assert found["packages"]["mlflow"] == mlflow.__version__
    assert found["store"]["uri"].endswith("mlflow.db")
    assert command("init")[0] == 0
    code, _, err = command("init")
    assert code == 2
    assert "there already" in err
    assert command("check", "--config", "adresponse.yaml")[0] == 0


def test_blank_options_count_as_not_given(workplace: Path) -> None:
    assert command("check", "", "--target", "", "--missing", "")[0] == 0


def test_python_says_the_same_words(workplace: Path) -> None:
    assert set(adresponse.__all__) <= set(dir(adresponse))
    table, findings = adresponse.check()
    assert table.contract.target == "Sales"
    assert {f.code for f in findings} <= {"D013"}
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        adresponse.runn  # noqa: B018


def test_the_ui_answers_on_the_same_store_and_leaves_with_its_command(workplace: Path) -> None:
    """With one process that answers, of MLflow's four: the command, ``mlflow`` and its server are three."""
    port = free_port()
    done = subprocess.Popen(
        [sys.executable, "-m", "adresponse", "ui", "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        assert within(60, lambda: answers(port)), "the UI did not come up"
        if Path("/proc").exists():
            assert len(family(done.pid)) == 3
    finally:
        done.terminate()
        done.wait(30)
    assert within(15, lambda: not answers(port)), "the server outlived its command"


def family(pid: int) -> list[int]:
    """A process and those that it has started, and those that they have."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def within(seconds: float, happens: Callable[[], bool]) -> bool:
    """Whether something happens before the time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if happens():
            return True
        time.sleep(0.2)
    return False


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "adresponse"], env=os.environ | {"_ADRESPONSE_COMPLETE": f"{shell}_source"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "_ADRESPONSE_COMPLETE" in done.stdout


def test_a_command_that_is_stopped_says_so_and_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("adresponse.lifecycle.explore", stop)
    code, out, err = command("explore")
    assert (code, out, err.count("\n")) == (130, "", 1)
    assert err.startswith("adresponse: Stopped by Ctrl-C")
    code, out, _ = command("explore", "--json")
    assert (code, json.loads(out)["error"]["type"]) == (130, "KeyboardInterrupt")


@pytest.mark.parametrize("shown", [[], ["--json"]])
def test_a_command_of_which_nobody_reads_the_rest_ends_quietly(shown: list[str], tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "adresponse", "explore", *shown], cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("arguments", [["--seed", "abc"], ["--sede", "1"], ["--missing", "guess"]])
def test_what_the_command_line_itself_refuses_is_json_too(arguments: list[str]) -> None:
    code, out, err = command("compare", *arguments, "--json")
    said = json.loads(out)["error"]
    assert (code, said["type"]) == (2, "ConfigError")
    assert said["message"] in err
    assert command("compare", *arguments)[:2] == (2, "")


BLANK = [["--target", ""], ["--target="], ["--target", " "], ["--target= "], ["--channels", "TV,"], ["--channels=TV, ,"], [" "]]


@pytest.mark.parametrize("arguments", BLANK)
def test_a_blank_value_counts_as_not_given(arguments: list[str]) -> None:
    found = command("check", *arguments, "--json")
    assert found[0] == 0
    assert found == command("check", "--json")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "--channels", "TV", "--channels", "Radio"], "--channels is given twice; give it once, as --channels A,B."),
        (["run", "--seed=1", "--seed", "2"], "--seed is given twice; give it once."),
        (["predict", "a.csv", "-o", "b.csv", "--output", "c.csv"], "--output is given twice"),  # by either name
        (["serve", "--port", "1", "--port", "2"], "--port is given twice"),
        (["deploy", "image", "-C", "port=1", "-C", "token_file=t", "-C", "port=2"], "port is given twice; give it once."),
    ],
)
def test_an_option_given_twice_is_refused(workplace: Path, arguments: list[str], said: str) -> None:
    before = sorted(workplace.iterdir())
    code, out, err = command(*arguments)
    assert (code, out, sorted(workplace.iterdir())) == (2, "", before)
    assert said in err


def test_flags_blank_values_and_lists_may_come_again(workplace: Path) -> None:
    assert command("check", "-q", "-q", "--target=", "--target", "Sales", "--target", " ")[0] == 0
    assert "'nowhere' names no model" in command("plan", "nowhere", "--lock", "TV", "--lock", "Radio")[2]
