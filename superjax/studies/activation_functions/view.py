"""A phase diagram of one activation function, in which solutions that lose the same are no superposition."""

import numpy as np
from jaxtyping import Bool, Float, Int8

from superjax import analysis
from superjax.reference import theory
from superjax.spec import Case
from superjax.studies.correlated_phase_diagram.view import ONE_FEATURE, optimum_kinds
from superjax.studies.diagram import Diagram
from superjax.studies.results import Results

MODELS = {"relu_output": "relu", "linear": "identity"}  # and their functions where a case names none
WORDS = {
    "relu": "ReLU", "leaky_relu": "leaky ReLU", "gelu": "GELU", "silu": "SiLU", "softplus": "softplus",
    "abs": "absolute value", "tanh": "tanh", "identity": "identity",
}  # fmt: skip
_TIE = 1e-5  # relative gap below which two solutions lose the same: far above the rounding of float32 losses


class Plane(Diagram):
    """The phase diagram of one activation function, arrays (importance, density, ...)."""

    @property
    def function(self) -> str:
        return function_of(self.case)

    @property
    def words(self) -> str:
        """The name of the function, and of the case where that is another."""
        return WORDS[self.function] + ("" if self.name == self.function else f" ({self.name})")

    def tied(self) -> Bool[np.ndarray, "importance density"]:
        """Where leaving a feature out loses no more than the optimum: an identity output at importance 1 can as well
        point between the features, in any direction."""
        return self.data["gap"].values < _TIE

    def superposed(self) -> Bool[np.ndarray, "importance density"]:
        """Where the optimum has superposition, and loses less than any solution without."""
        return super().superposed() & ~self.tied()

    def kinds(self) -> Int8[np.ndarray, "importance density"]:
        """Of which kind the superposition of the optimum is, ANTIPODAL or MERGED; ONE_FEATURE where there is none."""
        return np.where(self.superposed(), optimum_kinds(self), ONE_FEATURE).astype(np.int8)

    def extra_phase(self) -> Int8[np.ndarray, "importance density"]:
        """Phase of the extra feature in the optimum, of solutions that tie in the one that leaves a feature out."""
        W = self.data["optimum_other_W"].transpose(..., "hidden", "feature").values
        other, _ = analysis.classify(W, **self.case.phases.thresholds())
        shared = super().superposed() & self.tied()
        return np.where(shared, other[..., -1], self.extra("optimum_phase")).astype(np.int8)

    def shares(self) -> Float[np.ndarray, "importance density"]:
        """Part of the restarts that have superposition, NaN in columns with ties."""
        return np.where(self.tied().any(1)[:, None], np.nan, super().shares())

    def optimal_loss(self) -> Float[np.ndarray, "importance density"]:
        return self.data["optimum_loss"].values.astype(float)

    def of_one_feature(self) -> Float[np.ndarray, "importance density"]:
        """The loss of an identity output at its best: the less important feature is left out, min(1, r) Var(x)."""
        _, density = self.numbers()
        return np.minimum(1, self.importance)[:, None] * np.asarray(theory.variance(density[..., 0]))


def function_of(case: Case) -> str:
    """The activation function of the output."""
    return case.model.activation or MODELS[case.model.kind]


def planes(results: Results) -> list[Plane]:
    return [Plane(name, results.sweep.cases[name], data) for name, data in results.datasets.items()]


def excess_over_relu(plane: Plane, every: list[Plane]) -> Float[np.ndarray, "importance density"] | None:
    """What the optimum loses against that of ReLU, L*/L*(ReLU) - 1; None without a ReLU on the same cells."""
    for other in every:
        same = all(np.array_equal(getattr(other, axis), getattr(plane, axis)) for axis in ("importance", "density"))
        if other.function == "relu" and same:
            return plane.optimal_loss() / other.optimal_loss() - 1
    return None
