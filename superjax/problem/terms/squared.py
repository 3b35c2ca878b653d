"""The paper's loss: the squared error of every output, weighted by importance."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from superjax.problem.terms.base import Error


class Squared(Error):
    """Σᵢ Iᵢ (yᵢ - y'ᵢ)² (paper, "Demonstrating Superposition")."""

    has_segment: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True

    def values(
        self, model: Any, x: Float[Array, " n_features"], y: Float[Array, " n_outputs"]
    ) -> Float[Array, " n_outputs"]:
        """(yᵢ - y'ᵢ)² of one input for every output i, for any model."""
        return jnp.square(model(x) - y)

    def segment(
        self,
        model: Any,
        start: Float[Array, " n_features"],
        end: Float[Array, " n_features"],
        y_start: Float[Array, " n_outputs"],
        y_end: Float[Array, " n_outputs"],
    ) -> Float[Array, " n_outputs"]:
        """Mean of (yᵢ - y'ᵢ)² along a segment for every output i, exact for a ReLU of an affine map.

        The pre-activation z and the target y are linear along the segment, so on the part where z > 0 the residual is
        linear, on the rest it is y itself, and the mean of a squared linear function with end values p and q is
        (p² + pq + q²) / 3. No kink is straddled and no near-equal numbers are subtracted. The place of the kink enters
        as a constant: the integrand is continuous there, so moving it changes nothing to first order.
        """
        z_start, z_end = model.preactivation(start), model.preactivation(end)
        miss_start, miss_end = y_start - z_start, y_end - z_end
        if not model.rectified:
            return _mean_square(miss_start, miss_end)
        z0, z1 = lax.stop_gradient((z_start, z_end))
        positive = jnp.maximum(z0, 0.0) + jnp.maximum(z1, 0.0)
        share = positive / jnp.maximum(jnp.abs(z0) + jnp.abs(z1), 1e-30)  # of the segment where z > 0
        on, off = jnp.where(z0 > 0, 0.0, 1.0 - share), jnp.where(z1 > 0, 1.0, share)
        silent_on, silent_off = jnp.where(z0 > 0, off, 0.0), jnp.where(z0 > 0, 1.0, on)

        def along(a, b, t):
            return a + t * (b - a)

        active = _mean_square(along(miss_start, miss_end, on), along(miss_start, miss_end, off))
        silent = _mean_square(along(y_start, y_end, silent_on), along(y_start, y_end, silent_off))
        return share * active + (1.0 - share) * silent


def _mean_square(p, q):
    return (p * p + p * q + q * q) * (1 / 3)
