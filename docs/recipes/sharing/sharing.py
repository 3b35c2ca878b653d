"""A classification of models: how many features point away from another one."""

import numpy as np
import xarray as xr


def shares(models: xr.Dataset) -> np.ndarray:
    """The number of features with a negative overlap below -0.5, of weights (model, hidden, feature)."""
    W = models["W"].values
    overlap = np.einsum("khi,khj->kij", W, W)
    return (overlap < -0.5).any(axis=-1).sum(axis=-1)
