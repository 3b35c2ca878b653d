"""Activation functions by name."""

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp

Activation = Literal["relu", "gelu", "silu", "softplus", "leaky_relu", "abs", "identity", "tanh"]

FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "leaky_relu": jax.nn.leaky_relu,
    "abs": jnp.abs,
    "identity": lambda z: z,
    "tanh": jnp.tanh,
}
assert FUNCTIONS.keys() == set(get_args(Activation))
RECTIFIED = {"relu": True, "identity": False}
"""Of an affine map, these have closed means along a segment: whether they are a ReLU."""
