"""What is claimed of counts of features: linear in the dimensions, and in density as compressed sensing scales."""

import numpy as np

from superjax.studies.claim import Claim, at_most, close, more_than
from superjax.studies.features_and_dimensions.view import FULL, SPARSE, Counts, every, scaling
from superjax.studies.results import Results

SECTION = "Strategy and appendices: compressed sensing"
_UNEXPLAINED = 0.02  # of the variance of the counts
_SPREAD = 1.5  # factor between the largest and the smallest constant
_EXPONENT = 0.15


def claims(results: Results) -> list[Claim]:
    found = []
    for counts in every(results):
        if not np.isfinite(counts.best).any():
            continue
        found += [*_linear(counts), *_more_than_dimensions(counts), *_scaling(counts)]
    return found


def _linear(counts: Counts) -> list[Claim]:
    lines, through_0 = counts.lines(), counts.lines(through_0=True)
    left = np.array([one.left for one in lines])
    known = np.flatnonzero(np.isfinite(left))
    if not known.size:
        return []
    each = ", ".join(f"{counts.density[k]:.2g}: {lines[k].slope:.3g} m {lines[k].intercept:+.2g}" for k in known)
    zero = max(through_0[k].left for k in known)
    return [
        at_most(
            f"{counts.name}: variance of the number of features over m that a straight line leaves (largest of "
            f"{known.size} densities)", f"{SECTION}: linear in m", 0, float(left[known].max()), _UNEXPLAINED,
            kind="paper",
            note=f"by density {each}; lines through 0 leave up to {zero:.2g}, as few dimensions hold fewer features "
            f"each; {int(counts.full().sum())} cells in which {FULL:.0%} of all {counts.case.n_features} features are "
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
            note="least squares on logarithmic scales; below 1, models hold fewer features than the bound's scaling as "
            "data get sparser",
        ),
    ]  # fmt: skip


def _through_0(counts: Counts) -> float:
    """The constant from lines through 0, on the densities of the other."""
    slopes = np.array([one.slope for one in counts.lines(through_0=True)])
    sparse = (counts.density < SPARSE) & (slopes > 0)
    return float(np.exp(np.mean(np.log(slopes[sparse] / scaling(counts.density[sparse]))))) if sparse.any() else np.nan
