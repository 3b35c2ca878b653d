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
from superjax.studies.uniform_geometry.claims import around
from superjax.studies.uniform_geometry.palette import COLOURS
from superjax.studies.uniform_geometry.view import NAMED, NEAR, Uniform, near, uniforms

CASE = "n400_m30"
SMALL = (f"cases={CASE}", "n_features=40", "n_hidden=6", "train.steps=600", "train.batch=256",
         "train.learning_rate=0.02", "axes.density.range=[1,0.1]", "axes.density.points=6",
         "axes.start={field='model.init_std', values=[0.1, 0.2]}")  # fmt: skip


@pytest.fixture(scope="session")
def results() -> studies.Results:
    sweep = superjax.load("uniform_geometry", *SMALL)
    return studies.Results(sweep, superjax.run(sweep), {"cases": {CASE: {"seconds": {"train": 1.5}}}})


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
    data = results.datasets[CASE].copy(deep=True)
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
    per_feature, trained, histogram = drawn["uniform_geometry"].axes[:3]
    x = 1 / shown.density
    models = results.datasets[CASE].sortby("density", ascending=False).stack(model=("start", "restart"))
    data = models.isel(model=models["loss"].argmin("model"))
    lines = {line.get_label(): line for line in per_feature.lines}
    expected = shown.case.n_hidden / (data["W"] ** 2).sum(["hidden", "feature"]).values
    np.testing.assert_allclose(lines["trained"].get_ydata(), expected, rtol=1e-5)
    np.testing.assert_allclose(lines["trained"].get_xdata(), x)
    dots, guides = trained.lines[: 2 + len(COLOURS)], trained.lines[2 + len(COLOURS) :]
    assert sum(len(line.get_ydata()) for line in dots) == shown.dimensionality.size
    for line, kind in zip(dots, ("", "other", *COLOURS), strict=True):
        np.testing.assert_array_equal(
            np.sort(line.get_ydata()), np.sort(shown.dimensionality[shown.kinds == kind])
        )  # fmt: skip
    levels = [1, 3 / 4, 2 / 3, 1 / 2, 2 / 5, 3 / 8, 0]
    np.testing.assert_allclose([line.get_ydata()[0] for line in guides], levels)
    names = {text.get_text() for text in histogram.texts}
    assert {"tetrahedron 3/4", "triangle 2/3", "digon 1/2", "pentagon 2/5", "square antiprism 3/8"} <= names
    bars = [patch.get_width() for patch in histogram.patches if isinstance(patch, Rectangle)]
    assert sum(bars) == shown.represented.sum()


def test_the_exact_optimum_is_drawn_over_all_densities(shown, drawn):
    """D* of the product of lowest exact loss, also where no model was trained, in the colour of its polytope."""
    curves = [line for line in drawn["uniform_geometry"].axes[0].lines if line.get_label().startswith("exact ")]
    x = np.sort(np.concatenate([line.get_xdata() for line in curves]))
    np.testing.assert_allclose(x, 1 / shown.fine)
    for line in curves:
        name = line.get_label().removeprefix("exact ").removesuffix("s")
        assert line.get_color() == COLOURS[name]
        expected = polytope_losses.per_feature(NAMED[name], 1 / line.get_xdata())
        np.testing.assert_allclose(line.get_ydata(), expected)


def test_the_losses_are_those_of_the_dataset(results, shown, drawn):
    products, reached, explained, random = drawn["uniform_geometry_losses"].axes[:4]
    mean = next(line for line in explained.lines if line.get_label() == "mean of all features")
    np.testing.assert_allclose(mean.get_ydata(), shown.best("explained").mean(1), rtol=1e-5)
    assert products.get_title().endswith(": explained features per dimension")
    lines = {line.get_label(): line.get_ydata() for line in products.lines}
    # I = 1: the loss says what all features together explain
    np.testing.assert_allclose(lines["trained"], mean.get_ydata() * 40 / 6, rtol=1e-3, atol=1e-3)
    assert {f"{name}s, exact" for name in NAMED} <= set(lines)
    np.testing.assert_allclose(lines["singles, exact"], 1, atol=1e-6)
    trained = next(line.get_ydata() for line in reached.lines if line.get_marker() == "o")
    np.testing.assert_allclose(trained, shown.reached)
    grey, blue = random.lines[:2]
    assert len(grey.get_ydata()) + len(blue.get_ydata()) == shown.norm.size
    np.testing.assert_array_equal(np.sort(blue.get_ydata()), np.sort(shown.random_dimensionality[shown.represented]))


def test_the_share_of_the_gain_is_0_for_pca_and_1_for_the_best_product(shown):
    data, case = shown.data.copy(deep=True), shown.case
    density = data["density"].values
    for reached in (0.0, 1.0):
        best = np.min([polytope_losses.product_loss(p, density, 40, 6) for p in shown.polytopes.values()], axis=0)
        losses = best if reached else theory.variance(density) * 34
        data["loss"].values[:] = losses[:, None, None]
        np.testing.assert_allclose(Uniform(shown.name, case, data).reached, reached, atol=1e-3)


def test_the_graphs_name_the_factors(shown, drawn):
    for ax in drawn["uniform_geometry_graphs"].axes:
        if not ax.get_title():
            continue
        density = float(ax.get_title().split("density ")[1].split("\n")[0])
        cell = shown.cell(density)
        dots = sum(len(line.get_xdata()) for line in ax.lines)
        assert dots == shown.represented[cell].sum()
        assert f"{dots} features represented" in ax.get_title()
        for name, count in shown.factors(cell).items():
            assert (f"{count} group" if name == "other" else f"{count} x {name}") in ax.get_xlabel()


def with_weights(shown: Uniform, W: np.ndarray) -> Uniform:
    """The case with the same weights at every density."""
    data = shown.data.copy(deep=True)
    data["W"].values[:] = W
    return Uniform(shown.name, shown.case, data)


def test_graphs_agree_with_the_dimensionalities(shown):
    """A feature that shares its dimension with many weak ones has the D_i of a tetrahedron, and is no single; a pair
    among weak ones that change its D_i is no digon."""
    W = np.zeros((6, 40))
    W[:2, :2] = np.eye(2)
    W[2, 2:4] = 1, -1
    fine = with_weights(shown, W)
    assert fine.factors(0) == {"single": 2, "digon": 1}
    W[1, 4:] = np.sqrt((4 / 3 - 1) / 36)
    crowded = with_weights(shown, W)
    assert crowded.dimensionality[0, 1] == pytest.approx(3 / 4)
    assert crowded.factors(0) == {"digon": 1, "single": 1, "other": 1}
    assert crowded.kinds[0, :5].tolist() == ["single", "other", "digon", "digon", ""]
    for weak, name in ((0.035, "digon"), (0.05, "other")):  # 1/2 less 2.1% and 4.3%
        W[1], W[2, 4:] = 0, weak
        shaken = with_weights(shown, W)
        assert (np.abs(2 * shaken.dimensionality[0, 2:4] - 1) < NEAR).all() == (name == "digon")
        assert shaken.kinds[0, 2:4].tolist() == [name, name]


def test_a_level_has_its_own_neighbourhood():
    """Between 3/8 and 2/5 a feature is at the nearer one; as many as beside a level are expected near it."""
    assert near(np.array([0.386, 0.389]), 2 / 5).tolist() == [False, True]
    assert near(np.array([0.386, 0.389]), 3 / 8).tolist() == [True, False]
    assert near(np.array([0.479, 0.481, 0.519, 0.521]), 0.5).tolist() == [False, True, True, False]
    spread = np.linspace(0.3, 1, 70_001)
    for polytope in NAMED.values():
        if polytope.name != "single":
            level = polytope.dimensionality
            assert around(spread, level) == pytest.approx(np.count_nonzero(near(spread, level)), rel=0.01)


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
    write_dataset(tmp_path / f"{CASE}.nc", results.datasets[CASE])
    stored = {CASE: superjax.open(tmp_path / f"{CASE}.nc")}
    write_json(tmp_path / "claims.json", [c._asdict() for c in studies.claims(results._replace(datasets=stored))])
    assert json.loads((tmp_path / "claims.json").read_text()) == json.loads(json.dumps(first))
    for part in ("D* is 1/2", "D* at density 1 is 1", "lowest exact loss as density falls", "bipyramid", "octahedron",
                 "random", "isolated digons", "explained variance", "sum of the dimensionalities"):  # fmt: skip
        assert any(part in claim["claim"] for claim in first), part


def test_claims_hold_of_ideal_digons_and_notice_other_weights(results):
    """Weights that are exact digons at every density, the same stretched by a tenth, PCA, and a turned feature."""
    data = results.datasets[CASE].copy(deep=True)
    shown = Uniform("n = 40, m = 6", results.sweep.cases[CASE], data)
    W = np.zeros((6, 40))
    W[:, :6], W[:, 6:12] = np.eye(6), -np.eye(6)
    density = data["density"].values
    norm = polytope_losses.alone(NAMED["digon"], density).norm
    data["W"].values[:] = norm[:, None, None, None, None] * W
    data["loss"].values[:] = polytope_losses.product_loss(NAMED["digon"], density, 40, 6)[:, None, None]
    claimed = (
        "D* is that of exact digons",
        "whose D_i is within 4% of 1/2",
        "share of that of exact digons",
        "cluster at 1/2",
    )

    def held(data):
        found = studies.claims(results._replace(datasets={CASE: data}))
        return [next(claim.holds for claim in found if part in claim.claim) for part in claimed]

    assert (shown.lowest == "digon").any()
    assert held(data) == [True, True, True, True]
    stretched = data.copy(deep=True)
    stretched["W"].values[:] *= 1.1
    stretched["loss"].values[:] = (theory.variance(density) * 34)[:, None, None]
    assert held(stretched) == [False, True, False, True]
    turned = data.copy(deep=True)
    turned["W"].values[..., 0, 6] = 0.0
    turned["W"].values[..., 1, 6] = -norm[:, None, None]
    assert held(turned)[1] is False
    random = data.copy(deep=True)
    random["W"].values[:] = np.random.default_rng(0).standard_normal(random["W"].shape)
    assert held(random)[3] is False


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
