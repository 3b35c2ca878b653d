"""A phase diagram whose first axis is the strength of a penalty: of the optimum where it is known, else of the best
restart."""

import numpy as np
from jaxtyping import Bool, Float, Int, Int8

from superjax import analysis
from superjax.analysis.phases import SUPERPOSED
from superjax.reference import oracle, theory
from superjax.studies.diagram import Diagram
from superjax.studies.results import Results

AXES = {"penalty": ("terms.l1.strength",), "density": ("data.density",)}

_SAMPLE = 400_000
NO_WEIGHT = 0.02  # norm below which a feature has no weight but for the jitter of training

LARGEST = 8 / 9 * np.sqrt(2 / 3)
"""Times its importance, the penalty from which a feature that is active alone is given up, 0.7258. With weight w it
loses (1 - w²)²/3 + λ w/2 for every time it is active, without 1/3: less iff λ < (2/3)(2w - w³), which is largest at
NORM_THERE. For a ReLU in the limit of sparse data, where an antipodal partner costs nothing."""
NORM_THERE = float(np.sqrt(2 / 3))
STAYS = 16 / 9 / np.sqrt(3)
"""Times its importance, the penalty up to which such a feature has a minimum with a weight beside that of no weight,
1.0264: the slope of its loss, λ/2 - (4/3) w (1 - w²), is 0 for some w, as w (1 - w²) is 2/√27 at most. No weight is a
minimum at any penalty: a small w costs λ w/2 and gains (2/3) w²."""


class Plane(Diagram):
    """One case of the sweep, arrays (penalty, density, ...) of the best model of every cell."""

    @property
    def penalty(self) -> Float[np.ndarray, " penalty"]:
        return self.data["penalty"].values

    @property
    def words(self) -> str:
        """The shape and the importances."""
        importance = self.case.importance_vector()
        first, last = f"{importance[0]:.2g}", f"{importance[-1]:.2g}"
        between = ", " if len(importance) == 2 else ", …, "
        values = last if min(importance) == max(importance) else f"{first}{between}{last}"
        return f"{self.title}\nimportance {values}"

    @property
    def optimal(self) -> bool:
        """Whether the best models are optima of the exact loss."""
        return "optimum_loss" in self.data

    @property
    def known_exactly(self) -> bool:
        """Whether they can be compared with the float64 reference."""
        return self.optimal and self.case.n_features <= oracle.MAX_FEATURES

    def of_best(self, name: str) -> np.ndarray:
        """A variable of the best model of every cell."""
        if self.optimal:
            found = self.data[f"optimum_{name}"]
        else:
            found = self.data[name].isel(restart=self.data["best"])
        return found.transpose("penalty", "density", ...).values

    def superposed(self) -> Bool[np.ndarray, "penalty density"]:
        """Where the best model has superposition, of any features."""
        return analysis.has_superposition(self.of_best("phase"), self.case.n_hidden)

    def phases(self) -> Int8[np.ndarray, "penalty density restart feature"]:
        """The phases of all restarts."""
        return self.data["phase"].transpose("penalty", "density", "restart", "feature").values

    def gains_apart(self) -> Float[np.ndarray, " models"]:
        """By which fraction what is minimised falls if every represented feature gets a neuron of its own, at the norm
        that it has: of the best models at the largest penalty of which some feature is superposed and that have
        neurons enough. Negative where it rises. On a sample, the same for both."""
        last, found = int(np.argmax(self.penalty)), []
        W, b, phase = (self.of_best(name)[last] for name in ("W", "b", "phase"))
        rng = np.random.default_rng(0)
        active, size = rng.random((2, _SAMPLE, self.case.n_features))
        for k, density in enumerate(self.density):
            there = np.flatnonzero(analysis.represented(phase[k]))
            if not (phase[k] == SUPERPOSED).any() or len(there) > self.case.n_hidden:
                continue
            x, apart = np.where(active < density, size, 0), np.zeros_like(W[k])
            apart[np.arange(len(there)), there] = analysis.norm(W[k])[there]
            each = []
            for weights in (W[k], apart):
                h = x @ weights.T
                error = np.square(np.maximum(h @ weights + b[k], 0) - x) @ np.array(self.case.importance_vector())
                each.append(float(np.mean(error + self.penalty[last] * np.abs(h).sum(-1))))
            found.append(1 - each[1] / each[0])
        return np.array(found)

    def represented(self) -> Int[np.ndarray, "penalty density"]:
        """How many features the best model represents."""
        return analysis.represented(self.of_best("phase")).sum(-1)

    def newcomer(self) -> np.ndarray:
        """Phase of feature m + 1, the most important one for which there is no dimension of its own."""
        return self.of_best("phase")[..., self.case.n_hidden]

    def interference(self) -> Float[np.ndarray, "penalty density"]:
        """Mean interference of the represented features of the best model, 0 if it represents none."""
        represented = analysis.represented(self.of_best("phase"))
        total = np.where(represented, self.of_best("interference"), 0).sum(-1)
        return total / np.maximum(represented.sum(-1), 1)

    def error(self) -> Float[np.ndarray, "penalty density"]:
        """The loss of the best model without the penalty."""
        return self.of_best("loss").astype(float)

    def of_nothing(self) -> Float[np.ndarray, " density"]:
        """The loss of a model that returns the mean of every feature."""
        return np.asarray(sum(self.case.importance_vector()) * theory.variance(self.density))

    def with_means(self) -> tuple[Float[np.ndarray, "penalty density"], Float[np.ndarray, "penalty density"]]:
        """Objective and error of the optima, outputs without a weight returning the mean where that is better: one that
        has fallen silent, with b below 0, has no gradient, and loses E[x²] in place of the variance."""
        importance, density = self.numbers()
        W = self.data["optimum_W"].transpose("penalty", "density", "hidden", "feature").values.astype(float)
        b = self.data["optimum_b"].transpose("penalty", "density", "feature").values.astype(float)
        silent = analysis.norm(W) < NO_WEIGHT
        mended = oracle.expected_loss(W, np.where(silent, density / 2, b), importance, density)
        gain = np.where(silent.any(-1), np.maximum(self.error() - mended, 0), 0)
        return self.of_best(self.minimised).astype(float) - gain, self.error() - gain

    def silent(self) -> tuple[float, float]:
        """In which fraction of the cells the search has left an output silent, and how much lower, relative, what is
        minimised can be there."""
        better = self.of_best(self.minimised).astype(float) / self.with_means()[0] - 1
        return float((better > 1e-4).mean()), float(better.max())

    def begins(self) -> Float[np.ndarray, " penalty"]:
        """The density below which the best model has superposition, for every penalty; NaN where there is none."""
        if self.optimal:
            return self.boundary().position()
        excess = analysis.superposition_excess(self.of_best("norm"), self.case.n_hidden, self.case.phases.represented)
        return analysis.boundary(self.density, self.superposed(), excess)

    def ends(self, cell: int) -> float:
        """The penalty above which there is no superposition at a density: midway between two cells, NaN if there is
        none at any penalty, infinite if there is at the largest."""
        order = np.argsort(self.penalty)
        inside = self.superposed()[order, cell]
        if not inside.any():
            return float("nan")
        last = int(np.flatnonzero(inside)[-1])
        penalty = self.penalty[order]
        return float("inf") if last == len(penalty) - 1 else float((penalty[last] + penalty[last + 1]) / 2)

    def step_of_penalty(self) -> float:
        """The largest cell of the penalty axis."""
        return float(np.max(np.diff(np.sort(self.penalty))))


def planes(results: Results) -> list[Plane]:
    return [Plane(name, results.sweep.cases[name], data) for name, data in results.datasets.items()]
