"""Feature distributions: what a toy model is trained on.

A distribution is an unbatched module that holds the numbers of one model (densities, later correlation strengths),
so all of them can be swept inside one compiled program. It offers the same law in two ways:

* enumerated: `segments(n, k)` is a static table of line segments in input space, shared by all models, and
  `probability(active)` gives each row's probability from the model's own numbers. The expectation of f is the sum
  over rows of weight times the mean of f along the segment; a segment of length zero is an ordinary node.
* sampled: `sample(uniforms)` maps `n_uniforms` uniform numbers to one input, so that all models share one draw.
"""

import itertools
import math
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

Nodes = int | tuple[int, ...]
"""Quadrature nodes a feature: one number, or one for each number of active features, 1, 2, ... (the last repeats)."""


class Segments(NamedTuple):
    """Line segments from `start` to `end`, each with its set of active features and the weight of its nodes.

    `weight` sums to 1 over the rows of each active set.
    """

    start: Float[np.ndarray, "rows n_features"]
    end: Float[np.ndarray, "rows n_features"]
    active: Bool[np.ndarray, "rows n_features"]
    weight: Float[np.ndarray, " rows"]


class Independent(eqx.Module):
    """Independent sparse uniform features: x_i = 0 with probability 1 - s_i, else uniform on [0, 1].

    `density` is s = 1 - S of each feature (paper, "Demonstrating Superposition").
    """

    density: Float[Array, " n_features"]

    @classmethod
    def example(cls, n_features: int) -> "Independent":
        """Some member of the family, for its shapes."""
        return cls(jnp.ones(n_features))

    @staticmethod
    def segments(n_features: int, nodes: Nodes, closed: bool = True) -> Segments:
        """Every active set, its features at `nodes` Gauss-Legendre points each; see `unit_segments`."""
        return unit_segments(n_features, nodes, closed)

    @staticmethod
    def n_rows(n_features: int, nodes: Nodes, closed: bool = True) -> int:
        """Number of rows of `segments`, without making them."""
        return segment_rows(n_features, nodes, closed)

    @staticmethod
    def n_uniforms(n_features: int) -> int:
        """How many uniform numbers make one input."""
        return n_features

    def probability(self, active: Bool[np.ndarray, "rows n_features"]) -> Float[Array, " rows"]:
        """Probability that exactly the given features are active."""
        return jnp.prod(jnp.where(active, self.density, 1 - self.density), axis=-1)

    def sample(self, uniforms: Float[Array, " n_features"]) -> Float[Array, " n_features"]:
        """One input from uniforms on [0, 1): x = u / s if u < s else 0 has exactly this law."""
        return jnp.where(uniforms < self.density, uniforms / self.density, 0.0)

    def first_active(self) -> Float[Array, " n_features"]:
        """Probability s_i Π_{j<i} (1 - s_j) that feature i is the first active one; the sum that some is."""
        return self.density * jnp.cumprod(jnp.append(1.0, 1 - self.density[:-1]))

    def sample_active(self, uniforms: Float[Array, " uniforms"]) -> Float[Array, " n_features"]:
        """One input given that some feature is active: the last uniform chooses the first of them.

        Those before it are 0, those after it independent.
        """
        x, first = uniforms[:-1], uniforms[-1]
        above = jnp.cumsum(self.first_active())
        edges = above[:-1] / above[-1]
        below, above = jnp.append(0.0, edges), jnp.append(edges, 1.0)
        return jnp.where(first >= above, 0.0, jnp.where(first >= below, x, self.sample(x)))

    def activity(self) -> Float[Array, ""]:
        """Mean probability of a feature to be active."""
        return jnp.mean(self.density)

    def variance(self) -> Float[Array, " n_features"]:
        """Var(x_i) = s/3 - s²/4."""
        return self.density / 3 - self.density**2 / 4


def _nodes_by_active(n_features: int, nodes: Nodes) -> list[int]:
    """Nodes a feature of the sets of 0, 1, ... active features."""
    given = nodes if isinstance(nodes, tuple) else (nodes,)
    return [1, *given, *[given[-1]] * n_features][: n_features + 1]


def segment_rows(n_features: int, nodes: Nodes, closed: bool = True) -> int:
    """Number of rows of `unit_segments`."""
    return sum(
        math.comb(n_features, active) * k ** max(active - closed, 0)
        for active, k in enumerate(_nodes_by_active(n_features, nodes))
    )


def unit_segments(n_features: int, nodes: Nodes, closed: bool = True) -> Segments:
    """The faces of the unit cube: every set of active features, each at its number of Gauss-Legendre points.

    With `closed` the last active feature runs along the whole of [0, 1] instead, to be integrated in closed form: k
    nodes make ((1 + k)ⁿ - 1) / k + 1 rows then instead of (1 + k)ⁿ.
    """
    by_active = _nodes_by_active(n_features, nodes)
    rows = []
    for active in itertools.product([False, True], repeat=n_features):
        features = np.flatnonzero(active)
        outer = features[:-1] if closed else features
        points, weights = np.polynomial.legendre.leggauss(by_active[len(features)])
        points, weights = (points + 1) / 2, weights / 2
        for choice in itertools.product(range(len(points)), repeat=len(outer)):
            start = np.zeros(n_features)
            start[outer] = points[list(choice)]
            end = start.copy()
            end[features[len(outer) :]] = 1.0
            rows.append((start, end, active, np.prod(weights[list(choice)])))
    start, end, active, weight = map(np.array, zip(*rows, strict=True))
    return Segments(start, end, active, weight)


KINDS: dict[str, type[Independent]] = {"independent": Independent}
