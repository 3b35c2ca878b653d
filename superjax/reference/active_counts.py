"""Loss of ReLU output models of many independent features, by how many of them are active at once.

With n features there are 2ⁿ sets of active ones, too many to enumerate. But where data are sparse nearly all of the
loss is of inputs with few active features, and those are few: the means over the inputs with none, with one and with
two active features are taken exactly, and only those with three or more are sampled. The sample is the same for all
models that are compared, so that most of its noise is in all of them, and cancels in their differences.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import binom

from superjax.reference import checks, theory

SAMPLES = 2**15  # inputs with more active features than are enumerated
_BLOCK = 2**13  # of them at once
MAX_PAIRED = 128  # features: beyond, pairs are so many that only one active feature is enumerated
_NODES = 8  # Gauss-Legendre, of one of two active features; the other is integrated in closed form
_TINY = 1e-300


class Compared(NamedTuple):
    """Losses of models under one law, the standard error of each, and of its difference to the lowest of them."""

    loss: Float[np.ndarray, " models"]
    error: Float[np.ndarray, " models"]
    error_of_difference: Float[np.ndarray, " models"]


def compare(
    W: Float[np.ndarray, "models n_hidden n_features"],
    b: Float[np.ndarray, "models n_features"],
    importance: Float[np.ndarray, " n_features"],
    density: float,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Compared:
    """Expected losses of models `x' = ReLU(WᵀWx + b)`, all features of one density; NaN of those that are not finite.

    Standard errors are those of independent samples. The numbers of active features are spread evenly over their law,
    so that the true ones are no larger.

    With two features nothing is sampled; an antipodal pair loses when both are active:

    >>> pair = compare(np.array([[[1.0, -1.0]]]), np.zeros((1, 2)), np.array([1.0, 0.5]), 0.2)
    >>> pair.loss.round(12).tolist(), pair.error.tolist()
    ([0.01], [0.0])
    """
    checks.numbers("density", density, 0, 1)
    n = len(importance)
    enumerated = 2 if n <= MAX_PAIRED else 1
    chance = [density**k * (1 - density) ** (n - k) for k in range(enumerated + 1)]  # of one set of k features
    many = float(binom.sf(enumerated, n, density)) if n > enumerated else 0.0
    finite = np.flatnonzero(np.isfinite(W).all((1, 2)) & np.isfinite(b).all(1))
    loss, error, of_difference = np.full((3, len(W)), np.nan)
    if not len(finite):
        return Compared(loss, error, of_difference)
    G, bias = np.einsum("kmi,kmj->kij", W[finite].astype(float), W[finite].astype(float)), b[finite].astype(float)
    parts = [_none_active, _one_active, _two_active][: enumerated + 1]
    exact = [
        sum(p * part(*model, importance) for p, part in zip(chance, parts, strict=True) if p > 0)
        for model in zip(G, bias, strict=True)
    ]
    mean, covariance = np.zeros(len(finite)), np.zeros((len(finite), len(finite)))
    if many > 0:
        with np.errstate(over="ignore", invalid="ignore"):
            mean, covariance = _sampled(G, bias, importance, density, enumerated, samples, seed)
    loss[finite] = exact + many * mean
    if not np.isfinite(loss).any():  # weights so large
        return Compared(loss, error, of_difference)
    lowest, variance = np.nanargmin(loss[finite]), np.diag(covariance)
    error[finite] = many * np.sqrt(variance)
    difference = variance + variance[lowest] - 2 * covariance[lowest]
    of_difference[finite] = many * np.sqrt(np.maximum(difference, 0))
    return Compared(loss, error, of_difference)


def _sampled(G, bias, importance, density, above, samples, seed):
    """Mean losses of models, and their covariances, over inputs with more than so many active features."""
    G, bias, weight = (array.astype(np.float32) for array in (G, bias, importance))
    rng, counted = np.random.default_rng(seed), 0
    total, products = np.zeros(len(G)), np.zeros((len(G), len(G)))
    while counted < samples:
        x = _inputs(rng, len(weight), density, above, min(_BLOCK, samples - counted))
        losses = np.array(
            [np.square(x - np.maximum(x @ g + b, 0)) @ weight for g, b in zip(G, bias, strict=True)], float
        )
        counted += len(x)
        total += losses.sum(1)
        products += losses @ losses.T
    mean = total / samples
    return mean, (products / samples - np.outer(mean, mean)) / samples


def _inputs(rng, n: int, density: float, above: int, samples: int) -> Float[np.ndarray, "samples n"]:
    """Inputs with more than so many active features."""
    chance = binom.sf(above, n, density) * (np.arange(samples) + 0.5) / samples
    count = np.clip(binom.isf(chance, n, density).astype(int), above + 1, n)
    order = rng.random((samples, n))
    last_active = np.take_along_axis(np.sort(order), count[:, None] - 1, axis=1)
    return np.where(order <= last_active, rng.random((samples, n), np.float32), np.float32(0))


def _none_active(G, b, importance):
    return importance @ np.square(np.maximum(b, 0))


def _one_active(G, b, importance):
    """Sum over the features that may be active."""
    silent = np.asarray(theory.relu_square_integral(G, np.repeat(b[:, None], len(b), axis=1)))
    np.fill_diagonal(silent, theory.reconstruction_integral(np.diag(G), b))
    return importance @ silent.sum(1)


def _two_active(G, b, importance):
    """Sum over the pairs of features that may be active: x_j at nodes, the other in closed form."""
    points, weights = np.polynomial.legendre.leggauss(_NODES)
    points, weights = (points + 1) / 2, weights / 2
    total = 0.0
    for j in range(len(b)):
        start = b[:, None] + G[:, j, None] * points  # (output, node)
        later = np.arange(j + 1, len(b))
        _, square = _means(G[:, later, None], start[:, None])  # (output, other, node)
        square = square @ weights
        square[j] = square[later, later - j - 1] = 0  # these two should be reproduced
        total += importance @ square.sum(1)
        others = np.flatnonzero(np.arange(len(b)) != j)
        mean, square = _means(G[j, others, None], start[j])
        total += importance[j] * ((points**2 - 2 * points * mean + square) @ weights).sum()
    return total


def _means(slope, start):
    """∫₀¹ ReLU(slope a + start) da and the same of its square."""
    p, q = np.maximum(start, 0), np.maximum(start + slope, 0)
    length = np.minimum(1, np.maximum(p, q) / (np.abs(slope) + _TINY))  # of [0, 1] where it is positive
    return length * (p + q) / 2, length * (p * p + p * q + q * q) / 3
