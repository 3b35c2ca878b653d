"""`plot.show`, `plot.x` and `plot.y`: what is drawn is what the dataset has."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import QuadMesh

import superjax
from superjax import studies
from superjax.plots import canvas
from superjax.studies import overview, quantities, solutions
from superjax.studies.results import Results
from tests.studies.test_studies import made_up

HEAD = "n_features = 3\nn_hidden = 2\nrestarts = 3\ntrain.steps = 60\n"
AXES = {
    "importance": 'field = "importance[-1]"\nscale = "log"\nrange = [0.1, 10]\npoints = 4',
    "density": 'field = "data.density"\nscale = "log"\nrange = [1, 0.05]\npoints = 3',
    "learning_rate": 'field = "train.learning_rate"\nvalues = [0.01, 0.03]',
}


def results(tmp_path, axes, *overrides) -> Results:
    text = HEAD + "".join(f"[axes.{name}]\n{AXES[name]}\n" for name in axes)
    (tmp_path / "mine.toml").write_text(text)
    sweep = superjax.load(tmp_path / "mine.toml", *overrides)
    studies.check(sweep)
    return Results(sweep, superjax.run(sweep), {})


def meshes(figure) -> list[QuadMesh]:
    return [found for ax in figure.axes for found in ax.collections
            if isinstance(found, QuadMesh) and ax.get_xlabel() + ax.get_title()]  # fmt: skip


def test_maps_are_the_quantities_of_the_best_restart_or_of_the_cell(tmp_path):
    shown = 'plot.show=["loss", "superposition_fraction", "norm", "has_superposition"]'
    found = results(tmp_path, ("learning_rate", "importance", "density"), shown)
    (data,) = found.datasets.values()
    figure = quantities.figures(found)["mine_show"]
    drawn = meshes(figure)
    columns = 1 + 1 + 3 + 1
    assert len(drawn) == 2 * columns
    best = data.isel(restart=data["best"])
    for row in range(2):
        cell = best.isel(learning_rate=row)
        expected = [
            cell["loss"], cell["superposition_fraction"], *(cell["norm"].isel(feature=i) for i in range(3)),
            data["has_superposition"].isel(learning_rate=row).mean("restart"),
        ]  # fmt: skip
        for mesh, values in zip(drawn[row * columns : (row + 1) * columns], expected, strict=True):
            # densities fall along their axis and rise on the map
            np.testing.assert_allclose(mesh.get_array(), values.transpose("density", "importance").values[::-1])
    titles = [ax.get_title().replace("\n", " ") for ax in figure.axes[:columns]]
    assert titles[0] == "loss, best restart" and titles[2] == "norm, feature 0, best restart"
    np.testing.assert_array_equal(
        data["superposition_fraction"], data["has_superposition"].mean("restart").astype(np.float32)
    )
    kept = (data["norm"] >= 0.5).sum("feature")
    np.testing.assert_array_equal(data["has_superposition"], kept > 2)


def test_lines_are_the_best_restart_within_all(tmp_path):
    found = results(tmp_path, ("density",), 'plot.show=["loss", "phase"]')
    (data,) = found.datasets.values()
    ax, other = quantities.figures(found)["mine_show"].axes
    words = ["not represented", "dedicated", "superposed"]
    assert [text.get_text() for text in other.get_yticklabels()] == [words[k] for k in np.unique(data["phase"])]
    (line,) = ax.lines
    order = np.argsort(data["density"].values)
    np.testing.assert_array_equal(line.get_xdata(), data["density"].values[order])
    np.testing.assert_array_equal(line.get_ydata(), data["loss"].min("restart").values[order])


def test_the_axes_of_a_map_can_be_chosen(tmp_path):
    found = results(tmp_path, ("learning_rate", "importance", "density"), "plot.x=density", "plot.y=learning_rate")
    (case,) = found.sweep.cases.values()
    (data,) = found.datasets.values()
    figure = overview.overview(case, data, "mine")
    phases = overview.best_phase(data)
    drawn = meshes(figure)
    assert len(drawn) == 4 * (3 + 1)  # a row for every importance
    values = phases.isel(importance=1, feature=0).transpose("learning_rate", "density").values[:, ::-1]
    np.testing.assert_array_equal(drawn[4].get_array(), values)
    assert {ax.get_xlabel() for ax in figure.axes[12:15]} == {"density"}


def test_numbers_of_ticks_do_not_touch_and_are_those_of_the_points_where_these_are_few(tmp_path):
    (tmp_path / "mine.toml").write_text(
        HEAD.replace("n_features = 3", "n_features = 6")
        + """
[axes.importance]
field = "importance[-1]"
values = [2, 0.5]
[axes.density]
field = "data.density"
scale = "log"
range = [1, 0.02]
points = 8
"""
    )
    for swap in ((), ("plot.x=density", "plot.y=importance")):
        (case,) = superjax.load(tmp_path / "mine.toml", *swap).cases.values()
        figure = overview.overview(case, made_up(case), "mine")
        canvas.legible(figure)
        figure.draw_without_rendering()
        panels = [ax for ax in figure.axes if ax.get_title()]
        assert len(panels) == 7
        for ax in panels:
            few, many = (ax.yaxis, ax.xaxis) if swap else (ax.xaxis, ax.yaxis)
            assert list(few.get_ticklocs()) == [0.5, 2]
            assert {0.1, 1} <= {*many.get_ticklocs()}
            ends = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
            assert all(left.x1 < right.x0 for left, right in zip(ends, ends[1:], strict=False))


def test_every_quantity_that_is_known_is_there_and_drawn(tmp_path):
    both = ("optimum=true", "autoencoder={width=3, steps=2, batch=8}",
            "attack={steps=1, starts=1, random=1, found_on=8, chosen_on=8, scored_on=8}")  # fmt: skip
    found = results(tmp_path, ("importance", "density"), *both)
    (data,) = found.datasets.values()
    (case,) = found.sweep.cases.values()
    names = [*quantities.ALWAYS, *quantities.OF_WEIGHTS, *quantities.OF_OPTIMUM, *quantities.OF_DICTIONARIES,
             *quantities.OF_ATTACKS]  # fmt: skip
    assert set(names) <= set(data.data_vars)
    for name in names:
        shown = case.model_copy(update={"plot": case.plot.model_copy(update={"show": [name]})})
        quantities.check(shown)
        panels = quantities._panels(shown, data, name)
        own = int(np.prod([data.sizes[d] for d in data[name].dims if d not in ("importance", "density", "restart")]))
        assert len(panels) == min(own, quantities.MAX_PANELS)
    everything = case.model_copy(update={"plot": case.plot.model_copy(update={"show": names[:6]})})
    (name,) = found.sweep.cases
    figure = quantities._maps(everything, data, names[:6])
    figure.canvas.draw()


FAMILIES = 'families={pair={W="digon", along="density", start=0.1}, none={W="2 singles", along="density", start=1}}'


def test_solutions_are_drawn_by_name(tmp_path):
    """A map has the colour that the legend gives to the name, lines have the names as ticks."""
    found = results(tmp_path, ("importance", "density"), 'plot.show=["phase", "solution", "family_solution"]', FAMILIES)
    (data,) = found.datasets.values()
    figure = quantities.figures(found)["mine_show"]
    (legend,) = figure.legends
    handles = zip(legend.texts, legend.get_patches(), strict=True)
    named = {text.get_text(): patch.get_facecolor() for text, patch in handles}
    titles = [ax.get_title().replace("\n", " ") for ax in figure.axes]
    assert titles[3:6] == ["solution, best restart", "family solution, pair", "family solution, none"]
    for ax, numbers, variable in (
        (figure.axes[3], data["solution"].isel(restart=data["best"]), "solution"),
        (figure.axes[4], data["family_solution"].sel(family="pair"), "family_solution"),
    ):
        words = solutions.names(data, variable)[numbers.transpose("density", "importance").values[::-1]]
        (mesh,) = ax.collections
        mesh.update_scalarmappable()
        expected = np.array([named[f"solution: {word}"] for word in words.ravel()])
        np.testing.assert_allclose(mesh.get_facecolor().reshape(-1, 4), expected)
    line = results(tmp_path, ("density",), 'plot.show=["solution", "family_loss"]', FAMILIES)
    (data,) = line.datasets.values()
    top, bottom = quantities.figures(line)["mine_show"].axes
    ticks = dict(zip(top.get_yticks(), [text.get_text() for text in top.get_yticklabels()], strict=True))
    assert [ticks[y] for y in top.lines[0].get_ydata()] == list(solutions.best_names(data)[np.argsort(data["density"])])
    assert [text.get_text() for text in bottom.get_legend().texts] == ["pair", "none"]


def test_names_beyond_the_colours_are_one_kind():
    words = [f"name_{k}" for k in range(12)]
    data = xr.Dataset({"solution": ("x", np.zeros(1, int), {"flag_meanings": " ".join(["diverged", *words])})})
    values = np.repeat(np.arange(13), [30, *range(12, 0, -1)])
    found = quantities._kinds(data, {"solution": [values]})
    assert found.names == ["diverged", *(f"name {k}" for k in range(6)), "6 other kinds"]
    assert found.colours[0] == "#000000" and len(set(found.colours)) == 8
    assert found.place["solution"].tolist() == [*range(7), *[7] * 6]


def test_no_two_figures_have_one_name(tmp_path):
    text = HEAD + f"[axes.density]\n{AXES['density']}\n[case.a]\nplot.show = ['loss']\n[case.a_show]\nseed = 1\n"
    (tmp_path / "two.toml").write_text(text)
    with pytest.raises(superjax.SweepError, match="draws a_show.png, which is the figure of the case a_show"):
        studies.check(superjax.load(tmp_path / "two.toml"))
    studies.check(superjax.load(tmp_path / "two.toml", "plot.show=[]"))
    study = "from matplotlib.figure import Figure\nfigures = lambda results: {'mine_show': Figure(), 'b': Figure()}\n"
    (tmp_path / "own_names.py").write_text(f"{study}claims = lambda results: []\n")
    found, failed = results(tmp_path, ("density",), "plot.show=loss", "study=own_names", "plot.dpi=20"), []
    (tmp_path / "out").mkdir()
    drawn = studies.draw(found, tmp_path / "out", failed=failed.append)
    assert [path.name for path in drawn] == ["b.png", "mine_show.png"]
    assert failed == ["the study own_names: figures(results) has the name mine_show, which plot.show draws"]


@pytest.mark.parametrize(
    ("axes", "override", "said"),
    [
        (("density",), "plot.show=colour", "plot.show = colour: is no quantity; there are loss, "),
        (("density",), "plot.show=gap", "needs optimum = true"),
        (("density",), "plot.show=family_loss", r"needs \[families.NAME\]"),
        (("density",), "plot.show=autoencoder_fvu", r"needs \[autoencoder\]"),
        (("density",), "plot.show=attack_loss", r"needs \[attack\]"),
        ((), "plot.show=loss", "the sweep has none"),
        (("importance", "density"), "plot.x=height", "is no axis of a map; there are importance, density"),
        (("density",), "plot.x=density", "one axis or none"),
    ],
)
def test_what_cannot_be_shown_is_said_before_training(axes, override, said, tmp_path):
    with pytest.raises(superjax.SweepError, match=said):
        results(tmp_path, axes, override)
    (tmp_path / "mine.toml").write_text(HEAD + "".join(f"[axes.{n}]\n{AXES[n]}\n" for n in ("importance", "density")))
    with pytest.raises(superjax.SweepError, match="the same axis"):
        studies.check(superjax.load(tmp_path / "mine.toml", "plot.x=density", "plot.y=density"))


def test_other_formats_lie_beside_the_pngs_and_are_the_same_each_time(tmp_path):
    found = results(tmp_path, ("density",), "plot.format=svg", "plot.dpi=40")
    (tmp_path / "out").mkdir()
    paths = studies.draw(found, tmp_path / "out")
    assert [path.name for path in paths] == ["mine.png", "mine.svg"]
    first = paths[1].read_bytes()
    assert first.startswith(b"<?xml") and b"density" in first
    studies.draw(found, tmp_path / "out")
    assert paths[1].read_bytes() == first
    pdf = Results(found.sweep.override("plot.format=pdf"), found.datasets, {})
    assert studies.draw(pdf, tmp_path / "out")[1].read_bytes().startswith(b"%PDF")
