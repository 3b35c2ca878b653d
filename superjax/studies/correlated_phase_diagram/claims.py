"""What is claimed of the correlated phase diagram: where which kind of superposition is the optimum."""

import numpy as np

from superjax.reference import boundaries, theory
from superjax.studies.claim import Claim, at_most, between, fraction, vanishes
from superjax.studies.correlated_phase_diagram.view import (
    ANTIPODAL,
    MERGED,
    ONE_FEATURE,
    antipodal_boundary,
    optimum_kinds,
    slices,
)
from superjax.studies.diagram import TOO_COARSE, Diagram, boundary_claims
from superjax.studies.results import Results

SETS = "Correlated and Anticorrelated Features"
_NEVER = 4 / 7  # the correlation from which on merging loses less than an antipodal pair at every density


def claims(results: Results) -> list[Claim]:
    found = []
    for name in results.datasets:
        by_rho = {rho: diagram for case, rho, diagram in slices(results) if case == name}
        if 0 in by_rho:
            found += boundary_claims(by_rho[0])
        # without correlation all superposition is antipodal: its boundary is claimed above
        found += [claim for rho, diagram in by_rho.items() if rho != 0 for claim in _antipodal(rho, diagram)]
        found += _which_kind(name, by_rho)
        found += _never_together(by_rho[-1]) if -1 in by_rho else []
        found += _always_together(by_rho[1]) if 1 in by_rho else []
        found += _certificates(name, by_rho)
    return found


def _antipodal(rho: float, diagram: Diagram) -> list[Claim]:
    """Where the optimum becomes antipodal, beside the float64 reference."""
    case = diagram.case
    table = {r: at for r, at in boundaries.ANTIPODAL.get(rho, {}).items() if diagram.covers(r)}
    if all(at is None for at in table.values()) or case.phases.represented != boundaries.REPRESENTED:
        return []
    boundary = antipodal_boundary(diagram)
    expected, measured, within, stated, notes = list(table.values()), [], [], [], []
    for r, at in table.items():
        found = diagram.at(boundary.position(), r)
        measured.append(found)
        allowed, why = diagram.precision(r, boundary)
        if allowed > TOO_COARSE:
            return []
        within.append(found is None if at is None else found is not None and abs(found / at - 1) <= allowed)
        if at is None:
            continue
        stated.append(f"at {r:g} {why}")
        if found is not None:
            closed = float(np.asarray(theory.pair_boundary(r, rho)))
            apart = f", the closed form's {closed:.4f} {closed / at - 1:+.1%}" if closed > 0 else ""
            notes.append(f"importance {r:g}: {found / at - 1:+.2%} off the reference{apart}")
    return [
        Claim(
            f"{diagram.name}: density below which the optimum is antipodal, relative importance "
            f"{', '.join(f'{r:g}' for r in table)} (null: not within the sweep)",
            "float64 reference", expected, measured, "; ".join(stated), all(within), "; ".join(notes),
        )
    ]  # fmt: skip


def _which_kind(name: str, by_rho: dict[float, Diagram]) -> list[Claim]:
    """How much of the superposition is antipodal, at each correlation: all of it up to 0, none from 4/7 on."""
    order = sorted(by_rho)
    kind = [optimum_kinds(by_rho[rho]) for rho in order]
    superposed = [f"{(k != ONE_FEATURE).mean():.0%}" for k in kind]
    share = [float((k == ANTIPODAL).sum() / max((k != ONE_FEATURE).sum(), 1)) for k in kind]
    clear = np.array([rho <= 0 or rho >= _NEVER for rho in order])
    expected = [1.0 if rho <= 0 else 0.0 if rho >= _NEVER else None for rho in order]
    lowest = [-np.inf if e is None else e - 0.01 for e in expected]
    highest = [np.inf if e is None else e + 0.01 for e in expected]
    if not clear.any():
        return []
    return [
        between(
            f"{name}: antipodal, not merged, fraction of the cells with superposition, correlations "
            f"{', '.join(f'{rho:g}' for rho in order)} (null: both kinds)",
            f"{SETS}: closed forms; merged loses less iff P(both) > 4s/7, so from ρ = 4/7 on everywhere", expected,
            share, lowest, highest, tolerance=0.01,
            note=f"cells with superposition of any kind: {', '.join(superposed)}",
        )
    ]  # fmt: skip


def _never_together(diagram: Diagram) -> list[Claim]:
    """Correlation -1: up to density 1/2 the features are never active together, and an antipodal pair loses nothing."""
    inside = diagram.density <= 0.5
    if not inside.any():
        return []
    nothing = (1 + diagram.importance[:, None]) * theory.variance(diagram.density[inside])
    loss = float((diagram.data["optimum_loss"].values[:, inside] / nothing).max())
    share = float((optimum_kinds(diagram)[:, inside] == ANTIPODAL).mean())
    where = f"{inside.sum()} densities up to {diagram.density[inside].max():.3g}"
    return [
        vanishes(f"{diagram.name}: largest optimal loss up to density 1/2, relative to predicting the means",
                 f"{SETS}: P(both active) = 0", loss, 1e-6, note=where, kind="paper"),
        fraction(f"{diagram.name}: the optimum is antipodal up to density 1/2 (fraction of cells)",
                 f"{SETS}: P(both active) = 0", share, note=where, kind="paper"),
    ]  # fmt: skip


def _always_together(diagram: Diagram) -> list[Claim]:
    """Correlation 1: features of equal importance merge, and where they do hardly depends on the density."""
    found, equal = [], diagram.column(1.0)
    s, kind = diagram.density, optimum_kinds(diagram)
    cells = (kind[equal] == MERGED) & (s < 1)
    if np.isclose(diagram.importance[equal], 1) and cells.any():
        loss = diagram.data["optimum_loss"].values[equal, cells]
        deviation = float(np.abs(loss / theory.pair_losses(1.0, s[cells], 1.0)["merged"] - 1).max())
        found.append(
            vanishes(f"{diagram.name}: loss of the merged optimum of equal importances against s/12 (largest relative "
                     "deviation)", f"{SETS}: closed form of [1, 1]/sqrt 2", deviation, 1e-3,
                     note=f"{cells.sum()} densities from {s[cells].min():.3g} to {s[cells].max():.3g}")
        )  # fmt: skip
    begins = [
        _importance_of_merging(diagram.importance, kind[:, k]) for k in (np.argmin(s), np.argmin(np.abs(s - 0.1)))
    ]
    if all(np.isfinite(begins)):
        step = float(np.max(np.abs(np.diff(np.log(diagram.importance)))))
        apart = abs(float(np.log(begins[1] / begins[0])))
        found.append(
            Claim(f"{diagram.name}: relative importance from which the extra feature is merged, at densities "
                  f"{s.min():.3g} and 0.1: its boundary does not depend on density when sparse",
                  "with b = 0 every loss is proportional to the density", "equal", [float(at) for at in begins],
                  f"two cells ({2 * step:.0%})", apart <= 2 * step)
        )  # fmt: skip
    return found


def _importance_of_merging(importance: np.ndarray, kind: np.ndarray) -> float:
    merged = importance[kind == MERGED]
    return float(merged.min()) if merged.size else np.nan


def _certificates(name: str, by_rho: dict[float, Diagram]) -> list[Claim]:
    """Properties that the exact optimal loss has at every correlation."""
    violation = max(diagram.concavity_violation() for diagram in by_rho.values())
    found = [
        at_most(f"{name}: the optimal loss is concave in importance (largest relative violation of any correlation)",
                "certificate: a minimum of functions linear in importance", 0, violation, 1e-3)
    ]  # fmt: skip
    deviations = [deviation for diagram in by_rho.values() if (deviation := diagram.asymmetry()) is not None]
    if deviations:
        found.append(
            vanishes(f"{name}: L*(1/r) = L*(r) / r (largest relative deviation of any correlation)",
                     "certificate: the two features change roles", max(deviations), 1e-3)
        )  # fmt: skip
    return found
