"""What is claimed of the correlated phase diagram: where which kind of superposition is the optimum."""

import numpy as np

from superjax import analysis
from superjax.reference import theory
from superjax.studies.claim import Claim, at_most, between, fraction, vanishes
from superjax.studies.correlated_phase_diagram.view import (
    ANTIPODAL,
    MERGED,
    ONE_FEATURE,
    antipodal_boundary,
    optimum_kinds,
    slices,
)
from superjax.studies.diagram import Diagram, boundary_claims
from superjax.studies.results import Results

SECTION = "Superposition as a Phase Change"
SETS = "Correlated and Anticorrelated Features"
IMPORTANCES = (0.1, 0.3, 1.0)


def claims(results: Results) -> list[Claim]:
    found = []
    for name in results.datasets:
        by_rho = {rho: diagram for case, rho, diagram in slices(results) if case == name}
        if 0 in by_rho:
            found += boundary_claims(by_rho[0], SECTION)
        found += [claim for rho, diagram in by_rho.items() for claim in _antipodal(rho, diagram)]
        found += [*_falls(name, by_rho), *_which_kind(name, by_rho)]
        found += _never_together(by_rho[-1]) if -1 in by_rho else []
        found += _always_together(by_rho[1]) if 1 in by_rho else []
        found += _certificates(name, by_rho)
    return found


def _known(positions) -> list[float | None]:
    """Numbers, None for those that are not finite or 0: JSON has no NaN."""
    return [float(at) if np.isfinite(at) and at > 0 else None for at in positions]


def _antipodal(rho: float, diagram: Diagram) -> list[Claim]:
    """Where the optimum becomes antipodal, beside the closed form for idealised weights."""
    r = np.array([r for r in IMPORTANCES if diagram.importance.min() <= r * 1.001 and r <= diagram.importance.max()])
    if not r.size:
        return []
    expected = np.asarray(theory.pair_boundary(r, rho))
    expected = np.where(expected >= diagram.density.min(), expected, np.nan)
    measured = _at(diagram, r)
    cell, closed = diagram.step, theory.pair_boundary(diagram.importance, rho)
    ratio = measured / expected
    # between coarse importances the closed form itself is not what is interpolated
    missed = np.abs(np.log(_interpolated(diagram, np.where(closed > 0, closed, np.nan), r) / expected))
    near = np.exp(cell + np.where(np.isfinite(missed), missed, 0))
    within = np.where(np.isnan(expected), np.isnan(measured), (ratio >= 1 / near) & (ratio <= 1.3 * near))
    note = "; ".join(f"importance {r_:g}: {q - 1:+.0%}" for r_, q in zip(r, ratio, strict=True) if np.isfinite(q))
    if not within.all():
        note += _either_side(diagram, float(r[~within][0]))
    return [
        *_everywhere(rho, diagram),
        Claim(
            f"{diagram.name}: density below which the optimum is antipodal, relative importance "
            f"{', '.join(f'{r_:g}' for r_ in r)} (null: not within the sweep)",
            f"{SECTION}; {SETS}: closed form, unit weights, b = 0", _known(expected), _known(measured),
            f"30% above the closed form, and one cell ({cell:.0%}) either way", bool(within.all()), note,
        )
    ]  # fmt: skip


def _everywhere(rho: float, diagram: Diagram) -> list[Claim]:
    """At how many importances the closed form is right, where it has a boundary within the sweep."""
    r, cell = diagram.importance, diagram.step
    expected, measured = np.asarray(theory.pair_boundary(r, rho)), antipodal_boundary(diagram)
    inside = (expected >= diagram.density.min()) & (expected <= diagram.density.max())
    if not inside.any():
        return []
    ratio = measured[inside] / expected[inside]
    within = (ratio >= np.exp(-cell)) & (ratio <= 1.3 * np.exp(cell))
    share, off, note = float(within.mean()), r[inside][~within], f"at {inside.sum()} importances"
    if off.size:
        missing, middle = int(np.isnan(ratio[~within]).sum()), float(off[np.argmin(np.abs(np.log(off)))])
        note += (
            f"; not at {off.min():.3g} to {off.max():.3g} ({missing} of these {off.size} have no antipodal optimum "
            "within the sweep): the closed form's merged pair has equal weights and its single feature no part of the "
            f"other, both of which unequal weights improve on{_either_side(diagram, middle)}"
        )
    return [
        fraction(
            f"{diagram.name}: importances at which the optimum becomes antipodal where the closed form says (fraction)",
            f"{SECTION}; {SETS}: closed form, unit weights, b = 0", share, 0.1, note=note,
        )
    ]  # fmt: skip


def _at(diagram: Diagram, r: np.ndarray) -> np.ndarray:
    """The boundary of the antipodal optimum at given importances."""
    return _interpolated(diagram, antipodal_boundary(diagram), r)


def _interpolated(diagram: Diagram, position: np.ndarray, r: np.ndarray) -> np.ndarray:
    """A boundary of every importance of the sweep at other importances."""
    ends = diagram.importance.min(), diagram.importance.max()
    return np.array([analysis.at_importance(diagram.importance, position, np.clip(r_, *ends)) for r_ in r])


def _either_side(diagram: Diagram, r: float) -> str:
    """The optimum on both sides of its boundary at an importance, as evidence against unit weights."""
    column = diagram.column(r)
    order = np.argsort(-diagram.density)
    antipodal = optimum_kinds(diagram)[column][order] == ANTIPODAL
    first = int(np.argmax(antipodal)) if antipodal.any() else len(order) - 1
    rho, parts = float(diagram.data["correlation"]), []
    for cell in order[max(first - 1, 0) : first + 1]:
        here = diagram.data.isel(importance=column, density=cell)
        one, other = here["optimum_W"].values.ravel() * np.sign(here["optimum_W"].values.flat[0])
        least = min(theory.pair_losses(diagram.importance[column], diagram.density[cell], rho).values())
        parts.append(
            f"density {diagram.density[cell]:.3g}: weights {one:.2f} and {other:.2f}, loss "
            f"{float(here['optimum_loss']) / least:.2f} of the best closed form's"
        )
    return (
        f"; unit weights are not optimal at relative importance {r:g}, {'; '.join(parts)}. A feature with a norm below "
        f"{diagram.case.phases.represented:g} counts as absent and yet uses its partner's direction"
    )


def _falls(name: str, by_rho: dict[float, Diagram]) -> list[Claim]:
    """The stronger the correlation, the sparser the data must be for an antipodal pair."""
    order = sorted(by_rho)
    found = []
    for r in IMPORTANCES:
        at = np.concatenate([_at(by_rho[rho], np.array([r])) for rho in order])
        known = np.flatnonzero(np.isfinite(at))
        if not known.size:
            continue
        # beyond the last correlation with a boundary there is none: it has left the sweep at its sparse end
        falls = bool((np.diff(at[known]) < 0).all() and (np.diff(known) == 1).all() and known[0] == 0)
        found.append(
            Claim(
                f"{name}: the boundary of the antipodal optimum moves to sparser data as correlation grows, relative "
                f"importance {r:g} (null: not within the sweep)",
                "P(both active) grows with correlation", "strictly decreasing", _known(at), 0, falls,
                f"correlations {', '.join(f'{rho:g}' for rho in order)}",
            )
        )  # fmt: skip
    return found


def _which_kind(name: str, by_rho: dict[float, Diagram]) -> list[Claim]:
    """How much of the superposition is antipodal, at each correlation: all of it up to 0, none at 1."""
    order = sorted(by_rho)
    kind = [optimum_kinds(by_rho[rho]) for rho in order]
    superposed = [f"{(k != ONE_FEATURE).mean():.0%}" for k in kind]
    share = [float((k == ANTIPODAL).sum() / max((k != ONE_FEATURE).sum(), 1)) for k in kind]
    clear = np.array([rho <= 0 or rho == 1 for rho in order])
    expected = [1.0 if rho <= 0 else 0.0 if rho == 1 else None for rho in order]
    lowest = [-np.inf if e is None else e - 0.01 for e in expected]
    highest = [np.inf if e is None else e + 0.01 for e in expected]
    if not clear.any():
        return []
    return [
        between(
            f"{name}: antipodal, not merged, fraction of the cells with superposition, correlations "
            f"{', '.join(f'{rho:g}' for rho in order)} (null: both kinds)",
            f"{SETS}: closed forms; merged loses less iff P(both) > 4s/7", expected, share, lowest, highest,
            tolerance=0.01, note=f"cells with superposition of any kind: {', '.join(superposed)}",
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
                 f"{SETS}: P(both active) = 0", loss, 1e-6, note=where),
        fraction(f"{diagram.name}: the optimum is antipodal up to density 1/2 (fraction of cells)",
                 f"{SETS}: P(both active) = 0", share, note=where),
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
