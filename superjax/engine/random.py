"""JAX's own Threefry generator, the same bits, written so that XLA compiles and runs it several times faster on CPU.

JAX writes its rounds as a loop there, and every round goes through memory. Written out, XLA fuses them with whatever
uses the numbers into one vectorised loop. Keys made by `root_key` serve all of `jax.random`.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.random import define_prng_impl
from jaxtyping import Array, Key, UInt, UInt32

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def root_key(seed: int) -> Key[Array, ""]:
    """The key of a seed; `jax.random` makes of it what it would of `jax.random.key(seed)`."""
    return jax.random.key(seed, impl=_THREEFRY)


def _threefry(key: UInt32[Array, "2"], x: UInt32[Array, "*n"], y: UInt32[Array, "*n"]):
    """Threefry-2x32, 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3")."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    x, y = x + keys[0], y + keys[1]
    for i in range(5):
        for rotation in _ROTATIONS[i % 2]:
            x = x + y
            y = x ^ (y << np.uint32(rotation) | lax.shift_right_logical(y, np.uint32(32 - rotation)))
        x, y = x + keys[(i + 1) % 3], y + keys[(i + 2) % 3] + np.uint32(i + 1)
    return x, y


def _seed(seed) -> UInt32[Array, "2"]:
    high = lax.shift_right_logical(seed, 32) if seed.dtype.itemsize == 8 else jnp.zeros_like(seed)
    return jnp.stack([high, seed]).astype(jnp.uint32)


def _fold_in(key: UInt32[Array, "2"], data: UInt32[Array, ""]) -> UInt32[Array, "2"]:
    return jnp.stack(_threefry(key, *_seed(data)))


def _pairs(key: UInt32[Array, "2"], shape: tuple[int, ...]):
    """Two words for every entry, from its place in the array."""
    count = lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    return _threefry(key, jnp.zeros_like(count), count)


def _split(key: UInt32[Array, "2"], shape: tuple[int, ...]) -> UInt32[Array, "*shape 2"]:
    return jnp.stack(_pairs(key, shape), axis=-1)


def _random_bits(key: UInt32[Array, "2"], bit_width: int, shape: tuple[int, ...]) -> UInt[Array, "*shape"]:
    x, y = _pairs(key, shape)
    if bit_width == 64:
        return x.astype(jnp.uint64) << 32 | y.astype(jnp.uint64)
    return (x ^ y).astype(jnp.dtype(f"uint{bit_width}"))


_THREEFRY = define_prng_impl(
    key_shape=(2,),
    seed=_seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="threefry2x32_unrolled",
    tag="u",
)
