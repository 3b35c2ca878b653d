"""Where the best solution changes, and the losses of solutions whose features are the most important ones."""

import numpy as np
import xarray as xr
from jaxtyping import Float

from superjax.studies import solutions
from superjax.studies.solutions import Switch, best_names, lowest_losses


def switches(data: xr.Dataset) -> list[Switch]:
    """Where the best solution changes, from dense to sparse, by the crossing of the lowest losses of both."""
    return solutions.switches(data["density"].values, best_names(data), lowest_losses(data))


def losses_of_the_most_important(
    data: xr.Dataset, importance: Float[np.ndarray, " n_features"]
) -> dict[str, Float[np.ndarray, " density"]]:
    """As `lowest_losses`, of models whose represented features are the most important ones: one solution that goes on
    from density to density, not the same shape made of other features."""
    norm = data["norm"].isel(feature=np.argsort(-importance, kind="stable")).values
    represented = norm >= data["phase"].attrs["represented"]
    most_important = (represented[..., :-1] >= represented[..., 1:]).all(-1)
    return lowest_losses(data.assign(loss=data["loss"].where(most_important)))
