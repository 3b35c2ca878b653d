"""What a distribution of inputs is: what a toy model is trained on.

A distribution is an unbatched module that holds the numbers of one model (densities, a correlation), so all of them
can be swept inside one compiled program. It offers the same law in up to two ways:

* sampled, which all do: `sample(uniforms)` maps `n_uniforms` uniform numbers to one input, so that all models share
  one draw;
* enumerated: `segments(n, nodes)` is a static table of line segments in input space, shared by all models, and
  `probability(rows)` gives each row's probability from the model's own numbers. The expectation of f is the sum over
  rows of weight times the mean of f along the segment; a segment of length zero is an ordinary node.

A user's own class inherits `Distribution`, declares its numbers as fields and in a table `Options`, and has `sample`.
"""

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from superjax.problem import options

MANY = 2**63  # counts of rows end here: more than anybody can have
Nodes = int | tuple[int, ...]
"""Quadrature nodes a feature: one number, or one for each number of active features, 1, 2, ... (the last repeats)."""


class Segments(NamedTuple):
    """Line segments from `start` to `end`, each with its set of active features and the weight of its nodes.

    `weight` sums to 1 over the rows of each active set.
    """

    start: Float[np.ndarray, "rows n_features"]
    end: Float[np.ndarray, "rows n_features"]
    active: Bool[np.ndarray, "rows n_features"]
    weight: Float[np.ndarray, " rows"]


class Distribution(eqx.Module):
    """Inputs of one model. Fields are numbers of `Options`; its other options are attributes of the class."""

    Options: ClassVar[type[options.Options]] = options.Options
    uncorrelated: ClassVar[bool] = False  # then the mean of a quadratic function follows from `moments`
    enumerable: ClassVar[bool] = False  # then it has `segments`, `n_rows` and `probability`
    skips_empty: ClassVar[bool] = False  # then it has `some_active` and `sample_active`
    most_active: ClassVar[int] = 0  # features at once; 0 is all
    points: ClassVar[int] = 0  # of a finite set of inputs; 0 is a law
    n_features: ClassVar[int]  # of the problem it is part of

    @classmethod
    def n_uniforms(cls, n_features: int) -> int:
        """How many uniform numbers make one input."""
        return n_features

    @abstractmethod
    def sample(self, uniforms: Float[Array, " uniforms"]) -> Float[Array, " n_features"]:
        """One input from uniforms on [0, 1)."""

    @staticmethod
    def segments(n_features: int, nodes: Nodes, closed: bool = True) -> Segments:
        """Every active set as line segments (`closed`) or nodes."""
        raise NotImplementedError

    @staticmethod
    def n_rows(n_features: int, nodes: Nodes, closed: bool = True) -> int:
        """Number of rows of `segments`, without making them, at most MANY."""
        raise NotImplementedError

    def probability(self, active: Bool[np.ndarray, "rows n_features"]) -> Float[Array, " rows"]:
        """Probability that exactly the given features are active."""
        raise NotImplementedError

    def some_active(self) -> Float[Array, ""]:
        """Probability that some feature is active."""
        raise NotImplementedError

    def sample_active(self, uniforms: Float[Array, " uniforms"]) -> Float[Array, " n_features"]:
        """One input given that some feature is active, from one uniform more than `sample`."""
        raise NotImplementedError

    def empty(self, like: Float[Array, " n_features"]) -> Float[Array, " n_features"]:
        """The input without an active feature, of the shape of another one."""
        return jnp.zeros_like(like)

    def activity(self) -> Float[Array, ""]:
        """Mean probability of a feature to be active: what the loss is divided by with train.normalize = "density"."""
        return jnp.ones(())

    def moments(self) -> tuple[Float[Array, " n_features"], Float[Array, " n_features"]] | None:
        """Mean and variance of every feature, None where they are not known in closed form."""
        return None

    def exchangeable(self, n_features: int) -> tuple[Float[Array, " n_features"], int]:
        """A number of every feature, and a size k: features of equal numbers may be exchanged within their set of k
        consecutive ones, and whole sets with each other."""
        return jnp.arange(n_features, dtype=jnp.float32), 1
