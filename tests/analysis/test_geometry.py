"""Polytopes are recognised turned, reordered, stretched and shaken, alone and together; random weights are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group

from superjax.analysis import geometry
from superjax.analysis.geometry import polytopes, recognise, solution_name, solutions

ALL = {polytope.name: polytope for vertices in range(1, 9) for polytope in polytopes(vertices)}
parts = st.lists(st.sampled_from(sorted(ALL)), min_size=1, max_size=4)


def tegum_product(names, seed, noise=0.0, spare=0):
    """Polytopes in orthogonal subspaces, turned, in any order, with other norms for every feature; `spare` absent."""
    random = np.random.default_rng(seed)
    blocks = [ALL[name].vertices for name in names]
    m, n = np.sum([block.shape for block in blocks], axis=0)
    W, row, column = np.zeros((m, n + spare)), 0, 0
    for block in blocks:
        W[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    W = W * random.uniform(0.7, 1.3, n + spare) + noise * random.standard_normal(W.shape)
    W[:, n:] = 0.3 * random.uniform(-1, 1, (m, spare)) / np.sqrt(m)
    turn = ortho_group.rvs(m, random_state=random) if m > 1 else np.ones((1, 1))
    return (turn @ W)[:, random.permutation(n + spare)]


@pytest.mark.parametrize("name", ALL)
def test_the_polytopes_are_what_the_paper_says(name):
    """Unit vertices, all dimensions used alike, hence D = dimensions / vertices for each."""
    vertices = ALL[name].vertices
    m, n = vertices.shape
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=0), 1)
    np.testing.assert_allclose(vertices @ vertices.T, n / m * np.eye(m), atol=1e-12)
    D = 1 / np.square(vertices.T @ vertices).sum(1)
    np.testing.assert_allclose(D, ALL[name].dimensionality)
    paper = {"tetrahedron": 3 / 4, "triangle": 2 / 3, "digon": 1 / 2, "pentagon": 2 / 5, "square antiprism": 3 / 8}
    assert ALL[name].dimensionality == pytest.approx(paper.get(name, m / n))


@given(names=parts, seed=st.integers(0, 99), spare=st.integers(0, 3))
def test_tegum_products_are_taken_apart(names, seed, spare):
    """Exactly, whatever their number; a feature without norm belongs to none."""
    W = tegum_product(names, seed, spare=spare)
    found = recognise(W)
    assert sorted(component.polytope.name for component in found) == sorted(names)
    assert max(component.deviation for component in found) < 1e-6
    members = np.concatenate([component.features for component in found])
    assert len(set(members)) == len(members) == W.shape[1] - spare
    assert (np.linalg.norm(W[:, members], axis=0) >= 0.5).all()


@given(names=parts, seed=st.integers(0, 99))
def test_noise_up_to_a_few_percent_hides_nothing(names, seed):
    found = recognise(tegum_product(names, seed, noise=0.005))
    assert sorted(component.polytope.name for component in found) == sorted(names)
    assert all(component.deviation > 0 for component in found if len(component.features) > 2)


@pytest.mark.parametrize(("n", "m"), [(400, 30), (40, 10), (20, 5), (12, 3), (8, 2), (7, 2)])
def test_random_weights_are_no_polytope(n, m):
    random = np.random.default_rng(n)
    for _ in range(20):
        W = random.standard_normal((m, n))
        assert solution_name(recognise(W / np.linalg.norm(W, axis=0))) == "other"


def test_a_bent_polygon_is_no_polygon():
    """The deviation grows with the bend, and decides."""
    pentagon = ALL["pentagon"].vertices
    deviations = []
    for bend in (0.0, 0.02, 0.05, 0.3):
        W = pentagon.copy()
        W[:, 0] = [np.cos(bend), np.sin(bend)]
        (component,) = recognise(W)
        deviations.append(component.deviation)
        assert (component.polytope is not None) == (component.deviation <= geometry.TOLERANCE)
    assert deviations == sorted(deviations) and deviations[0] < 1e-9 and deviations[-1] > geometry.TOLERANCE


def digons(overlap, bend=1.0):
    """Two antipodal pairs in the plane whose lines have an overlap; the second pair itself overlaps by -bend."""
    turn = np.arccos(overlap)
    angles = np.array([0, np.pi, turn, turn + np.arccos(-bend)])
    return np.stack([np.cos(angles), np.sin(angles)])


def named(W, **thresholds):
    return [component.polytope.name if component.polytope else None for component in recognise(W, **thresholds)]


def test_a_structure_that_the_edge_cuts_is_no_polytope():
    """Two pairs that overlap by 0.19 are one connected structure, with a threshold of 0.1 and of 0.2."""
    W = digons(0.19)
    assert named(W) == [None]
    assert named(W, edge=0.2) == [None, None]
    assert named(W, edge=0.2, tolerance=0.2) == ["digon", "digon"]


@pytest.mark.parametrize("tolerance", [0.03, 0.1])
def test_what_overlaps_with_others_just_beyond_the_tolerance_is_no_polytope(tolerance):
    assert named(digons(0.98 * tolerance), edge=0.3, tolerance=tolerance) == ["digon", "digon"]
    assert named(digons(1.02 * tolerance), edge=0.3, tolerance=tolerance) == [None, None]


@pytest.mark.parametrize(("bend", "second"), [(0.92, "digon"), (0.89, None)])
def test_a_pair_that_is_hardly_antipodal_is_no_digon(bend, second):
    """Not if its D_i, 1 / (1 + bend²), is a tenth off 1/2."""
    W = np.zeros((3, 4))
    W[0, :2] = 1, -1
    W[1:, 2:] = digons(0.0, bend)[:, 2:]
    assert named(W) == ["digon", second]


@pytest.mark.parametrize(("singles", "pair"), [(26, "digon"), (29, None)])
def test_many_small_overlaps_add_up(singles, pair):
    """A pair that overlaps by 0.09 with each of many features, no overlap being an edge: 2 / (2 + 0.0081 k) is its D_i,
    relative to a digon's, a tenth off at k = 27.4."""
    W = np.zeros((singles + 1, singles + 2))
    W[0, :2] = 1, -1
    W[0, 2:], W[1:, 2:] = 0.09, np.sqrt(1 - 0.09**2) * np.eye(singles)
    found = recognise(W)
    assert len(found) == singles + 1
    assert (found[0].polytope and found[0].polytope.name) == pair
    assert found[0].deviation == pytest.approx(max(0.09, 1 - 2 / (2 + 0.0081 * singles)), abs=1e-9)
    assert found[0].deviation == pytest.approx(solutions(W[None]).deviation[0], abs=1e-6)


def test_what_is_not_represented_disturbs_nothing():
    """A feature of a small norm may lie anywhere; from the norm on that is represented it takes part."""
    W = np.concatenate([digons(0.0), np.array([[0.3], [0.3]])], axis=1)
    assert named(W) == ["digon", "digon"]
    assert named(W, represented=0.4) == [None]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["digon", "digon"], "2 digons"),
        (["digon", "digon", "digon"], "3 digons"),
        (["digon", "triangle"], "triangle + digon"),
        (["pentagon"], "pentagon"),
        (["single", "single"], "2 singles"),
        (["simplex of 5", "simplex of 5"], "2 simplices of 5"),
    ],
)
def test_names(names, said):
    assert solution_name(recognise(tegum_product(names, 0))) == said


def test_nothing_is_represented():
    assert recognise(np.zeros((2, 5))) == [] and solution_name([]) == "nothing"


def test_many_models_at_once_are_named_as_one_by_one():
    """Polytopes, shaken ones, random and dead weights and a diverged model, together."""
    random = np.random.default_rng(5)
    pieces = [["pentagon"], ["digon", "digon"], ["digon", "single"], ["single", "single"]]
    W = [tegum_product(names, seed, noise=0.005, spare=5 - k) for seed in range(30) for names, k in
         zip(pieces, (5, 4, 3, 2), strict=True)]  # fmt: skip
    W += [*random.standard_normal((200, 2, 5)), np.zeros((2, 5)), np.full((2, 5), np.nan)]
    models = random.permutation(np.stack(W)).reshape(2, -1, 2, 5)
    found = solutions(models)
    assert found.number.shape == found.deviation.shape == models.shape[:-2]
    assert {"pentagon", "2 digons", "digon + single", "2 singles", "other", "nothing", "diverged"} <= set(found.names)
    for model, number, deviation in zip(
        models.reshape(-1, 2, 5), found.number.ravel(), found.deviation.ravel(), strict=True
    ):
        if np.isnan(model).any():
            assert found.names[number] == "diverged" and np.isnan(deviation)
            continue
        alone = recognise(model)
        assert found.names[number] == solution_name(alone)
        assert deviation == pytest.approx(max((component.deviation for component in alone), default=0), abs=1e-6)


def test_large_components_are_looked_for_no_polytope():
    found = solutions(np.random.default_rng(0).standard_normal((3, 30, 400)))
    assert {found.names[k] for k in found.number} == {"other"} and np.isinf(found.deviation).all()


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 1), (3, 2), (5, 2), (8, 3)])
def test_names_have_the_same_numbers_whatever_else_is_there(n, m):
    """All that fit into the shape, each once."""
    random, names = np.random.default_rng(0), geometry.possible_names(n, m)
    assert len(set(names)) == len(names) and names[0] == "diverged"
    products = [[name] for name, p in ALL.items() if p.vertices.shape[0] <= m and p.vertices.shape[1] <= n]
    models = []
    for (name,) in products:
        vertices = ALL[name].vertices
        W = np.zeros((m, n))
        W[: vertices.shape[0], : vertices.shape[1]] = vertices
        models.append(W)
    models = np.stack([*models, *random.standard_normal((50, m, n))])
    alone, together = [solutions(model[None]).number[0] for model in models], solutions(models)
    np.testing.assert_array_equal(together.number, alone)
    assert tuple(together.names) == names
    assert {name for (name,) in products} <= {names[k] for k in together.number}
