"""Losses by the number of active features, against the reference in float64 and against plain sampling."""

import numpy as np
import pytest

from superjax.reference import active_counts, oracle


def models(n, m, count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.7, (count, m, n)), rng.normal(0, 0.2, (count, n)), 0.8 ** np.arange(n)


def test_two_features_are_enumerated():
    W, b, importance = models(2, 1, 20)
    for density in (0.05, 0.5, 1.0):
        true = oracle.expected_loss(W, b, importance, np.full(2, density))
        found = active_counts.compare(W, b, importance, density)
        np.testing.assert_allclose(found.loss, true, rtol=1e-3)  # by the kink of the ReLU between nodes
        assert not found.error.any()


@pytest.mark.parametrize("density", [0.02, 0.3, 1.0])
def test_three_and_more_are_sampled_within_the_stated_errors(density):
    W, b, importance = models(4, 2, 6)
    true = oracle.expected_loss(W, b, importance, np.full(4, density))
    found = active_counts.compare(W, b, importance, density, samples=2**12)
    assert (found.error > 0).all() and (np.abs(found.loss - true) < 4 * found.error + 2e-4 * true).all()
    best = found.loss.argmin()
    assert found.error_of_difference[best] == 0
    excess = (found.loss - found.loss[best]) - (true - true[best])
    assert (np.abs(excess) <= 4 * found.error_of_difference + 2e-4 * true).all()


def test_the_standard_error_is_that_of_many_samples():
    W, b, importance = models(12, 4, 2)
    found = [active_counts.compare(W, b, importance, 0.2, samples=2**9, seed=seed) for seed in range(60)]
    loss, stated = np.array([one.loss for one in found]), np.mean([one.error for one in found], axis=0)
    spread = loss.std(0, ddof=1)
    assert (spread < 1.25 * stated).all() and (spread > 0.3 * stated).all()  # counts are spread evenly
    difference = np.mean([one.error_of_difference.max() for one in found])
    assert 0.3 * difference < np.diff(loss, axis=1).std(ddof=1) < 1.25 * difference


def test_pairs_are_enumerated_as_they_are_sampled(monkeypatch):
    """The same law with one active feature enumerated only, and the pairs sampled."""
    W, b, importance = models(10, 3, 3)
    exact = active_counts.compare(W, b, importance, 0.05, samples=2**14)
    monkeypatch.setattr(active_counts, "MAX_PAIRED", 5)
    sampled = active_counts.compare(W, b, importance, 0.05, samples=2**14)
    assert (sampled.error > 2 * exact.error).all()
    assert (np.abs(sampled.loss - exact.loss) < 4 * np.hypot(sampled.error, exact.error)).all()


def test_a_model_that_diverged_has_no_loss():
    W, b, importance = models(5, 2, 3)
    W[1, 0, 0] = np.nan
    found = active_counts.compare(W, b, importance, 0.1, samples=2**8)
    assert np.isnan(found.loss).tolist() == [False, True, False]
    alone = active_counts.compare(W[[0, 2]], b[[0, 2]], importance, 0.1, samples=2**8)
    np.testing.assert_array_equal(found.loss[[0, 2]], alone.loss)
    huge = active_counts.compare(np.full_like(W, 1e20), b, importance, 0.1, samples=2**8)
    assert not np.isfinite(huge.loss).any()
    nothing = active_counts.compare(W[1:2], b[1:2], importance, 0.1, samples=2**8)
    assert np.isnan(nothing.loss).all()
