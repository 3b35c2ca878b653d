"""The notebooks run from top to bottom, here with fewer points."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
FEWER = {
    "phase_diagram": {"points = 0 ": "points = 6 ", "restarts = 10 ": "restarts = 2 ",
                      'change = "initial weights of ': 'change = "a feature counts from norm 0.9"  # '},
    "own_sweep": {"steps = 500": "steps = 20", "points = 12": "points = 4"},
    "geometry": {
        '"five_features"': '"five_features", "restarts=2", "train.steps=20", "axes.density.values=[1, 0.2, 0.05]"',
        "points=48": "points=6", "restarts=8": "restarts=2", "train.steps=300": "train.steps=20",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "phase_diagram" else pytest.mark.heavy) for n in NOTEBOOKS]
)
def test_a_notebook_runs_and_shows_pictures(name, tmp_path):
    notebook = nbformat.read(NOTEBOOKS[name], 4)
    for old, new in FEWER[name].items():
        assert any(old in cell.source for cell in notebook.cells), old
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    html = [output.get("data", {}).get("text/html", "") for output in outputs]
    assert sum("<iframe srcdoc=" in page and "&lt;/html&gt;" in page for page in html) == (name == "phase_diagram")
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    said = "".join(output.get("text", "") for output in outputs)
    assert "superjax is installed." in said and "This is only a CPU." in said
    assert (re.search(r"\d+ of \d+ claims hold", said) is not None) == (name == "phase_diagram")
    assert "Traceback" not in said and "FutureWarning" not in said, said


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_kept_without_outputs_and_begin_alike(name):
    notebook = nbformat.read(NOTEBOOKS[name], 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    first = nbformat.read(NOTEBOOKS["geometry"], 4)
    assert [cell.source for cell in code[:2]] == [cell.source for cell in first.cells if cell.cell_type == "code"][:2]


@pytest.mark.parametrize("there", [False, True])
def test_the_install_cell_stops_with_one_sentence(tmp_path, there):
    """Where no superjax is installed, be there a folder of that name, which can be imported, or not."""
    cell = next(cell for cell in nbformat.read(NOTEBOOKS["geometry"], 4).cells if cell.cell_type == "code")
    (tmp_path / "alone").mkdir()
    if there:
        (tmp_path / "alone" / "superjax").mkdir()
        (tmp_path / "alone" / "superjax" / "__init__.py").touch()
    hidden = "import importlib.metadata; importlib.metadata.distributions = lambda **which: iter(())\n"
    done = subprocess.run(
        [sys.executable, "-c", hidden + cell.source], cwd=tmp_path / "alone", capture_output=True, text=True
    )
    assert done.returncode == 1
    assert (
        done.stderr
        == "superjax could not be installed: set REPOSITORY above to its address, and run this cell again.\n"
    )


def test_the_address_of_the_repository_is_everywhere_that_of_the_project():
    """It stands in pyproject.toml. While it does not, nothing else may name one."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"].get("urls", {})
    address = urls.get("Repository", "")
    for path in NOTEBOOKS.values():
        text = "".join(json.loads(path.read_text())["cells"][1]["source"])
        assert re.search('REPOSITORY = "(.*?)"', text)[1] == address, f"{path.name}: REPOSITORY is not {address!r}"
    if not address:
        pytest.skip("[project.urls] has no Repository: it is missing in the notebooks, and README has no Colab badges")
    place = address.removeprefix("https://github.com/")
    for path in NOTEBOOKS.values():
        badge = f"https://colab.research.google.com/github/{place}/blob/main/notebooks/{path.name}"
        assert badge in (ROOT / "README.md").read_text(), f"README.md: no badge {badge}"
