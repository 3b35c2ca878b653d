"""What many restarts of the same cell say together. Arrays end in (..., restart) or (..., restart, feature)."""

import numpy as np
from jaxtyping import Bool, Float, Int, Int8, Shaped, UInt64

from superjax.analysis.phases import PHASES


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


def phase_fractions(phase: Int8[np.ndarray, "... restart feature"]) -> Float[np.ndarray, "... feature phase"]:
    """Fraction of restarts in each of the four phases."""
    return np.stack([(phase == p).mean(axis=-2) for p in range(len(PHASES))], axis=-1)


def agreement(
    signature: UInt64[np.ndarray, "... restart"], reference: UInt64[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """Fraction of restarts whose phases (of all features) equal those of a reference solution of the cell."""
    return np.asarray((signature == reference[..., None]).mean(axis=-1))


def reached(
    loss: Float[np.ndarray, "... restart"], optimum: Float[np.ndarray, "..."], tolerance: float
) -> Bool[np.ndarray, "... restart"]:
    """Which restarts reach the optimum: their loss is within a relative `tolerance` of it."""
    return loss <= optimum[..., None] * (1 + tolerance)
