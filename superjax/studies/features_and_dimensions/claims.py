"""What is claimed of counts of features: linear in the dimensions, and in density as compressed sensing scales."""

import numpy as np
from jaxtyping import Float

from superjax.studies.claim import Claim, at_most, close, more_than
from superjax.studies.features_and_dimensions.view import FULL, SPARSE, Counts, every, line
from superjax.studies.results import Results

SECTION = "Strategy and appendices: compressed sensing"
BOUND = f"{SECTION}, m = Ω(−n (1 − S) log(1 − S))"
_UNEXPLAINED = 0.02  # of the variance of the counts
_SPREAD = 1.5  # factor between the largest and the smallest constant
_EXPONENT = 0.15


def claims(results: Results) -> list[Claim]:
    found = []
    for counts in every(results):
        if not np.isfinite(counts.best).any():
            continue
        found += [*_linear(counts), *_more_than_dimensions(counts)]
        found += [*_scaling(counts, counts.held(), counts.held_by_restart(), held_in_words(counts))]
        found += [*_scaling(counts, counts.slopes(), counts.slopes_by_restart(), "slope of the line")]
    return found


def held_in_words(counts: Counts) -> str:
    return f"count / m at m = {counts.m[counts.largest]:g}"


def _linear(counts: Counts) -> list[Claim]:
    lines, through_0 = counts.lines(), counts.lines(through_0=True)
    known = [k for k in np.argsort(-counts.density) if np.isfinite(lines[k].left)]
    if not known:
        return []
    each = ", ".join(f"{counts.density[k]:.2g}: {lines[k].slope:.3g} m {lines[k].intercept:+.2g}" for k in known)
    zero = max(through_0[k].left for k in known)
    squares = max(line(counts.m, column).left for column in counts.squared_norms()[:, known].T)
    worst = int(max(known, key=lambda k: lines[k].left))
    restarts = counts.by_restart[:, worst]
    apart = int(np.argmax(np.ptp(restarts, axis=1)))
    return [
        at_most(
            f"{counts.name}: variance of the number of features over m that a straight line leaves, densities "
            f"{', '.join(f'{counts.density[k]:.2g}' for k in known)}", f"{SECTION}: linear in m", 0,
            [lines[k].left for k in known], _UNEXPLAINED, kind="paper",
            note=f"by density {each}; at {counts.density[worst]:.2g}, the least straight, features are few and "
            f"restarts differ: {', '.join(f'{count:g}' for count in restarts[apart])} features at m = "
            f"{counts.m[apart]:g}; the mean of restarts leaves {line(counts.m, restarts.mean(1)).left:.2g} there; "
            f"{_near_threshold(counts, worst)}; lines through 0 leave up to {zero:.2g}, as few dimensions hold fewer "
            f"features each; of ‖W‖², which needs no threshold, straight lines leave up to {squares:.2g}; "
            f"{int(counts.full().sum())} cells in which {FULL:.0%} of all {counts.case.n_features} features are "
            "represented are left out",
        )
    ]  # fmt: skip


def _near_threshold(counts: Counts, density: int) -> str:
    """How many norms are so near to the threshold that it decides."""
    at = counts.case.phases.represented
    norm = counts.data["norm"].transpose("dimensions", "density", "restart", "feature").values[:, density]
    near = (np.abs(norm - at) < at / 5).sum(-1)
    return f"norms are not near the threshold, {at:g}: of a model at most {near.max()} are within a fifth of it"


def _more_than_dimensions(counts: Counts) -> list[Claim]:
    """Sparser data have more features per dimension."""
    held, slopes = (values[np.argsort(-counts.density)] for values in (counts.held(), counts.slopes()))
    held, slopes = held[np.isfinite(held)], slopes[np.isfinite(slopes)]
    if len(held) < 2:
        return []
    return [
        more_than(
            f"{counts.name}: features per dimension ({held_in_words(counts)}), rise from one density to the next "
            "sparser one (smallest factor)", SECTION, 1, float(np.min(held[1:] / held[:-1])), kind="paper",
            note=f"from {held[0]:.3g} to {held[-1]:.3g}"
            + (f"; slopes of the lines from {slopes[0]:.3g} to {slopes[-1]:.3g}" if len(slopes) else ""),
        )
    ]  # fmt: skip


def _scaling(
    counts: Counts, best: Float[np.ndarray, " density"], single: Float[np.ndarray, "density restart"], how: str
) -> list[Claim]:
    """Features per dimension beside 1 / (−s ln s): the constant, and whether it is one. Of the best restarts and of
    single ones."""
    constants = counts.constants(single)
    known = np.isfinite(constants).any(1)
    if known.sum() < 2:
        return []
    by_density = np.nanmean(constants[known], axis=1)
    restarts = float(np.nanmax(np.nanmax(constants[known], axis=1) / np.nanmin(constants[known], axis=1)))
    s = counts.density[known]
    each = ", ".join(f"{density:.2g}: {value:.3g}" for density, value in zip(s, by_density, strict=True))
    where = f"densities {s.max():.2g} to {s.min():.2g}"
    through_0 = np.array([one.slope for one in counts.lines(through_0=True)])
    lowest = np.nanmin([one.intercept for one in counts.lines()])
    return [
        at_most(
            f"{counts.name}: features per dimension ({how}) over 1 / (−s ln s): largest constant over smallest, "
            f"{where}", BOUND, 1, float(by_density.max() / by_density.min()), _SPREAD - 1, kind="paper",
            note=f"best constant {counts.constant(best):.3g}, of lines through 0 {counts.constant(through_0):.3g}; "
            f"means of {counts.case.restarts} restarts by density {each}; restarts of one density differ by factors "
            f"up to {restarts:.3g}; densities s = 1 − S below 1/e = {SPARSE:.2f}, where the bound falls with sparsity",
        ),
        close(
            f"{counts.name}: power of 1 / (−s ln s) that features per dimension ({how}) follow, {where}", BOUND, 1.0,
            counts.exponent(best), absolute=_EXPONENT, kind="paper",
            note=f"least squares on logarithmic scales; {held_in_words(counts)} {counts.exponent(counts.held()):.3g}, "
            f"lines through 0 {counts.exponent(through_0):.3g}, free lines {counts.exponent(counts.slopes()):.3g}: "
            f"these are steeper than what models hold where data are sparse, with intercepts down to {lowest:.2g}",
        ),
    ]  # fmt: skip
