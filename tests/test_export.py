"""What is exported is what the dataset has, and runs in PyTorch."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import superjax
from superjax.problem.models import MODELS

DOCS = Path(__file__).resolve().parent.parent / "docs" / "dataset.md"
LOADER = re.compile(r"<!-- pytorch -->\n```python\n(.*?)```", re.DOTALL)
SWEEP = """
n_features = 3
n_hidden = 2
restarts = 2
train.steps = 40
optimum = true
[axes.importance]
field = "importance[-1]"
values = [0.5, 2]
[axes.density]
field = "data.density"
values = [0.5, 0.1, 0.02]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    file = tmp_path_factory.mktemp("export") / "small.toml"
    file.write_text(SWEEP)
    return superjax.run(superjax.load(file))["small"]


def test_chosen_models_are_what_the_file_has(data, tmp_path):
    for name, chosen in {
        "all": data,
        "one": data.isel(importance=1, density=2, restart=0),
        "best": data.isel(restart=data["best"]),
    }.items():
        file = superjax.export.safetensors(chosen, tmp_path / f"{name}.safetensors")
        found = load_file(file)
        assert list(found) == ["W", "b"]
        for array in found:
            np.testing.assert_array_equal(found[array], chosen[array].values)
        with safe_open(file, "numpy") as opened:
            described = opened.metadata()
        assert json.loads(described["case"])["n_hidden"] == 2
        assert json.loads(described["dims"])["W"] == list(chosen["W"].dims)
        assert json.loads(described["coords"])["density"] == chosen["density"].values.tolist()
    file = superjax.export.safetensors(data, tmp_path / "optimum.safetensors", optimum=True)
    np.testing.assert_array_equal(load_file(file)["W"], data["optimum_W"].values)


def test_phases_are_a_table(data, tmp_path):
    with open(superjax.export.csv(data, tmp_path / "phases.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == data["phase"].size
    assert list(rows[0])[:5] == ["importance", "density", "restart", "feature", "phase"]
    for row in rows[:: len(rows) // 7]:
        cell = data.sel(importance=float(row["importance"]), density=float(row["density"]))
        model = cell.isel(restart=int(row["restart"]))
        feature = model.isel(feature=int(row["feature"]))
        assert row["phase"] == superjax.analysis.PHASES[int(feature["phase"])]
        assert float(row["norm"]) == pytest.approx(float(feature["norm"]), rel=1e-6)
        assert float(row["loss"]) == pytest.approx(float(model["loss"]), rel=1e-6)
    for chosen, size in (
        (data.isel(importance=0, restart=1), 3 * 3),
        (data.isel(restart=data["best"]), 2 * 3 * 3),
        (data.isel(importance=0, restart=1, density=0), 3),
        (data.isel(importance=0, restart=1, density=0, feature=2), 1),
    ):
        with open(superjax.export.csv(chosen, tmp_path / "few.csv"), newline="") as file:
            few = list(csv.DictReader(file))
        assert len(few) == size and list(few[0]) == list(rows[0])  # columns in one order, whatever was selected


def test_outputs_keep_their_place(tmp_path):
    """Of a decoder (hidden, output), whose outputs are the features again."""
    (tmp_path / "small.toml").write_text(SWEEP.replace("optimum = true", 'model.kind = "two_layer"'))
    data = superjax.run(superjax.load(tmp_path / "small.toml"))["small"]
    found = load_file(superjax.export.safetensors(data, tmp_path / "two.safetensors"))
    for name, own in MODELS["two_layer"].dims.items():
        assert found[name].shape[3:] == tuple({"hidden": 2, "feature": 3, "output": 3}[dim] for dim in own)


def test_what_has_no_models_is_refused(data, tmp_path):
    for wrong, said in (
        (data.drop_vars("W"), "has no W"),
        (data.assign_attrs({"case": data.attrs["case"]}).drop_attrs(), "no attribute `case`"),
    ):
        with pytest.raises(superjax.SweepError, match=said):
            superjax.export.safetensors(wrong, tmp_path / "no.safetensors")
    with pytest.raises(superjax.SweepError, match="optimum = true"):
        superjax.export.safetensors(data.drop_vars("optimum_W"), tmp_path / "no.safetensors", optimum=True)
    with pytest.raises(superjax.SweepError, match="no phases"):
        superjax.export.csv(data.drop_vars("phase"), tmp_path / "no.csv")
    assert not list(tmp_path.iterdir())


def test_the_loader_of_the_page_runs_in_pytorch(data, tmp_path, monkeypatch):
    """Outputs are those of the model as numpy has it."""
    torch = pytest.importorskip("torch")
    (loader,) = LOADER.findall(DOCS.read_text())
    monkeypatch.chdir(tmp_path)
    one = data.isel(importance=0, density=1, restart=1)
    superjax.export.safetensors(one, "model.safetensors")
    names: dict[str, object] = {}
    exec(loader, names)
    x = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    W, b = one["W"].values, one["b"].values
    with torch.no_grad():
        found = names["model"](torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, np.maximum(x @ W.T @ W + b, 0), atol=1e-6)
