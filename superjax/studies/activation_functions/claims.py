"""What is claimed of the activation functions: which of them have superposition, of which kind, and what they lose."""

import numpy as np

from superjax import analysis
from superjax.reference import outputs
from superjax.studies.activation_functions.view import Plane, excess_over_relu, planes
from superjax.studies.claim import (
    Claim,
    at_least,
    at_most,
    close,
    equal,
    fraction,
    more_than,
    vanishes,
)
from superjax.studies.correlated_phase_diagram.view import ANTIPODAL, ONE_FEATURE
from superjax.studies.diagram import TOO_COARSE, boundary_claims
from superjax.studies.protocols.claims import error_of_half
from superjax.studies.results import Results

SECTION = "Superposition as a Phase Change"
REPLICATIONS = f"{SECTION}, comment on replications"
RECTIFIERS = ("relu", "leaky_relu", "gelu", "silu", "softplus")  # near 0 on one side of 0, rising on the other
IMPORTANCE = 0.3  # at which boundaries are compared
SPARSE = 0.1  # density up to which two features are seldom active at once
SPARSE_LIMIT = ("relu", "gelu", "silu", "abs", "tanh", "identity")  # f(0) = 0, and the limit decides well before 0.01
_GAIN = 1e-3  # relative, from which a pair is better than one feature
_NO_WEIGHT = 0.1  # product of two weights below which one of them is none
_NEAR = 0.1  # relative difference of two excesses that counts as none
_CHANGES = 1.5  # factor of a boundary from which a function changes the diagram a lot


def claims(results: Results) -> list[Claim]:
    found, every = [], planes(results)
    for plane in every:
        found += boundary_claims(plane) if plane.function == "relu" else []
        found += _identity(plane) if plane.function == "identity" else []
    found += [*_which_kind(every), *_boundaries(every), *_single_restarts(every), *_sparse_limit(every)]
    return [*found, *_losses(every), *_certificates(every)]


def _identity(plane: Plane) -> list[Claim]:
    excess = float(np.abs(plane.optimal_loss() / plane.of_one_feature() - 1).max())
    tied = float(plane.tied().mean())
    return [
        equal(
            f"{plane.name}: cells whose optimum has superposition", "Demonstrating Superposition, linear model", 0,
            int(plane.superposed().sum()), kind="paper",
            note=f"at importance 1 all directions lose the same: in {tied:.1%} of the cells the optimum and another "
            "solution tie, and no superposition is counted",
        ),
        vanishes(
            f"{plane.name}: the optimal loss against min(1, r) Var(x) (largest relative deviation)",
            "closed form: the less important feature is left out", excess, 1e-4,
        ),
    ]  # fmt: skip


def _which_kind(every: list[Plane]) -> list[Claim]:
    """Antipodal pairs need a function that is silent on one side; without one at most the tie at r = 1 is broken."""
    found = []
    with_it = [plane for plane in every if plane.function in RECTIFIERS]
    if with_it:
        apart = [_apart_from_equal(plane) for plane in with_it]
        kinds = [plane.kinds()[cells] for plane, cells in zip(with_it, apart, strict=True)]
        share = [float((k == ANTIPODAL).sum() / max((k != ONE_FEATURE).sum(), 1)) for k in kinds]
        superposed = ", ".join(f"{plane.words} {(plane.kinds() != ONE_FEATURE).mean():.0%}" for plane in with_it)
        found.append(
            fraction(
                f"{_names(with_it)}: superposition is antipodal (fraction of the cells with superposition, r other "
                "than 1)", "derived: one side of 0 is silent", share, note=f"cells with superposition: {superposed}",
            )
        )  # fmt: skip
    without = [plane for plane in every if plane.function in ("abs", "tanh", "identity")]
    if without:
        count = [
            int((plane.kinds()[np.ix_(_apart_from_equal(plane), plane.density <= SPARSE)] != ONE_FEATURE).sum())
            for plane in without
        ]
        found.append(
            equal(
                f"{_names(without)}: cells with superposition up to density {SPARSE:g}, r other than 1",
                "derived: neither side of 0 is silent, where features are mostly active alone", [0] * len(without),
                count, note="at r = 1 the features are alike, and the best direction may lie between them; cells of "
                f"both features in the whole plane: {'; '.join(map(_where, without))}",
            )
        )  # fmt: skip
    return found


def _where(plane: Plane) -> str:
    """Where a plane has superposition, in words."""
    cells = plane.kinds() != ONE_FEATURE
    if not cells.any():
        return f"{plane.words} none"
    i, j = cells.nonzero()
    gap = plane.data["gap"].values[cells]
    apart = f", up to {np.nanmax(gap):.1%} better than one feature" if np.isfinite(gap).any() else ""
    r, s = plane.importance[i], plane.density[j]
    return (
        f"{plane.words} {cells.sum()}, at importances {r.min():.2g} to {r.max():.2g}, densities {s.min():.2g} to "
        f"{s.max():.2g}{apart}"
    )


def _apart_from_equal(plane: Plane) -> np.ndarray:
    return ~np.isclose(plane.importance, 1)


def _names(some: list[Plane]) -> str:
    return ", ".join(plane.words for plane in some)


def _boundaries(every: list[Plane]) -> list[Claim]:
    """The comment on replications: the function changes the diagram a lot."""
    known = {plane.words: _position(plane) for plane in every}
    relu = next((_position(plane) for plane in every if plane.function == "relu"), None)
    apart = {words: at for words, at in known.items() if at is not None}
    if relu is None or len(apart) < 2:
        return []
    r = next(plane.importance[plane.column(IMPORTANCE)] for plane in every)
    ratios = [max(relu / at, at / relu) for at in apart.values()]
    return [
        more_than(
            f"density at which superposition begins in the optimum, relative importance {r:.2g}: largest factor "
            "between ReLU and another function that has it", REPLICATIONS, _CHANGES, max(ratios), kind="paper",
            note=", ".join(f"{words} {'never' if at is None else f'{at:.3f}'}" for words, at in known.items()),
        )
    ]  # fmt: skip


def _position(plane: Plane) -> float | None:
    at = plane.boundary().position()[plane.column(IMPORTANCE)]
    return float(at) if np.isfinite(at) else None


def _single_restarts(every: list[Plane]) -> list[Claim]:
    """Where half of the single restarts have superposition."""
    found = []
    for plane in every:
        expected, column = _position(plane), plane.column(IMPORTANCE)
        shares = plane.shares()[column]
        half = analysis.share_reaches(plane.density, shares, 0.5)
        if expected is None or not np.isfinite(half):
            continue
        allowed = np.exp(plane.step) - 1
        if allowed > TOO_COARSE:
            continue
        error = error_of_half(plane.density, shares, plane.case.restarts)
        found.append(
            close(
                f"{plane.name}: density at which half of the single restarts have superposition, relative importance "
                f"{plane.importance[column]:.2g}", f"optimum of the exact loss; {plane.case.train.objective}", expected,
                half, relative=allowed, tolerance=f"one cell, {allowed:.0%}",
                note=f"{plane.case.restarts} restarts a cell; {error}{_between(plane, column, expected, half)}",
            )
        )  # fmt: skip
    return found


def _between(plane: Plane, column: int, optimum: float, restarts: float) -> str:
    """What restarts lose between both boundaries."""
    cells = (plane.density > min(optimum, restarts)) & (plane.density < max(optimum, restarts))
    loss = plane.data["loss"].values[column, cells]
    if not np.isfinite(loss).any():
        return ""
    excess = float(np.nanmedian(loss / plane.optimal_loss()[column, cells, None] - 1))
    phase = plane.data["phase"].values[column, cells]
    inside = analysis.has_superposition(phase, plane.case.n_hidden)
    gap = float(np.nanmedian(plane.data["gap"].values[column, cells]))
    both = plane.data["optimum_other_W"].transpose(..., "hidden", "feature").values[column, cells].prod(-1)
    other = "an antipodal pair" if (both < -_NO_WEIGHT).all() else "another solution"
    other = "one feature alone" if (np.abs(both) < _NO_WEIGHT).all() else other
    return (
        f"; between these boundaries {inside.mean():.0%} of the restarts have superposition, and the median loss is "
        f"{excess:.1%} above the optimum's; {other} is a minimum there too, {gap:.1%} above it"
        + (": most restarts end in it" if abs(excess / gap - 1) < _NEAR else "")
    )


def _sparse_limit(every: list[Plane]) -> list[Claim]:
    """Who has superposition in the sparsest row, beside the limit of one active feature at a time."""
    found = []
    for plane in every:
        sparsest = int(np.argmin(plane.density))
        if plane.function not in SPARSE_LIMIT or plane.density[sparsest] > 0.02:
            continue
        pair, one = np.array([outputs.sparse_limit(plane.function, float(r)) for r in plane.importance]).T
        expected, measured = pair < one * (1 - _GAIN), plane.superposed()[:, sparsest]
        near = np.convolve(expected[1:] != expected[:-1], [1, 1]) > 0  # the cells beside the limit's boundary
        counted = ~near & _apart_from_equal(plane)
        r = plane.importance[expected]
        words = f"importances {r.min():.2g} to {r.max():.2g}" if r.size else "no importance"
        found.append(
            fraction(
                f"{plane.name}: superposition in the sparsest row as in the limit of one active feature at a time "
                "(fraction of importances but 1 and those beside the limit's boundary)", "closed form of one integral",
                float((expected == measured)[counted].mean()) if counted.any() else np.nan,
                note=f"the limit has superposition at {words}; a pair loses {np.min(pair / one):.3g} of what one "
                "feature does there, at best",
            )
        )  # fmt: skip
        found += _least_importance(plane, expected, measured)
    return found


def _least_importance(plane: Plane, expected: np.ndarray, measured: np.ndarray) -> list[Claim]:
    """The relative importance from which a pair is better in the sparse limit, of functions that have one below 1."""
    lower = plane.importance < 1
    if not (expected[lower].any() and measured[lower].any()) or expected[0] or measured[0]:
        return []
    low, high = (float(plane.importance[np.argmax(expected) + k]) for k in (-1, 0))
    for _ in range(12):
        middle = (low * high) ** 0.5
        pair, one = outputs.sparse_limit(plane.function, middle)
        low, high = (low, middle) if pair < one * (1 - _GAIN) else (middle, high)
    at = int(np.argmax(measured))
    cell = float(plane.importance[at] / plane.importance[at - 1])
    return [
        close(
            f"{plane.name}: relative importance from which the optimum has superposition in the sparsest row",
            "closed form of one integral, the limit of one active feature at a time", high,
            float(plane.importance[at] / np.sqrt(cell)), relative=cell - 1, tolerance=f"one cell, {cell - 1:.0%}",
            note=f"density {plane.density.min():.2g}",
        )
    ]  # fmt: skip


def _losses(every: list[Plane]) -> list[Claim]:
    """What the optimum loses against ReLU's where data are sparse; the note has the whole plane."""
    known = {plane.words: (plane, excess_over_relu(plane, every)) for plane in every if plane.function != "relu"}
    excess = {words: (plane, found) for words, (plane, found) in known.items() if found is not None}
    if not excess:
        return []
    sparsest = [found[:, np.argmin(plane.density)] for plane, found in excess.values()]
    notes = []
    for (words, (plane, found)), row in zip(excess.items(), sparsest, strict=True):
        note = f"{words}: up to {row.max():.3g} there, median {np.median(found):.2g} of all cells"
        if (below := found < -1e-3).any():
            i, j = below.nonzero()
            note += (
                f", but {-found.min():.1%} less than ReLU at densities {plane.density[j].min():.2g} to "
                f"{plane.density[j].max():.2g}, importances {plane.importance[i].min():.2g} to "
                f"{plane.importance[i].max():.2g}"
            )
        notes.append(note)
    return [
        at_least(
            f"{', '.join(excess)}: relative excess of the optimal loss over ReLU's in the sparsest row (smallest)",
            f"{SECTION}: ReLU is silent on one side and exact on the other", 0, [float(row.min()) for row in sparsest],
            1e-3, note="; ".join(notes),
        )
    ]  # fmt: skip


def _certificates(every: list[Plane]) -> list[Claim]:
    """Properties that the exact optimal loss has with every function; the stored loss in float64."""
    violation = [plane.concavity_violation() for plane in every]
    deviation = [plane.asymmetry() for plane in every]
    found = [
        at_most(f"{_names(every)}: the optimal loss is concave in importance (largest relative violation)",
                "certificate: a minimum of functions linear in importance", 0, violation, 1e-3)
    ]  # fmt: skip
    if all(one is not None for one in deviation):
        found.append(
            vanishes(f"{_names(every)}: L*(1/r) = L*(r) / r (largest relative deviation)",
                     "certificate: the two features change roles", deviation, 1e-3)
        )  # fmt: skip
    errors = [_error(plane) for plane in every]
    found.append(
        vanishes(f"{_names(every)}: error of the stored loss of the optimum (largest, relative)",
                 "float64: Gauss-Legendre over panels, code that shares nothing with the trainer", errors, 1e-3)
    )  # fmt: skip
    return found


def _error(plane: Plane) -> float:
    """Of the stored loss of the optimum, relative, in cells all over the plane."""
    known = np.isfinite(plane.data["optimum_loss"].values)
    if not known.any():
        return float("nan")
    cells = np.argwhere(known)[:: max(1, known.sum() // 200)].T
    W = plane.data["optimum_W"].transpose(..., "hidden", "feature").values[(*cells, 0)].astype(float)
    b = plane.data["optimum_b"].transpose(..., "feature").values[tuple(cells)].astype(float)
    r, s = plane.importance[cells[0]], plane.density[cells[1]]
    loss = outputs.pair_loss(plane.function, W, b, r, s)
    return float(np.abs(plane.optimal_loss()[tuple(cells)] / loss - 1).max())
