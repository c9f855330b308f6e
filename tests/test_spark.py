"""Does a real cluster of several processes give the formula's bits, and an error column where a row is bad?"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as t

from adresponse import pyfunc
from adresponse.cli import main
from adresponse.engines import batch, spark
from adresponse.errors import ConfigError, DeploymentError, RowsError, TableError
from adresponse.rows import check
from adresponse.stored import Stored, open_stored
from curves_example import CHANNELS as MIX
from curves_example import MARKETS, hill, panel, sized_panel, stored_curves
from spark_parts import cluster, session
from stored_example import curved, one_channel, stored, three_channels

CHANNELS = ["TV", "Radio", "Newspaper"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture(scope="module")
def on(address: str) -> Iterator[SparkSession]:
    with session(address) as started:
        yield started


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return open_stored(stored(three_channels(), tmp_path_factory.mktemp("three")))


def random_rows(rows: int = 2_000) -> pd.DataFrame:
    random = np.random.default_rng(7)
    return pd.DataFrame({name: random.uniform(0, 300, rows) for name in CHANNELS})


def expected(model: Stored, rows: pd.DataFrame, level: float | None = None) -> pd.DataFrame:
    return pd.DataFrame(model.formula.answer([rows[n].to_numpy(dtype=float) for n in model.formula.contract.features], level))


def test_the_executors_are_processes_of_their_own(on: SparkSession) -> None:
    pids = set(on.sparkContext.parallelize(range(8), 8).map(lambda _: os.getpid()).collect())
    assert on.sparkContext.master.startswith("spark://127.0.0.1:")
    assert os.getpid() not in pids
    assert len(pids) >= 2


def test_expressions_give_the_formulas_bits(on: SparkSession, three: Stored) -> None:
    rows = random_rows()
    found = spark.with_predictions(on.createDataFrame(rows).repartition(4), three, 0.9).toPandas()
    assert found["error"].isna().all()
    np.testing.assert_array_equal(found[["prediction", "lower", "upper"]], expected(three, found, 0.9))


def test_mlflows_own_udf_gives_the_same(on: SparkSession, three: Stored) -> None:
    rows = random_rows(200)
    frame = on.createDataFrame(rows)
    plain = mlflow.pyfunc.spark_udf(on, str(three.folder), result_type="double", env_manager="local")
    wide = "prediction double, lower double, upper double"
    with_ends = mlflow.pyfunc.spark_udf(on, str(three.folder), result_type=wide, env_manager="local", params={"interval": 0.9})
    found = frame.select(*CHANNELS, plain().alias("alone"), with_ends().alias("all")).toPandas()
    ours = expected(three, found, 0.9)
    np.testing.assert_array_equal(found["alone"], ours["prediction"])
    np.testing.assert_array_equal(pd.DataFrame(found["all"].tolist()), ours)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (t.IntegerType(), [100, 7]),
        (t.LongType(), [100, 7]),  # MLflow's own check of a double column refuses these
        (t.ShortType(), [100, 7]),
        (t.FloatType(), [100.0, 7.5]),
        (t.DecimalType(10, 2), [Decimal("100.00"), Decimal("7.25")]),
    ],
    ids=lambda v: getattr(v, "simpleString", lambda: "")(),
)
def test_every_kind_of_number_is_answered_as_its_float64(
    on: SparkSession, three: Stored, kind: t.DataType, values: list[Any]
) -> None:
    schema = t.StructType([t.StructField(name, kind) for name in CHANNELS])
    found = spark.with_predictions(on.createDataFrame([(v, v, v) for v in values], schema), three).toPandas()
    rows = pd.DataFrame({name: [float(v) for v in values] for name in CHANNELS})
    np.testing.assert_array_equal(found["prediction"].to_numpy(dtype=float), expected(three, rows)["prediction"])


BAD = [
    (None, "Column 'Radio': the value is missing; give a number."),
    (float("nan"), "Column 'Radio': the value is missing; give a number."),
    (float("inf"), "Column 'Radio': the value is not finite; give a finite number."),
    (-5.0, "Column 'Radio': -5 is negative, and spend is 0 or more."),
    (-0.25, "Column 'Radio': -0.25 is negative, and spend is 0 or more."),
    (-1e300, "Column 'Radio': -1.0E300 is negative, and spend is 0 or more."),
]


def bad_frame(on: SparkSession) -> DataFrame:
    schema = t.StructType([t.StructField(name, t.DoubleType()) for name in CHANNELS])
    return on.createDataFrame([(100.0, value, 1.0) for value, _ in BAD] + [(100.0, 20.0, 1.0)], schema)


def test_a_bad_row_gets_an_error_and_the_others_their_answer(on: SparkSession, three: Stored) -> None:
    found = spark.with_predictions(bad_frame(on), three, 0.9).toPandas()
    assert found["error"].iloc[:-1].tolist() == [said for _, said in BAD]
    assert found[["prediction", "lower", "upper"]].iloc[:-1].isna().all(axis=None)
    assert found["error"].iloc[-1] is None or pd.isna(found["error"].iloc[-1])
    assert found["prediction"].iloc[-1] == expected(three, found.iloc[-1:])["prediction"].iloc[0]


def test_a_table_is_scored_with_its_other_columns(on: SparkSession, three: Stored, tmp_path: Path) -> None:
    rows = random_rows(500).assign(week=datetime.date(2026, 1, 5), note="a, b")
    rows.to_parquet(tmp_path / "my spend.parquet")
    done = spark.predict(three, tmp_path / "my spend.parquet", tmp_path / "scored.parquet", level=0.8)
    assert (done.rows, done.skipped, done.engine) == (500, 0, "spark")
    found = pd.read_parquet(tmp_path / "scored.parquet")
    assert list(found) == [*CHANNELS, "week", "note", "prediction", "lower", "upper"]
    np.testing.assert_array_equal(found[["prediction", "lower", "upper"]], expected(three, found, 0.8))
    seen = three.formula.ranges["Radio"][1]
    assert done.beyond["Radio"].rows == int((rows["Radio"] > seen).sum())
    assert done.beyond["Radio"].highest == rows["Radio"].max()


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_names_are_taken_as_they_are(on: SparkSession, three: Stored, tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "100 % of [my] rows, ü #1"
    folder.mkdir()
    source, out = folder / f"spend {{a}} [1]{suffix}", folder / "scored [2] 50%.parquet"
    rows = random_rows(20)
    rows.to_csv(source, index=False) if suffix == ".csv" else rows.to_parquet(source)
    assert spark.predict(three, source, out).rows == 20
    np.testing.assert_array_equal(pd.read_parquet(out)["prediction"], expected(three, rows)["prediction"])
    assert {p.name for p in folder.iterdir()} == {source.name, out.name}
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_table_with_bad_rows(on: SparkSession, three: Stored, tmp_path: Path, on_error: Any) -> None:
    bad_frame(on).write.parquet(str(tmp_path / "spend.parquet"))
    out = tmp_path / "scored.parquet"
    if on_error == "fail":
        with pytest.raises(RowsError, match=r"6 rows break the model's contract; one of them: Column 'Radio'"):
            spark.predict(three, tmp_path / "spend.parquet", out)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["spend.parquet"]
    else:
        done = spark.predict(three, tmp_path / "spend.parquet", out, on_error="skip")
        assert (done.rows, done.skipped) == (1, 6)
        assert sorted(pd.read_parquet(out)["error"].dropna()) == sorted(said for _, said in BAD)


def test_an_output_that_is_there_is_kept_unless_replaced(on: SparkSession, three: Stored, tmp_path: Path) -> None:
    random_rows(5).to_parquet(tmp_path / "spend.parquet")
    out = tmp_path / "scored.csv"
    spark.predict(three, tmp_path / "spend.parquet", out)
    with pytest.raises(ConfigError, match="exists already; give --force"):
        spark.predict(three, tmp_path / "spend.parquet", out)
    spark.predict(three, tmp_path / "spend.parquet", out, overwrite=True)
    (part,) = out.glob("part-*.csv")
    assert len(pd.read_csv(part)) == 5


def test_force_replaces_neither_the_table_read_nor_what_spark_did_not_write(
    on: SparkSession, three: Stored, tmp_path: Path
) -> None:
    table = tmp_path / "in" / "spend.parquet"
    table.parent.mkdir()
    random_rows(5).to_parquet(table)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    shutil.copytree(table.parent, tmp_path / "written")
    (tmp_path / "written" / "_SUCCESS").touch()
    refused = [
        (table, table, "is the table that is read"),
        (table.parent, table.parent / "scored.parquet", "lies in the folder that is read"),
        (tmp_path / "written" / "spend.parquet", tmp_path / "written", "is a folder that the table .* lies in"),
        (table, tmp_path / "notes", "is a folder that Spark did not write"),
    ]
    before = sorted(p for p in tmp_path.rglob("*") if p.is_file())
    for source, output, said in refused:
        for place in (str, Path.as_uri):
            with pytest.raises(ConfigError, match=said):
                spark.predict(three, place(source), place(output), overwrite=True)
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == before


def test_all_files_below_a_folder_are_scored(on: SparkSession, three: Stored, tmp_path: Path) -> None:
    """Spark itself takes those of the folder alone, and of folders that are named as ``region=North``."""
    rows = random_rows(9)
    for name, part in (("spend/a.parquet", rows[:4]), ("spend/2026/q 1/b.parquet", rows[4:]), ("deep/2026/c.parquet", rows)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        part.to_parquet(tmp_path / name)
    for source in (tmp_path / "spend", tmp_path / "deep", (tmp_path / "spend").as_uri(), f"{tmp_path}/spend/*"):
        assert spark.predict(three, source, tmp_path / "o.parquet", overwrite=True).rows == 9


def test_what_folders_say_is_a_column_and_kept_as_text(on: SparkSession, three: Stored, tmp_path: Path) -> None:
    rows = random_rows(4).assign(shop=["007", "010"] * 2, TV=[3.0, 7.5] * 2)
    rows.to_parquet(tmp_path / "spend", partition_cols=["shop", "TV"])
    spark.predict(three, tmp_path / "spend", tmp_path / "o.parquet")
    found = pd.read_parquet(tmp_path / "o.parquet").sort_values("Radio").reset_index(drop=True)
    told = rows.sort_values("Radio").reset_index(drop=True)
    assert found["shop"].tolist() == told["shop"].tolist()
    np.testing.assert_array_equal(found["prediction"], expected(three, told)["prediction"])
    batch.predict(three, tmp_path / "spend", tmp_path / "here.parquet")
    here = pd.read_parquet(tmp_path / "here.parquet").sort_values("Radio").reset_index(drop=True)
    assert here["shop"].tolist() == told["shop"].tolist()
    np.testing.assert_array_equal(here["prediction"], found["prediction"])


def test_a_table_without_rows_is_refused_and_the_old_answers_stay(on: SparkSession, three: Stored, tmp_path: Path) -> None:
    for rows in (5, 0):
        random_rows(rows).to_parquet(tmp_path / f"{rows}.parquet")
    spark.predict(three, tmp_path / "5.parquet", tmp_path / "o.parquet")
    with pytest.raises(RowsError, match="has column names but no rows; give at least one"):
        spark.predict(three, tmp_path / "0.parquet", tmp_path / "o.parquet", overwrite=True)
    assert len(pd.read_parquet(tmp_path / "o.parquet")) == 5


@pytest.mark.parametrize(
    ("frame", "error", "said"),
    [
        ({"TV": [1.0], "radio": [1.0], "Newspaper": [1.0]}, RowsError, "Column 'Radio' is missing. Did you mean 'radio'?"),
        (
            {"TV": ["12"], "Radio": [1.0], "Newspaper": [1.0]},
            RowsError,
            "Column 'TV' holds string, not numbers; cast it to double.",
        ),
        ({"TV": [True], "Radio": [1.0], "Newspaper": [1.0]}, RowsError, "Column 'TV' holds boolean, not numbers"),
        ({"TV": [1.0], "Radio": [1.0], "Newspaper": [1.0], "lower": [0]}, ConfigError, "a column 'lower' already"),
        # Spark does not tell Error from error, and would replace the user's column
        ({"TV": [1.0], "Radio": [1.0], "Newspaper": [1.0], "Error": ["x"]}, ConfigError, "a column 'Error' already"),
    ],
)
def test_columns_that_do_not_fit_are_refused_before_the_job(
    on: SparkSession, three: Stored, frame: dict[str, list[Any]], error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as refusal:
        spark.with_predictions(on.createDataFrame(pd.DataFrame(frame)), three)
    assert said in str(refusal.value)


def test_a_table_that_is_not_there_is_one_sentence(on: SparkSession, three: Stored, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="Spark cannot read the table"):
        spark.predict(three, tmp_path / "nowhere.parquet", tmp_path / "out.parquet")


def test_a_model_without_closed_formula_is_asked_through_its_pipeline(on: SparkSession, tmp_path: Path) -> None:
    study = curved()
    model = open_stored(stored(study, tmp_path))
    rows = study.table.X.iloc[:50].assign(week="w")
    rows.iloc[3, 0] = -1.0
    found = spark.with_predictions(on.createDataFrame(rows), model, 0.9).toPandas()
    good = rows["TV Spend (k$)"] >= 0
    answers = pyfunc.ResponseModel(model.formula, model.folder).predict(rows[good], {"interval": 0.9})
    np.testing.assert_array_equal(found.loc[good.to_numpy(), ["prediction", "lower", "upper"]], answers)
    assert found["error"].iloc[3] == "Column 'TV Spend (k$)': -1 is negative, and spend is 0 or more."
    assert pd.isna(found["prediction"].iloc[3])


def test_what_a_killed_job_left_is_swept_and_a_running_jobs_part_is_not(
    on: SparkSession, three: Stored, tmp_path: Path
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    key = hashlib.sha256(b"scored.parquet").hexdigest()[:12]
    left, other = (tmp_path / f".adresponse-{key}-{pid}.spark" for pid in (dead.pid, os.getppid()))
    left.mkdir()
    other.mkdir()
    random_rows(5).to_parquet(tmp_path / "spend.parquet")
    spark.predict(three, tmp_path / "spend.parquet", tmp_path / "scored.parquet")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([other.name, "scored.parquet", "spend.parquet"])


def test_a_master_that_is_not_the_active_sessions_is_refused(on: SparkSession, three: Stored, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not that of the Spark session that is active"):
        spark.predict(three, tmp_path / "a.parquet", tmp_path / "b.parquet", master="spark://127.0.0.1:1")


def test_without_java_or_pyspark_the_part_to_install_is_named(
    three: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(SparkSession, "getActiveSession", lambda: None)
        patch.setattr(spark.shutil, "which", lambda name: None)
        patch.delenv("JAVA_HOME", raising=False)
        with pytest.raises(ConfigError, match=r"needs Java, which is not there; install adresponse\[spark\] and a Java"):
            spark.predict(three, tmp_path / "a.parquet", tmp_path / "b.parquet")
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(ConfigError, match="needs pyspark, which is not installed"):
        spark.predict(three, tmp_path / "a.parquet", tmp_path / "b.parquet")


def test_from_the_command_line_on_the_cluster(on: SparkSession, tmp_path: Path) -> None:
    pd.DataFrame({"TV": [100, 200]}).to_parquet(tmp_path / "spend.parquet")
    model, out = str(stored(one_channel(), tmp_path)), tmp_path / "scored.parquet"
    words = ["predict", str(tmp_path / "spend.parquet"), "-o", str(out), "--model", model, "--engine", "spark", "--json"]
    done = CliRunner().invoke(main, [*words, "--master", on.sparkContext.master])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 2
    found = pd.read_parquet(out)
    np.testing.assert_array_equal(found["prediction"], one_channel().estimator.predict(found[["TV"]].astype(float)))


def test_an_answer_too_large_to_be_a_number_is_an_error(on: SparkSession, three: Stored) -> None:
    steep = tuple(replace(term, coefficient=1e6) for term in three.formula.terms)
    model = replace(three, formula=replace(three.formula, terms=steep))
    rows = pd.DataFrame({"TV": [1.7e308, 1.0], "Radio": [1.0, 1.0], "Newspaper": [1.0, 1.0]})
    found = spark.with_predictions(on.createDataFrame(rows).coalesce(1), model, 0.9).toPandas()
    assert found["error"].iloc[0].startswith("The prediction is too large to be a number")
    assert found[["prediction", "lower", "upper"]].iloc[0].isna().all()
    assert found["prediction"].iloc[1] == expected(model, found.iloc[1:])["prediction"].iloc[0]


def test_an_output_at_an_address_is_kept_until_the_new_one_is_whole(on: SparkSession, three: Stored, tmp_path: Path) -> None:
    out = tmp_path / "scored.parquet"
    random_rows(5).to_parquet(tmp_path / "spend.parquet")
    spark.predict(three, tmp_path / "spend.parquet", out.as_uri())
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with pytest.raises(ConfigError, match="exists already; give --force"):
        spark.predict(three, tmp_path / "spend.parquet", out.as_uri())
    bad_frame(on).write.parquet(str(tmp_path / "bad.parquet"))
    with pytest.raises(RowsError, match="6 rows break"):
        spark.predict(three, tmp_path / "bad.parquet", out.as_uri(), overwrite=True)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert not list(tmp_path.glob(".adresponse-*.spark"))
    random_rows(7).to_parquet(tmp_path / "more.parquet")
    spark.predict(three, tmp_path / "more.parquet", out.as_uri(), overwrite=True)
    assert len(pd.read_parquet(out)) == 7


def test_other_columns_of_a_text_file_keep_their_text(on: SparkSession, three: Stored, tmp_path: Path) -> None:
    (tmp_path / "spend.csv").write_text("shop,TV,Radio,Newspaper\n007,100,2,3.5\n010,1,2,3\n")
    spark.predict(three, tmp_path / "spend.csv", tmp_path / "scored.csv")
    (part,) = (tmp_path / "scored.csv").glob("part-*.csv")
    assert pd.read_csv(part, dtype=str)["shop"].tolist() == ["007", "010"]


@pytest.mark.parametrize(("suffix", "separator"), [(".csv", ","), (".tsv", "\t")])
def test_a_text_keeps_quotes_and_blanks_as_pandas_writes_and_reads_them(
    on: SparkSession, three: Stored, tmp_path: Path, suffix: str, separator: str
) -> None:
    notes = ['say "hi"', "  blanks  ", "back\\slash", "a,b", 'ends in \\"']
    rows = random_rows(len(notes)).assign(**{'a "note"': notes})
    rows.to_csv(tmp_path / f"spend{suffix}", index=False, sep=separator)
    spark.predict(three, tmp_path / f"spend{suffix}", tmp_path / f"scored{suffix}")
    (part,) = (tmp_path / f"scored{suffix}").glob("part-*.csv")
    assert pd.read_csv(part, sep=separator)['a "note"'].tolist() == notes


@pytest.mark.parametrize("row", ["y,1,2", "y,1,2,3,4", '"y\nz",1,2,3'], ids=["too few", "too many", "line break"])
def test_a_ragged_row_of_a_text_is_refused_since_its_cells_would_be_read_in_other_columns(
    on: SparkSession, three: Stored, tmp_path: Path, row: str
) -> None:
    (tmp_path / "spend.csv").write_text(f"note,TV,Radio,Newspaper\nx,1,2,3\n{row}\n")
    with pytest.raises(TableError, match="A row has more or fewer cells than the header, or a cell holds a line break"):
        spark.predict(three, tmp_path / "spend.csv", tmp_path / "scored.csv", on_error="skip")
    assert [p.name for p in tmp_path.iterdir()] == ["spend.csv"]


@pytest.mark.parametrize("place", ["o.xlsx", "postgresql://u@h/d#t", "sqlite:///o.db#t"])
def test_what_spark_cannot_write_or_read_is_refused_before_it_is_started(three: Stored, place: str) -> None:
    for source, output in (("a.parquet", place), (place, "o.parquet")):
        with pytest.raises(ConfigError, match="no Excel or database URL"):
            spark.predict(three, source, output, master="spark://nowhere:1")


def test_javas_own_reason_is_said(on: SparkSession, three: Stored, tmp_path: Path) -> None:
    random_rows(3).to_parquet(tmp_path / "spend.parquet")
    for source, output in ((tmp_path / "spend.parquet", "nofs://b/o.parquet"), ("nofs://b/a.parquet", tmp_path / "o.parquet")):
        with pytest.raises(DeploymentError, match=r'No FileSystem for scheme "nofs"'):
            spark.predict(three, source, output)


def test_a_text_file_without_commas_is_refused(on: SparkSession, three: Stored, tmp_path: Path) -> None:
    (tmp_path / "spend.csv").write_text("TV;Radio;Newspaper\n100,5;2,0;3,5\n")
    with pytest.raises(TableError, match="no commas between its values"):
        spark.predict(three, tmp_path / "spend.csv", tmp_path / "scored.csv")


# --- curves


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Carry-over over weeks of three markets."""
    return open_stored(stored_curves(panel(), tmp_path_factory.mktemp("weeks")))


def by_formula(model: Stored, rows: pd.DataFrame, level: float | None = None, contributions: bool = False) -> pd.DataFrame:
    columns = check(model.formula.reads, {n: rows[n] for n in model.formula.inputs})
    return pd.DataFrame(model.formula.answer(columns, level, contributions=contributions))


def test_markets_of_other_sizes_get_the_formulas_bits(on: SparkSession, tmp_path: Path) -> None:
    model, rows = open_stored(stored_curves(sized_panel(), tmp_path)), sized_panel().table.frame.reset_index(drop=True)
    found = spark.with_predictions(on.createDataFrame(rows).repartition(4), model, 0.9, contributions=True).toPandas()
    told = found.sort_values(["when", "market"]).reset_index(drop=True)
    expected = by_formula(model, rows.sort_values(["when", "market"]).reset_index(drop=True), 0.9, True)
    pd.testing.assert_frame_equal(told[list(expected)], expected, check_exact=True)


def test_spend_beyond_the_range_of_its_markets_size_is_counted_as_elsewhere(on: SparkSession, tmp_path: Path) -> None:
    model, rows = open_stored(stored_curves(sized_panel(), tmp_path)), sized_panel().table.frame.reset_index(drop=True)
    small, channel = rows["market"] == "North", MIX[0]
    rows.loc[small & (rows.index % 5 == 0), channel] = 0.9 * model.formula.ranges[channel][1]
    rows.to_parquet(tmp_path / "spend.parquet", index=False)
    expected = batch.predict(model, tmp_path / "spend.parquet", tmp_path / "one.parquet").beyond
    assert expected[channel].rows == (small & (rows.index % 5 == 0)).sum() > 5
    assert spark.predict(model, tmp_path / "spend.parquet", tmp_path / "other.parquet").beyond == expected


@pytest.mark.parametrize("kind", ["timestamp", "date"])
def test_a_panel_with_carry_over_gets_the_formulas_bits(on: SparkSession, weeks: Stored, kind: str) -> None:
    """In four parts and any order: one task sees all rows. The session's clock is far from UTC's, and the date stays."""
    rows = panel().table.frame.sample(frac=1, random_state=1).reset_index(drop=True)
    given = rows.assign(when=rows["when"].dt.date) if kind == "date" else rows
    on.conf.set("spark.sql.session.timeZone", "Pacific/Auckland")
    try:
        frame = on.createDataFrame(given).repartition(4)
        found = spark.with_predictions(frame, weeks, 0.9, contributions=True).toPandas()
    finally:
        on.conf.unset("spark.sql.session.timeZone")
    assert found["error"].isna().all()
    names = list(weeks.formula.answer_names(0.9, True))
    assert list(found) == [*rows, *names, "error"]
    told = found.assign(when=pd.to_datetime(found["when"])).sort_values(["when", "market"]).reset_index(drop=True)
    sorted_rows = rows.sort_values(["when", "market"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(told[names], by_formula(weeks, sorted_rows, 0.9, True), check_exact=True)


def test_rows_of_curves_without_a_date_are_scored_in_many_tasks(on: SparkSession, tmp_path: Path) -> None:
    model = open_stored(stored_curves(hill(), tmp_path))
    rows = hill().table.frame.reset_index(drop=True)
    frame = on.createDataFrame(rows).repartition(4)
    found = spark.with_predictions(frame, model)
    assert found.rdd.getNumPartitions() > 1
    told = found.toPandas().sort_values([*MIX, "price"]).reset_index(drop=True)
    expected_of = by_formula(model, rows.sort_values([*MIX, "price"]).reset_index(drop=True))
    np.testing.assert_array_equal(told["prediction"], expected_of["prediction"])


def test_a_bad_row_of_a_panel_gets_an_error_and_the_others_their_answer(on: SparkSession, weeks: Stored) -> None:
    good = (100.0, 20.0, 1.0, "2024-03-04", MARKETS[0])
    bad = [
        ((None, *good[1:]), "Column 'TV, national': the value is missing; give a number."),
        ((100.0, -2.0, *good[2:]), "Column 'search': -2 is negative, and spend is 0 or more."),
        ((*good[:3], "4 March", MARKETS[0]), "Column 'when': '4 March' is not a date; write it as 2024-12-31."),
        ((*good[:3], None, MARKETS[0]), "Column 'when': the value is missing; give a date."),
        (
            (*good[:4], "Nort"),
            "Column 'market': 'Nort' is not a market of the model. Did you mean 'North'? It knows: North, south,",
        ),
        (good, "The row has the period of row 1 of market 'North'; the model carries spend"),
        ((1e308, 1e308, 1e308, "2024-03-11", MARKETS[0]), ""),
    ]
    names = ["TV, national", "search", "price", "when", "market"]
    kinds = [*[t.DoubleType()] * 3, t.StringType(), t.StringType()]
    schema = t.StructType([t.StructField(n, k) for n, k in zip(names, kinds, strict=True)])
    found = spark.with_predictions(on.createDataFrame([good, *(row for row, _ in bad)], schema), weeks).toPandas()
    assert pd.isna(found["error"].iloc[0])
    alone = by_formula(weeks, pd.DataFrame([good], columns=names))
    assert found["prediction"].iloc[0] == alone["prediction"].iloc[0]
    for error, (_, said) in zip(found["error"].iloc[1:-1], bad, strict=False):
        assert said in error
    assert found["prediction"].iloc[1:-1].isna().all()


def test_the_executors_answer_with_the_code_in_the_model(on: SparkSession, weeks: Stored, tmp_path: Path) -> None:
    """A change there changes the answers, so no installed adresponse is asked."""
    folder = Path(shutil.copytree(weeks.folder, tmp_path / "model"))
    (package,) = (folder / "code").iterdir()
    package = package.rename(package.with_name("adresponse_000000000000"))
    code = package / "curved.py"
    code.write_text(code.read_text().replace("total = base\n", "total = base + 1000.0\n"))
    rows = panel().table.frame.iloc[:3].reset_index(drop=True)
    found = spark.with_predictions(on.createDataFrame(rows), replace(weeks, folder=folder)).toPandas()
    assert (found["prediction"] - by_formula(weeks, rows)["prediction"]).tolist() == pytest.approx([1000.0] * 3)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_panel_is_scored_from_a_file(on: SparkSession, weeks: Stored, tmp_path: Path, suffix: str) -> None:
    rows = panel().table.frame.reset_index(drop=True)
    source = tmp_path / f"rows{suffix}"
    rows.to_csv(source, index=False) if suffix == ".csv" else rows.to_parquet(source, coerce_timestamps="us")
    done = spark.predict(weeks, source, tmp_path / "scored.parquet", level=0.9)
    assert (done.rows, done.skipped, done.beyond) == (len(rows), 0, {})
    found = pd.read_parquet(tmp_path / "scored.parquet")
    np.testing.assert_array_equal(found[["prediction", "lower", "upper"]], by_formula(weeks, rows, 0.9))


def test_contributions_of_a_line_are_the_formulas_bits(on: SparkSession, three: Stored) -> None:
    rows = random_rows(50)
    found = spark.with_predictions(on.createDataFrame(rows), three, contributions=True).toPandas()
    columns = [found[n].to_numpy() for n in CHANNELS]
    told = three.formula.answer(columns, contributions=True)
    assert {n: found[n].tolist() for n in told} == {n: v.tolist() for n, v in told.items()}


def test_mlflows_own_udf_takes_dates_and_markets(on: SparkSession, weeks: Stored) -> None:
    """It asks batch by batch; here one batch has all rows."""
    rows = panel().table.frame[list(weeks.formula.inputs)].reset_index(drop=True)
    ask = mlflow.pyfunc.spark_udf(on, str(weeks.folder), result_type="double", env_manager="local")
    frame = on.createDataFrame(rows).coalesce(1)
    found = frame.select("when", "market", ask().alias("alone")).toPandas()
    assert found["alone"].tolist() == by_formula(weeks, rows)["prediction"].tolist()
