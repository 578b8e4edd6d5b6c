"""The notebooks run from top to bottom, as on a machine of one's own, and show what they make."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

nbformat: Any = pytest.importorskip("nbformat")

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SHOWS = {  # what is in the outputs at least: how many are of a type, or hold a tag
    "text": {"text/html": 3, "<pre": 1, "<span": 2, "the same, to the byte": 1},
    "images": {"image/png": 7, "<iframe srcdoc": 1, "the same, to the byte": 1},
    "speech": {"<audio": 4, "<table": 1, "-->": 1, "the same, to the byte": 1},
    "video": {"<video": 2, "image/png": 3, "<table": 1, "the same, to the byte": 1},
    "evaluation": {"<table": 3, "image/png": 1, "nrefs:1": 1},
}


def test_every_notebook_is_here_without_outputs_and_begins_with_what_it_is_and_what_it_needs() -> None:
    assert {each.stem for each in NOTEBOOKS.glob("*.ipynb")} == set(SHOWS)
    for name in SHOWS:
        notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        nbformat.validate(notebook)
        title, install, *rest = notebook.cells
        assert title.source.startswith("# ")
        assert 'find_spec("aigc_sdk") is None' in install.source
        assert "%pip install --quiet" in install.source
        code = [cell for cell in rest if cell.cell_type == "code"]
        assert not [cell for cell in (install, *code) if cell.outputs or cell.execution_count]


@pytest.mark.docs
@pytest.mark.parametrize("name", SHOWS)
def test_a_notebook_runs_and_shows_what_it_makes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient")
    for variable, value in {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setitem(os.environ, "IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    here = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=500, kernel_name="python3", resources=here).execute()
    shown = [each for cell in notebook.cells if cell.cell_type == "code" for each in cell.outputs]
    assert not [each.text for each in shown if each.output_type == "stream" and "Error" in each.text]
    found: Counter[str] = Counter()
    for output in shown:
        data = {"text/plain": output.text} if output.output_type == "stream" else output.data
        for wanted in SHOWS[name]:
            found[wanted] += wanted in data or any(wanted in str(each) for each in data.values())
    assert not {wanted: found[wanted] for wanted, least in SHOWS[name].items() if found[wanted] < least}
