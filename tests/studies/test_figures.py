"""What the figures draw: values and labels of the artists, never pixels; and claims recomputed from stored data."""

import json
from importlib import import_module

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

import superjax
from superjax import analysis, plots, studies
from superjax.disk.files import write_json
from superjax.plots import maps
from superjax.reference import theory
from superjax.runs.netcdf import write_dataset
from superjax.studies import diagram as planes
from superjax.studies import overview, phase_diagram, protocols
from superjax.studies.diagram import diagrams
from superjax.studies.phase_diagram.figures import CUTS
from superjax.studies.phase_diagram.view import gap_to_minimum, is_minimum


@pytest.fixture(scope="module")
def results() -> studies.Results:
    """A small phase diagram of both cases."""
    points = [f"axes.{axis}.points=9" for axis in ("importance", "density")]
    points += [f"case.n3_m2.axes.{axis}.points=7" for axis in ("importance", "density")]
    sweep = superjax.load("phase_diagram", *points, "restarts=4", "train.steps=300")
    manifest = {"cases": {name: {"seconds": {"train": 1.5}} for name in sweep.cases}}
    return studies.Results(sweep, superjax.run(sweep), manifest)


@pytest.fixture(autouse=True)
def small_sample(monkeypatch):
    """The reference search is tested elsewhere."""
    monkeypatch.setattr(import_module("superjax.studies.phase_diagram.claims"), "SAMPLE", {2: 20, 3: 2})


@pytest.fixture(scope="module")
def drawn(results) -> dict[str, Figure]:
    return phase_diagram.figures(results)


def meshes(figure: Figure) -> list[np.ndarray]:
    """The values of every map, in order; colour bars have no title."""
    return [c.get_array() for ax in figure.axes if ax.get_title() for c in ax.collections if isinstance(c, QuadMesh)]


def test_the_maps_hold_the_dataset_cell_by_cell(results, drawn):
    panels = [ax for ax in drawn["phase_diagram"].axes if ax.get_xlabel().startswith("relative importance")]
    assert len(panels) == 10
    for k, diagram in enumerate(diagrams(results)):
        theory_panel, optimum, typical, success, last = panels[5 * k : 5 * k + 5]
        shown = [next(c for c in ax.collections if isinstance(c, QuadMesh)) for ax in panels[5 * k : 5 * k + 5]]
        np.testing.assert_array_equal(shown[0].get_array(), diagram.theory_phase().T)
        np.testing.assert_array_equal(shown[1].get_array(), diagram.extra("optimum_phase").T)
        colours = plots.typical_colours(diagram.extra("typical_norm"), diagram.extra("typical_interference"))
        np.testing.assert_allclose(np.asarray(shown[2].get_array()), colours.swapaxes(0, 1))
        np.testing.assert_allclose(shown[3].get_array(), diagram.data["success"].values.T)
        gap = gap_to_minimum(diagram).T
        np.testing.assert_array_equal(np.ma.getmaskarray(shown[4].get_array()), np.isnan(gap))
        assert np.nanmax(shown[4].get_array()) <= 10
        for ax in (theory_panel, optimum, typical, success, last):
            assert ax.get_xscale() == ax.get_yscale() == "log"
            low, high = ax.get_ylim()
            assert low < diagram.density.min() and diagram.density.max() < high  # density 1 at the top
            edges = ax.get_xlim()
            assert edges[0] < diagram.importance.min() and edges[1] > diagram.importance.max()


def test_theory_is_solid_and_the_measured_boundary_dashed(results, drawn):
    panels = [ax for ax in drawn["phase_diagram"].axes if ax.get_xlabel().startswith("relative importance")]
    for diagram, ax in zip(diagrams(results), (panels[1], panels[6]), strict=True):
        solid, dashed = ax.lines
        x, y = solid.get_data()
        case = diagram.case
        np.testing.assert_allclose(y, theory.superposition_boundary(x, case.n_features, case.n_hidden))
        assert solid.get_linestyle() == "-" and dashed.get_linestyle() == "--"
        np.testing.assert_array_equal(dashed.get_ydata(), diagram.boundary().position())
    assert all(ax.lines[-1].get_path_effects() for k, ax in enumerate(panels) if k % 5)  # white, outlined on any colour


def test_titles_and_caption_come_from_the_specification(results, drawn):
    figure = drawn["phase_diagram"]
    assert "What happens to an extra feature?" in figure.get_suptitle()
    caption = " ".join(figure.get_supxlabel().split())
    case = results.sweep.cases["n2_m1"]
    models = sum(data["loss"].size for data in results.datasets.values())
    for part in (
        "n = 2, m = 1: 9 x 9 cells x 4 restarts", "n = 3, m = 2: 7 x 7", "exact", "300 steps of adam", "relu output",
        f"deviation {case.model.init_std}", "at least 0.5", "at least 0.1", f"{models:,} models.",
        f"{diagrams(results)[0].success_in_words()} (n = 2, m = 1)", "±", "starts that are independent in all cells",
    ):  # fmt: skip
        assert part in caption, part
    legends = [ax.get_legend() for ax in figure.axes if ax.get_legend()]
    labels = {text.get_text() for legend in legends for text in legend.get_texts()}
    assert {"not represented", "dedicated", "superposed", "theory", "measured"} <= labels


def test_the_cuts_draw_norms_and_losses_at_the_nearest_importance(results, drawn):
    figure = drawn["cuts"]
    for diagram, part in zip(diagrams(results), figure.subfigs, strict=True):
        for column, wanted in enumerate(CUTS):
            k = int(np.argmin(np.abs(np.log(diagram.importance / wanted))))
            top, bottom = part.axes[column], part.axes[len(CUTS) + column]
            lines = {line.get_label(): line for line in top.lines}
            np.testing.assert_array_equal(lines["optimum"].get_ydata(), diagram.extra("optimum_norm")[k])
            assert len(lines["single restarts"].get_xdata()) == diagram.data.sizes["density"] * diagram.case.restarts
            losses = {line.get_label(): line.get_ydata() for line in bottom.lines}
            styles = [line._unscaled_dash_pattern for line in bottom.lines if line.get_label().startswith("theory")]
            assert sum(max(dashes[::2]) < 2 for _, dashes in styles) <= 1  # two dotted lines are hard to tell apart
            best = diagram.data["optimum_loss"].values[k] / theory.variance(diagram.density)
            branches = [
                losses[f"lowest loss found {which} superposition"] for which in ("with", "of other minima, without")
            ]
            np.testing.assert_allclose(np.nanmin(branches, axis=0), best, rtol=1e-6)


def test_leaving_a_feature_out_is_no_minimum_where_data_are_sparse():
    """Its gradient is 0 there, and yet the loss falls as the feature moves towards the antipode."""
    W, b = np.array([[[1.0, 0.0]]] * 2), np.array([[0.0, 0.1], [0.0, 0.01]])
    density = np.array([[0.2, 0.2], [0.02, 0.02]])
    assert is_minimum(W, b, np.array([[1.0, 0.1]] * 2), density).tolist() == [True, False]
    pair = np.array([[[1.0, -1.0]]])
    assert is_minimum(pair, np.full((1, 2), -1e-4), np.ones((1, 2)), np.full((1, 2), 0.01)).all()
    assert not is_minimum(pair * [1, 0.6], np.zeros((1, 2)), np.ones((1, 2)), np.full((1, 2), 0.01)).any()


def test_boundaries_equal_the_reference_where_losses_cross(results, monkeypatch):
    """Even in cells of 0.6 in ln(density), as the losses of both minima are continued to their crossing."""
    claims = [claim for claim in studies.claims(results) if "begins in the optimum" in claim.claim]
    assert len(claims) == 9 or len(claims) == 10  # n = 3 has a column at importance 1 if the points say so
    assert all(claim.holds for claim in claims), [claim for claim in claims if not claim.holds]
    with monkeypatch.context() as patch:  # cells too coarse for what is asked: almost any boundary would hold
        patch.setattr(planes, "TOO_COARSE", 0.05)
        left = [claim for claim in studies.claims(results) if "begins in the optimum" in claim.claim]
        assert len(left) < len(claims) and all(claim.expected is None for claim in left)
    data = results.datasets["n2_m1"].copy(deep=True)
    data["optimum_phase"][:, 2:] = data["optimum_phase"][:, :-2].values  # two cells sparser
    data["optimum_W"][:, 2:] = data["optimum_W"][:, :-2].values
    data["optimum_norm"][:, 2:] = data["optimum_norm"][:, :-2].values
    broken = studies.claims(results._replace(datasets={"n2_m1": data}))
    assert not all(claim.holds for claim in broken if "begins in the optimum" in claim.claim)


def test_single_restarts_are_dots_beside_the_boundary_of_the_optimum():
    sweep = superjax.load("protocols", "cases=n2_m1_minibatch", "axes.importance.points=3", "axes.density.points=12",
                          "restarts=3", "train.streams=3", "train.steps=200")  # fmt: skip
    results = studies.Results(sweep, superjax.run(sweep), {})
    (diagram,) = diagrams(results)
    figure = protocols.figures(results)["protocols"]
    first = figure.axes[0]
    assert first.get_ylabel() == "n = 2, m = 1\nminibatch\ndensity 1 − S" and first.get_ylim()[0] < first.get_ylim()[1]
    (dots,) = [line for line in first.lines if line.get_marker() == "o"]
    half = diagram.single_restarts()[1]
    np.testing.assert_array_equal(dots.get_ydata(), half)
    assert "n2_m1" not in figure.get_supxlabel() and "±" in figure.get_supxlabel()
    claims = {claim.claim: claim for claim in protocols.claims(results)}
    for r in (0.1, 1.0, 10.0):
        (claim,) = [claim for text, claim in claims.items() if text.endswith(f"importance {r:g}")]
        np.testing.assert_equal(claim.measured, float(half[diagram.column(r)]))
        assert ("half of them never" in claim.note) == np.isnan(claim.measured)
        both = np.isin(diagram.data["phase"].values[diagram.column(r)], (1, 2)).sum(-1) == 2
        ratio = diagram.density / claim.expected
        early, late = both[(ratio > 1) & (ratio < np.e)], ~both[(ratio < 1) & (ratio > 1 / np.e)]
        assert ("superposition already" in claim.note) == early.any()
        assert not early.any() or f"times it {early.mean():.0%} of the models" in claim.note
        assert f"of it {late.mean():.0%} of the models have none" in claim.note
    (typical,) = [claim for text, claim in claims.items() if "optimum = that of most" in text]
    differ = (diagram.extra("optimum_phase") != diagram.extra("typical_phase")).sum()
    assert typical.note.startswith(f"{differ} of {diagram.extra('typical_phase').size} differ")


def test_colours_can_be_told_apart_by_everyone():
    """Every pair of phase colours differs clearly in lightness or along the blue-yellow axis."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    linear = [np.array(to_rgb(colour)) ** 2.2 for colour in maps.PHASE_COLOURS.values()]
    for i in range(4):
        for j in range(i):
            lightness = abs(weights @ linear[i] - weights @ linear[j])
            blue_yellow = abs((linear[i][2] - linear[i][:2].mean()) - (linear[j][2] - linear[j][:2].mean()))
            assert lightness > 0.15 or blue_yellow > 0.3


def test_cells_are_hatched_exactly_where_asked():
    ax = Figure().subplots()
    ax.set(xscale="log", yscale="log")
    x, y = np.geomspace(0.1, 10, 5), np.geomspace(0.01, 1, 4)
    where = np.zeros((5, 4), bool)
    where[1, 2] = where[4, 0] = True
    plots.hatch(ax, x, y, where)
    (filled,) = ax.collections
    (path,) = filled.get_paths()
    for i in range(5):
        for j in range(4):
            assert path.contains_point((x[i], y[j])) == where[i, j]


def test_the_2d_colouring_is_the_papers():
    grey, blue, red = (to_rgb(c) for c in (maps.GREY, maps.BLUE, maps.VERMILION))
    norm, interference = np.array([0.0, 0.0, 1.0, 1.0, 1.3, np.nan]), np.array([0.0, 1.0, 0.0, 1.0, 2.0, 0.0])
    colours = plots.typical_colours(norm, interference)
    np.testing.assert_allclose(colours, [grey, grey, blue, red, red, (0, 0, 0)])


def test_claims_can_be_recomputed_from_the_stored_dataset(results, tmp_path):
    first = [claim._asdict() for claim in studies.claims(results)]
    for name, data in results.datasets.items():
        write_dataset(tmp_path / f"{name}.nc", data)
    stored = {name: superjax.open(tmp_path / f"{name}.nc") for name in results.datasets}
    again = [claim._asdict() for claim in studies.claims(results._replace(datasets=stored))]
    write_json(tmp_path / "claims.json", again)
    assert json.loads((tmp_path / "claims.json").read_text()) == json.loads(json.dumps(first))
    wanted = ("triple point", "superposition begins", "jump", "1/r", "concave", "share a dimension", "best of restarts",
              "that of most restarts", "theory panel", "error of the stored loss", "true optimum")  # fmt: skip
    for part in wanted:
        assert any(part in claim["claim"] + claim["source"] for claim in first), part


def test_a_coarse_grid_is_no_reason_for_a_claim_to_fail(results):
    """Cells of 0.6 in ln(density) see the norms on either side of the jump further apart, never nearer."""
    jumps = [claim for claim in studies.claims(results) if "jump of" in claim.claim]
    assert jumps and all(claim.holds for claim in jumps)
    data = results.datasets["n2_m1"].copy(deep=True)
    data["optimum_norm"][:] = data["optimum_norm"].clip(0.45, 0.6)  # hardly a jump
    broken = studies.claims(results._replace(datasets={**results.datasets, "n2_m1": data}))
    assert not any(claim.holds for claim in broken if "jump of" in claim.claim)


def test_a_claim_notices_wrong_data(results):
    """Planted errors: a raised optimum breaks the certificates, a swapped map the agreement."""
    name, data = "n2_m1", results.datasets["n2_m1"].copy(deep=True)
    data["optimum_loss"][2, 4] *= 1.05
    data["optimum_phase"][:, :3] = 2
    broken = results._replace(datasets={**results.datasets, name: data})
    before, after = ({claim.claim: claim for claim in studies.claims(which)} for which in (results, broken))
    failed = [text for text, claim in after.items() if not claim.holds and before[text].holds]
    assert any("concave" in claim for claim in failed)
    assert any("1/r" in claim for claim in failed)
    (agree,) = [text for text in after if text.startswith(name) and "theory = optimum" in text]
    assert before[agree].measured > 0.8 and after[agree].measured < 0.5


@pytest.mark.parametrize("axes", [0, 1, 2, 3])
def test_the_overview_fits_the_number_of_axes(axes, tmp_path):
    text = "n_features = 3\nn_hidden = 2\nrestarts = 2\ntrain.steps = 30\n"
    for name, field, values in [
        ("density", "data.density", [0.1, 0.5, 1.0]),
        ("extra", "importance[-1]", [0.5, 2.0]),
        ("rate", "train.learning_rate", [0.01, 0.02, 0.03]),
    ][:axes]:
        text += f'[axes.{name}]\nfield = "{field}"\nvalues = {values}\n'
    (tmp_path / "mine.toml").write_text(text)
    sweep = superjax.load(tmp_path / "mine.toml")
    data = superjax.run(sweep)["mine"]
    figure = overview.overview(sweep.cases["mine"], data, "mine")
    assert "n = 3, m = 2" in figure.get_suptitle()
    best = data["phase"].isel(restart=data["best"])
    if axes == 0:
        picture = figure.axes[0].images[0].get_array()
        W = data["W"].isel(restart=int(data["best"])).values
        np.testing.assert_allclose(picture[:, :3], W.T @ W, rtol=1e-6)
    if axes == 1:
        norm = data["norm"].isel(restart=data["best"], feature=1)
        np.testing.assert_array_equal(figure.axes[0].lines[1].get_ydata(), norm)
        assert figure.axes[2].get_xlabel() == "density"
    if axes == 2:
        drawn = meshes(figure)
        np.testing.assert_array_equal(drawn[2], best.isel(feature=2).sortby("density").values.T)
        superposed = (best == analysis.PHASES.index("superposed")).sum("feature")
        np.testing.assert_array_equal(drawn[3], superposed.values.T)
        assert all(float(tick).is_integer() for tick in figure.axes[-1].get_yticks())  # a count
    if axes == 3:
        assert len(meshes(figure)) == 3 * 4
        assert "density = 0.1" in figure.axes[0].get_ylabel()


@pytest.mark.parametrize("axes", [1, 2])
def test_figures_mark_what_diverged(axes, tmp_path):
    """With crosses, in the legend and by number in the title; nothing of it where all is well."""
    text = "n_features = 2\nn_hidden = 1\nrestarts = 2\ntrain.steps = 9\ntrain.optimizer = 'sgd'\n"
    text += "axes.rate = {field = 'train.learning_rate', values = [0.01, 1e30, 0.03]}\n"
    text += "axes.density = {field = 'data.density', values = [0.1, 0.5]}\n" if axes == 2 else ""
    (tmp_path / "mine.toml").write_text(text)
    for overrides, marked in (((), True), (("axes.rate.values=[0.01, 0.02, 0.03]",), False)):
        sweep = superjax.load(tmp_path / "mine.toml", *overrides)
        data = superjax.run(sweep)["mine"]
        if axes == 2 and marked:  # one more, beside a restart that did not
            data["diverged_at"][{"rate": 0, "density": 1, "restart": 0}] = 3
        figure = overview.overview(sweep.cases["mine"], data, "mine")
        legend = (figure.legends or [ax.get_legend() for ax in figure.axes if ax.get_legend()])[-1]
        words = {1: "all restarts diverged", 2: "some restarts diverged"}[axes]
        assert (words in [text.get_text() for text in legend.get_texts()]) == marked
        count = int((data["diverged_at"] >= 0).sum())
        assert count == {1: 2, 2: 5}[axes] * marked
        assert (f"{count} of {6 * axes} models diverged" in figure.get_suptitle()) == marked
        if axes == 1:
            crosses = [line for line in figure.axes[2].lines if line.get_marker() == "X"]
            assert [list(line.get_xdata()) for line in crosses] == ([[1e30]] if marked else [])
        else:
            crosses = [c for ax in figure.axes for c in ax.collections if isinstance(c, ContourSet)]
            assert len(crosses) == 3 * marked
            for (path,) in (filled.get_paths() for filled in crosses):
                assert path.contains_point((0.01, 0.5)) and not path.contains_point((1e30, 0.5))
            *_, superposed = meshes(figure)
            assert (superposed.mask.any(0) == [False, False, marked]).all()  # along the rate, sorted
