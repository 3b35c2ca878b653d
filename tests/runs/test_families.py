"""Families: followed from neighbour to neighbour, as far as they are minima; canonical positions; crossings."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group

from superjax import analysis
from superjax.problem.models import ReLUOutput
from superjax.reference import oracle, theory
from superjax.runs import runner
from superjax.runs.stages.following import follow, slopes
from superjax.spec import SweepError
from superjax.spec.grid import Grid

TEXT = """
n_features = 2
n_hidden = 1
restarts = 1
train.steps = 2
[axes.importance]
field = "importance[-1]"
values = [1, 0.5, 0.1]
[axes.density]
field = "data.density"
scale = "log"
values = [0.2, 0.1, 0.05, 0.4, 0.8]
[families.pair]
W = "digon"
along = "density"
start = 0.1
[families.given]
W = [[1, -1]]
along = "density"
start = 0.11
[families.one]
W = "single"
along = "importance"
start = 0
"""


@pytest.fixture(scope="module")
def data(make_case):
    found, report = runner.run_case("case", make_case(text=TEXT))
    assert report.seconds["families"] > 0
    return found.sortby("density")


def test_a_family_has_the_loss_of_its_closed_form(data):
    """The antipodal pair of equally important features (the closed form keeps unit weights: free ones can only be
    better, and are not much), and one feature alone, the other at its mean."""
    pair = data.sel(family="pair", importance=1, density=[0.05, 0.1, 0.2, 0.4])
    _, loss = theory.antipodal_minimum(pair["density"].values)
    assert set(pair["family_solution"].values) == {names(data).index("digon")}
    share = pair["family_loss"].values / (2 * loss)
    assert (share <= 1.0001).all() and (share > 0.99).all()
    np.testing.assert_allclose(
        data["family_loss"].sel(family="given"), data["family_loss"].sel(family="pair"), rtol=1e-6
    )
    alone = data.sel(family="one", density=[0.4, 0.8], importance=0.1)
    np.testing.assert_allclose(alone["family_loss"], 0.1 * theory.variance(np.array([0.4, 0.8])), rtol=1e-3)
    np.testing.assert_allclose(alone["family_norm"][:, 0], 1, atol=0.01)


def test_the_gradient_says_where_a_family_is_a_minimum(data):
    """The pair is one at equal importance; a single feature that gains a partner is under way for a while."""
    slope = data["family_grad_norm"] / data["family_loss"]
    assert slope.sel(family="pair", importance=1).max() < 0.02
    alone = data["family_solution"].sel(family="one") == names(data).index("single")
    assert slope.sel(family="one").max() > 1 and (slope.sel(family="one").where(alone).min("density") < 1e-3).any()


def names(data):
    return data["family_solution"].attrs["flag_meanings"].split()


def test_labels(data):
    assert data["family"].values.tolist() == ["pair", "given", "one"]
    assert data["family_W"].dims == ("importance", "density", "family", "hidden", "feature")
    assert data["family_b"].dims == ("importance", "density", "family", "feature")
    assert data["family_solution_deviation"].max() < 1e-3
    for name in data.variables:
        assert data[name].attrs["long_name"] and "array" not in data[name].attrs["long_name"], name


def test_every_cell_is_reached_once_from_its_neighbour(make_case):
    """With weights that count the steps."""
    case = make_case(text=TEXT)
    grid, visits = Grid(case), []
    model = ReLUOutput(2, 1, 0.0, key=jax.random.key(0))

    def first(family, cell):
        return jax.tree.map(lambda x: np.zeros((len(family), *x.shape), np.float32), model)

    def refine(models, family, cell):
        visits.extend(cell.tolist())
        return jax.tree.map(lambda x: x + 1, models), np.asarray(models.W[:, 0, 0])

    followed = follow(grid, first, refine)
    assert sorted(visits) == sorted(3 * list(range(15)))
    steps = grid.unflatten(followed.loss)
    density, importance = (case.axes[name].table()[:, 0] for name in ("density", "importance"))
    rank = np.argsort(np.argsort(density))  # the axis is not in order
    for family in (0, 1):
        np.testing.assert_array_equal(steps[..., family], np.tile(np.abs(rank - rank[1]), (3, 1)))
    np.testing.assert_array_equal(steps[..., 2], np.tile(np.argsort(np.argsort(importance))[:, None], 5))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ('families.pair.W="diamond"', "no solution is called 'diamond'"),
        ('families.pair.W="2 digons"', "2 digons has no room in 2 features and 1 dimensions"),
        ('families.pair.along="feature"', "must be the name of an axis"),
        ("n_features=9", "families need the exact loss"),
        ('model.kind="tests.runs.test_families:NoWeights"', "families needs a model with weights W"),
    ],
)
def test_refusals(make_case, override, said):
    text = TEXT.replace('[families.given]\nW = [[1, -1]]\nalong = "density"\nstart = 0.11\n', "")
    with pytest.raises(SweepError) as refused:
        runner.run_case("case", make_case(override, text=text))
    assert said in str(refused.value).replace("families pair", "families")


class NoWeights(ReLUOutput):
    """Its weights have another name of the second dimension."""

    dims = {"W": ("hidden", "other"), "b": ("feature",)}  # noqa: RUF012


# --- the best at both ends ------------------------------------------------------------------------

BOTH_ENDS = """
n_features = 2
n_hidden = 1
restarts = 3
train.steps = 300
[axes.importance]
field = "importance[-1]"
values = [0.3, 0.8]
[axes.density]
field = "data.density"
scale = "log"
range = [0.25, 0.9]
points = 13
[families.rising]
W = "best"
along = "density"
start = 0.25
method = "newton"
kick = 0.002
[families.falling]
W = "best"
along = "density"
start = 0.9
method = "newton"
kick = 0.002
"""


@pytest.fixture(scope="module")
def both_ends(make_case):
    return runner.run_case("case", make_case(text=BOTH_ENDS))[0]


def test_newton_finds_the_minima_of_the_reference(both_ends):
    """From the best of the restarts at either end: the losses and weights of both branches, to float32."""
    data = both_ends.transpose("importance", "density", "family", "hidden", "feature", ...)
    W, b = (data[f"family_{name}"].values.astype(float) for name in ("W", "b"))
    importance = np.stack(np.broadcast_arrays(1.0, data["importance"].values[:, None, None]), -1)
    density = np.repeat(data["density"].values[None, :, None, None], 2, axis=-1)
    true = oracle.relaxed(W, b, importance, density)
    np.testing.assert_allclose(data["family_loss"].values, true.loss, rtol=2e-5)
    assert np.quantile(np.abs(np.abs(W) - np.abs(true.W)), 0.9) < 2e-3
    assert (data["family_grad_norm"] <= 5e-4 * data["family_loss"]).all()


def test_branches_from_both_ends_show_hysteresis(both_ends):
    """At importance 0.3 the antipodal pair is lost at density 0.4, and one feature alone at 0.283; at both ends of the
    line they are the same."""
    norm = both_ends["family_norm"].sel(importance=0.3).min("feature").transpose("density", "family").values
    density = both_ends["density"].values
    both = (density > 0.29) & (density < 0.39)
    assert both.any() and (norm[both, 0] > 0.6).all() and (norm[both, 1] < 0.01).all()
    assert (norm[density < 0.28] > 0.6).all() and (norm[density > 0.42] < 0.01).all()


def test_the_slope_is_the_derivative_at_fixed_weights(both_ends):
    data = both_ends.transpose("importance", "density", "family", "hidden", "feature", ...)
    W, b = (data[f"family_{name}"].values.astype(float) for name in ("W", "b"))
    importance = np.stack(np.broadcast_arrays(1.0, data["importance"].values[:, None, None]), -1)
    density = np.repeat(data["density"].values[None, :, None, None], 2, axis=-1)
    above, below = (oracle.expected_loss(W, b, importance, density + by) for by in (1e-4, -1e-4))
    inner = np.s_[:, 1:-1]
    np.testing.assert_allclose(
        data["family_slope"].values[inner], ((above - below) / 2e-4)[inner], rtol=0.05, atol=2e-3
    )


def test_slopes_are_exact_of_a_parabola(make_case):
    """Between unequal steps, in an axis out of order; differences at the ends, and nothing along one point."""
    case = make_case(text=TEXT)
    grid = Grid(case)
    families = list(case.families.values())
    x = grid.fields["data.density"]

    def loss(cell):
        return (1 + 2 * x[cell] - 3 * x[cell] ** 2).astype(np.float32)

    every = np.repeat(np.arange(grid.n_cells), 3)
    found = grid.unflatten(slopes(grid, families, loss(every).reshape(-1, 3), loss))
    values = case.axes["density"].table()[:, 0]
    inner = (values > values.min()) & (values < values.max())
    np.testing.assert_allclose(found[:, inner, 0], np.tile(2 - 6 * values[inner], (3, 1)), atol=1e-4)
    np.testing.assert_allclose(found[0, np.argmin(values), 0], 2 - 3 * (0.05 + 0.1), atol=1e-4)
    np.testing.assert_array_equal(found[..., 2], 0)  # along importance


def test_newton_is_for_small_models(make_case):
    text = BOTH_ENDS.replace("n_features = 2\nn_hidden = 1", "n_features = 6\nn_hidden = 10")
    with pytest.raises(SweepError, match=r"families.rising.method: newton takes models of 64 numbers, this has 66"):
        runner.run_case("case", make_case(text=text))


# --- ideal solutions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["single", "digon", "2 digons", "triangle + digon", "pentagon", "2 triangles + 3 singles", "simplex of 6",
             "2 simplices of 5", "square antiprism + digon"]
)  # fmt: skip
def test_ideal_solutions_are_recognised(name):
    W = analysis.ideal(name, 12, 14)
    assert analysis.solution_name(analysis.recognise(W)) == name
    assert set(np.round(analysis.norm(W), 6)) <= {0.0, 1.0}
    assert analysis.dimensionality(W).sum() == pytest.approx(np.linalg.matrix_rank(W))


# --- canonical positions --------------------------------------------------------------------------


@given(seed=st.integers(0, 200), m=st.integers(1, 4), n=st.integers(1, 6))
def test_a_canonical_position_forgets_rotations_only(seed, m, n):
    random = np.random.default_rng(seed)
    W = random.standard_normal((m, n))
    turn = ortho_group.rvs(m, random_state=random) if m > 1 else -np.ones((1, 1))
    found = analysis.canonical(W)
    np.testing.assert_allclose(found.T @ found, W.T @ W, atol=1e-9)
    if np.linalg.svd(W[:, : min(m, n)], compute_uv=False).min() > 0.3:  # nothing is nearly parallel
        np.testing.assert_allclose(analysis.canonical(turn @ W), found, atol=1e-6)
        upper = found[:, : min(m, n)]
        assert np.abs(np.tril(upper, -1)).max() < 1e-9 or analysis.norm(W).min() < analysis.norm(W).max() / 2


def test_a_canonical_position_takes_features_in_order():
    W = np.array([[0.0, 3.0, 0.0, 1.0], [1.0, 0.0, -1.0, 0.0]])
    np.testing.assert_allclose(analysis.canonical(W, [0, 1, 2, 3]), [[1, 0, -1, 0], [0, 3, 0, 1]])
    np.testing.assert_allclose(analysis.canonical(W)[:, 1], [3, 0])  # weak ones last
    np.testing.assert_array_equal(analysis.canonical(np.zeros((2, 3))), np.zeros((2, 3)))


# --- crossings ------------------------------------------------------------------------------------


def test_crossings():
    x = np.array([10.0, 1.0, 3.0, 0.1])
    np.testing.assert_allclose(analysis.crossings(x, np.log(x / 2.5)), [2.5])
    assert len(analysis.crossings(x, x)) == 0
    gone = np.where(x == 3.0, np.nan, np.log(x / 2.5))
    np.testing.assert_allclose(analysis.crossings(x, gone), [2.5])
    line = np.array([-1.0, 0.0, 1.0])
    np.testing.assert_allclose(analysis.crossings(line, line - 0.25), [0.25])
    np.testing.assert_allclose(analysis.crossings(line, np.array([-1.0, 1.0, -1.0])), [-0.5, 0.5])
