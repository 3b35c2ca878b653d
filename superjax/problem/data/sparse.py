"""What distributions have in common whose features are active with a probability each."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float
from pydantic import Field

from superjax.problem import options
from superjax.problem.data.base import Distribution, Nodes, Segments
from superjax.problem.data.faces import segment_rows, unit_segments
from superjax.problem.options import PerFeature


class Densities(options.Options):
    density: PerFeature = Field(1.0, description="the probability 1 − S that a feature is active")


class Sparse(Distribution):
    """Features that are active with a probability `density` each, and then uniform on [0, 1]."""

    density: Float[Array, " n_features"]
    Options: ClassVar[type[options.Options]] = Densities
    enumerable: ClassVar[bool] = True

    @staticmethod
    def segments(n_features: int, nodes: Nodes, closed: bool = True) -> Segments:
        """Every active set, its features at `nodes` Gauss-Legendre points each; see `unit_segments`."""
        return unit_segments(n_features, nodes, closed)

    @staticmethod
    def n_rows(n_features: int, nodes: Nodes, closed: bool = True) -> int:
        """Number of rows of `segments`, without making them."""
        return segment_rows(n_features, nodes, closed)

    def activity(self) -> Float[Array, ""]:
        """Mean probability of a feature to be active."""
        return jnp.mean(self.density)

    def moments(self) -> tuple[Float[Array, " n_features"], Float[Array, " n_features"]] | None:
        """E[x_i] = s/2 and Var(x_i) = s/3 - s²/4."""
        return self.density / 2, self.density / 3 - self.density**2 / 4

    def exchangeable(self, n_features: int) -> tuple[Float[Array, " n_features"], int]:
        """Features of equal density."""
        return self.density, 1
