"""What phases are phases of: the array that a sweep names, and snapshots of it."""

import numpy as np
import pytest
import xarray as xr

import superjax
from superjax import analysis
from superjax.analysis import phases
from superjax.spec import SweepError
from superjax.studies import overview
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


PAIRS = """
n_features = 3
n_hidden = 2
restarts = 1
train = {steps = 1, learning_rate = 1e-30}
"""
KINDS = {  # columns of W, and which of the features are merged
    "antipodal": ([[1, 0], [-1, 0], [0, 1]], [0, 0, 0]),
    "merged": ([[1, 0], [0.8, 0.1], [0, 1]], [1, 1, 0]),
    "merged, one not represented": ([[1, 0], [0.4, 0], [0, 1]], [0, 0, 0]),
    "all three": ([[0.6, 0.6], [0.7, 0.7], [0.5, 0.5]], [1, 1, 1]),
    "orthogonal": ([[1, 0], [0, 1], [0, 0]], [0, 0, 0]),
    "at 30 degrees": ([[1, 0], [0.87, 0.5], [0, 0.1]], [0, 0, 0]),
}


@pytest.mark.parametrize("pairs", [2**24, 9, 4])
def test_features_on_one_direction_are_merged(pairs, monkeypatch):
    """Also where not all pairs of all models are held at a time."""
    monkeypatch.setattr(phases, "_PAIRS", pairs)
    W = np.array([np.transpose(columns) for columns, _ in KINDS.values()], float)
    np.testing.assert_array_equal(analysis.merged(W), np.array([which for _, which in KINDS.values()], bool))
    assert not analysis.merged(np.full((2, 3), np.nan)).any()


def test_plain_figures_show_merged_features_apart(tmp_path, monkeypatch):
    """Maps are hatched there, lines have dots, bars are hatched; the legend says it only where there are some."""
    densities, importances = [1.0, 0.3, 0.1], [0.5, 2.0]
    axes = (f"axes.r={{field='importance[-1]', values={importances}}}",
            f"axes.d={{field='data.density', values={densities}}}")  # fmt: skip
    (tmp_path / "mine.toml").write_text(PAIRS)
    W = np.array([np.transpose(columns) for columns, _ in KINDS.values()], np.float32)
    merged = np.array([which for _, which in KINDS.values()], bool)

    def figure_of(overrides, given):
        sweep = superjax.load(tmp_path / "mine.toml", *overrides)
        data = superjax.run(sweep, init={"mine": {"W": given}})["mine"]
        return overview.overview(sweep.cases["mine"], data, "mine")

    hatched = []
    with monkeypatch.context() as patch:
        patch.setattr(overview, "hatch", lambda ax, x, y, where, *style: hatched.append((where, style)))
        figure = figure_of(axes, W.reshape(2, 3, 1, 2, 3))
    drawn = [where for where, style in hatched if style == ("///", "white")]
    for feature, where in enumerate(drawn):
        np.testing.assert_array_equal(where, merged.reshape(2, 3, 3)[:, ::-1, feature])  # densities rise on the map
    assert len(drawn) == 3
    assert figure.legends[0].texts[-1].get_text() == "on the direction of another feature (merged)"

    lines = figure_of(axes[1:], W[:3, None])
    for ax in lines.axes[:2]:
        dots = [line.get_xdata().tolist() for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata())]
        assert dots == [[0.3], [0.3]]
    bars = figure_of((), W[1:2])
    assert [bool(patch.get_hatch()) for patch in bars.axes[1].patches] == [True, True, False]
    plain = figure_of((), W[:1])
    assert not any(patch.get_hatch() for patch in plain.axes[1].patches)
    assert "merged" not in "".join(text.get_text() for text in plain.legends[0].texts)
