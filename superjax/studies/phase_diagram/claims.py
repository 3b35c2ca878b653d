"""What is claimed of the phase diagram: theory, optimum, restarts and an independent reference beside each other."""

import numpy as np
from scipy import optimize

from superjax import analysis
from superjax.analysis.phases import SUPERPOSED
from superjax.reference import oracle, theory
from superjax.studies.claim import Claim, agreement, at_most, between, close, fraction, vanishes
from superjax.studies.diagram import Diagram, boundary_claims, diagrams
from superjax.studies.results import Results

SECTION = "Superposition as a Phase Change"
SAMPLE = {2: 60, 3: 12}  # cells in which the oracle searches for the true optimum, by n_features
JUMPS = {  # norm of the weaker feature on either side of the boundary, by importance; from the float64 reference
    0.1: (0.0, 0.637),
    0.3: (0.0, 0.724),
    0.5: (0.0, 0.756),
    0.8: (0.358, 0.713),
    1.0: (0.51, 0.756),
}
PANEL_IMPORTANCES = (0.1, 1.0, 10.0)  # where the boundaries of the paper's theory panels were read
PANEL = {(2, 1): [0.16, 0.57, 0.16], (3, 2): [0.16, 0.57, 0.57]}
_JUMP = 0.1  # tolerance of these norms
CLEAR_GAP = 1e-3  # cells whose optimum is at least this much better than other phases


def claims(results: Results) -> list[Claim]:
    found = [_triple_point()]
    for diagram in diagrams(results):
        found += [*_papers_panel(diagram), *boundary_claims(diagram)]
        found += _jumps(diagram) if diagram.case.n_features == 2 else _digons(diagram)
        found += [*_certificates(diagram), *_agreements(diagram), *_oracle(diagram)]
    return found


def _papers_panel(diagram: Diagram) -> list[Claim]:
    """The boundary of the theory, as the paper's panel of this shape has it."""
    case = diagram.case
    if (case.n_features, case.n_hidden) not in PANEL:
        return []
    expected = PANEL[case.n_features, case.n_hidden]
    found = theory.superposition_boundary(np.array(PANEL_IMPORTANCES), case.n_features, case.n_hidden)
    return [
        close(
            f"{diagram.name}: density at which superposition begins in the theory, relative importance "
            f"{', '.join(f'{r:g}' for r in PANEL_IMPORTANCES)}",
            f"{SECTION}, theory panel", expected, np.asarray(found).tolist(), absolute=0.01,
            note="the theory alone, nothing trained; the panel can be read to 0.01",
        )
    ]  # fmt: skip


def _triple_point() -> Claim:
    """Where the losses of the three candidates of n = 2, m = 1 meet, solved for both coordinates."""

    def differences(point):
        losses = theory.candidate_losses(point[0], point[1], 2, 1)
        return losses["ignore_extra"] - losses["drop_other"], losses["drop_other"] - losses["antipodal"]

    found = optimize.root(differences, (0.7, 0.4)).x
    return close(
        "theory: not represented, dedicated and superposed meet in a triple point (importance, density)",
        f"{SECTION} (theory alone, nothing trained)", [1.0, 4 / 7], found.tolist(), absolute=1e-6,
    )  # fmt: skip


def _jumps(diagram: Diagram) -> list[Claim]:
    """n = 2, m = 1: the transition is first order. The weaker feature's norm jumps, from 0 away from r = 1.

    The cells on either side of the boundary are up to a step away from it, and there the norm may be further from its
    value on the other side, by about 2 per unit of ln(density); never nearer.
    """
    found = []
    step = diagram.step
    outwards = max(_JUMP, 2 * step)
    tolerance = (
        _JUMP if outwards == _JUMP else f"{_JUMP}, away from the other side {outwards:.2g} (cells of {step:.0%})"
    )
    for r, expected in JUMPS.items():
        column = diagram.column(r)
        if abs(np.log(diagram.importance[column] / r)) > 0.05:
            continue
        dense_first = np.argsort(-diagram.density)
        density = diagram.density[dense_first]
        norm = diagram.data["optimum_norm"].values[column].min(axis=-1)[dense_first]
        represented = norm[1:] >= diagram.case.phases.represented  # at r = 1 the norm first rises steeply from 0
        at = int(np.argmax(np.where(represented, np.diff(norm), 0)))
        before, after = float(norm[at]), float(norm[at + 1])
        lowest, highest = np.subtract(expected, (outwards, _JUMP)), np.add(expected, (_JUMP, outwards))
        found.append(
            between(
                f"{diagram.name}: jump of the weaker feature's norm at the boundary, importance {r:g}",
                "exact optimum, float64 reference", expected, [before, after], lowest, highest, tolerance=tolerance,
                note=f"column {diagram.importance[column]:.3f}, from density {density[at]:.3g} to "
                f"{density[at + 1]:.3g}",
            )
        )  # fmt: skip
    return found


def _digons(diagram: Diagram) -> list[Claim]:
    """n = 3, m = 2: which features share a dimension on either side of r = 1."""
    phase = diagram.data["optimum_phase"].values
    superposed = phase == analysis.PHASES.index("superposed")
    inside = analysis.has_superposition(phase, diagram.case.n_hidden)
    found = []
    for side, columns, expected in (
        ("less", diagram.importance < 1, "the extra feature and one other share a dimension, the third has its own"),
        ("more", diagram.importance > 1, "the two others share a dimension, the extra feature has its own"),
    ):
        cells = inside & columns[:, None]
        if not cells.any():
            continue
        which = superposed[..., -1] if side == "less" else ~superposed[..., -1]
        right = (superposed.sum(-1) == 2) & which
        share, rest = float(right[cells].mean()), cells & ~right
        note = "no other cells"
        if rest.any():
            r, s = diagram.importance[rest.nonzero()[0]], diagram.density[rest.nonzero()[1]]
            note = (
                f"in {(superposed.sum(-1)[rest] == 3).mean():.0%} of the other {rest.sum()} cells all three are "
                f"superposed; they lie at importance {r.min():.2g} to {r.max():.2g}, density {s.min():.2g} to "
                f"{s.max():.2g}"
            )
        found.append(
            fraction(
                f"{diagram.name}: extra feature {side} important: {expected} (fraction of cells with superposition)",
                f"{SECTION}, n = 3, m = 2", share, 0.05, note=note, kind="paper",
            )
        )  # fmt: skip
    return found


def _certificates(diagram: Diagram) -> list[Claim]:
    """Properties that the exact optimal loss has; a missed optimum anywhere nearby would violate them."""
    violation, deviation = diagram.concavity_violation(), diagram.asymmetry()
    found = [
        at_most(
            f"{diagram.name}: the optimal loss is concave in importance (largest relative violation)",
            "certificate: a minimum of functions linear in importance", 0, violation, 1e-3,
        )
    ]  # fmt: skip
    if deviation is not None:
        found.append(
            vanishes(
                f"{diagram.name}: L*(1/r) = L*(r) / r (largest relative deviation)",
                "certificate: the two features change roles", deviation, 1e-3,
            )
        )  # fmt: skip
    return found


def _agreements(diagram: Diagram) -> list[Claim]:
    """How far theory, optimum, typical outcome and best of restarts agree, as fractions of cells."""
    data, case = diagram.data, diagram.case
    theirs, optimum, typical = diagram.theory_phase(), diagram.extra("optimum_phase"), diagram.typical_phase()
    note = ""
    if (differ := theirs != optimum).any():
        beyond = (theirs[differ] != SUPERPOSED) & (optimum[differ] == SUPERPOSED)
        note = f"; {beyond.mean():.0%} of them are superposed beyond the theory's boundary"
    found = [
        agreement(
            f"{diagram.name}: phase of the extra feature, theory = optimum (Cohen's kappa)",
            SECTION, theirs, optimum, 0.05, note=note, kind="paper",
        )
    ]  # fmt: skip
    for name, other, kind in (("theory", theirs, "paper"), ("optimum", optimum, "derived")):
        found.append(
            agreement(
                f"{diagram.name}: phase of the extra feature, {name} = that of most restarts (Cohen's kappa)",
                SECTION, other, typical, 0.05, note=_why_typical_differs(diagram, other != typical), kind=kind,
            )
        )  # fmt: skip
    importance, density = diagram.numbers()
    signatures = [
        analysis.phase_signature(phase, importance, density)
        for phase in (data["optimum_phase"].values, diagram.best("phase"))
    ]
    found.append(
        fraction(
            f"{diagram.name}: phases of all features, optimum = best of restarts (fraction of cells)",
            "restarts against neighbour transplant", float((signatures[0] == signatures[1]).mean()), 0.02,
            note=f"{case.restarts} restarts a cell, of which {diagram.success_in_words()} reach the optimum",
        )
    )  # fmt: skip
    return found


def _why_typical_differs(diagram: Diagram, differ: np.ndarray) -> str:
    """What the restarts of these cells do, where the optimum is known."""
    if not differ.any():
        return ""
    r, s = diagram.importance[differ.nonzero()[0]], diagram.density[differ.nonzero()[1]]
    stray = 1 - float(diagram.data["agreement"].values[differ].mean())
    return (
        f", at importance {r.min():.2g} to {r.max():.2g}, density {s.min():.2g} to {s.max():.2g}; there {stray:.0%} of "
        f"the restarts have other phases than the optimum, against {1 - float(diagram.data['agreement'].mean()):.0%} "
        "of all: they end in other minima, or stay near a point at which the gradient vanishes"
    )


def _oracle(diagram: Diagram) -> list[Claim]:
    """Optimum and stored loss against an independent float64 reference in a seeded sample of cells."""
    data, case = diagram.data, diagram.case
    if case.model.kind != "relu_output":
        return []
    importance, density = diagram.numbers()
    shape = importance.shape[:2]
    size = min(SAMPLE[case.n_features], np.prod(shape))
    cells = np.unravel_index(np.random.default_rng(case.seed).choice(np.prod(shape), size, replace=False), shape)
    importance, density = importance[cells], density[cells]
    true = oracle.minimum(importance, density, case.n_hidden, restarts=32, seed=case.seed)
    phase, _ = analysis.classify(true.W, **case.phases.thresholds())
    clear = data["gap"].values[cells]
    clear = np.isnan(clear) | (clear > CLEAR_GAP)
    same = analysis.phase_signature(phase, importance, density) == analysis.phase_signature(
        data["optimum_phase"].values[cells], importance, density
    )
    excess = float(np.max(data["optimum_loss"].values[cells] / true.loss - 1))
    stored = np.stack([data["optimum_loss"].values[cells], data["loss"].min("restart").values[cells]])
    W = np.stack([data["optimum_W"].values[cells], diagram.best("W")[cells]]).astype(float)
    b = np.stack([data["optimum_b"].values[cells], diagram.best("b")[cells]]).astype(float)
    error = float(np.max(np.abs(stored / oracle.expected_loss(W, b, importance, density) - 1)))
    sample = f"{size} cells, 32 random restarts each, optimised in float64 by code that shares nothing with the trainer"
    return [
        fraction(
            f"{diagram.name}: the optimum has the phases of the true optimum where the gap exceeds {CLEAR_GAP:g}",
            "float64 reference", float(same[clear].mean()), 0.01, note=f"{sample}; {clear.sum()} with a clear gap",
        ),
        vanishes(
            f"{diagram.name}: loss of the optimum above that of the true optimum (largest relative excess)",
            "float64 reference", excess, 1e-3, note=sample,
        ),
        vanishes(
            f"{diagram.name}: error of the stored loss (largest, relative)",
            "float64 reference", error, 1e-3, note=f"optimum and best restart of {size} cells",
        ),
    ]  # fmt: skip
