"""The generator has the law it claims, sampled and enumerated alike."""

import itertools
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from superjax.problem.data import Independent
from superjax.problem.data.faces import segment_rows, unit_segments
from superjax.problem.expectation import Minibatch, Quasi
from tests.parts import sets_of, uniform

DENSITY = np.array([1.0, 0.6, 0.2, 0.03], np.float32)
SAMPLES = 2**17


@pytest.fixture(scope="module")
def data():
    return Independent(jnp.asarray(DENSITY))


@pytest.fixture(scope="module", params=[Minibatch, Quasi])
def x(request, data):
    """Samples as training draws them."""
    objective = request.param(data.n_uniforms(len(data.density)), SAMPLES)
    rows = objective.rows(uniform(data), objective.draw(jax.random.key(0)))
    return np.asarray(jax.vmap(data.sample, -1)(rows), np.float64)


def coactivation_error(x):
    """How far the frequency that features i and j are active is from s_i s_j (s_i for i = j), in standard errors."""
    active = (x > 0).astype(float)
    expected = np.outer(DENSITY, DENSITY).astype(float)
    np.fill_diagonal(expected, DENSITY)
    error = np.sqrt(np.maximum(expected * (1 - expected), 1e-6) / len(x))
    return np.abs(active.T @ active / len(x) - expected) / error


def test_density_and_coactivation(x):
    assert coactivation_error(x).max() < 5


def test_a_shared_mask_is_noticed():
    """One uniform for all features keeps every density and ruins every pair."""
    u, magnitude = np.random.default_rng(0).random((2, SAMPLES, len(DENSITY)))
    error = coactivation_error(np.where(u[:, :1] < DENSITY, magnitude, 0.0))
    assert np.diag(error).max() < 5
    assert error[1:, 1:][np.triu_indices(3, 1)].min() > 20


def test_magnitudes_are_uniform(x):
    """Given that a feature is active, and whatever the others are."""
    for i, j in itertools.permutations(range(1, 4), 2):
        for others in (x[:, j] > 0, x[:, j] == 0):
            magnitude = x[others & (x[:, i] > 0), i]
            assert kstest(magnitude, "uniform").pvalue > 1e-4


def test_moments(x, data):
    """Mean s/2, variance s/3 - s²/4, no correlation, all to five standard errors."""
    mean, variance = (np.asarray(moment, float) for moment in data.moments())
    np.testing.assert_allclose(mean, DENSITY / 2, rtol=1e-6)
    np.testing.assert_allclose(variance, DENSITY / 3 - DENSITY**2 / 4, rtol=1e-6)
    error = np.sqrt(variance / SAMPLES)
    assert (np.abs(x.mean(0) - DENSITY / 2) < 5 * error).all()
    fourth = DENSITY / 5 - DENSITY * (DENSITY / 2) + DENSITY * (DENSITY**2 / 2) - 3 * DENSITY**4 / 16  # of x - s/2
    assert (np.abs(x.var(0) - variance) < 5 * np.sqrt((fourth - variance**2) / SAMPLES)).all()
    correlation = np.corrcoef(x.T)[np.triu_indices(4, 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(SAMPLES)


def test_activity(data):
    assert float(data.activity()) == pytest.approx(DENSITY.mean())


def test_range():
    """In [0, 1], never NaN, for the smallest density and for the last uniform number below it."""
    density = jnp.array([1e-30, 0.3, 1.0], jnp.float32)
    uniforms = jnp.stack([jnp.zeros(3), jnp.nextafter(density, 0.0), density, jnp.full(3, 1 - 2**-24)])
    x = np.asarray(jax.vmap(Independent(density).sample)(uniforms))
    assert ((x >= 0) & (x <= 1)).all()
    assert (x[2, :2] == 0).all()
    np.testing.assert_allclose(x[1], 1, rtol=1e-6)


node_numbers = st.integers(1, 4) | st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@given(n=st.integers(1, 4), nodes=node_numbers, closed=st.booleans())
def test_segments(n, nodes, closed):
    """Rows as many as announced; the weights of every active set sum to 1; inactive features are 0 throughout."""
    start, end, active, weight = unit_segments(n, nodes, closed)
    assert len(weight) == segment_rows(n, nodes, closed)
    sets, owner = np.unique(active, axis=0, return_inverse=True)
    assert len(sets) == 2**n
    np.testing.assert_allclose(np.bincount(owner.ravel(), weight), 1, rtol=1e-14)
    assert not start[~active].any() and not end[~active].any()
    by_active = nodes if isinstance(nodes, tuple) else (nodes,)
    for k, count in zip(active.sum(1), np.bincount(owner.ravel())[owner.ravel()], strict=True):  # rows of its set
        assert count == (by_active[min(k, len(by_active)) - 1] ** (k - closed) if k else 1)
    runs = (start != end).sum(1)  # features along which a segment runs: the last active one, if closed
    np.testing.assert_array_equal(runs, active.any(1) & closed)


powers = st.lists(st.integers(0, 3), min_size=1, max_size=3)


@given(powers=powers, nodes=st.sampled_from([2, (3, 2), (4, 3, 2)]), closed=st.booleans(), seed=st.integers(0, 99))
def test_enumeration_integrates_polynomials(powers, nodes, closed, seed):
    """E[Π x_i^p_i] = Π s_i / (p_i + 1) over the features with p_i > 0, exact for p_i ≤ 3 at 2 nodes."""
    n = len(powers)
    density = np.random.default_rng(seed).uniform(0.05, 1, n)
    start, end, active, weight = unit_segments(n, nodes, closed)
    points, point_weights = np.polynomial.legendre.leggauss(8)
    along = (points[:, None, None] + 1) / 2
    x = start + along * (end - start)
    mean = np.einsum("p,pr->r", point_weights / 2, np.prod(x ** np.array(powers), axis=-1))
    probability = np.asarray(Independent(jnp.asarray(density, jnp.float32)).probability(active), float)
    assert probability @ weight == pytest.approx(1, rel=1e-6)
    expected = prod(s / (p + 1) for s, p in zip(density, powers, strict=True) if p)
    assert probability @ (weight * mean) == pytest.approx(expected, rel=1e-5)


def test_sampled_equals_enumerated(x, data):
    """A function of all features that is no polynomial, to five standard errors."""

    def function(x):
        return np.maximum(x @ np.array([0.5, -1.0, 2.0, -0.7]) - 0.3, 0) ** 2

    start, _, active, weight = unit_segments(4, 16, closed=False)
    expected = np.sum(np.asarray(data.probability(active)) * weight * function(start))
    values = function(x)
    assert abs(values.mean() - expected) < 5 * values.std() / np.sqrt(SAMPLES) + 1e-4


# --- sets -----------------------------------------------------------------------------------------


def patterns(n):
    return np.array(list(itertools.product([False, True], repeat=n)))


def sets(size, count, density, correlation):
    numbers = jnp.full(size * count, density, jnp.float32), jnp.asarray(correlation, jnp.float32)
    return sets_of(size, size * count)(*numbers)


def rarest_pair(size, density):
    """How rarely two members of a set can be active together: with as few at once as the density allows."""
    expected = size * density
    low = int(expected)
    pairs = (1 - (expected - low)) * low * (low - 1) + (expected - low) * (low + 1) * low
    return pairs / (size * (size - 1))


@given(
    size=st.integers(2, 4), count=st.integers(1, 2), density=st.floats(0.01, 1), correlation=st.floats(-1, 1)
)  # fmt: skip
def test_the_law_of_sets(size, count, density, correlation):
    """Every feature has its density; two of a set are active together as often as the strength says; sets are
    independent of each other."""
    active = patterns(size * count)
    probability = np.asarray(sets(size, count, density, correlation).probability(active), float)
    assert (probability >= 0).all() and probability.sum() == pytest.approx(1, abs=1e-5)
    together = np.einsum("p,pi,pj->ij", probability, active, active)
    np.testing.assert_allclose(np.diag(together), density, atol=1e-5)
    most = density if correlation > 0 else rarest_pair(size, density)
    expected = density**2 + abs(correlation) * (most - density**2)
    if correlation > 0:
        assert expected == pytest.approx(density**2 + correlation * density * (1 - density))
    own = np.kron(np.eye(count), np.ones((size, size))).astype(bool) & ~np.eye(size * count, dtype=bool)
    np.testing.assert_allclose(together[own], expected, atol=1e-5)
    others = np.kron(1 - np.eye(count), np.ones((size, size))).astype(bool)
    np.testing.assert_allclose(together[others], density**2, atol=1e-5)


def test_the_papers_sets():
    """One coin for all members; and a set that is off with probability S, else has exactly one active member."""
    active, size = patterns(3), 3
    coin = np.asarray(sets(size, 1, 0.3, 1.0).probability(active))
    np.testing.assert_allclose(coin[[0, -1]], [0.7, 0.3], rtol=1e-6)
    assert not coin[1:-1].any()
    one = np.asarray(sets(size, 1, 0.3 / size, -1.0).probability(active))
    np.testing.assert_allclose(one, np.select([active.sum(1) == 0, active.sum(1) == 1], [0.7, 0.1], 0), atol=1e-7)


def test_sets_without_correlation_are_independent():
    active, density = patterns(4), jnp.full(4, 0.3)
    one, other = Independent(density).probability(active), sets(2, 2, 0.3, 0.0).probability(active)
    np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("kind", [Minibatch, Quasi])
@pytest.mark.parametrize("correlation", [-1.0, -0.4, 0.0, 0.3, 1.0])
@pytest.mark.parametrize(("size", "density"), [(2, 0.3), (3, 0.2), (3, 0.6), (4, 0.7)])
def test_samples_of_sets_have_their_law(kind, correlation, size, density):
    """The frequency of every pattern, to five standard errors (eight of a Sobol sequence, which is no better than
    chance for such narrow events in 20 dimensions), and uniform magnitudes whatever the pattern."""
    data = sets(size, 2, density, correlation)
    draw = kind(data.n_uniforms(2 * size), SAMPLES).draw(jax.random.key(1))
    x = np.asarray(jax.vmap(data.sample, -1)(draw))
    on = x > 0
    found = np.bincount(on @ (2 ** np.arange(2 * size))[::-1], minlength=4**size) / SAMPLES
    expected = np.asarray(data.probability(patterns(2 * size)), float)
    errors = {Minibatch: 5, Quasi: 8}[kind]
    assert (np.abs(found - expected) < errors * np.sqrt(np.maximum(expected, 1e-5) / SAMPLES) + 1e-5).all()
    both = on[:, 0] & on[:, 1]
    for where in (both, on[:, 0] & ~on[:, 1]):
        if where.sum() > 100:
            assert kstest(x[where, 0], "uniform").pvalue > 1e-4
    if both.sum() > 100:
        assert abs(np.corrcoef(x[both, 0], x[both, 1])[0, 1]) < 5 / np.sqrt(both.sum())
