"""How the mean over inputs is taken: as a sum over rows, one file for each kind of rows."""

from superjax.problem.expectation.base import Objective
from superjax.problem.expectation.exact import Exact
from superjax.problem.expectation.quadratic import ExactQuadratic
from superjax.problem.expectation.samples import ActiveMinibatch, ActiveQuasi, FullBatch, Minibatch, Quasi

__all__ = [
    "ActiveMinibatch",
    "ActiveQuasi",
    "Exact",
    "ExactQuadratic",
    "FullBatch",
    "Minibatch",
    "Objective",
    "Quasi",
]
