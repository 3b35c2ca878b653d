"""Exact losses of models that are tegum products of one polytope (paper, "The Geometry of Superposition").

The components of a tegum product are orthogonal and do not interfere, so the loss of the whole is the sum of the losses
of its polytopes, each alone with its own features, and of the features left out, `v = s/3 - s²/4` each. All vertices of
a polytope are alike: they share one norm and one bias, and the loss of one feature stands for all.

Derived for this project; tested against `superjax.oracle`.
"""

import functools
import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import fminbound

from superjax.analysis import Polytope
from superjax.reference.theory import variance

_NODES = (40, 12, 4, 3, 2)  # a feature, of 1, 2, ... other active features
_OFFSETS = np.linspace(-0.8, 1.6, 49)  # tried for b / ‖W_i‖², to begin with


class Alone(NamedTuple):
    """The best model that is one polytope and nothing else: the norm and bias of its features, the loss of each."""

    norm: Float[np.ndarray, " densities"]
    bias: Float[np.ndarray, " densities"]
    loss: Float[np.ndarray, " densities"]


def alone(polytope: Polytope, density: Float[np.ndarray, " densities"]) -> Alone:
    """The optimum of a polytope alone, at every density, over the common norm and bias of its features.

    The output of feature 0 is w R with w = ‖W_0‖² and R = ReLU(x_0 + S + β), where S = Σ_j (Ŵ_0·Ŵ_j) x_j is what the
    others add and β = b / w. Its loss E[x_0²] - 2w E[x_0 R] + w² E[R²] is least at w = E[x_0 R] / E[R²], which leaves a
    search over β. The mean over x_0 is closed, that over S takes Gauss-Legendre nodes for every set of active others:
    losses are within 3e-4 of themselves.

    An antipodal pair is a little larger than its ideal, with 1 / (2 · norm²) = 0.49 dimensions a feature:

    >>> from superjax.analysis import polytopes
    >>> (0.5 / alone(polytopes(2)[0], np.array([0.3])).norm ** 2).round(2).tolist()
    [0.49]
    """
    overlaps = (polytope.vertices.T @ polytope.vertices)[0, 1:]
    return _alone(tuple(overlaps.tolist()), tuple(np.asarray(density, float).tolist()))


@functools.lru_cache(maxsize=256)  # a square antiprism takes 30 ms a density, and figures and claims ask for the same
def _alone(overlaps: tuple[float, ...], density: tuple[float, ...]) -> Alone:
    """`alone`, from the overlaps of a vertex with all others."""
    s = np.array(density)
    interference, probability = _others(np.array(overlaps), s)
    saved = [_with_best_weight(interference + offset, probability, s)[1] for offset in _OFFSETS]
    start = np.clip(np.argmax(saved, axis=0), 1, len(_OFFSETS) - 2)
    found = np.array(
        [
            _refined(interference, p, density, _OFFSETS[k - 1], _OFFSETS[k + 1])
            for p, density, k in zip(probability, s, start, strict=True)
        ]
    )
    offset, w, saved = found.T
    best = Alone(np.sqrt(w), offset * w, s / 3 - saved)
    for array in best:
        array.flags.writeable = False  # it is given to all who ask
    return best


def per_feature(polytope: Polytope, density: Float[np.ndarray, " densities"]) -> Float[np.ndarray, " densities"]:
    """D* = m / ‖W‖² of a model all of whose dimensions are filled with one kind of polytope at its optimum."""
    return polytope.dimensionality / alone(polytope, density).norm ** 2


def product_loss(
    polytope: Polytope, density: Float[np.ndarray, " densities"], n_features: int, n_hidden: int
) -> Float[np.ndarray, " densities"]:
    """Loss of a model all of whose dimensions are filled with one kind of polytope at its optimum, the other features
    left out (importance 1): m k/d features are in, with k vertices and d dimensions, of whole polytopes or not.

    Raises ValueError if there are fewer features than that.
    """
    represented = n_hidden / polytope.dimensionality
    if represented > n_features:
        raise ValueError(f"{polytope.name}s in {n_hidden} dimensions have {represented:g} features, not {n_features}")
    return represented * alone(polytope, density).loss + (n_features - represented) * variance(density)


def _others(overlaps, s):
    """Nodes of S, and the probability of each at every density (densities, nodes)."""
    if not len(overlaps):
        return np.zeros(1), np.ones((len(s), 1))
    others, weight, active = _nodes(len(overlaps))
    s = s[:, None]
    return others @ overlaps, weight * s**active * (1 - s) ** (len(overlaps) - active)


def _nodes(n: int):
    """Gauss-Legendre nodes of n features, every set of active ones at its own (nodes, features); their weights, which
    sum to 1 over each set, and how many features are active."""
    rows = []
    for active in itertools.product([False, True], repeat=n):
        points, weights = np.polynomial.legendre.leggauss(_NODES[min(max(sum(active), 1), len(_NODES)) - 1])
        for choice in itertools.product(range(len(points)), repeat=sum(active)):
            x = np.zeros(n)
            x[list(active)] = (points[list(choice)] + 1) / 2
            rows.append((x, np.prod(weights[list(choice)] / 2), sum(active)))
    return tuple(map(np.array, zip(*rows, strict=True)))


def _with_best_weight(c, probability, s):
    """w = E[x_0 R] / E[R²] and what it saves of E[x_0²], E[x_0 R]² / E[R²], from nodes of c = S + β."""
    kink, idle = np.clip(-c, 0, 1), np.maximum(c, 0)  # R = x_0 + c is positive above the kink
    with_x = s * (probability @ ((1 - kink**3) / 3 + c * (1 - kink**2) / 2))
    active = (np.maximum(1 + c, 0) ** 3 - idle**3) / 3
    squared = np.maximum(s * (probability @ active) + (1 - s) * (probability @ idle**2), 1e-300)
    return with_x / squared, with_x**2 / squared


def _refined(interference, probability, s, low, high):
    """β between two bounds, w, and what they save, at one density."""
    offset = fminbound(
        lambda offset: -_with_best_weight(interference + offset, probability, s)[1], low, high, xtol=1e-9
    )
    return offset, *_with_best_weight(interference + offset, probability, s)
