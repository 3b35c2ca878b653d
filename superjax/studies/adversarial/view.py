"""A view of a dataset of attacked models whose only axis is the density of all features."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from superjax import analysis
from superjax.spec import Case
from superjax.studies.results import Results

KINDS = {  # of attacks, in the order of the dataset
    "analytic": "analytic directions",
    "ascent": "gradient ascent",
    "linear": "ascent on the linear part",
    "random": "random directions",
}


@dataclass(frozen=True)
class Attacked:
    """One case; arrays (density, restart), from dense to sparse, NaN where a model diverged.

    Vulnerability is (L' - L) / (L'_0 - L_0), index 0 for the model without superposition. That model gives each of
    the m most important features a dimension of its own and returns it as it is. Under an attack δ its error of feature
    i rises by I_i δ_i², as x_i and δ_i are not negative; so L'_0 - L_0 = ε² max I, whether the inputs have one δ
    together or each its own.
    """

    name: str
    case: Case
    data: xr.Dataset

    @cached_property
    def density(self) -> Float[np.ndarray, " densities"]:
        return np.sort(self.data["density"].values.astype(float))[::-1]

    def of(self, variable: str) -> np.ndarray:
        """A variable of the dataset (density, restart, ...)."""
        found = self.data[variable].sel(density=self.density).transpose("density", "restart", ...).values.astype(float)
        return np.where(np.isfinite(found), found, np.nan)

    def of_cells(self, variable: str) -> Float[np.ndarray, " densities"]:
        """The same of a number that a cell has."""
        return self.data[variable].sel(density=self.density).values.astype(float)

    @property
    def known(self) -> Bool[np.ndarray, "densities restarts"]:
        return np.isfinite(self.vulnerability)

    @cached_property
    def vulnerability(self) -> Float[np.ndarray, "densities restarts"]:
        """Under the δ that all inputs have together and that was found the most harmful, on other inputs."""
        return self.of("attack_vulnerability")

    @cached_property
    def each(self) -> Float[np.ndarray, "densities restarts"]:
        """Where every input has the analytic direction that is worst for it."""
        return self.of("attack_each_vulnerability")

    @cached_property
    def per_dimension(self) -> Float[np.ndarray, "densities restarts"]:
        """Features per dimension, ‖W‖²/m, the reciprocal of D* (paper, "Uniform Superposition")."""
        return np.square(self.of("norm")).sum(-1) / self.case.n_hidden

    @property
    def importance(self) -> Float[np.ndarray, " n_features"]:
        """Relative to the largest."""
        values = np.array(self.case.importance_vector())
        return values / values.max()

    @cached_property
    def per_feature(self) -> Float[np.ndarray, "densities restarts"]:
        """The largest I_i ‖W_i‖⁴/D_i of a feature, which is I_i ‖G_i‖²: what the attack along G_i does to output i, if
        that is on in all inputs, in units of what it does where a feature has a dimension of its own."""
        D, norm = self.of("dimensionality"), self.of("norm")
        return np.max(self.importance * np.divide(norm**4, D, out=np.zeros_like(D), where=D > 0), axis=-1)

    @cached_property
    def second_order(self) -> Float[np.ndarray, "densities restarts"]:
        """The largest eigenvalue of G diag(I_i p_i) G, where p_i is how often output i is on.

        The gradient of the loss by δ is G times that by the bias, 0 where training has converged. So the excess of a
        small attack is δᵀ G diag(I_i p_i) G δ, but for outputs that the attack turns on or off.
        """
        _, form = self._forms()
        return np.where(self.known, np.linalg.eigvalsh(form)[..., -1], np.nan)

    @cached_property
    def best_row(self) -> Float[np.ndarray, "densities restarts"]:
        """What the most harmful of the directions G_i does, to second order, relative to the most harmful direction."""
        G, form = self._forms()
        rows = np.einsum("...ai,...ij,...aj->...a", G, form, G)
        square = np.square(G).sum(-1)
        best = np.max(np.divide(rows, square, out=np.zeros_like(rows), where=square > 0), axis=-1)
        return np.divide(best, self.second_order, out=np.full_like(best, np.nan), where=self.second_order > 0)

    def _forms(self) -> tuple[np.ndarray, np.ndarray]:
        """G and G diag(I_i p_i) G of every model, 0 where it diverged."""
        W = np.where(self.known[..., None, None], self.of("W"), 0)
        G = np.einsum("...hi,...hj->...ij", W, W)
        on = np.nan_to_num(self.of("attack_on")) * self.importance
        return G, np.einsum("...ij,...j,...jk->...ik", G, on, G)

    @cached_property
    def relative_harm(self) -> Float[np.ndarray, "densities restarts attacks"]:
        """What each kind of attack adds to the loss, relative to the analytic one."""
        excess = self.of("attack_excess")
        return excess / excess[..., :1]

    def correlation(
        self, vulnerability: Float[np.ndarray, "densities restarts"], densities: slice = slice(None)
    ) -> tuple[float, tuple[float, float], tuple[float, float]]:
        """The rank correlation of a vulnerability with the features per dimension over all models, and its intervals if
        restarts, or densities, are drawn anew."""
        complete = self.known.all(0)
        columns = complete if complete.any() else np.ones(len(complete), bool)
        x, y = (values[densities] for values in (self.per_dimension, vulnerability))
        known = np.isfinite(x) & np.isfinite(y)
        if known.sum() < 2:
            unknown = float("nan"), float("nan")
            return float("nan"), unknown, unknown
        x_whole, y_whole = (np.nan_to_num(values[:, columns]) for values in (x, y))
        return (
            analysis.rank_correlation_of_finite(x, y),
            analysis.bootstrap_interval(x_whole.T, y_whole.T),
            analysis.bootstrap_interval(x_whole, y_whole),
        )


def attacked(results: Results) -> list[Attacked]:
    """The cases of which some model is known."""
    found = [
        Attacked(f"n = {case.n_features}, m = {case.n_hidden}, I {_importance(case)}", case, results.datasets[name])
        for name, case in results.sweep.cases.items()
        if name in results.datasets
    ]
    return [one for one in found if one.known.any(1).all()]


def _importance(case: Case) -> str:
    ratio = getattr(case.importance, "ratio", None)
    if ratio is not None:
        return f"= {ratio:g}ⁱ"
    values = case.importance_vector()
    return f"= {values[0]:g}" if len(set(values)) == 1 else "of its own"
