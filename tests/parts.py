"""Problems for tests: the paper's, from the numbers and classes of its parts."""

from typing import Any

import jax.numpy as jnp

from superjax.engine.train import Cell
from superjax.problem.data import Distribution, Independent, Sets
from superjax.problem.members import bound
from superjax.problem.problem import Laws, Problem
from superjax.problem.targets import Identity
from superjax.problem.terms import Squared


def paper_laws(data: Distribution, importance: Any) -> Laws:
    """The squared error weighted by importance, of an autoencoder."""
    return Laws(data, Identity(), (Squared(importance),))


def paper_cell(density: Any, importance: Any) -> Cell:
    """The same of independent features, and no number of an optimiser."""
    return Cell(paper_laws(Independent(density), importance), {})


def paper_problem(model: type, n_features: int, n_hidden: int) -> Problem:
    """The static side of it, with a class of models."""
    return Problem(model, Independent, Identity, (Squared,), ("squared",), n_features, n_hidden, n_features)


def sets_of(size: int, n_features: int) -> type[Distribution]:
    """Features in sets of a size."""
    return bound(Sets, n_features, (("set_size", size),))


def uniform(data: Distribution) -> Laws:
    """Equal importances."""
    return paper_laws(data, jnp.ones_like(data.density))
