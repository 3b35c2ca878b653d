"""Views of a dataset by the named solutions (polytopes) that its models are."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Shaped

from superjax import analysis


class Switch(NamedTuple):
    """The best solution changes from one to another at a density; `exact` if their losses were seen to cross."""

    dense: Any
    sparse: Any
    density: float
    exact: bool


def switches(
    density: Float[np.ndarray, " density"],
    best: Shaped[np.ndarray, " density"],
    losses: Mapping[Any, Float[np.ndarray, " density"]],
) -> list[Switch]:
    """Where the best solution changes, from dense to sparse, by the crossing of the lowest `losses` of both."""
    order = np.argsort(-density)
    density, best = density[order], best[order]
    found = []
    for k in np.flatnonzero(best[:-1] != best[1:]):
        pair, dense, sparse = slice(k, k + 2), best[k], best[k + 1]
        crossing = analysis.crossings(density[pair], (losses[sparse] - losses[dense])[order][pair])
        at = float(crossing[0]) if len(crossing) else float(np.sqrt(density[k] * density[k + 1]))
        found.append(Switch(dense, sparse, at, len(crossing) > 0))
    return found


def names(data: xr.Dataset, variable: str = "solution") -> Shaped[np.ndarray, " names"]:
    """The names that `solution` numbers, as the paper writes them: "triangle + digon"."""
    words = data[variable].attrs["flag_meanings"].split()
    return np.array([word.replace("+", " + ").replace("_", " ") for word in words], object)


def best(data: xr.Dataset, name: str) -> xr.DataArray:
    """A variable of the best restart of every cell."""
    return data[name].isel(restart=data["best"])


def best_names(data: xr.Dataset) -> np.ndarray:
    """The name of the best restart's solution in every cell."""
    return names(data)[best(data, "solution").values]


def lowest(
    loss: Float[np.ndarray, "*cells models"], kind: Shaped[np.ndarray, "*cells models"]
) -> dict[Any, Float[np.ndarray, "*cells"]]:
    """For every kind of model the lowest loss of such a model in every cell; NaN where none is."""
    found = {}
    for k in np.unique(kind).tolist():
        least = np.min(loss, axis=-1, where=(kind == k) & np.isfinite(loss), initial=np.inf)
        found[k] = np.where(np.isinf(least), np.nan, least)
    return found


def lowest_losses(data: xr.Dataset) -> dict[str, Float[np.ndarray, "..."]]:
    """For every solution that some model is, the lowest loss of such a model in every cell; NaN where none is."""
    found = lowest(data["loss"].values, data["solution"].values)
    return {str(names(data)[k]): loss for k, loss in found.items()}
