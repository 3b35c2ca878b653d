"""What is claimed of uniform superposition: plateaus, clusters of dimensionalities, and exact losses."""

import numpy as np
from scipy.linalg import block_diag

from superjax import analysis
from superjax.reference import polytope_losses
from superjax.studies.claim import Claim, at_most, close, equal, more_than, vanishes
from superjax.studies.results import Results, known
from superjax.studies.uniform_geometry.view import NAMED, NEAR, SHOWN, SIMPLICES, Uniform, uniforms

SECTION = "The Geometry of Superposition, Uniform Superposition"
DERIVED = "exact losses of tegum products"
PRODUCTS = {  # tegum products by the names of solids, and how the paper writes their D_i
    "triangular bipyramid": ("3 x 2/3 + 2 x 1/2", ["triangle", "digon"]),
    "pentagonal bipyramid": ("5 x 2/5 + 2 x 1/2", ["pentagon", "digon"]),
    "octahedron": ("3 digons", ["digon", "digon", "digon"]),
}
PAPER_DIGONS = {0.5: 0.531, 0.3: 0.490, 0.1: 0.494}  # D* of isolated digons at a density
ORDER = ["simplices", "digon", "pentagon", "square antiprism"]  # of lowest exact loss, from dense to sparse


def claims(results: Results) -> list[Claim]:
    results = known(results)
    found = []
    for shown in uniforms(results):
        for measured in (_sticky, _digons, _order, _clusters, _factors, _dense):
            found += measured(shown)
    return found + _ideal_polytopes()


def _sticky(shown: Uniform) -> list[Claim]:
    """D* near density 1, where simplices have the lowest exact loss: there and at the next sticky point."""
    dense = np.isin(shown.lowest, ["single", *SIMPLICES])
    if not dense.any():
        return []
    deviation = np.abs(shown.per_feature - 1)
    held = 1 / shown.density[np.logical_and.accumulate(deviation <= 0.03)]
    return [
        vanishes(
            f"{shown.name}: D* is 1 where simplices have the lowest exact loss (largest deviation)", SECTION,
            float(deviation[dense].max()), 0.03,
            note=f"densities 1 to {shown.density[dense].min():.3g}; within 3% of 1 up to 1/(1-S) = "
            f"{held.max(initial=1.0):.3g}, D* there and after it {_listed(shown.per_feature[dense])}",
        )
    ]  # fmt: skip


def _digons(shown: Uniform) -> list[Claim]:
    """The plateau at 1/2: trained models over the densities at which digons have the lowest exact loss."""
    cells = np.flatnonzero(shown.lowest == "digon")
    if not len(cells):
        return []
    s, per_feature, ideal = shown.density[cells], shown.per_feature[cells], shown.digon_per_feature[cells]
    half = shown.represented[cells] & shown.near(shown.dimensionality[cells], [0.5])
    share = half.sum(1) / np.maximum(shown.represented[cells].sum(1), 1)
    off, ideal_off = np.abs(2 * per_feature - 1), np.abs(2 * ideal - 1)
    from_ideal, loss = np.abs(per_feature / ideal - 1), shown.exact_loss["digon"][cells]
    excess = shown.best("loss")[cells] / loss - 1
    where = f"densities {s.max():.3g} to {s.min():.3g}, where digons have the lowest exact loss"
    return [
        vanishes(
            f"{shown.name}: D* is 1/2 (largest relative deviation), {where}", f"{SECTION}; {DERIVED}",
            float(off.max()), 0.03,
            note=f"holds at {(off <= 0.03).sum()} of {len(s)} densities; exact isolated digons themselves have D* "
            f"{_listed(ideal)}, within 3% of 1/2 at {(ideal_off <= 0.03).sum()} of them; trained models "
            f"{_listed(per_feature)}",
        ),
        vanishes(
            f"{shown.name}: D* is that of exact isolated digons (largest relative deviation), {where}", DERIVED,
            float(from_ideal.max()), 0.03,
            note=f"deviations {_listed(from_ideal)} at densities {_listed(s)}",
        ),
        more_than(
            f"{shown.name}: represented features whose D_i is within {NEAR:g} of 1/2 (lowest fraction), {where}",
            f"{SECTION}; {DERIVED}", 0.9, float(share.min()),
            note=f"holds at {(share > 0.9).sum()} of {len(s)} densities: fractions {_listed(share)} at densities "
            f"{_listed(s)}; exact losses of digons there are lower than those of the next best product by "
            f"{_listed(_lead(shown)[cells], '.2%')}",
        ),
        at_most(
            f"{shown.name}: loss above that of exact digons (largest, relative), {where}", DERIVED, 0.01,
            float(excess.max()), tolerance=0.01,
            note=f"{_listed(excess, '.2%')} at densities {_listed(s)}",
        ),
    ]  # fmt: skip


def _excess(shown: Uniform) -> np.ndarray:
    """How far the loss of the trained models lies above the lowest of the exact losses, relative."""
    return shown.best("loss") / np.min(list(shown.exact_loss.values()), axis=0) - 1


def _lead(shown: Uniform) -> np.ndarray:
    """How far the second lowest of the exact losses lies above the lowest, relative."""
    first, second = np.sort(list(shown.exact_loss.values()), axis=0)[:2]
    return second / first - 1


def _listed(values: np.ndarray, form: str = ".3g") -> str:
    return ", ".join(format(value, form) for value in values)


def _order(shown: Uniform) -> list[Claim]:
    """Which products have the lowest exact loss, from dense to sparse; and the exact optimum of digons."""
    kinds = ["simplices" if name in SIMPLICES else str(name) for name in shown.lowest]
    starts = [k for k, kind in enumerate(kinds) if k == 0 or kind != kinds[k - 1]]
    order = [kinds[k] for k in starts]
    seen = [kind for kind in ORDER if kind in order]
    excess = _excess(shown)
    lower = shown.density[excess < -0.01]
    note = "".join(f"{kinds[k]} from density {shown.density[k]:.3g}; " for k in starts)
    return [
        # those whose densities lie between two of the sweep, or beyond them, are not seen
        equal(f"{shown.name}: polytopes of lowest exact loss as density falls", DERIVED, seen, order,
              note=note.rstrip("; ")),
        at_most(
            f"{shown.name}: loss of the trained models above the lowest exact loss of a product (largest, relative)",
            DERIVED, 0.01, float(excess.max()), tolerance=0.01,
            note=f"at density {shown.density[np.argmax(excess)]:.3g}; {shown.silent.sum()} outputs of all models "
            f"are 0 whatever the input, at most {shown.silent.sum(1).max()} of one; "
            + (f"below density {lower.max():.3g} they are more than 1% better than any product, by up to "
               f"{-excess.min():.0%}: features then share more dimensions than a named polytope has" if len(lower) else
               "nowhere more than 1% better"),
        ),
    ]  # fmt: skip


def _clusters(shown: Uniform) -> list[Claim]:
    """How many features have the dimensionality of a named polytope, against random directions of equal norms."""
    levels = [polytope.dimensionality for polytope in NAMED.values()]
    found = []
    for name in dict.fromkeys(shown.lowest):
        chosen = shown.represented & (shown.lowest == name)[:, None]
        if not chosen.any():
            continue
        trained, random = (
            float(shown.near(values, levels)[chosen].mean())
            for values in (shown.dimensionality, shown.random_dimensionality)
        )
        quartiles = np.quantile(shown.dimensionality[chosen], [0.25, 0.5, 0.75])
        found.append(
            Claim(
                f"{shown.name}: represented features whose D_i is within {NEAR:g} of that of a named polytope, against "
                f"random directions of equal norms, at the densities where {name}s have the lowest exact loss",
                SECTION, "more than random", {"trained": trained, "random": random}, 0,
                trained > random,
                f"{chosen.sum()} features, quartiles of D_i {_listed(quartiles)}; losses "
                f"{_listed(_excess(shown)[shown.lowest == name], '+.1%')} from those of exact {name}s",
            )
        )  # fmt: skip
    return found


def _factors(shown: Uniform) -> list[Claim]:
    """The tegum factors at the densities that are drawn, beside the polytope of lowest exact loss."""
    found = []
    for cell in dict.fromkeys(shown.cell(density) for density in SHOWN):
        expected, factors = str(shown.lowest[cell]), shown.factors(cell)
        most, largest = (
            next(iter(factors), "nothing"),
            max((len(c.features) for c in shown.components[cell]), default=0),
        )
        excess = _excess(shown)[cell]
        found.append(
            equal(
                f"{shown.name}: at density {shown.density[cell]:.3g} most represented features are in factors of the "
                "kind that has the lowest exact loss", f"{SECTION}; {DERIVED}", expected, most,
                note=f"factors {', '.join(f'{count} x {name}' for name, count in factors.items()) or 'none'}; the "
                f"largest has {largest} features; loss {excess:+.2%} from that of exact {expected}s, the second best "
                f"product is at {_lead(shown)[cell]:+.2%}",
            )
        )  # fmt: skip
    return found


def _dense(shown: Uniform) -> list[Claim]:
    """At density 1 no norm says that a feature is represented, and yet m of n features' variance is explained."""
    if shown.density[0] < 1:
        return []
    n, m = shown.case.n_features, shown.case.n_hidden
    norm, explained = float(np.median(shown.norm[0])), float(shown.best("explained")[0].mean())
    return [
        close(f"{shown.name}: norm of a feature at density 1 is √(m/n) (median)", "derived", float(np.sqrt(m / n)),
              norm, absolute=0.1,
              note=f"{shown.represented[0].sum()} of {n} are represented, and yet D* = {shown.per_feature[0]:.3f}"),
        close(f"{shown.name}: explained variance at density 1 is m/n (mean over features)", "derived", m / n, explained,
              absolute=0.003),
    ]  # fmt: skip


def _ideal_polytopes() -> list[Claim]:
    """D_i of solids that are tegum products, and D* of digons at the optimum of the exact loss."""
    found = []
    for name, (words, parts) in PRODUCTS.items():
        W = block_diag(*(NAMED[part].vertices for part in parts))
        expected = np.concatenate([[NAMED[part].dimensionality] * NAMED[part].vertices.shape[1] for part in parts])
        measured, factors = analysis.dimensionality(W), [c.polytope.name for c in analysis.recognise(W) if c.polytope]
        found.append(
            close(f"D_i of {name}: {words}", SECTION, expected.round(6).tolist(), measured.round(6).tolist(),
                  absolute=1e-6, note=f"recognised as {factors}", also=factors == parts)
        )  # fmt: skip
    s, expected = np.array(list(PAPER_DIGONS)), list(PAPER_DIGONS.values())
    measured = NAMED["digon"].dimensionality / polytope_losses.alone(NAMED["digon"], s).norm ** 2
    return [
        *found,
        close(f"D* of isolated digons at the exact optimum, densities {_listed(s)}", "derived", expected,
              measured.round(4).tolist(), absolute=0.002, note="sticky is not exact"),
    ]  # fmt: skip
