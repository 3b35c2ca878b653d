"""The expected loss of an affine model, for any number of uncorrelated features."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from superjax.problem.problem import Laws


@dataclass(frozen=True)
class ExactQuadratic:
    """The expected loss of an affine model itself, for any number of uncorrelated features.

    The squared error is quadratic in the input there, so it only sees means and variances, and the 2n points
    μ ± √n σ_i e_i of equal weight have those of the features.
    """

    n_features: int
    fixed: ClassVar[bool] = True
    weighted: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "exact"

    @property
    def n_rows(self) -> int:
        return 2 * self.n_features

    @property
    def row_weight(self) -> float:
        return 1 / self.n_rows

    def draw(self, key: Key[Array, ""]) -> None:
        return None

    def rows(self, laws: Laws, draw: None) -> Float[Array, "n_features rows"]:
        moments = laws.data.moments()
        assert moments is not None
        mean, variance = moments
        away = jnp.diag(jnp.sqrt(self.n_features * variance))
        return mean[:, None] + jnp.concatenate([away, -away], axis=1)

    def row_values(self, model, laws: Laws, row: Float[Array, " n_features"]) -> Float[Array, " values"]:
        return laws.values(model, row)

    def targets(self, laws: Laws, row: Float[Array, " n_features"]) -> Float[Array, "2 n_outputs"]:
        y = laws.target(row)
        return jnp.stack([y, y * y])
