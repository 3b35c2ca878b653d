"""The tied models of one hidden layer without an activation: x' = f(WᵀWx + b)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
from pydantic import Field

from superjax.problem import options
from superjax.problem.models.activations import FUNCTIONS, RECTIFIED, Activation
from superjax.problem.models.base import ToyModel


class Linear(ToyModel):
    """Linear model, x' = WᵀWx + b (paper, "Demonstrating Superposition"); with an `activation`, x' = f(WᵀWx + b).

    Weights start normal with standard deviation `init_std`, the bias at 0.
    """

    W: Float[Array, "n_hidden n_features"]
    b: Float[Array, " n_features"]

    dims: ClassVar[dict[str, tuple[str, ...]]] = {"W": ("hidden", "feature"), "b": ("feature",)}
    activation: ClassVar[str] = "identity"

    class Options(options.Options):
        activation: Activation | None = Field(
            None,
            description="the activation of the output, by default nothing for `linear` and a ReLU for `relu_output`",
        )

    def __init__(self, n_features: int, n_hidden: int, init_std: float | Float[Array, ""], *, key: Key[Array, ""]):
        self.W = init_std * jax.random.normal(key, (n_hidden, n_features))
        self.b = jnp.zeros(n_features)

    @property
    def rectified(self) -> bool | None:
        """Whether the activation is a ReLU of the affine `preactivation`, or nothing; None if it is anything else."""
        return RECTIFIED.get(self.activation)

    def hidden(self, x: Float[Array, " n_features"]) -> Float[Array, " n_hidden"]:
        """h = Wx."""
        return self.W @ x

    def preactivation(self, x: Float[Array, " n_features"]) -> Float[Array, " n_features"]:
        """WᵀWx + b. A model that has this method and `rectified` gets the closed innermost integral."""
        return self.W.T @ (self.W @ x) + self.b

    def __call__(self, x: Float[Array, " n_features"]) -> Float[Array, " n_features"]:
        return FUNCTIONS[self.activation](self.preactivation(x))


class ReLUOutput(Linear):
    """ReLU output model, x' = ReLU(WᵀWx + b) (paper, "Demonstrating Superposition")."""

    activation: ClassVar[str] = "relu"
