"""The cases of the basic results by shape, and the counts of features in them."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from superjax import analysis
from superjax.spec import Case
from superjax.studies.results import Results, at_points, known_points

PUBLISHED = {  # bars of the paper's figure for A by density: represented, and dedicated where it can be told
    1.0: (5, 5),
    0.3: (7, 3),
    0.1: (9, 1),
    0.03: (10, None),
    0.01: (11, None),
    0.003: (12, None),
    0.001: (12, None),
}
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

    def best_found(self) -> xr.Dataset:
        """The ReLU model of lowest loss at every density, of all kinds, with its `kind`."""
        found = xr.concat([_core(self.best(kind)) for kind in self.relu], "kind")
        which = found["loss"].fillna(np.inf).argmin("kind").compute()
        return found.isel(kind=which).assign(kind=("density", np.array(self.relu, object)[which.values]))

    def published(self) -> bool:
        """Whether the paper's counts are of this group."""
        n, m, ratio = PUBLISHED_SHAPE
        shape = (self.case.n_features, self.case.n_hidden)
        return shape == (n, m) and np.allclose(self.importance, ratio ** np.arange(n))


def _core(data: xr.Dataset) -> xr.Dataset:
    names = ["W", "b", "loss", "norm", "interference", "phase"]
    return data[names].drop_vars("restart").drop_attrs()


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
