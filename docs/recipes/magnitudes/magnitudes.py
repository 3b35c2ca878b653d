"""Features whose magnitudes are powers of a uniform number: the larger the exponent, the more of them are small."""

import jax
import jax.numpy as jnp
from pydantic import Field

from superjax.problem import Distribution, Options, PerFeature, Positive


class PowerMagnitudes(Distribution):
    """x = u^exponent where a feature is active, u uniform on [0, 1]."""

    density: jax.Array
    exponent: jax.Array

    class Options(Options):
        density: PerFeature = Field(0.1, description="the probability that a feature is active")
        exponent: Positive = Field(2.0, description="the power of a uniform number that magnitudes are")

    def sample(self, uniforms):
        return jnp.where(uniforms < self.density, (uniforms / self.density) ** self.exponent, 0.0)

    def activity(self):
        return jnp.mean(self.density)
