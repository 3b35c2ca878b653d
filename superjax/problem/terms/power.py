"""A power of the absolute error of every output, weighted by importance."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float
from pydantic import Field

from superjax.problem import numbers, options
from superjax.problem.terms.base import Error


class Power(Error):
    """Σᵢ Iᵢ |yᵢ - y'ᵢ|ᵖ. It takes the place of the squared error."""

    power: Float[Array, ""]
    symmetric: ClassVar[bool] = True

    class Options(options.Options):
        power: numbers.Power = Field(4.0, description="p, the power of the absolute error")

    def values(
        self, model: Any, x: Float[Array, " n_features"], y: Float[Array, " n_outputs"]
    ) -> Float[Array, " n_outputs"]:
        """|yᵢ - y'ᵢ|ᵖ of one input for every output i."""
        miss = jnp.abs(model(x) - y)
        positive = miss > 0  # the gradient of 0 ** p by p, and by the base for p < 2, is not finite
        return jnp.where(positive, jnp.where(positive, miss, 1.0) ** self.power, 0.0)
