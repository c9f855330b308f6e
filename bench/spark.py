"""Which is quicker on Spark: the formula as column expressions, or ``mlflow.pyfunc.spark_udf`` on the same version?

    python bench/spark.py [--rows 2000000] [--runs 3]

A model of the built-in three-channel table is trained, and a generated table scored on a local session with two cores. Both
write to Spark's ``noop`` sink, so that only the scoring counts. Ends with seconds of each run in turn, and their ratio.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow.pyfunc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn

import adresponse
from adresponse import saving
from adresponse.engines import spark
from adresponse.stored import Stored, open_stored


def trained(folder: Path) -> Stored:
    study = adresponse.fit(str(files("adresponse") / "data" / "advertising.csv"), target="Sales", repeats=1)
    model = SimpleNamespace(model_id="m-" + "0" * 32, artifact_location=str(folder))
    return open_stored(saving.save(study, model, folder / "model", "0" * 32).folder)


def seconds(frame: DataFrame) -> float:
    began = time.perf_counter()
    frame.write.format("noop").mode("overwrite").save()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    with tempfile.TemporaryDirectory(prefix="adresponse-bench-") as place:
        model = trained(Path(place))
        builder: Any = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
        builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
        session = builder.config("spark.log.level", "ERROR").getOrCreate()
        columns = [(fn.rand(i) * high).alias(n) for i, (n, (_, high)) in enumerate(model.formula.ranges.items())]
        frame = session.range(given.rows, numPartitions=4).select(*columns).cache()
        frame.count()
        udf = mlflow.pyfunc.spark_udf(session, str(model.folder), result_type="double", env_manager="local")
        ours, theirs = spark.with_predictions(frame, model), frame.withColumn("prediction", udf(*frame.columns))
        seconds(ours.limit(1000)), seconds(theirs.limit(1000))
        pairs = [(seconds(ours), seconds(theirs)) for _ in range(given.runs)]
        session.stop()
    for a, b in pairs:
        print(f"column expressions {a:6.2f} s   mlflow.pyfunc.spark_udf {b:6.2f} s   ratio {b / a:5.1f}")
    print(f"median ratio {statistics.median(b / a for a, b in pairs):.1f} over {given.rows:,} rows")


if __name__ == "__main__":
    main()
