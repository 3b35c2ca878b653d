"""A model that computes in superposition: h = ReLU(W₁x), y' = ReLU(W₂h + b)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from superjax.problem.models.base import ToyModel


class TwoLayer(ToyModel):
    """Two layers, y' = ReLU(W₂ ReLU(W₁x) + b), untied, without a hidden bias (paper, "Computation in Superposition").

    Both weights start normal with standard deviation `init_std`, the bias at 0.
    """

    W1: Float[Array, "n_hidden n_features"]
    W2: Float[Array, "n_outputs n_hidden"]
    b: Float[Array, " n_outputs"]

    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "W1": ("hidden", "feature"),
        "W2": ("output", "hidden"),
        "b": ("output",),
    }

    def __init__(
        self,
        n_features: int,
        n_hidden: int,
        init_std: float | Float[Array, ""],
        *,
        key: Key[Array, ""],
        n_outputs: int | None = None,
    ):
        first, second = jax.random.split(key)
        outputs = n_outputs or n_features
        self.W1 = init_std * jax.random.normal(first, (n_hidden, n_features))
        self.W2 = init_std * jax.random.normal(second, (outputs, n_hidden))
        self.b = jnp.zeros(outputs)

    def hidden(self, x: Float[Array, " n_features"]) -> Float[Array, " n_hidden"]:
        """h = ReLU(W₁x)."""
        return jax.nn.relu(self.W1 @ x)

    def __call__(self, x: Float[Array, " n_features"]) -> Float[Array, " n_outputs"]:
        return jax.nn.relu(self.W2 @ self.hidden(x) + self.b)
