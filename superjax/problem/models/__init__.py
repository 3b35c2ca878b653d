"""The toy models, one file each: unbatched Equinox modules that hold the arrays of ONE model."""

from superjax.problem.models.base import ToyModel
from superjax.problem.models.relu_hidden import ReLUHidden
from superjax.problem.models.tied import Linear, ReLUOutput
from superjax.problem.models.two_layer import TwoLayer

MODELS: dict[str, type[ToyModel]] = {
    "linear": Linear,
    "relu_output": ReLUOutput,
    "relu_hidden": ReLUHidden,
    "two_layer": TwoLayer,
}

__all__ = ["MODELS", "Linear", "ReLUHidden", "ReLUOutput", "ToyModel", "TwoLayer"]
