"""What is claimed of the boundaries: where they are beside the float64 reference, and what they cost."""

import numpy as np

from superjax.studies.claim import Claim, at_most, vanishes
from superjax.studies.phase_boundary.view import Search, searches
from superjax.studies.results import Results

SHARE = 0.05  # of the models of the full grid
TUNED = {  # what the settings of the search were chosen by
    2: "the settings are the last of four, tried at importances 0.1, 0.3, 1 and 3, with the steps halved since",
    3: "two settings were changed after this comparison, the nodes and the steps: before, it was 0.0024 and 0.0032",
}


def claims(results: Results) -> list[Claim]:
    found = []
    for search in searches(results):
        found += [*_reference(search), *_certificates(search), *_cost(search)]
    return found


def _reference(search: Search) -> list[Claim]:
    """At importances that were chosen beforehand."""
    importance, deviation = search.deviation()
    if not importance.size:
        return []
    off = np.abs(deviation)
    worst = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
    missing = f"; none was found at {np.isnan(off).sum()} of them" if np.isnan(off).any() else ""
    return [
        vanishes(
            f"{search.name}: density at which superposition begins in the optimum, deviation in ln(density) from the "
            f"reference (largest at {importance.size} importances)",
            "float64 reference, bisection", float(off[worst]), search.wanted,
            note=f"root mean square {np.sqrt(np.mean(off**2)):.1e}; largest at importance {importance[worst]:.3g}; the "
            f"importances were chosen before the first search; {TUNED[search.case.n_features]}{missing}",
        )
    ]  # fmt: skip


def _certificates(search: Search) -> list[Claim]:
    """What must be so by symmetry."""
    found = []
    if search.case.n_features == 2:
        pairs = [(search.density(r), search.density(1 / r)) for r in search.reference if r < 1]
        if pairs:
            off = float(np.max(np.abs(np.log(np.divide(*np.transpose(pairs))))))
            found.append(
                vanishes(
                    f"{search.name}: superposition begins at the same density at r and 1/r (largest difference in ln)",
                    "certificate: the two features change roles", off, 2 * search.wanted,
                    note=f"{len(pairs)} pairs of importances; each position is known to half a square",
                )
            )  # fmt: skip
    elif lines := search.exchanged:
        off = float(max(np.max(np.abs(np.log(line.at["importance"]))) for line in lines))
        found.append(
            vanishes(
                f"{search.name}: solutions that differ by exchanging the extra feature with another change places at "
                "importance 1 (largest |ln r| along these boundaries)",
                "certificate: at importance 1 the features are alike", off, search.wanted,
                note=f"{len(lines)} boundaries: " + "; ".join(sorted({f"{x.lower} | {x.upper}" for x in lines})),
            )
        )  # fmt: skip
    return found


def _cost(search: Search) -> list[Claim]:
    models, full = int(search.data["boundary_models"]), float(search.data["boundary_full_grid"])
    points = search.data.sizes["boundary_point"]
    return [
        at_most(
            f"{search.name}: side of the smallest squares, in ln of importance and density",
            "resolution that was asked for", search.wanted, search.resolution, kind="check",
            note=f"{points:,} points were tried",
        ),
        at_most(
            f"{search.name}: models trained, as a fraction of those of the full grid of this resolution",
            "search against the full grid", SHARE, search.share,
            note=f"{models:,} of {full:.3g} with as many restarts; most of the {models:,} are warm starts, in place of "
            "restarts",
        ),
    ]  # fmt: skip
