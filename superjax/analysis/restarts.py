"""What many restarts of the same cell say together. Arrays end in (..., restart) or (..., restart, feature)."""

import numpy as np
from jaxtyping import Bool, Float, Int, Int8, Shaped, UInt64

from superjax.analysis.phases import DIVERGED, PHASES

REACHED = 0.01  # a restart reaches the optimum if its loss is at most this fraction above it


def best_restart(loss: Float[np.ndarray, "... restart"]) -> Int[np.ndarray, "..."]:
    """Index of the lowest loss; a diverged restart only if all did."""
    return np.asarray(np.argmin(np.where(np.isfinite(loss), loss, np.inf), axis=-1))


def take_restart(values: Shaped[np.ndarray, "..."], index: Int[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """`values` (*cells, restart, ...) at one restart per cell -> (*cells, ...)."""
    expanded = index.reshape(*index.shape, *[1] * (values.ndim - index.ndim))
    return np.take_along_axis(values, expanded, axis=index.ndim).squeeze(index.ndim)


def dropped(restarts: int, share: float = 0.1) -> int:
    """How many of the restarts the paper's protocol drops: one in ten, rounded, never all."""
    return min(round(share * restarts), restarts - 1)


def typical_outcome(
    loss: Float[np.ndarray, "... restart"],
    values: Float[np.ndarray, "... restart feature"],
    share: float = 0.1,
) -> Float[np.ndarray, "... feature"]:
    """The paper's protocol: the worst restarts `dropped` (one in ten), the others averaged.

    At least one restart is kept; a diverged one counts as worst and never enters the average.
    """
    restarts = loss.shape[-1]
    kept = restarts - dropped(restarts, share)
    rank = np.argsort(np.argsort(np.where(np.isfinite(loss), loss, np.inf), axis=-1, kind="stable"), axis=-1)
    use = ((rank < kept) & np.isfinite(loss))[..., None]
    count = use.sum(-2)
    total = np.where(use, values, 0).sum(-2)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(values.dtype)


def typical_phase(
    loss: Float[np.ndarray, "... restart"], phase: Int8[np.ndarray, "... restart feature"]
) -> Int8[np.ndarray, "... feature"]:
    """The phase that most restarts give a feature, among those that did not diverge; `diverged` if all did.

    Of phases with equally many restarts it is the one with the restart of lower loss. Unlike a threshold on the average
    of `typical_outcome`, one stray restart does not decide it.

    >>> one_strays = np.array([[0], [0], [0], [2]], np.int8)
    >>> typical_phase(np.array([0.1, 0.2, 0.3, 0.05]), one_strays).tolist()
    [0]
    """
    restarts = loss.shape[-1]
    finite = np.isfinite(loss)[..., None] & (phase != DIVERGED)
    rank = np.argsort(np.argsort(np.where(np.isfinite(loss), loss, np.inf), axis=-1, kind="stable"), axis=-1)[..., None]
    votes = []
    for kind in range(DIVERGED):
        these = finite & (phase == kind)
        lead = restarts - np.where(these, rank, restarts).min(axis=-2)  # at most `restarts`, 0 without any
        votes.append((restarts + 1) * these.sum(axis=-2) + lead)
    found = np.argmax(votes, axis=0)
    return np.where(finite.any(axis=-2), found, DIVERGED).astype(np.int8)


def phase_fractions(phase: Int8[np.ndarray, "... restart feature"]) -> Float[np.ndarray, "... feature phase"]:
    """Fraction of restarts in each of the four phases."""
    return np.stack([(phase == p).mean(axis=-2) for p in range(len(PHASES))], axis=-1)


def agreement(
    signature: UInt64[np.ndarray, "... restart"], reference: UInt64[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """Fraction of restarts whose phases (of all features) equal those of a reference solution of the cell."""
    return np.asarray((signature == reference[..., None]).mean(axis=-1))


def reached(
    loss: Float[np.ndarray, "... restart"], optimum: Float[np.ndarray, "..."], tolerance: float = REACHED
) -> Bool[np.ndarray, "... restart"]:
    """Which restarts reach the optimum: their loss is within a relative `tolerance` of it."""
    return loss <= optimum[..., None] * (1 + tolerance)


def standard_error(
    successes: Bool[np.ndarray, "*cells restart"] | Float[np.ndarray, "*cells restart"], common_starts: bool
) -> float:
    """Standard error of the mean of `successes` over all cells and restarts, from the spread of the restarts; NaN for
    fewer than two restarts, as one has no spread.

    The cells are taken as they are: only the luck of the restarts counts, not which cells a grid has. Restarts are
    taken to be independent of each other.

    * With `common_starts`, restart k is the same in all cells (its initial weights, or its stream of batches), so that
      cells succeed and fail together. Only the means of the restarts over all cells are independent of each other,
      which are as few as there are restarts.
    * Else the restarts of different cells are independent, too, and the variance is that within cells, averaged.

    >>> lucky = np.array([[True, False], [True, False], [True, False], [True, False]])
    >>> round(standard_error(lucky, common_starts=True), 3), round(standard_error(lucky, common_starts=False), 3)
    (0.5, 0.25)
    """
    by_cell = np.asarray(successes, float).reshape(-1, successes.shape[-1])
    cells, restarts = by_cell.shape
    if restarts < 2 or not cells:
        return float("nan")
    if common_starts:
        return float(by_cell.mean(0).std(ddof=1) / np.sqrt(restarts))
    return float(np.sqrt(by_cell.var(axis=1, ddof=1).mean() / (restarts * cells)))
