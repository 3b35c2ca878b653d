"""The reference: exact expected loss of a tied toy model, its gradient and its global minimum, in float64.

A model reconstructs `x' = ReLU(WᵀWx + b)` (or without the ReLU) from features that are active with
probability `s_i` (the density) and then uniform on [0, 1]; its loss is the paper's sum over features,

    L = Σ_i I_i E[(x_i - x'_i)²]
      = Σ_i I_i Σ_A Π_{j∈A} s_j Π_{j∉A} (1 - s_j) ∫_{[0,1]^A} (x_i - ReLU(z))² dx,

with `G = WᵀW`, `z = b_i + Σ_{j∈A} G_ij x_j`, and the sum over A over all active sets (Elhage et al. 2022,
"Demonstrating Superposition", set-up).

`integrals` makes the integral exact. The trainer's objective is computed differently on purpose: these modules share
neither code nor method with it. n up to 3 is quick, 4 slow, and more than 5 is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from superjax.reference import checks
from superjax.reference.integrals import evaluate

MAX_FEATURES = 5
Objective = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _flatten(W, b, density, importance=None):
    """Broadcast the leading axes together and flatten them; float64. Returns their shape and the arrays."""
    W, b = checks.numbers("W", W, finite=False), checks.numbers("b", b, finite=False)  # a diverged model loses NaN
    density = checks.numbers("density", density, 0, 1)
    importance = np.ones(density.shape[-1:]) if importance is None else checks.numbers("importance", importance, 0)
    if W.ndim < 2 or not W.size:
        raise ValueError(f"W has shape {W.shape}, must be (..., n_hidden, n_features)")
    n_hidden = W.shape[-2]
    n = _size(checks.vectors(W=W[..., 0, :], b=b, density=density, importance=importance))
    batch = np.broadcast_shapes(W.shape[:-2], b.shape[:-1], density.shape[:-1], importance.shape[:-1])
    W = np.broadcast_to(W, (*batch, n_hidden, n)).reshape(-1, n_hidden, n)
    b, density, importance = (np.broadcast_to(v, (*batch, n)).reshape(-1, n) for v in (b, density, importance))
    return batch, W, b, density, importance


def _size(n_features: int) -> int:
    if n_features > MAX_FEATURES:
        raise ValueError(
            f"n_features = {n_features}: the exact loss enumerates active sets and takes at most {MAX_FEATURES}"
        )
    return n_features


def feature_losses(
    W: Float[np.ndarray, "*#batch n_hidden n_features"],
    b: Float[np.ndarray, "*#batch n_features"],
    density: Float[np.ndarray, "*#batch n_features"],
    relu: bool = True,
) -> Float[np.ndarray, "*batch n_features"]:
    """Exact `E[(x_i - x'_i)²]` of every feature, not weighted by importance.

    Args:
        W: weights (..., n_hidden, n_features).
        b: biases (..., n_features).
        density: probability that a feature is active (..., n_features).
        relu: whether the output has the ReLU.

    Returns:
        (..., n_features); leading axes broadcast. Raises ValueError for more than `MAX_FEATURES` features.

    A model that knows nothing and says nothing loses `E[x²] = s/3` of every feature:

    >>> feature_losses(np.zeros((1, 2)), np.zeros(2), np.array([0.3, 0.9])).round(12).tolist()
    [0.1, 0.3]

    Source: Elhage et al. (2022), "Demonstrating Superposition", set-up. Deviation: an expectation, not a
    batch mean.
    """
    batch, W, b, density, _ = _flatten(W, b, density)
    return evaluate(W, b, density, relu, gradient=False)[0].reshape(*batch, -1)


def expected_loss(
    W: Float[np.ndarray, "*#batch n_hidden n_features"],
    b: Float[np.ndarray, "*#batch n_features"],
    importance: Float[np.ndarray, "*#batch n_features"],
    density: Float[np.ndarray, "*#batch n_features"],
    relu: bool = True,
) -> Float[np.ndarray, "*batch"]:
    """Exact expected loss `L = Σ_i I_i E[(x_i - x'_i)²]`, the paper's sum over features.

    Args:
        W: weights (..., n_hidden, n_features).
        b: biases (..., n_features).
        importance: (..., n_features).
        density: probability that a feature is active (..., n_features).
        relu: whether the output has the ReLU.

    Returns:
        (...); leading axes broadcast. Raises ValueError for more than `MAX_FEATURES` features.

    Two features as an antipodal pair lose only when both are active, `(1 + r) s²/6`:

    >>> pair = np.array([[1.0, -1.0]])
    >>> round(float(expected_loss(pair, np.zeros(2), np.array([1.0, 0.5]), np.array([0.2, 0.2]))), 12)
    0.01

    Source: Elhage et al. (2022), "Demonstrating Superposition", set-up. Deviation: the authors' notebook
    divides by the number of features; this does not.
    """
    batch, W, b, density, importance = _flatten(W, b, density, importance)
    loss = evaluate(W, b, density, relu, gradient=False)[0]
    return np.asarray((importance * loss).sum(axis=-1).reshape(batch))


def loss_and_gradient(
    W: Float[np.ndarray, "*#batch n_hidden n_features"],
    b: Float[np.ndarray, "*#batch n_features"],
    importance: Float[np.ndarray, "*#batch n_features"],
    density: Float[np.ndarray, "*#batch n_features"],
    relu: bool = True,
) -> tuple[
    Float[np.ndarray, "*batch"],
    Float[np.ndarray, "*batch n_hidden n_features"],
    Float[np.ndarray, "*batch n_features"],
]:
    """Exact expected loss with its exact gradient: `dL/dW = W (D + Dᵀ)`, `D_ij = dL/dG_ij`, and `dL/db`.

    Arguments as for `expected_loss`. Returns loss (...), dW (..., n_hidden, n_features), db (...,
    n_features). The gradient is continuous everywhere; at b_i = 0 the second derivative jumps.

    Zero bias is never exactly optimal for an antipodal pair (`-s²/3` a unit of importance):

    >>> pair = np.array([[1.0, -1.0]])
    >>> loss, dW, db = loss_and_gradient(pair, np.zeros(2), np.ones(2), np.array([0.3, 0.3]))
    >>> db.round(12).tolist()
    [-0.03, -0.03]
    """
    batch, W, b, density, importance = _flatten(W, b, density, importance)
    loss, d_W, d_b = _weighted(W, b, importance, density, relu)
    return np.asarray(loss.reshape(batch)), d_W.reshape(*batch, *W.shape[1:]), d_b.reshape(*batch, -1)


def _weighted(W, b, importance, density, relu=True):
    """Loss and gradient of flat inputs."""
    loss, d_G, d_b = evaluate(W, b, density, relu, gradient=True)
    d_G = importance[:, :, None] * d_G
    d_W = np.einsum("mhi,mij->mhj", W, d_G + np.swapaxes(d_G, 1, 2))
    return (importance * loss).sum(axis=-1), d_W, importance * d_b


@dataclass(frozen=True)
class Minimum:
    """The lowest loss found in each cell, and how every restart ended.

    `loss` (...), `W` (..., n_hidden, n_features) and `b` (..., n_features) are the best;
    `losses_of_all_restarts` (..., restarts) are in the order of the restarts, those far from the best less
    polished; `gradient_norm` (...) is the largest entry of the gradient in units of the loss of a model
    that predicts the mean.
    """

    loss: Float[np.ndarray, "*cells"]
    W: Float[np.ndarray, "*cells n_hidden n_features"]
    b: Float[np.ndarray, "*cells n_features"]
    losses_of_all_restarts: Float[np.ndarray, "*cells restarts"]
    gradient_norm: Float[np.ndarray, "*cells"]


def descend(objective, x, tolerance, max_evaluations):
    """Minimise many independent functions side by side by BFGS with a weak Wolfe line search.

    `objective(x (rows, size), which (rows,)) -> values (rows,), gradients (rows, size)`. Each row runs its
    own line search (bracket and bisect), every evaluation advances all rows that are not done, and a row is
    done when the largest entry of its gradient is below `tolerance` or its line search can go no further.
    Returns x, values, gradients.
    """
    rows, size = x.shape
    x = x.copy()
    value, gradient = objective(x, np.arange(rows))
    H = np.broadcast_to(np.eye(size), (rows, size, size)).copy()
    fresh = np.ones(rows, bool)  # H is still a multiple of the identity
    direction = -gradient / np.maximum(1.0, np.abs(gradient).max(axis=1, keepdims=True))
    low, high, step = np.zeros(rows), np.full(rows, np.inf), np.ones(rows)
    active = np.flatnonzero(np.abs(gradient).max(axis=1) > tolerance)
    for _ in range(max_evaluations):
        if not active.size:
            break
        p, t = direction[active], step[active]
        trial = x[active] + t[:, None] * p
        new_value, new_gradient = objective(trial, active)
        slope = np.einsum("rd,rd->r", gradient[active], p)
        new_slope = np.einsum("rd,rd->r", new_gradient, p)
        # Close to the minimum the values agree to rounding and only the slopes still say where it is.
        slack = 4e-16 * np.abs(value[active])
        too_far = ~(new_value <= value[active] + 1e-4 * t * slope + slack)
        too_near = ~too_far & (new_slope < 0.9 * slope)
        high[active[too_far]] = t[too_far]
        low[active[too_near]] = t[too_near]
        bounded = np.isfinite(high[active])
        step[active] = np.where(bounded, (low[active] + np.where(bounded, high[active], 0.0)) / 2, 2 * t)
        accept = ~(too_far | too_near)
        # A search with no bracket left: begin again along the gradient, or stop if that was just tried.
        stuck = ~accept & ((high[active] - low[active] < 1e-13 * high[active]) | (step[active] < 1e-18) | (t > 1e10))
        done = stuck & fresh[active]
        renew = active[stuck & ~fresh[active]]
        H[renew], fresh[renew] = np.eye(size), True

        took = active[accept]
        if took.size:
            s, y = trial[accept] - x[took], new_gradient[accept] - gradient[took]
            sy = np.einsum("rd,rd->r", s, y)
            good = sy > 1e-14 * np.sqrt(np.einsum("rd,rd->r", s, s) * np.einsum("rd,rd->r", y, y))
            rescale = good & fresh[took]
            H[took[rescale]] = np.eye(size) * (sy / np.einsum("rd,rd->r", y, y))[rescale, None, None]
            u, s, y, sy = took[good], s[good], y[good], sy[good]
            Hy = np.einsum("rde,re->rd", H[u], y)
            yHy = np.einsum("rd,rd->r", y, Hy)
            cross = np.einsum("rd,re->rde", Hy, s)
            H[u] += ((sy + yHy) / sy**2)[:, None, None] * np.einsum("rd,re->rde", s, s) - (
                cross + np.swapaxes(cross, 1, 2)
            ) / sy[:, None, None]
            fresh[u] = False
            x[took], value[took], gradient[took] = trial[accept], new_value[accept], new_gradient[accept]
        begin = np.concatenate([took, renew])
        p = -np.einsum("rde,re->rd", H[begin], gradient[begin])
        uphill = np.einsum("rd,rd->r", p, gradient[begin]) >= 0
        H[begin[uphill]], fresh[begin[uphill]] = np.eye(size), True
        p[uphill] = -gradient[begin[uphill]]
        direction[begin], low[begin], high[begin], step[begin] = p, 0.0, np.inf, 1.0
        done |= np.abs(gradient[active]).max(axis=1) <= tolerance
        active = active[~done]
    return x, value, gradient


class _Scaled:
    """Losses and gradients of cells, in the units in which `descend` goes well: flat importance and density (cells, n).

    The unit of loss is that of a model that predicts the mean. That of a bias is the square root of the density, which
    evens out the curvature of the loss (an idle output costs b² all the time, a weight matters only when its feature is
    active).
    """

    def __init__(self, importance: np.ndarray, density: np.ndarray, n_hidden: int):
        self._importance, self._density, self._n_hidden = importance, density, n_hidden
        self.unit = (importance * (density / 3 - density**2 / 4)).sum(axis=-1)
        self._bias_unit = np.sqrt(density)

    def packed(self, W: np.ndarray, b: np.ndarray, cell: np.ndarray) -> np.ndarray:
        """Rows of `descend`, of weights (rows, n_hidden, n) and biases in given cells."""
        return np.concatenate([W.reshape(len(W), -1), b / self._bias_unit[cell]], axis=-1)

    def parts(self, x: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The weights and biases of rows."""
        n = self._density.shape[-1]
        weights = self._n_hidden * n
        return x[:, :weights].reshape(-1, self._n_hidden, n), x[:, weights:] * self._bias_unit[cell]

    def objective(self, owner: Int[np.ndarray, " rows"]) -> Objective:
        """The function of rows that `descend` minimises, each in the cell that `owner` says."""

        def objective(x, which):
            cell = owner[which]
            loss, d_W, d_b = _weighted(*self.parts(x, cell), self._importance[cell], self._density[cell])
            gradient = np.concatenate([d_W.reshape(len(x), -1), d_b * self._bias_unit[cell]], axis=1)
            return loss / self.unit[cell], gradient / self.unit[cell, None]

        return objective


class Relaxed(NamedTuple):
    """What given weights fall to: losses (...), weights and biases, and the largest entry of the gradient in units of
    the loss of a model that predicts the mean."""

    loss: Float[np.ndarray, "*models"]
    W: Float[np.ndarray, "*models hidden feature"]
    b: Float[np.ndarray, "*models feature"]
    gradient_norm: Float[np.ndarray, "*models"]


def relaxed(
    W: Float[np.ndarray, "*models hidden feature"],
    b: Float[np.ndarray, "*models feature"],
    importance: Float[np.ndarray, "*#models feature"],
    density: Float[np.ndarray, "*#models feature"],
    tolerance: float = 1e-9,
    evaluations: int = 200,
) -> Relaxed:
    """The minima into which given weights fall, all models side by side, by BFGS on the exact loss.

    Args:
        W, b: weights (..., hidden, feature) and biases; importance and density (..., feature) broadcast.
        tolerance: largest entry of the gradient, in units as in `Relaxed`.

    One feature alone is a minimum where the other is unimportant and data are dense:

    >>> found = relaxed(np.array([[0.9, 0.01]]), np.array([0.1, 0.3]), np.array([1.0, 0.1]), np.array([0.8, 0.8]))
    >>> np.abs(found.W).round(6).tolist(), found.b.round(6).tolist()
    ([[1.0, 0.0]], [0.0, 0.4])
    """
    shape, (n_hidden, n) = W.shape[:-2], W.shape[-2:]
    flat = (np.broadcast_to(x, (*shape, n)).reshape(-1, n).astype(float) for x in (importance, density))
    scaled, every = _Scaled(*flat, n_hidden), np.arange(W.size // (n_hidden * n))
    start = scaled.packed(W.reshape(-1, n_hidden, n).astype(float), b.reshape(-1, n).astype(float), every)
    x, value, gradient = descend(scaled.objective(every), start, tolerance, evaluations)
    W, b = scaled.parts(x, every)
    return Relaxed(
        np.asarray((value * scaled.unit).reshape(shape)), W.reshape(*shape, n_hidden, n), b.reshape(*shape, n),
        np.asarray(np.abs(gradient).max(-1).reshape(shape)),
    )  # fmt: skip


def minimum(
    importance: Float[np.ndarray, "*#cells n_features"],
    density: Float[np.ndarray, "*#cells n_features"],
    n_hidden: int,
    restarts: int = 64,
    seed: int = 0,
) -> Minimum:
    """Global minimum of the expected loss of the ReLU-output model over W and b, by many restarts of BFGS.

    Args:
        importance: (..., n_features).
        density: probability that a feature is active (..., n_features).
        n_hidden: number of hidden dimensions.
        restarts: random starts a cell. Entries of W are normal with a standard deviation that runs from 0.1
            to 1.0 over the restarts; biases are uniform on [-0.3, 0.5] times the density.
        seed: of the random starts, the same in every cell.

    Returns:
        A `Minimum`; leading axes are cells and broadcast. W is one of a family: any rotation of the hidden
        space (for n_hidden = 1 the sign) gives the same loss. Raises ValueError for more than `MAX_FEATURES`
        features, and for what is no importance, density or number of dimensions.

    With one hidden dimension and little sparsity only the more important feature is represented, and the rest
    of the loss is the variance of the other, `r (s/3 - s²/4)`:

    >>> best = minimum(np.array([1.0, 0.1]), np.array([0.8, 0.8]), n_hidden=1, restarts=16)
    >>> np.abs(best.W).round(3).tolist(), round(float(best.loss) / (0.1 * (0.8 / 3 - 0.8**2 / 4)), 3)
    ([[1.0, 0.0]], 1.0)

    Source: the optimum behind Elhage et al. (2022), "Superposition as a Phase Change", where ten models a
    point are trained and the best are kept. Deviation: exact loss, second-order optimiser, no sampling
    noise.
    """
    importance, density = (
        checks.numbers("importance", importance, 0),
        checks.numbers("density", density, 0, 1, above=True),
    )
    n = _size(checks.vectors(importance=importance, density=density))
    n_hidden, restarts = checks.count("n_hidden", n_hidden), checks.count("restarts", restarts)
    seed = checks.count("seed", seed, 0)
    cells = np.broadcast_shapes(importance.shape[:-1], density.shape[:-1])
    importance, density = (np.broadcast_to(v, (*cells, n)).reshape(-1, n) for v in (importance, density))
    n_cells = len(importance)
    scaled = _Scaled(importance, density, n_hidden)
    if not (scaled.unit > 0).all():
        raise ValueError("importance: every cell needs a positive one")

    rng = np.random.default_rng(seed)
    scale = np.geomspace(0.1, 1.0, restarts)[:, None, None]
    W = scale * rng.standard_normal((restarts, n_hidden, n))
    b = rng.uniform(-0.3, 0.5, (restarts, n)) * density[:, None, :]
    owner = np.repeat(np.arange(n_cells), restarts)
    start = scaled.packed(np.tile(W, (n_cells, 1, 1)), b.reshape(-1, n), owner)
    x, value, _ = descend(scaled.objective(owner), start, 1e-6, 400)

    # Polish the best few, the others are only reported.
    value = value.reshape(n_cells, restarts)
    keep = min(3, restarts)
    top = np.argsort(value, axis=1)[:, :keep]
    rows = (np.arange(n_cells)[:, None] * restarts + top).ravel()
    x, polished, gradient = descend(scaled.objective(owner[rows]), x[rows], 1e-11, 400)
    np.put_along_axis(value, top, polished.reshape(n_cells, keep), axis=1)
    best = np.arange(n_cells) * keep + polished.reshape(n_cells, keep).argmin(axis=1)
    unit = scaled.unit
    W, b = scaled.parts(x[best], np.arange(n_cells))
    return Minimum(
        loss=np.asarray((polished[best] * unit).reshape(cells)),
        W=W.reshape(*cells, n_hidden, n),
        b=b.reshape(*cells, n),
        losses_of_all_restarts=(value * unit[:, None]).reshape(*cells, restarts),
        gradient_norm=np.asarray(np.abs(gradient[best]).max(axis=1).reshape(cells)),
    )
