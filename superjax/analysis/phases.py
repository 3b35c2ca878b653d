"""How each feature is represented: norm, interference, dimensionality, and the phase they decide.

`W` has shape (..., n_hidden, n_features); column W_i is feature i's direction and Ŵ_i that direction at unit length.
Measures have shape (..., n_features); they are 0 where W_i = 0 and NaN only where W is not finite.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Int8, UInt64

PHASES = ("not_represented", "dedicated", "superposed", "diverged")
NOT_REPRESENTED, DEDICATED, SUPERPOSED, DIVERGED = range(4)
_PAIRS = 2**24  # of features, held at a time
_quiet = np.errstate(over="ignore", invalid="ignore")  # weights of diverged models: the result says so


class Measures(NamedTuple):
    """All measures of one set of weights, each (..., n_features)."""

    norm: Float[np.ndarray, "..."]
    interference: Float[np.ndarray, "..."]
    dimensionality: Float[np.ndarray, "..."]
    phase: Int8[np.ndarray, "..."]
    margin: Float[np.ndarray, "..."]


def represented(phase: Int8[np.ndarray, "..."]) -> Bool[np.ndarray, "..."]:
    """Whether a feature of this phase is represented: dedicated or superposed, not diverged."""
    return np.asarray((phase == DEDICATED) | (phase == SUPERPOSED))


@_quiet
def norm(W: Float[np.ndarray, "... n_hidden n_features"]) -> Float[np.ndarray, "... n_features"]:
    """‖W_i‖: about 1 if feature i is represented, about 0 if not (paper, "Demonstrating Superposition")."""
    return np.linalg.norm(W, axis=-2)


def units(W: Float[np.ndarray, "... n_hidden n_features"]) -> Float[np.ndarray, "... n_hidden n_features"]:
    """The columns at norm 1, Ŵ; those of 0 stay."""
    norms = norm(W)
    return W / np.where(norms == 0, 1, norms)[..., None, :]


@_quiet
def overlaps(W: Float[np.ndarray, "... n_hidden n_features"]) -> Float[np.ndarray, "... n_features n_features"]:
    """(Ŵ_i·W_j)² for every pair (i, j)."""
    return np.square(np.einsum("...hi,...hj->...ij", units(W), W))


@_quiet
def _sums(
    W: Float[np.ndarray, "... n_hidden n_features"], which: Bool[np.ndarray, "... n_features"] | None = None
) -> tuple[Float[np.ndarray, "... n_features"], Float[np.ndarray, "... n_features"]]:
    """Σ_j (Ŵ_i·W_j)² over the features chosen, all by default, and the part with j = i.

    Some models at a time, as pairs are many. Where those of one model are too many, Σ_j (Ŵ_i·W_j)² = Ŵ_iᵀ(Σ_j W_j
    W_jᵀ)Ŵ_i needs none, and differs by rounding.
    """
    n_hidden, n = W.shape[-2:]
    models = W.reshape(-1, n_hidden, n)
    chosen = np.ones((len(models), n), bool) if which is None else which.reshape(-1, n)
    total, own = np.zeros((2, len(models), n), W.dtype)
    size = max(1, _PAIRS // max(n**2, 1))
    for part in (slice(start, start + size) for start in range(0, len(models), size)):
        some, mask = models[part], chosen[part]
        if n**2 <= _PAIRS:
            pairs = overlaps(some)
            if which is not None:
                pairs = pairs * mask[:, None, :]
            total[part], own[part] = pairs.sum(-1), np.diagonal(pairs, axis1=-2, axis2=-1)
        else:
            own_units, others = units(some[0].astype(np.float64)), np.where(mask[0], some[0], 0).astype(np.float64)
            total[part] = np.sum(own_units * ((others @ others.T) @ own_units), axis=0)
            own[part] = np.square(np.sum(own_units * others, axis=0))
    return total.reshape(*W.shape[:-2], n), own.reshape(*W.shape[:-2], n)


@_quiet
def interference(W: Float[np.ndarray, "... n_hidden n_features"]) -> Float[np.ndarray, "... n_features"]:
    """Σ_{j≠i} (Ŵ_i·W_j)², the paper's measure of superposition; partners are not normalised."""
    total, own = _sums(W)
    return total - own


@_quiet
def dimensionality(W: Float[np.ndarray, "... n_hidden n_features"]) -> Float[np.ndarray, "... n_features"]:
    """D_i = ‖W_i‖² / Σ_j (Ŵ_i·W_j)², j = i included (paper, "The Geometry of Superposition"). Σ_i D_i ≤ n_hidden."""
    total, _ = _sums(W)
    return np.square(norm(W)) / np.where(total == 0, 1, total)


@_quiet
def classify(
    W: Float[np.ndarray, "... n_hidden n_features"], represented: float = 0.5, superposed: float = 0.1
) -> tuple[Int8[np.ndarray, "... n_features"], Float[np.ndarray, "... n_features"]]:
    """Phase of every feature and the margin of that decision.

    Feature i is represented iff ‖W_i‖ ≥ `represented`, and then superposed iff Σ (Ŵ_i·W_j)² over *represented*
    j ≠ i is ≥ `superposed`. The margin is the distance of the deciding quantity to its threshold, divided by the
    threshold: of the norm, and for a represented feature of whichever of the two is nearer.

    Returns:
        phase: 0 not_represented, 1 dedicated, 2 superposed, 3 diverged (some weight of the model is not finite).
        margin: ≥ 0; NaN where diverged.

    Example:
        >>> phase, margin = classify(np.array([[1.0, -1.0, 0.1]]))
        >>> phase.tolist()
        [2, 2, 0]
    """
    norms = norm(W)
    finite = np.all(np.isfinite(W), axis=(-2, -1), keepdims=True)[..., 0, :]
    is_represented = norms >= represented
    total, own = _sums(W, is_represented)
    shared = total - own
    phase = np.where(is_represented, np.where(shared >= superposed, SUPERPOSED, DEDICATED), NOT_REPRESENTED)
    norm_margin = np.abs(norms - represented) / represented
    shared_margin = np.abs(shared - superposed) / superposed
    margin = np.where(is_represented, np.minimum(norm_margin, shared_margin), norm_margin)
    return (
        np.where(finite, phase, DIVERGED).astype(np.int8),
        np.where(finite, margin, np.nan).astype(W.dtype),
    )


@_quiet
def merged(
    W: Float[np.ndarray, "... n_hidden n_features"], represented: float = 0.5, cosine: float = 0.95
) -> Bool[np.ndarray, "... n_features"]:
    """Whether a feature lies on the direction of another: both are represented, and Ŵ_i·Ŵ_j is at least `cosine`. The
    model then knows only their sum (paper, "Correlated and Anticorrelated Features"). An antipodal pair has −1.

    Example:
        >>> merged(np.array([[1.0, 0.8, -1.0, 0.1]])).tolist()
        [True, True, False, False]
    """
    return _with_partner(W, represented, cosine, 1)


@_quiet
def antipodal(
    W: Float[np.ndarray, "... n_hidden n_features"], represented: float = 0.5, cosine: float = 0.95
) -> Bool[np.ndarray, "... n_features"]:
    """Whether a feature has an antipode: both are represented, and Ŵ_i·Ŵ_j is at most -`cosine`.

    Example:
        >>> antipodal(np.array([[1.0, 0.8, -1.0, 0.1]])).tolist()
        [True, True, True, False]
    """
    return _with_partner(W, represented, cosine, -1)


def _with_partner(
    W: Float[np.ndarray, "... n_hidden n_features"], represented: float, cosine: float, sign: int
) -> Bool[np.ndarray, "... n_features"]:
    """Whether a represented feature has another with sign * Ŵ_i·Ŵ_j of at least `cosine`."""
    n_hidden, n = W.shape[-2:]
    models = W.reshape(-1, n_hidden, n)
    found = np.zeros((len(models), n), bool)
    size, width = max(1, _PAIRS // max(n**2, 1)), max(1, _PAIRS // max(n, 1))
    for part in (slice(start, start + size) for start in range(0, len(models), size)):
        present = np.where(norm(models[part])[:, None, :] >= represented, units(models[part]), 0)
        for first in range(0, n, width):
            some = present[:, :, first : first + width]
            near = sign * np.einsum("mhi,mhj->mij", some, present) >= cosine
            own = np.arange(some.shape[-1])
            near[:, own, first + own] = False
            found[part, first : first + width] = near.any(-1)
    return found.reshape(*W.shape[:-2], n)


def measure(
    W: Float[np.ndarray, "... n_hidden n_features"], represented: float = 0.5, superposed: float = 0.1
) -> Measures:
    """All measures at once."""
    phase, margin = classify(W, represented, superposed)
    return Measures(norm(W), interference(W), dimensionality(W), phase, margin)


def phase_signature(
    phase: Int8[np.ndarray, "... n_features"],
    importance: Float[np.ndarray, "... n_features"],
    density: Float[np.ndarray, "... n_features"],
    set_size: int = 1,
) -> UInt64[np.ndarray, "..."]:
    """A number for the phases of all features, the same for solutions that differ by a permutation of features with
    equal importance and density: those are interchangeable. Features of correlated sets (`set_size` consecutive ones)
    are so within their set, and whole sets with each other."""
    kinds = _kinds(importance, density) * len(PHASES)
    in_sets = (kinds + phase).reshape(*phase.shape[:-1], -1, set_size).astype(np.uint64)
    return _hash(np.sort(_hash(np.sort(in_sets, axis=-1)), axis=-1))


def _kinds(
    importance: Float[np.ndarray, "... n_features"], density: Float[np.ndarray, "... n_features"]
) -> Int[np.ndarray, "... n_features"]:
    """The number of the first feature with the same importance and density."""
    importance, density = np.broadcast_arrays(importance, density)
    shape, n = importance.shape, importance.shape[-1]
    rows = np.stack([importance.reshape(-1, n), density.reshape(-1, n)], axis=1)
    found, size = np.zeros((len(rows), n), np.int64), max(1, _PAIRS // n**2)
    for part in (slice(start, start + size) for start in range(0, len(rows), size)):
        found[part] = np.argmax((rows[part][..., :, None] == rows[part][..., None, :]).all(1), axis=-1)
    return found.reshape(shape)


def _hash(values: UInt64[np.ndarray, "... values"]) -> UInt64[np.ndarray, "..."]:
    base = np.uint64(0x9E3779B97F4A7C15)  # odd, so its powers mix all bits modulo 2^64
    with np.errstate(over="ignore"):
        powers = np.cumprod(np.full(values.shape[-1], base, np.uint64))
        total = np.asarray(np.sum(values * powers, axis=-1, dtype=np.uint64))
        return np.asarray((total ^ (total >> np.uint64(29))) * base)  # not linear: hashes of hashes must differ
