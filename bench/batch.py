"""How fast are 10 million rows scored, Parquet to Parquet, beside DuckDB copying them and MLflow over pandas?

    python bench/batch.py [--rows 10000000] [--runs 5] [--mlflow-runs 1] [--ways ...]

Every way is a process of its own, in turn; seconds and peak memory are those of the whole process. DuckDB copies the same
input columns: once as they are, and once with as many columns more as there are answers (sums that no encoding shortens),
which is the fair peer, since the answers have to be written.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import numpy as np

WAYS = {
    "DuckDB, same columns": (
        "import duckdb\nduckdb.execute(f\"COPY (SELECT * FROM 'in.parquet') TO 'out.parquet' (FORMAT parquet)\")"
    ),
    "DuckDB, and one column": (
        "import duckdb\nduckdb.execute(f\"COPY (SELECT *, TV * 0.0447 + Radio * 0.189 AS prediction FROM 'in.parquet') "
        "TO 'out.parquet' (FORMAT parquet)\")"
    ),
    "DuckDB, and three columns": (
        'import duckdb\nduckdb.execute(f"COPY (SELECT *, TV * 0.0447 + Radio * 0.189 AS prediction, TV * 0.041 + Radio * 0.18 '
        "AS lower, TV * 0.0493 + Radio * 0.21 AS upper FROM 'in.parquet') TO 'out.parquet' (FORMAT parquet)\")"
    ),
    "adresponse": "from adresponse.engines.batch import predict\npredict(stored, 'in.parquet', 'out.parquet', overwrite=True)",
    "adresponse, interval": (
        "from adresponse.engines.batch import predict\npredict(stored, 'in.parquet', 'out.parquet', level=0.9, overwrite=True)"
    ),
    "adresponse, block by block": (
        "from adresponse.engines import duck\nfrom adresponse.engines.batch import predict\nduck.score = lambda *given: None\n"
        "predict(stored, 'in.parquet', 'out.parquet', overwrite=True)"
    ),
    "MLflow over pandas": (
        "import mlflow.pyfunc, pandas as pd\nmodel = mlflow.pyfunc.load_model('model')\nrows = pd.read_parquet('in.parquet')\n"
        "rows['prediction'] = model.predict(rows[['TV', 'Radio']])\nrows.to_parquet('out.parquet', index=False)"
    ),
}
OPEN = """
from pathlib import Path
from adresponse.formula import Formula
from adresponse.stored import Stored
stored = Stored(Path('model'), Formula.from_json(Path('formula.json').read_bytes()), {}, {}, '')
"""
TAIL = "\nprint(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"


def prepare(folder: Path, rows: int) -> None:
    """The table to be scored, the formula, and a plain scikit-learn pipeline as MLflow's own flavour stores it."""
    from adresponse.formula import Formula, Spread, Term
    from adresponse.schema import Contract

    duckdb.execute(
        f"COPY (SELECT DATE '2020-01-01' + (i % 1000)::INT AS day, 'market ' || i % 50 AS market, "
        f"round(random() * 296, 1) AS TV, round(random() * 49, 1) AS Radio FROM range({rows}) t(i)) "
        f"TO '{folder}/in.parquet' (FORMAT parquet)"
    )
    terms = (Term("TV", 0.0033818, -0.0023, 13.2265), Term("Radio", 0.0201613, 0.0, 9.38407))
    spread = Spread(1.538, -0.0214, 0.1237, tuple(np.linspace(0.01, 3.7, 160).tolist()))
    contract = Contract.build(target="Sales", channels=["TV", "Radio"])
    formula = Formula(contract, 3.0112, terms, spread, {"TV": (0.0, 296.0), "Radio": (0.0, 49.0)})
    (folder / "formula.json").write_text(formula.to_json(), encoding="utf-8")


def prepare_mlflow(folder: Path) -> None:
    """Default of MLflow's scikit-learn flavour: signature, skops."""
    import mlflow.sklearn
    import pandas as pd
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    random = np.random.default_rng(1)
    X = pd.DataFrame({"TV": random.uniform(0, 296, 200), "Radio": random.uniform(0, 49, 200)})
    fitted = make_pipeline(MinMaxScaler(), LinearRegression()).fit(X, X["TV"] * 0.0447 + X["Radio"] * 0.189 + 3)
    mlflow.sklearn.save_model(fitted, folder / "model", signature=mlflow.models.infer_signature(X, fitted.predict(X)))


def timed(code: str, folder: Path) -> tuple[float, float]:
    """Wall seconds and peak MB of a process that runs this."""
    import time

    started = time.perf_counter()
    code = (OPEN if "stored" in code else "") + code + TAIL
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True)
    return time.perf_counter() - started, int(done.stdout.split()[-1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=5, help="counted rounds, after one that is not counted")
    parser.add_argument("--mlflow-runs", type=int, default=1, help="rounds in which MLflow takes part; 0 leaves it out")
    asked = parser.parse_args()
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    print(f"Python {platform.python_version()}, DuckDB {duckdb.__version__}, {os.cpu_count()} cores, {asked.rows:,} rows\n")
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, asked.rows)
        if asked.mlflow_runs:
            prepare_mlflow(folder)
        for i in range(asked.runs + 1):
            for way, code in WAYS.items():
                if way != "MLflow over pandas" or 0 < i <= asked.mlflow_runs:
                    got = timed(code, folder)
                    found[way] += [got] if i else []
    print_table({way: values for way, values in found.items() if values})


def print_table(found: dict[str, list[tuple[float, float]]]) -> None:
    copies = ("DuckDB, same columns", "DuckDB, and one column", "DuckDB, and three columns")
    print(f"{'':<28}{'seconds':>9}{'peak MB':>9}   ratio to DuckDB with {'0':>5}{'1':>8}{'3':>8}  columns more")
    for way, values in found.items():
        seconds = [s for s, _ in values]
        ratios = [statistics.median(s / d for s, (d, _) in zip(seconds, found[c], strict=False)) for c in copies]
        shown = "".join(f"{r:8.2f}" for r in ratios)
        print(f"{way:<28}{statistics.median(seconds):9.2f}{max(m for _, m in values):9.0f}{'':<22}{shown}")
    if "MLflow over pandas" in found:
        pairs = zip(found["MLflow over pandas"], found["adresponse"], strict=False)
        times = statistics.median(m / a for (m, _), (a, _) in pairs)
        print(f"\nMLflow over pandas takes {times:.1f} times as long as adresponse.")


if __name__ == "__main__":
    main()
