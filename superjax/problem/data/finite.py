"""A finite set of inputs, drawn once, as in the study of double descent."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float
from pydantic import Field

from superjax.problem.data.independent import Independent
from superjax.problem.data.sparse import Densities
from superjax.problem.options import Count


class Finite(Independent):
    """`points` inputs, drawn once from independent sparse uniform features and the same for all models: training takes
    all of them at every step (Henighan et al. 2023, "Superposition, Memorization, and Double Descent").

    With `unit_norm` every input that is not 0 is scaled to norm 1.
    """

    points: ClassVar[int]
    unit_norm: ClassVar[bool]
    uncorrelated: ClassVar[bool] = False
    enumerable: ClassVar[bool] = False
    skips_empty: ClassVar[bool] = False

    class Options(Densities):
        points: Count = Field(100, description="how many inputs are drawn")
        unit_norm: bool = Field(False, description="every input that is not 0 is scaled to norm 1")

    def sample(self, uniforms: Float[Array, " uniforms"]) -> Float[Array, " n_features"]:
        """One input of the law that the points are drawn from."""
        x = super().sample(uniforms)
        if not self.unit_norm:
            return x
        square = jnp.sum(x * x)
        return x * jnp.where(square > 0, 1 / jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)

    def exchangeable(self, n_features: int) -> tuple[Float[Array, " n_features"], int]:
        """None: the points are not symmetric."""
        return jnp.arange(n_features, dtype=jnp.float32), 1

    def moments(self) -> None:
        """Those of the points are not those of the law."""
        return None
