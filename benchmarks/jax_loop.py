"""The loop that a user of JAX writes for the same models: `vmap` over models, `lax.scan` over steps, one `jit`."""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float


def train(
    densities: Float[np.ndarray, "models n"],
    importances: Float[np.ndarray, "models n"],
    W: Float[np.ndarray, "models m n"],
    steps: int,
    batch: int,
    seed: int = 0,
) -> tuple[Float[np.ndarray, "models m n"], Float[np.ndarray, "models n"], float]:
    """Train from the weights W and zero biases with the notebook's AdamW, on one new minibatch a step for all models.

    Returns:
        W, b, and the seconds that the steps took, without compiling.
    """
    parameters = jnp.asarray(W), jnp.zeros(densities.shape, jnp.float32)
    laws = jnp.asarray(densities, jnp.float32), jnp.asarray(importances, jnp.float32)
    compiled = _compiled(W.shape, steps, batch)
    start = time.perf_counter()
    weights, biases = jax.block_until_ready(compiled(parameters, laws, jax.random.key(seed)))
    seconds = time.perf_counter() - start
    return np.asarray(weights), np.asarray(biases), seconds


@functools.cache
def _compiled(shape: tuple[int, int, int], steps: int, batch: int):
    models, _, n = shape
    optimizer = optax.adamw(1e-3, weight_decay=0.01)

    def loss(parameters, density, importance, uniforms):
        W, b = parameters
        x = jax.nn.relu(1 - uniforms / density)
        output = jax.nn.relu(x @ W.T @ W + b)
        return jnp.mean(importance * (x - output) ** 2)

    gradients = jax.vmap(jax.grad(loss), (0, 0, 0, None))

    def run(parameters, laws, key):
        def step(carry, key):
            parameters, state = carry
            gradient = gradients(parameters, *laws, jax.random.uniform(key, (batch, n)))
            updates, state = optimizer.update(gradient, state, parameters)
            return (optax.apply_updates(parameters, updates), state), None

        keys = jax.random.split(key, steps)
        (parameters, _), _ = jax.lax.scan(step, (parameters, optimizer.init(parameters)), keys)
        return parameters

    W, b = jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct((models, n), jnp.float32)
    return jax.jit(run).lower((W, b), (b, b), jax.random.key(0)).compile()
