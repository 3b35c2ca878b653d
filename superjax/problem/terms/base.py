"""What a term of the loss is.

A term has `values(model, x, y)`, an array (k,) for one input and its target, and `weights()`, as many numbers; it is
the mean over inputs of their product. So several terms are one function with all values side by side. A term that
knows the mean of its values along a line segment of inputs in closed form offers `segment`.
"""

from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from superjax.problem import options


class Term(eqx.Module):
    """One term for one model. Fields are numbers of `Options`, and `importance` if it is one; its other options are
    attributes of the class."""

    Options: ClassVar[type[options.Options]] = options.Options
    error: ClassVar[bool] = False  # one value for every output, weighted by importance: how far off the output is
    has_segment: ClassVar[bool] = False  # then it has `segment`, for models that are a ReLU of an affine map or one
    symmetric: ClassVar[bool] = False  # features of equal importance may be exchanged
    of_hidden: ClassVar[bool] = False  # needs a model with `hidden`, and for `segment` one that is affine

    @abstractmethod
    def values(
        self, model: Any, x: Float[Array, " n_features"], y: Float[Array, " n_outputs"]
    ) -> Float[Array, " values"]:
        """The values of the term for one input and its target."""

    @abstractmethod
    def weights(self) -> Float[Array, " values"]:
        """What they count."""

    def segment(
        self,
        model: Any,
        start: Float[Array, " n_features"],
        end: Float[Array, " n_features"],
        y_start: Float[Array, " n_outputs"],
        y_end: Float[Array, " n_outputs"],
    ) -> Float[Array, " values"]:
        """The mean of the values along a segment of inputs on which the target is linear."""
        raise NotImplementedError


class Error(Term):
    """What the errors of outputs have in common."""

    importance: Float[Array, " n_outputs"]
    error: ClassVar[bool] = True

    def weights(self) -> Float[Array, " n_outputs"]:
        """Their importances."""
        return self.importance
