"""The axes of a sweep as axes of a figure."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from superjax.plots.canvas import fitted
from superjax.spec import Case

_DRAWN = 1e-100, 1e100  # sizes beyond which matplotlib cannot make an axis


def sorted_map(draw, ax: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, **keywords):
    """A map whose values may be in any order, drawn in order."""
    i, j = np.argsort(x), np.argsort(y)
    return draw(ax, x[i], y[j], values[i][:, j], **keywords)


def axis_of(case: Case, data: xr.Dataset, dim: str) -> tuple[np.ndarray, str, bool]:
    """Values along a dimension, its label, and whether it is logarithmic.

    A dimension is drawn by the number of its points if it has several coordinates, or values that repeat, are too near
    to each other to be told apart, or too large or small for matplotlib.
    """
    axis = case.axes[dim]
    values = data[dim].values if dim in data.coords else np.arange(float(data.sizes[dim]))
    size = np.abs(values[values != 0])
    extreme = size.size > 0 and bool(size.min() < _DRAWN[0] or size.max() > _DRAWN[1])
    if len(axis.names) > 1 or len(np.unique(values)) < len(values) or extreme or _too_near(values):
        return np.arange(float(data.sizes[dim])), f"point of {fitted(dim, 2)}", False
    return values, fitted(axis.label or dim, 2.4, lines=2), axis.scale == "log"


def _too_near(values: np.ndarray) -> bool:
    return bool(0 < np.ptp(values) < 1e-9 * np.abs(values).max())
