"""Where the optimum begins to be a superposition: the float64 reference of the phase diagrams.

The optimum of a cell is searched by BFGS on the exact loss of `oracle`, and the density is bracketed at which its
phases change. That takes seconds an importance, so the positions that claims need are kept in tables, to 1e-4;
tests search both sides of entries anew. A feature is represented from norm 0.5 on, as by default.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Bool, Float

from superjax.reference import oracle, theory

REPRESENTED = 0.5  # the norm from which a feature is represented, for which the tables were made
DIRECTIONS = 24  # of the weights that a pair starts from

SUPERPOSED: Mapping[tuple[int, int], Mapping[float, float | None]] = {
    (2, 1): {0.1: 0.18125, 0.3: 0.37568, 1.0: 0.71309, 3.0: 0.39753, 10.0: 0.18125},
    (3, 2): {0.1: 0.18125, 0.3: 0.37568, 1.0: None, 3.0: 0.71309, 10.0: 0.71309},
}
"""By (n_features, n_hidden) and relative importance of the last feature: the density below which more features than
dimensions are represented in the optimum. None where that is so at every density."""

BEGINS: Mapping[tuple[int, int], Mapping[float, float]] = {
    (2, 1): {
        0.1122: 0.19785, 0.1413: 0.23412, 0.1778: 0.27395, 0.2239: 0.31715, 0.2818: 0.36288, 0.3548: 0.41063,
        0.4467: 0.45988, 0.5623: 0.51100, 0.7079: 0.56490, 0.8913: 0.63341, 1.122: 0.63341, 1.4125: 0.56494,
        1.7783: 0.51100, 2.2387: 0.45988, 2.8184: 0.41066, 3.5481: 0.36291, 4.4668: 0.31713, 5.6234: 0.27397,
        7.0795: 0.23407, 8.9125: 0.19787,
    },
    (3, 2): {
        0.1122: 0.19785, 0.1413: 0.23412, 0.1778: 0.27395, 0.2239: 0.31715, 0.2818: 0.36288, 0.3548: 0.41063,
        0.4467: 0.45988, 0.5623: 0.51100, 0.7079: 0.58790, 0.8913: 0.71906, 1.122: 0.79753, 1.4125: 0.71312,
        1.7783: 0.71312, 2.2387: 0.71312, 2.8184: 0.71312, 3.5481: 0.71312, 4.4668: 0.71312, 5.6234: 0.71312,
        7.0795: 0.71312, 8.9125: 0.71312,
    },
}  # fmt: skip
"""The same at other importances, 20 in equal steps of their logarithm."""

ANTIPODAL: Mapping[float, Mapping[float, float | None]] = {
    -1.0: {0.1: 0.5281, 0.3: 0.5793, 1.0: 0.9418},
    -0.5: {0.1: 0.3190, 0.3: 0.5214, 1.0: 0.9015},
    -0.2: {0.1: 0.2197, 0.3: 0.4395, 1.0: 0.8164},
    0.0: {0.1: 0.1813, 0.3: 0.3757, 1.0: 0.7131},
    0.2: {0.1: None, 0.3: 0.2534, 1.0: 0.5072},
    0.4: {0.1: None, 0.3: 0.0483, 1.0: 0.3155},
    0.5: {0.1: None, 0.3: None, 1.0: 0.1698},
    0.6: {0.1: None, 0.3: None, 1.0: None},
    0.8: {0.1: None, 0.3: None, 1.0: None},
    1.0: {0.1: None, 0.3: None, 1.0: None},
}
"""By correlation and relative importance: the density below which the optimum of n = 2, m = 1 is antipodal. None where
it is not at any density from 1 to 0.01."""


def superposed(
    relative_importance: float, density: Float[np.ndarray, " cells"], n_features: int, n_hidden: int, restarts: int = 32
) -> Bool[np.ndarray, " cells"]:
    """Whether the optimum has superposition; the other features have importance 1."""
    importance = np.ones(n_features)
    importance[-1] = relative_importance
    found = oracle.minimum(importance, np.repeat(density[:, None], n_features, axis=1), n_hidden, restarts)
    return np.sum(np.linalg.norm(found.W, axis=-2) >= REPRESENTED, axis=-1) > n_hidden


def pair_optimum(
    relative_importance: float, density: Float[np.ndarray, " cells"], correlation: float
) -> tuple[Float[np.ndarray, " cells"], Float[np.ndarray, "cells 2"]]:
    """Lowest loss and weights of n = 2, m = 1 where the features are one set of a correlation.

    Given which features are active the loss is that of densities 0 and 1, which the oracle knows; the four patterns
    are weighted by their probabilities under the correlation. Starts are weights of norm 1 in directions all around.
    """
    both = np.asarray(theory.both_active(density, correlation))
    weights = np.stack([1 - 2 * density + both, density - both, density - both, both], axis=-1)
    patterns = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    importance = np.array([1, relative_importance])
    unit = (1 + relative_importance) * np.asarray(theory.variance(density))
    owner = np.repeat(np.arange(len(density)), DIRECTIONS)
    bias_unit = np.sqrt(density)[owner, None]

    def objective(x, which):
        W, b = x[:, None, None, :2], x[:, None, 2:] * bias_unit[which][:, None]
        loss, d_W, d_b = oracle.loss_and_gradient(W, b, importance, patterns)
        share = weights[owner[which]] / unit[owner[which], None]
        parts = (np.einsum("cp,cphf->cf", share, d_W), np.einsum("cp,cpf->cf", share, d_b) * bias_unit[which])
        return np.einsum("cp,cp->c", share, loss), np.concatenate(parts, axis=1)

    angle = np.linspace(-np.pi / 2, np.pi / 2, DIRECTIONS, endpoint=False)
    W = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    start = np.concatenate([W, np.full_like(W, 0.1)], axis=-1)
    start = np.broadcast_to(start, (len(density), *start.shape))
    x, value, _ = oracle.descend(objective, start.reshape(-1, 4), 1e-9, 800)
    best = np.arange(len(density)) * DIRECTIONS + value.reshape(len(density), DIRECTIONS).argmin(axis=1)
    return value[best] * unit, x[best, :2]


def antipodal(
    relative_importance: float, density: Float[np.ndarray, " cells"], correlation: float
) -> Bool[np.ndarray, " cells"]:
    """Whether both features are represented in the optimum of a correlated pair, in opposite directions."""
    _, W = pair_optimum(relative_importance, density, correlation)
    return (np.abs(W) >= REPRESENTED).all(-1) & (W.prod(-1) < 0)


def begins(
    inside: Callable[[Float[np.ndarray, " cells"]], Bool[np.ndarray, " cells"]],
    dense: float = 1.0,
    sparse: float = 0.01,
) -> float | None:
    """The density below which `inside` is true, coming from dense data, to 1e-4; None if there is none between."""
    for _ in range(4):
        density = np.geomspace(dense, sparse, 17)
        found = inside(density)
        first = int(np.argmax(found))
        if first == 0:
            return None
        dense, sparse = density[first - 1], density[first]
    return float(np.sqrt(dense * sparse))
