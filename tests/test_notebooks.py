"""The notebooks: stored without outputs, and run from top to bottom at a small scale, all with one store."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from distill.doctor import missing_packages
from distill.potentials import POTENTIALS

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def content(path: Path) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


@every_notebook
def test_it_is_stored_without_outputs(path: Path) -> None:
    notebook = content(path)
    assert set(notebook["metadata"]) <= {"kernelspec"}, "Clear all outputs, and leave nothing of the machine"
    for cell in notebook["cells"]:
        assert cell["metadata"] == {} and not cell.get("outputs") and cell.get("execution_count") is None


@every_notebook
def test_it_explains_itself_and_ends_with_what_to_change(path: Path) -> None:
    cells = content(path)["cells"]
    assert cells[0]["cell_type"] == "markdown" and cells[0]["source"][0].startswith("# ")
    assert cells[-1]["cell_type"] == "markdown" and cells[-1]["source"][0] == "## Your own system\n"
    setup = "".join(next(cell for cell in cells if cell["cell_type"] == "code")["source"])
    assert 'scale = os.environ.get("DISTILL_STUDY", "laptop")  # or "paper"' in setup


def test_the_list_has_every_notebook() -> None:
    page = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert all(f"({path.name})" in page for path in NOTEBOOKS)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder beside links to the data and the recipes, as the notebooks have them; they share what is in it."""
    clone = tmp_path_factory.mktemp("clone")
    for name in ("data", "recipes"):
        (clone / name).symlink_to(ROOT / name)
    (clone / "notebooks").mkdir()
    return clone / "notebooks"


@pytest.mark.slow
@pytest.mark.usefixtures("one_worker")
@every_notebook
def test_it_runs_from_top_to_bottom(path: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    if "quickstart-ace" in path.read_text(encoding="utf-8") and missing_packages(POTENTIALS["ace"]):
        pytest.skip("the extra ace is not installed")
    monkeypatch.setenv("DISTILL_STUDY", "test")
    sources = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", sources)
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, kernel_name="python3", timeout=600, resources={"metadata": {"path": str(desk)}}).execute()
    written = [out["text"] for cell in notebook.cells for out in cell.get("outputs", []) if out.get("name") == "stderr"]
    assert not any("Warning" in text for text in written), "no warning of a library reaches the reader"
    shown = [kind for cell in notebook.cells for out in cell.get("outputs", []) for kind in out.get("data", {})]
    assert "text/html" in shown
