"""`plot.show`, `plot.x` and `plot.y`: what is drawn is what the dataset has."""

import numpy as np
import pytest
from matplotlib.collections import QuadMesh

import superjax
from superjax import studies
from superjax.studies import overview, quantities
from superjax.studies.results import Results

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
    found = results(tmp_path, ("density",), "plot.show=loss")
    (data,) = found.datasets.values()
    (ax,) = quantities.figures(found)["mine_show"].axes
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


@pytest.mark.parametrize(
    ("axes", "override", "said"),
    [
        (("density",), "plot.show=colour", "plot.show = colour: is no quantity; there are loss, "),
        (("density",), "plot.show=gap", "needs optimum = true"),
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
