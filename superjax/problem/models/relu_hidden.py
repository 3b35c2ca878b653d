"""The model with a privileged basis: h = ReLU(Wx), x' = ReLU(Wᵀh + b)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from superjax.problem.models.base import ToyModel


class ReLUHidden(ToyModel):
    """ReLU hidden model, x' = ReLU(Wᵀ ReLU(Wx) + b), tied, without a hidden bias (paper, "Superposition in a Privileged
    Basis").

    Weights start normal with standard deviation `init_std`, the bias at 0.
    """

    W: Float[Array, "n_hidden n_features"]
    b: Float[Array, " n_features"]

    dims: ClassVar[dict[str, tuple[str, ...]]] = {"W": ("hidden", "feature"), "b": ("feature",)}

    def __init__(self, n_features: int, n_hidden: int, init_std: float | Float[Array, ""], *, key: Key[Array, ""]):
        self.W = init_std * jax.random.normal(key, (n_hidden, n_features))
        self.b = jnp.zeros(n_features)

    def hidden(self, x: Float[Array, " n_features"]) -> Float[Array, " n_hidden"]:
        """h = ReLU(Wx)."""
        return jax.nn.relu(self.W @ x)

    def __call__(self, x: Float[Array, " n_features"]) -> Float[Array, " n_features"]:
        return jax.nn.relu(self.W.T @ self.hidden(x) + self.b)
