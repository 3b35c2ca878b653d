"""What is claimed of the L1 penalty: without it the phase diagram, with it less superposition at a higher loss."""

import numpy as np

from superjax import analysis
from superjax.analysis.phases import SUPERPOSED
from superjax.reference import boundaries, oracle
from superjax.studies.claim import Claim, at_most, between, close, equal, more_than, vanishes
from superjax.studies.diagram import TOO_COARSE
from superjax.studies.l1_penalty.view import LARGEST, NO_WEIGHT, NORM_THERE, STAYS, Plane, planes
from superjax.studies.protocols.claims import half_of_restarts
from superjax.studies.results import Results

SECTION = "The Strategic Picture of Superposition"
_SPARSE = 0.02  # density up to which the sparsest row is near the limit of one active feature at a time
_NORM = 0.05  # of the jump of the norm in the limit
_CELLS = 200  # in which the stored losses are computed again


def claims(results: Results) -> list[Claim]:
    found = []
    for plane in planes(results):
        if not np.isfinite(plane.error()).any():
            continue
        found += [*_without(plane), *_disappears(plane), *_higher_loss(plane), *_monotone(plane)]
        if plane.optimal and plane.case.n_features == 2:
            found += [*_sparse_limit(plane), *_stored(plane)]
    return found


def _without(plane: Plane) -> list[Claim]:
    """At penalty 0 the boundary is that of the phase diagram, of the optimum and of single restarts."""
    case, zero = plane.case, int(np.argmin(plane.penalty))
    table = boundaries.SUPERPOSED.get((case.n_features, case.n_hidden), {})
    ratio = case.importance_vector()[-1] / case.importance_vector()[0]
    expected = next((at for r, at in table.items() if np.isclose(r, ratio)), None)
    if plane.penalty[zero] != 0 or expected is None or case.phases.represented != boundaries.REPRESENTED:
        return []
    allowed, found = float(np.exp(plane.step) - 1), []
    if allowed > TOO_COARSE:
        return []
    half, spread = half_of_restarts(plane, zero, expected)
    for what, measured in (
        ("the optimum", float(plane.begins()[zero])),
        ("half of the single restarts", half),
    ):
        found.append(
            close(
                f"{plane.name}: density at which superposition begins without a penalty, relative importance "
                f"{ratio:g}, in {what}",
                "float64 reference of phase_diagram", expected, measured, relative=allowed,
                tolerance=f"one cell, {allowed:.0%}",
                note=f"{measured / expected - 1:+.1%} off; of single restarts: {spread}",
            )
        )  # fmt: skip
    return found


def _disappears(plane: Plane) -> list[Claim]:
    """Superposition goes as the penalty grows, in every density that has it: in the best models and in all restarts, as
    more features than dimensions and as features that are superposed at all."""
    order = np.argsort(plane.penalty)
    inside, penalty, m = plane.superposed()[order], np.sort(plane.penalty), plane.case.n_hidden
    if not inside[0].any():
        return []
    best, every = plane.of_best("phase")[order], plane.phases()[order]
    gone = [plane.ends(k) for k in range(len(plane.density)) if inside[:, k].any()]
    who = _who(plane)
    of_m, of_any = "more features than dimensions", "superposed features"
    kinds = [(of_m, lambda phase: analysis.has_superposition(phase, m), _hysteresis(plane))]
    at = f"at the largest penalty, {penalty[-1]:.2g}"
    found = [
        equal(
            f"{plane.name}: densities with superposition, {of_m}, {at}, of {int(inside[0].sum())} without one, {who}",
            SECTION, 0, int(inside[-1].sum()), kind="paper",
            note=f"fraction of densities with superposition, by penalty: {_shares(penalty, inside)}; it ends at "
            f"penalties {np.min(gone):.2g} to {np.max(gone):.2g}",
        )
    ]  # fmt: skip
    if m > 1:
        gains = plane.gains_apart()
        apart = (
            "all represented features on neurons of their own would change what the best models at the largest penalty "
            f"minimise by {', '.join(f'{-gain:+.1%}' for gain in gains)}: these are other minima, not optima"
        )
        kinds.append((of_any, lambda phase: (phase == SUPERPOSED).any(-1), apart if gains.size else ""))
        shared = kinds[-1][1](best)
        found.append(
            equal(
                f"{plane.name}: densities with {of_any} {at}, {who}", SECTION, 0, int(shared[-1].sum()), kind="paper",
                note=f"fraction of densities, by penalty: {_shares(penalty, shared)}" + (gains.size > 0) * f"; {apart}",
            )
        )  # fmt: skip
    for words, rule, why in kinds:
        shown = rule(every)
        where = plane.density[shown[-1].any(-1)]
        dense = f"; at the largest at densities {where.min():.2g} to {where.max():.2g}" if where.size else ""
        found.append(
            vanishes(
                f"{plane.name}: single restarts with {words} {at} (fraction)", SECTION, float(shown[-1].mean()), 0,
                kind="paper", note=f"by penalty: {_shares(penalty, shown)}{dense}" + bool(why) * f"; {why}",
            )
        )  # fmt: skip
    return [*found, *_beyond(plane)]


def _who(plane: Plane) -> str:
    return "in the optimum" if plane.optimal else f"in the best of {plane.case.restarts} restarts"


def _hysteresis(plane: Plane) -> str:
    """Why restarts end elsewhere than in the optimum."""
    words = (
        f"a rare feature that has a weight is at a minimum up to {STAYS:.4f} of its importance, though no weight is "
        f"better from {LARGEST:.4f} on, and no weight is a minimum at every penalty"
    )
    if not plane.optimal or plane.case.n_features != 2:
        return words
    W = plane.data["W"].transpose("penalty", "density", "restart", "hidden", "feature").values[..., 0, :]
    without = plane.superposed()[..., None] & ~analysis.has_superposition(plane.phases(), 1)
    none, same = np.abs(W).min(-1) < NO_WEIGHT, W.prod(-1) > 0
    parts, zero = [], plane.penalty == 0
    for where, cells in (("without a penalty", zero), (f"from penalty {plane.penalty[~zero].min():.2g} on", ~zero)):
        out = without[cells]
        if out.any():
            parts.append(
                f"{where}, {out.mean():.0%} of the restarts have no superposition where the optimum has it: "
                f"{(none[cells] & out).sum() / out.sum():.0%} of them give a feature no weight, "
                f"{(same & ~none)[cells][out].mean():.0%} have both on the same side"
            )
    return "; ".join([words, *parts])


def _beyond(plane: Plane) -> list[Claim]:
    """Beyond the penalty at which the minimum with a weight is gone no restart keeps the less important feature."""
    end = STAYS * min(plane.case.importance_vector())
    far = plane.penalty > end
    if plane.case.n_features != 2 or not far.any():
        return []
    share = analysis.has_superposition(plane.phases()[far], plane.case.n_hidden).mean()
    return [
        vanishes(
            f"{plane.name}: single restarts with superposition at penalties above {end:.3g} (fraction)",
            f"closed form of one active feature at a time: {STAYS:.4f} of the smaller importance, where its minimum "
            "ends", float(share), 0, note=f"{far.sum()} penalties, all densities",
        )
    ]  # fmt: skip


def _shares(penalty: np.ndarray, inside: np.ndarray) -> str:
    """The fraction of all that a penalty has, at some penalties."""
    share = inside.reshape(len(penalty), -1).mean(-1)
    return ", ".join(f"{p:.2g}: {value:.0%}" for p, value in _few(penalty, share))


def _few(penalty: np.ndarray, share: np.ndarray) -> list[tuple[float, float]]:
    at = np.unique(np.linspace(0, len(penalty) - 1, 7).round().astype(int))
    return [(float(penalty[k]), float(share[k])) for k in at]


def _higher_loss(plane: Plane) -> list[Claim]:
    """What the first model without superposition loses, penalty apart, over the one without a penalty."""
    order = np.argsort(plane.penalty)
    error, inside = plane.error()[order], plane.superposed()[order]
    ratios, sparse = [], []
    for k in np.flatnonzero(inside[0]):
        without = np.flatnonzero(~inside[:, k])
        if without.size:
            ratios.append(error[without[0], k] / error[0, k])
            sparse.append(plane.density[k])
    if not ratios:
        return []
    worst, best = int(np.argmax(ratios)), int(np.argmin(ratios))
    return [
        more_than(
            f"{plane.name}: loss without the penalty term at the smallest penalty without superposition, over that at "
            f"penalty 0, {_who(plane)} (smallest of all densities)", SECTION, 1, float(np.min(ratios)), kind="paper",
            note=f"from {ratios[best]:.3g} at density {sparse[best]:.2g} to {ratios[worst]:.3g} at "
            f"{sparse[worst]:.2g}, median {np.median(ratios):.3g}",
        )
    ]  # fmt: skip


def _monotone(plane: Plane) -> list[Claim]:
    """Of optima, the objective is concave in the penalty, and the error rises with it; exact for the true optimum."""
    if not plane.known_exactly:
        return []
    order = np.argsort(plane.penalty)
    x = plane.penalty[order]
    objective, error = (values[order] for values in plane.with_means())
    share = ((x[1:-1] - x[:-2]) / (x[2:] - x[:-2]))[:, None]
    chord = (1 - share) * objective[:-2] + share * objective[2:]
    concave = float(np.max((chord - objective[1:-1]) / objective[1:-1]))
    falls = float(np.max((error[:-1] - error[1:]) / plane.of_nothing()))
    share, most = plane.silent()
    words = (
        f"outputs that have fallen silent return the mean here, which is better in {share:.1%} of the cells, by up to "
        f"{most:.2%}: they have no gradient, and the search leaves them so"
    )
    return [
        at_most(f"{plane.name}: the optimal objective is concave in the penalty (largest relative violation)",
                "certificate: a minimum of functions linear in the penalty", 0, concave, 1e-3, note=words),
        at_most(f"{plane.name}: fall of the optimum's loss without the penalty term from one penalty to the next "
                "(largest, of the loss of returning the means)", "certificate: it rises with the penalty", 0, falls,
                1e-3, note=words),
    ]  # fmt: skip


def _sparse_limit(plane: Plane) -> list[Claim]:
    """In the sparsest row, where the weaker feature is given up, beside the closed form of one active feature."""
    sparsest = int(np.argmin(plane.density))
    end = plane.ends(sparsest)
    if plane.density[sparsest] > _SPARSE or not np.isfinite(end):
        return []
    importance, cell = min(plane.case.importance_vector()), plane.step_of_penalty()
    order = np.argsort(plane.penalty)
    last = order[np.flatnonzero(plane.superposed()[order, sparsest])[-1]]
    norm = float(plane.of_best("norm")[last, sparsest].min())
    slack = np.sqrt(cell / importance / 2)  # the norm falls to its last value as a square root
    highest = _NORM + slack
    both = bool(plane.represented()[order, sparsest][-1] == 0)
    return [
        close(
            f"{plane.name}: penalty above which the optimum has no superposition, density "
            f"{plane.density[sparsest]:.2g}",
            f"closed form of one active feature at a time, {LARGEST:.4f} of the smaller importance",
            float(LARGEST * importance), end, absolute=cell, tolerance=f"one cell, {cell:.2g}",
            note=f"at the largest penalty {'no feature' if both else 'the other feature'} is represented",
        ),
        between(
            f"{plane.name}: norm of the weaker feature of the optimum in the last cell with superposition, density "
            f"{plane.density[sparsest]:.2g}: it does not fall to 0 smoothly", "closed form: sqrt(2/3)", NORM_THERE,
            norm, NORM_THERE - _NORM, NORM_THERE + highest,
            tolerance=f"{_NORM:g}, above {highest:.2g} for cells of {cell:.2g}",
        ),
    ]  # fmt: skip


def _stored(plane: Plane) -> list[Claim]:
    """The error of the stored optimum, by the float64 reference."""
    cells = np.argwhere(np.isfinite(plane.error()))
    cells = tuple(cells[:: max(1, len(cells) // _CELLS)].T)
    importance, density = (numbers[cells] for numbers in plane.numbers())
    W = plane.data["optimum_W"].transpose(..., "hidden", "feature").values[cells].astype(float)
    b = plane.data["optimum_b"].transpose(..., "feature").values[cells].astype(float)
    true = oracle.expected_loss(W, b, importance, density)
    return [
        vanishes(f"{plane.name}: error of the stored loss of the optimum (largest, relative)", "float64 reference",
                 float(np.max(np.abs(plane.error()[cells] / true - 1))), 1e-3)
    ]  # fmt: skip
