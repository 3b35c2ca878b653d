"""What is claimed of the absolute value: two neurons a feature, polysemantic ones as data get sparser, the motif."""

import numpy as np
import xarray as xr

from superjax import analysis
from superjax.spec import Case
from superjax.studies.absolute_value.view import (
    ASYMMETRY,
    INHIBITED,
    NEAR,
    PAPER,
    SHARES,
    at_best,
    by_hand,
    error,
    foreign,
    in_words,
    is_sanity,
    margins,
    motifs,
    polysemantic,
    response,
    serves,
    weights,
)
from superjax.studies.claim import Claim, at_least, at_most, close, equal, fraction, less_than, vanishes
from superjax.studies.results import Results, known

SECTION = "Computation in Superposition"
RULE = f"a neuron serves a feature if |input weight| × output weight is at least {analysis.SHARE:g} of that feature's"
DENSE = 0.3  # from which on the paper's neurons are monosemantic
SPARSE = 0.001  # where its neurons all are highly polysemantic
HIGHLY = 3  # features that a neuron serves at least, to be highly polysemantic: the paper gives no number
_RANK = 0.9  # of a rank correlation
_SAME = 0.1  # of the error by hand: less than one neuron is worth
_MARGIN = 1.25  # factor by which the share of a rule may be another one, as for a privileged basis
_FIRST = 0.7  # fraction of pairs in which the more important one is first; by chance half


def claims(results: Results) -> list[Claim]:
    results, found = known(results), []
    motif_of = {}
    for name, data in results.datasets.items():
        case = results.sweep.cases[name]
        if is_sanity(case):
            found += _two_neurons(name, case, data)
            continue
        motif_of[name] = motifs(data)
        if case.n_features > 2 * case.n_hidden:
            found += _trained(name, case, data) + _computation(name, case, data)
    best = min((name for name in motif_of if motif_of[name]), key=lambda name: motif_of[name][0].deviation, default="")
    return found + (_motif(best, results.datasets[best], motif_of) if best else [])


def _two_neurons(name: str, case: Case, data: xr.Dataset) -> list[Claim]:
    """Enough neurons: one for each sign of every feature, and nothing is lost."""
    density = data["density"].values
    W1, _ = weights(data)
    served, W1 = at_best(data, serves(data)), at_best(data, W1)
    both = [(own & (w > 0)).sum(0).tolist() == [1] * case.n_features == (own & (w < 0)).sum(0).tolist()
            for own, w in zip(served, W1, strict=True)]  # fmt: skip
    lost, reached = at_best(data, error(case, data)), (error(case, data) < 1e-3).mean(1)
    where = "; ".join(f"{s:g}: {e:.1e}" for s, e in zip(density, lost, strict=True))
    return [
        equal(f"{name}: densities at which every feature has two neurons of its own, one for each sign", SECTION,
              density.tolist(), density[both].tolist(), tolerance=RULE, kind="paper",
              note="best restart; its own: a neuron that serves no other by the rule, though it may have weights for "
              "others; largest input weight for a feature that a neuron does not serve, by that for its own: "
              + "; ".join(f"{s:g}: {foreign(own, w):.2f}" for s, own, w in zip(density, served, W1, strict=True))),
        equal(f"{name}: polysemantic neurons of the best restarts", SECTION, 0, int((served.sum(-1) > 1).sum()),
              tolerance=RULE, kind="paper"),
        less_than(f"{name}: error of the best restart relative to the variance of |x| (largest of any density)",
                  "|x| = ReLU(x) + ReLU(-x) is exact", 1e-3, float(lost.max()),
                  note=f"{where}; so do restarts (fraction): "
                  + "; ".join(f"{s:g}: {r:.2f}" for s, r in zip(density, reached, strict=True))),
    ]  # fmt: skip


def _trained(name: str, case: Case, data: xr.Dataset) -> list[Claim]:
    """Without a model that computes |x| its neurons say nothing; and how sharp the rule is that counts them."""
    order = np.argsort(-data["density"].values, kind="stable")
    density, every, hand = data["density"].values[order], error(case, data)[order], by_hand(case)
    best, margin = at_best(data, error(case, data))[order], margins(data)[order]
    less, more = (at_best(data, serves(data, f))[order].sum(-1) for f in (1 / _MARGIN, _MARGIN))
    unsure = ((np.minimum(less, 2) != np.minimum(more, 2)) & ((less > 1) | (more > 1))).sum(-1)
    return [
        at_most(f"{name}: error of the best restart by that of a model made by hand, at densities "
                + ", ".join(f"{s:g}" for s in density),
                f"two neurons each for the {case.n_hidden // 2} most important features", 1, (best / hand).tolist(),
                _SAME, note=f"by hand {hand:.4f} of the variance of |x|; best restart and median of all: "
                + "; ".join(f"{s:g}: {one:.4f}, {np.median(all):.4f}"
                            for s, one, all in zip(density, best, every, strict=True))
                + "; neurons that serve a feature, and features: "
                + "; ".join(f"{s:g}: {own.any(1).sum()}, {own.any(0).sum()}"
                            for s, own in zip(density, at_best(data, serves(data))[order], strict=True))
                + ". Tolerance: less than one neuron is worth, half a feature's error. The sweep file says how "
                "settings were chosen"),
        at_least(f"{name}: margin of what neurons serve (least factor between a gain and what decides it)",
                 "the rule's own margin", _MARGIN, float(margin.min()), kind="check",
                 note="; ".join(f"{s:g}: {m:.3f}" for s, m in zip(density, margin, strict=True))
                 + f"; of {case.n_hidden * case.n_features} gains some are always close. Neurons that are polysemantic "
                 f"with a share of {analysis.SHARE / _MARGIN:.3g} and not with {analysis.SHARE * _MARGIN:.3g}, or the "
                 "other way round: " + "; ".join(f"{s:g}: {k}" for s, k in zip(density, unsure, strict=True))),
    ]  # fmt: skip


def _computation(name: str, case: Case, data: xr.Dataset) -> list[Claim]:
    """Neurons become polysemantic as data get sparser, those of the least important features first."""
    order = np.argsort(-data["density"].values, kind="stable")
    density, served = data["density"].values[order], at_best(data, serves(data))[order]
    counts = served.sum(-1)
    poly, used, part = (counts > 1).sum(-1), (counts > 0).sum(-1), polysemantic(served)
    listed = "; ".join(f"{s:g}: {p} of {u}" for s, p, u in zip(density, poly, used, strict=True))
    by_share = {f * analysis.SHARE: at_best(data, serves(data, f))[order].sum(-1) for f in SHARES}
    sensitive = "; ".join(f"with a share of {f:g}: {(n > 1).sum(-1).tolist()}" for f, n in by_share.items())
    found = [
        at_most(f"{name}: polysemantic neurons fewer than at the next denser density (most; with a share of "
                f"{', '.join(f'{f:g}' for f in by_share)})", f"{SECTION}: progressively polysemantic", 0,
                [int(np.max(-np.diff((n > 1).sum(-1)), initial=0)) for n in by_share.values()], 1, kind="paper",
                note=f"polysemantic neurons of the best restart: {listed}; {sensitive}"),
    ]  # fmt: skip
    if len(density) > 2 and len(np.unique(part[np.isfinite(part)])) > 1:
        every = polysemantic(serves(data))[order]
        sparsity = np.broadcast_to(-np.log(density)[:, None], every.shape)
        found.append(
            at_least(f"{name}: rank correlation of the fraction of polysemantic neurons with sparsity",
                     f"{SECTION}: progressively polysemantic", _RANK,
                     analysis.rank_correlation_of_finite(-np.log(density), part), kind="paper",
                     note=f"best restarts; of all restarts "
                     f"{analysis.rank_correlation_of_finite(sparsity, every):.3f}")
        )  # fmt: skip
    dense = density >= DENSE * 0.999
    if dense.any():
        found.append(
            equal(f"{name}: polysemantic neurons at densities {', '.join(f'{s:g}' for s in density[dense])}", SECTION,
                  [0] * int(dense.sum()), poly[dense].tolist(), tolerance=RULE, note=listed, kind="paper")
        )  # fmt: skip
    sparse = int(np.argmin(density))
    if density[sparse] <= SPARSE * 1.001 and used[sparse]:
        each = counts[sparse][counts[sparse] > 0]
        alone = np.flatnonzero(served[sparse][counts[sparse] == 1].any(0)) + 1
        of_restarts = zip(
            error(case, data)[order][sparse], (serves(data)[order][sparse].sum(-1) == 1).sum(-1), strict=True
        )
        found += [
            equal(f"{name}: monosemantic neurons at density {density[sparse]:g}", SECTION, 0, int((each == 1).sum()),
                  tolerance=RULE, kind="paper", note=f"{used[sparse]} neurons serve a feature; the features of "
                  f"monosemantic ones, the most important is 1: {alone.tolist()}; "
                  + "; ".join(f"with a share of {f:g}: {(n[sparse] == 1).sum()}" for f, n in by_share.items())
                  + "; restarts, error and monosemantic neurons: "
                  + "; ".join(f"{lost:.4f}, {number}" for lost, number in sorted(of_restarts))),
            fraction(f"{name}: neurons that serve {HIGHLY} features or more at density {density[sparse]:g} (fraction)",
                     f"{SECTION}: highly polysemantic", float((each >= HIGHLY).mean()), kind="paper",
                     note=f"of neurons that serve any; features a neuron: mean {each.mean():.1f}, most {each.max()}"),
        ]  # fmt: skip
    return [*found, *_least_important_first(name, density, served)]


def _least_important_first(name: str, density: np.ndarray, served: np.ndarray) -> list[Claim]:
    """Where both are there, features whose neurons serve no other are more important than those that share."""
    by_feature, by_neuron, numbers = {}, {}, []
    for s, own in zip(density, served, strict=True):
        crowded = (own & (own.sum(-1, keepdims=True) > 1)).any(0)
        alone, shared = np.flatnonzero(own.any(0) & ~crowded), np.flatnonzero(crowded)
        if len(alone) and len(shared):
            by_feature[s] = float((alone[:, None] < shared[None]).mean())
        first, number = own.argmax(-1), own.sum(-1)
        if (number == 1).any() and (number > 1).any():
            later = first[None, number > 1] - first[number == 1, None]
            by_neuron[s] = float((later > 0).mean() + (later == 0).mean() / 2)
            numbers.append(f"{s:g}: {(number == 1).sum()} and {(number > 1).sum()}")
    claims = []
    for one, other, found, note in (
        ("the most important feature of a monosemantic neuron", "that of a polysemantic one", by_neuron,
         f"the measure that was taken first; the same feature counts half; neurons of both: {', '.join(numbers)}"),
        ("a feature with neurons of its own", "one that shares a neuron", by_feature,
         "added later, since a polysemantic neuron may serve an important feature too"),
    ):  # fmt: skip
        if found:
            claims.append(
                at_least(f"{name}: {one} is more important than {other} (least fraction of pairs at a density)",
                         f"{SECTION}: the least important first", _FIRST, min(found.values()), kind="paper",
                         note=f"best restarts; by chance 0.5; {note}; "
                         + "; ".join(f"{s:g}: {value:.2f}" for s, value in found.items()))
            )  # fmt: skip
    return claims


def _motif(name: str, data: xr.Dataset, motif_of: dict[str, list]) -> list[Claim]:
    """The asymmetric motif: how often it is found, its best example beside the paper's, and what it does."""
    best = motif_of[name][0]
    W1, W2 = (array.sel(density=best.density).isel(restart=best.restart) for array in (data["W1"], data["W2"]))
    W1, W2 = W1.transpose("hidden", "feature").values, W2.transpose("feature", "hidden").values
    b = data["b"].sel(density=best.density).isel(restart=best.restart).values
    sign = np.sign(W1[best.neuron, best.one])
    reach = np.linspace(0, 1, 11) * sign
    leaks = float(response(W1, W2, b, best.one, reach)[:, best.other].max())
    alone = float(W2[best.other, best.neuron] * abs(W1[best.neuron, best.one]))
    counted = "; ".join(f"{case}: {in_words(found)}" for case, found in motif_of.items())
    other = "; ".join(f"{f * analysis.SHARE:g}: {len(motifs(data, f))}" for f in SHARES)
    return [
        close(f"{name}: input and output weights of the asymmetric motif (best example)", SECTION, list(PAPER),
              list(best.weights), relative=NEAR, kind="paper",
              note=f"density {best.density:g}, restart {best.restart}, neuron {best.neuron}, features {best.one} and "
              f"{best.other}; a motif is a neuron that serves two features of opposite signs, whose input weights and "
              f"whose output weights differ by a factor of {ASYMMETRY:g} or more, the other way round, while other "
              f"neurons take away {INHIBITED:.0%} or more of the interference; scaled so that its large weights are "
              f"equal. The example is the nearest to the paper's of: {counted}; in this case with a share of {other}"),
        vanishes(f"{name}: interference that is left of the motif, by what the neuron alone would do",
                 f"{SECTION}: another neuron inhibits it", leaks / alone, 0.1, kind="paper",
                 note=f"output {best.other} where feature {best.one} is active alone, largest {leaks:.3f}; the neuron "
                 f"alone {alone:.2f}"),
    ]  # fmt: skip
