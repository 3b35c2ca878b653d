"""Views of a dataset whose features are correlated sets: partners that collapse, bases that sets are.

Pairs are sets of two consecutive features, `a` and `b`.
"""

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from superjax import analysis
from superjax.reference import theory
from superjax.spec import Case
from superjax.studies.correlated_features import minima
from superjax.studies.solutions import Switch, best, names, switches

COLLAPSED = 0.95  # cosine of partners that count as one direction
TRIED = 4  # models of a kind, the lowest losses first, of which one should be a converged minimum
JUMP = 0.1  # of a relative loss between neighbouring densities: that of another solution
# Densities at which the paper's solutions of three pairs have so many collapsed pairs, approximately; between 0.2 and
# 0.25 it says nothing.
PAPER_RANGES = {0: (0.0, 0.05), 1: (0.05, 0.15), 2: (0.15, 0.2), 3: (0.25, 1.0)}


def solution(data: xr.Dataset, array: str) -> Float[np.ndarray, "..."]:
    """W or b of the best solution known in every cell, (cells, hidden, feature)."""
    known = data[f"optimum_{array}"] if "optimum_W" in data else best(data, array)
    return known.transpose(*[dim for dim in known.dims if dim not in ("hidden", "feature")], "hidden", "feature",
                           missing_dims="ignore").values  # fmt: skip


def lowest_loss(data: xr.Dataset) -> Float[np.ndarray, " density"]:
    """Loss of the best solution known in every cell."""
    return (data["optimum_loss"] if "optimum_loss" in data else best(data, "loss")).values


def partner_cosines(W: Float[np.ndarray, "... n_hidden n_features"]) -> Float[np.ndarray, "... pairs"]:
    """Cosine of the two members of every pair, 0 where one of them is 0."""
    lengths = analysis.norm(W)
    units = W / np.where(lengths == 0, 1, lengths)[..., None, :]
    return (units[..., ::2] * units[..., 1::2]).sum(-2)


def collapsed(W: Float[np.ndarray, "... n_hidden n_features"]) -> Int[np.ndarray, "..."]:
    """How many pairs have collapsed to one direction."""
    return np.asarray((partner_cosines(W) >= COLLAPSED).sum(-1))


def collapses(case: Case, data: xr.Dataset) -> list[Switch]:
    """Where the number of collapsed pairs of the best solution changes, from dense to sparse."""
    return switches(data["density"].values, collapsed(solution(data, "W")), losses_by_number(case, data))


def losses_by_number(case: Case, data: xr.Dataset) -> dict[int, Float[np.ndarray, " density"]]:
    """Lowest loss of a model with each number of collapsed pairs that is a converged minimum; NaN where none is."""
    density = data["density"].values
    W = data["W"].transpose("density", "restart", "hidden", "feature").values
    b = data["b"].transpose("density", "restart", "feature").values if "b" in data else np.zeros_like(W[:, :, 0])
    W, b = np.concatenate([W, solution(data, "W")[:, None]], axis=1), np.concatenate([b, _bias(data)[:, None]], axis=1)
    loss = np.concatenate([data["loss"].values, lowest_loss(data)[:, None]], axis=1)
    number = np.where(np.isfinite(loss), collapsed(W), -1)
    found: dict[int, np.ndarray] = {}
    for cell in range(len(density)):
        for count in np.unique(number[cell][number[cell] >= 0]).tolist():
            models = np.flatnonzero(number[cell] == count)
            for model in models[np.argsort(loss[cell, models], kind="stable")][:TRIED]:
                if is_minimum(case, W[cell, model][None], b[cell, model][None], density[cell : cell + 1])[0]:
                    found.setdefault(count, np.full(len(density), np.nan))[cell] = loss[cell, model]
                    break
    return dict(sorted(found.items()))


def is_minimum(
    case: Case,
    W: Float[np.ndarray, "models n_hidden n_features"],
    b: Float[np.ndarray, "models n_features"],
    density: Float[np.ndarray, " models"],
) -> Bool[np.ndarray, " models"]:
    """Whether models are converged minima; taken for granted where it cannot be told (`is_judged`)."""
    if not is_judged(case):
        return np.ones(len(W), bool)
    return minima.certificate(W, b, density, case.data.correlation).minimum


def is_judged(case: Case) -> bool:
    """Whether minima are told from other models: of ReLU output models of a few features, and the error alone."""
    plain = case.model.kind == "relu_output" and len(case.term_kinds()) == 1
    return plain and minima.affordable(case.n_features)


def _bias(data: xr.Dataset) -> Float[np.ndarray, "density n_features"]:
    """b of the best solutions, 0 of models that have none."""
    return solution(data, "b") if "b" in data else np.zeros((data.sizes["density"], data.sizes["feature"]))


def converged(case: Case, data: xr.Dataset) -> Bool[np.ndarray, " density"]:
    """Whether the best solution of every cell is a converged minimum."""
    return is_minimum(case, solution(data, "W"), _bias(data), data["density"].values)


def half_of_the_fits(data: xr.Dataset, number: int) -> float:
    """The lowest density from which on half of the single fits have so many collapsed pairs or more; NaN if none."""
    density, at_least = _as_many(data, number)
    return _half(density, at_least.mean(1))


def half_of_the_fits_error(data: xr.Dataset, number: int, resamples: int = 200) -> float:
    """The standard error of that density: fits are drawn again with replacement, at every density anew."""
    density, at_least = _as_many(data, number)
    draws = np.random.default_rng(0).integers(at_least.shape[1], size=(resamples, *at_least.shape))
    found = [_half(density, np.take_along_axis(at_least, drawn, 1).mean(1)) for drawn in draws]
    return float(np.nanstd(found)) if np.isfinite(found).any() else float("nan")


def _as_many(data: xr.Dataset, number: int) -> tuple[Float[np.ndarray, " density"], Bool[np.ndarray, "density fits"]]:
    """Densities, rising, and which of their fits have so many collapsed pairs or more."""
    order = np.argsort(data["density"].values)
    W = data["W"].transpose("density", "restart", "hidden", "feature").values[order]
    return data["density"].values[order], np.asarray(collapsed(W) >= number)


def _half(density: Float[np.ndarray, " density"], share: Float[np.ndarray, " density"]) -> float:
    """The lowest density from which on a share is one half or more; NaN if it never stays so."""
    share = share - 0.5
    below = np.flatnonzero(share < 0)
    if not len(below) or below[-1] == len(density) - 1:
        return float("nan")
    pair = slice(below[-1], below[-1] + 2)
    found = analysis.crossings(density[pair], share[pair])
    return float(found[0]) if len(found) else float(density[below[-1] + 1])


def share_of(data: xr.Dataset, name: str) -> Float[np.ndarray, " density"]:
    """The fraction of the single fits that are a solution of a name."""
    return (names(data)[data["solution"].transpose("density", "restart").values] == name).mean(1)


def principal_loss(case: Case, density: Float[np.ndarray, " density"]) -> Float[np.ndarray, " density"]:
    """Loss of the best linear model, which keeps the n_hidden principal components of largest variance."""
    variances = np.stack(theory.pair_variances(density, case.data.correlation), axis=-1)
    every = np.sort(np.repeat(variances, case.n_features // 2, axis=-1), axis=-1)
    return case.importance_vector()[0] * every[:, : case.n_features - case.n_hidden].sum(-1)


def outside_sums(W: Float[np.ndarray, "density n_hidden n_features"]) -> Float[np.ndarray, " density"]:
    """Sine of the largest angle between the inputs that a model sees (the rows of W) and the sums a + b, which are the
    principal components of largest variance."""
    differences = np.kron(np.eye(W.shape[-1] // 2), np.array([[1.0], [-1.0]])) / np.sqrt(2)
    rows = np.linalg.svd(W.astype(float), full_matrices=False)[2]
    return np.linalg.norm(rows @ differences, ord=2, axis=(-2, -1))


def set_cosines(
    W: Float[np.ndarray, "... n_hidden n_features"], set_size: int, represented: float
) -> tuple[Float[np.ndarray, "... within"], Float[np.ndarray, "... across"]]:
    """|cosines| of pairs of features of one set, and of different sets; NaN of those that are not represented."""
    lengths = analysis.norm(W)
    units = W / np.where(lengths == 0, 1, lengths)[..., None, :]
    overlaps = np.abs(np.einsum("...hi,...hj->...ij", units, units))
    absent = lengths < represented
    overlaps = np.where(absent[..., None, :] | absent[..., :, None], np.nan, overlaps)
    owner = np.arange(W.shape[-1]) // set_size
    same = owner[:, None] == owner
    return overlaps[..., same & ~np.eye(len(owner), dtype=bool)], overlaps[..., ~same]


def root_mean_square(cosines: Float[np.ndarray, "... pairs"]) -> Float[np.ndarray, "..."]:
    """Of those that are known, NaN if none is."""
    known = np.isfinite(cosines)
    mean = np.sum(np.square(cosines), axis=-1, where=known) / np.maximum(known.sum(-1), 1)
    return np.where(known.any(-1), np.sqrt(mean), np.nan)


def with_gaps(density: np.ndarray, ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A curve with a gap at every jump, where one solution gives way to another of as many collapsed pairs."""
    jumps = np.flatnonzero(np.abs(np.diff(ratio)) > JUMP) + 1
    return np.insert(density, jumps, density[jumps]), np.insert(ratio, jumps, np.nan)


def in_words(case: Case) -> str:
    """What the features are: "3 correlated pairs"."""
    rho, size = case.data.correlation, case.data.set_size
    if rho == 0:
        return f"{case.n_features} independent features"
    kind = "correlated" if rho > 0 else "anticorrelated"
    kind = kind if abs(rho) == 1 else f"{kind} (ρ = {rho:g})"
    return f"{case.n_features // size} {kind} {'pairs' if size == 2 else f'sets of {size}'}"


def in_plane(case: Case) -> bool:
    """Whether the case is pairs in the plane, to be drawn as vectors."""
    return case.data.set_size == case.n_hidden == 2
