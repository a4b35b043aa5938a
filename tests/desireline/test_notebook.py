"""The notebook of the documentation runs from its first cell to its last, on a warehouse that holds something."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "analysis.ipynb"


def test_the_notebook_runs_and_shows_something(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESIRELINE_WAREHOUSE_URL", filled)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    tables = [
        output["data"]["text/html"]
        for cell in code
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    ]
    assert any("checkout_started" in table and "dataframe" in table for table in tables)
    empty = [table[:300] for table in tables if "dataframe" in table and "<td>" not in table]
    assert not empty
