"""Uniform superposition: exact losses of tegum products, what the figures draw, what the claims notice."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import superjax
from superjax import analysis, plots, studies
from superjax.analysis import polytopes
from superjax.disk.files import write_json
from superjax.reference import oracle, polytope_losses, theory
from superjax.runs.netcdf import write_dataset
from superjax.spec import SweepError
from superjax.studies import uniform_geometry
from superjax.studies.uniform_geometry.view import NAMED, Uniform, uniforms

SMALL = ("n_features=40", "n_hidden=6", "train.steps=600", "train.batch=256", "axes.density.range=[1,0.1]",
         "axes.density.points=6")  # fmt: skip


@pytest.fixture(scope="session")
def results() -> studies.Results:
    sweep = superjax.load("uniform_geometry", *SMALL)
    return studies.Results(sweep, superjax.run(sweep), {"cases": {"uniform_geometry": {"seconds": {"train": 1.5}}}})


@pytest.fixture(scope="session")
def shown(results) -> Uniform:
    return uniforms(results)[0]


@pytest.fixture(scope="module")
def drawn(results) -> dict[str, Figure]:
    return uniform_geometry.figures(results)


@pytest.mark.parametrize("name", ["digon", "triangle", "tetrahedron"])
@pytest.mark.parametrize("density", [0.9, 0.3, 0.03])
def test_the_loss_of_a_polytope_alone_is_the_references(name, density):
    vertices = NAMED[name].vertices
    k = vertices.shape[1]
    found = polytope_losses.alone(NAMED[name], np.array([density]))
    W, b = found.norm * vertices, np.repeat(found.bias, k)
    assert k * found.loss[0] == pytest.approx(oracle.expected_loss(W, b, np.ones(k), np.full(k, density)), rel=3e-4)


@pytest.mark.parametrize("density", [0.5, 0.3, 0.1])
def test_a_digon_alone_is_the_optimum_of_two_features(density):
    found = polytope_losses.alone(NAMED["digon"], np.array([density]))
    true = oracle.minimum(np.ones(2), np.full(2, density), n_hidden=1, restarts=8)
    assert 2 * found.loss[0] == pytest.approx(true.loss, rel=1e-5)
    np.testing.assert_allclose(np.repeat(found.norm, 2), np.abs(true.W[0]), rtol=1e-3)
    np.testing.assert_allclose(np.repeat(found.bias, 2), true.b, atol=1e-3)


def test_a_single_feature_loses_nothing():
    found = polytope_losses.alone(NAMED["single"], np.array([1.0, 0.1, 0.01]))
    np.testing.assert_allclose(found.norm, 1, rtol=1e-6)
    np.testing.assert_allclose(found.loss, 0, atol=1e-12)


def test_the_pentagon_is_the_known_one():
    """Its norm, bias and loss at density 0.05, and the loss against the reference."""
    found = polytope_losses.alone(NAMED["pentagon"], np.array([0.05]))
    assert found.norm[0] == pytest.approx(1.134, abs=1e-3)
    assert found.bias[0] == pytest.approx(-0.246, abs=1e-3)
    assert 5 * found.loss[0] == pytest.approx(0.008917, rel=2e-3)
    W = found.norm * NAMED["pentagon"].vertices
    true = oracle.expected_loss(W, np.repeat(found.bias, 5), np.ones(5), np.full(5, 0.05))
    assert 5 * found.loss[0] == pytest.approx(true, rel=1e-4)


def test_no_norm_and_bias_beat_those_of_a_polytope_alone():
    """Moved a little either way, the exact loss of the triangle rises."""
    density, triangle = 0.4, NAMED["triangle"]
    found = polytope_losses.alone(triangle, np.array([density]))
    moves = np.array([[0, 0], [0.02, 0], [-0.02, 0], [0, 0.02], [0, -0.02]])
    W = (found.norm + moves[:, :1])[..., None] * triangle.vertices
    b = np.repeat(found.bias + moves[:, 1:], 3, axis=-1)
    losses = oracle.expected_loss(W, b, np.ones(3), np.full(3, density))
    assert (losses[1:] > losses[0]).all()


def test_a_product_adds_its_polytopes_and_what_is_left_out():
    density = np.array([0.3, 0.1])
    expected = 60 * polytope_losses.alone(NAMED["digon"], density).loss + 340 * theory.variance(density)
    np.testing.assert_allclose(polytope_losses.product_loss(NAMED["digon"], density, 400, 30), expected)
    with pytest.raises(ValueError, match="60 features, not 50"):
        polytope_losses.product_loss(NAMED["digon"], density, 50, 30)


@given(seed=st.integers(0, 99), n=st.integers(1, 30), m=st.integers(1, 8), sparse=st.booleans())
def test_dimensionalities_add_up_to_at_most_the_rank(seed, n, m, sparse):
    """Any W; and to the rank where every feature is an eigenvector of WWᵀ, as in every tegum product of polytopes."""
    random = np.random.default_rng(seed)
    W = random.standard_normal((m, n)) * np.exp(random.standard_normal(n)) * (random.random(n) < 0.5 if sparse else 1)
    assert analysis.dimensionality(W).sum() <= np.linalg.matrix_rank(W) + 1e-9
    for polytope in NAMED.values():
        assert analysis.dimensionality(polytope.vertices).sum() == pytest.approx(polytope.vertices.shape[0])


def test_trained_dimensionalities_add_up_to_at_most_the_hidden_dimensions(results, shown):
    total = analysis.dimensionality(shown.W).sum(-1)
    assert (total <= shown.case.n_hidden + 1e-9).all()
    assert np.median(total) > 0.95 * shown.case.n_hidden  # and little less: trained weights waste hardly a dimension
    assert (shown.random_dimensionality.sum(-1) <= shown.case.n_hidden + 1e-9).all()
    np.testing.assert_allclose(shown.dimensionality, shown.best("dimensionality"), atol=1e-4)


def test_the_better_start_counts_and_silent_outputs_are_noticed(results, shown):
    data = results.datasets["uniform_geometry"].copy(deep=True)
    np.testing.assert_array_equal(shown.best("loss"), data["loss"].min(["start", "restart"]).values)
    s = data["density"].values
    data["feature_loss"].values[:] = theory.variance(s)[:, None, None, None]  # all left out, at their means
    assert not Uniform(shown.name, shown.case, data).silent.any()
    data["feature_loss"].values[..., 3] = s[:, None, None] / 3
    silent = Uniform(shown.name, shown.case, data).silent
    assert silent[:, 3].all() and silent.sum() == len(s)


def test_random_directions_have_the_norms_of_the_trained_ones(shown):
    again = Uniform(shown.name, shown.case, shown.data)
    np.testing.assert_array_equal(again.random_dimensionality, shown.random_dimensionality)  # seeded
    assert np.abs(shown.random_dimensionality - shown.dimensionality).max() > 0.05


def test_the_figure_draws_the_dataset(results, shown, drawn):
    per_feature, explained, losses, trained, histogram, random = drawn["uniform_geometry"].axes[:6]
    x = 1 / shown.density
    models = results.datasets["uniform_geometry"].sortby("density", ascending=False).stack(model=("start", "restart"))
    data = models.isel(model=models["loss"].argmin("model"))
    lines = {line.get_label(): line for line in per_feature.lines}
    expected = shown.case.n_hidden / (data["W"] ** 2).sum(["hidden", "feature"]).values
    np.testing.assert_allclose(lines["trained"].get_ydata(), expected, rtol=1e-5)
    np.testing.assert_allclose(lines["trained"].get_xdata(), x)
    mean = next(line for line in explained.lines if line.get_label() == "mean of all features")
    np.testing.assert_allclose(mean.get_ydata(), data["explained"].mean("feature"), rtol=1e-5)
    lines = {line.get_label(): line.get_ydata() for line in losses.lines}
    # I = 1: the loss says what all features together explain
    np.testing.assert_allclose(lines["trained"], mean.get_ydata() * 40 / 6, rtol=1e-3, atol=1e-3)
    assert {f"{name}s, exact" for name in NAMED} <= set(lines)
    np.testing.assert_allclose(lines["singles, exact"], 1, atol=1e-6)
    for ax, values in ((trained, shown.dimensionality), (random, shown.random_dimensionality)):
        grey, blue = ax.lines[:2]
        assert len(grey.get_ydata()) + len(blue.get_ydata()) == values.size
        np.testing.assert_array_equal(np.sort(blue.get_ydata()), np.sort(values[shown.represented]))
        guides = [line.get_ydata()[0] for line in ax.lines[2:]]
        np.testing.assert_allclose(guides, [1, 3 / 4, 2 / 3, 1 / 2, 2 / 5, 3 / 8, 0])
    names = {text.get_text() for text in random.texts}
    assert {"tetrahedron 3/4", "triangle 2/3", "digon 1/2", "pentagon 2/5", "square antiprism 3/8"} <= names
    bars = [patch.get_width() for patch in histogram.patches if isinstance(patch, Rectangle)]
    assert sum(bars) == shown.represented.sum()


def test_the_graphs_name_the_factors(shown, drawn):
    figure = drawn["uniform_geometry_graphs"]
    for ax in figure.axes:
        density = float(ax.get_title().split("density ")[1].split(")")[0])
        cell = shown.cell(density)
        dots = sum(len(line.get_xdata()) for line in ax.lines)
        assert dots == shown.represented[cell].sum()
        assert f"{dots} of 40 features" in ax.get_title()
        for name, count in shown.factors(cell).items():
            assert f"{count} x {name}" in ax.get_xlabel()


def test_a_graph_joins_what_overlaps():
    W = np.zeros((5, 9))
    W[:2, :5], W[2:4, 5:8], W[4, 8] = NAMED["pentagon"].vertices, NAMED["triangle"].vertices, 1
    ax = Figure().subplots()
    plots.feature_graph(ax, W, analysis.recognise(W), {"pentagon": "#56b4e9", "triangle": "#009e73"})
    edges = [len(c.get_segments()) for c in ax.collections if isinstance(c, LineCollection)]
    assert edges == [10 + 3]
    assert [line.get_color() for line in ax.lines] == ["#56b4e9", "#009e73", "#d0d0d0"]
    places = np.concatenate([np.stack(line.get_data(), 1) for line in ax.lines])
    apart = np.linalg.norm(places[:, None] - places, axis=-1)[~np.eye(9, dtype=bool)]
    assert apart.min() > 0.3


def test_claims_can_be_recomputed_from_the_stored_dataset(results, tmp_path):
    first = [claim._asdict() for claim in studies.claims(results)]
    write_dataset(tmp_path / "uniform_geometry.nc", results.datasets["uniform_geometry"])
    stored = {"uniform_geometry": superjax.open(tmp_path / "uniform_geometry.nc")}
    write_json(tmp_path / "claims.json", [c._asdict() for c in studies.claims(results._replace(datasets=stored))])
    assert json.loads((tmp_path / "claims.json").read_text()) == json.loads(json.dumps(first))
    for part in ("D* is 1/2", "D* is 1 where", "lowest exact loss as density falls", "bipyramid", "octahedron",
                 "random", "isolated digons", "explained variance", "sum of the dimensionalities"):  # fmt: skip
        assert any(part in claim["claim"] for claim in first), part


def test_claims_hold_of_ideal_digons_and_notice_other_weights(results):
    """Weights that are exact digons at every density, and the same stretched by a tenth."""
    name, data = "uniform_geometry", results.datasets["uniform_geometry"].copy(deep=True)
    shown = Uniform(name, results.sweep.cases[name], data)
    W = np.zeros((6, 40))
    W[:, :6], W[:, 6:12] = np.eye(6), -np.eye(6)
    density = data["density"].values
    norm = polytope_losses.alone(NAMED["digon"], density).norm
    data["W"].values[:] = norm[:, None, None, None, None] * W
    data["loss"].values[:] = polytope_losses.product_loss(NAMED["digon"], density, 40, 6)[:, None, None]
    claimed = (
        "D* is that of exact isolated digons",
        "whose D_i is within 0.02 of 1/2",
        "loss above that of exact digons",
    )

    def held(data):
        found = studies.claims(results._replace(datasets={name: data}))
        return [next(claim.holds for claim in found if part in claim.claim) for part in claimed]

    assert (shown.lowest == "digon").any()
    assert held(data) == [True, True, True]
    stretched = data.copy(deep=True)
    stretched["W"].values[:] *= 1.1
    stretched["loss"].values[:] *= 1.1
    assert held(stretched) == [False, True, False]
    turned = data.copy(deep=True)
    turned["W"].values[..., 0, 6] = 0.0
    turned["W"].values[..., 1, 6] = -norm[:, None, None]
    assert held(turned)[1] is False


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["importance={ratio=0.9}"], "equal importances"),
        (["model.kind=linear"], "relu_output"),
        (["n_hidden=300"], "n_features >= 600"),
        (["axes.rate={field='train.learning_rate', values=[0.1, 0.2]}"], "needs the axis density"),
    ],
)
def test_what_the_study_cannot_draw_is_refused(overrides, message):
    with pytest.raises(SweepError, match=message):
        studies.check(superjax.load("uniform_geometry", *overrides))


def test_the_order_of_lowest_exact_losses():
    """Simplices near density 1, then digons, pentagons, square antiprisms."""
    density = np.array([0.95, 0.4, 0.2, 0.1])
    losses = {name: polytope_losses.product_loss(polytope, density, 400, 30) for name, polytope in NAMED.items()}
    lowest = np.array(list(losses))[np.argmin(list(losses.values()), axis=0)]
    assert lowest.tolist() == ["tetrahedron", "digon", "pentagon", "square antiprism"]
    assert polytopes(2)[0] is NAMED["digon"]
