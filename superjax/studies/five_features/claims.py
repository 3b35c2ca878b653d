"""What is claimed of five features: the solutions that the paper draws, and where they change."""

import numpy as np
import xarray as xr

from superjax import analysis
from superjax.reference import oracle, theory
from superjax.spec import Case
from superjax.spec.grid import Grid
from superjax.studies.claim import Claim, between, close, equal, more_than, vanishes
from superjax.studies.five_features.view import switches
from superjax.studies.results import Results, known
from superjax.studies.solutions import best, best_names

SECTION = "Introduction"
PAPER = {0.0: "2 singles", 0.8: "2 digons", 0.9: "pentagon"}  # the solution at a sparsity S
PENTAGON = 0.1605  # density at which the losses of two digons and of the pentagon cross, importance 0.9^i
RATIO = 0.9**3  # of the importances of the last pair to form
DIGONS = 0.5722  # density at which the optimum of such a pair begins to be antipodal (`reference.boundaries`)
IN_WORDS = {
    "2 singles": "two orthogonal features, three at 0",
    "2 digons": "two antipodal pairs, one feature at 0",
    "pentagon": "a pentagon",
}
_NEAR = 0.02  # a cell stands for a density if it is this near to it


def claims(results: Results) -> list[Claim]:
    results = known(results)
    found = []
    for name, data in results.datasets.items():
        case = results.sweep.cases[name]
        found += _paper(name, data)
        found += _pentagon(name, case, data)
        found += _digon_rule(name, case, data)
        found += _reference(name, case, data)
    return found


def _cell(data: xr.Dataset, density: float) -> int | None:
    """The cell that stands for a density, if there is one."""
    distance = np.abs(np.log(data["density"].values / density))
    return int(np.argmin(distance)) if distance.min() < _NEAR else None


def _paper(name: str, data: xr.Dataset) -> list[Claim]:
    """The three solutions that the paper draws, and which features they leave out."""
    found, importance_order = [], np.arange(data.attrs["n_features"])
    threshold = data["phase"].attrs["represented"]
    for sparsity, expected in PAPER.items():
        cell = _cell(data, 1 - sparsity)
        if cell is None:
            continue
        measured = best_names(data)[cell]
        norm = best(data, "norm").values[cell]
        deviation = float(best(data, "solution_deviation")[cell])
        note = f"norms {norm.round(3).tolist()}, deviation from the ideal {deviation:.3f}"
        found.append(
            equal(f"{name}: at S = {sparsity:g} the best solution is {IN_WORDS[expected]}", SECTION, expected, measured,
                  tolerance=analysis.TOLERANCE, note=note, kind="paper")
        )  # fmt: skip
        kept = importance_order[norm >= threshold].tolist()
        most = importance_order[: len(kept)].tolist()
        found.append(
            equal(f"{name}: at S = {sparsity:g} the represented features are the most important ones", SECTION, most,
                  kept, kind="paper")
        )  # fmt: skip
    pentagon = _cell(data, 0.1)
    if pentagon is not None and best_names(data)[pentagon] == "pentagon":
        W = best(data, "W").transpose("density", "hidden", "feature").values[pentagon]
        overlaps = (W.T @ W)[~np.eye(W.shape[1], dtype=bool)]
        least = float(overlaps[overlaps > 0].min(initial=np.inf))
        found.append(
            more_than(f"{name}: the pentagon at S = 0.9 has positive interference "
                      "(least positive inner product of two features' weights)",
                      SECTION, 0.1, least, note=f"of {(overlaps > 0).sum() // 2} pairs", kind="paper")
        )  # fmt: skip
    return found


def _pentagon(name: str, case: Case, data: xr.Dataset) -> list[Claim]:
    """Where antipodal pairs give way to a pentagon: between the paper's panels, and where exact losses cross."""
    found = [switch for switch in switches(data) if (switch.dense, switch.sparse) == ("2 digons", "pentagon")]
    if len(found) != 1 or not _is_the_papers(case):
        return []
    density = found[0].density
    near = max(0.01, _apart(data, density) / 8)  # interpolated between two densities
    what = f"{name}: density at which the best solution changes from two antipodal pairs to the pentagon"
    return [
        between(what, SECTION, "0.1 to 0.2", density, 0.1, 0.2, tolerance=0, kind="paper",
                note="the paper draws the pairs at density 0.2 (S = 0.8) and the pentagon at 0.1 (S = 0.9)"),
        close(what, "float64 reference: crossing of the exact losses of both minima", PENTAGON, density, relative=near,
              note="interpolated between two densities, where both kinds were found" if found[0].exact else
              "the middle of two densities: one of both kinds was not found there"),
    ]  # fmt: skip


def _digon_rule(name: str, case: Case, data: xr.Dataset) -> list[Claim]:
    """The density at which the last antipodal pair has formed: pairs are orthogonal, so it is that of one alone."""
    into = [switch for switch in switches(data) if switch.sparse == "2 digons"]
    if not into or not _is_the_papers(case):
        return []
    density, near = into[0].density, _apart(data, into[0].density) / (8 if into[0].exact else 2)
    near = max(0.01, near)
    rule = float(theory.superposition_boundary(RATIO, 2, 1))
    return [
        close(
            f"{name}: density at which the antipodal pairs have formed",
            f"{SECTION}; float64 reference of n = 2, m = 1, relative importance {RATIO:g}", DIGONS, density,
            relative=near,
            note=f"from {into[0].dense}; the k-th newcomer joins the k-th least important host, and the last pair to "
            f"form is that of importances 1 and {RATIO:g}; the rule of unit weights without biases says {rule:.3g}",
        )
    ]  # fmt: skip


def _is_the_papers(case: Case) -> bool:
    """Whether shape and importances are those for which the references were made."""
    paper = (case.n_features, case.n_hidden) == (5, 2)
    return paper and np.allclose(case.importance_vector(), 0.9 ** np.arange(5))


def _apart(data: xr.Dataset, density: float) -> float:
    """How far the two densities of the sweep around one are apart, in their logarithm."""
    points = np.sort(data["density"].values)
    return float(np.diff(np.log(points))[np.searchsorted(points, density) - 1])


def _reference(name: str, case: Case, data: xr.Dataset) -> list[Claim]:
    """The stored loss against a float64 reference at the densities that the paper draws, and the best restart against
    what transplants between neighbouring densities find."""
    cells = [cell for sparsity in PAPER if (cell := _cell(data, 1 - sparsity)) is not None]
    if not cells or case.model.kind != "relu_output" or case.n_features > oracle.MAX_FEATURES:
        return []
    numbers = Grid(case).numbers()
    W, b = (best(data, array).values[cells].astype(float) for array in ("W", "b"))
    true = oracle.expected_loss(W, b, numbers["importance"][cells], numbers["data.density"][cells])
    error = float(np.max(np.abs(best(data, "loss").values[cells] / true - 1)))
    found = [
        vanishes(f"{name}: error of the stored loss (largest, relative)", "float64 reference", error, 1e-3,
                 note=f"densities {', '.join(f'{data.density.values[cell]:g}' for cell in cells)}")
    ]  # fmt: skip
    if "optimum_loss" in data:
        excess = float((data["loss"].min("restart") / data["optimum_loss"]).max() - 1)
        found.append(
            vanishes(f"{name}: loss of the best restart above that of the optimum (largest of any density, relative)",
                     "restarts against neighbour transplant", excess, 1e-3,
                     note=f"of {case.restarts} restarts {float(data['success'].mean()):.0%} reach the optimum within "
                     "1%")
        )  # fmt: skip
    return found
