"""What is claimed of attacks: that vulnerability rises with superposition, and which attacks are the most harmful."""

import numpy as np

from superjax.studies.adversarial.view import KINDS, Attacked, attacked
from superjax.studies.claim import Claim, at_least, at_most, close, less_than, more_than, vanishes
from superjax.studies.results import Results, known

SECTION = "Relationship to Adversarial Robustness"
TOGETHER, APART = "one attack for all inputs", "each input its worst analytic direction"
CLOSELY = 0.8  # rank correlation from which one number tracks another closely
AGREE = 0.25  # relative: a derived ratio is about what is measured
LEVEL = "95% interval"
_SURE, _ALMOST_SURE = 3, 4  # standard errors
_ROUNDING = 1e-5  # of an excess, by which equal attacks may differ
_PLATEAU = 0.05  # relative: as many features per dimension are 2, those of antipodal pairs


def claims(results: Results) -> list[Claim]:
    found = []
    for case in attacked(known(results)):
        found += [*_rises(case), *_tracks(case), *_derived(case), *_attacks(case)]
    return found


def _rises(case: Attacked) -> list[Claim]:
    found = []
    for values, how in ((case.vulnerability, TOGETHER), (case.each, APART)):
        median = np.nanmedian(values, axis=1)
        at = int(np.nanargmax(median))
        found.append(
            more_than(
                f"{case.name}: vulnerability relative to the model without superposition, {how} (largest median of "
                "restarts)", SECTION, 3, float(median[at]), kind="paper",
                note=f"at density {case.density[at]:.3g}, restarts {np.nanmin(values[at]):.3g} to "
                f"{np.nanmax(values[at]):.3g}, {np.nanmean(case.per_dimension[at]):.2f} features per dimension; "
                f"medians {_listed(median)} at densities {_listed(case.density)}{'' if how == APART else _why(case)}",
            )
        )  # fmt: skip
    return found


def _why(case: Attacked) -> str:
    """Why vulnerability to one attack is no larger, in words."""
    sparse = f"in sparser data outputs are off in most inputs (on in {_listed(_on(case), '.2g')} of them), and one "
    sparse += "that is off does not feel a small attack"
    second, pairs = np.nanmedian(case.second_order, axis=1), _pairs(case)
    if not pairs.any():
        return f"; {sparse}"
    bias, shift = _biases(case)
    return (
        f"; at densities {_listed(case.density[pairs])} features are antipodal pairs, and these lose 2 at most: an "
        f"attack raises one output by √2 ε = {_listed(shift[pairs], '.2g')} and turns the other off, as biases are "
        f"{_listed(bias[pairs], '.2g')} (medians of represented features). Second order in the attack, which does not "
        f"know of this, says {_listed(second[pairs])} there; {sparse}"
    )


def _pairs(case: Attacked) -> np.ndarray:
    """Densities at which a dimension holds two features (median)."""
    return np.abs(np.nanmedian(case.per_dimension, axis=1) / 2 - 1) <= _PLATEAU


def _biases(case: Attacked) -> tuple[np.ndarray, np.ndarray]:
    """By density, the median bias of represented features, and by how much an attack along a pair moves an output."""
    b, there = case.of("b"), case.of("norm") >= case.case.phases.represented
    bias = np.nanmedian(np.where(there & case.known[..., None], b, np.nan), axis=(1, 2))
    return bias, np.sqrt(2) * case.of_cells("attack_radius")


def _tracks(case: Attacked) -> list[Claim]:
    """Over all models, and from the densest to where vulnerability is largest, as it falls in sparser data."""
    found = []
    for values, how in ((case.vulnerability, TOGETHER), (case.each, APART)):
        at = int(np.nanargmax(np.nanmedian(values, axis=1)))
        peak = int(np.nanargmax(np.nanmedian(case.per_dimension, axis=1)))
        rising = f" from density {case.density[0]:.3g} to that of the largest vulnerability, {case.density[at]:.3g}"
        for densities, where in ((slice(None), ""), (slice(at + 1), rising))[: 1 + (0 < at < len(values) - 1)]:
            rank, restarts, by_density = case.correlation(values, densities)
            found.append(
                more_than(
                    f"{case.name}: rank correlation of vulnerability and features per dimension over all models"
                    f"{where}, {how}",
                    SECTION, CLOSELY, rank, kind="derived" if where else "paper",
                    note=f"{case.known[densities].sum()} models; {LEVEL} {_interval(restarts)} if restarts are drawn "
                    f"anew, {_interval(by_density)} if densities are"
                    + ("; this range was chosen by what was measured" if where else
                       f"; vulnerability is largest at density {case.density[at]:.3g}, features per dimension at "
                       f"{case.density[peak]:.3g}: in sparser data fewer outputs are on"),
                )
            )  # fmt: skip
    return found


def _derived(case: Attacked) -> list[Claim]:
    found = []
    if case.density[0] == 1:
        found.append(
            close(f"{case.name}: vulnerability at density 1, where there is no superposition", "closed form", 1.0,
                  float(np.nanmedian(case.vulnerability[0])), relative=0.02,
                  note="(L' − L) / (ε² max I), median of restarts")
        )  # fmt: skip
    if (pairs := _pairs(case)).any():
        median = np.nanmedian(case.vulnerability, axis=1)[pairs]
        found.append(
            close(f"{case.name}: vulnerability where features are antipodal pairs (medians, at densities "
                  f"{_listed(case.density[pairs])})", "closed form of a pair without bias: one output rises by √2 ε, "
                  "the other falls silent", 2.0, median.tolist(), relative=AGREE,
                  note=f"pairs: two features per dimension within {_PLATEAU:.0%}")
        )  # fmt: skip
    ratio = np.nanmedian(case.vulnerability / case.per_feature, axis=1)
    off = np.abs(ratio - 1)
    found.append(
        vanishes(
            f"{case.name}: vulnerability is the per-feature ratio I_i ‖W_i‖⁴/D_i of its most vulnerable feature "
            "(largest relative deviation of a median)", "derived: ‖G_i‖² = ‖W_i‖⁴/D_i", float(np.max(off)), AGREE,
            note=f"vulnerability over ratio {_listed(ratio)} at densities {_listed(case.density)}: within {AGREE:.0%} "
            f"at {(off <= AGREE).sum()} of {len(off)}. The ratio counts what one output does if it is always on. "
            f"Outputs are on in {_listed(_on(case), '.2g')} of the inputs; near density 1 features are no directions "
            "of their own, and an attack does more to other outputs together",
        )
    )  # fmt: skip
    second, off = np.nanmedian(case.vulnerability / case.second_order, axis=1), _on(case) < 0.5
    if off.any():
        found.append(
            vanishes(
                f"{case.name}: vulnerability is that of second order in the attack, at densities at which outputs are "
                "off in most inputs (largest relative deviation of a median)", "derived: λ_max(G diag(I_i p_i) G)",
                float(np.max(np.abs(second[off] - 1))), AGREE,
                note=f"at {off.sum()} of {len(off)} densities, from {case.density[off][0]:.3g} on; vulnerability over "
                f"second order {_listed(second)} at densities {_listed(case.density)}; it leaves out what the attack "
                "turns on or off, which counts in denser data, where biases are near 0, as in digons: the range was "
                "chosen by what was measured",
            )
        )  # fmt: skip
    return found


def _attacks(case: Attacked) -> list[Claim]:
    """Which attacks are the most harmful; losses are means over samples with a standard error."""
    finite, options = case.known, case.case.attack
    assert options is not None
    worst = (case.vulnerability * case.of_cells("attack_baseline")[:, None])[finite]
    less, error = case.of("attack_less")[finite], case.of("attack_less_error")[finite]
    # The choice was made on other inputs, so that a difference on both samples has the sum of both variances.
    both = error * np.sqrt(1 + options.scored_on / options.chosen_on) + _ROUNDING * worst[:, None]
    share = case.of("attack_excess")[..., 0] / (case.vulnerability * case.of_cells("attack_baseline")[:, None])
    medians, chosen = np.nanmedian(share, axis=1), case.of("attack_worst")[finite].astype(int)
    sure = less[:, 0] > _SURE * error[:, 0] + _ROUNDING * worst
    beaten = ", ".join(
        f"{label} in {np.sum(sure & (chosen == k))}" for k, label in enumerate(KINDS.values()) if k
    )  # fmt: skip
    at = int(np.nanargmin(share[finite]))
    density, row = np.broadcast_to(case.density[:, None], finite.shape)[finite][at], case.best_row[finite][at]
    ascent = np.nanmedian(case.relative_harm[..., 1], axis=1)
    relative = (case.of("attack_vulnerability_error") / case.vulnerability)[finite]
    more = (
        f"the reported attack does more by {_SURE} standard errors of the difference in {sure.sum()} of {len(sure)} "
        f"models ({beaten}; by chance one in 741 would be)"
    )
    return [
        at_most(f"{case.name}: what another kind of attack does more than the reported one, in standard errors of "
                "the difference (largest)", "the kind is chosen on other inputs than it is scored on", _ALMOST_SURE,
                float((-less / both).max()), kind="check",
                note=f"another kind is more harmful on the scored inputs in {(less < 0).any(-1).sum()} of {len(less)} "
                f"models, by {(-less / worst[:, None]).max():.1%} at most; errors are of both samples together"),
        at_least(f"{case.name}: harm of the analytic directions relative to the reported attack (lowest median of "
                 "restarts)", SECTION, 1, float(np.nanmin(medians)), 0.1,
                 note=f"{_listed(medians)} at densities {_listed(case.density)}; {more}"),
        at_least(f"{case.name}: the same of all models (lowest)", SECTION, 1, float(share[finite][at]), 0.1,
                 note=f"at density {density:.3g}, standard error {error[at, 0] / worst[at]:.2f}; to second order in "
                 f"the attack the best of the directions G_i does {row:.0%} of what any direction does there: what it "
                 f"does less is due to the choice on {options.chosen_on:,} inputs, where outputs are on in few of them "
                 "and the best direction is not recognised, or to what the attack turns on and off"),
        less_than(f"{case.name}: gradient ascent relative to analytic directions at the sparsest density (median)",
                  SECTION, 0.95, float(ascent[-1]), kind="paper",
                  note=f"{_listed(ascent)} at densities {_listed(case.density)}; the paper found gradients masked in "
                  "sparse data. Here the gradient is that of the mean over inputs, and outputs are on in "
                  f"{_on(case)[-1]:.1%} of them even at the sparsest density"),
        at_most(f"{case.name}: standard error of the vulnerability (largest, relative)", "sampled inputs", 0.1,
                float(relative.max()), kind="check",
                note=f"median {np.median(relative):.2%}; of {options.scored_on:,} inputs"),
    ]  # fmt: skip


def _on(case: Attacked) -> np.ndarray:
    """In which fraction of the inputs an output is on, by density."""
    return np.nanmean(case.of("attack_on"), axis=(1, 2))


def _listed(values: np.ndarray, form: str = ".3g") -> str:
    return ", ".join(format(value, form) for value in values)


def _interval(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.2f} to {ends[1]:.2f}"
