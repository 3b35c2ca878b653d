"""The expected loss itself: every set of active features is enumerated."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from superjax.errors import SweepError
from superjax.problem.data import Distribution, Independent
from superjax.problem.data.base import MANY, Nodes, Segments
from superjax.problem.problem import Laws

MAX_ROWS = 8192
MAX_NODES = 1024  # a feature, beyond which finding them takes long
# Quadrature nodes a feature by n, so that the rows just fill vector registers.
_NODES = {1: 1, 2: 13, 3: 4, 4: 5, 5: 4, 6: 3}
_PRODUCT_NODES = {1: 31, 2: 13, 3: 7, 4: 4, 5: 3}  # of models that are no ReLU of an affine map


def default_nodes(n_features: int, closed: bool) -> int:
    """Quadrature nodes a feature where nobody says how many."""
    return (_NODES if closed else _PRODUCT_NODES).get(n_features, 2)


class SegmentRow(NamedTuple):
    """One segment of input space (a point where start = end) and its weight for one model."""

    start: Float[Array, " n_features"]
    end: Float[Array, " n_features"]
    weight: Float[Array, ""]


@dataclass(frozen=True)
class Exact:
    """The expected loss itself: every active set enumerated, the last active feature integrated in closed form.

    Each other active feature gets `nodes` Gauss-Legendre points (by default few, chosen by n). A problem without closed
    means along segments gets plain product nodes (`closed` false). Raises SweepError beyond `max_rows` rows.
    """

    n_features: int
    nodes: Nodes | None = None
    closed: bool = True
    distribution: type[Distribution] = Independent
    max_rows: int = MAX_ROWS
    fixed: ClassVar[bool] = True
    weighted: ClassVar[bool] = True

    def __post_init__(self):
        nodes = self.nodes or self._affordable(default_nodes(self.n_features, self.closed))
        object.__setattr__(self, "nodes", nodes)
        most = max(nodes) if isinstance(nodes, tuple) else nodes
        count = self.distribution.n_rows(self.n_features, nodes, self.closed)
        if count > self.max_rows or most > MAX_NODES:
            rows = f"{count:,}" if count < MANY else "more than 10^18"
            fits = self.distribution.n_rows(self.n_features, 1, self.closed) <= self.max_rows
            fewer = ", or fewer train.nodes" if fits else ""
            raise SweepError(
                f'train.objective = "exact" needs {rows} quadrature rows at n_features = {self.n_features}, at most '
                f"{self.max_rows} are allowed, and at most {MAX_NODES} nodes a feature; "
                f'use train.objective = "quasi" or "minibatch"{fewer}'
            )

    def _affordable(self, nodes: int) -> int:
        """So many nodes, or as many as there are rows for, 2 at least."""
        while nodes > 2 and self.distribution.n_rows(self.n_features, nodes, self.closed) > self.max_rows:
            nodes -= 1
        return nodes

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

    def rows(self, laws: Laws, draw: None) -> SegmentRow:
        """The table of rows; only the weights depend on the model's own numbers."""
        start, end, active, weight = (_pad(x, self.n_rows) for x in self.table)
        probability = laws.data.probability(active)
        start, end, weight = (jnp.asarray(x.T, probability.dtype) for x in (start, end, weight))
        return SegmentRow(start, end, weight * probability)

    def row_values(self, model, laws: Laws, row: SegmentRow) -> Float[Array, " values"]:
        values = laws.segment(model, row.start, row.end) if self.closed else laws.values(model, row.start)
        return row.weight * values

    def targets(self, laws: Laws, row: SegmentRow) -> Float[Array, "2 n_outputs"]:
        p, q = laws.target(row.start), laws.target(row.end if self.closed else row.start)
        return row.weight * jnp.stack([(p + q) / 2, (p * p + p * q + q * q) / 3])


def _pad(x: np.ndarray, n_rows: int) -> np.ndarray:
    return np.concatenate([x, np.zeros((n_rows - len(x), *x.shape[1:]), x.dtype)])
