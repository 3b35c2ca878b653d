"""What is claimed of the absolute value: two neurons a feature, polysemantic ones as data get sparser, the motif."""

import numpy as np
import xarray as xr

from superjax import analysis
from superjax.spec import Case
from superjax.studies.absolute_value.view import (
    ASYMMETRY,
    INHIBITED,
    PAPER,
    SHARES,
    at_best,
    error,
    is_sanity,
    motifs,
    polysemantic,
    response,
    serves,
    weights,
)
from superjax.studies.claim import Claim, at_least, at_most, close, equal, less_than, vanishes
from superjax.studies.results import Results, known

SECTION = "Computation in Superposition"
RULE = f"a neuron serves a feature if |input weight| × output weight is at least {analysis.SHARE:g} of that feature's"
DENSE = 0.3  # from which on the paper's neurons are monosemantic
SPARSE = 0.001  # where its neurons all are highly polysemantic
HIGHLY = 2.0  # features a polysemantic neuron serves on average, to be highly so
_RANK = 0.9  # of a rank correlation
_NEAR = 0.15  # of the paper's weights


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
            found += _computation(name, data)
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
              note="best restart; neurons that serve a feature, by density: "
              + "; ".join(str(int(s.any(1).sum())) for s in served)),
        equal(f"{name}: polysemantic neurons of the best restarts", SECTION, 0, int((served.sum(-1) > 1).sum()),
              tolerance=RULE, kind="paper"),
        less_than(f"{name}: error of the best restart relative to the variance of |x| (largest of any density)",
                  "|x| = ReLU(x) + ReLU(-x) is exact", 1e-3, float(lost.max()),
                  note=f"{where}; so do restarts (fraction): "
                  + "; ".join(f"{s:g}: {r:.2f}" for s, r in zip(density, reached, strict=True))
                  + "; 40 restarts of 1000 steps, tried first, were not enough at density 0.003 and below"),
    ]  # fmt: skip


def _computation(name: str, data: xr.Dataset) -> list[Claim]:
    """Neurons become polysemantic as data get sparser, those of the least important features first."""
    order = np.argsort(-data["density"].values, kind="stable")
    density, served = data["density"].values[order], at_best(data, serves(data))[order]
    counts = served.sum(-1)
    poly, used, part = (counts > 1).sum(-1), (counts > 0).sum(-1), polysemantic(served)
    listed = "; ".join(f"{s:g}: {p} of {u}" for s, p, u in zip(density, poly, used, strict=True))
    other = {f: (at_best(data, serves(data, f))[order].sum(-1) > 1).sum(-1).tolist() for f in SHARES if f != 1}
    sensitive = "; ".join(f"with a share of {f * analysis.SHARE:g}: {values}" for f, values in other.items())
    found = [
        at_most(f"{name}: polysemantic neurons fewer than at the next denser density (most)",
                f"{SECTION}: progressively polysemantic", 0, int(np.max(-np.diff(poly), initial=0)), 1, kind="paper",
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
        found += [
            equal(f"{name}: monosemantic neurons at density {density[sparse]:g}", SECTION, 0, int((each == 1).sum()),
                  tolerance=RULE, kind="paper", note=f"{used[sparse]} neurons serve a feature"),
            at_least(f"{name}: features that a neuron serves at density {density[sparse]:g} (mean)",
                     f"{SECTION}: highly polysemantic", HIGHLY, float(each.mean()), kind="paper",
                     note=f"most {each.max()}"),
        ]  # fmt: skip
    return [*found, *_least_important_first(name, density, served)]


def _least_important_first(name: str, density: np.ndarray, served: np.ndarray) -> list[Claim]:
    """Where both are there, features whose neurons serve no other are more important than those that share."""
    shares, words, by_neuron = [], [], []
    for s, own in zip(density, served, strict=True):
        crowded = (own & (own.sum(-1, keepdims=True) > 1)).any(0)
        alone, shared = np.flatnonzero(own.any(0) & ~crowded), np.flatnonzero(crowded)
        if len(alone) and len(shared):
            shares.append(float((alone[:, None] < shared[None]).mean()))
            words.append(f"{s:g}: {shares[-1]:.2f} ({len(alone)} alone, {len(shared)} shared)")
            first, number = own.argmax(-1), own.sum(-1)
            before = first[number == 1, None] < first[None, number > 1]
            by_neuron.append(f"{s:g}: {before.mean():.2f}")
    if not shares:
        return []
    return [
        at_least(f"{name}: a feature with neurons of its own is more important than one that shares a neuron (least "
                 "fraction of pairs at a density)", f"{SECTION}: the least important first", 0.7, min(shares),
                 kind="paper",
                 note=f"best restarts; by chance 0.5; {'; '.join(words)}. By neurons it is less, since a polysemantic "
                 "one serves important features too: the most important feature of a monosemantic neuron comes before "
                 f"that of a polysemantic one in this fraction of pairs: {'; '.join(by_neuron)}")
    ]  # fmt: skip


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
    counted = "; ".join(
        f"{case}: {len(found)} in {len({(m.density, m.restart) for m in found})} models, "
        f"{sum(m.deviation <= _NEAR for m in found)} of them within {_NEAR:.0%} of the paper's weights"
        for case, found in motif_of.items()
    )
    return [
        close(f"{name}: input and output weights of the asymmetric motif (best example)", SECTION, list(PAPER),
              list(best.weights), relative=_NEAR, kind="paper",
              note=f"density {best.density:g}, restart {best.restart}, neuron {best.neuron}, features {best.one} and "
              f"{best.other}; a motif is a neuron that serves two features of opposite signs, whose input weights and "
              f"whose output weights differ by a factor of {ASYMMETRY:g} or more, the other way round, while other "
              f"neurons take away {INHIBITED:.0%} or more of the interference; scaled so that its large weights are "
              f"equal. The example is the nearest to the paper's of: {counted}"),
        vanishes(f"{name}: interference that is left of the motif, by what the neuron alone would do",
                 f"{SECTION}: another neuron inhibits it", leaks / alone, 0.1, kind="paper",
                 note=f"output {best.other} where feature {best.one} is active alone, largest {leaks:.3f}; the neuron "
                 f"alone {alone:.2f}"),
    ]  # fmt: skip
