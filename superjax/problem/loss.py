"""The importance-weighted squared error L = E[Σᵢ Iᵢ (xᵢ - x'ᵢ)²] and three ways to take its expectation.

Each objective is a sum over *rows*: quadrature segments with weights (`Exact`), a fixed quasi-random sample (`Quasi`)
or fresh samples (`Minibatch`). `draw(key)` makes what all models of a step share, `rows(data, draw)` the table of
rows of one model, `row_losses` the contribution of one row to every feature's squared error. The trainer needs no more.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key

from superjax.problem.data import MANY, Distribution, Independent, Nodes, Segments, family
from superjax.problem.proof import closed, closed_form
from superjax.spec import Case, SweepError

MAX_ROWS = 8192
MAX_NODES = 1024  # a feature, beyond which finding them takes long
# Quadrature nodes a feature by n, so that the rows just fill vector registers. Training straddles the kink of a ReLU
# with few product nodes, fewer the more features are active, which costs a fraction of the closed innermost integral,
# and takes that for the last steps: the phases of 99% (n = 2) and 96% (n = 3 and 4) of models are those of many nodes.
# The optimum is searched with the same closed form and finished with more nodes.
_TRAINING_NODES = {1: 15, 2: (7, 4), 3: (6, 4, 3), 4: (6, 4, 3, 2), 5: (4, 2)}
_TRAINING_NODES_ABOVE = (6, 2)
_LAST = 5  # one in so many steps, the last ones
_NODES = {1: 1, 2: 13, 3: 4, 4: 5, 5: 4, 6: 3}
_FINER_NODES = {1: 1, 2: 13, 3: 9, 4: 7, 5: 5, 6: 4}
# The same for models that are no ReLU of an affine map, in product nodes throughout.
_PRODUCT_NODES = {1: 31, 2: 13, 3: 7, 4: 4, 5: 3}
_FINER_PRODUCT_NODES = {1: 63, 2: 24, 3: 11, 4: 6, 5: 4, 6: 3}
_EVALUATION_NODES, _EVALUATION_MAX_ROWS = 45, 2**15
_EVALUATION_SAMPLES, _EVALUATION_NUMBERS = 2**17, 2**24  # so many samples, fewer where features are many
_EVALUATION_ROWS, _EVALUATION_ROWS_ABOVE = {1: 1200, 2: 1200, 3: 1200}, 2**13  # few rows do for few features


def _default_nodes(n_features: int, closed: bool) -> int:
    return (_NODES if closed else _PRODUCT_NODES).get(n_features, 2)


@runtime_checkable
class Objective(Protocol):
    """What the trainer needs of an objective; `name` says in a dataset how a loss was found.

    `fixed` ones have the same rows at every step; `weighted` ones weigh them for every model apart.
    """

    fixed: ClassVar[bool]
    weighted: ClassVar[bool]

    @property
    def name(self) -> str: ...
    @property
    def n_rows(self) -> int: ...
    @property
    def row_weight(self) -> float: ...
    def draw(self, key: Key[Array, ""]) -> Any: ...
    def rows(self, data: Any, draw: Any) -> Any: ...
    def row_losses(self, model: Any, data: Any, row: Any) -> Float[Array, " n_features"]: ...


class Stage(NamedTuple):
    """A part of training: what is minimised, and the step at which it ends."""

    objective: Objective
    end: int


class SegmentRow(NamedTuple):
    """One segment of input space (a point where start = end) and its weight for one model."""

    start: Float[Array, " n_features"]
    end: Float[Array, " n_features"]
    weight: Float[Array, ""]


def quadratic(case: Case, model: type[eqx.Module]) -> bool:
    """Whether the squared error is quadratic in the input, and features are independent."""
    found = closed(model, case.n_features, case.n_hidden)
    return found.holds and not found.rectified and family(case.data).independent


def segment_losses(
    model, start: Float[Array, " n_features"], end: Float[Array, " n_features"]
) -> Float[Array, " n_features"]:
    """Mean of (xᵢ - x'ᵢ)² along a segment for every feature i, exact for a ReLU of an affine map.

    The pre-activation z and the target x are linear along the segment, so on the part where z > 0 the residual is
    linear, on the rest it is x itself, and the mean of a squared linear function with end values p and q is
    (p² + pq + q²) / 3. No kink is straddled and no near-equal numbers are subtracted. The place of the kink enters
    as a constant: the integrand is continuous there, so moving it changes nothing to first order.
    """
    z_start, z_end = model.preactivation(start), model.preactivation(end)
    miss_start, miss_end = start - z_start, end - z_end
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
    silent = _mean_square(along(start, end, silent_on), along(start, end, silent_off))
    return share * active + (1.0 - share) * silent


def _mean_square(p, q):
    return (p * p + p * q + q * q) * (1 / 3)


def sample_losses(model, x: Float[Array, " n_features"]) -> Float[Array, " n_features"]:
    """(xᵢ - x'ᵢ)² of one input for every feature i, for any model."""
    return jnp.square(model(x) - x)


@dataclass(frozen=True)
class Exact:
    """The expected loss itself: every active set enumerated, the last active feature integrated in closed form.

    Each other active feature gets `nodes` Gauss-Legendre points (by default few, chosen by n). A model that is no
    ReLU of an affine map gets plain product nodes (`closed` false). Raises SweepError beyond `max_rows` rows.
    """

    n_features: int
    nodes: Nodes | None = None
    closed: bool = True
    distribution: type[Distribution] = Independent
    max_rows: int = MAX_ROWS
    fixed: ClassVar[bool] = True
    weighted: ClassVar[bool] = True

    def __post_init__(self):
        nodes = self.nodes or _default_nodes(self.n_features, self.closed)
        object.__setattr__(self, "nodes", nodes)
        most = max(nodes) if isinstance(nodes, tuple) else nodes
        count = self.distribution.n_rows(self.n_features, nodes, self.closed)
        if count > self.max_rows or most > MAX_NODES:
            rows = f"{count:,}" if count < MANY else "more than 10^18"
            raise SweepError(
                f'train.objective = "exact" needs {rows} quadrature rows at n_features = {self.n_features}, at most '
                f"{self.max_rows} are allowed, of {MAX_NODES} nodes a feature; "
                'use train.objective = "quasi" or "minibatch", or fewer train.nodes'
            )

    @property
    def name(self) -> str:
        return "exact"

    @cached_property
    def table(self) -> Segments:
        return self.distribution.segments(self.n_features, self.nodes, self.closed)

    @property
    def n_rows(self) -> int:
        """Rows, padded with rows of weight 0 to whole vector registers."""
        return -(-len(self.table.weight) // 16) * 16

    @property
    def row_weight(self) -> float:
        return 1.0

    def draw(self, key: Key[Array, ""]) -> None:
        return None

    def rows(self, data: Distribution, draw: None) -> SegmentRow:
        """The table of rows; only the weights depend on the model's own numbers."""
        start, end, active, weight = (_pad(x, self.n_rows) for x in self.table)
        probability = data.probability(active)
        start, end, weight = (jnp.asarray(x.T, probability.dtype) for x in (start, end, weight))
        return SegmentRow(start, end, weight * probability)

    def row_losses(self, model, data: Distribution, row: SegmentRow) -> Float[Array, " n_features"]:
        losses = segment_losses(model, row.start, row.end) if self.closed else sample_losses(model, row.start)
        return row.weight * losses


@dataclass(frozen=True)
class ExactQuadratic:
    """The expected loss of an affine model itself, for any number of independent features.

    The squared error is quadratic in the input there, so it only sees means and variances, and the 2n points
    μ ± √n σ_i e_i of equal weight have those of the features.
    """

    n_features: int
    fixed: ClassVar[bool] = True
    weighted: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return "exact"

    @property
    def n_rows(self) -> int:
        return 2 * self.n_features

    @property
    def row_weight(self) -> float:
        return 1 / self.n_rows

    def draw(self, key: Key[Array, ""]) -> None:
        return None

    def rows(self, data: Distribution, draw: None) -> Float[Array, "n_features rows"]:
        away = jnp.diag(jnp.sqrt(self.n_features * data.variance()))
        return data.mean()[:, None] + jnp.concatenate([away, -away], axis=1)

    def row_losses(self, model, data: Distribution, row: Float[Array, " n_features"]) -> Float[Array, " n_features"]:
        return sample_losses(model, row)


def _pad(x: np.ndarray, n_rows: int) -> np.ndarray:
    return np.concatenate([x, np.zeros((n_rows - len(x), *x.shape[1:]), x.dtype)])


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

    def rows(self, data: Distribution, draw: Float[Array, "n_uniforms size"]) -> Float[Array, "n_uniforms size"]:
        return draw

    def row_losses(self, model, data: Distribution, row: Float[Array, " n_uniforms"]) -> Float[Array, " n_features"]:
        return sample_losses(model, data.sample(row))


@dataclass(frozen=True)
class ActiveMinibatch(Minibatch):
    """Minibatches without samples whose features are all 0: their part of the loss is added in closed form.

    L = P(some active) E[loss | some active] + P(none) loss(0). As unbiased as a minibatch, with a fraction of the
    variance where most samples would be empty.
    """

    def draw(self, key: Key[Array, ""]) -> Float[Array, "uniforms size"]:
        return jax.random.uniform(key, (self.n_uniforms + 1, self.size))

    def row_losses(self, model, data: Distribution, row: Float[Array, " uniforms"]) -> Float[Array, " n_features"]:
        return active_losses(model, data, row)


def active_losses(model, data: Distribution, row: Float[Array, " uniforms"]) -> Float[Array, " n_features"]:
    """Losses of one input of which some feature is active, and in their share those of the input 0."""
    x, active = data.sample_active(row), jnp.sum(data.first_active())
    return active * sample_losses(model, x) + (1 - active) * sample_losses(model, jnp.zeros_like(x))


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

    def row_losses(self, model, data: Distribution, row: Float[Array, " uniforms"]) -> Float[Array, " n_features"]:
        return active_losses(model, data, row)


def _sobol(dimensions: int, size: int, seed: int) -> Float[np.ndarray, "dimensions size"]:
    """Scrambled Sobol points, or as fixed independent ones beyond the dimensions for which Sobol's are known."""
    from scipy.stats import qmc

    rng = np.random.default_rng(seed)
    known = dimensions <= _sobol_dimensions()
    points = qmc.Sobol(dimensions, rng=rng).random(size) if known else rng.random((size, dimensions))
    return np.minimum(points.T.astype(np.float32), np.float32(1 - 2**-24))


def _sobol_dimensions() -> int:
    from scipy.stats import qmc

    return qmc.Sobol.MAXDIM


def training_stages(case: Case, model: type[eqx.Module]) -> list[Stage]:
    """The objective that a sweep file names, and another for the last steps if that pays.

    The exact loss is a few product nodes a feature at first. They straddle the kink of a ReLU, which moves minima by
    a fraction of a percent of the loss; the last steps take the closed innermost integral, or more product nodes where
    the model has none.
    """
    n, train, distribution = case.n_features, case.train, family(case.data)
    if train.objective == "exact" and quadratic(case, model):
        return [Stage(ExactQuadratic(n), train.steps)]
    if train.objective == "exact":
        nodes = train.nodes or _TRAINING_NODES.get(n, _TRAINING_NODES_ABOVE)
        search = Exact(n, nodes, False, distribution)
        last = Exact(n, train.nodes, closed_form(model, n, case.n_hidden), distribution)
        return [Stage(search, train.steps - train.steps // _LAST), Stage(last, train.steps)]
    uniforms = distribution.n_uniforms(n)
    if train.objective == "quasi":
        return [Stage(Quasi(uniforms, train.batch, case.seed), train.steps)]
    kind = ActiveMinibatch if train.skip_empty else Minibatch
    return [Stage(kind(uniforms, train.batch), train.steps)]


def optimum_objectives(case: Case, model: type[eqx.Module]) -> tuple[Objective, Objective]:
    """The exact objective, whatever the case is trained with: one to search with, a finer one to finish with."""
    n, closed, distribution = case.n_features, closed_form(model, case.n_features, case.n_hidden), family(case.data)
    if quadratic(case, model):
        return ExactQuadratic(n), ExactQuadratic(n)
    try:
        search = Exact(n, None, closed, distribution)
    except SweepError:
        wish = "optimum = true needs" if case.optimum else "families need"
        raise SweepError(
            f"{wish} the exact loss, which n_features = {n} makes too large to enumerate; leave it out "
            "or take fewer features"
        ) from None
    finer = (_FINER_NODES if closed else _FINER_PRODUCT_NODES).get(n, 2)
    affordable = distribution.n_rows(n, finer, closed) <= MAX_ROWS
    return search, Exact(n, finer, closed, distribution) if affordable else search


def evaluation_objectives(case: Case, model: type[eqx.Module]) -> tuple[Objective, Objective]:
    """A fine objective for the stored loss, and a second one: their difference says how large its error is.

    The exact loss at more nodes than any training uses where enumeration is affordable, else a large fixed sample
    (its seeds are out of reach of a sweep's own, so that no model is scored on what it was trained on).
    """
    n, closed, distribution = case.n_features, closed_form(model, case.n_features, case.n_hidden), family(case.data)
    if quadratic(case, model):
        return ExactQuadratic(n), ExactQuadratic(n)
    choices = range(1, _EVALUATION_NODES + 1)
    rows = _EVALUATION_ROWS.get(n, _EVALUATION_ROWS_ABOVE)
    affordable = [k for k in choices if distribution.n_rows(n, k, closed) <= rows]
    nodes = min(max([*affordable, (case.train.nodes or _default_nodes(n, closed)) + 1]), MAX_NODES)
    uniforms = distribution.n_uniforms(n)
    kind = ActiveQuasi if distribution.independent else Quasi
    if distribution.n_rows(n, nodes, closed) <= _EVALUATION_MAX_ROWS:
        fine = Exact(n, nodes, closed, distribution, _EVALUATION_MAX_ROWS)
        if closed:
            second = max(2 * nodes // 3, 1)
        else:  # product nodes converge so slowly that fewer of them would be wrong by many times as much
            choices = range(nodes + 1, min(3 * nodes, MAX_NODES) + 1)
            second = max(
                (k for k in choices if distribution.n_rows(n, k, closed) <= _EVALUATION_MAX_ROWS), default=nodes
            )
            if 2 * second < 3 * nodes:
                return fine, kind(uniforms, _EVALUATION_MAX_ROWS, 2**32 + 2)
        return fine, Exact(n, second, closed, distribution, _EVALUATION_MAX_ROWS)
    size = min(_EVALUATION_SAMPLES, 2 ** max(int(math.log2(_EVALUATION_NUMBERS / n)), 4))
    return kind(uniforms, size, 2**32 + 1), kind(uniforms, size // 2, 2**32 + 2)
