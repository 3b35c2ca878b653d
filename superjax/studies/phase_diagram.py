"""The phase diagram: what happens to an extra feature as its importance and the density vary.

Paper, "Superposition as a Phase Change": n = 2 features in m = 1 dimension and n = 3 in m = 2; all features but the
last, the extra one, have importance 1.
"""

import itertools

import numpy as np
from matplotlib.figure import Figure

from superjax import analysis, oracle, theory
from superjax.plots.phase_diagram import cuts, phase_diagram
from superjax.studies import Claim, Results
from superjax.studies._diagram import Diagram, diagrams

SECTION = "Superposition as a Phase Change"
IMPORTANCES = (0.1, 0.3, 1.0, 3.0, 10.0)
SAMPLE = {2: 200, 3: 24}  # cells in which the oracle searches for the true optimum, by n_features
JUMPS = {  # norm of the weaker feature on either side of the boundary, by importance; from the float64 reference
    0.1: (0.0, 0.637),
    0.3: (0.0, 0.724),
    0.5: (0.0, 0.756),
    0.8: (0.358, 0.713),
    1.0: (0.51, 0.756),
}
CLEAR_GAP = 1e-3  # cells whose optimum is at least this much better than other phases


def figures(results: Results) -> dict[str, Figure]:
    return {"phase_diagram": phase_diagram(results), "cuts": cuts(results)}


def claims(results: Results) -> list[Claim]:
    found = [_triple_point()]
    for diagram in diagrams(results):
        found += _boundary(diagram)
        found += _jumps(diagram) if diagram.case.n_features == 2 else _digons(diagram)
        found += [*_certificates(diagram), *_agreements(diagram), *_oracle(diagram)]
    return found


def _triple_point() -> Claim:
    """Where the losses of all three candidates of n = 2, m = 1 meet, found on the theory's own losses."""
    density = np.linspace(0.5, 0.65, 150_001)
    losses = theory.candidate_losses(1.0, density, 2, 1)
    spread = np.ptp([losses[name] for name in ("ignore_extra", "drop_other", "antipodal")], axis=0)
    at = float(density[np.argmin(spread)])
    return Claim(
        "theory: not represented, dedicated and superposed meet in a triple point (importance, density)",
        SECTION, [1.0, 4 / 7], [1.0, at], 1e-5, abs(at - 4 / 7) < 1e-5,
    )  # fmt: skip


def _boundary(diagram: Diagram) -> list[Claim]:
    """The measured boundary beside the theory's. It can only be denser: free weights and biases only help both
    branches, and help the superposed one more."""
    case, measured = diagram.case, diagram.boundary()
    found = []
    for r in IMPORTANCES:
        expected = float(theory.superposition_boundary(r, case.n_features, case.n_hidden))
        position = analysis.at_importance(diagram.importance, measured, r)
        cell = np.max(np.abs(np.diff(np.log(diagram.density))))
        holds = bool(-cell <= np.log(position / expected) <= np.log(1.3) + cell)
        degenerate = case.n_features == 3 and r == 1.0
        found.append(
            Claim(
                f"{diagram.name}: density at which superposition begins, relative importance {r:g}",
                SECTION, expected, position, f"30% above the closed form, and one cell ({cell:.0%}) either way", holds,
                "the theory fixes unit weights and zero bias; the optimum has free ones"
                if holds else _why_boundary_differs(degenerate),
            )
        )  # fmt: skip
    return found


def _why_boundary_differs(degenerate: bool) -> str:
    if degenerate:
        return (
            "with three equally important features in two dimensions the optimum is no digon near the boundary: all "
            "three features share the plane, with norms that fall through the threshold only near density 1"
        )
    return "further off than free weights explain, or outside the swept importances"


def _weaker_norm(diagram: Diagram, column: int) -> np.ndarray:
    return diagram.data["optimum_norm"].values[column].min(axis=-1)


def _jumps(diagram: Diagram) -> list[Claim]:
    """n = 2, m = 1: the transition is first order. The weaker feature's norm jumps, from 0 away from r = 1."""
    found = []
    for r, expected in JUMPS.items():
        column = int(np.argmin(np.abs(np.log(diagram.importance / r))))
        norm = _weaker_norm(diagram, column)[np.argsort(-diagram.density)]
        at = int(np.argmax(np.diff(norm)))
        before, after = float(norm[at]), float(norm[at + 1])
        holds = abs(before - expected[0]) < 0.1 and abs(after - expected[1]) < 0.1
        found.append(
            Claim(
                f"{diagram.name}: jump of the weaker feature's norm at the boundary, importance {r:g}",
                "exact optimum, float64 reference", expected, [before, after], 0.1, holds,
                f"column {diagram.importance[column]:.3f}, between neighbouring densities; the jump is not to norm 1",
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
        pair = superposed.sum(-1) == 2
        which = superposed[..., -1] if side == "less" else ~superposed[..., -1]
        fraction = float((pair & which)[columns][inside[columns]].mean())
        holds = fraction >= 0.95
        found.append(
            Claim(
                f"{diagram.name}: extra feature {side} important: {expected} (fraction of cells with superposition)",
                SECTION, 1.0, fraction, 0.05, holds,
                "in the other cells, dense and with r near 1, all three features share the plane",
            )
        )  # fmt: skip
    return found


def _certificates(diagram: Diagram) -> list[Claim]:
    """Properties that the exact optimal loss has; a missed optimum anywhere nearby would violate them."""
    loss, r = diagram.data["optimum_loss"].values.astype(float), diagram.importance
    found = []
    order = np.argsort(r)
    x, y = r[order], loss[order]
    share = ((x[1:-1] - x[:-2]) / (x[2:] - x[:-2]))[:, None]
    chord = (1 - share) * y[:-2] + share * y[2:]
    violation = float(np.max((chord - y[1:-1]) / y[1:-1]))
    found.append(
        Claim(
            f"{diagram.name}: the optimal loss is concave in importance (largest relative violation)",
            "certificate: a minimum of functions linear in importance", "<= 0", violation, 1e-3, violation <= 1e-3,
        )
    )  # fmt: skip
    if diagram.case.n_features == 2 and np.allclose(x * x[::-1], 1):
        deviation = float(np.max(np.abs(y[::-1] * x[:, None] / y - 1)))
        found.append(
            Claim(
                f"{diagram.name}: L*(1/r) = L*(r) / r (largest relative deviation)",
                "certificate: the two features change roles", 0.0, deviation, 1e-3, deviation <= 1e-3,
            )
        )  # fmt: skip
    return found


def _agreements(diagram: Diagram) -> list[Claim]:
    """How far theory, optimum, best of restarts and typical outcome agree, as fractions of cells."""
    data, case = diagram.data, diagram.case
    superposed = diagram.extra("typical_interference") >= case.phases.superposed
    represented = diagram.extra("typical_norm") >= case.phases.represented
    phases = {
        "theory": diagram.theory_phase(),
        "optimum": diagram.extra("optimum_phase"),
        "best of restarts": diagram.best("phase")[..., -1],
        "typical outcome": np.where(represented, np.where(superposed, 2, 1), 0),
    }
    found = []
    for one, other in itertools.combinations(phases, 2):
        differ = phases[one] != phases[other]
        fraction, note = float(1 - differ.mean()), f"{differ.sum()} of {differ.size} cells differ"
        if one == "theory":
            note += "; the optimum has superposition up to a higher density than the theory's fixed weights"
        if other == "typical outcome" and differ.any():
            wrong = 1 - float(data["agreement"].values[differ].mean())
            note += (
                f"; in these {wrong:.0%} of the restarts are in other phases than the optimum, and averaged with the "
                "rest a few of them suffice to lift the interference above its threshold"
            )
        found.append(
            Claim(
                f"{diagram.name}: phase of the extra feature, {one} = {other} (fraction of cells)",
                SECTION, 1.0, fraction, 0.05, fraction >= 0.95, note,
            )
        )  # fmt: skip
    importance, density = diagram.numbers()
    optimum = analysis.phase_signature(data["optimum_phase"].values, importance, density)
    best = analysis.phase_signature(diagram.best("phase"), importance, density)
    fraction = float((optimum == best).mean())
    found.append(
        Claim(
            f"{diagram.name}: phases of all features, optimum = best of restarts (fraction of cells)",
            "restarts against neighbour transplant", 1.0, fraction, 0.05, fraction >= 0.95,
            f"{case.restarts} restarts a cell, of which {float(data['success'].mean()):.0%} reach the optimum",
        )
    )  # fmt: skip
    return found


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
    phase, _ = analysis.classify(true.W, **case.phases.model_dump())
    clear = data["gap"].values[cells]
    clear = np.isnan(clear) | (clear > CLEAR_GAP)
    same = analysis.phase_signature(phase, importance, density) == analysis.phase_signature(
        data["optimum_phase"].values[cells], importance, density
    )
    excess = float(np.max(data["optimum_loss"].values[cells] / true.loss - 1))
    W, b = (data[f"optimum_{name}"].values[cells].astype(float) for name in "Wb")
    reference = oracle.expected_loss(W, b, importance, density)
    error = float(np.max(np.abs(data["optimum_loss"].values[cells] / reference - 1)))
    fraction = float(same[clear].mean())
    sample = f"{size} cells, 32 random restarts each, optimised in float64 by code that shares nothing with the trainer"
    return [
        Claim(
            f"{diagram.name}: the optimum has the phases of the true optimum where the gap exceeds {CLEAR_GAP:g}",
            "float64 reference", 1.0, fraction, 0.01, fraction >= 0.99, f"{sample}; {clear.sum()} with a clear gap",
        ),
        Claim(
            f"{diagram.name}: loss of the optimum above that of the true optimum (largest relative excess)",
            "float64 reference", 0.0, excess, 1e-3, excess <= 1e-3, sample,
        ),
        Claim(
            f"{diagram.name}: error of the stored loss (largest, relative)",
            "float64 reference", 0.0, error, 1e-3, error <= 1e-3, sample,
        ),
    ]  # fmt: skip
