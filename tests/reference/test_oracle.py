"""The oracle against sampling, closed forms, exact rational arithmetic and known facts about the optimum."""

import inspect
from fractions import Fraction
from itertools import combinations, product
from math import factorial, prod

import numpy as np
import pytest

from superjax.reference import integrals, oracle, theory

PHASE_CASES = [(2, 1), (3, 2)]


def random_model(rng, n_features, n_hidden, scale=1.0):
    """W on a grid of 1/32, b on a grid of 1/64: both are exact in float64, and so is WᵀW."""
    W = np.round(32 * scale * rng.standard_normal((n_hidden, n_features))) / 32
    return W, np.round(64 * 0.4 * rng.standard_normal(n_features)) / 64


# --- exact rational arithmetic --------------------------------------------------------------------


def corner_sum(q, a, b):
    """T_q(a, b) = Σ_v (-1)^(k-|v|) max(a·v + b, 0)^q over the vertices v of the unit cube."""
    total = Fraction(0)
    for v in product((0, 1), repeat=len(a)):
        z = b + sum(ai for ai, vi in zip(a, v, strict=True) if vi)
        total += (-1) ** (len(a) - sum(v)) * max(z, Fraction(0)) ** q
    return total


def rational_feature_losses(W, b, density):
    """E[(x_i - ReLU(z_i))²] by inclusion and exclusion over the corners of every active set's cube."""
    W = [[Fraction(float(w)) for w in row] for row in W]
    b, density = ([Fraction(float(value)) for value in array] for array in (b, density))
    n = len(b)
    losses = []
    for i in range(n):
        loss = Fraction(0)
        for size in range(n + 1):
            for active in combinations(range(n), size):
                weight = prod(density[j] if j in active else 1 - density[j] for j in range(n))
                G = {j: sum(row[i] * row[j] for row in W) for j in active}
                a = [G[j] for j in active if G[j] != 0]  # z does not depend on the others
                k = len(a)
                term = Fraction(2, factorial(k + 2)) * corner_sum(k + 2, a, b[i]) / prod(a)
                if i in active:
                    term += Fraction(1, 3)
                    if G[i] == 0:
                        moment = corner_sum(k + 1, a, b[i]) / (factorial(k + 1) * prod(a)) / 2
                    else:
                        others = [G[j] for j in active if G[j] != 0 and j != i]
                        first = corner_sum(k + 1, others, b[i] + G[i]) / (factorial(k + 1) * prod(a))
                        second = corner_sum(k + 2, a, b[i]) / (factorial(k + 2) * G[i] * prod(a))
                        moment = first - second
                    term -= 2 * moment
                loss += weight * term
        losses.append(loss)
    return losses


@pytest.mark.parametrize(("n_features", "n_hidden", "models"), [(1, 1, 40), (2, 1, 60), (3, 2, 40), (4, 2, 4)])
def test_equals_rational_arithmetic(n_features, n_hidden, models):
    rng = np.random.default_rng(n_features)
    for _ in range(models):
        W, b = random_model(rng, n_features, n_hidden, scale=rng.choice([0.1, 0.5, 1.0]))
        density = rng.integers(1, 65, n_features) / 64
        exact = [float(loss) for loss in rational_feature_losses(W, b, density)]
        np.testing.assert_allclose(oracle.feature_losses(W, b, density), exact, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("W", "b"),
    [
        ([[1.0, -1.0]], [0.0, 0.0]),  # the kink is a diagonal of the square
        ([[1.0, -1.0]], [1.0, -1.0]),  # kinks on the corners
        ([[1.0, 0.0]], [0.0, 0.5]),  # coefficients that vanish
        ([[0.0, 0.0]], [-0.25, 0.25]),
        ([[1.0, 2.0**-20]], [-0.5, 0.0]),  # coefficients of 1e-6 and 1e-12
        ([[2.0**-30, -(2.0**-30)]], [2.0**-60, -(2.0**-61)]),  # everything tiny, kinks inside
        ([[2.0**-200, 1.0]], [0.0, -0.5]),
        ([[1.0, 1.0, -1.0]], [0.0, 0.0, 0.0]),  # equal coefficients, n = 3
        ([[1.0, -1.0, 2.0**-30]], [0.0, -0.5, 0.0]),
        ([[1.0, -0.5, -0.5], [0.0, 0.75, -0.75]], [0.0, -0.25, 0.25]),
        ([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]], [0.0, 0.0, 0.25, -0.25]),
    ],
)
def test_degenerate_coefficients(W, b):
    W, b = np.array(W), np.array(b)
    density = np.array([0.5, 0.25, 0.75, 0.125])[: len(b)]
    exact = [float(loss) for loss in rational_feature_losses(W, b, density)]
    np.testing.assert_allclose(oracle.feature_losses(W, b, density), exact, rtol=1e-13, atol=1e-16)
    _, d_W, d_b = oracle.loss_and_gradient(W, b, np.ones(len(b)), density)
    assert np.isfinite(d_W).all() and np.isfinite(d_b).all()


# --- sampling -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_features", "n_hidden"), [*PHASE_CASES, (4, 2)])
@pytest.mark.parametrize("relu", [True, False])
def test_equals_sampling(n_features, n_hidden, relu):
    rng = np.random.default_rng(10 * n_features + relu)
    importance = rng.uniform(0.1, 2, n_features)
    for density in (np.full(n_features, 1.0), np.full(n_features, 0.1), rng.uniform(0.05, 0.9, n_features)):
        W, b = random_model(rng, n_features, n_hidden, scale=0.7)
        active = rng.random((10**6, n_features)) < density
        x = np.where(active, rng.random(active.shape), 0.0)
        z = x @ (W.T @ W) + b
        per_sample = (x - (np.maximum(z, 0) if relu else z)) ** 2 @ importance
        expected = oracle.expected_loss(W, b, importance, density, relu=relu)
        assert abs(per_sample.mean() - expected) < 5 * per_sample.std() / 1000


# --- closed forms ---------------------------------------------------------------------------------


def test_equals_one_feature_integrals():
    w, b = (grid.ravel() for grid in np.meshgrid(np.linspace(0, 2, 21), np.linspace(-2.5, 2.5, 26)))
    W = np.sqrt(w)[:, None, None]
    loss = oracle.feature_losses(W, b[:, None], np.ones((1, 1)))[:, 0]
    np.testing.assert_allclose(loss, theory.reconstruction_integral(w, b), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("density", [0.01, 0.3, 1.0])
def test_equals_antipodal_pair(density):
    bias = np.linspace(0, 1, 11)
    importance, s = np.array([1.0, 0.3]), np.full(2, density)
    loss = oracle.expected_loss(np.array([[1.0, -1.0]]), np.stack([bias, bias], axis=1), importance, s)
    np.testing.assert_allclose(loss, 1.3 * theory.antipodal_loss(bias, density), rtol=1e-12)


def test_equals_candidate_losses():
    r, s = 0.4, 0.35
    idle = s / 2
    models = {
        (2, 1): {
            "ignore_extra": ([[1, 0]], [0, idle]),
            "drop_other": ([[0, 1]], [idle, 0]),
            "antipodal": ([[1, -1]], [0, 0]),
            "same_direction": ([[1, 1]], [0, 0]),
        },
        (3, 2): {
            "ignore_extra": ([[1, 0, 0], [0, 1, 0]], [0, 0, idle]),
            "drop_other": ([[1, 0, 0], [0, 0, 1]], [0, idle, 0]),
            "extra_in_digon": ([[1, 0, 0], [0, 1, -1]], [0, 0, 0]),
            "others_in_digon": ([[1, -1, 0], [0, 0, 1]], [0, 0, 0]),
        },
    }
    for (n, m), solutions in models.items():
        importance = np.append(np.ones(n - 1), r)
        losses = theory.candidate_losses(r, s, n, m)
        assert list(losses) == list(solutions)
        for name, (W, b) in solutions.items():
            loss = oracle.expected_loss(np.array(W, float), np.array(b, float), importance, np.full(n, s))
            assert loss == pytest.approx(losses[name], rel=1e-12), name


@pytest.mark.parametrize(("n_features", "n_hidden"), PHASE_CASES)
def test_linear_model_with_the_best_bias(n_features, n_hidden):
    rng = np.random.default_rng(3)
    W = rng.standard_normal((5, n_hidden, n_features))
    importance, density = rng.uniform(0.1, 2, (2, 5, n_features))
    density = density / 2
    mean = density / 2
    b = mean - np.einsum("mhi,mhj,mj->mi", W, W, mean)
    loss, _, d_b = oracle.loss_and_gradient(W, b, importance, density, relu=False)
    np.testing.assert_allclose(loss, theory.linear_loss(W, importance, density), rtol=1e-12)
    np.testing.assert_allclose(d_b, 0, atol=1e-14)


# --- gradient and shapes --------------------------------------------------------------------------


@pytest.mark.parametrize(("n_features", "n_hidden"), [*PHASE_CASES, (4, 2)])
@pytest.mark.parametrize("relu", [True, False])
def test_gradient_equals_central_differences(n_features, n_hidden, relu):
    rng = np.random.default_rng(n_features)
    W, b = 0.8 * rng.standard_normal((n_hidden, n_features)), 0.3 * rng.standard_normal(n_features)
    importance, density = rng.uniform(0.2, 2, n_features), rng.uniform(0.1, 0.9, n_features)
    _, d_W, d_b = oracle.loss_and_gradient(W, b, importance, density, relu=relu)
    x, h = np.concatenate([W.ravel(), b]), 1e-4
    steps = np.concatenate([x + c * h * np.eye(x.size) for c in (-2, -1, 1, 2)])
    losses = oracle.expected_loss(
        steps[:, : W.size].reshape(-1, *W.shape), steps[:, W.size :], importance, density, relu=relu
    )
    numeric = np.array([1, -8, 8, -1]) @ losses.reshape(4, -1) / (12 * h)
    np.testing.assert_allclose(np.concatenate([d_W.ravel(), d_b]), numeric, rtol=1e-8, atol=1e-10)


def test_leading_axes_broadcast_and_agree_with_one_model():
    rng = np.random.default_rng(5)
    W, b = rng.standard_normal((4, 1, 2, 3)), rng.standard_normal((4, 1, 3))
    importance, density = rng.uniform(0, 1, (5, 3)), rng.uniform(0, 1, (5, 3))
    loss, d_W, d_b = oracle.loss_and_gradient(W, b, importance, density)
    assert loss.shape == (4, 5) and d_W.shape == (4, 5, 2, 3) and d_b.shape == (4, 5, 3)
    one = oracle.loss_and_gradient(W[2, 0], b[2, 0], importance[3], density[3])
    for all_models, alone in zip((loss, d_W, d_b), one, strict=True):
        np.testing.assert_allclose(all_models[2, 3], alone, rtol=1e-13, atol=1e-15)
    weighted = (oracle.feature_losses(W, b, density) * importance).sum(axis=-1)
    np.testing.assert_allclose(oracle.expected_loss(W, b, importance, density), weighted, rtol=1e-13)


def test_blocks_do_not_change_the_answer(monkeypatch):
    rng = np.random.default_rng(6)
    W, b = rng.standard_normal((7, 2, 3)), rng.standard_normal((7, 3))
    whole = oracle.loss_and_gradient(W, b, np.ones(3), np.full(3, 0.4))
    monkeypatch.setattr(integrals, "_NODES_AT_ONCE", 3000)
    for one, other in zip(whole, oracle.loss_and_gradient(W, b, np.ones(3), np.full(3, 0.4)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-16)


def test_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="n_features = 6.*at most 5"):
        oracle.expected_loss(np.zeros((2, 6)), np.zeros(6), np.ones(6), np.full(6, 0.5))
    with pytest.raises(ValueError, match=r"density = 1.5: .*\[0, 1\]"):
        oracle.expected_loss(np.zeros((1, 2)), np.zeros(2), np.ones(2), np.array([0.5, 1.5]))


# --- the optimum ----------------------------------------------------------------------------------


def phase_cells(n_features, r, s):
    """Importance (1, ..., 1, r) and density s for arrays of cells."""
    r, s = np.broadcast_arrays(np.asarray(r, float), np.asarray(s, float))
    importance = np.ones((*r.shape, n_features))
    importance[..., -1] = r
    return importance, np.repeat(s[..., None], n_features, axis=-1)


def norms(best):
    return np.linalg.norm(best.W, axis=-2)


@pytest.mark.parametrize(("n_features", "n_hidden"), PHASE_CASES)
def test_minimum_is_stationary_and_no_worse_than_theory(n_features, n_hidden):
    r, s = np.meshgrid(np.geomspace(0.1, 10, 5), np.geomspace(0.01, 1, 4), indexing="ij")
    importance, density = phase_cells(n_features, r, s)
    best = oracle.minimum(importance, density, n_hidden, restarts=24)
    assert best.loss.shape == r.shape and best.losses_of_all_restarts.shape == (*r.shape, 24)
    np.testing.assert_array_equal(best.loss, best.losses_of_all_restarts.min(axis=-1))
    candidates = np.min(list(theory.candidate_losses(r, s, n_features, n_hidden).values()), axis=0)
    assert (best.loss <= candidates * (1 + 1e-12)).all()
    assert (best.loss > 0.5 * candidates).all()
    assert best.gradient_norm.max() < 1e-9
    loss, d_W, d_b = oracle.loss_and_gradient(best.W, best.b, importance, density)
    np.testing.assert_allclose(loss, best.loss, rtol=1e-12)
    scale = (importance * theory.variance(density)).sum(axis=-1)
    assert (np.abs(d_W).max(axis=(-1, -2)) < 1e-9 * scale).all()
    assert (np.abs(d_b).max(axis=-1) < 1e-9 * scale).all()


def test_minimum_of_one_cell_equals_that_of_many():
    importance, density = phase_cells(2, [0.3, 3.0], [0.2, 0.05])
    together = oracle.minimum(importance, density, 1, restarts=16, seed=7)
    alone = oracle.minimum(importance[1], density[1], 1, restarts=16, seed=7)
    np.testing.assert_allclose(alone.loss, together.loss[1], rtol=1e-12)
    np.testing.assert_allclose(norms(alone), norms(together)[1], atol=1e-7)


def test_more_restarts_find_nothing_better():
    importance, density = phase_cells(3, [0.2, 0.5, 1.0, 2.0], [0.4, 0.05, 0.6, 0.3])
    few, many = (oracle.minimum(importance, density, 2, restarts=n, seed=n).loss for n in (32, 200))
    np.testing.assert_allclose(few, many, rtol=1e-9)


def test_exchange_of_the_two_features():
    """n = 2, m = 1: L*(1/r) = L*(r)/r."""
    r, s = (grid.ravel() for grid in np.meshgrid([0.1, 0.25, 0.5, 0.8], [0.02, 0.2, 0.5, 0.9]))
    loss, swapped = (oracle.minimum(*phase_cells(2, ratio, s), 1, restarts=32).loss for ratio in (r, 1 / r))
    np.testing.assert_allclose(swapped, loss / r, rtol=1e-10)


@pytest.mark.parametrize(("n_features", "n_hidden"), PHASE_CASES)
def test_concave_in_importance(n_features, n_hidden):
    """The optimal loss is a minimum of functions that are linear in each importance."""
    r, s = np.linspace(0.1, 2, 20)[:, None], np.array([0.05, 0.3, 0.6])
    loss = oracle.minimum(*phase_cells(n_features, r, s), n_hidden, restarts=24).loss
    assert (np.diff(loss, axis=0) > -1e-12 * loss[1:]).all()
    assert (np.diff(loss, n=2, axis=0) < 1e-10 * loss[1:-1]).all()


def test_first_order_transition():
    """n = 2, m = 1, r ≤ 0.5: above the theory's density, the extra norm jumps from 0 to 0.63-0.76."""
    r = np.array([0.1, 0.3, 0.5])
    low, high = theory.superposition_boundary(r, 2, 1), np.full(3, 0.9)
    for _ in range(14):
        middle = (low + high) / 2
        best = oracle.minimum(*phase_cells(2, r, middle), 1, restarts=32)
        superposed = norms(best)[:, 1] > 0.3
        low, high = np.where(superposed, middle, low), np.where(superposed, high, middle)
    before = norms(oracle.minimum(*phase_cells(2, r, low), 1, restarts=32))[:, 1]
    after = norms(oracle.minimum(*phase_cells(2, r, high), 1, restarts=32))[:, 1]
    assert ((0.63 < before) & (before < 0.76)).all()
    assert (after < 1e-3).all()
    assert (low > theory.superposition_boundary(r, 2, 1) + 0.01).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"density": np.full(2, 1.2)}, r"density = 1.2: must lie in \(0, 1\]"),
        ({"density": np.zeros(2)}, r"density = 0: must lie in \(0, 1\]"),
        ({"density": np.array([0.5, np.nan])}, "density = nan: must lie in"),
        ({"importance": np.array([1, -0.5])}, r"importance = -0.5: must lie in \[0, inf\)"),
        ({"importance": np.array([1, np.inf])}, "importance = inf: must lie in"),
        ({"importance": np.zeros(2)}, "importance: every cell needs a positive one"),
        ({"importance": np.ones(3)}, r"shapes \(..., n_features\) must broadcast, are importance \(3,\)"),
        ({"importance": np.ones((3, 2)), "density": np.ones((4, 2))}, "must broadcast"),
        ({"importance": np.ones(6), "density": np.full(6, 0.1)}, "n_features = 6: .* takes at most 5"),
        ({"importance": np.array(["a", "b"])}, "importance must be real numbers"),
        ({"importance": np.array([1, 1j])}, "importance must be real numbers"),
        ({"n_hidden": 0}, "n_hidden = 0: must be a whole number, at least 1"),
        ({"restarts": -1}, "restarts = -1: must be a whole number, at least 1"),
        ({"seed": -1}, "seed = -1: must be a whole number"),
    ],
)
def test_what_has_no_minimum_is_refused(arguments, says):
    """At once and in one line. (The annotations, checked in tests only, are left out of the way.)"""
    given = {"importance": np.ones(2), "density": np.full(2, 0.5), "n_hidden": 1, **arguments}
    with pytest.raises(ValueError, match=says) as error:
        inspect.unwrap(oracle.minimum)(**given)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("W", "b", "importance", "density", "says"),
    [
        (np.ones((1, 2)), np.zeros(2), np.ones(2), np.array([0.5, 1.2]), "density = 1.2"),
        (np.ones((1, 2)), np.zeros(2), np.array([1, -1]), np.full(2, 0.5), "importance = -1"),
        (np.ones((1, 2)), np.zeros(3), np.ones(2), np.full(2, 0.5), "must broadcast"),
        (np.ones(2), np.zeros(2), np.ones(2), np.full(2, 0.5), r"W has shape \(2,\), must be"),
        (np.ones((0, 2)), np.zeros(2), np.ones(2), np.full(2, 0.5), "W has shape"),
        (np.ones((1, 2), complex), np.zeros(2), np.ones(2), np.full(2, 0.5), "W must be real numbers"),
        (np.ones((1, 6)), np.zeros(6), np.ones(6), np.full(6, 0.5), "n_features = 6"),
    ],
)
def test_what_has_no_loss_is_refused(W, b, importance, density, says):
    for function in oracle.expected_loss, oracle.loss_and_gradient:
        with pytest.raises(ValueError, match=says):
            inspect.unwrap(function)(W, b, importance, density)


def test_the_loss_of_a_diverged_model_is_no_number():
    assert np.isnan(oracle.expected_loss(np.full((1, 2), np.nan), np.zeros(2), np.ones(2), np.full(2, 0.5)))


def test_one_number_stands_for_all_features_and_dimensions_may_be_spare():
    losses, minimum = inspect.unwrap(oracle.feature_losses), inspect.unwrap(oracle.minimum)
    thrice = np.full(3, 0.1)
    np.testing.assert_allclose(*(losses(np.ones((1, 3)), np.zeros(3), density) for density in (0.1, thrice)))
    alike = [minimum(np.ones(3), density, 2, restarts=4).loss for density in (0.1, [0.1], thrice)]
    np.testing.assert_allclose(alike, alike[0])
    assert minimum([1, 1], [0.1, 0.1], n_hidden=3, restarts=4).loss < 1e-12
