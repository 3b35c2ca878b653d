"""A sparse autoencoder: a dictionary of directions that a few at a time make up an activation."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from superjax.problem.models.base import ToyModel


class Dictionary(ToyModel):
    """f = ReLU(W_e (h - c) + b), h' = W_d f + c, the columns of W_d scaled to norm 1 (Bricken et al. 2023, "Towards
    Monosemanticity"; Cunningham et al. 2023, arXiv:2309.08600). With `top_k` > 0 the largest so many latents of f alone
    stay (Gao et al. 2024, arXiv:2406.04093). `fixed` directions, the columns of W_d, are not trained.

    Its input is an activation of `n_features` entries; `n_hidden` is its width. The decoder starts with random
    directions, the encoder as its transpose, biases at 0.
    """

    encoder: Float[Array, "n_hidden n_features"]
    encoder_bias: Float[Array, " n_hidden"]
    decoder: Float[Array, "n_features n_hidden"]
    decoder_bias: Float[Array, " n_features"]

    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "encoder": ("latent", "hidden"),
        "encoder_bias": ("latent",),
        "decoder": ("hidden", "latent"),
        "decoder_bias": ("hidden",),
    }
    top_k: ClassVar[int] = 0
    fixed: ClassVar[bool] = False

    def __init__(self, n_features: int, n_hidden: int, init_std: float | Float[Array, ""], *, key: Key[Array, ""]):
        directions = units(jax.random.normal(key, (n_features, n_hidden)))
        self.encoder, self.decoder = directions.T, directions
        self.encoder_bias, self.decoder_bias = jnp.zeros(n_hidden), jnp.zeros(n_features)

    def hidden(self, x: Float[Array, " n_features"]) -> Float[Array, " n_hidden"]:
        """The latents f of an activation."""
        latents = jax.nn.relu(self.encoder @ (x - self.decoder_bias) + self.encoder_bias)
        if not self.top_k:
            return latents
        least = jax.lax.top_k(jax.lax.stop_gradient(latents), self.top_k)[0][-1]
        return jnp.where(latents >= least, latents, 0.0)

    def directions(self) -> Float[Array, "n_features n_hidden"]:
        """The columns of the decoder at norm 1."""
        return units(jax.lax.stop_gradient(self.decoder) if self.fixed else self.decoder)

    def __call__(self, x: Float[Array, " n_features"]) -> Float[Array, " n_features"]:
        return self.directions() @ self.hidden(x) + self.decoder_bias


def units(columns: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
    """The columns at norm 1."""
    return columns / jnp.sqrt(jnp.maximum(jnp.sum(columns * columns, axis=0, keepdims=True), 1e-12))
