"""The absolute value of every feature."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from superjax.problem.targets.base import Target


class Absolute(Target):
    """y = |x| (paper, "Computation in Superposition")."""

    linear: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True

    def __call__(self, x: Float[Array, " n_features"]) -> Float[Array, " n_features"]:
        return jnp.abs(x)
