"""What is claimed of counts of features: linear in the dimensions, and in density as compressed sensing scales."""

import numpy as np

from superjax.studies.claim import Claim, at_most, close, more_than
from superjax.studies.features_and_dimensions.view import FULL, SPARSE, Counts, every, line, scaling
from superjax.studies.results import Results

SECTION = "Strategy and appendices: compressed sensing"
_UNEXPLAINED = 0.02  # of the variance of the counts
_SPREAD = 1.5  # factor between the largest and the smallest constant
_EXPONENT = 0.15
_PAST_DIGONS = 0.15  # density below which polytopes of more features than two a dimension are the best


def claims(results: Results) -> list[Claim]:
    found = []
    for counts in every(results):
        if not np.isfinite(counts.best).any():
            continue
        found += [*_linear(counts), *_more_than_dimensions(counts), *_scaling(counts)]
    return found


def _linear(counts: Counts) -> list[Claim]:
    lines, through_0 = counts.lines(), counts.lines(through_0=True)
    known = [k for k in np.argsort(-counts.density) if np.isfinite(lines[k].left)]
    if not known:
        return []
    each = ", ".join(f"{counts.density[k]:.2g}: {lines[k].slope:.3g} m {lines[k].intercept:+.2g}" for k in known)
    zero = max(through_0[k].left for k in known)
    squares = max(line(counts.m, column).left for column in counts.squared_norms()[:, known].T)
    return [
        at_most(
            f"{counts.name}: variance of the number of features over m that a straight line leaves, densities "
            f"{', '.join(f'{counts.density[k]:.2g}' for k in known)}", f"{SECTION}: linear in m", 0,
            [lines[k].left for k in known], _UNEXPLAINED, kind="paper",
            note=f"by density {each}; lines through 0 leave up to {zero:.2g}, as few dimensions hold fewer features "
            f"each; of ‖W‖², which needs no threshold, straight lines leave up to {squares:.2g}: in dense data norms "
            f"are near the threshold, {counts.case.phases.represented:g}, and chance decides; "
            f"{int(counts.full().sum())} cells in which {FULL:.0%} of all {counts.case.n_features} features are "
            "represented are left out",
        )
    ]  # fmt: skip


def _more_than_dimensions(counts: Counts) -> list[Claim]:
    """Sparser data have more features per dimension."""
    slopes = counts.slopes()[np.argsort(-counts.density)]
    slopes = slopes[np.isfinite(slopes)]
    if len(slopes) < 2:
        return []
    return [
        more_than(
            f"{counts.name}: features per dimension, rise from one density to the next sparser one (smallest factor)",
            SECTION, 1, float(np.min(slopes[1:] / slopes[:-1])), kind="paper",
            note=f"from {slopes[0]:.3g} to {slopes[-1]:.3g}",
        )
    ]  # fmt: skip


def _scaling(counts: Counts) -> list[Claim]:
    """Features per dimension beside 1 / (-s ln s): the constant, and whether it is one."""
    constants = counts.constants()
    known = np.isfinite(constants).any(1)
    if known.sum() < 2:
        return []
    by_density = np.nanmean(constants[known], axis=1)
    restarts = float(np.nanmax(np.nanmax(constants[known], axis=1) / np.nanmin(constants[known], axis=1)))
    s = counts.density[known]
    each = ", ".join(f"{density:.2g}: {value:.3g}" for density, value in zip(s, by_density, strict=True))
    where = f"densities {s.max():.2g} to {s.min():.2g}"
    return [
        at_most(
            f"{counts.name}: features per dimension over 1 / (-(1-S) ln(1-S)): largest constant over smallest, {where}",
            f"{SECTION}: m = Ω(-n (1-S) log(1-S))", 1, float(by_density.max() / by_density.min()), _SPREAD - 1,
            kind="paper",
            note=f"best constant {counts.constant():.3g}, of lines through 0 {_through_0(counts):.3g}; means of "
            f"{counts.case.restarts} restarts by density {each}; "
            f"restarts of one density differ by factors up to {restarts:.3g}; densities below 1/e = {SPARSE:.2f}, "
            "where the bound falls with sparsity",
        ),
        close(
            f"{counts.name}: power of 1 / (-(1-S) ln(1-S)) that features per dimension follow, {where}",
            f"{SECTION}: m = Ω(-n (1-S) log(1-S))", 1.0, counts.exponent(), absolute=_EXPONENT, kind="paper",
            note=f"least squares on logarithmic scales; {counts.exponent(_PAST_DIGONS):.3g} below density "
            f"{_PAST_DIGONS:g}: at denser data models are near the plateau of antipodal pairs, two features a "
            f"dimension, here {_nearest(counts, 0.3)}",
        ),
    ]  # fmt: skip


def _through_0(counts: Counts) -> float:
    """The constant from lines through 0, on the densities of the other."""
    slopes = np.array([one.slope for one in counts.lines(through_0=True)])
    sparse = (counts.density < SPARSE) & (slopes > 0)
    return float(np.exp(np.mean(np.log(slopes[sparse] / scaling(counts.density[sparse]))))) if sparse.any() else np.nan


def _nearest(counts: Counts, density: float) -> str:
    at = int(np.argmin(np.abs(np.log(counts.density / density))))
    return f"{counts.slopes()[at]:.3g} at {counts.density[at]:.2g}"
