"""The hidden activations of a trained model, as a distribution of inputs."""

import functools
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from superjax.problem.data.base import Distribution
from superjax.problem.problem import Problem


class Activations(Distribution):
    """h = hidden(x) of a trained model, x as the model was trained on."""

    model: eqx.Module
    source: Distribution
    problem: ClassVar[Problem]  # of the model

    @classmethod
    def like(cls) -> "Activations":
        """Its numbers as shapes."""
        return cls(cls.problem.called(), cls.problem.laws().data)

    @classmethod
    def n_uniforms(cls, n_features: int) -> int:
        """As many as make an input of the model."""
        return cls.problem.data.n_uniforms(cls.problem.n_features)

    def sample(self, uniforms: Float[Array, " uniforms"]) -> Float[Array, " n_hidden"]:
        """The activations of one input."""
        model: Any = self.model
        return model.hidden(self.source.sample(uniforms))

    def some_active(self) -> Float[Array, ""]:
        """Probability that some feature of the input is active."""
        return self.source.some_active()

    def sample_active(self, uniforms: Float[Array, " uniforms"]) -> Float[Array, " n_hidden"]:
        """The activations of one input that is not all 0."""
        model: Any = self.model
        return model.hidden(self.source.sample_active(uniforms))

    def empty(self, like: Float[Array, " n_hidden"]) -> Float[Array, " n_hidden"]:
        """The activations of the input without an active feature."""
        model: Any = self.model
        return model.hidden(jnp.zeros(self.problem.n_features))

    def activity(self) -> Float[Array, ""]:
        """Mean probability of a feature of the input to be active."""
        return self.source.activity()


@functools.lru_cache(maxsize=64)
def activations_of(problem: Problem) -> type[Activations]:
    """The activations of the models of a problem."""
    about = {"__doc__": Activations.__doc__, "__module__": __name__}
    static = {"problem": problem, "n_features": problem.n_hidden, "skips_empty": problem.data.skips_empty}
    kind: Any = type(Activations)
    return kind("Activations", (Activations,), {**about, **static})
