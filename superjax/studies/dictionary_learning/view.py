"""A view of dictionaries over density, correlation and penalty: which kind each case has, and its measures at the best
penalty. Pairs are two consecutive features, partners of each other."""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int, Shaped

from superjax import analysis
from superjax.analysis.dictionaries import FOUND as FOUND_COSINE
from superjax.spec import Case
from superjax.studies.results import Results

MERGED = 0.9  # mean cosine of partners from which on the model itself holds a pair as one direction
FOUND = 0.95  # mean max cosine of a dictionary that has found the features
SPARSE = 0.05  # densities up to this one, of the claims
RECOVERY = "dictionary learning: Sharkey, Braun and Millidge 2022"  # the source of its measures
SAME = 0.01  # relative difference of two objectives that counts as none


class Outcome(IntEnum):
    """What becomes of a dictionary in a cell."""

    FOUND = 0
    STUCK = 1  # the true dictionary is a minimum, and better than what random starts reach
    OTHER = 2  # another dictionary is as good as the true one or better
    MERGED = 3  # the model holds partners as one direction: there is nothing to be told apart


class Dictionaries(NamedTuple):
    """One case of the sweep."""

    name: str
    case: Case
    data: xr.Dataset

    @property
    def width(self) -> int:
        assert self.case.autoencoder is not None
        return self.case.autoencoder.width

    @property
    def role(self) -> str:
        """What it is there for: "trained", "top K", "true start", "true" or "random" directions."""
        options = self.case.autoencoder
        assert options is not None
        if options.fixed:
            return "true" if options.start == "features" else "random"
        if options.start == "features":
            return "true start"
        return "trained" if options.kind == "l1" else "top K"

    @property
    def density(self) -> Float[np.ndarray, " density"]:
        return self.data["density"].values

    @property
    def correlation(self) -> Float[np.ndarray, " correlation"]:
        return self.data["correlation"].values

    @property
    def penalty(self) -> Float[np.ndarray, " penalty"]:
        """The penalties; NaN alone where there is none."""
        return self.data["penalty"].values if "penalty" in self.data.dims else np.array([np.nan])

    def values(self, name: str) -> Shaped[np.ndarray, "density correlation penalty restart *own"]:
        """A variable, with one penalty where there is none."""
        array = self.data[name]
        array = array if "penalty" in array.dims else array.expand_dims("penalty")
        return array.transpose("density", "correlation", "penalty", "restart", ...).values

    def measure(self, name: str) -> Float[np.ndarray, "density correlation penalty"]:
        """A measure of dictionaries, the mean over restarts; NaN where there is none."""
        return mean(self.values(f"autoencoder_{name}"), -1)

    def best(self) -> Int[np.ndarray, "density correlation"]:
        """The penalty at which the mean max cosine of features is largest."""
        return np.argmax(np.nan_to_num(self.measure("feature_cosine"), nan=-1), axis=-1)

    def at_best(self, values: np.ndarray) -> np.ndarray:
        """Of values (density, correlation, penalty, ...) those at the best penalty of every cell."""
        cells = np.indices(self.best().shape)
        return values[*cells, self.best()]

    def best_measure(self, name: str) -> Float[np.ndarray, "density correlation"]:
        return self.at_best(self.measure(name))

    def of_restarts(self, name: str) -> Float[np.ndarray, "density correlation restart"]:
        """The same of every restart."""
        return self.at_best(self.values(f"autoencoder_{name}"))

    def missed(self) -> Float[np.ndarray, "density correlation restart"]:
        """How many of the features that the model represents no latent of a restart has."""
        there = analysis.represented(self.at_best(self.values("phase"))).sum(-1)
        return np.rint((1 - self.of_restarts("recovered")) * there)

    def represented(self) -> Float[np.ndarray, "density correlation"]:
        """How many features the models represent (mean over restarts)."""
        return self.at_best(analysis.represented(self.values("phase")).sum(-1).mean(-1))

    def partner_cosine(self) -> Float[np.ndarray, "density correlation"]:
        """Mean cosine of the partners that the models represent both; NaN where there are none."""
        both = analysis.represented(self.values("phase")).reshape(*self.values("norm").shape[:-1], -1, 2).all(-1)
        units = analysis.units(self.values("W"))
        cosines = np.where(both, (units[..., ::2] * units[..., 1::2]).sum(-2), np.nan)
        return self.at_best(mean(cosines.reshape(*cosines.shape[:3], -1), -1))

    def sparse(self, most: float) -> Bool[np.ndarray, " density"]:
        """Which densities are at most so large."""
        return self.density <= 1.001 * most

    def mixing(self, beside: "Dictionaries") -> analysis.Mixing:
        """How latents lie to pairs, at the penalty best for others on the same grid, (density, correlation, restart,
        ...); partners that the model itself holds as one direction are left out."""
        W, directions, norm, firing = (
            beside.at_best(self.values(name))
            for name in ("W", "autoencoder_decoder", "norm", "autoencoder_firing")
        )  # fmt: skip
        return analysis.mixing(W, directions, norm >= self.case.phases.represented, firing > 0, MERGED)


def mean(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean of what is finite; NaN where nothing is."""
    finite = np.isfinite(values)
    total, count = np.where(finite, values, 0).sum(axis), finite.sum(axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def dictionaries(results: Results, *roles: str) -> list[Dictionaries]:
    """The cases of some roles, narrow ones first, in the order of the sweep."""
    every = [Dictionaries(name, results.sweep.cases[name], data) for name, data in results.datasets.items()]
    return sorted((one for one in every if one.role in roles), key=lambda one: one.width)


def of_true_width(results: Results, role: str) -> Dictionaries | None:
    """The case of a role that has a latent for each feature."""
    return next((one for one in dictionaries(results, role) if one.width == one.case.n_features), None)


def comparable(*of: Dictionaries | None) -> bool:
    """Whether all cases are there, on the same grid."""
    first = of[0]
    return first is not None and all(
        one is not None
        and all(np.array_equal(getattr(one, axis), getattr(first, axis))
                for axis in ("density", "correlation", "penalty"))
        for one in of
    )  # fmt: skip


def beside(results: Results, one: Dictionaries) -> Dictionaries:
    """The dictionaries whose best penalty is that of all widths: those with a latent for each feature, if they are on
    the same grid."""
    trained = of_true_width(results, "trained")
    return trained if trained and comparable(trained, one) else one


def hedged(
    results: Results, one: Dictionaries, most: float = 0.1
) -> tuple[Float[np.ndarray, "models correlation"], Float[np.ndarray, "models correlation"]]:
    """Fraction of the latents nearest to a sum of partners, and to one of other features: of all models of densities up
    to `most`, by correlation; no model if there are none with pairs apart."""
    mixing = one.mixing(beside(results, one))
    rows = one.sparse(most)
    sums, others = (
        np.moveaxis(values[rows], 1, -1).reshape(-1, len(one.correlation)) for values in (mixing.sums, mixing.others)
    )
    known = np.isfinite(sums + others).all(-1)
    return sums[known], others[known]


def is_minimum(trained: Dictionaries, start: Dictionaries) -> Bool[np.ndarray, "density correlation"]:
    """Where training that starts from the true dictionary stays there, and ends no higher than from random starts: the
    true dictionary is among the minima, as far as training can tell. At the best penalty of `trained`."""
    stays = trained.at_best(start.measure("feature_cosine")) >= FOUND
    objective = trained.at_best(start.measure("objective"))
    return stays & (objective <= (1 + SAME) * trained.best_measure("objective"))


def outcomes(trained: Dictionaries, start: Dictionaries) -> Int[np.ndarray, "density correlation"]:
    """What becomes of trained dictionaries, at their best penalty."""
    found = np.where(is_minimum(trained, start), Outcome.STUCK, Outcome.OTHER)
    found = np.where(trained.best_measure("feature_cosine") >= FOUND, Outcome.FOUND, found)
    return np.where(trained.partner_cosine() >= MERGED, Outcome.MERGED, found)


def active_features(n_features: int, density: np.ndarray | float, correlation: np.ndarray | float) -> np.ndarray:
    """Mean number of active features of inputs that are not all 0, where pairs have this correlation; densities and
    correlations (...)."""
    density, correlation = np.asarray(density), np.asarray(correlation)
    empty = (1 - density) ** 2 + correlation * density * (1 - density)
    return np.asarray(n_features * density / (1 - empty ** (n_features // 2)))


def chance_below(cosine: np.ndarray | float, width: int, n_hidden: int) -> np.ndarray:
    """Probability that a direction has no larger cosine with any of `width` random ones in n_hidden dimensions. One
    cosine t has the density (1 - t²)^((n_hidden - 3) / 2), up to a factor."""
    if n_hidden == 1:
        return np.where(np.asarray(cosine) < 1, 0.5**width, 1.0)
    from scipy.special import betainc  # takes long to import

    half = (n_hidden - 1) / 2
    return np.asarray(betainc(half, half, (1 + np.asarray(cosine)) / 2) ** width)


def chance_cosine(width: int, n_hidden: int) -> float:
    """Mean of the largest cosine of a direction with `width` random ones."""
    t = np.linspace(-1, 1, 4001)
    return float(1 - np.trapezoid(chance_below(t, width, n_hidden), t))


def chance_found(width: int, n_hidden: int) -> float:
    """Probability that it is above 0.9."""
    return float(1 - chance_below(FOUND_COSINE, width, n_hidden))
