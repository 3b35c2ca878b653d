"""Rank correlation of two numbers that every model has, and how sure it is."""

import numpy as np
from jaxtyping import Float


def rank_correlation(x: Float[np.ndarray, "*some n"], y: Float[np.ndarray, "*some n"]) -> Float[np.ndarray, "*some"]:
    """Spearman's rank correlation along the last axis; NaN where one of both is the same everywhere.

    >>> float(rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([1.0, 8.0, 27.0])).round(9))
    1.0
    """
    from scipy.stats import rankdata  # half a second to import

    x, y = (rankdata(values, axis=-1) for values in (x, y))
    x, y = (values - values.mean(-1, keepdims=True) for values in (x, y))
    both = np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
    return np.divide((x * y).sum(-1), both, out=np.full(both.shape, np.nan), where=both > 0)


def rank_correlation_of_finite(x: Float[np.ndarray, "..."], y: Float[np.ndarray, "..."]) -> float:
    """The same over all entries where both are finite; NaN for fewer than three of them."""
    known = np.isfinite(x) & np.isfinite(y)
    return float(rank_correlation(x[known], y[known])) if known.sum() >= 3 else float("nan")


def bootstrap_interval(
    x: Float[np.ndarray, "groups n"], y: Float[np.ndarray, "groups n"], level: float = 0.95, resamples: int = 1000
) -> tuple[float, float]:
    """The interval of the rank correlation over all entries if whole groups are drawn anew, with replacement: entries
    of a group need not be independent of each other (Efron and Tibshirani 1993, "An Introduction to the Bootstrap").

    The same for the same numbers. NaN if no sample has a correlation.
    """
    groups = np.random.default_rng(0).integers(len(x), size=(resamples, len(x)))
    found = rank_correlation(*(values[groups].reshape(resamples, -1) for values in (x, y)))
    known = found[np.isfinite(found)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
