"""What is claimed of the basic results: counts of features, order, interference, and the linear model's minimum."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.linalg import subspace_angles

from superjax import analysis
from superjax.reference import active_counts, theory
from superjax.studies.basic_results.view import (
    KINDS,
    PUBLISHED,
    PUBLISHED_ALONE,
    Group,
    count,
    dedicated,
    groups,
    is_known,
    samples,
)
from superjax.studies.claim import Claim, at_least, close, equal, fraction, less_than, more_than, vanishes
from superjax.studies.results import Results

SECTION = "Demonstrating Superposition"
DENSE = (0.3, 0.1)  # densities at which features are added in antipodal pairs
ONE_FIT = "1: the paper shows one fit, and single fits differ by that from their median"
CERTAIN = 1000.0  # standard errors, of a difference that has no more noise
SPARSE = 0.01  # densities up to this one are the paper's high sparsity regime


def claims(results: Results) -> list[Claim]:
    found = []
    for group in (group for group in groups(results) if is_known(group).any()):
        if "linear" in group.data:
            found += _linear(group)
        if group.relu:
            pairs = _ideal_pairs(group)
            found += [*_dense(group), *_digon_rule(group, pairs), *_choice(group), *_interference(group, pairs)]
        if "notebook" in group.relu:
            found += [*_published(group), *_order(group), *_protocol(group)]
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
    worst = f"largest over densities {_listed(group.density)}"
    what = f"{group.title}, linear model"
    return [
        vanishes(f"{what}: angle between its rows of W and the {m} most important features (radians)", SECTION, angle,
                 1e-3, note=worst, kind="paper"),
        vanishes(f"{what}: loss = variance × importance of the features left out (relative difference)",
                 "exact minimum of the linear model", excess, 1e-3, note=worst),
        vanishes(f"{what}: WᵀW is 1 for the represented features, 0 elsewhere (largest difference)", SECTION, identity,
                 0.01, note=worst, kind="paper"),
        vanishes(f"{what}: bias 0 of a represented feature, the mean s/2 of others (difference / s)", SECTION, off,
                 0.01, note=worst, kind="paper"),
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


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in values)


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
        equal(f"{group.title}: ReLU at density 1: the {m} most important features, each with its own dimension",
              SECTION, expected, kept, also=alone, kind="paper")
    ]  # fmt: skip


def _published(group: Group) -> list[Claim]:
    """Numbers of bars of the published figure, beside those of many fits by its protocol, and of the best fit."""
    points = {s: point for s in PUBLISHED if (point := _at(group, s)) is not None}
    if not group.published() or not points:
        return []
    fits, best = group.data["notebook"]["phase"].isel(density=list(points.values())), group.best_found()
    expected, numbers = [PUBLISHED[s] for s in points], count(fits).transpose("density", "restart").values
    spread = "; ".join(f"{s:g}: {row.min()} to {row.max()}" for s, row in zip(points, numbers, strict=True))
    draws = np.random.default_rng(0).integers(numbers.shape[1], size=(500, *numbers.shape))
    errors = np.median(np.take_along_axis(numbers[None], draws, -1), axis=-1).std(0)
    where = f"densities {_listed(np.array(list(points)))}"
    rule = f"norm at least {group.case.phases.represented:g} in the paper's figure and in ours"
    chosen = count(best["phase"]).values[list(points.values())]
    found = [
        close(f"{group.title}: represented features, published protocol (median of {numbers.shape[1]} fits), {where}",
              SECTION, expected, np.median(numbers, axis=1).tolist(), absolute=1, tolerance=ONE_FIT,
              note=f"{rule}; least and most of a fit: {spread}. Standard errors of the medians (bootstrap): "
              f"{_listed(errors.round(2))}. With seeds 0 to 4 medians of 20 fits are the paper's everywhere for one "
              "seed, and up to 1 off for the others. The paper's bars were read from its figure",
              kind="paper"),
        close(f"{group.title}: represented features, best fit found, {where}", SECTION, expected, chosen.tolist(),
              absolute=1, tolerance=ONE_FIT,
              note=f"{rule}; best are fits by: {_kinds(best)}", kind="paper"),
    ]  # fmt: skip
    alone = {s: point for s, point in points.items() if s in PUBLISHED_ALONE}
    if alone:
        own = dedicated(group.data["notebook"]["phase"].isel(density=list(alone.values())))
        own = own.transpose("density", "restart").values
        spread = "; ".join(f"{s:g}: {row.min()} to {row.max()}" for s, row in zip(alone, own, strict=True))
        found.append(
            close(f"{group.title}: features with a dimension of their own, published protocol (median), densities "
                  f"{_listed(np.array(list(alone)))}", SECTION, [PUBLISHED_ALONE[s] for s in alone],
                  np.median(own, axis=1).tolist(), absolute=1, tolerance=ONE_FIT,
                  note=f"least and most of a fit: {spread}", kind="paper")
        )  # fmt: skip
    return found


def _kinds(best: xr.Dataset) -> str:
    """How the best fits were trained, densities that agree together."""
    kinds = [str(KINDS.get(kind, kind)).lower() for kind in best["kind"].values]
    return "; ".join(
        f"{kind} at {_listed(best['density'].values[[one == kind for one in kinds]])}" for kind in dict.fromkeys(kinds)
    )


def _choice(group: Group) -> list[Claim]:
    """Whether the best fit is told from the fits that represent another number of features."""
    fits = group.fits()
    number, loss = count(fits["phase"]).values, fits["loss"].fillna(np.inf).values
    difference, words, clear = fits["error_of_difference"].values, [], []
    for k, density in enumerate(group.density):
        best = int(loss[k].argmin())
        others = np.flatnonzero((number[k] != number[k, best]) & np.isfinite(loss[k]))
        if not len(others):
            continue
        rival = others[loss[k, others].argmin()]
        excess, error = loss[k, rival] / loss[k, best] - 1, difference[k, rival] / loss[k, best]
        clear.append(float(min(excess / max(error, excess / CERTAIN), CERTAIN)) if excess > 0 else 0.0)
        words.append(
            f"{density:g}: {number[k, best]} features, next {number[k, rival]} at {excess:.3%} ± {error:.3%} above"
        )
    if not clear:
        return []
    return [
        at_least(f"{group.title}: standard errors by which the best fit is better than the best with another number of "
                 "features (least of any density)", "none, one and two active features exactly, three and more sampled",
                 3, min(clear), kind="check",
                 note=f"{'; '.join(words)}; below 3 it is not decided how many features the optimum has: the "
                 "next number may do as well")
    ]  # fmt: skip


def _digon_rule(group: Group, pairs: dict[int, "IdealPairs"]) -> list[Claim]:
    """The number of features that antipodal pairs of unit weights predict, beside that of the best fit."""
    m, best = group.case.n_hidden, count(group.best_found()["phase"]).values
    rule = np.array([theory.digon_count(group.importance, s, m) for s in group.density])
    applies = (rule < min(2 * m, len(group.importance))) & (group.density < 1)
    if not applies.any():
        return []
    rest = "; ".join(f"{s:g}: {n}" for s, n in zip(group.density[~applies], best[~applies], strict=True))
    by_hand = "; ".join(
        f"{group.density[point]:g}: {pair.excess:+.2%} ± {pair.error:.2%}"
        for point, pair in pairs.items() if applies[point]
    )  # fmt: skip
    return [
        close(f"{group.title}: represented features of the best fit by the digon rule, densities "
              f"{_listed(group.density[applies])}", "digon rule, derived", rule[applies].tolist(),
              best[applies].tolist(), absolute=1, tolerance="1: the last newcomer gains next to nothing",
              note="where the rule is below two features a dimension, beyond which it says no more; the best fit is "
              f"one of {group.fits()['loss'].sizes['fit']}, and another claim says whether it is told from the next"
              + (f"; loss of ideal pairs by the rule above its own: {by_hand}" if by_hand else "")
              + (f"; at the other densities the best fit has {rest}" if rest else ""))
    ]  # fmt: skip


class IdealPairs(NamedTuple):
    """The loss of the rule's own model above that of the best fit, as a fraction of it, and the standard error."""

    excess: float
    error: float

    @property
    def better(self) -> bool:
        return self.excess < -3 * self.error


def _ideal_pairs(group: Group) -> dict[int, IdealPairs]:
    """The model of the digon rule, unit weights and no bias but the mean where a feature is left out, beside the best
    fit, by the number of the density: those below 1 at which it fills no dimension with a third feature. None where
    features depend on each other."""
    if any(group.cases[kind].data.kind != "independent" for kind in group.relu):
        return {}
    importance, m, found = group.importance, group.case.n_hidden, {}
    ranked = np.argsort(-importance, kind="stable")
    for point, s in enumerate(group.density.tolist()):
        number = theory.digon_count(importance, s, m)
        if s == 1 or number >= min(2 * m, len(importance)):
            continue
        W, b = np.zeros((m, len(importance))), np.full(len(importance), theory.mean(s))
        W[np.arange(m), ranked[:m]], b[ranked[:number]] = 1, 0
        newcomers = ranked[m:number]
        W[m - 1 - np.arange(len(newcomers)), newcomers] = -1  # the first asks the least important host
        best = group.best_found().isel(density=point)
        loss, _, error = active_counts.compare(
            np.stack([best["W"].transpose("hidden", "feature").values, W]), np.stack([best["b"].values, b]),
            importance, s, samples=samples(2, len(importance)),
        )  # fmt: skip
        if np.isfinite(loss).all():
            found[point] = IdealPairs(float(loss[1] / loss[0] - 1), float(error.max() / loss[0]))
    return found


def _order(group: Group) -> list[Claim]:
    """Superposition begins among the less important of the represented features, in antipodal pairs."""
    data = group.data["notebook"]
    superposed = analysis.PHASES.index("superposed")
    points = [point for density in DENSE if (point := _at(group, density)) is not None]
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
            fraction(f"{group.title}: a feature with its own dimension is more important than one that shares "
                     "(fraction of pairs)", SECTION, float(np.mean(known)), 0.05, note=f"{where}; by chance 0.5",
                     kind="paper")
        )  # fmt: skip
    if len(nearest):
        found.append(
            fraction(f"{group.title}: a feature that shares has an antipode, cosine < -0.9 (fraction)", SECTION,
                     float((nearest < -0.9).mean()), 0.1, note=where, kind="paper")
        )  # fmt: skip
    return found


def _rank_above(one: np.ndarray, other: np.ndarray) -> float | None:
    """Fraction of pairs in which a feature of `one` comes before a feature of `other`; None without any pair."""
    first, second = np.flatnonzero(one), np.flatnonzero(other)
    return float((first[:, None] < second[None]).mean()) if len(first) and len(second) else None


def _interference(group: Group, pairs: dict[int, "IdealPairs"]) -> list[Claim]:
    """Positive interference, and negative biases that make up for it, are there where data are sparse, and only there.

    An antipodal pair has a bias a little above 0, and no positive interference.
    """
    best, found = group.best_found(), []
    overlaps, biases = zip(*(_kept(best.isel(density=k)) for k in range(len(group.density))), strict=True)
    dense = [point for s in DENSE if (point := _at(group, s)) is not None and len(overlaps[point])]
    if dense:
        largest = {group.density[k]: float(overlaps[k].max()) for k in dense}
        least = {group.density[k]: float((biases[k] / group.density[k]).min()) for k in dense}
        stuck = [group.density[k] for k in dense if k in pairs and pairs[k].better]
        where = "best fits found, by density: {}" + (
            f"; at {_listed(np.array(stuck))} ideal antipodal pairs have a lower loss: no fit found the optimum"
            if stuck else ""
        )  # fmt: skip
        found += [
            less_than(f"{group.title}: no positive interference where features come in antipodal pairs (largest "
                      "inner product of two features' weights)", SECTION, 0.1, max(largest.values()),
                      note=where.format(_by_density(largest)), kind="paper"),
            more_than(f"{group.title}: biases are not negative there (least of a represented feature / density)",
                      "antipodal pair, exact loss: the best bias is above 0", -0.05, min(least.values()),
                      note=where.format(_by_density(least))),
        ]  # fmt: skip
    sparsest = int(np.argmin(group.density))
    if group.density[sparsest] <= SPARSE and len(overlaps[sparsest]):
        share = {
            s: (float((values > 0.1).mean()), float((bias < -0.01).mean()))
            for s, values, bias in zip(group.density, overlaps, biases, strict=True) if len(values)
        }  # fmt: skip
        positive, negative = share[group.density[sparsest]]
        by_density = [_by_density({s: part[k] for s, part in share.items()}) for k in (0, 1)]
        where = f"best fit found at density {group.density[sparsest]:g}"
        found += [
            more_than(f"{group.title}: positive interference where sparse (fraction of pairs of features whose "
                      "weights have an inner product above 0.1)",
                      SECTION, 0.1, positive, note=f"{where}; by density: {by_density[0]}", kind="paper"),
            more_than(f"{group.title}: negative biases where sparse (fraction of represented features with b < -0.01)",
                      SECTION, 0.5, negative, note=f"{where}; by density: {by_density[1]}", kind="paper"),
        ]  # fmt: skip
    return found


def _by_density(values: dict[float, float]) -> str:
    return "; ".join(f"{s:g}: {value:.2f}" for s, value in values.items())


def _kept(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Overlaps of all pairs of represented features, and their biases."""
    kept = analysis.represented(data["phase"].values)
    W = data["W"].transpose("hidden", "feature").values[:, kept]
    return (W.T @ W)[np.triu_indices(kept.sum(), 1)], data["b"].values[kept]


def _protocol(group: Group) -> list[Claim]:
    """Where data are sparse the published protocol does not reach the lowest loss."""
    if "best" not in group.relu or group.density.min() > SPARSE:
        return []
    point = int(np.argmin(group.density))
    fits = group.fits().isel(density=point)
    loss, by_protocol = fits["loss"].values, fits["kind"].values == "notebook"
    if not np.isfinite(loss).any():
        return []
    number = count(fits["phase"]).values
    excess = float(np.nanmedian(loss[by_protocol]) / np.nanmin(loss) - 1)
    return [
        more_than(f"{group.title}: the published protocol is no optimum where sparse (median loss above that of the "
                  "best fit found)", "restarts of a better optimiser", 0.05, excess,
                  note=f"density {group.density[point]:g}; represented: {np.median(number[by_protocol]):g} (median), "
                  f"{number[np.nanargmin(loss)]} in the best fit found")
    ]  # fmt: skip
