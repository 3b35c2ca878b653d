"""A model of two layers and what it should compute: |x|."""

import equinox as eqx
import jax
import jax.numpy as jnp


class TwoLayer(eqx.Module):
    """y' = ReLU(W2 ReLU(W1 x) + b)."""

    W1: jax.Array
    W2: jax.Array
    b: jax.Array
    dims = {"W1": ("hidden", "feature"), "W2": ("output", "hidden"), "b": ("output",)}

    def __init__(self, n_features, n_hidden, init_std, *, key):
        first, second = jax.random.split(key)
        self.W1 = init_std * jax.random.normal(first, (n_hidden, n_features))
        self.W2 = init_std * jax.random.normal(second, (n_features, n_hidden))
        self.b = jnp.zeros(n_features)

    def __call__(self, x):
        return jax.nn.relu(self.W2 @ jax.nn.relu(self.W1 @ x) + self.b)


def target(x):
    return jnp.abs(x)
