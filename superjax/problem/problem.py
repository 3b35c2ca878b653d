"""A problem: what one model is trained on, in parts.

`Problem` is what is static, and selects a compiled program; `Laws` are the numbers of one model.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from superjax.problem.data import Distribution
from superjax.problem.members import options_of
from superjax.problem.models import ToyModel
from superjax.problem.models.base import with_numbers
from superjax.problem.options import is_per_feature, number_names
from superjax.problem.targets import Target
from superjax.problem.terms import Term


class Laws(eqx.Module):
    """What one model is trained on: where inputs come from, what should come out, what is minimised; and the numbers
    of its own options, by name."""

    data: Distribution
    target: Target
    terms: tuple[Term, ...]
    model: Mapping[str, Any] = eqx.field(default_factory=dict)  # arrays ()

    def values(self, model: Any, x: Float[Array, " n_features"]) -> Float[Array, " values"]:
        """The values of all terms for one input, side by side."""
        y, model = self.target(x), with_numbers(model, self.model)
        return _joined([term.values(model, x, y) for term in self.terms])

    def segment(
        self, model: Any, start: Float[Array, " n_features"], end: Float[Array, " n_features"]
    ) -> Float[Array, " values"]:
        """Their means along a segment of inputs."""
        y_start, y_end, model = self.target(start), self.target(end), with_numbers(model, self.model)
        return _joined([term.segment(model, start, end, y_start, y_end) for term in self.terms])

    def weights(self) -> Float[Array, " values"]:
        """What the values count."""
        return _joined([term.weights() for term in self.terms])


def _joined(parts: list[Float[Array, " _"]]) -> Float[Array, " values"]:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts)


@dataclass(frozen=True)
class Problem:
    """The classes of the parts, static options bound, and sizes. The error is the first of the terms."""

    model: type[ToyModel]
    data: type[Distribution]
    target: type[Target]
    terms: tuple[type[Term], ...]
    names: tuple[str, ...]  # of the terms
    n_features: int
    n_hidden: int
    n_outputs: int

    @property
    def output(self) -> str:
        """The dimension of outputs: they are named as features where they are as many."""
        return "feature" if self.n_outputs == self.n_features else "output"

    def new(self, key: Any, init_std: Any, init_bias: Any = 0.0) -> ToyModel:
        """A model with initial weights; `init_bias` is added to its bias `b`."""
        more = {} if self.n_outputs == self.n_features else {"n_outputs": self.n_outputs}
        model = self.model(self.n_features, self.n_hidden, init_std, key=key, **more)
        if "b" not in self.model.dims:
            return model
        bias: Any = getattr(model, "b")  # noqa: B009 - a ToyModel need not have one
        return eqx.tree_at(lambda m: m.b, model, bias + init_bias)

    def laws(self) -> Laws:
        """The numbers of one model as shapes."""

        def shapes(member: Any) -> Any:
            if hasattr(member, "like"):  # its numbers are others than those of options
                return member.like()
            options = options_of(member).model_fields
            sizes = {name: (self.n_features,) for name, field in options.items() if is_per_feature(field)}
            sizes["importance"] = (self.n_outputs,)
            fields = [field.name for field in dataclasses.fields(member)]
            return member(**{name: jax.ShapeDtypeStruct(sizes.get(name, ()), jnp.float32) for name in fields})

        model = {name: jax.ShapeDtypeStruct((), jnp.float32) for name in number_names(options_of(self.model))}
        return Laws(shapes(self.data), shapes(self.target), tuple(map(shapes, self.terms)), model)

    def shapes(self) -> ToyModel:
        """A model as shapes."""
        number = jax.ShapeDtypeStruct((), jnp.float32)
        return jax.eval_shape(self.new, jax.random.key(0), number, number)

    def called(self) -> ToyModel:
        """A model as it is called, as shapes: with the numbers of its options."""
        return with_numbers(self.shapes(), self.laws().model)
