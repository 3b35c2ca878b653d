"""What is claimed of the basic results: counts of features, order, interference, and the linear model's minimum."""

import numpy as np
from jaxtyping import Float
from scipy.linalg import subspace_angles

from superjax import analysis
from superjax.reference import theory
from superjax.studies.basic_results.view import PUBLISHED, Group, count, dedicated, groups, is_known
from superjax.studies.claim import Claim, between, close, equal, fraction, more_than, vanishes
from superjax.studies.results import Results

SECTION = "Demonstrating Superposition"


def claims(results: Results) -> list[Claim]:
    found = []
    for group in (group for group in groups(results) if is_known(group).any()):
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
        vanishes(f"{group.name}: linear: principal angle between the rows of W and the {m} most important features",
                 SECTION, angle, 1e-3, note=worst),
        vanishes(f"{group.name}: linear: loss = v × importance of the features left out (relative difference)",
                 "exact minimum of the linear model", excess, 1e-3, note=worst),
        vanishes(f"{group.name}: linear: WᵀW is 1 for the represented features, 0 elsewhere (largest difference)",
                 SECTION, identity, 0.01, note=worst),
        vanishes(f"{group.name}: linear: bias 0 of a represented feature, the mean s/2 of others (difference / s)",
                 SECTION, off, 0.01, note=worst),
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
    alone = bool((phase[kept] == analysis.PHASES.index("dedicated")).all())
    return [
        equal(f"{group.name}: ReLU at density 1: the {m} most important features, each with its own dimension",
              SECTION, expected, kept, also=alone)
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
            close(f"{group.name}: represented features at density {density:g}, published protocol (median)",
                  SECTION, represented, measured, absolute=1,
                  note=f"of {len(numbers)} fits, number represented: number of fits: {spread}; features of norm "
                  f"{threshold / 5:g} to {threshold:g} beside them: {float(partial.median()):g}")
        )  # fmt: skip
        if alone is not None:
            own = dedicated(fits).isel(density=point).values
            middle = float(np.median(own))
            found.append(
                close(f"{group.name}: features with a dimension of their own at density {density:g}, published "
                      "protocol (median)", SECTION, alone, middle, absolute=1,
                      note=f"{own.min()} to {own.max()} in {len(own)} fits")
            )  # fmt: skip
        more = int(count(best["phase"])[point])
        found.append(
            close(f"{group.name}: represented features at density {density:g}, best fit found", SECTION, represented,
                  more, absolute=1,
                  note=f"by {best['kind'].values[point]}, {int(dedicated(best['phase'])[point])} with their own "
                  f"dimension; its loss is {lower[point]:.3f} of the published protocol's median, which is no optimum; "
                  f"error of the stored losses: {_error(group)}")
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
    near = np.where(applies, tolerance, np.inf)
    densities = [float(s) for s in group.density]
    return [
        between(f"{group.name}: number of represented features by the digon rule, densities {densities} ({kind}, "
                "median)", "digon rule, derived; at most 2m", rule.tolist(), typical.tolist(), rule - near,
                rule + near, tolerance=tolerance,
                note=f"compared at densities from 0.03 on; where it is sparser more than two features share a "
                f"dimension. The best fit found has {best.tolist()}")
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
    where = f"densities {', '.join(f'{group.density[p]:g}' for p in points)}, {data.sizes['restart']} fits each"
    found = []
    if known:
        found.append(
            fraction(f"{group.name}: a feature with its own dimension is more important than one that shares (fraction "
                     "of pairs)", SECTION, float(np.mean(known)), 0.05, note=where)
        )  # fmt: skip
    if len(nearest):
        found.append(
            fraction(f"{group.name}: a feature that shares has an antipode, cosine < -0.9 (fraction)", SECTION,
                     float((nearest < -0.9).mean()), 0.1, note=where)
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
        more_than(f"{group.name}: there is positive interference (fraction of pairs with W_i·W_j > 0.1)", SECTION, 0.05,
                  positive, note=f"{where}, largest {overlaps.max(initial=0):.2f}"),
        fraction(f"{group.name}: biases of represented features are negative (fraction)", SECTION, negative, 0.1,
                 note=f"{where}, mean {b.mean():.2f}"),
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
