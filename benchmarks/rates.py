"""What the machine can do: the rates of matrix products alone, on the devices that superjax uses."""

import functools
import time

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

SIZE = 1024
MODELS, MODELS_OF_AN_ACCELERATOR = 16, 1024  # a device


def best_of(function, *arguments, repeats: int = 3) -> float:
    """Seconds of the fastest call after a first one."""
    jax.block_until_ready(function(*arguments))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - start)
    return min(seconds)


@functools.cache
def _square_product():
    return jax.jit(lambda a, b: jnp.matmul(a, b, precision="highest"))  # as superjax: no accelerator rounds to 10 bits


def matrix_product_gflops() -> float:
    """Rate of one float32 product of 1024 x 1024 matrices, 2 operations an entry and term."""
    a = jnp.ones((SIZE, SIZE))
    return 2 * SIZE**3 / best_of(_square_product(), a, a, repeats=10) / 1e9


@functools.cache
def _products(n_features: int, n_hidden: int, batch: int):
    """The five products of a step of a tied model and nothing else: one model after the other on every CPU device, all
    at once on an accelerator."""
    devices = jax.devices()
    mesh = jax.make_mesh((len(devices),), ("models",), axis_types=(jax.sharding.AxisType.Auto,))
    models, steps = PartitionSpec("models"), 20
    on_cpu = jax.default_backend() == "cpu"
    each = lax.map if on_cpu else lambda function, W: jax.vmap(function)(W)

    def one_model(W, x):
        with jax.default_matmul_precision("highest"):
            hidden = W @ x
            output = W.T @ hidden
            return (W @ output) @ x.T + hidden @ output.T

    def loop(W, x):
        return lax.fori_loop(0, steps, lambda _, W: W - 1e-9 * each(lambda w: one_model(w, x), W), W)

    sharded = jax.shard_map(loop, mesh=mesh, in_specs=(models, PartitionSpec()), out_specs=models, check_vma=False)
    count = (MODELS if on_cpu else MODELS_OF_AN_ACCELERATOR) * len(devices)
    W = 0.01 * jax.random.normal(jax.random.key(0), (count, n_hidden, n_features))
    return jax.jit(sharded), W, jax.random.uniform(jax.random.key(1), (n_features, batch)), count * steps


def products_alone_ns(n_features: int, n_hidden: int, batch: int) -> float:
    """Nanoseconds a model-sample of the matrix products of a training step alone."""
    function, W, x, model_steps = _products(n_features, n_hidden, batch)
    return 1e9 * best_of(function, W, x) / (model_steps * batch)
