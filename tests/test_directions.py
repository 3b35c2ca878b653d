"""What phases are phases of: the array that a sweep names, and snapshots of it."""

import numpy as np
import pytest
import xarray as xr

import superjax
from superjax import analysis
from superjax.spec import SweepError
from superjax.sweep import main

SWEEP = """
n_features = 3
n_hidden = 2
restarts = 2
model = {kind = "two_layer", init_std = 0.8}
data = {density = 0.5}
train = {objective = "quasi", batch = 64, steps = 4, snapshots = [0, 1, 4]}
phases = {represented = 1.2, array = "W2"}
plot.dpi = 30
[axes.density]
field = "data.density"
values = [0.2, 0.4, 1]
[axes.rate]
field = "train.learning_rate"
values = [1e-3, 1e-1]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("directions")
    (folder / "mine.toml").write_text(SWEEP)
    assert main([str(folder / "mine.toml"), "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def data(folder) -> xr.Dataset:
    return superjax.open(folder / "mine" / "mine.nc")


def test_phases_are_those_of_the_array_that_is_named(data):
    """W2 is (feature, hidden): its rows are the directions."""
    W = np.swapaxes(data["W2"].values, -1, -2)
    assert data["W2"].dims[-2:] == ("feature", "hidden")
    expected = analysis.measure(W, 1.2, 0.1)
    for name in ("norm", "interference", "dimensionality", "phase"):
        np.testing.assert_array_equal(data[name], getattr(expected, name))
    assert (data["norm"].values != analysis.norm(data["W1"].values)).all()
    assert data["phase"].attrs["array"] == "W2" and set(np.unique(data["phase"])) > {0}


def test_snapshots_have_measures_of_their_own(data):
    """Step 0 is before training, the last one is the end."""
    assert data["step"].values.tolist() == [0, 1, 4]
    W = np.swapaxes(data["W2_snapshots"].values, -1, -2)
    expected = analysis.measure(W, 1.2, 0.1)
    for name in ("norm", "interference", "dimensionality", "phase"):
        assert data[f"{name}_snapshots"].dims == ("density", "rate", "restart", "snapshot", "feature")
        np.testing.assert_array_equal(data[f"{name}_snapshots"], getattr(expected, name))
        np.testing.assert_array_equal(data[f"{name}_snapshots"].isel(snapshot=-1), data[name])
    assert data["phase_snapshots"].attrs["flag_meanings"] == data["phase"].attrs["flag_meanings"]
    start = data["norm_snapshots"].isel(snapshot=0)
    np.testing.assert_array_equal(start, start.isel(density=[0] * 3, rate=[0] * 2))  # all cells start alike
    assert (start != data["norm"]).any()


def test_polytopes_of_snapshots_are_found_as_the_page_says(data):
    W = data["W2_snapshots"].isel(restart=0)
    found = analysis.solutions(W.transpose(..., "hidden", "feature").values, 1.2)
    assert found.number.shape == (3, 2, 3)
    last = data["solution"].isel(restart=0).values
    meanings = data["solution"].attrs["flag_meanings"].split()
    assert [found.names[k].replace(" + ", "+").replace(" ", "_") for k in found.number[..., -1].ravel()] == [
        meanings[k] for k in last.ravel()
    ]


def test_another_array_may_be_named_later(folder, capsys):
    """Nothing is trained again; without an array, nothing of the old one is left."""
    path, results = folder / "mine" / "mine.nc", str(folder)
    before = superjax.open(path)
    for array, left in ("W1", True), ("W", False), ("W2", True):
        run = [str(folder / "mine.toml"), f"phases.array={array}", "--figures-only", "--out", results]
        assert main(run) == 0
        assert f"array='{array}'" in capsys.readouterr().out
        now = superjax.open(path)
        assert ("phase" in now) == ("norm_snapshots" in now) == ("solution" in now) == left
        if left:
            np.testing.assert_array_equal(now["norm"], analysis.norm(np.moveaxis(
                now[array].values, now[array].dims.index("hidden"), -2)))  # fmt: skip
    xr.testing.assert_identical(before, superjax.open(path))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["phases.array=b"], "must be an array (hidden, feature) or (feature, hidden) of two_layer; it has W1, W2"),
        (["phases.array=W3"], "it has W1, W2"),
        (["model.kind=relu_output"], "of relu_output; it has W"),
        (["model.kind=relu_output", "optimum=true"], 'must be "W" with optimum = true'),
        (["target.kind=and_pairs", "n_features=4"], "it has W1\n"),  # W2 has a row for every output, no features
        (["axes.p={field='phases.array', values=[1, 2]}"], "does not concern training"),
    ],
)
def test_what_has_no_directions_is_refused(folder, overrides, says):
    with pytest.raises(SweepError) as error:
        superjax.load(folder / "mine.toml", *overrides)
    assert says in f"{error.value}\n"


def test_names_of_measures_of_snapshots_are_taken(folder):
    with pytest.raises(SweepError, match="reserved or taken"):
        superjax.load(folder / "mine.toml", "axes.phase_snapshots={field='train.b1', values=[0.1, 0.2]}")
