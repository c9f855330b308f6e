"""Does the notebook tell the study from a clean file, and find what the command finds?"""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "tv_marketing.ipynb"


def committed() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_committed_notebook_is_clean() -> None:
    notebook = committed()
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.fixture
def said(workplace: Path) -> str:
    """Everything that the notebook prints and shows, run in a fresh folder with a store."""
    notebook = committed()
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(workplace)}}).execute()
    return json.dumps([cell.get("outputs", []) for cell in notebook.cells], ensure_ascii=False)


def test_the_notebook_finds_what_the_study_found(said: str, workplace: Path) -> None:
    expected = {
        "no findings": "0 findings",
        "mean budget": "147.0425",
        "mean sales": "14.0225",
        "correlation": "0.7822",
        "chosen": "Chosen: MinMaxScaler and LinearRegression",
        "tuning": "no difference: the same predictions",
        "line": "Sales = 7.12 + 0.04653 × TV",
        "held out": "40 rows, drawn at random, were held out",
        "MAE": "2.4444",
        "RMSE": "3.1945",
        "MAPE": "0.1867",
        "R²": "0.6767",
        "no optimum": "A straight line has no best budget",
        "version": "sales-response version 1: VALIDATED, champion: True",
        "champion": "the same predictions: True",
        "figures": "image/svg+xml",
    }
    assert {what for what, text in expected.items() if text not in said} == set()
    assert (workplace / "adresponse-output" / "sales-response-report.html").exists()
    assert {p.name for p in workplace.iterdir()} == {"mlflow.db", "mlruns", "adresponse-output"}
