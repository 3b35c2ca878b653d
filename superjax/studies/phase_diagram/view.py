"""Which of the solutions that a phase diagram compares are minima."""

import numpy as np
from jaxtyping import Bool, Float

from superjax import analysis
from superjax.reference import oracle
from superjax.studies.diagram import Diagram

STEP = 0.02  # by which the weakest feature is moved
FALL = 1e-6  # relative fall of the loss from which a solution is no minimum


def gap_to_minimum(diagram: Diagram) -> Float[np.ndarray, "importance density"]:
    """The gap to the best solution in other phases, NaN where that is no minimum: its loss falls if the feature of the
    smallest norm is moved a little. Leaving a feature out is such a point where data are sparse: the gradient is 0
    there, and training that comes near stays for long, or leaves, by chance."""
    gap = diagram.data["gap"].values
    if diagram.case.model.kind != "relu_output":
        return gap
    known = np.isfinite(gap)
    if not known.any():
        return gap
    W = diagram.data["optimum_other_W"].transpose(..., "hidden", "feature").values[known].astype(float)
    b = diagram.data["optimum_other_b"].values[known].astype(float)
    importance, density = (numbers[known] for numbers in diagram.numbers())
    found = np.full(gap.shape, np.nan)
    found[known] = np.where(is_minimum(W, b, importance, density), gap[known], np.nan)
    return found


def is_minimum(
    W: Float[np.ndarray, "models hidden feature"],
    b: Float[np.ndarray, "models feature"],
    importance: Float[np.ndarray, "models feature"],
    density: Float[np.ndarray, "models feature"],
) -> Bool[np.ndarray, " models"]:
    """Whether the loss falls nowhere as the feature of the smallest norm is moved along the hidden axes, either way."""
    loss = oracle.expected_loss(W, b, importance, density)
    weakest, models = analysis.norm(W).argmin(-1), np.arange(len(W))
    lowest = loss
    for hidden in range(W.shape[1]):
        for step in (-STEP, STEP):
            moved = W.copy()
            moved[models, hidden, weakest] += step
            lowest = np.minimum(lowest, oracle.expected_loss(moved, b, importance, density))
    return lowest >= loss * (1 - FALL)
