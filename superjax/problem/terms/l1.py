"""The L1 norm of the hidden activations."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float
from pydantic import Field

from superjax.problem import numbers, options
from superjax.problem.terms.base import Term


class L1(Term):
    """`strength` times Σₖ |hₖ|, the hidden activations of a model that has a method `hidden` (paper, "Strategic
    Picture")."""

    strength: Float[Array, ""]
    has_segment: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True
    of_hidden: ClassVar[bool] = True

    class Options(options.Options):
        strength: numbers.NonNegative = Field(0.01, description="the factor of the term")

    def values(self, model: Any, x: Float[Array, " n_features"], y: Float[Array, " n_outputs"]) -> Float[Array, " 1"]:
        """Σₖ |hₖ| of one input."""
        return jnp.sum(jnp.abs(model.hidden(x)))[None]

    def weights(self) -> Float[Array, " 1"]:
        """The strength."""
        return self.strength[None]

    def segment(
        self,
        model: Any,
        start: Float[Array, " n_features"],
        end: Float[Array, " n_features"],
        y_start: Float[Array, " n_outputs"],
        y_end: Float[Array, " n_outputs"],
    ) -> Float[Array, " 1"]:
        """Its mean along a segment, on which hidden activations are linear: of end values p and q of one sign
        |p + q| / 2, else (p² + q²) / (2 (|p| + |q|))."""
        p, q = model.hidden(start), model.hidden(end)
        size = jnp.abs(p) + jnp.abs(q)
        crossing = (p * p + q * q) / (2 * jnp.where(size > 0, size, 1.0))
        return jnp.sum(jnp.where(p * q < 0, crossing, size / 2))[None]
