"""The square of every feature."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from superjax.problem.targets.base import Target


class Square(Target):
    """y_i = x_i²."""

    symmetric: ClassVar[bool] = True

    def __call__(self, x: Float[Array, " n_features"]) -> Float[Array, " n_features"]:
        return jnp.square(x)
