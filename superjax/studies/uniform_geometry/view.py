"""A view of a dataset whose only axis is the density of all features, which are alike in everything."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from jaxtyping import Float

from superjax import analysis
from superjax.analysis import Component, Polytope
from superjax.reference import polytope_losses, theory
from superjax.spec import Case
from superjax.studies.results import Results

EDGE, TOLERANCE = 0.2, 0.15  # of `analysis.recognise`: minibatches leave overlaps of some 0.05 between components
NAMED = {  # the polytopes that the paper names, from one feature a dimension to many
    polytope.name: polytope
    for polytope in (
        *(analysis.polytopes(k)[0] for k in (1, 4, 3, 2)), analysis.polytopes(5)[1], analysis.polytopes(8)[-1]
    )
}  # fmt: skip
SHOWN = (0.6, 0.4, 0.25, 0.2, 0.14)  # densities whose features are drawn as graphs
SIMPLICES = ("tetrahedron", "triangle")
NEAR = 0.02  # D_i of a feature is at a level if it is this near to it


@dataclass(frozen=True)
class Uniform:
    """One case of the sweep; arrays (density, ...), from dense to sparse, of the best model of every density."""

    name: str
    case: Case
    data: xr.Dataset

    @cached_property
    def density(self) -> Float[np.ndarray, " densities"]:
        return np.sort(self.data["density"].values.astype(float))[::-1]

    @cached_property
    def winners(self) -> xr.Dataset:
        """Of every density the best restart, from the better start."""
        data = self.data.sel(density=self.density)
        data = data.isel(restart=data["best"])
        return data.isel(start=data["loss"].fillna(np.inf).argmin("start")) if "start" in data.dims else data

    def best(self, name: str) -> np.ndarray:
        """A variable of the best models."""
        return self.winners[name].transpose("density", ...).values

    @cached_property
    def W(self) -> Float[np.ndarray, "densities n_hidden n_features"]:
        return self.winners["W"].transpose("density", "hidden", "feature").values.astype(float)

    @cached_property
    def norm(self) -> Float[np.ndarray, "densities n_features"]:
        return analysis.norm(self.W)

    @property
    def represented(self) -> np.ndarray:
        return self.norm >= self.case.phases.represented

    @property
    def silent(self) -> np.ndarray:
        """Outputs that are always 0: their loss is E[x_i²] = s/3, not that of the mean, s/3 - s²/4. Of densities above
        0.1, below which the two can hardly be told apart and hardly differ."""
        s = self.density[:, None]
        return (s >= 0.1) & (np.abs(3 * self.best("feature_loss") / s - 1) < 0.3 * s)

    @property
    def per_feature(self) -> Float[np.ndarray, " densities"]:
        """D* = m / ‖W‖², hidden dimensions per feature (paper, "Uniform Superposition")."""
        return self.case.n_hidden / np.square(self.norm).sum(-1)

    @cached_property
    def dimensionality(self) -> Float[np.ndarray, "densities n_features"]:
        return analysis.dimensionality(self.W)

    @cached_property
    def random_dimensionality(self) -> Float[np.ndarray, "densities n_features"]:
        """D_i of weights of the same norms in random directions."""
        directions = np.random.default_rng(self.case.seed).standard_normal(self.W.shape)
        return analysis.dimensionality(directions * (self.norm / analysis.norm(directions))[:, None])

    def near(self, dimensionality: np.ndarray, levels: list[float]) -> np.ndarray:
        """Which features' D_i are at one of the levels."""
        return np.any(np.abs(dimensionality[..., None] - np.array(levels)) < NEAR, axis=-1)

    @cached_property
    def components(self) -> list[list[Component]]:
        """The tegum factors of every density's model."""
        return [analysis.recognise(W, self.case.phases.represented, EDGE, TOLERANCE) for W in self.W]

    def factors(self, cell: int) -> dict[str, int]:
        """How many of each polytope, the one with most features first; components that are none are "other"."""
        features: dict[str, int] = {}
        count: dict[str, int] = {}
        for component in self.components[cell]:
            name = component.polytope.name if component.polytope else "other"
            features[name] = features.get(name, 0) + len(component.features)
            count[name] = count.get(name, 0) + 1
        return {name: count[name] for name in sorted(count, key=lambda name: -features[name])}

    @cached_property
    def polytopes(self) -> dict[str, Polytope]:
        """Those named of which there are enough features to fill all dimensions."""
        m, n = self.case.n_hidden, self.case.n_features
        return {name: polytope for name, polytope in NAMED.items() if m / polytope.dimensionality <= n}

    @cached_property
    def exact_loss(self) -> dict[str, Float[np.ndarray, " densities"]]:
        """The loss if all dimensions hold one kind of polytope at its exact optimum, the other features left out."""
        n, m = self.case.n_features, self.case.n_hidden
        return {
            name: polytope_losses.product_loss(polytope, self.density, n, m)
            for name, polytope in self.polytopes.items()
        }

    def explained_per_dimension(self, loss: np.ndarray) -> Float[np.ndarray, " densities"]:
        """What a loss says that a dimension explains, in variances of a feature: the sum of `explained` over m."""
        return (self.case.n_features - loss / theory.variance(self.density)) / self.case.n_hidden

    @property
    def digon_per_feature(self) -> Float[np.ndarray, " densities"]:
        """D* of isolated digons at their exact optimum."""
        return NAMED["digon"].dimensionality / polytope_losses.alone(NAMED["digon"], self.density).norm ** 2

    @cached_property
    def lowest(self) -> np.ndarray:
        """The name of the polytope whose products have the lowest exact loss, at every density."""
        return np.array(list(self.exact_loss))[np.argmin(list(self.exact_loss.values()), axis=0)]

    def cell(self, density: float) -> int:
        """The nearest density."""
        return int(np.argmin(np.abs(np.log(self.density / density))))


def uniforms(results: Results) -> list[Uniform]:
    return [Uniform(name, results.sweep.cases[name], data) for name, data in results.datasets.items()]
