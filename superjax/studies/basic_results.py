"""The basic results: which features linear and ReLU models represent as data get sparser.

Paper, "Demonstrating Superposition": n = 20, m = 5, I = 0.7^i and n = 80, m = 20, I = 0.9^i at seven densities. Cases
are named GROUP_KIND; kinds are `linear` (model), `notebook` (the ReLU model by the published protocol) and `best` (by a
better optimiser). The best fit found of a group is the one of lowest loss of any ReLU case.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy.linalg import subspace_angles

from superjax import analysis
from superjax.plots.basic_results import counts, weights
from superjax.reference import theory
from superjax.spec import Case, SweepError
from superjax.studies import Claim, Results
from superjax.studies._known import at_points, known_points

SECTION = "Demonstrating Superposition"
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


def check(case: Case) -> None:
    """Raise SweepError unless the only axis is the density of all features."""
    if [(name, axis.names) for name, axis in case.axes.items()] != [("density", ("data.density",))]:
        raise SweepError("needs exactly the axis density (data.density)")
    if case.model.kind not in ("linear", "relu_output"):
        raise SweepError("compares the models linear and relu_output only")


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


def _is_known(group: Group) -> np.ndarray:
    """The densities at which there are models of all kinds that did not diverge."""
    return np.all([known_points(data, "density") for data in group.data.values()], axis=0)


def _known(group: Group) -> Group:
    """The group at the densities at which it is known, or if it is at none, at all."""
    points = _is_known(group)
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


def figures(results: Results) -> dict[str, Figure]:
    shown = groups(results)
    drawn = {f"weights_{group.name}": weights(results, group) for group in shown}
    with_relu = [group for group in shown if group.relu]
    return drawn | ({"counts": counts(results, with_relu)} if with_relu else {})


def claims(results: Results) -> list[Claim]:
    found = []
    for group in (group for group in groups(results) if _is_known(group).any()):
        if "linear" in group.data:
            found += _linear(group)
        if group.relu:
            found += [*_dense(group), *_digon_rule(group)]
        if "notebook" in group.relu:
            found += [*_published(group), *_order(group), *_sparse(group)]
        if len(group.relu) > 1:
            found += _optimiser(group)
    return found


def _linear(group: Group) -> list[Claim]:
    """The linear model keeps the most important m features, as principal component analysis says."""
    data, m, importance = group.best("linear"), group.case.n_hidden, group.importance
    W = data["W"].transpose("density", "hidden", "feature").values.astype(float)
    top = np.argsort(-importance, kind="stable")[:m]
    angle = max(_largest_angle(w, top) for w in W)
    density = np.repeat(group.density[:, None], len(importance), axis=1)
    minimum = theory.linear_minimum(importance, density, m)
    excess = float(np.max(np.abs(data["loss"].values / minimum - 1)))
    kept = np.isin(np.arange(len(importance)), top)
    expected = np.where(kept, 0.0, theory.mean(density))
    off = float(np.max(np.abs(data["b"].transpose("density", "feature").values - expected) / density))
    gram = np.einsum("dhi,dhj->dij", W, W)
    identity = float(np.max(np.abs(gram - np.diag(kept))))
    worst = f"largest over densities {', '.join(f'{s:g}' for s in group.density)}"
    return [
        Claim(f"{group.name}: linear: principal angle between the rows of W and the {m} most important features",
              SECTION, 0.0, angle, 1e-3, angle < 1e-3, worst),
        Claim(f"{group.name}: linear: loss = v × importance of the features left out (relative difference)",
              "exact minimum of the linear model", 0.0, excess, 1e-3, excess <= 1e-3, worst),
        Claim(f"{group.name}: linear: WᵀW is 1 for the represented features, 0 elsewhere (largest difference)",
              SECTION, 0.0, identity, 0.01, identity <= 0.01, worst),
        Claim(f"{group.name}: linear: bias 0 of a represented feature, the mean s/2 of others (difference / s)",
              SECTION, 0.0, off, 0.01, off <= 0.01, worst),
    ]  # fmt: skip


def _largest_angle(W: np.ndarray, features: np.ndarray) -> float:
    """Between the rows of W and the axes of some features; a right angle if the rows span fewer dimensions."""
    if np.linalg.matrix_rank(W) < len(features):
        return float(np.pi / 2)
    return float(subspace_angles(W.T, np.eye(W.shape[1])[:, features]).max())


def _at(group: Group, density: float) -> int | None:
    """The number of a density, if the group has it."""
    near = np.flatnonzero(np.isclose(group.density, density, rtol=1e-3))
    return int(near[0]) if len(near) else None


def _dense(group: Group) -> list[Claim]:
    """At density 1 the ReLU model does as the linear one."""
    point = _at(group, 1.0)
    if point is None:
        return []
    phase, m = group.best_found().isel(density=point)["phase"].values, group.case.n_hidden
    kept = np.flatnonzero(analysis.represented(phase)).tolist()
    expected = np.sort(np.argsort(-group.importance, kind="stable")[:m]).tolist()
    holds = kept == expected and (phase[kept] == analysis.PHASES.index("dedicated")).all()
    return [
        Claim(f"{group.name}: ReLU at density 1: the {m} most important features, each with its own dimension",
              SECTION, expected, kept, 0, bool(holds))
    ]  # fmt: skip


def _published(group: Group) -> list[Claim]:
    """Numbers of bars of the published figure, beside those of many fits by its protocol, and of the best fit."""
    if not group.published():
        return []
    fits, best = group.data["notebook"]["phase"], group.best_found()
    norms, threshold = group.data["notebook"]["norm"], group.case.phases.represented
    lower = (best["loss"] / group.data["notebook"]["loss"].median("restart")).values
    found = []
    for density, (represented, alone) in PUBLISHED.items():
        point = _at(group, density)
        if point is None:
            continue
        numbers = count(fits).isel(density=point).values
        measured = float(np.median(numbers))
        partial = ((norms < threshold) & (norms >= threshold / 5)).sum("feature").isel(density=point)
        spread = ", ".join(f"{n}: {(numbers == n).sum()}" for n in np.unique(numbers))
        found.append(
            Claim(f"{group.name}: represented features at density {density:g}, published protocol (median)",
                  SECTION, represented, measured, 1, abs(measured - represented) <= 1,
                  f"of {len(numbers)} fits, number represented: number of fits: {spread}; features of norm "
                  f"{threshold / 5:g} to {threshold:g} beside them: {float(partial.median()):g}")
        )  # fmt: skip
        if alone is not None:
            own = dedicated(fits).isel(density=point).values
            middle = float(np.median(own))
            found.append(
                Claim(f"{group.name}: features with a dimension of their own at density {density:g}, published "
                      "protocol (median)", SECTION, alone, middle, 1, abs(middle - alone) <= 1,
                      f"{own.min()} to {own.max()} in {len(own)} fits")
            )  # fmt: skip
        more = int(count(best["phase"])[point])
        found.append(
            Claim(f"{group.name}: represented features at density {density:g}, best fit found", SECTION, represented,
                  more, 1, abs(more - represented) <= 1,
                  f"by {best['kind'].values[point]}, {int(dedicated(best['phase'])[point])} with their own dimension; "
                  f"its loss is {lower[point]:.3f} of the published protocol's median, which is no optimum; error of "
                  f"the stored losses: {_error(group)}")
        )  # fmt: skip
    return found


def _error(group: Group) -> str:
    """The largest error of a stored loss of each ReLU case."""
    return ", ".join(f"{kind} {group.data[kind]['loss'].attrs['loss_error']:.1%}" for kind in group.relu)


def _digon_rule(group: Group) -> list[Claim]:
    """The number of features that antipodal pairs of unit weights predict, beside the measured one."""
    m, best = group.case.n_hidden, count(group.best_found()["phase"]).values
    rule = np.array([theory.digon_count(group.importance, s, m) for s in group.density])
    applies = (group.density > 0.02) & (group.density < 1)
    if not applies.any():
        return []
    kind = "notebook" if "notebook" in group.data else group.relu[0]
    typical = count(group.data[kind]["phase"]).median("restart").values
    tolerance = max(1, round(0.1 * 2 * m))
    off = np.abs(typical - rule)[applies]
    densities = [float(s) for s in group.density]
    return [
        Claim(f"{group.name}: number of represented features by the digon rule, densities {densities} ({kind}, median)",
              "digon rule, derived; at most 2m", rule.tolist(), typical.tolist(), tolerance,
              bool(off.max() <= tolerance),
              f"compared at densities from 0.03 on; where it is sparser more than two features share a dimension. "
              f"The best fit found has {best.tolist()}")
    ]  # fmt: skip


def _order(group: Group) -> list[Claim]:
    """Superposition begins among the less important of the represented features, in antipodal pairs."""
    data = group.data["notebook"]
    superposed = analysis.PHASES.index("superposed")
    points = [point for density in (0.3, 0.1) if (point := _at(group, density)) is not None]
    if not points:
        return []
    phase = (
        data["phase"]
        .isel(density=points)
        .transpose("density", "restart", "feature")
        .values.reshape(-1, len(group.importance))
    )
    W = data["W"].isel(density=points).transpose("density", "restart", "hidden", "feature").values
    above = [_rank_above(row == analysis.PHASES.index("dedicated"), row == superposed) for row in phase]
    known = [value for value in above if value is not None]
    units = W / np.maximum(np.linalg.norm(W, axis=-2, keepdims=True), 1e-9)
    cosines = np.einsum("drhi,drhj->drij", units, units).reshape(-1, *[len(group.importance)] * 2)
    cosines = np.where(analysis.represented(phase)[:, None, :], cosines, 0)  # partners are represented too
    nearest = cosines.min(-1)[phase == superposed]
    antipodal = float((nearest < -0.9).mean()) if len(nearest) else float("nan")
    where = f"densities {', '.join(f'{group.density[p]:g}' for p in points)}, {data.sizes['restart']} fits each"
    found = []
    if known:
        share = float(np.mean(known))
        found.append(
            Claim(f"{group.name}: a feature with its own dimension is more important than one that shares (fraction of "
                  "pairs)", SECTION, 1.0, share, 0.05, share >= 0.95, where)
        )  # fmt: skip
    if len(nearest):
        found.append(
            Claim(f"{group.name}: a feature that shares has an antipode, cosine < -0.9 (fraction)", SECTION, 1.0,
                  antipodal, 0.1, antipodal >= 0.9, where)
        )  # fmt: skip
    return found


def _rank_above(one: np.ndarray, other: np.ndarray) -> float | None:
    """Fraction of pairs in which a feature of `one` comes before a feature of `other`; None without any pair."""
    first, second = np.flatnonzero(one), np.flatnonzero(other)
    return float((first[:, None] < second[None]).mean()) if len(first) and len(second) else None


def _sparse(group: Group) -> list[Claim]:
    """At the sparsest density: positive interference, and negative biases that make up for it."""
    point = int(np.argmin(group.density))
    if group.density[point] > 0.01:
        return []
    data = group.best_found().isel(density=point)
    kept = analysis.represented(data["phase"].values)
    if kept.sum() < 2:
        return []
    W, b = data["W"].transpose("hidden", "feature").values[:, kept], data["b"].values[kept]
    overlaps: Float[np.ndarray, " pairs"] = (W.T @ W)[np.triu_indices(kept.sum(), 1)]
    positive, negative = float((overlaps > 0.1).mean()), float((b < 0).mean())
    where = f"best fit found at density {group.density[point]:g}, {kept.sum()} features represented"
    return [
        Claim(f"{group.name}: there is positive interference (fraction of pairs with W_i·W_j > 0.1)", SECTION, "> 0.05",
              positive, 0, positive > 0.05, f"{where}, largest {overlaps.max(initial=0):.2f}"),
        Claim(f"{group.name}: biases of represented features are negative (fraction)", SECTION, 1.0, negative, 0.1,
              negative >= 0.9, f"{where}, mean {b.mean():.2f}"),
    ]  # fmt: skip


def _optimiser(group: Group) -> list[Claim]:
    """In the sparsest panels a better optimiser finds more features than the published protocol."""
    if not {"notebook", "best"} <= set(group.relu):
        return []
    sparse = group.density <= 0.01
    if not sparse.any():
        return []
    published = count(group.data["notebook"]["phase"]).median("restart").values[sparse]
    numbers = count(group.data["best"]["phase"])
    near = group.data["best"]["loss"] <= 1.05 * group.best_found()["loss"].drop_vars("kind", errors="ignore")
    ranges = [
        f"{s:g}: {int(numbers[k].where(near[k]).min())} to {int(numbers[k].where(near[k]).max())}"
        for k, s in enumerate(group.density) if sparse[k] and bool(near[k].any())
    ]  # fmt: skip
    found = count(group.best_found()["phase"]).values[sparse]
    densities = ", ".join(f"{s:g}" for s in group.density[sparse])
    return [
        Claim(f"{group.name}: the best fit found represents more features than the published protocol (densities "
              f"{densities})", "optimum against protocol", f"at least {published.tolist()}", found.tolist(), 0,
              bool((found >= published).all() and found.sum() > published.sum()),
              f"fits within 5% of the lowest loss represent, by density: {'; '.join(ranges)}: many minima of nearly "
              f"equal loss differ in their number; error of the stored losses: {_error(group)}")
    ]  # fmt: skip
