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
PRECISE = 0.02  # relative standard error of a rise up to which single models are compared
_SURE = 3  # standard errors


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
                f"medians {_listed(median)} at densities {_listed(case.density)}; outputs are on in "
                f"{_listed(_on(case), '.2g')} of the inputs, and one that is off does not feel a small attack",
            )
        )  # fmt: skip
    return found


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
                    SECTION, CLOSELY, rank, kind="paper",
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
    excess, error, finite = case.of("attack_excess"), case.of("attack_excess_error"), case.known
    worst = case.vulnerability * case.of_cells("attack_baseline")[:, None]
    less = ((worst[..., None] - excess) / worst[..., None])[finite]
    harm = case.relative_harm[finite]
    sure = (excess[..., 1:] - excess[..., :1] > _SURE * np.hypot(error[..., 1:], error[..., :1]))[finite]
    beaten = "; ".join(
        f"{label} in {sure[:, k].sum()} of {len(harm)} models, by {harm[:, k + 1].max() - 1:.1%} at most"
        for k, label in enumerate(list(KINDS.values())[1:])
        if sure[:, k].any()
    )
    share, known = 1 / harm.max(-1), (error / worst[..., None]).max(-1)[finite] < PRECISE
    ascent = np.nanmedian(case.relative_harm[..., 1], axis=1)
    options, relative = case.case.attack, (case.of("attack_vulnerability_error") / case.vulnerability)[finite]
    return [
        at_least(f"{case.name}: what the reported attack does more than each of the others (lowest, relative)",
                 "the most harmful is reported", 0, float(less.min()), 1e-5, kind="check"),
        at_least(f"{case.name}: harm of the analytic directions relative to the most harmful attack (lowest of models "
                 f"whose standard error is below {PRECISE:.0%})", SECTION, 1, float(share[known].min(initial=1)), 0.1,
                 note=f"{known.sum()} of {len(share)} models; of all models the median is {np.median(share):.1%} and "
                 f"the lowest {share.min():.1%}; more harmful by {_SURE} standard errors are: {beaten or 'none'} (by "
                 "chance one in 900 would be)"),
        less_than(f"{case.name}: gradient ascent relative to analytic directions at the sparsest density (median)",
                  SECTION, 0.95, float(ascent[-1]), kind="paper",
                  note=f"{_listed(ascent)} at densities {_listed(case.density)}; the paper found gradients masked in "
                  "sparse data. Here the gradient is that of the mean over inputs, and outputs are on in "
                  f"{_on(case)[-1]:.1%} of them even at the sparsest density"),
        at_most(f"{case.name}: standard error of the vulnerability (largest, relative)", "sampled inputs", 0.1,
                float(relative.max()), kind="check",
                note=f"median {np.median(relative):.2%}; of {options.scored_on if options else 0:,} inputs"),
    ]  # fmt: skip


def _on(case: Attacked) -> np.ndarray:
    """In which fraction of the inputs an output is on, by density."""
    return np.nanmean(case.of("attack_on"), axis=(1, 2))


def _listed(values: np.ndarray, form: str = ".3g") -> str:
    return ", ".join(format(value, form) for value in values)


def _interval(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.2f} to {ends[1]:.2f}"
