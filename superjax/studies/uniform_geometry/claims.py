"""What is claimed of uniform superposition: plateaus, clusters of dimensionalities, and exact losses."""

from collections.abc import Mapping

import numpy as np
from scipy.linalg import block_diag

from superjax import analysis
from superjax.reference import polytope_losses
from superjax.studies.claim import Claim, at_least, close, equal, more_than, vanishes
from superjax.studies.results import Results, known
from superjax.studies.uniform_geometry.palette import FRACTIONS
from superjax.studies.uniform_geometry.view import NAMED, NEAR, SHOWN, SIMPLICES, Uniform, near, uniforms

SECTION = "The Geometry of Superposition, Uniform Superposition"
DERIVED = "exact losses of tegum products"
PRODUCTS = {  # tegum products by the names of solids, and how the paper writes their D_i
    "triangular bipyramid": ("3 x 2/3 + 2 x 1/2", ["triangle", "digon"]),
    "pentagonal bipyramid": ("5 x 2/5 + 2 x 1/2", ["pentagon", "digon"]),
    "octahedron": ("3 digons", ["digon", "digon", "digon"]),
}
PAPER_DIGONS = {0.5: 0.531, 0.3: 0.490, 0.1: 0.494}  # D* of isolated digons at a density
ORDER = ["simplices", "digon", "pentagon", "square antiprism"]  # of lowest exact loss, from dense to sparse
READ = 0.03  # relative: what can be read off the paper's figure of D*
CLUSTER = 3  # times as dense as around it, and as random directions are: a cluster
BESIDE = 3  # times as far from a level as what is near it
SHARE = 0.05  # of a gain over PCA
# For how many of seeds 0 to 4 D_i cluster, with a fit at each of nine densities from 0.79 to 0.2, n = 120, m = 12.
OF_FIVE_SEEDS = {"tetrahedron": 4, "triangle": 4, "digon": 5, "pentagon": 1, "square antiprism": 0}
PLATEAU_OF_FIVE_SEEDS = 2


def claims(results: Results) -> list[Claim]:
    results = known(results)
    found = []
    for shown in uniforms(results):
        for measured in (_at_one, _plateau, _order, _reached, _clusters, _factors, _dense):
            found += measured(shown)
    return found + _ideal_polytopes()


def _at_one(shown: Uniform) -> list[Claim]:
    """D* at density 1, and near it, where simplices have the lowest exact loss."""
    dense, found = np.isin(shown.lowest, ["single", *SIMPLICES]), []
    names, ideal = (values[dense] for values in shown.lowest_at(shown.density))
    trained, reached = shown.per_feature[dense], shown.reached[dense]
    listed = f"at densities {_listed(shown.density[dense])}: trained D* {_listed(trained)}"
    if shown.density[0] == 1:
        stays = 1 / shown.density[np.logical_and.accumulate(np.abs(shown.per_feature - 1) <= READ)]
        found.append(
            close(
                f"{shown.name}: D* at density 1 is 1", SECTION, 1.0, float(shown.per_feature[0]), absolute=READ,
                kind="paper",
                note=f"within {READ:.0%} of 1 up to 1/(1-S) = {stays.max(initial=1.0):.3g}; it is the optimiser that "
                f"sticks there: the exact optimum of products is below 1. {listed}; exact {_listed(ideal)}; share of "
                f"its gain over PCA reached {_listed(reached, '.0%')}",
            )
        )  # fmt: skip
    if dense.any():
        off = np.abs(trained / ideal - 1)
        found.append(
            vanishes(
                f"{shown.name}: D* is that of the product of lowest exact loss where simplices have it (largest "
                "relative deviation)", DERIVED, float(off.max()), READ,
                note=f"{listed}; exact {_listed(ideal)} ({', '.join(dict.fromkeys(names))}); share of its gain over "
                f"PCA reached {_listed(reached, '.0%')}",
            )
        )  # fmt: skip
    return found


def _plateau(shown: Uniform) -> list[Claim]:
    """The plateau at 1/2: over the densities at which exact digons lead by more than SHARE and have a D* near 1/2."""
    digons = np.array([names == ["digon"] for names in shown.contenders(SHARE)])
    ideal = polytope_losses.per_feature(NAMED["digon"], shown.density)
    cells = np.flatnonzero(digons & (np.abs(2 * ideal - 1) <= READ))
    if not len(cells):
        return []
    s, per_feature, ideal = shown.density[cells], shown.per_feature[cells], ideal[cells]
    represented = shown.represented[cells]
    half = (represented & near(shown.dimensionality[cells], 0.5)).sum(1) / np.maximum(represented.sum(1), 1)
    off, from_ideal = np.abs(2 * per_feature - 1), np.abs(per_feature / ideal - 1)
    where = (
        f"densities {s.max():.3g} to {s.min():.3g}, where the gain of exact digons over PCA is more than {SHARE:.0%} "
        f"above that of other products and their D* within {READ:.0%} of 1/2"
    )
    return [
        vanishes(
            f"{shown.name}: D* is 1/2 (largest relative deviation), {where}", SECTION, float(off.max()), READ,
            kind="paper",
            note=f"holds at {(off <= READ).sum()} of {len(s)} densities: D* {_listed(per_feature)} at densities "
            f"{_listed(s)}; {_listed(represented.sum(1))} features of the {2 * shown.case.n_hidden} of full pairs are "
            "represented: where fewer are, a crowd of weak ones still fills a dimension"
            f"{_seeds(shown, PLATEAU_OF_FIVE_SEEDS)}",
        ),
        vanishes(
            f"{shown.name}: D* is that of exact digons (largest relative deviation), {where}", DERIVED,
            float(from_ideal.max()), READ,
            note=f"deviations {_listed(from_ideal)} at densities {_listed(s)}; exact {_listed(ideal)}",
        ),
        more_than(
            f"{shown.name}: represented features whose D_i is within {NEAR:.0%} of 1/2 (lowest fraction), {where}",
            SECTION, 0.9, float(half.min()), kind="paper",
            note=f"holds at {(half > 0.9).sum()} of {len(s)} densities: fractions {_listed(half)} at densities "
            f"{_listed(s)}",
        ),
    ]  # fmt: skip


def _seeds(shown: Uniform, count: int | None) -> str:
    """For the note of a claim that depends on the seed: of how many it held in reduced runs of this shape."""
    if count is None or (shown.case.n_features, shown.case.n_hidden) != (120, 12):
        return ""
    return f"; in reduced runs, with a fit at each of nine densities, it held for {count} of seeds 0 to 4"


def _listed(values: np.ndarray, form: str = ".3g") -> str:
    return ", ".join(format(value, form) for value in values)


def _order(shown: Uniform) -> list[Claim]:
    """Which products have the lowest exact loss, from dense to sparse."""
    kinds = ["simplices" if name in SIMPLICES else str(name) for name in shown.lowest]
    starts = [k for k, kind in enumerate(kinds) if k == 0 or kind != kinds[k - 1]]
    order = [kinds[k] for k in starts]
    seen = [kind for kind in ORDER if kind in order]
    note = "; ".join(f"{kinds[k]} from density {shown.density[k]:.3g}" for k in starts)
    # those whose densities lie between two of the sweep, or beyond them, are not seen
    return [equal(f"{shown.name}: polytopes of lowest exact loss as density falls", DERIVED, seen, order, note=note)]


def _reached(shown: Uniform) -> list[Claim]:
    """What training gains over PCA, as a share of the gain of the product of lowest exact loss: relative losses would
    not tell, as PCA itself is within 1% of that product at density 0.6. Where samples tell the share."""
    gains = np.sort(list(shown.gains.values()), axis=0)
    second = gains[-2] / gains[-1] if len(gains) > 1 else np.zeros_like(gains[-1])
    found = []
    for name in dict.fromkeys(shown.lowest):
        kind = shown.lowest == name
        cells = kind & (shown.resolution <= SHARE)
        if not cells.any():
            continue
        reached = shown.reached[cells]
        found.append(
            at_least(
                f"{shown.name}: gain over PCA, as a share of that of exact {name}s where these have the lowest loss "
                "(lowest)", DERIVED, 1, float(reached.min()), SHARE,
                note=f"{_listed(reached, '.1%')} at densities {_listed(shown.density[cells])}, where samples tell it "
                f"to within {shown.resolution[cells].max():.1%} ({np.count_nonzero(kind & ~cells)} left out); "
                f"the second best product has {_listed(second[cells], '.0%')}; {shown.silent[cells].sum()} outputs are "
                "0 whatever the input",
            )
        )  # fmt: skip
    return found


def _clusters(shown: Uniform) -> list[Claim]:
    """Whether D_i cluster at the levels of the paper's polytopes. Only features of complete polytopes count: a single
    feature whose dimension many weak ones share may have a D_i at a level by chance."""
    represented = shown.represented
    trained, random = shown.dimensionality[represented], shown.random_dimensionality[represented]
    found = []
    for name, polytope in shown.polytopes.items():
        if name == "single":
            continue
        level = polytope.dimensionality
        counts = [shown.members(cell).get(name, 0) for cell in range(len(shown.density))]
        at = (represented & near(shown.dimensionality, level)).sum(1)
        dense = sum(counts) / around(trained, level)
        chance = np.count_nonzero(near(random, level)) / around(random, level)
        listed = ", ".join(
            f"{count} of {near_it} at {s:.3g}"
            for count, near_it, s in zip(counts, at, shown.density, strict=True)
            if near_it
        )
        found.append(
            more_than(
                f"{shown.name}: D_i cluster at {FRACTIONS[name]}: density of features in complete {name}s over that "
                "beside the level (and over that of random directions, if larger)",
                SECTION, CLUSTER, float(dense / max(1.0, chance)), kind="paper",
                note=f"{dense:.3g} times as dense, random directions {chance:.3g} times; of represented features "
                f"within {NEAR:.0%} of the level so many are in complete {name}s: {listed or 'none'}; "
                f"{_where_best(shown, name)}the settings were selected on such counts"
                + _seeds(shown, OF_FIVE_SEEDS.get(name)),
            )
        )  # fmt: skip
    return found


def _where_best(shown: Uniform, name: str) -> str:
    """What training gains where products of such polytopes are best: short of them, or by other structures."""
    cells = shown.lowest == name
    if not cells.any():
        return "their products have the lowest exact loss at no density; "
    return (
        f"where their products have the lowest exact loss, density {_listed(shown.density[cells])}, training gains "
        f"{_listed(shown.reached[cells], '.0%')} of what these gain over PCA; "
    )


def around(dimensionality: np.ndarray, level: float) -> float:
    """How many D_i would be near a level if they were as dense there as beside it: up to BESIDE times as far, and at no
    other level. Of one feature beside it at least, so that there is something to compare with."""

    def beside(values: np.ndarray) -> int:
        return int(np.count_nonzero(near(values, level, BESIDE) & ~near(values, level)))

    grid = np.linspace(0, 1.2, 100_001)
    return max(beside(dimensionality), 1) * np.count_nonzero(near(grid, level)) / beside(grid)


def _factors(shown: Uniform) -> list[Claim]:
    """The tegum factors at the densities that are drawn, beside the polytopes of lowest exact loss."""
    found, contenders = [], shown.contenders(SHARE)
    for cell in dict.fromkeys(shown.cell(density) for density in SHOWN):
        members, factors = shown.members(cell), shown.factors(cell)
        kinds = " or ".join(f"{name}s" for name in contenders[cell])
        inside = sum(members.get(name, 0) for name in contenders[cell])
        found.append(
            more_than(
                f"{shown.name}: fraction of the represented features at density {shown.density[cell]:.3g} that are in "
                f"complete {kinds}, whose products have the lowest exact loss"
                + (f" up to {SHARE:.0%} of its gain" if len(contenders[cell]) > 1 else ""),
                f"{SECTION}; {DERIVED}", 0.5, inside / max(int(shown.represented[cell].sum()), 1),
                note=f"{_counts(factors, members)}; share of the best product's gain over PCA reached "
                f"{shown.reached[cell]:.1%}{_why_others(shown, cell, inside)}; what is no polytope has "
                "D_i or overlaps off those of one; the settings were selected on such counts",
            )
        )  # fmt: skip
    return found


def _why_others(shown: Uniform, cell: int, inside: int) -> str:
    """Why features are in no such polytopes, by the share of the best product's gain that training reached; nothing if
    all are."""
    share, resolution = float(shown.reached[cell]), float(shown.resolution[cell])
    if inside == shown.represented[cell].sum() > 0 or not np.isfinite(share):
        return ""
    if share < 1 - SHARE:
        return ": training got stuck short of the optimum"
    if share > 1 + resolution:
        return ", by a solution that is better than all products"
    return ": other structures are nearly as good as the best product"


def _counts(factors: Mapping[str, int], members: Mapping[str, int]) -> str:
    return ", ".join(f"{count} x {name} ({members[name]} features)" for name, count in factors.items()) or "no feature"


def _dense(shown: Uniform) -> list[Claim]:
    """At density 1 no norm says that a feature is represented, and yet m of n features' variance is explained."""
    if shown.density[0] < 1:
        return []
    share, explained = shown.case.n_hidden / shown.case.n_features, float(shown.best("explained")[0].mean())
    return [
        close(f"{shown.name}: explained variance at density 1 is m/n (mean over features)", "derived", share, explained,
              relative=READ,
              note=f"{shown.represented[0].sum()} norms reach {shown.case.phases.represented:g}; they are from "
              f"{shown.norm[0].min():.3g} to {shown.norm[0].max():.3g}")
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
                  absolute=1e-6, also=factors == parts,
                  note=f"arithmetic alone, nothing trained; recognised as {factors}")
        )  # fmt: skip
    s, expected = np.array(list(PAPER_DIGONS)), list(PAPER_DIGONS.values())
    measured = polytope_losses.per_feature(NAMED["digon"], s)
    return [
        *found,
        close(f"D* of isolated digons at the exact optimum, densities {_listed(s)}", "derived", expected,
              measured.round(4).tolist(), absolute=0.002, note="sticky is not exact"),
    ]  # fmt: skip
