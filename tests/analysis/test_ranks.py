"""Rank correlations beside scipy's, and their intervals."""

import numpy as np
from scipy.stats import spearmanr

from superjax import analysis


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, (2, 40)).astype(float)
    np.testing.assert_allclose(analysis.rank_correlation(x, y), spearmanr(x, y).statistic, rtol=1e-12)
    assert np.isnan(analysis.rank_correlation(x, np.ones(40)))
    related = x.reshape(8, 5) + rng.random((8, 5))
    low, high = analysis.bootstrap_interval(x.reshape(8, 5), related)
    assert low < spearmanr(x, related.ravel()).statistic < high < 1
    assert analysis.bootstrap_interval(x.reshape(8, 5), related) == (low, high)
    assert np.isnan(analysis.bootstrap_interval(np.ones((3, 2)), np.ones((3, 2)))).all()
