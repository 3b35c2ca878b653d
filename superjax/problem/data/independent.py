"""Independent sparse features, the distribution of most of the paper."""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from superjax.problem.data.sparse import Sparse


class Independent(Sparse):
    """Independent sparse uniform features: x_i = 0 with probability 1 - s_i, else uniform on [0, 1].

    `density` is s = 1 - S of each feature (paper, "Demonstrating Superposition").
    """

    uncorrelated: ClassVar[bool] = True
    skips_empty: ClassVar[bool] = True

    def probability(self, active: Bool[np.ndarray, "rows n_features"]) -> Float[Array, " rows"]:
        """Probability that exactly the given features are active."""
        return jnp.prod(jnp.where(active, self.density, 1 - self.density), axis=-1)

    def sample(self, uniforms: Float[Array, " uniforms"]) -> Float[Array, " n_features"]:
        """One input from uniforms on [0, 1): x = u / s if u < s else 0 has exactly this law."""
        return jnp.where(uniforms < self.density, uniforms / self.density, 0.0)

    def first_active(self) -> Float[Array, " n_features"]:
        """Probability s_i Π_{j<i} (1 - s_j) that feature i is the first active one; the sum that some is."""
        return self.density * jnp.cumprod(jnp.append(1.0, 1 - self.density[:-1]))

    def some_active(self) -> Float[Array, ""]:
        """Probability that some feature is active."""
        return jnp.sum(self.first_active())

    def sample_active(self, uniforms: Float[Array, " uniforms"]) -> Float[Array, " n_features"]:
        """One input given that some feature is active: the last uniform chooses the first of them.

        Those before it are 0, those after it independent.
        """
        x, first = uniforms[:-1], uniforms[-1]
        above = jnp.cumsum(self.first_active())
        edges = above[:-1] / above[-1]
        below, above = jnp.append(0.0, edges), jnp.append(edges, 1.0)
        return jnp.where(first >= above, 0.0, jnp.where(first >= below, self.magnitude(x), self.sample(x)))

    @staticmethod
    def magnitude(uniforms: Float[Array, " uniforms"]) -> Float[Array, " n_features"]:
        """Active features from uniforms on [0, 1)."""
        return uniforms
