"""Where superposition begins: a cell has it iff more features are represented than there are hidden dimensions."""

import numpy as np
from jaxtyping import Bool, Float, Int8
from scipy.optimize import isotonic_regression

from superjax.analysis.phases import represented


def has_superposition(phase: Int8[np.ndarray, "... n_features"], n_hidden: int) -> Bool[np.ndarray, "..."]:
    """Whether more than `n_hidden` features are represented."""
    return np.asarray(represented(phase).sum(-1) > n_hidden)


def superposition_excess(
    norm: Float[np.ndarray, "... n_features"], n_hidden: int, represented: float = 0.5
) -> Float[np.ndarray, "..."]:
    """By how much the (n_hidden + 1)-th largest norm exceeds the threshold: ≥ 0 iff there is superposition."""
    if norm.shape[-1] <= n_hidden:
        return np.full(norm.shape[:-1], -represented)
    return np.asarray(np.sort(norm, axis=-1)[..., -(n_hidden + 1)] - represented)


def boundary(
    coordinate: Float[np.ndarray, " points"],
    inside: Bool[np.ndarray, "... points"],
    *excesses: Float[np.ndarray, "... points"],
) -> Float[np.ndarray, "..."]:
    """Where superposition begins along the last axis, coming from the larger coordinates (from dense data).

    Between the last point outside and the first inside, the position is interpolated to the zero of the first of the
    `excesses` (positive inside, negative outside) that is finite and of the right sign at both, in log(coordinate) if
    that exists. With none it is the middle of the two.

    Returns:
        The coordinate of the boundary; NaN if the last axis does not go from outside to inside.
    """
    order = np.argsort(-coordinate)
    inside = inside[..., order]
    logarithmic = (coordinate > 0).all()
    x = np.log(coordinate[order]) if logarithmic else coordinate[order]
    enters = ~inside[..., :-1] & inside[..., 1:]
    at = np.argmax(enters, axis=-1)
    share = np.full(at.shape, np.nan)
    for excess in excesses:
        outer, inner = (np.take_along_axis(excess[..., order], (at + k)[..., None], -1)[..., 0] for k in (0, 1))
        usable = np.isnan(share) & (outer <= 0) & (inner >= 0) & (inner > outer)  # false if either is NaN
        share = np.where(usable, -outer / np.where(usable, inner - outer, 1), share)
    share = np.where(np.isnan(share), 0.5, share)
    position = x[at] + (x[at + 1] - x[at]) * share
    return np.where(enters.any(-1), np.exp(position) if logarithmic else position, np.nan)


def at_importance(
    importance: Float[np.ndarray, " columns"], position: Float[np.ndarray, " columns"], wanted: float
) -> float:
    """The boundary at a given importance, both interpolated on logarithmic scales; NaN outside the columns."""
    known = np.isfinite(position)
    if not known.any():
        return np.nan
    order = np.argsort(importance[known])
    x, y = np.log(importance[known][order]), np.log(position[known][order])
    return float(np.exp(np.interp(np.log(wanted), x, y, left=np.nan, right=np.nan)))


def share_reaches(coordinate: Float[np.ndarray, " points"], share: Float[np.ndarray, " points"], level: float) -> float:
    """Where a share that grows towards smaller coordinates reaches a level.

    It is read off the closest monotone course (isotonic regression), so that one point off by chance does not decide,
    and lies between two points in log(coordinate), if that exists.

    Returns:
        The coordinate; NaN if the share is above the level everywhere or nowhere, or is itself NaN somewhere.
    """
    if np.isnan(share).any():
        return np.nan
    order = np.argsort(-coordinate)
    logarithmic = (coordinate > 0).all()
    x = np.log(coordinate[order]) if logarithmic else coordinate[order]
    course = _monotone(share[order])
    above = course >= level
    if above.all() or not above.any():
        return np.nan
    k = int(np.argmax(above))
    at = x[k - 1] + (x[k] - x[k - 1]) * (level - course[k - 1]) / (course[k] - course[k - 1])
    return float(np.exp(at) if logarithmic else at)


def _monotone(share: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """The closest course that never falls."""
    return np.clip(isotonic_regression(share).x, 0, 1)


def share_error(
    coordinate: Float[np.ndarray, " points"], share: Float[np.ndarray, " points"], level: float, count: int
) -> float:
    """Standard error of `share_reaches` where every share is one of `count` independent models: of 200 draws from the
    monotone course, those that reach the level. NaN with fewer than two."""
    order = np.argsort(-coordinate)
    draws = np.random.default_rng(0).binomial(count, _monotone(share[order]), (200, len(share))) / count
    found = np.array([share_reaches(coordinate[order], draw, level) for draw in draws])
    known = found[np.isfinite(found)]
    return float(known.std(ddof=1)) if known.size > 1 else np.nan


def band(
    positions: Float[np.ndarray, "streams columns"], level: float = 0.8
) -> tuple[Float[np.ndarray, " columns"], Float[np.ndarray, " columns"]]:
    """The central `level` of boundaries found from independent streams of data: lower and upper end."""
    with np.errstate(invalid="ignore"):
        found = np.sort(positions, axis=0)  # NaN last
    count = np.isfinite(found).sum(0)
    ends = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        index = np.clip(np.round(share * (count - 1)).astype(int), 0, None)
        ends.append(np.take_along_axis(found, index[None], 0)[0])
    return ends[0], ends[1]


def crossings(
    coordinate: Float[np.ndarray, " points"], difference: Float[np.ndarray, " points"]
) -> Float[np.ndarray, " crossings"]:
    """Where a difference of two curves changes sign, increasing, interpolated between neighbouring points (in
    log(coordinate) if that exists); points where it is NaN are left out."""
    known = np.isfinite(difference)
    order = np.argsort(coordinate[known])
    logarithmic = (coordinate > 0).all()
    x, y = coordinate[known][order], difference[known][order]
    x = np.log(x) if logarithmic else x
    k = np.flatnonzero((y[:-1] < 0) != (y[1:] < 0))
    at = x[k] + (x[k + 1] - x[k]) * y[k] / (y[k] - y[k + 1])
    return np.exp(at) if logarithmic else at
