"""Where superposition begins: a cell has it iff more features are represented than there are hidden dimensions."""

import numpy as np
from jaxtyping import Bool, Float, Int8

from superjax.analysis.phases import DEDICATED, SUPERPOSED


def has_superposition(phase: Int8[np.ndarray, "... n_features"], n_hidden: int) -> Bool[np.ndarray, "..."]:
    """Whether more than `n_hidden` features are represented."""
    return ((phase == DEDICATED) | (phase == SUPERPOSED)).sum(-1) > n_hidden


def boundary_crossings(
    coordinate: Float[np.ndarray, " points"], excess: Float[np.ndarray, "... points"]
) -> Float[np.ndarray, "..."]:
    """Position along the last axis where `excess` changes sign, nearest to the first point that is positive when
    one comes from the nonpositive side; NaN if it never does.

    `excess` is positive inside. The position is interpolated linearly in log(coordinate) if the coordinate is
    positive, between the two neighbouring points. The coordinate may run either way; the crossing found is the first
    one from its end with the larger values (for a density: coming from dense data).
    """
    order = np.argsort(coordinate)[::-1]
    x, y = coordinate[order], excess[..., order]
    scaled = np.log(x) if (x > 0).all() else x
    enters = (y[..., :-1] <= 0) & (y[..., 1:] > 0)
    found = enters.any(-1)
    i = np.argmax(enters, axis=-1)
    before = np.take_along_axis(y, i[..., None], -1)[..., 0]
    after = np.take_along_axis(y, i[..., None] + 1, -1)[..., 0]
    span = np.where(after == before, 1, after - before)
    position = scaled[i] + (scaled[i + 1] - scaled[i]) * np.where(found, -before / span, 0)
    value = np.exp(position) if (x > 0).all() else position
    return np.where(found, value, np.nan)
