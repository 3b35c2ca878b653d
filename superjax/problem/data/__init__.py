"""The distributions of inputs, one file each."""

from superjax.problem.data.base import Distribution
from superjax.problem.data.finite import Finite
from superjax.problem.data.independent import Independent
from superjax.problem.data.one_sparse import OneSparse
from superjax.problem.data.sets import Sets
from superjax.problem.data.signed import Signed

DISTRIBUTIONS: dict[str, type[Distribution]] = {
    "independent": Independent,
    "sets": Sets,
    "signed": Signed,
    "one_sparse": OneSparse,
    "finite": Finite,
}

__all__ = ["DISTRIBUTIONS", "Distribution", "Finite", "Independent", "OneSparse", "Sets", "Signed"]
