"""The cases of the basic results by shape, and the counts of features in them."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import xarray as xr

from superjax import analysis
from superjax.reference import active_counts
from superjax.spec import Case
from superjax.studies.results import Results, at_points, known_points

# Bars of norm 0.5 and more in the paper's figure for A, by density, and those without interference where it can be
# told. Those of its figure for B, a picture of 80 thin bars, were not to be had.
PUBLISHED = {1.0: 5, 0.3: 7, 0.1: 9, 0.03: 10, 0.01: 12, 0.003: 13, 0.001: 13}
PUBLISHED_ALONE = {1.0: 5, 0.3: 3, 0.1: 1}
KINDS = {"linear": "Linear model", "notebook": "Published protocol", "best": "Better optimiser"}
SAMPLED_NUMBERS = 2**28  # outputs of all fits that are compared, of inputs with more active features than enumerated
MAX_SAMPLES = 2**19
PUBLISHED_SHAPE = (20, 5, 0.7)  # n, m and the ratio of importances of A


class Group(NamedTuple):
    """The cases of one shape, by kind."""

    name: str
    cases: dict[str, Case]
    data: dict[str, xr.Dataset]

    @property
    def case(self) -> Case:
        return next(iter(self.cases.values()))

    @property
    def title(self) -> str:
        return f"n = {self.case.n_features}, m = {self.case.n_hidden}"

    @property
    def density(self) -> np.ndarray:
        return next(iter(self.data.values()))["density"].values

    @property
    def importance(self) -> np.ndarray:
        return np.array(self.case.importance_vector())

    @property
    def relu(self) -> list[str]:
        """The kinds that are ReLU models."""
        return [kind for kind, case in self.cases.items() if case.model.kind != "linear"]

    def best(self, kind: str) -> xr.Dataset:
        """The restart of lowest loss at every density."""
        return self.data[kind].isel(restart=self.data[kind]["best"])

    def fits(self) -> xr.Dataset:
        """All ReLU models of all kinds along `fit`, with their `kind`. Where features are independent, `loss` is that
        of `reference.active_counts`, with its `error` and the `error_of_difference` to the lowest at the density."""
        found = xr.concat([_core(self.data[kind]) for kind in self.relu], "fit")
        kind = np.repeat(np.array(self.relu, object), [self.data[kind].sizes["restart"] for kind in self.relu])
        found = found.assign(kind=("fit", kind)).transpose("density", "fit", "hidden", "feature")
        zero = np.zeros((found.sizes["density"], found.sizes["fit"]))
        loss, error, difference = found["loss"].values, zero, zero
        if all(self.cases[kind].data.kind == "independent" for kind in self.relu):
            W, b = (np.ascontiguousarray(found[name].values, np.float32) for name in ("W", "b"))
            loss, error, difference = _compared(
                W.tobytes(), b.tobytes(), W.shape, tuple(self.importance), tuple(map(float, self.density))
            )
        dims = ("density", "fit")
        return found.assign(loss=(dims, loss), error=(dims, error), error_of_difference=(dims, difference))

    def best_found(self) -> xr.Dataset:
        """The ReLU model of lowest loss at every density, of all kinds, with its `kind`."""
        found = self.fits()
        return found.isel(fit=found["loss"].fillna(np.inf).argmin("fit").compute())

    def published(self) -> bool:
        """Whether the paper's counts are of this group."""
        n, m, ratio = PUBLISHED_SHAPE
        shape = (self.case.n_features, self.case.n_hidden)
        return shape == (n, m) and np.allclose(self.importance, ratio ** np.arange(n))


def _core(data: xr.Dataset) -> xr.Dataset:
    names = ["W", "b", "loss", "norm", "interference", "phase"]
    return data[names].drop_vars("restart").drop_attrs().rename(restart="fit")


@lru_cache(maxsize=8)  # claims and figures ask for the same
def _compared(W: bytes, b: bytes, shape: tuple[int, ...], importance: tuple[float, ...], density: tuple[float, ...]):
    """Losses of all fits, their errors and those of differences, (density, fit), from the bytes of their weights."""
    densities, fits, _, n = shape
    weights = np.frombuffer(W, np.float32).reshape(shape)
    bias = np.frombuffer(b, np.float32).reshape(densities, fits, n)
    found = [
        active_counts.compare(*models, np.array(importance), s, samples(fits, n))
        for *models, s in zip(weights, bias, density, strict=True)
    ]
    return tuple(np.stack(arrays) for arrays in zip(*found, strict=True))


def samples(fits: int, n_features: int) -> int:
    """On how many inputs fits are compared, beside those that are enumerated."""
    return min(max(SAMPLED_NUMBERS // (fits * n_features), 2), MAX_SAMPLES)


def count(phase: xr.DataArray) -> xr.DataArray:
    """How many features are represented."""
    return xr.apply_ufunc(analysis.represented, phase).sum("feature")


def dedicated(phase: xr.DataArray) -> xr.DataArray:
    """How many features have a dimension of their own."""
    return (phase == analysis.PHASES.index("dedicated")).sum("feature")


def groups(results: Results) -> list[Group]:
    """The cases by shape, in the order of the sweep."""
    found: dict[str, Group] = {}
    for name, data in results.datasets.items():
        stem, _, kind = name.rpartition("_")
        case, stem = results.sweep.cases[name], stem or kind
        group = found.setdefault(stem, Group(stem, {}, {}))
        if group.cases and not _alike(group.case, case):  # another shape, to be shown by itself
            group = found.setdefault(name, Group(name, {}, {}))
        group.cases[kind], group.data[kind] = case, data
    return [_known(group) for group in found.values()]


def is_known(group: Group) -> np.ndarray:
    """The densities at which there are models of all kinds that did not diverge."""
    return np.all([known_points(data, "density") for data in group.data.values()], axis=0)


def _known(group: Group) -> Group:
    """The group at the densities at which it is known, or if it is at none, at all."""
    points = is_known(group)
    if not points.any():
        return group
    numbers = np.flatnonzero(points)
    pairs = {kind: at_points(case, group.data[kind], "density", numbers) for kind, case in group.cases.items()}
    return group._replace(cases={kind: case for kind, (case, _) in pairs.items()},
                          data={kind: data for kind, (_, data) in pairs.items()})  # fmt: skip


def _alike(one: Case, other: Case) -> bool:
    """Whether cases differ in model and training only."""
    return all(
        getattr(one, key) == getattr(other, key) for key in ("n_features", "n_hidden", "importance", "data")
    ) and np.array_equal(one.axes["density"].table(), other.axes["density"].table())
