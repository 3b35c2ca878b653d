"""Feature distributions: what a toy model is trained on.

A distribution is an unbatched module that holds the numbers of one model (densities, a correlation strength),
so all of them can be swept inside one compiled program. It offers the same law in two ways:

* enumerated: `segments(n, k)` is a static table of line segments in input space, shared by all models, and
  `probability(active)` gives each row's probability from the model's own numbers. The expectation of f is the sum
  over rows of weight times the mean of f along the segment; a segment of length zero is an ordinary node.
* sampled: `sample(uniforms)` maps `n_uniforms` uniform numbers to one input, so that all models share one draw.
"""

import functools
import itertools
import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from superjax.spec import Data

MANY = 2**63  # counts of rows end here: more than anybody can have
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


class Distribution(eqx.Module):
    """What all distributions have in common: features that are uniform on [0, 1] where they are active."""

    density: Float[Array, " n_features"]
    independent: ClassVar[bool] = False  # then it has `first_active` and `sample_active`

    @classmethod
    def of(cls, numbers: Mapping[str, Any]) -> "Distribution":
        """A member of the family from the numbers of a cell, by the names of `Grid.numbers`."""
        return cls(numbers["density"])

    @classmethod
    def example(cls, n_features: int) -> "Distribution":
        """Some member of the family, for its shapes."""
        return cls.of({"density": jnp.ones(n_features), "correlation": jnp.zeros(())})

    @staticmethod
    def segments(n_features: int, nodes: Nodes, closed: bool = True) -> Segments:
        """Every active set, its features at `nodes` Gauss-Legendre points each; see `unit_segments`."""
        return unit_segments(n_features, nodes, closed)

    @staticmethod
    def n_rows(n_features: int, nodes: Nodes, closed: bool = True) -> int:
        """Number of rows of `segments`, without making them."""
        return segment_rows(n_features, nodes, closed)

    @classmethod
    @abstractmethod
    def n_uniforms(cls, n_features: int) -> int:
        """How many uniform numbers make one input."""

    @abstractmethod
    def probability(self, active: Bool[np.ndarray, "rows n_features"]) -> Float[Array, " rows"]:
        """Probability that exactly the given features are active."""

    @abstractmethod
    def sample(self, uniforms: Float[Array, " uniforms"]) -> Float[Array, " n_features"]:
        """One input from uniforms on [0, 1)."""

    def first_active(self) -> Float[Array, " n_features"]:
        """Probability that a feature is the first active one."""
        raise NotImplementedError

    def sample_active(self, uniforms: Float[Array, " uniforms"]) -> Float[Array, " n_features"]:
        """One input given that some feature is active, from one uniform more than `sample`."""
        raise NotImplementedError

    def activity(self) -> Float[Array, ""]:
        """Mean probability of a feature to be active."""
        return jnp.mean(self.density)

    def mean(self) -> Float[Array, " n_features"]:
        """E[x_i] = s/2."""
        return self.density / 2

    def variance(self) -> Float[Array, " n_features"]:
        """Var(x_i) = s/3 - s²/4."""
        return self.density / 3 - self.density**2 / 4


class Independent(Distribution):
    """Independent sparse uniform features: x_i = 0 with probability 1 - s_i, else uniform on [0, 1].

    `density` is s = 1 - S of each feature (paper, "Demonstrating Superposition").
    """

    independent: ClassVar[bool] = True

    @classmethod
    def n_uniforms(cls, n_features: int) -> int:
        """How many uniform numbers make one input."""
        return n_features

    def probability(self, active: Bool[np.ndarray, "rows n_features"]) -> Float[Array, " rows"]:
        """Probability that exactly the given features are active."""
        return jnp.prod(jnp.where(active, self.density, 1 - self.density), axis=-1)

    def sample(self, uniforms: Float[Array, " uniforms"]) -> Float[Array, " n_features"]:
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


class Sets(Distribution):
    """Features in sets of `size` consecutive ones; the sets are independent, the members of one are not.

    `correlation` ρ in [-1, 1] is how strongly: with probability |ρ| the whole set is decided together, else every
    member by itself. Together means for ρ > 0 one coin for all, so that P(two active) = s² + ρ s (1 - s); for ρ < 0 as
    few at once as the density allows, k s or the whole numbers beside it, any of the k members alike (paper,
    "Correlated and Anticorrelated Features": sets that are off with probability S, else have exactly one active
    member, are ρ = -1 with s = (1 - S) / k). Magnitudes are independent. Equal densities in a set; those of the first
    member count.
    """

    correlation: Float[Array, ""]
    size: ClassVar[int]

    @classmethod
    def of(cls, numbers: Mapping[str, Any]) -> "Sets":
        return cls(numbers["density"], numbers["correlation"])

    @classmethod
    def n_uniforms(cls, n_features: int) -> int:
        """How many uniform numbers make one input: two a feature, two a set."""
        return 2 * n_features + 2 * (n_features // cls.size)

    def probability(self, active: Bool[np.ndarray, "rows n_features"]) -> Float[Array, " rows"]:
        """Probability that exactly the given features are active."""
        k, s = self.size, self.density[None, :: self.size]
        count = active.reshape(len(active), -1, k).sum(-1)
        alone = jnp.prod(jnp.where(active, self.density, 1 - self.density).reshape(*count.shape, k), axis=-1)
        one_coin = jnp.where(count == k, s, 0.0) + jnp.where(count == 0, 1 - s, 0.0)
        choices = np.array([math.comb(k, c) for c in range(k + 1)], np.float32)[count]
        few = jnp.maximum(0.0, 1 - jnp.abs(k * s - count.astype(np.float32))) / choices
        strength = jnp.abs(self.correlation)
        together = jnp.where(self.correlation > 0, one_coin, few)
        return jnp.prod((1 - strength) * alone + strength * together, axis=-1)

    def sample(self, uniforms: Float[Array, " uniforms"]) -> Float[Array, " n_features"]:
        """One input from uniforms on [0, 1): a magnitude and a ticket for every feature, then for every set whether it
        is decided together, and how. Where few are to be active, those whose ticket is below the number of members
        still wanted over that of members still to come are, which makes all choices alike."""
        n, k = self.density.shape[-1], self.size
        u, ticket, s = (x.reshape(-1, k) for x in (uniforms[:n], uniforms[n : 2 * n], self.density))
        (together, coin), s = uniforms[2 * n :].reshape(2, -1), s[:, 0]
        least = jnp.floor(k * s)
        still_wanted = least + jnp.where(coin < k * s - least, 1.0, 0.0)
        x = []
        for member in range(k):
            few = ticket[:, member] * (k - member) < still_wanted
            still_wanted = still_wanted - jnp.where(few, 1.0, 0.0)
            chosen = jnp.where(self.correlation > 0, coin < s, few)
            alone = jnp.where(u[:, member] < s, u[:, member] / s, 0.0)
            joint = jnp.where(chosen, u[:, member], 0.0)
            x.append(jnp.where(together < jnp.abs(self.correlation), joint, alone))
        return jnp.stack(x, axis=1).reshape(n)


def _nodes_by_active(n_features: int, nodes: Nodes) -> list[int]:
    """Nodes a feature of the sets of 0, 1, ... active features."""
    given = nodes if isinstance(nodes, tuple) else (nodes,)
    return [1, *given, *[given[-1]] * n_features][: n_features + 1]


def segment_rows(n_features: int, nodes: Nodes, closed: bool = True) -> int:
    """Number of rows of `unit_segments`, at most MANY: there are 2ⁿ active sets at least."""
    if n_features >= MANY.bit_length():
        return MANY
    rows = sum(
        math.comb(n_features, active) * k ** max(active - closed, 0)
        for active, k in enumerate(_nodes_by_active(n_features, nodes))
    )
    return min(rows, MANY)


@functools.cache
def _gauss(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre points and weights on [0, 1]."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    return (points + 1) / 2, weights / 2


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
        points, weights = _gauss(by_active[len(features)])
        for choice in itertools.product(range(len(points)), repeat=len(outer)):
            start = np.zeros(n_features)
            start[outer] = points[list(choice)]
            end = start.copy()
            end[features[len(outer) :]] = 1.0
            rows.append((start, end, active, np.prod(weights[list(choice)])))
    start, end, active, weight = map(np.array, zip(*rows, strict=True))
    return Segments(start, end, active, weight)


@functools.cache
def sets_of(size: int) -> type[Sets]:
    """The distributions of features in sets of a size, one class for each."""
    return type(f"SetsOf{size}", (Sets,), {"size": size, "__doc__": Sets.__doc__, "__module__": __name__})


def family(data: Data) -> type[Distribution]:
    """The family of distributions that a case's features have."""
    return {"independent": Independent, "sets": sets_of(data.set_size)}[data.kind]
