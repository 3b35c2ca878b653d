"""Surroundings of a notebook: a real kernel gives the numbers and figures of a plain process."""

from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest

import superjax

SWEEP = """
n_features = 3
n_hidden = 2
restarts = 2
[train]
steps = 30
[axes.density]
field = "data.density"
values = [1, 0.3, 0.1]
"""
CELL = """
import sys
import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
with plt.rc_context({"text.usetex": False, "font.family": "sans-serif"}):
    plt.plot([0, 1])
    plt.show()
assert jax.numpy.zeros(1).dtype == "float64"  # the user's own setting
import superjax
data = superjax.run(superjax.load("strange.toml"))["strange"]
np.save("W.npy", data["W"].values)
assert jax.numpy.zeros(1).dtype == "float64"
"""
COMMAND = "!{sys.executable} -m superjax.sweep strange.toml --out %s; echo exit status $?"


@pytest.mark.heavy
def test_a_kernel_gives_the_numbers_and_figures_of_a_plain_process(tmp_path: Path, monkeypatch) -> None:
    """With Jupyter's own MPLBACKEND, text in TeX, which is not there, and JAX in 64 bits: all of it is the user's."""
    (tmp_path / "strange.toml").write_text(SWEEP)
    (tmp_path / "plain.toml").write_text(SWEEP)
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.family: no such font\nsavefig.dpi: 31\n")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    monkeypatch.delenv("MATPLOTLIBRC", raising=False)
    plain = (
        "!env -u MPLBACKEND -u JAX_ENABLE_X64 MATPLOTLIBRC=/dev/null {sys.executable} -m superjax.sweep strange.toml "
        "--out plain; echo exit status $?"
    )
    cells = [CELL, COMMAND % "strange", plain]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert any("image/png" in output.get("data", {}) for output in notebook.cells[0].outputs)
    for cell in notebook.cells[1:]:
        said = "".join(output.get("text", "") for output in cell.outputs)
        assert "exit status 0" in said, said

    W = [superjax.open(tmp_path / out / "strange" / "strange.nc")["W"].values for out in ("strange", "plain")]
    assert W[0].dtype == np.float32
    np.testing.assert_array_equal(*W)
    np.testing.assert_array_equal(W[0], np.load(tmp_path / "W.npy"))
    strange, usual = (tmp_path / out / "strange" / "strange.png" for out in ("strange", "plain"))
    assert strange.read_bytes() == usual.read_bytes()
