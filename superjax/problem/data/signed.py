"""Independent sparse features of both signs, as in the paper's task of computing the absolute value."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from superjax.problem.data.base import Nodes, Segments
from superjax.problem.data.faces import segment_rows, signed_segments
from superjax.problem.data.independent import Independent


class Signed(Independent):
    """Independent sparse features, uniform on [-1, 1] where they are active (paper, "Computation in Superposition").

    `density` is s = 1 - S of each feature.
    """

    @staticmethod
    def segments(n_features: int, nodes: Nodes, closed: bool = True) -> Segments:
        """Every active set with every choice of signs."""
        return signed_segments(n_features, nodes, closed)

    @staticmethod
    def n_rows(n_features: int, nodes: Nodes, closed: bool = True) -> int:
        """Number of rows of `segments`, without making them."""
        return segment_rows(n_features, nodes, closed, signs=2)

    def sample(self, uniforms: Float[Array, " uniforms"]) -> Float[Array, " n_features"]:
        """One input from uniforms on [0, 1): x = 2u / s - 1 if u < s else 0 has exactly this law."""
        return jnp.where(uniforms < self.density, 2 * uniforms / self.density - 1, 0.0)

    @staticmethod
    def magnitude(uniforms: Float[Array, " uniforms"]) -> Float[Array, " n_features"]:
        """Active features from uniforms on [0, 1)."""
        return 2 * uniforms - 1

    def moments(self) -> tuple[Float[Array, " n_features"], Float[Array, " n_features"]]:
        """E[x_i] = 0 and Var(x_i) = s/3."""
        return jnp.zeros_like(self.density), self.density / 3
