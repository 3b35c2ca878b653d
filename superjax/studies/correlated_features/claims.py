"""What is claimed of correlated features: how pairs lie and collapse, and that large sets are bases."""

import numpy as np
import xarray as xr

from superjax import analysis
from superjax.reference import theory
from superjax.spec import Case
from superjax.studies.claim import Claim, at_most, between, close, equal, fraction, vanishes
from superjax.studies.correlated_features.view import (
    collapsed,
    collapses,
    in_plane,
    lowest_loss,
    outside_sums,
    partner_cosines,
    principal_loss,
    root_mean_square,
    set_cosines,
    solution,
)
from superjax.studies.results import Results, known
from superjax.studies.solutions import best, best_names

SECTION = "Correlated and Anticorrelated Features"
COLLAPSE_OF_TWO = 1 / 4  # two pairs: unit vectors, partners apart, lose 2s²/3, merged pairs s/6
DENSE = (0.3, 0.4)  # where the optimum of two pairs is collapsed


def claims(results: Results) -> list[Claim]:
    results = known(results)
    found = []
    for name, data in results.datasets.items():
        case = results.sweep.cases[name]
        if not in_plane(case):
            found += _bases(name, case, data)
        elif case.data.correlation > 0:
            found += _two_pairs(name, data) if case.n_features == 4 else []
            found += _three_pairs(name, data) if case.n_features == 6 else []
            found += [*_principal(name, case, data), *_restarts(name, case, data)]
        elif case.data.correlation < 0:
            found += _anticorrelated(name, case, data)
    return found


def _two_pairs(name: str, data: xr.Dataset) -> list[Claim]:
    """Two correlated pairs: orthogonal partners where sparse, merged ones where dense."""
    density, W = data["density"].values, solution(data, "W")
    cosine, sparsest = np.abs(partner_cosines(W)).max(-1), int(np.argmin(density))
    number, merged = collapsed(W), (density >= DENSE[0]) & (density <= DENSE[1])
    apart = cosine[number == 0]
    found = [
        vanishes(f"{name}: correlated partners are orthogonal when sparse (largest |cosine|)", SECTION,
                 float(cosine[sparsest]), 0.05,
                 note=f"at density {density[sparsest]:g}; {apart.max():.3f} at most at the densities without a "
                 "collapsed pair" if apart.size else "")
    ]  # fmt: skip
    if merged.any():
        where = f"densities {', '.join(f'{s:g}' for s in density[merged])}"
        norms, lowest_cosine = analysis.norm(W[merged]), float(partner_cosines(W[merged]).min())
        away = float(np.abs(norms - np.sqrt(0.5)).max())
        excess = float(np.abs(lowest_loss(data)[merged] / (density[merged] / 6) - 1).max())
        found += [
            close(f"{name}: at density 0.3 to 0.4 the optimum is collapsed: cosine of partners (least)",
                  "exact optimum", 1.0, lowest_cosine, absolute=0.01, note=where),
            vanishes(f"{name}: at density 0.3 to 0.4 the optimum is collapsed: norms (largest distance to 1/sqrt 2)",
                     "exact optimum", away, 0.01, note=where),
            vanishes(f"{name}: loss of the collapsed optimum against s/6 (largest relative deviation)",
                     "closed form: outputs are the mean of the pair", excess, 1e-3, note=where),
        ]  # fmt: skip
    last = [switch for switch in collapses(data) if switch.sparse == 0]
    if last:
        measured = last[-1].density
        cells = np.sort(density)
        step = float(np.log(cells[cells > measured][0] / cells[cells < measured][-1]))
        lowest, highest = COLLAPSE_OF_TWO * np.exp(-step), 1.3 * COLLAPSE_OF_TWO * np.exp(step)
        found.append(
            between(f"{name}: density from which pairs are collapsed", "s/6 = 2s²/3: merged pairs against antipodal "
                    "features of different pairs, unit weights", COLLAPSE_OF_TWO, measured, lowest, highest,
                    tolerance=f"30% above, and one cell ({step:.0%}) either way",
                    note=f"{last[-1].dense} pairs collapse there at once; free weights and biases help those apart")
        )  # fmt: skip
    return found


def _three_pairs(name: str, data: xr.Dataset) -> list[Claim]:
    """Three correlated pairs: a hexagon where sparse, then one pair after another collapses."""
    density, W = data["density"].values, solution(data, "W")
    sparsest = int(np.argmin(density))
    names = best_names(data)
    hexagons = density[names == "hexagon"]
    angle = np.degrees(np.arctan2(*W[sparsest][::-1]))
    turn = np.argsort(angle)
    gaps = np.diff(angle[turn], append=angle[turn[0]] + 360)
    adjacent = int((turn // 2 == np.roll(turn, -1) // 2).sum())
    partners = np.degrees(np.arccos(partner_cosines(W[sparsest])))
    found = [
        equal(f"{name}: at the sparsest density the best solution is a hexagon", SECTION, "hexagon",
              str(names[sparsest]), tolerance=analysis.TOLERANCE,
              note=f"angles between neighbours {np.sort(gaps).round(1).tolist()} degrees; hexagons "
              + (f"up to density {hexagons.max():.3g}" if hexagons.size else "at no density")),
        equal(f"{name}: pairs whose members are neighbours in the sparsest solution", SECTION, 3, adjacent,
              note=f"their angles {partners.round(1).tolist()} degrees"),
    ]  # fmt: skip
    passed = collapses(data)[::-1]
    numbers = [int(collapsed(W)[sparsest]), *(int(switch.dense) for switch in passed)]
    where = "; ".join(f"{switch.sparse} to {switch.dense} at density {switch.density:.3f}" for switch in passed)
    found.append(
        equal(f"{name}: numbers of collapsed pairs from sparse to dense: one after another", SECTION, [0, 1, 2, 3],
              numbers, note=where)
    )  # fmt: skip
    return found


def _principal(name: str, case: Case, data: xr.Dataset) -> list[Claim]:
    """Correlated pairs: what all of them collapsed to, beside principal components."""
    density, W = data["density"].values, solution(data, "W")
    every = collapsed(W) == case.n_features // 2
    relative = lowest_loss(data) / principal_loss(case, density) - 1
    above, dense = float(relative.max()), int(np.argmax(density))
    found = [
        at_most(f"{name}: loss of the optimum above that of the best linear model (largest of any density, relative)",
                "PCA is a solution, and a ReLU only helps: features are positive", 0, above, 1e-3),
    ]  # fmt: skip
    if every.any():
        where = f"densities {density[every].min():g} to {density[every].max():g}"
        sine = float(outside_sums(W[every]).max())
        apart = float(analysis.norm(W[every][..., ::2] - W[every][..., 1::2]).max())
        found += [
            vanishes(f"{name}: where all pairs are collapsed partners are equal (largest ‖W_a - W_b‖)", SECTION,
                     apart, 0.02, note=where),
            vanishes(f"{name}: where all pairs are collapsed the model sees only the first {case.n_features // 2} "
                     "principal components, (a + b)/sqrt 2 (sine of the largest angle)", SECTION, sine, 0.02,
                     note=f"{where}; they have equal variance"),
        ]  # fmt: skip
    found.append(
        close(f"{name}: at the highest density the optimum is PCA: its loss beside the best linear model's (relative)",
              SECTION, 0.0, float(relative[dense]), absolute=0.02, note=f"density {density[dense]:g}")
    )  # fmt: skip
    return found


def _restarts(name: str, case: Case, data: xr.Dataset) -> list[Claim]:
    """Whether the best of the restarts is what transplants between densities find."""
    if "optimum_W" not in data:
        return []
    same = collapsed(best(data, "W").transpose(..., "hidden", "feature").values) == collapsed(solution(data, "W"))
    excess = float((data["loss"].min("restart").values / lowest_loss(data)).max() - 1)
    return [
        fraction(f"{name}: best restart and optimum have as many collapsed pairs (fraction of densities)",
                 "restarts against neighbour transplant", float(same.mean()),
                 note=f"of {case.restarts} restarts {float(data['success'].mean()):.0%} are within 1% of the "
                 f"optimum's loss; the best one is at most {excess:.2%} above it")
    ]  # fmt: skip


def _anticorrelated(name: str, case: Case, data: xr.Dataset) -> list[Claim]:
    """Anticorrelated partners never meet: opposite directions cost nothing."""
    density = data["density"].values
    density, W, loss = density[density <= 0.5], solution(data, "W")[density <= 0.5], lowest_loss(data)[density <= 0.5]
    if not density.size or case.data.correlation > -1 or case.n_features > 4:
        return []
    nothing = np.sum(case.importance_vector()) * theory.variance(density)
    cosine, relative = float(partner_cosines(W).max()), float((loss / nothing).max())
    where = f"all {len(density)} densities up to 0.5; beyond, partners must meet"
    return [
        close(f"{name}: anticorrelated partners are antipodal (largest cosine)", SECTION, -1.0, cosine, absolute=1e-3,
              note=where),
        vanishes(f"{name}: antipodal partners lose nothing (largest loss, relative to that of predicting the means)",
                 "closed form: partners are never active together", relative, 1e-6, note=where),
    ]  # fmt: skip


def _bases(name: str, case: Case, data: xr.Dataset) -> list[Claim]:
    """Large sets: each is an almost orthogonal basis if its members are correlated, and not if they are independent."""
    m, size = case.n_hidden, case.data.set_size
    sparse = int(np.argmin(data["density"].values))
    found = []
    for k, correlation in enumerate(data["correlation"].values):
        W = solution(data, "W")[sparse, k]
        within, across = set_cosines(W, size, case.phases.represented)
        where = f"{name}, density {data.density.values[sparse]:g}, correlation {correlation:g}"
        inside, outside = float(root_mean_square(within)), float(root_mean_square(across))
        counts = (analysis.norm(W) >= case.phases.represented).reshape(-1, size).sum(-1)
        if correlation == 1 and size <= m:
            random = float(1 / np.sqrt(m))
            found += [
                equal(f"{where}: every feature is represented (number in each set)", SECTION, [size] * len(counts),
                      counts.tolist(), note=_all_densities(case, data, k)),
                vanishes(f"{where}: a set is an almost orthogonal basis (root mean square cosine within a set)",
                         SECTION, inside, 0.1, note=f"largest {np.nanmax(within):.3f}, median "
                         f"{np.nanmedian(within):.3f}; of different sets {np.nanmax(across):.3f} and "
                         f"{np.nanmedian(across):.3f}"),
                close(f"{where}: sets interfere with each other as bases of one space (root mean square cosine across)",
                      f"{SECTION}; 1/sqrt m for two orthonormal bases", random, outside, absolute=0.05 * random,
                      note=f"within sets {inside:.3f}"),
            ]  # fmt: skip
        elif correlation == 0:
            ratio = float(np.divide(inside, outside))
            found.append(
                close(f"{where}: sets are nothing special (root mean square cosine within / across)",
                      "control: independent features", 1.0, ratio, absolute=0.5,
                      note=f"{inside:.3f} and {outside:.3f}; most cosines are 0 or -1, as in antipodal pairs of any "
                      f"sets: {np.mean(np.concatenate([within, across]) > 0.9) * (len(W.T) - 1):.2f} antipodes a "
                      "feature")
            )  # fmt: skip
    return found


def _all_densities(case: Case, data: xr.Dataset, correlation: int) -> str:
    """The numbers of represented features of each set at all densities, in words."""
    shown = analysis.norm(solution(data, "W")[:, correlation]) >= case.phases.represented
    counts = shown.reshape(len(shown), -1, case.data.set_size).sum(-1)
    return "; ".join(f"density {s:g}: {row.tolist()}" for s, row in zip(data["density"].values, counts, strict=True))
