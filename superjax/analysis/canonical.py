"""A canonical position for solutions: the loss of a tied model does not see rotations of the hidden space."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from superjax.analysis.phases import norm

_INDEPENDENT = 0.1  # part of a direction, relative to the largest norm, that must be new to it


def canonical(
    W: Float[np.ndarray, "n_hidden n_features"],
    order: Sequence[int] | Int[np.ndarray, " some"] | None = None,
) -> Float[np.ndarray, "n_hidden n_features"]:
    """W turned (and mirrored) so that the first feature of `order` lies on the first axis, the next one that is not
    parallel to it in the upper half of the plane of the first two axes, and so on; overlaps stay as they are.

    By default features are taken as numbered, those below half of the largest norm last.

    Example:
        >>> canonical(np.array([[0.0, 0.0, 2.0], [-1.0, 1.0, 0.0]]), order=[0, 1, 2]).tolist()
        [[1.0, -1.0, 0.0], [0.0, 0.0, 2.0]]
    """
    return (canonical_rotation(W, order) @ W).astype(W.dtype)


def canonical_rotation(
    W: Float[np.ndarray, "n_hidden n_features"],
    order: Sequence[int] | Int[np.ndarray, " some"] | None = None,
) -> Float[np.ndarray, "n_hidden n_hidden"]:
    """The orthogonal matrix that brings W into its `canonical` position, to turn other weights alike."""
    lengths = norm(W)
    largest = lengths.max(initial=0.0)
    if order is None:
        order = np.argsort(lengths < largest / 2, kind="stable")
    axes = np.zeros((0, len(W)))
    for column in (*W.T[np.asarray(order)], *largest * np.eye(len(W))):
        new = column - axes.T @ (axes @ column)
        new = new - axes.T @ (axes @ new)  # once more, for the last digits
        if len(axes) < len(W) and np.linalg.norm(new) > _INDEPENDENT * largest:
            axes = np.vstack([axes, new / np.linalg.norm(new)])
    return axes if len(axes) == len(W) else np.eye(len(W))
