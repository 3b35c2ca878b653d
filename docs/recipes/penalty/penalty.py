"""A penalty on the hidden activations: their L1 norm."""

import jax
import jax.numpy as jnp
from pydantic import Field

from superjax.problem import NonNegative, Options, Term


class HiddenL1(Term):
    """`strength` times the sum of the sizes of the hidden activations."""

    strength: jax.Array
    of_hidden = True  # needs a model with a method `hidden`

    class Options(Options):
        strength: NonNegative = Field(0.01, description="what the penalty counts beside the error")

    def values(self, model, x, y):
        return jnp.sum(jnp.abs(model.hidden(x)))[None]

    def weights(self):
        return self.strength[None]
