"""The input itself: what an autoencoder should return."""

from typing import ClassVar

from jaxtyping import Array, Float

from superjax.problem.targets.base import Target


class Identity(Target):
    """y = x."""

    linear: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True
    identity: ClassVar[bool] = True

    def __call__(self, x: Float[Array, " n_features"]) -> Float[Array, " n_features"]:
        return x
