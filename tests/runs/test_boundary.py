"""The stage `boundary`: beside the reference and the full plane, of several classifications, kept and refused."""

import json

import numpy as np
import pytest

import superjax
from superjax.reference import boundaries
from superjax.runs import runner
from superjax.runs.netcdf import open_dataset, write_dataset
from superjax.runs.problems import problem_of
from superjax.runs.stages.classes import Classes
from superjax.runs.stages.plane import Plane
from superjax.spec import SweepError
from superjax.spec.grid import Grid
from superjax.studies import overview
from superjax.studies.boundaries import crossings

TEXT = """
n_features = 2
n_hidden = 1
restarts = 4
train.steps = {steps}
[boundary]
{boundary}
[axes.importance]
field = "importance[-1]"
scale = "log"
range = [0.2, 5]
points = {points}
[axes.density]
field = "data.density"
scale = "log"
range = [1, 0.1]
points = {points}
"""


def text(boundary: str = "", points: int = 6, steps: int = 150, more: str = "") -> str:
    return TEXT.format(boundary=boundary, points=points, steps=steps) + more


@pytest.fixture(scope="module")
def data(make_case):
    found, report = runner.run_case("case", make_case(text=text("resolution = 0.004\nband = 0.3")))
    assert report.seconds["boundary"] > 0
    return found


def test_a_sweep_without_a_study_has_the_lines_in_its_maps(data, make_case):
    figure = overview.overview(make_case(text=text("resolution = 0.004\nband = 0.3")), data, "case")
    lines = superjax.boundary_lines(data)
    assert {line.is_band for line in lines} == {False, True}
    maps = [ax for ax in figure.axes if ax.get_title()]
    assert len(maps) == 3
    for ax in maps:
        drawn = [line.get_xydata() for line in ax.lines]
        assert len(drawn) == len(lines)
        for line in lines:
            vertices = np.column_stack([line.at["importance"], line.at["density"]])
            assert any(one.shape == vertices.shape and (one == vertices).all() for one in drawn)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[-2:] == ["boundary that was searched", "end of the band of the restarts"]


def test_lines_are_left_out_of_maps_by_number(data, make_case):
    """Where an axis has two fields a map has the numbers of its points, and lines have their values."""
    case = make_case(text=text("resolution = 0.004\nband = 0.3"))
    zipped = case.axes["importance"].model_copy(
        update={"field": None, "fields": ["importance[-1]", "importance[0]"], "values": [[v, v] for v in range(1, 7)],
                "range": None, "points": None, "scale": "linear"}
    )  # fmt: skip
    figure = overview.overview(case.model_copy(update={"axes": {**case.axes, "importance": zipped}}), data, "case")
    assert not any(ax.lines for ax in figure.axes if ax.get_title())


def test_boundary_of_the_optimum_is_that_of_the_reference(data):
    """From a grid of 36 points, whose squares are up to two thirds of an e-fold; every position is known to half a
    square. Near importance 1, where data are dense, directions differ by less than 1e-3 in loss, which short training
    does not tell: there may be islands."""
    lines = [line for line in superjax.boundary_lines(data) if not line.is_band]
    line, *islands = sorted(lines, key=lambda line: -len(line.at["density"]))
    for island in islands:
        assert np.abs(np.log(island.at["importance"])).max() <= 3 * float(data["boundary_resolution"])
    assert {line.lower, line.upper} == {"no superposition", "superposition"} and not line.closed
    known = {r: s for r, s in boundaries.BEGINS[2, 1].items() if 0.2 < r < 5}
    found = np.concatenate([crossings(line, "importance", r, "density") for r in known])
    np.testing.assert_allclose(np.log(found), np.log([*known.values()]), atol=float(data["boundary_resolution"]))
    assert float(data["boundary_resolution"]) <= 0.004
    assert int(data["boundary_models"]) < 0.01 * float(data["boundary_full_grid"])


def test_tried_points_have_the_classes_that_their_losses_say(data):
    best, other = (data[f"boundary_point_{name}"].values for name in ("loss", "other_loss"))
    assert np.isfinite(best).all() and not (other < best).any()
    near = np.isfinite(other)
    assert near.mean() > 0.5  # followed on both sides
    density, importance = (data[f"boundary_point_{name}"].values for name in ("density", "importance"))
    np.testing.assert_array_equal(importance[:36], np.repeat(data["importance"].values, 6))
    np.testing.assert_array_equal(density[:36], np.tile(data["density"].values, 6))
    inside = data["boundary_kind"].values[data["boundary_point_class"].values] == "superposition"
    clear = np.abs(np.log(importance)) > 1e-2  # nearer to importance 1 directions hardly differ where data are dense
    assert inside[density < 0.2].all() and not inside[clear & (density > 0.9)].any()


def test_band_is_what_the_restarts_of_the_grid_say(data):
    """Its ends separate the points of the grid by the share of their restarts."""
    lines = superjax.boundary_lines(data)
    share = data["superposition_fraction"].values
    for least in (0.1, 0.9):
        inside = share >= least
        crosses = bool((inside[:-1] != inside[1:]).any() or (inside[:, :-1] != inside[:, 1:]).any())
        assert any(line.is_band and abs(line.share - least) < 1e-6 for line in lines) == crosses
    assert 0 < float(data["boundary_band_resolution"]) <= 0.3


@pytest.mark.parametrize("by", ["best", pytest.param("most", marks=pytest.mark.heavy)])
def test_restarts_have_the_boundary_of_the_full_plane(by, make_case):
    """A search to a quarter of a coarse square, and all models of the plane of that resolution: every tried point has
    the class that it has there, and the boundary goes where the plane has one."""
    resolution = np.log(25) / 5 / 4 * 1.001
    own = f"by = '{by}'\nresolution = {resolution}\nband = 0"
    found, _ = runner.run_case("case", make_case(text=text(own, steps=60)))
    full, _ = runner.run_case("case", make_case(text=text("by = 'best'\nresolution = 0.9\nband = 0", 21, 60)))
    has = full["has_superposition"].values.astype(int)
    if by == "best":
        classes = np.take_along_axis(has, full["best"].values[..., None], -1)[..., 0]
    else:
        loss = full["loss"].values
        even = has.mean(-1) == 0.5
        first = np.take_along_axis(has, np.argmin(loss, -1)[..., None], -1)[..., 0]
        classes = np.where(even, first, has.mean(-1) > 0.5)
    i = np.rint(20 * np.log(found["boundary_point_importance"].values / 0.2) / np.log(25)).astype(int)
    j = np.rint(-20 * np.log(found["boundary_point_density"].values) / np.log(10)).astype(int)
    kinds = found["boundary_kind"].values == "superposition"
    assert (kinds[found["boundary_point_class"].values] == classes[i, j]).all()
    assert 36 < len(i) < 441 and len(superjax.boundary_lines(found)) > 0


def several(models):
    """How many features are represented at all, and on which side of importance 1."""
    assert {"W", "b", "loss", "n_hidden", "importance", "density"} <= set(models.variables)
    return (np.abs(models["W"].values) > 0.5).sum((1, 2)) + 10 * (models["importance"].values > 1)


@pytest.mark.heavy
def test_function_of_ones_own_over_planes_of_a_further_axis(tmp_path):
    path = tmp_path / "mine.toml"
    third = "[axes.rate]\nfield = 'train.learning_rate'\nvalues = [0.03, 0.02]\n"
    path.write_text(text("band = 0\nx = 'importance'\ny = 'density'", 4, 60, third))
    found = superjax.boundary(superjax.load(path), of=several, by="best", resolution=0.3)["mine"]
    lines = superjax.boundary_lines(found)
    assert set(found["boundary_kind"].values) <= {f"class {k}" for k in (0, 1, 2, 10, 11, 12)}
    assert {float(line.at["rate"][0]) for line in lines} == {0.03, 0.02}
    for line in lines:
        assert np.ptp(line.at["rate"]) == 0
        left, right = (int(kind.removeprefix("class ")) for kind in (line.lower, line.upper))
        if left % 10 == right % 10:
            np.testing.assert_allclose(line.at["importance"], 1, rtol=0.3)
    with pytest.raises(SweepError, match="no lambda"):
        superjax.boundary(superjax.load(path), of=lambda models: 0)


@pytest.mark.heavy
def test_where_training_diverges(make_case):
    """A learning rate from which plain gradient descent explodes."""
    own = """
n_features = 2
n_hidden = 1
restarts = 2
boundary = {of = "diverged", by = "most", resolution = 0.05, band = 0}
[train]
steps = 200
optimizer = "sgd"
schedule = "constant"
[axes.density]
field = "data.density"
values = [0.2, 0.6, 1]
[axes.rate]
field = "train.learning_rate"
scale = "log"
range = [0.01, 100]
points = 5
"""
    found, _ = runner.run_case("case", make_case(text=own))
    lines = superjax.boundary_lines(found)
    assert lines and {(line.lower, line.upper) for line in lines} == {("converged", "diverged")}
    rate, lost = found["boundary_point_rate"].values, found["boundary_point_class"].values == 1
    assert not lost[rate < 0.1].any() and lost[rate > 50].all()


def test_search_that_needs_too_many_points_says_so(make_case, capsys):
    found, _ = runner.run_case("case", make_case(text=text("points = 90\nband = 0", steps=60)))
    assert found.sizes["boundary_point"] <= 90 and float(found["boundary_resolution"]) > 0.001
    assert "boundary.points = 90" in capsys.readouterr().err


def test_boundary_is_stored_and_read_again(data, make_case, tmp_path):
    """Also where there is none."""
    case = make_case(text=text("resolution = 0.004\nband = 0.3"))
    none = {dim: slice(0, 0) for dim in ("boundary_line", "boundary_vertex")}
    for lines in ({}, none):
        write_dataset(tmp_path / "case.nc", data.isel(lines))
        read = open_dataset(tmp_path / "case.nc", case)
        assert read.identical(data.isel(lines))
        assert len(superjax.boundary_lines(read)) == len(superjax.boundary_lines(data)) * (not lines)
    with pytest.raises(SweepError, match="boundary_point_class"):
        write_dataset(tmp_path / "case.nc", data.drop_vars("boundary_point_class"))
        open_dataset(tmp_path / "case.nc", case)


@pytest.mark.heavy
def test_run_in_a_folder_is_kept_and_made_finer(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text("resolution = 0.3\nband = 0", steps=60))
    sweep = superjax.load(path)
    first = superjax.run(sweep, out=tmp_path)["mine"]
    assert superjax.run(sweep, out=tmp_path)["mine"].identical(superjax.open(tmp_path / "mine" / "mine.nc"))
    finer = superjax.run(sweep.override("boundary.resolution=0.1"), out=tmp_path)["mine"]
    assert json.loads((tmp_path / "mine" / "manifest.json").read_text())["cases"]["mine"]["taken_over"] == 144
    assert finer["loss"].equals(first["loss"]) and finer["boundary_resolution"] < first["boundary_resolution"]
    other = superjax.run(sweep.override("boundary.resolution=0.1", "phases.represented=0.95"), out=tmp_path)["mine"]
    assert other["loss"].equals(first["loss"])  # searched again under other thresholds, with the same models
    assert not np.array_equal(other["boundary_density"], finer["boundary_density"])


class Weights:
    """Three features in two dimensions: one left out, a digon and a single, three that share, and one that diverged."""

    dims = {"W": ("hidden", "feature")}
    W = np.array([[[1, 0, 0], [0, 1, 0]], [[0, 1, -1], [1, 0, 0]], [[1, -0.5, -0.5], [0, 0.8, -0.8]],
                  [[np.nan] * 3] * 2], np.float32)  # fmt: skip


@pytest.mark.parametrize(
    ("of", "names"),
    [
        ("superposition", ["no superposition", "superposition", "superposition", "diverged"]),
        ("phases", ["dedicated, dedicated, not represented", "dedicated, superposed, superposed",
                    "superposed, superposed, superposed", "diverged"]),
        ("phase[1]", ["dedicated", "superposed", "superposed", "diverged"]),
        ("antipodal", ["no antipodal pair", "antipodal pair", "no antipodal pair", "diverged"]),
        ("solution", ["2 singles", "digon + single", "triangle", "diverged"]),
        ("diverged", ["converged", "converged", "converged", "diverged"]),
    ],
)  # fmt: skip
def test_classes_of_known_weights(of, names, make_case):
    own = f"by = 'best'\nof = '{of}'"
    case = make_case(text=text(own).replace("n_features = 2\nn_hidden = 1", "n_features = 3\nn_hidden = 2"))
    classes, grid = Classes(case, problem_of(case)), Grid(case)
    loss, cell = np.array([0.1, 0.1, 0.1, np.nan], np.float32), np.array([0, 7, 14, 35])
    found = classes(Weights(), loss, cell, grid)
    assert [classes.name(int(label)) for label in found] == names
    turned = Weights()
    turned.W = Weights.W[:, :, [1, 0, 2]]  # features 0 and 1 are alike in every cell
    same = classes(turned, loss, cell, grid).tolist() == found.tolist()
    assert same or of == "phase[1]"


def test_points_of_a_plane(make_case):
    """Points of the grid are exact; between them logarithms, or numbers, are halved."""
    case = make_case(text=text("y = 'importance'\nx = 'density'", 3))
    plane = Plane(case, 0.2)
    side = plane.lattice.side
    assert plane.widest / side <= 0.2 < 2 * plane.widest / side
    fields = plane.grid(np.array([[0, 0, 0], [0, side // 2, side], [0, 2 * side, 2 * side]])).fields
    np.testing.assert_allclose(fields["data.density"], [1, 10**-0.25, 0.1])
    assert fields["importance[-1]"].tolist() == [0.2, 1.0, 5.0]
    assert plane.cells.tolist() == [0, 3, 6, 1, 4, 7, 2, 5, 8]


@pytest.mark.parametrize(
    ("boundary", "said"),
    [
        ("x = 'density'\ny = 'density'", "another than"),
        ("x = 'nothing'", "must be the name of an axis"),
        ("of = 'nothing'", "boundary.of"),
        ("of = 'phase[2]'", r"index must be in -2 ... 1"),
        ("of = 'nomodule:f'", r"cannot be imported, .*\n  looked for nomodule.py in .*\n  allowed: superp"),
        ("of = 'diverged'", 'must be "best" or "most"'),
        ("resolution = 0", "resolution"),
        ("[train]\nstarts = 'independent'", "starts"),
    ],
)
def test_what_cannot_be_searched_is_refused(boundary, said, make_case):
    with pytest.raises(SweepError, match=said):
        runner.run_case("case", make_case(text=text(boundary).replace("train.steps = 150\n", "")))
