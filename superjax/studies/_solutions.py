"""Views of a dataset by the named solutions (polytopes) that its models are."""

import numpy as np
import xarray as xr
from jaxtyping import Float


def names(data: xr.Dataset) -> list[str]:
    """The names that `solution` numbers, as the paper writes them: "triangle + digon"."""
    return [word.replace("+", " + ").replace("_", " ") for word in data["solution"].attrs["flag_meanings"].split()]


def best(data: xr.Dataset, name: str) -> xr.DataArray:
    """A variable of the best restart of every cell."""
    return data[name].isel(restart=data["best"])


def best_names(data: xr.Dataset) -> np.ndarray:
    """The name of the best restart's solution in every cell."""
    return np.array(names(data), object)[best(data, "solution").values]


def lowest_losses(data: xr.Dataset) -> dict[str, Float[np.ndarray, "..."]]:
    """For every solution that some model is, the lowest loss of such a model in every cell; NaN where none is."""
    loss, number = data["loss"].values, data["solution"].values
    found = {}
    for k in np.unique(number):
        lowest = np.min(loss, axis=-1, where=(number == k) & np.isfinite(loss), initial=np.inf)
        found[names(data)[k]] = np.where(np.isinf(lowest), np.nan, lowest)
    return found
