"""Whether models of pairs of features are minima of their loss: the gain that a Newton step promises, and curvature.

In float64, apart from what trains: every set of active features is enumerated, all but its last feature at
Gauss-Legendre points, the last in closed form.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from superjax.problem.data.faces import segment_rows, unit_segments
from superjax.reference import theory

MAX_ROWS = 8192  # beyond, nothing is said of a model
LARGEST_GAIN = 5e-3  # of a Newton step, as a fraction of the loss, up to which a model counts as converged
FLAT = 1e-3  # a curvature below this fraction of the largest is that of a direction in which nothing changes
NEGLIGIBLE = 1e-4  # a loss below this fraction of that of predicting the means counts as so much
# As many Gauss-Legendre points as there are rows for: 4 for six features. With 3 a solution of three pairs at density
# 0.28 seems a saddle, and is a minimum with 4 and with 5.
_NODES, _ROWS = (8, 7, 6, 5, 4, 3, 2), 4000
_STEP = 0.01  # of the differences of gradients, over which the kinks of single rows average
_INNER = (np.array([-1.0, 1.0]) / np.sqrt(3) + 1) / 2  # exact for the squares of linear functions


class Certificate(NamedTuple):
    """Of models: what a Newton step would gain, as a fraction of the loss, and the least curvature over the largest."""

    gain: Float[np.ndarray, " models"]
    curvature: Float[np.ndarray, " models"]

    @property
    def minimum(self) -> Bool[np.ndarray, " models"]:
        return (self.gain <= LARGEST_GAIN) & (self.curvature >= -FLAT)


def affordable(n_features: int) -> bool:
    """Whether sets of active features are few enough to be enumerated."""
    return segment_rows(n_features, _NODES[-1]) <= MAX_ROWS


def certificate(
    W: Float[np.ndarray, "models n_hidden n_features"],
    b: Float[np.ndarray, "models n_features"],
    density: Float[np.ndarray, " models"],
    correlation: float,
) -> Certificate:
    """Of models whose pairs of consecutive features have a density and a correlation; importance 1."""
    found = [
        _certificate(w.astype(float).tobytes(), bias.astype(float).tobytes(), len(w), float(s), correlation)
        for w, bias, s in zip(W, b, density, strict=True)
    ]
    return Certificate(*np.array(found, float).reshape(-1, 2).T)


@lru_cache(maxsize=2**12)  # claims and figures ask for the same
def _certificate(weights: bytes, bias: bytes, n_hidden: int, density: float, correlation: float) -> tuple[float, float]:
    W, b = np.frombuffer(weights).reshape(n_hidden, -1), np.frombuffer(bias)
    rows = _rows(b.size, density, correlation)
    scale = np.concatenate([np.ones(W.size), np.full(b.size, np.sqrt(density))])  # evens out the curvatures
    x = np.concatenate([W.ravel(), b]) / scale

    def gradient(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Losses and gradients of many (points, parameters)."""
        y = x * scale
        loss, d_W, d_b = _loss(y[:, : W.size].reshape(-1, *W.shape), y[:, W.size :], *rows)
        return loss, np.concatenate([d_W.reshape(len(x), -1), d_b], axis=1) * scale

    (loss,), (slope,) = gradient(x[None])
    steps = _STEP * np.eye(len(x))
    ahead, behind = gradient(x + steps)[1], gradient(x - steps)[1]
    hessian = (ahead - behind) / (2 * _STEP)
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    gain = np.sum(np.square(slope @ vectors) / (2 * np.maximum(values, FLAT * values[-1])))
    floor = NEGLIGIBLE * b.size * theory.variance(density)
    return float(gain / max(loss, floor)), float(values[0] / values[-1])


def _rows(n: int, density: float, correlation: float):
    """Segments of inputs, start and end, and the weight of each."""
    nodes = next((k for k in _NODES if segment_rows(n, k) <= _ROWS), _NODES[-1])
    start, end, active, weight = unit_segments(n, nodes)
    both = theory.both_active(density, correlation)
    chances = np.array([1 - 2 * density + both, density - both, both])
    weight = weight * np.prod(chances[active[:, ::2].astype(int) + active[:, 1::2]], axis=1)
    some = weight > 0
    return start[some], end[some], weight[some]


def _loss(W: np.ndarray, b: np.ndarray, start: np.ndarray, end: np.ndarray, weight: np.ndarray):
    """Losses of models and their gradients, the means over segments of inputs in closed form: an output is linear along
    a segment while its ReLU is on, and silent on the rest."""
    G = np.einsum("khi,khj->kij", W, W)
    first, last = (np.einsum("rj,kij->kri", x, G) + b[:, None] for x in (start, end))
    positive = np.maximum(first, 0) + np.maximum(last, 0)
    share = positive / np.maximum(np.abs(first) + np.abs(last), 1e-300)  # of the segment where it is on
    on = np.where(first > 0, 0, 1 - share)
    d_G, d_b, loss = np.zeros_like(G), np.zeros_like(b), np.zeros(len(W))
    for node in _INNER:
        t = on + node * share
        missed = start + t * (end - start) - (first + t * (last - first))
        rest = np.where(first > 0, share, 0) + node * (1 - share)
        silent = start + rest * (end - start)
        loss += np.einsum("r,kri->k", weight / 2, share * missed**2 + (1 - share) * silent**2)
        push = -weight[:, None] * share * missed
        d_b += push.sum(1)
        d_G += np.einsum("kri,rj->kij", push, start) + np.einsum("kri,rj->kij", push * t, end - start)
    return loss, np.einsum("khi,kij->khj", W, d_G + np.swapaxes(d_G, 1, 2)), d_b
