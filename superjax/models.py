"""The toy models, one unbatched Equinox module each.

A model holds the arrays of ONE model; the engine vectorises over models. A user's own class follows the same
protocol: `Class(n_features, n_hidden, init_std, key=key)` builds it, `model(x)` maps one input of shape
(n_features,) to its reconstruction, and the class attribute `dims` names the dimensions of every trained array
(`feature` and `hidden` are known; any other name becomes a dimension of its own).
"""

import importlib
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from superjax.spec import SweepError


class Linear(eqx.Module):
    """Linear model, x' = WᵀWx + b (paper, "Demonstrating Superposition").

    Weights start normal with standard deviation `init_std`, the bias at 0.
    """

    W: Float[Array, "n_hidden n_features"]
    b: Float[Array, " n_features"]

    dims: ClassVar[dict[str, tuple[str, ...]]] = {"W": ("hidden", "feature"), "b": ("feature",)}
    rectified: ClassVar[bool] = False

    def __init__(self, n_features: int, n_hidden: int, init_std: float | Float[Array, ""], *, key: Key[Array, ""]):
        self.W = init_std * jax.random.normal(key, (n_hidden, n_features))
        self.b = jnp.zeros(n_features)

    def preactivation(self, x: Float[Array, " n_features"]) -> Float[Array, " n_features"]:
        """WᵀWx + b. A model that has this method and `rectified` gets the closed innermost integral."""
        return self.W.T @ (self.W @ x) + self.b

    def __call__(self, x: Float[Array, " n_features"]) -> Float[Array, " n_features"]:
        return self.preactivation(x)


class ReLUOutput(Linear):
    """ReLU output model, x' = ReLU(WᵀWx + b) (paper, "Demonstrating Superposition")."""

    rectified: ClassVar[bool] = True

    def __call__(self, x: Float[Array, " n_features"]) -> Float[Array, " n_features"]:
        return jax.nn.relu(self.preactivation(x))


KINDS: dict[str, type[eqx.Module]] = {"linear": Linear, "relu_output": ReLUOutput}


def model_class(kind: str) -> type[eqx.Module]:
    """The class of a model kind: a built-in name or `pkg.module:Class`.

    Raises SweepError if there is no such module or class, or if the class does not declare `dims`.
    """
    if kind in KINDS:
        return KINDS[kind]
    module, _, name = kind.partition(":")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SweepError(f"model.kind = {kind!r}: {error}; give {', '.join(KINDS)} or pkg.module:Class") from error
    if not (isinstance(cls, type) and issubclass(cls, eqx.Module) and isinstance(getattr(cls, "dims", None), dict)):
        raise SweepError(f"model.kind = {kind!r}: must be an equinox.Module class with a `dims` table of its arrays")
    return cls


def notebook_init_std(n_features: int, n_hidden: int, n_models: int) -> float:
    """Initial standard deviation of the authors' notebook, sqrt(2 / ((n + n_models) m)).

    Xavier initialisation of one tensor (n_models, n, m) counts the models trained side by side as outputs: the
    result depends on how many there are. Differs from Elhage et al. in nothing; every other choice here does.
    """
    return (2 / ((n_features + n_models) * n_hidden)) ** 0.5
