"""Where the optimum begins to be a superposition: the float64 reference of the phase diagrams.

The optimum of a cell is searched by BFGS on the exact loss of `oracle`, and the density is bracketed at which its
phases change. That takes seconds an importance, so the positions that claims need are kept in tables, to 5 digits;
tests search both sides of entries anew. A feature is represented from norm 0.5 on, as by default.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Bool, Float

from superjax.reference import oracle, theory

REPRESENTED = 0.5  # the norm from which a feature is represented, for which the tables were made

SUPERPOSED: Mapping[tuple[int, int], Mapping[float, float | None]] = {
    (2, 1): {0.1: 0.18125, 0.3: 0.37568, 1.0: 0.71309, 3.0: 0.39753, 10.0: 0.18125},
    (3, 2): {0.1: 0.18125, 0.3: 0.37568, 1.0: None, 3.0: 0.71309, 10.0: 0.71309},
}
"""By (n_features, n_hidden) and relative importance of the last feature: the density below which more features than
dimensions are represented in the optimum. None where that is so at every density."""


def superposed(
    relative_importance: float, density: Float[np.ndarray, " cells"], n_features: int, n_hidden: int, restarts: int = 16
) -> Bool[np.ndarray, " cells"]:
    """Whether the optimum has superposition; the other features have importance 1."""
    importance = np.ones(n_features)
    importance[-1] = relative_importance
    found = oracle.minimum(importance, np.repeat(density[:, None], n_features, axis=1), n_hidden, restarts)
    return np.sum(np.linalg.norm(found.W, axis=-2) >= REPRESENTED, axis=-1) > n_hidden


def pair_optimum(
    relative_importance: float, density: Float[np.ndarray, " cells"], correlation: float, restarts: int = 16
) -> tuple[Float[np.ndarray, " cells"], Float[np.ndarray, "cells 2"]]:
    """Lowest loss and weights of n = 2, m = 1 where the features are one set of a correlation.

    Given which features are active the loss is that of densities 0 and 1, which the oracle knows; the four patterns
    are weighted by their probabilities under the correlation.
    """
    both = np.asarray(theory.both_active(density, correlation))
    weights = np.stack([1 - 2 * density + both, density - both, density - both, both], axis=-1)
    patterns, importance = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), np.array([1, relative_importance])
    unit = (1 + relative_importance) * np.asarray(theory.variance(density))
    owner = np.repeat(np.arange(len(density)), restarts)
    bias_unit = np.sqrt(density)[owner, None]

    def objective(x, which):
        W, b = x[:, None, None, :2], x[:, None, 2:] * bias_unit[which][:, None]
        loss, d_W, d_b = oracle.loss_and_gradient(W, b, importance, patterns)
        share = weights[owner[which]] / unit[owner[which], None]
        parts = (np.einsum("cp,cphf->cf", share, d_W), np.einsum("cp,cpf->cf", share, d_b) * bias_unit[which])
        return np.einsum("cp,cp->c", share, loss), np.concatenate(parts, axis=1)

    rng = np.random.default_rng(0)
    W = np.geomspace(0.1, 1.0, restarts)[:, None] * rng.standard_normal((restarts, 2))
    b = rng.uniform(-0.3, 0.5, (restarts, 2)) * np.sqrt(density)[:, None, None]
    start = np.concatenate([np.broadcast_to(W, b.shape), b], axis=-1)
    x, value, _ = oracle.descend(objective, start.reshape(-1, 4), 1e-9, 800)
    best = np.arange(len(density)) * restarts + value.reshape(len(density), restarts).argmin(axis=1)
    return value[best] * unit, x[best, :2]


def antipodal(
    relative_importance: float, density: Float[np.ndarray, " cells"], correlation: float, restarts: int = 16
) -> Bool[np.ndarray, " cells"]:
    """Whether both features are represented in the optimum of a correlated pair, in opposite directions."""
    _, W = pair_optimum(relative_importance, density, correlation, restarts)
    return (np.abs(W) >= REPRESENTED).all(-1) & (W.prod(-1) < 0)


def begins(
    inside: Callable[[Float[np.ndarray, " cells"]], Bool[np.ndarray, " cells"]], dense: float = 1.0, sparse: float = 0.01
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
