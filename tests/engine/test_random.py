"""The generator gives the bits of JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from superjax.engine.random import root_key

USES = {
    "uniform": lambda key: jax.random.uniform(key, (3, 5)),
    "normal": lambda key: jax.random.normal(key, (7,)),
    "permutation": lambda key: jax.random.permutation(key, 10),
    "bytes": lambda key: jax.random.bits(key, (5,), jnp.uint8),
    "split": lambda key: jax.random.key_data(jax.random.split(key, (2, 3))),
    "fold in": lambda key: jax.random.key_data(jax.random.fold_in(key, 2**31 + 7)),
    "vectorised": lambda key: jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i), (3,)))(jnp.arange(4)),
}


@pytest.mark.parametrize("seed", [0, 1, 2**31 + 5])
@pytest.mark.parametrize("name", USES)
def test_equals_jax(name, seed):
    own, jax_key = root_key(seed), jax.random.key(seed, impl="threefry2x32")
    np.testing.assert_array_equal(USES[name](own), USES[name](jax_key))
