"""Inputs with one active feature each, as in the study of k-gons."""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from superjax.problem.data.base import MANY, Distribution, Nodes, Segments
from superjax.problem.data.faces import gauss, nodes_by_active


class OneSparse(Distribution):
    """Exactly one feature is active, all alike: x = μ e_i with i and μ uniform (Chen, Lau, Mendel, Wei and Murfet 2023,
    arXiv:2310.06301). It has no numbers."""

    enumerable: ClassVar[bool] = True
    most_active: ClassVar[int] = 1

    @classmethod
    def n_uniforms(cls, n_features: int) -> int:
        """A magnitude, and which feature."""
        return 2

    @staticmethod
    def segments(n_features: int, nodes: Nodes, closed: bool = True) -> Segments:
        """One segment, or a row of nodes, along every axis."""
        one = np.eye(n_features)
        if closed:
            return Segments(np.zeros((n_features, n_features)), one, one > 0, np.ones(n_features))
        points, weights = gauss(nodes_by_active(n_features, nodes)[1])
        rows = (one[:, None, :] * points[:, None]).reshape(-1, n_features)
        return Segments(rows, rows, np.repeat(one > 0, len(points), axis=0), np.tile(weights, n_features))

    @staticmethod
    def n_rows(n_features: int, nodes: Nodes, closed: bool = True) -> int:
        """Number of rows of `segments`, without making them."""
        return min(n_features * (1 if closed else nodes_by_active(n_features, nodes)[1]), MANY)

    def probability(self, active: Bool[np.ndarray, "rows n_features"]) -> Float[Array, " rows"]:
        """1/n for one active feature, 0 for any other set."""
        n = active.shape[-1]
        return jnp.where(active.sum(-1) == 1, 1 / n, 0.0).astype(jnp.float32)

    def sample(self, uniforms: Float[Array, " 2"]) -> Float[Array, " n_features"]:
        """One input from uniforms on [0, 1): the second chooses the feature."""
        n = self.n_features
        return jnp.where(jnp.arange(n, dtype=jnp.float32) == jnp.floor(uniforms[1] * n), uniforms[0], 0.0)

    def activity(self) -> Float[Array, ""]:
        """1/n."""
        return jnp.full((), 1 / self.n_features, jnp.float32)

    def moments(self) -> tuple[Float[Array, " n_features"], Float[Array, " n_features"]]:
        """E[x_i] = 1/(2n) and Var(x_i) = 1/(3n) - 1/(4n²)."""
        n = self.n_features
        return jnp.full(n, 1 / (2 * n), jnp.float32), jnp.full(n, 1 / (3 * n) - 1 / (4 * n**2), jnp.float32)

    def exchangeable(self, n_features: int) -> tuple[Float[Array, " n_features"], int]:
        """All features are alike."""
        return jnp.zeros(n_features), 1
