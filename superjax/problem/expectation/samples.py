"""The mean over samples: fresh ones, a fixed quasi-random sample, or all of a finite set."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key

from superjax.problem.problem import Laws


@dataclass(frozen=True)
class Minibatch:
    """Fresh samples at every step, as in the paper; one draw serves all models of a stream."""

    n_uniforms: int
    size: int
    fixed: ClassVar[bool] = False
    weighted: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return "minibatch"

    @property
    def n_rows(self) -> int:
        return self.size

    @property
    def row_weight(self) -> float:
        return 1 / self.size

    def draw(self, key: Key[Array, ""]) -> Float[Array, "n_uniforms size"]:
        return jax.random.uniform(key, (self.n_uniforms, self.size))

    def rows(self, laws: Laws, draw: Float[Array, "n_uniforms size"]) -> Float[Array, "n_uniforms size"]:
        return draw

    def row_values(self, model, laws: Laws, row: Float[Array, " n_uniforms"]) -> Float[Array, " values"]:
        return laws.values(model, laws.data.sample(row))

    def targets(self, laws: Laws, row: Float[Array, " n_uniforms"]) -> Float[Array, "2 n_outputs"]:
        y = laws.target(laws.data.sample(row))
        return jnp.stack([y, y * y])


@dataclass(frozen=True)
class ActiveMinibatch(Minibatch):
    """Minibatches without samples whose features are all 0: their part of the loss is added in closed form.

    L = P(some active) E[loss | some active] + P(none) loss(0). As unbiased as a minibatch, with a fraction of the
    variance where most samples would be empty.
    """

    def draw(self, key: Key[Array, ""]) -> Float[Array, "uniforms size"]:
        return jax.random.uniform(key, (self.n_uniforms + 1, self.size))

    def row_values(self, model, laws: Laws, row: Float[Array, " uniforms"]) -> Float[Array, " values"]:
        return active_values(model, laws, row)

    def targets(self, laws: Laws, row: Float[Array, " uniforms"]) -> Float[Array, "2 n_outputs"]:
        return active_targets(laws, row)


def active_values(model, laws: Laws, row: Float[Array, " uniforms"]) -> Float[Array, " values"]:
    """Values of one input of which some feature is active, and in their share those of the input 0."""
    x, active = laws.data.sample_active(row), laws.data.some_active()
    return active * laws.values(model, x) + (1 - active) * laws.values(model, laws.data.empty(x))


def active_targets(laws: Laws, row: Float[Array, " uniforms"]) -> Float[Array, "2 n_outputs"]:
    """The same of targets and their squares."""
    x, active = laws.data.sample_active(row), laws.data.some_active()
    y, none = laws.target(x), laws.target(laws.data.empty(x))
    return active * jnp.stack([y, y * y]) + (1 - active) * jnp.stack([none, none * none])


@dataclass(frozen=True)
class Quasi(Minibatch):
    """A fixed scrambled Sobol sample, the same for every model and step; `seed` gives another one.

    Sobol's points are known in 21 201 dimensions: beyond, the sample is as fixed, of independent numbers.
    """

    seed: int = 0
    fixed: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "quasi" if self.points.shape[0] <= _sobol_dimensions() else "sample"

    def draw(self, key: Key[Array, ""]) -> Float[Array, "n_uniforms size"]:
        return jnp.asarray(self.points)

    @cached_property
    def points(self) -> Float[np.ndarray, "n_uniforms size"]:
        return _sobol(self.n_uniforms, self.size, self.seed)


@dataclass(frozen=True)
class ActiveQuasi(Quasi):
    """A fixed scrambled Sobol sample of the inputs that are not all 0, as `ActiveMinibatch`: where data are sparse it
    has the more of what a model can be wrong about."""

    @cached_property
    def points(self) -> Float[np.ndarray, "uniforms size"]:
        return _sobol(self.n_uniforms + 1, self.size, self.seed)

    def row_values(self, model, laws: Laws, row: Float[Array, " uniforms"]) -> Float[Array, " values"]:
        return active_values(model, laws, row)

    def targets(self, laws: Laws, row: Float[Array, " uniforms"]) -> Float[Array, "2 n_outputs"]:
        return active_targets(laws, row)


@dataclass(frozen=True)
class FullBatch(Minibatch):
    """The same `size` inputs at every step, drawn once from `seed` with the densities of the model. They are made
    before a step, not in it: what makes them may be as large as a model."""

    seed: tuple[int, ...] = (0,)
    fixed: ClassVar[bool] = True
    weighted: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "exact"

    @cached_property
    def points(self) -> Float[np.ndarray, "n_uniforms size"]:
        return _below_one(np.random.default_rng([2**20, *self.seed]).random((self.n_uniforms, self.size)))

    def draw(self, key: Key[Array, ""]) -> Float[Array, "n_uniforms size"]:
        return jnp.asarray(self.points)

    def rows(self, laws: Laws, draw: Float[Array, "n_uniforms size"]) -> Float[Array, "n_features size"]:
        # The barrier keeps XLA from making every input anew wherever an entry of it is used.
        return lax.optimization_barrier(jax.vmap(laws.data.sample, -1, -1)(draw))

    def row_values(self, model, laws: Laws, row: Float[Array, " n_features"]) -> Float[Array, " values"]:
        return laws.values(model, row)

    def targets(self, laws: Laws, row: Float[Array, " n_features"]) -> Float[Array, "2 n_outputs"]:
        y = laws.target(row)
        return jnp.stack([y, y * y])


def _sobol(dimensions: int, size: int, seed: int) -> Float[np.ndarray, "dimensions size"]:
    """Scrambled Sobol points, or as fixed independent ones beyond the dimensions for which Sobol's are known."""
    from scipy.stats import qmc

    rng = np.random.default_rng(seed)
    known = dimensions <= _sobol_dimensions()
    points = qmc.Sobol(dimensions, rng=rng).random(size) if known else rng.random((size, dimensions))
    return _below_one(points.T)


def _below_one(points: np.ndarray) -> Float[np.ndarray, "dimensions size"]:
    return np.minimum(points.astype(np.float32), np.float32(1 - 2**-24))


def _sobol_dimensions() -> int:
    from scipy.stats import qmc

    return qmc.Sobol.MAXDIM
