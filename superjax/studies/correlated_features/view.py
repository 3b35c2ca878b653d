"""Views of a dataset whose features are correlated sets: partners that collapse, bases that sets are.

Pairs are sets of two consecutive features, `a` and `b`.
"""

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from superjax import analysis
from superjax.reference import theory
from superjax.spec import Case
from superjax.studies.solutions import Switch, best, lowest, switches

COLLAPSED = 0.95  # cosine of partners that count as one direction


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


def collapses(data: xr.Dataset) -> list[Switch]:
    """Where the number of collapsed pairs of the best solution changes, from dense to sparse."""
    return switches(data["density"].values, collapsed(solution(data, "W")), losses_by_number(data))


def losses_by_number(data: xr.Dataset) -> dict[int, Float[np.ndarray, " density"]]:
    """Lowest loss found with each number of collapsed pairs."""
    number = collapsed(data["W"].transpose("density", "restart", "hidden", "feature").values)
    loss = np.concatenate([data["loss"].values, lowest_loss(data)[:, None]], axis=1)
    return lowest(loss, np.concatenate([number, collapsed(solution(data, "W"))[:, None]], axis=1))


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


def in_plane(case: Case) -> bool:
    """Whether the case is pairs in the plane, to be drawn as vectors."""
    return case.data.set_size == case.n_hidden == 2
