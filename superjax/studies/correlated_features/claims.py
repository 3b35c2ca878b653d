"""What is claimed of correlated features: how pairs lie and collapse, and that large sets are bases."""

import numpy as np
import xarray as xr

from superjax import analysis
from superjax.reference import theory
from superjax.spec import Case
from superjax.studies.claim import Claim, at_most, between, close, equal, fraction, less_than, more_than, vanishes
from superjax.studies.correlated_features import minima
from superjax.studies.correlated_features.bases import claims_of_bases
from superjax.studies.correlated_features.view import (
    PAPER_RANGES,
    collapsed,
    collapses,
    half_of_the_fits,
    half_of_the_fits_error,
    in_plane,
    in_words,
    is_judged,
    losses_by_number,
    lowest_loss,
    outside_sums,
    partner_cosines,
    principal_loss,
    share_of,
    solution,
)
from superjax.studies.results import Results, known
from superjax.studies.solutions import Switch, best, best_names

SECTION = "Correlated and Anticorrelated Features"
# Two pairs: antipodal features of different pairs, orthogonal to their partners, lose 4 times the exact minimum of a
# feature of an antipodal pair (reference.polytope_losses); merged pairs s/6. Both are equal at this density.
COLLAPSE_OF_TWO = 0.2543
DENSE = (0.3, 0.4)  # where the optimum of two pairs is collapsed
PAPER_PRECISION = 0.25  # the paper gives approximate densities, and none between 0.2 and 0.25
HEXAGON_SPARSE = 0.05  # up to which the paper has a hexagon


def claims(results: Results) -> list[Claim]:
    results = known(results)
    found = []
    for name, data in results.datasets.items():
        case = results.sweep.cases[name]
        what = f"{in_words(case)}, n = {case.n_features}, m = {case.n_hidden}"
        if not in_plane(case):
            found += claims_of_bases(what, case, data)
            continue
        if case.data.correlation > 0:
            found += _two_pairs(what, case, data) if case.n_features == 4 else []
            found += _three_pairs(what, case, data) if case.n_features == 6 else []
            found += [*_principal(what, case, data), *_restarts(what, case, data)]
        elif case.data.correlation < 0:
            found += _anticorrelated(what, case, data)
        elif case.n_features == 6:
            paired = [
                results.datasets[other] for other, their in results.sweep.cases.items() if other in results.datasets
                and in_plane(their) and their.n_features == 6 and their.data.correlation == 1
            ]  # fmt: skip
            found += _independent(what, data, paired[0] if paired else None)
        found += _minima(what, case, data)
    return found


def _two_pairs(name: str, case: Case, data: xr.Dataset) -> list[Claim]:
    """Two correlated pairs: orthogonal partners where sparse, merged ones where dense."""
    density, W = data["density"].values, solution(data, "W")
    cosine, sparsest = np.abs(partner_cosines(W)).max(-1), int(np.argmin(density))
    number, merged = collapsed(W), (density >= DENSE[0]) & (density <= DENSE[1])
    apart = cosine[number == 0]
    found = [
        vanishes(f"{name}: correlated partners are orthogonal when sparse (largest |cosine|)", SECTION,
                 float(cosine[sparsest]), 0.05,
                 note=f"at density {density[sparsest]:g}; {apart.max():.3f} at most at the densities without a "
                 "collapsed pair" if apart.size else "", kind="paper")
    ]  # fmt: skip
    if merged.any():
        where = f"densities {', '.join(f'{s:g}' for s in density[merged])}"
        norms, lowest_cosine = analysis.norm(W[merged]), float(partner_cosines(W[merged]).min())
        away = float(np.abs(norms - np.sqrt(0.5)).max())
        excess = float(np.abs(lowest_loss(data)[merged] / (density[merged] / 6) - 1).max())
        found += [
            close(f"{name}: at density 0.3 to 0.4 the optimum is collapsed: cosine of partners (least)",
                  "exact optimum", 1.0, lowest_cosine, absolute=0.01, note=where),
            vanishes(f"{name}: at density 0.3 to 0.4 the optimum is collapsed: norms (largest distance to 1/√2)",
                     "exact optimum", away, 0.01, note=where),
            vanishes(f"{name}: loss of the collapsed optimum against s/6 (largest relative deviation)",
                     "closed form: outputs are the mean of the pair", excess, 1e-3, note=where),
        ]  # fmt: skip
    last = [switch for switch in collapses(case, data) if switch.sparse == 0]
    if last:
        found.append(
            close(f"{name}: density from which pairs are collapsed", "s/6 = 4 × loss of a feature of an antipodal pair",
                  COLLAPSE_OF_TWO, last[-1].density, relative=0.03,
                  note=f"{last[-1].dense} pairs collapse there at once. Expected of orthogonal partners; those of the "
                  f"solutions lean a little, |cosine| up to {apart.max(initial=0):.3f}, which helps them")
        )  # fmt: skip
    return found


def _three_pairs(name: str, case: Case, data: xr.Dataset) -> list[Claim]:
    """Three correlated pairs: a hexagon where sparse, then one pair after another collapses."""
    density, W = data["density"].values, solution(data, "W")
    sparsest = int(np.argmin(density))
    kinds = best_names(data)
    hexagons = density[kinds == "hexagon"]
    angle = np.degrees(np.arctan2(*W[sparsest][::-1]))
    turn = np.argsort(angle)
    gaps = np.diff(angle[turn], append=angle[turn[0]] + 360)
    adjacent = int((turn // 2 == np.roll(turn, -1) // 2).sum())
    partners = np.degrees(np.arccos(np.clip(partner_cosines(W[sparsest]), -1, 1)))
    found = [
        equal(f"{name}: at the sparsest density the best solution is a hexagon", SECTION, "hexagon",
              str(kinds[sparsest]), tolerance=analysis.TOLERANCE,
              note=f"angles between neighbours {np.sort(gaps).astype(float).round(1).tolist()} degrees; hexagons "
              + (f"up to density {hexagons.max():.3g}" if hexagons.size else "at no density"), kind="paper"),
        equal(f"{name}: pairs whose members are neighbours in the sparsest solution", SECTION, 3, adjacent,
              note=f"their angles {partners.astype(float).round(1).tolist()} degrees", kind="paper"),
    ]  # fmt: skip
    passed = collapses(case, data)[::-1]
    numbers = [int(collapsed(W)[sparsest]), *(int(switch.dense) for switch in passed)]
    found.append(
        equal(f"{name}: numbers of collapsed pairs from sparse to dense: one after another", SECTION, [0, 1, 2, 3],
              numbers, note="; ".join(f"{s.sparse} to {s.dense} at density {s.density:.3f}" for s in passed),
              kind="paper")
    )  # fmt: skip
    return [*found, *_thresholds(name, case, data, passed)]


def _thresholds(name: str, case: Case, data: xr.Dataset, passed: list[Switch]) -> list[Claim]:
    """Where one pair after another collapses, in the best solution and in half of the single fits, beside the paper."""
    density, losses = data["density"].values, losses_by_number(case, data)
    stated = f"{PAPER_PRECISION:.0%}: the paper's are approximate, and leave out 0.2 to 0.25"
    found, single = [], [half_of_the_fits(data, number) for number in (1, 2, 3)]
    ends = [(PAPER_RANGES[number - 1][1], PAPER_RANGES[number][0]) for number in (1, 2, 3)]
    low, high = np.array(ends).T * [[1 - PAPER_PRECISION], [1 + PAPER_PRECISION]]
    expected = [a if a == b else f"{a:g} to {b:g}" for a, b in ends]
    for number, at_half, wanted, lowest, highest in zip((1, 2, 3), single, expected, low, high, strict=True):
        measured = [switch.density for switch in passed if switch.sparse < number <= switch.dense]
        if not measured:
            continue
        note = f"in half of the single fits from density {at_half:.3g}"
        nan = np.full(len(density), np.nan)
        excess = losses.get(number, nan) / losses.get(number - 1, nan) - 1
        both = np.flatnonzero(np.isfinite(excess))
        if len(both):
            here = both[np.abs(np.log(density[both] / np.mean(ends[number - 1]))).argmin()]
            note += (
                f"; at density {density[here]:g} the best minimum with {number} collapsed has a loss "
                f"{abs(excess[here]):.1%} {'above' if excess[here] > 0 else 'below'} that of the best with {number - 1}"
            )
        found.append(
            between(f"{name}: density from which {number} of 3 are collapsed in the best solution", SECTION, wanted,
                    measured[-1], lowest, highest, tolerance=stated, note=note, kind="paper")
        )  # fmt: skip
    restarts, errors = data.sizes["restart"], [half_of_the_fits_error(data, number) for number in (1, 2, 3)]
    found.append(
        between(f"{name}: densities from which 1, 2 and 3 are collapsed in half of the single fits", SECTION, expected,
                single, low, high, tolerance=stated,
                note=f"{restarts} fits a density, which give these a standard error of "
                f"{', '.join(f'{error:.2g}' for error in errors)} (bootstrap of the fits); "
                "the paper shows single fits. A second criterion, added as the best solutions do not meet the first; "
                "it depends on the initial weights", kind="paper")
    )  # fmt: skip
    return found


def _independent(name: str, data: xr.Dataset, paired: xr.Dataset | None) -> list[Claim]:
    """The control of the hexagon: the same without correlation."""
    density, share = data["density"].values, share_of(data, "hexagon")
    sparse, restarts, kinds = density <= HEXAGON_SPARSE, data.sizes["restart"], best_names(data)
    if not sparse.any():
        return []
    hexagons = density[kinds == "hexagon"]
    hexagon, pentagon = (theory.polygon_loss(k, 6, *theory.POLYGON_CRITICAL[k], 6 - k) for k in (6, 5))
    where = f"densities {', '.join(f'{s:g}' for s in density[sparse])}, {restarts} fits each"
    listed = "; ".join(f"{s:g}: {p:.2f}" for s, p in zip(density[sparse], share[sparse], strict=True))
    found = [
        less_than(f"{name}: most single fits are no hexagon (largest share that are)", SECTION, 0.5,
                  float(share[sparse].max()), note=f"{where}: {listed}; standard error at most "
                  f"{0.5 / np.sqrt(restarts):.2f}", kind="paper"),
        equal(f"{name}: the best solution is no hexagon (densities up to {HEXAGON_SPARSE} at which it is one)", SECTION,
              [], density[sparse & (kinds == "hexagon")].tolist(),
              note=(f"hexagons are best up to density {hexagons.max():.3g}; " if hexagons.size else "")
              + f"with at most one feature active the loss of a hexagon is {hexagon / pentagon:.2f} of that of a "
              "pentagon and a feature left out (closed form), so that a hexagon is the optimum of sparse independent "
              "features too, which single fits rarely find", kind="paper"),
    ]  # fmt: skip
    if paired is None:
        return found
    sparsest = float(density.min())
    near = int(np.argmin(np.abs(np.log(paired["density"].values / sparsest))))
    one, other = share[int(np.argmin(density))], share_of(paired, "hexagon")[near]
    counts = (restarts, paired.sizes["restart"])
    error = np.sqrt(sum(p * (1 - p) / n for p, n in zip((one, other), counts, strict=True)))
    return [
        *found,
        more_than(f"{name}: correlated pairs are a hexagon more often, at the sparsest density (difference of the "
                  "shares of single fits)", "control; three standard errors", round(3 * float(error), 3),
                  float(other - one),
                  note=f"density {sparsest:g}: {other:.2f} of correlated pairs, {one:.2f} of independent features"),
    ]  # fmt: skip


def _minima(name: str, case: Case, data: xr.Dataset) -> list[Claim]:
    """Whether the solutions that are drawn are converged minima."""
    if not is_judged(case):
        return []
    found = minima.certificate(
        solution(data, "W"), solution(data, "b"), data["density"].values, case.data.correlation
    )  # fmt: skip
    return [
        fraction(f"{name}: the best solutions are converged minima (fraction of densities)", "float64, exact loss",
                 float(found.minimum.mean()), 0.0,
                 note=f"largest gain of a Newton step, relative to the loss: {found.gain.max():.1e}, up to "
                 f"{minima.LARGEST_GAIN:g} in a minimum; least curvature, relative to the largest: "
                 f"{found.curvature.min():.1e}, at least -{minima.FLAT:g} in a minimum{_not_minima(data, found)}",
                 kind="check")
    ]  # fmt: skip


def _not_minima(data: xr.Dataset, found: minima.Certificate) -> str:
    """The densities at which the best solution is no minimum."""
    which = data["density"].values[~found.minimum]
    listed = ", ".join(f"{s:.3g}" for s in which)
    return f"; no minimum at densities {listed}, which the figures leave out" * bool(len(which))


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
            vanishes(f"{name}: where all pairs are collapsed the model sees nothing outside the span of the first "
                     f"{case.n_features // 2} principal components, (a + b)/√2 (sine of the largest angle)",
                     SECTION, sine, 0.02,
                     note=f"{where}; partners are equal there, the largest length of their difference being "
                     f"{apart:.1e}", kind="paper"),
        ]  # fmt: skip
    dense_ones = "; ".join(f"{s:g}: {part:.2%}" for s, part in zip(density, relative, strict=True) if s >= 0.5)
    found.append(
        close(f"{name}: at density {density[dense]:g}, the highest, the optimum is PCA: its loss beside the best "
              "linear model's (relative)",
              SECTION, 0.0, float(relative[dense]), absolute=0.02,
              note=f"by density: {dense_ones}", kind="paper")
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
                 "restarts against neighbour transplant", float(same.mean()), kind="check",
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
              note=where, kind="paper"),
        vanishes(f"{name}: antipodal partners lose nothing (largest loss, relative to that of predicting the means)",
                 "closed form: partners are never active together", relative, 1e-6, note=where),
    ]  # fmt: skip
