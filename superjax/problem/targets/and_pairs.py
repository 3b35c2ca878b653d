"""The AND of every pair of features."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from superjax.problem.targets.base import Target


class AndPairs(Target):
    """y_k = min(x_i, x_j), the AND of fuzzy logic, for all n(n - 1)/2 pairs i < j in the order (0, 1), (0, 2), ..."""

    @classmethod
    def n_outputs(cls, n_features: int) -> int:
        return n_features * (n_features - 1) // 2

    def __call__(self, x: Float[Array, " n_features"]) -> Float[Array, " n_outputs"]:
        first, second = np.triu_indices(x.shape[-1], 1)
        return jnp.minimum(_chosen(x, first), _chosen(x, second))


def _chosen(x: Float[Array, " n_features"], which: np.ndarray) -> Float[Array, " n_outputs"]:
    """Entries of x at places known beforehand, written without a lookup, so that it can be fused."""
    return jnp.stack([x[int(k)] for k in which])
