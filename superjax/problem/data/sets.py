"""Features in correlated or anticorrelated sets."""

import math
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from pydantic import Field

from superjax.problem import numbers
from superjax.problem.data.sparse import Densities, Sparse
from superjax.problem.options import Count


class Sets(Sparse):
    """Features in sets of `set_size` consecutive ones; the sets are independent, the members of one are not.

    `correlation` ρ in [-1, 1] is how strongly: with probability |ρ| the whole set is decided together, else every
    member by itself. Together means for ρ > 0 one coin for all, so that P(two active) = s² + ρ s (1 - s); for ρ < 0 as
    few at once as the density allows, k s or the whole numbers beside it, any of the k members alike (paper,
    "Correlated and Anticorrelated Features": sets that are off with probability S, else have exactly one active
    member, are ρ = -1 with s = (1 - S) / k). Magnitudes are independent. Equal densities in a set; those of the first
    member count.
    """

    correlation: Float[Array, ""]
    set_size: ClassVar[int]

    class Options(Densities):
        set_size: Count = Field(
            1, description="how many consecutive features make a set; all of a set have one density"
        )
        correlation: numbers.Correlation = Field(
            0.0,
            description="ρ, how strongly the members of a set depend on each other: above 0 they are active together, "
            "below 0 as few at once as the density allows",
        )

    @classmethod
    def n_uniforms(cls, n_features: int) -> int:
        """How many uniform numbers make one input: two a feature, two a set."""
        return 2 * n_features + 2 * (n_features // cls.set_size)

    def probability(self, active: Bool[np.ndarray, "rows n_features"]) -> Float[Array, " rows"]:
        """Probability that exactly the given features are active."""
        k, s = self.set_size, self.density[None, :: self.set_size]
        count = active.reshape(len(active), -1, k).sum(-1)
        alone = jnp.prod(jnp.where(active, self.density, 1 - self.density).reshape(*count.shape, k), axis=-1)
        one_coin = jnp.where(count == k, s, 0.0) + jnp.where(count == 0, 1 - s, 0.0)
        choices = np.array([math.comb(k, c) for c in range(k + 1)], np.float32)[count]
        few = jnp.maximum(0.0, 1 - jnp.abs(k * s - count.astype(np.float32))) / choices
        strength = jnp.abs(self.correlation)
        together = jnp.where(self.correlation > 0, one_coin, few)
        return jnp.prod((1 - strength) * alone + strength * together, axis=-1)

    def sample(self, uniforms: Float[Array, " uniforms"]) -> Float[Array, " n_features"]:
        """One input from uniforms on [0, 1): a magnitude and a ticket for every feature, then for every set whether it
        is decided together, and how. Where few are to be active, those whose ticket is below the number of members
        still wanted over that of members still to come are, which makes all choices alike."""
        n, k = self.density.shape[-1], self.set_size
        u, ticket, s = (x.reshape(-1, k) for x in (uniforms[:n], uniforms[n : 2 * n], self.density))
        (together, coin), s = uniforms[2 * n :].reshape(2, -1), s[:, 0]
        least = jnp.floor(k * s)
        still_wanted = least + jnp.where(coin < k * s - least, 1.0, 0.0)
        x = []
        for member in range(k):
            few = ticket[:, member] * (k - member) < still_wanted
            still_wanted = still_wanted - jnp.where(few, 1.0, 0.0)
            chosen = jnp.where(self.correlation > 0, coin < s, few)
            alone = jnp.where(u[:, member] < s, u[:, member] / s, 0.0)
            joint = jnp.where(chosen, u[:, member], 0.0)
            x.append(jnp.where(together < jnp.abs(self.correlation), joint, alone))
        return jnp.stack(x, axis=1).reshape(n)

    def exchangeable(self, n_features: int) -> tuple[Float[Array, " n_features"], int]:
        """Features of equal density within their set, sets as wholes."""
        return self.density, self.set_size
