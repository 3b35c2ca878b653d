"""A view of a dataset whose only axis is the density of all features, which are alike in everything."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from superjax import analysis
from superjax.analysis import Component, Polytope
from superjax.reference import polytope_losses, theory
from superjax.spec import Case
from superjax.studies.results import Results

NAMED = {  # the polytopes that the paper names, from one feature a dimension to many
    polytope.name: polytope
    for polytope in (
        *(analysis.polytopes(k)[0] for k in (1, 4, 3, 2)), analysis.polytopes(5)[1], analysis.polytopes(8)[-1]
    )
}  # fmt: skip
SHOWN = (0.8, 0.67, 0.4, 0.24, 0.2, 0.16)  # densities whose features are drawn as graphs
SIMPLICES = ("tetrahedron", "triangle")
NEAR = 0.04  # relative: D_i of a feature is at a level if it is this near to it, and to no other level nearer
_FINE = 61  # densities of the curves of exact optima


@dataclass(frozen=True)
class Uniform:
    """One case of the sweep; arrays (density, ...), from dense to sparse, of the best model of every density.

    `name` is what a reader calls it: its shape, as "n = 400, m = 30".
    """

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
    def represented(self) -> Bool[np.ndarray, "densities n_features"]:
        return self.norm >= self.case.phases.represented

    @property
    def silent(self) -> Bool[np.ndarray, "densities n_features"]:
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

    @cached_property
    def components(self) -> list[list[Component]]:
        """The tegum factors of every density's model. All features are alike here, so a group is called a polytope only
        if the D_i of every member, among all features and at their own norms, is at the level of the polytope too."""
        return [
            [_at_level(component, D) for component in analysis.recognise(W, self.case.phases.represented)]
            for W, D in zip(self.W, self.dimensionality, strict=True)
        ]

    def factors(self, cell: int) -> dict[str, int]:
        """How many of each polytope, the one with most features first; components that are none are "other"."""
        count: dict[str, int] = {}
        for name in map(_called, self.components[cell]):
            count[name] = count.get(name, 0) + 1
        features = self.members(cell)
        return {name: count[name] for name in sorted(count, key=lambda name: -features[name])}

    @cached_property
    def kinds(self) -> np.ndarray:
        """The name of the polytope that every feature is in, "other" if it is in none, "" if it is not represented
        (density, feature)."""
        found = np.full(self.norm.shape, "", object)
        for row, components in zip(found, self.components, strict=True):
            for component in components:
                row[component.features] = _called(component)
        return found

    def members(self, cell: int) -> dict[str, int]:
        """How many features are in each kind of polytope, and in components that are none ("other")."""
        features: dict[str, int] = {}
        for component in self.components[cell]:
            features[_called(component)] = features.get(_called(component), 0) + len(component.features)
        return features

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

    @cached_property
    def lowest(self) -> np.ndarray:
        """The name of the polytope whose products have the lowest exact loss, at every density."""
        return self.lowest_at(self.density)[0]

    def lowest_at(self, density: np.ndarray) -> tuple[np.ndarray, Float[np.ndarray, " some"]]:
        """Of the product of lowest exact loss at some densities, the polytope's name and D*."""
        n, m, kinds = self.case.n_features, self.case.n_hidden, list(self.polytopes.values())
        which = np.argmin([polytope_losses.product_loss(kind, density, n, m) for kind in kinds], axis=0)
        levels = np.array([polytope_losses.per_feature(kind, density) for kind in kinds])
        return np.array(list(self.polytopes))[which], levels[which, np.arange(len(density))]

    @cached_property
    def fine(self) -> Float[np.ndarray, " fine"]:
        """Densities close to each other, for the curves of exact optima."""
        return np.geomspace(self.density.max(), self.density.min(), _FINE if len(self.density) > 1 else 1)

    @property
    def variance(self) -> Float[np.ndarray, " densities"]:
        """v of a feature."""
        return np.asarray(theory.variance(self.density))

    @property
    def gains(self) -> dict[str, Float[np.ndarray, " densities"]]:
        """How far the exact losses of products lie below that of PCA."""
        return {name: self.pca_loss - loss for name, loss in self.exact_loss.items()}

    @property
    def pca_loss(self) -> Float[np.ndarray, " densities"]:
        """The loss without superposition: of m features with a dimension each, as of m principal components."""
        return self.variance * (self.case.n_features - self.case.n_hidden)

    @property
    def reached(self) -> Float[np.ndarray, " densities"]:
        """What the trained models gain over PCA, as a share of what the product of lowest exact loss gains: 1 for that
        product, 0 without superposition."""
        return (self.pca_loss - self.best("loss")) / self.lowest_gain

    @property
    def lowest_gain(self) -> Float[np.ndarray, " densities"]:
        """The gain over PCA of the product of lowest exact loss."""
        return np.max(list(self.gains.values()), axis=0)

    def contenders(self, margin: float) -> list[list[str]]:
        """At every density the polytopes whose products gain as much over PCA as the best one, up to a fraction."""
        enough = {name: gain >= (1 - margin) * self.lowest_gain for name, gain in self.gains.items()}
        return [[name for name in enough if enough[name][cell]] for cell in range(len(self.density))]

    @property
    def resolution(self) -> Float[np.ndarray, " densities"]:
        """What `reached` can be off by, as the loss is that of a sample."""
        return self.data["loss"].attrs.get("loss_error", 0.0) * self.best("loss") / self.lowest_gain

    def cell(self, density: float) -> int:
        """The nearest density."""
        return int(np.argmin(np.abs(np.log(self.density / density))))


def near(dimensionality: np.ndarray, level: float, times: int | float = 1) -> Bool[np.ndarray, "..."]:
    """Which D_i are at a level of those of NAMED: within NEAR of it, or so many times as far, and not nearer to another
    within NEAR of which they are."""
    distance = np.abs(dimensionality - level)
    levels = [polytope.dimensionality for polytope in NAMED.values() if polytope.dimensionality != level]
    others = [np.abs(dimensionality - other) for other in levels]
    taken = [(off < NEAR * other) & (off < distance) for off, other in zip(others, levels, strict=True)]
    return (distance < times * NEAR * level) & ~np.any(taken, axis=0)


def uniforms(results: Results) -> list[Uniform]:
    cases = results.sweep.cases
    shapes = {name: f"n = {cases[name].n_features}, m = {cases[name].n_hidden}" for name in results.datasets}
    alike = len(set(shapes.values())) < len(shapes)  # told apart by the names of the cases
    return [
        Uniform(f"{name}: {shapes[name]}" if alike else shapes[name], cases[name], data)
        for name, data in results.datasets.items()
    ]


def _called(component: Component) -> str:
    return component.polytope.name if component.polytope else "other"


def _at_level(component: Component, dimensionality: np.ndarray) -> Component:
    """The component, without a name if the D_i of a member is not that of the polytope."""
    polytope = component.polytope
    if polytope and not near(dimensionality[component.features], polytope.dimensionality).all():
        return component._replace(polytope=None)
    return component
