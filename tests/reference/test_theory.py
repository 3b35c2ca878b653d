"""Closed forms against quadrature, against numerical minimisation, and against each other."""

import inspect

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize, minimize_scalar

from superjax.reference import theory

PHASE_CASES = [(2, 1), (3, 2)]


def integral(function, kink):
    """Integral over [0, 1] of a function that is smooth on either side of the kink."""
    kink = min(max(kink, 0.0), 1.0)
    return quad(function, 0, kink, epsabs=1e-14)[0] + quad(function, kink, 1, epsabs=1e-14)[0]


@pytest.mark.parametrize("w", [-2.0, -0.7, -1e-9, 0.0, 1e-9, 0.6, 1.0, 2.5])
@pytest.mark.parametrize("b", [-3.0, -0.6, -1e-10, 0.0, 1e-10, 0.4, 0.7, 3.0])
def test_one_feature_integrals_equal_quadrature(w, b):
    kink = -b / w if w else 0.0
    silent = integral(lambda a: max(w * a + b, 0.0) ** 2, kink)
    own = integral(lambda a: (a - max(w * a + b, 0.0)) ** 2, kink)
    assert theory.relu_square_integral(w, b) == pytest.approx(silent, rel=1e-12, abs=1e-15)
    assert theory.reconstruction_integral(w, b) == pytest.approx(own, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("w", [-1.3, 0.8])
@pytest.mark.parametrize("integral_of", [theory.relu_square_integral, theory.reconstruction_integral])
def test_one_feature_integrals_are_continuous_across_branches(integral_of, w):
    edges = np.array([0.0, -w])
    np.testing.assert_allclose(integral_of(w, edges - 1e-9), integral_of(w, edges + 1e-9), atol=1e-8)


def test_printed_branches():
    """The branches for w > 0 as they are usually written."""
    w, b = 0.9, -0.4
    assert theory.relu_square_integral(w, b) == pytest.approx((w + b) ** 3 / (3 * w))
    usual = (b**3 / w**2 + b**3 / w + (1 - w) ** 2 - 3 * (1 - w) * b + 3 * b**2) / 3
    assert theory.reconstruction_integral(w, b) == pytest.approx(usual)


def test_variance_equals_sampling():
    u = np.random.default_rng(0).random(10**6)
    for s in (0.05, 0.5, 1.0):
        x = np.where(u < s, u / s, 0.0)
        assert x.var() == pytest.approx(theory.variance(s), rel=0.02)


def test_linear_minimum_is_the_minimum():
    rng = np.random.default_rng(1)
    for n, m in [(2, 1), (3, 2), (5, 2)]:
        importance, density = rng.uniform(0.1, 1, (2, n))
        lowest = min(
            minimize(
                lambda w, shape=(m, n), i=importance, s=density: theory.linear_loss(w.reshape(shape), i, s),
                rng.standard_normal(m * n),
                tol=1e-12,
            ).fun
            for _ in range(6)
        )
        assert lowest == pytest.approx(theory.linear_minimum(importance, density, m), rel=1e-6)
    assert theory.linear_minimum(importance, density, 7) == 0


def test_linear_minimum_at_equal_densities():
    importance = np.array([1.0, 0.2, 0.7])
    expected = theory.variance(0.3) * 0.2
    assert theory.linear_minimum(importance, np.full(3, 0.3), 2) == pytest.approx(expected)


# --- the phase change -----------------------------------------------------------------------------


@pytest.mark.parametrize(("n_features", "n_hidden"), PHASE_CASES)
def test_phases_equal_the_boundary_curves(n_features, n_hidden):
    r, s = np.meshgrid(np.geomspace(0.1, 10, 202), np.geomspace(0.01, 1, 150))  # an even count avoids r = 1
    phase = theory.extra_phase(r, s, n_features, n_hidden)
    below = s < theory.superposition_boundary(r, n_features, n_hidden)
    if n_features == 2:
        expected = np.where(below, 2, np.where(r < 1, 0, 1))
    else:
        expected = np.where(r > 1, 1, np.where(below, 2, 0))
    assert phase.dtype == np.int8 and phase.shape == r.shape
    np.testing.assert_array_equal(phase, expected)
    losses = theory.candidate_losses(r, s, n_features, n_hidden)
    shared = [losses[k] for k in losses if "digon" in k or k in ("antipodal", "same_direction")]
    alone = np.minimum(losses["ignore_extra"], losses["drop_other"])
    np.testing.assert_array_equal(below, np.min(shared, axis=0) < alone)


def test_boundary_values():
    r = np.array([0.1, 0.5, 1.0, 2.0, 10.0])
    two, three = (theory.superposition_boundary(r, n, m) for n, m in PHASE_CASES)
    np.testing.assert_allclose(two, [0.16, 4 / 9, 4 / 7, 4 / 9, 0.16])
    np.testing.assert_allclose(three, [0.16, 4 / 9, 4 / 7, 4 / 7, 4 / 7])


@pytest.mark.parametrize(("n_features", "n_hidden"), PHASE_CASES)
def test_triple_point(n_features, n_hidden):
    r, s = theory.TRIPLE_POINT
    losses = theory.candidate_losses(r, s, n_features, n_hidden)
    winners = [value for name, value in losses.items() if name != "same_direction"]
    np.testing.assert_allclose(winners, winners[0])
    around = [(0.9, s + 0.05), (1.1, s + 0.05), (0.99, s - 0.05)]
    phases = [int(theory.extra_phase(*point, n_features, n_hidden)) for point in around]
    assert phases == [theory.NOT_REPRESENTED, theory.DEDICATED, theory.SUPERPOSED]


@pytest.mark.parametrize("function", [theory.candidate_losses, theory.extra_phase])
def test_other_shapes_are_refused(function):
    with pytest.raises(ValueError, match=r"\(4, 2\).*\(2, 1\) and \(3, 2\)"):
        function(1.0, 0.5, 4, 2)
    with pytest.raises(ValueError, match=r"\(3, 1\).*\(2, 1\) and \(3, 2\)"):
        theory.superposition_boundary(1.0, 3, 1)


def test_antipodal_minimum():
    density = np.array([1e-6, 0.01, 0.1, 0.5, 0.9, 1.0])
    bias, loss = theory.antipodal_minimum(density)
    for s, b, value in zip(density, bias, loss, strict=True):
        best = minimize_scalar(
            lambda x, s=s: theory.antipodal_loss(x, s),
            bounds=(0, 1),
            method="bounded",
            options={"xatol": 1e-10},
        )
        assert value <= best.fun * (1 + 1e-14)
        assert value == pytest.approx(best.fun, rel=1e-9)
        assert b == pytest.approx(best.x, abs=1e-6)
        assert 0 < b < 1 and value < s**2 / 6
    assert bias[0] == pytest.approx(1e-12 / 6, rel=1e-5)  # s²/6 to first order
    assert theory.antipodal_minimum(0.0) == (0, 0)


def test_zero_bias_is_not_optimal():
    s, h = 0.4, 1e-6
    slope = (theory.antipodal_loss(h, s) - theory.antipodal_loss(0, s)) / h
    assert slope == pytest.approx(-(s**2) / 3, rel=1e-4)


# --- digons and polygons --------------------------------------------------------------------------


def test_digon_threshold_is_the_phase_boundary():
    r = np.geomspace(0.1, 1, 30)
    s = theory.superposition_boundary(r, 2, 1)
    np.testing.assert_allclose(theory.digon_threshold(s), r)
    assert theory.digon_threshold(0.8) == np.inf


def test_digon_count():
    importance = 0.7 ** np.arange(20)
    counts = [theory.digon_count(importance, s, 5) for s in (1.0, 0.3, 0.1, 0.03, 0.001)]
    assert counts == [5, 7, 9, 10, 10]
    assert theory.digon_count(importance[::-1], 0.3, 5) == 7
    assert theory.digon_count(np.ones(3), 0.5, 5) == 3
    assert theory.digon_count(np.ones(7), 0.5, 5) == 7
    assert theory.digon_count(np.ones(7), 0.6, 5) == 5


@pytest.mark.parametrize(
    ("corners", "live", "published"),
    [(4, 0, 0.11111), (4, 1, 0.10417), (4, 2, 0.09722), (5, 0, 0.06874), (5, 1, 0.06180), (6, 0, 0.04819)],
)
def test_published_polygon_losses(corners, live, published):
    loss = theory.polygon_loss(corners, 6, *theory.POLYGON_CRITICAL[corners], live_dead_features=live)
    assert loss == pytest.approx(published, abs=6e-6)


@pytest.mark.parametrize("corners", [5, 6])
def test_published_polygons_are_minima(corners):
    start = theory.POLYGON_CRITICAL[corners]
    best = minimize(lambda x: theory.polygon_loss(corners, corners, *x), start, method="Nelder-Mead", tol=1e-9)
    np.testing.assert_allclose(best.x, start, atol=2e-5)


@pytest.mark.parametrize(("corners", "bias", "live"), [(5, -0.3, 0), (5, -0.3, 2), (3, 0.1, 0)])
def test_polygon_loss_equals_quadrature(corners, bias, live):
    features, norm = 7, 1.1
    angles = 2 * np.pi * np.arange(corners) / corners
    W = np.zeros((2, features))
    W[:, :corners] = norm * np.array([np.cos(angles), np.sin(angles)])
    b = np.array([bias] * corners + [1 / (2 * features)] * live + [0.0] * (features - corners - live))
    G = W.T @ W
    total = 0.0
    for i in range(features):
        for j in range(features):
            target = 1.0 if i == j else 0.0
            kink = -b[j] / G[j, i] if G[j, i] else 0.0
            total += integral(lambda a, g=G[j, i], c=b[j], t=target: (t * a - max(g * a + c, 0.0)) ** 2, kink)
    assert theory.polygon_loss(corners, features, norm, bias, live) == pytest.approx(total / features, rel=1e-10)


def test_polygon_needs_enough_features():
    with pytest.raises(ValueError, match="n_corners = 5, n_features = 6, live_dead_features = 2"):
        theory.polygon_loss(5, 6, 1.0, 0.0, 2)


@pytest.mark.parametrize(
    ("function", "arguments", "says"),
    [
        (theory.variance, (1.2,), "density = 1.2"),
        (theory.candidate_losses, (-1.0, 0.5, 2, 1), "relative_importance = -1"),
        (theory.candidate_losses, (1.0, np.nan, 2, 1), "density = nan"),
        (theory.superposition_boundary, (-0.1, 2, 1), "relative_importance = -0.1"),
        (theory.pair_boundary, (1.0, 1.5), "correlation = 1.5"),
        (theory.pair_losses, (1.0, 0.5, -2.0), "correlation = -2"),
        (theory.antipodal_minimum, (-0.1,), "density = -0.1"),
        (theory.digon_threshold, (2.0,), "density = 2"),
        (theory.digon_count, (np.ones(3), 0.5, 0), "n_hidden = 0"),
        (theory.linear_minimum, (np.ones(3), np.full(2, 0.5), 1), "must broadcast"),
        (theory.polygon_loss, (5, 6, np.inf, 0.0), "norm = inf"),
    ],
)
def test_numbers_that_are_none_of_a_model_are_refused(function, arguments, says):
    with pytest.raises(ValueError, match=says):
        inspect.unwrap(function)(*arguments)


def test_closed_forms_broadcast_and_take_their_limits():
    minimum, (density, ratio) = inspect.unwrap(theory.linear_minimum), (np.linspace(0.1, 1, 4), np.array([0.0, 0.5]))
    np.testing.assert_allclose(
        minimum(np.ones((4, 3)), density[:, None], 1), [minimum(np.ones(3), s, 1) for s in density]
    )
    assert theory.superposition_boundary(0.0, 2, 1) == 0
    np.testing.assert_allclose(theory.pair_boundary(ratio, 0.0), theory.superposition_boundary(ratio, 2, 1))
