"""The paper's loss: the squared error of every output, weighted by importance."""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
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

        The pre-activation and the target are linear along the segment, so the residual is linear on either side of the
        kink. The derivative is that by the model alone: targets do not depend on it.
        """
        z_start, z_end = model.preactivation(start), model.preactivation(end)
        if not model.rectified:
            return _mean_square(y_start - z_start, y_end - z_end)
        return _rectified(z_start, z_end, y_start, y_end)


def _mean_square(p, q):
    """Mean square of what is linear along a segment, with the values p and q at its ends."""
    return (p * p + p * q + q * q) * (1 / 3)


@jax.custom_jvp
def _rectified(z_start, z_end, y_start, y_end):
    """Mean of (y - max(z, 0))² where z and y are linear. The derivative, that by z alone, is written out, as training
    takes nothing else. The residual is continuous at the kink, so that moving it changes nothing to first order."""
    return _residual(z_start, z_end, y_start, y_end).mean_square()


@_rectified.defjvp
def _(primals, tangents):
    residual, (z_start, z_end, _, _), (by_start, by_end, _, _) = _residual(*primals), primals, tangents
    near, far = residual.moments()
    rises = z_end > z_start
    start, end = jnp.where(rises, far, near), jnp.where(rises, near, far)
    return residual.mean_square(), -(start * by_start + end * by_end)


class _Residual(NamedTuple):
    """y - max(z, 0) along a segment, which is linear on either side of one place: in the part where z > 0, a `share` of
    the segment, it goes from `active` to `kink`, in the rest from there to `silent`. No kink is straddled and no
    near-equal numbers are subtracted."""

    share: Float[Array, " n_outputs"]
    active: Float[Array, " n_outputs"]
    kink: Float[Array, " n_outputs"]
    silent: Float[Array, " n_outputs"]

    def mean_square(self) -> Float[Array, " n_outputs"]:
        share, active, kink, silent = self
        return (kink * kink + share * active * (active + kink) + (1.0 - share) * silent * (silent + kink)) * (1 / 3)

    def moments(self) -> tuple[Float[Array, " n_outputs"], Float[Array, " n_outputs"]]:
        """Twice the integral over the active part, times how near a place is to the end of the segment where that part
        begins (1 there, 0 at the other end), and times how far it is from it."""
        share, active, kink, _ = self
        both, far = share * (active + kink), share * share * (active + 2.0 * kink) * (1 / 3)
        return both - far, far


def _residual(z_start, z_end, y_start, y_end) -> _Residual:
    # Comparisons: a maximum that hands NaN on, as XLA's does, takes several instructions.
    rises = z_end > z_start
    y_high, y_low = jnp.where(rises, y_end, y_start), jnp.where(rises, y_start, y_end)
    high, low = jnp.where(rises, z_end, z_start), jnp.where(rises, z_start, z_end)
    silent, positive = high <= 0, low > 0  # false of NaN, which stays
    above = jnp.where(silent, 0.0, high)
    below = jnp.where(positive, 0.0, jnp.abs(low))  # not -low, or XLA would drop low + below, which is NaN of -inf
    share = jnp.where(silent, 0.0, above / (above + below))
    y_kink = jnp.where(positive, y_low, y_high + share * (y_low - y_high))
    return _Residual(share, y_high - above, y_kink - (low + below), y_low)
